/* SPDX-License-Identifier: MIT */
/*
 * amdvgpu: an amdgpu behind virtio-gpu, by the raw protocol
 *
 * A client of the native context of include/virtgpu_amdgpu.h without Mesa: for tests
 * that want to say exactly what goes to the device, and what no driver would.  It
 * copies with SDMA.  Nothing here knows the test harness; functions return 0 or a
 * negative errno unless said otherwise.
 *
 * Invariant: a command that is answered has been executed, or is reported as -EPROTO;
 * its answer is checked for the sequence number of the device.
 *
 * Threads: one at a time for a struct avc.
 */
#ifndef AMDVGPU_H
#define AMDVGPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/amdgpu_drm.h>

#include "virtgpu.h"
#include "virtgpu_amdgpu.h"

/* Where the client's own memory is for the GPU, and from where on a test's may be. */
#define AVC_VA_IB 0x1000000ull
#define AVC_VA 0x100000000ull

#define AVC_READ AMDGPU_VM_PAGE_READABLE
#define AVC_RW (AMDGPU_VM_PAGE_READABLE | AMDGPU_VM_PAGE_WRITEABLE)

/* How long a command or a job may take that nobody holds back. */
#define AVC_TIMEOUT_MS 60000
/* Dwords of the command buffer. */
#define AVC_IB_DWORDS 4096

/**
 * struct avc_bo - a buffer, or registered memory
 * @bo: GEM handle and resource
 * @size: bytes
 * @va: address for the GPU, or 0
 * @cpu: address in this process, or NULL
 * @mapped: @cpu is a mapping of ours, and not memory that was there before
 */
struct avc_bo {
	struct vg_bo bo;
	uint64_t size;
	uint64_t va;
	void *cpu;
	bool mapped;
};

/**
 * struct avc - an open device with one context of the GPU
 * @fd: node
 * @shmem: the response memory
 * @shared: the front of it
 * @answers: where answers go
 * @room: bytes of @answers
 * @next_answer: bytes of them given out
 * @seqno: of the last command
 * @next_blob: blob_id of the next buffer
 * @ctx: context of the GPU
 * @rings: ring of the first queue of each AMDGPU_HW_IP_*, 0 if it has none
 * @ib: command buffer
 * @dw: its dwords
 * @start: where the current job begins in it
 * @pos: where it ends
 */
struct avc {
	int fd;
	struct avc_bo shmem;
	struct amdvgpu_shmem *shared;
	uint8_t *answers;
	uint32_t room;
	uint32_t next_answer;
	uint32_t seqno;
	uint64_t next_blob;
	uint32_t ctx;
	uint32_t rings[AMDGPU_HW_IP_NUM];
	struct avc_bo ib;
	uint32_t *dw;
	uint32_t start;
	uint32_t pos;
};

/**
 * struct avc_job - a submission
 * @fence: sync file, or -1
 * @seqno: of the command
 * @answer: to it
 */
struct avc_job {
	int fence;
	uint32_t seqno;
	struct amdvgpu_rsp *answer;
};

int avc_open(struct avc *c, const char *node);
void avc_close(struct avc *c);

int avc_call(struct avc *c, struct amdvgpu_req *req, uint32_t cmd, size_t len, void *rsp,
	     size_t rsp_len);
int avc_query(struct avc *c, uint32_t query, uint32_t argument, void *data, size_t len);
int avc_context(struct avc *c, uint32_t *ctx);
int avc_context_free(struct avc *c, uint32_t ctx);

int avc_bo_new(struct avc *c, uint64_t size, uint32_t domain, struct avc_bo *bo);
int avc_bo_make(struct avc *c, uint64_t size, uint32_t domain, uint64_t va, struct avc_bo *bo);
int avc_bo_map(struct avc *c, struct avc_bo *bo);
int avc_register(struct avc *c, void *addr, uint64_t size, uint32_t flags, struct avc_bo *bo);
int avc_register_at(struct avc *c, void *addr, uint64_t size, uint64_t va, struct avc_bo *bo);
int avc_bo_free(struct avc *c, struct avc_bo *bo);

int avc_va_op(struct avc *c, uint32_t op, uint32_t res, uint64_t offset, uint64_t va, uint64_t size,
	      uint64_t flags);
int avc_va_map(struct avc *c, struct avc_bo *bo, uint64_t va, uint64_t flags);

void avc_begin(struct avc *c);
void avc_copy(struct avc *c, uint64_t dst, uint64_t src, uint64_t bytes);
void avc_fill(struct avc *c, uint64_t dst, uint32_t value, uint64_t bytes);

int avc_submit(struct avc *c, const uint32_t *resources, uint32_t nr, struct avc_job *job);
int avc_answer(struct avc *c, const struct avc_job *job, int timeout_ms);
int avc_wait(struct avc *c, struct avc_job *job, int timeout_ms);
int avc_run(struct avc *c, const uint32_t *resources, uint32_t nr);

#endif /* AMDVGPU_H */
