// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: user memory and users made for tests
 *
 * The pages of a struct userptr_test_mem are the test's own, mapped into its mm
 * by a file that exists for nothing else.  So the test decides which page lies
 * next to which, and as nobody else knows of these pages their reference counts
 * tell exactly what is mapped and what is pinned.
 */

#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/resource.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

/* Pages that USERPTR_TEST_SCATTERED uses again and again. */
#define SCATTERED_PAGES 8

static int userptr_test_mem_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct userptr_test_mem *mem = file->private_data;
	unsigned int i;
	int ret;

	for (i = 0; i < vma_pages(vma); i++) {
		ret = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE,
				     userptr_test_page(mem, i));
		if (ret)
			return ret;
	}
	if (mem->io)
		vm_flags_set(vma, VM_IO);
	return 0;
}

static const struct file_operations userptr_test_mem_fops = {
	.owner = THIS_MODULE,
	.mmap = userptr_test_mem_mmap,
};

/**
 * userptr_test_page() - the physical page behind an address
 * @mem: memory
 * @i: pages after its start
 *
 * Return: the page.
 */
struct page *userptr_test_page(const struct userptr_test_mem *mem, unsigned int i)
{
	return mem->pages ? mem->pages[i] : mem->block + mem->index[i];
}

static unsigned int userptr_test_pattern_index(enum userptr_test_pattern pattern,
					       unsigned int i, unsigned int nr)
{
	switch (pattern) {
	case USERPTR_TEST_ROTATED:
		return (i + nr / 3) % nr;
	case USERPTR_TEST_PAIRS:
		return i ^ 2;
	case USERPTR_TEST_REVERSED:
		return nr - 1 - i;
	case USERPTR_TEST_SCATTERED:
		return i * 2 % SCATTERED_PAGES;
	default:
		return i;
	}
}

static void userptr_test_free_block(void *data)
{
	struct userptr_test_mem *mem = data;
	unsigned int i;

	for (i = 0; i < 1U << get_order(mem->nr_block * PAGE_SIZE); i++) {
		/* Nobody writes them back. */
		ClearPageDirty(mem->block + i);
		__free_page(mem->block + i);
	}
}

static void userptr_test_alloc_block(struct kunit *test, struct userptr_test_mem *mem)
{
	unsigned int order = get_order(mem->nr_block * PAGE_SIZE);

	mem->block = alloc_pages(GFP_USER | __GFP_ZERO, order);
	KUNIT_ASSERT_NOT_NULL(test, mem->block);
	split_page(mem->block, order);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, userptr_test_free_block, mem), 0);
}

/**
 * userptr_test_mem() - map pages in an order of the test's choice
 * @test: test
 * @pattern: the order
 * @nr: pages
 * @prot: PROT_*
 * @io: as a device's memory, which cannot be pinned
 *
 * The test gets a user mm if it has none.  Pages are freed with the test; the
 * mapping ends with the test's mm.
 *
 * Return: the memory, never NULL.
 */
struct userptr_test_mem *userptr_test_mem(struct kunit *test, enum userptr_test_pattern pattern,
					  unsigned int nr, unsigned long prot, bool io)
{
	struct userptr_test_mem *mem = kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	struct file *file;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	mem->nr = nr;
	mem->nr_block = pattern == USERPTR_TEST_SCATTERED ? SCATTERED_PAGES : nr;
	mem->io = io;
	mem->index = kunit_kcalloc(test, nr, sizeof(*mem->index), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem->index);
	mem->uses = kunit_kcalloc(test, mem->nr_block, sizeof(*mem->uses), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem->uses);
	mem->scratch = kunit_kcalloc(test, mem->nr_block, sizeof(*mem->scratch), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem->scratch);
	for (i = 0; i < nr; i++) {
		mem->index[i] = userptr_test_pattern_index(pattern, i, nr);
		mem->uses[mem->index[i]]++;
	}
	userptr_test_alloc_block(test, mem);

	file = anon_inode_getfile("[virtgpu-userptr-test]", &userptr_test_mem_fops, mem, O_RDWR);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	mem->addr = kunit_vm_mmap(test, file, 0, nr * PAGE_SIZE, prot, MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_NE(test, mem->addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(mem->addr));
	KUNIT_ASSERT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
	return mem;
}

static void userptr_test_put_pages(void *data)
{
	struct userptr_test_mem *mem = data;
	unsigned int i;

	for (i = 0; i < mem->nr; i++)
		put_page(mem->pages[i]);
}

/**
 * userptr_test_mem_user() - take what is mapped somewhere
 * @test: test
 * @addr: where; writable
 * @nr: pages
 *
 * The pages are those of anonymous memory or of a file, which others refer to
 * as well: only whether they are pinned can be told.
 *
 * Return: the memory, never NULL.
 */
struct userptr_test_mem *userptr_test_mem_user(struct kunit *test, unsigned long addr,
					       unsigned int nr)
{
	struct userptr_test_mem *mem = kunit_kzalloc(test, sizeof(*mem), GFP_KERNEL);
	int got;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	mem->addr = addr;
	mem->pages = kunit_kcalloc(test, nr, sizeof(*mem->pages), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem->pages);
	got = get_user_pages_fast(addr, nr, FOLL_WRITE, mem->pages);
	mem->nr = max(got, 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, userptr_test_put_pages, mem), 0);
	KUNIT_ASSERT_EQ(test, got, nr);
	return mem;
}

static bool userptr_test_all_pinned(const struct userptr_test_mem *mem, unsigned int nr,
				    bool pinned)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (folio_maybe_dma_pinned(page_folio(mem->pages[i])) != pinned)
			return false;
	return true;
}

/**
 * userptr_test_mem_is() - what has references to the pages?
 * @mem: memory
 * @what: USERPTR_TEST_* flags
 *
 * Return: true if the references of each page are those of the test and those
 * that @what says, and not one more.
 */
bool userptr_test_mem_is(const struct userptr_test_mem *mem, unsigned int what)
{
	unsigned int i, expected;

	if (mem->pages)
		return userptr_test_all_pinned(mem, mem->nr, what & USERPTR_TEST_PINNED);
	for (i = 0; i < mem->nr_block; i++) {
		expected = 1;
		if (what & USERPTR_TEST_MAPPED)
			expected += mem->uses[i];
		if (what & USERPTR_TEST_PINNED)
			expected += mem->uses[i] * GUP_PIN_COUNTING_BIAS;
		if (page_count(mem->block + i) != expected)
			return false;
	}
	return true;
}

/**
 * userptr_test_mem_pinned_to() - is it safe for a device to use the first pages?
 * @mem: memory
 * @nr: how many
 *
 * One caller at a time.
 *
 * Return: true if each of them is pinned at least once for each of its uses
 * among them.
 */
bool userptr_test_mem_pinned_to(const struct userptr_test_mem *mem, unsigned int nr)
{
	unsigned int i;

	if (mem->pages)
		return userptr_test_all_pinned(mem, nr, true);

	memset(mem->scratch, 0, mem->nr_block * sizeof(*mem->scratch));
	for (i = 0; i < nr; i++)
		mem->scratch[mem->index[i]]++;
	for (i = 0; i < mem->nr_block; i++)
		if (page_count(mem->block + i) < mem->scratch[i] * GUP_PIN_COUNTING_BIAS)
			return false;
	return true;
}

/**
 * userptr_test_mem_pinned() - is it safe for a device to use all pages?
 * @mem: memory
 *
 * Return: as userptr_test_mem_pinned_to().
 */
bool userptr_test_mem_pinned(const struct userptr_test_mem *mem)
{
	unsigned int i;

	if (mem->pages)
		return userptr_test_all_pinned(mem, mem->nr, true);
	for (i = 0; i < mem->nr_block; i++)
		if (page_count(mem->block + i) < mem->uses[i] * GUP_PIN_COUNTING_BIAS)
			return false;
	return true;
}

/**
 * userptr_test_pin() - pin all that was charged
 * @pin: charged
 * @addr: start of the range
 * @writable: to write to it
 * @max_runs: most runs to have
 *
 * Return: as virtio_gpu_userptr_pin_batch().
 */
int userptr_test_pin(struct virtio_gpu_userptr_pin *pin, unsigned long addr, bool writable,
		     u32 max_runs)
{
	int ret = 0;

	pin->writable = writable;
	while (!ret && pin->nr_pinned < pin->nr_pages)
		ret = virtio_gpu_userptr_pin_batch(pin, addr, max_runs);
	return ret;
}

/**
 * userptr_test_anon() - map ordinary anonymous memory
 * @test: test
 * @addr: exactly there, replacing what is there; or 0
 * @nr: pages
 * @prot: PROT_*
 *
 * Return: the address.
 */
unsigned long userptr_test_anon(struct kunit *test, unsigned long addr, unsigned int nr,
				unsigned long prot)
{
	unsigned long flags = MAP_PRIVATE | MAP_ANONYMOUS | (addr ? MAP_FIXED : 0);
	unsigned long ret;

	ret = kunit_vm_mmap(test, NULL, addr, nr * PAGE_SIZE, prot, flags, 0);
	KUNIT_ASSERT_NE(test, ret, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(ret));
	return ret;
}

/**
 * userptr_test_become() - let the test's task, until it ends, be another user
 * @test: test
 * @user: who
 * @ipc_lock: with CAP_IPC_LOCK?
 */
void userptr_test_become(struct kunit *test, struct user_struct *user, bool ipc_lock)
{
	struct cred *cred = prepare_creds();

	KUNIT_ASSERT_NOT_NULL(test, cred);
	free_uid(cred->user);
	cred->user = get_uid(user);
	if (ipc_lock)
		cap_raise(cred->cap_effective, CAP_IPC_LOCK);
	else
		cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	commit_creds(cred);
}

/**
 * userptr_test_set_memlock() - set RLIMIT_MEMLOCK of the test's task
 * @pages: the limit, in pages
 */
void userptr_test_set_memlock(unsigned long pages)
{
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = pages << PAGE_SHIFT;
}
