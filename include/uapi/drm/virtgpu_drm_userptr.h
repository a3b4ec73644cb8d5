/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu userptr resources: the ioctls
 *
 * What user space says to the guest driver.  The numbers are provisional, see
 * <linux/virtio_gpu_userptr.h> for those of the wire.
 */
#ifndef _UAPI_DRM_VIRTGPU_DRM_USERPTR_H
#define _UAPI_DRM_VIRTGPU_DRM_USERPTR_H

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_VIRTGPU_RESOURCE_CREATE_USERPTR	0x0c
#define DRM_VIRTGPU_USERPTR_INFO		0x0d

/* DRM_VIRTGPU_GETPARAM: 1 if the create ioctl can work, written as an int. */
#define VIRTGPU_PARAM_USERPTR			32
/* DRM_VIRTGPU_GETPARAM: bytes of the largest registration, as a __u64. */
#define VIRTGPU_PARAM_USERPTR_MAX_SIZE		33

/* drm_virtgpu_resource_create_userptr.flags: the host must never write. */
#define VIRTGPU_USERPTR_RDONLY			0x0001
#define VIRTGPU_USERPTR_FLAGS			VIRTGPU_USERPTR_RDONLY

/* drm_virtgpu_userptr_info.state */
#define VIRTGPU_USERPTR_STATE_LIVE		1
#define VIRTGPU_USERPTR_STATE_REVOKED		2

/**
 * struct drm_virtgpu_resource_create_userptr - register memory
 * @addr: in, address in the calling process, a multiple of the page size
 * @size: in, bytes, a multiple of the page size
 * @flags: in, VIRTGPU_USERPTR_*
 * @pad: in, must be 0
 * @bo_handle: out, GEM handle; closing the last one ends the registration
 * @res_handle: out, the resource id that command streams use
 *
 * Success means that the host has accepted every page and that the resource
 * is attached to the caller's context.  The pages stay pinned, and charged to
 * the caller's RLIMIT_MEMLOCK, until the host has given them up after the last
 * handle was closed.
 *
 * Errors: EINVAL (size 0, alignment, unknown flag, padding), EFAULT (the range
 * is not memory that can be pinned with this access), E2BIG (more than the
 * device takes), ENOMEM or EPERM (RLIMIT_MEMLOCK, memory), EOPNOTSUPP (this
 * device, or read-only on it, or DAX), ENODEV (device gone), EINTR, and what
 * the device's answer maps to: ENOSPC, ENOENT, EIO.
 */
struct drm_virtgpu_resource_create_userptr {
	__u64 addr;
	__u64 size;
	__u32 flags;
	__u32 pad;
	__u32 bo_handle;
	__u32 res_handle;
};

/**
 * struct drm_virtgpu_userptr_info - look at a registration
 * @bo_handle: in, handle of a userptr resource
 * @res_handle: out, its resource id
 * @addr: out, address given at creation, in the process that created it
 * @size: out, bytes
 * @flags: out, VIRTGPU_USERPTR_* given at creation
 * @nr_segments: out, physically contiguous pieces that the host was told of
 * @state: out, VIRTGPU_USERPTR_STATE_*
 * @pad: must be 0 on input, 0 on output
 *
 * Errors: EINVAL (padding, or the handle is no userptr resource), ENOENT (no
 * such handle).
 */
struct drm_virtgpu_userptr_info {
	__u32 bo_handle;
	__u32 res_handle;
	__u64 addr;
	__u64 size;
	__u32 flags;
	__u32 nr_segments;
	__u32 state;
	__u32 pad;
};

#define DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VIRTGPU_RESOURCE_CREATE_USERPTR, \
		 struct drm_virtgpu_resource_create_userptr)

#define DRM_IOCTL_VIRTGPU_USERPTR_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VIRTGPU_USERPTR_INFO, \
		 struct drm_virtgpu_userptr_info)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_VIRTGPU_DRM_USERPTR_H */
