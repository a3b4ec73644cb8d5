/* SPDX-License-Identifier: MIT */
/*
 * gpu_commands: virtio-gpu commands that make sense
 *
 * Threads: one.
 */
#ifndef GPU_COMMANDS_H
#define GPU_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

#include "fuzz/fuzz.h"
#include "fuzz/userptr_commands.h"

/* Ids of contexts are from 1 to this. */
#define FUZZ_MAX_CONTEXT 4
#define FUZZ_HEADER 24

/**
 * struct gpu_flavour - what the device under test has
 * @nr_capsets: of @capsets
 * @capsets: ids that contexts can have
 * @host_blobs: contexts have memory of their own
 * @make_stream: a command stream for a context; returns its bytes
 * @max_stream: that it returns at most
 * @touch_stream: change one; returns its new length
 */
struct gpu_flavour {
	unsigned int nr_capsets;
	const uint32_t *capsets;
	bool host_blobs;
	size_t (*make_stream)(struct fuzz_random *random, uint8_t *data, uint32_t max_id);
	size_t max_stream;
	size_t (*touch_stream)(struct fuzz_random *random, uint8_t *data, size_t len, size_t max,
			       uint32_t max_id);
};

/* Some commands that belong together, as records of @op. */
void commands_make(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
		   const struct gpu_flavour *flavour);
/* A context of each number and some resources; for the inputs to begin with. */
void commands_make_world(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
			 const struct gpu_flavour *flavour);
/* Change a command; returns its new length. */
size_t commands_touch(struct fuzz_random *random, uint8_t *data, size_t len,
		      const struct gpu_flavour *flavour);

#endif /* GPU_COMMANDS_H */
