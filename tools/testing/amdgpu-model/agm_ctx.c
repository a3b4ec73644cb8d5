// SPDX-License-Identifier: MIT
/*
 * Contexts: who is to blame.
 *
 * A context is what submissions are made in.  To each ring it has an entity: jobs of an entity run
 * in the order of submission and are numbered; a number is how user space names a submission.
 * Jobs of different entities have no order, also on one ring.
 *
 * When a job does what it must not (an access without a mapping, a packet that does not exist), the
 * real hardware is reset and the context is guilty.  Here no reset is needed, so nobody else
 * loses anything: the context is guilty, what it has queued is cancelled, and it can submit no
 * more.
 *
 * The fences of the last AGM_ENTITY_JOBS submissions of an entity are kept; a submission waits for
 * the oldest of them, so what is older has signalled.
 */

#include <linux/capability.h>
#include <linux/dma-fence.h>
#include <linux/file.h>
#include <linux/slab.h>

#include <drm/amdgpu_drm.h>

#include "agm_asic.h"
#include "agm_ctx.h"
#include "agm_ring.h"

#define AGM_MAX_CTXS 4096

static void agm_ctx_release(struct kref *ref)
{
	struct agm_ctx *ctx = container_of(ref, struct agm_ctx, ref);
	int i, j;

	for (i = 0; i < AGM_RINGS; i++) {
		for (j = 0; j < AGM_ENTITY_JOBS; j++)
			dma_fence_put(ctx->entities[i].fences[j]);
	}
	mutex_destroy(&ctx->submit);
	kfree(ctx);
}

void agm_ctx_put(struct agm_ctx *ctx)
{
	kref_put(&ctx->ref, agm_ctx_release);
}

static struct agm_ctx *agm_ctx_create(struct agm_device *dev, s32 priority)
{
	struct agm_ctx *ctx = kzalloc_obj(*ctx);
	u64 context;
	int i;

	if (!ctx)
		return NULL;
	kref_init(&ctx->ref);
	mutex_init(&ctx->submit);
	spin_lock_init(&ctx->lock);
	ctx->priority = priority;
	context = dma_fence_context_alloc(AGM_RINGS);
	for (i = 0; i < AGM_RINGS; i++) {
		ctx->entities[i].ring = dev->rings[i];
		ctx->entities[i].context = context + i;
	}
	return ctx;
}

/* The context @id with a reference, or NULL. */
struct agm_ctx *agm_ctx_lookup(struct agm_file *file, u32 id)
{
	struct agm_ctx *ctx;

	mutex_lock(&file->lock);
	ctx = xa_load(&file->ctxs, id);
	if (ctx)
		kref_get(&ctx->ref);
	mutex_unlock(&file->lock);
	return ctx;
}

void agm_ctx_free_all(struct agm_file *file)
{
	struct agm_ctx *ctx;
	unsigned long id;

	xa_for_each(&file->ctxs, id, ctx)
		agm_ctx_put(ctx);
	xa_destroy(&file->ctxs);
}

struct agm_entity *agm_ctx_entity(struct agm_ctx *ctx, u32 ip_type, u32 ip_instance, u32 ring)
{
	int i = agm_ring_index(ip_type, ring);

	if (i < 0 || ip_instance)
		return NULL;
	return &ctx->entities[i];
}

/**
 * agm_ctx_fence - the fence of a submission
 * @ctx: the context
 * @entity: of it
 * @seq: the number, or ~0 for the last one
 *
 * Returns a reference, NULL if it has signalled long ago, or -EINVAL if there was none.
 */
struct dma_fence *agm_ctx_fence(struct agm_ctx *ctx, struct agm_entity *entity, u64 seq)
{
	struct dma_fence *fence = NULL;

	spin_lock(&ctx->lock);
	if (seq == ~0ULL)
		seq = entity->seq;
	if (seq > entity->seq)
		fence = ERR_PTR(-EINVAL);
	else if (seq && seq + AGM_ENTITY_JOBS > entity->seq)
		fence = dma_fence_get(entity->fences[seq % AGM_ENTITY_JOBS]);
	spin_unlock(&ctx->lock);
	return fence;
}

/* Wait until the next submission has a place.  Called with ctx->submit held. */
int agm_ctx_wait_slot(struct agm_ctx *ctx, struct agm_entity *entity)
{
	struct dma_fence *oldest = entity->fences[(entity->seq + 1) % AGM_ENTITY_JOBS];

	return oldest ? dma_fence_wait(oldest, true) : 0;
}

/* @fence is that of number entity->seq + 1.  Called with ctx->submit held. */
void agm_ctx_add_fence(struct agm_ctx *ctx, struct agm_entity *entity, struct dma_fence *fence)
{
	struct dma_fence **slot, *old;

	spin_lock(&ctx->lock);
	entity->seq++;
	slot = &entity->fences[entity->seq % AGM_ENTITY_JOBS];
	old = *slot;
	*slot = dma_fence_get(fence);
	spin_unlock(&ctx->lock);
	dma_fence_put(old);
}

static int agm_ctx_check_priority(s32 priority)
{
	switch (priority) {
	case AMDGPU_CTX_PRIORITY_VERY_LOW:
	case AMDGPU_CTX_PRIORITY_LOW:
	case AMDGPU_CTX_PRIORITY_NORMAL:
		return 0;
	case AMDGPU_CTX_PRIORITY_HIGH:
	case AMDGPU_CTX_PRIORITY_VERY_HIGH:
		return capable(CAP_SYS_NICE) ? 0 : -EACCES;
	default:
		return -EINVAL;
	}
}

static int agm_ctx_alloc(struct agm_file *file, union drm_amdgpu_ctx *args)
{
	s32 priority = args->in.priority;
	struct agm_ctx *ctx;
	int ret;

	/* Older user space leaves rubbish there. */
	if (agm_ctx_check_priority(priority) == -EINVAL)
		priority = AMDGPU_CTX_PRIORITY_NORMAL;
	ret = agm_ctx_check_priority(priority);
	if (ret)
		return ret;
	ctx = agm_ctx_create(file->dev, priority);
	if (!ctx)
		return -ENOMEM;
	mutex_lock(&file->lock);
	ret = xa_alloc(&file->ctxs, &ctx->id, ctx, XA_LIMIT(1, AGM_MAX_CTXS), GFP_KERNEL);
	mutex_unlock(&file->lock);
	if (ret) {
		agm_ctx_put(ctx);
		return ret;
	}
	memset(args, 0, sizeof(*args));
	args->out.alloc.ctx_id = ctx->id;
	return 0;
}

static int agm_ctx_free(struct agm_file *file, u32 id)
{
	struct agm_ctx *ctx;

	mutex_lock(&file->lock);
	ctx = xa_erase(&file->ctxs, id);
	mutex_unlock(&file->lock);
	if (!ctx)
		return -EINVAL;
	agm_ctx_put(ctx);
	return 0;
}

static void agm_ctx_query(struct agm_ctx *ctx, union drm_amdgpu_ctx *args)
{
	bool guilty = atomic_read(&ctx->guilty);

	memset(args, 0, sizeof(*args));
	args->out.state.hangs = guilty;
	args->out.state.reset_status = guilty && !ctx->reported ? AMDGPU_CTX_GUILTY_RESET :
								  AMDGPU_CTX_NO_RESET;
	ctx->reported = guilty;
}

static void agm_ctx_query2(struct agm_ctx *ctx, union drm_amdgpu_ctx *args)
{
	bool guilty = atomic_read(&ctx->guilty);

	memset(args, 0, sizeof(*args));
	if (guilty)
		args->out.state.flags = AMDGPU_CTX_QUERY2_FLAGS_RESET |
					AMDGPU_CTX_QUERY2_FLAGS_GUILTY;
}

static int agm_ctx_set_pstate(struct agm_ctx *ctx, u32 flags)
{
	if (flags & ~AMDGPU_CTX_STABLE_PSTATE_FLAGS_MASK || flags > AMDGPU_CTX_STABLE_PSTATE_PEAK)
		return -EINVAL;
	ctx->pstate = flags;
	return 0;
}

static int agm_ctx_op(struct agm_file *file, union drm_amdgpu_ctx *args)
{
	struct agm_ctx *ctx = agm_ctx_lookup(file, args->in.ctx_id);
	int ret = 0;

	if (!ctx)
		return -EINVAL;
	switch (args->in.op) {
	case AMDGPU_CTX_OP_QUERY_STATE:
		agm_ctx_query(ctx, args);
		break;
	case AMDGPU_CTX_OP_QUERY_STATE2:
		agm_ctx_query2(ctx, args);
		break;
	case AMDGPU_CTX_OP_GET_STABLE_PSTATE:
		memset(args, 0, sizeof(*args));
		args->out.pstate.flags = ctx->pstate;
		break;
	case AMDGPU_CTX_OP_SET_STABLE_PSTATE:
		ret = agm_ctx_set_pstate(ctx, args->in.flags);
		break;
	default:
		ret = -EINVAL;
	}
	agm_ctx_put(ctx);
	return ret;
}

int agm_ctx_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	struct agm_file *file = to_agm_file(filp);
	union drm_amdgpu_ctx *args = data;

	switch (args->in.op) {
	case AMDGPU_CTX_OP_ALLOC_CTX:
		return args->in.flags ? -EINVAL : agm_ctx_alloc(file, args);
	case AMDGPU_CTX_OP_FREE_CTX:
		return args->in.flags ? -EINVAL : agm_ctx_free(file, args->in.ctx_id);
	default:
		return agm_ctx_op(file, args);
	}
}

/* Priorities have no effect here, but the arguments are checked: they come from display servers. */
int agm_sched_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_sched *args = data;

	if (args->in.op != AMDGPU_SCHED_OP_PROCESS_PRIORITY_OVERRIDE &&
	    args->in.op != AMDGPU_SCHED_OP_CONTEXT_PRIORITY_OVERRIDE)
		return -EINVAL;
	if (agm_ctx_check_priority(args->in.priority) == -EINVAL)
		return -EINVAL;
	return 0;
}
