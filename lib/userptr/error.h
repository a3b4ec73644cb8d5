/* SPDX-License-Identifier: MIT */
/*
 * error: what went wrong last, in words, for each thread
 */
#ifndef USERPTR_ERROR_H
#define USERPTR_ERROR_H

#include <stdint.h>

struct virtgpu_userptr;

int error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
int error_create(const struct virtgpu_userptr *ctx, int error, uint64_t addr, uint64_t size,
		 int rdonly);

#endif /* USERPTR_ERROR_H */
