// SPDX-License-Identifier: MIT
/*
 * gpu_resource: what resources of all kinds share, and the commands of userptr ones
 *
 * Invariants: an id is in at most one of blobs and userptrs.  A resource that is
 * attached somewhere is usable, so what stops it ends all use of it next, before
 * it lets go of it.
 *
 * Threads: the ring thread only.
 */
#include <endian.h>

#include "gpu/gpu_internal.h"
#include "gpu/userptr.h"
#include "util/responses.h"

struct backing *gpu_find_backing(const struct gpu_device *dev, uint32_t id)
{
	struct gpu_blob *blob = id_table_find(&dev->blobs, id);
	struct userptr *userptr;

	if (blob)
		return blob->unref || blob->renderer >= 0 ? NULL : &blob->backing;
	userptr = userptr_find(dev->userptrs, id);
	if (!userptr || userptr_state(userptr) != USERPTR_USABLE)
		return NULL;
	return userptr_backing(userptr);
}

void gpu_backing_end_use(struct gpu_device *dev, struct backing *backing)
{
	unsigned int r;

	gpu_contexts_detach(dev, backing->id);
	for (r = 0; r < dev->nr_renderers; r++)
		dev->renderers[r].ops->quiesce(dev->renderers[r].renderer, backing);
}

/* ---- userptr resources ---- */

_Static_assert(LATER == USERPTR_LATER, "one is handed on as the other");

static bool blob_has_id(void *opaque, uint32_t id)
{
	struct gpu_device *dev = opaque;

	return id_table_find(&dev->blobs, id);
}

static void userptr_completed(void *opaque, void *cookie, uint32_t response)
{
	(void)opaque;
	gpu_command_executed(cookie, response);
}

static void userptr_destroyed(void *opaque, void *cookie)
{
	struct gpu_command *cmd = cookie;

	(void)opaque;
	cmd->destroyed = true;
	gpu_command_executed(cmd, OK);
}

struct userptr_core *gpu_userptrs_new(struct gpu_device *dev, const struct userptr_view_ops *view)
{
	const struct gpu_limits *from = &dev->config.limits;
	struct userptr_limits limits = {
		.max_size = from->max_userptr_bytes,
		.max_segments = from->max_segments,
		.max_entries = from->max_entries,
		.rdonly = dev->config.userptr_rdonly,
	};
	struct userptr_host host = {
		.opaque = dev,
		.id_in_use = blob_has_id,
		.completed = userptr_completed,
		.destroyed = userptr_destroyed,
		.view = view,
		.populate = dev->touches_memory,
		.quotas = &dev->quotas,
		.worker = dev->worker,
	};

	return userptr_core_new(&limits, &host, dev->gm);
}

uint32_t gpu_handle_create_userptr(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_create_userptr *in = (const void *)cmd->data;

	gpu_command_describe(cmd, "res %u flags 0x%x size %llu segments %u entries %u",
			     le32toh(in->resource_id), le32toh(in->flags),
			     (unsigned long long)le64toh(in->size), le32toh(in->nr_segments),
			     le32toh(in->nr_entries));
	return userptr_create(dev->userptrs, cmd->data, cmd->len, cmd);
}

uint32_t gpu_handle_add_userptr_pages(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_add_userptr_pages *in = (const void *)cmd->data;

	gpu_command_describe(cmd, "res %u offset %llu entries %u", le32toh(in->resource_id),
			     (unsigned long long)le64toh(in->offset), le32toh(in->nr_entries));
	return userptr_add_pages(dev->userptrs, cmd->data, cmd->len, cmd);
}

uint32_t gpu_handle_destroy_userptr(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_destroy_userptr *in = (const void *)cmd->data;
	struct userptr *userptr;
	uint32_t ret;

	gpu_command_describe(cmd, "res %u", le32toh(in->resource_id));
	ret = userptr_destroy_check(dev->userptrs, cmd->data, cmd->len, &userptr);
	if (ret != OK)
		return ret;
	userptr_destroy_begin(userptr, cmd);
	gpu_backing_end_use(dev, userptr_backing(userptr));
	userptr_destroy_end(userptr);
	return LATER;
}
