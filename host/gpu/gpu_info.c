// SPDX-License-Identifier: MIT
/*
 * gpu_info: what the guest can ask about the device
 *
 * Displays, of which there are none, the capsets of all renderers in one list,
 * and what userptr resources may be like.
 *
 * Threads: the ring thread only.
 */
#include <assert.h>
#include <endian.h>

#include "gpu/gpu_internal.h"
#include "gpu/userptr.h"
#include "memory/guest_memory.h"
#include "util/responses.h"

unsigned int gpu_nr_capsets(const struct gpu_device *dev)
{
	struct renderer_capset capset;
	unsigned int i, index, nr = 0;

	for (i = 0; i < dev->nr_renderers; i++)
		for (index = 0;
		     dev->renderers[i].ops->capset(dev->renderers[i].renderer, index, &capset);
		     index++)
			nr++;
	return nr;
}

int gpu_find_capset(const struct gpu_device *dev, unsigned int index, uint32_t id,
		    struct renderer_capset *out)
{
	unsigned int i, at, nr = 0;

	for (i = 0; i < dev->nr_renderers; i++) {
		const struct gpu_renderer_slot *slot = &dev->renderers[i];

		for (at = 0; slot->ops->capset(slot->renderer, at, out); at++, nr++)
			if (id ? out->id == id : nr == index)
				return (int)i;
	}
	return -1;
}

uint32_t gpu_handle_get_display_info(struct gpu_device *dev, struct gpu_command *cmd)
{
	(void)dev;
	/* No scanouts: every mode is disabled. */
	if (!gpu_command_resp(cmd, sizeof(struct virtio_gpu_resp_display_info)))
		return ERR_OUT_OF_MEMORY;
	return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

uint32_t gpu_handle_get_capset_info(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_get_capset_info *in = (const void *)cmd->data;
	struct virtio_gpu_resp_capset_info *resp;
	uint32_t index = le32toh(in->capset_index);
	struct renderer_capset capset;

	gpu_command_describe(cmd, "index %u", index);
	if (gpu_find_capset(dev, index, 0, &capset) < 0)
		return ERR_INVALID_PARAMETER;
	resp = gpu_command_resp(cmd, sizeof(*resp));
	if (!resp)
		return ERR_OUT_OF_MEMORY;
	resp->capset_id = htole32(capset.id);
	resp->capset_max_version = htole32(capset.version);
	resp->capset_max_size = htole32(capset.size);
	return VIRTIO_GPU_RESP_OK_CAPSET_INFO;
}

uint32_t gpu_handle_get_capset(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_get_capset *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->capset_id);
	uint32_t version = le32toh(in->capset_version);
	struct virtio_gpu_resp_capset *resp;
	struct renderer_capset capset;
	int renderer;

	gpu_command_describe(cmd, "capset %u version %u", id, version);
	renderer = id ? gpu_find_capset(dev, 0, id, &capset) : -1;
	if (renderer < 0 || version > capset.version)
		return ERR_INVALID_PARAMETER;
	assert(sizeof(*resp) + capset.size <= GPU_DEVICE_MAX_ANSWER);
	resp = gpu_command_resp(cmd, sizeof(*resp) + capset.size);
	if (!resp)
		return ERR_OUT_OF_MEMORY;
	dev->renderers[renderer].ops->capset_data(dev->renderers[renderer].renderer, id, version,
						  resp->capset_data);
	return VIRTIO_GPU_RESP_OK_CAPSET;
}

uint64_t gpu_rdonly_capset_mask(const struct gpu_device *dev)
{
	struct renderer_capset capset;
	unsigned int index, nr = gpu_nr_capsets(dev);
	uint64_t mask = 0;

	for (index = 0; index < nr; index++)
		if (gpu_find_capset(dev, index, 0, &capset) >= 0 && capset.rdonly && capset.id < 64)
			mask |= (uint64_t)1 << capset.id;
	return mask;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint32_t gpu_handle_get_userptr_info(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct gpu_limits *limits = &dev->config.limits;
	struct virtio_gpu_resp_userptr_info *resp;
	uint64_t size, segments;

	if (!userptr_padding_is_zero(&cmd->hdr))
		return ERR_INVALID_PARAMETER;
	/* Only now is it known what the guest's memory is; the driver does without then. */
	if (!gpu_views_usable(dev))
		return ERR_UNSUPPORTED;
	resp = gpu_command_resp(cmd, sizeof(*resp));
	if (!resp)
		return ERR_OUT_OF_MEMORY;
	/* More than all resources together may have would be an empty promise. */
	memory_quotas_refresh(&dev->quotas);
	segments = lesser(limits->max_segments, dev->quotas.runs.max);
	segments = lesser(segments, gpu_views_max_segments(dev));
	size = lesser(limits->max_userptr_bytes, dev->quotas.bytes.max);
	size = lesser(size, guest_memory_bytes(dev->gm));
	resp->max_entries = htole32(limits->max_entries);
	resp->max_segments = htole32((uint32_t)segments);
	resp->alignment = htole32(USERPTR_ALIGNMENT);
	resp->max_size = htole64(size & ~(uint64_t)(USERPTR_ALIGNMENT - 1));
	if (dev->config.userptr_rdonly) {
		resp->flags = htole32(VIRTIO_GPU_USERPTR_INFO_RDONLY);
		resp->rdonly_capset_mask = htole64(gpu_rdonly_capset_mask(dev));
	}
	return VIRTIO_GPU_RESP_OK_USERPTR_INFO;
}
