// SPDX-License-Identifier: MIT
/*
 * userptr_runs: the budget of runs
 *
 * What is charged is what the arrays of a list have room for, not what is in them: that
 * is what they take.  They grow by doubling, but never by more than is left, so that
 * the budget can be used up to its last run.
 *
 * Invariant: what is charged is the sum of the capacities of all lists that were given
 * to userptr_append_range(), and not yet dropped.
 *
 * Threads: the device's only.
 */
#include "gpu/userptr_internal.h"
#include "memory/guest_memory.h"
#include "util/responses.h"

#define FIRST_CAPACITY 4

/* Room for one more run, of @max at most. */
static uint32_t make_room(struct userptr_core *core, struct run_list *list, uint64_t max)
{
	struct quota *runs = &core->host.quotas->runs;
	uint64_t more = list->capacity ? list->capacity : FIRST_CAPACITY;
	uint64_t left = quota_left(runs);

	if (more > max - list->capacity)
		more = max - list->capacity;
	if (more > left)
		more = left ? left : 1;
	if (!quota_charge(runs, more))
		return ERR_LIMIT;
	if (run_list_reserve(list, list->capacity + more)) {
		quota_uncharge(runs, more);
		return ERR_OUT_OF_MEMORY;
	}
	return OK;
}

static uint32_t append_run(struct userptr_core *core, struct run_list *list, const struct run *run,
			   uint64_t max_runs, struct quota *each)
{
	uint32_t ret = OK;

	/* What would be read there is not what the guest has written. */
	if (ram_file_damaged(run->file))
		return ERR_OUT_OF_MEMORY;
	if (!run_list_has_room(list, run)) {
		if (list->nr >= max_runs) {
			if (each)
				quota_fits(each, list->nr + 1);
			return ERR_LIMIT;
		}
		ret = make_room(core, list, max_runs);
	}
	if (ret == OK && run_list_append(list, run))
		ret = ERR_OUT_OF_MEMORY;
	return ret;
}

static uint32_t append(struct userptr_core *core, struct run_list *list, uint64_t addr,
		       uint64_t len, uint64_t max_runs, struct quota *each, bool populate)
{
	struct run pieces[GUEST_MEMORY_MAX_REGIONS];
	uint32_t ret = OK;
	int i, nr;

	nr = guest_memory_take(core->gm, addr, len, pieces, GUEST_MEMORY_MAX_REGIONS);
	if (nr < 0)
		return ERR_INVALID_PARAMETER;
	memory_quotas_refresh(core->host.quotas);
	for (i = 0; i < nr && ret == OK; i++) {
		/* Now, when it can be refused: a job would find a page of zeroes. */
		if (populate && run_populate(&pieces[i]))
			ret = ERR_OUT_OF_MEMORY;
		else
			ret = append_run(core, list, &pieces[i], max_runs, each);
	}
	runs_put(pieces, (unsigned int)nr);
	return ret;
}

uint32_t userptr_append_runs(struct userptr_core *core, struct run_list *list, uint64_t addr,
			     uint64_t len, struct quota *each)
{
	return append(core, list, addr, len, each->max, each, false);
}

/**
 * userptr_append_range() - add guest memory to a list, within the budget
 * @core: whose budget
 * @list: grows, also if an error is returned
 * @addr: guest-physical address
 * @len: bytes
 * @max_runs: that @list may have
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA or the error to answer.
 */
uint32_t userptr_append_range(struct userptr_core *core, struct run_list *list, uint64_t addr,
			      uint64_t len, uint64_t max_runs)
{
	return append(core, list, addr, len, max_runs, NULL, core->host.populate);
}

/**
 * userptr_trim_runs() - give back what a list has room for and does not need
 * @core: whose budget
 * @list: complete
 */
void userptr_trim_runs(struct userptr_core *core, struct run_list *list)
{
	size_t before = list->capacity;

	run_list_trim(list);
	quota_uncharge(&core->host.quotas->runs, before - list->capacity);
}

/**
 * userptr_drop_runs() - destroy a list that was charged
 * @core: whose budget
 * @list: empty and usable afterwards
 */
void userptr_drop_runs(struct userptr_core *core, struct run_list *list)
{
	quota_uncharge(&core->host.quotas->runs, list->capacity);
	run_list_destroy(list);
}
