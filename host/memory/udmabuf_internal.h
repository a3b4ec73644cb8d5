/* SPDX-License-Identifier: MIT */
/*
 * udmabuf_internal: what the files of udmabuf share
 *
 * udmabuf.c is the device and the kernel's limits, udmabuf_draft.c the list that
 * the kernel is told, udmabuf_view.c the dma-bufs, and udmabuf_alone.c who has
 * one.  Nobody else includes this.
 *
 * Threads: the device's only, but for the jobs of views.
 */
#ifndef UDMABUF_INTERNAL_H
#define UDMABUF_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/udmabuf.h>

#include "memory/page_uses.h"
#include "memory/run_list.h"
#include "memory/udmabuf.h"
#include "memory/worker.h"
#include "util/quota.h"

#define MIB (UINT64_C(1) << 20)

/* What a refusal is about; a guest can cause any number, the log takes a few. */
enum complaint {
	COMPLAINT_ITEMS,
	COMPLAINT_BYTES,
	COMPLAINT_MEMORY,
	COMPLAINT_OTHER,
	COMPLAINT_COUNT,
	COMPLAINT_DISCARDED,
	COMPLAINTS,
};

/**
 * struct udmabuf - the device
 * @fd: /dev/udmabuf
 * @spare: a descriptor to give up for a moment: references must be counted also
 *	when there are no more, or nothing would ever be given back; or -1
 * @parameters: folder of the kernel's limits
 * @config: see there
 * @limits: as last read
 * @views: root of the tree of struct udmabuf_view
 * @totals: see there
 * @page_uses: what the worker counts, nobody else
 * @uses: the limit of that, as it was when the worker was last heard of
 * @usable: what the table of @generation is
 * @generation: of the memory table that was last looked at, 0: none
 * @silent_until: for each kind of complaint, as of clock_ms()
 */
struct udmabuf {
	int fd;
	int spare;
	const char *parameters;
	struct udmabuf_config config;
	struct udmabuf_limits limits;
	void *views;
	struct udmabuf_totals totals;
	struct page_uses *page_uses;
	struct quota uses;
	bool usable;
	uint64_t generation;
	uint64_t silent_until[COMPLAINTS];
};

/**
 * struct udmabuf_draft - the ioctl's argument, as far as the runs have come
 * @udmabuf: where @cost is charged, or NULL
 * @cost: what the dma-buf will cost the kernel
 * @capacity: items that fit
 * @list: an item for each run, in their order
 */
struct udmabuf_draft {
	struct udmabuf *udmabuf;
	uint64_t cost;
	size_t capacity;
	struct udmabuf_create_list list;
};

/* What the worker is to do, or has done. */
enum view_step {
	VIEW_LIVES,
	VIEW_IS_MADE,
	VIEW_IS_CLOSED,
};

/**
 * struct udmabuf_view - a dma-buf
 * @base: first, see view.h
 * @job: what the worker does
 * @udmabuf: whose it is
 * @step: whose turn it is: the worker's, while it is not VIEW_LIVES
 * @backing: what it is made of
 * @runs: its runs, or &@own
 * @own: see udmabuf_view_dispose()
 * @draft: as long as it is being made
 * @made: see udmabuf_view_create()
 * @freed: see udmabuf_view_free()
 * @cookie: of either
 * @fd: our only descriptor of it, or -1
 * @error: why it was not made, an errno
 * @refused: what page_uses_add() said, a negative errno, or 0
 * @most: what page_uses_most() said when the worker was done
 * @heard: it was done with something
 * @dev: with @ino its identity
 * @ino: see @dev
 * @items: pieces that it is made of
 * @bytes: size
 * @cost: charged for it
 */
struct udmabuf_view {
	struct memory_view base;
	struct worker_job job;
	struct udmabuf *udmabuf;
	enum view_step step;
	const struct backing *backing;
	const struct run_list *runs;
	struct run_list own;
	struct udmabuf_draft *draft;
	memory_view_made *made;
	memory_view_freed *freed;
	void *cookie;
	int fd;
	int error;
	int refused;
	uint32_t most;
	bool heard;
	dev_t dev;
	ino_t ino;
	uint64_t items;
	uint64_t bytes;
	uint64_t cost;
};

/* Whether another complaint of this kind may be logged now. */
bool udmabuf_may_log(struct udmabuf *udmabuf, enum complaint what);
/*
 * Whether the limits let through what is known of @backing: the runs that came, and
 * its size.  If not, that is logged.
 */
bool udmabuf_within_limits(struct udmabuf *udmabuf, const struct backing *backing);
/* Whether a file of @backing is unfit; if so, that is logged. */
bool udmabuf_memory_unfit(struct udmabuf *udmabuf, const struct backing *backing);
/* The references that there are on the dma-buf of @fd, or a negative errno. */
long udmabuf_references(struct udmabuf *udmabuf, int fd);
/*
 * That a duplicate and a mapping of @fd, a dma-buf of a @page, count, and no longer
 * than they are there.
 */
int udmabuf_probe_counting(struct udmabuf *udmabuf, int fd, size_t page);

#endif /* UDMABUF_INTERNAL_H */
