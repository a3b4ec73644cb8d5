/* SPDX-License-Identifier: MIT */
/*
 * memlock: how much memory this process may lock
 */
#ifndef USERPTR_MEMLOCK_H
#define USERPTR_MEMLOCK_H

#include <stdint.h>

uint64_t memlock_limit(void);

#endif /* USERPTR_MEMLOCK_H */
