// SPDX-License-Identifier: MIT
/*
 * test_page_uses: how often a page is counted, and what is refused
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory/page_uses.h"
#include "tests/memory/ram_test.h"

#define PAGES 64

/**
 * struct bench - guest RAM of one file and what is counted of it
 * @gm: page n is at n * PAGE
 * @fd: the file
 * @uses: it
 */
struct bench {
	struct guest_memory *gm;
	int fd;
	struct page_uses *uses;
};

static struct bench bench(uint32_t max)
{
	struct bench b = { .gm = guest_memory_new(), .fd = ram(PAGES) };
	struct guest_region r = region(0, PAGES * PAGE, 0x1000, 0, b.fd);

	assert_int_equal(guest_memory_set(b.gm, &r, 1), 0);
	b.uses = page_uses_new(max);
	assert_non_null(b.uses);
	return b;
}

static void bench_free(struct bench *b)
{
	assert_int_equal(page_uses_most(b->uses), 0);
	page_uses_free(b->uses);
	finish(b->gm, b->fd, -1);
}

/* Pieces of { first page, pages }, up to { 0, 0 }. */
static struct run_list list_of(struct bench *b, const unsigned int (*pieces)[2])
{
	struct run_list list;

	run_list_init(&list);
	for (; (*pieces)[1]; pieces++)
		append(&list, b->gm, (*pieces)[0] * PAGE, (*pieces)[1] * PAGE);
	return list;
}

static void pages_are_counted(void **state)
{
	struct bench b = bench(3);
	struct run_list all = list_of(&b, (const unsigned int[][2]){ { 0, PAGES }, { 0, 0 } });
	struct run_list some =
		list_of(&b, (const unsigned int[][2]){ { 40, 2 }, { 3, 1 }, { 10, 5 }, { 0, 0 } });
	struct run_list other = list_of(&b, (const unsigned int[][2]){ { 12, 1 }, { 0, 0 } });

	(void)state;
	assert_int_equal(page_uses_most(b.uses), 0);
	assert_int_equal(page_uses_add(b.uses, &some), 0);
	assert_int_equal(page_uses_most(b.uses), 1);
	assert_int_equal(page_uses_add(b.uses, &all), 0);
	assert_int_equal(page_uses_most(b.uses), 2);
	assert_int_equal(page_uses_add(b.uses, &other), 0);
	assert_int_equal(page_uses_most(b.uses), 3);
	/* One page is in three, so none that has it can be added, and nothing of it was. */
	assert_int_equal(page_uses_add(b.uses, &all), -ENOSPC);
	assert_int_equal(page_uses_add(b.uses, &some), -ENOSPC);
	page_uses_drop(b.uses, &other);
	assert_int_equal(page_uses_most(b.uses), 2);
	assert_int_equal(page_uses_add(b.uses, &all), 0);
	assert_int_equal(page_uses_add(b.uses, &some), -ENOSPC);
	page_uses_drop(b.uses, &all);
	page_uses_drop(b.uses, &some);
	assert_int_equal(page_uses_most(b.uses), 1);
	page_uses_drop(b.uses, &all);
	run_list_destroy(&all);
	run_list_destroy(&some);
	run_list_destroy(&other);
	bench_free(&b);
}

static void no_page_comes_twice(void **state)
{
	static const unsigned int bad[][4][2] = {
		{ { 5, 1 }, { 5, 1 }, { 0, 0 } },
		{ { 5, 4 }, { 20, 1 }, { 6, 1 }, { 0, 0 } },
		{ { 6, 1 }, { 20, 1 }, { 5, 4 }, { 0, 0 } },
		{ { 8, 4 }, { 5, 4 }, { 0, 0 } },
		{ { 63, 1 }, { 0, 64 }, { 0, 0 } },
	};
	struct bench b = bench(1024);
	struct run_list list;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		list = list_of(&b, bad[i]);
		assert_int_equal(page_uses_add(b.uses, &list), -EINVAL);
		assert_int_equal(page_uses_most(b.uses), 0);
		run_list_destroy(&list);
	}
	/* Side by side is no overlap, in whatever order. */
	list = list_of(&b, (const unsigned int[][2]){ { 8, 4 }, { 4, 4 }, { 12, 4 }, { 0, 0 } });
	assert_int_equal(page_uses_add(b.uses, &list), 0);
	/* And another resource may have the same pages. */
	assert_int_equal(page_uses_add(b.uses, &list), 0);
	page_uses_drop(b.uses, &list);
	page_uses_drop(b.uses, &list);
	run_list_destroy(&list);
	bench_free(&b);
}

/* The same numbers of pages in two files are not the same pages. */
static void files_are_apart(void **state)
{
	struct page_uses *uses = page_uses_new(1);
	struct guest_memory *gm;
	struct run_list list;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	run_list_init(&list);
	/* Pages 1 of the first file, 1 of the second, 0 of the first. */
	append(&list, gm, PAGE, PAGE);
	append(&list, gm, 21 * PAGE, PAGE);
	append(&list, gm, 0, PAGE);
	assert_int_equal(page_uses_add(uses, &list), 0);
	assert_int_equal(page_uses_add(uses, &list), -ENOSPC);
	page_uses_drop(uses, &list);
	assert_int_equal(page_uses_add(uses, &list), 0);
	page_uses_drop(uses, &list);
	run_list_destroy(&list);
	page_uses_free(uses);
	finish(gm, a, b);
}

/* Guest addresses may differ; what counts is the page. */
static void aliases_are_the_same_page(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct page_uses *uses = page_uses_new(8);
	int fd = ram(8);
	struct guest_region regions[] = { region(0, 8 * PAGE, 0x1000, 0, fd),
					  region(100 * PAGE, 8 * PAGE, 0x100000, 0, fd) };
	struct run_list list;

	(void)state;
	assert_int_equal(guest_memory_set(gm, regions, 2), 0);
	run_list_init(&list);
	append(&list, gm, 2 * PAGE, PAGE);
	append(&list, gm, 102 * PAGE, PAGE);
	assert_int_equal(page_uses_add(uses, &list), -EINVAL);
	run_list_destroy(&list);
	page_uses_free(uses);
	finish(gm, fd, -1);
}

static void many_uses(void **state)
{
	struct bench b = bench(PAGE_USES_MAX);
	struct run_list list = list_of(&b, (const unsigned int[][2]){ { 1, 2 }, { 0, 0 } });
	unsigned int i;

	(void)state;
	for (i = 0; i < PAGE_USES_MAX; i++)
		assert_int_equal(page_uses_add(b.uses, &list), 0);
	assert_int_equal(page_uses_most(b.uses), PAGE_USES_MAX);
	assert_int_equal(page_uses_add(b.uses, &list), -ENOSPC);
	for (i = 0; i < PAGE_USES_MAX; i++)
		page_uses_drop(b.uses, &list);
	run_list_destroy(&list);
	bench_free(&b);
}

/* As a balloon would do it under dma-bufs. */
static void discarded_pages_are_missed(void **state)
{
	struct bench b = bench(1024);
	struct run_list first = list_of(&b, (const unsigned int[][2]){ { 0, 8 }, { 0, 0 } });
	struct run_list second = list_of(&b, (const unsigned int[][2]){ { 32, 8 }, { 0, 0 } });
	struct run_list twice;
	unsigned char byte = 1;
	int other = ram(8);
	struct guest_region regions[] = { region(0, PAGES * PAGE, 0x1000, 0, b.fd),
					  region(PAGES * PAGE, 8 * PAGE, 0x100000, 0, other) };

	(void)state;
	/* A list that comes back to the file from another one. */
	assert_int_equal(guest_memory_set(b.gm, regions, 2), 0);
	twice = list_of(&b, (const unsigned int[][2]){ { 20, 1 }, { 64, 1 }, { 22, 1 }, { 0, 0 } });
	assert_int_equal(page_uses_add(b.uses, &first), 0);
	/* Of others, as many as it likes. */
	assert_int_equal(fallocate(b.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8 * PAGE,
				   56 * PAGE),
			 0);
	assert_int_equal(page_uses_add(b.uses, &second), 0);
	page_uses_drop(b.uses, &second);
	/* Nor do those count that are only to be made. */
	assert_int_equal(page_uses_add(b.uses, &twice), 0);
	page_uses_drop(b.uses, &twice);
	/* And of one that is in a dma-buf. */
	assert_int_equal(
		fallocate(b.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE, PAGE), 0);
	assert_int_equal(page_uses_add(b.uses, &second), -EIO);
	/* To touch it again does not help now. */
	assert_int_equal(pwrite(b.fd, &byte, 1, 3 * PAGE), 1);
	assert_int_equal(page_uses_add(b.uses, &second), -EIO);
	page_uses_drop(b.uses, &first);
	assert_int_equal(page_uses_add(b.uses, &second), 0);
	page_uses_drop(b.uses, &second);
	run_list_destroy(&first);
	run_list_destroy(&second);
	run_list_destroy(&twice);
	close(other);
	bench_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_counted), cmocka_unit_test(no_page_comes_twice),
		cmocka_unit_test(files_are_apart),   cmocka_unit_test(aliases_are_the_same_page),
		cmocka_unit_test(many_uses),	     cmocka_unit_test(discarded_pages_are_missed),
	};

	return cmocka_run_group_tests_name("page_uses", tests, NULL, NULL);
}
