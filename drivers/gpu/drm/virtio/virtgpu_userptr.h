/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-gpu userptr resources: what the rooms say to each other
 *
 *	virtgpu_userptr.c	the object, its states, the ioctls, GEM functions;
 *				knows nothing of pages and of the wire
 *	virtgpu_userptr_pin.c	pinning and accounting; knows nothing of the device
 *	virtgpu_userptr_notifier.c  noticing that the owner took the memory back;
 *				knows nothing of the wire
 *	virtgpu_userptr_cmd.c	commands, chunks, answers; knows nothing of mm
 *
 * The rest of the driver sees only the functions at the end of virtgpu_drv.h.
 */
#ifndef VIRTGPU_USERPTR_H
#define VIRTGPU_USERPTR_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/virtgpu_drm_userptr.h>

#include <linux/virtio_gpu_userptr.h>

#include "virtgpu_drv.h"

struct mm_struct;
struct user_struct;

/* virtgpu_userptr_pin.c */

/* A segment's length is 32 bits wide on the wire and in a scatterlist. */
#define VIRTIO_GPU_USERPTR_MAX_SEGMENT	((unsigned int)(UINT_MAX & PAGE_MASK))

/**
 * struct virtio_gpu_userptr_pin - pinned and charged memory of one process
 *
 * Filled by virtio_gpu_userptr_charge() and virtio_gpu_userptr_pin(), undone
 * by virtio_gpu_userptr_unpin(), each by one task at a time: there is no lock.
 */
struct virtio_gpu_userptr_pin {
	/** @mm: whom @nr_pages is charged to in pinned_vm; mmgrab()bed */
	struct mm_struct *mm;
	/**
	 * @user: whom @nr_pages is charged to in locked_vm, the counter that
	 * RLIMIT_MEMLOCK bounds; NULL if CAP_IPC_LOCK lifted the limit
	 */
	struct user_struct *user;
	/** @nr_pages: pages charged */
	unsigned long nr_pages;
	/** @writable: pinned with FOLL_WRITE, so dirtied when unpinned */
	bool writable;
	/** @table: the pages, one entry for each physically contiguous run */
	struct sg_append_table table;
	/** @marks: where every VIRTIO_GPU_USERPTR_MARK-th entry is; or NULL */
	struct virtio_gpu_userptr_mark *marks;
	/** @nr_marks: of @marks */
	unsigned int nr_marks;
};

/* Entries between two marks: what a look-up walks at most. */
#define VIRTIO_GPU_USERPTR_MARK		128

/**
 * struct virtio_gpu_userptr_mark - a place in a table
 * @first: page of the range that the entry begins with
 * @sg: the entry
 */
struct virtio_gpu_userptr_mark {
	unsigned long first;
	struct scatterlist *sg;
};

/**
 * struct virtio_gpu_userptr_walk - going through pinned pages in order
 * @sg: entry of the next page
 * @page: number of the next page in that entry
 */
struct virtio_gpu_userptr_walk {
	struct scatterlist *sg;
	unsigned long page;
};

int virtio_gpu_userptr_check_range(u64 addr, u64 size);
int virtio_gpu_userptr_charge(struct virtio_gpu_userptr_pin *pin, unsigned long nr_pages);
int virtio_gpu_userptr_pin(struct virtio_gpu_userptr_pin *pin, unsigned long addr,
			   bool writable, u32 max_segments);
void virtio_gpu_userptr_unpin(struct virtio_gpu_userptr_pin *pin);
int virtio_gpu_userptr_mark(struct virtio_gpu_userptr_pin *pin);
void virtio_gpu_userptr_walk_start(const struct virtio_gpu_userptr_pin *pin, unsigned long first,
				   struct virtio_gpu_userptr_walk *walk);
struct page *virtio_gpu_userptr_walk_next(struct virtio_gpu_userptr_walk *walk);

/* virtgpu_userptr_notifier.c */

/**
 * struct virtio_gpu_userptr_watch - what is known of the owner's doings
 */
struct virtio_gpu_userptr_watch {
#ifdef CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER
	/** @notifier: of the whole range */
	struct mmu_interval_notifier notifier;
#endif
	/** @active: @notifier is inserted; the creator's, then the releaser's */
	bool active;
	/**
	 * @start: first address that something may have happened to, above
	 * @last if there is none; under &virtio_gpu_userptr_device.lock
	 */
	unsigned long start;
	/** @last: last such address; likewise */
	unsigned long last;
	/** @verify_work: looks at that range */
	struct delayed_work verify_work;
};

/* virtgpu_userptr.c */

/**
 * enum virtio_gpu_userptr_state - see the diagram in virtgpu_userptr.c
 * @VIRTIO_GPU_USERPTR_CREATING: being pinned and told to the device
 * @VIRTIO_GPU_USERPTR_LIVE: the device has accepted every run
 * @VIRTIO_GPU_USERPTR_REVOKING: ending; pinned until the device agrees
 * @VIRTIO_GPU_USERPTR_DEAD: nothing is pinned and the device knows nothing
 */
enum virtio_gpu_userptr_state {
	VIRTIO_GPU_USERPTR_CREATING,
	VIRTIO_GPU_USERPTR_LIVE,
	VIRTIO_GPU_USERPTR_REVOKING,
	VIRTIO_GPU_USERPTR_DEAD,
};

/**
 * struct virtio_gpu_object_userptr - a userptr resource
 *
 * A reference of @refs each: the GEM object, from creation to its free
 * callback; &virtio_gpu_userptr_device.objects while the object is on it; a
 * queued @release_work; a DESTROY_USERPTR that the device has not answered.
 */
struct virtio_gpu_object_userptr {
	/** @base: the GEM object; not shmem, although that type embeds one */
	struct virtio_gpu_object base;
	/** @refs: keeps this struct, see above */
	struct kref refs;
	/** @addr: start in the creator's address space, page aligned; immutable */
	u64 addr;
	/** @flags: VIRTGPU_USERPTR_* of the ioctl; immutable */
	u32 flags;
	/** @pid: thread group of the creator, for debugfs; immutable */
	pid_t pid;
	/** @nr_segments: entries the device is told of; immutable once LIVE */
	u32 nr_segments;
	/** @mm: the creator's, mmgrab()bed, for comparing; immutable */
	struct mm_struct *mm;
	/**
	 * @pin: the creator's until the object is on
	 * &virtio_gpu_userptr_device.objects; then read-only until whoever
	 * makes the state DEAD, who undoes it
	 */
	struct virtio_gpu_userptr_pin pin;
	/** @state: protected by &virtio_gpu_userptr_device.lock */
	enum virtio_gpu_userptr_state state;
	/**
	 * @revoked: the owner took the memory back, no way leads to LIVE;
	 * under &virtio_gpu_userptr_device.lock
	 */
	bool revoked;
	/** @watch: see there */
	struct virtio_gpu_userptr_watch watch;
	/**
	 * @event_file: who is to be told when it is revoked, or NULL; under
	 * &virtio_gpu_userptr_device.lock
	 */
	struct drm_file *event_file;
	/** @event_handle: the handle to be told; likewise */
	u32 event_handle;
	/** @event_named: @event_handle is known; no file is added any more */
	bool event_named;
	/** @node: on &virtio_gpu_userptr_device.objects, under its lock */
	struct list_head node;
	/**
	 * @destroyed: the device has said that it has no access any more; set
	 * once, by the answer to DESTROY_USERPTR, before @release_work is
	 * queued for the second time
	 */
	bool destroyed;
	/**
	 * @releasing: counted in &virtio_gpu_userptr_device.releasing; under
	 * its lock
	 */
	bool releasing;
	/**
	 * @release_work: send DESTROY_USERPTR, again after a while if there is
	 * no room; then (@destroyed) unpin
	 */
	struct delayed_work release_work;
};

#define to_virtio_gpu_userptr(bo) \
	container_of((bo), struct virtio_gpu_object_userptr, base)
#define gem_to_virtio_gpu_userptr(gobj) \
	to_virtio_gpu_userptr(gem_to_virtio_gpu_obj(gobj))

/**
 * struct virtio_gpu_userptr_limits - what the device takes, checked
 */
struct virtio_gpu_userptr_limits {
	/** @max_size: bytes of one resource, a multiple of the page size */
	u64 max_size;
	/** @rdonly_capsets: bit n: capset n enforces read-only; 0: none does */
	u64 rdonly_capsets;
	/** @max_entries: entries of one command, at least 1 */
	u32 max_entries;
	/** @max_segments: entries of one resource, at least 1 */
	u32 max_segments;
};

struct virtio_gpu_userptr_transport;

/**
 * struct virtio_gpu_userptr_device - the series' part of a virtio_gpu_device
 *
 * Lives as long as the DRM device.
 */
struct virtio_gpu_userptr_device {
	/** @limits: immutable after probe; max_size 0: not to be used */
	struct virtio_gpu_userptr_limits limits;
	/** @transport: how commands reach the device; immutable */
	const struct virtio_gpu_userptr_transport *transport;
	/**
	 * @wq: runs release_work of all objects; nothing is queued once @gone
	 * is set and @objects is empty, then it is destroyed
	 */
	struct workqueue_struct *wq;
	/**
	 * @wait: woken when an answer arrives, a resource has been released
	 * and when @gone is set
	 */
	wait_queue_head_t wait;
	/** @lock: innermost; protects what follows and the objects' state */
	spinlock_t lock;
	/** @objects: every object that the device may know of */
	struct list_head objects;
	/** @gone: the device is being removed: no object may be added */
	bool gone;
	/** @releasing: objects whose charge is about to be given back */
	unsigned int releasing;
	/** @released: objects that were uncharged, ever; wraps */
	unsigned int released;
	/** @unanswered: commands to be cancelled, between reset and fini */
	struct list_head unanswered;
};

struct virtio_gpu_object_userptr *
virtio_gpu_userptr_create(struct virtio_gpu_device *vgdev, u64 addr, u64 size, u32 flags);
void virtio_gpu_userptr_destroyed(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_held(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_get(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_put(struct virtio_gpu_object_userptr *userptr);
bool virtio_gpu_userptr_transition_ok(enum virtio_gpu_userptr_state from,
				      enum virtio_gpu_userptr_state to);
int virtio_gpu_userptr_device_init(struct virtio_gpu_device *vgdev,
				   const struct virtio_gpu_userptr_transport *transport);
void virtio_gpu_userptr_device_fini(struct virtio_gpu_device *vgdev);

static inline struct virtio_gpu_userptr_device *
virtio_gpu_userptr_to_device(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_device *vgdev = userptr->base.base.base.dev->dev_private;

	return vgdev->userptr;
}

void virtio_gpu_userptr_revoke(struct virtio_gpu_userptr_device *u,
			       struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_suspect(struct virtio_gpu_userptr_device *u,
				struct virtio_gpu_object_userptr *userptr,
				unsigned long start, unsigned long last, unsigned long delay);

#ifdef CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER
int virtio_gpu_userptr_watch(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_unwatch(struct virtio_gpu_object_userptr *userptr);
#else
static inline int virtio_gpu_userptr_watch(struct virtio_gpu_object_userptr *userptr)
{
	return 0;
}

static inline void virtio_gpu_userptr_unwatch(struct virtio_gpu_object_userptr *userptr)
{
}
#endif

/* virtgpu_userptr_cmd.c */

/* Entries of one command: 64 KiB of them, so that plain kmalloc() serves. */
#define VIRTIO_GPU_USERPTR_CHUNK	4096
/* Commands of one creation that the device may have at a time. */
#define VIRTIO_GPU_USERPTR_WINDOW	8

/**
 * struct virtio_gpu_userptr_transport - the way to the device
 *
 * One exists for the control queue; KUnit has its own.
 */
struct virtio_gpu_userptr_transport {
	/**
	 * @try_send: queue @vbuf.  0: it is the transport's now, and its
	 * resp_cb will run.  -ENOSPC: no room, nothing happened.  -ENODEV: the
	 * device is gone.  Does not sleep.
	 */
	int (*try_send)(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf);
	/** @kick: make the device look at what was sent */
	void (*kick)(struct virtio_gpu_device *vgdev);
	/** @wait_room: sleep until there may be room, at most @timeout jiffies */
	void (*wait_room)(struct virtio_gpu_device *vgdev, long timeout);
	/** @broken: no answer will come any more */
	bool (*broken)(struct virtio_gpu_device *vgdev);
	/** @stop: let no answer come any more */
	void (*stop)(struct virtio_gpu_device *vgdev);
};

/**
 * struct virtio_gpu_userptr_cursor - how far a resource has been described
 * @sg: entry to send next
 * @left: entries to send, @sg included
 * @offset: bytes described so far
 */
struct virtio_gpu_userptr_cursor {
	struct scatterlist *sg;
	u32 left;
	u64 offset;
};

extern const struct virtio_gpu_userptr_transport virtio_gpu_userptr_ctrlq;

int virtio_gpu_userptr_errno(u32 type);
u32 virtio_gpu_userptr_fill(struct virtio_gpu_userptr_cursor *cursor,
			    struct virtio_gpu_mem_entry *ents, u32 max);
int virtio_gpu_userptr_check_info(const struct virtio_gpu_resp_userptr_info *info,
				  struct virtio_gpu_userptr_limits *limits);

int virtio_gpu_userptr_cmd_get_info(struct virtio_gpu_device *vgdev,
				    struct virtio_gpu_userptr_limits *limits);
int virtio_gpu_userptr_cmd_create(struct virtio_gpu_device *vgdev,
				  struct virtio_gpu_object_userptr *userptr);
int virtio_gpu_userptr_cmd_attach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id);
int virtio_gpu_userptr_cmd_detach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id);
int virtio_gpu_userptr_cmd_destroy(struct virtio_gpu_device *vgdev,
				   struct virtio_gpu_object_userptr *userptr);

#endif /* VIRTGPU_USERPTR_H */
