// SPDX-License-Identifier: MIT
/*
 * When jobs run and who hears of their end: hold and step, order, syncobjs, sync_files, numbers, user
 * fences; and what is left of a process that was killed.
 */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define SIZE (16 * AGT_PAGE)
#define A AGT_VA

FIXTURE(sync)
{
	struct agt t;
	struct agt_bo a;
	struct agt_submit s;
};

FIXTURE_SETUP(sync)
{
	ASSERT_EQ(0, agt_open(&self->t));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_GTT, A, &self->a));
	self->s.ip = AGT_SDMA;
	self->s.bos = &self->a.handle;
	self->s.num_bos = 1;
	agt_start(&self->t);
}

FIXTURE_TEARDOWN(sync)
{
	agt_hold(0);
	agt_close(&self->t);
}

#define WORD(i) (((uint32_t *)self->a.cpu)[i])

TEST_F(sync, hold_and_step)
{
	struct agt_submit s[4];
	int i;

	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0));
	agt_sdma_fill(&self->t, A, 1, 4);
	for (i = 0; i < 4; i++) {
		s[i] = self->s;
		ASSERT_EQ(0, agt_submit(&self->t, &s[i]));
		EXPECT_EQ(i + 1, s[i].seq);
	}
	EXPECT_EQ(4, agt_pending("sdma0"));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &s[0], 20));
	EXPECT_EQ(-ETIME, agt_bo_wait(&self->t, &self->a, 0));
	ASSERT_EQ(0, agt_step(2));
	EXPECT_EQ(0, agt_wait(&self->t, &s[1], AGT_TIMEOUT_MS));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &s[2], 20));
	EXPECT_EQ(2, agt_pending("sdma0"));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&self->t, &s[3], AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_bo_wait(&self->t, &self->a, 0));
	EXPECT_EQ(1, WORD(0));
}

TEST_F(sync, other_rings_go_on)
{
	struct agt_submit gfx = { .ip = AGT_GFX };

	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0 | AGT_HOLD_SDMA1));
	AGT_EMIT(&self->t, 0x80000000);
	ASSERT_EQ(0, agt_submit(&self->t, &gfx));
	EXPECT_EQ(0, agt_wait(&self->t, &gfx, AGT_TIMEOUT_MS));
}

/* More than an entity has place for: submission waits for the oldest. */
TEST_F(sync, many_jobs)
{
	int i;

	agt_sdma_fill(&self->t, A, 7, 4);
	for (i = 0; i < 500; i++)
		ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	EXPECT_EQ(500, self->s.seq);
	EXPECT_EQ(0, agt_wait(&self->t, &self->s, AGT_TIMEOUT_MS));
	/* A number of long ago has signalled, one of the future is an error. */
	self->s.seq = 1;
	EXPECT_EQ(0, agt_wait(&self->t, &self->s, 0));
	self->s.seq = 501;
	EXPECT_EQ(-EINVAL, agt_wait(&self->t, &self->s, 0));
	self->s.seq = ~0ull;
	EXPECT_EQ(0, agt_wait(&self->t, &self->s, 0));
}

TEST_F(sync, binary_syncobj)
{
	struct agt_submit second = self->s;

	/* From sdma0, which is held, to sdma1. */
	ASSERT_EQ(0, agt_syncobj(&self->t, &self->s.out));
	second.ring = 1;
	second.in = self->s.out;
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0));
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	ASSERT_EQ(0, agt_submit(&self->t, &second));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &second, 20));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&self->t, &second, AGT_TIMEOUT_MS));
}

TEST_F(sync, timeline_syncobj)
{
	struct agt_submit second = self->s;
	uint32_t timeline;

	ASSERT_EQ(0, agt_syncobj(&self->t, &timeline));
	self->s.out = timeline;
	self->s.out_point = 10;
	second.ring = 1;
	second.in = timeline;
	second.in_point = 10;
	second.out = timeline;
	second.out_point = 20;
	agt_sdma_fill(&self->t, A, 7, 4);
	/* A point that nobody will signal yet cannot be waited for. */
	EXPECT_EQ(-EINVAL, agt_submit(&self->t, &second));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0));
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	ASSERT_EQ(0, agt_submit(&self->t, &second));
	EXPECT_EQ(-ETIME, agt_syncobj_wait(&self->t, timeline, 20, 20));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_syncobj_wait(&self->t, timeline, 20, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_syncobj_wait(&self->t, timeline, 10, 0));
}

/* A context whose job waits for ever is in nobody's way, on the same ring. */
TEST_F(sync, blocked_context)
{
	struct agt_submit blocked = self->s, other = self->s, gate = self->s;

	ASSERT_EQ(0, agt_ctx_create(&self->t, &blocked.ctx));
	ASSERT_EQ(0, agt_syncobj(&self->t, &gate.out));
	gate.ring = 1;
	blocked.in = gate.out;
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA1));
	ASSERT_EQ(0, agt_submit(&self->t, &gate));
	ASSERT_EQ(0, agt_submit(&self->t, &blocked));
	ASSERT_EQ(0, agt_submit(&self->t, &other));
	EXPECT_EQ(0, agt_wait(&self->t, &other, AGT_TIMEOUT_MS));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &blocked, 20));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&self->t, &blocked, AGT_TIMEOUT_MS));
}

/* But within a context jobs of a ring run in their order. */
TEST_F(sync, order_in_a_context)
{
	struct agt_submit gate = self->s, first = self->s, second = self->s;

	ASSERT_EQ(0, agt_syncobj(&self->t, &gate.out));
	gate.ring = 1;
	first.in = gate.out;
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA1));
	ASSERT_EQ(0, agt_submit(&self->t, &gate));
	ASSERT_EQ(0, agt_submit(&self->t, &first));
	ASSERT_EQ(0, agt_submit(&self->t, &second));
	EXPECT_EQ(-ETIME, agt_wait(&self->t, &second, 50));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&self->t, &second, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_wait(&self->t, &first, 0));
}

static int to_handle(struct agt *t, struct agt_submit *s, uint32_t what, uint32_t *handle)
{
	union drm_amdgpu_fence_to_handle args = { .in = { .fence = { .ctx_id = t->ctx,
								     .ip_type = s->ip,
								     .ring = s->ring,
								     .seq_no = s->seq },
							  .what = what } };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_FENCE_TO_HANDLE, &args);

	*handle = args.out.handle;
	return ret;
}

TEST_F(sync, fence_to_handle)
{
	uint32_t syncobj, syncobj_fd, sync_file, none;
	struct pollfd p = { .events = POLLIN };

	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	ASSERT_EQ(0, to_handle(&self->t, &self->s, AMDGPU_FENCE_TO_HANDLE_GET_SYNCOBJ, &syncobj));
	ASSERT_EQ(0, to_handle(&self->t, &self->s, AMDGPU_FENCE_TO_HANDLE_GET_SYNCOBJ_FD,
			       &syncobj_fd));
	ASSERT_EQ(0, to_handle(&self->t, &self->s, AMDGPU_FENCE_TO_HANDLE_GET_SYNC_FILE_FD,
			       &sync_file));
	EXPECT_EQ(-EINVAL, to_handle(&self->t, &self->s, 3, &none));
	p.fd = (int)sync_file;
	EXPECT_EQ(0, poll(&p, 1, 20));
	EXPECT_EQ(-ETIME, agt_syncobj_wait(&self->t, syncobj, 0, 20));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(1, poll(&p, 1, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_syncobj_wait(&self->t, syncobj, 0, AGT_TIMEOUT_MS));
	close((int)syncobj_fd);
	/* The sync_file outlives everything. */
	agt_close(&self->t);
	EXPECT_EQ(1, poll(&p, 1, 0));
	ASSERT_EQ(0, agt_open(&self->t));
}

static int wait_fences(struct agt *t, struct agt_submit *s, int count, bool everything,
		       uint32_t *first)
{
	struct drm_amdgpu_fence ids[4] = { 0 };
	union drm_amdgpu_wait_fences args = { .in = { .fences = (uintptr_t)ids,
						      .fence_count = count,
						      .wait_all = everything,
						      .timeout_ns = agt_now() + 50000000 } };
	int i, ret;

	for (i = 0; i < count; i++) {
		ids[i].ctx_id = t->ctx;
		ids[i].ip_type = s[i].ip;
		ids[i].ring = s[i].ring;
		ids[i].seq_no = s[i].seq;
	}
	ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_WAIT_FENCES, &args);
	*first = args.out.first_signaled;
	return ret ? ret : args.out.status ? 0 : -ETIME;
}

TEST_F(sync, wait_fences)
{
	struct agt_submit s[2] = { self->s, self->s };
	uint32_t first;

	s[1].ring = 1;
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	ASSERT_EQ(0, agt_submit(&self->t, &s[0]));
	ASSERT_EQ(0, agt_submit(&self->t, &s[1]));
	EXPECT_EQ(-ETIME, wait_fences(&self->t, s, 2, false, &first));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0));
	EXPECT_EQ(0, wait_fences(&self->t, s, 2, false, &first));
	EXPECT_EQ(1, first);
	EXPECT_EQ(-ETIME, wait_fences(&self->t, s, 2, true, &first));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, wait_fences(&self->t, s, 2, true, &first));
}

TEST_F(sync, user_fence)
{
	struct agt_bo uf;

	ASSERT_EQ(0, agt_bo_make(&self->t, AGT_PAGE, AMDGPU_GEM_DOMAIN_GTT, A + 0x1000000, &uf));
	self->s.uf = uf.handle;
	self->s.uf_offset = 16;
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	ASSERT_EQ(0, agt_wait(&self->t, &self->s, AGT_TIMEOUT_MS));
	EXPECT_EQ(2, ((uint64_t *)uf.cpu)[2]);
	EXPECT_EQ(0, ((uint64_t *)uf.cpu)[3]);
	self->s.uf_offset = AGT_PAGE - 4;
	EXPECT_EQ(-EINVAL, agt_submit(&self->t, &self->s));
	/* A page exactly. */
	self->s.uf_offset = 0;
	self->s.uf = self->a.handle;
	EXPECT_EQ(-EINVAL, agt_submit(&self->t, &self->s));
}

/* What is queued behind a job that faults is cancelled; another context's is not. */
TEST_F(sync, guilty_context)
{
	struct agt_submit bad = self->s, behind = self->s, other = self->s;
	uint64_t flags;

	ASSERT_EQ(0, agt_ctx_create(&self->t, &other.ctx));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_fill(&self->t, A + 0x40000000, 7, 4);
	ASSERT_EQ(0, agt_submit(&self->t, &bad));
	ASSERT_EQ(0, agt_submit(&self->t, &behind));
	ASSERT_EQ(0, agt_step(1));
	EXPECT_EQ(-ENODATA, agt_wait(&self->t, &bad, AGT_TIMEOUT_MS));
	agt_start(&self->t);
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_submit(&self->t, &other));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(-ECANCELED, agt_wait(&self->t, &behind, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_wait(&self->t, &other, AGT_TIMEOUT_MS));
	EXPECT_EQ(-ENODATA, agt_submit(&self->t, &self->s));
	EXPECT_EQ(0, agt_ctx_flags(&self->t, other.ctx, &flags));
	EXPECT_EQ(0, flags);
}

/* Jobs that never end are ended: one that waits, and one that goes round and round. */
TEST_F(sync, hung_jobs)
{
	struct agt_submit gfx = { .ip = AGT_GFX };

	ASSERT_EQ(0, agt_ctx_create(&self->t, &gfx.ctx));
	ASSERT_EQ(0, agt_lockup(300));
	AGT_EMIT(&self->t, 8 | 3 << 28 | 1u << 31, AGT_LO(A), AGT_HI(A), 0x42, 0xff, 0xfff << 16);
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	EXPECT_EQ(-ENODATA, agt_wait(&self->t, &self->s, AGT_TIMEOUT_MS));
	agt_start(&self->t);
	while (self->t.pos < AGT_IB_DWORDS - 4)
		AGT_EMIT(&self->t, 0x80000000);
	AGT_EMIT(&self->t, AGT_PM4(0x3f, 3), AGT_LO(AGT_VA_IB), AGT_HI(AGT_VA_IB),
		 AGT_IB_DWORDS | 1 << 20 | 1 << 23);
	ASSERT_EQ(0, agt_submit(&self->t, &gfx));
	EXPECT_EQ(-ENODATA, agt_wait(&self->t, &gfx, AGT_TIMEOUT_MS));
	ASSERT_EQ(0, agt_lockup(30000));
}

/* A child holds a buffer of ours, submits and is killed: the job runs when it may, and then all goes. */
TEST_F(sync, killed_process)
{
	int64_t gtt = agt_stat("gtt_used"), jobs = agt_stat("jobs");
	int fd = agt_export(&self->t, self->a.handle), ready[2], status, i;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	char byte;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct agt_submit s = self->s;
		struct agt_bo mine;
		uint32_t handle;
		struct agt t;

		s.bos = &handle;
		if (agt_open(&t) || agt_import(&t, fd, &handle) ||
		    agt_va(&t, AMDGPU_VA_OP_MAP, handle, 0, A, SIZE, AGT_RW) ||
		    agt_bo_make(&t, SIZE, AMDGPU_GEM_DOMAIN_GTT, A + 0x1000000, &mine))
			_exit(1);
		memset(mine.cpu, 0x99, SIZE);
		agt_start(&t);
		agt_sdma_copy(&t, A, A + 0x1000000, SIZE);
		if (agt_submit(&t, &s) || write(ready[1], "", 1) != 1)
			_exit(2);
		pause();
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	/* Its objects are in use yet: ours is busy and unchanged. */
	EXPECT_EQ(0, poll(&p, 1, 0));
	EXPECT_EQ(0, WORD(0));
	EXPECT_LT(gtt, agt_stat("gtt_used"));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(1, poll(&p, 1, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x99999999, WORD(0));
	EXPECT_EQ(0x99999999, WORD(SIZE / 4 - 1));
	for (i = 0; i < 1000 && agt_stat("gtt_used") != gtt; i++)
		usleep(1000);
	EXPECT_EQ(gtt, agt_stat("gtt_used"));
	EXPECT_EQ(jobs + 1, agt_stat("jobs"));
}

/* The module stays as long as a job is in flight, also without an open file. */
TEST_F(sync, module_is_busy)
{
	int ret, error;

	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_fill(&self->t, A, 7, 4);
	ASSERT_EQ(0, agt_submit(&self->t, &self->s));
	agt_close(&self->t);
	ret = syscall(SYS_delete_module, "amdgpu_model", O_NONBLOCK);
	error = errno;
	ASSERT_EQ(0, agt_hold(0));
	ASSERT_EQ(0, agt_open(&self->t));
	if (ret && error == ENOSYS)
		SKIP(return, "this kernel cannot unload modules");
	EXPECT_EQ(-1, ret);
	EXPECT_EQ(EWOULDBLOCK, error);
}

TEST_HARNESS_MAIN
