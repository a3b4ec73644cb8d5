// SPDX-License-Identifier: MIT
/*
 * test_userptr: assembly, refusals, limits and lifetime in the userptr core
 *
 * The core alone, with a host of our own that records what is destroyed.
 */
#include "tests/gpu/gpu_test.h"

#include "gpu/userptr.h"

#define RAM_SIZE (64 * PAGE)
#define SEAM (RAM_BASE + RAM_SIZE / 2)

/**
 * struct core_bench - a core on the bench
 * @memory: guest memory; only that part of it is used
 * @core: it
 * @blob_id: an id that a blob has
 * @destroyed: cookie of the last destroyed resource
 * @nr_destroyed: how many
 * @view_answer: what the view's create returns
 * @extend_answer: what its extend returns
 * @view_waits: the view's quiesce is not done at once
 * @drafts: live ones
 * @extended: how often a draft was
 * @views: live ones
 */
struct core_bench {
	struct bench memory;
	struct userptr_core *core;
	uint32_t blob_id;
	void *destroyed;
	unsigned int nr_destroyed;
	uint32_t view_answer;
	uint32_t extend_answer;
	bool view_waits;
	int drafts;
	unsigned int extended;
	int views;
};

static bool id_in_use(void *opaque, uint32_t id)
{
	struct core_bench *cb = opaque;

	return id == cb->blob_id;
}

static void destroyed(void *opaque, void *cookie)
{
	struct core_bench *cb = opaque;

	cb->destroyed = cookie;
	cb->nr_destroyed++;
}

/* A draft is a count of the runs that it was shown: of memory, so that leaks show. */
static uint32_t view_extend(void *opaque, const struct backing *backing, void **draft)
{
	struct core_bench *cb = opaque;

	if (!*draft) {
		*draft = calloc(1, sizeof(size_t));
		assert_non_null(*draft);
		cb->drafts++;
	}
	assert_null(backing->view);
	assert_true(backing->runs.nr >= *(size_t *)*draft);
	*(size_t *)*draft = backing->runs.nr;
	cb->extended++;
	return cb->extend_answer;
}

static void view_discard(void *opaque, void *draft)
{
	struct core_bench *cb = opaque;

	assert_non_null(draft);
	free(draft);
	cb->drafts--;
}

static uint32_t view_create(void *opaque, const struct backing *backing, void *draft, void **view)
{
	struct core_bench *cb = opaque;

	assert_int_equal(run_list_bytes(&backing->runs), backing->size);
	/* The last chunk was shown, too. */
	assert_int_equal(*(size_t *)draft, backing->runs.nr);
	if (cb->view_answer == OK) {
		view_discard(cb, draft);
		*view = cb;
		cb->views++;
	}
	return cb->view_answer;
}

static bool view_quiesce(void *opaque, struct userptr *userptr, void *view, bool wait)
{
	struct core_bench *cb = opaque;

	(void)userptr;
	assert_ptr_equal(view, cb);
	if (cb->view_waits && !wait)
		return false;
	cb->views--;
	return true;
}

static const struct userptr_view_ops view_ops = { view_extend, view_create, view_discard,
						  view_quiesce };

static const struct userptr_limits default_limits = {
	.max_size = 1ull << 32,
	.max_segments = 32,
	.max_entries = 8,
	.max_total_runs = 40,
	.max_resources = 16,
	.rdonly = true,
};

static struct core_bench *core_bench_new(const struct userptr_limits *limits, bool view)
{
	struct core_bench *cb = calloc(1, sizeof(*cb));
	struct userptr_host host = {
		.opaque = cb,
		.id_in_use = id_in_use,
		.destroyed = destroyed,
		.view = view ? &view_ops : NULL,
	};

	assert_non_null(cb);
	cb->view_answer = OK;
	cb->extend_answer = OK;
	cb->memory.gm = bench_memory(&cb->memory, RAM_SIZE);
	cb->core = userptr_core_new(limits, &host, cb->memory.gm);
	assert_non_null(cb->core);
	return cb;
}

static void core_bench_free(struct core_bench *cb)
{
	userptr_core_free(cb->core);
	assert_int_equal(cb->drafts, 0);
	assert_int_equal(cb->views, 0);
	bench_memory_free(&cb->memory);
	free(cb);
}

static int setup(void **state)
{
	*state = core_bench_new(&default_limits, false);
	return 0;
}

static int setup_view(void **state)
{
	*state = core_bench_new(&default_limits, true);
	return 0;
}

static int teardown(void **state)
{
	core_bench_free(*state);
	return 0;
}

static uint32_t create_raw(struct core_bench *cb,
			   const struct virtio_gpu_resource_create_userptr *head,
			   const struct piece *pieces, unsigned int nr)
{
	size_t len;
	void *cmd = with_entries(head, sizeof(*head), pieces, nr, &len);
	uint32_t ret = userptr_create(cb->core, cmd, len);

	free(cmd);
	return ret;
}

static uint32_t create(struct core_bench *cb, uint32_t id, uint64_t size, uint32_t segments,
		       const struct piece *pieces, unsigned int nr)
{
	struct virtio_gpu_resource_create_userptr head = create_head(id, 0, size, segments, nr);

	return create_raw(cb, &head, pieces, nr);
}

static uint32_t add(struct core_bench *cb, uint32_t id, uint64_t offset, const struct piece *pieces,
		    unsigned int nr)
{
	struct virtio_gpu_resource_add_userptr_pages head = add_head(id, offset, nr);
	size_t len;
	void *cmd = with_entries(&head, sizeof(head), pieces, nr, &len);
	uint32_t ret = userptr_add_pages(cb->core, cmd, len);

	free(cmd);
	return ret;
}

static uint32_t destroy(struct core_bench *cb, uint32_t id, void *cookie)
{
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0),
		.resource_id = htole32(id),
	};
	struct userptr *userptr;
	uint32_t ret = userptr_destroy_check(cb->core, &cmd, sizeof(cmd), &userptr);

	if (ret != OK)
		return ret;
	userptr_destroy_begin(userptr, cookie);
	userptr_destroy_end(userptr);
	return OK;
}

static struct userptr_totals totals(struct core_bench *cb)
{
	struct userptr_totals t;

	userptr_core_totals(cb->core, &t);
	return t;
}

/* It failed, holds nothing, takes only DESTROY, and its id is free then. */
static void assert_failed(struct core_bench *cb, uint32_t id)
{
	struct piece page = { RAM_BASE, PAGE };
	unsigned int before = cb->nr_destroyed;

	assert_non_null(userptr_find(cb->core, id));
	assert_int_equal(userptr_state(userptr_find(cb->core, id)), USERPTR_FAILED);
	assert_int_equal(userptr_backing(userptr_find(cb->core, id))->runs.nr, 0);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).bytes, 0);
	assert_int_equal(add(cb, id, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(create(cb, id, PAGE, 1, &page, 1), ERR_RESOURCE);
	assert_int_equal(destroy(cb, id, cb), OK);
	assert_int_equal(cb->nr_destroyed, before + 1);
	assert_null(userptr_find(cb->core, id));
}

static void test_one_command(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = {
		{ RAM_BASE + 4 * PAGE, 2 * PAGE },
		{ RAM_BASE, PAGE },
		{ RAM_BASE + 8 * PAGE, PAGE },
	};
	struct userptr *userptr;
	uint64_t left;

	assert_int_equal(create(cb, 7, 4 * PAGE, 3, pieces, 3), OK);
	userptr = userptr_find(cb->core, 7);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr)->size, 4 * PAGE);
	assert_false(userptr_backing(userptr)->readonly);
	assert_int_equal(userptr_backing(userptr)->runs.nr, 3);
	/* The runs are in the order of the entries. */
	*bench_at(&cb->memory, RAM_BASE + 5) = 0xa5;
	assert_int_equal(*(unsigned char *)run_list_piece(&userptr_backing(userptr)->runs,
							  2 * PAGE + 5, &left),
			 0xa5);
	assert_int_equal(left, PAGE - 5);
	assert_int_equal(totals(cb).segments, 3);
	assert_int_equal(totals(cb).runs, 3);
	assert_int_equal(totals(cb).bytes, 4 * PAGE);
	assert_int_equal(totals(cb).created, 1);
	assert_int_equal(destroy(cb, 7, &left), OK);
	assert_ptr_equal(cb->destroyed, &left);
	assert_int_equal(totals(cb).resources, 0);
	assert_int_equal(totals(cb).segments, 0);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).bytes, 0);
	assert_int_equal(cb->nr_destroyed, 1);
}

static void test_chunks(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[12];
	struct userptr *userptr;
	unsigned int i;

	for (i = 0; i < 12; i++)
		pieces[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(create(cb, 1, 12 * PAGE, 12, pieces, 5), OK);
	userptr = userptr_find(cb->core, 1);
	assert_int_equal(userptr_state(userptr), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, 5 * PAGE, pieces + 5, 6), OK);
	assert_int_equal(userptr_state(userptr), USERPTR_HALF_BUILT);
	assert_int_equal(totals(cb).created, 0);
	assert_int_equal(add(cb, 1, 11 * PAGE, pieces + 11, 1), OK);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr)->runs.nr, 12);
	/* Complete: one more is refused, and does it no harm. */
	assert_int_equal(add(cb, 1, 12 * PAGE, pieces, 1), ERR_RESOURCE);
	assert_int_equal(userptr_state(userptr), USERPTR_USABLE);
	assert_int_equal(totals(cb).segments, 12);
}

/* No bound: as many chunks as it takes, up to what the device takes of any. */
static void test_no_bound(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(create(cb, 1, 7 * PAGE, 0, pieces, 3), OK);
	assert_int_equal(add(cb, 1, 3 * PAGE, pieces + 3, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, 4 * PAGE, pieces + 4, 3), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_USABLE);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 1))->runs.nr, 7);
	assert_int_equal(totals(cb).created_segments, 7);
	assert_int_equal(destroy(cb, 1, NULL), OK);
	/* One entry more than max_segments, all in runs that are few. */
	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + i * PAGE, PAGE };
	assert_int_equal(create(cb, 2, 33 * PAGE, 0, pieces, 8), OK);
	for (i = 1; i < 4; i++)
		assert_int_equal(add(cb, 2, i * 8 * PAGE, pieces, 8), OK);
	assert_int_equal(add(cb, 2, 32 * PAGE, pieces, 1), ERR_LIMIT);
	assert_failed(cb, 2);
	assert_int_equal(totals(cb).segments, 0);
}

/* A bound promises nothing: fewer will do, and it may be out of all proportion. */
static void test_bound_not_reached(void **state)
{
	struct core_bench *cb = *state;
	struct piece two[] = { { RAM_BASE, PAGE }, { RAM_BASE + 2 * PAGE, PAGE } };
	struct piece flat = { RAM_BASE, 4 * PAGE };

	assert_int_equal(create(cb, 1, 2 * PAGE, 32, two, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, PAGE, two + 1, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_USABLE);
	assert_int_equal(create(cb, 2, 4 * PAGE, 4, &flat, 1), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 2)), USERPTR_USABLE);
	assert_int_equal(totals(cb).segments, 3);
	assert_int_equal(totals(cb).created, 2);
	/* Only what the device never takes of any is refused. */
	assert_int_equal(create(cb, 3, 2 * PAGE, 33, two, 2), ERR_LIMIT);
	assert_int_equal(userptr_state(userptr_find(cb->core, 3)), USERPTR_FAILED);
}

static void test_bound_exceeded(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = { { RAM_BASE, PAGE },
				  { RAM_BASE + 2 * PAGE, PAGE },
				  { RAM_BASE + 4 * PAGE, PAGE } };

	assert_int_equal(create(cb, 1, 3 * PAGE, 2, pieces, 3), ERR_PARAM);
	assert_failed(cb, 1);
	assert_int_equal(create(cb, 1, 4 * PAGE, 2, pieces, 1), OK);
	assert_int_equal(add(cb, 1, PAGE, pieces + 1, 2), ERR_PARAM);
	assert_failed(cb, 1);
	/* Used up, and bytes are missing: there is no entry that could bring them. */
	assert_int_equal(create(cb, 1, 3 * PAGE, 2, pieces, 2), OK);
	assert_int_equal(userptr_state(userptr_find(cb->core, 1)), USERPTR_HALF_BUILT);
	assert_int_equal(add(cb, 1, 2 * PAGE, pieces + 2, 1), ERR_PARAM);
	assert_failed(cb, 1);
	assert_int_equal(totals(cb).segments, 0);
}

/* The last byte ends it: what follows in the same command is an error. */
static void test_entries_behind_the_last_byte(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = { { RAM_BASE, PAGE },
				  { RAM_BASE + 2 * PAGE, PAGE },
				  { RAM_BASE + 4 * PAGE, PAGE },
				  { RAM_BASE + 6 * PAGE, 0 } };
	uint32_t bound;

	for (bound = 0; bound <= 4; bound += 4) {
		assert_int_equal(create(cb, 1, 2 * PAGE, bound, pieces, 3), ERR_PARAM);
		assert_failed(cb, 1);
		assert_int_equal(create(cb, 1, 2 * PAGE, bound, pieces, 1), OK);
		assert_int_equal(add(cb, 1, PAGE, pieces + 1, 2), ERR_PARAM);
		assert_failed(cb, 1);
		/* Also if it is an entry of nothing. */
		assert_int_equal(create(cb, 1, 3 * PAGE, bound, pieces, 4), ERR_PARAM);
		assert_failed(cb, 1);
	}
	assert_int_equal(totals(cb).created, 0);
	assert_int_equal(totals(cb).segments, 0);
}

static void test_merging(void **state)
{
	struct core_bench *cb = *state;
	/* Adjacent in the file, across entries and chunks. */
	struct piece adjacent[] = { { RAM_BASE, PAGE },
				    { RAM_BASE + PAGE, 2 * PAGE },
				    { RAM_BASE + 3 * PAGE, PAGE } };
	/* Adjacent in guest addresses, but not in the file. */
	struct piece seam[] = { { SEAM - PAGE, PAGE }, { SEAM, PAGE } };
	struct piece across = { SEAM - PAGE, 2 * PAGE };
	/* The two ends of guest RAM are adjacent in the file. */
	struct piece wrapped[] = { { RAM_BASE + RAM_SIZE - PAGE, PAGE }, { RAM_BASE, PAGE } };

	assert_int_equal(create(cb, 1, 4 * PAGE, 3, adjacent, 2), OK);
	assert_int_equal(add(cb, 1, 3 * PAGE, adjacent + 2, 1), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 1))->runs.nr, 1);
	assert_int_equal(create(cb, 2, 2 * PAGE, 2, seam, 2), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 2))->runs.nr, 2);
	assert_int_equal(create(cb, 3, 2 * PAGE, 1, &across, 1), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 3))->runs.nr, 2);
	assert_int_equal(create(cb, 4, 2 * PAGE, 2, wrapped, 2), OK);
	assert_int_equal(userptr_backing(userptr_find(cb->core, 4))->runs.nr, 1);
	assert_int_equal(totals(cb).segments, 3 + 2 + 1 + 2);
	assert_int_equal(totals(cb).runs, 1 + 2 + 2 + 1);
}

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
	assert_int_equal(userptr_create(cb->core, cmd, len), ERR_PARAM);
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

static void half_built(struct core_bench *cb)
{
	struct piece page = { RAM_BASE, PAGE };

	assert_int_equal(create(cb, 3, 4 * PAGE, 4, &page, 1), OK);
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
	assert_int_equal(userptr_add_pages(cb->core, cmd, sizeof(head)), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	assert_int_equal(userptr_add_pages(cb->core, cmd, len - 15), ERR_PARAM);
	assert_failed(cb, 3);
	half_built(cb);
	cmd[offsetof(struct virtio_gpu_ctrl_hdr, padding)] = 1;
	assert_int_equal(userptr_add_pages(cb->core, cmd, len - 16), ERR_PARAM);
	assert_failed(cb, 3);
	free(cmd);
}

static void test_short_commands(void **state)
{
	struct core_bench *cb = *state;
	struct virtio_gpu_resource_create_userptr head = create_head(3, 0, PAGE, 1, 1);
	struct virtio_gpu_resource_add_userptr_pages more = add_head(3, 0, 1);

	/* Not even an id to fail. */
	assert_int_equal(userptr_create(cb->core, &head, sizeof(head) - 1), ERR_PARAM);
	assert_null(userptr_find(cb->core, 3));
	assert_int_equal(userptr_add_pages(cb->core, &more, sizeof(more) - 1), ERR_PARAM);
	assert_int_equal(userptr_create(cb->core, &head, sizeof(head)), ERR_PARAM);
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

/* Eight entries a resource that do not merge: runs are what is limited. */
static uint32_t create_scattered(struct core_bench *cb, uint32_t id)
{
	struct piece pieces[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		pieces[i] = (struct piece){ RAM_BASE + (2 * i + id % 2) * PAGE, PAGE };
	return create(cb, id, 8 * PAGE, 8, pieces, 8);
}

static void test_limit_total_runs(void **state)
{
	struct core_bench *cb = *state;
	struct piece flat = { RAM_BASE, 8 * PAGE };
	uint32_t id;

	for (id = 1; id <= 5; id++)
		assert_int_equal(create_scattered(cb, id), OK);
	assert_int_equal(totals(cb).runs, 40);
	assert_int_equal(create_scattered(cb, 6), ERR_LIMIT);
	assert_int_equal(userptr_state(userptr_find(cb->core, 6)), USERPTR_FAILED);
	assert_int_equal(create(cb, 7, 8 * PAGE, 1, &flat, 1), ERR_LIMIT);
	assert_int_equal(totals(cb).runs, 40);
	/* What is destroyed makes room, to the last run. */
	assert_int_equal(destroy(cb, 2, NULL), OK);
	assert_int_equal(destroy(cb, 6, NULL), OK);
	assert_int_equal(create_scattered(cb, 6), OK);
	assert_int_equal(totals(cb).runs, 40);
}

static void test_limit_runs_of_one(void **state)
{
	struct userptr_limits limits = default_limits;
	struct piece across = { SEAM - PAGE, 2 * PAGE };
	struct core_bench *cb;

	(void)state;
	/* One entry that crosses the seam is two runs. */
	limits.max_segments = 1;
	cb = core_bench_new(&limits, false);
	assert_int_equal(create(cb, 1, 2 * PAGE, 1, &across, 1), ERR_LIMIT);
	assert_failed(cb, 1);
	core_bench_free(cb);
}

static void test_limit_resources(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	uint32_t id;

	for (id = 1; id <= 16; id++)
		assert_int_equal(create(cb, id * 0x10001, PAGE, 1, &page, 1), OK);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), ERR_LIMIT);
	assert_null(userptr_find(cb->core, 1));
	assert_int_equal(destroy(cb, 0x10001, NULL), OK);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), OK);
}

static void test_destroy_waits_for_holds(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct backing *backing;

	assert_int_equal(create(cb, 4, PAGE, 1, &page, 1), OK);
	backing = userptr_backing(userptr_find(cb->core, 4));
	backing_hold(backing);
	backing_hold(backing);
	assert_int_equal(destroy(cb, 4, &page), OK);
	assert_true(backing_stopped(backing));
	assert_int_equal(cb->nr_destroyed, 0);
	/* The id is in use, and "unknown" would be a lie. */
	assert_int_equal(create(cb, 4, PAGE, 1, &page, 1), ERR_RESOURCE);
	assert_int_equal(destroy(cb, 4, NULL), ERR_PARAM);
	backing_release(backing);
	assert_int_equal(cb->nr_destroyed, 0);
	backing_release(backing);
	assert_int_equal(cb->nr_destroyed, 1);
	assert_ptr_equal(cb->destroyed, &page);
	assert_int_equal(create(cb, 4, PAGE, 1, &page, 1), OK);
}

static void test_destroy_half_built(void **state)
{
	struct core_bench *cb = *state;

	half_built(cb);
	assert_int_equal(totals(cb).runs, 1);
	assert_int_equal(destroy(cb, 3, NULL), OK);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).segments, 0);
	assert_null(userptr_find(cb->core, 3));
}

static void test_view(void **state)
{
	struct core_bench *cb = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct userptr *userptr;

	half_built(cb);
	assert_int_equal(cb->views, 0);
	assert_int_equal(cb->drafts, 1);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), OK);
	assert_int_equal(cb->views, 1);
	assert_int_equal(cb->drafts, 1);
	assert_ptr_equal(userptr_backing(userptr_find(cb->core, 1))->view, cb);
	/* A view that cannot be made fails the resource, with its reason. */
	cb->view_answer = ERR_LIMIT;
	assert_int_equal(create(cb, 2, PAGE, 1, &page, 1), ERR_LIMIT);
	assert_int_equal(userptr_state(userptr_find(cb->core, 2)), USERPTR_FAILED);
	assert_int_equal(cb->drafts, 1);
	assert_int_equal(destroy(cb, 2, NULL), OK);
	/* The end is reported when the view is gone, and not before. */
	cb->view_waits = true;
	cb->nr_destroyed = 0;
	userptr = userptr_find(cb->core, 1);
	assert_int_equal(destroy(cb, 1, &page), OK);
	assert_int_equal(cb->nr_destroyed, 0);
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), ERR_RESOURCE);
	cb->views--;
	userptr_view_gone(userptr);
	assert_int_equal(cb->nr_destroyed, 1);
	/* Left for the reset in teardown: a live view, and a draft. */
	cb->view_answer = OK;
	assert_int_equal(create(cb, 1, PAGE, 1, &page, 1), OK);
	assert_int_equal(cb->drafts, 1);
}

/* Every chunk is worked on when it comes, and nothing of it outlives a failure. */
static void test_drafts(void **state)
{
	struct core_bench *cb = *state;
	struct piece pieces[] = { { RAM_BASE, PAGE }, { RAM_BASE + 2 * PAGE, PAGE }, { 0, PAGE } };

	half_built(cb);
	assert_int_equal(cb->extended, 1);
	assert_int_equal(add(cb, 3, PAGE, pieces, 2), OK);
	assert_int_equal(cb->extended, 2);
	assert_int_equal(cb->views, 0);
	assert_int_equal(add(cb, 3, 3 * PAGE, pieces, 1), OK);
	assert_int_equal(cb->extended, 3);
	assert_int_equal(cb->views, 1);
	assert_int_equal(cb->drafts, 0);
	assert_int_equal(destroy(cb, 3, NULL), OK);
	/* Refused by the core in the middle of a chunk. */
	half_built(cb);
	assert_int_equal(add(cb, 3, PAGE, pieces + 1, 2), ERR_PARAM);
	assert_int_equal(cb->drafts, 0);
	assert_failed(cb, 3);
	/* Refused by the view, with its reason, long before the last byte. */
	half_built(cb);
	cb->extend_answer = ERR_LIMIT;
	assert_int_equal(add(cb, 3, PAGE, pieces, 1), ERR_LIMIT);
	assert_int_equal(cb->drafts, 0);
	assert_failed(cb, 3);
	assert_int_equal(create(cb, 3, 4 * PAGE, 0, pieces, 2), ERR_LIMIT);
	assert_int_equal(cb->drafts, 0);
	assert_failed(cb, 3);
	assert_int_equal(cb->views, 0);
	cb->extend_answer = OK;
	/* Given up by the guest. */
	half_built(cb);
	assert_int_equal(cb->drafts, 1);
	assert_int_equal(destroy(cb, 3, NULL), OK);
	assert_int_equal(cb->drafts, 0);
	assert_int_equal(totals(cb).segments, 0);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).bytes, 0);
	assert_int_equal(totals(cb).resources, 0);
}

static uint64_t fuzz_state;

static uint32_t fuzz(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return (uint32_t)(fuzz_state >> 11) % below;
}

/* Mostly sensible numbers, so that good paths are taken too. */
static uint32_t fuzz_command(struct core_bench *cb, unsigned char *cmd)
{
	struct virtio_gpu_mem_entry entries[9];
	uint32_t nr = fuzz(20) ? 1 + fuzz(3) : fuzz(10);
	uint32_t id = fuzz(6);
	size_t head_len, len;
	unsigned char *exact;
	uint32_t i, ret;
	bool make = fuzz(2);

	for (i = 0; i < nr && i < 9; i++) {
		entries[i].addr = htole64(fuzz(50) ? RAM_BASE + fuzz(64) * PAGE : fuzz_state);
		entries[i].length = htole32(fuzz(50) ? PAGE << !fuzz(8) : fuzz(4) * 2048);
		entries[i].padding = htole32(!fuzz(100));
	}
	if (make) {
		uint32_t pages = fuzz(2) ? nr : nr + fuzz(4);
		uint32_t bound = fuzz(2) ? 0 : fuzz(10) ? pages : fuzz(40);
		struct virtio_gpu_resource_create_userptr head =
			create_head(id, fuzz(30) ? 0 : fuzz(4), pages * PAGE, bound, nr);

		memcpy(cmd, &head, head_len = sizeof(head));
	} else {
		struct userptr *userptr = userptr_find(cb->core, id);
		uint64_t at = userptr && fuzz(10) ?
				      run_list_bytes(&userptr_backing(userptr)->runs) :
				      fuzz(4) * PAGE;
		struct virtio_gpu_resource_add_userptr_pages head = add_head(id, at, nr);

		memcpy(cmd, &head, head_len = sizeof(head));
	}
	memcpy(cmd + head_len, entries, nr * sizeof(entries[0]));
	len = head_len + nr * sizeof(entries[0]);
	if (!fuzz(20))
		cmd[fuzz((uint32_t)len)] ^= (unsigned char)(1 << fuzz(8));
	if (!fuzz(40))
		len = fuzz((uint32_t)len + 1);
	/* Of exactly its size, so that a read past the end is found. */
	exact = malloc(len + !len);
	assert_non_null(exact);
	memcpy(exact, cmd, len);
	ret = make ? userptr_create(cb->core, exact, len) : userptr_add_pages(cb->core, exact, len);
	free(exact);
	return ret;
}

/* What must hold whatever the guest says. */
static void check_invariants(struct core_bench *cb)
{
	uint64_t runs = 0, bytes = 0;
	int drafts = 0, views = 0;
	uint32_t id;

	for (id = 1; id < 6; id++) {
		struct userptr *userptr = userptr_find(cb->core, id);
		struct backing *backing = userptr ? userptr_backing(userptr) : NULL;

		if (!userptr)
			continue;
		runs += backing->runs.nr;
		bytes += run_list_bytes(&backing->runs);
		drafts += userptr_state(userptr) == USERPTR_HALF_BUILT;
		views += userptr_state(userptr) == USERPTR_USABLE;
		if (userptr_state(userptr) == USERPTR_HALF_BUILT)
			assert_true(run_list_bytes(&backing->runs) < backing->size);
		if (userptr_state(userptr) == USERPTR_USABLE)
			assert_int_equal(run_list_bytes(&backing->runs), backing->size);
		if (userptr_state(userptr) == USERPTR_FAILED)
			assert_int_equal(backing->runs.nr, 0);
	}
	assert_true(runs <= totals(cb).runs && totals(cb).runs <= 40);
	assert_true(bytes <= totals(cb).bytes);
	assert_true(drafts <= cb->drafts && cb->drafts <= (int)totals(cb).resources);
	assert_true(views <= cb->views && cb->views <= (int)totals(cb).resources);
}

static void test_hostile(void **state)
{
	struct core_bench *cb = *state;
	const char *given = getenv("FUZZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	unsigned int accepted = 0, i;
	unsigned char cmd[512];

	print_message("FUZZ_SEED=%llu\n", (unsigned long long)seed);
	fuzz_state = seed | 1;
	for (i = 0; i < 200000; i++) {
		uint32_t id = fuzz(6);

		if (fuzz_command(cb, cmd) == OK)
			accepted++;
		check_invariants(cb);
		if (!fuzz(3))
			destroy(cb, id, NULL);
	}
	/* A loop in which nothing succeeds would prove nothing. */
	assert_true(accepted > 1000);
	assert_true(totals(cb).created > 500);
	assert_true(cb->nr_destroyed > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_bound, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_bound_not_reached, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound_exceeded, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_entries_behind_the_last_byte, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_merging, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_that_cannot_be_had, setup, teardown),
		cmocka_unit_test_setup_teardown(test_padding, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_add_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rdonly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit_total_runs, setup, teardown),
		cmocka_unit_test(test_limit_runs_of_one),
		cmocka_unit_test_setup_teardown(test_limit_resources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_waits_for_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_half_built, setup, teardown),
		cmocka_unit_test_setup_teardown(test_view, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_drafts, setup_view, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup_view, teardown),
	};

	return cmocka_run_group_tests_name("userptr", tests, NULL, NULL);
}
