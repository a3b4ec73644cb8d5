/* SPDX-License-Identifier: MIT */
/*
 * device: the whole device, as the program puts it together
 *
 * Only this file knows how.  There is one at a time.
 *
 * Threads: the caller's is the server's, when it steps; the device has one of its own.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct gpu_config;
struct guest_memory;

/* What the targets begin with; limits that an input can reach. */
void device_config(struct gpu_config *config);
/*
 * A device that serves the front end at @fd, which it takes; @patience: how many
 * milliseconds a reset may take.  False: it cannot be had.
 */
bool device_open(const struct gpu_config *config, int fd, unsigned int patience);
/* Handle one event, waiting for it so long at most; false: there was none. */
bool device_step(int timeout_ms);
/* Whether there is an event, waiting for it so many microseconds of real time. */
bool device_wait(unsigned int us);
/* The front end is gone, and no other one can come. */
bool device_finished(void);
struct guest_memory *device_memory(void);
/* Hang up, let the device end, and look whether everything is given back. */
void device_close(void);

#endif /* DEVICE_H */
