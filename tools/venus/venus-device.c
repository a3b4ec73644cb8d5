// SPDX-License-Identifier: MIT
/*
 * venus-device: what is behind the Vulkan driver, seen from the kernel
 *
 * See venus-device.h.  No state is kept.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "venus-device.h"

#define FIRST_NODE 128
#define LAST_NODE 191
/* GEM handles are small numbers, given out from 1 on. */
#define LAST_HANDLE 4096

/* Whether the descriptor's driver has userptr resources; no other driver does. */
static bool has_userptr(int fd)
{
	uint64_t value;

	return !vg_getparam(fd, VIRTGPU_PARAM_USERPTR, &value) && value;
}

/**
 * venus_node() - find the render node with userptr resources
 * @path: out
 * @len: bytes of @path
 *
 * Return: 0, or -ENODEV if there is none.
 */
int venus_node(char *path, size_t len)
{
	bool found;
	int nr, fd;

	for (nr = FIRST_NODE; nr <= LAST_NODE; nr++) {
		snprintf(path, len, "/dev/dri/renderD%d", nr);
		fd = vg_open_node(path);
		if (fd < 0)
			continue;
		found = has_userptr(fd);
		close(fd);
		if (found)
			return 0;
	}
	return -ENODEV;
}

/* Looks through the handles of one descriptor. */
static int find_in(int fd, const void *addr, uint64_t size, struct venus_registration *out)
{
	uint32_t handle;

	for (handle = 1; handle <= LAST_HANDLE; handle++) {
		if (vg_userptr_info(fd, handle, &out->info))
			continue;
		if (out->info.addr != (uintptr_t)addr || out->info.size != size)
			continue;
		out->fd = fd;
		out->handle = handle;
		return 0;
	}
	return -ENOENT;
}

/**
 * venus_find() - find the registration that was made for an import
 * @addr: first byte imported
 * @size: bytes imported
 * @out: out
 *
 * Return: 0, or -ENOENT if no descriptor of this process has it.
 */
int venus_find(const void *addr, uint64_t size, struct venus_registration *out)
{
	char path[64], target[PATH_MAX];
	struct dirent *entry;
	int ret = -ENOENT;
	ssize_t len;
	DIR *dir;

	dir = opendir("/proc/self/fd");
	if (!dir)
		return -errno;
	while (ret && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%.16s", entry->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = 0;
		if (!strncmp(target, "/dev/dri/renderD", strlen("/dev/dri/renderD")) &&
		    has_userptr(atoi(entry->d_name)))
			ret = find_in(atoi(entry->d_name), addr, size, out);
	}
	closedir(dir);
	return ret;
}
