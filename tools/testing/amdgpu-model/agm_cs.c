// SPDX-License-Identifier: MIT
/*
 * CS: a submission becomes a job.
 *
 * In the order in which things are done, and why in that one:
 *
 *	1. chunks are copied and read; nothing is locked, so that user memory can be read
 *	2. pages of userptr objects are looked for; that takes the mmap lock
 *	3. the context's submission lock: numbers are given in order
 *	4. the reservations of the address space and of all objects
 *	5. imported objects are mapped; what others do with the objects is waited for
 *	6. the notifier lock: are the pages of 2. still the right ones?  If not, all again
 *	7. the version of the address space, the number, fences into reservations and syncobjs, and
 *	   the job into its ring
 *
 * From 6. on nothing is allocated and nothing fails: a fence that is published will signal.
 */

#include <linux/dma-resv.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "agm_bo_list.h"
#include "agm_cs.h"
#include "agm_ctx.h"
#include "agm_fence.h"
#include "agm_job.h"
#include "agm_ring.h"
#include "agm_vm.h"

static int agm_cs_open(struct agm_cs *cs, const struct drm_amdgpu_cs_in *in)
{
	if (!cs->num_ibs)
		return -EINVAL;
	cs->ctx = agm_ctx_lookup(cs->file, in->ctx_id);
	if (!cs->ctx)
		return -EINVAL;
	if (atomic_read(&cs->ctx->guilty))
		return -ENODATA;
	cs->job = agm_job_alloc(cs->file->dev, cs->num_ibs);
	if (!cs->job)
		return -ENOMEM;
	if (!in->bo_list_handle)
		return 0;
	cs->list = agm_bo_list_lookup(cs->file, in->bo_list_handle);
	return cs->list ? 0 : -ENOENT;
}

static unsigned int agm_cs_bos(struct agm_cs *cs)
{
	return cs->list ? cs->list->count : 0;
}

static void agm_cs_free_users(struct agm_cs *cs)
{
	while (cs->num_users)
		agm_userptr_free(cs->users[--cs->num_users]);
	kvfree(cs->users);
	cs->users = NULL;
}

/* The pages of all userptr objects. */
static int agm_cs_find_users(struct agm_cs *cs)
{
	struct agm_user_pages *pages;
	unsigned int i;

	cs->users = kvcalloc(agm_cs_bos(cs) + 1, sizeof(*cs->users), GFP_KERNEL);
	if (!cs->users)
		return -ENOMEM;
	for (i = 0; i < agm_cs_bos(cs); i++) {
		if (!agm_bo_is_userptr(cs->list->bos[i]))
			continue;
		pages = agm_userptr_fault(cs->list->bos[i]);
		if (IS_ERR(pages))
			return PTR_ERR(pages);
		cs->users[cs->num_users++] = pages;
	}
	return 0;
}

/* With all reservations locked. */
static int agm_cs_prepare(struct agm_cs *cs)
{
	struct agm_job *job = cs->job;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < agm_cs_bos(cs) && !ret; i++) {
		struct agm_bo *bo = cs->list->bos[i];

		if (bo->base.import_attach)
			ret = agm_prime_validate(bo);
		if (!ret)
			ret = agm_waits_add_bo(&cs->waits, bo, cs->file->vm);
	}
	if (!ret)
		ret = agm_waits_give(&cs->waits, job);
	if (ret)
		return ret;
	job->fence =
		agm_fence_create(cs->entity->ring->name, cs->entity->context, cs->entity->seq + 1);
	if (!job->fence)
		return -ENOMEM;
	agm_fence_set_owner(job->fence, cs->file->vm);
	return 0;
}

/* With all reservations and the notifier lock held. */
static void agm_cs_push(struct agm_cs *cs, struct agm_reservation *r)
{
	struct agm_job *job = cs->job;
	unsigned int i;

	for (i = 0; i < cs->num_users; i++)
		agm_userptr_commit(cs->users[i]);
	job->ctx = cs->ctx;
	job->entity = cs->entity;
	job->vm = agm_vm_get(cs->file->vm);
	cs->ctx = NULL;
	cs->job = NULL;
	agm_vm_job_begin(job->vm, job);
	for (i = 0; i < r->count; i++)
		dma_resv_add_fence(r->resvs[i], job->fence, DMA_RESV_USAGE_WRITE);
	agm_ctx_add_fence(job->ctx, job->entity, job->fence);
	agm_signals_set(&cs->signals, job->fence);
	agm_ring_push(job);
}

static bool agm_cs_users_valid(struct agm_cs *cs)
{
	unsigned int i;

	for (i = 0; i < cs->num_users; i++) {
		if (!agm_userptr_valid(cs->users[i]))
			return false;
	}
	return true;
}

/* With a place for the job, and engines that are not stopped in the meantime. */
static int agm_cs_reserve_and_push(struct agm_cs *cs, u64 *seq)
{
	struct mutex *notifier_lock = &cs->file->dev->notifier_lock;
	struct agm_reservation r;
	int ret;

	ret = agm_reserve(&r, cs->file->vm, cs->list ? cs->list->bos : NULL, agm_cs_bos(cs), 1);
	if (ret)
		return ret;
	ret = agm_cs_prepare(cs);
	if (!ret) {
		mutex_lock(notifier_lock);
		/* User space asks again. */
		ret = agm_cs_users_valid(cs) ? 0 : -EAGAIN;
		if (!ret) {
			*seq = cs->entity->seq + 1;
			agm_cs_push(cs, &r);
		}
		mutex_unlock(notifier_lock);
	}
	agm_unreserve(&r);
	return ret;
}

/* With the context's submission lock held. */
static int agm_cs_submit(struct agm_cs *cs, u64 *seq)
{
	int idx, ret = agm_ctx_wait_slot(cs->ctx, cs->entity);

	if (ret)
		return ret;
	/* Not earlier: the device may go while this one waits. */
	if (!drm_dev_enter(&cs->file->dev->drm, &idx))
		return -ENODEV;
	ret = agm_cs_reserve_and_push(cs, seq);
	drm_dev_exit(idx);
	return ret;
}

static void agm_cs_close(struct agm_cs *cs)
{
	agm_cs_free_users(cs);
	agm_waits_free(&cs->waits);
	agm_signals_free(&cs->signals);
	if (!IS_ERR(cs->list))
		agm_bo_list_put(cs->list);
	if (cs->job)
		agm_job_free(cs->job);
	if (cs->ctx)
		agm_ctx_put(cs->ctx);
	agm_cs_free_chunks(cs);
}

static int agm_cs_run(struct agm_cs *cs, const struct drm_amdgpu_cs_in *in, u64 *seq)
{
	struct agm_ctx *ctx;
	int ret = agm_cs_copy_chunks(cs, in);

	if (!ret)
		ret = agm_cs_open(cs, in);
	if (!ret)
		ret = agm_cs_parse_chunks(cs);
	if (!ret)
		ret = agm_cs_find_users(cs);
	if (ret)
		return ret;
	ctx = cs->ctx;
	/* The job takes the reference and may end before this does. */
	kref_get(&ctx->ref);
	ret = mutex_lock_interruptible(&ctx->submit);
	if (!ret) {
		ret = agm_cs_submit(cs, seq);
		mutex_unlock(&ctx->submit);
	}
	agm_ctx_put(ctx);
	return ret;
}

int agm_cs_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	struct agm_cs cs = { .filp = filp, .file = to_agm_file(filp) };
	union drm_amdgpu_cs *args = data;
	u64 seq;
	int ret;

	ret = agm_cs_run(&cs, &args->in, &seq);
	agm_cs_close(&cs);
	if (ret)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.handle = seq;
	return 0;
}
