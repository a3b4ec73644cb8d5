// SPDX-License-Identifier: MIT
/*
 * GEM_VA: user space decides what an address is.
 *
 * Addresses are chosen by user space (libdrm has the allocator), in pages, in one of the two ranges
 * that the chip has.  Each change takes effect with the next submission; see agm_vm.c.  A caller
 * can ask for a fence of the change, as a point of a timeline syncobj, and let it wait for others.
 */

#include <linux/dma-fence-chain.h>
#include <linux/slab.h>

#include <drm/drm_syncobj.h>

#include "agm_bo.h"
#include "agm_vm.h"

#define AGM_VA_FLAGS                                                                   \
	(AMDGPU_VM_DELAY_UPDATE | AMDGPU_VM_PAGE_READABLE | AMDGPU_VM_PAGE_WRITEABLE | \
	 AMDGPU_VM_PAGE_EXECUTABLE | AMDGPU_VM_MTYPE_MASK | AMDGPU_VM_PAGE_NOALLOC)
#define AGM_PRT_FLAGS (AMDGPU_VM_DELAY_UPDATE | AMDGPU_VM_PAGE_PRT)

static int agm_va_check(const struct drm_amdgpu_gem_va *args, struct agm_va_range *range)
{
	if (args->flags & ~AGM_VA_FLAGS && args->flags & ~AGM_PRT_FLAGS)
		return -EINVAL;
	if (args->operation < AMDGPU_VA_OP_MAP || args->operation > AMDGPU_VA_OP_REPLACE)
		return -EINVAL;
	return agm_va_range(range, args->va_address, args->map_size);
}

static bool agm_va_needs_bo(const struct drm_amdgpu_gem_va *args)
{
	return args->operation != AMDGPU_VA_OP_CLEAR && !(args->flags & AMDGPU_VM_PAGE_PRT);
}

static int agm_va_check_bo(const struct drm_amdgpu_gem_va *args, struct agm_bo *bo)
{
	u64 end;

	if (args->operation == AMDGPU_VA_OP_UNMAP || !bo)
		return 0;
	if (offset_in_page(args->offset_in_bo) ||
	    check_add_overflow(args->offset_in_bo, args->map_size, &end) || end > bo->base.size)
		return -EINVAL;
	return 0;
}

static int agm_va_change(struct agm_vm *vm, struct agm_bo *bo, const struct drm_amdgpu_gem_va *args,
			 const struct agm_va_range *range, struct dma_fence **fence)
{
	int ret;

	switch (args->operation) {
	case AMDGPU_VA_OP_MAP:
		return agm_vm_map(vm, bo, range, args->offset_in_bo, args->flags);
	case AMDGPU_VA_OP_UNMAP:
		return agm_vm_unmap(vm, bo, range->first, fence);
	case AMDGPU_VA_OP_CLEAR:
		return agm_vm_clear(vm, range, fence);
	default:
		ret = agm_vm_clear(vm, range, fence);
		return ret ?: agm_vm_map(vm, bo, range, args->offset_in_bo, args->flags);
	}
}

/* The change waits for these; it is the caller that does, as changes are made at once. */
static int agm_va_wait(struct drm_file *filp, const struct drm_amdgpu_gem_va *args)
{
	u32 __user *handles = u64_to_user_ptr(args->input_fence_syncobj_handles);
	struct dma_fence *fence;
	u32 i, handle;
	int ret = 0;

	for (i = 0; i < args->num_syncobj_handles && !ret; i++) {
		if (get_user(handle, handles + i))
			return -EFAULT;
		ret = drm_syncobj_find_fence(filp, handle, 0, 0, &fence);
		if (ret)
			return ret;
		ret = dma_fence_wait(fence, true);
		dma_fence_put(fence);
	}
	return ret;
}

/* Put @fence, or one that has signalled, into the syncobj that the caller named. */
static int agm_va_signal(struct drm_file *filp, const struct drm_amdgpu_gem_va *args,
			 struct dma_fence *fence)
{
	struct dma_fence_chain *chain;
	struct drm_syncobj *syncobj;

	if (!args->vm_timeline_syncobj_out)
		return 0;
	syncobj = drm_syncobj_find(filp, args->vm_timeline_syncobj_out);
	if (!syncobj)
		return -ENOENT;
	fence = fence ? dma_fence_get(fence) : dma_fence_get_stub();
	chain = args->vm_timeline_point ? dma_fence_chain_alloc() : NULL;
	if (chain)
		drm_syncobj_add_point(syncobj, chain, fence, args->vm_timeline_point);
	else
		drm_syncobj_replace_fence(syncobj, fence);
	dma_fence_put(fence);
	drm_syncobj_put(syncobj);
	return args->vm_timeline_point && !chain ? -ENOMEM : 0;
}

static int agm_va_locked(struct agm_vm *vm, struct agm_bo *bo, const struct drm_amdgpu_gem_va *args,
			 const struct agm_va_range *range, struct dma_fence **fence)
{
	int ret = dma_resv_lock_interruptible(&vm->resv, NULL);

	if (ret)
		return ret;
	ret = agm_va_change(vm, bo, args, range, fence);
	dma_resv_unlock(&vm->resv);
	return ret;
}

int agm_gem_va_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	const struct drm_amdgpu_gem_va *args = data;
	struct agm_vm *vm = to_agm_file(filp)->vm;
	struct dma_fence *fence = NULL;
	struct agm_va_range range;
	struct agm_bo *bo = NULL;
	int ret = agm_va_check(args, &range);

	if (ret)
		return ret;
	if (agm_va_needs_bo(args)) {
		bo = agm_bo_lookup(filp, args->handle);
		if (!bo)
			return -ENOENT;
	}
	ret = agm_va_check_bo(args, bo);
	if (!ret)
		ret = agm_va_wait(filp, args);
	if (!ret)
		ret = agm_va_locked(vm, bo, args, &range, &fence);
	if (!ret)
		ret = agm_va_signal(filp, args, fence);
	dma_fence_put(fence);
	if (bo)
		agm_bo_put(bo);
	return ret;
}

/* Reserving a VMID has no meaning here: every address space has its own. */
int agm_vm_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_vm *args = data;

	if (args->in.flags || (args->in.op != AMDGPU_VM_OP_RESERVE_VMID &&
			       args->in.op != AMDGPU_VM_OP_UNRESERVE_VMID))
		return -EINVAL;
	return 0;
}
