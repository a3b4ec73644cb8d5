// SPDX-License-Identifier: MIT
/*
 * pages: which resource has which pages, as the guest sees it
 *
 * Careful, so that no page is called the guest's own that is not: a page is lent when
 * a request that names it is sent, whatever becomes of it, and comes back with the OK
 * to the DESTROY or UNREF of the resource that was sent after it.
 *
 * Threads: one.
 */
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "fuzz/gpu_commands.h"
#include "fuzz/guest.h"
#include "fuzz/poison.h"
#include "fuzz/session.h"

#define MAX_LOANS 512
#define CREATE_BLOB 56

/**
 * struct loan - a page that was lent
 * @page: which
 * @number: of the request
 */
struct loan {
	uint32_t page;
	uint64_t number;
};

/**
 * struct loans - of a resource; what does not fit is never given back
 */
static struct loans {
	struct loan loans[MAX_LOANS];
	unsigned int nr;
} loans[FUZZ_MAX_ID + 1];

void pages_begin(void)
{
	unsigned int id;

	for (id = 0; id <= FUZZ_MAX_ID; id++)
		loans[id].nr = 0;
}

static void lend(uint64_t id, uint32_t page, uint64_t number)
{
	struct loans *of;

	poison_lend(page);
	if (!id || id > FUZZ_MAX_ID)
		return;
	of = &loans[id];
	if (of->nr < MAX_LOANS)
		of->loans[of->nr++] = (struct loan){ .page = page, .number = number };
}

/* All pages of the entries from @at, in part or as a whole. */
static void lend_entries(const uint8_t *data, size_t len, size_t at, uint64_t number)
{
	uint64_t id = fuzz_get(data, len, 24, 4);

	for (; at + FUZZ_ENTRY <= len; at += FUZZ_ENTRY) {
		uint64_t addr = fuzz_get(data, len, at, 8);
		uint64_t end = addr + fuzz_get(data, len, at + 8, 4);
		uint32_t page;

		for (page = 0; page < GUEST_PAGES; page++) {
			uint64_t start = guest_page_addr(page);

			if (start < end && addr < start + GUEST_PAGE)
				lend(id, page, number);
		}
	}
}

void pages_sent(const uint8_t *data, size_t len, uint64_t number)
{
	switch (fuzz_get(data, len, 0, 4)) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR:
		lend_entries(data, len, FUZZ_CREATE, number);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES:
		lend_entries(data, len, FUZZ_ADD, number);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB:
		lend_entries(data, len, CREATE_BLOB, number);
		break;
	default:
		break;
	}
}

static void give_back(uint64_t id, uint64_t number)
{
	unsigned int i, kept = 0;
	struct loans *of;

	if (!id || id > FUZZ_MAX_ID)
		return;
	of = &loans[id];
	for (i = 0; i < of->nr; i++) {
		if (of->loans[i].number < number)
			poison_return(of->loans[i].page);
		else
			of->loans[kept++] = of->loans[i];
	}
	of->nr = kept;
}

void pages_answered(const uint8_t *data, size_t len, uint64_t number, uint32_t answer)
{
	uint64_t type = fuzz_get(data, len, 0, 4);

	if (answer == VIRTIO_GPU_RESP_OK_NODATA &&
	    (type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR ||
	     type == VIRTIO_GPU_CMD_RESOURCE_UNREF))
		give_back(fuzz_get(data, len, 24, 4), number);
}

void pages_reset(void)
{
	pages_begin();
	poison_all();
}
