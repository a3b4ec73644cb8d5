// SPDX-License-Identifier: MIT
/*
 * view_stitch: userptr resources as ranges of this process's addresses
 *
 * Why a view that is alone, and was then unmapped, is one that nobody can reach
 * -----------------------------------------------------------------------------
 * The range is known to this process only.  Its CPUs do not touch it: the bytes are in
 * the mapping of the whole file (ram_file.h) for whoever needs them.  What is left are
 * GPU drivers that were told the range by DRM_AMDGPU_GEM_USERPTR.  Such an object is no
 * reference on the pages: the driver asks for them (hmm_range_fault()) when work is
 * submitted that may use them, and for as long as the object exists an interval notifier
 * on the range tells it when they go.  The objects cannot be exported, and belong to
 * descriptors that no other process has.
 *
 *  1. The count.  Whoever makes such an object takes it before, with stitch_view_get(),
 *     and gives it back when all three are true: the object is unmapped from every address
 *     space of the GPU, every fence of work that was submitted while it was mapped has
 *     signalled, and its handle is closed.  At 0 there is no page table of a GPU with the
 *     pages in it and no work that could have cached one, and since new objects are made
 *     only of a resource that is not stopped, 0 stays.  The order matters: closing the last
 *     handle removes the notifier at once and waits for nothing (amdgpu_gem_object_free()),
 *     so who closes one with work in flight has no proof left but its own fences.
 *
 *  2. munmap().  Before the kernel takes the pages out of the range it calls the notifier
 *     of every object that is still registered on it, one that was not counted included.
 *     The driver marks the object's pages as gone, so that all later work has to ask for
 *     them anew, in vain as the range is gone, and waits for every fence of the address
 *     space, bookkeeping ones included (amdgpu_hmm_invalidate_gfx(): dma_resv_wait_timeout()
 *     with DMA_RESV_USAGE_BOOKKEEP, without end).  When it returns the GPU is not in the
 *     memory by any object that there is.  Where the process ends instead exit_mmap() does
 *     the same.
 *
 * So the second does not lean on the renderer's books, but only while the objects live,
 * and the first covers those that are closed.  The guest is told after both.  munmap()
 * would wait with the lock of the address space taken, and so hold up whoever maps or
 * faults in this process; that is why it comes second: with a count of 0 it finds nobody
 * to wait for.
 *
 * Nobody can make these mappings anything else meanwhile: CPU pins through them
 * (O_DIRECT, vmsplice) would need a system call of this process with these addresses.
 *
 * Mappings
 * --------
 * A page without access lies behind the runs.  It keeps the kernel from joining the last
 * run with a neighbour, so that unmapping never has to split a mapping, which it could not
 * at vm.max_map_count.  So a view has as many mappings as runs, and one; that is what is
 * charged, and never more are there while it is made.
 *
 * Invariant: what is charged is given back after the range is unmapped.
 *
 * Threads: the device's only, but for make() and unmake(), which are what the worker does.
 * While it does them the view is its own.
 */
#include "memory/view_stitch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/run_list.h"
#include "memory/worker.h"
#include "util/log.h"
#include "util/responses.h"

/**
 * struct stitch - what all views have in common
 * @config: see there
 * @totals: see there
 */
struct stitch {
	struct stitch_config config;
	struct stitch_totals totals;
};

/**
 * struct stitch_draft - what was charged and checked, as far as the runs have come
 * @stitch: where it was charged
 * @mappings: charged
 * @checked: runs that are known to be in whole pages
 * @fit: a file that is known to be fit
 */
struct stitch_draft {
	struct stitch *stitch;
	uint64_t mappings;
	size_t checked;
	const struct ram_file *fit;
};

/* What the worker is to do, or has done. */
enum stitch_step {
	STITCH_LIVES,
	STITCH_IS_MADE,
	STITCH_IS_UNMAPPED,
};

/**
 * struct stitch_view - a range
 * @base: first, see view.h
 * @job: what the worker does
 * @stitch: whose it is
 * @step: whose turn it is: the worker's, while it is not STITCH_LIVES
 * @backing: what it is made of, until it is made
 * @made: see stitch_view_create()
 * @freed: see stitch_view_free()
 * @cookie: of either
 * @address: of the range, or NULL
 * @size: of it, without the page behind it
 * @runs: of its backing
 * @readonly: the mappings are
 * @objects: of GPUs, see stitch_view_get()
 * @mappings: charged for it
 * @error: why it was not made, an errno
 */
struct stitch_view {
	struct memory_view base;
	struct worker_job job;
	struct stitch *stitch;
	enum stitch_step step;
	const struct backing *backing;
	memory_view_made *made;
	memory_view_freed *freed;
	void *cookie;
	unsigned char *address;
	uint64_t size;
	uint64_t runs;
	bool readonly;
	unsigned int objects;
	uint64_t mappings;
	int error;
};

_Static_assert(!offsetof(struct stitch_view, base), "memory_view_stitch() relies on it");

static struct stitch_view *view_of(struct worker_job *job)
{
	return (struct stitch_view *)((char *)job - offsetof(struct stitch_view, job));
}

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/**
 * stitch_new() - see the header
 * @config: copied
 *
 * Return: it, or NULL.
 */
struct stitch *stitch_new(const struct stitch_config *config)
{
	struct stitch *stitch = calloc(1, sizeof(*stitch));

	if (stitch)
		stitch->config = *config;
	return stitch;
}

/**
 * stitch_free() - the other end of stitch_new()
 * @stitch: without views; may be NULL
 */
void stitch_free(struct stitch *stitch)
{
	if (!stitch)
		return;
	assert(!stitch->totals.views && !stitch->totals.mappings);
	free(stitch);
}

/**
 * stitch_totals() - what is held and was made
 * @stitch: of what
 * @totals: filled in
 */
void stitch_totals(const struct stitch *stitch, struct stitch_totals *totals)
{
	*totals = stitch->totals;
}

/* ---- drafts ---- */

static void uncharge(struct stitch *stitch, uint64_t mappings)
{
	stitch->totals.mappings -= mappings;
	quota_uncharge(&stitch->config.quotas->mappings, mappings);
}

/* Of a file in huge pages no smaller part can be mapped. */
static bool file_unfit(const struct ram_file *file)
{
	struct statfs fs;

	return !fstatfs(ram_file_fd(file), &fs) && fs.f_type == HUGETLBFS_MAGIC;
}

/* The first file of the runs from @from on that does not do, or NULL; *fit is one that does. */
static const struct ram_file *find_unfit(const struct backing *backing, size_t from,
					 const struct ram_file **fit)
{
	size_t i;

	for (i = from; i < backing->runs.nr; i++) {
		const struct ram_file *file = backing->runs.runs[i].file;

		if (file == *fit)
			continue;
		if (file_unfit(file))
			return file;
		*fit = file;
	}
	return NULL;
}

/* What is still to be charged for the runs that came, and the page behind them. */
static uint64_t more_mappings(const struct backing *backing, const struct stitch_draft *draft)
{
	return backing->runs.nr + 1 - (draft ? draft->mappings : 0);
}

/**
 * stitch_fits() - whether what came of a resource can be stitched
 * @stitch: by which
 * @backing: it
 * @draft: of it, may be NULL
 *
 * Return: true if so.
 */
bool stitch_fits(struct stitch *stitch, const struct backing *backing,
		 const struct stitch_draft *draft)
{
	const struct ram_file *fit = draft ? draft->fit : NULL;

	return more_mappings(backing, draft) <= quota_left(&stitch->config.quotas->mappings) &&
	       !find_unfit(backing, draft ? draft->checked : 0, &fit);
}

static bool in_whole_pages(const struct run *run)
{
	return !((run->offset | run->length) % page_size());
}

/* Only a run with another behind it, or the very last, has its final length. */
static bool runs_in_whole_pages(const struct backing *backing, struct stitch_draft *draft)
{
	const struct run_list *runs = &backing->runs;
	size_t final = run_list_bytes(runs) == backing->size ? runs->nr : runs->nr - 1;

	for (; draft->checked < final; draft->checked++)
		if (!in_whole_pages(&runs->runs[draft->checked]))
			return false;
	return true;
}

static uint32_t charge(struct stitch *stitch, const struct backing *backing,
		       struct stitch_draft *draft)
{
	uint64_t more = more_mappings(backing, draft);

	if (!quota_charge(&stitch->config.quotas->mappings, more))
		return ERR_LIMIT;
	stitch->totals.mappings += more;
	draft->mappings += more;
	return OK;
}

/**
 * stitch_draft_extend() - get ready for stitch_view_create()
 * @stitch: by which
 * @backing: has got some runs
 * @draft: as it was left last time, NULL at first
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA or the error for the guest; what the host can do
 * about it was logged.
 */
uint32_t stitch_draft_extend(struct stitch *stitch, const struct backing *backing,
			     struct stitch_draft **draft)
{
	struct stitch_draft *d = *draft;

	if (!d) {
		d = calloc(1, sizeof(*d));
		if (!d)
			return ERR_OUT_OF_MEMORY;
		d->stitch = stitch;
		*draft = d;
	}
	if (find_unfit(backing, d->checked, &d->fit)) {
		log_error(
			"resource %u refused: its memory is in huge pages (hugetlbfs), of which no "
			"smaller part can be mapped: --amdgpu-userptr=dmabuf can use it",
			backing->id);
		return ERR_UNSUPPORTED;
	}
	if (!runs_in_whole_pages(backing, d)) {
		log_error("resource %u refused: its memory is not in whole pages of the host "
			  "(%" PRIu64 " bytes)",
			  backing->id, page_size());
		return ERR_INVALID_PARAMETER;
	}
	return charge(stitch, backing, d);
}

/**
 * stitch_draft_free() - when no view is made of it
 * @draft: may be NULL
 */
void stitch_draft_free(struct stitch_draft *draft)
{
	if (draft)
		uncharge(draft->stitch, draft->mappings);
	free(draft);
}

/* ---- the worker's part ---- */

/* All of the range; 0 or an errno. */
static int map_runs(const struct stitch_view *view)
{
	const struct run_list *runs = &view->backing->runs;
	int rights = view->readonly ? PROT_READ : PROT_READ | PROT_WRITE;
	unsigned char *at = view->address;
	size_t i;

	for (i = 0; i < runs->nr; i++) {
		const struct run *run = &runs->runs[i];

		/* The guest does not want it any more. */
		if (backing_stopped(view->backing))
			return ECANCELED;
		if (mmap(at, run->length, rights, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
			 ram_file_fd(run->file), (off_t)run->offset) == MAP_FAILED)
			return errno;
		at += run->length;
	}
	return 0;
}

static void unmap(struct stitch_view *view)
{
	/* One begins and ends where mappings do, the other shortens one: nothing is split. */
	if (munmap(view->address, view->size) || munmap(view->address + view->size, page_size())) {
		log_error("munmap: %s; what a GPU may still reach cannot be called free",
			  strerror(errno));
		log_flush();
		abort();
	}
	view->address = NULL;
}

static void make(struct worker_job *job)
{
	struct stitch_view *view = view_of(job);
	void *range;

	/* Nobody else's mapping is where the runs go, and the last page is left as it is. */
	range = mmap(NULL, view->size + page_size(), PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (range == MAP_FAILED) {
		view->error = errno;
		return;
	}
	view->address = range;
	view->error = map_runs(view);
	if (view->error)
		unmap(view);
}

static void unmake(struct worker_job *job)
{
	unmap(view_of(job));
}

static bool to_make_is_small(const struct stitch_view *view)
{
	return view->runs <= WORKER_SMALL_PAGES;
}

/* Page tables are as large as what the GPU has touched. */
static bool to_unmap_is_small(const struct stitch_view *view)
{
	return view->size / page_size() <= WORKER_SMALL_PAGES;
}

/* ---- as a view of any kind ---- */

static bool ops_alone(const struct memory_view *view)
{
	return stitch_view_alone((const struct stitch_view *)view);
}

static bool ops_free(struct memory_view *view, memory_view_freed *freed, void *cookie)
{
	return stitch_view_free((struct stitch_view *)view, freed, cookie);
}

static void ops_dispose(struct memory_view *view, struct run_list *runs)
{
	stitch_view_dispose((struct stitch_view *)view, runs);
}

/* By a GPU, in this process's name. */
static bool ops_held_by(const struct memory_view *view, pid_t pid)
{
	return pid == getpid() && !ops_alone(view);
}

static const struct memory_view_ops stitch_view_ops = {
	.kind = MEMORY_VIEW_STITCH,
	.alone = ops_alone,
	.free = ops_free,
	.dispose = ops_dispose,
	.held_by = ops_held_by,
};

/* ---- to make one ---- */

static void view_is_gone(struct stitch_view *view)
{
	uncharge(view->stitch, view->mappings);
	free(view);
}

/* What the guest is to hear of a refusal by the kernel, which is logged. */
static uint32_t refusal(const struct stitch_view *view)
{
	switch (view->error) {
	case ECANCELED:
		return ERR_UNSPEC;
	case ENOMEM:
		log_error("resource %u refused: no room for %" PRIu64 " mappings of %" PRIu64
			  " bytes (vm.max_map_count, RLIMIT_AS, or memory)",
			  view->backing->id, view->mappings, view->size);
		return ERR_OUT_OF_MEMORY;
	default:
		log_error("resource %u refused: its memory cannot be mapped: %s", view->backing->id,
			  strerror(view->error));
		return ERR_UNSUPPORTED;
	}
}

/* The worker has made it, or not: OK or what the guest is to hear. */
static uint32_t take_over(struct stitch_view *view)
{
	struct stitch_totals *totals = &view->stitch->totals;

	if (view->error)
		return refusal(view);
	view->step = STITCH_LIVES;
	view->backing = NULL;
	totals->views++;
	totals->created++;
	totals->created_runs += view->runs;
	return OK;
}

static void was_made(struct worker_job *job)
{
	struct stitch_view *view = view_of(job);
	memory_view_made *made = view->made;
	void *cookie = view->cookie;
	uint32_t response = take_over(view);

	if (response != OK) {
		view_is_gone(view);
		view = NULL;
	}
	made(cookie, stitch_view_base(view), response);
}

/* With what @draft has charged, which stays its own until the view is there. */
static struct stitch_view *new_view(struct stitch *stitch, const struct backing *backing,
				    const struct stitch_draft *draft)
{
	struct stitch_view *view = calloc(1, sizeof(*view));

	if (!view)
		return NULL;
	*view = (struct stitch_view){
		.base = { .ops = &stitch_view_ops },
		.job = { .run = make, .done = was_made },
		.stitch = stitch,
		.step = STITCH_IS_MADE,
		.backing = backing,
		.size = backing->size,
		.runs = backing->runs.nr,
		.readonly = backing->readonly,
		.mappings = draft->mappings,
	};
	return view;
}

/**
 * stitch_view_create() - a range of a resource's memory
 * @stitch: by which
 * @backing: complete; lives until it is made
 * @draft: has all its runs; as before if an error is returned, else gone
 * @made: called if MEMORY_VIEW_LATER is returned
 * @cookie: for @made
 * @out: the view
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA, MEMORY_VIEW_LATER, or the error for the guest; what
 * the host can do about it was logged.
 */
uint32_t stitch_view_create(struct stitch *stitch, const struct backing *backing,
			    struct stitch_draft *draft, memory_view_made *made, void *cookie,
			    struct stitch_view **out)
{
	struct stitch_view *view;
	uint32_t response = MEMORY_VIEW_LATER;

	assert(draft && draft->checked == backing->runs.nr &&
	       draft->mappings == backing->runs.nr + 1 &&
	       run_list_bytes(&backing->runs) == backing->size);
	view = new_view(stitch, backing, draft);
	if (!view)
		return ERR_OUT_OF_MEMORY;
	view->made = made;
	view->cookie = cookie;
	if (worker_do(stitch->config.worker, &view->job, to_make_is_small(view)))
		response = take_over(view);
	if (response != OK && response != MEMORY_VIEW_LATER) {
		free(view);
		return response;
	}
	/* What it has charged is the view's now. */
	free(draft);
	*out = view;
	return response;
}

/* ---- for whoever shows it to a GPU ---- */

/**
 * stitch_view_address() - where it is
 * @view: it
 *
 * Return: its first byte.
 */
void *stitch_view_address(const struct stitch_view *view)
{
	return view->address;
}

/**
 * stitch_view_size() - how large it is
 * @view: it
 *
 * Return: bytes, whole pages.
 */
uint64_t stitch_view_size(const struct stitch_view *view)
{
	return view->size;
}

/**
 * stitch_view_readonly() - whether it may not be written to
 * @view: it
 *
 * Return: true if so; a write through it is refused by the kernel, too.
 */
bool stitch_view_readonly(const struct stitch_view *view)
{
	return view->readonly;
}

/**
 * stitch_view_get() - a GPU may reach it by one more object
 * @view: it; to be called before the object is made
 */
void stitch_view_get(struct stitch_view *view)
{
	assert(view->step == STITCH_LIVES);
	view->objects++;
}

/**
 * stitch_view_put() - an object is gone, and so is all work that could use it
 * @view: it
 */
void stitch_view_put(struct stitch_view *view)
{
	assert(view->step == STITCH_LIVES && view->objects);
	view->objects--;
}

/**
 * stitch_view_alone() - whether no GPU object is made of it
 * @view: may be NULL
 *
 * Return: true if so, see the top of this file.
 */
bool stitch_view_alone(const struct stitch_view *view)
{
	return !view || !view->objects;
}

/* ---- to give it up ---- */

static void was_unmapped(struct worker_job *job)
{
	struct stitch_view *view = view_of(job);
	memory_view_freed *freed = view->freed;
	void *cookie = view->cookie;

	view_is_gone(view);
	if (freed)
		freed(cookie);
}

/* It is not one that others may know any more. */
static void begin_to_unmap(struct stitch_view *view)
{
	assert(!view->objects);
	if (view->step == STITCH_LIVES)
		view->stitch->totals.views--;
	view->step = STITCH_IS_UNMAPPED;
	view->job.run = unmake;
	view->job.done = was_unmapped;
}

/**
 * stitch_view_free() - give the range up
 * @view: alone, or made for nothing; may be NULL
 * @freed: called if false is returned; NULL: never
 * @cookie: for @freed
 *
 * Return: true if it is gone.
 */
bool stitch_view_free(struct stitch_view *view, memory_view_freed *freed, void *cookie)
{
	struct worker *worker;

	if (!view)
		return true;
	worker = view->stitch->config.worker;
	begin_to_unmap(view);
	view->freed = freed;
	view->cookie = cookie;
	if (!freed)
		worker_now(worker, &view->job);
	else if (!worker_do(worker, &view->job, to_unmap_is_small(view)))
		return false;
	view_is_gone(view);
	return true;
}

/* Nobody waits for it any more.  Whether there is a range left to be unmapped. */
static bool take_back(struct stitch_view *view)
{
	if (view->step != STITCH_LIVES)
		worker_cancel(view->stitch->config.worker, &view->job);
	return view->address;
}

/**
 * stitch_view_dispose() - give it up, for nobody to wait for
 * @view: alone, being made or being freed; may be NULL
 * @runs: of its backing; are not needed any more
 */
void stitch_view_dispose(struct stitch_view *view, struct run_list *runs)
{
	(void)runs;
	if (!view)
		return;
	if (!take_back(view)) {
		view_is_gone(view);
		return;
	}
	begin_to_unmap(view);
	view->freed = NULL;
	if (worker_do(view->stitch->config.worker, &view->job, to_unmap_is_small(view)))
		view_is_gone(view);
}
