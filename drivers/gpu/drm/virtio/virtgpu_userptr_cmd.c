// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: commands, chunks and answers
 *
 * Unlike the rest of this driver, which logs the device's answers, everything
 * here waits for them: an ioctl reports success only when the device has.
 *
 * A resource is described in chunks of at most VIRTIO_GPU_USERPTR_CHUNK entries
 * (and at most what the device takes).  A chunk leaves as soon as it is full,
 * while the rest is still being pinned, so that driver and device work at the
 * same time.  VIRTIO_GPU_USERPTR_WINDOW of them are in flight at a time, which
 * bounds the buffers, and what one registration takes of the ring.  The first
 * error is kept and ends the sending.
 *
 * What commands and their sender share is a struct virtio_gpu_userptr_call,
 * counted: a sender that gives up (killed, or the device is gone) drops its
 * reference and leaves, and the answers that still come find valid memory.  The
 * device decides when and in which order it answers, so nothing relies on an
 * order.
 *
 * A wait ends when the answer is there, the device is gone or broken, or a
 * fatal signal is pending.  Other signals end it only after the device has been
 * silent for VIRTIO_GPU_USERPTR_PATIENCE: an ioctl that a profiling timer
 * restarts again and again would otherwise never finish, and a device that
 * hangs can still be interrupted.
 *
 * Nothing here knows of mm: it sees runs and physical addresses.
 */

#include <linux/jiffies.h>
#include <linux/pfn.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_print.h>

#include <kunit/visibility.h>

#include "virtgpu_userptr.h"
#include "virtgpu_trace.h"

/* How long the device may be silent before any signal ends a wait. */
#define VIRTIO_GPU_USERPTR_PATIENCE	HZ
/* How often a sleeper looks whether the device is gone or broken. */
#define VIRTIO_GPU_USERPTR_POLL		HZ
/* How long probing waits for the device's limits. */
#define VIRTIO_GPU_USERPTR_PROBE	(5 * HZ)

/**
 * struct virtio_gpu_userptr_call - one sender and its commands
 * @refs: the sender, and every command in flight
 * @vgdev: device
 * @userptr: resource that is being created; the sender's, not counted
 * @cursor: run to send next; the sender's
 * @offset: bytes sent so far; the sender's
 * @max_entries: entries of a buffer
 * @wait: where the sender waits; nobody else does
 * @lock: protects what follows
 * @in_flight: commands that have not been answered
 * @error: of the first answer that was one
 * @heard: jiffies of the last answer
 * @info: answer to GET_USERPTR_INFO, valid if there was no error
 * @spare: buffers of answered chunks, to be used again
 * @nr_spare: used of @spare
 */
struct virtio_gpu_userptr_call {
	struct kref refs;
	struct virtio_gpu_device *vgdev;
	struct virtio_gpu_object_userptr *userptr;
	struct virtio_gpu_userptr_cursor cursor;
	u64 offset;
	u32 max_entries;
	wait_queue_head_t wait;
	spinlock_t lock; /* all below */
	unsigned int in_flight;
	int error;
	unsigned long heard;
	struct virtio_gpu_resp_userptr_info info;
	void *spare[VIRTIO_GPU_USERPTR_WINDOW];
	unsigned int nr_spare;
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
	default:
		return -EIO;
	}
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_errno);

static struct virtio_gpu_userptr_call *userptr_call_alloc(struct virtio_gpu_device *vgdev)
{
	struct virtio_gpu_userptr_call *call = kzalloc_obj(*call);

	if (!call)
		return NULL;

	kref_init(&call->refs);
	call->vgdev = vgdev;
	init_waitqueue_head(&call->wait);
	spin_lock_init(&call->lock);
	call->heard = jiffies;
	return call;
}

static void userptr_call_free(struct kref *refs)
{
	struct virtio_gpu_userptr_call *call =
		container_of(refs, struct virtio_gpu_userptr_call, refs);

	while (call->nr_spare)
		kfree(call->spare[--call->nr_spare]);
	kfree(call);
}

static void userptr_call_put(struct virtio_gpu_userptr_call *call)
{
	kref_put(&call->refs, userptr_call_free);
}

/* A command has ended: consumes its reference. */
static void userptr_call_answered(struct virtio_gpu_userptr_call *call,
				  struct virtio_gpu_vbuffer *vbuf, int error)
{
	spin_lock(&call->lock);
	if (!call->error)
		call->error = error;
	call->in_flight--;
	call->heard = jiffies;
	if (vbuf->data_buf && call->nr_spare < ARRAY_SIZE(call->spare)) {
		call->spare[call->nr_spare++] = vbuf->data_buf;
		vbuf->data_buf = NULL;
	}
	spin_unlock(&call->lock);

	wake_up(&call->wait);
	userptr_call_put(call);
}

static u32 userptr_answer_type(const struct virtio_gpu_vbuffer *vbuf)
{
	return le32_to_cpu(((struct virtio_gpu_ctrl_hdr *)vbuf->resp_buf)->type);
}

static void userptr_answer_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	int error = virtio_gpu_userptr_errno(userptr_answer_type(vbuf));

	trace_virtio_gpu_userptr_answer(virtio_gpu_userptr_cmd_type(vbuf), error);
	userptr_call_answered(vbuf->resp_cb_data, vbuf, error);
}

static void userptr_info_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct virtio_gpu_userptr_call *call = vbuf->resp_cb_data;
	u32 type = userptr_answer_type(vbuf);
	int ret = 0;

	if (type == VIRTIO_GPU_RESP_OK_USERPTR_INFO)
		call->info = *(struct virtio_gpu_resp_userptr_info *)vbuf->resp_buf;
	else
		ret = virtio_gpu_userptr_errno(type) ?: -EIO;

	userptr_call_answered(call, vbuf, ret);
}

/* The device was reset before it answered. */
static void userptr_reset_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	userptr_call_answered(vbuf->resp_cb_data, vbuf, -ENODEV);
}

static bool userptr_call_done(struct virtio_gpu_userptr_call *call, unsigned int max_in_flight)
{
	bool done;

	spin_lock(&call->lock);
	done = call->error || call->in_flight <= max_in_flight;
	spin_unlock(&call->lock);
	return done;
}

/*
 * Wait until at most @max_in_flight commands are unanswered.  0, the first
 * error that the device answered, -ENODEV, -ERESTARTSYS for a fatal signal or
 * -EINTR for another.  (Restarting after the latter would pin the memory again,
 * while the first pin waits for a device that is silent.)
 */
static int userptr_call_wait(struct virtio_gpu_userptr_call *call, unsigned int max_in_flight)
{
	might_sleep();

	while (!userptr_call_done(call, max_in_flight)) {
		long patience = READ_ONCE(call->heard) + VIRTIO_GPU_USERPTR_PATIENCE - jiffies;
		long ret;

		if (virtio_gpu_ctrlq_room(call->vgdev) < 0)
			return -ENODEV;

		if (patience > 0)
			ret = wait_event_killable_timeout(call->wait,
							  userptr_call_done(call, max_in_flight),
							  patience);
		else
			ret = wait_event_interruptible_timeout(call->wait,
							       userptr_call_done(call,
										 max_in_flight),
							       VIRTIO_GPU_USERPTR_POLL);
		if (ret < 0)
			return fatal_signal_pending(current) ? -ERESTARTSYS : -EINTR;
	}

	return READ_ONCE(call->error);
}

/*
 * For a task that waits for room since @since: 0, or why it should give up.  A
 * silent device must not keep a task from exiting.
 */
static int userptr_give_up(unsigned long since, unsigned long deadline)
{
	if (fatal_signal_pending(current) || current->flags & PF_EXITING)
		return -ERESTARTSYS;
	if (signal_pending(current) && time_after(jiffies, since + VIRTIO_GPU_USERPTR_PATIENCE))
		return -EINTR;
	if (deadline && time_after(jiffies, deadline))
		return -ETIMEDOUT;
	return 0;
}

/*
 * Send a command whose answer @call waits for, waiting for room, until @deadline
 * if that is not 0.  @vbuf is consumed, whatever the outcome: 0, -ENODEV, or
 * what userptr_give_up() says.
 */
static int userptr_call_send(struct virtio_gpu_userptr_call *call,
			     struct virtio_gpu_vbuffer *vbuf, unsigned long deadline)
{
	struct virtio_gpu_device *vgdev = call->vgdev;
	unsigned long since = jiffies;
	int ret;

	kref_get(&call->refs);
	spin_lock(&call->lock);
	call->in_flight++;
	spin_unlock(&call->lock);
	vbuf->resp_cb_data = call;

	while ((ret = virtio_gpu_try_queue_ctrl_vbuf(vgdev, vbuf)) == -ENOSPC) {
		ret = userptr_give_up(since, deadline);
		if (ret)
			break;
		wait_event_killable_timeout(vgdev->ctrlq.ack_queue,
					    virtio_gpu_ctrlq_room(vgdev), HZ / 10);
	}
	if (!ret)
		return 0;

	virtio_gpu_free_ctrl_vbuf(vgdev, vbuf);
	spin_lock(&call->lock);
	call->in_flight--;
	spin_unlock(&call->lock);
	userptr_call_put(call);
	return ret;
}

/**
 * virtio_gpu_userptr_cmd_get_info() - ask for the device's limits
 * @vgdev: device that offers VIRTIO_GPU_F_RESOURCE_USERPTR
 * @limits: filled on success
 *
 * Called once, at probe.  Sleeps, for room and for the answer at most
 * VIRTIO_GPU_USERPTR_PROBE each.
 *
 * Return: 0; -ETIMEDOUT, -ENOMEM, -ENODEV, -ERESTARTSYS or -EINTR after a
 * signal; -EINVAL for an answer that makes no sense; or what the device's answer
 * maps to.
 */
int virtio_gpu_userptr_cmd_get_info(struct virtio_gpu_device *vgdev,
				    struct virtio_gpu_userptr_limits *limits)
{
	struct virtio_gpu_ctrl_hdr cmd = {
		.type = cpu_to_le32(VIRTIO_GPU_CMD_GET_USERPTR_INFO),
	};
	struct virtio_gpu_userptr_call *call;
	struct virtio_gpu_vbuffer *vbuf;
	int ret = -ENOMEM;

	call = userptr_call_alloc(vgdev);
	if (!call)
		return -ENOMEM;

	vbuf = virtio_gpu_alloc_ctrl_vbuf(vgdev, &cmd, sizeof(cmd), sizeof(call->info),
					  userptr_info_cb, userptr_reset_cb);
	if (!vbuf)
		goto out_put;

	ret = userptr_call_send(call, vbuf, jiffies + VIRTIO_GPU_USERPTR_PROBE);
	if (ret)
		goto out_put;

	if (!wait_event_timeout(call->wait, userptr_call_done(call, 0), VIRTIO_GPU_USERPTR_PROBE))
		ret = -ETIMEDOUT;
	else
		ret = call->error ?: virtio_gpu_userptr_check_info(&call->info, limits);

out_put:
	userptr_call_put(call);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_cmd_get_info);

/**
 * virtio_gpu_userptr_cmd_create_begin() - get ready to describe a resource
 * @userptr: charged, and perhaps not pinned yet
 *
 * Return: for virtio_gpu_userptr_cmd_create_send(), or NULL without memory.
 */
struct virtio_gpu_userptr_call *
virtio_gpu_userptr_cmd_create_begin(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);
	struct virtio_gpu_userptr_call *call = userptr_call_alloc(u->vgdev);

	if (!call)
		return NULL;

	call->userptr = userptr;
	call->max_entries = min(u->limits.max_entries, VIRTIO_GPU_USERPTR_CHUNK);
	call->max_entries = min(call->max_entries, userptr->pin.nr_pages);
	return call;
}

/* Runs that can be sent: the last one may grow as long as pages are to come. */
static unsigned long userptr_runs_to_send(const struct virtio_gpu_userptr_call *call)
{
	const struct virtio_gpu_userptr_pin *pin = &call->userptr->pin;
	bool complete = pin->nr_pinned == pin->nr_pages;

	return pin->nr_runs - call->cursor.passed - (!complete && pin->nr_runs);
}

static void *userptr_get_entries(struct virtio_gpu_userptr_call *call)
{
	void *ents = NULL;

	spin_lock(&call->lock);
	if (call->nr_spare)
		ents = call->spare[--call->nr_spare];
	spin_unlock(&call->lock);

	return ents ?: kmalloc_array(call->max_entries, sizeof(struct virtio_gpu_mem_entry),
				     GFP_KERNEL);
}

/* Fill @ents with the next @nr runs. */
static int userptr_fill(struct virtio_gpu_userptr_call *call, struct virtio_gpu_mem_entry *ents,
			u32 nr)
{
	struct virtio_gpu_userptr_device *u = call->vgdev->userptr;
	u32 i;

	for (i = 0; i < nr; i++) {
		u64 run = virtio_gpu_userptr_next_run(&call->userptr->pin, &call->cursor);
		u64 addr = PFN_PHYS(virtio_gpu_userptr_run_pfn(run));
		u32 length = virtio_gpu_userptr_run_pages(run) << PAGE_SHIFT;

		/* The device's pages may be larger than ours. */
		if (!IS_ALIGNED(addr | length, u->limits.alignment))
			return -EOPNOTSUPP;

		ents[i].addr = cpu_to_le64(addr);
		ents[i].length = cpu_to_le32(length);
		ents[i].padding = 0;
		call->offset += length;
	}
	return 0;
}

/* The head of a chunk: CREATE for the first one, ADD for the others. */
static struct virtio_gpu_vbuffer *
userptr_alloc_chunk(struct virtio_gpu_userptr_call *call, u64 offset, u32 nr_entries)
{
	struct virtio_gpu_object_userptr *userptr = call->userptr;
	struct virtio_gpu_resource_create_userptr create = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR),
		.resource_id = cpu_to_le32(userptr->base.hw_res_handle),
		.size = cpu_to_le64(userptr->base.base.base.size),
		.nr_entries = cpu_to_le32(nr_entries),
	};
	struct virtio_gpu_resource_add_userptr_pages add = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES),
		.resource_id = cpu_to_le32(userptr->base.hw_res_handle),
		.nr_entries = cpu_to_le32(nr_entries),
		.offset = cpu_to_le64(offset),
	};

	if (offset)
		return virtio_gpu_alloc_ctrl_vbuf(call->vgdev, &add, sizeof(add),
						  sizeof(struct virtio_gpu_ctrl_hdr),
						  userptr_answer_cb, userptr_reset_cb);

	/* How many there will be is known if all is pinned. */
	if (userptr->pin.nr_pinned == userptr->pin.nr_pages)
		create.nr_segments = cpu_to_le32(userptr->pin.nr_runs);
	if (userptr->flags & VIRTGPU_USERPTR_RDONLY)
		create.flags = cpu_to_le32(VIRTIO_GPU_USERPTR_RDONLY);

	return virtio_gpu_alloc_ctrl_vbuf(call->vgdev, &create, sizeof(create),
					  sizeof(struct virtio_gpu_ctrl_hdr),
					  userptr_answer_cb, userptr_reset_cb);
}

static int userptr_send_chunk(struct virtio_gpu_userptr_call *call, u32 nr)
{
	struct virtio_gpu_mem_entry *ents;
	struct virtio_gpu_vbuffer *vbuf;
	u64 offset = call->offset;
	int ret;

	ents = userptr_get_entries(call);
	if (!ents)
		return -ENOMEM;

	ret = userptr_fill(call, ents, nr);
	if (ret)
		goto err_free;

	ret = -ENOMEM;
	vbuf = userptr_alloc_chunk(call, offset, nr);
	if (!vbuf)
		goto err_free;
	vbuf->data_buf = ents;
	vbuf->data_size = nr * sizeof(*ents);

	/* From here on the device may know of the pages. */
	call->userptr->told = true;
	ret = userptr_call_send(call, vbuf, 0);
	trace_virtio_gpu_userptr_chunk(call->userptr->base.hw_res_handle, offset, nr, ret);
	return ret;

err_free:
	kfree(ents);
	return ret;
}

/**
 * virtio_gpu_userptr_cmd_create_send() - tell the device what has been pinned
 * @call: from virtio_gpu_userptr_cmd_create_begin()
 *
 * Sends the full chunks; if all pages are pinned, the rest as well.  Sleeps if
 * the window is full.
 *
 * Return: 0; -ENOMEM, -ENODEV, -EOPNOTSUPP for pieces that are too small for
 * the device's alignment, -ERESTARTSYS or -EINTR after a signal; or what the
 * device's first error answer maps to, to this or an earlier chunk.
 */
int virtio_gpu_userptr_cmd_create_send(struct virtio_gpu_userptr_call *call)
{
	const struct virtio_gpu_userptr_pin *pin = &call->userptr->pin;
	unsigned long least = pin->nr_pinned == pin->nr_pages ? 1 : call->max_entries;
	unsigned long nr;
	int ret = 0;

	while (!ret && (nr = userptr_runs_to_send(call)) >= least) {
		ret = userptr_call_wait(call, VIRTIO_GPU_USERPTR_WINDOW - 1);
		if (!ret)
			ret = userptr_send_chunk(call, min(nr, call->max_entries));
	}
	return ret;
}

/**
 * virtio_gpu_userptr_cmd_create_end() - wait for the outcome
 * @call: from virtio_gpu_userptr_cmd_create_begin(); gone afterwards
 * @ret: 0 if all chunks were sent, or why not: then nothing is waited for
 *
 * Sleeps.  Whatever the outcome, if the resource is told the device may know it
 * afterwards: undo with virtio_gpu_userptr_cmd_destroy().
 *
 * Return: @ret if not 0; 0 if the device has accepted all of it; or as
 * virtio_gpu_userptr_cmd_create_send().
 */
int virtio_gpu_userptr_cmd_create_end(struct virtio_gpu_userptr_call *call, int ret)
{
	if (!ret)
		ret = userptr_call_wait(call, 0);

	userptr_call_put(call);
	return ret;
}

static struct virtio_gpu_vbuffer *
userptr_alloc_ctx_resource(struct virtio_gpu_device *vgdev, u32 type, u32 ctx_id, u32 res_id,
			   virtio_gpu_resp_cb cb, virtio_gpu_resp_cb reset_cb)
{
	struct virtio_gpu_ctx_resource cmd = {
		.hdr.type = cpu_to_le32(type),
		.hdr.ctx_id = cpu_to_le32(ctx_id),
		.resource_id = cpu_to_le32(res_id),
	};

	return virtio_gpu_alloc_ctrl_vbuf(vgdev, &cmd, sizeof(cmd),
					  sizeof(struct virtio_gpu_ctrl_hdr), cb, reset_cb);
}

/**
 * virtio_gpu_userptr_cmd_attach() - make a resource usable in a context
 * @vgdev: device
 * @ctx_id: context
 * @res_id: LIVE userptr resource
 *
 * Sleeps until the device has answered.
 *
 * Return: 0; -ENOMEM, -ENODEV, -ERESTARTSYS or -EINTR after a signal, or what
 * the device's answer maps to.
 */
int virtio_gpu_userptr_cmd_attach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id)
{
	struct virtio_gpu_userptr_call *call;
	struct virtio_gpu_vbuffer *vbuf;
	int ret = -ENOMEM;

	call = userptr_call_alloc(vgdev);
	if (!call)
		return -ENOMEM;

	vbuf = userptr_alloc_ctx_resource(vgdev, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx_id,
					  res_id, userptr_answer_cb, userptr_reset_cb);
	if (vbuf)
		ret = userptr_call_send(call, vbuf, 0);
	if (!ret)
		ret = userptr_call_wait(call, 0);

	userptr_call_put(call);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_cmd_attach);

/**
 * virtio_gpu_userptr_cmd_detach() - undo attach
 * @vgdev: device
 * @ctx_id: context
 * @res_id: userptr resource
 *
 * Tries once, and does not wait: whoever closes a handle may be anybody, and
 * DESTROY_USERPTR or the end of the context is what ends access.
 *
 * Return: 0, -ENOMEM, -ENODEV, or -ENOSPC if there is no room.
 */
int virtio_gpu_userptr_cmd_detach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id)
{
	struct virtio_gpu_vbuffer *vbuf;
	int ret;

	vbuf = userptr_alloc_ctx_resource(vgdev, VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, ctx_id,
					  res_id, NULL, NULL);
	if (!vbuf)
		return -ENOMEM;

	ret = virtio_gpu_try_queue_ctrl_vbuf(vgdev, vbuf);
	if (ret)
		virtio_gpu_free_ctrl_vbuf(vgdev, vbuf);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_cmd_detach);

static void userptr_destroy_cb(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct virtio_gpu_object_userptr *userptr = vbuf->resp_cb_data;
	u32 type = userptr_answer_type(vbuf);

	trace_virtio_gpu_userptr_answer(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
					virtio_gpu_userptr_errno(type));
	/*
	 * Only two answers say that there is no access any more.  With any
	 * other the pages stay where they are until the device is reset.
	 */
	if (type == VIRTIO_GPU_RESP_OK_NODATA ||
	    type == VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) {
		virtio_gpu_userptr_destroyed(userptr);
	} else {
		drm_err_ratelimited(vgdev->ddev,
				    "userptr resource %u: device refuses to let go (0x%x), pages stay pinned\n",
				    userptr->base.hw_res_handle, type);
		virtio_gpu_userptr_kept(userptr);
	}
	virtio_gpu_userptr_put(userptr);
}

/* The reset is what ends access now, and who resets the device unpins. */
static void userptr_destroy_reset_cb(struct virtio_gpu_device *vgdev,
				     struct virtio_gpu_vbuffer *vbuf)
{
	virtio_gpu_userptr_put(vbuf->resp_cb_data);
}

/**
 * virtio_gpu_userptr_cmd_alloc_destroy() - so that destroying never fails
 * @vgdev: device
 * @userptr: being created
 *
 * Releasing memory must not need any: it may be short for just that reason.
 *
 * Return: 0 or -ENOMEM.
 */
int virtio_gpu_userptr_cmd_alloc_destroy(struct virtio_gpu_device *vgdev,
					 struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr.type = cpu_to_le32(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR),
		.resource_id = cpu_to_le32(userptr->base.hw_res_handle),
	};
	struct virtio_gpu_vbuffer *vbuf;

	vbuf = virtio_gpu_alloc_ctrl_vbuf(vgdev, &cmd, sizeof(cmd),
					  sizeof(struct virtio_gpu_ctrl_hdr),
					  userptr_destroy_cb, userptr_destroy_reset_cb);
	if (!vbuf)
		return -ENOMEM;

	/* "Unknown" is as good an answer as any, see above. */
	vbuf->quiet = true;
	vbuf->resp_cb_data = userptr;
	userptr->destroy = vbuf;
	return 0;
}

/**
 * virtio_gpu_userptr_cmd_destroy() - ask the device to end all access
 * @vgdev: device
 * @userptr: REVOKING, not asked for yet
 *
 * The answer arrives as virtio_gpu_userptr_destroyed() or, if it is anything
 * but a promise, virtio_gpu_userptr_kept().  Neither sleeps nor allocates.
 *
 * Return: 0; -ENOSPC if there is no room now; -ENODEV, then only resetting the
 * device ends its access.
 */
int virtio_gpu_userptr_cmd_destroy(struct virtio_gpu_device *vgdev,
				   struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_vbuffer *vbuf = userptr->destroy;
	int ret;

	virtio_gpu_userptr_get(userptr);
	userptr->destroy = NULL;
	ret = virtio_gpu_try_queue_ctrl_vbuf(vgdev, vbuf);
	if (ret) {
		userptr->destroy = vbuf;
		virtio_gpu_userptr_put(userptr);
	} else {
		trace_virtio_gpu_userptr_destroy(userptr->base.hw_res_handle);
	}
	return ret;
}
