// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: a device for tests
 *
 * See virtgpu_userptr_test_fake.h.
 */

#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_kunit_helpers.h>

#include "virtgpu_userptr_test_fake.h"

static struct fake *to_fake(struct virtio_gpu_device *vgdev)
{
	return container_of(vgdev, struct fake, vgdev);
}

static u32 command_type(const struct virtio_gpu_vbuffer *vbuf)
{
	return le32_to_cpu(((struct virtio_gpu_ctrl_hdr *)vbuf->buf)->type);
}

static bool is_chunk(u32 type)
{
	return type == VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR ||
	       type == VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES;
}

static void must(struct fake *f, bool right, const char *what)
{
	if (!right && !f->violation)
		f->violation = what;
}

static struct fake_resource *find_resource(struct fake *f, u32 id)
{
	unsigned int i;

	for (i = 0; i < FAKE_RESOURCES; i++)
		if (f->resources[i].state != FAKE_UNKNOWN && f->resources[i].id == id)
			return &f->resources[i];
	return NULL;
}

static struct fake_resource *new_resource(struct fake *f, u32 id)
{
	unsigned int i;

	must(f, id && !find_resource(f, id), "CREATE of an id that is 0 or in use");
	for (i = 0; i < FAKE_RESOURCES; i++) {
		if (f->resources[i].state == FAKE_UNKNOWN) {
			f->resources[i] = (struct fake_resource){ .id = id, .state = FAKE_HALF,
								  .mem = f->mem };
			return &f->resources[i];
		}
	}
	must(f, false, "more resources than the test has");
	return NULL;
}

/* The entry has to describe the very pages that are mapped at this offset. */
static void check_entry(struct fake *f, const struct fake_resource *res,
			const struct virtio_gpu_mem_entry *ent, u64 offset)
{
	u32 length = le32_to_cpu(ent->length), at;
	u64 addr = le64_to_cpu(ent->addr);
	u32 page = offset >> PAGE_SHIFT;

	must(f, !ent->padding, "padding of an entry");
	must(f, length && IS_ALIGNED(addr | length, PAGE_SIZE), "alignment of an entry");
	for (at = 0; at < length; at += PAGE_SIZE, page++) {
		if (page >= res->mem->nr) {
			must(f, false, "entries beyond the end");
			return;
		}
		must(f, addr + at == page_to_phys(userptr_test_page(res->mem, page)),
		     "address of an entry");
	}
}

static u32 receive_entries(struct fake *f, struct fake_resource *res,
			   const struct virtio_gpu_vbuffer *vbuf, u32 nr)
{
	const struct virtio_gpu_mem_entry *ents = vbuf->data_buf;
	u32 i;

	must(f, nr && nr <= f->vgdev.userptr->limits.max_entries && nr <= 4096,
	     "number of entries");
	must(f, vbuf->data_size == nr * sizeof(*ents), "size of the entries");
	must(f, userptr_test_mem_pinned(res->mem), "told of pages that are not pinned");

	if (f->chunks++ == f->fail_chunk) {
		res->state = FAKE_FAILED;
		return f->fail_answer;
	}
	if (res->state != FAKE_HALF)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

	for (i = 0; i < nr; i++) {
		check_entry(f, res, &ents[i], res->described);
		res->described += le32_to_cpu(ents[i].length);
	}
	must(f, nr <= res->segments_left, "more entries than announced");
	res->segments_left -= nr;
	must(f, res->described <= res->size, "more bytes than announced");
	must(f, (res->described == res->size) == !res->segments_left, "bytes and entries");
	if (res->described == res->size)
		res->state = FAKE_USABLE;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static u32 receive_create(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_create_userptr *cmd = (void *)vbuf->buf;
	struct fake_resource *res = new_resource(f, le32_to_cpu(cmd->resource_id));

	must(f, vbuf->size == sizeof(*cmd), "size of CREATE");
	if (!res)
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	res->size = le64_to_cpu(cmd->size);
	res->segments_left = le32_to_cpu(cmd->nr_segments);
	must(f, res->size == res->mem->nr * PAGE_SIZE, "CREATE's size");
	must(f, !(le32_to_cpu(cmd->flags) & ~VIRTIO_GPU_USERPTR_RDONLY), "CREATE's flags");
	return receive_entries(f, res, vbuf, le32_to_cpu(cmd->nr_entries));
}

static u32 receive_add(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_add_userptr_pages *cmd = (void *)vbuf->buf;
	struct fake_resource *res = find_resource(f, le32_to_cpu(cmd->resource_id));

	must(f, vbuf->size == sizeof(*cmd), "size of ADD");
	must(f, res, "ADD to an unknown resource");
	if (!res)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	must(f, res->state == FAKE_FAILED || le64_to_cpu(cmd->offset) == res->described,
	     "ADD's offset");
	return receive_entries(f, res, vbuf, le32_to_cpu(cmd->nr_entries));
}

static u32 receive_destroy(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_destroy_userptr *cmd = (void *)vbuf->buf;
	struct fake_resource *res = find_resource(f, le32_to_cpu(cmd->resource_id));

	f->destroys++;
	must(f, vbuf->size == sizeof(*cmd), "size of DESTROY");
	must(f, !cmd->padding, "padding of DESTROY");
	must(f, res, "DESTROY of an unknown resource");
	must(f, !res || userptr_test_mem_pinned(res->mem), "DESTROY of pages that are not pinned");
	if (f->destroy_answer)
		return f->destroy_answer;
	if (!res)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	res->state = FAKE_UNKNOWN;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* What the device makes of a command.  The answer is the driver's to see later. */
static void receive(struct fake *f, struct virtio_gpu_vbuffer *vbuf)
{
	struct virtio_gpu_ctrl_hdr *resp = (void *)vbuf->resp_buf;
	u32 answer;

	switch (command_type(vbuf)) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR:
		answer = receive_create(f, vbuf);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES:
		answer = receive_add(f, vbuf);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR:
		answer = receive_destroy(f, vbuf);
		break;
	case VIRTIO_GPU_CMD_GET_USERPTR_INFO:
		f->others++;
		answer = f->other_answer;
		if (f->info.hdr.type) {
			memcpy(resp, &f->info, sizeof(f->info));
			answer = le32_to_cpu(f->info.hdr.type);
		}
		break;
	default:
		f->others++;
		answer = f->other_answer;
	}
	resp->type = cpu_to_le32(answer);

	if (is_chunk(command_type(vbuf)))
		f->in_flight++;
	f->max_in_flight = max(f->max_in_flight, f->in_flight);
}

/* Is the memory that @vbuf, a DESTROY, was about? */
static bool still_pinned(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_destroy_userptr *cmd = (void *)vbuf->buf;
	unsigned int i;

	/* Ids are not used again in a test, so what is left of it will do. */
	for (i = 0; i < FAKE_RESOURCES; i++)
		if (f->resources[i].id == le32_to_cpu(cmd->resource_id))
			return userptr_test_mem_pinned(f->resources[i].mem);
	return true;
}

/* As the driver's own handler of answers: callback, then free. */
static void answer(struct fake *f, struct virtio_gpu_vbuffer *vbuf)
{
	u32 type = command_type(vbuf);

	scoped_guard(spinlock_irqsave, &f->lock) {
		if (is_chunk(type))
			f->in_flight--;
		if (type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR)
			must(f, still_pinned(f, vbuf), "unpinned before DESTROY was answered");
	}
	if (vbuf->resp_cb)
		vbuf->resp_cb(&f->vgdev, vbuf);
	virtio_gpu_free_ctrl_vbuf(&f->vgdev, vbuf);
}

static void late_work(struct work_struct *work)
{
	struct fake *f = container_of(work, struct fake, late_work);
	struct virtio_gpu_vbuffer *vbuf;

	for (;;) {
		scoped_guard(spinlock_irqsave, &f->lock) {
			vbuf = list_first_entry_or_null(&f->late, struct virtio_gpu_vbuffer, list);
			if (vbuf)
				list_del(&vbuf->list);
		}
		if (!vbuf)
			return;
		answer(f, vbuf);
	}
}

/**
 * fake_answer_held() - answer a command that is held
 * @f: device
 * @latest: the one that came last, not the one that is held longest
 *
 * Return: false if there was none.
 */
bool fake_answer_held(struct fake *f, bool latest)
{
	struct virtio_gpu_vbuffer *vbuf;

	scoped_guard(spinlock_irqsave, &f->lock) {
		if (list_empty(&f->held))
			return false;
		if (latest)
			vbuf = list_last_entry(&f->held, struct virtio_gpu_vbuffer, list);
		else
			vbuf = list_first_entry(&f->held, struct virtio_gpu_vbuffer, list);
		list_del(&vbuf->list);
		f->nr_held--;
	}
	answer(f, vbuf);
	return true;
}

static bool holds(struct fake *f, u32 type)
{
	if (is_chunk(type))
		return f->hold_chunks;
	if (type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR)
		return f->hold_destroy;
	return f->hold_others;
}

static int fake_try_send(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct fake *f = to_fake(vgdev);
	bool now = false;

	if (drm_dev_is_unplugged(f->drm))
		return -ENODEV;

	scoped_guard(spinlock_irqsave, &f->lock) {
		if (f->always_full || f->chunks >= f->full_at)
			return -ENOSPC;
		if (f->full) {
			f->full--;
			return -ENOSPC;
		}
		receive(f, vbuf);
		if (holds(f, command_type(vbuf))) {
			list_add_tail(&vbuf->list, &f->held);
			f->nr_held++;
		} else if (f->answer_late) {
			list_add_tail(&vbuf->list, &f->late);
			queue_work(f->wq, &f->late_work);
		} else {
			now = true;
		}
	}
	if (now)
		answer(f, vbuf);
	wake_up_all(&f->arrived);
	return 0;
}

static void fake_kick(struct virtio_gpu_device *vgdev)
{
	struct fake *f = to_fake(vgdev);

	/* A reset is followed by the end of the queues. */
	scoped_guard(spinlock_irqsave, &f->lock)
		must(f, !f->finished, "kick after the reset");
}

static void fake_wait_room(struct virtio_gpu_device *vgdev, long timeout)
{
	struct fake *f = to_fake(vgdev);

	scoped_guard(spinlock_irqsave, &f->lock) {
		must(f, !f->finished, "wait for room after the reset");
		f->waits++;
	}
	wake_up_all(&f->arrived);
	/* Nothing to wait for: whether there is room is the test's decision. */
	cond_resched();
}

static bool fake_broken(struct virtio_gpu_device *vgdev)
{
	return false;
}

/* Waiters have to be woken; that nothing is answered any more, the tests see to. */
static void fake_silence(struct virtio_gpu_device *vgdev)
{
	struct fake *f = to_fake(vgdev);

	must(f, f->stopped, "silenced while it was in use");
}

static const struct virtio_gpu_userptr_transport fake_transport = {
	.try_send = fake_try_send,
	.kick = fake_kick,
	.wait_room = fake_wait_room,
	.broken = fake_broken,
	.stop = fake_silence,
};

/**
 * fake_wait_held() - wait until the device holds commands
 * @test: test
 * @f: device
 * @nr: how many
 */
void fake_wait_held(struct kunit *test, struct fake *f, unsigned int nr)
{
	KUNIT_ASSERT_NE_MSG(test, wait_event_timeout(f->arrived, READ_ONCE(f->nr_held) >= nr,
						     PATIENCE), 0,
			    "device has %u commands, not %u", READ_ONCE(f->nr_held), nr);
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
 * fake_reset() - reset: commands that were not answered never will be
 * @f: device
 */
void fake_reset(struct fake *f)
{
	struct virtio_gpu_vbuffer *vbuf, *next;
	LIST_HEAD(unanswered);

	if (f->finished)
		return;
	f->finished = true;
	fake_stop(f);
	flush_work(&f->late_work);
	scoped_guard(spinlock_irqsave, &f->lock) {
		list_splice_init(&f->held, &unanswered);
		f->nr_held = 0;
	}
	list_for_each_entry_safe(vbuf, next, &unanswered, list) {
		memset(vbuf->resp_buf, 0, vbuf->resp_size);
		if (vbuf->resp_cb)
			vbuf->resp_cb(&f->vgdev, vbuf);
		virtio_gpu_free_ctrl_vbuf(&f->vgdev, vbuf);
	}
	virtio_gpu_userptr_device_fini(&f->vgdev);
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

static int creator_fn(void *data)
{
	struct creator *c = data;
	unsigned long start = jiffies;

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

static void stop_creator(void *data)
{
	struct creator *c = data;

	/* A test that failed may have left it waiting. */
	if (!completion_done(&c->done))
		fake_stop(c->f);
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
struct creator *fake_start_creator(struct kunit *test, struct fake *f, int signal)
{
	struct creator *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->f = f;
	c->mm = current->mm;
	c->signal = signal;
	init_completion(&c->done);
	c->task = kthread_create(creator_fn, c, "userptr-creator");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->task);
	get_task_struct(c->task);
	mmget(c->mm);
	wake_up_process(c->task);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_creator, c), 0);
	return c;
}

/**
 * fake_outcome() - wait until a creation has ended
 * @test: test
 * @c: the task
 *
 * Return: as virtio_gpu_userptr_create().
 */
struct virtio_gpu_object_userptr *fake_outcome(struct kunit *test, struct creator *c)
{
	KUNIT_ASSERT_NE_MSG(test, wait_for_completion_timeout(&c->done, PATIENCE), 0,
			    "creation does not end");
	return c->userptr;
}

/**
 * fake_put() - close the handle
 * @userptr: LIVE or revoked
 */
void fake_put(struct virtio_gpu_object_userptr *userptr)
{
	drm_gem_object_put(&userptr->base.base.base);
}

/**
 * fake_expect_released() - wait for releases, and expect that nothing is left
 * @test: test
 * @f: device, whose memory is still mapped
 * @nr: resources that were released, ever
 */
void fake_expect_released(struct kunit *test, struct fake *f, unsigned int nr)
{
	struct virtio_gpu_userptr_device *u = f->vgdev.userptr;

	KUNIT_ASSERT_NE_MSG(test, wait_event_timeout(u->wait, READ_ONCE(u->released) >= nr,
						     PATIENCE), 0,
			    "%u of %u resources released", READ_ONCE(u->released), nr);
	flush_workqueue(f->wq);
	flush_workqueue(u->wq);
	KUNIT_EXPECT_EQ(test, u->released, nr);
	KUNIT_EXPECT_EQ(test, u->releasing, 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&u->objects));
	KUNIT_EXPECT_EQ(test, f->destroys, nr);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/**
 * fake_expect_live() - is it pinned, charged, and usable for the device?
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
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED |
							    USERPTR_TEST_PINNED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), f->mem->nr);
	res = find_resource(f, userptr->base.hw_res_handle);
	KUNIT_ASSERT_NOT_NULL(test, res);
	KUNIT_EXPECT_EQ(test, res->state, FAKE_USABLE);
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

static void fake_free(void *data)
{
	struct fake *f = data;

	fake_reset(f);
	destroy_workqueue(f->wq);
	virtio_gpu_free_vbufs(&f->vgdev);
	ida_destroy(&f->vgdev.resource_ida);
}

static struct fake *fake_alloc(struct kunit *test)
{
	struct device *dev = drm_kunit_helper_alloc_device(test);
	struct fake *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_NOT_NULL(test, f);
	f->drm = __drm_kunit_helper_alloc_drm_device(test, dev, sizeof(*f->drm), 0, DRIVER_GEM);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, f->drm);
	f->drm->dev_private = &f->vgdev;
	f->vgdev.ddev = f->drm;
	ida_init(&f->vgdev.resource_ida);
	init_waitqueue_head(&f->vgdev.ctrlq.ack_queue);
	spin_lock_init(&f->lock);
	init_waitqueue_head(&f->arrived);
	INIT_LIST_HEAD(&f->held);
	INIT_LIST_HEAD(&f->late);
	INIT_WORK(&f->late_work, late_work);
	f->fail_chunk = FAKE_NEVER;
	f->full_at = FAKE_NEVER;
	f->other_answer = VIRTIO_GPU_RESP_OK_NODATA;
	f->wq = alloc_ordered_workqueue("userptr-fake", 0);
	KUNIT_ASSERT_NOT_NULL(test, f->wq);
	KUNIT_ASSERT_EQ(test, virtio_gpu_alloc_vbufs(&f->vgdev), 0);
	KUNIT_ASSERT_EQ(test, virtio_gpu_userptr_device_init(&f->vgdev, &fake_transport), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, fake_free, f), 0);
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
	struct fake *f = fake_alloc(test);

	f->vgdev.userptr->limits = (struct virtio_gpu_userptr_limits){
		.max_size = SZ_1G,
		.max_entries = max_entries,
		.max_segments = 100000,
		.rdonly_capsets = BIT_ULL(VIRTIO_GPU_CAPSET_LOOPBACK),
	};
	f->mem = userptr_test_mem(test, USERPTR_TEST_SCATTERED, nr, PROT_READ | PROT_WRITE, false);
	f->drm_refs = kref_read(&f->drm->ref);
	test->priv = f;
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
 * fake_file() - a file with a context, as far as this series looks at it
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
	return file;
}
