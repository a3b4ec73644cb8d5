// SPDX-License-Identifier: MIT
/*
 * virgl_context: the life of a context, and its end in steps
 *
 * A Venus context has a worker process, which is found when the library has made
 * it; a native context runs in this one.  The end is in steps: it is killed and
 * the library told; when the worker is really gone, what it had accepted is
 * answered; then the device hears that it is lost, or it is freed.
 *
 * Threads: as renderer_virgl.c says; @lock guards the table by the library's id.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/log.h"

/* What the library puts before a command stream that it sends. */
#define PACKET_OVERHEAD 64u
#define WORKER_ROOM (1 << 20)
#define REPORT_MS 5000
/* How long everybody waits for the answer of a new context, and of one that is older. */
#define NEW_PATIENCE_MS 500u
#define PATIENCE_MS 2000u

/**
 * virgl_context_break() - it cannot go on
 * @context: it
 * @why: for the log
 *
 * Where that is found out is not always where it can be ended: dispatch() does.
 */
void virgl_context_break(struct virgl_context *context, const char *why)
{
	if (context->state != CONTEXT_RUNS)
		return;
	context->state = CONTEXT_BROKEN;
	context->why = why;
	context->renderer->steps_due = true;
	virgl_notify(context->renderer);
}

/**
 * virgl_context_end() - kill its worker, and make the library forget it
 * @context: it; virgl_answer_retired() was called
 *
 * What the worker does may go on for a moment.
 */
void virgl_context_end(struct virgl_context *context)
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
	virgl_queue_unwatch(context);
	call_limit_begin(renderer->limit, renderer->server.socket, SERVER_MS);
	virgl_renderer_context_destroy(context->id);
	call_limit_end(renderer->limit);
	context->socket = -1;
	id_table_destroy(&context->has);
	virgl_queue_drop(context);
	if (context->worker < 0) {
		renderer->steps_due = true;
		virgl_notify(renderer);
	}
}

static void context_free(struct virgl_context *context)
{
	LIST_REMOVE(context, link);
	drm_guard_destroy(&context->guard);
	free(context);
}

/* Nothing of it runs any more: answer what it had accepted. */
static void context_gone(struct virgl_context *context)
{
	struct renderer *renderer = context->renderer;

	context->state = CONTEXT_GONE;
	if (context->worker >= 0)
		close(context->worker);
	context->worker = -1;
	virgl_answer_failed(context);
	if (context->report && !context->destroyed)
		renderer->host.lost(renderer->host.opaque, &context->base);
	if (context->destroyed)
		context_free(context);
}

/**
 * virgl_context_step() - make one step to its end, if there is one to make
 * @context: it, which may be freed then
 *
 * Return: whether there was one.
 */
bool virgl_context_step(struct virgl_context *context)
{
	bool ended = context->worker >= 0 && process_ended(context->worker);

	switch (context->state) {
	case CONTEXT_RUNS:
		if (!ended)
			return false;
		virgl_context_break(context, "its worker process ended");
		return true;
	case CONTEXT_BROKEN:
		/* What was over before counts. */
		virgl_answer_retired(context);
		context->report = true;
		virgl_context_end(context);
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

/* The worker of a context that the library has just made. */
static int find_worker(struct virgl_context *context, const struct virgl_arrival *arrival)
{
	const int wanted = WORKER_ROOM;
	socklen_t len = sizeof(int);
	struct virgl_peer worker;
	int err, room;

	err = virgl_arrived(context->renderer, arrival, context->renderer->server.pid, &worker);
	if (err)
		return err;
	context->worker = worker.process;
	context->worker_pid = worker.pid;
	context->socket = worker.socket;
	/* As much room as the system allows; what there was will do as well. */
	(void)setsockopt(context->socket, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	if (getsockopt(context->socket, SOL_SOCKET, SO_SNDBUF, &room, &len))
		return -errno;
	context->max_packet = (size_t)room - PACKET_OVERHEAD;
	return virgl_watch(context->renderer, context->worker);
}

/* Have the library make it, and know its worker. */
static int open_context(struct virgl_context *context, const char *name)
{
	struct renderer *renderer = context->renderer;
	bool venus = context->capset == CAPSET_VENUS;
	struct virgl_arrival arrival;
	int err = 0;

	if (venus && virgl_server_ended(renderer))
		return -ENODEV;
	virgl_expect(renderer, &arrival);
	call_limit_begin(renderer->limit, renderer->server.socket, SERVER_MS);
	if (virgl_renderer_context_create_with_flags(context->id, context->capset,
						     (uint32_t)strlen(name), name))
		err = -ENOMEM;
	call_limit_end(renderer->limit);
	if (!err && venus) {
		err = find_worker(context, &arrival);
		if (err)
			virgl_renderer_context_destroy(context->id);
	}
	return err;
}

/**
 * virgl_context_create() - see struct renderer_ops
 * @renderer: it
 * @capset: CAPSET_*
 * @name: what the guest calls it
 * @out: the new context
 *
 * Return: 0 or a negative errno.
 */
int virgl_context_create(struct renderer *renderer, uint32_t capset, const char *name,
			 struct renderer_context **out)
{
	struct virgl_context *context;
	unsigned int ring;
	int err;

	if (virgl_short_of_descriptors(renderer))
		return -EMFILE;
	virgl_restart_library(renderer);
	context = calloc(1, sizeof(*context));
	if (!context)
		return -ENOMEM;
	for (ring = 0; ring < MAX_RINGS; ring++)
		STAILQ_INIT(&context->rings[ring]);
	TAILQ_INIT(&context->queue);
	virgl_init_patience(&context->patience, NEW_PATIENCE_MS, PATIENCE_MS);
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
	LIST_INSERT_HEAD(&renderer->contexts, context, link);
	*out = &context->base;
	return 0;

destroy_context:
	virgl_renderer_context_destroy(context->id);
close_worker:
	if (context->worker >= 0) {
		process_kill(context->worker);
		close(context->worker);
	}
	free(context);
	return err;
}

/**
 * virgl_context_destroy() - see struct renderer_ops
 * @renderer: it
 * @base: the context
 */
void virgl_context_destroy(struct renderer *renderer, struct renderer_context *base)
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
		virgl_answer_retired(context);
	virgl_context_end(context);
}

/**
 * virgl_find_context() - a context that is not freed yet
 * @renderer: whose
 * @id: the library's id
 *
 * Return: it or NULL.
 */
struct virgl_context *virgl_find_context(struct renderer *renderer, uint32_t id)
{
	struct virgl_context *context;

	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->id == id)
			return context;
	return NULL;
}

/* Until its worker is gone; a process that was killed goes. */
static void wait_for_worker(const struct virgl_context *context)
{
	struct pollfd pollfd = { .fd = context->worker, .events = POLLIN };

	while (context->worker >= 0 && poll(&pollfd, 1, REPORT_MS) != 1)
		log_error("context %u: its worker process does not end", context->base.id);
}

/**
 * virgl_end_contexts() - end all, and wait until their workers are gone
 * @renderer: whose
 */
void virgl_end_contexts(struct renderer *renderer)
{
	struct virgl_context *context, *next;

	LIST_FOREACH(context, &renderer->contexts, link) {
		if (context->state > CONTEXT_BROKEN)
			continue;
		virgl_answer_retired(context);
		context->why = NULL;
		virgl_context_end(context);
	}
	for (context = LIST_FIRST(&renderer->contexts); context; context = next) {
		next = LIST_NEXT(context, link);
		if (context->state == CONTEXT_GONE)
			continue;
		/* The device is ending them all, and need not be told of each. */
		context->report = false;
		wait_for_worker(context);
		context_gone(context);
	}
}
