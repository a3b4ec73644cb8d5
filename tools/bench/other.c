// SPDX-License-Identifier: MIT
/*
 * What registrations cost the process that has them, elsewhere; and many of them
 *
 * Three processes have 0, 100 and 10000 registrations of a page, and do by turns the same
 * with memory that is not registered: munmap() and MADV_DONTNEED of 256 KiB, fork().
 *
 * Invariant: no process is left when a function returns.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define OTHER BENCH_KIB(256)
#define SIDES 3
#define DEEDS 3

/**
 * struct side - a process with registrations
 * @pid: it
 * @ask: to write to
 * @answer: to read DEEDS times from
 */
struct side {
	pid_t pid;
	int ask;
	int answer;
};

static void *other_memory(void)
{
	uint8_t *map =
		mmap(NULL, OTHER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	if (map == MAP_FAILED)
		bench_fail("mmap()", errno);
	for (i = 0; i < OTHER; i += BENCH_PAGE)
		map[i] = 1;
	return map;
}

static void deeds(uint64_t took[DEEDS])
{
	void *map = other_memory();
	uint64_t started;
	pid_t pid;

	started = bench_now_ns();
	if (madvise(map, OTHER, MADV_DONTNEED))
		bench_fail("madvise()", errno);
	took[1] = bench_now_ns() - started;
	munmap(map, OTHER);
	map = other_memory();
	started = bench_now_ns();
	if (munmap(map, OTHER))
		bench_fail("munmap()", errno);
	took[0] = bench_now_ns() - started;
	started = bench_now_ns();
	pid = fork();
	if (pid < 0)
		bench_fail("fork()", errno);
	if (!pid)
		_exit(0);
	took[2] = bench_now_ns() - started;
	if (waitpid(pid, NULL, 0) != pid)
		bench_fail("waitpid()", errno);
}

static void __attribute__((noreturn))
side_child(const struct bench *bench, unsigned int nr, int ask, int answer)
{
	struct bench_memory memory;
	uint64_t took[DEEDS];
	struct vg_bo bo;
	unsigned int i;
	struct vg vg;
	char byte;

	bench_open(&vg, bench);
	/* All have the same memory, registered or not. */
	if (!bench_memory_make(&memory, BENCH_NATURAL, 10000 * BENCH_PAGE))
		bench_fail("memory", ENOMEM);
	for (i = 0; i < nr; i++)
		bench_create(&vg, memory.addr + i * BENCH_PAGE, BENCH_PAGE, 0, &bo);
	while (read(ask, &byte, 1) == 1) {
		/* Once for the caches, which others have used. */
		deeds(took);
		deeds(took);
		if (write(answer, took, sizeof(took)) != sizeof(took))
			bench_fail("write()", errno);
	}
	exit(0);
}

static void start_side(const struct bench *bench, struct side *sides, unsigned int me,
		       unsigned int nr)
{
	int ask[2], answer[2];
	unsigned int i;

	if (pipe(ask) || pipe(answer))
		bench_fail("pipe()", errno);
	sides[me].pid = fork();
	if (sides[me].pid < 0)
		bench_fail("fork()", errno);
	if (!sides[me].pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Or the other sides would not see the end. */
		for (i = 0; i < me; i++)
			close(sides[i].ask);
		close(ask[1]);
		close(answer[0]);
		side_child(bench, nr, ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	sides[me].ask = ask[1];
	sides[me].answer = answer[0];
}

/**
 * bench_others() - what registrations cost others
 * @bench: the run
 */
void bench_others(const struct bench *bench)
{
	static const unsigned int counts[SIDES] = { 0, 100, 10000 };
	static const char *const figures[DEEDS] = { "munmap", "dontneed", "fork" };
	static const char *const variants[SIDES] = { "0", "100", "10000" };
	struct bench_series series[SIDES][DEEDS] = { 0 };
	struct side sides[SIDES];
	uint64_t took[DEEDS];
	unsigned int i, j, k, at;
	int status;

	for (j = 0; j < SIDES; j++)
		start_side(bench, sides, j, counts[j]);
	for (i = 0; i < BENCH_WARMUP + bench->samples; i++)
		for (at = 0; at < SIDES; at++) {
			/* Each comes first as often as the others. */
			j = (i + at) % SIDES;
			if (write(sides[j].ask, "", 1) != 1 ||
			    read(sides[j].answer, took, sizeof(took)) != sizeof(took))
				bench_fail("a process with registrations", EIO);
			for (k = 0; k < DEEDS && i >= BENCH_WARMUP; k++)
				bench_add(&series[j][k], took[k]);
		}
	for (j = 0; j < SIDES; j++) {
		close(sides[j].ask);
		if (waitpid(sides[j].pid, &status, 0) != sides[j].pid || status)
			bench_fail("a process with registrations", EIO);
		for (k = 0; k < DEEDS; k++) {
			series[j][k].figure = figures[k];
			series[j][k].variant = variants[j];
			series[j][k].layout = BENCH_NATURAL;
			series[j][k].size = OTHER;
			series[j][k].unit = "ns";
			bench_print(&series[j][k]);
		}
	}
}

static uint64_t register_all(struct vg *vg, const struct bench_memory *memory, uint32_t flags,
			     struct vg_bo *bos)
{
	size_t nr = memory->size / BENCH_PAGE, i;
	uint64_t started = bench_now_ns(), took;

	for (i = 0; i < nr; i++)
		bench_create(vg, memory->addr + i * BENCH_PAGE, BENCH_PAGE, flags, &bos[i]);
	took = bench_now_ns() - started;
	for (i = 0; i < nr; i++)
		vg_bo_close(vg->fd, bos[i].handle);
	bench_wait_unpinned();
	return took / nr;
}

/**
 * bench_many() - many pages, one by one, each registered: watched, and with KEEP
 * @bench: the run
 */
void bench_many(const struct bench *bench)
{
	struct bench_series watched = { .figure = "many", .variant = "watched", .unit = "ns" };
	struct bench_series keep = { .figure = "many", .variant = "keep", .unit = "ns" };
	size_t nr = bench->quick ? 2000 : 10000, i;
	struct vg_bo *bos = calloc(nr, sizeof(*bos));
	struct bench_memory memory;
	struct vg vg;

	if (!bos || !bench_memory_make(&memory, BENCH_NATURAL, nr * BENCH_PAGE))
		bench_fail("memory", ENOMEM);
	bench_open(&vg, bench);
	watched.layout = keep.layout = BENCH_NATURAL;
	watched.size = keep.size = memory.size;
	register_all(&vg, &memory, 0, bos);
	for (i = 0; i < bench->samples; i++) {
		/* Whoever comes first does so only every other time. */
		if (i % 2)
			bench_add(&keep, register_all(&vg, &memory, VIRTGPU_USERPTR_KEEP, bos));
		bench_add(&watched, register_all(&vg, &memory, 0, bos));
		if (i % 2 == 0)
			bench_add(&keep, register_all(&vg, &memory, VIRTGPU_USERPTR_KEEP, bos));
	}
	bench_print(&watched);
	bench_print(&keep);
	bench_memory_free(&memory);
	free(bos);
	vg_close(&vg);
}
