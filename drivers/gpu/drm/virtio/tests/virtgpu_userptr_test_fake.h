/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu userptr resources: a device for tests
 *
 * struct fake is a device that checks each command as a device would, and also
 * what no device can see: that the pages are pinned when it is told of them,
 * when it is asked to let go, and still right before it answers that.  Answers
 * come at once, from a work, or when the test says so, in any order.
 *
 * It stands behind virtio_gpu_ctrlq_room() and virtio_gpu_try_queue_ctrl_vbuf()
 * as static stubs, which act in the tasks of the test only: the test's own, the
 * kthreads of fake_start_creator(), and the worker while it runs release_work.
 *
 *	virtgpu_userptr_test_fake.c	the device: commands and answers
 *	virtgpu_userptr_test_guest.c	what surrounds the driver: probe, removal,
 *					suspend, tasks, files; and expectations
 *
 * Locks: fake.lock protects the fake's lists and counts; answers are given
 * without it.  The first thing that is wrong with any command is kept in
 * fake.violation and fails the test when it ends.
 */
#ifndef VIRTGPU_USERPTR_TEST_FAKE_H
#define VIRTGPU_USERPTR_TEST_FAKE_H

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/iopoll.h>

#include <drm/drm_gem.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

#define FAKE_PATIENCE	(5 * HZ)
#define FAKE_RESOURCES	1024
/* Pages of the memory of fake_new_anon(), and pages mapped before and behind it. */
#define FAKE_PAGES	16
#define FAKE_MARGIN	2
/* The one kind of context in which the device enforces read-only. */
#define FAKE_CAPSET	30
/* A number of commands that no test reaches. */
#define FAKE_NEVER	U32_MAX
/* Of fake.destroy_answer: what is right. */
#define FAKE_RIGHT	U32_MAX

/* Wait until @cond, which nobody wakes us up for; true if it came. */
#define fake_wait(cond) \
	(!poll_timeout_us((void)0, cond, USEC_PER_MSEC, 5 * USEC_PER_SEC, false))

/**
 * enum fake_state - see the diagram of <linux/virtio_gpu_userptr.h>
 * @FAKE_UNKNOWN: no such resource
 * @FAKE_HALF_BUILT: described in part
 * @FAKE_COMPLETE: described, and accepted
 * @FAKE_FAILED: an error was answered
 */
enum fake_state { FAKE_UNKNOWN, FAKE_HALF_BUILT, FAKE_COMPLETE, FAKE_FAILED };

/**
 * struct fake_resource - what the device knows of a resource
 * @id: resource id; stays when the resource is gone
 * @state: its state
 * @size: bytes to describe
 * @described: bytes described
 * @bound: most entries, or 0
 * @segments: entries so far
 * @mem: what it is made of
 */
struct fake_resource {
	u32 id;
	enum fake_state state;
	u64 size;
	u64 described;
	u32 bound;
	u32 segments;
	struct userptr_test_mem *mem;
};

/**
 * struct fake - a device
 * @test: whose
 * @vgdev: the driver's view of it
 * @drm: DRM device of @vgdev
 * @drm_refs: references of @drm while there is no resource
 * @release_fn: the driver's release_work
 * @stopped: the driver was told that it is gone
 * @deleted: its queues are not there
 * @finished: the driver was told that it was reset for good
 * @mem: what the next resource is made of
 * @on_chunk: called in the task that sends CREATE or ADD, before it is sent
 * @on_chunk_data: for @on_chunk
 * @verify_fn: the driver's verify_work, see fake_count_looks()
 * @looks: times that it had something to look at
 * @look: from the first to the last page of the last look
 * @lock: protects what follows
 * @arrived: woken for each command
 * @held: commands that are not answered until the test says so
 * @nr_held: how many
 * @late: commands that @late_work answers
 * @late_work: runs on @wq
 * @wq: of the fake alone
 * @hold_chunks: put CREATE and ADD on @held
 * @hold_destroy: put DESTROY on @held
 * @hold_others: put everything else on @held
 * @answer_late: put what is not held on @late
 * @fail_chunk: index of the CREATE or ADD that gets @fail_answer
 * @fail_answer: type of the answer
 * @destroy_answer: answer to DESTROY, or FAKE_RIGHT
 * @other_answer: answer to other commands
 * @info: answer to GET_USERPTR_INFO, if its type is set
 * @broken: no command is taken or answered any more
 * @room: commands that there is room for; FAKE_NEVER for any number
 * @refuse: times that somebody else takes the room that there is
 * @asked: times that the driver asked for room
 * @tried: times that it tried to send
 * @refused: of which there was no room
 * @chunks: CREATEs and ADDs received
 * @in_flight: of which are not answered
 * @max_in_flight: highest value of @in_flight
 * @destroys: DESTROYs received
 * @others: other commands received
 * @all_pinned_at_create: all pages of the last CREATE were pinned
 * @all_pinned_at_destroy: all pages of the last DESTROY were pinned
 * @resources: what the device knows
 * @violation: the first thing that was wrong, or NULL
 */
struct fake {
	struct kunit *test;
	struct virtio_gpu_device vgdev;
	struct drm_device *drm;
	unsigned int drm_refs;
	work_func_t release_fn;
	bool stopped;
	bool deleted;
	bool finished;
	struct userptr_test_mem *mem;
	void (*on_chunk)(struct fake *f, void *data);
	void *on_chunk_data;
	work_func_t verify_fn;
	atomic_t looks;
	struct virtio_gpu_userptr_span look;
	/* protects what follows, see above */
	spinlock_t lock;
	wait_queue_head_t arrived;
	struct list_head held;
	unsigned int nr_held;
	struct list_head late;
	struct work_struct late_work;
	struct workqueue_struct *wq;
	bool hold_chunks;
	bool hold_destroy;
	bool hold_others;
	bool answer_late;
	u32 fail_chunk;
	u32 fail_answer;
	u32 destroy_answer;
	u32 other_answer;
	struct virtio_gpu_resp_userptr_info info;
	bool broken;
	u32 room;
	unsigned int refuse;
	unsigned int asked;
	unsigned int tried;
	unsigned int refused;
	unsigned int chunks;
	unsigned int in_flight;
	unsigned int max_in_flight;
	unsigned int destroys;
	unsigned int others;
	bool all_pinned_at_create;
	bool all_pinned_at_destroy;
	struct fake_resource *resources;
	const char *violation;
};

/**
 * struct fake_creator - a task that creates a resource
 * @task: it
 * @f: for this device
 * @mm: whose memory
 * @signal: for itself, before it starts; or 0
 * @done: it has an outcome
 * @userptr: the outcome
 * @took: jiffies until then
 */
struct fake_creator {
	struct task_struct *task;
	struct fake *f;
	struct mm_struct *mm;
	int signal;
	struct completion done;
	struct virtio_gpu_object_userptr *userptr;
	unsigned long took;
};

static inline struct fake *to_fake(struct virtio_gpu_device *vgdev)
{
	return container_of(vgdev, struct fake, vgdev);
}

static inline struct drm_gem_object *fake_gem(struct virtio_gpu_object_userptr *userptr)
{
	return &userptr->base.base.base;
}

/* virtgpu_userptr_test_fake.c */

void fake_device_init(struct fake *f);
struct fake_resource *fake_find_resource(struct fake *f, u32 id);
bool fake_answer_held(struct fake *f, bool latest);
void fake_answer_all(struct fake *f);
void fake_wait_held(struct kunit *test, struct fake *f, unsigned int nr);
void fake_wait_refused(struct kunit *test, struct fake *f, unsigned int nr);
void fake_set_room(struct fake *f, u32 room);
void fake_set_broken(struct fake *f);
void fake_reset(struct fake *f);
void fake_expect_violation(struct kunit *test, struct fake *f, const char *violation);

/* virtgpu_userptr_test_guest.c */

struct fake *fake_new(struct kunit *test, unsigned int nr, u32 max_entries);
struct fake *fake_new_pattern(struct kunit *test, enum userptr_test_pattern pattern,
			      unsigned int nr, u32 max_entries);
struct fake *fake_new_anon(struct kunit *test);
void fake_exit(struct kunit *test);
void fake_stop(struct fake *f);
void fake_remove(struct fake *f);
void fake_settle(struct fake *f);
struct virtio_gpu_object_userptr *fake_create(struct fake *f);
struct fake_creator *fake_start_creator(struct kunit *test, struct fake *f, int signal);
struct virtio_gpu_object_userptr *fake_outcome(struct kunit *test, struct fake_creator *c);
struct virtio_gpu_object_userptr *fake_only_object(struct kunit *test, struct fake *f);
void fake_put(struct virtio_gpu_object_userptr *userptr);
void fake_count_looks(struct fake *f, struct virtio_gpu_object_userptr *userptr);
void fake_notify(struct fake *f, struct mm_struct *mm, enum mmu_notifier_event event,
		 unsigned long start, unsigned long end);
void fake_expect_released(struct kunit *test, struct fake *f, unsigned int nr);
void fake_expect_stays(struct kunit *test, struct fake *f,
		       struct virtio_gpu_object_userptr *userptr);
void fake_expect_revoked(struct kunit *test, struct fake *f,
			 struct virtio_gpu_object_userptr *userptr);
void fake_expect_live(struct kunit *test, struct fake *f,
		      struct virtio_gpu_object_userptr *userptr);
void fake_expect_pinned(struct kunit *test, struct fake *f);
void fake_expect_unpinned(struct kunit *test, struct fake *f);
struct drm_file *fake_file(struct kunit *test, u32 capset);
u32 fake_create_handle(struct kunit *test, struct fake *f, struct drm_file *file, u32 flags);

#endif /* VIRTGPU_USERPTR_TEST_FAKE_H */
