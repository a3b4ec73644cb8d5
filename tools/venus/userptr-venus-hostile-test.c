// SPDX-License-Identifier: MIT
/*
 * userptr-venus-hostile-test: programs that misbehave with imported memory
 *
 * A program keeps its VkDeviceMemory and its shaders, but gives the pages back
 * to the kernel, behind the Vulkan driver's back.  Other processes get those
 * pages, and the program's shader tries to read and write them.  Whatever
 * becomes of the program, it must never see or change a byte of theirs: the
 * pages are free only when the device has made sure of that.
 *
 * And programs that are killed while their shader runs, or meet their limit of
 * locked memory.
 *
 * Every Vulkan program here is a process of its own: its device may be lost, its
 * driver may hang or abort.  Needs virtio-gpu, and root to read frame numbers.
 *
 * Invariant: see venus-session.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "next-owner.h"
#include "venus-gpu.h"

/* What the shader writes. */
#define MARK 0xbadc0de5u
/* Passes over the target: some minutes, if nobody ends it. */
#define MANY_PASSES 200000u
#define MANY_SPINS 0xffffffffu
/* How long the attack is watched. */
#define ATTACK_MS 15000

enum stage { STARTED, GIVEN, ATTACKING, DONE };

/* How the hostile program gives its pages back, and what its shader does then. */
enum attack { SUBMIT_LATER, SHADER_AT_GATE, SHADER_HAMMERS };

/**
 * struct control - what the processes of one test share
 * @pages: those who get the pages; its stage is an enum stage
 * @close: close the registration first, by a raw ioctl
 * @how: the attack
 */
struct control {
	struct next_owner pages;
	bool close;
	enum attack how;
};

static struct control *make_control(void)
{
	return shared_memory(sizeof(struct control));
}

/* ---- the hostile program --------------------------------------------------- */

/**
 * struct hostile - the program
 * @control: shared with the test
 * @gpu: its Vulkan
 * @gate: where its shader waits
 * @target: the memory that it gives back
 * @buffer: @target
 * @seen: what its shader has read
 * @job: what was submitted before
 */
struct hostile {
	struct control *control;
	struct gpu gpu;
	struct gate gate;
	uint32_t *target;
	struct vkc_buffer buffer;
	struct vkc_buffer seen;
	struct vkc_job job;
};

static VkResult hammer_once(struct hostile *self)
{
	struct vkc_dispatch dispatch = gpu_hammer(&self->gpu, &self->buffer, &self->seen, MARK, 1);

	return vkc_run(&self->gpu.vkc, &dispatch, 1);
}

static int hostile_prepare(struct hostile *self)
{
	struct control *control = self->control;
	size_t i;

	CHECK(gpu_open(&self->gpu, false) == VK_SUCCESS);
	CHECK(gate_make(&self->gpu, &self->gate) == VK_SUCCESS);
	self->target = mmap(NULL, TARGET_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	CHECK(self->target != MAP_FAILED);
	memset(self->target, 0x11, TARGET_BYTES);
	CHECK(!vkc_buffer_import(&self->gpu.vkc, self->target, TARGET_BYTES, &self->buffer));
	CHECK(!vkc_buffer_import(&self->gpu.vkc, control->pages.seen, TARGET_BYTES, &self->seen));
	CHECK(!next_owner_note(&control->pages, self->target));
	/* The weapon works: it reads all of the target and writes all of it. */
	CHECK(!hammer_once(self));
	for (i = 0; i < TARGET_BYTES / 4; i++)
		CHECK(self->target[i] == MARK && control->pages.seen[i] == 0x11111111);
	memset(control->pages.seen, 0, TARGET_BYTES);
	return 0;
}

/* Starts the shader that will outlive the program's hold on the pages. */
static int hostile_start(struct hostile *self)
{
	const volatile uint32_t *last = &self->target[TARGET_BYTES / 4 - 1];
	struct vkc_dispatch dispatches[2];
	uint64_t end = vg_now_us() + LONG_MS * 1000ull;

	dispatches[0] = gate_dispatch(&self->gpu, &self->gate, 1);
	dispatches[0].push[1] = MANY_SPINS;
	dispatches[1] = gpu_hammer(&self->gpu, &self->buffer, &self->seen, MARK, MANY_PASSES);
	if (self->control->how == SHADER_AT_GATE) {
		CHECK(!vkc_submit(&self->gpu.vkc, dispatches, 2, &self->job));
		CHECK(!gate_await(&self->gate, 1));
	}
	if (self->control->how == SHADER_HAMMERS) {
		memset(self->target, 0, TARGET_BYTES);
		CHECK(!vkc_submit(&self->gpu.vkc, &dispatches[1], 1, &self->job));
		while (*last != MARK) {
			CHECK(vg_now_us() < end);
			poll_pause();
		}
	}
	return 0;
}

static int hostile_give(struct hostile *self)
{
	struct venus_registration registration;

	if (self->control->close) {
		CHECK(!venus_find(self->target, TARGET_BYTES, &registration));
		CHECK(!vg_bo_close(registration.fd, registration.handle));
	}
	CHECK(!munmap(self->target, TARGET_BYTES));
	return 0;
}

static int hostile(void *control)
{
	struct hostile self = { .control = control };

	if (hostile_prepare(&self) || hostile_start(&self) || hostile_give(&self))
		return 1;
	atomic_store(&self.control->pages.stage, GIVEN);
	CHECK(!await_word(&self.control->pages.attack, 1, 2 * LONG_MS));
	atomic_store(&self.control->pages.stage, ATTACKING);
	if (self.control->how == SHADER_AT_GATE)
		gate_pass(&self.gate, 1);
	if (self.control->how == SUBMIT_LATER)
		hammer_once(&self);
	else
		vkc_wait(&self.gpu.vkc, &self.job, LONG_MS);
	atomic_store(&self.control->pages.stage, DONE);
	/* Whatever is left of it, it keeps until it is killed. */
	for (;;)
		pause();
}

/* ---- the tests ------------------------------------------------------------- */

FIXTURE(hostile)
{
	struct session session;
	struct control *control;
};

FIXTURE_VARIANT(hostile)
{
	bool close;
	enum attack how;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(hostile, closes_and_submits) { .close = true, .how = SUBMIT_LATER };
FIXTURE_VARIANT_ADD(hostile, unmaps_and_submits) { .close = false, .how = SUBMIT_LATER };
FIXTURE_VARIANT_ADD(hostile, closes_with_shader_at_gate) { .close = true, .how = SHADER_AT_GATE };
FIXTURE_VARIANT_ADD(hostile, unmaps_with_shader_at_gate) { .close = false, .how = SHADER_AT_GATE };
FIXTURE_VARIANT_ADD(hostile, closes_under_shader) { .close = true, .how = SHADER_HAMMERS };
FIXTURE_VARIANT_ADD(hostile, unmaps_under_shader) { .close = false, .how = SHADER_HAMMERS };
/* clang-format on */

FIXTURE_SETUP(hostile)
{
	ASSERT_EQ(0, session_begin(&self->session));
	if (!self->session.virtio)
		SKIP(return, "no virtio-gpu device with userptr resources");
	self->control = make_control();
	ASSERT_NE(NULL, self->control);
	self->control->close = variant->close;
	self->control->how = variant->how;
}

FIXTURE_TEARDOWN(hostile)
{
	EXPECT_EQ(0, session_settled(&self->session));
}

/* Until the attack is over, in whatever way, or was watched long enough. */
static void watch(struct control *control, pid_t pid)
{
	uint64_t end = vg_now_us() + ATTACK_MS * 1000ull;
	siginfo_t info;

	while (atomic_load(&control->pages.stage) < DONE && vg_now_us() < end) {
		info.si_pid = 0;
		if (!waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid)
			return;
		poll_pause();
	}
}

TEST_F_TIMEOUT(hostile, never_reaches_the_next_owner, 600)
{
	struct control *control = self->control;
	pid_t pid, owners[NEXT_OWNERS];

	pid = run_child(hostile, control);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, await_word(&control->pages.stage, GIVEN, LONG_MS));
	/* The target's pages are given up; what else it has imported may stay. */
	ASSERT_EQ(0, wait_pins_at_most(self->session.pins + TARGET_PAGES + 1, LONG_MS));
	ASSERT_EQ(0, next_owner_take(&control->pages, owners, LONG_MS));
	TH_LOG("%u of %lu frames have new owners", atomic_load(&control->pages.owned),
	       TARGET_PAGES);
	atomic_store(&control->pages.attack, 1);
	ASSERT_EQ(0, await_word(&control->pages.stage, ATTACKING, SETTLE_MS));
	watch(control, pid);
	TH_LOG("the attack %s",
	       atomic_load(&control->pages.stage) == DONE ? "returned" : "did not return");

	EXPECT_EQ(0, next_owner_check(&control->pages, owners));
	EXPECT_EQ(0, next_owner_leaked(&control->pages));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(0, next_owner_leaked(&control->pages));
}

/* ---- programs that end, or have little ------------------------------------- */

#define LIMIT_BYTES MIB(4)

FIXTURE(user)
{
	struct session session;
	struct control *control;
};

FIXTURE_SETUP(user)
{
	ASSERT_EQ(0, session_begin(&self->session));
	if (!self->session.virtio)
		SKIP(return, "no virtio-gpu device with userptr resources");
	ASSERT_EQ(0, chmod(self->session.node, 0666));
	self->control = make_control();
	ASSERT_NE(NULL, self->control);
}

FIXTURE_TEARDOWN(user)
{
	EXPECT_EQ(0, session_settled(&self->session));
}

/* As much as the limit allows, to the page: the gate is a page of it. */
static int import_to_the_limit(struct gpu *gpu, struct gate *gate, struct vkc_buffer *buffer)
{
	void *addr = aligned_alloc(PAGE, LIMIT_BYTES - PAGE);
	VkResult ret;

	if (!addr)
		return -ENOMEM;
	memset(addr, 0, LIMIT_BYTES - PAGE);
	if (gate_make(gpu, gate))
		return -EAGAIN;
	ret = vkc_buffer_import(&gpu->vkc, addr, LIMIT_BYTES - PAGE, buffer);
	if (ret) {
		gate_free(gpu, gate);
		free(addr);
	}
	return ret ? -EAGAIN : 0;
}

/* Runs a shader that nobody will let through, at the limit, until it is killed. */
static int user_to_be_killed(void *opaque)
{
	struct control *control = opaque;
	struct vkc_dispatch dispatches[2];
	struct vkc_buffer buffer;
	struct vkc_job job;
	struct gate gate;
	struct gpu gpu;

	CHECK(!become_user(6001, LIMIT_BYTES));
	CHECK(!gpu_open(&gpu, false));
	CHECK(!import_to_the_limit(&gpu, &gate, &buffer));
	dispatches[0] = gate_dispatch(&gpu, &gate, 1);
	dispatches[0].push[1] = MANY_SPINS;
	dispatches[1] = gpu_work(&gpu, VKC_FILL, NULL, &buffer, 1);
	CHECK(!vkc_submit(&gpu.vkc, dispatches, 2, &job));
	CHECK(!gate_await(&gate, 1));
	atomic_store(&control->pages.stage, GIVEN);
	for (;;)
		pause();
}

/* The same user has all of the limit again, as soon as the device has let go. */
static int user_after(void *opaque)
{
	uint64_t end = vg_now_us() + LONG_MS * 1000ull;
	struct vkc_buffer buffer;
	struct gate gate;
	struct gpu gpu;
	int ret;

	CHECK(!become_user(6001, LIMIT_BYTES));
	CHECK(!gpu_open(&gpu, false));
	while ((ret = import_to_the_limit(&gpu, &gate, &buffer)) == -EAGAIN) {
		CHECK(vg_now_us() < end);
		poll_pause();
	}
	CHECK(!ret);
	CHECK(!gpu_run(&gpu, VKC_FILL, NULL, &buffer, 1));
	vkc_buffer_free(&gpu.vkc, &buffer);
	gate_free(&gpu, &gate);
	gpu_close(&gpu);
	return 0;
}

TEST_F_TIMEOUT(user, killed_while_a_shader_runs, 400)
{
	int status;
	pid_t pid;

	pid = run_child(user_to_be_killed, self->control);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, await_word(&self->control->pages.stage, GIVEN, LONG_MS));
	EXPECT_LE(LIMIT_BYTES / PAGE, pins_outstanding() - self->session.pins);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(0, wait_child(pid, LONG_MS, &status));
	pid = run_child(user_after, NULL);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, wait_child(pid, 2 * LONG_MS, &status));
	EXPECT_EQ(0, status);
}

static int user_beyond_the_limit(void *opaque)
{
	struct vkc_buffer buffer;
	struct gate gate;
	struct gpu gpu;
	void *addr = aligned_alloc(PAGE, LIMIT_BYTES + PAGE);
	VkResult ret;

	CHECK(addr);
	memset(addr, 0, LIMIT_BYTES + PAGE);
	CHECK(!become_user(6002, LIMIT_BYTES));
	CHECK(!gpu_open(&gpu, false));
	ret = vkc_buffer_import(&gpu.vkc, addr, LIMIT_BYTES + PAGE, &buffer);
	if (ret != VK_ERROR_OUT_OF_HOST_MEMORY && ret != VK_ERROR_OUT_OF_DEVICE_MEMORY)
		fprintf(stderr, "# beyond RLIMIT_MEMLOCK: %s\n", vkc_result(ret));
	CHECK(ret == VK_ERROR_OUT_OF_HOST_MEMORY || ret == VK_ERROR_OUT_OF_DEVICE_MEMORY);
	CHECK(!import_to_the_limit(&gpu, &gate, &buffer));
	CHECK(!gpu_run(&gpu, VKC_FILL, NULL, &buffer, 1));
	vkc_buffer_free(&gpu.vkc, &buffer);
	gate_free(&gpu, &gate);
	gpu_close(&gpu);
	return 0;
}

TEST_F_TIMEOUT(user, has_a_limit_of_locked_memory, 300)
{
	pid_t pid = run_child(user_beyond_the_limit, NULL);
	int status;

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, wait_child(pid, LONG_MS, &status));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
