// SPDX-License-Identifier: MIT
/*
 * userptr-amdgpu-hostile-test: programs that keep hold of memory they gave up
 *
 * By the raw protocol, without the care that a driver takes.  A program maps memory
 * for the GPU, gives its pages back to the kernel, and keeps all that it has: the
 * mapping, a job that the engine has not begun, a second context, a second
 * registration at the same address.  Other processes get the pages.  Not one byte of
 * theirs may be seen or changed.
 *
 * The program is a process of its own; the test asks the host to hold jobs.
 *
 * Invariant: see venus-session.h.  And after each test the model holds back no job.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "amdvgpu.h"
#include "kselftest_harness.h"
#include "model.h"
#include "next-owner.h"
#include "venus-session.h"

/* What the engine writes. */
#define MARK 0xbadc0de5u

#define VA_SEEN AVC_VA
#define VA_TARGET (AVC_VA + 0x10000000ull)
#define VA_AGAIN (AVC_VA + 0x20000000ull)

enum stage { STARTED, READY, GIVEN, DONE };

/* What the hostile program may go on with. */
enum leave { LEAVE_NOTHING, LEAVE_TO_GIVE, LEAVE_TO_ATTACK };

/* What it keeps. */
enum hold_on { KEEPS_MAPPING, KEEPS_JOB, KEEPS_CONTEXT, REGISTERS_AGAIN };

/**
 * struct control - what the processes of one test share
 * @pages: those who get the pages; its stage is an enum stage, its attack an enum leave
 * @node: of the device
 * @close: the registration is closed before the memory is unmapped
 * @how: what is kept
 */
struct control {
	struct next_owner pages;
	char node[64];
	bool close;
	enum hold_on how;
};

/* ---- the hostile program --------------------------------------------------- */

/**
 * struct hostile - the program
 * @control: shared with the test
 * @c: its device
 * @other: a second context, of the same resource
 * @seen: what the engine has read
 * @other_seen: the same for @other
 * @target: the memory that it gives back
 * @bo: @target
 * @job: what was submitted before
 */
struct hostile {
	struct control *control;
	struct avc c;
	struct avc other;
	struct avc_bo seen;
	struct avc_bo other_seen;
	uint32_t *target;
	struct avc_bo bo;
	struct avc_job job;
};

/* Reads all of the target, and writes all of it. */
static void put_weapon(struct avc *c, uint64_t target)
{
	avc_begin(c);
	avc_copy(c, VA_SEEN, target, TARGET_BYTES);
	avc_fill(c, target, MARK, TARGET_BYTES);
}

/* With the target in the list of what the job uses, or without. */
static int use_weapon(struct avc *c, uint64_t target, uint32_t seen, uint32_t res)
{
	const uint32_t resources[] = { seen, res };

	put_weapon(c, target);
	return avc_run(c, resources, res ? 2 : 1);
}

static int prepare(struct hostile *self)
{
	struct control *control = self->control;
	size_t i;

	/* A primary node: only its clients can name objects, and give the name away. */
	CHECK(!avc_open(&self->c, control->node));
	self->target = mmap(NULL, TARGET_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	CHECK(self->target != MAP_FAILED);
	memset(self->target, 0x11, TARGET_BYTES);
	CHECK(!avc_register_at(&self->c, self->target, TARGET_BYTES, VA_TARGET, &self->bo));
	CHECK(!avc_register_at(&self->c, control->pages.seen, TARGET_BYTES, VA_SEEN, &self->seen));
	CHECK(!next_owner_note(&control->pages, self->target));
	/* The weapon works. */
	CHECK(!use_weapon(&self->c, VA_TARGET, self->seen.bo.res, self->bo.bo.res));
	for (i = 0; i < TARGET_BYTES / 4; i++)
		CHECK(self->target[i] == MARK && control->pages.seen[i] == 0x11111111);
	memset(control->pages.seen, 0, TARGET_BYTES);
	return 0;
}

/* The same resource in a second context of the same process. */
static int share(struct hostile *self)
{
	struct drm_gem_flink flink = { .handle = self->bo.bo.handle };
	struct drm_prime_handle prime = { .handle = self->bo.bo.handle, .flags = O_RDWR };
	struct drm_gem_open open_arg = { 0 };
	struct avc_bo *seen = &self->other_seen;

	/* To anybody else it is not given at all. */
	CHECK(vg_ioctl(self->c.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) == -EPERM);
	CHECK(!vg_ioctl(self->c.fd, DRM_IOCTL_GEM_FLINK, &flink));
	CHECK(!avc_open(&self->other, self->control->node));
	open_arg.name = flink.name;
	CHECK(!vg_ioctl(self->other.fd, DRM_IOCTL_GEM_OPEN, &open_arg));
	CHECK(!avc_va_op(&self->other, AMDGPU_VA_OP_MAP, self->bo.bo.res, 0, VA_TARGET,
			 TARGET_BYTES, AVC_RW));
	CHECK(!avc_register_at(&self->other, self->control->pages.seen, TARGET_BYTES, VA_SEEN,
			       seen));
	CHECK(!use_weapon(&self->other, VA_TARGET, seen->bo.res, self->bo.bo.res));
	memset(self->control->pages.seen, 0, TARGET_BYTES);
	return 0;
}

static int give(struct hostile *self)
{
	const uint32_t resources[] = { self->seen.bo.res, self->bo.bo.res };

	if (self->control->how == KEEPS_JOB) {
		put_weapon(&self->c, VA_TARGET);
		CHECK(!avc_submit(&self->c, resources, 2, &self->job));
		CHECK(!avc_answer(&self->c, &self->job, AVC_TIMEOUT_MS));
	}
	if (self->control->close)
		CHECK(!vg_bo_close(self->c.fd, self->bo.bo.handle));
	CHECK(!munmap(self->target, TARGET_BYTES));
	return 0;
}

/* New memory at the address, registered: the old mapping must not lead anywhere. */
static int register_again(struct hostile *self)
{
	struct avc_bo again;
	uint32_t *target;
	size_t i;

	target = mmap(self->target, TARGET_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(target == self->target);
	memset(target, 0x22, TARGET_BYTES);
	CHECK(!avc_register_at(&self->c, target, TARGET_BYTES, VA_AGAIN, &again));
	CHECK(!use_weapon(&self->c, VA_AGAIN, self->seen.bo.res, again.bo.res));
	for (i = 0; i < TARGET_BYTES / 4; i++)
		CHECK(target[i] == MARK && self->control->pages.seen[i] == 0x22222222);
	memset(target, 0x33, TARGET_BYTES);
	use_weapon(&self->c, VA_TARGET, self->seen.bo.res, again.bo.res);
	for (i = 0; i < TARGET_BYTES / 4; i++)
		CHECK(target[i] == 0x33333333);
	return 0;
}

/* Whatever is said to it, it tries all that it has. */
static int attack(struct hostile *self)
{
	const bool other = self->control->how == KEEPS_CONTEXT;
	struct avc *c = other ? &self->other : &self->c;
	const uint32_t seen = other ? self->other_seen.bo.res : self->seen.bo.res;
	const uint32_t res = self->bo.bo.res;

	if (self->control->how == REGISTERS_AGAIN)
		CHECK(!register_again(self));
	use_weapon(c, VA_TARGET, seen, res);
	use_weapon(c, VA_TARGET, seen, 0);
	/* As somebody whose last job has failed, and who begins anew. */
	avc_context(c, &c->ctx);
	use_weapon(c, VA_TARGET, seen, 0);
	avc_context(c, &c->ctx);
	avc_va_op(c, AMDGPU_VA_OP_MAP, res, 0, VA_AGAIN, TARGET_BYTES, AVC_RW);
	use_weapon(c, VA_AGAIN, seen, 0);
	return 0;
}

static int hostile(void *control)
{
	struct hostile self = { .control = control };
	_Atomic uint32_t *leave = &self.control->pages.attack;

	if (prepare(&self))
		return 1;
	if (self.control->how == KEEPS_CONTEXT && share(&self))
		return 1;
	atomic_store(&self.control->pages.stage, READY);
	CHECK(!await_word(leave, LEAVE_TO_GIVE, LONG_MS));
	if (give(&self))
		return 1;
	atomic_store(&self.control->pages.stage, GIVEN);
	CHECK(!await_word(leave, LEAVE_TO_ATTACK, 2 * LONG_MS));
	if (attack(&self))
		return 1;
	atomic_store(&self.control->pages.stage, DONE);
	/* Whatever is left of it, it keeps until it is killed. */
	for (;;)
		pause();
}

/* ---- the test ---------------------------------------------------------------- */

FIXTURE(hostile)
{
	struct session session;
	struct control *control;
};

FIXTURE_VARIANT(hostile)
{
	bool close;
	enum hold_on how;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(hostile, closes_and_keeps_mapping) { .close = true, .how = KEEPS_MAPPING };
FIXTURE_VARIANT_ADD(hostile, unmaps_and_keeps_mapping) { .close = false, .how = KEEPS_MAPPING };
FIXTURE_VARIANT_ADD(hostile, closes_with_job_held) { .close = true, .how = KEEPS_JOB };
FIXTURE_VARIANT_ADD(hostile, unmaps_with_job_held) { .close = false, .how = KEEPS_JOB };
FIXTURE_VARIANT_ADD(hostile, unmaps_with_two_contexts) { .close = false, .how = KEEPS_CONTEXT };
FIXTURE_VARIANT_ADD(hostile, closes_and_registers_again) { .close = true, .how = REGISTERS_AGAIN };
FIXTURE_VARIANT_ADD(hostile, unmaps_and_registers_again) { .close = false, .how = REGISTERS_AGAIN };
/* clang-format on */

/* The primary node of the device whose render node is @render. */
static int primary_node(const char *render, char *path, size_t len)
{
	glob_t found = { 0 };
	char pattern[128];
	int ret;

	snprintf(pattern, sizeof(pattern), "/sys/class/drm/%s/device/drm/card*",
		 strrchr(render, '/') + 1);
	ret = glob(pattern, 0, NULL, &found) ? -ENODEV : 0;
	if (!ret)
		snprintf(path, len, "/dev/dri/%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return ret;
}

FIXTURE_SETUP(hostile)
{
	ASSERT_EQ(0, session_begin(&self->session));
	ASSERT_TRUE(self->session.virtio);
	if (!model_there())
		SKIP(return, "no software amdgpu that can be asked");
	self->control = shared_memory(sizeof(*self->control));
	ASSERT_NE(NULL, self->control);
	self->control->close = variant->close;
	self->control->how = variant->how;
	ASSERT_EQ(0, primary_node(self->session.node, self->control->node,
				  sizeof(self->control->node)));
}

FIXTURE_TEARDOWN(hostile)
{
	if (self->control)
		EXPECT_EQ(0, model_hold(0));
	EXPECT_EQ(0, session_settled(&self->session));
}

/* Until the device has been told that the target is no more. */
static int wait_told(const struct session *session, uint64_t commands)
{
	uint64_t end = vg_now_us() + LONG_MS * 1000ull;
	struct loopback_stats delta;
	int ret;

	do {
		ret = session_stats(session, &delta);
		if (!ret && delta.userptr_commands > commands)
			return 0;
		poll_pause();
	} while (!ret && vg_now_us() < end);
	return ret ? ret : -ETIME;
}

/* While the engine may still begin the job, the pages are nobody else's. */
static void expect_kept(struct __test_metadata *_metadata, const struct session *session,
			uint64_t commands)
{
	struct loopback_stats delta;

	ASSERT_EQ(0, wait_told(session, commands));
	/* A job of the loopback context comes and goes meanwhile: nobody waits for that one. */
	ASSERT_EQ(0, session_stats(session, &delta));
	EXPECT_EQ(0, delta.userptr_destroyed);
	EXPECT_LE(TARGET_PAGES, pins_outstanding() - session->pins);
	EXPECT_EQ(1, model_stat("sdma0"));
}

TEST_F_TIMEOUT(hostile, never_reaches_the_next_owner, 300)
{
	struct control *control = self->control;
	struct next_owner *pages = &control->pages;
	struct loopback_stats delta;
	pid_t pid, owners[NEXT_OWNERS];
	long faults = model_stat("faults");

	pid = run_child(hostile, control);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, await_word(&pages->stage, READY, LONG_MS));
	if (control->how == KEEPS_JOB)
		ASSERT_EQ(0, model_hold(MODEL_HOLD_ALL));
	ASSERT_EQ(0, session_stats(&self->session, &delta));
	atomic_store(&pages->attack, LEAVE_TO_GIVE);
	ASSERT_EQ(0, await_word(&pages->stage, GIVEN, LONG_MS));
	if (control->how == KEEPS_JOB) {
		expect_kept(_metadata, &self->session, delta.userptr_commands);
		ASSERT_EQ(0, model_hold(0));
	}
	/* The target's pages are given up; where the engine puts what it reads may stay. */
	ASSERT_EQ(0,
		  wait_pins_at_most(self->session.pins +
					    (control->how == KEEPS_CONTEXT ? 2 : 1) * TARGET_PAGES,
				    LONG_MS));
	ASSERT_EQ(0, next_owner_take(pages, owners, LONG_MS));
	TH_LOG("%u of %lu frames have new owners", atomic_load(&pages->owned), TARGET_PAGES);
	atomic_store(&pages->attack, LEAVE_TO_ATTACK);
	EXPECT_EQ(0, await_word(&pages->stage, DONE, LONG_MS));
	/* It has got as far as the engine, and no farther. */
	EXPECT_LT(faults, model_stat("faults"));
	EXPECT_EQ(0, next_owner_check(pages, owners));
	EXPECT_EQ(0, next_owner_leaked(pages));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(0, next_owner_leaked(pages));
}

TEST_HARNESS_MAIN
