// SPDX-License-Identifier: MIT
/*
 * userptr-pagecache-test: a mapped file that the host only reads
 *
 * The weights of a model are a large file, mapped shared and read-only.  Its
 * pages leave the process under memory pressure, but being pinned they stay the
 * pages of the file: the registration lives.  It ends when the file gets others
 * in their place.  Runs in the guest, as root, with an ext4 image.
 *
 * Invariant: see userptr-test-session.h.  Coherence is what is judged: either
 * the host has the bytes that this process reads, or the resource is revoked.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/userptr-test-session.h"

#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED
#define MODEL_SIZE MIB(20)
#define MODEL_PAGES (MODEL_SIZE / PAGE)
#define DIR_NAME "/dev/shm/pagecache"
#define MODEL DIR_NAME "/model"
#define FLOOD DIR_NAME "/flood"
/* Of the guest's memory is what goes through the page cache. */
#define FLOOD_TIMES 4

FIXTURE(model)
{
	struct session session;
	uint8_t *addr;
	struct vg_bo bo;
	uint8_t digest[LOOPBACK_SHA256_SIZE];
	bool mounted;
};

#define SELF FIXTURE_DATA(model)

/* A file whose pages are clean, and on the disk. */
static int write_model(void)
{
	struct region region;
	size_t done;
	ssize_t got;
	int fd, ret;

	ret = region_alloc(&region, 256);
	if (ret)
		return ret;
	fd = open(MODEL, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (done = 0; fd >= 0 && done < MODEL_SIZE; done += got) {
		region_fill(&region, done);
		got = write(fd, region.addr, region.size);
		if (got <= 0)
			break;
	}
	if (fd < 0 || done != MODEL_SIZE || fsync(fd))
		ret = -errno ?: -EIO;
	if (fd >= 0)
		close(fd);
	region_free(&region);
	return ret;
}

static int map_model(SELF *self)
{
	int fd = open(MODEL, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	self->addr = mmap(NULL, MODEL_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return self->addr == MAP_FAILED ? -errno : 0;
}

FIXTURE_SETUP(model)
{
	const char *image = getenv("USERPTR_EXT4");

	self->addr = MAP_FAILED;
	self->mounted = false;
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	if (!image)
		SKIP(return, "no ext4 image in this run");
	mkdir(DIR_NAME, 0700);
	/* Still there if a test before this one has failed. */
	self->mounted = !mount(image, DIR_NAME, "ext4", 0, NULL) || errno == EBUSY;
	ASSERT_TRUE(self->mounted)
	{
		TH_LOG("%s: %m", image);
	}
	ASSERT_EQ(0, write_model());
	ASSERT_EQ(0, map_model(self));
	ASSERT_EQ(0, vg_userptr_create(self->session.vg.fd, self->addr, MODEL_SIZE,
				       VIRTGPU_USERPTR_RDONLY, &self->bo));
	ASSERT_EQ(0, sha256(self->addr, MODEL_SIZE, self->digest));
}

FIXTURE_TEARDOWN(model)
{
	if (self->addr != MAP_FAILED)
		munmap(self->addr, MODEL_SIZE);
	session_end(_metadata, &self->session);
	if (self->mounted)
		EXPECT_EQ(0, umount(DIR_NAME))
		{
			TH_LOG("umount: %m");
		}
}

/* What was noticed before has been acted upon when this one has gone through. */
static int settle(SELF *self)
{
	int fd = self->session.vg.fd, ret;
	struct region region;
	struct vg_bo bo;

	pause_for_look();
	ret = region_alloc(&region, 1);
	ret = ret ?: vg_userptr_create(fd, region.addr, PAGE, 0, &bo);
	if (!ret && madvise(region.addr, PAGE, MADV_DONTNEED))
		ret = -errno;
	ret = ret ?: vg_userptr_wait(fd, bo.handle, RELEASED, SETTLE_MS);
	ret = ret ?: vg_bo_close(fd, bo.handle);
	region_free(&region);
	return ret;
}

static uint32_t state_of(SELF *self)
{
	struct drm_virtgpu_userptr_info info;

	return vg_userptr_info(self->session.vg.fd, self->bo.handle, &info) ? 0 : info.state;
}

/* The same file, the same pages, the same bytes. */
static void expect_live(struct __test_metadata *_metadata, SELF *self)
{
	uint8_t digest[LOOPBACK_SHA256_SIZE];

	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state_of(self));
	EXPECT_EQ((long)(MODEL_SIZE / 1024), vg_status_kib("VmPin"));
	ASSERT_EQ(0, vg_sha256(&self->session.vg, self->bo.res, 0, MODEL_SIZE, digest));
	EXPECT_EQ(0, memcmp(self->digest, digest, sizeof(digest)));
	EXPECT_TRUE(same_digest(&self->session.vg, self->bo.res, self->addr, MODEL_SIZE));
}

static void expect_revoked(struct __test_metadata *_metadata, SELF *self)
{
	EXPECT_EQ(0, vg_userptr_wait(self->session.vg.fd, self->bo.handle, RELEASED, SETTLE_MS));
	EXPECT_EQ(0, vg_status_kib("VmPin"));
}

/* Pages that reclaim has looked at. */
static long pages_scanned(void)
{
	return read_counter("/proc/vmstat", "pgscan_kswapd ") +
	       read_counter("/proc/vmstat", "pgscan_direct ");
}

/* Reads a file with nothing in it, several times as large as all memory. */
static int flood_page_cache(void)
{
	size_t size = FLOOD_TIMES * KIB(read_counter("/proc/meminfo", "MemTotal:")), done;
	static uint8_t buffer[256 * 1024];
	ssize_t got = 0;
	int fd;

	fd = open(FLOOD, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size))
		got = -1;
	for (done = 0; got >= 0 && done < size; done += got) {
		got = read(fd, buffer, sizeof(buffer));
		if (!got)
			break;
	}
	close(fd);
	return done == size ? 0 : -EIO;
}

#define TRACING "/sys/kernel/tracing/"
#define LOOKS TRACING "events/virtio_gpu/virtio_gpu_userptr_verify/enable"

TEST_F_TIMEOUT(model, stays_under_memory_pressure, 240)
{
	long scanned = pages_scanned();
	char look[64];

	/* The driver looks when pages were taken out of the process: so they were. */
	ASSERT_EQ(0, write_file(LOOKS, "1"));
	snprintf(look, sizeof(look), "virtio_gpu_userptr_verify: res=%u ", self->bo.res);
	/* What was not used lately goes first. */
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_COLD));
	EXPECT_FALSE(file_contains(TRACING "trace", look));
	ASSERT_EQ(0, flood_page_cache());
	EXPECT_TRUE(file_contains(TRACING "trace", look))
	{
		TH_LOG("nothing happened to the pages: less memory is needed");
	}
	EXPECT_EQ(0, write_file(LOOKS, "0"));
	TH_LOG("reclaim looked at %ld pages", pages_scanned() - scanned);
	EXPECT_LT(scanned, pages_scanned());
	expect_live(_metadata, self);
}

TEST_F(model, stays_after_madv_pageout)
{
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_PAGEOUT));
	expect_live(_metadata, self);
}

TEST_F(model, stays_after_madv_cold)
{
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_COLD));
	expect_live(_metadata, self);
}

TEST_F(model, stays_after_madv_dontneed)
{
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_DONTNEED));
	expect_live(_metadata, self);
}

TEST_F(model, stays_after_drop_caches)
{
	int fd = open(MODEL, O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_DONTNEED));
	EXPECT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	close(fd);
	ASSERT_EQ(0, write_file("/proc/sys/vm/drop_caches", "3"));
	expect_live(_metadata, self);
}

TEST_F(model, stays_without_access)
{
	if (!can_look_up())
		SKIP(return, "this kernel has no pinned_page_lookup()");
	ASSERT_EQ(0, mprotect(self->addr, MODEL_SIZE, PROT_NONE));
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_PAGEOUT));
	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(0, mprotect(self->addr, MODEL_SIZE, PROT_READ));
	expect_live(_metadata, self);
}

/* What others write into the file is seen by both: it is the same page. */
TEST_F(model, stays_when_the_file_is_written)
{
	int fd = open(MODEL, O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_PAGEOUT));
	ASSERT_EQ(5, pwrite(fd, "hello", 5, 3 * PAGE));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	ASSERT_EQ(0, sha256(self->addr, MODEL_SIZE, self->digest));
	EXPECT_EQ(0, memcmp(self->addr + 3 * PAGE, "hello", 5));
	expect_live(_metadata, self);
}

TEST_F(model, revoked_by_ftruncate)
{
	ASSERT_EQ(0, truncate(MODEL, MODEL_SIZE / 2));
	expect_revoked(_metadata, self);
}

/* What reclaim or the owner has unmapped is still watched. */
TEST_F(model, revoked_by_ftruncate_after_madv_dontneed)
{
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state_of(self));
	ASSERT_EQ(0, truncate(MODEL, MODEL_SIZE - PAGE));
	expect_revoked(_metadata, self);
}

static int punch_hole(size_t page, size_t pages)
{
	int fd = open(MODEL, O_RDWR | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE, pages * PAGE))
		ret = -errno;
	close(fd);
	return ret;
}

TEST_F(model, revoked_by_a_hole)
{
	ASSERT_EQ(0, punch_hole(100, 1));
	expect_revoked(_metadata, self);
}

TEST_F(model, revoked_by_a_hole_after_madv_dontneed)
{
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(VIRTGPU_USERPTR_STATE_LIVE, state_of(self));
	ASSERT_EQ(0, punch_hole(MODEL_PAGES - 1, 1));
	expect_revoked(_metadata, self);
}

TEST_F(model, revoked_by_munmap)
{
	ASSERT_EQ(0, munmap(self->addr + 7 * PAGE, PAGE));
	expect_revoked(_metadata, self);
}

/* Writes a page of the file without the page cache, which then drops its own. */
static int write_directly(size_t page)
{
	int fd = open(MODEL, O_RDWR | O_DIRECT | O_CLOEXEC), ret = 0;
	void *block;

	if (fd < 0)
		return -errno;
	if (posix_memalign(&block, PAGE, PAGE)) {
		close(fd);
		return -ENOMEM;
	}
	memset(block, 0xd1, PAGE);
	if (pwrite(fd, block, PAGE, page * PAGE) != PAGE)
		ret = -errno ?: -EIO;
	free(block);
	close(fd);
	return ret;
}

/* Revoked, or what the host sees is what this process sees, before long. */
static void expect_coherent(struct __test_metadata *_metadata, SELF *self)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	bool same = false;

	EXPECT_EQ(0xd1, self->addr[50 * PAGE]);
	while (!same && state_of(self) == VIRTGPU_USERPTR_STATE_LIVE && vg_now_us() < end) {
		ASSERT_EQ(0, settle(self));
		same = same_digest(&self->session.vg, self->bo.res, self->addr, MODEL_SIZE);
	}
	if (same)
		return;
	expect_revoked(_metadata, self);
}

TEST_F(model, coherent_after_a_direct_write)
{
	ASSERT_EQ(0, write_directly(50));
	expect_coherent(_metadata, self);
}

TEST_F(model, coherent_after_madv_dontneed_and_a_direct_write)
{
	ASSERT_EQ(0, madvise(self->addr, MODEL_SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(0, write_directly(50));
	expect_coherent(_metadata, self);
}

TEST_HARNESS_MAIN
