// SPDX-License-Identifier: MIT
/*
 * amd_va: what is mapped in the GPU's address space of a context
 *
 * The kernel does not say how many mappings there are, and each costs it memory; and
 * some engines have their commands read, or changed, by the kernel's CPU, so that it
 * has to be known whose memory an address is.  So what the kernel does with each
 * operation that it accepts is done here, too.
 *
 * Threads: the context's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "renderer/amdgpu/amd_internal.h"

/* The first range that ends behind @at. */
static size_t find(const struct amd_va *va, uint64_t at)
{
	size_t low = 0, high = va->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (va->ranges[middle].end > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void insert_at(struct amd_va *va, size_t at, const struct amd_va_range *range)
{
	memmove(&va->ranges[at + 1], &va->ranges[at], (va->nr - at) * sizeof(*range));
	va->ranges[at] = *range;
	va->nr++;
}

static void remove_at(struct amd_va *va, size_t at, size_t nr)
{
	va->nr -= nr;
	memmove(&va->ranges[at], &va->ranges[at + nr], (va->nr - at) * sizeof(va->ranges[0]));
}

/**
 * amd_va_reserve() - room for more ranges
 * @va: all of them
 * @more: how many
 *
 * Return: 0 or -ENOMEM.
 */
int amd_va_reserve(struct amd_va *va, size_t more)
{
	size_t capacity = va->capacity ? va->capacity : 16;
	void *ranges;

	while (capacity < va->nr + more)
		capacity *= 2;
	if (capacity == va->capacity)
		return 0;
	ranges = realloc(va->ranges, capacity * sizeof(va->ranges[0]));
	if (!ranges)
		return -ENOMEM;
	va->ranges = ranges;
	va->capacity = capacity;
	return 0;
}

/**
 * amd_va_insert() - something was mapped
 * @va: all of them, with room
 * @range: it, where nothing else is
 */
void amd_va_insert(struct amd_va *va, const struct amd_va_range *range)
{
	insert_at(va, find(va, range->start), range);
}

/**
 * amd_va_remove() - a mapping is gone
 * @va: all of them
 * @start: its first address
 * @handle: its object
 */
void amd_va_remove(struct amd_va *va, uint64_t start, uint32_t handle)
{
	size_t at = find(va, start);

	if (at < va->nr && va->ranges[at].start == start && va->ranges[at].handle == handle)
		remove_at(va, at, 1);
}

/**
 * amd_va_clear() - nothing is mapped there
 * @va: all of them, with room for one more
 * @start: first address
 * @end: the one behind the last
 */
void amd_va_clear(struct amd_va *va, uint64_t start, uint64_t end)
{
	size_t at = find(va, start), last;
	struct amd_va_range *range;

	if (at < va->nr && va->ranges[at].start < start) {
		/* One in whose middle it lies becomes two. */
		if (va->ranges[at].end > end)
			insert_at(va, at, &va->ranges[at]);
		va->ranges[at++].end = start;
	}
	for (last = at; last < va->nr && va->ranges[last].end <= end; last++)
		continue;
	remove_at(va, at, last - at);
	range = &va->ranges[at];
	if (at < va->nr && range->start < end)
		range->start = end;
}

/**
 * amd_va_growth() - what a clear will come to
 * @va: all of them
 * @start: first address
 * @end: the one behind the last
 *
 * Return: how many more there will be; negative: less.
 */
long amd_va_growth(const struct amd_va *va, uint64_t start, uint64_t end)
{
	size_t at = find(va, start);
	long growth = 0;

	for (; at < va->nr && va->ranges[at].start < end; at++) {
		if (va->ranges[at].start < start)
			growth += va->ranges[at].end > end;
		else if (va->ranges[at].end <= end)
			growth--;
	}
	return growth;
}

/**
 * amd_va_drop() - an object is gone
 * @va: all of them
 * @handle: it
 */
void amd_va_drop(struct amd_va *va, uint32_t handle)
{
	size_t from, to = 0;

	for (from = 0; from < va->nr; from++)
		if (va->ranges[from].handle != handle)
			va->ranges[to++] = va->ranges[from];
	va->nr = to;
}

/**
 * amd_va_has_readonly() - whether memory is mapped there that nothing may write to
 * @va: all of them
 * @start: first address
 * @end: the one behind the last
 *
 * Return: true if so.
 */
bool amd_va_has_readonly(const struct amd_va *va, uint64_t start, uint64_t end)
{
	size_t at;

	for (at = find(va, start); at < va->nr && va->ranges[at].start < end; at++)
		if (va->ranges[at].readonly)
			return true;
	return false;
}

/**
 * amd_va_destroy() - free it
 * @va: all of them
 */
void amd_va_destroy(struct amd_va *va)
{
	free(va->ranges);
	*va = (struct amd_va){ .nr = 0 };
}
