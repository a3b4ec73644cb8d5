// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of describing memory in chunks
 *
 * Chunks, their window, the order of answers, errors, and that pinning and
 * telling go on at the same time.
 */

#include <kunit/test.h>

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mman.h>

#include "virtgpu_userptr_test_fake.h"

/**
 * struct userptr_test_chunk_case - memory, and what it is cut into
 * @name: of the case
 * @segments: of the memory
 * @max_entries: of the device
 * @chunks: commands
 * @late: the device answers late
 */
struct userptr_test_chunk_case {
	const char *name;
	unsigned int segments;
	u32 max_entries;
	unsigned int chunks;
	bool late;
};

static const struct userptr_test_chunk_case userptr_test_chunk_cases[] = {
	{ "1 segment", 1, 4096, 1, false },
	{ "1 segment, answered late", 1, 4096, 1, true },
	{ "1 entry a command", 20, 1, 20, false },
	{ "1 entry a command, answered late", 20, 1, 20, true },
	{ "3 entries a command", 10, 3, 4, true },
	{ "511 a command, a batch has 512", 1024, 511, 3, true },
	{ "512 a command, a batch has 512", 1024, 512, 2, true },
	{ "1023 segments", 1023, 4096, 1, true },
	{ "1024 segments", 1024, 4096, 1, true },
	{ "1025 segments", 1025, 4096, 2, true },
	{ "4097 segments", 4097, 4096, 5, true },
	{ "4097 segments, any number of entries", 4097, U32_MAX, 5, true },
	{ "16385 segments", 16385, U32_MAX, 17, true },
	{ "16385 segments, answered at once", 16385, U32_MAX, 17, false },
	{ "4097 segments, 1000 a command", 4097, 1000, 5, true },
	{ "1000 segments, 7 a command", 1000, 7, 143, true },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_chunk, userptr_test_chunk_cases, name);

static void userptr_test_chunks(struct kunit *test)
{
	const struct userptr_test_chunk_case *c = test->param_value;
	struct fake *f = fake_new(test, c->segments, c->max_entries);
	struct virtio_gpu_object_userptr *userptr;

	f->answer_late = c->late;
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, userptr->nr_segments, c->segments);
	KUNIT_EXPECT_EQ(test, f->chunks, c->chunks);
	KUNIT_EXPECT_LE(test, f->max_in_flight, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);

	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* Runs of more than a page; the last one of a batch may go on in the next one. */
static void userptr_test_chunks_of_runs(struct kunit *test)
{
	struct fake *f = fake_new_pattern(test, USERPTR_TEST_PAIRS, 1024, 10);
	struct virtio_gpu_object_userptr *userptr;

	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, userptr->nr_segments, 512);
	KUNIT_EXPECT_EQ(test, f->chunks, 52);
	fake_put(userptr);
	fake_expect_released(test, f, 1);

	/* Room for a run, of which only a part is pinned with the first batch. */
	f->mem = userptr_test_mem(test, USERPTR_TEST_ROTATED, 900, PROT_READ | PROT_WRITE, false);
	f->vgdev.userptr->limits.max_entries = 1;
	f->chunks = 0;
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, userptr->nr_segments, 2);
	KUNIT_EXPECT_EQ(test, f->chunks, 2);
	fake_put(userptr);
	fake_expect_released(test, f, 2);
}

/* CREATE says how many there will be if that is known, and else nothing. */
static void userptr_test_bound(struct kunit *test)
{
	struct fake *f = fake_new(test, 500, 100);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_TRUE(test, f->all_pinned_at_create);
	KUNIT_EXPECT_EQ(test, f->resources[0].bound, 500);
	fake_put(userptr);
	fake_expect_released(test, f, 1);

	f->mem = userptr_test_mem(test, USERPTR_TEST_SCATTERED, 600, PROT_READ | PROT_WRITE, false);
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_FALSE(test, f->all_pinned_at_create);
	KUNIT_EXPECT_EQ(test, f->resources[0].bound, 0);
	fake_put(userptr);
	fake_expect_released(test, f, 2);
}

/**
 * struct userptr_test_error_case - one of 20 chunks is refused
 * @name: of the case
 * @chunk: which
 * @answer: to it
 * @late: the device answers late
 * @expected: errno of the creation
 */
struct userptr_test_error_case {
	const char *name;
	u32 chunk;
	u32 answer;
	bool late;
	int expected;
};

#define ERROR(chunk, answer, late, expected) \
	{ #answer " to chunk " #chunk, chunk, VIRTIO_GPU_RESP_ERR_##answer, late, expected }

static const struct userptr_test_error_case userptr_test_error_cases[] = {
	ERROR(0, OUT_OF_MEMORY, false, -ENOMEM),
	ERROR(0, LIMIT, true, -ENOSPC),
	ERROR(0, INVALID_RESOURCE_ID, true, -ENOENT),
	ERROR(1, UNSUPPORTED, false, -EOPNOTSUPP),
	ERROR(1, UNSPEC, true, -EIO),
	ERROR(2, LIMIT, false, -ENOSPC),
	ERROR(2, INVALID_CONTEXT_ID, true, -ENOENT),
	ERROR(3, OUT_OF_MEMORY, true, -ENOMEM),
	ERROR(4, UNSUPPORTED, true, -EOPNOTSUPP),
	ERROR(4, INVALID_PARAMETER, false, -EINVAL),
	ERROR(19, LIMIT, false, -ENOSPC),
	ERROR(19, LIMIT, true, -ENOSPC),
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_error, userptr_test_error_cases, name);

/* The errno is that of the first refusal. */
static void userptr_test_error(struct kunit *test)
{
	const struct userptr_test_error_case *c = test->param_value;
	struct fake *f = fake_new(test, 20, 1);
	struct virtio_gpu_object_userptr *userptr;

	f->answer_late = c->late;
	f->fail_chunk = c->chunk;
	f->fail_answer = c->answer;
	userptr = fake_create(f);
	KUNIT_ASSERT_TRUE(test, IS_ERR(userptr));
	KUNIT_EXPECT_EQ(test, PTR_ERR(userptr), c->expected);
	KUNIT_EXPECT_GT(test, f->chunks, c->chunk);
	KUNIT_EXPECT_LE(test, f->chunks, c->chunk + VIRTIO_GPU_USERPTR_WINDOW);
	fake_expect_released(test, f, 1);
}

/* What is in flight is bounded, and each answer lets one more command go. */
static void userptr_test_window(struct kunit *test)
{
	struct fake *f = fake_new(test, 20, 1);
	struct fake_creator *c;
	unsigned int i;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	for (i = 0; i < 20 - VIRTIO_GPU_USERPTR_WINDOW; i++) {
		fake_wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
		KUNIT_EXPECT_EQ(test, f->chunks, VIRTIO_GPU_USERPTR_WINDOW + i);
		fake_answer_held(f, false);
	}
	fake_wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
	for (; i < 20; i++)
		KUNIT_EXPECT_TRUE(test, fake_answer_held(f, false));
	fake_expect_live(test, f, fake_outcome(test, c));
	KUNIT_EXPECT_EQ(test, f->max_in_flight, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_EQ(test, f->chunks, 20);

	fake_put(c->userptr);
	fake_expect_released(test, f, 1);
}

static void userptr_test_answers_reversed(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	while (f->nr_held > 1)
		fake_answer_held(f, true);
	/* All but the first answer: that is not enough. */
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&c->done, HZ / 20), 0);
	fake_answer_held(f, true);
	fake_expect_live(test, f, fake_outcome(test, c));

	fake_put(c->userptr);
	fake_expect_released(test, f, 1);
}

/* An error is enough to stop waiting, and answers that come later harm nobody. */
static void userptr_test_error_answered_first(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->hold_chunks = true;
	f->hold_destroy = true;
	f->fail_chunk = 4;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	fake_answer_held(f, true);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENOSPC);
	fake_wait_held(test, f, 5);
	fake_expect_pinned(test, f);
	fake_answer_held(f, true);
	fake_expect_released(test, f, 1);
	fake_answer_all(f);
}

/* Several errors arrive before the creator looks: the first one counts. */
static void userptr_test_first_error(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->hold_chunks = true;
	f->fail_chunk = 1;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	f->room = 4;
	c = fake_start_creator(test, f, 0);
	fake_wait_refused(test, f, 1);

	/* OK, the refusal, and two commands for a resource that has failed. */
	fake_answer_all(f);
	fake_set_room(f, FAKE_NEVER);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENOSPC);
	fake_answer_all(f);
	fake_expect_released(test, f, 1);
}

/* The device hears of the first pages while the last ones are not pinned yet. */
static void userptr_test_streaming(struct kunit *test)
{
	struct fake *f = fake_new_pattern(test, USERPTR_TEST_REVERSED, 1024, 50);
	struct userptr_test_mem *mem = f->mem;
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	/* The window is full, of a batch that has only some of the pages. */
	fake_wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_FALSE(test, f->all_pinned_at_create);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned_to(mem, 50 * VIRTIO_GPU_USERPTR_WINDOW));
	KUNIT_EXPECT_LT(test, page_count(userptr_test_page(mem, 1023)), GUP_PIN_COUNTING_BIAS);
	/* All are charged before the first one is pinned. */
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 1024);

	f->hold_chunks = false;
	fake_answer_all(f);
	fake_expect_live(test, f, fake_outcome(test, c));
	KUNIT_EXPECT_EQ(test, f->chunks, 21);
	fake_put(c->userptr);
	fake_expect_released(test, f, 1);
}

/* What is refused in the middle is not pinned to the end. */
static void userptr_test_error_while_pinning(struct kunit *test)
{
	struct fake *f = fake_new_pattern(test, USERPTR_TEST_REVERSED, 1024, 50);

	f->fail_chunk = 1;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	/* Else the fake's memory is all pinned when DESTROY comes. */
	f->all_pinned_at_destroy = true;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENOSPC);
	KUNIT_EXPECT_EQ(test, f->chunks, 2);
	fake_expect_released(test, f, 1);
	KUNIT_EXPECT_FALSE(test, f->all_pinned_at_destroy);
}

/* The device has been told of some pages when another cannot be pinned. */
static void userptr_test_hole_while_telling(struct kunit *test)
{
	struct fake *f = fake_new_pattern(test, USERPTR_TEST_REVERSED, 1024, 50);
	unsigned int hole = 900;

	KUNIT_ASSERT_EQ(test, vm_munmap(f->mem->addr + hole * PAGE_SIZE, PAGE_SIZE), 0);
	f->mem->uses[f->mem->index[hole]] = 0;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -EFAULT);
	KUNIT_EXPECT_GT(test, f->chunks, 0);
	fake_expect_released(test, f, 1);
}

/* Nothing is said to the device that was not pinned, and nothing is left. */
static void userptr_test_cannot_pin(struct kunit *test)
{
	struct fake *f = fake_new(test, 700, 4096);

	f->vgdev.userptr->limits.max_segments = 699;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -E2BIG);
	f->vgdev.userptr->limits.max_segments = 700;
	KUNIT_ASSERT_EQ(test, vm_munmap(f->mem->addr + 699 * PAGE_SIZE, PAGE_SIZE), 0);
	f->mem->uses[f->mem->index[699]]--;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -EFAULT);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);
}

/**
 * struct userptr_test_alignment_case - runs, and a device that wants more
 * @name: of the case
 * @pattern: of the pages
 * @nr: pages
 * @alignment: in pages
 * @expected: outcome of a creation
 */
struct userptr_test_alignment_case {
	const char *name;
	enum userptr_test_pattern pattern;
	unsigned int nr;
	unsigned int alignment;
	int expected;
};

static const struct userptr_test_alignment_case userptr_test_alignment_cases[] = {
	{ "pages", USERPTR_TEST_REVERSED, 16, 1, 0 },
	{ "pages, by 2", USERPTR_TEST_REVERSED, 16, 2, -EOPNOTSUPP },
	{ "pairs, by 2", USERPTR_TEST_PAIRS, 16, 2, 0 },
	{ "pairs, by 4", USERPTR_TEST_PAIRS, 16, 4, -EOPNOTSUPP },
	{ "1 run, by 16", USERPTR_TEST_IN_ORDER, 16, 16, 0 },
	{ "1 run, by 512", USERPTR_TEST_IN_ORDER, 512, 512, 0 },
	{ "2 runs, by 2", USERPTR_TEST_ROTATED, 12, 2, 0 },
	{ "2 runs, by 4", USERPTR_TEST_ROTATED, 12, 4, 0 },
	{ "2 runs, by 8", USERPTR_TEST_ROTATED, 12, 8, -EOPNOTSUPP },
	{ "odd length, by 2", USERPTR_TEST_IN_ORDER, 15, 2, -EOPNOTSUPP },
	{ "odd address, by 2", USERPTR_TEST_ROTATED, 10, 2, -EOPNOTSUPP },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_alignment, userptr_test_alignment_cases, name);

static void userptr_test_alignment(struct kunit *test)
{
	const struct userptr_test_alignment_case *c = test->param_value;
	struct fake *f = fake_new_pattern(test, c->pattern, c->nr, 100);
	struct virtio_gpu_object_userptr *userptr;

	f->vgdev.userptr->limits.alignment = c->alignment * PAGE_SIZE;
	userptr = fake_create(f);
	if (c->expected) {
		KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(userptr), c->expected);
		KUNIT_EXPECT_EQ(test, f->chunks, 0);
	} else {
		fake_expect_live(test, f, userptr);
		fake_put(userptr);
	}
	fake_expect_released(test, f, !c->expected);
}

/* A device that breaks is noticed although nobody is woken. */
static void userptr_test_broken(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	fake_set_broken(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENODEV);
	/* Nobody can tell what it does: until a reset they stay where they are. */
	fake_settle(f);
	fake_expect_pinned(test, f);
	fake_remove(f);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
}

static struct kunit_case userptr_test_chunk_suite_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_chunks, userptr_test_chunk_gen_params),
	KUNIT_CASE(userptr_test_chunks_of_runs),
	KUNIT_CASE(userptr_test_bound),
	KUNIT_CASE_PARAM(userptr_test_error, userptr_test_error_gen_params),
	KUNIT_CASE(userptr_test_window),
	KUNIT_CASE(userptr_test_answers_reversed),
	KUNIT_CASE(userptr_test_error_answered_first),
	KUNIT_CASE(userptr_test_first_error),
	KUNIT_CASE(userptr_test_streaming),
	KUNIT_CASE(userptr_test_error_while_pinning),
	KUNIT_CASE(userptr_test_hole_while_telling),
	KUNIT_CASE(userptr_test_cannot_pin),
	KUNIT_CASE_PARAM(userptr_test_alignment, userptr_test_alignment_gen_params),
	KUNIT_CASE_SLOW(userptr_test_broken),
	{}
};

static struct kunit_suite userptr_test_chunk_suite = {
	.name = "virtio_gpu_userptr_chunk",
	.exit = fake_exit,
	.test_cases = userptr_test_chunk_suite_cases,
};

kunit_test_suite(userptr_test_chunk_suite);
