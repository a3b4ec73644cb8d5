// SPDX-License-Identifier: MIT
/*
 * test_gpu_blobs: blobs of guest memory, beside userptr resources
 */
#include "tests/gpu/device_test.h"

static void test_blobs(void **state)
{
	struct bench *bench = *state;
	const uint32_t guest = VIRTIO_GPU_BLOB_MEM_GUEST;
	struct piece p[] = { { RAM_BASE + 1, 10 }, { RAM_BASE + PAGE, 20 } };
	struct piece outside = { RAM_BASE - 1, 10 };
	struct piece wraps = { ~0ull - 3, 10 };
	struct piece empty[] = { { RAM_BASE, 10 }, { RAM_BASE, 0 } };
	struct virtio_gpu_resource_create_blob head = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 0),
		.resource_id = htole32(5),
		.blob_mem = htole32(guest),
		.nr_entries = htole32(1),
		.size = htole64(10),
	};
	unsigned char *cmd;
	size_t len;

	assert_int_equal(do_blob(bench, 1, guest, 25, p, 2), OK);
	assert_int_equal(do_blob(bench, 1, guest, 25, p, 2), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 0, guest, 25, p, 2), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 2, guest, 31, p, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 0, p, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 25, p, 0), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 10, &outside, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 10, &wraps, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 10, empty, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_HOST3D, 10, p, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 10, p, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, 0, 10, p, 1), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 2), ERR_CONTEXT);
	head.blob_flags = htole32(8);
	cmd = with_entries(&head, sizeof(head), p, 2, &len);
	assert_int_equal(bench_do(bench, cmd, len - 16), ERR_PARAM);
	memset(cmd + offsetof(struct virtio_gpu_resource_create_blob, blob_flags), 0, 4);
	assert_int_equal(bench_do(bench, cmd, len), ERR_PARAM);
	assert_int_equal(bench_do(bench, cmd, len - 17), ERR_PARAM);
	assert_int_equal(bench_do(bench, cmd, len - 15), ERR_PARAM);
	assert_int_equal(bench_do(bench, cmd, len - 16), OK);
	free(cmd);
	assert_int_equal(do_unref(bench, 5), OK);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 0), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_blob(bench, 1, guest, 25, p, 2), OK);
}

static void test_one_id_space(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };

	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 2, 0, &page, 1), OK);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1),
			 ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 2), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_destroy(bench, 2), OK);
}

static void test_map_blob(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct virtio_gpu_resource_map_blob map = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 0),
		.resource_id = htole32(1),
	};
	struct virtio_gpu_resource_unmap_blob unmap = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 0),
		.resource_id = htole32(1),
	};

	assert_int_equal(DO(bench, map), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(DO(bench, map), ERR_PARAM);
	assert_int_equal(DO(bench, unmap), ERR_PARAM);
}

static void test_limit_runs_with_blobs(void **state)
{
	struct gpu_config config = bench_config();
	struct piece p[6];
	struct bench *bench;
	unsigned int i;

	(void)state;
	config.limits.memory.total_runs = 10;
	bench = bench_new(&config, 1 << 20);
	for (i = 0; i < 6; i++)
		p[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 6), OK);
	assert_int_equal(do_userptr(bench, 2, 0, p, 6), ERR_LIMIT);
	assert_int_equal(do_userptr(bench, 3, 0, p, 4), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 1), ERR_LIMIT);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 6), OK);
	bench_free(bench);
}

static void test_max_entries(void **state)
{
	struct bench *bench = *state;
	struct piece *p = calloc(4097, sizeof(*p));
	unsigned int i;

	assert_non_null(p);
	for (i = 0; i < 4097; i++)
		p[i] = (struct piece){ RAM_BASE + (4096 - i) * PAGE, PAGE };
	assert_int_equal(do_userptr(bench, 1, 0, p, 4096), OK);
	assert_int_equal(do_userptr(bench, 2, 0, p, 4097), ERR_PARAM);
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 4096), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 4097), ERR_PARAM);
	free(p);
}

static void test_blob_memory(void **state)
{
	struct bench *bench = *state;
	struct piece all = { RAM_BASE, (uint32_t)bench->ram_size };
	struct piece twice[2] = { all, { RAM_BASE, PAGE } };

	/* There is no more than all. */
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, twice, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &all, 1), OK);
}

/* Pages that nobody has touched yet, and that cannot be had. */
static void test_blob_memory_missing(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };

	skip_without_populate();
	assert_int_equal(ftruncate(bench->fd, (off_t)(bench->ram_size / 2)), 0);
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), ERR_MEMORY);
	assert_int_equal(do_unref(bench, 3), ERR_RESOURCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_blobs),
		TEST(test_one_id_space),
		TEST(test_map_blob),
		cmocka_unit_test(test_limit_runs_with_blobs),
		TEST(test_max_entries),
		TEST(test_blob_memory),
		TEST(test_blob_memory_missing),
	};

	return cmocka_run_group_tests_name("gpu_blobs", tests, NULL, NULL);
}
