// SPDX-License-Identifier: MIT
/*
 * gpu_commands: see gpu_commands.h
 *
 * Offsets are those of <linux/virtio_gpu.h>: a header of 24 bytes with the type at 0,
 * flags at 4, the fence at 8, the context at 16 and its ring at 20, and what the command
 * has.
 *
 * Threads: one.
 */
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "fuzz/gpu_commands.h"
#include "fuzz/guest.h"
#include "fuzz/vmm.h"

#define CREATE_BLOB 56u
#define MAX_FIELDS 6

/**
 * struct command - what a command has besides its header
 * @type: VIRTIO_GPU_CMD_*
 * @size: bytes of its struct
 * @fields: as far as @width is not 0
 */
struct command {
	uint32_t type;
	uint32_t size;
	struct fuzz_field fields[MAX_FIELDS];
};

#define ID(at)                           \
	{                                \
		at, 4, 0, FUZZ_MAX_ID, 1 \
	}

static const struct command commands[] = {
	{ VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 24, { { 0, 0, 0, 0, 0 } } },
	{ VIRTIO_GPU_CMD_GET_EDID, 32, { { 24, 4, 0, 2, 1 } } },
	{ VIRTIO_GPU_CMD_GET_CAPSET_INFO, 32, { { 24, 4, 0, 4, 1 } } },
	{ VIRTIO_GPU_CMD_GET_CAPSET, 32, { { 24, 4, 0, 31, 1 }, { 28, 4, 0, 2, 1 } } },
	{ VIRTIO_GPU_CMD_CTX_CREATE, 96, { { 24, 4, 0, 65, 1 }, { 28, 4, 0, 31, 1 } } },
	{ VIRTIO_GPU_CMD_CTX_DESTROY, 24, { { 0, 0, 0, 0, 0 } } },
	{ VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 32, { ID(24) } },
	{ VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 32, { ID(24) } },
	{ VIRTIO_GPU_CMD_SUBMIT_3D, 32, { { 24, 4, 0, 256, 4 } } },
	{ VIRTIO_GPU_CMD_RESOURCE_UNREF, 32, { ID(24) } },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
	  CREATE_BLOB,
	  { ID(24),
	    { 28, 4, 1, 3, 1 },
	    { 32, 4, 0, 7, 1 },
	    { 36, 4, 0, 4, 1 },
	    { 40, 8, 0, 4, 1 },
	    { 48, 8, 0, 16 * GUEST_PAGE, GUEST_PAGE / 4 } } },
	{ VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB,
	  40,
	  { ID(24), { 32, 8, 0, 15 * GUEST_PAGE, GUEST_PAGE } } },
	{ VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 32, { ID(24) } },
	{ VIRTIO_GPU_CMD_GET_USERPTR_INFO, 24, { { 21, 1, 0, 1, 1 } } },
	{ VIRTIO_GPU_CMD_UPDATE_CURSOR, 56, { { 24, 4, 0, 1, 1 } } },
	{ VIRTIO_GPU_CMD_MOVE_CURSOR, 56, { { 24, 4, 0, 1, 1 } } },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, 40, { ID(24) } },
};

static const struct fuzz_field header_fields[] = {
	{ 0, 4, 0x100, 0x10d, 1 }, { 0, 4, 0x180, 0x184, 1 }, { 0, 4, 0x200, 0x20a, 1 },
	{ 4, 4, 0, 3, 1 },	   { 8, 8, 0, 64, 1 },	      { 16, 4, 0, FUZZ_MAX_CONTEXT, 1 },
	{ 20, 1, 0, 4, 1 },	   { 21, 1, 0, 1, 1 },
};

static const struct command *find_command(uint32_t type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].type == type)
			return &commands[i];
	return NULL;
}

static bool is_userptr(uint32_t type)
{
	return type == VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR ||
	       type == VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES ||
	       type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR;
}

/* How a request is laid out; most plainly. */
static uint8_t some_shape(struct fuzz_random *random)
{
	if (fuzz_once_in(random, 4))
		return (uint8_t)(fuzz_random(random) & ~SHAPE_CURSOR);
	return fuzz_once_in(random, 8) ? 0x04 | SHAPE_NO_KICK : 0x04;
}

static void put_header(struct fuzz_random *random, uint8_t *data, uint32_t type, uint32_t context)
{
	fuzz_put(data, FUZZ_HEADER, 0, 4, type);
	fuzz_put(data, FUZZ_HEADER, 16, 4, context);
	if (!fuzz_once_in(random, 3))
		return;
	fuzz_put(data, FUZZ_HEADER, 4, 4,
		 VIRTIO_GPU_FLAG_FENCE |
			 (fuzz_once_in(random, 2) ? VIRTIO_GPU_FLAG_INFO_RING_IDX : 0));
	fuzz_put(data, FUZZ_HEADER, 8, 8, fuzz_random(random));
	fuzz_put(data, FUZZ_HEADER, 20, 1, fuzz_below(random, 3));
}

/* A command whose fields make sense, of @size bytes and @tail. */
static uint8_t *make_command(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			     uint32_t type, uint32_t context, size_t tail)
{
	const struct command *command = find_command(type);
	uint8_t shape = some_shape(random), *data;
	unsigned int i;

	if (type == VIRTIO_GPU_CMD_UPDATE_CURSOR || type == VIRTIO_GPU_CMD_MOVE_CURSOR)
		shape |= SHAPE_CURSOR;
	data = fuzz_make(maker, op, shape, command->size + tail);
	if (!data)
		return NULL;
	for (i = 0; i < MAX_FIELDS && command->fields[i].width; i++)
		fuzz_touch_field(random, &command->fields[i], data, command->size);
	put_header(random, data, type, context);
	return data;
}

/* About resource @id. */
static uint8_t *make_about(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			   uint32_t type, uint32_t context, uint32_t id)
{
	uint8_t *data = make_command(random, maker, op, type, context, 0);

	if (data)
		fuzz_put(data, 32, 24, 4, id);
	return data;
}

static void make_context(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			 uint32_t context, const struct gpu_flavour *flavour)
{
	uint32_t capset = flavour->capsets[fuzz_below(random, flavour->nr_capsets)];
	uint8_t *data = make_command(random, maker, op, VIRTIO_GPU_CMD_CTX_CREATE, context, 0);

	if (!data)
		return;
	fuzz_put(data, 96, 24, 4, fuzz_below(random, 12));
	fuzz_put(data, 96, 28, 4, fuzz_once_in(random, 12) ? 0 : capset);
	memset(data + 32, 'x', 64);
}

static void make_submit(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			uint32_t context, const struct gpu_flavour *flavour)
{
	uint8_t stream[FUZZ_MAX_DATA] = { 0 };
	size_t len = flavour->make_stream(random, stream, FUZZ_MAX_ID);
	uint8_t *data;

	data = make_command(random, maker, op, VIRTIO_GPU_CMD_SUBMIT_3D, context, len);
	if (!data)
		return;
	fuzz_put(data, 32, 24, 4, len);
	memcpy(data + 32, stream, len);
}

static void make_blob(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
		      uint32_t context, uint32_t id, const struct gpu_flavour *flavour)
{
	uint32_t mem = flavour->host_blobs && !fuzz_once_in(random, 3) ?
			       VIRTIO_GPU_BLOB_MEM_HOST3D :
			       VIRTIO_GPU_BLOB_MEM_GUEST;
	uint32_t nr = mem == VIRTIO_GPU_BLOB_MEM_GUEST ? 1 + fuzz_below(random, 4) : 0;
	uint64_t size = (uint64_t)(1 + fuzz_below(random, 8)) * GUEST_PAGE;
	uint8_t *data;

	if (flavour->host_blobs && fuzz_once_in(random, 6)) {
		mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
		nr = 2;
	}
	data = make_command(random, maker, op, VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
			    mem == VIRTIO_GPU_BLOB_MEM_GUEST ? 0 : context, nr * FUZZ_ENTRY);
	if (!data)
		return;
	if (nr)
		size = fuzz_fill_entries(random, data + CREATE_BLOB, nr);
	fuzz_put(data, CREATE_BLOB, 24, 4, id);
	fuzz_put(data, CREATE_BLOB, 28, 4, mem);
	if (!fuzz_once_in(random, 6))
		fuzz_put(data, CREATE_BLOB, 32, 4, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE);
	fuzz_put(data, CREATE_BLOB, 36, 4, nr);
	fuzz_put(data, CREATE_BLOB, 48, 8, fuzz_once_in(random, 8) ? size - 17 : size);
}

/* Shown to the guest, and another one in the same place. */
static void make_mapped(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			uint32_t context, uint32_t id, const struct gpu_flavour *flavour)
{
	uint32_t other = 1 + id % FUZZ_MAX_ID;
	uint8_t *first, *second;

	first = make_about(random, maker, op, VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 0, id);
	if (!first || !fuzz_once_in(random, 3))
		return;
	make_blob(random, maker, op, context, other, flavour);
	second = make_about(random, maker, op, VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 0, other);
	if (second)
		memcpy(second + 32, first + 32, 8);
}

/* The life of a resource, or some of it. */
static void make_life(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
		      const struct gpu_flavour *flavour)
{
	uint32_t context = 1 + fuzz_below(random, FUZZ_MAX_CONTEXT), nr;
	uint32_t id = 1 + fuzz_below(random, FUZZ_MAX_ID);
	bool userptr = !fuzz_once_in(random, 3);

	if (fuzz_once_in(random, 2))
		make_context(random, maker, op, context, flavour);
	if (userptr)
		fuzz_make_userptr(random, maker, op, some_shape(random), id);
	else
		make_blob(random, maker, op, context, id, flavour);
	if (!fuzz_once_in(random, 4))
		make_about(random, maker, op, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, context, id);
	if (!userptr && flavour->host_blobs && fuzz_once_in(random, 2))
		make_mapped(random, maker, op, context, id, flavour);
	for (nr = fuzz_below(random, 3); nr; nr--)
		make_submit(random, maker, op, context, flavour);
	if (!userptr && flavour->host_blobs && fuzz_once_in(random, 3))
		make_about(random, maker, op, VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 0, id);
	if (fuzz_once_in(random, 3))
		make_about(random, maker, op, VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, context, id);
	if (fuzz_once_in(random, 6))
		make_command(random, maker, op, VIRTIO_GPU_CMD_CTX_DESTROY, context, 0);
	if (fuzz_once_in(random, 3))
		return;
	if (userptr)
		fuzz_make_destroy(maker, op, some_shape(random), id);
	else
		make_about(random, maker, op, VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, id);
}

void commands_make(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
		   const struct gpu_flavour *flavour)
{
	uint32_t context = 1 + fuzz_below(random, FUZZ_MAX_CONTEXT);
	const struct command *command;

	if (fuzz_once_in(random, 2)) {
		make_life(random, maker, op, flavour);
		return;
	}
	if (fuzz_once_in(random, 3)) {
		make_submit(random, maker, op, context, flavour);
		return;
	}
	if (fuzz_once_in(random, 6)) {
		make_context(random, maker, op, context, flavour);
		return;
	}
	command = &commands[fuzz_below(random, ARRAY_SIZE(commands))];
	make_command(random, maker, op, command->type, fuzz_once_in(random, 6) ? 0 : context, 0);
}

void commands_make_world(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			 const struct gpu_flavour *flavour)
{
	uint32_t i;

	for (i = 1; i <= FUZZ_MAX_CONTEXT; i++)
		make_context(random, maker, op, i, flavour);
	for (i = 0; i < 4; i++)
		make_life(random, maker, op, flavour);
}

/* A stream, or the number of bytes that the command says it has. */
static size_t touch_submit(struct fuzz_random *random, uint8_t *data, size_t len,
			   const struct gpu_flavour *flavour)
{
	size_t stream = len > 32 ? len - 32 : 0;

	stream = flavour->touch_stream(random, data + 32, stream, FUZZ_MAX_DATA - 32, FUZZ_MAX_ID);
	if (!fuzz_once_in(random, 16))
		fuzz_put(data, 32, 24, 4, stream);
	return 32 + stream;
}

static size_t touch_blob(struct fuzz_random *random, uint8_t *data)
{
	bool host = fuzz_get(data, CREATE_BLOB, 28, 4) == VIRTIO_GPU_BLOB_MEM_HOST3D;
	uint32_t nr = host ? 0 : 1 + fuzz_below(random, 6);
	uint64_t size = fuzz_fill_entries(random, data + CREATE_BLOB, nr);

	if (!fuzz_once_in(random, 8))
		fuzz_put(data, CREATE_BLOB, 36, 4, nr);
	if (nr && !fuzz_once_in(random, 8))
		fuzz_put(data, CREATE_BLOB, 48, 8, size);
	return CREATE_BLOB + nr * FUZZ_ENTRY;
}

size_t commands_touch(struct fuzz_random *random, uint8_t *data, size_t len,
		      const struct gpu_flavour *flavour)
{
	uint32_t type = (uint32_t)fuzz_get(data, len, 0, 4);
	const struct command *command = find_command(type);
	unsigned int nr = 0;

	if (len < FUZZ_HEADER || fuzz_once_in(random, 5)) {
		fuzz_touch_field(random,
				 &header_fields[fuzz_below(random, ARRAY_SIZE(header_fields))],
				 data, FUZZ_HEADER);
		return len < FUZZ_HEADER ? FUZZ_HEADER : len;
	}
	if (is_userptr(type))
		return fuzz_touch_userptr(random, data, len);
	if (type == VIRTIO_GPU_CMD_SUBMIT_3D)
		return touch_submit(random, data, len, flavour);
	if (type == VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB && fuzz_once_in(random, 2))
		return touch_blob(random, data);
	if (!command)
		return len;
	while (nr < MAX_FIELDS && command->fields[nr].width)
		nr++;
	if (nr)
		fuzz_touch_field(random, &command->fields[fuzz_below(random, nr)], data, len);
	/* As long as it should be, mostly. */
	return fuzz_once_in(random, 4) && type != VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB ?
		       command->size :
		       len;
}
