// SPDX-License-Identifier: MIT
/*
 * test_guest_memory: regions, resolution, lifetime of mappings
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "tests/memory/ram_test.h"

static void resolves_within_a_region(void **state)
{
	struct run runs[4];
	struct guest_memory *gm;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	assert_int_equal(guest_memory_resolve(gm, 17 * PAGE + 5, 100, runs, 4), 1);
	assert_int_equal(runs[0].offset, 5 * PAGE + 5);
	assert_int_equal(runs[0].length, 100);
	assert_int_equal(*(unsigned char *)run_pointer(&runs[0]), 5);
	/* First and last byte of a region. */
	assert_int_equal(guest_memory_resolve(gm, 0, 1, runs, 4), 1);
	assert_int_equal(runs[0].offset, 0);
	assert_int_equal(guest_memory_resolve(gm, 2 * PAGE - 1, 1, runs, 4), 1);
	assert_int_equal(runs[0].offset, 2 * PAGE - 1);
	finish(gm, a, b);
}

static void resolves_across_adjacent_regions(void **state)
{
	struct run runs[4];
	struct guest_memory *gm;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	assert_int_equal(guest_memory_resolve(gm, 19 * PAGE, 2 * PAGE, runs, 4), 2);
	assert_int_equal(runs[0].offset, 7 * PAGE);
	assert_int_equal(runs[0].length, PAGE);
	assert_int_equal(runs[1].offset, 0);
	assert_int_equal(runs[1].length, PAGE);
	assert_ptr_not_equal(runs[0].file, runs[1].file);
	assert_int_equal(guest_memory_resolve(gm, 19 * PAGE, 2 * PAGE, runs, 1), -E2BIG);
	assert_int_equal(guest_memory_resolve(gm, 19 * PAGE, PAGE, runs, 0), -E2BIG);
	assert_null(guest_memory_pointer(gm, 19 * PAGE, 2 * PAGE));
	assert_non_null(guest_memory_pointer(gm, 19 * PAGE, PAGE));
	finish(gm, a, b);
}

static void merges_regions_that_continue_in_the_file(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region regions[2];
	struct run runs[2];
	int fd = ram(4);

	(void)state;
	regions[0] = region(0x100000, 2 * PAGE, 0x1000, 0, fd);
	regions[1] = region(0x100000 + 2 * PAGE, 2 * PAGE, 0x100000, 2 * PAGE, fd);
	assert_int_equal(guest_memory_set(gm, regions, 2), 0);
	assert_int_equal(ram_mappings(), 1);
	assert_int_equal(guest_memory_resolve(gm, 0x100000, 4 * PAGE, runs, 1), 1);
	assert_int_equal(runs[0].length, 4 * PAGE);
	/* Contiguous here, but not in the front end's address space. */
	assert_non_null(guest_memory_pointer(gm, 0x100000, 4 * PAGE));
	assert_null(guest_memory_user_pointer(gm, 0x1000, 4 * PAGE));
	finish(gm, fd, -1);
}

static void refuses_what_is_not_memory(void **state)
{
	static const struct {
		uint64_t addr;
		uint64_t len;
		int err;
	} bad[] = {
		{ 0, 0, -EINVAL },
		{ 0, 2 * PAGE + 1, -EFAULT },
		{ 2 * PAGE, 1, -EFAULT },
		{ 2 * PAGE - 1, 2, -EFAULT },
		{ 16 * PAGE - 1, 2, -EFAULT },
		{ 24 * PAGE, 1, -EFAULT },
		{ 16 * PAGE, 8 * PAGE + 1, -EFAULT },
		{ UINT64_MAX, 1, -EFAULT },
		{ UINT64_MAX, 2, -EFAULT },
		{ 16 * PAGE, UINT64_MAX, -EFAULT },
		{ 16 * PAGE, UINT64_MAX - 16 * PAGE + 2, -EFAULT },
	};
	struct guest_memory *gm;
	struct run runs[8];
	unsigned int i;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(guest_memory_resolve(gm, bad[i].addr, bad[i].len, runs, 8),
				 bad[i].err);
		assert_null(guest_memory_pointer(gm, bad[i].addr, bad[i].len));
	}
	finish(gm, a, b);
}

static void resolves_at_the_end_of_the_address_space(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region top;
	struct run runs[2];
	int fd = ram(1);

	(void)state;
	top = region(UINT64_MAX - PAGE + 1, PAGE, UINT64_MAX - PAGE + 1, 0, fd);
	assert_int_equal(guest_memory_set(gm, &top, 1), 0);
	assert_int_equal(guest_memory_resolve(gm, UINT64_MAX, 1, runs, 2), 1);
	assert_int_equal(runs[0].offset, PAGE - 1);
	assert_int_equal(guest_memory_resolve(gm, UINT64_MAX, 2, runs, 2), -EFAULT);
	assert_non_null(guest_memory_user_pointer(gm, UINT64_MAX, 1));
	assert_null(guest_memory_user_pointer(gm, UINT64_MAX, 2));
	finish(gm, fd, -1);
}

static void translates_user_addresses(void **state)
{
	struct guest_memory *gm;
	unsigned char *p;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	p = guest_memory_user_pointer(gm, 0x7000000 + PAGE, PAGE);
	assert_non_null(p);
	assert_int_equal(*p, 5);
	assert_non_null(guest_memory_user_pointer(gm, 0x9000000, 4 * PAGE));
	assert_null(guest_memory_user_pointer(gm, 0x9000000, 4 * PAGE + 1));
	assert_null(guest_memory_user_pointer(gm, 0x9000000 - 1, 1));
	assert_null(guest_memory_user_pointer(gm, 0x9000000 + 4 * PAGE, 1));
	assert_null(guest_memory_user_pointer(gm, 0x9000000 + 1, UINT64_MAX));
	assert_null(guest_memory_user_pointer(gm, 0x9000000, 0));
	finish(gm, a, b);
}

static void copies_across_regions(void **state)
{
	unsigned char buffer[64], back[64];
	struct guest_memory *gm;
	unsigned int i;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	for (i = 0; i < sizeof(buffer); i++)
		buffer[i] = 0x80 + i;
	assert_int_equal(guest_memory_write(gm, 20 * PAGE - 20, buffer, sizeof(buffer)), 0);
	assert_int_equal(guest_memory_read(gm, 20 * PAGE - 20, back, sizeof(back)), 0);
	assert_memory_equal(buffer, back, sizeof(buffer));
	/* What another process sees in the files. */
	assert_int_equal(pread(a, back, 20, 8 * PAGE - 20), 20);
	assert_memory_equal(back, buffer, 20);
	assert_int_equal(pread(b, back, 44, 0), 44);
	assert_memory_equal(back, buffer + 20, 44);

	/* A copy that would leave memory does nothing at all. */
	memset(back, 0x11, sizeof(back));
	assert_int_equal(guest_memory_write(gm, 24 * PAGE - 10, back, sizeof(back)), -EFAULT);
	assert_int_equal(pread(b, buffer, 10, 4 * PAGE - 10), 10);
	assert_int_equal(buffer[0], 3);
	assert_int_equal(guest_memory_read(gm, 24 * PAGE - 10, back, sizeof(back)), -EFAULT);
	assert_int_equal(back[0], 0x11);
	assert_int_equal(guest_memory_read(gm, 1ull << 60, back, 0), 0);
	finish(gm, a, b);
}

static void refuses_bad_tables(void **state)
{
	struct guest_region many[GUEST_MEMORY_MAX_REGIONS + 1], one[2];
	unsigned int i, fds = open_fds();
	struct guest_memory *gm;
	int a, b, pipe_fds[2];

	(void)state;
	gm = two_files(&a, &b);
	assert_int_equal(pipe(pipe_fds), 0);
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = region(i * PAGE, PAGE, i * PAGE, 0, a);
	assert_int_equal(guest_memory_set(gm, many, ARRAY_SIZE(many)), -EINVAL);
	assert_int_equal(guest_memory_set(gm, many, ARRAY_SIZE(many) - 1), 0);
	assert_int_equal(ram_mappings(), 1);

	struct guest_region bad[] = {
		region(0, 0, 0, 0, a),
		region(UINT64_MAX - PAGE + 2, PAGE, 0, 0, a),
		region(0, PAGE, UINT64_MAX - PAGE + 2, 0, a),
		region(0, PAGE, 0, UINT64_MAX - PAGE + 1, a),
		region(0, PAGE, 0, 7 * PAGE + 1, a),
		region(0, 8 * PAGE + 1, 0, 0, a),
		region(0, PAGE, 0, 0, pipe_fds[0]),
	};
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(guest_memory_set(gm, &bad[i], 1), -EINVAL);
	one[0] = region(0, PAGE, 0, 0, -1);
	assert_int_equal(guest_memory_set(gm, one, 1), -EBADF);
	/* Overlap by one byte, of guest addresses and of user addresses. */
	one[0] = region(0, PAGE + 1, 0, 0, a);
	one[1] = region(PAGE, PAGE, 1ull << 32, 0, a);
	assert_int_equal(guest_memory_set(gm, one, 2), -EINVAL);
	one[0] = region(0, PAGE, 1ull << 32, 0, a);
	one[1] = region(PAGE, PAGE, (1ull << 32) + PAGE - 1, 0, a);
	assert_int_equal(guest_memory_set(gm, one, 2), -EINVAL);
	/* A good region does not survive the bad one behind it. */
	one[0] = region(0, PAGE, 0, 0, b);
	one[1] = region(PAGE, 99 * PAGE, PAGE, 0, b);
	assert_int_equal(guest_memory_set(gm, one, 2), -EINVAL);
	/* The last good table is still there. */
	assert_non_null(guest_memory_pointer(gm, 63 * PAGE, 1));

	close(pipe_fds[0]);
	close(pipe_fds[1]);
	finish(gm, a, b);
	assert_int_equal(open_fds(), fds);
}

static void refuses_a_file_that_cannot_be_written(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	int fd = ram(1), fds = (int)open_fds(), readonly;
	struct guest_region r;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	readonly = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(readonly >= 0);
	r = region(0, PAGE, 0, 0, readonly);
	assert_int_equal(guest_memory_set(gm, &r, 1), -EACCES);
	close(readonly);
	assert_int_equal(open_fds(), fds);
	finish(gm, fd, -1);
}

static uint64_t allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static bool can_populate(void)
{
	const int populate_write = 23;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int failed = madvise(page, PAGE, populate_write);

	munmap(page, PAGE);
	return !failed;
}

static void populates_what_is_not_there_yet(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct guest_region r = region(0, 16 * PAGE, 0x1000, 0, fd);
	struct run run;

	(void)state;
	assert_int_equal(ftruncate(fd, 16 * PAGE), 0);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	assert_int_equal(allocated(fd), 0);
	/* Not at page boundaries, as blobs may be: bytes of three pages. */
	assert_int_equal(guest_memory_resolve(gm, PAGE + 100, 2 * PAGE, &run, 1), 1);
	assert_int_equal(run_populate(&run), 0);
	if (!can_populate()) {
		finish(gm, fd, -1);
		print_message("skipped: this kernel has no MADV_POPULATE_WRITE\n");
		skip();
	}
	assert_true(allocated(fd) >= 3 * PAGE);
	/* What cannot be had, here behind the end of the file, is refused. */
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_int_equal(guest_memory_resolve(gm, 3 * PAGE, 2 * PAGE, &run, 1), 1);
	assert_int_equal(run_populate(&run), -ENOMEM);
	assert_int_equal(run_populate(&run), -ENOMEM);
	assert_int_equal(guest_memory_resolve(gm, 0, 2 * PAGE, &run, 1), 1);
	assert_int_equal(run_populate(&run), 0);
	finish(gm, fd, -1);
}

/* It takes most of the time of a registration, so no page is asked for twice. */
static void populates_a_page_once(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct guest_region r = region(0, 300 * PAGE, 0x1000, 0, fd);
	struct run run;

	(void)state;
	if (!can_populate()) {
		print_message("skipped: this kernel has no MADV_POPULATE_WRITE\n");
		skip();
	}
	assert_int_equal(ftruncate(fd, 300 * PAGE), 0);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	/* Over two borders of what a word of the map has. */
	assert_int_equal(guest_memory_resolve(gm, 60 * PAGE, 100 * PAGE, &run, 1), 1);
	assert_int_equal(run_populate(&run), 0);
	assert_int_equal(allocated(fd), 100 * PAGE);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 300 * PAGE),
			 0);
	assert_int_equal(allocated(fd), 0);
	assert_int_equal(run_populate(&run), 0);
	assert_int_equal(allocated(fd), 0);
	/* Those around it and nothing else. */
	assert_int_equal(guest_memory_resolve(gm, 0, 300 * PAGE, &run, 1), 1);
	assert_int_equal(run_populate(&run), 0);
	assert_int_equal(allocated(fd), 200 * PAGE);
	finish(gm, fd, -1);
}

static void counts_its_bytes(void **state)
{
	struct guest_memory *gm;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	assert_int_equal(guest_memory_bytes(gm), 10 * PAGE);
	assert_int_equal(guest_memory_set(gm, NULL, 0), 0);
	assert_int_equal(guest_memory_bytes(gm), 0);
	finish(gm, a, b);
}

static void an_empty_table_holds_nothing(void **state)
{
	struct guest_memory *gm;
	struct run run;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	assert_int_equal(ram_mappings(), 2);
	assert_int_equal(guest_memory_set(gm, NULL, 0), 0);
	assert_int_equal(ram_mappings(), 0);
	assert_int_equal(guest_memory_resolve(gm, 0, 1, &run, 1), -EFAULT);
	finish(gm, a, b);
}

static void the_file_descriptor_is_our_own(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region r;
	struct run run;
	int fd = ram(1);
	unsigned char byte;

	(void)state;
	r = region(0, PAGE, 0, 0, fd);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	close(fd);
	assert_int_equal(guest_memory_resolve(gm, 0, 1, &run, 1), 1);
	assert_int_equal(pread(ram_file_fd(run.file), &byte, 1, 0), 1);
	assert_true(fcntl(ram_file_fd(run.file), F_GETFD) & FD_CLOEXEC);
	guest_memory_free(gm);
	assert_int_equal(ram_mappings(), 0);
}

static void files_and_tables_are_told_apart(void **state)
{
	struct guest_memory *gm;
	struct guest_region bad = { .size = 0 };
	uint64_t first;
	int a, b;

	(void)state;
	gm = two_files(&a, &b);
	/* In the order of guest addresses; two regions are of the same file. */
	assert_non_null(guest_memory_file(gm, 0));
	assert_ptr_equal(guest_memory_file(gm, 1), guest_memory_file(gm, 0));
	assert_non_null(guest_memory_file(gm, 2));
	assert_ptr_not_equal(guest_memory_file(gm, 2), guest_memory_file(gm, 0));
	assert_null(guest_memory_file(gm, 3));
	first = guest_memory_generation(gm);
	assert_int_equal(guest_memory_set(gm, &bad, 1), -EINVAL);
	assert_int_equal(guest_memory_generation(gm), first);
	assert_int_equal(guest_memory_set(gm, NULL, 0), 0);
	assert_int_not_equal(guest_memory_generation(gm), first);
	assert_null(guest_memory_file(gm, 0));
	finish(gm, a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_tables_are_told_apart),
		cmocka_unit_test(resolves_within_a_region),
		cmocka_unit_test(resolves_across_adjacent_regions),
		cmocka_unit_test(merges_regions_that_continue_in_the_file),
		cmocka_unit_test(refuses_what_is_not_memory),
		cmocka_unit_test(resolves_at_the_end_of_the_address_space),
		cmocka_unit_test(translates_user_addresses),
		cmocka_unit_test(copies_across_regions),
		cmocka_unit_test(refuses_bad_tables),
		cmocka_unit_test(refuses_a_file_that_cannot_be_written),
		cmocka_unit_test(populates_what_is_not_there_yet),
		cmocka_unit_test(populates_a_page_once),
		cmocka_unit_test(counts_its_bytes),
		cmocka_unit_test(an_empty_table_holds_nothing),
		cmocka_unit_test(the_file_descriptor_is_our_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
