// SPDX-License-Identifier: MIT
/*
 * host_visible: the region of host memory that the guest sees, and who is where
 *
 * See host_visible.h.  Invariants: at most one request is with the VMM
 * (waiting); its step is current, or NULL if a reset came in between.  A mapping
 * is on the list of all until its unmap step is done, or its map step failed with
 * no unmap step queued; while taken its range is disjoint from those of the
 * others that are.
 *
 * Threads: the ring thread only.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "gpu/gpu_device.h"
#include "gpu/host_visible.h"
#include "renderer/renderer.h"
#include "util/log.h"

/**
 * struct step - something to ask the VMM for
 * @link: in the queue
 * @mapping: of which
 * @unmap: or map
 * @cookie: of the caller
 */
struct step {
	STAILQ_ENTRY(step) link;
	struct mapping *mapping;
	bool unmap;
	void *cookie;
};

/**
 * struct mapping - a range of the region and what is to be seen there
 * @link: in the list of all
 * @owner: the caller's
 * @offset: in the region
 * @size: bytes
 * @taken: no unmap() yet
 * @made: by the VMM
 * @cache: VIRTIO_GPU_MAP_CACHE_*
 * @map: how it begins
 * @unmap: how it ends
 */
struct mapping {
	LIST_ENTRY(mapping) link;
	void *owner;
	uint64_t offset;
	uint64_t size;
	bool taken;
	bool made;
	uint32_t cache;
	struct step map;
	struct step unmap;
};

/**
 * struct host_visible - the region
 * @size: bytes
 * @host: see there
 * @transport: to the VMM
 * @all: all mappings
 * @nr_taken: of @all
 * @totals: see there
 * @queue: what was not asked for yet, in order
 * @waiting: for the VMM's answer
 * @current: what it is asked for; NULL: nobody wants to know any more
 * @sent: the range that it is asked about
 * @sent_unmap: to unmap it
 */
struct host_visible {
	uint64_t size;
	struct host_visible_host host;
	struct gpu_transport transport;
	LIST_HEAD(, mapping) all;
	unsigned int nr_taken;
	struct host_visible_totals totals;
	STAILQ_HEAD(, step) queue;
	bool waiting;
	struct step *current;
	struct gpu_shmem_range sent;
	bool sent_unmap;
};

struct host_visible *host_visible_new(uint64_t size, const struct host_visible_host *host,
				      const struct gpu_transport *transport)
{
	struct host_visible *hv = calloc(1, sizeof(*hv));

	if (!hv)
		return NULL;
	hv->size = transport->shmem_map ? size : 0;
	hv->host = *host;
	hv->transport = *transport;
	LIST_INIT(&hv->all);
	STAILQ_INIT(&hv->queue);
	return hv;
}

void host_visible_free(struct host_visible *hv)
{
	if (!hv)
		return;
	host_visible_reset(hv);
	free(hv);
}

static bool range_is_free(const struct host_visible *hv, uint64_t offset, uint64_t size)
{
	const struct mapping *mapping;

	LIST_FOREACH(mapping, &hv->all, link)
		if (mapping->taken && offset < mapping->offset + mapping->size &&
		    mapping->offset < offset + size)
			return false;
	return true;
}

static void mapping_give_range(struct host_visible *hv, struct mapping *mapping)
{
	if (mapping->taken)
		hv->nr_taken--;
	mapping->taken = false;
}

static void mapping_set_made(struct host_visible *hv, struct mapping *mapping, bool made)
{
	if (mapping->made == made)
		return;
	mapping->made = made;
	hv->totals.mappings += made ? 1 : -1;
	hv->totals.bytes += made ? mapping->size : -mapping->size;
}

static void mapping_free(struct host_visible *hv, struct mapping *mapping)
{
	mapping_give_range(hv, mapping);
	mapping_set_made(hv, mapping, false);
	LIST_REMOVE(mapping, link);
	free(mapping);
}

int host_visible_map(struct host_visible *hv, void *owner, uint64_t offset, uint64_t size,
		     void *cookie, struct mapping **out)
{
	struct mapping *mapping;

	if (!hv->size)
		return -EOPNOTSUPP;
	if (!size || (offset | size) & (HOST_VISIBLE_PAGE - 1) || size > hv->size ||
	    offset > hv->size - size || !range_is_free(hv, offset, size))
		return -EINVAL;
	if (hv->nr_taken >= HOST_VISIBLE_MAX_MAPPINGS)
		return -ENOSPC;
	mapping = calloc(1, sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	mapping->owner = owner;
	mapping->offset = offset;
	mapping->size = size;
	mapping->taken = true;
	mapping->map = (struct step){ .mapping = mapping, .cookie = cookie };
	LIST_INSERT_HEAD(&hv->all, mapping, link);
	hv->nr_taken++;
	STAILQ_INSERT_TAIL(&hv->queue, &mapping->map, link);
	*out = mapping;
	return 0;
}

void host_visible_unmap(struct host_visible *hv, struct mapping *mapping, void *cookie)
{
	mapping_give_range(hv, mapping);
	mapping->unmap = (struct step){ .mapping = mapping, .unmap = true, .cookie = cookie };
	STAILQ_INSERT_TAIL(&hv->queue, &mapping->unmap, link);
}

/* The step is over. */
static void finish(struct host_visible *hv, struct step *step, int err)
{
	struct mapping *mapping = step->mapping;
	void *owner = mapping->owner, *cookie = step->cookie;

	if (step->unmap) {
		mapping_free(hv, mapping);
		hv->host.unmapped(hv->host.opaque, owner, cookie, err);
		return;
	}
	if (!err)
		mapping_set_made(hv, mapping, true);
	hv->host.mapped(hv->host.opaque, owner, mapping, cookie, err, mapping->cache);
	if (err && mapping->taken)
		mapping_free(hv, mapping);
}

static int send_map(struct host_visible *hv, struct mapping *mapping)
{
	struct renderer_mapping what;
	int err = hv->host.get(hv->host.opaque, mapping->owner, &what);

	if (err)
		return err;
	mapping->cache = what.cache;
	hv->sent.fd_offset = what.offset;
	err = hv->transport.shmem_map(hv->transport.opaque, &hv->sent, what.fd);
	close(what.fd);
	return err;
}

/* Ask for a step; an error: it was not asked for. */
static int send_step(struct host_visible *hv, struct step *step)
{
	struct mapping *mapping = step->mapping;

	hv->sent = (struct gpu_shmem_range){ .offset = mapping->offset, .size = mapping->size };
	hv->sent_unmap = step->unmap;
	if (!step->unmap)
		return send_map(hv, mapping);
	/* The map() failed, and the guest did not know that yet. */
	if (!mapping->made)
		return -ENXIO;
	return hv->transport.shmem_unmap(hv->transport.opaque, &hv->sent);
}

void host_visible_run(struct host_visible *hv)
{
	struct step *step;
	int err;

	while (!hv->waiting && (step = STAILQ_FIRST(&hv->queue))) {
		STAILQ_REMOVE_HEAD(&hv->queue, link);
		err = send_step(hv, step);
		if (err) {
			finish(hv, step, err);
			continue;
		}
		hv->waiting = true;
		hv->current = step;
	}
}

void host_visible_done(struct host_visible *hv, int err)
{
	struct step *step = hv->current;

	if (!hv->waiting)
		return;
	hv->waiting = false;
	hv->current = NULL;
	if (err)
		log_event("host-visible: the VMM did not %smap %llu bytes at %llu",
			  hv->sent_unmap ? "un" : "", (unsigned long long)hv->sent.size,
			  (unsigned long long)hv->sent.offset);
	if (step) {
		finish(hv, step, err);
	} else if (!hv->sent_unmap && !err) {
		/* It came after the reset, and nothing else will take it away. */
		hv->sent_unmap = true;
		hv->waiting = !hv->transport.shmem_unmap(hv->transport.opaque, &hv->sent);
	}
	host_visible_run(hv);
}

void host_visible_reset(struct host_visible *hv)
{
	hv->current = NULL;
	STAILQ_INIT(&hv->queue);
	while (!LIST_EMPTY(&hv->all))
		mapping_free(hv, LIST_FIRST(&hv->all));
}

void host_visible_totals(const struct host_visible *hv, struct host_visible_totals *totals)
{
	*totals = hv->totals;
}
