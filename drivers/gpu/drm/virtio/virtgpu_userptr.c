// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: the object, its states, the ioctls
 *
 * A userptr resource is a virtio-gpu resource whose backing is a range of the
 * creating process's own memory, pinned for as long as the device can reach
 * it.
 */

#include <linux/cleanup.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "virtgpu_userptr.h"

#define CREATE_TRACE_POINTS
#include "virtgpu_userptr_trace.h"

/**
 * DOC: Life of a userptr resource
 *
 * ::
 *
 *                       the device has
 *              CREATING accepted all    LIVE
 *                 |  |----------------->| |
 *                 |  |                  | |
 *                 |  | error, signal    | | last handle closed
 *                 |  |    +-------------+ |
 *      never told |  |    |               | device was reset
 *        or reset |  v    v               |
 *                 | REVOKING              |
 *                 |  | device agreed,     |
 *                 v  v or was reset       v
 *                 DEAD <------------------+
 *
 * *Honesty*: a handle exists only for a resource that was LIVE, hence accepted
 * by the device run by run, and attached to the context of the handle's file.
 *
 * *Release*: every road to DEAD goes through the device's answer to
 * DESTROY_USERPTR or through its reset, and only who makes the state DEAD
 * unpins.  The single exception is a resource that the device was never told
 * of.  A device that does not answer costs memory until it is reset, never
 * its integrity; and as that answer takes its time, the last close does not
 * wait for it: a worker sends the command and, once it is answered, unpins.
 */

/**
 * DOC: Locking
 *
 * &virtio_gpu_userptr_device.lock is a spinlock and the innermost lock.  It
 * protects the list of objects, their states and the counts; nothing is
 * called under it but the tracepoint and queue_work().
 *
 * The pinned pages have an owner and no lock: the creating task until the
 * object is on the list, then whoever makes its state DEAD.  In between the
 * scatterlist is read, by the creating task only and inside drm_dev_enter(),
 * which is what keeps it apart from the removal of the device.
 */

/* When to try again if there was no room for DESTROY_USERPTR. */
#define VIRTIO_GPU_USERPTR_RETRY	(HZ / 50 ?: 1)

static const struct drm_gem_object_funcs virtio_gpu_userptr_funcs;

/**
 * virtio_gpu_is_userptr() - is this a userptr resource?
 * @bo: any object of this driver
 *
 * Return: true if so.
 */
bool virtio_gpu_is_userptr(struct virtio_gpu_object *bo)
{
	return bo->base.base.funcs == &virtio_gpu_userptr_funcs;
}

static struct virtio_gpu_userptr_device *to_device(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_device *vgdev = userptr->base.base.base.dev->dev_private;

	return vgdev->userptr;
}

/**
 * virtio_gpu_userptr_transition_ok() - the arrows of the diagram above
 * @from: state
 * @to: state
 *
 * Return: true if there is an arrow.
 */
bool virtio_gpu_userptr_transition_ok(enum virtio_gpu_userptr_state from,
				      enum virtio_gpu_userptr_state to)
{
	switch (from) {
	case VIRTIO_GPU_USERPTR_CREATING:
		return to != VIRTIO_GPU_USERPTR_CREATING;
	case VIRTIO_GPU_USERPTR_LIVE:
		return to == VIRTIO_GPU_USERPTR_REVOKING || to == VIRTIO_GPU_USERPTR_DEAD;
	case VIRTIO_GPU_USERPTR_REVOKING:
		return to == VIRTIO_GPU_USERPTR_DEAD;
	default:
		return false;
	}
}

/* The one place in which a state changes. */
static void set_state(struct virtio_gpu_userptr_device *u,
		      struct virtio_gpu_object_userptr *userptr,
		      enum virtio_gpu_userptr_state to)
{
	lockdep_assert_held(&u->lock);

	WARN_ON_ONCE(!virtio_gpu_userptr_transition_ok(userptr->state, to));
	trace_virtio_gpu_userptr_state(userptr->base.hw_res_handle, userptr->state, to);
	userptr->state = to;
}

/**
 * virtio_gpu_userptr_get() - keep the struct, not the memory
 * @userptr: object
 */
void virtio_gpu_userptr_get(struct virtio_gpu_object_userptr *userptr)
{
	kref_get(&userptr->refs);
}

static void userptr_kfree(struct kref *refs)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(refs, struct virtio_gpu_object_userptr, refs);
	struct drm_device *dev = userptr->base.base.base.dev;

	virtio_gpu_resource_id_put(dev->dev_private, userptr->base.hw_res_handle);
	drm_gem_object_release(&userptr->base.base.base);
	mmdrop(userptr->mm);
	kfree(userptr);
	drm_dev_put(dev);
}

/**
 * virtio_gpu_userptr_put() - undo virtio_gpu_userptr_get()
 * @userptr: object, may be gone afterwards
 */
void virtio_gpu_userptr_put(struct virtio_gpu_object_userptr *userptr)
{
	kref_put(&userptr->refs, userptr_kfree);
}

/* Make the worker look at @userptr, unless nothing is left to do. */
static void queue_release(struct virtio_gpu_userptr_device *u,
			  struct virtio_gpu_object_userptr *userptr, unsigned long delay)
{
	lockdep_assert_held(&u->lock);

	if (userptr->state == VIRTIO_GPU_USERPTR_DEAD)
		return;

	virtio_gpu_userptr_get(userptr);
	if (mod_delayed_work(u->wq, &userptr->release_work, delay))
		virtio_gpu_userptr_put(userptr);
}

static void set_releasing(struct virtio_gpu_userptr_device *u,
			  struct virtio_gpu_object_userptr *userptr, bool releasing)
{
	lockdep_assert_held(&u->lock);

	u->releasing += releasing - userptr->releasing;
	userptr->releasing = releasing;
}

/*
 * The device cannot reach the pages any more: give them back, unless somebody
 * else is doing just that.
 */
static void bury(struct virtio_gpu_userptr_device *u, struct virtio_gpu_object_userptr *userptr)
{
	might_sleep();
	scoped_guard(spinlock, &u->lock) {
		if (userptr->state == VIRTIO_GPU_USERPTR_DEAD)
			return;
		set_state(u, userptr, VIRTIO_GPU_USERPTR_DEAD);
		list_del_init(&userptr->node);
		if (cancel_delayed_work(&userptr->release_work))
			virtio_gpu_userptr_put(userptr);
	}

	virtio_gpu_userptr_unpin(&userptr->pin);

	scoped_guard(spinlock, &u->lock) {
		set_releasing(u, userptr, false);
		u->released++;
	}
	wake_up_all(&u->wait);
	virtio_gpu_userptr_put(userptr);
}

static void release_work(struct work_struct *work)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(to_delayed_work(work), struct virtio_gpu_object_userptr,
			     release_work);
	struct virtio_gpu_userptr_device *u = to_device(userptr);
	struct drm_device *dev = userptr->base.base.base.dev;

	if (READ_ONCE(userptr->destroyed)) {
		bury(u, userptr);
	} else if (virtio_gpu_userptr_cmd_destroy(dev->dev_private, userptr) == -ENOSPC) {
		guard(spinlock)(&u->lock);
		queue_release(u, userptr, VIRTIO_GPU_USERPTR_RETRY);
	}
	/*
	 * If there is no device any more virtio_gpu_userptr_device_fini()
	 * unpins once it cannot reach the pages.
	 */
	virtio_gpu_userptr_put(userptr);
}

/**
 * virtio_gpu_userptr_destroyed() - the device has no access any more
 * @userptr: object whose DESTROY_USERPTR was answered so
 *
 * Does not sleep: called by what handles the device's answers.
 */
void virtio_gpu_userptr_destroyed(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = to_device(userptr);

	WRITE_ONCE(userptr->destroyed, true);

	guard(spinlock)(&u->lock);
	queue_release(u, userptr, 0);
}

/**
 * virtio_gpu_userptr_held() - the device does not let go
 * @userptr: object whose DESTROY_USERPTR was refused
 *
 * Nobody should wait for its charge to be given back.  Does not sleep.
 */
void virtio_gpu_userptr_held(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = to_device(userptr);

	guard(spinlock)(&u->lock);
	set_releasing(u, userptr, false);
}

/* GEM: the last handle and the last user are gone, or creation failed. */
static void virtio_gpu_userptr_free(struct drm_gem_object *obj)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_userptr_device *u = to_device(userptr);

	scoped_guard(spinlock, &u->lock) {
		if (!list_empty(&userptr->node)) {
			set_state(u, userptr, VIRTIO_GPU_USERPTR_REVOKING);
			set_releasing(u, userptr, true);
			queue_release(u, userptr, 0);
		} else if (userptr->state == VIRTIO_GPU_USERPTR_CREATING) {
			/* The device was never told. */
			set_state(u, userptr, VIRTIO_GPU_USERPTR_DEAD);
		}
	}
	virtio_gpu_userptr_put(userptr);
}

static bool may_attach(struct virtio_gpu_device *vgdev, struct virtio_gpu_fpriv *vfpriv, u32 flags)
{
	u32 capset = vfpriv->context_init & VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK;

	if (!(flags & VIRTGPU_USERPTR_RDONLY))
		return true;

	/* Read-only means that the host enforces it; nothing less is offered. */
	return capset < 64 && vgdev->userptr->limits.rdonly_capsets & BIT_ULL(capset);
}

/* GEM: a new handle.  Success means usable in the context of that file. */
static int virtio_gpu_userptr_open(struct drm_gem_object *obj, struct drm_file *file)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_device *vgdev = obj->dev->dev_private;
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;

	/* The memory is that of one process: no other may open it by name. */
	if (current->mm != userptr->mm)
		return -EPERM;
	virtio_gpu_create_context(obj->dev, file);
	if (!may_attach(vgdev, vfpriv, userptr->flags))
		return -EOPNOTSUPP;

	return virtio_gpu_userptr_cmd_attach(vgdev, vfpriv->ctx_id, userptr->base.hw_res_handle);
}

/* GEM: a handle is closed. */
static void virtio_gpu_userptr_close(struct drm_gem_object *obj, struct drm_file *file)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;

	/*
	 * Failure is fine: the device is gone, or this task is being killed
	 * and the context goes with its file.
	 */
	virtio_gpu_userptr_cmd_detach(obj->dev->dev_private, vfpriv->ctx_id,
				      userptr->base.hw_res_handle);
}

/* GEM: sharing would let others depend on one process's mapping. */
static struct dma_buf *virtio_gpu_userptr_export(struct drm_gem_object *obj, int flags)
{
	return ERR_PTR(-EPERM);
}

static const char *state_name(enum virtio_gpu_userptr_state state)
{
	static const char * const names[] = {
		[VIRTIO_GPU_USERPTR_CREATING] = "CREATING",
		[VIRTIO_GPU_USERPTR_LIVE] = "LIVE",
		[VIRTIO_GPU_USERPTR_REVOKING] = "REVOKING",
		[VIRTIO_GPU_USERPTR_DEAD] = "DEAD",
	};

	return names[state];
}

static void virtio_gpu_userptr_print_info(struct drm_printer *p, unsigned int indent,
					  const struct drm_gem_object *obj)
{
	const struct virtio_gpu_object_userptr *userptr =
		container_of(obj, struct virtio_gpu_object_userptr, base.base.base);

	drm_printf_indent(p, indent, "userptr=0x%llx pid=%d segments=%u state=%s\n",
			  userptr->addr, userptr->pid, userptr->nr_segments,
			  state_name(READ_ONCE(userptr->state)));
}

static const struct drm_gem_object_funcs virtio_gpu_userptr_funcs = {
	.free = virtio_gpu_userptr_free,
	.open = virtio_gpu_userptr_open,
	.close = virtio_gpu_userptr_close,
	.export = virtio_gpu_userptr_export,
	.print_info = virtio_gpu_userptr_print_info,
};

static struct virtio_gpu_object_userptr *
userptr_alloc(struct virtio_gpu_device *vgdev, u64 addr, u64 size, u32 flags)
{
	struct virtio_gpu_object_userptr *userptr;
	struct drm_gem_object *obj;
	int ret;

	userptr = kzalloc_obj(*userptr, GFP_KERNEL_ACCOUNT);
	if (!userptr)
		return ERR_PTR(-ENOMEM);

	ret = virtio_gpu_resource_id_get(vgdev, &userptr->base.hw_res_handle);
	if (ret < 0) {
		kfree(userptr);
		return ERR_PTR(ret);
	}

	obj = &userptr->base.base.base;
	obj->funcs = &virtio_gpu_userptr_funcs;
	drm_gem_private_object_init(vgdev->ddev, obj, size);

	/* What keeps the transfer ioctls, which copy, away. */
	userptr->base.guest_blob = true;
	userptr->base.blob_mem = VIRTGPU_BLOB_MEM_GUEST;

	kref_init(&userptr->refs);
	INIT_LIST_HEAD(&userptr->node);
	INIT_DELAYED_WORK(&userptr->release_work, release_work);
	userptr->addr = addr;
	userptr->flags = flags;
	userptr->pid = task_tgid_nr(current);
	userptr->mm = current->mm;
	mmgrab(userptr->mm);
	userptr->state = VIRTIO_GPU_USERPTR_CREATING;

	/* The release outlives the last file. */
	drm_dev_get(vgdev->ddev);
	return userptr;
}

/* Has a charge been given back since @released, and if not, will one be? */
static bool released_since(struct virtio_gpu_userptr_device *u, unsigned int released, bool *later)
{
	guard(spinlock)(&u->lock);
	*later = u->releasing && !u->gone;
	return u->released != released;
}

/*
 * Charge; but what the caller has just closed stays charged until the device
 * has answered, so at the limit give that a second to happen.
 */
static int charge_patiently(struct virtio_gpu_userptr_device *u,
			    struct virtio_gpu_userptr_pin *pin, unsigned long nr_pages)
{
	unsigned long deadline = jiffies + HZ;

	for (;;) {
		unsigned int released = READ_ONCE(u->released);
		long left = deadline - jiffies;
		bool later;
		int ret;

		ret = virtio_gpu_userptr_charge(pin, nr_pages);
		if (ret != -ENOMEM || left <= 0)
			return ret;

		if (!released_since(u, released, &later) && !later)
			return ret;

		ret = wait_event_killable_timeout(u->wait,
						  released_since(u, released, &later) || !later,
						  left);
		if (ret < 0)
			return ret;
	}
}

/* From here on the pages may be reached by the device. */
static int publish(struct virtio_gpu_userptr_device *u, struct virtio_gpu_object_userptr *userptr)
{
	guard(spinlock)(&u->lock);

	if (u->gone)
		return -ENODEV;

	virtio_gpu_userptr_get(userptr);
	list_add_tail(&userptr->node, &u->objects);
	return 0;
}

static int go_live(struct virtio_gpu_userptr_device *u, struct virtio_gpu_object_userptr *userptr)
{
	guard(spinlock)(&u->lock);

	/* Removing the device may have been quicker. */
	if (userptr->state != VIRTIO_GPU_USERPTR_CREATING)
		return -ENODEV;

	set_state(u, userptr, VIRTIO_GPU_USERPTR_LIVE);
	return 0;
}

static int pin_and_tell(struct virtio_gpu_device *vgdev, struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;
	struct virtio_gpu_userptr_pin *pin = &userptr->pin;
	int ret;

	ret = charge_patiently(u, pin, userptr->base.base.base.size >> PAGE_SHIFT);
	if (ret)
		return ret;

	ret = virtio_gpu_userptr_pin(pin, userptr->addr,
				     !(userptr->flags & VIRTGPU_USERPTR_RDONLY),
				     u->limits.max_segments);
	if (ret)
		goto err_unpin;
	userptr->nr_segments = pin->table.sgt.orig_nents;

	ret = publish(u, userptr);
	if (ret)
		goto err_unpin;

	/* Failing from here on is undone by the GEM free callback. */
	ret = virtio_gpu_userptr_cmd_create(vgdev, userptr);
	return ret ?: go_live(u, userptr);

err_unpin:
	virtio_gpu_userptr_unpin(pin);
	return ret;
}

/**
 * virtio_gpu_userptr_create() - a LIVE resource of the calling process's memory
 * @vgdev: device that can
 * @addr: checked by virtio_gpu_userptr_check_range()
 * @size: likewise, and at most the device's max_size
 * @flags: VIRTGPU_USERPTR_*
 *
 * Sleeps: for pages, and for the device's answers.  The caller's reference is
 * a GEM reference.
 *
 * Return: the object, or an ERR_PTR() with the errors of the create ioctl
 * after which nothing is left but what waits for the device's answer.
 */
struct virtio_gpu_object_userptr *
virtio_gpu_userptr_create(struct virtio_gpu_device *vgdev, u64 addr, u64 size, u32 flags)
{
	struct virtio_gpu_object_userptr *userptr;
	int ret;

	userptr = userptr_alloc(vgdev, addr, size, flags);
	if (IS_ERR(userptr))
		return userptr;

	ret = pin_and_tell(vgdev, userptr);
	trace_virtio_gpu_userptr_create(userptr->base.hw_res_handle, addr, size, flags,
					userptr->nr_segments, ret);
	if (ret) {
		drm_gem_object_put(&userptr->base.base.base);
		return ERR_PTR(ret);
	}
	return userptr;
}

static bool usable(struct virtio_gpu_device *vgdev)
{
	return vgdev->userptr && vgdev->userptr->limits.max_size;
}

static int check_create(struct virtio_gpu_device *vgdev,
			const struct drm_virtgpu_resource_create_userptr *args)
{
	const struct virtio_gpu_userptr_limits *limits;
	int ret;

	if (!usable(vgdev))
		return -EOPNOTSUPP;
	limits = &vgdev->userptr->limits;

	if (args->flags & ~VIRTGPU_USERPTR_FLAGS || args->pad)
		return -EINVAL;

	ret = virtio_gpu_userptr_check_range(args->addr, args->size);
	if (ret)
		return ret;
	if (args->size > limits->max_size)
		return -E2BIG;
	if (!access_ok(u64_to_user_ptr(args->addr), args->size))
		return -EFAULT;

	if (args->flags & VIRTGPU_USERPTR_RDONLY && !limits->rdonly_capsets)
		return -EOPNOTSUPP;

	return 0;
}

/**
 * virtio_gpu_userptr_create_ioctl() - DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_USERPTR
 * @dev: DRM device
 * @data: struct drm_virtgpu_resource_create_userptr
 * @file: caller
 *
 * Return: see struct drm_virtgpu_resource_create_userptr.
 */
int virtio_gpu_userptr_create_ioctl(struct drm_device *dev, void *data, struct drm_file *file)
{
	struct drm_virtgpu_resource_create_userptr *args = data;
	struct virtio_gpu_device *vgdev = dev->dev_private;
	struct virtio_gpu_object_userptr *userptr;
	struct drm_gem_object *obj;
	u32 handle;
	int ret;

	ret = check_create(vgdev, args);
	if (ret)
		return ret;

	virtio_gpu_create_context(dev, file);
	virtio_gpu_notify(vgdev);
	if (!may_attach(vgdev, file->driver_priv, args->flags))
		return -EOPNOTSUPP;

	userptr = virtio_gpu_userptr_create(vgdev, untagged_addr(args->addr), args->size,
					    args->flags);
	if (IS_ERR(userptr))
		return PTR_ERR(userptr);
	obj = &userptr->base.base.base;

	ret = drm_gem_handle_create(file, obj, &handle);
	if (!ret) {
		args->bo_handle = handle;
		args->res_handle = userptr->base.hw_res_handle;
	}

	/* The handle has a reference; without one this ends the resource. */
	drm_gem_object_put(obj);
	return ret;
}

/**
 * virtio_gpu_userptr_info_ioctl() - DRM_IOCTL_VIRTGPU_USERPTR_INFO
 * @dev: DRM device
 * @data: struct drm_virtgpu_userptr_info
 * @file: caller
 *
 * Return: see struct drm_virtgpu_userptr_info.
 */
int virtio_gpu_userptr_info_ioctl(struct drm_device *dev, void *data, struct drm_file *file)
{
	struct drm_virtgpu_userptr_info *args = data;
	struct virtio_gpu_object_userptr *userptr;
	struct drm_gem_object *obj;
	int ret = -EINVAL;

	if (args->pad)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->bo_handle);
	if (!obj)
		return -ENOENT;

	if (virtio_gpu_is_userptr(gem_to_virtio_gpu_obj(obj))) {
		userptr = gem_to_virtio_gpu_userptr(obj);
		args->res_handle = userptr->base.hw_res_handle;
		args->addr = userptr->addr;
		args->size = obj->size;
		args->flags = userptr->flags;
		args->nr_segments = userptr->nr_segments;
		args->state = READ_ONCE(userptr->state) == VIRTIO_GPU_USERPTR_LIVE ?
			VIRTGPU_USERPTR_STATE_LIVE : VIRTGPU_USERPTR_STATE_REVOKED;
		ret = 0;
	}

	drm_gem_object_put(obj);
	return ret;
}

/**
 * virtio_gpu_userptr_getparam() - the parameters of this series
 * @vgdev: device
 * @param: what DRM_IOCTL_VIRTGPU_GETPARAM was asked for
 *
 * Return: 0; -EINVAL for a parameter that is not ours; -EFAULT.
 */
int virtio_gpu_userptr_getparam(struct virtio_gpu_device *vgdev,
				const struct drm_virtgpu_getparam *param)
{
	u64 max_size = usable(vgdev) ? vgdev->userptr->limits.max_size : 0;
	int value = usable(vgdev);

	switch (param->param) {
	case VIRTGPU_PARAM_USERPTR:
		return copy_to_user(u64_to_user_ptr(param->value), &value, sizeof(value)) ?
			-EFAULT : 0;
	case VIRTGPU_PARAM_USERPTR_MAX_SIZE:
		return copy_to_user(u64_to_user_ptr(param->value), &max_size, sizeof(max_size)) ?
			-EFAULT : 0;
	default:
		return -EINVAL;
	}
}

/**
 * virtio_gpu_userptr_check_map() - may this be mapped with DRM_VIRTGPU_MAP?
 * @file: caller
 * @handle: GEM handle
 *
 * Return: -EPERM for a userptr resource: its memory has a mapping, the one that
 * it was made from.  0 for anything else, known or not.
 */
int virtio_gpu_userptr_check_map(struct drm_file *file, u32 handle)
{
	struct drm_gem_object *obj = drm_gem_object_lookup(file, handle);
	int ret = 0;

	if (!obj)
		return 0;
	if (virtio_gpu_is_userptr(gem_to_virtio_gpu_obj(obj)))
		ret = -EPERM;
	drm_gem_object_put(obj);
	return ret;
}

static int debugfs_show(struct seq_file *m, void *data)
{
	struct drm_debugfs_entry *entry = m->private;
	struct virtio_gpu_device *vgdev = entry->dev->dev_private;
	struct virtio_gpu_object_userptr *userptr;

	seq_printf(m, "%8s %8s %18s %14s %10s %s\n", "resource", "pid", "address", "size",
		   "segments", "state");

	guard(spinlock)(&vgdev->userptr->lock);
	list_for_each_entry(userptr, &vgdev->userptr->objects, node)
		seq_printf(m, "%8u %8d 0x%016llx %14zu %10u %s\n",
			   userptr->base.hw_res_handle, userptr->pid, userptr->addr,
			   userptr->base.base.base.size, userptr->nr_segments,
			   state_name(userptr->state));
	return 0;
}

/**
 * virtio_gpu_userptr_device_init() - the series' part of a device
 * @vgdev: device
 * @transport: how commands reach it
 *
 * Its limits are 0 and have to be set before it is usable.
 *
 * Return: 0 or -ENOMEM.
 */
int virtio_gpu_userptr_device_init(struct virtio_gpu_device *vgdev,
				   const struct virtio_gpu_userptr_transport *transport)
{
	struct virtio_gpu_userptr_device *u;

	u = drmm_kzalloc(vgdev->ddev, sizeof(*u), GFP_KERNEL);
	if (!u)
		return -ENOMEM;

	/* Memory reclaim may wait for memory that is being released. */
	u->wq = alloc_workqueue("virtio-gpu-userptr", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!u->wq)
		return -ENOMEM;

	u->transport = transport;
	init_waitqueue_head(&u->wait);
	spin_lock_init(&u->lock);
	INIT_LIST_HEAD(&u->objects);
	INIT_LIST_HEAD(&u->unanswered);
	vgdev->userptr = u;
	return 0;
}

/**
 * virtio_gpu_userptr_device_fini() - unpin whatever is left
 * @vgdev: device that was stopped with virtio_gpu_userptr_stop() and reset
 *
 * Objects may outlive this, as long as their files are open; they are DEAD.
 */
void virtio_gpu_userptr_device_fini(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;
	struct virtio_gpu_object_userptr *userptr;

	for (;;) {
		scoped_guard(spinlock, &u->lock) {
			userptr = list_first_entry_or_null(&u->objects,
							   struct virtio_gpu_object_userptr, node);
			if (userptr)
				virtio_gpu_userptr_get(userptr);
		}
		if (!userptr)
			break;
		bury(u, userptr);
		virtio_gpu_userptr_put(userptr);
	}
	destroy_workqueue(u->wq);
}

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

	ret = virtio_gpu_userptr_device_init(vgdev, &virtio_gpu_userptr_ctrlq);
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
	drm_debugfs_add_file(dev, "virtio-gpu-userptr", debugfs_show, NULL);
}

/**
 * virtio_gpu_userptr_freeze() - may the guest be suspended?
 * @vgdev: device
 *
 * Resuming resets the device, which then knows nothing of its resources, and
 * an image of the memory does not hold what the host has done to it since.
 *
 * Return: 0; -EBUSY if there are userptr resources.
 */
int virtio_gpu_userptr_freeze(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	if (!u)
		return 0;

	guard(spinlock)(&u->lock);
	if (list_empty(&u->objects))
		return 0;

	drm_err(vgdev->ddev, "userptr: cannot suspend, the host uses memory of processes\n");
	return -EBUSY;
}

/**
 * virtio_gpu_userptr_stop() - the device is going away
 * @vgdev: unplugged device that has not been reset yet
 *
 * Ends every wait, and all use of the queues; no object is added to the list
 * any more.
 */
void virtio_gpu_userptr_stop(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	if (!u)
		return;

	scoped_guard(spinlock, &u->lock)
		WRITE_ONCE(u->gone, true);
	u->transport->stop(vgdev);
	wake_up_all(&u->wait);
}

/**
 * virtio_gpu_userptr_shutdown() - the kernel is going away
 * @vgdev: unplugged device
 *
 * What is pinned stays so; the device must not reach it when other software
 * takes over the memory.
 */
void virtio_gpu_userptr_shutdown(struct virtio_gpu_device *vgdev)
{
	if (!vgdev->userptr)
		return;

	virtio_gpu_userptr_stop(vgdev);
	virtio_device_shutdown(vgdev->vdev);
}

/**
 * virtio_gpu_userptr_reset() - the device has been reset
 * @vgdev: device whose queues are about to be deleted
 */
void virtio_gpu_userptr_reset(struct virtio_gpu_device *vgdev)
{
	if (vgdev->userptr)
		virtio_gpu_detach_ctrl_vbufs(vgdev, &vgdev->userptr->unanswered);
}

/**
 * virtio_gpu_userptr_fini() - the device has neither queues nor access
 * @vgdev: device that reaches no memory of ours any more
 */
void virtio_gpu_userptr_fini(struct virtio_gpu_device *vgdev)
{
	if (!vgdev->userptr)
		return;

	/* Answers that will not come: whoever waits for them holds references. */
	virtio_gpu_cancel_ctrl_vbufs(vgdev, &vgdev->userptr->unanswered);
	virtio_gpu_userptr_device_fini(vgdev);
	/* Objects that a submission held may have been queued since. */
	flush_work(&vgdev->obj_free_work);
}
