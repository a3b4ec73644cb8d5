// SPDX-License-Identifier: MIT
/*
 * create, close and their limits, on the same memory by turns
 *
 * The limit is pinning by the kernel's own benchmark (CONFIG_GUP_TEST): "fast" is
 * pin_user_pages_fast() with FOLL_LONGTERM, "slow" is pin_user_pages() with it.  Beside
 * them guest blobs of the same size, which is what the driver has without userptr:
 * their memory is the kernel's, made for them, and the device's answer to them is
 * not awaited; "fenced" is up to the end of a command that was sent after them.
 *
 * Invariant: one registration at a time; each is unpinned before the next thing is
 * measured.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

#define FOLL_WRITE 0x01u
#define FOLL_LONGTERM 0x100u

/* mm/gup_test.h of the kernel, which is no uapi. */
struct gup_test {
	uint64_t get_delta_usec;
	uint64_t put_delta_usec;
	uint64_t addr;
	uint64_t size;
	uint32_t nr_pages_per_call;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t which_pages[8];
};
#define PIN_FAST_BENCHMARK _IOWR('g', 2, struct gup_test)
#define PIN_LONGTERM_BENCHMARK _IOWR('g', 3, struct gup_test)

enum {
	PIN_FAST,
	PUT_FAST,
	PIN_SLOW,
	PUT_SLOW,
	CREATE,
	CLOSE,
	UNPINNED,
	CREATE_KEEP,
	CREATE_FENCED,
	BLOB,
	BLOB_FENCED,
	NR_SERIES,
};

static const char *const names[NR_SERIES][2] = {
	[PIN_FAST] = { "pin", "fast" },		[PUT_FAST] = { "put", "fast" },
	[PIN_SLOW] = { "pin", "slow" },		[PUT_SLOW] = { "put", "slow" },
	[CREATE] = { "create", "watched" },	[CLOSE] = { "close", "watched" },
	[UNPINNED] = { "close", "unpinned" },	[CREATE_KEEP] = { "create", "keep" },
	[CREATE_FENCED] = { "use", "userptr" }, [BLOB] = { "blob", "unfenced" },
	[BLOB_FENCED] = { "use", "blob" },
};

/**
 * bench_blob_use() - a command after the creation of a resource, and its end
 * @vg: context that it is attached to
 * @bo: it
 */
void bench_blob_use(struct vg *vg, const struct vg_bo *bo)
{
	struct loopback_command command = {
		.op = htole32(LOOPBACK_OP_STATS),
		.dst_res = htole32(vg->result.res),
		.dst_offset = htole64(VG_RESULT_DATA),
	};
	uint32_t handles[] = { vg->result.handle, bo->handle };
	struct loopback_status status;
	int fence, ret;

	ret = vg_submit(vg, 0, &command, 1, handles, 2, &fence);
	if (!ret)
		ret = vg_wait_fence(fence, BENCH_TIMEOUT_MS);
	if (!ret)
		ret = vg_status(vg, &status);
	if (ret)
		bench_fail("a command after a creation", -ret);
}

static void pin(int gup, unsigned long request, const struct bench_memory *memory, uint64_t *get,
		uint64_t *put)
{
	struct gup_test test = {
		.addr = (uintptr_t)memory->addr,
		.size = memory->size,
		.nr_pages_per_call = 512,
		.gup_flags = FOLL_WRITE | FOLL_LONGTERM,
	};

	if (ioctl(gup, request, &test))
		bench_fail("gup_test", errno);
	if (test.size != memory->size)
		bench_fail("gup_test did not pin all of it", EFAULT);
	*get = test.get_delta_usec * 1000;
	*put = test.put_delta_usec * 1000;
}

static void create(struct vg *vg, const struct bench_memory *memory, uint32_t flags, uint64_t *took)
{
	uint64_t started = bench_now_ns();
	struct vg_bo bo;

	bench_create(vg, memory->addr, memory->size, flags, &bo);
	took[0] = bench_now_ns() - started;
	started = bench_now_ns();
	vg_bo_close(vg->fd, bo.handle);
	took[1] = bench_now_ns() - started;
	bench_wait_unpinned();
	took[2] = bench_now_ns() - started;
}

static uint64_t create_and_use(struct vg *vg, const struct bench_memory *memory)
{
	uint64_t started = bench_now_ns(), took;
	struct vg_bo bo;

	bench_create(vg, memory->addr, memory->size, 0, &bo);
	bench_blob_use(vg, &bo);
	took = bench_now_ns() - started;
	vg_bo_close(vg->fd, bo.handle);
	bench_wait_unpinned();
	return took;
}

/* False if the driver or the device does not take a blob of this size. */
static bool blob(struct vg *vg, size_t size, bool fenced, uint64_t *took)
{
	uint64_t started = bench_now_ns();
	struct vg_bo bo;

	if (vg_blob_create(vg->fd, size, &bo))
		return false;
	if (fenced)
		bench_blob_use(vg, &bo);
	*took = bench_now_ns() - started;
	/* What is measured next must not wait for it. */
	if (!fenced)
		bench_blob_use(vg, &bo);
	vg_bo_close(vg->fd, bo.handle);
	return true;
}

static void one_round(struct vg *vg, int gup, const struct bench_memory *memory, bool blobs,
		      uint64_t *values)
{
	uint64_t rest[3];

	pin(gup, PIN_FAST_BENCHMARK, memory, &values[PIN_FAST], &values[PUT_FAST]);
	create(vg, memory, 0, &values[CREATE]);
	pin(gup, PIN_LONGTERM_BENCHMARK, memory, &values[PIN_SLOW], &values[PUT_SLOW]);
	create(vg, memory, VIRTGPU_USERPTR_KEEP, rest);
	values[CREATE_KEEP] = rest[0];
	values[CREATE_FENCED] = create_and_use(vg, memory);
	if (blobs && (!blob(vg, memory->size, false, &values[BLOB]) ||
		      !blob(vg, memory->size, true, &values[BLOB_FENCED])))
		bench_fail("a guest blob", EIO);
}

static void one_buffer(const struct bench *bench, struct vg *vg, int gup, enum bench_layout layout,
		       size_t size)
{
	/* Its entries go in one command, of which there are only so many. */
	bool blobs = layout == BENCH_NATURAL && size <= BENCH_MIB(32);
	struct bench_series series[NR_SERIES] = { 0 };
	uint64_t values[NR_SERIES] = { 0 };
	struct bench_memory memory;
	unsigned int i, j;

	if (!bench_memory_make(&memory, layout, size)) {
		bench_skip("create", layout, size, "there is no such memory here");
		return;
	}
	for (i = 0; i < BENCH_WARMUP + bench->samples; i++) {
		one_round(vg, gup, &memory, blobs, values);
		for (j = 0; i >= BENCH_WARMUP && j < NR_SERIES; j++)
			if (j < BLOB || blobs)
				bench_add(&series[j], values[j]);
	}
	for (j = 0; j < NR_SERIES; j++) {
		series[j].figure = names[j][0];
		series[j].variant = names[j][1];
		series[j].layout = layout;
		series[j].size = size;
		series[j].unit = "ns";
		bench_print(&series[j]);
	}
	bench_memory_free(&memory);
}

/* The first creation, of memory that the device has never seen, if it has not. */
static void first_time(struct vg *vg, size_t size)
{
	struct bench_series series = {
		.figure = "create",
		.variant = "first",
		.layout = BENCH_NATURAL,
		.size = size,
		.unit = "ns",
	};
	struct bench_memory memory;
	uint64_t took[3];

	if (!bench_memory_make(&memory, BENCH_NATURAL, size))
		bench_fail("memory", ENOMEM);
	create(vg, &memory, 0, took);
	bench_add(&series, took[0]);
	bench_print(&series);
	bench_memory_free(&memory);
}

/**
 * bench_limit_and_create() - everything of this file, in all sizes
 * @bench: the run
 */
void bench_limit_and_create(const struct bench *bench)
{
	static const size_t sizes[] = { BENCH_KIB(4),	BENCH_KIB(64), BENCH_MIB(1),
					BENCH_MIB(16),	BENCH_MIB(64), BENCH_MIB(256),
					BENCH_MIB(1024) };
	int gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	enum bench_layout layout;
	struct vg vg;
	size_t i;

	if (gup < 0)
		bench_fail("/sys/kernel/debug/gup_test", errno);
	bench_open(&vg, bench);
	first_time(&vg, bench->largest);
	for (layout = 0; layout < NR_BENCH_LAYOUTS; layout++) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			if (bench_wanted(bench, layout, sizes[i]))
				one_buffer(bench, &vg, gup, layout, sizes[i]);
		}
	}
	vg_close(&vg);
	close(gup);
}
