// SPDX-License-Identifier: MIT
/*
 * virgl_submit: submissions, and the fences behind them
 *
 * A submission is checked, given to the library, and answered when the fence that
 * was put behind it is over.  Invariant: the submissions of a ring are answered in
 * their order, each once.
 *
 * Threads: as renderer_virgl.c says; fences retire on any, and @lock guards what
 * is remembered of them until dispatch().
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
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
	if (context->capset == CAPSET_DRM)
		return drm_guard_check(&context->guard, submission->data, submission->size);
	return submission->size <= context->max_packet ? OK : ERR_OUT_OF_MEMORY;
}

/* Give it to the library, which wants it aligned.  0 or an error to answer. */
static uint32_t execute(struct virgl_context *context, const struct renderer_submission *submission)
{
	void *copy = NULL, *data = (void *)submission->data;
	int err;

	if ((uintptr_t)data % 8 && submission->size) {
		copy = malloc(submission->size);
		if (!copy)
			return ERR_OUT_OF_MEMORY;
		data = memcpy(copy, data, submission->size);
	}
	err = virgl_context_has_room(context) ?
		      virgl_renderer_submit_cmd(data, (int)context->id,
						(int)(submission->size / 4)) :
		      -EIO;
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
	context->renderer->jobs++;
	drm_guard_executed(&context->guard, submission->data, submission->size);
	return 0;
}

/* A fence behind what was executed; if that fails all ends, which answers it too. */
static void add_fence(struct virgl_context *context, uint32_t ring, struct submission *submission)
{
	submission->fence = ++context->renderer->last_fence;
	STAILQ_INSERT_TAIL(&context->rings[ring], submission, link);
	if (!virgl_context_has_room(context))
		return;
	if (virgl_renderer_context_create_fence(context->id, 0, ring, submission->fence))
		virgl_context_break(context, "a fence failed");
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

	if (ret != OK)
		return ret;
	if (work->fenced) {
		submission = calloc(1, sizeof(*submission));
		if (!submission)
			return ERR_OUT_OF_MEMORY;
		submission->cookie = cookie;
	}
	ret = execute(context, work);
	if (ret) {
		free(submission);
		return ret;
	}
	if (submission)
		add_fence(context, drm_guard_fence_ring(&context->guard, work->ring), submission);
	else
		renderer->host.submitted(renderer->host.opaque, cookie, OK);
	return 0;
}
