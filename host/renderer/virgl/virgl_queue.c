// SPDX-License-Identifier: MIT
/*
 * virgl_queue: what a context cannot do at once
 *
 * A worker that is busy does not read, and the library would wait for it, with
 * everybody else.  So what there is no room for in the worker's socket waits here, in
 * the context's own order, until there is room; what has to come behind it waits, too.
 * The device has a copy of all of it, and nobody waits for the context but who waits
 * for its work.
 *
 * A context can queue so much and no more, and is ended when it wants to.  In all that
 * is bounded, too, but what others queue is no reason to end one: each has a share that
 * is its own.
 *
 * Invariants: while the queue of a context is not empty, only what is first in it is
 * sent.  An item that names a resource counts in it, and the library has the resource
 * until that is zero.
 *
 * Threads: the ring thread only.
 */
#include "renderer/virgl/virgl_internal.h"

#include <stdlib.h>
#include <sys/epoll.h>

/* What the queue of a context may have. */
#define MAX_ITEMS 1024u
#define MAX_BYTES ((size_t)4 << 20)
/* What it may have in any case, and what all may have beyond that together. */
#define SHARE_BYTES ((size_t)1 << 20)
#define POOL_BYTES ((size_t)128 << 20)

/**
 * virgl_item_new() - an item for a queue
 * @kind: what for
 * @size: bytes of data
 *
 * Return: it, or NULL: no memory.
 */
struct virgl_item *virgl_item_new(enum virgl_item_kind kind, size_t size)
{
	struct virgl_item *item = malloc(sizeof(*item) + size);

	if (!item)
		return NULL;
	*item = (struct virgl_item){ .kind = kind, .size = size };
	return item;
}

/**
 * virgl_item_free() - free it
 * @item: in no queue
 */
void virgl_item_free(struct virgl_item *item)
{
	free(item->submission);
	free(item);
}

static size_t beyond_share(size_t bytes)
{
	return bytes > SHARE_BYTES ? bytes - SHARE_BYTES : 0;
}

/**
 * virgl_queue_takes() - whether the queue may have more
 * @context: whose
 * @size: bytes of data
 *
 * Return: false if not, and then the context is broken.
 */
bool virgl_queue_takes(struct virgl_context *context, size_t size)
{
	size_t most = context->renderer->queued_more < POOL_BYTES ? MAX_BYTES : SHARE_BYTES;

	/* One that is larger than the share is taken if there is nothing before it. */
	if (context->nr_queued < MAX_ITEMS &&
	    (!context->queued_bytes || context->queued_bytes + size <= most))
		return true;
	virgl_context_break(context, "its worker process takes no commands, and more come");
	return false;
}

static void count(struct virgl_context *context, size_t bytes)
{
	struct renderer *renderer = context->renderer;

	renderer->queued_more -= beyond_share(context->queued_bytes);
	context->queued_bytes = bytes;
	renderer->queued_more += beyond_share(context->queued_bytes);
}

/**
 * virgl_queue_add() - put something at the end
 * @context: of its queue
 * @item: the queue's then
 */
void virgl_queue_add(struct virgl_context *context, struct virgl_item *item)
{
	struct renderer *renderer = context->renderer;

	TAILQ_INSERT_TAIL(&context->queue, item, link);
	count(context, context->queued_bytes + item->size);
	if (item->resource)
		item->resource->queued++;
	if (context->nr_queued++)
		return;
	context->stalled_ms = 0;
	context->step = STEP_FULL;
	if (!renderer->nr_waiting++)
		virgl_set_tick(renderer, true);
}

/**
 * virgl_queue_remove() - take something out
 * @context: of its queue
 * @item: the caller's then; its resource may be gone
 */
void virgl_queue_remove(struct virgl_context *context, struct virgl_item *item)
{
	struct renderer *renderer = context->renderer;

	TAILQ_REMOVE(&context->queue, item, link);
	count(context, context->queued_bytes - item->size);
	if (!--context->nr_queued && !--renderer->nr_waiting)
		virgl_set_tick(renderer, false);
	if (item->resource) {
		item->resource->queued--;
		virgl_unqueue_resource(renderer, item->resource);
	}
}

/**
 * virgl_queue_find() - the last item of a kind that names a resource
 * @context: of its queue
 * @resource: the resource
 * @kind: of item
 *
 * Return: it or NULL.
 */
struct virgl_item *virgl_queue_find(const struct virgl_context *context,
				    const struct resource *resource, enum virgl_item_kind kind)
{
	struct virgl_item *item, *found = NULL;

	/* Most are named nowhere. */
	if (!resource->queued)
		return NULL;
	TAILQ_FOREACH(item, &context->queue, link)
		if (item->resource == resource && item->kind == kind)
			found = item;
	return found;
}

/**
 * virgl_queue_names() - whether something in the queue has to do with a resource
 * @context: of its queue
 * @resource: the resource
 *
 * Return: whether there is.
 */
bool virgl_queue_names(const struct virgl_context *context, const struct resource *resource)
{
	const struct virgl_item *item;

	TAILQ_FOREACH(item, &context->queue, link)
		if (item->resource == resource)
			return true;
	return false;
}

static void watch_socket(struct virgl_context *context, bool on)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.fd = context->socket };

	if (context->watched == on)
		return;
	/* If there is no memory for that the tick will do. */
	if (!epoll_ctl(context->renderer->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
		       context->socket, &event))
		context->watched = on;
}

/**
 * virgl_queue_unwatch() - its socket goes
 * @context: whose
 */
void virgl_queue_unwatch(struct virgl_context *context)
{
	watch_socket(context, false);
}

static enum virgl_step run_item(struct virgl_context *context, struct virgl_item *item)
{
	switch (item->kind) {
	case ITEM_SUBMIT:
		return virgl_submit_step(context, item);
	case ITEM_FENCE:
		return virgl_fence_step(context, item);
	case ITEM_ATTACH:
		return virgl_attach_step(context, item);
	case ITEM_DETACH:
		return virgl_detach_step(context, item);
	case ITEM_BLOB:
	default:
		return virgl_blob_step(context, item);
	}
}

/**
 * virgl_queue_run() - do what can be done
 * @context: of its queue
 *
 * A step that is done has taken its item out, or left it for the next one.
 */
void virgl_queue_run(struct virgl_context *context)
{
	struct virgl_item *item;

	while (context->state == CONTEXT_RUNS && (item = TAILQ_FIRST(&context->queue))) {
		context->step = run_item(context, item);
		if (context->step != STEP_DONE)
			break;
		context->stalled_ms = 0;
	}
	watch_socket(context, context->state == CONTEXT_RUNS && context->nr_queued &&
				      context->step == STEP_FULL);
}

/**
 * virgl_queues_run() - of all contexts
 * @renderer: whose
 */
void virgl_queues_run(struct renderer *renderer)
{
	struct virgl_context *context;

	do {
		renderer->look_again = false;
		LIST_FOREACH(context, &renderer->contexts, link)
			if (context->nr_queued)
				virgl_queue_run(context);
	} while (renderer->look_again);
}

/**
 * virgl_queue_drop() - nothing of it will be done any more
 * @context: of its queue; the library has it no more
 *
 * What is to be answered when the context is gone stays, behind what was sent.
 */
void virgl_queue_drop(struct virgl_context *context)
{
	struct renderer *renderer = context->renderer;
	struct virgl_item *item;

	while ((item = TAILQ_FIRST(&context->queue))) {
		struct resource *resource = item->resource;

		if (item->submission) {
			item->submission->fence = ++renderer->last_fence;
			STAILQ_INSERT_TAIL(&context->rings[item->ring], item->submission, link);
			item->submission = NULL;
		}
		virgl_queue_remove(context, item);
		if (item->kind == ITEM_BLOB)
			virgl_blob_failed(renderer, resource, item->cookie, ERR_UNSPEC);
		virgl_item_free(item);
	}
}
