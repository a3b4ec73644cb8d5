// SPDX-License-Identifier: MIT
/*
 * test_view_udmabuf: lists, limits, and real dma-bufs where there is /dev/udmabuf
 *
 * What needs the kernel's udmabuf is skipped where there is none, and what needs
 * its limits changed where that is not allowed.  scripts/host-run gives a host
 * with all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "tests/util/capture.h"
#include "memory/guest_memory.h"
#include "memory/release.h"
#include "memory/view_udmabuf.h"

#define PAGE 4096ull
#define MIB (1ull << 20)
#define PARAMETERS "/sys/module/udmabuf/parameters"

/* Guest RAM and what is made of it */

/* A memfd with these seals, every page of it a hole. */
static int ram(uint64_t pages, int seals)
{
	int fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* A table of one region at 0 that is all of @fd, which is closed. */
static struct guest_memory *memory_of(int fd, uint64_t pages)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region region = { .size = pages * PAGE, .fd = fd };

	assert_non_null(gm);
	assert_int_equal(guest_memory_set(gm, &region, 1), 0);
	close(fd);
	return gm;
}

static void add(struct guest_memory *gm, struct backing *backing, uint64_t addr, uint64_t len)
{
	struct run runs[GUEST_MEMORY_MAX_REGIONS];
	int i, nr = guest_memory_resolve(gm, addr, len, runs, GUEST_MEMORY_MAX_REGIONS);

	assert_true(nr > 0);
	for (i = 0; i < nr; i++)
		assert_int_equal(run_list_append(&backing->runs, &runs[i]), 0);
	backing->size += len;
}

/* The first @nr pages of guest memory, the last one first. */
static struct backing reversed(struct guest_memory *gm, uint64_t nr)
{
	struct backing backing = { .id = 7 };

	while (nr--)
		add(gm, &backing, nr * PAGE, PAGE);
	return backing;
}

/* Everywhere */

static void parameter(const char *folder, const char *name, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void limits_are_read(void **state)
{
	char folder[] = "./parameters.XXXXXX";
	struct udmabuf_limits limits;

	(void)state;
	assert_non_null(mkdtemp(folder));
	/* Nothing there: no limit is known, and it is told. */
	assert_int_equal(udmabuf_read_limits(folder, &limits), -ENOENT);
	assert_int_equal(limits.items, UINT32_MAX);
	assert_int_equal(limits.bytes, UINT64_MAX);
	parameter(folder, "list_limit", "262144\n");
	parameter(folder, "size_limit_mb", "2048\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), 0);
	assert_int_equal(limits.items, 262144);
	assert_int_equal(limits.bytes, 2048 * MIB);
	/* The kernel takes both for unsigned. */
	parameter(folder, "list_limit", "-1\n");
	parameter(folder, "size_limit_mb", "-1\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), 0);
	assert_int_equal(limits.items, UINT32_MAX);
	assert_int_equal(limits.bytes, UINT64_MAX);
	parameter(folder, "size_limit_mb", "2147483647\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), 0);
	assert_int_equal(limits.bytes, 2147483647 * MIB);
	parameter(folder, "list_limit", "12 monkeys\n");
	assert_int_equal(udmabuf_read_limits(folder, &limits), -EINVAL);
	assert_int_equal(limits.items, UINT32_MAX);
	parameter(folder, "list_limit", "7");
	parameter(folder, "size_limit_mb", "");
	assert_int_equal(udmabuf_read_limits(folder, &limits), -EIO);
	assert_int_equal(limits.items, 7);
	assert_int_equal(limits.bytes, UINT64_MAX);
}

/* The list of a backing that is all there. */
static const struct udmabuf_create_list *list_of(const struct backing *backing,
						 struct udmabuf_draft **draft)
{
	*draft = NULL;
	assert_int_equal(udmabuf_draft_add(draft, backing), 0);
	return udmabuf_draft_list(*draft);
}

static void assert_item(const struct udmabuf_create_list *list, uint32_t index, int fd,
			uint64_t offset, uint64_t size)
{
	assert_true(index < list->count);
	assert_int_equal(list->list[index].memfd, fd);
	assert_int_equal(list->list[index].offset, offset);
	assert_int_equal(list->list[index].size, size);
}

/*
 * Two regions of one file that adjoin in the file but not in guest addresses,
 * and a second file whose offsets would go on where the first one's end.
 */
static void pieces_are_merged(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	int a = ram(16, F_SEAL_SHRINK), b = ram(16, F_SEAL_SHRINK);
	struct guest_region regions[] = {
		{ .guest_addr = 0, .size = 8 * PAGE, .user_addr = 1 << 24, .fd = a },
		{ 64 * PAGE, 8 * PAGE, 2 << 24, 8 * PAGE, a },
		{ 128 * PAGE, 16 * PAGE, 3 << 24, 0, b },
	};
	const struct udmabuf_create_list *list;
	struct backing backing = { .id = 1 };
	struct udmabuf_draft *draft;
	int fd_a, fd_b;

	(void)state;
	assert_int_equal(guest_memory_set(gm, regions, 3), 0);
	fd_a = ram_file_fd(guest_memory_file(gm, 0));
	fd_b = ram_file_fd(guest_memory_file(gm, 2));
	add(gm, &backing, 7 * PAGE, PAGE);
	add(gm, &backing, 64 * PAGE, PAGE);
	add(gm, &backing, 65 * PAGE, PAGE);
	add(gm, &backing, (128 + 10) * PAGE, PAGE);
	add(gm, &backing, 4 * PAGE, 2 * PAGE);
	add(gm, &backing, 2 * PAGE, 2 * PAGE);
	list = list_of(&backing, &draft);
	assert_int_equal(list->flags, UDMABUF_FLAGS_CLOEXEC);
	assert_int_equal(list->count, 4);
	assert_item(list, 0, fd_a, 7 * PAGE, 3 * PAGE);
	assert_item(list, 1, fd_b, 10 * PAGE, PAGE);
	assert_item(list, 2, fd_a, 4 * PAGE, 2 * PAGE);
	assert_item(list, 3, fd_a, 2 * PAGE, 2 * PAGE);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	guest_memory_free(gm);
	close(a);
	close(b);
}

/**
 * struct chunked - a backing that comes in chunks
 * @gm: guest memory, page n of it at n * PAGE
 * @backing: what has come
 * @draft: what was made of it
 */
struct chunked {
	struct guest_memory *gm;
	struct backing backing;
	struct udmabuf_draft *draft;
};

/* A chunk: runs of [first, first + nr) pages, up to { 0, 0 }. */
static void chunk(struct chunked *c, const unsigned int (*pages)[2])
{
	for (; (*pages)[1]; pages++)
		add(c->gm, &c->backing, (*pages)[0] * PAGE, (*pages)[1] * PAGE);
	assert_int_equal(udmabuf_draft_add(&c->draft, &c->backing), 0);
}

/*
 * Chunk by chunk, with every way for one to begin and end: the first run goes on
 * where the last chunk ended, as all of the chunk or not, or it does not.
 */
static void chunks_make_the_same_list(void **state)
{
	static const unsigned int chunks[][4][2] = {
		{ { 10, 1 }, { 20, 2 } },
		{ { 22, 1 }, { 30, 1 }, { 31, 1 } },
		{ { 32, 4 } },
		{ { 36, 1 } },
		{ { 5, 1 } },
		{ { 37, 2 }, { 6, 1 } },
	};
	struct chunked c = { .gm = memory_of(ram(64, F_SEAL_SHRINK), 64) };
	const struct udmabuf_create_list *list, *whole;
	struct udmabuf_draft *at_once;
	uint64_t covered;
	size_t i, j;
	int fd;

	(void)state;
	fd = ram_file_fd(guest_memory_file(c.gm, 0));
	for (i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		chunk(&c, chunks[i]);
		/* At any time it is all that has come. */
		list = udmabuf_draft_list(c.draft);
		for (covered = 0, j = 0; j < list->count; j++)
			covered += list->list[j].size;
		assert_int_equal(covered, c.backing.size);
	}
	assert_int_equal(list->count, 6);
	assert_item(list, 0, fd, 10 * PAGE, PAGE);
	assert_item(list, 1, fd, 20 * PAGE, 3 * PAGE);
	assert_item(list, 2, fd, 30 * PAGE, 7 * PAGE);
	assert_item(list, 3, fd, 5 * PAGE, PAGE);
	assert_item(list, 4, fd, 37 * PAGE, 2 * PAGE);
	assert_item(list, 5, fd, 6 * PAGE, PAGE);
	whole = list_of(&c.backing, &at_once);
	assert_int_equal(whole->count, list->count);
	assert_int_equal(whole->flags, list->flags);
	assert_memory_equal(whole->list, list->list, list->count * sizeof(list->list[0]));
	/* Nothing new changes nothing. */
	assert_int_equal(udmabuf_draft_add(&c.draft, &c.backing), 0);
	list = udmabuf_draft_list(c.draft);
	assert_int_equal(list->count, 6);
	assert_memory_equal(whole->list, list->list, list->count * sizeof(list->list[0]));
	udmabuf_draft_free(at_once);
	udmabuf_draft_free(c.draft);
	run_list_destroy(&c.backing.runs);
	guest_memory_free(c.gm);
}

/* A page at a time, and each is a piece of its own: it grows, and nothing moves. */
static void many_chunks_make_a_long_list(void **state)
{
	enum { PAGES = 3000 };
	struct chunked c = { .gm = memory_of(ram(PAGES, F_SEAL_SHRINK), PAGES) };
	const struct udmabuf_create_list *list;
	unsigned int i;
	int fd;

	(void)state;
	fd = ram_file_fd(guest_memory_file(c.gm, 0));
	for (i = 0; i < PAGES; i++) {
		const unsigned int page[][2] = { { PAGES - 1 - i, 1 }, { 0, 0 } };

		chunk(&c, page);
		assert_int_equal(udmabuf_draft_list(c.draft)->count, i + 1);
	}
	list = udmabuf_draft_list(c.draft);
	for (i = 0; i < PAGES; i++)
		assert_item(list, i, fd, (PAGES - 1 - i) * PAGE, PAGE);
	udmabuf_draft_free(c.draft);
	run_list_destroy(&c.backing.runs);
	guest_memory_free(c.gm);
}

/*
 * Where the host's pages are larger than the guest's a piece may end within one as
 * long as it can go on; what cannot any more is refused.
 */
static void pieces_are_whole_pages(void **state)
{
	struct guest_memory *gm = memory_of(ram(16, F_SEAL_SHRINK), 16);
	struct backing backing = { .id = 1 };
	struct udmabuf_draft *draft = NULL;

	(void)state;
	add(gm, &backing, 0, 512);
	backing.size = 4 * PAGE;
	assert_int_equal(udmabuf_draft_add(&draft, &backing), 0);
	add(gm, &backing, 512, PAGE - 512);
	add(gm, &backing, 8 * PAGE, 100);
	backing.size = 4 * PAGE;
	assert_int_equal(udmabuf_draft_add(&draft, &backing), 0);
	/* In the middle... */
	add(gm, &backing, 4 * PAGE, PAGE);
	backing.size = 4 * PAGE;
	assert_int_equal(udmabuf_draft_add(&draft, &backing), -EINVAL);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	/* ...and at the end, where it starts and where it ends. */
	draft = NULL;
	backing = (struct backing){ .id = 1 };
	add(gm, &backing, 0, PAGE);
	add(gm, &backing, 2 * PAGE, 100);
	assert_int_equal(udmabuf_draft_add(&draft, &backing), -EINVAL);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	draft = NULL;
	backing = (struct backing){ .id = 1 };
	add(gm, &backing, 100, PAGE);
	assert_int_equal(udmabuf_draft_add(&draft, &backing), -EINVAL);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	guest_memory_free(gm);
}

static void files_are_judged(void **state)
{
	int fits = ram(1, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	int open_end = ram(1, F_SEAL_GROW);
	int fixed = ram(1, F_SEAL_SHRINK | F_SEAL_WRITE);
	int future = ram(1, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE);
	int other = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_null(udmabuf_file_unfit(fits));
	assert_non_null(strstr(udmabuf_file_unfit(open_end), "F_SEAL_SHRINK"));
	assert_non_null(strstr(udmabuf_file_unfit(fixed), "against writing"));
	assert_non_null(strstr(udmabuf_file_unfit(future), "against writing"));
	assert_non_null(strstr(udmabuf_file_unfit(other), "not a memfd"));
	close(fits);
	close(open_end);
	close(fixed);
	close(future);
	close(other);
}

static void missing_device_is_said(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct udmabuf *udmabuf = NULL;
	struct capture c;

	(void)state;
	capture_begin();
	assert_int_equal(udmabuf_open_at("./no-udmabuf", PARAMETERS, gm, &udmabuf), -ENOENT);
	capture_end(&c);
	assert_int_equal(captured(&c, "./no-udmabuf: No such file"), 1);
	assert_int_equal(captured(&c, "CONFIG_UDMABUF"), 1);
	/* Something that is there but does not make dma-bufs. */
	capture_begin();
	assert_int_equal(udmabuf_open_at("/dev/null", "./no-parameters", gm, &udmabuf), -ENOTTY);
	capture_end(&c);
	assert_int_equal(captured(&c, "no dma-buf of one page"), 1);
	assert_int_equal(captured(&c, "./no-parameters: "), 1);
	assert_null(udmabuf);
	guest_memory_free(gm);
}

/* Its view is NULL, which is alone, and cannot be had by anybody. */
static void readonly_has_no_dmabuf(void **state)
{
	struct backing backing = { .id = 1, .readonly = true, .size = PAGE };
	struct udmabuf_view *view = (struct udmabuf_view *)&backing;

	(void)state;
	assert_int_equal(udmabuf_view_create(NULL, &backing, NULL, &view),
			 VIRTIO_GPU_RESP_OK_NODATA);
	assert_null(view);
	assert_true(udmabuf_view_alone(NULL));
	assert_int_equal(udmabuf_view_dup(NULL), -EACCES);
	assert_false(udmabuf_view_held_by(NULL, getpid()));
	udmabuf_view_free(NULL);
}

/* With /dev/udmabuf */

/**
 * struct bench - a device and guest RAM
 * @gm: guest memory
 * @udmabuf: it
 * @ram: all of guest memory, mapped here
 * @pages: of it
 * @fds: descriptors that were open before
 */
struct bench {
	struct guest_memory *gm;
	struct udmabuf *udmabuf;
	unsigned char *ram;
	uint64_t pages;
	unsigned int fds;
};

static unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* A test that is skipped has made nothing yet, or it would count as a leak. */
static void need_udmabuf(void)
{
	if (!access("/dev/udmabuf", R_OK | W_OK))
		return;
	print_message("SKIP: /dev/udmabuf: %s\n", strerror(errno));
	skip();
}

static struct bench bench(uint64_t pages)
{
	struct bench b = { .pages = pages, .fds = open_fds() };

	need_udmabuf();
	b.gm = memory_of(ram(pages, F_SEAL_SHRINK), pages);
	b.ram = guest_memory_pointer(b.gm, 0, pages * PAGE);
	assert_non_null(b.ram);
	assert_int_equal(udmabuf_open(b.gm, &b.udmabuf), 0);
	return b;
}

static void finish(struct bench *b)
{
	struct udmabuf_totals totals;

	udmabuf_totals(b->udmabuf, &totals);
	assert_int_equal(totals.views, 0);
	assert_int_equal(totals.items, 0);
	udmabuf_close(b->udmabuf);
	guest_memory_free(b->gm);
	assert_int_equal(open_fds(), b->fds);
}

/* The whole way, as if all came in one chunk. */
static uint32_t make_view(struct bench *b, const struct backing *backing,
			  struct udmabuf_view **view)
{
	struct udmabuf_draft *draft = NULL;
	uint32_t ret = udmabuf_draft_extend(b->udmabuf, backing, &draft);

	if (ret == VIRTIO_GPU_RESP_OK_NODATA)
		ret = udmabuf_view_create(b->udmabuf, backing, draft, view);
	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		udmabuf_draft_free(draft);
	return ret;
}

static struct udmabuf_view *view_of(struct bench *b, struct backing *backing)
{
	struct udmabuf_view *view = NULL;

	assert_int_equal(make_view(b, backing, &view), VIRTIO_GPU_RESP_OK_NODATA);
	assert_non_null(view);
	assert_true(udmabuf_view_alone(view));
	return view;
}

static unsigned char *map(int fd, uint64_t pages)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static int own_fd(const struct udmabuf_view *view)
{
	int fd = udmabuf_view_dup(view);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

static void memory_is_the_same(void **state)
{
	struct bench b = bench(64);
	struct backing backing = { .id = 1 };
	/* First pages of the pieces in guest memory, each two pages. */
	static const unsigned int first[] = { 40, 3, 62, 10 };
	struct udmabuf_totals totals;
	struct udmabuf_view *view;
	unsigned char *at;
	unsigned int i;
	int fd;

	(void)state;
	for (i = 0; i < 64; i++)
		memset(b.ram + i * PAGE, (int)i, PAGE);
	for (i = 0; i < 4; i++)
		add(b.gm, &backing, first[i] * PAGE, 2 * PAGE);
	view = view_of(&b, &backing);
	udmabuf_totals(b.udmabuf, &totals);
	assert_int_equal(totals.views, 1);
	assert_int_equal(totals.items, 4);
	fd = own_fd(view);
	assert_int_equal(lseek(fd, 0, SEEK_END), 8 * PAGE);
	at = map(fd, 8);
	for (i = 0; i < 8; i++) {
		unsigned int page = first[i / 2] + i % 2;

		assert_int_equal(at[i * PAGE], page);
		assert_int_equal(at[(i + 1) * PAGE - 1], page);
		/* And the other way round. */
		at[i * PAGE + 5] = (unsigned char)(200 + i);
		assert_int_equal(b.ram[page * PAGE + 5], 200 + i);
		b.ram[page * PAGE + 6] = (unsigned char)(100 + i);
		assert_int_equal(at[i * PAGE + 6], 100 + i);
	}
	munmap(at, 8 * PAGE);
	close(fd);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view);
	udmabuf_totals(b.udmabuf, &totals);
	assert_int_equal(totals.created, 1);
	assert_int_equal(totals.created_items, 4);
	run_list_destroy(&backing.runs);
	finish(&b);
}

static void send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	assert_int_equal(sendmsg(socket, &msg, 0), 1);
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	assert_int_equal(recvmsg(socket, &msg, MSG_CMSG_CLOEXEC), 1);
	assert_non_null(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* Everything that can have it, one after the other; each counts until it goes. */
static void whoever_has_it_counts(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 8);
	struct udmabuf_view *view = view_of(&b, &backing);
	int fd, pair[2];
	unsigned char *at;

	(void)state;
	fd = own_fd(view);
	assert_false(udmabuf_view_alone(view));
	close(fd);
	assert_true(udmabuf_view_alone(view));

	/* Sent, and received by nobody yet. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fd = own_fd(view);
	send_fd(pair[0], fd);
	close(fd);
	assert_false(udmabuf_view_alone(view));
	fd = receive_fd(pair[1]);
	assert_false(udmabuf_view_alone(view));
	close(fd);
	assert_true(udmabuf_view_alone(view));
	/* Sent, and never received. */
	fd = own_fd(view);
	send_fd(pair[0], fd);
	close(fd);
	assert_false(udmabuf_view_alone(view));
	close(pair[0]);
	assert_false(udmabuf_view_alone(view));
	close(pair[1]);
	assert_true(udmabuf_view_alone(view));

	/* A mapping without a descriptor, also of a part of it only. */
	fd = own_fd(view);
	at = map(fd, 8);
	close(fd);
	at[0] = 1;
	assert_false(udmabuf_view_alone(view));
	munmap(at, 7 * PAGE);
	assert_false(udmabuf_view_alone(view));
	munmap(at + 7 * PAGE, PAGE);
	assert_true(udmabuf_view_alone(view));

	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/**
 * struct child - a process that has what it was forked with
 * @pid: it
 * @end: it ends when this is closed
 */
struct child {
	pid_t pid;
	int end;
};

/* A child that has @fd, or if @mapped a mapping of it, but no other descriptor. */
static struct child child_with(int fd, bool mapped)
{
	int ready[2], end[2];
	struct child child;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		if (mapped && mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
			_exit(1);
		if (dup2(ready[1], 3) != 3 || dup2(end[0], 4) != 4)
			_exit(1);
		if (!mapped && dup2(fd, 5) != 5)
			_exit(1);
		close_range(mapped ? 5 : 6, ~0u, 0);
		_exit(write(3, "", 1) != 1 || read(4, &byte, 1) != 0);
	}
	close(ready[1]);
	close(end[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	child.end = end[1];
	return child;
}

static void child_ends(struct child *child)
{
	int status;

	close(child->end);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	assert_int_equal(status, 0);
}

static void other_processes_count(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 4);
	struct udmabuf_view *view = view_of(&b, &backing);
	struct child child;
	int fd, i, status;

	(void)state;
	for (i = 0; i < 2; i++) {
		fd = own_fd(view);
		child = child_with(fd, i);
		assert_true(udmabuf_view_held_by(view, child.pid));
		assert_true(udmabuf_view_held_by(view, getpid()));
		close(fd);
		assert_false(udmabuf_view_alone(view));
		assert_true(udmabuf_view_held_by(view, child.pid));
		/* The view's own descriptor is not what is asked for. */
		assert_false(udmabuf_view_held_by(view, getpid()));
		child_ends(&child);
		assert_true(udmabuf_view_alone(view));
		assert_false(udmabuf_view_held_by(view, child.pid));
	}
	/* Our own mapping, and a child that is killed with one. */
	fd = own_fd(view);
	child = child_with(fd, true);
	close(fd);
	assert_false(udmabuf_view_held_by(view, getpid()));
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	close(child.end);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

enum { JUGGLES = 1000 };

/* Send it on, then unmap and close it: somebody has it until the last round. */
static void juggle(int socket, bool begins, int fd, atomic_bool *over)
{
	unsigned char *at;
	unsigned int i;

	if (!begins)
		close(fd);
	for (i = 0; i < JUGGLES; i++) {
		if (!begins || i)
			fd = receive_fd(socket);
		at = map(fd, 1);
		at[0]++;
		if (!begins && i == JUGGLES - 1)
			break;
		send_fd(socket, fd);
		close(fd);
		munmap(at, PAGE);
	}
	/* The one that did not begin is the last who has it. */
	if (!begins)
		atomic_store(over, true);
	_exit(0);
}

/* It goes to and fro between two processes, and there is no moment to slip through. */
static void moving_is_never_alone(void **state)
{
	struct bench b = bench(4);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	atomic_bool *over =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = own_fd(view), pair[2], i, status;
	unsigned int looks = 0;
	pid_t pids[2];

	(void)state;
	assert_ptr_not_equal(over, MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (!pids[i]) {
			/* The view's own descriptor is not to be had here. */
			if (dup2(pair[i], 3) != 3 || dup2(fd, 4) != 4)
				_exit(1);
			close_range(5, ~0u, 0);
			juggle(3, !i, 4, over);
		}
	}
	close(fd);
	close(pair[0]);
	close(pair[1]);
	while (!udmabuf_view_alone(view))
		looks++;
	assert_true(atomic_load(over));
	assert_true(looks > 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	munmap(over, PAGE);
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Whoever has it can set locks, which stay with the file, and its name. */
static void count_cannot_be_hidden(void **state)
{
	struct bench b = bench(4);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int fd = own_fd(view);

	(void)state;
	assert_int_equal(ioctl(fd, DMA_BUF_SET_NAME_B, "x\ncount:\t1\n"), 0);
	assert_false(udmabuf_view_alone(view));
	for (lock.l_start = 0; lock.l_start < 400; lock.l_start += 2)
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_false(udmabuf_view_alone(view));
	close(fd);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Pages cannot be pinned through a mapping, so none outlives it (see the source). */
static void mapping_cannot_be_pinned(void **state)
{
	struct bench b = bench(4);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	int fd = own_fd(view), pipes[2];
	unsigned char *at = map(fd, 1);
	struct iovec remote = { at, 8 }, local;
	char buffer[8];

	(void)state;
	at[0] = 1;
	local = (struct iovec){ buffer, sizeof(buffer) };
	assert_int_equal(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(vmsplice(pipes[1], &remote, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	close(pipes[0]);
	close(pipes[1]);
	munmap(at, PAGE);
	close(fd);
	assert_true(udmabuf_view_alone(view));
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

static void ours_are_known(void **state)
{
	struct bench b = bench(16);
	struct backing backings[3];
	struct udmabuf_view *views[3];
	struct udmabuf_create arg = { .size = PAGE };
	int fds[3], i, other, stranger;

	(void)state;
	for (i = 0; i < 3; i++) {
		backings[i] = reversed(b.gm, 2);
		views[i] = view_of(&b, &backings[i]);
		fds[i] = own_fd(views[i]);
	}
	/* A dma-buf of the same memory that somebody else made. */
	stranger = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	arg.memfd = (uint32_t)ram_file_fd(guest_memory_file(b.gm, 0));
	other = ioctl(stranger, UDMABUF_CREATE, &arg);
	assert_true(other >= 0);
	for (i = 0; i < 3; i++)
		assert_true(udmabuf_is_ours(b.udmabuf, fds[i]));
	assert_false(udmabuf_is_ours(b.udmabuf, other));
	assert_false(udmabuf_is_ours(b.udmabuf, stranger));
	assert_false(udmabuf_is_ours(b.udmabuf, (int)arg.memfd));
	assert_false(udmabuf_is_ours(b.udmabuf, -1));
	for (i = 0; i < 3; i++) {
		close(fds[i]);
		udmabuf_view_free(views[i]);
		run_list_destroy(&backings[i].runs);
	}
	close(other);
	close(stranger);
	finish(&b);
}

/**
 * struct keeper - a process that does not let go by itself
 * @child: it
 * @evicted: times it was asked for
 * @gone: cookie of gone()
 */
struct keeper {
	struct child child;
	unsigned int evicted;
	void *gone;
};

static void keeper_evict(void *opaque, struct backing *backing, bool force)
{
	struct keeper *keeper = opaque;

	assert_int_equal(backing->id, 7);
	keeper->evicted++;
	if (force)
		kill(keeper->child.pid, SIGKILL);
}

static void keeper_gone(void *opaque, void *cookie)
{
	struct keeper *keeper = opaque;

	keeper->gone = cookie;
}

/* With release, and a process that keeps a mapping until it is ended. */
static void release_ends_a_keeper(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 4);
	struct udmabuf_view *view = view_of(&b, &backing);
	struct keeper keeper = { .evicted = 0 };
	struct release_host host = { &keeper, keeper_evict, keeper_gone };
	struct release *release;
	char holder[64];
	struct capture c;
	int fd, status;

	(void)state;
	assert_int_equal(release_new(&host, 20, &release), 0);
	fd = own_fd(view);
	keeper.child = child_with(fd, true);
	close(fd);
	capture_begin();
	assert_false(release_begin(release, &backing, view, &keeper));
	while (!keeper.gone) {
		struct pollfd ready = { .fd = release_fd(release), .events = POLLIN };

		assert_int_equal(poll(&ready, 1, 10000), 1);
		release_dispatch(release);
	}
	capture_end(&c);
	assert_ptr_equal(keeper.gone, &keeper);
	assert_in_range(keeper.evicted, 2, 20);
	snprintf(holder, sizeof(holder), "held by %d (", (int)keeper.child.pid);
	assert_in_range(captured(&c, holder), 2, 3);
	assert_int_equal(waitpid(keeper.child.pid, &status, 0), keeper.child.pid);
	close(keeper.child.end);
	release_free(release);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Limits */

static bool set_parameter(const char *name, long value)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), PARAMETERS "/%s", name);
	file = fopen(path, "w");
	if (!file)
		return false;
	ok = fprintf(file, "%ld\n", value) > 0;
	return !fclose(file) && ok;
}

static struct udmabuf_limits saved;

static int restore_limits(void **state)
{
	(void)state;
	capture_give_up();
	if (!saved.items)
		return 0;
	set_parameter("list_limit", (int)saved.items);
	set_parameter("size_limit_mb", (long)(saved.bytes / MIB));
	memset(&saved, 0, sizeof(saved));
	return 0;
}

/* Limits of our own until restore_limits(). */
static void limits_are(long items, long megabytes)
{
	need_udmabuf();
	if (!saved.items)
		assert_int_equal(udmabuf_read_limits(PARAMETERS, &saved), 0);
	if (!set_parameter("list_limit", items) || !set_parameter("size_limit_mb", megabytes)) {
		print_message("SKIP: " PARAMETERS ": %s\n", strerror(errno));
		skip();
	}
}

static uint32_t refused(struct bench *b, struct backing *backing, struct capture *c)
{
	struct udmabuf_view *view = NULL;
	uint32_t ret;

	capture_begin();
	ret = make_view(b, backing, &view);
	capture_end(c);
	assert_null(view);
	assert_int_not_equal(ret, VIRTIO_GPU_RESP_OK_NODATA);
	return ret;
}

static void pieces_have_a_limit(void **state)
{
	struct backing fits, more;
	struct udmabuf_view *view;
	struct capture c;
	unsigned char *at;
	struct bench b;
	unsigned int i;
	int fd;

	(void)state;
	limits_are(1024, 64);
	b = bench(2048);
	fits = reversed(b.gm, 1024);
	more = reversed(b.gm, 1025);
	for (i = 0; i < 1024; i++)
		memcpy(b.ram + i * PAGE, &i, sizeof(i));
	view = view_of(&b, &fits);
	fd = own_fd(view);
	at = map(fd, 1024);
	for (i = 0; i < 1024; i++)
		assert_int_equal(*(unsigned int *)(at + i * PAGE), 1023 - i);
	munmap(at, 1024 * PAGE);
	close(fd);
	udmabuf_view_free(view);

	assert_int_equal(refused(&b, &more, &c), VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_int_equal(captured(&c, "resource 7 refused: its memory is 1025 pieces"), 1);
	assert_int_equal(captured(&c, PARAMETERS "/list_limit, which is 1024,"), 1);
	assert_int_equal(captured(&c, "udmabuf.list_limit=1025 on the host kernel's command"), 1);
	/* The guest cannot fill the log with it. */
	assert_int_equal(refused(&b, &more, &c), VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_string_equal(c.text, "");
	/* As told: raised while we run. */
	limits_are(1025, 64);
	udmabuf_view_free(view_of(&b, &more));
	assert_int_equal(udmabuf_limits(b.udmabuf)->items, 1025);
	run_list_destroy(&fits.runs);
	run_list_destroy(&more.runs);
	finish(&b);
}

static void bytes_have_a_limit(void **state)
{
	struct backing fits = { .id = 8 }, more = { .id = 9 };
	struct capture c;
	struct bench b;

	(void)state;
	limits_are(1024, 64);
	b = bench(65 * 256);
	add(b.gm, &fits, 0, 64 * MIB);
	add(b.gm, &more, 0, 64 * MIB + PAGE);
	udmabuf_view_free(view_of(&b, &fits));
	assert_int_equal(refused(&b, &more, &c), VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_int_equal(captured(&c, "resource 9 refused: its memory is 65 MiB"), 1);
	assert_int_equal(captured(&c, PARAMETERS "/size_limit_mb, which is 64,"), 1);
	assert_int_equal(captured(&c, "udmabuf.size_limit_mb=65 on the host kernel's command"), 1);
	limits_are(1024, 65);
	udmabuf_view_free(view_of(&b, &more));
	run_list_destroy(&fits.runs);
	run_list_destroy(&more.runs);
	finish(&b);
}

/* With the chunk that is too much, not with the last one; and what the kernel says counts. */
static void limits_are_met_early(void **state)
{
	struct udmabuf_draft *draft = NULL;
	struct backing backing = { .id = 3 };
	struct capture c;
	struct bench b;

	(void)state;
	limits_are(2, 64);
	b = bench(64);
	add(b.gm, &backing, 0, PAGE);
	add(b.gm, &backing, 2 * PAGE, PAGE);
	backing.size = 16 * PAGE;
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	/* As many pieces as before. */
	add(b.gm, &backing, 3 * PAGE, PAGE);
	backing.size = 16 * PAGE;
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	add(b.gm, &backing, 8 * PAGE, PAGE);
	backing.size = 16 * PAGE;
	capture_begin();
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "resource 3 refused: its memory is at least 3 pieces"), 1);
	/* Enough for what may still come: 12 pages. */
	assert_int_equal(captured(&c, "udmabuf.list_limit=15 "), 1);
	limits_are(3, 64);
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	/* The first chunk says how large it will be. */
	backing.size = 64 * MIB + PAGE;
	capture_begin();
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, "resource 3 refused: its memory is 65 MiB"), 1);
	udmabuf_draft_free(draft);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* Lowered after the chunks were looked at: the kernel finds it, and we say why. */
static void limits_are_lowered_meanwhile(void **state)
{
	struct udmabuf_draft *draft = NULL;
	struct udmabuf_view *view = NULL;
	struct backing backing;
	struct capture c;
	struct bench b;

	(void)state;
	limits_are(1024, 64);
	b = bench(16);
	backing = reversed(b.gm, 8);
	assert_int_equal(udmabuf_draft_extend(b.udmabuf, &backing, &draft),
			 VIRTIO_GPU_RESP_OK_NODATA);
	limits_are(7, 64);
	capture_begin();
	assert_int_equal(udmabuf_view_create(b.udmabuf, &backing, draft, &view),
			 VIRTIO_GPU_RESP_ERR_LIMIT);
	capture_end(&c);
	assert_int_equal(captured(&c, PARAMETERS "/list_limit, which is 7,"), 1);
	assert_null(view);
	/* The draft is as it was. */
	limits_are(8, 64);
	assert_int_equal(udmabuf_view_create(b.udmabuf, &backing, draft, &view),
			 VIRTIO_GPU_RESP_OK_NODATA);
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

static void descriptors_have_a_limit(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 1);
	struct rlimit old, none;
	struct capture c;
	uint32_t ret;
	struct udmabuf_view *view = NULL;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	capture_begin();
	/* The lowest number that is free is beyond what is allowed. */
	none = (struct rlimit){ (rlim_t)fcntl(0, F_DUPFD_CLOEXEC, 0), old.rlim_max };
	close((int)none.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ret = make_view(&b, &backing, &view);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	capture_end(&c);
	assert_int_equal(ret, VIRTIO_GPU_RESP_ERR_LIMIT);
	assert_int_equal(captured(&c, "RLIMIT_NOFILE"), 1);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* A guest that has used up all descriptors must get its answers all the same. */
static void alone_without_a_free_descriptor(void **state)
{
	struct bench b = bench(16);
	struct backing backing = reversed(b.gm, 1);
	struct udmabuf_view *view = view_of(&b, &backing);
	bool alone[3], held;
	struct rlimit old, none;
	unsigned int i;
	int other;

	(void)state;
	other = own_fd(view);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ (rlim_t)fcntl(0, F_DUPFD_CLOEXEC, 0), old.rlim_max };
	close((int)none.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	held = !udmabuf_view_alone(view);
	/* In its place, so that there is none to spare. */
	assert_int_equal(dup2(0, other), other);
	for (i = 0; i < 3; i++)
		alone[i] = udmabuf_view_alone(view);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(held);
	assert_true(alone[0] && alone[1] && alone[2]);
	close(other);
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
}

/* RAM that does not do */

static void set_files(struct bench *b, int *fds, unsigned int nr)
{
	struct guest_region regions[4];
	unsigned int i;

	for (i = 0; i < nr; i++)
		regions[i] = (struct guest_region){ .guest_addr = i * 16 * PAGE,
						    .size = 16 * PAGE,
						    .user_addr = (i + 1) << 24,
						    .fd = fds[i] };
	assert_int_equal(guest_memory_set(b->gm, regions, nr), 0);
}

static bool usable(struct bench *b, struct capture *c)
{
	bool ret;

	capture_begin();
	ret = udmabuf_usable(b->udmabuf);
	capture_end(c);
	return ret;
}

static void unsealed_memory_is_found(void **state)
{
	struct bench b = bench(16);
	int bad = ram(16, F_SEAL_GROW), good = ram(16, F_SEAL_SHRINK);
	int bad_twice[] = { bad, bad }, mixed[] = { bad, good };
	struct backing backing = { .id = 4 };
	struct udmabuf_view *view;
	struct capture c;

	(void)state;
	assert_true(usable(&b, &c));
	assert_string_equal(c.text, "");
	/* One line for a table, however often it is asked and the file is in it. */
	set_files(&b, bad_twice, 2);
	assert_false(usable(&b, &c));
	assert_int_equal(captured(&c, "'/memfd:ram (deleted)': it is not sealed against"), 1);
	assert_int_equal(captured(&c, "memory-backend-memfd"), 1);
	assert_false(usable(&b, &c));
	assert_string_equal(c.text, "");
	set_files(&b, mixed, 2);
	assert_true(usable(&b, &c));
	assert_int_equal(captured(&c, "not sealed"), 1);
	/* What lies in the file that does not do is refused, and only that. */
	add(b.gm, &backing, 0, PAGE);
	assert_int_equal(refused(&b, &backing, &c), VIRTIO_GPU_RESP_ERR_UNSUPPORTED);
	assert_int_equal(captured(&c, "not sealed"), 1);
	run_list_destroy(&backing.runs);
	memset(&backing, 0, sizeof(backing));
	add(b.gm, &backing, 16 * PAGE, PAGE);
	view = view_of(&b, &backing);
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	assert_int_equal(guest_memory_set(b.gm, NULL, 0), 0);
	assert_false(usable(&b, &c));
	assert_string_equal(c.text, "");
	close(bad);
	close(good);
	finish(&b);
}

/* The reservation object, with vgem's fences */

/* From the DRM's interface, which not every machine has headers of. */
struct drm_version_arg {
	int version[3];
	size_t name_len;
	char *name;
	size_t date_len;
	char *date;
	size_t desc_len;
	char *desc;
};

struct prime_arg {
	uint32_t handle;
	uint32_t flags;
	int32_t fd;
};

struct close_arg {
	uint32_t handle;
	uint32_t pad;
};

struct fence_attach_arg {
	uint32_t handle;
	uint32_t flags;
	uint32_t out_fence;
	uint32_t pad;
};

struct fence_signal_arg {
	uint32_t fence;
	uint32_t flags;
};

#define DRM_VERSION _IOWR('d', 0x00, struct drm_version_arg)
#define DRM_GEM_CLOSE _IOW('d', 0x09, struct close_arg)
#define DRM_PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct prime_arg)
#define VGEM_FENCE_ATTACH _IOWR('d', 0x41, struct fence_attach_arg)
#define VGEM_FENCE_SIGNAL _IOW('d', 0x42, struct fence_signal_arg)
#define VGEM_FENCE_WRITE 1

static int open_vgem(void)
{
	char path[32], name[16];
	int i, fd;

	for (i = 128; i < 136; i++) {
		struct drm_version_arg version = { .name = name, .name_len = sizeof(name) };

		snprintf(path, sizeof(path), "/dev/dri/renderD%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, DRM_VERSION, &version) && version.name_len == 4 &&
		    !memcmp(name, "vgem", 4))
			return fd;
		close(fd);
	}
	print_message("SKIP: no vgem render node\n");
	skip();
	return -1;
}

/*
 * An import counts although neither a descriptor nor a mapping is left, and work
 * that outlives the import is seen in the reservation object.
 */
static void imports_and_fences_count(void **state)
{
	struct udmabuf_view *view;
	struct prime_arg prime = { 0 };
	struct close_arg gem = { 0 };
	struct fence_attach_arg attach = { 0 };
	struct fence_signal_arg signal = { 0 };
	struct backing backing;
	struct bench b;
	int i, vgem;

	(void)state;
	need_udmabuf();
	vgem = open_vgem();
	b = bench(16);
	backing = reversed(b.gm, 8);
	view = view_of(&b, &backing);
	/* Work that reads, then work that writes. */
	for (i = 0; i < 2; i++) {
		prime.fd = own_fd(view);
		assert_int_equal(ioctl(vgem, DRM_PRIME_FD_TO_HANDLE, &prime), 0);
		close(prime.fd);
		assert_false(udmabuf_view_alone(view));
		assert_false(udmabuf_view_held_by(view, getpid()));
		attach.handle = prime.handle;
		attach.flags = i ? VGEM_FENCE_WRITE : 0;
		assert_int_equal(ioctl(vgem, VGEM_FENCE_ATTACH, &attach), 0);
		gem.handle = prime.handle;
		assert_int_equal(ioctl(vgem, DRM_GEM_CLOSE, &gem), 0);
		assert_false(udmabuf_view_alone(view));
		assert_false(udmabuf_view_alone(view));
		signal.fence = attach.out_fence;
		assert_int_equal(ioctl(vgem, VGEM_FENCE_SIGNAL, &signal), 0);
		assert_true(udmabuf_view_alone(view));
	}
	udmabuf_view_free(view);
	run_list_destroy(&backing.runs);
	finish(&b);
	close(vgem);
}

/* Every page of @view, reversed, a window at a time. */
static void check_reversed(const struct udmabuf_view *view, unsigned int pages, unsigned int window)
{
	unsigned int first, i;
	int fd = own_fd(view);

	for (first = 0; first < pages; first += window) {
		unsigned char *at =
			mmap(NULL, window * PAGE, PROT_READ, MAP_SHARED, fd, (off_t)(first * PAGE));

		assert_ptr_not_equal(at, MAP_FAILED);
		for (i = 0; i < window; i++)
			assert_int_equal(*(unsigned int *)(at + i * PAGE), pages - 1 - first - i);
		munmap(at, window * PAGE);
	}
	close(fd);
}

/*
 * One gibibyte in single pages.  A kernel that copies the list into one block,
 * see view_udmabuf.c, is to be refused with its limit; the one that our runner
 * boots (USERPTR_LONG_LISTS) has no such limit.
 *
 * It is mapped in windows: where the host is a User-Mode Linux, each page of a
 * mapping is one of the machine, and a process has 65530 of them.
 */
static void one_gib_in_single_pages(void **state)
{
	enum { PAGES = 262144, WINDOW = 4096 };
	struct udmabuf_view *view = NULL;
	struct prime_arg prime = { 0 };
	struct close_arg gem = { 0 };
	struct backing backing;
	struct capture c;
	unsigned int i;
	struct bench b;
	uint32_t ret;
	int vgem;

	(void)state;
	limits_are(PAGES, 1024);
	vgem = open_vgem();
	b = bench(PAGES);
	backing = reversed(b.gm, PAGES);
	for (i = 0; i < PAGES; i++)
		memcpy(b.ram + i * PAGE, &i, sizeof(i));
	capture_begin();
	ret = make_view(&b, &backing, &view);
	capture_end(&c);
	if (ret == VIRTIO_GPU_RESP_ERR_LIMIT && !getenv("USERPTR_LONG_LISTS")) {
		assert_int_equal(captured(&c, "262144 pieces"), 1);
		assert_int_equal(captured(&c, "about 174762 in one list"), 1);
	} else {
		assert_int_equal(ret, VIRTIO_GPU_RESP_OK_NODATA);
		check_reversed(view, PAGES, WINDOW);
		/* By a driver, too. */
		prime.fd = own_fd(view);
		assert_int_equal(ioctl(vgem, DRM_PRIME_FD_TO_HANDLE, &prime), 0);
		close(prime.fd);
		assert_false(udmabuf_view_alone(view));
		gem.handle = prime.handle;
		assert_int_equal(ioctl(vgem, DRM_GEM_CLOSE, &gem), 0);
		assert_true(udmabuf_view_alone(view));
		udmabuf_view_free(view);
	}
	run_list_destroy(&backing.runs);
	finish(&b);
	close(vgem);
}

static int give_up(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_read),
		cmocka_unit_test(pieces_are_merged),
		cmocka_unit_test(chunks_make_the_same_list),
		cmocka_unit_test(many_chunks_make_a_long_list),
		cmocka_unit_test(pieces_are_whole_pages),
		cmocka_unit_test(files_are_judged),
		cmocka_unit_test_teardown(missing_device_is_said, give_up),
		cmocka_unit_test(readonly_has_no_dmabuf),
		cmocka_unit_test(memory_is_the_same),
		cmocka_unit_test(whoever_has_it_counts),
		cmocka_unit_test(other_processes_count),
		cmocka_unit_test(moving_is_never_alone),
		cmocka_unit_test(count_cannot_be_hidden),
		cmocka_unit_test(mapping_cannot_be_pinned),
		cmocka_unit_test(ours_are_known),
		cmocka_unit_test_teardown(release_ends_a_keeper, give_up),
		cmocka_unit_test_teardown(pieces_have_a_limit, restore_limits),
		cmocka_unit_test_teardown(bytes_have_a_limit, restore_limits),
		cmocka_unit_test_teardown(limits_are_met_early, restore_limits),
		cmocka_unit_test_teardown(limits_are_lowered_meanwhile, restore_limits),
		cmocka_unit_test_teardown(one_gib_in_single_pages, restore_limits),
		cmocka_unit_test_teardown(descriptors_have_a_limit, give_up),
		cmocka_unit_test_teardown(alone_without_a_free_descriptor, give_up),
		cmocka_unit_test_teardown(unsealed_memory_is_found, give_up),
		cmocka_unit_test(imports_and_fences_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
