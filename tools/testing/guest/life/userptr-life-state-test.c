// SPDX-License-Identifier: MIT
/*
 * userptr-life-state-test: how a registration ends, seen by those that wait for it
 *
 * The states one after the other, what is submitted meanwhile, and other
 * registrations of the same memory.  Runs in the guest, as root.
 *
 * Invariant: see life.h.
 */
#include <pthread.h>

#include "life/life.h"

/* ---- what user space is told ------------------------------------------------ */

TEST_F(life, waiting_for_states)
{
	int fd = self->session.vg.fd;
	uint64_t started;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, 0, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, REVOKED, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, RELEASED, 0));
	started = vg_now_us();
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, REVOKED, 100));
	EXPECT_LE(100000, vg_now_us() - started);

	/* The device takes its time: revoked at once, released when it answers. */
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 400));
	started = vg_now_us();
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, REVOKED, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, RELEASED, 0));
	EXPECT_GT(400000, vg_now_us() - started);
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, RELEASED, patience()));
	EXPECT_LE(400000, vg_now_us() - started);
	expect_revoked(_metadata, self);
}

TEST_F(life, closed_while_being_revoked)
{
	ASSERT_EQ(0, register_memory(self, ANON, 0));
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 300));
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	EXPECT_EQ(0, vg_bo_close(self->session.vg.fd, self->bo.handle));
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, patience()));
	EXPECT_EQ(1, destroyed(self));
}

/* A submission that waits for a fence of another context. */
struct waiting_submit {
	pthread_t thread;
	struct vg *vg;
	uint32_t handle;
	int fence;
	int ret;
	uint64_t returned;
};

static void *submit_after_fence(void *opaque)
{
	struct waiting_submit *submit = opaque;
	struct loopback_submit command = {
		.magic = htole32(LOOPBACK_MAGIC),
		.nr_commands = htole32(1),
	};
	struct drm_virtgpu_execbuffer arg = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_IN | VIRTGPU_EXECBUF_RING_IDX,
		.size = sizeof(command),
		.command = (uintptr_t)&command,
		.bo_handles = (uintptr_t)&submit->handle,
		.num_bo_handles = 1,
		.fence_fd = submit->fence,
	};

	submit->ret = vg_ioctl(submit->vg->fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &arg);
	submit->returned = vg_now_us();
	return NULL;
}

#define FENCE_MS 1500

/* Nobody may submit with what was revoked, not even who asked before. */
TEST_F(life, revoked_while_a_submission_waits_for_its_fence)
{
	const struct vg_fault slow = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = VIRTIO_GPU_CMD_SUBMIT_3D,
		.param = FENCE_MS,
	};
	struct waiting_submit submit = { .vg = &self->session.vg };
	struct loopback_command fill = { .op = htole32(LOOPBACK_OP_FILL) };
	struct vg other;
	uint64_t started;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	submit.handle = self->bo.handle;
	ASSERT_EQ(0, vg_open(&other, self->session.node, 1));
	ASSERT_EQ(0, vg_inject(&other, &slow));
	fill.dst_res = htole32(other.result.res);
	started = vg_now_us();
	ASSERT_EQ(0, vg_submit(&other, 0, &fill, 1, NULL, 0, &submit.fence));
	ASSERT_EQ(0, pthread_create(&submit.thread, NULL, submit_after_fence, &submit));
	/* One thread of this process runs, and it is this one. */
	ASSERT_EQ(0, wait_sleeping(getpid(), 1, SETTLE_MS));
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(self->session.vg.fd, self->bo.handle, REVOKED, 0));
	EXPECT_GT(FENCE_MS * 1000, vg_now_us() - started)
	{
		TH_LOG("too late: the fence may have signalled before");
	}
	ASSERT_EQ(0, pthread_join(submit.thread, NULL));
	EXPECT_EQ(-EFAULT, submit.ret);
	/* It did wait. */
	EXPECT_LE(FENCE_MS * 1000, submit.returned - started);
	EXPECT_EQ(0, vg_wait_fence(submit.fence, VG_TIMEOUT_MS));
	vg_close(&other);
	expect_revoked(_metadata, self);
}

TEST_F(life, keep)
{
	struct vg *vg = &self->session.vg;

	EXPECT_EQ(-EINVAL,
		  register_memory(self, ANON, VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, register_memory(self, ANON, VIRTGPU_USERPTR_KEEP));
	ASSERT_EQ(0, madvise(self->addr, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, munmap(self->addr, self->size));
	ASSERT_EQ(0, settle(self));
	EXPECT_EQ(-ETIME, vg_userptr_wait(vg->fd, self->bo.handle, REVOKED, 0));
	EXPECT_EQ(1, held(self));
	EXPECT_EQ(0, destroyed(self));
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, vg_bo_close(vg->fd, self->bo.handle));
	EXPECT_EQ(0, wait_no_resources(vg, patience()));
	EXPECT_EQ(1, destroyed(self));
}

/* ---- several registrations -------------------------------------------------- */

/* What is registered at the address of what is being revoked is not hurt. */
TEST_F(life, registered_again_after_map_fixed)
{
	struct vg *vg = &self->session.vg;
	struct region region;
	struct vg_bo old;
	int i;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	region.addr = self->addr;
	region.size = self->size;
	for (i = 0; i < 200; i++) {
		old = self->bo;
		ASSERT_EQ(0, map_over(self->addr, self->size));
		memset(self->addr, i, self->size);
		ASSERT_EQ(0, create(&self->session, &region, 0, &self->bo));
		ASSERT_EQ(0, vg_userptr_wait(vg->fd, old.handle, RELEASED, patience()));
		ASSERT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
		ASSERT_EQ(0, vg_bo_close(vg->fd, old.handle));
	}
	self->settled += 200;
	expect_stays(_metadata, self);
}

TEST_F(life, registered_again_while_the_device_is_slow)
{
	struct vg *vg = &self->session.vg;
	struct region region;
	struct vg_bo old;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	region.addr = self->addr;
	region.size = self->size;
	old = self->bo;
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 300));
	ASSERT_EQ(0, map_over(self->addr, self->size));
	ASSERT_EQ(0, create(&self->session, &region, 0, &self->bo));
	region_fill(&region, 5);
	EXPECT_EQ(-ETIME, vg_userptr_wait(vg->fd, old.handle, RELEASED, 0));
	EXPECT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
	ASSERT_EQ(0, vg_userptr_wait(vg->fd, old.handle, RELEASED, patience()));
	ASSERT_EQ(0, vg_bo_close(vg->fd, old.handle));
	self->settled++;
	expect_stays(_metadata, self);
}

TEST_F(life, overlapping)
{
	struct vg *vg = &self->session.vg;
	struct vg_bo whole, tail;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	whole = self->bo;
	ASSERT_EQ(0, vg_userptr_create(vg->fd, self->addr + 8 * PAGE, 8 * PAGE, 0, &tail));
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(vg->fd, whole.handle, RELEASED, patience()));
	ASSERT_EQ(0, settle(self));
	EXPECT_EQ(-ETIME, vg_userptr_wait(vg->fd, tail.handle, REVOKED, 0));
	EXPECT_EQ(1, destroyed(self));
	EXPECT_TRUE(same_digest(vg, tail.res, self->addr + 8 * PAGE, 8 * PAGE));
	ASSERT_EQ(0, munmap(self->addr + 9 * PAGE, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(vg->fd, tail.handle, RELEASED, patience()));
	EXPECT_EQ(2, destroyed(self));
	EXPECT_EQ(0, vg_bo_close(vg->fd, whole.handle));
	EXPECT_EQ(0, vg_bo_close(vg->fd, tail.handle));
}

/* One munmap() ends many. */
TEST_F(life, many_at_once)
{
	struct vg *vg = &self->session.vg;
	struct vg_bo bos[100];
	struct region region;
	int i;

	ASSERT_EQ(0, region_alloc(&region, 100));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, vg_userptr_create(vg->fd, region.addr + i * PAGE, PAGE, 0, &bos[i]));
	region_free(&region);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, vg_userptr_wait(vg->fd, bos[i].handle, RELEASED, patience()));
		EXPECT_EQ(0, vg_bo_close(vg->fd, bos[i].handle));
	}
	EXPECT_EQ(100, destroyed(self));
	EXPECT_EQ(0, held(self));
}

TEST_HARNESS_MAIN
