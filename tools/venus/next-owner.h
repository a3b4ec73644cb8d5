/* SPDX-License-Identifier: MIT */
/*
 * next-owner: who gets the pages that a hostile program gives up
 *
 * A program gives memory back to the kernel, and goes on using it through a GPU.
 * Other processes take pages until they have some of those, keep a secret there,
 * and look after the attack whether a byte has changed.  What the program has read
 * is looked through for the secret.
 *
 * struct next_owner lies in memory that all of them share.  Needs root, for frame
 * numbers.  Functions return 0 or a negative errno unless said otherwise.
 */
#ifndef NEXT_OWNER_H
#define NEXT_OWNER_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/userptr-test-util.h"

#define TARGET_PAGES 256ul
#define TARGET_BYTES (TARGET_PAGES * PAGE)
#define NEXT_OWNERS 2

/* In a child there is no harness: say what went wrong, and fail. */
#define CHECK(condition)                                                                 \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "# child, line %d: %s\n", __LINE__, #condition); \
			return 1;                                                        \
		}                                                                        \
	} while (0)

/**
 * struct next_owner - what the processes of one test share
 * @stage: of the hostile program, its own numbers
 * @attack: what it may go on with
 * @verify: next owners: look at your memory and end
 * @ready: next owners that have their memory
 * @owned: frames of the target that they have
 * @frames: of the target, sorted
 * @seen: where the program's GPU puts what it reads in the target
 */
struct next_owner {
	_Atomic uint32_t stage;
	_Atomic uint32_t attack;
	_Atomic uint32_t verify;
	_Atomic uint32_t ready;
	_Atomic uint32_t owned;
	uint64_t frames[TARGET_PAGES];
	uint32_t seen[TARGET_BYTES / 4] __attribute__((aligned(PAGE)));
};

void *shared_memory(size_t size);
int await_word(const _Atomic uint32_t *word, uint32_t least, int timeout_ms);
int wait_pins_at_most(long pins, int timeout_ms);

int next_owner_note(struct next_owner *owner, const void *target);
int next_owner_take(struct next_owner *owner, pid_t pids[NEXT_OWNERS], int timeout_ms);
int next_owner_check(struct next_owner *owner, const pid_t pids[NEXT_OWNERS]);
long next_owner_leaked(const struct next_owner *owner);

#endif /* NEXT_OWNER_H */
