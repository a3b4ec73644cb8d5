// SPDX-License-Identifier: MIT
/*
 * guest: see guest.h
 *
 * Invariant: where a page is in the file is the same for all inputs, what is in it
 * is not.
 *
 * Threads: the target's.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/wrap.h"

/* Pages of each region; the first one has the rings as well. */
#define FIRST 128u
#define SECOND 128u
#define THIRD (GUEST_PAGES - FIRST - SECOND)

static int file = -1;
static uint8_t *base;
static struct guest_region regions[GUEST_REGIONS];

void guest_start(void)
{
	const uint64_t first = GUEST_RINGS + FIRST * GUEST_PAGE;

	file = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	fuzz_need(file >= 0 && !ftruncate(file, GUEST_SIZE) &&
			  !fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW),
		  "no memfd");
	base = __real_mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	fuzz_need(base != MAP_FAILED, "no mapping of a memfd");
	/* The second and the third change places in the file. */
	regions[0] = (struct guest_region){ GUEST_BASE, first, GUEST_USER, 0, file };
	regions[1] = (struct guest_region){ GUEST_BASE + first, SECOND * GUEST_PAGE,
					    GUEST_USER + (first << 1), first + THIRD * GUEST_PAGE,
					    file };
	regions[2] = (struct guest_region){ GUEST_FAR, THIRD * GUEST_PAGE,
					    GUEST_USER + (first << 2), first, file };
}

int guest_fd(void)
{
	return file;
}

uint8_t *guest_at(uint32_t offset)
{
	return base + offset;
}

const struct guest_region *guest_regions(void)
{
	return regions;
}

uint64_t guest_page_addr(uint32_t page)
{
	if (page >= FIRST + SECOND)
		return GUEST_FAR + (uint64_t)(page - FIRST - SECOND) * GUEST_PAGE;
	return GUEST_BASE + GUEST_RINGS + (uint64_t)page * GUEST_PAGE;
}

uint32_t guest_page_of(uint64_t addr)
{
	uint64_t low = addr - GUEST_BASE - GUEST_RINGS, high = addr - GUEST_FAR;

	if (low / GUEST_PAGE < FIRST + SECOND)
		return (uint32_t)(low / GUEST_PAGE);
	if (high / GUEST_PAGE < THIRD)
		return (uint32_t)(high / GUEST_PAGE) + FIRST + SECOND;
	return UINT32_MAX;
}

uint32_t guest_page_in_file(uint64_t offset)
{
	uint32_t page;

	for (page = 0; page < GUEST_PAGES; page++)
		if (guest_page(page) == base + offset)
			return page;
	return UINT32_MAX;
}

uint8_t *guest_page(uint32_t page)
{
	if (page < FIRST)
		return base + GUEST_RINGS + page * GUEST_PAGE;
	if (page < FIRST + SECOND)
		return base + regions[1].fd_offset + (page - FIRST) * GUEST_PAGE;
	return base + regions[2].fd_offset + (page - FIRST - SECOND) * GUEST_PAGE;
}

uint64_t guest_some_addr(struct fuzz_random *random, uint32_t pages)
{
	switch (fuzz_below(random, 24)) {
	case 0:
		return fuzz_odd_number(random);
	case 1:
		/* Across the seam between regions. */
		return guest_page_addr(FIRST - 1);
	case 2:
		/* May end past the last one. */
		return guest_page_addr(GUEST_PAGES - 1 - fuzz_below(random, 2));
	case 3:
		return guest_page_addr(fuzz_below(random, GUEST_PAGES)) + fuzz_random(random) % 8;
	default:
		/* Few, so that resources share some. */
		return guest_page_addr(fuzz_below(random, fuzz_once_in(random, 2) ?
								  64 - (pages < 64 ? pages : 63) :
								  GUEST_PAGES));
	}
}
