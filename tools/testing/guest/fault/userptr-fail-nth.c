// SPDX-License-Identifier: MIT
/*
 * userptr-fail-nth: the k-th allocation fails, for every k
 *
 * The kernel fails the k-th allocation that one task makes from the moment on
 * in which k is written to its fail-nth file.  A whole life of a registration
 * is gone through with k = 1, 2, ... until a round ends before the k-th
 * allocation comes.  Runs in the guest, with a kernel that injects failures,
 * on a device whose commands take few entries, so that there are many.
 *
 * Invariant: see userptr-test-session.h; here it holds after every round.
 * What a worker of the kernel allocates is not of this task and never fails.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "lib/userptr-test-session.h"

/* What the runner gives to the device "CHUNKS". */
#define CHUNK_ENTRIES 16u
#define SEGMENTS (4 * CHUNK_ENTRIES)
/* Not there when they are registered: pinning has to allocate them. */
#define ABSENT_PAGES 8
/* Fewer would mean that the failures do not reach the driver. */
#define MIN_POINTS 30
/* More than ever seen; without it an error could make this run for ever. */
#define MAX_POINTS 3000
/*
 * What the kernel allocates for itself in between differs from round to round,
 * so that one pass may miss an allocation.
 */
#define PASSES 3

FIXTURE(fail_nth)
{
	struct session session;
	struct region region;
	int nth;
};

/* What may fail: everything, silently (what is looked for are complaints). */
static int allow_failures(void)
{
	static const struct {
		const char *path, *value;
	} knobs[] = {
		{ "/sys/kernel/debug/failslab/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/failslab/verbose", "0" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/min-order", "0" },
		{ "/sys/kernel/debug/fail_page_alloc/verbose", "0" },
	};
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < sizeof(knobs) / sizeof(*knobs); i++)
		ret = write_file(knobs[i].path, knobs[i].value);
	return ret;
}

FIXTURE_SETUP(fail_nth)
{
	char path[64];

	memset(&self->region, 0, sizeof(self->region));
	self->nth = -1;
	session_begin(_metadata, &self->session, "CHUNKS");
	if (!self->session.node)
		return;
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", gettid());
	self->nth = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth)
	{
		TH_LOG("%s: %m", path);
	}
	ASSERT_EQ(0, allow_failures());
	ASSERT_EQ(0, region_scattered(&self->region, SEGMENTS));
}

FIXTURE_TEARDOWN(fail_nth)
{
	if (self->nth >= 0)
		close(self->nth);
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

/* From now on the @k-th allocation fails; none for 0. */
static int arm(int nth, unsigned int k)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", k);

	return pwrite(nth, text, len, 0) == len ? 0 : -errno;
}

/* How many allocations were left until the one that fails: 0, it did. */
static long left(int nth)
{
	char text[16] = "";

	if (pread(nth, text, sizeof(text) - 1, 0) <= 0)
		return -EIO;
	return strtol(text, NULL, 10);
}

enum step {
	STEP_OPEN,
	STEP_CONTEXT,
	STEP_CREATE,
	STEP_INFO,
	STEP_CLOSE,
	STEP_DONE,
};

/* The life of a registration; @step is how far it came. */
static int live(const char *node, const struct region *region, enum step *step)
{
	struct drm_virtgpu_userptr_info info;
	struct vg_bo bo;
	int fd, ret;

	*step = STEP_OPEN;
	fd = vg_open_node(node);
	if (fd < 0)
		return fd;
	*step = STEP_CONTEXT;
	ret = vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1);
	if (ret)
		goto out;
	*step = STEP_CREATE;
	ret = vg_userptr_create(fd, region->addr, region->size, 0, &bo);
	if (ret)
		goto out;
	*step = STEP_INFO;
	ret = vg_userptr_info(fd, bo.handle, &info);
	if (ret)
		goto out;
	*step = STEP_CLOSE;
	ret = vg_bo_close(fd, bo.handle);
	if (!ret)
		*step = STEP_DONE;
out:
	close(fd);
	return ret;
}

/* After a failure all is as before, and the next one works. */
static void check_round(struct __test_metadata *_metadata, struct session *session,
			const struct region *region, unsigned int k)
{
	ASSERT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS))
	{
		TH_LOG("allocation %u: the device still holds userptr resources", k);
	}
	ASSERT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS))
	{
		TH_LOG("allocation %u: VmPin is %ld kB", k, vg_status_kib("VmPin"));
	}
	ASSERT_EQ(0, wait_pins(session->pins, SETTLE_MS))
	{
		TH_LOG("allocation %u: %ld pages are pinned, %ld before", k, pins_outstanding(),
		       session->pins);
	}
	ASSERT_EQ(0, try_create(session, region->addr, region->size, 0))
	{
		TH_LOG("allocation %u: the next registration fails", k);
	}
}

TEST_F_TIMEOUT(fail_nth, life_of_a_registration, 600)
{
	unsigned int failed_at[STEP_DONE + 1] = { 0 };
	struct region *region = &self->region;
	enum step step;
	unsigned int k, pass = 0, points = 0;
	long rest;
	int ret;

	for (k = 1; pass < PASSES; k++) {
		ASSERT_GT(MAX_POINTS, k);
		ASSERT_EQ(0, madvise(region->addr, ABSENT_PAGES * PAGE, MADV_DONTNEED));
		ASSERT_EQ(0, arm(self->nth, k));
		ret = live(self->session.node, region, &step);
		rest = left(self->nth);
		ASSERT_EQ(0, arm(self->nth, 0));
		ASSERT_LE(0, rest);
		if (rest) {
			/* Beyond the last one: this round has to succeed. */
			EXPECT_EQ(0, ret)
			{
				TH_LOG("without a failure, step %d", step);
			}
			EXPECT_LT(MIN_POINTS, k - 1);
			points += k - 1;
			pass++;
			k = 0;
			continue;
		}
		if (ret != -ENOMEM)
			EXPECT_EQ(0, ret)
			{
				TH_LOG("allocation %u, step %d", k, step);
			}
		failed_at[step]++;
		check_round(_metadata, &self->session, region, k);
	}
	/* The failures reach what is tested here. */
	EXPECT_LT(0, failed_at[STEP_CREATE]);
	printf("summary: %u injection points in %d passes (of these, failed: open %u, "
	       "context %u, create %u, info %u, close %u; done nevertheless %u)\n",
	       points, PASSES, failed_at[STEP_OPEN], failed_at[STEP_CONTEXT],
	       failed_at[STEP_CREATE], failed_at[STEP_INFO], failed_at[STEP_CLOSE],
	       failed_at[STEP_DONE]);
	fflush(stdout);
}

TEST_HARNESS_MAIN
