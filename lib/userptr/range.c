// SPDX-License-Identifier: MIT
/*
 * range: what clients have registered
 *
 * A range that is revoked stays in the tree, and its entries' handles stay open,
 * until its client knows: a resource id that were given to another resource
 * meanwhile would make the client's next command reach that one.  The client knows
 * when it was told, has deregistered, or has registered other memory at that place.
 *
 * Locking: &virtgpu_userptr.lock is held by all callers.
 */
#include <stdlib.h>

#include "context.h"

static struct range *to_range(struct interval_node *node)
{
	/* A range begins with its node. */
	return (struct range *)node;
}

/**
 * range_find() - a range by its bytes
 * @ctx: context
 * @first: first byte
 * @last: last byte
 * @id: its number, or 0 for the youngest one
 *
 * Return: it, or NULL.
 */
struct range *range_find(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last, uint64_t id)
{
	struct interval_node *node;
	struct range *found = NULL;

	for (node = interval_first(&ctx->ranges, first, last); node;
	     node = interval_next(&ctx->ranges, node, first, last)) {
		struct range *range = to_range(node);

		if (node->first != first || node->last != last || (range->telling && !id))
			continue;
		if (id ? range->reg.id == id : !found || range->reg.id > found->reg.id)
			found = range;
	}
	return found;
}

/* Is there one already, and of the same parts? */
static struct range *find_same(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last,
			       uint32_t flags, const struct use *uses, unsigned int nr)
{
	struct interval_node *node;
	unsigned int i;

	for (node = interval_first(&ctx->ranges, first, last); node;
	     node = interval_next(&ctx->ranges, node, first, last)) {
		struct range *range = to_range(node);

		if (node->first != first || node->last != last || range->revoked ||
		    range->reg.flags != flags || range->reg.nr_pieces != nr)
			continue;
		for (i = 0; i < nr && range->uses[i].entry == uses[i].entry; i++)
			;
		if (i == nr)
			return range;
	}
	return NULL;
}

/* Who registers memory knows that what was there before is gone. */
static void forget_revoked(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last)
{
	struct interval_node *node = interval_first(&ctx->ranges, first, last), *next;

	for (; node; node = next) {
		struct range *range = to_range(node);

		next = interval_next(&ctx->ranges, node, first, last);
		if (range->revoked && !range->untold && !range->telling)
			range_free(ctx, range);
	}
}

/**
 * range_publish() - make a range of its parts
 * @ctx: context
 * @first: first byte
 * @last: last byte
 * @flags: VIRTGPU_USERPTR_REG_*
 * @uses: its parts; their references are taken over if this succeeds
 * @nr: how many
 *
 * Return: a range, which may be there already and is counted once more; or NULL if
 * there is no memory.
 */
struct range *range_publish(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last,
			    uint32_t flags, const struct use *uses, unsigned int nr)
{
	struct range *range = find_same(ctx, first, last, flags, uses, nr);
	unsigned int i;

	if (range) {
		range->count++;
		for (i = 0; i < nr; i++)
			entry_put(ctx, uses[i].entry);
		return range;
	}
	range = calloc(1, sizeof(*range) + nr * sizeof(*uses));
	if (!range)
		return NULL;
	range->node.first = first;
	range->node.last = last;
	range->count = 1;
	range->reg.id = ++ctx->next_id;
	range->reg.addr = first;
	range->reg.size = last - first + 1;
	range->reg.flags = flags;
	range->reg.nr_pieces = nr;
	range->reg.piece.res_handle = uses[0].entry->bo.res;
	range->reg.piece.bo_handle = uses[0].entry->bo.handle;
	range->reg.piece.offset = uses[0].offset;
	range->reg.piece.size = uses[0].size;
	for (i = 0; i < nr; i++) {
		range->uses[i] = uses[i];
		range->uses[i].range = range;
		TAILQ_INSERT_TAIL(&uses[i].entry->uses, &range->uses[i], link);
	}
	forget_revoked(ctx, first, last);
	interval_insert(&ctx->ranges, &range->node);
	ctx->stats.registrations++;
	return range;
}

/**
 * range_free() - a range is not registered any more
 * @ctx: context
 * @range: in the tree; however often it was registered
 */
void range_free(struct virtgpu_userptr *ctx, struct range *range)
{
	unsigned int i;

	if (range->untold)
		TAILQ_REMOVE(&ctx->pending, range, pending);
	interval_remove(&ctx->ranges, &range->node);
	for (i = 0; i < range->reg.nr_pieces; i++) {
		TAILQ_REMOVE(&range->uses[i].entry->uses, &range->uses[i], link);
		entry_put(ctx, range->uses[i].entry);
	}
	ctx->stats.registrations--;
	free(range);
}

/**
 * range_put() - a range is registered once less
 * @ctx: context
 * @range: in the tree; gone if this was the last time
 */
void range_put(struct virtgpu_userptr *ctx, struct range *range)
{
	if (!--range->count)
		range_free(ctx, range);
}

/**
 * range_revoke() - an entry of a range is gone
 * @ctx: context
 * @range: in the tree
 */
void range_revoke(struct virtgpu_userptr *ctx, struct range *range)
{
	if (range->revoked)
		return;
	range->revoked = true;
	if (!ctx->options.revoked)
		return;
	range->untold = true;
	TAILQ_INSERT_TAIL(&ctx->pending, range, pending);
	events_wake(ctx);
}
