/* SPDX-License-Identifier: MIT */
/*
 * gpu_thread: a gpu_device on a thread of its own, for a server that never waits
 *
 * The server's thread puts work into a queue, and takes out of another one what the
 * device has to say: see vhost/backend.h, which this is the other side of.  Both
 * queues keep the order.  The queue of work is bounded in requests and bytes; what
 * is in the other one is bounded by the requests that are not over.
 *
 * Everything of gpu_device and below runs on the device's thread only, and may take
 * its time there.  What the server wants to know at once, and what never changes, was
 * asked when the device was made.
 *
 * Threads: all functions are called by the server's.
 */
#ifndef GPU_THREAD_H
#define GPU_THREAD_H

#include <stdbool.h>
#include <stdio.h>

#include "vhost/backend.h"

struct gpu_config;
struct gpu_thread;
struct guest_memory;

/* The device of @config, and its thread.  NULL: it cannot be had, errno says why. */
struct gpu_thread *gpu_thread_new(const struct gpu_config *config, struct guest_memory *gm);
/*
 * End the device.  false: it does not end within @timeout_ms, and then nothing was
 * freed, and all that is left is to end the process.
 */
bool gpu_thread_free(struct gpu_thread *thread, unsigned int timeout_ms);

/* What a server serves; the first argument is the struct gpu_thread. */
extern const struct vhost_backend_ops gpu_thread_ops;

/*
 * The statistics of the device and of its thread, one "name: value" a line.  Of a
 * device that is at something they are those of when it last began with something,
 * or at most 250 ms older.
 */
void gpu_thread_print_stats(struct gpu_thread *thread, FILE *to);

#endif /* GPU_THREAD_H */
