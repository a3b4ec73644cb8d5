/* SPDX-License-Identifier: MIT */
/*
 * run_list: what a resource is made of
 *
 * The runs of guest memory that are the bytes of a resource, in their order.  A
 * list holds references on the RAM files, so that its bytes stay mapped.
 *
 * Threads: a list belongs to one thread at a time; it may be read by several
 * while it does not change.
 */
#ifndef RUN_LIST_H
#define RUN_LIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/guest_memory.h"

/**
 * struct run_list - what a resource is made of
 * @runs: owned runs, in the order of the resource's bytes
 * @ends: @ends[i]: bytes of the resource that lie in runs 0 to i
 * @nr: how many
 * @capacity: how many fit, grows by doubling
 *
 * Invariant: no run continues its predecessor in the same file (they would
 * have been merged), so memory is O(runs).
 */
struct run_list {
	struct run *runs;
	uint64_t *ends;
	size_t nr;
	size_t capacity;
};

void run_list_init(struct run_list *list);
/* Whether @run fits without the arrays having to grow. */
bool run_list_has_room(const struct run_list *list, const struct run *run);
/* Room for @capacity runs, which is more than there is: 0 or -ENOMEM. */
int run_list_reserve(struct run_list *list, size_t capacity);
/* Add @run's bytes at the end, merging; takes a reference of its own. */
int run_list_append(struct run_list *list, const struct run *run);
uint64_t run_list_bytes(const struct run_list *list);
/* Give back what doubling left over. */
void run_list_trim(struct run_list *list);
void run_list_destroy(struct run_list *list);

/*
 * The piece of the resource that starts at @offset: pointer to its first byte,
 * and in *len how many bytes follow in the same run.  NULL at or past the end.
 * O(log runs).
 */
void *run_list_piece(const struct run_list *list, uint64_t offset, uint64_t *len);
/*
 * Populate all of it (see run_populate()), a slice at a time; between slices *@stop is
 * looked at.  0, -ENOMEM or -ECANCELED.  Nobody may change the list meanwhile.
 */
int run_list_populate(const struct run_list *list, const atomic_bool *stop);

#endif /* RUN_LIST_H */
