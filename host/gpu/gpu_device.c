// SPDX-License-Identifier: MIT
/*
 * gpu_device: virtio-gpu commands, resources, contexts and fences
 *
 * A request becomes a struct command, which lives until its answer is given.
 * It is executed at once, by the handler in the table of its queue, or later
 * (a submission, the destroy of a resource in use).  Then it may be held back:
 * by a fault that a test armed, or because an earlier fenced command of its
 * timeline is not finished.  Other commands go on meanwhile.
 *
 * Invariants: a fenced command is in a timeline from before it is executed
 * until it is answered, and the commands of a timeline are answered in that
 * order (the driver takes the answer of one as the end of all before it).  An
 * id is in at most one of blobs and userptrs.  A resource that is attached
 * somewhere is usable, so it is detached before it is stopped.  A blob of a
 * renderer is destroyed there when it is attached nowhere and the VMM has no
 * mapping of it.  All that a guest can make this process keep is bounded by the
 * MAX_* below, GPU_DEVICE_MAX_PENDING and the configured limits, and what a
 * renderer's blobs are by the renderer.
 *
 * Threads: the ring thread only.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "gpu/gpu_device.h"
#include "gpu/host_visible.h"
#include "util/id_table.h"
#include "util/log.h"
#include "util/responses.h"
#include "memory/release.h"
#include "renderer/renderer.h"
#include "gpu/userptr.h"
#include "memory/view_udmabuf.h"

#ifndef VIRTIO_F_ACCESS_PLATFORM
#define VIRTIO_F_ACCESS_PLATFORM 33
#endif

#define MAX_CONTEXTS 1024
#define MAX_BLOBS 65536
#define MAX_USERPTRS 65536
#define MAX_ATTACHMENTS (1u << 18)
#define MAX_RENDERERS 2
#define TIMELINE_BUCKETS 64
#define ALWAYS (-1)

/* A handler's result: executed later, or already over; the command is gone. */
#define LATER 0

_Static_assert(sizeof(struct virtio_gpu_resp_display_info) <= GPU_DEVICE_MAX_ANSWER &&
		       sizeof(struct virtio_gpu_resp_userptr_info) <= GPU_DEVICE_MAX_ANSWER,
	       "no answer is larger than is said");

struct command;

/**
 * struct command_type - how one command is taken
 * @type: VIRTIO_GPU_CMD_*
 * @name: for the log
 * @feature: the command is unknown if the driver did not accept it, or ALWAYS
 * @size: bytes of its struct
 * @tail: more bytes may follow; the handler says how many must
 * @handler: does it: an answer's type, or LATER
 */
struct command_type {
	uint32_t type;
	const char *name;
	int feature;
	size_t size;
	bool tail;
	uint32_t (*handler)(struct gpu_device *dev, struct command *cmd);
};

/**
 * struct timeline - fenced commands that are to be answered in order
 * @next: in its bucket
 * @ctx_id: of a ring of a context; 0 for the global one
 * @ring: see @ctx_id
 * @global: the driver did not name a ring
 * @head: oldest command
 * @tail: where to append
 */
struct timeline {
	struct timeline *next;
	uint32_t ctx_id;
	uint8_t ring;
	bool global;
	struct command *head;
	struct command **tail;
};

/**
 * struct command - a request that is not answered yet
 * @dev: whose
 * @next: in the list of all
 * @prev: in the list of all
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
 * @next_fenced: in the timeline
 * @destroyed: a userptr resource is gone, and the answer will say so
 * @text: decoded fields for the log
 */
struct command {
	struct gpu_device *dev;
	struct command *next;
	struct command *prev;
	struct gpu_request *req;
	size_t capacity;
	const struct command_type *type;
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
	struct timeline *timeline;
	struct command *next_fenced;
	bool destroyed;
	char text[120];
};

/**
 * struct blob - a resource of memory that the driver or a renderer allocated
 * @backing: first, so that idle() finds the rest; the guest's pages, none if
 *	@mem is HOST3D
 * @dev: whose
 * @unref: the command to be answered when nobody uses it any more
 * @mem: VIRTIO_GPU_BLOB_MEM_*
 * @flags: VIRTIO_GPU_BLOB_FLAG_USE_*
 * @renderer: index of the renderer that made it, or -1: it is of guest memory
 *	and nothing else
 * @mapping: what the guest asked to be mapped, and not yet to be unmapped
 * @nr_mappings: that are not over for the VMM
 */
struct blob {
	struct backing backing;
	struct gpu_device *dev;
	struct command *unref;
	uint32_t mem;
	uint32_t flags;
	int renderer;
	struct mapping *mapping;
	unsigned int nr_mappings;
};

/**
 * struct context - a rendering context
 * @base: the renderer's, or &@own
 * @renderer: index of its renderer, or -1: capset 0, which no renderer offers.
 *	Drivers make such contexts for clients that do not ask for a capset;
 *	resources can be attached to it, and it executes nothing.
 * @rdonly: cannot write to read-only resources
 * @lost: its renderer has given it up; the guest can only destroy it
 * @blobs: id to struct blob, those of a renderer that are attached; the others
 *	are in base->resources
 * @own: see @base
 */
struct context {
	struct renderer_context *base;
	int renderer;
	bool rdonly;
	bool lost;
	struct id_table blobs;
	struct renderer_context own;
};

/**
 * struct renderer_slot - one renderer
 * @ops: what it is
 * @renderer: it
 */
struct renderer_slot {
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
 * @blobs: id to struct blob
 * @nr_host_blobs: of @blobs, those of renderers
 * @visible: where the guest sees them
 * @udmabuf: makes the views of userptr resources, or NULL
 * @release: lets go of the views, or NULL
 * @evicting: the resource that contexts are being ended for
 * @imports: attachments of userptr resources as dma-bufs, ever
 * @contexts: id to struct context
 * @nr_attachments: in all contexts together
 * @renderers: what executes
 * @nr_renderers: of @renderers
 * @commands: all that are not answered
 * @nr_commands: of @commands
 * @timelines: hash buckets
 * @fault: armed if kind is not NONE
 * @counts: ever; the fields that say what is held now are not kept here
 * @base: all numbers at the last reset
 * @epoll: of renderers and @timer
 * @timer: goes off when the first delayed answer is due
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
	struct release *release;
	const struct backing *evicting;
	uint64_t imports;
	struct id_table contexts;
	unsigned int nr_attachments;
	struct renderer_slot renderers[MAX_RENDERERS];
	unsigned int nr_renderers;
	struct command *commands;
	unsigned int nr_commands;
	struct timeline *timelines[TIMELINE_BUCKETS];
	struct renderer_fault fault;
	struct loopback_stats counts;
	struct loopback_stats base;
	int epoll;
	int timer;
	bool resetting;
};

/* ---- the log ---- */

static const char *response_name(uint32_t response)
{
	static const struct {
		uint32_t type;
		const char *name;
	} names[] = {
		{ OK, "OK" },
		{ VIRTIO_GPU_RESP_OK_DISPLAY_INFO, "OK_DISPLAY_INFO" },
		{ VIRTIO_GPU_RESP_OK_CAPSET_INFO, "OK_CAPSET_INFO" },
		{ VIRTIO_GPU_RESP_OK_CAPSET, "OK_CAPSET" },
		{ VIRTIO_GPU_RESP_OK_MAP_INFO, "OK_MAP_INFO" },
		{ VIRTIO_GPU_RESP_OK_USERPTR_INFO, "OK_USERPTR_INFO" },
		{ ERR_UNSPEC, "ERR_UNSPEC" },
		{ ERR_OUT_OF_MEMORY, "ERR_OUT_OF_MEMORY" },
		{ ERR_INVALID_SCANOUT_ID, "ERR_INVALID_SCANOUT_ID" },
		{ ERR_INVALID_RESOURCE_ID, "ERR_INVALID_RESOURCE_ID" },
		{ ERR_INVALID_CONTEXT_ID, "ERR_INVALID_CONTEXT_ID" },
		{ ERR_INVALID_PARAMETER, "ERR_INVALID_PARAMETER" },
		{ ERR_LIMIT, "ERR_LIMIT" },
		{ ERR_UNSUPPORTED, "ERR_UNSUPPORTED" },
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == response)
			return names[i].name;
	return "?";
}

/* Decoded fields, for the line that is logged with the answer. */
__attribute__((format(printf, 2, 3))) static void describe(struct command *cmd, const char *format,
							   ...)
{
	va_list args;

	if (!cmd->dev->config.verbose)
		return;
	va_start(args, format);
	vsnprintf(cmd->text, sizeof(cmd->text), format, args);
	va_end(args);
}

static void log_answer(const struct command *cmd)
{
	char fence[64] = "";

	if (!cmd->dev->config.verbose)
		return;
	if (cmd->timeline)
		snprintf(fence, sizeof(fence), " fence %llu ring %d",
			 (unsigned long long)le64toh(cmd->hdr.fence_id),
			 cmd->timeline->global ? -1 : cmd->timeline->ring);
	log_event("gpu: %s (0x%x) ctx %u%s%s%s -> %s (0x%x)",
		  cmd->type ? cmd->type->name : "unknown", le32toh(cmd->hdr.type),
		  le32toh(cmd->hdr.ctx_id), *cmd->text ? " " : "", cmd->text, fence,
		  response_name(cmd->response), cmd->response);
}

/* ---- commands: from execution to answer ---- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct command *command_new(struct gpu_device *dev, struct gpu_request *req, size_t capacity)
{
	struct command *cmd = calloc(1, sizeof(*cmd));

	if (!cmd)
		return NULL;
	cmd->dev = dev;
	cmd->req = req;
	cmd->capacity = capacity;
	cmd->next = dev->commands;
	if (cmd->next)
		cmd->next->prev = cmd;
	dev->commands = cmd;
	dev->nr_commands++;
	return cmd;
}

static void command_free(struct command *cmd)
{
	struct gpu_device *dev = cmd->dev;

	if (cmd->prev)
		cmd->prev->next = cmd->next;
	else
		dev->commands = cmd->next;
	if (cmd->next)
		cmd->next->prev = cmd->prev;
	dev->nr_commands--;
	free(cmd->resp);
	free(cmd);
}

/* Room for @len bytes of answer (header included), zeroed; NULL: no memory. */
static void *command_resp(struct command *cmd, size_t len)
{
	cmd->resp = calloc(1, len);
	cmd->resp_len = cmd->resp ? len : 0;
	return cmd->resp;
}

/* The header of the answer to @hdr. */
static struct virtio_gpu_ctrl_hdr answer_header(const struct virtio_gpu_ctrl_hdr *hdr,
						uint32_t response)
{
	struct virtio_gpu_ctrl_hdr answer = { .type = htole32(response) };
	uint32_t flags = le32toh(hdr->flags);

	if (flags & VIRTIO_GPU_FLAG_FENCE) {
		flags &= VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;
		answer.flags = htole32(flags);
		answer.fence_id = hdr->fence_id;
		answer.ctx_id = hdr->ctx_id;
		if (flags & VIRTIO_GPU_FLAG_INFO_RING_IDX)
			answer.ring_idx = hdr->ring_idx;
	}
	return answer;
}

static void respond(struct gpu_device *dev, struct gpu_request *req, size_t capacity,
		    const void *data, size_t len)
{
	dev->transport.respond(dev->transport.opaque, req, data, len < capacity ? len : capacity);
}

static void command_answer(struct command *cmd)
{
	struct virtio_gpu_ctrl_hdr hdr = answer_header(&cmd->hdr, cmd->response);

	if (cmd->response >= ERR_UNSPEC)
		cmd->dev->counts.errors++;
	else if (cmd->destroyed)
		cmd->dev->counts.userptr_destroyed++;
	log_answer(cmd);
	if (cmd->resp && cmd->response < ERR_UNSPEC) {
		memcpy(cmd->resp, &hdr, sizeof(hdr));
		respond(cmd->dev, cmd->req, cmd->capacity, cmd->resp, cmd->resp_len);
	} else {
		respond(cmd->dev, cmd->req, cmd->capacity, &hdr, sizeof(hdr));
	}
	command_free(cmd);
}

static struct timeline **timeline_bucket(struct gpu_device *dev, const struct timeline *key)
{
	uint32_t hash = key->global ? 0 : key->ctx_id * 31 + key->ring + 1;

	return &dev->timelines[hash % TIMELINE_BUCKETS];
}

static void timeline_free(struct gpu_device *dev, struct timeline *timeline)
{
	struct timeline **at = timeline_bucket(dev, timeline);

	while (*at != timeline)
		at = &(*at)->next;
	*at = timeline->next;
	free(timeline);
}

/* Put a fenced command in its timeline. */
static int timeline_add(struct command *cmd)
{
	bool has_ring = le32toh(cmd->hdr.flags) & VIRTIO_GPU_FLAG_INFO_RING_IDX;
	struct timeline key = { .global = !has_ring };
	struct timeline **bucket, *timeline;

	if (has_ring) {
		key.ctx_id = le32toh(cmd->hdr.ctx_id);
		key.ring = cmd->hdr.ring_idx;
	}
	bucket = timeline_bucket(cmd->dev, &key);
	for (timeline = *bucket; timeline; timeline = timeline->next)
		if (timeline->global == key.global && timeline->ctx_id == key.ctx_id &&
		    timeline->ring == key.ring)
			break;
	if (!timeline) {
		timeline = malloc(sizeof(*timeline));
		if (!timeline)
			return -ENOMEM;
		*timeline = key;
		timeline->tail = &timeline->head;
		timeline->next = *bucket;
		*bucket = timeline;
	}
	*timeline->tail = cmd;
	timeline->tail = &cmd->next_fenced;
	cmd->timeline = timeline;
	return 0;
}

static void timeline_flush(struct gpu_device *dev, struct timeline *timeline)
{
	struct command *cmd;

	while ((cmd = timeline->head) && cmd->ready) {
		timeline->head = cmd->next_fenced;
		if (!timeline->head)
			timeline->tail = &timeline->head;
		command_answer(cmd);
	}
	if (!timeline->head)
		timeline_free(dev, timeline);
}

static void command_ready(struct command *cmd)
{
	cmd->ready = true;
	if (cmd->timeline)
		timeline_flush(cmd->dev, cmd->timeline);
	else
		command_answer(cmd);
}

/* The timer goes off when the first delayed answer is due. */
static void set_timer(struct gpu_device *dev)
{
	struct itimerspec when = { .it_value = { .tv_sec = 0 } };
	uint64_t first = 0;
	struct command *cmd;

	for (cmd = dev->commands; cmd; cmd = cmd->next)
		if (cmd->due && (!first || cmd->due < first))
			first = cmd->due;
	when.it_value.tv_sec = (time_t)(first / 1000000000u);
	when.it_value.tv_nsec = (long)(first % 1000000000u);
	timerfd_settime(dev->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* It was done, with this outcome; does anything hold the answer back? */
static void command_executed(struct command *cmd, uint32_t response)
{
	cmd->response = response;
	if (cmd->dev->resetting || cmd->fault == LOOPBACK_FAULT_DROP)
		return;
	if (cmd->fault == LOOPBACK_FAULT_DELAY) {
		cmd->due = now_ns() + cmd->delay * 1000000u;
		set_timer(cmd->dev);
		return;
	}
	command_ready(cmd);
}

static void answer_delayed(struct gpu_device *dev)
{
	uint64_t now = now_ns();
	struct command *cmd, *next;
	bool any = false;

	/* Marked first: answering one may free others of its timeline. */
	for (cmd = dev->commands; cmd; cmd = cmd->next) {
		if (!cmd->due || cmd->due > now)
			continue;
		cmd->due = 0;
		cmd->fault = LOOPBACK_FAULT_NONE;
		cmd->ready = true;
		any = true;
	}
	for (cmd = any ? dev->commands : NULL; cmd; cmd = next) {
		next = cmd->next;
		if (!cmd->ready)
			continue;
		if (!cmd->timeline) {
			command_answer(cmd);
		} else if (cmd->timeline->head == cmd) {
			timeline_flush(dev, cmd->timeline);
			next = dev->commands;
		}
	}
	set_timer(dev);
}

/* ---- callbacks of the userptr core and of renderers ---- */

static bool blob_has_id(void *opaque, uint32_t id)
{
	struct gpu_device *dev = opaque;

	return id_table_find(&dev->blobs, id);
}

static void userptr_destroyed(void *opaque, void *cookie)
{
	struct command *cmd = cookie;

	(void)opaque;
	cmd->destroyed = true;
	command_executed(cmd, OK);
}

static void submitted(void *opaque, void *cookie, uint32_t response)
{
	(void)opaque;
	command_executed(cookie, response);
}

/*
 * May come at any time, from within an op on this very context too, so nothing
 * of it goes here.
 */
static void context_lost(void *opaque, struct renderer_context *base)
{
	struct gpu_device *dev = opaque;
	struct context *context = id_table_find(&dev->contexts, base->id);
	char why[64] = "its renderer cannot go on with it";

	if (dev->resetting || !context || context->base != base || context->lost)
		return;
	context->lost = true;
	if (dev->evicting)
		snprintf(why, sizeof(why), "it did not let go of resource %u in time",
			 dev->evicting->id);
	log_error("context %u is lost: %s", base->id, why);
}

static void arm_fault(void *opaque, const struct renderer_fault *fault)
{
	struct gpu_device *dev = opaque;

	dev->fault = *fault;
}

/* Numbers of the whole life of the device, in host byte order. */
static void lifetime_stats(const struct gpu_device *dev, struct loopback_stats *stats)
{
	struct userptr_totals totals;
	unsigned int i;

	userptr_core_totals(dev->userptrs, &totals);
	*stats = dev->counts;
	stats->userptr_resources = totals.resources;
	stats->userptr_segments = totals.segments;
	stats->userptr_runs = totals.runs;
	stats->userptr_bytes = totals.bytes;
	stats->blob_resources = dev->blobs.nr;
	stats->contexts = dev->contexts.nr;
	stats->userptr_created = totals.created;
	stats->jobs = 0;
	for (i = 0; i < dev->nr_renderers; i++)
		stats->jobs += dev->renderers[i].ops->jobs(dev->renderers[i].renderer);
}

/* What the guest sees: since the last reset, little-endian. */
static void guest_stats(void *opaque, struct loopback_stats *out)
{
	struct gpu_device *dev = opaque;
	const struct loopback_stats *base = &dev->base;
	struct loopback_stats now;

	lifetime_stats(dev, &now);
	*out = (struct loopback_stats){
		.userptr_resources = htole64(now.userptr_resources),
		.userptr_segments = htole64(now.userptr_segments),
		.userptr_runs = htole64(now.userptr_runs),
		.userptr_bytes = htole64(now.userptr_bytes),
		.blob_resources = htole64(now.blob_resources),
		.contexts = htole64(now.contexts),
		.commands = htole64(now.commands - base->commands),
		.userptr_commands = htole64(now.userptr_commands - base->userptr_commands),
		.errors = htole64(now.errors - base->errors),
		.ring_bytes = htole64(now.ring_bytes - base->ring_bytes),
		.userptr_ring_bytes = htole64(now.userptr_ring_bytes - base->userptr_ring_bytes),
		.userptr_created = htole64(now.userptr_created - base->userptr_created),
		.userptr_destroyed = htole64(now.userptr_destroyed - base->userptr_destroyed),
		.jobs = htole64(now.jobs - base->jobs),
	};
}

/* ---- information ---- */

static unsigned int nr_capsets(const struct gpu_device *dev)
{
	struct renderer_capset capset;
	unsigned int i, index, nr = 0;

	for (i = 0; i < dev->nr_renderers; i++)
		for (index = 0;
		     dev->renderers[i].ops->capset(dev->renderers[i].renderer, index, &capset);
		     index++)
			nr++;
	return nr;
}

/*
 * The capset of that @index among all, or, if @id is not 0, of that id.
 * Returns the index of its renderer, or -1.
 */
static int find_capset(const struct gpu_device *dev, unsigned int index, uint32_t id,
		       struct renderer_capset *out)
{
	unsigned int i, at, nr = 0;

	for (i = 0; i < dev->nr_renderers; i++) {
		const struct renderer_slot *slot = &dev->renderers[i];

		for (at = 0; slot->ops->capset(slot->renderer, at, out); at++, nr++)
			if (id ? out->id == id : nr == index)
				return (int)i;
	}
	return -1;
}

static uint32_t handle_get_display_info(struct gpu_device *dev, struct command *cmd)
{
	(void)dev;
	/* No scanouts: every mode is disabled. */
	if (!command_resp(cmd, sizeof(struct virtio_gpu_resp_display_info)))
		return ERR_OUT_OF_MEMORY;
	return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t handle_get_capset_info(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_get_capset_info *in = (const void *)cmd->data;
	struct virtio_gpu_resp_capset_info *resp;
	uint32_t index = le32toh(in->capset_index);
	struct renderer_capset capset;

	describe(cmd, "index %u", index);
	if (find_capset(dev, index, 0, &capset) < 0)
		return ERR_INVALID_PARAMETER;
	resp = command_resp(cmd, sizeof(*resp));
	if (!resp)
		return ERR_OUT_OF_MEMORY;
	resp->capset_id = htole32(capset.id);
	resp->capset_max_version = htole32(capset.version);
	resp->capset_max_size = htole32(capset.size);
	return VIRTIO_GPU_RESP_OK_CAPSET_INFO;
}

static uint32_t handle_get_capset(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_get_capset *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->capset_id);
	uint32_t version = le32toh(in->capset_version);
	struct virtio_gpu_resp_capset *resp;
	struct renderer_capset capset;
	int renderer;

	describe(cmd, "capset %u version %u", id, version);
	renderer = id ? find_capset(dev, 0, id, &capset) : -1;
	if (renderer < 0 || version > capset.version)
		return ERR_INVALID_PARAMETER;
	assert(sizeof(*resp) + capset.size <= GPU_DEVICE_MAX_ANSWER);
	resp = command_resp(cmd, sizeof(*resp) + capset.size);
	if (!resp)
		return ERR_OUT_OF_MEMORY;
	dev->renderers[renderer].ops->capset_data(dev->renderers[renderer].renderer, id, version,
						  resp->capset_data);
	return VIRTIO_GPU_RESP_OK_CAPSET;
}

static uint64_t rdonly_capset_mask(const struct gpu_device *dev)
{
	struct renderer_capset capset;
	unsigned int index, nr = nr_capsets(dev);
	uint64_t mask = 0;

	for (index = 0; index < nr; index++)
		if (find_capset(dev, index, 0, &capset) >= 0 && capset.rdonly && capset.id < 64)
			mask |= (uint64_t)1 << capset.id;
	return mask;
}

static uint32_t handle_get_userptr_info(struct gpu_device *dev, struct command *cmd)
{
	const struct gpu_limits *limits = &dev->config.limits;
	struct virtio_gpu_resp_userptr_info *resp;

	if (!userptr_padding_is_zero(&cmd->hdr))
		return ERR_INVALID_PARAMETER;
	/* Only now is it known what the guest's memory is; the driver does without then. */
	if (dev->udmabuf && !udmabuf_usable(dev->udmabuf))
		return ERR_UNSUPPORTED;
	resp = command_resp(cmd, sizeof(*resp));
	if (!resp)
		return ERR_OUT_OF_MEMORY;
	resp->max_entries = htole32(limits->max_entries);
	/* More than all resources together may have would be an empty promise. */
	resp->max_segments = htole32(limits->max_total_segments < limits->max_segments ?
					     (uint32_t)limits->max_total_segments :
					     limits->max_segments);
	resp->alignment = htole32(USERPTR_ALIGNMENT);
	resp->max_size = htole64(limits->max_userptr_bytes & ~(uint64_t)(USERPTR_ALIGNMENT - 1));
	if (dev->config.userptr_rdonly) {
		resp->flags = htole32(VIRTIO_GPU_USERPTR_INFO_RDONLY);
		resp->rdonly_capset_mask = htole64(rdonly_capset_mask(dev));
	}
	return VIRTIO_GPU_RESP_OK_USERPTR_INFO;
}

/* ---- contexts ---- */

/* A context of @capset without its id, or NULL and why not. */
static struct context *context_new(struct gpu_device *dev, uint32_t capset_id, const char *name,
				   uint32_t *why)
{
	struct context *context = calloc(1, sizeof(*context));
	struct renderer_capset capset;
	const struct renderer_slot *slot;

	*why = ERR_OUT_OF_MEMORY;
	if (!context)
		return NULL;
	context->base = &context->own;
	context->renderer = -1;
	if (!capset_id)
		return context;
	context->renderer = find_capset(dev, 0, capset_id, &capset);
	if (context->renderer < 0) {
		*why = ERR_INVALID_PARAMETER;
		goto free_context;
	}
	context->rdonly = capset.rdonly;
	slot = &dev->renderers[context->renderer];
	if (slot->ops->context_create(slot->renderer, capset_id, name, &context->base))
		goto free_context;
	return context;

free_context:
	free(context);
	return NULL;
}

static void context_free(struct gpu_device *dev, struct context *context)
{
	dev->nr_attachments -= (unsigned int)(context->base->resources.nr + context->blobs.nr);
	id_table_destroy(&context->blobs);
	if (context->renderer >= 0) {
		const struct renderer_slot *slot = &dev->renderers[context->renderer];

		slot->ops->context_destroy(slot->renderer, context->base);
	} else {
		id_table_destroy(&context->own.resources);
	}
	free(context);
}

static uint32_t handle_ctx_create(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_ctx_create *in = (const void *)cmd->data;
	uint32_t id = le32toh(cmd->hdr.ctx_id);
	uint32_t nlen = le32toh(in->nlen);
	uint32_t init = 0;
	char name[sizeof(in->debug_name) + 1] = "";
	struct context *context;
	uint32_t why;

	if (dev->features & 1u << VIRTIO_GPU_F_CONTEXT_INIT)
		init = le32toh(in->context_init);
	if (nlen > sizeof(in->debug_name) || init & ~VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK)
		return ERR_INVALID_PARAMETER;
	memcpy(name, in->debug_name, nlen);
	describe(cmd, "capset %u", init);
	if (!id || id_table_find(&dev->contexts, id))
		return ERR_INVALID_CONTEXT_ID;
	if (dev->contexts.nr >= MAX_CONTEXTS)
		return ERR_OUT_OF_MEMORY;
	context = context_new(dev, init, name, &why);
	if (!context)
		return why;
	context->base->id = id;
	if (id_table_insert(&dev->contexts, id, context)) {
		context_free(dev, context);
		return ERR_OUT_OF_MEMORY;
	}
	return OK;
}

static uint32_t handle_ctx_destroy(struct gpu_device *dev, struct command *cmd)
{
	struct context *context = id_table_remove(&dev->contexts, le32toh(cmd->hdr.ctx_id));

	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	context_free(dev, context);
	return OK;
}

static const struct renderer_ops *context_ops(const struct gpu_device *dev,
					      const struct context *context)
{
	return context->renderer < 0 ? NULL : dev->renderers[context->renderer].ops;
}

/* A context that can still do something, or NULL. */
static struct context *find_context(const struct gpu_device *dev, uint32_t id)
{
	struct context *context = id_table_find(&dev->contexts, id);

	return context && !context->lost ? context : NULL;
}

/* A blob of a renderer that may be used, or NULL. */
static struct blob *find_host_blob(const struct gpu_device *dev, uint32_t id)
{
	struct blob *blob = id_table_find(&dev->blobs, id);

	return blob && blob->renderer >= 0 && !blob->unref ? blob : NULL;
}

/* A resource of guest memory that may be used, or NULL. */
static struct backing *find_usable(const struct gpu_device *dev, uint32_t id)
{
	struct blob *blob = id_table_find(&dev->blobs, id);
	struct userptr *userptr;

	if (blob)
		return blob->unref || blob->renderer >= 0 ? NULL : &blob->backing;
	userptr = userptr_find(dev->userptrs, id);
	if (!userptr || userptr_state(userptr) != USERPTR_USABLE)
		return NULL;
	return userptr_backing(userptr);
}

/* How an attach that a renderer refused is answered. */
static uint32_t attach_error(int err)
{
	switch (err) {
	case -ENOMEM:
		return ERR_OUT_OF_MEMORY;
	case -EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	case -EINVAL:
		return ERR_INVALID_PARAMETER;
	default:
		return ERR_UNSPEC;
	}
}

static uint32_t attach_backing(struct gpu_device *dev, struct context *context,
			       struct backing *backing)
{
	const struct renderer_ops *ops = context_ops(dev, context);
	int err = 0;

	if (backing->readonly && !context->rdonly)
		return ERR_UNSUPPORTED;
	if (id_table_find(&context->base->resources, backing->id))
		return OK;
	if (dev->nr_attachments >= MAX_ATTACHMENTS ||
	    id_table_insert(&context->base->resources, backing->id, backing))
		return ERR_OUT_OF_MEMORY;
	if (ops && ops->attach)
		err = ops->attach(context->base, backing);
	if (err) {
		id_table_remove(&context->base->resources, backing->id);
		return attach_error(err);
	}
	dev->nr_attachments++;
	if (ops && ops->attach && backing->view)
		dev->imports++;
	return OK;
}

static uint32_t attach_host_blob(struct gpu_device *dev, struct context *context, struct blob *blob)
{
	const struct renderer_ops *ops = context_ops(dev, context);
	int err = 0;

	/* What a context without a renderer has it cannot use; that is no error. */
	if (ops && context->renderer != blob->renderer)
		return ERR_UNSUPPORTED;
	if (id_table_find(&context->blobs, blob->backing.id))
		return OK;
	if (dev->nr_attachments >= MAX_ATTACHMENTS ||
	    id_table_insert(&context->blobs, blob->backing.id, blob))
		return ERR_OUT_OF_MEMORY;
	if (ops)
		err = ops->blob_attach(context->base, blob->backing.id);
	if (err) {
		id_table_remove(&context->blobs, blob->backing.id);
		return attach_error(err);
	}
	dev->nr_attachments++;
	return OK;
}

static uint32_t handle_ctx_attach(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_ctx_resource *in = (const void *)cmd->data;
	struct context *context = find_context(dev, le32toh(cmd->hdr.ctx_id));
	uint32_t id = le32toh(in->resource_id);
	struct backing *backing;
	struct blob *blob;

	describe(cmd, "res %u", id);
	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	blob = find_host_blob(dev, id);
	if (blob)
		return attach_host_blob(dev, context, blob);
	backing = find_usable(dev, id);
	return backing ? attach_backing(dev, context, backing) : ERR_INVALID_RESOURCE_ID;
}

/* false: it was not attached. */
static bool context_detach(struct gpu_device *dev, struct context *context, uint32_t id)
{
	const struct renderer_ops *ops = context_ops(dev, context);
	struct backing *backing = id_table_remove(&context->base->resources, id);
	struct blob *blob = backing ? NULL : id_table_remove(&context->blobs, id);

	if (!backing && !blob)
		return false;
	dev->nr_attachments--;
	if (backing && ops && ops->detach)
		ops->detach(context->base, backing);
	else if (blob && ops)
		ops->blob_detach(context->base, id);
	return true;
}

static uint32_t handle_ctx_detach(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_ctx_resource *in = (const void *)cmd->data;
	struct context *context = id_table_find(&dev->contexts, le32toh(cmd->hdr.ctx_id));
	uint32_t id = le32toh(in->resource_id);

	describe(cmd, "res %u", id);
	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	return context_detach(dev, context, id) ? OK : ERR_INVALID_RESOURCE_ID;
}

static uint32_t handle_submit_3d(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_cmd_submit *in = (const void *)cmd->data;
	struct context *context = find_context(dev, le32toh(cmd->hdr.ctx_id));
	uint32_t size = le32toh(in->size), flags = le32toh(cmd->hdr.flags);
	struct renderer_submission submission = {
		.fenced = flags & VIRTIO_GPU_FLAG_FENCE,
		.data = cmd->data + sizeof(*in),
		.size = size,
	};
	const struct renderer_slot *slot;

	describe(cmd, "size %u", size);
	if (size != cmd->len - sizeof(*in))
		return ERR_INVALID_PARAMETER;
	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	if (context->renderer < 0)
		return ERR_UNSPEC;
	if (flags & VIRTIO_GPU_FLAG_INFO_RING_IDX)
		submission.ring = cmd->hdr.ring_idx;
	slot = &dev->renderers[context->renderer];
	return slot->ops->submit(slot->renderer, context->base, &submission, cmd);
}

/* ---- resources ---- */

static void detach_everywhere(struct gpu_device *dev, uint32_t id)
{
	size_t i;

	for (i = 0; dev->nr_attachments && i < dev->contexts.size; i++) {
		struct context *context = id_table_at(&dev->contexts, i);

		if (context)
			context_detach(dev, context, id);
	}
}

/* Between stop and the release that follows: end all use of the resource. */
static void end_use(struct gpu_device *dev, struct backing *backing)
{
	unsigned int r;

	detach_everywhere(dev, backing->id);
	for (r = 0; r < dev->nr_renderers; r++)
		dev->renderers[r].ops->quiesce(dev->renderers[r].renderer, backing);
}

static void blob_free(struct blob *blob)
{
	userptr_drop_runs(blob->dev->userptrs, &blob->backing.runs);
	free(blob);
}

/* The renderer's part of the blob goes. */
static void blob_destroy_host(struct blob *blob)
{
	const struct renderer_slot *slot = &blob->dev->renderers[blob->renderer];

	slot->ops->blob_destroy(slot->renderer, blob->backing.id);
	blob->dev->nr_host_blobs--;
}

/* The last steps of UNREF; the answer follows when nobody holds the memory. */
static void blob_end(struct blob *blob)
{
	if (blob->renderer >= 0)
		blob_destroy_host(blob);
	backing_stop(&blob->backing);
	end_use(blob->dev, &blob->backing);
	backing_release(&blob->backing);
}

static void blob_idle(struct backing *backing)
{
	struct blob *blob = (struct blob *)backing;
	struct command *unref = blob->unref;

	id_table_remove(&blob->dev->blobs, backing->id);
	blob_free(blob);
	command_executed(unref, OK);
}

static uint32_t blob_add_entries(struct blob *blob, const unsigned char *entries, uint32_t nr)
{
	const struct gpu_limits *limits = &blob->dev->config.limits;
	uint64_t sum = 0, max = guest_memory_bytes(blob->dev->gm);
	uint32_t i, ret;

	for (i = 0; i < nr; i++) {
		struct userptr_entry entry = userptr_entry_at(entries, i);

		sum += entry.length;
		/* More than there is: the same again and again, to keep us busy. */
		if (!entry.length || sum > max)
			return ERR_INVALID_PARAMETER;
		ret = userptr_append_range(
			blob->dev->userptrs, &blob->backing.runs, entry.addr, entry.length,
			(uint64_t)limits->max_entries * GUEST_MEMORY_MAX_REGIONS);
		if (ret != OK)
			return ret;
	}
	if (sum < blob->backing.size)
		return ERR_INVALID_PARAMETER;
	run_list_trim(&blob->backing.runs);
	return OK;
}

static uint32_t check_blob(const struct gpu_device *dev, const struct command *cmd,
			   const struct virtio_gpu_resource_create_blob *in)
{
	uint32_t id = le32toh(in->resource_id);
	uint32_t mem = le32toh(in->blob_mem);
	uint32_t nr = le32toh(in->nr_entries);
	uint32_t known = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE | VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE |
			 VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE;

	if (!id || id_table_find(&dev->blobs, id) || userptr_find(dev->userptrs, id))
		return ERR_INVALID_RESOURCE_ID;
	/* Without pages of the guest's there must be no entries, with them some. */
	if (mem < VIRTIO_GPU_BLOB_MEM_GUEST || mem > VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST ||
	    le32toh(in->blob_flags) & ~known || !in->size ||
	    (mem == VIRTIO_GPU_BLOB_MEM_HOST3D) != !nr || nr > dev->config.limits.max_entries ||
	    cmd->len - sizeof(*in) != (uint64_t)nr * sizeof(struct virtio_gpu_mem_entry))
		return ERR_INVALID_PARAMETER;
	return dev->blobs.nr < MAX_BLOBS ? OK : ERR_OUT_OF_MEMORY;
}

/*
 * Which renderer makes the memory of a blob: the context's, or, if the guest
 * names none, the first that can.  OK and its index, or an error.
 */
static uint32_t find_blob_renderer(const struct gpu_device *dev, uint32_t ctx_id,
				   struct context **context, int *renderer)
{
	int r;

	*context = NULL;
	if (ctx_id) {
		*context = find_context(dev, ctx_id);
		if (!*context)
			return ERR_INVALID_CONTEXT_ID;
	}
	for (r = 0; r < (int)dev->nr_renderers; r++) {
		if (dev->renderers[r].ops->blob_create &&
		    (!*context || (*context)->renderer == r)) {
			*renderer = r;
			return OK;
		}
	}
	return ERR_INVALID_PARAMETER;
}

static uint32_t blob_create_host(struct gpu_device *dev, struct blob *blob, uint32_t ctx_id,
				 uint64_t blob_id)
{
	struct renderer_blob what = {
		.id = blob->backing.id,
		.mem = blob->mem,
		.flags = blob->flags,
		.blob_id = blob_id,
		.size = blob->backing.size,
		.guest = blob->mem == VIRTIO_GPU_BLOB_MEM_HOST3D ? NULL : &blob->backing,
	};
	const struct renderer_slot *slot;
	struct context *context;
	int renderer;
	uint32_t ret;

	ret = find_blob_renderer(dev, ctx_id, &context, &renderer);
	if (ret != OK)
		return ret;
	slot = &dev->renderers[renderer];
	ret = slot->ops->blob_create(slot->renderer, context ? context->base : NULL, &what);
	if (ret)
		return ret;
	blob->renderer = renderer;
	dev->nr_host_blobs++;
	return OK;
}

static struct blob *blob_new(struct gpu_device *dev,
			     const struct virtio_gpu_resource_create_blob *in)
{
	struct blob *blob = calloc(1, sizeof(*blob));

	if (!blob)
		return NULL;
	blob->dev = dev;
	blob->mem = le32toh(in->blob_mem);
	blob->flags = le32toh(in->blob_flags);
	blob->renderer = -1;
	blob->backing.id = le32toh(in->resource_id);
	blob->backing.size = le64toh(in->size);
	blob->backing.idle = blob_idle;
	run_list_init(&blob->backing.runs);
	return blob;
}

static uint32_t handle_create_blob(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_create_blob *in = (const void *)cmd->data;
	struct blob *blob;
	uint32_t ret;

	describe(cmd, "res %u mem %u flags 0x%x blob %llu size %llu entries %u",
		 le32toh(in->resource_id), le32toh(in->blob_mem), le32toh(in->blob_flags),
		 (unsigned long long)le64toh(in->blob_id), (unsigned long long)le64toh(in->size),
		 le32toh(in->nr_entries));
	ret = check_blob(dev, cmd, in);
	if (ret != OK)
		return ret;
	blob = blob_new(dev, in);
	if (!blob)
		return ERR_OUT_OF_MEMORY;
	if (id_table_insert(&dev->blobs, blob->backing.id, blob)) {
		blob_free(blob);
		return ERR_OUT_OF_MEMORY;
	}
	if (blob->mem != VIRTIO_GPU_BLOB_MEM_HOST3D)
		ret = blob_add_entries(blob, cmd->data + sizeof(*in), le32toh(in->nr_entries));
	if (ret == OK && blob->mem != VIRTIO_GPU_BLOB_MEM_GUEST)
		ret = blob_create_host(dev, blob, le32toh(cmd->hdr.ctx_id), le64toh(in->blob_id));
	if (ret != OK) {
		id_table_remove(&dev->blobs, blob->backing.id);
		blob_free(blob);
	}
	return ret;
}

static uint32_t handle_unref(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_unref *in = (const void *)cmd->data;
	struct blob *blob = id_table_find(&dev->blobs, le32toh(in->resource_id));

	describe(cmd, "res %u", le32toh(in->resource_id));
	if (!blob)
		return ERR_INVALID_RESOURCE_ID;
	if (blob->unref)
		return ERR_INVALID_PARAMETER; /* being unreferenced, and not unknown yet */
	blob->unref = cmd;
	detach_everywhere(dev, blob->backing.id);
	if (blob->mapping) {
		host_visible_unmap(dev->visible, blob->mapping, NULL);
		blob->mapping = NULL;
	}
	/* The last mapping that goes takes the blob with it. */
	if (blob->nr_mappings)
		host_visible_run(dev->visible);
	else
		blob_end(blob);
	return LATER;
}

/* ---- the host-visible region ---- */

static uint32_t map_error(int err)
{
	switch (err) {
	case 0:
		return OK;
	case -ENOMEM:
	case -ENOSPC:
	case -EMFILE:
		return ERR_OUT_OF_MEMORY;
	case -EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	case -EINVAL:
	case -ENXIO:
		return ERR_INVALID_PARAMETER;
	default:
		return ERR_UNSPEC;
	}
}

/* See struct host_visible_host for these three. */
static int visible_get(void *opaque, void *owner, struct renderer_mapping *out)
{
	struct gpu_device *dev = opaque;
	const struct blob *blob = owner;
	const struct renderer_slot *slot = &dev->renderers[blob->renderer];

	return slot->ops->blob_export(slot->renderer, blob->backing.id, out);
}

static void blob_mapping_is_over(struct blob *blob)
{
	if (!--blob->nr_mappings && blob->unref)
		blob_end(blob);
}

static void visible_mapped(void *opaque, void *owner, struct mapping *mapping, void *cookie,
			   int err, uint32_t cache)
{
	struct command *cmd = cookie;
	struct virtio_gpu_resp_map_info *resp;
	struct blob *blob = owner;
	uint32_t response = VIRTIO_GPU_RESP_OK_MAP_INFO;

	(void)opaque;
	if (err) {
		response = map_error(err);
	} else {
		/* It was made for this when the command came. */
		resp = (struct virtio_gpu_resp_map_info *)cmd->resp;
		resp->map_info = htole32(cache & VIRTIO_GPU_MAP_CACHE_MASK);
	}
	command_executed(cmd, response);
	if (err && blob->mapping == mapping) {
		blob->mapping = NULL;
		blob_mapping_is_over(blob);
	}
}

static void visible_unmapped(void *opaque, void *owner, void *cookie, int err)
{
	struct blob *blob = owner;

	(void)opaque;
	/* NULL: it was not the guest that asked for it, but its UNREF. */
	if (cookie)
		command_executed(cookie, map_error(err));
	blob_mapping_is_over(blob);
}

static uint32_t handle_map_blob(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_map_blob *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->resource_id);
	struct blob *blob = find_host_blob(dev, id);
	int err;

	describe(cmd, "res %u offset %llu", id, (unsigned long long)le64toh(in->offset));
	/* Guest memory is the guest's already: it cannot be mapped. */
	if (!blob)
		return find_usable(dev, id) ? ERR_INVALID_PARAMETER : ERR_INVALID_RESOURCE_ID;
	if (!(blob->flags & VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE) || blob->mapping)
		return ERR_INVALID_PARAMETER;
	if (!command_resp(cmd, sizeof(struct virtio_gpu_resp_map_info)))
		return ERR_OUT_OF_MEMORY;
	err = host_visible_map(dev->visible, blob, le64toh(in->offset), blob->backing.size, cmd,
			       &blob->mapping);
	if (err)
		return map_error(err);
	blob->nr_mappings++;
	host_visible_run(dev->visible);
	return LATER;
}

static uint32_t handle_unmap_blob(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_unmap_blob *in = (const void *)cmd->data;
	uint32_t id = le32toh(in->resource_id);
	struct blob *blob = find_host_blob(dev, id);

	describe(cmd, "res %u", id);
	if (!blob)
		return find_usable(dev, id) ? ERR_INVALID_PARAMETER : ERR_INVALID_RESOURCE_ID;
	if (!blob->mapping)
		return ERR_INVALID_PARAMETER;
	host_visible_unmap(dev->visible, blob->mapping, cmd);
	blob->mapping = NULL;
	host_visible_run(dev->visible);
	return LATER;
}

/* ---- userptr resources ---- */

static uint32_t handle_create_userptr(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_create_userptr *in = (const void *)cmd->data;

	describe(cmd, "res %u flags 0x%x size %llu segments %u entries %u",
		 le32toh(in->resource_id), le32toh(in->flags),
		 (unsigned long long)le64toh(in->size), le32toh(in->nr_segments),
		 le32toh(in->nr_entries));
	return userptr_create(dev->userptrs, cmd->data, cmd->len);
}

static uint32_t handle_add_userptr_pages(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_add_userptr_pages *in = (const void *)cmd->data;

	describe(cmd, "res %u offset %llu entries %u", le32toh(in->resource_id),
		 (unsigned long long)le64toh(in->offset), le32toh(in->nr_entries));
	return userptr_add_pages(dev->userptrs, cmd->data, cmd->len);
}

static uint32_t handle_destroy_userptr(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_resource_destroy_userptr *in = (const void *)cmd->data;
	struct userptr *userptr;
	uint32_t ret;

	describe(cmd, "res %u", le32toh(in->resource_id));
	ret = userptr_destroy_check(dev->userptrs, cmd->data, cmd->len, &userptr);
	if (ret != OK)
		return ret;
	userptr_destroy_begin(userptr, cmd);
	end_use(dev, userptr_backing(userptr));
	userptr_destroy_end(userptr);
	return LATER;
}

static uint32_t handle_refuse(struct gpu_device *dev, struct command *cmd)
{
	(void)dev;
	(void)cmd;
	return ERR_UNSPEC;
}

static uint32_t handle_cursor(struct gpu_device *dev, struct command *cmd)
{
	const struct virtio_gpu_update_cursor *in = (const void *)cmd->data;

	(void)dev;
	describe(cmd, "scanout %u", le32toh(in->pos.scanout_id));
	return ERR_INVALID_SCANOUT_ID; /* there is none */
}

/* ---- the tables ---- */

/* Versions of clang-format disagree on a macro that is an initializer. */
/* clang-format off */
#define COMMAND(cmd, feature, type, tail, handler)                                           \
	{                                                                                    \
		VIRTIO_GPU_CMD_##cmd, #cmd, feature, sizeof(struct virtio_gpu_##type), tail, \
			handler                                                              \
	}
/* clang-format on */

static const struct command_type control_commands[] = {
	COMMAND(GET_DISPLAY_INFO, ALWAYS, ctrl_hdr, false, handle_get_display_info),
	COMMAND(GET_EDID, ALWAYS, cmd_get_edid, false, handle_refuse),
	COMMAND(GET_CAPSET_INFO, VIRTIO_GPU_F_VIRGL, get_capset_info, false,
		handle_get_capset_info),
	COMMAND(GET_CAPSET, VIRTIO_GPU_F_VIRGL, get_capset, false, handle_get_capset),
	COMMAND(CTX_CREATE, VIRTIO_GPU_F_VIRGL, ctx_create, false, handle_ctx_create),
	COMMAND(CTX_DESTROY, VIRTIO_GPU_F_VIRGL, ctx_destroy, false, handle_ctx_destroy),
	COMMAND(CTX_ATTACH_RESOURCE, VIRTIO_GPU_F_VIRGL, ctx_resource, false, handle_ctx_attach),
	COMMAND(CTX_DETACH_RESOURCE, VIRTIO_GPU_F_VIRGL, ctx_resource, false, handle_ctx_detach),
	COMMAND(SUBMIT_3D, VIRTIO_GPU_F_VIRGL, cmd_submit, true, handle_submit_3d),
	COMMAND(RESOURCE_UNREF, ALWAYS, resource_unref, false, handle_unref),
	COMMAND(RESOURCE_CREATE_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, resource_create_blob, true,
		handle_create_blob),
	COMMAND(RESOURCE_MAP_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, resource_map_blob, false,
		handle_map_blob),
	COMMAND(RESOURCE_UNMAP_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, resource_unmap_blob, false,
		handle_unmap_blob),
	COMMAND(GET_USERPTR_INFO, VIRTIO_GPU_F_RESOURCE_USERPTR, ctrl_hdr, false,
		handle_get_userptr_info),
	COMMAND(RESOURCE_CREATE_USERPTR, VIRTIO_GPU_F_RESOURCE_USERPTR, resource_create_userptr,
		true, handle_create_userptr),
	COMMAND(RESOURCE_ADD_USERPTR_PAGES, VIRTIO_GPU_F_RESOURCE_USERPTR,
		resource_add_userptr_pages, true, handle_add_userptr_pages),
	COMMAND(RESOURCE_DESTROY_USERPTR, VIRTIO_GPU_F_RESOURCE_USERPTR, resource_destroy_userptr,
		false, handle_destroy_userptr),
	{ .name = NULL },
};

static const struct command_type cursor_commands[] = {
	COMMAND(UPDATE_CURSOR, ALWAYS, update_cursor, false, handle_cursor),
	COMMAND(MOVE_CURSOR, ALWAYS, update_cursor, false, handle_cursor),
	{ .name = NULL },
};

static const struct command_type *find_type(const struct gpu_device *dev, unsigned int queue,
					    uint32_t type)
{
	const struct command_type *at = queue ? cursor_commands : control_commands;

	for (; at->name; at++)
		if (at->type == type &&
		    (at->feature == ALWAYS || dev->features & (uint64_t)1 << at->feature))
			return at;
	return NULL;
}

/* ---- faults ---- */

static bool is_userptr_type(uint32_t type)
{
	return type == VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR ||
	       type == VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES ||
	       type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR;
}

static bool fault_matches(const struct renderer_fault *fault, uint32_t type)
{
	if (fault->type)
		return fault->type == type;
	return is_userptr_type(type) || type == VIRTIO_GPU_CMD_GET_USERPTR_INFO ||
	       type == VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
}

/* Does the armed fault strike this command? LOOPBACK_FAULT_NONE: no. */
static uint32_t take_fault(struct gpu_device *dev, uint32_t type, uint64_t *param)
{
	struct renderer_fault *fault = &dev->fault;
	uint32_t kind = fault->kind;

	if (kind == LOOPBACK_FAULT_NONE || !fault_matches(fault, type))
		return LOOPBACK_FAULT_NONE;
	if (fault->skip) {
		fault->skip--;
		return LOOPBACK_FAULT_NONE;
	}
	*param = fault->param;
	if (!--fault->count)
		fault->kind = LOOPBACK_FAULT_NONE;
	return kind;
}

/* ---- a request comes in ---- */

/* false: the fault was all there is to do. */
static bool apply_fault(struct gpu_device *dev, struct command *cmd)
{
	uint64_t param = 0;

	switch (take_fault(dev, le32toh(cmd->hdr.type), &param)) {
	case LOOPBACK_FAULT_ERROR:
		command_executed(cmd, (uint32_t)param);
		return false;
	case LOOPBACK_FAULT_DELAY:
		cmd->fault = LOOPBACK_FAULT_DELAY;
		cmd->delay = param;
		return true;
	case LOOPBACK_FAULT_DROP:
		cmd->fault = LOOPBACK_FAULT_DROP;
		return true;
	case LOOPBACK_FAULT_DIE:
		_exit(3);
	default:
		return true;
	}
}

static uint32_t execute(struct gpu_device *dev, struct command *cmd)
{
	if (cmd->len < sizeof(cmd->hdr))
		return ERR_INVALID_PARAMETER;
	if (!cmd->type)
		return ERR_UNSPEC;
	if (cmd->len < cmd->type->size || (cmd->len > cmd->type->size && !cmd->type->tail))
		return ERR_INVALID_PARAMETER;
	return cmd->type->handler(dev, cmd);
}

static void count_command(struct gpu_device *dev, unsigned int queue,
			  const struct virtio_gpu_ctrl_hdr *hdr, size_t len)
{
	dev->counts.commands++;
	if (!queue)
		dev->counts.ring_bytes += len;
	if (!queue && is_userptr_type(le32toh(hdr->type))) {
		dev->counts.userptr_commands++;
		dev->counts.userptr_ring_bytes += len;
	}
}

/*
 * No room to keep it: answer at once, out of order if it must be.  Without its
 * fence, which would say that all earlier ones of the timeline are over too.
 */
static void refuse(struct gpu_device *dev, size_t capacity, struct gpu_request *req)
{
	struct virtio_gpu_ctrl_hdr answer = { .type = htole32(ERR_OUT_OF_MEMORY) };

	dev->counts.errors++;
	respond(dev, req, capacity, &answer, sizeof(answer));
}

void gpu_device_command(struct gpu_device *dev, unsigned int queue, const void *data, size_t len,
			size_t resp_capacity, struct gpu_request *req)
{
	struct virtio_gpu_ctrl_hdr hdr = { .type = 0 };
	struct command *cmd = NULL;
	uint32_t ret;

	if (len >= sizeof(hdr))
		memcpy(&hdr, data, sizeof(hdr));
	count_command(dev, queue, &hdr, len);
	if (dev->nr_commands < GPU_DEVICE_MAX_PENDING)
		cmd = command_new(dev, req, resp_capacity);
	if (!cmd) {
		refuse(dev, resp_capacity, req);
		return;
	}
	cmd->hdr = hdr;
	cmd->data = data;
	cmd->len = len;
	cmd->type = find_type(dev, queue, le32toh(hdr.type));
	if (le32toh(hdr.flags) & VIRTIO_GPU_FLAG_FENCE && timeline_add(cmd)) {
		command_free(cmd);
		refuse(dev, resp_capacity, req);
		return;
	}
	if (!queue && !apply_fault(dev, cmd))
		return;
	ret = execute(dev, cmd);
	if (ret != LATER)
		command_executed(cmd, ret);
}

/* ---- views: userptr resources as dma-bufs ---- */

static uint32_t view_extend(void *opaque, const struct backing *backing, void **draft)
{
	struct gpu_device *dev = opaque;
	struct udmabuf_draft *extended = *draft;
	uint32_t ret;

	/*
	 * A dma-buf can always be written to.  Read-only resources get none, and
	 * only a context that goes through the run list takes them.
	 */
	if (backing->readonly)
		return OK;
	if (!udmabuf_usable(dev->udmabuf))
		return ERR_UNSUPPORTED;
	ret = udmabuf_draft_extend(dev->udmabuf, backing, &extended);
	*draft = extended;
	return ret;
}

static uint32_t view_create(void *opaque, const struct backing *backing, void *draft, void **view)
{
	struct gpu_device *dev = opaque;
	struct udmabuf_view *made;
	uint32_t ret;

	if (backing->readonly)
		return OK;
	ret = udmabuf_view_create(dev->udmabuf, backing, draft, &made);
	if (ret == OK)
		*view = made;
	return ret;
}

static void view_discard(void *opaque, void *draft)
{
	(void)opaque;
	udmabuf_draft_free(draft);
}

static bool view_quiesce(void *opaque, struct userptr *userptr, void *view, bool wait)
{
	struct gpu_device *dev = opaque;

	if (wait) {
		release_now(dev->release, userptr_backing(userptr), view);
		return true;
	}
	return release_begin(dev->release, userptr_backing(userptr), view, userptr);
}

static const struct userptr_view_ops udmabuf_views = {
	.extend = view_extend,
	.create = view_create,
	.discard = view_discard,
	.quiesce = view_quiesce,
};

static void evict(void *opaque, struct backing *backing, bool force)
{
	struct gpu_device *dev = opaque;
	unsigned int r;

	dev->evicting = backing;
	for (r = 0; r < dev->nr_renderers; r++)
		if (dev->renderers[r].ops->evict)
			dev->renderers[r].ops->evict(dev->renderers[r].renderer, backing, force);
	dev->evicting = NULL;
}

static void view_gone(void *opaque, void *cookie)
{
	(void)opaque;
	userptr_view_gone(cookie);
}

/*
 * What dma-bufs of user memory need.  Without it the device has contexts that
 * user memory cannot be used in, so it does not offer userptr resources then.
 */
static int open_views(struct gpu_device *dev)
{
	struct release_host host = { .opaque = dev, .evict = evict, .gone = view_gone };
	struct epoll_event event = { .events = EPOLLIN };
	int err;

	if (!dev->config.userptr || !dev->config.virgl)
		return 0;
	if (udmabuf_open(dev->gm, &dev->udmabuf)) {
		log_error("userptr resources are not offered: libvirglrenderer's contexts can use "
			  "the guest's memory only as dma-bufs, for which /dev/udmabuf is needed");
		dev->config.userptr = false;
		return 0;
	}
	err = release_new(&host, dev->config.grace_ms, &dev->release);
	if (err)
		goto close_udmabuf;
	if (epoll_ctl(dev->epoll, EPOLL_CTL_ADD, release_fd(dev->release), &event)) {
		err = -errno;
		goto free_release;
	}
	return 0;

free_release:
	release_free(dev->release);
	dev->release = NULL;
close_udmabuf:
	udmabuf_close(dev->udmabuf);
	dev->udmabuf = NULL;
	return err;
}

static void close_views(struct gpu_device *dev)
{
	if (dev->release)
		release_free(dev->release);
	if (dev->udmabuf)
		udmabuf_close(dev->udmabuf);
}

/* ---- the device as a whole ---- */

/* Whether every capset fits in an answer. */
static bool capsets_fit(const struct renderer_ops *ops, const struct renderer *renderer)
{
	struct renderer_capset capset;
	unsigned int index;

	for (index = 0; ops->capset(renderer, index, &capset); index++)
		if (capset.size > GPU_DEVICE_MAX_ANSWER - sizeof(struct virtio_gpu_resp_capset))
			return false;
	return true;
}

static int add_renderer(struct gpu_device *dev, const struct renderer_ops *ops)
{
	struct renderer_config config = {
		.allow_inject = dev->config.allow_inject,
		.gm = dev->gm,
		.udmabuf = dev->udmabuf,
		.grace_ms = dev->config.grace_ms,
	};
	struct renderer_host host = {
		.opaque = dev,
		.submitted = submitted,
		.inject = arm_fault,
		.stats = guest_stats,
		.lost = context_lost,
	};
	struct renderer_slot *slot = &dev->renderers[dev->nr_renderers];
	struct epoll_event event = { .events = EPOLLIN };
	int err;

	err = ops->create(&config, &host, &slot->renderer);
	if (err)
		return err;
	if (!capsets_fit(ops, slot->renderer)) {
		log_error("%s: a capset is larger than any answer", ops->name);
		err = -E2BIG;
		goto destroy;
	}
	if (epoll_ctl(dev->epoll, EPOLL_CTL_ADD, ops->fd(slot->renderer), &event)) {
		err = -errno;
		goto destroy;
	}
	slot->ops = ops;
	dev->nr_renderers++;
	return 0;

destroy:
	ops->destroy(slot->renderer);
	return err;
}

static void drop_renderers(struct gpu_device *dev)
{
	while (dev->nr_renderers) {
		const struct renderer_slot *slot = &dev->renderers[--dev->nr_renderers];

		slot->ops->destroy(slot->renderer);
	}
}

static int add_renderers(struct gpu_device *dev)
{
	int err = 0;

	if (dev->config.loopback)
		err = add_renderer(dev, &renderer_loopback);
	if (!err && dev->config.virgl) {
#ifdef HAVE_VIRGLRENDERER
		err = add_renderer(dev, &renderer_virgl);
#else
		err = -EOPNOTSUPP;
#endif
		if (err)
			log_error("libvirglrenderer's contexts cannot be had: %s", strerror(-err));
	}
	if (err)
		drop_renderers(dev);
	/* No context of libvirglrenderer's can keep a promise not to write. */
	else if (dev->config.virgl && !rdonly_capset_mask(dev))
		dev->config.userptr_rdonly = false;
	return err;
}

static int open_events(struct gpu_device *dev)
{
	struct epoll_event event = { .events = EPOLLIN };

	dev->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (dev->epoll < 0)
		return -errno;
	dev->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (dev->timer < 0)
		goto close_epoll;
	if (epoll_ctl(dev->epoll, EPOLL_CTL_ADD, dev->timer, &event))
		goto close_timer;
	return 0;

close_timer:
	close(dev->timer);
close_epoll:
	close(dev->epoll);
	return -EMFILE;
}

static struct userptr_core *new_core(struct gpu_device *dev)
{
	const struct gpu_limits *from = &dev->config.limits;
	struct userptr_limits limits = {
		.max_size = from->max_userptr_bytes,
		.max_segments = from->max_segments,
		.max_entries = from->max_entries,
		.max_total_runs = from->max_total_segments,
		.max_resources = MAX_USERPTRS,
		.rdonly = dev->config.userptr_rdonly,
	};
	struct userptr_host host = {
		.opaque = dev,
		.id_in_use = blob_has_id,
		.destroyed = userptr_destroyed,
		.view = dev->udmabuf ? &udmabuf_views : NULL,
	};

	return userptr_core_new(&limits, &host, dev->gm);
}

static struct host_visible *new_visible(struct gpu_device *dev)
{
	struct host_visible_host host = {
		.opaque = dev,
		.get = visible_get,
		.mapped = visible_mapped,
		.unmapped = visible_unmapped,
	};

	return host_visible_new(dev->config.host_visible, &host, &dev->transport);
}

struct gpu_device *gpu_device_new(const struct gpu_config *config,
				  const struct gpu_transport *transport, struct guest_memory *gm)
{
	struct gpu_device *dev = calloc(1, sizeof(*dev));
	int err = -ENOMEM;

	if (!dev)
		return NULL;
	dev->config = *config;
	dev->transport = *transport;
	dev->gm = gm;
	err = open_events(dev);
	if (err)
		goto free_dev;
	err = -ENOMEM;
	dev->visible = new_visible(dev);
	if (!dev->visible)
		goto close_events;
	err = open_views(dev);
	if (err)
		goto free_visible;
	err = add_renderers(dev);
	if (err)
		goto close_views;
	err = -ENOMEM;
	/* Last, for the limits and what is offered are known only now. */
	dev->userptrs = new_core(dev);
	if (!dev->userptrs)
		goto drop_renderers;
	return dev;

drop_renderers:
	drop_renderers(dev);
close_views:
	close_views(dev);
free_visible:
	host_visible_free(dev->visible);
close_events:
	close(dev->timer);
	close(dev->epoll);
free_dev:
	free(dev);
	errno = -err;
	return NULL;
}

/* All that the guest made, and nothing of it is in use when this returns. */
static void drop_everything(struct gpu_device *dev)
{
	unsigned int r;
	size_t i;

	dev->resetting = true;
	for (r = 0; r < dev->nr_renderers; r++)
		dev->renderers[r].ops->reset(dev->renderers[r].renderer);
	for (i = 0; i < dev->contexts.size; i++) {
		struct context *context = id_table_at(&dev->contexts, i);

		if (context)
			context_free(dev, context);
	}
	id_table_destroy(&dev->contexts);
	host_visible_reset(dev->visible);
	for (i = 0; i < dev->blobs.size; i++) {
		struct blob *blob = id_table_at(&dev->blobs, i);

		if (blob && blob->renderer >= 0)
			blob_destroy_host(blob);
		if (blob)
			blob_free(blob);
	}
	id_table_destroy(&dev->blobs);
	userptr_core_reset(dev->userptrs);
	dev->fault.kind = LOOPBACK_FAULT_NONE;
	dev->resetting = false;
}

/*
 * What is not answered yet: in the order in which it came, so that the fences
 * of each timeline are in order too.  The driver is told that it failed, even if
 * it was executed and only its turn had not come.
 */
static void drop_commands(struct gpu_device *dev, bool answer)
{
	struct command *cmd = dev->commands, *earlier;
	struct timeline *timeline;
	unsigned int i;

	while (cmd && cmd->next)
		cmd = cmd->next;
	for (; cmd; cmd = earlier) {
		earlier = cmd->prev;
		cmd->response = ERR_UNSPEC;
		if (answer)
			command_answer(cmd);
		else
			command_free(cmd);
	}
	for (i = 0; i < TIMELINE_BUCKETS; i++) {
		while ((timeline = dev->timelines[i])) {
			dev->timelines[i] = timeline->next;
			free(timeline);
		}
	}
	set_timer(dev);
}

void gpu_device_reset(struct gpu_device *dev)
{
	drop_everything(dev);
	drop_commands(dev, true);
	dev->features = 0;
	lifetime_stats(dev, &dev->base);
}

void gpu_device_free(struct gpu_device *dev)
{
	if (!dev)
		return;
	drop_everything(dev);
	drop_commands(dev, false);
	drop_renderers(dev);
	userptr_core_free(dev->userptrs);
	close_views(dev);
	host_visible_free(dev->visible);
	close(dev->timer);
	close(dev->epoll);
	free(dev);
}

uint64_t gpu_device_features(const struct gpu_device *dev)
{
	uint64_t features = (uint64_t)1 << VIRTIO_GPU_F_VIRGL |
			    (uint64_t)1 << VIRTIO_GPU_F_RESOURCE_BLOB |
			    (uint64_t)1 << VIRTIO_GPU_F_CONTEXT_INIT;

	if (dev->config.userptr)
		features |= (uint64_t)1 << VIRTIO_GPU_F_RESOURCE_USERPTR;
	if (dev->config.access_platform)
		features |= (uint64_t)1 << VIRTIO_F_ACCESS_PLATFORM;
	return features;
}

void gpu_device_set_features(struct gpu_device *dev, uint64_t features)
{
	dev->features = features & gpu_device_features(dev);
}

void gpu_device_read_config(struct gpu_device *dev, uint32_t offset, void *data, size_t len)
{
	struct virtio_gpu_config config = {
		.num_scanouts = htole32(0),
		.num_capsets = htole32(nr_capsets(dev)),
	};

	memset(data, 0, len);
	if (offset >= sizeof(config))
		return;
	if (len > sizeof(config) - offset)
		len = sizeof(config) - offset;
	memcpy(data, (const unsigned char *)&config + offset, len);
}

void gpu_device_write_config(struct gpu_device *dev, uint32_t offset, const void *data, size_t len)
{
	/* Only events_clear can be written, and there are no events. */
	(void)dev;
	(void)offset;
	(void)data;
	(void)len;
}

int gpu_device_fd(const struct gpu_device *dev)
{
	return dev->epoll;
}

void gpu_device_dispatch(struct gpu_device *dev)
{
	unsigned int r;
	uint64_t ticks;

	for (r = 0; r < dev->nr_renderers; r++)
		dev->renderers[r].ops->dispatch(dev->renderers[r].renderer);
	if (dev->release)
		release_dispatch(dev->release);
	if (read(dev->timer, &ticks, sizeof(ticks)) == sizeof(ticks))
		answer_delayed(dev);
}

uint64_t gpu_device_host_visible(const struct gpu_device *dev)
{
	return dev->config.host_visible;
}

void gpu_device_shmem_done(struct gpu_device *dev, int err)
{
	host_visible_done(dev->visible, err);
}

void gpu_device_print_stats(const struct gpu_device *dev, FILE *to)
{
	struct udmabuf_totals udmabuf = { .views = 0 };
	struct host_visible_totals visible;
	struct userptr_totals totals;
	struct loopback_stats stats;

	userptr_core_totals(dev->userptrs, &totals);
	host_visible_totals(dev->visible, &visible);
	if (dev->udmabuf)
		udmabuf_totals(dev->udmabuf, &udmabuf);
	lifetime_stats(dev, &stats);
#define LINE(name, value) fprintf(to, "%s: %llu\n", name, (unsigned long long)(value))
	LINE("userptr resources created", stats.userptr_created);
	LINE("userptr resources destroyed", stats.userptr_destroyed);
	LINE("userptr resources now", stats.userptr_resources);
	LINE("userptr segments created", totals.created_segments);
	LINE("userptr segments now", stats.userptr_segments);
	LINE("userptr runs now", stats.userptr_runs);
	LINE("userptr bytes mapped", totals.created_bytes);
	LINE("userptr bytes mapped now", stats.userptr_bytes);
	LINE("userptr imports", dev->imports);
	LINE("udmabuf views now", udmabuf.views);
	LINE("udmabuf items now", udmabuf.items);
	LINE("udmabuf views created", udmabuf.created);
	LINE("udmabuf items created", udmabuf.created_items);
	LINE("blob resources now", stats.blob_resources);
	LINE("host blobs now", dev->nr_host_blobs);
	LINE("host blobs mapped now", visible.mappings);
	LINE("host bytes mapped now", visible.bytes);
	LINE("contexts now", stats.contexts);
	LINE("commands", stats.commands);
	LINE("userptr commands", stats.userptr_commands);
	LINE("commands not answered yet", dev->nr_commands);
	LINE("errors", stats.errors);
	LINE("ring bytes", stats.ring_bytes);
	LINE("userptr ring bytes", stats.userptr_ring_bytes);
	LINE("jobs", stats.jobs);
#undef LINE
}
