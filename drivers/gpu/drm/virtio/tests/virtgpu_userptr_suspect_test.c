// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of what is remembered of suspicions
 *
 * A few spans of pages, sorted and apart from each other.  No process, no
 * device, and nothing is looked at.
 */

#include <kunit/test.h>

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/prandom.h>

#include "../virtgpu_userptr.h"

/* Pages of the resource in the test with random spans. */
#define USERPTR_TEST_PAGES	256

static struct virtio_gpu_object_userptr *userptr_test_new_suspect(struct kunit *test)
{
	struct virtio_gpu_object_userptr *userptr = kunit_kzalloc(test, sizeof(*userptr),
								  GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, userptr);
	spin_lock_init(&userptr->lock);
	/* So that nobody looks. */
	userptr->state = VIRTIO_GPU_USERPTR_CREATING;
	return userptr;
}

static void userptr_test_suspect(struct virtio_gpu_object_userptr *userptr, unsigned long first,
				 unsigned long last)
{
	guard(spinlock)(&userptr->lock);
	virtio_gpu_userptr_suspect(userptr, first, last);
}

#define MAX_IN	12

/**
 * struct userptr_test_spans_case - suspicions, and what is left of them
 * @name: of the case
 * @nr_in: suspicions
 * @in: them, in order
 * @nr_out: spans
 * @out: them
 */
struct userptr_test_spans_case {
	const char *name;
	unsigned int nr_in;
	struct virtio_gpu_userptr_span in[MAX_IN];
	unsigned int nr_out;
	struct virtio_gpu_userptr_span out[VIRTIO_GPU_USERPTR_SUSPECTS];
};

static const struct userptr_test_spans_case userptr_test_spans_cases[] = {
	{ "one page", 1, { { 5, 5 } }, 1, { { 5, 5 } } },
	{ "twice", 2, { { 5, 7 }, { 5, 7 } }, 1, { { 5, 7 } } },
	{ "inside", 2, { { 5, 9 }, { 6, 7 } }, 1, { { 5, 9 } } },
	{ "around", 2, { { 6, 7 }, { 5, 9 } }, 1, { { 5, 9 } } },
	{ "longer", 2, { { 5, 7 }, { 5, 9 } }, 1, { { 5, 9 } } },
	{ "overlapping behind", 2, { { 5, 7 }, { 7, 9 } }, 1, { { 5, 9 } } },
	{ "overlapping before", 2, { { 5, 7 }, { 3, 5 } }, 1, { { 3, 7 } } },
	{ "touching behind", 2, { { 5, 7 }, { 8, 9 } }, 1, { { 5, 9 } } },
	{ "touching before", 2, { { 5, 7 }, { 3, 4 } }, 1, { { 3, 7 } } },
	{ "apart behind", 2, { { 5, 7 }, { 9, 9 } }, 2, { { 5, 7 }, { 9, 9 } } },
	{ "apart before", 2, { { 5, 7 }, { 3, 3 } }, 2, { { 3, 3 }, { 5, 7 } } },
	{ "between", 3, { { 1, 1 }, { 9, 9 }, { 5, 5 } }, 3, { { 1, 1 }, { 5, 5 }, { 9, 9 } } },
	{ "fills a gap", 3, { { 1, 3 }, { 5, 7 }, { 4, 4 } }, 1, { { 1, 7 } } },
	{ "over several", 4, { { 1, 1 }, { 4, 4 }, { 8, 8 }, { 0, 6 } }, 2,
	  { { 0, 6 }, { 8, 8 } } },
	{ "over all", 4, { { 1, 1 }, { 4, 4 }, { 8, 8 }, { 0, 9 } }, 1, { { 0, 9 } } },
	{ "as many as there is room for", 8,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 70 } }, 8,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 70 } } },
	{ "one more: it is the closest", 9,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 70 }, { 33, 34 } }, 8,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 34 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 70 } } },
	{ "one more: others are closer", 9,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 42, 50 }, { 60, 60 },
	    { 70, 70 }, { 90, 99 } }, 8,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 50 }, { 60, 60 }, { 70, 70 },
	    { 90, 99 } } },
	{ "one more: the first two are closest", 9,
	  { { 0, 0 }, { 2, 2 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 70 }, { 90, 90 } }, 8,
	  { { 0, 2 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 }, { 70, 70 },
	    { 90, 90 } } },
	{ "one more: the last two are closest", 9,
	  { { 90, 90 }, { 80, 80 }, { 70, 70 }, { 60, 60 }, { 50, 50 }, { 40, 40 }, { 30, 30 },
	    { 20, 20 }, { 92, 95 } }, 8,
	  { { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 }, { 70, 70 }, { 80, 80 },
	    { 90, 95 } } },
	{ "one more that touches", 9,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 70 }, { 71, 71 } }, 8,
	  { { 0, 0 }, { 10, 10 }, { 20, 20 }, { 30, 30 }, { 40, 40 }, { 50, 50 }, { 60, 60 },
	    { 70, 71 } } },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_spans, userptr_test_spans_cases, name);

static void userptr_test_spans(struct kunit *test)
{
	const struct userptr_test_spans_case *c = test->param_value;
	struct virtio_gpu_object_userptr *userptr = userptr_test_new_suspect(test);
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	unsigned int i;

	for (i = 0; i < c->nr_in; i++)
		userptr_test_suspect(userptr, c->in[i].first, c->in[i].last);
	KUNIT_ASSERT_EQ(test, watch->nr_suspects, c->nr_out);
	for (i = 0; i < c->nr_out; i++) {
		KUNIT_EXPECT_EQ_MSG(test, watch->suspects[i].first, c->out[i].first, "span %u", i);
		KUNIT_EXPECT_EQ_MSG(test, watch->suspects[i].last, c->out[i].last, "span %u", i);
	}
}

/* Sorted, apart, and nothing of @suspected is left out; false if not. */
static bool userptr_test_spans_right(const struct virtio_gpu_userptr_watch *watch,
				     const unsigned long *suspected)
{
	DECLARE_BITMAP(covered, USERPTR_TEST_PAGES) = {};
	unsigned int i;

	if (!watch->nr_suspects || watch->nr_suspects > VIRTIO_GPU_USERPTR_SUSPECTS)
		return false;
	for (i = 0; i < watch->nr_suspects; i++) {
		const struct virtio_gpu_userptr_span *span = &watch->suspects[i];

		if (span->first > span->last || span->last >= USERPTR_TEST_PAGES)
			return false;
		if (i && span->first <= watch->suspects[i - 1].last + 1)
			return false;
		/* Both ends of a span are suspects themselves. */
		if (!test_bit(span->first, suspected) || !test_bit(span->last, suspected))
			return false;
		bitmap_set(covered, span->first, span->last - span->first + 1);
	}
	return bitmap_subset(suspected, covered, USERPTR_TEST_PAGES);
}

static void userptr_test_random_spans(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int round, i;

	prandom_seed_state(&rnd, 1);
	for (round = 0; round < 200; round++) {
		struct virtio_gpu_object_userptr *userptr = userptr_test_new_suspect(test);
		DECLARE_BITMAP(suspected, USERPTR_TEST_PAGES) = {};

		for (i = 0; i < 30; i++) {
			unsigned long first = prandom_u32_state(&rnd) % USERPTR_TEST_PAGES;
			unsigned long last = min(first + prandom_u32_state(&rnd) % 6,
						 USERPTR_TEST_PAGES - 1);

			userptr_test_suspect(userptr, first, last);
			bitmap_set(suspected, first, last - first + 1);
			KUNIT_ASSERT_TRUE_MSG(test, userptr_test_spans_right(&userptr->watch,
									     suspected),
					      "round %u, suspicion %u: %lu to %lu", round, i,
					      first, last);
		}
		kunit_kfree(test, userptr);
	}
}

static struct kunit_case userptr_test_suspect_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_spans, userptr_test_spans_gen_params),
	KUNIT_CASE(userptr_test_random_spans),
	{}
};

static struct kunit_suite userptr_test_suspect_suite = {
	.name = "virtio_gpu_userptr_suspect",
	.test_cases = userptr_test_suspect_cases,
};

kunit_test_suite(userptr_test_suspect_suite);
