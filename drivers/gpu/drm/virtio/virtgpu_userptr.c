// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: the object, its states, creation and release
 *
 * A userptr resource is a virtio-gpu resource whose backing is a range of the
 * creating process's own memory, pinned for as long as the device can reach
 * it.
 */

#include <linux/cleanup.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include <kunit/visibility.h>

#include "virtgpu_userptr.h"
#include "virtgpu_trace.h"

/**
 * DOC: Life of a userptr resource
 *
 * ::
 *
 *                       the device has
 *              CREATING accepted all    LIVE
 *                 |  |----------------->| |
 *                 |  |                  | |
 *                 |  | error, signal    | | last handle closed, owner took
 *                 |  |                  | | it back, device is suspended
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
 * its integrity.  As that answer takes its time, the last close does not wait
 * for it.  One worker sends the commands of all resources, which were allocated
 * with them, while there is room in the queue, and sleeps while there is none;
 * what was answered is unpinned by a work of its own.
 *
 * *Revocation*: when the owner takes the memory back, as free(), munmap() and
 * exit() do, virtgpu_userptr_notifier.c notices, and the resource goes the same
 * way as after the last close; only the handle stays until user space closes it,
 * and using it answers -EFAULT.  While a resource is being created the mark is
 * enough: creation fails when it gets there.
 *
 * *Suspend*: the device is reset, and what comes back knows nothing of its
 * resources.  All are revoked before; their pages are unpinned after the reset.
 */

/**
 * DOC: Ownership and locking
 *
 * &virtio_gpu_object_userptr.lock protects the state of one resource and what
 * the notifier leaves there; MMU notifiers take it, so nothing is allocated,
 * woken or waited for under it.  Inside it is only &virtio_gpu_userptr_device.lock,
 * which protects the lists of the device.  Events are sent and waiters woken
 * without both.
 *
 * The pinned pages have an owner and no lock: the creating task while
 * @creating is set, then whoever makes the state DEAD.  In between the runs are
 * only read, by verify_work, which is stopped before they are undone.  When the
 * device is removed under a creating task, which may sleep in a page fault for
 * as long as user space likes, that task undoes them itself.
 */

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
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_is_userptr);

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
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_is_live);

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
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_transition_ok);

/**
 * virtio_gpu_userptr_state_name() - for debugging
 * @state: state
 *
 * Return: its name.
 */
const char *virtio_gpu_userptr_state_name(enum virtio_gpu_userptr_state state)
{
	static const char * const names[] = {
		[VIRTIO_GPU_USERPTR_CREATING] = "CREATING",
		[VIRTIO_GPU_USERPTR_LIVE] = "LIVE",
		[VIRTIO_GPU_USERPTR_REVOKING] = "REVOKING",
		[VIRTIO_GPU_USERPTR_DEAD] = "DEAD",
	};

	return names[state];
}

/* The one place in which a state changes; who waits is woken without the lock. */
static void userptr_set_state(struct virtio_gpu_object_userptr *userptr,
			      enum virtio_gpu_userptr_state to)
{
	lockdep_assert_held(&userptr->lock);

	WARN_ON_ONCE(!virtio_gpu_userptr_transition_ok(userptr->state, to));
	trace_virtio_gpu_userptr_state(userptr->base.hw_res_handle, userptr->state, to);
	WRITE_ONCE(userptr->state, to);
}

static void userptr_wake(struct virtio_gpu_object_userptr *userptr)
{
	if (wq_has_sleeper(&userptr->wait))
		wake_up_all(&userptr->wait);
}

/**
 * virtio_gpu_userptr_get() - keep the struct, not the memory
 * @userptr: object
 */
void virtio_gpu_userptr_get(struct virtio_gpu_object_userptr *userptr)
{
	kref_get(&userptr->refs);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_get);

static void userptr_kfree(struct kref *refs)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(refs, struct virtio_gpu_object_userptr, refs);
	struct drm_device *dev = userptr->base.base.base.dev;

	if (userptr->destroy)
		virtio_gpu_free_ctrl_vbuf(dev->dev_private, userptr->destroy);
	virtio_gpu_resource_id_put(dev->dev_private, userptr->base.hw_res_handle);
	drm_gem_object_release(&userptr->base.base.base);
	put_pid(userptr->pid);
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
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_put);

/**
 * virtio_gpu_userptr_unlist() - take it off a list that has a reference
 * @userptr: object, of which the caller has a reference of its own
 * @node: its @node or @release_node, perhaps on no list
 */
void virtio_gpu_userptr_unlist(struct virtio_gpu_object_userptr *userptr, struct list_head *node)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	scoped_guard(spinlock, &u->lock) {
		if (list_empty(node))
			return;
		list_del_init(node);
	}
	virtio_gpu_userptr_put(userptr);
}

/**
 * virtio_gpu_userptr_finish() - the device cannot reach the pages any more
 * @userptr: object, of which the caller has a reference
 *
 * Gives them back, unless somebody else is doing just that, or a task is still
 * creating the object: then that task will.  Sleeps, and waits for the notifier.
 */
void virtio_gpu_userptr_finish(struct virtio_gpu_object_userptr *userptr)
{
	might_sleep();

	scoped_guard(spinlock, &userptr->lock) {
		if (userptr->creating || userptr->state == VIRTIO_GPU_USERPTR_DEAD)
			return;
		userptr_set_state(userptr, VIRTIO_GPU_USERPTR_DEAD);
	}

	virtio_gpu_userptr_watch_stop_verify(userptr);
	virtio_gpu_userptr_unpin(&userptr->pin);
	WRITE_ONCE(userptr->unpinned, true);
	userptr_wake(userptr);

	/* Waits for invalidations of that process: the memory must not. */
	virtio_gpu_userptr_watch_stop(userptr);
	virtio_gpu_userptr_unlist(userptr, &userptr->release_node);
	virtio_gpu_userptr_unlist(userptr, &userptr->node);
}

static void userptr_unpin_work(struct work_struct *work)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(work, struct virtio_gpu_object_userptr, unpin_work);

	virtio_gpu_userptr_finish(userptr);
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

	virtio_gpu_userptr_get(userptr);
	if (!queue_work(u->release_wq, &userptr->unpin_work))
		virtio_gpu_userptr_put(userptr);
}

/**
 * virtio_gpu_userptr_kept() - the device does not let go
 * @userptr: object whose DESTROY_USERPTR was refused
 *
 * Nobody should wait for its charge to be given back.  Does not sleep.
 */
void virtio_gpu_userptr_kept(struct virtio_gpu_object_userptr *userptr)
{
	virtio_gpu_userptr_expect_uncharge(&userptr->pin, false);
}

static void userptr_start_release(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	lockdep_assert_held(&userptr->lock);

	userptr_set_state(userptr, VIRTIO_GPU_USERPTR_REVOKING);
	virtio_gpu_userptr_expect_uncharge(&userptr->pin, true);

	guard(spinlock)(&u->lock);
	/* Removal finds it among the objects. */
	if (u->gone)
		return;
	virtio_gpu_userptr_get(userptr);
	list_add_tail(&userptr->release_node, &u->releases);
	if (!u->suspended)
		queue_work(u->release_wq, &u->release_work);
}

static struct virtio_gpu_userptr_event *
userptr_take_event(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_event *event = userptr->event;

	lockdep_assert_held(&userptr->lock);

	userptr->event = NULL;
	return event;
}

/**
 * virtio_gpu_userptr_revoke() - the owner has taken the memory back
 * @userptr: object in any state
 *
 * Idempotent; does not sleep; MMU notifiers call it.
 */
void virtio_gpu_userptr_revoke(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_event *event;

	scoped_guard(spinlock, &userptr->lock) {
		/* While it is CREATING the mark is enough. */
		WRITE_ONCE(userptr->revoked, true);
		if (userptr->state == VIRTIO_GPU_USERPTR_LIVE)
			userptr_start_release(userptr);
		event = userptr_take_event(userptr);
	}

	if (event)
		drm_send_event(userptr->base.base.base.dev, &event->base);
	userptr_wake(userptr);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_revoke);

static bool userptr_file_has(struct drm_file *file, u32 handle, struct drm_gem_object *obj)
{
	struct drm_gem_object *found = drm_gem_object_lookup(file, handle);

	if (found)
		drm_gem_object_put(found);
	return found == obj;
}

/* The event is not to be sent if its handle does not name @userptr any more. */
static void userptr_forget_event(struct virtio_gpu_object_userptr *userptr, struct drm_file *file)
{
	struct drm_gem_object *obj = &userptr->base.base.base;
	struct virtio_gpu_userptr_event *event = NULL;
	u32 handle = 0;

	scoped_guard(spinlock, &userptr->lock)
		if (userptr->event && userptr->event_file == file)
			handle = userptr->event->event.bo_handle;

	if (!handle || userptr_file_has(file, handle, obj))
		return;

	scoped_guard(spinlock, &userptr->lock)
		event = userptr_take_event(userptr);
	if (event)
		drm_event_cancel_free(obj->dev, &event->base);
}

/**
 * virtio_gpu_userptr_set_event() - what to send if the memory is taken back
 * @userptr: object with a handle
 * @file: whose handle it is
 * @event: reserved for @file, with its handle filled in; taken over
 *
 * If it has been taken back already, it is sent at once.
 */
void virtio_gpu_userptr_set_event(struct virtio_gpu_object_userptr *userptr,
				  struct drm_file *file, struct virtio_gpu_userptr_event *event)
{
	scoped_guard(spinlock, &userptr->lock) {
		userptr->event = event;
		userptr->event_file = file;
		event = userptr->revoked ? userptr_take_event(userptr) : NULL;
	}

	if (event)
		drm_send_event(userptr->base.base.base.dev, &event->base);
	else
		/* The handle may have been guessed, and closed. */
		userptr_forget_event(userptr, file);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_set_event);

/* GEM: the last handle and the last user are gone, or creation failed. */
static void virtio_gpu_userptr_free(struct drm_gem_object *obj)
{
	struct virtio_gpu_object_userptr *userptr = gem_to_virtio_gpu_userptr(obj);
	struct virtio_gpu_userptr_event *event;

	scoped_guard(spinlock, &userptr->lock) {
		if (userptr->state == VIRTIO_GPU_USERPTR_LIVE)
			userptr_start_release(userptr);
		event = userptr_take_event(userptr);
	}
	/* Also if the file has gone: then only its memory is left. */
	if (event)
		drm_event_cancel_free(obj->dev, &event->base);
	virtio_gpu_userptr_put(userptr);
}

/**
 * virtio_gpu_userptr_may_attach() - can a context have such a resource?
 * @vgdev: device
 * @vfpriv: whose context
 * @flags: VIRTGPU_USERPTR_* of the resource
 *
 * Return: false if it is to be read-only and the host does not enforce that in
 * this kind of context: nothing less is offered.
 */
bool virtio_gpu_userptr_may_attach(struct virtio_gpu_device *vgdev,
				   struct virtio_gpu_fpriv *vfpriv, u32 flags)
{
	u32 capset = vfpriv->context_init & VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK;

	if (!(flags & VIRTGPU_USERPTR_RDONLY))
		return true;

	return capset < 64 && vgdev->userptr->limits.rdonly_capsets & BIT_ULL(capset);
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
	if (!virtio_gpu_userptr_may_attach(vgdev, vfpriv, userptr->flags))
		return -EOPNOTSUPP;
	if (!virtio_gpu_userptr_is_live(&userptr->base))
		return -EFAULT;

	ret = virtio_gpu_userptr_cmd_attach(vgdev, vfpriv->ctx_id, userptr->base.hw_res_handle);
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

	userptr_forget_event(userptr, file);

	/* The device has been told to forget it, contexts and all. */
	if (!virtio_gpu_userptr_is_live(&userptr->base))
		return;

	/* Failure is fine: the context goes with its file. */
	virtio_gpu_userptr_cmd_detach(obj->dev->dev_private, vfpriv->ctx_id,
				      userptr->base.hw_res_handle);
}

/* GEM: sharing would let others depend on one process's mapping. */
static struct dma_buf *virtio_gpu_userptr_export(struct drm_gem_object *obj, int flags)
{
	return ERR_PTR(-EPERM);
}

static void virtio_gpu_userptr_print_info(struct drm_printer *p, unsigned int indent,
					  const struct drm_gem_object *obj)
{
	const struct virtio_gpu_object_userptr *userptr =
		container_of(obj, struct virtio_gpu_object_userptr, base.base.base);

	drm_printf_indent(p, indent, "userptr=0x%llx pid=%d segments=%u state=%s\n",
			  userptr->addr, pid_nr(userptr->pid), userptr->nr_segments,
			  virtio_gpu_userptr_state_name(READ_ONCE(userptr->state)));
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
	if (ret < 0)
		goto err_free;

	ret = virtio_gpu_userptr_cmd_alloc_destroy(vgdev, userptr);
	if (ret)
		goto err_put_id;

	obj = &userptr->base.base.base;
	obj->funcs = &virtio_gpu_userptr_funcs;
	drm_gem_private_object_init(vgdev->ddev, obj, size);

	/* What keeps the transfer ioctls, which copy, away. */
	userptr->base.guest_blob = true;
	userptr->base.blob_mem = VIRTGPU_BLOB_MEM_GUEST;

	kref_init(&userptr->refs);
	INIT_LIST_HEAD(&userptr->base.restore_node);
	INIT_LIST_HEAD(&userptr->node);
	INIT_LIST_HEAD(&userptr->release_node);
	INIT_WORK(&userptr->unpin_work, userptr_unpin_work);
	init_waitqueue_head(&userptr->wait);
	spin_lock_init(&userptr->lock);
	virtio_gpu_userptr_pin_init(&userptr->pin);
	userptr->addr = addr;
	userptr->flags = flags;
	userptr->pid = get_pid(task_tgid(current));
	userptr->mm = current->mm;
	mmgrab(userptr->mm);
	userptr->creator = current;
	userptr->state = VIRTIO_GPU_USERPTR_CREATING;
	userptr->creating = true;

	/* The release outlives the last file. */
	drm_dev_get(vgdev->ddev);
	return userptr;

err_put_id:
	virtio_gpu_resource_id_put(vgdev, userptr->base.hw_res_handle);
err_free:
	kfree(userptr);
	return ERR_PTR(ret);
}

/* From here on the device may be told. */
static int userptr_publish(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	guard(spinlock)(&u->lock);

	if (u->gone || u->suspended)
		return -ENODEV;

	virtio_gpu_userptr_get(userptr);
	list_add_tail(&userptr->node, &u->objects);
	return 0;
}

/* Pin batch by batch, and tell the device what there is while it goes on. */
static int userptr_pin_and_tell(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);
	struct virtio_gpu_userptr_pin *pin = &userptr->pin;
	struct virtio_gpu_userptr_call *call;
	int ret = 0;

	call = virtio_gpu_userptr_cmd_create_begin(userptr);
	if (!call)
		return -ENOMEM;

	pin->writable = !(userptr->flags & VIRTGPU_USERPTR_RDONLY);
	while (!ret && pin->nr_pinned < pin->nr_pages) {
		if (READ_ONCE(userptr->revoked))
			ret = -EFAULT;
		else if (READ_ONCE(u->gone))
			ret = -ENODEV;
		else
			ret = virtio_gpu_userptr_pin_batch(pin, userptr->addr,
							   u->limits.max_segments);
		if (!ret)
			ret = virtio_gpu_userptr_cmd_create_send(call);
	}
	return virtio_gpu_userptr_cmd_create_end(call, ret);
}

static int userptr_go_live(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	userptr->nr_segments = userptr->pin.nr_runs;

	guard(spinlock)(&userptr->lock);

	/* Removing the device, or the owner, may have been quicker. */
	if (userptr->revoked)
		return -EFAULT;
	scoped_guard(spinlock, &u->lock)
		if (u->gone || u->suspended)
			return -ENODEV;

	userptr->creating = false;
	userptr_set_state(userptr, VIRTIO_GPU_USERPTR_LIVE);
	virtio_gpu_userptr_watch_live(userptr);
	return 0;
}

/* Creation failed: the pages are the creating task's only if nobody was told. */
static void userptr_abort(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);
	bool reachable;

	scoped_guard(spinlock, &userptr->lock) {
		userptr->creating = false;
		scoped_guard(spinlock, &u->lock)
			reachable = userptr->told && !u->no_access;
		if (reachable)
			userptr_start_release(userptr);
	}
	if (!reachable)
		virtio_gpu_userptr_finish(userptr);
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
	int ret = 0;

	userptr = userptr_alloc(vgdev, addr, size, flags);
	if (IS_ERR(userptr))
		return userptr;

	/* Before anything is pinned: what happens to it later does not get lost. */
	if (!(flags & VIRTGPU_USERPTR_KEEP))
		ret = virtio_gpu_userptr_watch_start(userptr);
	if (!ret)
		ret = virtio_gpu_userptr_charge(&userptr->pin, size >> PAGE_SHIFT);
	if (!ret)
		ret = userptr_publish(userptr);
	if (!ret)
		ret = userptr_pin_and_tell(userptr);
	if (!ret)
		ret = userptr_go_live(userptr);

	trace_virtio_gpu_userptr_create(userptr->base.hw_res_handle, addr, size, flags,
					userptr->nr_segments, ret);
	if (ret) {
		userptr_abort(userptr);
		drm_gem_object_put(&userptr->base.base.base);
		return ERR_PTR(ret);
	}
	return userptr;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_create);
