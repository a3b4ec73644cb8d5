// SPDX-License-Identifier: MIT
/*
 * fuzz_virgl: the whole device with libvirglrenderer's contexts
 *
 * The library, its processes and the kernel's udmabuf are played, so that they can do
 * what they do on bad days: workers that die, do not read, do not answer and do not let
 * go; memory that is not what it should be.  Command streams say what a worker does
 * (library.h), so a guest can have it all.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "fuzz/kernel.h"
#include "fuzz/library.h"
#include "fuzz/processes.h"
#include "fuzz/session.h"
#include "gpu/gpu_device.h"

#define MAX_WORDS 12
#define CONFIG_DRM 0xc0u /* a type of native contexts, in the highest bits */
/* Of an OP_WORLD: what happens, and to whom. */
enum event { EVENT_RETIRE, EVENT_DIE, EVENT_LET_GO, EVENT_IDLE, EVENT_HEAR, EVENT_NONE };

static const uint32_t capsets[] = { LIBRARY_VENUS, LIBRARY_VENUS, LIBRARY_VENUS, LIBRARY_DRM };

/* A command of a native context on resource @id. */
static size_t make_native(struct fuzz_random *random, uint8_t *data, uint32_t max_id)
{
	static const uint8_t commands[] = { 3, 4, 5, 6 };
	uint32_t command = commands[fuzz_below(random, sizeof(commands))];

	memset(data, 0, 64);
	fuzz_put(data, 64, 0, 4, command);
	fuzz_put(data, 64, 4, 4, 64);
	fuzz_put(data, 64, 16, 4, 1 + fuzz_below(random, max_id));
	if (command == 4) {
		fuzz_put(data, 64, 20, 4, 1);
		fuzz_put(data, 64, 28, 4, 1 + fuzz_below(random, 3));
		fuzz_put(data, 64, 32, 4, 6 | 2 << 16);
		fuzz_put(data, 64, 40, 4, 1 + fuzz_below(random, max_id));
		return 64;
	}
	fuzz_put(data, 64, 32, 4, 1 + fuzz_below(random, max_id));
	fuzz_put(data, 64, 56, 4, 1 + fuzz_below(random, max_id));
	return 64;
}

static size_t make_stream(struct fuzz_random *random, uint8_t *data, uint32_t max_id)
{
	uint32_t nr = 1 + fuzz_below(random, MAX_WORDS), i;

	if (fuzz_once_in(random, 4))
		return make_native(random, data, max_id);
	/* Most are long enough to fill a socket in the end. */
	if (fuzz_once_in(random, 4))
		nr = 256;
	for (i = 0; i < nr; i++) {
		uint32_t op = i < MAX_WORDS ? fuzz_below(random, NR_STREAM_OPS) : STREAM_HEAR;

		/* Few workers die at once. */
		if ((op == STREAM_DIE || op == STREAM_FAIL) && !fuzz_once_in(random, 8))
			op = STREAM_IDLE;
		if (i >= MAX_WORDS)
			op = STREAM_BUSY;
		fuzz_put(data, 4 * nr, 4 * i, 4, op | (1 + fuzz_below(random, max_id)) << 8);
	}
	return 4 * nr;
}

static size_t touch_stream(struct fuzz_random *random, uint8_t *data, size_t len, size_t max,
			   uint32_t max_id)
{
	if (len < 4 || max < 1024 || fuzz_once_in(random, 4))
		return max < 1024 ? len : make_stream(random, data, max_id);
	fuzz_put(data, len, 4 * fuzz_below(random, (uint32_t)len / 4), 4,
		 fuzz_below(random, NR_STREAM_OPS) | fuzz_below(random, max_id + 1) << 8);
	return len;
}

static const struct gpu_flavour flavour = {
	.nr_capsets = ARRAY_SIZE(capsets),
	.capsets = capsets,
	.host_blobs = true,
	.make_stream = make_stream,
	.max_stream = 1024,
	.touch_stream = touch_stream,
};

/* ---- what is behind the device ---- */

static void configure(struct gpu_config *config, uint8_t bits)
{
	(void)bits;
	config->virgl = true;
	config->loopback = false;
}

/* The device sleeps meanwhile.  No GPU works for ever, and no hang lasts for ever. */
static void elsewhere(void)
{
	WORLD_LOCKED;
	static unsigned int times;

	library_move_on();
	if (++times % 4 == 0)
		kernel_set_all_idle();
}

static bool begin(const struct fuzz_head *head)
{
	processes_begin();
	kernel_begin(head->mode >> 3);
	library_begin((head->config & CONFIG_DRM) >> 6);
	kernel_elsewhere = elsewhere;
	return true;
}

static void record(const struct fuzz_record *record)
{
	WORLD_LOCKED;
	struct played *process = processes_at(record->arg >> 3);

	switch (record->arg % 8) {
	case EVENT_RETIRE:
		library_move_on();
		break;
	case EVENT_DIE:
		if (process)
			processes_finish(process);
		break;
	case EVENT_LET_GO:
		if (process)
			processes_let_go(process);
		break;
	case EVENT_IDLE:
		kernel_set_all_idle();
		break;
	case EVENT_HEAR:
		if (process)
			process->reads = true;
		break;
	default:
		break;
	}
}

static void end(void)
{
	kernel_elsewhere = NULL;
	library_end();
	processes_move_on();
	processes_move_on();
	processes_end();
	kernel_end();
}

static const struct session_world world = {
	.configure = configure,
	.begin = begin,
	.record = record,
	.step = library_move_on,
	.settle = library_settle,
	.end = end,
};

static void run(const struct fuzz_input *input)
{
	session_run(input, &world);
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	switch (fuzz_below(random, 8)) {
	case 0:
		session_make_event(random, maker);
		break;
	case 1:
		fuzz_make(maker, OP_WORLD, (uint8_t)fuzz_random(random), 0);
		break;
	default:
		commands_make(random, maker, OP_COMMAND, &flavour);
		break;
	}
}

static void touch(struct fuzz_random *random, struct fuzz_record *at, uint8_t *data)
{
	session_touch(random, at, data, &flavour);
}

static bool seed(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker)
{
	struct fuzz_random random = { .state = nr + 1 };
	unsigned int i;

	if (nr >= 32)
		return false;
	/* DRM contexts of each type, and none. */
	input->head.config = (uint8_t)(nr % 4 << 6 | (nr / 4 % 2 ? CONFIG_LARGE : 0));
	input->head.mode = (uint8_t)(nr / 16 << 4);
	commands_make_world(&random, maker, OP_COMMAND, &flavour);
	for (i = 0; i < 8; i++)
		make(&random, maker);
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "virgl",
	.nr_ops = NR_SESSION_OPS,
	.start = session_start,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
