// SPDX-License-Identifier: MIT
/*
 * renderer_virgl: contexts of stock libvirglrenderer, without GL
 *
 * Venus contexts live in worker processes that the library's render server
 * forks, one each; DRM native contexts, where the library has them, in this
 * process.  Only the library's stable interface is used.  What that does not
 * tell - which process, which socket, whether an attach failed - is found from
 * outside (render_process.h, and the library's log).
 *
 * Userptr resources are imported as dma-bufs, once for all contexts.  A context
 * that was given one may have it for as long as it lives, whatever is detached,
 * and longer than the resource; so a resource remembers its contexts also when
 * the library has it no more, until its dma-buf is gone from this process.
 *
 * A context ends in steps.  Its worker is killed and the library told at once;
 * when the worker is really gone, what the context had accepted is answered,
 * and only then the device hears that it is lost.  While it ends, it refuses.
 *
 * No call may wait for a worker for ever: a worker whose socket has no room, or
 * that owes an answer, has a moment, and less if others were slow before
 * (PATIENCE_MS), and is then ended.
 *
 * Threads: the ring thread, but for fence_retired(), which the library calls on
 * threads of its own.  These touch what @lock protects: the table of contexts by
 * the library's id, and the number of the last fence of each ring.  @lock is not
 * held while the library is called.
 */
#include "renderer/renderer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>
#include <virglrenderer.h>

#include "util/descriptors.h"
#include "renderer/virgl/drm_guard.h"
#include "util/log.h"
#include "renderer/virgl/render_process.h"
#include "memory/view_udmabuf.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define ERR_UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC
#define ERR_OUT_OF_MEMORY VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define ERR_INVALID_CONTEXT_ID VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define ERR_INVALID_PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER

#define CAPSET_VENUS 4u
#define CAPSET_DRM 6u
#define MAX_CAPSETS 2

#define MAX_RINGS 64
/* The library has a memory of its own for answers in such a blob, and does not ask for less. */
#define MIN_DRM_SHMEM 4096u
/* How long the render server may take to start, or to fork. */
#define SERVER_MS 60000u
/*
 * How long the ring waits for workers to read and to answer: so much at once, and
 * one millisecond more every so many.  A guest can make as many contexts that do
 * not listen as it likes.
 */
#define PATIENCE_MS 2000u
#define PATIENCE_REFILL 5u
/* An answer takes a moment in any case. */
#define MIN_ANSWER_MS 100u
/* What the library puts before a command stream that it sends. */
#define PACKET_OVERHEAD 64u
#define WORKER_ROOM (1 << 20)
#define REPORT_MS 5000
/* Forget resources that are gone when there are twice as many, and at least so many. */
#define MIN_FORGET 64u
#define MAX_EVENTS 64

/**
 * struct submission - accepted, and fenced
 * @next: on the same ring, later
 * @cookie: the device's
 * @fence: its number
 */
struct submission {
	struct submission *next;
	void *cookie;
	uint64_t fence;
};

/**
 * struct submission_list - of a ring, in order
 * @head: first that is not over
 * @tail: last
 */
struct submission_list {
	struct submission *head;
	struct submission *tail;
};

/**
 * enum context_state - of a context
 * @CONTEXT_RUNS: the library has it
 * @CONTEXT_BROKEN: it is to be ended by dispatch()
 * @CONTEXT_ENDS: killed, the library has it no more; its worker may still be there
 * @CONTEXT_GONE: the worker is gone, and everything answered
 */
enum context_state {
	CONTEXT_RUNS,
	CONTEXT_BROKEN,
	CONTEXT_ENDS,
	CONTEXT_GONE,
};

/**
 * struct virgl_context - a context
 * @base: must be first
 * @renderer: whose
 * @next: on the renderer's list
 * @id: the library's id, never used twice
 * @capset: CAPSET_*
 * @state: see there
 * @why: it ends, or NULL: the device wants it
 * @destroyed: the device knows it no more; to be freed when it is gone
 * @report: tell the device when it is gone
 * @socket: of its worker, our own descriptor; or -1
 * @max_packet: bytes that one submission may have
 * @worker: the worker process, or -1
 * @worker_pid: its id, good as long as @worker has not ended
 * @guard: of a DRM context
 * @rings: what is not over
 * @retired: the last fence that is over, of each ring (lock)
 * @changed: bit n: @retired[n] was changed (lock)
 */
struct virgl_context {
	struct renderer_context base;
	struct renderer *renderer;
	struct virgl_context *next;
	uint32_t id;
	uint32_t capset;
	enum context_state state;
	const char *why;
	bool destroyed;
	bool report;
	int socket;
	size_t max_packet;
	int worker;
	pid_t worker_pid;
	struct drm_guard guard;
	struct submission_list rings[MAX_RINGS];
	uint64_t retired[MAX_RINGS];
	uint64_t changed;
};

/**
 * enum resource_kind - what the library has
 * @RESOURCE_IMPORT: a userptr resource's dma-buf
 * @RESOURCE_PAGES: a guest blob's pages
 * @RESOURCE_BLOB: memory of a context
 */
enum resource_kind {
	RESOURCE_IMPORT,
	RESOURCE_PAGES,
	RESOURCE_BLOB,
};

/**
 * struct resource - a resource of the library, now or once
 * @id: the guest's, and the library's
 * @kind: see there
 * @live: the library has it
 * @dmabuf: contexts in this process can import it
 * @size: bytes
 * @dev: with @ino: which dma-buf an import is
 * @ino: see @dev
 * @backing: PAGES: held while @live
 * @iov: the pages
 * @nr_holders: how many
 * @max_holders: how many fit
 * @holders: the library's ids of the contexts that have it or once had
 */
struct resource {
	uint32_t id;
	enum resource_kind kind;
	bool live;
	bool dmabuf;
	uint64_t size;
	dev_t dev;
	ino_t ino;
	struct backing *backing;
	struct iovec *iov;
	size_t nr_holders;
	size_t max_holders;
	uint32_t *holders;
};

/**
 * struct renderer - all of it
 * @config: as given
 * @host: callbacks
 * @patience_ms: how long workers may keep the ring waiting, as of @patience_at
 * @patience_at: in milliseconds
 * @callbacks: what the library calls; it keeps the pointer
 * @capsets: what it offers
 * @nr_capsets: how many
 * @drm_type: enum drm_context_type
 * @epoll: what fd() says; has @event, @server and the workers
 * @event: something was retired, or broken
 * @server: the render server's process, or -1
 * @server_pid: its id, which is its own until the library is cleaned up
 * @server_socket: to it; the library's descriptor
 * @steps_due: a context is to make a step that no process's end brings
 * @limit: on calls that wait for another process
 * @last_id: of a context
 * @last_fence: of all contexts
 * @contexts: all, also such as end
 * @resources: id to struct resource
 * @nr_past: resources that are not live
 * @forget_at: look for resources that are gone when there are so many
 * @jobs: submissions given to the library
 * @lock: see the top of this file
 * @by_id: the library's id to struct virgl_context, such as run (lock)
 */
struct renderer {
	struct renderer_config config;
	struct renderer_host host;
	unsigned int patience_ms;
	uint64_t patience_at;
	struct virgl_renderer_callbacks callbacks;
	struct renderer_capset capsets[MAX_CAPSETS];
	unsigned int nr_capsets;
	uint32_t drm_type;
	int epoll;
	int event;
	int server;
	pid_t server_pid;
	int server_socket;
	bool steps_due;
	struct call_limit *limit;
	uint32_t last_id;
	uint64_t last_fence;
	struct virgl_context *contexts;
	struct id_table resources;
	size_t nr_past;
	size_t forget_at;
	uint64_t jobs;
	pthread_mutex_t lock;
	struct id_table by_id;
};

/* ---- what the library tells ---- */

/* The library is one for the whole process. */
static bool library_in_use;
/*
 * Complaints since the last look, of the thread that made the call: some calls
 * of the library have no other way to say that they failed.
 */
static __thread unsigned int complaints;
static __thread unsigned int remarks;
/* Complaints are for the person who starts the program. */
static __thread bool starting;

static void library_log(enum virgl_log_level_flags level, const char *message, void *opaque)
{
	int len = (int)strcspn(message, "\n");

	(void)opaque;
	if (level >= VIRGL_LOG_LEVEL_ERROR)
		complaints++;
	if (level >= VIRGL_LOG_LEVEL_INFO)
		remarks++;
	/* A guest can make the library complain as often as it likes. */
	if (starting && level >= VIRGL_LOG_LEVEL_ERROR)
		log_error("libvirglrenderer: %.*s", len, message);
	else if (level >= VIRGL_LOG_LEVEL_INFO)
		log_event("libvirglrenderer: %.*s", len, message);
}

static void notify(struct renderer *renderer)
{
	uint64_t one = 1;

	/* Only a counter that is full can refuse, and that is readable. */
	if (write(renderer->event, &one, sizeof(one)) < 0)
		return;
}

/* On any thread. */
static void fence_retired(void *cookie, uint32_t id, uint32_t ring, uint64_t fence)
{
	struct renderer *renderer = cookie;
	struct virgl_context *context;

	pthread_mutex_lock(&renderer->lock);
	context = id_table_find(&renderer->by_id, id);
	if (context && ring < MAX_RINGS && fence > context->retired[ring]) {
		context->retired[ring] = fence;
		context->changed |= (uint64_t)1 << ring;
	}
	pthread_mutex_unlock(&renderer->lock);
	notify(renderer);
}

/* Fences without a context are not made here. */
static void old_fence_retired(void *cookie, uint32_t fence)
{
	(void)cookie;
	(void)fence;
}

static int watch(struct renderer *renderer, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(renderer->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* ---- the end of submissions and contexts ---- */

static void answer_until(struct virgl_context *context, unsigned int ring, uint64_t fence,
			 uint32_t response)
{
	struct submission_list *list = &context->rings[ring];
	struct renderer *renderer = context->renderer;

	while (list->head && list->head->fence <= fence) {
		struct submission *submission = list->head;

		list->head = submission->next;
		if (!list->head)
			list->tail = NULL;
		renderer->host.submitted(renderer->host.opaque, submission->cookie, response);
		free(submission);
	}
}

static void answer_retired(struct virgl_context *context)
{
	uint64_t retired[MAX_RINGS], changed;
	unsigned int ring;

	pthread_mutex_lock(&context->renderer->lock);
	changed = context->changed;
	context->changed = 0;
	if (changed)
		memcpy(retired, context->retired, sizeof(retired));
	pthread_mutex_unlock(&context->renderer->lock);
	for (ring = 0; ring < MAX_RINGS; ring++)
		if (changed >> ring & 1)
			answer_until(context, ring, retired[ring], OK);
}

/* It cannot go on; where it is found out is not always where it can be ended. */
static void context_break(struct virgl_context *context, const char *why)
{
	if (context->state != CONTEXT_RUNS)
		return;
	context->state = CONTEXT_BROKEN;
	context->why = why;
	context->renderer->steps_due = true;
	notify(context->renderer);
}

/*
 * Make the library forget it, and kill its worker.  What the worker does may
 * go on for a moment.
 */
static void context_end(struct virgl_context *context)
{
	struct renderer *renderer = context->renderer;

	if (context->state > CONTEXT_BROKEN)
		return;
	context->state = CONTEXT_ENDS;
	if (context->why)
		log_error("context %u is ended: %s", context->base.id, context->why);
	pthread_mutex_lock(&renderer->lock);
	id_table_remove(&renderer->by_id, context->id);
	pthread_mutex_unlock(&renderer->lock);
	if (context->worker >= 0)
		process_kill(context->worker);
	call_limit_begin(renderer->limit, renderer->server_socket, SERVER_MS);
	virgl_renderer_context_destroy(context->id);
	call_limit_end(renderer->limit);
	if (context->worker < 0) {
		renderer->steps_due = true;
		notify(renderer);
	}
}

static void context_free(struct virgl_context *context)
{
	struct virgl_context **at = &context->renderer->contexts;

	while (*at != context)
		at = &(*at)->next;
	*at = context->next;
	drm_guard_destroy(&context->guard);
	free(context);
}

/* Nothing of it runs any more: answer what it had accepted. */
static void context_gone(struct virgl_context *context)
{
	struct renderer *renderer = context->renderer;
	unsigned int ring;

	context->state = CONTEXT_GONE;
	if (context->worker >= 0)
		close(context->worker);
	if (context->socket >= 0)
		close(context->socket);
	context->worker = -1;
	context->socket = -1;
	for (ring = 0; ring < MAX_RINGS; ring++)
		answer_until(context, ring, UINT64_MAX, ERR_UNSPEC);
	if (context->report && !context->destroyed)
		renderer->host.lost(renderer->host.opaque, &context->base);
	if (context->destroyed)
		context_free(context);
}

/* One step, if there is one to make.  The context may be freed then. */
static bool context_step(struct virgl_context *context)
{
	bool ended = context->worker >= 0 && process_ended(context->worker);

	switch (context->state) {
	case CONTEXT_RUNS:
		if (!ended)
			return false;
		context_break(context, "its worker process ended");
		return true;
	case CONTEXT_BROKEN:
		/* What was over before counts. */
		answer_retired(context);
		context->report = true;
		context_end(context);
		return true;
	case CONTEXT_ENDS:
		if (context->worker >= 0 && !ended)
			return false;
		context_gone(context);
		return true;
	case CONTEXT_GONE:
	default:
		return false;
	}
}

static bool server_ended(const struct renderer *renderer)
{
	return renderer->server < 0 || process_ended(renderer->server);
}

static void server_lost(struct renderer *renderer)
{
	struct virgl_context *context;

	log_error(
		"the render server ended; there are no new contexts until the guest's driver starts anew");
	close(renderer->server);
	renderer->server = -1;
	for (context = renderer->contexts; context; context = context->next)
		if (context->capset == CAPSET_VENUS)
			context_break(context, "the render server ended");
}

/* Whether a process ended that is watched. */
static bool take_events(struct renderer *renderer)
{
	struct epoll_event events[MAX_EVENTS];
	bool ended = false;
	uint64_t count;
	int i, nr;

	nr = epoll_wait(renderer->epoll, events, MAX_EVENTS, 0);
	for (i = 0; i < nr; i++) {
		if (events[i].data.fd != renderer->event)
			ended = true;
		else if (read(renderer->event, &count, sizeof(count)) < 0)
			continue;
	}
	return ended;
}

static void virgl_dispatch(struct renderer *renderer)
{
	bool steps = take_events(renderer) || renderer->steps_due;
	struct virgl_context *context;

	for (context = renderer->contexts; context; context = context->next)
		if (context->state == CONTEXT_RUNS)
			answer_retired(context);
	if (!steps)
		return;
	renderer->steps_due = false;
	if (renderer->server >= 0 && server_ended(renderer))
		server_lost(renderer);
	/* A step may free the context and, through the device, make another. */
	for (context = renderer->contexts; context;)
		context = context_step(context) ? renderer->contexts : context->next;
}

/* Whether there are too few descriptors for another context or its memory. */
static bool short_of_descriptors(const struct renderer *renderer)
{
	int fd = fcntl(renderer->event, F_DUPFD_CLOEXEC, 0);
	bool few = descriptor_is_reserved(fd, DESCRIPTORS_FOR_CONTEXTS);

	if (fd >= 0)
		close(fd);
	if (few)
		log_event("virgl: nearly all descriptors are in use (RLIMIT_NOFILE)");
	return few;
}

/* ---- calls that may wait for a worker ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* How long a worker may be waited for now. */
static unsigned int patience(struct renderer *renderer)
{
	uint64_t now = now_ms(), more = (now - renderer->patience_at) / PATIENCE_REFILL;

	if (more) {
		renderer->patience_at = now;
		renderer->patience_ms = more < PATIENCE_MS - renderer->patience_ms ?
						renderer->patience_ms + (unsigned int)more :
						PATIENCE_MS;
	}
	return renderer->patience_ms;
}

/* It was waited for since @since. */
static void spend_patience(struct renderer *renderer, uint64_t since)
{
	uint64_t now = now_ms();
	uint64_t spent = now - since;

	renderer->patience_ms -= spent < renderer->patience_ms ? (unsigned int)spent :
								 renderer->patience_ms;
	renderer->patience_at = now;
}

/*
 * Whether the library can send the worker of @context something without having
 * to wait: its socket takes a packet while it is not full, and is reported
 * writable only while it is mostly empty.  Waits a limited time for that.
 */
static bool context_has_room(struct virgl_context *context)
{
	struct pollfd pollfd = { .fd = context->socket, .events = POLLOUT };
	struct renderer *renderer = context->renderer;
	uint64_t began;
	int ret;

	if (context->state != CONTEXT_RUNS)
		return false;
	if (context->socket < 0)
		return true;
	ret = poll(&pollfd, 1, 0);
	if (!ret) {
		began = now_ms();
		do {
			ret = poll(&pollfd, 1, (int)patience(renderer));
		} while (ret < 0 && errno == EINTR);
		spend_patience(renderer, began);
	}
	if (ret == 1 && !(pollfd.revents & (POLLERR | POLLHUP | POLLNVAL)))
		return true;
	context_break(context,
		      ret ? "its worker process ended" : "its worker process takes no commands");
	return false;
}

/* ---- the library as a whole ---- */

static const char *capset_name(uint32_t id)
{
	return id == CAPSET_VENUS ? "Venus" : "DRM native context";
}

static void add_capset(struct renderer *renderer, uint32_t id)
{
	struct renderer_capset capset = { .id = id };

	virgl_renderer_get_cap_set(id, &capset.version, &capset.size);
	if (!capset.size)
		return;
	renderer->capsets[renderer->nr_capsets++] = capset;
	log_event("virgl: %s, capset of %u bytes", capset_name(id), capset.size);
}

static int find_drm_type(struct renderer *renderer)
{
	const struct renderer_capset *capset = &renderer->capsets[renderer->nr_capsets - 1];
	void *data;

	if (capset->id != CAPSET_DRM)
		return 0;
	data = calloc(1, capset->size);
	if (!data)
		return -ENOMEM;
	virgl_renderer_fill_caps(CAPSET_DRM, capset->version, data);
	renderer->drm_type = drm_guard_type(data, capset->size);
	free(data);
	return 0;
}

/* A library without native contexts says so before it is started. */
static bool has_drm(void)
{
	uint32_t version, size = 0;

	virgl_renderer_get_cap_set(CAPSET_DRM, &version, &size);
	return size;
}

/* Start it, with native contexts if there is a GPU for them. */
static int init_library(struct renderer *renderer, bool *drm)
{
	int flags = VIRGL_RENDERER_VENUS | VIRGL_RENDERER_RENDER_SERVER | VIRGL_RENDERER_NO_VIRGL |
		    VIRGL_RENDERER_THREAD_SYNC | VIRGL_RENDERER_ASYNC_FENCE_CB;

	*drm = false;
#ifdef VIRGL_RENDERER_DRM
	if (has_drm()) {
		*drm = !virgl_renderer_init(renderer, flags | VIRGL_RENDERER_DRM,
					    &renderer->callbacks);
		if (*drm)
			return 0;
	}
#endif
	return virgl_renderer_init(renderer, flags, &renderer->callbacks) ? -ENODEV : 0;
}

/* The only new child, as a descriptor. */
static int find_child(pid_t parent, const struct int_list *before)
{
	struct int_list after;
	int ret = list_children(parent, false, &after);

	if (!ret)
		ret = int_list_only_new(before, &after);
	int_list_destroy(&after);
	return ret;
}

/**
 * struct found - what appeared with a call of the library
 * @children: of a process, before the call
 * @sockets: of ours, before the call
 */
struct found {
	struct int_list children;
	struct int_list sockets;
};

static int found_begin(struct found *found, pid_t parent)
{
	int err = list_children(parent, false, &found->children);

	found->sockets = (struct int_list){ .nr = 0 };
	return err ? err : list_packet_sockets(&found->sockets);
}

/* The process that appeared, and the socket; 0 or a negative errno. */
static int found_get(const struct found *found, pid_t parent, pid_t *pid, int *socket)
{
	struct int_list after;

	*pid = find_child(parent, &found->children);
	if (*pid < 0)
		return *pid;
	*socket = list_packet_sockets(&after);
	if (!*socket)
		*socket = int_list_only_new(&found->sockets, &after);
	int_list_destroy(&after);
	return *socket < 0 ? *socket : 0;
}

static void found_destroy(struct found *found)
{
	int_list_destroy(&found->children);
	int_list_destroy(&found->sockets);
}

static void stop_library(struct renderer *renderer)
{
	virgl_renderer_cleanup(renderer);
	if (renderer->server >= 0)
		close(renderer->server);
	renderer->server = -1;
	renderer->server_socket = -1;
	renderer->nr_capsets = 0;
	renderer->drm_type = DRM_CONTEXT_NONE;
}

/* Start the library, and find what it has started. */
static int run_library(struct renderer *renderer)
{
	struct found found;
	bool drm;
	int err;

	err = found_begin(&found, getpid());
	if (err)
		goto destroy_found;
	err = init_library(renderer, &drm);
	if (err)
		goto destroy_found;
	err = found_get(&found, getpid(), &renderer->server_pid, &renderer->server_socket);
	if (err)
		goto stop;
	renderer->server = process_open(renderer->server_pid);
	err = renderer->server < 0 ? renderer->server : watch(renderer, renderer->server);
	if (err)
		goto stop;
	add_capset(renderer, CAPSET_VENUS);
	if (drm)
		add_capset(renderer, CAPSET_DRM);
	err = renderer->nr_capsets ? find_drm_type(renderer) : -ENODEV;
	if (err)
		goto stop;
	found_destroy(&found);
	return 0;

stop:
	stop_library(renderer);
destroy_found:
	found_destroy(&found);
	return err;
}

/* ---- contexts ---- */

/* The worker of a context that the library has just made. */
static int find_worker(struct virgl_context *context, const struct found *found)
{
	const int wanted = WORKER_ROOM;
	socklen_t len = sizeof(int);
	int err, socket, room;
	pid_t pid;

	err = found_get(found, context->renderer->server_pid, &pid, &socket);
	if (err)
		return err;
	context->worker = process_open(pid);
	if (context->worker < 0)
		return context->worker;
	context->worker_pid = pid;
	context->socket = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	/* As much room as the system allows; what there was will do as well. */
	(void)setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	if (context->socket < 0 || getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, &len))
		return -errno;
	context->max_packet = (size_t)room - PACKET_OVERHEAD;
	return watch(context->renderer, context->worker);
}

/* Have the library make it, and know its worker. */
static int open_context(struct virgl_context *context, const char *name)
{
	struct renderer *renderer = context->renderer;
	bool venus = context->capset == CAPSET_VENUS;
	struct found found = { .children.nr = 0 };
	int err = 0;

	if (venus)
		err = server_ended(renderer) ? -ENODEV : found_begin(&found, renderer->server_pid);
	if (err)
		goto destroy_found;
	call_limit_begin(renderer->limit, renderer->server_socket, SERVER_MS);
	if (virgl_renderer_context_create_with_flags(context->id, context->capset,
						     (uint32_t)strlen(name), name))
		err = -ENOMEM;
	call_limit_end(renderer->limit);
	if (!err && venus) {
		err = find_worker(context, &found);
		if (err)
			virgl_renderer_context_destroy(context->id);
	}
destroy_found:
	found_destroy(&found);
	return err;
}

static int virgl_context_create(struct renderer *renderer, uint32_t capset, const char *name,
				struct renderer_context **out)
{
	struct virgl_context *context;
	int err;

	if (short_of_descriptors(renderer))
		return -EMFILE;
	context = calloc(1, sizeof(*context));
	if (!context)
		return -ENOMEM;
	context->renderer = renderer;
	context->capset = capset;
	context->socket = -1;
	context->worker = -1;
	context->guard.type = capset == CAPSET_DRM ? renderer->drm_type : DRM_CONTEXT_NONE;
	context->id = ++renderer->last_id;
	err = open_context(context, name);
	if (err)
		goto close_worker;
	pthread_mutex_lock(&renderer->lock);
	err = id_table_insert(&renderer->by_id, context->id, context);
	pthread_mutex_unlock(&renderer->lock);
	if (err)
		goto destroy_context;
	context->next = renderer->contexts;
	renderer->contexts = context;
	*out = &context->base;
	return 0;

destroy_context:
	virgl_renderer_context_destroy(context->id);
close_worker:
	if (context->socket >= 0)
		close(context->socket);
	if (context->worker >= 0) {
		process_kill(context->worker);
		close(context->worker);
	}
	free(context);
	return err;
}

static void virgl_context_destroy(struct renderer *renderer, struct renderer_context *base)
{
	struct virgl_context *context = (struct virgl_context *)base;

	(void)renderer;
	id_table_destroy(&base->resources);
	context->destroyed = true;
	if (context->state == CONTEXT_GONE) {
		context_free(context);
		return;
	}
	if (context->state == CONTEXT_RUNS)
		context->why = NULL;
	if (context->state <= CONTEXT_BROKEN)
		answer_retired(context);
	context_end(context);
}

/* ---- resources ---- */

static struct virgl_context *find_context(struct renderer *renderer, uint32_t id)
{
	struct virgl_context *context = renderer->contexts;

	while (context && context->id != id)
		context = context->next;
	return context;
}

static struct resource *find_live(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	return resource && resource->live ? resource : NULL;
}

static int add_holder(struct renderer *renderer, struct resource *resource, uint32_t id)
{
	size_t i, nr = 0;

	/* Contexts that are gone, worker and all, have nothing any more. */
	for (i = 0; resource->nr_holders == resource->max_holders && i < resource->nr_holders; i++)
		if (find_context(renderer, resource->holders[i]))
			resource->holders[nr++] = resource->holders[i];
	if (i)
		resource->nr_holders = nr;
	for (i = 0; i < resource->nr_holders; i++)
		if (resource->holders[i] == id)
			return 0;
	if (resource->nr_holders == resource->max_holders) {
		size_t max = resource->max_holders ? resource->max_holders * 2 : 2;
		uint32_t *holders = realloc(resource->holders, max * sizeof(*holders));

		if (!holders)
			return -ENOMEM;
		resource->holders = holders;
		resource->max_holders = max;
	}
	resource->holders[resource->nr_holders++] = id;
	return 0;
}

static void resource_free(struct resource *resource)
{
	free(resource->iov);
	free(resource->holders);
	free(resource);
}

static void forget_resource(struct renderer *renderer, struct resource *resource)
{
	id_table_remove(&renderer->resources, resource->id);
	if (!resource->live)
		renderer->nr_past--;
	resource_free(resource);
}

/* A new resource on the table; one of the past with its id is over. */
static struct resource *resource_new(struct renderer *renderer, uint32_t id,
				     enum resource_kind kind, uint64_t size)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	if (resource && resource->live)
		return NULL;
	if (resource)
		forget_resource(renderer, resource);
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return NULL;
	resource->id = id;
	resource->kind = kind;
	resource->size = size;
	resource->live = true;
	if (id_table_insert(&renderer->resources, id, resource)) {
		free(resource);
		return NULL;
	}
	return resource;
}

/*
 * The library tells each context that has the resource.  One that does not
 * listen would keep it waiting: that one ends.
 */
static void unref_resource(struct renderer *renderer, struct resource *resource)
{
	size_t i;

	for (i = 0; i < resource->nr_holders; i++) {
		struct virgl_context *context = find_context(renderer, resource->holders[i]);

		if (!context)
			continue;
		drm_guard_remove(&context->guard, resource->id);
		if (context->state > CONTEXT_BROKEN || context_has_room(context))
			continue;
		answer_retired(context);
		context->report = true;
		context_end(context);
	}
	virgl_renderer_resource_unref(resource->id);
	if (resource->kind == RESOURCE_PAGES)
		backing_release(resource->backing);
}

/* Give @context the resource, and notice if the library did not. */
static int attach_resource(struct virgl_context *context, struct resource *resource)
{
	bool venus = context->capset == CAPSET_VENUS;

	if (add_holder(context->renderer, resource, context->id))
		return -ENOMEM;
	if (resource->dmabuf && drm_guard_add(&context->guard, resource->id))
		return -ENOMEM;
	if (!context_has_room(context))
		goto failed;
	complaints = 0;
	remarks = 0;
	virgl_renderer_ctx_attach_resource((int)context->id, (int)resource->id);
	/* What goes wrong with a worker is only remarked upon, and nothing else is. */
	if (venus ? remarks : complaints)
		goto failed;
	return 0;

failed:
	drm_guard_remove(&context->guard, resource->id);
	return -EIO;
}

static void detach_resource(struct virgl_context *context, struct resource *resource)
{
	drm_guard_remove(&context->guard, resource->id);
	if (context_has_room(context))
		virgl_renderer_ctx_detach_resource((int)context->id, (int)resource->id);
}

static int import_view(struct renderer *renderer, struct backing *backing, struct resource **out)
{
	struct virgl_renderer_resource_import_blob_args args = {
		.res_handle = backing->id,
		.blob_mem = VIRGL_RENDERER_BLOB_MEM_HOST3D,
		.fd_type = VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF,
		.size = backing->size,
	};
	struct resource *resource;
	struct stat st;
	int err;

	if (short_of_descriptors(renderer))
		return -ENOMEM;
	args.fd = udmabuf_view_dup(backing->view);
	if (args.fd < 0)
		return args.fd;
	if (fstat(args.fd, &st)) {
		err = -errno;
		goto close_fd;
	}
	err = -ENOMEM;
	resource = resource_new(renderer, backing->id, RESOURCE_IMPORT, backing->size);
	if (!resource)
		goto close_fd;
	resource->dev = st.st_dev;
	resource->ino = st.st_ino;
	resource->dmabuf = true;
	err = virgl_renderer_resource_import_blob(&args);
	if (err) {
		forget_resource(renderer, resource);
		/* Only what it takes for a mistake of ours leaves the descriptor with us. */
		if (err == -EINVAL)
			goto close_fd;
		return err;
	}
	*out = resource;
	return 0;

close_fd:
	close(args.fd);
	return err;
}

/* The pages of @backing in the library's form, or NULL. */
static struct iovec *make_iov(const struct backing *backing)
{
	struct iovec *iov = calloc(backing->runs.nr, sizeof(*iov));
	size_t i;

	for (i = 0; iov && i < backing->runs.nr; i++)
		iov[i] = (struct iovec){
			.iov_base = run_pointer(&backing->runs.runs[i]),
			.iov_len = backing->runs.runs[i].length,
		};
	return iov;
}

static int import_pages(struct renderer *renderer, struct backing *backing, struct resource **out)
{
	struct virgl_renderer_resource_create_blob_args args = {
		.res_handle = backing->id,
		.blob_mem = VIRGL_RENDERER_BLOB_MEM_GUEST,
		.size = backing->size,
		.num_iovs = (uint32_t)backing->runs.nr,
	};
	struct resource *resource;
	int err = -ENOMEM;

	resource = resource_new(renderer, backing->id, RESOURCE_PAGES, backing->size);
	if (!resource)
		return -ENOMEM;
	resource->iov = make_iov(backing);
	if (!resource->iov)
		goto forget;
	args.iovecs = resource->iov;
	err = virgl_renderer_resource_create_blob(&args);
	if (err)
		goto forget;
	resource->backing = backing;
	backing_hold(backing);
	*out = resource;
	return 0;

forget:
	forget_resource(renderer, resource);
	return err < 0 ? err : -EINVAL;
}

static int virgl_attach(struct renderer_context *base, struct backing *backing)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct renderer *renderer = context->renderer;
	struct resource *resource = find_live(renderer, backing->id);
	int err;

	if (context->state != CONTEXT_RUNS)
		return -EIO;
	if (!resource) {
		err = backing->view ? import_view(renderer, backing, &resource) :
				      import_pages(renderer, backing, &resource);
		if (err)
			return err;
	}
	return attach_resource(context, resource);
}

static void virgl_detach(struct renderer_context *base, struct backing *backing)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource = find_live(context->renderer, backing->id);

	if (resource)
		detach_resource(context, resource);
}

/* ---- resources of the past ---- */

/* Whether @resource's dma-buf is among the @nr files. */
static bool is_open(const struct stat *files, size_t nr, const struct resource *resource)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (files[i].st_ino == resource->ino && files[i].st_dev == resource->dev)
			return true;
	return false;
}

static void forget_all_but(struct renderer *renderer, const struct stat *files, size_t nr)
{
	struct resource **gone = calloc(renderer->nr_past, sizeof(*gone));
	size_t i, nr_gone = 0;

	for (i = 0; gone && i < renderer->resources.size; i++) {
		struct resource *resource = id_table_at(&renderer->resources, i);

		if (resource && !resource->live && !is_open(files, nr, resource))
			gone[nr_gone++] = resource;
	}
	for (i = 0; i < nr_gone; i++)
		forget_resource(renderer, gone[i]);
	free(gone);
}

/*
 * Nobody tells when the dma-buf of a resource of the past is given up, but this
 * process has it open until then.
 */
static void forget_gone(struct renderer *renderer)
{
	struct int_list fds;
	struct stat *files = NULL;
	size_t i, nr = 0;

	if (renderer->nr_past < renderer->forget_at)
		return;
	if (!list_descriptors(&fds))
		files = calloc(fds.nr, sizeof(*files));
	for (i = 0; files && i < fds.nr; i++)
		if (!fstat(fds.items[i], &files[nr]))
			nr++;
	if (files)
		forget_all_but(renderer, files, nr);
	free(files);
	int_list_destroy(&fds);
	renderer->forget_at = renderer->nr_past * 2;
	if (renderer->forget_at < MIN_FORGET)
		renderer->forget_at = MIN_FORGET;
}

static void virgl_quiesce(struct renderer *renderer, struct backing *backing)
{
	struct resource *resource = find_live(renderer, backing->id);

	if (!resource || resource->kind == RESOURCE_BLOB)
		return;
	resource->live = false;
	renderer->nr_past++;
	if (resource->kind == RESOURCE_IMPORT) {
		unref_resource(renderer, resource);
		forget_gone(renderer);
		return;
	}
	/* Pages are in no other process; the last hold may end the backing. */
	unref_resource(renderer, resource);
	forget_resource(renderer, resource);
}

/* End the processes of ours that have the memory, whoever they are. */
static void kill_holders(const struct backing *backing)
{
	struct int_list pids;
	size_t i;

	if (list_children(getpid(), true, &pids))
		log_error("userptr %u: cannot look who has it: no /proc?", backing->id);
	for (i = 0; backing->view && i < pids.nr; i++) {
		int process;

		if (!udmabuf_view_held_by(backing->view, pids.items[i]))
			continue;
		process = process_open(pids.items[i]);
		if (process < 0)
			continue;
		/* Ask again, now that it cannot be another one. */
		if (udmabuf_view_held_by(backing->view, pids.items[i])) {
			log_error("userptr %u: process %d still has it, and is killed", backing->id,
				  pids.items[i]);
			process_kill(process);
		}
		close(process);
	}
	int_list_destroy(&pids);
}

/*
 * End contexts that have or had the memory; unless @all, only those that are seen
 * to have it.  Returns whether there was one.
 */
static bool end_holders(struct renderer *renderer, struct backing *backing, bool all)
{
	struct resource *resource = id_table_find(&renderer->resources, backing->id);
	bool any = false;
	size_t i;

	for (i = 0; resource && i < resource->nr_holders; i++) {
		struct virgl_context *context = find_context(renderer, resource->holders[i]);

		if (!context || context->state > CONTEXT_BROKEN)
			continue;
		/* Which native context has it cannot be seen from outside. */
		if (!all && context->worker >= 0 &&
		    !udmabuf_view_held_by(backing->view, context->worker_pid))
			continue;
		any = true;
		context->why = "it keeps memory that its owner has taken back";
		context->report = true;
		answer_retired(context);
		context_end(context);
	}
	return any;
}

static void virgl_evict(struct renderer *renderer, struct backing *backing, bool force)
{
	if (!end_holders(renderer, backing, false) || force)
		end_holders(renderer, backing, true);
	if (force)
		kill_holders(backing);
}

/* ---- memory that contexts make ---- */

static uint32_t library_error(int err)
{
	switch (err) {
	case -ENOMEM:
	case ENOMEM:
		return ERR_OUT_OF_MEMORY;
	case -EINVAL:
	case EINVAL:
	case -ENOENT:
		return ERR_INVALID_PARAMETER;
	default:
		return ERR_UNSPEC;
	}
}

/*
 * The new blob must not be userptr memory that was given to the context: it
 * would outlive the userptr resource, in the hands of the VMM and of other
 * contexts.
 */
static uint32_t inspect_blob(struct renderer *renderer, const struct virgl_context *context,
			     struct resource *resource)
{
	uint32_t type = 0;
	bool ours;
	int fd;

	if (virgl_renderer_resource_export_blob(resource->id, &type, &fd)) {
		/* A buffer of a native context need not have a file; a worker's memory has. */
		return context->capset == CAPSET_DRM ? OK : ERR_OUT_OF_MEMORY;
	}
	ours = renderer->config.udmabuf && udmabuf_is_ours(renderer->config.udmabuf, fd);
	close(fd);
	resource->dmabuf = type == VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF;
	if (!ours)
		return OK;
	log_event("res %u: context %u hands on userptr memory: refused", resource->id,
		  context->base.id);
	return ERR_INVALID_PARAMETER;
}

/* Have the library make it. */
static uint32_t make_blob(struct renderer *renderer, struct virgl_context *context,
			  const struct renderer_blob *blob, struct resource *resource)
{
	struct virgl_renderer_resource_create_blob_args args = {
		.res_handle = blob->id,
		.ctx_id = context->id,
		.blob_mem = blob->mem,
		.blob_flags = blob->flags,
		.blob_id = blob->blob_id,
		.size = blob->size,
	};
	unsigned int limit;
	uint64_t began;
	int err;

	if (blob->guest) {
		resource->iov = make_iov(blob->guest);
		if (!resource->iov)
			return ERR_OUT_OF_MEMORY;
		args.iovecs = resource->iov;
		args.num_iovs = (uint32_t)blob->guest->runs.nr;
	}
	if (!context_has_room(context))
		return ERR_UNSPEC;
	limit = patience(renderer);
	began = now_ms();
	call_limit_begin(renderer->limit, context->socket,
			 limit > MIN_ANSWER_MS ? limit : MIN_ANSWER_MS);
	err = virgl_renderer_resource_create_blob(&args);
	if (call_limit_end(renderer->limit))
		context_break(context, "its worker process does not answer");
	spend_patience(renderer, began);
	return err ? library_error(err) : OK;
}

static uint32_t virgl_blob_create(struct renderer *renderer, struct renderer_context *base,
				  const struct renderer_blob *blob)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource;
	uint32_t ret;

	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	if (context->state != CONTEXT_RUNS)
		return ERR_UNSPEC;
	if (context->capset == CAPSET_DRM && !blob->blob_id && blob->size < MIN_DRM_SHMEM)
		return ERR_INVALID_PARAMETER;
	if (short_of_descriptors(renderer))
		return ERR_OUT_OF_MEMORY;
	resource = resource_new(renderer, blob->id, RESOURCE_BLOB, blob->size);
	if (!resource)
		return ERR_OUT_OF_MEMORY;
	ret = add_holder(renderer, resource, context->id) ?
		      ERR_OUT_OF_MEMORY :
		      make_blob(renderer, context, blob, resource);
	if (ret != OK)
		goto forget;
	ret = inspect_blob(renderer, context, resource);
	/* The library makes no buffer of a native context's first blob. */
	if (ret == OK && blob->blob_id && drm_guard_add(&context->guard, blob->id))
		ret = ERR_OUT_OF_MEMORY;
	if (ret != OK)
		goto unref;
	return 0;

unref:
	unref_resource(renderer, resource);
forget:
	forget_resource(renderer, resource);
	return ret;
}

static struct resource *find_blob(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = find_live(renderer, id);

	return resource && resource->kind == RESOURCE_BLOB ? resource : NULL;
}

static int virgl_blob_attach(struct renderer_context *base, uint32_t id)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource = find_blob(context->renderer, id);

	if (!resource || context->state != CONTEXT_RUNS)
		return -EIO;
	return attach_resource(context, resource);
}

static void virgl_blob_detach(struct renderer_context *base, uint32_t id)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource = find_blob(context->renderer, id);

	if (resource)
		detach_resource(context, resource);
}

static int virgl_blob_export(struct renderer *renderer, uint32_t id, struct renderer_mapping *out)
{
	struct resource *resource = find_blob(renderer, id);
	uint32_t type, info;
	off_t size;
	int err, fd;

	if (!resource)
		return -ENOENT;
	if (virgl_renderer_resource_get_map_info(id, &info))
		return -EOPNOTSUPP;
	err = virgl_renderer_resource_export_blob(id, &type, &fd);
	if (err)
		return err;
	if (type != VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF && type != VIRGL_RENDERER_BLOB_FD_TYPE_SHM) {
		err = -EOPNOTSUPP;
		goto close_fd;
	}
	/* A worker says how big its memory is; an access past the end is the VMM's death. */
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || (uint64_t)size < resource->size) {
		err = -EINVAL;
		goto close_fd;
	}
	*out = (struct renderer_mapping){
		.fd = fd,
		.cache = info & VIRGL_RENDERER_MAP_CACHE_MASK,
	};
	return 0;

close_fd:
	close(fd);
	return err;
}

static void virgl_blob_destroy(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = find_blob(renderer, id);

	if (!resource)
		return;
	unref_resource(renderer, resource);
	forget_resource(renderer, resource);
}

/* ---- submissions ---- */

static uint32_t check_submission(const struct virgl_context *context,
				 const struct renderer_submission *submission)
{
	if (context->state != CONTEXT_RUNS)
		return ERR_UNSPEC;
	if (submission->size % 4 || submission->ring >= MAX_RINGS || submission->size > INT32_MAX)
		return ERR_INVALID_PARAMETER;
	if (context->capset == CAPSET_DRM)
		return drm_guard_check(&context->guard, submission->data, submission->size);
	return submission->size <= context->max_packet ? OK : ERR_OUT_OF_MEMORY;
}

/* Give it to the library, which wants it aligned.  0 or an error to answer. */
static uint32_t execute(struct virgl_context *context, const struct renderer_submission *submission)
{
	void *copy = NULL, *data = (void *)submission->data;
	int err;

	if ((uintptr_t)data % 8 && submission->size) {
		copy = malloc(submission->size);
		if (!copy)
			return ERR_OUT_OF_MEMORY;
		data = memcpy(copy, data, submission->size);
	}
	err = context_has_room(context) ? virgl_renderer_submit_cmd(data, (int)context->id,
								    (int)(submission->size / 4)) :
					  -EIO;
	free(copy);
	if (err) {
		/*
		 * How much of it was executed nobody knows.  A native context of the
		 * library must not be given another command then: an answer of the
		 * failed one can be left over, and goes where the next one says.
		 */
		context_break(context, "a command stream failed");
		return ERR_UNSPEC;
	}
	context->renderer->jobs++;
	drm_guard_executed(&context->guard, submission->data, submission->size);
	return 0;
}

/* A fence behind what was executed; if that fails all ends, which answers it too. */
static void add_fence(struct virgl_context *context, uint32_t ring, struct submission *submission)
{
	struct submission_list *list = &context->rings[ring];

	submission->fence = ++context->renderer->last_fence;
	if (list->tail)
		list->tail->next = submission;
	else
		list->head = submission;
	list->tail = submission;
	if (!context_has_room(context))
		return;
	if (virgl_renderer_context_create_fence(context->id, 0, ring, submission->fence))
		context_break(context, "a fence failed");
}

static uint32_t virgl_submit(struct renderer *renderer, struct renderer_context *base,
			     const struct renderer_submission *work, void *cookie)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct submission *submission = NULL;
	uint32_t ret = check_submission(context, work);

	if (ret != OK)
		return ret;
	if (work->fenced) {
		submission = calloc(1, sizeof(*submission));
		if (!submission)
			return ERR_OUT_OF_MEMORY;
		submission->cookie = cookie;
	}
	ret = execute(context, work);
	if (ret) {
		free(submission);
		return ret;
	}
	if (submission)
		add_fence(context, drm_guard_fence_ring(&context->guard, work->ring), submission);
	else
		renderer->host.submitted(renderer->host.opaque, cookie, OK);
	return 0;
}

/* ---- the renderer ---- */

/* Until its worker is gone; a process that was killed goes. */
static void wait_for_worker(const struct virgl_context *context)
{
	struct pollfd pollfd = { .fd = context->worker, .events = POLLIN };

	while (context->worker >= 0 && poll(&pollfd, 1, REPORT_MS) != 1)
		log_error("context %u: its worker process does not end", context->base.id);
}

static void end_contexts(struct renderer *renderer)
{
	struct virgl_context *context, *next;

	for (context = renderer->contexts; context; context = context->next) {
		if (context->state > CONTEXT_BROKEN)
			continue;
		answer_retired(context);
		context->why = NULL;
		context_end(context);
	}
	for (context = renderer->contexts; context; context = next) {
		next = context->next;
		if (context->state == CONTEXT_GONE)
			continue;
		/* The device is ending them all, and need not be told of each. */
		context->report = false;
		wait_for_worker(context);
		context_gone(context);
	}
}

static void drop_resources(struct renderer *renderer)
{
	size_t i;

	for (i = 0; i < renderer->resources.size; i++) {
		struct resource *resource = id_table_at(&renderer->resources, i);

		if (!resource)
			continue;
		if (resource->live)
			unref_resource(renderer, resource);
		resource_free(resource);
	}
	id_table_destroy(&renderer->resources);
	renderer->nr_past = 0;
	renderer->forget_at = MIN_FORGET;
}

static void virgl_reset(struct renderer *renderer)
{
	int err;

	end_contexts(renderer);
	drop_resources(renderer);
	if (!server_ended(renderer))
		return;
	/* Nothing is left that the new one would have to know. */
	stop_library(renderer);
	err = run_library(renderer);
	if (err)
		log_error("cannot start the render server again: %s", strerror(-err));
}

static bool virgl_capset(const struct renderer *renderer, unsigned int index,
			 struct renderer_capset *out)
{
	if (index >= renderer->nr_capsets)
		return false;
	*out = renderer->capsets[index];
	return true;
}

static void virgl_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version,
			      void *data)
{
	unsigned int i;

	for (i = 0; i < renderer->nr_capsets; i++) {
		if (renderer->capsets[i].id != id)
			continue;
		memset(data, 0, renderer->capsets[i].size);
		virgl_renderer_fill_caps(id, version, data);
	}
}

static uint64_t virgl_jobs(const struct renderer *renderer)
{
	return renderer->jobs;
}

static int virgl_fd(const struct renderer *renderer)
{
	return renderer->epoll;
}

static void virgl_destroy(struct renderer *renderer)
{
	end_contexts(renderer);
	drop_resources(renderer);
	stop_library(renderer);
	virgl_set_log_callback(NULL, NULL, NULL);
	call_limit_free(renderer->limit);
	pthread_mutex_destroy(&renderer->lock);
	id_table_destroy(&renderer->by_id);
	close(renderer->event);
	close(renderer->epoll);
	free(renderer);
	library_in_use = false;
}

static int open_events(struct renderer *renderer)
{
	int err;

	renderer->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (renderer->epoll < 0)
		return -errno;
	renderer->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = renderer->event < 0 ? -errno : watch(renderer, renderer->event);
	if (!err)
		return 0;
	if (renderer->event >= 0)
		close(renderer->event);
	close(renderer->epoll);
	return err;
}

/* A render server that is not there shows only when a context is made. */
static int try_context(struct renderer *renderer)
{
	struct renderer_context *context;
	int err = virgl_context_create(renderer, CAPSET_VENUS, "", &context);

	if (err) {
		log_error(
			"the render server of libvirglrenderer makes no contexts; is it installed "
			"(Debian: virgl-server), or RENDER_SERVER_EXEC_PATH wrong?");
		return err;
	}
	virgl_context_destroy(renderer, context);
	return 0;
}

static int start(struct renderer *renderer)
{
	int err;

	starting = true;
	/* It would take away the threads that fences need. */
	unsetenv("VIRGL_DISABLE_MT");
	virgl_set_log_callback(library_log, NULL, NULL);
	err = run_library(renderer);
	if (err)
		log_error("cannot start libvirglrenderer: %s", strerror(-err));
	else
		err = try_context(renderer);
	if (err)
		stop_library(renderer);
	starting = false;
	return err;
}

static void init_renderer(struct renderer *renderer, const struct renderer_config *config,
			  const struct renderer_host *host)
{
	renderer->config = *config;
	renderer->host = *host;
	renderer->patience_ms = PATIENCE_MS;
	renderer->patience_at = now_ms();
	renderer->callbacks = (struct virgl_renderer_callbacks){
		.version = 3,
		.write_fence = old_fence_retired,
		.write_context_fence = fence_retired,
	};
	renderer->server = -1;
	renderer->server_socket = -1;
	renderer->forget_at = MIN_FORGET;
	pthread_mutex_init(&renderer->lock, NULL);
}

static int virgl_create(const struct renderer_config *config, const struct renderer_host *host,
			struct renderer **out)
{
	struct renderer *renderer;
	int err;

	if (library_in_use)
		return -EBUSY;
	renderer = calloc(1, sizeof(*renderer));
	if (!renderer)
		return -ENOMEM;
	init_renderer(renderer, config, host);
	err = open_events(renderer);
	if (err)
		goto free_renderer;
	err = call_limit_new(&renderer->limit);
	if (err)
		goto close_events;
	err = start(renderer);
	if (err)
		goto free_limit;
	library_in_use = true;
	*out = renderer;
	return 0;

free_limit:
	call_limit_free(renderer->limit);
close_events:
	close(renderer->event);
	close(renderer->epoll);
free_renderer:
	pthread_mutex_destroy(&renderer->lock);
	id_table_destroy(&renderer->by_id);
	free(renderer);
	return err;
}

const struct renderer_ops renderer_virgl = {
	.name = "virgl",
	.create = virgl_create,
	.destroy = virgl_destroy,
	.capset = virgl_capset,
	.capset_data = virgl_capset_data,
	.context_create = virgl_context_create,
	.context_destroy = virgl_context_destroy,
	.attach = virgl_attach,
	.detach = virgl_detach,
	.submit = virgl_submit,
	.blob_create = virgl_blob_create,
	.blob_attach = virgl_blob_attach,
	.blob_detach = virgl_blob_detach,
	.blob_export = virgl_blob_export,
	.blob_destroy = virgl_blob_destroy,
	.quiesce = virgl_quiesce,
	.evict = virgl_evict,
	.reset = virgl_reset,
	.jobs = virgl_jobs,
	.fd = virgl_fd,
	.dispatch = virgl_dispatch,
};
