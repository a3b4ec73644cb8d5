// SPDX-License-Identifier: MIT
/*
 * test_gpu_device: features, configuration space, reset, statistics
 */
#include "tests/gpu/device_test.h"

#include <linux/virtio_config.h>

static void test_features(void **state)
{
	struct bench *bench = *state;
	struct gpu_config config = bench_config();
	uint64_t all = 1u << VIRTIO_GPU_F_VIRGL | 1u << VIRTIO_GPU_F_RESOURCE_BLOB |
		       1u << VIRTIO_GPU_F_CONTEXT_INIT | 1u << VIRTIO_GPU_F_RESOURCE_USERPTR;
	struct bench *other;

	assert_int_equal(gpu_device_features(bench->dev), all);
	config.userptr = false;
	config.access_platform = true;
	other = bench_new(&config, 1 << 20);
	assert_int_equal(gpu_device_features(other->dev),
			 (all & ~(1ull << VIRTIO_GPU_F_RESOURCE_USERPTR)) |
				 1ull << VIRTIO_F_ACCESS_PLATFORM);
	/* Not offered, so not accepted whatever the driver writes. */
	gpu_device_set_features(other->dev, ~0ull);
	assert_int_equal(do_destroy(other, 1), ERR_UNSPEC);
	bench_free(other);
}

static void test_config_space(void **state)
{
	struct bench *bench = *state;
	struct gpu_config config = bench_config();
	struct virtio_gpu_config space;
	unsigned char bytes[64];
	struct bench *other;
	unsigned int i;

	memset(bytes, 0xff, sizeof(bytes));
	gpu_device_read_config(bench->dev, 0, bytes, sizeof(bytes));
	memcpy(&space, bytes, sizeof(space));
	assert_int_equal(le32toh(space.num_scanouts), 0);
	assert_int_equal(le32toh(space.num_capsets), 1);
	for (i = sizeof(space); i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	gpu_device_read_config(bench->dev, 12, bytes, 1);
	assert_int_equal(bytes[0], 1);
	bytes[0] = 0xff;
	gpu_device_read_config(bench->dev, 0xffffffff, bytes, 8);
	assert_int_equal(bytes[0], 0);
	gpu_device_write_config(bench->dev, 0xfffffff0, bytes, 64);
	config.loopback = false;
	other = bench_new(&config, 1 << 20);
	gpu_device_read_config(other->dev, 0, &space, sizeof(space));
	assert_int_equal(le32toh(space.num_capsets), 0);
	bench_free(other);
}

static void test_reset_with_pending(void **state)
{
	struct bench *bench = *state;
	struct loopback_command fault =
		op_inject(LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0, 1, 3600000);
	struct answer *pending[5];
	unsigned int i;

	set_up_slow(bench);
	assert_int_equal(do_submit(bench, 1, &fault, 1, 0, 0), OK);
	pending[0] = send_fenced_info(bench, 2, (struct fence){ 9, -1 });
	pending[1] = send_fenced_info(bench, 2, (struct fence){ 10, -1 });
	pending[2] = send_slow(bench, 1, (struct fence){ 11, 4 });
	pending[3] = send_slow(bench, 2, (struct fence){ 12, -1 });
	wait_started(bench, BIG);
	pending[4] = send_destroy(bench, 1);
	for (i = 0; i < 5; i++)
		assert_int_equal(pending[i]->order, 0);
	gpu_device_reset(bench->dev);
	/* All refused, with their fences, in the order of the fences. */
	for (i = 0; i < 5; i++) {
		struct virtio_gpu_ctrl_hdr hdr = answer_hdr(pending[i]);

		assert_int_equal(pending[i]->len, sizeof(hdr));
		assert_int_equal(le32toh(hdr.type), ERR_UNSPEC);
		assert_int_equal(le32toh(hdr.flags) & VIRTIO_GPU_FLAG_FENCE, i < 4);
		assert_int_equal(le64toh(hdr.fence_id), i < 4 ? 9 + i : 0);
		assert_true(!i || pending[i - 1]->order < pending[i]->order);
	}
	assert_int_equal(answer_hdr(pending[2]).ring_idx, 4);
	/* As new: no features, no ids, no timelines that wait. */
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), ERR_UNSPEC);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	set_up_slow(bench);
	assert_true(send_fenced_info(bench, 2, (struct fence){ 1, -1 })->order);
	gpu_device_reset(bench->dev);
	gpu_device_reset(bench->dev);
}

static void test_free_with_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *pending[2];

	set_up_slow(bench);
	pending[0] = send_slow(bench, 1, (struct fence){ 11, 4 });
	wait_started(bench, BIG);
	pending[1] = send_destroy(bench, 1);
	/* teardown() frees the device; the leak checker looks on. */
	assert_int_equal(pending[0]->order, 0);
	assert_int_equal(pending[1]->order, 0);
}

static void test_print_stats(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	char *text = NULL;
	size_t len = 0;
	FILE *to;

	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	assert_int_equal(do_destroy(bench, 2), ERR_RESOURCE);
	/* Totals outlive a reset; what is held now does not. */
	gpu_device_reset(bench->dev);
	to = open_memstream(&text, &len);
	assert_non_null(to);
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	assert_non_null(strstr(text, "userptr resources created: 1\n"));
	assert_non_null(strstr(text, "userptr resources now: 0\n"));
	assert_non_null(strstr(text, "userptr segments created: 1\n"));
	assert_non_null(strstr(text, "userptr bytes mapped: 4096\n"));
	assert_non_null(strstr(text, "\ncommands: 2\n"));
	assert_non_null(strstr(text, "\nerrors: 1\n"));
	free(text);
}

static void expect_destroyed(const struct bench *bench, unsigned int nr)
{
	char *text = NULL, line[64];
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	assert_non_null(to);
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	snprintf(line, sizeof(line), "userptr resources destroyed: %u\n", nr);
	assert_non_null(strstr(text, line));
	free(text);
}

static void test_destroyed_are_those_that_were_answered(void **state)
{
	struct bench *bench = *state;
	struct answer *end;

	set_up_slow(bench);
	send_slow(bench, 1, (struct fence){ 11, 4 });
	wait_started(bench, BIG);
	end = send_destroy(bench, 1);
	assert_int_equal(end->order, 0);
	gpu_device_reset(bench->dev);
	assert_int_equal(answer_type(end), ERR_UNSPEC);
	expect_destroyed(bench, 0);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	set_up_slow(bench);
	assert_int_equal(do_destroy(bench, 1), OK);
	expect_destroyed(bench, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_features),	       TEST(test_config_space),
		TEST(test_reset_with_pending), TEST(test_free_with_pending),
		TEST(test_print_stats),	       TEST(test_destroyed_are_those_that_were_answered),
	};

	return cmocka_run_group_tests_name("gpu_device", tests, NULL, NULL);
}
