/* SPDX-License-Identifier: MIT */
/* Contexts; see agm_ctx.c. */
#ifndef AGM_CTX_H
#define AGM_CTX_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

#include "agm_device.h"

struct dma_fence;

/* So many jobs of an entity can be in flight, as in the real driver. */
#define AGM_ENTITY_JOBS 32

/**
 * struct agm_entity - what a context has submitted to one ring, in order
 * @ring: the ring
 * @context: of its fences, which are a timeline
 * @seq: the last number given
 * @fences: of the last submissions, by number
 * @scan: for agm_ring.c: when a job of it was looked at last
 */
struct agm_entity {
	struct agm_ring *ring;
	u64 context;
	u64 seq;
	struct dma_fence *fences[AGM_ENTITY_JOBS];
	u64 scan;
};

/**
 * struct agm_ctx - a context
 * @ref: of the file and of jobs
 * @id: in its file
 * @submit: held from the choice of a number until the job is in the ring
 * @lock: for the entities' numbers and fences
 * @guilty: a job of it has done what it must not
 * @reported: that was told by QUERY_STATE
 * @priority: as it was asked for; has no effect
 * @pstate: likewise
 * @entities: one for each ring
 */
struct agm_ctx {
	struct kref ref;
	u32 id;
	struct mutex submit; /* order of submissions */
	spinlock_t lock; /* numbers and fences */
	atomic_t guilty;
	bool reported;
	s32 priority;
	u32 pstate;
	struct agm_entity entities[AGM_RINGS];
};

struct agm_ctx *agm_ctx_lookup(struct agm_file *file, u32 id);
void agm_ctx_put(struct agm_ctx *ctx);
void agm_ctx_free_all(struct agm_file *file);
struct agm_entity *agm_ctx_entity(struct agm_ctx *ctx, u32 ip_type, u32 ip_instance, u32 ring);
struct dma_fence *agm_ctx_fence(struct agm_ctx *ctx, struct agm_entity *entity, u64 seq);
int agm_ctx_wait_slot(struct agm_ctx *ctx, struct agm_entity *entity);
void agm_ctx_add_fence(struct agm_ctx *ctx, struct agm_entity *entity, struct dma_fence *fence);

#endif
