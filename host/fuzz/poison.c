// SPDX-License-Identifier: MIT
/*
 * poison: see poison.h
 *
 * Invariant: a page with a count of 0 that was lent before is poisoned, but after
 * poison_give_up().  The mapping's end takes the poison with it (watch.c).
 *
 * Threads: one.
 */
#include <stdio.h>
#include <string.h>

#include <sanitizer/asan_interface.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/kernel.h"
#include "fuzz/poison.h"

static struct guest_memory *memory;
static unsigned int lent[GUEST_PAGES];
static bool given_up;
/* Of each page, if it is poisoned; what is unmapped is not (any thread). */
static void *_Atomic where[GUEST_PAGES];

void __asan_on_error(void);

/* A page of ours?  AddressSanitizer is about to say what was touched, and by whom. */
void __asan_on_error(void)
{
	uint32_t page;

	for (page = 0; memory && page < GUEST_PAGES; page++) {
		const uint8_t *at = where[page];
		const uint8_t *bad = __asan_get_report_address();

		if (at && bad >= at && bad < at + GUEST_PAGE)
			fprintf(stderr,
				"ORACLE: RELEASE RULE: page %u is the guest's own again, and is touched\n",
				page);
	}
}

/* The table may have changed since it was poisoned: it is where it was then. */
static void unpoison(uint32_t page)
{
	if (where[page])
		__asan_unpoison_memory_region(where[page], GUEST_PAGE);
	where[page] = NULL;
}

static void set(uint32_t page, bool poisoned)
{
	unpoison(page);
	if (!poisoned || !memory)
		return;
	where[page] = guest_memory_pointer(memory, guest_page_addr(page), GUEST_PAGE);
	if (where[page])
		__asan_poison_memory_region(where[page], GUEST_PAGE);
}

void poison_unmapped(void *at, size_t size)
{
	uint32_t page;

	__asan_unpoison_memory_region(at, size);
	for (page = 0; page < GUEST_PAGES; page++)
		if (where[page] && (uint8_t *)where[page] - (uint8_t *)at >= 0 &&
		    (size_t)((uint8_t *)where[page] - (uint8_t *)at) < size)
			where[page] = NULL;
}

void poison_begin(struct guest_memory *guest)
{
	memory = guest;
	given_up = false;
	memset(lent, 0, sizeof(lent));
}

void poison_lend(uint32_t page)
{
	lent[page]++;
	if (!given_up)
		set(page, false);
}

void poison_return(uint32_t page)
{
	if (--lent[page] || given_up)
		return;
	set(page, true);
	kernel_page_returned(page);
}

void poison_give_up(void)
{
	uint32_t page;

	if (given_up)
		return;
	given_up = true;
	for (page = 0; page < GUEST_PAGES; page++)
		set(page, false);
}

void poison_all(void)
{
	uint32_t page;

	memset(lent, 0, sizeof(lent));
	for (page = 0; page < GUEST_PAGES && !given_up; page++) {
		set(page, true);
		kernel_page_returned(page);
	}
}
