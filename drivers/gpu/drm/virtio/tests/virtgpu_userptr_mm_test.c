// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: tests of pinning and accounting
 *
 * With a user mm of the test's own, and without a device.  Every test compares
 * reference counts and both counters exactly, so that a page too many or too
 * few, pinned or charged, is seen.
 */

#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/mman.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/uaccess.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

static struct user_struct test_user = { .__count = REFCOUNT_INIT(1) };

static s64 pinned_vm(void)
{
	return atomic64_read(&current->mm->pinned_vm);
}

static long locked_vm(struct user_struct *user)
{
	return atomic_long_read(&user->locked_vm);
}

static bool dirty(const struct userptr_test_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		if (!PageDirty(userptr_test_page(mem, i)))
			return false;
	return true;
}

static bool clean(const struct userptr_test_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		if (PageDirty(userptr_test_page(mem, i)))
			return false;
	return true;
}

static void make_clean(const struct userptr_test_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		ClearPageDirty(userptr_test_page(mem, i));
}

struct runs_case {
	const char *name;
	enum userptr_test_pattern pattern;
	unsigned int nr;
	unsigned int runs;
};

static const struct runs_case runs_cases[] = {
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
	{ "scattered", USERPTR_TEST_SCATTERED, 4097, 4097 },
};

KUNIT_ARRAY_PARAM_DESC(runs, runs_cases, name);

/* Does the table describe the pages in their order, with no two runs that adjoin? */
static void expect_runs(struct kunit *test, const struct virtio_gpu_userptr_pin *pin,
			const struct userptr_test_mem *mem, unsigned int runs)
{
	unsigned int page = 0, in_run;
	struct scatterlist *sg;
	int i;

	KUNIT_ASSERT_EQ(test, pin->table.sgt.orig_nents, runs);
	for_each_sgtable_sg(&pin->table.sgt, sg, i) {
		KUNIT_ASSERT_EQ(test, sg->offset, 0);
		KUNIT_ASSERT_NE(test, sg->length, 0);
		KUNIT_ASSERT_EQ(test, sg->length % PAGE_SIZE, 0);
		KUNIT_ASSERT_EQ(test, !!sg_is_last(sg), i == runs - 1);
		for (in_run = 0; in_run < sg->length >> PAGE_SHIFT; in_run++, page++) {
			KUNIT_ASSERT_LT(test, page, mem->nr);
			KUNIT_ASSERT_EQ(test, page_to_pfn(sg_page(sg)) + in_run,
					page_to_pfn(userptr_test_page(mem, page)));
		}
	}
	KUNIT_EXPECT_EQ(test, page, mem->nr);
	/* The table has room for the runs, not for the pages. */
	KUNIT_EXPECT_LE(test, pin->table.total_nents, runs + SG_MAX_SINGLE_ALLOC);
}

static void test_runs(struct kunit *test)
{
	const struct runs_case *c = test->param_value;
	struct virtio_gpu_userptr_pin pin = {};
	struct userptr_test_mem *mem;
	s64 before;
	int ret;

	mem = userptr_test_mem(test, c->pattern, c->nr, PROT_READ | PROT_WRITE, false);
	before = pinned_vm();

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, c->nr), 0);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before + c->nr);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));

	ret = virtio_gpu_userptr_pin(&pin, mem->addr, true, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED |
							 USERPTR_TEST_PINNED));
	KUNIT_EXPECT_EQ(test, pinned_vm(), before + c->nr);
	if (!ret)
		expect_runs(test, &pin, mem, c->runs);

	/* As if written back meanwhile: the device may write until now. */
	make_clean(mem);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_TRUE(test, dirty(mem));
	KUNIT_EXPECT_EQ(test, pinned_vm(), before);
	KUNIT_EXPECT_NULL(test, pin.table.sgt.sgl);

	/* Once more does nothing. */
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, pinned_vm(), before);
}

/* What the page tables say, read without the code under test. */
static unsigned long user_pfn(struct kunit *test, unsigned long addr)
{
	unsigned long pfn;
	struct page *page;

	KUNIT_ASSERT_EQ(test, get_user_pages_fast(addr, 1, 0, &page), 1);
	pfn = page_to_pfn(page);
	put_page(page);
	return pfn;
}

static void expect_anon_runs(struct kunit *test, const struct virtio_gpu_userptr_pin *pin,
			     unsigned long addr, bool pinned)
{
	unsigned long pfn, expected = 0;
	struct scatterlist *sg;
	unsigned int runs = 0;
	int i;

	for_each_sgtable_sg(&pin->table.sgt, sg, i) {
		for (pfn = page_to_pfn(sg_page(sg));
		     pfn < page_to_pfn(sg_page(sg)) + (sg->length >> PAGE_SHIFT); pfn++) {
			KUNIT_ASSERT_EQ(test, user_pfn(test, addr), pfn);
			KUNIT_EXPECT_EQ(test, folio_maybe_dma_pinned(pfn_folio(pfn)), pinned);
			if (pfn != expected)
				runs++;
			expected = pfn + 1;
			addr += PAGE_SIZE;
		}
	}
	KUNIT_EXPECT_EQ(test, pin->table.sgt.orig_nents, runs);
}

/* Memory as malloc() has it, of which every other page belongs to another range. */
static void test_anonymous(struct kunit *test)
{
	const unsigned int nr = 700;
	unsigned long a = userptr_test_anon(test, 0, nr, PROT_READ | PROT_WRITE);
	unsigned long b = userptr_test_anon(test, 0, nr, PROT_READ | PROT_WRITE);
	struct virtio_gpu_userptr_pin pin = {};
	unsigned long first;
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_EQ(test, put_user(i, (unsigned int __user *)(a + i * PAGE_SIZE)), 0);
		KUNIT_ASSERT_EQ(test, put_user(i, (unsigned int __user *)(b + i * PAGE_SIZE)), 0);
	}
	first = user_pfn(test, a);

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, nr), 0);
	ret = virtio_gpu_userptr_pin(&pin, a, true, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret) {
		expect_anon_runs(test, &pin, a, true);
		KUNIT_EXPECT_GT(test, pin.table.sgt.orig_nents, nr / 2);
	}
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(pfn_folio(first)));
	KUNIT_EXPECT_EQ(test, user_pfn(test, a), first);
}

/* Memory that nobody has touched gets pages, also for reading: not the zero page. */
static void test_untouched_readonly(struct kunit *test)
{
	const unsigned int nr = 5;
	unsigned long addr = userptr_test_anon(test, 0, nr, PROT_READ);
	struct virtio_gpu_userptr_pin pin = {};
	struct scatterlist *sg;
	int ret, i;

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, nr), 0);
	ret = virtio_gpu_userptr_pin(&pin, addr, false, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret) {
		expect_anon_runs(test, &pin, addr, true);
		for_each_sgtable_sg(&pin.table.sgt, sg, i)
			KUNIT_EXPECT_FALSE(test, is_zero_pfn(page_to_pfn(sg_page(sg))));
	}
	virtio_gpu_userptr_unpin(&pin);
}

static void test_readonly(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};
	struct userptr_test_mem *mem;
	int ret;

	mem = userptr_test_mem(test, USERPTR_TEST_PAIRS, 8, PROT_READ, false);

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	ret = virtio_gpu_userptr_pin(&pin, mem->addr, false, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED |
							 USERPTR_TEST_PINNED));
	if (!ret)
		expect_runs(test, &pin, mem, 4);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_TRUE(test, clean(mem));
}

/* Pin @mem, expect @expected, undo, and expect that nothing is left. */
static void expect_refused(struct kunit *test, struct userptr_test_mem *mem, bool writable,
			   u32 max_segments, int expected)
{
	struct virtio_gpu_userptr_pin pin = {};
	s64 before = pinned_vm();

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_pin(&pin, mem->addr, writable, max_segments),
			expected);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before);
	KUNIT_EXPECT_FALSE(test, userptr_test_mem_pinned(mem));
}

static void test_not_writable(struct kunit *test)
{
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_PAIRS, 8, PROT_READ, false);
	expect_refused(test, mem, true, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_TRUE(test, clean(mem));
}

static void test_device_memory(struct kunit *test)
{
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_IN_ORDER, 8, PROT_READ | PROT_WRITE, true);
	expect_refused(test, mem, true, U32_MAX, -EFAULT);
	expect_refused(test, mem, false, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

struct gap_case {
	const char *name;
	unsigned int nr;
	unsigned int page;
	bool prot_none;
};

static const struct gap_case gap_cases[] = {
	{ "hole at the start", 8, 0, false },
	{ "hole in the middle", 8, 3, false },
	{ "hole at the end", 8, 7, false },
	{ "hole at the start of a batch", 1024, 512, false },
	{ "hole in the second batch", 1024, 700, false },
	{ "PROT_NONE at the start", 8, 0, true },
	{ "PROT_NONE in the middle", 8, 3, true },
	{ "PROT_NONE in the second batch", 1024, 700, true },
};

KUNIT_ARRAY_PARAM_DESC(gap, gap_cases, name);

static void test_gap(struct kunit *test)
{
	const struct gap_case *c = test->param_value;
	struct userptr_test_mem *mem;
	unsigned long gap;

	mem = userptr_test_mem(test, USERPTR_TEST_REVERSED, c->nr, PROT_READ | PROT_WRITE, false);
	gap = mem->addr + c->page * PAGE_SIZE;
	if (c->prot_none)
		userptr_test_anon(test, gap, 1, PROT_NONE);
	else
		KUNIT_ASSERT_EQ(test, vm_munmap(gap, PAGE_SIZE), 0);
	mem->uses[mem->index[c->page]] = 0;

	expect_refused(test, mem, true, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	expect_refused(test, mem, false, U32_MAX, -EFAULT);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

static void test_max_segments(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};
	struct userptr_test_mem *mem;

	/* The 600th segment is in the second batch. */
	mem = userptr_test_mem(test, USERPTR_TEST_REVERSED, 600, PROT_READ | PROT_WRITE, false);
	expect_refused(test, mem, true, 599, -E2BIG);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	expect_refused(test, mem, true, 1, -E2BIG);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_pin(&pin, mem->addr, true, 600), 0);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

static void test_pin_killed(struct kunit *test)
{
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_IN_ORDER, 8, PROT_READ | PROT_WRITE, false);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	expect_refused(test, mem, true, U32_MAX, -EINTR);
	disallow_signal(SIGKILL);
	flush_signals(current);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

/* The pages stay those that were pinned when their owner unmaps them. */
static void test_unmap_pinned(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};
	struct userptr_test_mem *mem;

	mem = userptr_test_mem(test, USERPTR_TEST_PAIRS, 8, PROT_READ | PROT_WRITE, false);
	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, mem->nr), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_pin(&pin, mem->addr, true, U32_MAX), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(mem->addr, mem->nr * PAGE_SIZE), 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_PINNED));
	expect_runs(test, &pin, mem, 4);
	make_clean(mem);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, 0));
	KUNIT_EXPECT_TRUE(test, dirty(mem));
}

static struct kunit_case pin_cases[] = {
	KUNIT_CASE_PARAM(test_runs, runs_gen_params),
	KUNIT_CASE(test_anonymous),
	KUNIT_CASE(test_untouched_readonly),
	KUNIT_CASE(test_readonly),
	KUNIT_CASE(test_not_writable),
	KUNIT_CASE(test_device_memory),
	KUNIT_CASE_PARAM(test_gap, gap_gen_params),
	KUNIT_CASE(test_max_segments),
	KUNIT_CASE(test_pin_killed),
	KUNIT_CASE(test_unmap_pinned),
	{}
};

static struct kunit_suite pin_suite = {
	.name = "virtio_gpu_userptr_pin",
	.test_cases = pin_cases,
};

/* Accounting starts with a mm, without the capability and with nothing locked. */
static int account_init(struct kunit *test)
{
	userptr_test_anon(test, 0, 1, PROT_READ);
	userptr_test_become(test, &test_user, false);
	/* A test that failed may have left something. */
	atomic_long_set(&test_user.locked_vm, 0);
	return 0;
}

static void test_charge_exact(struct kunit *test)
{
	struct virtio_gpu_userptr_pin a = {}, b = {}, c = {};
	s64 before = pinned_vm();

	userptr_test_set_memlock(100);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&a, 60), 0);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 60);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&b, 41), -ENOMEM);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 60);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before + 60);
	KUNIT_EXPECT_NULL(test, b.mm);
	KUNIT_EXPECT_NULL(test, b.user);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&b, 40), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&c, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 100);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before + 100);

	virtio_gpu_userptr_unpin(&a);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 40);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before + 40);
	virtio_gpu_userptr_unpin(&b);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before);
}

/* A limit is in bytes; the part of a page counts as nothing. */
static void test_charge_part_of_page(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = 3 * PAGE_SIZE - 1;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 3), -ENOMEM);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 2), 0);
	virtio_gpu_userptr_unpin(&pin);

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = PAGE_SIZE - 1;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
}

static void test_charge_limit_0(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};
	s64 before = pinned_vm();

	userptr_test_set_memlock(0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), -EPERM);
	KUNIT_EXPECT_NULL(test, pin.mm);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
}

static void test_charge_no_limit(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = RLIM_INFINITY;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, INT_MAX), 0);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), INT_MAX);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
}

static void test_charge_overflow(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = RLIM_INFINITY;
	atomic_long_set(&test_user.locked_vm, -1);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), -1);
	atomic_long_set(&test_user.locked_vm, 0);
}

static void test_charge_capable(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = {};
	s64 before = pinned_vm();

	userptr_test_set_memlock(0);
	userptr_test_become(test, &test_user, true);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1000), 0);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before + 1000);

	/* What counts is what was decided when charging. */
	userptr_test_become(test, &test_user, false);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
	KUNIT_EXPECT_EQ(test, pinned_vm(), before);
}

static void test_charge_then_setuid(struct kunit *test)
{
	static struct user_struct other_user = { .__count = REFCOUNT_INIT(1) };
	struct virtio_gpu_userptr_pin pin = {};

	userptr_test_set_memlock(100);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 70), 0);
	userptr_test_become(test, &other_user, true);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 70);
	KUNIT_EXPECT_EQ(test, locked_vm(&other_user), 0);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, locked_vm(&test_user), 0);
	KUNIT_EXPECT_EQ(test, locked_vm(&other_user), 0);
}

/* Failing to charge does not keep the user, and uncharging lets go of it. */
static void test_charge_user_refs(struct kunit *test)
{
	/* Nobody else's: the last test's credentials are put at any time. */
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	struct virtio_gpu_userptr_pin pin = {};
	unsigned int refs;

	userptr_test_become(test, &user, false);
	refs = refcount_read(&user.__count);
	userptr_test_set_memlock(1);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 2), -ENOMEM);
	KUNIT_EXPECT_EQ(test, refcount_read(&user.__count), refs);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), 0);
	KUNIT_EXPECT_EQ(test, refcount_read(&user.__count), refs + 1);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, refcount_read(&user.__count), refs);
}

/* The last tasks, and then their credentials, are put by RCU. */
static void account_suite_exit(struct kunit_suite *suite)
{
	rcu_barrier();
	rcu_barrier();
}

static struct kunit_case account_cases[] = {
	KUNIT_CASE(test_charge_exact),
	KUNIT_CASE(test_charge_part_of_page),
	KUNIT_CASE(test_charge_limit_0),
	KUNIT_CASE(test_charge_no_limit),
	KUNIT_CASE(test_charge_overflow),
	KUNIT_CASE(test_charge_capable),
	KUNIT_CASE(test_charge_then_setuid),
	KUNIT_CASE(test_charge_user_refs),
	{}
};

static struct kunit_suite account_suite = {
	.name = "virtio_gpu_userptr_account",
	.init = account_init,
	.suite_exit = account_suite_exit,
	.test_cases = account_cases,
};

kunit_test_suites(&pin_suite, &account_suite);
