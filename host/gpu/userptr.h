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
 * O(entries) is done with the chunk that brings them.  The command that brings the
 * last byte of the size completes the resource: then its pages are made to be there,
 * if somebody's CPU will touch them, and its view is made.  Both take as long as it
 * has pages, and so are a worker's; the command is answered when they are done.  nr_segments of CREATE only bounds how many
 * entries come until then: fewer are fine, it may be more than the size has pages,
 * and nothing is reserved for it.  With 0 max_segments is the only bound.
 *
 * How a refusal is answered:
 *
 *	INVALID_RESOURCE_ID	id 0, in use (CREATE); unknown, not half-built (ADD);
 *				unknown (DESTROY)
 *	ERR_LIMIT		size, bound, entries or runs beyond what the device takes of
 *				one resource, or of all; larger than guest RAM.  Each of
 *				these is a quota, or was logged
 *	OUT_OF_MEMORY		the process is out of memory, guest RAM that was never
 *				touched cannot be had, or it is damaged
 *	ERR_UNSUPPORTED		RDONLY where the device does not offer it
 *	INVALID_PARAMETER	everything else that is wrong with the request: more
 *				entries than its own bound, entries behind the last byte
 *				and more than max_entries in a command included; a page
 *				that comes twice where there is a dma-buf
 *	ERR_UNSPEC		DESTROY came before it was complete
 *
 * Threads: all functions are called on the device's thread.
 */
#ifndef USERPTR_H
#define USERPTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "memory/backing.h"

#define USERPTR_ALIGNMENT 4096u

struct guest_memory;
struct memory_quotas;
struct virtio_gpu_ctrl_hdr;
struct userptr_core;
struct userptr;
struct worker;

/* A command that is answered with completed(); no type of an answer. */
#define USERPTR_LATER 0u

/**
 * enum userptr_state - the states of the wire header
 * @USERPTR_HALF_BUILT: some bytes are still to be described
 * @USERPTR_MAKING: complete, but a worker is at it
 * @USERPTR_USABLE: complete, may be attached
 * @USERPTR_FAILED: only DESTROY is accepted; holds no memory
 * @USERPTR_DYING: DESTROY was taken and is not answered yet; the id is in use
 */
enum userptr_state {
	USERPTR_HALF_BUILT,
	USERPTR_MAKING,
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
 * struct userptr_limits - what the core takes of one resource; for the sums see
 *	memory/memory_limits.h
 * @max_size: bytes of a resource
 * @max_segments: entries, and runs, of a resource
 * @max_entries: entries of a command
 * @rdonly: accept VIRTIO_GPU_USERPTR_RDONLY
 */
struct userptr_limits {
	uint64_t max_size;
	uint32_t max_segments;
	uint32_t max_entries;
	bool rdonly;
};

/**
 * struct userptr_view_ops - what a renderer needs the memory to be, if not runs
 * @extend: a chunk came, the last one included: do with the new runs what can be
 *	done before all are there, in *draft, which is NULL with the first chunk.
 *	The last run that was there before may have grown.
 * @create: the resource became complete: make the view (a dma-buf, say) of @draft.  If
 *	that fails @draft is as before, and *view is left alone; else @draft is gone.
 *	USERPTR_LATER: userptr_view_made() follows, and *view is only for @abandon.
 * @abandon: it must not follow any more; the runs of the resource may be taken
 * @discard: the resource failed or ends before it was complete: free @draft, which
 *	is not NULL
 * @quiesce: nobody holds the resource any more: end what the view, which is not
 *	NULL, gives access to and free it.  Returns true when that is done; false if
 *	it will be, with userptr_view_gone().  With @wait nobody may have access on
 *	return; what is left to be done takes over the runs of the resource.  So a reset
 *	calls it, also for a view for which it has returned false before and which is not
 *	gone yet, and userptr_view_gone() must not follow then.
 *
 * @extend and @create return VIRTIO_GPU_RESP_OK_NODATA, or the error that the guest
 * is to get.  A draft or view may stay NULL if this resource needs none.
 */
struct userptr_view_ops {
	uint32_t (*extend)(void *opaque, const struct backing *backing, void **draft);
	uint32_t (*create)(void *opaque, struct userptr *userptr, void *draft, void **view);
	void (*abandon)(void *opaque, struct userptr *userptr, void *view);
	void (*discard)(void *opaque, void *draft);
	bool (*quiesce)(void *opaque, struct userptr *userptr, void *view, bool wait);
};

/**
 * struct userptr_host - what the core asks of whom it is built into
 * @opaque: first argument of everything here
 * @id_in_use: another kind of resource has this id
 * @completed: the answer to a command for which USERPTR_LATER was returned; @cookie is
 *	its own
 * @destroyed: no access any more, and nothing of it is left; @cookie is the one of
 *	userptr_destroy_begin()
 * @view: NULL if the run list is all that is needed
 * @populate: somebody's CPU touches the memory, see run_populate()
 * @quotas: what is charged; outlives the core
 * @worker: does what takes long; NULL: all is done at once
 */
struct userptr_host {
	void *opaque;
	bool (*id_in_use)(void *opaque, uint32_t id);
	void (*completed)(void *opaque, void *cookie, uint32_t response);
	void (*destroyed)(void *opaque, void *cookie);
	const struct userptr_view_ops *view;
	bool populate;
	struct memory_quotas *quotas;
	struct worker *worker;
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

/*
 * Drop every resource, without completed() and destroyed(). Nobody may hold any.  Waits
 * for one job of the worker at most, which cannot be split if it is a system call.
 */
void userptr_core_reset(struct userptr_core *core);

/* See struct userptr_totals. */
void userptr_core_totals(const struct userptr_core *core, struct userptr_totals *totals);
/* Limits that each resource has, as lines of the statistics. */
void userptr_core_print_quotas(const struct userptr_core *core, FILE *to);

/*
 * The commands, as they came: header, fields and entries.  The answer is
 * VIRTIO_GPU_RESP_OK_NODATA, an error, or USERPTR_LATER, after which completed(@cookie)
 * follows; @data is not needed any more then.
 */
uint32_t userptr_create(struct userptr_core *core, const void *data, size_t len, void *cookie);
uint32_t userptr_add_pages(struct userptr_core *core, const void *data, size_t len, void *cookie);

/* Check a DESTROY: RESP_OK_NODATA and the resource, or an error. */
uint32_t userptr_destroy_check(struct userptr_core *core, const void *data, size_t len,
			       struct userptr **out);
/*
 * Two steps, so that between them the caller can tell everybody who uses the
 * resource to stop.  destroyed(@cookie) is called from the second or later.
 */
void userptr_destroy_begin(struct userptr *userptr, void *cookie);
void userptr_destroy_end(struct userptr *userptr);
/* The view's create() had returned USERPTR_LATER: OK and the view, or the error. */
void userptr_view_made(struct userptr *userptr, void *view, uint32_t response);
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
 * [addr, addr + len) to @list, with every page of it there if host.populate says so,
 * and charges what the list has room for; @max_runs bounds the list.  What was
 * appended before an error stays in the list and is charged, so whatever comes back,
 * userptr_drop_runs() is the way to undo it.  userptr_trim_runs() gives back what it
 * grew by for nothing.
 */
uint32_t userptr_append_range(struct userptr_core *core, struct run_list *list, uint64_t addr,
			      uint64_t len, uint64_t max_runs);
void userptr_trim_runs(struct userptr_core *core, struct run_list *list);
/* Destroy a list that was charged. */
void userptr_drop_runs(struct userptr_core *core, struct run_list *list);

#endif /* USERPTR_H */
