// SPDX-License-Identifier: MIT
/*
 * amd_blob: buffers, and response memory, that the guest knows as resources
 *
 * A buffer is made by a command of a stream, under a name of the context's, and becomes
 * a resource with the CREATE_BLOB that has the same name.  It is the context's own; one
 * that can be shared has a dma-buf, which the others import and which is there when its
 * context is not any more.  The VMM maps a buffer as a dma-buf, too, or, where it cannot
 * be one, by way of the context's own client.
 *
 * Invariants: a blob is in the renderer's table from blob_create() until it was answered
 * that it is not made, or is destroyed.  The object of a blob is the context's thread's.
 *
 * Threads: the device's, but for amd_blob_run_new() and amd_blob_run_free().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/descriptors.h"
#include "util/log.h"
#include "util/responses.h"

/* ---- the context's thread ---- */

static uint32_t response_of(int err)
{
	switch (err) {
	case 0:
		return OK;
	case -ENOMEM:
		return ERR_OUT_OF_MEMORY;
	case -ENOSPC:
	case -EMFILE:
	case -ENFILE:
		return ERR_LIMIT;
	case -EINVAL:
	case -ENOENT:
		return ERR_INVALID_PARAMETER;
	default:
		return ERR_UNSPEC;
	}
}

static int make_shmem(struct amd_context *context, struct amd_blob *blob)
{
	int err;

	if (context->shmem)
		return -EINVAL;
	err = amd_shmem_new(blob->size, &context->shmem);
	if (err)
		return err;
	amd_shmem_set_heaps(context->shmem, context->fd);
	atomic_fetch_add(&context->shmem->refs, 1);
	blob->shmem = context->shmem;
	blob->cache = VIRTIO_GPU_MAP_CACHE_CACHED;
	return 0;
}

/* How the CPU has to map a buffer. */
static int read_cache(struct amd_context *context, struct amd_blob *blob)
{
	struct drm_amdgpu_gem_create_in made = { .bo_size = 0 };
	struct drm_amdgpu_gem_op args = {
		.handle = blob->handle,
		.op = AMDGPU_GEM_OP_GET_GEM_CREATE_INFO,
		.value = (uintptr_t)&made,
	};
	int err = drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_OP, &args, sizeof(args));

	/* Memory of the card, and what was asked for so, is write-combined. */
	blob->cache = made.domains & AMDGPU_GEM_DOMAIN_VRAM ||
				      made.domain_flags & AMDGPU_GEM_CREATE_CPU_GTT_USWC ?
			      VIRTIO_GPU_MAP_CACHE_WC :
			      VIRTIO_GPU_MAP_CACHE_CACHED;
	return err;
}

static int make_shareable(struct amd_context *context, struct amd_blob *blob)
{
	if (!(blob->flags & VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE))
		return 0;
	if (drmPrimeHandleToFD(context->fd, blob->handle, DRM_CLOEXEC | DRM_RDWR, &blob->fd)) {
		blob->fd = -1;
		return -errno;
	}
	return descriptor_is_reserved(blob->fd, DESCRIPTORS_FOR_RESOURCES) ? -EMFILE : 0;
}

static int make_buffer(struct amd_context *context, struct amd_blob *blob)
{
	struct amd_object *object = NULL;
	int err;

	if (blob->blob_id <= UINT32_MAX)
		object = id_table_remove(&context->fresh, (uint32_t)blob->blob_id);
	if (!object)
		return -ENOENT;
	blob->handle = object->handle;
	err = blob->size > object->size ? -EINVAL : read_cache(context, blob);
	if (!err)
		err = make_shareable(context, blob);
	if (!err)
		err = id_table_insert(&context->made, blob->id, object);
	if (err)
		amd_object_put(object);
	return err;
}

/**
 * amd_blob_run_new() - make a blob of what a context has
 * @context: it
 * @item: AMD_BLOB_NEW
 */
void amd_blob_run_new(struct amd_context *context, struct amd_item *item)
{
	struct amd_blob *blob = item->blob;

	item->response =
		response_of(blob->blob_id ? make_buffer(context, blob) : make_shmem(context, blob));
}

/**
 * amd_blob_run_free() - what the context has for a blob goes
 * @context: it
 * @item: AMD_BLOB_FREE
 */
void amd_blob_run_free(struct amd_context *context, struct amd_item *item)
{
	struct amd_blob *blob = item->blob;
	struct amd_object *object = id_table_remove(&context->made, blob->id);

	if (object)
		amd_object_put(object);
	/* Another one can take its place. */
	if (blob->shmem) {
		amd_shmem_put(context->shmem);
		context->shmem = NULL;
	}
}

/* ---- the device's thread ---- */

static void blob_free(struct renderer *renderer, struct amd_blob *blob)
{
	struct amd_hold *hold;

	/* They find that there is nothing. */
	while ((hold = LIST_FIRST(&blob->waiting))) {
		LIST_REMOVE(hold, wait_link);
		amd_unblock(hold->attach, -1);
		hold->attach = NULL;
	}
	id_table_remove(&renderer->blobs, blob->id);
	if (blob->context)
		LIST_REMOVE(blob, link);
	if (blob->fd >= 0)
		close(blob->fd);
	amd_shmem_put(blob->shmem);
	amd_item_free(blob->free);
	free(blob);
}

/**
 * amd_blob_create() - see struct renderer_ops
 * @renderer: it
 * @base: the context
 * @what: the blob
 * @cookie: of the device
 *
 * Return: 0 or the error to answer.
 */
uint32_t amd_blob_create(struct renderer *renderer, struct renderer_context *base,
			 const struct renderer_blob *what, void *cookie)
{
	struct amd_context *context = (struct amd_context *)base;
	struct amd_item *item;
	struct amd_blob *blob;

	if (!context || what->mem != VIRTIO_GPU_BLOB_MEM_HOST3D)
		return ERR_INVALID_PARAMETER;
	if (context->lost)
		return ERR_INVALID_CONTEXT_ID;
	blob = calloc(1, sizeof(*blob));
	if (!blob)
		return ERR_OUT_OF_MEMORY;
	item = amd_item_new(context, AMD_BLOB_NEW, 0);
	blob->free = amd_item_new(context, AMD_BLOB_FREE, 0);
	if (!item || !blob->free || id_table_insert(&renderer->blobs, what->id, blob)) {
		amd_item_free(item);
		amd_item_free(blob->free);
		free(blob);
		return ERR_OUT_OF_MEMORY;
	}
	blob->id = what->id;
	blob->context = context;
	blob->cookie = cookie;
	blob->blob_id = what->blob_id;
	blob->size = what->size;
	blob->flags = what->flags;
	blob->fd = -1;
	blob->free->blob = blob;
	item->blob = blob;
	LIST_INIT(&blob->waiting);
	LIST_INSERT_HEAD(&context->blobs, blob, link);
	if (amd_enqueue(item))
		return 0;
	amd_item_free(item);
	blob_free(renderer, blob);
	return ERR_UNSPEC;
}

/* Those who wanted it before it was there. */
static void let_attaches_go(struct amd_blob *blob)
{
	struct amd_hold *hold;
	int fd;

	while ((hold = LIST_FIRST(&blob->waiting))) {
		LIST_REMOVE(hold, wait_link);
		fd = fcntl(blob->fd, F_DUPFD_CLOEXEC, 0);
		if (descriptor_is_reserved(fd, DESCRIPTORS_FOR_RESOURCES)) {
			log_error("blob %u: it cannot be shared: descriptors run out", blob->id);
			if (fd >= 0)
				close(fd);
			fd = -1;
		}
		amd_unblock(hold->attach, fd);
		hold->attach = NULL;
	}
}

/**
 * amd_blob_created() - a context's thread has made it, or not
 * @item: AMD_BLOB_NEW; is gone
 */
void amd_blob_created(struct amd_item *item)
{
	struct renderer *renderer = item->context->renderer;
	uint32_t response = item->response;
	struct amd_blob *blob = item->blob;
	void *cookie = blob->cookie;

	amd_item_free(item);
	if (response == OK) {
		blob->made = true;
		let_attaches_go(blob);
	} else {
		blob_free(renderer, blob);
	}
	renderer->host.blob_created(renderer->host.opaque, cookie, response);
}

static int export_buffer(const struct amd_blob *blob, struct renderer_mapping *out)
{
	union drm_amdgpu_gem_mmap args = { .in = { .handle = blob->handle } };
	int fd = blob->context->fd;

	/*
	 * To close a descriptor of the client waits for what is queued for the GPU, so a
	 * dma-buf is better, where the kernel makes one of the buffer.
	 */
	if (!drmPrimeHandleToFD(fd, blob->handle, DRM_CLOEXEC | DRM_RDWR, &out->fd))
		return 0;
	if (drmCommandWriteRead(fd, DRM_AMDGPU_GEM_MMAP, &args, sizeof(args)))
		return -EINVAL;
	out->offset = args.out.addr_ptr;
	out->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return out->fd < 0 ? -errno : 0;
}

/**
 * amd_blob_export() - see struct renderer_ops
 * @renderer: it
 * @id: of the blob
 * @out: what can be mapped
 *
 * Return: 0 or a negative errno.
 */
int amd_blob_export(struct renderer *renderer, uint32_t id, struct renderer_mapping *out)
{
	const struct amd_blob *blob = id_table_find(&renderer->blobs, id);

	if (!blob || !blob->made || blob->freeing)
		return -ENXIO;
	out->cache = blob->cache;
	out->offset = 0;
	if (blob->shmem || blob->fd >= 0) {
		out->fd = fcntl(blob->shmem ? blob->shmem->fd : blob->fd, F_DUPFD_CLOEXEC, 0);
		return out->fd < 0 ? -errno : 0;
	}
	return blob->context ? export_buffer(blob, out) : -ENXIO;
}

/**
 * amd_blob_destroy() - see struct renderer_ops
 * @renderer: it
 * @id: of the blob
 * @cookie: of the device
 *
 * Return: true if it is gone, false if blob_destroyed() follows.
 */
bool amd_blob_destroy(struct renderer *renderer, uint32_t id, void *cookie)
{
	struct amd_blob *blob = id_table_find(&renderer->blobs, id);
	struct amd_item *item;

	if (!blob)
		return true;
	blob->cookie = cookie;
	if (!blob->context) {
		blob_free(renderer, blob);
		return true;
	}
	blob->freeing = true;
	item = blob->free;
	blob->free = NULL;
	/* A queue that is closed ends with all objects: see amd_blobs_orphan(). */
	if (!amd_enqueue(item))
		amd_item_free(item);
	return false;
}

static void blob_gone(struct renderer *renderer, struct amd_blob *blob)
{
	void *cookie = blob->cookie;

	blob_free(renderer, blob);
	renderer->host.blob_destroyed(renderer->host.opaque, cookie);
}

/**
 * amd_blob_freed() - a context's thread has let go of it
 * @item: AMD_BLOB_FREE; is gone
 */
void amd_blob_freed(struct amd_item *item)
{
	struct renderer *renderer = item->context->renderer;
	struct amd_blob *blob = item->blob;

	amd_item_free(item);
	blob_gone(renderer, blob);
}

/**
 * amd_blobs_orphan() - a context has ended, and its blobs are without objects
 * @context: it
 */
void amd_blobs_orphan(struct amd_context *context)
{
	struct amd_blob *blob;

	while ((blob = LIST_FIRST(&context->blobs))) {
		LIST_REMOVE(blob, link);
		blob->context = NULL;
		amd_item_free(blob->free);
		blob->free = NULL;
		if (blob->freeing)
			blob_gone(context->renderer, blob);
	}
}
