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
#define DRM_VIRTGPU_USERPTR_QUERY		0x0e

/*
 * DRM_VIRTGPU_GETPARAM, an int: 0 if there are no userptr resources here, else
 * the VIRTGPU_USERPTR_* flags that the create ioctl accepts, in some kind of
 * context at least.  DRM_VIRTGPU_USERPTR_QUERY has the details.
 */
#define VIRTGPU_PARAM_USERPTR			32

/* drm_virtgpu_resource_create_userptr.flags: the host must never write. */
#define VIRTGPU_USERPTR_RDONLY			0x0001
/*
 * The caller promises to close the handle before it frees or unmaps the
 * memory: the kernel does not watch the range.  Accepted wherever there are
 * userptr resources.
 */
#define VIRTGPU_USERPTR_KEEP			0x0002
/*
 * Send VIRTGPU_EVENT_USERPTR_REVOKED to this file if that happens.  Accepted
 * where the kernel can watch memory; where it cannot, VIRTGPU_USERPTR_KEEP has
 * to be given.
 */
#define VIRTGPU_USERPTR_EVENT			0x0004

/* drm_virtgpu_userptr_info.state is one of these; later kernels may have more. */
#define VIRTGPU_USERPTR_STATE_LIVE		0x0001
/* the memory was taken back; the host is being told */
#define VIRTGPU_USERPTR_STATE_REVOKED		0x0002
/* the host has let go, and nothing is pinned any more */
#define VIRTGPU_USERPTR_STATE_RELEASED		0x0004

/* drm_virtgpu_userptr_info.flags: wait until the resource is not LIVE. */
#define VIRTGPU_USERPTR_INFO_WAIT_REVOKED	0x0001
/* wait until it is RELEASED */
#define VIRTGPU_USERPTR_INFO_WAIT_RELEASED	0x0002
/*
 * Look first whether the memory is still what is registered.  munmap() and the
 * like revoke before they return; MADV_DONTNEED and holes in files only arouse a
 * suspicion, which is looked into a moment later.  With this flag LIVE means
 * that nothing of what happened before the call has taken the memory back: who
 * keeps registrations for later asks so before each use.
 */
#define VIRTGPU_USERPTR_INFO_VERIFY		0x0004

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
 * A file can have only so many events to come: with VIRTGPU_USERPTR_EVENT the
 * event is reserved here, in at most half of the file's room for events, and
 * ENOMEM is the answer when that is used up.
 *
 * Errors: EINVAL (size 0, alignment, unknown flag, padding), EFAULT (the range
 * is not memory that can be pinned with this access), E2BIG (more than the
 * device takes), ENOMEM or EPERM (RLIMIT_MEMLOCK, memory, room for events),
 * EOPNOTSUPP (this device, a flag that does not work here, DAX), ENODEV (device
 * gone), EINTR, and what the device's answer maps to: ENOSPC, ENOENT, EIO.
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
 * struct drm_virtgpu_userptr_info - look at a registration, or wait for its end
 * @bo_handle: in, handle of a userptr resource
 * @flags: in, at most one of VIRTGPU_USERPTR_INFO_*, or 0 just to look
 * @timeout_ns: in, when to stop waiting: CLOCK_MONOTONIC, absolute
 * @addr: out, address given at creation, in the process that created it
 * @size: out, bytes
 * @res_handle: out, its resource id
 * @create_flags: out, VIRTGPU_USERPTR_* given at creation
 * @state: out, VIRTGPU_USERPTR_STATE_*; what is not LIVE is not to be used
 * @nr_segments: out, physically contiguous pieces that the host was told of
 *
 * Errors: EINVAL (unknown flags, or the handle is no userptr resource), ENOENT
 * (no such handle), ETIME (what was waited for did not happen), EBUSY (with
 * VERIFY: it cannot be told at the moment), EINTR, EOPNOTSUPP (there are no
 * userptr resources here).
 */
struct drm_virtgpu_userptr_info {
	__u32 bo_handle;
	__u32 flags;
	__s64 timeout_ns;
	__u64 addr;
	__u64 size;
	__u32 res_handle;
	__u32 create_flags;
	__u32 state;
	__u32 nr_segments;
};

/**
 * struct drm_virtgpu_userptr_query - what can be registered here
 * @flags: in, must be 0
 * @create_flags: out, VIRTGPU_USERPTR_* that the create ioctl accepts in the
 *	context of this file; that is made first if there is none
 * @rdonly_capset_mask: out, bit n: in contexts of capset n
 *	VIRTGPU_USERPTR_RDONLY is accepted, and the host enforces it
 * @max_size: out, bytes of the largest registration
 * @max_segments: out, most physically contiguous pieces of one
 * @alignment: out, bytes; of address and size
 * @reserved: out, 0
 *
 * Errors: EINVAL (@flags), EOPNOTSUPP (there are no userptr resources here).
 */
struct drm_virtgpu_userptr_query {
	__u32 flags;
	__u32 create_flags;
	__u64 rdonly_capset_mask;
	__u64 max_size;
	__u32 max_segments;
	__u32 alignment;
	__u64 reserved[4];
};

/**
 * struct drm_virtgpu_event_userptr - a registration has become stale
 * @base: type VIRTGPU_EVENT_USERPTR_REVOKED
 * @bo_handle: the handle that the create ioctl returned to this file
 * @res_handle: its resource id
 *
 * Read from the file that created the registration with VIRTGPU_USERPTR_EVENT,
 * once; not if that handle was closed before.
 */
struct drm_virtgpu_event_userptr {
	struct drm_event base;
	__u32 bo_handle;
	__u32 res_handle;
};

#define DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VIRTGPU_RESOURCE_CREATE_USERPTR, \
		 struct drm_virtgpu_resource_create_userptr)

#define DRM_IOCTL_VIRTGPU_USERPTR_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VIRTGPU_USERPTR_INFO, \
		 struct drm_virtgpu_userptr_info)

#define DRM_IOCTL_VIRTGPU_USERPTR_QUERY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VIRTGPU_USERPTR_QUERY, \
		 struct drm_virtgpu_userptr_query)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_DRM_VIRTGPU_DRM_USERPTR_H */
