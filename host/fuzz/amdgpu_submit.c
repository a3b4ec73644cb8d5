// SPDX-License-Identifier: MIT
/*
 * amdgpu_submit: the played amdgpu's address spaces, contexts and submissions
 *
 * Arguments are judged by what a guest may have made of them; what the kernel would
 * refuse is refused.
 *
 * Threads: see amdgpu_internal.h.
 */
#include <errno.h>
#include <string.h>

#include <xf86drm.h>

#include "fuzz/amdgpu_internal.h"
#include "fuzz/fuzz.h"

#define PAGE 4096u
#define SYNCOBJ_OUT AMDGPU_CHUNK_ID_SYNCOBJ_OUT

/* ---- the address space of a client ---- */

static void remove_range(struct client *client, unsigned int at)
{
	client->ranges[at] = client->ranges[--client->nr_ranges];
}

static int clear(struct client *client, uint64_t start, uint64_t end)
{
	unsigned int i;

	if (client->nr_ranges + 2 > MAX_RANGES)
		return -ENOMEM;
	for (i = client->nr_ranges; i--;) {
		struct range *range = &client->ranges[i], rest = *range;

		if (range->end <= start || range->start >= end)
			continue;
		rest.start = end;
		if (range->start < start)
			range->end = start;
		else
			remove_range(client, i);
		if (rest.start < rest.end)
			client->ranges[client->nr_ranges++] = rest;
	}
	return 0;
}

static int map(struct client *client, const struct range *range)
{
	unsigned int i;

	for (i = 0; i < client->nr_ranges; i++)
		if (client->ranges[i].start < range->end && range->start < client->ranges[i].end)
			return -EINVAL;
	if (client->nr_ranges == MAX_RANGES || card_refuses())
		return -ENOMEM;
	client->ranges[client->nr_ranges++] = *range;
	return 0;
}

static int unmap(struct client *client, const struct range *range)
{
	unsigned int i;

	for (i = 0; i < client->nr_ranges; i++) {
		if (client->ranges[i].start != range->start ||
		    client->ranges[i].handle != range->handle)
			continue;
		remove_range(client, i);
		return 0;
	}
	return -ENOENT;
}

void card_unmap_handle(struct client *client, uint32_t handle)
{
	unsigned int i;

	for (i = client->nr_ranges; i--;)
		if (client->ranges[i].handle == handle)
			remove_range(client, i);
}

/* What is mapped is the client's, is there, and may be mapped so. */
static int check_object(struct client *client, const struct drm_amdgpu_gem_va *args)
{
	const struct object *object;

	if (!args->handle)
		return -ENOENT;
	object = card_handle(client, args->handle, "GEM_VA")->object;
	if (object->readonly && args->operation != AMDGPU_VA_OP_UNMAP &&
	    args->flags & AMDGPU_VM_PAGE_WRITEABLE)
		fuzz_oracle("AMDGPU: memory is mapped writeable that must not be written");
	if (args->operation == AMDGPU_VA_OP_UNMAP)
		return 0;
	if (args->offset_in_bo % PAGE || args->offset_in_bo > object->size ||
	    args->map_size > object->size - args->offset_in_bo)
		return -EINVAL;
	return 0;
}

int card_va(struct client *client, const struct drm_amdgpu_gem_va *args)
{
	struct range range = { args->va_address, args->va_address + args->map_size, args->handle };
	bool bare = args->operation == AMDGPU_VA_OP_CLEAR || args->flags & AMDGPU_VM_PAGE_PRT;
	int err = bare ? 0 : check_object(client, args);

	if (err)
		return err;
	if (bare)
		range.handle = 0;
	if (range.start % PAGE || !args->map_size || args->map_size % PAGE || !range.start ||
	    range.end < range.start)
		return -EINVAL;
	switch (args->operation) {
	case AMDGPU_VA_OP_MAP:
		return map(client, &range);
	case AMDGPU_VA_OP_UNMAP:
		return unmap(client, &range);
	case AMDGPU_VA_OP_CLEAR:
		return clear(client, range.start, range.end);
	case AMDGPU_VA_OP_REPLACE:
		if (card_refuses())
			return -ENOMEM;
		err = clear(client, range.start, range.end);
		if (!err)
			client->ranges[client->nr_ranges++] = range;
		return err;
	default:
		fuzz_oracle("AMDGPU: GEM_VA operation %u", args->operation);
	}
}

/* ---- contexts ---- */

static int ctx_alloc(struct client *client, union drm_amdgpu_ctx *args)
{
	unsigned int i;

	for (i = 0; i < MAX_CTXS && client->ctxs[i]; i++)
		;
	if (i == MAX_CTXS || card_refuses())
		return -ENOMEM;
	client->ctxs[i] = client->number * 8 + client->last_ctx++;
	/* Eight numbers for each client are easy to come by; then they are its own. */
	if (client->last_ctx > 8)
		client->ctxs[i] = client->number * 1000 + client->last_ctx;
	memset(client->seqs[i], 0, sizeof(client->seqs[i]));
	memset(args, 0, sizeof(*args));
	args->out.alloc.ctx_id = client->ctxs[i];
	return 0;
}

int card_ctx(struct client *client, union drm_amdgpu_ctx *args)
{
	unsigned int i;

	switch (args->in.op) {
	case AMDGPU_CTX_OP_ALLOC_CTX:
		return ctx_alloc(client, args);
	case AMDGPU_CTX_OP_FREE_CTX:
		card_need_ctx(client, args->in.ctx_id, "FREE_CTX");
		for (i = 0; i < MAX_CTXS; i++)
			if (client->ctxs[i] == args->in.ctx_id)
				client->ctxs[i] = 0;
		return 0;
	case AMDGPU_CTX_OP_GET_STABLE_PSTATE:
	case AMDGPU_CTX_OP_SET_STABLE_PSTATE:
		card_need_ctx(client, args->in.ctx_id, "STABLE_PSTATE");
		return 0;
	default:
		fuzz_oracle("AMDGPU: CTX operation %u", args->in.op);
	}
}

static uint64_t *seqs_of(struct client *client, uint32_t ctx)
{
	unsigned int i;

	for (i = 0; client->ctxs[i] != ctx; i++)
		;
	return client->seqs[i];
}

/* The number of a queue, or -EINVAL. */
static int queue_of(uint32_t type, uint32_t instance, uint32_t ring)
{
	static const unsigned int rings[] = { 1, 4, 2 }, first[] = { 0, 1, 5 };

	if (type >= ARRAY_SIZE(rings) || instance || ring >= rings[type])
		return -EINVAL;
	return (int)(first[type] + ring);
}

/* ---- submissions ---- */

static void check_list(struct client *client, const struct drm_amdgpu_bo_list_in *list)
{
	const struct drm_amdgpu_bo_list_entry *entries;
	struct drm_amdgpu_bo_list_entry entry;
	uint32_t i;

	if (list->operation != ~0u || list->list_handle != ~0u ||
	    list->bo_info_size != sizeof(entry))
		fuzz_oracle("AMDGPU: a list of buffers that is none");
	entries = (const void *)(uintptr_t)list->bo_info_ptr;
	for (i = 0; i < list->bo_number; i++) {
		memcpy(&entry, &entries[i], sizeof(entry));
		card_handle(client, entry.bo_handle, "CS");
	}
}

static int check_fence(struct client *client, const struct drm_amdgpu_cs_chunk_fence *fence)
{
	const struct object *object = card_handle(client, fence->handle, "a fence of CS")->object;

	if (object->what)
		fuzz_oracle("AMDGPU: the kernel is to write a fence to guest memory");
	return object->size != PAGE || fence->offset > PAGE - 8 || fence->offset % 8 ? -EINVAL : 0;
}

static int check_chunk(struct client *client, const struct drm_amdgpu_cs_chunk *chunk, int *queue)
{
	static unsigned char data[1 << 18];
	struct drm_amdgpu_cs_chunk_ib *ib = (void *)data;
	size_t size = (size_t)chunk->length_dw * 4;
	int at;

	if (size > sizeof(data))
		fuzz_oracle("AMDGPU: a chunk of %zu bytes", size);
	memcpy(data, (const void *)(uintptr_t)chunk->chunk_data, size);
	switch (chunk->chunk_id) {
	case AMDGPU_CHUNK_ID_IB:
		at = queue_of(ib->ip_type, ib->ip_instance, ib->ring);
		if (at < 0 || (*queue >= 0 && *queue != at) || ib->ib_bytes % 4 || !ib->ib_bytes)
			return -EINVAL;
		*queue = at;
		return 0;
	case AMDGPU_CHUNK_ID_BO_HANDLES:
		check_list(client, (const void *)data);
		return 0;
	case AMDGPU_CHUNK_ID_FENCE:
		return check_fence(client, (const void *)data);
	case AMDGPU_CHUNK_ID_DEPENDENCIES:
		return 0;
	case SYNCOBJ_OUT:
		if (size != 4 || *(uint32_t *)data != client->syncobj)
			fuzz_oracle("AMDGPU: a guest names a syncobj");
		return 0;
	default:
		fuzz_oracle("AMDGPU: chunk %u of a guest's", chunk->chunk_id);
	}
}

int card_cs(struct client *client, union drm_amdgpu_cs *args)
{
	const uint64_t *pointers = (const void *)(uintptr_t)args->in.chunks;
	struct job job = { .ctx = args->in.ctx_id };
	int queue = -1, err = 0;
	uint32_t i;

	card_need_ctx(client, args->in.ctx_id, "CS");
	if (args->in.bo_list_handle)
		fuzz_oracle("AMDGPU: a list of buffers by number");
	for (i = 0; !err && i < args->in.num_chunks; i++)
		err = check_chunk(client, (const void *)(uintptr_t)pointers[i], &queue);
	if (err || queue < 0)
		return -EINVAL;
	job.queue = (unsigned int)queue;
	job.seq = seqs_of(client, job.ctx)[queue] + 1;
	err = card_refuses() ? -ENOMEM : card_add_job(client, &job);
	if (err)
		return err;
	seqs_of(client, job.ctx)[queue]++;
	memset(args, 0, sizeof(*args));
	args->out.handle = job.seq;
	return 0;
}

int card_wait_cs(struct client *client, union drm_amdgpu_wait_cs *args)
{
	int queue = queue_of(args->in.ip_type, args->in.ip_instance, args->in.ring);
	uint64_t seq = args->in.handle;
	unsigned int i;
	bool runs = false;

	card_need_ctx(client, args->in.ctx_id, "WAIT_CS");
	if (args->in.timeout)
		fuzz_oracle("AMDGPU: the kernel is to wait");
	if (queue < 0 || (seq != UINT64_MAX && seq > seqs_of(client, args->in.ctx_id)[queue]))
		return -EINVAL;
	for (i = 0; i < MAX_JOBS; i++)
		runs |= card.jobs[i].fd >= 0 && card.jobs[i].client == client &&
			card.jobs[i].ctx == args->in.ctx_id &&
			card.jobs[i].queue == (unsigned int)queue && card.jobs[i].seq == seq;
	memset(args, 0, sizeof(*args));
	args->out.status = runs;
	return 0;
}

/* ---- facts, and the rest ---- */

int card_info(const struct drm_amdgpu_info *args)
{
	struct drm_amdgpu_memory_info memory = {
		.vram = { .total_heap_size = 1 << 20, .usable_heap_size = 1 << 20 },
		.gtt = { .total_heap_size = 1 << 20, .usable_heap_size = 1 << 20 },
	};
	void *to = (void *)(uintptr_t)args->return_pointer;

	if (!args->return_size || !to || args->query > AMDGPU_INFO_MAX_IBS)
		return -EINVAL;
	if (args->query != AMDGPU_INFO_MEMORY)
		memset(to, 0x5a, args->return_size);
	else
		memcpy(to, &memory,
		       args->return_size < sizeof(memory) ? args->return_size : sizeof(memory));
	return 0;
}

int card_other(struct client *client, unsigned int command, void *data)
{
	struct drm_amdgpu_gem_metadata *metadata = data;
	struct drm_amdgpu_gem_op *op = data;
	union drm_amdgpu_gem_mmap *mmap = data;
	struct drm_amdgpu_gem_create_in made = { .domains = AMDGPU_GEM_DOMAIN_GTT };

	switch (command) {
	case DRM_AMDGPU_GEM_METADATA:
		card_handle(client, metadata->handle, "GEM_METADATA");
		if (metadata->data.data_size_bytes > sizeof(metadata->data.data))
			fuzz_oracle("AMDGPU: metadata of %u bytes", metadata->data.data_size_bytes);
		return 0;
	case DRM_AMDGPU_GEM_OP:
		card_handle(client, op->handle, "GEM_OP");
		memcpy((void *)(uintptr_t)op->value, &made, sizeof(made));
		return 0;
	case DRM_AMDGPU_GEM_MMAP:
		/* Asked while the context ends, and the kernel knows. */
		if (!card_has_handle(client, mmap->in.handle))
			return -ENOENT;
		mmap->out.addr_ptr = PAGE;
		return 0;
	case DRM_AMDGPU_VM:
		return 0;
	case DRM_AMDGPU_INFO:
		return card_info(data);
	default:
		fuzz_oracle("AMDGPU: ioctl %#x", command);
	}
}
