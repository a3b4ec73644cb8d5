/* SPDX-License-Identifier: MIT */
/*
 * userptr: the core of userptr resources
 *
 * Assembles resources from CREATE and ADD commands as described in
 * <linux/virtio_gpu_userptr.h>, checks every entry against guest memory, keeps
 * the limits, and ends a resource so that the end is reported only when no
 * access is possible any more.  It takes no VMM, transport or renderer type.
 *
 * Streaming: the guest sends a chunk while it pins the next one, so all that is
 * O(entries) is done with the chunk that brings them, and nothing here goes over
 * all runs again when the last one came.  The command that brings the last byte
 * of the size completes the resource.  nr_segments of CREATE only bounds how many
 * entries come until then: fewer are fine, it may be more than the size has pages,
 * and nothing is reserved for it.  With 0 max_segments is the only bound.
 *
 * How a refusal is answered:
 *
 *	INVALID_RESOURCE_ID	id 0, in use (CREATE); unknown, not half-built (ADD);
 *				unknown (DESTROY)
 *	ERR_LIMIT		size, bound, entries or runs beyond what the device takes
 *	OUT_OF_MEMORY		the process is out of memory, guest RAM that was never
 *				touched cannot be had, or it is damaged
 *	ERR_UNSUPPORTED		RDONLY where the device does not offer it
 *	INVALID_PARAMETER	everything else that is wrong with the request: more
 *				entries than its own bound, entries behind the last byte
 *				and more than max_entries in a command included
 *
 * Threads: all functions are called on the ring thread.
 */
#ifndef USERPTR_H
#define USERPTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/backing.h"

#define USERPTR_ALIGNMENT 4096u

struct guest_memory;
struct virtio_gpu_ctrl_hdr;
struct userptr_core;
struct userptr;

/**
 * enum userptr_state - the states of the wire header
 * @USERPTR_HALF_BUILT: some bytes are still to be described
 * @USERPTR_USABLE: complete, may be attached
 * @USERPTR_FAILED: only DESTROY is accepted; holds no memory
 * @USERPTR_DYING: DESTROY was taken and is not answered yet; the id is in use
 */
enum userptr_state {
	USERPTR_HALF_BUILT,
	USERPTR_USABLE,
	USERPTR_FAILED,
	USERPTR_DYING,
};

/**
 * struct userptr_entry - a struct virtio_gpu_mem_entry
 * @addr: guest-physical address
 * @length: bytes
 * @padding: 0, if the command says so
 */
struct userptr_entry {
	uint64_t addr;
	uint32_t length;
	uint32_t padding;
};

/**
 * struct userptr_limits - what the core takes
 * @max_size: bytes of a resource
 * @max_segments: entries, and runs, of a resource
 * @max_entries: entries of a command
 * @max_total_runs: runs of everything that is charged to the core; what a draft
 *	(see struct userptr_view_ops) takes is in proportion to them
 * @max_resources: resources in whatever state
 * @rdonly: accept VIRTIO_GPU_USERPTR_RDONLY
 */
struct userptr_limits {
	uint64_t max_size;
	uint32_t max_segments;
	uint32_t max_entries;
	uint64_t max_total_runs;
	uint32_t max_resources;
	bool rdonly;
};

/**
 * struct userptr_view_ops - what a renderer needs the memory to be, if not runs
 * @extend: a chunk came, the last one included: do with the new runs what can be
 *	done before all are there, in *draft, which is NULL with the first chunk.
 *	The last run that was there before may have grown.
 * @create: the resource became complete: make the view (a dma-buf, say) of @draft
 *	without going over all runs.  If that fails @draft is as before, and *view
 *	is left alone; else @draft is gone.
 * @discard: the resource failed or ends before it was complete: free @draft, which
 *	is not NULL
 * @quiesce: nobody holds the resource any more: end what the view, which is not
 *	NULL, gives access to and free it.  Returns true when that is done; false if
 *	it will be, with userptr_view_gone().  With @wait it must be done on return;
 *	so a reset calls it, also for a view for which it has returned false before
 *	and which is not gone yet, and userptr_view_gone() must not follow then.
 *
 * @extend and @create return VIRTIO_GPU_RESP_OK_NODATA, or the error that the guest
 * is to get.  A draft or view may stay NULL if this resource needs none.
 */
struct userptr_view_ops {
	uint32_t (*extend)(void *opaque, const struct backing *backing, void **draft);
	uint32_t (*create)(void *opaque, const struct backing *backing, void *draft, void **view);
	void (*discard)(void *opaque, void *draft);
	bool (*quiesce)(void *opaque, struct userptr *userptr, void *view, bool wait);
};

/**
 * struct userptr_host - what the core asks of whom it is built into
 * @opaque: first argument of everything here
 * @id_in_use: another kind of resource has this id
 * @destroyed: no access any more; @cookie is the one of userptr_destroy_begin()
 * @view: NULL if the run list is all that is needed
 */
struct userptr_host {
	void *opaque;
	bool (*id_in_use)(void *opaque, uint32_t id);
	void (*destroyed)(void *opaque, void *cookie);
	const struct userptr_view_ops *view;
};

/**
 * struct userptr_totals - what is held now, and what became of the rest
 * @resources: in whatever state
 * @segments: entries received for them
 * @runs: runs kept for them
 * @bytes: bytes described by them
 * @created: resources that became usable, ever
 * @created_bytes: their sizes
 * @created_segments: their entries
 */
struct userptr_totals {
	uint64_t resources;
	uint64_t segments;
	uint64_t runs;
	uint64_t bytes;
	uint64_t created;
	uint64_t created_bytes;
	uint64_t created_segments;
};

/* NULL if out of memory.  @gm stays the caller's and must outlive the core. */
struct userptr_core *userptr_core_new(const struct userptr_limits *limits,
				      const struct userptr_host *host, struct guest_memory *gm);
/* Nobody may hold any resource.  Takes NULL, too. */
void userptr_core_free(struct userptr_core *core);

/* Drop every resource, without destroyed(). Nobody may hold any. */
void userptr_core_reset(struct userptr_core *core);

/* See struct userptr_totals. */
void userptr_core_totals(const struct userptr_core *core, struct userptr_totals *totals);

/*
 * The commands, as they came: header, fields and entries.  The answer is
 * VIRTIO_GPU_RESP_OK_NODATA or an error.
 */
uint32_t userptr_create(struct userptr_core *core, const void *data, size_t len);
uint32_t userptr_add_pages(struct userptr_core *core, const void *data, size_t len);

/* Check a DESTROY: RESP_OK_NODATA and the resource, or an error. */
uint32_t userptr_destroy_check(struct userptr_core *core, const void *data, size_t len,
			       struct userptr **out);
/*
 * Two steps, so that between them the caller can tell everybody who uses the
 * resource to stop.  destroyed(@cookie) is called from the second or later.
 */
void userptr_destroy_begin(struct userptr *userptr, void *cookie);
void userptr_destroy_end(struct userptr *userptr);
/* The view's quiesce() had returned false and is done now. */
void userptr_view_gone(struct userptr *userptr);

/* NULL if there is none. */
struct userptr *userptr_find(const struct userptr_core *core, uint32_t id);
enum userptr_state userptr_state(const struct userptr *userptr);
struct backing *userptr_backing(struct userptr *userptr);

/* What all commands of resources have in common. */
bool userptr_padding_is_zero(const struct virtio_gpu_ctrl_hdr *hdr);
/* Entry @index of those that follow a command, in host byte order. */
struct userptr_entry userptr_entry_at(const void *entries, uint32_t index);

/*
 * The budget of runs, also for resources of other kinds.  Appends guest range
 * [addr, addr + len) to @list, with every page of it there (see
 * run_populate()), and charges the runs that the list grew by;
 * @max_runs bounds the list.  What was appended before an error stays in the
 * list and is charged, so whatever comes back, userptr_drop_runs() is the way
 * to undo it.
 */
uint32_t userptr_append_range(struct userptr_core *core, struct run_list *list, uint64_t addr,
			      uint64_t len, uint64_t max_runs);
/* Destroy a list that was charged. */
void userptr_drop_runs(struct userptr_core *core, struct run_list *list);

#endif /* USERPTR_H */
