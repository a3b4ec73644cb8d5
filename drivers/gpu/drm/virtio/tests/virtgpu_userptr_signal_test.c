// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of signals to who creates a resource
 *
 * While the device is silent, and while there is no room for commands.
 */

#include <kunit/test.h>

#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include "virtgpu_userptr_test_fake.h"

/**
 * struct userptr_test_killed_case - a creator is killed; then the device answers
 * @name: of the case
 * @destroy_first: DESTROY before anything else
 * @segments: of the memory
 */
struct userptr_test_killed_case {
	const char *name;
	bool destroy_first;
	unsigned int segments;
};

static const struct userptr_test_killed_case userptr_test_killed_cases[] = {
	{ "answers in order", false, 1 },
	{ "DESTROY answered first", true, 1 },
	{ "answers in order, several commands", false, 5 },
	{ "DESTROY answered first, several commands", true, 5 },
	{ "answers in order, window full", false, 20 },
	{ "DESTROY answered first, window full", true, 20 },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_killed, userptr_test_killed_cases, name);

/* A killed creator leaves at once; the pages stay until the device has agreed. */
static void userptr_test_killed(struct kunit *test)
{
	const struct userptr_test_killed_case *k = test->param_value;
	struct fake *f = fake_new(test, k->segments, 1);
	unsigned int nr = min(k->segments, VIRTIO_GPU_USERPTR_WINDOW);
	struct fake_creator *c;

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
		fake_settle(f);
		fake_expect_pinned(test, f);
	}
	fake_answer_all(f);
	fake_expect_released(test, f, 1);
}

/* Other signals end it only after the device has been silent for a second. */
static void userptr_test_signal(struct kunit *test)
{
	struct fake *f = fake_new(test, 2, 1);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 2);
	send_sig(SIGUSR1, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_GE(test, c->took, HZ);

	fake_answer_all(f);
	fake_expect_released(test, f, 1);
}

/* A signal that is there all the time does not end it while the device answers. */
static void userptr_test_signal_answered(struct kunit *test)
{
	struct fake *f = fake_new(test, 40, 1);
	struct virtio_gpu_object_userptr *userptr;
	struct fake_creator *c;

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
static void userptr_test_killed_before(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	c = fake_start_creator(test, f, SIGKILL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);
}

/* What watching an mm for the first time says to a signal. */
static void userptr_test_signal_at_first_watch(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct fake_creator *c = fake_start_creator(test, f, SIGUSR1);

	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);
}

/* The device was told nothing, but only it can say so. */
static void userptr_test_expect_asked(struct kunit *test, struct fake *f)
{
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	f->hold_destroy = true;
	fake_set_room(f, FAKE_NEVER);
	fake_wait_held(test, f, 1);
	fake_expect_violation(test, f, "DESTROY of an unknown resource");
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

static void userptr_test_ring_full_killed(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->room = 0;
	c = fake_start_creator(test, f, 0);
	fake_wait_refused(test, f, 1);
	send_sig(SIGKILL, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ERESTARTSYS);
	userptr_test_expect_asked(test, f);
}

static void userptr_test_ring_full_signal(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->room = 0;
	c = fake_start_creator(test, f, 0);
	fake_wait_refused(test, f, 1);
	send_sig(SIGUSR1, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_GE(test, c->took, HZ);
	userptr_test_expect_asked(test, f);
}

static struct kunit_case userptr_test_signal_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_killed, userptr_test_killed_gen_params),
	KUNIT_CASE_SLOW(userptr_test_signal),
	KUNIT_CASE(userptr_test_signal_answered),
	KUNIT_CASE(userptr_test_killed_before),
	KUNIT_CASE(userptr_test_signal_at_first_watch),
	KUNIT_CASE(userptr_test_ring_full_killed),
	KUNIT_CASE_SLOW(userptr_test_ring_full_signal),
	{}
};

static struct kunit_suite userptr_test_signal_suite = {
	.name = "virtio_gpu_userptr_signal",
	.exit = fake_exit,
	.test_cases = userptr_test_signal_cases,
};

kunit_test_suite(userptr_test_signal_suite);
