// SPDX-License-Identifier: MIT
/*
 * run_list: what a resource is made of
 *
 * Invariants: see struct run_list.
 *
 * Threads: a list belongs to one thread at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/guest_memory.h"
#include "memory/run_list.h"

/* Bytes that are populated before anybody is heard who wants to stop that. */
#define SLICE (UINT64_C(64) << 20)

/**
 * run_list_init() - an empty list
 * @list: needs run_list_destroy() once something was appended
 */
void run_list_init(struct run_list *list)
{
	memset(list, 0, sizeof(*list));
}

/* Both arrays to @capacity entries; on failure the list is as usable as before. */
static int run_list_resize(struct run_list *list, size_t capacity)
{
	struct run *runs;
	uint64_t *ends;

	/* Shrinking: each array holds that many whether or not realloc fails. */
	if (capacity < list->capacity)
		list->capacity = capacity;
	runs = reallocarray(list->runs, capacity, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	list->runs = runs;
	ends = reallocarray(list->ends, capacity, sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	list->ends = ends;
	list->capacity = capacity;
	return 0;
}

/**
 * run_list_has_room() - whether a run fits
 * @list: the list
 * @run: what is to be appended
 *
 * Return: true if the arrays need not grow for it.
 */
bool run_list_has_room(const struct run_list *list, const struct run *run)
{
	return list->nr < list->capacity ||
	       (list->nr && run_continues(&list->runs[list->nr - 1], run));
}

/**
 * run_list_reserve() - make room
 * @list: the list
 * @capacity: runs that are to fit, more than do
 *
 * Return: 0 or -ENOMEM.
 */
int run_list_reserve(struct run_list *list, size_t capacity)
{
	return run_list_resize(list, capacity);
}

/**
 * run_list_append() - add bytes at the end
 * @list: the list
 * @run: borrowed; the list takes a reference of its own if it keeps it apart
 *
 * Return: 0, -EINVAL for an empty run, -EOVERFLOW, -ENOMEM.
 */
int run_list_append(struct run_list *list, const struct run *run)
{
	uint64_t bytes = run_list_bytes(list);
	size_t capacity;
	int err;

	if (!run->length)
		return -EINVAL;
	if (run->length > UINT64_MAX - bytes)
		return -EOVERFLOW;
	if (list->nr && run_continues(&list->runs[list->nr - 1], run)) {
		list->runs[list->nr - 1].length += run->length;
		list->ends[list->nr - 1] += run->length;
		return 0;
	}
	if (list->nr == list->capacity) {
		capacity = list->capacity ? 2 * list->capacity : 4;
		err = run_list_resize(list, capacity);
		if (err)
			return err;
	}
	list->runs[list->nr] = *run;
	ram_file_get(run->file);
	list->ends[list->nr] = bytes + run->length;
	list->nr++;
	return 0;
}

/**
 * run_list_bytes() - size of what the list describes
 * @list: the list
 *
 * Return: bytes.
 */
uint64_t run_list_bytes(const struct run_list *list)
{
	return list->nr ? list->ends[list->nr - 1] : 0;
}

/**
 * run_list_trim() - give back what doubling left over
 * @list: complete
 */
void run_list_trim(struct run_list *list)
{
	/* If shrinking fails the larger arrays serve as well. */
	if (list->nr && list->nr < list->capacity)
		(void)run_list_resize(list, list->nr);
}

/**
 * run_list_destroy() - drop all references, free the arrays
 * @list: empty and usable afterwards
 */
void run_list_destroy(struct run_list *list)
{
	size_t i, first = 0;

	/* Neighbours are of the same file as a rule, and go together. */
	for (i = 1; i <= list->nr; i++) {
		if (i < list->nr && list->runs[i].file == list->runs[first].file)
			continue;
		ram_file_put_many(list->runs[first].file, i - first);
		first = i;
	}
	free(list->runs);
	free(list->ends);
	run_list_init(list);
}

/**
 * run_list_piece() - where a byte of the resource is
 * @list: the list
 * @offset: bytes from the start of the resource
 * @len: how many bytes follow at the answer in the same run
 *
 * Return: the pointer, or NULL at or past the end.
 */
void *run_list_piece(const struct run_list *list, uint64_t offset, uint64_t *len)
{
	size_t low = 0, high = list->nr;
	const struct run *run;
	uint64_t skip;

	/* The first run whose end lies after offset. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (list->ends[mid] <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == list->nr)
		return NULL;
	run = &list->runs[low];
	skip = offset - (list->ends[low] - run->length);
	*len = run->length - skip;
	return (unsigned char *)run_pointer(run) + skip;
}

/**
 * run_list_populate() - make sure that all pages are there
 * @list: the list
 * @stop: when this is true, leave it at that
 *
 * Return: 0, -ENOMEM or -ECANCELED.
 */
int run_list_populate(const struct run_list *list, const atomic_bool *stop)
{
	uint64_t since = 0;
	size_t i;

	for (i = 0; i < list->nr; i++) {
		struct run left = list->runs[i];

		while (left.length) {
			struct run slice = left;
			int err;

			if (slice.length > SLICE - since)
				slice.length = SLICE - since;
			err = run_populate(&slice);
			if (err)
				return err;
			left.offset += slice.length;
			left.length -= slice.length;
			since += slice.length;
			if (since < SLICE)
				continue;
			since = 0;
			if (atomic_load_explicit(stop, memory_order_relaxed))
				return -ECANCELED;
		}
	}
	return 0;
}
