// SPDX-License-Identifier: MIT
/*
 * virgl_blob: memory that contexts make
 *
 * A blob is made by the worker, which sends a descriptor of it; that must not be
 * userptr memory, which would outlive its resource so.  A worker that does not
 * answer is given up (call_limit).
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
		resource->iov = virgl_make_iov(blob->guest);
		if (!resource->iov)
			return ERR_OUT_OF_MEMORY;
		args.iovecs = resource->iov;
		args.num_iovs = (uint32_t)blob->guest->runs.nr;
	}
	if (!virgl_context_has_room(context))
		return ERR_UNSPEC;
	limit = virgl_patience(renderer);
	began = clock_ms();
	call_limit_begin(renderer->limit, context->socket,
			 limit > MIN_ANSWER_MS ? limit : MIN_ANSWER_MS);
	err = virgl_renderer_resource_create_blob(&args);
	if (call_limit_end(renderer->limit))
		virgl_context_break(context, "its worker process does not answer");
	virgl_spend_patience(renderer, began);
	return err ? library_error(err) : OK;
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
	ret = virgl_add_holder(renderer, resource, context->id) ?
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
	renderer->host.blob_created(renderer->host.opaque, cookie, OK);
	return 0;

unref:
	virgl_unref_resource(renderer, resource);
forget:
	virgl_forget_resource(renderer, resource);
	return ret;
}

static struct resource *find_blob(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = virgl_find_live(renderer, id);

	return resource && resource->kind == RESOURCE_BLOB ? resource : NULL;
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
	return virgl_attach_resource(context, resource);
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

	if (resource)
		virgl_detach_resource(context, resource);
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

/**
 * virgl_blob_destroy() - see struct renderer_ops
 * @renderer: it
 * @id: of the blob
 * @cookie: for blob_destroyed()
 *
 * Return: true, it is gone.
 */
bool virgl_blob_destroy(struct renderer *renderer, uint32_t id, void *cookie)
{
	struct resource *resource = find_blob(renderer, id);

	(void)cookie;
	if (!resource)
		return true;
	virgl_unref_resource(renderer, resource);
	virgl_forget_resource(renderer, resource);
	return true;
}
