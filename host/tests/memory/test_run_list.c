// SPDX-License-Identifier: MIT
/*
 * test_run_list: what a resource is made of, and how long that stays mapped
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "memory/run_list.h"
#include "tests/memory/ram_test.h"

static void runs_outlive_the_table(void **state)
{
	struct guest_memory *gm;
	struct run_list list;
	unsigned char *before;
	struct run run;
	uint64_t len;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	run_list_init(&list);
	assert_int_equal(guest_memory_resolve(gm, 16 * PAGE, PAGE, &run, 1), 1);
	assert_int_equal(run_list_append(&list, &run), 0);
	before = run_list_piece(&list, 0, &len);
	assert_int_equal(guest_memory_set(gm, NULL, 0), 0);
	assert_int_equal(ram_mappings(), 1);
	assert_int_equal(*before, 4);
	/* The file is found again, where it was. */
	struct guest_region again = region(0, 8 * PAGE, 0, 0, a);

	assert_int_equal(guest_memory_set(gm, &again, 1), 0);
	assert_int_equal(ram_mappings(), 1);
	assert_ptr_equal(guest_memory_pointer(gm, 4 * PAGE, 1), before);
	guest_memory_free(gm);
	assert_int_equal(*before, 4);
	run_list_destroy(&list);
	finish(NULL, a, b);
}

static void a_file_that_grew_does_not_move(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region r;
	struct run_list list;
	struct run run;
	uint64_t len;
	int fd = ram(2);

	(void)state;
	run_list_init(&list);
	r = region(0, 2 * PAGE, 0, 0, fd);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	assert_int_equal(guest_memory_resolve(gm, PAGE, PAGE, &run, 1), 1);
	assert_int_equal(run_list_append(&list, &run), 0);
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	r.size = 4 * PAGE;
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	assert_non_null(guest_memory_pointer(gm, 0, 4 * PAGE));
	/* The same byte through both mappings. */
	memset(guest_memory_pointer(gm, PAGE, 1), 0x77, 1);
	assert_int_equal(*(unsigned char *)run_list_piece(&list, 0, &len), 0x77);
	run_list_destroy(&list);
	finish(gm, fd, -1);
}

static void run_list_merges_neighbours_only(void **state)
{
	struct guest_memory *gm;
	struct run_list list;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	run_list_init(&list);
	assert_int_equal(run_list_bytes(&list), 0);
	append(&list, gm, 16 * PAGE, PAGE);
	append(&list, gm, 17 * PAGE, PAGE);
	assert_int_equal(list.nr, 1);
	assert_int_equal(list.runs[0].length, 2 * PAGE);
	append(&list, gm, 19 * PAGE, PAGE); /* a gap */
	assert_int_equal(list.nr, 2);
	append(&list, gm, 18 * PAGE, PAGE); /* backwards */
	assert_int_equal(list.nr, 3);
	append(&list, gm, 18 * PAGE, PAGE); /* the same again */
	assert_int_equal(list.nr, 4);
	append(&list, gm, 19 * PAGE, PAGE);
	append(&list, gm, 20 * PAGE, PAGE); /* next address, other file */
	assert_int_equal(list.nr, 5);
	append(&list, gm, 1 * PAGE, PAGE);
	assert_int_equal(run_list_bytes(&list), 8 * PAGE);
	assert_int_equal(list.nr, 6);
	run_list_destroy(&list);
	assert_int_equal(list.nr, 0);
	finish(gm, a, b);
}

static void run_list_finds_every_byte(void **state)
{
	struct guest_memory *gm;
	struct run_list list;
	uint64_t len, offset;
	unsigned int i;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	run_list_init(&list);
	assert_null(run_list_piece(&list, 0, &len));
	/* 4 pages backwards, in pieces of 2048: pages 7, 6, 5, 4 of the file. */
	for (i = 0; i < 4; i++) {
		append(&list, gm, (19 - i) * PAGE, 2048);
		append(&list, gm, (19 - i) * PAGE + 2048, 2048);
	}
	assert_int_equal(list.nr, 4);
	for (offset = 0; offset < 4 * PAGE; offset += 511) {
		unsigned char *p = run_list_piece(&list, offset, &len);

		assert_non_null(p);
		assert_int_equal(*p, 7 - offset / PAGE);
		assert_int_equal(len, PAGE - offset % PAGE);
	}
	assert_non_null(run_list_piece(&list, 4 * PAGE - 1, &len));
	assert_int_equal(len, 1);
	assert_null(run_list_piece(&list, 4 * PAGE, &len));
	assert_null(run_list_piece(&list, UINT64_MAX, &len));
	run_list_destroy(&list);
	finish(gm, a, b);
}

static void run_list_is_refused_empty_and_endless_runs(void **state)
{
	struct run run = { .length = 0 };
	struct guest_memory *gm;
	struct run_list list;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	run_list_init(&list);
	assert_int_equal(run_list_append(&list, &run), -EINVAL);
	append(&list, gm, 0, PAGE);
	run = list.runs[0];
	run.length = UINT64_MAX - PAGE + 1;
	assert_int_equal(run_list_append(&list, &run), -EOVERFLOW);
	assert_int_equal(run_list_bytes(&list), PAGE);
	run_list_destroy(&list);
	finish(gm, a, b);
}

static void run_list_trims(void **state)
{
	struct guest_memory *gm;
	struct run_list list;
	unsigned int i;
	uint64_t len;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	run_list_init(&list);
	run_list_trim(&list);
	for (i = 0; i < 1000; i++)
		append(&list, gm, i % 2 ? 0 : PAGE, 64);
	assert_true(list.capacity > 1000);
	run_list_trim(&list);
	assert_int_equal(list.capacity, 1000);
	assert_int_equal(*(unsigned char *)run_list_piece(&list, 64 * 998, &len), 1);
	append(&list, gm, PAGE, 64);
	assert_int_equal(list.nr, 1001);
	run_list_destroy(&list);
	finish(gm, a, b);
}

static void *put_many(void *opaque)
{
	run_list_destroy(opaque);
	return NULL;
}

static void references_are_put_by_any_thread(void **state)
{
	pthread_t threads[4];
	struct run_list lists[4];
	struct guest_memory *gm;
	unsigned int i, t;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	for (t = 0; t < 4; t++) {
		run_list_init(&lists[t]);
		for (i = 0; i < 20000; i++)
			append(&lists[t], gm, i % 2 ? 0 : PAGE, 64);
	}
	guest_memory_free(gm);
	assert_int_equal(ram_mappings(), 1);
	for (t = 0; t < 4; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, put_many, &lists[t]), 0);
	for (t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	finish(NULL, a, b);
}

static uint64_t blocks(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* A slice of 64 MiB at least, and then whoever wants to stop it is heard. */
static void populating_stops_when_told(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	const uint64_t slice = 64ull << 20;
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct guest_region r = region(0, 2 * slice, 0x1000, 0, fd);
	atomic_bool stop = true;
	struct run_list list;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)(2 * slice)), 0);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	run_list_init(&list);
	/* In two pieces, so that a slice is of both. */
	append(&list, gm, slice / 2 + PAGE, slice);
	append(&list, gm, 0, slice / 2);
	assert_int_equal(run_list_populate(&list, &stop), -ECANCELED);
	if (blocks(fd) == 0) {
		print_message("skipped: this kernel has no MADV_POPULATE_WRITE\n");
		run_list_destroy(&list);
		finish(gm, fd, -1);
		skip();
	}
	assert_int_equal(blocks(fd), slice);
	atomic_store(&stop, false);
	assert_int_equal(run_list_populate(&list, &stop), 0);
	assert_int_equal(blocks(fd), slice + slice / 2);
	run_list_destroy(&list);
	finish(gm, fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_outlive_the_table),
		cmocka_unit_test(a_file_that_grew_does_not_move),
		cmocka_unit_test(run_list_merges_neighbours_only),
		cmocka_unit_test(run_list_finds_every_byte),
		cmocka_unit_test(run_list_is_refused_empty_and_endless_runs),
		cmocka_unit_test(run_list_trims),
		cmocka_unit_test(references_are_put_by_any_thread),
		cmocka_unit_test(populating_stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
