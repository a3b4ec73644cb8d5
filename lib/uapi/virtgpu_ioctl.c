// SPDX-License-Identifier: MIT
/*
 * virtgpu_ioctl: the ioctls of userptr resources, one function each
 *
 * See virtgpu_ioctl.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "virtgpu_ioctl.h"

/**
 * vg_now_us() - monotonic time
 *
 * Return: microseconds.
 */
uint64_t vg_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/**
 * vg_ioctl() - ioctl without libdrm's silent restart
 * @fd: render node
 * @request: request
 * @arg: its argument
 *
 * A caller that tests signals must see EINTR, so nothing is repeated here.
 *
 * Return: 0 or a negative errno.
 */
int vg_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

/**
 * vg_userptr_create() - register memory
 * @fd: render node
 * @addr: first byte
 * @size: bytes
 * @flags: VIRTGPU_USERPTR_*
 * @bo: out
 *
 * Return: 0 or a negative errno.
 */
int vg_userptr_create(int fd, const void *addr, uint64_t size, uint32_t flags, struct vg_bo *bo)
{
	struct drm_virtgpu_resource_create_userptr arg = {
		.addr = (uintptr_t)addr,
		.size = size,
		.flags = flags,
	};
	int ret;

	ret = vg_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR, &arg);
	if (ret)
		return ret;
	bo->handle = arg.bo_handle;
	bo->res = arg.res_handle;
	return 0;
}

/**
 * vg_userptr_info() - look at a registration
 * @fd: render node
 * @handle: GEM handle
 * @info: out
 *
 * Return: 0 or a negative errno.
 */
int vg_userptr_info(int fd, uint32_t handle, struct drm_virtgpu_userptr_info *info)
{
	memset(info, 0, sizeof(*info));
	info->bo_handle = handle;
	return vg_ioctl(fd, DRM_IOCTL_VIRTGPU_USERPTR_INFO, info);
}

/**
 * vg_userptr_wait() - wait for the end of a registration
 * @fd: render node
 * @handle: GEM handle
 * @wait: VIRTGPU_USERPTR_INFO_WAIT_*
 * @timeout_ms: how long, 0 not at all
 *
 * Return: 0 or a negative errno; -ETIME if it did not come about.
 */
int vg_userptr_wait(int fd, uint32_t handle, uint32_t wait, int timeout_ms)
{
	struct drm_virtgpu_userptr_info info = {
		.bo_handle = handle,
		.flags = wait,
	};

	if (timeout_ms)
		info.timeout_ns = (vg_now_us() + timeout_ms * 1000ll) * 1000;
	return vg_ioctl(fd, DRM_IOCTL_VIRTGPU_USERPTR_INFO, &info);
}

/**
 * vg_userptr_verify() - is a registration still its owner's memory?
 * @fd: render node
 * @handle: GEM handle
 * @state: out, VIRTGPU_USERPTR_STATE_*
 *
 * Return: 0 or a negative errno; -EBUSY if that cannot be told, -EINVAL if the kernel
 * does not know the question.
 */
int vg_userptr_verify(int fd, uint32_t handle, uint32_t *state)
{
	struct drm_virtgpu_userptr_info info = {
		.bo_handle = handle,
		.flags = VIRTGPU_USERPTR_INFO_VERIFY,
	};
	int ret = vg_ioctl(fd, DRM_IOCTL_VIRTGPU_USERPTR_INFO, &info);

	if (!ret)
		*state = info.state;
	return ret;
}

/**
 * vg_userptr_query() - what can be registered in this descriptor's context
 * @fd: render node
 * @query: out
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP if nothing can.
 */
int vg_userptr_query(int fd, struct drm_virtgpu_userptr_query *query)
{
	memset(query, 0, sizeof(*query));
	return vg_ioctl(fd, DRM_IOCTL_VIRTGPU_USERPTR_QUERY, query);
}

/**
 * vg_bo_close() - close a GEM handle
 * @fd: render node
 * @handle: the handle
 *
 * Return: 0 or a negative errno.
 */
int vg_bo_close(int fd, uint32_t handle)
{
	struct drm_gem_close arg = { .handle = handle };

	return vg_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &arg);
}
