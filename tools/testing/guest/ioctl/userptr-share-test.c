// SPDX-License-Identifier: MIT
/*
 * userptr-share-test: several that use the same memory, file or resource
 *
 * Registrations that overlap, contexts, processes, threads, descriptors that are
 * passed on; and what cannot be shared.  Runs in the guest, as root, with one
 * device.
 *
 * Invariant: see userptr-test-session.h.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "ioctl/userptr-fixture.h"

TEST_F(userptr, overlapping_registrations)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct vg *vg = &session->vg;
	struct vg_bo low, high;

	ASSERT_EQ(0, region_scattered(region, 12));
	memset(region->addr, 0, region->size);
	ASSERT_EQ(0, vg_userptr_create(vg->fd, region->addr, 8 * PAGE, 0, &low));
	ASSERT_EQ(0, vg_userptr_create(vg->fd, region->addr + 4 * PAGE, 8 * PAGE, 0, &high));
	ASSERT_NE(low.res, high.res);
	/* What one writes at its end the other has in its middle. */
	ASSERT_EQ(0, vg_fill(vg, low.res, 7 * PAGE, PAGE, 0xaa));
	EXPECT_TRUE(same_digest(vg, high.res, region->addr + 4 * PAGE, 8 * PAGE));
	EXPECT_EQ(0xaa, region->addr[7 * PAGE]);
	EXPECT_EQ(0xaa, region->addr[8 * PAGE - 1]);
	EXPECT_EQ(0, region->addr[8 * PAGE]);
	/* One ends, the other lives on. */
	EXPECT_EQ(0, vg_bo_close(vg->fd, low.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 32, SETTLE_MS));
	ASSERT_EQ(0, vg_fill(vg, high.res, 0, 1, 0xbb));
	EXPECT_EQ(0xbb, region->addr[4 * PAGE]);
	EXPECT_EQ(0, vg_bo_close(vg->fd, high.handle));
}

TEST_F(userptr, two_contexts)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct loopback_status status;
	struct vg_bo bo, other_bo;
	struct vg other;

	ASSERT_EQ(0, region_alloc(region, 4));
	region_fill(region, 3);
	ASSERT_EQ(0, vg_open(&other, session->node, 1));
	ASSERT_EQ(0, create(session, region, 0, &bo));
	/* Registered in one file, so not attached in the other. */
	EXPECT_EQ(-EACCES, vg_fill(&other, bo.res, 0, 1, 0));
	vg_status(&other, &status);
	EXPECT_EQ(LOOPBACK_ERR_RESOURCE, status.error);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));

	ASSERT_EQ(0, vg_userptr_create(other.fd, region->addr, region->size, 0, &other_bo));
	EXPECT_TRUE(same_digest(&other, other_bo.res, region->addr, region->size));
	EXPECT_EQ(-EACCES, vg_fill(&session->vg, other_bo.res, 0, 1, 0));
	vg_close(&other);
	/* Closing the other file ended its registration only. */
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 16, SETTLE_MS));
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

struct process_arg {
	const char *node;
	uint8_t *addr;
	size_t size;
	struct vg *vg;
	struct vg_bo bo;
	int pipe[2];
	int sock[2];
};

/* Registers the same addresses, which are other pages in this process. */
static int second_process(void *opaque)
{
	struct process_arg *arg = opaque;
	struct vg vg;
	struct vg_bo bo;

	memset(arg->addr, 0x22, arg->size);
	CHECK(!vg_open(&vg, arg->node, 1));
	CHECK(!vg_userptr_create(vg.fd, arg->addr, arg->size, 0, &bo));
	CHECK(same_digest(&vg, bo.res, arg->addr, arg->size));
	CHECK(!vg_fill(&vg, bo.res, 0, arg->size, 0x33));
	CHECK(arg->addr[0] == 0x33 && arg->addr[arg->size - 1] == 0x33);
	/* Ends with the registration alive. */
	return 0;
}

TEST_F(userptr, two_processes)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct process_arg arg = { .node = session->node };
	struct vg_bo bo;
	size_t i;

	ASSERT_EQ(0, region_scattered(region, 20));
	memset(region->addr, 0x11, region->size);
	ASSERT_EQ(0, create(session, region, 0, &bo));
	arg.addr = region->addr;
	arg.size = region->size;
	ASSERT_EQ(0, child_result(run_child(second_process, &arg)));
	for (i = 0; i < region->size; i++)
		ASSERT_EQ(0x11, region->addr[i]);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

/* After fork both write; the host goes on seeing the pages of the parent. */
static int forked_writer(void *opaque)
{
	struct process_arg *arg = opaque;
	char token;

	memset(arg->addr, 0x66, arg->size);
	CHECK(write(arg->pipe[1], "1", 1) == 1);
	CHECK(read(arg->sock[1], &token, 1) == 1);
	/* Neither the parent's nor the host's writes came here. */
	CHECK(arg->addr[0] == 0x66 && arg->addr[arg->size - 1] == 0x66);
	return 0;
}

TEST_F(userptr, fork_with_both_sides_writing)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct process_arg arg = { 0 };
	struct vg_bo bo;
	char token;
	pid_t pid;

	ASSERT_EQ(0, region_scattered(region, 16));
	memset(region->addr, 0x44, region->size);
	ASSERT_EQ(0, create(session, region, 0, &bo));
	arg.addr = region->addr;
	arg.size = region->size;
	ASSERT_EQ(0, pipe(arg.pipe));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, arg.sock));
	pid = run_child(forked_writer, &arg);
	ASSERT_LT(0, pid);
	ASSERT_EQ(1, read(arg.pipe[0], &token, 1));
	EXPECT_EQ(0x44, region->addr[0]);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	memset(region->addr, 0x55, region->size / 2);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	ASSERT_EQ(0, vg_fill(&session->vg, bo.res, 5 * PAGE, PAGE, 0x99));
	EXPECT_EQ(0x99, region->addr[5 * PAGE]);
	EXPECT_EQ(0x55, region->addr[4 * PAGE]);
	ASSERT_EQ(1, write(arg.sock[0], "1", 1));
	EXPECT_EQ(0, child_result(pid));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

/* Another process with the passed descriptor: the handles and ids are good. */
static int fd_receiver(void *opaque)
{
	struct process_arg *arg = opaque;
	struct drm_virtgpu_userptr_info info;
	struct vg vg = *arg->vg;
	struct vg_bo bo;
	void *map;

	vg.fd = receive_fd(arg->sock[1]);
	CHECK(vg.fd > arg->vg->fd);
	close(arg->vg->fd);
	/* Through the passed descriptor, not what fork left here. */
	CHECK(!vg_map(vg.fd, vg.result.handle, VG_RESULT_SIZE, &map));
	vg.map = map;
	CHECK(!vg_userptr_info(vg.fd, arg->bo.handle, &info));
	CHECK(info.addr == (uintptr_t)arg->addr && info.state == VIRTGPU_USERPTR_STATE_LIVE);
	CHECK(!vg_fill(&vg, arg->bo.res, 1, 1, 0xcd));
	/* A registration is always of the caller's own memory. */
	memset(arg->addr, 0x0f, PAGE);
	CHECK(!vg_userptr_create(vg.fd, arg->addr, PAGE, 0, &bo));
	CHECK(same_digest(&vg, bo.res, arg->addr, PAGE));
	CHECK(!vg_bo_close(vg.fd, bo.handle));
	CHECK(!vg_bo_close(vg.fd, arg->bo.handle));
	return 0;
}

TEST_F(userptr, descriptor_passed_over_a_socket)
{
	struct session *session = &self->session;
	struct process_arg arg = { .vg = &session->vg };
	struct region *region = &self->region;
	pid_t pid;

	ASSERT_EQ(0, region_alloc(region, 4));
	region_fill(region, 8);
	ASSERT_EQ(0, create(session, region, 0, &arg.bo));
	arg.addr = region->addr;
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, arg.sock));
	pid = run_child(fd_receiver, &arg);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, send_fd(arg.sock[0], session->vg.fd));
	ASSERT_EQ(0, child_result(pid));
	/* The other process let the host write to our memory, not to its own. */
	EXPECT_EQ(0xcd, region->addr[1]);
	/* It also closed the last handle, on our account. */
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(-EINVAL, vg_bo_close(session->vg.fd, arg.bo.handle));
}

/* An offset may be had, but there is nothing to map at it. */
TEST_F(userptr, export_and_map_are_refused)
{
	struct session *session = &self->session;
	struct drm_prime_handle prime = { .flags = DRM_CLOEXEC };
	struct drm_virtgpu_map map = { 0 };
	struct vg_bo bo;

	ASSERT_EQ(0, region_alloc(&self->region, 2));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	prime.handle = bo.handle;
	EXPECT_EQ(-EPERM, vg_ioctl(session->vg.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	map.handle = bo.handle;
	if (!vg_ioctl(session->vg.fd, DRM_IOCTL_VIRTGPU_MAP, &map)) {
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
					   session->vg.fd, map.offset));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(MAP_FAILED,
			  mmap(NULL, PAGE, PROT_READ, MAP_SHARED, session->vg.fd, map.offset));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

struct flink_arg {
	char node[64];
	uint32_t name;
};

static int flink_opener(void *opaque)
{
	struct flink_arg *arg = opaque;
	struct drm_gem_open open_arg = { .name = arg->name };
	int fd = vg_open_node(arg->node);

	CHECK(fd >= 0);
	CHECK(!vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	CHECK(vg_ioctl(fd, DRM_IOCTL_GEM_OPEN, &open_arg) == -EPERM);
	return 0;
}

TEST_F(userptr, another_process_cannot_open_it_by_name)
{
	struct session *session = &self->session;
	struct drm_gem_flink flink = { 0 };
	struct flink_arg arg;
	struct vg_bo bo;
	int fd;

	ASSERT_EQ(0, region_alloc(&self->region, 2));
	/* Names exist on the primary node only. */
	snprintf(arg.node, sizeof(arg.node), "/dev/dri/card%d", node_minor(session->node) - 128);
	fd = vg_open_node(arg.node);
	ASSERT_LE(0, fd)
	{
		TH_LOG("%s: %s", arg.node, strerror(-fd));
	}
	ASSERT_EQ(0, vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	ASSERT_EQ(0, vg_userptr_create(fd, self->region.addr, self->region.size, 0, &bo));
	flink.handle = bo.handle;
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_GEM_FLINK, &flink));
	arg.name = flink.name;
	EXPECT_EQ(0, child_result(run_child(flink_opener, &arg)));
	close(fd);
}

#define THREADS 4
#define THREAD_ROUNDS 60

struct thread_arg {
	const char *node;
	pthread_t thread;
	unsigned int seed;
	int failed;
};

/* One mm, one counter VmPin, one interval of addresses, many at a time. */
static void *register_in_thread(void *opaque)
{
	struct thread_arg *arg = opaque;
	struct region region = { 0 };
	struct vg vg = { .fd = -1 };
	struct vg_bo bo;
	int i;

	arg->failed = __LINE__;
	if (vg_open(&vg, arg->node, 1) || region_alloc(&region, 64))
		return NULL;
	region_fill(&region, arg->seed);
	for (i = 0; i < THREAD_ROUNDS; i++) {
		size_t first = rand_r(&arg->seed) % 64;
		size_t pages = 1 + rand_r(&arg->seed) % (64 - first);
		uint8_t *addr = region.addr + first * PAGE;

		arg->failed = __LINE__;
		if (vg_userptr_create(vg.fd, addr, pages * PAGE, 0, &bo))
			return NULL;
		arg->failed = __LINE__;
		if (!same_digest(&vg, bo.res, addr, pages * PAGE))
			return NULL;
		arg->failed = __LINE__;
		if (vg_bo_close(vg.fd, bo.handle))
			return NULL;
	}
	vg_close(&vg);
	region_free(&region);
	arg->failed = 0;
	return NULL;
}

TEST_F(userptr, threads)
{
	struct thread_arg args[THREADS];
	struct loopback_stats delta;
	int i;

	for (i = 0; i < THREADS; i++) {
		args[i].node = self->session.node;
		args[i].seed = i;
		ASSERT_EQ(0, pthread_create(&args[i].thread, NULL, register_in_thread, &args[i]));
	}
	for (i = 0; i < THREADS; i++) {
		ASSERT_EQ(0, pthread_join(args[i].thread, NULL));
		EXPECT_EQ(0, args[i].failed);
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	ASSERT_EQ(0, stats_since(&self->session, &delta));
	EXPECT_EQ(THREADS * THREAD_ROUNDS, delta.userptr_created);
	EXPECT_EQ(THREADS * THREAD_ROUNDS, delta.userptr_destroyed);
}

TEST_HARNESS_MAIN
