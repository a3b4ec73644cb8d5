// SPDX-License-Identifier: MIT
/*
 * The command processor, packet by packet, on the ring for graphics and on one for compute.
 */
#include "agt.h"

#include <errno.h>
#include <string.h>

#include "kselftest_harness.h"

#define SIZE (64 * AGT_PAGE)
#define SRC AGT_VA
#define DST (AGT_VA + 0x1000000)
#define MEM 5
#define REG 0

FIXTURE(pm4)
{
	struct agt t;
	struct agt_bo src;
	struct agt_bo dst;
	uint32_t bos[2];
	uint32_t *from;
	uint32_t *to;
	int64_t bad;
	int64_t draws;
};

FIXTURE_VARIANT(pm4)
{
	uint32_t ip;
};

FIXTURE_VARIANT_ADD(pm4, gfx){ .ip = AGT_GFX };
FIXTURE_VARIANT_ADD(pm4, compute){ .ip = AGT_COMPUTE };

FIXTURE_SETUP(pm4)
{
	size_t i;

	ASSERT_EQ(0, agt_open(&self->t));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_GTT, SRC, &self->src));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_VRAM, DST, &self->dst));
	self->bos[0] = self->src.handle;
	self->bos[1] = self->dst.handle;
	self->from = self->src.cpu;
	self->to = self->dst.cpu;
	for (i = 0; i < SIZE / 4; i++)
		self->from[i] = (uint32_t)(i * 2654435761u);
	memset(self->to, 0xaa, SIZE);
	agt_start(&self->t);
	self->bad = agt_stat("bad_packets");
	self->draws = agt_stat("draws");
}

FIXTURE_TEARDOWN(pm4)
{
	agt_close(&self->t);
}

#define RUN() agt_run(&self->t, variant->ip, self->bos, 2)
#define WRITE(va, ...)                                                                      \
	do {                                                                                \
		uint32_t data[] = { __VA_ARGS__ };                                          \
		AGT_EMIT(&self->t, AGT_PM4(0x37, 3 + sizeof(data) / 4), MEM << 8 | 1 << 20, \
			 AGT_LO(va), AGT_HI(va));                                           \
		agt_emit(&self->t, sizeof(data) / 4, data);                                 \
	} while (0)

TEST_F(pm4, nops_and_padding)
{
	AGT_EMIT(&self->t, 0xffff1000, 0x80000000, AGT_PM4(0x10, 3), 1, 2, 3);
	WRITE(DST, 7);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(7, self->to[0]);
}

TEST_F(pm4, write_data)
{
	WRITE(DST + 4092, 1, 2, 3);
	/* All to one address: the last stays. */
	AGT_EMIT(&self->t, AGT_PM4(0x37, 5), MEM << 8 | 1 << 16, AGT_LO(DST), AGT_HI(DST), 8, 9);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(9, self->to[0]);
	EXPECT_EQ(0xaaaaaaaa, self->to[1]);
	EXPECT_EQ(1, self->to[1023]);
	EXPECT_EQ(3, self->to[1025]);
	EXPECT_EQ(0xaaaaaaaa, self->to[1026]);
}

TEST_F(pm4, copy_data)
{
	/* An immediate, 64 bit; memory, 32 bit; the clock. */
	AGT_EMIT(&self->t, AGT_PM4(0x40, 5), 5 | MEM << 8 | 1 << 16, 1, 2, AGT_LO(DST),
		 AGT_HI(DST));
	AGT_EMIT(&self->t, AGT_PM4(0x40, 5), 1 | MEM << 8, AGT_LO(SRC + 8), AGT_HI(SRC),
		 AGT_LO(DST + 8), AGT_HI(DST));
	AGT_EMIT(&self->t, AGT_PM4(0x40, 5), 9 | MEM << 8 | 1 << 16, 0, 0, AGT_LO(DST + 16),
		 AGT_HI(DST));
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(1, self->to[0]);
	EXPECT_EQ(2, self->to[1]);
	EXPECT_EQ(self->from[2], self->to[2]);
	EXPECT_EQ(0xaaaaaaaa, self->to[3]);
	EXPECT_NE(0xaaaaaaaa, self->to[5]);
}

TEST_F(pm4, dma_data)
{
	/* A copy that is not aligned, a fill, and a prefetch, which does nothing. */
	AGT_EMIT(&self->t, AGT_PM4(0x50, 6), 3u << 29 | 3 << 20, AGT_LO(SRC + 5), AGT_HI(SRC),
		 AGT_LO(DST + 4093), AGT_HI(DST), 9001);
	AGT_EMIT(&self->t, AGT_PM4(0x50, 6), 2u << 29 | 1u << 31, 0x01020304, 0,
		 AGT_LO(DST + 16384), AGT_HI(DST), 8);
	AGT_EMIT(&self->t, AGT_PM4(0x50, 6), 2 << 20, AGT_LO(SRC), AGT_HI(SRC), AGT_LO(SRC),
		 AGT_HI(SRC), 64);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0, memcmp((char *)self->to + 4093, (char *)self->from + 5, 9001));
	EXPECT_EQ(0xaa, ((uint8_t *)self->to)[4092]);
	EXPECT_EQ(0xaa, ((uint8_t *)self->to)[4093 + 9001]);
	EXPECT_EQ(0x01020304, self->to[4097]);
	EXPECT_EQ(0xaaaaaaaa, self->to[4098]);
}

TEST_F(pm4, registers)
{
	uint32_t i;

	/* A register of each kind, and back into memory; one by WRITE_DATA. */
	AGT_EMIT(&self->t, AGT_PM4(0x69, 3), 0x10, 11, 12);
	AGT_EMIT(&self->t, AGT_PM4(0x76, 2), 0x20, 13);
	AGT_EMIT(&self->t, AGT_PM4(0x79, 2), 0x30, 14);
	AGT_EMIT(&self->t, AGT_PM4(0x37, 4), REG << 8, 0xc031, 0, 15);
	for (i = 0; i < 5; i++) {
		static const uint32_t regs[] = { 0xa010, 0xa011, 0x2c20, 0xc030, 0xc031 };

		AGT_EMIT(&self->t, AGT_PM4(0x40, 5), REG | MEM << 8, regs[i], 0,
			 AGT_LO(DST + 4 * i), AGT_HI(DST));
	}
	/* It is there, so this passes. */
	AGT_EMIT(&self->t, AGT_PM4(0x3c, 6), 3, 0xc030, 0, 14, 0xffffffff, 4);
	ASSERT_EQ(0, RUN());
	for (i = 0; i < 5; i++)
		EXPECT_EQ(11 + i, self->to[i]);
}

TEST_F(pm4, release_mem_and_wait)
{
	AGT_EMIT(&self->t, AGT_PM4(0x49, 7), 0x14 | 5 << 8, 1u << 29, AGT_LO(DST), AGT_HI(DST),
		 0x55, 0x66, 0);
	AGT_EMIT(&self->t, AGT_PM4(0x49, 7), 0x14 | 5 << 8, 2u << 29, AGT_LO(DST + 8), AGT_HI(DST),
		 0x77, 0x88, 0);
	AGT_EMIT(&self->t, AGT_PM4(0x49, 7), 0x14 | 5 << 8, 3u << 29, AGT_LO(DST + 16), AGT_HI(DST),
		 0, 0, 0);
	AGT_EMIT(&self->t, AGT_PM4(0x3c, 6), 3 | 1 << 4, AGT_LO(DST), AGT_HI(DST), 0x55, 0xffffffff,
		 4);
	AGT_EMIT(&self->t, AGT_PM4(0x46, 1), 0x07 | 4 << 8);
	AGT_EMIT(&self->t, AGT_PM4(0x58, 7), 0, 0xffffffff, 0xff, 0, 0, 10, 0);
	AGT_EMIT(&self->t, AGT_PM4(0x42, 1), 0);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0x55, self->to[0]);
	EXPECT_EQ(0xaaaaaaaa, self->to[1]);
	EXPECT_EQ(0x77, self->to[2]);
	EXPECT_EQ(0x88, self->to[3]);
	EXPECT_NE(0xaaaaaaaa, self->to[5]);
}

TEST_F(pm4, conditional)
{
	self->from[0] = 0;
	self->from[1] = 1;
	AGT_EMIT(&self->t, AGT_PM4(0x22, 4), AGT_LO(SRC), AGT_HI(SRC), 0, 5);
	WRITE(DST, 1);
	AGT_EMIT(&self->t, AGT_PM4(0x22, 4), AGT_LO(SRC + 4), AGT_HI(SRC), 0, 5);
	WRITE(DST + 4, 1);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0xaaaaaaaa, self->to[0]);
	EXPECT_EQ(1, self->to[1]);
}

/* At dword @at of the source, a packet that writes. */
static void nested(uint32_t *from, uint32_t at, uint64_t va, uint32_t value)
{
	from[at] = AGT_PM4(0x37, 4);
	from[at + 1] = MEM << 8;
	from[at + 2] = AGT_LO(va);
	from[at + 3] = AGT_HI(va);
	from[at + 4] = value;
}

TEST_F(pm4, calls_and_chains)
{
	/* A call returns; a chain does not. */
	nested(self->from, 0, DST, 1);
	nested(self->from, 16, DST + 4, 2);
	AGT_EMIT(&self->t, AGT_PM4(0x3f, 3), AGT_LO(SRC), AGT_HI(SRC), 5 | 1 << 23);
	WRITE(DST + 8, 3);
	AGT_EMIT(&self->t, AGT_PM4(0x3f, 3), AGT_LO(SRC + 64), AGT_HI(SRC), 5 | 1 << 20 | 1 << 23);
	WRITE(DST + 12, 4);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(1, self->to[0]);
	EXPECT_EQ(2, self->to[1]);
	EXPECT_EQ(3, self->to[2]);
	EXPECT_EQ(0xaaaaaaaa, self->to[3]);
}

TEST_F(pm4, chain_without_end)
{
	AGT_EMIT(&self->t, AGT_PM4(0x3f, 3), AGT_LO(AGT_VA_IB), AGT_HI(AGT_VA_IB),
		 4 | 1 << 20 | 1 << 23);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(self->bad + 1, agt_stat("bad_packets"));
}

TEST_F(pm4, calls_too_deep)
{
	self->from[0] = AGT_PM4(0x3f, 3);
	self->from[1] = AGT_LO(SRC);
	self->from[2] = AGT_HI(SRC);
	self->from[3] = 4 | 1 << 23;
	AGT_EMIT(&self->t, AGT_PM4(0x3f, 3), AGT_LO(SRC), AGT_HI(SRC), 4 | 1 << 23);
	EXPECT_EQ(-ENODATA, RUN());
}

TEST_F(pm4, draws_are_counted)
{
	AGT_EMIT(&self->t, AGT_PM4(0x15, 4), 1, 1, 1, 1);
	AGT_EMIT(&self->t, AGT_PM4(0x2d, 2), 3, 2);
	WRITE(DST, 1);
	EXPECT_EQ(0, RUN());
	EXPECT_EQ(self->draws + 2, agt_stat("draws"));
	EXPECT_EQ(1, self->to[0]);
}

#define BAD(...)                                                   \
	do {                                                       \
		AGT_EMIT(&self->t, __VA_ARGS__);                   \
		WRITE(DST, 1);                                     \
		EXPECT_EQ(-ENODATA, RUN());                        \
		EXPECT_EQ(0xaaaaaaaa, self->to[0]);                \
		EXPECT_EQ(self->bad + 1, agt_stat("bad_packets")); \
		EXPECT_EQ(-ENODATA, RUN());                        \
	} while (0)

TEST_F(pm4, unknown_packet)
{
	BAD(AGT_PM4(0x0f, 1), 0);
}

TEST_F(pm4, packet_of_old_type)
{
	BAD(0x00000000);
}

TEST_F(pm4, packet_of_old_generation)
{
	BAD(AGT_PM4(0x47, 5), 0, 0, 0, 0, 0);
}

TEST_F(pm4, dma_data_of_wrong_length)
{
	BAD(AGT_PM4(0x50, 5), 0, 0, 0, 0, 0);
}

TEST_F(pm4, dma_data_to_registers)
{
	BAD(AGT_PM4(0x50, 6), 0, AGT_LO(SRC), AGT_HI(SRC), 0xc000, 0, 4 | 1 << 27);
}

TEST_F(pm4, write_data_to_gds)
{
	BAD(AGT_PM4(0x37, 4), 3 << 8, 0, 0, 1);
}

TEST_F(pm4, register_out_of_range)
{
	BAD(AGT_PM4(0x76, 2), 0x400, 1);
}

TEST_F(pm4, wait_for_a_register_that_stays)
{
	BAD(AGT_PM4(0x3c, 6), 3, 0xc3ff, 0, 0x12345, 0xffffffff, 4);
}

TEST_F(pm4, packet_beyond_the_end)
{
	AGT_EMIT(&self->t, AGT_PM4(0x37, 100), MEM << 8, AGT_LO(DST), AGT_HI(DST), 1);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(0xaaaaaaaa, self->to[0]);
}

TEST_F(pm4, rubbish)
{
	uint32_t seed = 7, i, round, ctx;

	for (round = 0; round < 200; round++) {
		struct agt_submit s = { .ip = variant->ip };

		ASSERT_EQ(0, agt_ctx_create(&self->t, &ctx));
		s.ctx = ctx;
		agt_start(&self->t);
		for (i = 0; i < 64; i++) {
			seed = seed * 1664525 + 1013904223;
			AGT_EMIT(&self->t, i % 5 ? seed : AGT_PM4((seed >> 8) & 0xff, 4));
		}
		ASSERT_EQ(0, agt_submit(&self->t, &s));
		ASSERT_NE(-ETIME, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
		ASSERT_EQ(0, agt_ctx_free(&self->t, ctx));
	}
}

TEST_HARNESS_MAIN
