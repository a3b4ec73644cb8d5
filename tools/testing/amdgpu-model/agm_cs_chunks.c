// SPDX-License-Identifier: MIT
/*
 * The parts of a submission.
 *
 * A submission is an array of chunks: command buffers, what to wait for, what to signal, objects,
 * and where to write its number to at the end.  All of them are copied into the kernel before
 * anything is looked at.  Sizes are limited, counts follow from sizes.
 *
 * All command buffers of a submission go to one ring.  The real driver can start jobs on several
 * rings together (gangs); nothing that the model executes needs that, so it is refused.
 */

#include <linux/slab.h>
#include <linux/uaccess.h>

#include "agm_asic.h"
#include "agm_bo_list.h"
#include "agm_cs.h"
#include "agm_ctx.h"
#include "agm_job.h"

#define AGM_MAX_CHUNKS 1024
#define AGM_MAX_CHUNK_SIZE SZ_1M

static int agm_cs_copy_chunk(struct agm_cs_chunk *chunk, void __user *from)
{
	struct drm_amdgpu_cs_chunk head;

	if (copy_from_user(&head, from, sizeof(head)))
		return -EFAULT;
	if (!head.length_dw || head.length_dw > AGM_MAX_CHUNK_SIZE / 4)
		return -EINVAL;
	chunk->id = head.chunk_id;
	chunk->size = 4 * head.length_dw;
	chunk->data = vmemdup_user(u64_to_user_ptr(head.chunk_data), chunk->size);
	return PTR_ERR_OR_ZERO(chunk->data);
}

int agm_cs_copy_chunks(struct agm_cs *cs, const struct drm_amdgpu_cs_in *in)
{
	u64 __user *pointers = u64_to_user_ptr(in->chunks);
	u64 pointer;
	int ret;

	if (!in->num_chunks || in->num_chunks > AGM_MAX_CHUNKS)
		return -EINVAL;
	cs->chunks = kvcalloc(in->num_chunks, sizeof(*cs->chunks), GFP_KERNEL);
	if (!cs->chunks)
		return -ENOMEM;
	while (cs->num_chunks < in->num_chunks) {
		struct agm_cs_chunk *chunk = &cs->chunks[cs->num_chunks];

		if (get_user(pointer, pointers + cs->num_chunks))
			return -EFAULT;
		ret = agm_cs_copy_chunk(chunk, u64_to_user_ptr(pointer));
		if (ret)
			return ret;
		cs->num_chunks++;
		if (chunk->id == AMDGPU_CHUNK_ID_IB)
			cs->num_ibs++;
	}
	return 0;
}

void agm_cs_free_chunks(struct agm_cs *cs)
{
	unsigned int i;

	for (i = 0; i < cs->num_chunks; i++)
		kvfree(cs->chunks[i].data);
	kvfree(cs->chunks);
}

static int agm_cs_ib(struct agm_cs *cs, struct agm_cs_chunk *chunk, unsigned int nr)
{
	struct drm_amdgpu_cs_chunk_ib *ib = chunk->data;
	struct agm_entity *entity;

	if (chunk->size < sizeof(*ib))
		return -EINVAL;
	entity = agm_ctx_entity(cs->ctx, ib->ip_type, ib->ip_instance, ib->ring);
	if (!entity || (cs->entity && cs->entity != entity))
		return -EINVAL;
	if (ib->flags & (AMDGPU_IB_FLAG_CE | AMDGPU_IB_FLAGS_SECURE))
		return -EINVAL;
	if (!ib->ib_bytes || ib->ib_bytes & 3 || ib->va_start & 3)
		return -EINVAL;
	if (cs->num_ibs > agm_asic_max_ibs(ib->ip_type))
		return -EINVAL;
	cs->entity = entity;
	cs->job->ibs[nr].va = ib->va_start;
	cs->job->ibs[nr].dwords = ib->ib_bytes / 4;
	return 0;
}

static int agm_cs_user_fence(struct agm_cs *cs, struct agm_cs_chunk *chunk)
{
	struct drm_amdgpu_cs_chunk_fence *fence = chunk->data;
	struct agm_bo *bo;

	if (chunk->size < sizeof(*fence) || cs->job->uf_bo)
		return -EINVAL;
	bo = agm_bo_lookup(cs->filp, fence->handle);
	if (!bo)
		return -EINVAL;
	cs->job->uf_bo = bo;
	cs->job->uf_offset = fence->offset;
	/* Written to without a lookup, so it has to be there. */
	if (bo->base.size != PAGE_SIZE || fence->offset > PAGE_SIZE - 8 || fence->offset & 7 ||
	    agm_bo_is_userptr(bo) || bo->base.import_attach)
		return -EINVAL;
	return 0;
}

static int agm_cs_bo_handles(struct agm_cs *cs, struct agm_cs_chunk *chunk)
{
	if (chunk->size < sizeof(struct drm_amdgpu_bo_list_in) || cs->list)
		return -EINVAL;
	cs->list = agm_bo_list_create(cs->filp, chunk->data);
	if (!IS_ERR(cs->list))
		return 0;
	return PTR_ERR(cs->list);
}

static int agm_cs_dependency(struct agm_cs *cs, const struct drm_amdgpu_cs_chunk_dep *dep)
{
	struct agm_ctx *ctx = agm_ctx_lookup(cs->file, dep->ctx_id);
	struct agm_entity *entity;
	struct dma_fence *fence;
	int ret = -EINVAL;

	if (!ctx)
		return -EINVAL;
	entity = agm_ctx_entity(ctx, dep->ip_type, dep->ip_instance, dep->ring);
	if (entity) {
		fence = agm_ctx_fence(ctx, entity, dep->handle);
		ret = IS_ERR(fence) ? PTR_ERR(fence) : agm_waits_add(&cs->waits, fence);
	}
	agm_ctx_put(ctx);
	return ret;
}

static int agm_cs_dependencies(struct agm_cs *cs, struct agm_cs_chunk *chunk)
{
	struct drm_amdgpu_cs_chunk_dep *dep = chunk->data;
	size_t i;
	int ret = 0;

	for (i = 0; i < chunk->size / sizeof(*dep) && !ret; i++)
		ret = agm_cs_dependency(cs, &dep[i]);
	return ret;
}

static int agm_cs_syncobj_in(struct agm_cs *cs, struct agm_cs_chunk *chunk)
{
	struct drm_amdgpu_cs_chunk_sem *sem = chunk->data;
	size_t i;
	int ret = 0;

	for (i = 0; i < chunk->size / sizeof(*sem) && !ret; i++)
		ret = agm_waits_add_syncobj(&cs->waits, cs->filp, sem[i].handle, 0, 0);
	return ret;
}

static int agm_cs_timeline_in(struct agm_cs *cs, struct agm_cs_chunk *chunk)
{
	struct drm_amdgpu_cs_chunk_syncobj *obj = chunk->data;
	size_t i;
	int ret = 0;

	for (i = 0; i < chunk->size / sizeof(*obj) && !ret; i++)
		ret = agm_waits_add_syncobj(&cs->waits, cs->filp, obj[i].handle, obj[i].point,
					    obj[i].flags);
	return ret;
}

static int agm_cs_signals(struct agm_cs *cs, struct agm_cs_chunk *chunk, size_t entry)
{
	size_t i, count = chunk->size / entry;
	int ret = 0;

	if (cs->signals.list)
		return -EINVAL;
	cs->signals.list = kvcalloc(count, sizeof(*cs->signals.list), GFP_KERNEL);
	if (!cs->signals.list)
		return -ENOMEM;
	for (i = 0; i < count && !ret; i++) {
		struct drm_amdgpu_cs_chunk_syncobj *obj = chunk->data + i * entry;
		bool timeline = entry == sizeof(*obj);

		ret = agm_signals_add(&cs->signals, cs->filp, obj->handle,
				      timeline ? obj->point : 0);
	}
	return ret;
}

static int agm_cs_parse_chunk(struct agm_cs *cs, struct agm_cs_chunk *chunk, unsigned int *ib)
{
	switch (chunk->id) {
	case AMDGPU_CHUNK_ID_IB:
		return agm_cs_ib(cs, chunk, (*ib)++);
	case AMDGPU_CHUNK_ID_FENCE:
		return agm_cs_user_fence(cs, chunk);
	case AMDGPU_CHUNK_ID_BO_HANDLES:
		return agm_cs_bo_handles(cs, chunk);
	case AMDGPU_CHUNK_ID_DEPENDENCIES:
	case AMDGPU_CHUNK_ID_SCHEDULED_DEPENDENCIES:
		return agm_cs_dependencies(cs, chunk);
	case AMDGPU_CHUNK_ID_SYNCOBJ_IN:
		return agm_cs_syncobj_in(cs, chunk);
	case AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_WAIT:
		return agm_cs_timeline_in(cs, chunk);
	case AMDGPU_CHUNK_ID_SYNCOBJ_OUT:
		return agm_cs_signals(cs, chunk, sizeof(struct drm_amdgpu_cs_chunk_sem));
	case AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL:
		return agm_cs_signals(cs, chunk, sizeof(struct drm_amdgpu_cs_chunk_syncobj));
	default:
		return -EINVAL;
	}
}

/* All chunks; the context and the job are there. */
int agm_cs_parse_chunks(struct agm_cs *cs)
{
	unsigned int i, ib = 0;
	int ret = 0;

	for (i = 0; i < cs->num_chunks && !ret; i++)
		ret = agm_cs_parse_chunk(cs, &cs->chunks[i], &ib);
	return ret;
}
