// SPDX-License-Identifier: MIT
/*
 * gpu_context: rendering contexts, what is attached to them, and submissions
 *
 * Invariants: what is attached to a context can be used; it is detached before it
 * ends.  nr_attachments of the device is the sum over all contexts.  A context
 * that its renderer has lost keeps its id and what is attached to it until the
 * guest destroys it, and takes nothing new.
 *
 * Threads: the ring thread only.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_internal.h"
#include "util/log.h"
#include "util/responses.h"

/* A context of @capset without its id, or NULL and why not. */
static struct gpu_context *context_new(struct gpu_device *dev, uint32_t capset_id, const char *name,
				       uint32_t *why)
{
	struct gpu_context *context = calloc(1, sizeof(*context));
	struct renderer_capset capset;
	const struct gpu_renderer_slot *slot;

	*why = ERR_OUT_OF_MEMORY;
	if (!context)
		return NULL;
	context->base = &context->own;
	context->renderer = -1;
	if (!capset_id)
		return context;
	context->renderer = gpu_find_capset(dev, 0, capset_id, &capset);
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

static void uncharge_attachments(struct gpu_device *dev, size_t nr)
{
	dev->nr_attachments -= (unsigned int)nr;
	quota_uncharge(&dev->quota_attachments, nr);
}

/* Whether @context may have something more attached; that is charged then. */
static bool charge_attachment(struct gpu_device *dev, const struct gpu_context *context)
{
	if (!quota_fits(&dev->quota_context_attachments,
			context->base->resources.nr + context->blobs.nr + 1) ||
	    !quota_charge(&dev->quota_attachments, 1))
		return false;
	dev->nr_attachments++;
	return true;
}

static void context_free(struct gpu_device *dev, struct gpu_context *context)
{
	quota_uncharge(&dev->quota_contexts, 1);
	uncharge_attachments(dev, context->base->resources.nr + context->blobs.nr);
	id_table_destroy(&context->blobs);
	if (context->renderer >= 0) {
		const struct gpu_renderer_slot *slot = &dev->renderers[context->renderer];

		slot->ops->context_destroy(slot->renderer, context->base);
	} else {
		id_table_destroy(&context->own.resources);
	}
	free(context);
}

uint32_t gpu_handle_ctx_create(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_ctx_create *in = (const void *)cmd->data;
	uint32_t id = le32toh(cmd->hdr.ctx_id);
	uint32_t nlen = le32toh(in->nlen);
	uint32_t init = 0;
	char name[sizeof(in->debug_name) + 1] = "";
	struct gpu_context *context;
	uint32_t why;

	if (dev->features & 1u << VIRTIO_GPU_F_CONTEXT_INIT)
		init = le32toh(in->context_init);
	if (nlen > sizeof(in->debug_name) || init & ~VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK)
		return ERR_INVALID_PARAMETER;
	memcpy(name, in->debug_name, nlen);
	gpu_command_describe(cmd, "capset %u", init);
	if (!id || id_table_find(&dev->contexts, id))
		return ERR_INVALID_CONTEXT_ID;
	if (!quota_charge(&dev->quota_contexts, 1))
		return ERR_LIMIT;
	context = context_new(dev, init, name, &why);
	if (!context) {
		quota_uncharge(&dev->quota_contexts, 1);
		return why;
	}
	context->base->id = id;
	if (id_table_insert(&dev->contexts, id, context)) {
		context_free(dev, context);
		return ERR_OUT_OF_MEMORY;
	}
	return OK;
}

uint32_t gpu_handle_ctx_destroy(struct gpu_device *dev, struct gpu_command *cmd)
{
	struct gpu_context *context = id_table_remove(&dev->contexts, le32toh(cmd->hdr.ctx_id));

	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	context_free(dev, context);
	return OK;
}

void gpu_contexts_drop(struct gpu_device *dev)
{
	size_t i;

	for (i = 0; i < dev->contexts.size; i++) {
		struct gpu_context *context = id_table_at(&dev->contexts, i);

		if (context)
			context_free(dev, context);
	}
	id_table_destroy(&dev->contexts);
}

struct gpu_context *gpu_find_context(const struct gpu_device *dev, uint32_t id)
{
	struct gpu_context *context = id_table_find(&dev->contexts, id);

	return context && !context->lost ? context : NULL;
}

/*
 * May come at any time, from within an op on this very context too, so nothing
 * of it goes here.
 */
void gpu_context_lost(void *opaque, struct renderer_context *base)
{
	struct gpu_device *dev = opaque;
	struct gpu_context *context = id_table_find(&dev->contexts, base->id);
	char why[64] = "its renderer cannot go on with it";

	if (dev->resetting || !context || context->base != base || context->lost)
		return;
	context->lost = true;
	if (dev->evicting)
		snprintf(why, sizeof(why), "it did not let go of resource %u in time",
			 dev->evicting->id);
	log_error("context %u is lost: %s", base->id, why);
}

/* ---- what is attached ---- */

static const struct renderer_ops *context_ops(const struct gpu_device *dev,
					      const struct gpu_context *context)
{
	return context->renderer < 0 ? NULL : dev->renderers[context->renderer].ops;
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

static uint32_t attach_backing(struct gpu_device *dev, struct gpu_context *context,
			       struct backing *backing)
{
	const struct renderer_ops *ops = context_ops(dev, context);
	int err = 0;

	if (backing->readonly && !context->rdonly)
		return ERR_UNSUPPORTED;
	if (id_table_find(&context->base->resources, backing->id))
		return OK;
	if (!charge_attachment(dev, context))
		return ERR_LIMIT;
	if (id_table_insert(&context->base->resources, backing->id, backing)) {
		uncharge_attachments(dev, 1);
		return ERR_OUT_OF_MEMORY;
	}
	if (ops && ops->attach)
		err = ops->attach(context->base, backing);
	if (err) {
		id_table_remove(&context->base->resources, backing->id);
		uncharge_attachments(dev, 1);
		return attach_error(err);
	}
	if (ops && ops->attach && backing->view)
		dev->imports++;
	return OK;
}

static uint32_t attach_host_blob(struct gpu_device *dev, struct gpu_context *context,
				 struct gpu_blob *blob)
{
	const struct renderer_ops *ops = context_ops(dev, context);
	int err = 0;

	/* What a context without a renderer has it cannot use; that is no error. */
	if (ops && context->renderer != blob->renderer)
		return ERR_UNSUPPORTED;
	if (id_table_find(&context->blobs, blob->backing.id))
		return OK;
	if (!charge_attachment(dev, context))
		return ERR_LIMIT;
	if (id_table_insert(&context->blobs, blob->backing.id, blob)) {
		uncharge_attachments(dev, 1);
		return ERR_OUT_OF_MEMORY;
	}
	if (ops)
		err = ops->blob_attach(context->base, blob->backing.id);
	if (err) {
		id_table_remove(&context->blobs, blob->backing.id);
		uncharge_attachments(dev, 1);
		return attach_error(err);
	}
	return OK;
}

uint32_t gpu_handle_ctx_attach(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_ctx_resource *in = (const void *)cmd->data;
	struct gpu_context *context = gpu_find_context(dev, le32toh(cmd->hdr.ctx_id));
	uint32_t id = le32toh(in->resource_id);
	struct backing *backing;
	struct gpu_blob *blob;

	gpu_command_describe(cmd, "res %u", id);
	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	blob = gpu_find_host_blob(dev, id);
	if (blob)
		return attach_host_blob(dev, context, blob);
	backing = gpu_find_backing(dev, id);
	return backing ? attach_backing(dev, context, backing) : ERR_INVALID_RESOURCE_ID;
}

/* false: it was not attached. */
static bool context_detach(struct gpu_device *dev, struct gpu_context *context, uint32_t id)
{
	const struct renderer_ops *ops = context_ops(dev, context);
	struct backing *backing = id_table_remove(&context->base->resources, id);
	struct gpu_blob *blob = backing ? NULL : id_table_remove(&context->blobs, id);

	if (!backing && !blob)
		return false;
	uncharge_attachments(dev, 1);
	if (backing && ops && ops->detach)
		ops->detach(context->base, backing);
	else if (blob && ops)
		ops->blob_detach(context->base, id);
	return true;
}

uint32_t gpu_handle_ctx_detach(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_ctx_resource *in = (const void *)cmd->data;
	struct gpu_context *context = id_table_find(&dev->contexts, le32toh(cmd->hdr.ctx_id));
	uint32_t id = le32toh(in->resource_id);

	gpu_command_describe(cmd, "res %u", id);
	if (!context)
		return ERR_INVALID_CONTEXT_ID;
	return context_detach(dev, context, id) ? OK : ERR_INVALID_RESOURCE_ID;
}

void gpu_contexts_detach(struct gpu_device *dev, uint32_t id)
{
	size_t i;

	for (i = 0; dev->nr_attachments && i < dev->contexts.size; i++) {
		struct gpu_context *context = id_table_at(&dev->contexts, i);

		if (context)
			context_detach(dev, context, id);
	}
}

/* ---- submissions ---- */

uint32_t gpu_handle_submit_3d(struct gpu_device *dev, struct gpu_command *cmd)
{
	const struct virtio_gpu_cmd_submit *in = (const void *)cmd->data;
	struct gpu_context *context = gpu_find_context(dev, le32toh(cmd->hdr.ctx_id));
	uint32_t size = le32toh(in->size), flags = le32toh(cmd->hdr.flags);
	struct renderer_submission submission = {
		.fenced = flags & VIRTIO_GPU_FLAG_FENCE,
		.data = cmd->data + sizeof(*in),
		.size = size,
	};
	const struct gpu_renderer_slot *slot;

	gpu_command_describe(cmd, "size %u", size);
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

void gpu_submitted(void *opaque, void *cookie, uint32_t response)
{
	(void)opaque;
	gpu_command_executed(cookie, response);
}
