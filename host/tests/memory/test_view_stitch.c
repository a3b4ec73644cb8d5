// SPDX-License-Identifier: MIT
/*
 * test_view_stitch: resources as ranges of this process's addresses
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/memory/stitch_test.h"

/* Runs that a test makes at most, should the kernel let a process have more mappings. */
#define MOST_RUNS 150000u

static unsigned char byte_of(int fd, uint64_t offset)
{
	unsigned char byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	return byte;
}

/* Bits of the page's word in /proc/self/pagemap: 63 is "present", 62 "swapped". */
static bool has_page_table(const unsigned char *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t word;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &word, sizeof(word), (off_t)((uintptr_t)at / PAGE * 8)), 8);
	close(fd);
	return word >> 62;
}

static void bytes_are_in_order(void **state)
{
	/* The last two pages of a run of three are those of the first again. */
	static const unsigned int pages[] = { 3, 18, 19, 0, 5, 6, 7, 6, 7 };
	struct bench b = bench(0, false);
	struct backing backing = { .id = 7 };
	struct stitch_view *view;
	unsigned char *at;
	unsigned int i;

	(void)state;
	add(&b, &backing, 3, 1);
	add(&b, &backing, 18, 2);
	add(&b, &backing, 0, 1);
	add(&b, &backing, 5, 3);
	add(&b, &backing, 6, 2);
	view = view_of(&b, &backing);
	assert_int_equal(stitch_view_size(view), 9 * PAGE);
	assert_false(stitch_view_readonly(view));
	assert_ptr_equal(memory_view_stitch(stitch_view_base(view)), view);
	assert_null(memory_view_udmabuf(stitch_view_base(view)));
	/* Five runs, and the page behind them, which is not RAM. */
	assert_int_equal(ram_mappings(), b.mapped + 5);
	assert_int_equal(b.quotas->mappings.used, 6);
	at = stitch_view_address(view);
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		assert_false(has_page_table(at + i * PAGE));
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		assert_int_equal(at[i * PAGE], pages[i] % 16);
		assert_int_equal(at[i * PAGE + PAGE - 1], pages[i] % 16);
	}
	/* It is the memory itself, of which a page may come twice. */
	at[PAGE] = 0xaa;
	assert_int_equal(byte_of(b.b, 2 * PAGE), 0xaa);
	at[5 * PAGE] = 0xbb;
	assert_int_equal(at[7 * PAGE], 0xbb);
	drop(view, &backing);
	assert_int_equal(ram_mappings(), b.mapped);
	end(&b);
}

static void readonly_is_not_writable(void **state)
{
	struct bench b = bench(0, false);
	struct backing backing = { .id = 7, .readonly = true };
	struct stitch_view *view;
	unsigned char *at;
	int fd, i;

	(void)state;
	add(&b, &backing, 5, 1);
	add(&b, &backing, 2, 1);
	view = view_of(&b, &backing);
	assert_true(stitch_view_readonly(view));
	at = stitch_view_address(view);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (i = 0; i < 2; i++) {
		errno = 0;
		assert_int_equal(read(fd, at + i * PAGE, 16), -1);
		assert_int_equal(errno, EFAULT);
	}
	assert_int_equal(at[0], 5);
	assert_int_equal(at[PAGE], 2);
	stitch_view_free(view, NULL, NULL);
	/* And not by mistake: one that is no such thing can be. */
	backing.readonly = false;
	view = view_of(&b, &backing);
	assert_int_equal(read(fd, stitch_view_address(view), 16), 16);
	close(fd);
	drop(view, &backing);
	end(&b);
}

/* Whoever runs past the end finds nobody else's memory. */
static void a_page_lies_behind(void **state)
{
	struct bench b = bench(0, false);
	struct backing backing = scattered(&b, 3);
	struct stitch_view *first = view_of(&b, &backing), *second = view_of(&b, &backing);
	struct stitch_view *views[] = { first, second };
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), i;

	(void)state;
	for (i = 0; i < 2; i++) {
		unsigned char *end_of = stitch_view_address(views[i]);

		end_of += stitch_view_size(views[i]);
		assert_int_equal(read(zero, end_of, 1), -1);
		assert_int_equal(errno, EFAULT);
		/* It is there, and so nobody else's. */
		assert_ptr_equal(mmap(end_of, PAGE, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
				 MAP_FAILED);
	}
	close(zero);
	stitch_view_free(first, NULL, NULL);
	drop(second, &backing);
	end(&b);
}

/* Each mapping in turn cannot be had; nothing is left of those before it. */
static void failures_are_rolled_back(void **state)
{
	enum { RUNS = 5 };
	struct bench b = bench(0, false);
	struct stitch_view *view = NULL;
	struct capture c;
	unsigned int i, bad;

	(void)state;
	for (bad = 0; bad < RUNS; bad++) {
		struct ram_file closed = { .fd = -1, .refs = 100 };
		struct run run = { &closed, 0, PAGE };
		struct backing backing = { .id = 7 };

		for (i = 0; i < RUNS; i++) {
			if (i != bad) {
				add(&b, &backing, i % 2 * 2, 1);
				continue;
			}
			assert_int_equal(run_list_append(&backing.runs, &run), 0);
			backing.size += PAGE;
		}
		capture_begin();
		assert_int_equal(try_view(&b, &backing, NULL, &view), ERR_UNSUPPORTED);
		capture_end(&c);
		assert_null(view);
		assert_int_equal(captured(&c, "resource 7 refused"), 1);
		assert_int_equal(ram_mappings(), b.mapped);
		assert_int_equal(b.quotas->mappings.used, 0);
		run_list_destroy(&backing.runs);
	}
	end(&b);
}

/* Nor is there room for the range itself. */
static void addresses_can_run_out(void **state)
{
	struct bench b = bench(0, false);
	struct ram_file huge = { .fd = b.a, .refs = 100 };
	struct run run = { &huge, 0, UINT64_C(1) << 56 };
	struct backing backing = { .id = 7, .size = run.length };
	struct stitch_view *view = NULL;
	struct capture c;

	(void)state;
	assert_int_equal(run_list_append(&backing.runs, &run), 0);
	capture_begin();
	assert_int_equal(try_view(&b, &backing, NULL, &view), ERR_OUT_OF_MEMORY);
	capture_end(&c);
	assert_int_equal(captured(&c, "vm.max_map_count"), 1);
	run_list_destroy(&backing.runs);
	end(&b);
}

/* Mappings that the quota has and the kernel has not. */
static void mappings_can_run_out(void **state)
{
	uint64_t max = memory_limits_max_mappings();
	struct bench b = bench(2 * max, false);
	struct stitch_view *view = NULL;
	struct backing backing;
	struct capture c;

	(void)state;
	if (max > MOST_RUNS) {
		print_message("SKIP: a process may have %llu mappings here\n",
			      (unsigned long long)max);
		end(&b);
		skip();
	}
	backing = scattered(&b, (unsigned int)max + 1);
	capture_begin();
	assert_int_equal(try_view(&b, &backing, NULL, &view), ERR_OUT_OF_MEMORY);
	capture_end(&c);
	assert_int_equal(captured(&c, "vm.max_map_count"), 1);
	run_list_destroy(&backing.runs);
	end(&b);
}

static void mappings_are_a_quota(void **state)
{
	struct bench b = bench(10, false);
	struct backing four = scattered(&b, 4), five = scattered(&b, 5);
	struct stitch_view *view = view_of(&b, &four), *other = NULL;
	struct stitch_totals totals;
	struct capture c;

	(void)state;
	assert_int_equal(b.quotas->mappings.used, 5);
	assert_true(stitch_fits(b.stitch, &four, NULL));
	assert_false(stitch_fits(b.stitch, &five, NULL));
	assert_int_equal(b.quotas->mappings.refused, 0);
	capture_begin();
	assert_int_equal(try_view(&b, &five, NULL, &other), ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "limit of mappings reached: 5 of 10"), 1);
	assert_int_equal(captured(&c, "--max-mappings"), 1);
	assert_int_equal(b.quotas->mappings.used, 5);
	/* To the last. */
	other = view_of(&b, &four);
	assert_int_equal(b.quotas->mappings.used, 10);
	stitch_totals(b.stitch, &totals);
	assert_int_equal(totals.views, 2);
	assert_int_equal(totals.mappings, 10);
	assert_int_equal(totals.created_runs, 8);
	stitch_view_free(other, NULL, NULL);
	drop(view, &four);
	stitch_totals(b.stitch, &totals);
	assert_int_equal(totals.views, 0);
	assert_int_equal(totals.created, 2);
	run_list_destroy(&five.runs);
	end(&b);
}

/* Charged as they come; a part of a page may yet become a whole one. */
static void chunks_are_charged_as_they_come(void **state)
{
	struct bench b = bench(4, false);
	struct backing backing = { .id = 7, .size = 4 * PAGE };
	struct stitch_draft *draft = NULL;
	struct capture c;

	(void)state;
	append(&backing.runs, b.gm, 0, PAGE / 2);
	assert_int_equal(stitch_draft_extend(b.stitch, &backing, &draft), OK);
	assert_int_equal(b.quotas->mappings.used, 2);
	append(&backing.runs, b.gm, PAGE / 2, PAGE / 2);
	assert_int_equal(stitch_draft_extend(b.stitch, &backing, &draft), OK);
	assert_int_equal(b.quotas->mappings.used, 2);
	append(&backing.runs, b.gm, 4 * PAGE, PAGE);
	append(&backing.runs, b.gm, 2 * PAGE, PAGE);
	assert_true(stitch_fits(b.stitch, &backing, draft));
	assert_int_equal(stitch_draft_extend(b.stitch, &backing, &draft), OK);
	assert_int_equal(b.quotas->mappings.used, 4);
	append(&backing.runs, b.gm, 0, PAGE);
	assert_false(stitch_fits(b.stitch, &backing, draft));
	capture_begin();
	assert_int_equal(stitch_draft_extend(b.stitch, &backing, &draft), ERR_LIMIT);
	capture_end(&c);
	stitch_draft_free(draft);
	assert_int_equal(b.quotas->mappings.used, 0);
	run_list_destroy(&backing.runs);
	end(&b);
}

static void parts_of_pages_are_refused(void **state)
{
	struct bench b = bench(0, false);
	struct backing middle = { .id = 7, .size = 2 * PAGE };
	struct backing last = { .id = 7, .size = PAGE / 2 };
	struct stitch_draft *draft = NULL;
	struct capture c;

	(void)state;
	append(&middle.runs, b.gm, 0, PAGE / 2);
	append(&middle.runs, b.gm, 4 * PAGE, PAGE);
	append(&last.runs, b.gm, 0, PAGE / 2);
	capture_begin();
	assert_int_equal(stitch_draft_extend(b.stitch, &middle, &draft), ERR_INVALID_PARAMETER);
	stitch_draft_free(draft);
	draft = NULL;
	assert_int_equal(stitch_draft_extend(b.stitch, &last, &draft), ERR_INVALID_PARAMETER);
	stitch_draft_free(draft);
	capture_end(&c);
	assert_int_equal(captured(&c, "not in whole pages"), 2);
	run_list_destroy(&middle.runs);
	run_list_destroy(&last.runs);
	end(&b);
}

static void huge_pages_are_refused(void **state)
{
	struct bench b = bench(0, false);
	struct ram_file huge = { .fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB), .refs = 9 };
	struct run run = { &huge, 0, PAGE };
	struct backing backing = { .id = 7, .size = 2 * PAGE };
	struct stitch_draft *draft = NULL;
	struct capture c;

	(void)state;
	if (huge.fd < 0) {
		print_message("SKIP: no hugetlbfs: %s\n", strerror(errno));
		end(&b);
		skip();
	}
	append(&backing.runs, b.gm, 0, PAGE);
	assert_true(stitch_fits(b.stitch, &backing, NULL));
	assert_int_equal(run_list_append(&backing.runs, &run), 0);
	assert_false(stitch_fits(b.stitch, &backing, NULL));
	capture_begin();
	assert_int_equal(stitch_draft_extend(b.stitch, &backing, &draft), ERR_UNSUPPORTED);
	capture_end(&c);
	assert_int_equal(captured(&c, "hugetlbfs"), 1);
	stitch_draft_free(draft);
	run_list_destroy(&backing.runs);
	close(huge.fd);
	end(&b);
}

/* As many as hold it, each by itself; in the name of this process. */
static void objects_are_counted(void **state)
{
	struct bench b = bench(0, false);
	struct backing backing = scattered(&b, 2);
	struct stitch_view *view = view_of(&b, &backing);
	struct memory_view *base = stitch_view_base(view);

	(void)state;
	assert_true(memory_view_alone(base));
	assert_false(memory_view_held_by(base, getpid()));
	stitch_view_get(view);
	stitch_view_get(view);
	assert_false(memory_view_alone(base));
	stitch_view_put(view);
	assert_false(memory_view_alone(base));
	assert_true(memory_view_held_by(base, getpid()));
	assert_false(memory_view_held_by(base, getppid()));
	stitch_view_put(view);
	assert_true(memory_view_alone(base));
	assert_true(base->ops->free(base, NULL, NULL));
	run_list_destroy(&backing.runs);
	assert_true(stitch_view_alone(NULL));
	assert_true(stitch_view_free(NULL, NULL, NULL));
	stitch_view_dispose(NULL, NULL);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bytes_are_in_order),	  TEST(readonly_is_not_writable),
		TEST(a_page_lies_behind),	  TEST(failures_are_rolled_back),
		TEST(addresses_can_run_out),	  TEST(mappings_can_run_out),
		TEST(mappings_are_a_quota),	  TEST(chunks_are_charged_as_they_come),
		TEST(parts_of_pages_are_refused), TEST(huge_pages_are_refused),
		TEST(objects_are_counted),
	};

	return cmocka_run_group_tests_name("view_stitch", tests, NULL, NULL);
}
