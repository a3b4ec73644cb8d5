// SPDX-License-Identifier: MIT
/*
 * memory-pages: which pages a range consists of, as the kernel shows them
 *
 * See memory.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "memory/memory.h"

/**
 * expired() - is it too late?
 * @start: when it began, as of vg_now_us()
 * @timeout_ms: how long
 *
 * Pauses if not: nothing to wait on exists for what conditions are polled for here.
 *
 * Return: true if so.
 */
bool expired(uint64_t start, int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = 5 * 1000 * 1000 };

	if (vg_now_us() > start + timeout_ms * 1000ull)
		return true;
	nanosleep(&pause, NULL);
	return false;
}

static int read_pagemap(const void *addr, size_t pages, uint64_t *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t want = 8 * pages, got;

	if (fd < 0)
		return -errno;
	got = pread(fd, entries, want, (uintptr_t)addr / PAGE * 8);
	close(fd);
	return got == want ? 0 : -EIO;
}

/**
 * count_entries() - pages whose pagemap entries, masked, have a value
 * @memory: the range
 * @mask: bits to look at
 * @value: the value
 *
 * Return: how many, or a negative errno.
 */
long count_entries(const struct memory *memory, uint64_t mask, uint64_t value)
{
	size_t pages = pages_of(memory), i;
	uint64_t *entries = calloc(pages, 8);
	long nr;

	if (!entries)
		return -ENOMEM;
	nr = read_pagemap(memory->region.addr, pages, entries);
	for (i = 0; nr >= 0 && i < pages; i++)
		nr += (entries[i] & mask) == value;
	free(entries);
	return nr;
}

/**
 * read_frames() - the frame number of each page
 * @memory: the range, all of which must be there
 * @frames: out, room for all of them
 *
 * Return: 0 or a negative errno.
 */
int read_frames(const struct memory *memory, uint64_t *frames)
{
	size_t pages = pages_of(memory), i;
	int ret = read_pagemap(memory->region.addr, pages, frames);

	for (i = 0; !ret && i < pages; i++) {
		if (!(frames[i] & PM_PRESENT))
			return -EFAULT;
		frames[i] &= PM_FRAME;
	}
	return ret;
}

/**
 * same_frames() - are the pages those that were registered?
 * @memory: the range
 *
 * Return: true if so.
 */
bool same_frames(const struct memory *memory)
{
	uint64_t *frames = calloc(pages_of(memory), 8);
	bool same = frames && !read_frames(memory, frames) &&
		    !memcmp(frames, memory->frames, 8 * pages_of(memory));

	free(frames);
	return same;
}

/**
 * in_movable_zone() - is this in a zone from which nothing may be kept?
 * @frame: frame number
 *
 * Return: true if so: the zone is there to be emptied.
 */
bool in_movable_zone(uint64_t frame)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	uint64_t spanned = 0, first, node;
	bool movable = false, inside = false;
	char line[256], zone[32];

	if (!file)
		return false;
	while (!inside && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Node %lu, zone %31s", &node, zone) == 2)
			movable = !strcmp(zone, "Movable");
		sscanf(line, " spanned %lu", &spanned);
		if (movable && sscanf(line, " start_pfn: %lu", &first) == 1)
			inside = frame >= first && frame - first < spanned;
	}
	fclose(file);
	return inside;
}

/**
 * all_huge() - is every aligned 2 MiB one aligned piece of physical memory?
 * @memory: the range
 *
 * Return: true if so.
 */
bool all_huge(const struct memory *memory)
{
	size_t pages = pages_of(memory), i;
	uint64_t *frames = calloc(pages, 8);
	bool huge = frames && !read_frames(memory, frames);

	for (i = 0; huge && i < pages; i++)
		huge = frames[i] == (i % 512 ? frames[i - 1] + 1 : frames[i] & ~511ull);
	free(frames);
	return huge;
}

/**
 * page_out() - have pages of unregistered memory written out until none is there
 * @memory: the range
 *
 * Return: 0 or a negative errno.
 */
int page_out(const struct memory *memory)
{
	uint64_t start = vg_now_us();

	do {
		/* Pages that another CPU is about to put on a list come later. */
		if (madvise(memory->region.addr, memory->region.size, MADV_PAGEOUT))
			return -errno;
		if (!count_entries(memory, PM_PRESENT, PM_PRESENT))
			return 0;
	} while (!expired(start, SETTLE_MS));
	return -ETIME;
}
