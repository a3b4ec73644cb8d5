/* SPDX-License-Identifier: MIT */
/*
 * id_table: 32-bit ids to pointers, for ids that a guest chooses
 *
 * Open addressing with linear probing and deletion by moving back, so that a
 * look-up is O(1) and no tombstones pile up.  The hash has a secret
 * multiplier: a guest cannot aim for one slot.  Invariant: at most half of the
 * slots are in use, and between an entry's home slot and its place no slot is
 * free.  A table shrinks as it empties, so that its memory is O(entries): with
 * every insertion and removal its slots may move.  Id 0 is never stored.
 *
 * Threads: none of its own; the owner's.
 */
#ifndef ID_TABLE_H
#define ID_TABLE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#define ID_TABLE_MIN_SIZE 16

struct id_slot {
	uint32_t id;
	void *value;
};

/**
 * struct id_table - the table; all zero is an empty one
 * @slots: @size of them
 * @size: power of two, or 0 while the table is empty
 * @nr: slots in use
 * @seed: odd multiplier of the hash, or 0 before the first insert
 */
struct id_table {
	struct id_slot *slots;
	size_t size;
	size_t nr;
	uint64_t seed;
};

static inline size_t id_table_home(const struct id_table *table, uint32_t id)
{
	return (size_t)((id * table->seed) >> 32) & (table->size - 1);
}

/* The slot that holds @id, or the free one where it would go. */
static inline size_t id_table_probe(const struct id_table *table, uint32_t id)
{
	size_t at = id_table_home(table, id);

	while (table->slots[at].id && table->slots[at].id != id)
		at = (at + 1) & (table->size - 1);
	return at;
}

static inline void *id_table_find(const struct id_table *table, uint32_t id)
{
	size_t at;

	if (!id || !table->size)
		return NULL;
	at = id_table_probe(table, id);
	return table->slots[at].id ? table->slots[at].value : NULL;
}

/* Into @size slots, which are enough; the table is as it was if there is no memory. */
static inline int id_table_resize(struct id_table *table, size_t size)
{
	struct id_table other = *table;
	size_t i;

	other.size = size;
	if (!other.seed && getrandom(&other.seed, sizeof(other.seed), GRND_NONBLOCK) < 0)
		other.seed = 0x9e3779b97f4a7c15ull;
	other.seed |= 1;
	other.slots = calloc(other.size, sizeof(*other.slots));
	if (!other.slots)
		return -ENOMEM;
	for (i = 0; i < table->size; i++)
		if (table->slots[i].id)
			other.slots[id_table_probe(&other, table->slots[i].id)] = table->slots[i];
	free(table->slots);
	*table = other;
	return 0;
}

/* After a removal: memory follows what is in the table, and not what once was. */
static inline void id_table_shrink(struct id_table *table)
{
	if (!table->nr) {
		free(table->slots);
		table->slots = NULL;
		table->size = 0;
	} else if (table->size > ID_TABLE_MIN_SIZE && table->nr * 8 < table->size) {
		/* Without memory for a smaller one the larger one serves as well. */
		(void)id_table_resize(table, table->size / 2);
	}
}

/* @id must not be 0 nor in the table. */
static inline int id_table_insert(struct id_table *table, uint32_t id, void *value)
{
	size_t at;

	if ((table->nr + 1) * 2 > table->size) {
		int err = id_table_resize(table, table->size ? table->size * 2 : ID_TABLE_MIN_SIZE);

		if (err)
			return err;
	}
	at = id_table_probe(table, id);
	table->slots[at] = (struct id_slot){ .id = id, .value = value };
	table->nr++;
	return 0;
}

/* What was removed, or NULL. */
static inline void *id_table_remove(struct id_table *table, uint32_t id)
{
	size_t mask = table->size - 1;
	size_t hole, at;
	void *value;

	if (!id || !table->size)
		return NULL;
	hole = id_table_probe(table, id);
	if (!table->slots[hole].id)
		return NULL;
	value = table->slots[hole].value;
	for (at = (hole + 1) & mask; table->slots[at].id; at = (at + 1) & mask) {
		size_t home = id_table_home(table, table->slots[at].id);

		/* Move back what could not be found past the hole. */
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			table->slots[hole] = table->slots[at];
			hole = at;
		}
	}
	table->slots[hole] = (struct id_slot){ .id = 0 };
	table->nr--;
	id_table_shrink(table);
	return value;
}

/* The value in slot @at (below size) or NULL, to visit all while none is added or removed. */
static inline void *id_table_at(const struct id_table *table, size_t at)
{
	return table->slots[at].id ? table->slots[at].value : NULL;
}

static inline void id_table_destroy(struct id_table *table)
{
	free(table->slots);
	*table = (struct id_table){ .nr = 0 };
}

#endif /* ID_TABLE_H */
