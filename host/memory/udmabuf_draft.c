// SPDX-License-Identifier: MIT
/*
 * udmabuf_draft: the list that the kernel will be told, made while the runs come
 *
 * Invariant: a draft has an item for each run that its backing had when it was
 * last extended, in their order; only the last item can still grow.
 *
 * Threads: the device's only.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/udmabuf.h>
#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/udmabuf.h"
#include "memory/udmabuf_internal.h"
#include "util/log.h"

/* Room for @items, by doubling: chunks may be as small as a guest likes. */
static int draft_grow(struct udmabuf_draft **draft, size_t items)
{
	size_t capacity = *draft ? (*draft)->capacity : 0;
	struct udmabuf_draft *grown;

	if (*draft && items <= capacity)
		return 0;
	capacity = items > 2 * capacity ? items : 2 * capacity;
	grown = realloc(*draft, sizeof(*grown) + capacity * sizeof(grown->list.list[0]));
	if (!grown)
		return -ENOMEM;
	if (!*draft) {
		grown->udmabuf = NULL;
		grown->cost = 0;
		grown->list.flags = UDMABUF_FLAGS_CLOEXEC;
		grown->list.count = 0;
	}
	grown->capacity = capacity;
	*draft = grown;
	return 0;
}

static bool in_whole_pages(const struct udmabuf_create_item *item)
{
	return !((item->offset | item->size) % (uint64_t)sysconf(_SC_PAGESIZE));
}

/**
 * udmabuf_draft_add() - take over the runs that came since it was last called
 * @draft: as it was left then, NULL at first
 * @backing: whose runs they are
 *
 * Runs that adjoin in a file are one already, so an item is a run.
 *
 * Return: 0, -ENOMEM, -EINVAL (not whole pages); @draft is to be freed anyway.
 */
int udmabuf_draft_add(struct udmabuf_draft **draft, const struct backing *backing)
{
	const struct run_list *runs = &backing->runs;
	struct udmabuf_create_list *list;
	size_t i;
	int err;

	err = draft_grow(draft, runs->nr);
	if (err)
		return err;
	list = &(*draft)->list;
	/* The last one again: it may have grown. */
	for (i = list->count ? list->count - 1 : 0; i < runs->nr; i++) {
		/* Only a run with another behind it has its final length. */
		if (i && !in_whole_pages(&list->list[i - 1]))
			return -EINVAL;
		list->list[i] = (struct udmabuf_create_item){
			.memfd = (uint32_t)ram_file_fd(runs->runs[i].file),
			.offset = runs->runs[i].offset,
			.size = runs->runs[i].length,
		};
	}
	list->count = (uint32_t)runs->nr;
	/* The same for the very last one. */
	if (list->count && run_list_bytes(runs) == backing->size &&
	    !in_whole_pages(&list->list[list->count - 1]))
		return -EINVAL;
	return 0;
}

/**
 * udmabuf_draft_list() - what the ioctl will be told
 * @draft: not NULL
 *
 * Return: the list, good until the next udmabuf_draft_add().
 */
const struct udmabuf_create_list *udmabuf_draft_list(const struct udmabuf_draft *draft)
{
	return &draft->list;
}

/* As soon as it is known how large it will be. */
static uint32_t charge_cost(struct udmabuf *udmabuf, const struct backing *backing,
			    struct udmabuf_draft *draft)
{
	struct memory_quotas *quotas = udmabuf->config.quotas;
	uint64_t cost = memory_limits_kernel_cost(backing->size);

	if (draft->udmabuf)
		return VIRTIO_GPU_RESP_OK_NODATA;
	memory_quotas_refresh(quotas);
	if (!quota_charge(&quotas->kernel, cost))
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	draft->udmabuf = udmabuf;
	draft->cost = cost;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/**
 * udmabuf_draft_extend() - get ready for udmabuf_view_create()
 * @udmabuf: the device
 * @backing: has got some runs
 * @draft: as it was left last time, NULL at first
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA or the error for the guest; what the host can
 * do about it was logged.
 */
uint32_t udmabuf_draft_extend(struct udmabuf *udmabuf, const struct backing *backing,
			      struct udmabuf_draft **draft)
{
	int err;

	/* No more than 32 bits can count, either. */
	if (!udmabuf_within_limits(udmabuf, backing))
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	err = udmabuf_draft_add(draft, backing);
	if (err == -ENOMEM)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (err) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_OTHER))
			log_error("resource %u refused: its memory is not in whole pages of the "
				  "host (%ld bytes)",
				  backing->id, sysconf(_SC_PAGESIZE));
		return VIRTIO_GPU_RESP_ERR_UNSUPPORTED;
	}
	return charge_cost(udmabuf, backing, *draft);
}

/**
 * udmabuf_draft_free() - when no view is made of it
 * @draft: may be NULL
 */
void udmabuf_draft_free(struct udmabuf_draft *draft)
{
	if (draft && draft->udmabuf)
		quota_uncharge(&draft->udmabuf->config.quotas->kernel, draft->cost);
	free(draft);
}
