/* SPDX-License-Identifier: MIT */
/*
 * userptr-test-session: what the test programs put around each test
 *
 * The devices are named by environment variables (see device_node()); a
 * fixture whose device is not there is skipped, saying so.
 *
 * Invariant: after each test the device holds no userptr resource, no page of
 * this kernel is pinned that was not before, and VmPin is 0; session_end()
 * waits for that and fails the test if it does not come about.
 */
#ifndef USERPTR_TEST_SESSION_H
#define USERPTR_TEST_SESSION_H

#include <endian.h>

#include "kselftest_harness.h"
#include "lib/userptr-test-util.h"

/* What the runners give to the devices SMALL, UNPLUG and DYING. */
#define SMALL_BYTES MIB(1)
#define SMALL_SEGMENTS 64u
#define SMALL_ENTRIES 16u

/* In a child there is no harness: say what went wrong, and fail. */
#define CHECK(condition)                                                                 \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "# child, line %d: %s\n", __LINE__, #condition); \
			return 1;                                                        \
		}                                                                        \
	} while (0)

/* The environment variable USERPTR_<name>: path of the render node. */
static inline const char *device_node(const char *name)
{
	char variable[64];

	snprintf(variable, sizeof(variable), "USERPTR_%s", name);
	return getenv(variable);
}

static inline int node_minor(const char *node)
{
	return atoi(strstr(node, "renderD") + strlen("renderD"));
}

/* The debugfs file that lists a device's registrations. */
static inline void debugfs_path(char *path, size_t len, const char *node)
{
	snprintf(path, len, "/sys/kernel/debug/dri/%d/virtio-gpu-userptr", node_minor(node));
}

/**
 * struct session - one context and what was there before the test
 * @vg: the context
 * @node: its device
 * @before: statistics before
 * @pins: pages pinned before
 */
struct session {
	struct vg vg;
	const char *node;
	struct loopback_stats before;
	long pins;
};

static inline void session_begin(struct __test_metadata *_metadata, struct session *session,
				 const char *name)
{
	memset(session, 0, sizeof(*session));
	session->vg.fd = -1;
	session->node = device_node(name);
	if (!session->node)
		SKIP(return, "no device \"%s\" in this run", name);
	ASSERT_EQ(0, vg_open(&session->vg, session->node, 2));
	ASSERT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	ASSERT_EQ(0, vg_stats(&session->vg, &session->before));
	ASSERT_EQ(0, vg_status_kib("VmPin"));
	session->pins = pins_outstanding();
	ASSERT_LE(0, session->pins);
}

static inline void session_end(struct __test_metadata *_metadata, struct session *session)
{
	const struct vg_fault none = { .fault = LOOPBACK_FAULT_NONE };
	struct vg vg;

	if (!session->node)
		return;
	vg_close(&session->vg);
	ASSERT_EQ(0, vg_open(&vg, session->node, 1));
	/* Refused where the device has no fault injection. */
	vg_inject(&vg, &none);
	EXPECT_EQ(0, wait_no_resources(&vg, SETTLE_MS))
	{
		TH_LOG("the device still holds userptr resources");
	}
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS))
	{
		TH_LOG("%ld pages are pinned, %ld before the test", pins_outstanding(),
		       session->pins);
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS))
	{
		TH_LOG("VmPin is %ld kB", vg_status_kib("VmPin"));
	}
	vg_close(&vg);
}

/* Statistics now minus statistics before the test. */
static inline int stats_since(struct session *session, struct loopback_stats *delta)
{
	const uint64_t *from = (const uint64_t *)&session->before;
	uint64_t *to = (uint64_t *)delta;
	size_t i;
	int ret = vg_stats(&session->vg, delta);

	for (i = 0; !ret && i < sizeof(*delta) / sizeof(*to); i++)
		to[i] -= from[i];
	return ret;
}

/* Wait until the device has got that many userptr commands, ever. */
static inline int wait_commands(struct session *session, uint64_t commands)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	struct loopback_stats stats;
	int ret;

	do {
		ret = vg_stats(&session->vg, &stats);
	} while (!ret && stats.userptr_commands < commands && vg_now_us() < end);
	return ret ?: stats.userptr_commands < commands ? -ETIME : 0;
}

/* Nothing may have gone to the device, and nothing may be pinned. */
static inline void expect_untouched(struct __test_metadata *_metadata, struct session *session)
{
	struct loopback_stats delta;

	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(0, delta.userptr_commands);
	EXPECT_EQ(0, delta.userptr_resources);
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins, pins_outstanding());
}

static inline int create(struct session *session, const struct region *region, uint32_t flags,
			 struct vg_bo *bo)
{
	return vg_userptr_create(session->vg.fd, region->addr, region->size, flags, bo);
}

static inline int try_create(struct session *session, const void *addr, uint64_t size,
			     uint32_t flags)
{
	struct vg_bo bo;
	int ret = vg_userptr_create(session->vg.fd, addr, size, flags, &bo);

	return ret ?: vg_bo_close(session->vg.fd, bo.handle);
}

/*
 * Kernel memory that a registration costs, smallest of a few: what else the
 * kernel allocates meanwhile is not the registration's.
 */
static inline long registration_cost(struct session *session, const struct region *region)
{
	long before, after, least = 1l << 40;
	struct vg_bo bo;
	int i;

	for (i = 0; i < 4; i++) {
		before = free_memory();
		if (create(session, region, 0, &bo))
			return -EIO;
		after = free_memory();
		if (before - after < least)
			least = before - after;
		if (vg_bo_close(session->vg.fd, bo.handle) ||
		    vg_wait_status_kib("VmPin", 0, SETTLE_MS))
			return -EIO;
	}
	return least;
}

#endif /* USERPTR_TEST_SESSION_H */
