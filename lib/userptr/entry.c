// SPDX-License-Identifier: MIT
/*
 * entry: the resources of the kernel, found by address
 *
 *	CREATING ----> LIVE ----> RETIRED
 *	    |           |            |
 *	    +---------> GONE <-------+
 *
 * An entry is in a tree while it is CREATING or LIVE, in one of the watch lists
 * while it is LIVE or RETIRED, and in the list of what is kept while it is LIVE and
 * has no reference.  One that is not LIVE when its last reference goes, or that is
 * not kept, is GONE and among the dead ones, to be closed.
 *
 * Locking: &virtgpu_userptr.lock is held by all callers; entry_create(),
 * entry_verify() and entry_wait() let go of it in between.
 */
#include <errno.h>
#include <stdlib.h>

#include "context.h"
#include "error.h"

/* Of the resources that have no event, asked after when another one is made. */
#define ASK_AT_CREATE 2

static struct entry *to_entry(struct interval_node *node)
{
	/* An entry begins with its node. */
	return (struct entry *)node;
}

static struct interval_tree *tree_of(struct virtgpu_userptr *ctx, bool rdonly)
{
	return rdonly ? &ctx->rdonly : &ctx->writable;
}

static struct entry_list *watch_list(struct virtgpu_userptr *ctx, const struct entry *entry)
{
	return entry->event ? &ctx->evented : &ctx->eventless;
}

static bool is_watched(const struct entry *entry)
{
	return !entry->keep && (entry->state == ENTRY_LIVE || entry->state == ENTRY_RETIRED);
}

static bool can_be_found(const struct entry *entry)
{
	return !entry->keep && (entry->state == ENTRY_CREATING || entry->state == ENTRY_LIVE);
}

/* The one place in which a state changes, and what follows from it. */
static void set_state(struct virtgpu_userptr *ctx, struct entry *entry, enum entry_state state)
{
	bool found = can_be_found(entry), watched = is_watched(entry);

	if (entry->kept)
		cache_take(ctx, entry);
	if (entry->state == ENTRY_CREATING)
		pthread_cond_broadcast(&ctx->created);
	entry->state = state;

	if (found && !can_be_found(entry))
		interval_remove(tree_of(ctx, entry->rdonly), &entry->node);
	if (watched && !is_watched(entry)) {
		TAILQ_REMOVE(watch_list(ctx, entry), entry, watch);
		ctx->stats.unannounced -= !entry->event;
	} else if (!watched && is_watched(entry)) {
		TAILQ_INSERT_TAIL(watch_list(ctx, entry), entry, watch);
		ctx->stats.unannounced += !entry->event;
	}
	/* Nobody can get at it any more. */
	if (state == ENTRY_GONE && !entry->refs)
		TAILQ_INSERT_TAIL(&ctx->dead, entry, watch);
}

/**
 * entry_get() - keep an entry from going
 * @ctx: context
 * @entry: LIVE
 */
void entry_get(struct virtgpu_userptr *ctx, struct entry *entry)
{
	if (!entry->refs++) {
		cache_take(ctx, entry);
		ctx->stats.held_bytes += entry_bytes(entry);
	}
}

/**
 * entry_put() - undo entry_get()
 * @ctx: context
 * @entry: in any state; idle or dead if this was the last reference
 */
void entry_put(struct virtgpu_userptr *ctx, struct entry *entry)
{
	if (--entry->refs)
		return;
	if (entry->state != ENTRY_GONE)
		ctx->stats.held_bytes -= entry_bytes(entry);
	if (entry->state == ENTRY_LIVE && !entry->keep &&
	    ctx->caps.flags & VIRTGPU_USERPTR_CAP_SHARE)
		cache_add(ctx, entry);
	else
		set_state(ctx, entry, ENTRY_GONE);
}

/**
 * entry_gone() - the memory was given back
 * @ctx: context
 * @entry: LIVE or RETIRED, or GONE already
 *
 * Nobody finds it any more, and the ranges that use it are revoked.
 */
void entry_gone(struct virtgpu_userptr *ctx, struct entry *entry)
{
	struct use *use;

	if (entry->state == ENTRY_GONE)
		return;
	ctx->stats.revoked++;
	if (entry->refs)
		ctx->stats.held_bytes -= entry_bytes(entry);
	set_state(ctx, entry, ENTRY_GONE);
	TAILQ_FOREACH(use, &entry->uses, link)
		range_revoke(ctx, use->range);
}

/**
 * entry_retire() - let nobody else have an entry
 * @ctx: context
 * @entry: LIVE; dead if nobody has it
 */
void entry_retire(struct virtgpu_userptr *ctx, struct entry *entry)
{
	set_state(ctx, entry, entry->refs ? ENTRY_RETIRED : ENTRY_GONE);
}

/**
 * entry_wait() - wait until an entry is not CREATING any more
 * @ctx: context; whatever was found before has to be looked for again
 */
void entry_wait(struct virtgpu_userptr *ctx)
{
	pthread_cond_wait(&ctx->created, &ctx->lock);
}

/**
 * entry_find() - an entry that was made for all of some bytes
 * @ctx: context
 * @first: byte
 * @last: byte
 * @rdonly: may the host not write?
 *
 * Return: a CREATING or LIVE one, or NULL.
 */
struct entry *entry_find(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last, bool rdonly)
{
	struct interval_tree *tree = tree_of(ctx, rdonly);
	struct interval_node *node;

	for (node = interval_first(tree, first, last); node;
	     node = interval_next(tree, node, first, last)) {
		if (node->first <= first && node->last >= last)
			return to_entry(node);
	}
	return NULL;
}

/**
 * entry_find_part() - an entry that has some bytes in common with others
 * @ctx: context
 * @at: address that its pages are to contain
 * @first: byte of those in common
 * @last: byte
 * @rdonly: may the host not write?
 * @next: out, if there is none: where the pages of the next one begin, or @last + 1
 *
 * Return: a CREATING or LIVE one, or NULL.
 */
struct entry *entry_find_part(struct virtgpu_userptr *ctx, uint64_t at, uint64_t first,
			      uint64_t last, bool rdonly, uint64_t *next)
{
	struct interval_tree *tree = tree_of(ctx, rdonly);
	struct interval_node *node;

	*next = last + 1;
	for (node = interval_first(tree, first, last); node;
	     node = interval_next(tree, node, first, last)) {
		struct entry *entry = to_entry(node);

		if (entry->start <= at && entry->end > at)
			return entry;
		if (entry->start > at && entry->start < *next)
			*next = entry->start;
	}
	return NULL;
}

/**
 * entry_verify() - is it still its owner's memory?
 * @ctx: context; the lock is let go of
 * @entry: of which the caller has a reference
 *
 * Whoever uses an entry for something new asks first.  It is GONE if it is not, and
 * RETIRED if that cannot be told, when this fails.
 *
 * Return: 0 or a negative errno.
 */
int entry_verify(struct virtgpu_userptr *ctx, struct entry *entry)
{
	uint32_t state = 0;
	int ret;

	pthread_mutex_unlock(&ctx->lock);
	ret = ctx->ops->state(ctx->fd, entry->bo.handle, true, &state);
	pthread_mutex_lock(&ctx->lock);

	if (entry->state != ENTRY_LIVE)
		return -ESTALE;
	if (!ret && state == VIRTGPU_USERPTR_STATE_LIVE)
		return 0;
	ctx->stats.stale++;
	if (!ret)
		entry_gone(ctx, entry);
	else
		entry_retire(ctx, entry);
	return ret ? ret : -ESTALE;
}

/* Plainly; whoever sees that an entry is gone says so. */
static void ask(struct virtgpu_userptr *ctx, struct entry *entry)
{
	uint32_t state;

	if (!ctx->ops->state(ctx->fd, entry->bo.handle, false, &state) &&
	    state != VIRTGPU_USERPTR_STATE_LIVE)
		entry_gone(ctx, entry);
}

/**
 * entry_ask() - look whether entries without events are gone
 * @ctx: context
 * @most: how many to ask after, the longest unasked ones first
 */
void entry_ask(struct virtgpu_userptr *ctx, unsigned int most)
{
	struct entry *entry;

	if (most > ctx->stats.unannounced)
		most = ctx->stats.unannounced;
	for (; most; most--) {
		entry = TAILQ_FIRST(&ctx->eventless);
		if (!entry)
			return;
		TAILQ_REMOVE(&ctx->eventless, entry, watch);
		TAILQ_INSERT_TAIL(&ctx->eventless, entry, watch);
		ask(ctx, entry);
	}
}

/* One try; the lock is let go of, which closes what is dead as well. */
static int try_create(struct virtgpu_userptr *ctx, struct entry *entry, bool event)
{
	uint32_t flags = entry->rdonly ? VIRTGPU_USERPTR_RDONLY : 0;
	int ret;

	if (entry->keep)
		flags |= VIRTGPU_USERPTR_KEEP;
	else if (event)
		flags |= VIRTGPU_USERPTR_EVENT;
	context_unlock(ctx);
	ret = ctx->ops->create(ctx->fd, entry->start, entry_bytes(entry), flags, &entry->bo);
	context_lock(ctx);
	entry->event = flags & VIRTGPU_USERPTR_EVENT;
	return ret;
}

/*
 * The kernel says ENOMEM for three things: the file has no room for an event, the
 * process may not lock more, there is no memory.
 */
static int create_resource(struct virtgpu_userptr *ctx, struct entry *entry)
{
	int ret = try_create(ctx, entry, true);

	if (ret == -ENOMEM && !entry->keep && cache_evict_evented(ctx))
		ret = try_create(ctx, entry, true);
	if (ret == -ENOMEM && !entry->keep)
		ret = try_create(ctx, entry, false);
	if (ret == -ENOMEM && !TAILQ_EMPTY(&ctx->idle)) {
		cache_trim(ctx, 0);
		ret = try_create(ctx, entry, true);
	}
	return ret;
}

static struct entry *new_entry(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last,
			       uint32_t flags)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->node.first = first;
	entry->node.last = last;
	entry->start = first & ~(ctx->page - 1);
	entry->end = (last | (ctx->page - 1)) + 1;
	entry->rdonly = flags & VIRTGPU_USERPTR_REG_RDONLY;
	entry->keep = flags & VIRTGPU_USERPTR_REG_KEEP;
	entry->refs = 1;
	entry->state = ENTRY_CREATING;
	TAILQ_INIT(&entry->uses);
	return entry;
}

/**
 * entry_create() - make a resource
 * @ctx: context; the lock is let go of
 * @first: byte that it is made for
 * @last: byte
 * @flags: VIRTGPU_USERPTR_REG_*
 * @error: out, if that fails: a negative errno, of which the thread was told in words
 *
 * Return: an entry with a reference for the caller, or NULL.  It is LIVE, unless the
 * memory was given back meanwhile.
 */
struct entry *entry_create(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last,
			   uint32_t flags, int *error)
{
	struct entry *entry = new_entry(ctx, first, last, flags);

	if (!entry) {
		*error = error_set(-ENOMEM, "this process has no memory left");
		return NULL;
	}
	cache_make_room(ctx, entry_bytes(entry));
	ctx->stats.held_bytes += entry_bytes(entry);
	if (can_be_found(entry))
		interval_insert(tree_of(ctx, entry->rdonly), &entry->node);
	entry_ask(ctx, ASK_AT_CREATE);

	*error = create_resource(ctx, entry);
	if (*error) {
		ctx->stats.held_bytes -= entry_bytes(entry);
		set_state(ctx, entry, ENTRY_GONE);
		entry_put(ctx, entry);
		error_create(ctx, *error, first, last - first + 1,
			     !!(flags & VIRTGPU_USERPTR_REG_RDONLY));
		return NULL;
	}
	ctx->stats.misses++;
	ctx->stats.resources++;
	set_state(ctx, entry, ENTRY_LIVE);
	/* Its event may have been read before anybody could have found it. */
	if (entry->event)
		ask(ctx, entry);
	if (entry->state == ENTRY_GONE)
		return entry;
	if (!(ctx->caps.flags & VIRTGPU_USERPTR_CAP_SHARE))
		entry_retire(ctx, entry);
	else if (!entry->keep)
		cache_evict_inside(ctx, entry);
	events_ask_later(ctx);
	return entry;
}
