// SPDX-License-Identifier: MIT
/*
 * events: what the kernel says was taken back, and telling it to the client
 *
 * There is no thread: a client polls one descriptor, and calls.  Behind it are the
 * node, for events, and a timer, which is set when a look-up has found something that
 * a client is to be told of, and goes while there are resources without events (a
 * file has room for 128): those are asked after.
 *
 * Nothing depends on when events are read but how soon a client knows.  What an event
 * says is checked: a handle may have been closed, and be another resource's, by the
 * time that somebody looks at the event.
 *
 * Locking: &virtgpu_userptr.reading for as long as events are read, so that they are
 * handled in their order; &virtgpu_userptr.lock inside it.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

#include "context.h"
#include "error.h"

/* How long a resource without an event may be gone before that is noticed. */
#define ASK_EVERY_NS (100 * 1000 * 1000)

/* As much as a file has room for. */
#define EVENT_BYTES 4096

static void set_timer(struct virtgpu_userptr *ctx, long ns)
{
	struct itimerspec when = { .it_value = { .tv_nsec = ns } };

	if (ctx->timer_fd >= 0)
		timerfd_settime(ctx->timer_fd, 0, &when, NULL);
}

/**
 * events_wake() - there is something to tell
 * @ctx: context; the lock is held
 */
void events_wake(struct virtgpu_userptr *ctx)
{
	ctx->asking = true;
	set_timer(ctx, 1);
}

/**
 * events_ask_later() - see to it that entries without events are asked after
 * @ctx: context; the lock is held
 */
void events_ask_later(struct virtgpu_userptr *ctx)
{
	if (ctx->asking || TAILQ_EMPTY(&ctx->eventless))
		return;
	ctx->asking = true;
	set_timer(ctx, ASK_EVERY_NS);
}

static void handle_revoked(struct virtgpu_userptr *ctx,
			   const struct drm_virtgpu_event_userptr *event)
{
	struct entry *entry;
	uint32_t state;

	TAILQ_FOREACH(entry, &ctx->evented, watch) {
		if (entry->bo.handle != event->bo_handle || entry->bo.res != event->res_handle)
			continue;
		if (!ctx->ops->state(ctx->fd, entry->bo.handle, false, &state) &&
		    state != VIRTGPU_USERPTR_STATE_LIVE)
			entry_gone(ctx, entry);
		return;
	}
}

static int handle(struct virtgpu_userptr *ctx, const struct drm_event *event)
{
	struct drm_virtgpu_event_userptr copy;

	if (event->type != VIRTGPU_EVENT_USERPTR_REVOKED || event->length < sizeof(copy))
		return 0;
	memcpy(&copy, event, sizeof(copy));
	context_lock(ctx);
	handle_revoked(ctx, &copy);
	context_unlock(ctx);
	return 1;
}

/* Tell the client of one range after the other. */
static int tell(struct virtgpu_userptr *ctx)
{
	struct virtgpu_userptr_reg reg;
	struct range *range;
	int told = 0;

	context_lock(ctx);
	while ((range = TAILQ_FIRST(&ctx->pending))) {
		TAILQ_REMOVE(&ctx->pending, range, pending);
		range->untold = false;
		range->telling = true;
		reg = range->reg;
		context_unlock(ctx);
		ctx->options.revoked(ctx->options.data, &reg);
		told++;
		context_lock(ctx);
		range_free(ctx, range);
	}
	context_unlock(ctx);
	return told;
}

/* The timer has done what it was set for; what is left needs it again. */
static void look(struct virtgpu_userptr *ctx)
{
	context_lock(ctx);
	set_timer(ctx, 0);
	ctx->asking = false;
	entry_ask(ctx, UINT32_MAX);
	events_ask_later(ctx);
	context_unlock(ctx);
}

static int read_events(struct virtgpu_userptr *ctx)
{
	/* As the kernel writes them: each begins where its 64-bit fields may. */
	uint64_t buffer[EVENT_BYTES / sizeof(uint64_t)];
	const struct drm_event *event;
	ssize_t got, at;

	for (;;) {
		got = ctx->ops->read_events(ctx->fd, buffer, sizeof(buffer));
		if (got <= 0)
			return got;
		for (at = 0; at + (ssize_t)sizeof(*event) <= got; at += event->length) {
			event = (const void *)((const char *)buffer + at);
			if (event->length < sizeof(*event) || event->length > got - at)
				return error_set(-EPROTO,
						 "the kernel sent an event without an end");
			if (!handle(ctx, event) && ctx->options.event)
				ctx->options.event(ctx->options.data, event);
		}
	}
}

int virtgpu_userptr_get_fd(struct virtgpu_userptr *ctx)
{
	int ret = context_check(ctx);

	return ret ? ret : ctx->poll_fd;
}

int virtgpu_userptr_dispatch(struct virtgpu_userptr *ctx)
{
	int ret = context_check(ctx);

	if (ret)
		return ret;
	/* Who is here already reads what there is. */
	if (!pthread_mutex_trylock(&ctx->reading)) {
		ret = read_events(ctx);
		pthread_mutex_unlock(&ctx->reading);
	}
	if (ret < 0)
		return error_set(ret, "the events of the node cannot be read: %s", strerror(-ret));
	look(ctx);
	return tell(ctx);
}

int virtgpu_userptr_handle_event(struct virtgpu_userptr *ctx, const struct drm_event *event)
{
	int ret = context_check(ctx);

	if (ret)
		return ret;
	ret = handle(ctx, event);
	look(ctx);
	tell(ctx);
	return ret;
}
