// SPDX-License-Identifier: MIT
/*
 * test_gpu_renderer: what the device and a renderer say to each other
 *
 * Submissions, contexts that the renderer gives up, and the size of capsets.
 */
#include "tests/gpu/standins.h"

static struct answer *send_empty_submit(struct bench *bench, uint32_t ctx, struct fence fence)
{
	struct {
		struct virtio_gpu_cmd_submit cmd;
		uint32_t data;
	} submit = { .cmd.hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D, ctx), .data = 0x12345678 };

	submit.cmd.size = htole32(sizeof(submit.data));
	if (fence.id) {
		submit.cmd.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
		submit.cmd.hdr.fence_id = htole64(fence.id);
	}
	if (fence.ring >= 0) {
		submit.cmd.hdr.flags |= htole32(VIRTIO_GPU_FLAG_INFO_RING_IDX);
		submit.cmd.hdr.ring_idx = (uint8_t)fence.ring;
	}
	/* The struct ends with padding that is no data. */
	return bench_send(bench, &submit, sizeof(submit.cmd) + sizeof(submit.data));
}

static void test_submission(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(answer_type(send_empty_submit(bench, 1, (struct fence){ 0, -1 })), OK);
	assert_false(fake.submission.fenced);
	assert_int_equal(fake.submission.ring, 0);
	assert_int_equal(fake.submission.size, 4);
	assert_int_equal(answer_type(send_empty_submit(bench, 1, (struct fence){ 7, 3 })), OK);
	assert_true(fake.submission.fenced);
	assert_int_equal(fake.submission.ring, 3);
}

static void test_lost(void **state)
{
	struct bench *bench = *state;
	struct fence none = { 0, -1 };
	struct capture log;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	capture_begin();
	fake.host.lost(fake.host.opaque, fake_find(1));
	fake.host.lost(fake.host.opaque, fake_find(1));
	capture_end(&log);
	assert_int_equal(captured(&log, "context 1 is lost: "), 1);
	assert_int_equal(answer_type(send_empty_submit(bench, 1, none)), ERR_CONTEXT);
	assert_int_equal(do_attach(bench, 1, 5), ERR_CONTEXT);
	assert_int_equal(do_host_blob(bench, 1, 6, 0, PAGE), ERR_CONTEXT);
	/* Only this one, and what it has can be taken from it. */
	assert_int_equal(answer_type(send_empty_submit(bench, 2, none)), OK);
	assert_int_equal(do_detach(bench, 1, 5), OK);
	assert_int_equal(fake.attached[5], 0);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), ERR_CONTEXT);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(answer_type(send_empty_submit(bench, 1, none)), OK);
}

static void test_capset_size(void **state)
{
	struct virtio_gpu_get_capset cmd = {
		.hdr = header(VIRTIO_GPU_CMD_GET_CAPSET, 0),
		.capset_id = htole32(CAPSET),
	};
	struct answer *answer = bench_send_on(*state, 0, &cmd, sizeof(cmd), 1024);

	assert_int_equal(answer_type(answer), VIRTIO_GPU_RESP_OK_CAPSET);
	assert_int_equal(answer->len, 1024);
}

/* A byte more, and no answer could tell the guest of it. */
static void test_capset_too_large(void **state)
{
	struct gpu_transport transport = { .respond = bench_respond };
	struct gpu_config config = region_config();
	struct bench memory;
	struct capture log;
	int err;

	(void)state;
	fake.big_capset = true;
	memory.gm = bench_memory(&memory, 1 << 20);
	capture_begin();
	assert_null(gpu_device_new(&config, &transport, memory.gm));
	err = errno;
	capture_end(&log);
	assert_int_equal(err, E2BIG);
	assert_int_equal(captured(&log, "capset"), 1);
	bench_memory_free(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_submission),
		TEST(test_lost),
		TEST(test_capset_size),
		BARE_TEST(test_capset_too_large),
	};

	return cmocka_run_group_tests_name("gpu_renderer", tests, NULL, NULL);
}
