// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: tests of commands and answers
 *
 * Against the device of virtgpu_userptr_test_fake.h, with a user mm of the
 * test's own.
 */

#include <kunit/test.h>

#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"
#include "virtgpu_userptr_test_fake.h"

struct chunk_case {
	const char *name;
	unsigned int segments;
	u32 max_entries;
	unsigned int chunks;
	bool late;
};

static const struct chunk_case chunk_cases[] = {
	{ "1 segment", 1, 4096, 1, false },
	{ "1 segment, answered late", 1, 4096, 1, true },
	{ "1 entry a command", 20, 1, 20, false },
	{ "1 entry a command, answered late", 20, 1, 20, true },
	{ "3 entries a command", 10, 3, 4, true },
	{ "4095 segments", 4095, 4096, 1, true },
	{ "4096 segments", 4096, 4096, 1, true },
	{ "4097 segments", 4097, 4096, 2, true },
	{ "4097 segments, any number of entries", 4097, U32_MAX, 2, true },
	{ "16385 segments", 16385, U32_MAX, 5, true },
	{ "16385 segments, answered at once", 16385, U32_MAX, 5, false },
	{ "4097 segments, 4095 a command", 4097, 4095, 2, true },
};

KUNIT_ARRAY_PARAM_DESC(chunk, chunk_cases, name);

static void test_chunks(struct kunit *test)
{
	const struct chunk_case *c = test->param_value;
	struct fake *f = fake_new(test, c->segments, c->max_entries);
	struct virtio_gpu_object_userptr *userptr;

	f->answer_late = c->late;
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, userptr->nr_segments, c->segments);
	KUNIT_EXPECT_EQ(test, f->chunks, c->chunks);
	KUNIT_EXPECT_LE(test, f->max_in_flight, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);

	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

struct error_case {
	const char *name;
	u32 chunk;
	u32 answer;
	bool late;
	int expected;
};

#define ERROR(chunk, answer, late, expected) \
	{ #answer " to chunk " #chunk, chunk, VIRTIO_GPU_RESP_ERR_##answer, late, expected }

static const struct error_case error_cases[] = {
	ERROR(0, OUT_OF_MEMORY, false, -ENOMEM),
	ERROR(0, LIMIT, true, -ENOSPC),
	ERROR(0, INVALID_RESOURCE_ID, true, -ENOENT),
	ERROR(1, UNSUPPORTED, false, -EOPNOTSUPP),
	ERROR(1, UNSPEC, true, -EIO),
	ERROR(2, LIMIT, false, -ENOSPC),
	ERROR(2, INVALID_CONTEXT_ID, true, -ENOENT),
	ERROR(3, OUT_OF_MEMORY, true, -ENOMEM),
	ERROR(4, UNSUPPORTED, true, -EOPNOTSUPP),
	ERROR(4, INVALID_PARAMETER, false, -EINVAL),
	ERROR(19, LIMIT, false, -ENOSPC),
	ERROR(19, LIMIT, true, -ENOSPC),
};

KUNIT_ARRAY_PARAM_DESC(error, error_cases, name);

/* 20 commands, of which one is refused: the errno is that of the first refusal. */
static void test_error(struct kunit *test)
{
	const struct error_case *c = test->param_value;
	struct fake *f = fake_new(test, 20, 1);
	struct virtio_gpu_object_userptr *userptr;

	f->answer_late = c->late;
	f->fail_chunk = c->chunk;
	f->fail_answer = c->answer;
	userptr = fake_create(f);
	KUNIT_ASSERT_TRUE(test, IS_ERR(userptr));
	KUNIT_EXPECT_EQ(test, PTR_ERR(userptr), c->expected);
	KUNIT_EXPECT_GT(test, f->chunks, c->chunk);
	KUNIT_EXPECT_LE(test, f->chunks, c->chunk + VIRTIO_GPU_USERPTR_WINDOW);
	fake_expect_released(test, f, 1);
}

/* What is in flight is bounded, and each answer lets one more command go. */
static void test_window(struct kunit *test)
{
	struct fake *f = fake_new(test, 20, 1);
	struct creator *c;
	unsigned int i;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	for (i = 0; i < 12; i++) {
		fake_wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
		KUNIT_EXPECT_EQ(test, f->chunks, VIRTIO_GPU_USERPTR_WINDOW + i);
		fake_answer_held(f, false);
	}
	fake_wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
	for (; i < 20; i++)
		KUNIT_EXPECT_TRUE(test, fake_answer_held(f, false));
	fake_expect_live(test, f, fake_outcome(test, c));
	KUNIT_EXPECT_EQ(test, f->max_in_flight, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_EQ(test, f->chunks, 20);

	fake_put(c->userptr);
	fake_expect_released(test, f, 1);
}

static void test_answers_reversed(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	while (f->nr_held > 1)
		fake_answer_held(f, true);
	/* All but the first answer: that is not enough. */
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&c->done, HZ / 20), 0);
	fake_answer_held(f, true);
	fake_expect_live(test, f, fake_outcome(test, c));

	fake_put(c->userptr);
	fake_expect_released(test, f, 1);
}

/* An error is enough to stop waiting, and answers that come later harm nobody. */
static void test_error_answered_first(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	f->hold_destroy = true;
	f->fail_chunk = 4;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	fake_answer_held(f, true);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENOSPC);
	fake_wait_held(test, f, 5);
	fake_expect_pinned(test, f);
	fake_answer_held(f, true);
	fake_expect_released(test, f, 1);
	while (fake_answer_held(f, false))
		;
}

/* Several errors arrive before the creator looks: the first one counts. */
static void test_first_error(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	f->fail_chunk = 1;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	f->full_at = 4;
	c = fake_start_creator(test, f, 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->waits), PATIENCE), 0);

	/* OK, the refusal, and two commands for a resource that has failed. */
	while (fake_answer_held(f, false))
		;
	WRITE_ONCE(f->full_at, FAKE_NEVER);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENOSPC);
	while (fake_answer_held(f, false))
		;
	fake_expect_released(test, f, 1);
}

struct killed_case {
	const char *name;
	bool destroy_first;
	unsigned int segments;
};

static const struct killed_case killed_cases[] = {
	{ "answers in order", false, 1 },
	{ "DESTROY answered first", true, 1 },
	{ "answers in order, several commands", false, 5 },
	{ "DESTROY answered first, several commands", true, 5 },
	{ "answers in order, window full", false, 20 },
	{ "DESTROY answered first, window full", true, 20 },
};

KUNIT_ARRAY_PARAM_DESC(killed, killed_cases, name);

/* A killed creator leaves at once; the pages stay until the device has agreed. */
static void test_killed(struct kunit *test)
{
	const struct killed_case *k = test->param_value;
	struct fake *f = fake_new(test, k->segments, 1);
	unsigned int nr = min(k->segments, VIRTIO_GPU_USERPTR_WINDOW);
	struct creator *c;

	f->hold_chunks = true;
	f->hold_destroy = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, nr);
	send_sig(SIGKILL, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ERESTARTSYS);

	fake_wait_held(test, f, nr + 1);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_pinned(test, f);
	if (k->destroy_first) {
		fake_answer_held(f, true);
		fake_expect_released(test, f, 1);
	} else {
		while (f->nr_held > 1)
			fake_answer_held(f, false);
		flush_workqueue(f->vgdev.userptr->wq);
		fake_expect_pinned(test, f);
	}
	while (fake_answer_held(f, false))
		;
	fake_expect_released(test, f, 1);
}

/* Other signals end it only after the device has been silent for a second. */
static void test_signal(struct kunit *test)
{
	struct fake *f = fake_new(test, 2, 1);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 2);
	send_sig(SIGUSR1, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_GE(test, c->took, HZ);

	while (fake_answer_held(f, false))
		;
	fake_expect_released(test, f, 1);
}

/* A signal that is there all the time does not end it while the device answers. */
static void test_signal_answered(struct kunit *test)
{
	struct fake *f = fake_new(test, 40, 1);
	struct virtio_gpu_object_userptr *userptr;
	struct creator *c;

	/* The first time that an mm is watched a signal does end it. */
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	fake_put(userptr);
	fake_expect_released(test, f, 1);

	f->answer_late = true;
	c = fake_start_creator(test, f, SIGUSR1);
	fake_expect_live(test, f, fake_outcome(test, c));

	fake_put(c->userptr);
	fake_expect_released(test, f, 2);
}

/* A process that is being killed already tells the device nothing. */
static void test_killed_before(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	c = fake_start_creator(test, f, SIGKILL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);
}

static void test_gone_while_creating(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	fake_stop(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENODEV);

	/* No command can be sent; until the reset the device may still access. */
	flush_workqueue(f->vgdev.userptr->wq);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_expect_pinned(test, f);

	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void test_gone_while_live(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct drm_file *file = fake_file(test, VIRTIO_GPU_CAPSET_LOOPBACK);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct drm_gem_object *obj = &userptr->base.base.base;

	fake_expect_live(test, f, userptr);
	fake_stop(f);
	fake_expect_pinned(test, f);
	fake_reset(f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);

	/* The handle outlives the device, which must not be touched any more. */
	obj->funcs->close(obj, file);
	fake_put(userptr);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void test_gone_before(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);

	fake_stop(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENODEV);
	KUNIT_EXPECT_EQ(test, f->chunks + f->destroys, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* Nothing is said to the device that was not pinned, and nothing is left. */
static void test_cannot_pin(struct kunit *test)
{
	struct fake *f = fake_new(test, 700, 4096);

	f->vgdev.userptr->limits.max_segments = 699;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -E2BIG);
	f->vgdev.userptr->limits.max_segments = 700;
	KUNIT_ASSERT_EQ(test, vm_munmap(f->mem->addr + 699 * PAGE_SIZE, PAGE_SIZE), 0);
	f->mem->uses[f->mem->index[699]]--;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -EFAULT);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);
}

static void test_destroy_refused(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_UNSPEC;
	fake_put(userptr);
	flush_workqueue(f->vgdev.userptr->wq);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	KUNIT_EXPECT_EQ(test, f->vgdev.userptr->released, 0);
	fake_expect_pinned(test, f);

	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void test_destroy_of_unknown(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* The last close does not wait, and does not unpin: the answer does. */
static void test_destroy_late(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	flush_workqueue(f->vgdev.userptr->wq);
	KUNIT_EXPECT_EQ(test, f->vgdev.userptr->releasing, 1);
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

static void test_destroy_never(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	fake_stop(f);
	flush_workqueue(f->vgdev.userptr->wq);
	fake_expect_pinned(test, f);
	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* What the owner unmaps while the device has it does not go back to the system. */
static void test_unmap_live(struct kunit *test)
{
	struct fake *f = fake_new(test, 16, 4);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, f->mem->nr * PAGE_SIZE), 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_PINNED));
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_PINNED));
	memset(f->mem->uses, 0, f->mem->nr_block * sizeof(*f->mem->uses));
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

/* Two registrations of the same memory: each has its own pins and charge. */
static void test_twice(struct kunit *test)
{
	struct fake *f = fake_new(test, 16, 4);
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;

	fake_expect_live(test, f, a);
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	KUNIT_EXPECT_NE(test, a->base.hw_res_handle, b->base.hw_res_handle);
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 2 * f->mem->nr);
	KUNIT_EXPECT_FALSE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED |
							     USERPTR_TEST_PINNED));
	f->hold_destroy = true;
	fake_put(a);
	fake_wait_held(test, f, 1);
	fake_answer_held(f, false);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->vgdev.userptr->wait,
						 READ_ONCE(f->vgdev.userptr->released) == 1,
						 PATIENCE), 0);
	fake_expect_live(test, f, b);
	f->hold_destroy = false;
	fake_put(b);
	fake_expect_released(test, f, 2);
}

static void test_ring_full(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr;

	f->full = 3;
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, f->full, 0);
	KUNIT_EXPECT_EQ(test, f->waits, 3);

	f->full = 4;
	fake_put(userptr);
	fake_expect_released(test, f, 1);
	/* The release does not sleep for room, it comes back. */
	KUNIT_EXPECT_EQ(test, f->waits, 3);
}

static void test_ring_full_killed(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->always_full = true;
	c = fake_start_creator(test, f, 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->waits), PATIENCE), 0);
	send_sig(SIGKILL, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ERESTARTSYS);

	/* The device was told nothing, but only it can say so. */
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	f->hold_destroy = true;
	WRITE_ONCE(f->always_full, false);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_STREQ(test, f->violation, "DESTROY of an unknown resource");
	f->violation = NULL;
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

static void test_ring_full_signal(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->always_full = true;
	c = fake_start_creator(test, f, 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->waits), PATIENCE), 0);
	send_sig(SIGUSR1, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_GE(test, c->took, HZ);

	/* The device was told nothing, but only it can say so. */
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	f->hold_destroy = true;
	WRITE_ONCE(f->always_full, false);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_STREQ(test, f->violation, "DESTROY of an unknown resource");
	f->violation = NULL;
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

/* Answers what is held as soon as somebody sleeps until something is released. */
struct patient {
	struct fake *f;
	struct delayed_work work;
};

static void answer_to_sleeper(struct work_struct *work)
{
	struct patient *p = container_of(to_delayed_work(work), struct patient, work);

	/* No barrier: a sleeper that is not seen now is seen a jiffy later. */
	if (waitqueue_active(&p->f->vgdev.userptr->wait))
		fake_answer_held(p->f, false);
	else
		queue_delayed_work(p->f->wq, &p->work, 1);
}

/* At the limit, what was closed but not yet given up by the device is waited for. */
static void test_charge_waits(struct kunit *test)
{
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	struct fake *f = fake_new(test, 16, 16);
	struct virtio_gpu_object_userptr *userptr;
	struct patient p = { .f = f };
	unsigned long start;

	userptr_test_become(test, &user, false);
	userptr_test_set_memlock(16);
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);

	/* Nobody closed anything: at once. */
	start = jiffies;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENOMEM);
	KUNIT_EXPECT_LT(test, jiffies - start, HZ);

	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	INIT_DELAYED_WORK_ONSTACK(&p.work, answer_to_sleeper);
	queue_delayed_work(f->wq, &p.work, 0);
	userptr = fake_create(f);
	cancel_delayed_work_sync(&p.work);
	destroy_delayed_work_on_stack(&p.work);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user.locked_vm), 16);

	/* A device that does not answer is given a second. */
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	start = jiffies;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENOMEM);
	KUNIT_EXPECT_GE(test, jiffies - start, HZ);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user.locked_vm), 0);
}

static struct kunit_case device_cases[] = {
	KUNIT_CASE_PARAM(test_chunks, chunk_gen_params),
	KUNIT_CASE_PARAM(test_error, error_gen_params),
	KUNIT_CASE(test_window),
	KUNIT_CASE(test_answers_reversed),
	KUNIT_CASE(test_error_answered_first),
	KUNIT_CASE(test_first_error),
	KUNIT_CASE_PARAM(test_killed, killed_gen_params),
	KUNIT_CASE(test_killed_before),
	KUNIT_CASE_SLOW(test_signal),
	KUNIT_CASE(test_signal_answered),
	KUNIT_CASE(test_gone_while_creating),
	KUNIT_CASE(test_gone_while_live),
	KUNIT_CASE(test_gone_before),
	KUNIT_CASE(test_cannot_pin),
	KUNIT_CASE(test_destroy_refused),
	KUNIT_CASE(test_destroy_of_unknown),
	KUNIT_CASE(test_destroy_late),
	KUNIT_CASE(test_destroy_never),
	KUNIT_CASE(test_unmap_live),
	KUNIT_CASE(test_twice),
	KUNIT_CASE(test_ring_full),
	KUNIT_CASE(test_ring_full_killed),
	KUNIT_CASE_SLOW(test_ring_full_signal),
	KUNIT_CASE_SLOW(test_charge_waits),
	{}
};

static struct kunit_suite device_suite = {
	.name = "virtio_gpu_userptr_device",
	.exit = fake_exit,
	.test_cases = device_cases,
};

static void test_get_info(struct kunit *test)
{
	struct virtio_gpu_userptr_limits limits = {};
	struct fake *f = fake_new(test, 1, 1);

	f->answer_late = true;
	f->info = (struct virtio_gpu_resp_userptr_info){
		.hdr.type = cpu_to_le32(VIRTIO_GPU_RESP_OK_USERPTR_INFO),
		.max_entries = cpu_to_le32(5),
		.max_segments = cpu_to_le32(6),
		.alignment = cpu_to_le32(PAGE_SIZE),
		.max_size = cpu_to_le64(7 * PAGE_SIZE),
	};
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), 0);
	KUNIT_EXPECT_EQ(test, limits.max_entries, 5);
	KUNIT_EXPECT_EQ(test, limits.max_segments, 6);
	KUNIT_EXPECT_EQ(test, limits.max_size, 7 * PAGE_SIZE);

	f->info.alignment = cpu_to_le32(3);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -EINVAL);
	f->info.hdr.type = 0;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -EIO);
	f->other_answer = VIRTIO_GPU_RESP_ERR_UNSUPPORTED;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, f->others, 4);
}

/* Attaching is awaited, and its error is the caller's. */
static void test_attach(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 1);

	f->answer_late = true;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_attach(&f->vgdev, 1, 2), 0);
	f->other_answer = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_attach(&f->vgdev, 1, 2), -ENOENT);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_detach(&f->vgdev, 1, 2), 0);
	flush_workqueue(f->wq);
	KUNIT_EXPECT_EQ(test, f->others, 3);
}

/* Who may open a resource by a handle. */
static void test_open(struct kunit *test)
{
	struct fake *f = fake_new(test, 4, 1);
	struct drm_file *file = fake_file(test, 0);
	struct virtio_gpu_object_userptr *userptr;
	struct mm_struct *mm = current->mm;
	struct drm_gem_object *obj;

	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	obj = &userptr->base.base.base;
	KUNIT_EXPECT_TRUE(test, virtio_gpu_is_userptr(&userptr->base));

	KUNIT_EXPECT_EQ(test, f->others, 0);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, f->others, 1);
	f->other_answer = VIRTIO_GPU_RESP_ERR_UNSPEC;
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EIO);
	KUNIT_EXPECT_EQ(test, f->others, 2);

	/* A task with another mm, or none as here. */
	kthread_unuse_mm(mm);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EPERM);
	kthread_use_mm(mm);
	KUNIT_EXPECT_EQ(test, f->others, 2);
	KUNIT_EXPECT_EQ(test, PTR_ERR(obj->funcs->export(obj, 0)), -EPERM);

	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* Read-only is only for contexts in which the device enforces it. */
static void test_open_readonly(struct kunit *test)
{
	struct fake *f = fake_new(test, 4, 1);
	struct drm_file *file = fake_file(test, VIRTIO_GPU_CAPSET_VENUS);
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;
	struct virtio_gpu_object_userptr *userptr;
	struct drm_gem_object *obj;

	userptr = virtio_gpu_userptr_create(&f->vgdev, f->mem->addr, f->mem->nr * PAGE_SIZE,
					    VIRTGPU_USERPTR_RDONLY);
	fake_expect_live(test, f, userptr);
	obj = &userptr->base.base.base;

	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, f->others, 0);
	vfpriv->context_init = VIRTIO_GPU_CAPSET_LOOPBACK;
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, f->others, 1);

	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

struct refusal_case {
	const char *name;
	struct drm_virtgpu_resource_create_userptr args;
	bool usable;
	u64 rdonly_capsets;
	int expected;
};

static const struct refusal_case refusal_cases[] = {
	{ "device cannot", { .addr = PAGE_SIZE, .size = PAGE_SIZE }, false, 0, -EOPNOTSUPP },
	{ "device cannot, size 0", { .addr = PAGE_SIZE }, false, 0, -EOPNOTSUPP },
	{ "size 0", { .addr = PAGE_SIZE }, true, 0, -EINVAL },
	{ "address", { .addr = 1, .size = PAGE_SIZE }, true, 0, -EINVAL },
	{ "unknown flag", { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = 8 }, true, 2, -EINVAL },
	{ "all flags", { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = U32_MAX }, true, 2,
	  -EINVAL },
	{ "padding", { .addr = PAGE_SIZE, .size = PAGE_SIZE, .pad = 1 }, true, 0, -EINVAL },
	{ "too large", { .addr = PAGE_SIZE, .size = 9 * PAGE_SIZE }, true, 0, -E2BIG },
	{ "wraps", { .addr = -(u64)PAGE_SIZE, .size = 2 * PAGE_SIZE }, true, 0, -EFAULT },
	{ "not a user's address", { .addr = -4ULL * PAGE_SIZE, .size = PAGE_SIZE }, true, 0,
	  -EFAULT },
	{ "read-only, enforced nowhere",
	  { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = VIRTGPU_USERPTR_RDONLY }, true, 0,
	  -EOPNOTSUPP },
	{ "read-only, enforced elsewhere",
	  { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = VIRTGPU_USERPTR_RDONLY }, true, 4,
	  -EOPNOTSUPP },
	{ "not mapped", { .addr = PAGE_SIZE, .size = 8 * PAGE_SIZE }, true, 0, -EFAULT },
};

KUNIT_ARRAY_PARAM_DESC(refusal, refusal_cases, name);

/* What the ioctl refuses before the device is asked. */
static void test_refusal(struct kunit *test)
{
	const struct refusal_case *c = test->param_value;
	struct drm_virtgpu_resource_create_userptr args = c->args;
	struct fake *f = fake_new(test, 1, 1);
	struct drm_file *file = kunit_kzalloc(test, sizeof(*file), GFP_KERNEL);
	struct virtio_gpu_fpriv *vfpriv = kunit_kzalloc(test, sizeof(*vfpriv), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, file);
	KUNIT_ASSERT_NOT_NULL(test, vfpriv);
	file->driver_priv = vfpriv;
	mutex_init(&vfpriv->context_lock);
	vfpriv->context_created = true;
	f->vgdev.userptr->limits.max_size = c->usable ? 8 * PAGE_SIZE : 0;
	f->vgdev.userptr->limits.rdonly_capsets = c->rdonly_capsets;

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), c->expected);
	KUNIT_EXPECT_EQ(test, f->chunks + f->others, 0);
	fake_expect_released(test, f, 0);
}

static struct kunit_case command_cases[] = {
	KUNIT_CASE(test_get_info),
	KUNIT_CASE(test_attach),
	KUNIT_CASE(test_open),
	KUNIT_CASE(test_open_readonly),
	KUNIT_CASE_PARAM(test_refusal, refusal_gen_params),
	{}
};

static struct kunit_suite command_suite = {
	.name = "virtio_gpu_userptr_command",
	.exit = fake_exit,
	.test_cases = command_cases,
};

kunit_test_suites(&device_suite, &command_suite);
