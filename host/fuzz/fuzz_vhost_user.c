// SPDX-License-Identifier: MIT
/*
 * fuzz_vhost_user: messages with descriptors, to the whole device
 *
 * Front ends that send what they like, before and between what they should send, hang
 * up in the middle of it, and come again.  Whatever they do, all that they gave is
 * given back, and nothing of the guest's is left.
 */
#include "fuzz/fuzz.h"
#include "fuzz/loopback_stream.h"
#include "fuzz/session.h"

static void run(const struct fuzz_input *input)
{
	session_run(input, NULL);
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	switch (fuzz_below(random, 8)) {
	case 0:
		commands_make(random, maker, OP_COMMAND, &loopback_flavour);
		break;
	case 1:
	case 2:
		session_make_event(random, maker);
		break;
	default:
		session_make_message(random, maker);
		break;
	}
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
	input->head.config =
		(uint8_t)((nr & 1 ? CONFIG_LISTEN : 0) | (nr & 2 ? CONFIG_NO_WINDOW : 0));
	input->head.mode = (uint8_t)(nr / 4 & 7);
	for (i = 0; i < 12; i++)
		make(&random, maker);
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "vhost_user",
	.nr_ops = NR_SESSION_OPS,
	.start = session_start,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
