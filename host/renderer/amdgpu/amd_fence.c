// SPDX-License-Identifier: MIT
/*
 * amd_fence: jobs of the GPU, and what waits for them
 *
 * Each job has a sync_file, which is readable when it is over.  They are in the epoll of
 * the renderer, so that any number of jobs needs no thread.  Numbers grow in the order
 * in which a context submits; jobs on different queues may be over in any order.
 *
 * A submission is over when its commands were executed and no job is left on its ring
 * that was submitted until then.  One that ends with a question about a job waits for
 * that first, or for the question's deadline, and only then for its ring.
 *
 * Invariant: a job is in the list, and in the epoll, from before its submission is handed
 * back until its fence has signalled.
 *
 * Threads: see each function.  The list of a context's jobs is under context.lock.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <linux/sync_file.h>

#include <xf86drm.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/clock.h"
#include "util/descriptors.h"
#include "util/log.h"
#include "util/responses.h"

#define NS_PER_S UINT64_C(1000000000)
/* How long the kernel is asked to wait where there is no descriptor to poll. */
#define BLIND_WAIT_NS (NS_PER_S / 10)
#define DEFAULT_JOBS 64u

/* ---- the context's thread ---- */

/**
 * amd_job_room() - wait until another job may be submitted
 * @context: whose
 *
 * Return: 0, or -ECANCELED: the context ends.
 */
int amd_job_room(struct amd_context *context)
{
	unsigned int max = context->renderer->config.native.jobs;
	int err;

	pthread_mutex_lock(&context->lock);
	while (!context->quit && context->nr_jobs >= (max ? max : DEFAULT_JOBS))
		pthread_cond_wait(&context->wake, &context->lock);
	err = context->quit ? -ECANCELED : 0;
	pthread_mutex_unlock(&context->lock);
	return err;
}

static bool export_fence(struct amd_context *context, int *fd)
{
	if (drmSyncobjExportSyncFile(context->fd, context->syncobj, fd))
		return false;
	if (!descriptor_is_reserved(*fd, DESCRIPTORS_FOR_RESOURCES))
		return true;
	close(*fd);
	return false;
}

/* From now on the device's thread hears of its end. */
static bool watch(struct amd_context *context, struct amd_job *job)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = job };
	bool watched;

	/* It may be over, and is looked for in the list then. */
	pthread_mutex_lock(&context->lock);
	watched = !epoll_ctl(context->renderer->epoll, EPOLL_CTL_ADD, job->fence, &event);
	if (watched) {
		TAILQ_INSERT_TAIL(&context->jobs, job, link);
		context->nr_jobs++;
	}
	pthread_mutex_unlock(&context->lock);
	return watched;
}

/* Nobody would hear of its end: it has to be over before anything else is done. */
static void wait_blind(struct amd_context *context)
{
	const struct timespec nap = { .tv_nsec = BLIND_WAIT_NS };
	int err;

	log_error("context %u (%s): no descriptor or memory for a fence: it waits for its job",
		  context->base.id, context->name);
	do {
		err = drmSyncobjWait(context->fd, &context->syncobj, 1,
				     (int64_t)(clock_ns() + BLIND_WAIT_NS), 0, NULL);
		/* Whatever it is, it does not say that the job is over. */
		if (err && err != -ETIME)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	} while (err && err != -ENODEV);
}

/**
 * amd_job_add() - a job was submitted
 * @context: whose; its syncobj has the job's fence
 * @job: it, with its ring and queue
 */
void amd_job_add(struct amd_context *context, struct amd_job *job)
{
	job->context = context;
	job->number = ++context->submitted;
	atomic_fetch_add(&context->renderer->executed, 1);
	if (export_fence(context, &job->fence)) {
		if (watch(context, job))
			return;
		close(job->fence);
	}
	wait_blind(context);
	free(job);
}

static bool is_asked_for(const struct amd_job *job, const struct amdvgpu_query_fence *what)
{
	return job->ctx_id == what->ctx_id && job->ip_type == what->ip_type &&
	       job->ip_instance == what->ip_instance && job->ip_ring == what->ring &&
	       job->seqno == what->fence;
}

/**
 * amd_job_find() - the job that a query is about
 * @context: whose
 * @what: the query
 *
 * Return: its number, or 0 if there is none that is not over.
 */
uint64_t amd_job_find(struct amd_context *context, const struct amdvgpu_query_fence *what)
{
	struct amd_job *job;
	uint64_t number = 0;

	pthread_mutex_lock(&context->lock);
	TAILQ_FOREACH(job, &context->jobs, link)
		if (is_asked_for(job, what))
			number = job->number;
	pthread_mutex_unlock(&context->lock);
	return number;
}

/* A descriptor of its fence, the caller's; -ENOENT: it is over; or another error. */
static int dup_fence(struct amd_context *context, uint64_t number)
{
	struct amd_job *job;
	int fd = -ENOENT;

	pthread_mutex_lock(&context->lock);
	TAILQ_FOREACH(job, &context->jobs, link) {
		if (job->number != number)
			continue;
		fd = fcntl(job->fence, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			fd = -errno;
	}
	pthread_mutex_unlock(&context->lock);
	return fd;
}

static int timeout_until(uint64_t deadline)
{
	uint64_t now = clock_ns(), ms;

	if (deadline == UINT64_MAX)
		return -1;
	ms = deadline > now ? (deadline - now + 999999) / 1000000 : 0;
	return ms > 3600000 ? 3600000 : (int)ms;
}

/**
 * amd_job_wait() - wait for a job, and nothing else meanwhile
 * @context: whose
 * @number: of it
 * @deadline: clock_ns(); UINT64_MAX: none
 *
 * Return: true if it is over.
 */
bool amd_job_wait(struct amd_context *context, uint64_t number, uint64_t deadline)
{
	struct pollfd fds[2] = {
		{ .fd = dup_fence(context, number), .events = POLLIN },
		{ .fd = context->kick, .events = POLLIN },
	};
	int nr;

	if (fds[0].fd < 0)
		return fds[0].fd == -ENOENT;
	do {
		nr = poll(fds, 2, timeout_until(deadline));
	} while ((nr < 0 && errno == EINTR) || (!nr && clock_ns() < deadline));
	close(fds[0].fd);
	return nr > 0 && fds[0].revents;
}

/* ---- the device's thread ---- */

/* Whether the card did not do it: a fault, a hang, or it was not let begin. */
static bool has_failed(const struct amd_job *job)
{
	struct sync_file_info info = { .num_fences = 0 };

	return !ioctl(job->fence, SYNC_IOC_FILE_INFO, &info) && info.status < 0;
}

/* Nobody asks for what became of a job, so its context is told, before its fence. */
static void count_failure(struct amd_context *context, const struct amd_job *job)
{
	struct amd_blob *blob;

	log_event("context %u (%s): job %" PRIu64 " on ring %u failed", context->base.id,
		  context->name, job->number, job->ring);
	LIST_FOREACH(blob, &context->blobs, link)
		if (blob->shmem)
			amd_shmem_count_error(blob->shmem);
}

/**
 * amd_job_over() - the fence of a job has signalled
 * @job: it; is gone, and its context may be
 */
void amd_job_over(struct amd_job *job)
{
	struct amd_context *context = job->context;

	if (has_failed(job))
		count_failure(context, job);
	pthread_mutex_lock(&context->lock);
	TAILQ_REMOVE(&context->jobs, job, link);
	context->nr_jobs--;
	pthread_cond_broadcast(&context->wake);
	pthread_mutex_unlock(&context->lock);
	/* The context's thread may have a duplicate, for which it would be reported on. */
	epoll_ctl(context->renderer->epoll, EPOLL_CTL_DEL, job->fence, NULL);
	close(job->fence);
	free(job);
	amd_waiting_check(context);
	amd_holds_check(context);
	amd_context_reap(context);
}

/* Whether no job is left up to a number, on one ring or (@ring 0) on any. */
static bool ring_is_over(struct amd_context *context, uint32_t ring, uint64_t up_to)
{
	const struct amd_job *job;
	bool over = true;

	pthread_mutex_lock(&context->lock);
	TAILQ_FOREACH(job, &context->jobs, link) {
		if (job->number > up_to)
			break;
		over = ring && job->ring != ring;
		if (!over)
			break;
	}
	pthread_mutex_unlock(&context->lock);
	return over;
}

/**
 * amd_jobs_over() - whether a context's jobs are over
 * @context: whose
 * @up_to: the number of the last one that counts
 *
 * Return: true if so.
 */
bool amd_jobs_over(struct amd_context *context, uint64_t up_to)
{
	return ring_is_over(context, 0, up_to);
}

static bool is_running(struct amd_context *context, uint64_t number)
{
	const struct amd_job *job;
	bool running = false;

	pthread_mutex_lock(&context->lock);
	TAILQ_FOREACH(job, &context->jobs, link)
		running |= job->number == number;
	pthread_mutex_unlock(&context->lock);
	return running;
}

/* Whether the question at the end of a submission has its answer, which is written then. */
static bool query_is_over(struct amd_item *item)
{
	struct amdvgpu_query_fence_rsp rsp = { .pad = 0 };
	struct amd_query *query = &item->query;
	bool running;

	if (!query->shmem)
		return true;
	running = is_running(item->context, query->job);
	if (running && clock_ns() < query->deadline && !item->context->ended)
		return false;
	rsp.expired = htole32(!running);
	/* If the guest has spoiled the place since, it has spoiled its answer. */
	(void)amd_shmem_answer(query->shmem, query->rsp_off, 0, &rsp.expired,
			       sizeof(rsp) - sizeof(rsp.rsp));
	amd_shmem_put(query->shmem);
	query->shmem = NULL;
	item->context->renderer->queries--;
	return true;
}

/**
 * amd_waiting_check() - answer submissions that are over
 * @context: whose
 */
void amd_waiting_check(struct amd_context *context)
{
	struct renderer *renderer = context->renderer;
	struct amd_item_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct amd_item *item;

	STAILQ_CONCAT(&waiting, &context->waiting);
	while ((item = STAILQ_FIRST(&waiting))) {
		STAILQ_REMOVE_HEAD(&waiting, link);
		if (!query_is_over(item) ||
		    (item->ring && !ring_is_over(context, item->ring, item->jobs))) {
			STAILQ_INSERT_TAIL(&context->waiting, item, link);
			continue;
		}
		if (item->cookie)
			renderer->host.submitted(renderer->host.opaque, item->cookie,
						 item->response);
		amd_item_free(item);
	}
	amd_set_timer(renderer);
}

static uint64_t first_deadline(const struct renderer *renderer)
{
	const struct amd_context *context;
	const struct amd_item *item;
	uint64_t first = UINT64_MAX;

	LIST_FOREACH(context, &renderer->contexts, link)
		STAILQ_FOREACH(item, &context->waiting, link)
			if (item->query.shmem && item->query.deadline < first)
				first = item->query.deadline;
	return first;
}

/**
 * amd_set_timer() - see to it that the next deadline is heard of
 * @renderer: all contexts
 */
void amd_set_timer(struct renderer *renderer)
{
	uint64_t first = renderer->queries ? first_deadline(renderer) : UINT64_MAX;
	struct itimerspec when = { 0 };

	if (first == renderer->armed)
		return;
	renderer->armed = first;
	if (first != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(first / NS_PER_S);
		when.it_value.tv_nsec = (long)(first % NS_PER_S);
		/* All zero would be never. */
		if (!first)
			when.it_value.tv_nsec = 1;
	}
	if (timerfd_settime(renderer->timer, TFD_TIMER_ABSTIME, &when, NULL))
		log_error("timer: %s", strerror(errno));
}
