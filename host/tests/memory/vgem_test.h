/* SPDX-License-Identifier: MIT */
/*
 * vgem_test: the DRM render node that is only memory, for tests
 */
#ifndef VGEM_TEST_H
#define VGEM_TEST_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* From the DRM's interface, which not every machine has headers of. */
struct drm_version_arg {
	int version[3];
	size_t name_len;
	char *name;
	size_t date_len;
	char *date;
	size_t desc_len;
	char *desc;
};

struct prime_arg {
	uint32_t handle;
	uint32_t flags;
	int32_t fd;
};

struct close_arg {
	uint32_t handle;
	uint32_t pad;
};

struct fence_attach_arg {
	uint32_t handle;
	uint32_t flags;
	uint32_t out_fence;
	uint32_t pad;
};

struct fence_signal_arg {
	uint32_t fence;
	uint32_t flags;
};

#define DRM_VERSION _IOWR('d', 0x00, struct drm_version_arg)
#define DRM_GEM_CLOSE _IOW('d', 0x09, struct close_arg)
#define DRM_PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct prime_arg)
#define VGEM_FENCE_ATTACH _IOWR('d', 0x41, struct fence_attach_arg)
#define VGEM_FENCE_SIGNAL _IOW('d', 0x42, struct fence_signal_arg)
#define VGEM_FENCE_WRITE 1

static inline int open_vgem(void)
{
	char path[32], name[16];
	int i, fd;

	for (i = 128; i < 136; i++) {
		struct drm_version_arg version = { .name = name, .name_len = sizeof(name) };

		snprintf(path, sizeof(path), "/dev/dri/renderD%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_VERSION, &version) && version.name_len == 4 &&
		    !memcmp(name, "vgem", 4))
			return fd;
		close(fd);
	}
	print_message("SKIP: no vgem render node\n");
	skip();
	return -1;
}

#endif /* VGEM_TEST_H */
