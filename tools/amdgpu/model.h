/* SPDX-License-Identifier: MIT */
/*
 * model: the software amdgpu of the host, as a guest can reach it
 *
 * By what scripts/qemu-run does on the host when it is asked to: only the process whose
 * standard input is the runner's can ask.  What the files mean is in
 * tools/testing/amdgpu-model/agm_debugfs.c.  Functions return 0 or a negative errno
 * unless said otherwise.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* All of its rings. */
#define MODEL_HOLD_ALL 0x7fu

bool model_there(void);
int model_hold(uint32_t rings);
long model_stat(const char *name);
int model_wait_stat(const char *name, long least, int timeout_ms);
long device_stat(const char *name);

#endif /* MODEL_H */
