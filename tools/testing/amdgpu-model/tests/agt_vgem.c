// SPDX-License-Identifier: MIT
/* Buffers and fences of vgem, a driver that has neither hardware nor anything to do with ours. */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <drm_mode.h>
#include <vgem_drm.h>

static int open_vgem(void)
{
	char path[64], name[16];
	int nr, fd;

	for (nr = 0; nr < 8; nr++) {
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

		snprintf(path, sizeof(path), "/dev/dri/card%d", nr);
		memset(name, 0, sizeof(name));
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!agt_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem"))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

/* A buffer of @size bytes, as a dma-buf. */
int agt_vgem_create(struct agt_vgem *v, uint32_t size)
{
	struct drm_mode_create_dumb dumb = { .width = size / 4, .height = 1, .bpp = 32 };
	struct drm_prime_handle prime = { .flags = DRM_CLOEXEC | DRM_RDWR };
	int ret;

	v->fd = open_vgem();
	if (v->fd < 0)
		return v->fd;
	ret = agt_ioctl(v->fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb);
	v->handle = prime.handle = dumb.handle;
	if (!ret)
		ret = agt_ioctl(v->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);
	v->dmabuf = prime.fd;
	return ret;
}

/* The buffer is being written to; without agt_vgem_signal_fence() for ten seconds. */
int agt_vgem_attach_fence(struct agt_vgem *v)
{
	struct drm_vgem_fence_attach attach = { .handle = v->handle, .flags = VGEM_FENCE_WRITE };
	int ret = agt_ioctl(v->fd, DRM_IOCTL_VGEM_FENCE_ATTACH, &attach);

	v->fence = attach.out_fence;
	return ret;
}

int agt_vgem_signal_fence(struct agt_vgem *v)
{
	struct drm_vgem_fence_signal args = { .fence = v->fence };

	return agt_ioctl(v->fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, &args);
}
