/* SPDX-License-Identifier: MIT */
/*
 * vu_message: a vhost-user message as it arrives, and its answer
 *
 * A message comes from a stream socket in pieces, with descriptors beside its
 * first byte.  This part only needs the socket, so that it can be tested and
 * fuzzed without a device behind it.
 *
 * Threads: one.
 */
#ifndef VU_MESSAGE_H
#define VU_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/guest_memory.h"
#include "vhost/vhost_user_wire.h"

/* Holds the largest message, a full memory table, with room to spare. */
#define VU_MAX_PAYLOAD 4096
#define VU_MAX_FDS GUEST_MEMORY_MAX_REGIONS

/**
 * struct vu_message - a message while it arrives
 * @header: valid once @received says so
 * @payload: header.size bytes
 * @received: bytes of header and payload so far
 * @fds: -1 where a handler has taken one
 * @nr_fds: how many came
 * @surplus: more came than any message has; they were closed at once
 * @cut: some that came could not be had, because this process has too many
 */
struct vu_message {
	struct vhost_user_header header;
	unsigned char payload[VU_MAX_PAYLOAD] __attribute__((aligned(8)));
	size_t received;
	int fds[VU_MAX_FDS];
	unsigned int nr_fds;
	bool surplus;
	bool cut;
};

/**
 * struct vu_reply - payload of an answer
 * @payload: the bytes
 * @size: how many
 */
struct vu_reply {
	unsigned char payload[sizeof(struct vhost_user_shmem_config)];
	size_t size;
};

_Static_assert(sizeof(struct vhost_user_shmem_config) >=
		       sizeof(struct vhost_user_config) + VHOST_USER_MAX_CONFIG_SIZE,
	       "no answer is larger");

/* Close what descriptors are left and be ready for the next one. */
void vu_message_reset(struct vu_message *msg);
/*
 * Take in what has arrived at @sock, without waiting and up to the end of one
 * message; *whole says whether that was reached.  Returns why the front end has
 * to go, or NULL.
 */
const char *vu_message_receive(struct vu_message *msg, int sock, bool *whole);
/* Answer @msg.  false: it could not be sent at once, as a front end that reads has it. */
bool vu_message_answer(const struct vu_message *msg, int sock, const struct vu_reply *reply);

/* The first descriptor, which becomes the caller's. */
int vu_message_take_fd(struct vu_message *msg);
/* The payload as an integer. */
uint64_t vu_message_u64(const struct vu_message *msg);
void vu_reply_u64(struct vu_reply *reply, uint64_t value);

#endif /* VU_MESSAGE_H */
