// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of what user space is told
 *
 * The event of a file, from its reservation to its end, which is exactly one of
 * being sent, cancelled and freed; states, and waiting for them.
 */

#include <kunit/test.h>

#include <linux/cleanup.h>
#include <linux/dma-fence.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>

#include "virtgpu_userptr_test_fake.h"

#define EVENT_SIZE	((int)sizeof(struct drm_virtgpu_event_userptr))
#define FILE_SPACE	4096

static int userptr_test_info_ioctl(struct fake *f, struct drm_file *file, u32 handle, u32 flags,
				   s64 timeout, u32 *state)
{
	struct drm_virtgpu_userptr_info args = {
		.bo_handle = handle,
		.flags = flags,
		.timeout_ns = timeout,
	};
	int ret = virtio_gpu_userptr_info_ioctl(f->drm, &args, file);

	*state = args.state;
	return ret;
}

static s64 userptr_test_in_a_while(void)
{
	return ktime_get_ns() + 5LL * NSEC_PER_SEC;
}

/* Wait for the end of the resource, which is to come. */
static void userptr_test_expect_end(struct kunit *test, struct fake *f, struct drm_file *file,
				    u32 handle)
{
	u32 state;

	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle,
						      VIRTGPU_USERPTR_INFO_WAIT_RELEASED,
						      userptr_test_in_a_while(), &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_RELEASED);
}

/* What the file has been sent, and what is reserved for it. */
static void userptr_test_expect_events(struct kunit *test, struct drm_file *file,
				       unsigned int sent, unsigned int reserved)
{
	KUNIT_EXPECT_EQ(test, list_count_nodes(&file->event_list), sent);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&file->pending_event_list), reserved);
	/* Reading gives back the room of what was sent. */
	KUNIT_EXPECT_EQ(test, file->event_space, FILE_SPACE - (int)(sent + reserved) * EVENT_SIZE);
}

/* ---- what the ioctl does --------------------------------------------------- */

static void userptr_test_event_sent(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct drm_virtgpu_event_userptr *event;
	struct virtio_gpu_object_userptr *userptr;
	struct drm_pending_event *e;
	u32 handle, res_id;

	handle = fake_create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	userptr = fake_only_object(test, f);
	res_id = userptr->base.hw_res_handle;
	fake_settle(f);
	userptr_test_expect_events(test, file, 0, 1);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	/* It was sent within munmap(), and once. */
	userptr_test_expect_events(test, file, 1, 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr + PAGE_SIZE, PAGE_SIZE), 0);
	userptr_test_expect_end(test, f, file, handle);
	virtio_gpu_userptr_revoke(userptr);
	fake_settle(f);
	userptr_test_expect_events(test, file, 1, 0);
	e = list_first_entry(&file->event_list, struct drm_pending_event, link);
	event = (struct drm_virtgpu_event_userptr *)e->event;
	KUNIT_EXPECT_EQ(test, event->base.type, VIRTGPU_EVENT_USERPTR_REVOKED);
	KUNIT_EXPECT_EQ(test, event->base.length, sizeof(*event));
	KUNIT_EXPECT_EQ(test, event->bo_handle, handle);
	KUNIT_EXPECT_EQ(test, event->res_handle, res_id);

	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
	userptr_test_expect_events(test, file, 1, 0);
}

/* Nobody asked for one, or who did has closed the handle. */
static void userptr_test_event_not_sent(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	u32 handle;

	handle = fake_create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	userptr_test_expect_events(test, file, 0, 1);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
	userptr_test_expect_events(test, file, 0, 0);

	handle = fake_create_handle(test, f, file, 0);
	userptr_test_expect_events(test, file, 0, 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	userptr_test_expect_end(test, f, file, handle);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 2);
	userptr_test_expect_events(test, file, 0, 0);
}

/* Half of a file's room is for others; without room nothing is created. */
static void userptr_test_event_room(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct drm_virtgpu_resource_create_userptr args = {
		.addr = f->mem->addr,
		.size = f->mem->nr * PAGE_SIZE,
		.flags = VIRTGPU_USERPTR_EVENT,
	};

	file->event_space = FILE_SPACE / 2 + EVENT_SIZE - 1;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), -ENOMEM);
	KUNIT_EXPECT_EQ(test, file->event_space, FILE_SPACE / 2 + EVENT_SIZE - 1);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	fake_expect_released(test, f, 0);

	file->event_space++;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), 0);
	KUNIT_EXPECT_EQ(test, file->event_space, FILE_SPACE / 2);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, args.bo_handle), 0);
	fake_expect_released(test, f, 1);
}

/* A creation that fails gives its reservation back. */
static void userptr_test_event_of_failure(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct drm_virtgpu_resource_create_userptr args = {
		.addr = f->mem->addr,
		.size = f->mem->nr * PAGE_SIZE,
		.flags = VIRTGPU_USERPTR_EVENT,
	};

	f->fail_chunk = 0;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), -ENOSPC);
	fake_expect_released(test, f, 1);
	userptr_test_expect_events(test, file, 0, 0);

	/* The same if it fails when the handle is attached. */
	f->other_answer = VIRTIO_GPU_RESP_ERR_UNSPEC;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), -EIO);
	fake_expect_released(test, f, 2);
	userptr_test_expect_events(test, file, 0, 0);
}

/* The event is that of a handle: others that name the same object do not count. */
static void userptr_test_event_of_handle(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct drm_file *other = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr;
	u32 handle, second, third, in_other;

	handle = fake_create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	userptr = fake_only_object(test, f);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(file, fake_gem(userptr), &second), 0);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(file, fake_gem(userptr), &third), 0);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(other, fake_gem(userptr), &in_other), 0);
	KUNIT_ASSERT_NE(test, second, handle);

	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, second), 0);
	userptr_test_expect_events(test, file, 0, 1);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(other, in_other), 0);
	userptr_test_expect_events(test, file, 0, 1);
	KUNIT_EXPECT_NOT_NULL(test, userptr->event);

	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	userptr_test_expect_events(test, file, 0, 0);
	KUNIT_EXPECT_NULL(test, userptr->event);

	/* The object lives on by its third handle, and is revoked without a word. */
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	userptr_test_expect_end(test, f, file, third);
	userptr_test_expect_events(test, file, 0, 0);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, third), 0);
	fake_expect_released(test, f, 1);
}

/* Kept while another handle is closed: then it is still sent. */
static void userptr_test_event_kept(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr;
	u32 handle, second;

	handle = fake_create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	userptr = fake_only_object(test, f);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(file, fake_gem(userptr), &second), 0);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, second), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	userptr_test_expect_events(test, file, 1, 0);
	userptr_test_expect_end(test, f, file, handle);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
}

/* ---- how an event ends ----------------------------------------------------- */

/**
 * struct userptr_test_probe - tells when an event ends
 * @fence: of the event, which has a reference
 * @lock: of @fence
 * @freed: the event is no more, and was sent if @fence is signalled
 * @sent: was it?
 */
struct userptr_test_probe {
	struct dma_fence fence;
	spinlock_t lock; /* of the fence */
	bool freed;
	bool sent;
};

static const char *userptr_test_probe_name(struct dma_fence *fence)
{
	return "userptr-test";
}

static void userptr_test_probe_release(struct dma_fence *fence)
{
	struct userptr_test_probe *probe = container_of(fence, struct userptr_test_probe, fence);

	probe->sent = dma_fence_is_signaled(fence);
	probe->freed = true;
}

static const struct dma_fence_ops userptr_test_probe_ops = {
	.get_driver_name = userptr_test_probe_name,
	.get_timeline_name = userptr_test_probe_name,
	.release = userptr_test_probe_release,
};

/* An event for @handle, as the ioctl reserves it, and what tells its end. */
static struct virtio_gpu_userptr_event *userptr_test_new_event(struct kunit *test, struct fake *f,
							       struct drm_file *file, u32 handle,
							       struct userptr_test_probe **probe)
{
	struct virtio_gpu_userptr_event *event = kzalloc_obj(*event);

	*probe = kunit_kzalloc(test, sizeof(**probe), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, *probe);
	KUNIT_ASSERT_NOT_NULL(test, event);
	spin_lock_init(&(*probe)->lock);
	dma_fence_init(&(*probe)->fence, &userptr_test_probe_ops, &(*probe)->lock, 0, 1);
	event->event.base.type = VIRTGPU_EVENT_USERPTR_REVOKED;
	event->event.base.length = sizeof(event->event);
	event->event.bo_handle = handle;
	KUNIT_ASSERT_EQ(test, drm_event_reserve_init(f->drm, file, &event->base,
						     &event->event.base), 0);
	event->base.fence = &(*probe)->fence;
	return event;
}

/* As drm_events_release(), which is not exported: the file is being closed. */
static void userptr_test_release_events(struct fake *f, struct drm_file *file)
{
	struct drm_pending_event *e, *next;

	guard(spinlock_irqsave)(&f->drm->event_lock);
	list_for_each_entry_safe(e, next, &file->pending_event_list, pending_link) {
		list_del(&e->pending_link);
		e->file_priv = NULL;
	}
}

static void userptr_test_event_cancelled(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr;
	struct userptr_test_probe *probe;
	u32 handle;

	handle = fake_create_handle(test, f, file, 0);
	userptr = fake_only_object(test, f);
	virtio_gpu_userptr_set_event(userptr, file,
				     userptr_test_new_event(test, f, file, handle, &probe));
	KUNIT_EXPECT_FALSE(test, probe->freed);
	userptr_test_expect_events(test, file, 0, 1);
	/* A submission keeps the object: the handle is what counts. */
	drm_gem_object_get(fake_gem(userptr));
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	KUNIT_EXPECT_TRUE(test, probe->freed);
	KUNIT_EXPECT_FALSE(test, probe->sent);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
	userptr_test_expect_events(test, file, 0, 0);
}

/* Taken back before the handle was known: sent at once. */
static void userptr_test_event_late(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr;
	struct userptr_test_probe *probe;
	u32 handle;

	handle = fake_create_handle(test, f, file, 0);
	userptr = fake_only_object(test, f);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	virtio_gpu_userptr_set_event(userptr, file,
				     userptr_test_new_event(test, f, file, handle, &probe));
	KUNIT_EXPECT_TRUE(test, probe->freed);
	KUNIT_EXPECT_TRUE(test, probe->sent);
	userptr_test_expect_events(test, file, 1, 0);
	KUNIT_EXPECT_NULL(test, userptr->event);
	userptr_test_expect_end(test, f, file, handle);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
	userptr_test_expect_events(test, file, 1, 0);
}

/* Somebody guessed the handle, and closed it before the event was there. */
static void userptr_test_event_of_guessed_handle(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct userptr_test_probe *probe;
	u32 handle;

	fake_expect_live(test, f, userptr);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(file, fake_gem(userptr), &handle), 0);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	virtio_gpu_userptr_set_event(userptr, file,
				     userptr_test_new_event(test, f, file, handle, &probe));
	KUNIT_EXPECT_TRUE(test, probe->freed);
	KUNIT_EXPECT_FALSE(test, probe->sent);
	userptr_test_expect_events(test, file, 0, 0);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/**
 * struct userptr_test_outlive_case - what happens after the file is gone
 * @name: of the case
 * @revoke: the memory is taken back; else the object goes
 */
struct userptr_test_outlive_case {
	const char *name;
	bool revoke;
};

static const struct userptr_test_outlive_case userptr_test_outlive_cases[] = {
	{ "closed", false },
	{ "revoked, then closed", true },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_outlive, userptr_test_outlive_cases, name);

/* A submission keeps the object when its file is closed: no event is left over. */
static void userptr_test_event_outlives_file(struct kunit *test)
{
	const struct userptr_test_outlive_case *c = test->param_value;
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct userptr_test_probe *probe;
	u32 handle;

	fake_expect_live(test, f, userptr);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(file, fake_gem(userptr), &handle), 0);
	virtio_gpu_userptr_set_event(userptr, file,
				     userptr_test_new_event(test, f, file, handle, &probe));
	userptr_test_release_events(f, file);
	KUNIT_EXPECT_FALSE(test, probe->freed);
	/* As drm_gem_release(): the handle is there while its object is closed. */
	fake_gem(userptr)->funcs->close(fake_gem(userptr), file);
	KUNIT_EXPECT_FALSE(test, probe->freed);

	if (c->revoke) {
		KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
		KUNIT_EXPECT_TRUE(test, probe->freed);
	}
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_put(userptr);
	KUNIT_EXPECT_TRUE(test, probe->freed);
	fake_expect_released(test, f, 1);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&file->event_list), 0);
}

/* The object goes without its handle having been closed by this file. */
static void userptr_test_event_freed(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct userptr_test_probe *probe;
	u32 handle;

	fake_expect_live(test, f, userptr);
	KUNIT_ASSERT_EQ(test, drm_gem_handle_create(file, fake_gem(userptr), &handle), 0);
	virtio_gpu_userptr_set_event(userptr, file,
				     userptr_test_new_event(test, f, file, handle, &probe));
	userptr_test_release_events(f, file);
	/* Nobody but the object has the event now. */
	userptr->event_file = NULL;
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	KUNIT_EXPECT_FALSE(test, probe->freed);
	fake_put(userptr);
	KUNIT_EXPECT_TRUE(test, probe->freed);
	KUNIT_EXPECT_FALSE(test, probe->sent);
	fake_expect_released(test, f, 1);
}

/* ---- states, and waiting for them ------------------------------------------ */

static void userptr_test_info(struct kunit *test)
{
	const u32 revoked = VIRTGPU_USERPTR_INFO_WAIT_REVOKED;
	const u32 released = VIRTGPU_USERPTR_INFO_WAIT_RELEASED;
	const u32 verify = VIRTGPU_USERPTR_INFO_VERIFY;
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	s64 soon = ktime_get_ns() + 20 * NSEC_PER_MSEC;
	u32 handle, state;

	handle = fake_create_handle(test, f, file, 0);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, 0, 0, &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_LIVE);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, revoked, 0, &state), -ETIME);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, revoked, soon, &state),
			-ETIME);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, revoked | released, 0,
						      &state), -EINVAL);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, revoked | verify, 0,
						      &state), -EINVAL);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, 8, 0, &state), -EINVAL);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, verify, 0, &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_LIVE);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle + 1, 0, 0, &state), -ENOENT);

	f->hold_destroy = true;
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, revoked, 0, &state), 0);
	KUNIT_EXPECT_EQ(test, state, VIRTGPU_USERPTR_STATE_REVOKED);
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, released, 0, &state),
			-ETIME);
	fake_wait_held(test, f, 1);
	soon = ktime_get_ns() + 20 * NSEC_PER_MSEC;
	KUNIT_EXPECT_EQ(test, userptr_test_info_ioctl(f, file, handle, released, soon, &state),
			-ETIME);
	fake_answer_held(f, false);
	userptr_test_expect_end(test, f, file, handle);
	/* Who says so has unpinned. */
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_expect_released(test, f, 1);
}

/**
 * struct userptr_test_sleeper - somebody who waits, and counts
 * @entry: on a queue
 * @woken: times that the queue was woken
 */
struct userptr_test_sleeper {
	wait_queue_entry_t entry;
	atomic_t woken;
};

static int userptr_test_wake(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	struct userptr_test_sleeper *s = container_of(entry, struct userptr_test_sleeper, entry);

	atomic_inc(&s->woken);
	return 0;
}

static void userptr_test_sleep_on(struct userptr_test_sleeper *s, wait_queue_head_t *queue)
{
	atomic_set(&s->woken, 0);
	init_waitqueue_func_entry(&s->entry, userptr_test_wake);
	add_wait_queue(queue, &s->entry);
}

/* Who waits for a resource is not woken because of another one. */
static void userptr_test_wake_own(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct userptr_test_mem *mem = f->mem;
	struct userptr_test_sleeper on_a, on_b, on_room;
	struct virtio_gpu_object_userptr *a, *b;

	/* a and b have a half each. */
	f->mem = userptr_test_mem_user(test, mem->addr, FAKE_PAGES / 2);
	a = fake_create(f);
	f->mem = userptr_test_mem_user(test, mem->addr + FAKE_PAGES / 2 * PAGE_SIZE,
				       FAKE_PAGES / 2);
	b = fake_create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(a));
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	userptr_test_sleep_on(&on_a, &a->wait);
	userptr_test_sleep_on(&on_b, &b->wait);
	userptr_test_sleep_on(&on_room, &f->vgdev.ctrlq.ack_queue);

	KUNIT_EXPECT_EQ(test, vm_munmap(mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_GE(test, atomic_read(&on_a.woken), 1);
	KUNIT_EXPECT_TRUE(test, fake_wait(READ_ONCE(a->unpinned)));
	fake_settle(f);
	/* For REVOKED and for RELEASED. */
	KUNIT_EXPECT_GE(test, atomic_read(&on_a.woken), 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&on_b.woken), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&on_room.woken), 0);
	remove_wait_queue(&a->wait, &on_a.entry);

	KUNIT_EXPECT_EQ(test, vm_munmap(mem->addr + (FAKE_PAGES - 1) * PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_TRUE(test, fake_wait(READ_ONCE(b->unpinned)));
	fake_settle(f);
	KUNIT_EXPECT_GE(test, atomic_read(&on_b.woken), 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&on_room.woken), 0);
	remove_wait_queue(&b->wait, &on_b.entry);
	remove_wait_queue(&f->vgdev.ctrlq.ack_queue, &on_room.entry);
	fake_put(a);
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/* A revoked resource is not opened again, and its close tells the device nothing. */
static void userptr_test_open_revoked(struct kunit *test)
{
	struct fake *f = fake_new_anon(test);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct drm_gem_object *obj;

	fake_expect_live(test, f, userptr);
	obj = fake_gem(userptr);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EFAULT);
	KUNIT_EXPECT_EQ(test, f->others, 1);
	obj->funcs->close(obj, file);
	KUNIT_EXPECT_EQ(test, f->others, 1);
	fake_expect_revoked(test, f, userptr);
}

static struct kunit_case userptr_test_event_cases[] = {
	KUNIT_CASE(userptr_test_event_sent),
	KUNIT_CASE(userptr_test_event_not_sent),
	KUNIT_CASE(userptr_test_event_room),
	KUNIT_CASE(userptr_test_event_of_failure),
	KUNIT_CASE(userptr_test_event_of_handle),
	KUNIT_CASE(userptr_test_event_kept),
	KUNIT_CASE(userptr_test_event_cancelled),
	KUNIT_CASE(userptr_test_event_late),
	KUNIT_CASE(userptr_test_event_of_guessed_handle),
	KUNIT_CASE_PARAM(userptr_test_event_outlives_file, userptr_test_outlive_gen_params),
	KUNIT_CASE(userptr_test_event_freed),
	KUNIT_CASE(userptr_test_info),
	KUNIT_CASE(userptr_test_wake_own),
	KUNIT_CASE(userptr_test_open_revoked),
	{}
};

static struct kunit_suite userptr_test_event_suite = {
	.name = "virtio_gpu_userptr_event",
	.exit = fake_exit,
	.test_cases = userptr_test_event_cases,
};

kunit_test_suite(userptr_test_event_suite);
