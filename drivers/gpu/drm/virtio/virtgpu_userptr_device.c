// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: probe, removal, suspend, the release worker
 *
 * When the device goes away, its access to memory ends in this order, and the
 * pages are unpinned after the last step only:
 *
 *	remove		virtio_gpu_userptr_stop(), reset, queues deleted,
 *			virtio_gpu_userptr_fini()
 *	suspend		virtio_gpu_userptr_suspend(), reset, queues deleted,
 *			virtio_gpu_userptr_lost(), later virtio_gpu_userptr_resume()
 *
 * A transport whose reset does not reach the device (virtio_uml) takes the
 * queues away from it by deleting them.
 *
 * &virtio_gpu_userptr_device.lock is all that is taken here, and nothing is
 * called under it.
 */

#include <linux/cleanup.h>
#include <linux/log2.h>
#include <linux/pid.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include <kunit/visibility.h>

#include "virtgpu_userptr.h"

/* The coarsest alignment that makes sense: what a huge page of a host has. */
#define VIRTIO_GPU_USERPTR_MAX_ALIGN	SZ_2M

/* The next resource to ask the device to destroy, with a reference, or NULL. */
static struct virtio_gpu_object_userptr *userptr_next_release(struct virtio_gpu_userptr_device *u)
{
	struct virtio_gpu_object_userptr *userptr;

	guard(spinlock)(&u->lock);
	if (u->gone || u->suspended)
		return NULL;

	userptr = list_first_entry_or_null(&u->releases, struct virtio_gpu_object_userptr,
					   release_node);
	if (userptr)
		virtio_gpu_userptr_get(userptr);
	return userptr;
}

static bool userptr_release_may_go_on(struct virtio_gpu_userptr_device *u)
{
	return virtio_gpu_ctrlq_room(u->vgdev) || READ_ONCE(u->suspended) || READ_ONCE(u->gone);
}

static void userptr_release_work(struct work_struct *work)
{
	struct virtio_gpu_userptr_device *u =
		container_of(work, struct virtio_gpu_userptr_device, release_work);
	struct virtio_gpu_object_userptr *userptr;
	int ret = 0;

	/* If there is no device any more whoever resets it unpins. */
	while (ret != -ENODEV && (userptr = userptr_next_release(u))) {
		ret = virtio_gpu_userptr_cmd_destroy(u->vgdev, userptr);
		if (!ret)
			virtio_gpu_userptr_unlist(userptr, &userptr->release_node);
		virtio_gpu_userptr_put(userptr);

		/* The queue wakes us up; idle, since the device may be silent. */
		if (ret == -ENOSPC)
			wait_event_idle(u->vgdev->ctrlq.ack_queue, userptr_release_may_go_on(u));
	}
}

/**
 * virtio_gpu_userptr_available() - can anything be registered here?
 * @vgdev: device
 *
 * Return: true if so.
 */
bool virtio_gpu_userptr_available(struct virtio_gpu_device *vgdev)
{
	return vgdev->userptr && vgdev->userptr->limits.max_size;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_available);

/*
 * References to all objects of the device, *@nr of them, or NULL if there are
 * none or no memory for them.  What is added later is not among them.
 */
static struct virtio_gpu_object_userptr **
userptr_get_all(struct virtio_gpu_userptr_device *u, size_t *nr)
{
	struct virtio_gpu_object_userptr *userptr, **all;
	size_t max = 0;

	*nr = 0;
	scoped_guard(spinlock, &u->lock)
		max = list_count_nodes(&u->objects);
	if (!max)
		return NULL;

	all = kvmalloc_objs(*all, max, GFP_KERNEL);
	if (!all)
		return NULL;

	guard(spinlock)(&u->lock);
	list_for_each_entry(userptr, &u->objects, node) {
		if (*nr == max)
			break;
		virtio_gpu_userptr_get(userptr);
		all[(*nr)++] = userptr;
	}
	return all;
}

/* MMU notifiers wait for the device's lock: nothing is printed under it. */
static int userptr_debugfs_show(struct seq_file *m, void *data)
{
	struct drm_debugfs_entry *entry = m->private;
	struct virtio_gpu_device *vgdev = entry->dev->dev_private;
	struct virtio_gpu_object_userptr **all;
	size_t i, nr;

	seq_printf(m, "MMU_NOTIFY_CLEAR is checked by: %s\n", virtio_gpu_userptr_verify_what());
	seq_printf(m, "%8s %8s %18s %14s %10s %s\n", "resource", "pid", "address", "size",
		   "segments", "state");

	all = userptr_get_all(vgdev->userptr, &nr);
	for (i = 0; i < nr; i++) {
		seq_printf(m, "%8u %8d 0x%016llx %14zu %10u %s\n",
			   all[i]->base.hw_res_handle, pid_vnr(all[i]->pid), all[i]->addr,
			   all[i]->base.base.base.size, READ_ONCE(all[i]->nr_segments),
			   virtio_gpu_userptr_state_name(READ_ONCE(all[i]->state)));
		virtio_gpu_userptr_put(all[i]);
	}
	kvfree(all);
	return 0;
}

/**
 * virtio_gpu_userptr_device_init() - the series' part of a device
 * @vgdev: device
 *
 * Its limits are 0 and have to be set before it is available.
 *
 * Return: 0 or -ENOMEM.
 */
int virtio_gpu_userptr_device_init(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u;

	u = drmm_kzalloc(vgdev->ddev, sizeof(*u), GFP_KERNEL);
	if (!u)
		return -ENOMEM;

	/* What it runs is needed most when memory is short, and needs none. */
	u->release_wq = alloc_workqueue("virtio-gpu-userptr", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!u->release_wq)
		return -ENOMEM;
	u->verify_wq = alloc_workqueue("virtio-gpu-userptr-verify", WQ_UNBOUND, 0);
	if (!u->verify_wq) {
		destroy_workqueue(u->release_wq);
		return -ENOMEM;
	}

	u->vgdev = vgdev;
	spin_lock_init(&u->lock);
	INIT_LIST_HEAD(&u->objects);
	INIT_LIST_HEAD(&u->releases);
	INIT_WORK(&u->release_work, userptr_release_work);
	vgdev->userptr = u;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_device_init);

/**
 * virtio_gpu_userptr_check_info() - believe nothing that a device says
 * @info: the device's answer to GET_USERPTR_INFO
 * @limits: filled on success
 *
 * Return: 0, or -EINVAL if the answer makes no sense for this kernel: a limit
 * of 0, or an alignment that is no power of two or coarser than 2 MiB.
 */
int virtio_gpu_userptr_check_info(const struct virtio_gpu_resp_userptr_info *info,
				  struct virtio_gpu_userptr_limits *limits)
{
	u32 alignment = le32_to_cpu(info->alignment);
	u32 max_entries = le32_to_cpu(info->max_entries);
	u32 max_segments = le32_to_cpu(info->max_segments);
	u64 max_size = le64_to_cpu(info->max_size);

	if (!is_power_of_2(alignment) || alignment > VIRTIO_GPU_USERPTR_MAX_ALIGN)
		return -EINVAL;

	limits->alignment = max_t(u32, alignment, PAGE_SIZE);
	max_size = min(max_size, (u64)INT_MAX << PAGE_SHIFT);
	max_size = ALIGN_DOWN(max_size, limits->alignment);
	if (!max_size || !max_entries || !max_segments)
		return -EINVAL;

	limits->max_size = max_size;
	limits->max_entries = max_entries;
	limits->max_segments = max_segments;
	limits->rdonly_capsets = 0;
	if (le32_to_cpu(info->flags) & VIRTIO_GPU_USERPTR_INFO_RDONLY)
		limits->rdonly_capsets = le64_to_cpu(info->rdonly_capset_mask);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_check_info);

/**
 * virtio_gpu_userptr_init() - find out what the device can do
 * @vgdev: device that is ready for commands
 *
 * Never fails: a device without it, or with nonsense for limits, is a device
 * whose create ioctl answers -EOPNOTSUPP.
 */
void virtio_gpu_userptr_init(struct virtio_gpu_device *vgdev)
{
	struct drm_device *dev = vgdev->ddev;
	struct virtio_gpu_userptr_limits limits;
	int ret;

	if (!virtio_has_feature(vgdev->vdev, VIRTIO_GPU_F_RESOURCE_USERPTR))
		return;
	if (!vgdev->has_virgl_3d) {
		drm_info(dev, "userptr: off, there are no contexts to use it in\n");
		return;
	}
	if (virtio_gpu_use_dma_api(vgdev->vdev)) {
		drm_info(dev, "userptr: off, the device does not see guest memory in place\n");
		return;
	}

	ret = virtio_gpu_userptr_device_init(vgdev);
	if (!ret)
		ret = virtio_gpu_userptr_cmd_get_info(vgdev, &limits);
	if (ret) {
		drm_err(dev, "userptr: off, no usable limits from the device (%d)\n", ret);
		return;
	}

	vgdev->userptr->limits = limits;
	drm_info(dev, "userptr: at most %llu bytes in %u segments, %u entries a command%s\n",
		 limits.max_size, limits.max_segments, limits.max_entries,
		 limits.rdonly_capsets ? ", read-only enforced" : "");
	drm_debugfs_add_file(dev, "virtio-gpu-userptr", userptr_debugfs_show, NULL);
}

/*
 * The object behind @last, whose reference is consumed, or the first one; with a
 * reference, or NULL at the end.  Objects may go meanwhile, @last included: then
 * it starts over, and what is done with each has to bear that.
 */
static struct virtio_gpu_object_userptr *
userptr_next_object(struct virtio_gpu_userptr_device *u, struct virtio_gpu_object_userptr *last)
{
	struct virtio_gpu_object_userptr *userptr;

	scoped_guard(spinlock, &u->lock) {
		if (last && !list_empty(&last->node))
			userptr = list_next_entry(last, node);
		else
			userptr = list_first_entry(&u->objects, struct virtio_gpu_object_userptr,
						   node);
		if (list_entry_is_head(userptr, &u->objects, node))
			userptr = NULL;
		else
			virtio_gpu_userptr_get(userptr);
	}
	if (last)
		virtio_gpu_userptr_put(last);
	return userptr;
}

/* Unpin all that the device had; it has no access any more. */
static void userptr_finish_all(struct virtio_gpu_userptr_device *u)
{
	struct virtio_gpu_object_userptr *userptr = NULL;

	/* What a task is creating stays on the list. */
	while ((userptr = userptr_next_object(u, userptr)))
		virtio_gpu_userptr_finish(userptr);
}

/**
 * virtio_gpu_userptr_stop() - the device is going away
 * @vgdev: unplugged device that has not been reset yet
 *
 * No object and no work is added any more, and nothing uses the queues; waits
 * for answers end when the commands are taken back after the reset.
 */
void virtio_gpu_userptr_stop(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	if (!u)
		return;

	scoped_guard(spinlock, &u->lock)
		WRITE_ONCE(u->gone, true);
	wake_up_all(&vgdev->ctrlq.ack_queue);
	flush_work(&u->release_work);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_stop);

/**
 * virtio_gpu_userptr_fini() - the device has neither queues nor access
 * @vgdev: device that was stopped, and reaches no memory of ours any more
 *
 * Objects may outlive this, as long as their files are open; they are DEAD, or
 * a task is creating them, which undoes what it has done by itself.
 */
void virtio_gpu_userptr_fini(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	if (!u)
		return;

	scoped_guard(spinlock, &u->lock)
		u->no_access = true;
	userptr_finish_all(u);
	destroy_workqueue(u->release_wq);
	destroy_workqueue(u->verify_wq);
	/* Objects that a submission held may have been queued since. */
	flush_work(&vgdev->obj_free_work);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_fini);

/**
 * virtio_gpu_userptr_suspend() - the device is going to be reset
 * @vgdev: device; the tasks of user space are frozen
 *
 * What comes back knows nothing of its resources: all are revoked.  The device
 * is not asked to destroy them, as a reset does that.  Nothing that is sent
 * from here is under way when this returns.
 */
void virtio_gpu_userptr_suspend(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;
	struct virtio_gpu_object_userptr *userptr = NULL;

	if (!u)
		return;

	scoped_guard(spinlock, &u->lock)
		WRITE_ONCE(u->suspended, true);
	wake_up_all(&vgdev->ctrlq.ack_queue);
	flush_work(&u->release_work);

	/* Nothing is added any more. */
	while ((userptr = userptr_next_object(u, userptr)))
		virtio_gpu_userptr_revoke(userptr);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_suspend);

/**
 * virtio_gpu_userptr_lost() - the device was reset and has no access any more
 * @vgdev: suspended device, whose queues have been deleted
 */
void virtio_gpu_userptr_lost(struct virtio_gpu_device *vgdev)
{
	if (vgdev->userptr)
		userptr_finish_all(vgdev->userptr);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_lost);

/**
 * virtio_gpu_userptr_resume() - the device can be used again
 * @vgdev: device; after virtio_gpu_userptr_suspend(), with or without a reset
 */
void virtio_gpu_userptr_resume(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	if (!u)
		return;

	guard(spinlock)(&u->lock);
	WRITE_ONCE(u->suspended, false);
	/* Without a reset, what was revoked is still to be destroyed. */
	if (!list_empty(&u->releases))
		queue_work(u->release_wq, &u->release_work);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_resume);
