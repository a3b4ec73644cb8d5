// SPDX-License-Identifier: MIT
/*
 * userptr-test: virtio-gpu userptr resources from a process's point of view
 *
 * Runs in the guest against the real host device.  The devices that a fixture
 * needs are named by environment variables (see device_node()); a fixture
 * whose device is not there is skipped, saying so.
 *
 * Invariant: after each test the device holds no userptr resource, no page of
 * this kernel is pinned that was not before, and VmPin is 0; the teardown
 * waits for that and fails if it does not come about.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/userptr-test-session.h"

#define CREATE_SIZE sizeof(struct virtio_gpu_resource_create_userptr)
#define ADD_SIZE sizeof(struct virtio_gpu_resource_add_userptr_pages)
/* Entries that the driver puts into one command. */
#define CHUNK 1024u

/* ---- the device with default limits ---------------------------------- */

FIXTURE(userptr)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(userptr)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(userptr)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

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

TEST_F(userptr, malformed_arguments)
{
	struct region *region = &self->region;
	struct drm_virtgpu_resource_create_userptr good, bad;
	int fd = self->session.vg.fd;

	ASSERT_EQ(0, region_alloc(region, 4));
	memset(&good, 0, sizeof(good));
	good.addr = (uintptr_t)region->addr;
	good.size = region->size;

#define EXPECT_REFUSED(field, wrong)                                                               \
	do {                                                                                       \
		bad = good;                                                                        \
		bad.field = (wrong);                                                               \
		EXPECT_EQ(-EINVAL, vg_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR, &bad)); \
	} while (0)
	EXPECT_REFUSED(size, 0);
	EXPECT_REFUSED(size, good.size - 1);
	EXPECT_REFUSED(size, good.size + 512);
	EXPECT_REFUSED(addr, good.addr + 1);
	EXPECT_REFUSED(addr, good.addr + 2048);
	EXPECT_REFUSED(flags, 1u << 3);
	EXPECT_REFUSED(flags, VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT);
	EXPECT_REFUSED(flags, 1u << 31);
	EXPECT_REFUSED(pad, 1);
#undef EXPECT_REFUSED
	expect_untouched(_metadata, &self->session);
	/* The good one is good: what was refused was the one field. */
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR, &good));
	EXPECT_EQ(0, vg_bo_close(fd, good.bo_handle));
}

TEST_F(userptr, addresses_outside_user_space)
{
	struct session *session = &self->session;

	/* Wraps, ends at the very end, not canonical, just beyond, not mapped. */
	EXPECT_EQ(-EFAULT, try_create(session, (void *)-PAGE, 2 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, (void *)-PAGE, PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, (void *)(1ul << 63), PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, (void *)0x00007ffffffff000, 2 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, NULL, PAGE, 0));
	expect_untouched(_metadata, session);
}

TEST_F(userptr, holes_and_protection)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	uint8_t *at;

	ASSERT_EQ(0, region_alloc(region, 1024));
	at = region->addr;
	ASSERT_EQ(0, munmap(at + 700 * PAGE, PAGE));
	EXPECT_EQ(-EFAULT, try_create(session, at, region->size, 0));
	EXPECT_EQ(-EFAULT, try_create(session, at + 700 * PAGE, PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, at, region->size, VIRTGPU_USERPTR_RDONLY));

	ASSERT_EQ(0, mprotect(at + 600 * PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(-EFAULT, try_create(session, at, 601 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, at, 601 * PAGE, VIRTGPU_USERPTR_RDONLY));

	ASSERT_EQ(0, mprotect(at + 500 * PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, try_create(session, at, 501 * PAGE, 0));
	expect_untouched(_metadata, session);
	EXPECT_EQ(0, try_create(session, at, 501 * PAGE, VIRTGPU_USERPTR_RDONLY));
	EXPECT_EQ(0, try_create(session, at, 500 * PAGE, 0));
}

TEST_F(userptr, mapping_of_another_object)
{
	struct session *session = &self->session;

	/* The results blob, which this process has mapped. */
	EXPECT_EQ(-EFAULT, try_create(session, session->vg.map, VG_RESULT_SIZE, 0));
	EXPECT_EQ(-EFAULT,
		  try_create(session, session->vg.map, VG_RESULT_SIZE, VIRTGPU_USERPTR_RDONLY));
	expect_untouched(_metadata, session);
}

TEST_F(userptr, secretmem)
{
	struct session *session = &self->session;
	void *addr;
	int fd;

	fd = syscall(SYS_memfd_secret, 0);
	if (fd < 0)
		SKIP(return, "no memfd_secret() in this kernel: %s", strerror(errno));
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	addr = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(-EFAULT, try_create(session, addr, PAGE, 0));
	expect_untouched(_metadata, session);
}

/* Shared memory without dirty tracking is memory like any other. */
TEST_F(userptr, shared_tmpfs_mapping)
{
	struct session *session = &self->session;
	struct vg_bo bo;
	uint8_t *addr;
	int fd;

	fd = memfd_create("shared", MFD_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 16 * PAGE));
	addr = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, vg_userptr_create(session->vg.fd, addr, 16 * PAGE, 0, &bo));
	ASSERT_EQ(0, vg_fill(&session->vg, bo.res, PAGE - 1, 2, 0x77));
	EXPECT_EQ(0, addr[PAGE - 2]);
	EXPECT_EQ(0x77, addr[PAGE - 1]);
	EXPECT_EQ(0x77, addr[PAGE]);
	EXPECT_EQ(0, addr[PAGE + 1]);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, addr, 16 * PAGE));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

TEST_F(userptr, dirty_tracked_file)
{
	struct session *session = &self->session;
	const char *image = getenv("USERPTR_EXT4"), *dir = "/dev/shm/ext4";
	uint8_t *addr;
	int fd;

	if (!image)
		SKIP(return, "no ext4 image in this run");
	mkdir(dir, 0700);
	ASSERT_EQ(0, mount(image, dir, "ext4", 0, NULL))
	{
		TH_LOG("%s: %m", image);
	}
	fd = open("/dev/shm/ext4/file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 4 * PAGE));

	addr = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 0x42, 4 * PAGE);
	EXPECT_EQ(-EFAULT, try_create(session, addr, 4 * PAGE, 0));
	expect_untouched(_metadata, session);
	/* Reading the file's own pages, or writing copies of them, is fine. */
	EXPECT_EQ(0, try_create(session, addr, 4 * PAGE, VIRTGPU_USERPTR_RDONLY));
	EXPECT_EQ(0, munmap(addr, 4 * PAGE));
	addr = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, try_create(session, addr, 4 * PAGE, 0));
	EXPECT_EQ(0, munmap(addr, 4 * PAGE));
	close(fd);
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, umount(dir))
	{
		TH_LOG("umount: %m");
	}
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
	EXPECT_EQ(-EINVAL, vg_userptr_wait(fd, bo.handle, 1u << 2, 0));
	EXPECT_EQ(-EINVAL, vg_userptr_wait(fd, bo.handle, 1u << 31, 0));
	EXPECT_EQ(-EINVAL, vg_userptr_info(fd, session->vg.result.handle, &info));
	EXPECT_EQ(-ENOENT, vg_userptr_info(fd, 0x7fffffff, &info));
	EXPECT_EQ(0, vg_bo_close(fd, bo.handle));
	EXPECT_EQ(-ENOENT, vg_userptr_info(fd, bo.handle, &info));
}

TEST_F(userptr, handle_closed_twice)
{
	struct session *session = &self->session;
	struct vg_bo bo;

	ASSERT_EQ(0, region_alloc(&self->region, 3));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(-EINVAL, vg_bo_close(session->vg.fd, bo.handle));
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

TEST_F(userptr, read_only_is_enforced_by_the_host)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct vg *vg = &session->vg;
	struct loopback_status status;
	struct vg_copy copy;
	struct vg_bo bo, rw;
	uint8_t before[LOOPBACK_SHA256_SIZE], after[LOOPBACK_SHA256_SIZE];

	ASSERT_EQ(0, region_scattered(region, 5));
	region_fill(region, 5);
	ASSERT_EQ(0, sha256(region->addr, region->size, before));
	ASSERT_EQ(0, create(session, region, VIRTGPU_USERPTR_RDONLY, &bo));
	ASSERT_EQ(0, create(session, region, 0, &rw));

	EXPECT_EQ(-EACCES, vg_fill(vg, bo.res, 0, region->size, 0));
	vg_status(vg, &status);
	EXPECT_EQ(LOOPBACK_ERR_RDONLY, status.error);
	memset(&copy, 0, sizeof(copy));
	copy.dst_res = bo.res;
	copy.src_res = vg->result.res;
	copy.length = 64;
	EXPECT_EQ(-EACCES, vg_copy(vg, &copy));
	EXPECT_EQ(-EACCES, vg_invert(vg, &copy));
	vg_status(vg, &status);
	EXPECT_EQ(LOOPBACK_ERR_RDONLY, status.error);
	ASSERT_EQ(0, sha256(region->addr, region->size, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));

	EXPECT_TRUE(same_digest(vg, bo.res, region->addr, region->size));
	/* The same memory, registered for writing, can be written. */
	EXPECT_EQ(0, vg_fill(vg, rw.res, 9, 1, 0xee));
	EXPECT_EQ(0xee, region->addr[9]);
	EXPECT_TRUE(same_digest(vg, bo.res, region->addr, region->size));
	EXPECT_EQ(0, vg_bo_close(vg->fd, bo.handle));
	EXPECT_EQ(0, vg_bo_close(vg->fd, rw.handle));
}

/* Any offset, any length, across run boundaries, byte for byte. */
TEST_F(userptr, copies_across_runs)
{
	struct session *session = &self->session;
	struct region source, *region = &self->region;
	struct vg *vg = &session->vg;
	uint8_t *expected;
	struct vg_bo src, dst;
	struct vg_copy copy;
	unsigned int seed = 4711;
	int i;

	ASSERT_EQ(0, region_scattered(region, 33));
	ASSERT_EQ(0, region_scattered(&source, 29));
	region_fill(region, 1);
	region_fill(&source, 2);
	ASSERT_EQ(0, create(session, region, 0, &dst));
	ASSERT_EQ(0, create(session, &source, 0, &src));
	expected = malloc(region->size);
	ASSERT_NE(NULL, expected);
	memcpy(expected, region->addr, region->size);
	for (i = 0; i < 50; i++) {
		memset(&copy, 0, sizeof(copy));
		copy.length = rand_r(&seed) % (20 * PAGE);
		copy.dst_offset = rand_r(&seed) % (region->size - copy.length);
		copy.src_offset = rand_r(&seed) % (source.size - copy.length);
		copy.dst_res = dst.res;
		copy.src_res = src.res;
		ASSERT_EQ(0, vg_copy(vg, &copy));
		memcpy(expected + copy.dst_offset, source.addr + copy.src_offset, copy.length);
		ASSERT_EQ(0, memcmp(expected, region->addr, region->size));
	}
	/* One byte too far is refused, and nothing of it is done. */
	copy.length = 2;
	copy.dst_offset = region->size - 1;
	EXPECT_EQ(-EACCES, vg_copy(vg, &copy));
	EXPECT_EQ(0, memcmp(expected, region->addr, region->size));
	free(expected);
	EXPECT_EQ(0, vg_bo_close(vg->fd, dst.handle));
	EXPECT_EQ(0, vg_bo_close(vg->fd, src.handle));
	region_free(&source);
}

TEST_F(userptr, second_ring)
{
	struct session *session = &self->session;
	struct loopback_command command = {
		.op = htole32(LOOPBACK_OP_FILL),
		.arg = htole32(0x31),
		.length = htole64(PAGE),
	};
	struct vg_bo bo;

	ASSERT_EQ(0, region_alloc(&self->region, 1));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	command.dst_res = htole32(bo.res);
	EXPECT_EQ(0, vg_run(&session->vg, 1, &command, 1));
	EXPECT_EQ(0x31, self->region.addr[PAGE - 1]);
	EXPECT_EQ(-EINVAL, vg_run(&session->vg, 2, &command, 1));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

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

static int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = "f", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
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

/* Every order of the ends of file, mapping, handle and process. */
TEST_F(userptr, file_closed_before_munmap)
{
	struct session *session = &self->session;
	struct vg_bo bo;
	struct vg vg;

	ASSERT_EQ(0, region_scattered(&self->region, 10));
	ASSERT_EQ(0, vg_open(&vg, session->node, 1));
	ASSERT_EQ(0, vg_userptr_create(vg.fd, self->region.addr, self->region.size, 0, &bo));
	EXPECT_EQ((long)(self->region.size / 1024), vg_status_kib("VmPin"));
	vg_close(&vg);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
}

TEST_F(userptr, munmap_before_close)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct loopback_stats delta;
	struct vg_bo bo;

	ASSERT_EQ(0, region_scattered(region, 10));
	ASSERT_EQ(0, create(session, region, 0, &bo));
	region_free(region);
	/* The handle outlives the mapping, and closing it ends everything. */
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(1, delta.userptr_created);
	EXPECT_EQ(1, delta.userptr_destroyed);
}

static int exit_with_registrations(void *opaque)
{
	struct process_arg *arg = opaque;
	struct region region;
	struct vg_bo bo;
	struct vg vg;
	int i;

	CHECK(!vg_open(&vg, arg->node, 1));
	for (i = 1; i < 10; i++) {
		CHECK(!region_scattered(&region, 10 * i));
		CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo));
	}
	return 0;
}

TEST_F(userptr, exit_with_live_registrations)
{
	struct session *session = &self->session;
	struct process_arg arg = { .node = session->node };
	struct loopback_stats delta;

	EXPECT_EQ(0, child_result(run_child(exit_with_registrations, &arg)));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(9, delta.userptr_created);
	EXPECT_EQ(9, delta.userptr_destroyed);
	EXPECT_EQ(0, delta.contexts);
}

/* The handle is closed while the host is at work on the memory. */
TEST_F(userptr, closed_while_a_job_runs)
{
	struct session *session = &self->session;
	struct vg *vg = &session->vg;
	struct loopback_command commands[LOOPBACK_MAX_COMMANDS];
	struct loopback_status status;
	struct vg_bo bo;
	int fence, ret, i;

	ASSERT_EQ(0, region_alloc(&self->region, MIB(16) / PAGE));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	memset(commands, 0, sizeof(commands));
	for (i = 0; i < LOOPBACK_MAX_COMMANDS; i++) {
		commands[i].op = htole32(LOOPBACK_OP_SHA256);
		commands[i].dst_res = htole32(vg->result.res);
		commands[i].dst_offset = htole64(VG_RESULT_DATA);
		commands[i].src_res = htole32(bo.res);
		commands[i].length = htole64(self->region.size);
	}
	ASSERT_EQ(0, vg_submit(vg, 0, commands, LOOPBACK_MAX_COMMANDS, NULL, 0, &fence));
	EXPECT_EQ(0, vg_bo_close(vg->fd, bo.handle));
	EXPECT_EQ(0, vg_wait_fence(fence, VG_TIMEOUT_MS));
	ret = vg_status(vg, &status);
	EXPECT_TRUE(!ret || ret == -ECANCELED)
	{
		TH_LOG("status %s", strerror(-ret));
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
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

/* ---- sizes ------------------------------------------------------------- */

FIXTURE(entries)
{
	struct session session;
	struct region region;
};

FIXTURE_VARIANT(entries)
{
	unsigned int count;
};

#define ENTRIES_VARIANT(number)                 \
	FIXTURE_VARIANT_ADD(entries, n##number) \
	{                                       \
		.count = (number),              \
	}

ENTRIES_VARIANT(1);
ENTRIES_VARIANT(1023);
ENTRIES_VARIANT(1024);
ENTRIES_VARIANT(1025);
ENTRIES_VARIANT(4096);
ENTRIES_VARIANT(16384);
ENTRIES_VARIANT(16385);

FIXTURE_SETUP(entries)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(entries)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

static void check_traffic(struct __test_metadata *_metadata, struct session *session,
			  unsigned int segments, const struct region *region)
{
	unsigned int chunks = (segments + CHUNK - 1) / CHUNK;
	struct loopback_stats delta;

	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(1, delta.userptr_resources);
	EXPECT_EQ(1, delta.userptr_created);
	EXPECT_EQ(segments, delta.userptr_segments);
	EXPECT_EQ(region->size, delta.userptr_bytes);
	EXPECT_EQ(chunks, delta.userptr_commands);
	EXPECT_EQ(16ul * segments + CREATE_SIZE + (chunks - 1) * ADD_SIZE,
		  delta.userptr_ring_bytes);
	EXPECT_EQ(0, delta.errors);
}

TEST_F(entries, scattered)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct vg *vg = &session->vg;
	struct drm_virtgpu_userptr_info info;
	struct vg_copy copy = { 0 };
	struct vg_bo bo;
	long cost;

	ASSERT_EQ(0, region_scattered(region, variant->count));
	region_fill(region, variant->count);
	ASSERT_EQ(0, create(session, region, 0, &bo));
	ASSERT_EQ(0, vg_userptr_info(vg->fd, bo.handle, &info));
	EXPECT_EQ(variant->count, info.nr_segments);
	check_traffic(_metadata, session, variant->count, region);
	EXPECT_TRUE(same_digest(vg, bo.res, region->addr, region->size));
	/* The host writes every page; what is there is known here, too. */
	copy.dst_res = bo.res;
	copy.src_res = bo.res;
	copy.length = region->size;
	ASSERT_EQ(0, vg_invert(vg, &copy));
	EXPECT_TRUE(same_digest(vg, bo.res, region->addr, region->size));
	EXPECT_EQ(~(uint64_t)variant->count, *(uint64_t *)region->addr);
	EXPECT_EQ(0, vg_bo_close(vg->fd, bo.handle));
	EXPECT_EQ(0, wait_no_resources(vg, SETTLE_MS));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	cost = registration_cost(session, region);
	TH_LOG("%u segments: %ld bytes of kernel memory", info.nr_segments, cost);
	/* Of all of the kernel: what others free meanwhile makes it less. */
	EXPECT_GT((long)(40ul * variant->count + KIB(64)), cost);
}

TEST_F_TIMEOUT(userptr, one_gib, 90)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct vg *vg = &session->vg;
	struct drm_virtgpu_userptr_info info;
	struct loopback_stats delta;
	struct vg_bo bo;
	uint64_t started;
	long cost;

	if (vg_free_memory() < (long)MIB(1200))
		SKIP(return, "the guest has only %ld MiB free", vg_free_memory() >> 20);
	ASSERT_EQ(0, region_alloc(region, MIB(1024) / PAGE));
	region_fill(region, 1);
	started = vg_now_us();
	ASSERT_EQ(0, create(session, region, 0, &bo));
	started = vg_now_us() - started;
	ASSERT_EQ(0, vg_userptr_info(vg->fd, bo.handle, &info));
	EXPECT_EQ(region->runs, info.nr_segments);
	check_traffic(_metadata, session, info.nr_segments, region);
	EXPECT_EQ((long)(MIB(1024) / 1024), vg_status_kib("VmPin"));
	EXPECT_TRUE(same_digest(vg, bo.res, region->addr, region->size));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(0, vg_bo_close(vg->fd, bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	cost = registration_cost(session, region);
	TH_LOG("1 GiB: %u segments, %llu bytes over the ring, %ld bytes of kernel memory, %lu us",
	       info.nr_segments, delta.userptr_ring_bytes, cost, started);
	/* Of all of the kernel: what others free meanwhile makes it less. */
	EXPECT_GT((long)(40ul * info.nr_segments + KIB(64)), cost);
}

TEST_HARNESS_MAIN
