/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_hostile: commands that work, to be spoilt, and a neighbour who must not notice
 */
#ifndef AMDGPU_HOSTILE_H
#define AMDGPU_HOSTILE_H

#include "tests/renderer/amdgpu_client.h"

#ifdef HAVE_AMDGPU

/* In place of a negative errno: the stream is refused. */
#define REFUSED 1

/**
 * struct stage - who is there
 * @c: the hostile one
 * @other: a neighbour
 * @mine: a buffer of @c, at VA_FIRST
 * @theirs: a buffer of @other
 * @their_ctx: an amdgpu context of @other with a number that @c has not
 */
struct stage {
	struct client c;
	struct client other;
	struct buffer mine;
	struct buffer theirs;
	uint32_t their_ctx;
};

/* A command that works. */
struct good {
	union {
		struct amdvgpu_req req;
		struct amdvgpu_query_info query_info;
		struct amdvgpu_gem_new gem_new;
		struct amdvgpu_bo_va_op va_op;
		struct amdvgpu_bo_query_info bo_query_info;
		struct amdvgpu_create_ctx create_ctx;
		struct amdvgpu_reserve_vmid reserve_vmid;
		struct amdvgpu_set_pstate set_pstate;
		struct amdvgpu_query_fence query_fence;
		struct {
			struct amdvgpu_req req;
			uint64_t flags;
			uint64_t tiling_info;
			uint32_t res_id;
			uint32_t size_metadata;
			uint32_t words[4];
		} set_metadata;
		struct job job;
		unsigned char bytes[1024];
	};
	size_t len;
	uint8_t ring;
};

static inline void hostile_start(struct bench *bench, struct stage *s)
{
	client_start(bench, &s->c);
	new_buffer(&s->c, &s->mine, 4 * PAGE, GTT, VA_FIRST);
}

static inline void hostile_end(struct stage *s)
{
	drop_buffer(&s->c, &s->mine);
	client_close(&s->c);
}

static inline void stage_start(struct bench *bench, struct stage *s)
{
	unsigned int i;

	client_start(bench, &s->other);
	new_buffer(&s->other, &s->theirs, 4 * PAGE, GTT, VA_FIRST);
	memset(s->theirs.cpu, 0x99, 4 * PAGE);
	for (i = 0; i < 4; i++)
		s->their_ctx = new_ctx(&s->other);
	hostile_start(bench, s);
}

static inline void stage_end(struct stage *s)
{
	unsigned int i;

	for (i = 0; i < 4 * PAGE; i++)
		assert_int_equal(s->theirs.cpu[i], 0x99);
	expect_works(&s->other);
	hostile_end(s);
	drop_buffer(&s->other, &s->theirs);
	client_close(&s->other);
}

static inline void make_submit(struct stage *s, struct good *g)
{
	struct client *c = &s->c;

	begin_job(c);
	sdma_fill(c, VA_FIRST, 1, PAGE);
	g->len = make_job(c, &g->job, AMDGPU_HW_IP_DMA, 0, &s->mine.id, 1);
	g->ring = (uint8_t)g->job.ring_idx;
}

static inline void make_good(struct stage *s, uint32_t cmd, struct good *g)
{
	struct client *c = &s->c;

	*g = (struct good){ .ring = 0 };
	switch (cmd) {
	case AMDVGPU_QUERY_INFO:
		g->query_info.query = AMDGPU_INFO_ACCEL_WORKING;
		g->query_info.return_size = 8;
		g->len = sizeof(g->query_info);
		break;
	case AMDVGPU_GEM_NEW:
		g->gem_new.blob_id = ++c->blob_id;
		g->gem_new.size = PAGE;
		g->gem_new.alignment = PAGE;
		g->gem_new.domain = GTT;
		g->len = sizeof(g->gem_new);
		break;
	case AMDVGPU_BO_VA_OP:
		g->va_op.va = VA_SECOND;
		g->va_op.size = 2 * PAGE;
		g->va_op.flags = RWX;
		g->va_op.res_id = s->mine.id;
		g->va_op.op = AMDGPU_VA_OP_MAP;
		g->len = sizeof(g->va_op);
		break;
	case AMDVGPU_CS_SUBMIT:
		make_submit(s, g);
		break;
	case AMDVGPU_SET_METADATA:
		g->set_metadata.res_id = s->mine.id;
		g->set_metadata.size_metadata = 16;
		g->len = sizeof(g->set_metadata);
		break;
	case AMDVGPU_BO_QUERY_INFO:
		g->bo_query_info.res_id = s->mine.id;
		g->len = sizeof(g->bo_query_info);
		break;
	case AMDVGPU_CREATE_CTX:
		g->len = sizeof(g->create_ctx);
		break;
	case AMDVGPU_RESERVE_VMID:
		g->len = sizeof(g->reserve_vmid);
		break;
	case AMDVGPU_SET_PSTATE:
		g->set_pstate.ctx_id = c->ctx;
		g->set_pstate.op = AMDGPU_CTX_OP_SET_STABLE_PSTATE;
		g->len = sizeof(g->set_pstate);
		break;
	default:
		g->query_fence.ctx_id = c->ctx;
		g->query_fence.ip_type = AMDGPU_HW_IP_DMA;
		g->query_fence.fence = 1;
		g->len = sizeof(g->query_fence);
		break;
	}
	prepare(c, g->bytes, cmd, g->len,
		cmd == AMDVGPU_GEM_NEW ? 0 : sizeof(struct amdvgpu_bo_query_info_rsp));
}

/* What came of it: REFUSED, or what the answer says. */
static inline int32_t run_good(struct stage *s, struct good *g, size_t size)
{
	uint32_t rsp_off = g->req.rsp_off;
	unsigned int cookie = post(&s->c, g->ring, g->bytes, size);

	if (answer_of(s->c.bench, cookie) != OK)
		return REFUSED;
	return ret_of(answer_at(&s->c, rsp_off));
}

#endif /* HAVE_AMDGPU */

#endif /* AMDGPU_HOSTILE_H */
