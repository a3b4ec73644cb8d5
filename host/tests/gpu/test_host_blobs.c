// SPDX-License-Identifier: MIT
/*
 * test_host_blobs: resources whose memory a renderer makes
 */
#include "tests/gpu/standins.h"

static void test_create(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 2 * PAGE), OK);
	assert_int_equal(fake.what.id, 5);
	assert_int_equal(fake.what.mem, HOST3D);
	assert_int_equal(fake.what.flags, MAPPABLE);
	assert_int_equal(fake.what.blob_id, 77);
	assert_int_equal(fake.what.size, 2 * PAGE);
	assert_null(fake.what.guest);
	assert_int_equal(fake.context->id, 1);
	assert_int_equal(statistic(bench, "host blobs now: "), 1);
	/* One space of ids, whatever has them. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 5, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1),
			 ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_host_blob(bench, 1, 0, 0, PAGE), ERR_RESOURCE);
	/* Without a context it is for the renderer to know. */
	assert_int_equal(do_host_blob(bench, 0, 7, 0, PAGE), OK);
	assert_null(fake.context);
	assert_int_equal(do_unref(bench, 7), OK);
	assert_int_equal(do_unref(bench, 5), OK);
	assert_false(fake.blob[5]);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_create_refused(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE }, outside = { RAM_BASE + (1 << 20), PAGE };

	assert_int_equal(do_host_blob(bench, 9, 5, 0, PAGE), ERR_CONTEXT);
	assert_int_equal(do_host_blob(bench, 3, 5, 0, PAGE), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, 0), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 5, 8, PAGE), ERR_PARAM);
	assert_int_equal(do_blob(bench, 5, HOST3D, PAGE, &page, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 5, 4, PAGE, &page, 1), ERR_PARAM);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE, &page, 0), ERR_PARAM);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE + 1, &page, 1), ERR_PARAM);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE, &outside, 1), ERR_PARAM);
	assert_int_equal(fake.what.id, 0);
	/* The renderer's reason is the answer, and nothing is left. */
	fake.create_error = ERR_LIMIT;
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_LIMIT);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE, &page, 1), ERR_LIMIT);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	fake.create_error = 0;
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_attach(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 2, 5), OK);
	assert_int_equal(fake.attached[5], 2);
	/* A context that nobody executes has it too, but there is nobody to tell. */
	assert_int_equal(do_attach(bench, 3, 5), OK);
	assert_int_equal(fake.attached[5], 2);
	assert_int_equal(do_detach(bench, 1, 5), OK);
	assert_int_equal(do_detach(bench, 1, 5), ERR_RESOURCE);
	assert_int_equal(fake.attached[5], 1);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	/* Its end: nowhere attached first, then gone. */
	fake.log[0] = 0;
	assert_int_equal(do_unref(bench, 5), OK);
	assert_true(!strncmp(fake.log, "detach5 detach5 end5 ", 21));
	assert_int_equal(do_detach(bench, 3, 5), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
}

static void test_attach_fails(void **state)
{
	static const struct {
		int err;
		uint32_t answer;
	} cases[] = {
		{ -ENOMEM, ERR_MEMORY },
		{ -EOPNOTSUPP, ERR_UNSUPPORTED },
		{ -EINVAL, ERR_PARAM },
		{ -EIO, ERR_UNSPEC },
	};
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.attach_error = cases[i].err;
		assert_int_equal(do_attach(bench, 1, 5), cases[i].answer);
		assert_int_equal(do_attach(bench, 1, 6), cases[i].answer);
		assert_int_equal(do_detach(bench, 1, 5), ERR_RESOURCE);
		assert_int_equal(do_detach(bench, 1, 6), ERR_RESOURCE);
	}
	fake.attach_error = 0;
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 1, 6), OK);
	/* Without a dma-buf it is not what the statistics call an import. */
	assert_int_equal(statistic(bench, "userptr imports: "), 0);
}

static void test_context_goes_first(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_ctx_destroy(bench, 2), OK);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
	assert_true(fake.blob[5]);
	assert_int_equal(do_unref(bench, 5), OK);
	assert_false(fake.blob[5]);
}

static void test_guest_pages(void **state)
{
	struct bench *bench = *state;
	struct piece p[] = { { RAM_BASE, PAGE }, { RAM_BASE + 4 * PAGE, PAGE } };
	struct backing *backing;
	struct answer *unref;

	assert_int_equal(do_host_guest_blob(bench, 1, 5, 2 * PAGE, p, 2), OK);
	backing = fake.what.guest;
	assert_non_null(backing);
	assert_int_equal(backing->runs.nr, 2);
	assert_int_equal(backing->size, 2 * PAGE);
	backing_hold(backing);
	fake.log[0] = 0;
	unref = send_unref(bench, 5);
	/* The renderer's part is gone, its hold on the pages is not. */
	assert_string_equal(fake.log, "end5 quiesce5 ");
	assert_int_equal(unref->order, 0);
	assert_true(backing_stopped(backing));
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 5), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
	backing_release(backing);
	assert_int_equal(answer_type(unref), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_runs_are_given_back(void **state)
{
	struct piece p[] = { { RAM_BASE, PAGE }, { RAM_BASE + 4 * PAGE, PAGE } };
	struct gpu_config config = region_config();
	struct bench *bench;
	unsigned int i;

	(void)state;
	config.limits.memory.total_runs = 2;
	bench = bench_new_with(&config, 1 << 20, &vmm_ops);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	for (i = 0; i < 3; i++) {
		fake.create_error = ERR_UNSPEC;
		assert_int_equal(do_host_guest_blob(bench, 1, 5, 2 * PAGE, p, 2), ERR_UNSPEC);
		fake.create_error = 0;
		assert_int_equal(do_host_guest_blob(bench, 1, 5, 2 * PAGE, p, 2), OK);
		assert_int_equal(do_unref(bench, 5), OK);
	}
	bench_free(bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create),
		TEST(test_create_refused),
		TEST(test_attach),
		TEST(test_attach_fails),
		TEST(test_context_goes_first),
		TEST(test_guest_pages),
		BARE_TEST(test_runs_are_given_back),
	};

	return cmocka_run_group_tests_name("host_blobs", tests, NULL, NULL);
}
