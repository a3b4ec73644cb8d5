/* SPDX-License-Identifier: MIT */
/*
 * memory: ranges of memory, what has to be in them, and what there is
 *
 * memory-make.c makes ranges and memory-pages.c looks at their pages; what a test
 * expects of them is in memory-check.h.
 *
 * Invariant: beside each registered range lies a model, the bytes that have to
 * be there.  What the guest or the host writes is written to the model as well,
 * and each check compares both sides with it.  What a test switches on in the
 * kernel restore_kernel() switches off.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "lib/userptr-test-util.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_SOFT_DIRTY (1ull << 55)
#define PM_FRAME ((1ull << 55) - 1)
#define KSM "/sys/kernel/mm/ksm/"
#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"
#define NUMA_BALANCING "/proc/sys/kernel/numa_balancing"
#define EXT4_DIR "/dev/shm/ext4"
/* For the kernel's own threads, which have their own pace, under emulation. */
#define BACKGROUND_MS 60000
#define TEST_SECONDS 120

/**
 * struct memory - a range and what has to be in it
 * @region: the range
 * @model: the bytes that have to be there, in memory of their own
 * @step: distance of addresses that are surely in different folios
 * @shared: a child writes to the same pages
 * @bo: the registration
 * @frames: the range's frame numbers when it was registered
 */
struct memory {
	struct region region;
	struct region model;
	size_t step;
	bool shared;
	struct vg_bo bo;
	uint64_t *frames;
};

/* Why there is no memory of some kind here; each test is a process of its own. */
extern char skip_reason[128];

static inline size_t pages_of(const struct memory *memory)
{
	return memory->region.size / PAGE;
}

bool expired(uint64_t start, int timeout_ms);
long count_entries(const struct memory *memory, uint64_t mask, uint64_t value);
int read_frames(const struct memory *memory, uint64_t *frames);
bool same_frames(const struct memory *memory);
bool in_movable_zone(uint64_t frame);
bool all_huge(const struct memory *memory);
int page_out(const struct memory *memory);

int cannot(const char *reason);
void memory_free(struct memory *memory);
void *map_private(size_t size);
void guest_fill(struct memory *memory, uint64_t seed);
int adopt(struct memory *memory, void *addr, size_t size);
int map_aligned(struct memory *memory, size_t size);
int adopt_file(struct memory *memory, int fd, size_t size, int flags);
int make_small(struct memory *memory);
int make_thp(struct memory *memory);
int make_memfd(struct memory *memory);
int make_merged(struct memory *memory);
int swap_on(void);
int swap_off(void);
int restore_kernel(void);

#endif /* MEMORY_H */
