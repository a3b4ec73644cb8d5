// SPDX-License-Identifier: MIT
/*
 * test_loopback_inject: faults that the reference context arms in the device
 */
#include "tests/renderer/loopback_test.h"

static void arm(struct bench *bench, struct loopback_command fault)
{
	assert_int_equal(do_submit(bench, CTX, &fault, 1, 0, 0), OK);
}

static void test_inject_error(void **state)
{
	struct bench *bench = *state;
	struct piece page = { BIG, PAGE };

	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 1, 2,
			     ERR_MEMORY));
	assert_int_equal(do_userptr(bench, 20, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, CTX, 20), OK);
	assert_int_equal(do_userptr(bench, 21, 0, &page, 1), ERR_MEMORY);
	assert_int_equal(do_userptr(bench, 22, 0, &page, 1), ERR_MEMORY);
	assert_int_equal(do_userptr(bench, 23, 0, &page, 1), OK);
	/* It did nothing else. */
	assert_int_equal(do_destroy(bench, 21), ERR_RESOURCE);
	/* Type 0: any userptr command or attach, once if it says 0 times. */
	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 0, ERR_LIMIT));
	assert_int_equal(do_attach(bench, CTX, 23), ERR_LIMIT);
	assert_int_equal(do_attach(bench, CTX, 23), OK);
	/* A new one replaces the old one; a refused submission arms nothing. */
	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 5, ERR_LIMIT));
	arm(bench, op_inject(LOOPBACK_FAULT_NONE, 0, 0, 0, 0));
	assert_int_equal(do_destroy(bench, 23), OK);
	{
		struct loopback_command c[] = { op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 1, ERR_LIMIT),
						op(99, 0, 0, 0, 0, 0, 0) };

		assert_int_equal(do_submit(bench, CTX, c, 2, 0, 0), ERR_PARAM);
	}
	assert_int_equal(do_destroy(bench, 20), OK);
}

static void test_inject_delay(void **state)
{
	struct bench *bench = *state;
	struct answer *slow[2];
	uint64_t start;

	arm(bench,
	    op_inject(LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, 1, 200));
	start = clock_ms();
	slow[0] = send_destroy(bench, 1);
	arm(bench,
	    op_inject(LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, 1, 50));
	slow[1] = send_destroy(bench, 2);
	/* It is done, though, and the ring keeps moving. */
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	assert_int_equal(slow[0]->order, 0);
	bench_wait(bench, slow[0]);
	assert_true(clock_ms() - start >= 200);
	assert_true(slow[1]->order && slow[1]->order < slow[0]->order);
	assert_int_equal(answer_type(slow[0]), OK);
	assert_int_equal(answer_type(slow[1]), OK);
}

static void test_inject_drop(void **state)
{
	struct bench *bench = *state;
	struct answer *dropped;

	arm(bench,
	    op_inject(LOOPBACK_FAULT_DROP, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, 1, 0));
	dropped = send_destroy(bench, 1);
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	assert_int_equal(do_destroy(bench, 2), OK);
	assert_int_equal(dropped->order, 0);
	/* A reset hands it back, and disarms. */
	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, VIRTIO_GPU_CMD_CTX_CREATE, 0, 1, ERR_LIMIT));
	gpu_device_reset(bench->dev);
	assert_int_equal(answer_type(dropped), ERR_UNSPEC);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
}

static void test_inject_needs_leave(void **state)
{
	struct gpu_config config = bench_config();
	struct loopback_command c = op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 1, ERR_LIMIT);
	struct bench *bench;

	(void)state;
	config.allow_inject = false;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 0, 0), ERR_PARAM);
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	bench_free(bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_inject_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inject_delay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inject_drop, setup, teardown),
		cmocka_unit_test(test_inject_needs_leave),
	};

	return cmocka_run_group_tests_name("loopback inject", tests, NULL, NULL);
}
