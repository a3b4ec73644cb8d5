/* SPDX-License-Identifier: MIT */
/*
 * bench: what the parts of userptr-bench share
 *
 * Each part measures some figures and prints them as lines of JSON with all their
 * samples; nothing is computed of them here.  Sides that are to be compared are
 * measured by turns.
 *
 *	main.c		options, output, memory of each layout
 *	create.c	create, close, the pin limit, guest blobs
 *	trace.c		parts of a creation, and what it allocates, by trace events
 *	load.c		several processes: creations a second, small beside large ones
 *	other.c		what registrations cost others; many of them
 *	cost.c		figures without a scale, for make bench-check
 *
 * Invariant: what cannot be measured is printed as skipped, with the reason; whatever
 * else goes wrong ends the program with status 1.
 *
 * Threads: one a process.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtgpu.h"

#define BENCH_PAGE 4096ul
#define BENCH_KIB(n) ((size_t)(n) << 10)
#define BENCH_MIB(n) ((size_t)(n) << 20)
#define BENCH_TIMEOUT_MS 60000
#define BENCH_MAX_SAMPLES 64
/* Not counted, before the samples. */
#define BENCH_WARMUP 3

/**
 * enum bench_layout - how the pages of a buffer lie
 * @BENCH_SCATTERED: none behind its neighbour
 * @BENCH_NATURAL: as they come when they are touched in order
 * @BENCH_THP: transparent huge pages
 * @BENCH_HUGETLB: of the pool of huge pages
 */
enum bench_layout {
	BENCH_SCATTERED,
	BENCH_NATURAL,
	BENCH_THP,
	BENCH_HUGETLB,
	NR_BENCH_LAYOUTS,
};

/**
 * struct bench - one run
 * @node: path of the render node
 * @samples: of each figure
 * @quick: less of everything
 * @largest: bytes of the largest buffer
 * @scattered: the same of one whose pages lie apart
 */
struct bench {
	const char *node;
	unsigned int samples;
	bool quick;
	size_t largest;
	size_t scattered;
};

/**
 * struct bench_memory - a buffer
 * @addr: it
 * @size: bytes
 * @map: what is to be unmapped
 * @map_size: bytes
 * @twin: file whose pages lie between those of the buffer, or -1
 */
struct bench_memory {
	uint8_t *addr;
	size_t size;
	void *map;
	size_t map_size;
	int twin;
};

/**
 * struct bench_series - the samples of one figure
 * @figure: its name
 * @layout: enum bench_layout
 * @size: bytes of the buffer
 * @variant: which side of a comparison, or which part
 * @unit: of @values
 * @nr: how many
 * @values: the samples, in order
 */
struct bench_series {
	const char *figure;
	enum bench_layout layout;
	size_t size;
	const char *variant;
	const char *unit;
	unsigned int nr;
	uint64_t values[BENCH_MAX_SAMPLES];
};

/* main.c */
void __attribute__((noreturn)) bench_fail(const char *what, int error);
uint64_t bench_now_ns(void);
void bench_add(struct bench_series *series, uint64_t value);
void bench_print(const struct bench_series *series);
void bench_skip(const char *figure, enum bench_layout layout, size_t size, const char *why);
bool bench_memory_make(struct bench_memory *memory, enum bench_layout layout, size_t size);
bool bench_wanted(const struct bench *bench, enum bench_layout layout, size_t size);
void bench_memory_free(struct bench_memory *memory);
void *bench_shared(size_t size);
void bench_open(struct vg *vg, const struct bench *bench);
void bench_create(struct vg *vg, const void *addr, size_t size, uint32_t flags, struct vg_bo *bo);
void bench_wait_unpinned(void);

/* create.c, trace.c, load.c, other.c, cost.c */
void bench_limit_and_create(const struct bench *bench);
void bench_blob_use(struct vg *vg, const struct vg_bo *bo);
void bench_split(const struct bench *bench);
void bench_rate(const struct bench *bench);
void bench_beside(const struct bench *bench);
void bench_others(const struct bench *bench);
void bench_many(const struct bench *bench);
void bench_cost(const struct bench *bench);

/**
 * struct bench_allocations - what the kernel allocated for this task and did not free again
 * @nr: by kmalloc() and the like
 * @bytes: of them
 */
struct bench_allocations {
	uint64_t nr;
	uint64_t bytes;
};

/* trace.c; false if the kernel has not these events. */
bool bench_trace_allocations(void);
void bench_trace_start(void);
void bench_trace_mark(void);
void bench_trace_stop(struct bench_allocations *allocations);

#endif /* BENCH_H */
