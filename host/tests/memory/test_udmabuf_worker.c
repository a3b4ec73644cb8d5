// SPDX-License-Identifier: MIT
/*
 * test_udmabuf_worker: dma-bufs that a worker makes and closes, and what they are charged
 *
 * See udmabuf_test.h for where these run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/memory/udmabuf_test.h"
#include "util/responses.h"

#define WAIT_MS 20000
/* More than is done at once. */
#define LARGE 2048u

/**
 * struct outcome - what was called back
 * @made: times
 * @view: the last view
 * @response: with it
 * @freed: times
 */
struct outcome {
	unsigned int made;
	struct udmabuf_view *view;
	uint32_t response;
	unsigned int freed;
};

static void made(void *cookie, struct memory_view *view, uint32_t response)
{
	struct outcome *out = cookie;

	out->made++;
	out->view = memory_view_udmabuf(view);
	out->response = response;
}

static void freed(void *cookie)
{
	((struct outcome *)cookie)->freed++;
}

/* Until @what is @nr; nothing is called back in between. */
static void dispatch_until(struct bench *b, const unsigned int *what, unsigned int nr)
{
	while (*what < nr) {
		struct pollfd ready = { .fd = worker_fd(b->worker), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
		worker_dispatch(b->worker);
	}
}

static struct backing flat(struct bench *b, uint64_t first, uint64_t pages)
{
	struct backing backing = { .id = 7 };

	add(b->gm, &backing, first * PAGE, pages * PAGE);
	return backing;
}

/* Begin to make a view of it that is to take a while; its handle. */
static struct udmabuf_view *begin(struct bench *b, const struct backing *backing,
				  struct outcome *out)
{
	struct udmabuf_draft *draft = NULL;
	struct udmabuf_view *view = NULL;
	unsigned int before = out->made;

	assert_int_equal(udmabuf_draft_extend(b->udmabuf, backing, &draft), OK);
	assert_int_equal(udmabuf_view_create(b->udmabuf, backing, draft, made, out, &view),
			 MEMORY_VIEW_LATER);
	assert_non_null(view);
	assert_int_equal(out->made, before);
	return view;
}

static uint64_t views(const struct bench *b)
{
	struct udmabuf_totals totals;

	udmabuf_totals(b->udmabuf, &totals);
	return totals.views;
}

static const struct memory_limits no_limits;

static void large_ones_are_made_later(void **state)
{
	struct bench b = bench_with(LARGE, &no_limits, true);
	struct backing large = flat(&b, 0, LARGE), small = flat(&b, 0, 4);
	struct outcome out = { .made = 0 };
	struct udmabuf_view *at_once, *pending;
	unsigned char *at;
	int fd;

	(void)state;
	b.ram[5 * PAGE] = 55;
	pending = begin(&b, &large, &out);
	assert_int_equal(views(&b), 0);
	dispatch_until(&b, &out.made, 1);
	assert_int_equal(out.response, OK);
	assert_ptr_equal(out.view, pending);
	assert_int_equal(views(&b), 1);
	fd = own_fd(out.view);
	assert_true(udmabuf_is_ours(b.udmabuf, fd));
	at = map(fd, LARGE);
	assert_int_equal(at[5 * PAGE], 55);
	munmap(at, LARGE * PAGE);
	close(fd);
	/* A small one at once, as the worker has nothing to do. */
	at_once = view_of(&b, &small);
	assert_true(udmabuf_view_free(at_once, freed, &out));
	assert_int_equal(out.freed, 0);
	/* To close the large one takes its time, too; what it cost is given back then. */
	assert_true(udmabuf_view_alone(out.view));
	assert_false(udmabuf_view_free(out.view, freed, &out));
	assert_int_equal(out.freed, 0);
	assert_true(b.quotas->kernel.used > 0);
	dispatch_until(&b, &out.freed, 1);
	assert_int_equal(b.quotas->kernel.used, 0);
	run_list_destroy(&large.runs);
	run_list_destroy(&small.runs);
	finish(&b);
}

static void refusals_come_later(void **state)
{
	struct bench b = bench_with(2 * LARGE, &no_limits, true);
	struct backing twice = { .id = 7 };
	struct outcome out = { .made = 0 };
	struct capture c;

	(void)state;
	add(b.gm, &twice, 0, LARGE * PAGE);
	add(b.gm, &twice, (LARGE - 1) * PAGE, PAGE);
	capture_begin();
	begin(&b, &twice, &out);
	dispatch_until(&b, &out.made, 1);
	capture_end(&c);
	assert_int_equal(out.response, ERR_INVALID_PARAMETER);
	assert_null(out.view);
	assert_int_equal(captured(&c, "a page comes twice in it"), 1);
	assert_int_equal(b.quotas->kernel.used, 0);
	run_list_destroy(&twice.runs);
	finish(&b);
}

/* Made, being made or not begun with: nothing of it is left, and nobody is told. */
static void given_up_on_the_way(void **state)
{
	struct bench b = bench_with(8 * LARGE, &no_limits, true);
	struct backing backings[8];
	struct udmabuf_view *pending[8];
	struct outcome out = { .made = 0 };
	struct pollfd done = { .fd = worker_fd(b.worker), .events = POLLIN };
	unsigned int i, round;

	(void)state;
	for (round = 0; round < 8; round++) {
		for (i = 0; i < 8; i++) {
			backings[i] = flat(&b, i * LARGE, LARGE);
			pending[i] = begin(&b, &backings[i], &out);
		}
		for (i = 0; i < 8; i++) {
			udmabuf_view_dispose(pending[(i + round) % 8],
					     &backings[(i + round) % 8].runs);
			run_list_destroy(&backings[(i + round) % 8].runs);
		}
		worker_dispatch(b.worker);
		assert_int_equal(out.made, 0);
		assert_int_equal(views(&b), 0);
	}
	/* One that was made, and that nobody has heard of yet. */
	backings[0] = flat(&b, 0, LARGE);
	pending[0] = begin(&b, &backings[0], &out);
	assert_int_equal(poll(&done, 1, WAIT_MS), 1);
	udmabuf_view_dispose(pending[0], &backings[0].runs);
	run_list_destroy(&backings[0].runs);
	worker_dispatch(b.worker);
	assert_int_equal(out.made, 0);
	/* What is being closed can be left to itself. */
	backings[0] = flat(&b, 0, LARGE);
	begin(&b, &backings[0], &out);
	dispatch_until(&b, &out.made, 1);
	assert_false(udmabuf_view_free(out.view, freed, &out));
	udmabuf_view_dispose(out.view, &backings[0].runs);
	run_list_destroy(&backings[0].runs);
	/* Or closed before it returns. */
	backings[1] = flat(&b, 0, LARGE);
	begin(&b, &backings[1], &out);
	dispatch_until(&b, &out.made, 2);
	assert_true(udmabuf_view_free(out.view, NULL, NULL));
	assert_int_equal(out.freed, 0);
	run_list_destroy(&backings[1].runs);
	finish(&b);
}

/* What a dma-buf costs is charged as soon as its size is known, and given back once. */
static void kernel_memory_is_charged(void **state)
{
	struct memory_limits limits = {
		.kernel_bytes = 2 * memory_limits_kernel_cost(16 * PAGE),
	};
	struct bench b = bench_with(64, &limits, false);
	struct backing first = flat(&b, 0, 16), second = flat(&b, 16, 16), third = flat(&b, 32, 1);
	struct udmabuf_draft *draft = NULL, *refused_draft = NULL;
	struct udmabuf_view *view = view_of(&b, &first);
	struct capture c;

	(void)state;
	/* Its first chunk came, as it were. */
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &second, &draft), OK);
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &second, &draft), OK);
	assert_int_equal(b.quotas->kernel.used, limits.kernel_bytes);
	capture_begin();
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &third, &refused_draft), ERR_LIMIT);
	capture_end(&c);
	udmabuf_draft_free(refused_draft);
	assert_int_equal(captured(&c, "limit of kernel bytes reached"), 1);
	assert_int_equal(captured(&c, "--max-kernel-bytes"), 1);
	udmabuf_draft_free(draft);
	assert_int_equal(b.quotas->kernel.used, limits.kernel_bytes / 2);
	udmabuf_view_free(view, NULL, NULL);
	assert_int_equal(b.quotas->kernel.used, 0);
	run_list_destroy(&first.runs);
	run_list_destroy(&second.runs);
	run_list_destroy(&third.runs);
	finish(&b);
}

/* One page in as many dma-bufs as it may be in, whatever else is in these. */
static void uses_of_a_page_have_a_limit(void **state)
{
	struct memory_limits limits = { .page_uses = 3 };
	struct bench b = bench_with(64, &limits, false);
	struct backing backings[4], other = flat(&b, 40, 4);
	struct udmabuf_view *made_views[4], *view;
	char *text = NULL;
	struct capture c;
	unsigned int i;
	size_t len;
	FILE *to;

	(void)state;
	for (i = 0; i < 4; i++) {
		backings[i] = flat(&b, i, 4);
		if (i < 3)
			made_views[i] = view_of(&b, &backings[i]);
	}
	/* Page 3 is in all of them. */
	assert_int_equal(refused(&b, &backings[3], &c), ERR_LIMIT);
	assert_int_equal(captured(&c, "limit of dma-bufs of one page reached: 3 of 3"), 1);
	assert_int_equal(captured(&c, "--max-page-uses"), 1);
	view = view_of(&b, &other);
	udmabuf_view_free(view, NULL, NULL);
	to = open_memstream(&text, &len);
	udmabuf_print_quotas(b.udmabuf, to);
	fclose(to);
	assert_string_equal(text, "limit dma-bufs of one page: used 3 of 3, peak 3, refused 1\n");
	free(text);
	udmabuf_view_free(made_views[0], NULL, NULL);
	made_views[3] = view_of(&b, &backings[3]);
	for (i = 0; i < 4; i++) {
		if (i)
			udmabuf_view_free(made_views[i], NULL, NULL);
		run_list_destroy(&backings[i].runs);
	}
	run_list_destroy(&other.runs);
	finish(&b);
}

/* What the kernel refuses was not made, so it is not counted. */
static void what_the_kernel_refuses_is_not_counted(void **state)
{
	struct memory_limits limits = { .page_uses = 1 };
	struct bench b = bench_with(16, &limits, false);
	struct backing backing = flat(&b, 0, 4);
	struct udmabuf_view *view;
	struct capture c;
	int holes = ram(16, F_SEAL_GROW), fine = ram(16, F_SEAL_SHRINK);
	struct guest_region regions[] = {
		{ .size = 16 * PAGE, .user_addr = 1 << 24, .fd = holes },
		{ 16 * PAGE, 16 * PAGE, 2 << 24, 0, fine },
	};
	struct backing bad = { .id = 8 };

	(void)state;
	assert_int_equal(guest_memory_set(b.gm, regions, 2), 0);
	add(b.gm, &bad, 16 * PAGE, PAGE);
	add(b.gm, &bad, 0, PAGE);
	assert_int_equal(refused(&b, &bad, &c), ERR_UNSUPPORTED);
	run_list_destroy(&bad.runs);
	run_list_destroy(&backing.runs);
	backing = (struct backing){ .id = 9 };
	add(b.gm, &backing, 16 * PAGE, PAGE);
	view = view_of(&b, &backing);
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	assert_int_equal(guest_memory_set(b.gm, NULL, 0), 0);
	close(holes);
	close(fine);
	finish(&b);
}

/* A balloon under a dma-buf, which keeps the page that the file has lost. */
static void discarded_memory_is_found(void **state)
{
	struct bench b = bench_with(64, &no_limits, false);
	struct backing backing = flat(&b, 0, 8), other = flat(&b, 32, 4);
	int file = ram_file_fd(guest_memory_file(b.gm, 0));
	struct udmabuf_view *view = view_of(&b, &backing);
	struct capture c;

	(void)state;
	assert_int_equal(
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, PAGE), 0);
	assert_int_equal(refused(&b, &other, &c), ERR_UNSUPPORTED);
	assert_int_equal(captured(&c, "guest RAM is being discarded while it is in dma-bufs"), 1);
	assert_int_equal(refused(&b, &other, &c), ERR_UNSUPPORTED);
	udmabuf_view_free(view, NULL, NULL);
	view = view_of(&b, &other);
	udmabuf_view_free(view, NULL, NULL);
	run_list_destroy(&backing.runs);
	run_list_destroy(&other.runs);
	finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_ones_are_made_later),
		cmocka_unit_test_teardown(refusals_come_later, give_up),
		cmocka_unit_test(given_up_on_the_way),
		cmocka_unit_test_teardown(kernel_memory_is_charged, give_up),
		cmocka_unit_test_teardown(uses_of_a_page_have_a_limit, give_up),
		cmocka_unit_test_teardown(what_the_kernel_refuses_is_not_counted, give_up),
		cmocka_unit_test_teardown(discarded_memory_is_found, give_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
