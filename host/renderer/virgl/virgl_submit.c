// SPDX-License-Identifier: MIT
/*
 * virgl_submit: submissions, and the fences behind them
 *
 * A submission is checked, given to the library, and answered when the fence that
 * was put behind it is over; one without a fence is answered when it is taken.  If the
 * worker has no room for it now a copy waits (virgl_queue.c).  Invariant: the
 * submissions of a ring are answered in their order, each once.
 *
 * Threads: as renderer_virgl.c says; fences retire on any, and @lock guards what
 * is remembered of them until dispatch().
 */
#include "renderer/virgl/virgl_internal.h"

#include <stdlib.h>
#include <string.h>

/**
 * virgl_fence_retired() - the library says that a fence is over
 * @cookie: the renderer
 * @id: the library's id of the context
 * @ring: of the context
 * @fence: the last of the ring that is over
 *
 * Threads: any.
 */
void virgl_fence_retired(void *cookie, uint32_t id, uint32_t ring, uint64_t fence)
{
	struct renderer *renderer = cookie;
	struct virgl_context *context;

	pthread_mutex_lock(&renderer->lock);
	context = id_table_find(&renderer->by_id, id);
	if (context && ring < MAX_RINGS && fence > context->retired[ring]) {
		context->retired[ring] = fence;
		context->changed |= (uint64_t)1 << ring;
	}
	pthread_mutex_unlock(&renderer->lock);
	virgl_notify(renderer);
}

static void answer_until(struct virgl_context *context, unsigned int ring, uint64_t fence,
			 uint32_t response)
{
	struct submission_list *list = &context->rings[ring];
	struct renderer *renderer = context->renderer;
	struct submission *submission;

	while ((submission = STAILQ_FIRST(list)) && submission->fence <= fence) {
		STAILQ_REMOVE_HEAD(list, link);
		renderer->host.submitted(renderer->host.opaque, submission->cookie, response);
		free(submission);
	}
}

/**
 * virgl_has_retired() - whether a fence is over
 * @context: whose
 * @ring: of it
 * @fence: its number
 *
 * Return: whether it is.
 */
bool virgl_has_retired(struct virgl_context *context, unsigned int ring, uint64_t fence)
{
	uint64_t retired;

	pthread_mutex_lock(&context->renderer->lock);
	retired = context->retired[ring];
	pthread_mutex_unlock(&context->renderer->lock);
	return retired >= fence;
}

/**
 * virgl_answer_retired() - answer what is over
 * @context: whose submissions
 */
void virgl_answer_retired(struct virgl_context *context)
{
	uint64_t retired[MAX_RINGS], changed;
	unsigned int ring;

	pthread_mutex_lock(&context->renderer->lock);
	changed = context->changed;
	context->changed = 0;
	if (changed)
		memcpy(retired, context->retired, sizeof(retired));
	pthread_mutex_unlock(&context->renderer->lock);
	for (ring = 0; ring < MAX_RINGS; ring++)
		if (changed >> ring & 1)
			answer_until(context, ring, retired[ring], OK);
}

/**
 * virgl_answer_failed() - answer all that is left, of all rings
 * @context: nothing of it runs any more
 */
void virgl_answer_failed(struct virgl_context *context)
{
	unsigned int ring;

	for (ring = 0; ring < MAX_RINGS; ring++)
		answer_until(context, ring, UINT64_MAX, ERR_UNSPEC);
}

static uint32_t check_submission(const struct virgl_context *context,
				 const struct renderer_submission *submission)
{
	if (context->state != CONTEXT_RUNS)
		return ERR_UNSPEC;
	if (submission->size % 4 || submission->ring >= MAX_RINGS || submission->size > INT32_MAX)
		return ERR_INVALID_PARAMETER;
	if (context->capset == CAPSET_VENUS && submission->size > context->max_packet)
		return ERR_OUT_OF_MEMORY;
	return OK;
}

/*
 * Give it to the library, which wants it aligned, and for which there is room.  0 or an
 * error to answer.
 */
static uint32_t execute(struct virgl_context *context, const void *stream, size_t size)
{
	void *copy = NULL, *data = (void *)stream;
	uint32_t ret = OK;
	int err;

	if (context->capset == CAPSET_DRM)
		ret = drm_guard_check(&context->guard, stream, size);
	if (ret != OK)
		return ret;
	if ((uintptr_t)data % 8 && size) {
		copy = malloc(size);
		if (!copy)
			return ERR_OUT_OF_MEMORY;
		data = memcpy(copy, data, size);
	}
	err = virgl_renderer_submit_cmd(data, (int)context->id, (int)(size / 4));
	free(copy);
	if (err) {
		/*
		 * How much of it was executed nobody knows.  A native context of the
		 * library must not be given another command then: an answer of the
		 * failed one can be left over, and goes where the next one says.
		 */
		virgl_context_break(context, "a command stream failed");
		return ERR_UNSPEC;
	}
	context->sent++;
	context->renderer->jobs++;
	drm_guard_executed(&context->guard, stream, size);
	return 0;
}

/*
 * A fence behind what was executed, for which there is room; if that fails all ends,
 * which answers it too.
 */
static void add_fence(struct virgl_context *context, uint8_t ring, struct submission *submission)
{
	uint32_t on = drm_guard_fence_ring(&context->guard, ring);

	submission->fence = ++context->renderer->last_fence;
	STAILQ_INSERT_TAIL(&context->rings[on], submission, link);
	context->sent++;
	if (virgl_renderer_context_create_fence(context->id, 0, on, submission->fence))
		virgl_context_break(context, "a fence failed");
}

static void answer(struct virgl_context *context, struct submission *submission, uint32_t response)
{
	struct renderer *renderer = context->renderer;

	if (submission)
		renderer->host.submitted(renderer->host.opaque, submission->cookie, response);
	free(submission);
}

static void item_is_over(struct virgl_context *context, struct virgl_item *item, uint32_t response)
{
	struct submission *submission = item->submission;

	item->submission = NULL;
	virgl_queue_remove(context, item);
	virgl_item_free(item);
	answer(context, submission, response);
}

/**
 * virgl_submit_step() - give a queued command stream to the library
 * @context: whose
 * @item: first in its queue
 *
 * Return: what became of it; its fence is the next step.
 */
enum virgl_step virgl_submit_step(struct virgl_context *context, struct virgl_item *item)
{
	uint32_t ret;

	if (!virgl_context_has_room(context))
		return STEP_FULL;
	ret = execute(context, item->data, item->size);
	/* It stays for who ends the context. */
	if (context->state != CONTEXT_RUNS)
		return STEP_BUSY;
	if (ret || !item->fenced)
		item_is_over(context, item, ret ? ret : OK);
	else
		item->kind = ITEM_FENCE;
	return STEP_DONE;
}

/**
 * virgl_fence_step() - put a fence behind a command stream that was sent
 * @context: whose
 * @item: first in its queue
 *
 * Return: what became of it.
 */
enum virgl_step virgl_fence_step(struct virgl_context *context, struct virgl_item *item)
{
	struct submission *submission = item->submission;

	if (!virgl_context_has_room(context))
		return STEP_FULL;
	item->submission = NULL;
	add_fence(context, item->ring, submission);
	item_is_over(context, item, OK);
	return STEP_DONE;
}

/* A copy of it goes to the queue, without the stream if that was sent.  0 or an error. */
static uint32_t queue_submission(struct virgl_context *context,
				 const struct renderer_submission *work,
				 struct submission *submission, bool sent)
{
	size_t size = sent ? 0 : work->size;
	struct virgl_item *item;

	if (!virgl_queue_takes(context, size))
		return ERR_UNSPEC;
	item = virgl_item_new(sent ? ITEM_FENCE : ITEM_SUBMIT, size);
	if (!item)
		return ERR_OUT_OF_MEMORY;
	item->submission = submission;
	item->fenced = work->fenced;
	item->ring = work->ring;
	if (size)
		memcpy(item->data, work->data, size);
	virgl_queue_add(context, item);
	virgl_queue_run(context);
	return 0;
}

/* The fence of what was just executed, now or when there is room. */
static void fence_or_queue(struct virgl_context *context, const struct renderer_submission *work,
			   struct submission *submission)
{
	if (virgl_context_has_room(context)) {
		add_fence(context, work->ring, submission);
		return;
	}
	if (context->state == CONTEXT_RUNS && !queue_submission(context, work, submission, true))
		return;
	/* It was executed: it cannot be refused any more, and is answered as all ends. */
	virgl_context_break(context, "a fence failed");
	submission->fence = ++context->renderer->last_fence;
	STAILQ_INSERT_TAIL(&context->rings[work->ring], submission, link);
}

/* Whether its answer says what became of it, and not only that it was taken. */
static bool answered_when_over(const struct virgl_context *context,
			       const struct renderer_submission *work)
{
	/* What a native context refuses shows only when it is executed. */
	return work->fenced || context->capset == CAPSET_DRM;
}

/**
 * virgl_submit() - see struct renderer_ops
 * @renderer: it
 * @base: the context
 * @work: what to execute
 * @cookie: for submitted()
 *
 * Return: 0 or the error to answer.
 */
uint32_t virgl_submit(struct renderer *renderer, struct renderer_context *base,
		      const struct renderer_submission *work, void *cookie)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct submission *submission = NULL;
	uint32_t ret = check_submission(context, work);
	bool now;

	if (ret != OK)
		return ret;
	now = !context->nr_queued && virgl_context_has_room(context);
	if (work->fenced || (!now && answered_when_over(context, work))) {
		submission = calloc(1, sizeof(*submission));
		if (!submission)
			return ERR_OUT_OF_MEMORY;
		submission->cookie = cookie;
	}
	ret = now ? execute(context, work->data, work->size) :
		    queue_submission(context, work, submission, false);
	if (ret) {
		free(submission);
		return ret;
	}
	if (!submission)
		renderer->host.submitted(renderer->host.opaque, cookie, OK);
	else if (now)
		fence_or_queue(context, work, submission);
	return 0;
}
