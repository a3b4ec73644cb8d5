// SPDX-License-Identifier: MIT
/*
 * loopback_stream: see loopback_stream.h
 *
 * Threads: one.
 */
#include <stddef.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "fuzz/loopback_stream.h"

_Static_assert(sizeof(struct loopback_submit) == STREAM_HEAD &&
		       sizeof(struct loopback_command) == STREAM_COMMAND,
	       "the wire is as it is here");

#define AT(member) ((uint16_t)offsetof(struct loopback_command, member))
#define HEAD_AT(member) ((uint16_t)offsetof(struct loopback_submit, member))

/* Lengths: most within a page or two, some for the worker threads. */
static uint64_t some_length(struct fuzz_random *random)
{
	switch (fuzz_below(random, 8)) {
	case 0:
		return 0;
	case 1:
		return fuzz_odd_number(random);
	case 2:
	case 3:
		return 4096 * (uint64_t)fuzz_below(random, 40);
	default:
		return fuzz_below(random, 8192);
	}
}

static uint64_t some_offset(struct fuzz_random *random)
{
	if (fuzz_once_in(random, 24))
		return fuzz_odd_number(random);
	return fuzz_once_in(random, 2) ? 0 : fuzz_below(random, 12288);
}

/* A fault; never the one that ends the process. */
static void fill_inject(struct fuzz_random *random, uint8_t *command)
{
	static const uint32_t types[] = {
		0,
		VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR,
		VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
		VIRTIO_GPU_CMD_SUBMIT_3D,
	};
	uint32_t kind = fuzz_below(random, LOOPBACK_FAULT_DIE);

	fuzz_put(command, STREAM_COMMAND, AT(arg), 4, kind);
	fuzz_put(command, STREAM_COMMAND, AT(dst_res), 4, types[fuzz_below(random, 4)]);
	fuzz_put(command, STREAM_COMMAND, AT(dst_offset), 8, fuzz_below(random, 3));
	fuzz_put(command, STREAM_COMMAND, AT(src_offset), 8, fuzz_below(random, 3));
	fuzz_put(command, STREAM_COMMAND, AT(length), 8,
		 kind == LOOPBACK_FAULT_ERROR ? VIRTIO_GPU_RESP_ERR_LIMIT : fuzz_below(random, 40));
}

static void fill_command(struct fuzz_random *random, uint8_t *command, uint32_t max_id)
{
	uint32_t op = 1 + fuzz_below(random, LOOPBACK_OP_STATS);

	if (fuzz_once_in(random, 16))
		op = LOOPBACK_OP_INJECT;
	fuzz_put(command, STREAM_COMMAND, AT(op), 4, op);
	fuzz_put(command, STREAM_COMMAND, AT(arg), 4, fuzz_random(random));
	fuzz_put(command, STREAM_COMMAND, AT(dst_res), 4, 1 + fuzz_below(random, max_id));
	fuzz_put(command, STREAM_COMMAND, AT(src_res), 4, 1 + fuzz_below(random, max_id));
	fuzz_put(command, STREAM_COMMAND, AT(dst_offset), 8, some_offset(random));
	fuzz_put(command, STREAM_COMMAND, AT(src_offset), 8, some_offset(random));
	fuzz_put(command, STREAM_COMMAND, AT(length), 8, some_length(random));
	if (op == LOOPBACK_OP_INJECT)
		fill_inject(random, command);
}

size_t stream_make(struct fuzz_random *random, uint8_t *data, uint32_t max_id)
{
	uint32_t nr = 1 + fuzz_below(random, fuzz_once_in(random, 2) ? 1 : STREAM_MAX_COMMANDS), i;

	fuzz_put(data, STREAM_HEAD, HEAD_AT(magic), 4, LOOPBACK_MAGIC);
	fuzz_put(data, STREAM_HEAD, HEAD_AT(nr_commands), 4, nr);
	fuzz_put(data, STREAM_HEAD, HEAD_AT(status_res), 4,
		 fuzz_once_in(random, 3) ? 0 : 1 + fuzz_below(random, max_id));
	fuzz_put(data, STREAM_HEAD, HEAD_AT(reserved), 4, fuzz_once_in(random, 64));
	fuzz_put(data, STREAM_HEAD, HEAD_AT(status_offset), 8,
		 fuzz_once_in(random, 8) ? some_offset(random) : 4 * fuzz_below(random, 1021));
	for (i = 0; i < nr; i++)
		fill_command(random, data + STREAM_HEAD + i * STREAM_COMMAND, max_id);
	return STREAM_HEAD + nr * STREAM_COMMAND;
}

void stream_fill(uint8_t *data, uint32_t op, uint32_t id, uint64_t length)
{
	uint32_t i;

	fuzz_put(data, STREAM_HEAD, HEAD_AT(magic), 4, LOOPBACK_MAGIC);
	fuzz_put(data, STREAM_HEAD, HEAD_AT(nr_commands), 4, STREAM_MAX_COMMANDS);
	for (i = 0; i < STREAM_MAX_COMMANDS; i++) {
		uint8_t *command = data + STREAM_HEAD + i * STREAM_COMMAND;

		fuzz_put(command, STREAM_COMMAND, AT(op), 4, op);
		fuzz_put(command, STREAM_COMMAND, AT(dst_res), 4, id);
		fuzz_put(command, STREAM_COMMAND, AT(src_res), 4, id);
		fuzz_put(command, STREAM_COMMAND, AT(length), 8, length);
	}
}

size_t stream_touch(struct fuzz_random *random, uint8_t *data, size_t len, size_t max,
		    uint32_t max_id)
{
	const struct fuzz_field fields[] = {
		{ AT(op), 4, 0, LOOPBACK_OP_INJECT, 1 },
		{ AT(dst_res), 4, 0, max_id, 1 },
		{ AT(src_res), 4, 0, max_id, 1 },
		{ AT(dst_offset), 8, 0, 16384, 1 },
		{ AT(src_offset), 8, 0, 16384, 1 },
		{ AT(length), 8, 0, 1 << 18, 256 },
		{ AT(arg), 4, 0, 3, 1 },
	};
	size_t nr = len > STREAM_HEAD ? (len - STREAM_HEAD) / STREAM_COMMAND : 0, at;

	if (!nr || nr > STREAM_MAX_COMMANDS || max < STREAM_MAX || fuzz_once_in(random, 16))
		return max < STREAM_MAX ? len : stream_make(random, data, max_id);
	at = STREAM_HEAD + fuzz_below(random, (uint32_t)nr) * STREAM_COMMAND;
	switch (fuzz_below(random, 4)) {
	case 0:
		fill_command(random, data + at, max_id);
		break;
	case 1:
		if (nr < STREAM_MAX_COMMANDS)
			fill_command(random, data + STREAM_HEAD + nr++ * STREAM_COMMAND, max_id);
		fuzz_put(data, STREAM_HEAD, HEAD_AT(nr_commands), 4, nr);
		break;
	case 2:
		fuzz_put(data, STREAM_HEAD, HEAD_AT(status_res), 4, fuzz_below(random, max_id + 1));
		break;
	default:
		fuzz_touch_field(random, &fields[fuzz_below(random, ARRAY_SIZE(fields))], data + at,
				 STREAM_COMMAND);
		break;
	}
	return STREAM_HEAD + nr * STREAM_COMMAND;
}

static const uint32_t capsets[] = { VIRTIO_GPU_CAPSET_LOOPBACK };

const struct gpu_flavour loopback_flavour = {
	.nr_capsets = ARRAY_SIZE(capsets),
	.capsets = capsets,
	.make_stream = stream_make,
	.max_stream = STREAM_MAX,
	.touch_stream = stream_touch,
};
