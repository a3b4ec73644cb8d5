// SPDX-License-Identifier: MIT
/*
 * userptr-bench: what registrations cost, measured
 *
 *	userptr-bench [--node NODE] [--samples N] [--largest MIB]
 *		[--scattered MIB] [--quick] PART...
 *
 * PART: create, split, rate, beside, others, many, cost, or all, which is everything
 * but cost.  The output is a line of JSON for each series of samples.  For make bench.
 *
 * Invariant: see bench.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define HUGE_PAGE BENCH_MIB(2)

static const char *const layout_names[NR_BENCH_LAYOUTS] = {
	[BENCH_SCATTERED] = "scattered",
	[BENCH_NATURAL] = "natural",
	[BENCH_THP] = "thp",
	[BENCH_HUGETLB] = "hugetlb",
};

/**
 * bench_fail() - end the program
 * @what: failed
 * @error: errno
 */
void __attribute__((noreturn)) bench_fail(const char *what, int error)
{
	fprintf(stderr, "userptr-bench: %s: %s\n", what, strerror(error));
	exit(1);
}

/**
 * bench_now_ns() - a clock
 *
 * Return: nanoseconds.
 */
uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/**
 * bench_add() - one more sample
 * @series: has room
 * @value: the sample
 */
void bench_add(struct bench_series *series, uint64_t value)
{
	if (series->nr == BENCH_MAX_SAMPLES)
		bench_fail("too many samples", E2BIG);
	series->values[series->nr++] = value;
}

/**
 * bench_print() - a line for a series
 * @series: without samples nothing is printed
 */
void bench_print(const struct bench_series *series)
{
	unsigned int i;

	if (!series->nr)
		return;
	printf("{\"figure\":\"%s\",\"layout\":\"%s\",\"bytes\":%zu,", series->figure,
	       layout_names[series->layout], series->size);
	printf("\"variant\":\"%s\",\"unit\":\"%s\",\"samples\":[", series->variant, series->unit);
	for (i = 0; i < series->nr; i++)
		printf("%s%llu", i ? "," : "", (unsigned long long)series->values[i]);
	printf("]}\n");
	fflush(stdout);
}

/**
 * bench_skip() - a line for what cannot be measured
 * @figure: name
 * @layout: how its pages would lie
 * @size: bytes
 * @why: the reason, without quotes
 */
void bench_skip(const char *figure, enum bench_layout layout, size_t size, const char *why)
{
	printf("{\"figure\":\"%s\",\"layout\":\"%s\",\"bytes\":%zu,\"skipped\":\"%s\"}\n", figure,
	       layout_names[layout], size, why);
	fflush(stdout);
}

static void fill_pool(size_t size)
{
	char number[32];
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	snprintf(number, sizeof(number), "%zu\n", (size + HUGE_PAGE - 1) / HUGE_PAGE);
	/* Fewer show when they are mapped. */
	if (write(fd, number, strlen(number)) < 0)
		perror("nr_hugepages");
	close(fd);
}

/**
 * bench_wanted() - whether this run has such buffers
 * @bench: the run
 * @layout: how pages lie
 * @size: bytes
 *
 * Return: whether.
 */
bool bench_wanted(const struct bench *bench, enum bench_layout layout, size_t size)
{
	if (layout == BENCH_SCATTERED)
		return size <= bench->scattered;
	if (layout == BENCH_NATURAL)
		return size <= bench->largest;
	return size <= bench->largest && size >= BENCH_MIB(16);
}

/**
 * bench_memory_make() - a buffer that has been touched
 * @memory: out
 * @layout: how its pages are to lie
 * @size: bytes
 *
 * Return: false if there is no such memory here.
 */
bool bench_memory_make(struct bench_memory *memory, enum bench_layout layout, size_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	bool huge = layout == BENCH_THP || layout == BENCH_HUGETLB;
	size_t i;

	if (huge && size < HUGE_PAGE)
		return false;
	memory->size = size;
	memory->map_size = size;
	memory->twin = -1;
	if (layout == BENCH_THP)
		memory->map_size += HUGE_PAGE;
	if (layout == BENCH_HUGETLB) {
		fill_pool(size);
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	}
	memory->map = mmap(NULL, memory->map_size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory->map == MAP_FAILED)
		return false;
	memory->addr = memory->map;
	if (layout == BENCH_THP)
		memory->addr += -(uintptr_t)memory->map % HUGE_PAGE;
	if (layout == BENCH_THP && madvise(memory->addr, size, MADV_HUGEPAGE)) {
		bench_memory_free(memory);
		return false;
	}
	if (layout == BENCH_SCATTERED)
		memory->twin = memfd_create("userptr-bench", MFD_CLOEXEC);
	for (i = 0; i < size; i += BENCH_PAGE) {
		memory->addr[i] = (uint8_t)(i >> 12);
		/* Not mapped: User-Mode Linux has only so many mappings. */
		if (layout == BENCH_SCATTERED && pwrite(memory->twin, "", 1, (off_t)i) != 1)
			bench_fail("pages between those of a buffer", errno);
	}
	return true;
}

/**
 * bench_memory_free() - give it back
 * @memory: made; no registration of it lives
 */
void bench_memory_free(struct bench_memory *memory)
{
	munmap(memory->map, memory->map_size);
	if (memory->twin >= 0)
		close(memory->twin);
	memory->addr = NULL;
}

/**
 * bench_shared() - memory that child processes share
 * @size: bytes
 *
 * Return: zeroed memory, never given back.
 */
void *bench_shared(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		bench_fail("shared memory", errno);
	return map;
}

/**
 * bench_open() - the render node, with a context
 * @vg: out
 * @bench: which
 */
void bench_open(struct vg *vg, const struct bench *bench)
{
	int ret = vg_open(vg, bench->node, 1);

	if (ret)
		bench_fail(bench->node, -ret);
}

/**
 * bench_create() - register memory
 * @vg: context
 * @addr: the memory
 * @size: bytes
 * @flags: VIRTGPU_USERPTR_*
 * @bo: out
 */
void bench_create(struct vg *vg, const void *addr, size_t size, uint32_t flags, struct vg_bo *bo)
{
	int ret = vg_userptr_create(vg->fd, addr, size, flags, bo);

	if (ret)
		bench_fail("DRM_VIRTGPU_RESOURCE_CREATE_USERPTR", -ret);
}

/**
 * bench_wait_unpinned() - until nothing of this process is pinned
 *
 * It looks without a pause: how long it takes is a figure.
 */
void bench_wait_unpinned(void)
{
	uint64_t end = bench_now_ns() + BENCH_TIMEOUT_MS * 1000000ull;
	long kib;

	for (;;) {
		kib = vg_status_kib("VmPin");
		if (kib < 0)
			bench_fail("VmPin", (int)-kib);
		if (!kib)
			return;
		if (bench_now_ns() > end)
			bench_fail("waiting for the release", ETIME);
		sched_yield();
	}
}

static const struct {
	const char *name;
	void (*run)(const struct bench *bench);
	bool all;
} parts[] = {
	{ "create", bench_limit_and_create, true },
	{ "split", bench_split, true },
	{ "rate", bench_rate, true },
	{ "beside", bench_beside, true },
	{ "others", bench_others, true },
	{ "many", bench_many, true },
	{ "cost", bench_cost, false },
};

#define NR_PARTS (sizeof(parts) / sizeof(parts[0]))

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr, "usage: userptr-bench [--node NODE] [--samples N] [--largest MIB] "
			"[--scattered MIB] [--quick] PART...\n");
	exit(2);
}

/* Returns the index of the first PART. */
static int options(struct bench *bench, int argc, char **argv)
{
	int at;

	for (at = 1; at < argc && argv[at][0] == '-'; at++) {
		if (!strcmp(argv[at], "--quick")) {
			bench->quick = true;
			continue;
		}
		if (at + 1 == argc)
			usage();
		if (!strcmp(argv[at], "--node"))
			bench->node = argv[++at];
		else if (!strcmp(argv[at], "--samples"))
			bench->samples = (unsigned int)atoi(argv[++at]);
		else if (!strcmp(argv[at], "--largest"))
			bench->largest = BENCH_MIB(strtoul(argv[++at], NULL, 10));
		else if (!strcmp(argv[at], "--scattered"))
			bench->scattered = BENCH_MIB(strtoul(argv[++at], NULL, 10));
		else
			usage();
	}
	if (at == argc || bench->samples < 1 || bench->samples > BENCH_MAX_SAMPLES)
		usage();
	return at;
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.node = "/dev/dri/renderD128",
		.samples = 15,
		.largest = BENCH_MIB(64),
		.scattered = BENCH_MIB(64),
	};
	int at = options(&bench, argc, argv);
	bool found = false;
	size_t i;

	for (; at < argc; at++) {
		for (i = 0; i < NR_PARTS; i++) {
			if (strcmp(argv[at], parts[i].name) &&
			    (strcmp(argv[at], "all") || !parts[i].all))
				continue;
			parts[i].run(&bench);
			found = true;
		}
		if (!found)
			usage();
	}
	return 0;
}
