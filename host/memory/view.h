/* SPDX-License-Identifier: MIT */
/*
 * view: what a userptr resource is made into so that others can use it
 *
 * One dma-buf (udmabuf.h), or one range of addresses of this process (view_stitch.h).
 * Whoever gives a view up need not know which: it asks whether nobody else can reach
 * the memory by it, and then frees it.  A view that is NULL is none: nobody reaches the
 * memory by that.
 *
 * Invariant: struct memory_view is the first member of every kind of view.
 *
 * Threads: the device's only.
 */
#ifndef VIEW_H
#define VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct memory_view;
struct run_list;
struct stitch_view;
struct udmabuf_view;

/* What creating one returns if its made() follows; no type of an answer. */
#define MEMORY_VIEW_LATER 0u

enum memory_view_kind {
	MEMORY_VIEW_UDMABUF,
	MEMORY_VIEW_STITCH,
};

/*
 * The end of what was begun: @view and OK, or NULL and the error that the guest is to
 * get.  @cookie came with the call that began it.
 */
typedef void memory_view_made(void *cookie, struct memory_view *view, uint32_t response);
/* A view is gone, and so is all that it cost. */
typedef void memory_view_freed(void *cookie);

/**
 * struct memory_view_ops - a kind of view
 * @kind: which
 * @alone: nobody but the view itself can reach the memory by it.  Once that is true it
 *	stays so.
 * @free: give it up; it is alone, or was made for nothing.  True: it is gone.  False:
 *	@freed follows; only @dispose may be called until then.  @freed NULL: it is gone on
 *	return, if need be after the worker's present job.
 * @dispose: the same for nobody to wait for: its backing may go, but for the runs, which
 *	are taken from it if they are needed.  Also for one that is being made or freed:
 *	neither made() nor freed() follows then.  Waits only if the worker is at this one.
 * @held_by: process @pid has it (to name it, not to prove anything)
 */
struct memory_view_ops {
	enum memory_view_kind kind;
	bool (*alone)(const struct memory_view *view);
	bool (*free)(struct memory_view *view, memory_view_freed *freed, void *cookie);
	void (*dispose)(struct memory_view *view, struct run_list *runs);
	bool (*held_by)(const struct memory_view *view, pid_t pid);
};

/**
 * struct memory_view - see above; embedded as the first member
 * @ops: what it is
 */
struct memory_view {
	const struct memory_view_ops *ops;
};

static inline bool memory_view_is(const struct memory_view *view, enum memory_view_kind kind)
{
	return view && view->ops->kind == kind;
}

/* The dma-buf that it is, or NULL if it is none. */
static inline struct udmabuf_view *memory_view_udmabuf(struct memory_view *view)
{
	return memory_view_is(view, MEMORY_VIEW_UDMABUF) ? (struct udmabuf_view *)view : NULL;
}

/* The range of addresses that it is, or NULL if it is none. */
static inline struct stitch_view *memory_view_stitch(struct memory_view *view)
{
	return memory_view_is(view, MEMORY_VIEW_STITCH) ? (struct stitch_view *)view : NULL;
}

static inline bool memory_view_alone(const struct memory_view *view)
{
	return !view || view->ops->alone(view);
}

static inline bool memory_view_held_by(const struct memory_view *view, pid_t pid)
{
	return view && view->ops->held_by(view, pid);
}

#endif /* VIEW_H */
