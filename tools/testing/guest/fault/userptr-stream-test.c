// SPDX-License-Identifier: MIT
/*
 * userptr-stream-test: a registration that is under way
 *
 * The pages of a large range go to the device as they are pinned, a command at
 * a time.  So there is a part that the device has, a part that is pinned and a
 * part that nobody has looked at yet, when something goes wrong.  Runs in the
 * guest, on a device whose commands take few entries, so that there are many.
 *
 * Invariant: see userptr-test-session.h.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "lib/userptr-test-session.h"

/* What the runner gives to the device "CHUNKS". */
#define CHUNK_ENTRIES 16u
/* Several times what is pinned at once, and what may be on its way. */
#define SEGMENTS 2048u
#define CHUNKS (SEGMENTS / CHUNK_ENTRIES)
/* Commands of one registration that wait for their answers at a time. */
#define WINDOW 8
/* Of those that are answered before the device stops to. */
#define PASSING 20
#define ADD VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES

FIXTURE(stream)
{
	struct session session;
	struct region region;
};

#define SELF FIXTURE_DATA(stream)

FIXTURE_SETUP(stream)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "CHUNKS");
	if (self->session.node)
		ASSERT_EQ(0, region_scattered(&self->region, SEGMENTS));
}

FIXTURE_TEARDOWN(stream)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

/* It was begun, and nothing of it is left anywhere. */
static void expect_undone(struct __test_metadata *_metadata, SELF *self)
{
	struct session *session = &self->session;
	struct loopback_stats delta;

	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(0, delta.userptr_created);
	EXPECT_EQ(1, delta.userptr_destroyed);
	/* The device had got something before it ended, besides the end. */
	EXPECT_LE(3, delta.userptr_commands);
}

TEST_F(stream, commands_are_full)
{
	struct session *session = &self->session;
	struct loopback_stats delta;
	struct vg_bo bo;

	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(CHUNKS, delta.userptr_commands);
	EXPECT_EQ(SEGMENTS, delta.userptr_segments);
	EXPECT_EQ(16ul * SEGMENTS + sizeof(struct virtio_gpu_resource_create_userptr) +
			  (CHUNKS - 1) * sizeof(struct virtio_gpu_resource_add_userptr_pages),
		  delta.userptr_ring_bytes);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, self->region.addr, self->region.size));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

/* Neighbours are one piece, also where they were not pinned in one go. */
TEST_F(stream, pieces_are_not_cut)
{
	struct session *session = &self->session;
	struct drm_virtgpu_userptr_info info;
	struct region region;
	struct vg_bo bo;

	ASSERT_EQ(0, region_alloc(&region, 4 * 512 + 100));
	ASSERT_EQ(0, create(session, &region, 0, &bo));
	ASSERT_EQ(0, vg_userptr_info(session->vg.fd, bo.handle, &info));
	EXPECT_EQ(region.runs, info.nr_segments);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region.addr, region.size));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	region_free(&region);
}

TEST_F(stream, last_page_not_mapped)
{
	struct region *region = &self->region;
	struct vg_bo bo;

	ASSERT_EQ(0, munmap(region->addr + region->size - PAGE, PAGE));
	EXPECT_EQ(-EFAULT, create(&self->session, region, 0, &bo));
	expect_undone(_metadata, self);
	/* All but that page is as good as ever. */
	region->size -= PAGE;
	EXPECT_EQ(0, try_create(&self->session, region->addr, region->size, 0));
}

TEST_F(stream, last_page_not_writable)
{
	struct region *region = &self->region;
	struct vg_bo bo;

	ASSERT_EQ(0, mprotect(region->addr + region->size - PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, create(&self->session, region, 0, &bo));
	expect_undone(_metadata, self);
	EXPECT_EQ(0,
		  try_create(&self->session, region->addr, region->size, VIRTGPU_USERPTR_RDONLY));
}

/* The device says no to one in the middle, or to the very last one. */
TEST_F(stream, refused_at_any_point)
{
	static const unsigned int points[] = { 0, 7, 8, 9, CHUNKS / 2, CHUNKS - 2 };
	struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_ERROR,
		.command = ADD,
		.param = VIRTIO_GPU_RESP_ERR_LIMIT,
	};
	struct session *session = &self->session;
	struct vg_bo bo;
	size_t i;

	for (i = 0; i < sizeof(points) / sizeof(*points); i++) {
		fault.skip = points[i];
		ASSERT_EQ(0, vg_stats(&session->vg, &session->before));
		ASSERT_EQ(0, vg_inject(&session->vg, &fault));
		EXPECT_EQ(-ENOSPC, create(session, &self->region, 0, &bo))
		{
			TH_LOG("command %u", points[i] + 1);
		}
		expect_undone(_metadata, self);
	}
	EXPECT_EQ(0, try_create(session, self->region.addr, self->region.size, 0));
}

static int create_in_child(void *opaque)
{
	const char *node = opaque;
	struct region region;
	struct vg_bo bo;
	int fd;

	/* Not the parent's memory, whose pages would be copied to new places. */
	CHECK(!region_scattered(&region, SEGMENTS));
	fd = vg_open_node(node);
	CHECK(fd >= 0);
	CHECK(!vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	vg_userptr_create(fd, region.addr, region.size, 0, &bo);
	return 99;
}

static void kill_in_the_middle(struct __test_metadata *_metadata, SELF *self, uint32_t kind)
{
	const struct vg_fault fault = {
		.fault = kind,
		.command = ADD,
		.skip = PASSING,
		.count = SEGMENTS,
		.param = kind == LOOPBACK_FAULT_DELAY ? 1500 : 0,
	};
	const struct vg_fault none = { .fault = LOOPBACK_FAULT_NONE };
	struct session *session = &self->session;
	pid_t pid;

	ASSERT_EQ(0, vg_stats(&session->vg, &session->before));
	ASSERT_EQ(0, vg_inject(&session->vg, &fault));
	pid = run_child(create_in_child, (void *)session->node);
	ASSERT_LT(0, pid);
	/* CREATE, those that pass, and as many as are sent without an answer. */
	EXPECT_EQ(0,
		  wait_commands(session, session->before.userptr_commands + 1 + PASSING + WINDOW));
	EXPECT_LT(session->pins, pins_outstanding());
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(-SIGKILL, child_result(pid));
	ASSERT_EQ(0, vg_inject(&session->vg, &none));
	expect_undone(_metadata, self);
}

TEST_F(stream, killed_in_the_middle)
{
	kill_in_the_middle(_metadata, self, LOOPBACK_FAULT_DELAY);
	kill_in_the_middle(_metadata, self, LOOPBACK_FAULT_DROP);
	EXPECT_EQ(0, try_create(&self->session, self->region.addr, self->region.size, 0));
}

struct unmapper {
	SELF *self;
	size_t offset;
	int ret;
};

/* Not before the device has got a part of it, and stopped to answer. */
static void *unmap_in_the_middle(void *opaque)
{
	struct unmapper *u = opaque;
	struct session *session = &u->self->session;

	u->ret = wait_commands(session, session->before.userptr_commands + 1 + PASSING + WINDOW);
	if (!u->ret && munmap(u->self->region.addr + u->offset, PAGE))
		u->ret = -errno;
	return NULL;
}

/* Of what the device has, of what it has not, while it is at it. */
TEST_F(stream, taken_back_in_the_middle)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = ADD,
		.skip = PASSING,
		.count = SEGMENTS,
		.param = 600,
	};
	struct session *session = &self->session;
	struct unmapper u = { .self = self };
	pthread_t thread;
	struct vg_bo bo;
	int i;

	for (i = 0; i < 2; i++) {
		/* In the second round the first page is gone: start behind it. */
		struct region rest = {
			.addr = self->region.addr + i * PAGE,
			.size = self->region.size - i * PAGE,
		};

		u.offset = i ? self->region.size - PAGE : 0;
		ASSERT_EQ(0, vg_stats(&session->vg, &session->before));
		ASSERT_EQ(0, vg_inject(&session->vg, &fault));
		ASSERT_EQ(0, pthread_create(&thread, NULL, unmap_in_the_middle, &u));
		EXPECT_EQ(-EFAULT, create(session, &rest, 0, &bo));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(0, u.ret);
		expect_undone(_metadata, self);
	}
}

TEST_HARNESS_MAIN
