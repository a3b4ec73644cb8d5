// SPDX-License-Identifier: MIT
/*
 * See agt.h.
 *
 * Every helper is one ioctl, or few; none tries again or hides an error.
 */
#include "agt.h"
#include "agt_sdma.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int agt_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret && (errno == EINTR || errno == EAGAIN));
	return ret ? -errno : 0;
}

static bool is_amdgpu(int fd)
{
	char name[16] = { 0 };
	struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

	return !agt_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "amdgpu");
}

/* The render node of the model. */
int agt_node(char *path, size_t size)
{
	int nr, fd;
	bool found;

	for (nr = 128; nr < 136; nr++) {
		snprintf(path, size, "/dev/dri/renderD%d", nr);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		found = is_amdgpu(fd);
		close(fd);
		if (found)
			return 0;
	}
	return -ENODEV;
}

int agt_open(struct agt *t)
{
	char path[64];
	int ret = agt_node(path, sizeof(path));

	memset(t, 0, sizeof(*t));
	t->fd = -1;
	if (ret)
		return ret;
	t->fd = open(path, O_RDWR | O_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	ret = agt_ctx_create(t, &t->ctx);
	if (!ret)
		ret = agt_bo_make(t, 4 * AGT_IB_DWORDS, AMDGPU_GEM_DOMAIN_GTT, AGT_VA_IB, &t->ib);
	t->dw = t->ib.cpu;
	return ret;
}

void agt_close(struct agt *t)
{
	if (t->ib.cpu)
		munmap(t->ib.cpu, t->ib.size);
	if (t->fd >= 0)
		close(t->fd);
}

int agt_bo_create(struct agt *t, uint64_t size, uint32_t domain, uint64_t flags, struct agt_bo *bo)
{
	union drm_amdgpu_gem_create args = {
		.in = { .bo_size = size, .domains = domain, .domain_flags = flags }
	};
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_GEM_CREATE, &args);

	*bo = (struct agt_bo){ .size = size };
	if (!ret)
		bo->handle = args.out.handle;
	return ret;
}

int agt_bo_map_cpu(struct agt *t, struct agt_bo *bo)
{
	union drm_amdgpu_gem_mmap args = { .in.handle = bo->handle };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_GEM_MMAP, &args);
	void *cpu;

	if (ret)
		return ret;
	cpu = mmap(NULL, bo->size, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd,
		   (off_t)args.out.addr_ptr);
	if (cpu == MAP_FAILED)
		return -errno;
	bo->cpu = cpu;
	return 0;
}

/* An object with both addresses. */
int agt_bo_make(struct agt *t, uint64_t size, uint32_t domain, uint64_t va, struct agt_bo *bo)
{
	int ret = agt_bo_create(t, size, domain, AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED, bo);

	if (!ret)
		ret = agt_bo_map_cpu(t, bo);
	return ret ? ret : agt_map(t, bo, va, AGT_RW);
}

int agt_bo_userptr(struct agt *t, void *addr, uint64_t size, uint32_t flags, struct agt_bo *bo)
{
	struct drm_amdgpu_gem_userptr args = { .addr = (uintptr_t)addr,
					       .size = size,
					       .flags = flags };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_GEM_USERPTR, &args);

	*bo = (struct agt_bo){ .size = size };
	if (!ret)
		bo->handle = args.handle;
	return ret;
}

/* 0 when it is idle, -ETIME if it is not. */
int agt_bo_wait(struct agt *t, struct agt_bo *bo, int timeout_ms)
{
	union drm_amdgpu_gem_wait_idle args = {
		.in = { .handle = bo->handle,
			.timeout = timeout_ms ? agt_now() + timeout_ms * 1000000ull : 0 }
	};
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_GEM_WAIT_IDLE, &args);

	return ret ? ret : args.out.status ? -ETIME : 0;
}

int agt_gem_close(int fd, uint32_t handle)
{
	struct drm_gem_close args = { .handle = handle };

	return agt_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &args);
}

/* With its CPU mapping; mappings in the GPU's address space go with the handle. */
void agt_bo_free(struct agt *t, struct agt_bo *bo)
{
	if (bo->cpu)
		munmap(bo->cpu, bo->size);
	if (bo->handle)
		agt_gem_close(t->fd, bo->handle);
	*bo = (struct agt_bo){ 0 };
}

/* A dma-buf, or a negative errno. */
int agt_export(struct agt *t, uint32_t handle)
{
	struct drm_prime_handle args = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);

	return ret ? ret : args.fd;
}

int agt_import(struct agt *t, int dmabuf, uint32_t *handle)
{
	struct drm_prime_handle args = { .fd = dmabuf };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);

	*handle = args.handle;
	return ret;
}

int agt_va(struct agt *t, uint32_t op, uint32_t handle, uint64_t offset, uint64_t va, uint64_t size,
	   uint32_t flags)
{
	struct drm_amdgpu_gem_va args = {
		.handle = handle,
		.operation = op,
		.flags = flags,
		.va_address = va,
		.offset_in_bo = offset,
		.map_size = size,
	};

	return agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_GEM_VA, &args);
}

int agt_map(struct agt *t, struct agt_bo *bo, uint64_t va, uint32_t flags)
{
	int ret = agt_va(t, AMDGPU_VA_OP_MAP, bo->handle, 0, va, bo->size, flags);

	if (!ret)
		bo->va = va;
	return ret;
}

int agt_unmap(struct agt *t, struct agt_bo *bo)
{
	return agt_va(t, AMDGPU_VA_OP_UNMAP, bo->handle, 0, bo->va, bo->size, 0);
}

int agt_ctx_create(struct agt *t, uint32_t *ctx)
{
	union drm_amdgpu_ctx args = { .in.op = AMDGPU_CTX_OP_ALLOC_CTX };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_CTX, &args);

	*ctx = args.out.alloc.ctx_id;
	return ret;
}

int agt_ctx_free(struct agt *t, uint32_t ctx)
{
	union drm_amdgpu_ctx args = { .in = { .op = AMDGPU_CTX_OP_FREE_CTX, .ctx_id = ctx } };

	return agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_CTX, &args);
}

/* AMDGPU_CTX_QUERY2_FLAGS_* of a context. */
int agt_ctx_flags(struct agt *t, uint32_t ctx, uint64_t *flags)
{
	union drm_amdgpu_ctx args = { .in = { .op = AMDGPU_CTX_OP_QUERY_STATE2, .ctx_id = ctx } };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_CTX, &args);

	*flags = args.out.state.flags;
	return ret;
}

/* A new command buffer; the last one must have been executed. */
void agt_start(struct agt *t)
{
	t->pos = 0;
}

void agt_emit(struct agt *t, uint32_t count, const uint32_t *dw)
{
	if (t->pos + count <= AGT_IB_DWORDS)
		memcpy(t->dw + t->pos, dw, 4 * count);
	t->pos += count;
}

void agt_sdma_copy(struct agt *t, uint64_t dst, uint64_t src, uint32_t bytes)
{
	uint32_t dw[AGT_SDMA_DWORDS];

	agt_emit(t, agt_sdma_put_copy(dw, dst, src, bytes), dw);
}

void agt_sdma_fill(struct agt *t, uint64_t dst, uint32_t value, uint32_t bytes)
{
	uint32_t dw[AGT_SDMA_DWORDS];

	agt_emit(t, agt_sdma_put_fill(dw, dst, value, bytes), dw);
}

/* Chunks of a submission, and what they point to. */
struct chunks {
	struct drm_amdgpu_cs_chunk chunk[8];
	uint64_t pointer[8];
	uint32_t count;
	struct drm_amdgpu_cs_chunk_ib ib;
	struct drm_amdgpu_bo_list_in list;
	struct drm_amdgpu_bo_list_entry entries[64];
	struct drm_amdgpu_cs_chunk_syncobj in;
	struct drm_amdgpu_cs_chunk_syncobj out;
	struct drm_amdgpu_cs_chunk_fence fence;
};

static void add_chunk(struct chunks *c, uint32_t id, const void *data, size_t size)
{
	struct drm_amdgpu_cs_chunk *chunk = &c->chunk[c->count];

	chunk->chunk_id = id;
	chunk->length_dw = (uint32_t)(size / 4);
	chunk->chunk_data = (uintptr_t)data;
	c->pointer[c->count++] = (uintptr_t)chunk;
}

static void add_list(struct agt *t, struct chunks *c, const struct agt_submit *s)
{
	uint32_t i;

	for (i = 0; i < s->num_bos && i < 63; i++)
		c->entries[i].bo_handle = s->bos[i];
	c->entries[i++].bo_handle = t->ib.handle;
	c->list.operation = ~0u;
	c->list.list_handle = ~0u;
	c->list.bo_number = i;
	c->list.bo_info_size = sizeof(c->entries[0]);
	c->list.bo_info_ptr = (uintptr_t)c->entries;
	add_chunk(c, AMDGPU_CHUNK_ID_BO_HANDLES, &c->list, sizeof(c->list));
}

static void add_syncobjs(struct chunks *c, const struct agt_submit *s)
{
	c->in.handle = s->in;
	c->in.point = s->in_point;
	c->out.handle = s->out;
	c->out.point = s->out_point;
	if (s->in)
		add_chunk(c, AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, &c->in, sizeof(c->in));
	if (s->out)
		add_chunk(c, AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL, &c->out, sizeof(c->out));
}

/* The command buffer as it is. */
int agt_submit(struct agt *t, struct agt_submit *s)
{
	union drm_amdgpu_cs args = { 0 };
	struct chunks c = { 0 };
	int ret;

	c.ib.va_start = t->ib.va;
	c.ib.ib_bytes = 4 * t->pos;
	c.ib.ip_type = s->ip;
	c.ib.ring = s->ring;
	add_chunk(&c, AMDGPU_CHUNK_ID_IB, &c.ib, sizeof(c.ib));
	add_list(t, &c, s);
	add_syncobjs(&c, s);
	c.fence.handle = s->uf;
	c.fence.offset = s->uf_offset;
	if (s->uf)
		add_chunk(&c, AMDGPU_CHUNK_ID_FENCE, &c.fence, sizeof(c.fence));
	args.in.ctx_id = s->ctx ? s->ctx : t->ctx;
	args.in.num_chunks = c.count;
	args.in.chunks = (uintptr_t)c.pointer;
	ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_CS, &args);
	s->seq = args.out.handle;
	return ret;
}

uint64_t agt_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* 0 at its end, -ETIME if that has not come, else the error of the job. */
int agt_wait(struct agt *t, struct agt_submit *s, int timeout_ms)
{
	union drm_amdgpu_wait_cs args = {
		.in = { .handle = s->seq,
			.timeout = timeout_ms ? agt_now() + timeout_ms * 1000000ull : 0,
			.ip_type = s->ip,
			.ring = s->ring,
			.ctx_id = s->ctx ? s->ctx : t->ctx }
	};
	int ret = agt_ioctl(t->fd, DRM_IOCTL_AMDGPU_WAIT_CS, &args);

	return ret ? ret : args.out.status ? -ETIME : 0;
}

/* Submit, and wait for the end. */
int agt_run(struct agt *t, uint32_t ip, const uint32_t *bos, uint32_t num_bos)
{
	struct agt_submit s = { .ip = ip, .bos = bos, .num_bos = num_bos };
	int ret = agt_submit(t, &s);

	return ret ? ret : agt_wait(t, &s, AGT_TIMEOUT_MS);
}

int agt_syncobj(struct agt *t, uint32_t *handle)
{
	struct drm_syncobj_create args = { 0 };
	int ret = agt_ioctl(t->fd, DRM_IOCTL_SYNCOBJ_CREATE, &args);

	*handle = args.handle;
	return ret;
}

int agt_syncobj_wait(struct agt *t, uint32_t handle, uint64_t point, int timeout_ms)
{
	struct drm_syncobj_timeline_wait args = {
		.handles = (uintptr_t)&handle,
		.points = (uintptr_t)&point,
		.timeout_nsec = timeout_ms ? (int64_t)agt_now() + timeout_ms * 1000000ll : 0,
		.count_handles = 1,
		.flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
	};

	return agt_ioctl(t->fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &args);
}
