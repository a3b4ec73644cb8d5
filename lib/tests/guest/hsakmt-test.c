// SPDX-License-Identifier: MIT
/*
 * hsakmt-test: a client of ROCm's thunk, on the real driver
 *
 * Compiled against the stock <hsakmt/hsakmt.h>.  There is no GPU: a backend of the
 * test's own plays it with the loopback context, in which the device copies by address
 * through a table of what is mapped.  So it is tested here that registered memory
 * reaches the host, under the address that the thunk says, and that free() takes it
 * away; what a GPU's page tables do is not.  Runs in the guest.
 *
 * Invariant: when the last one has closed, the device holds no userptr resource, and
 * nothing of the process is pinned.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu.h"
#include "kselftest_harness.h"
#include "virtgpu.h"

#define PAGE 4096ul
#define SETTLE_MS 10000
#define MAPS 256
#define OK HSAKMT_STATUS_SUCCESS

/* ---- the GPU that the loopback context plays ---------------------------------- */

struct hsakmt_gpu {
	struct vg vg;
	pthread_mutex_t lock;
	struct hsakmt_gpu_range maps[MAPS];
	uint64_t vas[MAPS];
	uint64_t next;
};

static struct hsakmt_gpu loopback = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int loopback_open(struct hsakmt_gpu **gpu)
{
	loopback.next = 0x100000000000;
	*gpu = &loopback;
	return vg_open(&loopback.vg, getenv("USERPTR_MAIN"), 1);
}

static void loopback_close(struct hsakmt_gpu *gpu)
{
	memset(gpu->vas, 0, sizeof(gpu->vas));
	vg_close(&gpu->vg);
}

static int loopback_fd(struct hsakmt_gpu *gpu)
{
	return gpu->vg.fd;
}

static int loopback_map(struct hsakmt_gpu *gpu, const struct hsakmt_gpu_range *range, uint64_t *va)
{
	unsigned int i = 0;

	pthread_mutex_lock(&gpu->lock);
	while (i < MAPS && gpu->vas[i])
		i++;
	if (i < MAPS) {
		gpu->maps[i] = *range;
		gpu->vas[i] = gpu->next;
		/* No address comes twice. */
		gpu->next += range->size + PAGE;
		*va = gpu->vas[i];
	}
	pthread_mutex_unlock(&gpu->lock);
	return i < MAPS ? 0 : -ENOSPC;
}

static void loopback_unmap(struct hsakmt_gpu *gpu, uint64_t va, uint64_t size)
{
	unsigned int i;

	pthread_mutex_lock(&gpu->lock);
	for (i = 0; i < MAPS; i++)
		if (gpu->vas[i] == va)
			gpu->vas[i] = 0;
	pthread_mutex_unlock(&gpu->lock);
}

static void loopback_node(struct hsakmt_gpu *gpu, HsaNodeProperties *properties)
{
}

static unsigned int loopback_banks(struct hsakmt_gpu *gpu)
{
	return 0;
}

static const struct hsakmt_gpu_ops loopback_ops = {
	.open = loopback_open,
	.close = loopback_close,
	.fd = loopback_fd,
	.map = loopback_map,
	.unmap = loopback_unmap,
	.node_properties = loopback_node,
	.nr_memory_banks = loopback_banks,
};

const struct hsakmt_gpu_ops *hsakmt_gpu_backend(void)
{
	return &loopback_ops;
}

/* What is mapped at an address: its resource and where in it that is. */
static int translate(uint64_t va, uint64_t size, uint32_t *res, uint64_t *offset)
{
	unsigned int i;

	for (i = 0; i < MAPS; i++) {
		if (!loopback.vas[i] || va < loopback.vas[i] ||
		    va + size > loopback.vas[i] + loopback.maps[i].size)
			continue;
		*res = loopback.maps[i].res_handle;
		*offset = loopback.maps[i].offset + (va - loopback.vas[i]);
		return 0;
	}
	return -EFAULT;
}

/* The copy engine: by address, or a fault. */
static int gpu_copy(uint64_t to, uint64_t from, uint64_t size)
{
	struct vg_copy copy = { .length = size };
	int ret;

	pthread_mutex_lock(&loopback.lock);
	ret = translate(to, size, &copy.dst_res, &copy.dst_offset);
	if (!ret)
		ret = translate(from, size, &copy.src_res, &copy.src_offset);
	if (!ret)
		ret = vg_copy(&loopback.vg, &copy);
	pthread_mutex_unlock(&loopback.lock);
	return ret;
}

/* ---- tests -------------------------------------------------------------------- */

FIXTURE(hsakmt)
{
	int open;
};

FIXTURE_SETUP(hsakmt)
{
	self->open = 0;
	if (!getenv("USERPTR_MAIN"))
		SKIP(return, "no device \"MAIN\" in this run");
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, 1 << 16));
	ASSERT_EQ(OK, hsaKmtOpenKFD());
	self->open = 1;
}

FIXTURE_TEARDOWN(hsakmt)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	struct loopback_stats stats;
	struct vg vg;

	if (!self->open)
		return;
	EXPECT_EQ(OK, hsaKmtCloseKFD());
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	ASSERT_EQ(0, vg_open(&vg, getenv("USERPTR_MAIN"), 1));
	do {
		ASSERT_EQ(0, vg_stats(&vg, &stats));
	} while (stats.userptr_resources && vg_now_us() < end);
	EXPECT_EQ(0, stats.userptr_resources);
	vg_close(&vg);
}

/* Register, map, let the engine copy, unmap, deregister, free. */
TEST_F(hsakmt, copy)
{
	const size_t size = 200000;
	uint8_t *from = malloc(size), *to = malloc(size);
	HSAuint64 from_va, to_va;
	size_t i;

	for (i = 0; i < size; i++)
		from[i] = i * 7 + (i >> 8);
	memset(to, 0, size);
	ASSERT_EQ(OK, hsaKmtRegisterMemory(from, size));
	ASSERT_EQ(OK, hsaKmtRegisterMemory(to, size));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(from, size, &from_va));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(to, size, &to_va));
	ASSERT_EQ(0, gpu_copy(to_va, from_va, size));
	EXPECT_EQ(0, memcmp(from, to, size));

	EXPECT_EQ(OK, hsaKmtUnmapMemoryToGPU(from));
	EXPECT_EQ(-EFAULT, gpu_copy(to_va, from_va, size));
	EXPECT_EQ(OK, hsaKmtDeregisterMemory(from));
	EXPECT_EQ(OK, hsaKmtDeregisterMemory(to));
	free(from);
	free(to);
}

/* free(), and not a word more: the registration goes, and so does the address. */
TEST_F(hsakmt, plain_free)
{
	const size_t size = 200000;
	uint8_t *block = malloc(size);
	/* What is there afterwards is an address only. */
	volatile uintptr_t was = (uintptr_t)block;
	HSAuint64 va, none;
	uint64_t end;

	ASSERT_EQ(OK, hsaKmtRegisterMemory(block, size));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(block, size, &va));
	ASSERT_EQ(0, gpu_copy(va + 100000, va, 1000));
	ASSERT_LT(0, vg_status_kib("VmPin"));
	free(block);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	end = vg_now_us() + SETTLE_MS * 1000ull;
	while (gpu_copy(va + 100000, va, 1000) != -EFAULT && vg_now_us() < end)
		;
	EXPECT_EQ(-EFAULT, gpu_copy(va + 100000, va, 1000));
	EXPECT_EQ(HSAKMT_STATUS_MEMORY_NOT_REGISTERED,
		  hsaKmtMapMemoryToGPU((void *)was, size, &none));
	EXPECT_EQ(HSAKMT_STATUS_MEMORY_NOT_REGISTERED, hsaKmtDeregisterMemory((void *)was));
}

/* The address comes back from malloc(), and is another registration. */
TEST_F(hsakmt, free_and_malloc)
{
	const size_t size = 200000;
	HSAuint64 va, out_va;
	uint8_t *out = malloc(size);
	unsigned int i, same = 0;
	void *last = NULL;

	ASSERT_EQ(OK, hsaKmtRegisterMemory(out, size));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(out, size, &out_va));
	for (i = 0; i < 100; i++) {
		uint8_t *block = malloc(size);

		same += block == last;
		memset(block, i, size);
		ASSERT_EQ(OK, hsaKmtRegisterMemory(block, size));
		ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(block, size, &va));
		ASSERT_EQ(0, gpu_copy(out_va, va, size));
		ASSERT_EQ(0, memcmp(out, block, size))
		{
			TH_LOG("round %u, %s address", i, block == last ? "the same" : "another");
		}
		last = block;
		free(block);
	}
	EXPECT_LT(50, same);
	free(out);
}

TEST_F(hsakmt, allocated)
{
	HsaMemFlags flags = { .Value = 0 };
	uint8_t *memory;
	HSAuint64 va;

	ASSERT_EQ(OK, hsaKmtAllocMemory(0, 16 * PAGE, flags, (void **)&memory));
	memset(memory, 3, 8 * PAGE);
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(memory, 16 * PAGE, &va));
	ASSERT_EQ(0, gpu_copy(va + 8 * PAGE, va, 8 * PAGE));
	EXPECT_EQ(3, memory[16 * PAGE - 1]);
	EXPECT_EQ(OK, hsaKmtFreeMemory(memory, 16 * PAGE));
	EXPECT_EQ(-EFAULT, gpu_copy(va + 8 * PAGE, va, 8 * PAGE));
}

static int child(uint8_t *block)
{
	HSAuint64 va;

	if (hsaKmtRegisterMemory(block, PAGE) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		return 1;
	memset(&loopback, 0, sizeof(loopback));
	if (hsaKmtOpenKFD() != OK || hsaKmtRegisterMemory(block, PAGE) != OK ||
	    hsaKmtMapMemoryToGPU(block, PAGE, &va) != OK)
		return 2;
	block[0] = 9;
	if (gpu_copy(va + 1, va, 1) || block[1] != 9)
		return 3;
	return hsaKmtCloseKFD() == OK ? 0 : 4;
}

TEST_F(hsakmt, fork)
{
	uint8_t *block =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	HSAuint64 va;
	pid_t pid;

	memset(block, 1, PAGE);
	ASSERT_EQ(OK, hsaKmtRegisterMemory(block, PAGE));
	ASSERT_EQ(OK, hsaKmtMapMemoryToGPU(block, PAGE, &va));
	pid = fork();
	if (!pid)
		_exit(child(block));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	block[0] = 4;
	ASSERT_EQ(0, gpu_copy(va + 1, va, 1));
	EXPECT_EQ(4, block[1]);
	munmap(block, PAGE);
}

TEST_HARNESS_MAIN
