/* SPDX-License-Identifier: MIT */
/*
 * renderer: the seam between the device and what executes command streams
 *
 * The device owns resources, context ids, the table of what is attached where,
 * fences and answers.  A renderer owns its capsets, what a context means and
 * the execution of submissions.
 *
 * Threads: every op is called on the ring thread, and every callback of struct
 * renderer_host must be made on it: from within an op, or from dispatch().  A
 * renderer with threads of its own makes its fd readable to be dispatched.
 */
#ifndef RENDERER_H
#define RENDERER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backing.h"
#include "id_table.h"

struct loopback_stats;
struct renderer;

/**
 * struct renderer_capset - one capset that a renderer offers
 * @id: VIRTIO_GPU_CAPSET_*
 * @version: highest
 * @size: bytes of its data
 * @rdonly: its contexts cannot write to a read-only resource
 */
struct renderer_capset {
	uint32_t id;
	uint32_t version;
	uint32_t size;
	bool rdonly;
};

/**
 * struct renderer_context - what the device keeps in a renderer's context
 * @id: the guest's context id
 * @resources: id to struct backing, what is attached; the device's to change
 */
struct renderer_context {
	uint32_t id;
	struct id_table resources;
};

/**
 * struct renderer_fault - a fault to arm in the device (see virtgpu_loopback.h)
 * @kind: enum loopback_fault
 * @type: VIRTIO_GPU_CMD_*, 0: any userptr command or attach
 * @skip: commands to let pass
 * @count: commands to strike
 * @param: response type or milliseconds
 */
struct renderer_fault {
	uint32_t kind;
	uint32_t type;
	uint64_t skip;
	uint64_t count;
	uint64_t param;
};

/**
 * struct renderer_host - callbacks into the device
 * @opaque: first argument of all
 * @submitted: a submission that submit() accepted is over, and no access by it
 *	goes on; @response is its answer
 * @inject: arm a fault
 * @stats: fill in all but jobs
 */
struct renderer_host {
	void *opaque;
	void (*submitted)(void *opaque, void *cookie, uint32_t response);
	void (*inject)(void *opaque, const struct renderer_fault *fault);
	void (*stats)(void *opaque, struct loopback_stats *stats);
};

/**
 * struct renderer_config - from the command line
 * @allow_inject: see struct gpu_config
 */
struct renderer_config {
	bool allow_inject;
};

/**
 * struct renderer_ops - a renderer; int results are 0 or a negative errno
 * @name: for the log
 * @create: start it
 * @destroy: stop its threads; it has no contexts left
 * @capset: the capset of that index; false beyond the last
 * @capset_data: capset.size bytes
 * @context_create: embeds struct renderer_context, which the device fills in
 * @context_destroy: its queued work is cancelled, work that runs ends soon; what
 *	the context holds goes as that work ends.  Frees @resources too.
 * @attach: @resources has the resource from now on; may be NULL
 * @detach: it has not any more; work that uses it already goes on; may be NULL
 * @submit: take a copy of @data and run it in the ring's order.  0: submitted()
 *	follows, perhaps before this returns; else the error to answer.  What
 *	the work touches it holds (backing_hold()) until it is over.
 * @quiesce: @backing was stopped: end all work that uses it.  The renderer's
 *	holds go as the work ends, which is what the device waits for.
 * @reset: end all work and wait for it; submitted() for each before returning
 * @jobs: commands executed, ever
 * @fd: readable when dispatch() has something to do
 * @dispatch: make the callbacks that are due
 */
struct renderer_ops {
	const char *name;
	int (*create)(const struct renderer_config *config, const struct renderer_host *host,
		      struct renderer **out);
	void (*destroy)(struct renderer *renderer);
	bool (*capset)(const struct renderer *renderer, unsigned int index,
		       struct renderer_capset *out);
	void (*capset_data)(const struct renderer *renderer, uint32_t id, uint32_t version,
			    void *data);
	int (*context_create)(struct renderer *renderer, uint32_t capset, const char *name,
			      struct renderer_context **out);
	void (*context_destroy)(struct renderer *renderer, struct renderer_context *context);
	int (*attach)(struct renderer_context *context, struct backing *backing);
	void (*detach)(struct renderer_context *context, struct backing *backing);
	uint32_t (*submit)(struct renderer *renderer, struct renderer_context *context,
			   uint8_t ring, const void *data, size_t size, void *cookie);
	void (*quiesce)(struct renderer *renderer, struct backing *backing);
	void (*reset)(struct renderer *renderer);
	uint64_t (*jobs)(const struct renderer *renderer);
	int (*fd)(const struct renderer *renderer);
	void (*dispatch)(struct renderer *renderer);
};

extern const struct renderer_ops renderer_loopback;

#endif /* RENDERER_H */
