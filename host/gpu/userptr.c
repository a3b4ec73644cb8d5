// SPDX-License-Identifier: MIT
/*
 * userptr: assembly, limits and lifetime of userptr resources
 *
 * See userptr.h.  Invariants: total_runs is the sum of nr of all run lists that
 * are charged here, and above the limit only until the command that exceeded it
 * is refused; a failed resource has no runs; only a half-built one has a draft,
 * and only a complete one a view;
 * a resource leaves the table only when nobody holds it and its view is gone.
 * A command is the transport's copy, so reading it twice is safe; guest memory
 * itself is never read here.
 *
 * Threads: the ring thread only.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "gpu/userptr.h"
#include "util/id_table.h"
#include "util/responses.h"

/**
 * struct userptr - one resource
 * @backing: what renderers see; first, so that idle() finds the rest
 * @core: whose it is
 * @state: see enum userptr_state
 * @described: bytes that the entries so far describe
 * @nr_segments: entries that may come at most, says CREATE; 0: it does not say
 * @nr_received: entries that came
 * @draft: what the view will be made of, or NULL
 * @cookie: of the DESTROY that is not answered yet
 */
struct userptr {
	struct backing backing;
	struct userptr_core *core;
	enum userptr_state state;
	uint64_t described;
	uint32_t nr_segments;
	uint32_t nr_received;
	void *draft;
	void *cookie;
};

/**
 * struct userptr_core - all of them
 * @limits: see there
 * @host: see there
 * @gm: guest memory
 * @table: id to struct userptr
 * @total_runs: charged now
 * @totals: kept up to date, but for what is counted when asked
 */
struct userptr_core {
	struct userptr_limits limits;
	struct userptr_host host;
	struct guest_memory *gm;
	struct id_table table;
	uint64_t total_runs;
	struct userptr_totals totals;
};

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

uint32_t userptr_append_range(struct userptr_core *core, struct run_list *list, uint64_t addr,
			      uint64_t len, uint64_t max_runs)
{
	struct run pieces[GUEST_MEMORY_MAX_REGIONS];
	uint32_t ret = OK;
	int i, nr;

	nr = guest_memory_take(core->gm, addr, len, pieces, GUEST_MEMORY_MAX_REGIONS);
	if (nr < 0)
		return nr == -ENOMEM ? ERR_OUT_OF_MEMORY : ERR_INVALID_PARAMETER;
	for (i = 0; i < nr && ret == OK; i++) {
		size_t before = list->nr;

		/*
		 * What would be read there may not be what the guest has written, and later
		 * a job would find that a page cannot be had.
		 */
		if (ram_file_damaged(pieces[i].file) || run_populate(&pieces[i]) ||
		    run_list_append(list, &pieces[i]))
			ret = ERR_OUT_OF_MEMORY;
		core->total_runs += list->nr - before;
		if (ret == OK &&
		    (list->nr > max_runs || core->total_runs > core->limits.max_total_runs))
			ret = ERR_LIMIT;
	}
	runs_put(pieces, (unsigned int)nr);
	return ret;
}

void userptr_drop_runs(struct userptr_core *core, struct run_list *list)
{
	assert(list->nr <= core->total_runs);
	core->total_runs -= list->nr;
	run_list_destroy(list);
	run_list_init(list);
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

/* What the resource described is gone; totals say what is held. */
static void userptr_drop_memory(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;

	core->totals.segments -= userptr->nr_received;
	core->totals.bytes -= userptr->described;
	core->totals.runs -= userptr->backing.runs.nr;
	userptr_drop_runs(core, &userptr->backing.runs);
	if (userptr->draft)
		core->host.view->discard(core->host.opaque, userptr->draft);
	userptr->draft = NULL;
	userptr->nr_received = 0;
	userptr->described = 0;
}

static uint32_t userptr_fail(struct userptr *userptr, uint32_t why)
{
	userptr_drop_memory(userptr);
	userptr->state = USERPTR_FAILED;
	return why;
}

/* Nobody can reach the memory any more. */
static void userptr_remove(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;
	void *cookie = userptr->cookie;

	userptr_drop_memory(userptr);
	id_table_remove(&core->table, userptr->backing.id);
	free(userptr);
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

void userptr_core_reset(struct userptr_core *core)
{
	size_t i;

	for (i = 0; i < core->table.size; i++) {
		struct userptr *userptr = id_table_at(&core->table, i);

		if (!userptr)
			continue;
		assert(!userptr->backing.holds);
		if (userptr->backing.view)
			core->host.view->quiesce(core->host.opaque, userptr, userptr->backing.view,
						 true);
		userptr_drop_memory(userptr);
		free(userptr);
	}
	id_table_destroy(&core->table);
}

/* A new resource in the table, or NULL and why not. */
static struct userptr *userptr_new(struct userptr_core *core, uint32_t id, uint32_t *why)
{
	struct userptr *userptr;

	if (core->table.nr >= core->limits.max_resources) {
		*why = ERR_LIMIT;
		return NULL;
	}
	*why = ERR_OUT_OF_MEMORY;
	userptr = calloc(1, sizeof(*userptr));
	if (!userptr)
		return NULL;
	userptr->core = core;
	userptr->backing.id = id;
	userptr->backing.idle = userptr_idle;
	run_list_init(&userptr->backing.runs);
	if (id_table_insert(&core->table, id, userptr)) {
		free(userptr);
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
	ret = userptr_append_range(core, &userptr->backing.runs, addr, length,
				   core->limits.max_segments);
	core->totals.runs += userptr->backing.runs.nr - before;
	if (ret != OK)
		return ret;
	userptr->nr_received++;
	userptr->described += length;
	core->totals.segments++;
	core->totals.bytes += length;
	return ret;
}

/*
 * The guest waits for this answer with all its pages pinned, so what is done here
 * does not depend on how many runs there are.  The list is not trimmed either:
 * that could copy it, and of a long list what doubling left over was never touched.
 */
static uint32_t userptr_complete(struct userptr *userptr)
{
	struct userptr_core *core = userptr->core;
	uint32_t ret;

	if (core->host.view) {
		ret = core->host.view->create(core->host.opaque, &userptr->backing, userptr->draft,
					      &userptr->backing.view);
		if (ret != OK)
			return userptr_fail(userptr, ret);
		userptr->draft = NULL;
	}
	userptr->state = USERPTR_USABLE;
	core->totals.created++;
	core->totals.created_bytes += userptr->described;
	core->totals.created_segments += userptr->nr_received;
	return OK;
}

/* One chunk; the resource fails with the first entry that is refused. */
static uint32_t add_entries(struct userptr *userptr, const unsigned char *entries, uint32_t nr)
{
	struct userptr_core *core = userptr->core;
	uint32_t bound = userptr->nr_segments;
	uint32_t i, ret;

	/* A bound of the guest's own is not above ours. */
	if (nr > (bound ? bound : core->limits.max_segments) - userptr->nr_received)
		return userptr_fail(userptr, bound ? ERR_INVALID_PARAMETER : ERR_LIMIT);
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
	return userptr->described == userptr->backing.size ? userptr_complete(userptr) : OK;
}

static uint32_t check_create(const struct userptr_core *core,
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
	if (size > core->limits.max_size || nr_segments > core->limits.max_segments)
		return ERR_LIMIT;
	return check_entries(core, le32toh(cmd->nr_entries), entry_bytes);
}

uint32_t userptr_create(struct userptr_core *core, const void *data, size_t len)
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
	userptr->state = USERPTR_HALF_BUILT;
	userptr->backing.size = le64toh(cmd.size);
	userptr->backing.readonly = le32toh(cmd.flags) & VIRTIO_GPU_USERPTR_RDONLY;
	userptr->nr_segments = le32toh(cmd.nr_segments);
	return add_entries(userptr, (const unsigned char *)data + sizeof(cmd),
			   le32toh(cmd.nr_entries));
}

uint32_t userptr_add_pages(struct userptr_core *core, const void *data, size_t len)
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
			   le32toh(cmd.nr_entries));
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
