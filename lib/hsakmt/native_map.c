// SPDX-License-Identifier: MIT
/*
 * native_map: resources in the GPU's address space
 *
 * What could not be unmapped keeps its addresses, which are not used again.  Its memory
 * is safe all the same: a userptr resource is released by the device, and unpinned by
 * the kernel, only when the GPU does not reach it any more.
 *
 * Locking: as in native.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "native.h"

static struct native_mapping *to_mapping(struct interval_node *node)
{
	/* A mapping begins with its node. */
	return (struct native_mapping *)node;
}

static int va_op(struct hsakmt_gpu *gpu, const struct native_mapping *mapping, uint32_t op,
		 uint64_t flags)
{
	struct amdvgpu_bo_va_op cmd = {
		.req = { .cmd = AMDVGPU_BO_VA_OP, .len = sizeof(cmd) },
		.va = mapping->node.first,
		.size = mapping->size,
		.flags = flags,
		.offset = mapping->offset,
		.res_id = mapping->res,
		.op = op,
	};
	struct amdvgpu_rsp rsp;

	return native_call(gpu, NATIVE_RING_CPU, &cmd.req, &rsp, sizeof(rsp));
}

/**
 * native_map() - give a range an address
 * @gpu: on which
 * @range: it
 * @va: out: the address
 *
 * Return: 0 or a negative errno.
 */
int native_map(struct hsakmt_gpu *gpu, const struct hsakmt_gpu_range *range, uint64_t *va)
{
	struct native_mapping *mapping = calloc(1, sizeof(*mapping));
	uint64_t flags = AMDGPU_VM_PAGE_READABLE;
	int ret;

	if (!mapping)
		return -ENOMEM;
	if (!range->rdonly)
		flags |= AMDGPU_VM_PAGE_WRITEABLE;
	if (range->execute)
		flags |= AMDGPU_VM_PAGE_EXECUTABLE;
	mapping->size = range->size;
	mapping->res = range->res_handle;
	mapping->offset = range->offset;
	ret = native_va_alloc(&gpu->va, range->size, &mapping->node);
	if (ret) {
		free(mapping);
		return ret;
	}
	ret = va_op(gpu, mapping, AMDGPU_VA_OP_MAP, flags);
	/* One that may be there nevertheless keeps its address. */
	if (ret && !gpu->lost) {
		native_va_free(&gpu->va, &mapping->node);
		free(mapping);
	}
	if (!ret)
		*va = mapping->node.first;
	return ret;
}

/**
 * native_unmap() - take an address back
 * @gpu: on which
 * @va: as native_map() said
 * @size: of the range
 */
void native_unmap(struct hsakmt_gpu *gpu, uint64_t va, uint64_t size)
{
	struct interval_node *node = interval_first(&gpu->va.used, va, va);
	struct native_mapping *mapping = to_mapping(node);
	int ret;

	if (!node || node->first != va || mapping->size != size)
		return;
	ret = va_op(gpu, mapping, AMDGPU_VA_OP_UNMAP, 0);
	/* A resource that was revoked the device may have let go, with all its addresses. */
	if (ret && ret != -ENOENT)
		return;
	native_va_free(&gpu->va, &mapping->node);
	free(mapping);
}

/**
 * native_map_forget() - the context is being closed, and with it all addresses
 * @gpu: whose
 */
void native_map_forget(struct hsakmt_gpu *gpu)
{
	struct interval_node *node;

	while ((node = interval_first(&gpu->va.used, 0, UINT64_MAX))) {
		native_va_free(&gpu->va, node);
		free(to_mapping(node));
	}
}
