/* SPDX-License-Identifier: MIT */
/*
 * worker: one thread for what takes as long as there are pages
 *
 * To make a dma-buf of a gigabyte, to give one back, and to see that pages are
 * there takes milliseconds to seconds, in which the device has to go on.  Such a job
 * is submitted, done by the worker's thread in the order in which they came, and
 * handed back by worker_dispatch().
 *
 * Since one job runs at a time, what only jobs touch needs no lock.
 *
 * Threads: worker_submit() any; all else the owner's, which is the one that calls
 * worker_dispatch().  run() is called on the worker's thread, or on the owner's
 * instead of it (worker_do(), worker_now()); done() on the owner's.
 */
#ifndef WORKER_H
#define WORKER_H

#include <stdbool.h>
#include <sys/queue.h>

struct worker;

/* What a job may go over to be small. */
#define WORKER_SMALL_PAGES 256

/* Where a job is; for worker.c. */
enum worker_job_state {
	WORKER_JOB_IDLE,
	WORKER_JOB_QUEUED,
	WORKER_JOB_RUNS,
	WORKER_JOB_OVER,
};

/**
 * struct worker_job - something to be done; embedded in what it is about
 * @run: do it; must not call the worker
 * @done: it was done; may free the job, and submit others.  NULL: nobody wants to
 *	know, run() may free the job, and it cannot be cancelled.
 * @link: of worker.c, as is all that follows
 * @state: see there; 0 at first
 */
struct worker_job {
	void (*run)(struct worker_job *job);
	void (*done)(struct worker_job *job);
	TAILQ_ENTRY(worker_job) link;
	enum worker_job_state state;
};

/* 0 or a negative errno. */
int worker_new(struct worker **out);
/* Does all that was submitted, done() included, and ends; may be NULL. */
void worker_free(struct worker *worker);

void worker_submit(struct worker *worker, struct worker_job *job);
/*
 * Do it here, and return true, and done() is not called; or submit it.  Here if it is
 * @small, so that to hand it over would take longer than to do it, and the worker has
 * nothing to do; or if there is no worker (NULL).
 */
bool worker_do(struct worker *worker, struct worker_job *job, bool small);
/* Do it here, ahead of what is queued: waits for the job that runs.  @worker may be NULL. */
void worker_now(struct worker *worker, struct worker_job *job);
/*
 * Take back a job that was submitted and whose done() was not called; it will not be.
 * True: the job was not begun.  False: it was done, if need be while this waited, and
 * what came of it is the caller's.
 */
bool worker_cancel(struct worker *worker, struct worker_job *job);
/*
 * While it pauses no job is begun, so that many can be taken back and only one that
 * runs is waited for.  May be NULL.
 */
void worker_pause(struct worker *worker, bool pause);

/* Readable when worker_dispatch() has something to do. */
int worker_fd(const struct worker *worker);
/* Call done() for the jobs that were done. */
void worker_dispatch(struct worker *worker);

#endif /* WORKER_H */
