// SPDX-License-Identifier: MIT
/*
 * userptr-lib-test: the library on the real driver
 *
 * What the device sees is what the process has, whatever was registered there before;
 * and what the library says of itself is true of the kernel.  Runs in the guest.
 *
 *	USERPTR_ROUNDS		of what is done again and again (200)
 *
 * Invariant: see lib-session.h.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib-session.h"

/* Seconds, for what makes hundreds of resources in a guest without KVM. */
#define SLOW 120

static unsigned int rounds(void)
{
	return from_environment("USERPTR_ROUNDS", 200);
}

FIXTURE(lib)
{
	struct session session;
	struct virtgpu_userptr *ctx;
};

FIXTURE_SETUP(lib)
{
	session_begin(_metadata, &self->session, VIRTGPU_USERPTR_CACHE_DEFAULT);
	self->ctx = self->session.ctx;
}

FIXTURE_TEARDOWN(lib)
{
	session_end(_metadata, &self->session);
}

TEST_F(lib, caps)
{
	struct virtgpu_userptr_caps caps = { .struct_size = sizeof(caps) };
	struct drm_virtgpu_userptr_query query;

	ASSERT_EQ(0, virtgpu_userptr_get_caps(self->ctx, &caps));
	ASSERT_EQ(0, vg_userptr_query(self->session.vg.fd, &query));
	EXPECT_EQ(VIRTGPU_USERPTR_CAP_RDONLY | VIRTGPU_USERPTR_CAP_WATCH |
			  VIRTGPU_USERPTR_CAP_SHARE,
		  caps.flags);
	EXPECT_EQ(query.max_size, caps.max_size);
	EXPECT_EQ(query.max_segments, caps.max_segments);
	EXPECT_EQ(PAGE, caps.alignment);
}

/* Any alignment: the device reaches those bytes, and the books say no more. */
TEST_F(lib, unaligned)
{
	struct virtgpu_userptr_reg reg;
	uint8_t *block = malloc(100000);
	size_t i;

	ASSERT_NE(NULL, block);
	memset(block, 1, 100000);
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block + 33, 90001, 0, &reg));
	ASSERT_EQ(0, vg_fill(&self->session.vg, reg.piece.res_handle, reg.piece.offset, 90001, 7));
	for (i = 0; i < 100000; i++)
		ASSERT_EQ(i >= 33 && i < 90034 ? 7 : 1, block[i]);
	EXPECT_EQ(0, virtgpu_userptr_deregister(self->ctx, block + 33, 90001));
	free(block);
}

/*
 * free() and malloc(), again and again: the address comes back, and what was registered
 * there does not, unless it is the same memory, which a block of the heap is.
 */
static void free_and_malloc(struct __test_metadata *_metadata, struct session *session,
			    bool deregister)
{
	const size_t size = 200000;
	struct virtgpu_userptr_reg reg;
	unsigned int same = 0, i;
	void *last = NULL, *block;

	for (i = 0; i < rounds(); i++) {
		block = malloc(size);
		ASSERT_NE(NULL, block);
		same += block == last;
		fill(block, size, i);
		ASSERT_EQ(0, virtgpu_userptr_register(session->ctx, block, size, 0, &reg))
		{
			TH_LOG("%s", virtgpu_userptr_error());
		}
		ASSERT_EQ(0, device_differs(session, &reg.piece, block))
		{
			TH_LOG("round %u, %s address", i, block == last ? "the same" : "another");
		}
		if (deregister)
			ASSERT_EQ(0, virtgpu_userptr_release(session->ctx, &reg));
		free(block);
		last = block;
	}
	EXPECT_LT(rounds() / 2, same);
}

TEST_F_TIMEOUT(lib, free_and_malloc_in_the_heap, SLOW)
{
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, 1 << 20));
	free_and_malloc(_metadata, &self->session, true);
	free_and_malloc(_metadata, &self->session, false);
}

/* So large that malloc() maps it, and free() unmaps it. */
TEST_F_TIMEOUT(lib, free_and_malloc_of_what_is_kept, SLOW)
{
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, 1 << 16));
	free_and_malloc(_metadata, &self->session, true);
	EXPECT_EQ(0, self->session.told);
}

/* ROCm's way: nobody deregisters. */
TEST_F_TIMEOUT(lib, free_and_malloc_of_what_is_held, SLOW)
{
	ASSERT_EQ(1, mallopt(M_MMAP_THRESHOLD, 1 << 16));
	free_and_malloc(_metadata, &self->session, false);
	ASSERT_LE(0, virtgpu_userptr_dispatch(self->ctx));
	EXPECT_EQ(rounds(), self->session.told);
	EXPECT_EQ(1, stats_of(self->ctx).registrations);
}

/* How jemalloc, and glibc in threads, give memory back: the mapping stays. */
TEST_F_TIMEOUT(lib, dontneed_and_again, SLOW)
{
	struct virtgpu_userptr_reg reg;
	uint8_t *block = map_pages(16);
	unsigned int i;

	ASSERT_NE(NULL, block);
	for (i = 0; i < rounds(); i++) {
		fill(block, 16 * PAGE, i);
		ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block, 16 * PAGE, 0, &reg));
		ASSERT_EQ(0, device_differs(&self->session, &reg.piece, block))
		{
			TH_LOG("round %u", i);
		}
		ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &reg));
		/* Half of the rounds: one page in the middle. */
		ASSERT_EQ(0, i % 2 ? madvise(block, 16 * PAGE, MADV_DONTNEED) :
				     madvise(block + 7 * PAGE, PAGE, MADV_DONTNEED));
	}
	EXPECT_EQ(rounds() - 1, stats_of(self->ctx).stale);
	munmap(block, 16 * PAGE);
}

/* What nobody touches is good for the next time, reclaim or not. */
TEST_F(lib, kept)
{
	struct virtgpu_userptr_reg reg;
	uint8_t *block = map_pages(16);
	uint64_t misses;
	unsigned int i;

	fill(block, 16 * PAGE, 1);
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block, 16 * PAGE, 0, &reg));
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &reg));
	misses = stats_of(self->ctx).misses;
	for (i = 0; i < 50; i++) {
		madvise(block, 16 * PAGE, MADV_PAGEOUT);
		ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block + i, 15 * PAGE, 0, &reg));
		ASSERT_EQ(0, device_differs(&self->session, &reg.piece, block + i));
		ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &reg));
	}
	EXPECT_EQ(misses, stats_of(self->ctx).misses);
	EXPECT_EQ(0, virtgpu_userptr_trim(self->ctx, 0));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", WINDOW / 1024, SETTLE_MS));
	munmap(block, 16 * PAGE);
}

/* Four pieces, and no page twice. */
TEST_F(lib, pieces)
{
	struct virtgpu_userptr_reg a, b, all;
	struct virtgpu_userptr_piece pieces[8];
	uint8_t *block = map_pages(32), *at;
	int i, nr;

	fill(block, 32 * PAGE, 3);
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block, 8 * PAGE, 0, &a));
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block + 16 * PAGE, 8 * PAGE, 0, &b));
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block + 5000, 27 * PAGE,
					      VIRTGPU_USERPTR_REG_PIECES, &all));
	nr = virtgpu_userptr_get_pieces(self->ctx, &all, pieces, 8);
	ASSERT_EQ(4, nr);
	for (i = 0, at = block + 5000; i < nr; at += pieces[i++].size)
		ASSERT_EQ(0, device_differs(&self->session, &pieces[i], at));
	EXPECT_EQ(block + 5000 + 27 * PAGE, at);
	EXPECT_EQ((long)((29 * PAGE + WINDOW) / 1024), vg_status_kib("VmPin"));
	/* The first one is let go of twice, and only then. */
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &a));
	ASSERT_EQ(0, device_differs(&self->session, &pieces[0], block + 5000));
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &all));
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &b));
	munmap(block, 32 * PAGE);
}

/* The host reads a file that it must not write, and cannot. */
TEST_F(lib, rdonly)
{
	int fd = memfd_create("model", MFD_CLOEXEC);
	struct virtgpu_userptr_reg reg, rw;
	uint8_t *file, *copy = malloc(8 * PAGE);

	ASSERT_LE(0, fd);
	fill(copy, 8 * PAGE, 9);
	ASSERT_EQ(8 * PAGE, write(fd, copy, 8 * PAGE));
	file = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	EXPECT_EQ(-EFAULT, virtgpu_userptr_register(self->ctx, file, 8 * PAGE, 0, &rw));
	EXPECT_NE(NULL, strstr(virtgpu_userptr_error(), "VIRTGPU_USERPTR_REG_RDONLY"));
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, file, 8 * PAGE, VIRTGPU_USERPTR_REG_RDONLY,
					      &reg));
	EXPECT_EQ(0, device_differs(&self->session, &reg.piece, copy));
	EXPECT_EQ(-EACCES, vg_fill(&self->session.vg, reg.piece.res_handle, 0, PAGE, 0));
	EXPECT_EQ(0, memcmp(file, copy, 8 * PAGE));
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &reg));
	munmap(file, 8 * PAGE);
	close(fd);
	free(copy);
}

/* Told at once, by something that can be polled for; and both who share it. */
TEST_F(lib, revoked)
{
	struct pollfd pfd = { .fd = virtgpu_userptr_get_fd(self->ctx), .events = POLLIN };
	struct virtgpu_userptr_reg whole, part;
	uint8_t *block = map_pages(8);

	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block, 8 * PAGE, 0, &whole));
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block + PAGE, 100, 0, &part));
	ASSERT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_EQ(0, munmap(block + 5 * PAGE, PAGE));
	ASSERT_EQ(1, poll(&pfd, 1, SETTLE_MS));
	EXPECT_EQ(2, virtgpu_userptr_dispatch(self->ctx));
	EXPECT_EQ(2, self->session.told);
	EXPECT_EQ(-ENOENT, virtgpu_userptr_release(self->ctx, &whole));
	EXPECT_EQ(-ENOENT, virtgpu_userptr_release(self->ctx, &part));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	munmap(block, 8 * PAGE);
}

/* More than a file has room for events: the others are found all the same. */
TEST_F_TIMEOUT(lib, more_than_there_are_events, SLOW)
{
	struct pollfd pfd = { .fd = virtgpu_userptr_get_fd(self->ctx), .events = POLLIN };
	struct virtgpu_userptr_reg reg;
	uint8_t *block = map_pages(300);
	unsigned int i;
	uint64_t end;

	for (i = 0; i < 300; i++)
		ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block + i * PAGE, PAGE, 0, &reg));
	/* One of the 128 is the window's. */
	EXPECT_EQ(300 - 127, stats_of(self->ctx).unannounced);
	ASSERT_EQ(0, munmap(block, 300 * PAGE));
	end = vg_now_us() + SETTLE_MS * 1000ull;
	while (self->session.told < 300 && vg_now_us() < end) {
		ASSERT_LE(0, poll(&pfd, 1, SETTLE_MS));
		ASSERT_LE(0, virtgpu_userptr_dispatch(self->ctx));
	}
	EXPECT_EQ(300, self->session.told);
	EXPECT_EQ(1, stats_of(self->ctx).resources);
}

/* ---- processes -------------------------------------------------------------- */

#define CHECK(condition)                                                                     \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			fprintf(stderr, "# child, line %d: %s (%s)\n", __LINE__, #condition, \
				virtgpu_userptr_error());                                    \
			return 1;                                                            \
		}                                                                            \
	} while (0)

static int wait_child(pid_t child)
{
	int status = -1;

	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int child_of_fork(struct session *session, const struct virtgpu_userptr_reg *reg,
			 uint8_t *block)
{
	struct virtgpu_userptr_reg own;
	struct virtgpu_userptr *ctx;
	struct vg vg;

	CHECK(virtgpu_userptr_register(session->ctx, block, 8 * PAGE, 0, &own) == -ESTALE);
	CHECK(virtgpu_userptr_release(session->ctx, reg) == -ESTALE);
	CHECK(virtgpu_userptr_dispatch(session->ctx) == -ESTALE);
	virtgpu_userptr_close(session->ctx);

	CHECK(!vg_open(&vg, getenv("USERPTR_MAIN"), 1));
	CHECK(!virtgpu_userptr_open(vg.fd, NULL, &ctx));
	CHECK(!virtgpu_userptr_register(ctx, block, 8 * PAGE, 0, &own));
	CHECK(!vg_fill(&vg, own.piece.res_handle, own.piece.offset, 8 * PAGE, 0x22));
	CHECK(block[0] == 0x22 && block[8 * PAGE - 1] == 0x22);
	virtgpu_userptr_close(ctx);
	vg_close(&vg);
	return 0;
}

/* A child has none of it, can have its own, and leaves the parent's alone. */
TEST_F(lib, fork)
{
	struct virtgpu_userptr_reg reg;
	uint8_t *block = map_pages(8);
	pid_t child;

	fill(block, 8 * PAGE, 5);
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block, 8 * PAGE, 0, &reg));
	child = fork();
	if (!child)
		_exit(child_of_fork(&self->session, &reg, block));
	ASSERT_EQ(0, wait_child(child));
	EXPECT_EQ(1, virtgpu_userptr_is_live(self->ctx, &reg));
	block[0] ^= 1;
	EXPECT_EQ(0, device_differs(&self->session, &reg.piece, block));
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &reg));
	ASSERT_EQ(0, virtgpu_userptr_register(self->ctx, block, 8 * PAGE, 0, &reg));
	EXPECT_EQ(0, device_differs(&self->session, &reg.piece, block));
	munmap(block, 8 * PAGE);
}

static int drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	data[0].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* In 128 pages: what is kept never is why something fails, and the rest says why. */
static int child_with_a_limit(void)
{
	const struct rlimit limit = { 128 * PAGE, 128 * PAGE };
	const struct virtgpu_userptr_options options = {
		.struct_size = sizeof(options),
		.cache_bytes = 1 << 30,
	};
	struct virtgpu_userptr_reg reg;
	struct virtgpu_userptr *ctx;
	uint8_t *block = map_pages(1024);
	unsigned int i;
	int fd;

	CHECK(block && !drop_ipc_lock() && !setrlimit(RLIMIT_MEMLOCK, &limit));
	fd = vg_open_node(getenv("USERPTR_MAIN"));
	CHECK(fd >= 0 && !vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	CHECK(!virtgpu_userptr_open(fd, &options, &ctx));
	for (i = 0; i < 200; i++) {
		CHECK(!virtgpu_userptr_register(ctx, block + i * 4 * PAGE, (i % 90 + 1) * PAGE, 0,
						&reg));
		CHECK(stats_of(ctx).idle_bytes + stats_of(ctx).held_bytes <= 128 * PAGE);
		CHECK(!virtgpu_userptr_release(ctx, &reg));
	}
	CHECK(stats_of(ctx).evicted > 0);
	CHECK(vg_status_kib("VmPin") <= (long)(128 * PAGE / 1024));
	/* All of it, though much is kept. */
	CHECK(!virtgpu_userptr_register(ctx, block, 128 * PAGE, 0, &reg));
	CHECK(virtgpu_userptr_register(ctx, block + 512 * PAGE, PAGE, 0, &reg) == -ENOMEM);
	CHECK(strstr(virtgpu_userptr_error(), "ulimit -l"));
	virtgpu_userptr_close(ctx);
	close(fd);
	return 0;
}

TEST_F_TIMEOUT(lib, memlock, SLOW)
{
	pid_t child;

	/* What is locked counts for all processes of the user. */
	ASSERT_EQ(0, virtgpu_userptr_release(self->ctx, &self->session.window_reg));
	ASSERT_EQ(0, virtgpu_userptr_trim(self->ctx, 0));
	ASSERT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	child = fork();
	if (!child)
		_exit(child_with_a_limit());
	ASSERT_EQ(0, wait_child(child));
}

TEST_HARNESS_MAIN
