/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_client: a guest program in an amdgpu native context, for tests
 *
 * What a winsys in the guest would do: response memory, commands and their answers,
 * buffers with addresses for CPU and GPU, and jobs for the SDMA engine.
 *
 * A command buffer of CLIENT_IB bytes serves all jobs of a client, each of which
 * has a piece of it of its own, so that several can be held back.
 */
#ifndef AMDGPU_CLIENT_H
#define AMDGPU_CLIENT_H

#include "tests/renderer/amdgpu_test.h"

#ifdef HAVE_AMDGPU

#define CLIENT_SHMEM 0x4000u
#define CLIENT_IB 65536u
#define VA_IB 0x1000000ull
#define VA_FIRST 0x100000000ull
#define VA_SECOND 0x200000000ull
#define VA_THIRD 0x300000000ull
#define RWX (AMDGPU_VM_PAGE_READABLE | AMDGPU_VM_PAGE_WRITEABLE | AMDGPU_VM_PAGE_EXECUTABLE)
#define RO AMDGPU_VM_PAGE_READABLE
#define GTT AMDGPU_GEM_DOMAIN_GTT
#define VRAM AMDGPU_GEM_DOMAIN_VRAM
#define MAPPABLE VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE
#define SHAREABLE VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE
#define MAX_LIST 8
#define NR_IP_TYPES 3

/**
 * struct buffer - a buffer that the GPU made
 * @id: resource
 * @size: bytes
 * @va: address for the GPU, 0: none
 * @cpu: address for the CPU, or NULL
 * @attached: to the context of whoever has it
 */
struct buffer {
	uint32_t id;
	uint64_t size;
	uint64_t va;
	unsigned char *cpu;
	bool attached;
};

/**
 * struct client - a program
 * @bench: it runs there
 * @base: its context, NULL: destroyed
 * @shm: the response memory
 * @seqno: of the last command
 * @next_rsp: offset of the next answer
 * @blob_id: the last
 * @ctx: of the GPU, for jobs
 * @rings: first ring of the context for GFX, COMPUTE and DMA
 * @ib: command buffer
 * @at: dwords of it that are written
 * @start: where the job that is being written begins
 */
struct client {
	struct bench *bench;
	struct renderer_context *base;
	struct buffer shm;
	uint32_t seqno;
	uint32_t next_rsp;
	uint64_t blob_id;
	uint32_t ctx;
	uint8_t rings[NR_IP_TYPES];
	struct buffer ib;
	uint32_t at;
	uint32_t start;
};

/* ---- commands and answers ---- */

static inline volatile struct amdvgpu_shmem *shmem(const struct client *c)
{
	return (volatile struct amdvgpu_shmem *)c->shm.cpu;
}

static inline void *answer_at(const struct client *c, uint32_t rsp_off)
{
	return c->shm.cpu + shmem(c)->rsp_mem_offset + rsp_off;
}

/* Fills in the front of a command, whose answer has room for @rsp bytes. */
static inline void *prepare(struct client *c, void *command, uint32_t cmd, size_t len, uint32_t rsp)
{
	struct amdvgpu_req *req = command;
	struct amdvgpu_rsp *to;
	uint32_t room = c->shm.cpu ? CLIENT_SHMEM - shmem(c)->rsp_mem_offset : 0;

	*req = (struct amdvgpu_req){ .cmd = cmd, .len = (uint32_t)len, .seqno = ++c->seqno };
	if (!rsp)
		return command;
	rsp = (rsp + 7) & ~7u;
	assert_true(rsp <= room);
	if (c->next_rsp + rsp > room)
		c->next_rsp = 0;
	req->rsp_off = c->next_rsp;
	c->next_rsp += rsp;
	to = answer_at(c, req->rsp_off);
	memset(to, 0xee, rsp);
	to->len = rsp;
	return command;
}

/* Submit @size bytes on @ring; returns the cookie, which may have an answer already. */
static inline unsigned int post(struct client *c, uint8_t ring, const void *data, size_t size)
{
	struct renderer_submission work = {
		.ring = ring, .fenced = true, .data = data, .size = size
	};
	unsigned int cookie = new_cookie(c->bench);
	uint32_t ret = ops->submit(c->bench->renderer, c->base, &work, (void *)(uintptr_t)cookie);

	if (ret)
		refused_cookie(c->bench, cookie, ret);
	return cookie;
}

/* The same on the ring of the CPU, and wait for its end; returns how it was answered. */
static inline uint32_t run_stream(struct client *c, const void *data, size_t size)
{
	return answer_of(c->bench, post(c, 0, data, size));
}

/*
 * A command alone, to the end, with the answer, which stays until many others have
 * been made.
 */
static inline void *call(struct client *c, void *command, uint32_t cmd, size_t len, uint32_t rsp)
{
	struct amdvgpu_req *req = prepare(c, command, cmd, len, rsp);

	assert_int_equal(run_stream(c, req, len), OK);
	assert_int_equal(shmem(c)->seqno, req->seqno);
	return rsp ? answer_at(c, req->rsp_off) : NULL;
}

static inline int32_t ret_of(const void *rsp)
{
	return (int32_t)((const struct amdvgpu_rsp *)rsp)->ret;
}

static inline int32_t call_ret(struct client *c, void *command, uint32_t cmd, size_t len)
{
	return ret_of(call(c, command, cmd, len, sizeof(struct amdvgpu_rsp)));
}

/* Copies at most @size bytes of the answer to @out. */
static inline int32_t query(struct client *c, uint32_t what, uint32_t argument, void *out,
			    uint32_t size)
{
	struct amdvgpu_query_info req = { .return_size = size,
					  .query = what,
					  .argument = { argument } };
	unsigned char *rsp = call(c, &req, AMDVGPU_QUERY_INFO, sizeof(req),
				  (uint32_t)sizeof(struct amdvgpu_rsp) + size);

	memcpy(out, rsp + sizeof(struct amdvgpu_rsp), size);
	return ret_of(rsp);
}

/* ---- buffers ---- */

static inline void map_blob(struct client *c, struct buffer *b)
{
	struct renderer_mapping mapping;
	void *at;

	assert_int_equal(ops->blob_export(c->bench->renderer, b->id, &mapping), 0);
	at = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd,
		  (off_t)mapping.offset);
	assert_ptr_not_equal(at, MAP_FAILED);
	close(mapping.fd);
	b->cpu = at;
}

static inline int32_t va_op(struct client *c, uint32_t op, uint32_t id, uint64_t offset,
			    uint64_t va, uint64_t size, uint64_t flags)
{
	struct amdvgpu_bo_va_op req = {
		.va = va,
		.size = size,
		.flags = flags,
		.flags2 = id ? 0 : AMDVGPU_VA_OP_SPARSE,
		.offset = offset,
		.res_id = id,
		.op = op,
	};

	return call_ret(c, &req, AMDVGPU_BO_VA_OP, sizeof(req));
}

static inline int32_t map_va(struct client *c, uint32_t id, uint64_t va, uint64_t size,
			     uint64_t flags)
{
	return va_op(c, AMDGPU_VA_OP_MAP, id, 0, va, size, flags);
}

static inline int32_t unmap_va(struct client *c, uint32_t id, uint64_t va, uint64_t size)
{
	return va_op(c, AMDGPU_VA_OP_UNMAP, id, 0, va, size, 0);
}

/* GEM_NEW and CREATE_BLOB as a guest has them; the blob's answer. */
static inline uint32_t try_buffer(struct client *c, struct buffer *b, uint64_t size,
				  uint32_t domain, uint64_t flags, uint32_t blob_flags)
{
	struct renderer_blob blob = {
		.id = ++c->bench->last_resource,
		.mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.flags = blob_flags,
		.blob_id = ++c->blob_id,
		.size = size,
	};
	struct amdvgpu_gem_new req = {
		.blob_id = blob.blob_id,
		.size = size,
		.alignment = PAGE,
		.domain = domain,
		.flags = flags,
	};

	*b = (struct buffer){ .id = blob.id, .size = size };
	prepare(c, &req, AMDVGPU_GEM_NEW, sizeof(req), 0);
	run_stream(c, &req, sizeof(req));
	return make_blob(c->bench, c->base, &blob);
}

/* With both addresses, unless @va is 0. */
static inline void new_buffer_with(struct client *c, struct buffer *b, uint64_t size,
				   uint32_t domain, uint64_t va, uint32_t blob_flags)
{
	assert_int_equal(try_buffer(c, b, size, domain, AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED,
				    blob_flags),
			 OK);
	assert_int_equal(ops->blob_attach(c->base, b->id), 0);
	b->attached = true;
	map_blob(c, b);
	b->va = va;
	if (va)
		assert_int_equal(map_va(c, b->id, va, size, RWX), 0);
}

static inline void new_buffer(struct client *c, struct buffer *b, uint64_t size, uint32_t domain,
			      uint64_t va)
{
	new_buffer_with(c, b, size, domain, va, MAPPABLE);
}

/* Everything of it; the mapping of the GPU goes with it. */
static inline void drop_buffer(struct client *c, struct buffer *b)
{
	if (b->cpu)
		munmap(b->cpu, b->size);
	if (c->base && b->attached)
		ops->blob_detach(c->base, b->id);
	destroy_blob(c->bench, b->id);
	*b = (struct buffer){ .id = 0 };
}

/* ---- jobs ---- */

/* A CS_SUBMIT with one command buffer. */
struct job {
	struct amdvgpu_req req;
	uint32_t ctx_id;
	uint32_t num_chunks;
	uint32_t pad;
	uint32_t ring_idx;
	struct amdvgpu_chunk chunks[2];
	struct drm_amdgpu_cs_chunk_ib ib;
	struct drm_amdgpu_bo_list_entry list[MAX_LIST];
};

static inline void begin_job(struct client *c)
{
	c->at = (c->at + 63) & ~63u;
	if (c->at > CLIENT_IB / 4 - 1024)
		c->at = 0;
	c->start = c->at;
}

static inline void emit(struct client *c, const uint32_t *dw, unsigned int nr)
{
	assert_true(c->at + nr <= CLIENT_IB / 4);
	memcpy(c->ib.cpu + 4 * c->at, dw, 4 * nr);
	c->at += nr;
}

static inline void sdma_copy(struct client *c, uint64_t to, uint64_t from, uint32_t bytes)
{
	const uint32_t dw[] = { 1,
				bytes - 1,
				0,
				(uint32_t)from,
				(uint32_t)(from >> 32),
				(uint32_t)to,
				(uint32_t)(to >> 32) };

	emit(c, dw, ARRAY_SIZE(dw));
}

/* Four bytes of @value again and again. */
static inline void sdma_fill(struct client *c, uint64_t to, uint32_t value, uint32_t bytes)
{
	const uint32_t dw[] = { 11 | 2u << 30, (uint32_t)to, (uint32_t)(to >> 32), value,
				bytes - 1 };

	emit(c, dw, ARRAY_SIZE(dw));
}

/* What was emitted since begin_job(), which uses @ids besides; returns its length. */
static inline size_t make_job(struct client *c, struct job *job, uint32_t ip, uint32_t ring,
			      const uint32_t *ids, unsigned int nr)
{
	size_t entries = (nr + 1) * sizeof(job->list[0]);
	unsigned int i;

	assert_true(nr < MAX_LIST);
	*job = (struct job){
		.ctx_id = c->ctx,
		.num_chunks = 2,
		.ring_idx = c->rings[ip] + ring,
		.chunks = {
			{ AMDGPU_CHUNK_ID_IB, sizeof(job->ib) / 4, 0 },
			{ AMDGPU_CHUNK_ID_BO_HANDLES, (uint16_t)(entries / 4), sizeof(job->ib) },
		},
		.ib = {
			.va_start = c->ib.va + 4 * c->start,
			.ib_bytes = 4 * (c->at - c->start),
			.ip_type = ip,
			.ring = ring,
		},
		.list = { { .bo_handle = c->ib.id } },
	};
	for (i = 0; i < nr; i++)
		job->list[i + 1].bo_handle = ids[i];
	return offsetof(struct job, list) + entries;
}

/* Submits it to queue @ring of SDMA; its answer comes at *@rsp_off; returns the cookie. */
static inline unsigned int start_job_on(struct client *c, uint32_t ring, const uint32_t *ids,
					unsigned int nr, uint32_t *rsp_off)
{
	struct job job;
	size_t len = make_job(c, &job, AMDGPU_HW_IP_DMA, ring, ids, nr);

	prepare(c, &job, AMDVGPU_CS_SUBMIT, len, sizeof(struct amdvgpu_rsp));
	*rsp_off = job.req.rsp_off;
	return post(c, (uint8_t)job.ring_idx, &job, len);
}

/* Submitted without an error: the GPU has it, or soon. */
static inline unsigned int start_job(struct client *c, const uint32_t *ids, unsigned int nr)
{
	uint32_t rsp_off, seqno;
	unsigned int cookie = start_job_on(c, 0, ids, nr, &rsp_off);

	seqno = c->seqno;
	WAIT_FOR(c->bench, (int32_t)(shmem(c)->seqno - seqno) >= 0);
	assert_int_equal(ret_of(answer_at(c, rsp_off)), 0);
	return cookie;
}

/* To its end; what CS_SUBMIT was answered. */
static inline int32_t run_job(struct client *c, const uint32_t *ids, unsigned int nr)
{
	uint32_t rsp_off;
	unsigned int cookie = start_job_on(c, 0, ids, nr, &rsp_off);

	assert_int_equal(answer_of(c->bench, cookie), OK);
	return ret_of(answer_at(c, rsp_off));
}

static inline void copy_now(struct client *c, uint64_t to, uint64_t from, uint32_t bytes,
			    const uint32_t *ids, unsigned int nr)
{
	begin_job(c);
	sdma_copy(c, to, from, bytes);
	assert_int_equal(run_job(c, ids, nr), 0);
}

/* ---- the program ---- */

static inline uint32_t new_ctx(struct client *c)
{
	struct amdvgpu_create_ctx req = { .priority = AMDGPU_CTX_PRIORITY_NORMAL };
	struct amdvgpu_create_ctx_rsp *rsp =
		call(c, &req, AMDVGPU_CREATE_CTX, sizeof(req), sizeof(*rsp));

	assert_int_equal(ret_of(rsp), 0);
	assert_int_not_equal(rsp->ctx_id, 0);
	return rsp->ctx_id;
}

static inline int32_t free_ctx(struct client *c, uint32_t id)
{
	struct amdvgpu_create_ctx req = { .priority = id, .flags = AMDVGPU_CTX_DESTROY };

	return ret_of(call(c, &req, AMDVGPU_CREATE_CTX, sizeof(req),
			   sizeof(struct amdvgpu_create_ctx_rsp)));
}

static inline uint32_t try_shmem(struct client *c, uint64_t size)
{
	struct renderer_blob blob = {
		.id = ++c->bench->last_resource,
		.mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.flags = MAPPABLE,
		.size = size,
	};

	c->shm = (struct buffer){ .id = blob.id, .size = size };
	return make_blob(c->bench, c->base, &blob);
}

/* A context with its response memory, and nothing else. */
static inline void client_open(struct bench *bench, struct client *c)
{
	*c = (struct client){ .bench = bench, .base = new_context(bench) };
	assert_int_equal(try_shmem(c, CLIENT_SHMEM), OK);
	assert_int_equal(ops->blob_attach(c->base, c->shm.id), 0);
	map_blob(c, &c->shm);
	assert_true(shmem(c)->rsp_mem_offset >= sizeof(struct amdvgpu_shmem));
	assert_true(shmem(c)->rsp_mem_offset % 8 == 0);
}

/* And with what jobs need. */
static inline void client_start(struct bench *bench, struct client *c)
{
	struct drm_amdgpu_info_hw_ip ip;
	uint32_t type, rings = 1;

	client_open(bench, c);
	for (type = 0; type < NR_IP_TYPES; type++) {
		assert_int_equal(query(c, AMDGPU_INFO_HW_IP_INFO, type, &ip, sizeof(ip)), 0);
		c->rings[type] = (uint8_t)rings;
		rings += (uint32_t)__builtin_popcount(ip.available_rings);
	}
	c->ctx = new_ctx(c);
	new_buffer(c, &c->ib, CLIENT_IB, GTT, VA_IB);
}

/* The context as a guest ends it that was killed: first the context, then its blobs. */
static inline void client_kill(struct client *c)
{
	ops->context_destroy(c->bench->renderer, c->base);
	c->base = NULL;
}

static inline void client_close(struct client *c)
{
	if (c->ib.id)
		drop_buffer(c, &c->ib);
	if (c->base)
		ops->blob_detach(c->base, c->shm.id);
	munmap(c->shm.cpu, c->shm.size);
	destroy_blob(c->bench, c->shm.id);
	if (c->base)
		client_kill(c);
}

/* It can still do all it could, if in an amdgpu context that has done nothing wrong. */
static inline void expect_works(struct client *c)
{
	uint32_t errors = shmem(c)->async_error, ctx = c->ctx, ids[2];
	struct buffer from, to;

	c->ctx = new_ctx(c);
	new_buffer(c, &from, PAGE, GTT, 0x700000000ull);
	new_buffer(c, &to, PAGE, VRAM, 0x700010000ull);
	ids[0] = from.id;
	ids[1] = to.id;
	memset(from.cpu, 0x5a, PAGE);
	memset(to.cpu, 0, PAGE);
	copy_now(c, to.va, from.va, PAGE, ids, 2);
	assert_memory_equal(from.cpu, to.cpu, PAGE);
	drop_buffer(c, &from);
	drop_buffer(c, &to);
	assert_int_equal(free_ctx(c, c->ctx), 0);
	c->ctx = ctx;
	assert_int_equal(shmem(c)->async_error, errors);
}

#endif /* HAVE_AMDGPU */

#endif /* AMDGPU_CLIENT_H */
