/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu userptr resources: what the tests with a user mm share
 */
#ifndef VIRTGPU_USERPTR_TEST_H
#define VIRTGPU_USERPTR_TEST_H

#include <kunit/test.h>

#include <linux/mm.h>

struct user_struct;
struct virtio_gpu_userptr_pin;

/**
 * enum userptr_test_pattern - which physical pages are mapped one after another
 * @USERPTR_TEST_IN_ORDER: one run
 * @USERPTR_TEST_ROTATED: two runs, the first of two thirds of the pages
 * @USERPTR_TEST_PAIRS: runs of two pages; the number of pages is a multiple of 4
 * @USERPTR_TEST_REVERSED: each page is a run
 * @USERPTR_TEST_SCATTERED: likewise, and each page is mapped many times
 */
enum userptr_test_pattern {
	USERPTR_TEST_IN_ORDER,
	USERPTR_TEST_ROTATED,
	USERPTR_TEST_PAIRS,
	USERPTR_TEST_REVERSED,
	USERPTR_TEST_SCATTERED,
};

/**
 * struct userptr_test_mem - user memory whose pages the test knows
 * @addr: where it is mapped in the test's mm
 * @nr: pages mapped there
 * @nr_block: pages of @block
 * @block: physically contiguous pages, each with one reference of the test
 * @index: for each page mapped, which one of @block it is
 * @uses: for each page of @block, how many times it is mapped
 * @scratch: room for a count for each page of @block
 * @io: map as memory of a device
 * @pages: instead of @block and what follows, of userptr_test_mem_user(): the
 *	pages mapped, each with one reference of the test
 */
struct userptr_test_mem {
	unsigned long addr;
	unsigned int nr;
	unsigned int nr_block;
	struct page *block;
	unsigned int *index;
	unsigned int *uses;
	unsigned int *scratch;
	bool io;
	struct page **pages;
};

/* Each page is mapped, and nothing else has a reference, or a pin for each use. */
#define USERPTR_TEST_MAPPED		BIT(0)
#define USERPTR_TEST_PINNED		BIT(1)

struct userptr_test_mem *userptr_test_mem(struct kunit *test, enum userptr_test_pattern pattern,
					  unsigned int nr, unsigned long prot, bool io);
struct userptr_test_mem *userptr_test_mem_user(struct kunit *test, unsigned long addr,
					       unsigned int nr);
bool userptr_test_mem_is(const struct userptr_test_mem *mem, unsigned int what);
bool userptr_test_mem_pinned_to(const struct userptr_test_mem *mem, unsigned int nr);
bool userptr_test_mem_pinned(const struct userptr_test_mem *mem);
int userptr_test_pin(struct virtio_gpu_userptr_pin *pin, unsigned long addr, bool writable,
		     u32 max_runs);
struct page *userptr_test_page(const struct userptr_test_mem *mem, unsigned int i);
unsigned long userptr_test_anon(struct kunit *test, unsigned long addr, unsigned int nr,
				unsigned long prot);

void userptr_test_become(struct kunit *test, struct user_struct *user, bool ipc_lock);
void userptr_test_set_memlock(unsigned long pages);

#endif /* VIRTGPU_USERPTR_TEST_H */
