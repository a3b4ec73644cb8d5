// SPDX-License-Identifier: MIT
/*
 * userptr-close-test: every order of the ends of file, mapping, handle and process
 *
 * Runs in the guest, as root, with one device.
 *
 * Invariant: see userptr-test-session.h.
 */
#include "ioctl/userptr-fixture.h"

TEST_F(userptr, handle_closed_twice)
{
	struct session *session = &self->session;
	struct vg_bo bo;

	ASSERT_EQ(0, region_alloc(&self->region, 3));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(-EINVAL, vg_bo_close(session->vg.fd, bo.handle));
}

TEST_F(userptr, file_closed_before_munmap)
{
	struct session *session = &self->session;
	struct vg_bo bo;
	struct vg vg;

	ASSERT_EQ(0, region_scattered(&self->region, 10));
	ASSERT_EQ(0, vg_open(&vg, session->node, 1));
	ASSERT_EQ(0, vg_userptr_create(vg.fd, self->region.addr, self->region.size, 0, &bo));
	EXPECT_EQ((long)(self->region.size / 1024), vg_status_kib("VmPin"));
	vg_close(&vg);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
}

TEST_F(userptr, munmap_before_close)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct loopback_stats delta;
	struct vg_bo bo;

	ASSERT_EQ(0, region_scattered(region, 10));
	ASSERT_EQ(0, create(session, region, 0, &bo));
	region_free(region);
	/* The handle outlives the mapping, and closing it ends everything. */
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(1, delta.userptr_created);
	EXPECT_EQ(1, delta.userptr_destroyed);
}

static int exit_with_registrations(void *opaque)
{
	const char *node = opaque;
	struct region region;
	struct vg_bo bo;
	struct vg vg;
	int i;

	CHECK(!vg_open(&vg, node, 1));
	for (i = 1; i < 10; i++) {
		CHECK(!region_scattered(&region, 10 * i));
		CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo));
	}
	return 0;
}

TEST_F(userptr, exit_with_live_registrations)
{
	struct session *session = &self->session;
	struct loopback_stats delta;

	EXPECT_EQ(0, child_result(run_child(exit_with_registrations, (void *)session->node)));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(9, delta.userptr_created);
	EXPECT_EQ(9, delta.userptr_destroyed);
	EXPECT_EQ(0, delta.contexts);
}

/* The handle is closed while the host is at work on the memory. */
TEST_F(userptr, closed_while_a_job_runs)
{
	struct session *session = &self->session;
	struct vg *vg = &session->vg;
	struct loopback_command commands[LOOPBACK_MAX_COMMANDS];
	struct loopback_status status;
	struct vg_bo bo;
	int fence, ret, i;

	ASSERT_EQ(0, region_alloc(&self->region, MIB(16) / PAGE));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	memset(commands, 0, sizeof(commands));
	for (i = 0; i < LOOPBACK_MAX_COMMANDS; i++) {
		commands[i].op = htole32(LOOPBACK_OP_SHA256);
		commands[i].dst_res = htole32(vg->result.res);
		commands[i].dst_offset = htole64(VG_RESULT_DATA);
		commands[i].src_res = htole32(bo.res);
		commands[i].length = htole64(self->region.size);
	}
	ASSERT_EQ(0, vg_submit(vg, 0, commands, LOOPBACK_MAX_COMMANDS, NULL, 0, &fence));
	EXPECT_EQ(0, vg_bo_close(vg->fd, bo.handle));
	EXPECT_EQ(0, vg_wait_fence(fence, VG_TIMEOUT_MS));
	ret = vg_status(vg, &status);
	EXPECT_TRUE(!ret || ret == -ECANCELED)
	{
		TH_LOG("status %s", strerror(-ret));
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
}

TEST_HARNESS_MAIN
