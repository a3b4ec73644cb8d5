// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of what happens at the same time
 *
 * Memory that is taken back while its resource is created, closed or released,
 * by several at once, and by the end of the process; resources that share
 * memory or addresses.
 *
 * do_madvise() is not exported: as a module this goes without the case that
 * needs it.
 */

#include <kunit/test.h>

#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "virtgpu_userptr_test_fake.h"

static void userptr_test_unmap_while_creating(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	/* It has to be undone at the device: until then it is pinned. */
	fake_settle(f);
	fake_expect_pinned(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_answer_held(f, false);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_outcome(test, c)), -EFAULT);
	fake_expect_released(test, f, 1);
}

static void userptr_test_release_while_creating(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	fake_notify(f, current->mm, MMU_NOTIFY_RELEASE, 0, ULONG_MAX);
	fake_answer_held(f, false);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_outcome(test, c)), -EFAULT);
	fake_expect_released(test, f, 1);
}

/* A suspicion that comes too early is looked into as soon as it is LIVE. */
#ifndef MODULE
static void userptr_test_clear_while_creating(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct mm_struct *mm = current->mm;
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, f->mem->addr + 3 * PAGE_SIZE, PAGE_SIZE,
					 MADV_DONTNEED), 0);
	fake_answer_held(f, false);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake_outcome(test, c)));
	fake_expect_revoked(test, f, c->userptr);
}
#endif

static void userptr_test_false_alarm_while_creating(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	fake_count_looks(f, fake_only_object(test, f));
	fake_notify(f, current->mm, MMU_NOTIFY_CLEAR, f->mem->addr, f->mem->addr + PAGE_SIZE);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->looks), 0);
	fake_answer_held(f, false);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake_outcome(test, c)));
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->looks), 1);
	fake_expect_stays(test, f, c->userptr);
}

static void userptr_test_close_while_revoking(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	fake_wait_held(test, f, 1);
	fake_put(userptr);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

static void userptr_test_revoke_while_closing(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

/**
 * struct userptr_test_notify_work - an event, sent by another task
 * @work: sends it
 * @f: device
 * @mm: whose
 * @event: which
 * @start: first address
 * @end: address behind the last
 */
struct userptr_test_notify_work {
	struct work_struct work;
	struct fake *f;
	struct mm_struct *mm;
	enum mmu_notifier_event event;
	unsigned long start;
	unsigned long end;
};

static void userptr_test_notify_work(struct work_struct *work)
{
	struct userptr_test_notify_work *n =
		container_of(work, struct userptr_test_notify_work, work);

	fake_notify(n->f, n->mm, n->event, n->start, n->end);
}

/* As from several threads: the device is told once. */
static void userptr_test_revokes_at_once(struct kunit *test)
{
	static const enum mmu_notifier_event events[] = {
		MMU_NOTIFY_UNMAP, MMU_NOTIFY_RELEASE, MMU_NOTIFY_CLEAR, MMU_NOTIFY_UNMAP,
	};
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct userptr_test_notify_work *works;
	unsigned int i;

	works = kunit_kcalloc(test, ARRAY_SIZE(events), sizeof(*works), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, works);
	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		works[i].f = f;
		works[i].mm = current->mm;
		works[i].event = events[i];
		works[i].start = f->mem->addr;
		works[i].end = f->mem->addr + FAKE_PAGES * PAGE_SIZE;
		INIT_WORK(&works[i].work, userptr_test_notify_work);
		queue_work(system_dfl_wq, &works[i].work);
	}
	for (i = 0; i < ARRAY_SIZE(events); i++)
		flush_work(&works[i].work);
	fake_wait_held(test, f, 1);
	/* And once more, while the device is at it, and when it is done. */
	fake_notify(f, current->mm, MMU_NOTIFY_UNMAP, f->mem->addr, f->mem->addr + PAGE_SIZE);
	fake_settle(f);
	fake_answer_held(f, false);
	fake_notify(f, current->mm, MMU_NOTIFY_RELEASE, 0, ULONG_MAX);
	fake_expect_revoked(test, f, userptr);
}

/* Neither the owner nor anybody but the worker waits for room. */
static void userptr_test_revoke_ring_full(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	fake_set_room(f, 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, FAKE_PAGES * PAGE_SIZE), 0);
	fake_wait_refused(test, f, 1);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_REVOKING);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_expect_pinned(test, f);
	fake_set_room(f, FAKE_NEVER);
	fake_expect_revoked(test, f, userptr);
}

static void userptr_test_revoke_answered_late(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, FAKE_PAGES * PAGE_SIZE), 0);
	fake_wait_held(test, f, 1);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_REVOKING);
	KUNIT_EXPECT_FALSE(test, virtio_gpu_userptr_is_live(&userptr->base));
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_revoked(test, f, userptr);
}

/* A device that does not answer, or refuses, keeps the pages until its reset. */
static void userptr_test_revoke_until_reset(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;

	fake_expect_live(test, f, a);
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, FAKE_PAGES * PAGE_SIZE), 0);
	fake_wait_held(test, f, 2);
	fake_stop(f);
	fake_settle(f);
	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned(f->mem));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 2 * FAKE_PAGES);
	fake_remove(f);
	KUNIT_EXPECT_EQ(test, a->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_EQ(test, b->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, 0));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	fake_put(a);
	fake_put(b);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* What comes to the same address is another resource, and is not hurt. */
static void userptr_test_new_at_same_address(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;
	struct userptr_test_mem *old = f->mem;

	fake_expect_live(test, f, a);
	f->hold_destroy = true;
	userptr_test_anon(test, old->addr, FAKE_PAGES, PROT_READ | PROT_WRITE);
	f->mem = userptr_test_mem_user(test, old->addr, FAKE_PAGES);
	KUNIT_EXPECT_PTR_NE(test, userptr_test_page(f->mem, 0), userptr_test_page(old, 0));
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned(old));
	fake_answer_held(f, false);
	f->hold_destroy = false;
	KUNIT_ASSERT_TRUE(test, fake_wait(READ_ONCE(a->unpinned)));
	fake_settle(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(old, 0));
	KUNIT_EXPECT_EQ(test, a->state, VIRTIO_GPU_USERPTR_DEAD);
	fake_expect_live(test, f, b);
	fake_put(a);
	fake_expect_live(test, f, b);
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/* Of two that share pages only the one whose own range is hit is revoked. */
static void userptr_test_overlapping(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct userptr_test_mem *all = f->mem, *half;
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;

	fake_expect_live(test, f, a);
	half = userptr_test_mem_user(test, all->addr, FAKE_PAGES / 2);
	f->mem = half;
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	KUNIT_EXPECT_EQ(test, vm_munmap(all->addr + (FAKE_PAGES - 1) * PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_ASSERT_TRUE(test, fake_wait(READ_ONCE(a->unpinned)));
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, a->state, VIRTIO_GPU_USERPTR_DEAD);
	fake_expect_live(test, f, b);
	fake_put(a);
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/* An address space that is not the test's own. */
static struct mm_struct *userptr_test_new_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	return mm;
}

static void userptr_test_exit(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct mm_struct *own = current->mm, *mm = userptr_test_new_mm(test);
	struct virtio_gpu_object_userptr *userptr;
	unsigned long addr;

	kthread_unuse_mm(own);
	kthread_use_mm(mm);
	addr = vm_mmap(NULL, 0, FAKE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (!IS_ERR_VALUE(addr))
		f->mem = userptr_test_mem_user(test, addr, FAKE_PAGES);
	userptr = fake_create(f);
	/* As in a process whose file somebody else has, too. */
	mmgrab(mm);
	kthread_unuse_mm(mm);
	mmput(mm);
	kthread_use_mm(own);

	KUNIT_ASSERT_FALSE(test, IS_ERR(userptr));
	fake_expect_revoked(test, f, userptr);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mm->pinned_vm), 0);
	mmdrop(mm);
}

/* The mm goes while a look at it is due. */
static void userptr_test_exit_after_clear(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct mm_struct *own = current->mm, *mm = userptr_test_new_mm(test);
	struct virtio_gpu_object_userptr *userptr;
	unsigned int i;
	unsigned long addr;

	kthread_unuse_mm(own);
	kthread_use_mm(mm);
	addr = vm_mmap(NULL, 0, FAKE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (!IS_ERR_VALUE(addr))
		f->mem = userptr_test_mem_user(test, addr, FAKE_PAGES);
	userptr = fake_create(f);
	for (i = 0; i < 10; i++)
		fake_notify(f, mm, MMU_NOTIFY_CLEAR, addr, addr + FAKE_PAGES * PAGE_SIZE);
	kthread_unuse_mm(mm);
	mmput(mm);
	kthread_use_mm(own);

	KUNIT_ASSERT_FALSE(test, IS_ERR(userptr));
	/* The last user may be the worker, which lets go of it later. */
	KUNIT_EXPECT_TRUE(test, fake_wait(READ_ONCE(userptr->unpinned)));
	fake_expect_revoked(test, f, userptr);
}

static struct kunit_case userptr_test_race_cases[] = {
	KUNIT_CASE(userptr_test_unmap_while_creating),
	KUNIT_CASE(userptr_test_release_while_creating),
#ifndef MODULE
	KUNIT_CASE(userptr_test_clear_while_creating),
#endif
	KUNIT_CASE(userptr_test_false_alarm_while_creating),
	KUNIT_CASE(userptr_test_close_while_revoking),
	KUNIT_CASE(userptr_test_revoke_while_closing),
	KUNIT_CASE(userptr_test_revokes_at_once),
	KUNIT_CASE(userptr_test_revoke_ring_full),
	KUNIT_CASE(userptr_test_revoke_answered_late),
	KUNIT_CASE(userptr_test_revoke_until_reset),
	KUNIT_CASE(userptr_test_new_at_same_address),
	KUNIT_CASE(userptr_test_overlapping),
	KUNIT_CASE(userptr_test_exit),
	KUNIT_CASE(userptr_test_exit_after_clear),
	{}
};

static struct kunit_suite userptr_test_race_suite = {
	.name = "virtio_gpu_userptr_race",
	.exit = fake_exit,
	.test_cases = userptr_test_race_cases,
};

kunit_test_suite(userptr_test_race_suite);
