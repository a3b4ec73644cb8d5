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

#include "memory/backing.h"
#include "util/id_table.h"

struct loopback_stats;
struct renderer;
struct udmabuf;

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
 * struct renderer_submission - a SUBMIT_3D
 * @ring: ring of the context whose order it keeps
 * @fenced: the guest wants to know when it is over; if not, its answer says
 *	only that it was taken
 * @data: the command stream
 * @size: bytes of @data
 */
struct renderer_submission {
	uint8_t ring;
	bool fenced;
	const void *data;
	size_t size;
};

/**
 * struct renderer_blob - a resource whose memory a renderer makes
 * @id: the guest's resource id
 * @mem: VIRTIO_GPU_BLOB_MEM_HOST3D or _HOST3D_GUEST
 * @flags: VIRTIO_GPU_BLOB_FLAG_USE_*
 * @blob_id: what the context calls the memory
 * @size: bytes, not 0
 * @guest: HOST3D_GUEST: the guest's pages of it, kept by the device as long as
 *	the blob; else NULL
 */
struct renderer_blob {
	uint32_t id;
	uint32_t mem;
	uint32_t flags;
	uint64_t blob_id;
	uint64_t size;
	struct backing *guest;
};

/**
 * struct renderer_mapping - what a VMM can map of a blob
 * @fd: a descriptor of the caller's, to be closed
 * @offset: of the blob's first byte
 * @cache: VIRTIO_GPU_MAP_CACHE_*
 */
struct renderer_mapping {
	int fd;
	uint64_t offset;
	uint32_t cache;
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
 * @blob_created: what blob_create() accepted is over; @response is its answer
 * @blob_destroyed: the blob of a blob_destroy() that was not done at once is gone
 * @lost: the context is dead: the renderer has ended it, or found that it had
 *	ended.  Its submissions were answered with submitted(); the device
 *	refuses it from now on, until the guest destroys it.
 */
struct renderer_host {
	void *opaque;
	void (*submitted)(void *opaque, void *cookie, uint32_t response);
	void (*inject)(void *opaque, const struct renderer_fault *fault);
	void (*stats)(void *opaque, struct loopback_stats *stats);
	void (*blob_created)(void *opaque, void *cookie, uint32_t response);
	void (*blob_destroyed)(void *opaque, void *cookie);
	void (*lost)(void *opaque, struct renderer_context *context);
};

/**
 * struct native_limits - what guests may have of a GPU in native contexts; 0: a default
 * @bytes: of buffers that they make, in all contexts; what the GPU can reach, twice
 * @buffers: number of these
 * @va_mappings: ranges of the GPU's address spaces that are mapped
 * @jobs: that were submitted and are not over
 */
struct native_limits {
	uint64_t bytes;
	uint32_t buffers;
	uint32_t va_mappings;
	uint32_t jobs;
};

/**
 * struct renderer_config - from the command line
 * @allow_inject: see struct gpu_config
 * @gm: guest memory
 * @udmabuf: makes the dma-bufs of userptr resources that have one as their view
 *	(backing.view, see memory/view.h); or NULL
 * @no_drm: do not offer DRM native contexts: another renderer does, or nobody is to
 * @grace_ms: how long a context may keep memory that the guest wants back
 * @render_node: path of the GPU for native contexts; NULL: the first that is fit
 * @native: what they may have of it
 */
struct renderer_config {
	bool allow_inject;
	struct guest_memory *gm;
	struct udmabuf *udmabuf;
	bool no_drm;
	unsigned int grace_ms;
	const char *render_node;
	struct native_limits native;
};

/**
 * struct renderer_ops - a renderer; int results are 0 or a negative errno
 * @name: for the log
 * @touches_memory: it reads and writes resources of guest memory with the CPU of this
 *	process, so that their pages must be there
 * @create: start it
 * @destroy: stop its threads; it has no contexts left
 * @capset: the capset of that index; false beyond the last
 * @capset_data: capset.size bytes
 * @context_create: embeds struct renderer_context, which the device fills in
 * @context_destroy: its queued work is cancelled, work that runs ends soon; what
 *	the context holds goes as that work ends.  Frees @resources too.
 * @attach: @resources has the resource, a userptr resource or a guest blob,
 *	from now on; may be NULL
 * @detach: it has not any more; work that uses it already goes on; may be NULL
 * @submit: take a copy of the data and run it in the ring's order.  0: submitted()
 *	follows, perhaps before this returns; else the error to answer.  What
 *	the work touches it holds (backing_hold()) until it is over.
 * @blob_create: make the memory of a blob in @context (NULL: the guest named
 *	none), when all is done that was submitted to it before.  0:
 *	blob_created() follows, perhaps before this returns, and until then the
 *	blob can be attached and detached, but not exported or destroyed; else the
 *	VIRTIO_GPU_RESP_ERR_* to answer.  This and what follows to @blob_destroy
 *	may be NULL: there are no such blobs then.
 * @blob_attach: @context may use the blob from now on; 0 or a negative errno
 * @blob_detach: not any more
 * @blob_export: what a VMM can map of it; 0 or a negative errno
 * @blob_destroy: it is attached to no context and not mapped; forget it.  false:
 *	blob_destroyed() follows, not before this returns, and until then the id
 *	is in use.
 * @quiesce: @backing was stopped: end all work that uses it.  The renderer's
 *	holds go as the work ends, which is what the device waits for.
 * @evict: contexts that @backing was attached to, some time, still hold it long
 *	after quiesce(): end them (lost()).  @force: that was not enough, end
 *	the processes that have it.  May be NULL.
 * @forget: nobody can reach the memory of userptr resource @id any more, and who once
 *	had it need not be known.  May be NULL.
 * @reset: end all work and wait for it; submitted(), blob_created() and
 *	blob_destroyed() for each before returning
 * @jobs: commands executed, ever
 * @fd: readable when dispatch() has something to do
 * @dispatch: make the callbacks that are due
 */
struct renderer_ops {
	const char *name;
	bool touches_memory;
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
			   const struct renderer_submission *submission, void *cookie);
	uint32_t (*blob_create)(struct renderer *renderer, struct renderer_context *context,
				const struct renderer_blob *blob, void *cookie);
	int (*blob_attach)(struct renderer_context *context, uint32_t id);
	void (*blob_detach)(struct renderer_context *context, uint32_t id);
	int (*blob_export)(struct renderer *renderer, uint32_t id, struct renderer_mapping *out);
	bool (*blob_destroy)(struct renderer *renderer, uint32_t id, void *cookie);
	void (*quiesce)(struct renderer *renderer, struct backing *backing);
	void (*evict)(struct renderer *renderer, struct backing *backing, bool force);
	void (*forget)(struct renderer *renderer, uint32_t id);
	void (*reset)(struct renderer *renderer);
	uint64_t (*jobs)(const struct renderer *renderer);
	int (*fd)(const struct renderer *renderer);
	void (*dispatch)(struct renderer *renderer);
};

extern const struct renderer_ops renderer_loopback;
#ifdef HAVE_VIRGLRENDERER
extern const struct renderer_ops renderer_virgl;
#endif
#ifdef HAVE_AMDGPU
extern const struct renderer_ops renderer_amdgpu;
#endif

#endif /* RENDERER_H */
