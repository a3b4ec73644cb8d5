// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_hostile: streams of commands that no driver would send
 *
 * Tables: of each command that works, one place is changed, and its answer is known.
 * Whatever came of it, a neighbour's context goes on, and at the end of each test nothing
 * is left.
 */
#include "tests/renderer/amdgpu_hostile.h"

#ifdef HAVE_AMDGPU

/* In place of values that are known only later. */
#define OTHER_RES 0xabcd0001ull
#define OTHER_CTX 0xabcd0002ull

/* ---- one field at a time ---- */

struct wrong {
	uint32_t cmd;
	size_t at;
	unsigned int width;
	uint64_t value;
	int32_t ret;
};

#define FIELD(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define AT(type, field, bytes) offsetof(struct type, field), bytes

static const struct wrong wrong_fields[] = {
	{ AMDVGPU_QUERY_INFO, FIELD(amdvgpu_query_info, return_size), 0, -EINVAL },
	{ AMDVGPU_QUERY_INFO, FIELD(amdvgpu_query_info, return_size), 0xfffffff8, -EINVAL },
	{ AMDVGPU_QUERY_INFO, FIELD(amdvgpu_query_info, return_size), CLIENT_SHMEM, -ENOSPC },
	{ AMDVGPU_QUERY_INFO, FIELD(amdvgpu_query_info, query), 0x4242, -EINVAL },
	{ AMDVGPU_QUERY_INFO, FIELD(amdvgpu_query_info, return_pointer), 0x1234, 0 },

	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, va), VA_SECOND + 1, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, va), 0, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, va), 0xfffffffffffff000, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, va), VA_FIRST, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, size), 0, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, size), 1, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, size), 5 * PAGE, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, size), 0xfffffffffffff000, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, flags), 1ull << 40, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, flags), AMDGPU_VM_PAGE_PRT, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, flags2), 2, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, flags2), 1, -ENOENT },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, offset), 1, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, offset), 3 * PAGE, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, offset), 0xfffffffffffff000, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, res_id), 0, -ENOENT },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, res_id), 0x7fffffff, -ENOENT },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, res_id), OTHER_RES, -ENOENT },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, op), 0, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, op), 5, -EINVAL },
	{ AMDVGPU_BO_VA_OP, FIELD(amdvgpu_bo_va_op, op), AMDGPU_VA_OP_UNMAP, -ENOENT },

	{ AMDVGPU_SET_METADATA, AT(amdvgpu_set_metadata, res_id, 4), 0, -ENOENT },
	{ AMDVGPU_SET_METADATA, AT(amdvgpu_set_metadata, res_id, 4), OTHER_RES, -ENOENT },
	{ AMDVGPU_SET_METADATA, AT(amdvgpu_set_metadata, size_metadata, 4), 17, -EINVAL },
	{ AMDVGPU_SET_METADATA, AT(amdvgpu_set_metadata, size_metadata, 4), 257, -EINVAL },
	{ AMDVGPU_SET_METADATA, AT(amdvgpu_set_metadata, size_metadata, 4), ~0u, -EINVAL },
	{ AMDVGPU_BO_QUERY_INFO, FIELD(amdvgpu_bo_query_info, res_id), 0, -ENOENT },
	{ AMDVGPU_BO_QUERY_INFO, FIELD(amdvgpu_bo_query_info, res_id), OTHER_RES, -ENOENT },
	{ AMDVGPU_CREATE_CTX, FIELD(amdvgpu_create_ctx, priority), 5000, 0 },
	{ AMDVGPU_CREATE_CTX, FIELD(amdvgpu_create_ctx, priority), AMDGPU_CTX_PRIORITY_HIGH,
	  -EACCES },
	{ AMDVGPU_CREATE_CTX, FIELD(amdvgpu_create_ctx, priority), AMDGPU_CTX_PRIORITY_VERY_HIGH,
	  -EACCES },
	{ AMDVGPU_CREATE_CTX, FIELD(amdvgpu_create_ctx, flags), AMDVGPU_CTX_DESTROY, -ENOENT },
	{ AMDVGPU_CREATE_CTX, FIELD(amdvgpu_create_ctx, flags), 2, -EINVAL },
	{ AMDVGPU_RESERVE_VMID, FIELD(amdvgpu_reserve_vmid, flags), 2, -EINVAL },
	{ AMDVGPU_RESERVE_VMID, FIELD(amdvgpu_reserve_vmid, flags), 1ull << 63, -EINVAL },
	{ AMDVGPU_SET_PSTATE, FIELD(amdvgpu_set_pstate, ctx_id), 0, -EINVAL },
	{ AMDVGPU_SET_PSTATE, FIELD(amdvgpu_set_pstate, ctx_id), OTHER_CTX, -EINVAL },
	{ AMDVGPU_SET_PSTATE, FIELD(amdvgpu_set_pstate, op), AMDGPU_CTX_OP_FREE_CTX, -EINVAL },
	{ AMDVGPU_SET_PSTATE, FIELD(amdvgpu_set_pstate, op), AMDGPU_CTX_OP_ALLOC_CTX, -EINVAL },
	{ AMDVGPU_SET_PSTATE, FIELD(amdvgpu_set_pstate, op), 77, -EINVAL },
	{ AMDVGPU_SET_PSTATE, FIELD(amdvgpu_set_pstate, flags), 0x80, -EINVAL },

	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, ctx_id), 0, -EINVAL },
	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, ctx_id), OTHER_CTX, -EINVAL },
	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, ip_type), 99, -EINVAL },
	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, ip_instance), 9, -EINVAL },
	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, ring), 99, -EINVAL },
	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, fence), 1000, -EINVAL },
	{ AMDVGPU_CS_QUERY_FENCE_STATUS, FIELD(amdvgpu_query_fence, flags), 0x80, 0 },

	{ AMDVGPU_CS_SUBMIT, FIELD(job, ctx_id), 0, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ctx_id), OTHER_CTX, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, num_chunks), 0, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, num_chunks), 1, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, num_chunks), 3, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, num_chunks), 129, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, num_chunks), 0x20000000, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, num_chunks), 0xffffffff, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ring_idx), 0, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ring_idx), 64, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ring_idx), 0xffffffff, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].id), 0, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].id), 0x7777, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_IB, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_FENCE, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_SYNCOBJ_IN, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_SYNCOBJ_OUT, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_SCHEDULED_DEPENDENCIES,
	  -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_WAIT,
	  -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL,
	  -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].id), AMDGPU_CHUNK_ID_CP_GFX_SHADOW, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].length_dw), 0, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].length_dw), 7, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].length_dw), 0xffff, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].length_dw), 5, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].offset), 2, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].offset), 32, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].offset), 48, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[0].offset), 0xfffffffc, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, chunks[1].offset), 40, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.flags), AMDGPU_IB_FLAGS_SECURE, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.va_start), VA_IB + 1, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.ib_bytes), 0, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.ib_bytes), 7, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.ip_type), 99, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.ip_instance), 1, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.ring), 1, 0 },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, ib.ring), 0xffffffff, -EINVAL },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, list[1].bo_handle), 0, -ENOENT },
	{ AMDVGPU_CS_SUBMIT, FIELD(job, list[1].bo_handle), OTHER_RES, -ENOENT },
};

static uint64_t wrong_value(const struct stage *s, const struct wrong *w)
{
	if (w->value == OTHER_RES)
		return s->theirs.id;
	return w->value == OTHER_CTX ? s->their_ctx : w->value;
}

static void test_fields(void **state)
{
	struct bench *bench = need_model(state);
	int64_t faults = model_stat("faults");
	unsigned int i, failures = 0, jobs = 0;
	struct stage s;
	struct good g;

	stage_start(bench, &s);
	assert_int_equal(free_ctx(&s.c, new_ctx(&s.c)), 0);
	/* Queries are about this one. */
	make_good(&s, AMDVGPU_CS_SUBMIT, &g);
	assert_int_equal(run_good(&s, &g, g.len), 0);
	for (i = 0; i < ARRAY_SIZE(wrong_fields); i++) {
		const struct wrong *w = &wrong_fields[i];
		uint64_t value = wrong_value(&s, w);
		int32_t ret;

		make_good(&s, w->cmd, &g);
		memcpy(g.bytes + w->at, &value, w->width);
		ret = run_good(&s, &g, g.len);
		jobs += w->cmd == AMDVGPU_CS_SUBMIT && ret;
		if (ret != w->ret) {
			print_error("row %u: command %u, %#llx in byte %zu: %d, not %d\n", i,
				    w->cmd, (unsigned long long)value, w->at, ret, w->ret);
			failures++;
		}
	}
	assert_int_equal(failures, 0);
	assert_int_equal(bench->nr_lost, 0);
	assert_int_equal(model_stat("faults"), faults);
	/* Of a job nobody reads the answer. */
	assert_int_equal(shmem(&s.c)->async_error, jobs);
	expect_works(&s.c);
	stage_end(&s);
}

/* Every command, as it is, works: else the table above would prove nothing. */
static void test_good_ones(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct renderer_blob blob = { .mem = VIRTIO_GPU_BLOB_MEM_HOST3D, .size = PAGE };
	struct stage s;
	struct good g;
	uint32_t cmd;

	stage_start(bench, &s);
	/* So that there is a fence to ask for. */
	make_good(&s, AMDVGPU_CS_SUBMIT, &g);
	assert_int_equal(run_good(&s, &g, g.len), 0);
	for (cmd = AMDVGPU_QUERY_INFO; cmd <= AMDVGPU_CS_QUERY_FENCE_STATUS; cmd++) {
		make_good(&s, cmd, &g);
		if (cmd == AMDVGPU_GEM_NEW)
			assert_int_equal(run_stream(&s.c, g.bytes, g.len), OK);
		else
			assert_int_equal(run_good(&s, &g, g.len), 0);
	}
	blob.id = ++bench->last_resource;
	blob.blob_id = s.c.blob_id;
	assert_int_equal(make_blob(bench, s.c.base, &blob), OK);
	destroy_blob(bench, blob.id);
	stage_end(&s);
}

/* ---- heads ---- */

/* A query whose head is changed; @size bytes of it are sent. */
static const struct {
	uint32_t cmd;
	uint32_t len;
	uint32_t rsp_off;
	uint32_t room;
	size_t size;
	int32_t ret;
} wrong_heads[] = {
	{ 0, 48, 0, 64, 48, REFUSED },
	{ 11, 48, 0, 64, 48, REFUSED },
	{ 0xffffffff, 48, 0, 64, 48, REFUSED },
	{ 1, 0, 0, 64, 48, REFUSED },
	{ 1, 8, 0, 64, 48, REFUSED },
	{ 1, 12, 0, 64, 48, REFUSED },
	{ 1, 47, 0, 64, 48, REFUSED },
	/* Whole, but not of a length that there is. */
	{ 1, 20, 0, 64, 20, REFUSED },
	{ 1, 44, 0, 64, 44, REFUSED },
	{ 1, 56, 0, 64, 48, REFUSED },
	{ 1, 0xfffffff8, 0, 64, 48, REFUSED },
	{ 1, 48, 0, 64, 8, REFUSED },
	{ 1, 48, 0, 64, 15, REFUSED },
	{ 1, 48, 0, 64, 47, REFUSED },
	/* What is behind it is no command. */
	{ 1, 48, 0, 64, 52, REFUSED },
	{ 1, 48, 0, 64, 56, REFUSED },
	/* No place for the answer. */
	{ 1, 48, CLIENT_SHMEM, 64, 48, REFUSED },
	{ 1, 48, 0xfffffff8, 64, 48, REFUSED },
	{ 1, 48, 0x80000000, 64, 48, REFUSED },
	{ 1, 48, 4, 64, 48, REFUSED },
	{ 1, 48, 1, 64, 48, REFUSED },
	{ 1, 48, 0, 0, 48, REFUSED },
	{ 1, 48, 0, 7, 48, REFUSED },
	{ 1, 48, 0, CLIENT_SHMEM + 8, 48, REFUSED },
	{ 1, 48, 0, 0xffffffff, 48, REFUSED },
	/* Or not enough of it. */
	{ 1, 48, 0, 8, 48, -ENOSPC },
	{ 1, 48, 0, 15, 48, -ENOSPC },
	/* Just enough, and the rest of the command is zeroes. */
	{ 1, 48, 0, 16, 48, 0 },
	{ 1, 16, 0, 64, 16, -EINVAL },
	{ 1, 24, 0, 64, 24, -EINVAL },
	{ 1, 56, 0, 64, 56, 0 },
};

static void test_heads(void **state)
{
	struct bench *bench = need_amdgpu(state);
	unsigned int i, failures = 0;
	struct stage s;
	struct good g;

	stage_start(bench, &s);
	for (i = 0; i < ARRAY_SIZE(wrong_heads); i++) {
		struct amdvgpu_rsp *rsp;
		int32_t ret;

		make_good(&s, AMDVGPU_QUERY_INFO, &g);
		/* Answers of earlier ones are nobody's. */
		rsp = answer_at(&s.c, 0);
		rsp->len = wrong_heads[i].room;
		g.req.cmd = wrong_heads[i].cmd;
		g.req.len = wrong_heads[i].len;
		g.req.rsp_off = wrong_heads[i].rsp_off;
		ret = run_good(&s, &g, wrong_heads[i].size);
		if (ret != wrong_heads[i].ret) {
			print_error("row %u: %d, not %d\n", i, ret, wrong_heads[i].ret);
			failures++;
		}
		if (ret == REFUSED) {
			hostile_end(&s);
			hostile_start(bench, &s);
		}
	}
	assert_int_equal(failures, 0);
	stage_end(&s);
}

/* The last place that there is for an answer. */
static void test_last_place(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct amdvgpu_rsp *rsp;
	struct stage s;
	struct good g;
	uint32_t room;

	stage_start(bench, &s);
	room = CLIENT_SHMEM - shmem(&s.c)->rsp_mem_offset;
	make_good(&s, AMDVGPU_QUERY_INFO, &g);
	g.req.rsp_off = room - 8;
	rsp = answer_at(&s.c, room - 8);
	rsp->len = 8;
	assert_int_equal(run_good(&s, &g, g.len), -ENOSPC);
	make_good(&s, AMDVGPU_QUERY_INFO, &g);
	g.req.rsp_off = room - 16;
	rsp = answer_at(&s.c, room - 16);
	rsp->len = 16;
	assert_int_equal(run_good(&s, &g, g.len), 0);
	stage_end(&s);
}

/* ---- commands that nobody answers ---- */

static const struct wrong wrong_gem_new[] = {
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, blob_id), 0, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, size), 0, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, size), 1ull << 50, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, size), ~0ull, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, domain), 0, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, domain), AMDGPU_GEM_DOMAIN_GDS, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, domain), 0x8000, 0 },
	{ AMDVGPU_GEM_NEW, FIELD(amdvgpu_gem_new, flags), 1ull << 60, 0 },
};

static void test_gem_new(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct renderer_blob blob = { .mem = VIRTIO_GPU_BLOB_MEM_HOST3D, .size = PAGE };
	unsigned int i;
	struct stage s;
	struct good g;

	stage_start(bench, &s);
	for (i = 0; i < ARRAY_SIZE(wrong_gem_new); i++) {
		const struct wrong *w = &wrong_gem_new[i];

		make_good(&s, w->cmd, &g);
		memcpy(g.bytes + w->at, &w->value, w->width);
		run_stream(&s.c, g.bytes, g.len);
		if (shmem(&s.c)->async_error == 0)
			fail_msg("row %u: it is no error", i);
		blob.id = ++bench->last_resource;
		blob.blob_id = s.c.blob_id;
		assert_int_not_equal(make_blob(bench, s.c.base, &blob), OK);
		hostile_end(&s);
		hostile_start(bench, &s);
	}
	/* Twice the same, of which one blob is made. */
	make_good(&s, AMDVGPU_GEM_NEW, &g);
	assert_int_equal(run_stream(&s.c, g.bytes, g.len), OK);
	assert_int_equal(shmem(&s.c)->async_error, 0);
	g.req.seqno = ++s.c.seqno;
	run_stream(&s.c, g.bytes, g.len);
	assert_int_not_equal(shmem(&s.c)->async_error, 0);
	stage_end(&s);
}

/* Blobs of what is not there, is another's, or is not so large. */
static void test_blobs(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct renderer_blob blob = { .mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
				      .flags = MAPPABLE,
				      .size = PAGE };
	struct renderer_mapping mapping;
	struct stage s;
	struct good g;

	stage_start(bench, &s);
	blob.id = ++bench->last_resource;
	blob.blob_id = 0x123456789;
	assert_int_not_equal(make_blob(bench, s.c.base, &blob), OK);
	blob.blob_id = s.other.blob_id;
	assert_int_not_equal(make_blob(bench, s.c.base, &blob), OK);
	assert_int_not_equal(make_blob(bench, NULL, &blob), OK);
	make_good(&s, AMDVGPU_GEM_NEW, &g);
	assert_int_equal(run_stream(&s.c, g.bytes, g.len), OK);
	blob.blob_id = s.c.blob_id;
	blob.size = 2 * PAGE;
	assert_int_not_equal(make_blob(bench, s.c.base, &blob), OK);
	assert_true(ops->blob_attach(s.c.base, blob.id) < 0);
	assert_true(ops->blob_export(bench->renderer, blob.id, &mapping) < 0);
	assert_true(ops->blob_export(bench->renderer, 0x7fffffff, &mapping) < 0);
	stage_end(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_good_ones),  TEST(test_fields),  TEST(test_heads),
		TEST(test_last_place), TEST(test_gem_new), TEST(test_blobs),
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
