/* SPDX-License-Identifier: MIT */
/*
 * native_uapi: the driver's ioctls for contexts, their memory and their commands
 *
 * As Linux has had them since 5.16.  The copy of <virtgpu_drm.h> that libdrm brings is
 * older than that, and the kernel's own is not installed everywhere.
 */
#ifndef HSAKMT_NATIVE_UAPI_H
#define HSAKMT_NATIVE_UAPI_H

#include <stdint.h>

#include <drm.h>

/* vg_execbuffer.flags */
#define VG_EXECBUF_FENCE_FD_OUT 0x02
#define VG_EXECBUF_RING_IDX 0x04

/* vg_create_blob.blob_mem, .blob_flags */
#define VG_BLOB_MEM_HOST3D 2
#define VG_BLOB_USE_MAPPABLE 1

/* vg_context_param.param */
#define VG_CONTEXT_CAPSET_ID 1
#define VG_CONTEXT_NUM_RINGS 2

/**
 * struct vg_map_arg - drm_virtgpu_map
 * @offset: out, for mmap()
 * @handle: GEM handle
 * @pad: 0
 */
struct vg_map_arg {
	uint64_t offset;
	uint32_t handle;
	uint32_t pad;
};

/**
 * struct vg_execbuffer - drm_virtgpu_execbuffer
 * @flags: VG_EXECBUF_*
 * @size: bytes of @command
 * @command: pointer
 * @bo_handles: pointer
 * @num_bo_handles: how many
 * @fence_fd: out, sync file
 * @ring_idx: ring
 * @syncobj_stride: 0, as what follows
 * @num_in_syncobjs: see there
 * @num_out_syncobjs: see there
 * @in_syncobjs: see there
 * @out_syncobjs: see there
 */
struct vg_execbuffer {
	uint32_t flags;
	uint32_t size;
	uint64_t command;
	uint64_t bo_handles;
	uint32_t num_bo_handles;
	int32_t fence_fd;
	uint32_t ring_idx;
	uint32_t syncobj_stride;
	uint32_t num_in_syncobjs;
	uint32_t num_out_syncobjs;
	uint64_t in_syncobjs;
	uint64_t out_syncobjs;
};

/**
 * struct vg_getparam_arg - drm_virtgpu_getparam
 * @param: VIRTGPU_PARAM_*
 * @value: pointer to an int
 */
struct vg_getparam_arg {
	uint64_t param;
	uint64_t value;
};

/**
 * struct vg_get_caps - drm_virtgpu_get_caps
 * @id: of the capset
 * @version: of it
 * @addr: pointer
 * @size: bytes there
 * @pad: 0
 */
struct vg_get_caps {
	uint32_t id;
	uint32_t version;
	uint64_t addr;
	uint32_t size;
	uint32_t pad;
};

/**
 * struct vg_create_blob - drm_virtgpu_resource_create_blob
 * @blob_mem: VG_BLOB_MEM_*
 * @blob_flags: VG_BLOB_USE_*
 * @bo_handle: out, GEM handle
 * @res_handle: out, resource id
 * @size: bytes
 * @pad: 0
 * @cmd_size: bytes of @cmd
 * @cmd: pointer to commands for the context
 * @blob_id: of the context
 */
struct vg_create_blob {
	uint32_t blob_mem;
	uint32_t blob_flags;
	uint32_t bo_handle;
	uint32_t res_handle;
	uint64_t size;
	uint32_t pad;
	uint32_t cmd_size;
	uint64_t cmd;
	uint64_t blob_id;
};

/**
 * struct vg_context_param - drm_virtgpu_context_set_param
 * @param: VG_CONTEXT_*
 * @value: its
 */
struct vg_context_param {
	uint64_t param;
	uint64_t value;
};

/**
 * struct vg_context_init - drm_virtgpu_context_init
 * @num_params: how many
 * @pad: 0
 * @params: pointer to struct vg_context_param
 */
struct vg_context_init {
	uint32_t num_params;
	uint32_t pad;
	uint64_t params;
};

#define VG_IOCTL_MAP DRM_IOWR(DRM_COMMAND_BASE + 0x01, struct vg_map_arg)
#define VG_IOCTL_EXECBUFFER DRM_IOWR(DRM_COMMAND_BASE + 0x02, struct vg_execbuffer)
#define VG_IOCTL_GETPARAM DRM_IOWR(DRM_COMMAND_BASE + 0x03, struct vg_getparam_arg)
#define VG_IOCTL_GET_CAPS DRM_IOWR(DRM_COMMAND_BASE + 0x09, struct vg_get_caps)
#define VG_IOCTL_CREATE_BLOB DRM_IOWR(DRM_COMMAND_BASE + 0x0a, struct vg_create_blob)
#define VG_IOCTL_CONTEXT_INIT DRM_IOWR(DRM_COMMAND_BASE + 0x0b, struct vg_context_init)

#endif /* HSAKMT_NATIVE_UAPI_H */
