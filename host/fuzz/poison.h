/* SPDX-License-Identifier: MIT */
/*
 * poison: the release rule, as an access that must not be
 *
 * When a page of the guest is its own again, what is fuzzed has no business there any
 * more: its mapping of the page is poisoned, so that AddressSanitizer stops whoever
 * touches it, on whatever thread.
 *
 * Threads: one.
 */
#ifndef POISON_H
#define POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_memory;

/* @memory is what is fuzzed; all pages are free to use.  NULL: the end. */
void poison_begin(struct guest_memory *memory);
/* @page may be touched, once more, or once less; with the last it is poisoned. */
void poison_lend(uint32_t page);
void poison_return(uint32_t page);
/* Nothing is poisoned from now on: the input may name any address for anything. */
void poison_give_up(void);
/* Nobody may touch any page. */
void poison_all(void);

/* A mapping is gone: the next one there is another one (watch.c). */
void poison_unmapped(void *at, size_t size);

#endif /* POISON_H */
