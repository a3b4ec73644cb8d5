// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: what surrounds the driver in tests
 *
 * Probe, removal, tasks, files and events, for the device of
 * virtgpu_userptr_test_fake.h, and what tests expect of both.
 */

#include <linux/cleanup.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_kunit_helpers.h>

#include "virtgpu_userptr_test_fake.h"

/* Room for what a vbuf has behind it: a command and an answer. */
#define FAKE_VBUF_SIZE	(sizeof(struct virtio_gpu_vbuffer) + 256)

/* release_work in a task that is the test's as long as it runs. */
static void fake_release_work(struct work_struct *work)
{
	struct virtio_gpu_userptr_device *u =
		container_of(work, struct virtio_gpu_userptr_device, release_work);
	struct fake *f = to_fake(u->vgdev);

	current->kunit_test = f->test;
	f->release_fn(work);
	current->kunit_test = NULL;
}

static void fake_no_work(struct work_struct *work)
{
}

/**
 * fake_stop() - the driver hears that the device is gone; nothing can be sent
 * @f: device
 */
void fake_stop(struct fake *f)
{
	if (f->stopped)
		return;
	f->stopped = true;
	drm_dev_unplug(f->drm);
	virtio_gpu_userptr_stop(&f->vgdev);
}

/**
 * fake_remove() - all of it: stop, reset, and tell the driver so
 * @f: device
 */
void fake_remove(struct fake *f)
{
	if (f->finished)
		return;
	f->finished = true;
	fake_stop(f);
	fake_reset(f);
	virtio_gpu_userptr_fini(&f->vgdev);
}

static void fake_free(void *data)
{
	struct fake *f = data;

	fake_remove(f);
	destroy_workqueue(f->wq);
	kmem_cache_destroy(f->vgdev.vbufs);
	ida_destroy(&f->vgdev.resource_ida);
}

static struct fake *fake_alloc(struct kunit *test)
{
	struct device *dev = drm_kunit_helper_alloc_device(test);
	struct fake *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	struct virtio_gpu_userptr_device *u;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_NOT_NULL(test, f);
	f->test = test;
	f->resources = kunit_kcalloc(test, FAKE_RESOURCES, sizeof(*f->resources), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f->resources);
	f->drm = __drm_kunit_helper_alloc_drm_device(test, dev, sizeof(*f->drm), 0, DRIVER_GEM);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, f->drm);
	f->drm->dev_private = &f->vgdev;
	f->vgdev.ddev = f->drm;
	ida_init(&f->vgdev.resource_ida);
	init_waitqueue_head(&f->vgdev.ctrlq.ack_queue);
	INIT_WORK(&f->vgdev.obj_free_work, fake_no_work);
	f->vgdev.vbufs = kmem_cache_create("userptr-test-vbufs", FAKE_VBUF_SIZE,
					   __alignof__(struct virtio_gpu_vbuffer), 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, f->vgdev.vbufs);
	f->wq = alloc_ordered_workqueue("userptr-fake", 0);
	KUNIT_ASSERT_NOT_NULL(test, f->wq);
	fake_device_init(f);

	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_device_init(&f->vgdev), 0);
	KUNIT_ASSERT_FALSE(test, virtio_gpu_userptr_available(&f->vgdev));
	u = f->vgdev.userptr;
	f->release_fn = u->release_work.func;
	u->release_work.func = fake_release_work;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, fake_free, f), 0);
	return f;
}

/**
 * fake_new_pattern() - a device, and memory of this process
 * @test: test
 * @pattern: of the memory's pages
 * @nr: pages
 * @max_entries: entries that the device takes in a command
 *
 * Return: the device, which ends with the test.
 */
struct fake *fake_new_pattern(struct kunit *test, enum userptr_test_pattern pattern,
			      unsigned int nr, u32 max_entries)
{
	struct fake *f = fake_alloc(test);

	f->vgdev.userptr->limits = (struct virtio_gpu_userptr_limits){
		.max_size = SZ_1G,
		.max_entries = max_entries,
		.max_segments = 100000,
		.alignment = PAGE_SIZE,
		.rdonly_capsets = BIT_ULL(FAKE_CAPSET),
	};
	f->mem = userptr_test_mem(test, pattern, nr, PROT_READ | PROT_WRITE, false);
	f->drm_refs = kref_read(&f->drm->ref);
	test->priv = f;
	return f;
}

/**
 * fake_new() - a device, and memory of this process in as many runs as pages
 * @test: test
 * @nr: pages
 * @max_entries: entries that the device takes in a command
 *
 * Return: the device, which ends with the test.
 */
struct fake *fake_new(struct kunit *test, unsigned int nr, u32 max_entries)
{
	return fake_new_pattern(test, USERPTR_TEST_SCATTERED, nr, max_entries);
}

/**
 * fake_new_anon() - a device, and ordinary memory with more around it
 * @test: test
 *
 * Return: the device; its memory has FAKE_PAGES, and FAKE_MARGIN on each side.
 */
struct fake *fake_new_anon(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 4096);
	unsigned long addr;

	addr = userptr_test_anon(test, 0, FAKE_PAGES + 2 * FAKE_MARGIN, PROT_READ | PROT_WRITE);
	f->mem = userptr_test_mem_user(test, addr + FAKE_MARGIN * PAGE_SIZE, FAKE_PAGES);
	return f;
}

/**
 * fake_exit() - exit callback of suites that use fake_new()
 * @test: test
 */
void fake_exit(struct kunit *test)
{
	struct fake *f = test->priv;

	if (f)
		KUNIT_EXPECT_NULL_MSG(test, f->violation, "%s", f->violation);
}

/**
 * fake_settle() - everything that was begun has been done
 * @f: device that has room, so that nobody sleeps for it, and is not removed
 */
void fake_settle(struct fake *f)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;
	struct virtio_gpu_object_userptr *userptr;
	bool looks;

	do {
		looks = false;
		scoped_guard(spinlock, &u->lock)
			list_for_each_entry(userptr, &u->objects, node)
				looks |= userptr->watch.active &&
					 delayed_work_pending(&userptr->watch.verify_work);
		if (looks)
			schedule_timeout_uninterruptible(1);
	} while (looks);

	flush_workqueue(u->verify_wq);
	/* DESTROY, its answer, and what that leads to. */
	flush_workqueue(u->release_wq);
	flush_workqueue(f->wq);
	flush_workqueue(u->release_wq);
}

/**
 * fake_create() - make a resource of the device's memory, for this process
 * @f: device
 *
 * Return: as virtio_gpu_userptr_create().
 */
struct virtio_gpu_object_userptr *fake_create(struct fake *f)
{
	return virtio_gpu_userptr_create(&f->vgdev, f->mem->addr, f->mem->nr * PAGE_SIZE, 0);
}

static int fake_creator_fn(void *data)
{
	struct fake_creator *c = data;
	unsigned long start = jiffies;

	current->kunit_test = c->f->test;
	allow_signal(SIGKILL);
	allow_signal(SIGUSR1);
	if (c->signal)
		send_sig(c->signal, current, 1);
	kthread_use_mm(c->mm);
	c->userptr = fake_create(c->f);
	c->took = jiffies - start;
	kthread_unuse_mm(c->mm);
	mmput(c->mm);
	flush_signals(current);
	current->kunit_test = NULL;
	complete_all(&c->done);

	/* For whoever sends a signal meanwhile, or stops this. */
	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static void fake_stop_creator(void *data)
{
	struct fake_creator *c = data;

	/* A test that failed may have left it waiting. */
	if (!completion_done(&c->done)) {
		fake_set_broken(c->f);
		wake_up_all(&c->f->vgdev.ctrlq.ack_queue);
	}
	kthread_stop_put(c->task);
}

/**
 * fake_start_creator() - let another task do that, in this mm
 * @test: test
 * @f: device
 * @signal: for the task, before it starts; or 0
 *
 * Return: the task, which ends with the test.
 */
struct fake_creator *fake_start_creator(struct kunit *test, struct fake *f, int signal)
{
	struct fake_creator *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->f = f;
	c->mm = current->mm;
	c->signal = signal;
	init_completion(&c->done);
	c->task = kthread_create(fake_creator_fn, c, "userptr-creator");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->task);
	get_task_struct(c->task);
	mmget(c->mm);
	wake_up_process(c->task);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, fake_stop_creator, c), 0);
	return c;
}

/**
 * fake_outcome() - wait until a creation has ended
 * @test: test
 * @c: the task
 *
 * Return: as virtio_gpu_userptr_create().
 */
struct virtio_gpu_object_userptr *fake_outcome(struct kunit *test, struct fake_creator *c)
{
	KUNIT_ASSERT_NE_MSG(test, wait_for_completion_timeout(&c->done, FAKE_PATIENCE), 0,
			    "creation does not end");
	return c->userptr;
}

/**
 * fake_only_object() - what the driver has, also if it is being created
 * @test: test
 * @f: device with one object
 *
 * Return: the object, without a reference.
 */
struct virtio_gpu_object_userptr *fake_only_object(struct kunit *test, struct fake *f)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;
	struct virtio_gpu_object_userptr *userptr;

	scoped_guard(spinlock, &u->lock)
		userptr = list_is_singular(&u->objects) ?
			list_first_entry(&u->objects, struct virtio_gpu_object_userptr, node) :
			NULL;
	KUNIT_ASSERT_NOT_NULL(test, userptr);
	return userptr;
}

/**
 * fake_put() - close the handle
 * @userptr: LIVE or revoked
 */
void fake_put(struct virtio_gpu_object_userptr *userptr)
{
	drm_gem_object_put(fake_gem(userptr));
}

static void fake_verify_work(struct work_struct *work)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(to_delayed_work(work), struct virtio_gpu_object_userptr,
			     watch.verify_work);
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	struct fake *f = to_fake(userptr->base.base.base.dev->dev_private);

	scoped_guard(spinlock, &userptr->lock) {
		if (watch->nr_suspects) {
			f->look.first = watch->suspects[0].first;
			f->look.last = watch->suspects[watch->nr_suspects - 1].last;
			atomic_inc(&f->looks);
		}
	}
	f->verify_fn(work);
}

/**
 * fake_count_looks() - see when verify_work runs, and what for
 * @f: device
 * @userptr: watched; nothing has been suspected yet
 */
void fake_count_looks(struct fake *f, struct virtio_gpu_object_userptr *userptr)
{
	f->verify_fn = userptr->watch.verify_work.work.func;
	userptr->watch.verify_work.work.func = fake_verify_work;
}

#ifdef CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER
#ifdef MODULE
/*
 * What sends events to all who listen is not exported: call the driver's own
 * callback, if the event is about its range.
 */
static void fake_invalidate(struct fake *f, const struct mmu_notifier_range *range)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;
	struct virtio_gpu_object_userptr *userptr;
	struct mmu_interval_notifier *mni;

	scoped_guard(spinlock, &u->lock) {
		userptr = list_first_entry_or_null(&u->objects, struct virtio_gpu_object_userptr,
						   node);
		if (userptr)
			virtio_gpu_userptr_get(userptr);
	}
	if (!userptr)
		return;

	mni = &userptr->watch.notifier;
	/* Odd, as it has to be, and of no invalidation that is under way. */
	if (userptr->watch.active && mni->mm == range->mm &&
	    range->start <= mni->interval_tree.last && range->end > mni->interval_tree.start)
		mni->ops->invalidate(mni, range, 1);
	virtio_gpu_userptr_put(userptr);
}
#else
static void fake_invalidate(struct fake *f, struct mmu_notifier_range *range)
{
	mmu_notifier_invalidate_range_start(range);
	mmu_notifier_invalidate_range_end(range);
}
#endif

/**
 * fake_notify() - send an event, without what it stands for
 * @f: device with one object at most
 * @mm: whose
 * @event: which
 * @start: first address
 * @end: address behind the last
 */
void fake_notify(struct fake *f, struct mm_struct *mm, enum mmu_notifier_event event,
		 unsigned long start, unsigned long end)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, event, 0, mm, start, end);
	fake_invalidate(f, &range);
}
#endif

/**
 * fake_expect_unpinned() - is the device's memory mapped, and nothing else?
 * @test: test
 * @f: device
 */
void fake_expect_unpinned(struct kunit *test, struct fake *f)
{
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
}

/**
 * fake_expect_pinned() - is the device's memory mapped, pinned and charged?
 * @test: test
 * @f: device
 */
void fake_expect_pinned(struct kunit *test, struct fake *f)
{
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED |
							    USERPTR_TEST_PINNED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), f->mem->nr);
}

/**
 * fake_expect_released() - wait for releases, and expect that nothing is left
 * @test: test
 * @f: device, whose memory is still mapped; not removed
 * @nr: resources that were destroyed, ever
 */
void fake_expect_released(struct kunit *test, struct fake *f, unsigned int nr)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;

	KUNIT_ASSERT_TRUE_MSG(test, fake_wait(list_empty_careful(&u->objects)),
			      "%u of %u resources destroyed", READ_ONCE(f->destroys), nr);
	fake_settle(f);
	KUNIT_EXPECT_TRUE(test, list_empty(&u->releases));
	KUNIT_EXPECT_EQ(test, f->destroys, nr);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/**
 * fake_expect_stays() - it is LIVE, and goes when it is closed
 * @test: test
 * @f: device with this object only
 * @userptr: object
 */
void fake_expect_stays(struct kunit *test, struct fake *f,
		       struct virtio_gpu_object_userptr *userptr)
{
	fake_settle(f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_FALSE(test, userptr->revoked);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/**
 * fake_expect_revoked() - the handle is there, and nothing else
 * @test: test
 * @f: device with this object only
 * @userptr: object
 */
void fake_expect_revoked(struct kunit *test, struct fake *f,
			 struct virtio_gpu_object_userptr *userptr)
{
	fake_settle(f);
	KUNIT_EXPECT_NE(test, userptr->state, VIRTIO_GPU_USERPTR_LIVE);
	KUNIT_EXPECT_TRUE(test, userptr->revoked);
	if (userptr->revoked)
		KUNIT_EXPECT_TRUE(test, fake_wait(READ_ONCE(userptr->unpinned)));
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_FALSE(test, virtio_gpu_userptr_is_live(&userptr->base));
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	fake_expect_unpinned(test, f);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/**
 * fake_expect_live() - is it pinned, charged, and complete on the device?
 * @test: test
 * @f: device
 * @userptr: outcome of a creation
 */
void fake_expect_live(struct kunit *test, struct fake *f,
		      struct virtio_gpu_object_userptr *userptr)
{
	struct fake_resource *res;

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(userptr), "creation: %ld", PTR_ERR(userptr));
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_LIVE);
	KUNIT_EXPECT_FALSE(test, userptr->creating);
	fake_expect_pinned(test, f);
	res = fake_find_resource(f, userptr->base.hw_res_handle);
	KUNIT_ASSERT_NOT_NULL(test, res);
	KUNIT_EXPECT_EQ(test, res->state, FAKE_COMPLETE);
	KUNIT_EXPECT_EQ(test, res->segments, userptr->nr_segments);
}

static void fake_drop_file(void *data)
{
	struct drm_file *file = data;
	struct drm_pending_event *e, *next;

	list_for_each_entry_safe(e, next, &file->event_list, link)
		kfree(e);
	idr_destroy(&file->object_idr);
}

/**
 * fake_file() - a file with a context, that handles and events can be in
 * @test: test
 * @capset: of the context
 *
 * Return: the file, which is freed with the test.
 */
struct drm_file *fake_file(struct kunit *test, u32 capset)
{
	struct drm_file *file = kunit_kzalloc(test, sizeof(*file), GFP_KERNEL);
	struct virtio_gpu_fpriv *vfpriv = kunit_kzalloc(test, sizeof(*vfpriv), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, file);
	KUNIT_ASSERT_NOT_NULL(test, vfpriv);
	vfpriv->context_created = true;
	mutex_init(&vfpriv->context_lock);
	vfpriv->context_init = capset;
	file->driver_priv = vfpriv;
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
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, fake_drop_file, file), 0);
	return file;
}

/**
 * fake_create_handle() - register the device's memory by ioctl
 * @test: test
 * @f: device
 * @file: whose handle it becomes
 * @flags: VIRTGPU_USERPTR_*
 *
 * Return: the handle.
 */
u32 fake_create_handle(struct kunit *test, struct fake *f, struct drm_file *file, u32 flags)
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
