// SPDX-License-Identifier: MIT
/*
 * A software amdgpu: the driver that DRM sees.
 *
 * It answers to the name and the version of the real driver of this kernel, so that programs take
 * it for one, and it executes what they submit, as far as that is copying, filling, writing and
 * waiting. It is an instrument for tests, on a machine without a card: drivers of the host side
 * that use libdrm_amdgpu, and what they do with memory, fences, and processes that die.
 *
 * It must not be loaded beside the real driver; there is nothing in it that would make that
 * dangerous, but both register a PCI driver of one name.
 *
 * Lifetime: the PCI function has the DRM device; files, exported buffers and DRM's own references
 * keep it after the function is gone.  Engines are stopped when the function goes, so from then on
 * no job runs; the objects that are left have nothing but memory.
 */

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/amdgpu_drm.h>
#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_prime.h>

#include "agm_bo.h"
#include "agm_bo_list.h"
#include "agm_ctx.h"
#include "agm_ring.h"
#include "agm_vm.h"

static unsigned int agm_vram_mb = 256;
module_param_named(vram_mb, agm_vram_mb, uint, 0444);
MODULE_PARM_DESC(vram_mb, "Size of the device's own memory in MiB");

/* For what outlives the device: the last file may be closed long after it is gone. */
static struct workqueue_struct *agm_wq;

static int agm_open(struct drm_device *drm, struct drm_file *filp)
{
	struct agm_file *file = kzalloc_obj(*file);

	if (!file)
		return -ENOMEM;
	file->dev = to_agm(drm);
	mutex_init(&file->lock);
	xa_init_flags(&file->ctxs, XA_FLAGS_ALLOC);
	xa_init_flags(&file->bo_lists, XA_FLAGS_ALLOC);
	file->vm = agm_vm_create(file->dev);
	if (!file->vm) {
		kfree(file);
		return -ENOMEM;
	}
	filp->driver_priv = file;
	return 0;
}

/* Handles are closed already.  What jobs need they hold themselves. */
static void agm_postclose(struct drm_device *drm, struct drm_file *filp)
{
	struct agm_file *file = to_agm_file(filp);

	agm_ctx_free_all(file);
	agm_bo_list_free_all(file);
	agm_vm_close(file->vm);
	mutex_destroy(&file->lock);
	kfree(file);
}

#define AGM_IOCTL_DEF(name, func) DRM_IOCTL_DEF_DRV(name, func, DRM_AUTH | DRM_RENDER_ALLOW)

static const struct drm_ioctl_desc agm_ioctls[] = {
	AGM_IOCTL_DEF(AMDGPU_GEM_CREATE, agm_gem_create_ioctl),
	AGM_IOCTL_DEF(AMDGPU_GEM_MMAP, agm_gem_mmap_ioctl),
	AGM_IOCTL_DEF(AMDGPU_CTX, agm_ctx_ioctl),
	AGM_IOCTL_DEF(AMDGPU_BO_LIST, agm_bo_list_ioctl),
	AGM_IOCTL_DEF(AMDGPU_CS, agm_cs_ioctl),
	AGM_IOCTL_DEF(AMDGPU_INFO, agm_info_ioctl),
	AGM_IOCTL_DEF(AMDGPU_GEM_METADATA, agm_gem_metadata_ioctl),
	AGM_IOCTL_DEF(AMDGPU_GEM_WAIT_IDLE, agm_gem_wait_idle_ioctl),
	AGM_IOCTL_DEF(AMDGPU_GEM_VA, agm_gem_va_ioctl),
	AGM_IOCTL_DEF(AMDGPU_WAIT_CS, agm_wait_cs_ioctl),
	AGM_IOCTL_DEF(AMDGPU_GEM_OP, agm_gem_op_ioctl),
	AGM_IOCTL_DEF(AMDGPU_GEM_USERPTR, agm_gem_userptr_ioctl),
	AGM_IOCTL_DEF(AMDGPU_WAIT_FENCES, agm_wait_fences_ioctl),
	AGM_IOCTL_DEF(AMDGPU_VM, agm_vm_ioctl),
	AGM_IOCTL_DEF(AMDGPU_FENCE_TO_HANDLE, agm_fence_to_handle_ioctl),
	AGM_IOCTL_DEF(AMDGPU_SCHED, agm_sched_ioctl),
};

DEFINE_DRM_GEM_FOPS(agm_fops);

static const struct drm_driver agm_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ | DRIVER_SYNCOBJ_TIMELINE,
	.open = agm_open,
	.postclose = agm_postclose,
	.ioctls = agm_ioctls,
	.num_ioctls = ARRAY_SIZE(agm_ioctls),
	.fops = &agm_fops,
	.gem_prime_import = agm_prime_import,
	.debugfs_init = agm_debugfs_init,
	.name = "amdgpu",
	.desc = "AMD GPU",
	/* Of the real driver in Linux 7.3. */
	.major = 3,
	.minor = 64,
	.patchlevel = 0,
};

static void agm_pools_init(struct agm_device *dev)
{
	dev->vram.size = (u64)agm_vram_mb << 20;
	dev->vram.limit = dev->vram.size;
	dev->gtt.size = (u64)totalram_pages() << PAGE_SHIFT >> 1;
	dev->gtt.limit = dev->gtt.size;
}

static void agm_device_stop(struct agm_device *dev)
{
	agm_rings_stop(dev);
	flush_workqueue(dev->wq);
	/* Somebody may still read the name of a ring. */
	synchronize_rcu();
	agm_rings_free(dev);
}

struct agm_device *agm_device_create(struct device *parent)
{
	struct agm_device *dev;
	int ret;

	dev = devm_drm_dev_alloc(parent, &agm_driver, struct agm_device, drm);
	if (IS_ERR(dev))
		return dev;
	mutex_init(&dev->notifier_lock);
	/* In reclaim the notifier waits with this lock held. */
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(&dev->notifier_lock);
	fs_reclaim_release(GFP_KERNEL);
	agm_pools_init(dev);
	dev->wq = agm_wq;
	ret = agm_rings_create(dev);
	if (!ret)
		ret = drm_dev_register(&dev->drm, 0);
	if (!ret)
		return dev;
	agm_device_stop(dev);
	return ERR_PTR(ret);
}

/* The function is gone: jobs in flight are cancelled, files live on and get -ENODEV. */
void agm_device_remove(struct agm_device *dev)
{
	drm_dev_unplug(&dev->drm);
	agm_device_stop(dev);
}

static int __init agm_init(void)
{
	int ret;

	agm_wq = alloc_workqueue("amdgpu-model", WQ_UNBOUND, 0);
	if (!agm_wq)
		return -ENOMEM;
	ret = agm_pci_plug();
	if (ret)
		destroy_workqueue(agm_wq);
	return ret;
}

static void __exit agm_exit(void)
{
	agm_pci_unplug();
	destroy_workqueue(agm_wq);
	/* Nobody is in the names of our fences any more. */
	synchronize_rcu();
}

module_init(agm_init);
module_exit(agm_exit);

MODULE_DESCRIPTION("A software amdgpu for tests");
MODULE_LICENSE("Dual MIT/GPL");
