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
#include "venus-session.h"

#define GUARD 0x5a

/* TCG, and a validation layer: a test takes its time. */
#define CASE(name) TEST_F_TIMEOUT(venus, name, 400)

#define EXPECT_VK(wanted, call)                                    \
	do {                                                       \
		VkResult _got = (call);                            \
		EXPECT_EQ(wanted, _got)                            \
		{                                                  \
			TH_LOG("%s: %s", #call, vkc_result(_got)); \
		}                                                  \
	} while (0)

#define ASSERT_VK(wanted, call)                                    \
	do {                                                       \
		VkResult _got = (call);                            \
		ASSERT_EQ(wanted, _got)                            \
		{                                                  \
			TH_LOG("%s: %s", #call, vkc_result(_got)); \
		}                                                  \
	} while (0)

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

static inline void fill_words(void *addr, size_t size, uint32_t seed)
{
	uint32_t *words = addr;
	size_t i;

	for (i = 0; i < size / 4; i++)
		words[i] = seed + i * 0x9e3779b9u;
}

/* The first word that is not what the CPU or a shader wrote, or -1. */
static inline long wrong_word(const void *addr, size_t size, uint32_t seed, uint32_t step,
			      uint32_t flip)
{
	const volatile uint32_t *words = addr;
	size_t i;

	for (i = 0; i < size / 4; i++) {
		if (words[i] != ((seed + (uint32_t)i * step) ^ flip))
			return i;
	}
	return -1;
}

static inline bool all_bytes(const uint8_t *addr, size_t size, uint8_t byte)
{
	size_t i;

	for (i = 0; i < size && addr[i] == byte; i++)
		;
	return i == size;
}

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
	EXPECT_EQ(-1, wrong_word(copy, size, 0x1234, 0x9e3779b9u, ~0u));
	/* After the import, too. */
	fill_words(addr, size, 0x77);
	ASSERT_VK(VK_SUCCESS, gpu_run(&self->gpu, VKC_COPY, &buffer, &result, 0));
	EXPECT_EQ(-1, wrong_word(copy, size, 0x77, 0x9e3779b9u, 0));
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

static inline void *map_anonymous(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

#endif /* VENUS_FIXTURE_H */
