// SPDX-License-Identifier: MIT
/*
 * userptr-lib-stress: the library on the real driver, by several threads and for long
 *
 *	USERPTR_SECONDS		of the threads (4)
 *	USERPTR_LOOPS		registrations of the loop (100000)
 *	USERPTR_SEED		what is chosen, from an earlier run's output
 *
 * Invariant: see lib-session.h.
 */
#include <time.h>
#include <unistd.h>

#include "lib-session.h"

#define THREADS 4
/* More than malloc() takes from the heap, and less, of which a thread has its own. */
#define MOST (80 * PAGE)

FIXTURE(stress)
{
	struct session session;
};

FIXTURE_SETUP(stress)
{
	session_begin(_metadata, &self->session, 256 * PAGE);
}

FIXTURE_TEARDOWN(stress)
{
	session_end(_metadata, &self->session);
}

/**
 * struct worker - a thread that allocates, registers, looks and frees
 * @thread: it
 * @session: all have one
 * @seed: of its choices
 * @end: when to stop
 * @rounds: done
 * @problem: what went wrong, or NULL
 * @error: of that
 */
struct worker {
	pthread_t thread;
	struct session *session;
	unsigned int seed;
	uint64_t end;
	unsigned long rounds;
	const char *problem;
	int error;
};

static int one_round(struct worker *w)
{
	size_t size = rand_r(&w->seed) % MOST + 1, from = rand_r(&w->seed) % size;
	struct virtgpu_userptr *ctx = w->session->ctx;
	uint32_t flags = rand_r(&w->seed) % 3 ? 0 : VIRTGPU_USERPTR_REG_PIECES;
	struct virtgpu_userptr_reg reg, part;
	uint8_t *block = malloc(size);
	int ret;

	if (!block)
		return -ENOMEM;
	fill(block, size, rand_r(&w->seed));
	w->problem = "cannot be registered";
	ret = virtgpu_userptr_register(ctx, block, size, 0, &reg);
	if (ret)
		return ret;
	ret = virtgpu_userptr_register(ctx, block + from, size - from, flags, &part);
	if (ret)
		return ret;
	w->problem = "the device sees something else";
	ret = device_differs(w->session, &reg.piece, block);
	if (!ret)
		ret = device_differs(w->session, &part.piece, block + from);
	if (ret)
		return ret;
	w->problem = "cannot be deregistered";
	if (rand_r(&w->seed) % 2) {
		ret = virtgpu_userptr_release(ctx, &reg);
		if (!ret)
			ret = virtgpu_userptr_deregister(ctx, block + from, size - from);
		if (ret)
			return ret;
	}
	/* As jemalloc would: what is whole pages of it, while it is the allocator's. */
	if (rand_r(&w->seed) % 4 == 0) {
		uintptr_t first = ((uintptr_t)block + PAGE - 1) & -PAGE;
		uintptr_t end = ((uintptr_t)block + size) & -PAGE;

		if (end > first)
			madvise((void *)first, end - first, MADV_DONTNEED);
	}
	free(block);
	w->problem = "dispatch";
	if (rand_r(&w->seed) % 16 == 0)
		ret = virtgpu_userptr_dispatch(ctx);
	return ret < 0 ? ret : 0;
}

static void *work(void *data)
{
	struct worker *w = data;

	while (vg_now_us() < w->end && !w->error) {
		w->error = one_round(w);
		w->rounds++;
	}
	return NULL;
}

/*
 * Each thread sees its own bytes, whoever had the address before, and however it was
 * given back.
 */
TEST_F_TIMEOUT(stress, threads, 120)
{
	long seconds = from_environment("USERPTR_SECONDS", 4);
	unsigned int seed = from_environment("USERPTR_SEED", time(NULL)), i;
	struct worker workers[THREADS] = { 0 };
	unsigned long rounds = 0;

	TH_LOG("USERPTR_SEED=%u", seed);
	for (i = 0; i < THREADS; i++) {
		workers[i].session = &self->session;
		workers[i].seed = seed + i;
		workers[i].end = vg_now_us() + seconds * 1000000;
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		rounds += workers[i].rounds;
		EXPECT_EQ(0, workers[i].error)
		{
			TH_LOG("thread %u, round %lu: %s", i, workers[i].rounds,
			       workers[i].problem);
		}
	}
	TH_LOG("%lu rounds, %llu hits, %llu stale", rounds,
	       (unsigned long long)stats_of(self->session.ctx).hits,
	       (unsigned long long)stats_of(self->session.ctx).stale);
	EXPECT_LT(0, rounds);
}

/*
 * By all the ways that a registration ends, and nothing is left of any.  Most find
 * what is kept; one of eight has to be made.
 */
static int one_loop(struct session *session, uint8_t *mine, unsigned long i)
{
	struct virtgpu_userptr_reg reg;
	uint8_t *block = mine;
	int ret;

	if (i % 16 == 0) {
		block = map_pages(2);
		if (!block)
			return -ENOMEM;
	}
	ret = virtgpu_userptr_register(session->ctx, block + 100, PAGE, 0, &reg);
	if (ret)
		return ret;
	if (i % 16 == 0)
		/* By nothing at all. */
		munmap(block, 2 * PAGE);
	else if (i % 2)
		ret = virtgpu_userptr_release(session->ctx, &reg);
	else
		ret = virtgpu_userptr_deregister(session->ctx, block + 100, PAGE);
	if (i % 16 == 8)
		madvise(block, 2 * PAGE, MADV_DONTNEED);
	if (!ret && i % 64 == 0)
		ret = virtgpu_userptr_dispatch(session->ctx);
	return ret < 0 ? ret : 0;
}

TEST_F_TIMEOUT(stress, loop_without_growth, 300)
{
	unsigned long loops = from_environment("USERPTR_LOOPS", 100000), i;
	struct virtgpu_userptr_stats stats;
	uint8_t *mine = map_pages(2);
	long rss = 0, free_memory = 0;
	uint64_t started = vg_now_us();

	for (i = 0; i < loops; i++) {
		ASSERT_EQ(0, one_loop(&self->session, mine, i))
		{
			TH_LOG("%lu: %s", i, virtgpu_userptr_error());
		}
		/* When all that is made once has been made. */
		if (i == loops / 10) {
			rss = vg_status_kib("VmRSS");
			free_memory = sysconf(_SC_AVPHYS_PAGES);
		}
	}
	ASSERT_LE(0, virtgpu_userptr_dispatch(self->session.ctx));
	stats = stats_of(self->session.ctx);
	/* The window, and what is kept. */
	EXPECT_EQ(1, stats.registrations);
	EXPECT_GE(256 * PAGE, stats.idle_bytes);
	EXPECT_GE(130, stats.resources);
	EXPECT_GE(rss + 256, vg_status_kib("VmRSS"));
	/* KASAN keeps what was freed for a while, which is more than a few loops use. */
	if (loops >= 50000)
		EXPECT_GE(1024, free_memory - sysconf(_SC_AVPHYS_PAGES));
	TH_LOG("%lu registrations in %llu ms: %llu resources made, %llu used again", i,
	       (unsigned long long)(vg_now_us() - started) / 1000, (unsigned long long)stats.misses,
	       (unsigned long long)stats.hits);
	munmap(mine, 2 * PAGE);
}

TEST_HARNESS_MAIN
