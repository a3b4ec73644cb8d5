/* SPDX-License-Identifier: MIT */
/*
 * userptr_commands: CREATE, ADD and DESTROY that make sense
 *
 * Threads: one.
 */
#ifndef USERPTR_COMMANDS_H
#define USERPTR_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

#include "fuzz/fuzz.h"

/* Ids of resources are from 1 to this. */
#define FUZZ_MAX_ID 8
/* Entries of a command that was made here, at most. */
#define FUZZ_MAX_ENTRIES 12
#define FUZZ_ENTRY 16
/* Bytes of the structs, which entries follow. */
#define FUZZ_CREATE 48
#define FUZZ_ADD 40
#define FUZZ_DESTROY 32

/* Some entries; returns how many bytes they describe. */
uint64_t fuzz_fill_entries(struct fuzz_random *random, uint8_t *data, uint32_t nr);

/*
 * All commands of a new resource @id into records of @op: a CREATE and, where it says
 * so, some ADDs.
 */
void fuzz_make_userptr(struct fuzz_random *random, struct fuzz_maker *maker, uint8_t op,
		       uint8_t arg, uint32_t id);
void fuzz_make_destroy(struct fuzz_maker *maker, uint8_t op, uint8_t arg, uint32_t id);

/* Change one of these commands.  Returns its new length; there is room for FUZZ_MAX_DATA. */
size_t fuzz_touch_userptr(struct fuzz_random *random, uint8_t *data, size_t len);

#endif /* USERPTR_COMMANDS_H */
