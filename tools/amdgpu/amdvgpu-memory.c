// SPDX-License-Identifier: MIT
/*
 * amdvgpu-memory: buffers, registered memory, and where the GPU sees them
 *
 * See amdvgpu.h.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "amdvgpu.h"

/**
 * avc_bo_map() - map a buffer into this process
 * @c: device
 * @bo: buffer; its @cpu is set
 *
 * Return: 0 or a negative errno.
 */
int avc_bo_map(struct avc *c, struct avc_bo *bo)
{
	int ret = vg_map(c->fd, bo->bo.handle, bo->size, &bo->cpu);

	bo->mapped = !ret;
	return ret;
}

/**
 * avc_bo_new() - make a buffer of the GPU
 * @c: device
 * @size: bytes, whole pages
 * @domain: AMDGPU_GEM_DOMAIN_VRAM or _GTT
 * @bo: out
 *
 * Return: 0 or a negative errno.
 */
int avc_bo_new(struct avc *c, uint64_t size, uint32_t domain, struct avc_bo *bo)
{
	struct amdvgpu_gem_new req = {
		.req.cmd = htole32(AMDVGPU_GEM_NEW),
		.req.len = htole32(sizeof(req)),
		.blob_id = htole64(++c->next_blob),
		.size = htole64(size),
		.alignment = htole64(4096),
		.domain = htole32(domain),
		.flags = htole64(AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED),
	};
	struct drm_virtgpu_resource_create_blob arg = {
		.blob_mem = VIRTGPU_BLOB_MEM_HOST3D,
		.blob_flags = VIRTGPU_BLOB_FLAG_USE_MAPPABLE,
		.size = size,
		.cmd_size = sizeof(req),
		.cmd = (uintptr_t)&req,
		.blob_id = c->next_blob,
	};
	int ret;

	memset(bo, 0, sizeof(*bo));
	req.req.seqno = htole32(++c->seqno);
	ret = vg_ioctl(c->fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB, &arg);
	if (ret)
		return ret;
	bo->bo.handle = arg.bo_handle;
	bo->bo.res = arg.res_handle;
	bo->size = size;
	return 0;
}

/**
 * avc_bo_make() - make a buffer that CPU and GPU can use
 * @c: device
 * @size: bytes, whole pages
 * @domain: AMDGPU_GEM_DOMAIN_VRAM or _GTT
 * @va: where the GPU is to see it
 * @bo: out
 *
 * Return: 0 or a negative errno.
 */
int avc_bo_make(struct avc *c, uint64_t size, uint32_t domain, uint64_t va, struct avc_bo *bo)
{
	int ret;

	ret = avc_bo_new(c, size, domain, bo);
	if (!ret)
		ret = avc_bo_map(c, bo);
	return ret ? ret : avc_va_map(c, bo, va, AVC_RW | AMDGPU_VM_PAGE_EXECUTABLE);
}

/**
 * avc_register() - make a resource of this process's memory
 * @c: device
 * @addr: first byte
 * @size: bytes
 * @flags: VIRTGPU_USERPTR_*
 * @bo: out
 *
 * Return: 0 or a negative errno.
 */
int avc_register(struct avc *c, void *addr, uint64_t size, uint32_t flags, struct avc_bo *bo)
{
	memset(bo, 0, sizeof(*bo));
	bo->size = size;
	bo->cpu = addr;
	return vg_userptr_create(c->fd, addr, size, flags, &bo->bo);
}

/**
 * avc_register_at() - the same, for the GPU to read and write
 * @c: device
 * @addr: first byte
 * @size: bytes
 * @va: where the GPU is to see it
 * @bo: out
 *
 * Return: 0 or a negative errno.
 */
int avc_register_at(struct avc *c, void *addr, uint64_t size, uint64_t va, struct avc_bo *bo)
{
	int ret;

	ret = avc_register(c, addr, size, 0, bo);
	return ret ? ret : avc_va_map(c, bo, va, AVC_RW);
}

/**
 * avc_bo_free() - unmap a buffer or registered memory for the GPU, and close it
 * @c: device
 * @bo: may be closed already; memory of the process stays
 *
 * Return: 0 or a negative errno.
 */
int avc_bo_free(struct avc *c, struct avc_bo *bo)
{
	int ret = 0, closed;

	if (!bo->bo.handle)
		return 0;
	if (bo->va)
		ret = avc_va_op(c, AMDGPU_VA_OP_UNMAP, bo->bo.res, 0, bo->va, bo->size, 0);
	if (bo->mapped)
		munmap(bo->cpu, bo->size);
	closed = vg_bo_close(c->fd, bo->bo.handle);
	memset(bo, 0, sizeof(*bo));
	return ret ? ret : closed;
}

/**
 * avc_va_op() - map or unmap for the GPU
 * @c: device
 * @op: AMDGPU_VA_OP_*
 * @res: resource
 * @offset: bytes into it
 * @va: address for the GPU
 * @size: bytes
 * @flags: AMDGPU_VM_*
 *
 * Return: 0 or a negative errno.
 */
int avc_va_op(struct avc *c, uint32_t op, uint32_t res, uint64_t offset, uint64_t va, uint64_t size,
	      uint64_t flags)
{
	struct amdvgpu_bo_va_op req = {
		.va = htole64(va),
		.size = htole64(size),
		.flags = htole64(flags),
		.offset = htole64(offset),
		.res_id = htole32(res),
		.op = htole32(op),
	};

	return avc_call(c, &req.req, AMDVGPU_BO_VA_OP, sizeof(req), NULL,
			sizeof(struct amdvgpu_rsp));
}

/**
 * avc_va_map() - map all of a buffer or of registered memory for the GPU
 * @c: device
 * @bo: what; its @va is set
 * @va: where
 * @flags: AMDGPU_VM_PAGE_*
 *
 * Return: 0 or a negative errno.
 */
int avc_va_map(struct avc *c, struct avc_bo *bo, uint64_t va, uint64_t flags)
{
	int ret;

	ret = avc_va_op(c, AMDGPU_VA_OP_MAP, bo->bo.res, 0, va, bo->size, flags);
	if (!ret)
		bo->va = va;
	return ret;
}
