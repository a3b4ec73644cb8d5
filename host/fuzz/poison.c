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

void __asan_on_error(void);

/* A page of ours?  AddressSanitizer is about to say what was touched, and by whom. */
void __asan_on_error(void)
{
	uint32_t page;

	for (page = 0; memory && page < GUEST_PAGES; page++) {
		const uint8_t *at = guest_memory_pointer(memory, guest_page_addr(page), GUEST_PAGE);
		const uint8_t *bad = __asan_get_report_address();

		if (at && bad >= at && bad < at + GUEST_PAGE)
			fprintf(stderr,
				"ORACLE: RELEASE RULE: page %u is the guest's own again, and is touched\n",
				page);
	}
}

static void set(uint32_t page, bool poisoned)
{
	void *at = memory ? guest_memory_pointer(memory, guest_page_addr(page), GUEST_PAGE) : NULL;

	if (!at)
		return;
	if (poisoned)
		__asan_poison_memory_region(at, GUEST_PAGE);
	else
		__asan_unpoison_memory_region(at, GUEST_PAGE);
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
