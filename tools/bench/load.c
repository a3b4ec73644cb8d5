// SPDX-License-Identifier: MIT
/*
 * Several processes: creations a second, and a small one beside large ones
 *
 * Processes meet at barriers in shared memory; each has a node and a buffer of its own.
 *
 * Invariant: no process is left when a function returns.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MOST 8
/* Small creations of a sample. */
#define SMALL 16

/**
 * struct meeting - shared by all processes of a measurement
 * @barrier: where they meet
 * @stop: the round is over
 * @end: there is no other
 * @inside: somebody is about to create
 * @done: creations of each in this round
 */
struct meeting {
	pthread_barrier_t barrier;
	atomic_bool stop;
	atomic_bool end;
	atomic_bool inside;
	atomic_ulong done[MOST];
};

static struct meeting *meet(unsigned int processes)
{
	struct meeting *meeting = bench_shared(sizeof(*meeting));
	pthread_barrierattr_t attr;

	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (pthread_barrier_init(&meeting->barrier, &attr, processes))
		bench_fail("pthread_barrier_init()", EINVAL);
	return meeting;
}

/* True in the child, which ends with its parent. */
static bool child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		bench_fail("fork()", errno);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return !pid;
}

static void wait_children(unsigned int nr)
{
	int status;

	while (nr--) {
		if (wait(&status) < 0)
			bench_fail("wait()", errno);
		if (status)
			bench_fail("a child", EIO);
	}
}

static void create_until(struct vg *vg, const struct bench_memory *memory, bool blobs,
			 struct meeting *meeting, unsigned int me)
{
	struct vg_bo bo;

	while (!meeting->stop) {
		if (!blobs)
			bench_create(vg, memory->addr, memory->size, 0, &bo);
		else if (vg_blob_create(vg->fd, memory->size, &bo))
			bench_fail("a guest blob", EIO);
		else
			bench_blob_use(vg, &bo);
		vg_bo_close(vg->fd, bo.handle);
		meeting->done[me]++;
	}
}

/* By turns userptrs and guest blobs, a round each. */
static void rate_child(const struct bench *bench, struct meeting *meeting, unsigned int me)
{
	struct bench_memory memory;
	bool blobs = false;
	struct vg vg;

	bench_open(&vg, bench);
	if (!bench_memory_make(&memory, BENCH_NATURAL, BENCH_MIB(1)))
		bench_fail("memory", ENOMEM);
	for (;; blobs = !blobs) {
		pthread_barrier_wait(&meeting->barrier);
		if (meeting->end)
			break;
		create_until(&vg, &memory, blobs, meeting, me);
		pthread_barrier_wait(&meeting->barrier);
	}
	exit(0);
}

/* Creations a second of all processes in one round. */
static uint64_t round_of(struct meeting *meeting, unsigned int processes, unsigned int ms)
{
	uint64_t sum = 0, started, took;
	struct timespec length = { .tv_nsec = ms * 1000000l };
	unsigned int i;

	meeting->stop = false;
	for (i = 0; i < processes; i++)
		meeting->done[i] = 0;
	pthread_barrier_wait(&meeting->barrier);
	started = bench_now_ns();
	nanosleep(&length, NULL);
	meeting->stop = true;
	took = bench_now_ns() - started;
	for (i = 0; i < processes; i++)
		sum += meeting->done[i];
	pthread_barrier_wait(&meeting->barrier);
	return sum * 1000000000 / took;
}

static void rate_of(const struct bench *bench, unsigned int processes, const char *const names[2])
{
	struct bench_series series[2] = { 0 };
	struct meeting *meeting = meet(processes + 1);
	unsigned int ms = bench->quick ? 50 : 200, i, j;

	for (i = 0; i < processes; i++)
		if (child())
			rate_child(bench, meeting, i);
	for (i = 0; i < 1 + bench->samples; i++)
		for (j = 0; j < 2; j++) {
			uint64_t rate = round_of(meeting, processes, ms);

			if (i)
				bench_add(&series[j], rate);
		}
	meeting->end = true;
	pthread_barrier_wait(&meeting->barrier);
	wait_children(processes);
	for (j = 0; j < 2; j++) {
		series[j].figure = "rate";
		series[j].layout = BENCH_NATURAL;
		series[j].size = BENCH_MIB(1);
		series[j].variant = names[j];
		series[j].unit = "1/s";
		bench_print(&series[j]);
	}
}

/**
 * bench_rate() - creations of 1 MiB a second, of userptrs and of fenced guest blobs
 * @bench: the run
 */
void bench_rate(const struct bench *bench)
{
	static const char *const names[][2] = { { "userptr-1", "blob-1" },
						{ "userptr-2", "blob-2" },
						{ "userptr-8", "blob-8" } };

	rate_of(bench, 1, names[0]);
	rate_of(bench, 2, names[1]);
	rate_of(bench, MOST, names[2]);
}

static void large_child(const struct bench *bench, struct meeting *meeting)
{
	struct bench_memory memory;
	struct vg_bo bo;
	struct vg vg;

	bench_open(&vg, bench);
	if (!bench_memory_make(&memory, BENCH_NATURAL, bench->largest))
		bench_fail("memory", ENOMEM);
	for (;;) {
		pthread_barrier_wait(&meeting->barrier);
		if (meeting->end)
			break;
		while (!meeting->stop) {
			meeting->inside = true;
			bench_create(&vg, memory.addr, memory.size, 0, &bo);
			vg_bo_close(vg.fd, bo.handle);
		}
		bench_wait_unpinned();
		pthread_barrier_wait(&meeting->barrier);
	}
	exit(0);
}

/* The mean of several, which meet the large ones at whatever they are. */
static uint64_t small_creates(struct vg *vg, const struct bench_memory *memory)
{
	uint64_t took = 0, started;
	struct vg_bo bo;
	unsigned int i;

	for (i = 0; i < SMALL; i++) {
		started = bench_now_ns();
		bench_create(vg, memory->addr, memory->size, 0, &bo);
		took += bench_now_ns() - started;
		vg_bo_close(vg->fd, bo.handle);
		bench_wait_unpinned();
	}
	return took / SMALL;
}

/**
 * bench_beside() - a creation of 64 KiB, alone and beside the largest ones
 * @bench: the run
 */
void bench_beside(const struct bench *bench)
{
	struct bench_series idle = { .figure = "beside", .variant = "idle", .unit = "ns" };
	struct bench_series busy = { .figure = "beside", .variant = "busy", .unit = "ns" };
	struct meeting *meeting = meet(2);
	struct bench_memory memory;
	unsigned int i;
	struct vg vg;

	if (child())
		large_child(bench, meeting);
	bench_open(&vg, bench);
	if (!bench_memory_make(&memory, BENCH_NATURAL, BENCH_KIB(64)))
		bench_fail("memory", ENOMEM);
	idle.layout = busy.layout = BENCH_NATURAL;
	idle.size = busy.size = bench->largest;
	for (i = 0; i < 1 + bench->samples; i++) {
		uint64_t alone = small_creates(&vg, &memory), beside;

		meeting->stop = false;
		meeting->inside = false;
		pthread_barrier_wait(&meeting->barrier);
		while (!meeting->inside)
			sched_yield();
		beside = small_creates(&vg, &memory);
		meeting->stop = true;
		pthread_barrier_wait(&meeting->barrier);
		if (!i)
			continue;
		bench_add(&idle, alone);
		bench_add(&busy, beside);
	}
	meeting->end = true;
	pthread_barrier_wait(&meeting->barrier);
	wait_children(1);
	bench_print(&idle);
	bench_print(&busy);
	bench_memory_free(&memory);
	vg_close(&vg);
}
