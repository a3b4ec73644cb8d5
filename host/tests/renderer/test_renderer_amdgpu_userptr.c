// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_userptr: guest memory in amdgpu native contexts: the GPU reads and
 * writes it, both as a dma-buf and as a range of addresses, and lets go of it
 *
 * Guest memory has a known byte at every place, and a model of it has what should be
 * there: all of it is compared, so that a page that the GPU must not have touched shows.
 */
#include "tests/renderer/amdgpu_client.h"

#ifdef HAVE_AMDGPU

#include "memory/view_stitch.h"

#define NR_PAGES 24u
#define SIZE (NR_PAGES * PAGE)

enum kind { DMABUF, STITCH, NR_KINDS };

/**
 * struct resource - a userptr resource of the device
 * @base: first
 * @idle: no holds are left
 * @first: first page of guest RAM that it may have
 */
struct resource {
	struct backing base;
	bool idle;
	unsigned int first;
};

/**
 * struct scene - two resources and who has them
 * @bench: see there
 * @stitch: makes ranges of addresses
 * @c: a program
 * @a: resource, mapped at VA_FIRST
 * @b: likewise, at VA_SECOND
 * @ids: of both
 * @model: what guest RAM should have
 */
struct scene {
	struct bench *bench;
	struct stitch *stitch;
	struct client c;
	struct resource a;
	struct resource b;
	uint32_t ids[2];
	unsigned char *model;
};

/* ---- resources ---- */

static void on_idle(struct backing *backing)
{
	((struct resource *)backing)->idle = true;
}

/* The page of guest RAM that is page @i of the resource: none is behind the one before it. */
static unsigned int ram_page(const struct resource *r, unsigned int i)
{
	return r->first + 3 * (NR_PAGES - 1 - i);
}

static void make_resource(struct scene *s, struct resource *r, unsigned int first, bool readonly)
{
	unsigned int i;

	*r = (struct resource){
		.base = {
			.id = ++s->bench->last_resource,
			.size = SIZE,
			.readonly = readonly,
			.idle = on_idle,
		},
		.first = first,
	};
	run_list_init(&r->base.runs);
	for (i = 0; i < NR_PAGES; i++) {
		struct run run;

		assert_int_equal(guest_memory_resolve(s->bench->gm,
						      RAM_BASE + ram_page(r, i) * PAGE, PAGE, &run,
						      1),
				 1);
		assert_int_equal(run_list_append(&r->base.runs, &run), 0);
	}
}

static void make_view(struct scene *s, struct resource *r, enum kind kind)
{
	if (kind == DMABUF) {
		struct udmabuf_draft *draft = NULL;
		struct udmabuf_view *view = NULL;

		assert_int_equal(udmabuf_draft_extend(s->bench->udmabuf, &r->base, &draft), OK);
		assert_int_equal(udmabuf_view_create(s->bench->udmabuf, &r->base, draft, NULL, NULL,
						     &view),
				 OK);
		r->base.view = udmabuf_view_base(view);
	} else {
		struct stitch_draft *draft = NULL;
		struct stitch_view *view = NULL;

		assert_int_equal(stitch_draft_extend(s->stitch, &r->base, &draft), OK);
		assert_int_equal(stitch_view_create(s->stitch, &r->base, draft, NULL, NULL, &view),
				 OK);
		r->base.view = stitch_view_base(view);
	}
	assert_true(memory_view_alone(r->base.view));
}

static void new_resource(struct scene *s, struct resource *r, unsigned int first, bool readonly,
			 enum kind kind)
{
	make_resource(s, r, first, readonly);
	make_view(s, r, kind);
}

static int try_attach(struct client *c, struct resource *r)
{
	int ret;

	assert_int_equal(id_table_insert(&c->base->resources, r->base.id, &r->base), 0);
	ret = ops->attach(c->base, &r->base);
	if (ret)
		id_table_remove(&c->base->resources, r->base.id);
	return ret;
}

static void attach(struct client *c, struct resource *r)
{
	assert_int_equal(try_attach(c, r), 0);
}

static void detach(struct client *c, struct resource *r)
{
	assert_ptr_equal(id_table_remove(&c->base->resources, r->base.id), &r->base);
	ops->detach(c->base, &r->base);
}

/* The guest wants it back. */
static void stop(struct scene *s, struct resource *r)
{
	backing_stop(&r->base);
	ops->quiesce(s->bench->renderer, &r->base);
	backing_release(&r->base);
}

/* The guest may be told that it has it back. */
static bool is_free(const struct resource *r)
{
	return r->idle && memory_view_alone(r->base.view);
}

static void free_resource(struct resource *r)
{
	assert_true(is_free(r));
	if (r->base.view)
		assert_true(r->base.view->ops->free(r->base.view, NULL, NULL));
	run_list_destroy(&r->base.runs);
}

static void give_back(struct scene *s, struct resource *r)
{
	detach(&s->c, r);
	stop(s, r);
	WAIT_FOR(s->bench, is_free(r));
	free_resource(r);
}

/* ---- what is in them ---- */

/* Byte @offset of the resource, in the model. */
static unsigned char *model_byte(struct scene *s, const struct resource *r, uint64_t offset)
{
	return s->model + ram_page(r, (unsigned int)(offset / PAGE)) * PAGE + offset % PAGE;
}

static void model_copy(struct scene *s, const struct resource *to, uint64_t to_offset,
		       const struct resource *from, uint64_t from_offset, uint64_t bytes)
{
	uint64_t i;

	for (i = 0; i < bytes; i++)
		*model_byte(s, to, to_offset + i) = *model_byte(s, from, from_offset + i);
}

static void expect_ram(struct scene *s)
{
	uint64_t i;

	for (i = 0; i < RAM_SIZE; i++)
		if (s->bench->ram[i] != s->model[i])
			fail_msg("page %llu, byte %llu: %#x, not %#x",
				 (unsigned long long)(i / PAGE), (unsigned long long)(i % PAGE),
				 s->bench->ram[i], s->model[i]);
}

/* All of guest RAM, another every time. */
static void fill_ram(struct scene *s, unsigned int seed)
{
	uint64_t i;

	for (i = 0; i < RAM_SIZE; i++)
		s->model[i] = (unsigned char)(seed + i * 5 + i / PAGE * 3);
	memcpy(s->bench->ram, s->model, RAM_SIZE);
}

/* ---- the scene ---- */

static void scene_open(struct bench *bench, struct scene *s)
{
	struct stitch_config config = { .quotas = &bench->quotas };

	*s = (struct scene){ .bench = bench, .stitch = stitch_new(&config) };
	assert_non_null(s->stitch);
	s->model = malloc(RAM_SIZE);
	assert_non_null(s->model);
	fill_ram(s, 1);
	client_start(bench, &s->c);
}

static void scene_close(struct scene *s)
{
	struct stitch_totals totals;

	client_close(&s->c);
	stitch_totals(s->stitch, &totals);
	assert_int_equal(totals.views, 0);
	stitch_free(s->stitch);
	free(s->model);
}

/* @a to read, @b to write. */
static void scene_start(struct bench *bench, struct scene *s, enum kind kind)
{
	scene_open(bench, s);
	new_resource(s, &s->a, 0, false, kind);
	new_resource(s, &s->b, 1, false, kind);
	attach(&s->c, &s->a);
	attach(&s->c, &s->b);
	assert_int_equal(map_va(&s->c, s->a.base.id, VA_FIRST, SIZE, RWX), 0);
	assert_int_equal(map_va(&s->c, s->b.base.id, VA_SECOND, SIZE, RWX), 0);
	s->ids[0] = s->a.base.id;
	s->ids[1] = s->b.base.id;
}

/* @a must not be written, and is not mapped. */
static void scene_readonly(struct bench *bench, struct scene *s, enum kind kind)
{
	scene_open(bench, s);
	new_resource(s, &s->a, 0, true, kind);
	new_resource(s, &s->b, 1, false, kind);
	attach(&s->c, &s->a);
	attach(&s->c, &s->b);
	s->ids[0] = s->a.base.id;
	s->ids[1] = s->b.base.id;
	assert_int_equal(map_va(&s->c, s->ids[1], VA_SECOND, SIZE, RWX), 0);
}

/* Both ways that there are here; false: this one is not. */
static bool has_kind(const struct bench *bench, enum kind kind)
{
	if (kind != DMABUF || bench->udmabuf)
		return true;
	print_message("skipped: there is no /dev/udmabuf\n");
	return false;
}

/* A job of the copy engine from @a to @b that is held back. */
static unsigned int held_copy(struct scene *s)
{
	hold(HOLD_SDMA0);
	begin_job(&s->c);
	sdma_copy(&s->c, VA_SECOND, VA_FIRST, SIZE);
	return start_job(&s->c, s->ids, 2);
}

/* Commands before this have been executed. */
static void round_trip(struct client *c)
{
	uint32_t working;

	assert_int_equal(query(c, AMDGPU_INFO_ACCEL_WORKING, 0, &working, 4), 0);
}

/* ---- tests ---- */

static void test_copy(void **state)
{
	const struct {
		uint64_t from, to, bytes;
	} copies[] = {
		{ 0, 0, SIZE },
		{ 1, 4095, 2 },
		{ 4095, 3, 8000 },
		{ SIZE - 5000, 77, 5000 },
	};
	struct bench *bench = need_amdgpu(state);
	unsigned int i, kind;
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_start(bench, &s, kind);
		for (i = 0; i < ARRAY_SIZE(copies); i++) {
			fill_ram(&s, 17 * i);
			copy_now(&s.c, VA_SECOND + copies[i].to, VA_FIRST + copies[i].from,
				 (uint32_t)copies[i].bytes, s.ids, 2);
			model_copy(&s, &s.b, copies[i].to, &s.a, copies[i].from, copies[i].bytes);
			expect_ram(&s);
		}
		give_back(&s, &s.a);
		give_back(&s, &s.b);
		expect_ram(&s);
		scene_close(&s);
	}
}

/* Through the card's memory, and a part of a resource. */
static void test_through_vram(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct buffer vram;
	unsigned int kind;
	uint32_t ids[3];
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_start(bench, &s, kind);
		new_buffer(&s.c, &vram, SIZE, VRAM, 0x400000000ull);
		memcpy(ids, s.ids, sizeof(s.ids));
		ids[2] = vram.id;
		begin_job(&s.c);
		sdma_copy(&s.c, vram.va, VA_FIRST, SIZE);
		sdma_copy(&s.c, VA_SECOND, vram.va, SIZE);
		assert_int_equal(run_job(&s.c, ids, 3), 0);
		model_copy(&s, &s.b, 0, &s.a, 0, SIZE);
		expect_ram(&s);
		assert_int_equal(va_op(&s.c, AMDGPU_VA_OP_MAP, s.b.base.id, 5 * PAGE, VA_THIRD,
				       PAGE, RWX),
				 0);
		copy_now(&s.c, VA_THIRD, VA_FIRST, PAGE, ids, 3);
		model_copy(&s, &s.b, 5 * PAGE, &s.a, 0, PAGE);
		expect_ram(&s);
		drop_buffer(&s.c, &vram);
		give_back(&s, &s.a);
		give_back(&s, &s.b);
		scene_close(&s);
	}
}

/* What has no view has nothing that the GPU could be given. */
static void test_nothing_to_attach(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct scene s;

	scene_open(bench, &s);
	make_resource(&s, &s.a, 0, false);
	attach(&s.c, &s.a);
	assert_int_equal(map_va(&s.c, s.a.base.id, VA_FIRST, PAGE, RWX), -ENOENT);
	give_back(&s, &s.a);
	expect_works(&s.c);
	scene_close(&s);
}

/* The GPU must not write; it may read. */
static void test_readonly(void **state)
{
	const uint64_t writeable[] = { AMDGPU_VM_PAGE_WRITEABLE, RWX,
				       AMDGPU_VM_PAGE_WRITEABLE | AMDGPU_VM_PAGE_READABLE };
	struct bench *bench = need_model(state);
	unsigned int i, kind;
	int64_t faults;
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_readonly(bench, &s, kind);
		for (i = 0; i < ARRAY_SIZE(writeable); i++) {
			assert_int_equal(map_va(&s.c, s.ids[0], VA_FIRST, SIZE, writeable[i]),
					 -EACCES);
			assert_int_equal(va_op(&s.c, AMDGPU_VA_OP_REPLACE, s.ids[0], 0, VA_FIRST,
					       SIZE, writeable[i]),
					 -EACCES);
		}
		assert_int_equal(map_va(&s.c, s.ids[0], VA_FIRST, SIZE, RO), 0);
		faults = model_stat("faults");
		copy_now(&s.c, VA_SECOND, VA_FIRST, SIZE, s.ids, 2);
		model_copy(&s, &s.b, 0, &s.a, 0, SIZE);
		expect_ram(&s);
		assert_int_equal(model_stat("faults"), faults);
		/* Nothing of it in any page. */
		begin_job(&s.c);
		sdma_fill(&s.c, VA_FIRST + 5 * PAGE, 0x11111111, 4);
		assert_int_equal(run_job(&s.c, s.ids, 2), 0);
		assert_int_equal(model_stat("faults"), faults + 1);
		expect_ram(&s);
		give_back(&s, &s.a);
		give_back(&s, &s.b);
		scene_close(&s);
	}
}

/* A user fence is written by the kernel itself, whatever is mapped. */
static void test_no_user_fence(void **state)
{
	struct drm_amdgpu_cs_chunk_fence fence;
	struct bench *bench = need_amdgpu(state);
	unsigned char bytes[sizeof(struct job) + 16];
	struct amdvgpu_chunk *chunks;
	struct scene s;
	struct job job;
	size_t len;

	scene_start(bench, &s, STITCH);
	begin_job(&s.c);
	sdma_fill(&s.c, VA_SECOND, 1, 4);
	len = make_job(&s.c, &job, AMDGPU_HW_IP_DMA, 0, s.ids, 1);
	/* In place of the list. */
	fence = (struct drm_amdgpu_cs_chunk_fence){ s.a.base.id, 8 };
	prepare(&s.c, &job, AMDVGPU_CS_SUBMIT, len, sizeof(struct amdvgpu_rsp));
	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, &job, len);
	chunks = (struct amdvgpu_chunk *)(bytes + offsetof(struct job, chunks));
	chunks[1] = (struct amdvgpu_chunk){ AMDGPU_CHUNK_ID_FENCE, 2, sizeof(job.ib) };
	memcpy(bytes + offsetof(struct job, list), &fence, sizeof(fence));
	assert_int_equal(answer_of(bench, post(&s.c, (uint8_t)job.ring_idx, bytes, len)), OK);
	assert_int_equal(ret_of(answer_at(&s.c, job.req.rsp_off)), -EACCES);
	expect_ram(&s);
	give_back(&s, &s.a);
	give_back(&s, &s.b);
	scene_close(&s);
}

/* The host's kernel takes pages away, and others come in their place. */
static void test_pages_go(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int i, round;
	int64_t before;
	struct scene s;

	scene_start(bench, &s, STITCH);
	for (round = 0; round < 3; round++) {
		fill_ram(&s, 40 + round);
		copy_now(&s.c, VA_SECOND, VA_FIRST, SIZE, s.ids, 2);
		model_copy(&s, &s.b, 0, &s.a, 0, SIZE);
		expect_ram(&s);
		before = model_stat("invalidations");
		for (i = 0; i < NR_PAGES; i += 2) {
			off_t at = (off_t)(ram_page(&s.a, i) * PAGE);

			assert_int_equal(fallocate(bench->fd,
						   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
						   PAGE),
					 0);
			memset(s.model + at, 0, PAGE);
		}
		assert_true(model_stat("invalidations") > before);
		copy_now(&s.c, VA_SECOND, VA_FIRST, SIZE, s.ids, 2);
		model_copy(&s, &s.b, 0, &s.a, 0, SIZE);
		expect_ram(&s);
	}
	give_back(&s, &s.a);
	give_back(&s, &s.b);
	scene_close(&s);
}

/* ---- the end of a resource ---- */

/* What is detached while a job has it is not free before that is over. */
static void test_detach_with_job(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int kind, job;
	struct scene s;
	int64_t faults;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_start(bench, &s, kind);
		job = held_copy(&s);
		detach(&s.c, &s.b);
		stop(&s, &s.b);
		round_trip(&s.c);
		assert_false(is_free(&s.b));
		assert_int_equal(map_va(&s.c, s.ids[1], VA_THIRD, SIZE, RWX), -ENOENT);
		hold(HOLD_NONE);
		assert_int_equal(answer_of(bench, job), OK);
		WAIT_FOR(bench, is_free(&s.b));
		free_resource(&s.b);
		/* Whether the job still got through is its affair; later ones do not. */
		s.c.ctx = new_ctx(&s.c);
		fill_ram(&s, 99);
		faults = model_stat("faults");
		begin_job(&s.c);
		sdma_copy(&s.c, VA_SECOND, VA_FIRST, SIZE);
		assert_int_equal(run_job(&s.c, s.ids, 1), 0);
		assert_int_equal(model_stat("faults"), faults + 1);
		expect_ram(&s);
		assert_int_equal(bench->nr_lost, 0);
		give_back(&s, &s.a);
		scene_close(&s);
	}
}

static void test_destroy_with_job(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int kind, job;
	struct client other;
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_start(bench, &s, kind);
		client_start(bench, &other);
		job = held_copy(&s);
		client_kill(&s.c);
		stop(&s, &s.a);
		stop(&s, &s.b);
		round_trip(&other);
		client_close(&other);
		client_start(bench, &other);
		assert_false(is_free(&s.a));
		assert_false(is_free(&s.b));
		hold(HOLD_NONE);
		WAIT_FOR(bench, is_free(&s.a) && is_free(&s.b));
		answer_of(bench, job);
		free_resource(&s.a);
		free_resource(&s.b);
		fill_ram(&s, 55);
		expect_works(&other);
		expect_ram(&s);
		client_close(&other);
		scene_close(&s);
	}
}

/* The device has waited long enough: the context goes, and memory when its job does. */
static void test_evict(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int kind, lost = 0;
	struct client other;
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_start(bench, &s, kind);
		client_start(bench, &other);
		held_copy(&s);
		detach(&s.c, &s.b);
		stop(&s, &s.b);
		round_trip(&other);
		assert_int_equal(bench->nr_lost, lost);
		ops->evict(bench->renderer, &s.b.base, false);
		WAIT_FOR(bench, bench->nr_lost == lost + 1);
		assert_ptr_equal(bench->lost[lost++], s.c.base);
		ops->evict(bench->renderer, &s.b.base, true);
		round_trip(&other);
		assert_false(is_free(&s.b));
		hold(HOLD_NONE);
		WAIT_FOR(bench, is_free(&s.b));
		free_resource(&s.b);
		give_back(&s, &s.a);
		expect_works(&other);
		client_close(&other);
		scene_close(&s);
		assert_int_equal(bench->nr_lost, lost);
	}
}

/* Who has no job with it is not to blame. */
static void test_evict_nobody(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct scene s;

	scene_start(bench, &s, STITCH);
	give_back(&s, &s.b);
	ops->evict(bench->renderer, &s.b.base, false);
	round_trip(&s.c);
	assert_int_equal(bench->nr_lost, 0);
	give_back(&s, &s.a);
	scene_close(&s);
}

static void test_two_contexts(void **state)
{
	struct bench *bench = need_model(state);
	struct client other;
	unsigned int kind;
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_start(bench, &s, kind);
		client_start(bench, &other);
		assert_int_equal(map_va(&other, s.ids[0], VA_FIRST, SIZE, RWX), -ENOENT);
		attach(&other, &s.a);
		attach(&other, &s.b);
		assert_int_equal(map_va(&other, s.ids[0], VA_FIRST, SIZE, RWX), 0);
		assert_int_equal(map_va(&other, s.ids[1], VA_SECOND, SIZE, RWX), 0);
		detach(&s.c, &s.a);
		detach(&s.c, &s.b);
		copy_now(&other, VA_SECOND, VA_FIRST, SIZE, s.ids, 2);
		model_copy(&s, &s.b, 0, &s.a, 0, SIZE);
		expect_ram(&s);
		assert_false(memory_view_alone(s.a.base.view));
		detach(&other, &s.a);
		detach(&other, &s.b);
		stop(&s, &s.a);
		stop(&s, &s.b);
		WAIT_FOR(bench, is_free(&s.a) && is_free(&s.b));
		free_resource(&s.a);
		free_resource(&s.b);
		client_close(&other);
		scene_close(&s);
	}
}

/* Again and again, with the same id and the same memory: nothing grows. */
static void test_many(void **state)
{
	struct bench *bench = need_amdgpu(state);
	unsigned int i, kind, fds = 0;
	uint32_t id;
	struct scene s;

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!has_kind(bench, kind))
			continue;
		scene_open(bench, &s);
		id = bench->last_resource;
		for (i = 0; i < 100; i++) {
			bench->last_resource = id;
			new_resource(&s, &s.a, i, false, kind);
			attach(&s.c, &s.a);
			assert_int_equal(map_va(&s.c, s.a.base.id, VA_FIRST, SIZE, RWX), 0);
			begin_job(&s.c);
			sdma_fill(&s.c, VA_FIRST, 0x01010101 * i, PAGE);
			assert_int_equal(run_job(&s.c, &s.a.base.id, 1), 0);
			memset(model_byte(&s, &s.a, 0), (int)i, PAGE);
			give_back(&s, &s.a);
			if (i == 10)
				fds = open_fds();
		}
		WAIT_FOR(bench, open_fds() == fds);
		expect_ram(&s);
		scene_close(&s);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_copy),
		TEST(test_through_vram),
		TEST(test_nothing_to_attach),
		TEST(test_readonly),
		TEST(test_no_user_fence),
		TEST(test_pages_go),
		TEST(test_detach_with_job),
		TEST(test_destroy_with_job),
		TEST(test_evict),
		TEST(test_evict_nobody),
		TEST(test_two_contexts),
		TEST(test_many),
	};

	log_set_verbose(getenv("VERBOSE"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* !HAVE_AMDGPU */

int main(void)
{
	return amdgpu_not_built();
}

#endif
