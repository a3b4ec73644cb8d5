/* SPDX-License-Identifier: MIT */
/*
 * guest_memory: guest-physical ranges to places in RAM files, checked
 *
 * The front end (the VMM) describes guest RAM as regions, each a window of a
 * file (see ram_file.h).  What a resource is made of stays mapped when the front
 * end changes the table.
 *
 * Nothing here knows a VMM, vhost-user or virtio-gpu type.
 *
 * Threads: one thread sets the table, and it alone may use what is said to be
 * borrowed.  Everything else can be called by any.
 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/ram_file.h"

#define GUEST_MEMORY_MAX_REGIONS 64

struct guest_memory;

/**
 * struct guest_region - one region as the front end describes it
 * @guest_addr: guest-physical address of its first byte
 * @size: bytes
 * @user_addr: the front end's own address of it (ring addresses are given so)
 * @fd_offset: bytes into the file
 * @fd: the file; stays the caller's
 */
struct guest_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t fd_offset;
	int fd;
};

/*
 * All functions that can fail return 0 or a negative errno, and leave their
 * outputs alone when they fail.
 */

struct guest_memory *guest_memory_new(void);
void guest_memory_free(struct guest_memory *gm);

/*
 * Replace the whole table.  Refused as a whole (-EINVAL): more than
 * GUEST_MEMORY_MAX_REGIONS, size 0, an address or file range that wraps,
 * guest or user ranges that overlap, a file that ends before its region.
 * Runs taken from the old table stay valid.
 */
int guest_memory_set(struct guest_memory *gm, const struct guest_region *regions, unsigned int nr);

/*
 * The pieces that [addr, addr + len) lies in, in @runs; each with a reference, for
 * runs_put().  A range may cross regions that are adjacent in guest addresses.
 * -EFAULT: a byte of it is not in guest memory; -E2BIG: more than @max pieces;
 * -EINVAL: len 0.  Returns the number of pieces.
 */
int guest_memory_take(struct guest_memory *gm, uint64_t addr, uint64_t len, struct run *runs,
		      unsigned int max);
void runs_put(struct run *runs, unsigned int nr);
/* The same, borrowed: without references, and good until the next guest_memory_set(). */
int guest_memory_resolve(struct guest_memory *gm, uint64_t addr, uint64_t len, struct run *runs,
			 unsigned int max);

/* A host pointer to [addr, addr + len) if it is contiguous here, else NULL; borrowed. */
void *guest_memory_pointer(struct guest_memory *gm, uint64_t addr, uint64_t len);
/* The same for an address in the front end's own address space. */
void *guest_memory_user_pointer(struct guest_memory *gm, uint64_t user_addr, uint64_t len);

/* Checked copies for small things in untrusted memory; -EFAULT. */
int guest_memory_read(struct guest_memory *gm, uint64_t addr, void *to, size_t len);
int guest_memory_write(struct guest_memory *gm, uint64_t addr, const void *from, size_t len);

/* Bytes of guest memory, regions of the same file counted as often as they are there. */
uint64_t guest_memory_bytes(struct guest_memory *gm);

/*
 * The RAM files of the table, each once, in @files, of which there are
 * GUEST_MEMORY_MAX_REGIONS; each with a reference.  Returns how many.
 */
unsigned int guest_memory_files(struct guest_memory *gm, struct ram_file **files);
/*
 * The RAM file of region @index (from 0, in the order of guest addresses), or
 * NULL beyond the last; borrowed until the next guest_memory_set().  Regions of
 * the same file each name it.
 */
struct ram_file *guest_memory_file(const struct guest_memory *gm, unsigned int index);
/*
 * Whether a file of the table is damaged (see ram_file_damaged()); the first time for
 * each file that is logged.
 */
bool guest_memory_damaged(struct guest_memory *gm);
/* How many tables were set, this one included. */
uint64_t guest_memory_generation(struct guest_memory *gm);

#endif /* GUEST_MEMORY_H */
