/* SPDX-License-Identifier: MIT */
/* What a submission waits for and what it signals; see agm_sync.c. */
#ifndef AGM_SYNC_H
#define AGM_SYNC_H

#include <linux/types.h>

struct agm_bo;
struct agm_file;
struct agm_job;
struct dma_fence;
struct dma_fence_chain;
struct drm_file;
struct drm_syncobj;

/**
 * struct agm_waits - fences
 * @fences: the fences, with a reference each
 * @count: how many
 * @room: for how many
 */
struct agm_waits {
	struct dma_fence **fences;
	unsigned int count;
	unsigned int room;
};

/**
 * struct agm_signal - a syncobj that gets the fence of a submission
 * @syncobj: the syncobj
 * @chain: for a point on its timeline, else NULL
 * @point: the point
 */
struct agm_signal {
	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain;
	u64 point;
};

/**
 * struct agm_signals - all of them
 * @list: the syncobjs
 * @count: how many
 */
struct agm_signals {
	struct agm_signal *list;
	unsigned int count;
};

int agm_waits_add(struct agm_waits *waits, struct dma_fence *fence);
int agm_waits_add_bo(struct agm_waits *waits, struct agm_bo *bo, const void *vm);
int agm_waits_add_syncobj(struct agm_waits *waits, struct drm_file *filp, u32 handle, u64 point,
			  u64 flags);
int agm_waits_give(struct agm_waits *waits, struct agm_job *job);
void agm_waits_free(struct agm_waits *waits);

int agm_signals_add(struct agm_signals *signals, struct drm_file *filp, u32 handle, u64 point);
void agm_signals_set(struct agm_signals *signals, struct dma_fence *fence);
void agm_signals_free(struct agm_signals *signals);

#endif
