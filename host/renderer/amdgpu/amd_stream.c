// SPDX-License-Identifier: MIT
/*
 * amd_stream: a submission, taken apart
 *
 * Commands are checked one after the other and executed at once; the first whose frame
 * is wrong ends the stream, for what follows cannot be found.  A command may be shorter
 * than the device knows it: what is missing is zero.  A command that fails says so in
 * its answer; one that nobody waits for counts as an asynchronous error, too.
 *
 * Threads: the context's.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/log.h"
#include "util/responses.h"

/**
 * struct command_type - what there is to know of a command
 * @name: for the log
 * @size: bytes of its struct
 * @answered: the guest has a place for what comes of it
 * @counted: its failure is an asynchronous error
 * @run: executes it
 */
struct command_type {
	const char *name;
	size_t size;
	bool answered;
	bool counted;
	int (*run)(struct amd_context *context, struct amd_command *command);
};

static const struct command_type types[] = {
	[AMDVGPU_QUERY_INFO] = { "QUERY_INFO", sizeof(struct amdvgpu_query_info), true, false,
				 amd_run_query_info },
	[AMDVGPU_GEM_NEW] = { "GEM_NEW", sizeof(struct amdvgpu_gem_new), false, true,
			      amd_run_gem_new },
	[AMDVGPU_BO_VA_OP] = { "BO_VA_OP", sizeof(struct amdvgpu_bo_va_op), true, false,
			       amd_run_va_op },
	[AMDVGPU_CS_SUBMIT] = { "CS_SUBMIT", sizeof(struct amdvgpu_cs_submit), true, true,
				amd_run_cs_submit },
	[AMDVGPU_SET_METADATA] = { "SET_METADATA", sizeof(struct amdvgpu_set_metadata), true, false,
				   amd_run_set_metadata },
	[AMDVGPU_BO_QUERY_INFO] = { "BO_QUERY_INFO", sizeof(struct amdvgpu_bo_query_info), true,
				    false, amd_run_bo_query_info },
	[AMDVGPU_CREATE_CTX] = { "CREATE_CTX", sizeof(struct amdvgpu_create_ctx), true, false,
				 amd_run_create_ctx },
	[AMDVGPU_RESERVE_VMID] = { "RESERVE_VMID", sizeof(struct amdvgpu_reserve_vmid), true, false,
				   amd_run_reserve_vmid },
	[AMDVGPU_SET_PSTATE] = { "SET_PSTATE", sizeof(struct amdvgpu_set_pstate), true, false,
				 amd_run_set_pstate },
	[AMDVGPU_CS_QUERY_FENCE_STATUS] = { "CS_QUERY_FENCE_STATUS",
					    sizeof(struct amdvgpu_query_fence), true, false,
					    amd_run_query_fence },
};

/* The next command, or an error: -EBADMSG. */
static int take(const struct amd_item *item, size_t at, struct amd_command *command,
		const struct command_type **type)
{
	const unsigned char *data = item->data + at;
	struct amdvgpu_req *req = &command->req;
	size_t left = item->size - at, known;

	if (left < sizeof(*req))
		return -EBADMSG;
	memcpy(req, data, sizeof(*req));
	req->cmd = le32toh(req->cmd);
	req->len = le32toh(req->len);
	req->seqno = le32toh(req->seqno);
	req->rsp_off = le32toh(req->rsp_off);
	if (req->len < sizeof(*req) || req->len % 8 || req->len > left ||
	    req->cmd >= sizeof(types) / sizeof(types[0]) || !types[req->cmd].run)
		return -EBADMSG;
	*type = &types[req->cmd];
	known = req->len < (*type)->size ? req->len : (*type)->size;
	memset(&command->data, 0, sizeof(command->data));
	memcpy(&command->data, data, known);
	command->rest = data + known;
	command->rest_size = req->len - known;
	command->payload = 0;
	command->last = req->len == left;
	command->deferred = false;
	return 0;
}

static void complain(const struct amd_context *context, const struct amd_command *command,
		     const char *name, int err)
{
	log_event("context %u (%s): %s, seqno %u: %s", context->base.id, context->name, name,
		  command->req.seqno, strerror(-err));
}

static int execute(struct amd_context *context, struct amd_command *command,
		   const struct command_type *type)
{
	struct amd_shmem *shmem = context->shmem;
	int ret, err = 0;

	/* Before anything is done: a guest must be able to know what was. */
	if (type->answered && (!shmem || !amd_shmem_has_place(shmem, command->req.rsp_off)))
		return -EBADMSG;
	ret = type->run(context, command);
	if (ret)
		complain(context, command, type->name, ret);
	if (ret && type->counted)
		amd_shmem_count_error(shmem);
	if (type->answered && !command->deferred)
		err = amd_shmem_answer(shmem, command->req.rsp_off, ret, context->answer,
				       command->payload);
	amd_shmem_set_seqno(shmem, command->req.seqno);
	return err;
}

/**
 * amd_stream_run() - execute a submission
 * @context: whose
 * @item: AMD_STREAM; its response is set
 */
void amd_stream_run(struct amd_context *context, struct amd_item *item)
{
	const struct command_type *type = NULL;
	struct amd_command command = { .payload = 0 };
	size_t at = 0;
	int err = 0;

	while (!err && at < item->size) {
		err = take(item, at, &command, &type);
		if (!err)
			err = execute(context, &command, type);
		at += command.req.len;
	}
	item->response = err ? ERR_INVALID_PARAMETER : OK;
	if (!err)
		return;
	log_error("context %u (%s): a command at byte %zu of %zu is malformed: the stream ends",
		  context->base.id, context->name, at - command.req.len, item->size);
	amd_shmem_count_error(context->shmem);
}
