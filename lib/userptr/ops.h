/* SPDX-License-Identifier: MIT */
/*
 * ops: what the library asks of the system
 *
 * A seam for the unit tests, which bring a stand-in; there is one real
 * implementation, in kernel.c.
 */
#ifndef USERPTR_OPS_H
#define USERPTR_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "virtgpu_ioctl.h"

/**
 * struct userptr_ops - what the library asks of the system
 * @query: what can be registered; fills the struct
 * @can_verify: does @state with @verify work?
 * @create: register whole pages, VIRTGPU_USERPTR_* of the uapi; repeats what a
 *	signal interrupted
 * @state: VIRTGPU_USERPTR_STATE_* of a handle; with @verify after a look at what
 *	is suspected, -EBUSY if that does not tell
 * @close: close a handle
 * @read_events: events that are there, 0 bytes if there are none; does not wait
 * @memlock: bytes that the process may lock
 */
struct userptr_ops {
	int (*query)(int fd, struct drm_virtgpu_userptr_query *query);
	bool (*can_verify)(int fd);
	int (*create)(int fd, uint64_t addr, uint64_t size, uint32_t flags, struct vg_bo *bo);
	int (*state)(int fd, uint32_t handle, bool verify, uint32_t *state);
	int (*close)(int fd, uint32_t handle);
	ssize_t (*read_events)(int fd, void *buffer, size_t size);
	uint64_t (*memlock)(void);
};

extern const struct userptr_ops userptr_kernel_ops;

#endif /* USERPTR_OPS_H */
