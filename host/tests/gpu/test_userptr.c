// SPDX-License-Identifier: MIT
/*
 * test_userptr: assembly and lifetime in the userptr core
 */
#include "tests/gpu/userptr_test.h"

static void test_one_command(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = {
		{ RAM_BASE + 4 * PAGE, 2 * PAGE },
		{ RAM_BASE, PAGE },
		{ RAM_BASE + 8 * PAGE, PAGE },
	};
	struct userptr *userptr;
	uint64_t left;

	assert_int_equal(create(cb, 7, 4 * PAGE, 3, pieces, 3), OK);
	userptr = userptr_find(cb->core, 7);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr)->size, 4 * PAGE);
	assert_false(userptr_backing(userptr)->readonly);
	assert_int_equal(userptr_backing(userptr)->runs.nr, 3);
	/* The runs are in the order of the entries. */
	*bench_at(&cb->memory, RAM_BASE + 5) = 0xa5;
	assert_int_equal(*(unsigned char *)run_list_piece(&userptr_backing(userptr)->runs,
							  2 * PAGE + 5, &left),
			 0xa5);
	assert_int_equal(left, PAGE - 5);
	assert_int_equal(totals(cb).segments, 3);
	assert_int_equal(totals(cb).runs, 3);
	assert_int_equal(totals(cb).bytes, 4 * PAGE);
	assert_int_equal(totals(cb).created, 1);
	assert_int_equal(destroy(cb, 7, &left), OK);
	assert_ptr_equal(cb->destroyed, &left);
	assert_int_equal(totals(cb).resources, 0);
	assert_int_equal(totals(cb).segments, 0);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).bytes, 0);
	assert_int_equal(cb->nr_destroyed, 1);
}

static void test_chunks(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[12];
	struct userptr *userptr;
	unsigned int i;

	for (i = 0; i < 12; i++)
		pieces[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(create(cb, 1, 12 * PAGE, 12, pieces, 5), OK);
	userptr = userptr_find(cb->core, 1);
	assert_int_equal(userptr_state(userptr), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, 5 * PAGE, pieces + 5, 6), OK);
	assert_int_equal(userptr_state(userptr), USERPTR_HALF_BUILT);
	assert_int_equal(totals(cb).created, 0);
	assert_int_equal(add(cb, 1, 11 * PAGE, pieces + 11, 1), OK);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr)->runs.nr, 12);
	/* Complete: one more is refused, and does it no harm. */
	assert_int_equal(add(cb, 1, 12 * PAGE, pieces, 1), ERR_RESOURCE);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(totals(cb).segments, 12);
}

/* No bound: as many chunks as it takes, up to what the device takes of any. */
static void test_no_bound(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(create(cb, 1, 7 * PAGE, 0, pieces, 3), OK);
	assert_int_equal(add(cb, 1, 3 * PAGE, pieces + 3, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, 4 * PAGE, pieces + 4, 3), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 1))->runs.nr, 7);
	assert_int_equal(totals(cb).created_segments, 7);
	assert_int_equal(destroy(cb, 1, NULL), OK);
	/* One entry more than max_segments, all in runs that are few. */
	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + i * PAGE, PAGE };
	assert_int_equal(create(cb, 2, 33 * PAGE, 0, pieces, 8), OK);
	for (i = 1; i < 4; i++)
		assert_int_equal(add(cb, 2, i * 8 * PAGE, pieces, 8), OK);
	assert_int_equal(add(cb, 2, 32 * PAGE, pieces, 1), ERR_LIMIT);
	assert_failed(cb, 2);
	assert_int_equal(totals(cb).segments, 0);
}

/* A bound promises nothing: fewer will do, and it may be out of all proportion. */
static void test_bound_not_reached(void **state)
{
	struct core_bench *cb = *state;
	struct piece two[] = { { RAM_BASE, PAGE }, { RAM_BASE + 2 * PAGE, PAGE } };
	struct piece flat = { RAM_BASE, 4 * PAGE };

	assert_int_equal(create(cb, 1, 2 * PAGE, 32, two, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, PAGE, two + 1, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_USABLE);
	assert_int_equal(create(cb, 2, 4 * PAGE, 4, &flat, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 2)), USERPTR_USABLE);
	assert_int_equal(totals(cb).segments, 3);
	assert_int_equal(totals(cb).created, 2);
	/* Only what the device never takes of any is refused. */
	assert_int_equal(create(cb, 3, 2 * PAGE, 33, two, 2), ERR_LIMIT);
	assert_int_equal(userptr_state(userptr_find(cb->core, 3)), USERPTR_FAILED);
}

static void test_bound_exceeded(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = { { RAM_BASE, PAGE },
				  { RAM_BASE + 2 * PAGE, PAGE },
				  { RAM_BASE + 4 * PAGE, PAGE } };

	assert_int_equal(create(cb, 1, 3 * PAGE, 2, pieces, 3), ERR_PARAM);
	assert_failed(cb, 1);
	assert_int_equal(create(cb, 1, 4 * PAGE, 2, pieces, 1), OK);
	assert_int_equal(add(cb, 1, PAGE, pieces + 1, 2), ERR_PARAM);
	assert_failed(cb, 1);
	/* Used up, and bytes are missing: there is no entry that could bring them. */
	assert_int_equal(create(cb, 1, 3 * PAGE, 2, pieces, 2), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, 2 * PAGE, pieces + 2, 1), ERR_PARAM);
	assert_failed(cb, 1);
	assert_int_equal(totals(cb).segments, 0);
}

/* The last byte ends it: what follows in the same command is an error. */
static void test_entries_behind_the_last_byte(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = { { RAM_BASE, PAGE },
				  { RAM_BASE + 2 * PAGE, PAGE },
				  { RAM_BASE + 4 * PAGE, PAGE },
				  { RAM_BASE + 6 * PAGE, 0 } };
	uint32_t bound;

	for (bound = 0; bound <= 4; bound += 4) {
		assert_int_equal(create(cb, 1, 2 * PAGE, bound, pieces, 3), ERR_PARAM);
		assert_failed(cb, 1);
		assert_int_equal(create(cb, 1, 2 * PAGE, bound, pieces, 1), OK);
		assert_int_equal(add(cb, 1, PAGE, pieces + 1, 2), ERR_PARAM);
		assert_failed(cb, 1);
		/* Also if it is an entry of nothing. */
		assert_int_equal(create(cb, 1, 3 * PAGE, bound, pieces, 4), ERR_PARAM);
		assert_failed(cb, 1);
	}
	assert_int_equal(totals(cb).created, 0);
	assert_int_equal(totals(cb).segments, 0);
}

static void test_merging(void **state)
{
	struct core_bench *cb = *state;
	/* Adjacent in the file, across entries and chunks. */
	struct piece adjacent[] = { { RAM_BASE, PAGE },
				    { RAM_BASE + PAGE, 2 * PAGE },
				    { RAM_BASE + 3 * PAGE, PAGE } };
	/* Adjacent in guest addresses, but not in the file. */
	struct piece seam[] = { { SEAM - PAGE, PAGE }, { SEAM, PAGE } };
	struct piece across = { SEAM - PAGE, 2 * PAGE };
	/* The two ends of guest RAM are adjacent in the file. */
	struct piece wrapped[] = { { RAM_BASE + RAM_SIZE - PAGE, PAGE }, { RAM_BASE, PAGE } };

	assert_int_equal(create(cb, 1, 4 * PAGE, 3, adjacent, 2), OK);
	assert_int_equal(add(cb, 1, 3 * PAGE, adjacent + 2, 1), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 1))->runs.nr, 1);
	assert_int_equal(create(cb, 2, 2 * PAGE, 2, seam, 2), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 2))->runs.nr, 2);
	assert_int_equal(create(cb, 3, 2 * PAGE, 1, &across, 1), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 3))->runs.nr, 2);
	assert_int_equal(create(cb, 4, 2 * PAGE, 2, wrapped, 2), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 4))->runs.nr, 1);
	assert_int_equal(totals(cb).segments, 3 + 2 + 1 + 2);
	assert_int_equal(totals(cb).runs, 1 + 2 + 2 + 1);
}

static void test_destroy_waits_for_holds(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct backing *backing;

	assert_int_equal(create(cb, 4, PAGE, 1, &page, 1), OK);
	backing = userptr_backing(userptr_find(cb->core, 4));
	backing_hold(backing);
	backing_hold(backing);
	assert_int_equal(destroy(cb, 4, &page), OK);
	assert_true(backing_stopped(backing));
	assert_int_equal(cb->nr_destroyed, 0);
	/* The id is in use, and "unknown" would be a lie. */
	assert_int_equal(create(cb, 4, PAGE, 1, &page, 1), ERR_RESOURCE);
	assert_int_equal(destroy(cb, 4, NULL), ERR_PARAM);
	backing_release(backing);
	assert_int_equal(cb->nr_destroyed, 0);
	backing_release(backing);
	assert_int_equal(cb->nr_destroyed, 1);
	assert_ptr_equal(cb->destroyed, &page);
	assert_int_equal(create(cb, 4, PAGE, 1, &page, 1), OK);
}

static void test_destroy_half_built(void **state)
{
	struct core_bench *cb = *state;

	half_built(cb);
	assert_int_equal(totals(cb).runs, 1);
	assert_int_equal(destroy(cb, 3, NULL), OK);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).segments, 0);
	assert_null(userptr_find(cb->core, 3));
}

static void test_view(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct userptr *userptr;

	half_built(cb);
	assert_int_equal(cb->views, 0);
	assert_int_equal(cb->drafts, 1);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), OK);
	assert_int_equal(cb->views, 1);
	assert_int_equal(cb->drafts, 1);
	assert_ptr_equal(userptr_backing(userptr_find(cb->core, 1))->view, cb);
	/* A view that cannot be made fails the resource, with its reason. */
	cb->view_answer = ERR_LIMIT;
	assert_int_equal(create(cb, 2, PAGE, 1, &page, 1), ERR_LIMIT);
	assert_int_equal(userptr_state(userptr_find(cb->core, 2)), USERPTR_FAILED);
	assert_int_equal(cb->drafts, 1);
	assert_int_equal(destroy(cb, 2, NULL), OK);
	/* The end is reported when the view is gone, and not before. */
	cb->view_waits = true;
	cb->nr_destroyed = 0;
	userptr = userptr_find(cb->core, 1);
	assert_int_equal(destroy(cb, 1, &page), OK);
	assert_int_equal(cb->nr_destroyed, 0);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), ERR_RESOURCE);
	cb->views--;
	userptr_view_gone(userptr);
	assert_int_equal(cb->nr_destroyed, 1);
	/* Left for the reset in teardown: a live view, and a draft. */
	cb->view_answer = OK;
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), OK);
	assert_int_equal(cb->drafts, 1);
}

/* Every chunk is worked on when it comes, and nothing of it outlives a failure. */
static void test_drafts(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = { { RAM_BASE, PAGE }, { RAM_BASE + 2 * PAGE, PAGE }, { 0, PAGE } };

	half_built(cb);
	assert_int_equal(cb->extended, 1);
	assert_int_equal(add(cb, 3, PAGE, pieces, 2), OK);
	assert_int_equal(cb->extended, 2);
	assert_int_equal(cb->views, 0);
	assert_int_equal(add(cb, 3, 3 * PAGE, pieces, 1), OK);
	assert_int_equal(cb->extended, 3);
	assert_int_equal(cb->views, 1);
	assert_int_equal(cb->drafts, 0);
	assert_int_equal(destroy(cb, 3, NULL), OK);
	/* Refused by the core in the middle of a chunk. */
	half_built(cb);
	assert_int_equal(add(cb, 3, PAGE, pieces + 1, 2), ERR_PARAM);
	assert_int_equal(cb->drafts, 0);
	assert_failed(cb, 3);
	/* Refused by the view, with its reason, long before the last byte. */
	half_built(cb);
	cb->extend_answer = ERR_LIMIT;
	assert_int_equal(add(cb, 3, PAGE, pieces, 1), ERR_LIMIT);
	assert_int_equal(cb->drafts, 0);
	assert_failed(cb, 3);
	assert_int_equal(create(cb, 3, 4 * PAGE, 0, pieces, 2), ERR_LIMIT);
	assert_int_equal(cb->drafts, 0);
	assert_failed(cb, 3);
	assert_int_equal(cb->views, 0);
	cb->extend_answer = OK;
	/* Given up by the guest. */
	half_built(cb);
	assert_int_equal(cb->drafts, 1);
	assert_int_equal(destroy(cb, 3, NULL), OK);
	assert_int_equal(cb->drafts, 0);
	assert_int_equal(totals(cb).segments, 0);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).bytes, 0);
	assert_int_equal(totals(cb).resources, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_bound, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_bound_not_reached, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound_exceeded, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_entries_behind_the_last_byte, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_merging, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_waits_for_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_half_built, setup, teardown),
		cmocka_unit_test_setup_teardown(test_view, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_drafts, setup_view, teardown),
	};

	return cmocka_run_group_tests_name("userptr", tests, NULL, NULL);
}
