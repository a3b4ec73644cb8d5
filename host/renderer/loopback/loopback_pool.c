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

/**
 * loopback_job_list_init() - an empty list
 * @list: it
 */
void loopback_job_list_init(struct job_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

static void job_list_add(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->tail = job;
	list->tail = &job->next;
}

static struct job *job_list_take(struct job_list *list)
{
	struct job *job = list->head;

	if (!job)
		return NULL;
	list->head = job->next;
	if (!list->head)
		list->tail = &list->head;
	return job;
}

/* ---- the pool ---- */

static void pool_make_ready(struct pool *pool, struct job_queue *queue)
{
	queue->next = NULL;
	queue->prev = pool->ready_last;
	if (queue->prev)
		queue->prev->next = queue;
	else
		pool->ready = queue;
	pool->ready_last = queue;
	pthread_cond_signal(&pool->work);
}

/* It is in the list: it has waiting jobs and none that runs. */
static void pool_unlink_ready(struct pool *pool, struct job_queue *queue)
{
	if (queue->prev)
		queue->prev->next = queue->next;
	else
		pool->ready = queue->next;
	if (queue->next)
		queue->next->prev = queue->prev;
	else
		pool->ready_last = queue->prev;
}

static void pool_unlink_busy(struct pool *pool, struct job_queue *queue)
{
	if (queue->prev_busy)
		queue->prev_busy->next_busy = queue->next_busy;
	else
		pool->busy = queue->next_busy;
	if (queue->next_busy)
		queue->next_busy->prev_busy = queue->prev_busy;
	queue->busy = false;
}

static void pool_queue_job(struct pool *pool, struct job *job)
{
	struct job_queue *queue = job->queue;
	bool was_waiting = queue->waiting.head;

	job_list_add(&queue->waiting, job);
	if (!queue->busy) {
		queue->busy = true;
		queue->prev_busy = NULL;
		queue->next_busy = pool->busy;
		if (queue->next_busy)
			queue->next_busy->prev_busy = queue;
		pool->busy = queue;
	}
	if (!was_waiting && !queue->running)
		pool_make_ready(pool, queue);
}

/* The job's queue goes on; under the lock. */
static void pool_job_ended(struct pool *pool, struct job *job)
{
	struct job_queue *queue = job->queue;

	queue->running = false;
	if (queue->waiting.head)
		pool_make_ready(pool, queue);
	else
		pool_unlink_busy(pool, queue);
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

		while (!pool->ready && !pool->quit)
			pthread_cond_wait(&pool->work, &pool->lock);
		if (pool->quit)
			break;
		queue = pool->ready;
		pool_unlink_ready(pool, queue);
		job = job_list_take(&queue->waiting);
		queue->running = true;
		pool->running++;
		pthread_mutex_unlock(&pool->lock);

		loopback_run_job(renderer, job);

		pthread_mutex_lock(&pool->lock);
		pool->running--;
		pool_job_ended(pool, job);
		job_list_add(&pool->done, job);
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
	loopback_job_list_init(&queue->waiting);
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

	for (queue = pool->busy; queue; queue = next) {
		bool had_waiting = queue->waiting.head;
		struct job_list keep;
		struct job *job;

		next = queue->next_busy;
		loopback_job_list_init(&keep);
		while ((job = job_list_take(&queue->waiting)))
			job_list_add(loopback_job_stopped(job) ? out : &keep, job);
		loopback_job_list_init(&queue->waiting);
		while ((job = job_list_take(&keep)))
			job_list_add(&queue->waiting, job);
		if (queue->waiting.head || queue->running)
			continue;
		if (had_waiting)
			pool_unlink_ready(pool, queue);
		pool_unlink_busy(pool, queue);
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
	struct job_list stopped;
	struct job *job;

	loopback_job_list_init(&stopped);
	pthread_mutex_lock(&renderer->pool.lock);
	pool_collect_stopped(&renderer->pool, &stopped);
	pthread_mutex_unlock(&renderer->pool.lock);
	while ((job = job_list_take(&stopped))) {
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
	struct job_list done;
	uint64_t count;
	struct job *job;

	if (read(renderer->event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	loopback_job_list_init(&done);
	pthread_mutex_lock(&renderer->pool.lock);
	while ((job = job_list_take(&renderer->pool.done)))
		job_list_add(&done, job);
	pthread_mutex_unlock(&renderer->pool.lock);
	while ((job = job_list_take(&done)))
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
	struct job_list waiting;
	struct job *job;

	loopback_job_list_init(&waiting);
	atomic_store(&renderer->resetting, true);
	pthread_mutex_lock(&pool->lock);
	while ((queue = pool->ready)) {
		pool_unlink_ready(pool, queue);
		while ((job = job_list_take(&queue->waiting)))
			job_list_add(&waiting, job);
		pool_unlink_busy(pool, queue);
	}
	for (queue = pool->busy; queue; queue = queue->next_busy)
		while ((job = job_list_take(&queue->waiting)))
			job_list_add(&waiting, job);
	while (pool->running)
		pthread_cond_wait(&pool->idle, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	while ((job = job_list_take(&waiting))) {
		loopback_cancel_job(job);
		finish_job(renderer, job);
	}
	loopback_dispatch(renderer);
	atomic_store(&renderer->resetting, false);
}
