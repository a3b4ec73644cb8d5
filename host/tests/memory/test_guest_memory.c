// SPDX-License-Identifier: MIT
/*
 * test_guest_memory: regions, resolution, run lists, lifetime of mappings
 *
 * RAM files are memfds whose page n holds the byte pattern n, so that a wrong
 * address shows as a wrong byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/guest_memory.h"

#define PAGE 4096ull
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int ram(unsigned int pages)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);
	unsigned char page[PAGE];
	unsigned int i;

	assert_true(fd >= 0);
	for (i = 0; i < pages; i++) {
		memset(page, (int)i, sizeof(page));
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	}
	return fd;
}

static struct guest_region region(uint64_t guest, uint64_t size, uint64_t user, uint64_t offset,
				  int fd)
{
	return (struct guest_region){ guest, size, user, offset, fd };
}

/* Lines of /proc/self/maps that are mappings of a memfd of ours. */
static unsigned int ram_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int nr = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		nr += strstr(line, "memfd:ram") != NULL;
	fclose(maps);
	return nr;
}

static unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/*
 * As QEMU does it: two regions of one file with a hole between them, and a
 * third of another file right behind the second.
 */
static struct guest_memory *two_files(int *a, int *b)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region regions[3];

	*a = ram(8);
	*b = ram(4);
	regions[0] = region(16 * PAGE, 4 * PAGE, 0x7000000, 4 * PAGE, *a);
	regions[1] = region(0, 2 * PAGE, 0x5000000, 0, *a);
	regions[2] = region(20 * PAGE, 4 * PAGE, 0x9000000, 0, *b);
	assert_non_null(gm);
	assert_int_equal(guest_memory_set(gm, regions, 3), 0);
	return gm;
}

static void finish(struct guest_memory *gm, int a, int b)
{
	guest_memory_free(gm);
	close(a);
	if (b >= 0)
		close(b);
	assert_int_equal(ram_mappings(), 0);
}

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
	assert_int_equal(guest_memory_populate(&run), 0);
	if (!can_populate()) {
		finish(gm, fd, -1);
		print_message("skipped: this kernel has no MADV_POPULATE_WRITE\n");
		skip();
	}
	assert_true(allocated(fd) >= 3 * PAGE);
	/* What cannot be had, here behind the end of the file, is refused. */
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_int_equal(guest_memory_populate(&run), -ENOMEM);
	assert_int_equal(guest_memory_resolve(gm, PAGE, PAGE, &run, 1), 1);
	assert_int_equal(guest_memory_populate(&run), 0);
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

/* Appends guest range [addr, addr + len), which is one piece. */
static void append(struct run_list *list, struct guest_memory *gm, uint64_t addr, uint64_t len)
{
	struct run run;

	assert_int_equal(guest_memory_resolve(gm, addr, len, &run, 1), 1);
	assert_int_equal(run_list_append(list, &run), 0);
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
		cmocka_unit_test(counts_its_bytes),
		cmocka_unit_test(an_empty_table_holds_nothing),
		cmocka_unit_test(runs_outlive_the_table),
		cmocka_unit_test(a_file_that_grew_does_not_move),
		cmocka_unit_test(the_file_descriptor_is_our_own),
		cmocka_unit_test(run_list_merges_neighbours_only),
		cmocka_unit_test(run_list_finds_every_byte),
		cmocka_unit_test(run_list_is_refused_empty_and_endless_runs),
		cmocka_unit_test(run_list_trims),
		cmocka_unit_test(references_are_put_by_any_thread),
	};

	return cmocka_run_group_tests_name("guest_memory", tests, NULL, NULL);
}
