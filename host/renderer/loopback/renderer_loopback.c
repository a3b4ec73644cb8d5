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
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "renderer/renderer.h"

#define NR_WORKERS 2
#define NR_RINGS 256
#define SMALL_JOB_BYTES (64u << 10)
#define STOP_CHECK_BYTES ((uint64_t)1 << 20)
#define MAX_DELAY_MS ((uint64_t)3600 * 1000)
/* Answers start at VIRTIO_GPU_RESP_OK_NODATA, errors at ERR_UNSPEC, 0x1200. */
#define LAST_RESPONSE 0x12ff

/**
 * struct step - one command of a job, decoded
 * @op: enum loopback_op
 * @fill: byte of FILL
 * @dst: written, or NULL
 * @src: read, or NULL
 * @dst_offset: bytes
 * @src_offset: bytes
 * @length: bytes
 */
struct step {
	uint32_t op;
	uint8_t fill;
	struct backing *dst;
	struct backing *src;
	uint64_t dst_offset;
	uint64_t src_offset;
	uint64_t length;
};

/**
 * struct job - one submission
 * @next: in a queue's or the done list
 * @context: held by it (nr_jobs)
 * @queue: of its ring
 * @cookie: for submitted()
 * @status: resource of the status struct, or NULL
 * @status_offset: into it
 * @state: how it ended, enum loopback_state
 * @index: command that @error is about
 * @error: enum loopback_error
 * @digest: made before the job is accepted, if it has SHA256 steps
 * @stats: taken when the job was accepted, if it has STATS steps
 * @jobs_then: commands executed when @stats was taken
 * @bytes: that it touches, or more
 * @fault: to arm when accepted, if @has_fault
 * @has_fault: see @fault
 * @nr_steps: of @steps
 * @steps: in order
 */
struct job {
	struct job *next;
	struct loopback_context *context;
	struct job_queue *queue;
	void *cookie;
	struct backing *status;
	uint64_t status_offset;
	uint32_t state;
	uint32_t index;
	uint32_t error;
	EVP_MD_CTX *digest;
	struct loopback_stats stats;
	uint64_t jobs_then;
	uint64_t bytes;
	struct renderer_fault fault;
	bool has_fault;
	uint32_t nr_steps;
	struct step steps[];
};

struct job_list {
	struct job *head;
	struct job **tail;
};

/**
 * struct job_queue - the jobs of one ring of one context
 * @next: in the ready list
 * @prev: in the ready list; NULL at its head
 * @waiting: not started
 * @running: a worker has one of its jobs
 * @next_busy: in the list of queues that have jobs
 * @prev_busy: in that list; NULL at its head
 * @busy: in that list
 */
struct job_queue {
	struct job_queue *next;
	struct job_queue *prev;
	struct job_list waiting;
	bool running;
	struct job_queue *next_busy;
	struct job_queue *prev_busy;
	bool busy;
};

/**
 * struct loopback_context - one context
 * @base: the device's part
 * @renderer: whose it is
 * @stop: destroyed; jobs end soon
 * @nr_jobs: that point here
 * @queues: per ring, made when first used
 */
struct loopback_context {
	struct renderer_context base;
	struct renderer *renderer;
	atomic_bool stop;
	unsigned int nr_jobs;
	struct job_queue *queues[NR_RINGS];
};

/**
 * struct pool - workers and what they share with the ring thread
 * @lock: guards all below
 * @work: a queue became ready, or quit
 * @idle: a worker finished a job
 * @ready: queues with waiting jobs of which none runs
 * @ready_last: the last of them
 * @busy: queues with jobs that wait or run
 * @done: finished by workers, for the ring thread
 * @running: jobs that workers have
 * @quit: end the workers
 */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t idle;
	struct job_queue *ready;
	struct job_queue *ready_last;
	struct job_queue *busy;
	struct job_list done;
	unsigned int running;
	bool quit;
};

/**
 * struct renderer - the loopback renderer
 * @config: see there
 * @host: the device
 * @pool: see there
 * @threads: the workers
 * @nr_threads: how many run
 * @event: readable when the done list is not empty
 * @executed: commands, ever
 * @resetting: all jobs end soon
 */
struct renderer {
	struct renderer_config config;
	struct renderer_host host;
	struct pool pool;
	pthread_t threads[NR_WORKERS];
	unsigned int nr_threads;
	int event;
	atomic_ullong executed;
	atomic_bool resetting;
};

static void job_list_init(struct job_list *list)
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

/* ---- running a job: any thread ---- */

static bool job_stopped(const struct job *job)
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
			if (job_stopped(job))
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
	if (job_stopped(job))
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

static void cancel_job(struct job *job)
{
	if (job->state == LOOPBACK_PENDING)
		job->state = LOOPBACK_CANCELLED;
	write_status(job);
}

static void run_job(struct renderer *renderer, struct job *job)
{
	if (job->state == LOOPBACK_REFUSED) {
		write_status(job);
		return;
	}
	for (; job->index < job->nr_steps; job->index++) {
		if (job_stopped(job) || !run_step(renderer, job, &job->steps[job->index])) {
			cancel_job(job);
			return;
		}
		atomic_fetch_add(&renderer->executed, 1);
	}
	job->index = 0;
	job->state = LOOPBACK_DONE;
	write_status(job);
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

		run_job(renderer, job);

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

/* ---- jobs on the ring thread ---- */

static void release_context(struct loopback_context *context)
{
	unsigned int i;

	/* The device is done with it, and so are all jobs. */
	if (!atomic_load(&context->stop) || context->nr_jobs)
		return;
	for (i = 0; i < NR_RINGS; i++)
		free(context->queues[i]);
	free(context);
}

static void free_job(struct job *job)
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
	release_context(job->context);
	free_job(job);
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
		job_list_init(&keep);
		while ((job = job_list_take(&queue->waiting)))
			job_list_add(job_stopped(job) ? out : &keep, job);
		job_list_init(&queue->waiting);
		while ((job = job_list_take(&keep)))
			job_list_add(&queue->waiting, job);
		if (queue->waiting.head || queue->running)
			continue;
		if (had_waiting)
			pool_unlink_ready(pool, queue);
		pool_unlink_busy(pool, queue);
	}
}

/* Something was stopped: jobs that wait for their turn need not wait for it. */
static void cancel_stopped(struct renderer *renderer)
{
	struct job_list stopped;
	struct job *job;

	job_list_init(&stopped);
	pthread_mutex_lock(&renderer->pool.lock);
	pool_collect_stopped(&renderer->pool, &stopped);
	pthread_mutex_unlock(&renderer->pool.lock);
	while ((job = job_list_take(&stopped))) {
		cancel_job(job);
		finish_job(renderer, job);
	}
}

static void loopback_dispatch(struct renderer *renderer)
{
	struct job_list done;
	uint64_t count;
	struct job *job;

	if (read(renderer->event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	job_list_init(&done);
	pthread_mutex_lock(&renderer->pool.lock);
	while ((job = job_list_take(&renderer->pool.done)))
		job_list_add(&done, job);
	pthread_mutex_unlock(&renderer->pool.lock);
	while ((job = job_list_take(&done)))
		finish_job(renderer, job);
}

/* ---- from bytes to a job ---- */

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

static void decode_steps(struct renderer *renderer, struct job *job, const unsigned char *data,
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

static bool decode_status(struct job *job, const struct loopback_submit *head)
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

static struct job_queue *get_queue(struct loopback_context *context, uint8_t ring)
{
	struct job_queue *queue = context->queues[ring];

	if (queue)
		return queue;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return NULL;
	job_list_init(&queue->waiting);
	context->queues[ring] = queue;
	return queue;
}

/* Run it now, or queue it behind what its ring has. */
static void start_job(struct renderer *renderer, struct job *job)
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
	run_job(renderer, job);
	finish_job(renderer, job);
}

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
	job->queue = get_queue(job->context, submission->ring);
	if (!job->queue || !decode_status(job, &head)) {
		uint32_t why = job->queue ? VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER :
					    VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;

		free_job(job);
		return why;
	}
	if (nr) {
		decode_steps(renderer, job, (const unsigned char *)submission->data + sizeof(head),
			     nr);
	} else {
		job->state = LOOPBACK_REFUSED;
		job->error = LOOPBACK_ERR_OP;
	}
	start_job(renderer, job);
	return 0;
}

/* ---- contexts and the renderer as a whole ---- */

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
		cancel_stopped(renderer);
	context->nr_jobs--;
	release_context(context);
}

static void loopback_quiesce(struct renderer *renderer, struct backing *backing)
{
	/* The device has a hold from the stop; any other one is a job's. */
	if (backing->holds > 1)
		cancel_stopped(renderer);
}

static void loopback_reset(struct renderer *renderer)
{
	struct pool *pool = &renderer->pool;
	struct job_queue *queue;
	struct job_list waiting;
	struct job *job;

	job_list_init(&waiting);
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
		cancel_job(job);
		finish_job(renderer, job);
	}
	loopback_dispatch(renderer);
	atomic_store(&renderer->resetting, false);
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

static void stop_workers(struct renderer *renderer)
{
	unsigned int i;

	pthread_mutex_lock(&renderer->pool.lock);
	renderer->pool.quit = true;
	pthread_cond_broadcast(&renderer->pool.work);
	pthread_mutex_unlock(&renderer->pool.lock);
	for (i = 0; i < renderer->nr_threads; i++)
		pthread_join(renderer->threads[i], NULL);
}

/* Signals are for the main thread. */
static int start_workers(struct renderer *renderer)
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
		stop_workers(renderer);
	return -err;
}

static void loopback_destroy(struct renderer *renderer)
{
	stop_workers(renderer);
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
	job_list_init(&renderer->pool.done);
	renderer->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (renderer->event < 0) {
		err = -errno;
		goto free_renderer;
	}
	pthread_mutex_init(&renderer->pool.lock, NULL);
	pthread_cond_init(&renderer->pool.work, NULL);
	pthread_cond_init(&renderer->pool.idle, NULL);
	err = start_workers(renderer);
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
