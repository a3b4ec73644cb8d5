// SPDX-License-Identifier: MIT
/*
 * loopback_stream: from the bytes of a submission to a job
 *
 * Every command is decoded and checked against what is attached before any is
 * executed.  Invariant: what a step names exists and has the bytes; a job of which
 * a command is refused has no steps.
 *
 * Threads: the ring thread only.
 */
#include "renderer/loopback/loopback_internal.h"

#include <endian.h>
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#define MAX_DELAY_MS ((uint64_t)3600 * 1000)
/* Answers start at VIRTIO_GPU_RESP_OK_NODATA, errors at ERR_UNSPEC, 0x1200. */
#define LAST_RESPONSE 0x12ff

static bool range_ok(const struct backing *backing, uint64_t offset, uint64_t length)
{
	return offset <= backing->size && length <= backing->size - offset;
}

static bool ranges_overlap(const struct step *step)
{
	return step->dst == step->src && step->dst_offset < step->src_offset + step->length &&
	       step->src_offset < step->dst_offset + step->length;
}

static struct backing *find_attached(struct loopback_context *context, uint32_t id)
{
	return id_table_find(&context->base.resources, id);
}

static uint32_t decode_fault(struct renderer *renderer, struct job *job,
			     const struct loopback_command *cmd)
{
	struct renderer_fault fault = {
		.kind = le32toh(cmd->arg),
		.type = le32toh(cmd->dst_res),
		.skip = le64toh(cmd->dst_offset),
		.count = le64toh(cmd->src_offset),
		.param = le64toh(cmd->length),
	};

	if (!renderer->config.allow_inject || fault.kind > LOOPBACK_FAULT_DIE)
		return LOOPBACK_ERR_OP;
	if (fault.kind == LOOPBACK_FAULT_ERROR &&
	    (fault.param < VIRTIO_GPU_RESP_OK_NODATA || fault.param > LAST_RESPONSE))
		return LOOPBACK_ERR_RANGE;
	if (fault.kind == LOOPBACK_FAULT_DELAY && fault.param > MAX_DELAY_MS)
		return LOOPBACK_ERR_RANGE;
	if (!fault.count)
		fault.count = 1;
	job->fault = fault;
	job->has_fault = true;
	return LOOPBACK_OK;
}

/* How many bytes does the step write, and does it read? */
static uint32_t step_shape(const struct step *step, uint64_t *writes, bool *reads)
{
	*reads = false;
	*writes = step->length;
	switch (step->op) {
	case LOOPBACK_OP_FILL:
		return LOOPBACK_OK;
	case LOOPBACK_OP_COPY:
	case LOOPBACK_OP_INVERT:
		*reads = true;
		return LOOPBACK_OK;
	case LOOPBACK_OP_SHA256:
		*reads = true;
		*writes = LOOPBACK_SHA256_SIZE;
		return LOOPBACK_OK;
	case LOOPBACK_OP_STATS:
		*writes = sizeof(struct loopback_stats);
		return LOOPBACK_OK;
	default:
		return LOOPBACK_ERR_OP;
	}
}

static uint32_t check_ranges(const struct step *step, uint64_t writes, bool reads)
{
	if (!range_ok(step->dst, step->dst_offset, writes))
		return LOOPBACK_ERR_RANGE;
	if (reads && !range_ok(step->src, step->src_offset, step->length))
		return LOOPBACK_ERR_RANGE;
	if (step->op == LOOPBACK_OP_COPY && ranges_overlap(step))
		return LOOPBACK_ERR_RANGE;
	/* In place is fine, shifted in place would read what it wrote. */
	if (step->op == LOOPBACK_OP_INVERT && step->dst_offset != step->src_offset &&
	    ranges_overlap(step))
		return LOOPBACK_ERR_RANGE;
	return step->dst->readonly ? LOOPBACK_ERR_RDONLY : LOOPBACK_OK;
}

static uint32_t decode_step(struct renderer *renderer, struct job *job, struct step *step,
			    const struct loopback_command *cmd)
{
	struct loopback_context *context = job->context;
	uint64_t writes;
	bool reads;

	*step = (struct step){
		.op = le32toh(cmd->op),
		.fill = (uint8_t)le32toh(cmd->arg),
		.dst_offset = le64toh(cmd->dst_offset),
		.src_offset = le64toh(cmd->src_offset),
		.length = le64toh(cmd->length),
	};
	if (step->op == LOOPBACK_OP_INJECT)
		return decode_fault(renderer, job, cmd);
	if (step_shape(step, &writes, &reads))
		return LOOPBACK_ERR_OP;
	step->dst = find_attached(context, le32toh(cmd->dst_res));
	if (reads)
		step->src = find_attached(context, le32toh(cmd->src_res));
	if (!step->dst || (reads && !step->src))
		return LOOPBACK_ERR_RESOURCE;
	job->bytes += writes + (reads ? step->length : 0);
	return check_ranges(step, writes, reads);
}

/* What the steps need must be there before the job is accepted. */
static uint32_t prepare_step(struct renderer *renderer, struct job *job, const struct step *step)
{
	if (step->op == LOOPBACK_OP_SHA256 && !job->digest) {
		job->digest = EVP_MD_CTX_new();
		if (!job->digest || EVP_DigestInit_ex(job->digest, EVP_sha256(), NULL) != 1)
			return LOOPBACK_ERR_MEMORY;
	}
	if (step->op == LOOPBACK_OP_STATS) {
		renderer->host.stats(renderer->host.opaque, &job->stats);
		job->jobs_then = atomic_load(&renderer->executed);
	}
	return LOOPBACK_OK;
}

/**
 * loopback_decode_steps() - the commands of a submission
 * @renderer: whose
 * @job: with room for @nr steps; refused if one cannot be executed
 * @data: the commands
 * @nr: how many
 */
void loopback_decode_steps(struct renderer *renderer, struct job *job, const unsigned char *data,
			   uint32_t nr)
{
	struct loopback_command cmd;
	uint32_t i;

	for (i = 0; i < nr; i++) {
		memcpy(&cmd, data + i * sizeof(cmd), sizeof(cmd));
		job->error = decode_step(renderer, job, &job->steps[i], &cmd);
		if (!job->error)
			job->error = prepare_step(renderer, job, &job->steps[i]);
		if (job->error) {
			job->state = LOOPBACK_REFUSED;
			job->index = i;
			job->bytes = 0;
			return;
		}
	}
	job->nr_steps = nr;
}

/**
 * loopback_decode_status() - where its status goes
 * @job: that gets it
 * @head: of the submission
 *
 * Return: false if that is no place for it.
 */
bool loopback_decode_status(struct job *job, const struct loopback_submit *head)
{
	uint32_t id = le32toh(head->status_res);
	uint64_t offset = le64toh(head->status_offset);

	if (!id)
		return true;
	job->status = find_attached(job->context, id);
	job->status_offset = offset;
	return job->status && !job->status->readonly && !(offset % 4) &&
	       range_ok(job->status, offset, sizeof(struct loopback_status));
}
