// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: commands, chunks and answers
 *
 * Unlike the rest of this driver, which logs the device's answers, everything
 * here waits for them: an ioctl reports success only when the device has.
 *
 * A resource is described in chunks of at most VIRTIO_GPU_USERPTR_CHUNK entries
 * (and at most what the device takes), of which VIRTIO_GPU_USERPTR_WINDOW are
 * in flight at a time, so that one large registration neither fills the ring
 * nor needs a large buffer.  The first error is kept and ends the sending.
 *
 * What a command and its sender share is a struct userptr_call, counted: a sender that
 * gives up (killed, or the device is gone) drops its reference and leaves, and
 * the answers that still come find valid memory.  The device decides when and
 * in which order it answers, so nothing relies on an order.
 *
 * A wait ends when the answer is there, the device is gone or broken, or a
 * fatal signal is pending.  Other signals end it only after the device has been
 * silent for VIRTIO_GPU_USERPTR_PATIENCE: an ioctl that a profiling timer
 * restarts again and again would otherwise never finish, and a device that
 * hangs can still be interrupted.
 *
 * Nothing here knows of mm: it sees scatterlists and physical addresses.
 */

#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "virtgpu_userptr.h"
#include "virtgpu_userptr_trace.h"

/* How long the device may be silent before any signal ends a wait. */
#define VIRTIO_GPU_USERPTR_PATIENCE	HZ
/* How often a sleeper looks whether the device is gone or broken. */
#define VIRTIO_GPU_USERPTR_POLL		HZ
/* How long probing waits for the device's limits. */
#define VIRTIO_GPU_USERPTR_PROBE	(5 * HZ)
/* Entries of a chunk if a larger buffer is not to be had. */
#define SMALL_CHUNK	(PAGE_SIZE / sizeof(struct virtio_gpu_mem_entry))

/**
 * struct userptr_call - one sender waiting for the answers to its commands
 * @refs: the sender, and every command in flight
 * @vgdev: whose wait queue is woken
 * @lock: protects what follows
 * @in_flight: commands that have not been answered
 * @error: of the first answer that was one
 * @heard: jiffies of the last answer
 * @info: answer to GET_USERPTR_INFO, valid if there was no error
 */
struct userptr_call {
	struct kref refs;
	struct virtio_gpu_device *vgdev;
	spinlock_t lock; /* all below */
	unsigned int in_flight;
	int error;
	unsigned long heard;
	struct virtio_gpu_resp_userptr_info info;
};

/**
 * virtio_gpu_userptr_errno() - the documented table of answers
 * @type: type of the device's answer to a command without data
 *
 * =======================  =============
 * OK_NODATA                0
 * ERR_UNSPEC               -EIO
 * ERR_OUT_OF_MEMORY        -ENOMEM
 * ERR_INVALID_RESOURCE_ID  -ENOENT
 * ERR_INVALID_CONTEXT_ID   -ENOENT
 * ERR_INVALID_PARAMETER    -EINVAL
 * ERR_LIMIT                -ENOSPC
 * ERR_UNSUPPORTED          -EOPNOTSUPP
 * 0, never answered        -ENODEV
 * anything else            -EIO
 * =======================  =============
 *
 * Return: 0 or the negative errno.
 */
int virtio_gpu_userptr_errno(u32 type)
{
	switch (type) {
	case VIRTIO_GPU_RESP_OK_NODATA:
		return 0;
	case VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY:
		return -ENOMEM;
	case VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID:
	case VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID:
		return -ENOENT;
	case VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER:
		return -EINVAL;
	case VIRTIO_GPU_RESP_ERR_LIMIT:
		return -ENOSPC;
	case VIRTIO_GPU_RESP_ERR_UNSUPPORTED:
		return -EOPNOTSUPP;
	case 0:
		return -ENODEV;
	default:
		return -EIO;
	}
}

static struct userptr_call *userptr_call_alloc(struct virtio_gpu_device *vgdev)
{
	struct userptr_call *call = kzalloc_obj(*call);

	if (!call)
		return NULL;

	kref_init(&call->refs);
	call->vgdev = vgdev;
	spin_lock_init(&call->lock);
	call->heard = jiffies;
	return call;
}

static void userptr_call_free(struct kref *refs)
{
	kfree(container_of(refs, struct userptr_call, refs));
}

static void userptr_call_put(struct userptr_call *call)
{
	kref_put(&call->refs, userptr_call_free);
}

/* An answer: consumes the command's reference. */
static void userptr_call_answered(struct userptr_call *call, int error)
{
	spin_lock(&call->lock);
	if (!call->error)
		call->error = error;
	call->in_flight--;
	call->heard = jiffies;
	spin_unlock(&call->lock);

	wake_up_all(&call->vgdev->userptr->wait);
	userptr_call_put(call);
}

static u32 answer_type(const struct virtio_gpu_vbuffer *vbuf)
{
	return le32_to_cpu(((struct virtio_gpu_ctrl_hdr *)vbuf->resp_buf)->type);
}

static void answer_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	userptr_call_answered(vbuf->resp_cb_data, virtio_gpu_userptr_errno(answer_type(vbuf)));
}

static void info_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct userptr_call *call = vbuf->resp_cb_data;
	u32 type = answer_type(vbuf);
	int ret = 0;

	if (type == VIRTIO_GPU_RESP_OK_USERPTR_INFO)
		call->info = *(struct virtio_gpu_resp_userptr_info *)vbuf->resp_buf;
	else
		ret = virtio_gpu_userptr_errno(type) ?: -EIO;

	userptr_call_answered(call, ret);
}

static void destroy_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct virtio_gpu_object_userptr *userptr = vbuf->resp_cb_data;
	u32 type = answer_type(vbuf);

	/*
	 * Only two answers say that there is no access any more.  With any
	 * other, or none, the pages stay where they are until the device is
	 * reset.
	 */
	if (type == VIRTIO_GPU_RESP_OK_NODATA ||
	    type == VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) {
		virtio_gpu_userptr_destroyed(userptr);
	} else if (type) {
		drm_err_ratelimited(vgdev->ddev,
				    "userptr resource %u: device refuses to let go (0x%x), pages stay pinned\n",
				    userptr->base.hw_res_handle, type);
		virtio_gpu_userptr_held(userptr);
	}

	virtio_gpu_userptr_put(userptr);
}

static bool userptr_call_done(struct userptr_call *call, unsigned int max_in_flight)
{
	bool done;

	spin_lock(&call->lock);
	done = call->error || call->in_flight <= max_in_flight;
	spin_unlock(&call->lock);
	return done;
}

static bool device_gone(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	return READ_ONCE(u->gone) || u->transport->broken(vgdev);
}

static bool wait_over(struct userptr_call *call, unsigned int max_in_flight)
{
	return userptr_call_done(call, max_in_flight) || device_gone(call->vgdev);
}

/*
 * Wait until at most @max_in_flight commands are unanswered.  0, the first
 * error that the device answered, -ENODEV, -ERESTARTSYS for a fatal signal or
 * -EINTR for another.  (Restarting after the latter would pin the memory again,
 * while the first pin waits for a device that is silent.)
 */
static int userptr_call_wait(struct userptr_call *call, unsigned int max_in_flight)
{
	struct virtio_gpu_device *vgdev = call->vgdev;
	struct virtio_gpu_userptr_device *u = vgdev->userptr;

	might_sleep();
	if (!device_gone(vgdev))
		u->transport->kick(vgdev);

	while (!userptr_call_done(call, max_in_flight)) {
		long patience = READ_ONCE(call->heard) + VIRTIO_GPU_USERPTR_PATIENCE - jiffies;
		long ret;

		if (device_gone(vgdev))
			return -ENODEV;

		if (patience > 0)
			ret = wait_event_killable_timeout(u->wait, wait_over(call, max_in_flight),
							  patience);
		else
			ret = wait_event_interruptible_timeout(u->wait,
							       wait_over(call, max_in_flight),
							       VIRTIO_GPU_USERPTR_POLL);
		if (ret < 0)
			return fatal_signal_pending(current) ? -ERESTARTSYS : -EINTR;
	}

	return call->error;
}

/*
 * For a task that waits for room since @since: 0, or why it should give up.  A
 * silent device must not keep a task from exiting.
 */
static int give_up(unsigned long since)
{
	if (fatal_signal_pending(current) || current->flags & PF_EXITING)
		return -ERESTARTSYS;
	if (signal_pending(current) && time_after(jiffies, since + VIRTIO_GPU_USERPTR_PATIENCE))
		return -EINTR;
	return 0;
}

/*
 * Send @vbuf, waiting for room.  It is consumed, whatever the outcome: 0,
 * -ENODEV, or what give_up() says.
 */
static int send_vbuf(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct virtio_gpu_userptr_device *u = vgdev->userptr;
	unsigned long since = jiffies;
	int ret;

	while ((ret = u->transport->try_send(vgdev, vbuf)) == -ENOSPC) {
		ret = device_gone(vgdev) ? -ENODEV : give_up(since);
		if (ret)
			break;
		u->transport->kick(vgdev);
		u->transport->wait_room(vgdev, HZ / 10);
	}

	if (ret)
		virtio_gpu_free_ctrl_vbuf(vgdev, vbuf);
	return ret;
}

/* Send a command whose answer @call waits for; consumes @vbuf. */
static int userptr_call_send(struct userptr_call *call, struct virtio_gpu_vbuffer *vbuf)
{
	int ret;

	kref_get(&call->refs);
	spin_lock(&call->lock);
	call->in_flight++;
	spin_unlock(&call->lock);
	vbuf->resp_cb_data = call;

	ret = send_vbuf(call->vgdev, vbuf);
	if (ret) {
		spin_lock(&call->lock);
		call->in_flight--;
		spin_unlock(&call->lock);
		userptr_call_put(call);
	}
	return ret;
}

/**
 * virtio_gpu_userptr_check_info() - believe nothing that a device says
 * @info: the device's answer to GET_USERPTR_INFO
 * @limits: filled on success
 *
 * Return: 0, or -EINVAL if the answer makes no sense for this kernel: a limit
 * of 0, or an alignment that is no power of two or coarser than a page.
 */
int virtio_gpu_userptr_check_info(const struct virtio_gpu_resp_userptr_info *info,
				  struct virtio_gpu_userptr_limits *limits)
{
	u32 alignment = le32_to_cpu(info->alignment);
	u64 max_size = ALIGN_DOWN(le64_to_cpu(info->max_size), PAGE_SIZE);
	u32 max_entries = le32_to_cpu(info->max_entries);
	u32 max_segments = le32_to_cpu(info->max_segments);

	if (!is_power_of_2(alignment) || alignment > PAGE_SIZE)
		return -EINVAL;
	if (!max_size || !max_entries || !max_segments)
		return -EINVAL;

	limits->max_size = min(max_size, (u64)INT_MAX << PAGE_SHIFT);
	limits->max_entries = max_entries;
	limits->max_segments = max_segments;
	limits->rdonly_capsets = 0;
	if (le32_to_cpu(info->flags) & VIRTIO_GPU_USERPTR_INFO_RDONLY)
		limits->rdonly_capsets = le64_to_cpu(info->rdonly_capset_mask);
	return 0;
}

/**
 * virtio_gpu_userptr_cmd_get_info() - ask for the device's limits
 * @vgdev: device that offers VIRTIO_GPU_F_RESOURCE_USERPTR
 * @limits: filled on success
 *
 * Called once, at probe.  Sleeps.
 *
 * Return: 0; -ETIMEDOUT, -ENOMEM, -ENODEV; -EINVAL for an answer that makes no
 * sense; or what the device's answer maps to.
 */
int virtio_gpu_userptr_cmd_get_info(struct virtio_gpu_device *vgdev,
				    struct virtio_gpu_userptr_limits *limits)
{
	struct virtio_gpu_ctrl_hdr cmd = {
		.type = cpu_to_le32(VIRTIO_GPU_CMD_GET_USERPTR_INFO),
	};
	struct virtio_gpu_vbuffer *vbuf;
	struct userptr_call *call;
	int ret = -ENOMEM;

	call = userptr_call_alloc(vgdev);
	if (!call)
		return -ENOMEM;

	vbuf = virtio_gpu_alloc_ctrl_vbuf(vgdev, &cmd, sizeof(cmd), sizeof(call->info), info_cb);
	if (!vbuf)
		goto out_put;

	ret = userptr_call_send(call, vbuf);
	if (ret)
		goto out_put;

	vgdev->userptr->transport->kick(vgdev);
	if (!wait_event_timeout(vgdev->userptr->wait, userptr_call_done(call, 0),
				VIRTIO_GPU_USERPTR_PROBE))
		ret = -ETIMEDOUT;
	else
		ret = call->error ?: virtio_gpu_userptr_check_info(&call->info, limits);

out_put:
	userptr_call_put(call);
	return ret;
}

/**
 * virtio_gpu_userptr_fill() - describe the next entries of a resource
 * @cursor: where to go on; advanced
 * @ents: filled, wire format
 * @max: room in @ents
 *
 * Return: entries filled, 0 at the end.
 */
u32 virtio_gpu_userptr_fill(struct virtio_gpu_userptr_cursor *cursor,
			    struct virtio_gpu_mem_entry *ents, u32 max)
{
	u32 nr = min(cursor->left, max);
	u32 i;

	for (i = 0; i < nr; i++) {
		ents[i].addr = cpu_to_le64(sg_phys(cursor->sg));
		ents[i].length = cpu_to_le32(cursor->sg->length);
		ents[i].padding = 0;
		cursor->offset += cursor->sg->length;
		cursor->sg = sg_next(cursor->sg);
	}
	cursor->left -= nr;
	return nr;
}

/* A buffer for at most *max entries; *max shrinks if memory is short. */
static struct virtio_gpu_mem_entry *alloc_entries(u32 *max)
{
	struct virtio_gpu_mem_entry *ents;

	ents = kmalloc_array(*max, sizeof(*ents), GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
	if (ents || *max <= SMALL_CHUNK)
		return ents;

	*max = SMALL_CHUNK;
	return kmalloc_array(*max, sizeof(*ents), GFP_KERNEL);
}

/* The head of a chunk: CREATE for the first one, ADD for the others. */
static struct virtio_gpu_vbuffer *
alloc_chunk(struct virtio_gpu_device *vgdev, struct virtio_gpu_object_userptr *userptr,
	    u64 offset, u32 nr_entries)
{
	struct virtio_gpu_resource_create_userptr create = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR),
		.resource_id = cpu_to_le32(userptr->base.hw_res_handle),
		.size = cpu_to_le64(userptr->base.base.base.size),
		.nr_segments = cpu_to_le32(userptr->nr_segments),
		.nr_entries = cpu_to_le32(nr_entries),
	};
	struct virtio_gpu_resource_add_userptr_pages add = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES),
		.resource_id = cpu_to_le32(userptr->base.hw_res_handle),
		.nr_entries = cpu_to_le32(nr_entries),
		.offset = cpu_to_le64(offset),
	};

	if (offset)
		return virtio_gpu_alloc_ctrl_vbuf(vgdev, &add, sizeof(add),
						  sizeof(struct virtio_gpu_ctrl_hdr), answer_cb);

	if (userptr->flags & VIRTGPU_USERPTR_RDONLY)
		create.flags = cpu_to_le32(VIRTIO_GPU_USERPTR_RDONLY);

	return virtio_gpu_alloc_ctrl_vbuf(vgdev, &create, sizeof(create),
					  sizeof(struct virtio_gpu_ctrl_hdr), answer_cb);
}

static int send_chunk(struct userptr_call *call, struct virtio_gpu_object_userptr *userptr,
		      struct virtio_gpu_userptr_cursor *cursor)
{
	struct virtio_gpu_device *vgdev = call->vgdev;
	u32 max = min(cursor->left, vgdev->userptr->limits.max_entries);
	struct virtio_gpu_mem_entry *ents;
	struct virtio_gpu_vbuffer *vbuf;
	u64 offset = cursor->offset;
	int idx;
	u32 nr;

	max = min(max, VIRTIO_GPU_USERPTR_CHUNK);
	ents = alloc_entries(&max);
	if (!ents)
		return -ENOMEM;

	/*
	 * Removing the device unpins, once nobody is inside such a section any
	 * more: the scatterlist must not be looked at outside of one.
	 */
	if (!drm_dev_enter(vgdev->ddev, &idx)) {
		kfree(ents);
		return -ENODEV;
	}
	nr = virtio_gpu_userptr_fill(cursor, ents, max);
	drm_dev_exit(idx);

	vbuf = alloc_chunk(vgdev, userptr, offset, nr);
	if (!vbuf) {
		kfree(ents);
		return -ENOMEM;
	}
	vbuf->data_buf = ents;
	vbuf->data_size = nr * sizeof(*ents);

	trace_virtio_gpu_userptr_chunk(userptr->base.hw_res_handle, offset, nr);
	return userptr_call_send(call, vbuf);
}

/**
 * virtio_gpu_userptr_cmd_create() - tell the device about a resource
 * @vgdev: device
 * @userptr: pinned, CREATING
 *
 * Sleeps.  Whatever the outcome, the device may know the resource afterwards:
 * undo with virtio_gpu_userptr_cmd_destroy().
 *
 * Return: 0 if the device has accepted all of it; -ENOMEM, -ENODEV,
 * -ERESTARTSYS or -EINTR after a signal, or what the device's first error
 * answer maps to.
 */
int virtio_gpu_userptr_cmd_create(struct virtio_gpu_device *vgdev,
				  struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_cursor cursor = {
		.sg = userptr->pin.table.sgt.sgl,
		.left = userptr->nr_segments,
	};
	struct userptr_call *call;
	int ret = 0;

	call = userptr_call_alloc(vgdev);
	if (!call)
		return -ENOMEM;

	while (!ret && cursor.left) {
		ret = userptr_call_wait(call, VIRTIO_GPU_USERPTR_WINDOW - 1);
		if (!ret)
			ret = send_chunk(call, userptr, &cursor);
	}
	if (!ret)
		ret = userptr_call_wait(call, 0);

	userptr_call_put(call);
	return ret;
}

static struct virtio_gpu_vbuffer *
alloc_ctx_resource(struct virtio_gpu_device *vgdev, u32 type, u32 ctx_id, u32 res_id,
		   virtio_gpu_resp_cb cb)
{
	struct virtio_gpu_ctx_resource cmd = {
		.hdr.type = cpu_to_le32(type),
		.hdr.ctx_id = cpu_to_le32(ctx_id),
		.resource_id = cpu_to_le32(res_id),
	};

	return virtio_gpu_alloc_ctrl_vbuf(vgdev, &cmd, sizeof(cmd),
					  sizeof(struct virtio_gpu_ctrl_hdr), cb);
}

/**
 * virtio_gpu_userptr_cmd_attach() - make a resource usable in a context
 * @vgdev: device
 * @ctx_id: context
 * @res_id: LIVE userptr resource
 *
 * Sleeps until the device has answered.
 *
 * Return: as virtio_gpu_userptr_cmd_create().
 */
int virtio_gpu_userptr_cmd_attach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id)
{
	struct virtio_gpu_vbuffer *vbuf;
	struct userptr_call *call;
	int ret = -ENOMEM;

	call = userptr_call_alloc(vgdev);
	if (!call)
		return -ENOMEM;

	vbuf = alloc_ctx_resource(vgdev, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx_id, res_id,
				  answer_cb);
	if (vbuf)
		ret = userptr_call_send(call, vbuf);
	if (!ret)
		ret = userptr_call_wait(call, 0);

	userptr_call_put(call);
	return ret;
}

/**
 * virtio_gpu_userptr_cmd_detach() - undo attach
 * @vgdev: device
 * @ctx_id: context
 * @res_id: userptr resource
 *
 * Sleeps until the command is queued, not for the answer: DESTROY_USERPTR is
 * what guarantees that access has ended.
 *
 * Return: 0, -ENOMEM, -ENODEV, or -ERESTARTSYS or -EINTR after a signal.
 */
int virtio_gpu_userptr_cmd_detach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id)
{
	struct virtio_gpu_vbuffer *vbuf;
	int ret;

	vbuf = alloc_ctx_resource(vgdev, VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, ctx_id, res_id, NULL);
	if (!vbuf)
		return -ENOMEM;

	ret = send_vbuf(vgdev, vbuf);
	if (!ret)
		vgdev->userptr->transport->kick(vgdev);
	return ret;
}

/**
 * virtio_gpu_userptr_cmd_destroy() - ask the device to end all access
 * @vgdev: device
 * @userptr: REVOKING
 *
 * The answer arrives as virtio_gpu_userptr_destroyed() or, if it is anything
 * but a promise, virtio_gpu_userptr_held().  May sleep for memory.
 *
 * Return: 0; -ENOSPC if there is no room now; -ENODEV, then only resetting the
 * device ends its access.
 */
int virtio_gpu_userptr_cmd_destroy(struct virtio_gpu_device *vgdev,
				   struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR),
		.resource_id = cpu_to_le32(userptr->base.hw_res_handle),
	};
	struct virtio_gpu_vbuffer *vbuf;
	int ret;

	vbuf = virtio_gpu_alloc_ctrl_vbuf(vgdev, &cmd, sizeof(cmd),
					  sizeof(struct virtio_gpu_ctrl_hdr), destroy_cb);
	virtio_gpu_userptr_get(userptr);
	vbuf->resp_cb_data = userptr;
	trace_virtio_gpu_userptr_destroy(userptr->base.hw_res_handle);

	ret = vgdev->userptr->transport->try_send(vgdev, vbuf);
	if (ret) {
		virtio_gpu_userptr_put(userptr);
		virtio_gpu_free_ctrl_vbuf(vgdev, vbuf);
	}
	vgdev->userptr->transport->kick(vgdev);
	return ret;
}

/* The device itself: the control queue, see virtgpu_vq.c. */
const struct virtio_gpu_userptr_transport virtio_gpu_userptr_ctrlq = {
	.try_send = virtio_gpu_try_queue_ctrl_vbuf,
	.kick = virtio_gpu_kick_ctrlq,
	.wait_room = virtio_gpu_wait_ctrlq_room,
	.broken = virtio_gpu_ctrlq_broken,
	.stop = virtio_gpu_break_ctrlq,
};
