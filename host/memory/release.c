// SPDX-License-Identifier: MIT
/*
 * release: waiting for the last one who has a view, without stopping the ring
 *
 * Nothing tells when the last reference on a dma-buf goes, so it is asked for, quickly
 * at first: the ordinary release is over as soon as another process has handled
 * one message.  Then less often, and never for more than CHECKS_AT_ONCE views at a
 * time, so that a guest that leaves thousands behind cannot keep the ring thread
 * busy with them.  A view that is being waited for passes through three stages,
 * each a grace period long; the last has no end, because to end it would be to
 * tell the guest something that is not true.
 *
 * A view that is alone is closed, which the worker may be long at.
 *
 * Invariant: every view is on one of the lists once, and the timer is set for the
 * earliest check of a pending one.  A callback may begin or finish any release, its own
 * included: nothing is kept across one.
 *
 * Threads: the device's only.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "memory/backing.h"
#include "memory/holders.h"
#include "memory/release.h"
#include "memory/view.h"
#include "util/clock.h"
#include "util/log.h"

#define MS UINT64_C(1000000)
#define FIRST_CHECK (MS / 5)
#define SLOWEST_CHECK (20 * MS)
/* How many views are looked at before the ring has its turn again, and when it goes on. */
#define CHECKS_AT_ONCE 32
#define BREATH MS
/* Lines in the log in one grace period: a guest can leave any number of views behind. */
#define LINES_PER_GRACE 8

/**
 * enum stage - what was done about a view that others have
 * @STAGE_ASKED: they were told to let it go, before release began
 * @STAGE_CONTEXTS: the contexts were ended
 * @STAGE_PROCESSES: the processes were ended, and are again with every grace period
 * @STAGE_FOREVER: the same, and it was said that there is nothing else to do
 */
enum stage {
	STAGE_ASKED,
	STAGE_CONTEXTS,
	STAGE_PROCESSES,
	STAGE_FOREVER,
};

/**
 * struct wait - for one view
 * @backing: whose it is
 * @view: what others may still have
 * @stage: see there
 * @deadline: of this stage
 * @interval: until the next check
 * @next: when that is
 */
struct wait {
	struct backing *backing;
	struct memory_view *view;
	enum stage stage;
	uint64_t deadline;
	uint64_t interval;
	uint64_t next;
};

/**
 * struct pending - a view that the ring does not wait for
 * @link: in release.pending, or, once it is alone, in release.closing
 * @release: whose it is
 * @wait: it
 * @cookie: for gone()
 */
struct pending {
	TAILQ_ENTRY(pending) link;
	struct release *release;
	struct wait wait;
	void *cookie;
};

TAILQ_HEAD(pending_list, pending);

/**
 * struct release - all of them
 * @host: see there
 * @grace: nanoseconds, not 0
 * @timer: timerfd
 * @pending: the ones looked at longest ago come first
 * @closing: those that are alone, and are being closed
 * @nr: of both
 * @lines: what the log has had since @lines_since
 * @lines_since: see @lines
 */
struct release {
	struct release_host host;
	uint64_t grace;
	int timer;
	struct pending_list pending;
	struct pending_list closing;
	unsigned int nr;
	unsigned int lines;
	uint64_t lines_since;
};

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / (1000 * MS)),
		.tv_nsec = (long)(ns % (1000 * MS)),
	};
}

static void log_held(struct release *release, const struct wait *wait, const char *what)
{
	uint64_t now = clock_ns();
	char holders[256] = "others";

	if (!release->lines || now - release->lines_since >= release->grace) {
		release->lines = 0;
		release->lines_since = now;
	}
	if (release->lines >= LINES_PER_GRACE)
		return;
	/* To find out who takes its time: for the first one. */
	if (!release->lines++ || release->host.verbose)
		name_holders(wait->view, release->host.verbose, holders, sizeof(holders));
	log_error("resource %u: the guest wants its memory back, it is still held by %s: %s%s",
		  wait->backing->id, holders, what,
		  release->lines == LINES_PER_GRACE ? " (more are not listed for now)" : "");
}

/* One view */

static void wait_init(const struct release *release, struct wait *wait, struct backing *backing,
		      struct memory_view *view)
{
	uint64_t now = clock_ns();

	*wait = (struct wait){
		.backing = backing,
		.view = view,
		.stage = STAGE_ASKED,
		.deadline = now + release->grace,
		.interval = FIRST_CHECK,
		.next = now + FIRST_CHECK,
	};
}

/* It was looked at and is not alone: when again? */
static void wait_again(struct wait *wait)
{
	wait->interval = wait->interval * 2 < SLOWEST_CHECK ? wait->interval * 2 : SLOWEST_CHECK;
	wait->next = clock_ns() + wait->interval;
}

/*
 * If the grace period is over, go on to the next stage.  This calls the host,
 * after which @wait may be gone.
 */
static void wait_escalate(struct release *release, struct wait *wait)
{
	struct backing *backing = wait->backing;
	uint64_t now = clock_ns();
	bool force;

	if (now < wait->deadline)
		return;
	/* What is done now may have an effect at once. */
	wait->deadline = now + release->grace;
	wait->interval = FIRST_CHECK;
	wait->next = now + FIRST_CHECK;
	switch (wait->stage) {
	case STAGE_ASKED:
		wait->stage = STAGE_CONTEXTS;
		log_held(release, wait, "the contexts that had it are ended");
		break;
	case STAGE_CONTEXTS:
		wait->stage = STAGE_PROCESSES;
		log_held(release, wait, "the processes that have it are ended");
		break;
	case STAGE_PROCESSES:
		wait->stage = STAGE_FOREVER;
		log_held(release, wait,
			 "the guest waits for it as long as it takes, and keeps its pages so long");
		break;
	case STAGE_FOREVER:
		break;
	}
	force = wait->stage != STAGE_CONTEXTS;
	release->host.evict(release->host.opaque, backing, force);
}

/* Wait for it here. */
static void wait_out(struct release *release, struct wait *wait)
{
	while (!memory_view_alone(wait->view)) {
		struct timespec next;

		wait_again(wait);
		next = timespec_of(wait->next);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		wait_escalate(release, wait);
	}
}

/* All of them */

/* Set the timer for the earliest check, but not before @from. */
static void set_timer(struct release *release, uint64_t from)
{
	struct itimerspec when = { 0 };
	uint64_t next = UINT64_MAX;
	struct pending *pending;

	TAILQ_FOREACH(pending, &release->pending, link)
		if (pending->wait.next < next)
			next = pending->wait.next;
	if (next != UINT64_MAX)
		when.it_value = timespec_of(next > from ? next : from);
	/* Fails only for a bad descriptor or time. */
	if (timerfd_settime(release->timer, TFD_TIMER_ABSTIME, &when, NULL))
		log_error("release timer: %s", strerror(errno));
}

static struct pending *find_pending(struct pending_list *list, const struct memory_view *view)
{
	struct pending *pending;

	TAILQ_FOREACH(pending, list, link)
		if (pending->wait.view == view)
			break;
	return pending;
}

static void forget(struct pending_list *list, struct pending *pending)
{
	TAILQ_REMOVE(list, pending, link);
	pending->release->nr--;
	free(pending);
}

/* The worker has closed it. */
static void was_closed(void *opaque)
{
	struct pending *pending = opaque;
	struct release *release = pending->release;
	void *cookie = pending->cookie;

	forget(&release->closing, pending);
	release->host.gone(release->host.opaque, cookie);
}

/* It is alone.  True: it is closed, and forgotten; false: was_closed() follows. */
static bool pending_close(struct pending *pending)
{
	struct memory_view *view = pending->wait.view;
	struct release *release = pending->release;

	TAILQ_INSERT_TAIL(&release->closing, pending, link);
	if (!view->ops->free(view, was_closed, pending))
		return false;
	forget(&release->closing, pending);
	return true;
}

/**
 * release_new() - see the header
 * @host: callbacks; copied
 * @grace_ms: how long each stage is; 0 counts as 1
 * @out: it
 *
 * Return: 0 or a negative errno.
 */
int release_new(const struct release_host *host, unsigned int grace_ms, struct release **out)
{
	struct release *release = calloc(1, sizeof(*release));
	int err;

	if (!release)
		return -ENOMEM;
	release->host = *host;
	release->grace = (grace_ms ? grace_ms : 1) * MS;
	TAILQ_INIT(&release->pending);
	TAILQ_INIT(&release->closing);
	release->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (release->timer < 0) {
		err = -errno;
		free(release);
		return err;
	}
	*out = release;
	return 0;
}

/**
 * release_free() - the other end of release_new()
 * @release: nothing pending; may be NULL
 */
void release_free(struct release *release)
{
	if (!release)
		return;
	assert(!release->nr);
	close(release->timer);
	free(release);
}

/**
 * release_begin() - give up a view
 * @release: all of them
 * @backing: idle; lives until gone()
 * @view: of @backing; NULL is alone
 * @cookie: for gone()
 *
 * Return: true if @view is freed, false if gone() follows.
 */
bool release_begin(struct release *release, struct backing *backing, struct memory_view *view,
		   void *cookie)
{
	struct pending *pending;
	struct wait wait;

	if (!view)
		return true;
	pending = malloc(sizeof(*pending));
	if (!pending) {
		/* The device has to wait then: later is better than wrong. */
		wait_init(release, &wait, backing, view);
		wait_out(release, &wait);
		return view->ops->free(view, NULL, NULL);
	}
	pending->release = release;
	pending->cookie = cookie;
	release->nr++;
	wait_init(release, &pending->wait, backing, view);
	if (memory_view_alone(view))
		return pending_close(pending);
	TAILQ_INSERT_TAIL(&release->pending, pending, link);
	set_timer(release, 0);
	return false;
}

/**
 * release_now() - give up a view before returning
 * @release: all of them
 * @backing: idle; its runs are taken
 * @view: of @backing, pending or not; NULL is alone
 */
void release_now(struct release *release, struct backing *backing, struct memory_view *view)
{
	struct pending *pending = find_pending(&release->closing, view);
	struct wait wait;

	if (!view)
		return;
	if (pending) {
		forget(&release->closing, pending);
		view->ops->dispose(view, &backing->runs);
		return;
	}
	wait_init(release, &wait, backing, view);
	pending = find_pending(&release->pending, view);
	if (pending) {
		/* Where it stands, it goes on. */
		wait = pending->wait;
		forget(&release->pending, pending);
		set_timer(release, 0);
	}
	wait_out(release, &wait);
	view->ops->dispose(view, &backing->runs);
}

/**
 * release_fd() - what to poll for
 * @release: all of them
 *
 * Return: a descriptor, readable when release_dispatch() is due.
 */
int release_fd(const struct release *release)
{
	return release->timer;
}

/* The pending view that is due and was looked at longest ago, or NULL. */
static struct pending *next_due(struct release *release, uint64_t now)
{
	struct pending *pending;

	TAILQ_FOREACH(pending, &release->pending, link)
		if (pending->wait.next <= now)
			return pending;
	return NULL;
}

/**
 * release_dispatch() - look at the views that are due
 * @release: all of them
 */
void release_dispatch(struct release *release)
{
	uint64_t now = clock_ns(), ticks;
	struct pending *pending;
	unsigned int i;
	void *cookie;

	/* How often it ran off says nothing; that it may not have, neither. */
	if (read(release->timer, &ticks, sizeof(ticks)) < 0)
		ticks = 0;
	for (i = 0; i < CHECKS_AT_ONCE && (pending = next_due(release, now)); i++) {
		if (memory_view_alone(pending->wait.view)) {
			TAILQ_REMOVE(&release->pending, pending, link);
			cookie = pending->cookie;
			if (pending_close(pending))
				release->host.gone(release->host.opaque, cookie);
			continue;
		}
		/* Behind those that wait for their turn. */
		TAILQ_REMOVE(&release->pending, pending, link);
		TAILQ_INSERT_TAIL(&release->pending, pending, link);
		wait_again(&pending->wait);
		wait_escalate(release, &pending->wait);
	}
	set_timer(release, i == CHECKS_AT_ONCE ? clock_ns() + BREATH : 0);
}

/**
 * release_pending() - how many are waited for
 * @release: all of them
 *
 * Return: gone() follows for that many.
 */
unsigned int release_pending(const struct release *release)
{
	return release->nr;
}
