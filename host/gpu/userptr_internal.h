/* SPDX-License-Identifier: MIT */
/*
 * userptr_internal: what the files of the userptr core share
 *
 *	userptr.c		commands, states, lifetime
 *	userptr_complete.c	what happens when the last byte was described
 *	userptr_runs.c		the budget of runs
 *
 * Nobody else includes this.
 *
 * Threads: the device's only, but for the job of a resource.
 */
#ifndef USERPTR_INTERNAL_H
#define USERPTR_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/userptr.h"
#include "memory/memory_limits.h"
#include "memory/worker.h"
#include "util/id_table.h"
#include "util/quota.h"

/**
 * struct userptr - one resource
 * @backing: what renderers see; first, so that idle() finds the rest
 * @job: to see that its pages are there
 * @core: whose it is
 * @state: see enum userptr_state
 * @described: bytes that the entries so far describe
 * @charged: bytes charged, its size unless it failed
 * @nr_segments: entries that may come at most, says CREATE; 0: it does not say
 * @nr_received: entries that came
 * @draft: what the view will be made of, or NULL
 * @later: the worker is at it, and has a hold for that
 * @missing: the worker found that a page cannot be had: a negative errno, or 0
 * @pending: the view that is being made, or NULL
 * @maker: cookie of the command that completed it
 * @cookie: of the DESTROY that is not answered yet
 */
struct userptr {
	struct backing backing;
	struct worker_job job;
	struct userptr_core *core;
	enum userptr_state state;
	uint64_t described;
	uint64_t charged;
	uint32_t nr_segments;
	uint32_t nr_received;
	void *draft;
	bool later;
	int missing;
	void *pending;
	void *maker;
	void *cookie;
};

/**
 * struct userptr_core - all of them
 * @limits: see there
 * @host: see there
 * @gm: guest memory
 * @table: id to struct userptr
 * @size: the limit of a resource's bytes
 * @segments: the limit of its entries, and of its runs
 * @totals: kept up to date, but for what is counted when asked
 */
struct userptr_core {
	struct userptr_limits limits;
	struct userptr_host host;
	struct guest_memory *gm;
	struct id_table table;
	struct quota size;
	struct quota segments;
	struct userptr_totals totals;
};

/* ---- userptr.c ---- */

/* It fails with this answer, which is returned; one that is dying goes on doing so. */
uint32_t userptr_fail(struct userptr *userptr, uint32_t why);

/* ---- userptr_complete.c ---- */

/* All bytes were described: what is to be answered, or USERPTR_LATER. */
uint32_t userptr_complete(struct userptr *userptr, void *cookie);
/* A reset: nothing is done for it any more, and nobody is told. */
void userptr_give_up(struct userptr *userptr);

/* ---- userptr_runs.c ---- */

/*
 * userptr_append_range() without its populating.  Of a list with @each the limit of runs
 * is that quota's, and named so.
 */
uint32_t userptr_append_runs(struct userptr_core *core, struct run_list *list, uint64_t addr,
			     uint64_t len, struct quota *each);

#endif /* USERPTR_INTERNAL_H */
