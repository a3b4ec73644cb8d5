// SPDX-License-Identifier: MIT
/*
 * userptr: assembly, limits and lifetime of userptr resources
 *
 * See userptr.h.  Invariants: a failed resource has no runs and no bytes charged; only
 * a half-built one has a draft, and only a complete one a view;
 * a resource leaves the table only when nobody holds it and its view is gone.
 * A command is the transport's copy, so reading it twice is safe; guest memory
 * itself is never read here.
 *
 * Threads: the device's only.
 */
#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "gpu/userptr_internal.h"
#include "memory/guest_memory.h"
#include "memory/run_list.h"
#include "util/log.h"
#include "util/responses.h"

struct userptr_core *userptr_core_new(const struct userptr_limits *limits,
				      const struct userptr_host *host, struct guest_memory *gm)
{
	struct userptr_core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	core->limits = *limits;
	core->limits.max_size &= ~(uint64_t)(USERPTR_ALIGNMENT - 1);
	core->host = *host;
	core->gm = gm;
	quota_init(&core->size, "bytes of one userptr resource", "--max-userptr-bytes",
		   core->limits.max_size);
	quota_init(&core->segments, "segments of one userptr resource", "--max-segments",
		   core->limits.max_segments);
	return core;
}

void userptr_core_free(struct userptr_core *core)
{
	if (!core)
		return;
	userptr_core_reset(core);
	free(core);
}

void userptr_core_totals(const struct userptr_core *core, struct userptr_totals *totals)
{
	*totals = core->totals;
	totals->resources = core->table.nr;
}

/**
 * userptr_core_print_quotas() - lines of the statistics
 * @core: of it
 * @to: where they go
 */
void userptr_core_print_quotas(const struct userptr_core *core, FILE *to)
{
	quota_print(&core->size, to);
	quota_print(&core->segments, to);
}

struct userptr *userptr_find(const struct userptr_core *core, uint32_t id)
{
	return id_table_find(&core->table, id);
}

enum userptr_state userptr_state(const struct userptr *userptr)
{
	return userptr->state;
}

struct backing *userptr_backing(struct userptr *userptr)
{
	return &userptr->backing;
}

/* Of what is held, this one has nothing more. */
static void drop_counts(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;

	core->totals.segments -= userptr->nr_received;
	core->totals.bytes -= userptr->described;
	core->totals.runs -= userptr->backing.runs.nr;
	quota_uncharge(&core->host.quotas->bytes, userptr->charged);
	userptr->nr_received = 0;
	userptr->described = 0;
	userptr->charged = 0;
}

static void drop_draft(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;

	if (userptr->draft)
		core->host.view->discard(core->host.opaque, userptr->draft);
	userptr->draft = NULL;
}

/* What the resource described is gone. */
static void userptr_drop_memory(struct userptr *userptr)
{
	drop_counts(userptr);
	drop_draft(userptr);
	userptr_drop_runs(userptr->core, &userptr->backing.runs);
}

/**
 * userptr_fail() - it can only be destroyed now
 * @userptr: it; one that is dying goes on doing so
 * @why: what to answer
 *
 * Return: @why.
 */
uint32_t userptr_fail(struct userptr *userptr, uint32_t why)
{
	userptr_drop_memory(userptr);
	if (userptr->state != USERPTR_DYING)
		userptr->state = USERPTR_FAILED;
	return why;
}

static void userptr_free(struct userptr *userptr)
{
	quota_uncharge(&userptr->core->host.quotas->resources, 1);
	free(userptr);
}

/* Nobody can reach the memory any more. */
static void userptr_remove(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;
	void *cookie = userptr->cookie;

	userptr_drop_memory(userptr);
	id_table_remove(&core->table, userptr->backing.id);
	userptr_free(userptr);
	core->host.destroyed(core->host.opaque, cookie);
}

static void userptr_idle(struct backing *backing)
{
	struct userptr *userptr = (struct userptr *)backing;
	struct userptr_core *core = userptr->core;

	if (backing->view &&
	    !core->host.view->quiesce(core->host.opaque, userptr, backing->view, false))
		return;
	userptr_remove(userptr);
}

void userptr_view_gone(struct userptr *userptr)
{
	userptr_remove(userptr);
}

/* Nothing of it can be reached; what is left to be freed may be freed by the worker. */
static void userptr_reset(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;
	size_t room = userptr->backing.runs.capacity;

	drop_counts(userptr);
	userptr_give_up(userptr);
	assert(!userptr->backing.holds);
	if (userptr->backing.view)
		core->host.view->quiesce(core->host.opaque, userptr, userptr->backing.view, true);
	drop_draft(userptr);
	/* The runs may have been taken, to be freed with the view. */
	quota_uncharge(&core->host.quotas->runs, room);
	run_list_destroy(&userptr->backing.runs);
	userptr_free(userptr);
}

/**
 * userptr_core_reset() - drop all resources
 * @core: all of them; nobody holds any
 */
void userptr_core_reset(struct userptr_core *core)
{
	size_t i;

	/* What the worker is at ends soon then, and is all that is waited for. */
	worker_pause(core->host.worker, true);
	for (i = 0; i < core->table.size; i++) {
		struct userptr *userptr = id_table_at(&core->table, i);

		if (userptr)
			atomic_store(&userptr->backing.stop, true);
	}
	for (i = 0; i < core->table.size; i++) {
		struct userptr *userptr = id_table_at(&core->table, i);

		if (userptr)
			userptr_reset(userptr);
	}
	worker_pause(core->host.worker, false);
	id_table_destroy(&core->table);
}

/* A new resource in the table, or NULL and why not. */
static struct userptr *userptr_new(struct userptr_core *core, uint32_t id, uint32_t *why)
{
	struct userptr *userptr;

	memory_quotas_refresh(core->host.quotas);
	*why = ERR_LIMIT;
	if (!quota_charge(&core->host.quotas->resources, 1))
		return NULL;
	*why = ERR_OUT_OF_MEMORY;
	userptr = calloc(1, sizeof(*userptr));
	if (!userptr) {
		quota_uncharge(&core->host.quotas->resources, 1);
		return NULL;
	}
	userptr->core = core;
	userptr->backing.id = id;
	userptr->backing.idle = userptr_idle;
	run_list_init(&userptr->backing.runs);
	if (id_table_insert(&core->table, id, userptr)) {
		userptr_free(userptr);
		return NULL;
	}
	return userptr;
}

bool userptr_padding_is_zero(const struct virtio_gpu_ctrl_hdr *hdr)
{
	return !hdr->padding[0] && !hdr->padding[1] && !hdr->padding[2];
}

struct userptr_entry userptr_entry_at(const void *entries, uint32_t index)
{
	struct virtio_gpu_mem_entry entry;

	memcpy(&entry, (const unsigned char *)entries + (size_t)index * sizeof(entry),
	       sizeof(entry));
	return (struct userptr_entry){
		.addr = le64toh(entry.addr),
		.length = le32toh(entry.length),
		.padding = entry.padding,
	};
}

/* Does the command have the entries it says, no more and no less? */
static uint32_t check_entries(const struct userptr_core *core, uint32_t nr_entries,
			      size_t entry_bytes)
{
	if (!nr_entries || nr_entries > core->limits.max_entries ||
	    (uint64_t)nr_entries * sizeof(struct virtio_gpu_mem_entry) != entry_bytes)
		return ERR_INVALID_PARAMETER;
	return OK;
}

static uint32_t add_entry(struct userptr *userptr, const struct userptr_entry *entry)
{
	struct userptr_core *core = userptr->core;
	uint64_t addr = entry->addr;
	uint32_t length = entry->length;
	size_t before = userptr->backing.runs.nr;
	uint32_t ret;

	if (entry->padding || !length || (addr | length) & (USERPTR_ALIGNMENT - 1) ||
	    addr + length < addr || length > userptr->backing.size - userptr->described)
		return ERR_INVALID_PARAMETER;
	ret = userptr_append_runs(core, &userptr->backing.runs, addr, length, &core->segments);
	core->totals.runs += userptr->backing.runs.nr - before;
	if (ret != OK)
		return ret;
	userptr->nr_received++;
	userptr->described += length;
	core->totals.segments++;
	core->totals.bytes += length;
	return ret;
}

/* One chunk; the resource fails with the first entry that is refused. */
static uint32_t add_entries(struct userptr *userptr, const unsigned char *entries, uint32_t nr,
			    void *cookie)
{
	struct userptr_core *core = userptr->core;
	uint64_t sum = (uint64_t)userptr->nr_received + nr;
	uint32_t i, ret;

	/* A bound of the guest's own is not above ours. */
	if (userptr->nr_segments && sum > userptr->nr_segments)
		return userptr_fail(userptr, ERR_INVALID_PARAMETER);
	if (!quota_fits(&core->segments, sum))
		return userptr_fail(userptr, ERR_LIMIT);
	/* After the last byte there is no length that an entry could have. */
	for (i = 0; i < nr; i++) {
		struct userptr_entry entry = userptr_entry_at(entries, i);

		ret = add_entry(userptr, &entry);
		if (ret != OK)
			return userptr_fail(userptr, ret);
	}
	if (core->host.view) {
		ret = core->host.view->extend(core->host.opaque, &userptr->backing,
					      &userptr->draft);
		if (ret != OK)
			return userptr_fail(userptr, ret);
	}
	return userptr->described == userptr->backing.size ? userptr_complete(userptr, cookie) : OK;
}

/* Whether there can be one of that size at all. */
static bool size_is_possible(struct userptr_core *core, uint32_t id, uint64_t size)
{
	uint64_t ram = guest_memory_bytes(core->gm);

	if (!quota_fits(&core->size, size))
		return false;
	if (size <= ram)
		return true;
	core->size.refused++;
	log_error("resource %u refused: it has %" PRIu64 " bytes, which is more than guest RAM, "
		  "%" PRIu64,
		  id, size, ram);
	return false;
}

static uint32_t check_create(struct userptr_core *core,
			     const struct virtio_gpu_resource_create_userptr *cmd,
			     size_t entry_bytes)
{
	uint32_t flags = le32toh(cmd->flags);
	uint64_t size = le64toh(cmd->size);
	uint32_t nr_segments = le32toh(cmd->nr_segments);

	if (!userptr_padding_is_zero(&cmd->hdr) || flags & ~VIRTIO_GPU_USERPTR_RDONLY || !size ||
	    size % USERPTR_ALIGNMENT)
		return ERR_INVALID_PARAMETER;
	if (flags & VIRTIO_GPU_USERPTR_RDONLY && !core->limits.rdonly)
		return ERR_UNSUPPORTED;
	if (!size_is_possible(core, le32toh(cmd->resource_id), size) ||
	    !quota_fits(&core->segments, nr_segments))
		return ERR_LIMIT;
	return check_entries(core, le32toh(cmd->nr_entries), entry_bytes);
}

uint32_t userptr_create(struct userptr_core *core, const void *data, size_t len, void *cookie)
{
	struct virtio_gpu_resource_create_userptr cmd;
	struct userptr *userptr;
	uint32_t id, ret;

	if (len < sizeof(cmd))
		return ERR_INVALID_PARAMETER;
	memcpy(&cmd, data, sizeof(cmd));
	id = le32toh(cmd.resource_id);
	if (!id || userptr_find(core, id) || core->host.id_in_use(core->host.opaque, id))
		return ERR_INVALID_RESOURCE_ID;
	userptr = userptr_new(core, id, &ret);
	if (!userptr)
		return ret;
	ret = check_create(core, &cmd, len - sizeof(cmd));
	if (ret != OK)
		return userptr_fail(userptr, ret);
	/* As declared: what follows is within that. */
	if (!quota_charge(&core->host.quotas->bytes, le64toh(cmd.size)))
		return userptr_fail(userptr, ERR_LIMIT);
	userptr->state = USERPTR_HALF_BUILT;
	userptr->charged = le64toh(cmd.size);
	userptr->backing.size = le64toh(cmd.size);
	userptr->backing.readonly = le32toh(cmd.flags) & VIRTIO_GPU_USERPTR_RDONLY;
	userptr->nr_segments = le32toh(cmd.nr_segments);
	return add_entries(userptr, (const unsigned char *)data + sizeof(cmd),
			   le32toh(cmd.nr_entries), cookie);
}

uint32_t userptr_add_pages(struct userptr_core *core, const void *data, size_t len, void *cookie)
{
	struct virtio_gpu_resource_add_userptr_pages cmd;
	struct userptr *userptr;
	uint32_t ret;

	if (len < sizeof(cmd))
		return ERR_INVALID_PARAMETER;
	memcpy(&cmd, data, sizeof(cmd));
	userptr = userptr_find(core, le32toh(cmd.resource_id));
	if (!userptr || userptr->state != USERPTR_HALF_BUILT)
		return ERR_INVALID_RESOURCE_ID;
	ret = check_entries(core, le32toh(cmd.nr_entries), len - sizeof(cmd));
	if (!userptr_padding_is_zero(&cmd.hdr) || le64toh(cmd.offset) != userptr->described)
		ret = ERR_INVALID_PARAMETER;
	if (ret != OK)
		return userptr_fail(userptr, ret);
	return add_entries(userptr, (const unsigned char *)data + sizeof(cmd),
			   le32toh(cmd.nr_entries), cookie);
}

uint32_t userptr_destroy_check(struct userptr_core *core, const void *data, size_t len,
			       struct userptr **out)
{
	struct virtio_gpu_resource_destroy_userptr cmd;
	struct userptr *userptr;

	if (len != sizeof(cmd))
		return ERR_INVALID_PARAMETER;
	memcpy(&cmd, data, sizeof(cmd));
	if (cmd.padding || !userptr_padding_is_zero(&cmd.hdr))
		return ERR_INVALID_PARAMETER;
	userptr = userptr_find(core, le32toh(cmd.resource_id));
	if (!userptr)
		return ERR_INVALID_RESOURCE_ID;
	/* "Unknown" would say that there is no access any more: not true yet. */
	if (userptr->state == USERPTR_DYING)
		return ERR_INVALID_PARAMETER;
	*out = userptr;
	return OK;
}

void userptr_destroy_begin(struct userptr *userptr, void *cookie)
{
	userptr->state = USERPTR_DYING;
	userptr->cookie = cookie;
	backing_stop(&userptr->backing);
}

void userptr_destroy_end(struct userptr *userptr)
{
	backing_release(&userptr->backing);
}
