/* SPDX-License-Identifier: MIT */
/*
 * context: what the library keeps for one open node, and what its files share
 *
 * A *range* is what a client has registered: an address, a size, flags, a number of
 * times.  An *entry* is a resource of the kernel.  A range uses one entry, or with
 * VIRTGPU_USERPTR_REG_PIECES several, and an entry is used by any number of ranges;
 * one that no range uses is *idle*, and kept for the next time.
 *
 *	bytes decide what is shared, pages what is registered
 *
 * Two blocks of malloc() that have a page in common share nothing: when one of them
 * is freed its registration ends, and the other one's must not.  So an entry is
 * found by the bytes for which it was made.
 *
 * Locking: &virtgpu_userptr.lock protects everything but what never changes.  It is
 * not held while a resource is made or the kernel looks at one, which takes as long
 * as it takes: whoever does that has a reference, and looks at the state again
 * afterwards.  Entries that are dead are closed, and their memory is freed, when
 * context_unlock() has unlocked.  Clients' functions are called without the lock.
 *
 * Invariant: an entry is used for another registration only after the kernel has
 * said, after that registration began, that it is still its owner's memory.
 */
#ifndef USERPTR_CONTEXT_H
#define USERPTR_CONTEXT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "interval.h"
#include "ops.h"
#include "virtgpu-userptr.h"

struct range;

/**
 * enum entry_state - what can be done with an entry
 * @ENTRY_CREATING: a thread is making the resource; the others wait for it
 * @ENTRY_LIVE: it can be found, and used
 * @ENTRY_RETIRED: good for those who have it, but not found any more
 * @ENTRY_GONE: revoked, never made, or to be closed
 */
enum entry_state {
	ENTRY_CREATING,
	ENTRY_LIVE,
	ENTRY_RETIRED,
	ENTRY_GONE,
};

/**
 * struct use - a range's use of an entry
 * @range: whose
 * @entry: of what; a reference
 * @offset: where the part begins in the resource
 * @size: its bytes
 * @link: in @entry's list of uses
 */
struct use {
	struct range *range;
	struct entry *entry;
	uint64_t offset;
	uint64_t size;
	TAILQ_ENTRY(use) link;
};

/**
 * struct entry - a resource of the kernel
 * @node: the bytes that it was made for; in a tree while CREATING or LIVE
 * @start: address of its first page
 * @end: behind its last one
 * @rdonly: the host does not write
 * @keep: nobody watches, and nobody else finds it
 * @event: an event is to come if it is revoked
 * @bo: handle and resource id
 * @state: see there
 * @kept: in the list of what is kept; then there is no reference
 * @refs: uses, and threads that are busy with it
 * @idle: its place in that list
 * @watch: in one of the lists of what has a handle, by @event
 * @uses: of ranges
 */
struct entry {
	struct interval_node node;
	uint64_t start;
	uint64_t end;
	bool rdonly;
	bool keep;
	bool event;
	struct vg_bo bo;
	enum entry_state state;
	bool kept;
	unsigned int refs;
	TAILQ_ENTRY(entry) idle;
	TAILQ_ENTRY(entry) watch;
	TAILQ_HEAD(, use) uses;
};

TAILQ_HEAD(entry_list, entry);

/**
 * struct range - what a client has registered
 * @node: its bytes
 * @reg: as the client knows it
 * @count: times that it was registered
 * @revoked: an entry of it is gone
 * @untold: in the list of what a client is to be told of
 * @telling: the client is being told; nobody else puts it
 * @pending: its place there
 * @uses: &virtgpu_userptr_reg.nr_pieces of them
 */
struct range {
	struct interval_node node;
	struct virtgpu_userptr_reg reg;
	unsigned int count;
	bool revoked;
	bool untold;
	bool telling;
	TAILQ_ENTRY(range) pending;
	struct use uses[];
};

/**
 * struct virtgpu_userptr - see the public header
 * @ops: the system; never changes, as what follows up to @lock
 * @fd: the node, a descriptor of its own
 * @poll_fd: what clients poll
 * @timer_fd: part of @poll_fd: readable when there is something to do
 * @generation: of the process that it belongs to
 * @options: as given
 * @caps: what can be registered
 * @page: bytes of which addresses and sizes are multiples
 * @lock: protects what follows
 * @created: an entry is not CREATING any more
 * @reading: held by who reads events, outside of @lock
 * @writable: entries that can be found, which the host may write
 * @rdonly: those that it may not
 * @ranges: of all clients
 * @next_id: of the next range
 * @idle: entries without a reference, the one that was used last at the end
 * @evented: entries whose revocation is announced by an event
 * @eventless: those of which the kernel has to be asked
 * @dead: to be closed when the lock is free
 * @pending: ranges of whose end a client is to be told
 * @asking: the timer runs for @eventless
 * @stats: see there
 */
struct virtgpu_userptr {
	const struct userptr_ops *ops;
	int fd;
	int poll_fd;
	int timer_fd;
	uint64_t generation;
	struct virtgpu_userptr_options options;
	struct virtgpu_userptr_caps caps;
	uint64_t page;

	pthread_mutex_t lock;
	pthread_cond_t created;
	pthread_mutex_t reading;
	struct interval_tree writable;
	struct interval_tree rdonly;
	struct interval_tree ranges;
	uint64_t next_id;
	struct entry_list idle;
	struct entry_list evented;
	struct entry_list eventless;
	struct entry_list dead;
	TAILQ_HEAD(, range) pending;
	bool asking;
	struct virtgpu_userptr_stats stats;
};

/* context.c */

int context_open(int fd, const struct virtgpu_userptr_options *options,
		 const struct userptr_ops *ops, struct virtgpu_userptr **ctx);
int context_check(const struct virtgpu_userptr *ctx);
void context_lock(struct virtgpu_userptr *ctx);
void context_unlock(struct virtgpu_userptr *ctx);

/* entry.c */

struct entry *entry_create(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last,
			   uint32_t flags, int *error);
struct entry *entry_find(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last, bool rdonly);
struct entry *entry_find_part(struct virtgpu_userptr *ctx, uint64_t at, uint64_t first,
			      uint64_t last, bool rdonly, uint64_t *next);
void entry_wait(struct virtgpu_userptr *ctx);
void entry_get(struct virtgpu_userptr *ctx, struct entry *entry);
void entry_put(struct virtgpu_userptr *ctx, struct entry *entry);
int entry_verify(struct virtgpu_userptr *ctx, struct entry *entry);
void entry_gone(struct virtgpu_userptr *ctx, struct entry *entry);
void entry_retire(struct virtgpu_userptr *ctx, struct entry *entry);
void entry_ask(struct virtgpu_userptr *ctx, unsigned int most);

/* cache.c */

void cache_add(struct virtgpu_userptr *ctx, struct entry *entry);
void cache_take(struct virtgpu_userptr *ctx, struct entry *entry);
void cache_trim(struct virtgpu_userptr *ctx, uint64_t bytes);
void cache_make_room(struct virtgpu_userptr *ctx, uint64_t bytes);
bool cache_evict_evented(struct virtgpu_userptr *ctx);
void cache_evict_inside(struct virtgpu_userptr *ctx, const struct entry *entry);

/* range.c */

struct range *range_find(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last, uint64_t id);
struct range *range_publish(struct virtgpu_userptr *ctx, uint64_t first, uint64_t last,
			    uint32_t flags, const struct use *uses, unsigned int nr);
void range_put(struct virtgpu_userptr *ctx, struct range *range);
void range_free(struct virtgpu_userptr *ctx, struct range *range);
void range_revoke(struct virtgpu_userptr *ctx, struct range *range);

/* events.c */

void events_wake(struct virtgpu_userptr *ctx);
void events_ask_later(struct virtgpu_userptr *ctx);

static inline uint64_t entry_bytes(const struct entry *entry)
{
	return entry->end - entry->start;
}

#endif /* USERPTR_CONTEXT_H */
