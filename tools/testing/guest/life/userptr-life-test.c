// SPDX-License-Identifier: MIT
/*
 * userptr-life-test: what ends a registration, and what does not
 *
 * Each case registers memory, does one thing to it, and looks at what the
 * device was told.  REVOKED: the device has destroyed the resource, once, and
 * nothing is pinned, while the handle is still open.  STAYS: the device still
 * has it, reads what the process sees, and writes what the process reads.
 *
 * That nothing happens cannot be waited for: another registration, whose memory
 * is taken back afterwards, is waited for instead (see settle()).
 *
 * Invariant: see userptr-test-session.h.
 */
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/userptr-test-session.h"

#define PAGES 16ul
#define MARGIN 4ul
/* The kernel's own threads have their own pace. */
#define KHUGEPAGED_MS 25000

/* To wait for; the states are spelled out. */
#define REVOKED VIRTGPU_USERPTR_INFO_WAIT_REVOKED
#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED

/* Not in all C libraries' headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum source {
	ANON, /* private, anonymous */
	MEMFD, /* a file in memory, shared */
	MEMFD_COW, /* the same, private: pages that were copied */
	MALLOC, /* of malloc(), above its threshold for mmap() */
	HEAP, /* below the break */
	SYSV, /* System V shared memory */
	THP, /* a transparent huge page, and half of one before and behind it */
	HUGETLB, /* two pages of the reserve, with one before and one behind */
	HUGETLB_FILE, /* the same of a file, shared */
	SPARSE, /* a few pages of what could be a huge page, private */
	SPARSE_FILE, /* the same of a file */
	NOTHING, /* the case sees to it */
};

FIXTURE(life)
{
	struct session session;
	struct vg_bo bo;
	/* What is registered, what is mapped, and the file behind it or -1. */
	uint8_t *addr;
	size_t size;
	uint8_t *block;
	size_t block_size;
	int file;
	/* The registrations of settle(). */
	unsigned int settled;
	/* Why there is no such case here. */
	const char *reason;
};

#define SELF FIXTURE_DATA(life)

static int cannot(SELF *self, const char *reason)
{
	self->reason = reason;
	return -EOPNOTSUPP;
}

static int map_file(SELF *self, int flags)
{
	self->file = memfd_create("userptr-life", MFD_CLOEXEC);
	if (self->file < 0 || ftruncate(self->file, self->block_size))
		return -errno;
	self->block = mmap(NULL, self->block_size, PROT_READ | PROT_WRITE, flags, self->file, 0);
	return self->block == MAP_FAILED ? -errno : 0;
}

static int map_sysv(SELF *self)
{
	int id = shmget(IPC_PRIVATE, self->block_size, IPC_CREAT | 0600);

	if (id < 0)
		return -errno;
	self->block = shmat(id, NULL, 0);
	/* It lives until it is detached. */
	if (shmctl(id, IPC_RMID, NULL))
		return -errno;
	return self->block == (void *)-1 ? -errno : 0;
}

static int grow_heap(SELF *self)
{
	uintptr_t end;

	/* Room for what malloc() is asked for meanwhile. */
	mallopt(M_TRIM_THRESHOLD, MIB(64));
	free(malloc(KIB(120)));
	end = (uintptr_t)sbrk(0);
	if (sbrk(-end % PAGE) == (void *)-1)
		return -errno;
	self->block = sbrk(self->block_size);
	return self->block == (void *)-1 ? -errno : 0;
}

/* Where huge pages can be, and four of them. */
static int map_aligned(SELF *self, int flags)
{
	uintptr_t at;

	self->block_size = 4 * HUGE_PAGE;
	at = (uintptr_t)mmap(NULL, self->block_size + HUGE_PAGE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = (at + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	self->block = mmap((void *)at, self->block_size, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
			   self->file, 0);
	return self->block == MAP_FAILED ? -errno : 0;
}

#define THP_DIR "/sys/kernel/mm/transparent_hugepage/"
#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"

/* Memory of this process that is in transparent huge pages. */
static long huge_kib(void)
{
	return read_counter("/proc/self/smaps_rollup", "AnonHugePages:");
}

static int map_thp(SELF *self)
{
	long before = huge_kib();
	int ret;

	if (access(THP_DIR, F_OK))
		return cannot(self, "no transparent huge pages in this kernel");
	ret = map_aligned(self, MAP_PRIVATE | MAP_ANONYMOUS);
	if (ret)
		return ret;
	if (madvise(self->block, self->block_size, MADV_HUGEPAGE))
		return -errno;
	memset(self->block, 0x77, self->block_size);
	self->addr = self->block + HUGE_PAGE / 2;
	self->size = 2 * HUGE_PAGE;
	/* Where memory is in pieces there are small pages instead. */
	return huge_kib() - before == (long)self->block_size / 1024 ? 0 : -ENOMEM;
}

static int map_hugetlb(SELF *self, bool file)
{
	int ret;

	if (access(NR_HUGEPAGES, W_OK))
		return cannot(self, "no hugetlb in this kernel");
	if (write_file(NR_HUGEPAGES, "4") || !file_contains(NR_HUGEPAGES, "4"))
		return -ENOMEM;
	if (file) {
		self->file = memfd_create("userptr-life", MFD_CLOEXEC | MFD_HUGETLB);
		if (self->file < 0 || ftruncate(self->file, 4 * HUGE_PAGE))
			return -errno;
	}
	ret = map_aligned(self, file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
	self->addr = self->block + HUGE_PAGE;
	self->size = 2 * HUGE_PAGE;
	return ret;
}

/*
 * Small pages in the first two of what could be huge pages, and the kernel's
 * thread keeps away until allow_huge(): it could come by before the registration.
 */
static int map_sparse(SELF *self, bool file)
{
	int ret;

	if (access(THP_DIR, F_OK))
		return cannot(self, "no transparent huge pages in this kernel");
	if (file) {
		self->file = memfd_create("userptr-life", MFD_CLOEXEC);
		if (self->file < 0 || ftruncate(self->file, 4 * HUGE_PAGE))
			return -errno;
	}
	ret = map_aligned(self, file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	if (ret)
		return ret;
	if (madvise(self->block, self->block_size, MADV_NOHUGEPAGE))
		return -errno;
	memset(self->block, 0x77, 2 * HUGE_PAGE);
	self->addr = self->block + HUGE_PAGE - self->size;
	return 0;
}

static int allow_huge(SELF *self)
{
	return madvise(self->block, self->block_size, MADV_HUGEPAGE) ? -errno : 0;
}

static int map_memory(SELF *self, enum source source)
{
	self->size = PAGES * PAGE;
	self->addr = NULL;
	self->block_size = self->size + 2 * MARGIN * PAGE;
	switch (source) {
	case ANON:
		self->block = mmap(NULL, self->block_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return self->block == MAP_FAILED ? -errno : 0;
	case MEMFD:
		return map_file(self, MAP_SHARED);
	case MEMFD_COW:
		return map_file(self, MAP_PRIVATE);
	case MALLOC:
		self->block_size = MIB(1);
		self->block = malloc(self->block_size);
		return self->block ? 0 : -ENOMEM;
	case HEAP:
		return grow_heap(self);
	case SYSV:
		return map_sysv(self);
	case THP:
		return map_thp(self);
	case HUGETLB:
	case HUGETLB_FILE:
		return map_hugetlb(self, source == HUGETLB_FILE);
	case SPARSE:
	case SPARSE_FILE:
		return map_sparse(self, source == SPARSE_FILE);
	default:
		return 0;
	}
}

static int register_memory(SELF *self, enum source source, uint32_t flags)
{
	struct region region;
	int ret = map_memory(self, source);

	if (ret || source == NOTHING)
		return ret;
	if (!self->addr)
		self->addr = (uint8_t *)(((uintptr_t)self->block + MARGIN * PAGE) & ~(PAGE - 1));
	region.addr = self->addr;
	region.size = self->size;
	memset(self->addr - PAGE, 0x77, self->size + 2 * PAGE);
	region_fill(&region, (uintptr_t)self->addr);
	return create(&self->session, &region, flags, &self->bo);
}

FIXTURE_SETUP(life)
{
	self->session.node = NULL;
	self->file = -1;
	self->settled = 0;
	self->reason = "not with this kernel";
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(life)
{
	if (self->file >= 0)
		close(self->file);
	session_end(_metadata, &self->session);
	if (!access(NR_HUGEPAGES, W_OK))
		EXPECT_EQ(0, write_file(NR_HUGEPAGES, "0"));
}

/*
 * How long what has to happen is waited for.  Where tests are expected to fail,
 * waiting long helps nobody.
 */
static int patience(void)
{
	const char *ms = getenv("USERPTR_PATIENCE_MS");

	return ms ? atoi(ms) : SETTLE_MS;
}

/*
 * All that was noticed before this was called has been acted upon: what comes
 * last goes through the same hands, and to the device and back.
 *
 * If it does not come back, time has to do; the tests of that will say so.
 */
static int settle(SELF *self)
{
	int fd = self->session.vg.fd, ret;
	struct region region;
	struct vg_bo bo;
	long pinned;

	pause_for_look();
	ret = region_alloc(&region, 1);
	pinned = vg_status_kib("VmPin");
	if (!ret)
		ret = vg_userptr_create(fd, region.addr, region.size, 0, &bo);
	if (!ret && madvise(region.addr, PAGE, MADV_DONTNEED))
		ret = -errno;
	if (!ret) {
		ret = vg_userptr_wait(fd, bo.handle, RELEASED, patience());
		if (!ret)
			ret = vg_bo_close(fd, bo.handle);
		else if (ret == -ETIME)
			ret = vg_bo_close(fd, bo.handle) ?:
				      vg_wait_status_kib("VmPin", pinned, SETTLE_MS);
	}
	region_free(&region);
	self->settled++;
	return ret;
}

/* What the device has destroyed, but for the registrations of settle(). */
static int destroyed(SELF *self)
{
	struct loopback_stats delta;

	if (stats_since(&self->session, &delta))
		return -1;
	return delta.userptr_destroyed - self->settled;
}

static int held(SELF *self)
{
	struct loopback_stats delta;

	return stats_since(&self->session, &delta) ? -1 : (int)delta.userptr_resources;
}

static void expect_revoked(struct __test_metadata *_metadata, SELF *self)
{
	uint8_t digest[LOOPBACK_SHA256_SIZE];
	struct drm_virtgpu_userptr_info info;
	struct vg *vg = &self->session.vg;
	int fence;

	ASSERT_EQ(0, vg_userptr_wait(vg->fd, self->bo.handle, RELEASED, patience()));
	EXPECT_EQ(0, held(self));
	EXPECT_EQ(1, destroyed(self));
	EXPECT_EQ(self->session.pins, pins_outstanding());
	EXPECT_EQ(0, vg_status_kib("VmPin"));
	/* The handle is there, but nothing is behind it. */
	ASSERT_EQ(0, vg_userptr_info(vg->fd, self->bo.handle, &info));
	EXPECT_EQ(VIRTGPU_USERPTR_STATE_RELEASED, info.state);
	EXPECT_EQ((uintptr_t)self->addr, info.addr);
	EXPECT_EQ(-EACCES, vg_sha256(vg, self->bo.res, 0, PAGE, digest));
	EXPECT_EQ(-EFAULT, vg_submit(vg, 0, NULL, 0, &self->bo.handle, 1, &fence));
	EXPECT_EQ(0, vg_bo_close(vg->fd, self->bo.handle));
	EXPECT_EQ(-EINVAL, vg_bo_close(vg->fd, self->bo.handle));
	EXPECT_EQ(0, settle(self));
	EXPECT_EQ(1, destroyed(self));
}

/* What the driver cannot tell by hmm_range_fault() alone. */
static void expect_revoked_as_looked_up(struct __test_metadata *_metadata, SELF *self)
{
	if (!can_look_up())
		SKIP(return, "this kernel has no pinned_page_lookup()");
	expect_revoked(_metadata, self);
}

/* Alive, and both sides see what the other one writes. */
static void expect_alive(struct __test_metadata *_metadata, SELF *self)
{
	struct drm_virtgpu_userptr_info info;
	struct vg *vg = &self->session.vg;
	size_t i;

	ASSERT_EQ(0, settle(self));
	ASSERT_EQ(0, vg_userptr_info(vg->fd, self->bo.handle, &info));
	ASSERT_EQ(VIRTGPU_USERPTR_STATE_LIVE, info.state);
	EXPECT_EQ(1, held(self));
	EXPECT_EQ(0, destroyed(self));
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
	for (i = 0; i < PAGES; i++)
		self->addr[i * PAGE + i] = i + 1;
	EXPECT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
	ASSERT_EQ(0, vg_fill(vg, self->bo.res, PAGE - 1, self->size - 2 * PAGE, 0xe3));
	for (i = PAGE - 1; i < self->size - PAGE - 1; i++)
		ASSERT_EQ(0xe3, self->addr[i]);
}

static void expect_stays(struct __test_metadata *_metadata, SELF *self)
{
	expect_alive(_metadata, self);
	EXPECT_EQ(0, vg_bo_close(self->session.vg.fd, self->bo.handle));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(1, destroyed(self));
}

/* A case is its name, where the memory is from, and what is done to it. */
#define CASE(name, source, judge)                                       \
	static int do_##name(SELF *self);                               \
	TEST_F(life, name)                                              \
	{                                                               \
		int ret = register_memory(self, source, 0);             \
                                                                        \
		if (!ret)                                               \
			ret = do_##name(self);                          \
		if (ret == -EOPNOTSUPP)                                 \
			SKIP(return, "%s", self->reason);               \
		ASSERT_EQ(0, ret)                                       \
		{                                                       \
			TH_LOG("%s", strerror(ret < 0 ? -ret : errno)); \
		}                                                       \
		judge(_metadata, self);                                 \
	}                                                               \
	static int do_##name(SELF *self)

#define REVOKED_BY(name, source) CASE(name, source, expect_revoked)
#define REVOKED_AS_LOOKED_UP(name, source) CASE(name, source, expect_revoked_as_looked_up)
#define STAYS_AFTER(name, source) CASE(name, source, expect_stays)

/* ---- the owner takes memory back ------------------------------------------- */

REVOKED_BY(munmap_whole, ANON)
{
	return munmap(self->addr, self->size);
}

REVOKED_BY(munmap_head, ANON)
{
	return munmap(self->addr, PAGE);
}

REVOKED_BY(munmap_middle, ANON)
{
	return munmap(self->addr + 7 * PAGE, 2 * PAGE);
}

REVOKED_BY(munmap_tail, ANON)
{
	return munmap(self->addr + self->size - PAGE, PAGE);
}

REVOKED_BY(munmap_more, ANON)
{
	return munmap(self->block, self->block_size);
}

REVOKED_BY(munmap_shared_file, MEMFD)
{
	return munmap(self->addr + PAGE, PAGE);
}

static int map_over(uint8_t *addr, size_t size)
{
	return mmap(addr, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == addr ?
		       0 :
		       -errno;
}

REVOKED_BY(map_fixed_over_all, ANON)
{
	return map_over(self->addr, self->size);
}

REVOKED_BY(map_fixed_over_a_page, ANON)
{
	return map_over(self->addr + 5 * PAGE, PAGE);
}

static int move(SELF *self, int flags)
{
	void *to = mmap(NULL, self->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (to == MAP_FAILED)
		return -errno;
	return mremap(self->addr, self->size, self->size, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		      to) == to ?
		       0 :
		       -errno;
}

REVOKED_BY(mremap_move, ANON)
{
	return move(self, 0);
}

REVOKED_BY(mremap_dontunmap, ANON)
{
	return move(self, MREMAP_DONTUNMAP);
}

REVOKED_BY(mremap_move_shared_file, MEMFD)
{
	return move(self, 0);
}

REVOKED_BY(mremap_shrink, ANON)
{
	return mremap(self->addr, self->size, self->size - PAGE, 0) == self->addr ? 0 : -errno;
}

REVOKED_BY(madv_dontneed_whole, ANON)
{
	return madvise(self->addr, self->size, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_first_page, ANON)
{
	return madvise(self->addr, PAGE, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_last_page, ANON)
{
	return madvise(self->addr + self->size - PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_and_touched, ANON)
{
	int ret = madvise(self->addr + PAGE, PAGE, MADV_DONTNEED);

	self->addr[PAGE] = 1;
	return ret;
}

REVOKED_AS_LOOKED_UP(madv_dontneed_without_access, ANON)
{
	return mprotect(self->addr, self->size, PROT_NONE) ?:
		       madvise(self->addr + 3 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(madv_dontneed_copied_pages, MEMFD_COW)
{
	return madvise(self->addr + 3 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_AS_LOOKED_UP(madv_remove, MEMFD)
{
	return madvise(self->addr + 3 * PAGE, PAGE, MADV_REMOVE);
}

REVOKED_AS_LOOKED_UP(madv_remove_all, MEMFD)
{
	return madvise(self->addr, self->size, MADV_REMOVE);
}

REVOKED_AS_LOOKED_UP(ftruncate_to_nothing, MEMFD)
{
	return ftruncate(self->file, 0);
}

REVOKED_AS_LOOKED_UP(ftruncate_to_the_middle, MEMFD)
{
	return ftruncate(self->file, self->block_size / 2);
}

REVOKED_BY(ftruncate_under_copied_pages, MEMFD_COW)
{
	return ftruncate(self->file, 0);
}

static int punch(SELF *self, size_t page, size_t pages)
{
	return fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 self->addr - self->block + page * PAGE, pages * PAGE);
}

REVOKED_AS_LOOKED_UP(punch_hole, MEMFD)
{
	return punch(self, 4, 3);
}

REVOKED_AS_LOOKED_UP(punch_hole_last_page, MEMFD)
{
	return punch(self, PAGES - 1, 1);
}

REVOKED_BY(brk_shrink, HEAP)
{
	/* Nobody else may have moved it. */
	if (sbrk(0) != self->block + self->block_size)
		return -EBUSY;
	return brk(self->addr + self->size - PAGE);
}

REVOKED_BY(shmdt, SYSV)
{
	return shmdt(self->block);
}

REVOKED_BY(free_of_malloc, MALLOC)
{
	free(self->block);
	return 0;
}

static int punch_in_child(void *opaque)
{
	return punch(opaque, 2, 1) ? 1 : 0;
}

REVOKED_AS_LOOKED_UP(punch_hole_by_another_process, MEMFD)
{
	return child_result(run_child(punch_in_child, self));
}

/* What looks at the memory must not keep the file, which may be gone. */
REVOKED_BY(file_system_unmounted, NOTHING)
{
	char dir[] = "/dev/userptr-life-XXXXXX", name[sizeof(dir) + 8];
	struct region region = { .size = MIB(64) };
	int ret;

	if (!mkdtemp(dir) || mount("userptr-life", dir, "tmpfs", 0, "size=80M"))
		return -errno;
	snprintf(name, sizeof(name), "%s/file", dir);
	self->file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (self->file < 0 || ftruncate(self->file, region.size))
		return -errno;
	self->size = region.size;
	self->addr = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	if (self->addr == MAP_FAILED)
		return -errno;
	memset(self->addr, 1, self->size);
	region.addr = self->addr;
	ret = create(&self->session, &region, 0, &self->bo);
	if (ret)
		return ret;
	if (madvise(self->addr, self->size, MADV_DONTNEED) || munmap(self->addr, self->size) ||
	    close(self->file))
		return -errno;
	self->file = -1;
	return umount2(dir, 0) || rmdir(dir) ? -errno : 0;
}

/* ---- things that are no reason --------------------------------------------- */

STAYS_AFTER(nothing, ANON)
{
	return 0;
}

STAYS_AFTER(munmap_of_neighbours, ANON)
{
	return munmap(self->addr - PAGE, PAGE) ?: munmap(self->addr + self->size, PAGE);
}

STAYS_AFTER(madv_dontneed_of_neighbours, ANON)
{
	return madvise(self->addr - PAGE, PAGE, MADV_DONTNEED) ?:
		       madvise(self->addr + self->size, PAGE, MADV_DONTNEED);
}

STAYS_AFTER(map_fixed_over_neighbours, ANON)
{
	return map_over(self->addr - PAGE, PAGE) ?: map_over(self->addr + self->size, PAGE);
}

STAYS_AFTER(punch_hole_beside, MEMFD)
{
	return punch(self, -1, 1) ?: punch(self, PAGES, 1);
}

STAYS_AFTER(punch_hole_under_copied_pages, MEMFD_COW)
{
	return punch(self, 0, PAGES);
}

STAYS_AFTER(ftruncate_to_the_end, MEMFD)
{
	return ftruncate(self->file, self->addr - self->block + self->size);
}

STAYS_AFTER(file_closed, MEMFD)
{
	int ret = close(self->file);

	self->file = -1;
	return ret;
}

STAYS_AFTER(madv_dontneed_shared_file, MEMFD)
{
	return madvise(self->addr, self->size, MADV_DONTNEED);
}

STAYS_AFTER(madv_free, ANON)
{
	return madvise(self->addr, self->size, MADV_FREE);
}

STAYS_AFTER(madv_cold, ANON)
{
	return madvise(self->addr, self->size, MADV_COLD);
}

STAYS_AFTER(madv_pageout_shared_file, MEMFD)
{
	return madvise(self->addr, self->size, MADV_PAGEOUT);
}

STAYS_AFTER(madv_wipeonfork_and_dontfork, ANON)
{
	return madvise(self->addr, self->size, MADV_WIPEONFORK) ?:
		       madvise(self->addr, self->size, MADV_DONTFORK);
}

STAYS_AFTER(madv_collapse, ANON)
{
	/* Refused: where there are huge pages, because of the pins. */
	madvise(self->addr, self->size, MADV_HUGEPAGE);
	return madvise(self->addr, self->size, MADV_COLLAPSE) ? 0 : -EEXIST;
}

STAYS_AFTER(mprotect_read_only, ANON)
{
	return mprotect(self->addr, self->size, PROT_READ) ?:
		       settle(self)			   ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(mprotect_no_access, ANON)
{
	int ret = mprotect(self->addr, self->size, PROT_NONE);

	/* Something that needs a look, at memory that cannot be looked at. */
	if (!ret)
		ret = madvise(self->addr, self->size, MADV_PAGEOUT);
	if (!ret)
		ret = settle(self);
	return ret ?: mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(mprotect_no_access_shared_file, MEMFD)
{
	int ret = mprotect(self->addr, self->size, PROT_NONE);

	if (!ret)
		ret = madvise(self->addr, self->size, MADV_DONTNEED);
	if (!ret)
		ret = settle(self);
	return ret ?: mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(mprotect_of_neighbours, ANON)
{
	return mprotect(self->block, MARGIN * PAGE, PROT_NONE) ?:
		       mprotect(self->addr + self->size, MARGIN * PAGE, PROT_READ);
}

STAYS_AFTER(mlock_and_munlock, ANON)
{
	return mlock(self->addr, self->size) ?: munlock(self->addr, self->size);
}

STAYS_AFTER(mremap_of_neighbour, ANON)
{
	void *to = mremap(self->addr + self->size, PAGE, 8 * PAGE, MREMAP_MAYMOVE);

	return to == MAP_FAILED ? -errno : 0;
}

STAYS_AFTER(drop_caches, MEMFD)
{
	return write_file("/proc/sys/vm/drop_caches", "3");
}

STAYS_AFTER(compact_memory, ANON)
{
	return write_file("/proc/sys/vm/compact_memory", "1");
}

STAYS_AFTER(compact_memory_shared_file, MEMFD)
{
	return write_file("/proc/sys/vm/compact_memory", "1");
}

STAYS_AFTER(clear_refs, ANON)
{
	return write_file("/proc/self/clear_refs", "1") ?: write_file("/proc/self/clear_refs", "4");
}

/* Anonymous pages leave only for a swap area; a loop device over memory is one. */
static int swap_on(SELF *self, char *path, size_t len)
{
	const char *node = getenv("USERPTR_SWAP");

	if (!node)
		return cannot(self, "no swap disk in this run");
	snprintf(path, len, "%s", node);
	return swapon(node, 0) ? -errno : 0;
}

STAYS_AFTER(madv_pageout_with_swap, ANON)
{
	char path[64];
	int ret = swap_on(self, path, sizeof(path));

	if (ret)
		return ret;
	ret = madvise(self->block, self->block_size, MADV_PAGEOUT) ? -errno : settle(self);
	/* The neighbours did leave. */
	if (!ret && read_counter("/proc/self/status", "VmSwap:") <= 0)
		ret = -ENODATA;
	return (swapoff(path) ? -errno : 0) ?: ret;
}

STAYS_AFTER(madv_pageout_shared_file_with_swap, MEMFD)
{
	char path[64];
	int ret = swap_on(self, path, sizeof(path));

	if (ret)
		return ret;
	ret = madvise(self->block, self->block_size, MADV_PAGEOUT) ? -errno : settle(self);
	return (swapoff(path) ? -errno : 0) ?: ret;
}

#define KSM "/sys/kernel/mm/ksm/"

static int wait_scans(int scans)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	long from = read_counter(KSM "full_scans", "");

	while (read_counter(KSM "full_scans", "") < from + scans) {
		if (vg_now_us() > end)
			return -ETIME;
		sched_yield();
	}
	return 0;
}

/* Every page is the same, so all but the pinned ones can be merged. */
STAYS_AFTER(ksm, ANON)
{
	int ret;

	if (access(KSM "run", W_OK))
		return cannot(self, "no KSM in this kernel");
	memset(self->block, 0x3c, self->block_size);
	if (madvise(self->block, self->block_size, MADV_MERGEABLE))
		return -errno;
	ret = write_file(KSM "sleep_millisecs", "0")	      ?:
		      write_file(KSM "pages_to_scan", "1000") ?:
								write_file(KSM "run", "1");
	if (!ret)
		ret = wait_scans(4);
	/* The margins were merged. */
	if (!ret && read_counter(KSM "pages_sharing", "") <= 0)
		ret = -ENODATA;
	if (!ret)
		ret = settle(self);
	write_file(KSM "run", "2");
	write_file(KSM "run", "0");
	return ret;
}

/* ---- huge pages ------------------------------------------------------------- */

/* The first page of the huge page that is registered as a whole. */
static uint8_t *whole_huge(SELF *self)
{
	return self->addr + HUGE_PAGE / 2;
}

REVOKED_BY(thp_madv_dontneed_of_a_page, THP)
{
	return madvise(whole_huge(self) + 100 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_madv_dontneed_of_a_huge_page, THP)
{
	return madvise(whole_huge(self), HUGE_PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_madv_dontneed_across_the_edge, THP)
{
	return madvise(self->addr - PAGE, 2 * PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_madv_dontneed_and_touched, THP)
{
	int ret = madvise(whole_huge(self), HUGE_PAGE, MADV_DONTNEED);

	memset(whole_huge(self), 1, HUGE_PAGE);
	return ret;
}

REVOKED_AS_LOOKED_UP(thp_madv_dontneed_without_access, THP)
{
	return mprotect(self->addr, self->size, PROT_NONE) ?:
		       settle(self)			   ?:
		       madvise(whole_huge(self) + 7 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_munmap_of_a_page, THP)
{
	return munmap(whole_huge(self) + 511 * PAGE, PAGE);
}

REVOKED_BY(thp_mremap_of_a_huge_page, THP)
{
	void *to = self->block + 3 * HUGE_PAGE;

	return mremap(whole_huge(self), HUGE_PAGE, HUGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) ==
			       to ?
		       0 :
		       -errno;
}

/* What was done to a neighbour has split the huge pages that are shared with it. */
static int was_split(long before)
{
	return huge_kib() > before - 2 * (long)HUGE_PAGE / 1024 ? -ENODATA : 0;
}

STAYS_AFTER(thp_munmap_of_neighbours, THP)
{
	long before = huge_kib();

	return munmap(self->block, HUGE_PAGE / 2)		      ?:
		       munmap(self->addr + self->size, HUGE_PAGE / 2) ?:
									was_split(before);
}

STAYS_AFTER(thp_madv_dontneed_of_neighbours, THP)
{
	long before = huge_kib();

	return madvise(self->addr - PAGE, PAGE, MADV_DONTNEED)		     ?:
		       madvise(self->addr + self->size, PAGE, MADV_DONTNEED) ?:
									       was_split(before);
}

STAYS_AFTER(thp_mprotect_of_neighbours, THP)
{
	long before = huge_kib();

	return mprotect(self->block, HUGE_PAGE / 2, PROT_NONE)			   ?:
		       mprotect(self->addr + self->size, HUGE_PAGE / 2, PROT_READ) ?:
		       was_split(before);
}

STAYS_AFTER(thp_mremap_of_neighbours, THP)
{
	long before = huge_kib();
	void *to = self->block + 3 * HUGE_PAGE;

	if (mremap(self->block, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return -errno;
	return munmap(self->addr + self->size, PAGE) ?: was_split(before);
}

/* Split where nobody may look: all that is left to tell is that it is mapped. */
STAYS_AFTER(thp_mprotect_no_access_to_a_page, THP)
{
	long before = huge_kib();
	uint8_t *at = whole_huge(self) + 9 * PAGE;

	return mprotect(at, PAGE, PROT_NONE)		    ?:
		       (huge_kib() < before ? 0 : -ENODATA) ?:
		       settle(self)			    ?:
		       mprotect(at, PAGE, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(thp_mprotect_no_access_and_split, THP)
{
	return mprotect(self->addr, self->size, PROT_NONE)		  ?:
		       munmap(self->addr + self->size, HUGE_PAGE / 2)	  ?:
		       mprotect(whole_huge(self) + PAGE, PAGE, PROT_READ) ?:
		       settle(self)					  ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(thp_mprotect_no_access_and_partly_unmapped, THP)
{
	return munmap(self->block, HUGE_PAGE / 2)		   ?:
		       mprotect(self->addr, self->size, PROT_NONE) ?:
		       madvise(self->addr, self->size, MADV_FREE)  ?:
		       settle(self)				   ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

REVOKED_AS_LOOKED_UP(thp_madv_dontneed_without_access_partly_unmapped, THP)
{
	return munmap(self->block, HUGE_PAGE / 2)		   ?:
		       mprotect(self->addr, self->size, PROT_NONE) ?:
		       settle(self)				   ?:
		       madvise(self->addr + 3 * PAGE, PAGE, MADV_DONTNEED);
}

STAYS_AFTER(thp_madv_free_of_a_part, THP)
{
	return madvise(whole_huge(self) + 3 * PAGE, 100 * PAGE, MADV_FREE) ?:
		       madvise(self->addr, self->size, MADV_FREE);
}

STAYS_AFTER(thp_pageout_with_swap, THP)
{
	char path[64];
	int ret = swap_on(self, path, sizeof(path));

	if (ret)
		return ret;
	ret = madvise(self->block, self->block_size, MADV_PAGEOUT) ? -errno : settle(self);
	/* The one that is not registered did leave. */
	if (!ret && read_counter("/proc/self/status", "VmSwap:") <= 0)
		ret = -ENODATA;
	return (swapoff(path) ? -errno : 0) ?: ret;
}

/* A huge page cannot be made of what is pinned, but beside it. */
static int collapse(SELF *self)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	int ret = allow_huge(self);

	if (!ret && !madvise(self->block, HUGE_PAGE, MADV_COLLAPSE))
		ret = -EEXIST;
	/* Again where the kernel's thread is at the same pages. */
	while (!ret && madvise(self->block + HUGE_PAGE, HUGE_PAGE, MADV_COLLAPSE)) {
		if (errno != EAGAIN || vg_now_us() > end)
			ret = -errno;
	}
	return ret;
}

STAYS_AFTER(madv_collapse_of_a_part_and_a_neighbour, SPARSE)
{
	return collapse(self) ?: huge_kib() > 0 ? 0 : -ENODATA;
}

STAYS_AFTER(madv_collapse_of_a_part_and_a_neighbour_shared_file, SPARSE_FILE)
{
	return collapse(self);
}

#define KHUGEPAGED THP_DIR "khugepaged/"

/* Until the kernel's thread has made a huge page of the neighbour. */
STAYS_AFTER(khugepaged, SPARSE)
{
	uint64_t end = vg_now_us() + KHUGEPAGED_MS * 1000ull;
	long before = huge_kib(), scans;
	int ret = write_file(KHUGEPAGED "pages_to_scan", "8192")	      ?:
			  write_file(KHUGEPAGED "scan_sleep_millisecs", "10") ?:
										allow_huge(self);

	while (!ret && huge_kib() <= before)
		ret = vg_now_us() > end ? -ETIME : sched_yield();
	/* It may have come to the registered pages before, or not yet. */
	scans = read_counter(KHUGEPAGED "full_scans", "");
	while (!ret && read_counter(KHUGEPAGED "full_scans", "") < scans + 2)
		ret = vg_now_us() > end ? -ETIME : sched_yield();
	write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
	return ret;
}

REVOKED_BY(hugetlb_munmap_of_one, HUGETLB)
{
	return munmap(self->addr + HUGE_PAGE, HUGE_PAGE);
}

REVOKED_BY(hugetlb_munmap_of_one_shared_file, HUGETLB_FILE)
{
	return munmap(self->addr, HUGE_PAGE);
}

REVOKED_BY(hugetlb_madv_dontneed_of_one, HUGETLB)
{
	return madvise(self->addr + HUGE_PAGE, HUGE_PAGE, MADV_DONTNEED);
}

REVOKED_AS_LOOKED_UP(hugetlb_madv_dontneed_without_access, HUGETLB)
{
	return mprotect(self->addr, self->size, PROT_NONE) ?:
		       settle(self)			   ?:
		       madvise(self->addr, HUGE_PAGE, MADV_DONTNEED);
}

REVOKED_BY(hugetlb_mremap_of_one, HUGETLB)
{
	void *to = self->block + 3 * HUGE_PAGE;

	return mremap(self->addr, HUGE_PAGE, HUGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ?
		       0 :
		       -errno;
}

REVOKED_AS_LOOKED_UP(hugetlb_punch_hole, HUGETLB_FILE)
{
	return fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_PAGE,
			 HUGE_PAGE);
}

REVOKED_BY(hugetlb_ftruncate, HUGETLB_FILE)
{
	return ftruncate(self->file, 2 * HUGE_PAGE);
}

STAYS_AFTER(hugetlb_munmap_of_neighbours, HUGETLB)
{
	return munmap(self->block, HUGE_PAGE) ?: munmap(self->addr + self->size, HUGE_PAGE);
}

/* There is no such thing as a part of one: it is refused, or rounded to nothing. */
STAYS_AFTER(hugetlb_munmap_of_a_part, HUGETLB)
{
	if (!munmap(self->addr + PAGE, PAGE) || errno != EINVAL)
		return -EEXIST;
	return madvise(self->addr, PAGE, MADV_DONTNEED) && errno != EINVAL ? -errno : 0;
}

STAYS_AFTER(hugetlb_punch_hole_in_a_part, HUGETLB_FILE)
{
	return fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_PAGE / 2, HUGE_PAGE / 2) ?:
		       fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 3 * HUGE_PAGE, HUGE_PAGE);
}

STAYS_AFTER(hugetlb_madv_dontneed_shared_file, HUGETLB_FILE)
{
	return madvise(self->addr, self->size, MADV_DONTNEED);
}

STAYS_AFTER(hugetlb_mprotect_no_access, HUGETLB)
{
	return mprotect(self->addr, self->size, PROT_NONE)	      ?:
		       madvise(self->block, HUGE_PAGE, MADV_DONTNEED) ?:
		       settle(self)				      ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

/* ---- suspicion without end -------------------------------------------------- */

struct storm {
	pthread_t threads[2];
	SELF *self;
	unsigned int rounds;
	bool stop;
};

/* What is pinned survives MADV_FREE, but each one is a reason to look. */
static void *keep_freeing(void *opaque)
{
	struct storm *storm = opaque;

	while (!__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE)) {
		madvise(storm->self->addr, storm->self->size, MADV_FREE);
		__atomic_add_fetch(&storm->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Without this in front of it nothing was going on yet. */
static void storm_begin(struct storm *storm)
{
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&storm->threads[i], NULL, keep_freeing, storm);
	while (__atomic_load_n(&storm->rounds, __ATOMIC_RELAXED) < 100)
		sched_yield();
}

static void storm_end(struct storm *storm)
{
	int i;

	__atomic_store_n(&storm->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(storm->threads[i], NULL);
}

static int stay_in_storm(SELF *self)
{
	struct storm storm = { .self = self };
	int ret = 0, i;

	storm_begin(&storm);
	for (i = 0; !ret && i < 20; i++)
		ret = settle(self);
	storm_end(&storm);
	return ret;
}

/* A verdict is reached while it goes on. */
static int revoke_in_storm(SELF *self)
{
	struct storm storm = { .self = self };
	int ret;

	storm_begin(&storm);
	ret = madvise(self->addr + 5 * PAGE, PAGE, MADV_DONTNEED) ? -errno : 0;
	if (!ret)
		ret = vg_userptr_wait(self->session.vg.fd, self->bo.handle, RELEASED, patience());
	storm_end(&storm);
	return ret;
}

STAYS_AFTER(storm, ANON)
{
	return stay_in_storm(self);
}

STAYS_AFTER(thp_storm, THP)
{
	return stay_in_storm(self);
}

REVOKED_BY(madv_dontneed_in_a_storm, ANON)
{
	return revoke_in_storm(self);
}

REVOKED_BY(thp_madv_dontneed_in_a_storm, THP)
{
	return revoke_in_storm(self);
}

/* ---- other processes ------------------------------------------------------- */

static int write_everywhere(void *opaque)
{
	SELF *self = opaque;

	memset(self->addr, 0x66, self->size);
	CHECK(self->addr[self->size - 1] == 0x66);
	return 0;
}

STAYS_AFTER(fork_then_child_writes, ANON)
{
	return child_result(run_child(write_everywhere, self));
}

static int read_later(void *opaque)
{
	SELF *self = opaque;
	char token;

	CHECK(read(self->file, &token, 1) == 1);
	CHECK(self->addr[0] != 0x12 && self->addr[self->size - 1] != 0x12);
	return 0;
}

STAYS_AFTER(fork_then_parent_writes, ANON)
{
	int pipes[2];
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	self->file = pipes[0];
	pid = run_child(read_later, self);
	memset(self->addr, 0x12, self->size);
	if (write(pipes[1], "1", 1) != 1)
		return -errno;
	close(pipes[1]);
	return child_result(pid);
}

static int unmap_in_child(void *opaque)
{
	SELF *self = opaque;

	CHECK(!madvise(self->addr, self->size, MADV_DONTNEED));
	CHECK(!munmap(self->block, self->block_size));
	return 0;
}

STAYS_AFTER(fork_then_child_unmaps, ANON)
{
	return child_result(run_child(unmap_in_child, self));
}

STAYS_AFTER(vfork_and_exec, ANON)
{
	int status;
	pid_t pid = vfork();

	if (!pid) {
		execl("/bin/cat", "cat", "/dev/null", NULL);
		_exit(1);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status ? -ECHILD : 0;
}

/* Registers its own memory through the file of its parent. */
static int register_own(SELF *self)
{
	struct region region;

	CHECK(!region_scattered(&region, PAGES));
	self->addr = region.addr;
	CHECK(!create(&self->session, &region, 0, &self->bo));
	return 0;
}

struct ids {
	struct vg_bo bo;
	uint64_t addr;
};

static int tell_ids(SELF *self, int fd)
{
	const struct ids ids = { .bo = self->bo, .addr = (uintptr_t)self->addr };

	return write(fd, &ids, sizeof(ids)) == sizeof(ids) ? 0 : -errno;
}

static int hear_ids(SELF *self, int fd)
{
	struct ids ids;

	if (read(fd, &ids, sizeof(ids)) != sizeof(ids))
		return -EIO;
	self->bo = ids.bo;
	self->addr = (void *)(uintptr_t)ids.addr;
	return 0;
}

/* self->file is where to tell of it. */
static int register_and_exit(void *opaque)
{
	SELF *self = opaque;

	CHECK(!register_own(self));
	CHECK(!tell_ids(self, self->file));
	return 0;
}

REVOKED_BY(exit_of_the_owner_with_the_file_open_elsewhere, NOTHING)
{
	int pipes[2], ret;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	self->file = pipes[1];
	pid = run_child(register_and_exit, self);
	ret = hear_ids(self, pipes[0]);
	close(pipes[0]);
	return ret ?: child_result(pid);
}

static int register_and_wait(void *opaque)
{
	SELF *self = opaque;

	CHECK(!register_own(self));
	CHECK(!tell_ids(self, self->file));
	pause();
	return 1;
}

REVOKED_BY(kill_of_the_owner_with_the_file_open_elsewhere, NOTHING)
{
	int pipes[2], ret;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	self->file = pipes[1];
	pid = run_child(register_and_wait, self);
	ret = hear_ids(self, pipes[0]);
	close(pipes[0]);
	kill(pid, SIGKILL);
	return ret ?: child_result(pid) == -SIGKILL ? 0 : -ECHILD;
}

static int send_file(int sock, int fd)
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

static int receive_file(int sock)
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

/* A file of its own, of which the parent gets a descriptor. */
static int register_pass_and_exit(void *opaque)
{
	SELF *self = opaque;
	struct region region;
	struct vg vg;

	CHECK(!region_scattered(&region, PAGES));
	CHECK(!vg_open(&vg, self->session.node, 1));
	CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &self->bo));
	CHECK(!send_file(self->file, vg.fd));
	CHECK(!tell_ids(self, self->file));
	return 0;
}

TEST_F(life, exit_of_the_owner_after_passing_the_file_over_a_socket)
{
	int socks[2], fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	self->file = socks[1];
	pid = run_child(register_pass_and_exit, self);
	fd = receive_file(socks[0]);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, hear_ids(self, socks[0]));
	EXPECT_EQ(0, child_result(pid));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, RELEASED, patience()));
	EXPECT_EQ(0, held(self));
	EXPECT_EQ(1, destroyed(self));
	EXPECT_EQ(self->session.pins, pins_outstanding());
	EXPECT_EQ(0, vg_bo_close(fd, self->bo.handle));
	close(socks[0]);
	close(fd);
}

static int register_and_exec(void *opaque)
{
	SELF *self = opaque;

	/* What is executed has the file, and waits for input. */
	CHECK(!fcntl(self->session.vg.fd, F_SETFD, 0));
	CHECK(!register_own(self));
	CHECK(!tell_ids(self, self->file));
	execl("/bin/cat", "cat", NULL);
	return 1;
}

TEST_F(life, exec_with_the_file_kept)
{
	int pipes[2], input[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, pipe2(input, O_CLOEXEC));
	ASSERT_EQ(STDIN_FILENO, dup2(input[0], STDIN_FILENO));
	self->file = pipes[1];
	pid = run_child(register_and_exec, self);
	ASSERT_EQ(0, hear_ids(self, pipes[0]));
	expect_revoked(_metadata, self);
	/* It is still there. */
	EXPECT_EQ(0, kill(pid, 0));
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	close(input[1]);
	EXPECT_EQ(0, child_result(pid));
	close(pipes[0]);
}

/* The heir of a file whose owner has gone: old handles are dead, new ones work. */
static int heir(SELF *self, int go, int done)
{
	struct vg *vg = &self->session.vg;
	struct vg_bo old = self->bo;
	char token;

	/* The end of the owner is the end of this pipe. */
	CHECK(read(go, &token, 1) == 0);
	CHECK(!vg_userptr_wait(vg->fd, old.handle, RELEASED, patience()));
	CHECK(!register_own(self));
	CHECK(same_digest(vg, self->bo.res, self->addr, PAGES * PAGE));
	CHECK(!vg_bo_close(vg->fd, self->bo.handle));
	CHECK(!vg_bo_close(vg->fd, old.handle));
	CHECK(!wait_no_resources(vg, patience()));
	CHECK(write(done, "1", 1) == 1);
	return 0;
}

static int owner_with_heir(void *opaque)
{
	SELF *self = opaque;
	int go[2];
	pid_t pid;

	CHECK(!pipe(go));
	CHECK(!register_own(self));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(go[1]);
		_exit(heir(self, go[0], self->file));
	}
	return 0;
}

TEST_F(life, child_uses_an_inherited_file_after_its_parent)
{
	struct pollfd pfd = { .events = POLLIN };
	int pipes[2];
	char token;

	ASSERT_EQ(0, pipe(pipes));
	self->file = pipes[1];
	EXPECT_EQ(0, child_result(run_child(owner_with_heir, self)));
	close(pipes[1]);
	self->file = -1;
	pfd.fd = pipes[0];
	ASSERT_EQ(1, poll(&pfd, 1, VG_TIMEOUT_MS));
	EXPECT_EQ(1, read(pipes[0], &token, 1));
	close(pipes[0]);
	EXPECT_EQ(2, destroyed(self));
}

/* ---- while it is being created --------------------------------------------- */

static int inject(SELF *self, uint32_t fault, uint32_t command, uint64_t param)
{
	const struct vg_fault arm = { .fault = fault, .command = command, .param = param };

	return vg_inject(&self->session.vg, &arm);
}

static int register_all_the_time(void *opaque)
{
	SELF *self = opaque;
	struct region region;
	struct vg_bo bo;
	char token = 0;

	CHECK(!region_scattered(&region, 100));
	for (;;) {
		CHECK(!create(&self->session, &region, 0, &bo));
		CHECK(write(self->file, &token, 1) == 1);
	}
}

TEST_F(life, kill_while_creating)
{
	struct vg *vg = &self->session.vg;
	int pipes[2], i, k;
	char token;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, pipe(pipes));
		self->file = pipes[1];
		pid = run_child(register_all_the_time, self);
		for (k = 0; k <= i; k++)
			ASSERT_EQ(1, read(pipes[0], &token, 1));
		kill(pid, SIGKILL);
		EXPECT_EQ(-SIGKILL, child_result(pid));
		/* The file is ours, too: the end of the owner is all there is. */
		EXPECT_EQ(0, wait_no_resources(vg, patience()));
		EXPECT_EQ(0, wait_pins(self->session.pins, patience()));
		close(pipes[0]);
		close(pipes[1]);
	}
	self->file = -1;
}

static int register_slowly(void *opaque)
{
	SELF *self = opaque;

	register_own(self);
	return 1;
}

TEST_F(life, kill_while_the_device_is_at_it)
{
	char path[96];
	pid_t pid;

	debugfs_path(path, sizeof(path), self->session.node);
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 300));
	pid = run_child(register_slowly, self);
	EXPECT_EQ(0, wait_file_contains(path, "CREATING", SETTLE_MS));
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, child_result(pid));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(0, wait_pins(self->session.pins, patience()));
}

struct unmapper {
	SELF *self;
	int ret;
};

/* Not before the device has been told. */
static void *unmap_when_creating(void *opaque)
{
	struct unmapper *u = opaque;

	u->ret = wait_commands(&u->self->session, u->self->session.before.userptr_commands + 1);
	if (!u->ret && munmap(u->self->addr + PAGE, PAGE))
		u->ret = -errno;
	return NULL;
}

TEST_F(life, munmap_while_creating)
{
	struct unmapper u = { .self = self };
	struct region region;
	pthread_t thread;

	ASSERT_EQ(0, region_scattered(&region, PAGES));
	self->addr = region.addr;
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 500));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unmap_when_creating, &u));
	EXPECT_EQ(-EFAULT, create(&self->session, &region, 0, &self->bo));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, u.ret);
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(0, wait_pins(self->session.pins, patience()));
	EXPECT_EQ(1, destroyed(self));
	region_free(&region);
}

/* ---- what user space is told ------------------------------------------------ */

TEST_F(life, waiting_for_states)
{
	int fd = self->session.vg.fd;
	uint64_t started;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, 0, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, REVOKED, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, RELEASED, 0));
	started = vg_now_us();
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, REVOKED, 100));
	EXPECT_LE(100000, vg_now_us() - started);

	/* The device takes its time: revoked at once, released when it answers. */
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 400));
	started = vg_now_us();
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, REVOKED, 0));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bo.handle, RELEASED, 0));
	EXPECT_GT(400000, vg_now_us() - started);
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bo.handle, RELEASED, patience()));
	EXPECT_LE(400000, vg_now_us() - started);
	expect_revoked(_metadata, self);
}

TEST_F(life, closed_while_being_revoked)
{
	ASSERT_EQ(0, register_memory(self, ANON, 0));
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 300));
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	EXPECT_EQ(0, vg_bo_close(self->session.vg.fd, self->bo.handle));
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, patience()));
	EXPECT_EQ(1, destroyed(self));
}

/* A submission that waits for a fence of another context. */
struct waiting_submit {
	pthread_t thread;
	struct vg *vg;
	uint32_t handle;
	int fence;
	int ret;
	uint64_t returned;
};

static void *submit_after_fence(void *opaque)
{
	struct waiting_submit *submit = opaque;
	struct loopback_submit command = {
		.magic = htole32(LOOPBACK_MAGIC),
		.nr_commands = htole32(1),
	};
	struct drm_virtgpu_execbuffer arg = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_IN | VIRTGPU_EXECBUF_RING_IDX,
		.size = sizeof(command),
		.command = (uintptr_t)&command,
		.bo_handles = (uintptr_t)&submit->handle,
		.num_bo_handles = 1,
		.fence_fd = submit->fence,
	};

	submit->ret = vg_ioctl(submit->vg->fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &arg);
	submit->returned = vg_now_us();
	return NULL;
}

#define FENCE_MS 1500

/* Nobody may submit with what was revoked, not even who asked before. */
TEST_F(life, revoked_while_a_submission_waits_for_its_fence)
{
	const struct vg_fault slow = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = VIRTIO_GPU_CMD_SUBMIT_3D,
		.param = FENCE_MS,
	};
	struct waiting_submit submit = { .vg = &self->session.vg };
	struct loopback_command fill = { .op = htole32(LOOPBACK_OP_FILL) };
	struct vg other;
	uint64_t started;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	submit.handle = self->bo.handle;
	ASSERT_EQ(0, vg_open(&other, self->session.node, 1));
	ASSERT_EQ(0, vg_inject(&other, &slow));
	fill.dst_res = htole32(other.result.res);
	started = vg_now_us();
	ASSERT_EQ(0, vg_submit(&other, 0, &fill, 1, NULL, 0, &submit.fence));
	ASSERT_EQ(0, pthread_create(&submit.thread, NULL, submit_after_fence, &submit));
	/* One thread of this process runs, and it is this one. */
	ASSERT_EQ(0, wait_sleeping(getpid(), 1, SETTLE_MS));
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(self->session.vg.fd, self->bo.handle, REVOKED, 0));
	EXPECT_GT(FENCE_MS * 1000, vg_now_us() - started)
	{
		TH_LOG("too late: the fence may have signalled before");
	}
	ASSERT_EQ(0, pthread_join(submit.thread, NULL));
	EXPECT_EQ(-EFAULT, submit.ret);
	/* It did wait. */
	EXPECT_LE(FENCE_MS * 1000, submit.returned - started);
	EXPECT_EQ(0, vg_wait_fence(submit.fence, VG_TIMEOUT_MS));
	vg_close(&other);
	expect_revoked(_metadata, self);
}

TEST_F(life, keep)
{
	struct vg *vg = &self->session.vg;

	EXPECT_EQ(-EINVAL,
		  register_memory(self, ANON, VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, register_memory(self, ANON, VIRTGPU_USERPTR_KEEP));
	ASSERT_EQ(0, madvise(self->addr, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, munmap(self->addr, self->size));
	ASSERT_EQ(0, settle(self));
	EXPECT_EQ(-ETIME, vg_userptr_wait(vg->fd, self->bo.handle, REVOKED, 0));
	EXPECT_EQ(1, held(self));
	EXPECT_EQ(0, destroyed(self));
	EXPECT_EQ((long)(self->size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, vg_bo_close(vg->fd, self->bo.handle));
	EXPECT_EQ(0, wait_no_resources(vg, patience()));
	EXPECT_EQ(1, destroyed(self));
}

/* ---- several registrations -------------------------------------------------- */

/* What is registered at the address of what is being revoked is not hurt. */
TEST_F(life, registered_again_after_map_fixed)
{
	struct vg *vg = &self->session.vg;
	struct region region;
	struct vg_bo old;
	int i;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	region.addr = self->addr;
	region.size = self->size;
	for (i = 0; i < 200; i++) {
		old = self->bo;
		ASSERT_EQ(0, map_over(self->addr, self->size));
		memset(self->addr, i, self->size);
		ASSERT_EQ(0, create(&self->session, &region, 0, &self->bo));
		ASSERT_EQ(0, vg_userptr_wait(vg->fd, old.handle, RELEASED, patience()));
		ASSERT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
		ASSERT_EQ(0, vg_bo_close(vg->fd, old.handle));
	}
	self->settled += 200;
	expect_stays(_metadata, self);
}

TEST_F(life, registered_again_while_the_device_is_slow)
{
	struct vg *vg = &self->session.vg;
	struct region region;
	struct vg_bo old;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	region.addr = self->addr;
	region.size = self->size;
	old = self->bo;
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 300));
	ASSERT_EQ(0, map_over(self->addr, self->size));
	ASSERT_EQ(0, create(&self->session, &region, 0, &self->bo));
	region_fill(&region, 5);
	EXPECT_EQ(-ETIME, vg_userptr_wait(vg->fd, old.handle, RELEASED, 0));
	EXPECT_TRUE(same_digest(vg, self->bo.res, self->addr, self->size));
	ASSERT_EQ(0, vg_userptr_wait(vg->fd, old.handle, RELEASED, patience()));
	ASSERT_EQ(0, vg_bo_close(vg->fd, old.handle));
	self->settled++;
	expect_stays(_metadata, self);
}

TEST_F(life, overlapping)
{
	struct vg *vg = &self->session.vg;
	struct vg_bo whole, tail;

	ASSERT_EQ(0, register_memory(self, ANON, 0));
	whole = self->bo;
	ASSERT_EQ(0, vg_userptr_create(vg->fd, self->addr + 8 * PAGE, 8 * PAGE, 0, &tail));
	ASSERT_EQ(0, munmap(self->addr, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(vg->fd, whole.handle, RELEASED, patience()));
	ASSERT_EQ(0, settle(self));
	EXPECT_EQ(-ETIME, vg_userptr_wait(vg->fd, tail.handle, REVOKED, 0));
	EXPECT_EQ(1, destroyed(self));
	EXPECT_TRUE(same_digest(vg, tail.res, self->addr + 8 * PAGE, 8 * PAGE));
	ASSERT_EQ(0, munmap(self->addr + 9 * PAGE, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(vg->fd, tail.handle, RELEASED, patience()));
	EXPECT_EQ(2, destroyed(self));
	EXPECT_EQ(0, vg_bo_close(vg->fd, whole.handle));
	EXPECT_EQ(0, vg_bo_close(vg->fd, tail.handle));
}

/* One munmap() ends many. */
TEST_F(life, many_at_once)
{
	struct vg *vg = &self->session.vg;
	struct vg_bo bos[100];
	struct region region;
	int i;

	ASSERT_EQ(0, region_alloc(&region, 100));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, vg_userptr_create(vg->fd, region.addr + i * PAGE, PAGE, 0, &bos[i]));
	region_free(&region);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, vg_userptr_wait(vg->fd, bos[i].handle, RELEASED, patience()));
		EXPECT_EQ(0, vg_bo_close(vg->fd, bos[i].handle));
	}
	EXPECT_EQ(100, destroyed(self));
	EXPECT_EQ(0, held(self));
}

TEST_HARNESS_MAIN
