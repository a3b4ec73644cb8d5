// SPDX-License-Identifier: MIT
/*
 * userptr-unplug-test: devices that go away with registered memory
 *
 * A device that is unbound from its driver, and one whose process ends: while
 * registrations are alive, being made, being revoked, or waited for.  Runs in the
 * guest, as root.
 *
 * Invariant: see userptr-test-session.h.  The fixtures "unplugged" and "dying"
 * use their device up: a boot of its own each.
 */
#include "lib/userptr-test-session.h"

/* ---- the device is taken away ----------------------------------------------- */

FIXTURE(unplugged)
{
	struct session session;
	struct region region;
	char device[64];
};

FIXTURE_SETUP(unplugged)
{
	memset(&self->region, 0, sizeof(self->region));
	memset(self->device, 0, sizeof(self->device));
	session_begin(_metadata, &self->session, "UNPLUG");
	if (!self->session.node)
		return;
	ASSERT_EQ(0, virtio_device_name(self->device, sizeof(self->device)));
	ASSERT_EQ(0, region_scattered(&self->region, SMALL_SEGMENTS));
}

/* Bound again, the device is as new: the next test's setup sees to that. */
FIXTURE_TEARDOWN(unplugged)
{
	if (!self->session.node)
		return;
	vg_close(&self->session.vg);
	EXPECT_EQ(0, write_file(VIRTIO_DRIVER "bind", self->device));
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

TEST_F(unplugged, with_live_registrations)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	uint8_t before[LOOPBACK_SHA256_SIZE], after[LOOPBACK_SHA256_SIZE];
	struct drm_virtgpu_userptr_info info;
	struct vg_bo bos[3], bo;
	int i;

	region_fill(region, 12);
	ASSERT_EQ(0, sha256(region->addr, region->size, before));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, create(session, region, 0, &bos[i]));
	ASSERT_EQ(0, write_file(VIRTIO_DRIVER "unbind", self->device));
	/* Unbinding resets the device, and that ends its access: all is unpinned. */
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins, pins_outstanding());
	EXPECT_EQ(-ENODEV, create(session, region, 0, &bo));
	EXPECT_EQ(-ENODEV, vg_userptr_info(session->vg.fd, bos[0].handle, &info));
	ASSERT_EQ(0, sha256(region->addr, region->size, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
}

TEST_F(unplugged, with_a_release_that_is_never_answered)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DROP,
		.command = VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
	};
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct loopback_stats stats;
	struct vg_bo bo;
	int i;

	ASSERT_EQ(0, create(session, region, 0, &bo));
	ASSERT_EQ(0, vg_inject(&session->vg, &fault));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	/* The device is alive and answers everything else, but never that. */
	for (i = 0; i < 50; i++)
		ASSERT_EQ(0, vg_stats(&session->vg, &stats));
	EXPECT_EQ((long)(region->size / 1024), vg_status_kib("VmPin"));
	ASSERT_EQ(0, write_file(VIRTIO_DRIVER "unbind", self->device));
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins, pins_outstanding());
}

TEST_F(unplugged, during_revocation)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DROP,
		.command = VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
	};
	struct session *session = &self->session;
	long kib = self->region.size / 1024;
	struct vg_bo bo;

	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	ASSERT_EQ(0, vg_inject(&session->vg, &fault));
	region_free(&self->region);
	EXPECT_EQ(0,
		  vg_userptr_wait(session->vg.fd, bo.handle, VIRTGPU_USERPTR_INFO_WAIT_REVOKED, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(session->vg.fd, bo.handle,
					  VIRTGPU_USERPTR_INFO_WAIT_RELEASED, 200));
	EXPECT_EQ(kib, vg_status_kib("VmPin"));
	ASSERT_EQ(0, write_file(VIRTIO_DRIVER "unbind", self->device));
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins, pins_outstanding());
}

static int create_until_gone(void *opaque)
{
	const char *node = opaque;
	struct region region;
	struct vg_bo bo;
	struct vg vg;

	CHECK(!region_scattered(&region, SMALL_SEGMENTS));
	CHECK(!vg_open(&vg, node, 1));
	CHECK(vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo) == -ENODEV);
	CHECK(!vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	return 0;
}

TEST_F(unplugged, during_creation)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DROP,
		.command = VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES,
	};
	struct session *session = &self->session;
	struct loopback_stats stats;
	pid_t pid;

	ASSERT_EQ(0, vg_stats(&session->vg, &stats));
	ASSERT_EQ(0, vg_inject(&session->vg, &fault));
	pid = run_child(create_until_gone, (void *)session->node);
	ASSERT_LT(0, pid);
	EXPECT_EQ(0,
		  wait_commands(session, stats.userptr_commands + SMALL_SEGMENTS / SMALL_ENTRIES));
	ASSERT_EQ(0, write_file(VIRTIO_DRIVER "unbind", self->device));
	EXPECT_EQ(0, child_result(pid));
	EXPECT_EQ(session->pins, pins_outstanding());
}

/* ---- the device process ends -------------------------------------------------- */

FIXTURE(dying)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(dying)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "DYING");
	if (self->session.node)
		ASSERT_EQ(0, region_scattered(&self->region, SMALL_SEGMENTS));
}

/* There is no device left to ask; the pages are what matters. */
FIXTURE_TEARDOWN(dying)
{
	vg_close(&self->session.vg);
	region_free(&self->region);
}

TEST_F(dying, in_the_middle_of_a_creation)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DIE,
		.skip = 1,
		.command = VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES,
	};
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct vg_bo live, bo;

	ASSERT_EQ(0, region_scattered(region, SMALL_SEGMENTS));
	region_fill(region, 77);
	/* Within the chunk that passes: this one lives when the device dies. */
	ASSERT_EQ(0, vg_userptr_create(session->vg.fd, region->addr, PAGE, 0, &live));
	ASSERT_EQ(0, vg_inject(&session->vg, &fault));
	EXPECT_EQ(-ENODEV, create(session, region, 0, &bo));
	/* The transport removes the device, and nothing stays pinned. */
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(-ENODEV, create(session, region, 0, &bo));
}

TEST_HARNESS_MAIN
