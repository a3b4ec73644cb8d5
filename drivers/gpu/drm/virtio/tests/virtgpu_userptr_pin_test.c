// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of pinning
 *
 * With a user mm of the test's own, and without a device.  Every test compares
 * reference counts and the counter exactly, so that a page too many or too few,
 * pinned or charged, is seen.
 */

#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

static s64 userptr_test_pinned_vm(void)
{
	return atomic64_read(&current->mm->pinned_vm);
}

static bool userptr_test_dirty(const struct userptr_test_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		if (!PageDirty(userptr_test_page(mem, i)))
			return false;
	return true;
}

static bool userptr_test_clean(const struct userptr_test_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		if (PageDirty(userptr_test_page(mem, i)))
			return false;
	return true;
}

static void userptr_test_make_clean(const struct userptr_test_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		ClearPageDirty(userptr_test_page(mem, i));
}

/**
 * struct userptr_test_runs_case - memory, and the runs that it has
 * @name: of the case
 * @pattern: of the pages
 * @nr: pages
 * @runs: runs
 */
struct userptr_test_runs_case {
	const char *name;
	enum userptr_test_pattern pattern;
	unsigned int nr;
	unsigned int runs;
};

static const struct userptr_test_runs_case userptr_test_runs_cases[] = {
	{ "1 page", USERPTR_TEST_IN_ORDER, 1, 1 },
	{ "2 pages", USERPTR_TEST_IN_ORDER, 2, 1 },
	{ "a batch in order", USERPTR_TEST_IN_ORDER, 512, 1 },
	{ "two batches in order", USERPTR_TEST_IN_ORDER, 1024, 1 },
	{ "a batch and a page in order", USERPTR_TEST_IN_ORDER, 513, 1 },
	{ "2 runs", USERPTR_TEST_ROTATED, 9, 2 },
	{ "2 runs, the first over a batch's end", USERPTR_TEST_ROTATED, 900, 2 },
	{ "pairs", USERPTR_TEST_PAIRS, 8, 4 },
	{ "pairs over a batch's end", USERPTR_TEST_PAIRS, 1024, 512 },
	{ "2 pages, reversed", USERPTR_TEST_REVERSED, 2, 2 },
	{ "two batches, reversed", USERPTR_TEST_REVERSED, 1024, 1024 },
	/* A block has 507 runs where a page has 4096 bytes. */
	{ "a block of runs", USERPTR_TEST_REVERSED, 507, 507 },
	{ "a block of runs and one more", USERPTR_TEST_REVERSED, 508, 508 },
	{ "two blocks of runs", USERPTR_TEST_REVERSED, 1014, 1014 },
	{ "pairs, a block of runs and one more", USERPTR_TEST_PAIRS, 1016, 508 },
	{ "scattered", USERPTR_TEST_SCATTERED, 4097, 4097 },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_runs, userptr_test_runs_cases, name);

/* Do the runs describe the pages in their order, with no two that adjoin? */
static void userptr_test_expect_runs(struct kunit *test, const struct virtio_gpu_userptr_pin *pin,
				     const struct userptr_test_mem *mem, unsigned int runs)
{
	struct virtio_gpu_userptr_cursor cursor = {};
	unsigned int page = 0, in_run;
	u64 run;

	KUNIT_ASSERT_EQ(test, pin->nr_runs, runs);
	KUNIT_ASSERT_EQ(test, pin->nr_pinned, mem->nr);
	while ((run = virtio_gpu_userptr_next_run(pin, &cursor))) {
		KUNIT_ASSERT_NE(test, virtio_gpu_userptr_run_pages(run), 0);
		for (in_run = 0; in_run < virtio_gpu_userptr_run_pages(run); in_run++, page++) {
			KUNIT_ASSERT_LT(test, page, mem->nr);
			KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_run_pfn(run) + in_run,
					page_to_pfn(userptr_test_page(mem, page)));
		}
	}
	KUNIT_EXPECT_EQ(test, page, mem->nr);
	KUNIT_EXPECT_EQ(test, cursor.passed, runs);
}

/* The blocks have room for a page of runs each, but the last not for too many. */
static void userptr_test_expect_blocks(struct kunit *test, const struct virtio_gpu_userptr_pin *pin)
{
	struct virtio_gpu_userptr_run_block *block;
	unsigned long runs = 0;

	list_for_each_entry(block, &pin->blocks, node) {
		KUNIT_EXPECT_LE(test, struct_size(block, runs, block->max), PAGE_SIZE);
		KUNIT_EXPECT_LE(test, block->max, pin->nr_pages - block->first);
		KUNIT_EXPECT_NE(test, block->nr, 0);
		if (!list_is_last(&block->node, &pin->blocks))
			KUNIT_EXPECT_EQ(test, block->nr, block->max);
		runs += block->nr;
	}
	KUNIT_EXPECT_EQ(test, runs, pin->nr_runs);
}

static void userptr_test_runs(struct kunit *test)
{
	const struct userptr_test_runs_case *c = test->param_value;
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	struct userptr_test_mem *mem;
	s64 before;
	int ret;

	mem = userptr_test_mem(test, c->pattern, c->nr, PROT_READ | PROT_WRITE, false);
	before = userptr_test_pinned_vm();

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, c->nr), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before + c->nr);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));

	ret = userptr_test_pin(&pin, mem->addr, true, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED |
							 USERPTR_TEST_PINNED));
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before + c->nr);
	if (!ret) {
		userptr_test_expect_runs(test, &pin, mem, c->runs);
		userptr_test_expect_blocks(test, &pin);
	}
	/* The page of page pointers is not kept. */
	KUNIT_EXPECT_NULL(test, pin.batch);

	/* As if written back meanwhile: the device may write until now. */
	userptr_test_make_clean(mem);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_TRUE(test, userptr_test_dirty(mem));
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before);
	KUNIT_EXPECT_TRUE(test, list_empty(&pin.blocks));
	KUNIT_EXPECT_EQ(test, pin.nr_pinned + pin.nr_pages + pin.nr_runs, 0);

	/* Once more does nothing. */
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before);
}

/* What the page tables say, read without the code under test. */
static unsigned long userptr_test_user_pfn(struct kunit *test, unsigned long addr)
{
	unsigned long pfn;
	struct page *page;

	KUNIT_ASSERT_EQ(test, get_user_pages_fast(addr, 1, 0, &page), 1);
	pfn = page_to_pfn(page);
	put_page(page);
	return pfn;
}

static void userptr_test_expect_anon_runs(struct kunit *test,
					  const struct virtio_gpu_userptr_pin *pin,
					  unsigned long addr)
{
	struct virtio_gpu_userptr_cursor cursor = {};
	unsigned long pfn, expected = 0;
	unsigned int runs = 0;
	u64 run;

	while ((run = virtio_gpu_userptr_next_run(pin, &cursor))) {
		for (pfn = virtio_gpu_userptr_run_pfn(run);
		     pfn < virtio_gpu_userptr_run_pfn(run) + virtio_gpu_userptr_run_pages(run);
		     pfn++) {
			KUNIT_ASSERT_EQ(test, userptr_test_user_pfn(test, addr), pfn);
			KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(pfn_folio(pfn)));
			/* Memory that nobody has touched: not the zero page. */
			KUNIT_EXPECT_FALSE(test, is_zero_pfn(pfn));
			if (pfn != expected)
				runs++;
			expected = pfn + 1;
			addr += PAGE_SIZE;
		}
	}
	KUNIT_EXPECT_EQ(test, pin->nr_runs, runs);
}

/* Memory as malloc() has it, of which every other page belongs to another range. */
static void userptr_test_anonymous(struct kunit *test)
{
	const unsigned int nr = 700;
	unsigned long a = userptr_test_anon(test, 0, nr, PROT_READ | PROT_WRITE);
	unsigned long b = userptr_test_anon(test, 0, nr, PROT_READ | PROT_WRITE);
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	unsigned long first;
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_EQ(test, put_user(i, (unsigned int __user *)(a + i * PAGE_SIZE)), 0);
		KUNIT_ASSERT_EQ(test, put_user(i, (unsigned int __user *)(b + i * PAGE_SIZE)), 0);
	}
	first = userptr_test_user_pfn(test, a);

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, nr), 0);
	ret = userptr_test_pin(&pin, a, true, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret) {
		userptr_test_expect_anon_runs(test, &pin, a);
		KUNIT_EXPECT_GT(test, pin.nr_runs, nr / 2);
	}
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(pfn_folio(first)));
	KUNIT_EXPECT_EQ(test, userptr_test_user_pfn(test, a), first);
}

/* Memory that nobody has touched gets pages, also for reading: not the zero page. */
static void userptr_test_untouched_readonly(struct kunit *test)
{
	const unsigned int nr = 5;
	unsigned long addr = userptr_test_anon(test, 0, nr, PROT_READ);
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	int ret;

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, nr), 0);
	ret = userptr_test_pin(&pin, addr, false, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret)
		userptr_test_expect_anon_runs(test, &pin, addr);
	virtio_gpu_userptr_unpin(&pin);
}

static void userptr_test_readonly(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	struct userptr_test_mem *mem;
	int ret;

	mem = userptr_test_mem(test, USERPTR_TEST_PAIRS, 8, PROT_READ, false);

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	ret = userptr_test_pin(&pin, mem->addr, false, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED |
							 USERPTR_TEST_PINNED));
	if (!ret)
		userptr_test_expect_runs(test, &pin, mem, 4);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_TRUE(test, userptr_test_clean(mem));
}

/* Pin @mem, expect @expected, undo, and expect that nothing is left. */
static void userptr_test_expect_refused(struct kunit *test, struct userptr_test_mem *mem,
					bool writable, u32 max_runs, int expected)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	s64 before = userptr_test_pinned_vm();

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pin(&pin, mem->addr, writable, max_runs),
			expected);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before);
	KUNIT_EXPECT_FALSE(test, userptr_test_mem_pinned(mem));
}

static void userptr_test_not_writable(struct kunit *test)
{
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_PAIRS, 8, PROT_READ, false);
	userptr_test_expect_refused(test, mem, true, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_TRUE(test, userptr_test_clean(mem));
}

static void userptr_test_device_memory(struct kunit *test)
{
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_IN_ORDER, 8, PROT_READ | PROT_WRITE, true);
	userptr_test_expect_refused(test, mem, true, U32_MAX, -EFAULT);
	userptr_test_expect_refused(test, mem, false, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

/**
 * struct userptr_test_gap_case - memory of which a page cannot be pinned
 * @name: of the case
 * @nr: pages
 * @page: which one
 * @prot_none: it is mapped without access; else not at all
 */
struct userptr_test_gap_case {
	const char *name;
	unsigned int nr;
	unsigned int page;
	bool prot_none;
};

static const struct userptr_test_gap_case userptr_test_gap_cases[] = {
	{ "hole at the start", 8, 0, false },
	{ "hole in the middle", 8, 3, false },
	{ "hole at the end", 8, 7, false },
	{ "hole at the start of a batch", 1024, 512, false },
	{ "hole in the second batch", 1024, 700, false },
	{ "PROT_NONE at the start", 8, 0, true },
	{ "PROT_NONE in the middle", 8, 3, true },
	{ "PROT_NONE in the second batch", 1024, 700, true },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_gap, userptr_test_gap_cases, name);

static void userptr_test_gap(struct kunit *test)
{
	const struct userptr_test_gap_case *c = test->param_value;
	struct userptr_test_mem *mem;
	unsigned long gap;

	mem = userptr_test_mem(test, USERPTR_TEST_REVERSED, c->nr, PROT_READ | PROT_WRITE, false);
	gap = mem->addr + c->page * PAGE_SIZE;
	if (c->prot_none)
		userptr_test_anon(test, gap, 1, PROT_NONE);
	else
		KUNIT_ASSERT_EQ(test, vm_munmap(gap, PAGE_SIZE), 0);
	mem->uses[mem->index[c->page]] = 0;

	userptr_test_expect_refused(test, mem, true, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	userptr_test_expect_refused(test, mem, false, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

static void userptr_test_max_runs(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	struct userptr_test_mem *mem;

	/* The 600th run is in the second batch. */
	mem = userptr_test_mem(test, USERPTR_TEST_REVERSED, 600, PROT_READ | PROT_WRITE, false);
	userptr_test_expect_refused(test, mem, true, 599, -E2BIG);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	userptr_test_expect_refused(test, mem, true, 1, -E2BIG);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pin(&pin, mem->addr, true, 600), 0);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

static void userptr_test_pin_killed(struct kunit *test)
{
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_IN_ORDER, 8, PROT_READ | PROT_WRITE, false);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	userptr_test_expect_refused(test, mem, true, U32_MAX, -EINTR);
	disallow_signal(SIGKILL);
	flush_signals(current);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

/* The pages stay those that were pinned when their owner unmaps them. */
static void userptr_test_unmap_pinned(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_PAIRS, 8, PROT_READ | PROT_WRITE, false);
	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pin(&pin, mem->addr, true, U32_MAX), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(mem->addr, mem->nr * PAGE_SIZE), 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_PINNED));
	userptr_test_expect_runs(test, &pin, mem, 4);
	userptr_test_make_clean(mem);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, 0));
	KUNIT_EXPECT_TRUE(test, userptr_test_dirty(mem));
}

static struct kunit_case userptr_test_pin_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_runs, userptr_test_runs_gen_params),
	KUNIT_CASE(userptr_test_anonymous),
	KUNIT_CASE(userptr_test_untouched_readonly),
	KUNIT_CASE(userptr_test_readonly),
	KUNIT_CASE(userptr_test_not_writable),
	KUNIT_CASE(userptr_test_device_memory),
	KUNIT_CASE_PARAM(userptr_test_gap, userptr_test_gap_gen_params),
	KUNIT_CASE(userptr_test_max_runs),
	KUNIT_CASE(userptr_test_pin_killed),
	KUNIT_CASE(userptr_test_unmap_pinned),
	{}
};

static struct kunit_suite userptr_test_pin_suite = {
	.name = "virtio_gpu_userptr_pin",
	.test_cases = userptr_test_pin_cases,
};

kunit_test_suite(userptr_test_pin_suite);
