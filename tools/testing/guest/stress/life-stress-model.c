// SPDX-License-Identifier: MIT
/*
 * life-stress-model: what is in the arena of userptr-life-stress, and what must hold
 *
 * See life-stress.h.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stress/life-stress.h"

#define REVOKED VIRTGPU_USERPTR_INFO_WAIT_REVOKED
#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED

struct stress stress;

/**
 * fail() - say what went wrong, and end
 * @format: as of printf()
 */
void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# seed %lu, step %lu: ", stress.seed, stress.steps);
	vprintf(format, args);
	va_end(args);
	printf("\nnot ok 1 life-stress\n");
	exit(1);
}

/* splitmix64 */
static uint64_t next_random(void)
{
	uint64_t z = (stress.rng += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/**
 * below() - a random number
 * @bound: more than it may be
 *
 * Return: the number.
 */
unsigned int below(unsigned int bound)
{
	return next_random() % bound;
}

/**
 * all_mapped() - can all of it be read and registered?
 * @p: piece
 *
 * Return: true if so.
 */
bool all_mapped(struct piece p)
{
	unsigned int i;

	for (i = p.first; i < p.first + p.pages; i++) {
		if (!stress.mapped[i])
			return false;
	}
	return true;
}

/**
 * random_piece() - a piece on either side of the middle
 * @most: pages that it may have
 *
 * Return: the piece.
 */
struct piece random_piece(unsigned int most)
{
	struct piece p;

	p.pages = 1 + below(most);
	p.first = below(2) * HALF + below(HALF - p.pages + 1);
	return p;
}

/**
 * fill() - write random bytes
 * @p: piece, mapped
 */
void fill(struct piece p)
{
	const struct region region = { .addr = page_at(p.first), .size = p.pages * PAGE };

	region_fill(&region, next_random());
}

static bool overlaps(const struct slot *slot, struct piece p)
{
	return slot->bo.handle && slot->first < p.first + p.pages &&
	       p.first < slot->first + slot->pages;
}

/**
 * hit() - the owner has taken it back: every registration that has part of it ends
 * @p: piece
 */
void hit(struct piece p)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		if (overlaps(&stress.slots[i], p))
			stress.slots[i].hit = true;
	}
}

/**
 * check() - end if a system call failed
 * @ret: what it returned
 * @what: its name
 * @p: on which piece
 */
void check(int ret, const char *what, struct piece p)
{
	if (ret)
		fail("%s of pages %u + %u: %s", what, p.first, p.pages, strerror(errno));
}

/**
 * map() - map new pages
 * @p: piece
 */
void map(struct piece p)
{
	uint8_t *at = page_at(p.first), *got;
	unsigned int i;

	if (shared(p))
		got = mmap(at, p.pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			   stress.file, (p.first - HALF) * PAGE);
	else
		got = mmap(at, p.pages * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(got == at ? 0 : -1, "mmap", p);
	/* As in front of it; not every kernel can. */
	if (!shared(p))
		madvise(at, p.pages * PAGE, MADV_HUGEPAGE);
	for (i = p.first; i < p.first + p.pages; i++)
		stress.mapped[i] = true;
}

/**
 * map_holes() - map all that is not
 */
void map_holes(void)
{
	struct piece p = { .pages = 1 };

	for (p.first = 0; p.first < ARENA; p.first++) {
		if (!stress.mapped[p.first])
			map(p);
	}
}

/**
 * close_slot() - close a registration
 * @slot: one, or none
 */
void close_slot(struct slot *slot)
{
	int ret = slot->bo.handle ? vg_bo_close(stress.vg.fd, slot->bo.handle) : 0;

	if (ret)
		fail("closing: %s", strerror(-ret));
	if (slot->event && slot->hit)
		stress.perhaps++;
	slot->event = false;
	slot->bo.handle = 0;
}

/* ---- what must hold --------------------------------------------------------- */

static void check_revoked(struct slot *slot)
{
	uint8_t digest[LOOPBACK_SHA256_SIZE];
	int ret = vg_userptr_wait(stress.vg.fd, slot->bo.handle, RELEASED, SETTLE_MS);

	if (ret)
		fail("pages %u + %u are not revoked: %s", slot->first, slot->pages, strerror(-ret));
	ret = vg_sha256(&stress.vg, slot->bo.res, 0, PAGE, digest);
	if (ret != -EACCES)
		fail("the host still knows resource %u (%d)", slot->bo.res, ret);
	stress.revoked++;
	if (slot->event)
		stress.unread++;
	slot->event = false;
	close_slot(slot);
}

static void check_alive(const struct slot *slot)
{
	const struct piece p = { .first = slot->first, .pages = slot->pages };

	if (vg_userptr_wait(stress.vg.fd, slot->bo.handle, REVOKED, 0) != -ETIME)
		fail("pages %u + %u are revoked", slot->first, slot->pages);
	/* What is kept may have been taken back; then it is nobody's any more. */
	if (slot->hit)
		return;
	if (!all_mapped(p))
		fail("the model has lost pages");
	if (!same_digest(&stress.vg, slot->bo.res, page_at(slot->first), slot->pages * PAGE))
		fail("host and process see different bytes in pages %u + %u", slot->first,
		     slot->pages);
}

/* The device has what the model has, and nothing else. */
static void check_device(void)
{
	struct loopback_stats stats;
	uint64_t resources = 0, bytes = 0;
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		if (!stress.slots[i].bo.handle)
			continue;
		resources++;
		bytes += stress.slots[i].pages * PAGE;
	}
	if (vg_wait_status_kib("VmPin", bytes / 1024, SETTLE_MS))
		fail("VmPin is %ld kB, not %lu", vg_status_kib("VmPin"), bytes / 1024);
	if (vg_stats(&stress.vg, &stats))
		fail("no statistics");
	if (stats.userptr_resources != resources || stats.userptr_bytes != bytes)
		fail("the device has %llu resources of %llu bytes, not %lu of %lu",
		     stats.userptr_resources, stats.userptr_bytes, resources, bytes);
	if (stats.userptr_created - stats.userptr_destroyed != resources)
		fail("the device has made %llu and destroyed %llu", stats.userptr_created,
		     stats.userptr_destroyed);
}

/**
 * check_all() - does everything hold that must?
 *
 * Closes what was revoked.
 */
void check_all(void)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		struct slot *slot = &stress.slots[i];

		if (slot->bo.handle && slot->hit && !slot->keep)
			check_revoked(slot);
	}
	for (i = 0; i < SLOTS; i++) {
		if (stress.slots[i].bo.handle)
			check_alive(&stress.slots[i]);
	}
	check_device();
}
