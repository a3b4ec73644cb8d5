// SPDX-License-Identifier: MIT
/*
 * virgl_wait: how long workers are waited for
 *
 * The library's calls wait for a worker as long as it takes; so before each it is
 * made sure that there is room in the worker's socket.  All contexts have one
 * patience: what was waited for one is missing for the next, until it has grown
 * again.
 *
 * Threads: the ring thread only.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <poll.h>

#include "util/clock.h"

/*
 * How long the ring waits for workers to read and to answer: so much at once, and
 * one millisecond more every so many.  A guest can make as many contexts that do
 * not listen as it likes.
 */
#define PATIENCE_MS 2000u
#define PATIENCE_REFILL 5u

/**
 * virgl_init_patience() - all of it
 * @renderer: whose
 */
void virgl_init_patience(struct renderer *renderer)
{
	renderer->patience_ms = PATIENCE_MS;
	renderer->patience_at = clock_ms();
}

/**
 * virgl_patience() - how long a worker may be waited for now
 * @renderer: whose
 *
 * Return: milliseconds.
 */
unsigned int virgl_patience(struct renderer *renderer)
{
	uint64_t now = clock_ms(), more = (now - renderer->patience_at) / PATIENCE_REFILL;

	if (more) {
		renderer->patience_at = now;
		renderer->patience_ms = more < PATIENCE_MS - renderer->patience_ms ?
						renderer->patience_ms + (unsigned int)more :
						PATIENCE_MS;
	}
	return renderer->patience_ms;
}

/**
 * virgl_spend_patience() - it was waited for
 * @renderer: whose patience
 * @since: from then until now, in milliseconds
 */
void virgl_spend_patience(struct renderer *renderer, uint64_t since)
{
	uint64_t now = clock_ms();
	uint64_t spent = now - since;

	renderer->patience_ms -= spent < renderer->patience_ms ? (unsigned int)spent :
								 renderer->patience_ms;
	renderer->patience_at = now;
}

/**
 * virgl_context_has_room() - whether the library can send without having to wait
 * @context: to whose worker
 *
 * The socket takes a packet while it is not full, and is reported writable only
 * while it is mostly empty.  Waits a limited time for that.
 *
 * Return: false if not, and then the context is broken.
 */
bool virgl_context_has_room(struct virgl_context *context)
{
	struct pollfd pollfd = { .fd = context->socket, .events = POLLOUT };
	struct renderer *renderer = context->renderer;
	uint64_t began;
	int ret;

	if (context->state != CONTEXT_RUNS)
		return false;
	if (context->socket < 0)
		return true;
	ret = poll(&pollfd, 1, 0);
	if (!ret) {
		began = clock_ms();
		do {
			ret = poll(&pollfd, 1, (int)virgl_patience(renderer));
		} while (ret < 0 && errno == EINTR);
		virgl_spend_patience(renderer, began);
	}
	if (ret == 1 && !(pollfd.revents & (POLLERR | POLLHUP | POLLNVAL)))
		return true;
	virgl_context_break(context, ret ? "its worker process ended" :
					   "its worker process takes no commands");
	return false;
}
