/* SPDX-License-Identifier: MIT */
/*
 * session: the whole device, a front end and a guest, and what they do in turn
 *
 * What the targets have in common that fuzz the device from outside: they differ in
 * the device's configuration, in what they are fond of doing, and in what is behind
 * the device (struct session_world).
 *
 * Threads: see vmm.h.
 */
#ifndef SESSION_H
#define SESSION_H

#include "fuzz/fuzz.h"
#include "fuzz/gpu_commands.h"

struct gpu_config;

enum session_op {
	/* The data is a request, arg its shape (vmm.h). */
	OP_COMMAND,
	/* A descriptor of the next request is changed, as the data says. */
	OP_SPOIL,
	/* Ring arg is damaged, as the data says. */
	OP_DAMAGE,
	/* Ring arg is kicked. */
	OP_KICK,
	/* Ring arg is stopped, or started again. */
	OP_RING,
	/* Both rings are stopped and started: a driver that starts anew. */
	OP_RESTART,
	/* The memory table has its first arg regions. */
	OP_TABLE,
	/* One region is removed, or added again. */
	OP_SLOT,
	/* A question that is always allowed. */
	OP_ASK,
	/* The data is a message as it is, arg what descriptors it has. */
	OP_MESSAGE,
	/* How the front end answers from now on. */
	OP_MANNER,
	/* It answers what waits. */
	OP_ANSWER_NOW,
	/* The device handles arg events. */
	OP_STEP,
	/* A moment passes. */
	OP_TIME,
	/* Until all is answered. */
	OP_WAIT,
	/* The front end hangs up, and another one comes. */
	OP_RECONNECT,
	/* Something happens behind the device: the target's. */
	OP_WORLD,
	NR_SESSION_OPS,
};

/* Of the head's config. */
#define CONFIG_NO_RDONLY 1u
#define CONFIG_INJECT 2u
#define CONFIG_LARGE 4u
#define CONFIG_NO_WINDOW 8u
#define CONFIG_LISTEN 16u
#define CONFIG_IMPATIENT 32u /* a reset may not take long */
#define CONFIG_WORLD 0xc0u /* the target's */
/* Of the head's mode. */
#define MODE_RING 3u /* size of rings */
#define MODE_RAW 4u /* no handshake */

/**
 * struct session_world - what is behind the device; all may be NULL
 * @configure: of the device
 * @begin: before the device is there; false: it cannot be
 * @record: an OP_WORLD
 * @step: whenever the device has had a turn
 * @settle: let everything come to its end that the device may be waiting for
 * @end: after the device has gone
 */
struct session_world {
	void (*configure)(struct gpu_config *config, uint8_t bits);
	bool (*begin)(const struct fuzz_head *head);
	void (*record)(const struct fuzz_record *record);
	void (*step)(void);
	void (*settle)(void);
	void (*end)(void);
};

/* Once, before all. */
void session_start(void);
void session_run(const struct fuzz_input *input, const struct session_world *world);

/* Records that make sense, besides requests. */
void session_make_event(struct fuzz_random *random, struct fuzz_maker *maker);
/* A message with descriptors. */
void session_make_message(struct fuzz_random *random, struct fuzz_maker *maker);
void session_touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data,
		   const struct gpu_flavour *flavour);

/* ---- pages.c: which resource has which pages, as the guest sees it ---- */

void pages_begin(void);
/* A request is about to be sent, the number @number of all. */
void pages_sent(const uint8_t *data, size_t len, uint64_t number);
/* It was answered. */
void pages_answered(const uint8_t *data, size_t len, uint64_t number, uint32_t answer);
/* The device has let go of everything. */
void pages_reset(void);

#endif /* SESSION_H */
