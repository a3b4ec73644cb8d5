// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_radv: what RADV sends, recorded
 *
 * The commands of Mesa 25.0's RADV with the winsys for amdgpu native contexts, from its
 * start through a copy by vkCmdCopyBuffer on the transfer queue to its end, as a table, with
 * what has to be answered.  They are put together as that winsys does it: what need
 * not be awaited is kept until the next command that must be, and such a stream has
 * no fence.
 */
#include "tests/renderer/amdgpu_client.h"

#ifdef HAVE_AMDGPU

#define NR_BUFFERS 6
#define HIGH 0xffff800000000000ull
#define KEEP 8192u
#define TRANSFER_SIZE (64 * PAGE)
#define DEV_INFO_SIZE sizeof(struct drm_amdgpu_info_device)
#define IP_SIZE sizeof(struct drm_amdgpu_info_hw_ip)
#define FW_SIZE sizeof(struct drm_amdgpu_info_firmware)
#define CPU AMDGPU_GEM_CREATE_CPU_ACCESS_REQUIRED
#define EXPLICIT AMDGPU_GEM_CREATE_EXPLICIT_SYNC
#define WC AMDGPU_GEM_CREATE_CPU_GTT_USWC
#define NO_CPU AMDGPU_GEM_CREATE_NO_CPU_ACCESS
#define RW_FLAGS (AMDGPU_VM_PAGE_READABLE | AMDGPU_VM_PAGE_EXECUTABLE | AMDGPU_VM_PAGE_WRITEABLE)
#define RO_FLAGS (AMDGPU_VM_PAGE_READABLE | AMDGPU_VM_PAGE_EXECUTABLE)

enum step_kind {
	ASK,
	NEW_CTX,
	NEW_BO,
	MAP,
	SPARSE,
	UNMAP,
	FILL,
	COPY,
	FENCE,
	CHECK,
	FREE_BO,
	FREE_CTX,
};

/**
 * struct step - one command of RADV, or what it does with memory
 * @kind: which
 * @what: ASK: query, else number of a buffer
 * @arg: ASK: argument; NEW_BO: domain; FILL: byte; FENCE: number of the job
 * @size: ASK: of the answer; NEW_BO: of the buffer
 * @flags: of buffers and mappings; SPARSE: operation
 * @va: address for the GPU
 */
struct step {
	enum step_kind kind;
	uint32_t what;
	uint32_t arg;
	uint64_t size;
	uint64_t flags;
	uint64_t va;
};

#define IP(type)                                                 \
	{                                                        \
		ASK, AMDGPU_INFO_HW_IP_INFO, type, IP_SIZE, 0, 0 \
	}
#define COUNT(type)                                         \
	{                                                   \
		ASK, AMDGPU_INFO_HW_IP_COUNT, type, 4, 0, 0 \
	}
#define FW(type)                                                 \
	{                                                        \
		ASK, AMDGPU_INFO_FW_VERSION, type, FW_SIZE, 0, 0 \
	}

/* clang-format off */
static const struct step recorded[] = {
	/* amdvgpu_device_initialize(): the rings are numbered. */
	{ ASK, AMDGPU_INFO_DEV_INFO, 0, DEV_INFO_SIZE, 0, 0 },
	IP(0), IP(1), IP(2), IP(3), IP(4), IP(5), IP(6), IP(7), IP(8), IP(9),
	/* ac_query_gpu_info() */
	IP(0), COUNT(0), IP(1), COUNT(1), IP(2), COUNT(2),
	IP(3), IP(4), IP(5), IP(6), IP(7), IP(8), IP(9),
	FW(AMDGPU_INFO_FW_GFX_ME), FW(AMDGPU_INFO_FW_GFX_MEC), FW(AMDGPU_INFO_FW_GFX_PFP),
	{ ASK, AMDGPU_INFO_MEMORY, 0, sizeof(struct drm_amdgpu_memory_info), 0, 0 },
	{ ASK, AMDGPU_INFO_VIDEO_CAPS, AMDGPU_INFO_VIDEO_CAPS_DECODE,
	  sizeof(struct drm_amdgpu_info_video_caps), 0, 0 },
	{ ASK, AMDGPU_INFO_VIDEO_CAPS, AMDGPU_INFO_VIDEO_CAPS_ENCODE,
	  sizeof(struct drm_amdgpu_info_video_caps), 0, 0 },
	{ ASK, AMDGPU_INFO_MAX_IBS, 0, 4 * AMDGPU_HW_IP_NUM, 0, 0 },
	/* vkGetPhysicalDeviceMemoryProperties2() with the budget comes from the heaps. */
	{ ASK, AMDGPU_INFO_TIMESTAMP, 0, 8, 0, 0 },
	/* vkCreateDevice(): the fences of a queue, its preamble */
	{ NEW_CTX, 0, AMDGPU_CTX_PRIORITY_NORMAL, 0, 0, 0 },
	{ NEW_BO, 0, GTT, PAGE, CPU | EXPLICIT, 0 },
	{ MAP, 0, 0, PAGE, RW_FLAGS, HIGH + 0x200000 },
	{ NEW_BO, 1, GTT, 16 * PAGE, CPU | WC | EXPLICIT, 0 },
	{ MAP, 1, 0, 16 * PAGE, RO_FLAGS, HIGH + 0x400000 },
	/* vkAllocateMemory(): host memory, the card's, host memory */
	{ NEW_BO, 2, GTT, TRANSFER_SIZE, CPU | EXPLICIT, 0 },
	{ MAP, 2, 0, TRANSFER_SIZE, RW_FLAGS, HIGH + 0x800000 },
	{ NEW_BO, 3, VRAM, TRANSFER_SIZE, NO_CPU | EXPLICIT, 0 },
	{ MAP, 3, 0, TRANSFER_SIZE, RW_FLAGS, HIGH + 0xa00000 },
	{ NEW_BO, 4, GTT, TRANSFER_SIZE, CPU | EXPLICIT, 0 },
	{ MAP, 4, 0, TRANSFER_SIZE, RW_FLAGS, HIGH + 0xc00000 },
	{ FILL, 2, 0x61, 0, 0, 0 },
	{ FILL, 4, 0, 0, 0, 0 },
	/* vkQueueSubmit(), twice, and vkWaitForFences() */
	{ COPY, 3, 2, TRANSFER_SIZE, 0, 0 },
	{ COPY, 4, 3, TRANSFER_SIZE, 0, 0 },
	{ FENCE, 0, 2, 0, 0, 0 },
	{ CHECK, 4, 2, 0, 0, 0 },
	/* A sparse buffer, a part of which is bound */
	{ SPARSE, 0, 0, 64 * PAGE, AMDGPU_VA_OP_MAP, HIGH + 0x1000000 },
	{ SPARSE, 0, 0, 16 * PAGE, AMDGPU_VA_OP_REPLACE, HIGH + 0x1000000 },
	{ SPARSE, 0, 0, 64 * PAGE, AMDGPU_VA_OP_CLEAR, HIGH + 0x1000000 },
	/* The end */
	{ UNMAP, 4, 0, TRANSFER_SIZE, 0, HIGH + 0xc00000 },
	{ FREE_BO, 4, 0, 0, 0, 0 },
	{ UNMAP, 3, 0, TRANSFER_SIZE, 0, HIGH + 0xa00000 },
	{ FREE_BO, 3, 0, 0, 0, 0 },
	{ UNMAP, 2, 0, TRANSFER_SIZE, 0, HIGH + 0x800000 },
	{ FREE_BO, 2, 0, 0, 0, 0 },
	{ UNMAP, 1, 0, 16 * PAGE, 0, HIGH + 0x400000 },
	{ FREE_BO, 1, 0, 0, 0, 0 },
	{ FREE_CTX, 0, 0, 0, 0, 0 },
	{ UNMAP, 0, 0, PAGE, 0, HIGH + 0x200000 },
	{ FREE_BO, 0, 0, 0, 0, 0 },
};
/* clang-format on */

/**
 * struct player - the winsys
 * @c: a program
 * @kept: commands that are not sent yet
 * @len: bytes of them
 * @rsp: where their answers come
 * @nr: of them
 * @buffers: by number
 * @va: addresses of these
 * @command: bytes of the command buffer that are written
 * @jobs: cookies
 * @nr_jobs: of them
 */
struct player {
	struct client c;
	unsigned char kept[KEEP];
	size_t len;
	uint32_t rsp[64];
	unsigned int nr;
	struct buffer buffers[NR_BUFFERS];
	uint64_t va[NR_BUFFERS];
	uint32_t command;
	unsigned int jobs[4];
	unsigned int nr_jobs;
};

static unsigned int send_stream(struct player *p, uint8_t ring, bool fenced, const void *data,
				size_t size)
{
	struct renderer_submission work = {
		.ring = ring, .fenced = fenced, .data = data, .size = size
	};
	struct bench *bench = p->c.bench;
	unsigned int cookie = new_cookie(bench);

	assert_int_equal(ops->submit(bench->renderer, p->c.base, &work, (void *)(uintptr_t)cookie),
			 0);
	return cookie;
}

/* What was kept goes; if that is awaited, all of it must have gone well. */
static void flush(struct player *p, bool sync)
{
	unsigned int cookie;

	if (!p->len)
		return;
	cookie = send_stream(p, 0, sync, p->kept, p->len);
	p->len = 0;
	if (!sync)
		return;
	assert_int_equal(answer_of(p->c.bench, cookie), OK);
	assert_int_equal(shmem(&p->c)->seqno, p->c.seqno);
	while (p->nr)
		assert_int_equal(ret_of(answer_at(&p->c, p->rsp[--p->nr])), 0);
}

static void keep(struct player *p, const void *command, size_t len, bool sync)
{
	if (p->len + len > sizeof(p->kept))
		flush(p, false);
	memcpy(p->kept + p->len, command, len);
	p->len += len;
	assert_true(p->nr < ARRAY_SIZE(p->rsp));
	p->rsp[p->nr++] = ((const struct amdvgpu_req *)command)->rsp_off;
	if (sync)
		flush(p, true);
}

static void play_ask(struct player *p, const struct step *step)
{
	struct amdvgpu_query_info req = {
		.return_size = (uint32_t)step->size,
		.query = step->what,
		.argument = { step->arg },
	};

	prepare(&p->c, &req, AMDVGPU_QUERY_INFO, sizeof(req),
		(uint32_t)sizeof(struct amdvgpu_rsp) + req.return_size);
	keep(p, &req, sizeof(req), true);
	if (step->what == AMDGPU_INFO_HW_IP_INFO && step->arg < NR_IP_TYPES) {
		const struct drm_amdgpu_info_hw_ip *ip =
			(const void *)((unsigned char *)answer_at(&p->c, req.req.rsp_off) + 8);
		uint8_t *rings = p->c.rings;

		if (!step->arg)
			rings[0] = 1;
		if (step->arg + 1 < NR_IP_TYPES)
			rings[step->arg + 1] = (uint8_t)(rings[step->arg] +
							 __builtin_popcount(ip->available_rings));
	}
}

static void play_ctx(struct player *p, uint32_t priority, uint32_t flags)
{
	struct amdvgpu_create_ctx req = { .priority = priority, .flags = flags };
	struct amdvgpu_create_ctx_rsp *rsp;

	prepare(&p->c, &req, AMDVGPU_CREATE_CTX, sizeof(req), sizeof(*rsp));
	keep(p, &req, sizeof(req), !flags);
	rsp = answer_at(&p->c, req.req.rsp_off);
	if (!flags)
		p->c.ctx = rsp->ctx_id;
}

static void play_bo(struct player *p, const struct step *step)
{
	struct buffer *b = &p->buffers[step->what];
	struct renderer_blob blob = {
		.id = ++p->c.bench->last_resource,
		.mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.flags = step->flags & NO_CPU ? 0 : MAPPABLE,
		.blob_id = ++p->c.blob_id,
		.size = step->size,
	};
	struct amdvgpu_gem_new req = {
		.blob_id = blob.blob_id,
		.size = step->size,
		.alignment = PAGE,
		.domain = step->arg,
		.flags = step->flags,
	};

	flush(p, false);
	prepare(&p->c, &req, AMDVGPU_GEM_NEW, sizeof(req), 0);
	send_stream(p, 0, false, &req, sizeof(req));
	assert_int_equal(make_blob(p->c.bench, p->c.base, &blob), OK);
	assert_int_equal(ops->blob_attach(p->c.base, blob.id), 0);
	*b = (struct buffer){ .id = blob.id, .size = step->size, .attached = true };
	if (blob.flags)
		map_blob(&p->c, b);
}

static void play_va(struct player *p, const struct step *step)
{
	struct amdvgpu_bo_va_op req = { .va = step->va, .size = step->size };

	if (step->kind == SPARSE) {
		req.op = (uint32_t)step->flags;
		req.flags = req.op == AMDGPU_VA_OP_CLEAR ? 0 : AMDGPU_VM_PAGE_PRT;
		req.flags2 = AMDVGPU_VA_OP_SPARSE;
	} else {
		req.op = step->kind == MAP ? AMDGPU_VA_OP_MAP : AMDGPU_VA_OP_UNMAP;
		/* To unmap RADV sends the flags again. */
		req.flags = step->kind == MAP ? step->flags : RW_FLAGS;
		req.res_id = p->buffers[step->what].id;
		p->va[step->what] = step->va;
	}
	prepare(&p->c, &req, AMDVGPU_BO_VA_OP, sizeof(req), sizeof(struct amdvgpu_rsp));
	keep(p, &req, sizeof(req), false);
}

/* A submission as radv_amdgpu_cs_submit() makes it: buffer, fence, list. */
struct submission {
	struct amdvgpu_req req;
	uint32_t ctx_id;
	uint32_t num_chunks;
	uint32_t pad;
	uint32_t ring_idx;
	struct amdvgpu_chunk chunks[3];
	struct drm_amdgpu_cs_chunk_ib ib;
	struct drm_amdgpu_cs_chunk_fence fence;
	struct drm_amdgpu_bo_list_entry list[4];
};

static void write_copy(struct player *p, const struct step *step)
{
	uint64_t to = p->va[step->what], from = p->va[step->arg];
	const uint32_t dw[8] = { 1,
				 (uint32_t)step->size - 1,
				 0,
				 (uint32_t)from,
				 (uint32_t)(from >> 32),
				 (uint32_t)to,
				 (uint32_t)(to >> 32) };

	memcpy(p->buffers[1].cpu + p->command, dw, sizeof(dw));
}

static void play_copy(struct player *p, const struct step *step)
{
	struct submission cs = {
		.ctx_id = p->c.ctx,
		.num_chunks = 3,
		.ring_idx = p->c.rings[AMDGPU_HW_IP_DMA],
		.chunks = {
			{ AMDGPU_CHUNK_ID_IB, sizeof(cs.ib) / 4, 0 },
			{ AMDGPU_CHUNK_ID_FENCE, sizeof(cs.fence) / 4, sizeof(cs.ib) },
			{ AMDGPU_CHUNK_ID_BO_HANDLES, sizeof(cs.list) / 4,
			  sizeof(cs.ib) + sizeof(cs.fence) },
		},
		.ib = {
			.va_start = p->va[1] + p->command,
			.ib_bytes = 32,
			.ip_type = AMDGPU_HW_IP_DMA,
		},
		.fence = { p->buffers[0].id, AMDGPU_HW_IP_DMA * 8 * 4 * 8 },
	};
	const uint32_t list[] = { 0, 1, step->what, step->arg };
	unsigned int i;

	write_copy(p, step);
	p->command += 256;
	for (i = 0; i < ARRAY_SIZE(list); i++)
		cs.list[i].bo_handle = p->buffers[list[i]].id;
	flush(p, false);
	prepare(&p->c, &cs, AMDVGPU_CS_SUBMIT, sizeof(cs), sizeof(struct amdvgpu_rsp));
	assert_true(p->nr_jobs < ARRAY_SIZE(p->jobs));
	p->rsp[p->nr++] = cs.req.rsp_off;
	p->jobs[p->nr_jobs++] = send_stream(p, (uint8_t)cs.ring_idx, true, &cs, sizeof(cs));
}

static void play_fence(struct player *p, const struct step *step)
{
	struct amdvgpu_query_fence req = {
		.ctx_id = p->c.ctx,
		.ip_type = AMDGPU_HW_IP_DMA,
		.fence = step->arg,
		.timeout = UINT64_MAX,
		.flags = AMDGPU_QUERY_FENCE_TIMEOUT_IS_ABSOLUTE,
	};
	struct amdvgpu_query_fence_rsp *rsp;

	prepare(&p->c, &req, AMDVGPU_CS_QUERY_FENCE_STATUS, sizeof(req), sizeof(*rsp));
	keep(p, &req, sizeof(req), true);
	rsp = answer_at(&p->c, req.req.rsp_off);
	assert_int_not_equal(rsp->expired, 0);
	while (p->nr_jobs)
		assert_int_equal(answer_of(p->c.bench, p->jobs[--p->nr_jobs]), OK);
	assert_int_equal(*(uint64_t *)(p->buffers[0].cpu + AMDGPU_HW_IP_DMA * 8 * 4 * 8),
			 step->arg);
}

static void play(struct player *p, const struct step *step)
{
	struct buffer *b = &p->buffers[step->what % NR_BUFFERS];

	switch (step->kind) {
	case ASK:
		play_ask(p, step);
		break;
	case NEW_CTX:
		play_ctx(p, step->arg, 0);
		break;
	case FREE_CTX:
		play_ctx(p, p->c.ctx, AMDVGPU_CTX_DESTROY);
		break;
	case NEW_BO:
		play_bo(p, step);
		break;
	case MAP:
	case SPARSE:
	case UNMAP:
		play_va(p, step);
		break;
	case FILL:
		memset(b->cpu, (int)step->arg, b->size);
		b->cpu[b->size / 2] = 0x42;
		break;
	case COPY:
		play_copy(p, step);
		break;
	case FENCE:
		play_fence(p, step);
		break;
	case CHECK:
		assert_memory_equal(b->cpu, p->buffers[step->arg].cpu, b->size);
		break;
	case FREE_BO:
		flush(p, false);
		drop_buffer(&p->c, b);
		break;
	}
}

static void test_radv(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct player p = { .len = 0 };
	unsigned int round, i;

	client_open(bench, &p.c);
	/* Twice, as a program does that makes two devices. */
	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_SIZE(recorded); i++)
			play(&p, &recorded[i]);
		flush(&p, true);
		p.command = 0;
	}
	assert_int_equal(shmem(&p.c)->async_error, 0);
	assert_int_equal(bench->nr_lost, 0);
	client_close(&p.c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_radv),
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
