// SPDX-License-Identifier: MIT
/*
 * test_release: giving up views that others still have
 *
 * With views of our own, whose holders let go when the test says so: no dma-buf
 * is needed.  The grace period is short where it has to run out, and far longer
 * than a test may take where it must not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/backing.h"
#include "tests/util/capture.h"
#include "memory/release.h"
#include "memory/view.h"
#include "util/clock.h"

#define LONG_MS 60000
#define SHORT_MS 30
#define MAX_EVENTS 4096

/**
 * struct keep - a view that somebody keeps
 * @base: what release knows of it
 * @held: somebody else has it
 * @alone_after: or: that many looks from now nobody has it; 0: not so
 * @slow: to close it takes a while
 * @closing: to be called when it is closed, NULL: nobody waits for that
 * @cookie: for @closing
 * @freed: how often
 * @disposed: of these, for nobody to wait for
 * @looks: how often somebody asked
 * @owner: the process that has it
 */
struct keep {
	struct memory_view base;
	bool held;
	unsigned int alone_after;
	bool slow;
	memory_view_freed *closing;
	void *cookie;
	unsigned int freed;
	unsigned int disposed;
	unsigned int looks;
	pid_t owner;
};

static bool keep_alone(const struct memory_view *view)
{
	struct keep *v = (struct keep *)view;

	assert_int_equal(v->freed, 0);
	v->looks++;
	if (v->alone_after && !--v->alone_after)
		v->held = false;
	return !v->held;
}

static bool keep_free(struct memory_view *base, memory_view_freed *freed, void *cookie)
{
	struct keep *view = (struct keep *)base;

	assert_false(view->held);
	assert_int_equal(view->freed, 0);
	if (freed && view->slow) {
		view->closing = freed;
		view->cookie = cookie;
		return false;
	}
	view->freed++;
	return true;
}

static void keep_dispose(struct memory_view *base, struct run_list *runs)
{
	struct keep *view = (struct keep *)base;

	(void)runs;
	assert_false(view->held);
	assert_int_equal(view->freed, 0);
	view->closing = NULL;
	view->disposed++;
	view->freed++;
}

static bool keep_held_by(const struct memory_view *base, pid_t pid)
{
	const struct keep *view = (const struct keep *)base;

	return view->held && pid == view->owner;
}

static const struct memory_view_ops keep_ops = {
	.alone = keep_alone,
	.free = keep_free,
	.dispose = keep_dispose,
	.held_by = keep_held_by,
};

#define KEEP(...) ((struct keep){ .base = { .ops = &keep_ops }, __VA_ARGS__ })

/**
 * struct event - a callback that came
 * @gone: it was gone(), with @cookie; else evict()
 * @cookie: see @gone
 * @backing: evict(): of what
 * @force: evict(): how
 * @at: when, in ms
 */
struct event {
	bool gone;
	void *cookie;
	struct backing *backing;
	bool force;
	uint64_t at;
};

/**
 * struct bench - a release on the bench
 * @release: it
 * @began: when, in ms
 * @events: what came
 * @nr: of them
 * @on_event: called for each after it was noted, if not NULL
 */
struct bench {
	struct release *release;
	uint64_t began;
	struct event events[MAX_EVENTS];
	unsigned int nr;
	void (*on_event)(struct bench *b, const struct event *event);
};

static void note(struct bench *b, struct event event)
{
	assert_true(b->nr < MAX_EVENTS);
	event.at = clock_ms();
	b->events[b->nr++] = event;
	if (b->on_event)
		b->on_event(b, &event);
}

static void evict(void *opaque, struct backing *backing, bool force)
{
	note(opaque, (struct event){ .backing = backing, .force = force });
}

static void gone(void *opaque, void *cookie)
{
	note(opaque, (struct event){ .gone = true, .cookie = cookie });
}

static struct bench *bench(unsigned int grace_ms)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct release_host host = { .opaque = b, .evict = evict, .gone = gone };

	assert_non_null(b);
	assert_int_equal(release_new(&host, grace_ms, &b->release), 0);
	b->began = clock_ms();
	return b;
}

static void finish(struct bench *b)
{
	assert_int_equal(release_pending(b->release), 0);
	release_free(b->release);
	free(b);
}

/* Let the release have its turn once. */
static void turn(struct bench *b)
{
	struct pollfd ready = { .fd = release_fd(b->release), .events = POLLIN };

	assert_int_equal(poll(&ready, 1, 10000), 1);
	release_dispatch(b->release);
}

/* Turns until there were @nr events. */
static void turns_until(struct bench *b, unsigned int nr)
{
	while (b->nr < nr)
		turn(b);
}

static bool is_readable(struct bench *b, int ms)
{
	struct pollfd ready = { .fd = release_fd(b->release), .events = POLLIN };

	return poll(&ready, 1, ms) == 1;
}

static void alone_at_once(void **state)
{
	struct bench *b = bench(LONG_MS);
	struct backing backing = { .id = 1 };
	struct keep view = KEEP(.held = false);

	(void)state;
	assert_true(release_begin(b->release, &backing, &view.base, &view));
	assert_int_equal(view.freed, 1);
	/* A read-only resource has no dma-buf. */
	assert_true(release_begin(b->release, &backing, NULL, NULL));
	release_now(b->release, &backing, NULL);
	assert_int_equal(release_pending(b->release), 0);
	assert_false(is_readable(b, 0));
	assert_int_equal(b->nr, 0);
	finish(b);
}

/* The ordinary way: some other process handles a message, and it is over. */
static void let_go_soon(void **state)
{
	struct bench *b = bench(LONG_MS);
	struct backing backing = { .id = 1 };
	struct keep view = KEEP(.held = true);
	struct itimerspec timer;

	(void)state;
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	assert_int_equal(release_pending(b->release), 1);
	/* The first look comes within a quarter of a millisecond. */
	assert_int_equal(timerfd_gettime(release_fd(b->release), &timer), 0);
	assert_int_equal(timer.it_value.tv_sec, 0);
	assert_true(timer.it_value.tv_nsec <= 250000);
	turn(b);
	assert_int_equal(view.looks, 2);
	assert_int_equal(view.freed, 0);
	assert_int_equal(b->nr, 0);
	view.held = false;
	turns_until(b, 1);
	assert_true(b->events[0].gone);
	assert_ptr_equal(b->events[0].cookie, &view);
	assert_int_equal(view.freed, 1);
	/* And nothing goes on for it. */
	assert_int_equal(release_pending(b->release), 0);
	assert_int_equal(timerfd_gettime(release_fd(b->release), &timer), 0);
	assert_int_equal(timer.it_value.tv_sec + timer.it_value.tv_nsec, 0);
	finish(b);
}

/* Looking costs: seldom after a while, but not so seldom that it is noticed. */
static void looks_grow_sparse(void **state)
{
	struct bench *b = bench(LONG_MS);
	struct backing backing = { .id = 1 };
	struct keep view = KEEP(.held = true);
	uint64_t start = clock_ms();
	struct itimerspec timer;

	(void)state;
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	while (clock_ms() - start < 300)
		turn(b);
	/* 0.2 ms doubled up to 20 ms: seven looks in 25 ms, then one each 20 ms. */
	assert_in_range(view.looks, 3, 25);
	assert_int_equal(timerfd_gettime(release_fd(b->release), &timer), 0);
	assert_true(timer.it_value.tv_sec == 0 && timer.it_value.tv_nsec <= 20000000);
	view.held = false;
	turns_until(b, 1);
	assert_true(b->events[0].gone);
	finish(b);
}

static void contexts_then_processes_then_patience(void **state)
{
	struct bench *b = bench(SHORT_MS);
	struct backing backing = { .id = 77 };
	struct keep view = KEEP(.held = true, .owner = getpid());
	struct capture c;
	char holder[64];
	unsigned int i;

	(void)state;
	capture_begin();
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	turns_until(b, 6);
	view.held = false;
	turns_until(b, 7);
	capture_end(&c);
	for (i = 0; i < 6; i++) {
		assert_false(b->events[i].gone);
		assert_ptr_equal(b->events[i].backing, &backing);
		/* Only the first time it is the contexts. */
		assert_int_equal(b->events[i].force, i > 0);
		/* Each only after a grace period of its own. */
		assert_true(b->events[i].at + 1 >= b->began + (i + 1) * SHORT_MS);
	}
	assert_true(b->events[6].gone);
	assert_int_equal(view.freed, 1);
	snprintf(holder, sizeof(holder), "held by %d (test_release)", (int)getpid());
	assert_int_equal(captured(&c, "resource 77: "), 3);
	assert_int_equal(captured(&c, holder), 3);
	assert_int_equal(captured(&c, "contexts that had it are ended"), 1);
	assert_int_equal(captured(&c, "processes that have it are ended"), 1);
	assert_int_equal(captured(&c, "as long as it takes"), 1);
	finish(b);
}

static void let_go_at_evict(struct bench *b, const struct event *event)
{
	struct keep *view;

	(void)b;
	if (event->gone)
		return;
	view = (struct keep *)event->backing->view;
	view->held = false;
}

static void eviction_helps(void **state)
{
	struct bench *b = bench(SHORT_MS);
	struct keep view = KEEP(.held = true);
	struct backing backing = { .id = 5, .view = &view.base };
	struct capture c;

	(void)state;
	b->on_event = let_go_at_evict;
	capture_begin();
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	turns_until(b, 2);
	capture_end(&c);
	assert_false(b->events[0].gone);
	assert_false(b->events[0].force);
	assert_true(b->events[1].gone);
	assert_int_equal(captured(&c, "resource 5: "), 1);
	assert_int_equal(captured(&c, "none of our processes"), 1);
	finish(b);
}

static void now_waits(void **state)
{
	struct bench *b = bench(LONG_MS);
	struct backing backing = { .id = 1 };
	struct keep view = KEEP(.held = true, .alone_after = 5);

	(void)state;
	release_now(b->release, &backing, &view.base);
	assert_int_equal(view.looks, 5);
	assert_int_equal(view.freed, 1);
	assert_int_equal(b->nr, 0);
	finish(b);
}

static void let_go_at_force(struct bench *b, const struct event *event)
{
	if (!event->gone && event->force)
		let_go_at_evict(b, event);
}

static void now_evicts(void **state)
{
	struct bench *b = bench(SHORT_MS);
	struct keep view = KEEP(.held = true);
	struct backing backing = { .id = 9, .view = &view.base };
	struct capture c;

	(void)state;
	b->on_event = let_go_at_force;
	capture_begin();
	release_now(b->release, &backing, &view.base);
	capture_end(&c);
	assert_int_equal(view.freed, 1);
	assert_int_equal(b->nr, 2);
	assert_false(b->events[0].force);
	assert_true(b->events[1].force);
	assert_true(b->events[1].at + 1 >= b->began + 2 * SHORT_MS);
	assert_int_equal(captured(&c, "resource 9: "), 2);
	finish(b);
}

/* A reset: what was begun is finished, and gone() is not called for it. */
static void now_takes_over(void **state)
{
	struct bench *b = bench(SHORT_MS);
	struct keep view = KEEP(.held = true), other = KEEP(.held = true);
	struct backing backing = { .id = 9, .view = &view.base };
	struct backing backing2 = { .id = 10, .view = &other.base };
	struct capture c;

	(void)state;
	capture_begin();
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	turns_until(b, 1);
	assert_false(b->events[0].force);
	assert_false(release_begin(b->release, &backing2, &other.base, &other));
	b->on_event = let_go_at_force;
	release_now(b->release, &backing, &view.base);
	assert_int_equal(view.freed, 1);
	/* The contexts were ended already; not again. */
	assert_int_equal(b->nr, 2);
	assert_true(b->events[1].force);
	assert_int_equal(release_pending(b->release), 1);
	other.held = false;
	b->on_event = NULL;
	turns_until(b, 3);
	assert_true(b->events[2].gone);
	assert_ptr_equal(b->events[2].cookie, &other);
	capture_end(&c);
	finish(b);
}

static struct {
	struct keep first, second, third;
	struct backing backings[3];
} nest;

/* The end of the first begins the second and finishes the third. */
static void nested(struct bench *b, const struct event *event)
{
	if (!event->gone || event->cookie != &nest.first)
		return;
	assert_int_equal(nest.first.freed, 1);
	assert_false(release_begin(b->release, &nest.backings[1], &nest.second.base, &nest.second));
	nest.third.held = false;
	release_now(b->release, &nest.backings[2], &nest.third.base);
	nest.second.held = false;
}

static void callbacks_may_nest(void **state)
{
	struct bench *b = bench(LONG_MS);

	(void)state;
	memset(&nest, 0, sizeof(nest));
	nest.first = nest.second = nest.third = KEEP(.held = true);
	b->on_event = nested;
	assert_false(release_begin(b->release, &nest.backings[0], &nest.first.base, &nest.first));
	assert_false(release_begin(b->release, &nest.backings[2], &nest.third.base, &nest.third));
	turn(b);
	nest.first.held = false;
	turns_until(b, 2);
	assert_ptr_equal(b->events[0].cookie, &nest.first);
	assert_ptr_equal(b->events[1].cookie, &nest.second);
	assert_int_equal(nest.third.freed, 1);
	finish(b);
}

/* An eviction that lets the device finish the very view it is about. */
static void finish_at_evict(struct bench *b, const struct event *event)
{
	struct keep *view;

	if (event->gone)
		return;
	view = (struct keep *)event->backing->view;
	view->held = false;
	release_now(b->release, event->backing, &view->base);
}

static void evict_may_finish_it(void **state)
{
	struct bench *b = bench(SHORT_MS);
	struct keep view = KEEP(.held = true);
	struct backing backing = { .id = 3, .view = &view.base };
	struct capture c;

	(void)state;
	b->on_event = finish_at_evict;
	capture_begin();
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	turns_until(b, 1);
	capture_end(&c);
	assert_int_equal(view.freed, 1);
	finish(b);
}

/* Thousands left behind: the ring has its turn in between, and each is looked at. */
static void many_take_turns(void **state)
{
	enum { NR = 1000 };
	struct bench *b = bench(LONG_MS);
	struct keep *views = calloc(NR, sizeof(*views));
	struct backing backing = { .id = 1 };
	unsigned int i, before, looks;

	(void)state;
	assert_non_null(views);
	for (i = 0; i < NR; i++) {
		views[i] = KEEP(.held = true);
		assert_false(release_begin(b->release, &backing, &views[i].base, &views[i]));
	}
	for (before = NR;;) {
		unsigned int seen = NR;

		turn(b);
		for (looks = 0, i = 0; i < NR; i++) {
			looks += views[i].looks;
			seen -= views[i].looks < 2;
		}
		assert_true(looks - before <= 32);
		before = looks;
		if (seen == NR)
			break;
	}
	for (i = 0; i < NR; i++)
		views[i].held = false;
	while (b->nr < NR) {
		before = b->nr;
		turn(b);
		assert_true(b->nr - before <= 32);
	}
	for (i = 0; i < NR; i++)
		assert_int_equal(views[i].freed, 1);
	free(views);
	finish(b);
}

/* A guest can leave any number behind; the log is not its to fill. */
static void log_is_bounded(void **state)
{
	enum { NR = 30 };
	struct keep views[NR];
	struct backing backings[NR] = { 0 };
	struct bench *b = bench(200);
	struct capture c;
	unsigned int i;

	(void)state;
	b->on_event = let_go_at_evict;
	capture_begin();
	for (i = 0; i < NR; i++) {
		views[i] = KEEP(.held = true);
		backings[i] = (struct backing){ .id = i + 1, .view = &views[i].base };
		assert_false(release_begin(b->release, &backings[i], &views[i].base, &views[i]));
	}
	turns_until(b, 2 * NR);
	capture_end(&c);
	/* Two periods, should the machine have been busy. */
	assert_in_range(captured(&c, "still held"), 8, 16);
	assert_in_range(captured(&c, "more are not listed"), 1, 2);
	finish(b);
}

static void closed(struct keep *view)
{
	memory_view_freed *freed = view->closing;

	assert_non_null(freed);
	view->closing = NULL;
	view->freed++;
	freed(view->cookie);
}

/* To close one takes as long as it has pages: gone() comes after that. */
static void closing_takes_a_while(void **state)
{
	struct bench *b = bench(LONG_MS);
	struct backing backing = { .id = 1 };
	struct keep at_once = KEEP(.slow = true), later = KEEP(.slow = true, .held = true);

	(void)state;
	assert_false(release_begin(b->release, &backing, &at_once.base, &at_once));
	assert_int_equal(release_pending(b->release), 1);
	assert_false(is_readable(b, 0));
	assert_false(release_begin(b->release, &backing, &later.base, &later));
	later.held = false;
	while (!later.closing)
		turn(b);
	assert_int_equal(b->nr, 0);
	assert_int_equal(release_pending(b->release), 2);
	closed(&later);
	assert_int_equal(b->nr, 1);
	assert_ptr_equal(b->events[0].cookie, &later);
	closed(&at_once);
	assert_int_equal(b->nr, 2);
	assert_ptr_equal(b->events[1].cookie, &at_once);
	finish(b);
}

/* A reset does not wait for that either, and gone() does not follow. */
static void now_does_not_wait_for_closing(void **state)
{
	struct bench *b = bench(LONG_MS);
	struct backing backing = { .id = 1 };
	struct keep closing = KEEP(.slow = true), alone = KEEP(.slow = true);

	(void)state;
	assert_false(release_begin(b->release, &backing, &closing.base, &closing));
	release_now(b->release, &backing, &closing.base);
	assert_int_equal(closing.disposed, 1);
	assert_int_equal(release_pending(b->release), 0);
	release_now(b->release, &backing, &alone.base);
	assert_int_equal(alone.disposed, 1);
	assert_int_equal(b->nr, 0);
	finish(b);
}

/* What the log has of a view that somebody keeps for a grace period. */
static struct capture log_of_keeper(bool verbose, pid_t owner)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct release_host host = {
		.opaque = b,
		.evict = evict,
		.gone = gone,
		.verbose = verbose,
	};
	struct keep view = KEEP(.held = true, .owner = owner);
	struct backing backing = { .id = 5, .view = &view.base };
	struct capture c;

	assert_non_null(b);
	assert_int_equal(release_new(&host, SHORT_MS, &b->release), 0);
	b->on_event = let_go_at_evict;
	capture_begin();
	assert_false(release_begin(b->release, &backing, &view.base, &view));
	turns_until(b, 2);
	capture_end(&c);
	finish(b);
	return c;
}

/*
 * Who is to be named is looked for among what we have started, which are few, and among
 * all processes of the host only if somebody asks for that.
 */
static void holders_are_looked_for_among_ours(void **state)
{
	char name[32];
	struct capture c;
	pid_t child;
	int status;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		/* Not longer than this test, should it fail. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	snprintf(name, sizeof(name), "held by %d (", (int)child);
	c = log_of_keeper(false, child);
	assert_int_equal(captured(&c, name), 1);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (access("/proc/thread-self/children", R_OK)) {
		print_message("SKIP: this kernel does not tell whose child is whose\n");
		skip();
	}
	/* Whoever has started us is none of ours. */
	c = log_of_keeper(false, getppid());
	assert_int_equal(captured(&c, "held by none of our processes"), 1);
	snprintf(name, sizeof(name), "held by %d (", (int)getppid());
	c = log_of_keeper(true, getppid());
	assert_int_equal(captured(&c, name), 1);
}

static int give_up(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone_at_once),
		cmocka_unit_test(let_go_soon),
		cmocka_unit_test(looks_grow_sparse),
		cmocka_unit_test_teardown(contexts_then_processes_then_patience, give_up),
		cmocka_unit_test_teardown(eviction_helps, give_up),
		cmocka_unit_test(now_waits),
		cmocka_unit_test_teardown(now_evicts, give_up),
		cmocka_unit_test_teardown(now_takes_over, give_up),
		cmocka_unit_test(callbacks_may_nest),
		cmocka_unit_test_teardown(evict_may_finish_it, give_up),
		cmocka_unit_test(many_take_turns),
		cmocka_unit_test_teardown(log_is_bounded, give_up),
		cmocka_unit_test(closing_takes_a_while),
		cmocka_unit_test(now_does_not_wait_for_closing),
		cmocka_unit_test_teardown(holders_are_looked_for_among_ours, give_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
