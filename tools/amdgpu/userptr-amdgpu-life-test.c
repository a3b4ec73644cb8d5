// SPDX-License-Identifier: MIT
/*
 * userptr-amdgpu-life-test: processes that end while the engine has their jobs
 *
 * Invariant: see amdvgpu-fixture.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "amdvgpu-fixture.h"
#include "next-owner.h"

#define USER_BYTES MIB(4)
#define JOBS 8

/**
 * struct victim - what a process that is killed shares with the test
 * @stage: 1 when its jobs are with the engine
 * @node: of the device
 * @leaves: it ends by itself
 */
struct victim {
	_Atomic uint32_t stage;
	char node[64];
	bool leaves;
};

/* Has as much as it may, and jobs in flight; then it is killed, or goes. */
static int submit_and_end(void *opaque)
{
	struct victim *victim = opaque;
	struct avc_job jobs[JOBS];
	struct avc_bo bo;
	uint8_t *addr;
	struct avc c;
	int i;

	CHECK(!become_user(6101, USER_BYTES));
	addr = map_anonymous(USER_BYTES);
	CHECK(addr != MAP_FAILED);
	CHECK(!avc_open(&c, victim->node));
	CHECK(!avc_register_at(&c, addr, USER_BYTES, VA_FIRST, &bo));
	/* Each begins its commands anew: the buffer has room for few. */
	avc_begin(&c);
	avc_fill(&c, VA_FIRST, 0x01010101, USER_BYTES);
	for (i = 0; i < JOBS; i++) {
		CHECK(!avc_submit(&c, &bo.bo.res, 1, &jobs[i]));
		CHECK(!avc_answer(&c, &jobs[i], AVC_TIMEOUT_MS));
	}
	atomic_store(&victim->stage, 1);
	while (!victim->leaves)
		pause();
	return 0;
}

/* The same user has all of its limit again. */
static int use_it_all(void *opaque)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	struct victim *victim = opaque;
	uint8_t *addr = map_anonymous(USER_BYTES);
	struct avc_bo bo;
	struct avc c;
	int ret;

	CHECK(!become_user(6101, USER_BYTES));
	CHECK(addr != MAP_FAILED);
	CHECK(!avc_open(&c, victim->node));
	while ((ret = avc_register_at(&c, addr, USER_BYTES, VA_FIRST, &bo)) == -ENOMEM) {
		CHECK(vg_now_us() < end);
		poll_pause();
	}
	CHECK(!ret);
	avc_begin(&c);
	avc_fill(&c, VA_FIRST, 0x02020202, USER_BYTES);
	CHECK(!avc_run(&c, &bo.bo.res, 1));
	CHECK(all_bytes(addr, USER_BYTES, 2));
	return 0;
}

static void end_with_jobs_held(struct __test_metadata *_metadata, SELF *self, bool leaves)
{
	struct victim *victim = shared_memory(sizeof(*victim));
	long jobs = model_stat("jobs");
	int status;
	pid_t pid;

	ASSERT_NE(NULL, victim);
	victim->leaves = leaves;
	strcpy(victim->node, self->session.node);
	ASSERT_EQ(0, chmod(self->session.node, 0666));
	ASSERT_EQ(0, model_hold(MODEL_HOLD_ALL));
	pid = run_child(submit_and_end, victim);
	ASSERT_LT(0, pid);
	if (!leaves) {
		ASSERT_EQ(0, await_word(&victim->stage, 1, LONG_MS));
		ASSERT_EQ(0, kill(pid, SIGKILL));
	}
	ASSERT_EQ(0, wait_child(pid, LONG_MS, &status));
	EXPECT_EQ(leaves ? 0 : SIGKILL, status);
	/* It is gone; its pages and its jobs are not. */
	EXPECT_EQ(JOBS, model_stat("sdma0"));
	EXPECT_LE(USER_BYTES / PAGE, pins_outstanding() - self->session.pins);
	/* And nobody else is kept waiting. */
	ASSERT_EQ(0, avc_va_op(&self->c, AMDGPU_VA_OP_UNMAP, self->ours.bo.res, 0, VA_OURS,
			       OUR_BYTES, 0));
	ASSERT_EQ(0, avc_va_map(&self->c, &self->ours, VA_OURS, AVC_RW));
	ASSERT_EQ(0, model_hold(0));
	EXPECT_EQ(0, model_wait_stat("jobs", jobs + JOBS, LONG_MS));
	EXPECT_EQ(0, wait_pins(self->session.pins, LONG_MS));
	pid = run_child(use_it_all, victim);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, wait_child(pid, LONG_MS, &status));
	EXPECT_EQ(0, status);
	EXPECT_EQ(self->faults, model_stat("faults"));
}

CASE(killed_with_jobs_held)
{
	NEEDS_MODEL();
	end_with_jobs_held(_metadata, self, false);
}

CASE(ends_with_jobs_held)
{
	NEEDS_MODEL();
	end_with_jobs_held(_metadata, self, true);
}

TEST_HARNESS_MAIN
