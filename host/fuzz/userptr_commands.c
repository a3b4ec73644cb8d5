// SPDX-License-Identifier: MIT
/*
 * userptr_commands: see userptr_commands.h
 *
 * Offsets are those of <linux/virtio_gpu_userptr.h>.
 *
 * Threads: one.
 */
#include <stddef.h>
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "fuzz/guest.h"
#include "fuzz/userptr_commands.h"

_Static_assert(sizeof(struct virtio_gpu_resource_create_userptr) == FUZZ_CREATE &&
		       sizeof(struct virtio_gpu_resource_add_userptr_pages) == FUZZ_ADD &&
		       sizeof(struct virtio_gpu_resource_destroy_userptr) == FUZZ_DESTROY &&
		       sizeof(struct virtio_gpu_mem_entry) == FUZZ_ENTRY,
	       "the wire is as it is here");

#define AT(type, member) ((uint16_t)offsetof(struct type, member))

static const struct fuzz_field create_fields[] = {
	{ AT(virtio_gpu_resource_create_userptr, resource_id), 4, 0, FUZZ_MAX_ID, 1 },
	{ AT(virtio_gpu_resource_create_userptr, flags), 4, 0, 1, 1 },
	{ AT(virtio_gpu_resource_create_userptr, size), 8, 0, 64 * GUEST_PAGE, GUEST_PAGE },
	{ AT(virtio_gpu_resource_create_userptr, nr_segments), 4, 0, 24, 1 },
	{ AT(virtio_gpu_resource_create_userptr, nr_entries), 4, 0, FUZZ_MAX_ENTRIES, 1 },
};

static const struct fuzz_field add_fields[] = {
	{ AT(virtio_gpu_resource_add_userptr_pages, resource_id), 4, 0, FUZZ_MAX_ID, 1 },
	{ AT(virtio_gpu_resource_add_userptr_pages, nr_entries), 4, 0, FUZZ_MAX_ENTRIES, 1 },
	{ AT(virtio_gpu_resource_add_userptr_pages, offset), 8, 0, 64 * GUEST_PAGE, GUEST_PAGE },
};

static const struct fuzz_field destroy_fields[] = {
	{ AT(virtio_gpu_resource_destroy_userptr, resource_id), 4, 0, FUZZ_MAX_ID, 1 },
	{ AT(virtio_gpu_resource_destroy_userptr, padding), 4, 0, 1, 1 },
};

static void fill_entry(struct fuzz_random *random, uint8_t *entry)
{
	uint32_t pages = fuzz_once_in(random, 3) ? 1 + fuzz_below(random, 8) : 1;
	uint64_t length = (uint64_t)pages * GUEST_PAGE;

	if (fuzz_once_in(random, 32))
		length = fuzz_odd_number(random);
	fuzz_put(entry, FUZZ_ENTRY, 0, 8, guest_some_addr(random, pages));
	fuzz_put(entry, FUZZ_ENTRY, 8, 4, length);
	fuzz_put(entry, FUZZ_ENTRY, 12, 4, fuzz_once_in(random, 64) ? 1 : 0);
}

uint64_t fuzz_fill_entries(struct fuzz_random *random, uint8_t *data, uint32_t nr)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < nr; i++) {
		fill_entry(random, data + i * FUZZ_ENTRY);
		sum += fuzz_get(data, nr * FUZZ_ENTRY, i * FUZZ_ENTRY + 8, 4);
	}
	return sum;
}

void fuzz_make_userptr(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
		       uint8_t arg, uint32_t id)
{
	uint32_t chunks = fuzz_once_in(random, 2) ? 1 : 1 + fuzz_below(random, 4), i;
	uint32_t entries = 0, nr = 1 + fuzz_below(random, 6);
	uint64_t described, last;
	uint8_t *create, *data;

	create = fuzz_make(maker, op, arg, FUZZ_CREATE + nr * FUZZ_ENTRY);
	if (!create)
		return;
	described = fuzz_fill_entries(random, create + FUZZ_CREATE, nr);
	entries = nr;
	fuzz_put(create, FUZZ_CREATE, 0, 4, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR);
	fuzz_put(create, FUZZ_CREATE, 24, 4, id);
	fuzz_put(create, FUZZ_CREATE, 28, 4, fuzz_once_in(random, 5));
	fuzz_put(create, FUZZ_CREATE, 44, 4, nr);
	for (i = 1; i < chunks; i++) {
		nr = 1 + fuzz_below(random, 4);
		data = fuzz_make(maker, op, arg, FUZZ_ADD + nr * FUZZ_ENTRY);
		if (!data)
			break;
		last = described;
		described += fuzz_fill_entries(random, data + FUZZ_ADD, nr);
		entries += nr;
		fuzz_put(data, FUZZ_ADD, 0, 4, VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES);
		fuzz_put(data, FUZZ_ADD, 24, 4, id);
		fuzz_put(data, FUZZ_ADD, 28, 4, nr);
		fuzz_put(data, FUZZ_ADD, 32, 8, last);
	}
	/* Some never become complete. */
	if (fuzz_once_in(random, 8))
		described += GUEST_PAGE;
	fuzz_put(create, FUZZ_CREATE, 32, 8, described);
	fuzz_put(create, FUZZ_CREATE, 40, 4, fuzz_once_in(random, 2) ? 0 : entries);
}

void fuzz_make_destroy(struct fuzz_maker *maker, uint8_t op, uint8_t arg, uint32_t id)
{
	uint8_t *data = fuzz_make(maker, op, arg, FUZZ_DESTROY);

	if (!data)
		return;
	fuzz_put(data, FUZZ_DESTROY, 0, 4, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR);
	fuzz_put(data, FUZZ_DESTROY, 24, 4, id);
}

/* Another number of entries, or another entry. */
static size_t touch_entries(struct fuzz_random *random, uint8_t *data, size_t len, size_t head,
			    size_t count_at)
{
	uint32_t nr = len > head ? (uint32_t)((len - head) / FUZZ_ENTRY) : 0;

	if (!nr || fuzz_once_in(random, 3)) {
		uint32_t more = 1 + fuzz_below(random, FUZZ_MAX_ENTRIES);

		fuzz_fill_entries(random, data + head, more);
		nr = more;
	} else if (nr * FUZZ_ENTRY + head <= FUZZ_MAX_DATA) {
		fill_entry(random, data + head + fuzz_below(random, nr) * FUZZ_ENTRY);
	}
	if (!fuzz_once_in(random, 8))
		fuzz_put(data, FUZZ_MAX_DATA, count_at, 4, nr);
	return head + nr * FUZZ_ENTRY;
}

static void touch_field(struct fuzz_random *random, const struct fuzz_field *fields, size_t nr,
			uint8_t *data, size_t len)
{
	fuzz_touch_field(random, &fields[fuzz_below(random, (uint32_t)nr)], data, len);
}

/* The size that the entries have. */
static void fix_size(uint8_t *data, size_t len)
{
	uint64_t sum = 0;
	size_t at;

	for (at = FUZZ_CREATE; at + FUZZ_ENTRY <= len; at += FUZZ_ENTRY)
		sum += fuzz_get(data, len, at + 8, 4);
	fuzz_put(data, len, 32, 8, sum);
}

size_t fuzz_touch_userptr(struct fuzz_random *random, uint8_t *data, size_t len)
{
	bool entries = fuzz_once_in(random, 2);

	switch (fuzz_get(data, len, 0, 4)) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR:
		if (entries)
			len = touch_entries(random, data, len, FUZZ_CREATE, 44);
		else
			touch_field(random, create_fields, ARRAY_SIZE(create_fields), data, len);
		if (fuzz_once_in(random, 2))
			fix_size(data, len);
		return len;
	case VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES:
		if (entries)
			return touch_entries(random, data, len, FUZZ_ADD, 28);
		touch_field(random, add_fields, ARRAY_SIZE(add_fields), data, len);
		return len;
	default:
		touch_field(random, destroy_fields, ARRAY_SIZE(destroy_fields), data, len);
		return len;
	}
}
