/* SPDX-License-Identifier: MIT */
/*
 * histogram: how long operations take, in decades, and which was the longest
 *
 * Threads: none of its own; the owner's.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

/* Less than 100 us, 1 ms, 10 ms, 100 ms, 1 s; and more. */
#define HISTOGRAM_BUCKETS 6

/**
 * struct histogram - durations of one kind of operation; all zero at first
 * @counts: of each bucket, those of the buckets before it not counted again
 * @longest_ns: of all
 * @longest: what took that long
 */
struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
	uint64_t longest_ns;
	const char *longest;
};

/* An operation took @ns; @name says which one it was, and stays. */
void histogram_add(struct histogram *histogram, uint64_t ns, const char *name);
uint64_t histogram_count(const struct histogram *histogram);
/*
 * "name: value" lines, @what being one operation: a line for each of the first
 * @bounds bounds, one for all that is above, and one for the longest.
 */
void histogram_print(const struct histogram *histogram, const char *what, unsigned int bounds,
		     FILE *to);

#endif /* HISTOGRAM_H */
