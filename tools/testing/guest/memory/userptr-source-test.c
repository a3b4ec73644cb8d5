// SPDX-License-Identifier: MIT
/*
 * userptr-source-test: every kind of memory, and what may happen to it later
 *
 * Runs as root in an x86-64 guest.  "source" registers memory of every kind;
 * "kept" registers memory, then does what moves pages, takes them away or
 * shares them.  A control, memory of the same kind that nobody registered,
 * shows that what was done does do that.
 *
 * Invariant: beside each registered range lies a model, the bytes that have to
 * be there.  What the guest or the host writes is written to the model as well,
 * and each check compares both sides with it.  What a test switches on in the
 * kernel its teardown switches off.
 */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>

#include "lib/userptr-test-session.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PM_PRESENT (1ull << 63)
#define PM_SWAP (1ull << 62)
#define PM_SOFT_DIRTY (1ull << 55)
#define PM_FRAME ((1ull << 55) - 1)
#define KSM "/sys/kernel/mm/ksm/"
#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"
#define NUMA_BALANCING "/proc/sys/kernel/numa_balancing"
#define EXT4_DIR "/dev/shm/ext4"
#define MEMORY_BLOCKS "/sys/devices/system/memory/"
/* For the kernel's own threads, which have their own pace, under emulation. */
#define BACKGROUND_MS 60000
#define TEST_SECONDS 120

/**
 * struct memory - a range and what has to be in it
 * @region: the range
 * @model: the bytes that have to be there, in memory of their own
 * @step: distance of addresses that are surely in different folios
 * @shared: a child writes to the same pages
 * @bo: the registration
 * @frames: the range's frame numbers when it was registered
 */
struct memory {
	struct region region;
	struct region model;
	size_t step;
	bool shared;
	struct vg_bo bo;
	uint64_t *frames;
};

/* Why there is no memory of some kind here; each test is a process of its own. */
static char skip_reason[128];

static int cannot(const char *reason)
{
	snprintf(skip_reason, sizeof(skip_reason), "%s", reason);
	return -EOPNOTSUPP;
}

static size_t pages_of(const struct memory *memory)
{
	return memory->region.size / PAGE;
}

/* Nothing to wait on exists for what conditions are polled for here. */
static bool expired(uint64_t start, int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = 5 * 1000 * 1000 };

	if (vg_now_us() > start + timeout_ms * 1000ull)
		return true;
	nanosleep(&pause, NULL);
	return false;
}

/* ---- looking at pages -------------------------------------------------- */

static int read_pagemap(const void *addr, size_t pages, uint64_t *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t want = 8 * pages, got;

	if (fd < 0)
		return -errno;
	got = pread(fd, entries, want, (uintptr_t)addr / PAGE * 8);
	close(fd);
	return got == want ? 0 : -EIO;
}

/* Pages whose pagemap entries, masked, are @value; or a negative errno. */
static long count_entries(const struct memory *memory, uint64_t mask, uint64_t value)
{
	size_t pages = pages_of(memory), i;
	uint64_t *entries = calloc(pages, 8);
	long nr;

	if (!entries)
		return -ENOMEM;
	nr = read_pagemap(memory->region.addr, pages, entries);
	for (i = 0; nr >= 0 && i < pages; i++)
		nr += (entries[i] & mask) == value;
	free(entries);
	return nr;
}

static int read_frames(const struct memory *memory, uint64_t *frames)
{
	size_t pages = pages_of(memory), i;
	int ret = read_pagemap(memory->region.addr, pages, frames);

	for (i = 0; !ret && i < pages; i++) {
		if (!(frames[i] & PM_PRESENT))
			return -EFAULT;
		frames[i] &= PM_FRAME;
	}
	return ret;
}

/* Frames of a zone from which nothing may be kept: it is there to be emptied. */
static bool in_movable_zone(uint64_t frame)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	uint64_t spanned = 0, first, node;
	bool movable = false, inside = false;
	char line[256], zone[32];

	if (!file)
		return false;
	while (!inside && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Node %lu, zone %31s", &node, zone) == 2)
			movable = !strcmp(zone, "Movable");
		sscanf(line, " spanned %lu", &spanned);
		if (movable && sscanf(line, " start_pfn: %lu", &first) == 1)
			inside = frame >= first && frame - first < spanned;
	}
	fclose(file);
	return inside;
}

/* Is every aligned 2 MiB one aligned piece of physical memory? */
static bool all_huge(const struct memory *memory)
{
	size_t pages = pages_of(memory), i;
	uint64_t *frames = calloc(pages, 8);
	bool huge = frames && !read_frames(memory, frames);

	for (i = 0; huge && i < pages; i++)
		huge = frames[i] == (i % 512 ? frames[i - 1] + 1 : frames[i] & ~511ull);
	free(frames);
	return huge;
}

/* Have pages of unregistered memory written out until none is there. */
static int page_out(const struct memory *memory)
{
	uint64_t start = vg_now_us();

	do {
		/* Pages that another CPU is about to put on a list come later. */
		if (madvise(memory->region.addr, memory->region.size, MADV_PAGEOUT))
			return -errno;
		if (!count_entries(memory, PM_PRESENT, PM_PRESENT))
			return 0;
	} while (!expired(start, SETTLE_MS));
	return -ETIME;
}

/* ---- memory of every kind ------------------------------------------------ */

static void memory_free(struct memory *memory)
{
	region_free(&memory->region);
	region_free(&memory->model);
	free(memory->frames);
	memory->frames = NULL;
}

static void *map_private(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

/* The model, and room for frame numbers; @memory->region.size is set. */
static int model_alloc(struct memory *memory)
{
	struct region *model = &memory->model;

	model->block_size = model->size = memory->region.size;
	model->block = map_private(model->size);
	model->addr = model->block;
	memory->frames = calloc(pages_of(memory), 8);
	return memory->frames && model->block ? 0 : -ENOMEM;
}

/* Both sides of the guest: what is there, and what has to be. */
static void guest_fill(struct memory *memory, uint64_t seed)
{
	region_fill(&memory->region, seed);
	region_fill(&memory->model, seed);
}

/* What mmap() or shmat() gave. */
static int adopt(struct memory *memory, void *addr, size_t size)
{
	memset(memory, 0, sizeof(*memory));
	if (addr == MAP_FAILED)
		return -errno;
	memory->region.block = memory->region.addr = addr;
	memory->region.block_size = memory->region.size = size;
	memory->step = PAGE;
	return model_alloc(memory);
}

/* Anonymous memory on a 2 MiB boundary, untouched. */
static int map_aligned(struct memory *memory, size_t size)
{
	struct region *region = &memory->region;

	memset(memory, 0, sizeof(*memory));
	region->size = size;
	region->block_size = size + 2 * HUGE_PAGE;
	region->block = map_private(region->block_size);
	if (!region->block)
		return -ENOMEM;
	region->addr = (uint8_t *)(((uintptr_t)region->block + HUGE_PAGE) & ~(HUGE_PAGE - 1));
	memory->step = PAGE;
	return model_alloc(memory);
}

static int make_small(struct memory *memory)
{
	int ret = map_aligned(memory, HUGE_PAGE);
	size_t i;

	if (ret)
		return ret;
	/* In turn with other pages, so that neighbours are none in memory. */
	for (i = 0; i < memory->region.size; i += PAGE) {
		memory->region.addr[i] = 1;
		memory->model.addr[i] = 1;
	}
	guest_fill(memory, 1);
	return 0;
}

static int make_thp(struct memory *memory)
{
	int ret = map_aligned(memory, 4 * HUGE_PAGE);

	if (ret)
		return ret;
	memory->step = HUGE_PAGE;
	if (madvise(memory->region.block, memory->region.block_size, MADV_HUGEPAGE))
		return -errno;
	guest_fill(memory, 2);
	/* Under fragmentation the kernel gives small pages: that is no THP test. */
	return all_huge(memory) ? 0 : -ENOMEM;
}

static int reserve_huge_pages(void)
{
	if (access(NR_HUGEPAGES, W_OK))
		return cannot("no hugetlb in this kernel");
	return write_file(NR_HUGEPAGES, "4");
}

static int make_hugetlb(struct memory *memory)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	int ret = reserve_huge_pages();

	memset(memory, 0, sizeof(*memory));
	if (ret)
		return ret;
	ret = adopt(memory, mmap(NULL, 4 * HUGE_PAGE, PROT_READ | PROT_WRITE, flags, -1, 0),
		    4 * HUGE_PAGE);
	memory->step = HUGE_PAGE;
	if (!ret)
		guest_fill(memory, 3);
	return ret;
}

/* Shared memory of a file, which is closed. */
static int adopt_file(struct memory *memory, int fd, size_t size, int flags)
{
	int ret;

	memset(memory, 0, sizeof(*memory));
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size)) {
		close(fd);
		return -errno;
	}
	ret = adopt(memory, mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0), size);
	close(fd);
	memory->shared = flags & MAP_SHARED;
	return ret;
}

static int make_memfd(struct memory *memory)
{
	int ret = adopt_file(memory, memfd_create("userptr", MFD_CLOEXEC), HUGE_PAGE, MAP_SHARED);

	if (!ret)
		guest_fill(memory, 4);
	return ret;
}

static int make_memfd_hugetlb(struct memory *memory)
{
	int ret = reserve_huge_pages();

	memset(memory, 0, sizeof(*memory));
	if (ret)
		return ret;
	ret = adopt_file(memory, memfd_create("userptr", MFD_CLOEXEC | MFD_HUGETLB), 4 * HUGE_PAGE,
			 MAP_SHARED);
	memory->step = HUGE_PAGE;
	if (!ret)
		guest_fill(memory, 5);
	return ret;
}

static int make_sysv(struct memory *memory)
{
	int id = shmget(IPC_PRIVATE, 128 * PAGE, IPC_CREAT | 0600);
	void *addr;
	int ret;

	memset(memory, 0, sizeof(*memory));
	if (id < 0)
		return errno == ENOSYS ? cannot("no System V shared memory in this kernel") :
					 -errno;
	addr = shmat(id, NULL, 0);
	/* It goes with its last mapping. */
	shmctl(id, IPC_RMID, NULL);
	ret = adopt(memory, addr, 128 * PAGE);
	if (!ret)
		guest_fill(memory, 6);
	return ret;
}

static int make_tmpfs(struct memory *memory)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int ret = adopt_file(memory, fd, 128 * PAGE, MAP_SHARED);

	if (!ret)
		guest_fill(memory, 7);
	return ret;
}

/* A file with the pattern in it, on a filesystem that tracks dirty pages. */
static int open_ext4_file(size_t size)
{
	const char *image = getenv("USERPTR_EXT4");
	struct region text = { .size = size };
	int fd;

	if (!image)
		return cannot("no ext4 image in this run");
	mkdir(EXT4_DIR, 0700);
	if (mount(image, EXT4_DIR, "ext4", 0, NULL) && errno != EBUSY)
		return -errno;
	fd = open(EXT4_DIR "/file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	text.addr = malloc(size);
	if (text.addr)
		region_fill(&text, 8);
	if (!text.addr || pwrite(fd, text.addr, size, 0) != (ssize_t)size || fsync(fd)) {
		close(fd);
		fd = -EIO;
	}
	free(text.addr);
	return fd;
}

static int make_ext4(struct memory *memory, int flags)
{
	int fd = open_ext4_file(128 * PAGE);
	int ret;

	memset(memory, 0, sizeof(*memory));
	if (fd < 0)
		return fd;
	ret = adopt_file(memory, fd, 128 * PAGE, flags);
	if (!ret)
		region_fill(&memory->model, 8);
	return ret;
}

/* The file's own pages, until someone writes. */
static int make_ext4_private(struct memory *memory)
{
	return make_ext4(memory, MAP_PRIVATE);
}

/* The file's own pages, read but never written. */
static int make_ext4_shared(struct memory *memory)
{
	return make_ext4(memory, MAP_SHARED);
}

static int make_untouched(struct memory *memory)
{
	return map_aligned(memory, 128 * PAGE);
}

/* All of it is there, and all of it is the one zero page. */
static int make_zero_page(struct memory *memory)
{
	int ret = map_aligned(memory, 128 * PAGE);

	if (ret)
		return ret;
	if (madvise(memory->region.addr, memory->region.size, MADV_NOHUGEPAGE) ||
	    madvise(memory->region.addr, memory->region.size, MADV_POPULATE_READ) ||
	    read_frames(memory, memory->frames))
		return -errno;
	return memory->frames[0] == memory->frames[1] ? 0 : -EINVAL;
}

static int make_same_pages(struct memory *memory)
{
	int ret = map_aligned(memory, 64 * PAGE);

	if (ret)
		return ret;
	memset(memory->region.addr, 0x5a, memory->region.size);
	memset(memory->model.addr, 0x5a, memory->region.size);
	return 0;
}

static int start_ksm(void)
{
	if (access(KSM "run", W_OK))
		return cannot("no KSM in this kernel");
	if (write_file(KSM "sleep_millisecs", "10") || write_file(KSM "pages_to_scan", "2000"))
		return -EIO;
	return write_file(KSM "run", "1");
}

/* Until all of it is one page. */
static int wait_merged(const struct memory *memory)
{
	uint64_t frames[64], start = vg_now_us();
	unsigned int same, i;

	do {
		if (read_frames(memory, frames))
			return -EIO;
		for (same = 1, i = 1; i < 64; i++)
			same += frames[i] == frames[0];
		if (same == 64)
			return 0;
	} while (!expired(start, BACKGROUND_MS));
	return -ETIME;
}

static int make_merged(struct memory *memory)
{
	int ret = make_same_pages(memory);

	if (!ret)
		ret = start_ksm();
	if (ret)
		return ret;
	if (madvise(memory->region.addr, memory->region.size, MADV_MERGEABLE))
		return -errno;
	ret = wait_merged(memory);
	if (!ret && read_counter(KSM "pages_shared", "") <= 0)
		ret = -EINVAL;
	return ret;
}

static int swap_on(void)
{
	const char *disk = getenv("USERPTR_SWAP");

	if (!disk)
		return cannot("no swap disk in this run");
	return swapon(disk, 0) && errno != EBUSY ? -errno : 0;
}

static int swap_off(void)
{
	const char *disk = getenv("USERPTR_SWAP");

	/* EINVAL: it is not on. */
	return disk && swapoff(disk) && errno != EINVAL ? -errno : 0;
}

static int make_swapped(struct memory *memory)
{
	int ret;

	memset(memory, 0, sizeof(*memory));
	ret = swap_on();
	if (!ret)
		ret = make_small(memory);
	if (!ret)
		ret = page_out(memory);
	if (!ret && count_entries(memory, PM_SWAP, PM_SWAP) != (long)pages_of(memory))
		ret = -EINVAL;
	return ret;
}

/* What tests have switched on. */
static int restore_kernel(void)
{
	int ret = swap_off();

	/* 2: take merged pages apart again. */
	if (!access(KSM "run", W_OK) && write_file(KSM "run", "2"))
		ret = -EIO;
	if (!access(NUMA_BALANCING, W_OK) && write_file(NUMA_BALANCING, "0"))
		ret = -EIO;
	if (!access(NR_HUGEPAGES, W_OK) && write_file(NR_HUGEPAGES, "0"))
		ret = -EIO;
	if (umount(EXT4_DIR) && errno != EINVAL && errno != ENOENT)
		ret = -errno;
	return ret;
}

/* ---- checks -------------------------------------------------------------- */

/* Guest and host see the model. */
static void check_same(struct __test_metadata *_metadata, struct session *session,
		       struct memory *memory)
{
	const struct region *model = &memory->model;

	EXPECT_EQ(0, memcmp(model->addr, memory->region.addr, model->size))
	{
		TH_LOG("the guest does not see what was written");
	}
	EXPECT_TRUE(same_digest(&session->vg, memory->bo.res, model->addr, model->size))
	{
		TH_LOG("the host does not see what was written");
	}
}

static void model_invert(struct memory *memory)
{
	size_t i;

	for (i = 0; i < memory->model.size; i++)
		memory->model.addr[i] ^= 0xff;
}

/* The host writes all of it, then a few bytes across a page boundary. */
static void host_writes(struct __test_metadata *_metadata, struct session *session,
			struct memory *memory)
{
	struct vg_copy copy = {
		.dst_res = memory->bo.res,
		.src_res = memory->bo.res,
		.length = memory->region.size,
	};

	ASSERT_EQ(0, vg_invert(&session->vg, &copy));
	model_invert(memory);
	check_same(_metadata, session, memory);
	ASSERT_EQ(0, vg_fill(&session->vg, memory->bo.res, PAGE - 3, 7, 0xa5));
	memset(memory->model.addr + PAGE - 3, 0xa5, 7);
	check_same(_metadata, session, memory);
}

static void guest_writes(struct __test_metadata *_metadata, struct session *session,
			 struct memory *memory, uint64_t seed)
{
	guest_fill(memory, seed);
	check_same(_metadata, session, memory);
}

/* The device holds this one resource, with as many segments as there are runs. */
static void check_registered(struct __test_metadata *_metadata, struct session *session,
			     struct memory *memory)
{
	struct drm_virtgpu_userptr_info info;
	struct loopback_stats delta;

	ASSERT_EQ(0, vg_userptr_info(session->vg.fd, memory->bo.handle, &info));
	EXPECT_EQ(VIRTGPU_USERPTR_STATE_LIVE, info.state);
	EXPECT_EQ(memory->region.runs, info.nr_segments);
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(1, delta.userptr_resources);
	EXPECT_EQ(info.nr_segments, delta.userptr_segments);
	EXPECT_EQ(memory->region.size, delta.userptr_bytes);
}

static void register_memory(struct __test_metadata *_metadata, struct session *session,
			    struct memory *memory, uint32_t flags)
{
	long runs;

	ASSERT_EQ(0, create(session, &memory->region, flags, &memory->bo));
	EXPECT_EQ((long)(memory->region.size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins + (long)pages_of(memory), pins_outstanding());
	runs = count_runs(memory->region.addr, pages_of(memory));
	ASSERT_LT(0, runs);
	memory->region.runs = runs;
	ASSERT_EQ(0, read_frames(memory, memory->frames));
	EXPECT_FALSE(in_movable_zone(memory->frames[0]));
	EXPECT_FALSE(in_movable_zone(memory->frames[pages_of(memory) - 1]));
	check_registered(_metadata, session, memory);
	check_same(_metadata, session, memory);
}

static void release(struct __test_metadata *_metadata, struct session *session,
		    struct memory *memory)
{
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, memory->bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, memcmp(memory->model.addr, memory->region.addr, memory->model.size));
}

static bool same_frames(const struct memory *memory)
{
	uint64_t *frames = calloc(pages_of(memory), 8);
	bool same = frames && !read_frames(memory, frames) &&
		    !memcmp(frames, memory->frames, 8 * pages_of(memory));

	free(frames);
	return same;
}

/* After whatever was done: the same pages, the same bytes, in both directions. */
static void check_kept(struct __test_metadata *_metadata, struct session *session,
		       struct memory *memory, uint64_t seed)
{
	check_registered(_metadata, session, memory);
	check_same(_metadata, session, memory);
	guest_writes(_metadata, session, memory, seed);
	host_writes(_metadata, session, memory);
	EXPECT_TRUE(same_frames(memory))
	{
		TH_LOG("the pages are no longer those that were registered");
	}
	guest_writes(_metadata, session, memory, seed + 1);
}

static bool control_same(const struct memory *control)
{
	return !memcmp(control->model.addr, control->region.addr, control->model.size);
}

/* ---- sources ------------------------------------------------------------ */

FIXTURE(source)
{
	struct session session;
	struct memory memory;
};

FIXTURE_VARIANT(source)
{
	int (*make)(struct memory * memory);
	/* Most segments that it may have, 0 if that is not known. */
	unsigned int max_segments;
	/* What registering it for writing answers. */
	int writable;
};

#define SOURCE(kind, ...)                        \
	FIXTURE_VARIANT_ADD(source, kind)        \
	{                                        \
		.make = make_##kind, __VA_ARGS__ \
	}

SOURCE(small, .max_segments = 512);
SOURCE(thp, .max_segments = 4);
SOURCE(hugetlb, .max_segments = 4);
SOURCE(memfd, .max_segments = 512);
SOURCE(memfd_hugetlb, .max_segments = 4);
SOURCE(sysv, .max_segments = 128);
SOURCE(tmpfs, .max_segments = 128);
SOURCE(ext4_private, .max_segments = 128);
SOURCE(ext4_shared, .writable = -EFAULT);
SOURCE(untouched, .max_segments = 128);
SOURCE(zero_page, .max_segments = 128);
SOURCE(merged, .max_segments = 64);
SOURCE(swapped, .max_segments = 512);

FIXTURE_SETUP(source)
{
	int ret;

	memset(&self->memory, 0, sizeof(self->memory));
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	ret = variant->make(&self->memory);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret)
	{
		TH_LOG("no such memory: %s", strerror(-ret));
	}
}

FIXTURE_TEARDOWN(source)
{
	session_end(_metadata, &self->session);
	memory_free(&self->memory);
	EXPECT_EQ(0, restore_kernel());
}

TEST_F_TIMEOUT(source, read_write, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;

	if (variant->writable) {
		EXPECT_EQ(variant->writable,
			  try_create(session, memory->region.addr, memory->region.size, 0));
		expect_untouched(_metadata, session);
		return;
	}
	register_memory(_metadata, session, memory, 0);
	EXPECT_GE(variant->max_segments, memory->region.runs);
	host_writes(_metadata, session, memory);
	guest_writes(_metadata, session, memory, 10);
	host_writes(_metadata, session, memory);
	EXPECT_TRUE(same_frames(memory));
	release(_metadata, session, memory);
}

TEST_F_TIMEOUT(source, read_only, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;

	register_memory(_metadata, session, memory, VIRTGPU_USERPTR_RDONLY);
	if (variant->max_segments)
		EXPECT_GE(variant->max_segments, memory->region.runs);
	EXPECT_EQ(-EACCES, vg_fill(&session->vg, memory->bo.res, 0, memory->region.size, 0));
	check_same(_metadata, session, memory);
	/* The first write of the guest: were these pages shared, it would get others. */
	guest_writes(_metadata, session, memory, 11);
	EXPECT_TRUE(same_frames(memory));
	release(_metadata, session, memory);
}

FIXTURE(special)
{
	struct session session;
	struct memory memory;
};

FIXTURE_SETUP(special)
{
	memset(&self->memory, 0, sizeof(self->memory));
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(special)
{
	session_end(_metadata, &self->session);
	memory_free(&self->memory);
	EXPECT_EQ(0, restore_kernel());
}

/* Registered while it cannot be written, and again when it can. */
TEST_F_TIMEOUT(special, read_then_write, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;
	struct region *region = &memory->region;

	ASSERT_EQ(0, make_zero_page(memory));
	ASSERT_EQ(0, mprotect(region->addr, region->size, PROT_READ));
	EXPECT_EQ(-EFAULT, try_create(session, region->addr, region->size, 0));
	expect_untouched(_metadata, session);
	register_memory(_metadata, session, memory, VIRTGPU_USERPTR_RDONLY);
	ASSERT_EQ(0, mprotect(region->addr, region->size, PROT_READ | PROT_WRITE));
	guest_writes(_metadata, session, memory, 20);
	EXPECT_TRUE(same_frames(memory));
	release(_metadata, session, memory);
	register_memory(_metadata, session, memory, 0);
	host_writes(_metadata, session, memory);
	guest_writes(_metadata, session, memory, 21);
	release(_metadata, session, memory);
}

TEST_F(special, secretmem)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0)
		SKIP(return, "no memfd_secret() in this kernel: %s", strerror(errno));
	ASSERT_EQ(0, adopt_file(memory, fd, 4 * PAGE, MAP_SHARED));
	guest_fill(memory, 22);
	EXPECT_EQ(-EFAULT, try_create(session, memory->region.addr, 4 * PAGE, 0));
	EXPECT_EQ(-EFAULT,
		  try_create(session, memory->region.addr, 4 * PAGE, VIRTGPU_USERPTR_RDONLY));
	expect_untouched(_metadata, session);
}

TEST_F(special, mapping_of_another_bo)
{
	struct session *session = &self->session;
	uint8_t *addr = map_private(16 * PAGE);
	struct vg_bo bo;
	void *map;

	ASSERT_EQ(0, vg_blob_create(session->vg.fd, 4 * PAGE, &bo));
	ASSERT_EQ(0, vg_map(session->vg.fd, bo.handle, 4 * PAGE, &map));
	/* In the midst of memory that could be registered. */
	ASSERT_NE(NULL, addr);
	ASSERT_EQ(addr + 4 * PAGE,
		  mremap(map, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, addr + 4 * PAGE));
	EXPECT_EQ(-EFAULT, try_create(session, addr, 16 * PAGE, 0));
	EXPECT_EQ(-EFAULT, try_create(session, addr, 16 * PAGE, VIRTGPU_USERPTR_RDONLY));
	EXPECT_EQ(-EFAULT, try_create(session, addr + 4 * PAGE, 4 * PAGE, 0));
	expect_untouched(_metadata, session);
	EXPECT_EQ(0, try_create(session, addr, 4 * PAGE, 0));
	EXPECT_EQ(0, munmap(addr, 16 * PAGE));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

/**
 * struct fault_handler - a thread that brings pages when they are asked for
 * @fd: userfaultfd
 * @memory: what it serves, from the model
 * @thread: the thread
 * @stop: pipe; its end of file ends the thread
 * @served: pages brought
 * @error: what went wrong
 */
struct fault_handler {
	int fd;
	struct memory *memory;
	pthread_t thread;
	int stop[2];
	unsigned int served;
	int error;
};

static int serve_fault(struct fault_handler *handler)
{
	struct memory *memory = handler->memory;
	struct uffdio_copy copy = { .len = PAGE };
	struct uffd_msg msg;

	if (read(handler->fd, &msg, sizeof(msg)) != sizeof(msg))
		return errno == EAGAIN ? 0 : -errno;
	if (msg.event != UFFD_EVENT_PAGEFAULT)
		return -EPROTO;
	copy.dst = msg.arg.pagefault.address & ~(PAGE - 1);
	copy.src = copy.dst - (uintptr_t)memory->region.addr + (uintptr_t)memory->model.addr;
	/* Before whoever waits for the page goes on. */
	__atomic_add_fetch(&handler->served, 1, __ATOMIC_RELEASE);
	return ioctl(handler->fd, UFFDIO_COPY, &copy) ? -errno : 0;
}

static void *serve_faults(void *opaque)
{
	struct fault_handler *handler = opaque;
	struct pollfd fds[] = {
		{ .fd = handler->fd, .events = POLLIN },
		{ .fd = handler->stop[0], .events = POLLIN },
	};

	while (!handler->error && poll(fds, 2, -1) > 0 && !fds[1].revents)
		handler->error = serve_fault(handler);
	return NULL;
}

static int start_handler(struct fault_handler *handler, struct memory *memory)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range.start = (uintptr_t)memory->region.addr,
		.range.len = memory->region.size,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	memset(handler, 0, sizeof(*handler));
	handler->memory = memory;
	handler->fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (handler->fd < 0)
		return errno == ENOSYS ? cannot("no userfaultfd in this kernel") : -errno;
	if (ioctl(handler->fd, UFFDIO_API, &api) || ioctl(handler->fd, UFFDIO_REGISTER, &range) ||
	    pipe2(handler->stop, O_CLOEXEC))
		return -errno;
	return -pthread_create(&handler->thread, NULL, serve_faults, handler);
}

/* The pages come from another thread, while they are being pinned. */
TEST_F_TIMEOUT(special, userfaultfd, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;
	struct fault_handler handler;
	int ret;

	ASSERT_EQ(0, map_aligned(memory, 64 * PAGE));
	region_fill(&memory->model, 23);
	ret = start_handler(&handler, memory);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret);
	register_memory(_metadata, session, memory, 0);
	EXPECT_EQ(64, __atomic_load_n(&handler.served, __ATOMIC_ACQUIRE));
	host_writes(_metadata, session, memory);
	guest_writes(_metadata, session, memory, 24);
	close(handler.stop[1]);
	ASSERT_EQ(0, pthread_join(handler.thread, NULL));
	EXPECT_EQ(0, handler.error);
	close(handler.stop[0]);
	close(handler.fd);
	host_writes(_metadata, session, memory);
	release(_metadata, session, memory);
}

/* From memory that is to be unplugged one day: registering takes it out of there. */
TEST_F_TIMEOUT(special, movable_zone, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;

	ASSERT_EQ(0, make_small(memory));
	ASSERT_EQ(0, read_frames(memory, memory->frames));
	if (!in_movable_zone(memory->frames[0]))
		SKIP(return, "no pages in a movable zone");
	/* Which looks at where they are then. */
	register_memory(_metadata, session, memory, 0);
	check_kept(_metadata, session, memory, 25);
	release(_metadata, session, memory);
}

/* ---- after registration --------------------------------------------------- */

/* Half a huge page on each side goes: the pages in between stay. */
TEST_F_TIMEOUT(special, split_by_munmap, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	size_t edge = MIB(1);
	struct memory part, control;
	long splits;

	ASSERT_EQ(0, make_thp(memory));
	ASSERT_EQ(0, make_thp(&control));
	part = *memory;
	splits = read_counter("/proc/vmstat", "thp_split_pmd ");
	part.region.addr += edge;
	part.region.size -= 2 * edge;
	part.model.addr += edge;
	part.model.size -= 2 * edge;
	register_memory(_metadata, &self->session, &part, 0);
	ASSERT_EQ(0, munmap(memory->region.addr, edge));
	ASSERT_EQ(0, munmap(memory->region.addr + memory->region.size - edge, edge));
	EXPECT_LE(splits + 2, read_counter("/proc/vmstat", "thp_split_pmd "));
	check_kept(_metadata, &self->session, &part, 46);
	/* Every huge page of the kernel that can be split. */
	splits = read_counter("/proc/vmstat", "thp_split_page ");
	ASSERT_EQ(0, write_file("/sys/kernel/debug/split_huge_pages", "1"));
	EXPECT_LE(splits + 4, read_counter("/proc/vmstat", "thp_split_page "));
	check_kept(_metadata, &self->session, &part, 48);
	EXPECT_TRUE(control_same(&control));
	memory_free(&control);
	release(_metadata, &self->session, &part);
}

/* What is registered is the page cache itself, and others write to the file. */
TEST_F_TIMEOUT(special, file_written_by_others, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;
	struct region *model = &memory->model;
	int ret = make_ext4_shared(memory), fd;

	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret);
	register_memory(_metadata, session, memory, VIRTGPU_USERPTR_RDONLY);
	ASSERT_EQ(0, write_file("/proc/sys/vm/drop_caches", "3"));
	fd = open(EXT4_DIR "/file", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	region_fill(model, 26);
	ASSERT_EQ((ssize_t)model->size, pwrite(fd, model->addr, model->size, 0));
	check_same(_metadata, session, memory);
	EXPECT_EQ(0, fsync(fd));
	check_same(_metadata, session, memory);
	EXPECT_TRUE(same_frames(memory));
	close(fd);
	release(_metadata, session, memory);
}

FIXTURE(kept)
{
	struct session session;
	struct memory memory;
	struct memory control;
};

FIXTURE_VARIANT(kept)
{
	int (*make)(struct memory * memory);
	/* Its small pages can be made a huge one. */
	bool anonymous;
	bool huge;
};

#define KEPT(kind, ...)                          \
	FIXTURE_VARIANT_ADD(kept, kind)          \
	{                                        \
		.make = make_##kind, __VA_ARGS__ \
	}

KEPT(small, .anonymous = true);
KEPT(thp, .anonymous = true, .huge = true);
KEPT(memfd);

FIXTURE_SETUP(kept)
{
	memset(&self->memory, 0, sizeof(self->memory));
	memset(&self->control, 0, sizeof(self->control));
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	ASSERT_EQ(0, variant->make(&self->memory));
	ASSERT_EQ(0, variant->make(&self->control));
}

FIXTURE_TEARDOWN(kept)
{
	session_end(_metadata, &self->session);
	memory_free(&self->memory);
	memory_free(&self->control);
	EXPECT_EQ(0, restore_kernel());
}

TEST_F_TIMEOUT(kept, paged_out, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	int ret = swap_on();

	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret);
	register_memory(_metadata, &self->session, memory, 0);
	EXPECT_EQ(0, madvise(memory->region.addr, memory->region.size, MADV_PAGEOUT));
	ASSERT_EQ(0, page_out(control));
	EXPECT_EQ(0, madvise(memory->region.addr, memory->region.size, MADV_PAGEOUT));
	check_kept(_metadata, &self->session, memory, 30);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

/* Registered while its pages have copies on the disk, which then goes. */
TEST_F_TIMEOUT(kept, swapoff, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	int ret = swap_on();

	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, page_out(memory));
	ASSERT_EQ(0, page_out(control));
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, swap_off());
	check_kept(_metadata, &self->session, memory, 32);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, compaction, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	long scanned = read_counter("/proc/vmstat", "compact_migrate_scanned ");
	int i;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction in this kernel");
	register_memory(_metadata, &self->session, memory, 0);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, write_file("/proc/sys/vm/compact_memory", "1"));
	EXPECT_LT(scanned, read_counter("/proc/vmstat", "compact_migrate_scanned "));
	check_kept(_metadata, &self->session, memory, 34);
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, drop_caches, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	long dropped = read_counter("/proc/vmstat", "drop_pagecache ");

	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, write_file("/proc/sys/vm/drop_caches", "3"));
	EXPECT_LT(dropped, read_counter("/proc/vmstat", "drop_pagecache "));
	check_kept(_metadata, &self->session, memory, 36);
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, collapse, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;

	register_memory(_metadata, &self->session, memory, 0);
	if (variant->anonymous) {
		ASSERT_EQ(0, madvise(control->region.addr, control->region.size, MADV_COLLAPSE))
		{
			TH_LOG("MADV_COLLAPSE of the control: %m");
		}
		EXPECT_TRUE(all_huge(control));
	}
	/* Small pages cannot become a huge one; a huge one is one already. */
	EXPECT_EQ(variant->huge ? 0 : -1,
		  madvise(memory->region.addr, memory->region.size, MADV_COLLAPSE));
	check_kept(_metadata, &self->session, memory, 38);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, neighbours_protection, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	struct memory part = *memory;
	size_t edge = 16 * PAGE;

	/* What is registered has neighbours in its mapping, and in its folios. */
	part.region.addr += edge;
	part.region.size -= 2 * edge;
	part.model.addr += edge;
	part.model.size -= 2 * edge;
	register_memory(_metadata, &self->session, &part, 0);
	ASSERT_EQ(0, mprotect(memory->region.addr, edge, PROT_READ));
	ASSERT_EQ(0, mprotect(memory->region.addr + memory->region.size - edge, edge, PROT_NONE));
	check_kept(_metadata, &self->session, &part, 40);
	ASSERT_EQ(0, mprotect(memory->region.addr, memory->region.size, PROT_READ | PROT_WRITE));
	check_kept(_metadata, &self->session, &part, 42);
	/* The registered memory's own protection, there and back. */
	ASSERT_EQ(0, mprotect(part.region.addr, part.region.size, PROT_READ));
	host_writes(_metadata, &self->session, &part);
	ASSERT_EQ(0, mprotect(part.region.addr, part.region.size, PROT_READ | PROT_WRITE));
	check_kept(_metadata, &self->session, &part, 44);
	release(_metadata, &self->session, &part);
}

/* The node of each folio, or with @node >= 0: try to move them there. */
static int move_to_node(const struct memory *memory, int node, int *status)
{
	size_t nr = memory->region.size / memory->step, i;
	void **pages = calloc(nr, sizeof(*pages));
	int *nodes = calloc(nr, sizeof(*nodes));
	int ret = -ENOMEM;

	for (i = 0; pages && nodes && i < nr; i++) {
		pages[i] = memory->region.addr + i * memory->step;
		nodes[i] = node;
		status[i] = -1;
	}
	if (pages && nodes)
		ret = syscall(SYS_move_pages, 0, nr, pages, node < 0 ? NULL : nodes, status,
			      MPOL_MF_MOVE);
	free(pages);
	free(nodes);
	return ret < 0 ? -errno : ret;
}

/* Folios of @memory on @node, or a negative errno. */
static long count_on_node(const struct memory *memory, int node)
{
	size_t nr = memory->region.size / memory->step, i;
	int *status = calloc(nr, sizeof(*status));
	long found;

	if (!status)
		return -ENOMEM;
	found = move_to_node(memory, -1, status);
	for (i = 0; found >= 0 && i < nr; i++)
		found += status[i] == node;
	free(status);
	return found;
}

static bool two_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

TEST_F_TIMEOUT(kept, moved_between_nodes, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	long all = control->region.size / control->step, before[2];
	unsigned long mask[2] = { 1, 2 };
	int status[512], node;

	if (!two_nodes())
		SKIP(return, "only one NUMA node");
	register_memory(_metadata, &self->session, memory, 0);
	for (node = 0; node < 2; node++)
		before[node] = count_on_node(memory, node);
	EXPECT_EQ(all, before[0] + before[1]);
	for (node = 0; node < 2; node++) {
		EXPECT_LE(0, move_to_node(memory, node, status));
		EXPECT_LE(0, move_to_node(control, node, status));
		EXPECT_EQ(all, count_on_node(control, node));
		EXPECT_EQ(before[node], count_on_node(memory, node));
	}
	check_kept(_metadata, &self->session, memory, 50);
	for (node = 0; node < 2; node++) {
		EXPECT_LE(0, syscall(SYS_migrate_pages, 0, 3, &mask[!node], &mask[node]));
		EXPECT_EQ(all, count_on_node(control, node));
		EXPECT_EQ(before[node], count_on_node(memory, node));
	}
	check_kept(_metadata, &self->session, memory, 52);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

struct toucher {
	struct memory *memory;
	pthread_t thread;
	bool stop;
};

/* Writes one byte of each page back to it, again and again. */
static void *touch(void *opaque)
{
	struct toucher *toucher = opaque;
	volatile uint8_t *at = toucher->memory->region.addr;
	size_t i;

	while (!__atomic_load_n(&toucher->stop, __ATOMIC_ACQUIRE)) {
		for (i = 0; i < toucher->memory->region.size; i += PAGE)
			at[i] = at[i];
	}
	return NULL;
}

/* With several threads the kernel wants to know who uses which page. */
static int balance(struct toucher *touchers, long faults)
{
	long before = read_counter("/proc/vmstat", "numa_hint_faults ");
	uint64_t start = vg_now_us();
	int ret = write_file(NUMA_BALANCING, "1");
	int i, nr;

	for (nr = 0; !ret && nr < 2; nr++)
		ret = -pthread_create(&touchers[nr].thread, NULL, touch, &touchers[nr]);
	while (!ret && read_counter("/proc/vmstat", "numa_hint_faults ") < before + faults)
		ret = expired(start, BACKGROUND_MS) ? -ETIME : 0;
	for (i = 0; i < nr; i++) {
		__atomic_store_n(&touchers[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(touchers[i].thread, NULL);
	}
	return ret;
}

TEST_F_TIMEOUT(kept, numa_balancing, TEST_SECONDS)
{
	struct memory *memory = &self->memory, *control = &self->control;
	struct toucher touchers[] = { { .memory = memory }, { .memory = control } };

	if (!two_nodes())
		SKIP(return, "only one NUMA node");
	register_memory(_metadata, &self->session, memory, 0);
	/* A huge page is one fault. */
	ASSERT_EQ(0, balance(touchers, variant->huge ? 4 : 200))
	{
		TH_LOG("NUMA balancing does nothing");
	}
	check_kept(_metadata, &self->session, memory, 54);
	EXPECT_TRUE(control_same(control));
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, merging, TEST_SECONDS)
{
	struct memory *memory = &self->memory, same;
	uint64_t start;
	long scans;
	int ret;

	/* As in the memory that does become one page. */
	memset(memory->region.addr, 0x5a, memory->region.size);
	memset(memory->model.addr, 0x5a, memory->region.size);
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, madvise(memory->region.addr, memory->region.size, MADV_MERGEABLE));
	ret = make_merged(&same);
	if (!ret) {
		scans = read_counter(KSM "full_scans", "");
		start = vg_now_us();
		while (read_counter(KSM "full_scans", "") < scans + 3)
			ASSERT_FALSE(expired(start, BACKGROUND_MS));
	}
	memory_free(&same);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", skip_reason);
	EXPECT_EQ(0, ret);
	EXPECT_TRUE(same_frames(memory));
	check_kept(_metadata, &self->session, memory, 56);
	release(_metadata, &self->session, memory);
}

static int offline_block(void *path)
{
	return -write_file(path, "offline");
}

/*
 * The kernel tries for ever, until a signal: give it one when it has tried to
 * move pages and failed.  Returns how the attempt ended, as child_result().
 */
static int try_offline(uint64_t block)
{
	long failures = read_counter("/proc/vmstat", "pgmigrate_fail ");
	uint64_t start = vg_now_us();
	char path[128];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), MEMORY_BLOCKS "memory%lu/state", block);
	pid = run_child(offline_block, path);
	if (pid < 0)
		return pid;
	while (!waitpid(pid, &status, WNOHANG)) {
		if (read_counter("/proc/vmstat", "pgmigrate_fail ") <= failures &&
		    !expired(start, BACKGROUND_MS))
			continue;
		kill(pid, SIGKILL);
		return child_result(pid);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Pages of one block of memory hotplug, or 0 if there is none. */
static uint64_t block_pages(void)
{
	FILE *file = fopen(MEMORY_BLOCKS "block_size_bytes", "re");
	uint64_t size = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lx", &size) != 1)
		size = 0;
	fclose(file);
	return size / PAGE;
}

TEST_F_TIMEOUT(kept, memory_offlining, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	uint64_t size = block_pages(), block, last = ~0ull;
	char path[128];
	size_t i;
	int ret;

	if (!size)
		SKIP(return, "no memory hotplug in this kernel");
	register_memory(_metadata, &self->session, memory, 0);
	for (i = 0; i < pages_of(memory); i++) {
		block = memory->frames[i] / size;
		if (block == last)
			continue;
		last = block;
		ret = try_offline(block);
		EXPECT_NE(0, ret)
		{
			TH_LOG("block %lu, which has registered pages, went offline", block);
		}
		snprintf(path, sizeof(path), MEMORY_BLOCKS "memory%lu/state", block);
		EXPECT_TRUE(file_contains(path, "online"));
		check_kept(_metadata, &self->session, memory, 58);
	}
	release(_metadata, &self->session, memory);
}

struct fork_arg {
	struct memory *memory;
	int to_child[2];
	int to_parent[2];
};

static bool await(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&pfd, 1, VG_TIMEOUT_MS) == 1 && read(fd, &byte, 1) == 1;
}

static bool tell(int fd)
{
	return write(fd, "", 1) == 1;
}

static int writing_child(void *opaque)
{
	struct fork_arg *arg = opaque;
	struct memory *memory = arg->memory;
	struct region *region = &memory->region;

	CHECK(await(arg->to_child[0]));
	/* The parent has written: a private copy is as it was when we forked. */
	if (!memory->shared)
		CHECK(!memcmp(region->addr, memory->model.addr, region->size));
	guest_fill(memory, 70);
	CHECK(tell(arg->to_parent[1]));
	CHECK(await(arg->to_child[0]));
	if (!memory->shared)
		CHECK(!memcmp(region->addr, memory->model.addr, region->size));
	return 0;
}

TEST_F_TIMEOUT(kept, fork_and_both_write, TEST_SECONDS)
{
	struct session *session = &self->session;
	struct memory *memory = &self->memory;
	struct fork_arg arg = { .memory = memory };
	pid_t pid;

	ASSERT_EQ(0, pipe2(arg.to_child, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(arg.to_parent, O_CLOEXEC));
	register_memory(_metadata, session, memory, 0);
	pid = run_child(writing_child, &arg);
	ASSERT_LT(0, pid);
	/* The owner's first write after the fork must not give it a copy. */
	check_kept(_metadata, session, memory, 60);
	ASSERT_TRUE(tell(arg.to_child[1]));
	ASSERT_TRUE(await(arg.to_parent[0]));
	if (memory->shared)
		region_fill(&memory->model, 70);
	check_kept(_metadata, session, memory, 62);
	ASSERT_TRUE(tell(arg.to_child[1]));
	EXPECT_EQ(0, child_result(pid));
	check_kept(_metadata, session, memory, 64);
	release(_metadata, session, memory);
}

TEST_F_TIMEOUT(kept, locked_and_unlocked, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	struct region *region = &memory->region;

	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, mlock(region->addr, region->size));
	EXPECT_EQ((long)(region->size / 1024), vg_status_kib("VmLck"));
	check_kept(_metadata, &self->session, memory, 66);
	ASSERT_EQ(0, munlock(region->addr, region->size));
	EXPECT_EQ(0, vg_status_kib("VmLck"));
	EXPECT_EQ((long)(region->size / 1024), vg_status_kib("VmPin"));
	check_kept(_metadata, &self->session, memory, 68);
	release(_metadata, &self->session, memory);
	/* And locked before it is registered. */
	ASSERT_EQ(0, mlock(region->addr, region->size));
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, munlock(region->addr, region->size));
	check_kept(_metadata, &self->session, memory, 72);
	release(_metadata, &self->session, memory);
}

TEST_F_TIMEOUT(kept, clear_referenced, TEST_SECONDS)
{
	struct memory *memory = &self->memory;
	long referenced;

	register_memory(_metadata, &self->session, memory, 0);
	referenced = read_counter("/proc/self/smaps_rollup", "Referenced:");
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "1"));
	EXPECT_GT(referenced, read_counter("/proc/self/smaps_rollup", "Referenced:"));
	check_kept(_metadata, &self->session, memory, 74);
	release(_metadata, &self->session, memory);
}

/* Write-protects every page table entry of the process. */
TEST_F_TIMEOUT(kept, clear_soft_dirty, TEST_SECONDS)
{
	struct memory *memory = &self->memory;

	if (count_entries(&self->control, PM_SOFT_DIRTY, PM_SOFT_DIRTY) <= 0)
		SKIP(return, "this kernel does not track dirty pages of processes");
	register_memory(_metadata, &self->session, memory, 0);
	ASSERT_EQ(0, write_file("/proc/self/clear_refs", "4"));
	EXPECT_EQ(0, count_entries(&self->control, PM_SOFT_DIRTY, PM_SOFT_DIRTY));
	check_kept(_metadata, &self->session, memory, 76);
	release(_metadata, &self->session, memory);
}

TEST_HARNESS_MAIN
