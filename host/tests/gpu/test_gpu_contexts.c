// SPDX-License-Identifier: MIT
/*
 * test_gpu_contexts: contexts, and what is attached to them
 */
#include "tests/gpu/device_test.h"
#include "tests/util/capture.h"

static void test_contexts(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_ctx_create cmd = { .hdr = header(VIRTIO_GPU_CMD_CTX_CREATE, 9) };

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), ERR_CONTEXT);
	assert_int_equal(do_ctx_create(bench, 0, LOOPBACK), ERR_CONTEXT);
	assert_int_equal(do_ctx_create(bench, 2, 4), ERR_PARAM);
	assert_int_equal(do_ctx_create(bench, 2, LOOPBACK | 0x100), ERR_PARAM);
	assert_int_equal(do_ctx_create(bench, 2, 0), OK);
	cmd.nlen = htole32(65);
	assert_int_equal(DO(bench, cmd), ERR_PARAM);
	/* A name that fills its field has no terminator. */
	cmd.nlen = htole32(64);
	memset(cmd.debug_name, 'x', 64);
	assert_int_equal(DO(bench, cmd), OK);
	assert_int_equal(do_ctx_destroy(bench, 9), OK);
	assert_int_equal(do_ctx_destroy(bench, 9), ERR_CONTEXT);
	assert_int_equal(do_ctx_destroy(bench, 0), ERR_CONTEXT);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
}

static void test_attach(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct virtio_gpu_resource_create_userptr half = create_head(3, 0, 2 * PAGE, 2, 1);
	struct virtio_gpu_resource_create_userptr bad = create_head(4, 0, 0, 2, 1);
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, 1);
	size_t len;
	void *cmd;

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 2, 0), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	assert_int_equal(do_userptr(bench, 2, VIRTIO_GPU_USERPTR_RDONLY, &page, 1), OK);
	cmd = with_entries(&half, sizeof(half), &page, 1, &len);
	assert_int_equal(bench_do(bench, cmd, len), OK);
	free(cmd);
	assert_int_equal(DO(bench, bad), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 7, 1), ERR_CONTEXT);
	assert_int_equal(do_attach(bench, 0, 1), ERR_CONTEXT);
	assert_int_equal(do_attach(bench, 1, 99), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 0), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 3), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 4), ERR_RESOURCE);
	/* Read-only only where it is enforced. */
	assert_int_equal(do_attach(bench, 1, 2), OK);
	assert_int_equal(do_attach(bench, 2, 2), ERR_UNSUPPORTED);
	assert_int_equal(do_attach(bench, 2, 1), OK);
	assert_int_equal(do_submit(bench, 1, &c, 1, 0, 0), OK);
	assert_int_equal(do_detach(bench, 1, 1), OK);
	assert_int_equal(do_detach(bench, 1, 1), ERR_RESOURCE);
	assert_int_equal(do_detach(bench, 9, 1), ERR_CONTEXT);
	assert_int_equal(do_submit(bench, 1, &c, 1, 0, 0), ERR_PARAM);
	/* A context without renderer runs nothing. */
	assert_int_equal(do_submit(bench, 2, &c, 1, 0, 0), ERR_UNSPEC);
	assert_int_equal(do_submit(bench, 9, &c, 1, 0, 0), ERR_CONTEXT);
}

static void test_destroy_detaches(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, 1);
	uint32_t ctx;

	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	for (ctx = 1; ctx <= 3; ctx++) {
		assert_int_equal(do_ctx_create(bench, ctx, LOOPBACK), OK);
		assert_int_equal(do_attach(bench, ctx, 1), OK);
	}
	assert_int_equal(do_destroy(bench, 1), OK);
	/* Of the same id, but not attached: the old one must not show through. */
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	for (ctx = 1; ctx <= 3; ctx++) {
		assert_int_equal(do_submit(bench, ctx, &c, 1, 0, 0), ERR_PARAM);
		assert_int_equal(do_detach(bench, ctx, 1), ERR_RESOURCE);
	}
}

/* As many as the library has, unless told otherwise; and the log says which limit it is. */
static void test_limit_contexts(void **state)
{
	struct bench *bench = *state;
	struct capture c;
	uint32_t id;

	for (id = 1; id <= 256; id++)
		assert_int_equal(do_ctx_create(bench, id * 7919, LOOPBACK), OK);
	capture_begin();
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of contexts reached: 256 of 256"), 1);
	assert_int_equal(captured(&c, "--max-contexts"), 1);
	assert_int_equal(do_ctx_destroy(bench, 7919), OK);
	/* One that is not to be had does not count. */
	assert_int_equal(do_ctx_create(bench, 1, 63), ERR_PARAM);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	for (id = 2; id <= 256; id++)
		assert_int_equal(do_ctx_destroy(bench, id * 7919), OK);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
}

/* One context can have a quarter of what all can have. */
static void test_limit_attachments(void **state)
{
	struct gpu_config config = bench_config();
	struct piece page = { RAM_BASE, PAGE };
	struct bench *bench;
	struct capture c;
	uint32_t id;

	(void)state;
	config.limits.max_attachments = 8;
	bench = bench_new(&config, RAM_SIZE);
	for (id = 1; id <= 5; id++) {
		assert_int_equal(do_ctx_create(bench, id, LOOPBACK), OK);
		assert_int_equal(do_userptr(bench, id, 0, &page, 1), OK);
	}
	assert_int_equal(do_blob(bench, 9, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	capture_begin();
	for (id = 1; id <= 4; id++) {
		assert_int_equal(do_attach(bench, id, 1), OK);
		assert_int_equal(do_attach(bench, id, 9), OK);
		assert_int_equal(do_attach(bench, id, 2), ERR_LIMIT);
		/* What it has already it may have again. */
		assert_int_equal(do_attach(bench, id, 1), OK);
	}
	assert_int_equal(do_attach(bench, 5, 1), ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of attachments of one context is 2"), 1);
	assert_int_equal(captured(&c, "limit of attachments reached: 8 of 8"), 1);
	/* Detached, destroyed and gone with their context. */
	assert_int_equal(do_detach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 5, 1), OK);
	assert_int_equal(do_ctx_destroy(bench, 2), OK);
	assert_int_equal(do_attach(bench, 5, 2), OK);
	assert_int_equal(do_unref(bench, 9), OK);
	assert_int_equal(do_attach(bench, 1, 3), OK);
	assert_int_equal(do_attach(bench, 1, 4), OK);
	bench_free(bench);
}

static void test_limit_blobs(void **state)
{
	struct gpu_config config = bench_config();
	struct piece page = { RAM_BASE, PAGE }, outside = { 0, PAGE };
	struct bench *bench;
	struct capture c;

	(void)state;
	config.limits.max_blobs = 2;
	bench = bench_new(&config, RAM_SIZE);
	capture_begin();
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &outside, 1),
			 ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), ERR_LIMIT);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	capture_end(&c);
	assert_int_equal(captured(&c, "--max-blobs"), 1);
	bench_free(bench);
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
		TEST(test_contexts),
		TEST(test_attach),
		TEST(test_destroy_detaches),
		TEST(test_limit_contexts),
		cmocka_unit_test_teardown(test_limit_attachments, give_up),
		cmocka_unit_test_teardown(test_limit_blobs, give_up),
	};

	return cmocka_run_group_tests_name("gpu_contexts", tests, NULL, NULL);
}
