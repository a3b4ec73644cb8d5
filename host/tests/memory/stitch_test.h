/* SPDX-License-Identifier: MIT */
/*
 * stitch_test: guest RAM, resources and ranges of addresses of them, for tests
 *
 * What the kernel makes of the mappings is looked up in /proc/self.  No GPU is needed:
 * what one would do with a range is counted by the test.
 */
#ifndef STITCH_TEST_H
#define STITCH_TEST_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>

#include "memory/backing.h"
#include "memory/memory_limits.h"
#include "memory/view_stitch.h"
#include "memory/worker.h"
#include "tests/memory/ram_test.h"
#include "tests/util/capture.h"
#include "util/responses.h"

#define WAIT_MS 20000

/**
 * struct bench - guest RAM and what stitches it
 * @gm: guest memory: pages 0 to 7 are file @a, 16 to 19 file @b
 * @a: each page has bytes of its number
 * @b: the same
 * @quotas: what it may take
 * @worker: or NULL: all is done at once
 * @stitch: it
 * @mapped: lines of /proc/self/maps that are RAM, without any view
 */
struct bench {
	struct guest_memory *gm;
	int a;
	int b;
	struct memory_quotas *quotas;
	struct worker *worker;
	struct stitch *stitch;
	unsigned int mapped;
};

static inline struct bench bench(uint64_t mappings, bool threaded)
{
	struct bench b = { .gm = guest_memory_new(), .a = ram(8), .b = ram(4) };
	struct guest_region regions[] = { region(0, 8 * PAGE, 0x5000000, 0, b.a),
					  region(16 * PAGE, 4 * PAGE, 0x9000000, 0, b.b) };
	struct memory_limits limits = { .mappings = mappings };
	struct stitch_config config;

	assert_non_null(b.gm);
	assert_int_equal(guest_memory_set(b.gm, regions, 2), 0);
	b.quotas = calloc(1, sizeof(*b.quotas));
	assert_non_null(b.quotas);
	memory_quotas_init(b.quotas, &limits, b.gm);
	if (threaded)
		assert_int_equal(worker_new(&b.worker), 0);
	config = (struct stitch_config){ b.quotas, b.worker };
	b.stitch = stitch_new(&config);
	assert_non_null(b.stitch);
	b.mapped = ram_mappings();
	return b;
}

/* Nothing is left: no mapping, no charge. */
static inline void end(struct bench *b)
{
	worker_free(b->worker);
	assert_int_equal(b->quotas->mappings.used, 0);
	assert_int_equal(ram_mappings(), b->mapped);
	stitch_free(b->stitch);
	free(b->quotas);
	finish(b->gm, b->a, b->b);
}

static inline void add(struct bench *b, struct backing *backing, uint64_t page, uint64_t pages)
{
	append(&backing->runs, b->gm, page * PAGE, pages * PAGE);
	backing->size += pages * PAGE;
}

/* Pages that never adjoin, so that each is a run. */
static inline struct backing scattered(struct bench *b, unsigned int runs)
{
	struct backing backing = { .id = 7 };
	unsigned int i;

	for (i = 0; i < runs; i++)
		add(b, &backing, i % 2 * 2, 1);
	return backing;
}

/**
 * struct outcome - what was called back
 * @made: times
 * @view: the last view
 * @response: with it
 * @freed: times
 */
struct outcome {
	unsigned int made;
	struct memory_view *view;
	uint32_t response;
	unsigned int freed;
};

static inline void made(void *cookie, struct memory_view *view, uint32_t response)
{
	struct outcome *out = cookie;

	out->made++;
	out->view = view;
	out->response = response;
}

static inline void freed(void *cookie)
{
	((struct outcome *)cookie)->freed++;
}

/* The whole way, as if all came in one chunk. */
static inline uint32_t try_view(struct bench *b, const struct backing *backing, struct outcome *out,
				struct stitch_view **view)
{
	struct stitch_draft *draft = NULL;
	uint32_t ret = stitch_draft_extend(b->stitch, backing, &draft);

	if (ret == OK)
		ret = stitch_view_create(b->stitch, backing, draft, made, out, view);
	if (ret != OK && ret != MEMORY_VIEW_LATER)
		stitch_draft_free(draft);
	return ret;
}

static inline struct stitch_view *view_of(struct bench *b, const struct backing *backing)
{
	struct stitch_view *view = NULL;

	assert_int_equal(try_view(b, backing, NULL, &view), OK);
	assert_non_null(view);
	return view;
}

/* Give up a view that is alone, with the runs of its backing. */
static inline void drop(struct stitch_view *view, struct backing *backing)
{
	assert_true(stitch_view_free(view, NULL, NULL));
	run_list_destroy(&backing->runs);
}

static inline void dispatch_until(struct bench *b, const unsigned int *what, unsigned int nr)
{
	while (*what < nr) {
		struct pollfd ready = { .fd = worker_fd(b->worker), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
		worker_dispatch(b->worker);
	}
}

static inline int give_up(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, give_up)

#endif /* STITCH_TEST_H */
