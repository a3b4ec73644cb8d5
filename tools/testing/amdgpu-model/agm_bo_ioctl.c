// SPDX-License-Identifier: MIT
/*
 * What user space asks of one object: GEM_CREATE, MMAP, METADATA, OP and WAIT_IDLE.
 *
 * Nothing here touches memory of an object.  Arguments are checked as in the real driver, where
 * that has a reason that the model shares: an unknown flag is an error, domains that the model
 * does not have (GDS, GWS, OA, doorbells) are refused.
 */

#include <linux/dma-resv.h>
#include <linux/uaccess.h>

#include <drm/drm_gem.h>
#include <drm/drm_utils.h>

#include "agm_bo.h"

#define AGM_CREATE_FLAGS                                                           \
	(AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED | AMDGPU_GEM_CREATE_NO_CPU_ACCESS | \
	 AMDGPU_GEM_CREATE_CPU_GTT_USWC | AMDGPU_GEM_CREATE_VRAM_CLEARED |         \
	 AMDGPU_GEM_CREATE_VM_ALWAYS_VALID | AMDGPU_GEM_CREATE_EXPLICIT_SYNC |     \
	 AMDGPU_GEM_CREATE_ENCRYPTED | AMDGPU_GEM_CREATE_GFX12_DCC |               \
	 AMDGPU_GEM_CREATE_DISCARDABLE | AMDGPU_GEM_CREATE_VRAM_CONTIGUOUS |       \
	 AMDGPU_GEM_CREATE_COHERENT | AMDGPU_GEM_CREATE_UNCACHED | AMDGPU_GEM_CREATE_EXT_COHERENT)
#define AGM_DOMAINS (AMDGPU_GEM_DOMAIN_CPU | AMDGPU_GEM_DOMAIN_GTT | AMDGPU_GEM_DOMAIN_VRAM)

int agm_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_gem_create *args = data;
	struct agm_bo *bo;
	u32 handle;
	int ret;

	if (args->in.domain_flags & ~(u64)AGM_CREATE_FLAGS ||
	    args->in.domain_flags & AMDGPU_GEM_CREATE_ENCRYPTED)
		return -EINVAL;
	if (!args->in.domains || args->in.domains & ~(u64)AGM_DOMAINS)
		return -EINVAL;
	bo = agm_bo_create(to_agm(drm), to_agm_file(filp)->vm, &args->in);
	if (IS_ERR(bo))
		return PTR_ERR(bo);
	ret = drm_gem_handle_create(filp, &bo->base, &handle);
	agm_bo_put(bo);
	if (ret)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.handle = handle;
	return 0;
}

int agm_gem_mmap_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_gem_mmap *args = data;
	struct agm_bo *bo = agm_bo_lookup(filp, args->in.handle);
	int ret;

	if (!bo)
		return -ENOENT;
	ret = -EPERM;
	if (!agm_bo_is_userptr(bo) && !(bo->flags & AMDGPU_GEM_CREATE_NO_CPU_ACCESS))
		ret = drm_gem_create_mmap_offset(&bo->base);
	if (!ret)
		args->out.addr_ptr = drm_vma_node_offset_addr(&bo->base.vma_node);
	agm_bo_put(bo);
	return ret;
}

static int agm_bo_set_metadata(struct agm_bo *bo, const struct drm_amdgpu_gem_metadata *args)
{
	if (args->data.data_size_bytes > sizeof(args->data.data))
		return -EINVAL;
	bo->tiling = args->data.tiling_info;
	bo->metadata_flags = args->data.flags;
	bo->metadata_size = args->data.data_size_bytes;
	memcpy(bo->metadata, args->data.data, bo->metadata_size);
	return 0;
}

static void agm_bo_get_metadata(struct agm_bo *bo, struct drm_amdgpu_gem_metadata *args)
{
	args->data.tiling_info = bo->tiling;
	args->data.flags = bo->metadata_flags;
	args->data.data_size_bytes = bo->metadata_size;
	memcpy(args->data.data, bo->metadata, bo->metadata_size);
}

int agm_gem_metadata_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	struct drm_amdgpu_gem_metadata *args = data;
	struct agm_bo *bo = agm_bo_lookup(filp, args->handle);
	int ret;

	if (!bo)
		return -ENOENT;
	ret = dma_resv_lock_interruptible(bo->base.resv, NULL);
	if (ret)
		goto put;
	if (args->op == AMDGPU_GEM_METADATA_OP_GET_METADATA)
		agm_bo_get_metadata(bo, args);
	else if (args->op == AMDGPU_GEM_METADATA_OP_SET_METADATA)
		ret = agm_bo_set_metadata(bo, args);
	dma_resv_unlock(bo->base.resv);
put:
	agm_bo_put(bo);
	return ret;
}

static int agm_bo_create_info(struct agm_bo *bo, void __user *to)
{
	struct drm_amdgpu_gem_create_in info = {
		.bo_size = bo->base.size,
		.alignment = bo->alignment ?: PAGE_SIZE,
		.domains = bo->preferred,
		.domain_flags = bo->flags,
	};

	return copy_to_user(to, &info, sizeof(info)) ? -EFAULT : 0;
}

static int agm_bo_set_placement(struct agm_bo *bo, u64 domains)
{
	if (bo->base.import_attach || agm_bo_is_userptr(bo))
		return -EPERM;
	/* A wish for later moves, of which there are none. */
	bo->preferred = domains & AGM_DOMAINS;
	return 0;
}

int agm_gem_op_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	struct drm_amdgpu_gem_op *args = data;
	struct agm_bo *bo = agm_bo_lookup(filp, args->handle);
	int ret;

	if (!bo)
		return -ENOENT;
	switch (args->op) {
	case AMDGPU_GEM_OP_GET_GEM_CREATE_INFO:
		ret = agm_bo_create_info(bo, u64_to_user_ptr(args->value));
		break;
	case AMDGPU_GEM_OP_SET_PLACEMENT:
		ret = agm_bo_set_placement(bo, args->value);
		break;
	default:
		ret = -EINVAL;
	}
	agm_bo_put(bo);
	return ret;
}

int agm_gem_wait_idle_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_gem_wait_idle *args = data;
	struct agm_bo *bo = agm_bo_lookup(filp, args->in.handle);
	long timeout, ret;
	u32 domain;

	if (!bo)
		return -ENOENT;
	timeout = drm_timeout_abs_to_jiffies(args->in.timeout);
	ret = dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_READ, true, timeout);
	domain = bo->domain;
	agm_bo_put(bo);
	if (ret < 0)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.status = ret == 0;
	args->out.domain = domain;
	return 0;
}
