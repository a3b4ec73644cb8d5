/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu userptr resources: what the files of this feature share
 *
 *	virtgpu_userptr_ioctl.c		the ioctls: what user space may ask for
 *	virtgpu_userptr_device.c	probe, removal, suspend, the release worker
 *	virtgpu_userptr.c		the object, its states, creation and release
 *	virtgpu_userptr_pin.c		pinning and accounting
 *	virtgpu_userptr_notifier.c	noticing that the owner unmapped the memory
 *	virtgpu_userptr_verify.c	is what is mapped still what is pinned?
 *	virtgpu_userptr_cmd.c		commands, chunks, answers
 *
 * Calls go downwards in this list, with two exceptions that are made by
 * something outside: an answer of the device, which reports to the object with
 * virtio_gpu_userptr_destroyed() and virtio_gpu_userptr_kept(), and an MMU
 * notifier, which calls virtio_gpu_userptr_revoke().  pin.c knows nothing of
 * the device, cmd.c nothing of mm, and both nothing of the object's states.
 *
 * The rest of the driver sees only the functions at the end of virtgpu_drv.h.
 */
#ifndef VIRTGPU_USERPTR_H
#define VIRTGPU_USERPTR_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/virtgpu_drm_userptr.h>

#include <linux/virtio_gpu_userptr.h>

#include "virtgpu_drv.h"

struct mm_struct;
struct pid;
struct virtio_gpu_userptr_account;
struct virtio_gpu_userptr_call;

/* virtgpu_userptr_pin.c */

/**
 * struct virtio_gpu_userptr_run_block - a part of the pinned pages, as runs
 * @node: on &virtio_gpu_userptr_pin.blocks, in the order of addresses
 * @first: number of the page, in the range, that the first run begins with
 * @nr: runs used
 * @max: runs that fit
 * @runs: physically contiguous pages each, see virtio_gpu_userptr_run_pfn()
 */
struct virtio_gpu_userptr_run_block {
	struct list_head node;
	unsigned long first;
	unsigned int nr;
	unsigned int max;
	u64 runs[] __counted_by(max);
};

/* The number of pages is in the low bits: a length on the wire has 32 bits. */
#define VIRTIO_GPU_USERPTR_RUN_BITS	20
#define VIRTIO_GPU_USERPTR_RUN_MAX \
	min(BIT(VIRTIO_GPU_USERPTR_RUN_BITS) - 1, (unsigned long)UINT_MAX >> PAGE_SHIFT)

static inline unsigned long virtio_gpu_userptr_run_pfn(u64 run)
{
	return run >> VIRTIO_GPU_USERPTR_RUN_BITS;
}

static inline unsigned long virtio_gpu_userptr_run_pages(u64 run)
{
	return run & (BIT(VIRTIO_GPU_USERPTR_RUN_BITS) - 1);
}

/**
 * struct virtio_gpu_userptr_pin - pinned and charged memory of one process
 *
 * Filled by virtio_gpu_userptr_charge() and virtio_gpu_userptr_pin_batch(),
 * undone by virtio_gpu_userptr_unpin(), each by one task at a time: there is
 * no lock.
 */
struct virtio_gpu_userptr_pin {
	/** @mm: whom @nr_pages is charged to in pinned_vm; mmgrab()bed */
	struct mm_struct *mm;
	/**
	 * @account: whom @nr_pages is charged to in locked_vm, the counter that
	 * RLIMIT_MEMLOCK bounds; NULL if CAP_IPC_LOCK lifted the limit
	 */
	struct virtio_gpu_userptr_account *account;
	/** @nr_pages: pages charged */
	unsigned long nr_pages;
	/** @nr_pinned: pages pinned, from the start of the range */
	unsigned long nr_pinned;
	/** @nr_runs: in all blocks */
	unsigned long nr_runs;
	/** @blocks: the pages pinned, &struct virtio_gpu_userptr_run_block each */
	struct list_head blocks;
	/** @batch: one page of page pointers, while pages are being pinned */
	struct page **batch;
	/** @writable: pinned with FOLL_WRITE, so dirtied when unpinned */
	bool writable;
	/** @expected: counted in @account as about to be uncharged; xchg()ed */
	bool expected;
};

/**
 * struct virtio_gpu_userptr_cursor - a place among the runs of a pin
 * @block: block of the next run, or NULL before the first
 * @index: of the next run in @block
 * @passed: runs passed
 */
struct virtio_gpu_userptr_cursor {
	struct virtio_gpu_userptr_run_block *block;
	unsigned int index;
	unsigned long passed;
};

int virtio_gpu_userptr_check_range(u64 addr, u64 size);
void virtio_gpu_userptr_pin_init(struct virtio_gpu_userptr_pin *pin);
int virtio_gpu_userptr_charge(struct virtio_gpu_userptr_pin *pin, unsigned long nr_pages);
int virtio_gpu_userptr_pin_batch(struct virtio_gpu_userptr_pin *pin, unsigned long addr,
				 u32 max_runs);
void virtio_gpu_userptr_unpin(struct virtio_gpu_userptr_pin *pin);
void virtio_gpu_userptr_expect_uncharge(struct virtio_gpu_userptr_pin *pin, bool expect);
u64 virtio_gpu_userptr_next_run(const struct virtio_gpu_userptr_pin *pin,
				struct virtio_gpu_userptr_cursor *cursor);
unsigned long virtio_gpu_userptr_find_page(const struct virtio_gpu_userptr_pin *pin,
					   unsigned long page,
					   struct virtio_gpu_userptr_cursor *cursor);

/* virtgpu_userptr_notifier.c, virtgpu_userptr_verify.c */

/* Suspicions that are kept apart. */
#define VIRTIO_GPU_USERPTR_SUSPECTS	8

/**
 * struct virtio_gpu_userptr_span - pages of a resource
 * @first: number of the first page in the range
 * @last: number of the last page
 */
struct virtio_gpu_userptr_span {
	unsigned long first;
	unsigned long last;
};

/**
 * struct virtio_gpu_userptr_watch - what is known of the owner's mapping
 */
struct virtio_gpu_userptr_watch {
#ifdef CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER
	/** @notifier: of the whole range */
	struct mmu_interval_notifier notifier;
#endif
	/** @active: @notifier is inserted; the creator's, then the releaser's */
	bool active;
	/**
	 * @suspects: pages that something may have happened to, sorted, apart
	 * from each other; under &virtio_gpu_object_userptr.lock
	 */
	struct virtio_gpu_userptr_span suspects[VIRTIO_GPU_USERPTR_SUSPECTS];
	/** @nr_suspects: used of @suspects; likewise */
	unsigned int nr_suspects;
	/** @verified: jiffies when @verify_work last looked; that work's */
	unsigned long verified;
	/** @verify_work: looks at @suspects; queued only while LIVE */
	struct delayed_work verify_work;
};

/* virtgpu_userptr.c */

/**
 * enum virtio_gpu_userptr_state - see the diagram in virtgpu_userptr.c
 * @VIRTIO_GPU_USERPTR_CREATING: being pinned and told to the device
 * @VIRTIO_GPU_USERPTR_LIVE: the device has accepted every run
 * @VIRTIO_GPU_USERPTR_REVOKING: ending; pinned until the device agrees
 * @VIRTIO_GPU_USERPTR_DEAD: the device has no access; unpinned now, or soon
 */
enum virtio_gpu_userptr_state {
	VIRTIO_GPU_USERPTR_CREATING,
	VIRTIO_GPU_USERPTR_LIVE,
	VIRTIO_GPU_USERPTR_REVOKING,
	VIRTIO_GPU_USERPTR_DEAD,
};

/**
 * struct virtio_gpu_userptr_event - the event that a revoke sends
 * @base: reserved in the create ioctl; sending and cancelling free it
 * @event: what user space reads
 */
struct virtio_gpu_userptr_event {
	struct drm_pending_event base;
	struct drm_virtgpu_event_userptr event;
};

/**
 * struct virtio_gpu_object_userptr - a userptr resource
 *
 * A reference of @refs each: the GEM object, from creation to its free
 * callback; &virtio_gpu_userptr_device.objects and
 * &virtio_gpu_userptr_device.releases while it is on them; a queued
 * @unpin_work; a DESTROY_USERPTR that the device has not answered.
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
	/** @nr_segments: entries the device was told of; immutable once LIVE */
	u32 nr_segments;
	/** @pid: thread group of the creator, for debugfs; immutable */
	struct pid *pid;
	/** @mm: the creator's, mmgrab()bed, for comparing; immutable */
	struct mm_struct *mm;
	/** @creator: the task while @creating, for the notifier to compare with */
	struct task_struct *creator;
	/**
	 * @pin: the creating task's as long as @creating is set; then read-only
	 * until whoever makes the state DEAD, who undoes it
	 */
	struct virtio_gpu_userptr_pin pin;
	/** @destroy: the DESTROY_USERPTR command until it is sent; the sender's */
	struct virtio_gpu_vbuffer *destroy;
	/** @told: the device may know of it; the creating task's */
	bool told;
	/** @wait: who waits for a state; woken without @lock */
	wait_queue_head_t wait;
	/** @lock: protects what follows; taken by MMU notifiers */
	spinlock_t lock;
	/** @state: written under @lock; may be read without */
	enum virtio_gpu_userptr_state state;
	/** @creating: a task is in virtio_gpu_userptr_create() with it */
	bool creating;
	/**
	 * @revoked: the owner took the memory back, or the device was suspended:
	 * no way leads to LIVE any more; may be read without @lock
	 */
	bool revoked;
	/** @unpinned: nothing is pinned or charged any more; likewise */
	bool unpinned;
	/** @event: to be sent when revoked, or NULL */
	struct virtio_gpu_userptr_event *event;
	/** @event_file: the file that @event is for, only to be compared with */
	struct drm_file *event_file;
	/** @watch: see there */
	struct virtio_gpu_userptr_watch watch;
	/** @unpin_work: the device has answered DESTROY_USERPTR: unpin */
	struct work_struct unpin_work;
	/** @node: on &virtio_gpu_userptr_device.objects, under its lock */
	struct list_head node;
	/** @release_node: on &virtio_gpu_userptr_device.releases, under its lock */
	struct list_head release_node;
};

#define to_virtio_gpu_userptr(bo) \
	container_of((bo), struct virtio_gpu_object_userptr, base)
#define gem_to_virtio_gpu_userptr(gobj) \
	to_virtio_gpu_userptr(gem_to_virtio_gpu_obj(gobj))

/**
 * struct virtio_gpu_userptr_limits - what the device takes, checked
 */
struct virtio_gpu_userptr_limits {
	/** @max_size: bytes of one resource, a multiple of @alignment */
	u64 max_size;
	/** @rdonly_capsets: bit n: capset n enforces read-only; 0: none does */
	u64 rdonly_capsets;
	/** @max_entries: entries of one command, at least 1 */
	u32 max_entries;
	/** @max_segments: entries of one resource, at least 1 */
	u32 max_segments;
	/** @alignment: bytes; of each entry; a power of two, at least a page */
	u32 alignment;
};

/**
 * struct virtio_gpu_userptr_device - the series' part of a virtio_gpu_device
 *
 * Lives as long as the DRM device.
 */
struct virtio_gpu_userptr_device {
	/** @vgdev: whose part this is; immutable */
	struct virtio_gpu_device *vgdev;
	/** @limits: immutable after probe; max_size 0: not to be used */
	struct virtio_gpu_userptr_limits limits;
	/**
	 * @release_wq: runs @release_work and unpin_work of all objects, which
	 * free memory and allocate none
	 */
	struct workqueue_struct *release_wq;
	/** @verify_wq: runs verify_work of all objects, which takes mmap_lock */
	struct workqueue_struct *verify_wq;
	/** @release_work: sends DESTROY_USERPTR for @releases while there is room */
	struct work_struct release_work;
	/** @lock: innermost; protects what follows */
	spinlock_t lock;
	/** @objects: every object that the device may know of */
	struct list_head objects;
	/** @releases: objects whose DESTROY_USERPTR is to be sent, in order */
	struct list_head releases;
	/** @gone: the device is being removed: no object, no work is added */
	bool gone;
	/** @suspended: the device is going to be reset and comes back */
	bool suspended;
	/** @no_access: the device was removed and reaches no memory any more */
	bool no_access;
};

struct virtio_gpu_object_userptr *
virtio_gpu_userptr_create(struct virtio_gpu_device *vgdev, u64 addr, u64 size, u32 flags);
void virtio_gpu_userptr_set_event(struct virtio_gpu_object_userptr *userptr,
				  struct drm_file *file, struct virtio_gpu_userptr_event *event);
bool virtio_gpu_userptr_may_attach(struct virtio_gpu_device *vgdev,
				   struct virtio_gpu_fpriv *vfpriv, u32 flags);
void virtio_gpu_userptr_destroyed(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_kept(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_revoke(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_finish(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_unlist(struct virtio_gpu_object_userptr *userptr, struct list_head *node);
void virtio_gpu_userptr_get(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_put(struct virtio_gpu_object_userptr *userptr);
bool virtio_gpu_userptr_transition_ok(enum virtio_gpu_userptr_state from,
				      enum virtio_gpu_userptr_state to);
const char *virtio_gpu_userptr_state_name(enum virtio_gpu_userptr_state state);

static inline struct virtio_gpu_userptr_device *
virtio_gpu_userptr_to_device(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_device *vgdev = userptr->base.base.base.dev->dev_private;

	return vgdev->userptr;
}

/* virtgpu_userptr_ioctl.c */

int virtio_gpu_userptr_wait_state(struct virtio_gpu_object_userptr *userptr, bool released,
				  s64 timeout_ns);
u32 virtio_gpu_userptr_uapi_state(struct virtio_gpu_object_userptr *userptr);

/* virtgpu_userptr_device.c */

int virtio_gpu_userptr_check_info(const struct virtio_gpu_resp_userptr_info *info,
				  struct virtio_gpu_userptr_limits *limits);
int virtio_gpu_userptr_device_init(struct virtio_gpu_device *vgdev);
bool virtio_gpu_userptr_available(struct virtio_gpu_device *vgdev);

#ifdef CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER
int virtio_gpu_userptr_watch_start(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_watch_live(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_watch_stop_verify(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_watch_stop(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_verify_init(struct virtio_gpu_object_userptr *userptr);
void virtio_gpu_userptr_suspect(struct virtio_gpu_object_userptr *userptr, unsigned long first,
				unsigned long last);
void virtio_gpu_userptr_queue_verify(struct virtio_gpu_object_userptr *userptr,
				     unsigned long delay);
int virtio_gpu_userptr_verify_now(struct virtio_gpu_object_userptr *userptr);
const char *virtio_gpu_userptr_verify_what(void);
#else
static inline int virtio_gpu_userptr_watch_start(struct virtio_gpu_object_userptr *userptr)
{
	return -EOPNOTSUPP;
}

static inline void virtio_gpu_userptr_watch_live(struct virtio_gpu_object_userptr *userptr)
{
}

static inline void virtio_gpu_userptr_watch_stop_verify(struct virtio_gpu_object_userptr *userptr)
{
}

static inline void virtio_gpu_userptr_watch_stop(struct virtio_gpu_object_userptr *userptr)
{
}

static inline int virtio_gpu_userptr_verify_now(struct virtio_gpu_object_userptr *userptr)
{
	return 0;
}

static inline const char *virtio_gpu_userptr_verify_what(void)
{
	return "nothing";
}
#endif

/* virtgpu_userptr_cmd.c */

/* Entries of one command; 16 KiB of them. */
#define VIRTIO_GPU_USERPTR_CHUNK	1024
/* Commands of one creation that the device may have at a time. */
#define VIRTIO_GPU_USERPTR_WINDOW	8

static inline u32 virtio_gpu_userptr_cmd_type(const struct virtio_gpu_vbuffer *vbuf)
{
	return le32_to_cpu(((struct virtio_gpu_ctrl_hdr *)vbuf->buf)->type);
}

int virtio_gpu_userptr_errno(u32 type);
int virtio_gpu_userptr_cmd_get_info(struct virtio_gpu_device *vgdev,
				    struct virtio_gpu_userptr_limits *limits);

struct virtio_gpu_userptr_call *
virtio_gpu_userptr_cmd_create_begin(struct virtio_gpu_object_userptr *userptr);
int virtio_gpu_userptr_cmd_create_send(struct virtio_gpu_userptr_call *call);
int virtio_gpu_userptr_cmd_create_end(struct virtio_gpu_userptr_call *call, int ret);

int virtio_gpu_userptr_cmd_attach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id);
int virtio_gpu_userptr_cmd_detach(struct virtio_gpu_device *vgdev, u32 ctx_id, u32 res_id);
int virtio_gpu_userptr_cmd_alloc_destroy(struct virtio_gpu_device *vgdev,
					 struct virtio_gpu_object_userptr *userptr);
int virtio_gpu_userptr_cmd_destroy(struct virtio_gpu_device *vgdev,
				   struct virtio_gpu_object_userptr *userptr);

#endif /* VIRTGPU_USERPTR_H */
