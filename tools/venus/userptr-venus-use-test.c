// SPDX-License-Identifier: MIT
/*
 * userptr-venus-use-test: what becomes of imported host memory
 *
 * What is bound to it, who goes first, what happens while a shader runs, and many
 * and large imports.  Runs on any driver.
 *
 * Invariant: see venus-session.h.
 */
#include <malloc.h>
#include <stdio.h>

#include "venus-fixture.h"

/* ---- what is bound to what ------------------------------------------------- */

CASE(two_imports_of_one_range)
{
	uint8_t *addr = aligned_alloc(PAGE, 16 * PAGE), *copy = aligned_alloc(PAGE, 16 * PAGE);
	struct vkc_buffer one, two, result;

	ASSERT_NE(NULL, addr);
	ASSERT_NE(NULL, copy);
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, 16 * PAGE, &one));
	/* Overlapping, not the same. */
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr + 4 * PAGE, 12 * PAGE, &two));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, copy, 16 * PAGE, &result));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &one, 1000));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &two, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, 12 * PAGE, 1000 + 4 * PAGE / 4, 1, 0));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &two, 5000));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &one, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, 4 * PAGE, 1000, 1, 0));
	EXPECT_EQ(-1, wrong_word(copy + 4 * PAGE, 12 * PAGE, 5000, 1, 0));
	/* The end of one is not the end of the other. */
	vkc_buffer_free(&self->gpu.vkc, &one);
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &two, 9000));
	EXPECT_EQ(-1, wrong_word(addr + 4 * PAGE, 12 * PAGE, 9000, 1, 0));
	vkc_buffer_free(&self->gpu.vkc, &two);
	vkc_buffer_free(&self->gpu.vkc, &result);
	free(copy);
	free(addr);
}

CASE(buffer_bound_in_the_middle)
{
	const size_t size = 16 * PAGE, offset = 5 * PAGE, part = 4 * PAGE;
	uint8_t *addr = aligned_alloc(PAGE, size);
	struct vkc_buffer buffer = { .size = part };
	VkMemoryRequirements needs;

	ASSERT_NE(NULL, addr);
	memset(addr, GUARD, size);
	ASSERT_VK(VK_SUCCESS, vkc_import(&self->gpu.vkc, addr, size, &buffer.memory));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_make(&self->gpu.vkc, part, &buffer.buffer));
	vkGetBufferMemoryRequirements(self->gpu.vkc.device, buffer.buffer, &needs);
	ASSERT_EQ(0, offset % needs.alignment);
	ASSERT_GE(size - offset, needs.size);
	ASSERT_VK(VK_SUCCESS,
		  vkBindBufferMemory(self->gpu.vkc.device, buffer.buffer, buffer.memory, offset));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, 42));
	EXPECT_EQ(-1, wrong_word(addr + offset, part, 42, 1, 0));
	EXPECT_TRUE(all_bytes(addr, offset, GUARD));
	EXPECT_TRUE(all_bytes(addr + offset + part, size - offset - part, GUARD));
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	free(addr);
}

/* Two buffers in one import, each in its own half. */
CASE(two_buffers_in_one_import)
{
	const size_t half = 8 * PAGE;
	uint8_t *addr = aligned_alloc(PAGE, 2 * half);
	struct vkc_buffer low = { .size = half }, high = { .size = half };
	VkDevice device = self->gpu.vkc.device;

	ASSERT_NE(NULL, addr);
	fill_words(addr, half, 3);
	ASSERT_VK(VK_SUCCESS, vkc_import(&self->gpu.vkc, addr, 2 * half, &low.memory));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_make(&self->gpu.vkc, half, &low.buffer));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_make(&self->gpu.vkc, half, &high.buffer));
	ASSERT_VK(VK_SUCCESS, vkBindBufferMemory(device, low.buffer, low.memory, 0));
	ASSERT_VK(VK_SUCCESS, vkBindBufferMemory(device, high.buffer, low.memory, half));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_INVERT, &low, &high, 0));
	EXPECT_EQ(-1, wrong_word(addr, half, 3, 0x9e3779b9u, 0));
	EXPECT_EQ(-1, wrong_word(addr + half, half, 3, 0x9e3779b9u, ~0u));
	vkc_buffer_free(&self->gpu.vkc, &high);
	vkc_buffer_free(&self->gpu.vkc, &low);
	free(addr);
}

/* ---- who goes first -------------------------------------------------------- */

static void *used_import(struct __test_metadata *_metadata, SELF *self, struct vkc_buffer *buffer)
{
	void *addr = map_anonymous(MIB(1));

	EXPECT_NE(MAP_FAILED, addr);
	EXPECT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), buffer));
	EXPECT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, buffer, 7));
	EXPECT_EQ(-1, wrong_word(addr, MIB(1), 7, 1, 0));
	return addr;
}

CASE(memory_freed_before_its_buffer)
{
	struct vkc_buffer buffer;
	void *addr = used_import(_metadata, self, &buffer);

	vkFreeMemory(self->gpu.vkc.device, buffer.memory, NULL);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	vkDestroyBuffer(self->gpu.vkc.device, buffer.buffer, NULL);
	munmap(addr, MIB(1));
}

CASE(pages_unmapped_before_memory_is_freed)
{
	struct vkc_buffer buffer;
	void *addr = used_import(_metadata, self, &buffer);

	munmap(addr, MIB(1));
	vkDestroyBuffer(self->gpu.vkc.device, buffer.buffer, NULL);
	vkFreeMemory(self->gpu.vkc.device, buffer.memory, NULL);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	/* And the device works on: this was no violation. */
	addr = used_import(_metadata, self, &buffer);
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	munmap(addr, MIB(1));
}

CASE(device_destroyed_before_pages_are_unmapped)
{
	struct vkc_buffer buffer;
	void *addr = used_import(_metadata, self, &buffer);

	vkc_buffer_free(&self->gpu.vkc, &buffer);
	gpu_close(&self->gpu);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(-1, wrong_word(addr, MIB(1), 7, 1, 0));
	munmap(addr, MIB(1));
}

/* The same addresses, again and again, with other pages each time. */
CASE(same_address_with_new_pages)
{
	struct vkc_buffer buffer;
	void *addr = NULL, *old;
	int i;

	for (i = 0; i < 20; i++) {
		old = addr;
		addr = mmap(old, MIB(1), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | (old ? MAP_FIXED : 0), -1, 0);
		ASSERT_NE(MAP_FAILED, addr);
		ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), &buffer));
		ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, i));
		ASSERT_EQ(-1, wrong_word(addr, MIB(1), i, 1, 0));
		vkc_buffer_free(&self->gpu.vkc, &buffer);
	}
	munmap(addr, MIB(1));
}

/* ---- while a shader runs --------------------------------------------------- */

CASE(cpu_and_running_shader_share_memory)
{
	struct vkc_dispatch dispatch;
	struct gate gate;
	struct vkc_job job;
	int round;

	ASSERT_VK(VK_SUCCESS, gate_make(&self->gpu, &gate));
	dispatch = gate_dispatch(&self->gpu, &gate, 16);
	ASSERT_VK(VK_SUCCESS, vkc_submit(&self->gpu.vkc, &dispatch, 1, &job));
	for (round = 1; round <= 16; round++) {
		ASSERT_EQ(0, gate_await(&gate, round));
		ASSERT_VK(VK_TIMEOUT, vkc_wait(&self->gpu.vkc, &job, 0));
		gate_pass(&gate, round);
	}
	ASSERT_VK(VK_SUCCESS, vkc_wait(&self->gpu.vkc, &job, VKC_TIMEOUT_MS));
	EXPECT_EQ(16, atomic_load(&gate.words[GATE_ROUNDS]));
	vkc_job_free(&self->gpu.vkc, &job);
	gate_free(&self->gpu, &gate);
}

/*
 * The release rule.  The shader stands at the gate, behind which it will write
 * to memory that is freed meanwhile: the kernel tells the device, and the
 * pages stay pinned.  What is mapped at the same address afterwards is other
 * memory, which the shader must not change.  Its context goes on living, as
 * all this takes less than the device's grace period.
 */
CASE(freed_while_the_fence_is_pending)
{
	struct venus_registration registration;
	struct vkc_dispatch dispatches[2];
	struct vkc_buffer buffer;
	struct gate gate;
	struct vkc_job job;
	void *addr, *again;

	NEEDS_DEVICE();
	/* A block of this size is a mapping of its own, which free() unmaps. */
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, KIB(128)));
	addr = aligned_alloc(PAGE, MIB(1));
	ASSERT_NE(NULL, addr);
	memset(addr, 0, MIB(1));
	ASSERT_VK(VK_SUCCESS, gate_make(&self->gpu, &gate));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), &buffer));
	ASSERT_EQ(0, venus_find(addr, MIB(1), &registration));
	dispatches[0] = gate_dispatch(&self->gpu, &gate, 1);
	dispatches[1] = gpu_work(&self->gpu, VKC_FILL, NULL, &buffer, 1);
	ASSERT_VK(VK_SUCCESS, vkc_submit(&self->gpu.vkc, dispatches, 2, &job));
	ASSERT_EQ(0, gate_await(&gate, 1));

	free(addr);
	again = mmap((void *)(uintptr_t)registration.info.addr, MIB(1), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ(registration.info.addr, (uintptr_t)again);
	memset(again, GUARD, MIB(1));
	EXPECT_EQ(0, vg_userptr_wait(registration.fd, registration.handle,
				     VIRTGPU_USERPTR_INFO_WAIT_REVOKED, SETTLE_MS));
	EXPECT_EQ(-ETIME, vg_userptr_wait(registration.fd, registration.handle,
					  VIRTGPU_USERPTR_INFO_WAIT_RELEASED, 300));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 1024 + 4, SETTLE_MS));
	EXPECT_VK(VK_TIMEOUT, vkc_wait(&self->gpu.vkc, &job, 0));

	gate_pass(&gate, 1);
	EXPECT_VK(VK_SUCCESS, vkc_wait(&self->gpu.vkc, &job, VKC_TIMEOUT_MS));
	EXPECT_EQ(1, atomic_load(&gate.words[GATE_ROUNDS]));
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 4, SETTLE_MS));
	EXPECT_TRUE(all_bytes(again, MIB(1), GUARD));
	vkc_job_free(&self->gpu.vkc, &job);
	gate_free(&self->gpu, &gate);
	munmap(again, MIB(1));
}

/* ---- many, and too much ---------------------------------------------------- */

CASE(thousand_imports)
{
	const bool host_answers = getenv("USERPTR_ASK_HOST");
	const size_t size = 64 * PAGE;
	void *addr = map_anonymous(size);
	long rss = 0, slab = 0, pins;
	struct loopback_stats stats;
	struct vkc_buffer buffer;
	int i;

	ASSERT_NE(MAP_FAILED, addr);
	for (i = 0; i < 1000; i++) {
		ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, size, &buffer));
		if (i % 50 == 0) {
			ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, i));
			ASSERT_EQ(-1, wrong_word(addr, size, i, 1, 0));
		}
		vkc_buffer_free(&self->gpu.vkc, &buffer);
		/* What grows only once has grown by now. */
		if (i == 200) {
			ASSERT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
			rss = vg_status_kib("VmRSS");
			slab = read_counter("/proc/meminfo", "SUnreclaim:");
			if (host_answers)
				ASSERT_EQ(0, ask_host("mark-memory 0"));
		}
	}
	pins = vg_wait_status_kib("VmPin", 0, SETTLE_MS);
	EXPECT_EQ(0, pins);
	/* A kilobyte each would be 800. */
	EXPECT_GE(rss + 400, vg_status_kib("VmRSS"));
	EXPECT_GE(slab + 1600, read_counter("/proc/meminfo", "SUnreclaim:"));
	/* The device and its render server. */
	if (host_answers)
		EXPECT_EQ(0, ask_host("check-memory 0"));
	if (self->session.loopback) {
		ASSERT_EQ(0, session_stats(&self->session, &stats));
		EXPECT_LE(1000, stats.userptr_created);
		EXPECT_EQ(0, stats.userptr_resources);
		EXPECT_EQ(stats.userptr_created, stats.userptr_destroyed);
	}
	munmap(addr, size);
}

/* More pieces than the host's kernel takes for one dma-buf (udmabuf.list_limit). */
CASE(more_pieces_than_the_host_takes)
{
	struct vkc_buffer buffer;
	struct region region;
	long limit = atol(getenv("USERPTR_LIST_LIMIT") ?: "1024");

	NEEDS_DEVICE();
	ASSERT_LT(0, limit);
	ASSERT_EQ(0, region_scattered(&region, limit));
	check_memory(_metadata, self, region.addr, region.size);
	region_free(&region);
	ASSERT_EQ(0, region_scattered(&region, limit + 1));
	EXPECT_VK(VK_ERROR_OUT_OF_DEVICE_MEMORY,
		  vkc_buffer_import(&self->gpu.vkc, region.addr, region.size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	region_free(&region);
	ASSERT_EQ(0, region_scattered(&region, 2 * limit));
	EXPECT_VK(VK_ERROR_OUT_OF_DEVICE_MEMORY,
		  vkc_buffer_import(&self->gpu.vkc, region.addr, region.size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	region_free(&region);
}

/* And more bytes (udmabuf.size_limit_mb). */
CASE(more_bytes_than_the_host_takes)
{
	struct vkc_buffer buffer;
	struct region region;
	long limit = atol(getenv("USERPTR_SIZE_LIMIT_MB") ?: "64");

	NEEDS_DEVICE();
	ASSERT_LT(0, limit);
	ASSERT_EQ(0, region_huge(&region, MIB(limit) / PAGE + 1));
	EXPECT_VK(VK_ERROR_OUT_OF_DEVICE_MEMORY,
		  vkc_buffer_import(&self->gpu.vkc, region.addr, region.size, &buffer));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, region.addr, MIB(limit), &buffer));
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	region_free(&region);
}

/* After what went wrong the context is as good as before. */
CASE(works_after_errors)
{
	struct vkc_buffer buffer;
	uint8_t *addr = map_anonymous(MIB(1));
	int i;

	NEEDS_DEVICE();
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, munmap(addr + MIB(1) - PAGE, PAGE));
	for (i = 0; i < 50; i++)
		ASSERT_VK(VK_ERROR_INVALID_EXTERNAL_HANDLE,
			  vkc_buffer_import(&self->gpu.vkc, addr, MIB(1), &buffer));
	check_memory(_metadata, self, addr, MIB(1) - PAGE);
	munmap(addr, MIB(1) - PAGE);
}

TEST_HARNESS_MAIN
