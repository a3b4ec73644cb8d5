/* SPDX-License-Identifier: MIT */
/* Rings, and the engines behind them; see agm_ring.c. */
#ifndef AGM_RING_H
#define AGM_RING_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "agm_device.h"

struct agm_engine;
struct agm_job;
struct task_struct;

/**
 * struct agm_ring - a queue of jobs and the thread that runs them
 * @dev: the device
 * @name: as in debugfs, for example "sdma0"
 * @index: in agm_device.rings, and its bit in agm_device.hold
 * @type: AMDGPU_HW_IP_*
 * @lock: for @jobs
 * @jobs: that wait, in the order of submission
 * @scan: number of the search that is going on
 * @wait: where the thread waits for a job that is ready
 * @thread: the engine
 * @engine: its state
 * @stopping: the device goes away; jobs are cancelled
 */
struct agm_ring {
	struct agm_device *dev;
	char name[16];
	unsigned int index;
	u32 type;
	spinlock_t lock; /* jobs */
	struct list_head jobs;
	u64 scan;
	wait_queue_head_t wait;
	struct task_struct *thread;
	struct agm_engine *engine;
	bool stopping;
};

int agm_rings_create(struct agm_device *dev);
void agm_rings_stop(struct agm_device *dev);
void agm_rings_free(struct agm_device *dev);
void agm_rings_wake(struct agm_device *dev);
int agm_ring_index(u32 ip_type, u32 ring);
unsigned int agm_ring_pending(struct agm_ring *ring);
void agm_ring_push(struct agm_job *job);

#endif
