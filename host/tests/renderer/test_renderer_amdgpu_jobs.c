// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_jobs: amdgpu native contexts: buffers, addresses of the GPU, jobs
 * and when they are said to be over
 */
#include "tests/renderer/amdgpu_client.h"

#ifdef HAVE_AMDGPU

/* Commands that one can be sure of only when a later one was executed. */
static void round_trip(struct client *c)
{
	uint32_t working;

	assert_int_equal(query(c, AMDGPU_INFO_ACCEL_WORKING, 0, &working, 4), 0);
}

static void fill_with(unsigned char *bytes, size_t size, unsigned int seed)
{
	size_t i;

	for (i = 0; i < size; i++)
		bytes[i] = (unsigned char)(seed + i * 7 + i / 251);
}

/* Two buffers of a client, and their ids. */
struct pair {
	struct buffer from;
	struct buffer to;
	uint32_t ids[2];
};

static void new_pair(struct client *c, struct pair *p, uint64_t size, uint32_t domain)
{
	new_buffer(c, &p->from, size, GTT, VA_FIRST);
	new_buffer(c, &p->to, size, domain, VA_SECOND);
	p->ids[0] = p->from.id;
	p->ids[1] = p->to.id;
	fill_with(p->from.cpu, size, 3);
	memset(p->to.cpu, 0xaa, size);
}

static void drop_pair(struct client *c, struct pair *p)
{
	drop_buffer(c, &p->from);
	drop_buffer(c, &p->to);
}

static void test_copy(void **state)
{
	struct bench *bench = need_amdgpu(state);
	const uint32_t domains[] = { GTT, VRAM };
	struct client c;
	struct pair p;
	unsigned int i;

	client_start(bench, &c);
	for (i = 0; i < ARRAY_SIZE(domains); i++) {
		new_pair(&c, &p, 16 * PAGE, domains[i]);
		copy_now(&c, VA_SECOND + 5, VA_FIRST + 3, 10 * PAGE, p.ids, 2);
		assert_memory_equal(p.to.cpu + 5, p.from.cpu + 3, 10 * PAGE);
		assert_int_equal(p.to.cpu[4], 0xaa);
		assert_int_equal(p.to.cpu[5 + 10 * PAGE], 0xaa);
		drop_pair(&c, &p);
	}
	client_close(&c);
}

static void test_metadata(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct amdvgpu_bo_query_info ask = { .pad = 0 };
	struct amdvgpu_bo_query_info_rsp *rsp;
	struct client c;
	struct buffer b;
	struct {
		struct amdvgpu_req req;
		uint64_t flags;
		uint64_t tiling_info;
		uint32_t res_id;
		uint32_t size_metadata;
		uint32_t metadata[AMDVGPU_METADATA_WORDS];
	} set = { .flags = 0x11, .tiling_info = 0x2233445566, .size_metadata = 40 };
	unsigned int i;

	client_start(bench, &c);
	new_buffer(&c, &b, 5 * PAGE, GTT, 0);
	set.res_id = ask.res_id = b.id;
	for (i = 0; i < ARRAY_SIZE(set.metadata); i++)
		set.metadata[i] = 1000 + i;
	/* As much as RADV has, and all that there is room for. */
	for (; set.size_metadata <= 256; set.size_metadata += 216) {
		assert_int_equal(call_ret(&c, &set, AMDVGPU_SET_METADATA,
					  40 + (size_t)set.size_metadata),
				 0);
		rsp = call(&c, &ask, AMDVGPU_BO_QUERY_INFO, sizeof(ask), sizeof(*rsp));
		assert_int_equal(ret_of(rsp), 0);
		assert_int_equal(rsp->size, 5 * PAGE);
		assert_int_equal(rsp->domain, GTT);
		assert_true(rsp->flags & AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED);
		assert_int_equal(rsp->metadata_flags, 0x11);
		assert_int_equal(rsp->tiling_info, 0x2233445566);
		assert_int_equal(rsp->size_metadata, set.size_metadata);
		assert_memory_equal(rsp->metadata, set.metadata, set.size_metadata);
		assert_int_equal(rsp->pad, 0);
		assert_int_equal(rsp->pad2, 0);
	}
	drop_buffer(&c, &b);
	client_close(&c);
}

static void test_va(void **state)
{
	struct bench *bench = need_model(state);
	struct client c;
	struct pair p;
	int64_t faults;

	client_start(bench, &c);
	new_pair(&c, &p, 4 * PAGE, VRAM);
	/* A part of it elsewhere as well, mapped over with the other one, and not any more. */
	assert_int_equal(va_op(&c, AMDGPU_VA_OP_MAP, p.to.id, PAGE, VA_THIRD, PAGE, RWX), 0);
	copy_now(&c, VA_THIRD, VA_FIRST, PAGE, p.ids, 2);
	assert_memory_equal(p.to.cpu + PAGE, p.from.cpu, PAGE);
	assert_int_equal(map_va(&c, p.to.id, VA_THIRD, PAGE, RWX), -EINVAL);
	assert_int_equal(va_op(&c, AMDGPU_VA_OP_REPLACE, p.from.id, 0, VA_THIRD, PAGE, RWX), 0);
	copy_now(&c, VA_SECOND, VA_THIRD, PAGE, p.ids, 2);
	assert_memory_equal(p.to.cpu, p.from.cpu, PAGE);
	assert_int_equal(va_op(&c, AMDGPU_VA_OP_CLEAR, 0, 0, VA_THIRD, PAGE, 0), 0);
	assert_int_equal(unmap_va(&c, p.from.id, VA_THIRD, PAGE), -ENOENT);
	assert_int_equal(unmap_va(&c, p.to.id, VA_SECOND, 4 * PAGE), 0);
	memset(p.to.cpu, 0xaa, PAGE);
	faults = model_stat("faults");
	begin_job(&c);
	sdma_copy(&c, VA_SECOND, VA_FIRST, PAGE);
	assert_int_equal(shmem(&c)->async_error, 0);
	assert_int_equal(run_job(&c, p.ids, 2), 0);
	assert_int_equal(model_stat("faults"), faults + 1);
	assert_int_equal(p.to.cpu[0], 0xaa);
	/* It was taken, and not done. */
	assert_int_equal(shmem(&c)->async_error, 1);
	drop_pair(&c, &p);
	client_close(&c);
}

/* Of a buffer without memory; reads have no effect that can be seen. */
static void test_sparse(void **state)
{
	struct amdvgpu_bo_va_op req = {
		.va = VA_THIRD,
		.size = 16 * PAGE,
		.flags = AMDGPU_VM_PAGE_PRT,
		.flags2 = AMDVGPU_VA_OP_SPARSE,
		.op = AMDGPU_VA_OP_MAP,
	};
	struct bench *bench = need_amdgpu(state);
	struct client c;
	struct pair p;

	client_start(bench, &c);
	assert_int_equal(call_ret(&c, &req, AMDVGPU_BO_VA_OP, sizeof(req)), 0);
	new_pair(&c, &p, 2 * PAGE, VRAM);
	copy_now(&c, VA_SECOND, VA_THIRD, PAGE, p.ids, 2);
	/* Bound, and unbound again, as for a sparse resource of Vulkan. */
	assert_int_equal(va_op(&c, AMDGPU_VA_OP_REPLACE, p.from.id, 0, VA_THIRD, PAGE, RWX), 0);
	copy_now(&c, VA_SECOND, VA_THIRD, PAGE, p.ids, 2);
	assert_memory_equal(p.to.cpu, p.from.cpu, PAGE);
	req.op = AMDGPU_VA_OP_REPLACE;
	req.size = PAGE;
	assert_int_equal(call_ret(&c, &req, AMDVGPU_BO_VA_OP, sizeof(req)), 0);
	req.op = AMDGPU_VA_OP_CLEAR;
	req.size = 16 * PAGE;
	req.flags = 0;
	assert_int_equal(call_ret(&c, &req, AMDVGPU_BO_VA_OP, sizeof(req)), 0);
	drop_pair(&c, &p);
	client_close(&c);
}

static void test_fence(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int held, behind;
	struct client c;
	struct pair p;

	client_start(bench, &c);
	new_pair(&c, &p, PAGE, VRAM);
	hold(HOLD_SDMA0);
	begin_job(&c);
	sdma_copy(&c, VA_SECOND, VA_FIRST, PAGE);
	held = start_job(&c, p.ids, 2);
	/* Nothing more to do on this ring, but what is before it is not over. */
	behind = post(&c, c.rings[AMDGPU_HW_IP_DMA], NULL, 0);
	round_trip(&c);
	assert_int_equal(model_pending("sdma0"), 1);
	assert_int_equal(bench->answers[held], 0);
	assert_int_equal(bench->answers[behind], 0);
	assert_int_equal(p.to.cpu[0], 0xaa);
	assert_true(model_put("step", 1));
	assert_int_equal(answer_of(bench, held), OK);
	assert_int_equal(answer_of(bench, behind), OK);
	assert_memory_equal(p.to.cpu, p.from.cpu, PAGE);
	drop_pair(&c, &p);
	client_close(&c);
}

/* Each queue by itself; on one of them in order. */
static void test_rings(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int cookies[3], last;
	uint32_t rsp_off;
	struct client c;
	struct pair p;

	client_start(bench, &c);
	new_pair(&c, &p, PAGE, VRAM);
	hold(HOLD_SDMA0);
	for (last = 0; last < ARRAY_SIZE(cookies); last++) {
		begin_job(&c);
		sdma_fill(&c, VA_SECOND, last, 4);
		cookies[last] = start_job(&c, p.ids, 2);
	}
	begin_job(&c);
	sdma_fill(&c, VA_SECOND + 64, 0x1234, 4);
	last = start_job_on(&c, 1, p.ids, 2, &rsp_off);
	assert_int_equal(answer_of(bench, last), OK);
	assert_int_equal(ret_of(answer_at(&c, rsp_off)), 0);
	assert_int_equal(*(uint32_t *)(p.to.cpu + 64), 0x1234);
	for (last = 0; last < ARRAY_SIZE(cookies); last++) {
		assert_int_equal(bench->answers[cookies[last]], 0);
		assert_true(model_put("step", 1));
		assert_int_equal(answer_of(bench, cookies[last]), OK);
		assert_int_equal(*(uint32_t *)p.to.cpu, last);
	}
	drop_pair(&c, &p);
	client_close(&c);
}

static void fence_query(struct client *c, struct amdvgpu_query_fence *req, uint64_t timeout)
{
	*req = (struct amdvgpu_query_fence){
		.ctx_id = c->ctx,
		.ip_type = AMDGPU_HW_IP_DMA,
		.fence = 1,
		.timeout = timeout,
	};
	prepare(c, req, AMDVGPU_CS_QUERY_FENCE_STATUS, sizeof(*req),
		sizeof(struct amdvgpu_query_fence_rsp));
}

/* Asked and answered: whether it is over. */
static bool fence_over(struct client *c, uint64_t timeout)
{
	struct amdvgpu_query_fence_rsp *rsp;
	struct amdvgpu_query_fence req;

	fence_query(c, &req, timeout);
	assert_int_equal(run_stream(c, &req, sizeof(req)), OK);
	rsp = answer_at(c, req.req.rsp_off);
	assert_int_equal(ret_of(rsp), 0);
	return rsp->expired;
}

static void test_fence_status(void **state)
{
	struct bench *bench = need_model(state);
	struct client c;
	struct pair p;
	unsigned int job;
	uint64_t before;

	client_start(bench, &c);
	new_pair(&c, &p, PAGE, VRAM);
	hold(HOLD_SDMA0);
	begin_job(&c);
	sdma_copy(&c, VA_SECOND, VA_FIRST, PAGE);
	job = start_job(&c, p.ids, 2);
	assert_false(fence_over(&c, 0));
	before = clock_ns();
	assert_false(fence_over(&c, 50000000));
	assert_true(clock_ns() - before >= 50000000);
	hold(HOLD_NONE);
	assert_int_equal(answer_of(bench, job), OK);
	assert_true(fence_over(&c, 0));
	assert_true(fence_over(&c, AMDGPU_TIMEOUT_INFINITE));
	drop_pair(&c, &p);
	client_close(&c);
}

/* Who waits, waits alone. */
static void test_fence_wait(void **state)
{
	struct bench *bench = need_model(state);
	struct amdvgpu_query_fence req;
	struct client waits, other;
	unsigned int job, wait;
	struct pair p;

	client_start(bench, &waits);
	client_start(bench, &other);
	new_pair(&waits, &p, PAGE, VRAM);
	hold(HOLD_SDMA0);
	begin_job(&waits);
	sdma_copy(&waits, VA_SECOND, VA_FIRST, PAGE);
	job = start_job(&waits, p.ids, 2);
	fence_query(&waits, &req, AMDGPU_TIMEOUT_INFINITE);
	wait = post(&waits, 0, &req, sizeof(req));
	round_trip(&other);
	client_close(&other);
	client_start(bench, &other);
	assert_int_equal(bench->answers[job], 0);
	assert_int_equal(bench->answers[wait], 0);
	hold(HOLD_NONE);
	assert_int_equal(answer_of(bench, wait), OK);
	assert_int_equal(
		((struct amdvgpu_query_fence_rsp *)answer_at(&waits, req.req.rsp_off))->expired, 1);
	assert_int_equal(answer_of(bench, job), OK);
	assert_int_equal(shmem(&waits)->seqno, waits.seqno);
	expect_works(&other);
	drop_pair(&waits, &p);
	client_close(&waits);
	client_close(&other);
}

/* A context that waits can be ended, and so can one whose jobs are held. */
static void test_destroy_with_jobs(void **state)
{
	struct bench *bench = need_model(state);
	struct amdvgpu_query_fence req;
	struct client c, other;
	unsigned int job, wait;
	struct pair p;

	client_start(bench, &c);
	client_start(bench, &other);
	new_pair(&c, &p, PAGE, VRAM);
	hold(HOLD_SDMA0);
	begin_job(&c);
	sdma_copy(&c, VA_SECOND, VA_FIRST, PAGE);
	job = start_job(&c, p.ids, 2);
	fence_query(&c, &req, AMDGPU_TIMEOUT_INFINITE);
	wait = post(&c, 0, &req, sizeof(req));
	client_kill(&c);
	round_trip(&other);
	hold(HOLD_NONE);
	expect_works(&other);
	WAIT_FOR(bench, bench->answers[job]);
	WAIT_FOR(bench, bench->answers[wait]);
	munmap(p.to.cpu, p.to.size);
	p.to.cpu = NULL;
	drop_pair(&c, &p);
	client_close(&c);
	client_close(&other);
}

static void test_reset(void **state)
{
	struct bench *bench = need_model(state);
	struct client c;
	struct pair p;
	unsigned int job;
	uint64_t jobs;

	client_start(bench, &c);
	new_pair(&c, &p, PAGE, VRAM);
	jobs = ops->jobs(bench->renderer);
	copy_now(&c, VA_SECOND, VA_FIRST, PAGE, p.ids, 2);
	assert_true(ops->jobs(bench->renderer) > jobs);
	begin_job(&c);
	sdma_copy(&c, VA_SECOND, VA_FIRST, PAGE);
	job = start_job(&c, p.ids, 2);
	ops->reset(bench->renderer);
	assert_int_equal(bench->answers[job], 1);
	drop_pair(&c, &p);
	client_close(&c);
	/* And it goes on. */
	client_start(bench, &c);
	expect_works(&c);
	client_close(&c);
}

/* A buffer of one program in another, which keeps it when the first one is gone. */
static void test_sharing(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct client a, b;
	struct buffer shared, own, to;
	uint32_t ids[2];

	client_start(bench, &a);
	client_start(bench, &b);
	new_buffer_with(&a, &shared, 8 * PAGE, VRAM, VA_FIRST, MAPPABLE | SHAREABLE);
	new_buffer(&a, &own, PAGE, GTT, 0);
	fill_with(shared.cpu, 8 * PAGE, 9);
	/* Not what is not to be shared, and not before it has it. */
	assert_int_equal(ops->blob_attach(b.base, own.id), -EACCES);
	drop_buffer(&a, &own);
	assert_int_equal(map_va(&b, shared.id, VA_THIRD, 8 * PAGE, RWX), -ENOENT);
	assert_int_equal(ops->blob_attach(b.base, shared.id), 0);
	assert_int_equal(map_va(&b, shared.id, VA_THIRD, 8 * PAGE, RWX), 0);
	munmap(shared.cpu, shared.size);
	shared.cpu = NULL;
	ops->blob_detach(a.base, shared.id);
	client_close(&a);
	new_buffer(&b, &to, 8 * PAGE, GTT, VA_SECOND);
	ids[0] = shared.id;
	ids[1] = to.id;
	copy_now(&b, VA_SECOND, VA_THIRD, 8 * PAGE, ids, 2);
	map_blob(&b, &shared);
	assert_memory_equal(to.cpu, shared.cpu, 8 * PAGE);
	assert_int_equal(to.cpu[1], (unsigned char)(9 + 7));
	drop_buffer(&b, &shared);
	drop_buffer(&b, &to);
	expect_works(&b);
	client_close(&b);
}

/* What is detached has no name any more; its addresses are free when it is destroyed. */
static void test_detached(void **state)
{
	struct bench *bench = need_model(state);
	int64_t faults = model_stat("faults");
	struct client c;
	struct pair p;

	client_start(bench, &c);
	new_pair(&c, &p, PAGE, VRAM);
	ops->blob_detach(c.base, p.to.id);
	p.to.attached = false;
	assert_int_equal(map_va(&c, p.to.id, VA_THIRD, PAGE, RWX), -ENOENT);
	begin_job(&c);
	sdma_copy(&c, VA_SECOND, VA_FIRST, PAGE);
	assert_int_equal(run_job(&c, p.ids, 2), -ENOENT);
	drop_buffer(&c, &p.to);
	assert_int_equal(run_job(&c, p.ids, 1), 0);
	assert_int_equal(model_stat("faults"), faults + 1);
	c.ctx = new_ctx(&c);
	/* Another one can have them. */
	new_buffer(&c, &p.to, PAGE, VRAM, VA_SECOND);
	p.ids[1] = p.to.id;
	copy_now(&c, VA_SECOND, VA_FIRST, PAGE, p.ids, 2);
	assert_memory_equal(p.to.cpu, p.from.cpu, PAGE);
	drop_pair(&c, &p);
	client_close(&c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_copy),	 TEST(test_metadata),	TEST(test_va),
		TEST(test_sparse),	 TEST(test_fence),	TEST(test_rings),
		TEST(test_fence_status), TEST(test_fence_wait), TEST(test_destroy_with_jobs),
		TEST(test_reset),	 TEST(test_sharing),	TEST(test_detached),
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
