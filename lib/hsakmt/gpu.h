/* SPDX-License-Identifier: MIT */
/*
 * gpu: what this library needs of a GPU
 *
 * The library has the memory, and the books; a backend has the GPU: a context on a
 * render node whose commands make addresses for resources.  hsakmt_gpu_backend() says
 * which one it is.
 *
 * Locking: one call at a time.  None is made in a child of fork(): what is open there
 * is the parent's, and is left alone.
 */
#ifndef HSAKMT_GPU_H
#define HSAKMT_GPU_H

#include <stdbool.h>
#include <stdint.h>

/* Its functions are what this library shows. */
#pragma GCC visibility push(default)
#include <hsakmt/hsakmt.h>
#pragma GCC visibility pop

/* A backend's, for one open GPU. */
struct hsakmt_gpu;

/**
 * struct hsakmt_gpu_range - pages of a resource
 * @res_handle: resource id
 * @bo_handle: GEM handle of the node
 * @offset: of the first page in the resource
 * @size: bytes, whole pages
 * @rdonly: the GPU must not write
 * @execute: it fetches instructions
 */
struct hsakmt_gpu_range {
	uint32_t res_handle;
	uint32_t bo_handle;
	uint64_t offset;
	uint64_t size;
	bool rdonly;
	bool execute;
};

/**
 * struct hsakmt_gpu_ops - a backend
 * @open: open the GPU's node and make its context; 0 or a negative errno
 * @close: undo it, and everything that was mapped
 * @fd: the node, for libvirtgpu-userptr
 * @map: give a range an address, on a page; 0 or a negative errno
 * @unmap: take it back; the GPU cannot reach the range any more when it returns
 * @copy: between two addresses, and wait for it; 0 or a negative errno, -ECANCELED if
 *	the GPU could not do it; NULL if there is no such thing
 * @node_properties: of the GPU; all zero before
 * @nr_memory_banks: how many
 * @memory_properties: of one of them; all zero before
 */
struct hsakmt_gpu_ops {
	int (*open)(struct hsakmt_gpu **gpu);
	void (*close)(struct hsakmt_gpu *gpu);
	int (*fd)(struct hsakmt_gpu *gpu);
	int (*map)(struct hsakmt_gpu *gpu, const struct hsakmt_gpu_range *range, uint64_t *va);
	void (*unmap)(struct hsakmt_gpu *gpu, uint64_t va, uint64_t size);
	int (*copy)(struct hsakmt_gpu *gpu, uint64_t dst, uint64_t src, uint64_t size);
	void (*node_properties)(struct hsakmt_gpu *gpu, HsaNodeProperties *properties);
	unsigned int (*nr_memory_banks)(struct hsakmt_gpu *gpu);
	void (*memory_properties)(struct hsakmt_gpu *gpu, unsigned int bank,
				  HsaMemoryProperties *properties);
};

const struct hsakmt_gpu_ops *hsakmt_gpu_backend(void);

#endif /* HSAKMT_GPU_H */
