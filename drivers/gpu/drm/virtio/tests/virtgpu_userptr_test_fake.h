/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-gpu userptr resources: a device for tests
 *
 * struct fake is a device that checks each command as a device would, and also
 * what no device can see: that the pages are pinned when it is told of them,
 * when it is asked to let go, and still right before it answers that.  Answers
 * come at once, from a work item, or when the test says so, in any order.
 *
 * Locks: fake.lock protects the fake's lists and counts; answers are given
 * without it.  The first thing that is wrong with any command is kept in
 * fake.violation and fails the test when it ends.
 */
#ifndef VIRTGPU_USERPTR_TEST_FAKE_H
#define VIRTGPU_USERPTR_TEST_FAKE_H

#include <kunit/test.h>

#include <linux/completion.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

#define PATIENCE	(5 * HZ)
#define FAKE_RESOURCES	4
#define FAKE_NEVER	U32_MAX

enum fake_state { FAKE_UNKNOWN, FAKE_HALF, FAKE_USABLE, FAKE_FAILED };

/**
 * struct fake_resource - what the device knows of a resource
 * @id: resource id
 * @state: see the diagram of <linux/virtio_gpu_userptr.h>
 * @size: bytes to describe
 * @described: bytes described
 * @segments_left: entries to come
 * @mem: what it is made of
 */
struct fake_resource {
	u32 id;
	enum fake_state state;
	u64 size;
	u64 described;
	u32 segments_left;
	struct userptr_test_mem *mem;
};

/**
 * struct fake - a device
 * @vgdev: the driver's view of it
 * @drm: DRM device of @vgdev
 * @drm_refs: references of @drm while there is no resource
 * @stopped: the driver was told that it is gone
 * @finished: and that it was reset
 * @mem: what the next resource is made of
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
 * @destroy_answer: answer to DESTROY; 0: what is right
 * @other_answer: answer to other commands
 * @info: answer to GET_USERPTR_INFO, if its type is set
 * @full: times to have no room
 * @always_full: never to have room
 * @full_at: chunks received after which there is no room
 * @waits: times that somebody waited for room
 * @chunks: CREATEs and ADDs received
 * @in_flight: of which are not answered
 * @max_in_flight: highest value of @in_flight
 * @destroys: DESTROYs received
 * @others: other commands received
 * @resources: what the device knows
 * @violation: the first thing that was wrong, or NULL
 */
struct fake {
	struct virtio_gpu_device vgdev;
	struct drm_device *drm;
	unsigned int drm_refs;
	bool stopped;
	bool finished;
	struct userptr_test_mem *mem;
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
	unsigned int full;
	bool always_full;
	u32 full_at;
	unsigned int waits;
	unsigned int chunks;
	unsigned int in_flight;
	unsigned int max_in_flight;
	unsigned int destroys;
	unsigned int others;
	struct fake_resource resources[FAKE_RESOURCES];
	const char *violation;
};

/**
 * struct creator - a task that creates a resource
 * @task: it
 * @f: for this device
 * @mm: whose memory
 * @signal: for itself, before it starts; or 0
 * @done: it has an outcome
 * @userptr: the outcome
 * @took: jiffies until then
 */
struct creator {
	struct task_struct *task;
	struct fake *f;
	struct mm_struct *mm;
	int signal;
	struct completion done;
	struct virtio_gpu_object_userptr *userptr;
	unsigned long took;
};

bool fake_answer_held(struct fake *f, bool latest);
void fake_wait_held(struct kunit *test, struct fake *f, unsigned int nr);
void fake_stop(struct fake *f);
void fake_reset(struct fake *f);
struct virtio_gpu_object_userptr *fake_create(struct fake *f);
struct creator *fake_start_creator(struct kunit *test, struct fake *f, int signal);
struct virtio_gpu_object_userptr *fake_outcome(struct kunit *test, struct creator *c);
void fake_put(struct virtio_gpu_object_userptr *userptr);
void fake_expect_released(struct kunit *test, struct fake *f, unsigned int nr);
void fake_expect_live(struct kunit *test, struct fake *f,
		      struct virtio_gpu_object_userptr *userptr);
void fake_expect_pinned(struct kunit *test, struct fake *f);
struct fake *fake_new(struct kunit *test, unsigned int nr, u32 max_entries);
void fake_exit(struct kunit *test);
struct drm_file *fake_file(struct kunit *test, u32 capset);

#endif /* VIRTGPU_USERPTR_TEST_FAKE_H */
