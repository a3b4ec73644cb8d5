// SPDX-License-Identifier: MIT
/*
 * register: from an address and a size to resources, and back
 *
 * A registration is put together from left to right, of entries that are there and
 * that the kernel has just vouched for, and of new ones.  Without
 * VIRTGPU_USERPTR_REG_PIECES the first one has to be enough.
 *
 * Locking: see context.h.  While a part is looked at or made, parts that were found
 * before may go; then it is all done again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "error.h"

/* A client that frees memory while it registers it is not waited for. */
#define MAX_TRIES 16

/**
 * struct request - a registration that is being put together
 * @first: first byte
 * @last: last byte
 * @flags: VIRTGPU_USERPTR_REG_*
 * @uses: parts that are there, each with a reference
 * @nr: how many
 * @max: room in @uses
 * @one: @uses, as long as that is enough
 */
struct request {
	uint64_t first;
	uint64_t last;
	uint32_t flags;
	struct use *uses;
	unsigned int nr;
	unsigned int max;
	struct use one;
};

static int grow(struct request *req)
{
	unsigned int max = req->max * 4;
	struct use *uses = malloc(max * sizeof(*uses));

	if (!uses)
		return error_set(-ENOMEM, "this process has no memory left");
	memcpy(uses, req->uses, req->nr * sizeof(*uses));
	if (req->uses != &req->one)
		free(req->uses);
	req->uses = uses;
	req->max = max;
	return 0;
}

/* Adds what @entry, whose reference is taken over, has of the rest; moves @at. */
static int add_part(struct virtgpu_userptr *ctx, struct request *req, struct entry *entry,
		    uint64_t *at)
{
	uint64_t end = entry->end > req->last ? req->last + 1 : entry->end;
	struct use *use;

	if (req->nr == req->max && grow(req)) {
		entry_put(ctx, entry);
		return -ENOMEM;
	}
	use = &req->uses[req->nr++];
	memset(use, 0, sizeof(*use));
	use->entry = entry;
	use->offset = *at - entry->start;
	use->size = end - *at;
	*at = end;
	return 0;
}

static void drop_parts(struct virtgpu_userptr *ctx, struct request *req)
{
	while (req->nr)
		entry_put(ctx, req->uses[--req->nr].entry);
}

/* The entry for the byte at @at, or NULL and where the next one begins. */
static struct entry *find(struct virtgpu_userptr *ctx, const struct request *req, uint64_t at,
			  uint64_t *next)
{
	bool rdonly = req->flags & VIRTGPU_USERPTR_REG_RDONLY;

	*next = req->last + 1;
	if (req->flags & VIRTGPU_USERPTR_REG_KEEP)
		return NULL;
	if (req->flags & VIRTGPU_USERPTR_REG_PIECES)
		return entry_find_part(ctx, at, req->first, req->last, rdonly, next);
	return entry_find(ctx, req->first, req->last, rdonly);
}

/* -EAGAIN: what was found is gone, or has to be looked for again. */
static int next_part(struct virtgpu_userptr *ctx, struct request *req, uint64_t *at)
{
	struct entry *entry;
	uint64_t next;
	int ret;

	entry = find(ctx, req, *at, &next);
	if (!entry) {
		entry = entry_create(ctx, *at, next - 1, req->flags, &ret);
		return entry ? add_part(ctx, req, entry, at) : ret;
	}
	if (entry->state == ENTRY_CREATING) {
		entry_wait(ctx);
		return -EAGAIN;
	}
	entry_get(ctx, entry);
	ret = entry_verify(ctx, entry);
	if (ret) {
		entry_put(ctx, entry);
		return -EAGAIN;
	}
	ctx->stats.hits++;
	return add_part(ctx, req, entry, at);
}

static bool all_there(const struct request *req)
{
	unsigned int i;

	for (i = 0; i < req->nr; i++)
		if (req->uses[i].entry->state == ENTRY_GONE)
			return false;
	return true;
}

static int put_together(struct virtgpu_userptr *ctx, struct request *req, struct range **range)
{
	unsigned int tries = 0;
	uint64_t at = req->first;
	int ret;

	while (at <= req->last) {
		ret = next_part(ctx, req, &at);
		if (ret && ret != -EAGAIN)
			return ret;
		if (at > req->last && !all_there(req)) {
			if (++tries == MAX_TRIES)
				return error_set(-EFAULT,
						 "the memory is given back while it is registered");
			drop_parts(ctx, req);
			at = req->first;
		}
	}
	*range = range_publish(ctx, req->first, req->last, req->flags, req->uses, req->nr);
	if (!*range)
		return error_set(-ENOMEM, "this process has no memory left");
	req->nr = 0;
	return 0;
}

static int check_request(const struct virtgpu_userptr *ctx, const void *addr, size_t size,
			 uint32_t flags)
{
	const uint32_t known = VIRTGPU_USERPTR_REG_RDONLY | VIRTGPU_USERPTR_REG_PIECES |
			       VIRTGPU_USERPTR_REG_KEEP;
	uint64_t first = (uintptr_t)addr, last = first + size - 1;

	if (flags & ~known)
		return error_set(-EINVAL, "unknown flags %#x", flags & ~known);
	if (!size || last < first || last > UINT64_MAX - ctx->page)
		return error_set(-EINVAL, "%zu bytes at %p are no range of memory", size, addr);
	if ((last | (ctx->page - 1)) + 1 - (first & ~(ctx->page - 1)) > ctx->caps.max_size)
		return error_create(ctx, -E2BIG, first, size, 0);
	if (flags & VIRTGPU_USERPTR_REG_RDONLY && !(ctx->caps.flags & VIRTGPU_USERPTR_CAP_RDONLY))
		return error_set(
			-EOPNOTSUPP,
			"the host cannot enforce read-only access in this kind of context; "
			"register the memory for writing, if the host may write");
	if (!(flags & VIRTGPU_USERPTR_REG_KEEP) && !(ctx->caps.flags & VIRTGPU_USERPTR_CAP_WATCH))
		return error_set(
			-EOPNOTSUPP,
			"the kernel cannot watch memory (CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER); "
			"promise with VIRTGPU_USERPTR_REG_KEEP to deregister before memory is freed");
	return 0;
}

int virtgpu_userptr_register(struct virtgpu_userptr *ctx, const void *addr, size_t size,
			     uint32_t flags, struct virtgpu_userptr_reg *reg)
{
	struct request req = {
		.first = (uintptr_t)addr,
		.last = (uintptr_t)addr + size - 1,
		.flags = flags,
		.uses = &req.one,
		.max = 1,
	};
	struct range *range;
	int ret = context_check(ctx);

	if (!ret)
		ret = check_request(ctx, addr, size, flags);
	if (ret)
		return ret;

	context_lock(ctx);
	ret = put_together(ctx, &req, &range);
	if (!ret)
		*reg = range->reg;
	drop_parts(ctx, &req);
	context_unlock(ctx);
	if (req.uses != &req.one)
		free(req.uses);
	return ret;
}

static int put_by(struct virtgpu_userptr *ctx, uint64_t addr, uint64_t size, uint64_t id)
{
	struct range *range;
	int ret = context_check(ctx);

	if (ret)
		return ret;
	context_lock(ctx);
	range = range_find(ctx, addr, addr + size - 1, id);
	if (range && !range->telling)
		range_put(ctx, range);
	else
		ret = error_set(-ENOENT, "%#llx bytes at %#llx are not registered, or not any more",
				(unsigned long long)size, (unsigned long long)addr);
	context_unlock(ctx);
	return ret;
}

int virtgpu_userptr_deregister(struct virtgpu_userptr *ctx, const void *addr, size_t size)
{
	return put_by(ctx, (uintptr_t)addr, size, 0);
}

int virtgpu_userptr_release(struct virtgpu_userptr *ctx, const struct virtgpu_userptr_reg *reg)
{
	/* 0 would be anybody's. */
	return put_by(ctx, reg->addr, reg->size, reg->id ? reg->id : UINT64_MAX);
}

int virtgpu_userptr_get_pieces(struct virtgpu_userptr *ctx, const struct virtgpu_userptr_reg *reg,
			       struct virtgpu_userptr_piece *pieces, unsigned int max)
{
	struct range *range;
	unsigned int i;
	int ret = context_check(ctx);

	if (ret)
		return ret;
	context_lock(ctx);
	range = range_find(ctx, reg->addr, reg->addr + reg->size - 1, reg->id);
	for (i = 0; range && i < range->reg.nr_pieces && i < max; i++) {
		const struct use *use = &range->uses[i];

		pieces[i].res_handle = use->entry->bo.res;
		pieces[i].bo_handle = use->entry->bo.handle;
		pieces[i].offset = use->offset;
		pieces[i].size = use->size;
	}
	ret = range ? (int)range->reg.nr_pieces :
		      error_set(-ENOENT, "there is no such registration");
	context_unlock(ctx);
	return ret;
}

/* Asks for one entry; the lock is let go of. */
static int is_entry_live(struct virtgpu_userptr *ctx, struct entry *entry)
{
	uint32_t state = 0;
	int ret;

	if (entry->state == ENTRY_GONE)
		return 0;
	entry->refs++;
	pthread_mutex_unlock(&ctx->lock);
	ret = ctx->ops->state(ctx->fd, entry->bo.handle,
			      ctx->caps.flags & VIRTGPU_USERPTR_CAP_SHARE, &state);
	pthread_mutex_lock(&ctx->lock);
	if (ret)
		ret = error_set(ret,
				"the kernel cannot tell whether the memory is still registered");
	else if (state != VIRTGPU_USERPTR_STATE_LIVE)
		entry_gone(ctx, entry);
	else
		ret = 1;
	entry_put(ctx, entry);
	return ret;
}

int virtgpu_userptr_is_live(struct virtgpu_userptr *ctx, const struct virtgpu_userptr_reg *reg)
{
	unsigned int i = 0, nr = 0;
	struct range *range;
	int ret = context_check(ctx);

	if (ret)
		return ret;
	context_lock(ctx);
	do {
		/* It may have gone while one of its entries was asked for. */
		range = range_find(ctx, reg->addr, reg->addr + reg->size - 1, reg->id);
		if (!range) {
			ret = error_set(-ENOENT, "there is no such registration");
			break;
		}
		nr = range->reg.nr_pieces;
		ret = range->revoked ? 0 : is_entry_live(ctx, range->uses[i].entry);
	} while (ret == 1 && ++i < nr);
	context_unlock(ctx);
	return ret;
}
