// SPDX-License-Identifier: MIT
/*
 * Synchronisation: what a job waits for, and who hears of its end.
 *
 * Explicit: syncobjs and points of timeline syncobjs, which the DRM core implements, and numbers of
 * earlier submissions.  Implicit: an object that several processes or drivers share has the fences
 * of all in its reservation, each with a usage:
 *
 *	kernel		moving or clearing memory; everybody waits for it
 *	write, read	jobs; a job waits for those of others, unless the object was created to be
 *			synchronised explicitly.  Its own address space's jobs are no others.
 *	bookkeep	changes of page tables and the like; no job waits
 *
 * The usages are those of the real driver.  It takes every job for a writer, as a job does not say
 * which objects it writes to, so this does too.
 */

#include <linux/dma-fence-chain.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>

#include <drm/drm_syncobj.h>

#include "agm_bo.h"
#include "agm_fence.h"
#include "agm_job.h"
#include "agm_sync.h"

/* Takes over the reference of @fence, also on failure. */
int agm_waits_add(struct agm_waits *waits, struct dma_fence *fence)
{
	struct dma_fence **more;
	unsigned int room;

	if (!fence || dma_fence_is_signaled(fence)) {
		dma_fence_put(fence);
		return 0;
	}
	if (waits->count == waits->room) {
		room = waits->room ? 2 * waits->room : 8;
		more = kvrealloc(waits->fences, room * sizeof(*more), GFP_KERNEL);
		if (!more) {
			dma_fence_put(fence);
			return -ENOMEM;
		}
		waits->fences = more;
		waits->room = room;
	}
	waits->fences[waits->count++] = fence;
	return 0;
}

/* What a job in @vm that uses @bo has to wait for.  Called with the reservation locked. */
int agm_waits_add_bo(struct agm_waits *waits, struct agm_bo *bo, const void *vm)
{
	bool explicit = bo->flags & AMDGPU_GEM_CREATE_EXPLICIT_SYNC;
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	int ret;

	dma_resv_for_each_fence(&cursor, bo->base.resv, DMA_RESV_USAGE_READ, fence) {
		if (dma_resv_iter_usage(&cursor) != DMA_RESV_USAGE_KERNEL &&
		    (explicit || agm_fence_of_vm(fence, vm)))
			continue;
		ret = agm_waits_add(waits, dma_fence_get(fence));
		if (ret)
			return ret;
	}
	return 0;
}

int agm_waits_add_syncobj(struct agm_waits *waits, struct drm_file *filp, u32 handle, u64 point,
			  u64 flags)
{
	struct dma_fence *fence;
	int ret = drm_syncobj_find_fence(filp, handle, point, flags, &fence);

	return ret ?: agm_waits_add(waits, fence);
}

/* Make the fences dependencies of @job. */
int agm_waits_give(struct agm_waits *waits, struct agm_job *job)
{
	unsigned int i;

	if (!waits->count)
		return 0;
	job->deps = kvcalloc(waits->count, sizeof(*job->deps), GFP_KERNEL);
	if (!job->deps)
		return -ENOMEM;
	for (i = 0; i < waits->count; i++)
		job->deps[i].fence = waits->fences[i];
	job->num_deps = waits->count;
	waits->count = 0;
	return 0;
}

void agm_waits_free(struct agm_waits *waits)
{
	unsigned int i;

	for (i = 0; i < waits->count; i++)
		dma_fence_put(waits->fences[i]);
	kvfree(waits->fences);
}

/* @point 0 replaces the fence of a binary syncobj. */
int agm_signals_add(struct agm_signals *signals, struct drm_file *filp, u32 handle, u64 point)
{
	struct agm_signal *s = &signals->list[signals->count];

	s->chain = NULL;
	s->point = point;
	if (point) {
		s->chain = dma_fence_chain_alloc();
		if (!s->chain)
			return -ENOMEM;
	}
	s->syncobj = drm_syncobj_find(filp, handle);
	if (!s->syncobj) {
		dma_fence_chain_free(s->chain);
		return -EINVAL;
	}
	signals->count++;
	return 0;
}

/* Allocates nothing. */
void agm_signals_set(struct agm_signals *signals, struct dma_fence *fence)
{
	unsigned int i;

	for (i = 0; i < signals->count; i++) {
		struct agm_signal *s = &signals->list[i];

		if (s->chain)
			drm_syncobj_add_point(s->syncobj, s->chain, fence, s->point);
		else
			drm_syncobj_replace_fence(s->syncobj, fence);
		s->chain = NULL;
	}
}

void agm_signals_free(struct agm_signals *signals)
{
	unsigned int i;

	for (i = 0; i < signals->count; i++) {
		dma_fence_chain_free(signals->list[i].chain);
		drm_syncobj_put(signals->list[i].syncobj);
	}
	kvfree(signals->list);
}
