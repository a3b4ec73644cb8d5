// SPDX-License-Identifier: MIT
/*
 * hsakmt-amdgpu-test: a client of ROCm's thunk, on an amdgpu's native context
 *
 * Compiled against the stock <hsakmt/hsakmt.h>, and the one function that this library
 * has besides.  USERPTR_AMDGPU names the render node.  The GPU's copy engine moves the
 * bytes, at the addresses that the thunk gives, through the page tables that the device
 * has made; what it must not reach it does not reach, and says so.  Runs in the guest.
 *
 * Invariant: when the last one has closed, nothing of the process is pinned.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hsakmt/hsakmt.h>

#include "hsakmt-virtgpu.h"
#include "kselftest_harness.h"
#include "virtgpu.h"

#define PAGE 4096ul
#define SETTLE_MS 10000
#define GPU 1
#define OK HSAKMT_STATUS_SUCCESS
/* Of a test; the copy engine may be a program. */
#define TIMEOUT 120

static const HsaMemFlags none = { .Value = 0 };

/* A pattern that no other seed has. */
static void fill(uint8_t *memory, size_t size, uint32_t seed)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (!(i & 3))
			seed = seed * 1664525 + 1013904223;
		memory[i] = seed >> (8 * (i & 3));
	}
}

/* Is each byte what fill() has made? */
static int is_filled(const uint8_t *memory, size_t size, uint32_t seed)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (!(i & 3))
			seed = seed * 1664525 + 1013904223;
		if (memory[i] != (uint8_t)(seed >> (8 * (i & 3))))
			return 0;
	}
	return 1;
}

static int is_all(const uint8_t *memory, size_t size, uint8_t byte)
{
	size_t i;

	for (i = 0; i < size; i++)
		if (memory[i] != byte)
			return 0;
	return 1;
}

/* Registered and mapped; 0 if one of them failed. */
static HSAuint64 give(void *memory, size_t size)
{
	HSAuint64 va;

	if (hsaKmtRegisterMemory(memory, size) != OK ||
	    hsaKmtMapMemoryToGPU(memory, size, &va) != OK)
		return 0;
	return va;
}

static HSAKMT_STATUS copy(HSAuint64 to, HSAuint64 from, size_t size)
{
	return hsaKmtVirtgpuCopy(GPU, to, from, size);
}

FIXTURE(amdgpu)
{
	int open;
};

FIXTURE_SETUP(amdgpu)
{
	self->open = 0;
	if (!getenv("USERPTR_AMDGPU"))
		SKIP(return, "no amdgpu in this run");
	setenv("HSAKMT_VIRTGPU_NODE", getenv("USERPTR_AMDGPU"), 1);
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, 1 << 16));
	ASSERT_EQ(OK, hsaKmtOpenKFD());
	self->open = 1;
}

FIXTURE_TEARDOWN(amdgpu)
{
	if (!self->open)
		return;
	EXPECT_EQ(OK, hsaKmtCloseKFD());
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS))
	{
		TH_LOG("VmPin is %ld kB", vg_status_kib("VmPin"));
	}
}

TEST_F(amdgpu, properties)
{
	HsaSystemProperties system;
	HsaNodeProperties node;
	HsaMemoryProperties banks[2];
	HSAuint64 local = 0;
	unsigned int i;

	ASSERT_EQ(OK, hsaKmtAcquireSystemProperties(&system));
	ASSERT_EQ(2, system.NumNodes);
	ASSERT_EQ(OK, hsaKmtGetNodeProperties(GPU, &node));
	TH_LOG("gfx%u%x%x, device %04x:%04x, %u SIMDs, %u copy engines, renderD%d",
	       node.EngineId.ui32.Major, node.EngineId.ui32.Minor, node.EngineId.ui32.Stepping,
	       node.VendorId, node.DeviceId, node.NumFComputeCores, node.NumSdmaEngines,
	       node.DrmRenderMinor);
	EXPECT_EQ(0x1002, node.VendorId);
	EXPECT_NE(0, node.DeviceId);
	EXPECT_NE(0, node.FamilyID);
	EXPECT_TRUE(node.EngineId.ui32.Major >= 9);
	EXPECT_LT(0, node.NumFComputeCores);
	EXPECT_LT(0, node.WaveFrontSize);
	EXPECT_LT(0, node.NumSdmaEngines);
	EXPECT_LE(128, node.DrmRenderMinor);
	ASSERT_LE(node.NumMemoryBanks, 2);
	ASSERT_EQ(OK, hsaKmtGetNodeMemoryProperties(GPU, node.NumMemoryBanks, banks));
	for (i = 0; i < node.NumMemoryBanks; i++)
		local += banks[i].SizeInBytes;
	EXPECT_EQ(local, node.LocalMemSize);
	EXPECT_EQ(OK, hsaKmtReleaseSystemProperties());
}

/* Register, map, let the engine copy there and back, unmap, deregister, free. */
TEST_F_TIMEOUT(amdgpu, copy, TIMEOUT)
{
	/* Several packets, and no multiple of anything. */
	const size_t size = (9 << 20) + 12345;
	uint8_t *from = malloc(size), *to = malloc(size);
	HSAuint64 from_va, to_va;

	fill(from, size, 1);
	memset(to, 0, size);
	from_va = give(from, size);
	to_va = give(to, size);
	ASSERT_NE(0, from_va);
	ASSERT_NE(0, to_va);
	ASSERT_EQ(OK, copy(to_va, from_va, size));
	EXPECT_TRUE(is_filled(to, size, 1));
	EXPECT_TRUE(is_filled(from, size, 1));
	/* And back. */
	fill(to, size, 2);
	ASSERT_EQ(OK, copy(from_va, to_va, size));
	EXPECT_TRUE(is_filled(from, size, 2));

	EXPECT_EQ(OK, hsaKmtUnmapMemoryToGPU(from));
	EXPECT_EQ(OK, hsaKmtDeregisterMemory(from));
	EXPECT_EQ(OK, hsaKmtUnmapMemoryToGPU(to));
	EXPECT_EQ(OK, hsaKmtDeregisterMemory(to));
	free(from);
	free(to);
}

/* To the byte: what is beside it in the page is as it was. */
TEST_F(amdgpu, odd_places)
{
	uint8_t *from = calloc(1, 70000), *to = calloc(1, 70000);
	HSAuint64 from_va, to_va;

	fill(from + 13, 65537, 3);
	from_va = give(from + 13, 65537);
	to_va = give(to + 4095, 65537);
	ASSERT_NE(0, from_va);
	ASSERT_NE(0, to_va);
	EXPECT_EQ((uintptr_t)(from + 13) & (PAGE - 1), from_va & (PAGE - 1));
	ASSERT_EQ(OK, copy(to_va, from_va, 65537));
	EXPECT_TRUE(is_all(to, 4095, 0));
	EXPECT_TRUE(is_filled(to + 4095, 65537, 3));
	EXPECT_TRUE(is_all(to + 4095 + 65537, 70000 - 4095 - 65537, 0));
	free(from);
	free(to);
}

/* A registration inside of another one is the same memory, and outlives it. */
TEST_F(amdgpu, contained)
{
	const size_t size = 40 * PAGE;
	uint8_t *block = malloc(size), *other = malloc(size);
	uint8_t *inner = block + 10 * PAGE + 100;
	HSAuint64 outer_va, inner_va, other_va, again;

	memset(block, 0, size);
	fill(other, size, 4);
	outer_va = give(block, size);
	other_va = give(other, size);
	ASSERT_NE(0, outer_va);
	ASSERT_NE(0, other_va);
	ASSERT_EQ(OK, hsaKmtRegisterMemory(inner, 5 * PAGE));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(inner, 5 * PAGE, &inner_va));
	ASSERT_EQ(OK, copy(inner_va, other_va, 5 * PAGE));
	EXPECT_TRUE(is_filled(inner, 5 * PAGE, 4));
	/* The outer address of the same bytes. */
	memset(other, 0, size);
	ASSERT_EQ(OK, copy(other_va, outer_va + (inner - block), 5 * PAGE));
	EXPECT_TRUE(is_filled(other, 5 * PAGE, 4));

	EXPECT_EQ(OK, hsaKmtUnmapMemoryToGPU(block));
	/* The resource is the job's, by its other address; this one is none any more. */
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(outer_va, inner_va, 5 * PAGE));
	EXPECT_TRUE(is_all(block, 5 * PAGE, 0));
	EXPECT_EQ(OK, hsaKmtDeregisterMemory(block));
	fill(inner, 5 * PAGE, 5);
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(inner, 5 * PAGE, &again));
	EXPECT_EQ(inner_va, again);
	ASSERT_EQ(OK, copy(other_va, inner_va, 5 * PAGE));
	EXPECT_TRUE(is_filled(other, 5 * PAGE, 5));
	free(block);
	free(other);
}

/* What is not mapped any more the GPU does not reach, and what is it goes on with. */
TEST_F(amdgpu, unmapped)
{
	const size_t size = 20 * PAGE;
	uint8_t *from = malloc(size), *to = malloc(size);
	HSAuint64 from_va, to_va;

	fill(from, size, 6);
	memset(to, 0, size);
	from_va = give(from, size);
	to_va = give(to, size);
	ASSERT_NE(0, from_va);
	ASSERT_NE(0, to_va);
	ASSERT_EQ(OK, hsaKmtUnmapMemoryToGPU(to));
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(to_va, from_va, size));
	EXPECT_TRUE(is_all(to, size, 0));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(to, size, &to_va));
	ASSERT_EQ(OK, copy(to_va, from_va, size));
	EXPECT_TRUE(is_filled(to, size, 6));
	/* Nor what is behind its end. */
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(to_va, from_va, size + PAGE));
	free(from);
	free(to);
}

/* free(), and not a word more: the registration goes, and so does the address. */
TEST_F(amdgpu, plain_free)
{
	const size_t size = 200000;
	uint8_t *block = malloc(size), *other = malloc(size);
	/* What is there afterwards is an address only. */
	volatile uintptr_t was = (uintptr_t)block;
	HSAuint64 va, other_va, nowhere;
	long both, one;

	fill(block, size, 7);
	other_va = give(other, size);
	one = vg_status_kib("VmPin");
	va = give(block, size);
	both = vg_status_kib("VmPin");
	ASSERT_NE(0, va);
	ASSERT_NE(0, other_va);
	ASSERT_LT(one, both);
	ASSERT_EQ(OK, copy(other_va, va, size));
	EXPECT_TRUE(is_filled(other, size, 7));
	free(block);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", one, SETTLE_MS));
	EXPECT_EQ(HSAKMT_STATUS_MEMORY_NOT_REGISTERED,
		  hsaKmtMapMemoryToGPU((void *)was, size, &nowhere));
	EXPECT_EQ(HSAKMT_STATUS_MEMORY_NOT_REGISTERED, hsaKmtDeregisterMemory((void *)was));
	/* Its pages may be anybody's now. */
	memset(other, 0, size);
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(other_va, va, size));
	EXPECT_TRUE(is_all(other, size, 0));
	free(other);
}

/* The address comes back from malloc(), and is another registration. */
TEST_F_TIMEOUT(amdgpu, free_and_malloc, TIMEOUT)
{
	const size_t size = 200000;
	uint8_t *out = malloc(size);
	HSAuint64 va, out_va = give(out, size);
	unsigned int i, same = 0;
	void *last = NULL;

	ASSERT_NE(0, out_va);
	for (i = 0; i < 50; i++) {
		uint8_t *block = malloc(size);

		same += block == last;
		fill(block, size, 100 + i);
		va = give(block, size);
		ASSERT_NE(0, va);
		ASSERT_EQ(OK, copy(out_va, va, size));
		ASSERT_TRUE(is_filled(out, size, 100 + i))
		{
			TH_LOG("round %u, %s address", i, block == last ? "the same" : "another");
		}
		last = block;
		free(block);
	}
	EXPECT_LT(25, same);
	free(out);
}

TEST_F(amdgpu, allocated)
{
	const size_t size = 32 * PAGE;
	uint8_t *memory;
	HSAuint64 va;

	ASSERT_EQ(OK, hsaKmtAllocMemory(GPU, size, none, (void **)&memory));
	fill(memory, size / 2, 8);
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(memory, size, &va));
	ASSERT_EQ(OK, copy(va + size / 2, va, size / 2));
	EXPECT_TRUE(is_filled(memory + size / 2, size / 2, 8));
	EXPECT_EQ(OK, hsaKmtFreeMemory(memory, size));
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(va + size / 2, va, size / 2));
}

static int child(uint8_t *block)
{
	HSAuint64 va;

	if (hsaKmtRegisterMemory(block, PAGE) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED ||
	    copy(1, 2, 3) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		return 1;
	if (hsaKmtOpenKFD() != OK)
		return 2;
	va = give(block, PAGE);
	block[0] = 9;
	if (!va || copy(va + 1, va, 1) != OK || block[1] != 9)
		return 3;
	return hsaKmtCloseKFD() == OK ? 0 : 4;
}

/* A child has none, can have its own, and leaves its parent's alone. */
TEST_F(amdgpu, fork)
{
	uint8_t *block =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	HSAuint64 va;
	pid_t pid;

	memset(block, 1, PAGE);
	va = give(block, PAGE);
	ASSERT_NE(0, va);
	ASSERT_EQ(OK, copy(va + 1, va, 1));
	pid = fork();
	if (!pid)
		_exit(child(block));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	block[0] = 4;
	ASSERT_EQ(OK, copy(va + 1, va, 1));
	EXPECT_EQ(4, block[1]);
	munmap(block, PAGE);
}

/* What the GPU must not write it reads, and does not write. */
static void read_only(struct __test_metadata *_metadata, uint8_t *memory, HSAuint64 va, size_t size)
{
	uint8_t *other = malloc(size);
	HSAuint64 other_va = give(other, size);

	ASSERT_NE(0, other_va);
	ASSERT_EQ(OK, copy(other_va, va, size));
	EXPECT_TRUE(is_filled(other, size, 10));
	memset(other, 0, size);
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(va, other_va, size));
	EXPECT_EQ(HSAKMT_STATUS_ERROR, copy(va + size - 1, other_va, 1));
	EXPECT_TRUE(is_filled(memory, size, 10));
	/* That was the end of a context, not of everything. */
	ASSERT_EQ(OK, copy(other_va, va, size));
	EXPECT_TRUE(is_filled(other, size, 10));
	free(other);
}

/* A file that is shared, and that the process itself cannot write here. */
TEST_F(amdgpu, registered_read_only)
{
	const HsaMemFlags flags = { .ui32.ReadOnly = 1 };
	const size_t size = 6 * PAGE;
	uint8_t *writable, *memory;
	int fd = memfd_create("read-only", MFD_CLOEXEC);
	HSAuint64 va;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, size));
	writable = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, writable);
	fill(writable, size, 10);
	memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(OK, hsaKmtRegisterMemoryWithFlags(memory, size, flags));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(memory, size, &va));
	read_only(_metadata, writable, va, size);
	munmap(memory, size);
	munmap(writable, size);
	close(fd);
}

/* Memory that may be written, but not by way of this address. */
TEST_F(amdgpu, mapped_read_only)
{
	const HsaMemMapFlags flags = { .ui32.ReadOnly = 1 };
	const size_t size = 6 * PAGE;
	uint8_t *memory = malloc(size);
	HSAuint32 nodes[] = { GPU };
	HSAuint64 va;

	fill(memory, size, 10);
	ASSERT_EQ(OK, hsaKmtRegisterMemory(memory, size));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPUNodes(memory, size, &va, flags, 1, nodes));
	read_only(_metadata, memory, va, size);
	free(memory);
}

TEST_HARNESS_MAIN
