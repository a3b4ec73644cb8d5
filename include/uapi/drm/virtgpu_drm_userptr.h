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
/*
 * The caller promises to close the handle before it frees or unmaps the
 * memory: the kernel does not watch the range.
 */
#define VIRTGPU_USERPTR_KEEP			0x0002
/* Send VIRTGPU_EVENT_USERPTR_REVOKED to this file if that happens. */
#define VIRTGPU_USERPTR_EVENT			0x0004
#define VIRTGPU_USERPTR_FLAGS			(VIRTGPU_USERPTR_RDONLY | \
						 VIRTGPU_USERPTR_KEEP | \
						 VIRTGPU_USERPTR_EVENT)

/* drm_virtgpu_userptr_info.state */
#define VIRTGPU_USERPTR_STATE_LIVE		1
/* the owner took the memory back; the host is being told */
#define VIRTGPU_USERPTR_STATE_REVOKED		2
/* the host has let go, and nothing is pinned any more */
#define VIRTGPU_USERPTR_STATE_RELEASED		3

/* drm_event.type of struct drm_virtgpu_event_userptr */
#define VIRTGPU_EVENT_USERPTR_REVOKED		0x90000010

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
 * @wait_state: in, 0 or the state to wait for, or one beyond it
 * @timeout_ns: in, when to stop waiting: CLOCK_MONOTONIC, absolute
 *
 * Errors: EINVAL (no such state, or the handle is no userptr resource), ENOENT
 * (no such handle), ETIME (@wait_state was not reached), EINTR.
 */
struct drm_virtgpu_userptr_info {
	__u32 bo_handle;
	__u32 res_handle;
	__u64 addr;
	__u64 size;
	__u32 flags;
	__u32 nr_segments;
	__u32 state;
	__u32 wait_state;
	__s64 timeout_ns;
};

/**
 * struct drm_virtgpu_event_userptr - a registration has become stale
 * @base: type VIRTGPU_EVENT_USERPTR_REVOKED
 * @bo_handle: the handle that the create ioctl returned; still open
 * @res_handle: its resource id
 * @addr: address given at creation
 * @size: bytes
 *
 * Read from the file that created the registration with
 * VIRTGPU_USERPTR_EVENT.  If the file's event queue is full the event is lost;
 * the state that DRM_VIRTGPU_USERPTR_INFO reports never is.
 */
struct drm_virtgpu_event_userptr {
	struct drm_event base;
	__u32 bo_handle;
	__u32 res_handle;
	__u64 addr;
	__u64 size;
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
