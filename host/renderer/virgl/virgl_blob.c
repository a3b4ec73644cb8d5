// SPDX-License-Identifier: MIT
/*
 * virgl_blob: memory that contexts make
 *
 * A blob is made by the worker, which sends a descriptor of it; that must not be
 * userptr memory, which would outlive its resource so.  The library waits for it, and
 * everybody with the library: so it is asked only when it has worked off everything
 * else, as a fence shows, and nothing can keep it from answering.  A worker that does
 * not answer is given up (call_limit).
 *
 * Threads: the ring thread only.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/udmabuf.h"
#include "util/clock.h"
#include "util/log.h"

/* The library has a memory of its own for answers in such a blob, and does not ask for less. */
#define MIN_DRM_SHMEM 4096u
/* An answer takes a moment in any case. */
#define MIN_ANSWER_MS 100u

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

/* So long everybody waits for it, if it owes an answer. */
static unsigned int answer_limit(struct virgl_context *context)
{
	unsigned int limit = virgl_patience(&context->patience);

	return limit > MIN_ANSWER_MS ? limit : MIN_ANSWER_MS;
}

/* What the library needs to make it. */
static bool fill_args(struct virgl_renderer_resource_create_blob_args *args,
		      const struct renderer_blob *blob, struct resource *resource)
{
	*args = (struct virgl_renderer_resource_create_blob_args){
		.res_handle = blob->id,
		.ctx_id = resource->maker,
		.blob_mem = blob->mem,
		.blob_flags = blob->flags,
		.blob_id = blob->blob_id,
		.size = blob->size,
	};
	if (!blob->guest)
		return true;
	resource->iov = virgl_make_iov(blob->guest);
	args->iovecs = resource->iov;
	args->num_iovs = (uint32_t)blob->guest->runs.nr;
	return resource->iov;
}

/* Have the library make it, which waits for the worker.  The library has it then, or not. */
static uint32_t make_blob(struct virgl_context *context, const struct renderer_blob *blob,
			  struct resource *resource)
{
	struct virgl_renderer_resource_create_blob_args args;
	struct renderer *renderer = context->renderer;
	uint64_t began = clock_ms();
	int err;

	if (!fill_args(&args, blob, resource))
		return ERR_OUT_OF_MEMORY;
	call_limit_begin(renderer->limit, context->socket, answer_limit(context));
	err = virgl_renderer_resource_create_blob(&args);
	if (call_limit_end(renderer->limit))
		virgl_context_break(context, "its worker process does not answer");
	virgl_spend_patience(&context->patience, began);
	virgl_spend_patience(&renderer->patience, began);
	/* What it answers it has read. */
	context->seen = ++context->sent;
	return err ? library_error(err) : OK;
}

/* The maker has it attached, and whether it may be handed on. */
static uint32_t check_blob(struct virgl_context *context, const struct renderer_blob *blob,
			   struct resource *resource)
{
	if (id_table_insert(&context->has, resource->id, resource))
		return ERR_OUT_OF_MEMORY;
	/* The library makes no buffer of a native context's first blob. */
	if (blob->blob_id && drm_guard_add(&context->guard, blob->id))
		return ERR_OUT_OF_MEMORY;
	return inspect_blob(context->renderer, context, resource);
}

/* Nobody gets it, who was promised it. */
static void drop_promises(struct renderer *renderer, struct resource *resource)
{
	struct virgl_context *context;
	struct virgl_item *item, *next;

	LIST_FOREACH(context, &renderer->contexts, link) {
		for (item = TAILQ_FIRST(&context->queue); item && resource->queued; item = next) {
			next = TAILQ_NEXT(item, link);
			if (item->resource != resource)
				continue;
			virgl_queue_remove(context, item);
			virgl_item_free(item);
		}
	}
	renderer->look_again = true;
}

/**
 * virgl_blob_failed() - there will be no such blob
 * @renderer: whose
 * @resource: which the library does not have
 * @cookie: for blob_created()
 * @response: what to answer
 */
void virgl_blob_failed(struct renderer *renderer, struct resource *resource, void *cookie,
		       uint32_t response)
{
	drop_promises(renderer, resource);
	virgl_forget_resource(renderer, resource);
	renderer->host.blob_created(renderer->host.opaque, cookie, response);
}

/* The library has made it, or has failed. */
static void blob_made(struct virgl_context *context, const struct renderer_blob *blob,
		      struct resource *resource, void *cookie)
{
	struct renderer *renderer = context->renderer;
	uint32_t ret = make_blob(context, blob, resource);

	if (ret != OK) {
		virgl_blob_failed(renderer, resource, cookie, ret);
		return;
	}
	ret = check_blob(context, blob, resource);
	if (ret != OK) {
		drop_promises(renderer, resource);
		resource->tell = true;
		resource->response = ret;
		resource->cookie = cookie;
		virgl_end_resource(renderer, resource);
		return;
	}
	resource->state = RESOURCE_LIVE;
	renderer->look_again = true;
	renderer->host.blob_created(renderer->host.opaque, cookie, OK);
}

/*
 * Whether the worker has done all that was sent to it: then it answers at once.  The
 * fence of ring 0 is over when the worker comes to it.
 */
static enum virgl_step reach_worker(struct virgl_context *context, struct virgl_item *item)
{
	struct renderer *renderer = context->renderer;

	if (context->socket < 0 || context->seen == context->sent)
		return STEP_DONE;
	if (!item->barrier) {
		if (!virgl_context_has_room(context))
			return STEP_FULL;
		item->barrier = ++renderer->last_fence;
		item->sent = ++context->sent;
		if (virgl_renderer_context_create_fence(context->id, 0, 0, item->barrier)) {
			virgl_context_break(context, "a fence failed");
			return STEP_BUSY;
		}
	}
	if (!virgl_has_retired(context, 0, item->barrier))
		return STEP_BUSY;
	/* So is what came before it: that is answered first. */
	virgl_answer_retired(context);
	context->seen = item->sent;
	return STEP_DONE;
}

/**
 * virgl_blob_step() - make a blob that waits in a queue
 * @context: who makes it
 * @item: first in its queue
 *
 * Return: what became of it.
 */
enum virgl_step virgl_blob_step(struct virgl_context *context, struct virgl_item *item)
{
	struct renderer *renderer = context->renderer;
	struct resource *resource = item->resource;
	struct renderer_blob blob = item->blob;
	enum virgl_step step = reach_worker(context, item);
	void *cookie = item->cookie;

	if (step != STEP_DONE)
		return step;
	/* Others have kept everybody waiting for so long that this one has to wait. */
	if (virgl_patience(&renderer->patience) < answer_limit(context))
		return STEP_OTHER;
	if (!virgl_context_has_room(context))
		return STEP_FULL;
	virgl_queue_remove(context, item);
	virgl_item_free(item);
	blob_made(context, &blob, resource, cookie);
	return STEP_DONE;
}

static uint32_t queue_blob(struct virgl_context *context, const struct renderer_blob *blob,
			   struct resource *resource, void *cookie)
{
	struct virgl_item *item;

	if (!virgl_queue_takes(context, 0))
		return ERR_UNSPEC;
	item = virgl_item_new(ITEM_BLOB, 0);
	if (!item)
		return ERR_OUT_OF_MEMORY;
	item->resource = resource;
	item->blob = *blob;
	item->cookie = cookie;
	virgl_queue_add(context, item);
	virgl_queue_run(context);
	return 0;
}

/**
 * virgl_blob_create() - see struct renderer_ops
 * @renderer: it
 * @base: the context, or NULL
 * @blob: what to make
 * @cookie: for blob_created()
 *
 * Return: 0 or the error to answer.
 */
uint32_t virgl_blob_create(struct renderer *renderer, struct renderer_context *base,
			   const struct renderer_blob *blob, void *cookie)
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
	if (virgl_short_of_descriptors(renderer))
		return ERR_OUT_OF_MEMORY;
	resource = virgl_resource_new(renderer, blob->id, RESOURCE_BLOB, blob->size);
	if (!resource)
		return ERR_OUT_OF_MEMORY;
	resource->state = RESOURCE_MAKING;
	resource->maker = context->id;
	ret = virgl_add_holder(renderer, resource, context->id) ?
		      ERR_OUT_OF_MEMORY :
		      queue_blob(context, blob, resource, cookie);
	if (ret)
		virgl_forget_resource(renderer, resource);
	return ret;
}

/* Not one that is on its way out. */
static struct resource *find_blob(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	return resource && resource->kind == RESOURCE_BLOB && resource->state <= RESOURCE_LIVE ?
		       resource :
		       NULL;
}

/**
 * virgl_blob_attach() - see struct renderer_ops
 * @base: the context
 * @id: of the blob
 *
 * Return: 0 or a negative errno.
 */
int virgl_blob_attach(struct renderer_context *base, uint32_t id)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource = find_blob(context->renderer, id);

	if (!resource || context->state != CONTEXT_RUNS)
		return -EIO;
	/* Who makes it gets it with that. */
	if (resource->state == RESOURCE_MAKING && resource->maker == context->id &&
	    !virgl_queue_find(context, resource, ITEM_DETACH))
		return 0;
	return virgl_give_resource(context, resource);
}

/**
 * virgl_blob_detach() - see struct renderer_ops
 * @base: the context
 * @id: of the blob
 */
void virgl_blob_detach(struct renderer_context *base, uint32_t id)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource = find_blob(context->renderer, id);

	if (resource && context->state <= CONTEXT_BROKEN)
		virgl_take_resource(context, resource);
}

/**
 * virgl_blob_export() - see struct renderer_ops
 * @renderer: it
 * @id: of the blob
 * @out: what a VMM can map
 *
 * Return: 0 or a negative errno.
 */
int virgl_blob_export(struct renderer *renderer, uint32_t id, struct renderer_mapping *out)
{
	struct resource *resource = find_blob(renderer, id);
	uint32_t type, info;
	off_t size;
	int err, fd;

	if (!resource || resource->state != RESOURCE_LIVE)
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

/**
 * virgl_blob_destroy() - see struct renderer_ops
 * @renderer: it
 * @id: of the blob
 * @cookie: for blob_destroyed()
 *
 * Return: false if that follows.
 */
bool virgl_blob_destroy(struct renderer *renderer, uint32_t id, void *cookie)
{
	struct resource *resource = find_blob(renderer, id);

	if (!resource)
		return true;
	virgl_end_resource(renderer, resource);
	/* What is gone at once was not told. */
	resource = id_table_find(&renderer->resources, id);
	if (!resource)
		return true;
	resource->tell = true;
	resource->cookie = cookie;
	return false;
}
