// SPDX-License-Identifier: MIT
/*
 * amd_object: GEM objects of a context
 *
 * An object is a handle of the context's client: a buffer that the guest asked for,
 * another context's, or guest memory, as a dma-buf or as a range of our own address
 * space.  To close the handle takes it out of the GPU's address space, so that what
 * jobs submitted earlier may still do is all that can happen to it.
 *
 * Invariant: a handle is closed once, with context.objects_lock held: the kernel has one handle for each dma-buf, and whoever imports it again must
 * find it open, or get another one.
 *
 * Threads: amd_object_import(), amd_object_userptr() and amd_object_get() any; the
 * rest the context's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "memory/view_stitch.h"
#include "renderer/amdgpu/amd_internal.h"

#define PAGE_BYTES UINT64_C(4096)

static struct amd_object *object_new(struct amd_context *context, uint64_t bytes, int *err)
{
	struct renderer *renderer = context->renderer;
	struct amd_object *object;

	*err = -ENOSPC;
	if (!amd_charge(renderer, &renderer->buffers, 1))
		return NULL;
	if (bytes && !amd_charge(renderer, &renderer->bytes, bytes))
		goto uncharge;
	*err = -ENOMEM;
	object = calloc(1, sizeof(*object));
	if (!object)
		goto uncharge_bytes;
	object->context = context;
	object->refs = 1;
	object->charged = bytes;
	return object;

uncharge_bytes:
	amd_uncharge(renderer, &renderer->bytes, bytes);
uncharge:
	amd_uncharge(renderer, &renderer->buffers, 1);
	return NULL;
}

/**
 * amd_object_free() - free what is about an object
 * @object: whose handle is closed
 */
void amd_object_free(struct amd_object *object)
{
	struct renderer *renderer = object->context->renderer;

	amd_uncharge(renderer, &renderer->bytes, object->charged);
	amd_uncharge(renderer, &renderer->buffers, 1);
	free(object);
}

/**
 * amd_object_new() - a buffer of the card's, or of the host's memory
 * @context: whose
 * @what: the guest's request
 * @out: it
 *
 * Return: 0 or a negative errno.
 */
int amd_object_new(struct amd_context *context, const struct amdvgpu_gem_new *what,
		   struct amd_object **out)
{
	union drm_amdgpu_gem_create args = { .in = {
						     .bo_size = what->size,
						     .alignment = what->alignment,
						     .domains = what->domain,
						     .domain_flags = what->flags,
					     } };
	struct amd_object *object;
	uint64_t bytes;
	int err;

	/* It is made of whole pages, and of as many as it is aligned to. */
	if (__builtin_add_overflow(what->size, PAGE_BYTES - 1, &bytes))
		return -EINVAL;
	bytes &= ~(PAGE_BYTES - 1);
	if (bytes < what->alignment)
		bytes = what->alignment;
	object = object_new(context, bytes, &err);
	if (!object)
		return err;
	err = drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_CREATE, &args, sizeof(args));
	if (err) {
		amd_object_free(object);
		return err;
	}
	object->handle = args.out.handle;
	object->size = what->size;
	*out = object;
	return 0;
}

/**
 * amd_object_import() - a dma-buf
 * @context: for whom
 * @fd: it; stays the caller's
 * @out: the object
 *
 * Return: 0 or a negative errno.
 */
int amd_object_import(struct amd_context *context, int fd, struct amd_object **out)
{
	struct amd_object *object;
	off_t size;
	int err;

	object = object_new(context, 0, &err);
	if (!object)
		return err;
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || drmPrimeFDToHandle(context->fd, fd, &object->handle)) {
		err = -errno;
		amd_object_free(object);
		return err;
	}
	object->size = (uint64_t)size;
	*out = object;
	return 0;
}

/**
 * amd_object_userptr() - a range of our own address space
 * @context: for whom
 * @view: it
 * @out: the object
 *
 * Its pages are looked up when a job uses it, and not before.
 *
 * Return: 0 or a negative errno.
 */
int amd_object_userptr(struct amd_context *context, struct stitch_view *view,
		       struct amd_object **out)
{
	/* Without REGISTER nobody would tell the GPU of pages that go. */
	struct drm_amdgpu_gem_userptr args = {
		.addr = (uintptr_t)stitch_view_address(view),
		.size = stitch_view_size(view),
		.flags = AMDGPU_GEM_USERPTR_REGISTER |
			 (stitch_view_readonly(view) ? AMDGPU_GEM_USERPTR_READONLY : 0),
	};
	struct amd_object *object;
	int err;

	object = object_new(context, 0, &err);
	if (!object)
		return err;
	err = drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_USERPTR, &args, sizeof(args));
	if (err) {
		amd_object_free(object);
		return err;
	}
	object->handle = args.handle;
	object->size = stitch_view_size(view);
	*out = object;
	return 0;
}

/**
 * amd_object_get() - another reference
 * @object: it, which is not freed before the caller knows
 *
 * Return: false if there was none any more.
 */
bool amd_object_get(struct amd_object *object)
{
	struct amd_context *context = object->context;
	bool there;

	pthread_mutex_lock(&context->objects_lock);
	there = object->refs;
	if (there)
		object->refs++;
	pthread_mutex_unlock(&context->objects_lock);
	return there;
}

/**
 * amd_object_unref() - give a reference back of what is not mapped
 * @object: it
 *
 * Return: true if it was the last one: the handle is closed.
 */
bool amd_object_unref(struct amd_object *object)
{
	struct amd_context *context = object->context;
	bool last;

	pthread_mutex_lock(&context->objects_lock);
	last = !--object->refs;
	/* Fails only if the card is gone: then it goes with the client, and no sooner. */
	if (last && drmCloseBufferHandle(context->fd, object->handle))
		context->stuck = true;
	pthread_mutex_unlock(&context->objects_lock);
	return last;
}

/*
 * Take it out of the GPU's address space.  To close the handle does that, too, but what
 * is submitted after that does not wait for it (Linux 7.3: amdgpu_gem_object_close()
 * keeps the fence from vm->last_update); after an UNMAP without DELAY_UPDATE it does.
 */
static void unmap(struct amd_object *object)
{
	struct amd_context *context = object->context;
	struct renderer *renderer = context->renderer;
	struct amd_va *va = &context->va;
	size_t mapped = va->nr, i;

	for (i = 0; i < va->nr; i++) {
		struct drm_amdgpu_gem_va args = {
			.handle = object->handle,
			.operation = AMDGPU_VA_OP_UNMAP,
			.va_address = va->ranges[i].start,
			.map_size = va->ranges[i].end - va->ranges[i].start,
		};

		/* If it fails the card is gone, or to close the handle has to do. */
		if (va->ranges[i].handle == object->handle)
			(void)drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_VA, &args,
						  sizeof(args));
	}
	amd_va_drop(va, object->handle);
	amd_uncharge(renderer, &renderer->va_mappings, mapped - va->nr);
}

/**
 * amd_object_put() - give a reference back
 * @object: it
 */
void amd_object_put(struct amd_object *object)
{
	struct amd_context *context = object->context;
	bool last;

	pthread_mutex_lock(&context->objects_lock);
	last = object->refs == 1;
	pthread_mutex_unlock(&context->objects_lock);
	/* Guest memory that is detached is not mapped, even if it is attached again. */
	if (last || object->guest)
		unmap(object);
	if (!amd_object_unref(object))
		return;
	if (object->charged)
		amd_shmem_set_heaps(context->shmem, context->fd);
	if (!object->guest)
		amd_object_free(object);
}
