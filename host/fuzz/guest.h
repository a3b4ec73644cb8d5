/* SPDX-License-Identifier: MIT */
/*
 * guest: the memory of the guest that targets play
 *
 * One file, seen through three regions: two that adjoin in guest addresses and do
 * not in the file, and one far away.  Its first part is for rings and requests, the
 * rest are pages for resources, numbered from 0 in the order of guest addresses.
 *
 * Threads: the target's.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>

#include "memory/guest_memory.h"

#define GUEST_PAGE 4096u
#define GUEST_BASE UINT64_C(0x40000000)
#define GUEST_FAR UINT64_C(0x4000000000)
/* What the front end says the addresses are in itself. */
#define GUEST_USER UINT64_C(0x7f0000000000)
#define GUEST_RINGS (2u << 20)
#define GUEST_PAGES 384u
#define GUEST_SIZE (GUEST_RINGS + GUEST_PAGES * GUEST_PAGE)
#define GUEST_REGIONS 3

struct fuzz_random;

/* Makes the file, once. */
void guest_start(void);
int guest_fd(void);
/* The byte at @offset of the file, in a mapping of our own. */
uint8_t *guest_at(uint32_t offset);
/* All regions; the first @nr of them are the table. */
const struct guest_region *guest_regions(void);

/* Guest address of a page, and back; UINT32_MAX: it is none of them. */
uint64_t guest_page_addr(uint32_t page);
uint32_t guest_page_of(uint64_t addr);
/* The page at @offset of the file; UINT32_MAX: it is none of them. */
uint32_t guest_page_in_file(uint64_t offset);
/* The page's bytes, in our own mapping. */
uint8_t *guest_page(uint32_t page);

/* A guest address that makes sense for @pages pages; once in a while one that does not. */
uint64_t guest_some_addr(struct fuzz_random *random, uint32_t pages);

#endif /* GUEST_H */
