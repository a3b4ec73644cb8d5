// SPDX-License-Identifier: MIT
/*
 * loopback_run: a job on the CPU
 *
 * Walks the runs of what its steps name.  A stop of any is looked for at least
 * every STOP_CHECK_BYTES.  Invariant: nothing is written to a resource after it was
 * stopped but what the step in progress writes.
 *
 * Threads: any; the job is the caller's.
 */
#include "renderer/loopback/loopback_internal.h"

#include <endian.h>
#include <string.h>

#define STOP_CHECK_BYTES ((uint64_t)1 << 20)

/**
 * loopback_job_stopped() - whether it is to be cancelled
 * @job: it
 *
 * Threads: any.
 *
 * Return: true if something that it uses was stopped.
 */
bool loopback_job_stopped(const struct job *job)
{
	uint32_t i;

	if (atomic_load_explicit(&job->context->stop, memory_order_relaxed) ||
	    atomic_load_explicit(&job->context->renderer->resetting, memory_order_relaxed))
		return true;
	if (job->status && backing_stopped(job->status))
		return true;
	for (i = 0; i < job->nr_steps; i++) {
		const struct step *step = &job->steps[i];

		if ((step->dst && backing_stopped(step->dst)) ||
		    (step->src && backing_stopped(step->src)))
			return true;
	}
	return false;
}

static void write_bytes(const struct backing *backing, uint64_t offset, const void *from,
			size_t len)
{
	const unsigned char *bytes = from;

	while (len) {
		uint64_t piece;
		unsigned char *to = run_list_piece(&backing->runs, offset, &piece);

		if (piece > len)
			piece = len;
		memcpy(to, bytes, piece);
		bytes += piece;
		offset += piece;
		len -= piece;
	}
}

/* What one stretch of a step does; @src is NULL for FILL, @dst for SHA256. */
static void step_stretch(struct job *job, const struct step *step, unsigned char *dst,
			 const unsigned char *src, uint64_t len)
{
	uint64_t i;

	switch (step->op) {
	case LOOPBACK_OP_FILL:
		memset(dst, step->fill, len);
		break;
	case LOOPBACK_OP_COPY:
		/* Two resources may name the same memory. */
		memmove(dst, src, len);
		break;
	case LOOPBACK_OP_INVERT:
		for (i = 0; i < len; i++)
			dst[i] = (unsigned char)~src[i];
		break;
	case LOOPBACK_OP_SHA256:
		if (EVP_DigestUpdate(job->digest, src, len) != 1)
			job->error = LOOPBACK_ERR_MEMORY;
		break;
	}
}

/* false: stopped on the way. */
static bool step_walk(struct job *job, const struct step *step)
{
	bool reads = step->op != LOOPBACK_OP_FILL;
	bool writes = step->op != LOOPBACK_OP_SHA256;
	uint64_t unchecked = 0;
	uint64_t done = 0;

	while (done < step->length && !job->error) {
		uint64_t len = step->length - done;
		const unsigned char *src = NULL;
		unsigned char *dst = NULL;
		uint64_t piece;

		if (len > STOP_CHECK_BYTES - unchecked)
			len = STOP_CHECK_BYTES - unchecked;
		if (reads) {
			src = run_list_piece(&step->src->runs, step->src_offset + done, &piece);
			len = piece < len ? piece : len;
		}
		if (writes) {
			dst = run_list_piece(&step->dst->runs, step->dst_offset + done, &piece);
			len = piece < len ? piece : len;
		}
		step_stretch(job, step, dst, src, len);
		done += len;
		unchecked += len;
		if (unchecked == STOP_CHECK_BYTES) {
			if (loopback_job_stopped(job))
				return false;
			unchecked = 0;
		}
	}
	return !job->error;
}

static bool run_sha256(struct job *job, const struct step *step)
{
	unsigned char sum[LOOPBACK_SHA256_SIZE];

	if (EVP_DigestInit_ex(job->digest, EVP_sha256(), NULL) != 1) {
		job->error = LOOPBACK_ERR_MEMORY;
		return false;
	}
	if (!step_walk(job, step))
		return false;
	if (EVP_DigestFinal_ex(job->digest, sum, NULL) != 1) {
		job->error = LOOPBACK_ERR_MEMORY;
		return false;
	}
	if (loopback_job_stopped(job))
		return false;
	write_bytes(step->dst, step->dst_offset, sum, sizeof(sum));
	return true;
}

static void run_stats(struct renderer *renderer, struct job *job, const struct step *step)
{
	struct loopback_stats stats = job->stats;
	uint64_t now = atomic_load(&renderer->executed);

	stats.jobs = htole64(le64toh(stats.jobs) + (now - job->jobs_then));
	write_bytes(step->dst, step->dst_offset, &stats, sizeof(stats));
}

static bool run_step(struct renderer *renderer, struct job *job, const struct step *step)
{
	switch (step->op) {
	case LOOPBACK_OP_SHA256:
		return run_sha256(job, step);
	case LOOPBACK_OP_STATS:
		run_stats(renderer, job, step);
		return true;
	case LOOPBACK_OP_INJECT:
		return true; /* armed when the job was accepted */
	default:
		return step_walk(job, step);
	}
}

/* State last, so that who sees it sees everything else too. */
static void write_status(const struct job *job)
{
	struct loopback_status status = {
		.index = htole32(job->index),
		.error = htole32(job->error),
	};
	uint32_t state = htole32(job->state);
	uint64_t piece;
	void *at;

	if (!job->status || backing_stopped(job->status))
		return;
	write_bytes(job->status, job->status_offset + sizeof(state), &status.index,
		    sizeof(status) - sizeof(state));
	at = run_list_piece(&job->status->runs, job->status_offset, &piece);
	if (piece >= sizeof(state) && !((uintptr_t)at % sizeof(state))) {
		__atomic_store_n((uint32_t *)at, state, __ATOMIC_RELEASE);
		return;
	}
	/* A blob of odd pieces: no single store can do it. */
	atomic_thread_fence(memory_order_release);
	write_bytes(job->status, job->status_offset, &state, sizeof(state));
}

/**
 * loopback_cancel_job() - it does not go on
 * @job: it; its status is written
 */
void loopback_cancel_job(struct job *job)
{
	if (job->state == LOOPBACK_PENDING)
		job->state = LOOPBACK_CANCELLED;
	write_status(job);
}

/**
 * loopback_run_job() - run it to its end
 * @renderer: whose
 * @job: of the caller's; its status is written
 *
 * Threads: any.
 */
void loopback_run_job(struct renderer *renderer, struct job *job)
{
	if (job->state == LOOPBACK_REFUSED) {
		write_status(job);
		return;
	}
	for (; job->index < job->nr_steps; job->index++) {
		if (loopback_job_stopped(job) ||
		    !run_step(renderer, job, &job->steps[job->index])) {
			loopback_cancel_job(job);
			return;
		}
		atomic_fetch_add(&renderer->executed, 1);
	}
	job->index = 0;
	job->state = LOOPBACK_DONE;
	write_status(job);
}
