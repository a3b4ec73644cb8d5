// SPDX-License-Identifier: MIT
/*
 * backend: the GPU that this library is built for
 *
 * An amdgpu of the host, through its native context; see native.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "native.h"

/* The end of the file is the end of the context, and of all that was in it. */
static void backend_close(struct hsakmt_gpu *gpu)
{
	native_copy_close(gpu);
	native_map_forget(gpu);
	native_blob_destroy(gpu, &gpu->shmem);
	if (gpu->fd >= 0)
		close(gpu->fd);
	free(gpu);
}

static int backend_open(struct hsakmt_gpu **out)
{
	struct hsakmt_gpu *gpu = calloc(1, sizeof(*gpu));
	const struct drm_amdgpu_info_device *device;
	int ret;

	if (!gpu)
		return -ENOMEM;
	device = &gpu->info.device;
	ret = native_node_open(gpu);
	if (!ret)
		ret = native_stream_open(gpu);
	if (!ret)
		ret = native_info_query(gpu);
	if (!ret)
		ret = native_va_init(&gpu->va, device->virtual_address_offset,
				     device->virtual_address_max,
				     device->virtual_address_alignment);
	if (ret) {
		backend_close(gpu);
		return ret;
	}
	*out = gpu;
	return 0;
}

static int backend_fd(struct hsakmt_gpu *gpu)
{
	return gpu->fd;
}

static const struct hsakmt_gpu_ops native_ops = {
	.open = backend_open,
	.close = backend_close,
	.fd = backend_fd,
	.map = native_map,
	.unmap = native_unmap,
	.copy = native_copy,
	.node_properties = native_node_properties,
	.nr_memory_banks = native_nr_banks,
	.memory_properties = native_memory_properties,
};

/**
 * hsakmt_gpu_backend() - the GPU that this library is built for
 *
 * Return: how to use it.
 */
const struct hsakmt_gpu_ops *hsakmt_gpu_backend(void)
{
	return &native_ops;
}
