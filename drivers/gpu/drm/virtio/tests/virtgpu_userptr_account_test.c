// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of accounting
 *
 * With a user mm and a user of the test's own, and without a device.  Every test
 * compares both counters exactly.
 */

#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/mman.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

static struct user_struct userptr_test_user = { .__count = REFCOUNT_INIT(1) };

static s64 userptr_test_pinned_vm(void)
{
	return atomic64_read(&current->mm->pinned_vm);
}

static long userptr_test_locked_vm(struct user_struct *user)
{
	return atomic_long_read(&user->locked_vm);
}

/* Accounting starts with a mm, without the capability and with nothing locked. */
static int userptr_test_account_init(struct kunit *test)
{
	userptr_test_anon(test, 0, 1, PROT_READ);
	userptr_test_become(test, &userptr_test_user, false);
	/* A test that failed may have left something. */
	atomic_long_set(&userptr_test_user.locked_vm, 0);
	return 0;
}

static void userptr_test_charge_exact(struct kunit *test)
{
	struct virtio_gpu_userptr_pin a = { .blocks = LIST_HEAD_INIT(a.blocks) };
	struct virtio_gpu_userptr_pin b = { .blocks = LIST_HEAD_INIT(b.blocks) };
	struct virtio_gpu_userptr_pin c = { .blocks = LIST_HEAD_INIT(c.blocks) };
	s64 before = userptr_test_pinned_vm();

	userptr_test_set_memlock(100);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&a, 60), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 60);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&b, 41), -ENOMEM);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 60);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before + 60);
	KUNIT_EXPECT_NULL(test, b.mm);
	KUNIT_EXPECT_NULL(test, b.account);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&b, 40), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&c, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 100);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before + 100);

	virtio_gpu_userptr_unpin(&a);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 40);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before + 40);
	virtio_gpu_userptr_unpin(&b);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before);
}

/* A limit is in bytes; the part of a page counts as nothing. */
static void userptr_test_charge_part_of_page(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = 3 * PAGE_SIZE - 1;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 3), -ENOMEM);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 2), 0);
	virtio_gpu_userptr_unpin(&pin);

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = PAGE_SIZE - 1;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
}

static void userptr_test_charge_limit_0(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	s64 before = userptr_test_pinned_vm();

	userptr_test_set_memlock(0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), -EPERM);
	KUNIT_EXPECT_NULL(test, pin.mm);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
}

static void userptr_test_charge_no_limit(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = RLIM_INFINITY;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, INT_MAX), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), INT_MAX);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
}

static void userptr_test_charge_overflow(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };

	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = RLIM_INFINITY;
	atomic_long_set(&userptr_test_user.locked_vm, -1);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), -1);
	atomic_long_set(&userptr_test_user.locked_vm, 0);
}

static void userptr_test_charge_capable(struct kunit *test)
{
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	s64 before = userptr_test_pinned_vm();

	userptr_test_set_memlock(0);
	userptr_test_become(test, &userptr_test_user, true);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1000), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before + 1000);

	/* What counts is what was decided when charging. */
	userptr_test_become(test, &userptr_test_user, false);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_pinned_vm(), before);
}

static void userptr_test_charge_then_setuid(struct kunit *test)
{
	static struct user_struct other_user = { .__count = REFCOUNT_INIT(1) };
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };

	userptr_test_set_memlock(100);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 70), 0);
	userptr_test_become(test, &other_user, true);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 70);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&other_user), 0);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&other_user), 0);
}

/* Failing to charge does not keep the user, and uncharging lets go of it. */
static void userptr_test_charge_user_refs(struct kunit *test)
{
	/* Nobody else's: the last test's credentials are put at any time. */
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	struct virtio_gpu_userptr_pin pin = { .blocks = LIST_HEAD_INIT(pin.blocks) };
	unsigned int refs;

	userptr_test_become(test, &user, false);
	refs = refcount_read(&user.__count);
	userptr_test_set_memlock(1);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 2), -ENOMEM);
	KUNIT_EXPECT_EQ(test, refcount_read(&user.__count), refs);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&pin, 1), 0);
	KUNIT_EXPECT_EQ(test, refcount_read(&user.__count), refs + 1);
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_EQ(test, refcount_read(&user.__count), refs);
}

/* All that a user has registered has one account; another user has another one. */
static void userptr_test_charge_accounts(struct kunit *test)
{
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	struct virtio_gpu_userptr_pin a = { .blocks = LIST_HEAD_INIT(a.blocks) };
	struct virtio_gpu_userptr_pin b = { .blocks = LIST_HEAD_INIT(b.blocks) };
	struct virtio_gpu_userptr_pin other = { .blocks = LIST_HEAD_INIT(other.blocks) };

	userptr_test_set_memlock(10);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&a, 4), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&b, 4), 0);
	KUNIT_EXPECT_NOT_NULL(test, a.account);
	KUNIT_EXPECT_PTR_EQ(test, a.account, b.account);
	userptr_test_become(test, &user, false);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_charge(&other, 10), 0);
	KUNIT_EXPECT_PTR_NE(test, a.account, other.account);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&user), 10);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 8);

	virtio_gpu_userptr_unpin(&a);
	virtio_gpu_userptr_unpin(&other);
	virtio_gpu_userptr_unpin(&b);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&user), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_locked_vm(&userptr_test_user), 0);
}

/* The last tasks, and then their credentials, are put by RCU. */
static void userptr_test_account_suite_exit(struct kunit_suite *suite)
{
	rcu_barrier();
	rcu_barrier();
}

static struct kunit_case userptr_test_account_cases[] = {
	KUNIT_CASE(userptr_test_charge_exact),
	KUNIT_CASE(userptr_test_charge_part_of_page),
	KUNIT_CASE(userptr_test_charge_limit_0),
	KUNIT_CASE(userptr_test_charge_no_limit),
	KUNIT_CASE(userptr_test_charge_overflow),
	KUNIT_CASE(userptr_test_charge_capable),
	KUNIT_CASE(userptr_test_charge_then_setuid),
	KUNIT_CASE(userptr_test_charge_user_refs),
	KUNIT_CASE(userptr_test_charge_accounts),
	{}
};

static struct kunit_suite userptr_test_account_suite = {
	.name = "virtio_gpu_userptr_account",
	.init = userptr_test_account_init,
	.suite_exit = userptr_test_account_suite_exit,
	.test_cases = userptr_test_account_cases,
};

kunit_test_suite(userptr_test_account_suite);
