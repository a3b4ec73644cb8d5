/* SPDX-License-Identifier: MIT */
/*
 * backing: the memory of a resource, and who may still touch it
 *
 * The part of a resource that a renderer sees, whether it is a userptr
 * resource or a guest blob.  Whoever can reach the memory (a running job, a
 * host object made from it) keeps a hold.  The end of a resource is: stop it,
 * tell everybody, give back the hold that backing_stop() took; when the last
 * hold goes, idle() is called, once, and only then may the guest be told that
 * the memory is its own again.
 *
 * Threads: holds belong to the ring thread.  stop is set by it and polled by
 * any thread.  runs, size and readonly do not change while there are holds.
 */
#ifndef BACKING_H
#define BACKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory/run_list.h"

struct memory_view;

/**
 * struct backing - see above
 * @id: the guest's resource id
 * @readonly: nobody may write
 * @size: bytes that may be touched; the runs have at least as many
 * @runs: where the bytes are
 * @stop: no new access; access that is going on ends soon
 * @view: what userptr_view_ops made of a userptr resource that is usable, or NULL
 * @holds: who may touch the memory
 * @idle: stopped and no holds left; may free the backing
 */
struct backing {
	uint32_t id;
	bool readonly;
	uint64_t size;
	struct run_list runs;
	atomic_bool stop;
	struct memory_view *view;
	unsigned int holds;
	void (*idle)(struct backing *backing);
};

static inline bool backing_stopped(const struct backing *backing)
{
	return atomic_load_explicit(&backing->stop, memory_order_relaxed);
}

static inline void backing_hold(struct backing *backing)
{
	backing->holds++;
}

static inline void backing_release(struct backing *backing)
{
	if (!--backing->holds && backing_stopped(backing))
		backing->idle(backing);
}

/* Takes a hold, so that idle() cannot come before the caller is ready for it. */
static inline void backing_stop(struct backing *backing)
{
	backing_hold(backing);
	atomic_store(&backing->stop, true);
}

#endif /* BACKING_H */
