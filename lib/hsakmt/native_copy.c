// SPDX-License-Identifier: MIT
/*
 * native_copy: the copy engine
 *
 * A copy becomes one or more jobs for the first queue of the SDMA engine, one at a time.
 * Each has a command buffer, of one page, of linear copies, and as the last packet a
 * fence: the engine writes a number to the end of that page.  If it is there when the
 * job is over, all was copied; if not the GPU has ended the job, as it does at an
 * address that is not mapped.  Then the scheduler refuses its context, so the next copy
 * gets another one.
 *
 * What the engine of a generation reads is in AMD's documents, and in Mesa's sid.h.
 *
 * Locking: as in native.h.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "native.h"

/* Packets, and lengths of those that are used in dwords. */
#define SDMA_NOP 0
#define SDMA_COPY 1
#define SDMA_COPY_LENGTH 7
#define SDMA_FENCE 5
#define SDMA_FENCE_LENGTH 4
/* A fence that passes by the GPU's caches; generation 5 and later. */
#define SDMA_FENCE_UNCACHED (3u << 16)
/* Command buffers are multiples of this, in dwords. */
#define SDMA_PADDING 16
/* Bytes of one packet, in all generations. */
#define MAX_PACKET 0x3fff00u
/* Of one job: they fit into a page, and take no second even on a slow bus. */
#define MAX_PACKETS 64u
/* Resources of a job. */
#define MAX_RESOURCES 1024
/* What the fence writes lies here, from the end of the page. */
#define VALUE_FROM_END 64

/**
 * struct job - a CS_SUBMIT, as long as it has resources
 * @submit: see there
 * @chunks: of it: command buffer and resources
 * @ib: command buffer
 * @entries: resources
 */
struct job {
	struct amdvgpu_cs_submit submit;
	struct amdvgpu_chunk chunks[2];
	struct drm_amdgpu_cs_chunk_ib ib;
	struct drm_amdgpu_bo_list_entry entries[MAX_RESOURCES];
};

static uint32_t *value_of(struct native_copier *copier)
{
	return (uint32_t *)((uint8_t *)copier->ib.map + copier->ib.size - VALUE_FROM_END);
}

static int create_context(struct hsakmt_gpu *gpu, uint32_t *ctx_id)
{
	struct amdvgpu_create_ctx cmd = {
		.req = { .cmd = AMDVGPU_CREATE_CTX, .len = sizeof(cmd) },
	};
	struct amdvgpu_create_ctx_rsp rsp;
	int ret;

	ret = native_call(gpu, NATIVE_RING_CPU, &cmd.req, &rsp.rsp, sizeof(rsp));
	if (ret)
		return ret;
	*ctx_id = rsp.ctx_id;
	return rsp.ctx_id ? 0 : -EPROTO;
}

static void destroy_context(struct hsakmt_gpu *gpu)
{
	struct amdvgpu_create_ctx cmd = {
		.req = { .cmd = AMDVGPU_CREATE_CTX, .len = sizeof(cmd) },
		.priority = gpu->copier.ctx_id,
		.flags = AMDVGPU_CTX_DESTROY,
	};
	struct amdvgpu_create_ctx_rsp rsp;

	/* Whether it is done or not, it is not used any more. */
	if (gpu->copier.ctx_id)
		native_call(gpu, NATIVE_RING_CPU, &cmd.req, &rsp.rsp, sizeof(rsp));
	gpu->copier.ctx_id = 0;
}

static int create_ib(struct hsakmt_gpu *gpu)
{
	struct native_copier *copier = &gpu->copier;
	struct hsakmt_gpu_range range = { .execute = true };
	int ret;

	ret = native_new_buffer(gpu, sysconf(_SC_PAGESIZE), &copier->ib);
	if (ret)
		return ret;
	range.res_handle = copier->ib.res;
	range.size = copier->ib.size;
	ret = native_map(gpu, &range, &copier->va);
	if (ret)
		native_blob_destroy(gpu, &copier->ib);
	return ret;
}

/* With the first copy, and what was lost with the last one. */
static int prepare(struct hsakmt_gpu *gpu)
{
	const struct native_hw_ip *dma = &gpu->info.dma;
	int ret;

	/* Later generations have other packets. */
	if (!(dma->rings & 1) || dma->major < 4 || dma->major > 6)
		return -EOPNOTSUPP;
	ret = gpu->copier.ib.handle ? 0 : create_ib(gpu);
	if (!ret && !gpu->copier.ctx_id)
		ret = create_context(gpu, &gpu->copier.ctx_id);
	return ret;
}

static int add_resource(struct job *job, unsigned int *nr, uint32_t res)
{
	unsigned int i;

	for (i = 0; i < *nr; i++)
		if (job->entries[i].bo_handle == res)
			return 0;
	if (*nr == MAX_RESOURCES)
		return -E2BIG;
	job->entries[(*nr)++].bo_handle = res;
	return 0;
}

/* Those that have something in a range of addresses. */
static int add_resources(struct hsakmt_gpu *gpu, struct job *job, unsigned int *nr, uint64_t at,
			 uint64_t size)
{
	uint64_t last = at + size - 1;
	struct interval_node *node;
	int ret = 0;

	for (node = interval_first(&gpu->va.used, at, last); node && !ret;
	     node = interval_next(&gpu->va.used, node, at, last))
		ret = add_resource(job, nr, ((struct native_mapping *)node)->res);
	return ret;
}

static uint32_t *put_copy(uint32_t *dw, uint64_t dst, uint64_t src, uint32_t size)
{
	*dw++ = SDMA_COPY;
	*dw++ = size - 1;
	*dw++ = 0;
	*dw++ = src;
	*dw++ = src >> 32;
	*dw++ = dst;
	*dw++ = dst >> 32;
	return dw;
}

static uint32_t *put_fence(uint32_t *dw, uint64_t at, uint32_t value, uint32_t generation)
{
	*dw++ = SDMA_FENCE | (generation >= 5 ? SDMA_FENCE_UNCACHED : 0);
	*dw++ = at;
	*dw++ = at >> 32;
	*dw++ = value;
	return dw;
}

/* Returns the command buffer's bytes. */
static uint32_t write_packets(struct hsakmt_gpu *gpu, uint64_t dst, uint64_t src, uint64_t size)
{
	struct native_copier *copier = &gpu->copier;
	uint64_t at = copier->va + copier->ib.size - VALUE_FROM_END, done, part;
	uint32_t *begin = copier->ib.map, *dw = begin;

	_Static_assert(4 * (MAX_PACKETS * SDMA_COPY_LENGTH + SDMA_FENCE_LENGTH + SDMA_PADDING) <=
			       4096 - VALUE_FROM_END,
		       "a page");
	for (done = 0; done < size; done += part) {
		part = size - done < MAX_PACKET ? size - done : MAX_PACKET;
		dw = put_copy(dw, dst + done, src + done, part);
	}
	dw = put_fence(dw, at, copier->value, gpu->info.dma.major);
	while ((dw - begin) % SDMA_PADDING)
		*dw++ = SDMA_NOP;
	return 4 * (dw - begin);
}

/* The first of the engine: those of the others come before it, and the CPU's. */
static uint32_t dma_ring(const struct native_info *info)
{
	return 1 + __builtin_popcount(info->gfx.rings) + __builtin_popcount(info->compute.rings);
}

static void set_job(struct hsakmt_gpu *gpu, struct job *job, unsigned int nr, uint32_t bytes)
{
	const uint32_t length = offsetof(struct job, entries) + nr * sizeof(job->entries[0]);

	job->submit.req.cmd = AMDVGPU_CS_SUBMIT;
	job->submit.req.len = length;
	job->submit.ctx_id = gpu->copier.ctx_id;
	job->submit.num_chunks = 2;
	job->submit.ring_idx = dma_ring(&gpu->info);
	job->chunks[0].id = AMDGPU_CHUNK_ID_IB;
	job->chunks[0].length_dw = sizeof(job->ib) / 4;
	job->chunks[1].id = AMDGPU_CHUNK_ID_BO_HANDLES;
	job->chunks[1].length_dw = nr * sizeof(job->entries[0]) / 4;
	job->chunks[1].offset = sizeof(job->ib);
	job->ib.va_start = gpu->copier.va;
	job->ib.ib_bytes = bytes;
	job->ib.ip_type = AMDGPU_HW_IP_DMA;
}

/* One job, of MAX_PACKETS at most; @job is all zero. */
static int run(struct hsakmt_gpu *gpu, struct job *job, uint64_t dst, uint64_t src, uint64_t size)
{
	struct native_copier *copier = &gpu->copier;
	uint32_t *value = value_of(copier);
	struct amdvgpu_rsp rsp;
	unsigned int nr = 0;
	int ret;

	ret = add_resource(job, &nr, copier->ib.res);
	if (!ret)
		ret = add_resources(gpu, job, &nr, dst, size);
	if (!ret)
		ret = add_resources(gpu, job, &nr, src, size);
	if (ret)
		return ret;
	/* One that no job has written before, and never 0. */
	copier->value += copier->value + 1 ? 1 : 2;
	__atomic_store_n(value, 0, __ATOMIC_RELAXED);
	set_job(gpu, job, nr, write_packets(gpu, dst, src, size));
	ret = native_call(gpu, dma_ring(&gpu->info), &job->submit.req, &rsp, sizeof(rsp));
	if (!ret && __atomic_load_n(value, __ATOMIC_ACQUIRE) != copier->value)
		ret = -ECANCELED;
	if (ret)
		destroy_context(gpu);
	return ret;
}

/**
 * native_copy() - let the GPU copy, and wait for it
 * @gpu: which
 * @dst: address on the GPU
 * @src: likewise; they do not overlap
 * @size: bytes
 *
 * Return: 0 or a negative errno: -ECANCELED if the GPU could not do it; part of it may
 * be done.
 */
int native_copy(struct hsakmt_gpu *gpu, uint64_t dst, uint64_t src, uint64_t size)
{
	uint64_t part;
	struct job *job;
	int ret;

	if (!size || dst + size - 1 < dst || src + size - 1 < src)
		return -EINVAL;
	job = malloc(sizeof(*job));
	if (!job)
		return -ENOMEM;
	ret = prepare(gpu);
	for (; size && !ret; size -= part, dst += part, src += part) {
		part = (uint64_t)MAX_PACKETS * MAX_PACKET;
		part = size < part ? size : part;
		memset(job, 0, sizeof(*job));
		ret = run(gpu, job, dst, src, part);
	}
	free(job);
	return ret;
}

/**
 * native_copy_close() - the context is being closed
 * @gpu: whose
 */
void native_copy_close(struct hsakmt_gpu *gpu)
{
	destroy_context(gpu);
	if (gpu->copier.va)
		native_unmap(gpu, gpu->copier.va, gpu->copier.ib.size);
	native_blob_destroy(gpu, &gpu->copier.ib);
}
