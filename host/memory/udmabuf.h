/* SPDX-License-Identifier: MIT */
/*
 * udmabuf: a userptr resource as one dma-buf
 *
 * The memory of a resource, scattered over guest RAM, as a dma-buf that any
 * importer takes: made with the kernel's udmabuf from the file that is the
 * guest's RAM.  And the other way: nobody but this process has it any more.
 *
 * A dma-buf cannot be read-only: udmabuf makes writable ones, and whoever imports one
 * may write.  So who asks for one of a read-only resource has to know that only such
 * contexts will have it attached as keep to that by themselves (capset.rdonly).  A view
 * that is NULL every function here takes for one that nobody can reach.
 *
 * To make one and to give one up takes as long as it has pages, and so is done by a
 * worker; what is said here to follow comes from within worker_dispatch().
 *
 * Threads: the device's only.
 */
#ifndef UDMABUF_H
#define UDMABUF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "memory/view.h"

struct backing;
struct guest_memory;
struct memory_quotas;
struct run_list;
struct udmabuf;
struct udmabuf_create_list;
struct udmabuf_draft;
struct udmabuf_view;
struct worker;

/**
 * struct udmabuf_limits - what the running kernel takes for one dma-buf
 * @items: pieces (list_limit)
 * @bytes: size_limit_mb, in bytes
 */
struct udmabuf_limits {
	uint64_t items;
	uint64_t bytes;
};

/**
 * struct udmabuf_config - what it needs; all must outlive it
 * @gm: guest memory
 * @quotas: what is charged for dma-bufs
 * @worker: does what takes long; NULL: all is done at once
 */
struct udmabuf_config {
	struct guest_memory *gm;
	struct memory_quotas *quotas;
	struct worker *worker;
};

/*
 * Open /dev/udmabuf, read its limits, and try with a page of our own memory that
 * what udmabuf_alone.c relies on is so.  0 or a negative errno, which was logged.
 */
int udmabuf_open(const struct udmabuf_config *config, struct udmabuf **out);
/* No views are left, and the worker has nothing to do with them any more. */
void udmabuf_close(struct udmabuf *udmabuf);
/* As they were when they were last read: at the start, or before the last refusal. */
const struct udmabuf_limits *udmabuf_limits(const struct udmabuf *udmabuf);
/*
 * Whether guest memory, as it is now, can be made into dma-bufs; if not, that
 * was logged, once for each memory table.
 */
bool udmabuf_usable(struct udmabuf *udmabuf);

/*
 * Get ready for udmabuf_view_create() while the runs of @backing still come: to be
 * called whenever some came, with the same *draft, NULL at first.  RESP_OK_NODATA,
 * or the error that the guest is to get: as soon as it is known that no dma-buf can
 * be made.  O(new runs).  Whatever comes back, *draft is to be freed.
 */
uint32_t udmabuf_draft_extend(struct udmabuf *udmabuf, const struct backing *backing,
			      struct udmabuf_draft **draft);
/* May be NULL. */
void udmabuf_draft_free(struct udmabuf_draft *draft);

/*
 * A dma-buf of @backing, all of whose runs are in @draft, and as many bytes as its
 * size.  No page may come twice in it, or be in more dma-bufs than page_uses.h says.
 *	RESP_OK_NODATA	*out is the view.  @draft is gone.
 *	MEMORY_VIEW_LATER	@made follows.  *out is a view that can only be given to
 *			udmabuf_view_dispose() until then.  @draft is gone.
 *	else		the error that the guest is to get; @draft is as before
 * @backing must live as long as the view, and its runs may not change.
 */
uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_draft *draft, memory_view_made *made, void *cookie,
			     struct udmabuf_view **out);
/* It as a view of any kind; may be NULL. */
static inline struct memory_view *udmabuf_view_base(struct udmabuf_view *view)
{
	return (struct memory_view *)view;
}
/* The caller's own new descriptor of it, or a negative errno: -EACCES if there is no dma-buf. */
int udmabuf_view_dup(const struct udmabuf_view *view);
/*
 * Whether no one but @view itself can reach the memory: no descriptor, mapping,
 * import or message in flight has the dma-buf, and its reservation object is
 * idle.  Why that stays so once it is true is said in udmabuf_alone.c.
 */
bool udmabuf_view_alone(const struct udmabuf_view *view);
/*
 * Give it up; it is alone, or was made for nothing.  True: it is gone.  False: @freed
 * follows; only udmabuf_view_dispose() may be called until then.  @freed NULL: it is gone
 * on return, if need be after the worker's present job.
 */
bool udmabuf_view_free(struct udmabuf_view *view, memory_view_freed *freed, void *cookie);
/*
 * The same for nobody to wait for: its backing may go, but for the runs, which are taken
 * from it.  Also for one that is being made or freed: neither @made nor @freed follows
 * then.  Waits only if the worker is at this very one.
 */
void udmabuf_view_dispose(struct udmabuf_view *view, struct run_list *runs);

/* Whether @fd is a dma-buf that one of the views of @udmabuf made. */
bool udmabuf_is_ours(const struct udmabuf *udmabuf, int fd);
/*
 * Whether process @pid has a descriptor or a mapping of it (to name it, not to
 * prove anything); the view's own descriptor does not count.
 */
bool udmabuf_view_held_by(const struct udmabuf_view *view, pid_t pid);

/**
 * struct udmabuf_totals - what is held now and ever was
 * @views: now
 * @items: of them
 * @created: ever
 * @created_items: of them
 */
struct udmabuf_totals {
	uint64_t views;
	uint64_t items;
	uint64_t created;
	uint64_t created_items;
};

void udmabuf_totals(const struct udmabuf *udmabuf, struct udmabuf_totals *totals);
/* Its limits, as lines of the statistics. */
void udmabuf_print_quotas(const struct udmabuf *udmabuf, FILE *to);

/*
 * The parts of it that need no device; for tests.
 */

/* udmabuf_open() with other paths; both must outlive it. */
int udmabuf_open_at(const char *device, const char *parameters, const struct udmabuf_config *config,
		    struct udmabuf **out);
/*
 * The limits in folder @parameters.  A parameter that cannot be read means that no
 * limit is known, and gives a negative errno: kernels differ in their defaults, and
 * refuse by themselves what is too much.  A negative one, as to the kernel, means no
 * limit.
 */
int udmabuf_read_limits(const char *parameters, struct udmabuf_limits *limits);
/*
 * udmabuf_draft_extend() without the limits.  -EINVAL: a run that nothing can be
 * added to any more is not in whole pages of this host.
 */
int udmabuf_draft_add(struct udmabuf_draft **draft, const struct backing *backing);
/* What the ioctl will be told: one item for each run. */
const struct udmabuf_create_list *udmabuf_draft_list(const struct udmabuf_draft *draft);
/* Why no dma-buf can be made of the memory of @fd, or NULL if one can. */
const char *udmabuf_file_unfit(int fd);

#endif /* UDMABUF_H */
