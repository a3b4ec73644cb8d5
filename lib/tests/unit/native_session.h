/* SPDX-License-Identifier: MIT */
/*
 * native-session: what the tests of the backend put around each test
 *
 * A device, with or without an open GPU, and the look for what is left behind: memory
 * of the device, mappings and files.
 */
#ifndef NATIVE_SESSION_H
#define NATIVE_SESSION_H

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "device.h"
#include "native.h"

#define P 4096ul
#define LARGE 0x200000ul
#define FIRST 0x200000ul
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
/* A number in two dwords. */
#define U64(value) (uint32_t)(value), (uint32_t)((uint64_t)(value) >> 32)

static struct hsakmt_gpu *gpu;
static unsigned int files;

static inline unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	assert_non_null(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static inline const struct hsakmt_gpu_ops *ops(void)
{
	return hsakmt_gpu_backend();
}

static inline int setup(void **state)
{
	(void)state;
	alarm(60);
	unsetenv("HSAKMT_VIRTGPU_NODE");
	native_timeout_ms = 10000;
	device_reset();
	files = open_files();
	gpu = NULL;
	return 0;
}

static inline int setup_open(void **state)
{
	setup(state);
	assert_int_equal(ops()->open(&gpu), 0);
	return 0;
}

/* Nothing is left, whatever happened. */
static inline int teardown(void **state)
{
	(void)state;
	if (gpu)
		ops()->close(gpu);
	assert_int_equal(device_open_blobs(), 0);
	assert_int_equal(device_mappings(), 0);
	assert_int_equal(open_files(), files);
	return 0;
}

/* The last stream is these dwords. */
static inline void expect_stream(uint32_t ring, const uint32_t *dwords, unsigned int nr)
{
	assert_int_equal(device.ring, ring);
	assert_int_equal(device.stream_size, 4 * nr);
	assert_memory_equal(device.stream, dwords, 4 * nr);
}

#define EXPECT_STREAM(ring, ...)                                                      \
	do {                                                                          \
		const uint32_t expected_[] = { __VA_ARGS__ };                         \
		expect_stream(ring, expected_, sizeof(expected_) / sizeof(uint32_t)); \
	} while (0)

static inline int map_range(uint32_t res, uint64_t size, uint64_t *va)
{
	const struct hsakmt_gpu_range range = { .res_handle = res, .size = size };

	return ops()->map(gpu, &range, va);
}

static inline uint64_t map_it(uint32_t res, uint64_t size)
{
	uint64_t va = 1;

	assert_int_equal(map_range(res, size, &va), 0);
	return va;
}

#endif /* NATIVE_SESSION_H */
