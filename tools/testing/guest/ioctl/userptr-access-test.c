// SPDX-License-Identifier: MIT
/*
 * userptr-access-test: the host reads and writes registered memory
 *
 * Every byte is where it has to be, whatever memory is made of and however large it
 * is, and nothing is written that may not be.  Runs in the guest, as root, with one
 * device.
 *
 * Invariant: see userptr-test-session.h.
 */
#include "ioctl/userptr-fixture.h"

#define CREATE_SIZE sizeof(struct virtio_gpu_resource_create_userptr)
#define ADD_SIZE sizeof(struct virtio_gpu_resource_add_userptr_pages)
/* Entries that the driver puts into one command. */
#define CHUNK 1024u

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

	if (free_memory() < (long)MIB(1200))
		SKIP(return, "the guest has only %ld MiB free", free_memory() >> 20);
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
