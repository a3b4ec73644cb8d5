// SPDX-License-Identifier: MIT
/*
 * test_stitch_worker: ranges that a worker maps and unmaps, and how they are given back
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>

#include "memory/release.h"
#include "tests/memory/stitch_test.h"

/* More runs than are mapped at once, and more pages than are unmapped so. */
#define LARGE 600u
/* Milliseconds between the stages of a release. */
#define GRACE 30

static void large_ones_are_made_and_unmapped_later(void **state)
{
	struct bench b = bench(0, true);
	struct backing large = scattered(&b, LARGE), small = scattered(&b, 3);
	struct outcome out = { .made = 0 };
	struct stitch_view *view = NULL, *at_once;

	(void)state;
	at_once = view_of(&b, &small);
	assert_int_equal(try_view(&b, &large, &out, &view), MEMORY_VIEW_LATER);
	assert_int_equal(out.made, 0);
	dispatch_until(&b, &out.made, 1);
	assert_int_equal(out.response, OK);
	assert_ptr_equal(memory_view_stitch(out.view), view);
	assert_int_equal(*((unsigned char *)stitch_view_address(view) + PAGE), 2);
	assert_int_equal(ram_mappings(), b.mapped + 3 + LARGE);
	assert_false(stitch_view_free(view, freed, &out));
	assert_int_equal(out.freed, 0);
	/* Charged as long as it is mapped. */
	assert_int_equal(b.quotas->mappings.used, 4 + LARGE + 1);
	dispatch_until(&b, &out.freed, 1);
	assert_int_equal(b.quotas->mappings.used, 4);
	assert_int_equal(ram_mappings(), b.mapped + 3);
	assert_true(stitch_view_free(at_once, freed, &out));
	assert_int_equal(out.freed, 1);
	run_list_destroy(&large.runs);
	run_list_destroy(&small.runs);
	end(&b);
}

/**
 * struct gate - a job that the worker is at until it is let through
 * @job: it
 * @begun: it is there
 * @open: let it through
 * @over: it was
 */
struct gate {
	struct worker_job job;
	sem_t begun;
	sem_t open;
	unsigned int over;
};

static void wait_at_gate(struct worker_job *job)
{
	struct gate *gate = (struct gate *)job;

	sem_post(&gate->begun);
	while (sem_wait(&gate->open))
		;
}

static void was_let_through(struct worker_job *job)
{
	((struct gate *)job)->over++;
}

/* Not begun, made and not told, being freed: nothing of it is left, and nobody is told. */
static void given_up_on_the_way(void **state)
{
	struct bench b = bench(0, true);
	struct gate gate = { .job = { .run = wait_at_gate, .done = was_let_through } };
	struct backing backings[3];
	struct stitch_view *views[3];
	struct outcome out = { .made = 0 };
	struct pollfd ready = { .fd = worker_fd(b.worker), .events = POLLIN };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		backings[i] = scattered(&b, LARGE);
	/* 0: made, and nobody was told; 1: not begun; 2: is to be unmapped, not begun. */
	assert_int_equal(try_view(&b, &backings[2], &out, &views[2]), MEMORY_VIEW_LATER);
	dispatch_until(&b, &out.made, 1);
	assert_int_equal(try_view(&b, &backings[0], &out, &views[0]), MEMORY_VIEW_LATER);
	assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
	assert_int_equal(ram_mappings(), b.mapped + 2 * LARGE);
	sem_init(&gate.begun, 0, 0);
	sem_init(&gate.open, 0, 0);
	worker_submit(b.worker, &gate.job);
	while (sem_wait(&gate.begun))
		;
	assert_int_equal(try_view(&b, &backings[1], &out, &views[1]), MEMORY_VIEW_LATER);
	assert_false(stitch_view_free(views[2], freed, &out));
	for (i = 0; i < 3; i++) {
		stitch_view_dispose(views[i], &backings[i].runs);
		/* From now on the resource may be gone. */
		run_list_destroy(&backings[i].runs);
		memset(&backings[i], 0x55, sizeof(backings[i]));
	}
	sem_post(&gate.open);
	dispatch_until(&b, &gate.over, 1);
	assert_int_equal(out.made, 1);
	assert_int_equal(out.freed, 0);
	end(&b);
	assert_int_equal(out.made, 1);
	assert_int_equal(out.freed, 0);
}

/* The guest ends it while the worker is at it: it goes on with nothing. */
static void stopped_on_the_way(void **state)
{
	struct bench b = bench(0, true);
	struct backing backing = scattered(&b, LARGE);
	struct outcome out = { .made = 0 };
	struct stitch_view *view;

	(void)state;
	worker_pause(b.worker, true);
	assert_int_equal(try_view(&b, &backing, &out, &view), MEMORY_VIEW_LATER);
	backing_stop(&backing);
	worker_pause(b.worker, false);
	dispatch_until(&b, &out.made, 1);
	assert_int_equal(out.response, ERR_UNSPEC);
	assert_null(out.view);
	run_list_destroy(&backing.runs);
	end(&b);
}

/* ---- with release.c ---- */

/**
 * struct keeper - a GPU context that keeps a view until it is made to let go
 * @view: it
 * @asked: evict() without force
 * @forced: with it
 * @lets_go: at the first that is forced, or before
 * @gone: cookies that came
 */
struct keeper {
	struct stitch_view *view;
	unsigned int asked;
	unsigned int forced;
	bool lets_go;
	unsigned int gone;
};

static void evict(void *opaque, struct backing *backing, bool force)
{
	struct keeper *keeper = opaque;

	assert_ptr_equal(memory_view_stitch(backing->view), keeper->view);
	keeper->asked += !force;
	keeper->forced += force;
	if (force || keeper->lets_go)
		stitch_view_put(keeper->view);
}

static void gone(void *opaque, void *cookie)
{
	struct keeper *keeper = opaque;

	assert_ptr_equal(cookie, keeper);
	keeper->gone++;
}

static struct release *release_for(struct keeper *keeper)
{
	struct release_host host = { .opaque = keeper, .evict = evict, .gone = gone };
	struct release *release;

	assert_int_equal(release_new(&host, GRACE, &release), 0);
	return release;
}

static void dispatch_until_gone(struct release *release, const struct keeper *keeper)
{
	while (!keeper->gone) {
		struct pollfd ready = { .fd = release_fd(release), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
		release_dispatch(release);
	}
}

static void released_when_nobody_keeps_it(void **state)
{
	struct bench b = bench(0, false);
	struct backing backing = scattered(&b, 3);
	struct keeper keeper = { .view = view_of(&b, &backing) };
	struct release *release = release_for(&keeper);
	struct capture c;
	char holder[32];
	bool lets_go;

	(void)state;
	snprintf(holder, sizeof(holder), "held by %d (", (int)getpid());
	backing.view = stitch_view_base(keeper.view);
	assert_true(release_begin(release, &backing, backing.view, &keeper));
	assert_int_equal(ram_mappings(), b.mapped);
	assert_int_equal(keeper.gone, 0);
	/* Contexts are ended first; if that does not help, whatever has it. */
	for (lets_go = true;; lets_go = false) {
		keeper = (struct keeper){ .view = view_of(&b, &backing), .lets_go = lets_go };
		backing.view = stitch_view_base(keeper.view);
		stitch_view_get(keeper.view);
		capture_begin();
		assert_false(release_begin(release, &backing, backing.view, &keeper));
		assert_int_equal(ram_mappings(), b.mapped + 3);
		dispatch_until_gone(release, &keeper);
		capture_end(&c);
		assert_int_equal(keeper.asked, 1);
		assert_int_equal(keeper.forced, !lets_go);
		assert_int_equal(captured(&c, holder), lets_go ? 1 : 2);
		assert_int_equal(ram_mappings(), b.mapped);
		assert_int_equal(b.quotas->mappings.used, 0);
		if (!lets_go)
			break;
	}
	release_free(release);
	run_list_destroy(&backing.runs);
	end(&b);
}

/* A reset waits for the one who keeps it, and for nothing else. */
static void reset_evicts(void **state)
{
	struct bench b = bench(0, true);
	struct backing backing = scattered(&b, LARGE);
	struct outcome out = { .made = 0 };
	struct keeper keeper = { .view = NULL };
	struct release *release = release_for(&keeper);
	struct capture c;

	(void)state;
	assert_int_equal(try_view(&b, &backing, &out, &keeper.view), MEMORY_VIEW_LATER);
	dispatch_until(&b, &out.made, 1);
	backing.view = out.view;
	stitch_view_get(keeper.view);
	worker_pause(b.worker, true);
	capture_begin();
	release_now(release, &backing, backing.view);
	capture_end(&c);
	assert_int_equal(keeper.asked, 1);
	assert_int_equal(keeper.forced, 1);
	assert_int_equal(keeper.gone, 0);
	/* The worker unmaps it when it can. */
	assert_int_equal(ram_mappings(), b.mapped + LARGE);
	run_list_destroy(&backing.runs);
	worker_pause(b.worker, false);
	release_free(release);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(large_ones_are_made_and_unmapped_later),
		TEST(given_up_on_the_way),
		TEST(stopped_on_the_way),
		TEST(released_when_nobody_keeps_it),
		TEST(reset_evicts),
	};

	return cmocka_run_group_tests_name("stitch_worker", tests, NULL, NULL);
}
