/* SPDX-License-Identifier: MIT */
/*
 * memory_limits: what resources of guest memory may cost in all
 *
 * A guest decides how many resources there are, and how large; what they cost is
 * memory of this process and, for dma-bufs, of the host's kernel, which nobody can
 * swap and no control group is charged for.  So the sums have limits, and these
 * follow guest RAM unless something else is asked for.
 *
 * What is charged when: a resource and its bytes, as declared, when it is created; room
 * for its runs when that is allocated, doubling included; the dma-buf's part as soon as
 * it is known that there will be one, and mappings as the runs come.  All is given back
 * when it is really gone, which for a dma-buf and for mappings may be a moment after a
 * reset.
 *
 * Threads: the one that owns guest memory.
 */
#ifndef MEMORY_LIMITS_H
#define MEMORY_LIMITS_H

#include <stdint.h>
#include <stdio.h>

#include "util/quota.h"

struct guest_memory;

/**
 * struct memory_limits - sums; 0: what follows from guest RAM
 * @total_bytes: of all userptr resources; twice guest RAM
 * @kernel_bytes: of the host kernel for their dma-bufs; what @total_bytes of pages in
 *	@resources dma-bufs cost
 * @total_runs: room for runs of all resources; one for each page of @total_bytes, but at
 *	most 16777216, which are 512 MiB
 * @resources: userptr resources; one for each 64 KiB of guest RAM, but at least 1024 and
 *	at most 65536
 * @page_uses: dma-bufs that a page can be in, see page_uses.h; 1024
 * @mappings: of this process, by all that is stitched (see view_stitch.h); three quarters
 *	of what the running kernel lets it have, so that the rest finds its own
 */
struct memory_limits {
	uint64_t total_bytes;
	uint64_t kernel_bytes;
	uint64_t total_runs;
	uint32_t resources;
	uint32_t page_uses;
	uint64_t mappings;
};

/**
 * struct memory_quotas - the same, and what is used
 * @given: what was asked for
 * @gm: guest memory
 * @generation: of the table that the limits follow
 * @bytes: see struct memory_limits
 * @kernel: see there
 * @runs: see there
 * @resources: see there
 * @mappings: see there
 */
struct memory_quotas {
	struct memory_limits given;
	struct guest_memory *gm;
	uint64_t generation;
	struct quota bytes;
	struct quota kernel;
	struct quota runs;
	struct quota resources;
	struct quota mappings;
};

/* @given with its zeroes filled in for a guest of @ram bytes. */
struct memory_limits memory_limits_resolve(const struct memory_limits *given, uint64_t ram);
/* What a dma-buf of @bytes costs the host's kernel. */
uint64_t memory_limits_kernel_cost(uint64_t bytes);

/* Mappings that a process may have (vm.max_map_count). */
uint64_t memory_limits_max_mappings(void);

/* @gm must outlive it. */
void memory_quotas_init(struct memory_quotas *quotas, const struct memory_limits *given,
			struct guest_memory *gm);
/* To be called before charging: guest memory may be another one. */
void memory_quotas_refresh(struct memory_quotas *quotas);
void memory_quotas_print(const struct memory_quotas *quotas, FILE *to);

#endif /* MEMORY_LIMITS_H */
