/* SPDX-License-Identifier: MIT */
/*
 * The device: what all rooms of the model share.
 *
 * The model is a software amdgpu.  From above, it is what user space sees of the real driver:
 * ioctls, GEM handles, GPU addresses, fences.  From below, there is no hardware but threads that
 * read command buffers and do what these say.
 *
 *	agm_drv		opens and closes files, the table of ioctls
 *	agm_pci		the PCI function that the device is
 *	agm_asic, agm_info	which chip it says it is
 *	agm_bo, agm_prime, agm_userptr	memory
 *	agm_vm, agm_va, agm_access	GPU addresses
 *	agm_ctx, agm_cs, agm_sync, agm_ring	who submits what, and when it runs
 *	agm_sdma, agm_pm4	what the engines understand
 *
 * Locks, from the outermost to the innermost:
 *
 *	mmap_lock > agm_file.lock > agm_ctx.submit > reservations (root of a VM,
 *	objects) > notifier_lock >
 *	agm_ring.lock > agm_vm.lock > agm_bo.lock
 *
 * The engines take only the last three, and allocate nothing, so that a fence never depends on
 * memory that reclaim cannot find because it waits for that fence.
 */
#ifndef AGM_DEVICE_H
#define AGM_DEVICE_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>

/* Rings of the chip: one for graphics, and per type what agm_asic.c says. */
#define AGM_GFX_RINGS 1
#define AGM_COMPUTE_RINGS 4
#define AGM_SDMA_RINGS 2
#define AGM_RINGS (AGM_GFX_RINGS + AGM_COMPUTE_RINGS + AGM_SDMA_RINGS)

struct agm_ring;
struct agm_vm;
struct workqueue_struct;

/**
 * struct agm_pool - memory of one kind that can run out
 * @size: bytes in all
 * @used: bytes that objects have taken
 * @limit: what debugfs set instead of @size, for tests that run out of it
 */
struct agm_pool {
	u64 size;
	atomic64_t used;
	u64 limit;
};

/**
 * struct agm_stats - what was done, for tests and for the demo
 * @jobs: that ended, in whatever way
 * @faults: accesses without a translation or without the right bit
 * @bad_packets: jobs that ended because of a packet
 * @sdma_packets: that SDMA engines executed
 * @pm4_packets: that GFX and COMPUTE engines executed
 * @bytes_copied: by any engine
 * @bytes_filled: by any engine
 * @bytes_written: by packets that carry data
 * @draws: draws and dispatches, which were not executed
 * @invalidations: of userptr objects, by the host's memory management
 * @user_pages: pages that userptr objects got, each time they got them
 * @objects: of any kind, that there are now
 */
struct agm_stats {
	atomic64_t jobs;
	atomic64_t faults;
	atomic64_t bad_packets;
	atomic64_t sdma_packets;
	atomic64_t pm4_packets;
	atomic64_t bytes_copied;
	atomic64_t bytes_filled;
	atomic64_t bytes_written;
	atomic64_t draws;
	atomic64_t invalidations;
	atomic64_t user_pages;
	atomic64_t objects;
};

/**
 * struct agm_device - one software amdgpu
 * @drm: the DRM device
 * @vram: its own memory
 * @gtt: the system's memory that it may use
 * @notifier_lock: held where userptr objects must stay valid, as the real driver's
 * @rings: its engines
 * @wq: for what an engine must not do itself, as giving back memory
 * @hold: bit mask of the rings that start no job
 * @step: so many jobs are started in spite of @hold
 * @stats: counters
 */
struct agm_device {
	struct drm_device drm;
	struct agm_pool vram;
	struct agm_pool gtt;
	struct mutex notifier_lock; /* validity of userptr objects */
	struct agm_ring *rings[AGM_RINGS];
	struct workqueue_struct *wq;
	atomic_t hold;
	atomic_t step;
	struct agm_stats stats;
};

#define to_agm(d) container_of_const(d, struct agm_device, drm)

/**
 * struct agm_file - one open file: an address space and what it named
 * @dev: the device
 * @vm: its GPU address space
 * @ctxs: contexts by id
 * @bo_lists: lists of objects by id
 * @lock: for the two arrays
 */
struct agm_file {
	struct agm_device *dev;
	struct agm_vm *vm;
	struct xarray ctxs;
	struct xarray bo_lists;
	struct mutex lock; /* ctxs, bo_lists */
};

static inline struct agm_file *to_agm_file(struct drm_file *filp)
{
	return filp->driver_priv;
}

#define AGM_IOCTL(name) int name(struct drm_device *drm, void *data, struct drm_file *filp)

AGM_IOCTL(agm_info_ioctl);
AGM_IOCTL(agm_ctx_ioctl);
AGM_IOCTL(agm_bo_list_ioctl);
AGM_IOCTL(agm_cs_ioctl);
AGM_IOCTL(agm_wait_cs_ioctl);
AGM_IOCTL(agm_wait_fences_ioctl);
AGM_IOCTL(agm_fence_to_handle_ioctl);
AGM_IOCTL(agm_gem_create_ioctl);
AGM_IOCTL(agm_gem_mmap_ioctl);
AGM_IOCTL(agm_gem_metadata_ioctl);
AGM_IOCTL(agm_gem_op_ioctl);
AGM_IOCTL(agm_gem_wait_idle_ioctl);
AGM_IOCTL(agm_gem_va_ioctl);
AGM_IOCTL(agm_gem_userptr_ioctl);
AGM_IOCTL(agm_vm_ioctl);
AGM_IOCTL(agm_sched_ioctl);

void agm_debugfs_init(struct drm_minor *minor);

/* agm_drv.c */
struct agm_device *agm_device_create(struct device *parent);
void agm_device_remove(struct agm_device *dev);

/* agm_pci.c */
int agm_pci_plug(void);
void agm_pci_unplug(void);

#endif
