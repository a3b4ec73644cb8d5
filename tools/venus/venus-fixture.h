/* SPDX-License-Identifier: MIT */
/*
 * venus-fixture: what the tests of imported host memory begin with, and judge by
 *
 * What is particular to virtio-gpu (pins, the device's statistics, what cannot be
 * pinned) is skipped on other drivers, see NEEDS_DEVICE().
 *
 * The validation layer is on.  A test in which it says a word has failed, but
 * for those that use Vulkan wrongly on purpose.
 *
 * Included by test programs only: it defines their fixture "venus".
 *
 * Invariant: see venus-session.h.
 */
#ifndef VENUS_FIXTURE_H
#define VENUS_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "test-memory.h"
#include "venus-gpu.h"
#include "vulkan-expect.h"

/* TCG, and a validation layer: a test takes its time. */
#define CASE(name) TEST_F_TIMEOUT(venus, name, 400)

/* What only our kernel driver and device do. */
#define NEEDS_DEVICE()             \
	if (!self->session.virtio) \
	SKIP(return, "no virtio-gpu device with userptr resources")

FIXTURE(venus)
{
	struct session session;
	struct gpu gpu;
	/* Vulkan is used wrongly on purpose: the layer must speak. */
	bool wrong_use;
};

FIXTURE_SETUP(venus)
{
	self->wrong_use = false;
	ASSERT_EQ(0, session_begin(&self->session));
	ASSERT_VK(VK_SUCCESS, gpu_open(&self->gpu, true));
}

FIXTURE_TEARDOWN(venus)
{
	unsigned int messages;

	gpu_close(&self->gpu);
	messages = self->gpu.vkc.messages;
	EXPECT_EQ(self->wrong_use, messages != 0)
	{
		TH_LOG("%u messages of the validation layer", messages);
	}
	EXPECT_EQ(0, session_settled(&self->session));
}

typedef FIXTURE_DATA(venus) SELF;

/*
 * Both directions: a shader reads what the CPU has written to @addr, and the CPU
 * reads there what a shader has written.  Leaves the shader's words behind.
 */
static inline void check_memory(struct __test_metadata *_metadata, SELF *self, void *addr,
				size_t size)
{
	struct vkc_buffer buffer, result;
	void *copy = aligned_alloc(PAGE, size), *map;

	ASSERT_NE(NULL, copy);
	memset(copy, GUARD, size);
	fill_words(addr, size, 0x1234);
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, addr, size, &buffer));
	ASSERT_VK(VK_SUCCESS, vkc_buffer_import(&self->gpu.vkc, copy, size, &result));
	/* Waited for: finding out about memory types pins a page for a moment. */
	if (self->session.virtio)
		EXPECT_EQ(0, vg_wait_status_kib("VmPin", 2 * size / 1024, SETTLE_MS));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_INVERT, &buffer, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x1234, WORD_STEP, ~0u));
	/* After the import, too. */
	fill_words(addr, size, 0x77);
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &buffer, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x77, WORD_STEP, 0));
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_FILL, NULL, &buffer, 0xabcd));
	EXPECT_EQ(-1, wrong_word(addr, size, 0xabcd, 1, 0));
	ASSERT_VK(VK_SUCCESS,
		  vkMapMemory(self->gpu.vkc.device, buffer.memory, 0, VK_WHOLE_SIZE, 0, &map));
	EXPECT_EQ(addr, map);
	vkUnmapMemory(self->gpu.vkc.device, buffer.memory);
	vkc_buffer_free(&self->gpu.vkc, &result);
	vkc_buffer_free(&self->gpu.vkc, &buffer);
	EXPECT_EQ(-1, wrong_word(addr, size, 0xabcd, 1, 0));
	free(copy);
}

#endif /* VENUS_FIXTURE_H */
