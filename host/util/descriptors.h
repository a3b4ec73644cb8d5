/* SPDX-License-Identifier: MIT */
/*
 * descriptors: the end of the table of descriptors
 *
 * A guest decides how many resources and contexts there are, and most take a
 * descriptor.  Ending them takes some, too, and libraries that run out in the
 * middle of something clean up badly: so what is made for a guest stops before
 * the table is full.
 *
 * Threads: any.
 */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stdbool.h>
#include <sys/resource.h>

/* Left by resources for contexts and their memory, and by these for everything else. */
#define DESCRIPTORS_FOR_RESOURCES 128u
#define DESCRIPTORS_FOR_CONTEXTS 64u

/* Whether @fd, a new one, is among the last @reserve (a quarter, if there are few). */
static inline bool descriptor_is_reserved(int fd, unsigned int reserve)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return false;
	if (reserve > limit.rlim_cur / 4)
		reserve = (unsigned int)(limit.rlim_cur / 4);
	return fd < 0 || (rlim_t)fd >= limit.rlim_cur - reserve;
}

#endif /* DESCRIPTORS_H */
