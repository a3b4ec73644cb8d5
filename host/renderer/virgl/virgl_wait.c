// SPDX-License-Identifier: MIT
/*
 * virgl_wait: how long a worker is waited for
 *
 * By whom makes the difference.  What waits in a context's queue keeps nobody but the
 * context, so it may wait as long as anything moves: the worker reads, or computes.
 * Only where nothing has moved for long the context is ended, so that what others have
 * from it comes back.
 *
 * A call that waits for a worker's answer keeps everybody.  So each context has a
 * patience that such calls use up, and that grows again; one that uses it up at once is
 * ended.  A new one has little, since a guest can make as many as it likes.  All of
 * them have one together, too, and while that is less than a context's own its call
 * has to wait: the ring thread waits for workers for a part of its time and no more,
 * and no context is ended for what others have used up.
 *
 * Threads: the ring thread only.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "util/clock.h"

/* One millisecond of patience more every so many. */
#define REFILL 5u
#define TICK_MS 100u
#define STALL_MS 10000u
/* What a worker does on its own while it has nothing to do is less in a tick. */
#define BUSY_NS 2000000u

/**
 * virgl_init_patience() - how much there is
 * @patience: to be filled in
 * @ms: at the beginning
 * @max: at most
 */
void virgl_init_patience(struct virgl_patience *patience, unsigned int ms, unsigned int max)
{
	*patience = (struct virgl_patience){ .ms = ms, .max = max, .at = clock_ms() };
}

/**
 * virgl_patience() - how long somebody may be waited for now
 * @patience: whose
 *
 * Return: milliseconds.
 */
unsigned int virgl_patience(struct virgl_patience *patience)
{
	uint64_t now = clock_ms(), more = (now - patience->at) / REFILL;

	if (more) {
		patience->at = now;
		patience->ms = more < patience->max - patience->ms ?
				       patience->ms + (unsigned int)more :
				       patience->max;
	}
	return patience->ms;
}

/**
 * virgl_spend_patience() - it was waited for
 * @patience: whose
 * @since: from then until now, in milliseconds
 */
void virgl_spend_patience(struct virgl_patience *patience, uint64_t since)
{
	uint64_t now = clock_ms(), spent = now - since;

	patience->ms -= spent < patience->ms ? (unsigned int)spent : patience->ms;
	patience->at = now;
}

/**
 * virgl_context_has_room() - whether the library can send without having to wait
 * @context: to whose worker
 *
 * The socket takes a packet while it is not full, and is reported writable only
 * while it is mostly empty.
 *
 * Return: false if not; if the worker is gone the context is broken then.
 */
bool virgl_context_has_room(struct virgl_context *context)
{
	struct pollfd pollfd = { .fd = context->socket, .events = POLLOUT };
	int ret;

	if (context->state != CONTEXT_RUNS)
		return false;
	if (context->socket < 0)
		return true;
	do {
		ret = poll(&pollfd, 1, 0);
	} while (ret < 0 && errno == EINTR);
	if (ret == 1 && pollfd.revents & (POLLERR | POLLHUP | POLLNVAL)) {
		virgl_context_break(context, "its worker process ended");
		return false;
	}
	return ret == 1;
}

/**
 * virgl_context_unread() - what its worker has not read yet
 * @context: whose
 *
 * Return: bytes, with what it takes to keep them.
 */
int virgl_context_unread(const struct virgl_context *context)
{
	int bytes = 0;

	if (context->socket < 0 || ioctl(context->socket, SIOCOUTQ, &bytes))
		return 0;
	return bytes;
}

/* What the worker has computed; 0 if that cannot be had. */
static uint64_t cpu_time(const struct virgl_context *context)
{
	struct timespec time;
	clockid_t clock;

	/* The id is its own as long as its end was not seen. */
	if (context->worker < 0 || clock_getcpuclockid(context->worker_pid, &clock) ||
	    clock_gettime(clock, &time))
		return 0;
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Whether anything of it has moved since the last look. */
static bool moves(struct virgl_context *context)
{
	int unread = virgl_context_unread(context);
	uint64_t cpu_ns = cpu_time(context);
	bool moved = unread != context->unread || cpu_ns - context->cpu_ns > BUSY_NS;

	context->unread = unread;
	context->cpu_ns = cpu_ns;
	return moved;
}

static void check_stall(struct virgl_context *context, unsigned int passed)
{
	if (moves(context) || context->step == STEP_OTHER)
		context->stalled_ms = 0;
	else
		context->stalled_ms += passed;
	if (context->stalled_ms > STALL_MS)
		virgl_context_break(context, "its worker process does not go on");
}

/**
 * virgl_open_tick() - make the timer
 * @renderer: whose
 *
 * Return: 0 or a negative errno.
 */
int virgl_open_tick(struct renderer *renderer)
{
	int err;

	renderer->tick = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (renderer->tick < 0)
		return -errno;
	err = virgl_watch(renderer, renderer->tick);
	if (err)
		close(renderer->tick);
	return err;
}

/**
 * virgl_set_tick() - let the timer run, or not
 * @renderer: whose
 * @on: run
 */
void virgl_set_tick(struct renderer *renderer, bool on)
{
	struct itimerspec spec = { .it_interval.tv_nsec = on ? TICK_MS * 1000000 : 0,
				   .it_value.tv_nsec = on ? TICK_MS * 1000000 : 0 };

	renderer->ticked_at = clock_ms();
	timerfd_settime(renderer->tick, 0, &spec, NULL);
}

/**
 * virgl_tick() - the timer went off
 * @renderer: whose
 */
void virgl_tick(struct renderer *renderer)
{
	uint64_t now = clock_ms(), passed = now - renderer->ticked_at, count;
	struct virgl_context *context;

	if (read(renderer->tick, &count, sizeof(count)) < 0)
		return;
	renderer->ticked_at = now;
	/* When this process did not run the workers may not have run either. */
	if (passed > 2 * TICK_MS)
		passed = 2 * TICK_MS;
	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->nr_queued && context->state == CONTEXT_RUNS)
			check_stall(context, (unsigned int)passed);
}
