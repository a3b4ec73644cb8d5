// SPDX-License-Identifier: MIT
/*
 * vhost_user: the vhost-user back end between a VMM and a gpu_device
 *
 * Invariants: every descriptor that arrives in a message is in msg.fds until
 * a handler takes it out, and what is still there after the handler is closed,
 * so none leaks.  A ring is running from its kick descriptor's arrival until it
 * is stopped; it is active while it is also enabled, and only active rings are
 * read.  A request carries the generation of its ring: an answer of an earlier
 * generation is dropped.  The step function handles one event at a time, so
 * there is never an event of a descriptor that an earlier event closed.
 *
 * Threads: one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "util/log.h"
#include "vhost/vhost_user.h"
#include "vhost/vhost_user_shmem.h"
#include "vhost/vhost_user_wire.h"
#include "vhost/virtqueue.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Holds the largest message, a full memory table, with room to spare. */
#define MAX_PAYLOAD 4096
#define MAX_FDS GUEST_MEMORY_MAX_REGIONS
/* What the kernel passes at most in one message (SCM_MAX_FD). */
#define MAX_FDS_KERNEL 253
/* Memory regions one by one: the RAM, and what the guest has mapped of ours. */
#define MAX_MEM_SLOTS 512

/*
 * When a round of a ring ends, to let everything else have its turn: after that
 * many bytes of requests, or that much time.
 */
#define ROUND_BYTES (UINT64_C(16) << 20)
#define ROUND_MS 100

_Static_assert(VIRTQUEUE_MAX_SIZE <= GPU_DEVICE_MAX_PENDING / VHOST_USER_NR_RINGS,
	       "full rings are no more than the device takes");
_Static_assert(VIRTQUEUE_MAX_ANSWER >= GPU_DEVICE_MAX_ANSWER, "any answer is kept room for");

#define TRANSPORT_FEATURES                                            \
	(BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_F_VERSION_1) | \
	 BIT(VHOST_USER_F_PROTOCOL_FEATURES))

#define PROTOCOL_FEATURES                                                             \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |       \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) | \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) | BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE))

/*
 * With a host-visible region.  A front end counts what is mapped in it as memory
 * of the guest, and has no room for more than 8 regions if they cannot be named
 * one by one.
 */
#define SHMEM_PROTOCOL_FEATURES \
	(BIT(VHOST_USER_PROTOCOL_F_SHMEM) | BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

/* All that mapping something there needs. */
#define SHMEM_NEEDS                                                                  \
	(BIT(VHOST_USER_PROTOCOL_F_SHMEM) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK))

/* What an epoll event is about; rings follow each other from SOURCE_KICK. */
enum source {
	SOURCE_LISTENER,
	SOURCE_CONNECTION,
	SOURCE_BACKEND,
	SOURCE_BACKEND_TIMER,
	SOURCE_WAKE,
	SOURCE_DEVICE,
	SOURCE_KICK,
};

/**
 * struct message - a message while it arrives
 * @header: valid once @received says so
 * @payload: header.size bytes
 * @received: bytes of header and payload so far
 * @fds: -1 where a handler has taken one
 * @nr_fds: how many came
 * @surplus: more came than any message has; they were closed at once
 */
struct message {
	struct vhost_user_header header;
	unsigned char payload[MAX_PAYLOAD] __attribute__((aligned(8)));
	size_t received;
	int fds[MAX_FDS];
	unsigned int nr_fds;
	bool surplus;
};

/**
 * struct reply - payload of an answer
 * @payload: the bytes
 * @size: how many
 */
struct reply {
	unsigned char payload[sizeof(struct vhost_user_shmem_config)];
	size_t size;
};

_Static_assert(sizeof(struct vhost_user_shmem_config) >=
		       sizeof(struct vhost_user_config) + VHOST_USER_MAX_CONFIG_SIZE,
	       "no answer is larger");

/**
 * struct mem_slot - a memory region of the front end's
 * @region: as it was named
 * @fd: its file; -1: one that we had it map, no RAM
 */
struct mem_slot {
	struct vhost_user_region region;
	int fd;
};

/**
 * struct ring - a virtqueue and its descriptors
 * @server: whose it is
 * @index: number of the queue
 * @vq: the queue
 * @kick_fd: readable when the guest has work; -1: none
 * @call_fd: written to interrupt the guest; -1: it does not want to be
 * @err_fd: written when the ring breaks, or -1
 * @enabled: what SET_VRING_ENABLE said last
 * @running: see the top of the file
 * @signal: the guest is owed a look at call_fd
 * @more: the last round left requests in the ring
 * @told: that the ring is broken, or cannot be set up, was logged
 * @generation: counts stops
 */
struct ring {
	struct vhost_user_server *server;
	unsigned int index;
	struct virtqueue vq;
	int kick_fd;
	int call_fd;
	int err_fd;
	bool enabled;
	bool running;
	bool signal;
	bool more;
	bool told;
	uint64_t generation;
};

/**
 * struct ring_request - a request that the device has
 * @gpu: what the device knows of it
 * @chain: the descriptors
 * @ring: where it came from
 * @generation: of the ring at that time
 */
struct ring_request {
	struct gpu_request gpu;
	struct vq_chain chain;
	struct ring *ring;
	uint64_t generation;
};

struct statistics {
	uint64_t connections;
	uint64_t messages;
	uint64_t message_errors;
	uint64_t requests;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t bad_chains;
	uint64_t broken_rings;
};

/**
 * struct vhost_user_server - the back end
 * @gm: guest memory, the caller's
 * @dev: the device, the caller's
 * @transport: how the device answers
 * @epoll_fd: all descriptors that are waited for
 * @wake_fd: eventfd; a ring has more to do
 * @spare_fd: given up to refuse a connection when there are no descriptors left
 * @listen_fd: or -1
 * @listen_path: what to unlink at the end, or NULL
 * @listen_dev: with @listen_ino what was bound at @listen_path
 * @listen_ino: see @listen_dev
 * @conn_fd: the front end, or -1
 * @backend: for our own requests to the front end
 * @backend_timer: to look whether the rest of a request can be sent
 * @stopping: the device is being reset, and may ask for nothing
 * @violation: why the front end has to go, as was seen while it was not the time
 * @slots: the memory regions
 * @nr_slots: of @slots
 * @finished: see vhost_user_server_finished()
 * @features: that SET_FEATURES accepted
 * @protocol_features: that SET_PROTOCOL_FEATURES accepted
 * @active: a ring is active
 * @rings: the rings
 * @msg: what is arriving
 * @stats: since the start
 */
struct vhost_user_server {
	struct guest_memory *gm;
	struct gpu_device *dev;
	struct gpu_transport transport;
	int epoll_fd;
	int wake_fd;
	int spare_fd;
	int listen_fd;
	char *listen_path;
	dev_t listen_dev;
	ino_t listen_ino;
	int conn_fd;
	struct shmem_channel backend;
	int backend_timer;
	bool stopping;
	const char *violation;
	struct mem_slot slots[MAX_MEM_SLOTS];
	unsigned int nr_slots;
	bool finished;
	uint64_t features;
	uint64_t protocol_features;
	bool active;
	struct ring rings[VHOST_USER_NR_RINGS];
	struct message msg;
	struct statistics stats;
};

/* Descriptors */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int watch(struct vhost_user_server *server, int fd, unsigned int source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = source };

	return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/*
 * Explicit, because closing is not enough: the front end has descriptors of
 * the same open file, which keep it in the epoll set.
 */
static void unwatch(struct vhost_user_server *server, int fd)
{
	(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	return 0;
}

/* Non-blocking: a full pipe or eventfd means that the other side has not looked yet. */
static void notify_fd(int fd)
{
	const uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_event("notification failed: %s", strerror(errno));
}

/* Rings */

static bool ring_active(const struct ring *ring)
{
	bool has_enable = ring->server->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES);

	return ring->running && (ring->enabled || !has_enable);
}

static void flush_signals(struct vhost_user_server *server)
{
	unsigned int i;

	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		struct ring *ring = &server->rings[i];

		if (ring->signal && virtqueue_wants_signal(&ring->vq))
			notify_fd(ring->call_fd);
		ring->signal = false;
	}
}

/* The way of our own requests to the front end is gone. */
static void close_backend(struct vhost_user_server *server)
{
	if (server->backend.fd < 0)
		return;
	unwatch(server, server->backend.fd);
	if (shmem_channel_close(&server->backend))
		gpu_device_shmem_done(server->dev, -EPIPE);
}

/* What has come back on it.  Returns why the front end has to go, or NULL. */
static const char *read_backend(struct vhost_user_server *server)
{
	bool refused = false;

	for (;;) {
		switch (shmem_channel_receive(&server->backend, &refused)) {
		case SHMEM_NOTHING:
			return NULL;
		case SHMEM_ANSWER:
			gpu_device_shmem_done(server->dev, refused ? -EIO : 0);
			break;
		case SHMEM_CLOSED:
			log_error("the VMM has closed the back-end channel");
			close_backend(server);
			return NULL;
		case SHMEM_VIOLATION:
			return "no answer to what we asked for";
		}
	}
}

static void set_backend_timer(struct vhost_user_server *server, unsigned int us)
{
	struct itimerspec when = { .it_value = { .tv_nsec = us * 1000l } };

	timerfd_settime(server->backend_timer, 0, &when, NULL);
}

static void push_backend(struct vhost_user_server *server)
{
	uint64_t ticks;

	(void)!read(server->backend_timer, &ticks, sizeof(ticks));
	set_backend_timer(server, shmem_channel_push(&server->backend));
}

/*
 * The device's request that the front end has carried out by now is over when the
 * device is reset: what it has mapped it takes away, with the reset, by itself.
 * One that it has not even begun with is withdrawn.
 */
static void reset_device_now(struct vhost_user_server *server)
{
	const char *why;

	server->stopping = true;
	if (shmem_channel_withdraw(&server->backend))
		gpu_device_shmem_done(server->dev, -ECANCELED);
	why = read_backend(server);
	if (why)
		server->violation = why;
	gpu_device_reset(server->dev);
	server->stopping = false;
}

/*
 * After anything that can make a ring active or inactive.  Without an active
 * ring the guest's driver is gone or about to give its memory back: the device
 * must let go of it before the front end hears our answer.
 */
static void update_activity(struct vhost_user_server *server)
{
	bool active = false;
	unsigned int i;

	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		active = active || ring_active(&server->rings[i]);
	if (active == server->active)
		return;
	server->active = active;
	if (active) {
		/* The device forgot them if it was reset in between. */
		gpu_device_set_features(server->dev, server->features & ~TRANSPORT_FEATURES);
		return;
	}
	log_event("the last ring has stopped: device reset");
	reset_device_now(server);
	flush_signals(server);
}

/* Look at @ring at the next step, as if the guest had kicked it. */
static void ring_wake(struct ring *ring)
{
	ring->more = true;
	notify_fd(ring->server->wake_fd);
}

static void ring_drop_kick(struct ring *ring)
{
	if (ring->kick_fd >= 0)
		unwatch(ring->server, ring->kick_fd);
	close_fd(&ring->kick_fd);
}

static void ring_stop(struct ring *ring)
{
	if (!ring->running)
		return;
	log_event("ring %u: stopped at %u", ring->index, ring->vq.next_avail);
	ring->running = false;
	/* Before the queue goes: a reset hands back what is in flight. */
	update_activity(ring->server);
	flush_signals(ring->server);
	ring->generation++;
	virtqueue_stop(&ring->vq);
	ring_drop_kick(ring);
	ring->more = false;
	ring->told = false;
}

/* Configuration of a ring: stops it if it is disabled, refused if it is active. */
static int ring_make_idle(struct ring *ring)
{
	if (ring_active(ring))
		return -EBUSY;
	ring_stop(ring);
	return 0;
}

static void ring_report_broken(struct ring *ring)
{
	if (ring->told)
		return;
	ring->told = true;
	ring->server->stats.broken_rings++;
	log_error("ring %u is broken: %s", ring->index, ring->vq.broken);
	notify_fd(ring->err_fd);
}

/*
 * The ring cannot be set up as the front end says, which passes on what the
 * guest wrote: no reason to hang up, which would take the VMM's device down for
 * good.  The ring stays without what was refused, so it cannot start; the guest
 * can reset its device and do better.  Returns what the handler is to return.
 */
static int ring_refuse(struct ring *ring, const char *what, int err)
{
	if (!ring->told) {
		ring->told = true;
		ring->server->stats.broken_rings++;
		log_error("ring %u cannot be used: %s: %s", ring->index, what, strerror(-err));
	}
	notify_fd(ring->err_fd);
	return -err;
}

/* The device's way back; see struct gpu_transport. */
static void respond(void *opaque, struct gpu_request *req, const void *data, size_t len)
{
	struct vhost_user_server *server = opaque;
	struct ring_request *request = req->opaque;
	struct ring *ring = request->ring;

	if (request->generation == ring->generation) {
		virtqueue_push(&ring->vq, &request->chain, data, len);
		server->stats.bytes_out += len < request->chain.capacity ? len :
									   request->chain.capacity;
		ring->signal = true;
	}
	vq_chain_destroy(&request->chain);
	free(request);
}

static void ring_request(struct ring *ring, struct vq_chain *chain)
{
	struct vhost_user_server *server = ring->server;
	struct ring_request *request = calloc(1, sizeof(*request));
	unsigned char *data = chain->data;
	size_t len = chain->len, capacity = chain->capacity;

	server->stats.requests++;
	server->stats.bytes_in += len;
	if (!request) {
		log_error("ring %u: no memory for a request", ring->index);
		virtqueue_push(&ring->vq, chain, NULL, 0);
		ring->signal = true;
		vq_chain_destroy(chain);
		return;
	}
	/* The copy is good for the call only; the request may live longer. */
	chain->data = NULL;
	chain->len = 0;
	request->chain = *chain;
	request->ring = ring;
	request->generation = ring->generation;
	request->gpu.opaque = request;
	gpu_device_command(server->dev, ring->index, data, len, capacity, &request->gpu);
	free(data);
}

static void ring_bad_chain(struct ring *ring)
{
	struct statistics *stats = &ring->server->stats;

	ring->signal = true;
	/* The guest can make any number of these: one line, the rest with --verbose. */
	if (!stats->bad_chains++)
		log_error("ring %u: bad request: %s (more are counted)", ring->index,
			  ring->vq.bad_chain);
	else
		log_event("ring %u: bad request: %s", ring->index, ring->vq.bad_chain);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*
 * At most one round of the ring, so that no guest can keep us from the rest.
 * One request at least, and one more than fits the round at most.
 */
static void ring_process(struct ring *ring)
{
	uint64_t bytes = ring->server->stats.bytes_in, end = now_ms() + ROUND_MS;
	struct vq_chain chain;
	uint32_t left;

	ring->more = false;
	if (!ring_active(ring))
		return;
	for (left = ring->vq.size; left; left--) {
		if (ring->server->stats.bytes_in - bytes >= ROUND_BYTES || now_ms() > end)
			break;
		switch (virtqueue_pop(&ring->vq, &chain)) {
		case VQ_EMPTY:
			return;
		case VQ_REQUEST:
			ring_request(ring, &chain);
			break;
		case VQ_DROPPED:
			ring_bad_chain(ring);
			break;
		case VQ_BROKEN:
			ring_report_broken(ring);
			return;
		}
	}
	ring_wake(ring);
}

static void ring_kicked(struct ring *ring)
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
	ring_process(ring);
}

/* The connection */

static void message_reset(struct message *msg)
{
	unsigned int i;

	for (i = 0; i < msg->nr_fds; i++)
		close_fd(&msg->fds[i]);
	msg->nr_fds = 0;
	msg->surplus = false;
	msg->received = 0;
}

/* Wait for a front end, if there is where one can come from. */
static int start_listening(struct vhost_user_server *server)
{
	if (server->listen_fd < 0) {
		server->finished = true;
		return 0;
	}
	return watch(server, server->listen_fd, SOURCE_LISTENER);
}

static int start_connection(struct vhost_user_server *server, int fd)
{
	int err = watch(server, fd, SOURCE_CONNECTION);

	if (err)
		return err;
	server->conn_fd = fd;
	server->stats.connections++;
	log_event("front end connected");
	return 0;
}

static void ring_forget(struct ring *ring)
{
	/* Whoever wanted the answers is gone: the reset in ring_stop() gives none. */
	ring->generation++;
	ring_stop(ring);
	close_fd(&ring->call_fd);
	close_fd(&ring->err_fd);
	virtqueue_destroy(&ring->vq);
	virtqueue_init(&ring->vq, ring->server->gm);
	ring->enabled = false;
	ring->signal = false;
	ring->told = false;
}

static void close_slots(struct mem_slot *slots, unsigned int nr)
{
	while (nr--)
		close_fd(&slots[nr].fd);
}

/* Everything that the front end gave us goes; the device is as new. */
static void drop_connection(struct vhost_user_server *server)
{
	unsigned int i;

	if (server->conn_fd < 0)
		return;
	unwatch(server, server->conn_fd);
	close_fd(&server->conn_fd);
	message_reset(&server->msg);
	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		ring_forget(&server->rings[i]);
	close_backend(server);
	shmem_channel_forget(&server->backend);
	server->violation = NULL;
	server->features = 0;
	server->protocol_features = 0;
	close_slots(server->slots, server->nr_slots);
	server->nr_slots = 0;
	(void)guest_memory_set(server->gm, NULL, 0);
}

static int hang_up(struct vhost_user_server *server, const char *why)
{
	log_event("front end disconnected: %s", why);
	drop_connection(server);
	return start_listening(server);
}

/*
 * Left in the backlog the connection would make the socket readable for ever.
 * Taken with the spare descriptor and closed, it hears that it cannot be served.
 */
static void refuse_connection(struct vhost_user_server *server)
{
	int fd;

	close_fd(&server->spare_fd);
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	server->spare_fd = eventfd(0, EFD_CLOEXEC);
}

/* Whether a failure of accept() is about the socket, not about one connection. */
static bool accept_failed_for_good(int err)
{
	return err == EBADF || err == EINVAL || err == ENOTSOCK || err == EOPNOTSUPP ||
	       err == EFAULT;
}

static int accept_connection(struct vhost_user_server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int err;

	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return 0;
		if (accept_failed_for_good(errno))
			return -errno;
		log_error("cannot take a connection: %s", strerror(errno));
		refuse_connection(server);
		return 0;
	}
	err = start_connection(server, fd);
	if (err) {
		log_error("cannot serve a connection: %s", strerror(-err));
		close(fd);
		return 0;
	}
	/* The next one waits in the backlog until this one has gone. */
	unwatch(server, server->listen_fd);
	return 0;
}

/* Returns whether all of it went out. */
static bool send_reply(struct vhost_user_server *server, const struct message *msg,
		       const void *payload, size_t size)
{
	struct vhost_user_header header = {
		.request = msg->header.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = size,
	};
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)payload, .iov_len = size },
	};
	struct msghdr out = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t sent;

	/*
	 * Not waiting: a front end reads an answer before it sends the next
	 * request, so a full socket is one that will never be read.
	 */
	do {
		sent = sendmsg(server->conn_fd, &out, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)(sizeof(header) + size);
}

/*
 * Handlers: 0, or a negative errno if the front end did wrong, or a positive one
 * if it passed on what the guest did wrong.
 */

static int take_fd(struct message *msg)
{
	int fd = msg->fds[0];

	msg->fds[0] = -1;
	return fd;
}

static uint64_t payload_u64(const struct message *msg)
{
	uint64_t value;

	memcpy(&value, msg->payload, sizeof(value));
	return value;
}

static void reply_u64(struct reply *reply, uint64_t value)
{
	memcpy(reply->payload, &value, sizeof(value));
	reply->size = sizeof(value);
}

static uint64_t offered_features(const struct vhost_user_server *server)
{
	return gpu_device_features(server->dev) | TRANSPORT_FEATURES;
}

static int get_features(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	(void)msg;
	reply_u64(reply, offered_features(server));
	return 0;
}

static int set_features(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	uint64_t features = payload_u64(msg);

	(void)reply;
	if (features & ~offered_features(server))
		return -EINVAL;
	if (server->active && features != server->features)
		return -EBUSY;
	server->features = features;
	gpu_device_set_features(server->dev, features & ~TRANSPORT_FEATURES);
	update_activity(server);
	return 0;
}

static uint64_t offered_protocol_features(const struct vhost_user_server *server)
{
	return PROTOCOL_FEATURES |
	       (gpu_device_host_visible(server->dev) ? SHMEM_PROTOCOL_FEATURES : 0);
}

static int get_protocol_features(struct vhost_user_server *server, struct message *msg,
				 struct reply *reply)
{
	(void)msg;
	reply_u64(reply, offered_protocol_features(server));
	return 0;
}

static int set_protocol_features(struct vhost_user_server *server, struct message *msg,
				 struct reply *reply)
{
	uint64_t features = payload_u64(msg);

	(void)reply;
	if (features & ~offered_protocol_features(server))
		return -EINVAL;
	server->protocol_features = features;
	return 0;
}

static int get_queue_num(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	(void)server;
	(void)msg;
	reply_u64(reply, VHOST_USER_NR_RINGS);
	return 0;
}

static int set_owner(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	/* There is one front end at a time, and it is the owner. */
	(void)server;
	(void)msg;
	(void)reply;
	return 0;
}

/* RESET_OWNER, which old front ends send for it, and RESET_DEVICE. */
static int reset_device(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	unsigned int i;

	(void)msg;
	(void)reply;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		ring_stop(&server->rings[i]);
		server->rings[i].enabled = false;
	}
	/* Also what came in by configuration writes, with no ring running. */
	reset_device_now(server);
	return 0;
}

/* Guest memory is what @slots say, but for what the front end has mapped of ours. */
static int apply_slots(struct vhost_user_server *server, const struct mem_slot *slots,
		       unsigned int nr)
{
	struct guest_region regions[GUEST_MEMORY_MAX_REGIONS];
	unsigned int i, nr_regions = 0;
	int err;

	for (i = 0; i < nr; i++) {
		const struct vhost_user_region *region = &slots[i].region;

		if (slots[i].fd < 0)
			continue;
		if (nr_regions == GUEST_MEMORY_MAX_REGIONS)
			return -EINVAL;
		regions[nr_regions++] = (struct guest_region){
			.guest_addr = region->guest_addr,
			.size = region->size,
			.user_addr = region->user_addr,
			.fd_offset = region->mmap_offset,
			.fd = slots[i].fd,
		};
	}
	err = guest_memory_set(server->gm, regions, nr_regions);
	if (err)
		return err;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		struct ring *ring = &server->rings[i];

		virtqueue_memory_changed(&ring->vq);
		if (ring->vq.broken)
			ring_report_broken(ring);
	}
	return 0;
}

/* A region and its file, which is taken out of the message. */
static struct mem_slot take_slot(struct vhost_user_server *server, struct message *msg,
				 unsigned int index, const void *from)
{
	struct mem_slot slot = { .fd = msg->fds[index] };
	bool ours = shmem_channel_passed(&server->backend, slot.fd);

	memcpy(&slot.region, from, sizeof(slot.region));
	log_event("region: guest %#llx size %#llx at %#llx of its file%s",
		  (unsigned long long)slot.region.guest_addr, (unsigned long long)slot.region.size,
		  (unsigned long long)slot.region.mmap_offset,
		  ours ? ", which is one of ours and no RAM" : "");
	if (ours)
		close(slot.fd);
	msg->fds[index] = -1;
	slot.fd = ours ? -1 : slot.fd;
	return slot;
}

static int set_mem_table(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	struct mem_slot slots[GUEST_MEMORY_MAX_REGIONS] = { { .fd = -1 } };
	struct vhost_user_memory table;
	unsigned int i;
	int err;

	(void)reply;
	if (msg->header.size < sizeof(table))
		return -EINVAL;
	memcpy(&table, msg->payload, sizeof(table));
	if (table.nr > GUEST_MEMORY_MAX_REGIONS || table.nr != msg->nr_fds ||
	    msg->header.size != sizeof(table) + table.nr * sizeof(struct vhost_user_region))
		return -EINVAL;
	for (i = 0; i < table.nr; i++)
		slots[i] = take_slot(server, msg, i,
				     msg->payload + sizeof(table) +
					     i * sizeof(struct vhost_user_region));
	err = apply_slots(server, slots, table.nr);
	if (err) {
		close_slots(slots, table.nr);
		return err;
	}
	close_slots(server->slots, server->nr_slots);
	memcpy(server->slots, slots, table.nr * sizeof(slots[0]));
	server->nr_slots = table.nr;
	return 0;
}

static int get_max_mem_slots(struct vhost_user_server *server, struct message *msg,
			     struct reply *reply)
{
	(void)server;
	(void)msg;
	reply_u64(reply, MAX_MEM_SLOTS);
	return 0;
}

static int add_mem_reg(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	struct mem_slot *slot = &server->slots[server->nr_slots];
	int err = 0;

	(void)reply;
	if (msg->nr_fds != 1)
		return -EINVAL;
	if (server->nr_slots == MAX_MEM_SLOTS)
		return -ENOSPC;
	*slot = take_slot(server, msg, 0,
			  msg->payload + offsetof(struct vhost_user_single_region, region));
	if (slot->fd >= 0)
		err = apply_slots(server, server->slots, server->nr_slots + 1);
	if (err)
		close_fd(&slot->fd);
	else
		server->nr_slots++;
	return err;
}

static int rem_mem_reg(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	struct vhost_user_single_region in;
	struct mem_slot gone;
	unsigned int i;
	int err = 0;

	(void)reply;
	memcpy(&in, msg->payload, sizeof(in));
	for (i = 0; i < server->nr_slots; i++) {
		const struct vhost_user_region *region = &server->slots[i].region;

		if (region->guest_addr == in.region.guest_addr && region->size == in.region.size &&
		    region->user_addr == in.region.user_addr)
			break;
	}
	if (i == server->nr_slots)
		return -EINVAL;
	gone = server->slots[i];
	server->slots[i] = server->slots[--server->nr_slots];
	if (gone.fd >= 0)
		err = apply_slots(server, server->slots, server->nr_slots);
	if (err)
		server->slots[server->nr_slots++] = gone;
	else
		close_fd(&gone.fd);
	return err;
}

static int get_shmem_config(struct vhost_user_server *server, struct message *msg,
			    struct reply *reply)
{
	struct vhost_user_shmem_config config = { .nr = 0 };

	(void)msg;
	config.sizes[VIRTIO_GPU_SHM_ID_HOST_VISIBLE] = gpu_device_host_visible(server->dev);
	if (config.sizes[VIRTIO_GPU_SHM_ID_HOST_VISIBLE])
		config.nr = 1;
	memcpy(reply->payload, &config, sizeof(config));
	reply->size = sizeof(config);
	return 0;
}

/* The ring and the number of a vring state message. */
static struct ring *state_ring(struct vhost_user_server *server, const struct message *msg,
			       uint32_t *num)
{
	struct vhost_user_vring_state state;

	memcpy(&state, msg->payload, sizeof(state));
	*num = state.num;
	return state.index < VHOST_USER_NR_RINGS ? &server->rings[state.index] : NULL;
}

static int set_vring_num(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	uint32_t num;
	struct ring *ring = state_ring(server, msg, &num);
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

static int set_vring_base(struct vhost_user_server *server, struct message *msg,
			  struct reply *reply)
{
	uint32_t num;
	struct ring *ring = state_ring(server, msg, &num);
	int err;

	(void)reply;
	if (!ring || num > UINT16_MAX)
		return -EINVAL;
	err = ring_make_idle(ring);
	if (err)
		return err;
	ring->vq.next_avail = num;
	return 0;
}

static int get_vring_base(struct vhost_user_server *server, struct message *msg,
			  struct reply *reply)
{
	struct vhost_user_vring_state state;
	uint32_t num;
	struct ring *ring = state_ring(server, msg, &num);

	if (!ring)
		return -EINVAL;
	ring_stop(ring);
	state.index = ring->index;
	state.num = ring->vq.next_avail;
	memcpy(reply->payload, &state, sizeof(state));
	reply->size = sizeof(state);
	return 0;
}

static int set_vring_addr(struct vhost_user_server *server, struct message *msg,
			  struct reply *reply)
{
	struct vhost_user_vring_addr addr;
	struct ring *ring;
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

static int set_vring_enable(struct vhost_user_server *server, struct message *msg,
			    struct reply *reply)
{
	uint32_t num;
	struct ring *ring = state_ring(server, msg, &num);

	(void)reply;
	if (!ring || num > 1)
		return -EINVAL;
	ring->enabled = num;
	log_event("ring %u: %s", ring->index, num ? "enabled" : "disabled");
	update_activity(server);
	/* Kicks that came while it was disabled were not acted on. */
	if (num)
		ring_wake(ring);
	return 0;
}

/*
 * The ring that a message with a descriptor is about, and the descriptor, made
 * non-blocking and taken out of the message; -1: the message says there is none.
 */
static int fd_ring(struct vhost_user_server *server, struct message *msg, struct ring **ring,
		   int *fd)
{
	uint64_t value = payload_u64(msg);
	uint64_t index = value & VHOST_USER_VRING_INDEX_MASK;
	unsigned int expected = value & VHOST_USER_VRING_NOFD_MASK ? 0 : 1;
	int err;

	if (value & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NOFD_MASK) ||
	    index >= VHOST_USER_NR_RINGS || msg->nr_fds != expected)
		return -EINVAL;
	if (expected) {
		err = set_nonblocking(msg->fds[0]);
		if (err)
			return err;
	}
	*ring = &server->rings[index];
	*fd = expected ? take_fd(msg) : -1;
	return 0;
}

static int set_vring_kick(struct vhost_user_server *server, struct message *msg,
			  struct reply *reply)
{
	struct ring *ring;
	int fd, err;

	(void)reply;
	err = fd_ring(server, msg, &ring, &fd);
	if (err)
		return err;
	if (fd < 0) {
		log_error("ring %u: no kick descriptor, and rings are not polled", ring->index);
		return -EOPNOTSUPP;
	}
	err = watch(server, fd, SOURCE_KICK + ring->index);
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
	update_activity(server);
	/* The guest may have filled the ring before anybody watched the descriptor. */
	ring_wake(ring);
	return 0;

err_unwatch:
	unwatch(server, fd);
err_close:
	close(fd);
	return err;
}

static int set_vring_call(struct vhost_user_server *server, struct message *msg,
			  struct reply *reply)
{
	struct ring *ring;
	int fd, err;

	(void)reply;
	err = fd_ring(server, msg, &ring, &fd);
	if (err)
		return err;
	close_fd(&ring->call_fd);
	ring->call_fd = fd;
	/* What was signalled on the old descriptor may never have been seen. */
	if (ring->running)
		ring->signal = true;
	return 0;
}

static int set_vring_err(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	struct ring *ring;
	int fd, err;

	(void)reply;
	err = fd_ring(server, msg, &ring, &fd);
	if (err)
		return err;
	close_fd(&ring->err_fd);
	ring->err_fd = fd;
	/* It may come after what there was to say. */
	if (ring->told)
		notify_fd(fd);
	return 0;
}

static int set_backend_req_fd(struct vhost_user_server *server, struct message *msg,
			      struct reply *reply)
{
	int err;

	(void)reply;
	if (msg->nr_fds != 1)
		return -EINVAL;
	close_backend(server);
	err = watch(server, msg->fds[0], SOURCE_BACKEND);
	if (err)
		return err;
	err = shmem_channel_open(&server->backend, msg->fds[0]);
	if (err)
		unwatch(server, msg->fds[0]);
	else
		(void)take_fd(msg);
	return err;
}

/* The device's way to the host-visible region; see struct gpu_transport. */
static int shmem_request(struct vhost_user_server *server, uint32_t request,
			 const struct gpu_shmem_range *range, int fd)
{
	int err = -EOPNOTSUPP;

	if (server->stopping)
		err = -ECANCELED;
	else if ((server->protocol_features & SHMEM_NEEDS) == SHMEM_NEEDS)
		err = shmem_channel_request(&server->backend, request, range, fd);
	if (!err)
		set_backend_timer(server, server->backend.wait_us);
	log_event("%s %#llx bytes at %#llx: %s",
		  request == VHOST_USER_BACKEND_SHMEM_MAP ? "map" : "unmap",
		  (unsigned long long)range->size, (unsigned long long)range->offset,
		  err ? strerror(-err) : "asked for");
	return err;
}

static int shmem_map(void *opaque, const struct gpu_shmem_range *range, int fd)
{
	return shmem_request(opaque, VHOST_USER_BACKEND_SHMEM_MAP, range, fd);
}

static int shmem_unmap(void *opaque, const struct gpu_shmem_range *range)
{
	return shmem_request(opaque, VHOST_USER_BACKEND_SHMEM_UNMAP, range, -1);
}

/* The header of a configuration message whose range makes sense. */
static int config_header(const struct message *msg, struct vhost_user_config *config)
{
	if (msg->header.size < sizeof(*config))
		return -EINVAL;
	memcpy(config, msg->payload, sizeof(*config));
	if (config->size > VHOST_USER_MAX_CONFIG_SIZE ||
	    config->offset > VHOST_USER_MAX_CONFIG_SIZE - config->size ||
	    msg->header.size != sizeof(*config) + config->size)
		return -EINVAL;
	return 0;
}

static int get_config(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	struct vhost_user_config config;

	/* An answer without payload is how this message fails. */
	if (config_header(msg, &config))
		return 0;
	memcpy(reply->payload, &config, sizeof(config));
	gpu_device_read_config(server->dev, config.offset, reply->payload + sizeof(config),
			       config.size);
	reply->size = sizeof(config) + config.size;
	return 0;
}

static int set_config(struct vhost_user_server *server, struct message *msg, struct reply *reply)
{
	struct vhost_user_config config;
	int err = config_header(msg, &config);

	(void)reply;
	if (err)
		return err;
	gpu_device_write_config(server->dev, config.offset, msg->payload + sizeof(config),
				config.size);
	return 0;
}

/* Payload of any size: the handler checks. */
#define SIZE_VARIES UINT32_MAX

/**
 * struct handler - what is known of a request
 * @name: for the log
 * @size: bytes of payload
 * @max_fds: descriptors it may come with
 * @replies: has an answer of its own; a failure has to be shown by hanging up
 * @handle: does it
 */
struct handler {
	const char *name;
	uint32_t size;
	unsigned int max_fds;
	bool replies;
	int (*handle)(struct vhost_user_server *server, struct message *msg, struct reply *reply);
};

static const struct handler handlers[] = {
	[VHOST_USER_GET_FEATURES] = { "GET_FEATURES", 0, 0, true, get_features },
	[VHOST_USER_SET_FEATURES] = { "SET_FEATURES", 8, 0, false, set_features },
	[VHOST_USER_SET_OWNER] = { "SET_OWNER", 0, 0, false, set_owner },
	[VHOST_USER_RESET_OWNER] = { "RESET_OWNER", 0, 0, false, reset_device },
	[VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", SIZE_VARIES, MAX_FDS, false,
				       set_mem_table },
	[VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", sizeof(struct vhost_user_vring_state), 0,
				       false, set_vring_num },
	[VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", sizeof(struct vhost_user_vring_addr), 0,
					false, set_vring_addr },
	[VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", sizeof(struct vhost_user_vring_state), 0,
					false, set_vring_base },
	[VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", sizeof(struct vhost_user_vring_state), 0,
					true, get_vring_base },
	[VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", 8, 1, false, set_vring_kick },
	[VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", 8, 1, false, set_vring_call },
	[VHOST_USER_SET_VRING_ERR] = { "SET_VRING_ERR", 8, 1, false, set_vring_err },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, 0, true,
					       get_protocol_features },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", 8, 0, false,
					       set_protocol_features },
	[VHOST_USER_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, 0, true, get_queue_num },
	[VHOST_USER_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", sizeof(struct vhost_user_vring_state),
					  0, false, set_vring_enable },
	[VHOST_USER_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", 0, 1, false, set_backend_req_fd },
	[VHOST_USER_GET_CONFIG] = { "GET_CONFIG", SIZE_VARIES, 0, true, get_config },
	[VHOST_USER_SET_CONFIG] = { "SET_CONFIG", SIZE_VARIES, 0, false, set_config },
	[VHOST_USER_RESET_DEVICE] = { "RESET_DEVICE", 0, 0, false, reset_device },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", 0, 0, true, get_max_mem_slots },
	[VHOST_USER_ADD_MEM_REG] = { "ADD_MEM_REG", sizeof(struct vhost_user_single_region), 1,
				     false, add_mem_reg },
	[VHOST_USER_REM_MEM_REG] = { "REM_MEM_REG", sizeof(struct vhost_user_single_region), 1,
				     false, rem_mem_reg },
	[VHOST_USER_GET_SHMEM_CONFIG] = { "GET_SHMEM_CONFIG", 0, 0, true, get_shmem_config },
};

static const struct handler *find_handler(uint32_t request)
{
	if (request >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[request].handle)
		return NULL;
	return &handlers[request];
}

static int run_handler(struct vhost_user_server *server, struct message *msg,
		       const struct handler *handler, struct reply *reply)
{
	if (!handler)
		return -EOPNOTSUPP;
	if (msg->surplus || msg->nr_fds > handler->max_fds ||
	    (handler->size != SIZE_VARIES && msg->header.size != handler->size))
		return -EINVAL;
	return handler->handle(server, msg, reply);
}

/*
 * A whole message.  Returns why the front end has to go, or NULL: when it asked
 * for something that it cannot be told the failure of otherwise.  What is the
 * guest's fault it need not be told of.
 */
static const char *handle_message(struct vhost_user_server *server)
{
	struct message *msg = &server->msg;
	const struct handler *handler = find_handler(msg->header.request);
	struct reply reply = { .size = 0 };
	bool sent = true;
	int err;

	server->stats.messages++;
	log_event("message %u %s: %u bytes, %u descriptors", msg->header.request,
		  handler ? handler->name : "(unknown)", msg->header.size, msg->nr_fds);
	err = run_handler(server, msg, handler, &reply);
	if (err) {
		server->stats.message_errors++;
		/* ring_refuse() has said it, once, of what a guest can do again and again. */
		(err < 0 ? log_error : log_event)("message %u %s refused: %s", msg->header.request,
						  handler ? handler->name : "(unknown)",
						  strerror(abs(err)));
	}
	if (handler && handler->replies) {
		if (err)
			return "no answer to give";
		sent = send_reply(server, msg, reply.payload, reply.size);
	} else if (msg->header.flags & VHOST_USER_NEED_REPLY &&
		   server->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
		reply_u64(&reply, err ? 1 : 0);
		sent = send_reply(server, msg, reply.payload, reply.size);
	} else if (err < 0 && handler) {
		return "refused a message that asked for no answer";
	}
	return sent ? NULL : "it does not read our answers";
}

/* Keep the descriptors of a control message, close what does not fit. */
static void collect_fds(struct message *msg, struct msghdr *in)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(in); cmsg; cmsg = CMSG_NXTHDR(in, cmsg)) {
		size_t i, nr = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < nr; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			if (msg->nr_fds < MAX_FDS) {
				msg->fds[msg->nr_fds++] = fd;
			} else {
				close(fd);
				msg->surplus = true;
			}
		}
	}
	if (in->msg_flags & MSG_CTRUNC)
		msg->surplus = true;
}

/* Up to @len bytes of the message and what comes with them, as recv(). */
static ssize_t receive(struct vhost_user_server *server, void *to, size_t len)
{
	union {
		char buffer[CMSG_SPACE(MAX_FDS_KERNEL * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr in = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer),
	};
	ssize_t got;

	got = recvmsg(server->conn_fd, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return -errno;
	collect_fds(&server->msg, &in);
	return got;
}

/*
 * Take in what has arrived, up to the end of one message.  Returns why the
 * front end has to go, or NULL.
 */
static const char *handle_readable(struct vhost_user_server *server)
{
	struct message *msg = &server->msg;
	const size_t head = sizeof(msg->header);
	const char *why;
	ssize_t got;

	for (;;) {
		if (msg->received < head)
			got = receive(server, (char *)&msg->header + msg->received,
				      head - msg->received);
		else
			got = receive(server, msg->payload + (msg->received - head),
				      head + msg->header.size - msg->received);
		if (got == -EAGAIN || got == -EINTR)
			return NULL;
		if (got < 0)
			return strerror((int)-got);
		if (!got)
			return msg->received ? "hung up within a message" : "hung up";
		msg->received += got;
		if (msg->received == head) {
			if ((msg->header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
			    msg->header.flags & VHOST_USER_REPLY)
				return "not a vhost-user request";
			if (msg->header.size > MAX_PAYLOAD)
				return "a message larger than any there is";
		}
		if (msg->received >= head && msg->received == head + msg->header.size)
			break;
	}
	why = handle_message(server);
	message_reset(msg);
	return why;
}

/* The server */

/**
 * vhost_user_server_new() - a server without device and socket
 * @gm: guest memory; outlives the server, which fills it
 *
 * Return: the server, or NULL with errno set.
 */
struct vhost_user_server *vhost_user_server_new(struct guest_memory *gm)
{
	struct vhost_user_server *server = calloc(1, sizeof(*server));
	unsigned int i;

	if (!server)
		return NULL;
	server->gm = gm;
	server->transport.respond = respond;
	server->transport.shmem_map = shmem_map;
	server->transport.shmem_unmap = shmem_unmap;
	server->transport.opaque = server;
	server->listen_fd = -1;
	server->conn_fd = -1;
	shmem_channel_init(&server->backend);
	server->spare_fd = -1;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		struct ring *ring = &server->rings[i];

		ring->server = server;
		ring->index = i;
		ring->kick_fd = -1;
		ring->call_fd = -1;
		ring->err_fd = -1;
		virtqueue_init(&ring->vq, gm);
	}
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll_fd < 0)
		goto err_free;
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->wake_fd < 0)
		goto err_epoll;
	if (watch(server, server->wake_fd, SOURCE_WAKE))
		goto err_wake;
	server->backend_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (server->backend_timer < 0)
		goto err_wake;
	if (watch(server, server->backend_timer, SOURCE_BACKEND_TIMER))
		goto err_timer;
	server->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (server->spare_fd < 0)
		goto err_timer;
	return server;

err_timer:
	close(server->backend_timer);
err_wake:
	close(server->wake_fd);
err_epoll:
	close(server->epoll_fd);
err_free:
	free(server);
	return NULL;
}

/**
 * vhost_user_server_transport() - how the device answers
 * @server: the server
 *
 * Return: what gpu_device_new() wants.
 */
const struct gpu_transport *vhost_user_server_transport(struct vhost_user_server *server)
{
	return &server->transport;
}

/**
 * vhost_user_server_attach() - name the device
 * @server: has none yet
 * @dev: made with vhost_user_server_transport()
 *
 * Return: 0 or a negative errno.
 */
int vhost_user_server_attach(struct vhost_user_server *server, struct gpu_device *dev)
{
	server->dev = dev;
	return watch(server, gpu_device_fd(dev), SOURCE_DEVICE);
}

static void unlink_socket(struct vhost_user_server *server)
{
	struct stat st;

	/* Only what we bound: somebody may have put another one there. */
	if (server->listen_path && !stat(server->listen_path, &st) &&
	    st.st_dev == server->listen_dev && st.st_ino == server->listen_ino)
		unlink(server->listen_path);
	free(server->listen_path);
	server->listen_path = NULL;
}

/**
 * vhost_user_server_close() - hang up and stop listening
 * @server: its device is reset if a front end used it
 */
void vhost_user_server_close(struct vhost_user_server *server)
{
	drop_connection(server);
	unlink_socket(server);
	close_fd(&server->listen_fd);
	if (server->dev)
		unwatch(server, gpu_device_fd(server->dev));
	server->dev = NULL;
}

/**
 * vhost_user_server_free() - the end of a server
 * @server: closed; may be NULL
 */
void vhost_user_server_free(struct vhost_user_server *server)
{
	if (!server)
		return;
	close_fd(&server->spare_fd);
	close(server->backend_timer);
	close(server->wake_fd);
	close(server->epoll_fd);
	free(server);
}

/* Whether a socket that is in the way can go: 0, or why not. */
static int remove_stale_socket(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Only a refusal says that nobody is there; a full backlog says the opposite. */
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno != ECONNREFUSED)
		err = -EADDRINUSE;
	else if (unlink(addr->sun_path))
		err = -errno;
	close(fd);
	return err;
}

/**
 * vhost_user_server_listen() - wait for front ends at a path
 * @server: has no socket yet
 * @path: of the socket
 *
 * Return: 0 or a negative errno, see the header.
 */
int vhost_user_server_listen(struct vhost_user_server *server, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, err;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return *path ? -ENAMETOOLONG : -ENOENT;
	strcpy(addr.sun_path, path);
	err = remove_stale_socket(&addr);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		goto err_close;
	}
	if (listen(fd, 1) || stat(path, &st)) {
		err = -errno;
		goto err_unlink;
	}
	server->listen_path = strdup(path);
	if (!server->listen_path) {
		err = -ENOMEM;
		goto err_unlink;
	}
	server->listen_dev = st.st_dev;
	server->listen_ino = st.st_ino;
	server->listen_fd = fd;
	err = start_listening(server);
	if (!err)
		return 0;
	server->listen_fd = -1;
	free(server->listen_path);
	server->listen_path = NULL;
err_unlink:
	unlink(path);
err_close:
	close(fd);
	return err;
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? -1 : value;
}

/**
 * vhost_user_server_adopt() - use a socket that somebody else made
 * @server: has no socket yet
 * @fd: listening or connected
 *
 * Return: 0 or a negative errno, see the header.
 */
int vhost_user_server_adopt(struct vhost_user_server *server, int fd)
{
	int err;

	if (fcntl(fd, F_GETFD) < 0)
		return -errno;
	if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM)
		return -EINVAL;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	if (socket_option(fd, SO_ACCEPTCONN) != 1)
		return start_connection(server, fd);
	err = set_nonblocking(fd);
	if (err)
		return err;
	server->listen_fd = fd;
	err = start_listening(server);
	if (err)
		server->listen_fd = -1;
	return err;
}

/**
 * vhost_user_server_fd() - for an event loop around this one
 * @server: the server
 *
 * Return: readable when there is something to do; stays the server's.
 */
int vhost_user_server_fd(const struct vhost_user_server *server)
{
	return server->epoll_fd;
}

static void handle_wake(struct vhost_user_server *server)
{
	uint64_t count;
	unsigned int i;

	if (read(server->wake_fd, &count, sizeof(count)) < 0)
		return;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		if (server->rings[i].more)
			ring_process(&server->rings[i]);
	}
}

static int handle_event(struct vhost_user_server *server, unsigned int source)
{
	const char *why;

	switch (source) {
	case SOURCE_LISTENER:
		return accept_connection(server);
	case SOURCE_CONNECTION:
		why = handle_readable(server);
		if (!why)
			why = server->violation;
		return why ? hang_up(server, why) : 0;
	case SOURCE_BACKEND:
		why = read_backend(server);
		return why ? hang_up(server, why) : 0;
	case SOURCE_BACKEND_TIMER:
		push_backend(server);
		return 0;
	case SOURCE_WAKE:
		handle_wake(server);
		return 0;
	case SOURCE_DEVICE:
		gpu_device_dispatch(server->dev);
		return 0;
	default:
		ring_kicked(&server->rings[source - SOURCE_KICK]);
		return 0;
	}
}

/**
 * vhost_user_server_step() - handle one event
 * @server: has a device
 * @timeout_ms: how long to wait for one
 *
 * Return: 1, 0 or a negative errno, see the header.
 */
int vhost_user_server_step(struct vhost_user_server *server, int timeout_ms)
{
	struct epoll_event event;
	int nr, err;

	nr = epoll_wait(server->epoll_fd, &event, 1, timeout_ms);
	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	if (!nr)
		return 0;
	err = handle_event(server, event.data.u32);
	if (err)
		return err;
	/* After the whole event: one interrupt for all answers of it. */
	flush_signals(server);
	return 1;
}

/**
 * vhost_user_server_finished() - nothing can happen any more
 * @server: the server
 *
 * Return: see the header.
 */
bool vhost_user_server_finished(const struct vhost_user_server *server)
{
	return server->finished;
}

/**
 * vhost_user_server_connected() - whether there is a front end
 * @server: the server
 *
 * Return: the answer.
 */
bool vhost_user_server_connected(const struct vhost_user_server *server)
{
	return server->conn_fd >= 0;
}

/**
 * vhost_user_server_print_stats() - what crossed socket and rings
 * @server: the server
 * @to: where to
 */
void vhost_user_server_print_stats(const struct vhost_user_server *server, FILE *to)
{
	const struct statistics *s = &server->stats;

	fprintf(to, "connections: %llu\n", (unsigned long long)s->connections);
	fprintf(to, "messages: %llu\n", (unsigned long long)s->messages);
	fprintf(to, "message_errors: %llu\n", (unsigned long long)s->message_errors);
	fprintf(to, "ring_requests: %llu\n", (unsigned long long)s->requests);
	fprintf(to, "ring_bytes_in: %llu\n", (unsigned long long)s->bytes_in);
	fprintf(to, "ring_bytes_out: %llu\n", (unsigned long long)s->bytes_out);
	fprintf(to, "bad_requests: %llu\n", (unsigned long long)s->bad_chains);
	fprintf(to, "broken_rings: %llu\n", (unsigned long long)s->broken_rings);
}
