// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: tests of what ends a registration, and what not
 *
 * Each test does something to memory of its mm that a device uses, and looks at
 * what the device was told: DESTROY_USERPTR, once, or nothing at all.  Events
 * that cannot be caused here are sent as the kernel sends them, without the
 * deed.
 *
 * Nothing is waited for by time: the callback runs within the deed, so flushing
 * the work queue afterwards is enough to say that nothing will happen.
 */

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>

#include "../virtgpu_userptr.h"
#include "../virtgpu_userptr_trace.h"
#include "virtgpu_userptr_test.h"
#include "virtgpu_userptr_test_fake.h"

/* Pages of a resource, and of what is mapped before and behind it. */
#define NR		16
#define MARGIN		2

/* What verify_work reported. */
struct looks {
	atomic_t count;
	u64 start;
	u64 last;
	bool diverged;
};

static void count_look(void *data, u32 res_id, u64 start, u64 last, bool diverged)
{
	struct looks *looks = data;

	looks->start = start;
	looks->last = last;
	looks->diverged = diverged;
	atomic_inc(&looks->count);
}

static void stop_counting(void *data)
{
	unregister_trace_virtio_gpu_userptr_verify(count_look, data);
	tracepoint_synchronize_unregister();
}

static struct looks *count_looks(struct kunit *test)
{
	struct looks *looks = kunit_kzalloc(test, sizeof(*looks), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, looks);
	KUNIT_ASSERT_EQ(test, register_trace_virtio_gpu_userptr_verify(count_look, looks), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_counting, looks), 0);
	return looks;
}

/* Everything that was queued before has been done. */
static void settle(struct fake *f)
{
	flush_workqueue(f->vgdev.userptr->wq);
}

/* The same, and no look at @userptr is due. */
static void settle_looks(struct fake *f, struct virtio_gpu_object_userptr *userptr)
{
	while (userptr->watch.active && flush_delayed_work(&userptr->watch.verify_work))
		;
	settle(f);
}

static void expect_stays(struct kunit *test, struct fake *f,
			 struct virtio_gpu_object_userptr *userptr)
{
	settle_looks(f, userptr);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_FALSE(test, userptr->revoked);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* The handle is there, and nothing else. */
static void expect_revoked(struct kunit *test, struct fake *f,
			   struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;

	settle_looks(f, userptr);
	KUNIT_EXPECT_NE(test, userptr->state, VIRTIO_GPU_USERPTR_LIVE);
	KUNIT_EXPECT_TRUE(test, userptr->revoked);
	if (userptr->revoked)
		KUNIT_EXPECT_NE(test, wait_event_timeout(u->wait, READ_ONCE(u->released), PATIENCE),
				0);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_FALSE(test, virtio_gpu_userptr_is_live(&userptr->base));
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, 0));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* A device, and ordinary memory that it is to use, with more around it. */
static struct fake *new_anon(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 4096);
	unsigned long addr;

	addr = userptr_test_anon(test, 0, NR + 2 * MARGIN, PROT_READ | PROT_WRITE);
	f->mem = userptr_test_mem_user(test, addr + MARGIN * PAGE_SIZE, NR);
	return f;
}

static void put_file(void *data)
{
	fput(data);
}

/* The same, of a file in memory, which is the test's priv then. */
static struct fake *new_shmem(struct kunit *test, struct file **file)
{
	struct fake *f = fake_new(test, 1, 4096);
	unsigned long size = (NR + 2 * MARGIN) * PAGE_SIZE, addr;

	*file = shmem_file_setup("userptr-life", size, mk_vma_flags());
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, *file);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_file, *file), 0);
	addr = kunit_vm_mmap(test, *file, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	f->mem = userptr_test_mem_user(test, addr + MARGIN * PAGE_SIZE, NR);
	return f;
}

/* ---- what the owner does -------------------------------------------------- */

enum deed {
	DEED_MUNMAP,
	DEED_MAP_FIXED,
	DEED_MADVISE,
	DEED_TRUNCATE,
	DEED_PUNCH,
	DEED_UNMAP_FILE,
};

struct deed_case {
	const char *name;
	enum deed deed;
	bool shmem;
	/* pages of the resource, which has 0 to NR - 1 */
	int first;
	int nr;
	bool revoked;
	int advice;
};

static const struct deed_case deed_cases[] = {
	{ "munmap, all", DEED_MUNMAP, false, 0, NR, true },
	{ "munmap, head", DEED_MUNMAP, false, 0, 1, true },
	{ "munmap, middle", DEED_MUNMAP, false, 7, 2, true },
	{ "munmap, tail", DEED_MUNMAP, false, NR - 1, 1, true },
	{ "munmap, from before", DEED_MUNMAP, false, -MARGIN, MARGIN + 1, true },
	{ "munmap, to behind", DEED_MUNMAP, false, NR - 1, MARGIN + 1, true },
	{ "munmap, page before", DEED_MUNMAP, false, -1, 1, false },
	{ "munmap, page behind", DEED_MUNMAP, false, NR, 1, false },
	{ "munmap, shmem", DEED_MUNMAP, true, 3, 1, true },
	{ "MAP_FIXED, all", DEED_MAP_FIXED, false, 0, NR, true },
	{ "MAP_FIXED, head", DEED_MAP_FIXED, false, 0, 1, true },
	{ "MAP_FIXED, middle", DEED_MAP_FIXED, false, 8, 1, true },
	{ "MAP_FIXED, tail", DEED_MAP_FIXED, false, NR - 1, 1, true },
	{ "MAP_FIXED, page before", DEED_MAP_FIXED, false, -1, 1, false },
	{ "MAP_FIXED, page behind", DEED_MAP_FIXED, false, NR, 1, false },
	{ "MADV_DONTNEED, all", DEED_MADVISE, false, 0, NR, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, head", DEED_MADVISE, false, 0, 1, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, middle", DEED_MADVISE, false, 9, 1, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, tail", DEED_MADVISE, false, NR - 1, 1, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, page before", DEED_MADVISE, false, -1, 1, false, MADV_DONTNEED },
	{ "MADV_DONTNEED, page behind", DEED_MADVISE, false, NR, 1, false, MADV_DONTNEED },
	{ "MADV_DONTNEED, shmem", DEED_MADVISE, true, 0, NR, false, MADV_DONTNEED },
	{ "MADV_FREE", DEED_MADVISE, false, 0, NR, false, MADV_FREE },
	{ "MADV_COLD", DEED_MADVISE, false, 0, NR, false, MADV_COLD },
	{ "MADV_PAGEOUT", DEED_MADVISE, false, 0, NR, false, MADV_PAGEOUT },
	{ "MADV_PAGEOUT, shmem", DEED_MADVISE, true, 0, NR, false, MADV_PAGEOUT },
	{ "MADV_WILLNEED", DEED_MADVISE, true, 0, NR, false, MADV_WILLNEED },
	{ "MADV_DONTFORK", DEED_MADVISE, false, 0, NR, false, MADV_DONTFORK },
	{ "MADV_REMOVE", DEED_MADVISE, true, 5, 1, true, MADV_REMOVE },
	{ "MADV_REMOVE, page before", DEED_MADVISE, true, -1, 1, false, MADV_REMOVE },
	{ "truncate, to nothing", DEED_TRUNCATE, true, -MARGIN, 0, true },
	{ "truncate, to the middle", DEED_TRUNCATE, true, 8, 0, true },
	{ "truncate, to before the last page", DEED_TRUNCATE, true, NR - 1, 0, true },
	{ "truncate, to the end", DEED_TRUNCATE, true, NR, 0, false },
	{ "punch a hole", DEED_PUNCH, true, 4, 2, true },
	{ "punch a hole, last page", DEED_PUNCH, true, NR - 1, 1, true },
	{ "punch a hole, page behind", DEED_PUNCH, true, NR, 1, false },
	/* As reclaim does: the pages stay in the file. */
	{ "unmapped from outside, shmem", DEED_UNMAP_FILE, true, 0, NR, false },
};

KUNIT_ARRAY_PARAM_DESC(deed, deed_cases, name);

static int do_deed(struct kunit *test, const struct deed_case *c, unsigned long addr,
		   struct file *file)
{
	loff_t offset = (loff_t)(MARGIN + c->first) << PAGE_SHIFT;
	loff_t length = (loff_t)c->nr << PAGE_SHIFT;

	addr += (long)c->first * (long)PAGE_SIZE;
	switch (c->deed) {
	case DEED_MUNMAP:
		return vm_munmap(addr, length);
	case DEED_MAP_FIXED:
		userptr_test_anon(test, addr, c->nr, PROT_READ | PROT_WRITE);
		return 0;
	case DEED_MADVISE:
		return do_madvise(current->mm, addr, length, c->advice);
	case DEED_TRUNCATE:
		return vfs_truncate(&file->f_path, offset);
	case DEED_PUNCH:
		return vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				     length);
	case DEED_UNMAP_FILE:
		unmap_mapping_range(file->f_mapping, offset, length, 1);
		return 0;
	}
	return -EINVAL;
}

static void test_deed(struct kunit *test)
{
	const struct deed_case *c = test->param_value;
	struct virtio_gpu_object_userptr *userptr;
	struct file *file = NULL;
	struct fake *f;

	f = c->shmem ? new_shmem(test, &file) : new_anon(test);
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);

	KUNIT_EXPECT_EQ(test, do_deed(test, c, f->mem->addr, file), 0);
	if (c->revoked)
		expect_revoked(test, f, userptr);
	else
		expect_stays(test, f, userptr);
}

/* The page is back, at the same address, but it is another one. */
static void test_dontneed_and_touched(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct mm_struct *mm = current->mm;

	fake_expect_live(test, f, userptr);
	/* Keeps the worker from looking in between. */
	userptr->state = VIRTIO_GPU_USERPTR_CREATING;
	KUNIT_EXPECT_EQ(test, do_madvise(mm, f->mem->addr, PAGE_SIZE, MADV_DONTNEED), 0);
	KUNIT_EXPECT_EQ(test, put_user(1, (int __user *)f->mem->addr), 0);
	scoped_guard(spinlock, &f->vgdev.userptr->lock) {
		userptr->state = VIRTIO_GPU_USERPTR_LIVE;
		virtio_gpu_userptr_suspect(f->vgdev.userptr, userptr, f->mem->addr,
					   f->mem->addr + PAGE_SIZE - 1, 0);
	}
	expect_revoked(test, f, userptr);
}

/* With KEEP the owner has promised to close the handle first. */
static void test_keep(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr;
	struct looks *looks = count_looks(test);
	struct mm_struct *mm = current->mm;

	userptr = virtio_gpu_userptr_create(&f->vgdev, f->mem->addr, NR * PAGE_SIZE,
					    VIRTGPU_USERPTR_KEEP);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, do_madvise(mm, f->mem->addr, PAGE_SIZE, MADV_DONTNEED), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, NR * PAGE_SIZE), 0);
	settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&looks->count), 0);
	expect_stays(test, f, userptr);
}

/* ---- events as such ------------------------------------------------------- */

struct event_case {
	const char *name;
	enum mmu_notifier_event event;
	/* pages of the resource; nr 0: the whole address space */
	int first;
	int nr;
	bool revoked;
	unsigned int looks;
};

static const struct event_case event_cases[] = {
	{ "UNMAP", MMU_NOTIFY_UNMAP, 3, 1, true, 0 },
	{ "UNMAP, neighbour", MMU_NOTIFY_UNMAP, -1, 1, false, 0 },
	{ "RELEASE", MMU_NOTIFY_RELEASE, 0, 0, true, 0 },
	{ "CLEAR, a page", MMU_NOTIFY_CLEAR, 3, 1, false, 1 },
	{ "CLEAR, all", MMU_NOTIFY_CLEAR, 0, NR, false, 1 },
	{ "CLEAR, wider", MMU_NOTIFY_CLEAR, -MARGIN, NR + 2 * MARGIN, false, 1 },
	{ "CLEAR, everything", MMU_NOTIFY_CLEAR, 0, 0, false, 1 },
	{ "CLEAR, neighbour", MMU_NOTIFY_CLEAR, NR, 1, false, 0 },
	{ "PROTECTION_VMA", MMU_NOTIFY_PROTECTION_VMA, 0, NR, false, 0 },
	{ "PROTECTION_PAGE", MMU_NOTIFY_PROTECTION_PAGE, 0, NR, false, 0 },
	{ "SOFT_DIRTY", MMU_NOTIFY_SOFT_DIRTY, 0, 0, false, 0 },
	{ "MIGRATE", MMU_NOTIFY_MIGRATE, 0, NR, false, 0 },
	{ "EXCLUSIVE", MMU_NOTIFY_EXCLUSIVE, 0, NR, false, 0 },
};

KUNIT_ARRAY_PARAM_DESC(event, event_cases, name);

static void notify(struct mm_struct *mm, enum mmu_notifier_event event, unsigned long start,
		   unsigned long end)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, event, 0, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

static void test_event(struct kunit *test)
{
	const struct event_case *c = test->param_value;
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct looks *looks = count_looks(test);
	unsigned long start = 0, end = ULONG_MAX, addr = f->mem->addr;

	fake_expect_live(test, f, userptr);
	if (c->nr) {
		start = addr + (long)c->first * (long)PAGE_SIZE;
		end = start + c->nr * PAGE_SIZE;
	}
	notify(current->mm, c->event, start, end);
	settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&looks->count), c->looks);
	if (c->looks) {
		/* What is beyond the resource is not looked at. */
		KUNIT_EXPECT_EQ(test, looks->start, max(start, addr));
		KUNIT_EXPECT_EQ(test, looks->last, min(end, addr + NR * PAGE_SIZE) - 1);
		KUNIT_EXPECT_FALSE(test, looks->diverged);
	}
	if (c->revoked)
		expect_revoked(test, f, userptr);
	else
		expect_stays(test, f, userptr);
}

/* However many events come while a look is under way, one more follows it. */
static void test_storm(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct looks *looks = count_looks(test);
	unsigned long addr = f->mem->addr;
	struct mm_struct *mm = current->mm;
	unsigned int i;

	fake_expect_live(test, f, userptr);
	/* The worker cannot get past this. */
	mmap_write_lock(mm);
	for (i = 0; i < 1000; i++)
		notify(mm, MMU_NOTIFY_CLEAR, addr + i % NR * PAGE_SIZE,
		       addr + (i % NR + 1) * PAGE_SIZE);
	mmap_write_unlock(mm);
	settle(f);
	KUNIT_EXPECT_GE(test, atomic_read(&looks->count), 1);
	KUNIT_EXPECT_LE(test, atomic_read(&looks->count), 2);
	KUNIT_EXPECT_EQ(test, looks->start, addr);
	KUNIT_EXPECT_EQ(test, looks->last, addr + NR * PAGE_SIZE - 1);
	expect_stays(test, f, userptr);
}

/* The event that matters is not lost in a storm of others. */
static void test_storm_with_deed(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	unsigned long addr = f->mem->addr;
	struct mm_struct *mm = current->mm;
	unsigned int i;

	fake_expect_live(test, f, userptr);
	for (i = 0; i < 200; i++) {
		notify(mm, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
		if (i == 100)
			KUNIT_EXPECT_EQ(test, do_madvise(mm, addr + 7 * PAGE_SIZE, PAGE_SIZE,
							 MADV_DONTNEED), 0);
	}
	expect_revoked(test, f, userptr);
}

/* ---- races ---------------------------------------------------------------- */

static void test_unmap_while_creating(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	/* It has to be undone at the device: until then it is pinned. */
	settle(f);
	fake_expect_pinned(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_answer_held(f, false);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_outcome(test, c)), -EFAULT);
	fake_expect_released(test, f, 1);
}

static void test_release_while_creating(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	notify(current->mm, MMU_NOTIFY_RELEASE, 0, ULONG_MAX);
	fake_answer_held(f, false);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_outcome(test, c)), -EFAULT);
	fake_expect_released(test, f, 1);
}

/* A suspicion that comes too early is looked into as soon as it is LIVE. */
static void test_clear_while_creating(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, do_madvise(current->mm, f->mem->addr + 3 * PAGE_SIZE, PAGE_SIZE,
					 MADV_DONTNEED), 0);
	fake_answer_held(f, false);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake_outcome(test, c)));
	expect_revoked(test, f, c->userptr);
}

static void test_false_alarm_while_creating(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct looks *looks = count_looks(test);
	struct creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 1);
	notify(current->mm, MMU_NOTIFY_CLEAR, f->mem->addr, f->mem->addr + PAGE_SIZE);
	settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&looks->count), 0);
	fake_answer_held(f, false);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake_outcome(test, c)));
	settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&looks->count), 1);
	expect_stays(test, f, c->userptr);
}

/* What watching an mm for the first time says to a signal. */
static void test_signal_at_first_watch(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct creator *c = fake_start_creator(test, f, SIGUSR1);

	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_outcome(test, c)), -EINTR);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);
}

static void test_close_while_revoking(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	fake_wait_held(test, f, 1);
	fake_put(userptr);
	settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

static void test_revoke_while_closing(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	fake_expect_released(test, f, 1);
}

struct notify_work {
	struct work_struct work;
	struct mm_struct *mm;
	enum mmu_notifier_event event;
	unsigned long start;
	unsigned long end;
};

static void notify_work(struct work_struct *work)
{
	struct notify_work *n = container_of(work, struct notify_work, work);

	notify(n->mm, n->event, n->start, n->end);
}

/* As from several threads: the device is told once. */
static void test_revokes_at_once(struct kunit *test)
{
	static const enum mmu_notifier_event events[] = {
		MMU_NOTIFY_UNMAP, MMU_NOTIFY_RELEASE, MMU_NOTIFY_CLEAR, MMU_NOTIFY_UNMAP,
	};
	struct notify_work *works = kunit_kcalloc(test, ARRAY_SIZE(events), sizeof(*works),
						  GFP_KERNEL);
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, works);
	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		works[i].mm = current->mm;
		works[i].event = events[i];
		works[i].start = f->mem->addr;
		works[i].end = f->mem->addr + NR * PAGE_SIZE;
		INIT_WORK(&works[i].work, notify_work);
		queue_work(system_unbound_wq, &works[i].work);
	}
	for (i = 0; i < ARRAY_SIZE(events); i++)
		flush_work(&works[i].work);
	fake_wait_held(test, f, 1);
	/* And once more, while the device is at it, and when it is done. */
	notify(current->mm, MMU_NOTIFY_UNMAP, f->mem->addr, f->mem->addr + PAGE_SIZE);
	settle(f);
	fake_answer_held(f, false);
	notify(current->mm, MMU_NOTIFY_RELEASE, 0, ULONG_MAX);
	expect_revoked(test, f, userptr);
}

static void test_revoke_ring_full(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->always_full = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, NR * PAGE_SIZE), 0);
	settle(f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_REVOKING);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_expect_pinned(test, f);
	WRITE_ONCE(f->always_full, false);
	expect_revoked(test, f, userptr);
	/* Nobody slept for room: neither the owner nor the worker. */
	KUNIT_EXPECT_EQ(test, f->waits, 0);
}

static void test_revoke_answered_late(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, NR * PAGE_SIZE), 0);
	fake_wait_held(test, f, 1);
	settle(f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_REVOKING);
	KUNIT_EXPECT_FALSE(test, virtio_gpu_userptr_is_live(&userptr->base));
	fake_expect_pinned(test, f);
	fake_answer_held(f, false);
	expect_revoked(test, f, userptr);
}

/* A device that does not answer, or refuses, keeps the pages until its reset. */
static void test_revoke_until_reset(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;

	fake_expect_live(test, f, a);
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, NR * PAGE_SIZE), 0);
	fake_wait_held(test, f, 2);
	fake_stop(f);
	settle(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned(f->mem));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 2 * NR);
	fake_reset(f);
	KUNIT_EXPECT_EQ(test, a->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_EQ(test, b->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, 0));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	fake_put(a);
	fake_put(b);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* What comes to the same address is another resource, and is not hurt. */
static void test_new_at_same_address(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;
	struct userptr_test_mem *old = f->mem;

	fake_expect_live(test, f, a);
	f->hold_destroy = true;
	userptr_test_anon(test, old->addr, NR, PROT_READ | PROT_WRITE);
	f->mem = userptr_test_mem_user(test, old->addr, NR);
	KUNIT_EXPECT_PTR_NE(test, userptr_test_page(f->mem, 0), userptr_test_page(old, 0));
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned(old));
	fake_answer_held(f, false);
	f->hold_destroy = false;
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->vgdev.userptr->wait,
						 READ_ONCE(f->vgdev.userptr->released) == 1,
						 PATIENCE), 0);
	settle(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(old, 0));
	KUNIT_EXPECT_EQ(test, a->state, VIRTIO_GPU_USERPTR_DEAD);
	fake_expect_live(test, f, b);
	fake_put(a);
	fake_expect_live(test, f, b);
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/* Of two that share pages only the one whose own range is hit is revoked. */
static void test_overlapping(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct userptr_test_mem *all = f->mem, *half;
	struct virtio_gpu_object_userptr *a = fake_create(f), *b;

	fake_expect_live(test, f, a);
	half = userptr_test_mem_user(test, all->addr, NR / 2);
	f->mem = half;
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	KUNIT_EXPECT_EQ(test, vm_munmap(all->addr + (NR - 1) * PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->vgdev.userptr->wait,
						 READ_ONCE(f->vgdev.userptr->released) == 1,
						 PATIENCE), 0);
	settle(f);
	KUNIT_EXPECT_EQ(test, a->state, VIRTIO_GPU_USERPTR_DEAD);
	fake_expect_live(test, f, b);
	fake_put(a);
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/* ---- the end of the mm ---------------------------------------------------- */

/* An address space that is not the test's own. */
static struct mm_struct *new_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	return mm;
}

static void test_exit(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct mm_struct *own = current->mm, *mm = new_mm(test);
	struct virtio_gpu_object_userptr *userptr;
	unsigned long addr;

	kthread_unuse_mm(own);
	kthread_use_mm(mm);
	addr = vm_mmap(NULL, 0, NR * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (!IS_ERR_VALUE(addr))
		f->mem = userptr_test_mem_user(test, addr, NR);
	userptr = fake_create(f);
	/* As in a process whose file somebody else has, too. */
	mmgrab(mm);
	kthread_unuse_mm(mm);
	mmput(mm);
	kthread_use_mm(own);

	KUNIT_ASSERT_FALSE(test, IS_ERR(userptr));
	expect_revoked(test, f, userptr);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mm->pinned_vm), 0);
	mmdrop(mm);
}

/* The mm goes while a look at it is due. */
static void test_exit_after_clear(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct mm_struct *own = current->mm, *mm = new_mm(test);
	struct virtio_gpu_object_userptr *userptr;
	unsigned int i;
	unsigned long addr;

	kthread_unuse_mm(own);
	kthread_use_mm(mm);
	addr = vm_mmap(NULL, 0, NR * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (!IS_ERR_VALUE(addr))
		f->mem = userptr_test_mem_user(test, addr, NR);
	userptr = fake_create(f);
	for (i = 0; i < 10; i++)
		notify(mm, MMU_NOTIFY_CLEAR, addr, addr + NR * PAGE_SIZE);
	kthread_unuse_mm(mm);
	mmput(mm);
	kthread_use_mm(own);

	KUNIT_ASSERT_FALSE(test, IS_ERR(userptr));
	/* The last user may be the worker, which lets go of it later. */
	KUNIT_EXPECT_NE(test, wait_event_timeout(f->vgdev.userptr->wait,
						 READ_ONCE(f->vgdev.userptr->released), PATIENCE),
			0);
	expect_revoked(test, f, userptr);
}

/* ---- telling user space --------------------------------------------------- */

static void drop_file(void *data)
{
	struct drm_file *file = data;
	struct drm_pending_event *e, *next;

	list_for_each_entry_safe(e, next, &file->event_list, link)
		kfree(e);
	idr_destroy(&file->object_idr);
}

/* A file that handles and events can be in. */
static struct drm_file *open_file(struct kunit *test)
{
	struct drm_file *file = fake_file(test, VIRTIO_GPU_CAPSET_LOOPBACK);

	spin_lock_init(&file->table_lock);
	INIT_RADIX_TREE(&file->object_idr.idr_rt, IDR_RT_MARKER);
	file->object_idr.idr_base = 1;
	INIT_LIST_HEAD(&file->event_list);
	INIT_LIST_HEAD(&file->pending_event_list);
	init_waitqueue_head(&file->event_wait);
	file->event_space = 4096;
	mutex_init(&file->prime.lock);
	file->prime.dmabufs = RB_ROOT;
	file->prime.handles = RB_ROOT;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, drop_file, file), 0);
	return file;
}

static u32 create_handle(struct kunit *test, struct fake *f, struct drm_file *file, u32 flags)
{
	struct drm_virtgpu_resource_create_userptr args = {
		.addr = f->mem->addr,
		.size = f->mem->nr * PAGE_SIZE,
		.flags = flags,
	};

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), 0);
	KUNIT_ASSERT_NE(test, args.bo_handle, 0);
	return args.bo_handle;
}

static int info(struct fake *f, struct drm_file *file, u32 handle, u32 wait_state, s64 timeout,
		u32 *state)
{
	struct drm_virtgpu_userptr_info args = {
		.bo_handle = handle,
		.wait_state = wait_state,
		.timeout_ns = timeout,
	};
	int ret = virtio_gpu_userptr_info_ioctl(f->drm, &args, file);

	*state = args.state;
	return ret;
}

static s64 in_a_while(void)
{
	return ktime_get_ns() + 5LL * NSEC_PER_SEC;
}

static unsigned int nr_events(struct drm_file *file)
{
	return list_count_nodes(&file->event_list) + list_count_nodes(&file->pending_event_list);
}

static void test_file_event(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct drm_file *file = open_file(test);
	struct drm_virtgpu_event_userptr *event;
	struct drm_pending_event *e;
	u32 handle, state;

	handle = create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	settle(f);
	KUNIT_EXPECT_EQ(test, nr_events(file), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr + PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED, in_a_while(),
				   &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_RELEASED);
	notify(current->mm, MMU_NOTIFY_RELEASE, 0, ULONG_MAX);
	settle(f);
	KUNIT_ASSERT_EQ(test, nr_events(file), 1);
	e = list_first_entry(&file->event_list, struct drm_pending_event, link);
	event = (struct drm_virtgpu_event_userptr *)e->event;
	KUNIT_EXPECT_EQ(test, event->base.type, VIRTGPU_EVENT_USERPTR_REVOKED);
	KUNIT_EXPECT_EQ(test, event->base.length, sizeof(*event));
	KUNIT_EXPECT_EQ(test, event->bo_handle, handle);
	KUNIT_EXPECT_EQ(test, event->addr, f->mem->addr);
	KUNIT_EXPECT_EQ(test, event->size, NR * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
	KUNIT_EXPECT_EQ(test, nr_events(file), 1);
}

/* Nobody asked, nobody is there any more, or nobody reads. */
static void test_no_file_event(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct drm_file *file = open_file(test);
	u32 handle, state;

	handle = create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);

	handle = create_handle(test, f, file, 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED, in_a_while(),
				   &state), 0);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 2);

	userptr_test_anon(test, f->mem->addr, 1, PROT_READ | PROT_WRITE);
	f->mem = userptr_test_mem_user(test, f->mem->addr, NR);
	handle = create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	file->event_space = sizeof(struct drm_virtgpu_event_userptr) - 1;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED, in_a_while(),
				   &state), 0);
	settle(f);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 3);
	KUNIT_EXPECT_EQ(test, nr_events(file), 0);
}

static void test_info(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct drm_file *file = open_file(test);
	u32 handle, state;

	handle = create_handle(test, f, file, 0);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, 0, 0, &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_LIVE);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_LIVE, 0, &state), 0);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_REVOKED, 0, &state),
			-ETIME);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED + 1, 0, &state),
			-EINVAL);

	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_REVOKED, 0, &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_REVOKED);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED, 0, &state),
			-ETIME);
	fake_wait_held(test, f, 1);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED,
				   ktime_get_ns() + 20 * NSEC_PER_MSEC, &state), -ETIME);
	fake_answer_held(f, false);
	KUNIT_EXPECT_EQ(test, info(f, file, handle, VIRTGPU_USERPTR_STATE_RELEASED, in_a_while(),
				   &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_RELEASED);
	/* Who says so has unpinned. */
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, 0));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
}

/* A revoked resource is not opened again, and its close tells the device nothing. */
static void test_open_revoked(struct kunit *test)
{
	struct fake *f = new_anon(test);
	struct drm_file *file = open_file(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct drm_gem_object *obj = &userptr->base.base.base;

	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EFAULT);
	KUNIT_EXPECT_EQ(test, f->others, 1);
	obj->funcs->close(obj, file);
	KUNIT_EXPECT_EQ(test, f->others, 1);
	expect_revoked(test, f, userptr);
}

static struct kunit_case life_cases[] = {
	KUNIT_CASE_PARAM(test_deed, deed_gen_params),
	KUNIT_CASE(test_dontneed_and_touched),
	KUNIT_CASE(test_keep),
	KUNIT_CASE_PARAM(test_event, event_gen_params),
	KUNIT_CASE(test_storm),
	KUNIT_CASE(test_storm_with_deed),
	KUNIT_CASE(test_unmap_while_creating),
	KUNIT_CASE(test_release_while_creating),
	KUNIT_CASE(test_clear_while_creating),
	KUNIT_CASE(test_false_alarm_while_creating),
	KUNIT_CASE(test_signal_at_first_watch),
	KUNIT_CASE(test_close_while_revoking),
	KUNIT_CASE(test_revoke_while_closing),
	KUNIT_CASE(test_revokes_at_once),
	KUNIT_CASE(test_revoke_ring_full),
	KUNIT_CASE(test_revoke_answered_late),
	KUNIT_CASE(test_revoke_until_reset),
	KUNIT_CASE(test_new_at_same_address),
	KUNIT_CASE(test_overlapping),
	KUNIT_CASE(test_exit),
	KUNIT_CASE(test_exit_after_clear),
	KUNIT_CASE(test_file_event),
	KUNIT_CASE(test_no_file_event),
	KUNIT_CASE(test_info),
	KUNIT_CASE(test_open_revoked),
	{}
};

static struct kunit_suite life_suite = {
	.name = "virtio_gpu_userptr_life",
	.exit = fake_exit,
	.test_cases = life_cases,
};

/* ---- finding pages -------------------------------------------------------- */

struct walk_case {
	const char *name;
	enum userptr_test_pattern pattern;
	unsigned int nr;
};

static const struct walk_case walk_cases[] = {
	{ "1 page", USERPTR_TEST_IN_ORDER, 1 },
	{ "1 run", USERPTR_TEST_IN_ORDER, 512 },
	{ "2 runs", USERPTR_TEST_ROTATED, 900 },
	{ "pairs", USERPTR_TEST_PAIRS, 1024 },
	{ "pairs, one mark", USERPTR_TEST_PAIRS, 2 * VIRTIO_GPU_USERPTR_MARK },
	{ "runs up to a mark", USERPTR_TEST_SCATTERED, VIRTIO_GPU_USERPTR_MARK },
	{ "and one more", USERPTR_TEST_SCATTERED, VIRTIO_GPU_USERPTR_MARK + 1 },
	{ "reversed", USERPTR_TEST_REVERSED, 1024 },
	{ "scattered", USERPTR_TEST_SCATTERED, 4097 },
};

KUNIT_ARRAY_PARAM_DESC(walk, walk_cases, name);

/* From every page to the end of the table, or some way beyond the next mark. */
static void expect_walk(struct kunit *test, const struct virtio_gpu_userptr_pin *pin,
			const struct userptr_test_mem *mem, unsigned int first)
{
	unsigned int end = min(mem->nr, first + 2 * VIRTIO_GPU_USERPTR_MARK + 3), i;
	struct virtio_gpu_userptr_walk walk;

	virtio_gpu_userptr_walk_start(pin, first, &walk);
	for (i = first; i < end; i++)
		KUNIT_ASSERT_PTR_EQ_MSG(test, virtio_gpu_userptr_walk_next(&walk),
					userptr_test_page(mem, i), "page %u from %u", i, first);
}

static void test_walk(struct kunit *test)
{
	const struct walk_case *c = test->param_value;
	struct virtio_gpu_userptr_pin pin = {};
	struct userptr_test_mem *mem;
	unsigned int i;
	int ret;

	mem = userptr_test_mem(test, c->pattern, c->nr, PROT_READ | PROT_WRITE, false);
	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_charge(&pin, c->nr), 0);
	ret = virtio_gpu_userptr_pin(&pin, mem->addr, true, U32_MAX);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret)
		ret = virtio_gpu_userptr_mark(&pin);
	KUNIT_EXPECT_EQ(test, ret, 0);
	if (!ret) {
		KUNIT_EXPECT_EQ(test, pin.nr_marks, DIV_ROUND_UP(pin.table.sgt.orig_nents,
								 VIRTIO_GPU_USERPTR_MARK));
		for (i = 0; i < mem->nr; i++)
			expect_walk(test, &pin, mem, i);
	}
	virtio_gpu_userptr_unpin(&pin);
	KUNIT_EXPECT_NULL(test, pin.marks);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(mem, USERPTR_TEST_MAPPED));
}

static struct kunit_case walk_cases_list[] = {
	KUNIT_CASE_PARAM(test_walk, walk_gen_params),
	{}
};

static struct kunit_suite walk_suite = {
	.name = "virtio_gpu_userptr_walk",
	.test_cases = walk_cases_list,
};

kunit_test_suites(&life_suite, &walk_suite);

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
