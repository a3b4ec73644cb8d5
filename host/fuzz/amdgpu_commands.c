// SPDX-License-Identifier: MIT
/*
 * amdgpu_commands: see amdgpu_commands.h
 */
#include <string.h>

#include <amdgpu_drm.h>

#include "fuzz/amdgpu_commands.h"
#include "fuzz/fuzz.h"

#define PAGE 4096u
#define MAX_COMMAND 256u
#define MAX_COMMANDS 4u
/* The card's queues as rings: GFX 1, COMPUTE 2 to 5, SDMA 6 and 7. */
#define SDMA_RING 6u
#define VA 0x100000u

uint8_t amdgpu_commands_arg(unsigned int c, unsigned int i, unsigned int nr)
{
	unsigned int arg;

	for (arg = 0; arg < 255; arg++)
		if (arg % COMMANDS_CONTEXTS == c && (arg >> 2) % nr == i)
			break;
	return (uint8_t)arg;
}

/* The number of an amdgpu context that one of the first clients has; the card's probe is 1. */
static uint32_t some_ctx(struct fuzz_random *random, unsigned int c)
{
	if (fuzz_once_in(random, 16))
		c = fuzz_below(random, COMMANDS_CONTEXTS);
	return (c + 2) * 8 + (fuzz_once_in(random, 4) ? fuzz_below(random, 3) : 0);
}

static uint32_t some_resource(struct fuzz_random *random)
{
	return fuzz_once_in(random, 2) ?
		       1 + fuzz_below(random, COMMANDS_BLOBS) :
		       COMMANDS_FIRST_MEMORY + fuzz_below(random, COMMANDS_MEMORY);
}

/* Mostly what a context begins with. */
static uint32_t own_resource(struct fuzz_random *random, unsigned int c)
{
	return fuzz_once_in(random, 3) ? some_resource(random) : 2 * c + 2;
}

static void head(struct fuzz_random *random, uint8_t *data, uint32_t cmd, size_t len)
{
	fuzz_put(data, len, 0, 4, cmd);
	fuzz_put(data, len, 4, 4, len);
	fuzz_put(data, len, 8, 4, fuzz_below(random, 100));
	fuzz_put(data, len, 12, 4, 64 * fuzz_below(random, 100));
}

static size_t make_info(struct fuzz_random *random, uint8_t *data)
{
	struct amdvgpu_query_info *info = (void *)data;

	info->return_size = fuzz_below(random, 600);
	info->query = fuzz_below(random, 0x24);
	info->argument[0] = fuzz_below(random, 12);
	return sizeof(*info);
}

static size_t make_gem_new(struct fuzz_random *random, uint8_t *data)
{
	struct amdvgpu_gem_new *new = (void *)data;

	new->blob_id = 1 + fuzz_below(random, 6);
	new->size = (1 + fuzz_below(random, 4)) * PAGE;
	new->alignment = PAGE;
	new->domain = 1u << fuzz_below(random, 4);
	return sizeof(*new);
}

static size_t make_va_op(struct fuzz_random *random, uint8_t *data)
{
	struct amdvgpu_bo_va_op *op = (void *)data;

	op->va = VA + fuzz_below(random, 16) * PAGE;
	op->size = (1 + fuzz_below(random, 4)) * PAGE;
	op->flags = (uint64_t)fuzz_below(random, 32) << 0;
	op->flags2 = fuzz_once_in(random, 5);
	op->offset = fuzz_once_in(random, 4) * PAGE;
	op->res_id = some_resource(random);
	op->op = 1 + fuzz_below(random, 4);
	return sizeof(*op);
}

/* A buffer of commands, a list, and once in a while a fence and dependencies. */
static size_t make_submit(struct fuzz_random *random, unsigned int c, uint8_t *data)
{
	struct amdvgpu_cs_submit *cs = (void *)data;
	uint32_t nr = 2 + fuzz_below(random, 3), offset = 0, i;
	uint8_t *at = data + sizeof(*cs) + nr * sizeof(cs->chunks[0]);
	struct drm_amdgpu_cs_chunk_ib ib = { .va_start = VA, .ib_bytes = 32 };

	cs->ctx_id = some_ctx(random, c);
	cs->num_chunks = nr;
	ib.ip_type = AMDGPU_HW_IP_DMA;
	ib.ring = fuzz_once_in(random, 4);
	cs->ring_idx = SDMA_RING + ib.ring;
	for (i = 0; i < nr; i++) {
		static const uint16_t ids[] = { AMDGPU_CHUNK_ID_IB, AMDGPU_CHUNK_ID_BO_HANDLES,
						AMDGPU_CHUNK_ID_FENCE,
						AMDGPU_CHUNK_ID_DEPENDENCIES };
		static const uint16_t sizes[] = { sizeof(ib), 16, 8, 24 };
		uint32_t what = i < 2 ? i : fuzz_below(random, 4);

		cs->chunks[i] = (struct amdvgpu_chunk){ ids[what], sizes[what] / 4, offset };
		memset(at, 0, sizes[what]);
		if (!what)
			memcpy(at, &ib, sizeof(ib));
		else if (what < 3)
			fuzz_put(at, 16, 0, 4, own_resource(random, c));
		if (what == 1)
			fuzz_put(at, 16, 8, 4, own_resource(random, c));
		at += sizes[what];
		offset += sizes[what];
	}
	return (size_t)(at - data);
}

static size_t make_metadata(struct fuzz_random *random, uint8_t *data)
{
	struct amdvgpu_set_metadata *set = (void *)data;

	set->res_id = some_resource(random);
	set->size_metadata = 8 * fuzz_below(random, 8);
	return sizeof(*set) + set->size_metadata;
}

static size_t make_ctx(struct fuzz_random *random, unsigned int c, uint8_t *data)
{
	struct amdvgpu_create_ctx *ctx = (void *)data;

	ctx->flags = fuzz_once_in(random, 3);
	ctx->priority = ctx->flags ? some_ctx(random, c) : 0;
	return sizeof(*ctx);
}

static size_t make_pstate(struct fuzz_random *random, unsigned int c, uint8_t *data)
{
	struct amdvgpu_set_pstate *pstate = (void *)data;

	pstate->ctx_id = some_ctx(random, c);
	pstate->op = 1 + fuzz_below(random, 7);
	return sizeof(*pstate);
}

static size_t make_query(struct fuzz_random *random, unsigned int c, uint8_t *data)
{
	struct amdvgpu_query_fence *query = (void *)data;

	query->ctx_id = some_ctx(random, c);
	query->ip_type = AMDGPU_HW_IP_DMA;
	query->ring = fuzz_once_in(random, 4);
	query->fence = fuzz_below(random, 4);
	query->timeout = fuzz_once_in(random, 2) ? 0 : (uint64_t)fuzz_below(random, 1000) * 1000;
	return sizeof(*query);
}

/* One command; returns its length. */
static size_t make_command(struct fuzz_random *random, unsigned int c, uint32_t cmd, uint8_t *data)
{
	switch (cmd) {
	case AMDVGPU_QUERY_INFO:
		return make_info(random, data);
	case AMDVGPU_GEM_NEW:
		return make_gem_new(random, data);
	case AMDVGPU_BO_VA_OP:
		return make_va_op(random, data);
	case AMDVGPU_CS_SUBMIT:
		return make_submit(random, c, data);
	case AMDVGPU_SET_METADATA:
		return make_metadata(random, data);
	case AMDVGPU_BO_QUERY_INFO:
		((struct amdvgpu_bo_query_info *)(void *)data)->res_id = some_resource(random);
		return sizeof(struct amdvgpu_bo_query_info);
	case AMDVGPU_CREATE_CTX:
		return make_ctx(random, c, data);
	case AMDVGPU_RESERVE_VMID:
		return sizeof(struct amdvgpu_reserve_vmid);
	case AMDVGPU_SET_PSTATE:
		return make_pstate(random, c, data);
	default:
		return make_query(random, c, data);
	}
}

static size_t add_command(struct fuzz_random *random, unsigned int c, uint32_t cmd, uint8_t *data)
{
	/* Its own place is aligned. */
	uint64_t command[MAX_COMMAND / 8] = { 0 };
	size_t len = make_command(random, c, cmd, (uint8_t *)command);

	len = (len + 7) & ~(size_t)7;
	head(random, (uint8_t *)command, cmd, len);
	memcpy(data, command, len);
	return len;
}

size_t amdgpu_commands_make(struct fuzz_random *random, unsigned int c, uint8_t *data)
{
	/* Most of them are about memory and jobs. */
	static const uint8_t commands[] = { 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 6, 7, 8, 9, 10 };
	uint32_t nr = 1 + fuzz_below(random, MAX_COMMANDS);
	/* Or jobs only, as many as there may be. */
	bool jobs = fuzz_once_in(random, 6);
	size_t len = 0;

	while (nr--)
		len += add_command(random, c,
				   jobs ? AMDVGPU_CS_SUBMIT :
					  commands[fuzz_below(random, sizeof(commands))],
				   data + len);
	return len;
}

void amdgpu_commands_make_blob(struct fuzz_random *random, uint8_t *data)
{
	memset(data, 0, COMMANDS_BLOB_SIZE);
	fuzz_put(data, COMMANDS_BLOB_SIZE, 0, 4, fuzz_below(random, COMMANDS_BLOBS));
	fuzz_put(data, COMMANDS_BLOB_SIZE, 8, 8, fuzz_below(random, 7));
	fuzz_put(data, COMMANDS_BLOB_SIZE, 16, 8, (1 + fuzz_below(random, 4)) * PAGE);
	fuzz_put(data, COMMANDS_BLOB_SIZE, 24, 4, fuzz_below(random, 8));
}

void amdgpu_commands_touch(struct fuzz_random *random, uint8_t *data, size_t len)
{
	static const struct fuzz_field fields[] = {
		{ 0, 4, 1, 10, 1 },	      { 4, 4, 16, 128, 8 }, { 12, 4, 0, 8192, 8 },
		{ 16, 8, 0, 1 << 24, PAGE },  { 16, 4, 16, 48, 1 }, { 20, 4, 0, 130, 1 },
		{ 28, 4, 0, 8, 1 },	      { 32, 4, 0, 20, 1 },  { 32, 2, 0, 12, 1 },
		{ 34, 2, 0, 64, 1 },	      { 36, 4, 0, 128, 4 }, { 40, 4, 0, 255, 1 },
		{ 48, 8, 0, 3 * PAGE, PAGE }, { 56, 4, 0, 20, 1 },  { 60, 4, 0, 5, 1 },
	};
	size_t at = 0, next;

	/* In one of its commands. */
	while (fuzz_once_in(random, 2)) {
		next = at + fuzz_get(data, len, at + 4, 4);
		if (next <= at || next + 16 > len)
			break;
		at = next;
	}
	fuzz_touch_field(random, &fields[fuzz_below(random, ARRAY_SIZE(fields))], data + at,
			 len - at);
}

static void world_stream(struct fuzz_maker *maker, const struct commands_ops *ops, unsigned int c,
			 uint32_t cmd, void *command, size_t len)
{
	struct fuzz_random random = { .state = c + 1 };
	uint8_t *data = fuzz_make(maker, ops->stream, amdgpu_commands_arg(c, 1, 2), len);

	head(&random, command, cmd, len);
	if (data)
		memcpy(data, command, len);
}

static void world_blob(struct fuzz_maker *maker, const struct commands_ops *ops, unsigned int c,
		       uint32_t i, uint64_t blob_id, uint64_t size)
{
	uint8_t *data = fuzz_make(maker, ops->blob, (uint8_t)c, COMMANDS_BLOB_SIZE);

	if (!data)
		return;
	fuzz_put(data, COMMANDS_BLOB_SIZE, 0, 4, i);
	fuzz_put(data, COMMANDS_BLOB_SIZE, 8, 8, blob_id);
	fuzz_put(data, COMMANDS_BLOB_SIZE, 16, 8, size);
	fuzz_put(data, COMMANDS_BLOB_SIZE, 24, 4, 7);
	fuzz_make(maker, ops->blob_attach, amdgpu_commands_arg(c, i, COMMANDS_BLOBS), 0);
}

void amdgpu_commands_make_world(struct fuzz_maker *maker, const struct commands_ops *ops,
				unsigned int c)
{
	struct fuzz_random random = { .state = c + 7 };
	struct amdvgpu_gem_new new = {
		.blob_id = 1, .size = PAGE, .alignment = PAGE, .domain = AMDGPU_GEM_DOMAIN_GTT
	};
	struct amdvgpu_create_ctx ctx = { .flags = 0 };
	struct amdvgpu_bo_va_op map = {
		.va = VA, .size = PAGE, .flags = AMDGPU_VM_PAGE_READABLE, .op = AMDGPU_VA_OP_MAP
	};
	uint64_t job[MAX_COMMAND / 8] = { 0 };
	size_t len;

	world_blob(maker, ops, c, 2 * c, 0, PAGE);
	world_stream(maker, ops, c, AMDVGPU_CREATE_CTX, &ctx, sizeof(ctx));
	world_stream(maker, ops, c, AMDVGPU_GEM_NEW, &new, sizeof(new));
	world_blob(maker, ops, c, 2 * c + 1, 1, PAGE);
	fuzz_make(maker, ops->attach, amdgpu_commands_arg(c, c, COMMANDS_MEMORY), 0);
	map.res_id = 2 * c + 2;
	world_stream(maker, ops, c, AMDVGPU_BO_VA_OP, &map, sizeof(map));
	map.va += 16 * PAGE;
	map.res_id = COMMANDS_FIRST_MEMORY + c;
	world_stream(maker, ops, c, AMDVGPU_BO_VA_OP, &map, sizeof(map));
	len = make_submit(&random, c, (uint8_t *)job);
	/* About what it has. */
	fuzz_put((uint8_t *)job, sizeof(job), 16, 4, (c + 2) * 8);
	world_stream(maker, ops, c, AMDVGPU_CS_SUBMIT, job, len);
}

uint8_t amdgpu_commands_ring(const uint8_t *data, size_t len)
{
	if (fuzz_get(data, len, 0, 4) != AMDVGPU_CS_SUBMIT)
		return 0;
	return (uint8_t)fuzz_get(data, len, 28, 4);
}
