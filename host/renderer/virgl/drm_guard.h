/* SPDX-License-Identifier: MIT */
/*
 * drm_guard: command streams of DRM native contexts, checked before the library
 *
 * libvirglrenderer runs native contexts in this process, so what it does with a
 * hostile stream happens to the device.  It looks resources up by the guest's
 * id, and where there is none it must not be asked: its BO_VA_OP for amdgpu
 * follows a null pointer then.  A guard knows which ids the library has for a
 * context, and passes only streams of well-formed commands that name these.
 *
 * Threads: the ring thread only.
 */
#ifndef DRM_GUARD_H
#define DRM_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "util/id_table.h"

/**
 * enum drm_context_type - whose commands they are, as in the capset's data
 * @DRM_CONTEXT_NONE: no native contexts
 * @DRM_CONTEXT_MSM: freedreno
 * @DRM_CONTEXT_AMDGPU: radeonsi, RADV
 */
enum drm_context_type {
	DRM_CONTEXT_NONE = 0,
	DRM_CONTEXT_MSM = 1,
	DRM_CONTEXT_AMDGPU = 2,
};

/**
 * struct drm_guard - of one context; all zero but @type is an empty one
 * @type: enum drm_context_type
 * @rings: bit n: the library took a submission for ring n
 * @known: ids of the resources that the library has in the context
 */
struct drm_guard {
	uint32_t type;
	uint64_t rings;
	struct id_table known;
};

/* The type that capset 6's data says, of which there are @size bytes. */
uint32_t drm_guard_type(const void *capset, size_t size);

void drm_guard_destroy(struct drm_guard *guard);
/* The library has @id now: 0 or -ENOMEM; and not any more. */
int drm_guard_add(struct drm_guard *guard, uint32_t id);
void drm_guard_remove(struct drm_guard *guard, uint32_t id);
/* RESP_OK_NODATA, or the error to answer; then nothing of the stream may be executed. */
uint32_t drm_guard_check(const struct drm_guard *guard, const void *data, size_t size);
/* A stream that was checked was executed without an error. */
void drm_guard_executed(struct drm_guard *guard, const void *data, size_t size);
/*
 * The ring to put a fence on for a guest that asks for @ring: the library takes
 * the number as an index without looking whether there is such a ring.  One on
 * which nothing was submitted is as good as ring 0, which is always idle.
 */
uint32_t drm_guard_fence_ring(const struct drm_guard *guard, uint32_t ring);

#endif /* DRM_GUARD_H */
