/* SPDX-License-Identifier: MIT */
/*
 * loopback_stream: command streams of the reference context that make sense
 *
 * Threads: one.
 */
#ifndef LOOPBACK_STREAM_H
#define LOOPBACK_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "fuzz/fuzz.h"
#include "fuzz/gpu_commands.h"

/* The wire, as <virtgpu_loopback.h> has it. */
#define STREAM_HEAD 24
#define STREAM_COMMAND 40
#define STREAM_MAX_COMMANDS 6
#define STREAM_MAX (STREAM_HEAD + STREAM_MAX_COMMANDS * STREAM_COMMAND)

/* A stream about resources from 1 to @max_id; returns its bytes, STREAM_MAX at most. */
size_t stream_make(struct fuzz_random *random, uint8_t *data, uint32_t max_id);
/* STREAM_MAX bytes: as many commands @op on the first @length bytes of @id. */
void stream_fill(uint8_t *data, uint32_t op, uint32_t id, uint64_t length);
/* Change one; returns its new length. */
size_t stream_touch(struct fuzz_random *random, uint8_t *data, size_t len, size_t max,
		    uint32_t max_id);

/* A device that has the reference context and nothing else. */
extern const struct gpu_flavour loopback_flavour;

#endif /* LOOPBACK_STREAM_H */
