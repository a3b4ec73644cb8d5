// SPDX-License-Identifier: MIT
/*
 * amd_attach: what is attached to a context, and when the context has let go of it
 *
 * A userptr resource becomes a GEM object at once, so that the guest hears of an error;
 * streams can name it when the context's thread gets there, which keeps everything in
 * the order in which the guest asked for it.
 *
 * When is its memory the guest's own again?  The thread unmaps the GEM object in the
 * GPU's address space, which the kernel does behind the jobs that run and before any that
 * is submitted later (see amd_object.c), and closes it.  So when all jobs are over that were submitted before
 * that, no job of this context can reach it.  Then the hold ends.  For a dma-buf that
 * would not have to be counted (the kernel has the same fences in its reservation
 * object, see udmabuf_alone.c), for a range of our address space nobody else does.
 *
 * Invariants: a hold is in the table of what is attached, or in the list of what ends.
 * It is freed when it is closed and its jobs are over.
 *
 * Threads: the device's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include "memory/backing.h"
#include "memory/udmabuf.h"
#include "memory/view.h"
#include "memory/view_stitch.h"
#include "renderer/amdgpu/amd_internal.h"
#include "util/descriptors.h"
#include "util/log.h"

/* What a context may have asked for that its thread has not done. */
#define MAX_PENDING 16384u

static bool takes_no_more(const struct amd_context *context)
{
	if (context->pending < MAX_PENDING)
		return false;
	log_error("context %u (%s): its thread is busy, and %u things wait for it",
		  context->base.id, context->name, context->pending);
	return true;
}

/* A hold and its ATTACH item. */
static int hold_new(struct amd_context *context, uint32_t id, struct amd_hold **out,
		    struct amd_item **attach)
{
	struct amd_hold *hold = calloc(1, sizeof(*hold));

	*attach = amd_item_new(context, AMD_ATTACH, 0);
	if (hold)
		hold->detach = amd_item_new(context, AMD_DETACH, 0);
	if (!hold || !*attach || !hold->detach) {
		amd_item_free(*attach);
		if (hold)
			amd_item_free(hold->detach);
		free(hold);
		return -ENOMEM;
	}
	hold->id = id;
	hold->detach->id = id;
	hold->detach->hold = hold;
	(*attach)->id = id;
	(*attach)->hold = hold;
	*out = hold;
	return 0;
}

static void hold_free(struct amd_hold *hold)
{
	amd_item_free(hold->detach);
	if (hold->object && !--hold->object->holds)
		amd_object_free(hold->object);
	if (hold->view)
		stitch_view_put(hold->view);
	free(hold);
}

static void stop_waiting(struct amd_hold *hold)
{
	if (hold->attach)
		LIST_REMOVE(hold, wait_link);
	hold->attach = NULL;
}

/* From now on streams can name it, behind those that are queued. */
static int begin(struct amd_context *context, struct amd_hold *hold, struct amd_item *attach)
{
	int err = id_table_insert(&context->attached, hold->id, hold);

	if (!err && amd_enqueue(attach))
		return 0;
	if (!err) {
		id_table_remove(&context->attached, hold->id);
		err = -ENODEV;
	}
	amd_item_free(attach);
	stop_waiting(hold);
	/* The thread does not know of it. */
	if (hold->object)
		(void)amd_object_unref(hold->object);
	hold_free(hold);
	return err;
}

/**
 * amd_attached() - a context's thread is done with an attach
 * @item: AMD_ATTACH; is gone
 */
void amd_attached(struct amd_item *item)
{
	/* It need not have waited to the end, if its context ends. */
	if (item->hold->attach == item)
		stop_waiting(item->hold);
	amd_item_free(item);
}

/* It was attached before, and the context's thread has not let go of it yet. */
static struct amd_object *find_object(struct amd_context *context, uint32_t id)
{
	struct amd_hold *hold;

	LIST_FOREACH(hold, &context->ending, link)
		if (hold->id == id && hold->userptr && hold->object && amd_object_get(hold->object))
			return hold->object;
	return NULL;
}

static int import_view(struct amd_context *context, const struct udmabuf_view *view,
		       struct amd_object **out)
{
	int fd = udmabuf_view_dup(view), err;

	if (fd < 0)
		return fd;
	err = amd_object_import(context, fd, out);
	close(fd);
	return err;
}

static int make_object(struct amd_context *context, struct backing *backing,
		       struct amd_object **out)
{
	struct stitch_view *stitch = memory_view_stitch(backing->view);
	int err;

	*out = find_object(context, backing->id);
	if (*out)
		return 0;
	if (stitch)
		err = amd_object_userptr(context, stitch, out);
	else
		err = import_view(context, memory_view_udmabuf(backing->view), out);
	if (err)
		return err;
	(*out)->guest = true;
	(*out)->readonly = backing->readonly;
	return 0;
}

/* Guest blobs have no view: they are attached, and no use to a GPU. */
static bool has_no_view(const struct backing *backing)
{
	return !backing->view;
}

/**
 * amd_attach() - see struct renderer_ops
 * @base: the context
 * @backing: a resource of guest memory
 *
 * Return: 0 or a negative errno.
 */
int amd_attach(struct renderer_context *base, struct backing *backing)
{
	struct amd_context *context = (struct amd_context *)base;
	struct amd_item *attach;
	struct amd_hold *hold;
	int err;

	if (has_no_view(backing))
		return 0;
	if (context->lost)
		return -ENODEV;
	if (takes_no_more(context))
		return -EBUSY;
	err = hold_new(context, backing->id, &hold, &attach);
	if (err)
		return err;
	hold->userptr = true;
	/* From before there is an object until there is none any more. */
	hold->view = memory_view_stitch(backing->view);
	if (hold->view)
		stitch_view_get(hold->view);
	err = make_object(context, backing, &hold->object);
	if (err) {
		log_error("context %u (%s): resource %u cannot be given to the GPU: %s", base->id,
			  context->name, backing->id, strerror(-err));
		amd_item_free(attach);
		hold_free(hold);
		return err;
	}
	hold->object->holds++;
	attach->object = hold->object;
	return begin(context, hold, attach);
}

static void detach(struct amd_context *context, uint32_t id)
{
	struct amd_hold *hold = id_table_remove(&context->attached, id);
	struct amd_item *item;

	if (!hold)
		return;
	LIST_INSERT_HEAD(&context->ending, hold, link);
	/* What it waits for is no use to it any more. */
	item = hold->attach;
	stop_waiting(hold);
	if (item)
		amd_unblock(item, -1);
	item = hold->detach;
	hold->detach = NULL;
	if (amd_enqueue(item))
		return;
	amd_item_free(item);
	/* Else that is done when the context has ended. */
	if (context->ended) {
		amd_hold_closed(context, hold, UINT64_MAX);
		amd_holds_check(context);
	}
}

/**
 * amd_detach() - see struct renderer_ops
 * @base: the context
 * @backing: of the resource
 */
void amd_detach(struct renderer_context *base, struct backing *backing)
{
	detach((struct amd_context *)base, backing->id);
}

/* Another context's: 0, and the item has its dma-buf or is blocked until there is one. */
static int share(struct amd_blob *blob, struct amd_hold *hold, struct amd_item *attach)
{
	if (!(blob->flags & VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE) || !blob->blob_id)
		return -EACCES;
	if (!blob->made) {
		attach->blocked = true;
		hold->attach = attach;
		LIST_INSERT_HEAD(&blob->waiting, hold, wait_link);
		return 0;
	}
	attach->fd = fcntl(blob->fd, F_DUPFD_CLOEXEC, 0);
	if (attach->fd < 0)
		return -errno;
	return descriptor_is_reserved(attach->fd, DESCRIPTORS_FOR_RESOURCES) ? -EMFILE : 0;
}

/**
 * amd_blob_attach() - see struct renderer_ops
 * @base: the context
 * @id: of the blob
 *
 * Return: 0 or a negative errno.
 */
int amd_blob_attach(struct renderer_context *base, uint32_t id)
{
	struct amd_context *context = (struct amd_context *)base;
	struct amd_blob *blob = id_table_find(&context->renderer->blobs, id);
	struct amd_item *attach;
	struct amd_hold *hold;
	int err;

	if (!blob)
		return -ENOENT;
	if (context->lost)
		return -ENODEV;
	if (takes_no_more(context))
		return -EBUSY;
	err = hold_new(context, id, &hold, &attach);
	if (err)
		return err;
	attach->own = blob->context == context;
	if (!attach->own)
		err = share(blob, hold, attach);
	if (err) {
		amd_item_free(attach);
		hold_free(hold);
		return err;
	}
	return begin(context, hold, attach);
}

/**
 * amd_blob_detach() - see struct renderer_ops
 * @base: the context
 * @id: of the blob
 */
void amd_blob_detach(struct renderer_context *base, uint32_t id)
{
	detach((struct amd_context *)base, id);
}

/**
 * amd_hold_closed() - a hold waits for jobs only
 * @context: whose
 * @hold: it, in the list of those that end
 * @jobs: the last of them
 */
void amd_hold_closed(struct amd_context *context, struct amd_hold *hold, uint64_t jobs)
{
	LIST_REMOVE(hold, link);
	hold->jobs = jobs;
	TAILQ_INSERT_TAIL(&context->closing, hold, closed_link);
}

/**
 * amd_holds_check() - free what is not held any more
 * @context: whose
 */
void amd_holds_check(struct amd_context *context)
{
	struct amd_hold *hold;

	while ((hold = TAILQ_FIRST(&context->closing)) && amd_jobs_over(context, hold->jobs)) {
		TAILQ_REMOVE(&context->closing, hold, closed_link);
		hold_free(hold);
	}
}

/**
 * amd_holds_close() - the context has ended
 * @context: it
 */
void amd_holds_close(struct amd_context *context)
{
	struct amd_hold *hold;
	size_t i;

	for (i = 0; i < context->attached.size; i++) {
		hold = id_table_at(&context->attached, i);
		if (hold)
			LIST_INSERT_HEAD(&context->ending, hold, link);
	}
	id_table_destroy(&context->attached);
	while ((hold = LIST_FIRST(&context->ending))) {
		stop_waiting(hold);
		amd_hold_closed(context, hold, UINT64_MAX);
	}
}

/**
 * amd_holds_nothing() - whether nothing is attached, or ends
 * @context: whose
 *
 * Return: true if so.
 */
bool amd_holds_nothing(const struct amd_context *context)
{
	return !context->attached.nr && LIST_EMPTY(&context->ending) &&
	       TAILQ_EMPTY(&context->closing);
}

static bool holds(const struct amd_context *context, uint32_t id)
{
	const struct amd_hold *hold = id_table_find(&context->attached, id);

	if (hold && hold->userptr)
		return true;
	LIST_FOREACH(hold, &context->ending, link)
		if (hold->userptr && hold->id == id)
			return true;
	TAILQ_FOREACH(hold, &context->closing, closed_link)
		if (hold->userptr && hold->id == id)
			return true;
	return false;
}

/**
 * amd_evict() - see struct renderer_ops
 * @renderer: it
 * @backing: what is to be let go
 * @force: there is nothing more that could be done: the GPU is the kernel's
 */
void amd_evict(struct renderer *renderer, struct backing *backing, bool force)
{
	struct amd_context *context;

	(void)force;
	LIST_FOREACH(context, &renderer->contexts, link)
		if (holds(context, backing->id))
			amd_context_end(context, true);
	/* Whoever asks for it may wait for the outcome, and hear of nothing else. */
	renderer_amdgpu.dispatch(renderer);
}
