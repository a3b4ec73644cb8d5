// SPDX-License-Identifier: MIT
/*
 * test_drm_guard: hostile command streams of native contexts
 *
 * Streams are built byte by byte, in a buffer of exactly their size, so that
 * reading past the end is found by the sanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu.h>

#include "renderer/virgl/drm_guard.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define ERR_PARAM VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define ERR_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID

#define QUERY_INFO 1
#define GEM_NEW 2
#define BO_VA_OP 3
#define CS_SUBMIT 4
#define SET_METADATA 5
#define BO_QUERY_INFO 6

#define KNOWN 7
#define OTHER 9
#define UNKNOWN 8

#define MAX_STREAM 8192

/**
 * struct stream - under construction
 * @bytes: it
 * @size: so far
 * @command: offset of the last command
 */
struct stream {
	unsigned char bytes[MAX_STREAM];
	size_t size;
	size_t command;
};

static struct drm_guard guard;

static int setup(void **state)
{
	(void)state;
	guard = (struct drm_guard){ .type = DRM_CONTEXT_AMDGPU };
	assert_int_equal(drm_guard_add(&guard, KNOWN), 0);
	assert_int_equal(drm_guard_add(&guard, OTHER), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	drm_guard_destroy(&guard);
	return 0;
}

static void put(struct stream *stream, size_t offset, uint32_t value)
{
	value = htole32(value);
	memcpy(stream->bytes + stream->command + offset, &value, sizeof(value));
}

static void begin(struct stream *stream, uint32_t cmd, uint32_t len)
{
	stream->command = stream->size;
	memset(stream->bytes + stream->size, 0, len);
	stream->size += len;
	put(stream, 0, cmd);
	put(stream, 4, len);
}

static uint32_t check(const struct stream *stream)
{
	unsigned char *exact = malloc(stream->size ? stream->size : 1);
	uint32_t ret;

	assert_non_null(exact);
	memcpy(exact, stream->bytes, stream->size);
	ret = drm_guard_check(&guard, exact, stream->size);
	free(exact);
	return ret;
}

static uint32_t check_one(uint32_t cmd, uint32_t len, uint32_t offset, uint32_t id)
{
	struct stream stream = { .size = 0 };

	begin(&stream, cmd, len);
	if (offset)
		put(&stream, offset, id);
	return check(&stream);
}

static void test_resources(void **state)
{
	(void)state;
	assert_int_equal(check_one(BO_VA_OP, 64, 56, KNOWN), OK);
	assert_int_equal(check_one(BO_VA_OP, 64, 56, UNKNOWN), ERR_RESOURCE);
	assert_int_equal(check_one(BO_VA_OP, 64, 56, 0), ERR_RESOURCE);
	assert_int_equal(check_one(SET_METADATA, 40, 32, KNOWN), OK);
	assert_int_equal(check_one(SET_METADATA, 40, 32, UNKNOWN), ERR_RESOURCE);
	assert_int_equal(check_one(BO_QUERY_INFO, 24, 16, KNOWN), OK);
	assert_int_equal(check_one(BO_QUERY_INFO, 24, 16, UNKNOWN), ERR_RESOURCE);
	/* These name none. */
	assert_int_equal(check_one(QUERY_INFO, 48, 0, 0), OK);
	assert_int_equal(check_one(GEM_NEW, 56, 0, 0), OK);
}

static void test_sparse(void **state)
{
	struct stream stream = { .size = 0 };

	(void)state;
	begin(&stream, BO_VA_OP, 64);
	put(&stream, 40, 1);
	assert_int_equal(check(&stream), OK);
	/* Only that flag means it, and only where it is. */
	put(&stream, 40, 2);
	assert_int_equal(check(&stream), ERR_RESOURCE);
	put(&stream, 40, 0);
	put(&stream, 44, 1);
	assert_int_equal(check(&stream), ERR_RESOURCE);
}

/* The library fills up what is missing, so resource 0 is named. */
static void test_short(void **state)
{
	uint32_t len;

	(void)state;
	for (len = 16; len < 64; len += 8)
		assert_int_equal(check_one(BO_VA_OP, len, 0, 0), ERR_RESOURCE);
	assert_int_equal(check_one(SET_METADATA, 32, 0, 0), ERR_RESOURCE);
	assert_int_equal(check_one(BO_QUERY_INFO, 16, 0, 0), ERR_RESOURCE);
	assert_int_equal(check_one(CS_SUBMIT, 16, 0, 0), ERR_PARAM);
	assert_int_equal(check_one(CS_SUBMIT, 24, 20, 0), ERR_PARAM);
}

static void test_headers(void **state)
{
	static const uint32_t bad[] = {
		0, 1, 8, 15, 17, 20, 28, 72, 0x10000, 0xfffffff8, 0xffffffff
	};
	struct stream stream = { .size = 0 };
	size_t i;

	(void)state;
	assert_int_equal(check(&stream), OK);
	begin(&stream, GEM_NEW, 64);
	assert_int_equal(check(&stream), OK);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(&stream, 4, bad[i]);
		assert_int_equal(check(&stream), ERR_PARAM);
	}
	put(&stream, 4, 64);
	put(&stream, 12, 4);
	assert_int_equal(check(&stream), ERR_PARAM);
	put(&stream, 12, 8);
	assert_int_equal(check(&stream), OK);
	/* What is left over is no command. */
	for (stream.size = 65; stream.size < 80; stream.size++)
		assert_int_equal(check(&stream), ERR_PARAM);
	for (stream.size = 1; stream.size < 64; stream.size++)
		assert_int_equal(check(&stream), ERR_PARAM);
}

static void test_second_command(void **state)
{
	struct stream stream = { .size = 0 };

	(void)state;
	begin(&stream, BO_VA_OP, 64);
	put(&stream, 56, KNOWN);
	begin(&stream, BO_VA_OP, 64);
	put(&stream, 56, OTHER);
	assert_int_equal(check(&stream), OK);
	put(&stream, 56, UNKNOWN);
	assert_int_equal(check(&stream), ERR_RESOURCE);
}

static void test_forgets(void **state)
{
	(void)state;
	assert_int_equal(drm_guard_add(&guard, KNOWN), 0);
	drm_guard_remove(&guard, KNOWN);
	assert_int_equal(check_one(BO_VA_OP, 64, 56, KNOWN), ERR_RESOURCE);
	assert_int_equal(check_one(BO_VA_OP, 64, 56, OTHER), OK);
	drm_guard_remove(&guard, KNOWN);
	assert_int_equal(drm_guard_add(&guard, UNKNOWN), 0);
	assert_int_equal(check_one(BO_VA_OP, 64, 56, UNKNOWN), OK);
}

/* A submission with two chunks of @len bytes each behind their descriptors. */
static void begin_submit(struct stream *stream, uint32_t type, uint32_t len)
{
	uint32_t i;

	*stream = (struct stream){ .size = 0 };
	begin(stream, CS_SUBMIT, 32 + 2 * 8 + 2 * len);
	put(stream, 20, 2);
	put(stream, 28, 1);
	for (i = 0; i < 2; i++) {
		put(stream, 32 + i * 8, type | len / 4 << 16);
		put(stream, 32 + i * 8 + 4, i * len);
	}
}

static void test_buffer_list(void **state)
{
	struct stream stream;
	uint32_t at;

	(void)state;
	begin_submit(&stream, 6, 24);
	for (at = 0; at < 6; at++)
		put(&stream, 48 + at * 8, at % 2 ? KNOWN : OTHER);
	assert_int_equal(check(&stream), OK);
	for (at = 0; at < 6; at++) {
		put(&stream, 48 + at * 8, UNKNOWN);
		assert_int_equal(check(&stream), ERR_RESOURCE);
		put(&stream, 48 + at * 8, KNOWN);
	}
	assert_int_equal(check(&stream), OK);
	/* Half an entry. */
	put(&stream, 32, 6 | 5 << 16);
	assert_int_equal(check(&stream), ERR_PARAM);
}

static void test_user_fence(void **state)
{
	struct stream stream;

	(void)state;
	begin_submit(&stream, 2, 8);
	put(&stream, 48, KNOWN);
	put(&stream, 56, OTHER);
	assert_int_equal(check(&stream), OK);
	put(&stream, 56, UNKNOWN);
	assert_int_equal(check(&stream), ERR_RESOURCE);
	put(&stream, 32, 2 | 4 << 16);
	assert_int_equal(check(&stream), ERR_PARAM);
}

static void test_chunks(void **state)
{
	struct stream stream;

	(void)state;
	/* Chunks of commands name nothing, wherever their bytes are. */
	begin_submit(&stream, 1, 32);
	assert_int_equal(check(&stream), OK);
	put(&stream, 36, 32);
	assert_int_equal(check(&stream), OK);
	put(&stream, 36, 33);
	assert_int_equal(check(&stream), ERR_PARAM);
	put(&stream, 36, 0xffffffe0);
	assert_int_equal(check(&stream), ERR_PARAM);
	put(&stream, 36, 0);
	put(&stream, 32, 1 | 0xffffu << 16);
	assert_int_equal(check(&stream), ERR_PARAM);
	begin_submit(&stream, 1, 32);
	put(&stream, 20, 129);
	assert_int_equal(check(&stream), ERR_PARAM);
	put(&stream, 20, 11);
	assert_int_equal(check(&stream), ERR_PARAM);
	put(&stream, 20, 0xffffffff);
	assert_int_equal(check(&stream), ERR_PARAM);
	/* A list of buffers must lie where the library reads it. */
	begin_submit(&stream, 6, 8);
	put(&stream, 48, KNOWN);
	put(&stream, 56, KNOWN);
	assert_int_equal(check(&stream), OK);
	put(&stream, 36, 2);
	assert_int_equal(check(&stream), ERR_PARAM);
}

static void test_rings(void **state)
{
	struct stream stream;

	(void)state;
	begin_submit(&stream, 1, 32);
	assert_int_equal(drm_guard_fence_ring(&guard, 0), 0);
	assert_int_equal(drm_guard_fence_ring(&guard, 1), 0);
	drm_guard_executed(&guard, stream.bytes, stream.size);
	assert_int_equal(drm_guard_fence_ring(&guard, 1), 1);
	assert_int_equal(drm_guard_fence_ring(&guard, 2), 0);
	assert_int_equal(drm_guard_fence_ring(&guard, 64), 0);
	assert_int_equal(drm_guard_fence_ring(&guard, 0xffffffff), 0);
	put(&stream, 28, 63);
	assert_int_equal(check(&stream), OK);
	drm_guard_executed(&guard, stream.bytes, stream.size);
	assert_int_equal(drm_guard_fence_ring(&guard, 63), 63);
	put(&stream, 28, 64);
	assert_int_equal(check(&stream), ERR_PARAM);
	put(&stream, 28, 0);
	assert_int_equal(check(&stream), ERR_PARAM);
}

/* Of other types only the shape is known. */
static void test_other_types(void **state)
{
	struct drm_guard msm = { .type = DRM_CONTEXT_MSM };
	struct stream stream = { .size = 0 };

	(void)state;
	begin(&stream, BO_VA_OP, 20);
	assert_int_equal(check(&stream), ERR_PARAM);
	assert_int_equal(drm_guard_check(&msm, stream.bytes, stream.size), OK);
	assert_int_equal(drm_guard_check(&msm, stream.bytes, stream.size - 4), ERR_PARAM);
	assert_int_equal(drm_guard_fence_ring(&msm, 3), 3);
}

static void test_type(void **state)
{
	unsigned char capset[24] = { [16] = 2 };

	(void)state;
	assert_int_equal(drm_guard_type(capset, sizeof(capset)), DRM_CONTEXT_AMDGPU);
	assert_int_equal(drm_guard_type(capset, 20), DRM_CONTEXT_AMDGPU);
	assert_int_equal(drm_guard_type(capset, 19), DRM_CONTEXT_NONE);
}

/* Anything at all: no access past the end, and what passes names only what is known. */
static void test_random(void **state)
{
	uint64_t x = 88172645463325252ull;
	struct stream stream;
	unsigned int i, at, passed = 0;

	(void)state;
	for (i = 0; i < 200000; i++) {
		stream.size = 0;
		for (at = 0; at < 2; at++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			begin(&stream, x & 7, 16 + (x >> 8 & 15) * 8);
			put(&stream, 20, x >> 16 & 3);
			put(&stream, 28, x >> 18 & 1);
			put(&stream, 32, (x >> 20 & 7) | (x >> 24 & 7) << 16);
			put(&stream, 36, x >> 28 & 31);
			put(&stream, 40, x >> 33 & 15);
			put(&stream, 56, x >> 37 & 15);
			if (x >> 63)
				put(&stream, 4, (uint32_t)(x >> 40) & 0xff);
		}
		passed += check(&stream) == OK;
	}
	/* Both ways were taken. */
	assert_true(passed > 1000);
	assert_true(passed < 190000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_resources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sparse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buffer_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_user_fence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_type, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
