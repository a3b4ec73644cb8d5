/* SPDX-License-Identifier: MIT */
/*
 * life: has it ended, or does it live?
 *
 * Each case registers memory, does one thing to it, and looks at what the
 * device was told.  REVOKED: the device has destroyed the resource, once, and
 * nothing is pinned, while the handle is still open.  STAYS: the device still
 * has it, reads what the process sees, and writes what the process reads.
 *
 * That nothing happens cannot be waited for: another registration, whose memory
 * is taken back afterwards, is waited for instead (see settle()).
 *
 * Included by test programs only: it defines their fixture "life".
 *
 * Invariant: see userptr-test-session.h.
 */
#ifndef LIFE_H
#define LIFE_H

#include "life/life-memory.h"

/* To wait for; the states are spelled out. */
#define REVOKED VIRTGPU_USERPTR_INFO_WAIT_REVOKED
#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED

FIXTURE_SETUP(life)
{
	self->session.node = NULL;
	self->file = -1;
	self->settled = 0;
	self->reason = "not with this kernel";
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(life)
{
	if (self->file >= 0)
		close(self->file);
	session_end(_metadata, &self->session);
	if (!access(NR_HUGEPAGES, W_OK))
		EXPECT_EQ(0, write_file(NR_HUGEPAGES, "0"));
}

/*
 * How long what has to happen is waited for.  Where tests are expected to fail,
 * waiting long helps nobody.
 */
static inline int patience(void)
{
	const char *ms = getenv("USERPTR_PATIENCE_MS");

	return ms ? atoi(ms) : SETTLE_MS;
}

/*
 * All that was noticed before this was called has been acted upon: what comes
 * last goes through the same hands, and to the device and back.
 *
 * If it does not come back, time has to do; the tests of that will say so.
 */
static inline int settle(SELF *self)
{
	int fd = self->session.vg.fd, ret;
	struct region region;
	struct vg_bo bo;
	long pinned;

	pause_for_look();
	ret = region_alloc(&region, 1);
	pinned = vg_status_kib("VmPin");
	if (!ret)
		ret = vg_userptr_create(fd, region.addr, region.size, 0, &bo);
	if (!ret && madvise(region.addr, PAGE, MADV_DONTNEED))
		ret = -errno;
	if (!ret) {
		ret = vg_userptr_wait(fd, bo.handle, RELEASED, patience());
		if (!ret)
			ret = vg_bo_close(fd, bo.handle);
		else if (ret == -ETIME)
			ret = vg_bo_close(fd, bo.handle) ?:
				      vg_wait_status_kib("VmPin", pinned, SETTLE_MS);
	}
	region_free(&region);
	self->settled++;
	return ret;
}

/* What the device has destroyed, but for the registrations of settle(). */
static inline int destroyed(SELF *self)
{
	struct loopback_stats delta;

	if (stats_since(&self->session, &delta))
		return -1;
	return delta.userptr_destroyed - self->settled;
}

static inline int held(SELF *self)
{
	struct loopback_stats delta;

	return stats_since(&self->session, &delta) ? -1 : (int)delta.userptr_resources;
}

static inline void expect_revoked(struct __test_metadata *_metadata, SELF *self)
{
	uint8_t digest[LOOPBACK_SHA256_SIZE];
	struct drm_virtgpu_userptr_info info;
	struct vg *vg = &self->session.vg;
	int fence;

	ASSERT_EQ(0, vg_userptr_wait(vg->fd, self->bo.handle, RELEASED, patience()));
	EXPECT_EQ(0, held(self));
	EXPECT_EQ(1, destroyed(self));
	EXPECT_EQ(self->session.pins, pins_outstanding());
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	/* The handle is there, but nothing is behind it. */
	ASSERT_EQ(0, vg_userptr_info(vg->fd, self->bo.handle, &info));
	EXPECT_EQ(VIRTGPU_USERPTR_STATE_RELEASED, info.state);
	EXPECT_EQ((uintptr_t)self->addr, info.addr);
	EXPECT_EQ(-EACCES, vg_sha256(vg, self->bo.res, 0, PAGE, digest));
	EXPECT_EQ(-EFAULT, vg_submit(vg, 0, NULL, 0, &self->bo.handle, 1, &fence));
	EXPECT_EQ(0, vg_bo_close(vg->fd, self->bo.handle));
	EXPECT_EQ(-EINVAL, vg_bo_close(vg->fd, self->bo.handle));
	EXPECT_EQ(0, settle(self));
	EXPECT_EQ(1, destroyed(self));
}

/* What the driver cannot tell by hmm_range_fault() alone. */
static inline void expect_revoked_as_looked_up(struct __test_metadata *_metadata, SELF *self)
{
	if (!can_look_up())
		SKIP(return, "this kernel has no pinned_page_lookup()");
	expect_revoked(_metadata, self);
}

/* Alive, and both sides see what the other one writes. */
static inline void expect_alive(struct __test_metadata *_metadata, SELF *self)
{
	struct drm_virtgpu_userptr_info info;
	struct vg *vg = &self->session.vg;
	size_t i;

	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(0, vg_userptr_info(vg->fd, self->bo.handle, &info));
	ASSERT_EQ(VIRTGPU_USERPTR_STATE_LIVE, info.state);
	EXPECT_EQ(1, held(self));
	EXPECT_EQ(0, destroyed(self));
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
	for (i = 0; i < PAGES; i++)
		self->addr[i * PAGE + i] = i + 1;
	EXPECT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
	ASSERT_EQ(0, vg_fill(vg, self->bo.res, PAGE - 1, self->size - 2 * PAGE, 0xe3));
	for (i = PAGE - 1; i < self->size - PAGE - 1; i++)
		ASSERT_EQ(0xe3, self->addr[i]);
}

static inline void expect_stays(struct __test_metadata *_metadata, SELF *self)
{
	expect_alive(_metadata, self);
	EXPECT_EQ(0, vg_bo_close(self->session.vg.fd, self->bo.handle));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(1, destroyed(self));
}

/* A case is its name, where the memory is from, and what is done to it. */
#define CASE(name, source, judge)                                       \
	static int do_##name(SELF *self);                               \
	TEST_F(life, name)                                              \
	{                                                               \
		int ret = register_memory(self, source, 0);             \
                                                                        \
		if (!ret)                                               \
			ret = do_##name(self);                          \
		if (ret == -EOPNOTSUPP)                                 \
			SKIP(return, "%s", self->reason);               \
		ASSERT_EQ(0, ret)                                       \
		{                                                       \
			TH_LOG("%s", strerror(ret < 0 ? -ret : errno)); \
		}                                                       \
		judge(_metadata, self);                                 \
	}                                                               \
	static int do_##name(SELF *self)

#define REVOKED_BY(name, source) CASE(name, source, expect_revoked)
#define REVOKED_AS_LOOKED_UP(name, source) CASE(name, source, expect_revoked_as_looked_up)
#define STAYS_AFTER(name, source) CASE(name, source, expect_stays)

/* Registers its own memory through the file of its parent. */
static inline int register_own(SELF *self)
{
	struct region region;

	CHECK(!region_scattered(&region, PAGES));
	self->addr = region.addr;
	CHECK(!create(&self->session, &region, 0, &self->bo));
	return 0;
}

static inline int inject(SELF *self, uint32_t fault, uint32_t command, uint64_t param)
{
	const struct vg_fault arm = { .fault = fault, .command = command, .param = param };

	return vg_inject(&self->session.vg, &arm);
}

#endif /* LIFE_H */
