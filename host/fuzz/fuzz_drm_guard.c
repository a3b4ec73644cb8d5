// SPDX-License-Identifier: MIT
/*
 * fuzz_drm_guard: any bytes as a command stream of a native context
 *
 * Records make up a stream and the set of resources that are known.  Finds accesses
 * outside the stream, and streams that pass and yet name what is not known, are not
 * made of whole commands, or whose fences go to a ring that there is not.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu.h>

#include "fuzz/fuzz.h"
#include "renderer/virgl/drm_guard.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define MAX_STREAM 8192
#define MAX_ID 8
#define HEADER 16
/* More than the fixed part of any command. */
#define FIXED 64

/* Commands that name resources, as the library reads them. */
#define BO_VA_OP 3
#define CS_SUBMIT 4
#define SET_METADATA 5
#define BO_QUERY_INFO 6

enum op {
	/* The data is (a part of) a command. */
	OP_COMMAND,
	/* The stream so far is checked, and executed if it passes. */
	OP_CHECK,
	OP_ADD,
	OP_REMOVE,
	NR_OPS,
};

/* Of HEAD's config. */
#define CONFIG_TYPE 3u

/**
 * struct state - of a run
 * @guard: what is fuzzed
 * @known: ids, in our own way
 * @rings: that were submitted to
 * @stream: the commands so far
 * @size: bytes of it
 */
static struct state {
	struct drm_guard guard;
	bool known[MAX_ID + 1];
	uint64_t rings;
	uint8_t stream[MAX_STREAM];
	size_t size;
} state;

static bool is_known(uint32_t id)
{
	return id <= MAX_ID && state.known[id];
}

/* Buffers that a submission names: a handle and a number each. */
static bool submit_names_unknown(const uint8_t *data, size_t len)
{
	uint64_t nr = fuzz_get(data, len, 20, 4), i, at;

	for (i = 0; i < nr; i++) {
		uint32_t what = (uint32_t)fuzz_get(data, len, 32 + i * 8, 4);
		uint64_t offset = 32 + nr * 8 + fuzz_get(data, len, 36 + i * 8, 4);
		uint64_t bytes = (uint64_t)(what >> 16) * 4;

		if (offset + bytes > len)
			return true;
		if ((what & 0xffff) != 2 && (what & 0xffff) != 6)
			continue;
		for (at = offset; at < offset + bytes; at += 8)
			if (!is_known((uint32_t)fuzz_get(data, len, at, 4)))
				return true;
	}
	return false;
}

static bool names_unknown(const uint8_t *data, size_t len)
{
	switch (fuzz_get(data, len, 0, 4)) {
	case BO_VA_OP:
		return !(fuzz_get(data, len, 40, 4) & 1) &&
		       !is_known((uint32_t)fuzz_get(data, len, 56, 4));
	case SET_METADATA:
		return !is_known((uint32_t)fuzz_get(data, len, 32, 4));
	case BO_QUERY_INFO:
		return !is_known((uint32_t)fuzz_get(data, len, 16, 4));
	case CS_SUBMIT:
		return submit_names_unknown(data, len);
	default:
		return false;
	}
}

/* A stream passed: was that right? */
static void judge(const uint8_t *data, size_t size)
{
	bool amdgpu = state.guard.type == DRM_CONTEXT_AMDGPU;

	while (size) {
		size_t len = fuzz_get(data, size, 4, 4);

		if (size < HEADER || len < HEADER || len > size || len % (amdgpu ? 8 : 4))
			fuzz_oracle("GUARD: half a command passed");
		if (amdgpu && names_unknown(data, len))
			fuzz_oracle("GUARD: a resource that is not known passed");
		if (amdgpu && fuzz_get(data, len, 0, 4) == CS_SUBMIT)
			state.rings |= (uint64_t)1 << (fuzz_get(data, len, 28, 4) % 64);
		data += len;
		size -= len;
	}
}

static void check(uint8_t ring)
{
	/* A copy of just this size, so that what is read past its end is seen. */
	uint8_t *stream = malloc(state.size ? state.size : 1);
	uint32_t fence;

	if (!stream)
		return;
	memcpy(stream, state.stream, state.size);
	if (drm_guard_check(&state.guard, stream, state.size) == OK) {
		judge(stream, state.size);
		drm_guard_executed(&state.guard, stream, state.size);
	}
	free(stream);
	state.size = 0;
	fence = drm_guard_fence_ring(&state.guard, ring);
	if (state.guard.type == DRM_CONTEXT_AMDGPU && fence &&
	    (fence >= 64 || !(state.rings >> fence & 1)))
		fuzz_oracle("GUARD: a fence for ring %u, which there is not", fence);
}

static void do_record(const struct fuzz_record *record)
{
	uint32_t id = record->arg % (MAX_ID + 1);

	switch (record->op) {
	case OP_COMMAND:
		if (record->len > MAX_STREAM - state.size)
			break;
		memcpy(state.stream + state.size, record->data, record->len);
		state.size += record->len;
		break;
	case OP_CHECK:
		check(record->arg);
		break;
	case OP_ADD:
		if (id && !drm_guard_add(&state.guard, id))
			state.known[id] = true;
		break;
	default:
		drm_guard_remove(&state.guard, id);
		state.known[id] = false;
		break;
	}
}

static void run(const struct fuzz_input *input)
{
	unsigned int i;

	state = (struct state){ .guard.type = input->head.config & CONFIG_TYPE };
	/* As the capset says it. */
	if (input->head.mode & 1)
		state.guard.type = drm_guard_type(&input->head, sizeof(input->head));
	for (i = 0; i < input->nr; i++)
		do_record(&input->records[i]);
	check(0);
	drm_guard_destroy(&state.guard);
}

/* ---- inputs that make sense ---- */

static const struct fuzz_field fields[] = {
	{ 0, 4, 0, 8, 1 },	 { 4, 4, HEADER, FIXED, 8 }, { 8, 4, 0, 3, 1 },
	{ 12, 4, 0, 64, 8 },	 { 16, 4, 0, MAX_ID, 1 },    { 20, 4, 0, 4, 1 },
	{ 28, 4, 0, 64, 1 },	 { 32, 4, 0, MAX_ID, 1 },    { 32, 2, 0, 8, 1 },
	{ 34, 2, 0, 8, 2 },	 { 36, 4, 0, 64, 8 },	     { 40, 4, 0, 1, 1 },
	{ 40, 2, 0, 8, 1 },	 { 42, 2, 0, 8, 2 },	     { 44, 4, 0, 64, 8 },
	{ 48, 4, 0, MAX_ID, 1 }, { 56, 4, 0, MAX_ID, 1 },
};

/* Most commands say how long they are. */
static void fix_length(struct fuzz_random *random, uint8_t *data, size_t len)
{
	if (!fuzz_once_in(random, 16))
		fuzz_put(data, len, 4, 4, len);
}

static void touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data)
{
	if (record->op != OP_COMMAND)
		return;
	if (fuzz_once_in(random, 6))
		record->len = (uint16_t)(HEADER + 8 * fuzz_below(random, 12));
	fuzz_touch_field(random, &fields[fuzz_below(random, ARRAY_SIZE(fields))], data,
			 record->len);
	fix_length(random, data, record->len);
}

static void make_submit(struct fuzz_random *random, uint8_t *data, size_t len)
{
	uint32_t nr = 1 + fuzz_below(random, 3), i;

	fuzz_put(data, len, 20, 4, nr);
	fuzz_put(data, len, 28, 4, 1 + fuzz_below(random, 4));
	for (i = 0; i < nr; i++) {
		fuzz_put(data, len, 32 + i * 8, 2, fuzz_once_in(random, 2) ? 6 : 2);
		fuzz_put(data, len, 34 + i * 8, 2, 2);
		fuzz_put(data, len, 36 + i * 8, 4, i * 8);
		fuzz_put(data, len, 32 + nr * 8 + i * 8, 4, 1 + fuzz_below(random, MAX_ID));
	}
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	static const uint8_t commands[] = { BO_VA_OP, CS_SUBMIT, SET_METADATA, BO_QUERY_INFO, 1 };
	uint8_t *data;
	uint32_t nr;

	if (fuzz_once_in(random, 3))
		fuzz_make(maker, OP_ADD, (uint8_t)(1 + fuzz_below(random, MAX_ID)), 0);
	for (nr = 1 + fuzz_below(random, 3); nr; nr--) {
		uint32_t command = commands[fuzz_below(random, sizeof(commands))];
		size_t len = command == CS_SUBMIT ? 96 : FIXED;
		unsigned int i;

		data = fuzz_make(maker, OP_COMMAND, 0, len);
		if (!data)
			return;
		for (i = 0; i < 4; i++)
			fuzz_touch_field(random, &fields[fuzz_below(random, ARRAY_SIZE(fields))],
					 data, len);
		fuzz_put(data, len, 0, 4, command);
		fuzz_put(data, len, 4, 4, len);
		fuzz_put(data, len, 12, 4, 0);
		if (command == CS_SUBMIT)
			make_submit(random, data, len);
	}
	fuzz_make(maker, OP_CHECK, (uint8_t)fuzz_below(random, 66), 0);
}

static bool seed(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker)
{
	struct fuzz_random random = { .state = nr + 1 };

	if (nr >= 16)
		return false;
	input->head.config = nr % 4 ? DRM_CONTEXT_AMDGPU : DRM_CONTEXT_MSM;
	do
		make(&random, maker);
	while (!fuzz_once_in(&random, 3));
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "drm_guard",
	.nr_ops = NR_OPS,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
