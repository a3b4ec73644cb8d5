// SPDX-License-Identifier: MIT
/*
 * userptr-life-stress: random things done to registered memory
 *
 * An arena of private and of shared pages is registered in random, overlapping
 * pieces, and random operations are done to random pieces of it.  A model says
 * of every page whether it is mapped and what is written in it, and of every
 * registration whether it must be alive or revoked: after each operation every
 * one that was hit has to become RELEASED, and no other; the host's digest of
 * those that live has to be that of what this process reads.
 *
 * The private pages are the end of what may become a huge page, again and again,
 * and is split by most of the operations.  With USERPTR_SWAP what is not
 * registered leaves and comes back.
 *
 * Some registrations send an event when they are revoked: as many have to come,
 * whenever they are read.  And processes of their own come and go, whose memory,
 * files and lives end in any order and at the same time.
 *
 *	userptr-life-stress [SECONDS [SEED]]
 *
 * The seed is printed; the same seed does the same operations in the same
 * order.  Output is TAP with one test.
 *
 * Invariant: one thread, but in those processes; nothing but the operations in
 * life-stress-ops.c is done to the arena.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "stress/life-stress.h"

static void map_arena(void)
{
	size_t size = (FRONT + ARENA) * PAGE;
	unsigned int half;
	uintptr_t at;

	at = (uintptr_t)mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == (uintptr_t)MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	stress.front = (uint8_t *)((at + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	stress.arena = stress.front + FRONT * PAGE;
	if (mprotect(stress.front, FRONT * PAGE, PROT_READ | PROT_WRITE))
		fail("mprotect: %s", strerror(errno));
	madvise(stress.front, FRONT * PAGE, MADV_HUGEPAGE);
	for (half = 0; half < 2; half++)
		map((struct piece){ .first = half * HALF, .pages = HALF });
	memset(stress.front, 1, (FRONT + HALF) * PAGE);
}

static void setup(const char *node, uint64_t seed)
{
	const char *swap = getenv("USERPTR_SWAP");
	int ret;

	stress.node = node;
	stress.seed = stress.rng = seed;
	ret = vg_open(&stress.vg, node, 1);
	if (ret)
		fail("%s: %s", node, strerror(-ret));
	stress.pins = pins_outstanding();
	stress.file = memfd_create("userptr-stress", MFD_CLOEXEC);
	if (stress.file < 0 || ftruncate(stress.file, HALF * PAGE))
		fail("memfd: %s", strerror(errno));
	if (swap && swapon(swap, 0))
		fail("swapon: %s", strerror(errno));
	map_arena();
}

/* With all handles closed nothing is left, whoever was revoked before. */
static void finish(void)
{
	unsigned int i;

	op_read((struct piece){ 0 });
	for (i = 0; i < SLOTS; i++)
		close_slot(&stress.slots[i]);
	if (wait_no_resources(&stress.vg, SETTLE_MS))
		fail("the device still has resources");
	if (wait_pins(stress.pins, SETTLE_MS))
		fail("%ld pages are pinned, not %ld", pins_outstanding(), stress.pins);
	vg_close(&stress.vg);
	if (getenv("USERPTR_SWAP") && swapoff(getenv("USERPTR_SWAP")))
		fail("swapoff: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	unsigned int seconds = argc > 1 ? atoi(argv[1]) : 5;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : vg_now_us(), end;
	const char *node = getenv("USERPTR_MAIN");

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("TAP version 13\n1..1");
	if (!node) {
		puts("ok 1 life-stress # SKIP no device \"MAIN\" in this run");
		return 0;
	}
	printf("# seed %lu, %u s\n", seed, seconds);
	setup(node, seed);
	end = vg_now_us() + seconds * 1000000ull;
	while (vg_now_us() < end) {
		one_operation();
		/* Sometimes several come before anyone looks. */
		if (below(3))
			check_all();
		if (!below(4))
			map_holes();
	}
	check_all();
	finish();
	printf("summary: life-stress: %lu operations, %lu registrations, %lu revoked, %lu events, "
	       "%lu passing processes, %lu huge pages, seed %lu\n",
	       stress.steps, stress.created, stress.revoked, stress.told, stress.passed,
	       stress.collapsed, stress.seed);
	if (!stress.revoked || !stress.created || !stress.told || !stress.passed)
		fail("nothing happened");
	puts("ok 1 life-stress");
	return 0;
}
