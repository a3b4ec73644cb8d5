// SPDX-License-Identifier: MIT
/*
 * Buffer objects: memory that user space has a handle of and the GPU can be given an address of.
 *
 * A real card has memory of its own (VRAM) and reaches pages of the system through a table (GTT).
 * In the model both are pages of the system, each charged to a pool that can run out; there is
 * no eviction: what does not fit in VRAM goes to GTT if that domain was allowed too, else it is
 * refused.  VRAM, as in the real one, does not move and cannot be swapped; neither does GTT
 * here, which is stricter than the real driver.  Pages are there from the start and are zero.
 *
 * Objects come in four kinds, which differ in who owns the pages:
 *
 *	made	pages of our own, in VRAM or GTT
 *	always valid	likewise, and it shares the reservation of one address space, so that it is
 *		part of every job there; cannot be exported
 *	imported	pages of an exporter, found by DMA address; agm_prime.c
 *	userptr	pages of a process, which can be taken away at any time; agm_userptr.c
 *
 * An engine reads @pages[i] and copies from or to that page under @lock, one page at a time, so
 * that whoever takes pages away has only to clear @valid under @lock after the fences.
 */

#include <linux/dma-buf.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <drm/drm_prime.h>

#include "agm_bo.h"
#include "agm_vm.h"

static const struct drm_gem_object_funcs agm_bo_funcs;

int agm_pool_charge(struct agm_pool *pool, u64 bytes)
{
	if (atomic64_add_return(bytes, &pool->used) <= READ_ONCE(pool->limit))
		return 0;
	atomic64_sub(bytes, &pool->used);
	return -ENOMEM;
}

void agm_pool_uncharge(struct agm_pool *pool, u64 bytes)
{
	atomic64_sub(bytes, &pool->used);
}

static struct agm_pool *agm_bo_pool(struct agm_bo *bo)
{
	switch (bo->domain) {
	case AMDGPU_GEM_DOMAIN_VRAM:
		return &bo->dev->vram;
	case AMDGPU_GEM_DOMAIN_GTT:
		return &bo->dev->gtt;
	default:
		return NULL;
	}
}

/* An object without pages. */
struct agm_bo *agm_bo_alloc(struct agm_device *dev, u64 size)
{
	struct agm_bo *bo;

	if (!size || size > SZ_1T)
		return ERR_PTR(-EINVAL);
	/* Before there is an array of that length. */
	if (size > max(dev->vram.size, 2 * dev->gtt.size))
		return ERR_PTR(-ENOMEM);
	bo = kzalloc_obj(*bo);
	if (!bo)
		return ERR_PTR(-ENOMEM);
	bo->pages =
		kvcalloc(PAGE_ALIGN(size) >> PAGE_SHIFT, sizeof(*bo->pages), GFP_KERNEL_ACCOUNT);
	if (!bo->pages) {
		kfree(bo);
		return ERR_PTR(-ENOMEM);
	}
	spin_lock_init(&bo->lock);
	bo->dev = dev;
	bo->domain = AMDGPU_GEM_DOMAIN_CPU;
	bo->base.funcs = &agm_bo_funcs;
	drm_gem_private_object_init(&dev->drm, &bo->base, PAGE_ALIGN(size));
	atomic64_inc(&dev->stats.objects);
	return bo;
}

static void agm_bo_free_pages(struct agm_bo *bo)
{
	unsigned long i;

	for (i = 0; i < agm_bo_pages(bo); i++) {
		if (bo->pages[i])
			__free_page(bo->pages[i]);
	}
	agm_pool_uncharge(agm_bo_pool(bo), bo->base.size);
}

static int agm_bo_fill_pages(struct agm_bo *bo)
{
	unsigned long i;

	for (i = 0; i < agm_bo_pages(bo); i++) {
		bo->pages[i] =
			alloc_page(GFP_HIGHUSER | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
		if (!bo->pages[i])
			return -ENOMEM;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	bo->valid = true;
	return 0;
}

static int agm_bo_place(struct agm_bo *bo, u32 domains)
{
	if (domains & AMDGPU_GEM_DOMAIN_VRAM && !agm_pool_charge(&bo->dev->vram, bo->base.size)) {
		bo->domain = AMDGPU_GEM_DOMAIN_VRAM;
		return 0;
	}
	if (domains & (AMDGPU_GEM_DOMAIN_GTT | AMDGPU_GEM_DOMAIN_CPU) &&
	    !agm_pool_charge(&bo->dev->gtt, bo->base.size)) {
		bo->domain = AMDGPU_GEM_DOMAIN_GTT;
		return 0;
	}
	return -ENOMEM;
}

/**
 * agm_bo_create - an object with pages of its own
 * @dev: the device
 * @vm: whose reservation it shares if it is to be always valid
 * @in: what user space asked for, checked
 */
struct agm_bo *agm_bo_create(struct agm_device *dev, struct agm_vm *vm,
			     const struct drm_amdgpu_gem_create_in *in)
{
	struct agm_bo *bo = agm_bo_alloc(dev, in->bo_size);
	int ret;

	if (IS_ERR(bo))
		return bo;
	bo->preferred = in->domains;
	bo->flags = in->domain_flags;
	bo->alignment = in->alignment;
	if (in->domain_flags & AMDGPU_GEM_CREATE_VM_ALWAYS_VALID) {
		bo->vm = agm_vm_get(vm);
		bo->base.resv = &vm->resv;
	}
	ret = agm_bo_place(bo, in->domains);
	if (!ret)
		ret = agm_bo_fill_pages(bo);
	if (!ret)
		return bo;
	agm_bo_put(bo);
	return ERR_PTR(ret);
}

/* The object of @handle with a reference, or NULL. */
struct agm_bo *agm_bo_lookup(struct drm_file *filp, u32 handle)
{
	struct drm_gem_object *obj = drm_gem_object_lookup(filp, handle);

	return obj ? to_agm_bo(obj) : NULL;
}

static void agm_bo_free(struct drm_gem_object *obj)
{
	struct agm_bo *bo = to_agm_bo(obj);

	if (obj->import_attach)
		agm_prime_release(bo);
	else if (agm_bo_is_userptr(bo))
		agm_userptr_release(bo);
	else if (agm_bo_pool(bo))
		agm_bo_free_pages(bo);
	drm_gem_object_release(obj);
	atomic64_dec(&bo->dev->stats.objects);
	if (bo->vm)
		agm_vm_put(bo->vm);
	kvfree(bo->pages);
	kfree(bo);
}

/* Objects that belong to one address space are of no use in another. */
static int agm_bo_open(struct drm_gem_object *obj, struct drm_file *filp)
{
	struct agm_bo *bo = to_agm_bo(obj);

	if (agm_bo_is_userptr(bo) && bo->notifier.mm != current->mm)
		return -EPERM;
	if (bo->flags & AMDGPU_GEM_CREATE_VM_ALWAYS_VALID && bo->vm != to_agm_file(filp)->vm)
		return -EPERM;
	return 0;
}

/* With the last handle of a file go the mappings in its address space. */
static void agm_bo_close(struct drm_gem_object *obj, struct drm_file *filp)
{
	agm_vm_unmap_bo(to_agm_file(filp)->vm, to_agm_bo(obj));
}

static vm_fault_t agm_bo_cpu_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct agm_bo *bo = to_agm_bo(vma->vm_private_data);
	unsigned long page = vmf->pgoff - drm_vma_node_start(&bo->base.vma_node);

	if (page >= agm_bo_pages(bo))
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vma, vmf->address, page_to_pfn(bo->pages[page]));
}

static const struct vm_operations_struct agm_bo_vm_ops = {
	.fault = agm_bo_cpu_fault,
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
};

static int agm_bo_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	struct agm_bo *bo = to_agm_bo(obj);

	if (agm_bo_is_userptr(bo) || bo->flags & AMDGPU_GEM_CREATE_NO_CPU_ACCESS)
		return -EPERM;
	if (obj->import_attach) {
		int ret;

		vma->vm_private_data = NULL;
		ret = dma_buf_mmap(obj->import_attach->dmabuf, vma, 0);
		/* The mapping holds the buffer now, and not this object. */
		if (!ret)
			drm_gem_object_put(obj);
		return ret;
	}
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	return 0;
}

static const struct drm_gem_object_funcs agm_bo_funcs = {
	.free = agm_bo_free,
	.open = agm_bo_open,
	.close = agm_bo_close,
	.export = agm_prime_export,
	.get_sg_table = agm_prime_sg_table,
	.mmap = agm_bo_mmap,
	.vm_ops = &agm_bo_vm_ops,
};
