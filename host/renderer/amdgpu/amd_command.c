// SPDX-License-Identifier: MIT
/*
 * amd_command: commands of a stream, but for submissions
 *
 * Each becomes one ioctl of the context's client, in which resources are handles; what
 * the kernel checks is left to it, and what it cannot know is checked here: limits, and
 * that nothing is mapped writeable which is promised not to be written.
 *
 * Threads: the context's.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <amdgpu.h>
#include <amdgpu_drm.h>
#include <xf86drm.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/clock.h"

#define DOMAINS                                                                   \
	(AMDGPU_GEM_DOMAIN_GTT | AMDGPU_GEM_DOMAIN_VRAM | AMDGPU_GEM_DOMAIN_GDS | \
	 AMDGPU_GEM_DOMAIN_GWS | AMDGPU_GEM_DOMAIN_OA)

static struct amd_object *find(struct amd_context *context, __le32 id)
{
	return id_table_find(&context->objects, le32toh(id));
}

/* The payload of an answer starts behind its head. */
static void *payload(struct amd_context *context, struct amd_command *command, size_t size)
{
	command->payload = size;
	return memset(context->answer, 0, size);
}

/**
 * amd_run_query_info() - AMDVGPU_QUERY_INFO
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_query_info(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_query_info *in = &command->data.query_info;
	uint32_t size = le32toh(in->return_size);
	struct drm_amdgpu_info args = { .return_size = size, .query = le32toh(in->query) };

	_Static_assert(sizeof(args) == sizeof(*in) - sizeof(in->req), "one is the other");
	if (size > AMD_MAX_ANSWER)
		return -EINVAL;
	args.return_pointer = (uintptr_t)payload(context, command, size);
	memcpy(&args.mode_crtc, in->argument, sizeof(in->argument));
	return drmCommandWrite(context->fd, DRM_AMDGPU_INFO, &args, sizeof(args));
}

/**
 * amd_run_gem_new() - AMDVGPU_GEM_NEW
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_gem_new(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_gem_new *in = &command->data.gem_new;
	struct amdvgpu_gem_new what = {
		.blob_id = le64toh(in->blob_id),
		.size = le64toh(in->size),
		.alignment = le64toh(in->alignment),
		.domain = le32toh(in->domain),
		.flags = le64toh(in->flags),
	};
	struct amd_object *object;
	int err;

	if (!what.blob_id || what.blob_id > UINT32_MAX || !what.size || what.domain & ~DOMAINS ||
	    id_table_find(&context->fresh, (uint32_t)what.blob_id))
		return -EINVAL;
	err = amd_object_new(context, &what, &object);
	if (err)
		return err;
	err = id_table_insert(&context->fresh, (uint32_t)what.blob_id, object);
	if (err)
		amd_object_put(object);
	else
		amd_shmem_set_heaps(context->shmem, context->fd);
	return err;
}

/* What the kernel has done is done to the list of mappings, too. */
static void follow(struct amd_va *va, uint32_t op, const struct amd_va_range *range)
{
	switch (op) {
	case AMDGPU_VA_OP_UNMAP:
		amd_va_remove(va, range->start, range->handle);
		break;
	case AMDGPU_VA_OP_CLEAR:
		amd_va_clear(va, range->start, range->end);
		break;
	case AMDGPU_VA_OP_REPLACE:
		amd_va_clear(va, range->start, range->end);
		amd_va_insert(va, range);
		break;
	default:
		amd_va_insert(va, range);
		break;
	}
}

/* How many mappings more there will be. */
static long growth_of(const struct amd_va *va, uint32_t op, const struct amd_va_range *range)
{
	switch (op) {
	case AMDGPU_VA_OP_UNMAP:
		return 0;
	case AMDGPU_VA_OP_CLEAR:
		return amd_va_growth(va, range->start, range->end);
	case AMDGPU_VA_OP_REPLACE:
		return amd_va_growth(va, range->start, range->end) + 1;
	default:
		return 1;
	}
}

/* An operation that is allowed, by the kernel and in the list of mappings. */
static int va_op(struct amd_context *context, const struct drm_amdgpu_gem_va *what,
		 const struct amd_va_range *range)
{
	struct drm_amdgpu_gem_va args = *what;
	struct renderer *renderer = context->renderer;
	struct amd_va *va = &context->va;
	long growth = growth_of(va, what->operation, range);
	size_t charged = va->nr + (growth > 0 ? (size_t)growth : 0);
	int err;

	if (growth > 0 && !amd_charge(renderer, &renderer->va_mappings, (uint64_t)growth))
		return -ENOSPC;
	/* To cut one in two and to add another needs room for two, whatever goes. */
	err = amd_va_reserve(va, 2);
	if (!err)
		err = drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_VA, &args, sizeof(args));
	if (!err)
		follow(va, what->operation, range);
	amd_uncharge(renderer, &renderer->va_mappings, charged - va->nr);
	return err;
}

/**
 * amd_run_va_op() - AMDVGPU_BO_VA_OP
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno; -EACCES: the resource is read-only.
 */
int amd_run_va_op(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_bo_va_op *in = &command->data.va_op;
	struct drm_amdgpu_gem_va args = {
		.operation = le32toh(in->op),
		.flags = (uint32_t)le64toh(in->flags),
		.va_address = le64toh(in->va),
		.offset_in_bo = le64toh(in->offset),
		.map_size = le64toh(in->size),
	};
	struct amd_va_range range = { .start = args.va_address };
	bool sparse = le64toh(in->flags2) & AMDVGPU_VA_OP_SPARSE;
	const struct amd_object *object = sparse ? NULL : find(context, in->res_id);

	if (le64toh(in->flags2) & ~(uint64_t)AMDVGPU_VA_OP_SPARSE ||
	    le64toh(in->flags) > UINT32_MAX || args.operation < AMDGPU_VA_OP_MAP ||
	    args.operation > AMDGPU_VA_OP_REPLACE ||
	    __builtin_add_overflow(range.start, args.map_size, &range.end))
		return -EINVAL;
	if (!sparse && !object)
		return -ENOENT;
	/* For the kernel a mapping with this flag is of no object, whatever is named. */
	if (object && args.flags & AMDGPU_VM_PAGE_PRT)
		return -EINVAL;
	/* Every job that is submitted later waits for it only if it is done at once. */
	args.flags &= ~(uint32_t)AMDGPU_VM_DELAY_UPDATE;
	if (object) {
		args.handle = range.handle = object->handle;
		range.readonly = object->readonly;
	}
	if (range.readonly && args.flags & AMDGPU_VM_PAGE_WRITEABLE)
		return -EACCES;
	return va_op(context, &args, &range);
}

/**
 * amd_run_set_metadata() - AMDVGPU_SET_METADATA
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_set_metadata(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_set_metadata *in = &command->data.set_metadata;
	const struct amd_object *object = find(context, in->res_id);
	struct drm_amdgpu_gem_metadata args = {
		.op = AMDGPU_GEM_METADATA_OP_SET_METADATA,
		.data.flags = le64toh(in->flags),
		.data.tiling_info = le64toh(in->tiling_info),
		.data.data_size_bytes = le32toh(in->size_metadata),
	};

	if (!object)
		return -ENOENT;
	if (args.data.data_size_bytes > sizeof(args.data.data) ||
	    args.data.data_size_bytes > command->rest_size)
		return -EINVAL;
	args.handle = object->handle;
	memcpy(args.data.data, command->rest, args.data.data_size_bytes);
	return drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_METADATA, &args, sizeof(args));
}

/* How a buffer was made; what was imported is of the host's memory. */
static int query_made(struct amd_context *context, uint32_t handle,
		      struct drm_amdgpu_gem_create_in *made)
{
	struct drm_amdgpu_gem_op args = {
		.handle = handle,
		.op = AMDGPU_GEM_OP_GET_GEM_CREATE_INFO,
		.value = (uintptr_t)made,
	};

	memset(made, 0, sizeof(*made));
	return drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_OP, &args, sizeof(args));
}

/**
 * amd_run_bo_query_info() - AMDVGPU_BO_QUERY_INFO
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_bo_query_info(struct amd_context *context, struct amd_command *command)
{
	struct drm_amdgpu_gem_metadata metadata = { .op = AMDGPU_GEM_METADATA_OP_GET_METADATA };
	const struct amd_object *object = find(context, command->data.bo_query_info.res_id);
	struct amdvgpu_bo_query_info_rsp rsp = { .pad = 0 };
	struct drm_amdgpu_gem_create_in made;
	int err;

	if (!object)
		return -ENOENT;
	metadata.handle = object->handle;
	err = drmCommandWriteRead(context->fd, DRM_AMDGPU_GEM_METADATA, &metadata,
				  sizeof(metadata));
	/* Nobody can store anything with process memory, nor ask how it was made. */
	if (err && !object->guest)
		return err;
	err = query_made(context, object->handle, &made);
	if (err && !object->guest)
		return err;
	rsp.size = htole64(object->size);
	rsp.alignment = htole64(made.alignment);
	rsp.domain = htole32((uint32_t)made.domains);
	rsp.flags = htole64(made.domain_flags);
	rsp.metadata_flags = htole64(metadata.data.flags);
	rsp.tiling_info = htole64(metadata.data.tiling_info);
	rsp.size_metadata = htole32(metadata.data.data_size_bytes);
	memcpy(rsp.metadata, metadata.data.data, sizeof(rsp.metadata));
	memcpy(payload(context, command, sizeof(rsp) - sizeof(rsp.rsp)), &rsp.size,
	       sizeof(rsp) - sizeof(rsp.rsp));
	return 0;
}

static int ctx_free(struct amd_context *context, uint32_t id)
{
	union drm_amdgpu_ctx args = { .in = { .op = AMDGPU_CTX_OP_FREE_CTX, .ctx_id = id } };

	if (!id_table_remove(&context->ctxs, id))
		return -ENOENT;
	return drmCommandWriteRead(context->fd, DRM_AMDGPU_CTX, &args, sizeof(args));
}

/**
 * amd_run_create_ctx() - AMDVGPU_CREATE_CTX
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_create_ctx(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_create_ctx *in = &command->data.create_ctx;
	union drm_amdgpu_ctx args = { .in = {
					      .op = AMDGPU_CTX_OP_ALLOC_CTX,
					      .priority = (int32_t)le32toh(in->priority),
				      } };
	struct amdvgpu_create_ctx_rsp rsp = { .pad = 0 };
	int err;

	/* Destroyed or not, the answer is as large. */
	(void)payload(context, command, sizeof(rsp) - sizeof(rsp.rsp));
	if (le32toh(in->flags) & ~(uint32_t)AMDVGPU_CTX_DESTROY)
		return -EINVAL;
	if (le32toh(in->flags) & AMDVGPU_CTX_DESTROY)
		return ctx_free(context, le32toh(in->priority));
	/* Ahead of the host's own, whatever the device may do; others are NORMAL for Linux. */
	if (args.in.priority == AMDGPU_CTX_PRIORITY_HIGH ||
	    args.in.priority == AMDGPU_CTX_PRIORITY_VERY_HIGH)
		return -EACCES;
	if (context->ctxs.nr >= AMD_MAX_CTXS)
		return -ENOSPC;
	err = drmCommandWriteRead(context->fd, DRM_AMDGPU_CTX, &args, sizeof(args));
	if (err)
		return err;
	rsp.ctx_id = htole32(args.out.alloc.ctx_id);
	err = id_table_insert(&context->ctxs, args.out.alloc.ctx_id, context);
	if (!err) {
		memcpy(context->answer, &rsp.ctx_id, command->payload);
		return 0;
	}
	args = (union drm_amdgpu_ctx){ .in = { .op = AMDGPU_CTX_OP_FREE_CTX } };
	args.in.ctx_id = le32toh(rsp.ctx_id);
	(void)drmCommandWriteRead(context->fd, DRM_AMDGPU_CTX, &args, sizeof(args));
	return err;
}

/**
 * amd_run_reserve_vmid() - AMDVGPU_RESERVE_VMID
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_reserve_vmid(struct amd_context *context, struct amd_command *command)
{
	uint64_t flags = le64toh(command->data.reserve_vmid.flags);
	union drm_amdgpu_vm args = { .in = { .op = AMDGPU_VM_OP_RESERVE_VMID } };

	if (flags & ~(uint64_t)AMDVGPU_VMID_UNRESERVE)
		return -EINVAL;
	if (flags & AMDVGPU_VMID_UNRESERVE)
		args.in.op = AMDGPU_VM_OP_UNRESERVE_VMID;
	return drmCommandWriteRead(context->fd, DRM_AMDGPU_VM, &args, sizeof(args));
}

/**
 * amd_run_set_pstate() - AMDVGPU_SET_PSTATE
 * @context: whose
 * @command: it
 *
 * Return: 0 or a negative errno.
 */
int amd_run_set_pstate(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_set_pstate *in = &command->data.set_pstate;
	struct amdvgpu_set_pstate_rsp rsp = { .pad = 0 };
	union drm_amdgpu_ctx args = { .in = {
					      .op = le32toh(in->op),
					      .flags = le32toh(in->flags),
					      .ctx_id = le32toh(in->ctx_id),
				      } };
	int err;

	if ((args.in.op != AMDGPU_CTX_OP_GET_STABLE_PSTATE &&
	     args.in.op != AMDGPU_CTX_OP_SET_STABLE_PSTATE) ||
	    !id_table_find(&context->ctxs, args.in.ctx_id))
		return -EINVAL;
	err = drmCommandWriteRead(context->fd, DRM_AMDGPU_CTX, &args, sizeof(args));
	if (!err)
		rsp.out_flags = htole32(args.out.pstate.flags);
	memcpy(payload(context, command, sizeof(rsp) - sizeof(rsp.rsp)), &rsp.out_flags,
	       sizeof(rsp) - sizeof(rsp.rsp));
	return err;
}

/* Whether a job is over, as the kernel has it: 0 and that, or a negative errno. */
static int is_over(struct amd_context *context, const struct amdvgpu_query_fence *what, bool *over)
{
	union drm_amdgpu_wait_cs args = { .in = {
						  .handle = what->fence,
						  .ip_type = what->ip_type,
						  .ip_instance = what->ip_instance,
						  .ring = what->ring,
						  .ctx_id = what->ctx_id,
					  } };
	int err = drmCommandWriteRead(context->fd, DRM_AMDGPU_WAIT_CS, &args, sizeof(args));

	*over = !err && !args.out.status;
	return err;
}

static uint64_t deadline_of(const struct amdvgpu_query_fence *what)
{
	uint64_t deadline;

	/* Beyond what the kernel takes for a time it is for ever. */
	if (what->timeout > INT64_MAX)
		return UINT64_MAX;
	if (what->flags & AMDGPU_QUERY_FENCE_TIMEOUT_IS_ABSOLUTE)
		return what->timeout;
	return __builtin_add_overflow(clock_ns(), what->timeout, &deadline) ? UINT64_MAX : deadline;
}

/**
 * amd_run_query_fence() - AMDVGPU_CS_QUERY_FENCE_STATUS
 * @context: whose
 * @command: it
 *
 * The last command of a stream, as which it comes, is answered later if it has to wait;
 * the context's thread goes on.
 *
 * Return: 0 or a negative errno.
 */
int amd_run_query_fence(struct amd_context *context, struct amd_command *command)
{
	const struct amdvgpu_query_fence *in = &command->data.query_fence;
	struct amdvgpu_query_fence what = {
		.ctx_id = le32toh(in->ctx_id),
		.ip_type = le32toh(in->ip_type),
		.ip_instance = le32toh(in->ip_instance),
		.ring = le32toh(in->ring),
		.fence = le64toh(in->fence),
		.timeout = le64toh(in->timeout),
		.flags = le64toh(in->flags),
	};
	struct amdvgpu_query_fence_rsp rsp = { .pad = 0 };
	uint64_t deadline = deadline_of(&what), job;
	bool over;
	int err;

	if (!id_table_find(&context->ctxs, what.ctx_id))
		return -EINVAL;
	err = is_over(context, &what, &over);
	job = over || err || !what.timeout ? 0 : amd_job_find(context, &what);
	/* It was over in between, perhaps: now that is known. */
	if (!job && !over && !err)
		err = is_over(context, &what, &over);
	/* Who was answered already is not waited for in the list of those who were not. */
	if (job && command->last && context->item->cookie) {
		atomic_fetch_add(&context->shmem->refs, 1);
		context->item->query = (struct amd_query){
			.shmem = context->shmem,
			.rsp_off = command->req.rsp_off,
			.job = job,
			.deadline = deadline,
		};
		command->deferred = true;
		return 0;
	}
	if (job)
		over = amd_job_wait(context, job, deadline);
	rsp.expired = htole32(over);
	memcpy(payload(context, command, sizeof(rsp) - sizeof(rsp.rsp)), &rsp.expired,
	       sizeof(rsp) - sizeof(rsp.rsp));
	return err;
}
