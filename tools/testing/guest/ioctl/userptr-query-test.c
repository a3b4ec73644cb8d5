// SPDX-License-Identifier: MIT
/*
 * userptr-query-test: what user space is told about userptr resources
 *
 * Parameter, query, capset and info; VmPin, debugfs and tracepoints.  Runs in the
 * guest, as root, with one device.
 *
 * Invariant: see userptr-test-session.h.
 */
#include <sys/mman.h>

#include "ioctl/userptr-fixture.h"

/* All that there is here; see "lacking" in userptr-fault-test for less. */
#define ALL_FLAGS (VIRTGPU_USERPTR_RDONLY | VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT)

TEST_F(userptr, getparam)
{
	int fd = self->session.vg.fd;
	uint64_t value;
	int pair[2] = { 0, 0x5a5a5a5a };
	struct drm_virtgpu_getparam arg = {
		.param = VIRTGPU_PARAM_USERPTR,
		.value = (uintptr_t)pair,
	};

	EXPECT_EQ(0, vg_getparam(fd, VIRTGPU_PARAM_USERPTR, &value));
	EXPECT_EQ(ALL_FLAGS, value);
	/* An int, as all others: what stands behind it is the caller's. */
	EXPECT_EQ(0, vg_ioctl(fd, DRM_IOCTL_VIRTGPU_GETPARAM, &arg));
	EXPECT_EQ(ALL_FLAGS, pair[0]);
	EXPECT_EQ(0x5a5a5a5a, pair[1]);
	EXPECT_EQ(-EINVAL, vg_getparam(fd, VIRTGPU_PARAM_USERPTR + 1, &value));
	EXPECT_EQ(0, vg_getparam(fd, VIRTGPU_PARAM_SUPPORTED_CAPSET_IDs, &value));
	EXPECT_NE(0, value & (1ull << VIRTIO_GPU_CAPSET_LOOPBACK));
}

TEST_F(userptr, query)
{
	struct drm_virtgpu_userptr_query query;
	int fd = self->session.vg.fd;
	unsigned int i;

	ASSERT_EQ(0, vg_userptr_query(fd, &query));
	EXPECT_EQ(0, query.flags);
	EXPECT_EQ(ALL_FLAGS, query.create_flags);
	EXPECT_NE(0, query.rdonly_capset_mask & (1ull << VIRTIO_GPU_CAPSET_LOOPBACK));
	EXPECT_LE(MIB(1024), query.max_size);
	EXPECT_EQ(0, query.max_size % PAGE);
	EXPECT_LE(262144, query.max_segments);
	EXPECT_EQ(PAGE, query.alignment);
	for (i = 0; i < sizeof(query.reserved) / sizeof(*query.reserved); i++)
		EXPECT_EQ(0, query.reserved[i]);

	for (i = 0; i < 32; i += 31) {
		query.flags = 1u << i;
		EXPECT_EQ(-EINVAL, vg_ioctl(fd, DRM_IOCTL_VIRTGPU_USERPTR_QUERY, &query));
	}
	expect_untouched(_metadata, &self->session);
}

/* What a file can do is known only with its context, which is made if need be. */
TEST_F(userptr, query_makes_the_context)
{
	struct drm_virtgpu_userptr_query query;
	int fd = vg_open_node(self->session.node);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vg_userptr_query(fd, &query));
	EXPECT_EQ(0, query.create_flags & VIRTGPU_USERPTR_RDONLY);
	EXPECT_NE(0, query.create_flags & VIRTGPU_USERPTR_KEEP);
	EXPECT_EQ(-EEXIST, vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	close(fd);
}

TEST_F(userptr, capset)
{
	struct loopback_capset capset = { 0 };

	ASSERT_EQ(0, vg_capset(self->session.vg.fd, VIRTIO_GPU_CAPSET_LOOPBACK, &capset,
			       sizeof(capset)));
	EXPECT_EQ(1, le32toh(capset.version));
	EXPECT_NE(0, le32toh(capset.ops) & (1u << LOOPBACK_OP_SHA256));
	EXPECT_NE(0, le32toh(capset.ops) & (1u << LOOPBACK_OP_INJECT));
}

TEST_F(userptr, info)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct drm_virtgpu_userptr_info info;
	int fd = session->vg.fd;
	struct vg_bo bo;

	ASSERT_EQ(0, region_scattered(region, 7));
	ASSERT_EQ(0, create(session, region, VIRTGPU_USERPTR_RDONLY, &bo));
	ASSERT_EQ(0, vg_userptr_info(fd, bo.handle, &info));
	EXPECT_EQ(bo.handle, info.bo_handle);
	EXPECT_EQ(bo.res, info.res_handle);
	EXPECT_EQ((uintptr_t)region->addr, info.addr);
	EXPECT_EQ(region->size, info.size);
	EXPECT_EQ(VIRTGPU_USERPTR_RDONLY, info.create_flags);
	EXPECT_EQ(7, info.nr_segments);
	EXPECT_EQ(VIRTGPU_USERPTR_STATE_LIVE, info.state);

	/* One thing to wait for, or none, and no flag that is not known. */
	EXPECT_EQ(-EINVAL, vg_userptr_wait(fd, bo.handle,
					   VIRTGPU_USERPTR_INFO_WAIT_REVOKED |
						   VIRTGPU_USERPTR_INFO_WAIT_RELEASED,
					   0));
	EXPECT_EQ(-EINVAL, vg_userptr_wait(fd, bo.handle, 1u << 3, 0));
	EXPECT_EQ(-EINVAL, vg_userptr_wait(fd, bo.handle, 1u << 31, 0));
	EXPECT_EQ(-EINVAL, vg_userptr_info(fd, session->vg.result.handle, &info));
	EXPECT_EQ(-ENOENT, vg_userptr_info(fd, 0x7fffffff, &info));
	EXPECT_EQ(0, vg_bo_close(fd, bo.handle));
	EXPECT_EQ(-ENOENT, vg_userptr_info(fd, bo.handle, &info));
}

/*
 * Asked so, the kernel knows at once what it would have found out a moment later; the
 * second page goes right after it has looked, when the next look waits.
 */
TEST_F(userptr, verify)
{
	struct session *session = &self->session;
	int i, fd = session->vg.fd;
	uint32_t state;
	struct vg_bo bo;

	ASSERT_EQ(0, region_alloc(&self->region, 16));
	for (i = 0; i < 50; i++) {
		memset(self->region.addr, i, 16 * PAGE);
		ASSERT_EQ(0, create(session, &self->region, 0, &bo));
		madvise(self->region.addr, 16 * PAGE, MADV_PAGEOUT);
		ASSERT_EQ(0, vg_userptr_verify(fd, bo.handle, &state));
		ASSERT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state);
		ASSERT_EQ(0, madvise(self->region.addr + PAGE, PAGE, MADV_DONTNEED));
		self->region.addr[PAGE] = 1;
		ASSERT_EQ(0, vg_userptr_verify(fd, bo.handle, &state));
		ASSERT_NE(VIRTGPU_USERPTR_STATE_LIVE, state)
		{
			TH_LOG("round %d", i);
		}
		ASSERT_EQ(0, vg_bo_close(fd, bo.handle));
	}
	/* Whose owner has promised is what it was. */
	ASSERT_EQ(0, create(session, &self->region, VIRTGPU_USERPTR_KEEP, &bo));
	ASSERT_EQ(0, madvise(self->region.addr, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, vg_userptr_verify(fd, bo.handle, &state));
	EXPECT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state);
	EXPECT_EQ(-EINVAL, vg_userptr_verify(fd, session->vg.result.handle, &state));
	EXPECT_EQ(-ENOENT, vg_userptr_verify(fd, 0x7fffffff, &state));
	ASSERT_EQ(0, vg_bo_close(fd, bo.handle));
}

/* VmPin counts what is registered, while it is, for each registration. */
TEST_F(userptr, vmpin)
{
	struct session *session = &self->session;
	struct vg_bo one, two;

	ASSERT_EQ(0, region_alloc(&self->region, 100));
	ASSERT_EQ(0, create(session, &self->region, 0, &one));
	EXPECT_EQ(400, vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins + 100, pins_outstanding());
	ASSERT_EQ(0, create(session, &self->region, 0, &two));
	EXPECT_EQ(800, vg_status_kib("VmPin"));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, one.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 400, SETTLE_MS));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, two.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(session->pins, pins_outstanding());
}

TEST_F(userptr, debugfs)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	char path[128], line[256];
	struct vg_bo bo;

	debugfs_path(path, sizeof(path), session->node);
	ASSERT_EQ(0, access(path, R_OK))
	{
		TH_LOG("%s: %m", path);
	}
	ASSERT_EQ(0, region_scattered(region, 6));
	ASSERT_EQ(0, create(session, region, 0, &bo));
	snprintf(line, sizeof(line), "%8u %8d 0x%016lx %14zu %10u LIVE", bo.res, getpid(),
		 (unsigned long)region->addr, region->size, 6);
	EXPECT_TRUE(file_contains(path, line))
	{
		TH_LOG("no line '%s'", line);
	}
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_FALSE(file_contains(path, line));
}

#define TRACING "/sys/kernel/tracing/"

static int trace_userptr(const char *on)
{
	static const char *const events[] = { "create", "chunk", "state", "destroy" };
	char path[128];
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < sizeof(events) / sizeof(*events); i++) {
		snprintf(path, sizeof(path),
			 TRACING "events/virtio_gpu/virtio_gpu_userptr_%s/enable", events[i]);
		ret = write_file(path, on);
	}
	return ret;
}

TEST_F(userptr, tracepoints)
{
	struct session *session = &self->session;
	char text[128];
	struct vg_bo bo;

	if (access(TRACING "events", F_OK))
		SKIP(return, "no tracefs in this kernel");
	ASSERT_EQ(0, trace_userptr("1"));
	ASSERT_EQ(0, region_scattered(&self->region, 3));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, trace_userptr("0"));

	snprintf(text, sizeof(text), "virtio_gpu_userptr_create: res=%u addr=0x%lx", bo.res,
		 (unsigned long)self->region.addr);
	EXPECT_TRUE(file_contains(TRACING "trace", text));
	snprintf(text, sizeof(text), "virtio_gpu_userptr_chunk: res=%u offset=0 entries=3", bo.res);
	EXPECT_TRUE(file_contains(TRACING "trace", text));
	snprintf(text, sizeof(text), "virtio_gpu_userptr_state: res=%u CREATING -> LIVE", bo.res);
	EXPECT_TRUE(file_contains(TRACING "trace", text));
	snprintf(text, sizeof(text), "virtio_gpu_userptr_state: res=%u LIVE -> REVOKING", bo.res);
	EXPECT_TRUE(file_contains(TRACING "trace", text));
	snprintf(text, sizeof(text), "virtio_gpu_userptr_destroy: res=%u", bo.res);
	EXPECT_TRUE(file_contains(TRACING "trace", text));
	snprintf(text, sizeof(text), "virtio_gpu_userptr_state: res=%u REVOKING -> DEAD", bo.res);
	EXPECT_TRUE(file_contains(TRACING "trace", text));
}

TEST_HARNESS_MAIN
