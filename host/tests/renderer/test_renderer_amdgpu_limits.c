// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_limits: what all amdgpu native contexts together may have of a GPU
 *
 * Each limit is reached by one program, which hears of it; what it gives back another one
 * can have.
 */
#include "tests/renderer/amdgpu_client.h"

#ifdef HAVE_AMDGPU

#define BYTES (32 * PAGE)
#define BUFFERS 6u
#define MAPPINGS 5u
#define JOBS 2u

static void start_limited(struct bench *bench, const struct native_limits *limits)
{
	struct renderer_config config = bench_config(bench);

	config.native = *limits;
	bench_start(bench, &config);
}

/* A buffer that is refused; how that is said to the guest. */
static void expect_refused(struct client *c, uint64_t size)
{
	uint32_t errors = shmem(c)->async_error;
	struct buffer b;

	assert_int_not_equal(try_buffer(c, &b, size, GTT, 0, MAPPABLE), OK);
	assert_int_equal(shmem(c)->async_error, errors + 1);
}

static void test_bytes(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct client a, b;
	struct buffer half, rest;

	start_limited(bench, &(const struct native_limits){ .bytes = BYTES });
	client_open(bench, &a);
	client_open(bench, &b);
	expect_refused(&a, BYTES + PAGE);
	new_buffer(&a, &half, BYTES / 2, VRAM, 0);
	expect_refused(&b, BYTES / 2 + PAGE);
	new_buffer(&b, &rest, BYTES / 2, GTT, 0);
	expect_refused(&a, PAGE);
	drop_buffer(&b, &rest);
	new_buffer(&a, &rest, BYTES / 2, GTT, 0);
	/* Also what goes with a context. */
	client_kill(&a);
	drop_buffer(&a, &half);
	drop_buffer(&a, &rest);
	client_close(&a);
	client_open(bench, &a);
	new_buffer(&b, &rest, BYTES, GTT, 0);
	drop_buffer(&b, &rest);
	client_close(&a);
	client_close(&b);
}

static void test_buffers(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct buffer all[BUFFERS], one;
	struct client a, b;
	unsigned int i;

	start_limited(bench, &(const struct native_limits){ .buffers = BUFFERS });
	client_open(bench, &a);
	client_open(bench, &b);
	for (i = 0; i < BUFFERS; i++)
		new_buffer(i % 2 ? &a : &b, &all[i], PAGE, GTT, 0);
	expect_refused(&a, PAGE);
	expect_refused(&b, PAGE);
	drop_buffer(&b, &all[0]);
	new_buffer(&a, &one, PAGE, GTT, 0);
	expect_refused(&b, PAGE);
	drop_buffer(&a, &one);
	for (i = 1; i < BUFFERS; i++)
		drop_buffer(i % 2 ? &a : &b, &all[i]);
	client_close(&a);
	client_close(&b);
}

static void test_mappings(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct client a, b;
	struct buffer ours, theirs;
	unsigned int i;

	start_limited(bench, &(const struct native_limits){ .va_mappings = MAPPINGS });
	client_open(bench, &a);
	client_open(bench, &b);
	new_buffer(&a, &ours, 4 * PAGE, GTT, 0);
	new_buffer(&b, &theirs, 4 * PAGE, GTT, 0);
	for (i = 0; i < MAPPINGS - 1; i++)
		assert_int_equal(map_va(&a, ours.id, VA_FIRST + 8 * i * PAGE, 4 * PAGE, RWX), 0);
	assert_int_equal(map_va(&b, theirs.id, VA_FIRST, 4 * PAGE, RWX), 0);
	assert_int_equal(map_va(&b, theirs.id, VA_SECOND, 4 * PAGE, RWX), -ENOSPC);
	/* To make a hole in one makes two. */
	assert_int_equal(va_op(&a, AMDGPU_VA_OP_CLEAR, 0, 0, VA_FIRST + PAGE, PAGE, 0), -ENOSPC);
	assert_int_equal(unmap_va(&a, ours.id, VA_FIRST + 8 * PAGE, 4 * PAGE), 0);
	assert_int_equal(map_va(&b, theirs.id, VA_SECOND, 4 * PAGE, RWX), 0);
	/* Mappings go with their buffer. */
	drop_buffer(&a, &ours);
	for (i = 0; i < MAPPINGS - 2; i++)
		assert_int_equal(map_va(&b, theirs.id, VA_THIRD + 8 * i * PAGE, PAGE, RWX), 0);
	assert_int_equal(map_va(&b, theirs.id, 0x400000000ull, PAGE, RWX), -ENOSPC);
	drop_buffer(&b, &theirs);
	/* Those of no buffer go with their context. */
	for (i = 0; i < MAPPINGS; i++)
		assert_int_equal(va_op(&b, AMDGPU_VA_OP_MAP, 0, 0, VA_THIRD + 8 * i * PAGE, PAGE,
				       AMDGPU_VM_PAGE_PRT),
				 0);
	assert_int_equal(va_op(&a, AMDGPU_VA_OP_MAP, 0, 0, VA_FIRST, PAGE, AMDGPU_VM_PAGE_PRT),
			 -ENOSPC);
	client_close(&b);
	assert_int_equal(va_op(&a, AMDGPU_VA_OP_MAP, 0, 0, VA_FIRST, PAGE, AMDGPU_VM_PAGE_PRT), 0);
	client_close(&a);
}

/* Who has as many jobs as it may have waits for one of them, and nobody else does. */
static void test_jobs(void **state)
{
	struct bench *bench = need_model(state);
	unsigned int jobs[JOBS + 1], i;
	struct client a, b;
	uint32_t rsp_off, working;
	struct buffer to;

	start_limited(bench, &(const struct native_limits){ .jobs = JOBS });
	client_start(bench, &a);
	client_start(bench, &b);
	new_buffer(&a, &to, PAGE, GTT, VA_FIRST);
	hold(HOLD_SDMA0);
	for (i = 0; i < JOBS; i++) {
		begin_job(&a);
		sdma_fill(&a, VA_FIRST, i + 1, 4);
		jobs[i] = start_job(&a, &to.id, 1);
	}
	begin_job(&a);
	sdma_fill(&a, VA_FIRST, i + 1, 4);
	jobs[JOBS] = start_job_on(&a, 0, &to.id, 1, &rsp_off);
	/* Long enough for it to be submitted if it could be. */
	for (i = 0; i < 50; i++)
		assert_int_equal(query(&b, AMDGPU_INFO_ACCEL_WORKING, 0, &working, 4), 0);
	assert_int_equal(model_pending("sdma0"), JOBS);
	assert_int_equal(shmem(&a)->seqno, a.seqno - 1);
	assert_true(model_put("step", 1));
	assert_int_equal(answer_of(bench, jobs[0]), OK);
	WAIT_FOR(bench, shmem(&a)->seqno == a.seqno);
	assert_int_equal(ret_of(answer_at(&a, rsp_off)), 0);
	assert_int_equal(bench->answers[jobs[1]], 0);
	hold(HOLD_NONE);
	for (i = 1; i <= JOBS; i++)
		assert_int_equal(answer_of(bench, jobs[i]), OK);
	assert_int_equal(*(uint32_t *)to.cpu, JOBS + 1);
	drop_buffer(&a, &to);
	client_close(&a);
	client_close(&b);
}

/* Also if all of them come in one stream. */
static void test_jobs_in_one_stream(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct job jobs[2 * JOBS + 1];
	unsigned char bytes[sizeof(jobs)];
	size_t len, at = 0;
	struct buffer to;
	struct client a;
	unsigned int i;

	start_limited(bench, &(const struct native_limits){ .jobs = JOBS });
	client_start(bench, &a);
	new_buffer(&a, &to, PAGE, GTT, VA_FIRST);
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		begin_job(&a);
		sdma_fill(&a, VA_FIRST, i + 1, 4);
		len = make_job(&a, &jobs[i], AMDGPU_HW_IP_DMA, 0, &to.id, 1);
		prepare(&a, &jobs[i], AMDVGPU_CS_SUBMIT, len, sizeof(struct amdvgpu_rsp));
		memcpy(bytes + at, &jobs[i], len);
		at += len;
	}
	assert_int_equal(answer_of(bench, post(&a, (uint8_t)jobs[0].ring_idx, bytes, at)), OK);
	assert_int_equal(shmem(&a)->async_error, 0);
	assert_int_equal(*(uint32_t *)to.cpu, ARRAY_SIZE(jobs));
	drop_buffer(&a, &to);
	client_close(&a);
}

/* And one that waits so can be ended. */
static void test_end_while_waiting_for_a_job(void **state)
{
	struct bench *bench = need_model(state);
	uint32_t rsp_off, working;
	struct client a, b;
	unsigned int i;

	start_limited(bench, &(const struct native_limits){ .jobs = JOBS });
	client_start(bench, &a);
	client_start(bench, &b);
	hold(HOLD_SDMA0);
	for (i = 0; i < JOBS + 1; i++) {
		begin_job(&a);
		emit(&a, (const uint32_t[]){ 0, 0, 0, 0 }, 4);
		start_job_on(&a, 0, NULL, 0, &rsp_off);
	}
	assert_int_equal(query(&b, AMDGPU_INFO_ACCEL_WORKING, 0, &working, 4), 0);
	client_kill(&a);
	hold(HOLD_NONE);
	expect_works(&b);
	client_close(&a);
	client_close(&b);
}

/* amdgpu contexts of one native context are not without end. */
static void test_ctxs(void **state)
{
	struct amdvgpu_create_ctx req = { .flags = 0 };
	struct bench *bench = need_amdgpu(state);
	struct client c;
	unsigned int nr = 0;
	int32_t ret;

	start_limited(bench, &(const struct native_limits){ .bytes = 0 });
	client_start(bench, &c);
	do {
		ret = ret_of(call(&c, &req, AMDVGPU_CREATE_CTX, sizeof(req),
				  sizeof(struct amdvgpu_create_ctx_rsp)));
	} while (!ret && ++nr < 10000);
	assert_int_equal(ret, -ENOSPC);
	assert_true(nr >= 15);
	/* The first one makes room for that of the jobs. */
	assert_int_equal(free_ctx(&c, c.ctx), 0);
	expect_works(&c);
	client_close(&c);
}

#define UNSTARTED(name) cmocka_unit_test_setup_teardown(name, setup_without, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		UNSTARTED(test_bytes),
		UNSTARTED(test_buffers),
		UNSTARTED(test_mappings),
		UNSTARTED(test_jobs),
		UNSTARTED(test_jobs_in_one_stream),
		UNSTARTED(test_end_while_waiting_for_a_job),
		UNSTARTED(test_ctxs),
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
