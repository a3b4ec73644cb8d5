// SPDX-License-Identifier: MIT
/*
 * amdvgpu: an amdgpu behind virtio-gpu, by the raw protocol
 *
 * See amdvgpu.h; memory is in amdvgpu-memory.c.  Nothing here keeps state outside of
 * struct avc.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agt_sdma.h"
#include "amdvgpu.h"

/* As large as Mesa's. */
#define SHMEM_BYTES 0x4000u
#define MAX_RESOURCES 16u
/* A job begins at a multiple of this many dwords, and is that long. */
#define IB_ALIGN 64u
#define JOB_DWORDS 1024u

/**
 * struct drm_capset - the part of the capset DRM that is the same for all drivers
 * @wire_format_version: of the commands
 * @version_major: of the driver
 * @version_minor: of the driver
 * @version_patchlevel: of the driver
 * @context_type: AMDVGPU_CONTEXT_TYPE
 * @pad: 0
 */
struct drm_capset {
	__le32 wire_format_version;
	__le32 version_major;
	__le32 version_minor;
	__le32 version_patchlevel;
	__le32 context_type;
	__le32 pad;
};

/* Whether the device has executed the command @seqno. */
static int executed(const struct avc *c, uint32_t seqno)
{
	uint32_t done = le32toh(__atomic_load_n(&c->shared->seqno, __ATOMIC_ACQUIRE));

	return (int32_t)(done - seqno) >= 0;
}

/* Room for an answer; that of the oldest is taken again. */
static struct amdvgpu_rsp *answer_room(struct avc *c, size_t len, uint32_t *offset)
{
	uint32_t size = (len + 7) & ~7u;
	struct amdvgpu_rsp *rsp;

	if (c->next_answer + size > c->room)
		c->next_answer = 0;
	*offset = c->next_answer;
	rsp = (void *)(c->answers + *offset);
	c->next_answer += size;
	memset(rsp, 0, size);
	rsp->len = htole32(size);
	return rsp;
}

/* Sends a command with a fence on @ring, and notes where its answer will be. */
static int send_command(struct avc *c, uint32_t ring, struct amdvgpu_req *req, size_t len,
			size_t rsp_len, struct avc_job *job)
{
	struct drm_virtgpu_execbuffer arg = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT | VIRTGPU_EXECBUF_RING_IDX,
		.size = len,
		.command = (uintptr_t)req,
		.ring_idx = ring,
		.fence_fd = -1,
	};
	uint32_t offset;
	int ret;

	job->fence = -1;
	job->answer = answer_room(c, rsp_len, &offset);
	job->seqno = ++c->seqno;
	req->len = htole32(len);
	req->seqno = htole32(job->seqno);
	req->rsp_off = htole32(offset);
	do {
		ret = vg_ioctl(c->fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &arg);
	} while (ret == -EINTR);
	if (!ret)
		job->fence = arg.fence_fd;
	return ret;
}

/**
 * avc_call() - send a command, and wait for what the device says
 * @c: device
 * @req: command; its head is filled in here
 * @cmd: enum amdvgpu_command
 * @len: bytes of @req, a multiple of 8
 * @rsp: where the answer goes, or NULL
 * @rsp_len: bytes that the answer has, with its head
 *
 * Return: what the device says, or a negative errno; -EPROTO if it has not executed it.
 */
int avc_call(struct avc *c, struct amdvgpu_req *req, uint32_t cmd, size_t len, void *rsp,
	     size_t rsp_len)
{
	struct avc_job job;
	int ret;

	req->cmd = htole32(cmd);
	ret = send_command(c, 0, req, len, rsp_len, &job);
	if (!ret)
		ret = vg_wait_fence(job.fence, AVC_TIMEOUT_MS);
	if (ret)
		return ret;
	if (!executed(c, job.seqno))
		return -EPROTO;
	if (rsp)
		memcpy(rsp, job.answer, rsp_len);
	return (int32_t)le32toh(job.answer->ret);
}

/**
 * avc_query() - DRM_IOCTL_AMDGPU_INFO
 * @c: device
 * @query: AMDGPU_INFO_*
 * @argument: first word of the query's arguments
 * @data: out
 * @len: bytes of @data
 *
 * Return: 0 or a negative errno.
 */
int avc_query(struct avc *c, uint32_t query, uint32_t argument, void *data, size_t len)
{
	struct amdvgpu_query_info req = {
		.return_size = htole32(len),
		.query = htole32(query),
		.argument = { htole32(argument) },
	};
	struct amdvgpu_rsp *rsp = calloc(1, sizeof(*rsp) + len);
	int ret;

	if (!rsp)
		return -ENOMEM;
	ret = avc_call(c, &req.req, AMDVGPU_QUERY_INFO, sizeof(req), rsp, sizeof(*rsp) + len);
	if (!ret)
		memcpy(data, rsp + 1, len);
	free(rsp);
	return ret;
}

/**
 * avc_context() - make one more context of the GPU
 * @c: device
 * @ctx: out
 *
 * Return: 0 or a negative errno.
 */
int avc_context(struct avc *c, uint32_t *ctx)
{
	struct amdvgpu_create_ctx req = { .priority = htole32(AMDGPU_CTX_PRIORITY_NORMAL) };
	struct amdvgpu_create_ctx_rsp rsp;
	int ret;

	ret = avc_call(c, &req.req, AMDVGPU_CREATE_CTX, sizeof(req), &rsp, sizeof(rsp));
	if (!ret)
		*ctx = le32toh(rsp.ctx_id);
	return ret;
}

/**
 * avc_context_free() - destroy a context of the GPU
 * @c: device
 * @ctx: the context
 *
 * Return: 0 or a negative errno.
 */
int avc_context_free(struct avc *c, uint32_t ctx)
{
	struct amdvgpu_create_ctx req = {
		.priority = htole32(ctx),
		.flags = htole32(AMDVGPU_CTX_DESTROY),
	};

	return avc_call(c, &req.req, AMDVGPU_CREATE_CTX, sizeof(req), NULL,
			sizeof(struct amdvgpu_create_ctx_rsp));
}

static int check_capset(int fd)
{
	struct drm_capset capset = { 0 };
	struct drm_virtgpu_get_caps arg = {
		.cap_set_id = AMDVGPU_CAPSET_DRM,
		.addr = (uintptr_t)&capset,
		.size = sizeof(capset),
	};
	int ret;

	ret = vg_ioctl(fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &arg);
	if (ret)
		return ret;
	return le32toh(capset.context_type) == AMDVGPU_CONTEXT_TYPE ? 0 : -ENODEV;
}

static int make_shmem(struct avc *c)
{
	struct drm_virtgpu_resource_create_blob arg = {
		.blob_mem = VIRTGPU_BLOB_MEM_HOST3D,
		.blob_flags = VIRTGPU_BLOB_FLAG_USE_MAPPABLE,
		.size = SHMEM_BYTES,
	};
	uint32_t front;
	int ret;

	ret = vg_ioctl(c->fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB, &arg);
	if (ret)
		return ret;
	c->shmem.bo.handle = arg.bo_handle;
	c->shmem.bo.res = arg.res_handle;
	c->shmem.size = SHMEM_BYTES;
	ret = avc_bo_map(c, &c->shmem);
	if (ret)
		return ret;
	c->shared = c->shmem.cpu;
	front = le32toh(c->shared->rsp_mem_offset);
	if (front < sizeof(*c->shared) || front % 8 || front > SHMEM_BYTES / 2)
		return -EPROTO;
	c->answers = (uint8_t *)c->shmem.cpu + front;
	c->room = SHMEM_BYTES - front;
	return 0;
}

/* Rings are numbered in the order of the queues; see virtgpu_amdgpu.h. */
static int find_rings(struct avc *c)
{
	struct drm_amdgpu_info_hw_ip info;
	uint32_t next = 1, ip;
	int ret;

	for (ip = 0; ip < AMDGPU_HW_IP_NUM; ip++) {
		memset(&info, 0, sizeof(info));
		ret = avc_query(c, AMDGPU_INFO_HW_IP_INFO, ip, &info, sizeof(info));
		if (ret == -EPROTO || ret == -ETIME)
			return ret;
		if (ret || !info.available_rings)
			continue;
		c->rings[ip] = next;
		next += __builtin_popcount(info.available_rings);
	}
	return c->rings[AMDGPU_HW_IP_DMA] ? 0 : -ENODEV;
}

static int open_all(struct avc *c)
{
	int ret;

	ret = check_capset(c->fd);
	if (!ret)
		ret = vg_context_init(c->fd, AMDVGPU_CAPSET_DRM, AMDVGPU_MAX_RINGS);
	if (!ret)
		ret = make_shmem(c);
	if (!ret)
		ret = find_rings(c);
	if (!ret)
		ret = avc_context(c, &c->ctx);
	if (!ret)
		ret = avc_bo_make(c, AVC_IB_DWORDS * 4, AMDGPU_GEM_DOMAIN_GTT, AVC_VA_IB, &c->ib);
	c->dw = c->ib.cpu;
	return ret;
}

/**
 * avc_open() - open a node and make a context with all that a job needs
 * @c: out
 * @node: path of a render node, or of a primary one for root
 *
 * Return: 0 or a negative errno; -ENODEV if there is no amdgpu behind it.
 */
int avc_open(struct avc *c, const char *node)
{
	int ret;

	memset(c, 0, sizeof(*c));
	c->fd = vg_open_node(node);
	if (c->fd < 0)
		return c->fd;
	ret = open_all(c);
	if (ret)
		avc_close(c);
	return ret;
}

/**
 * avc_close() - close the node, and with it all that was made through it
 * @c: may be half-open or closed
 */
void avc_close(struct avc *c)
{
	if (c->ib.mapped)
		munmap(c->ib.cpu, c->ib.size);
	if (c->shmem.mapped)
		munmap(c->shmem.cpu, c->shmem.size);
	if (c->fd > 0)
		close(c->fd);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

/**
 * avc_begin() - begin the commands of a job
 * @c: device
 *
 * Those of the few jobs before stay as they are: they may not have been executed yet.
 */
void avc_begin(struct avc *c)
{
	c->start = (c->pos + IB_ALIGN - 1) & ~(IB_ALIGN - 1);
	if (c->start + JOB_DWORDS > AVC_IB_DWORDS)
		c->start = 0;
	c->pos = c->start;
}

/* Whether there is room for one more packet, and for what fills up the end. */
static int has_room(const struct avc *c)
{
	return c->pos + AGT_SDMA_DWORDS + 8 <= c->start + JOB_DWORDS;
}

/**
 * avc_copy() - add copying to the job
 * @c: device
 * @dst: address for the GPU
 * @src: address for the GPU
 * @bytes: how many
 */
void avc_copy(struct avc *c, uint64_t dst, uint64_t src, uint64_t bytes)
{
	uint64_t part;

	while (bytes && has_room(c)) {
		part = bytes < AGT_SDMA_COPY_MAX ? bytes : AGT_SDMA_COPY_MAX;
		c->pos += agt_sdma_put_copy(c->dw + c->pos, dst, src, part);
		dst += part;
		src += part;
		bytes -= part;
	}
}

/**
 * avc_fill() - add filling to the job
 * @c: device
 * @dst: address for the GPU, a multiple of 4
 * @value: what with
 * @bytes: how many, a multiple of 4
 */
void avc_fill(struct avc *c, uint64_t dst, uint32_t value, uint64_t bytes)
{
	uint64_t part;

	while (bytes && has_room(c)) {
		part = bytes < AGT_SDMA_FILL_MAX ? bytes : AGT_SDMA_FILL_MAX;
		c->pos += agt_sdma_put_fill(c->dw + c->pos, dst, value, part);
		dst += part;
		bytes -= part;
	}
}

/**
 * struct submission - a command CS_SUBMIT as avc_submit() makes it
 * @head: the command
 * @chunks: its two chunks
 * @ib: the first
 * @list: the second
 */
struct submission {
	struct amdvgpu_cs_submit head;
	struct amdvgpu_chunk chunks[2];
	struct drm_amdgpu_cs_chunk_ib ib;
	struct drm_amdgpu_bo_list_entry list[MAX_RESOURCES + 1];
};

/**
 * avc_submit() - submit the job to the first queue of SDMA
 * @c: device
 * @resources: what it uses besides the command buffer
 * @nr: how many, at most 15
 * @job: out
 *
 * Return: 0 or a negative errno; what the device says is for avc_answer().
 */
int avc_submit(struct avc *c, const uint32_t *resources, uint32_t nr, struct avc_job *job)
{
	const uint32_t ring = c->rings[AMDGPU_HW_IP_DMA];
	struct submission s = { 0 };
	uint32_t i;

	if (nr >= MAX_RESOURCES)
		return -E2BIG;
	/* The engine reads eight dwords at a time; 0 is a NOP. */
	while (c->pos % 8)
		c->dw[c->pos++] = 0;
	s.head.req.cmd = htole32(AMDVGPU_CS_SUBMIT);
	s.head.ctx_id = htole32(c->ctx);
	s.head.num_chunks = htole32(2);
	s.head.ring_idx = htole32(ring);
	s.chunks[0].id = htole16(AMDGPU_CHUNK_ID_IB);
	s.chunks[0].length_dw = htole16(sizeof(s.ib) / 4);
	s.ib.va_start = htole64(AVC_VA_IB + c->start * 4);
	s.ib.ib_bytes = htole32((c->pos - c->start) * 4);
	s.ib.ip_type = htole32(AMDGPU_HW_IP_DMA);
	s.chunks[1].id = htole16(AMDGPU_CHUNK_ID_BO_HANDLES);
	s.chunks[1].length_dw = htole16((nr + 1) * sizeof(s.list[0]) / 4);
	s.chunks[1].offset = htole32(sizeof(s.ib));
	s.list[0].bo_handle = htole32(c->ib.bo.res);
	for (i = 0; i < nr; i++)
		s.list[i + 1].bo_handle = htole32(resources[i]);
	return send_command(c, ring, &s.head.req,
			    offsetof(struct submission, list) + (nr + 1) * sizeof(s.list[0]),
			    sizeof(struct amdvgpu_rsp), job);
}

/**
 * avc_answer() - whether the device has taken a job
 * @c: device
 * @job: of avc_submit()
 * @timeout_ms: how long to wait for the answer
 *
 * Nothing signals it but a word of memory, which is looked at again and again; the
 * fence is that of the job.
 *
 * Return: what the device says, -ETIME or another negative errno.
 */
int avc_answer(struct avc *c, const struct avc_job *job, int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = 1000 * 1000 };
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (!executed(c, job->seqno)) {
		if (vg_now_us() > end)
			return -ETIME;
		nanosleep(&pause, NULL);
	}
	return (int32_t)le32toh(job->answer->ret);
}

/**
 * avc_wait() - wait for the end of a job
 * @c: device
 * @job: of avc_submit(); is over afterwards, but after -ETIME
 * @timeout_ms: how long
 *
 * Return: what the device has said to it, -ETIME, or another negative errno.
 */
int avc_wait(struct avc *c, struct avc_job *job, int timeout_ms)
{
	int copy = dup(job->fence), ret;

	if (copy < 0)
		return -errno;
	ret = vg_wait_fence(copy, timeout_ms);
	if (ret)
		return ret;
	close(job->fence);
	job->fence = -1;
	return executed(c, job->seqno) ? (int32_t)le32toh(job->answer->ret) : -EPROTO;
}

/**
 * avc_run() - submit the job, and wait for its end
 * @c: device
 * @resources: see avc_submit()
 * @nr: see avc_submit()
 *
 * Return: 0 or a negative errno.
 */
int avc_run(struct avc *c, const uint32_t *resources, uint32_t nr)
{
	struct avc_job job;
	int ret;

	ret = avc_submit(c, resources, nr, &job);
	return ret ? ret : avc_wait(c, &job, AVC_TIMEOUT_MS);
}
