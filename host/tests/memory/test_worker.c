// SPDX-License-Identifier: MIT
/*
 * test_worker: the order of jobs, who runs them, and how they are taken back
 *
 * A job that is to last waits at a gate which the test opens, so that nothing
 * depends on how fast anybody is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "memory/worker.h"

#define WAIT_S 20
#define MAX_NOTES 1024

/**
 * struct bench - a worker and what it did
 * @worker: it
 * @ran: numbers of the jobs that ran; written by whoever runs jobs
 * @nr_ran: of them
 * @done: of those that were handed back
 * @nr_done: of them
 */
struct bench {
	struct worker *worker;
	int ran[MAX_NOTES];
	unsigned int nr_ran;
	int done[MAX_NOTES];
	unsigned int nr_done;
};

/**
 * struct test_job - a job
 * @job: first
 * @bench: where it notes itself
 * @number: of it
 * @thread: who ran it
 * @begun: posted when it runs
 * @gate: it runs until this is posted; NULL: not at all long
 */
struct test_job {
	struct worker_job job;
	struct bench *bench;
	int number;
	pthread_t thread;
	sem_t begun;
	sem_t *gate;
};

/* Fails loudly. */
static void wait_for(sem_t *sem)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_S;
	assert_int_equal(sem_timedwait(sem, &end), 0);
}

static void run(struct worker_job *job)
{
	struct test_job *test = (struct test_job *)job;

	test->thread = pthread_self();
	test->bench->ran[test->bench->nr_ran++] = test->number;
	sem_post(&test->begun);
	if (test->gate)
		sem_wait(test->gate);
}

static void done(struct worker_job *job)
{
	struct test_job *test = (struct test_job *)job;

	test->bench->done[test->bench->nr_done++] = test->number;
}

static void job_init(struct test_job *job, struct bench *b, int number, sem_t *gate)
{
	*job = (struct test_job){
		.job = { .run = run, .done = done },
		.bench = b,
		.number = number,
		.gate = gate,
	};
	sem_init(&job->begun, 0, 0);
}

static void dispatch_until(struct bench *b, unsigned int nr)
{
	while (b->nr_done < nr) {
		struct pollfd ready = { .fd = worker_fd(b->worker), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, WAIT_S * 1000), 1);
		worker_dispatch(b->worker);
	}
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_int_equal(worker_new(&b->worker), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	worker_free(b->worker);
	free(b);
	return 0;
}

static void *open_gate(void *opaque)
{
	struct timespec moment = { .tv_nsec = 20000000 };

	/* Not that it must be asleep by then: what is tested holds either way. */
	nanosleep(&moment, NULL);
	sem_post(opaque);
	return NULL;
}

static void jobs_keep_their_order(void **state)
{
	struct bench *b = *state;
	struct test_job jobs[100];
	int i;

	for (i = 0; i < 100; i++) {
		job_init(&jobs[i], b, i, NULL);
		worker_submit(b->worker, &jobs[i].job);
	}
	dispatch_until(b, 100);
	assert_int_equal(b->nr_ran, 100);
	for (i = 0; i < 100; i++) {
		assert_int_equal(b->ran[i], i);
		assert_int_equal(b->done[i], i);
		assert_false(pthread_equal(jobs[i].thread, pthread_self()));
	}
}

/* The owner goes on while a job lasts, and nothing is handed back before it is over. */
static void nobody_waits_for_a_job(void **state)
{
	struct bench *b = *state;
	struct test_job slow;
	struct pollfd ready = { .fd = worker_fd(b->worker), .events = POLLIN };
	sem_t gate;

	sem_init(&gate, 0, 0);
	job_init(&slow, b, 1, &gate);
	worker_submit(b->worker, &slow.job);
	wait_for(&slow.begun);
	worker_dispatch(b->worker);
	assert_int_equal(b->nr_done, 0);
	assert_int_equal(poll(&ready, 1, 0), 0);
	sem_post(&gate);
	dispatch_until(b, 1);
	/* And is quiet again. */
	assert_int_equal(poll(&ready, 1, 0), 0);
}

/* Here if nobody is busy; behind others it would overtake them, and may not. */
static void small_jobs_are_done_here(void **state)
{
	struct bench *b = *state;
	struct test_job small, slow, large;
	sem_t gate;

	sem_init(&gate, 0, 0);
	job_init(&small, b, 1, NULL);
	assert_true(worker_do(b->worker, &small.job, true));
	assert_true(pthread_equal(small.thread, pthread_self()));
	assert_int_equal(b->nr_done, 0);
	job_init(&slow, b, 2, &gate);
	job_init(&large, b, 3, NULL);
	worker_submit(b->worker, &slow.job);
	wait_for(&slow.begun);
	assert_false(worker_do(b->worker, &small.job, true));
	assert_false(worker_do(b->worker, &large.job, false));
	sem_post(&gate);
	dispatch_until(b, 3);
	assert_int_equal(b->ran[2], 1);
	assert_int_equal(b->ran[3], 3);
	assert_false(pthread_equal(small.thread, pthread_self()));
	/* Without a worker all is done here. */
	assert_true(worker_do(NULL, &large.job, false));
	assert_true(pthread_equal(large.thread, pthread_self()));
	worker_now(NULL, &large.job);
	worker_pause(NULL, true);
	assert_int_equal(b->nr_ran, 6);
}

/* It waits for the job that runs, and for no other. */
static void now_is_next(void **state)
{
	struct bench *b = *state;
	struct test_job slow, queued, now;
	pthread_t opener;
	sem_t gate;

	sem_init(&gate, 0, 0);
	job_init(&slow, b, 1, &gate);
	job_init(&queued, b, 2, NULL);
	job_init(&now, b, 3, NULL);
	worker_submit(b->worker, &slow.job);
	wait_for(&slow.begun);
	worker_pause(b->worker, true);
	worker_submit(b->worker, &queued.job);
	assert_int_equal(pthread_create(&opener, NULL, open_gate, &gate), 0);
	worker_now(b->worker, &now.job);
	pthread_join(opener, NULL);
	assert_true(pthread_equal(now.thread, pthread_self()));
	assert_int_equal(b->nr_ran, 2);
	assert_int_equal(b->ran[1], 3);
	/* What is queued stays so as long as it pauses. */
	assert_true(worker_cancel(b->worker, &queued.job));
	worker_submit(b->worker, &queued.job);
	worker_pause(b->worker, false);
	dispatch_until(b, 2);
	assert_int_equal(b->ran[2], 2);
}

static void jobs_are_taken_back(void **state)
{
	struct bench *b = *state;
	struct test_job over, next;
	sem_t gate;

	sem_init(&gate, 0, 0);
	/* One that is over, and was not handed back. */
	job_init(&over, b, 1, NULL);
	worker_submit(b->worker, &over.job);
	wait_for(&over.begun);
	assert_false(worker_cancel(b->worker, &over.job));
	worker_dispatch(b->worker);
	assert_int_equal(b->nr_done, 0);
	/* It can be submitted again. */
	over.gate = &gate;
	worker_submit(b->worker, &over.job);
	wait_for(&over.begun);
	/* One that nobody has begun. */
	job_init(&next, b, 2, NULL);
	worker_submit(b->worker, &next.job);
	assert_true(worker_cancel(b->worker, &next.job));
	sem_post(&gate);
	dispatch_until(b, 1);
	assert_int_equal(b->nr_ran, 2);
	assert_int_equal(b->done[0], 1);
}

/* One that runs is waited for, and not handed back. */
static void to_take_back_waits(void **state)
{
	struct bench *b = *state;
	struct test_job slow;
	pthread_t opener;
	sem_t gate;

	sem_init(&gate, 0, 0);
	job_init(&slow, b, 1, &gate);
	worker_submit(b->worker, &slow.job);
	wait_for(&slow.begun);
	assert_int_equal(pthread_create(&opener, NULL, open_gate, &gate), 0);
	assert_false(worker_cancel(b->worker, &slow.job));
	pthread_join(opener, NULL);
	worker_dispatch(b->worker);
	assert_int_equal(b->nr_done, 0);
	assert_int_equal(b->nr_ran, 1);
}

static void free_job(struct worker_job *job)
{
	struct test_job *test = (struct test_job *)job;

	test->bench->nr_ran++;
	free(test);
}

/* The end does what there is to do, also what nobody asks after. */
static void the_end_leaves_nothing(void **state)
{
	struct bench b = { .nr_ran = 0 };
	struct test_job jobs[10];
	int i;

	(void)state;
	assert_int_equal(worker_new(&b.worker), 0);
	for (i = 0; i < 10; i++) {
		struct test_job *own = calloc(1, sizeof(*own));

		assert_non_null(own);
		own->job.run = free_job;
		own->bench = &b;
		worker_submit(b.worker, &own->job);
		job_init(&jobs[i], &b, i, NULL);
		worker_submit(b.worker, &jobs[i].job);
	}
	worker_free(b.worker);
	assert_int_equal(b.nr_ran, 20);
	assert_int_equal(b.nr_done, 10);
	worker_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(jobs_keep_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_waits_for_a_job, setup, teardown),
		cmocka_unit_test_setup_teardown(small_jobs_are_done_here, setup, teardown),
		cmocka_unit_test_setup_teardown(now_is_next, setup, teardown),
		cmocka_unit_test_setup_teardown(jobs_are_taken_back, setup, teardown),
		cmocka_unit_test_setup_teardown(to_take_back_waits, setup, teardown),
		cmocka_unit_test(the_end_leaves_nothing),
	};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
