// SPDX-License-Identifier: MIT
/*
 * KUnit tests of what is pure: decoding packets, and versions of an address space.
 *
 * The address space is real, its device is a struct with a reference count and a work queue, and
 * its jobs are structs without anything but a place in the list.  Mappings have no object.
 */

#include <kunit/test.h>
#include <linux/dma-fence.h>

#include "agm_engine.h"
#include "agm_job.h"
#include "agm_packet.h"
#include "agm_vm.h"

#define AGM_FLAGS (AMDGPU_VM_PAGE_PRT | AMDGPU_VM_PAGE_READABLE)

static void agm_test_sdma_copy(struct kunit *test)
{
	const u32 dw[] = { 1, 0x3fffffff, 0, 0x1000, 0x12, 0x2000, 0x34 };
	struct agm_packet p;

	KUNIT_EXPECT_NULL(test, agm_sdma_decode(dw, 7, &p));
	KUNIT_EXPECT_EQ(test, p.op, AGM_OP_COPY);
	KUNIT_EXPECT_EQ(test, p.length, 7);
	KUNIT_EXPECT_EQ(test, p.bytes, 0x40000000);
	KUNIT_EXPECT_EQ(test, p.src, 0x1200001000);
	KUNIT_EXPECT_EQ(test, p.dst, 0x3400002000);
}

/* Every operation that is cut short is refused, and none reads what is not there. */
static void agm_test_sdma_short(struct kunit *test)
{
	u32 op, count, dw[8] = {};
	struct agm_packet p;

	for (op = 0; op < 256; op++) {
		for (count = 1; count <= 8; count++) {
			dw[0] = op;
			if (!agm_sdma_decode(dw, count, &p))
				KUNIT_EXPECT_GE(test, p.length, 1);
		}
	}
	dw[0] = 1;
	KUNIT_EXPECT_NOT_NULL(test, agm_sdma_decode(dw, 6, &p));
	dw[0] = 5;
	KUNIT_EXPECT_NOT_NULL(test, agm_sdma_decode(dw, 3, &p));
}

static void agm_test_sdma_fill(struct kunit *test)
{
	u32 dw[] = { 11, 3, 0, 0x11223344, 4 };
	struct agm_packet p;

	KUNIT_EXPECT_NULL(test, agm_sdma_decode(dw, 5, &p));
	KUNIT_EXPECT_EQ(test, p.bytes, 5);
	KUNIT_EXPECT_EQ(test, p.value, 0x44444444);
	dw[0] = 11 | 2U << 30;
	KUNIT_EXPECT_NOT_NULL(test, agm_sdma_decode(dw, 5, &p));
	dw[1] = 4;
	KUNIT_EXPECT_NULL(test, agm_sdma_decode(dw, 5, &p));
	KUNIT_EXPECT_EQ(test, p.bytes, 8);
	KUNIT_EXPECT_EQ(test, p.value, 0x11223344);
}

static void agm_test_pm4_headers(struct kunit *test)
{
	u32 dw[8] = { 0xffff1000 };
	struct agm_packet p;

	KUNIT_EXPECT_NULL(test, agm_pm4_decode(dw, 1, &p));
	KUNIT_EXPECT_EQ(test, p.length, 1);
	dw[0] = 0x80000000;
	KUNIT_EXPECT_NULL(test, agm_pm4_decode(dw, 1, &p));
	KUNIT_EXPECT_EQ(test, p.length, 1);
	/* A NOP of three; only two are there. */
	dw[0] = 0xc0011000;
	KUNIT_EXPECT_NULL(test, agm_pm4_decode(dw, 3, &p));
	KUNIT_EXPECT_EQ(test, p.length, 3);
	KUNIT_EXPECT_NOT_NULL(test, agm_pm4_decode(dw, 2, &p));
	dw[0] = 0x00000000;
	KUNIT_EXPECT_NOT_NULL(test, agm_pm4_decode(dw, 8, &p));
	dw[0] = 0x40000000;
	KUNIT_EXPECT_NOT_NULL(test, agm_pm4_decode(dw, 8, &p));
}

static void agm_test_pm4_dma_data(struct kunit *test)
{
	u32 dw[8] = { 0xc0055000, 2U << 29, 0xabcd, 0, 0x1000, 0x7f, 64 };
	struct agm_packet p;

	KUNIT_EXPECT_NULL(test, agm_pm4_decode(dw, 8, &p));
	KUNIT_EXPECT_EQ(test, p.op, AGM_OP_FILL);
	KUNIT_EXPECT_EQ(test, p.value, 0xabcd);
	KUNIT_EXPECT_EQ(test, p.dst, 0x7f00001000);
	KUNIT_EXPECT_EQ(test, p.bytes, 64);
	/* A destination in registers. */
	dw[6] |= 1 << 27;
	KUNIT_EXPECT_NOT_NULL(test, agm_pm4_decode(dw, 8, &p));
}

/* Registers end where they end, whatever the packet says. */
static void agm_test_pm4_registers(struct kunit *test)
{
	u32 dw[8] = { 0xc0017600, 0x3ff, 1 };
	struct agm_packet p;

	KUNIT_EXPECT_NULL(test, agm_pm4_decode(dw, 8, &p));
	KUNIT_EXPECT_EQ(test, p.dst, 0x2fff);
	dw[1] = 0x400;
	KUNIT_EXPECT_NOT_NULL(test, agm_pm4_decode(dw, 8, &p));
	dw[0] = 0xc0027600;
	dw[1] = 0x3ff;
	KUNIT_EXPECT_NOT_NULL(test, agm_pm4_decode(dw, 8, &p));
}

static void agm_test_compare(struct kunit *test)
{
	static const u8 expected[7] = { 7, 1, 3, 2, 5, 6, 4 };
	u32 func;

	/* Bit 0: less, bit 1: equal, bit 2: greater. */
	for (func = 0; func < 7; func++) {
		KUNIT_EXPECT_EQ(test, agm_compare(func, 1, 2), expected[func] & 1);
		KUNIT_EXPECT_EQ(test, agm_compare(func, 2, 2), expected[func] >> 1 & 1);
		KUNIT_EXPECT_EQ(test, agm_compare(func, 3, 2), expected[func] >> 2 & 1);
	}
}

static void agm_test_va_range(struct kunit *test)
{
	struct agm_va_range r;

	KUNIT_EXPECT_EQ(test, agm_va_range(&r, AGM_VA_START, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, r.first, AGM_VA_START >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, r.last, r.first);
	KUNIT_EXPECT_EQ(test, agm_va_range(&r, AGM_VA_END - PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, agm_va_range(&r, AGM_VA_HIGH_START, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, r.first, (AGM_VA_HIGH_START & AGM_VA_MASK) >> PAGE_SHIFT);
	KUNIT_EXPECT_NE(test, agm_va_range(&r, 0, PAGE_SIZE), 0);
	KUNIT_EXPECT_NE(test, agm_va_range(&r, AGM_VA_END - PAGE_SIZE, 2 * PAGE_SIZE), 0);
	KUNIT_EXPECT_NE(test, agm_va_range(&r, AGM_VA_HIGH_END - PAGE_SIZE, 2 * PAGE_SIZE), 0);
	KUNIT_EXPECT_NE(test, agm_va_range(&r, AGM_VA_START + 1, PAGE_SIZE), 0);
	KUNIT_EXPECT_NE(test, agm_va_range(&r, AGM_VA_START, ~0ULL & PAGE_MASK), 0);
}

/* What a test of an address space works on. */
struct agm_vm_test {
	struct agm_device dev;
	struct agm_vm *vm;
	struct agm_job *jobs[2];
};

static int agm_vm_test_init(struct kunit *test)
{
	struct agm_vm_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	/* Never dropped to zero. */
	kref_init(&t->dev.drm.ref);
	t->dev.wq = alloc_workqueue("agm-kunit", WQ_UNBOUND, 0);
	KUNIT_ASSERT_NOT_NULL(test, t->dev.wq);
	t->vm = agm_vm_create(&t->dev);
	KUNIT_ASSERT_NOT_NULL(test, t->vm);
	t->jobs[0] = kunit_kzalloc(test, sizeof(struct agm_job), GFP_KERNEL);
	t->jobs[1] = kunit_kzalloc(test, sizeof(struct agm_job), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->jobs[0]);
	KUNIT_ASSERT_NOT_NULL(test, t->jobs[1]);
	test->priv = t;
	return 0;
}

static void agm_vm_test_exit(struct kunit *test)
{
	struct agm_vm_test *t = test->priv;

	agm_vm_close(t->vm);
	destroy_workqueue(t->dev.wq);
	KUNIT_EXPECT_EQ(test, kref_read(&t->dev.drm.ref), 1);
}

static void agm_test_map(struct kunit *test, u64 first, u64 last)
{
	struct agm_vm_test *t = test->priv;
	struct agm_va_range range = { .first = first, .last = last };

	KUNIT_ASSERT_EQ(test, agm_vm_map(t->vm, NULL, &range, first << PAGE_SHIFT, AGM_FLAGS), 0);
}

/* Whether the page is mapped for who sees @version, at the offset that agm_test_map() gave it. */
static bool agm_test_has(struct kunit *test, u64 version, u64 page)
{
	struct agm_vm_test *t = test->priv;
	struct agm_mapping *m;
	bool has;

	spin_lock(&t->vm->lock);
	m = agm_vm_find(t->vm, version, page);
	has = m && m->offset + ((page - m->node.start) << PAGE_SHIFT) == page << PAGE_SHIFT;
	spin_unlock(&t->vm->lock);
	return has;
}

static void agm_test_vm_versions(struct kunit *test)
{
	struct agm_vm_test *t = test->priv;
	struct dma_fence *fence = NULL;

	agm_test_map(test, 10, 19);
	agm_vm_job_begin(t->vm, t->jobs[0]);
	KUNIT_ASSERT_EQ(test, agm_vm_unmap(t->vm, NULL, 10, &fence), 0);
	KUNIT_ASSERT_NOT_NULL(test, fence);
	agm_vm_job_begin(t->vm, t->jobs[1]);
	KUNIT_EXPECT_TRUE(test, agm_test_has(test, t->jobs[0]->version, 15));
	KUNIT_EXPECT_FALSE(test, agm_test_has(test, t->jobs[1]->version, 15));
	/* The younger job ends first, and changes nothing. */
	agm_vm_job_end(t->vm, t->jobs[1]);
	KUNIT_EXPECT_FALSE(test, dma_fence_is_signaled(fence));
	KUNIT_EXPECT_TRUE(test, agm_test_has(test, t->jobs[0]->version, 15));
	agm_vm_job_end(t->vm, t->jobs[0]);
	KUNIT_EXPECT_TRUE(test, dma_fence_is_signaled(fence));
	KUNIT_EXPECT_FALSE(test, agm_test_has(test, t->jobs[0]->version, 15));
	dma_fence_put(fence);
}

static void agm_test_vm_clear(struct kunit *test)
{
	struct agm_vm_test *t = test->priv;
	struct agm_va_range range = { .first = 15, .last = 24 };
	u64 page;

	agm_test_map(test, 10, 19);
	agm_test_map(test, 20, 29);
	agm_test_map(test, 40, 40);
	KUNIT_ASSERT_EQ(test, agm_vm_clear(t->vm, &range, NULL), 0);
	for (page = 5; page < 45; page++) {
		bool left = (page >= 10 && page < 15) || (page > 24 && page < 30) || page == 40;

		KUNIT_EXPECT_EQ(test, agm_test_has(test, t->vm->version, page), left);
	}
	/* One that is cut in two. */
	range.first = 12;
	range.last = 12;
	KUNIT_ASSERT_EQ(test, agm_vm_clear(t->vm, &range, NULL), 0);
	KUNIT_EXPECT_TRUE(test, agm_test_has(test, t->vm->version, 11));
	KUNIT_EXPECT_FALSE(test, agm_test_has(test, t->vm->version, 12));
	KUNIT_EXPECT_TRUE(test, agm_test_has(test, t->vm->version, 13));
	KUNIT_EXPECT_EQ(test, agm_vm_unmap(t->vm, NULL, 12, NULL), -ENOENT);
	KUNIT_EXPECT_EQ(test, agm_vm_unmap(t->vm, NULL, 13, NULL), 0);
}

static void agm_test_vm_overlap(struct kunit *test)
{
	struct agm_vm_test *t = test->priv;
	struct agm_va_range range = { .first = 19, .last = 25 };

	agm_test_map(test, 10, 19);
	KUNIT_EXPECT_EQ(test, agm_vm_map(t->vm, NULL, &range, 0, AGM_FLAGS), -EINVAL);
	range.first = 20;
	KUNIT_EXPECT_EQ(test, agm_vm_map(t->vm, NULL, &range, 0, AGM_FLAGS), 0);
}

static struct kunit_case agm_packet_cases[] = {
	KUNIT_CASE(agm_test_sdma_copy),	   KUNIT_CASE(agm_test_sdma_short),
	KUNIT_CASE(agm_test_sdma_fill),	   KUNIT_CASE(agm_test_pm4_headers),
	KUNIT_CASE(agm_test_pm4_dma_data), KUNIT_CASE(agm_test_pm4_registers),
	KUNIT_CASE(agm_test_compare),	   {},
};

static struct kunit_case agm_vm_cases[] = {
	KUNIT_CASE(agm_test_va_range),
	KUNIT_CASE(agm_test_vm_versions),
	KUNIT_CASE(agm_test_vm_clear),
	KUNIT_CASE(agm_test_vm_overlap),
	{},
};

static struct kunit_suite agm_packet_suite = {
	.name = "amdgpu-model-packets",
	.test_cases = agm_packet_cases,
};

static struct kunit_suite agm_vm_suite = {
	.name = "amdgpu-model-vm",
	.init = agm_vm_test_init,
	.exit = agm_vm_test_exit,
	.test_cases = agm_vm_cases,
};

kunit_test_suites(&agm_packet_suite, &agm_vm_suite);
