// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of finding a page among the runs
 *
 * Every page of memory whose physical order the test knows is looked for, and
 * the runs behind it are gone through, over the borders of blocks.
 */

#include <kunit/test.h>

#include <linux/mman.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

/* Runs of a block, and how many a test goes on from each page. */
#define USERPTR_TEST_BLOCK \
	((PAGE_SIZE - sizeof(struct virtio_gpu_userptr_run_block)) / sizeof(u64))
#define USERPTR_TEST_WALK	5

/**
 * struct userptr_test_find_case - memory to find pages in
 * @name: of the case
 * @pattern: of the pages
 * @nr: pages
 */
struct userptr_test_find_case {
	const char *name;
	enum userptr_test_pattern pattern;
	unsigned int nr;
};

static const struct userptr_test_find_case userptr_test_find_cases[] = {
	{ "1 page", USERPTR_TEST_IN_ORDER, 1 },
	{ "1 run", USERPTR_TEST_IN_ORDER, 512 },
	{ "2 runs", USERPTR_TEST_ROTATED, 900 },
	{ "pairs", USERPTR_TEST_PAIRS, 512 },
	{ "pairs, more than a block", USERPTR_TEST_PAIRS, 1024 },
	{ "a block less one", USERPTR_TEST_SCATTERED, USERPTR_TEST_BLOCK - 1 },
	{ "a block", USERPTR_TEST_SCATTERED, USERPTR_TEST_BLOCK },
	{ "a block and one more", USERPTR_TEST_SCATTERED, USERPTR_TEST_BLOCK + 1 },
	{ "two blocks", USERPTR_TEST_REVERSED, 2 * USERPTR_TEST_BLOCK },
	{ "two blocks and one more", USERPTR_TEST_REVERSED, 2 * USERPTR_TEST_BLOCK + 1 },
	{ "reversed", USERPTR_TEST_REVERSED, 1024 },
	{ "scattered", USERPTR_TEST_SCATTERED, 4097 },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_find, userptr_test_find_cases, name);

/* From the page @first some runs on, or all of them. */
static void userptr_test_expect_found(struct kunit *test, const struct virtio_gpu_userptr_pin *pin,
				      const struct userptr_test_mem *mem, unsigned int first,
				      unsigned int walk)
{
	struct virtio_gpu_userptr_cursor cursor;
	unsigned int page = first, i;
	unsigned long in_run;
	u64 run;

	in_run = virtio_gpu_userptr_find_page(pin, first, &cursor);
	for (i = 0; i < walk; i++) {
		run = virtio_gpu_userptr_next_run(pin, &cursor);
		if (page == mem->nr) {
			KUNIT_ASSERT_EQ_MSG(test, run, 0, "from %u", first);
			return;
		}
		KUNIT_ASSERT_LT_MSG(test, in_run, virtio_gpu_userptr_run_pages(run), "page %u",
				    first);
		for (; in_run < virtio_gpu_userptr_run_pages(run); in_run++, page++)
			KUNIT_ASSERT_EQ_MSG(test, virtio_gpu_userptr_run_pfn(run) + in_run,
					    page_to_pfn(userptr_test_page(mem, page)),
					    "page %u from %u", page, first);
		in_run = 0;
	}
}

static void userptr_test_find(struct kunit *test)
{
	const struct userptr_test_find_case *c = test->param_value;
	struct userptr_test_mem *mem;
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	unsigned int i;
	int ret;

	mem = userptr_test_mem(test, c->pattern, c->nr, PROT_READ | PROT_WRITE, false);
	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, c->nr), 0);
	ret = userptr_test_pin(&pin, mem->addr, true, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret) {
		for (i = 0; i < mem->nr; i++)
			userptr_test_expect_found(test, &pin, mem, i, USERPTR_TEST_WALK);
		userptr_test_expect_found(test, &pin, mem, 0, UINT_MAX);
		userptr_test_expect_found(test, &pin, mem, mem->nr / 2, UINT_MAX);
	}
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

/* A cursor that has come to the end goes on when more has been pinned. */
static void userptr_test_walk_while_pinning(struct kunit *test)
{
	struct virtio_gpu_userptr_cursor cursor = {};
	struct userptr_test_mem *mem;
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	unsigned int page = 0;
	int ret = 0;
	u64 run;

	mem = userptr_test_mem(test, USERPTR_TEST_SCATTERED, 2000, PROT_READ | PROT_WRITE, false);
	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_next_run(&pin, &cursor), 0);
	pin.writable = true;
	while (!ret && page < mem->nr) {
		ret = virtio_gpu_userptr_pin_batch(&pin, mem->addr, U32_MAX);
		KUNIT_EXPECT_EQ(test, ret, 0);
		while ((run = virtio_gpu_userptr_next_run(&pin, &cursor))) {
			KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_run_pfn(run),
					page_to_pfn(userptr_test_page(mem, page)));
			page++;
		}
		KUNIT_EXPECT_EQ(test, page, pin.nr_pinned);
	}
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

static struct kunit_case userptr_test_run_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_find, userptr_test_find_gen_params),
	KUNIT_CASE(userptr_test_walk_while_pinning),
	{}
};

static struct kunit_suite userptr_test_run_suite = {
	.name = "virtio_gpu_userptr_run",
	.test_cases = userptr_test_run_cases,
};

kunit_test_suite(userptr_test_run_suite);
