// SPDX-License-Identifier: MIT
/*
 * test_userptr_quotas: what resources are charged, and what happens when it is too much
 */
#include <inttypes.h>

#include "tests/gpu/userptr_test.h"
#include "tests/util/capture.h"

static const struct memory_limits no_sums;

static struct core_bench *bench_with(const struct memory_limits *sums)
{
	return core_bench_new_of(&default_limits, sums, true, false, RAM_SIZE);
}

static void give(struct core_bench *cb, uint32_t id)
{
	assert_int_equal(destroy(cb, id, NULL), OK);
}

/* As declared, with the first chunk; a guest that never sends the second gains nothing. */
static void test_bytes(void **state)
{
	struct memory_limits sums = { .total_bytes = 100 * PAGE };
	struct core_bench *cb = bench_with(&sums);
	struct piece page = { RAM_BASE, PAGE };
	struct capture c;

	(void)state;
	assert_int_equal(create(cb, 1, 64 * PAGE, 0, &page, 1), OK);
	assert_int_equal(cb->quotas.bytes.used, 64 * PAGE);
	capture_begin();
	assert_int_equal(create(cb, 2, 37 * PAGE, 0, &page, 1), ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of userptr bytes reached: 262144 of 409600"), 1);
	assert_int_equal(captured(&c, "--max-total-bytes"), 1);
	assert_int_equal(userptr_state(userptr_find(cb->core, 2)), USERPTR_FAILED);
	assert_int_equal(create(cb, 3, 36 * PAGE, 0, &page, 1), OK);
	assert_int_equal(cb->quotas.bytes.used, 100 * PAGE);
	/* One that fails has none, one that is destroyed neither. */
	assert_int_equal(add(cb, 3, 0, &page, 1), ERR_PARAM);
	assert_int_equal(cb->quotas.bytes.used, 64 * PAGE);
	give(cb, 1);
	assert_int_equal(cb->quotas.bytes.used, 0);
	assert_int_equal(cb->quotas.bytes.peak, 100 * PAGE);
	assert_int_equal(cb->quotas.bytes.refused, 1);
	give(cb, 2);
	give(cb, 3);
	core_bench_free(cb);
}

/* Twice guest RAM, and of one no more than that: 64 resources of all of RAM are not to be had. */
static void test_bytes_follow_ram(void **state)
{
	struct core_bench *cb = bench_with(&no_sums);
	struct piece halves[] = { { RAM_BASE, RAM_SIZE / 2 }, { SEAM, RAM_SIZE / 2 } };
	struct capture c;

	(void)state;
	assert_int_equal(create(cb, 1, RAM_SIZE, 0, halves, 2), OK);
	assert_int_equal(create(cb, 2, RAM_SIZE, 0, halves, 2), OK);
	capture_begin();
	assert_int_equal(create(cb, 3, PAGE, 0, halves, 1), ERR_LIMIT);
	assert_int_equal(create(cb, 4, RAM_SIZE + PAGE, 0, halves, 1), ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of userptr bytes"), 1);
	assert_int_equal(captured(&c, "resource 4 refused: it has 266240 bytes, which is more than "
				      "guest RAM, 262144"),
			 1);
	core_bench_free(cb);
}

/* The peak of what any has is in the statistics. */
static void test_each(void **state)
{
	struct userptr_limits limits = default_limits;
	struct piece pieces[4];
	struct core_bench *cb;
	struct capture c;
	unsigned int i;

	(void)state;
	limits.max_size = 8 * PAGE;
	limits.max_segments = 3;
	for (i = 0; i < 4; i++)
		pieces[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	cb = core_bench_new_of(&limits, &no_sums, false, false, RAM_SIZE);
	capture_begin();
	assert_int_equal(create(cb, 1, 9 * PAGE, 0, pieces, 1), ERR_LIMIT);
	assert_int_equal(create(cb, 2, 4 * PAGE, 0, pieces, 4), ERR_LIMIT);
	assert_int_equal(create(cb, 3, 3 * PAGE, 0, pieces, 3), OK);
	capture_end(&c);
	assert_int_equal(captured(&c, "--max-userptr-bytes"), 1);
	assert_int_equal(captured(&c, "--max-segments"), 1);
	core_bench_free(cb);
}

/* What there is room for, not what is used of it; and given back when no more comes. */
static void test_runs(void **state)
{
	struct memory_limits sums = { .total_runs = 12 };
	struct core_bench *cb = bench_with(&sums);
	struct piece pieces[8];
	struct capture c;
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(create(cb, 1, 16 * PAGE, 0, pieces, 1), OK);
	assert_int_equal(cb->quotas.runs.used, 4);
	assert_int_equal(add(cb, 1, PAGE, pieces + 1, 4), OK);
	assert_int_equal(cb->quotas.runs.used, 8);
	/* A complete one has no more than it needs. */
	assert_int_equal(create(cb, 2, 2 * PAGE, 0, pieces, 2), OK);
	assert_int_equal(cb->quotas.runs.used, 10);
	/* Up to the last one; then it is named. */
	assert_int_equal(create(cb, 3, 2 * PAGE, 0, pieces, 2), OK);
	assert_int_equal(cb->quotas.runs.used, 12);
	capture_begin();
	assert_int_equal(create(cb, 4, PAGE, 0, pieces, 1), ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of segments reached: 12 of 12"), 1);
	assert_int_equal(captured(&c, "--max-total-segments"), 1);
	give(cb, 3);
	assert_int_equal(create(cb, 3, PAGE, 0, pieces, 1), OK);
	give(cb, 1);
	assert_int_equal(cb->quotas.runs.used, 3);
	userptr_core_reset(cb->core);
	assert_int_equal(cb->quotas.runs.used, 0);
	core_bench_free(cb);
}

static void test_resources(void **state)
{
	struct memory_limits sums = { .resources = 2 };
	struct core_bench *cb = bench_with(&sums);
	struct piece page = { RAM_BASE, PAGE };
	struct capture c;

	(void)state;
	assert_int_equal(create(cb, 1, PAGE, 0, &page, 1), OK);
	/* Also one that failed is one. */
	assert_int_equal(create(cb, 2, 0, 0, &page, 1), ERR_PARAM);
	capture_begin();
	assert_int_equal(create(cb, 3, PAGE, 0, &page, 1), ERR_LIMIT);
	capture_end(&c);
	assert_null(userptr_find(cb->core, 3));
	assert_int_equal(captured(&c, "limit of userptr resources reached: 2 of 2"), 1);
	assert_int_equal(captured(&c, "--max-resources"), 1);
	give(cb, 2);
	assert_int_equal(create(cb, 3, PAGE, 0, &page, 1), OK);
	core_bench_free(cb);
}

static int give_up(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_bytes, give_up),
		cmocka_unit_test_teardown(test_bytes_follow_ram, give_up),
		cmocka_unit_test_teardown(test_each, give_up),
		cmocka_unit_test_teardown(test_runs, give_up),
		cmocka_unit_test_teardown(test_resources, give_up),
	};

	return cmocka_run_group_tests_name("userptr_quotas", tests, NULL, NULL);
}
