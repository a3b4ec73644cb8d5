// SPDX-License-Identifier: MIT
/*
 * test_userptr_refusals: commands that the userptr core must not take
 */
#include "tests/gpu/userptr_test.h"

/**
 * struct refusal - a CREATE of two pages that differs from a good one
 * @name: for the message
 * @flags: CREATE's
 * @size: CREATE's
 * @segments: CREATE's
 * @entries: CREATE's
 * @present: entries that do follow
 * @pieces: them
 * @answer: what it gets
 */
struct refusal {
	const char *name;
	uint32_t flags;
	uint64_t size;
	uint32_t segments;
	uint32_t entries;
	uint32_t present;
	struct piece pieces[3];
	uint32_t answer;
};

/* Versions of clang-format disagree on macros that are initializers. */
/* clang-format off */
#define A { RAM_BASE, PAGE }
#define B { RAM_BASE + 2 * PAGE, PAGE }
/* clang-format on */

static const struct refusal refusals[] = {
	{ "unknown flag", 2, 2 * PAGE, 2, 2, 2, { A, B }, ERR_PARAM },
	{ "size 0", 0, 0, 2, 2, 2, { A, B }, ERR_PARAM },
	{ "size unaligned", 0, 2 * PAGE + 1, 2, 2, 2, { A, B }, ERR_PARAM },
	{ "size beyond", 0, (1ull << 32) + PAGE, 2, 2, 2, { A, B }, ERR_LIMIT },
	{ "size huge", 0, ~(PAGE - 1), 2, 2, 2, { A, B }, ERR_LIMIT },
	{ "bound beyond", 0, 64 * PAGE, 33, 2, 2, { A, B }, ERR_LIMIT },
	{ "bound huge", 0, 2 * PAGE, ~0u, 2, 2, { A, B }, ERR_LIMIT },
	{ "no entries", 0, 2 * PAGE, 2, 0, 0, { A, B }, ERR_PARAM },
	{ "fewer entries than said", 0, 2 * PAGE, 2, 2, 1, { A, B }, ERR_PARAM },
	{ "more entries than said", 0, 2 * PAGE, 2, 1, 2, { A, B }, ERR_PARAM },
	{ "entries wrap 32 bits", 0, 2 * PAGE, 2, 0x10000002, 2, { A, B }, ERR_PARAM },
	{ "entries beyond", 0, 16 * PAGE, 16, 9, 3, { A, B, A }, ERR_PARAM },
	{ "more entries than the bound", 0, 3 * PAGE, 2, 3, 3, { A, B, A }, ERR_PARAM },
	{ "address unaligned", 0, 2 * PAGE, 2, 2, 2, { A, { RAM_BASE + 512, PAGE } }, ERR_PARAM },
	{ "length unaligned", 0, 2 * PAGE, 2, 2, 2, { A, { RAM_BASE, 512 } }, ERR_PARAM },
	{ "length 0", 0, 2 * PAGE, 2, 2, 2, { A, { RAM_BASE, 0 } }, ERR_PARAM },
	{ "below RAM", 0, 2 * PAGE, 2, 2, 2, { A, { RAM_BASE - PAGE, PAGE } }, ERR_PARAM },
	{ "beyond RAM", 0, 2 * PAGE, 2, 2, 2, { A, { RAM_BASE + RAM_SIZE, PAGE } }, ERR_PARAM },
	{ "ends beyond RAM",
	  0,
	  3 * PAGE,
	  2,
	  2,
	  2,
	  { A, { RAM_BASE + RAM_SIZE - PAGE, 2 * PAGE } },
	  ERR_PARAM },
	{ "wraps", 0, 3 * PAGE, 2, 2, 2, { A, { ~(PAGE - 1), 2 * PAGE } }, ERR_PARAM },
	{ "lengths above size", 0, 2 * PAGE, 2, 2, 2, { A, { RAM_BASE, 2 * PAGE } }, ERR_PARAM },
	{ "behind the last byte", 0, 2 * PAGE, 0, 3, 3, { A, B, A }, ERR_PARAM },
};

static void test_refusals(void **state)
{
	struct core_bench *cb = *state;
	size_t i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal *r = &refusals[i];
		struct virtio_gpu_resource_create_userptr head =
			create_head(9, r->flags, r->size, r->segments, r->entries);
		uint32_t answer = create_raw(cb, &head, r->pieces, r->present);

		if (answer != r->answer)
			fail_msg("%s: 0x%x, not 0x%x", r->name, answer, r->answer);
		assert_failed(cb, 9);
	}
}

static void test_pages_that_cannot_be_had(void **state)
{
	struct piece first = { RAM_BASE, PAGE }, second = { SEAM, PAGE };
	struct core_bench *cb = *state;

	skip_without_populate();
	/* The first half of RAM is the second of the file. */
	assert_int_equal(ftruncate(cb->memory.fd, RAM_SIZE / 2), 0);
	assert_int_equal(create(cb, 1, PAGE, 1, &first, 1), ERR_MEMORY);
	assert_failed(cb, 1);
	assert_int_equal(create(cb, 1, PAGE, 1, &second, 1), OK);
}

static void test_padding(void **state)
{
	struct core_bench *cb = *state;
	struct virtio_gpu_resource_create_userptr head = create_head(9, 0, PAGE, 1, 1);
	struct virtio_gpu_resource_destroy_userptr end = { .resource_id = htole32(9) };
	struct piece page = { RAM_BASE, PAGE };
	struct userptr *userptr;
	unsigned char *cmd;
	size_t len;
	int i;

	cmd = with_entries(&head, sizeof(head), &page, 1, &len);
	cmd[len - 1] = 1; /* the entry's padding */
	assert_int_equal(userptr_create(cb->core, cmd, len, cb), ERR_PARAM);
	assert_failed(cb, 9);
	free(cmd);
	for (i = 0; i < 3; i++) {
		head.hdr.padding[i] = 1;
		assert_int_equal(create_raw(cb, &head, &page, 1), ERR_PARAM);
		assert_failed(cb, 9);
		head.hdr.padding[i] = 0;
	}
	assert_int_equal(create_raw(cb, &head, &page, 1), OK);
	end.padding = htole32(1);
	assert_int_equal(userptr_destroy_check(cb->core, &end, sizeof(end), &userptr), ERR_PARAM);
	end.padding = 0;
	end.hdr.padding[2] = 1;
	assert_int_equal(userptr_destroy_check(cb->core, &end, sizeof(end), &userptr), ERR_PARAM);
	end.hdr.padding[2] = 0;
	assert_int_equal(userptr_destroy_check(cb->core, &end, sizeof(end) - 1, &userptr),
			 ERR_PARAM);
	assert_int_equal(userptr_destroy_check(cb->core, &end, sizeof(end), &userptr), OK);
}

static void test_ids(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };

	cb->blob_id = 5;
	assert_int_equal(create(cb, 0, PAGE, 1, &page, 1), ERR_RESOURCE);
	assert_int_equal(create(cb, 5, PAGE, 1, &page, 1), ERR_RESOURCE);
	assert_null(userptr_find(cb->core, 5));
	assert_int_equal(create(cb, 6, PAGE, 1, &page, 1), OK);
	assert_int_equal(create(cb, 6, 0, 1, &page, 1), ERR_RESOURCE);
	assert_int_equal(userptr_state(userptr_find(cb->core, 6)), USERPTR_USABLE);
	assert_int_equal(add(cb, 77, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(add(cb, 0, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(destroy(cb, 77, NULL), ERR_RESOURCE);
	assert_int_equal(destroy(cb, 5, NULL), ERR_RESOURCE);
	assert_int_equal(cb->nr_destroyed, 0);
}

static void test_add_refusals(void **state)
{
	struct core_bench *cb = *state;
	struct piece two[] = { { RAM_BASE + 2 * PAGE, PAGE }, { RAM_BASE + 4 * PAGE, PAGE } };
	struct piece big = { RAM_BASE, 4 * PAGE };
	struct piece outside = { 0, PAGE };
	struct virtio_gpu_resource_add_userptr_pages head = add_head(3, PAGE, 1);
	unsigned char *cmd;
	size_t len;

	/* A chunk that was lost, and one that came twice. */
	half_built(cb);
	assert_int_equal(add(cb, 3, 2 * PAGE, two, 1), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	assert_int_equal(add(cb, 3, 0, two, 1), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	assert_int_equal(add(cb, 3, PAGE, two, 0), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	assert_int_equal(add(cb, 3, PAGE, &big, 1), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	assert_int_equal(add(cb, 3, PAGE, &outside, 1), ERR_PARAM);
	assert_failed(cb, 3);
	/* Entry missing, byte too many, header padding. */
	cmd = with_entries(&head, sizeof(head), two, 2, &len);
	half_built(cb);
	assert_int_equal(userptr_add_pages(cb->core, cmd, sizeof(head), cb), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	assert_int_equal(userptr_add_pages(cb->core, cmd, len - 15, cb), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	cmd[offsetof(struct virtio_gpu_ctrl_hdr, padding)] = 1;
	assert_int_equal(userptr_add_pages(cb->core, cmd, len - 16, cb), ERR_PARAM);
	assert_failed(cb, 3);
	free(cmd);
}

static void test_short_commands(void **state)
{
	struct core_bench *cb = *state;
	struct virtio_gpu_resource_create_userptr head = create_head(3, 0, PAGE, 1, 1);
	struct virtio_gpu_resource_add_userptr_pages more = add_head(3, 0, 1);

	/* Not even an id to fail. */
	assert_int_equal(userptr_create(cb->core, &head, sizeof(head) - 1, cb), ERR_PARAM);
	assert_null(userptr_find(cb->core, 3));
	assert_int_equal(userptr_add_pages(cb->core, &more, sizeof(more) - 1, cb), ERR_PARAM);
	assert_int_equal(userptr_create(cb->core, &head, sizeof(head), cb), ERR_PARAM);
	assert_failed(cb, 3);
}

static void test_rdonly(void **state)
{
	struct core_bench *cb = *state;
	struct userptr_limits limits = default_limits;
	struct virtio_gpu_resource_create_userptr head =
		create_head(3, VIRTIO_GPU_USERPTR_RDONLY, PAGE, 1, 1);
	struct piece page = { RAM_BASE, PAGE };
	struct core_bench *off;

	assert_int_equal(create_raw(cb, &head, &page, 1), OK);
	assert_true(userptr_backing(userptr_find(cb->core, 3))->readonly);
	limits.rdonly = false;
	off = core_bench_new(&limits, false);
	assert_int_equal(create_raw(off, &head, &page, 1), ERR_UNSUPPORTED);
	assert_failed(off, 3);
	core_bench_free(off);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_that_cannot_be_had, setup, teardown),
		cmocka_unit_test_setup_teardown(test_padding, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_add_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rdonly, setup, teardown),
	};

	return cmocka_run_group_tests_name("userptr_refusals", tests, NULL, NULL);
}
