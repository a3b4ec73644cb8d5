// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: tests of what is pure arithmetic
 *
 * Ranges, the device's limits and answers, states, and how a scatterlist is cut
 * into commands.  No process, no device, and nothing here sleeps.
 */

#include <kunit/test.h>

#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "../virtgpu_userptr.h"

/* The expected outcome where an address or size does not fit 32 bits. */
#define ON_64BIT(ret)	(IS_ENABLED(CONFIG_64BIT) ? (ret) : -EFAULT)

struct range_case {
	const char *name;
	u64 addr;
	u64 size;
	int expected;
};

static const struct range_case range_cases[] = {
	{ "nothing at 0", 0, 0, -EINVAL },
	{ "nothing", PAGE_SIZE, 0, -EINVAL },
	{ "nothing at the end", -(u64)PAGE_SIZE, 0, -EINVAL },
	{ "one byte", PAGE_SIZE, 1, -EINVAL },
	{ "a page and a byte", PAGE_SIZE, PAGE_SIZE + 1, -EINVAL },
	{ "a page but a byte", PAGE_SIZE, PAGE_SIZE - 1, -EINVAL },
	{ "address 1", 1, PAGE_SIZE, -EINVAL },
	{ "address before a page", PAGE_SIZE - 1, PAGE_SIZE, -EINVAL },
	{ "both unaligned, sum aligned", PAGE_SIZE - 1, PAGE_SIZE + 1, -EINVAL },
	{ "half page at half page", PAGE_SIZE / 2, PAGE_SIZE / 2, -EINVAL },
	{ "unaligned and wrapping", U64_MAX, U64_MAX, -EINVAL },
	{ "largest address", U64_MAX, PAGE_SIZE, -EINVAL },
	{ "largest size", PAGE_SIZE, U64_MAX, -EINVAL },
	{ "ULONG_MAX", ULONG_MAX, PAGE_SIZE, -EINVAL },
	{ "first page", 0, PAGE_SIZE, 0 },
	{ "second page", PAGE_SIZE, PAGE_SIZE, 0 },
	{ "page before the last", -2ULL * PAGE_SIZE, PAGE_SIZE, ON_64BIT(0) },
	{ "sum 2^64, one page", -(u64)PAGE_SIZE, PAGE_SIZE, -EFAULT },
	{ "sum 2^64, two halves", 1ULL << 63, 1ULL << 63, -EFAULT },
	{ "sum 2^64, all but a page", PAGE_SIZE, -(u64)PAGE_SIZE, -EFAULT },
	{ "sum 2^64 and a page", -(u64)PAGE_SIZE, 2 * PAGE_SIZE, -EFAULT },
	{ "sum 2^64 twice", -(u64)PAGE_SIZE, -(u64)PAGE_SIZE, -EFAULT },
	{ "2^63 at 0", 0, 1ULL << 63, ON_64BIT(-E2BIG) },
	{ "page at 2^63", 1ULL << 63, PAGE_SIZE, ON_64BIT(0) },
	{ "all but a page", 0, -(u64)PAGE_SIZE, ON_64BIT(-E2BIG) },
	{ "INT_MAX - 1 pages", 0, (INT_MAX - 1ULL) << PAGE_SHIFT, ON_64BIT(0) },
	{ "INT_MAX pages", 0, (u64)INT_MAX << PAGE_SHIFT, ON_64BIT(0) },
	{ "INT_MAX + 1 pages", 0, (INT_MAX + 1ULL) << PAGE_SHIFT, ON_64BIT(-E2BIG) },
	{ "UINT_MAX pages", PAGE_SIZE, (u64)UINT_MAX << PAGE_SHIFT, ON_64BIT(-E2BIG) },
	{ "2^32 + 1 pages", PAGE_SIZE, BIT_ULL(32 + PAGE_SHIFT) + PAGE_SIZE, ON_64BIT(-E2BIG) },
};

KUNIT_ARRAY_PARAM_DESC(range, range_cases, name);

static void test_check_range(struct kunit *test)
{
	const struct range_case *c = test->param_value;

	KUNIT_EXPECT_EQ_MSG(test, virtio_gpu_userptr_check_range(c->addr, c->size), c->expected,
			    "addr 0x%llx size 0x%llx", c->addr, c->size);
}

struct errno_case {
	const char *name;
	u32 type;
	int expected;
};

static const struct errno_case errno_cases[] = {
	{ "OK_NODATA", VIRTIO_GPU_RESP_OK_NODATA, 0 },
	{ "ERR_UNSPEC", VIRTIO_GPU_RESP_ERR_UNSPEC, -EIO },
	{ "ERR_OUT_OF_MEMORY", VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, -ENOMEM },
	{ "ERR_INVALID_SCANOUT_ID", VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, -EIO },
	{ "ERR_INVALID_RESOURCE_ID", VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, -ENOENT },
	{ "ERR_INVALID_CONTEXT_ID", VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID, -ENOENT },
	{ "ERR_INVALID_PARAMETER", VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, -EINVAL },
	{ "ERR_LIMIT", VIRTIO_GPU_RESP_ERR_LIMIT, -ENOSPC },
	{ "ERR_UNSUPPORTED", VIRTIO_GPU_RESP_ERR_UNSUPPORTED, -EOPNOTSUPP },
	{ "never answered", 0, -ENODEV },
	{ "OK with data", VIRTIO_GPU_RESP_OK_DISPLAY_INFO, -EIO },
	{ "OK with the limits", VIRTIO_GPU_RESP_OK_USERPTR_INFO, -EIO },
	{ "a command", VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, -EIO },
	{ "next to ERR_UNSUPPORTED", VIRTIO_GPU_RESP_ERR_UNSUPPORTED + 1, -EIO },
	{ "1", 1, -EIO },
	{ "all bits", U32_MAX, -EIO },
};

KUNIT_ARRAY_PARAM_DESC(errno, errno_cases, name);

static void test_errno(struct kunit *test)
{
	const struct errno_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_errno(c->type), c->expected);
}

static void test_transitions(struct kunit *test)
{
	static const bool arrows[4][4] = {
		[VIRTIO_GPU_USERPTR_CREATING] = {
			[VIRTIO_GPU_USERPTR_LIVE] = true,
			[VIRTIO_GPU_USERPTR_REVOKING] = true,
			[VIRTIO_GPU_USERPTR_DEAD] = true,
		},
		[VIRTIO_GPU_USERPTR_LIVE] = {
			[VIRTIO_GPU_USERPTR_REVOKING] = true,
			[VIRTIO_GPU_USERPTR_DEAD] = true,
		},
		[VIRTIO_GPU_USERPTR_REVOKING] = {
			[VIRTIO_GPU_USERPTR_DEAD] = true,
		},
	};
	unsigned int from, to;

	for (from = 0; from < 4; from++)
		for (to = 0; to < 4; to++)
			KUNIT_EXPECT_EQ_MSG(test, virtio_gpu_userptr_transition_ok(from, to),
					    arrows[from][to], "from %u to %u", from, to);
}

struct info_case {
	const char *name;
	u64 max_size;
	u64 mask;
	u32 max_entries;
	u32 max_segments;
	u32 alignment;
	u32 flags;
	int expected;
	u64 expected_size;
	u64 expected_mask;
};

#define RDONLY VIRTIO_GPU_USERPTR_INFO_RDONLY

static const struct info_case info_cases[] = {
	{ "smallest", PAGE_SIZE, 0, 1, 1, PAGE_SIZE, 0, 0, PAGE_SIZE, 0 },
	{ "alignment 1", PAGE_SIZE, 0, 1, 1, 1, 0, 0, PAGE_SIZE, 0 },
	{ "alignment 0", PAGE_SIZE, 0, 1, 1, 0, 0, -EINVAL },
	{ "alignment 3", PAGE_SIZE, 0, 1, 1, 3, 0, -EINVAL },
	{ "alignment a page less 1", PAGE_SIZE, 0, 1, 1, PAGE_SIZE - 1, 0, -EINVAL },
	{ "alignment two pages", 8 * PAGE_SIZE, 0, 1, 1, 2 * PAGE_SIZE, 0, -EINVAL },
	{ "alignment 2^31", 8 * PAGE_SIZE, 0, 1, 1, BIT(31), 0, -EINVAL },
	{ "no entries", PAGE_SIZE, 0, 0, 1, PAGE_SIZE, 0, -EINVAL },
	{ "no segments", PAGE_SIZE, 0, 1, 0, PAGE_SIZE, 0, -EINVAL },
	{ "no size", 0, 0, 1, 1, PAGE_SIZE, 0, -EINVAL },
	{ "size below a page", PAGE_SIZE - 1, 0, 1, 1, 1, 0, -EINVAL },
	{ "size a page and more", 2 * PAGE_SIZE - 1, 0, 1, 1, 1, 0, 0, PAGE_SIZE, 0 },
	{ "size of all", U64_MAX, 0, U32_MAX, U32_MAX, PAGE_SIZE, 0, 0,
	  (u64)INT_MAX << PAGE_SHIFT, 0 },
	{ "INT_MAX pages", (u64)INT_MAX << PAGE_SHIFT, 0, 5, 6, PAGE_SIZE, 0, 0,
	  (u64)INT_MAX << PAGE_SHIFT, 0 },
	{ "INT_MAX + 1 pages", (INT_MAX + 1ULL) << PAGE_SHIFT, 0, 5, 6, PAGE_SIZE, 0, 0,
	  (u64)INT_MAX << PAGE_SHIFT, 0 },
	{ "read-only", PAGE_SIZE, BIT_ULL(63) | 2, 7, 8, PAGE_SIZE, RDONLY, 0,
	  PAGE_SIZE, BIT_ULL(63) | 2 },
	{ "read-only mask without the flag", PAGE_SIZE, U64_MAX, 7, 8, PAGE_SIZE, ~RDONLY, 0,
	  PAGE_SIZE, 0 },
	{ "read-only flag without a mask", PAGE_SIZE, 0, 7, 8, PAGE_SIZE, RDONLY, 0,
	  PAGE_SIZE, 0 },
};

KUNIT_ARRAY_PARAM_DESC(info, info_cases, name);

static void test_check_info(struct kunit *test)
{
	const struct info_case *c = test->param_value;
	struct virtio_gpu_resp_userptr_info info = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_RESP_OK_USERPTR_INFO),
		.flags = cpu_to_le32(c->flags),
		.max_entries = cpu_to_le32(c->max_entries),
		.max_segments = cpu_to_le32(c->max_segments),
		.alignment = cpu_to_le32(c->alignment),
		.max_size = cpu_to_le64(c->max_size),
		.rdonly_capset_mask = cpu_to_le64(c->mask),
	};
	struct virtio_gpu_userptr_limits limits = {};
	int ret;

	ret = virtio_gpu_userptr_check_info(&info, &limits);
	KUNIT_ASSERT_EQ(test, ret, c->expected);
	if (ret)
		return;
	KUNIT_EXPECT_EQ(test, limits.max_size, c->expected_size);
	KUNIT_EXPECT_EQ(test, limits.rdonly_capsets, c->expected_mask);
	KUNIT_EXPECT_EQ(test, limits.max_entries, c->max_entries);
	KUNIT_EXPECT_EQ(test, limits.max_segments, c->max_segments);
}

static struct kunit_case pure_cases[] = {
	KUNIT_CASE_PARAM(test_check_range, range_gen_params),
	KUNIT_CASE_PARAM(test_errno, errno_gen_params),
	KUNIT_CASE(test_transitions),
	KUNIT_CASE_PARAM(test_check_info, info_gen_params),
	{}
};

static struct kunit_suite pure_suite = {
	.name = "virtio_gpu_userptr_pure",
	.test_cases = pure_cases,
};

/* Pages that the scatterlists of the tests below point to, in turn. */
#define FILL_PAGES 8

struct fill_case {
	const char *name;
	u32 segments;
	u32 max;
};

static const struct fill_case fill_cases[] = {
	{ "1 segment", 1, 4096 },
	{ "1 segment, 1 at a time", 1, 1 },
	{ "2 segments, 1 at a time", 2, 1 },
	{ "300 segments, 1 at a time", 300, 1 },
	{ "300 segments, 7 at a time", 300, 7 },
	{ "4095 segments", 4095, 4096 },
	{ "4096 segments", 4096, 4096 },
	{ "4097 segments", 4097, 4096 },
	{ "8192 segments", 8192, 4096 },
	{ "8193 segments", 8193, 4096 },
	{ "4097 segments, 4095 at a time", 4097, 4095 },
	{ "4097 segments, all at a time", 4097, U32_MAX },
};

KUNIT_ARRAY_PARAM_DESC(fill, fill_cases, name);

/* Lengths repeat every 5 entries and pages every 8: no two neighbours alike. */
static u32 fill_length(u32 i)
{
	return (i % 5 + 1) * PAGE_SIZE;
}

static void free_fill_table(void *sgt)
{
	sg_free_table(sgt);
}

static struct sg_table *fill_table(struct kunit *test, struct page *pages, u32 segments)
{
	struct sg_table *sgt = kunit_kzalloc(test, sizeof(*sgt), GFP_KERNEL);
	struct scatterlist *sg;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, sgt);
	/* More entries than fit a page are chained by this. */
	KUNIT_ASSERT_EQ(test, sg_alloc_table(sgt, segments, GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_fill_table, sgt), 0);
	for_each_sgtable_sg(sgt, sg, i)
		sg_set_page(sg, pages + i % FILL_PAGES, fill_length(i), 0);
	return sgt;
}

static void free_fill_pages(void *pages)
{
	__free_pages(pages, get_order(FILL_PAGES * PAGE_SIZE));
}

static struct page *fill_pages(struct kunit *test)
{
	struct page *pages = alloc_pages(GFP_KERNEL, get_order(FILL_PAGES * PAGE_SIZE));

	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_fill_pages, pages), 0);
	return pages;
}

/* Compare without an expectation for each field of thousands of entries. */
static bool entry_right(const struct virtio_gpu_mem_entry *ent, struct page *pages, u32 i)
{
	return le64_to_cpu(ent->addr) == page_to_phys(pages + i % FILL_PAGES) &&
	       le32_to_cpu(ent->length) == fill_length(i) && !ent->padding;
}

static void test_fill(struct kunit *test)
{
	const struct fill_case *c = test->param_value;
	struct page *pages = fill_pages(test);
	struct virtio_gpu_userptr_cursor cursor = {
		.sg = fill_table(test, pages, c->segments)->sgl,
		.left = c->segments,
	};
	struct virtio_gpu_mem_entry *ents;
	u32 room = min(c->max, c->segments), seen = 0, nr, i;
	u64 offset = 0;

	/* One more than there is room: it must stay as it is. */
	ents = kunit_kmalloc_array(test, room + 1, sizeof(*ents), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ents);

	while (seen < c->segments) {
		memset(ents, 0xa5, (room + 1) * sizeof(*ents));
		nr = virtio_gpu_userptr_fill(&cursor, ents, c->max);
		KUNIT_ASSERT_EQ(test, nr, min(c->max, c->segments - seen));
		for (i = 0; i < nr; i++) {
			KUNIT_ASSERT_TRUE_MSG(test, entry_right(&ents[i], pages, seen + i),
					      "entry %u", seen + i);
			offset += fill_length(seen + i);
		}
		KUNIT_ASSERT_EQ(test, le32_to_cpu(ents[nr].padding), 0xa5a5a5a5);
		seen += nr;
		KUNIT_ASSERT_EQ(test, cursor.left, c->segments - seen);
		KUNIT_ASSERT_EQ(test, cursor.offset, offset);
	}

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_fill(&cursor, ents, c->max), 0);
	KUNIT_EXPECT_EQ(test, cursor.offset, offset);
}

static void test_fill_nothing(struct kunit *test)
{
	struct page *pages = fill_pages(test);
	struct virtio_gpu_userptr_cursor cursor = {
		.sg = fill_table(test, pages, 3)->sgl,
		.left = 3,
	};

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_fill(&cursor, NULL, 0), 0);
	KUNIT_EXPECT_EQ(test, cursor.left, 3);
	KUNIT_EXPECT_EQ(test, cursor.offset, 0);
	KUNIT_EXPECT_PTR_EQ(test, sg_page(cursor.sg), pages);
}

/* Two of the largest segments: the offset needs more than 32 bits. */
static void test_fill_largest(struct kunit *test)
{
	struct page *pages = fill_pages(test);
	struct sg_table *sgt = fill_table(test, pages, 2);
	struct virtio_gpu_userptr_cursor cursor = { .sg = sgt->sgl, .left = 2 };
	struct virtio_gpu_mem_entry ents[2];

	KUNIT_EXPECT_EQ(test, VIRTIO_GPU_USERPTR_MAX_SEGMENT, U32_MAX - PAGE_SIZE + 1);
	sgt->sgl[0].length = VIRTIO_GPU_USERPTR_MAX_SEGMENT;
	sgt->sgl[1].length = VIRTIO_GPU_USERPTR_MAX_SEGMENT;

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_fill(&cursor, ents, 2), 2);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(ents[0].length), VIRTIO_GPU_USERPTR_MAX_SEGMENT);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(ents[1].length), VIRTIO_GPU_USERPTR_MAX_SEGMENT);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(ents[1].addr), page_to_phys(pages + 1));
	KUNIT_EXPECT_EQ(test, cursor.offset, 2ULL * VIRTIO_GPU_USERPTR_MAX_SEGMENT);
}

static struct kunit_case fill_suite_cases[] = {
	KUNIT_CASE_PARAM(test_fill, fill_gen_params),
	KUNIT_CASE(test_fill_nothing),
	KUNIT_CASE(test_fill_largest),
	{}
};

static struct kunit_suite fill_suite = {
	.name = "virtio_gpu_userptr_fill",
	.test_cases = fill_suite_cases,
};

kunit_test_suites(&pure_suite, &fill_suite);
