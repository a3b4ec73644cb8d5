// SPDX-License-Identifier: MIT
/*
 * userptr-lifecycle-test: driver, device and guest come and go
 *
 * What User-Mode Linux has not: the driver as a module that is unloaded, a
 * device on a PCI bus that it is unbound from, a guest that is shut down, and a
 * device process that is stopped altogether.  A guest that sleeps is in
 * userptr-sleep-test.  Runs in the guest, as root, with one device.
 *
 * Invariant: see userptr-test-session.h.  Every test that takes the driver or
 * the device away brings it back.
 */
#include <fcntl.h>
#include <limits.h>
#include <libgen.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/userptr-test-session.h"

#define MODULE "virtio_gpu"
#define MODULE_FILE "/modules/virtio_gpu.ko"
#define PCI_DRIVER "/sys/bus/pci/drivers/virtio-pci/"
/* What must not wait for the device takes no longer than this. */
#define BOUND_US 5000000
#define PAGES 64

FIXTURE(lifecycle)
{
	struct session session;
	struct region region;
	/* Of the device on the PCI bus. */
	char address[32];
};

/* The PCI device that the render node belongs to. */
static int pci_address(const char *node, char *address, size_t len)
{
	char link[64], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/class/drm/renderD%d/device", node_minor(node));
	if (!realpath(link, path))
		return -errno;
	/* Up from the virtio device, should the node be below that. */
	if (!strncmp(basename(path), "virtio", 6))
		*strrchr(path, '/') = '\0';
	snprintf(address, len, "%s", basename(path));
	return 0;
}

FIXTURE_SETUP(lifecycle)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	ASSERT_EQ(0, pci_address(self->session.node, self->address, sizeof(self->address)));
	ASSERT_EQ(0, region_scattered(&self->region, PAGES));
	region_fill(&self->region, 33);
}

FIXTURE_TEARDOWN(lifecycle)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

/* The node is made by the kernel's own thread. */
static int wait_node(const char *node, bool there)
{
	const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;

	while (!access(node, F_OK) != there) {
		if (vg_now_us() > end)
			return -ETIME;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A new context, on whatever device is there now, in the place of the old. */
static void reopen(struct __test_metadata *_metadata, struct session *session)
{
	ASSERT_EQ(0, wait_node(session->node, true));
	ASSERT_EQ(0, vg_open(&session->vg, session->node, 1));
}

/* Registered, seen by the host, written by the host, and closed again. */
static void use(struct __test_metadata *_metadata, struct session *session,
		const struct region *region)
{
	struct vg_bo bo;

	ASSERT_EQ(0, create(session, region, 0, &bo));
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	EXPECT_EQ(0, vg_fill(&session->vg, bo.res, PAGE - 1, 2, 0x5a));
	EXPECT_EQ(0x5a, region->addr[PAGE]);
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

static void expect_unpinned(struct __test_metadata *_metadata, struct session *session)
{
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins, pins_outstanding());
}

/* Commands that the driver waits for: done, and never answered from now on. */
static int never_answer(struct session *session, uint32_t command)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DROP,
		.command = command,
		.count = 1000000,
	};

	return vg_inject(&session->vg, &fault);
}

/* ---- the module ----------------------------------------------------------- */

static int unload(void)
{
	return syscall(SYS_delete_module, MODULE, O_NONBLOCK) ? -errno : 0;
}

static int load(void)
{
	int fd = open(MODULE_FILE, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0))
		ret = -errno;
	close(fd);
	return ret;
}

/* Until a device that was closed has let go of the module. */
static int unload_when_idle(void)
{
	const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	int ret;

	while ((ret = unload()) == -EAGAIN && vg_now_us() < end)
		nanosleep(&pause, NULL);
	return ret;
}

TEST_F_TIMEOUT(lifecycle, module_unloaded_and_loaded, 120)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct vg_bo bo;
	int i;

	for (i = 0; i < 3; i++) {
		use(_metadata, session, region);
		ASSERT_EQ(0, create(session, region, 0, &bo));
		/* delete_module()'s way to say that it is busy. */
		EXPECT_EQ(-EAGAIN, unload());
		EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
		/* The file goes first: the registration is still being released. */
		vg_close(&session->vg);
		ASSERT_EQ(0, unload_when_idle());
		expect_unpinned(_metadata, session);
		EXPECT_EQ(0, wait_node(session->node, false));
		ASSERT_EQ(0, load());
		reopen(_metadata, session);
	}
	use(_metadata, session, region);
}

TEST_F_TIMEOUT(lifecycle, module_unloaded_before_the_release_is_answered, 120)
{
	struct session *session = &self->session;
	uint64_t started;
	struct vg_bo bo;

	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	ASSERT_EQ(0, never_answer(session, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR));
	vg_close(&session->vg);
	started = vg_now_us();
	ASSERT_EQ(0, unload_when_idle());
	EXPECT_GT(BOUND_US, vg_now_us() - started);
	expect_unpinned(_metadata, session);
	ASSERT_EQ(0, load());
	reopen(_metadata, session);
	use(_metadata, session, &self->region);
}

/* ---- the PCI bus ------------------------------------------------------------ */

TEST_F_TIMEOUT(lifecycle, pci_unbound_and_bound, 120)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct drm_virtgpu_userptr_info info;
	struct vg_bo bo, other;
	uint64_t started;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, create(session, region, 0, &bo));
		ASSERT_EQ(0, create(session, region, VIRTGPU_USERPTR_RDONLY, &other));
		started = vg_now_us();
		ASSERT_EQ(0, write_file(PCI_DRIVER "unbind", self->address));
		EXPECT_GT(BOUND_US, vg_now_us() - started);
		expect_unpinned(_metadata, session);
		EXPECT_EQ(-ENODEV, create(session, region, 0, &other));
		EXPECT_EQ(-ENODEV, vg_userptr_info(session->vg.fd, bo.handle, &info));
		vg_close(&session->vg);
		ASSERT_EQ(0, write_file(PCI_DRIVER "bind", self->address));
		reopen(_metadata, session);
		use(_metadata, session, region);
	}
}

/* ---- processes that are killed ------------------------------------------------ */

static int create_for_ever(void *opaque)
{
	struct region region;
	struct vg_bo bo;
	struct vg vg;

	CHECK(!region_scattered(&region, 8 * PAGES));
	CHECK(!vg_open(&vg, opaque, 1));
	for (;;) {
		CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo));
		CHECK(!vg_bo_close(vg.fd, bo.handle));
	}
}

/* At any point of it, in its first registration or a later one. */
TEST_F_TIMEOUT(lifecycle, creators_killed_in_a_loop, 300)
{
	const char *text = getenv("USERPTR_SEED");
	unsigned int seed = text ? strtoul(text, NULL, 10) : (unsigned int)time(NULL);
	struct session *session = &self->session;
	struct timespec pause = { 0 };
	struct loopback_stats before, delta;
	int i;
	pid_t pid;

	printf("# seed %u\n", seed);
	for (i = 0; i < 60; i++) {
		ASSERT_EQ(0, vg_stats(&session->vg, &before));
		pid = run_child(create_for_ever, (void *)session->node);
		ASSERT_LT(0, pid);
		do {
			ASSERT_EQ(0, vg_stats(&session->vg, &delta));
			ASSERT_EQ(0, waitpid(pid, NULL, WNOHANG));
		} while (delta.userptr_commands == before.userptr_commands);
		/* Not waiting for anything: a random time is the point. */
		pause.tv_nsec = rand_r(&seed) % 20000000;
		nanosleep(&pause, NULL);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(-SIGKILL, child_result(pid));
	}
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	use(_metadata, session, &self->region);
}

/* ---- a device that never answers ----------------------------------------------- */

struct silent {
	const char *node;
	int ready[2];
};

static int register_and_wait(void *opaque)
{
	struct silent *arg = opaque;
	struct region region;
	struct vg_bo bo;
	struct vg vg;

	CHECK(!region_scattered(&region, PAGES));
	CHECK(!vg_open(&vg, arg->node, 1));
	CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo));
	CHECK(write(arg->ready[1], "1", 1) == 1);
	for (;;)
		pause();
}

static int register_in_vain(void *opaque)
{
	struct silent *arg = opaque;
	struct region region;
	struct vg_bo bo;
	int fd;

	CHECK(!region_scattered(&region, PAGES));
	fd = vg_open_node(arg->node);
	CHECK(fd >= 0);
	CHECK(!vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	CHECK(write(arg->ready[1], "1", 1) == 1);
	vg_userptr_create(fd, region.addr, region.size, 0, &bo);
	return 99;
}

/* Memory that the device has nothing to do with, and then the end. */
static int bystander(void *opaque)
{
	struct region region;

	CHECK(!region_alloc(&region, 1024));
	region_free(&region);
	return 0;
}

static pid_t start_one(struct __test_metadata *_metadata, int (*body)(void *), struct silent *arg)
{
	pid_t pid = run_child(body, arg);
	char token;

	ASSERT_LT(0, pid);
	ASSERT_EQ(1, read(arg->ready[0], &token, 1));
	return pid;
}

static void expect_killable(struct __test_metadata *_metadata, pid_t pid)
{
	uint64_t started = vg_now_us();

	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(-SIGKILL, child_result(pid));
	EXPECT_GT(BOUND_US, vg_now_us() - started)
	{
		TH_LOG("it took %lu us", vg_now_us() - started);
	}
}

/* Nothing else in the guest may wait for the device. */
static void expect_alive(struct __test_metadata *_metadata, struct region *region)
{
	uint64_t started = vg_now_us();

	EXPECT_EQ(0, munmap(region->addr, region->size / 2));
	EXPECT_EQ(0, child_result(run_child(bystander, NULL)));
	EXPECT_GT(BOUND_US, vg_now_us() - started)
	{
		TH_LOG("it took %lu us", vg_now_us() - started);
	}
}

/* The device process is stopped: not even the ring is emptied. */
TEST_F_TIMEOUT(lifecycle, device_stopped, 120)
{
	struct silent arg = { .node = self->session.node };
	struct session *session = &self->session;
	pid_t owner, creator;
	struct vg_bo bo;
	uint64_t started;

	ASSERT_EQ(0, pipe(arg.ready));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	owner = start_one(_metadata, register_and_wait, &arg);
	ASSERT_EQ(0, ask_host("pause-device 0"));
	creator = start_one(_metadata, register_in_vain, &arg);
	expect_alive(_metadata, &self->region);
	started = vg_now_us();
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_GT(BOUND_US, vg_now_us() - started);
	expect_killable(_metadata, owner);
	expect_killable(_metadata, creator);
	/* All three are gone, and their memory is the device's until it answers. */
	EXPECT_LE(session->pins + 2 * PAGES, pins_outstanding());
	ASSERT_EQ(0, ask_host("resume-device 0"));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	region_free(&self->region);
	ASSERT_EQ(0, region_scattered(&self->region, PAGES));
	use(_metadata, session, &self->region);
}

/* It works, but of userptr commands the driver never hears again. */
TEST_F_TIMEOUT(lifecycle, unbound_from_a_device_that_never_answers, 120)
{
	struct silent arg = { .node = self->session.node };
	struct session *session = &self->session;
	pid_t owner, creator;
	uint64_t started;

	ASSERT_EQ(0, pipe(arg.ready));
	owner = start_one(_metadata, register_and_wait, &arg);
	ASSERT_EQ(0, never_answer(session, 0));
	creator = start_one(_metadata, register_in_vain, &arg);
	expect_alive(_metadata, &self->region);
	expect_killable(_metadata, owner);
	EXPECT_LE(session->pins + PAGES, pins_outstanding());
	started = vg_now_us();
	ASSERT_EQ(0, write_file(PCI_DRIVER "unbind", self->address));
	EXPECT_GT(BOUND_US, vg_now_us() - started)
	{
		TH_LOG("it took %lu us", vg_now_us() - started);
	}
	/* The creation fails, and that process ends by itself. */
	EXPECT_EQ(99, child_result(creator));
	EXPECT_EQ(session->pins, pins_outstanding());
	vg_close(&session->vg);
	ASSERT_EQ(0, write_file(PCI_DRIVER "bind", self->address));
	reopen(_metadata, session);
	region_free(&self->region);
	ASSERT_EQ(0, region_scattered(&self->region, PAGES));
	use(_metadata, session, &self->region);
}

/* ---- the guest is shut down ------------------------------------------------------ */

FIXTURE(shutdown)
{
	const char *node;
};

FIXTURE_SETUP(shutdown)
{
	self->node = device_node("MAIN");
	if (!self->node)
		SKIP(return, "no device \"MAIN\" in this run");
}

FIXTURE_TEARDOWN(shutdown)
{
}

/*
 * In a run of its own, as the last thing in it: leaves a process behind that
 * has memory registered when the guest is shut down.
 */
TEST_F(shutdown, with_a_live_registration)
{
	struct silent arg = { .node = self->node };
	char token;
	pid_t pid;

	ASSERT_EQ(0, pipe(arg.ready));
	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		setsid();
		close(arg.ready[0]);
		_exit(register_and_wait(&arg));
	}
	close(arg.ready[1]);
	/* The pipe ends without a byte if that process fails. */
	EXPECT_EQ(1, read(arg.ready[0], &token, 1));
	EXPECT_EQ(0, kill(pid, 0));
}

TEST_HARNESS_MAIN
