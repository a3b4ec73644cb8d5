// SPDX-License-Identifier: MIT
/*
 * test_userptr_damage: guest RAM that is truncated under a device that works on it
 */
#include "memory/bus_fault.h"
#include "tests/gpu/device_test.h"
#include "tests/util/capture.h"

/* The job that finds it goes on, the device says so, and makes nothing new of it. */
static void test_truncated_ram(void **state)
{
	struct bench *bench = *state;
	struct piece pages = { RAM_BASE, 4 * PAGE };
	/* The one page that is left of the file. */
	struct piece other = { RAM_BASE + RAM_SIZE / 2, PAGE };
	struct loopback_command fill = op(LOOPBACK_OP_FILL, 0x5a, 1, 0, 0, 0, 4 * PAGE);
	struct capture c;

	/* Again: cmocka has taken it for the test. */
	assert_int_equal(bus_fault_install(), 0);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &pages, 1), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_submit(bench, 1, &fill, 1, 0, 0), OK);
	assert_int_equal(*bench_at(bench, RAM_BASE), 0x5a);
	assert_int_equal(ftruncate(bench->fd, PAGE), 0);
	capture_begin();
	assert_int_equal(do_submit(bench, 1, &fill, 1, 0, 0), OK);
	gpu_device_dispatch(bench->dev);
	assert_int_equal(do_userptr(bench, 2, 0, &other, 1), ERR_MEMORY);
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &other, 1), ERR_MEMORY);
	gpu_device_dispatch(bench->dev);
	capture_end(&c);
	assert_int_equal(captured(&c, "is damaged"), 1);
	/* What there is can be ended. */
	assert_int_equal(do_destroy(bench, 1), OK);
	assert_int_equal(do_destroy(bench, 2), OK);
}

static int install_and_setup(void **state)
{
	/* The device waits for the event only if there is one. */
	assert_int_equal(bus_fault_install(), 0);
	return setup(state);
}

static int give_up_and_teardown(void **state)
{
	capture_give_up();
	return teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_truncated_ram, install_and_setup,
						give_up_and_teardown),
	};

	return cmocka_run_group_tests_name("userptr_damage", tests, NULL, NULL);
}
