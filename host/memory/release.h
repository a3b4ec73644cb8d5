/* SPDX-License-Identifier: MIT */
/*
 * release: a view is given up only when nobody else can reach its memory
 *
 * Between the end of a userptr resource for the guest (stopped, detached, no
 * holds) and the answer to its DESTROY: waits, without stopping the ring, until
 * its alone().  After the grace period the contexts that hold it are
 * ended, after another the processes that have it; then it goes on waiting and
 * says so, for an answer that is not true must not be given.
 *
 * Threads: the device's only.
 */
#ifndef RELEASE_H
#define RELEASE_H

#include <stdbool.h>

struct backing;
struct memory_view;
struct release;

/**
 * struct release_host - what it asks of the device
 * @opaque: first argument
 * @evict: see struct renderer_ops
 * @gone: the view is freed; the resource can go (@cookie of release_begin())
 * @verbose: take the time to name everybody who has what should be given back
 */
struct release_host {
	void *opaque;
	void (*evict)(void *opaque, struct backing *backing, bool force);
	void (*gone)(void *opaque, void *cookie);
	bool verbose;
};

/* 0 or a negative errno. */
int release_new(const struct release_host *host, unsigned int grace_ms, struct release **out);
/* Nothing may be pending. */
void release_free(struct release *release);
/*
 * Give up @view, of @backing.  True: it is freed.  False: gone() follows, from
 * release_dispatch() or worker_dispatch(); @backing must live until then.  A view that is
 * NULL (not every resource needs one) is given up at once.
 */
bool release_begin(struct release *release, struct backing *backing, struct memory_view *view,
		   void *cookie);
/*
 * The same, but nobody can reach @view on return, and gone() does not follow; also for
 * a view that release_begin() was called with.  The view and the runs of @backing are
 * closed later.  It evicts as release_begin() does, and like it has no end if nothing
 * helps.
 */
void release_now(struct release *release, struct backing *backing, struct memory_view *view);
/* Readable when release_dispatch() has something to do. */
int release_fd(const struct release *release);
void release_dispatch(struct release *release);
unsigned int release_pending(const struct release *release);

#endif /* RELEASE_H */
