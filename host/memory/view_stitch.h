/* SPDX-License-Identifier: MIT */
/*
 * view_stitch: a userptr resource as one range of this process's addresses
 *
 * The runs of a resource, scattered over guest RAM, mapped one behind the other, for
 * GPU drivers that take a range of addresses (DRM_AMDGPU_GEM_USERPTR).  Nothing is
 * pinned or populated: the host's kernel can swap and move the guest's pages as ever,
 * and tells the GPU's driver when it does.  It takes no device and no limit of udmabuf,
 * but a mapping for each run, of which a process has vm.max_map_count.  A page may come
 * twice in it.
 *
 * Nobody but the GPU reaches the memory by it.  The renderer counts what it makes of
 * it: stitch_view_get() before the first GPU object exists, stitch_view_put() when one
 * is gone and all work that could use it is over; see view_stitch.c for what follows.
 * An object is to be registered (AMDGPU_GEM_USERPTR_REGISTER), read-only ones too, and not
 * as anonymous memory (ANONONLY), which it is not: libdrm's amdgpu_create_bo_from_user_mem()
 * says so, and cannot be used.
 * Only this thread's doing makes it alone, and a release may wait on this very thread: a
 * reset does, after the renderer's reset() and context_destroy(), which have put all by
 * then, and where memory is short a destroy does, which calls evict() as time goes by.  So
 * evict() must look for itself at what is over, and not leave that to dispatch().
 *
 * To make and to unmap one takes as long as it has runs and pages, and so is done by a
 * worker; what is said here to follow comes from within worker_dispatch().
 *
 * Threads: the device's only.
 */
#ifndef VIEW_STITCH_H
#define VIEW_STITCH_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/view.h"

struct backing;
struct memory_quotas;
struct run_list;
struct stitch;
struct stitch_draft;
struct stitch_view;
struct worker;

/**
 * struct stitch_config - what it needs; all must outlive it
 * @quotas: what is charged for mappings
 * @worker: does what takes long; NULL: all is done at once
 */
struct stitch_config {
	struct memory_quotas *quotas;
	struct worker *worker;
};

/**
 * struct stitch_totals - what is held now and ever was
 * @views: now
 * @mappings: charged for them, and for those that come and go
 * @created: ever
 * @created_runs: of them
 */
struct stitch_totals {
	uint64_t views;
	uint64_t mappings;
	uint64_t created;
	uint64_t created_runs;
};

/* NULL: out of memory. */
struct stitch *stitch_new(const struct stitch_config *config);
/* No views are left, and the worker has nothing to do with them any more; may be NULL. */
void stitch_free(struct stitch *stitch);
void stitch_totals(const struct stitch *stitch, struct stitch_totals *totals);

/*
 * Whether the runs of @backing that came can be stitched, as far as limits and files
 * go; nothing is charged or logged.  O(new runs); @draft is as for the next.
 */
bool stitch_fits(struct stitch *stitch, const struct backing *backing,
		 const struct stitch_draft *draft);
/*
 * Get ready for stitch_view_create() while the runs of @backing still come: to be called
 * whenever some came, with the same *draft, NULL at first.  RESP_OK_NODATA, or the error
 * that the guest is to get.  O(new runs).  Whatever comes back, *draft is to be freed.
 */
uint32_t stitch_draft_extend(struct stitch *stitch, const struct backing *backing,
			     struct stitch_draft **draft);
/* May be NULL. */
void stitch_draft_free(struct stitch_draft *draft);

/*
 * The range of @backing, all of whose runs are in @draft, which are as many bytes as its
 * size.  Read-only if it is.
 *	RESP_OK_NODATA		*out is the view.  @draft is gone.
 *	MEMORY_VIEW_LATER	@made follows.  *out is a view that can only be given to
 *				stitch_view_dispose() until then.  @draft is gone.
 *	else			the error that the guest is to get; @draft is as before
 * @backing must live until it is made, and its runs may not change.
 */
uint32_t stitch_view_create(struct stitch *stitch, const struct backing *backing,
			    struct stitch_draft *draft, memory_view_made *made, void *cookie,
			    struct stitch_view **out);
/* It as a view of any kind; may be NULL. */
static inline struct memory_view *stitch_view_base(struct stitch_view *view)
{
	return (struct memory_view *)view;
}

/* Its first byte.  Of this process's CPU nobody is to touch it: it may not be there. */
void *stitch_view_address(const struct stitch_view *view);
/* Bytes, whole pages. */
uint64_t stitch_view_size(const struct stitch_view *view);
bool stitch_view_readonly(const struct stitch_view *view);
/* The GPU may reach it by one more object, or by one less. */
void stitch_view_get(struct stitch_view *view);
void stitch_view_put(struct stitch_view *view);

/* What struct memory_view_ops says of alone(), free() and dispose(). */
bool stitch_view_alone(const struct stitch_view *view);
bool stitch_view_free(struct stitch_view *view, memory_view_freed *freed, void *cookie);
void stitch_view_dispose(struct stitch_view *view, struct run_list *runs);

#endif /* VIEW_STITCH_H */
