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
#include "venus-session.h"

#define TARGET_PAGES 256ul
#define TARGET_BYTES (TARGET_PAGES * PAGE)
/* What the shader writes, and what the victims keep: the high half of a word. */
#define MARK 0xbadc0de5u
#define SECRET 0x5ec70000u
#define SECRET_MASK 0xffff0000u
/* Passes over the target: some minutes, if nobody ends it. */
#define MANY_PASSES 200000u
#define MANY_SPINS 0xffffffffu
/* How long the attack is watched. */
#define ATTACK_MS 15000
#define VICTIMS 2
#define VICTIM_BLOCK MIB(4)
#define VICTIM_BLOCKS 256
#define ENOUGH_FRAMES 64
#define SPARE_KIB (96 * 1024)

/* In a child there is no harness: say what went wrong, and fail. */
#define CHECK(condition)                                                                 \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "# child, line %d: %s\n", __LINE__, #condition); \
			return 1;                                                        \
		}                                                                        \
	} while (0)

enum stage { STARTED, GIVEN, ATTACKING, DONE };

/* How the hostile program gives its pages back, and what its shader does then. */
enum attack { SUBMIT_LATER, SHADER_AT_GATE, SHADER_HAMMERS };

/**
 * struct control - what the processes of one test share
 * @stage: of the hostile program, enum stage
 * @attack: go on to ATTACKING
 * @verify: victims: look at your memory and end
 * @ready: victims that have their memory
 * @owned: frames of the target that they have
 * @close: close the registration first, by a raw ioctl
 * @how: the attack
 * @frames: of the target, sorted
 * @seen: words that the shader has read in the target
 */
struct control {
	_Atomic uint32_t stage;
	_Atomic uint32_t attack;
	_Atomic uint32_t verify;
	_Atomic uint32_t ready;
	_Atomic uint32_t owned;
	bool close;
	enum attack how;
	uint64_t frames[TARGET_PAGES];
	uint32_t seen[TARGET_BYTES / 4] __attribute__((aligned(PAGE)));
};

static void pause_briefly(void)
{
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };

	nanosleep(&pause, NULL);
}

/* For memory that processes share there is nothing to wait on but looking. */
static int await_word(const _Atomic uint32_t *word, uint32_t least, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (atomic_load(word) < least) {
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
	return 0;
}

static struct control *make_control(void)
{
	void *addr = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

static int by_number(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static int read_frames(const void *addr, size_t pages, uint64_t *frames)
{
	ssize_t got;
	size_t i;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = pread(fd, frames, pages * 8, (uintptr_t)addr / PAGE * 8);
	close(fd);
	if (got != (ssize_t)(pages * 8))
		return -EIO;
	for (i = 0; i < pages; i++)
		frames[i] &= (1ull << 55) - 1;
	return frames[0] ? 0 : -EPERM;
}

/* ---- the hostile program --------------------------------------------------- */

/**
 * struct hostile - the program
 * @control: shared with the test
 * @gpu: its Vulkan
 * @gate: where its shader waits
 * @target: the memory that it gives back
 * @buffer: @target
 * @seen: control->seen
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
	CHECK(!vkc_buffer_import(&self->gpu.vkc, control->seen, TARGET_BYTES, &self->seen));
	CHECK(!read_frames(self->target, TARGET_PAGES, control->frames));
	qsort(control->frames, TARGET_PAGES, sizeof(control->frames[0]), by_number);
	/* The weapon works: it reads all of the target and writes all of it. */
	CHECK(!hammer_once(self));
	for (i = 0; i < TARGET_BYTES / 4; i++)
		CHECK(self->target[i] == MARK && control->seen[i] == 0x11111111);
	memset(control->seen, 0, TARGET_BYTES);
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
			pause_briefly();
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
	atomic_store(&self.control->stage, GIVEN);
	CHECK(!await_word(&self.control->attack, 1, 2 * LONG_MS));
	atomic_store(&self.control->stage, ATTACKING);
	if (self.control->how == SHADER_AT_GATE)
		gate_pass(&self.gate, 1);
	if (self.control->how == SUBMIT_LATER)
		hammer_once(&self);
	else
		vkc_wait(&self.gpu.vkc, &self.job, LONG_MS);
	atomic_store(&self.control->stage, DONE);
	/* Whatever is left of it, it keeps until it is killed. */
	for (;;)
		pause();
}

/* ---- those who get the pages ----------------------------------------------- */

static uint32_t secret(size_t i)
{
	return SECRET | (i & ~SECRET_MASK);
}

/* Takes a block of memory, and counts the frames of the target in it. */
static uint32_t *victim_take(struct control *control)
{
	uint64_t frames[VICTIM_BLOCK / PAGE];
	uint32_t *block;
	size_t i;

	block = mmap(NULL, VICTIM_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (block == MAP_FAILED)
		return NULL;
	/* Single pages, as those of the target are. */
	madvise(block, VICTIM_BLOCK, MADV_NOHUGEPAGE);
	for (i = 0; i < VICTIM_BLOCK / 4; i++)
		block[i] = secret(i);
	if (read_frames(block, VICTIM_BLOCK / PAGE, frames))
		return NULL;
	for (i = 0; i < VICTIM_BLOCK / PAGE; i++) {
		if (bsearch(&frames[i], control->frames, TARGET_PAGES, sizeof(frames[0]),
			    by_number))
			atomic_fetch_add(&control->owned, 1);
	}
	return block;
}

static int victim(void *opaque)
{
	struct control *control = opaque;
	uint32_t *blocks[VICTIM_BLOCKS];
	size_t nr = 0, b, i;

	while (nr < VICTIM_BLOCKS && atomic_load(&control->owned) < ENOUGH_FRAMES &&
	       read_counter("/proc/meminfo", "MemAvailable:") > SPARE_KIB) {
		blocks[nr] = victim_take(control);
		CHECK(blocks[nr]);
		nr++;
	}
	atomic_fetch_add(&control->ready, 1);
	CHECK(!await_word(&control->verify, 1, 2 * LONG_MS));
	for (b = 0; b < nr; b++) {
		for (i = 0; i < VICTIM_BLOCK / 4; i++)
			CHECK(blocks[b][i] == secret(i));
	}
	return 0;
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

static int wait_pins_at_most(long pins, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (pins_outstanding() > pins) {
		if (vg_now_us() > end)
			return -ETIME;
		pause_briefly();
	}
	return 0;
}

/* Until the attack is over, in whatever way, or was watched long enough. */
static void watch(struct control *control, pid_t pid)
{
	uint64_t end = vg_now_us() + ATTACK_MS * 1000ull;
	siginfo_t info;

	while (atomic_load(&control->stage) < DONE && vg_now_us() < end) {
		info.si_pid = 0;
		if (!waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid)
			return;
		pause_briefly();
	}
}

static long words_leaked(const struct control *control)
{
	long leaked = 0;
	size_t i;

	for (i = 0; i < TARGET_BYTES / 4; i++)
		leaked += (control->seen[i] & SECRET_MASK) == SECRET;
	return leaked;
}

TEST_F_TIMEOUT(hostile, never_reaches_the_next_owner, 600)
{
	struct control *control = self->control;
	pid_t pid, victims[VICTIMS];
	int i;

	pid = run_child(hostile, control);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, await_word(&control->stage, GIVEN, LONG_MS));
	/* The target's pages are given up; what else it has imported may stay. */
	ASSERT_EQ(0, wait_pins_at_most(self->session.pins + TARGET_PAGES + 1, LONG_MS));
	for (i = 0; i < VICTIMS; i++) {
		victims[i] = run_child(victim, control);
		ASSERT_LT(0, victims[i]);
	}
	ASSERT_EQ(0, await_word(&control->ready, VICTIMS, LONG_MS));
	TH_LOG("%u of %lu frames have new owners", atomic_load(&control->owned), TARGET_PAGES);
	EXPECT_LT(0, atomic_load(&control->owned));
	atomic_store(&control->attack, 1);
	ASSERT_EQ(0, await_word(&control->stage, ATTACKING, SETTLE_MS));
	watch(control, pid);
	TH_LOG("the attack %s",
	       atomic_load(&control->stage) == DONE ? "returned" : "did not return");

	atomic_store(&control->verify, 1);
	for (i = 0; i < VICTIMS; i++)
		EXPECT_EQ(0, child_result(victims[i]));
	EXPECT_EQ(0, words_leaked(control));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(0, words_leaked(control));
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
	atomic_store(&control->stage, GIVEN);
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
		pause_briefly();
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
	ASSERT_EQ(0, await_word(&self->control->stage, GIVEN, LONG_MS));
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
