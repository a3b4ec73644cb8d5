/* SPDX-License-Identifier: MIT */
/*
 * amdvgpu-fixture: what the tests of the raw protocol begin with, and judge by
 *
 * A device, and a buffer in VRAM that the CPU sees, too.  What counts faults and holds
 * jobs asks the host (model.h); where nobody answers, that is skipped.
 *
 * Included by test programs only: it defines their fixture "amdgpu".
 *
 * Invariant: see venus-session.h.  And after each test the model holds back no job.
 */
#ifndef AMDVGPU_FIXTURE_H
#define AMDVGPU_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "amdvgpu.h"
#include "kselftest_harness.h"
#include "model.h"
#include "test-memory.h"
#include "venus-session.h"

/* Addresses for the GPU, far from each other. */
#define VA_OURS AVC_VA
#define VA_FIRST (AVC_VA + 0x10000000ull)
#define VA_SECOND (AVC_VA + 0x20000000ull)

#define OUR_BYTES MIB(4)

/* A guest under TCG, in a host that is none too fast either. */
#define CASE(name) TEST_F_TIMEOUT(amdgpu, name, 300)

#define NEEDS_MODEL()     \
	if (!self->model) \
	SKIP(return, "no software amdgpu that can be asked")

FIXTURE(amdgpu)
{
	struct session session;
	struct avc c;
	struct avc_bo ours;
	bool model;
	long faults;
};

FIXTURE_SETUP(amdgpu)
{
	ASSERT_EQ(0, session_begin(&self->session));
	ASSERT_TRUE(self->session.virtio);
	ASSERT_EQ(0, avc_open(&self->c, self->session.node));
	ASSERT_EQ(0,
		  avc_bo_make(&self->c, OUR_BYTES, AMDGPU_GEM_DOMAIN_VRAM, VA_OURS, &self->ours));
	memset(self->ours.cpu, 0, OUR_BYTES);
	self->model = model_there();
	self->faults = self->model ? model_stat("faults") : 0;
}

FIXTURE_TEARDOWN(amdgpu)
{
	if (self->model)
		EXPECT_EQ(0, model_hold(0));
	avc_bo_free(&self->c, &self->ours);
	avc_close(&self->c);
	EXPECT_EQ(0, session_settled(&self->session));
}

typedef FIXTURE_DATA(amdgpu) SELF;

/* One copy, of which @user and our buffer are the ends, from here or from there. */
static inline int copy_once(SELF *self, uint64_t dst, uint64_t src, size_t size,
			    const struct avc_bo *user)
{
	const uint32_t resources[] = { self->ours.bo.res, user->bo.res };

	avc_begin(&self->c);
	avc_copy(&self->c, dst, src, size);
	return avc_run(&self->c, resources, 2);
}

/* The engine has met something that it may not touch: it says so, and works on for others. */
static inline void expect_fault(struct __test_metadata *_metadata, SELF *self)
{
	EXPECT_EQ(0, model_wait_stat("faults", self->faults + 1, SETTLE_MS));
	EXPECT_EQ(self->faults + 1, model_stat("faults"));
}

#endif /* AMDVGPU_FIXTURE_H */
