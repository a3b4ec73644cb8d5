/* SPDX-License-Identifier: MIT */
/*
 * kfd: what hsaKmtOpenKFD() opens, and the files of this library share
 *
 * A *buffer* is memory that was registered or allocated, with its address on the GPU
 * while it is mapped.
 *
 * Locking: &kfd.lock protects all of it, and is held while the GPU and
 * libvirtgpu-userptr are called; the latter calls back only in the thread that
 * watches, and without a lock of its own.  &kfd.opening is held for as long as opening
 * and closing take, in which that thread starts and ends.
 */
#ifndef HSAKMT_KFD_H
#define HSAKMT_KFD_H

#include <pthread.h>
#include <stdatomic.h>

#include "gpu.h"
#include "interval.h"
#include "virtgpu-userptr.h"

/* Nodes of the topology. */
#define NODE_CPU 0
#define NODE_GPU 1
#define NR_NODES 2

/**
 * struct buffer - memory that was registered or allocated
 * @node: its bytes
 * @reg: its registration
 * @registered: times
 * @mapped: times
 * @va: address on the GPU of the page that it begins in, while it is mapped
 * @execute: the GPU may fetch instructions
 * @allocated: it is this library's memory
 */
struct buffer {
	struct interval_node node;
	struct virtgpu_userptr_reg reg;
	unsigned int registered;
	unsigned int mapped;
	uint64_t va;
	bool execute;
	bool allocated;
};

/**
 * struct kfd - what is open
 * @opening: see above
 * @lock: see above
 * @opened: times
 * @ready: of which process the locks are; see begin()
 * @ops: backend
 * @gpu: its
 * @ctx: registrations
 * @watcher: thread that learns of what is freed
 * @stop_fd: readable when it is to end
 * @buffers: by address
 * @snapshot: of the topology; taken or not
 */
struct kfd {
	pthread_mutex_t opening;
	pthread_mutex_t lock;
	unsigned int opened;
	_Atomic uint64_t ready;
	const struct hsakmt_gpu_ops *ops;
	struct hsakmt_gpu *gpu;
	struct virtgpu_userptr *ctx;
	pthread_t watcher;
	int stop_fd;
	struct interval_tree buffers;
	bool snapshot;
};

extern struct kfd kfd;

bool kfd_enter(void);
void kfd_leave(void);
HSAKMT_STATUS kfd_status(int error);
void memory_revoked(void *data, const struct virtgpu_userptr_reg *reg);
void memory_forget_all(void);

#endif /* HSAKMT_KFD_H */
