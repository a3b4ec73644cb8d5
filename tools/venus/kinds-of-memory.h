/* SPDX-License-Identifier: MIT */
/*
 * kinds-of-memory: tests that memory of each kind works, whatever works on it
 *
 * Included by test programs only, behind what these tests use: CASE(name) begins a test
 * of their fixture SELF; check_memory(_metadata, self, addr, size) has a device read and
 * write all of that memory, which it leaves changed; NEEDS_DEVICE() skips what takes
 * virtio-gpu.
 */
#ifndef KINDS_OF_MEMORY_H
#define KINDS_OF_MEMORY_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"
#include "test-memory.h"

CASE(heap)
{
	void *small = aligned_alloc(PAGE, PAGE), *large = aligned_alloc(PAGE, MIB(2));

	ASSERT_NE(NULL, small);
	ASSERT_NE(NULL, large);
	check_memory(_metadata, self, small, PAGE);
	check_memory(_metadata, self, large, MIB(2));
	free(large);
	free(small);
}

/* What malloc keeps beside and between is not touched. */
CASE(heap_in_the_middle)
{
	uint8_t *addr = aligned_alloc(PAGE, 16 * PAGE);

	ASSERT_NE(NULL, addr);
	memset(addr, GUARD, 16 * PAGE);
	check_memory(_metadata, self, addr + 5 * PAGE, 3 * PAGE);
	EXPECT_TRUE(all_bytes(addr, 5 * PAGE, GUARD));
	EXPECT_TRUE(all_bytes(addr + 8 * PAGE, 8 * PAGE, GUARD));
	free(addr);
}

CASE(stack)
{
	uint8_t block[9 * PAGE];
	uint8_t *addr = (uint8_t *)(((uintptr_t)block + PAGE - 1) & ~(PAGE - 1));

	check_memory(_metadata, self, addr, 8 * PAGE);
}

CASE(mmap_anonymous)
{
	uint8_t *addr = map_anonymous(MIB(1));

	ASSERT_NE(MAP_FAILED, addr);
	check_memory(_metadata, self, addr, MIB(1));
	munmap(addr, MIB(1));
}

CASE(mmap_shared_memory)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	uint8_t *addr, *other;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, MIB(1)));
	addr = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other = mmap(NULL, MIB(1), PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_NE(MAP_FAILED, other);
	check_memory(_metadata, self, addr, MIB(1));
	EXPECT_EQ(0, memcmp(addr, other, MIB(1)));
	munmap(other, MIB(1));
	munmap(addr, MIB(1));
	close(fd);
}

/* The process's own copy is written, never the file. */
CASE(private_file)
{
	int fd = ext4_file(16 * PAGE);
	uint8_t *addr;

	if (fd < 0)
		SKIP(return, "no ext4 image in this run");
	addr = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	check_memory(_metadata, self, addr, 16 * PAGE);
	EXPECT_TRUE(file_has_bytes(fd, 16 * PAGE, GUARD));
	munmap(addr, 16 * PAGE);
	close(fd);
}

CASE(huge_pages)
{
	struct region region;

	NEEDS_DEVICE();
	ASSERT_EQ(0, region_huge(&region, MIB(4) / PAGE));
	check_memory(_metadata, self, region.addr, region.size);
	region_free(&region);
}

CASE(scattered_pages)
{
	struct region region;

	NEEDS_DEVICE();
	ASSERT_EQ(0, region_scattered(&region, 500));
	check_memory(_metadata, self, region.addr, region.size);
	region_free(&region);
}

#endif /* KINDS_OF_MEMORY_H */
