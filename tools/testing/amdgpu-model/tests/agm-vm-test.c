// SPDX-License-Identifier: MIT
/*
 * GPU address spaces: rights, faults, splitting, and what a job sees whose mapping is taken away.
 */
#include "agt.h"

#include <errno.h>
#include <string.h>

#include "kselftest_harness.h"

#define SIZE (16 * AGT_PAGE)
#define A AGT_VA
#define B (AGT_VA + 0x1000000)
#define NOWHERE (AGT_VA + 0x40000000)

FIXTURE(vm)
{
	struct agt t;
	struct agt_bo a;
	struct agt_bo b;
	uint32_t bos[2];
	int64_t faults;
};

FIXTURE_SETUP(vm)
{
	ASSERT_EQ(0, agt_open(&self->t));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_GTT, A, &self->a));
	ASSERT_EQ(0, agt_bo_make(&self->t, SIZE, AMDGPU_GEM_DOMAIN_GTT, B, &self->b));
	self->bos[0] = self->a.handle;
	self->bos[1] = self->b.handle;
	memset(self->a.cpu, 0x11, SIZE);
	memset(self->b.cpu, 0x22, SIZE);
	agt_start(&self->t);
	self->faults = agt_stat("faults");
}

FIXTURE_TEARDOWN(vm)
{
	agt_hold(0);
	agt_close(&self->t);
}

#define RUN() agt_run(&self->t, AGT_SDMA, self->bos, 2)
#define BYTE(bo, offset) (((uint8_t *)(bo).cpu)[offset])

static struct drm_amdgpu_info_gpuvm_fault last_fault(struct agt *t)
{
	struct drm_amdgpu_info_gpuvm_fault fault = { 0 };
	struct drm_amdgpu_info info = {
		.return_pointer = (uintptr_t)&fault,
		.return_size = sizeof(fault),
		.query = AMDGPU_INFO_GPUVM_FAULT,
	};

	agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_INFO, &info);
	return fault;
}

TEST_F(vm, nothing_is_mapped)
{
	agt_sdma_copy(&self->t, NOWHERE + 16, A, 64);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(self->faults + 1, agt_stat("faults"));
	EXPECT_EQ(NOWHERE, last_fault(&self->t).addr);
	/* A write, without a mapping. */
	EXPECT_EQ(1u << 18 | 1u << 8, last_fault(&self->t).status);
}

TEST_F(vm, no_write_bit)
{
	ASSERT_EQ(0, agt_unmap(&self->t, &self->b));
	ASSERT_EQ(0, agt_map(&self->t, &self->b, B, AMDGPU_VM_PAGE_READABLE));
	agt_sdma_copy(&self->t, A, B, 64);
	agt_sdma_copy(&self->t, B, A, 64);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(0x22, BYTE(self->a, 0));
	EXPECT_EQ(0x22, BYTE(self->b, 0));
	EXPECT_EQ(self->faults + 1, agt_stat("faults"));
	EXPECT_EQ(1u << 18 | 1u << 5, last_fault(&self->t).status);
}

TEST_F(vm, no_read_bit)
{
	ASSERT_EQ(0, agt_unmap(&self->t, &self->b));
	ASSERT_EQ(0, agt_map(&self->t, &self->b, B, AMDGPU_VM_PAGE_WRITEABLE));
	agt_sdma_copy(&self->t, B, A, 64);
	agt_sdma_copy(&self->t, A + 64, B, 64);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(0x11, BYTE(self->b, 0));
	EXPECT_EQ(0x11, BYTE(self->a, 64));
	EXPECT_EQ(1u << 4, last_fault(&self->t).status);
}

TEST_F(vm, fault_in_the_middle)
{
	/* One page there, the next one not: the first is written. */
	ASSERT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_CLEAR, 0, 0, B + AGT_PAGE, AGT_PAGE, 0));
	agt_sdma_copy(&self->t, B, A, 3 * AGT_PAGE);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(0x11, BYTE(self->b, AGT_PAGE - 1));
	EXPECT_EQ(0x22, BYTE(self->b, AGT_PAGE));
	EXPECT_EQ(0x22, BYTE(self->b, 2 * AGT_PAGE));
	EXPECT_EQ(B + AGT_PAGE, last_fault(&self->t).addr);
}

TEST_F(vm, another_context_goes_on)
{
	struct agt_submit s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };

	ASSERT_EQ(0, agt_ctx_create(&self->t, &s.ctx));
	agt_sdma_copy(&self->t, NOWHERE, A, 64);
	EXPECT_EQ(-ENODATA, RUN());
	agt_start(&self->t);
	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	EXPECT_EQ(0, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x11, BYTE(self->b, 63));
}

TEST_F(vm, unmapped_is_gone)
{
	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, RUN());
	ASSERT_EQ(0, agt_unmap(&self->t, &self->b));
	memset(self->b.cpu, 0x33, 64);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(0x33, BYTE(self->b, 0));
	EXPECT_EQ(-ENOENT, agt_unmap(&self->t, &self->b));
}

/* Two jobs are held; the mapping goes between them: the first has it, the second does not. */
TEST_F(vm, unmap_between_jobs)
{
	struct agt_submit s[2] = { { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 },
				   { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 } };

	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, agt_submit(&self->t, &s[0]));
	ASSERT_EQ(0, agt_unmap(&self->t, &self->b));
	ASSERT_EQ(0, agt_submit(&self->t, &s[1]));
	ASSERT_EQ(0, agt_step(1));
	EXPECT_EQ(0, agt_wait(&self->t, &s[0], AGT_TIMEOUT_MS));
	EXPECT_EQ(0x11, BYTE(self->b, 0));
	memset(self->b.cpu, 0x33, 64);
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(-ENODATA, agt_wait(&self->t, &s[1], AGT_TIMEOUT_MS));
	EXPECT_EQ(0x33, BYTE(self->b, 0));
}

/* The older job still has the mapping; the younger one, on another ring, does not. */
TEST_F(vm, unmap_with_an_older_job_held)
{
	struct agt_submit older = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };
	struct agt_submit younger = older;

	younger.ring = 1;
	ASSERT_EQ(0, agt_ctx_create(&self->t, &younger.ctx));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_SDMA0));
	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, agt_submit(&self->t, &older));
	ASSERT_EQ(0, agt_unmap(&self->t, &self->b));
	ASSERT_EQ(0, agt_submit(&self->t, &younger));
	EXPECT_EQ(-ENODATA, agt_wait(&self->t, &younger, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x22, BYTE(self->b, 0));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&self->t, &older, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x11, BYTE(self->b, 0));
}

/* Another object at the same address: each job writes to the one of its time. */
TEST_F(vm, replace_between_jobs)
{
	struct agt_submit s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };
	struct agt_submit later = s;
	struct agt_bo c;

	ASSERT_EQ(0, agt_bo_create(&self->t, SIZE, AMDGPU_GEM_DOMAIN_VRAM, 0, &c));
	ASSERT_EQ(0, agt_bo_map_cpu(&self->t, &c));
	memset(c.cpu, 0x44, SIZE);
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	ASSERT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_REPLACE, c.handle, 0, B, SIZE, AGT_RW));
	ASSERT_EQ(0, agt_submit(&self->t, &later));
	ASSERT_EQ(0, agt_step(1));
	EXPECT_EQ(0, agt_wait(&self->t, &s, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x11, BYTE(self->b, 0));
	EXPECT_EQ(0x44, BYTE(c, 0));
	memset(self->b.cpu, 0x33, 64);
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_wait(&self->t, &later, AGT_TIMEOUT_MS));
	EXPECT_EQ(0x33, BYTE(self->b, 0));
	EXPECT_EQ(0x11, BYTE(c, 0));
	agt_bo_free(&self->t, &c);
}

TEST_F(vm, closed_handle_is_unmapped)
{
	uint32_t handle = self->b.handle;

	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, agt_gem_close(self->t.fd, handle));
	EXPECT_EQ(-ENODATA, agt_run(&self->t, AGT_SDMA, self->bos, 1));
	EXPECT_EQ(0x22, BYTE(self->b, 0));
}

TEST_F(vm, clear_in_the_middle_keeps_the_rest)
{
	memset((char *)self->b.cpu + 10 * AGT_PAGE, 0x55, AGT_PAGE);
	ASSERT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_CLEAR, 0, 0, B + 4 * AGT_PAGE, 2 * AGT_PAGE, 0));
	/* Before and behind it the same pages as before. */
	agt_sdma_copy(&self->t, B, A, 64);
	agt_sdma_copy(&self->t, A, B + 10 * AGT_PAGE, 64);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0x11, BYTE(self->b, 0));
	EXPECT_EQ(0x55, BYTE(self->a, 0));
	agt_start(&self->t);
	agt_sdma_copy(&self->t, B + 5 * AGT_PAGE, A, 64);
	EXPECT_EQ(-ENODATA, RUN());
	EXPECT_EQ(0x22, BYTE(self->b, 5 * AGT_PAGE));
	/* The parts are mappings of their own. */
	EXPECT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_UNMAP, self->b.handle, 0, B, AGT_PAGE, 0));
	EXPECT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_UNMAP, self->b.handle, 0, B + 6 * AGT_PAGE,
			    AGT_PAGE, 0));
}

TEST_F(vm, one_object_at_two_addresses)
{
	ASSERT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_MAP, self->b.handle, AGT_PAGE, NOWHERE, AGT_PAGE,
			    AGT_RW));
	agt_sdma_copy(&self->t, NOWHERE, A, 64);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0x22, BYTE(self->b, 0));
	EXPECT_EQ(0x11, BYTE(self->b, AGT_PAGE));
}

TEST_F(vm, high_addresses)
{
	uint64_t high = 0xffff900000000000ull;

	ASSERT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_MAP, self->b.handle, 0, high, SIZE, AGT_RW));
	agt_sdma_copy(&self->t, high, A, 64);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0x11, BYTE(self->b, 0));
}

TEST_F(vm, partially_resident)
{
	ASSERT_EQ(0,
		  agt_va(&self->t, AMDGPU_VA_OP_MAP, 0, 0, NOWHERE, AGT_PAGE, AMDGPU_VM_PAGE_PRT));
	agt_sdma_copy(&self->t, NOWHERE, A, 64);
	agt_sdma_copy(&self->t, B, NOWHERE, 64);
	ASSERT_EQ(0, RUN());
	EXPECT_EQ(0, BYTE(self->b, 0));
	EXPECT_EQ(0x22, BYTE(self->b, 64));
	EXPECT_EQ(0, agt_va(&self->t, AMDGPU_VA_OP_CLEAR, 0, 0, NOWHERE, AGT_PAGE, 0));
}

TEST_F(vm, bad_arguments)
{
	uint32_t h = self->b.handle;

	/* Taken; unaligned; too long; below and between the ranges; unknown flag, operation. */
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, B, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, NOWHERE + 1, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 1, NOWHERE, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, NOWHERE, 0, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, AGT_PAGE, NOWHERE, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, -AGT_PAGE, NOWHERE, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, 0, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, 0x800000000000, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, -AGT_PAGE, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, AMDGPU_VA_OP_MAP, h, 0, NOWHERE, SIZE, 1 << 20));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, 0, h, 0, NOWHERE, SIZE, AGT_RW));
	EXPECT_EQ(-EINVAL, agt_va(&self->t, 5, h, 0, NOWHERE, SIZE, AGT_RW));
	EXPECT_EQ(-ENOENT, agt_va(&self->t, AMDGPU_VA_OP_MAP, 9999, 0, NOWHERE, SIZE, AGT_RW));
	EXPECT_EQ(-ENOENT, agt_va(&self->t, AMDGPU_VA_OP_UNMAP, self->a.handle, 0, B, SIZE, 0));
}

TEST_F(vm, fence_of_an_update)
{
	struct agt_submit s = { .ip = AGT_SDMA, .bos = self->bos, .num_bos = 2 };
	struct drm_amdgpu_gem_va args = {
		.handle = self->b.handle,
		.operation = AMDGPU_VA_OP_UNMAP,
		.va_address = B,
		.map_size = SIZE,
		.vm_timeline_point = 3,
	};

	ASSERT_EQ(0, agt_syncobj(&self->t, &args.vm_timeline_syncobj_out));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	agt_sdma_copy(&self->t, B, A, 64);
	ASSERT_EQ(0, agt_submit(&self->t, &s));
	ASSERT_EQ(0, agt_ioctl(self->t.fd, DRM_IOCTL_AMDGPU_GEM_VA, &args));
	/* As long as the job can see the mapping. */
	EXPECT_EQ(-ETIME, agt_syncobj_wait(&self->t, args.vm_timeline_syncobj_out, 3, 20));
	ASSERT_EQ(0, agt_hold(0));
	EXPECT_EQ(0, agt_syncobj_wait(&self->t, args.vm_timeline_syncobj_out, 3, AGT_TIMEOUT_MS));
	EXPECT_EQ(0, agt_wait(&self->t, &s, 0));
}

TEST_HARNESS_MAIN
