// SPDX-License-Identifier: MIT
/*
 * gpu_blob: blobs, of the guest's memory and of renderers', and where they are seen
 *
 * Invariants: a blob of a renderer is destroyed there when it is attached nowhere
 * and the VMM has no mapping of it.  The answer to UNREF is given when the renderer
 * has forgotten it and nobody holds the guest's pages any more, and the id is in use
 * until then.  A blob that is still being made can be attached; what else is to be
 * done with it waits.
 *
 * Threads: the ring thread only.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "gpu/gpu_internal.h"
#include "gpu/host_visible.h"
#include "gpu/userptr.h"
#include "memory/guest_memory.h"
#include "util/responses.h"

struct gpu_blob *gpu_find_host_blob(const struct gpu_device *dev, uint32_t id)
{
	struct gpu_blob *blob = id_table_find(&dev->blobs, id);

	return blob && blob->renderer >= 0 && !blob->unref ? blob : NULL;
}

static void blob_free(struct gpu_blob *blob)
{
	userptr_drop_runs(blob->dev->userptrs, &blob->backing.runs);
	quota_uncharge(&blob->dev->quota_blobs, 1);
	free(blob);
}

/* The renderer's part of the blob goes; false: gpu_blob_destroyed() follows. */
static bool blob_destroy_host(struct gpu_blob *blob)
{
	const struct gpu_renderer_slot *slot = &blob->dev->renderers[blob->renderer];

	if (!slot->ops->blob_destroy(slot->renderer, blob->backing.id, blob))
		return false;
	blob->dev->nr_host_blobs--;
	return true;
}

/* The last steps of UNREF; the answer follows when nobody holds the memory. */
static void blob_end_pages(struct gpu_blob *blob)
{
	backing_stop(&blob->backing);
	gpu_backing_end_use(blob->dev, &blob->backing);
	backing_release(&blob->backing);
}

static void blob_end(struct gpu_blob *blob)
{
	if (blob->renderer < 0 || blob_destroy_host(blob))
		blob_end_pages(blob);
}

void gpu_blob_destroyed(void *opaque, void *cookie)
{
	struct gpu_device *dev = opaque;

	dev->nr_host_blobs--;
	blob_end_pages(cookie);
}

static void blob_idle(struct backing *backing)
{
	struct gpu_blob *blob = (struct gpu_blob *)backing;
	struct gpu_command *unref = blob->unref;

	id_table_remove(&blob->dev->blobs, backing->id);
	blob_free(blob);
	gpu_command_executed(unref, OK);
}

static uint32_t blob_add_entries(struct gpu_blob *blob, const unsigned char *entries, uint32_t nr)
{
	const struct gpu_limits *limits = &blob->dev->config.limits;
	uint64_t sum = 0, max = guest_memory_bytes(blob->dev->gm);
	uint32_t i, ret;

	for (i = 0; i < nr; i++) {
		struct userptr_entry entry = userptr_entry_at(entries, i);

		sum += entry.length;
		/* More than there is: the same again and again, to keep us busy. */
		if (!entry.length || sum > max)
			return ERR_INVALID_PARAMETER;
		ret = userptr_append_range(
			blob->dev->userptrs, &blob->backing.runs, entry.addr, entry.length,
			(uint64_t)limits->max_entries * GUEST_MEMORY_MAX_REGIONS);
		if (ret != OK)
			return ret;
	}
	if (sum < blob->backing.size)
		return ERR_INVALID_PARAMETER;
	userptr_trim_runs(blob->dev->userptrs, &blob->backing.runs);
	return OK;
}

static uint32_t check_blob(const struct gpu_device *dev, const struct gpu_command *cmd,
			   const struct virtio_gpu_resource_create_blob *in)
{
	uint32_t id = le32toh(in->resource_id);
	uint32_t mem = le32toh(in->blob_mem);
	uint32_t nr = le32toh(in->nr_entries);
	uint32_t known = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE | VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE |
			 VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE;

	if (!id || id_table_find(&dev->blobs, id) || userptr_find(dev->userptrs, id))
		return ERR_INVALID_RESOURCE_ID;
	/* Without pages of the guest's there must be no entries, with them some. */
	if (mem < VIRTIO_GPU_BLOB_MEM_GUEST || mem > VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST ||
	    le32toh(in->blob_flags) & ~known || !in->size ||
	    (mem == VIRTIO_GPU_BLOB_MEM_HOST3D) != !nr || nr > dev->config.limits.max_entries ||
	    cmd->len - sizeof(*in) != (uint64_t)nr * sizeof(struct virtio_gpu_mem_entry))
		return ERR_INVALID_PARAMETER;
	return OK;
}

/*
 * Which renderer makes the memory of a blob: the context's, or, if the guest
 * names none, the first that can.  OK and its index, or an error.
 */
static uint32_t find_blob_renderer(const struct gpu_device *dev, uint32_t ctx_id,
				   struct gpu_context **context, int *renderer)
{
	int r;

	*context = NULL;
	if (ctx_id) {
		*context = gpu_find_context(dev, ctx_id);
		if (!*context)
			return ERR_INVALID_CONTEXT_ID;
	}
	for (r = 0; r < (int)dev->nr_renderers; r++) {
		if (dev->renderers[r].ops->blob_create &&
		    (!*context || (*context)->renderer == r)) {
			*renderer = r;
			return OK;
		}
	}
	return ERR_INVALID_PARAMETER;
}

/* It may be gone when this returns LATER. */
static uint32_t blob_create_host(struct gpu_device *dev, struct gpu_blob *blob,
				 struct gpu_command *cmd, uint64_t blob_id)
{
	struct renderer_blob what = {
		.id = blob->backing.id,
		.mem = blob->mem,
		.flags = blob->flags,
		.blob_id = blob_id,
		.size = blob->backing.size,
		.guest = blob->mem == VIRTIO_GPU_BLOB_MEM_HOST3D ? NULL : &blob->backing,
	};
	const struct gpu_renderer_slot *slot;
	struct gpu_context *context;
	int renderer;
	uint32_t ret;

	ret = find_blob_renderer(dev, le32toh(cmd->hdr.ctx_id), &context, &renderer);
	if (ret != OK)
		return ret;
	slot = &dev->renderers[renderer];
	blob->renderer = renderer;
	blob->create = cmd;
	dev->nr_host_blobs++;
	ret = slot->ops->blob_create(slot->renderer, context ? context->base : NULL, &what, blob);
	if (!ret)
		return LATER;
	blob->create = NULL;
	dev->nr_host_blobs--;
	return ret;
}

static struct gpu_blob *blob_new(struct gpu_device *dev,
				 const struct virtio_gpu_resource_create_blob *in)
{
	struct gpu_blob *blob = calloc(1, sizeof(*blob));

	if (!blob)
		return NULL;
	blob->dev = dev;
	blob->mem = le32toh(in->blob_mem);
	blob->flags = le32toh(in->blob_flags);
	blob->renderer = -1;
	blob->backing.id = le32toh(in->resource_id);
	blob->backing.size = le64toh(in->size);
	blob->backing.idle = blob_idle;
	run_list_init(&blob->backing.runs);
	return blob;
}

uint32_t gpu_handle_create_blob(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_create_blob *in = (const void *)cmd->data;
	struct gpu_blob *blob;
	uint32_t ret;

	gpu_command_describe(cmd, "res %u mem %u flags 0x%x blob %llu size %llu entries %u",
			     le32toh(in->resource_id), le32toh(in->blob_mem),
			     le32toh(in->blob_flags), (unsigned long long)le64toh(in->blob_id),
			     (unsigned long long)le64toh(in->size), le32toh(in->nr_entries));
	ret = check_blob(dev, cmd, in);
	if (ret != OK)
		return ret;
	if (!quota_charge(&dev->quota_blobs, 1))
		return ERR_LIMIT;
	blob = blob_new(dev, in);
	if (!blob) {
		quota_uncharge(&dev->quota_blobs, 1);
		return ERR_OUT_OF_MEMORY;
	}
	if (id_table_insert(&dev->blobs, blob->backing.id, blob)) {
		blob_free(blob);
		return ERR_OUT_OF_MEMORY;
	}
	if (blob->mem != VIRTIO_GPU_BLOB_MEM_HOST3D)
		ret = blob_add_entries(blob, cmd->data + sizeof(*in), le32toh(in->nr_entries));
	if (ret == OK && blob->mem != VIRTIO_GPU_BLOB_MEM_GUEST)
		ret = blob_create_host(dev, blob, cmd, le64toh(in->blob_id));
	if (ret != OK && ret != LATER) {
		id_table_remove(&dev->blobs, blob->backing.id);
		blob_free(blob);
	}
	return ret;
}

uint32_t gpu_handle_unref(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_unref *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->resource_id);
	struct gpu_blob *blob = id_table_find(&dev->blobs, id);

	gpu_command_describe(cmd, "res %u", id);
	if (!blob)
		return ERR_INVALID_RESOURCE_ID;
	if (blob->unref)
		return ERR_INVALID_PARAMETER; /* being unreferenced, and not unknown yet */
	/*
	 * If it is still being made that may be what its renderer waits for, so that
	 * it is made, or has failed and is gone, when this returns.
	 */
	gpu_contexts_detach(dev, id);
	if (id_table_find(&dev->blobs, id) != blob)
		return ERR_INVALID_RESOURCE_ID;
	blob->unref = cmd;
	if (blob->map)
		gpu_command_executed(blob->map, ERR_INVALID_RESOURCE_ID);
	blob->map = NULL;
	if (blob->create)
		return LATER;
	if (blob->mapping) {
		host_visible_unmap(dev->visible, blob->mapping, NULL);
		blob->mapping = NULL;
	}
	/* The last mapping that goes takes the blob with it. */
	if (blob->nr_mappings)
		host_visible_run(dev->visible);
	else
		blob_end(blob);
	return LATER;
}

void gpu_blobs_drop(struct gpu_device *dev)
{
	size_t i;

	for (i = 0; i < dev->blobs.size; i++) {
		struct gpu_blob *blob = id_table_at(&dev->blobs, i);

		if (blob && blob->renderer >= 0)
			blob_destroy_host(blob);
		if (blob)
			blob_free(blob);
	}
	id_table_destroy(&dev->blobs);
}

/* ---- the host-visible region ---- */

static uint32_t map_error(int err)
{
	switch (err) {
	case 0:
		return OK;
	case -ENOMEM:
	case -ENOSPC:
	case -EMFILE:
		return ERR_OUT_OF_MEMORY;
	case -EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	case -EINVAL:
	case -ENXIO:
		return ERR_INVALID_PARAMETER;
	default:
		return ERR_UNSPEC;
	}
}

/* See struct host_visible_host for these three. */
static int visible_get(void *opaque, void *owner, struct renderer_mapping *out)
{
	struct gpu_device *dev = opaque;
	const struct gpu_blob *blob = owner;
	const struct gpu_renderer_slot *slot = &dev->renderers[blob->renderer];

	return slot->ops->blob_export(slot->renderer, blob->backing.id, out);
}

static void blob_mapping_is_over(struct gpu_blob *blob)
{
	if (!--blob->nr_mappings && blob->unref)
		blob_end(blob);
}

static void visible_mapped(void *opaque, void *owner, struct mapping *mapping, void *cookie,
			   int err, uint32_t cache)
{
	struct gpu_command *cmd = cookie;
	struct virtio_gpu_resp_map_info *resp;
	struct gpu_blob *blob = owner;
	uint32_t response = VIRTIO_GPU_RESP_OK_MAP_INFO;

	(void)opaque;
	if (err) {
		response = map_error(err);
	} else {
		/* It was made for this when the command came. */
		resp = (struct virtio_gpu_resp_map_info *)cmd->resp;
		resp->map_info = htole32(cache & VIRTIO_GPU_MAP_CACHE_MASK);
	}
	gpu_command_executed(cmd, response);
	if (err && blob->mapping == mapping) {
		blob->mapping = NULL;
		blob_mapping_is_over(blob);
	}
}

static void visible_unmapped(void *opaque, void *owner, void *cookie, int err)
{
	struct gpu_blob *blob = owner;

	(void)opaque;
	/* NULL: it was not the guest that asked for it, but its UNREF. */
	if (cookie)
		gpu_command_executed(cookie, map_error(err));
	blob_mapping_is_over(blob);
}

struct host_visible *gpu_visible_new(struct gpu_device *dev)
{
	struct host_visible_host host = {
		.opaque = dev,
		.get = visible_get,
		.mapped = visible_mapped,
		.unmapped = visible_unmapped,
	};

	return host_visible_new(dev->config.host_visible, &host, &dev->transport);
}

static uint32_t blob_map(struct gpu_blob *blob, struct gpu_command *cmd, uint64_t offset)
{
	struct host_visible *visible = blob->dev->visible;
	int err = host_visible_map(visible, blob, offset, blob->backing.size, cmd, &blob->mapping);

	if (err)
		return map_error(err);
	blob->nr_mappings++;
	host_visible_run(visible);
	return LATER;
}

uint32_t gpu_handle_map_blob(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_map_blob *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->resource_id);
	struct gpu_blob *blob = gpu_find_host_blob(dev, id);
	uint64_t offset = le64toh(in->offset);

	gpu_command_describe(cmd, "res %u offset %llu", id, (unsigned long long)offset);
	/* Guest memory is the guest's already: it cannot be mapped. */
	if (!blob)
		return gpu_find_backing(dev, id) ? ERR_INVALID_PARAMETER : ERR_INVALID_RESOURCE_ID;
	if (!(blob->flags & VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE) || blob->mapping || blob->map)
		return ERR_INVALID_PARAMETER;
	if (!gpu_command_resp(cmd, sizeof(struct virtio_gpu_resp_map_info)))
		return ERR_OUT_OF_MEMORY;
	if (!blob->create)
		return blob_map(blob, cmd, offset);
	blob->map = cmd;
	blob->map_offset = offset;
	return LATER;
}

/* It could not be made: as if it had never been there, for all that came meanwhile. */
static void blob_not_made(struct gpu_blob *blob, struct gpu_command *create, uint32_t response)
{
	struct gpu_device *dev = blob->dev;
	struct gpu_command *unref = blob->unref, *map = blob->map;

	gpu_contexts_detach(dev, blob->backing.id);
	dev->nr_host_blobs--;
	id_table_remove(&dev->blobs, blob->backing.id);
	blob_free(blob);
	gpu_command_executed(create, response);
	if (map)
		gpu_command_executed(map, ERR_INVALID_RESOURCE_ID);
	if (unref)
		gpu_command_executed(unref, ERR_INVALID_RESOURCE_ID);
}

void gpu_blob_created(void *opaque, void *cookie, uint32_t response)
{
	struct gpu_blob *blob = cookie;
	struct gpu_command *create = blob->create, *map = blob->map;
	uint32_t ret;

	(void)opaque;
	blob->create = NULL;
	if (response != OK) {
		blob_not_made(blob, create, response);
		return;
	}
	gpu_command_executed(create, OK);
	blob->map = NULL;
	if (blob->unref) {
		blob_end(blob);
	} else if (map) {
		ret = blob_map(blob, map, blob->map_offset);
		if (ret != LATER)
			gpu_command_executed(map, ret);
	}
}

uint32_t gpu_handle_unmap_blob(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_resource_unmap_blob *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->resource_id);
	struct gpu_blob *blob = gpu_find_host_blob(dev, id);

	gpu_command_describe(cmd, "res %u", id);
	if (!blob)
		return gpu_find_backing(dev, id) ? ERR_INVALID_PARAMETER : ERR_INVALID_RESOURCE_ID;
	if (!blob->mapping)
		return ERR_INVALID_PARAMETER;
	host_visible_unmap(dev->visible, blob->mapping, cmd);
	blob->mapping = NULL;
	host_visible_run(dev->visible);
	return LATER;
}
