// SPDX-License-Identifier: MIT
/*
 * cache: entries that no range uses, kept for the next time
 *
 * The one that was used last goes last.  How much is kept has two bounds: what the
 * client allows, and what RLIMIT_MEMLOCK leaves beside what is held, so that what
 * is kept never is why something cannot be registered.
 *
 * Locking: &virtgpu_userptr.lock is held by all callers.
 */
#include "context.h"

/**
 * cache_take() - an idle entry is needed, or is to go
 * @ctx: context
 * @entry: idle; the caller accounts for it from now on
 */
void cache_take(struct virtgpu_userptr *ctx, struct entry *entry)
{
	TAILQ_REMOVE(&ctx->idle, entry, idle);
	entry->kept = false;
	ctx->stats.idle_bytes -= entry_bytes(entry);
}

static void evict(struct virtgpu_userptr *ctx, struct entry *entry)
{
	ctx->stats.evicted++;
	entry_retire(ctx, entry);
}

/**
 * cache_trim() - let the oldest ones go
 * @ctx: context
 * @bytes: how much may stay
 */
void cache_trim(struct virtgpu_userptr *ctx, uint64_t bytes)
{
	while (ctx->stats.idle_bytes > bytes)
		evict(ctx, TAILQ_FIRST(&ctx->idle));
}

/**
 * cache_make_room() - keep what the limits allow beside something new
 * @ctx: context
 * @bytes: that are about to be registered, or 0
 */
void cache_make_room(struct virtgpu_userptr *ctx, uint64_t bytes)
{
	uint64_t limit = ctx->ops->memlock();
	uint64_t held = ctx->stats.held_bytes + bytes;
	uint64_t room = limit > held ? limit - held : 0;

	if (limit == UINT64_MAX || room > ctx->caps.cache_bytes)
		room = ctx->caps.cache_bytes;
	cache_trim(ctx, room);
}

/**
 * cache_add() - keep an entry that nobody uses
 * @ctx: context
 * @entry: LIVE, without a reference; if there is no room it goes
 */
void cache_add(struct virtgpu_userptr *ctx, struct entry *entry)
{
	TAILQ_INSERT_TAIL(&ctx->idle, entry, idle);
	entry->kept = true;
	ctx->stats.idle_bytes += entry_bytes(entry);
	cache_make_room(ctx, 0);
}

/**
 * cache_evict_evented() - make room for an event
 * @ctx: context
 *
 * Return: true if an entry went that had one to come.
 */
bool cache_evict_evented(struct virtgpu_userptr *ctx)
{
	struct entry *entry;

	TAILQ_FOREACH(entry, &ctx->idle, idle) {
		if (entry->event) {
			evict(ctx, entry);
			return true;
		}
	}
	return false;
}

/**
 * cache_evict_inside() - let go what another entry does as well
 * @ctx: context
 * @entry: LIVE; what is idle and lies in it goes
 */
void cache_evict_inside(struct virtgpu_userptr *ctx, const struct entry *entry)
{
	uint64_t first = entry->node.first, last = entry->node.last;
	struct interval_tree *tree = entry->rdonly ? &ctx->rdonly : &ctx->writable;
	struct interval_node *node = interval_first(tree, first, last), *next;

	for (; node; node = next) {
		/* An entry begins with its node. */
		struct entry *other = (struct entry *)node;

		next = interval_next(tree, node, first, last);
		if (other->kept && node->first >= first && node->last <= last)
			evict(ctx, other);
	}
}
