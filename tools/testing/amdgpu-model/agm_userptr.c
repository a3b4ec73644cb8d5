// SPDX-License-Identifier: MIT
/*
 * Objects that are a process's own memory: GEM_USERPTR.
 *
 * Nothing is pinned.  The memory belongs to the process and to the kernel's memory management,
 * which may take a page away at any time; an interval notifier tells the driver first, and the
 * driver's part is to see to it that the GPU does not use the page after the callback has returned:
 *
 *	submission			invalidation
 *	----------			------------
 *	read the notifier's sequence
 *	hmm_range_fault(): the pages
 *	lock notifier_lock		lock notifier_lock
 *	sequence changed? again		change the sequence
 *	hand the pages to the object	wait for the address space's fences
 *	add the job's fence		take the pages from the object
 *	unlock				unlock
 *
 * So an invalidation either comes before a submission, which then asks for the pages again, or
 * after it, and waits for the job.  It waits for all jobs of the address space and not only for
 * those with the object in their list, as the real driver does: a job can reach all that is mapped.
 *
 * A page that the GPU wrote is dirty, and nobody but the engine knows; agm_access.c marks it.
 *
 * Invariants: pages are handed over and taken away under notifier_lock; no memory is allocated
 * under it, because reclaim calls the notifier.
 */

#include <linux/dma-resv.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "agm_bo.h"
#include "agm_vm.h"

/**
 * struct agm_user_pages - pages of a userptr object that are not its own yet
 * @bo: the object; a reference is held
 * @range: what hmm_range_fault() answered
 */
struct agm_user_pages {
	struct agm_bo *bo;
	struct hmm_range range;
};

static bool agm_userptr_invalidate(struct mmu_interval_notifier *mni,
				   const struct mmu_notifier_range *range, unsigned long seq)
{
	struct agm_bo *bo = container_of(mni, struct agm_bo, notifier);
	struct agm_device *dev = bo->dev;

	if (!mmu_notifier_range_blockable(range))
		return false;
	mutex_lock(&dev->notifier_lock);
	mmu_interval_set_seq(mni, seq);
	dma_resv_wait_timeout(&bo->vm->resv, DMA_RESV_USAGE_BOOKKEEP, false, MAX_SCHEDULE_TIMEOUT);
	spin_lock(&bo->lock);
	bo->valid = false;
	spin_unlock(&bo->lock);
	mutex_unlock(&dev->notifier_lock);
	atomic64_inc(&dev->stats.invalidations);
	return true;
}

static const struct mmu_interval_notifier_ops agm_userptr_ops = {
	.invalidate = agm_userptr_invalidate,
};

void agm_userptr_free(struct agm_user_pages *pages)
{
	kvfree(pages->range.hmm_pfns);
	agm_bo_put(pages->bo);
	kfree(pages);
}

/* Whether these are still the pages of the process.  Called with notifier_lock held. */
bool agm_userptr_valid(struct agm_user_pages *pages)
{
	return !mmu_interval_read_retry(pages->range.notifier, pages->range.notifier_seq);
}

/* Hand the pages to the object.  Called with notifier_lock held, after agm_userptr_valid(). */
void agm_userptr_commit(struct agm_user_pages *pages)
{
	struct agm_bo *bo = pages->bo;
	unsigned long i;

	spin_lock(&bo->lock);
	for (i = 0; i < agm_bo_pages(bo); i++)
		bo->pages[i] = hmm_pfn_to_page(pages->range.hmm_pfns[i]);
	bo->valid = true;
	spin_unlock(&bo->lock);
	atomic64_add(agm_bo_pages(bo), &bo->dev->stats.user_pages);
}

static int agm_userptr_check_vma(struct agm_bo *bo, struct mm_struct *mm)
{
	unsigned long end = bo->addr + bo->base.size;
	struct vm_area_struct *vma = vma_lookup(mm, bo->addr);

	if (!vma)
		return -EFAULT;
	if (bo->userptr_flags & AMDGPU_GEM_USERPTR_ANONONLY && (vma->vm_file || vma->vm_end < end))
		return -EPERM;
	return 0;
}

static int agm_userptr_fault_range(struct agm_bo *bo, struct hmm_range *range)
{
	struct mm_struct *mm = bo->notifier.mm;
	int ret;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	mmap_read_lock(mm);
	ret = agm_userptr_check_vma(bo, mm);
	if (!ret) {
		range->notifier_seq = mmu_interval_read_begin(range->notifier);
		ret = hmm_range_fault(range);
	}
	mmap_read_unlock(mm);
	mmput(mm);
	return ret == -EBUSY ? -EAGAIN : ret;
}

/**
 * agm_userptr_fault - find the pages of the process
 * @bo: a userptr object
 *
 * Called without any lock.  Returns the pages, which can be lost again any time until they were
 * committed, or -EAGAIN if they were lost already.
 */
struct agm_user_pages *agm_userptr_fault(struct agm_bo *bo)
{
	struct agm_user_pages *pages = kzalloc_obj(*pages);
	int ret;

	if (!pages)
		return ERR_PTR(-ENOMEM);
	agm_bo_get(bo);
	pages->bo = bo;
	pages->range.notifier = &bo->notifier;
	pages->range.start = bo->addr;
	pages->range.end = bo->addr + bo->base.size;
	pages->range.default_flags = HMM_PFN_REQ_FAULT;
	if (!(bo->userptr_flags & AMDGPU_GEM_USERPTR_READONLY))
		pages->range.default_flags |= HMM_PFN_REQ_WRITE;
	pages->range.hmm_pfns = kvcalloc(agm_bo_pages(bo), sizeof(unsigned long), GFP_KERNEL);
	ret = pages->range.hmm_pfns ? agm_userptr_fault_range(bo, &pages->range) : -ENOMEM;
	if (!ret)
		return pages;
	agm_userptr_free(pages);
	return ERR_PTR(ret);
}

void agm_userptr_release(struct agm_bo *bo)
{
	mmu_interval_notifier_remove(&bo->notifier);
}

/* Whether the memory is there: the pages are taken once, and given to the object. */
static int agm_userptr_try(struct agm_bo *bo)
{
	struct agm_user_pages *pages;
	bool valid;

	do {
		pages = agm_userptr_fault(bo);
		if (PTR_ERR(pages) == -EAGAIN && !signal_pending(current)) {
			valid = false;
			continue;
		}
		if (IS_ERR(pages))
			return PTR_ERR(pages);
		mutex_lock(&bo->dev->notifier_lock);
		valid = agm_userptr_valid(pages);
		if (valid)
			agm_userptr_commit(pages);
		mutex_unlock(&bo->dev->notifier_lock);
		agm_userptr_free(pages);
	} while (!valid);
	return 0;
}

#define AGM_USERPTR_FLAGS                                                                          \
	(AMDGPU_GEM_USERPTR_READONLY | AMDGPU_GEM_USERPTR_ANONONLY | AMDGPU_GEM_USERPTR_VALIDATE | \
	 AMDGPU_GEM_USERPTR_REGISTER)

static int agm_userptr_check(const struct drm_amdgpu_gem_userptr *args)
{
	if (offset_in_page(args->addr | args->size) || !args->size ||
	    args->flags & ~AGM_USERPTR_FLAGS)
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(args->addr), args->size))
		return -EFAULT;
	/* What may be written to has to be told when it goes. */
	if (!(args->flags & (AMDGPU_GEM_USERPTR_READONLY | AMDGPU_GEM_USERPTR_REGISTER)))
		return -EACCES;
	return 0;
}

int agm_gem_userptr_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	struct drm_amdgpu_gem_userptr *args = data;
	struct agm_bo *bo;
	int ret = agm_userptr_check(args);

	if (ret)
		return ret;
	bo = agm_bo_alloc(to_agm(drm), args->size);
	if (IS_ERR(bo))
		return PTR_ERR(bo);
	bo->preferred = AMDGPU_GEM_DOMAIN_GTT;
	bo->addr = args->addr;
	bo->userptr_flags = args->flags;
	bo->vm = agm_vm_get(to_agm_file(filp)->vm);
	ret = mmu_interval_notifier_insert(&bo->notifier, current->mm, bo->addr, bo->base.size,
					   &agm_userptr_ops);
	if (ret)
		bo->notifier.mm = NULL;
	else if (args->flags & AMDGPU_GEM_USERPTR_VALIDATE)
		ret = agm_userptr_try(bo);
	if (!ret)
		ret = drm_gem_handle_create(filp, &bo->base, &args->handle);
	agm_bo_put(bo);
	return ret;
}
