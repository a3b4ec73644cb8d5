// SPDX-License-Identifier: MIT
/*
 * memory_limits: see memory_limits.h
 */
#include "memory/memory_limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "memory/page_uses.h"

#define GUEST_PAGE UINT64_C(4096)
#define MIN_RESOURCES 1024
#define MAX_RESOURCES 65536
#define RAM_OF_A_RESOURCE (UINT64_C(64) << 10)
#define MAX_RUNS 16777216
#define MAX_MAP_COUNT "/proc/sys/vm/max_map_count"
/* Linux's, if it does not tell. */
#define DEFAULT_MAX_MAP_COUNT 65530
/* udmabuf has two arrays with a pointer for each page of the host. */
#define KERNEL_PAGE_COST 16
/* And a file, an inode, a dma_buf and itself; measured, rounded up. */
#define KERNEL_DMABUF_COST 2048

/* @a * @b, or the most that there is. */
static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t between(uint64_t value, uint64_t min, uint64_t max)
{
	return value < min ? min : value > max ? max : value;
}

static uint64_t page_cost(uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return times(bytes / page + !!(bytes % page), KERNEL_PAGE_COST);
}

/**
 * memory_limits_kernel_cost() - what a dma-buf costs the host's kernel
 * @bytes: its size
 *
 * Return: that many bytes.
 */
uint64_t memory_limits_kernel_cost(uint64_t bytes)
{
	return plus(page_cost(bytes), KERNEL_DMABUF_COST);
}

/**
 * memory_limits_max_mappings() - how many mappings a process may have
 *
 * Return: what the running kernel says.
 */
uint64_t memory_limits_max_mappings(void)
{
	uint64_t max = DEFAULT_MAX_MAP_COUNT;
	FILE *file = fopen(MAX_MAP_COUNT, "re");

	if (!file)
		return max;
	if (fscanf(file, "%" SCNu64, &max) != 1)
		max = DEFAULT_MAX_MAP_COUNT;
	fclose(file);
	return max;
}

/* What may be stitched of them. */
static uint64_t default_mappings(void)
{
	uint64_t max = memory_limits_max_mappings();

	return max - max / 4;
}

/**
 * memory_limits_resolve() - limits for a guest
 * @given: what was asked for
 * @ram: bytes of guest RAM
 *
 * Return: limits, none of which follows from anything any more.
 */
struct memory_limits memory_limits_resolve(const struct memory_limits *given, uint64_t ram)
{
	struct memory_limits limits = *given;

	if (!limits.total_bytes)
		limits.total_bytes = times(ram, 2);
	if (!limits.resources)
		limits.resources =
			(uint32_t)between(ram / RAM_OF_A_RESOURCE, MIN_RESOURCES, MAX_RESOURCES);
	if (!limits.total_runs)
		limits.total_runs =
			between(limits.total_bytes / GUEST_PAGE, MIN_RESOURCES, MAX_RUNS);
	if (!limits.kernel_bytes)
		limits.kernel_bytes = plus(page_cost(limits.total_bytes),
					   times(limits.resources, KERNEL_DMABUF_COST));
	if (!limits.page_uses)
		limits.page_uses = PAGE_USES_DEFAULT;
	if (!limits.mappings)
		limits.mappings = default_mappings();
	return limits;
}

static void set_limits(struct memory_quotas *quotas)
{
	struct memory_limits limits =
		memory_limits_resolve(&quotas->given, guest_memory_bytes(quotas->gm));

	quotas->generation = guest_memory_generation(quotas->gm);
	quotas->bytes.max = limits.total_bytes;
	quotas->kernel.max = limits.kernel_bytes;
	quotas->runs.max = limits.total_runs;
	quotas->resources.max = limits.resources;
	quotas->mappings.max = limits.mappings;
}

/**
 * memory_quotas_init() - nothing is used
 * @quotas: it
 * @given: what was asked for
 * @gm: guest memory
 */
void memory_quotas_init(struct memory_quotas *quotas, const struct memory_limits *given,
			struct guest_memory *gm)
{
	*quotas = (struct memory_quotas){ .given = *given, .gm = gm };
	quota_init(&quotas->bytes, "userptr bytes", "--max-total-bytes", 0);
	quota_init(&quotas->kernel, "kernel bytes", "--max-kernel-bytes", 0);
	quota_init(&quotas->runs, "segments", "--max-total-segments", 0);
	quota_init(&quotas->resources, "userptr resources", "--max-resources", 0);
	quota_init(&quotas->mappings, "mappings", "--max-mappings", 0);
	/* Does not follow guest memory, and is read once. */
	if (!quotas->given.mappings)
		quotas->given.mappings = default_mappings();
	set_limits(quotas);
}

/**
 * memory_quotas_refresh() - follow guest memory
 * @quotas: it
 */
void memory_quotas_refresh(struct memory_quotas *quotas)
{
	if (quotas->generation != guest_memory_generation(quotas->gm))
		set_limits(quotas);
}

/**
 * memory_quotas_print() - lines of the statistics
 * @quotas: of it
 * @to: where they go
 */
void memory_quotas_print(const struct memory_quotas *quotas, FILE *to)
{
	quota_print(&quotas->resources, to);
	quota_print(&quotas->bytes, to);
	quota_print(&quotas->runs, to);
	quota_print(&quotas->kernel, to);
	quota_print(&quotas->mappings, to);
}
