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
#include <drm/drm_utils.h>

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
 *                 |  | error, signal    | | last handle closed,
 *                 |  |                  | | owner took it back
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
 * DOC: When the owner takes the memory back
 *
 * free(), munmap(), exit(): virtgpu_userptr_notifier.c notices and *revokes*
 * the resource.  That is the same way out as the last close takes; only the
 * handle stays until user space closes it, and using it answers -EFAULT.  While
 * a resource is being created the mark is enough: creation fails when it gets
 * there.  A new registration of the same address is another resource and knows
 * nothing of it.
 */

/**
 * DOC: Locking
 *
 * &virtio_gpu_userptr_device.lock is a spinlock that MMU notifiers take, so
 * nothing is allocated or waited for under it.  It protects the list of
 * objects, their states and the counts.  Inside it are only the locks of wait
 * and work queues and drm_device.event_lock.
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

/**
 * virtio_gpu_userptr_is_live() - can the host use it?
 * @bo: any object of this driver
 *
 * Return: false for a userptr resource that has been revoked, else true.
 */
bool virtio_gpu_userptr_is_live(struct virtio_gpu_object *bo)
{
	return !virtio_gpu_is_userptr(bo) ||
		READ_ONCE(to_virtio_gpu_userptr(bo)->state) == VIRTIO_GPU_USERPTR_LIVE;
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
	WRITE_ONCE(userptr->state, to);
	wake_up_all(&u->wait);
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
	WRITE_ONCE(userptr->releasing, releasing);
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

	virtio_gpu_userptr_unwatch(userptr);
	virtio_gpu_userptr_unpin(&userptr->pin);

	scoped_guard(spinlock, &u->lock) {
		set_releasing(u, userptr, false);
		u->released++;
	}
	wake_up_all(&u->wait);
	virtio_gpu_userptr_put(userptr);
}

/*
 * If it was revoked, tell the file that asked for it, once.  Called after the
 * revocation and after the handle is known: whichever is later does it.
 */
static void send_event(struct virtio_gpu_userptr_device *u,
		       struct virtio_gpu_object_userptr *userptr)
{
	struct drm_device *dev = userptr->base.base.base.dev;
	struct {
		struct drm_pending_event base;
		struct drm_virtgpu_event_userptr event;
	} *e;
	int ret = -ENOENT;

	if (!READ_ONCE(userptr->event_file))
		return;

	e = kzalloc_obj(*e);
	if (!e)
		return;

	e->event.base.type = VIRTGPU_EVENT_USERPTR_REVOKED;
	e->event.base.length = sizeof(e->event);
	e->event.res_handle = userptr->base.hw_res_handle;
	e->event.addr = userptr->addr;
	e->event.size = userptr->base.base.base.size;

	/* The file cannot go while it is set: close() takes it away. */
	scoped_guard(spinlock, &u->lock) {
		if (userptr->revoked && userptr->event_file && userptr->event_handle) {
			e->event.bo_handle = userptr->event_handle;
			ret = drm_event_reserve_init(dev, userptr->event_file, &e->base,
						     &e->event.base);
			userptr->event_file = NULL;
		}
	}

	/* -ENOMEM: nobody reads them; the state is there to be asked for. */
	if (ret)
		kfree(e);
	else
		drm_send_event(dev, &e->base);
}

static void release_work(struct work_struct *work)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(to_delayed_work(work), struct virtio_gpu_object_userptr,
			     release_work);
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);
	struct drm_device *dev = userptr->base.base.base.dev;

	if (READ_ONCE(userptr->destroyed)) {
		bury(u, userptr);
	} else if (virtio_gpu_userptr_cmd_destroy(dev->dev_private, userptr) == -ENOSPC) {
		guard(spinlock)(&u->lock);
		queue_release(u, userptr, VIRTIO_GPU_USERPTR_RETRY);
	}
	/* The host first: that is what has a bound. */
	send_event(u, userptr);
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
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

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
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	guard(spinlock)(&u->lock);
	set_releasing(u, userptr, false);
}

static void start_release(struct virtio_gpu_userptr_device *u,
			  struct virtio_gpu_object_userptr *userptr)
{
	set_state(u, userptr, VIRTIO_GPU_USERPTR_REVOKING);
	set_releasing(u, userptr, true);
	queue_release(u, userptr, 0);
}

/**
 * virtio_gpu_userptr_revoke() - the owner has taken the memory back
 * @u: device
 * @userptr: object in any state
 *
 * Idempotent; does not sleep; &virtio_gpu_userptr_device.lock is held.
 */
void virtio_gpu_userptr_revoke(struct virtio_gpu_userptr_device *u,
			       struct virtio_gpu_object_userptr *userptr)
{
	lockdep_assert_held(&u->lock);

	/* While it is CREATING the mark is enough. */
	userptr->revoked = true;
	if (userptr->state == VIRTIO_GPU_USERPTR_LIVE)
		start_release(u, userptr);
}

/**
 * virtio_gpu_userptr_suspect() - something may have happened to the memory
 * @u: device
 * @userptr: object in any state
 * @start: first address
 * @last: last address
 * @delay: jiffies until somebody looks; a shorter one that was asked for counts
 *
 * Does not sleep; &virtio_gpu_userptr_device.lock is held.
 */
void virtio_gpu_userptr_suspect(struct virtio_gpu_userptr_device *u,
				struct virtio_gpu_object_userptr *userptr,
				unsigned long start, unsigned long last, unsigned long delay)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;

	lockdep_assert_held(&u->lock);

	watch->start = min(watch->start, start);
	watch->last = max(watch->last, last);
	/* While it is CREATING go_live() sees to it. */
	if (userptr->state != VIRTIO_GPU_USERPTR_LIVE)
		return;
	if (delay)
		queue_delayed_work(u->wq, &watch->verify_work, delay);
	else
		mod_delayed_work(u->wq, &watch->verify_work, 0);
}

/* GEM: the last handle and the last user are gone, or creation failed. */
static void virtio_gpu_userptr_free(struct drm_gem_object *obj)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	scoped_guard(spinlock, &u->lock) {
		if (userptr->state == VIRTIO_GPU_USERPTR_REVOKING) {
			/* Under way; the owner was quicker. */
		} else if (!list_empty(&userptr->node)) {
			start_release(u, userptr);
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

/* @file does not have the handle (any more). */
static void forget_event(struct virtio_gpu_object_userptr *userptr, struct drm_file *file)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	guard(spinlock)(&u->lock);
	if (userptr->event_file == file)
		userptr->event_file = NULL;
}

/* GEM: a new handle.  Success means usable in the context of that file. */
static int virtio_gpu_userptr_open(struct drm_gem_object *obj, struct drm_file *file)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_device *vgdev = obj->dev->dev_private;
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;
	int ret;

	/* The memory is that of one process: no other may open it by name. */
	if (current->mm != userptr->mm)
		return -EPERM;
	virtio_gpu_create_context(obj->dev, file);
	if (!may_attach(vgdev, vfpriv, userptr->flags))
		return -EOPNOTSUPP;
	if (!virtio_gpu_userptr_is_live(&userptr->base))
		return -EFAULT;

	/* The first one is the creator's. */
	if (userptr->flags & VIRTGPU_USERPTR_EVENT && !userptr->event_named) {
		guard(spinlock)(&vgdev->userptr->lock);
		userptr->event_file = file;
	}

	ret = virtio_gpu_userptr_cmd_attach(vgdev, vfpriv->ctx_id, userptr->base.hw_res_handle);
	if (ret)
		forget_event(userptr, file);
	/* A device that does not know it any more has been told so by us. */
	if (ret && READ_ONCE(userptr->revoked))
		return -EFAULT;
	return ret;
}

/* GEM: a handle is closed. */
static void virtio_gpu_userptr_close(struct drm_gem_object *obj, struct drm_file *file)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;

	forget_event(userptr, file);

	/* The device has been told to forget it, contexts and all. */
	if (!virtio_gpu_userptr_is_live(&userptr->base))
		return;

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

	/* Removing the device, or the owner, may have been quicker. */
	if (userptr->state != VIRTIO_GPU_USERPTR_CREATING)
		return -ENODEV;
	if (userptr->revoked)
		return -EFAULT;

	set_state(u, userptr, VIRTIO_GPU_USERPTR_LIVE);
	if (userptr->watch.active && userptr->watch.start <= userptr->watch.last)
		mod_delayed_work(u->wq, &userptr->watch.verify_work, 0);
	return 0;
}

static int pin_and_tell(struct virtio_gpu_device *vgdev, struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;
	struct virtio_gpu_userptr_pin *pin = &userptr->pin;
	int ret = 0;

	if (!(userptr->flags & VIRTGPU_USERPTR_KEEP))
		ret = virtio_gpu_userptr_watch(userptr);
	if (ret)
		return ret;

	ret = charge_patiently(u, pin, userptr->base.base.base.size >> PAGE_SHIFT);
	if (ret)
		goto err_unwatch;

	ret = virtio_gpu_userptr_pin(pin, userptr->addr,
				     !(userptr->flags & VIRTGPU_USERPTR_RDONLY),
				     u->limits.max_segments);
	if (!ret && userptr->watch.active)
		ret = virtio_gpu_userptr_mark(pin);
	if (!ret && READ_ONCE(userptr->revoked))
		ret = -EFAULT;
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
err_unwatch:
	virtio_gpu_userptr_unwatch(userptr);
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
	if (args->flags & VIRTGPU_USERPTR_EVENT) {
		if (args->flags & VIRTGPU_USERPTR_KEEP)
			return -EINVAL;
		if (!IS_ENABLED(CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER))
			return -EOPNOTSUPP;
	}

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

/* The event carries the handle, which is known only after it was opened. */
static void name_event(struct virtio_gpu_object_userptr *userptr, u32 handle)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	scoped_guard(spinlock, &u->lock) {
		userptr->event_named = true;
		userptr->event_handle = handle;
	}
	/* If it was revoked meanwhile, nobody could. */
	send_event(u, userptr);
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
		if (args->flags & VIRTGPU_USERPTR_EVENT)
			name_event(userptr, handle);
	}

	/* The handle has a reference; without one this ends the resource. */
	drm_gem_object_put(obj);
	return ret;
}

static u32 uapi_state(struct virtio_gpu_object_userptr *userptr)
{
	switch (READ_ONCE(userptr->state)) {
	case VIRTIO_GPU_USERPTR_CREATING:
	case VIRTIO_GPU_USERPTR_LIVE:
		return VIRTGPU_USERPTR_STATE_LIVE;
	case VIRTIO_GPU_USERPTR_REVOKING:
		return VIRTGPU_USERPTR_STATE_REVOKED;
	default:
		/* Dead is who is unpinned, except for a moment. */
		return READ_ONCE(userptr->releasing) ? VIRTGPU_USERPTR_STATE_REVOKED :
			VIRTGPU_USERPTR_STATE_RELEASED;
	}
}

static int wait_for_state(struct virtio_gpu_object_userptr *userptr, u32 state, s64 timeout_ns)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);
	long ret;

	ret = wait_event_interruptible_timeout(u->wait, uapi_state(userptr) >= state ||
					       READ_ONCE(u->gone),
					       drm_timeout_abs_to_jiffies(timeout_ns));
	if (ret < 0)
		return ret;
	if (uapi_state(userptr) >= state)
		return 0;
	return READ_ONCE(u->gone) ? -ENODEV : -ETIME;
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
	int ret = 0;

	if (args->wait_state > VIRTGPU_USERPTR_STATE_RELEASED)
		return -EINVAL;

	obj = drm_gem_object_lookup(file, args->bo_handle);
	if (!obj)
		return -ENOENT;
	if (!virtio_gpu_is_userptr(gem_to_virtio_gpu_obj(obj))) {
		drm_gem_object_put(obj);
		return -EINVAL;
	}

	/* A waiter must not keep the resource from being closed. */
	userptr = gem_to_virtio_gpu_userptr(obj);
	virtio_gpu_userptr_get(userptr);
	drm_gem_object_put(obj);

	if (args->wait_state)
		ret = wait_for_state(userptr, args->wait_state, args->timeout_ns);
	if (!ret) {
		args->res_handle = userptr->base.hw_res_handle;
		args->addr = userptr->addr;
		args->size = userptr->base.base.base.size;
		args->flags = userptr->flags;
		args->nr_segments = userptr->nr_segments;
		args->state = uapi_state(userptr);
	}

	virtio_gpu_userptr_put(userptr);
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
