// SPDX-License-Identifier: MIT
/*
 * userptr-sleep-test: a guest that sleeps with registered memory
 *
 * A device that sleeps is reset, and has forgotten all resources when it wakes
 * up.  So they are revoked before, which their owners are told, and a file that
 * is opened afterwards can register again.  Runs in the guest, as root, with one
 * device, behind QEMU.
 *
 *	USERPTR_WAKE=rtc	its own clock wakes the guest; otherwise scripts/qemu-run
 *				does, if it can
 *
 * Invariant: see userptr-test-session.h.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "lib/userptr-test-session.h"

#define PM_TEST "/sys/power/pm_test"
#define PM_TEST_DELAY "/sys/module/suspend/parameters/pm_test_delay"
#define PM_STATE "/sys/power/state"
#define MEM_SLEEP "/sys/power/mem_sleep"
#define WAKE_ALARM "/sys/class/rtc/rtc0/wakealarm"
/* Of QEMU's machine q35: where the registers for power management are. */
#define LPC_CONFIG "/sys/bus/pci/devices/0000:00:1f.0/config"
#define LPC_PMBASE 0x40
/* Enough to fall asleep; an alarm that comes before that is an error. */
#define SLEEP_S "8"
#define PAGES 64
#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED

/* Each way to register. */
static const uint32_t flags[] = {
	0,
	VIRTGPU_USERPTR_RDONLY,
	VIRTGPU_USERPTR_EVENT,
	VIRTGPU_USERPTR_KEEP,
};

#define NR (sizeof(flags) / sizeof(*flags))

FIXTURE(sleep)
{
	struct session session;
	struct region regions[NR];
	struct vg_bo bos[NR];
};

#define SELF FIXTURE_DATA(sleep)

FIXTURE_SETUP(sleep)
{
	memset(self->regions, 0, sizeof(self->regions));
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	ASSERT_EQ(0, access(PM_TEST, W_OK))
	{
		TH_LOG("a kernel with CONFIG_PM_DEBUG is needed");
	}
	/* How long it stays there in a test. */
	ASSERT_EQ(0, write_file(PM_TEST_DELAY, "1"));
}

FIXTURE_TEARDOWN(sleep)
{
	size_t i;

	if (!self->session.node)
		return;
	EXPECT_EQ(0, write_file(PM_TEST, "none"));
	session_end(_metadata, &self->session);
	for (i = 0; i < NR; i++)
		region_free(&self->regions[i]);
}

static void register_all(struct __test_metadata *_metadata, SELF *self)
{
	size_t i;

	for (i = 0; i < NR; i++) {
		region_free(&self->regions[i]);
		ASSERT_EQ(0, region_scattered(&self->regions[i], PAGES));
		region_fill(&self->regions[i], i);
		ASSERT_EQ(0, create(&self->session, &self->regions[i], flags[i], &self->bos[i]));
	}
}

static uint32_t state_of(SELF *self, size_t i)
{
	struct drm_virtgpu_userptr_info info;

	return vg_userptr_info(self->session.vg.fd, self->bos[i].handle, &info) ? 0 : info.state;
}

/* What @node has to offer to who comes new. */
static void expect_works(struct __test_metadata *_metadata, struct session *session,
			 const struct region *region)
{
	struct vg_bo bo;
	struct vg vg;

	ASSERT_EQ(0, vg_open(&vg, session->node, 1));
	ASSERT_EQ(0, vg_userptr_create(vg.fd, region->addr, region->size, 0, &bo));
	EXPECT_TRUE(same_digest(&vg, bo.res, region->addr, region->size));
	EXPECT_EQ(0, vg_fill(&vg, bo.res, PAGE - 1, 2, 0x5a));
	EXPECT_EQ(0x5a, region->addr[PAGE]);
	EXPECT_EQ(0, vg_bo_close(vg.fd, bo.handle));
	vg_close(&vg);
}

/* The device has been reset: all is given back, and the owner knows it. */
static void expect_released(struct __test_metadata *_metadata, SELF *self)
{
	struct drm_virtgpu_event_userptr event;
	struct session *session = &self->session;
	int fd = session->vg.fd, fence;
	size_t i;

	EXPECT_EQ(0, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins, pins_outstanding());
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(VIRTGPU_USERPTR_STATE_RELEASED, state_of(self, i));
		EXPECT_EQ(0, vg_userptr_wait(fd, self->bos[i].handle, RELEASED, 0));
		EXPECT_EQ(-EFAULT,
			  vg_submit(&session->vg, 0, NULL, 0, &self->bos[i].handle, 1, &fence));
	}
	/* One of them has asked for it. */
	EXPECT_EQ(0, vg_userptr_event(fd, &event, 0));
	EXPECT_EQ(self->bos[2].handle, event.bo_handle);
	EXPECT_EQ(self->bos[2].res, event.res_handle);
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
	expect_works(_metadata, session, &self->regions[0]);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, vg_bo_close(fd, self->bos[i].handle));
}

/*
 * The device was not reset: each is either as before, or taken back in good
 * order; @pages are pinned besides.
 */
static void expect_coherent(struct __test_metadata *_metadata, SELF *self, long pages)
{
	struct session *session = &self->session;
	const struct region *region;
	size_t i;

	for (i = 0; i < NR; i++) {
		region = &self->regions[i];
		region_fill(region, 77 + i);
		if (state_of(self, i) == VIRTGPU_USERPTR_STATE_LIVE) {
			EXPECT_TRUE(same_digest(&session->vg, self->bos[i].res, region->addr,
						region->size));
		} else {
			EXPECT_EQ(0, vg_userptr_wait(session->vg.fd, self->bos[i].handle, RELEASED,
						     SETTLE_MS));
		}
		EXPECT_EQ(0, vg_bo_close(session->vg.fd, self->bos[i].handle));
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", pages * PAGE / 1024, SETTLE_MS));
	/* The file's context is still there. */
	EXPECT_EQ(0, try_create(session, self->regions[0].addr, self->regions[0].size, 0));
	expect_works(_metadata, session, &self->regions[0]);
}

static int arrange_wake_up(void)
{
	const char *wake = getenv("USERPTR_WAKE");
	int ret = -EREMOTEIO;

	if (!wake || strcmp(wake, "rtc"))
		ret = ask_host("wake-when-asleep");
	if (ret == -EREMOTEIO)
		ret = write_file(WAKE_ALARM, "0") ?: write_file(WAKE_ALARM, "+" SLEEP_S);
	return ret;
}

/*
 * Suspend to memory; 0 or a negative errno.  The firmware that comes with QEMU
 * does not put the registers for power management back to their place, without
 * which the guest could not sleep again, nor be switched off.
 */
static int sleep_and_wake(void)
{
	int lpc = open(LPC_CONFIG, O_RDWR | O_CLOEXEC), ret;
	uint8_t place[8];

	if (lpc < 0)
		return -errno;
	ret = pread(lpc, place, sizeof(place), LPC_PMBASE) == sizeof(place) ? 0 : -EIO;
	ret = ret ?: write_file(MEM_SLEEP, "deep");
	ret = ret ?: arrange_wake_up();
	if (!ret) {
		ret = write_file(PM_STATE, "mem");
		if (pwrite(lpc, place, sizeof(place), LPC_PMBASE) != sizeof(place))
			ret = ret ?: -EIO;
	}
	close(lpc);
	return ret;
}

TEST_F_TIMEOUT(sleep, suspend_to_memory, 120)
{
	struct session *session = &self->session;
	int i;

	/* And once more, with what was opened in between. */
	for (i = 0; i < 2; i++) {
		register_all(_metadata, self);
		ASSERT_EQ(0, sleep_and_wake());
		expect_released(_metadata, self);
		vg_close(&session->vg);
		ASSERT_EQ(0, vg_open(&session->vg, session->node, 1));
	}
}

TEST_F_TIMEOUT(sleep, devices_suspended, 120)
{
	ASSERT_EQ(0, write_file(PM_TEST, "devices"));
	register_all(_metadata, self);
	ASSERT_EQ(0, write_file(PM_STATE, "mem"));
	expect_released(_metadata, self);
}

/* With nothing registered there is nothing to it, and then it works as ever. */
TEST_F_TIMEOUT(sleep, nothing_registered, 120)
{
	ASSERT_EQ(0, region_alloc(&self->regions[0], PAGES));
	ASSERT_EQ(0, write_file(PM_TEST, "devices"));
	ASSERT_EQ(0, write_file(PM_STATE, "mem"));
	expect_works(_metadata, &self->session, &self->regions[0]);
}

/* The device was not touched, so nothing was revoked. */
TEST_F_TIMEOUT(sleep, only_processes_frozen, 120)
{
	size_t i;

	ASSERT_EQ(0, write_file(PM_TEST, "freezer"));
	register_all(_metadata, self);
	ASSERT_EQ(0, write_file(PM_STATE, "mem"));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state_of(self, i));
	expect_coherent(_metadata, self, 0);
}

/* What is on its way when the guest wants to sleep: a release, with this fault. */
static void close_one(struct __test_metadata *_metadata, SELF *self, const struct vg_fault *fault)
{
	struct session *session = &self->session;
	struct vg_bo bo;

	ASSERT_EQ(0, create(session, &self->regions[0], 0, &bo));
	ASSERT_EQ(0, vg_inject(&session->vg, fault));
	ASSERT_EQ(0, vg_stats(&session->vg, &session->before));
	ASSERT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	ASSERT_EQ(0, wait_commands(session, session->before.userptr_commands + 1));
}

TEST_F_TIMEOUT(sleep, device_that_answers_late, 120)
{
	const struct vg_fault late = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
		.param = 2000,
	};

	ASSERT_EQ(0, write_file(PM_TEST, "devices"));
	register_all(_metadata, self);
	close_one(_metadata, self, &late);
	ASSERT_EQ(0, write_file(PM_STATE, "mem"));
	expect_released(_metadata, self);
}

/* It is not put to sleep, and all else goes on; what it has, its reset gives back. */
TEST_F_TIMEOUT(sleep, device_that_never_answers, 120)
{
	const struct vg_fault never = {
		.fault = LOOPBACK_FAULT_DROP,
		.command = VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
	};
	struct session *session = &self->session;
	char device[64];
	int ret;

	ASSERT_EQ(0, virtio_device_name(device, sizeof(device)));
	ASSERT_EQ(0, write_file(PM_TEST, "devices"));
	register_all(_metadata, self);
	close_one(_metadata, self, &never);
	ret = write_file(PM_STATE, "mem");
	EXPECT_GT(0, ret);
	TH_LOG("suspend: %s", strerror(-ret));
	/* Neighbours that came by chance are pages of it as well. */
	expect_coherent(_metadata, self, self->regions[0].size / PAGE);
	vg_close(&session->vg);
	ASSERT_EQ(0, write_file(VIRTIO_DRIVER "unbind", device));
	EXPECT_EQ(session->pins, pins_outstanding());
	ASSERT_EQ(0, write_file(VIRTIO_DRIVER "bind", device));
	ASSERT_EQ(0, vg_open(&session->vg, session->node, 1));
}

struct creator {
	SELF *self;
	int ret;
};

static void *create_one(void *opaque)
{
	struct creator *creator = opaque;
	SELF *self = creator->self;

	creator->ret = create(&self->session, &self->regions[0], 0, &self->bos[0]);
	return NULL;
}

/* In the first second of its patience, and later, when signals are let in. */
TEST_F_TIMEOUT(sleep, while_one_is_being_registered, 180)
{
	static const unsigned int delays[] = { 300, 2500 };
	struct vg_fault late = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR,
	};
	struct session *session = &self->session;
	struct creator creator = { .self = self };
	pthread_t thread;
	char path[128];
	size_t i;
	int ret;

	debugfs_path(path, sizeof(path), session->node);
	ASSERT_EQ(0, region_scattered(&self->regions[0], PAGES));
	ASSERT_EQ(0, write_file(PM_TEST, "devices"));
	for (i = 0; i < sizeof(delays) / sizeof(*delays); i++) {
		late.param = delays[i];
		ASSERT_EQ(0, vg_inject(&session->vg, &late));
		ASSERT_EQ(0, pthread_create(&thread, NULL, create_one, &creator));
		ASSERT_EQ(0, wait_file_contains(path, "CREATING", SETTLE_MS));
		ret = write_file(PM_STATE, "mem");
		ASSERT_EQ(0, pthread_join(thread, NULL));
		TH_LOG("answer after %u ms: suspend %s, registration %s", delays[i],
		       ret ? strerror(-ret) : "done",
		       creator.ret ? strerror(-creator.ret) : "done");
		/* Made before the device slept: it did not live through that. */
		if (!ret && !creator.ret)
			EXPECT_EQ(VIRTGPU_USERPTR_STATE_RELEASED, state_of(self, 0));
		if (!creator.ret)
			EXPECT_EQ(0, vg_bo_close(session->vg.fd, self->bos[0].handle));
		EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
		vg_close(&session->vg);
		ASSERT_EQ(0, vg_open(&session->vg, session->node, 1));
		expect_works(_metadata, session, &self->regions[0]);
	}
}

/* The driver refuses that for all that have VIRGL, registered memory or not. */
TEST_F_TIMEOUT(sleep, hibernation_is_refused, 60)
{
	size_t i;

	register_all(_metadata, self);
	EXPECT_EQ(-EPERM, write_file(PM_STATE, "disk"));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state_of(self, i));
	expect_coherent(_metadata, self, 0);
}

TEST_HARNESS_MAIN
