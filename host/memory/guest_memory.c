// SPDX-License-Identifier: MIT
/*
 * guest_memory: the table of guest RAM
 *
 * Invariants: the regions of a table are sorted by guest address and do not
 * overlap, nor do their ranges in the front end's address space.
 *
 * Threads: a table has a lock, which is held for moments; one thread sets it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "util/log.h"

/**
 * struct region - one region of the table
 * @guest_addr: first guest-physical address
 * @user_addr: the same byte in the front end's address space
 * @size: bytes
 * @offset: of the first byte in @file
 * @file: referenced
 */
struct region {
	uint64_t guest_addr;
	uint64_t user_addr;
	uint64_t size;
	uint64_t offset;
	struct ram_file *file;
};

/**
 * struct guest_memory - the table
 * @lock: of everything here; whoever sets the table need not take it to look
 * @regions: sorted by guest address
 * @nr: how many
 * @generation: tables that were set
 */
struct guest_memory {
	pthread_mutex_t lock;
	struct region regions[GUEST_MEMORY_MAX_REGIONS];
	unsigned int nr;
	uint64_t generation;
};

/**
 * guest_memory_new() - an empty table
 *
 * Return: the table, or NULL without memory.
 */
struct guest_memory *guest_memory_new(void)
{
	struct guest_memory *gm = calloc(1, sizeof(*gm));

	if (gm)
		pthread_mutex_init(&gm->lock, NULL);
	return gm;
}

static void regions_put(struct region *regions, unsigned int nr)
{
	while (nr--)
		ram_file_put(regions[nr].file);
}

/**
 * guest_memory_free() - drop the table; runs stay valid
 * @gm: may be NULL
 */
void guest_memory_free(struct guest_memory *gm)
{
	if (!gm)
		return;
	regions_put(gm->regions, gm->nr);
	pthread_mutex_destroy(&gm->lock);
	free(gm);
}

/* [start, start + size) is empty or goes past the last 64-bit address. */
static bool range_bad(uint64_t start, uint64_t size)
{
	return !size || size - 1 > UINT64_MAX - start;
}

static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

static int check_regions(const struct guest_region *regions, unsigned int nr)
{
	unsigned int i, j;

	if (nr > GUEST_MEMORY_MAX_REGIONS)
		return -EINVAL;
	for (i = 0; i < nr; i++) {
		const struct guest_region *a = &regions[i];

		/* A file offset also has to leave room for an end that fits. */
		if (range_bad(a->guest_addr, a->size) || range_bad(a->user_addr, a->size) ||
		    a->size > UINT64_MAX - a->fd_offset)
			return -EINVAL;
		for (j = 0; j < i; j++) {
			const struct guest_region *b = &regions[j];

			if (ranges_overlap(a->guest_addr, a->size, b->guest_addr, b->size) ||
			    ranges_overlap(a->user_addr, a->size, b->user_addr, b->size))
				return -EINVAL;
		}
	}
	return 0;
}

static int compare_regions(const void *a, const void *b)
{
	uint64_t left = ((const struct region *)a)->guest_addr;
	uint64_t right = ((const struct region *)b)->guest_addr;

	return (left > right) - (left < right);
}

/**
 * guest_memory_set() - replace the whole table
 * @gm: the table
 * @regions: the new regions; their descriptors stay the caller's
 * @nr: how many; 0 empties the table
 *
 * Return: 0, or a negative errno with the old table in place.
 */
int guest_memory_set(struct guest_memory *gm, const struct guest_region *regions, unsigned int nr)
{
	struct region new[GUEST_MEMORY_MAX_REGIONS], old[GUEST_MEMORY_MAX_REGIONS];
	unsigned int i, nr_old;
	int err;

	err = check_regions(regions, nr);
	if (err)
		return err;
	for (i = 0; i < nr; i++) {
		new[i].guest_addr = regions[i].guest_addr;
		new[i].user_addr = regions[i].user_addr;
		new[i].size = regions[i].size;
		new[i].offset = regions[i].fd_offset;
		err = ram_file_open(regions[i].fd, regions[i].fd_offset + regions[i].size,
				    &new[i].file);
		if (err)
			goto err_put;
	}
	if (nr)
		qsort(new, nr, sizeof(new[0]), compare_regions);
	pthread_mutex_lock(&gm->lock);
	nr_old = gm->nr;
	memcpy(old, gm->regions, nr_old * sizeof(old[0]));
	memcpy(gm->regions, new, nr * sizeof(new[0]));
	gm->nr = nr;
	gm->generation++;
	pthread_mutex_unlock(&gm->lock);
	/* The old table goes last: files that both name keep their mapping. */
	regions_put(old, nr_old);
	return 0;

err_put:
	regions_put(new, i);
	return err;
}

/* Index of the region that holds guest address @addr, or gm->nr. */
static unsigned int find_region(const struct guest_memory *gm, uint64_t addr)
{
	unsigned int low = 0, high = gm->nr;

	/* Invariant: regions below low start at or before addr, those from high after it. */
	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (gm->regions[mid].guest_addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || addr - gm->regions[low - 1].guest_addr >= gm->regions[low - 1].size)
		return gm->nr;
	return low - 1;
}

/*
 * The piece of [addr, addr + len) at its start, as far as one region goes.
 * *index is the region's.
 */
static int first_piece(const struct guest_memory *gm, unsigned int index, uint64_t addr,
		       uint64_t len, struct run *piece)
{
	const struct region *region;
	uint64_t skip;

	if (index >= gm->nr)
		return -EFAULT;
	region = &gm->regions[index];
	/* The address before a region wraps to a huge skip, which fails too. */
	skip = addr - region->guest_addr;
	if (skip >= region->size)
		return -EFAULT;
	piece->file = region->file;
	piece->offset = region->offset + skip;
	piece->length = region->size - skip < len ? region->size - skip : len;
	return 0;
}

/**
 * guest_memory_resolve() - the pieces that a guest-physical range lies in
 * @gm: the table
 * @addr: guest-physical address
 * @len: bytes
 * @runs: where the pieces go, in order, adjacent ones merged; borrowed
 * @max: how many fit
 *
 * Return: the number of pieces, -EFAULT, -E2BIG or -EINVAL as the header says.
 * On failure the contents of @runs mean nothing.
 */
int guest_memory_resolve(struct guest_memory *gm, uint64_t addr, uint64_t len, struct run *runs,
			 unsigned int max)
{
	unsigned int index, nr = 0;
	struct run piece;
	int err;

	if (!len)
		return -EINVAL;
	if (range_bad(addr, len))
		return -EFAULT;
	for (index = find_region(gm, addr); len; index++) {
		err = first_piece(gm, index, addr, len, &piece);
		if (err)
			return err;
		if (nr && run_continues(&runs[nr - 1], &piece)) {
			runs[nr - 1].length += piece.length;
		} else if (nr == max) {
			return -E2BIG;
		} else {
			runs[nr++] = piece;
		}
		addr += piece.length;
		len -= piece.length;
	}
	return (int)nr;
}

/**
 * guest_memory_take() - the same, with a reference of each piece
 * @gm: the table
 * @addr: guest-physical address
 * @len: bytes
 * @runs: where the pieces go, for runs_put()
 * @max: how many fit
 *
 * Return: as guest_memory_resolve().
 */
int guest_memory_take(struct guest_memory *gm, uint64_t addr, uint64_t len, struct run *runs,
		      unsigned int max)
{
	int i, nr;

	pthread_mutex_lock(&gm->lock);
	nr = guest_memory_resolve(gm, addr, len, runs, max);
	for (i = 0; i < nr; i++)
		ram_file_get(runs[i].file);
	pthread_mutex_unlock(&gm->lock);
	return nr;
}

/**
 * runs_put() - the end of what guest_memory_take() gave
 * @runs: the pieces
 * @nr: how many
 */
void runs_put(struct run *runs, unsigned int nr)
{
	while (nr--)
		ram_file_put(runs[nr].file);
}

/**
 * guest_memory_pointer() - a guest-physical range as a host pointer
 * @gm: the table
 * @addr: guest-physical address
 * @len: bytes, not 0
 *
 * Return: the pointer, or NULL if a byte of the range is not guest memory or
 * the range is not contiguous here.
 */
void *guest_memory_pointer(struct guest_memory *gm, uint64_t addr, uint64_t len)
{
	struct run run;

	if (guest_memory_resolve(gm, addr, len, &run, 1) != 1)
		return NULL;
	return run_pointer(&run);
}

/**
 * guest_memory_user_pointer() - a range of the front end's as a host pointer
 * @gm: the table
 * @user_addr: address in the front end's own address space
 * @len: bytes, not 0
 *
 * Return: the pointer, or NULL if the range is not within one region.
 */
void *guest_memory_user_pointer(struct guest_memory *gm, uint64_t user_addr, uint64_t len)
{
	unsigned int i;

	for (i = 0; i < gm->nr; i++) {
		const struct region *region = &gm->regions[i];
		uint64_t skip = user_addr - region->user_addr;

		if (user_addr >= region->user_addr && skip < region->size) {
			if (!len || len > region->size - skip)
				return NULL;
			return region->file->base + region->offset + skip;
		}
	}
	return NULL;
}

/* Keep the compiler from fetching again what was just copied and is now checked. */
static void copied(void)
{
	__asm__ volatile("" : : : "memory");
}

/**
 * guest_memory_read() - copy out of guest memory
 * @gm: the table
 * @addr: guest-physical address
 * @to: at least @len bytes
 * @len: bytes
 *
 * Return: 0, or -EFAULT with @to left alone.
 */
int guest_memory_read(struct guest_memory *gm, uint64_t addr, void *to, size_t len)
{
	struct run runs[GUEST_MEMORY_MAX_REGIONS];
	unsigned char *at = to;
	int i, nr;

	if (!len)
		return 0;
	nr = guest_memory_take(gm, addr, len, runs, GUEST_MEMORY_MAX_REGIONS);
	if (nr < 0)
		return -EFAULT;
	for (i = 0; i < nr; i++) {
		memcpy(at, run_pointer(&runs[i]), runs[i].length);
		at += runs[i].length;
	}
	copied();
	runs_put(runs, (unsigned int)nr);
	return 0;
}

/**
 * guest_memory_write() - copy into guest memory
 * @gm: the table
 * @addr: guest-physical address
 * @from: @len bytes
 * @len: bytes
 *
 * Return: 0, or -EFAULT with guest memory left alone.
 */
int guest_memory_write(struct guest_memory *gm, uint64_t addr, const void *from, size_t len)
{
	struct run runs[GUEST_MEMORY_MAX_REGIONS];
	const unsigned char *at = from;
	int i, nr;

	if (!len)
		return 0;
	nr = guest_memory_take(gm, addr, len, runs, GUEST_MEMORY_MAX_REGIONS);
	if (nr < 0)
		return -EFAULT;
	for (i = 0; i < nr; i++) {
		memcpy(run_pointer(&runs[i]), at, runs[i].length);
		at += runs[i].length;
	}
	runs_put(runs, (unsigned int)nr);
	return 0;
}

/**
 * guest_memory_bytes() - how much there is
 * @gm: the table
 *
 * Return: bytes, at most UINT64_MAX.
 */
uint64_t guest_memory_bytes(struct guest_memory *gm)
{
	uint64_t bytes = 0;
	unsigned int i;

	pthread_mutex_lock(&gm->lock);
	/* Regions do not overlap, so the sum is at most one more than fits. */
	for (i = 0; i < gm->nr; i++)
		if (__builtin_add_overflow(bytes, gm->regions[i].size, &bytes))
			bytes = UINT64_MAX;
	pthread_mutex_unlock(&gm->lock);
	return bytes;
}

/**
 * guest_memory_files() - what guest RAM lies in
 * @gm: the table
 * @files: GUEST_MEMORY_MAX_REGIONS of them; each that is filled has a reference
 *
 * Return: how many are filled.
 */
unsigned int guest_memory_files(struct guest_memory *gm, struct ram_file **files)
{
	unsigned int i, j, nr = 0;

	pthread_mutex_lock(&gm->lock);
	for (i = 0; i < gm->nr; i++) {
		struct ram_file *file = gm->regions[i].file;

		for (j = 0; j < nr && files[j] != file; j++)
			;
		if (j == nr)
			files[nr++] = ram_file_get(file);
	}
	pthread_mutex_unlock(&gm->lock);
	return nr;
}

/**
 * guest_memory_file() - the RAM file of a region
 * @gm: the table
 * @index: of the region
 *
 * Return: the file, borrowed, or NULL beyond the last region.
 */
struct ram_file *guest_memory_file(const struct guest_memory *gm, unsigned int index)
{
	return index < gm->nr ? gm->regions[index].file : NULL;
}

static void report_damage(struct ram_file *file)
{
	char path[64], name[128];
	ssize_t len;

	if (atomic_exchange(&file->reported, true))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	len = readlink(path, name, sizeof(name) - 1);
	name[len < 0 ? 0 : len] = 0;
	log_error("guest RAM in '%s' is damaged: part of it was not there when it was needed, "
		  "because the file was truncated or its file system is full; nothing new is "
		  "made of it",
		  name);
}

/**
 * guest_memory_damaged() - whether part of guest RAM is lost
 * @gm: the table
 *
 * Return: true if so.
 */
bool guest_memory_damaged(struct guest_memory *gm)
{
	struct ram_file *files[GUEST_MEMORY_MAX_REGIONS];
	unsigned int nr = guest_memory_files(gm, files);
	bool damaged = false;

	while (nr--) {
		if (ram_file_damaged(files[nr])) {
			damaged = true;
			report_damage(files[nr]);
		}
		ram_file_put(files[nr]);
	}
	return damaged;
}

/**
 * guest_memory_generation() - which table this is
 * @gm: the table
 *
 * Return: a number that every guest_memory_set() changes.
 */
uint64_t guest_memory_generation(struct guest_memory *gm)
{
	uint64_t generation;

	pthread_mutex_lock(&gm->lock);
	generation = gm->generation;
	pthread_mutex_unlock(&gm->lock);
	return generation;
}
