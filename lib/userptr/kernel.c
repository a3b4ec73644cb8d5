// SPDX-License-Identifier: MIT
/*
 * kernel: struct userptr_ops on the real driver
 *
 * No state is kept.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "memlock.h"
#include "ops.h"

/* The flag is looked at before the handle, and 0 is none. */
static bool kernel_can_verify(int fd)
{
	uint32_t state;

	return vg_userptr_verify(fd, 0, &state) == -ENOENT;
}

static int kernel_create(int fd, uint64_t addr, uint64_t size, uint32_t flags, struct vg_bo *bo)
{
	int ret;

	do {
		ret = vg_userptr_create(fd, (const void *)(uintptr_t)addr, size, flags, bo);
	} while (ret == -EINTR);
	return ret;
}

static int kernel_state(int fd, uint32_t handle, bool verify, uint32_t *state)
{
	struct drm_virtgpu_userptr_info info;
	int ret;

	if (verify)
		return vg_userptr_verify(fd, handle, state);
	ret = vg_userptr_info(fd, handle, &info);
	if (!ret)
		*state = info.state;
	return ret;
}

static ssize_t kernel_read_events(int fd, void *buffer, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t got;

	/* The file may be a blocking one. */
	if (poll(&pfd, 1, 0) <= 0 || !(pfd.revents & POLLIN))
		return 0;
	got = read(fd, buffer, size);
	if (got >= 0)
		return got;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

const struct userptr_ops userptr_kernel_ops = {
	.query = vg_userptr_query,
	.can_verify = kernel_can_verify,
	.create = kernel_create,
	.state = kernel_state,
	.close = vg_bo_close,
	.read_events = kernel_read_events,
	.memlock = memlock_limit,
};
