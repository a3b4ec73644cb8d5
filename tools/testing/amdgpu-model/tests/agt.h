/* SPDX-License-Identifier: MIT */
/*
 * agt: the software amdgpu by its ioctls
 *
 * What the tests have in common, without libdrm: what is tested is the kernel's part.  Functions
 * return 0 or a negative errno unless said otherwise.
 */
#ifndef AGT_H
#define AGT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <amdgpu_drm.h>
#include <drm.h>

#define AGT_PAGE 4096ul
/* How long something may take that is not held back on purpose. */
#define AGT_TIMEOUT_MS 30000
/* Dwords of the command buffer that agt_open() makes. */
#define AGT_IB_DWORDS 4096
#define AGT_VA_IB 0x1000000ull
/* Where tests map their own. */
#define AGT_VA 0x100000000ull

#define AGT_RW (AMDGPU_VM_PAGE_READABLE | AMDGPU_VM_PAGE_WRITEABLE | AMDGPU_VM_PAGE_EXECUTABLE)

#define AGT_GFX AMDGPU_HW_IP_GFX
#define AGT_COMPUTE AMDGPU_HW_IP_COMPUTE
#define AGT_SDMA AMDGPU_HW_IP_DMA

/* Bits of the file "hold". */
#define AGT_HOLD_GFX 0x01
#define AGT_HOLD_COMPUTE0 0x02
#define AGT_HOLD_SDMA0 0x20
#define AGT_HOLD_SDMA1 0x40
#define AGT_HOLD_ALL 0x7f

/**
 * struct agt_bo - an object
 * @handle: GEM handle
 * @size: bytes
 * @va: GPU address, or 0
 * @cpu: CPU address, or NULL
 */
struct agt_bo {
	uint32_t handle;
	uint64_t size;
	uint64_t va;
	void *cpu;
};

/**
 * struct agt - an open device with a context and a command buffer
 * @fd: render node
 * @ctx: context
 * @ib: command buffer; large enough for several
 * @dw: its dwords
 * @pos: how many have been written
 */
struct agt {
	int fd;
	uint32_t ctx;
	struct agt_bo ib;
	uint32_t *dw;
	uint32_t pos;
};

/**
 * struct agt_submit - what agt_submit() is told
 * @ip: AGT_GFX, AGT_COMPUTE or AGT_SDMA
 * @ring: its number
 * @bos: handles of objects that the job uses
 * @num_bos: how many
 * @in: syncobj to wait for, or 0
 * @in_point: of its timeline, or 0 for a binary one
 * @out: syncobj to signal, or 0
 * @out_point: likewise
 * @uf: handle of the object that gets the number at the end, or 0
 * @uf_offset: where in it
 * @ctx: context, or 0 for the one of struct agt
 * @seq: answer: number of the submission
 */
struct agt_submit {
	uint32_t ip;
	uint32_t ring;
	const uint32_t *bos;
	uint32_t num_bos;
	uint32_t in;
	uint64_t in_point;
	uint32_t out;
	uint64_t out_point;
	uint32_t uf;
	uint32_t uf_offset;
	uint32_t ctx;
	uint64_t seq;
};

int agt_node(char *path, size_t size);
int agt_open(struct agt *t);
void agt_close(struct agt *t);
int agt_ioctl(int fd, unsigned long request, void *arg);

int agt_bo_create(struct agt *t, uint64_t size, uint32_t domain, uint64_t flags, struct agt_bo *bo);
int agt_bo_map_cpu(struct agt *t, struct agt_bo *bo);
int agt_bo_make(struct agt *t, uint64_t size, uint32_t domain, uint64_t va, struct agt_bo *bo);
int agt_bo_userptr(struct agt *t, void *addr, uint64_t size, uint32_t flags, struct agt_bo *bo);
int agt_bo_wait(struct agt *t, struct agt_bo *bo, int timeout_ms);
void agt_bo_free(struct agt *t, struct agt_bo *bo);
int agt_gem_close(int fd, uint32_t handle);
int agt_export(struct agt *t, uint32_t handle);
int agt_import(struct agt *t, int dmabuf, uint32_t *handle);

int agt_va(struct agt *t, uint32_t op, uint32_t handle, uint64_t offset, uint64_t va, uint64_t size,
	   uint32_t flags);
int agt_map(struct agt *t, struct agt_bo *bo, uint64_t va, uint32_t flags);
int agt_unmap(struct agt *t, struct agt_bo *bo);

int agt_ctx_create(struct agt *t, uint32_t *ctx);
int agt_ctx_free(struct agt *t, uint32_t ctx);
int agt_ctx_flags(struct agt *t, uint32_t ctx, uint64_t *flags);

void agt_start(struct agt *t);
void agt_emit(struct agt *t, uint32_t count, const uint32_t *dw);
#define AGT_EMIT(t, ...) \
	agt_emit(t, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4, (uint32_t[]){ __VA_ARGS__ })
#define AGT_LO(v) ((uint32_t)(v))
#define AGT_HI(v) ((uint32_t)((uint64_t)(v) >> 32))
void agt_sdma_copy(struct agt *t, uint64_t dst, uint64_t src, uint32_t bytes);
void agt_sdma_fill(struct agt *t, uint64_t dst, uint32_t value, uint32_t bytes);
/* The head of a PM4 packet with so many dwords behind it. */
#define AGT_PM4(op, dwords) (3u << 30 | ((dwords)-1) << 16 | (op) << 8)

int agt_submit(struct agt *t, struct agt_submit *s);
int agt_wait(struct agt *t, struct agt_submit *s, int timeout_ms);
int agt_run(struct agt *t, uint32_t ip, const uint32_t *bos, uint32_t num_bos);

int agt_syncobj(struct agt *t, uint32_t *handle);
int agt_syncobj_wait(struct agt *t, uint32_t handle, uint64_t point, int timeout_ms);
uint64_t agt_now(void);

/**
 * struct agt_vgem - a buffer of another driver
 * @fd: its device
 * @handle: GEM handle there
 * @dmabuf: the buffer
 * @fence: of a writer
 */
struct agt_vgem {
	int fd;
	uint32_t handle;
	int dmabuf;
	uint32_t fence;
};

/* agt_vgem.c */
int agt_vgem_create(struct agt_vgem *v, uint32_t size);
int agt_vgem_attach_fence(struct agt_vgem *v);
int agt_vgem_signal_fence(struct agt_vgem *v);

/* agt_debugfs.c */
int agt_hold(uint32_t mask);
int agt_step(uint32_t jobs);
int agt_pending(const char *ring);
int64_t agt_stat(const char *name);
int agt_lockup(uint32_t ms);
int agt_limit(const char *pool, uint64_t bytes);

#endif /* AGT_H */
