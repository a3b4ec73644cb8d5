// SPDX-License-Identifier: MIT
/*
 * userptr_complete: what happens when the last byte of a resource was described
 *
 *	HALF_BUILT -> MAKING	the worker sees to it that all pages are there
 *				the view is made, which its ops have the worker do
 *		   -> USABLE	or FAILED; the command is answered
 *
 * Each step is done at once if it is small.  A DESTROY may come meanwhile: then the
 * resource is DYING, what goes on is not begun anew and ends soon, and its end answers
 * first the command that completed it, then the DESTROY.
 *
 * Invariant: a resource with later set has a hold of its own, so it cannot go.
 *
 * Threads: the device's only, but for populate().
 */
#include <stdatomic.h>

#include "gpu/userptr_internal.h"
#include "memory/run_list.h"
#include "util/responses.h"

static uint32_t succeed(struct userptr *userptr)
{
	struct userptr_totals *totals = &userptr->core->totals;

	if (userptr->state != USERPTR_DYING)
		userptr->state = USERPTR_USABLE;
	totals->created++;
	totals->created_bytes += userptr->described;
	totals->created_segments += userptr->nr_received;
	return OK;
}

static uint32_t finish(struct userptr *userptr, uint32_t response)
{
	return response == OK ? succeed(userptr) : userptr_fail(userptr, response);
}

/* The same for a command that was not answered yet; @userptr may be gone then. */
static void finish_later(struct userptr *userptr, uint32_t response)
{
	struct userptr_core *core = userptr->core;

	response = finish(userptr, response);
	userptr->later = false;
	core->host.completed(core->host.opaque, userptr->maker, response);
	backing_release(&userptr->backing);
}

static uint32_t be_later(struct userptr *userptr)
{
	if (!userptr->later)
		backing_hold(&userptr->backing);
	userptr->later = true;
	return USERPTR_LATER;
}

/* ---- the view ---- */

static uint32_t make_view(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;
	void *view = NULL;
	uint32_t ret;

	if (!core->host.view)
		return OK;
	if (backing_stopped(&userptr->backing))
		return ERR_UNSPEC;
	ret = core->host.view->create(core->host.opaque, userptr, userptr->draft, &view);
	if (ret == OK || ret == USERPTR_LATER)
		userptr->draft = NULL;
	if (ret == OK)
		userptr->backing.view = view;
	else if (ret == USERPTR_LATER)
		userptr->pending = view;
	return ret;
}

/**
 * userptr_view_made() - the view that was to come is there
 * @userptr: whose
 * @view: it, or NULL
 * @response: OK, or the error that the guest is to get
 */
void userptr_view_made(struct userptr *userptr, void *view, uint32_t response)
{
	userptr->pending = NULL;
	userptr->backing.view = view;
	finish_later(userptr, response);
}

/* ---- pages ---- */

/* On the worker. */
static void populate(struct worker_job *job)
{
	struct userptr *userptr = (struct userptr *)((char *)job - offsetof(struct userptr, job));

	userptr->missing = run_list_populate(&userptr->backing.runs, &userptr->backing.stop);
}

static uint32_t after_populate(struct userptr *userptr)
{
	if (backing_stopped(&userptr->backing))
		return ERR_UNSPEC;
	return userptr->missing ? ERR_OUT_OF_MEMORY : make_view(userptr);
}

static void was_populated(struct worker_job *job)
{
	struct userptr *userptr = (struct userptr *)((char *)job - offsetof(struct userptr, job));
	uint32_t ret = after_populate(userptr);

	if (ret != USERPTR_LATER)
		finish_later(userptr, ret);
}

uint32_t userptr_complete(struct userptr *userptr, void *cookie)
{
	struct userptr_core *core = userptr->core;
	bool small = userptr->backing.size / USERPTR_ALIGNMENT <= WORKER_SMALL_PAGES;
	uint32_t ret;

	/* No other run will come, and to shrink moves nothing. */
	userptr_trim_runs(core, &userptr->backing.runs);
	userptr->state = USERPTR_MAKING;
	userptr->maker = cookie;
	userptr->job = (struct worker_job){ .run = populate, .done = was_populated };
	if (!core->host.populate)
		ret = make_view(userptr);
	else if (worker_do(core->host.worker, &userptr->job, small))
		ret = after_populate(userptr);
	else
		ret = USERPTR_LATER;
	return ret == USERPTR_LATER ? be_later(userptr) : finish(userptr, ret);
}

void userptr_give_up(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;

	if (!userptr->later)
		return;
	if (userptr->pending)
		core->host.view->abandon(core->host.opaque, userptr, userptr->pending);
	else
		worker_cancel(core->host.worker, &userptr->job);
	userptr->pending = NULL;
	userptr->later = false;
	userptr->backing.holds--;
}
