// SPDX-License-Identifier: MIT
/*
 * life-stress-ops: random things that userptr-life-stress does to registered memory
 *
 * See life-stress.h.  Processes that come and go have threads of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stress/life-stress.h"

/* A file has room for 128 events that were not read, or may come. */
#define MOST_UNREAD 64
/* Who closes a handle may overtake an event that is being sent, by less than this. */
#define LATE_MS 100
/* Registrations of a process that only comes and goes. */
#define PASSING 24

/* Not in all C libraries' headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* ---- operations ------------------------------------------------------------- */

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

/**
 * op_read() - read the events that have come, and wait for those that have to
 * @p: not used
 */
void op_read(struct piece p)
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

/**
 * one_operation() - do one thing, chosen at random
 */
void one_operation(void)
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
