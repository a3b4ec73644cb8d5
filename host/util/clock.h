/* SPDX-License-Identifier: MIT */
/*
 * clock: how late it is, for whoever measures or waits
 *
 * It is CLOCK_MONOTONIC, as it is of the timers of this program.
 *
 * Threads: any.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some time before the program began. */
static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The same in milliseconds. */
static inline uint64_t clock_ms(void)
{
	return clock_ns() / 1000000u;
}

/* When @ms milliseconds from now have passed, for what takes an absolute time. */
static inline struct timespec clock_after_ms(unsigned int ms)
{
	uint64_t until = clock_ns() + ms * UINT64_C(1000000);

	return (struct timespec){
		.tv_sec = (time_t)(until / 1000000000u),
		.tv_nsec = (long)(until % 1000000000u),
	};
}

#endif /* CLOCK_H */
