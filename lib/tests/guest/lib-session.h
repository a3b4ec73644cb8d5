/* SPDX-License-Identifier: MIT */
/*
 * lib-session: what the tests of the library in a guest put around each test
 *
 * A loopback context on the device that USERPTR_MAIN names, with a context of the
 * library on the same file, in which the device plays the GPU.
 *
 * Invariant: after each test the device holds no userptr resource, and nothing of the
 * process is pinned; session_end() waits for that.
 */
#ifndef LIB_SESSION_H
#define LIB_SESSION_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "virtgpu-userptr.h"
#include "virtgpu.h"

#define PAGE 4096ul
/* For everything that the kernel or the device does on its own. */
#define SETTLE_MS 10000
/* How much of a buffer is compared in one go. */
#define WINDOW (64 * PAGE)

/**
 * struct session - a context of the device, and one of the library
 * @vg: the former, for one thread at a time, which has @lock
 * @lock: see there
 * @ctx: the latter
 * @window: memory that the device copies to
 * @window_reg: its registration
 * @told: registrations that were revoked, and told of
 * @last: the last one of them
 */
struct session {
	struct vg vg;
	pthread_mutex_t lock;
	struct virtgpu_userptr *ctx;
	uint8_t *window;
	struct virtgpu_userptr_reg window_reg;
	unsigned int told;
	struct virtgpu_userptr_reg last;
};

static inline void session_revoked(void *data, const struct virtgpu_userptr_reg *reg)
{
	struct session *session = data;

	__atomic_fetch_add(&session->told, 1, __ATOMIC_RELAXED);
	session->last = *reg;
}

static inline uint64_t resources(struct vg *vg)
{
	struct loopback_stats stats;

	return vg_stats(vg, &stats) ? UINT64_MAX : stats.userptr_resources;
}

static inline uint64_t wait_no_resources(struct vg *vg)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull, left;

	do {
		left = resources(vg);
	} while (left && vg_now_us() < end);
	return left;
}

static inline long from_environment(const char *name, long otherwise)
{
	const char *value = getenv(name);

	return value ? atol(value) : otherwise;
}

static inline void session_begin(struct __test_metadata *_metadata, struct session *session,
				 uint64_t cache_bytes)
{
	const struct virtgpu_userptr_options options = {
		.struct_size = sizeof(options),
		.cache_bytes = cache_bytes,
		.revoked = session_revoked,
		.data = session,
	};
	const char *node = getenv("USERPTR_MAIN");

	memset(session, 0, sizeof(*session));
	session->vg.fd = -1;
	if (!node)
		SKIP(return, "no device \"MAIN\" in this run");
	pthread_mutex_init(&session->lock, NULL);
	ASSERT_EQ(0, vg_open(&session->vg, node, 1));
	ASSERT_EQ(0, wait_no_resources(&session->vg));
	ASSERT_EQ(0, virtgpu_userptr_open(session->vg.fd, &options, &session->ctx))
	{
		TH_LOG("%s", virtgpu_userptr_error());
	}
	session->window =
		mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, session->window);
	ASSERT_EQ(0, virtgpu_userptr_register(session->ctx, session->window, WINDOW, 0,
					      &session->window_reg));
}

static inline void session_end(struct __test_metadata *_metadata, struct session *session)
{
	if (!session->ctx)
		return;
	virtgpu_userptr_close(session->ctx);
	munmap(session->window, WINDOW);
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS))
	{
		TH_LOG("VmPin is %ld kB", vg_status_kib("VmPin"));
	}
	EXPECT_EQ(0, wait_no_resources(&session->vg));
	vg_close(&session->vg);
}

/* What the device sees of a piece, up to WINDOW of it; 0 if that is what @expected is. */
static inline int device_differs(struct session *session, const struct virtgpu_userptr_piece *piece,
				 const void *expected)
{
	struct vg_copy copy = {
		.dst_res = session->window_reg.piece.res_handle,
		.dst_offset = session->window_reg.piece.offset,
		.src_res = piece->res_handle,
		.src_offset = piece->offset,
		.length = piece->size < WINDOW ? piece->size : WINDOW,
	};
	int ret;

	pthread_mutex_lock(&session->lock);
	memset(session->window, 0xee, copy.length);
	ret = vg_copy(&session->vg, &copy);
	if (!ret)
		ret = memcmp(session->window, expected, copy.length) ? 1 : 0;
	pthread_mutex_unlock(&session->lock);
	return ret;
}

static inline struct virtgpu_userptr_stats stats_of(struct virtgpu_userptr *ctx)
{
	struct virtgpu_userptr_stats stats = { .struct_size = sizeof(stats) };

	virtgpu_userptr_get_stats(ctx, &stats);
	return stats;
}

static inline void *map_pages(size_t pages)
{
	void *map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

/* A pattern that no other round has. */
static inline void fill(void *memory, size_t size, uint32_t seed)
{
	uint8_t *byte = memory;
	size_t i;

	for (i = 0; i < size; i++) {
		if (!(i & 3))
			seed = seed * 1664525 + 1013904223;
		byte[i] = seed >> (8 * (i & 3));
	}
}

#endif /* LIB_SESSION_H */
