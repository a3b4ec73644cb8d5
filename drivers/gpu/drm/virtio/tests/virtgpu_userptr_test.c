// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of what is pure arithmetic
 *
 * Ranges, the device's limits and answers, states, and the encoding of runs.  No
 * process, no device, and nothing here sleeps.
 */

#include <kunit/test.h>

#include <linux/module.h>

#include "../virtgpu_userptr.h"

/* The expected outcome where an address or size does not fit 32 bits. */
#define ON_64BIT(ret)	(IS_ENABLED(CONFIG_64BIT) ? (ret) : -EFAULT)

/**
 * struct userptr_test_range_case - a range, as user space gives it
 * @name: of the case
 * @addr: address
 * @size: bytes
 * @expected: what virtio_gpu_userptr_check_range() makes of it
 */
struct userptr_test_range_case {
	const char *name;
	u64 addr;
	u64 size;
	int expected;
};

static const struct userptr_test_range_case userptr_test_range_cases[] = {
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

KUNIT_ARRAY_PARAM_DESC(userptr_test_range, userptr_test_range_cases, name);

static void userptr_test_check_range(struct kunit *test)
{
	const struct userptr_test_range_case *c = test->param_value;

	KUNIT_EXPECT_EQ_MSG(test, virtio_gpu_userptr_check_range(c->addr, c->size), c->expected,
			    "addr 0x%llx size 0x%llx", c->addr, c->size);
}

/**
 * struct userptr_test_errno_case - an answer
 * @name: of the case
 * @type: of the answer
 * @expected: what it means
 */
struct userptr_test_errno_case {
	const char *name;
	u32 type;
	int expected;
};

static const struct userptr_test_errno_case userptr_test_errno_cases[] = {
	{ "OK_NODATA", VIRTIO_GPU_RESP_OK_NODATA, 0 },
	{ "ERR_UNSPEC", VIRTIO_GPU_RESP_ERR_UNSPEC, -EIO },
	{ "ERR_OUT_OF_MEMORY", VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, -ENOMEM },
	{ "ERR_INVALID_SCANOUT_ID", VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID, -EIO },
	{ "ERR_INVALID_RESOURCE_ID", VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, -ENOENT },
	{ "ERR_INVALID_CONTEXT_ID", VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID, -ENOENT },
	{ "ERR_INVALID_PARAMETER", VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, -EINVAL },
	{ "ERR_LIMIT", VIRTIO_GPU_RESP_ERR_LIMIT, -ENOSPC },
	{ "ERR_UNSUPPORTED", VIRTIO_GPU_RESP_ERR_UNSUPPORTED, -EOPNOTSUPP },
	{ "nothing written", 0, -EIO },
	{ "OK with data", VIRTIO_GPU_RESP_OK_DISPLAY_INFO, -EIO },
	{ "OK with the limits", VIRTIO_GPU_RESP_OK_USERPTR_INFO, -EIO },
	{ "a command", VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, -EIO },
	{ "next to ERR_UNSUPPORTED", VIRTIO_GPU_RESP_ERR_UNSUPPORTED + 1, -EIO },
	{ "1", 1, -EIO },
	{ "all bits", U32_MAX, -EIO },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_errno, userptr_test_errno_cases, name);

static void userptr_test_errno(struct kunit *test)
{
	const struct userptr_test_errno_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_errno(c->type), c->expected);
}

static void userptr_test_transitions(struct kunit *test)
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

/**
 * struct userptr_test_info_case - what a device says of itself
 * @name: of the case
 * @max_size: its answer
 * @mask: rdonly_capset_mask of its answer
 * @max_entries: its answer
 * @max_segments: its answer
 * @alignment: its answer
 * @flags: its answer
 * @expected: what virtio_gpu_userptr_check_info() makes of it
 * @expected_size: limit, if that is 0
 * @expected_mask: likewise
 * @expected_alignment: likewise; 0 for a page
 */
struct userptr_test_info_case {
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
	u32 expected_alignment;
};

#define RDONLY VIRTIO_GPU_USERPTR_INFO_RDONLY

static const struct userptr_test_info_case userptr_test_info_cases[] = {
	{ "smallest", PAGE_SIZE, 0, 1, 1, PAGE_SIZE, 0, 0, PAGE_SIZE, 0 },
	{ "alignment 1", PAGE_SIZE, 0, 1, 1, 1, 0, 0, PAGE_SIZE, 0 },
	{ "alignment 0", PAGE_SIZE, 0, 1, 1, 0, 0, -EINVAL },
	{ "alignment 3", PAGE_SIZE, 0, 1, 1, 3, 0, -EINVAL },
	{ "alignment a page less 1", PAGE_SIZE, 0, 1, 1, PAGE_SIZE - 1, 0, -EINVAL },
	{ "alignment two pages", 9 * PAGE_SIZE, 0, 1, 1, 2 * PAGE_SIZE, 0, 0, 8 * PAGE_SIZE, 0,
	  2 * PAGE_SIZE },
	{ "alignment 64 KiB", SZ_1M, 0, 1, 1, SZ_64K, 0, 0, SZ_1M, 0, SZ_64K },
	{ "alignment 2 MiB", SZ_1G + SZ_1M, 0, 1, 1, SZ_2M, 0, 0, SZ_1G, 0, SZ_2M },
	{ "alignment 2 MiB, size 1 MiB", SZ_1M, 0, 1, 1, SZ_2M, 0, -EINVAL },
	{ "alignment 3 MiB", SZ_1G, 0, 1, 1, SZ_1M | SZ_2M, 0, -EINVAL },
	{ "alignment 4 MiB", SZ_1G, 0, 1, 1, SZ_4M, 0, -EINVAL },
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

KUNIT_ARRAY_PARAM_DESC(userptr_test_info, userptr_test_info_cases, name);

static void userptr_test_check_info(struct kunit *test)
{
	const struct userptr_test_info_case *c = test->param_value;
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
	KUNIT_EXPECT_EQ(test, limits.alignment, c->expected_alignment ?: PAGE_SIZE);
}

/**
 * struct userptr_test_state_case - a state of the driver's
 * @name: of the case
 * @state: it
 * @unpinned: and the pages have been given back
 * @expected: what user space sees
 */
struct userptr_test_state_case {
	const char *name;
	enum virtio_gpu_userptr_state state;
	bool unpinned;
	u32 expected;
};

static const struct userptr_test_state_case userptr_test_state_cases[] = {
	{ "CREATING", VIRTIO_GPU_USERPTR_CREATING, false, VIRTGPU_USERPTR_STATE_LIVE },
	{ "LIVE", VIRTIO_GPU_USERPTR_LIVE, false, VIRTGPU_USERPTR_STATE_LIVE },
	{ "REVOKING", VIRTIO_GPU_USERPTR_REVOKING, false, VIRTGPU_USERPTR_STATE_REVOKED },
	{ "DEAD, still pinned", VIRTIO_GPU_USERPTR_DEAD, false, VIRTGPU_USERPTR_STATE_REVOKED },
	{ "DEAD", VIRTIO_GPU_USERPTR_DEAD, true, VIRTGPU_USERPTR_STATE_RELEASED },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_state, userptr_test_state_cases, name);

static void userptr_test_uapi_state(struct kunit *test)
{
	const struct userptr_test_state_case *c = test->param_value;
	struct virtio_gpu_object_userptr *userptr = kunit_kzalloc(test, sizeof(*userptr),
								  GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, userptr);
	userptr->state = c->state;
	userptr->unpinned = c->unpinned;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_uapi_state(userptr), c->expected);
}

/* What a run can say, and that its length fits the wire. */
static void userptr_test_run(struct kunit *test)
{
	static const u64 pfns[] = { 0, 1, BIT_ULL(32) - 1, BIT_ULL(52 - PAGE_SHIFT) - 1 };
	const unsigned long pages[] = { 1, 2, 512, VIRTIO_GPU_USERPTR_RUN_MAX };
	unsigned int i, j;

	KUNIT_EXPECT_GE(test, VIRTIO_GPU_USERPTR_RUN_MAX, SZ_1G >> PAGE_SHIFT);
	KUNIT_EXPECT_LE(test, (u64)VIRTIO_GPU_USERPTR_RUN_MAX << PAGE_SHIFT, (u64)U32_MAX);
	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		for (j = 0; j < ARRAY_SIZE(pages); j++) {
			u64 run = pfns[i] << VIRTIO_GPU_USERPTR_RUN_BITS | pages[j];

			KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_run_pages(run), pages[j]);
			KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_run_pfn(run), pfns[i]);
		}
	}
}

static struct kunit_case userptr_test_pure_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_check_range, userptr_test_range_gen_params),
	KUNIT_CASE_PARAM(userptr_test_errno, userptr_test_errno_gen_params),
	KUNIT_CASE(userptr_test_transitions),
	KUNIT_CASE_PARAM(userptr_test_check_info, userptr_test_info_gen_params),
	KUNIT_CASE_PARAM(userptr_test_uapi_state, userptr_test_state_gen_params),
	KUNIT_CASE(userptr_test_run),
	{}
};

static struct kunit_suite userptr_test_pure_suite = {
	.name = "virtio_gpu_userptr_pure",
	.test_cases = userptr_test_pure_cases,
};

kunit_test_suite(userptr_test_pure_suite);

MODULE_DESCRIPTION("KUnit tests of virtio-gpu userptr resources");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
