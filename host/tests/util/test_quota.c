// SPDX-License-Identifier: MIT
/*
 * test_quota: charges, refusals, and what is said about them
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/capture.h"
#include "util/quota.h"

static void charges_fit_or_not(void **state)
{
	struct quota quota;

	(void)state;
	quota_init(&quota, "apples", "--max-apples", 10);
	assert_true(quota_charge(&quota, 0));
	assert_true(quota_charge(&quota, 7));
	assert_true(quota_charge(&quota, 3));
	assert_int_equal(quota_left(&quota), 0);
	assert_true(quota_charge(&quota, 0));
	quota_uncharge(&quota, 4);
	assert_int_equal(quota_left(&quota), 4);
	assert_int_equal(quota.used, 6);
	assert_int_equal(quota.peak, 10);
	assert_int_equal(quota.refused, 0);
}

/* Nothing of a charge that does not fit is charged, and none is too large to add. */
static void refusals_change_nothing(void **state)
{
	struct quota quota;
	struct capture c;

	(void)state;
	quota_init(&quota, "apples", "--max-apples", 10);
	assert_true(quota_charge(&quota, 4));
	capture_begin();
	assert_false(quota_charge(&quota, 7));
	assert_false(quota_charge(&quota, UINT64_MAX));
	assert_false(quota_charge(&quota, UINT64_MAX - 3));
	capture_end(&c);
	assert_int_equal(quota.used, 4);
	assert_int_equal(quota.refused, 3);
	assert_true(quota_charge(&quota, 6));
	/* Lowered below what is used: what is there stays, nothing is added. */
	quota.max = 5;
	assert_int_equal(quota_left(&quota), 0);
	assert_true(quota_charge(&quota, 0));
	assert_false(quota_charge(&quota, 1));
	quota_uncharge(&quota, 6);
	assert_true(quota_charge(&quota, 1));
}

/* With name, value and option; a guest cannot fill the log with it. */
static void refusals_are_named(void **state)
{
	struct quota apples, pears;
	struct capture c;
	unsigned int i;

	(void)state;
	quota_init(&apples, "apples", "--max-apples", 10);
	quota_init(&pears, "pears", "--max-pears", 20);
	assert_true(quota_charge(&apples, 8));
	capture_begin();
	for (i = 0; i < 1000; i++)
		assert_false(quota_charge(&apples, 3));
	assert_false(quota_charge(&pears, 21));
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of apples reached: 8 of 10 are used, 3 more"), 1);
	assert_int_equal(captured(&c, "--max-apples"), 1);
	assert_int_equal(captured(&c, "limit of pears reached: 0 of 20 are used, 21 more"), 1);
	assert_int_equal(captured(&c, "\n"), 2);
	/* What was not said then is said with the next line. */
	apples.silent_until = 0;
	capture_begin();
	quota_refuse(&apples, 3);
	capture_end(&c);
	assert_int_equal(captured(&c, "(1000 times since"), 1);
}

static void each_by_itself(void **state)
{
	struct quota quota;
	struct capture c;

	(void)state;
	quota_init(&quota, "apples", "--max-apples", 10);
	assert_true(quota_fits(&quota, 10));
	assert_true(quota_fits(&quota, 9));
	capture_begin();
	assert_false(quota_fits(&quota, 11));
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of apples is 10, 11 are refused (1 times"), 1);
	assert_int_equal(quota.used, 0);
	assert_int_equal(quota.peak, 10);
	assert_int_equal(quota.refused, 1);
}

static void it_is_printed(void **state)
{
	char *text = NULL;
	struct quota quota;
	struct capture c;
	size_t len;
	FILE *to;

	(void)state;
	quota_init(&quota, "apples", "--max-apples", 10);
	assert_true(quota_charge(&quota, 9));
	quota_uncharge(&quota, 2);
	capture_begin();
	assert_false(quota_charge(&quota, 4));
	capture_end(&c);
	to = open_memstream(&text, &len);
	assert_non_null(to);
	quota_print(&quota, to);
	fclose(to);
	assert_string_equal(text, "limit apples: used 7 of 10, peak 9, refused 1\n");
	free(text);
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
		cmocka_unit_test(charges_fit_or_not),
		cmocka_unit_test_teardown(refusals_change_nothing, give_up),
		cmocka_unit_test_teardown(refusals_are_named, give_up),
		cmocka_unit_test_teardown(each_by_itself, give_up),
		cmocka_unit_test_teardown(it_is_printed, give_up),
	};

	return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
