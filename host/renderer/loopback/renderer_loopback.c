// SPDX-License-Identifier: MIT
/*
 * renderer_loopback: the reference context, the CPU plays the GPU
 *
 * Executes the command stream of virtgpu_loopback.h on the run lists of
 * resources.  A submission becomes a job: copied, checked as a whole against
 * what is attached, given a hold on every resource it names, and then run in
 * the order of its (context, ring), by one of two workers or, if it is small
 * and its ring idle, at once on the ring thread.  A refused submission whose
 * status can be written is a job too, so that status and fence come in order.
 *
 * A job ends early (CANCELLED) when a resource it uses is stopped or its
 * context is destroyed; it looks at least every STOP_CHECK_BYTES.  A resource
 * that is only detached stays held by the jobs that name it: they run to their
 * end.  After a stop nothing is written to the stopped resource any more but
 * what the step in progress writes, and the hold outlasts that.
 *
 * Answers: DONE is OK_NODATA, REFUSED is INVALID_PARAMETER, CANCELLED is
 * ERR_UNSPEC: a submission that did not do what it was asked never answers OK.
 *
 * Threads and locks: struct pool's lock guards every queue's list and running
 * flag, the ready list and the done list.  A job belongs to whoever took it off
 * a list.  Contexts, holds and callbacks belong to the ring thread.
 */
#include <endian.h>
#include <errno.h>
#include "renderer/loopback/loopback_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

static uint32_t loopback_submit(struct renderer *renderer, struct renderer_context *base,
				const struct renderer_submission *submission, void *cookie)
{
	struct loopback_submit head;
	struct job *job;
	uint32_t nr;

	if (submission->size < sizeof(head))
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	memcpy(&head, submission->data, sizeof(head));
	if (le32toh(head.magic) != LOOPBACK_MAGIC)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	nr = le32toh(head.nr_commands);
	if (!nr || nr > LOOPBACK_MAX_COMMANDS || head.reserved ||
	    submission->size != sizeof(head) + nr * sizeof(struct loopback_command))
		nr = 0;
	job = calloc(1, sizeof(*job) + nr * sizeof(job->steps[0]));
	if (!job)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	job->context = (struct loopback_context *)base;
	job->cookie = cookie;
	job->queue = loopback_get_queue(job->context, submission->ring);
	if (!job->queue || !loopback_decode_status(job, &head)) {
		uint32_t why = job->queue ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER :
					    VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;

		loopback_free_job(job);
		return why;
	}
	if (nr) {
		loopback_decode_steps(renderer, job,
				      (const unsigned char *)submission->data + sizeof(head), nr);
	} else {
		job->state = LOOPBACK_REFUSED;
		job->error = LOOPBACK_ERR_OP;
	}
	loopback_start_job(renderer, job);
	return 0;
}

static int loopback_context_create(struct renderer *renderer, uint32_t capset, const char *name,
				   struct renderer_context **out)
{
	struct loopback_context *context = calloc(1, sizeof(*context));

	(void)capset;
	(void)name;
	if (!context)
		return -ENOMEM;
	context->renderer = renderer;
	*out = &context->base;
	return 0;
}

static void loopback_context_destroy(struct renderer *renderer, struct renderer_context *base)
{
	struct loopback_context *context = (struct loopback_context *)base;

	id_table_destroy(&base->resources);
	/* A hold of our own: the last cancelled job must not free it under us. */
	context->nr_jobs++;
	atomic_store(&context->stop, true);
	if (context->nr_jobs > 1)
		loopback_cancel_stopped(renderer);
	context->nr_jobs--;
	loopback_release_context(context);
}

static void loopback_quiesce(struct renderer *renderer, struct backing *backing)
{
	/* The device has a hold from the stop; any other one is a job's. */
	if (backing->holds > 1)
		loopback_cancel_stopped(renderer);
}

static uint32_t enabled_ops(const struct renderer *renderer)
{
	uint32_t ops = 1u << LOOPBACK_OP_FILL | 1u << LOOPBACK_OP_COPY | 1u << LOOPBACK_OP_INVERT |
		       1u << LOOPBACK_OP_SHA256 | 1u << LOOPBACK_OP_STATS;

	if (renderer->config.allow_inject)
		ops |= 1u << LOOPBACK_OP_INJECT;
	return ops;
}

static bool loopback_capset(const struct renderer *renderer, unsigned int index,
			    struct renderer_capset *out)
{
	(void)renderer;
	if (index)
		return false;
	*out = (struct renderer_capset){
		.id = VIRTIO_GPU_CAPSET_LOOPBACK,
		.version = 1,
		.size = sizeof(struct loopback_capset),
		.rdonly = true,
	};
	return true;
}

static void loopback_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version,
				 void *data)
{
	struct loopback_capset capset = {
		.version = htole32(1),
		.ops = htole32(enabled_ops(renderer)),
	};

	(void)id;
	(void)version;
	memcpy(data, &capset, sizeof(capset));
}

static uint64_t loopback_jobs(const struct renderer *renderer)
{
	return atomic_load(&renderer->executed);
}

static int loopback_fd(const struct renderer *renderer)
{
	return renderer->event;
}

static void loopback_destroy(struct renderer *renderer)
{
	loopback_stop_workers(renderer);
	pthread_cond_destroy(&renderer->pool.idle);
	pthread_cond_destroy(&renderer->pool.work);
	pthread_mutex_destroy(&renderer->pool.lock);
	close(renderer->event);
	free(renderer);
}

static int loopback_create(const struct renderer_config *config, const struct renderer_host *host,
			   struct renderer **out)
{
	struct renderer *renderer = calloc(1, sizeof(*renderer));
	int err;

	if (!renderer)
		return -ENOMEM;
	renderer->config = *config;
	renderer->host = *host;
	TAILQ_INIT(&renderer->pool.ready);
	LIST_INIT(&renderer->pool.busy);
	STAILQ_INIT(&renderer->pool.done);
	renderer->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (renderer->event < 0) {
		err = -errno;
		goto free_renderer;
	}
	pthread_mutex_init(&renderer->pool.lock, NULL);
	pthread_cond_init(&renderer->pool.work, NULL);
	pthread_cond_init(&renderer->pool.idle, NULL);
	err = loopback_start_workers(renderer);
	if (err)
		goto destroy_pool;
	*out = renderer;
	return 0;

destroy_pool:
	pthread_cond_destroy(&renderer->pool.idle);
	pthread_cond_destroy(&renderer->pool.work);
	pthread_mutex_destroy(&renderer->pool.lock);
	close(renderer->event);
free_renderer:
	free(renderer);
	return err;
}

const struct renderer_ops renderer_loopback = {
	.name = "loopback",
	.touches_memory = true,
	.create = loopback_create,
	.destroy = loopback_destroy,
	.capset = loopback_capset,
	.capset_data = loopback_capset_data,
	.context_create = loopback_context_create,
	.context_destroy = loopback_context_destroy,
	.submit = loopback_submit,
	.quiesce = loopback_quiesce,
	.reset = loopback_reset,
	.jobs = loopback_jobs,
	.fd = loopback_fd,
	.dispatch = loopback_dispatch,
};
