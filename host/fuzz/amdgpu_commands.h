/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_commands: commands of amdgpu native contexts that make sense, or nearly so
 *
 * Small numbers for everything, so that commands are about the same few things: which
 * resources there are is fixed here, and numbers of amdgpu contexts are as
 * amdgpu_card.h gives them to the first clients.
 */
#ifndef AMDGPU_COMMANDS_H
#define AMDGPU_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include "virtgpu_amdgpu.h"

#define COMMANDS_CONTEXTS 3u
/* Resources: blobs from 1, guest memory. */
#define COMMANDS_BLOBS 6u
#define COMMANDS_FIRST_MEMORY 16u
#define COMMANDS_MEMORY 4u
/* Bytes of the data that describe a blob. */
#define COMMANDS_BLOB_SIZE 32u

struct fuzz_maker;
struct fuzz_random;

/**
 * struct commands_ops - the target's operations
 * @stream: data is a stream
 * @blob: data is a blob
 * @blob_attach: of blob
 * @attach: of guest memory
 */
struct commands_ops {
	uint8_t stream;
	uint8_t blob;
	uint8_t blob_attach;
	uint8_t attach;
};

/* An argument for context @c and thing @i, of which there are @nr. */
uint8_t amdgpu_commands_arg(unsigned int c, unsigned int i, unsigned int nr);
/* A stream for context @c, FUZZ_MAX_DATA bytes at most; returns its length. */
size_t amdgpu_commands_make(struct fuzz_random *random, unsigned int c, uint8_t *data);
void amdgpu_commands_make_blob(struct fuzz_random *random, uint8_t *data);
/* Change one thing. */
void amdgpu_commands_touch(struct fuzz_random *random, uint8_t *data, size_t len);
/* What a context begins with, so that commands find something. */
void amdgpu_commands_make_world(struct fuzz_maker *maker, const struct commands_ops *ops,
				unsigned int c);
/* The ring that a stream's first command is for, or 0. */
uint8_t amdgpu_commands_ring(const uint8_t *data, size_t len);

#endif /* AMDGPU_COMMANDS_H */
