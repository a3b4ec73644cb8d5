/* SPDX-License-Identifier: MIT */
/*
 * host_visible: the region of host memory that the guest sees, and who is where
 *
 * A blob of a renderer is shown to the guest by having the VMM map it into the
 * host-visible region.  The VMM may be waiting for this process at that moment,
 * so nothing here waits for it: a request is sent, and host_visible_done() says
 * what became of it.
 *
 * What a range is taken by follows the guest's commands: a mapping has its range
 * from map() to unmap(), whatever the VMM has done by then.  That is sound because
 * the VMM is asked for one thing at a time, in the order of the commands.
 *
 * A reset forgets all mappings without asking for their end: the VMM takes them
 * away itself when the guest resets its device.  The one request that may be on
 * its way then comes too late for that, so what it maps is unmapped again before
 * anything else is asked for.
 *
 * Threads: the ring thread only.
 */
#ifndef HOST_VISIBLE_H
#define HOST_VISIBLE_H

#include <stdint.h>

struct gpu_transport;
struct host_visible;
struct mapping;
struct renderer_mapping;

/*
 * Mappings at a time.  To a VMM each is a memory region, of which it has not any
 * number: QEMU aborts if they and the regions of RAM are more than 512.
 */
#define HOST_VISIBLE_MAX_MAPPINGS 448
#define HOST_VISIBLE_PAGE 4096u

/**
 * struct host_visible_host - what it asks of the device
 * @opaque: first argument
 * @get: what to map for @owner, now; 0 or a negative errno
 * @mapped: the map() with that @cookie was done, or failed with a negative
 *	@err, and then, unless unmap() was called meanwhile, @mapping is gone
 *	when this returns
 * @unmapped: the unmap() with that @cookie was done, or there had been nothing to
 *	undo (-ENXIO), or the VMM did not do it; the mapping is gone in any case
 */
struct host_visible_host {
	void *opaque;
	int (*get)(void *opaque, void *owner, struct renderer_mapping *out);
	void (*mapped)(void *opaque, void *owner, struct mapping *mapping, void *cookie, int err,
		       uint32_t cache);
	void (*unmapped)(void *opaque, void *owner, void *cookie, int err);
};

/**
 * struct host_visible_totals - what the guest sees now
 * @mappings: that the VMM has made
 * @bytes: of them
 */
struct host_visible_totals {
	uint64_t mappings;
	uint64_t bytes;
};

/* @size may be 0: there is no region then.  NULL if out of memory. */
struct host_visible *host_visible_new(uint64_t size, const struct host_visible_host *host,
				      const struct gpu_transport *transport);
/* Takes NULL, too. */
void host_visible_free(struct host_visible *hv);

/*
 * Show @size bytes of @owner at @offset.  0 and the mapping, and mapped() will
 * follow; or -EINVAL (not of whole pages, not in the region, or on top of
 * another mapping), -EOPNOTSUPP (no region), -ENOMEM, -ENOSPC (too many).
 */
int host_visible_map(struct host_visible *hv, void *owner, uint64_t offset, uint64_t size,
		     void *cookie, struct mapping **out);
/* Once for each mapping; unmapped() will follow. */
void host_visible_unmap(struct host_visible *hv, struct mapping *mapping, void *cookie);
/*
 * Ask for what can be asked for.  To be called after map() and unmap(), when the
 * caller is ready for mapped() and unmapped(), which may come before it returns.
 */
void host_visible_run(struct host_visible *hv);
/* The request to the VMM is over: 0 or a negative errno. */
void host_visible_done(struct host_visible *hv, int err);
/* Forget all mappings; no callback follows. */
void host_visible_reset(struct host_visible *hv);

/* What the guest sees now. */
void host_visible_totals(const struct host_visible *hv, struct host_visible_totals *totals);

#endif /* HOST_VISIBLE_H */
