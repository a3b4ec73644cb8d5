/* SPDX-License-Identifier: MIT */
/*
 * udmabuf_test: guest RAM, resources and dma-bufs of them, for tests
 *
 * What needs the kernel's udmabuf is skipped where there is none, and what needs
 * its limits changed where that is not allowed.  scripts/host-run gives a host
 * with all of it.
 */
#ifndef UDMABUF_TEST_H
#define UDMABUF_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/run_list.h"
#include "memory/udmabuf.h"
#include "memory/worker.h"
#include "tests/util/capture.h"

#define PAGE 4096ull
#define MIB (1ull << 20)
#define PARAMETERS "/sys/module/udmabuf/parameters"

/* Guest RAM and what is made of it */

/* A memfd with these seals, every page of it a hole. */
static inline int ram(uint64_t pages, int seals)
{
	int fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* A table of one region at 0 that is all of @fd, which is closed. */
static inline struct guest_memory *memory_of(int fd, uint64_t pages)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region region = { .size = pages * PAGE, .fd = fd };

	assert_non_null(gm);
	assert_int_equal(guest_memory_set(gm, &region, 1), 0);
	close(fd);
	return gm;
}

static inline void add(struct guest_memory *gm, struct backing *backing, uint64_t addr,
		       uint64_t len)
{
	struct run runs[GUEST_MEMORY_MAX_REGIONS];
	int i, nr = guest_memory_resolve(gm, addr, len, runs, GUEST_MEMORY_MAX_REGIONS);

	assert_true(nr > 0);
	for (i = 0; i < nr; i++)
		assert_int_equal(run_list_append(&backing->runs, &runs[i]), 0);
	backing->size += len;
}

/* The first @nr pages of guest memory, the last one first. */
static inline struct backing reversed(struct guest_memory *gm, uint64_t nr)
{
	struct backing backing = { .id = 7 };

	while (nr--)
		add(gm, &backing, nr * PAGE, PAGE);
	return backing;
}

/* With /dev/udmabuf */

/**
 * struct bench - a device and guest RAM
 * @gm: guest memory
 * @quotas: what it may take
 * @worker: its worker, or NULL: all is done at once
 * @udmabuf: it
 * @ram: all of guest memory, mapped here
 * @pages: of it
 * @fds: descriptors that were open before
 */
struct bench {
	struct guest_memory *gm;
	struct memory_quotas *quotas;
	struct worker *worker;
	struct udmabuf *udmabuf;
	unsigned char *ram;
	uint64_t pages;
	unsigned int fds;
};

static inline unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* A test that is skipped has made nothing yet, or it would count as a leak. */
static inline void need_udmabuf(void)
{
	if (!access("/dev/udmabuf", R_OK | W_OK))
		return;
	print_message("SKIP: /dev/udmabuf: %s\n", strerror(errno));
	skip();
}

static inline struct memory_quotas *quotas_of(struct guest_memory *gm,
					      const struct memory_limits *limits)
{
	struct memory_quotas *quotas = calloc(1, sizeof(*quotas));

	assert_non_null(quotas);
	memory_quotas_init(quotas, limits, gm);
	return quotas;
}

static inline struct bench bench_with(uint64_t pages, const struct memory_limits *limits,
				      bool threaded)
{
	struct bench b = { .pages = pages, .fds = open_fds() };
	struct udmabuf_config config = { .gm = NULL };

	need_udmabuf();
	b.gm = memory_of(ram(pages, F_SEAL_SHRINK), pages);
	b.ram = guest_memory_pointer(b.gm, 0, pages * PAGE);
	assert_non_null(b.ram);
	b.quotas = quotas_of(b.gm, limits);
	if (threaded)
		assert_int_equal(worker_new(&b.worker), 0);
	config = (struct udmabuf_config){ b.gm, b.quotas, b.worker };
	assert_int_equal(udmabuf_open(&config, &b.udmabuf), 0);
	return b;
}

static inline struct bench bench(uint64_t pages)
{
	return bench_with(pages, &(const struct memory_limits){ 0 }, false);
}

static inline void finish(struct bench *b)
{
	struct udmabuf_totals totals;

	udmabuf_totals(b->udmabuf, &totals);
	assert_int_equal(totals.views, 0);
	assert_int_equal(totals.items, 0);
	worker_free(b->worker);
	assert_int_equal(b->quotas->kernel.used, 0);
	udmabuf_close(b->udmabuf);
	free(b->quotas);
	guest_memory_free(b->gm);
	assert_int_equal(open_fds(), b->fds);
}

/* The whole way, as if all came in one chunk. */
static inline uint32_t make_view(struct bench *b, const struct backing *backing,
				 struct udmabuf_view **view)
{
	struct udmabuf_draft *draft = NULL;
	uint32_t ret = udmabuf_draft_extend(b->udmabuf, backing, &draft);

	if (ret == VIRTIO_GPU_RESP_OK_NODATA)
		ret = udmabuf_view_create(b->udmabuf, backing, draft, NULL, NULL, view);
	if (ret != VIRTIO_GPU_RESP_OK_NODATA)
		udmabuf_draft_free(draft);
	return ret;
}

static inline struct udmabuf_view *view_of(struct bench *b, struct backing *backing)
{
	struct udmabuf_view *view = NULL;

	assert_int_equal(make_view(b, backing, &view), VIRTIO_GPU_RESP_OK_NODATA);
	assert_non_null(view);
	assert_true(udmabuf_view_alone(view));
	return view;
}

static inline unsigned char *map(int fd, uint64_t pages)
{
	void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static inline int own_fd(const struct udmabuf_view *view)
{
	int fd = udmabuf_view_dup(view);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

/* Limits */

static inline bool set_parameter(const char *name, long value)
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

static inline int restore_limits(void **state)
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
static inline void limits_are(long items, long megabytes)
{
	need_udmabuf();
	if (!saved.items)
		assert_int_equal(udmabuf_read_limits(PARAMETERS, &saved), 0);
	if (!set_parameter("list_limit", items) || !set_parameter("size_limit_mb", megabytes)) {
		print_message("SKIP: " PARAMETERS ": %s\n", strerror(errno));
		skip();
	}
}

static inline uint32_t refused(struct bench *b, struct backing *backing, struct capture *c)
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

static inline int give_up(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

#endif /* UDMABUF_TEST_H */
