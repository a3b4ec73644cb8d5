// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of removing and suspending the device
 *
 * Whatever happens, the pages stay pinned until the device has neither queues
 * nor access, and are unpinned then.
 */

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/mm.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>

#include "virtgpu_userptr_test_fake.h"

static void userptr_test_gone_while_creating(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	fake_wait_held(test, f, 5);
	fake_stop(f);
	fake_expect_pinned(test, f);
	/* The commands come back: that ends the creation. */
	fake_reset(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENODEV);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_expect_pinned(test, f);

	fake_remove(f);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/**
 * struct userptr_test_stuck - a task that does not come back from somewhere
 * @at: for which chunk
 * @reached: it is there
 * @go_on: now it may
 */
struct userptr_test_stuck {
	unsigned int at;
	struct completion reached;
	struct completion go_on;
};

static void userptr_test_get_stuck(struct fake *f, void *data)
{
	struct userptr_test_stuck *stuck = data;

	if (READ_ONCE(f->chunks) != stuck->at)
		return;
	complete(&stuck->reached);
	wait_for_completion(&stuck->go_on);
}

static void userptr_test_go_on(void *data)
{
	struct userptr_test_stuck *stuck = data;

	complete_all(&stuck->go_on);
}

static struct userptr_test_stuck *userptr_test_stuck_at(struct kunit *test, struct fake *f,
							unsigned int chunk)
{
	struct userptr_test_stuck *stuck = kunit_kzalloc(test, sizeof(*stuck), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, stuck);
	stuck->at = chunk;
	init_completion(&stuck->reached);
	init_completion(&stuck->go_on);
	f->on_chunk = userptr_test_get_stuck;
	f->on_chunk_data = stuck;
	return stuck;
}

/**
 * struct userptr_test_stuck_case - where the creator is when the device goes
 * @name: of the case
 * @chunk: about to send this chunk
 * @before_reset: it goes on between stop and reset; else after all of it
 */
struct userptr_test_stuck_case {
	const char *name;
	unsigned int chunk;
	bool before_reset;
};

static const struct userptr_test_stuck_case userptr_test_stuck_cases[] = {
	{ "first chunk, goes on after it", 0, false },
	{ "third chunk, goes on after it", 2, false },
	{ "first chunk, goes on before the reset", 0, true },
	{ "third chunk, goes on before the reset", 2, true },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_stuck, userptr_test_stuck_cases, name);

/*
 * The creator is in the middle of it while the device is removed, as in a page
 * fault that user space does not answer.  Removal does not wait for it; when it
 * comes back it fails, and what it has pinned goes when the device has no access.
 */
static void userptr_test_gone_under_creator(struct kunit *test)
{
	const struct userptr_test_stuck_case *s = test->param_value;
	struct fake *f = fake_new(test, 5, 1);
	struct userptr_test_stuck *stuck = userptr_test_stuck_at(test, f, s->chunk);
	struct fake_creator *c;

	f->hold_chunks = true;
	c = fake_start_creator(test, f, 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, userptr_test_go_on, stuck), 0);
	KUNIT_ASSERT_NE(test, wait_for_completion_timeout(&stuck->reached, FAKE_PATIENCE), 0);
	KUNIT_EXPECT_EQ(test, f->nr_held, s->chunk);
	fake_stop(f);
	if (s->before_reset) {
		complete_all(&stuck->go_on);
		KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENODEV);
	}
	fake_expect_pinned(test, f);
	fake_reset(f);
	fake_expect_pinned(test, f);
	fake_remove(f);
	if (!s->before_reset) {
		/* They are the creator's, and it may be looking at them. */
		fake_expect_pinned(test, f);
		KUNIT_EXPECT_FALSE(test, completion_done(&c->done));
		complete_all(&stuck->go_on);
		KUNIT_EXPECT_EQ(test, PTR_ERR(fake_outcome(test, c)), -ENODEV);
	}
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&f->vgdev.userptr->objects));
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void userptr_test_gone_while_live(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);
	struct drm_gem_object *obj;

	fake_expect_live(test, f, userptr);
	obj = fake_gem(userptr);
	fake_stop(f);
	fake_expect_pinned(test, f);
	fake_reset(f);
	fake_expect_pinned(test, f);
	fake_remove(f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_uapi_state(userptr),
			VIRTGPU_USERPTR_STATE_RELEASED);
	fake_expect_unpinned(test, f);

	/* The handle outlives the device, which must not be touched any more. */
	obj->funcs->close(obj, file);
	fake_put(userptr);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void userptr_test_gone_before(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);

	fake_stop(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENODEV);
	KUNIT_EXPECT_EQ(test, f->chunks + f->destroys, 0);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* DESTROY is with the device, and is never answered. */
static void userptr_test_gone_while_destroying(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->hold_destroy = true;
	fake_put(userptr);
	fake_wait_held(test, f, 1);
	fake_stop(f);
	fake_settle(f);
	fake_expect_pinned(test, f);
	fake_reset(f);
	/* What ended DESTROY was no promise. */
	fake_expect_pinned(test, f);
	fake_remove(f);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* The worker sleeps until there is room for DESTROY when the device goes. */
static void userptr_test_gone_while_full(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	f->room = 0;
	fake_put(userptr);
	fake_wait_refused(test, f, 1);
	fake_stop(f);
	fake_expect_pinned(test, f);
	fake_remove(f);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static unsigned int userptr_test_nr_events(struct drm_file *file)
{
	return list_count_nodes(&file->event_list);
}

/* All are revoked, who wants to know is told, and the reset is what unpins. */
static void userptr_test_suspend(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	struct virtio_gpu_object_userptr *userptr;
	u32 handle;

	handle = fake_create_handle(test, f, file, VIRTGPU_USERPTR_EVENT);
	userptr = fake_only_object(test, f);
	fake_expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, userptr_test_nr_events(file), 0);

	virtio_gpu_userptr_suspend(&f->vgdev);
	KUNIT_EXPECT_EQ(test, userptr_test_nr_events(file), 1);
	KUNIT_EXPECT_TRUE(test, userptr->revoked);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_uapi_state(userptr),
			VIRTGPU_USERPTR_STATE_REVOKED);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	fake_expect_pinned(test, f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENODEV);
	fake_reset(f);
	fake_settle(f);
	fake_expect_pinned(test, f);

	virtio_gpu_userptr_lost(&f->vgdev);
	fake_expect_unpinned(test, f);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_uapi_state(userptr),
			VIRTGPU_USERPTR_STATE_RELEASED);
	KUNIT_EXPECT_EQ(test, PTR_ERR(fake_create(f)), -ENODEV);

	f->deleted = false;
	virtio_gpu_userptr_resume(&f->vgdev);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	fake_put(userptr);
	fake_expect_released(test, f, 1);
	KUNIT_EXPECT_EQ(test, userptr_test_nr_events(file), 1);
}

/* The device was not reset after all: it has to be asked. */
static void userptr_test_suspend_aborted(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 1);
	struct virtio_gpu_object_userptr *a = fake_create(f), *b = fake_create(f);

	KUNIT_ASSERT_FALSE(test, IS_ERR(a));
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	virtio_gpu_userptr_suspend(&f->vgdev);
	fake_settle(f);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_pinned(f->mem));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 2);

	virtio_gpu_userptr_resume(&f->vgdev);
	KUNIT_EXPECT_TRUE(test, fake_wait(READ_ONCE(a->unpinned) && READ_ONCE(b->unpinned)));
	KUNIT_EXPECT_TRUE(test, a->revoked && b->revoked);
	fake_put(a);
	fake_put(b);
	fake_expect_released(test, f, 2);
}

/**
 * struct userptr_test_suspend_case - where DESTROY is at suspend
 * @name: of the case
 * @full: not sent for want of room; else sent, and not answered
 */
struct userptr_test_suspend_case {
	const char *name;
	bool full;
};

static const struct userptr_test_suspend_case userptr_test_suspend_cases[] = {
	{ "no room", true },
	{ "no answer", false },
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_suspend, userptr_test_suspend_cases, name);

static void userptr_test_suspend_while_destroying(struct kunit *test)
{
	const struct userptr_test_suspend_case *c = test->param_value;
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	if (c->full)
		f->room = 0;
	f->hold_destroy = true;
	fake_put(userptr);
	if (c->full)
		fake_wait_refused(test, f, 1);
	else
		fake_wait_held(test, f, 1);
	/* Returns, although the worker sleeps until there is room. */
	virtio_gpu_userptr_suspend(&f->vgdev);
	fake_settle(f);
	fake_reset(f);
	fake_expect_pinned(test, f);
	virtio_gpu_userptr_lost(&f->vgdev);
	fake_expect_unpinned(test, f);
	f->deleted = false;
	fake_set_room(f, FAKE_NEVER);
	virtio_gpu_userptr_resume(&f->vgdev);
	fake_expect_released(test, f, !c->full);
}

/* What is closed while the device is suspended is not the device's business. */
static void userptr_test_close_while_suspended(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct drm_file *file = fake_file(test, FAKE_CAPSET);
	u32 handle = fake_create_handle(test, f, file, VIRTGPU_USERPTR_KEEP);
	unsigned int others = f->others;

	virtio_gpu_userptr_suspend(&f->vgdev);
	fake_reset(f);
	KUNIT_EXPECT_EQ(test, drm_gem_handle_delete(file, handle), 0);
	fake_settle(f);
	fake_expect_pinned(test, f);
	virtio_gpu_userptr_lost(&f->vgdev);
	fake_expect_released(test, f, 0);
	KUNIT_EXPECT_EQ(test, f->others, others);
}

/* Suspended, and then removed. */
static void userptr_test_gone_while_suspended(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = fake_create(f);

	fake_expect_live(test, f, userptr);
	virtio_gpu_userptr_suspend(&f->vgdev);
	fake_stop(f);
	fake_reset(f);
	fake_expect_pinned(test, f);
	fake_remove(f);
	fake_expect_unpinned(test, f);
	fake_put(userptr);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static struct kunit_case userptr_test_gone_cases[] = {
	KUNIT_CASE(userptr_test_gone_while_creating),
	KUNIT_CASE_PARAM(userptr_test_gone_under_creator, userptr_test_stuck_gen_params),
	KUNIT_CASE(userptr_test_gone_while_live),
	KUNIT_CASE(userptr_test_gone_before),
	KUNIT_CASE(userptr_test_gone_while_destroying),
	KUNIT_CASE(userptr_test_gone_while_full),
	KUNIT_CASE(userptr_test_suspend),
	KUNIT_CASE(userptr_test_suspend_aborted),
	KUNIT_CASE_PARAM(userptr_test_suspend_while_destroying, userptr_test_suspend_gen_params),
	KUNIT_CASE(userptr_test_close_while_suspended),
	KUNIT_CASE(userptr_test_gone_while_suspended),
	{}
};

static struct kunit_suite userptr_test_gone_suite = {
	.name = "virtio_gpu_userptr_gone",
	.exit = fake_exit,
	.test_cases = userptr_test_gone_cases,
};

kunit_test_suite(userptr_test_gone_suite);
