// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_chunks: jobs for the GPU as no driver would put them together
 */
#include "tests/renderer/amdgpu_hostile.h"

#ifdef HAVE_AMDGPU

/* A third chunk in a job: @words of it. */
static int32_t with_chunk(struct stage *s, uint16_t id, const void *words, size_t size)
{
	struct good g;
	struct job old;
	unsigned char *to = g.bytes + offsetof(struct job, chunks);
	struct amdvgpu_chunk chunks[3];
	size_t behind;

	make_good(s, AMDVGPU_CS_SUBMIT, &g);
	old = g.job;
	behind = g.len - offsetof(struct job, ib);
	memcpy(chunks, old.chunks, sizeof(old.chunks));
	chunks[2] = (struct amdvgpu_chunk){ id, (uint16_t)(size / 4), (uint32_t)behind };
	memcpy(to, chunks, sizeof(chunks));
	memcpy(to + sizeof(chunks), &old.ib, behind);
	memcpy(to + sizeof(chunks) + behind, words, size);
	g.len += sizeof(chunks[0]) + size;
	g.req.len = (uint32_t)g.len;
	g.job.num_chunks = 3;
	return run_good(s, &g, g.len);
}

static int32_t with_fence(struct stage *s, uint32_t handle, uint32_t offset)
{
	struct drm_amdgpu_cs_chunk_fence fence = { handle, offset };

	return with_chunk(s, AMDGPU_CHUNK_ID_FENCE, &fence, sizeof(fence));
}

static int32_t with_dependency(struct stage *s, uint32_t ctx, uint64_t handle)
{
	struct drm_amdgpu_cs_chunk_dep dep = { .ip_type = AMDGPU_HW_IP_DMA,
					       .ctx_id = ctx,
					       .handle = handle };

	return with_chunk(s, AMDGPU_CHUNK_ID_DEPENDENCIES, &dep, sizeof(dep));
}

static void test_chunks(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct buffer page;
	struct stage s;

	stage_start(bench, &s);
	new_buffer(&s.c, &page, PAGE, GTT, 0);
	assert_int_equal(with_fence(&s, page.id, 8), 0);
	WAIT_FOR(bench, *(volatile uint64_t *)(page.cpu + 8) == 1);
	assert_int_equal(with_fence(&s, page.id, PAGE - 4), -EINVAL);
	assert_int_equal(with_fence(&s, page.id, 12), -EINVAL);
	assert_int_equal(with_fence(&s, page.id, 0xfffffff8), -EINVAL);
	assert_int_equal(with_fence(&s, s.mine.id, 8), -EINVAL);
	assert_int_equal(with_fence(&s, s.theirs.id, 8), -ENOENT);
	assert_int_equal(with_fence(&s, 0, 8), -ENOENT);
	assert_int_equal(with_dependency(&s, s.c.ctx, 1), 0);
	assert_int_equal(with_dependency(&s, s.c.ctx, 1000), -EINVAL);
	assert_int_equal(with_dependency(&s, s.their_ctx, 1), -EINVAL);
	assert_int_equal(with_dependency(&s, 0, 1), -EINVAL);
	drop_buffer(&s.c, &page);
	stage_end(&s);
}

/* The list in front of the command buffer. */
static void test_order_of_chunks(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct stage s;
	struct good g;
	struct job *job = &g.job;
	struct drm_amdgpu_bo_list_entry list[2];
	unsigned char *data = g.bytes + offsetof(struct job, ib);

	stage_start(bench, &s);
	memset(s.mine.cpu, 0, PAGE);
	make_good(&s, AMDVGPU_CS_SUBMIT, &g);
	memcpy(list, job->list, sizeof(list));
	memmove(data + sizeof(list), &job->ib, sizeof(job->ib));
	memcpy(data, list, sizeof(list));
	job->chunks[0] = (struct amdvgpu_chunk){ AMDGPU_CHUNK_ID_BO_HANDLES, 4, 0 };
	job->chunks[1] = (struct amdvgpu_chunk){ AMDGPU_CHUNK_ID_IB, 8, sizeof(list) };
	assert_int_equal(run_good(&s, &g, g.len), 0);
	assert_int_equal(s.mine.cpu[0], 1);
	stage_end(&s);
}

/* 128 of them are read, and one more is not. */
static void test_many_chunks(void **state)
{
	struct bench *bench = need_amdgpu(state);
	static unsigned char bytes[4096];
	struct amdvgpu_chunk *chunks;
	unsigned int i, nr;
	struct stage s;
	struct good g;
	size_t len;

	stage_start(bench, &s);
	for (nr = 128; nr <= 129; nr++) {
		make_good(&s, AMDVGPU_CS_SUBMIT, &g);
		g.job.num_chunks = nr;
		g.job.chunks[0].id = 0x7777;
		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes, &g.job, offsetof(struct job, chunks));
		chunks = (struct amdvgpu_chunk *)(bytes + offsetof(struct job, chunks));
		for (i = 0; i < nr; i++)
			chunks[i] = (struct amdvgpu_chunk){ AMDGPU_CHUNK_ID_DEPENDENCIES, 6, 0 };
		len = offsetof(struct job, chunks) + nr * sizeof(*chunks) + 32;
		((struct amdvgpu_req *)bytes)->len = (uint32_t)len;
		assert_int_equal(answer_of(bench, post(&s.c, g.ring, bytes, len)), OK);
		assert_int_equal(ret_of(answer_at(&s.c, g.req.rsp_off)), -EINVAL);
	}
	expect_works(&s.c);
	stage_end(&s);
}

/* A ring is a number, and there are not more than that. */
static void test_rings(void **state)
{
	const struct {
		uint8_t ring;
		bool there;
	} rings[] = { { 0, true }, { 1, true }, { 63, true }, { 64, false }, { 255, false } };
	struct bench *bench = need_amdgpu(state);
	unsigned int i;
	struct stage s;
	struct good g;

	stage_start(bench, &s);
	for (i = 0; i < ARRAY_SIZE(rings); i++) {
		make_good(&s, AMDVGPU_CS_SUBMIT, &g);
		g.ring = rings[i].ring;
		memset(s.mine.cpu, 0, PAGE);
		assert_int_equal(run_good(&s, &g, g.len), rings[i].there ? 0 : REFUSED);
		/* A job has its fence on the ring that it names. */
		answer_of(bench, post(&s.c, (uint8_t)g.job.ring_idx, &i, 0));
		assert_int_equal(s.mine.cpu[0], rings[i].there);
	}
	expect_works(&s.c);
	stage_end(&s);
}

/* Bytes by chance, between commands that are well formed. */
static void test_rubbish(void **state)
{
	struct bench *bench = need_amdgpu(state);
	unsigned int round, i;
	uint32_t seed = 1;
	struct stage s;
	struct good g;

	stage_start(bench, &s);
	for (round = 0; round < 300; round++) {
		uint32_t cmd = 1 + round % AMDVGPU_CS_QUERY_FENCE_STATUS;

		make_good(&s, cmd, &g);
		for (i = 0; i < 1 + round % 5; i++) {
			seed = seed * 1664525 + 1013904223;
			g.bytes[16 + (seed >> 8) % (g.len - 16)] = (unsigned char)(seed >> 24);
		}
		if (cmd == AMDVGPU_CS_QUERY_FENCE_STATUS)
			g.query_fence.timeout = 0;
		answer_of(bench, post(&s.c, g.ring, g.bytes, g.len));
	}
	stage_end(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_chunks), TEST(test_order_of_chunks), TEST(test_many_chunks),
		TEST(test_rings),  TEST(test_rubbish),
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
