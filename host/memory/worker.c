// SPDX-License-Identifier: MIT
/*
 * worker: see worker.h
 *
 * Invariants: a job is on the queue, is the one that runs, is on the list of those
 * that are over, or is none of the worker's.  At most one runs, on whichever thread.
 *
 * Locks: lock guards all of struct worker, and the state of jobs; it is not held
 * while a job runs, nor in callbacks.
 */
#include "memory/worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

TAILQ_HEAD(worker_jobs, worker_job);

/**
 * struct worker - the thread and its jobs
 * @thread: it
 * @lock: of all that follows
 * @changed: something did
 * @queue: jobs that nobody has begun
 * @over: jobs that are done, and whose done() was not called
 * @busy: a job runs
 * @paused: none is begun
 * @ending: the thread ends when the queue is empty
 * @event: eventfd, readable while something is in @over
 */
struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct worker_jobs queue;
	struct worker_jobs over;
	bool busy;
	bool paused;
	bool ending;
	int event;
};

/* The job's turn has come; with the lock, which is given up meanwhile. */
static void run_job(struct worker *worker, struct worker_job *job)
{
	bool wanted = job->done;
	uint64_t one = 1;

	worker->busy = true;
	job->state = WORKER_JOB_RUNS;
	pthread_mutex_unlock(&worker->lock);
	job->run(job);
	pthread_mutex_lock(&worker->lock);
	worker->busy = false;
	if (wanted) {
		job->state = WORKER_JOB_OVER;
		TAILQ_INSERT_TAIL(&worker->over, job, link);
		/* Cannot fail before 2^64 jobs are over. */
		if (write(worker->event, &one, sizeof(one)) < 0)
			assert(errno == EAGAIN);
	}
	pthread_cond_broadcast(&worker->changed);
}

static void *work(void *opaque)
{
	struct worker *worker = opaque;
	struct worker_job *job;

	pthread_mutex_lock(&worker->lock);
	for (;;) {
		job = worker->busy || worker->paused ? NULL : TAILQ_FIRST(&worker->queue);
		if (job) {
			TAILQ_REMOVE(&worker->queue, job, link);
			run_job(worker, job);
		} else if (worker->ending && !worker->busy) {
			break;
		} else {
			pthread_cond_wait(&worker->changed, &worker->lock);
		}
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

/* It takes no signal that somebody else may wait for; faults of its own are its own. */
static int start_thread(struct worker *worker)
{
	sigset_t set, old;
	int err;

	sigfillset(&set);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGTRAP);
	sigdelset(&set, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	err = pthread_create(&worker->thread, NULL, work, worker);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

/**
 * worker_new() - start the thread
 * @out: the worker
 *
 * Return: 0 or a negative errno.
 */
int worker_new(struct worker **out)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int err;

	if (!worker)
		return -ENOMEM;
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->changed, NULL);
	TAILQ_INIT(&worker->queue);
	TAILQ_INIT(&worker->over);
	worker->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->event < 0) {
		err = -errno;
		goto err_free;
	}
	err = start_thread(worker);
	if (err)
		goto err_close;
	*out = worker;
	return 0;

err_close:
	close(worker->event);
err_free:
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
	return err;
}

/**
 * worker_free() - the other end of worker_new()
 * @worker: what it has yet to do it does; may be NULL
 */
void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->ending = true;
	worker->paused = false;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	worker_dispatch(worker);
	assert(TAILQ_EMPTY(&worker->queue));
	close(worker->event);
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

/**
 * worker_submit() - have a job done
 * @worker: by whom
 * @job: lives until done(), or, without that, until run()
 */
void worker_submit(struct worker *worker, struct worker_job *job)
{
	pthread_mutex_lock(&worker->lock);
	assert(job->state == WORKER_JOB_IDLE);
	job->state = WORKER_JOB_QUEUED;
	TAILQ_INSERT_TAIL(&worker->queue, job, link);
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

/* In the worker's place, which is taken already. */
static void run_here(struct worker *worker, struct worker_job *job)
{
	job->run(job);
	pthread_mutex_lock(&worker->lock);
	worker->busy = false;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

/**
 * worker_do() - do a job here, or have it done
 * @worker: by whom; NULL: here
 * @job: as for worker_submit()
 * @small: here, unless others come first
 *
 * Return: true if it was done.
 */
bool worker_do(struct worker *worker, struct worker_job *job, bool small)
{
	bool idle;

	if (!worker) {
		job->run(job);
		return true;
	}
	pthread_mutex_lock(&worker->lock);
	idle = small && !worker->busy && TAILQ_EMPTY(&worker->queue);
	if (idle)
		worker->busy = true;
	pthread_mutex_unlock(&worker->lock);
	if (idle)
		run_here(worker, job);
	else
		worker_submit(worker, job);
	return idle;
}

/**
 * worker_now() - do a job here, as soon as the one that runs is over
 * @worker: in whose place; may be NULL
 * @job: not submitted
 */
void worker_now(struct worker *worker, struct worker_job *job)
{
	if (!worker) {
		job->run(job);
		return;
	}
	pthread_mutex_lock(&worker->lock);
	while (worker->busy)
		pthread_cond_wait(&worker->changed, &worker->lock);
	worker->busy = true;
	pthread_mutex_unlock(&worker->lock);
	run_here(worker, job);
}

/**
 * worker_cancel() - take a job back
 * @worker: whose it is
 * @job: submitted; done() was not called
 *
 * Return: true if it was not begun, false if it was done.
 */
bool worker_cancel(struct worker *worker, struct worker_job *job)
{
	bool begun;

	pthread_mutex_lock(&worker->lock);
	assert(job->state != WORKER_JOB_IDLE && job->done);
	while (job->state == WORKER_JOB_RUNS)
		pthread_cond_wait(&worker->changed, &worker->lock);
	begun = job->state == WORKER_JOB_OVER;
	TAILQ_REMOVE(begun ? &worker->over : &worker->queue, job, link);
	job->state = WORKER_JOB_IDLE;
	pthread_mutex_unlock(&worker->lock);
	return !begun;
}

/**
 * worker_pause() - begin no job, or go on
 * @worker: it; may be NULL
 * @pause: which
 */
void worker_pause(struct worker *worker, bool pause)
{
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->paused = pause;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

/**
 * worker_fd() - what to poll for
 * @worker: it
 *
 * Return: a descriptor, readable when worker_dispatch() is due.
 */
int worker_fd(const struct worker *worker)
{
	return worker->event;
}

/**
 * worker_dispatch() - hand back what was done
 * @worker: it
 */
void worker_dispatch(struct worker *worker)
{
	struct worker_job *job;
	uint64_t jobs;

	/* How many it says does not matter: some may have been cancelled. */
	if (read(worker->event, &jobs, sizeof(jobs)) < 0)
		jobs = 0;
	for (;;) {
		pthread_mutex_lock(&worker->lock);
		job = TAILQ_FIRST(&worker->over);
		if (job) {
			TAILQ_REMOVE(&worker->over, job, link);
			job->state = WORKER_JOB_IDLE;
		}
		pthread_mutex_unlock(&worker->lock);
		if (!job)
			break;
		job->done(job);
	}
}
