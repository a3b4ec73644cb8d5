/* SPDX-License-Identifier: MIT */
/* Jobs: one submission, from the ioctl to the end of its fence; see agm_ring.c. */
#ifndef AGM_JOB_H
#define AGM_JOB_H

#include <linux/atomic.h>
#include <linux/dma-fence.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct agm_bo;
struct agm_ctx;
struct agm_device;
struct agm_entity;
struct agm_job;
struct agm_vm;

/**
 * struct agm_job_ib - a command buffer
 * @va: its GPU address
 * @dwords: its length
 */
struct agm_job_ib {
	u64 va;
	u32 dwords;
};

/**
 * struct agm_job_dep - a fence that a job waits for
 * @cb: in the fence
 * @fence: the fence
 * @job: the job
 */
struct agm_job_dep {
	struct dma_fence_cb cb;
	struct dma_fence *fence;
	struct agm_job *job;
};

/**
 * struct agm_job - a submission
 * @ring_link: in agm_ring.jobs
 * @vm_link: in agm_vm.jobs
 * @dev: the device
 * @ctx: in which it was made
 * @entity: of @ctx
 * @vm: its address space
 * @version: of @vm, that it sees
 * @fence: signals at its end
 * @deps: what it waits for
 * @num_deps: how many
 * @waits: how many of them have not signalled; and one while they are being set up
 * @uf_bo: where the number of the submission is written to at the end, or NULL
 * @uf_offset: where in it
 * @freeing: gives everything back
 * @num_ibs: how many command buffers
 * @ibs: the command buffers, executed in order
 */
struct agm_job {
	struct list_head ring_link;
	struct list_head vm_link;
	struct agm_device *dev;
	struct agm_ctx *ctx;
	struct agm_entity *entity;
	struct agm_vm *vm;
	u64 version;
	struct dma_fence *fence;
	struct agm_job_dep *deps;
	unsigned int num_deps;
	atomic_t waits;
	struct agm_bo *uf_bo;
	u32 uf_offset;
	struct work_struct freeing;
	unsigned int num_ibs;
	struct agm_job_ib ibs[];
};

struct agm_job *agm_job_alloc(struct agm_device *dev, unsigned int num_ibs);
void agm_job_free(struct agm_job *job);

#endif
