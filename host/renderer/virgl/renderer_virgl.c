// SPDX-License-Identifier: MIT
/*
 * renderer_virgl: contexts of stock libvirglrenderer, without GL
 *
 * Venus contexts live in worker processes that the render server forks, one
 * each; DRM native contexts, where the library has them, in this process.  Only
 * the library's stable interface is used.  What that does not tell - which process
 * a worker is, which socket leads to it, whether an attach failed - is found from
 * outside (virgl_arrival.c, virgl_log.c).
 *
 * Userptr resources are imported as dma-bufs, once for all contexts.  A context
 * that was given one may have it for as long as it lives, whatever is detached,
 * and longer than the resource; so a resource remembers its contexts also when
 * the library has it no more, until nobody can reach its memory any more.
 *
 * A context ends in steps.  Its worker is killed and the library told at once;
 * when the worker is really gone, what the context had accepted is answered,
 * and only then the device hears that it is lost.  While it ends, it refuses.
 *
 * No context keeps another waiting, or is ended for what another one does: what a
 * worker has no room for waits in a queue of its context (virgl_queue.c), and how
 * long a worker may owe an answer has limits (virgl_wait.c).
 *
 * Threads: the ring thread, but for virgl_fence_retired(), which the library calls
 * on threads of its own.  These touch what @lock protects: the table of contexts
 * by the library's id, and the number of the last fence of each ring.  @lock is
 * not held while the library is called.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/descriptors.h"
#include "util/log.h"

#define MAX_EVENTS 64
/* How long everybody waits for workers together, if nobody did for a while. */
#define ALL_PATIENCE_MS 4000u

/* The library is one for the whole process. */
static bool library_in_use;

/**
 * virgl_notify() - have dispatch() called
 * @renderer: whose
 *
 * Threads: any.
 */
void virgl_notify(struct renderer *renderer)
{
	uint64_t one = 1;

	/* Only a counter that is full can refuse, and that is readable. */
	if (write(renderer->event, &one, sizeof(one)) < 0)
		return;
}

/**
 * virgl_watch() - have dispatch() called when a descriptor is readable
 * @renderer: whose
 * @fd: it; goes from the list when it is closed
 *
 * Return: 0 or a negative errno.
 */
int virgl_watch(struct renderer *renderer, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(renderer->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
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
		if (events[i].data.fd == renderer->tick)
			virgl_tick(renderer);
		else if (events[i].data.fd != renderer->event)
			ended = true;
		else if (read(renderer->event, &count, sizeof(count)) < 0)
			continue;
	}
	return ended;
}

static void virgl_dispatch(struct renderer *renderer)
{
	bool ended = take_events(renderer);
	struct virgl_context *context, *next;

	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->state == CONTEXT_RUNS)
			virgl_answer_retired(context);
	virgl_queues_run(renderer);
	if (!ended && !renderer->steps_due)
		return;
	renderer->steps_due = false;
	if (renderer->server.process >= 0 && virgl_server_ended(renderer))
		virgl_server_lost(renderer);
	/* A step may free the context and, through the device, make another. */
	for (context = LIST_FIRST(&renderer->contexts); context; context = next) {
		next = LIST_NEXT(context, link);
		if (virgl_context_step(context))
			next = LIST_FIRST(&renderer->contexts);
	}
	virgl_restart_library(renderer);
}

/**
 * virgl_short_of_descriptors() - whether too few descriptors are left
 * @renderer: whose
 *
 * Return: true if there are too few for another context or its memory.
 */
bool virgl_short_of_descriptors(const struct renderer *renderer)
{
	int fd = fcntl(renderer->event, F_DUPFD_CLOEXEC, 0);
	bool few = descriptor_is_reserved(fd, DESCRIPTORS_FOR_CONTEXTS);

	if (fd >= 0)
		close(fd);
	if (few)
		log_event("virgl: nearly all descriptors are in use (RLIMIT_NOFILE)");
	return few;
}

static void virgl_reset(struct renderer *renderer)
{
	virgl_end_contexts(renderer);
	virgl_drop_resources(renderer);
	virgl_restart_library(renderer);
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
	virgl_end_contexts(renderer);
	virgl_drop_resources(renderer);
	virgl_stop_library(renderer);
	virgl_set_log_callback(NULL, NULL, NULL);
	call_limit_free(renderer->limit);
	pthread_mutex_destroy(&renderer->lock);
	id_table_destroy(&renderer->by_id);
	close(renderer->tick);
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
	err = renderer->event < 0 ? -errno : virgl_watch(renderer, renderer->event);
	if (!err)
		err = virgl_open_tick(renderer);
	if (!err)
		return 0;
	if (renderer->event >= 0)
		close(renderer->event);
	close(renderer->epoll);
	return err;
}

static void init_renderer(struct renderer *renderer, const struct renderer_config *config,
			  const struct renderer_host *host)
{
	renderer->config = *config;
	renderer->host = *host;
	virgl_init_patience(&renderer->patience, ALL_PATIENCE_MS, ALL_PATIENCE_MS);
	LIST_INIT(&renderer->contexts);
	renderer->server.process = -1;
	renderer->server.socket = -1;
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
	err = virgl_start_library(renderer);
	if (err)
		goto free_limit;
	library_in_use = true;
	*out = renderer;
	return 0;

free_limit:
	call_limit_free(renderer->limit);
close_events:
	close(renderer->tick);
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
	.forget = virgl_forget,
	.reset = virgl_reset,
	.jobs = virgl_jobs,
	.fd = virgl_fd,
	.dispatch = virgl_dispatch,
};
