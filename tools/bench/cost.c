// SPDX-License-Identifier: MIT
/*
 * Figures without a scale, for make bench-check: what a registration puts on the wire,
 * as the device counts it, and what the guest's kernel keeps for it
 *
 * Lines "NAME VALUE": not JSON, there are no samples.  Names are those of
 * tools/testing/bench/recorded.
 *
 * Invariant: no time is measured.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

/* As many as User-Mode Linux can map, one by one: its host has 65530 (vm.max_map_count). */
#define MANY 61440

/**
 * struct cost - of one registration
 * @segments: that the device was told of
 * @commands: of userptr resources, the end included
 * @bytes: of these
 * @allocations: of the kernel in the ioctl, that last
 */
struct cost {
	uint32_t segments;
	uint64_t commands;
	uint64_t bytes;
	struct bench_allocations allocations;
};

static struct loopback_stats stats_of(struct vg *vg)
{
	struct loopback_stats stats;
	int ret = vg_stats(vg, &stats);

	if (ret)
		bench_fail("statistics of the device", -ret);
	return stats;
}

static void register_once(struct vg *vg, const uint8_t *addr, size_t size, struct cost *cost,
			  struct vg_bo *bo)
{
	struct drm_virtgpu_userptr_info info = { 0 };
	struct loopback_stats before = stats_of(vg), after;
	int ret;

	bench_trace_start();
	bench_create(vg, addr, size, 0, bo);
	bench_trace_mark();
	/* With its answer all earlier ones have been dealt with. */
	after = stats_of(vg);
	bench_trace_stop(&cost->allocations);
	cost->commands = after.userptr_commands - before.userptr_commands;
	cost->bytes = after.userptr_ring_bytes - before.userptr_ring_bytes;
	info.bo_handle = bo->handle;
	ret = vg_userptr_info(vg->fd, bo->handle, &info);
	if (ret)
		bench_fail("DRM_VIRTGPU_USERPTR_INFO", -ret);
	cost->segments = info.nr_segments;
}

/* Scattered, so that there is a segment for each page. */
static void of_segments(struct vg *vg, unsigned int nr)
{
	struct bench_memory memory;
	struct cost cost;
	struct vg_bo bo;
	double segments;

	if (!bench_memory_make(&memory, BENCH_SCATTERED, nr * BENCH_PAGE))
		bench_fail("memory", ENOMEM);
	/* The first time something is made that stays. */
	register_once(vg, memory.addr, memory.size, &cost, &bo);
	vg_bo_close(vg->fd, bo.handle);
	bench_wait_unpinned();
	register_once(vg, memory.addr, memory.size, &cost, &bo);
	if (cost.segments < nr - nr / 10)
		bench_fail("the memory is not scattered", ERANGE);
	segments = cost.segments;
	printf("guest/wire-bytes/%u %.3f\n", nr, (double)cost.bytes / segments);
	printf("guest/commands-per-1024/%u %.4f\n", nr, (double)cost.commands * 1024 / segments);
	printf("guest/kernel-bytes/%u %.3f\n", nr, (double)cost.allocations.bytes / segments);
	printf("guest/allocations-per-1024/%u %.4f\n", nr,
	       (double)cost.allocations.nr * 1024 / segments);
	vg_bo_close(vg->fd, bo.handle);
	bench_wait_unpinned();
	bench_memory_free(&memory);
}

static void of_many(struct vg *vg, unsigned int nr)
{
	struct vg_bo *bos = calloc(nr, sizeof(*bos));
	struct bench_memory memory;
	struct cost cost;
	unsigned int i;

	if (!bos || !bench_memory_make(&memory, BENCH_NATURAL, nr * BENCH_PAGE))
		bench_fail("memory", ENOMEM);
	for (i = 0; i < nr; i++) {
		const uint8_t *addr = memory.addr + i * BENCH_PAGE;

		if (i + 1 != 10 && i + 1 != nr) {
			bench_create(vg, addr, BENCH_PAGE, 0, &bos[i]);
			continue;
		}
		register_once(vg, addr, BENCH_PAGE, &cost, &bos[i]);
		printf("guest/nth-wire-bytes/%u %llu\n", i + 1, (unsigned long long)cost.bytes);
		printf("guest/nth-commands/%u %llu\n", i + 1, (unsigned long long)cost.commands);
		printf("guest/nth-kernel-bytes/%u %llu\n", i + 1,
		       (unsigned long long)cost.allocations.bytes);
		printf("guest/nth-allocations/%u %llu\n", i + 1,
		       (unsigned long long)cost.allocations.nr);
	}
	for (i = 0; i < nr; i++)
		vg_bo_close(vg->fd, bos[i].handle);
	bench_wait_unpinned();
	bench_memory_free(&memory);
	free(bos);
}

/**
 * bench_cost() - everything of this file
 * @bench: the run
 */
void bench_cost(const struct bench *bench)
{
	struct vg vg;

	if (!bench_trace_allocations())
		bench_fail("the trace events of kmem", ENOENT);
	bench_open(&vg, bench);
	of_segments(&vg, 4096);
	if (!getenv("DBG"))
		of_segments(&vg, MANY);
	if (!getenv("DBG"))
		of_many(&vg, 10000);
	vg_close(&vg);
}
