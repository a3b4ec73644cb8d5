// SPDX-License-Identifier: MIT
/*
 * loopback_model: see loopback_model.h
 *
 * Threads: one.
 */
#include <string.h>

#include <openssl/sha.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/loopback_model.h"
#include "fuzz/loopback_stream.h"

/* Six resources, see fuzz_loopback.c. */
#define PAGES (6 * MODEL_PAGES)
/* Whether the kind of fault is known does not matter here: streams with one are not modelled. */
#define STATS_SIZE sizeof(struct loopback_stats)
#define STATUS_SIZE sizeof(struct loopback_status)

_Static_assert(PAGES <= GUEST_PAGES, "the guest has the pages");

static uint8_t shadow[PAGES * GUEST_PAGE];
static const struct model_resource *table;
static uint32_t table_size;

/**
 * struct command - one of a stream
 */
struct command {
	uint32_t op;
	uint32_t arg;
	uint32_t dst_res;
	uint32_t src_res;
	uint64_t dst_offset;
	uint64_t src_offset;
	uint64_t length;
};

static struct command command_at(const uint8_t *data, size_t len, size_t at)
{
	return (struct command){
		.op = (uint32_t)fuzz_get(data, len, at, 4),
		.arg = (uint32_t)fuzz_get(data, len, at + 4, 4),
		.dst_res = (uint32_t)fuzz_get(data, len, at + 8, 4),
		.src_res = (uint32_t)fuzz_get(data, len, at + 12, 4),
		.dst_offset = fuzz_get(data, len, at + 16, 8),
		.src_offset = fuzz_get(data, len, at + 24, 8),
		.length = fuzz_get(data, len, at + 32, 8),
	};
}

static const struct model_resource *find(uint32_t id)
{
	return id && id <= table_size && table[id].attached ? &table[id] : NULL;
}

static bool fits(const struct model_resource *resource, uint64_t offset, uint64_t length)
{
	return length <= resource->size && offset <= resource->size - length;
}

static bool overlap(uint64_t a, uint64_t b, uint64_t length)
{
	return a < b ? b - a < length : a - b < length;
}

static bool command_reads(const struct command *command)
{
	return command->op != LOOPBACK_OP_FILL && command->op != LOOPBACK_OP_STATS;
}

/* Why a command is refused, or LOOPBACK_OK. */
static uint32_t judge(const struct command *command)
{
	bool reads = command_reads(command);
	const struct model_resource *dst = find(command->dst_res);
	const struct model_resource *src = reads ? find(command->src_res) : NULL;
	uint64_t writes = command->length;

	if (command->op < LOOPBACK_OP_FILL || command->op > LOOPBACK_OP_STATS)
		return LOOPBACK_ERR_OP;
	if (command->op == LOOPBACK_OP_SHA256)
		writes = LOOPBACK_SHA256_SIZE;
	if (command->op == LOOPBACK_OP_STATS)
		writes = STATS_SIZE;
	if (!dst || (reads && !src))
		return LOOPBACK_ERR_RESOURCE;
	if (!fits(dst, command->dst_offset, writes) ||
	    (reads && !fits(src, command->src_offset, command->length)))
		return LOOPBACK_ERR_RANGE;
	if (dst == src &&
	    (command->op == LOOPBACK_OP_COPY ||
	     (command->op == LOOPBACK_OP_INVERT && command->dst_offset != command->src_offset)) &&
	    overlap(command->dst_offset, command->src_offset, command->length))
		return LOOPBACK_ERR_RANGE;
	return dst->readonly ? LOOPBACK_ERR_RDONLY : LOOPBACK_OK;
}

/*
 * Whether two resources are the same memory where a command reads and where it writes, and
 * not byte for byte: then what comes of it depends on the order of bytes, which nobody
 * promises.
 */
static bool alias(const struct command *command)
{
	const struct model_resource *dst = find(command->dst_res), *src;
	uint64_t to, from;

	if (command->op != LOOPBACK_OP_COPY && command->op != LOOPBACK_OP_INVERT)
		return false;
	src = find(command->src_res);
	to = dst->first_page * GUEST_PAGE + command->dst_offset;
	from = src->first_page * GUEST_PAGE + command->src_offset;
	return to != from && overlap(to, from, command->length);
}

static void execute(const struct command *command)
{
	uint8_t *dst =
		shadow + find(command->dst_res)->first_page * GUEST_PAGE + command->dst_offset;
	const struct model_resource *source = command_reads(command) ? find(command->src_res) :
								       NULL;
	const uint8_t *src =
		source ? shadow + source->first_page * GUEST_PAGE + command->src_offset : NULL;
	uint64_t i;

	switch (command->op) {
	case LOOPBACK_OP_FILL:
		memset(dst, (uint8_t)command->arg, command->length);
		break;
	case LOOPBACK_OP_COPY:
		memmove(dst, src, command->length);
		break;
	case LOOPBACK_OP_INVERT:
		for (i = 0; i < command->length; i++)
			dst[i] = (uint8_t)~src[i];
		break;
	case LOOPBACK_OP_SHA256:
		SHA256(src, command->length, dst);
		break;
	default:
		/* The numbers are not modelled. */
		memcpy(dst, guest_page(find(command->dst_res)->first_page) + command->dst_offset,
		       STATS_SIZE);
		break;
	}
}

static void write_status(const uint8_t *data, size_t len, uint32_t state, uint32_t index,
			 uint32_t error)
{
	const struct model_resource *resource = find((uint32_t)fuzz_get(data, len, 8, 4));
	uint8_t *at;

	if (!resource)
		return;
	at = shadow + resource->first_page * GUEST_PAGE + fuzz_get(data, len, 16, 8);
	fuzz_put(at, STATUS_SIZE, 0, 4, state);
	fuzz_put(at, STATUS_SIZE, 4, 4, index);
	fuzz_put(at, STATUS_SIZE, 8, 4, error);
	fuzz_put(at, STATUS_SIZE, 12, 4, 0);
}

static void compare(void)
{
	uint32_t page;

	for (page = 0; page < PAGES; page++)
		if (memcmp(shadow + page * GUEST_PAGE, guest_page(page), GUEST_PAGE))
			fuzz_oracle("LOOPBACK: page %u is not what the stream makes of it", page);
}

void model_begin(void)
{
	uint32_t page;

	for (page = 0; page < PAGES; page++)
		memcpy(shadow + page * GUEST_PAGE, guest_page(page), GUEST_PAGE);
}

/* It was accepted: its status can be written where it says. */
void model_run(const struct model_resource *resources, uint32_t max_id, const uint8_t *data,
	       size_t len, uint32_t response)
{
	uint64_t nr = fuzz_get(data, len, 4, 4), i;
	uint32_t error = LOOPBACK_ERR_OP, index = 0;
	struct command command;

	table = resources;
	table_size = max_id;
	if (nr && nr <= LOOPBACK_MAX_COMMANDS && !fuzz_get(data, len, 12, 4) &&
	    len == STREAM_HEAD + nr * STREAM_COMMAND) {
		error = LOOPBACK_OK;
		for (i = 0; !error && i < nr; i++) {
			command = command_at(data, len, STREAM_HEAD + i * STREAM_COMMAND);
			/* Depends on the configuration; the rest does not matter. */
			if (command.op == LOOPBACK_OP_INJECT) {
				model_begin();
				return;
			}
			error = judge(&command);
			index = error ? (uint32_t)i : 0;
		}
	}
	if ((error == LOOPBACK_OK) != (response == VIRTIO_GPU_RESP_OK_NODATA))
		fuzz_oracle("LOOPBACK: a stream is answered with 0x%x, the model says error %u",
			    response, error);
	for (i = 0; !error && i < nr; i++) {
		command = command_at(data, len, STREAM_HEAD + i * STREAM_COMMAND);
		/* The numbers are known only as they are at the end. */
		if (alias(&command) || (command.op == LOOPBACK_OP_STATS && i + 1 < nr)) {
			model_begin();
			return;
		}
		execute(&command);
	}
	write_status(data, len, error ? LOOPBACK_REFUSED : LOOPBACK_DONE, index, error);
	compare();
}
