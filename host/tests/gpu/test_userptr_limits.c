// SPDX-License-Identifier: MIT
/*
 * test_userptr_limits: what the userptr core takes of all resources together
 */
#include "tests/gpu/userptr_test.h"

/* Eight entries a resource that do not merge: runs are what is limited. */
static uint32_t create_scattered(struct core_bench *cb, uint32_t id)
{
	struct piece pieces[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + (2 * i + id % 2) * PAGE, PAGE };
	return create(cb, id, 8 * PAGE, 8, pieces, 8);
}

static void test_limit_total_runs(void **state)
{
	struct core_bench *cb = *state;
	struct piece flat = { RAM_BASE, 8 * PAGE };
	uint32_t id;

	for (id = 1; id <= 5; id++)
		assert_int_equal(create_scattered(cb, id), OK);
	assert_int_equal(totals(cb).runs, 40);
	assert_int_equal(create_scattered(cb, 6), ERR_LIMIT);
	assert_int_equal(userptr_state(userptr_find(cb->core, 6)), USERPTR_FAILED);
	assert_int_equal(create(cb, 7, 8 * PAGE, 1, &flat, 1), ERR_LIMIT);
	assert_int_equal(totals(cb).runs, 40);
	/* What is destroyed makes room, to the last run. */
	assert_int_equal(destroy(cb, 2, NULL), OK);
	assert_int_equal(destroy(cb, 6, NULL), OK);
	assert_int_equal(create_scattered(cb, 6), OK);
	assert_int_equal(totals(cb).runs, 40);
}

static void test_limit_runs_of_one(void **state)
{
	struct userptr_limits limits = default_limits;
	struct piece across = { SEAM - PAGE, 2 * PAGE };
	struct core_bench *cb;

	(void)state;
	/* One entry that crosses the seam is two runs. */
	limits.max_segments = 1;
	cb = core_bench_new(&limits, false);
	assert_int_equal(create(cb, 1, 2 * PAGE, 1, &across, 1), ERR_LIMIT);
	assert_failed(cb, 1);
	core_bench_free(cb);
}

static void test_limit_resources(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	uint32_t id;

	for (id = 1; id <= 16; id++)
		assert_int_equal(create(cb, id * 0x10001, PAGE, 1, &page, 1), OK);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), ERR_LIMIT);
	assert_null(userptr_find(cb->core, 1));
	assert_int_equal(destroy(cb, 0x10001, NULL), OK);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_limit_total_runs, setup, teardown),
		cmocka_unit_test(test_limit_runs_of_one),
		cmocka_unit_test_setup_teardown(test_limit_resources, setup, teardown),
	};

	return cmocka_run_group_tests_name("userptr_limits", tests, NULL, NULL);
}
