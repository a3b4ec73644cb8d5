// SPDX-License-Identifier: MIT
/*
 * memory-make: ranges of memory with a model, and what the kernel has to do for it
 *
 * See memory.h.  Kinds that only one program needs are made there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/swap.h>
#include <unistd.h>

#include "memory/memory.h"

char skip_reason[128];

/**
 * cannot() - say why there is no memory of some kind here
 * @reason: for skip_reason
 *
 * Return: -EOPNOTSUPP.
 */
int cannot(const char *reason)
{
	snprintf(skip_reason, sizeof(skip_reason), "%s", reason);
	return -EOPNOTSUPP;
}

/**
 * memory_free() - unmap the range and its model
 * @memory: may be all zero
 */
void memory_free(struct memory *memory)
{
	region_free(&memory->region);
	region_free(&memory->model);
	free(memory->frames);
	memory->frames = NULL;
}

/**
 * map_private() - anonymous memory, untouched
 * @size: bytes
 *
 * Return: where, or NULL.
 */
void *map_private(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

/* The model, and room for frame numbers; @memory->region.size is set. */
static int model_alloc(struct memory *memory)
{
	struct region *model = &memory->model;

	model->block_size = model->size = memory->region.size;
	model->block = map_private(model->size);
	model->addr = model->block;
	memory->frames = calloc(pages_of(memory), 8);
	return memory->frames && model->block ? 0 : -ENOMEM;
}

/**
 * guest_fill() - write a pattern to what is there and to what has to be
 * @memory: the range
 * @seed: start of the pattern
 */
void guest_fill(struct memory *memory, uint64_t seed)
{
	region_fill(&memory->region, seed);
	region_fill(&memory->model, seed);
}

/**
 * adopt() - make what mmap() or shmat() gave a range with a model
 * @memory: out
 * @addr: what they gave, or MAP_FAILED with errno
 * @size: bytes
 *
 * Return: 0 or a negative errno.
 */
int adopt(struct memory *memory, void *addr, size_t size)
{
	memset(memory, 0, sizeof(*memory));
	if (addr == MAP_FAILED)
		return -errno;
	memory->region.block = memory->region.addr = addr;
	memory->region.block_size = memory->region.size = size;
	memory->step = PAGE;
	return model_alloc(memory);
}

/**
 * map_aligned() - anonymous memory on a 2 MiB boundary, untouched
 * @memory: out
 * @size: bytes
 *
 * Return: 0 or a negative errno.
 */
int map_aligned(struct memory *memory, size_t size)
{
	struct region *region = &memory->region;

	memset(memory, 0, sizeof(*memory));
	region->size = size;
	region->block_size = size + 2 * HUGE_PAGE;
	region->block = map_private(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = (uint8_t *)(((uintptr_t)region->block + HUGE_PAGE) & ~(HUGE_PAGE - 1));
	memory->step = PAGE;
	return model_alloc(memory);
}

/**
 * adopt_file() - memory of a file, which is closed
 * @memory: out
 * @fd: the file, or negative with errno
 * @size: bytes that it gets
 * @flags: MAP_SHARED or MAP_PRIVATE
 *
 * Return: 0 or a negative errno.
 */
int adopt_file(struct memory *memory, int fd, size_t size, int flags)
{
	int ret;

	memset(memory, 0, sizeof(*memory));
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size)) {
		close(fd);
		return -errno;
	}
	ret = adopt(memory, mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0), size);
	close(fd);
	memory->shared = flags & MAP_SHARED;
	return ret;
}

/**
 * make_small() - anonymous memory in small pages
 * @memory: out
 *
 * Return: 0 or a negative errno.
 */
int make_small(struct memory *memory)
{
	int ret = map_aligned(memory, HUGE_PAGE);
	size_t i;

	if (ret)
		return ret;
	/* In turn with other pages, so that neighbours are none in memory. */
	for (i = 0; i < memory->region.size; i += PAGE) {
		memory->region.addr[i] = 1;
		memory->model.addr[i] = 1;
	}
	guest_fill(memory, 1);
	return 0;
}

/**
 * make_thp() - anonymous memory in transparent huge pages
 * @memory: out
 *
 * Return: 0 or a negative errno.
 */
int make_thp(struct memory *memory)
{
	int ret = map_aligned(memory, 4 * HUGE_PAGE);

	if (ret)
		return ret;
	memory->step = HUGE_PAGE;
	if (madvise(memory->region.block, memory->region.block_size, MADV_HUGEPAGE))
		return -errno;
	guest_fill(memory, 2);
	/* Under fragmentation the kernel gives small pages: that is no THP test. */
	return all_huge(memory) ? 0 : -ENOMEM;
}

/**
 * make_memfd() - shared memory of a file in memory
 * @memory: out
 *
 * Return: 0 or a negative errno.
 */
int make_memfd(struct memory *memory)
{
	int ret = adopt_file(memory, memfd_create("userptr", MFD_CLOEXEC), HUGE_PAGE, MAP_SHARED);

	if (!ret)
		guest_fill(memory, 4);
	return ret;
}

static int make_same_pages(struct memory *memory)
{
	int ret = map_aligned(memory, 64 * PAGE);

	if (ret)
		return ret;
	memset(memory->region.addr, 0x5a, memory->region.size);
	memset(memory->model.addr, 0x5a, memory->region.size);
	return 0;
}

static int start_ksm(void)
{
	if (access(KSM "run", W_OK))
		return cannot("no KSM in this kernel");
	if (write_file(KSM "sleep_millisecs", "10") || write_file(KSM "pages_to_scan", "2000"))
		return -EIO;
	return write_file(KSM "run", "1");
}

/* Until all of it is one page. */
static int wait_merged(const struct memory *memory)
{
	uint64_t frames[64], start = vg_now_us();
	unsigned int same, i;

	do {
		if (read_frames(memory, frames))
			return -EIO;
		for (same = 1, i = 1; i < 64; i++)
			same += frames[i] == frames[0];
		if (same == 64)
			return 0;
	} while (!expired(start, BACKGROUND_MS));
	return -ETIME;
}

/**
 * make_merged() - anonymous memory, all of which KSM has made one page
 * @memory: out
 *
 * Return: 0 or a negative errno.
 */
int make_merged(struct memory *memory)
{
	int ret = make_same_pages(memory);

	if (!ret)
		ret = start_ksm();
	if (ret)
		return ret;
	if (madvise(memory->region.addr, memory->region.size, MADV_MERGEABLE))
		return -errno;
	ret = wait_merged(memory);
	if (!ret && read_counter(KSM "pages_shared", "") <= 0)
		ret = -EINVAL;
	return ret;
}

/**
 * swap_on() - have anonymous pages leave for a disk
 *
 * Return: 0, -EOPNOTSUPP with skip_reason or another negative errno.
 */
int swap_on(void)
{
	const char *disk = getenv("USERPTR_SWAP");

	if (!disk)
		return cannot("no swap disk in this run");
	return swapon(disk, 0) && errno != EBUSY ? -errno : 0;
}

/**
 * swap_off() - bring them back
 *
 * Return: 0, also if it was not on, or a negative errno.
 */
int swap_off(void)
{
	const char *disk = getenv("USERPTR_SWAP");

	/* EINVAL: it is not on. */
	return disk && swapoff(disk) && errno != EINVAL ? -errno : 0;
}

/**
 * restore_kernel() - switch off what tests have switched on
 *
 * Return: 0 or a negative errno.
 */
int restore_kernel(void)
{
	int ret = swap_off();

	/* 2: take merged pages apart again. */
	if (!access(KSM "run", W_OK) && write_file(KSM "run", "2"))
		ret = -EIO;
	if (!access(NUMA_BALANCING, W_OK) && write_file(NUMA_BALANCING, "0"))
		ret = -EIO;
	if (!access(NR_HUGEPAGES, W_OK) && write_file(NR_HUGEPAGES, "0"))
		ret = -EIO;
	if (umount(EXT4_DIR) && errno != EINVAL && errno != ENOENT)
		ret = -errno;
	return ret;
}
