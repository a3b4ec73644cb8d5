// SPDX-License-Identifier: MIT
/*
 * vu_ring: rings, and what is taken from them and handed back
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

		/* Whether the guest wants to be is written there. */
		if (virtqueue_away(&ring->vq))
			continue;
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

/**
 * vu_ring_wake() - look at a ring at the next step, as if the guest had kicked it
 * @ring: the ring
 */
void vu_ring_wake(struct vu_ring *ring)
{
	ring->more = true;
	vu_notify_fd(ring->server->wake_fd);
}

/**
 * vu_ring_drop_kick() - the kick descriptor of a ring goes
 * @ring: the ring; may have none
 */
void vu_ring_drop_kick(struct vu_ring *ring)
{
	if (ring->kick_fd >= 0)
		vu_unwatch(ring->server, ring->kick_fd);
	vu_close_fd(&ring->kick_fd);
}

static void request_free(struct vu_ring_request *request)
{
	free(request->answer);
	vq_chain_destroy(&request->chain);
	free(request);
}

static struct vu_ring_request *ring_take_parked(struct vu_ring *ring)
{
	struct vu_ring_request *request = STAILQ_FIRST(&ring->parked);

	if (request)
		STAILQ_REMOVE_HEAD(&ring->parked, link);
	return request;
}

static void ring_stopped(struct vu_ring *ring)
{
	struct vu_ring_request *request;

	ring->stopping = false;
	ring->generation++;
	ring->lost = virtqueue_in_flight(&ring->vq);
	ring->stopped_at = ring->vq.next_avail;
	while ((request = ring_take_parked(ring)))
		request_free(request);
	virtqueue_stop(&ring->vq);
	vu_ring_drop_kick(ring);
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
	vu_ring_drop_kick(ring);
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

/* Once, until it is stopped. */
static void ring_report(struct vu_ring *ring, const char *why)
{
	if (ring->told)
		return;
	ring->told = true;
	ring->server->stats.broken_rings++;
	log_error("ring %u is broken: %s", ring->index, why);
	vu_notify_fd(ring->err_fd);
}

/* To be handed back later.  Without memory the guest gets an empty answer. */
static void ring_park(struct vu_ring *ring, struct vu_ring_request *request, const void *data,
		      size_t len)
{
	request->answer = len ? malloc(len) : NULL;
	if (request->answer) {
		memcpy(request->answer, data, len);
		request->answer_len = len;
	}
	STAILQ_INSERT_TAIL(&ring->parked, request, link);
}

static void ring_hand_back(struct vu_ring *ring, const struct vu_ring_request *request,
			   const void *data, size_t len)
{
	uint64_t capacity = request->chain.capacity;

	virtqueue_push(&ring->vq, &request->chain, data, len);
	ring->server->stats.bytes_out += len < capacity ? len : capacity;
	ring->signal = true;
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
	struct vu_ring_request *request = cookie;
	struct vu_ring *ring = request->ring;

	(void)opaque;
	if (request->generation == ring->generation) {
		if (virtqueue_away(&ring->vq)) {
			ring_park(ring, request, data, len);
			return;
		}
		ring_hand_back(ring, request, data, len);
	}
	request_free(request);
}

/**
 * vu_ring_memory_changed() - guest memory is another one
 * @ring: the ring
 * @whole: all of it was named, so nothing more is to come
 */
void vu_ring_memory_changed(struct vu_ring *ring, bool whole)
{
	bool was_away = virtqueue_away(&ring->vq);
	struct vu_ring_request *request;

	virtqueue_memory_changed(&ring->vq);
	if (virtqueue_away(&ring->vq)) {
		log_event("ring %u: its memory is not there", ring->index);
		if (whole)
			ring_report(ring, "it is not in guest memory any more");
		return;
	}
	if (!was_away)
		return;
	log_event("ring %u: its memory is there again", ring->index);
	ring->told = false;
	while ((request = ring_take_parked(ring))) {
		ring_hand_back(ring, request, request->answer, request->answer_len);
		request_free(request);
	}
	vu_ring_wake(ring);
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
			vu_ring_wake(&server->rings[i]);
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
			ring_report(ring, ring->vq.broken);
			return;
		case VQ_AWAY:
			/* vu_ring_memory_changed() follows. */
			return;
		}
	}
	vu_ring_wake(ring);
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
		vu_ring_drop_kick(ring);
		return;
	}
	vu_ring_process(ring);
}
