/* SPDX-License-Identifier: MIT */
/*
 * holders: who has a view, in words for the log
 *
 * To look into a process takes as long as it has descriptors and mappings, so it is
 * looked only into those that can have been given one: this process and what it has
 * started.  All processes of the host, which may be thousands, are for who asks for them.
 *
 * Threads: any, for each view the one that it belongs to.
 */
#ifndef HOLDERS_H
#define HOLDERS_H

#include <stdbool.h>
#include <stddef.h>

struct memory_view;

/* "123 (name), 124 (name)" in @text, or that there is none. */
void name_holders(const struct memory_view *view, bool everybody, char *text, size_t size);

#endif /* HOLDERS_H */
