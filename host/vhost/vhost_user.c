// SPDX-License-Identifier: MIT
/*
 * vhost_user: sockets, front ends that come and go, events and statistics
 *
 * The other files of the back end are listed in vu_internal.h.  Invariant: the
 * step function handles one event at a time, so there is never an event of a
 * descriptor that an earlier event closed.
 *
 * Threads: one.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "util/clock.h"
#include "vhost/vu_internal.h"

/* What this thread has run. */
static uint64_t clock_thread_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/**
 * vu_watch() - wait for a descriptor
 * @server: the server
 * @fd: not waited for yet
 * @source: an enum source
 *
 * Return: 0 or a negative errno.
 */
int vu_watch(struct vhost_user_server *server, int fd, unsigned int source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = source };

	return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/**
 * vu_watch_for() - wait for something else of a descriptor
 * @server: the server
 * @fd: the descriptor, which is waited for
 * @source: an enum source
 * @events: EPOLL*; 0: only that the other side has hung up
 */
void vu_watch_for(struct vhost_user_server *server, int fd, unsigned int source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u32 = source };

	(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

/**
 * vu_unwatch() - wait for a descriptor no more
 * @server: the server
 * @fd: the descriptor
 *
 * Explicit, because closing is not enough: the front end has descriptors of
 * the same open file, which keep it in the epoll set.
 */
void vu_unwatch(struct vhost_user_server *server, int fd)
{
	(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* The connection */

/* Wait for a front end, if there is where one can come from. */
static int start_listening(struct vhost_user_server *server)
{
	int err;

	if (server->listen_fd < 0) {
		server->finished = true;
		return 0;
	}
	if (server->listening) {
		vu_watch_for(server, server->listen_fd, SOURCE_LISTENER, EPOLLIN);
		return 0;
	}
	err = vu_watch(server, server->listen_fd, SOURCE_LISTENER);
	server->listening = !err;
	return err;
}

/* The next one waits in the backlog.  That it does is heard of once. */
static void stop_listening(struct vhost_user_server *server)
{
	vu_watch_for(server, server->listen_fd, SOURCE_LISTENER, EPOLLIN | EPOLLONESHOT);
}

static int start_connection(struct vhost_user_server *server, int fd)
{
	int err = vu_watch(server, fd, SOURCE_CONNECTION);

	if (err)
		return err;
	server->conn_fd = fd;
	server->stats.connections++;
	log_event("front end connected");
	return 0;
}

/* The device is as new: what was left of the front end goes, and the next may come. */
static int finish_drop(struct vhost_user_server *server)
{
	unsigned int i;

	server->dropping = false;
	server->told_waiting = false;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		vu_ring_forget(&server->rings[i]);
	shmem_channel_forget(&server->backend);
	server->violation = NULL;
	server->features = 0;
	server->protocol_features = 0;
	vu_close_slots(server->slots, server->nr_slots);
	server->nr_slots = 0;
	(void)guest_memory_set(server->gm, NULL, 0);
	server->ops->memory_changed(server->dev);
	return start_listening(server);
}

/* Everything that the front end gave us goes, its memory when the device lets go of it. */
static int drop_connection(struct vhost_user_server *server)
{
	unsigned int i;

	if (server->conn_fd < 0)
		return 0;
	vu_unwatch(server, server->conn_fd);
	vu_close_fd(&server->conn_fd);
	server->deferred = false;
	vu_message_reset(&server->msg);
	server->dropping = true;
	/* Not even heard of: most resets are over before anybody wonders. */
	if (server->listening)
		vu_watch_for(server, server->listen_fd, SOURCE_LISTENER, 0);
	for (i = 0; i < VHOST_USER_NR_RINGS; i++)
		vu_ring_abandon(&server->rings[i]);
	vu_backend_close(server);
	return server->resetting ? 0 : finish_drop(server);
}

static int hang_up(struct vhost_user_server *server, const char *why)
{
	log_event("front end disconnected: %s", why);
	return drop_connection(server);
}

/* The device was reset. */
static int go_on(struct vhost_user_server *server)
{
	const char *why = NULL;

	server->reset_over = false;
	if (server->dropping)
		return finish_drop(server);
	if (server->deferred)
		why = vu_finish_message(server);
	return why ? hang_up(server, why) : 0;
}

/* It still is not. */
static int look_after_reset(struct vhost_user_server *server)
{
	if (server->dropping && server->listening && !server->told_waiting) {
		server->told_waiting = true;
		stop_listening(server);
	}
	if (!vu_reset_looked_after(server))
		return 0;
	/* A program that was started for one front end has not to wait on. */
	server->finished = server->listen_fd < 0;
	if (server->dropping) {
		log_error("no front end is served before it has");
		return 0;
	}
	log_error("the VMM is hung up on instead of being told that it has: its guest has a GPU "
		  "that does nothing more, and no front end is served before it has");
	return hang_up(server, "the device could not be reset in time");
}

/*
 * Left in the backlog the connection would make the socket readable for ever.
 * Taken with the spare descriptor and closed, it hears that it cannot be served.
 */
static void refuse_connection(struct vhost_user_server *server)
{
	int fd;

	vu_close_fd(&server->spare_fd);
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

/* Somebody is there while nobody can be served. */
static void tell_waiting(const struct vhost_user_server *server)
{
	if (server->dropping)
		log_error("a VMM waits at the socket until the device has let go of the memory "
			  "of the one before");
	else
		log_error("another VMM waits at the socket until this one has gone: one is served "
			  "at a time");
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
	stop_listening(server);
	return 0;
}

/* What has arrived.  Returns why the front end has to go, or NULL. */
static const char *handle_readable(struct vhost_user_server *server)
{
	bool whole;
	const char *why = vu_message_receive(&server->msg, server->conn_fd, &whole);

	if (why || !whole)
		return why;
	why = vu_handle_message(server);
	if (!server->deferred)
		vu_message_reset(&server->msg);
	return why;
}

/* The server */

/**
 * vhost_user_server_new() - a server without device and socket
 * @gm: guest memory; outlives the server, which fills it
 * @reset_timeout_ms: how long a front end waits for the device to let go of its
 *	memory before it is hung up on; 0: for ever
 *
 * Return: the server, or NULL with errno set.
 */
struct vhost_user_server *vhost_user_server_new(struct guest_memory *gm,
						unsigned int reset_timeout_ms)
{
	struct vhost_user_server *server = calloc(1, sizeof(*server));
	unsigned int i;

	if (!server)
		return NULL;
	server->gm = gm;
	server->reset_timeout = reset_timeout_ms;
	server->host = (struct vhost_backend_host){
		.respond = vu_ring_respond,
		.room = vu_ring_room,
		.shmem_map = vu_shmem_map,
		.shmem_unmap = vu_shmem_unmap,
		.reset_done = vu_reset_done,
		.opaque = server,
	};
	server->listen_fd = -1;
	server->conn_fd = -1;
	shmem_channel_init(&server->backend);
	server->spare_fd = -1;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		struct vu_ring *ring = &server->rings[i];

		ring->server = server;
		ring->index = i;
		ring->kick_fd = -1;
		ring->call_fd = -1;
		ring->err_fd = -1;
		ring->stopped_at = -1;
		STAILQ_INIT(&ring->parked);
		virtqueue_init(&ring->vq, gm);
	}
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll_fd < 0)
		goto err_free;
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->wake_fd < 0)
		goto err_epoll;
	if (vu_watch(server, server->wake_fd, SOURCE_WAKE))
		goto err_wake;
	server->backend_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (server->backend_timer < 0)
		goto err_wake;
	if (vu_watch(server, server->backend_timer, SOURCE_BACKEND_TIMER))
		goto err_timer;
	server->reset_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (server->reset_timer < 0)
		goto err_timer;
	if (vu_watch(server, server->reset_timer, SOURCE_RESET_TIMER))
		goto err_timers;
	server->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (server->spare_fd < 0)
		goto err_timers;
	return server;

err_timers:
	close(server->reset_timer);
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
 * vhost_user_server_attach() - name the device
 * @server: has none yet
 * @ops: what it can do
 * @dev: it; outlives the server
 *
 * Return: 0 or a negative errno.
 */
int vhost_user_server_attach(struct vhost_user_server *server, const struct vhost_backend_ops *ops,
			     void *dev)
{
	server->ops = ops;
	server->dev = dev;
	return vu_watch(server, ops->fd(dev), SOURCE_DEVICE);
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
 * vhost_user_server_wait_reset() - wait until the device is not being reset
 * @server: served meanwhile
 * @timeout_ms: for how long at most
 *
 * Return: whether it is not.
 */
bool vhost_user_server_wait_reset(struct vhost_user_server *server, unsigned int timeout_ms)
{
	uint64_t now = clock_ms(), end = now + timeout_ms;

	while (server->resetting && now < end) {
		if (vhost_user_server_step(server, (int)(end - now)) < 0)
			break;
		now = clock_ms();
	}
	return !server->resetting;
}

/**
 * vhost_user_server_close() - hang up and stop listening
 * @server: its device is reset if a front end used it
 */
void vhost_user_server_close(struct vhost_user_server *server)
{
	unlink_socket(server);
	vu_close_fd(&server->listen_fd);
	server->listening = false;
	(void)drop_connection(server);
}

/**
 * vhost_user_server_free() - the end of a server
 * @server: closed; may be NULL
 */
void vhost_user_server_free(struct vhost_user_server *server)
{
	if (!server)
		return;
	vu_close_fd(&server->spare_fd);
	close(server->reset_timer);
	close(server->backend_timer);
	close(server->wake_fd);
	close(server->epoll_fd);
	free(server);
}

/**
 * vhost_user_server_listen() - wait for front ends at a path
 * @server: has no socket yet
 * @path: of the socket
 * @access: who may connect
 *
 * Return: 0 or a negative errno, see the header.
 */
int vhost_user_server_listen(struct vhost_user_server *server, const char *path,
			     const struct vhost_user_access *access)
{
	struct stat st;
	int fd, err;

	fd = vu_listen_at(path, access, &st);
	if (fd < 0)
		return fd;
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
	err = vu_set_nonblocking(fd);
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

	if (read(server->wake_fd, &count, sizeof(count)) == sizeof(count))
		vu_rings_go_on(server);
}

/* For the statistics; messages and kicks say more. */
static const char *event_name(unsigned int source)
{
	switch (source) {
	case SOURCE_LISTENER:
		return "accept a front end";
	case SOURCE_CONNECTION:
		return "a part of a message";
	case SOURCE_BACKEND:
		return "the back-end channel";
	case SOURCE_BACKEND_TIMER:
		return "the rest of a request";
	case SOURCE_RESET_TIMER:
		return "a look at the reset";
	case SOURCE_WAKE:
		return "the rest of the rings";
	case SOURCE_DEVICE:
		return "what the device says";
	case SOURCE_KICK:
		return "ring 0";
	default:
		return "ring 1";
	}
}

static int handle_event(struct vhost_user_server *server, unsigned int source)
{
	const char *why;

	switch (source) {
	case SOURCE_LISTENER:
		if (server->conn_fd < 0 && !server->dropping)
			return accept_connection(server);
		tell_waiting(server);
		return 0;
	case SOURCE_CONNECTION:
		/* While no message is read it is readable only for this. */
		why = server->deferred ? "hung up within a reset" : handle_readable(server);
		if (!why)
			why = server->violation;
		return why ? hang_up(server, why) : 0;
	case SOURCE_BACKEND:
		why = vu_backend_read(server);
		return why ? hang_up(server, why) : 0;
	case SOURCE_BACKEND_TIMER:
		vu_backend_push(server);
		return 0;
	case SOURCE_RESET_TIMER:
		return look_after_reset(server);
	case SOURCE_WAKE:
		handle_wake(server);
		return 0;
	case SOURCE_DEVICE:
		server->ops->dispatch(server->dev, &server->host);
		return server->reset_over ? go_on(server) : 0;
	default:
		vu_ring_kicked(&server->rings[source - SOURCE_KICK]);
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
	uint64_t start, cpu;
	int nr, err;

	nr = epoll_wait(server->epoll_fd, &event, 1, timeout_ms);
	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	if (!nr)
		return 0;
	start = clock_ns();
	cpu = clock_thread_ns();
	server->operation = event_name(event.data.u32);
	err = handle_event(server, event.data.u32);
	if (err)
		return err;
	if (server->held && !server->backend.announced) {
		server->held = false;
		vu_rings_resume(server);
	}
	/* After the whole event: one interrupt for all answers of it. */
	vu_flush_signals(server);
	histogram_add(&server->stats.cpu_times, clock_thread_ns() - cpu, server->operation);
	histogram_add(&server->stats.times, clock_ns() - start, server->operation);
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
	const struct vu_statistics *s = &server->stats;

	fprintf(to, "connections: %llu\n", (unsigned long long)s->connections);
	fprintf(to, "messages: %llu\n", (unsigned long long)s->messages);
	fprintf(to, "message_errors: %llu\n", (unsigned long long)s->message_errors);
	fprintf(to, "ring_requests: %llu\n", (unsigned long long)s->requests);
	fprintf(to, "ring_bytes_in: %llu\n", (unsigned long long)s->bytes_in);
	fprintf(to, "ring_bytes_out: %llu\n", (unsigned long long)s->bytes_out);
	fprintf(to, "bad_requests: %llu\n", (unsigned long long)s->bad_chains);
	fprintf(to, "broken_rings: %llu\n", (unsigned long long)s->broken_rings);
	histogram_print(&s->times, "transport operation", 3, to);
	fprintf(to, "longest CPU time of a transport operation (us): %llu (%s)\n",
		(unsigned long long)(s->cpu_times.longest_ns / 1000),
		s->cpu_times.longest ? s->cpu_times.longest : "none");
}
