// SPDX-License-Identifier: MIT
/*
 * amd_node: the card, and what guests are told of it
 *
 * Its render node is found once, and opened again for each context, which makes each a
 * client of its own for the kernel: address spaces, buffers, amdgpu contexts and what
 * they cost are apart, and end with it.  The facts for the capset are those that
 * libdrm_amdgpu has for any program.
 *
 * Threads: any; nothing here changes after amd_node_find().
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <amdgpu.h>
#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/descriptors.h"
#include "util/log.h"

/* Where the kernel puts render nodes. */
#define FIRST_NODE 128
#define LAST_NODE 191
/* The version of what is on the wire. */
#define WIRE_FORMAT 2

/**
 * struct amd_capset - see the header
 * @wire_format: WIRE_FORMAT
 * @major: of the kernel's driver, as what follows
 * @minor: see @major
 * @patchlevel: see @major
 * @context_type: AMDVGPU_CONTEXT_TYPE
 * @pad: 0
 * @address32_hi: upper half of the addresses that are given in 32 bits
 * @pad2: 0
 * @alignments: of buffers
 * @info: the card
 * @name: that people know it by
 */
struct amd_capset {
	uint32_t wire_format;
	uint32_t major;
	uint32_t minor;
	uint32_t patchlevel;
	uint32_t context_type;
	uint32_t pad;
	uint32_t address32_hi;
	uint32_t pad2;
	struct amdgpu_buffer_size_alignments alignments;
	struct amdgpu_gpu_info info;
	char name[128];
};

/* The version of the amdgpu driver behind @fd, or false: it is another one. */
static bool is_amdgpu(int fd, struct amd_capset *capset)
{
	drmVersionPtr version = drmGetVersion(fd);
	bool yes;

	if (!version)
		return false;
	yes = !strcmp(version->name, "amdgpu");
	capset->major = (uint32_t)version->version_major;
	capset->minor = (uint32_t)version->version_minor;
	capset->patchlevel = (uint32_t)version->version_patchlevel;
	drmFreeVersion(version);
	return yes;
}

/* A descriptor of @path, or a negative errno; -ENODEV: not an amdgpu. */
static int open_amdgpu(const char *path, struct amd_capset *capset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (is_amdgpu(fd, capset))
		return fd;
	close(fd);
	return -ENODEV;
}

static int find_first(char *path, size_t size, struct amd_capset *capset)
{
	int fd, nr;

	for (nr = FIRST_NODE; nr <= LAST_NODE; nr++) {
		snprintf(path, size, "/dev/dri/renderD%d", nr);
		fd = open_amdgpu(path, capset);
		if (fd >= 0)
			return fd;
	}
	return -ENODEV;
}

static int read_facts(int fd, const char *path, struct amd_capset *capset)
{
	amdgpu_device_handle device;
	uint32_t major, minor;
	const char *name;
	int err;

	err = amdgpu_device_initialize2(fd, false, &major, &minor, &device);
	if (err) {
		log_error("%s: libdrm_amdgpu does not take it: %s", path, strerror(-err));
		return err;
	}
	err = amdgpu_query_gpu_info(device, &capset->info);
	if (!err)
		err = amdgpu_query_buffer_size_alignment(device, &capset->alignments);
	if (!err)
		err = amdgpu_query_sw_info(device, amdgpu_sw_info_address32_hi,
					   &capset->address32_hi);
	name = amdgpu_get_marketing_name(device);
	snprintf(capset->name, sizeof(capset->name), "%s", name ? name : "amdgpu");
	amdgpu_device_deinitialize(device);
	if (err)
		log_error("%s: what card it is cannot be found out: %s", path, strerror(-err));
	capset->wire_format = WIRE_FORMAT;
	capset->context_type = AMDVGPU_CONTEXT_TYPE;
	return err;
}

/* The kernel's figures; 0 or a negative errno. */
static int read_memory(int fd, struct drm_amdgpu_memory_info *memory)
{
	struct drm_amdgpu_info info = {
		.return_pointer = (uintptr_t)memory,
		.return_size = sizeof(*memory),
		.query = AMDGPU_INFO_MEMORY,
	};

	memset(memory, 0, sizeof(*memory));
	return drmCommandWrite(fd, DRM_AMDGPU_INFO, &info, sizeof(info));
}

static int fill_node(struct amd_node *node, int fd, const char *path, struct amd_capset *capset)
{
	struct drm_amdgpu_memory_info memory;
	int err;

	err = read_facts(fd, path, capset);
	if (err)
		return err;
	err = read_memory(fd, &memory);
	if (err) {
		log_error("%s: how much memory it has cannot be found out: %s", path,
			  strerror(-err));
		return err;
	}
	node->path = strdup(path);
	if (!node->path)
		return -ENOMEM;
	node->capset = capset;
	node->capset_size = sizeof(*capset);
	node->memory = memory.vram.total_heap_size + memory.gtt.total_heap_size;
	log_event("native contexts: %s, amdgpu %u.%u, %s, %" PRIu64 " MiB", path, capset->major,
		  capset->minor, capset->name, node->memory >> 20);
	return 0;
}

/**
 * amd_node_find() - the card that contexts are for
 * @path: of its render node; NULL: the first amdgpu
 * @node: what was found
 *
 * Return: 0 or a negative errno; what is wrong with @path was logged.
 */
int amd_node_find(const char *path, struct amd_node *node)
{
	struct amd_capset *capset = calloc(1, sizeof(*capset));
	char first[32];
	int fd, err;

	if (!capset)
		return -ENOMEM;
	fd = path ? open_amdgpu(path, capset) : find_first(first, sizeof(first), capset);
	err = fd < 0 ? fd : fill_node(node, fd, path ? path : first, capset);
	if (fd >= 0)
		close(fd);
	else if (path)
		log_error("--render-node '%s': %s", path,
			  err == -ENODEV ? "not an amdgpu's" : strerror(-err));
	if (err)
		free(capset);
	return err;
}

/**
 * amd_node_free() - forget it
 * @node: of amd_node_find()
 */
void amd_node_free(struct amd_node *node)
{
	free(node->capset);
	free(node->path);
}

/**
 * amd_node_open() - another client of the card
 * @node: it
 *
 * Return: a descriptor or a negative errno.
 */
int amd_node_open(const struct amd_node *node)
{
	struct amd_capset other;
	int fd = open_amdgpu(node->path, &other);

	if (fd < 0 || !descriptor_is_reserved(fd, DESCRIPTORS_FOR_CONTEXTS))
		return fd;
	close(fd);
	return -EMFILE;
}

static void heap_of(struct amdvgpu_heap *to, const struct drm_amdgpu_heap_info *from)
{
	*to = (struct amdvgpu_heap){
		.size = from->total_heap_size,
		.usage = from->heap_usage,
		.max_allocation = from->max_allocation,
	};
}

/**
 * amd_node_heaps() - what there is of memory, and what of it is in use
 * @fd: a client
 * @to: its heaps are set
 *
 * Return: false if it cannot be found out.
 */
bool amd_node_heaps(int fd, struct amdvgpu_shmem *to)
{
	struct drm_amdgpu_memory_info memory;

	if (read_memory(fd, &memory))
		return false;
	heap_of(&to->vram, &memory.vram);
	heap_of(&to->vis_vram, &memory.cpu_accessible_vram);
	heap_of(&to->gtt, &memory.gtt);
	return true;
}
