// SPDX-License-Identifier: MIT
/*
 * vu_vring: the messages about rings, SET_VRING_* and GET_VRING_BASE
 *
 * What is in them comes from the guest as well as from the front end: see
 * ring_refuse() for the difference.
 *
 * Threads: the one of the server.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vhost/vu_internal.h"

/* Configuration of a ring: stops it if it is disabled, refused if it is active. */
static int ring_make_idle(struct vu_ring *ring)
{
	if (vu_ring_active(ring))
		return -EBUSY;
	vu_ring_stop(ring);
	return 0;
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
		vu_ring_wake(ring);
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
	vu_ring_drop_kick(ring);
	ring->kick_fd = fd;
	vu_update_activity(server);
	/* The guest may have filled the ring before anybody watched the descriptor. */
	vu_ring_wake(ring);
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
