// SPDX-License-Identifier: MIT
/*
 * test_id_table: ids to pointers, and how much memory that takes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

static bool no_memory;

static void *scarce_calloc(size_t nr, size_t size)
{
	return no_memory ? NULL : calloc(nr, size);
}

#define calloc(nr, size) scarce_calloc(nr, size)
#include "util/id_table.h"
#undef calloc

#define NR 5000

/* Ids in no order, as guests may choose them; the value says which it is. */
static uint32_t id_of(uint32_t i)
{
	return i * 2654435761u + 1;
}

static void *value_of(uint32_t i)
{
	return (void *)(uintptr_t)(i + 1);
}

static void fill(struct id_table *table)
{
	uint32_t i;

	for (i = 0; i < NR; i++)
		assert_int_equal(id_table_insert(table, id_of(i), value_of(i)), 0);
}

/* Those from @first on are in the table, and no others. */
static void check(const struct id_table *table, uint32_t first)
{
	size_t at, nr = 0;
	uint32_t i;

	for (i = 0; i < NR; i++)
		assert_ptr_equal(id_table_find(table, id_of(i)), i < first ? NULL : value_of(i));
	for (at = 0; at < table->size; at++)
		nr += id_table_at(table, at) != NULL;
	assert_int_equal(nr, NR - first);
	assert_int_equal(table->nr, NR - first);
}

static void memory_follows_the_entries(void **state)
{
	struct id_table table = { .nr = 0 };
	unsigned int round;
	uint32_t i;

	(void)state;
	for (round = 0; round < 2; round++) {
		fill(&table);
		check(&table, 0);
		for (i = 0; i < NR; i++) {
			assert_ptr_equal(id_table_remove(&table, id_of(i)), value_of(i));
			assert_null(id_table_remove(&table, id_of(i)));
			assert_true(table.size <= ID_TABLE_MIN_SIZE || table.size <= table.nr * 8);
			if (i % 500 == 499)
				check(&table, i + 1);
		}
		assert_int_equal(table.size, 0);
		assert_null(table.slots);
	}
	id_table_destroy(&table);
}

static void a_table_at_the_limit_does_not_flap(void **state)
{
	struct id_table table = { .nr = 0 };
	const struct id_slot *slots;
	uint32_t i;

	(void)state;
	fill(&table);
	for (i = 0; table.size == 16384; i++)
		id_table_remove(&table, id_of(i));
	slots = table.slots;
	/* One more, one less: neither grows it nor shrinks it again. */
	for (i = 0; i < 10; i++) {
		assert_int_equal(id_table_insert(&table, id_of(0), value_of(0)), 0);
		assert_ptr_equal(id_table_remove(&table, id_of(0)), value_of(0));
		assert_ptr_equal(table.slots, slots);
	}
	id_table_destroy(&table);
}

static void without_memory_it_stays_as_it_is(void **state)
{
	struct id_table table = { .nr = 0 };
	size_t size;
	uint32_t i;

	(void)state;
	no_memory = true;
	assert_int_equal(id_table_insert(&table, 1, &table), -ENOMEM);
	no_memory = false;
	fill(&table);
	size = table.size;
	no_memory = true;
	for (i = 0; i < NR - 3; i++)
		assert_ptr_equal(id_table_remove(&table, id_of(i)), value_of(i));
	check(&table, NR - 3);
	assert_int_equal(table.size, size);
	/* Nothing has to be allocated for no entries. */
	for (; i < NR; i++)
		assert_ptr_equal(id_table_remove(&table, id_of(i)), value_of(i));
	assert_null(table.slots);
	no_memory = false;
	id_table_destroy(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_follows_the_entries),
		cmocka_unit_test(a_table_at_the_limit_does_not_flap),
		cmocka_unit_test(without_memory_it_stays_as_it_is),
	};

	return cmocka_run_group_tests_name("id_table", tests, NULL, NULL);
}
