// SPDX-License-Identifier: MIT
/*
 * test_histogram: buckets, the longest, and how they are printed
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "util/histogram.h"

static void each_bound_belongs_to_the_next_bucket(void **state)
{
	struct histogram h = { .longest = NULL };
	uint64_t bound = 100000;
	unsigned int i;

	(void)state;
	histogram_add(&h, 0, "a");
	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++, bound *= 10) {
		histogram_add(&h, bound - 1, "b");
		histogram_add(&h, bound, "c");
	}
	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		assert_int_equal(h.counts[i], i == HISTOGRAM_BUCKETS - 1 ? 1 : 2);
	assert_int_equal(histogram_count(&h), 2 * HISTOGRAM_BUCKETS - 1);
	histogram_add(&h, UINT64_MAX, "for ever");
	assert_int_equal(h.counts[HISTOGRAM_BUCKETS - 1], 2);
	assert_string_equal(h.longest, "for ever");
}

static void the_first_of_the_longest_is_named(void **state)
{
	struct histogram h = { .longest = NULL };

	(void)state;
	histogram_add(&h, 0, "nothing");
	assert_string_equal(h.longest, "nothing");
	histogram_add(&h, 7000, "seven");
	histogram_add(&h, 7000, "another");
	histogram_add(&h, 6999, "six");
	assert_string_equal(h.longest, "seven");
	assert_int_equal(h.longest_ns, 7000);
}

static char *printed(const struct histogram *h, unsigned int bounds)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	histogram_print(h, "step", bounds, to);
	fclose(to);
	return text;
}

static void what_is_above_is_summed_up(void **state)
{
	struct histogram h = { .longest = NULL };
	char *text;

	(void)state;
	text = printed(&h, 1);
	assert_string_equal(text, "steps below 100 us: 0\n"
				  "steps above 100 us: 0\n"
				  "longest step (us): 0 (none)\n");
	free(text);
	histogram_add(&h, 1000, "quick");
	histogram_add(&h, 200000, "slow");
	histogram_add(&h, 20000000, "slower");
	histogram_add(&h, 2000000000, "slowest");
	text = printed(&h, 3);
	assert_string_equal(text, "steps below 100 us: 1\n"
				  "steps below 1 ms: 1\n"
				  "steps below 10 ms: 0\n"
				  "steps above 10 ms: 2\n"
				  "longest step (us): 2000000 (slowest)\n");
	free(text);
	text = printed(&h, HISTOGRAM_BUCKETS - 1);
	assert_non_null(strstr(text, "steps below 100 ms: 1\n"));
	assert_non_null(strstr(text, "steps below 1 s: 0\nsteps above 1 s: 1\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bound_belongs_to_the_next_bucket),
		cmocka_unit_test(the_first_of_the_longest_is_named),
		cmocka_unit_test(what_is_above_is_summed_up),
	};

	return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
