// SPDX-License-Identifier: MIT
/*
 * test_host_visible: where the guest sees the blobs of renderers
 */
#include "tests/gpu/standins.h"

static void test_map(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_resp_map_info info;
	struct answer *map, *unmap;
	unsigned int fds = open_fds();

	assert_int_equal(gpu_device_host_visible(bench->dev), REGION);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 2 * PAGE), OK);
	map = send_map(bench, 5, 8 * PAGE);
	/* The VMM has not done it yet, and does not know of it otherwise. */
	assert_int_equal(map->order, 0);
	assert_true(vmm.asked && !vmm.unmap);
	assert_int_equal(vmm.range.offset, 8 * PAGE);
	assert_int_equal(vmm.range.size, 2 * PAGE);
	assert_int_equal(vmm.file_offset, FILE_OFFSET);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 0);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_int_equal(map->len, sizeof(info));
	memcpy(&info, map->data, sizeof(info));
	assert_int_equal(le32toh(info.map_info), VIRTIO_GPU_MAP_CACHE_WC);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 2 * PAGE);
	assert_int_equal(statistic(bench, "host blobs mapped now: "), 1);
	unmap = send_unmap(bench, 5);
	assert_int_equal(unmap->order, 0);
	assert_true(vmm.asked && vmm.unmap);
	vmm_do(bench);
	assert_int_equal(answer_type(unmap), OK);
	assert_int_equal(vmm.ranges, 0);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 0);
	/* From the first byte to the last. */
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	do_map(bench, 6, REGION - PAGE);
}

static void test_map_refused(void **state)
{
	static const uint64_t offsets[] = {
		1,
		PAGE / 2,
		REGION,
		REGION - PAGE,
		REGION + PAGE,
		UINT64_MAX - PAGE + 1,
		UINT64_MAX - 2 * PAGE + 1,
		UINT64_MAX,
		1ull << 63,
	};
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 2 * PAGE), OK);
	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		assert_refused(send_map(bench, 5, offsets[i]), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, REGION + PAGE), OK);
	assert_refused(send_map(bench, 6, 0), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 7, MAPPABLE, UINT64_MAX - PAGE + 1), OK);
	assert_refused(send_map(bench, 7, 2 * PAGE), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 8, MAPPABLE, PAGE + 1), OK);
	assert_refused(send_map(bench, 8, 0), ERR_PARAM);
	/* Not said to be mappable, or nothing that could be. */
	assert_int_equal(do_host_blob(bench, 1, 9, 0, PAGE), OK);
	assert_refused(send_map(bench, 9, 0), ERR_PARAM);
	assert_int_equal(do_blob(bench, 10, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_refused(send_map(bench, 10, 0), ERR_PARAM);
	assert_refused(send_unmap(bench, 10), ERR_PARAM);
	assert_int_equal(do_userptr(bench, 11, 0, &page, 1), OK);
	assert_refused(send_map(bench, 11, 0), ERR_PARAM);
	assert_refused(send_map(bench, 12, 0), ERR_RESOURCE);
	assert_refused(send_unmap(bench, 12), ERR_RESOURCE);
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	assert_int_equal(fake.exports, 0);
}

static void test_overlap(void **state)
{
	/* In pages, against [8, 12). */
	static const struct {
		unsigned int at;
		unsigned int size;
		bool fits;
	} cases[] = {
		{ 8, 4, false },   { 7, 2, false }, { 11, 2, false }, { 9, 1, false },
		{ 0, 512, false }, { 7, 6, false }, { 6, 2, true },   { 12, 4, true },
	};
	struct bench *bench = *state;
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 4 * PAGE), OK);
	do_map(bench, 5, 8 * PAGE);
	/* It is somewhere already. */
	assert_refused(send_map(bench, 5, 100 * PAGE), ERR_PARAM);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t id = 10 + i;

		assert_int_equal(do_host_blob(bench, 1, id, MAPPABLE, cases[i].size * PAGE), OK);
		if (cases[i].fits)
			do_map(bench, id, cases[i].at * PAGE);
		else
			assert_refused(send_map(bench, id, cases[i].at * PAGE), ERR_PARAM);
	}
	/* Also with one that the VMM has not made yet. */
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 7, MAPPABLE, PAGE), OK);
	send_map(bench, 6, 50 * PAGE);
	assert_refused(send_map(bench, 7, 50 * PAGE), ERR_PARAM);
	vmm_do(bench);
}

static void test_too_many(void **state)
{
	const unsigned int max = HOST_VISIBLE_MAX_MAPPINGS;
	struct bench *bench = *state;
	uint32_t id;

	for (id = 1; id <= max + 1; id++)
		assert_int_equal(do_host_blob(bench, 1, id, MAPPABLE, PAGE), OK);
	for (id = 1; id <= max; id++)
		do_map(bench, id, id * PAGE);
	assert_refused(send_map(bench, max + 1, 0), ERR_MEMORY);
	send_unmap(bench, 7);
	send_map(bench, max + 1, 0);
	vmm_do(bench);
	vmm_do(bench);
	assert_int_equal(statistic(bench, "host blobs mapped now: "), max);
}

static void test_vmm_refuses(void **state)
{
	struct bench *bench = *state;
	struct answer *map;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(map->len, sizeof(struct virtio_gpu_ctrl_hdr));
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	/* The range and the blob are free again. */
	do_map(bench, 6, 0);
	do_map(bench, 5, PAGE);
	/* Not even asked. */
	vmm.refuse = -EOPNOTSUPP;
	assert_int_equal(do_host_blob(bench, 1, 7, MAPPABLE, PAGE), OK);
	assert_int_equal(answer_type(send_map(bench, 7, 2 * PAGE)), ERR_UNSUPPORTED);
	vmm.refuse = 0;
	do_map(bench, 7, 2 * PAGE);
	/* An unmap that fails is an error, and the blob is not mapped for us. */
	map = send_unmap(bench, 7);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_refused(send_unmap(bench, 7), ERR_PARAM);
	assert_int_equal(do_unref(bench, 7), OK);
}

static void test_export_fails(void **state)
{
	struct bench *bench = *state;
	struct answer *unmap;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	fake.export_error = -EOPNOTSUPP;
	assert_refused(send_map(bench, 5, 0), ERR_UNSUPPORTED);
	fake.export_error = -EMFILE;
	assert_refused(send_map(bench, 5, 0), ERR_MEMORY);
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	/* In the queue, with an unmap behind it. */
	fake.export_error = 0;
	send_map(bench, 6, PAGE);
	send_map(bench, 5, 0);
	unmap = send_unmap(bench, 5);
	fake.export_error = -EIO;
	vmm_do(bench);
	assert_int_equal(answer_type(unmap), ERR_PARAM);
	assert_false(vmm.asked);
	fake.export_error = 0;
	do_map(bench, 5, 0);
}

/* The guest need not wait: what it asks for is done in its order. */
static void test_commands_in_a_row(void **state)
{
	struct bench *bench = *state;
	struct answer *a[6];
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, 2 * PAGE), OK);
	a[0] = send_map(bench, 5, 0);
	a[1] = send_unmap(bench, 5);
	a[2] = send_map(bench, 6, 0); /* over what is still there */
	a[3] = send_map(bench, 5, 2 * PAGE);
	a[4] = send_unmap(bench, 6);
	a[5] = send_unmap(bench, 5);
	for (i = 0; i < 6; i++) {
		assert_int_equal(a[i]->order, 0);
		assert_int_equal(vmm.requests, i + 1);
		vmm_do(bench);
		assert_int_equal(answer_type(a[i]), i == 1 || i >= 4 ? OK : MAP_OK);
	}
	assert_false(vmm.asked);
	/* The first fails; the unmap behind it has nothing to do. */
	a[0] = send_map(bench, 5, 0);
	a[1] = send_unmap(bench, 5);
	a[2] = send_map(bench, 6, 0);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(a[0]), ERR_UNSPEC);
	assert_int_equal(answer_type(a[1]), ERR_PARAM);
	assert_false(vmm.unmap);
	vmm_do(bench);
	assert_int_equal(answer_type(a[2]), MAP_OK);
}

static void test_unref_mapped(void **state)
{
	struct bench *bench = *state;
	struct answer *unref;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	do_map(bench, 5, 0);
	unref = send_unref(bench, 5);
	assert_true(vmm.asked && vmm.unmap);
	/* Attached nowhere, but still seen by the guest. */
	assert_int_equal(fake.attached[5], 0);
	assert_true(fake.blob[5]);
	assert_int_equal(unref->order, 0);
	assert_refused(send_map(bench, 5, 0), ERR_RESOURCE);
	assert_refused(send_unmap(bench, 5), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 5), ERR_PARAM);
	vmm_do(bench);
	assert_int_equal(answer_type(unref), OK);
	assert_false(fake.blob[5]);
	assert_int_equal(vmm.ranges, 0);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_unref_while_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *map, *unmap, *unref;

	/* A map that succeeds. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	unref = send_unref(bench, 5);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_true(fake.blob[5] && vmm.asked && vmm.unmap);
	assert_int_equal(unref->order, 0);
	vmm_do(bench);
	assert_int_equal(answer_type(unref), OK);
	assert_false(fake.blob[5]);
	/* One that does not. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	unref = send_unref(bench, 5);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(unref), OK);
	assert_false(vmm.asked);
	/* An unmap of the guest's own. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	unmap = send_unmap(bench, 5);
	unref = send_unref(bench, 5);
	assert_true(fake.blob[5]);
	vmm_do(bench);
	assert_int_equal(answer_type(unmap), OK);
	assert_int_equal(answer_type(unref), OK);
	assert_true(unmap->order < unref->order);
	assert_false(vmm.asked);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	struct answer *unmap;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	do_map(bench, 6, PAGE);
	fake.log[0] = 0;
	vmm_reset(bench);
	/* The VMM takes away what is mapped by itself. */
	assert_false(vmm.asked);
	assert_non_null(strstr(fake.log, "reset0 ctx-"));
	assert_non_null(strstr(fake.log, "end5 "));
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 0);
	/* An unmap that comes too late is of no account. */
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	unmap = send_unmap(bench, 5);
	vmm_reset(bench);
	assert_int_equal(answer_type(unmap), ERR_UNSPEC);
	vmm_fail(bench, -EIO);
	assert_false(vmm.asked);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
}

/* What is mapped after the reset is not the next guest's to see. */
static void test_reset_while_mapping(void **state)
{
	struct bench *bench = *state;
	struct answer *map, *queued;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	queued = send_map(bench, 6, PAGE);
	vmm_reset(bench);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(queued), ERR_UNSPEC);
	assert_int_equal(fake.exports, 1);
	/* The next guest wants the same place, and has to wait. */
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	vmm_do(bench);
	assert_true(vmm.asked && vmm.unmap);
	assert_int_equal(vmm.range.offset, 0);
	assert_int_equal(map->order, 0);
	vmm_do(bench);
	assert_true(vmm.asked && !vmm.unmap);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_int_equal(vmm.ranges, 1);
	/* It was not mapped: then there is nothing to undo. */
	send_unmap(bench, 5);
	vmm_do(bench);
	send_map(bench, 5, 0);
	vmm_reset(bench);
	vmm_fail(bench, -EPIPE);
	assert_false(vmm.asked);
}

/* Two resets over one request of the VMM's. */
static void test_reset_again_and_again(void **state)
{
	struct bench *bench = *state;
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	send_map(bench, 5, 0);
	vmm_reset(bench);
	for (i = 0; i < 3; i++) {
		assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
		assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
		assert_int_equal(send_map(bench, 5, 0)->order, 0);
		vmm_reset(bench);
	}
	assert_int_equal(vmm.requests, 1);
	vmm_do(bench);
	assert_true(vmm.unmap);
	/* And over the one that undoes it. */
	vmm_reset(bench);
	vmm_fail(bench, -EIO);
	assert_false(vmm.asked);
	assert_int_equal(vmm.requests, 2);
}

/* The VMM is gone: first it is said that it will not answer, or first it is the reset. */
static void test_disconnect_while_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *map, *queued;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	queued = send_map(bench, 6, PAGE);
	vmm.refuse = -EOPNOTSUPP;
	vmm_fail(bench, -EPIPE);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(queued), ERR_UNSUPPORTED);
	vmm_reset(bench);
	assert_false(vmm.asked);
	vmm.refuse = 0;
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	send_map(bench, 5, 0);
	vmm_reset(bench);
	vmm_fail(bench, -EPIPE);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	/* And the end of the device while something is asked for. */
	send_unmap(bench, 5);
}

static void test_unasked_for_answer(void **state)
{
	struct bench *bench = *state;

	gpu_device_shmem_done(bench->dev, 0);
	gpu_device_shmem_done(bench->dev, -EIO);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
}

static void test_no_region(void **state)
{
	struct gpu_config config = bench_config();
	struct bench *bench;

	(void)state;
	bench = bench_new_with(&config, 1 << 20, &vmm_ops);
	assert_int_equal(gpu_device_host_visible(bench->dev), 0);
	assert_int_equal(do_host_blob(bench, 0, 5, MAPPABLE, PAGE), OK);
	assert_refused(send_map(bench, 5, 0), ERR_UNSUPPORTED);
	bench_free(bench);
	/* A transport that cannot. */
	config.host_visible = REGION;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(do_host_blob(bench, 0, 5, MAPPABLE, PAGE), OK);
	assert_refused(send_map(bench, 5, 0), ERR_UNSUPPORTED);
	bench_free(bench);
}

static uint64_t fuzz_state;

static uint32_t fuzz(uint32_t n)
{
	fuzz_state = fuzz_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(fuzz_state >> 33) % n;
}

/* What a VMM does: a map may fail, an unmap of nothing does. */
static void fuzz_vmm(struct bench *bench)
{
	if (vmm.unmap ? !vmm.page[vmm.range.offset / PAGE] : !fuzz(4))
		vmm_fail(bench, -EIO);
	else
		vmm_do(bench);
}

static void fuzz_command(struct bench *bench)
{
	struct piece page = { RAM_BASE + fuzz(16) * PAGE, PAGE };
	uint32_t id = 1 + fuzz(8), ctx = 1 + fuzz(4);

	switch (fuzz(10)) {
	case 0:
	case 1:
		do_host_blob(bench, ctx, id, fuzz(4), (1 + fuzz(6)) * PAGE);
		break;
	case 2:
		do_host_guest_blob(bench, ctx, id, PAGE, &page, 1);
		break;
	case 3:
	case 4:
		send_map(bench, id, fuzz(16) * PAGE);
		break;
	case 5:
		send_unmap(bench, id);
		break;
	case 6:
		send_unref(bench, id);
		break;
	case 7:
		fuzz(2) ? do_attach(bench, ctx, id) : do_detach(bench, ctx, id);
		break;
	case 8:
		fuzz(2) ? do_ctx_create(bench, ctx, CAPSET) : do_ctx_destroy(bench, ctx);
		break;
	default:
		if (!fuzz(20))
			vmm_reset(bench);
		fake.export_error = fuzz(8) ? 0 : -EIO;
	}
}

static void test_hostile(void **state)
{
	const char *given = getenv("FUZZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	struct gpu_config config = region_config();
	unsigned int round, i;

	print_message("FUZZ_SEED=%llu\n", (unsigned long long)seed);
	fuzz_state = seed | 1;
	for (round = 0; round < 20; round++) {
		struct bench *bench;

		setup_stand_ins(state);
		bench = bench_new_with(&config, 1 << 20, &vmm_ops);
		for (i = 0; i < MAX_ANSWERS / 2; i++) {
			fuzz_command(bench);
			if (vmm.asked && fuzz(2))
				fuzz_vmm(bench);
		}
		while (vmm.asked)
			fuzz_vmm(bench);
		/* What the guest is told is mapped is what the VMM has mapped. */
		assert_int_equal(statistic(bench, "host blobs mapped now: "), vmm.ranges);
		bench_free(bench);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_map),
		TEST(test_map_refused),
		TEST(test_overlap),
		TEST(test_too_many),
		TEST(test_vmm_refuses),
		TEST(test_export_fails),
		TEST(test_commands_in_a_row),
		TEST(test_unref_mapped),
		TEST(test_unref_while_pending),
		TEST(test_reset),
		TEST(test_reset_while_mapping),
		TEST(test_reset_again_and_again),
		TEST(test_disconnect_while_pending),
		TEST(test_unasked_for_answer),
		BARE_TEST(test_no_region),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("host_visible", tests, NULL, NULL);
}
