// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of what ends a registration, and what not
 *
 * Each test does something to memory of its mm that a device uses, and looks at
 * what the device was told: DESTROY_USERPTR, once, or nothing at all.  Events
 * that cannot be caused here are sent as the kernel sends them, without what
 * they stand for.
 *
 * Nothing is waited for by time: the callback runs within the system call, so
 * flushing the work queues afterwards is enough to say that nothing will happen.
 *
 * do_madvise() is not exported, and no other function does what it does: as a
 * module this goes without the cases that need it.
 */

#include <kunit/test.h>

#include <linux/cleanup.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>

#include "virtgpu_userptr_test_fake.h"

static void userptr_test_put_file(void *data)
{
	fput(data);
}

/* As fake_new_anon(), but of a file in memory. */
static struct fake *userptr_test_new_shmem(struct kunit *test, struct file **file)
{
	struct fake *f = fake_new(test, 1, 4096);
	unsigned long size = (FAKE_PAGES + 2 * FAKE_MARGIN) * PAGE_SIZE, addr;

	*file = shmem_file_setup("userptr-test", size, mk_vma_flags());
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, *file);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, userptr_test_put_file, *file), 0);
	addr = kunit_vm_mmap(test, *file, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	f->mem = userptr_test_mem_user(test, addr + FAKE_MARGIN * PAGE_SIZE, FAKE_PAGES);
	return f;
}

/**
 * enum userptr_test_action - what an owner does with memory
 * @ACTION_MUNMAP: munmap()
 * @ACTION_MAP_FIXED: other memory is mapped there
 * @ACTION_ADVISE: madvise()
 * @ACTION_TRUNCATE: truncate() of the file
 * @ACTION_PUNCH: a hole in the file
 * @ACTION_UNMAP_FILE: what reclaim does: unmapped, the pages stay in the file
 */
enum userptr_test_action {
	ACTION_MUNMAP,
	ACTION_MAP_FIXED,
	ACTION_ADVISE,
	ACTION_TRUNCATE,
	ACTION_PUNCH,
	ACTION_UNMAP_FILE,
};

/**
 * struct userptr_test_action_case - something done to a resource's memory
 * @name: of the case
 * @action: what
 * @shmem: the memory is of a file
 * @first: page of the resource, which has 0 to FAKE_PAGES - 1
 * @nr: pages
 * @revoked: the resource is gone afterwards
 * @advice: MADV_*
 */
struct userptr_test_action_case {
	const char *name;
	enum userptr_test_action action;
	bool shmem;
	int first;
	int nr;
	bool revoked;
	int advice;
};

static const struct userptr_test_action_case userptr_test_action_cases[] = {
	{ "munmap, all", ACTION_MUNMAP, false, 0, FAKE_PAGES, true },
	{ "munmap, head", ACTION_MUNMAP, false, 0, 1, true },
	{ "munmap, middle", ACTION_MUNMAP, false, 7, 2, true },
	{ "munmap, tail", ACTION_MUNMAP, false, FAKE_PAGES - 1, 1, true },
	{ "munmap, from before", ACTION_MUNMAP, false, -FAKE_MARGIN, FAKE_MARGIN + 1, true },
	{ "munmap, to behind", ACTION_MUNMAP, false, FAKE_PAGES - 1, FAKE_MARGIN + 1, true },
	{ "munmap, page before", ACTION_MUNMAP, false, -1, 1, false },
	{ "munmap, page behind", ACTION_MUNMAP, false, FAKE_PAGES, 1, false },
	{ "munmap, shmem", ACTION_MUNMAP, true, 3, 1, true },
	{ "MAP_FIXED, all", ACTION_MAP_FIXED, false, 0, FAKE_PAGES, true },
	{ "MAP_FIXED, head", ACTION_MAP_FIXED, false, 0, 1, true },
	{ "MAP_FIXED, middle", ACTION_MAP_FIXED, false, 8, 1, true },
	{ "MAP_FIXED, tail", ACTION_MAP_FIXED, false, FAKE_PAGES - 1, 1, true },
	{ "MAP_FIXED, page before", ACTION_MAP_FIXED, false, -1, 1, false },
	{ "MAP_FIXED, page behind", ACTION_MAP_FIXED, false, FAKE_PAGES, 1, false },
#ifndef MODULE
	{ "MADV_DONTNEED, all", ACTION_ADVISE, false, 0, FAKE_PAGES, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, head", ACTION_ADVISE, false, 0, 1, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, middle", ACTION_ADVISE, false, 9, 1, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, tail", ACTION_ADVISE, false, FAKE_PAGES - 1, 1, true, MADV_DONTNEED },
	{ "MADV_DONTNEED, page before", ACTION_ADVISE, false, -1, 1, false, MADV_DONTNEED },
	{ "MADV_DONTNEED, page behind", ACTION_ADVISE, false, FAKE_PAGES, 1, false, MADV_DONTNEED },
	{ "MADV_DONTNEED, shmem", ACTION_ADVISE, true, 0, FAKE_PAGES, false, MADV_DONTNEED },
	{ "MADV_FREE", ACTION_ADVISE, false, 0, FAKE_PAGES, false, MADV_FREE },
	{ "MADV_COLD", ACTION_ADVISE, false, 0, FAKE_PAGES, false, MADV_COLD },
	{ "MADV_PAGEOUT", ACTION_ADVISE, false, 0, FAKE_PAGES, false, MADV_PAGEOUT },
	{ "MADV_PAGEOUT, shmem", ACTION_ADVISE, true, 0, FAKE_PAGES, false, MADV_PAGEOUT },
	{ "MADV_WILLNEED", ACTION_ADVISE, true, 0, FAKE_PAGES, false, MADV_WILLNEED },
	{ "MADV_DONTFORK", ACTION_ADVISE, false, 0, FAKE_PAGES, false, MADV_DONTFORK },
	{ "MADV_REMOVE", ACTION_ADVISE, true, 5, 1, true, MADV_REMOVE },
	{ "MADV_REMOVE, page before", ACTION_ADVISE, true, -1, 1, false, MADV_REMOVE },
#endif
	{ "truncate, to nothing", ACTION_TRUNCATE, true, -FAKE_MARGIN, 0, true },
	{ "truncate, to the middle", ACTION_TRUNCATE, true, 8, 0, true },
	{ "truncate, to before the last page", ACTION_TRUNCATE, true, FAKE_PAGES - 1, 0, true },
	{ "truncate, to the end", ACTION_TRUNCATE, true, FAKE_PAGES, 0, false },
	{ "punch a hole", ACTION_PUNCH, true, 4, 2, true },
	{ "punch a hole, last page", ACTION_PUNCH, true, FAKE_PAGES - 1, 1, true },
	{ "punch a hole, page behind", ACTION_PUNCH, true, FAKE_PAGES, 1, false },
	{ "unmapped from outside, shmem", ACTION_UNMAP_FILE, true, 0, FAKE_PAGES, false },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_action, userptr_test_action_cases, name);

static int userptr_test_do(struct kunit *test, const struct userptr_test_action_case *c,
			   unsigned long addr, struct file *file)
{
	loff_t offset = (loff_t)(FAKE_MARGIN + c->first) << PAGE_SHIFT;
	loff_t length = (loff_t)c->nr << PAGE_SHIFT;

	addr += (long)c->first * (long)PAGE_SIZE;
	switch (c->action) {
	case ACTION_MUNMAP:
		return vm_munmap(addr, length);
	case ACTION_MAP_FIXED:
		userptr_test_anon(test, addr, c->nr, PROT_READ | PROT_WRITE);
		return 0;
	case ACTION_ADVISE:
#ifndef MODULE
		return do_madvise(current->mm, addr, length, c->advice);
#else
		return -EOPNOTSUPP;
#endif
	case ACTION_TRUNCATE:
		return vfs_truncate(&file->f_path, offset);
	case ACTION_PUNCH:
		return vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				     length);
	case ACTION_UNMAP_FILE:
		unmap_mapping_range(file->f_mapping, offset, length, 1);
		return 0;
	}
	return -EINVAL;
}

static void userptr_test_action(struct kunit *test)
{
	const struct userptr_test_action_case *c = test->param_value;
	struct virtio_gpu_object_userptr *userptr;
	struct file *file = NULL;
	struct fake *f;

	/* HMM does not tell a hole from what reclaim has unmapped. */
	if (c->shmem && c->revoked && c->action >= ACTION_ADVISE &&
	    !IS_ENABLED(CONFIG_PINNED_PAGE_LOOKUP))
		kunit_skip(test, "there is no pinned_page_lookup()");

	f = c->shmem ? userptr_test_new_shmem(test, &file) : fake_new_anon(test);
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);

	KUNIT_EXPECT_EQ(test, userptr_test_do(test, c, f->mem->addr, file), 0);
	if (c->revoked)
		fake_expect_revoked(test, f, userptr);
	else
		fake_expect_stays(test, f, userptr);
}

#ifndef MODULE
static void userptr_test_dontneed(struct kunit *test, unsigned long addr)
{
	struct mm_struct *mm = current->mm;

	KUNIT_EXPECT_EQ(test, do_madvise(mm, addr, PAGE_SIZE, MADV_DONTNEED), 0);
}

/* The page is back, at the same address, but it is another one. */
static void userptr_test_dontneed_and_touched(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	/* Keeps the worker from looking in between. */
	scoped_guard(spinlock, &userptr->lock)
		userptr->state = VIRTIO_GPU_USERPTR_CREATING;
	userptr_test_dontneed(test, f->mem->addr);
	KUNIT_EXPECT_EQ(test, userptr->watch.nr_suspects, 1);
	KUNIT_EXPECT_EQ(test, put_user(1, (int __user *)f->mem->addr), 0);
	scoped_guard(spinlock, &userptr->lock) {
		userptr->state = VIRTIO_GPU_USERPTR_LIVE;
		virtio_gpu_userptr_suspect(userptr, 0, 0);
	}
	fake_expect_revoked(test, f, userptr);
}

/* The event that matters is not lost in a storm of others. */
static void userptr_test_storm_with_madvise(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	unsigned long addr = f->mem->addr;
	struct mm_struct *mm = current->mm;
	unsigned int i;

	fake_expect_live(test, f, userptr);
	for (i = 0; i < 200; i++) {
		fake_notify(f, mm, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
		if (i == 100)
			userptr_test_dontneed(test, addr + 7 * PAGE_SIZE);
	}
	fake_expect_revoked(test, f, userptr);
}

/* Who asks need not wait for the look that is to come, and is not told LIVE. */
static void userptr_test_verify_now(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	unsigned long addr = f->mem->addr;

	fake_expect_live(test, f, userptr);
	fake_notify(f, current->mm, MMU_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_verify_now(userptr), 0);
	KUNIT_EXPECT_EQ(test, userptr->watch.nr_suspects, 0);
	fake_expect_live(test, f, userptr);

	/* So soon after a look the next one waits. */
	userptr_test_dontneed(test, addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, put_user(1, (int __user *)(addr + PAGE_SIZE)), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_verify_now(userptr), 0);
	KUNIT_EXPECT_NE(test, virtio_gpu_userptr_uapi_state(userptr), VIRTGPU_USERPTR_STATE_LIVE);
	fake_expect_revoked(test, f, userptr);
}
#endif

/* With KEEP the owner has promised to close the handle first. */
static void userptr_test_keep(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr;

	userptr = virtio_gpu_userptr_create(&f->vgdev, f->mem->addr, FAKE_PAGES * PAGE_SIZE,
					    VIRTGPU_USERPTR_KEEP);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_FALSE(test, userptr->watch.active);
#ifndef MODULE
	userptr_test_dontneed(test, f->mem->addr);
#endif
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, FAKE_PAGES * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_verify_now(userptr), 0);
	fake_expect_stays(test, f, userptr);
}

/**
 * struct userptr_test_event_case - an event, without what it stands for
 * @name: of the case
 * @event: which
 * @first: page of the resource
 * @nr: pages; 0: the whole address space
 * @revoked: the resource is gone afterwards
 * @looks: times that the pages are compared
 */
struct userptr_test_event_case {
	const char *name;
	enum mmu_notifier_event event;
	int first;
	int nr;
	bool revoked;
	unsigned int looks;
};

static const struct userptr_test_event_case userptr_test_event_cases[] = {
	{ "UNMAP", MMU_NOTIFY_UNMAP, 3, 1, true, 0 },
	{ "UNMAP, neighbour", MMU_NOTIFY_UNMAP, -1, 1, false, 0 },
	{ "RELEASE", MMU_NOTIFY_RELEASE, 0, 0, true, 0 },
	{ "CLEAR, a page", MMU_NOTIFY_CLEAR, 3, 1, false, 1 },
	{ "CLEAR, all", MMU_NOTIFY_CLEAR, 0, FAKE_PAGES, false, 1 },
	{ "CLEAR, wider", MMU_NOTIFY_CLEAR, -FAKE_MARGIN, FAKE_PAGES + 2 * FAKE_MARGIN, false, 1 },
	{ "CLEAR, everything", MMU_NOTIFY_CLEAR, 0, 0, false, 1 },
	{ "CLEAR, neighbour", MMU_NOTIFY_CLEAR, FAKE_PAGES, 1, false, 0 },
	{ "PROTECTION_VMA", MMU_NOTIFY_PROTECTION_VMA, 0, FAKE_PAGES, false, 0 },
	{ "PROTECTION_PAGE", MMU_NOTIFY_PROTECTION_PAGE, 0, FAKE_PAGES, false, 0 },
	{ "SOFT_DIRTY", MMU_NOTIFY_SOFT_DIRTY, 0, 0, false, 0 },
	{ "MIGRATE", MMU_NOTIFY_MIGRATE, 0, FAKE_PAGES, false, 0 },
	{ "EXCLUSIVE", MMU_NOTIFY_EXCLUSIVE, 0, FAKE_PAGES, false, 0 },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_event, userptr_test_event_cases, name);

static void userptr_test_event(struct kunit *test)
{
	const struct userptr_test_event_case *c = test->param_value;
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	unsigned long start = 0, end = ULONG_MAX, addr = f->mem->addr;

	fake_expect_live(test, f, userptr);
	fake_count_looks(f, userptr);
	if (c->nr) {
		start = addr + (long)c->first * (long)PAGE_SIZE;
		end = start + c->nr * PAGE_SIZE;
	}
	fake_notify(f, current->mm, c->event, start, end);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->looks), c->looks);
	if (c->looks) {
		/* What is beyond the resource is not looked at. */
		KUNIT_EXPECT_EQ(test, f->look.first, max(c->first, 0));
		KUNIT_EXPECT_EQ(test, f->look.last, c->nr ?
				min(c->first + c->nr, FAKE_PAGES) - 1 : FAKE_PAGES - 1);
		KUNIT_EXPECT_EQ(test, userptr->watch.nr_suspects, 0);
	}
	if (c->revoked)
		fake_expect_revoked(test, f, userptr);
	else
		fake_expect_stays(test, f, userptr);
}

/* However many events come while a look is under way, one more follows it. */
static void userptr_test_storm(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	unsigned long addr = f->mem->addr;
	struct mm_struct *mm = current->mm;
	unsigned int i, page;

	fake_expect_live(test, f, userptr);
	fake_count_looks(f, userptr);
	/* The worker cannot get past this. */
	mmap_write_lock(mm);
	for (i = 0; i < 1000; i++) {
		page = i % FAKE_PAGES;
		fake_notify(f, mm, MMU_NOTIFY_CLEAR, addr + page * PAGE_SIZE,
			    addr + (page + 1) * PAGE_SIZE);
	}
	mmap_write_unlock(mm);
	fake_settle(f);
	KUNIT_EXPECT_GE(test, atomic_read(&f->looks), 1);
	KUNIT_EXPECT_LE(test, atomic_read(&f->looks), 2);
	KUNIT_EXPECT_EQ(test, f->look.first, 0);
	KUNIT_EXPECT_EQ(test, f->look.last, FAKE_PAGES - 1);
	fake_expect_stays(test, f, userptr);
}

static void userptr_test_clear_own(struct fake *f, void *data)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;
	struct virtio_gpu_object_userptr *userptr;
	unsigned long addr = f->mem->addr;
	unsigned int *suspects = data;

	fake_notify(f, current->mm, MMU_NOTIFY_CLEAR, addr, addr + FAKE_PAGES * PAGE_SIZE);
	scoped_guard(spinlock, &u->lock) {
		userptr = list_first_entry(&u->objects, struct virtio_gpu_object_userptr, node);
		*suspects = READ_ONCE(userptr->watch.nr_suspects);
	}
}

/* Pinning sends CLEAR itself, when it has to copy or migrate: that is no news. */
static void userptr_test_clear_by_creator(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct virtio_gpu_object_userptr *userptr;
	unsigned int suspects = UINT_MAX;

	f->on_chunk = userptr_test_clear_own;
	f->on_chunk_data = &suspects;
	userptr = fake_create(f);
	KUNIT_EXPECT_EQ(test, suspects, 0);
	f->on_chunk = NULL;

	/* When it is LIVE the same task's doings count. */
	fake_expect_live(test, f, userptr);
	fake_count_looks(f, userptr);
	fake_notify(f, current->mm, MMU_NOTIFY_CLEAR, f->mem->addr, f->mem->addr + PAGE_SIZE);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, atomic_read(&f->looks), 1);
	fake_expect_stays(test, f, userptr);
}

/* A munmap() is news whoever does it. */
static void userptr_test_unmap_own(struct fake *f, void *data)
{
	fake_notify(f, current->mm, MMU_NOTIFY_UNMAP, f->mem->addr, f->mem->addr + PAGE_SIZE);
}

static void userptr_test_unmap_by_creator(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);

	f->on_chunk = userptr_test_unmap_own;
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fake_create(f)), -EFAULT);
	fake_expect_released(test, f, 1);
}

static struct kunit_case userptr_test_life_cases[] = {
	KUNIT_CASE_PARAM(userptr_test_action, userptr_test_action_gen_params),
#ifndef MODULE
	KUNIT_CASE(userptr_test_dontneed_and_touched),
	KUNIT_CASE(userptr_test_storm_with_madvise),
	KUNIT_CASE(userptr_test_verify_now),
#endif
	KUNIT_CASE(userptr_test_keep),
	KUNIT_CASE_PARAM(userptr_test_event, userptr_test_event_gen_params),
	KUNIT_CASE(userptr_test_storm),
	KUNIT_CASE(userptr_test_clear_by_creator),
	KUNIT_CASE(userptr_test_unmap_by_creator),
	{}
};

static struct kunit_suite userptr_test_life_suite = {
	.name = "virtio_gpu_userptr_life",
	.exit = fake_exit,
	.test_cases = userptr_test_life_cases,
};

kunit_test_suite(userptr_test_life_suite);
