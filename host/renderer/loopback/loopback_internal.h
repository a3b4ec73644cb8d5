/* SPDX-License-Identifier: MIT */
/*
 * loopback_internal: what the files of the reference context share
 *
 * renderer_loopback.c says what it is.  loopback_stream.c makes a job of a command
 * stream, loopback_pool.c says when it runs and where, loopback_run.c runs it.
 */
#ifndef LOOPBACK_INTERNAL_H
#define LOOPBACK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <openssl/evp.h>

#include <virtgpu_loopback.h>

#include "renderer/renderer.h"

#define NR_WORKERS 2
#define NR_RINGS 256

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
 * @link: in a queue's or the done list
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
	STAILQ_ENTRY(job) link;
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

STAILQ_HEAD(job_list, job);

/**
 * struct job_queue - the jobs of one ring of one context
 * @ready_link: in the ready list
 * @waiting: not started
 * @running: a worker has one of its jobs
 * @busy_link: in the list of queues that have jobs
 * @busy: in that list
 */
struct job_queue {
	TAILQ_ENTRY(job_queue) ready_link;
	struct job_list waiting;
	bool running;
	LIST_ENTRY(job_queue) busy_link;
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
 * @busy: queues with jobs that wait or run
 * @done: finished by workers, for the ring thread
 * @running: jobs that workers have
 * @quit: end the workers
 */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t idle;
	TAILQ_HEAD(, job_queue) ready;
	LIST_HEAD(, job_queue) busy;
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

/* loopback_stream.c */

void loopback_decode_steps(struct renderer *renderer, struct job *job, const unsigned char *data,
			   uint32_t nr);
bool loopback_decode_status(struct job *job, const struct loopback_submit *head);

/* loopback_run.c */

bool loopback_job_stopped(const struct job *job);
void loopback_cancel_job(struct job *job);
void loopback_run_job(struct renderer *renderer, struct job *job);

/* loopback_pool.c */

struct job_queue *loopback_get_queue(struct loopback_context *context, uint8_t ring);
void loopback_start_job(struct renderer *renderer, struct job *job);
void loopback_free_job(struct job *job);
void loopback_release_context(struct loopback_context *context);
void loopback_cancel_stopped(struct renderer *renderer);
void loopback_dispatch(struct renderer *renderer);
void loopback_reset(struct renderer *renderer);
int loopback_start_workers(struct renderer *renderer);
void loopback_stop_workers(struct renderer *renderer);

#endif /* LOOPBACK_INTERNAL_H */
