// SPDX-License-Identifier: MIT
/*
 * vu_ring: rings, and the messages about them
 *
 * Invariants: a ring is running from its kick descriptor's arrival until it is
 * stopped; it is active while it is also enabled, and only active rings are read.
 * A request carries the generation of its ring: an answer of an earlier generation
 * is dropped.
 *
 * Threads: the one of the server.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "vhost/vu_internal.h"

/*
 * When a round of a ring ends, to let everything else have its turn.  It is looked
 * at after each request, and after VIRTQUEUE_COPY bytes of a large one.
 */
#define ROUND_NS 5000000u

_Static_assert(VIRTQUEUE_MAX_SIZE <= VHOST_BACKEND_MAX_REQUESTS / VHOST_USER_NR_RINGS,
	       "full rings are no more than the device takes");
_Static_assert(VIRTQUEUE_MAX_ANSWER >= VHOST_BACKEND_MAX_ANSWER, "any answer is kept room for");

/**
 * vu_ring_active() - whether requests are taken from a ring
 * @ring: the ring
 *
 * Return: the answer.
 */
bool vu_ring_active(const struct vu_ring *ring)
{
	bool has_enable = ring->server->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES);

	return ring->running && (ring->enabled || !has_enable);
}

/**
 * vu_flush_signals() - interrupt the guest where it is owed that
 * @server: the server
 */
void vu_flush_signals(struct vhost_user_server *server)
{
	unsigned int i;

	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		struct vu_ring *ring = &server->rings[i];

		if (ring->signal && virtqueue_wants_signal(&ring->vq))
			vu_notify_fd(ring->call_fd);
		ring->signal = false;
	}
}

/**
 * vu_update_activity() - a ring may have become active or inactive
 * @server: the server
 *
 * Without an active ring the guest's driver is gone or about to give its memory
 * back: the device must let go of it before the front end hears our answer.  So
 * the device may be resetting when this returns.
 */
void vu_update_activity(struct vhost_user_server *server)
{
	bool active = false;
	unsigned int i;

	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		active = active || vu_ring_active(&server->rings[i]);
	if (active == server->active)
		return;
	server->active = active;
	if (active) {
		/* The device forgot them if it was reset in between. */
		server->ops->set_features(server->dev, server->features & ~VU_TRANSPORT_FEATURES);
		return;
	}
	log_event("the last ring has stopped: device reset");
	vu_begin_reset(server);
}

/* Look at @ring at the next step, as if the guest had kicked it. */
static void ring_wake(struct vu_ring *ring)
{
	ring->more = true;
	vu_notify_fd(ring->server->wake_fd);
}

static void ring_drop_kick(struct vu_ring *ring)
{
	if (ring->kick_fd >= 0)
		vu_unwatch(ring->server, ring->kick_fd);
	vu_close_fd(&ring->kick_fd);
}

static void ring_stopped(struct vu_ring *ring)
{
	ring->stopping = false;
	ring->generation++;
	ring->lost = virtqueue_in_flight(&ring->vq);
	ring->stopped_at = ring->vq.next_avail;
	virtqueue_stop(&ring->vq);
	ring_drop_kick(ring);
	ring->more = false;
	ring->waits = false;
	ring->told = false;
}

/**
 * vu_ring_stop() - take nothing from a ring any more
 * @ring: the ring
 *
 * If the device is reset for it the ring is not touched any more when that is done,
 * not before: a reset hands back what is in flight.
 */
void vu_ring_stop(struct vu_ring *ring)
{
	if (!ring->running)
		return;
	virtqueue_forget_part(&ring->vq);
	log_event("ring %u: stopped at %u", ring->index, ring->vq.next_avail);
	ring->running = false;
	vu_update_activity(ring->server);
	vu_flush_signals(ring->server);
	if (ring->server->resetting)
		ring->stopping = true;
	else
		ring_stopped(ring);
}

/**
 * vu_ring_settle() - the device has been reset
 * @ring: the ring
 */
void vu_ring_settle(struct vu_ring *ring)
{
	if (ring->stopping)
		ring_stopped(ring);
}

/**
 * vu_ring_abandon() - the front end is gone
 * @ring: the ring; its memory is there until vu_ring_forget()
 */
void vu_ring_abandon(struct vu_ring *ring)
{
	/* Whoever wanted the answers is gone. */
	ring->generation++;
	ring_drop_kick(ring);
	vu_close_fd(&ring->call_fd);
	vu_close_fd(&ring->err_fd);
	vu_ring_stop(ring);
}

/**
 * vu_ring_forget() - the front end is gone, and the device was reset
 * @ring: the ring
 */
void vu_ring_forget(struct vu_ring *ring)
{
	if (ring->lost)
		ring->stopped_at = -1;
	ring->lost = false;
	virtqueue_destroy(&ring->vq);
	virtqueue_init(&ring->vq, ring->server->gm);
	ring->enabled = false;
	ring->signal = false;
	ring->told = false;
}

/* Configuration of a ring: stops it if it is disabled, refused if it is active. */
static int ring_make_idle(struct vu_ring *ring)
{
	if (vu_ring_active(ring))
		return -EBUSY;
	vu_ring_stop(ring);
	return 0;
}

/**
 * vu_ring_report_broken() - say that a ring is broken, once
 * @ring: the ring
 */
void vu_ring_report_broken(struct vu_ring *ring)
{
	if (ring->told)
		return;
	ring->told = true;
	ring->server->stats.broken_rings++;
	log_error("ring %u is broken: %s", ring->index, ring->vq.broken);
	vu_notify_fd(ring->err_fd);
}

/*
 * The ring cannot be set up as the front end says, which passes on what the
 * guest wrote: no reason to hang up, which would take the VMM's device down for
 * good.  The ring stays without what was refused, so it cannot start; the guest
 * can reset its device and do better.  Returns what the handler is to return.
 */
static int ring_refuse(struct vu_ring *ring, const char *what, int err)
{
	if (!ring->told) {
		ring->told = true;
		ring->server->stats.broken_rings++;
		log_error("ring %u cannot be used: %s: %s", ring->index, what, strerror(-err));
	}
	vu_notify_fd(ring->err_fd);
	return -err;
}

/**
 * vu_ring_respond() - hand a request back
 * @opaque: the server
 * @cookie: the struct vu_ring_request
 * @data: the answer
 * @len: bytes of it
 */
void vu_ring_respond(void *opaque, void *cookie, const void *data, size_t len)
{
	struct vhost_user_server *server = opaque;
	struct vu_ring_request *request = cookie;
	struct vu_ring *ring = request->ring;

	if (request->generation == ring->generation) {
		virtqueue_push(&ring->vq, &request->chain, data, len);
		server->stats.bytes_out += len < request->chain.capacity ? len :
									   request->chain.capacity;
		ring->signal = true;
	}
	vq_chain_destroy(&request->chain);
	free(request);
}

/**
 * vu_ring_room() - the device takes requests again
 * @opaque: the server
 */
void vu_ring_room(void *opaque)
{
	vu_rings_resume(opaque);
}

/* The device has the request.  false: there is no memory for that. */
static bool ring_hand_in(struct vu_ring *ring, const struct vq_chain *chain)
{
	struct vhost_user_server *server = ring->server;
	struct vu_ring_request *request = calloc(1, sizeof(*request));

	if (!request)
		return false;
	request->chain = *chain;
	/* The device's, who has no use for it once it has looked at it. */
	request->chain.data = NULL;
	request->chain.len = 0;
	request->ring = ring;
	request->generation = ring->generation;
	if (server->ops->request(server->dev, ring->index, chain->data, chain->len, chain->capacity,
				 request)) {
		free(request);
		return false;
	}
	return true;
}

static void ring_request(struct vu_ring *ring, struct vq_chain *chain)
{
	struct vhost_user_server *server = ring->server;

	server->stats.requests++;
	server->stats.bytes_in += chain->len;
	if (ring_hand_in(ring, chain))
		return;
	log_error("ring %u: no memory for a request", ring->index);
	virtqueue_push(&ring->vq, chain, NULL, 0);
	ring->signal = true;
	vq_chain_destroy(chain);
}

static void ring_bad_chain(struct vu_ring *ring)
{
	struct vu_statistics *stats = &ring->server->stats;

	ring->signal = true;
	/* The guest can make any number of these: one line, the rest with --verbose. */
	if (!stats->bad_chains++)
		log_error("ring %u: bad request: %s (more are counted)", ring->index,
			  ring->vq.bad_chain);
	else
		log_event("ring %u: bad request: %s", ring->index, ring->vq.bad_chain);
}

/*
 * vu_rings_resume() follows.  A front end that has read the first byte of a request of
 * ours does nothing else before it has the rest, so nothing may keep us from sending
 * it; and whether it has read the byte is not known before we look.
 */
static bool ring_has_to_wait(const struct vu_ring *ring)
{
	struct vhost_user_server *server = ring->server;

	if (server->backend.announced) {
		server->held = true;
		return true;
	}
	return !server->ops->room(server->dev);
}

/**
 * vu_rings_resume() - look at the rings again that had to wait
 * @server: the server
 */
void vu_rings_resume(struct vhost_user_server *server)
{
	unsigned int i;

	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		if (server->rings[i].waits)
			ring_wake(&server->rings[i]);
		server->rings[i].waits = false;
	}
}

/**
 * vu_ring_process() - at most one round of a ring
 * @ring: the ring
 *
 * So that no guest can keep us from the rest.
 */
void vu_ring_process(struct vu_ring *ring)
{
	uint64_t end = clock_ns() + ROUND_NS;
	struct vq_chain chain;
	uint32_t left;

	ring->more = false;
	if (!vu_ring_active(ring))
		return;
	for (left = ring->vq.size; left; left--) {
		if (ring_has_to_wait(ring)) {
			ring->waits = true;
			return;
		}
		if (clock_ns() >= end)
			break;
		switch (virtqueue_pop(&ring->vq, &chain)) {
		case VQ_EMPTY:
			return;
		case VQ_REQUEST:
			ring_request(ring, &chain);
			break;
		case VQ_PART:
			break;
		case VQ_DROPPED:
			ring_bad_chain(ring);
			break;
		case VQ_BROKEN:
			vu_ring_report_broken(ring);
			return;
		}
	}
	ring_wake(ring);
}

/**
 * vu_rings_go_on() - one round of one ring
 * @server: the server; a ring has more, as vu_ring_process() left it
 */
void vu_rings_go_on(struct vhost_user_server *server)
{
	unsigned int i;

	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		struct vu_ring *ring = &server->rings[server->turn];

		server->turn = (server->turn + 1) % VHOST_USER_NR_RINGS;
		if (!ring->more)
			continue;
		vu_ring_process(ring);
		break;
	}
	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		if (server->rings[i].more)
			vu_notify_fd(server->wake_fd);
}

/**
 * vu_ring_kicked() - the kick descriptor is readable
 * @ring: the ring
 */
void vu_ring_kicked(struct vu_ring *ring)
{
	uint64_t count;
	ssize_t got = read(ring->kick_fd, &count, sizeof(count));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		/* Hung up: left in the set it would be ready for ever. */
		log_error("ring %u: its kick descriptor is dead", ring->index);
		ring_drop_kick(ring);
		return;
	}
	vu_ring_process(ring);
}

/* The ring and the number of a vring state message. */
static struct vu_ring *state_ring(struct vhost_user_server *server, const struct vu_message *msg,
				  uint32_t *num)
{
	struct vhost_user_vring_state state;

	memcpy(&state, msg->payload, sizeof(state));
	*num = state.num;
	return state.index < VHOST_USER_NR_RINGS ? &server->rings[state.index] : NULL;
}

/**
 * vu_set_vring_num() - SET_VRING_NUM: the size
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_num(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply)
{
	uint32_t num;
	struct vu_ring *ring = state_ring(server, msg, &num);
	int err;

	(void)reply;
	if (!ring)
		return -EINVAL;
	err = ring_make_idle(ring);
	if (err)
		return err;
	err = virtqueue_set_size(&ring->vq, num);
	return err ? ring_refuse(ring, "its size", err) : 0;
}

/**
 * vu_set_vring_base() - SET_VRING_BASE: where to go on
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_base(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	uint32_t num;
	struct vu_ring *ring = state_ring(server, msg, &num);
	int err;

	(void)reply;
	if (!ring || num > UINT16_MAX)
		return -EINVAL;
	err = ring_make_idle(ring);
	if (err)
		return err;
	/*
	 * Answers are out of order: which requests before that one are over only the
	 * process knows that has stopped the ring, and it has to be this one.
	 */
	if (num && (int32_t)num != ring->stopped_at) {
		log_error("ring %u cannot go on at %u, where this device has not stopped it: "
			  "requests would be executed twice, or never; restart the guest",
			  ring->index, num);
		return -EINVAL;
	}
	ring->vq.next_avail = num;
	return 0;
}

/**
 * vu_get_vring_base() - GET_VRING_BASE: stop, and say where
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_get_vring_base(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	struct vhost_user_vring_state state;
	uint32_t num;
	struct vu_ring *ring = state_ring(server, msg, &num);

	if (!ring)
		return -EINVAL;
	vu_ring_stop(ring);
	state.index = ring->index;
	state.num = ring->vq.next_avail;
	memcpy(reply->payload, &state, sizeof(state));
	reply->size = sizeof(state);
	return 0;
}

/**
 * vu_set_vring_addr() - SET_VRING_ADDR: where the ring is
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_addr(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	struct vhost_user_vring_addr addr;
	struct vu_ring *ring;
	int err;

	(void)reply;
	memcpy(&addr, msg->payload, sizeof(addr));
	/* Logging of dirty memory is not offered. */
	if (addr.index >= VHOST_USER_NR_RINGS || addr.flags & VHOST_USER_VRING_F_LOG)
		return -EINVAL;
	ring = &server->rings[addr.index];
	err = ring_make_idle(ring);
	if (err)
		return err;
	err = virtqueue_set_addresses(&ring->vq, addr.desc, addr.avail, addr.used);
	return err ? ring_refuse(ring, "its addresses", err) : 0;
}

/**
 * vu_set_vring_enable() - SET_VRING_ENABLE: whether it is read
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_enable(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply)
{
	uint32_t num;
	struct vu_ring *ring = state_ring(server, msg, &num);

	(void)reply;
	if (!ring || num > 1)
		return -EINVAL;
	ring->enabled = num;
	log_event("ring %u: %s", ring->index, num ? "enabled" : "disabled");
	vu_update_activity(server);
	/* Kicks that came while it was disabled were not acted on. */
	if (num)
		ring_wake(ring);
	return 0;
}

/*
 * The ring that a message with a descriptor is about, and the descriptor, made
 * non-blocking and taken out of the message; -1: the message says there is none.
 */
static int fd_ring(struct vhost_user_server *server, struct vu_message *msg, struct vu_ring **ring,
		   int *fd)
{
	uint64_t value = vu_message_u64(msg);
	uint64_t index = value & VHOST_USER_VRING_INDEX_MASK;
	unsigned int expected = value & VHOST_USER_VRING_NOFD_MASK ? 0 : 1;
	int err;

	if (value & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NOFD_MASK) ||
	    index >= VHOST_USER_NR_RINGS || msg->nr_fds != expected)
		return -EINVAL;
	if (expected) {
		err = vu_set_nonblocking(msg->fds[0]);
		if (err)
			return err;
	}
	*ring = &server->rings[index];
	*fd = expected ? vu_message_take_fd(msg) : -1;
	return 0;
}

/**
 * vu_set_vring_kick() - SET_VRING_KICK: how the guest wakes us; starts the ring
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_kick(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	struct vu_ring *ring;
	int fd, err;

	(void)reply;
	err = fd_ring(server, msg, &ring, &fd);
	if (err)
		return err;
	if (fd < 0) {
		log_error("ring %u: no kick descriptor, and rings are not polled", ring->index);
		return -EOPNOTSUPP;
	}
	err = vu_watch(server, fd, SOURCE_KICK + ring->index);
	if (err)
		goto err_close;
	if (!ring->running) {
		err = virtqueue_start(&ring->vq);
		if (err) {
			err = ring_refuse(ring, "to start it", err);
			goto err_unwatch;
		}
		ring->running = true;
		ring->told = false;
		log_event("ring %u: started at %u, %u entries", ring->index, ring->vq.next_avail,
			  ring->vq.size);
	}
	ring_drop_kick(ring);
	ring->kick_fd = fd;
	vu_update_activity(server);
	/* The guest may have filled the ring before anybody watched the descriptor. */
	ring_wake(ring);
	return 0;

err_unwatch:
	vu_unwatch(server, fd);
err_close:
	close(fd);
	return err;
}

/**
 * vu_set_vring_call() - SET_VRING_CALL: how to interrupt the guest
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_call(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	struct vu_ring *ring;
	int fd, err;

	(void)reply;
	err = fd_ring(server, msg, &ring, &fd);
	if (err)
		return err;
	vu_close_fd(&ring->call_fd);
	ring->call_fd = fd;
	/* What was signalled on the old descriptor may never have been seen. */
	if (ring->running)
		ring->signal = true;
	return 0;
}

/**
 * vu_set_vring_err() - SET_VRING_ERR: where to say that it is broken
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_vring_err(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply)
{
	struct vu_ring *ring;
	int fd, err;

	(void)reply;
	err = fd_ring(server, msg, &ring, &fd);
	if (err)
		return err;
	vu_close_fd(&ring->err_fd);
	ring->err_fd = fd;
	/* It may come after what there was to say. */
	if (ring->told)
		vu_notify_fd(fd);
	return 0;
}
