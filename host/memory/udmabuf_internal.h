/* SPDX-License-Identifier: MIT */
/*
 * udmabuf_internal: what the files of udmabuf share
 *
 * udmabuf.c is the device and the kernel's limits, udmabuf_draft.c the list that
 * the kernel is told, udmabuf_view.c the dma-bufs, and udmabuf_alone.c who has
 * one.  Nobody else includes this.
 *
 * Threads: the ring thread only.
 */
#ifndef UDMABUF_INTERNAL_H
#define UDMABUF_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/udmabuf.h>

#include "memory/udmabuf.h"

#define MIB (UINT64_C(1) << 20)

/* What a refusal is about; a guest can cause any number, the log takes a few. */
enum complaint {
	COMPLAINT_ITEMS,
	COMPLAINT_BYTES,
	COMPLAINT_MEMORY,
	COMPLAINT_OTHER,
	COMPLAINT_COUNT,
	COMPLAINTS,
};

/**
 * struct udmabuf - the device
 * @fd: /dev/udmabuf
 * @spare: a descriptor to give up for a moment: references must be counted also
 *	when there are no more, or nothing would ever be given back; or -1
 * @parameters: folder of the kernel's limits
 * @gm: guest memory
 * @limits: as last read
 * @views: root of the tree of struct udmabuf_view
 * @totals: see there
 * @usable: what the table of @generation is
 * @generation: of the memory table that was last looked at, 0: none
 * @silent_until: for each kind of complaint, as of clock_ms()
 */
struct udmabuf {
	int fd;
	int spare;
	const char *parameters;
	struct guest_memory *gm;
	struct udmabuf_limits limits;
	void *views;
	struct udmabuf_totals totals;
	bool usable;
	uint64_t generation;
	uint64_t silent_until[COMPLAINTS];
};

/**
 * struct udmabuf_draft - the ioctl's argument, as far as the runs have come
 * @capacity: items that fit
 * @list: an item for each run, in their order
 */
struct udmabuf_draft {
	size_t capacity;
	struct udmabuf_create_list list;
};

/**
 * struct udmabuf_view - a dma-buf
 * @udmabuf: whose it is
 * @fd: our only descriptor of it
 * @dev: with @ino its identity
 * @ino: see @dev
 * @items: pieces that it is made of
 */
struct udmabuf_view {
	struct udmabuf *udmabuf;
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t items;
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
