// SPDX-License-Identifier: MIT
/*
 * test_gpu_fault: the fault that ends the device
 *
 * The others are used by the tests of what they let go wrong.
 */
#include "tests/gpu/device_test.h"

#include <sys/wait.h>

/* The device process of its own, which the fault ends. */
static void die_in_child(void)
{
	struct gpu_config config = bench_config();
	struct bench *bench = bench_new(&config, 1 << 20);
	struct loopback_command c = op_inject(LOOPBACK_FAULT_DIE, 0, 0, 0, 0);

	do_ctx_create(bench, 1, LOOPBACK);
	do_submit(bench, 1, &c, 1, 0, 0);
	do_ctx_create(bench, 2, LOOPBACK);
	do_destroy(bench, 1);
	_exit(9);
}

static void test_inject_die(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		die_in_child();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inject_die),
	};

	return cmocka_run_group_tests_name("gpu_fault", tests, NULL, NULL);
}
