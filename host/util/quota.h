/* SPDX-License-Identifier: MIT */
/*
 * quota: a limit that has a name, and how much of it is used
 *
 * Whatever a guest can make this process, or the kernel for it, keep is charged to
 * one.  A charge that does not fit is refused, counted, and logged with the name,
 * the value and the option that changes it, so that no refusal is a riddle.
 *
 * Invariant: used is at most max, unless max was lowered below it; then nothing is
 * charged until it fits again.
 *
 * Threads: one at a time for each quota.
 */
#ifndef QUOTA_H
#define QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/**
 * struct quota - one limit
 * @name: of it, for the log and the statistics
 * @option: of the command line, "--max-..."
 * @max: the limit
 * @used: charged now
 * @peak: the most that ever was
 * @refused: charges that did not fit, ever
 * @logged: of @refused, those up to the last line in the log
 * @silent_until: no other line before that, as of clock_ms()
 */
struct quota {
	const char *name;
	const char *option;
	uint64_t max;
	uint64_t used;
	uint64_t peak;
	uint64_t refused;
	uint64_t logged;
	uint64_t silent_until;
};

/* Both strings must live as long as @quota; nothing needs to be freed. */
void quota_init(struct quota *quota, const char *name, const char *option, uint64_t max);
/* Whether it fits; if so it is charged, else that was counted and perhaps logged. */
bool quota_charge(struct quota *quota, uint64_t amount);
/* Give back what was charged. */
void quota_uncharge(struct quota *quota, uint64_t amount);
/* What may still be charged. */
uint64_t quota_left(const struct quota *quota);
/* Something was found not to fit by other means: count and log it as a refused charge. */
void quota_refuse(struct quota *quota, uint64_t amount);
/*
 * For a limit that each thing has by itself: whether @amount is within max.  Nothing is
 * charged; what was most is the peak.
 */
bool quota_fits(struct quota *quota, uint64_t amount);
/* "limit NAME: used N of M, peak P, refused R" */
void quota_print(const struct quota *quota, FILE *to);

#endif /* QUOTA_H */
