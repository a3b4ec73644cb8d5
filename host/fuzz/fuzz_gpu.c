// SPDX-License-Identifier: MIT
/*
 * fuzz_gpu: virtio-gpu commands over rings, to the whole device
 *
 * With the reference context behind it.  Most inputs are those of a guest and a front
 * end that do nothing wrong but for what the commands say; so that all that session.h
 * and vmm.h judge is judged.
 */
#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/loopback_stream.h"
#include "fuzz/session.h"
#include "fuzz/vmm.h"

/* A request with one piece of answer. */
#define ANSWER 0x04
#define RACE_ENTRIES 4u
#define RACE_PAGES 16u
#define RACE_BYTES (RACE_ENTRIES * RACE_PAGES * GUEST_PAGE)

static void run(const struct fuzz_input *input)
{
	session_run(input, NULL);
}

/* A resource is destroyed while a job works on it that takes its time. */
static void make_race(struct fuzz_random *random, struct fuzz_maker *maker)
{
	uint32_t id = 1 + fuzz_below(random, FUZZ_MAX_ID), context = 1, i;
	uint8_t *data, *at;

	data = fuzz_make(maker, OP_COMMAND, ANSWER, FUZZ_CREATE + RACE_ENTRIES * FUZZ_ENTRY);
	if (!data)
		return;
	fuzz_put(data, FUZZ_CREATE, 0, 4, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR);
	fuzz_put(data, FUZZ_CREATE, 24, 4, id);
	fuzz_put(data, FUZZ_CREATE, 32, 8, RACE_BYTES);
	fuzz_put(data, FUZZ_CREATE, 44, 4, RACE_ENTRIES);
	for (i = 0; i < RACE_ENTRIES; i++) {
		at = data + FUZZ_CREATE + i * FUZZ_ENTRY;
		fuzz_put(at, FUZZ_ENTRY, 0, 8,
			 guest_page_addr(i * RACE_PAGES + fuzz_below(random, 128)));
		fuzz_put(at, FUZZ_ENTRY, 8, 4, RACE_PAGES * GUEST_PAGE);
	}
	data = fuzz_make(maker, OP_COMMAND, ANSWER, 32);
	if (!data)
		return;
	fuzz_put(data, 32, 0, 4, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE);
	fuzz_put(data, 32, 16, 4, context);
	fuzz_put(data, 32, 24, 4, id);
	data = fuzz_make(maker, OP_COMMAND, ANSWER | SHAPE_NO_KICK, 32 + STREAM_MAX);
	if (!data)
		return;
	fuzz_put(data, 32, 0, 4, VIRTIO_GPU_CMD_SUBMIT_3D);
	fuzz_put(data, 32, 16, 4, context);
	fuzz_put(data, 32, 24, 4, STREAM_MAX);
	stream_fill(data + 32, LOOPBACK_OP_INVERT, id, RACE_BYTES);
	fuzz_make_destroy(maker, OP_COMMAND, ANSWER, id);
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	if (fuzz_once_in(random, 12))
		make_race(random, maker);
	else if (fuzz_once_in(random, 5))
		session_make_event(random, maker);
	else
		commands_make(random, maker, OP_COMMAND, &loopback_flavour);
}

static void touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data)
{
	session_touch(random, record, data, &loopback_flavour);
}

static bool seed(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker)
{
	struct fuzz_random random = { .state = nr + 1 };
	unsigned int i;

	if (nr >= 32)
		return false;
	input->head.config = (uint8_t)nr & 0x3f;
	input->head.mode = (uint8_t)(nr / 8 & 3);
	input->head.chaos = nr % 8 == 7 ? (uint8_t)(nr / 8 + 1) : 0;
	commands_make_world(&random, maker, OP_COMMAND, &loopback_flavour);
	for (i = 0; i < 6; i++)
		make(&random, maker);
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "gpu",
	.nr_ops = NR_SESSION_OPS,
	.start = session_start,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
