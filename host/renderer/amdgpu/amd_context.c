// SPDX-License-Identifier: MIT
/*
 * amd_context: the life of a context, and its queue
 *
 * A context is a client of the card and a thread.  What the guest asks of it is queued
 * in the order in which it came, done by the thread, and handed back to the device's
 * thread: so a context that has to wait, for memory or for room in a queue of the GPU,
 * keeps nobody else waiting.  An item that was done is a message itself.
 *
 * The end: the queue is cancelled, the thread closes all GEM objects, and with them
 * what is mapped for the GPU, frees the amdgpu contexts, and says so with an AMD_ENDED.
 * It is freed when its last job is over and the guest has destroyed it.
 *
 * Invariant: each item that amd_enqueue() took comes back by amd_item_done(), once.
 *
 * Threads: the device's, but for what begins with context_run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/responses.h"

/* Above this a submission is answered when it was executed, so that a guest slows down. */
#define QUEUE_BYTES ((size_t)1 << 20)
/* With those that the guest has destroyed, and whose jobs are not over. */
#define MAX_CONTEXTS 1024u

/* ---- the context's thread ---- */

/* Give it to the device's thread. */
static void context_run_post(struct amd_item *item)
{
	struct renderer *renderer = item->context->renderer;
	uint64_t one = 1;

	pthread_mutex_lock(&renderer->lock);
	STAILQ_INSERT_TAIL(&renderer->done, item, link);
	pthread_mutex_unlock(&renderer->lock);
	/* It fails only if the counter is full, and then it is readable. */
	if (write(renderer->event, &one, sizeof(one)) < 0)
		return;
}

/* The next item, or NULL at the end. */
static struct amd_item *context_run_next(struct amd_context *context)
{
	struct amd_item *item;

	pthread_mutex_lock(&context->lock);
	for (;;) {
		item = STAILQ_FIRST(&context->queue);
		if (item && (!item->blocked || context->quit))
			break;
		if (!item && context->quit) {
			context->closed = true;
			break;
		}
		pthread_cond_wait(&context->wake, &context->lock);
	}
	if (item) {
		STAILQ_REMOVE_HEAD(&context->queue, link);
		item->blocked = false;
	}
	pthread_mutex_unlock(&context->lock);
	return item;
}

/* Something is attached: streams can name it. */
static void context_run_attach(struct amd_context *context, struct amd_item *item)
{
	int err = 0;

	if (item->fd >= 0) {
		err = amd_object_import(context, item->fd, &item->object);
		close(item->fd);
		item->fd = -1;
	}
	if (item->own) {
		item->object = id_table_find(&context->made, item->id);
		if (item->object)
			(void)amd_object_get(item->object);
	}
	if (!err && item->object && id_table_insert(&context->objects, item->id, item->object)) {
		err = -ENOMEM;
		amd_object_put(item->object);
	}
	if (err)
		log_error("context %u (%s): resource %u cannot be used: %s", context->base.id,
			  context->name, item->id, strerror(-err));
}

static void context_run_detach(struct amd_context *context, struct amd_item *item)
{
	struct amd_object *object = id_table_remove(&context->objects, item->id);

	if (object)
		amd_object_put(object);
}

static bool context_run_quits(struct amd_context *context)
{
	bool quits;

	pthread_mutex_lock(&context->lock);
	quits = context->quit;
	pthread_mutex_unlock(&context->lock);
	return quits;
}

static void context_run_item(struct amd_context *context, struct amd_item *item)
{
	context->item = item;
	switch (item->kind) {
	case AMD_STREAM:
		item->response = ERR_UNSPEC;
		if (!context_run_quits(context))
			amd_stream_run(context, item);
		break;
	case AMD_ATTACH:
		context_run_attach(context, item);
		break;
	case AMD_DETACH:
		context_run_detach(context, item);
		break;
	case AMD_BLOB_NEW:
		amd_blob_run_new(context, item);
		break;
	case AMD_BLOB_FREE:
		amd_blob_run_free(context, item);
		break;
	case AMD_ENDED:
		break;
	}
	item->jobs = context->submitted;
}

static void context_run_put_all(struct id_table *objects)
{
	size_t i;

	for (i = 0; i < objects->size; i++)
		if (id_table_at(objects, i))
			amd_object_put(id_table_at(objects, i));
	id_table_destroy(objects);
}

/* All that the kernel has for it. */
static void context_run_close(struct amd_context *context)
{
	size_t i;

	context_run_put_all(&context->objects);
	context_run_put_all(&context->fresh);
	context_run_put_all(&context->made);
	for (i = 0; i < context->ctxs.size; i++) {
		union drm_amdgpu_ctx args = { .in = { .op = AMDGPU_CTX_OP_FREE_CTX } };

		args.in.ctx_id = context->ctxs.slots[i].id;
		/* It waits until the hardware has all jobs, and fails for a card that is gone. */
		if (args.in.ctx_id)
			(void)drmCommandWriteRead(context->fd, DRM_AMDGPU_CTX, &args, sizeof(args));
	}
	id_table_destroy(&context->ctxs);
	if (context->syncobj)
		drmSyncobjDestroy(context->fd, context->syncobj);
	amd_uncharge(context->renderer, &context->renderer->va_mappings, context->va.nr);
	context->va.nr = 0;
	amd_shmem_put(context->shmem);
	context->shmem = NULL;
}

static void *context_run(void *opaque)
{
	struct amd_context *context = opaque;
	struct amd_item *item, *ended = context->item;

	while ((item = context_run_next(context))) {
		context_run_item(context, item);
		context_run_post(item);
	}
	context_run_close(context);
	ended->jobs = context->submitted;
	context_run_post(ended);
	return NULL;
}

/* ---- the device's thread ---- */

/**
 * amd_item_new() - an item for a queue
 * @context: whose
 * @kind: what it is
 * @size: bytes of data
 *
 * Return: it, or NULL: no memory.
 */
struct amd_item *amd_item_new(struct amd_context *context, enum amd_item_kind kind, size_t size)
{
	struct amd_item *item = malloc(sizeof(*item) + size);

	if (!item)
		return NULL;
	*item = (struct amd_item){ .kind = kind, .context = context, .fd = -1, .size = size };
	return item;
}

/**
 * amd_item_free() - free it
 * @item: in no queue; may be NULL
 */
void amd_item_free(struct amd_item *item)
{
	if (!item)
		return;
	if (item->fd >= 0)
		close(item->fd);
	amd_shmem_put(item->query.shmem);
	free(item);
}

/**
 * amd_enqueue() - something for a context to do
 * @item: it
 *
 * Return: false if the context has closed its queue; the item stays the caller's.
 */
bool amd_enqueue(struct amd_item *item)
{
	struct amd_context *context = item->context;
	bool open;

	pthread_mutex_lock(&context->lock);
	open = !context->closed;
	if (open) {
		STAILQ_INSERT_TAIL(&context->queue, item, link);
		pthread_cond_broadcast(&context->wake);
	}
	pthread_mutex_unlock(&context->lock);
	context->pending += open;
	return open;
}

/**
 * amd_unblock() - a blocked item has what it waited for
 * @item: that was blocked
 * @fd: for it, or -1
 */
void amd_unblock(struct amd_item *item, int fd)
{
	struct amd_context *context = item->context;

	pthread_mutex_lock(&context->lock);
	/* If it is not any more its context ends, and it was done as it is. */
	if (item->blocked) {
		item->blocked = false;
		item->fd = fd;
		fd = -1;
		pthread_cond_broadcast(&context->wake);
	}
	pthread_mutex_unlock(&context->lock);
	if (fd >= 0)
		close(fd);
}

static int open_client(struct amd_context *context)
{
	int err;

	context->fd = amd_node_open(&context->renderer->node);
	if (context->fd < 0)
		return context->fd;
	err = -EMFILE;
	context->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (context->kick < 0)
		goto close_fd;
	if (!drmSyncobjCreate(context->fd, 0, &context->syncobj))
		return 0;
	err = -errno;
	close(context->kick);
close_fd:
	close(context->fd);
	return err;
}

/*
 * It has ended, and its jobs are over: nothing more is asked of the client.  What that
 * has left goes with it: a card that was pulled out closes no handle, and an object that
 * stays keeps memory of the guest.
 */
static void close_client(struct amd_context *context)
{
	if (context->fd >= 0)
		close(context->fd);
	context->fd = -1;
}

static void context_free(struct amd_context *context)
{
	close(context->kick);
	close_client(context);
	pthread_cond_destroy(&context->wake);
	pthread_mutex_destroy(&context->objects_lock);
	pthread_mutex_destroy(&context->lock);
	amd_va_destroy(&context->va);
	free(context->answer);
	free(context);
}

static struct amd_context *context_new(struct renderer *renderer, const char *name)
{
	struct amd_context *context = calloc(1, sizeof(*context));

	if (!context)
		return NULL;
	context->renderer = renderer;
	snprintf(context->name, sizeof(context->name), "%s", name);
	STAILQ_INIT(&context->queue);
	STAILQ_INIT(&context->waiting);
	TAILQ_INIT(&context->jobs);
	LIST_INIT(&context->ending);
	TAILQ_INIT(&context->closing);
	LIST_INIT(&context->blobs);
	context->answer = malloc(AMD_MAX_ANSWER);
	/* For the end, when there may be no memory. */
	context->item = amd_item_new(context, AMD_ENDED, 0);
	if (!context->answer || !context->item) {
		free(context->item);
		free(context->answer);
		free(context);
		return NULL;
	}
	return context;
}

/**
 * amd_context_create() - see struct renderer_ops
 * @renderer: it
 * @capset: the only one there is
 * @name: for the log
 * @out: the device's part of the context
 *
 * Return: 0 or a negative errno.
 */
int amd_context_create(struct renderer *renderer, uint32_t capset, const char *name,
		       struct renderer_context **out)
{
	struct amd_context *context;
	int err;

	(void)capset;
	if (renderer->nr_contexts >= MAX_CONTEXTS) {
		log_error("context (%s): too many are there whose jobs do not end", name);
		return -EBUSY;
	}
	context = context_new(renderer, name);
	if (!context)
		return -ENOMEM;
	err = open_client(context);
	if (err) {
		log_error("context (%s): %s: %s", name, renderer->node.path, strerror(-err));
		goto free_context;
	}
	pthread_mutex_init(&context->lock, NULL);
	pthread_mutex_init(&context->objects_lock, NULL);
	pthread_cond_init(&context->wake, NULL);
	err = -pthread_create(&context->thread, NULL, context_run, context);
	if (err) {
		amd_item_free(context->item);
		context_free(context);
		return err;
	}
	LIST_INSERT_HEAD(&renderer->contexts, context, link);
	renderer->nr_contexts++;
	*out = &context->base;
	return 0;

free_context:
	amd_item_free(context->item);
	free(context->answer);
	free(context);
	return err;
}

/**
 * amd_context_end() - it ends
 * @context: it
 * @lost: the guest did not ask for it
 */
void amd_context_end(struct amd_context *context, bool lost)
{
	struct renderer *renderer = context->renderer;
	uint64_t one = 1;

	pthread_mutex_lock(&context->lock);
	context->quit = true;
	pthread_cond_broadcast(&context->wake);
	pthread_mutex_unlock(&context->lock);
	/* It fails only if it is readable already. */
	if (write(context->kick, &one, sizeof(one)) < 0)
		one = 0;
	if (!lost || context->lost || context->destroyed)
		return;
	context->lost = true;
	renderer->host.lost(renderer->host.opaque, &context->base);
}

/**
 * amd_context_destroy() - see struct renderer_ops
 * @renderer: it
 * @base: the context
 */
void amd_context_destroy(struct renderer *renderer, struct renderer_context *base)
{
	struct amd_context *context = (struct amd_context *)base;

	(void)renderer;
	id_table_destroy(&base->resources);
	context->destroyed = true;
	amd_context_end(context, false);
	amd_context_reap(context);
}

/**
 * amd_context_reap() - free a context of which nothing is left
 * @context: may be one of which something is
 */
void amd_context_reap(struct amd_context *context)
{
	if (!context->ended || !amd_jobs_over(context, UINT64_MAX))
		return;
	close_client(context);
	if (!context->destroyed || !STAILQ_EMPTY(&context->waiting) || !amd_holds_nothing(context))
		return;
	LIST_REMOVE(context, link);
	context->renderer->nr_contexts--;
	context_free(context);
}

/**
 * amd_submit() - see struct renderer_ops
 * @renderer: it
 * @base: the context
 * @submission: the commands
 * @cookie: of the device
 *
 * Return: 0 or the error to answer.
 */
uint32_t amd_submit(struct renderer *renderer, struct renderer_context *base,
		    const struct renderer_submission *submission, void *cookie)
{
	struct amd_context *context = (struct amd_context *)base;
	struct amd_item *item;
	bool now;

	if (submission->ring >= AMDVGPU_MAX_RINGS)
		return ERR_INVALID_PARAMETER;
	if (context->lost)
		return ERR_INVALID_CONTEXT_ID;
	item = amd_item_new(context, AMD_STREAM, submission->size);
	if (!item)
		return ERR_OUT_OF_MEMORY;
	now = !submission->fenced && context->queued < QUEUE_BYTES;
	item->cookie = now ? NULL : cookie;
	/* Nobody waits for its jobs if there is no fence. */
	item->ring = submission->fenced ? submission->ring : 0;
	if (submission->size)
		memcpy(item->data, submission->data, submission->size);
	context->queued += sizeof(*item) + item->size;
	if (!amd_enqueue(item)) {
		context->queued -= sizeof(*item) + item->size;
		amd_item_free(item);
		return ERR_UNSPEC;
	}
	if (now)
		renderer->host.submitted(renderer->host.opaque, cookie, OK);
	return 0;
}

static void ended(struct amd_context *context)
{
	pthread_join(context->thread, NULL);
	context->ended = true;
	amd_holds_close(context);
	amd_blobs_orphan(context);
	amd_waiting_check(context);
}

/* Whether something of the guest's stays with the client for as long as that is there. */
static bool is_stuck(struct amd_context *context)
{
	return atomic_load(&context->stuck);
}

/**
 * amd_item_done() - a context's thread has done it
 * @item: it; is gone
 */
void amd_item_done(struct amd_item *item)
{
	struct amd_context *context = item->context;

	context->pending -= item->kind != AMD_ENDED;
	switch (item->kind) {
	case AMD_STREAM:
		context->queued -= sizeof(*item) + item->size;
		context->renderer->queries += item->query.shmem != NULL;
		STAILQ_INSERT_TAIL(&context->waiting, item, link);
		amd_waiting_check(context);
		break;
	case AMD_DETACH:
		amd_hold_closed(context, item->hold, item->jobs);
		amd_item_free(item);
		break;
	case AMD_BLOB_NEW:
		amd_blob_created(item);
		break;
	case AMD_BLOB_FREE:
		amd_blob_freed(item);
		break;
	case AMD_ATTACH:
		amd_attached(item);
		break;
	case AMD_ENDED:
		amd_item_free(item);
		ended(context);
		break;
	}
	if (is_stuck(context))
		amd_context_end(context, true);
	amd_holds_check(context);
	amd_context_reap(context);
}
