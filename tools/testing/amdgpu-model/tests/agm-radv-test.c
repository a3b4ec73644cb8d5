// SPDX-License-Identifier: MIT
/*
 * Stock RADV on the model: fill, update and copy on each kind of queue, on imported memory, on GTT
 * and on VRAM.  Needs RADV_PERFTEST=transfer_queue in the environment for the transfer queue.
 *
 * On queues for graphics and compute RADV runs a shader for 4 KiB and more of VRAM, which the model
 * does not execute; so VRAM is small there, and of any size on the transfer queue.
 */
#include "agt.h"
#include "agv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest_harness.h"

#define MIB 1048576ul
#define LOCAL VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
#define VISIBLE VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT

static void *memory(size_t size, unsigned int seed)
{
	uint32_t *words =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	if (words == MAP_FAILED)
		return NULL;
	for (i = 0; i < size / 4; i++)
		words[i] = (uint32_t)(i * 2654435761u + seed);
	return words;
}

FIXTURE(radv)
{
	struct agv v;
	int64_t draws;
};

FIXTURE_VARIANT(radv)
{
	VkQueueFlags with;
	VkQueueFlags without;
	size_t vram;
};

FIXTURE_VARIANT_ADD(radv, graphics){ .with = VK_QUEUE_GRAPHICS_BIT, .vram = 2048 };
FIXTURE_VARIANT_ADD(radv, compute){ .with = VK_QUEUE_COMPUTE_BIT,
				    .without = VK_QUEUE_GRAPHICS_BIT,
				    .vram = 2048 };
FIXTURE_VARIANT_ADD(radv, transfer){ .with = VK_QUEUE_TRANSFER_BIT,
				     .without = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT,
				     .vram = 32 * MIB };

FIXTURE_SETUP(radv)
{
	ASSERT_EQ(VK_SUCCESS, agv_open(&self->v, variant->with, variant->without));
	self->draws = agt_stat("draws");
}

FIXTURE_TEARDOWN(radv)
{
	EXPECT_EQ(0, self->v.messages);
	EXPECT_EQ(self->draws, agt_stat("draws"));
	agv_close(&self->v);
	EXPECT_EQ(0, agt_stat("faults"));
	EXPECT_EQ(0, agt_stat("bad_packets"));
}

TEST_F(radv, is_the_model)
{
	EXPECT_EQ(0x73bf, self->v.properties.deviceID);
	EXPECT_EQ(AGT_PAGE, self->v.alignment);
}

TEST_F(radv, fill_and_update)
{
	struct agv_buffer b;
	VkCommandBuffer commands;
	uint32_t data[16], i;
	uint32_t *words;

	ASSERT_EQ(VK_SUCCESS, agv_alloc(&self->v, MIB, VISIBLE, LOCAL, &b));
	ASSERT_NE(NULL, b.cpu);
	words = b.cpu;
	memset(words, 0, MIB);
	for (i = 0; i < 16; i++)
		data[i] = i + 100;
	ASSERT_EQ(VK_SUCCESS, agv_begin(&self->v, &commands));
	vkCmdFillBuffer(commands, b.buffer, 4096, 65536, 0xdeadbeef);
	vkCmdUpdateBuffer(commands, b.buffer, 131072, sizeof(data), data);
	ASSERT_EQ(VK_SUCCESS, agv_run(&self->v, commands));
	EXPECT_EQ(0, words[1023]);
	for (i = 1024; i < 1024 + 16384; i++)
		ASSERT_EQ(0xdeadbeef, words[i]);
	EXPECT_EQ(0, words[1024 + 16384]);
	EXPECT_EQ(0, memcmp(words + 32768, data, sizeof(data)));
	agv_free(&self->v, &b);
}

TEST_F(radv, copy_between_imports)
{
	size_t size = 8 * MIB;
	void *from = memory(size, 1), *to = memory(size, 2);
	struct agv_buffer a, b;

	ASSERT_EQ(VK_SUCCESS, agv_import(&self->v, from, size, &a));
	ASSERT_EQ(VK_SUCCESS, agv_import(&self->v, to, size, &b));
	ASSERT_EQ(VK_SUCCESS, agv_copy(&self->v, &a, &b));
	EXPECT_EQ(0, memcmp(from, to, size));
	agv_free(&self->v, &a);
	agv_free(&self->v, &b);
	munmap(from, size);
	munmap(to, size);
}

TEST_F(radv, through_vram)
{
	size_t size = variant->vram;
	void *from = memory(AGT_PAGE + size, 3), *to = memory(AGT_PAGE + size, 4);
	size_t imported = (size + AGT_PAGE - 1) & ~(AGT_PAGE - 1);
	struct agv_buffer a, b, vram;

	ASSERT_EQ(VK_SUCCESS, agv_import(&self->v, from, imported, &a));
	ASSERT_EQ(VK_SUCCESS, agv_import(&self->v, to, imported, &b));
	ASSERT_EQ(VK_SUCCESS, agv_alloc(&self->v, imported, LOCAL, 0, &vram));
	ASSERT_EQ(VK_SUCCESS, agv_copy(&self->v, &a, &vram));
	ASSERT_EQ(VK_SUCCESS, agv_copy(&self->v, &vram, &b));
	EXPECT_EQ(0, memcmp(from, to, imported));
	agv_free(&self->v, &a);
	agv_free(&self->v, &b);
	agv_free(&self->v, &vram);
	munmap(from, AGT_PAGE + size);
	munmap(to, AGT_PAGE + size);
}

TEST_F(radv, many_imports)
{
	int64_t gtt;
	int i;

	for (i = 0; i < 200; i++) {
		void *from = memory(AGT_PAGE, i), *to = memory(AGT_PAGE, i + 1);
		struct agv_buffer a, b;

		ASSERT_EQ(VK_SUCCESS, agv_import(&self->v, from, AGT_PAGE, &a));
		ASSERT_EQ(VK_SUCCESS, agv_import(&self->v, to, AGT_PAGE, &b));
		ASSERT_EQ(VK_SUCCESS, agv_copy(&self->v, &a, &b));
		ASSERT_EQ(0, memcmp(from, to, AGT_PAGE));
		agv_free(&self->v, &a);
		agv_free(&self->v, &b);
		munmap(from, AGT_PAGE);
		munmap(to, AGT_PAGE);
		if (i == 20)
			gtt = agt_stat("gtt_used");
	}
	EXPECT_GE(gtt, agt_stat("gtt_used"));
}

TEST_HARNESS_MAIN
