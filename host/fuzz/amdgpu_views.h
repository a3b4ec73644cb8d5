/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_views: guest memory as a renderer is given it, in place of memory/'s views
 *
 * Nothing is mapped, and no dma-buf is the kernel's: what there is of a view are its
 * numbers, which the played card knows.
 *
 * Threads: any may read; the count is the device's thread's.
 */
#ifndef AMDGPU_VIEWS_H
#define AMDGPU_VIEWS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/view.h"

/**
 * struct stitch_view - one that is a range of addresses
 * @base: first
 * @address: of it
 * @size: bytes
 * @readonly: nothing may write there
 * @objects: stitch_view_get() less stitch_view_put()
 */
struct stitch_view {
	struct memory_view base;
	uint64_t address;
	uint64_t size;
	bool readonly;
	unsigned int objects;
};

/**
 * struct udmabuf_view - or a dma-buf
 * @base: first
 * @fd: it
 */
struct udmabuf_view {
	struct memory_view base;
	int fd;
};

extern const struct memory_view_ops views_range_ops;
extern const struct memory_view_ops views_dmabuf_ops;

#endif /* AMDGPU_VIEWS_H */
