/* SPDX-License-Identifier: MIT */
/*
 * fake: a kernel for the unit tests
 *
 * A stand-in for struct userptr_ops: it knows what is registered, counts what it is
 * asked, and does what a test tells it.  "Memory" is just addresses.  What a process
 * does to its memory is done with fake_unmap(), which revokes at once as munmap()
 * does, and fake_dontneed(), which only arouses a suspicion.
 *
 * Invariant: a handle is closed once, and not used afterwards; if not, the function
 * that is asked for it fails the program.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "context.h"

#define FAKE_PAGE 4096ul
#define FAKE_HANDLES 4096

/**
 * struct fake_bo - a resource
 * @used: a handle is open
 * @start: first byte
 * @end: behind the last one
 * @flags: of the uapi
 * @state: of the uapi
 * @suspected: it was given back, which the kernel has not looked into yet
 */
struct fake_bo {
	bool used;
	uint64_t start;
	uint64_t end;
	uint32_t flags;
	uint32_t state;
	bool suspected;
};

/**
 * struct fake - what the kernel has, and is to do
 * @lock: protects it
 * @changed: @creating, @gate or @verifying changed
 * @bos: by handle; the resource id is @res_base more
 * @nr: open handles
 * @locked: bytes that are registered
 * @limit: RLIMIT_MEMLOCK
 * @limited: does create enforce @limit?
 * @memory: bytes that can be registered, whatever @limit says
 * @max_size: as the device says
 * @alignment: as the device says
 * @create_flags: what works
 * @event_room: how many events may be to come or unread
 * @no_verify: the kernel does not know the question
 * @fail_create: errno of each creation from now on, negative
 * @busy: what looks answer: they cannot tell
 * @gate: creations wait until it is open
 * @shut: it is not
 * @creating: threads that are in there
 * @on_verify: called by each look, without the lock
 * @on_created: called by each creation that succeeded, without the lock
 * @creates: asked
 * @verifies: asked
 * @closes: asked
 * @events: sent, unread: of this handle
 * @nr_events: how many
 * @event_fd: readable if there are any; what tests open
 */
struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake_bo bos[FAKE_HANDLES];
	unsigned int nr;
	uint64_t locked;
	uint64_t limit;
	bool limited;
	uint64_t memory;
	uint64_t max_size;
	uint32_t alignment;
	uint32_t create_flags;
	unsigned int event_room;
	bool no_verify;
	int fail_create;
	bool busy;
	bool shut;
	unsigned int creating;
	void (*on_verify)(uint32_t handle);
	void (*on_created)(void);
	unsigned int creates;
	unsigned int verifies;
	unsigned int closes;
	uint32_t events[FAKE_HANDLES];
	unsigned int nr_events;
	int event_fd;
};

extern struct fake fake;
extern const struct userptr_ops fake_ops;

void fake_reset(void);
struct virtgpu_userptr *fake_open(const struct virtgpu_userptr_options *options);
void fake_unmap(uint64_t addr, uint64_t size);
void fake_dontneed(uint64_t addr, uint64_t size);
void fake_send(uint32_t handle);
void fake_shut(bool shut);
void fake_wait_creating(unsigned int nr);
struct virtgpu_userptr_stats fake_stats(struct virtgpu_userptr *ctx);
void *fake_addr(uint64_t addr);

#endif /* FAKE_H */
