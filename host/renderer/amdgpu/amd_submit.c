// SPDX-License-Identifier: MIT
/*
 * amd_submit: CS_SUBMIT, work for the GPU
 *
 * Its chunks are copied, with resources as handles, so that the kernel sees what was
 * checked.  Read-only memory is safe from the GPU by its page tables; what the kernel
 * writes for a job without these is refused: the fence chunk, which names a buffer, and
 * the video engines, some of which have their commands changed by the kernel, and write
 * past the page tables, where a context has read-only memory mapped.
 *
 * Threads: the context's.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "renderer/amdgpu/amd_internal.h"

/**
 * struct submission - a CS_SUBMIT, being made
 * @context: whose
 * @nr: of @chunks
 * @chunks: for the kernel, with room for the syncobj's
 * @pointers: to them
 * @list: what the buffers are
 * @syncobj: that gets the fence
 * @ip_type: queue of the last command buffer, as what follows
 * @ip_instance: see @ip_type
 * @ip_ring: see @ip_type
 * @nr_ibs: command buffers
 */
struct submission {
	struct amd_context *context;
	unsigned int nr;
	struct drm_amdgpu_cs_chunk chunks[AMDVGPU_MAX_CHUNKS + 1];
	uint64_t pointers[AMDVGPU_MAX_CHUNKS + 1];
	struct drm_amdgpu_bo_list_in list;
	struct drm_amdgpu_cs_chunk_sem syncobj;
	uint32_t ip_type;
	uint32_t ip_instance;
	uint32_t ip_ring;
	unsigned int nr_ibs;
};

static void add(struct submission *submission, uint32_t id, const void *data, size_t size)
{
	struct drm_amdgpu_cs_chunk *chunk = &submission->chunks[submission->nr];

	*chunk = (struct drm_amdgpu_cs_chunk){
		.chunk_id = id,
		.length_dw = (uint32_t)(size / 4),
		.chunk_data = (uintptr_t)data,
	};
	submission->pointers[submission->nr++] = (uintptr_t)chunk;
}

/* The array of buffers becomes one of handles. */
static int add_buffers(struct submission *submission, void *data, size_t size)
{
	struct drm_amdgpu_bo_list_entry *entries = data;
	const struct amd_object *object;
	size_t i;

	if (size % sizeof(*entries) || submission->list.bo_info_size)
		return -EINVAL;
	for (i = 0; i < size / sizeof(*entries); i++) {
		object =
			id_table_find(&submission->context->objects, le32toh(entries[i].bo_handle));
		if (!object)
			return -ENOENT;
		entries[i].bo_handle = object->handle;
		entries[i].bo_priority = le32toh(entries[i].bo_priority);
	}
	submission->list = (struct drm_amdgpu_bo_list_in){
		.operation = ~0u,
		.list_handle = ~0u,
		.bo_number = (uint32_t)(size / sizeof(*entries)),
		.bo_info_size = sizeof(*entries),
		.bo_info_ptr = (uintptr_t)entries,
	};
	add(submission, AMDGPU_CHUNK_ID_BO_HANDLES, &submission->list, sizeof(submission->list));
	return 0;
}

/* Where the kernel's CPU, too, may do something to the commands. */
static bool is_video(uint32_t ip_type)
{
	return ip_type != AMDGPU_HW_IP_GFX && ip_type != AMDGPU_HW_IP_COMPUTE &&
	       ip_type != AMDGPU_HW_IP_DMA;
}

static int add_ib(struct submission *submission, void *data, size_t size)
{
	const struct drm_amdgpu_cs_chunk_ib *ib = data;

	if (size != sizeof(*ib))
		return -EINVAL;
	if (is_video(ib->ip_type) && amd_va_has_readonly(&submission->context->va, 0, UINT64_MAX))
		return -EACCES;
	/* The fence of a gang on several queues is that of one of them only. */
	if (submission->nr_ibs &&
	    (ib->ip_type != submission->ip_type || ib->ip_instance != submission->ip_instance ||
	     ib->ring != submission->ip_ring))
		return -EINVAL;
	submission->ip_type = ib->ip_type;
	submission->ip_instance = ib->ip_instance;
	submission->ip_ring = ib->ring;
	submission->nr_ibs++;
	add(submission, AMDGPU_CHUNK_ID_IB, data, size);
	return 0;
}

static int add_fence(struct submission *submission, void *data, size_t size)
{
	struct drm_amdgpu_cs_chunk_fence *fence = data;
	const struct amd_object *object;

	if (size != sizeof(*fence))
		return -EINVAL;
	object = id_table_find(&submission->context->objects, le32toh(fence->handle));
	if (!object)
		return -ENOENT;
	if (object->guest)
		return -EACCES;
	fence->handle = object->handle;
	add(submission, AMDGPU_CHUNK_ID_FENCE, data, size);
	return 0;
}

static int add_dependencies(struct submission *submission, void *data, size_t size)
{
	if (size % sizeof(struct drm_amdgpu_cs_chunk_dep))
		return -EINVAL;
	add(submission, AMDGPU_CHUNK_ID_DEPENDENCIES, data, size);
	return 0;
}

static int add_chunk(struct submission *submission, uint16_t id, void *data, size_t size)
{
	switch (id) {
	case AMDGPU_CHUNK_ID_BO_HANDLES:
		return add_buffers(submission, data, size);
	case AMDGPU_CHUNK_ID_IB:
		return add_ib(submission, data, size);
	case AMDGPU_CHUNK_ID_FENCE:
		return add_fence(submission, data, size);
	case AMDGPU_CHUNK_ID_DEPENDENCIES:
		return add_dependencies(submission, data, size);
	default:
		/* What names things of the kernel's that a guest cannot have. */
		return -EINVAL;
	}
}

/*
 * All chunks, each at a place of its own in @copy, 8-byte aligned; no two may have bytes
 * in common there, so that to change one is not to change another.
 */
static int add_chunks(struct submission *submission, const struct amd_command *command,
		      unsigned char *copy)
{
	uint32_t nr = le32toh(command->data.cs_submit.num_chunks), i;
	size_t table = nr * sizeof(struct amdvgpu_chunk), room = command->rest_size - table;
	const unsigned char *data = command->rest + table;
	size_t offset, size, used = 0, at = 0;
	struct amdvgpu_chunk chunk;
	int err = 0;

	for (i = 0; !err && i < nr; i++) {
		memcpy(&chunk, command->rest + i * sizeof(chunk), sizeof(chunk));
		offset = le32toh(chunk.offset);
		size = (size_t)le16toh(chunk.length_dw) * 4;
		/* More than there is: the same bytes again and again. */
		if (offset > room || size > room - offset || size > room - used)
			return -EINVAL;
		memcpy(copy + at, data + offset, size);
		err = add_chunk(submission, le16toh(chunk.id), copy + at, size);
		used += size;
		at += (size + 7) & ~(size_t)7;
	}
	return err;
}

static int submit(struct submission *submission, uint32_t ctx_id, struct amd_job *job)
{
	struct amd_context *context = submission->context;
	union drm_amdgpu_cs args;
	int err;

	submission->syncobj.handle = context->syncobj;
	add(submission, AMDGPU_CHUNK_ID_SYNCOBJ_OUT, &submission->syncobj,
	    sizeof(submission->syncobj));
	memset(&args, 0, sizeof(args));
	args.in.ctx_id = ctx_id;
	args.in.num_chunks = submission->nr;
	args.in.chunks = (uintptr_t)submission->pointers;
	err = drmCommandWriteRead(context->fd, DRM_AMDGPU_CS, &args, sizeof(args));
	if (err)
		return err;
	job->ctx_id = ctx_id;
	job->ip_type = submission->ip_type;
	job->ip_instance = submission->ip_instance;
	job->ip_ring = submission->ip_ring;
	job->seqno = args.out.handle;
	return 0;
}

static int submit_chunks(struct amd_context *context, const struct amd_command *command,
			 struct submission *submission, unsigned char *copy)
{
	uint32_t ctx_id = le32toh(command->data.cs_submit.ctx_id);
	struct amd_job *job;
	int err;

	submission->context = context;
	err = add_chunks(submission, command, copy);
	if (!err && !submission->nr_ibs)
		err = -EINVAL;
	if (!err)
		err = amd_job_room(context);
	if (err)
		return err;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->ring = le32toh(command->data.cs_submit.ring_idx);
	err = submit(submission, ctx_id, job);
	if (err)
		free(job);
	else
		amd_job_add(context, job);
	return err;
}

/**
 * amd_run_cs_submit() - AMDVGPU_CS_SUBMIT
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_cs_submit(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_cs_submit *in = &command->data.cs_submit;
	uint32_t nr = le32toh(in->num_chunks), ring = le32toh(in->ring_idx);
	struct submission *submission;
	unsigned char *copy;
	int err = -ENOMEM;

	if (nr > AMDVGPU_MAX_CHUNKS || nr * sizeof(struct amdvgpu_chunk) > command->rest_size ||
	    !ring || ring >= AMDVGPU_MAX_RINGS ||
	    !id_table_find(&context->ctxs, le32toh(in->ctx_id)))
		return -EINVAL;
	submission = calloc(1, sizeof(*submission));
	/* Each chunk may have to be moved up to a multiple of 8. */
	copy = malloc(command->rest_size + 4 * (size_t)nr + 8);
	if (submission && copy)
		err = submit_chunks(context, command, submission, copy);
	free(copy);
	free(submission);
	return err;
}
