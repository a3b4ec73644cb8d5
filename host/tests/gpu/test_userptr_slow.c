// SPDX-License-Identifier: MIT
/*
 * test_userptr_slow: the device goes on while a resource is being made
 *
 * The answer to what the worker does comes with a dispatch, so until then nothing here
 * depends on how fast it is.
 */
#include "tests/gpu/device_test.h"

#define SLOW_SIZE (48u << 20)

static struct answer *send_large(struct bench *bench, uint32_t res)
{
	struct piece large = { RAM_BASE, SLOW_SIZE };
	struct virtio_gpu_resource_create_userptr head = create_head(res, 0, SLOW_SIZE, 0, 1);
	size_t len;
	void *cmd = with_entries(&head, sizeof(head), &large, 1, &len);
	struct answer *answer = bench_send(bench, cmd, len);

	free(cmd);
	return answer;
}

static void test_others_are_answered(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_ctrl_hdr info = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0);
	struct piece page = { RAM_BASE, PAGE };
	struct answer *large, *other;

	skip_without_populate();
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	large = send_large(bench, 1);
	assert_int_equal(large->order, 0);
	other = SEND(bench, info);
	assert_int_equal(answer_type(other), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	/* It cannot be attached yet, and its id is taken. */
	assert_int_equal(do_attach(bench, 1, 1), ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1),
			 ERR_RESOURCE);
	bench_wait(bench, large);
	assert_int_equal(answer_type(large), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_destroy(bench, 1), OK);
}

static void test_destroy_comes_early(void **state)
{
	struct bench *bench = *state;
	struct answer *large, *end;

	skip_without_populate();
	large = send_large(bench, 1);
	end = send_destroy(bench, 1);
	assert_int_equal(large->order, 0);
	assert_int_equal(end->order, 0);
	bench_wait(bench, end);
	assert_int_equal(answer_type(large), ERR_UNSPEC);
	assert_int_equal(answer_type(end), OK);
	assert_true(large->order < end->order);
	bench_wait(bench, send_large(bench, 1));
}

static void test_reset_comes_early(void **state)
{
	struct bench *bench = *state;
	struct answer *first, *second;
	uint64_t features = gpu_device_features(bench->dev);

	skip_without_populate();
	first = send_large(bench, 1);
	second = send_large(bench, 2);
	gpu_device_reset(bench->dev);
	assert_int_equal(answer_type(first), ERR_UNSPEC);
	assert_int_equal(answer_type(second), ERR_UNSPEC);
	gpu_device_dispatch(bench->dev);
	gpu_device_set_features(bench->dev, features);
	first = send_large(bench, 1);
	bench_wait(bench, first);
	assert_int_equal(answer_type(first), OK);
	/* And an end with one that is being made. */
	send_large(bench, 2);
}

/* Every limit is a line, with what is used of it. */
static void test_limits_are_printed(void **state)
{
	static const char *const lines[] = {
		"limit userptr resources: used 1 of 1024, peak 1, refused 0\n",
		"limit userptr bytes: used 8192 of 134217728, peak 8192, refused 0\n",
		"limit segments: used 1 of 1048576, peak 4, refused 0\n",
		"limit kernel bytes: used 0 of ",
		"limit bytes of one userptr resource: used 0 of 4294967296, peak 8192, ",
		"limit segments of one userptr resource: used 0 of 65536, peak 1, refused 0\n",
		"limit blobs: used 0 of 65536, peak 0, refused 0\n",
		"limit contexts: used 1 of 256, peak 1, refused 0\n",
		"limit attachments: used 1 of 262144, peak 1, refused 0\n",
		"limit attachments of one context: used 0 of 65536, peak 1, refused 0\n",
	};
	struct bench *bench = *state;
	struct piece two = { RAM_BASE, 2 * PAGE };
	char *text = NULL;
	size_t len, i;
	FILE *to;

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &two, 1), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	to = open_memstream(&text, &len);
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!strstr(text, lines[i]))
			fail_msg("not in the statistics: %s\n%s", lines[i], text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_others_are_answered),
		TEST(test_destroy_comes_early),
		TEST(test_reset_comes_early),
		TEST(test_limits_are_printed),
	};

	return cmocka_run_group_tests_name("userptr_slow", tests, NULL, NULL);
}
