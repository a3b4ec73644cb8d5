// SPDX-License-Identifier: MIT
/*
 * test_cache: what is kept, how much of it, and who has to go
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

#define P FAKE_PAGE
#define BASE 0x100000ul

static struct virtgpu_userptr *ctx;

static void open_with(uint64_t cache_bytes)
{
	struct virtgpu_userptr_options options = {
		.struct_size = sizeof(options),
		.cache_bytes = cache_bytes,
	};

	ctx = fake_open(&options);
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtgpu_userptr_close(ctx);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake.locked, 0);
	return 0;
}

static int reg(uint64_t addr, uint64_t size)
{
	struct virtgpu_userptr_reg out;

	return virtgpu_userptr_register(ctx, fake_addr(addr), size, 0, &out);
}

static void put(uint64_t addr, uint64_t size)
{
	assert_int_equal(virtgpu_userptr_deregister(ctx, fake_addr(addr), size), 0);
}

static void use(uint64_t addr, uint64_t size)
{
	assert_int_equal(reg(addr, size), 0);
	put(addr, size);
}

static void test_used_again(void **state)
{
	(void)state;
	open_with(1 << 20);
	use(BASE, 4 * P);
	use(BASE, 4 * P);
	use(BASE + P, P);
	assert_int_equal(fake.creates, 1);
	assert_int_equal(fake_stats(ctx).hits, 2);
	assert_int_equal(fake_stats(ctx).misses, 1);
	assert_int_equal(fake_stats(ctx).idle_bytes, 4 * P);
}

static void test_none(void **state)
{
	(void)state;
	open_with(0);
	use(BASE, 4 * P);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake_stats(ctx).resources, 0);
}

/* The one that was not used for the longest time. */
static void test_oldest_goes(void **state)
{
	(void)state;
	open_with(3 * P);
	use(BASE, P);
	use(BASE + 10 * P, P);
	use(BASE + 20 * P, P);
	use(BASE, P);
	use(BASE + 30 * P, P);
	assert_int_equal(fake_stats(ctx).evicted, 1);
	assert_int_equal(fake_stats(ctx).idle_bytes, 3 * P);
	assert_int_equal(fake.creates, 4);
	use(BASE, P);
	use(BASE + 20 * P, P);
	assert_int_equal(fake.creates, 4);
	use(BASE + 10 * P, P);
	assert_int_equal(fake.creates, 5);
	/* More than there is room for at all. */
	use(BASE + 100 * P, 4 * P);
	assert_int_equal(fake_stats(ctx).idle_bytes, 0);
	assert_int_equal(fake.nr, 0);
}

/* What is kept never stands in the way of what is wanted. */
static void test_memlock(void **state)
{
	struct virtgpu_userptr_caps caps = { .struct_size = sizeof(caps) };

	(void)state;
	fake.limit = 16 * P;
	fake.limited = true;
	open_with(1 << 20);
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_int_equal(caps.memlock, 16 * P);
	use(BASE, 8 * P);
	use(BASE + 100 * P, 8 * P);
	assert_int_equal(fake.locked, 16 * P);
	assert_int_equal(fake_stats(ctx).evicted, 0);
	/* The first ones made room, before the kernel had to refuse. */
	assert_int_equal(reg(BASE + 200 * P, 12 * P), 0);
	assert_int_equal(fake.creates, 3);
	assert_int_equal(fake_stats(ctx).idle_bytes, 0);
	/* Beside what is held there is room for four. */
	use(BASE, 3 * P);
	assert_int_equal(fake_stats(ctx).idle_bytes, 3 * P);
	assert_int_equal(reg(BASE + 300 * P, 4 * P), 0);
	assert_int_equal(fake.locked, 16 * P);
	assert_int_equal(reg(BASE + 400 * P, 1), -ENOMEM);
	assert_non_null(strstr(virtgpu_userptr_error(), "ulimit -l"));
	assert_non_null(strstr(virtgpu_userptr_error(), "64 of the 64 KiB"));
}

/* The limit was lowered: what is kept goes when something comes. */
static void test_memlock_lowered(void **state)
{
	(void)state;
	fake.limit = 16 * P;
	open_with(1 << 20);
	use(BASE, 8 * P);
	fake.limit = 4 * P;
	use(BASE + 100 * P, P);
	assert_int_equal(fake_stats(ctx).idle_bytes, P);
}

/* No limit that is known: what is kept goes before anything is refused. */
static void test_memory_is_short(void **state)
{
	(void)state;
	open_with(1 << 20);
	use(BASE, 4 * P);
	use(BASE + 10 * P, 4 * P);
	fake.memory = 10 * P;
	assert_int_equal(reg(BASE + 100 * P, 5 * P), 0);
	assert_int_equal(fake_stats(ctx).evicted, 1);
	put(BASE + 100 * P, 5 * P);
	/* All of it. */
	assert_int_equal(reg(BASE + 200 * P, 10 * P), 0);
	assert_int_equal(fake_stats(ctx).evicted, 3);
	assert_int_equal(reg(BASE + 300 * P, 6 * P), -ENOMEM);
	assert_non_null(strstr(virtgpu_userptr_error(), "no memory for 24 KiB"));
}

/* The smaller one of the two bounds. */
static void test_both_bounds(void **state)
{
	(void)state;
	fake.limit = 1000 * P;
	open_with(3 * P);
	use(BASE, 2 * P);
	use(BASE + 10 * P, 2 * P);
	assert_int_equal(fake_stats(ctx).idle_bytes, 2 * P);
}

static void test_default(void **state)
{
	struct virtgpu_userptr_caps caps = { .struct_size = sizeof(caps) };

	(void)state;
	fake.limit = 16 * P;
	ctx = fake_open(NULL);
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_int_equal(caps.cache_bytes, 8 * P);
	virtgpu_userptr_close(ctx);
	fake.limit = UINT64_MAX;
	ctx = fake_open(NULL);
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_int_equal(caps.cache_bytes, 256 << 20);
}

static void test_trim(void **state)
{
	(void)state;
	open_with(1 << 20);
	use(BASE, P);
	use(BASE + 10 * P, P);
	assert_int_equal(reg(BASE + 20 * P, P), 0);
	assert_int_equal(virtgpu_userptr_trim(ctx, P), 0);
	assert_int_equal(fake_stats(ctx).idle_bytes, P);
	assert_int_equal(virtgpu_userptr_trim(ctx, 0), 0);
	assert_int_equal(fake.nr, 1);
	assert_int_equal(fake_stats(ctx).held_bytes, P);
}

/* A larger registration does what the smaller ones did. */
static void test_larger_one(void **state)
{
	(void)state;
	open_with(1 << 20);
	use(BASE + P, P);
	use(BASE + 2 * P, P);
	use(BASE + 7 * P, 2 * P);
	assert_int_equal(reg(BASE, 8 * P), 0);
	/* The one that reaches out of it stays. */
	assert_int_equal(fake.nr, 2);
	assert_int_equal(fake_stats(ctx).idle_bytes, 2 * P);
}

/* Events are for what is held; what is kept gives its place to it. */
static void test_event_room(void **state)
{
	unsigned int i;

	(void)state;
	fake.event_room = 4;
	open_with(1 << 20);
	use(BASE + 100 * P, P);
	use(BASE + 110 * P, P);
	for (i = 0; i < 4; i++)
		assert_int_equal(reg(BASE + 2 * i * P, P), 0);
	assert_int_equal(fake_stats(ctx).unannounced, 0);
	assert_int_equal(fake_stats(ctx).evicted, 2);
	for (; i < 8; i++)
		assert_int_equal(reg(BASE + 2 * i * P, P), 0);
	assert_int_equal(fake_stats(ctx).unannounced, 4);
	put(BASE, P);
	/* A place is free, when that one has gone. */
	assert_int_equal(reg(BASE + 50 * P, P), 0);
	assert_int_equal(fake_stats(ctx).unannounced, 4);
}

/* And only what has an event. */
static void test_event_room_of_another(void **state)
{
	(void)state;
	fake.event_room = 1;
	open_with(1 << 20);
	assert_int_equal(reg(BASE, P), 0);
	use(BASE + 10 * P, P);
	put(BASE, P);
	assert_int_equal(reg(BASE + 20 * P, P), 0);
	assert_int_equal(fake_stats(ctx).evicted, 1);
	assert_int_equal(fake_stats(ctx).unannounced, 1);
	use(BASE + 10 * P, P);
	assert_int_equal(fake_stats(ctx).misses, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_used_again),	    TEST(test_none),
		TEST(test_oldest_goes),	    TEST(test_memlock),
		TEST(test_memlock_lowered), TEST(test_memory_is_short),
		TEST(test_default),	    TEST(test_trim),
		TEST(test_larger_one),	    TEST(test_event_room),
		TEST(test_both_bounds),	    TEST(test_event_room_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
