// SPDX-License-Identifier: MIT
/*
 * The SDMA engine, packet by packet: what it does, to the byte, and which packets end the context.
 */
#include "agt.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define SIZE (64 * AGT_PAGE)
#define SRC AGT_VA
#define DST (AGT_VA + 0x1000000)

FIXTURE(sdma)
{
	struct agt t;
	struct agt_bo src;
	struct agt_bo dst;
	uint32_t bos[2];
	uint8_t *from;
	uint8_t *to;
	int64_t bad;
};

FIXTURE_SETUP(sdma)
{
	size_t i;

	ASSERT_EQ(0, agt_open(&self->t));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_GTT, SRC, &self->src));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_VRAM, DST, &self->dst));
	self->bos[0] = self->src.handle;
	self->bos[1] = self->dst.handle;
	self->from = self->src.cpu;
	self->to = self->dst.cpu;
	for (i = 0; i < SIZE; i++)
		self->from[i] = (uint8_t)(i * 7 + i / 251);
	memset(self->to, 0xaa, SIZE);
	agt_start(&self->t);
	self->bad = agt_stat("bad_packets");
}

FIXTURE_TEARDOWN(sdma)
{
	agt_close(&self->t);
}

static int run(struct agt *t, const uint32_t *bos)
{
	return agt_run(t, AGT_SDMA, bos, 2);
}

/* Whether [from, to) is all @value. */
static bool all(const uint8_t *bytes, size_t from, size_t to, uint8_t value)
{
	for (; from < to; from++) {
		if (bytes[from] != value)
			return false;
	}
	return true;
}

TEST_F(sdma, copy)
{
	static const uint32_t offsets[] = { 0, 1, 4, 4095, 4096, 8191 };
	static const uint32_t sizes[] = { 1, 3, 4, 4095, 4096, 4097, 40000 };
	size_t a, b, c;

	for (a = 0; a < 6; a++) {
		for (b = 0; b < 6; b++) {
			for (c = 0; c < 7; c++) {
				uint32_t s = offsets[a], d = offsets[b], n = sizes[c];

				memset(self->to, 0xaa, SIZE);
				agt_start(&self->t);
				agt_sdma_copy(&self->t, DST + d, SRC + s, n);
				ASSERT_EQ(0, run(&self->t, self->bos));
				ASSERT_EQ(0, memcmp(self->to + d, self->from + s, n));
				ASSERT_TRUE(all(self->to, 0, d, 0xaa));
				ASSERT_TRUE(all(self->to, d + n, SIZE, 0xaa));
			}
		}
	}
}

TEST_F(sdma, fill)
{
	/* Units of one, two and four bytes; counted in bytes. */
	AGT_EMIT(&self->t, 11, AGT_LO(DST + 1), AGT_HI(DST), 0x11223344, 5 - 1);
	AGT_EMIT(&self->t, 11 | 1u << 30, AGT_LO(DST + 16), AGT_HI(DST), 0x11223344, 6 - 1);
	AGT_EMIT(&self->t, 11 | 2u << 30, AGT_LO(DST + 4092), AGT_HI(DST), 0x11223344, 8 - 1);
	ASSERT_EQ(0, run(&self->t, self->bos));
	EXPECT_EQ(0, memcmp(self->to, "\xaa\x44\x44\x44\x44\x44\xaa", 7));
	EXPECT_EQ(0, memcmp(self->to + 15, "\xaa\x44\x33\x44\x33\x44\x33\xaa", 8));
	EXPECT_EQ(0, memcmp(self->to + 4091, "\xaa\x44\x33\x22\x11\x44\x33\x22\x11\xaa", 10));
}

TEST_F(sdma, write_and_fence_and_nop_and_trap)
{
	/* A NOP skips what it says. */
	AGT_EMIT(&self->t, 0 | 2 << 16, 0xffffffff, 0xffffffff, 0);
	AGT_EMIT(&self->t, 2, AGT_LO(DST + 4088), AGT_HI(DST), 4 - 1, 1, 2, 3, 4);
	AGT_EMIT(&self->t, 5, AGT_LO(DST + 8192), AGT_HI(DST), 0x12345678);
	AGT_EMIT(&self->t, 6, 0);
	ASSERT_EQ(0, run(&self->t, self->bos));
	EXPECT_EQ(1, *(uint32_t *)(self->to + 4088));
	EXPECT_EQ(4, *(uint32_t *)(self->to + 4100));
	EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)(self->to + 4104));
	EXPECT_EQ(0x12345678, *(uint32_t *)(self->to + 8192));
	EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)(self->to + 8196));
}

TEST_F(sdma, write_of_many_dwords)
{
	uint32_t i;

	AGT_EMIT(&self->t, 2, AGT_LO(DST + 100), AGT_HI(DST), 3000 - 1);
	for (i = 0; i < 3000; i++)
		AGT_EMIT(&self->t, i);
	ASSERT_EQ(0, run(&self->t, self->bos));
	for (i = 0; i < 3000; i++)
		ASSERT_EQ(i, ((uint32_t *)(self->to + 100))[i]);
	EXPECT_EQ(0xaa, self->to[100 + 12000]);
}

TEST_F(sdma, timestamp)
{
	uint64_t *stamps = (uint64_t *)self->to;

	AGT_EMIT(&self->t, 13 | 2 << 8, AGT_LO(DST), AGT_HI(DST));
	AGT_EMIT(&self->t, 13 | 2 << 8, AGT_LO(DST + 8), AGT_HI(DST));
	ASSERT_EQ(0, run(&self->t, self->bos));
	EXPECT_LE(stamps[0], stamps[1]);
	/* 100 MHz: a second is more than all of this takes. */
	EXPECT_LT(stamps[1] - stamps[0], 100000000);
}

TEST_F(sdma, conditional)
{
	*(uint32_t *)self->from = 5;
	AGT_EMIT(&self->t, 9, AGT_LO(SRC), AGT_HI(SRC), 5, 4);
	AGT_EMIT(&self->t, 5, AGT_LO(DST), AGT_HI(DST), 1);
	AGT_EMIT(&self->t, 9, AGT_LO(SRC), AGT_HI(SRC), 6, 4);
	AGT_EMIT(&self->t, 5, AGT_LO(DST + 4), AGT_HI(DST), 1);
	ASSERT_EQ(0, run(&self->t, self->bos));
	EXPECT_EQ(1, *(uint32_t *)self->to);
	EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)(self->to + 4));
}

static void *store_later(void *word)
{
	usleep(50000);
	__atomic_store_n((uint32_t *)word, 0x42, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F(sdma, poll)
{
	struct agt_submit s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };
	pthread_t thread;

	*(uint32_t *)self->from = 0;
	AGT_EMIT(&self->t, 8 | 3 << 28 | 1u << 31, AGT_LO(SRC), AGT_HI(SRC), 0x42, 0xff,
		 0xfff << 16 | 10);
	AGT_EMIT(&self->t, 5, AGT_LO(DST), AGT_HI(DST), 1);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &s, 20));
	EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)self->to);
	ASSERT_EQ(0, pthread_create(&thread, NULL, store_later, self->from));
	EXPECT_EQ(0, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
	EXPECT_EQ(1, *(uint32_t *)self->to);
	pthread_join(thread, NULL);
}

/* The job ends with @dw, nothing behind it is executed, and the context is guilty. */
#define BAD(...)                                                                                  \
	do {                                                                                      \
		uint64_t flags;                                                                   \
		AGT_EMIT(&self->t, __VA_ARGS__);                                                  \
		AGT_EMIT(&self->t, 5, AGT_LO(DST), AGT_HI(DST), 1, 0, 0, 0, 0);                   \
		EXPECT_EQ(-ENODATA, run(&self->t, self->bos));                                    \
		EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)self->to);                                     \
		EXPECT_EQ(self->bad + 1, agt_stat("bad_packets"));                                \
		EXPECT_EQ(0, agt_ctx_flags(&self->t, self->t.ctx, &flags));                       \
		EXPECT_EQ(AMDGPU_CTX_QUERY2_FLAGS_RESET | AMDGPU_CTX_QUERY2_FLAGS_GUILTY, flags); \
		/* And can do nothing more. */                                                    \
		EXPECT_EQ(-ENODATA, run(&self->t, self->bos));                                    \
	} while (0)

TEST_F(sdma, unknown_packet)
{
	BAD(0x7f);
}

TEST_F(sdma, tiled_copy)
{
	BAD(1 | 1 << 8, 3, 0, AGT_LO(SRC), AGT_HI(SRC), AGT_LO(DST), AGT_HI(DST));
}

TEST_F(sdma, page_table_packet)
{
	BAD(12, AGT_LO(DST), AGT_HI(DST), 0, 0, 0, 0, 0, 0, 0);
}

TEST_F(sdma, register_write)
{
	BAD(14 | 0xf << 28, 0x1234, 1);
}

TEST_F(sdma, indirect_buffer)
{
	BAD(4, AGT_LO(SRC), AGT_HI(SRC), 16, 0, 0);
}

TEST_F(sdma, fill_of_unknown_width)
{
	BAD(11 | 3u << 30, AGT_LO(DST), AGT_HI(DST), 1, 3);
}

TEST_F(sdma, unaligned_write)
{
	BAD(2, AGT_LO(DST + 2), AGT_HI(DST), 0, 1);
}

TEST_F(sdma, packet_beyond_the_end)
{
	uint64_t flags;

	AGT_EMIT(&self->t, 2, AGT_LO(DST), AGT_HI(DST), 100, 1);
	EXPECT_EQ(-ENODATA, run(&self->t, self->bos));
	EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)self->to);
	EXPECT_EQ(0, agt_ctx_flags(&self->t, self->t.ctx, &flags));
	EXPECT_NE(0, flags);
}

TEST_F(sdma, copy_cut_short)
{
	AGT_EMIT(&self->t, 1, 3, 0, AGT_LO(SRC), AGT_HI(SRC), AGT_LO(DST));
	EXPECT_EQ(-ENODATA, run(&self->t, self->bos));
	EXPECT_EQ(0xaaaaaaaa, *(uint32_t *)self->to);
}

/* Any bytes: the kernel lives, and what is not mapped is not touched. */
TEST_F(sdma, rubbish)
{
	uint32_t seed = 1, i, round, ctx;

	for (round = 0; round < 200; round++) {
		struct agt_submit s = { .ip = AGT_SDMA, .ring = round % 2 };

		ASSERT_EQ(0, agt_ctx_create(&self->t, &ctx));
		s.ctx = ctx;
		agt_start(&self->t);
		for (i = 0; i < 64; i++) {
			seed = seed * 1664525 + 1013904223;
			/* Half of them with an operation that exists; no polling for ever. */
			AGT_EMIT(&self->t, i % 8 ? seed : (seed & ~0xffu) | (seed >> 20) % 7);
		}
		ASSERT_EQ(0, agt_submit(&self->t, &s));
		ASSERT_NE(-ETIME, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
		ASSERT_EQ(0, agt_ctx_free(&self->t, ctx));
	}
}

TEST_HARNESS_MAIN
