// SPDX-License-Identifier: MIT
/*
 * test_hsakmt: the thunk on a stand-in for a GPU, and for the kernel
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake.h"
#include "gpu.h"
#include "hsakmt-virtgpu.h"

#define P FAKE_PAGE
#define BASE 0x100000ul
#define MAPS 64
#define OK HSAKMT_STATUS_SUCCESS

/* ---- the GPU ---------------------------------------------------------------- */

static struct gpu {
	pthread_mutex_t lock;
	pthread_cond_t unmapped;
	struct hsakmt_gpu_range maps[MAPS];
	bool mapped[MAPS];
	unsigned int nr, opens, closes;
	uint64_t dst, src, size;
	int fail;
} gpu = { .lock = PTHREAD_MUTEX_INITIALIZER, .unmapped = PTHREAD_COND_INITIALIZER };

static uint64_t va_of(unsigned int i)
{
	return 0x7000000000ul + i * 0x10000000ul;
}

static int gpu_open(struct hsakmt_gpu **out)
{
	if (gpu.fail)
		return gpu.fail;
	gpu.opens++;
	*out = (struct hsakmt_gpu *)&gpu;
	return 0;
}

static void gpu_close(struct hsakmt_gpu *out)
{
	assert_ptr_equal(out, &gpu);
	gpu.closes++;
}

static int gpu_fd(struct hsakmt_gpu *out)
{
	(void)out;
	return fake.event_fd;
}

static int gpu_map(struct hsakmt_gpu *out, const struct hsakmt_gpu_range *range, uint64_t *va)
{
	unsigned int i = 0;

	(void)out;
	if (gpu.fail)
		return gpu.fail;
	pthread_mutex_lock(&gpu.lock);
	while (gpu.mapped[i])
		i++;
	gpu.maps[i] = *range;
	gpu.mapped[i] = true;
	gpu.nr++;
	*va = va_of(i);
	pthread_mutex_unlock(&gpu.lock);
	return 0;
}

/* What is unmapped must be there, and still be the resource that was mapped. */
static void gpu_unmap(struct hsakmt_gpu *out, uint64_t va, uint64_t size)
{
	unsigned int i = 0;

	(void)out;
	pthread_mutex_lock(&gpu.lock);
	while (i < MAPS && (va_of(i) != va || !gpu.mapped[i] || gpu.maps[i].size != size))
		i++;
	if (i == MAPS || !fake.bos[gpu.maps[i].bo_handle].used)
		abort();
	gpu.mapped[i] = false;
	gpu.nr--;
	pthread_cond_broadcast(&gpu.unmapped);
	pthread_mutex_unlock(&gpu.lock);
}

static int gpu_copy(struct hsakmt_gpu *out, uint64_t dst, uint64_t src, uint64_t size)
{
	(void)out;
	gpu.dst = dst;
	gpu.src = src;
	gpu.size = size;
	return gpu.fail;
}

static void gpu_node(struct hsakmt_gpu *out, HsaNodeProperties *properties)
{
	(void)out;
	properties->VendorId = 0x1002;
	properties->DrmRenderMinor = 128;
}

static unsigned int gpu_banks(struct hsakmt_gpu *out)
{
	(void)out;
	return 2;
}

static void gpu_memory(struct hsakmt_gpu *out, unsigned int bank, HsaMemoryProperties *properties)
{
	(void)out;
	properties->SizeInBytes = bank + 100;
}

static const struct hsakmt_gpu_ops gpu_ops = {
	.open = gpu_open,
	.close = gpu_close,
	.fd = gpu_fd,
	.map = gpu_map,
	.unmap = gpu_unmap,
	.copy = gpu_copy,
	.node_properties = gpu_node,
	.nr_memory_banks = gpu_banks,
	.memory_properties = gpu_memory,
};

const struct hsakmt_gpu_ops *hsakmt_gpu_backend(void)
{
	return &gpu_ops;
}

int __wrap_virtgpu_userptr_open(int fd, const struct virtgpu_userptr_options *options,
				struct virtgpu_userptr **ctx);

int __wrap_virtgpu_userptr_open(int fd, const struct virtgpu_userptr_options *options,
				struct virtgpu_userptr **ctx)
{
	return context_open(fd, options, &fake_ops, ctx);
}

static void wait_unmapped(unsigned int nr)
{
	pthread_mutex_lock(&gpu.lock);
	while (gpu.nr > nr)
		pthread_cond_wait(&gpu.unmapped, &gpu.lock);
	pthread_mutex_unlock(&gpu.lock);
}

/* ---- tests ------------------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	/* Whoever waits for what does not come is ended. */
	alarm(60);
	fake_reset();
	gpu.opens = 0;
	gpu.closes = 0;
	gpu.fail = 0;
	assert_int_equal(hsaKmtOpenKFD(), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(hsaKmtCloseKFD(), OK);
	assert_int_equal(gpu.nr, 0);
	assert_int_equal(gpu.closes, gpu.opens);
	assert_int_equal(fake.nr, 0);
	return 0;
}

static uint64_t map_at(uint64_t addr, uint64_t size)
{
	HSAuint64 va = 1;

	assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(addr), size, &va), OK);
	return va;
}

static void test_open(void **state)
{
	(void)state;
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_ALREADY_OPENED);
	assert_int_equal(hsaKmtCloseKFD(), OK);
	assert_int_equal(gpu.closes, 0);
	assert_int_equal(hsaKmtCloseKFD(), OK);
	assert_int_equal(gpu.closes, 1);
	assert_int_equal(hsaKmtCloseKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	gpu.fail = -ENODEV;
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	gpu.fail = 0;
	fake.create_flags = 0;
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED);
	assert_int_equal(gpu.closes, gpu.opens);
	fake.create_flags = VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT;
	assert_int_equal(hsaKmtOpenKFD(), OK);
}

static void *open_and_close(void *data)
{
	(void)data;
	for (unsigned int i = 0; i < 50; i++) {
		HSAKMT_STATUS status = hsaKmtOpenKFD();

		if (status != OK && status != HSAKMT_STATUS_KERNEL_ALREADY_OPENED)
			abort();
		if (hsaKmtRegisterMemory(fake_addr(BASE), P) != OK ||
		    hsaKmtDeregisterMemory(fake_addr(BASE)) != OK || hsaKmtCloseKFD() != OK)
			abort();
	}
	return NULL;
}

/* By several at a time, who each have it open for as long as they use it. */
static void test_open_by_threads(void **state)
{
	pthread_t threads[4];
	unsigned int i;

	(void)state;
	assert_int_equal(hsaKmtCloseKFD(), OK);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, NULL), 0);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(gpu.closes, gpu.opens);
	assert_int_equal(hsaKmtOpenKFD(), OK);
}

/* The address is that of the byte, wherever in its page it is. */
static void test_map(void **state)
{
	uint64_t addr = BASE + 100, va;

	(void)state;
	assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(addr), P, &va),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
	assert_int_equal(va, 0);
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(addr), 2 * P), OK);
	va = map_at(addr, 2 * P);
	assert_int_equal(va, va_of(0) + 100);
	assert_int_equal(gpu.maps[0].size, 3 * P);
	assert_int_equal(gpu.maps[0].offset, 0);
	assert_false(gpu.maps[0].rdonly);
	/* A part of it, which is the same mapping. */
	assert_int_equal(map_at(addr + P, 10), va + P);
	assert_int_equal(gpu.nr, 1);
	assert_int_equal(hsaKmtUnmapMemoryToGPU(fake_addr(addr)), OK);
	assert_int_equal(gpu.nr, 1);
	assert_int_equal(hsaKmtUnmapMemoryToGPU(fake_addr(addr)), OK);
	assert_int_equal(gpu.nr, 0);
	assert_int_equal(hsaKmtUnmapMemoryToGPU(fake_addr(addr)), HSAKMT_STATUS_ERROR);
	assert_int_equal(hsaKmtDeregisterMemory(fake_addr(addr)), OK);
	assert_int_equal(hsaKmtDeregisterMemory(fake_addr(addr)),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
	assert_int_equal(hsaKmtMapMemoryToGPU(NULL, P, &va), HSAKMT_STATUS_INVALID_PARAMETER);
}

/* Inside of another registration: the resource is that one's. */
static void test_map_inside(void **state)
{
	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), 16 * P), OK);
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE + 4 * P + 8), P), OK);
	assert_int_equal(fake.creates, 1);
	assert_int_equal(map_at(BASE + 4 * P + 8, P), va_of(0) + 8);
	assert_int_equal(gpu.maps[0].offset, 4 * P);
	assert_int_equal(gpu.maps[0].size, 2 * P);
	/* What is unmapped is what was mapped, whatever was registered there since. */
	map_at(BASE + 8 * P, P);
	assert_int_equal(gpu.nr, 2);
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE + 8 * P), P), OK);
	assert_int_equal(hsaKmtUnmapMemoryToGPU(fake_addr(BASE + 8 * P)), OK);
	assert_int_equal(gpu.nr, 1);
	assert_int_equal(hsaKmtUnmapMemoryToGPU(fake_addr(BASE + 8 * P)), HSAKMT_STATUS_ERROR);
}

/* Beyond its end, and beyond that of the address space. */
static void test_map_too_much(void **state)
{
	HSAuint64 va;

	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), P), OK);
	assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(BASE), P + 1, &va),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
	assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(BASE), UINT64_MAX, &va),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
}

static void test_counts(void **state)
{
	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), P), OK);
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), P), OK);
	map_at(BASE, P);
	assert_int_equal(hsaKmtDeregisterMemory(fake_addr(BASE)), OK);
	assert_int_equal(gpu.nr, 1);
	/* The last one takes it from the GPU. */
	assert_int_equal(hsaKmtDeregisterMemory(fake_addr(BASE)), OK);
	assert_int_equal(gpu.nr, 0);
}

/* free(), and not a word: the GPU loses it, and the books forget it. */
static void test_freed(void **state)
{
	uint64_t va;

	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), 4 * P), OK);
	map_at(BASE, 4 * P);
	fake_unmap(BASE, 4 * P);
	wait_unmapped(0);
	assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(BASE), 4 * P, &va),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
	assert_int_equal(hsaKmtDeregisterMemory(fake_addr(BASE)),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
}

/* And malloc() at the same address, sooner than anybody was told. */
static void test_freed_and_registered_again(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		uint64_t va;

		assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), 4 * P), OK);
		va = map_at(BASE, 4 * P);
		pthread_mutex_lock(&gpu.lock);
		assert_int_equal(fake.bos[gpu.maps[(va - va_of(0)) >> 28].bo_handle].state,
				 VIRTGPU_USERPTR_STATE_LIVE);
		pthread_mutex_unlock(&gpu.lock);
		fake_unmap(BASE, 4 * P);
	}
	wait_unmapped(0);
}

/* The kernel has not looked yet; nobody gets an address for what is gone. */
static void test_map_what_is_gone(void **state)
{
	HSAuint64 va;

	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), P), OK);
	fake_dontneed(BASE, P);
	assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(BASE), P, &va),
			 HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
}

static void test_flags(void **state)
{
	HsaMemFlags flags = { .Value = 0 };
	HsaMemMapFlags map_flags = { .Value = 0 };
	HSAuint32 nodes[] = { 0, 1, 2 };
	HSAuint64 va;

	(void)state;
	flags.ui32.ReadOnly = 1;
	flags.ui32.ExecuteAccess = 1;
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(fake_addr(BASE), P, flags), OK);
	map_at(BASE, P);
	assert_true(gpu.maps[0].rdonly && gpu.maps[0].execute);
	assert_true(fake.bos[gpu.maps[0].bo_handle].flags & VIRTGPU_USERPTR_RDONLY);

	assert_int_equal(hsaKmtRegisterMemoryToNodes(fake_addr(BASE + 8 * P), P, 2, nodes), OK);
	assert_int_equal(hsaKmtRegisterMemoryToNodes(fake_addr(BASE + 8 * P), P, 3, nodes),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtRegisterMemoryToNodes(fake_addr(BASE + 8 * P), P, 0, nodes),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	map_flags.ui32.ReadOnly = 1;
	assert_int_equal(hsaKmtMapMemoryToGPUNodes(fake_addr(BASE + 8 * P), P, &va, map_flags, 3,
						   nodes),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtMapMemoryToGPUNodes(fake_addr(BASE + 8 * P), P, &va, map_flags, 2,
						   nodes),
			 OK);
	assert_true(gpu.maps[1].rdonly && !gpu.maps[1].execute);
	assert_int_equal(va, va_of(1));
}

static void test_errors(void **state)
{
	const struct {
		int error;
		HSAKMT_STATUS status;
	} cases[] = {
		{ -EFAULT, HSAKMT_STATUS_INVALID_PARAMETER },
		{ -ENOMEM, HSAKMT_STATUS_NO_MEMORY },
		{ -ENOSPC, HSAKMT_STATUS_OUT_OF_RESOURCES },
		{ -EOPNOTSUPP, HSAKMT_STATUS_NOT_SUPPORTED },
		{ -EIO, HSAKMT_STATUS_KERNEL_COMMUNICATION_ERROR },
		{ -EPROTO, HSAKMT_STATUS_KERNEL_COMMUNICATION_ERROR },
		{ -ETIMEDOUT, HSAKMT_STATUS_KERNEL_COMMUNICATION_ERROR },
		{ -EBUSY, HSAKMT_STATUS_ERROR },
	};
	HSAuint64 va;
	unsigned int i;

	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE + 8 * P), P), OK);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake.fail_create = cases[i].error;
		assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), P), cases[i].status);
		gpu.fail = cases[i].error;
		assert_int_equal(hsaKmtMapMemoryToGPU(fake_addr(BASE + 8 * P), P, &va),
				 cases[i].status);
	}
	assert_int_equal(hsaKmtRegisterMemory(NULL, P), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), 0), HSAKMT_STATUS_INVALID_PARAMETER);
	gpu.fail = 0;
}

static void test_alloc(void **state)
{
	HsaMemFlags flags = { .Value = 0 };
	uint8_t *memory = NULL;
	void *at;

	(void)state;
	assert_int_equal(hsaKmtAllocMemory(0, 4 * P, flags, (void **)&memory), OK);
	memory[4 * P - 1] = 1;
	assert_int_equal(map_at((uintptr_t)memory, 4 * P), va_of(0));
	/* It is freed, and not deregistered. */
	assert_int_equal(hsaKmtDeregisterMemory(memory), HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
	assert_int_equal(hsaKmtRegisterMemory(memory, 4 * P), OK);
	assert_int_equal(hsaKmtDeregisterMemory(memory), OK);
	assert_int_equal(hsaKmtFreeMemory(memory, P), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtFreeMemory(memory, 4 * P), OK);
	assert_int_equal(gpu.nr, 0);
	assert_int_equal(hsaKmtFreeMemory(memory, 4 * P), HSAKMT_STATUS_INVALID_PARAMETER);

	/* At a place of the client's choice, which has to be free. */
	flags.ui32.FixedAddress = 1;
	at = memory;
	assert_int_equal(hsaKmtAllocMemory(0, 4 * P, flags, &at), OK);
	assert_ptr_equal(at, memory);
	assert_int_equal(hsaKmtAllocMemory(0, P, flags, &at), HSAKMT_STATUS_INVALID_PARAMETER);
	/* What was never freed goes when it is closed. */
}

static void test_alloc_refused(void **state)
{
	HsaMemFlags flags = { .Value = 0 };
	void *memory = NULL;

	(void)state;
	assert_int_equal(hsaKmtAllocMemory(2, P, flags, &memory), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtAllocMemory(0, P + 1, flags, &memory),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtAllocMemory(0, P, flags, NULL), HSAKMT_STATUS_INVALID_PARAMETER);
	/* Of the GPU's own there is none; the system's will do, if it may. */
	flags.ui32.NoSubstitute = 1;
	assert_int_equal(hsaKmtAllocMemory(1, P, flags, &memory), HSAKMT_STATUS_NOT_SUPPORTED);
	flags.ui32.NoSubstitute = 0;
	assert_int_equal(hsaKmtAllocMemory(1, P, flags, &memory), OK);
	flags.ui32.Scratch = 1;
	assert_int_equal(hsaKmtAllocMemory(1, P, flags, &memory), HSAKMT_STATUS_NOT_SUPPORTED);
}

static void test_copy(void **state)
{
	(void)state;
	assert_int_equal(hsaKmtVirtgpuCopy(1, 5, 6, 7), OK);
	assert_int_equal(gpu.dst, 5);
	assert_int_equal(gpu.src, 6);
	assert_int_equal(gpu.size, 7);
	assert_int_equal(hsaKmtVirtgpuCopy(0, 1, 2, 3), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtVirtgpuCopy(2, 1, 2, 3), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(gpu.size, 7);
	gpu.fail = -ECANCELED;
	assert_int_equal(hsaKmtVirtgpuCopy(1, 1, 2, 3), HSAKMT_STATUS_ERROR);
	gpu.fail = 0;
}

static void test_topology(void **state)
{
	HsaSystemProperties system;
	HsaNodeProperties node;
	HsaMemoryProperties memory[3];

	(void)state;
	assert_int_equal(hsaKmtGetNodeProperties(0, &node), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtAcquireSystemProperties(NULL), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtAcquireSystemProperties(&system), OK);
	assert_int_equal(system.NumNodes, 2);
	assert_int_equal(hsaKmtGetNodeProperties(0, &node), OK);
	assert_true(node.NumCPUCores > 0);
	assert_int_equal(node.NumMemoryBanks, 1);
	assert_int_equal(node.DrmRenderMinor, -1);
	assert_int_equal(hsaKmtGetNodeMemoryProperties(0, 1, memory), OK);
	assert_int_equal(memory[0].HeapType, HSA_HEAPTYPE_SYSTEM);
	assert_true(memory[0].SizeInBytes > 1 << 20);
	assert_int_equal(hsaKmtGetNodeMemoryProperties(0, 2, memory),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtGetNodeProperties(1, &node), OK);
	assert_int_equal(node.VendorId, 0x1002);
	assert_int_equal(node.NumMemoryBanks, 2);
	assert_int_equal(hsaKmtGetNodeMemoryProperties(1, 2, memory), OK);
	assert_int_equal(memory[1].SizeInBytes, 101);
	assert_int_equal(hsaKmtGetNodeProperties(2, &node), HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtReleaseSystemProperties(), OK);
	assert_int_equal(hsaKmtGetNodeProperties(0, &node), HSAKMT_STATUS_INVALID_NODE_UNIT);
}

/* A child starts a thread of its own, which the thread sanitizer cannot follow. */
#ifndef __SANITIZE_THREAD__
static int in_child(void)
{
	unsigned int closes = fake.closes;
	HSAuint64 va;

	if (hsaKmtRegisterMemory(fake_addr(BASE), P) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		return 1;
	if (hsaKmtCloseKFD() != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		return 2;
	/* Its own. */
	if (hsaKmtOpenKFD() != OK || hsaKmtRegisterMemory(fake_addr(BASE), P) != OK ||
	    hsaKmtMapMemoryToGPU(fake_addr(BASE), P, &va) != OK)
		return 3;
	if (hsaKmtCloseKFD() != OK || gpu.nr != 1)
		return 4;
	return fake.closes == closes + 1 ? 0 : 5;
}

static void test_fork(void **state)
{
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(hsaKmtRegisterMemory(fake_addr(BASE), P), OK);
	map_at(BASE, P);
	child = fork();
	if (!child)
		_exit(in_child());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(map_at(BASE, P), va_of(0));
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open),
		TEST(test_open_by_threads),
		TEST(test_map),
		TEST(test_map_inside),
		TEST(test_map_too_much),
		TEST(test_counts),
		TEST(test_freed),
		TEST(test_freed_and_registered_again),
		TEST(test_map_what_is_gone),
		TEST(test_flags),
		TEST(test_errors),
		TEST(test_alloc),
		TEST(test_alloc_refused),
		TEST(test_copy),
		TEST(test_topology),
#ifndef __SANITIZE_THREAD__
		TEST(test_fork),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
