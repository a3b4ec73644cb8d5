/* SPDX-License-Identifier: MIT */
/*
 * virtgpu_ioctl: the ioctls of userptr resources, one function each
 *
 * The one place that calls them, for the library and for the programs in
 * tools/.  Every function returns 0 or a negative errno, and repeats nothing:
 * the tests want to see EINTR.  No state is kept.
 */
#ifndef VIRTGPU_IOCTL_H
#define VIRTGPU_IOCTL_H

#include <stdint.h>

#include <drm/virtgpu_drm_userptr.h>

/**
 * struct vg_bo - a buffer object and its resource
 * @handle: GEM handle, 0 for none
 * @res: resource id
 */
struct vg_bo {
	uint32_t handle;
	uint32_t res;
};

uint64_t vg_now_us(void);
int vg_ioctl(int fd, unsigned long request, void *arg);
int vg_userptr_create(int fd, const void *addr, uint64_t size, uint32_t flags, struct vg_bo *bo);
int vg_userptr_info(int fd, uint32_t handle, struct drm_virtgpu_userptr_info *info);
int vg_userptr_wait(int fd, uint32_t handle, uint32_t wait, int timeout_ms);
int vg_userptr_verify(int fd, uint32_t handle, uint32_t *state);
int vg_userptr_query(int fd, struct drm_virtgpu_userptr_query *query);
int vg_bo_close(int fd, uint32_t handle);

#endif /* VIRTGPU_IOCTL_H */
