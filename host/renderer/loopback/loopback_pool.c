// SPDX-License-Identifier: MIT
/*
 * loopback_pool: when a job runs, and on which thread
 *
 * A job is run in the order of its ring, by one of the workers or, if it is small
 * and its ring idle, at once on the ring thread.  It holds what it names from when
 * it is accepted until it was answered.
 *
 * Threads and locks: as renderer_loopback.c says.
 */
#include "renderer/loopback/loopback_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

#define SMALL_JOB_BYTES (64u << 10)

/* From the front, or NULL. */
static struct job *take_job(struct job_list *list)
{
	struct job *job = STAILQ_FIRST(list);

	if (job)
		STAILQ_REMOVE_HEAD(list, link);
	return job;
}

/* ---- the pool ---- */

static void pool_make_ready(struct pool *pool, struct job_queue *queue)
{
	TAILQ_INSERT_TAIL(&pool->ready, queue, ready_link);
	pthread_cond_signal(&pool->work);
}

static void pool_unlink_busy(struct job_queue *queue)
{
	LIST_REMOVE(queue, busy_link);
	queue->busy = false;
}

static void pool_queue_job(struct pool *pool, struct job *job)
{
	struct job_queue *queue = job->queue;
	bool was_waiting = !STAILQ_EMPTY(&queue->waiting);

	STAILQ_INSERT_TAIL(&queue->waiting, job, link);
	if (!queue->busy) {
		queue->busy = true;
		LIST_INSERT_HEAD(&pool->busy, queue, busy_link);
	}
	if (!was_waiting && !queue->running)
		pool_make_ready(pool, queue);
}

/* The job's queue goes on; under the lock. */
static void pool_job_ended(struct pool *pool, struct job *job)
{
	struct job_queue *queue = job->queue;

	queue->running = false;
	if (!STAILQ_EMPTY(&queue->waiting))
		pool_make_ready(pool, queue);
	else
		pool_unlink_busy(queue);
}

static void *worker(void *arg)
{
	struct renderer *renderer = arg;
	struct pool *pool = &renderer->pool;
	uint64_t one = 1;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct job_queue *queue;
		struct job *job;

		while (TAILQ_EMPTY(&pool->ready) && !pool->quit)
			pthread_cond_wait(&pool->work, &pool->lock);
		if (pool->quit)
			break;
		queue = TAILQ_FIRST(&pool->ready);
		TAILQ_REMOVE(&pool->ready, queue, ready_link);
		job = take_job(&queue->waiting);
		queue->running = true;
		pool->running++;
		pthread_mutex_unlock(&pool->lock);

		loopback_run_job(renderer, job);

		pthread_mutex_lock(&pool->lock);
		pool->running--;
		pool_job_ended(pool, job);
		STAILQ_INSERT_TAIL(&pool->done, job, link);
		pthread_cond_broadcast(&pool->idle);
		/* Cannot fail: the counter would have to overflow. */
		if (write(renderer->event, &one, sizeof(one)) != sizeof(one))
			continue;
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/**
 * loopback_start_workers() - start the threads
 * @renderer: whose
 *
 * Return: 0 or a negative errno.
 */
int loopback_start_workers(struct renderer *renderer)
{
	sigset_t all, old;
	int err = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (renderer->nr_threads < NR_WORKERS && !err) {
		err = pthread_create(&renderer->threads[renderer->nr_threads], NULL, worker,
				     renderer);
		if (!err)
			renderer->nr_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		loopback_stop_workers(renderer);
	return -err;
}

/**
 * loopback_stop_workers() - end the threads
 * @renderer: whose; no jobs are left
 */
void loopback_stop_workers(struct renderer *renderer)
{
	unsigned int i;

	pthread_mutex_lock(&renderer->pool.lock);
	renderer->pool.quit = true;
	pthread_cond_broadcast(&renderer->pool.work);
	pthread_mutex_unlock(&renderer->pool.lock);
	for (i = 0; i < renderer->nr_threads; i++)
		pthread_join(renderer->threads[i], NULL);
}

/* ---- jobs on the ring thread ---- */

/**
 * loopback_release_context() - free it, if the device is done with it and all jobs are over
 * @context: it
 */
void loopback_release_context(struct loopback_context *context)
{
	unsigned int i;

	/* The device is done with it, and so are all jobs. */
	if (!atomic_load(&context->stop) || context->nr_jobs)
		return;
	for (i = 0; i < NR_RINGS; i++)
		free(context->queues[i]);
	free(context);
}

/**
 * loopback_free_job() - free a job that holds nothing
 * @job: it
 */
void loopback_free_job(struct job *job)
{
	EVP_MD_CTX_free(job->digest);
	free(job);
}

static void hold_all(struct job *job)
{
	uint32_t i;

	if (job->status)
		backing_hold(job->status);
	for (i = 0; i < job->nr_steps; i++) {
		if (job->steps[i].dst)
			backing_hold(job->steps[i].dst);
		if (job->steps[i].src)
			backing_hold(job->steps[i].src);
	}
	job->context->nr_jobs++;
}

/*
 * The job is over. Its answer goes before its holds, so that the answer to the
 * destroy of a resource is the later one.
 */
static void finish_job(struct renderer *renderer, struct job *job)
{
	uint32_t response = VIRTIO_GPU_RESP_ERR_UNSPEC;
	uint32_t i;

	if (job->state == LOOPBACK_DONE)
		response = VIRTIO_GPU_RESP_OK_NODATA;
	else if (job->state == LOOPBACK_REFUSED)
		response = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	renderer->host.submitted(renderer->host.opaque, job->cookie, response);
	if (job->status)
		backing_release(job->status);
	for (i = 0; i < job->nr_steps; i++) {
		if (job->steps[i].dst)
			backing_release(job->steps[i].dst);
		if (job->steps[i].src)
			backing_release(job->steps[i].src);
	}
	job->context->nr_jobs--;
	loopback_release_context(job->context);
	loopback_free_job(job);
}

/**
 * loopback_get_queue() - the jobs of a ring
 * @context: whose
 * @ring: of it
 *
 * Return: the queue, or NULL: there is no memory.
 */
struct job_queue *loopback_get_queue(struct loopback_context *context, uint8_t ring)
{
	struct job_queue *queue = context->queues[ring];

	if (queue)
		return queue;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return NULL;
	STAILQ_INIT(&queue->waiting);
	context->queues[ring] = queue;
	return queue;
}

/**
 * loopback_start_job() - run it now, or queue it behind what its ring has
 * @renderer: whose
 * @job: checked; it is no more the caller's
 */
void loopback_start_job(struct renderer *renderer, struct job *job)
{
	struct pool *pool = &renderer->pool;
	bool here;

	hold_all(job);
	if (job->has_fault && job->state != LOOPBACK_REFUSED)
		renderer->host.inject(renderer->host.opaque, &job->fault);
	pthread_mutex_lock(&pool->lock);
	here = job->bytes < SMALL_JOB_BYTES && !job->queue->busy;
	if (!here)
		pool_queue_job(pool, job);
	pthread_mutex_unlock(&pool->lock);
	if (!here)
		return;
	loopback_run_job(renderer, job);
	finish_job(renderer, job);
}

/* Take the jobs that are to be cancelled off their queues. */
static void pool_collect_stopped(struct pool *pool, struct job_list *out)
{
	struct job_queue *queue, *next;

	for (queue = LIST_FIRST(&pool->busy); queue; queue = next) {
		bool had_waiting = !STAILQ_EMPTY(&queue->waiting);
		struct job_list keep = STAILQ_HEAD_INITIALIZER(keep);
		struct job *job;

		next = LIST_NEXT(queue, busy_link);
		while ((job = take_job(&queue->waiting))) {
			if (loopback_job_stopped(job))
				STAILQ_INSERT_TAIL(out, job, link);
			else
				STAILQ_INSERT_TAIL(&keep, job, link);
		}
		STAILQ_CONCAT(&queue->waiting, &keep);
		if (!STAILQ_EMPTY(&queue->waiting) || queue->running)
			continue;
		if (had_waiting)
			TAILQ_REMOVE(&pool->ready, queue, ready_link);
		pool_unlink_busy(queue);
	}
}

/**
 * loopback_cancel_stopped() - something was stopped
 * @renderer: whose
 *
 * Jobs that wait for their turn need not wait for it.
 */
void loopback_cancel_stopped(struct renderer *renderer)
{
	struct job_list stopped = STAILQ_HEAD_INITIALIZER(stopped);
	struct job *job;

	pthread_mutex_lock(&renderer->pool.lock);
	pool_collect_stopped(&renderer->pool, &stopped);
	pthread_mutex_unlock(&renderer->pool.lock);
	while ((job = take_job(&stopped))) {
		loopback_cancel_job(job);
		finish_job(renderer, job);
	}
}

/**
 * loopback_dispatch() - see struct renderer_ops
 * @renderer: it
 */
void loopback_dispatch(struct renderer *renderer)
{
	struct job_list done = STAILQ_HEAD_INITIALIZER(done);
	uint64_t count;
	struct job *job;

	if (read(renderer->event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&renderer->pool.lock);
	STAILQ_CONCAT(&done, &renderer->pool.done);
	pthread_mutex_unlock(&renderer->pool.lock);
	while ((job = take_job(&done)))
		finish_job(renderer, job);
}

/**
 * loopback_reset() - see struct renderer_ops
 * @renderer: it
 */
void loopback_reset(struct renderer *renderer)
{
	struct pool *pool = &renderer->pool;
	struct job_queue *queue;
	struct job_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct job *job;

	atomic_store(&renderer->resetting, true);
	pthread_mutex_lock(&pool->lock);
	while ((queue = TAILQ_FIRST(&pool->ready))) {
		TAILQ_REMOVE(&pool->ready, queue, ready_link);
		STAILQ_CONCAT(&waiting, &queue->waiting);
		pool_unlink_busy(queue);
	}
	LIST_FOREACH(queue, &pool->busy, busy_link)
		STAILQ_CONCAT(&waiting, &queue->waiting);
	while (pool->running)
		pthread_cond_wait(&pool->idle, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	while ((job = take_job(&waiting))) {
		loopback_cancel_job(job);
		finish_job(renderer, job);
	}
	loopback_dispatch(renderer);
	atomic_store(&renderer->resetting, false);
}
