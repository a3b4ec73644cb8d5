// SPDX-License-Identifier: MIT
/*
 * test_userptr_later: resources that a worker, or whoever makes their view, is long at
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/gpu/userptr_test.h"

#define LARGE_RAM (64ull << 20)
#define LARGE (16u << 20)

static const struct memory_limits no_sums;

/* Answers come with a dispatch only, so what is said in between holds for sure. */
static void dispatch_until_completed(struct core_bench *cb, unsigned int nr)
{
	while (cb->nr_completed < nr) {
		struct pollfd ready = { .fd = worker_fd(cb->worker), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
		worker_dispatch(cb->worker);
	}
}

static int setup_threaded(void **state)
{
	*state = core_bench_new_of(&default_limits, &no_sums, false, true, LARGE_RAM);
	return 0;
}

static uint64_t allocated(const struct core_bench *cb)
{
	struct stat st;

	assert_int_equal(fstat(cb->memory.fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_large_ones_are_answered_later(void **state)
{
	struct core_bench *cb = *state;
	struct piece large = { RAM_BASE, LARGE }, small = { RAM_BASE + LARGE, PAGE };
	struct userptr *userptr;

	skip_without_populate();
	assert_int_equal(create(cb, 1, LARGE, 0, &large, 1), USERPTR_LATER);
	userptr = userptr_find(cb->core, 1);
	assert_int_equal(userptr_state(userptr), USERPTR_MAKING);
	assert_int_equal(totals(cb).created, 0);
	assert_int_equal(cb->nr_completed, 0);
	/* It takes nothing more, and its id is in use. */
	assert_int_equal(add(cb, 1, LARGE, &small, 1), ERR_RESOURCE);
	assert_int_equal(create(cb, 1, PAGE, 0, &small, 1), ERR_RESOURCE);
	dispatch_until_completed(cb, 1);
	assert_int_equal(cb->completed_with, OK);
	assert_ptr_equal(cb->completed, cb);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr)->holds, 0);
	assert_int_equal(totals(cb).created, 1);
	/* That is what it took so long for. */
	assert_int_equal(allocated(cb), LARGE);
	/* A small one is answered at once. */
	assert_int_equal(create(cb, 2, PAGE, 0, &small, 1), OK);
	assert_int_equal(destroy(cb, 1, NULL), OK);
	assert_int_equal(cb->nr_destroyed, 1);
}

static void test_pages_that_cannot_be_had(void **state)
{
	struct core_bench *cb = *state;
	/* The first half of RAM is the second of the file. */
	struct piece large = { RAM_BASE, LARGE };

	skip_without_populate();
	assert_int_equal(ftruncate(cb->memory.fd, LARGE_RAM / 2), 0);
	assert_int_equal(create(cb, 1, LARGE, 0, &large, 1), USERPTR_LATER);
	dispatch_until_completed(cb, 1);
	assert_int_equal(cb->completed_with, ERR_MEMORY);
	assert_failed(cb, 1);
}

/* No CPU touches it: then nobody has to see that it is there. */
static void test_nothing_to_populate(void **state)
{
	struct core_bench *cb = *state;
	struct piece large = { RAM_BASE, LARGE };
	struct userptr_host host = { .opaque = cb,
				     .id_in_use = id_in_use,
				     .completed = completed,
				     .destroyed = destroyed,
				     .quotas = &cb->quotas,
				     .worker = cb->worker };
	struct userptr_core *core = userptr_core_new(&default_limits, &host, cb->memory.gm);
	struct userptr_core *before = cb->core;

	assert_non_null(core);
	cb->core = core;
	assert_int_equal(create(cb, 1, LARGE, 0, &large, 1), OK);
	assert_int_equal(allocated(cb), 0);
	cb->core = before;
	userptr_core_free(core);
}

/* A reset ends what was begun, and nobody is told. */
static void test_reset_while_populating(void **state)
{
	struct core_bench *cb = *state;
	struct piece large = { RAM_BASE, LARGE };
	uint32_t id;

	skip_without_populate();
	for (id = 1; id <= 4; id++)
		assert_int_equal(create(cb, id, LARGE, 0, &large, 1), USERPTR_LATER);
	userptr_core_reset(cb->core);
	worker_dispatch(cb->worker);
	assert_int_equal(cb->nr_completed, 0);
	assert_int_equal(totals(cb).resources, 0);
	assert_int_equal(cb->quotas.bytes.used, 0);
	/* And it goes on. */
	assert_int_equal(create(cb, 1, LARGE, 0, &large, 1), USERPTR_LATER);
	dispatch_until_completed(cb, 1);
	assert_int_equal(cb->completed_with, OK);
}

/* The DESTROY waits, and is answered after the CREATE that it was too early for. */
static void test_destroy_while_populating(void **state)
{
	struct core_bench *cb = *state;
	struct piece large = { RAM_BASE, LARGE };
	int cookie;

	skip_without_populate();
	assert_int_equal(create(cb, 1, LARGE, 0, &large, 1), USERPTR_LATER);
	assert_int_equal(destroy(cb, 1, &cookie), OK);
	assert_int_equal(destroy(cb, 1, NULL), ERR_PARAM);
	assert_int_equal(cb->nr_destroyed, 0);
	dispatch_until_completed(cb, 1);
	/* Whether its pages were there in time does not matter: it is not usable. */
	assert_int_equal(cb->completed_with, ERR_UNSPEC);
	assert_int_equal(cb->nr_destroyed, 1);
	assert_ptr_equal(cb->destroyed, &cookie);
	assert_null(userptr_find(cb->core, 1));
}

static void test_view_comes_later(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct userptr *userptr;

	cb->view_later = true;
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), USERPTR_LATER);
	userptr = userptr_find(cb->core, 1);
	assert_int_equal(userptr_state(userptr), USERPTR_MAKING);
	assert_null(userptr_backing(userptr)->view);
	assert_int_equal(cb->drafts, 0);
	view_comes(cb, OK);
	assert_int_equal(cb->completed_with, OK);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_ptr_equal(userptr_backing(userptr)->view, cb);
	assert_int_equal(destroy(cb, 1, NULL), OK);
	assert_int_equal(cb->views, 0);
	/* Or it cannot be made, for a reason. */
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), USERPTR_LATER);
	view_comes(cb, ERR_LIMIT);
	assert_int_equal(cb->nr_completed, 2);
	assert_int_equal(cb->completed_with, ERR_LIMIT);
	assert_failed(cb, 1);
}

static void test_destroy_while_view_is_made(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	int cookie;

	cb->view_later = true;
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), USERPTR_LATER);
	assert_int_equal(destroy(cb, 1, &cookie), OK);
	assert_int_equal(cb->nr_destroyed, 0);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), ERR_RESOURCE);
	/* It is made, and given up again before the answer. */
	view_comes(cb, OK);
	assert_int_equal(cb->completed_with, OK);
	/* Nobody could have attached it. */
	assert_int_equal(cb->completed_state, USERPTR_DYING);
	assert_int_equal(cb->nr_destroyed, 1);
	assert_ptr_equal(cb->destroyed, &cookie);
	assert_int_equal(cb->views, 0);
	assert_null(userptr_find(cb->core, 1));
	/* The same of one that is not made. */
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), USERPTR_LATER);
	assert_int_equal(destroy(cb, 1, &cookie), OK);
	view_comes(cb, ERR_MEMORY);
	assert_int_equal(cb->completed_with, ERR_MEMORY);
	assert_int_equal(cb->nr_destroyed, 2);
	assert_int_equal(totals(cb).resources, 0);
}

static void test_reset_while_view_is_made(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };

	cb->view_later = true;
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), USERPTR_LATER);
	userptr_core_reset(cb->core);
	assert_int_equal(cb->abandoned, 1);
	assert_int_equal(cb->nr_completed, 0);
	/* Also one that is dying already. */
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), USERPTR_LATER);
	assert_int_equal(destroy(cb, 1, NULL), OK);
	userptr_core_reset(cb->core);
	assert_int_equal(cb->abandoned, 2);
	assert_int_equal(cb->nr_completed, 0);
	assert_int_equal(cb->nr_destroyed, 0);
	assert_int_equal(cb->views, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_large_ones_are_answered_later, setup_threaded,
						teardown),
		cmocka_unit_test_setup_teardown(test_pages_that_cannot_be_had, setup_threaded,
						teardown),
		cmocka_unit_test_setup_teardown(test_nothing_to_populate, setup_threaded, teardown),
		cmocka_unit_test_setup_teardown(test_reset_while_populating, setup_threaded,
						teardown),
		cmocka_unit_test_setup_teardown(test_destroy_while_populating, setup_threaded,
						teardown),
		cmocka_unit_test_setup_teardown(test_view_comes_later, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_while_view_is_made, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_reset_while_view_is_made, setup_view,
						teardown),
	};

	return cmocka_run_group_tests_name("userptr_later", tests, NULL, NULL);
}
