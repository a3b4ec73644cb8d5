// SPDX-License-Identifier: MIT
/*
 * test_interval: what is found, against a list that is searched from end to end
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "interval.h"

#define NODES 300
#define SPACE 1000

struct item {
	struct interval_node node;
	bool in;
};

/* All that overlap, in their order, by both ways. */
static void compare(const struct interval_tree *tree, const struct item *items, uint64_t first,
		    uint64_t last)
{
	const struct interval_node *node = interval_first(tree, first, last), *previous = NULL;
	unsigned int found = 0, expected = 0, i;

	for (i = 0; i < NODES; i++)
		expected += items[i].in && items[i].node.first <= last &&
			    items[i].node.last >= first;
	for (; node; node = interval_next(tree, node, first, last)) {
		assert_true(node->first <= last && node->last >= first);
		assert_true(((const struct item *)node)->in);
		if (previous) {
			assert_true(previous->first <= node->first);
			if (previous->first == node->first && previous->last == node->last)
				assert_true(previous->seq < node->seq);
		}
		previous = node;
		found++;
		assert_true(found <= expected);
	}
	assert_int_equal(found, expected);
}

static void test_random(void **state)
{
	static struct item items[NODES];
	struct interval_tree tree = { 0 };
	unsigned int round, i;

	(void)state;
	srandom(1);
	for (round = 0; round < 20000; round++) {
		struct item *item = &items[random() % NODES];

		if (item->in) {
			interval_remove(&tree, &item->node);
		} else {
			item->node.first = random() % SPACE;
			item->node.last = item->node.first + random() % (random() % 100 + 1);
			interval_insert(&tree, &item->node);
		}
		item->in = !item->in;
		if (round % 10 == 0) {
			uint64_t first = random() % SPACE;

			compare(&tree, items, first, first + random() % 50);
		}
	}
	compare(&tree, items, 0, UINT64_MAX);
	for (i = 0; i < NODES; i++)
		if (items[i].in)
			interval_remove(&tree, &items[i].node);
	assert_null(tree.root);
}

static void test_ends(void **state)
{
	struct interval_node low = { .first = 0, .last = 0 };
	struct interval_node high = { .first = UINT64_MAX, .last = UINT64_MAX };
	struct interval_tree tree = { 0 };

	(void)state;
	assert_null(interval_first(&tree, 0, UINT64_MAX));
	interval_insert(&tree, &high);
	interval_insert(&tree, &low);
	assert_ptr_equal(interval_first(&tree, 0, 0), &low);
	assert_null(interval_first(&tree, 1, UINT64_MAX - 1));
	assert_ptr_equal(interval_first(&tree, 1, UINT64_MAX), &high);
	assert_ptr_equal(interval_next(&tree, &low, 0, UINT64_MAX), &high);
	assert_null(interval_next(&tree, &high, 0, UINT64_MAX));
}

/* Equal ones are all there, in the order of their coming, and go one by one. */
static void test_equal(void **state)
{
	struct interval_node nodes[5];
	struct interval_tree tree = { 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		nodes[i].first = 10;
		nodes[i].last = 20;
		interval_insert(&tree, &nodes[i]);
	}
	interval_remove(&tree, &nodes[2]);
	assert_ptr_equal(interval_first(&tree, 20, 20), &nodes[0]);
	assert_ptr_equal(interval_next(&tree, &nodes[0], 20, 20), &nodes[1]);
	assert_ptr_equal(interval_next(&tree, &nodes[1], 20, 20), &nodes[3]);
	assert_ptr_equal(interval_next(&tree, &nodes[3], 20, 20), &nodes[4]);
	assert_null(interval_next(&tree, &nodes[4], 20, 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
