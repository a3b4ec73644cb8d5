/* SPDX-License-Identifier: MIT */
/*
 * gpu_internal: what the files of the device know of each other
 *
 * For gpu_*.c only.  The state of the device is here, and of its commands, contexts
 * and blobs; the section of a file has what it does for the others, and its handlers
 * of commands.  A handler gets a command whose bytes are as many as its struct has at
 * least, and returns the type of the answer, or LATER.
 *
 * Threads: the ring thread only.
 */
#ifndef GPU_INTERNAL_H
#define GPU_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "gpu/gpu_device.h"
#include "memory/backing.h"
#include "memory/memory_limits.h"
#include "renderer/renderer.h"
#include "util/id_table.h"
#include "util/quota.h"

struct gpu_command_type;
struct gpu_timeline;
struct host_visible;
struct mapping;
struct release;
struct stitch;
struct udmabuf;
struct userptr_core;
struct userptr_view_ops;
struct worker;

#define GPU_MAX_RENDERERS 3
#define GPU_TIMELINE_BUCKETS 64
/* A handler's result: executed later, or already over; the command is gone. */
#define LATER 0

/**
 * struct gpu_command - a request that is not answered yet
 * @dev: whose
 * @link: in the list of all
 * @req: the transport's
 * @capacity: bytes of answer that the guest has room for
 * @type: NULL if unknown
 * @hdr: as it came, zeroes if it did not
 * @data: the request, while the handler runs
 * @len: bytes of @data
 * @resp: what the handler answers beside the type, with room for the header
 * @resp_len: bytes of it
 * @response: type of the answer, once executed
 * @ready: executed, and no fault holds it back
 * @fault: LOOPBACK_FAULT_DELAY or _DROP, to be done when executed
 * @delay: milliseconds
 * @due: when a delayed answer is ready, else 0 (CLOCK_MONOTONIC, ns)
 * @timeline: if fenced
 * @fenced_link: in the timeline
 * @destroyed: a userptr resource is gone, and the answer will say so
 * @text: decoded fields for the log
 */
struct gpu_command {
	struct gpu_device *dev;
	TAILQ_ENTRY(gpu_command) link;
	struct gpu_request *req;
	size_t capacity;
	const struct gpu_command_type *type;
	struct virtio_gpu_ctrl_hdr hdr;
	const unsigned char *data;
	size_t len;
	unsigned char *resp;
	size_t resp_len;
	uint32_t response;
	bool ready;
	uint32_t fault;
	uint64_t delay;
	uint64_t due;
	struct gpu_timeline *timeline;
	STAILQ_ENTRY(gpu_command) fenced_link;
	bool destroyed;
	char text[120];
};

/**
 * struct gpu_blob - a resource of memory that the driver or a renderer allocated
 * @backing: first, so that idle() finds the rest; the guest's pages, none if
 *	@mem is HOST3D
 * @dev: whose
 * @create: the command to be answered when its renderer has made it, else NULL
 * @map: a command that waits for that, or NULL
 * @map_offset: of it
 * @unref: the command to be answered when nobody uses it any more
 * @mem: VIRTIO_GPU_BLOB_MEM_*
 * @flags: VIRTIO_GPU_BLOB_FLAG_USE_*
 * @renderer: index of the renderer that makes it, or -1: it is of guest memory
 *	and nothing else
 * @mapping: what the guest asked to be mapped, and not yet to be unmapped
 * @nr_mappings: that are not over for the VMM
 */
struct gpu_blob {
	struct backing backing;
	struct gpu_device *dev;
	struct gpu_command *create;
	struct gpu_command *map;
	uint64_t map_offset;
	struct gpu_command *unref;
	uint32_t mem;
	uint32_t flags;
	int renderer;
	struct mapping *mapping;
	unsigned int nr_mappings;
};

/**
 * struct gpu_context - a rendering context
 * @base: the renderer's, or &@own
 * @renderer: index of its renderer, or -1: capset 0, which no renderer offers.
 *	Drivers make such contexts for clients that do not ask for a capset;
 *	resources can be attached to it, and it executes nothing.
 * @rdonly: cannot write to read-only resources
 * @lost: its renderer has given it up; the guest can only destroy it
 * @blobs: id to struct gpu_blob, those of a renderer that are attached; the others
 *	are in base->resources
 * @own: see @base
 */
struct gpu_context {
	struct renderer_context *base;
	int renderer;
	bool rdonly;
	bool lost;
	struct id_table blobs;
	struct renderer_context own;
};

/**
 * struct gpu_renderer_slot - one renderer
 * @ops: what it is
 * @renderer: it
 */
struct gpu_renderer_slot {
	const struct renderer_ops *ops;
	struct renderer *renderer;
};

/**
 * struct gpu_device - the device
 * @config: from the command line
 * @transport: the way back
 * @gm: guest memory, the transport's
 * @features: accepted by the driver
 * @userptrs: the userptr core
 * @blobs: id to struct gpu_blob
 * @nr_host_blobs: of @blobs, those of renderers
 * @visible: where the guest sees them
 * @udmabuf: makes dma-bufs of userptr resources, or NULL
 * @stitch: makes ranges of addresses of them, or NULL
 * @has_amdgpu: one of the renderers is our own for amdgpu
 * @release: lets go of the views, or NULL
 * @evicting: the resource that contexts are being ended for
 * @imports: attachments of userptr resources as their views, ever
 * @contexts: id to struct gpu_context
 * @nr_attachments: in all contexts together
 * @quotas: what userptr resources cost in all
 * @quota_blobs: of @blobs
 * @quota_contexts: of @contexts
 * @quota_attachments: of @nr_attachments
 * @quota_context_attachments: what each context may have of them
 * @worker: does what takes as long as there are pages
 * @touches_memory: a renderer does, with the CPU
 * @renderers: what executes
 * @nr_renderers: of @renderers
 * @commands: all that are not answered, the newest first
 * @nr_commands: of @commands
 * @timelines: hash buckets
 * @fault: armed if kind is not NONE
 * @counts: ever; the fields that say what is held now are not kept here
 * @base: all numbers at the last reset
 * @epoll: of renderers and @timer
 * @timer: goes off when the first delayed answer is due
 * @bus_faults: as many were there when guest memory was last looked at
 * @resetting: commands that are executed now are to be handed back
 */
struct gpu_device {
	struct gpu_config config;
	struct gpu_transport transport;
	struct guest_memory *gm;
	uint64_t features;
	struct userptr_core *userptrs;
	struct id_table blobs;
	unsigned int nr_host_blobs;
	struct host_visible *visible;
	struct udmabuf *udmabuf;
	struct stitch *stitch;
	bool has_amdgpu;
	struct release *release;
	const struct backing *evicting;
	uint64_t imports;
	struct id_table contexts;
	unsigned int nr_attachments;
	struct memory_quotas quotas;
	struct quota quota_blobs;
	struct quota quota_contexts;
	struct quota quota_attachments;
	struct quota quota_context_attachments;
	struct worker *worker;
	bool touches_memory;
	struct gpu_renderer_slot renderers[GPU_MAX_RENDERERS];
	unsigned int nr_renderers;
	TAILQ_HEAD(gpu_command_list, gpu_command) commands;
	unsigned int nr_commands;
	LIST_HEAD(gpu_timeline_list, gpu_timeline) timelines[GPU_TIMELINE_BUCKETS];
	struct renderer_fault fault;
	struct loopback_stats counts;
	struct loopback_stats base;
	int epoll;
	int timer;
	unsigned int bus_faults;
	bool resetting;
};

/* ---- gpu_command.c ---- */

/* Decoded fields, for the line that is logged with the answer. */
__attribute__((format(printf, 2, 3))) void gpu_command_describe(struct gpu_command *cmd,
								const char *format, ...);
/* Room for @len bytes of answer (header included), zeroed; NULL: no memory. */
void *gpu_command_resp(struct gpu_command *cmd, size_t len);
/*
 * It was done, with this outcome.  Answers it, unless something holds the answer
 * back, and what waited for it in its timeline; those commands are gone then.
 */
void gpu_command_executed(struct gpu_command *cmd, uint32_t response);
/* RESOURCE_CREATE_USERPTR, _ADD_USERPTR_PAGES or _DESTROY_USERPTR. */
bool gpu_command_is_userptr(uint32_t type);
/* Answer those that were marked as ready by others than gpu_command_executed(). */
void gpu_commands_answer_ready(struct gpu_device *dev);
/*
 * All are over, as the device is: answered with ERR_UNSPEC, in the order in which
 * they came, or (@answer is false) not at all.
 */
void gpu_commands_drop(struct gpu_device *dev, bool answer);

/* ---- gpu_fault.c ---- */

/* Nothing is armed.  Adds its timer to the epoll of @dev.  0 or a negative errno. */
int gpu_fault_open(struct gpu_device *dev);
/* No answer may be delayed any more. */
void gpu_fault_close(struct gpu_device *dev);
/* See struct renderer_host; @opaque is the device. */
void gpu_fault_arm(void *opaque, const struct renderer_fault *fault);
/* What was armed strikes no more; commands that it has struck stay so. */
void gpu_fault_disarm(struct gpu_device *dev);
/* Before a command is executed; false: it is gone, the fault was all there is to do. */
bool gpu_fault_apply(struct gpu_device *dev, struct gpu_command *cmd);
/* When it was executed; true: it is not to be answered now. */
bool gpu_fault_withholds(struct gpu_command *cmd);
/* The timer goes off when the first delayed answer is due. */
void gpu_fault_set_timer(struct gpu_device *dev);
/* Answer what was delayed and is due now. */
void gpu_fault_dispatch(struct gpu_device *dev);

/* ---- gpu_info.c ---- */

/* Capsets of all renderers. */
unsigned int gpu_nr_capsets(const struct gpu_device *dev);
/*
 * The capset of that @index among all, or, if @id is not 0, of that id.
 * Returns the index of its renderer, or -1.
 */
int gpu_find_capset(const struct gpu_device *dev, unsigned int index, uint32_t id,
		    struct renderer_capset *out);
/* A bit for the id of each capset whose contexts cannot write to read-only resources. */
uint64_t gpu_rdonly_capset_mask(const struct gpu_device *dev);

uint32_t gpu_handle_get_display_info(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_get_capset_info(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_get_capset(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_get_userptr_info(struct gpu_device *dev, struct gpu_command *cmd);

/* ---- gpu_context.c ---- */

/* A context that can still do something, or NULL. */
struct gpu_context *gpu_find_context(const struct gpu_device *dev, uint32_t id);
/* Detach a resource from every context that it is attached to. */
void gpu_contexts_detach(struct gpu_device *dev, uint32_t id);
/* Destroy all. */
void gpu_contexts_drop(struct gpu_device *dev);
/* See struct renderer_host; @opaque is the device, @cookie the command. */
void gpu_submitted(void *opaque, void *cookie, uint32_t response);
/* May come at any time, from within an op on this very context too. */
void gpu_context_lost(void *opaque, struct renderer_context *base);

uint32_t gpu_handle_ctx_create(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_ctx_destroy(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_ctx_attach(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_ctx_detach(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_submit_3d(struct gpu_device *dev, struct gpu_command *cmd);

/* ---- gpu_resource.c ---- */

/* A resource of guest memory that may be used, or NULL. */
struct backing *gpu_find_backing(const struct gpu_device *dev, uint32_t id);
/* Between stop and the release that follows: end all use of the resource. */
void gpu_backing_end_use(struct gpu_device *dev, struct backing *backing);
/* The userptr core, with the limits of the configuration; NULL if out of memory. */
struct userptr_core *gpu_userptrs_new(struct gpu_device *dev, const struct userptr_view_ops *view);

uint32_t gpu_handle_create_userptr(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_add_userptr_pages(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_destroy_userptr(struct gpu_device *dev, struct gpu_command *cmd);

/* ---- gpu_views.c ---- */

/* Whether the configuration asks for our own amdgpu renderer. */
bool gpu_wants_amdgpu(const struct gpu_config *config);
/* The worker, and what renderers may need; 0 or a negative errno. */
int gpu_views_open(struct gpu_device *dev);
/* The renderers are there: the rest; 0 or a negative errno. */
int gpu_views_settle(struct gpu_device *dev);
/* All resources are gone. */
void gpu_views_close(struct gpu_device *dev);
/* For gpu_userptrs_new(). */
const struct userptr_view_ops *gpu_views_ops(const struct gpu_device *dev);
void gpu_views_dispatch(struct gpu_device *dev);
/* Whether guest memory, as it is now, can be made into views; if not, that was logged. */
bool gpu_views_usable(const struct gpu_device *dev);
/* Pieces that a resource can have before no view can be made of it. */
uint64_t gpu_views_max_segments(const struct gpu_device *dev);
/* What resources of guest memory cost, and may cost. */
void gpu_views_print_quotas(const struct gpu_device *dev, FILE *to);

/* ---- gpu_blob.c ---- */

/* A blob of a renderer that may be used, or NULL. */
struct gpu_blob *gpu_find_host_blob(const struct gpu_device *dev, uint32_t id);
/* See struct renderer_host; @opaque is the device, @cookie the blob. */
void gpu_blob_created(void *opaque, void *cookie, uint32_t response);
void gpu_blob_destroyed(void *opaque, void *cookie);
/* Forget all; they are attached nowhere, and no mapping of them is left. */
void gpu_blobs_drop(struct gpu_device *dev);
/* The host-visible region, in which blobs are mapped; NULL if out of memory. */
struct host_visible *gpu_visible_new(struct gpu_device *dev);

uint32_t gpu_handle_create_blob(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_unref(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_map_blob(struct gpu_device *dev, struct gpu_command *cmd);
uint32_t gpu_handle_unmap_blob(struct gpu_device *dev, struct gpu_command *cmd);

#endif /* GPU_INTERNAL_H */
