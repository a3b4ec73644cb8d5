// SPDX-License-Identifier: MIT
/*
 * Rings: when a job runs.
 *
 * Behind each ring is a thread, the engine.  A job is ready when all fences that it waits for have
 * signalled and no older job of its entity is in the ring; the engine takes the oldest one that is
 * ready.  So one program that waits for something that never comes stands in nobody's way, which is
 * what the DRM scheduler does for the real driver.
 *
 * Time is controllable: a ring whose bit is set in agm_device.hold takes no job.  Jobs that are
 * held are in flight for all purposes: their fences are in reservations, their mappings stay, also
 * when the process that submitted them is dead:
 * the real driver cancels what a killed process has not got to the hardware yet, the model
 * cancels nothing, which is the worse case for who waits.
 *
 * The end of a job is on the path to a fence, so from there until all is signalled no memory is
 * allocated and no lock taken under which others do; lockdep knows by
 * dma_fence_begin_signalling().  What a job holds is given back by a work item.
 *
 * A job holds a reference of the module: the fences' code must not go while they can be asked.
 * Once signalled, a fence is independent of the driver.
 */

#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <linux/device.h>

#include "agm_asic.h"
#include "agm_bo.h"
#include "agm_ctx.h"
#include "agm_engine.h"
#include "agm_fence.h"
#include "agm_job.h"
#include "agm_ring.h"
#include "agm_vm.h"

/**
 * struct agm_fence - a fence of the model
 * @base: the fence
 * @timeline: its name
 * @owner: the address space of the job, for implicit synchronisation; only compared
 */
struct agm_fence {
	struct dma_fence base;
	const char *timeline;
	const void *owner;
};

static const char *agm_fence_driver(struct dma_fence *fence)
{
	return "amdgpu";
}

static const char *agm_fence_timeline(struct dma_fence *fence)
{
	return container_of(fence, struct agm_fence, base)->timeline;
}

static const struct dma_fence_ops agm_fence_ops = {
	.get_driver_name = agm_fence_driver,
	.get_timeline_name = agm_fence_timeline,
};

struct dma_fence *agm_fence_create(const char *timeline, u64 context, u64 seqno)
{
	struct agm_fence *fence = kzalloc_obj(*fence);

	if (!fence)
		return NULL;
	fence->timeline = timeline;
	dma_fence_init64(&fence->base, &agm_fence_ops, NULL, context, seqno);
	return &fence->base;
}

void agm_fence_set_owner(struct dma_fence *fence, const void *vm)
{
	container_of(fence, struct agm_fence, base)->owner = vm;
}

/* Whether @fence is that of a job in @vm.  Says no for what has signalled. */
bool agm_fence_of_vm(struct dma_fence *fence, const void *vm)
{
	bool ours;

	rcu_read_lock();
	ours = rcu_dereference(fence->ops) == &agm_fence_ops;
	rcu_read_unlock();
	return ours && container_of(fence, struct agm_fence, base)->owner == vm;
}

static void agm_job_free_work(struct work_struct *work)
{
	agm_job_free(container_of(work, struct agm_job, freeing));
}

/* A job that has nothing yet but a reference of the module. */
struct agm_job *agm_job_alloc(struct agm_device *dev, unsigned int num_ibs)
{
	struct agm_job *job = kzalloc_flex(*job, ibs, num_ibs);

	if (!job)
		return NULL;
	__module_get(THIS_MODULE);
	job->dev = dev;
	job->num_ibs = num_ibs;
	atomic_set(&job->waits, 1);
	INIT_WORK(&job->freeing, agm_job_free_work);
	return job;
}

void agm_job_free(struct agm_job *job)
{
	unsigned int i;

	for (i = 0; i < job->num_deps; i++)
		dma_fence_put(job->deps[i].fence);
	kvfree(job->deps);
	if (job->uf_bo)
		agm_bo_put(job->uf_bo);
	dma_fence_put(job->fence);
	if (job->ctx)
		agm_ctx_put(job->ctx);
	if (job->vm)
		agm_vm_put(job->vm);
	kfree(job);
	module_put(THIS_MODULE);
}

/* The index of a ring of the device, or a negative error. */
int agm_ring_index(u32 ip_type, u32 ring)
{
	u32 type, index = 0;

	for (type = AMDGPU_HW_IP_GFX; type <= AMDGPU_HW_IP_DMA; type++) {
		if (type == ip_type)
			return ring < agm_asic_rings(type) ? index + ring : -EINVAL;
		index += agm_asic_rings(type);
	}
	return -EINVAL;
}

static void agm_job_dep_done(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct agm_job *job = container_of(cb, struct agm_job_dep, cb)->job;
	struct agm_ring *ring = job->entity->ring;

	/* The job may be gone after this, the ring is not. */
	if (atomic_dec_and_test(&job->waits))
		wake_up(&ring->wait);
}

/**
 * agm_ring_push - give a job to its ring
 * @job: the job, which belongs to the ring from here on
 *
 * Allocates nothing and does not wait.
 */
void agm_ring_push(struct agm_job *job)
{
	struct agm_ring *ring = job->entity->ring;
	unsigned int i;

	spin_lock(&ring->lock);
	list_add_tail(&job->ring_link, &ring->jobs);
	spin_unlock(&ring->lock);
	for (i = 0; i < job->num_deps; i++) {
		job->deps[i].job = job;
		atomic_inc(&job->waits);
		if (dma_fence_add_callback(job->deps[i].fence, &job->deps[i].cb, agm_job_dep_done))
			atomic_dec(&job->waits);
	}
	if (atomic_dec_and_test(&job->waits))
		wake_up(&ring->wait);
}

/* Whether the ring may start a job now; takes a step if it has to. */
static bool agm_ring_may_start(struct agm_ring *ring)
{
	if (!(atomic_read(&ring->dev->hold) & BIT(ring->index)) || READ_ONCE(ring->stopping))
		return true;
	return atomic_dec_if_positive(&ring->dev->step) >= 0;
}

/* The oldest job that is ready, out of the list. */
static struct agm_job *agm_ring_next(struct agm_ring *ring)
{
	struct agm_job *job;

	spin_lock(&ring->lock);
	ring->scan++;
	list_for_each_entry(job, &ring->jobs, ring_link) {
		if (job->entity->scan == ring->scan)
			continue;
		job->entity->scan = ring->scan;
		if (atomic_read(&job->waits))
			continue;
		if (!agm_ring_may_start(ring))
			break;
		list_del_init(&job->ring_link);
		spin_unlock(&ring->lock);
		return job;
	}
	spin_unlock(&ring->lock);
	return NULL;
}

static void agm_job_write_user_fence(struct agm_job *job)
{
	struct agm_bo *bo = job->uf_bo;
	u64 seq = job->fence->seqno;

	if (!bo)
		return;
	spin_lock(&bo->lock);
	if (bo->valid)
		memcpy_to_page(bo->pages[0], job->uf_offset, (char *)&seq, sizeof(seq));
	spin_unlock(&bo->lock);
}

static int agm_job_execute(struct agm_ring *ring, struct agm_job *job)
{
	int ret;

	if (READ_ONCE(ring->stopping))
		return -ENODEV;
	if (atomic_read(&job->ctx->guilty))
		return -ECANCELED;
	ret = agm_engine_run(ring->engine, job);
	if (ret) {
		atomic_set(&job->ctx->guilty, 1);
		/* What the real driver sets when it has stopped a job and nothing else. */
		return -ENODATA;
	}
	agm_job_write_user_fence(job);
	return 0;
}

static void agm_ring_run(struct agm_ring *ring, struct agm_job *job)
{
	struct agm_device *dev = ring->dev;
	bool cookie = dma_fence_begin_signalling();
	int ret = agm_job_execute(ring, job);

	if (ret)
		dma_fence_set_error(job->fence, ret);
	atomic64_inc(&dev->stats.jobs);
	dma_fence_signal(job->fence);
	agm_vm_job_end(job->vm, job);
	dma_fence_end_signalling(cookie);
	queue_work(dev->wq, &job->freeing);
}

static int agm_ring_thread(void *data)
{
	struct agm_ring *ring = data;
	struct agm_job *job;

	while (!kthread_should_stop()) {
		job = NULL;
		wait_event_idle(ring->wait, (job = agm_ring_next(ring)) || kthread_should_stop());
		if (job)
			agm_ring_run(ring, job);
	}
	return 0;
}

/* Jobs in the ring that have not been started. */
unsigned int agm_ring_pending(struct agm_ring *ring)
{
	unsigned int count;

	spin_lock(&ring->lock);
	count = list_count_nodes(&ring->jobs);
	spin_unlock(&ring->lock);
	return count;
}

void agm_rings_wake(struct agm_device *dev)
{
	int i;

	for (i = 0; i < AGM_RINGS; i++)
		wake_up(&dev->rings[i]->wait);
}

/* The job waits for nothing any more. */
static void agm_job_cancel_deps(struct agm_job *job)
{
	unsigned int i;

	for (i = 0; i < job->num_deps; i++) {
		if (dma_fence_remove_callback(job->deps[i].fence, &job->deps[i].cb))
			atomic_dec(&job->waits);
	}
}

static void agm_ring_stop(struct agm_ring *ring)
{
	struct agm_job *job;

	WRITE_ONCE(ring->stopping, true);
	for (;;) {
		spin_lock(&ring->lock);
		list_for_each_entry(job, &ring->jobs, ring_link)
			agm_job_cancel_deps(job);
		spin_unlock(&ring->lock);
		wake_up(&ring->wait);
		if (!agm_ring_pending(ring))
			break;
		schedule_timeout_uninterruptible(1);
	}
	kthread_stop(ring->thread);
	ring->thread = NULL;
}

/* Cancel what is queued and stop the engines.  No job is pushed any more. */
void agm_rings_stop(struct agm_device *dev)
{
	int i;

	for (i = 0; i < AGM_RINGS; i++) {
		if (dev->rings[i] && dev->rings[i]->thread)
			agm_ring_stop(dev->rings[i]);
	}
}

void agm_rings_free(struct agm_device *dev)
{
	int i;

	for (i = 0; i < AGM_RINGS; i++) {
		if (!dev->rings[i])
			continue;
		agm_engine_free(dev->rings[i]->engine);
		kfree(dev->rings[i]);
		dev->rings[i] = NULL;
	}
}

static int agm_ring_create(struct agm_device *dev, u32 type, unsigned int nr)
{
	static const char *const names[] = { "gfx", "compute", "sdma" };
	struct agm_ring *ring = kzalloc_obj(*ring);
	struct task_struct *thread;

	if (!ring)
		return -ENOMEM;
	ring->dev = dev;
	ring->type = type;
	ring->index = agm_ring_index(type, nr);
	snprintf(ring->name, sizeof(ring->name), "%s%u", names[type], nr);
	spin_lock_init(&ring->lock);
	INIT_LIST_HEAD(&ring->jobs);
	init_waitqueue_head(&ring->wait);
	dev->rings[ring->index] = ring;
	ring->engine = agm_engine_create(ring);
	if (!ring->engine)
		return -ENOMEM;
	thread = kthread_run(agm_ring_thread, ring, "amdgpu-%s", ring->name);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	ring->thread = thread;
	return 0;
}

int agm_rings_create(struct agm_device *dev)
{
	unsigned int nr;
	u32 type;
	int ret = 0;

	for (type = AMDGPU_HW_IP_GFX; type <= AMDGPU_HW_IP_DMA && !ret; type++) {
		for (nr = 0; nr < agm_asic_rings(type) && !ret; nr++)
			ret = agm_ring_create(dev, type, nr);
	}
	return ret;
}
