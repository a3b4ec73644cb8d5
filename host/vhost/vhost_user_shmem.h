/* SPDX-License-Identifier: MIT */
/*
 * vhost_user_shmem: our own requests to the front end, to map shared memory
 *
 * The back-end channel of vhost-user, as far as it is needed to have the front
 * end map files into a shared memory region of the virtio device.  There is one
 * request at a time.  A front end carries it out whenever it comes to it, so its
 * answer is never waited for.
 *
 * A request that reaches QEMU 11.1 after it has stopped the device is its death
 * (it follows a NULL pointer), and a guest can stop its device at any time.  So of
 * a request only the first byte is sent, with the descriptor.  When that has been
 * read, the front end is in the middle of it, and cannot stop the device before it
 * is through: then the rest follows.  If the device is stopped earlier, the rest
 * makes it a request that nobody knows, and which the front end passes over.
 * A front end that has read the byte waits for the rest, with all of its VM: so
 * whoever uses the channel does nothing that takes long in between.
 *
 * A front end that has mapped a file into guest addresses may count it as guest
 * memory and list it among the memory regions.  To be told apart from RAM, files
 * that were passed are remembered, the last SHMEM_FILES of them.
 *
 * Threads: the one of the server.
 */
#ifndef VHOST_USER_SHMEM_H
#define VHOST_USER_SHMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhost/backend.h"
#include "vhost/vhost_user_wire.h"

/* More than can be mapped at a time: some may linger in the front end's table. */
#define SHMEM_FILES (2 * VHOST_BACKEND_MAX_MAPPINGS)

struct shmem_file {
	dev_t dev;
	ino_t ino;
};

struct shmem_message {
	struct vhost_user_header header;
	unsigned char payload[sizeof(struct vhost_user_mmap)];
};

struct shmem_ack {
	struct vhost_user_header header;
	unsigned char value[8];
};

/**
 * struct shmem_channel - the channel
 * @fd: or -1
 * @pending: the request that is not answered, or 0
 * @message: the request
 * @announced: only its first byte was sent
 * @wait_us: between two looks whether that was read
 * @ack: the answer as it arrives
 * @received: bytes of it
 * @files: ring of files that were passed
 * @nr_files: ever
 */
struct shmem_channel {
	int fd;
	uint32_t pending;
	struct shmem_message message;
	bool announced;
	unsigned int wait_us;
	struct shmem_ack ack;
	size_t received;
	struct shmem_file files[SHMEM_FILES];
	size_t nr_files;
};

/* What shmem_channel_receive() found. */
enum shmem_event {
	/* Nothing more to read now. */
	SHMEM_NOTHING,
	/* The pending request was answered. */
	SHMEM_ANSWER,
	/* The front end has closed its end. */
	SHMEM_CLOSED,
	/* Not what a front end may send. */
	SHMEM_VIOLATION,
};

void shmem_channel_init(struct shmem_channel *channel);
/* Takes @fd, which replaces none.  0 or a negative errno, and then it is the caller's. */
int shmem_channel_open(struct shmem_channel *channel, int fd);
/* Returns whether a request was pending, whose answer will never come. */
bool shmem_channel_close(struct shmem_channel *channel);
/* The front end is another one: forget the files too. */
void shmem_channel_forget(struct shmem_channel *channel);

/*
 * Ask for VHOST_USER_BACKEND_SHMEM_MAP or _UNMAP (@fd is -1 then) of a range of
 * a shared memory region.  0: the answer is to come; else a negative errno.
 */
int shmem_channel_request(struct shmem_channel *channel, uint32_t request,
			  const struct vhost_shmem_range *range, int fd);
/*
 * Send the rest of the request, if it is the time.  Returns the microseconds
 * after which to look again, or 0 if there is nothing to wait for.
 */
unsigned int shmem_channel_push(struct shmem_channel *channel);
/*
 * The front end stops the device: take back the request if that can be done.
 * Returns whether it was; no answer follows then.
 */
bool shmem_channel_withdraw(struct shmem_channel *channel);
/* One event; *refused is set with SHMEM_ANSWER. */
enum shmem_event shmem_channel_receive(struct shmem_channel *channel, bool *refused);

/* Whether @fd is a file that was passed to the front end. */
bool shmem_channel_passed(const struct shmem_channel *channel, int fd);

#endif /* VHOST_USER_SHMEM_H */
