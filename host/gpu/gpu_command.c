// SPDX-License-Identifier: MIT
/*
 * gpu_command: what a request is from its arrival to its answer
 *
 * A request becomes a struct gpu_command, which lives until its answer is given.
 * It is executed at once, by the handler in the table of its queue, or later
 * (a submission, the destroy of a resource in use).  Then it may be held back:
 * by a fault that a test armed, or because an earlier fenced command of its
 * timeline is not finished.  Other commands go on meanwhile.
 *
 * Invariants: a fenced command is in a timeline from before it is executed
 * until it is answered, and the commands of a timeline are answered in that
 * order (the driver takes the answer of one as the end of all before it).
 * A timeline exists as long as it has commands.
 *
 * Threads: the ring thread only.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_internal.h"
#include "util/log.h"
#include "util/responses.h"

/* The feature of a command that is known whatever the driver accepted. */
#define ALWAYS (-1)

_Static_assert(sizeof(struct virtio_gpu_resp_display_info) <= GPU_DEVICE_MAX_ANSWER &&
		       sizeof(struct virtio_gpu_resp_userptr_info) <= GPU_DEVICE_MAX_ANSWER,
	       "no answer is larger than is said");

/**
 * struct gpu_command_type - how one command is taken
 * @type: VIRTIO_GPU_CMD_*
 * @name: for the log
 * @feature: the command is unknown if the driver did not accept it, or ALWAYS
 * @size: bytes of its struct
 * @tail: more bytes may follow; the handler says how many must
 * @handler: does it: an answer's type, or LATER
 */
struct gpu_command_type {
	uint32_t type;
	const char *name;
	int feature;
	size_t size;
	bool tail;
	uint32_t (*handler)(struct gpu_device *dev, struct gpu_command *cmd);
};

/**
 * struct gpu_timeline - fenced commands that are to be answered in order
 * @link: in its bucket
 * @ctx_id: of a ring of a context; 0 for the global one
 * @ring: see @ctx_id
 * @global: the driver did not name a ring
 * @commands: in the order in which they came
 */
struct gpu_timeline {
	LIST_ENTRY(gpu_timeline) link;
	uint32_t ctx_id;
	uint8_t ring;
	bool global;
	STAILQ_HEAD(, gpu_command) commands;
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

__attribute__((format(printf, 2, 3))) void gpu_command_describe(struct gpu_command *cmd,
								const char *format, ...)
{
	va_list args;

	if (!cmd->dev->config.verbose)
		return;
	va_start(args, format);
	vsnprintf(cmd->text, sizeof(cmd->text), format, args);
	va_end(args);
}

static void log_answer(const struct gpu_command *cmd)
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

/* ---- answers ---- */

static struct gpu_command *command_new(struct gpu_device *dev, struct gpu_request *req,
				       size_t capacity)
{
	struct gpu_command *cmd = calloc(1, sizeof(*cmd));

	if (!cmd)
		return NULL;
	cmd->dev = dev;
	cmd->req = req;
	cmd->capacity = capacity;
	TAILQ_INSERT_HEAD(&dev->commands, cmd, link);
	dev->nr_commands++;
	return cmd;
}

static void command_free(struct gpu_command *cmd)
{
	struct gpu_device *dev = cmd->dev;

	TAILQ_REMOVE(&dev->commands, cmd, link);
	dev->nr_commands--;
	free(cmd->resp);
	free(cmd);
}

void *gpu_command_resp(struct gpu_command *cmd, size_t len)
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

static void command_answer(struct gpu_command *cmd)
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

/* ---- timelines ---- */

static struct gpu_timeline_list *timeline_bucket(struct gpu_device *dev,
						 const struct gpu_timeline *key)
{
	uint32_t hash = key->global ? 0 : key->ctx_id * 31 + key->ring + 1;

	return &dev->timelines[hash % GPU_TIMELINE_BUCKETS];
}

static void timeline_free(struct gpu_timeline *timeline)
{
	LIST_REMOVE(timeline, link);
	free(timeline);
}

/* Put a fenced command in its timeline. */
static int timeline_add(struct gpu_command *cmd)
{
	bool has_ring = le32toh(cmd->hdr.flags) & VIRTIO_GPU_FLAG_INFO_RING_IDX;
	struct gpu_timeline key = { .global = !has_ring };
	struct gpu_timeline_list *bucket;
	struct gpu_timeline *timeline;

	if (has_ring) {
		key.ctx_id = le32toh(cmd->hdr.ctx_id);
		key.ring = cmd->hdr.ring_idx;
	}
	bucket = timeline_bucket(cmd->dev, &key);
	LIST_FOREACH(timeline, bucket, link)
		if (timeline->global == key.global && timeline->ctx_id == key.ctx_id &&
		    timeline->ring == key.ring)
			break;
	if (!timeline) {
		timeline = malloc(sizeof(*timeline));
		if (!timeline)
			return -ENOMEM;
		*timeline = key;
		STAILQ_INIT(&timeline->commands);
		LIST_INSERT_HEAD(bucket, timeline, link);
	}
	STAILQ_INSERT_TAIL(&timeline->commands, cmd, fenced_link);
	cmd->timeline = timeline;
	return 0;
}

static void timeline_flush(struct gpu_timeline *timeline)
{
	struct gpu_command *cmd;

	while ((cmd = STAILQ_FIRST(&timeline->commands)) && cmd->ready) {
		STAILQ_REMOVE_HEAD(&timeline->commands, fenced_link);
		command_answer(cmd);
	}
	if (STAILQ_EMPTY(&timeline->commands))
		timeline_free(timeline);
}

static void command_ready(struct gpu_command *cmd)
{
	cmd->ready = true;
	if (cmd->timeline)
		timeline_flush(cmd->timeline);
	else
		command_answer(cmd);
}

void gpu_command_executed(struct gpu_command *cmd, uint32_t response)
{
	cmd->response = response;
	if (cmd->dev->resetting || gpu_fault_withholds(cmd))
		return;
	command_ready(cmd);
}

void gpu_commands_answer_ready(struct gpu_device *dev)
{
	struct gpu_command *cmd, *next;

	for (cmd = TAILQ_FIRST(&dev->commands); cmd; cmd = next) {
		next = TAILQ_NEXT(cmd, link);
		if (!cmd->ready)
			continue;
		if (!cmd->timeline) {
			command_answer(cmd);
		} else if (STAILQ_FIRST(&cmd->timeline->commands) == cmd) {
			timeline_flush(cmd->timeline);
			next = TAILQ_FIRST(&dev->commands);
		}
	}
}

/*
 * What is not answered yet: in the order in which it came, so that the fences
 * of each timeline are in order too.  The driver is told that it failed, even if
 * it was executed and only its turn had not come.
 */
void gpu_commands_drop(struct gpu_device *dev, bool answer)
{
	struct gpu_timeline *timeline;
	struct gpu_command *cmd;
	unsigned int i;

	while ((cmd = TAILQ_LAST(&dev->commands, gpu_command_list))) {
		cmd->response = ERR_UNSPEC;
		if (answer)
			command_answer(cmd);
		else
			command_free(cmd);
	}
	for (i = 0; i < GPU_TIMELINE_BUCKETS; i++)
		while ((timeline = LIST_FIRST(&dev->timelines[i])))
			timeline_free(timeline);
	gpu_fault_set_timer(dev);
}

/* ---- the tables ---- */

static uint32_t handle_refuse(struct gpu_device *dev, struct gpu_command *cmd)
{
	(void)dev;
	(void)cmd;
	return ERR_UNSPEC;
}

static uint32_t handle_cursor(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_update_cursor *in = (const void *)cmd->data;

	(void)dev;
	gpu_command_describe(cmd, "scanout %u", le32toh(in->pos.scanout_id));
	return ERR_INVALID_SCANOUT_ID; /* there is none */
}

/* Versions of clang-format disagree on a macro that is an initializer. */
/* clang-format off */
#define COMMAND(cmd, feature, type, tail, handler)                                           \
	{                                                                                    \
		VIRTIO_GPU_CMD_##cmd, #cmd, feature, sizeof(struct virtio_gpu_##type), tail, \
			handler                                                              \
	}
/* clang-format on */

static const struct gpu_command_type control_commands[] = {
	COMMAND(GET_DISPLAY_INFO, ALWAYS, ctrl_hdr, false, gpu_handle_get_display_info),
	COMMAND(GET_EDID, ALWAYS, cmd_get_edid, false, handle_refuse),
	COMMAND(GET_CAPSET_INFO, VIRTIO_GPU_F_VIRGL, get_capset_info, false,
		gpu_handle_get_capset_info),
	COMMAND(GET_CAPSET, VIRTIO_GPU_F_VIRGL, get_capset, false, gpu_handle_get_capset),
	COMMAND(CTX_CREATE, VIRTIO_GPU_F_VIRGL, ctx_create, false, gpu_handle_ctx_create),
	COMMAND(CTX_DESTROY, VIRTIO_GPU_F_VIRGL, ctx_destroy, false, gpu_handle_ctx_destroy),
	COMMAND(CTX_ATTACH_RESOURCE, VIRTIO_GPU_F_VIRGL, ctx_resource, false,
		gpu_handle_ctx_attach),
	COMMAND(CTX_DETACH_RESOURCE, VIRTIO_GPU_F_VIRGL, ctx_resource, false,
		gpu_handle_ctx_detach),
	COMMAND(SUBMIT_3D, VIRTIO_GPU_F_VIRGL, cmd_submit, true, gpu_handle_submit_3d),
	COMMAND(RESOURCE_UNREF, ALWAYS, resource_unref, false, gpu_handle_unref),
	COMMAND(RESOURCE_CREATE_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, resource_create_blob, true,
		gpu_handle_create_blob),
	COMMAND(RESOURCE_MAP_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, resource_map_blob, false,
		gpu_handle_map_blob),
	COMMAND(RESOURCE_UNMAP_BLOB, VIRTIO_GPU_F_RESOURCE_BLOB, resource_unmap_blob, false,
		gpu_handle_unmap_blob),
	COMMAND(GET_USERPTR_INFO, VIRTIO_GPU_F_RESOURCE_USERPTR, ctrl_hdr, false,
		gpu_handle_get_userptr_info),
	COMMAND(RESOURCE_CREATE_USERPTR, VIRTIO_GPU_F_RESOURCE_USERPTR, resource_create_userptr,
		true, gpu_handle_create_userptr),
	COMMAND(RESOURCE_ADD_USERPTR_PAGES, VIRTIO_GPU_F_RESOURCE_USERPTR,
		resource_add_userptr_pages, true, gpu_handle_add_userptr_pages),
	COMMAND(RESOURCE_DESTROY_USERPTR, VIRTIO_GPU_F_RESOURCE_USERPTR, resource_destroy_userptr,
		false, gpu_handle_destroy_userptr),
	{ .name = NULL },
};

static const struct gpu_command_type cursor_commands[] = {
	COMMAND(UPDATE_CURSOR, ALWAYS, update_cursor, false, handle_cursor),
	COMMAND(MOVE_CURSOR, ALWAYS, update_cursor, false, handle_cursor),
	{ .name = NULL },
};

static const struct gpu_command_type *find_type(const struct gpu_device *dev, unsigned int queue,
						uint32_t type)
{
	const struct gpu_command_type *at = queue ? cursor_commands : control_commands;

	for (; at->name; at++)
		if (at->type == type &&
		    (at->feature == ALWAYS || dev->features & (uint64_t)1 << at->feature))
			return at;
	return NULL;
}

/* ---- a request comes in ---- */

bool gpu_command_is_userptr(uint32_t type)
{
	return type == VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR ||
	       type == VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES ||
	       type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR;
}

static uint32_t execute(struct gpu_device *dev, struct gpu_command *cmd)
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
	if (!queue && gpu_command_is_userptr(le32toh(hdr->type))) {
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
	struct gpu_command *cmd = NULL;
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
	if (!queue && !gpu_fault_apply(dev, cmd))
		return;
	ret = execute(dev, cmd);
	if (ret != LATER)
		gpu_command_executed(cmd, ret);
}
