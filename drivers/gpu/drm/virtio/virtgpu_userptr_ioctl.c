// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: the ioctls
 *
 * What user space may ask for, flag by flag, is derived from what the device
 * announced and from what this kernel can do, in one place, and the query ioctl
 * and the parameter say the same.  No lock is taken here but that of a file's
 * events.
 */

#include <linux/mm.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_utils.h>

#include <kunit/visibility.h>

#include "virtgpu_userptr.h"

/* Bytes of a file's 4096 for events that are left to others: half of them. */
#define USERPTR_EVENT_SPARE	2048

#define USERPTR_CREATE_FLAGS	(VIRTGPU_USERPTR_RDONLY | \
				 VIRTGPU_USERPTR_KEEP | \
				 VIRTGPU_USERPTR_EVENT)

#define USERPTR_WAIT_FLAGS	(VIRTGPU_USERPTR_INFO_WAIT_REVOKED | \
				 VIRTGPU_USERPTR_INFO_WAIT_RELEASED)

/* The VIRTGPU_USERPTR_* that are accepted in some kind of context at least. */
static u32 userptr_create_flags(struct virtio_gpu_device *vgdev)
{
	u32 flags = VIRTGPU_USERPTR_KEEP;

	if (!virtio_gpu_userptr_available(vgdev))
		return 0;

	if (IS_ENABLED(CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER))
		flags |= VIRTGPU_USERPTR_EVENT;
	if (vgdev->userptr->limits.rdonly_capsets)
		flags |= VIRTGPU_USERPTR_RDONLY;
	return flags;
}

static int userptr_check_create(struct virtio_gpu_device *vgdev,
				const struct drm_virtgpu_resource_create_userptr *args)
{
	u32 accepted = userptr_create_flags(vgdev);
	const struct virtio_gpu_userptr_limits *limits;
	int ret;

	if (!accepted)
		return -EOPNOTSUPP;
	limits = &vgdev->userptr->limits;

	if (args->flags & ~USERPTR_CREATE_FLAGS || args->pad)
		return -EINVAL;
	if (args->flags & VIRTGPU_USERPTR_EVENT && args->flags & VIRTGPU_USERPTR_KEEP)
		return -EINVAL;

	ret = virtio_gpu_userptr_check_range(args->addr, args->size);
	if (ret)
		return ret;
	if (!IS_ALIGNED(args->addr | args->size, limits->alignment))
		return -EINVAL;
	if (args->size > limits->max_size)
		return -E2BIG;
	if (!access_ok(u64_to_user_ptr(args->addr), args->size))
		return -EFAULT;

	if (args->flags & ~accepted)
		return -EOPNOTSUPP;
	/* Nobody would notice that the memory is gone. */
	if (!IS_ENABLED(CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER) &&
	    !(args->flags & VIRTGPU_USERPTR_KEEP))
		return -EOPNOTSUPP;

	return 0;
}

/*
 * The event that a revoke sends; reserved here, where it can fail, and not in
 * all of the room that the file has for events: execbuffer needs some.
 */
static struct virtio_gpu_userptr_event *userptr_reserve_event(struct drm_device *dev,
							      struct drm_file *file)
{
	struct virtio_gpu_userptr_event *event = kzalloc_obj(*event);
	int ret = -ENOMEM;

	if (!event)
		return NULL;

	event->event.base.type = VIRTGPU_EVENT_USERPTR_REVOKED;
	event->event.base.length = sizeof(event->event);

	spin_lock_irq(&dev->event_lock);
	if (file->event_space >= USERPTR_EVENT_SPARE + (int)sizeof(event->event))
		ret = drm_event_reserve_init_locked(dev, file, &event->base, &event->event.base);
	spin_unlock_irq(&dev->event_lock);

	if (ret) {
		kfree(event);
		return NULL;
	}
	return event;
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
	struct virtio_gpu_userptr_event *event = NULL;
	struct virtio_gpu_object_userptr *userptr;
	u32 handle;
	int ret;

	ret = userptr_check_create(vgdev, args);
	if (ret)
		return ret;

	virtio_gpu_create_context(dev, file);
	virtio_gpu_notify(vgdev);
	if (!virtio_gpu_userptr_may_attach(vgdev, file->driver_priv, args->flags))
		return -EOPNOTSUPP;

	if (args->flags & VIRTGPU_USERPTR_EVENT) {
		event = userptr_reserve_event(dev, file);
		if (!event)
			return -ENOMEM;
	}

	userptr = virtio_gpu_userptr_create(vgdev, untagged_addr(args->addr), args->size,
					    args->flags);
	ret = PTR_ERR_OR_ZERO(userptr);
	if (ret)
		goto out_cancel;

	ret = drm_gem_handle_create(file, &userptr->base.base.base, &handle);
	if (!ret) {
		args->bo_handle = handle;
		args->res_handle = userptr->base.hw_res_handle;
	}
	if (!ret && event) {
		event->event.bo_handle = handle;
		event->event.res_handle = userptr->base.hw_res_handle;
		virtio_gpu_userptr_set_event(userptr, file, event);
		event = NULL;
	}
	/* The handle has a reference; without one this ends the resource. */
	drm_gem_object_put(&userptr->base.base.base);

out_cancel:
	if (event)
		drm_event_cancel_free(dev, &event->base);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_create_ioctl);

/**
 * virtio_gpu_userptr_uapi_state() - the state as user space knows it
 * @userptr: object
 *
 * Return: VIRTGPU_USERPTR_STATE_*.
 */
u32 virtio_gpu_userptr_uapi_state(struct virtio_gpu_object_userptr *userptr)
{
	if (READ_ONCE(userptr->unpinned))
		return VIRTGPU_USERPTR_STATE_RELEASED;

	switch (READ_ONCE(userptr->state)) {
	case VIRTIO_GPU_USERPTR_CREATING:
	case VIRTIO_GPU_USERPTR_LIVE:
		return VIRTGPU_USERPTR_STATE_LIVE;
	default:
		return VIRTGPU_USERPTR_STATE_REVOKED;
	}
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_uapi_state);

/**
 * virtio_gpu_userptr_wait_state() - wait for the end of a resource
 * @userptr: object; the caller has a reference of its own
 * @released: until it is unpinned, or else until it is not LIVE
 * @timeout_ns: CLOCK_MONOTONIC, absolute
 *
 * Return: 0, -ETIME, or -ERESTARTSYS after a signal.
 */
int virtio_gpu_userptr_wait_state(struct virtio_gpu_object_userptr *userptr, bool released,
				  s64 timeout_ns)
{
	u32 until = VIRTGPU_USERPTR_STATE_RELEASED;
	long ret;

	if (!released)
		until |= VIRTGPU_USERPTR_STATE_REVOKED;

	ret = wait_event_interruptible_timeout(userptr->wait,
					       virtio_gpu_userptr_uapi_state(userptr) & until,
					       drm_timeout_abs_to_jiffies(timeout_ns));
	if (ret < 0)
		return ret;
	return virtio_gpu_userptr_uapi_state(userptr) & until ? 0 : -ETIME;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_wait_state);

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

	if (!virtio_gpu_userptr_available(dev->dev_private))
		return -EOPNOTSUPP;
	if (args->flags & ~(USERPTR_WAIT_FLAGS | VIRTGPU_USERPTR_INFO_VERIFY) ||
	    hweight32(args->flags) > 1)
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

	if (args->flags & VIRTGPU_USERPTR_INFO_VERIFY)
		ret = virtio_gpu_userptr_verify_now(userptr);
	else if (args->flags)
		ret = virtio_gpu_userptr_wait_state(userptr, args->flags &
						    VIRTGPU_USERPTR_INFO_WAIT_RELEASED,
						    args->timeout_ns);
	if (!ret) {
		args->res_handle = userptr->base.hw_res_handle;
		args->addr = userptr->addr;
		args->size = userptr->base.base.base.size;
		args->create_flags = userptr->flags;
		args->nr_segments = userptr->nr_segments;
		args->state = virtio_gpu_userptr_uapi_state(userptr);
	}

	virtio_gpu_userptr_put(userptr);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_info_ioctl);

/**
 * virtio_gpu_userptr_query_ioctl() - DRM_IOCTL_VIRTGPU_USERPTR_QUERY
 * @dev: DRM device
 * @data: struct drm_virtgpu_userptr_query
 * @file: caller
 *
 * Return: see struct drm_virtgpu_userptr_query.
 */
int virtio_gpu_userptr_query_ioctl(struct drm_device *dev, void *data, struct drm_file *file)
{
	struct drm_virtgpu_userptr_query *args = data;
	struct virtio_gpu_device *vgdev = dev->dev_private;
	const struct virtio_gpu_userptr_limits *limits;
	u32 flags = userptr_create_flags(vgdev);

	if (args->flags)
		return -EINVAL;
	if (!flags)
		return -EOPNOTSUPP;
	limits = &vgdev->userptr->limits;

	virtio_gpu_create_context(dev, file);
	virtio_gpu_notify(vgdev);
	if (!virtio_gpu_userptr_may_attach(vgdev, file->driver_priv, VIRTGPU_USERPTR_RDONLY))
		flags &= ~VIRTGPU_USERPTR_RDONLY;

	memset(args, 0, sizeof(*args));
	args->create_flags = flags;
	args->rdonly_capset_mask = limits->rdonly_capsets;
	args->max_size = limits->max_size;
	args->max_segments = limits->max_segments;
	args->alignment = limits->alignment;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_query_ioctl);

/**
 * virtio_gpu_userptr_getparam() - VIRTGPU_PARAM_USERPTR
 * @vgdev: device
 *
 * Return: the flags that the create ioctl accepts; 0 if there are no userptr
 * resources here.
 */
int virtio_gpu_userptr_getparam(struct virtio_gpu_device *vgdev)
{
	return userptr_create_flags(vgdev);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_getparam);
