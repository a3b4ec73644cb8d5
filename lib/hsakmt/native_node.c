// SPDX-License-Identifier: MIT
/*
 * native_node: which render node it is
 *
 * One of a virtio-gpu whose device has native contexts, of an amdgpu, and userptr
 * resources.  All of that is asked before the node has a context, as it can have one
 * only.
 *
 * Locking: as in native.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <drm/virtgpu_drm_userptr.h>

#include "native.h"
#include "native_uapi.h"

#define DRIVER "virtio_gpu"
/* Render nodes are these minors. */
#define FIRST_MINOR 128
#define NR_MINORS 64

/**
 * struct capset - the front of the capset for native contexts
 * @wire_format: version
 * @driver_version: of the host's kernel driver
 * @context_type: which driver that is
 * @pad: 0
 */
struct capset {
	uint32_t wire_format;
	uint32_t driver_version[3];
	uint32_t context_type;
	uint32_t pad;
};

static int check_driver(int fd)
{
	char name[sizeof(DRIVER)] = "";
	struct drm_version version = {
		.name_len = sizeof(name),
		.name = name,
	};
	int ret = native_ioctl(fd, DRM_IOCTL_VERSION, &version);

	if (ret)
		return ret;
	if (version.name_len != strlen(DRIVER) || memcmp(name, DRIVER, strlen(DRIVER)))
		return -ENODEV;
	return 0;
}

static int check_userptr(int fd)
{
	/* The kernel writes an int. */
	uint64_t value = 0;
	struct vg_getparam_arg arg = {
		.param = VIRTGPU_PARAM_USERPTR,
		.value = (uintptr_t)&value,
	};

	if (native_ioctl(fd, VG_IOCTL_GETPARAM, &arg) || !value)
		return -ENODEV;
	return 0;
}

static int check_capset(int fd)
{
	struct capset capset = { 0 };
	struct vg_get_caps arg = {
		.id = AMDVGPU_CAPSET_DRM,
		.addr = (uintptr_t)&capset,
		.size = sizeof(capset),
	};

	if (native_ioctl(fd, VG_IOCTL_GET_CAPS, &arg) ||
	    capset.context_type != AMDVGPU_CONTEXT_TYPE)
		return -ENODEV;
	return 0;
}

static int make_context(int fd)
{
	struct vg_context_param params[] = {
		{ .param = VG_CONTEXT_CAPSET_ID, .value = AMDVGPU_CAPSET_DRM },
		{ .param = VG_CONTEXT_NUM_RINGS, .value = AMDVGPU_MAX_RINGS },
	};
	struct vg_context_init arg = {
		.num_params = 2,
		.params = (uintptr_t)params,
	};

	return native_ioctl(fd, VG_IOCTL_CONTEXT_INIT, &arg);
}

static int try_node(struct hsakmt_gpu *gpu, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st) ? -errno : 0;
	if (!ret)
		ret = check_driver(fd);
	if (!ret)
		ret = check_userptr(fd);
	if (!ret)
		ret = check_capset(fd);
	if (!ret)
		ret = make_context(fd);
	if (ret) {
		close(fd);
		return ret;
	}
	gpu->fd = fd;
	gpu->minor = minor(st.st_rdev);
	return 0;
}

/**
 * native_node_open() - find the node, open it and make its context
 * @gpu: to be opened; its @fd is -1 if that fails
 *
 * Return: 0 or a negative errno; -ENODEV if there is no such GPU.
 */
int native_node_open(struct hsakmt_gpu *gpu)
{
	const char *chosen = secure_getenv(NATIVE_NODE_VARIABLE);
	int ret = -ENODEV, error;
	unsigned int i;
	char path[32];

	gpu->fd = -1;
	if (chosen)
		return try_node(gpu, chosen);
	for (i = FIRST_MINOR; i < FIRST_MINOR + NR_MINORS; i++) {
		snprintf(path, sizeof(path), "/dev/dri/renderD%u", i);
		error = try_node(gpu, path);
		if (!error)
			return 0;
		/* What is worth telling: it was the right one, or could not be opened. */
		if (error != -ENOENT && error != -ENODEV)
			ret = error;
	}
	return ret;
}
