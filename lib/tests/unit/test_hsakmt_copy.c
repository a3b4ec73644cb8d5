// SPDX-License-Identifier: MIT
/*
 * test_hsakmt_copy: the copy engine of an amdgpu's native context
 *
 * On the stand-in of device.h; commands and packets are compared as they are on the
 * wire and in memory.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "native_session.h"

/* The first copy, from the buffer for commands on. */
static void test_copy(void **state)
{
	const uint64_t dst = map_it(77, P), src = map_it(78, P), ib = src + 2 * P;
	const uint32_t value = 0xfc0;
	const uint32_t packets[16] = {
		1, 99, 0, U64(src + 7), U64(dst + 3), 5 | 3 << 16, U64(ib + value), 1
	};

	(void)state;
	assert_int_equal(ops()->copy(gpu, dst + 3, src + 7, 100), 0);
	assert_int_equal(device.gem_new.req.cmd, 2);
	assert_int_equal(device.gem_new.req.len, 56);
	assert_int_equal(device.gem_new.req.seqno, 10);
	assert_int_equal(device.gem_new.blob_id, 1);
	assert_int_equal(device.gem_new.size, P);
	assert_int_equal(device.gem_new.alignment, P);
	assert_int_equal(device.gem_new.domain, 2);
	assert_int_equal(device.gem_new.flags, 0);
	assert_int_equal(device.maps[2].va, ib);
	assert_int_equal(device.maps[2].flags, 14);
	assert_int_equal(device.maps[2].res_id, 2 + DEVICE_RES);
	/* 1 ring of graphics, 4 of compute. */
	EXPECT_STREAM(6, 4, 104, 13, 0, /* of CS_SUBMIT */ 1, 2, 0, 6, /* chunks */
		      1 | 8 << 16, 0, 6 | 6 << 16, 32, /* command buffer */
		      0, 0, U64(ib), 64, 2, 0, 0, /* resources */
		      2 + DEVICE_RES, 0, 77, 0, 78, 0);
	assert_int_equal(device.ib_size, 16);
	assert_memory_equal(device.ib, packets, sizeof(packets));

	/* The second one has it all. */
	assert_int_equal(ops()->copy(gpu, dst, src, P), 0);
	assert_int_equal(device.seqno, 14);
	assert_int_equal(device.contexts, 1);
	assert_int_equal(device.ib[10], 2);
	assert_int_equal(device.nr_copies, 2);
}

/* All packets together are what was asked for, in jobs of 64 and a rest. */
static void test_copy_much(void **state)
{
	const uint64_t size = 150ull * 0x3fff00 + 1, dst = map_it(77, 1ull << 30),
		       src = map_it(78, 1ull << 30);
	uint64_t done = 0;
	unsigned int i, jobs;

	(void)state;
	assert_int_equal(ops()->copy(gpu, dst, src, 1), 0);
	jobs = device.execs;
	device.nr_copies = 0;
	assert_int_equal(ops()->copy(gpu, dst, src, size), 0);
	assert_int_equal(device.execs, jobs + 3);
	assert_int_equal(device.nr_copies, 151);
	for (i = 0; i < device.nr_copies; i++) {
		assert_int_equal(device.copies[i].dst, dst + done);
		assert_int_equal(device.copies[i].src, src + done);
		assert_in_range(device.copies[i].size, 1, 0x3fff00);
		done += device.copies[i].size;
	}
	assert_int_equal(done, size);
	assert_int_equal(device.ib_size % 16, 0);
}

/* Each resource once, and none that has nothing to do with it. */
static void test_copy_resources(void **state)
{
	const uint64_t a = map_it(77, P), b = map_it(77, P);
	uint64_t last = 0, other = map_it(79, P);
	const struct amdvgpu_chunk *chunk = (void *)(device.stream + 40);
	unsigned int i;

	(void)state;
	assert_int_equal(ops()->copy(gpu, a, b, P), 0);
	assert_int_equal(chunk->length_dw, 2 * 2);
	for (i = 0; i < 1022; i++)
		last = map_it(10000 + i, P);
	/* From 79, which is one more, over all of them. */
	assert_int_equal(ops()->copy(gpu, other, other, last - other), 0);
	assert_int_equal(chunk->length_dw, 2 * 1023);
	assert_int_equal(ops()->copy(gpu, other, other, last + P - other), 0);
	assert_int_equal(chunk->length_dw, 2 * 1024);
	map_it(5000, P);
	i = device.execs;
	assert_int_equal(ops()->copy(gpu, other, other, last + 3 * P - other), -E2BIG);
	assert_int_equal(device.execs, i);
}

static void test_copy_that_cannot_be(void **state)
{
	const uint64_t va = map_it(77, P);
	unsigned int before = device.execs;

	(void)state;
	assert_int_equal(ops()->copy(gpu, va, va, 0), -EINVAL);
	assert_int_equal(ops()->copy(gpu, ~0ull, va, 2), -EINVAL);
	assert_int_equal(ops()->copy(gpu, va, ~0ull, 2), -EINVAL);
	gpu->info.dma.major = 3;
	assert_int_equal(ops()->copy(gpu, va, va, 4), -EOPNOTSUPP);
	gpu->info.dma.major = 7;
	assert_int_equal(ops()->copy(gpu, va, va, 4), -EOPNOTSUPP);
	assert_int_equal(device.execs, before);
	/* Its fences are other than those of 5. */
	gpu->info.dma.major = 4;
	assert_int_equal(ops()->copy(gpu, va, va, 4), 0);
	assert_int_equal(device.ib[7], 5);
}

/* The GPU gave up; the next copy has another context. */
static void test_copy_given_up(void **state)
{
	const uint64_t va = map_it(77, P);

	(void)state;
	assert_int_equal(ops()->copy(gpu, va, va, 4), 0);
	device.hostile = HOSTILE_JOB;
	assert_int_equal(ops()->copy(gpu, va, va, 4), -ECANCELED);
	assert_int_equal(device.contexts, 0);
	/* Whatever was there before. */
	memset(gpu->copier.ib.map, 0, P);
	memcpy((uint8_t *)gpu->copier.ib.map + 0xfc0, &(uint32_t){ 3 }, 4);
	assert_int_equal(gpu->copier.value, 2);
	assert_int_equal(ops()->copy(gpu, va, va, 4), -ECANCELED);
	device.hostile = HOSTILE_NOT;
	assert_int_equal(ops()->copy(gpu, va, va, 4), 0);
	assert_int_equal(device.ctx_id, 3);
	/* Or does not take it at all. */
	device.refuse = AMDVGPU_CS_SUBMIT;
	device.refusal = -ENOMEM;
	assert_int_equal(ops()->copy(gpu, va, va, 4), -ENOMEM);
	device.refuse = 0;
	assert_int_equal(ops()->copy(gpu, va, va, 4), 0);
	assert_int_equal(device.contexts, 1);
	/* Nor is there another context. */
	device.hostile = HOSTILE_JOB;
	assert_int_equal(ops()->copy(gpu, va, va, 4), -ECANCELED);
	device.hostile = HOSTILE_NOT;
	device.refuse = AMDVGPU_CREATE_CTX;
	device.refusal = -ENOSPC;
	assert_int_equal(ops()->copy(gpu, va, va, 4), -ENOSPC);
	device.refuse = 0;
	assert_int_equal(ops()->copy(gpu, va, va, 4), 0);
}

/* Whichever ioctl it is that fails: nothing is left, and the next one works. */
static void test_copy_fails(void **state)
{
	unsigned int i = 0;
	int ret = 1;

	while (ret) {
		setup_open(state);
		device.fail_after = device.ioctls + i++;
		device.fail_once = true;
		device.fail = -ENOMEM;
		ret = ops()->copy(gpu, FIRST, FIRST, 4);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_int_equal(ops()->copy(gpu, FIRST, FIRST, 4), 0);
		}
		teardown(state);
	}
	gpu = NULL;
	/* Buffer, its mapping, address, context, job. */
	assert_int_equal(i, 6);
}

/* The device had no memory for commands. */
static void test_copy_no_memory(void **state)
{
	(void)state;
	device.unmappable = 2;
	assert_int_equal(ops()->copy(gpu, FIRST, FIRST, 4), -ENOMEM);
	assert_int_equal(device_open_blobs(), 1);
	device.unmappable = ~0u;
	assert_int_equal(ops()->copy(gpu, FIRST, FIRST, 4), 0);
}

/* What the copy engine had is given back when the node is closed. */
static void test_close(void **state)
{
	(void)state;
	assert_int_equal(ops()->copy(gpu, FIRST, FIRST, 4), 0);
	assert_int_equal(device.nr_maps, 1);
	ops()->close(gpu);
	gpu = NULL;
	assert_int_equal(device.nr_maps, 0);
	assert_int_equal(device.contexts, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OPEN(name) cmocka_unit_test_setup_teardown(name, setup_open, teardown)
	const struct CMUnitTest tests[] = {
		TEST_OPEN(test_copy),		TEST_OPEN(test_copy_much),
		TEST_OPEN(test_copy_resources), TEST_OPEN(test_copy_that_cannot_be),
		TEST_OPEN(test_copy_given_up),	TEST(test_copy_fails),
		TEST_OPEN(test_copy_no_memory), TEST_OPEN(test_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
