// SPDX-License-Identifier: MIT
/*
 * histogram: how long operations take, in decades, and which was the longest
 *
 * See histogram.h.
 *
 * Threads: none of its own; the owner's.
 */
#include "util/histogram.h"

#define FIRST_BOUND_NS 100000u

static const char *const bound_names[HISTOGRAM_BUCKETS - 1] = {
	"100 us", "1 ms", "10 ms", "100 ms", "1 s",
};

/**
 * histogram_add() - count an operation
 * @histogram: of its kind
 * @ns: how long it took
 * @name: which one it was; a string that stays
 */
void histogram_add(struct histogram *histogram, uint64_t ns, const char *name)
{
	uint64_t bound = FIRST_BOUND_NS;
	unsigned int bucket = 0;

	while (bucket < HISTOGRAM_BUCKETS - 1 && ns >= bound) {
		bound *= 10;
		bucket++;
	}
	histogram->counts[bucket]++;
	if (!histogram->longest || ns > histogram->longest_ns) {
		histogram->longest_ns = ns;
		histogram->longest = name;
	}
}

/**
 * histogram_count() - how many operations there were
 * @histogram: of their kind
 *
 * Return: the number.
 */
uint64_t histogram_count(const struct histogram *histogram)
{
	uint64_t nr = 0;
	unsigned int i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		nr += histogram->counts[i];
	return nr;
}

/**
 * histogram_print() - what there was, as lines of the statistics
 * @histogram: of one kind of operation
 * @what: one of them
 * @bounds: how many bounds to tell apart, at least 1, less than HISTOGRAM_BUCKETS
 * @to: where to
 */
void histogram_print(const struct histogram *histogram, const char *what, unsigned int bounds,
		     FILE *to)
{
	uint64_t above = histogram_count(histogram);
	unsigned int i;

	for (i = 0; i < bounds; i++) {
		above -= histogram->counts[i];
		fprintf(to, "%ss below %s: %llu\n", what, bound_names[i],
			(unsigned long long)histogram->counts[i]);
	}
	fprintf(to, "%ss above %s: %llu\n", what, bound_names[bounds - 1],
		(unsigned long long)above);
	fprintf(to, "longest %s (us): %llu (%s)\n", what,
		(unsigned long long)(histogram->longest_ns / 1000),
		histogram->longest ? histogram->longest : "none");
}
