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
 * Invariant: one thread, but in those processes; nothing but the operations below
 * is done to the arena.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"

#define HALF 64u
#define ARENA (2 * HALF)
#define SLOTS 24
/* A file has room for 128 events that were not read, or may come. */
#define MOST_UNREAD 64
/* Who closes a handle may overtake an event that is being sent, by less than this. */
#define LATE_MS 100
/* Registrations of a process that only comes and goes. */
#define PASSING 24
/* Pages before the arena, which make a huge page with its private ones. */
#define FRONT (512 - HALF)

/* Not in all C libraries' headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define REVOKED VIRTGPU_USERPTR_INFO_WAIT_REVOKED
#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED

/**
 * struct slot - a registration
 * @bo: its handle, 0 for none
 * @first: page of the arena
 * @pages: pages
 * @keep: not watched
 * @event: an event is to come if it is revoked, and was not read yet
 * @hit: must be revoked
 */
struct slot {
	struct vg_bo bo;
	unsigned int first;
	unsigned int pages;
	bool keep;
	bool event;
	bool hit;
};

/**
 * struct stress - all there is
 * @vg: context
 * @front: FRONT private pages, of which none is registered
 * @arena: ARENA pages: HALF private ones, and HALF of @file
 * @file: file in memory
 * @mapped: pages that can be read and registered
 * @slots: registrations
 * @unread: events of registrations that are closed now, which have to come
 * @perhaps: and those that were closed when they may not have been sent yet
 * @node: device
 * @rng: state of the random numbers
 * @seed: where they began
 * @steps: operations done
 * @created: registrations made, ever
 * @revoked: of which were revoked
 * @collapsed: huge pages made
 * @told: events read
 * @passed: processes that came and went
 * @pins: pages pinned before
 */
struct stress {
	struct vg vg;
	uint8_t *front;
	uint8_t *arena;
	int file;
	bool mapped[ARENA];
	struct slot slots[SLOTS];
	unsigned int unread;
	unsigned int perhaps;
	const char *node;
	uint64_t rng;
	uint64_t seed;
	unsigned long steps;
	unsigned long created;
	unsigned long revoked;
	unsigned long collapsed;
	unsigned long told;
	unsigned long passed;
	long pins;
};

/* A piece of the arena; never across its middle. */
struct piece {
	unsigned int first;
	unsigned int pages;
};

static struct stress stress;

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
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

static unsigned int below(unsigned int bound)
{
	return next_random() % bound;
}

static uint8_t *page_at(unsigned int page)
{
	return stress.arena + page * PAGE;
}

static bool shared(struct piece p)
{
	return p.first >= HALF;
}

static bool all_mapped(struct piece p)
{
	unsigned int i;

	for (i = p.first; i < p.first + p.pages; i++) {
		if (!stress.mapped[i])
			return false;
	}
	return true;
}

static struct piece random_piece(unsigned int most)
{
	struct piece p;

	p.pages = 1 + below(most);
	p.first = below(2) * HALF + below(HALF - p.pages + 1);
	return p;
}

static void fill(struct piece p)
{
	const struct region region = { .addr = page_at(p.first), .size = p.pages * PAGE };

	region_fill(&region, next_random());
}

static bool overlaps(const struct slot *slot, struct piece p)
{
	return slot->bo.handle && slot->first < p.first + p.pages &&
	       p.first < slot->first + slot->pages;
}

/* The owner has taken @p back: every registration that has part of it ends. */
static void hit(struct piece p)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		if (overlaps(&stress.slots[i], p))
			stress.slots[i].hit = true;
	}
}

static void check(int ret, const char *what, struct piece p)
{
	if (ret)
		fail("%s of pages %u + %u: %s", what, p.first, p.pages, strerror(errno));
}

/* ---- operations ------------------------------------------------------------- */

static void map(struct piece p)
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

static void op_map_fixed(struct piece p)
{
	hit(p);
	map(p);
	if (below(2))
		fill(p);
}

static void op_munmap(struct piece p)
{
	unsigned int i;

	hit(p);
	check(munmap(page_at(p.first), p.pages * PAGE), "munmap", p);
	for (i = p.first; i < p.first + p.pages; i++)
		stress.mapped[i] = false;
}

static void op_dontneed(struct piece p)
{
	if (!all_mapped(p))
		return;
	/* A page of a file does not leave it by that. */
	if (!shared(p))
		hit(p);
	check(madvise(page_at(p.first), p.pages * PAGE, MADV_DONTNEED), "MADV_DONTNEED", p);
	if (below(2))
		fill(p);
}

static void op_remove(struct piece p)
{
	if (!shared(p) || !all_mapped(p))
		return;
	hit(p);
	check(madvise(page_at(p.first), p.pages * PAGE, MADV_REMOVE), "MADV_REMOVE", p);
}

static void op_punch(struct piece p)
{
	if (!shared(p))
		return;
	hit(p);
	check(fallocate(stress.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(p.first - HALF) * PAGE, p.pages * PAGE),
	      "fallocate", p);
}

static void op_truncate(struct piece p)
{
	struct piece tail = { .first = p.first, .pages = ARENA - p.first };

	if (!shared(p))
		return;
	hit(tail);
	check(ftruncate(stress.file, (p.first - HALF) * PAGE), "ftruncate", tail);
	check(ftruncate(stress.file, HALF * PAGE), "ftruncate", tail);
}

/* Away and back again: another page may be there, or the same one. */
static void op_mremap(struct piece p)
{
	void *to;

	if (!all_mapped(p))
		return;
	hit(p);
	to = mmap(NULL, p.pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(to == MAP_FAILED, "mmap", p);
	check(mremap(page_at(p.first), p.pages * PAGE, p.pages * PAGE,
		     MREMAP_MAYMOVE | MREMAP_FIXED, to) != to,
	      "mremap", p);
	check(mremap(to, p.pages * PAGE, p.pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     page_at(p.first)) != page_at(p.first),
	      "mremap", p);
}

static void op_write(struct piece p)
{
	if (all_mapped(p))
		fill(p);
}

static void op_harmless(struct piece p)
{
	static const int advices[] = { MADV_FREE,   MADV_COLD,	    MADV_PAGEOUT,    MADV_WILLNEED,
				       MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE };
	int advice = advices[below(sizeof(advices) / sizeof(*advices))];

	if (!all_mapped(p))
		return;
	/* What is not pinned may lose its content by this; what is pinned not. */
	if (advice == MADV_FREE && shared(p))
		return;
	check(madvise(page_at(p.first), p.pages * PAGE, advice), "harmless advice", p);
}

static void op_mprotect(struct piece p)
{
	uint8_t *at = page_at(p.first);

	if (!all_mapped(p))
		return;
	check(mprotect(at, p.pages * PAGE, below(2) ? PROT_NONE : PROT_READ), "mprotect", p);
	if (below(2))
		check(madvise(at, p.pages * PAGE, MADV_PAGEOUT), "MADV_PAGEOUT", p);
	check(mprotect(at, p.pages * PAGE, PROT_READ | PROT_WRITE), "mprotect", p);
}

static void close_slot(struct slot *slot);
static void map_holes(void);
static void check_all(void);

/* Refused, early or late, if there is a hole or something is pinned. */
static void op_collapse(struct piece p)
{
	unsigned int i;

	if (below(2)) {
		for (i = 0; i < SLOTS; i++) {
			if (stress.slots[i].first < HALF)
				close_slot(&stress.slots[i]);
		}
		map_holes();
		check_all();
	}
	if (!madvise(stress.front, HUGE_PAGE, MADV_COLLAPSE))
		stress.collapsed++;
}

/* Nothing of this is registered, but it may be the same folio. */
static void op_front(struct piece p)
{
	uint8_t *at = stress.front + below(FRONT - p.pages) * PAGE;
	size_t size = p.pages * PAGE;

	switch (below(3)) {
	case 0:
		check(madvise(at, size, MADV_DONTNEED), "MADV_DONTNEED in front", p);
		break;
	case 1:
		check(mprotect(at, size, PROT_READ), "mprotect in front", p);
		check(mprotect(at, size, PROT_READ | PROT_WRITE), "mprotect in front", p);
		break;
	default:
		memset(at, 1, size);
	}
}

static int fork_body(void *opaque)
{
	const struct piece *p = opaque;

	if (all_mapped(*p) && !shared(*p))
		fill(*p);
	munmap(stress.arena, ARENA * PAGE);
	return 0;
}

static void op_fork(struct piece p)
{
	pid_t pid = run_child(fork_body, &p);

	/* Before the child has, or after it. */
	if (below(2) && all_mapped(p))
		fill(p);
	if (child_result(pid))
		fail("the child failed");
}

/* One that was not revoked is told of by nobody. */
static void account_event(const struct drm_virtgpu_event_userptr *event)
{
	unsigned int i;

	stress.told++;
	for (i = 0; i < SLOTS; i++) {
		struct slot *slot = &stress.slots[i];

		if (slot->event && slot->hit && slot->bo.handle == event->bo_handle &&
		    slot->bo.res == event->res_handle) {
			slot->event = false;
			return;
		}
	}
	/* Numbers are used again: which of those it is about is not known. */
	if (stress.unread)
		stress.unread--;
	else if (stress.perhaps)
		stress.perhaps--;
	else
		fail("an event too many, about resource %u", event->res_handle);
}

static void op_read(struct piece p)
{
	struct drm_virtgpu_event_userptr event;
	int ret, timeout_ms;

	do {
		timeout_ms = stress.perhaps ? LATE_MS : 0;
		if (stress.unread)
			timeout_ms = SETTLE_MS;
		ret = vg_userptr_event(stress.vg.fd, &event, timeout_ms);
		if (!ret)
			account_event(&event);
	} while (!ret);
	if (ret != -ETIME)
		fail("reading events: %s", strerror(-ret));
	if (stress.unread)
		fail("%u events did not come", stress.unread);
	stress.perhaps = 0;
}

static void op_create(struct piece p)
{
	struct slot *slot = &stress.slots[below(SLOTS)];
	bool keep = !below(8), event = !keep && below(2);
	uint32_t flags = keep ? VIRTGPU_USERPTR_KEEP : 0;
	int ret;

	if (event)
		flags = VIRTGPU_USERPTR_EVENT;
	if (slot->bo.handle || !all_mapped(p))
		return;
	if (stress.unread + stress.perhaps > MOST_UNREAD)
		op_read(p);
	ret = vg_userptr_create(stress.vg.fd, page_at(p.first), p.pages * PAGE, flags, &slot->bo);
	if (ret)
		fail("registering pages %u + %u: %s", p.first, p.pages, strerror(-ret));
	slot->first = p.first;
	slot->pages = p.pages;
	slot->keep = keep;
	slot->event = event;
	slot->hit = false;
	stress.created++;
}

static void close_slot(struct slot *slot)
{
	int ret = slot->bo.handle ? vg_bo_close(stress.vg.fd, slot->bo.handle) : 0;

	if (ret)
		fail("closing: %s", strerror(-ret));
	if (slot->event && slot->hit)
		stress.perhaps++;
	slot->event = false;
	slot->bo.handle = 0;
}

/* What one thread takes back while another closes the file. */
struct passing {
	int fd;
	uint8_t *addr;
	pthread_barrier_t start;
};

static void *unmap_passing(void *opaque)
{
	struct passing *passing = opaque;

	pthread_barrier_wait(&passing->start);
	munmap(passing->addr, PASSING * PAGE);
	return NULL;
}

/* A process of its own: registers, and ends in one of the ways there are. */
static int passing_body(void *opaque)
{
	struct passing passing;
	unsigned int i, way = below(4);
	pthread_t thread;
	struct vg_bo bo;

	passing.addr = mmap(NULL, PASSING * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	passing.fd = vg_open_node(stress.node);
	if (passing.addr == MAP_FAILED || passing.fd < 0 ||
	    vg_context_init(passing.fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1))
		return 1;
	for (i = 0; i < PASSING; i++) {
		if (vg_userptr_create(passing.fd, passing.addr + i * PAGE, PAGE,
				      VIRTGPU_USERPTR_EVENT, &bo))
			return 2;
	}
	if (way == 0)
		return 0;
	if (way == 1)
		return munmap(passing.addr, below(PASSING) * PAGE + PAGE) || close(passing.fd);
	pthread_barrier_init(&passing.start, NULL, 2);
	if (pthread_create(&thread, NULL, unmap_passing, &passing))
		return 3;
	pthread_barrier_wait(&passing.start);
	for (i = below(3000); i; i--)
		__asm__ volatile("" : : : "memory");
	if (way == 2)
		close(passing.fd);
	/* Or all ends at once. */
	return 0;
}

/* Registrations of the arena that the device still has. */
static unsigned int count_slots(void)
{
	unsigned int i, nr = 0;

	for (i = 0; i < SLOTS; i++)
		nr += stress.slots[i].bo.handle && (stress.slots[i].keep || !stress.slots[i].hit);
	return nr;
}

/* How the child ends does not matter, but that nothing is left of it. */
static void op_pass(struct piece p)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	struct loopback_stats stats;
	int ret;

	ret = child_result(run_child(passing_body, NULL));
	if (ret)
		fail("a process that came and went failed (%d)", ret);
	stress.passed++;
	/* What was taken back in the arena may be on its way, too. */
	do {
		if (vg_stats(&stress.vg, &stats))
			fail("no statistics");
		if (vg_now_us() > end)
			fail("of a process that is gone the device still has something");
	} while (stats.userptr_resources != count_slots());
}

static void op_close(struct piece p)
{
	close_slot(&stress.slots[below(SLOTS)]);
}

static const struct operation {
	void (*run)(struct piece p);
	unsigned int weight;
	unsigned int most;
} operations[] = {
	{ op_create, 40, 12 },	{ op_write, 10, 12 },	   { op_close, 4, 1 },
	{ op_map_fixed, 8, 8 }, { op_munmap, 4, 6 },	   { op_dontneed, 8, 8 },
	{ op_remove, 3, 4 },	{ op_punch, 3, 4 },	   { op_truncate, 1, HALF },
	{ op_mremap, 3, 8 },	{ op_harmless, 16, HALF }, { op_mprotect, 8, HALF },
	{ op_fork, 2, HALF },	{ op_collapse, 4, 1 },	   { op_front, 6, HALF },
	{ op_read, 3, 1 },	{ op_pass, 2, 1 },
};

static void one_operation(void)
{
	unsigned int total = 0, at, i;

	for (i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		total += operations[i].weight;
	at = below(total);
	for (i = 0; at >= operations[i].weight; i++)
		at -= operations[i].weight;
	operations[i].run(random_piece(operations[i].most));
	stress.steps++;
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

static void check_all(void)
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

static void map_holes(void)
{
	struct piece p = { .pages = 1 };

	for (p.first = 0; p.first < ARENA; p.first++) {
		if (!stress.mapped[p.first])
			map(p);
	}
}

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
