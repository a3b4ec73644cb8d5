// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of giving memory back
 *
 * DESTROY and its answers, a queue without room, and charges that wait for what
 * the same user has closed.
 */

#include <kunit/test.h>

#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include <drm/drm_gem.h>

#include "virtgpu_userptr_test_fake.h"

/* Objects that are closed at a time. */
#define USERPTR_TEST_MANY	1000

/**
 * struct userptr_test_refused_case - an answer to DESTROY
 * @name: of the case
 * @answer: its type
 */
struct userptr_test_refused_case {
	const char *name;
	u32 answer;
};

static const struct userptr_test_refused_case userptr_test_refused_cases[] = {
	{ "ERR_UNSPEC", VIRTIO_GPU_RESP_ERR_UNSPEC },
	{ "ERR_INVALID_CONTEXT_ID", VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID },
	{ "OK with data", VIRTIO_GPU_RESP_OK_DISPLAY_INFO },
	{ "nothing written", 0 },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_refused, userptr_test_refused_cases, name);

/* Whatever is no promise leaves the pages where they are, until a reset. */
static void userptr_test_destroy_refused(struct kunit *test)
{
	const struct userptr_test_refused_case *c = test->param_value;
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->destroy_answer = c->answer;
	fake_put(userptr);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_pinned(test, f);
	userptr = fake_only_object(test, f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_REVOKING);
	KUNIT_EXPECT_FALSE(test, userptr->unpinned);

	fake_remove(f);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void userptr_test_destroy_of_unknown(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* The last close does not wait, and does not unpin: the answer does. */
static void userptr_test_destroy_late(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	fake_settle(f);
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

/* What the owner unmaps while the device has it does not go back to the system. */
static void userptr_test_unmap_live(struct kunit *test)
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
static void userptr_test_twice(struct kunit *test)
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
	fake_settle(f);
	KUNIT_EXPECT_PTR_EQ(test, fake_only_object(test, f), b);
	fake_expect_live(test, f, b);
	f->hold_destroy = false;
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/* Others may be quicker when there is room: everybody tries again. */
static void userptr_test_ring_full(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr;

	f->refuse = 3;
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, f->refused, 3);

	f->refuse = 4;
	fake_put(userptr);
	fake_expect_released(test, f, 1);
	KUNIT_EXPECT_EQ(test, f->refused, 7);
}

/* Nobody asks again and again as long as nothing changes. */
static void userptr_test_expect_idle(struct kunit *test, struct fake *f)
{
	unsigned int asked, tried;

	/* Let whoever was woken go to sleep again. */
	msleep(20);
	asked = READ_ONCE(f->asked);
	tried = READ_ONCE(f->tried);
	msleep(50);
	KUNIT_EXPECT_EQ(test, READ_ONCE(f->asked), asked);
	KUNIT_EXPECT_EQ(test, READ_ONCE(f->tried), tried);
}

/* The commands that the device has are the first @nr of @sent. */
static void userptr_test_expect_sent(struct kunit *test, struct fake *f,
				     struct virtio_gpu_vbuffer **sent, unsigned int nr)
{
	struct virtio_gpu_vbuffer *vbuf;
	unsigned int i = 0;

	KUNIT_ASSERT_EQ(test, READ_ONCE(f->nr_held), nr);
	list_for_each_entry(vbuf, &f->held, list)
		KUNIT_ASSERT_PTR_EQ_MSG(test, vbuf, sent[i++], "command %u", i);
}

/*
 * Many are closed while there is no room.  Their commands are there already,
 * and leave in order when there is room for some of them, and then for all.
 */
static void userptr_test_release_many(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 1);
	struct virtio_gpu_object_userptr **all;
	struct virtio_gpu_vbuffer **sent;
	unsigned int i;

	all = kunit_kcalloc(test, USERPTR_TEST_MANY, sizeof(*all), GFP_KERNEL);
	sent = kunit_kcalloc(test, USERPTR_TEST_MANY, sizeof(*sent), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, all);
	KUNIT_ASSERT_NOT_NULL(test, sent);
	for (i = 0; i < USERPTR_TEST_MANY; i++) {
		all[i] = fake_create(f);
		KUNIT_ASSERT_FALSE(test, IS_ERR(all[i]));
		sent[i] = all[i]->destroy;
		KUNIT_ASSERT_NOT_NULL(test, sent[i]);
	}
	f->hold_destroy = true;
	fake_set_room(f, 0);
	for (i = 0; i < USERPTR_TEST_MANY; i++)
		fake_put(all[i]);
	fake_wait_refused(test, f, 1);
	userptr_test_expect_idle(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);

	fake_set_room(f, 10);
	fake_wait_held(test, f, 10);
	userptr_test_expect_idle(test, f);
	userptr_test_expect_sent(test, f, sent, 10);

	fake_set_room(f, FAKE_NEVER);
	fake_wait_held(test, f, USERPTR_TEST_MANY);
	userptr_test_expect_sent(test, f, sent, USERPTR_TEST_MANY);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned(f->mem));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), USERPTR_TEST_MANY);
	fake_answer_all(f);
	fake_expect_released(test, f, USERPTR_TEST_MANY);
	/* Each was tried once, but for the two times that there was no room. */
	KUNIT_EXPECT_EQ(test, f->refused, 2);
}

/**
 * struct userptr_test_answerer - answers what is held when a task sleeps
 * @f: device
 * @task: sleeps until it is killed, or something is released
 * @work: on the fake's queue
 */
struct userptr_test_answerer {
	struct fake *f;
	struct task_struct *task;
	struct delayed_work work;
};

static void userptr_test_answer_sleeper(struct work_struct *work)
{
	struct userptr_test_answerer *p =
		container_of(to_delayed_work(work), struct userptr_test_answerer, work);

	/* A sleeper that is not seen now is seen a jiffy later. */
	if (READ_ONCE(p->task->__state) & TASK_WAKEKILL)
		fake_answer_held(p->f, false);
	else
		queue_delayed_work(p->f->wq, &p->work, 1);
}

/* fake_create(), which has to sleep until the command that is held is answered. */
static struct virtio_gpu_object_userptr *userptr_test_create_waiting(struct fake *f)
{
	struct userptr_test_answerer p = { .f = f, .task = current };
	struct virtio_gpu_object_userptr *userptr;

	INIT_DELAYED_WORK_ONSTACK(&p.work, userptr_test_answer_sleeper);
	queue_delayed_work(f->wq, &p.work, 0);
	userptr = fake_create(f);
	cancel_delayed_work_sync(&p.work);
	destroy_delayed_work_on_stack(&p.work);
	return userptr;
}

/* At the limit, what was closed but not yet given up by the device is waited for. */
static void userptr_test_charge_waits(struct kunit *test)
{
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	struct fake *f = fake_new(test, 16, 16);
	struct virtio_gpu_object_userptr *userptr;
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
	userptr = userptr_test_create_waiting(f);
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

/* What the device refuses to give up is not waited for any longer. */
static void userptr_test_charge_let_go(struct kunit *test)
{
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	const struct userptr_test_refused_case *c = test->param_value;
	struct fake *f = fake_new(test, 16, 16);
	struct virtio_gpu_object_userptr *userptr;
	unsigned long start;

	userptr_test_become(test, &user, false);
	userptr_test_set_memlock(16);
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	f->destroy_answer = c->answer;
	fake_put(userptr);
	fake_wait_held(test, f, 1);

	start = jiffies;
	KUNIT_EXPECT_EQ(test, PTR_ERR(userptr_test_create_waiting(f)), -ENOMEM);
	KUNIT_EXPECT_LT(test, jiffies - start, HZ);
	/* Nor by who comes later. */
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENOMEM);
	KUNIT_EXPECT_LT(test, jiffies - start, HZ);
	fake_expect_pinned(test, f);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user.locked_vm), 16);
	fake_remove(f);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user.locked_vm), 0);
}

/* What another user has closed does not help, and is not waited for. */
static void userptr_test_charge_other_user(struct kunit *test)
{
	static struct user_struct user_a = { .__count = REFCOUNT_INIT(1) };
	static struct user_struct user_b = { .__count = REFCOUNT_INIT(1) };
	struct fake *f = fake_new(test, 16, 16);
	struct virtio_gpu_object_userptr *a, *b;
	unsigned long start;

	userptr_test_set_memlock(16);
	userptr_test_become(test, &user_b, false);
	b = fake_create(f);
	fake_expect_live(test, f, b);
	userptr_test_become(test, &user_a, false);
	a = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(a));
	f->hold_destroy = true;
	fake_put(b);
	fake_wait_held(test, f, 1);

	start = jiffies;
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENOMEM);
	KUNIT_EXPECT_LT(test, jiffies - start, HZ);
	f->hold_destroy = false;
	fake_answer_all(f);
	fake_put(a);
	fake_expect_released(test, f, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user_a.locked_vm), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user_b.locked_vm), 0);
}

/* The last tasks, and then their credentials, are put by RCU. */
static void userptr_test_release_suite_exit(struct kunit_suite *suite)
{
	rcu_barrier();
	rcu_barrier();
}

static struct kunit_case userptr_test_release_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_destroy_refused, userptr_test_refused_gen_params),
	KUNIT_CASE(userptr_test_destroy_of_unknown),
	KUNIT_CASE(userptr_test_destroy_late),
	KUNIT_CASE(userptr_test_unmap_live),
	KUNIT_CASE(userptr_test_twice),
	KUNIT_CASE(userptr_test_ring_full),
	KUNIT_CASE(userptr_test_release_many),
	KUNIT_CASE_SLOW(userptr_test_charge_waits),
	KUNIT_CASE_PARAM(userptr_test_charge_let_go, userptr_test_refused_gen_params),
	KUNIT_CASE(userptr_test_charge_other_user),
	{}
};

static struct kunit_suite userptr_test_release_suite = {
	.name = "virtio_gpu_userptr_release",
	.exit = fake_exit,
	.suite_exit = userptr_test_release_suite_exit,
	.test_cases = userptr_test_release_cases,
};

kunit_test_suite(userptr_test_release_suite);
