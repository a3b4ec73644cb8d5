// SPDX-License-Identifier: MIT
/*
 * userptr-source-test: memory of every kind can be registered
 *
 * "source" registers memory of every kind; "special" what is one of a kind, and
 * what is more than memory.  Runs as root in an x86-64 guest.
 *
 * Invariant: see memory.h and userptr-test-session.h.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "memory/memory-check.h"

/* ---- memory of every kind ------------------------------------------------ */

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

TEST_HARNESS_MAIN
