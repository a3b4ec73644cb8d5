// SPDX-License-Identifier: MIT
/*
 * test_blobs_later: a renderer that takes its time to make and to forget a blob
 */
#include "tests/gpu/standins.h"

static void test_made_later(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct answer *create, *unref;

	fake.later = true;
	create = send_host_blob(bench, 1, 5, MAPPABLE, PAGE);
	assert_int_equal(create->order, 0);
	/* Its id is in use, and it can be attached already. */
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 2, 5), OK);
	assert_int_equal(do_detach(bench, 2, 5), OK);
	assert_int_equal(create->order, 0);
	fake_created(5, OK);
	assert_int_equal(answer_type(create), OK);
	assert_int_equal(fake.attached[5], 1);
	/* And is in use until the renderer has forgotten it. */
	unref = send_unref(bench, 5);
	assert_int_equal(unref->order, 0);
	assert_int_equal(fake.attached[5], 0);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
	assert_int_equal(statistic(bench, "host blobs now: "), 1);
	fake_destroyed();
	assert_int_equal(answer_type(unref), OK);
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	fake.later = false;
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

/* As if it had never been there. */
static void test_not_made_after_all(void **state)
{
	struct bench *bench = *state;
	struct answer *create, *map;

	fake.later = true;
	create = send_host_blob(bench, 1, 5, MAPPABLE, PAGE);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	map = send_map(bench, 5, 0);
	assert_int_equal(map->order, 0);
	assert_int_equal(vmm.requests, 0);
	fake_created(5, ERR_LIMIT);
	assert_int_equal(answer_type(create), ERR_LIMIT);
	assert_int_equal(answer_type(map), ERR_RESOURCE);
	assert_true(create->order < map->order);
	assert_int_equal(fake.attached[5], 0);
	assert_int_equal(do_detach(bench, 1, 5), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	fake.later = false;
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

/* The VMM is asked when there is something to map. */
static void test_map_waits(void **state)
{
	struct bench *bench = *state;
	struct answer *map;

	fake.later = true;
	send_host_blob(bench, 1, 5, MAPPABLE, PAGE);
	map = send_map(bench, 5, 3 * PAGE);
	assert_int_equal(map->order, 0);
	assert_int_equal(vmm.requests, 0);
	assert_int_equal(fake.exports, 0);
	/* One is enough, and there is none to take away yet. */
	assert_refused(send_map(bench, 5, 4 * PAGE), ERR_PARAM);
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	fake_created(5, OK);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_refused(send_map(bench, 5, 4 * PAGE), ERR_PARAM);
	/* One that cannot be is refused then. */
	send_host_blob(bench, 1, 6, MAPPABLE, PAGE);
	map = send_map(bench, 6, 3 * PAGE);
	assert_int_equal(map->order, 0);
	fake_created(6, OK);
	assert_int_equal(answer_type(map), ERR_PARAM);
	fake.later = false;
}

static void test_unref_waits(void **state)
{
	struct bench *bench = *state;
	struct answer *create, *map, *unref;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		fake.later = true;
		create = send_host_blob(bench, 1, 5, MAPPABLE, PAGE);
		assert_int_equal(do_attach(bench, 1, 5), OK);
		map = send_map(bench, 5, 0);
		unref = send_unref(bench, 5);
		assert_int_equal(answer_type(map), ERR_RESOURCE);
		assert_int_equal(fake.attached[5], 0);
		assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
		assert_int_equal(create->order, 0);
		assert_int_equal(unref->order, 0);
		fake.later = false;
		fake_created(5, i ? ERR_UNSPEC : OK);
		assert_int_equal(answer_type(create), i ? ERR_UNSPEC : OK);
		assert_int_equal(answer_type(unref), i ? ERR_RESOURCE : OK);
		assert_true(create->order < unref->order);
		assert_int_equal(vmm.requests, 0);
		assert_false(fake.blob[5]);
	}
}

/* What the context is told was all that the blob waited for. */
static void test_made_by_unref(void **state)
{
	struct bench *bench = *state;
	struct answer *create, *unref;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		fake.later = true;
		create = send_host_blob(bench, 1, 5, MAPPABLE, PAGE);
		assert_int_equal(do_attach(bench, 1, 5), OK);
		fake.made_by_detach = i ? ERR_UNSPEC : OK;
		unref = send_unref(bench, 5);
		fake.made_by_detach = 0;
		assert_int_equal(answer_type(create), i ? ERR_UNSPEC : OK);
		assert_int_equal(unref->order == 0, i == 0);
		if (!i)
			fake_destroyed();
		assert_int_equal(answer_type(unref), i ? ERR_RESOURCE : OK);
		assert_true(create->order < unref->order);
		assert_int_equal(statistic(bench, "host blobs now: "), 0);
		assert_int_equal(statistic(bench, "blob resources now: "), 0);
	}
	fake.later = false;
}

static void test_reset_ends_it(void **state)
{
	struct bench *bench = *state;
	struct answer *create, *map, *unref;

	fake.later = true;
	assert_int_equal(send_host_blob(bench, 1, 6, 0, PAGE)->order, 0);
	fake_created(6, OK);
	unref = send_unref(bench, 6);
	create = send_host_blob(bench, 1, 5, MAPPABLE, PAGE);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	map = send_map(bench, 5, 0);
	gpu_device_reset(bench->dev);
	assert_int_equal(answer_type(create), ERR_UNSPEC);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(unref), ERR_UNSPEC);
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	fake.later = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_made_later),	TEST(test_not_made_after_all), TEST(test_map_waits),
		TEST(test_unref_waits), TEST(test_made_by_unref),      TEST(test_reset_ends_it),
	};

	return cmocka_run_group_tests_name("blobs_later", tests, NULL, NULL);
}
