/* SPDX-License-Identifier: MIT */
/*
 * venus-device: what is behind the Vulkan driver, seen from the kernel
 *
 * The virtio-gpu device of this guest, and the registrations that the Vulkan
 * driver of this process has made with it: its descriptors are found in
 * /proc/self/fd.  Functions return 0 or a negative errno.
 */
#ifndef VENUS_DEVICE_H
#define VENUS_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "virtgpu.h"

/**
 * struct venus_registration - a userptr resource of this process
 * @fd: descriptor of the Vulkan driver, not to be closed
 * @handle: GEM handle in it
 * @info: what the kernel says of it
 */
struct venus_registration {
	int fd;
	uint32_t handle;
	struct drm_virtgpu_userptr_info info;
};

int venus_node(char *path, size_t len);
int venus_find(const void *addr, uint64_t size, struct venus_registration *out);

#endif /* VENUS_DEVICE_H */
