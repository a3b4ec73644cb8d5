// SPDX-License-Identifier: MIT
/*
 * userptr-stress: many processes at a time that do everything at random
 *
 * Each registers parts of its memory, has the device read and write it, forks
 * children that do the same with theirs, forgets, and exits or is killed with
 * all of it registered.  Runs in the guest.
 *
 *	USERPTR_SECONDS		how long (60)
 *	USERPTR_SEED		what is chosen, from an earlier run's output
 *
 * Invariant: see userptr-test-session.h.  Every process is a descendant of
 * the test, which reaps all of them before it looks at what is left.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/userptr-test-session.h"

#define PROCESSES 6
/* Pages of each, in as many pieces. */
#define MEMORY 512
#define REGISTRATIONS 8
/* A process that ends by itself, and not because a check failed. */
#define EXIT_BY_CHOICE 42
/* A child's length of life, in things that it does. */
#define CHILD_STEPS 6

struct registration {
	struct vg_bo bo;
	uint8_t *addr;
	size_t size;
	uint32_t flags;
};

/**
 * struct worker - one process
 * @node: device
 * @seed: state of what it chooses
 * @vg: its context
 * @region: its memory
 * @registered: parts of it; may overlap
 * @children: how deep it may fork
 */
struct worker {
	const char *node;
	unsigned int seed;
	struct vg vg;
	struct region region;
	struct registration registered[REGISTRATIONS];
	int children;
};

static unsigned int choose(struct worker *worker, unsigned int below)
{
	return rand_r(&worker->seed) % below;
}

static int forget(struct worker *worker, struct registration *at)
{
	if (at->bo.handle)
		CHECK(!vg_bo_close(worker->vg.fd, at->bo.handle));
	memset(at, 0, sizeof(*at));
	return 0;
}

static int register_part(struct worker *worker, struct registration *at)
{
	size_t first = choose(worker, MEMORY);

	CHECK(!forget(worker, at));
	at->addr = worker->region.addr + first * PAGE;
	at->size = (1 + choose(worker, MEMORY - first)) * PAGE;
	at->flags = choose(worker, 2) ? VIRTGPU_USERPTR_RDONLY : 0;
	CHECK(!vg_userptr_create(worker->vg.fd, at->addr, at->size, at->flags, &at->bo));
	CHECK(same_digest(&worker->vg, at->bo.res, at->addr, at->size));
	return 0;
}

/* The device writes, and this process sees it. */
static int invert(struct worker *worker, struct registration *at)
{
	const struct vg_copy copy = {
		.dst_res = at->bo.res,
		.src_res = at->bo.res,
		.length = at->size,
	};
	uint8_t *before;
	size_t i;

	if (!at->bo.handle)
		return 0;
	if (at->flags & VIRTGPU_USERPTR_RDONLY) {
		CHECK(vg_invert(&worker->vg, &copy) == -EACCES);
		return 0;
	}
	before = malloc(at->size);
	CHECK(before);
	memcpy(before, at->addr, at->size);
	CHECK(!vg_invert(&worker->vg, &copy));
	for (i = 0; i < at->size; i++)
		CHECK((at->addr[i] ^ before[i]) == 0xff);
	free(before);
	return 0;
}

static int fork_child(struct worker *worker);

/* One thing, chosen at random. */
static int step(struct worker *worker)
{
	struct registration *at = &worker->registered[choose(worker, REGISTRATIONS)];

	switch (choose(worker, 8)) {
	case 0:
		return forget(worker, at);
	case 1:
	case 2:
		return invert(worker, at);
	case 3:
		return worker->children ? fork_child(worker) : 0;
	default:
		return register_part(worker, at);
	}
}

/* Everything that the parent has is a copy here, and its context is not ours. */
static int child_process(void *opaque)
{
	struct worker *worker = opaque;
	int i;

	memset(worker->registered, 0, sizeof(worker->registered));
	vg_close(&worker->vg);
	CHECK(!vg_open(&worker->vg, worker->node, 1));
	worker->children--;
	/* What the parent must not see, nor its device. */
	region_fill(&worker->region, worker->seed);
	for (i = 0; i < CHILD_STEPS; i++)
		CHECK(!step(worker));
	return 0;
}

static int fork_child(struct worker *worker)
{
	uint8_t before[LOOPBACK_SHA256_SIZE], after[LOOPBACK_SHA256_SIZE];
	const struct registration *at;
	pid_t pid;

	CHECK(!sha256(worker->region.addr, worker->region.size, before));
	pid = run_child(child_process, worker);
	CHECK(pid > 0);
	/* Another than the child's: its choices are not these. */
	worker->seed += pid;
	CHECK(!child_result(pid));
	CHECK(!sha256(worker->region.addr, worker->region.size, after));
	CHECK(!memcmp(before, after, sizeof(before)));
	for (at = worker->registered; at < worker->registered + REGISTRATIONS; at++) {
		if (at->bo.handle)
			CHECK(same_digest(&worker->vg, at->bo.res, at->addr, at->size));
	}
	return 0;
}

static int work(void *opaque)
{
	struct worker *worker = opaque;

	CHECK(!vg_open(&worker->vg, worker->node, 1));
	CHECK(!region_scattered(&worker->region, MEMORY));
	region_fill(&worker->region, worker->seed);
	while (choose(worker, 50))
		CHECK(!step(worker));
	return EXIT_BY_CHOICE;
}

FIXTURE(stress)
{
	struct session session;
	pid_t pids[PROCESSES];
	unsigned int exited, killed;
};

FIXTURE_SETUP(stress)
{
	memset(self->pids, 0, sizeof(self->pids));
	self->exited = 0;
	self->killed = 0;
	session_begin(_metadata, &self->session, "MAIN");
	/* Whose parent is killed comes to us. */
	if (self->session.node)
		ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
}

FIXTURE_TEARDOWN(stress)
{
	session_end(_metadata, &self->session);
}

static unsigned int number_of(const char *variable, unsigned int otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

static pid_t start(const char *node)
{
	struct worker worker = { .node = node, .seed = rand(), .children = 1 };

	return run_child(work, &worker);
}

/* Whatever it is doing, unless it has just ended by itself. */
static void end_one(struct __test_metadata *_metadata, pid_t pid, unsigned int *exited,
		    unsigned int *killed)
{
	int result;

	ASSERT_EQ(0, kill(pid, SIGKILL));
	result = child_result(pid);
	if (result == EXIT_BY_CHOICE)
		(*exited)++;
	else
		(*killed)++;
	if (result != EXIT_BY_CHOICE)
		ASSERT_EQ(-SIGKILL, result);
}

static void reap_all(void)
{
	/* All that is left is being killed: the harness's limit is for bugs. */
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

TEST_F_TIMEOUT(stress, processes_that_end_at_random, 1800)
{
	unsigned int seed = number_of("USERPTR_SEED", time(NULL));
	unsigned int seconds = number_of("USERPTR_SECONDS", 60);
	uint64_t end = vg_now_us() + seconds * 1000000ull;
	struct session *session = &self->session;
	struct timespec pause = { 0 };
	struct loopback_stats delta;
	int i;

	printf("# seed %u (USERPTR_SEED=%u chooses the same again), %u s\n", seed, seed, seconds);
	srand(seed);
	for (i = 0; i < PROCESSES; i++) {
		self->pids[i] = start(session->node);
		ASSERT_LT(0, self->pids[i]);
	}
	while (vg_now_us() < end) {
		/* Not waiting for anything: a random time is the point. */
		pause.tv_nsec = rand() % 400000000;
		nanosleep(&pause, NULL);
		i = rand() % PROCESSES;
		end_one(_metadata, self->pids[i], &self->exited, &self->killed);
		self->pids[i] = start(session->node);
		ASSERT_LT(0, self->pids[i]);
	}
	for (i = 0; i < PROCESSES; i++)
		end_one(_metadata, self->pids[i], &self->exited, &self->killed);
	reap_all();
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	/* One that is killed while it registers leaves what is destroyed and was never made. */
	EXPECT_LE(delta.userptr_created, delta.userptr_destroyed);
	EXPECT_LE(delta.userptr_destroyed - delta.userptr_created, (__u64)self->killed);
	EXPECT_LT(self->killed, (long)delta.userptr_created);
	EXPECT_LT(0, self->killed);
	printf("summary: seed %u: %u processes killed, %u exited, %llu registrations\n", seed,
	       self->killed, self->exited, delta.userptr_created);
	fflush(stdout);
}

TEST_HARNESS_MAIN
