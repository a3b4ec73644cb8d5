/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_card: an amdgpu and libdrm, played
 *
 * Each client that is opened has handles, amdgpu contexts, mappings and jobs of its own,
 * as the kernel's has, and numbers that no other client has, so that one that is taken
 * for another's is known.  Jobs are over when it is said so.
 *
 * Judged: handles that a client does not have, or not any more; amdgpu contexts likewise;
 * chunks that a guest must not send; memory that is not to be written, and is mapped
 * writeable; a fence that the kernel would write to guest memory; what is left of a
 * client.  Structs are read and written as long as they are said to be, which is for
 * the sanitizers to judge.
 *
 * Threads: any; a lock of its own.
 */
#ifndef AMDGPU_CARD_H
#define AMDGPU_CARD_H

#include <stdbool.h>
#include <stdint.h>

/* Nobody has opened it; which of the next ioctls that make something fail, in bits. */
void card_begin(uint32_t refusals);
/* Everybody has closed it, and jobs are over. */
void card_end(void);
/*
 * Guest memory: a dma-buf, whose descriptor is the caller's, or, with @address, what
 * GEM_USERPTR may be told of.  @what is its number, not 0.
 */
int card_guest_dmabuf(uint64_t what, uint64_t size, bool readonly);
void card_guest_range(uint64_t what, uint64_t address, uint64_t size, bool readonly);
/* It is the guest's own again. */
void card_forget(uint64_t what);
/* Whether a handle for it is open, or a job not over that began while one was. */
bool card_reaches(uint64_t what);
/* The oldest @nr jobs that are not over are. */
void card_finish(unsigned int nr);
/* All are, and those that are to come as soon as they begin. */
void card_settle(void);
/* How many are not. */
unsigned int card_jobs(void);

#endif /* AMDGPU_CARD_H */
