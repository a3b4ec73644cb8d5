/* SPDX-License-Identifier: MIT */
/*
 * process: is this still the process that it was?
 */
#ifndef USERPTR_PROCESS_H
#define USERPTR_PROCESS_H

#include <stdint.h>

uint64_t process_generation(void);

#endif /* USERPTR_PROCESS_H */
