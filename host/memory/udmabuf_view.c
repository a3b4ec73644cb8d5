// SPDX-License-Identifier: MIT
/*
 * udmabuf_view: dma-bufs out of guest RAM
 *
 * A view is one dma-buf, held by one descriptor of ours that leaves these
 * files only as a duplicate.  Invariant: every live view is in the tree of views, by
 * the (device, inode) of its dma-buf, which the kernel does not use twice while
 * the descriptor is open.  Its pages are counted (see page_uses.h) from before it is
 * made until after it is closed.
 *
 * Threads: the device's only, but for make() and unmake(), which are what the worker
 * does.  While it does them the view is its own.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/udmabuf.h"
#include "memory/udmabuf_internal.h"
#include "util/descriptors.h"
#include "util/log.h"
#include "util/responses.h"

/*
 * Linux copies the list into one block from kmalloc() (memdup_user(), still so in
 * 7.3), whatever list_limit says, unless it has our patch.  The largest that there
 * can be, with pages of 4 KiB and the usual order.
 */
#define KMALLOC_MAX (UINT64_C(4) << 20)

static int compare_views(const void *a, const void *b)
{
	const struct udmabuf_view *left = a, *right = b;

	if (left->dev != right->dev)
		return left->dev < right->dev ? -1 : 1;
	return (left->ino > right->ino) - (left->ino < right->ino);
}

_Static_assert(!offsetof(struct udmabuf_view, base), "memory_view_udmabuf() relies on it");

static struct udmabuf_view *view_of(struct worker_job *job)
{
	return (struct udmabuf_view *)((char *)job - offsetof(struct udmabuf_view, job));
}

static bool is_small(const struct udmabuf_view *view)
{
	return view->bytes / (uint64_t)sysconf(_SC_PAGESIZE) <= WORKER_SMALL_PAGES;
}

/* ---- the worker's part ---- */

/* The dma-buf, or a negative errno. */
static int create_dmabuf(struct udmabuf_view *view)
{
	struct stat st;
	int fd, err;

	fd = ioctl(view->udmabuf->fd, UDMABUF_CREATE_LIST, &view->draft->list);
	if (fd < 0)
		return -errno;
	err = -EMFILE;
	if (descriptor_is_reserved(fd, DESCRIPTORS_FOR_RESOURCES))
		goto err_close;
	err = -ENOMEM;
	if (fstat(fd, &st))
		goto err_close;
	view->dev = st.st_dev;
	view->ino = st.st_ino;
	return fd;

err_close:
	close(fd);
	return err;
}

static void make(struct worker_job *job)
{
	struct udmabuf_view *view = view_of(job);
	struct page_uses *uses = view->udmabuf->page_uses;
	int fd;

	view->refused = page_uses_add(uses, view->runs);
	if (!view->refused) {
		fd = create_dmabuf(view);
		if (fd >= 0) {
			view->fd = fd;
		} else {
			view->error = -fd;
			page_uses_drop(uses, view->runs);
		}
	}
	view->most = page_uses_most(uses);
	view->heard = true;
}

static void unmake(struct worker_job *job)
{
	struct udmabuf_view *view = view_of(job);
	struct page_uses *uses = view->udmabuf->page_uses;

	/* The pages are unpinned here: nobody else has it. */
	close(view->fd);
	page_uses_drop(uses, view->runs);
	view->most = page_uses_most(uses);
	view->heard = true;
	run_list_destroy(&view->own);
}

/* ---- refusals ---- */

/* What the guest is to hear of a refusal by the kernel, which is logged. */
static uint32_t refusal(const struct udmabuf_view *view)
{
	const struct udmabuf_create_list *list = &view->draft->list;
	const struct backing *backing = view->backing;
	struct udmabuf *udmabuf = view->udmabuf;
	int err = view->error;
	uint64_t list_bytes = (uint64_t)list->count * sizeof(list->list[0]);

	if (err == ENOMEM && list_bytes > KMALLOC_MAX) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_ITEMS))
			log_error("resource %u refused: its memory is %u pieces, and this kernel "
				  "takes about %" PRIu64 " in one list, whatever list_limit says "
				  "(it copies the list into one block of at most %" PRIu64
				  " MiB): fewer pieces are needed, such as huge pages in the guest",
				  backing->id, list->count, KMALLOC_MAX / sizeof(list->list[0]),
				  KMALLOC_MAX / MIB);
		return ERR_LIMIT;
	}
	if (err == ENOMEM)
		return ERR_OUT_OF_MEMORY;
	if (err == EMFILE || err == ENFILE) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_OTHER))
			log_error("resource %u refused: a dma-buf needs a descriptor: %s "
				  "(RLIMIT_NOFILE, ulimit -n)",
				  backing->id, strerror(err));
		return ERR_LIMIT;
	}
	/* The limits may have been lowered since they were read. */
	udmabuf_read_limits(udmabuf->parameters, &udmabuf->limits);
	if (!udmabuf_within_limits(udmabuf, backing))
		return ERR_LIMIT;
	if (udmabuf_memory_unfit(udmabuf, backing))
		return ERR_UNSUPPORTED;
	if (udmabuf_may_log(udmabuf, COMPLAINT_OTHER))
		log_error("resource %u refused: udmabuf makes no dma-buf of %u pieces, %" PRIu64
			  " MiB: %s",
			  backing->id, list->count, backing->size / MIB, strerror(err));
	return ERR_UNSPEC;
}

/* The same of a refusal by page_uses_add(). */
static uint32_t uses_refusal(const struct udmabuf_view *view)
{
	struct udmabuf *udmabuf = view->udmabuf;

	switch (view->refused) {
	case -ENOMEM:
		return ERR_OUT_OF_MEMORY;
	case -ENOSPC:
		quota_refuse(&udmabuf->uses, 1);
		return ERR_LIMIT;
	case -EIO:
		if (udmabuf_may_log(udmabuf, COMPLAINT_DISCARDED))
			log_error("resource %u refused: guest RAM is being discarded while it is "
				  "in dma-bufs (by a balloon, free page reporting or virtio-mem): "
				  "no other is made of it before all of them are gone",
				  view->backing->id);
		return ERR_UNSUPPORTED;
	default:
		if (udmabuf_may_log(udmabuf, COMPLAINT_OTHER))
			log_error("resource %u refused: a page comes twice in it, which a dma-buf "
				  "cannot have",
				  view->backing->id);
		return ERR_INVALID_PARAMETER;
	}
}

/* ---- as a view of any kind ---- */

static bool ops_alone(const struct memory_view *view)
{
	return udmabuf_view_alone((const struct udmabuf_view *)view);
}

static bool ops_free(struct memory_view *view, memory_view_freed *freed, void *cookie)
{
	return udmabuf_view_free((struct udmabuf_view *)view, freed, cookie);
}

static void ops_dispose(struct memory_view *view, struct run_list *runs)
{
	udmabuf_view_dispose((struct udmabuf_view *)view, runs);
}

static bool ops_held_by(const struct memory_view *view, pid_t pid)
{
	return udmabuf_view_held_by((const struct udmabuf_view *)view, pid);
}

static const struct memory_view_ops udmabuf_view_ops = {
	.kind = MEMORY_VIEW_UDMABUF,
	.alone = ops_alone,
	.free = ops_free,
	.dispose = ops_dispose,
	.held_by = ops_held_by,
};

/* ---- to make one ---- */

static void heard_of_worker(const struct udmabuf_view *view)
{
	struct quota *uses = &view->udmabuf->uses;

	uses->used = view->most;
	if (uses->used > uses->peak)
		uses->peak = uses->used;
}

/* Its draft has done its work; what it will cost is charged on. */
static void drop_draft(struct udmabuf_view *view)
{
	view->cost = view->draft->cost;
	view->draft->udmabuf = NULL;
	udmabuf_draft_free(view->draft);
	view->draft = NULL;
}

static void view_is_gone(struct udmabuf_view *view)
{
	if (view->heard)
		heard_of_worker(view);
	quota_uncharge(&view->udmabuf->config.quotas->kernel, view->cost);
	free(view);
}

/* The worker has made it, or not: OK or what the guest is to hear. */
static uint32_t take_over(struct udmabuf_view *view)
{
	struct udmabuf *udmabuf = view->udmabuf;

	heard_of_worker(view);
	if (view->refused)
		return uses_refusal(view);
	if (view->error)
		return refusal(view);
	if (!tsearch(view, &udmabuf->views, compare_views)) {
		view->job.run = unmake;
		worker_now(udmabuf->config.worker, &view->job);
		return ERR_OUT_OF_MEMORY;
	}
	view->step = VIEW_LIVES;
	udmabuf->totals.views++;
	udmabuf->totals.items += view->items;
	udmabuf->totals.created++;
	udmabuf->totals.created_items += view->items;
	drop_draft(view);
	return OK;
}

static void was_made(struct worker_job *job)
{
	struct udmabuf_view *view = view_of(job);
	memory_view_made *made = view->made;
	void *cookie = view->cookie;
	uint32_t response = take_over(view);

	if (response != OK) {
		udmabuf_draft_free(view->draft);
		free(view);
		view = NULL;
	}
	made(cookie, udmabuf_view_base(view), response);
}

/**
 * udmabuf_view_create() - a dma-buf of a resource's memory
 * @udmabuf: the device
 * @backing: complete; lives as long as the view
 * @draft: has all its runs; as before if an error is returned, else gone
 * @made: called if MEMORY_VIEW_LATER is returned
 * @cookie: for @made
 * @out: the view
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA, MEMORY_VIEW_LATER, or the error for the guest; what
 * the host can do about it was logged.
 */
uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_draft *draft, memory_view_made *made, void *cookie,
			     struct udmabuf_view **out)
{
	struct udmabuf_view *view;
	uint32_t response;

	assert(draft && draft->list.count == backing->runs.nr &&
	       run_list_bytes(&backing->runs) == backing->size);
	view = calloc(1, sizeof(*view));
	if (!view)
		return ERR_OUT_OF_MEMORY;
	*view = (struct udmabuf_view){
		.base = { .ops = &udmabuf_view_ops },
		.job = { .run = make, .done = was_made },
		.udmabuf = udmabuf,
		.step = VIEW_IS_MADE,
		.backing = backing,
		.runs = &backing->runs,
		.draft = draft,
		.made = made,
		.cookie = cookie,
		.fd = -1,
		.items = draft->list.count,
		.bytes = backing->size,
	};
	if (!worker_do(udmabuf->config.worker, &view->job, is_small(view))) {
		*out = view;
		return MEMORY_VIEW_LATER;
	}
	response = take_over(view);
	if (response == OK)
		*out = view;
	else
		free(view);
	return response;
}

/**
 * udmabuf_view_dup() - a descriptor of it
 * @view: may be NULL
 *
 * Return: a new descriptor, the caller's, or a negative errno.
 */
int udmabuf_view_dup(const struct udmabuf_view *view)
{
	int fd;

	if (!view)
		return -EACCES;
	fd = fcntl(view->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* ---- to give it up ---- */

static void was_closed(struct worker_job *job)
{
	struct udmabuf_view *view = view_of(job);
	memory_view_freed *freed = view->freed;
	void *cookie = view->cookie;

	view_is_gone(view);
	if (freed)
		freed(cookie);
}

/* It is not one that others may know any more. */
static void begin_to_close(struct udmabuf_view *view)
{
	struct udmabuf *udmabuf = view->udmabuf;

	if (view->step == VIEW_LIVES) {
		tdelete(view, &udmabuf->views, compare_views);
		udmabuf->totals.views--;
		udmabuf->totals.items -= view->items;
	}
	view->step = VIEW_IS_CLOSED;
	view->job.run = unmake;
	view->job.done = was_closed;
}

/**
 * udmabuf_view_free() - give the dma-buf up
 * @view: alone, or made for nothing; may be NULL
 * @freed: called if false is returned; NULL: never
 * @cookie: for @freed
 *
 * Return: true if it is gone.
 */
bool udmabuf_view_free(struct udmabuf_view *view, memory_view_freed *freed, void *cookie)
{
	if (!view)
		return true;
	begin_to_close(view);
	view->freed = freed;
	view->cookie = cookie;
	if (!freed)
		worker_now(view->udmabuf->config.worker, &view->job);
	else if (!worker_do(view->udmabuf->config.worker, &view->job, is_small(view)))
		return false;
	view_is_gone(view);
	return true;
}

/* Nobody waits for it any more.  Whether there is a dma-buf left to be closed. */
static bool take_back(struct udmabuf_view *view)
{
	bool begun = view->step != VIEW_LIVES &&
		     !worker_cancel(view->udmabuf->config.worker, &view->job);

	switch (view->step) {
	case VIEW_IS_MADE:
		drop_draft(view);
		return begun && view->fd >= 0;
	case VIEW_IS_CLOSED:
		return !begun;
	default:
		return true;
	}
}

/**
 * udmabuf_view_dispose() - give it up, for nobody to wait for
 * @view: alone, being made or being freed; may be NULL
 * @runs: of its backing; are taken if they are needed
 */
void udmabuf_view_dispose(struct udmabuf_view *view, struct run_list *runs)
{
	if (!view)
		return;
	if (!take_back(view)) {
		view_is_gone(view);
		return;
	}
	begin_to_close(view);
	view->own = *runs;
	run_list_init(runs);
	view->runs = &view->own;
	view->freed = NULL;
	if (worker_do(view->udmabuf->config.worker, &view->job, is_small(view)))
		view_is_gone(view);
}

/**
 * udmabuf_is_ours() - whether a descriptor is of one of our dma-bufs
 * @udmabuf: the device
 * @fd: any descriptor
 *
 * Return: true if so.  O(log views).
 */
bool udmabuf_is_ours(const struct udmabuf *udmabuf, int fd)
{
	struct udmabuf_view key;
	struct stat st;

	if (fstat(fd, &st))
		return false;
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	return tfind(&key, &udmabuf->views, compare_views) != NULL;
}
