// SPDX-License-Identifier: MIT
/*
 * GPU address spaces: what an address means to a job.
 *
 * The real driver writes page tables with a job of its own, which waits for all jobs that were
 * submitted before it in the same address space, and every later job waits for it and begins with
 * an empty TLB.  What a job sees are therefore the page tables as they were when it was
 * submitted, however late it runs.  The model has just that, without tables in memory: each
 * change makes a new version of the address space, each mapping knows the versions that it was
 * part of, and a job looks up addresses in the version of its submission:
 *
 *	version	  1      2      3      4      5
 *	map A	  |------------------|
 *	map B	         |---------------------->
 *	job x	     ^ sees A        job y ^ sees B, although x may still run
 *
 * So a mapping that was unmapped is of no use to a job that is submitted later, and one that was
 * submitted earlier keeps it, with its object.  The fence of an unmap signals when all jobs that
 * can see the mapping have ended: that is the fence of the real page table update, and closing the
 * last handle of an object puts it into the object's reservation with the same usage.
 *
 * Looking up is by page: a TLB of one entry per job is in agm_access.c.
 *
 * Invariants: at most one mapping of a page is alive in a version.  Changes are made with the root
 * reservation locked.  Memory is given back by a work item only, because engines notice the end of
 * a job, and a fence must not wait for what freeing an object may wait for.
 */

#include <linux/dma-fence.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "agm_bo.h"
#include "agm_fence.h"
#include "agm_job.h"
#include "agm_vm.h"

/**
 * struct agm_unmap - a change that jobs do not see yet
 * @link: in agm_vm.unmaps
 * @version: the first one that jobs have to be of
 * @mappings: that went
 * @fence: signals when no job sees them any more
 */
struct agm_unmap {
	struct list_head link;
	u64 version;
	struct list_head mappings;
	struct dma_fence *fence;
};

static void agm_vm_free_list(struct list_head *mappings)
{
	struct agm_mapping *mapping, *next;

	list_for_each_entry_safe(mapping, next, mappings, link) {
		if (mapping->bo)
			agm_bo_put(mapping->bo);
		kfree(mapping);
	}
}

static void agm_vm_reap(struct work_struct *work)
{
	struct agm_vm *vm = container_of(work, struct agm_vm, reaper);
	LIST_HEAD(dead);

	spin_lock(&vm->lock);
	list_splice_init(&vm->dead, &dead);
	spin_unlock(&vm->lock);
	agm_vm_free_list(&dead);
	agm_vm_put(vm);
}

struct agm_vm *agm_vm_create(struct agm_device *dev)
{
	struct agm_vm *vm = kzalloc_obj(*vm);

	if (!vm)
		return NULL;
	kref_init(&vm->ref);
	/* Objects in it need the device, and it may live longer than the file. */
	drm_dev_get(&dev->drm);
	vm->dev = dev;
	dma_resv_init(&vm->resv);
	spin_lock_init(&vm->lock);
	vm->tree = RB_ROOT_CACHED;
	vm->version = 1;
	INIT_LIST_HEAD(&vm->jobs);
	INIT_LIST_HEAD(&vm->unmaps);
	INIT_LIST_HEAD(&vm->dead);
	INIT_WORK(&vm->reaper, agm_vm_reap);
	return vm;
}

static void agm_vm_release(struct kref *ref)
{
	struct agm_vm *vm = container_of(ref, struct agm_vm, ref);
	struct drm_device *drm = &vm->dev->drm;

	WARN_ON(!RB_EMPTY_ROOT(&vm->tree.rb_root));
	dma_resv_fini(&vm->resv);
	kfree(vm);
	drm_dev_put(drm);
}

void agm_vm_put(struct agm_vm *vm)
{
	kref_put(&vm->ref, agm_vm_release);
}

/* Called with vm->lock held. */
static void agm_vm_queue_reaper(struct agm_vm *vm)
{
	if (list_empty(&vm->dead))
		return;
	agm_vm_get(vm);
	if (!queue_work(vm->dev->wq, &vm->reaper))
		kref_put(&vm->ref, agm_vm_release);
}

/* The oldest version that a job may look at.  Called with vm->lock held. */
static u64 agm_vm_oldest(struct agm_vm *vm)
{
	struct agm_job *job = list_first_entry_or_null(&vm->jobs, struct agm_job, vm_link);

	return job ? job->version : AGM_NEVER;
}

/* Called with vm->lock held. */
static void agm_vm_bury(struct agm_vm *vm, struct list_head *mappings)
{
	struct agm_mapping *mapping;

	list_for_each_entry(mapping, mappings, link)
		interval_tree_remove(&mapping->node, &vm->tree);
	list_splice_tail_init(mappings, &vm->dead);
}

/* Unmaps that no job is in the way of any more.  Called with vm->lock held. */
static void agm_vm_finish_unmaps(struct agm_vm *vm)
{
	u64 oldest = agm_vm_oldest(vm);
	struct agm_unmap *unmap, *next;

	list_for_each_entry_safe(unmap, next, &vm->unmaps, link) {
		if (unmap->version > oldest)
			break;
		list_del(&unmap->link);
		agm_vm_bury(vm, &unmap->mappings);
		dma_fence_signal(unmap->fence);
		dma_fence_put(unmap->fence);
		kfree(unmap);
	}
	agm_vm_queue_reaper(vm);
}

void agm_vm_job_begin(struct agm_vm *vm, struct agm_job *job)
{
	spin_lock(&vm->lock);
	job->version = vm->version;
	list_add_tail(&job->vm_link, &vm->jobs);
	spin_unlock(&vm->lock);
}

void agm_vm_job_end(struct agm_vm *vm, struct agm_job *job)
{
	spin_lock(&vm->lock);
	list_del(&job->vm_link);
	agm_vm_finish_unmaps(vm);
	spin_unlock(&vm->lock);
}

/*
 * Make a new version without @mappings, whose died is set; @unmap and its fence are used if
 * a job is in the way, else freed.  Called with vm->lock held.
 */
static void agm_vm_retire(struct agm_vm *vm, struct list_head *mappings, struct agm_unmap *unmap,
			  struct dma_fence **fence)
{
	if (list_empty(&vm->jobs) && list_empty(&vm->unmaps)) {
		agm_vm_bury(vm, mappings);
		agm_vm_queue_reaper(vm);
		dma_fence_signal(unmap->fence);
		dma_fence_put(unmap->fence);
		kfree(unmap);
		return;
	}
	unmap->version = vm->version;
	list_splice_tail_init(mappings, &unmap->mappings);
	list_add_tail(&unmap->link, &vm->unmaps);
	if (fence) {
		dma_fence_put(*fence);
		*fence = dma_fence_get(unmap->fence);
	}
}

static struct agm_unmap *agm_unmap_alloc(void)
{
	struct agm_unmap *unmap = kzalloc_obj(*unmap);

	if (!unmap)
		return NULL;
	INIT_LIST_HEAD(&unmap->mappings);
	unmap->fence = agm_fence_create("page tables", dma_fence_context_alloc(1), 1);
	if (unmap->fence)
		return unmap;
	kfree(unmap);
	return NULL;
}

static void agm_unmap_free(struct agm_unmap *unmap)
{
	dma_fence_signal(unmap->fence);
	dma_fence_put(unmap->fence);
	kfree(unmap);
}

/* The next mapping from @from up to @last that is alive.  Called with vm->lock held. */
static struct agm_mapping *agm_vm_next_alive(struct agm_vm *vm, struct agm_mapping *from, u64 first,
					     u64 last)
{
	struct interval_tree_node *node;

	node = from ? interval_tree_iter_next(&from->node, first, last) :
		      interval_tree_iter_first(&vm->tree, first, last);
	while (node && container_of(node, struct agm_mapping, node)->died != AGM_NEVER)
		node = interval_tree_iter_next(node, first, last);
	return node ? container_of(node, struct agm_mapping, node) : NULL;
}

/* What @page is in @version.  Called with vm->lock held. */
struct agm_mapping *agm_vm_find(struct agm_vm *vm, u64 version, u64 page)
{
	struct interval_tree_node *node;

	for (node = interval_tree_iter_first(&vm->tree, page, page); node;
	     node = interval_tree_iter_next(node, page, page)) {
		struct agm_mapping *mapping = container_of(node, struct agm_mapping, node);

		if (mapping->born <= version && version < mapping->died)
			return mapping;
	}
	return NULL;
}

/* Pages of [@va, @va + @size) where both are good. */
int agm_va_range(struct agm_va_range *range, u64 va, u64 size)
{
	u64 end;

	if (!size || offset_in_page(va | size) || check_add_overflow(va, size - 1, &end))
		return -EINVAL;
	if (!(va >= AGM_VA_START && end < AGM_VA_END) &&
	    !(va >= AGM_VA_HIGH_START && end < AGM_VA_HIGH_END))
		return -EINVAL;
	range->first = (va & AGM_VA_MASK) >> PAGE_SHIFT;
	range->last = (end & AGM_VA_MASK) >> PAGE_SHIFT;
	return 0;
}

static struct agm_mapping *agm_mapping_create(struct agm_bo *bo, u64 first, u64 last, u64 offset,
					      u32 flags)
{
	struct agm_mapping *mapping = kzalloc_obj(*mapping);

	if (!mapping)
		return NULL;
	if (bo)
		agm_bo_get(bo);
	mapping->bo = bo;
	mapping->node.start = first;
	mapping->node.last = last;
	mapping->offset = offset;
	mapping->flags = flags;
	mapping->died = AGM_NEVER;
	return mapping;
}

/**
 * agm_vm_map - give a range of an object an address
 * @vm: the address space, its root reservation locked
 * @bo: the object, or NULL for pages that are not resident
 * @range: the address
 * @offset: where in the object
 * @flags: AMDGPU_VM_PAGE_*
 *
 * Fails with -EINVAL if a page of it is mapped.
 */
int agm_vm_map(struct agm_vm *vm, struct agm_bo *bo, const struct agm_va_range *range, u64 offset,
	       u32 flags)
{
	struct agm_mapping *mapping;
	int ret = -EINVAL;

	mapping = agm_mapping_create(bo, range->first, range->last, offset, flags);
	if (!mapping)
		return -ENOMEM;
	spin_lock(&vm->lock);
	if (!agm_vm_next_alive(vm, NULL, range->first, range->last)) {
		mapping->born = ++vm->version;
		interval_tree_insert(&mapping->node, &vm->tree);
		ret = 0;
	}
	spin_unlock(&vm->lock);
	if (!ret)
		return 0;
	if (bo)
		agm_bo_put(bo);
	kfree(mapping);
	return ret;
}

/**
 * agm_vm_unmap - take the mapping of an object at an address away
 * @vm: the address space, its root reservation locked
 * @bo: the object, or NULL
 * @first: the page that it begins with
 * @fence: set to a fence that signals when no job sees it, if there is one now
 */
int agm_vm_unmap(struct agm_vm *vm, struct agm_bo *bo, u64 first, struct dma_fence **fence)
{
	struct agm_unmap *unmap = agm_unmap_alloc();
	struct agm_mapping *mapping;
	LIST_HEAD(gone);

	if (!unmap)
		return -ENOMEM;
	spin_lock(&vm->lock);
	mapping = agm_vm_next_alive(vm, NULL, first, first);
	if (!mapping || mapping->bo != bo || mapping->node.start != first) {
		spin_unlock(&vm->lock);
		agm_unmap_free(unmap);
		return -ENOENT;
	}
	mapping->died = ++vm->version;
	list_add(&mapping->link, &gone);
	agm_vm_retire(vm, &gone, unmap, fence);
	spin_unlock(&vm->lock);
	return 0;
}

/* Pages @first to @last of @whole stay, as @part. */
static void agm_vm_keep(struct agm_vm *vm, struct agm_mapping *whole, struct agm_mapping *part,
			u64 first, u64 last)
{
	part->node.start = first;
	part->node.last = last;
	part->offset = whole->offset + ((first - whole->node.start) << PAGE_SHIFT);
	part->bo = whole->bo;
	part->flags = whole->flags;
	part->born = vm->version;
	part->died = AGM_NEVER;
	if (part->bo)
		agm_bo_get(part->bo);
	interval_tree_insert(&part->node, &vm->tree);
}

/**
 * agm_vm_clear - take away all that is mapped in a range
 * @vm: the address space, its root reservation locked
 * @range: the addresses
 * @fence: as of agm_vm_unmap()
 *
 * A mapping that is only in part in the range keeps the rest.
 */
int agm_vm_clear(struct agm_vm *vm, const struct agm_va_range *range, struct dma_fence **fence)
{
	struct agm_mapping *before = kzalloc_obj(*before), *behind = kzalloc_obj(*behind);
	struct agm_unmap *unmap = agm_unmap_alloc();
	struct agm_mapping *mapping;
	LIST_HEAD(gone);

	if (!before || !behind || !unmap) {
		if (unmap)
			agm_unmap_free(unmap);
		kfree(before);
		kfree(behind);
		return -ENOMEM;
	}
	spin_lock(&vm->lock);
	vm->version++;
	for (mapping = agm_vm_next_alive(vm, NULL, range->first, range->last); mapping;
	     mapping = agm_vm_next_alive(vm, mapping, range->first, range->last)) {
		mapping->died = vm->version;
		list_add_tail(&mapping->link, &gone);
	}
	/* Mappings do not overlap: only the first can begin before, only one can end behind. */
	list_for_each_entry(mapping, &gone, link) {
		if (mapping->node.start < range->first) {
			agm_vm_keep(vm, mapping, before, mapping->node.start, range->first - 1);
			before = NULL;
		}
		if (mapping->node.last > range->last) {
			agm_vm_keep(vm, mapping, behind, range->last + 1, mapping->node.last);
			behind = NULL;
		}
	}
	agm_vm_retire(vm, &gone, unmap, fence);
	spin_unlock(&vm->lock);
	kfree(before);
	kfree(behind);
	return 0;
}

/* Called with vm->lock held; the mappings of @bo, or all, to @gone. */
static void agm_vm_kill(struct agm_vm *vm, struct agm_bo *bo, struct list_head *gone)
{
	struct agm_mapping *mapping;

	vm->version++;
	for (mapping = agm_vm_next_alive(vm, NULL, 0, ULONG_MAX); mapping;
	     mapping = agm_vm_next_alive(vm, mapping, 0, ULONG_MAX)) {
		if (bo && mapping->bo != bo)
			continue;
		mapping->died = vm->version;
		list_add_tail(&mapping->link, gone);
	}
}

/**
 * agm_vm_unmap_bo - the last handle of an object is closed
 * @vm: the address space of the file
 * @bo: the object
 *
 * Its reservation gets a fence for as long as a job can see it, of the usage of the real driver.
 */
void agm_vm_unmap_bo(struct agm_vm *vm, struct agm_bo *bo)
{
	struct agm_unmap *unmap;
	struct agm_reservation r;
	struct dma_fence *fence = NULL;
	LIST_HEAD(gone);

	/* As long as there is memory for a handle there should be for this. */
	unmap = agm_unmap_alloc();
	if (!unmap)
		return;
	while (agm_reserve(&r, vm, &bo, 1, 1))
		cond_resched();
	spin_lock(&vm->lock);
	agm_vm_kill(vm, bo, &gone);
	agm_vm_retire(vm, &gone, unmap, &fence);
	spin_unlock(&vm->lock);
	if (fence)
		dma_resv_add_fence(bo->base.resv, fence, DMA_RESV_USAGE_READ);
	agm_unreserve(&r);
	dma_fence_put(fence);
}

/* The file is closed: all goes, as soon as its jobs have ended. */
void agm_vm_close(struct agm_vm *vm)
{
	struct agm_unmap *unmap = agm_unmap_alloc();
	LIST_HEAD(gone);

	while (!unmap) {
		cond_resched();
		unmap = agm_unmap_alloc();
	}
	dma_resv_lock(&vm->resv, NULL);
	spin_lock(&vm->lock);
	agm_vm_kill(vm, NULL, &gone);
	agm_vm_retire(vm, &gone, unmap, NULL);
	spin_unlock(&vm->lock);
	dma_resv_unlock(&vm->resv);
	agm_vm_put(vm);
}
