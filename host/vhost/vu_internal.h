/* SPDX-License-Identifier: MIT */
/*
 * vu_internal: what the files of the vhost-user back end share
 *
 *	vhost_user.c	sockets, front ends that come and go, events, statistics
 *	vu_listen.c	a socket at a path
 *	vu_message.c	a message as it arrives, and its answer
 *	vu_handlers.c	which handler a message has, and the simple ones
 *	vu_memory.c	memory regions
 *	vu_ring.c	rings, and what is taken from them and handed back
 *	vu_vring.c	the messages about rings
 *	vu_backend.c	our own requests to the front end
 *	vu_reset.c	waiting for the device to let go, and going on afterwards
 *
 * Nobody else includes this.
 *
 * Threads: the one of the server.
 */
#ifndef VU_INTERNAL_H
#define VU_INTERNAL_H

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "util/histogram.h"
#include "util/log.h"
#include "vhost/backend.h"
#include "vhost/vhost_user.h"
#include "vhost/vhost_user_shmem.h"
#include "vhost/virtqueue.h"
#include "vhost/vu_message.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Memory regions one by one: the RAM, and what the guest has mapped of ours. */
#define VU_MAX_SLOTS 512

#define VU_TRANSPORT_FEATURES                                         \
	(BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_F_VERSION_1) | \
	 BIT(VHOST_USER_F_PROTOCOL_FEATURES))

/* What an epoll event is about; rings follow each other from SOURCE_KICK. */
enum source {
	SOURCE_LISTENER,
	SOURCE_CONNECTION,
	SOURCE_BACKEND,
	SOURCE_BACKEND_TIMER,
	SOURCE_RESET_TIMER,
	SOURCE_WAKE,
	SOURCE_DEVICE,
	SOURCE_KICK,
};

/**
 * struct vu_slot - a memory region of the front end's
 * @region: as it was named
 * @fd: its file; -1: one that we had it map, no RAM
 */
struct vu_slot {
	struct vhost_user_region region;
	int fd;
};

/**
 * struct vu_ring - a virtqueue and its descriptors
 * @server: whose it is
 * @index: number of the queue
 * @vq: the queue
 * @kick_fd: readable when the guest has work; -1: none
 * @call_fd: written to interrupt the guest; -1: it does not want to be
 * @err_fd: written when the ring breaks, or -1
 * @enabled: what SET_VRING_ENABLE said last
 * @running: see vu_ring.c
 * @stopping: not running any more, and stopped when the device has been reset
 * @signal: the guest is owed a look at call_fd
 * @more: the last round left requests in the ring
 * @waits: the same, and vu_rings_resume() is waited for
 * @told: that the ring is broken, or cannot be set up, was logged
 * @generation: counts stops
 * @stopped_at: the request that is the next one, since it was stopped by us; -1: it
 *	was not, or a front end ago, with requests that were lost
 * @lost: there are such requests
 * @parked: requests that are handed back when the ring's memory is there again
 */
struct vu_ring {
	struct vhost_user_server *server;
	unsigned int index;
	struct virtqueue vq;
	int kick_fd;
	int call_fd;
	int err_fd;
	bool enabled;
	bool running;
	bool stopping;
	bool signal;
	bool more;
	bool waits;
	bool told;
	uint64_t generation;
	int32_t stopped_at;
	bool lost;
	STAILQ_HEAD(vu_parked, vu_ring_request) parked;
};

/**
 * struct vu_ring_request - a request that the device has
 * @chain: the descriptors
 * @ring: where it came from
 * @generation: of the ring at that time
 * @link: of requests that cannot be handed back now
 * @answer: to be handed back then
 * @answer_len: bytes of it
 */
struct vu_ring_request {
	struct vq_chain chain;
	struct vu_ring *ring;
	uint64_t generation;
	STAILQ_ENTRY(vu_ring_request) link;
	void *answer;
	size_t answer_len;
};

/**
 * struct vu_statistics - what crossed socket and rings, ever
 * @connections: front ends
 * @messages: of theirs
 * @message_errors: that were refused
 * @requests: that were handed to the device
 * @bytes_in: of requests
 * @bytes_out: of answers
 * @bad_chains: requests that could not be read
 * @broken_rings: rings that could not go on, or not be set up
 * @times: how long events took that this thread has handled
 * @cpu_times: how much of it the thread ran
 */
struct vu_statistics {
	uint64_t connections;
	uint64_t messages;
	uint64_t message_errors;
	uint64_t requests;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t bad_chains;
	uint64_t broken_rings;
	struct histogram times;
	struct histogram cpu_times;
};

/**
 * struct vhost_user_server - the back end
 * @gm: guest memory, the caller's
 * @ops: what the device can do
 * @dev: the device, the caller's
 * @host: how the device answers
 * @epoll_fd: all descriptors that are waited for
 * @wake_fd: eventfd; a ring has more to do
 * @spare_fd: given up to refuse a connection when there are no descriptors left
 * @listen_fd: or -1
 * @listening: @listen_fd is waited for
 * @told_waiting: whether one that waits while @dropping is told of
 * @listen_path: what to unlink at the end, or NULL
 * @listen_dev: with @listen_ino what was bound at @listen_path
 * @listen_ino: see @listen_dev
 * @conn_fd: the front end, or -1
 * @backend: for our own requests to the front end
 * @backend_timer: to look whether the rest of a request can be sent
 * @held: a ring waits until the request in @backend is not announced any more
 * @resetting: the device is being reset, and may ask for nothing
 * @reset_over: it has been, and what waited for that is to go on
 * @reset_late: it takes longer than anybody waits for it
 * @reset_since: when it began, ms
 * @reset_timeout: how long a front end waits for it at most, ms; 0: for ever
 * @reset_timer: to look after it
 * @deferred: the answer to @msg waits for the reset
 * @reply: that answer
 * @dropping: the front end has gone, and what it gave us waits for the reset
 * @violation: why the front end has to go, as was seen while it was not the time
 * @slots: the memory regions
 * @nr_slots: of @slots
 * @operation: what the event is about that is being handled
 * @finished: see vhost_user_server_finished()
 * @features: that SET_FEATURES accepted
 * @protocol_features: that SET_PROTOCOL_FEATURES accepted
 * @active: a ring is active
 * @rings: the rings
 * @turn: whose turn it is if several have more
 * @msg: what is arriving
 * @stats: since the start
 */
struct vhost_user_server {
	struct guest_memory *gm;
	const struct vhost_backend_ops *ops;
	void *dev;
	struct vhost_backend_host host;
	int epoll_fd;
	int wake_fd;
	int spare_fd;
	int listen_fd;
	bool listening;
	bool told_waiting;
	char *listen_path;
	dev_t listen_dev;
	ino_t listen_ino;
	int conn_fd;
	struct shmem_channel backend;
	int backend_timer;
	bool held;
	bool resetting;
	bool reset_over;
	bool reset_late;
	uint64_t reset_since;
	unsigned int reset_timeout;
	int reset_timer;
	bool deferred;
	struct vu_reply reply;
	bool dropping;
	const char *violation;
	struct vu_slot slots[VU_MAX_SLOTS];
	unsigned int nr_slots;
	const char *operation;
	bool finished;
	uint64_t features;
	uint64_t protocol_features;
	bool active;
	struct vu_ring rings[VHOST_USER_NR_RINGS];
	unsigned int turn;
	struct vu_message msg;
	struct vu_statistics stats;
};

/**
 * struct vu_handler - what is known of a request
 * @name: for the log
 * @size: bytes of payload
 * @max_fds: descriptors it may come with
 * @replies: has an answer of its own; a failure has to be shown by hanging up
 * @handle: does it: 0, or a negative errno if the front end did wrong, or a
 *	positive one if it passed on what the guest did wrong
 */
struct vu_handler {
	const char *name;
	uint32_t size;
	unsigned int max_fds;
	bool replies;
	int (*handle)(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply);
};

static inline void vu_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline int vu_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	return 0;
}

/* Non-blocking: a full pipe or eventfd means that the other side has not looked yet. */
static inline void vu_notify_fd(int fd)
{
	const uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_event("notification failed: %s", strerror(errno));
}

/* vhost_user.c */
/* Wait for @fd; @source is an enum source.  0 or a negative errno. */
int vu_watch(struct vhost_user_server *server, int fd, unsigned int source);
/* Wait for other @events of @fd, which is waited for. */
void vu_watch_for(struct vhost_user_server *server, int fd, unsigned int source, uint32_t events);
void vu_unwatch(struct vhost_user_server *server, int fd);

/* vu_listen.c */
/* A socket that listens at @path, and what was bound there, or a negative errno. */
int vu_listen_at(const char *path, const struct vhost_user_access *access, struct stat *st);

/* vu_handlers.c */
/*
 * Carry out server->msg, which is complete.  Returns why the front
 * end has to go, or NULL.
 */
const char *vu_handle_message(struct vhost_user_server *server);
/* The device was reset: answer the message that waited for it.  The same. */
const char *vu_finish_message(struct vhost_user_server *server);

/* vu_memory.c */
void vu_close_slots(struct vu_slot *slots, unsigned int nr);
int vu_set_mem_table(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply);
int vu_get_max_mem_slots(struct vhost_user_server *server, struct vu_message *msg,
			 struct vu_reply *reply);
int vu_add_mem_reg(struct vhost_user_server *server, struct vu_message *msg,
		   struct vu_reply *reply);
int vu_rem_mem_reg(struct vhost_user_server *server, struct vu_message *msg,
		   struct vu_reply *reply);

/* vu_ring.c */
/* Running, and enabled where that is needed. */
bool vu_ring_active(const struct vu_ring *ring);
/* At most one round of what is in the ring. */
void vu_ring_process(struct vu_ring *ring);
/* Look at it at the next step. */
void vu_ring_wake(struct vu_ring *ring);
void vu_ring_drop_kick(struct vu_ring *ring);
/* Its kick descriptor is readable. */
void vu_ring_kicked(struct vu_ring *ring);
void vu_ring_stop(struct vu_ring *ring);
/* The device was reset: the end of what vu_ring_stop() began. */
void vu_ring_settle(struct vu_ring *ring);
/* The front end is gone: nothing of it is used any more but its memory. */
void vu_ring_abandon(struct vu_ring *ring);
/* Nor its memory. */
void vu_ring_forget(struct vu_ring *ring);
/* Look at those again that had to wait. */
void vu_rings_resume(struct vhost_user_server *server);
/* One round of one that has more. */
void vu_rings_go_on(struct vhost_user_server *server);
/* Guest memory is another one; @whole: all of it, so what is not there is gone. */
void vu_ring_memory_changed(struct vu_ring *ring, bool whole);
/* The device's way back; see struct vhost_backend_host. */
void vu_ring_respond(void *opaque, void *cookie, const void *data, size_t len);
void vu_ring_room(void *opaque);
/* Interrupt the guest for what was handed back since the last call. */
void vu_flush_signals(struct vhost_user_server *server);
/* After anything that can make a ring active or inactive. */
void vu_update_activity(struct vhost_user_server *server);

/* vu_vring.c */
int vu_set_vring_num(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply);
int vu_set_vring_base(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply);
int vu_get_vring_base(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply);
int vu_set_vring_addr(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply);
int vu_set_vring_enable(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply);
int vu_set_vring_kick(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply);
int vu_set_vring_call(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply);
int vu_set_vring_err(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply);

/* vu_backend.c */
/* The end of the channel of our own requests. */
void vu_backend_close(struct vhost_user_server *server);
/* What has come back on it.  Returns why the front end has to go, or NULL. */
const char *vu_backend_read(struct vhost_user_server *server);
/* Send the rest of a request, if it is the time. */
void vu_backend_push(struct vhost_user_server *server);
/* The device's way to shared memory; see struct vhost_backend_host. */
void vu_shmem_map(void *opaque, const struct vhost_shmem_range *range, int fd);
void vu_shmem_unmap(void *opaque, const struct vhost_shmem_range *range);
int vu_set_backend_req_fd(struct vhost_user_server *server, struct vu_message *msg,
			  struct vu_reply *reply);
int vu_get_shmem_config(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply);

/* vu_reset.c */
/* Have the device let go of everything; server->resetting until it has. */
void vu_begin_reset(struct vhost_user_server *server);
/* See struct vhost_backend_host. */
void vu_reset_done(void *opaque);
/*
 * The timer has gone off.  Returns whether the device takes longer than the front
 * end is to wait for it, which is said once.
 */
bool vu_reset_looked_after(struct vhost_user_server *server);

#endif /* VU_INTERNAL_H */
