// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: a device for tests
 *
 * See virtgpu_userptr_test_fake.h.
 */

#include <kunit/static_stub.h>

#include <linux/cleanup.h>

#include <drm/drm_drv.h>

#include "virtgpu_userptr_test_fake.h"

static bool fake_is_chunk(u32 type)
{
	return type == VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR ||
	       type == VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES;
}

static void fake_must(struct fake *f, bool right, const char *what)
{
	if (!right && !f->violation)
		f->violation = what;
}

/**
 * fake_expect_violation() - that something was wrong is what the test is about
 * @test: test
 * @f: device
 * @violation: what
 */
void fake_expect_violation(struct kunit *test, struct fake *f, const char *violation)
{
	KUNIT_EXPECT_STREQ(test, f->violation, violation);
	f->violation = NULL;
}

/**
 * fake_find_resource() - what the device knows
 * @f: device
 * @id: resource id
 *
 * Return: the resource, or NULL if it is unknown.
 */
struct fake_resource *fake_find_resource(struct fake *f, u32 id)
{
	unsigned int i;

	for (i = 0; i < FAKE_RESOURCES; i++)
		if (f->resources[i].state != FAKE_UNKNOWN && f->resources[i].id == id)
			return &f->resources[i];
	return NULL;
}

static struct fake_resource *fake_new_resource(struct fake *f, u32 id)
{
	unsigned int i;

	fake_must(f, id && !fake_find_resource(f, id), "CREATE of an id that is 0 or in use");
	for (i = 0; i < FAKE_RESOURCES; i++) {
		if (f->resources[i].state == FAKE_UNKNOWN) {
			f->resources[i] = (struct fake_resource){
				.id = id,
				.state = FAKE_HALF_BUILT,
				.mem = f->mem,
			};
			return &f->resources[i];
		}
	}
	fake_must(f, false, "more resources than the test has");
	return NULL;
}

/* The entry has to describe the very pages that are mapped at this offset. */
static void fake_check_entry(struct fake *f, const struct fake_resource *res,
			     const struct virtio_gpu_mem_entry *ent, u64 offset)
{
	u32 alignment = f->vgdev.userptr->limits.alignment;
	u32 length = le32_to_cpu(ent->length), at;
	u64 addr = le64_to_cpu(ent->addr);
	u32 page = offset >> PAGE_SHIFT;

	fake_must(f, !ent->padding, "padding of an entry");
	fake_must(f, length && IS_ALIGNED(addr | length, alignment), "alignment of an entry");
	for (at = 0; at < length; at += PAGE_SIZE, page++) {
		if (page >= res->mem->nr) {
			fake_must(f, false, "entries beyond the end");
			return;
		}
		fake_must(f, addr + at == page_to_phys(userptr_test_page(res->mem, page)),
			  "address of an entry");
	}
}

static bool fake_described_is_pinned(const struct fake_resource *res)
{
	return userptr_test_mem_pinned_to(res->mem, min_t(u64, res->described >> PAGE_SHIFT,
							  res->mem->nr));
}

static u32 fake_receive_entries(struct fake *f, struct fake_resource *res,
				const struct virtio_gpu_vbuffer *vbuf, u32 nr)
{
	const struct virtio_gpu_mem_entry *ents = vbuf->data_buf;
	u32 max = min(f->vgdev.userptr->limits.max_entries, VIRTIO_GPU_USERPTR_CHUNK), i;

	fake_must(f, nr && nr <= max, "number of entries");
	fake_must(f, vbuf->data_size == nr * sizeof(*ents), "size of the entries");
	for (i = 0; i < nr; i++) {
		fake_check_entry(f, res, &ents[i], res->described);
		res->described += le32_to_cpu(ents[i].length);
	}
	res->segments += nr;
	fake_must(f, fake_described_is_pinned(res), "told of pages that are not pinned");

	if (f->chunks++ == f->fail_chunk) {
		res->state = FAKE_FAILED;
		return f->fail_answer;
	}
	if (res->state != FAKE_HALF_BUILT)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

	fake_must(f, !res->bound || res->segments <= res->bound, "more entries than announced");
	fake_must(f, res->segments <= f->vgdev.userptr->limits.max_segments,
		  "more entries than a resource may have");
	fake_must(f, res->described <= res->size, "more bytes than announced");
	/* What does not complete the resource fills the command. */
	fake_must(f, res->described == res->size || nr == max, "a small chunk in the middle");
	if (res->described == res->size)
		res->state = FAKE_COMPLETE;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

static u32 fake_receive_create(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_create_userptr *cmd = (void *)vbuf->buf;
	struct fake_resource *res = fake_new_resource(f, le32_to_cpu(cmd->resource_id));

	fake_must(f, vbuf->size == sizeof(*cmd), "size of CREATE");
	if (!res)
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	res->size = le64_to_cpu(cmd->size);
	res->bound = le32_to_cpu(cmd->nr_segments);
	f->all_pinned_at_create = userptr_test_mem_pinned(res->mem);
	fake_must(f, res->size == res->mem->nr * PAGE_SIZE, "CREATE's size");
	fake_must(f, !(le32_to_cpu(cmd->flags) & ~VIRTIO_GPU_USERPTR_RDONLY), "CREATE's flags");
	return fake_receive_entries(f, res, vbuf, le32_to_cpu(cmd->nr_entries));
}

static u32 fake_receive_add(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_add_userptr_pages *cmd = (void *)vbuf->buf;
	struct fake_resource *res = fake_find_resource(f, le32_to_cpu(cmd->resource_id));

	fake_must(f, vbuf->size == sizeof(*cmd), "size of ADD");
	fake_must(f, res, "ADD to an unknown resource");
	if (!res)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	fake_must(f, le64_to_cpu(cmd->offset) == res->described, "ADD's offset");
	return fake_receive_entries(f, res, vbuf, le32_to_cpu(cmd->nr_entries));
}

static u32 fake_receive_destroy(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_destroy_userptr *cmd = (void *)vbuf->buf;
	struct fake_resource *res = fake_find_resource(f, le32_to_cpu(cmd->resource_id));

	f->destroys++;
	fake_must(f, vbuf->size == sizeof(*cmd), "size of DESTROY");
	fake_must(f, !cmd->padding, "padding of DESTROY");
	fake_must(f, res, "DESTROY of an unknown resource");
	if (res) {
		fake_must(f, fake_described_is_pinned(res), "DESTROY of pages that are not pinned");
		f->all_pinned_at_destroy = userptr_test_mem_pinned(res->mem);
	}
	if (f->destroy_answer != FAKE_RIGHT)
		return f->destroy_answer;
	if (!res)
		return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	res->state = FAKE_UNKNOWN;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* What the device makes of a command.  The answer is the driver's to see later. */
static void fake_receive(struct fake *f, struct virtio_gpu_vbuffer *vbuf)
{
	struct virtio_gpu_ctrl_hdr *resp = (void *)vbuf->resp_buf;
	u32 type = virtio_gpu_userptr_cmd_type(vbuf), answer;

	switch (type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR:
		answer = fake_receive_create(f, vbuf);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES:
		answer = fake_receive_add(f, vbuf);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR:
		answer = fake_receive_destroy(f, vbuf);
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

	if (fake_is_chunk(type))
		f->in_flight++;
	f->max_in_flight = max(f->max_in_flight, f->in_flight);
}

/* Is the memory that @vbuf, a DESTROY, was about? */
static bool fake_still_pinned(struct fake *f, const struct virtio_gpu_vbuffer *vbuf)
{
	const struct virtio_gpu_resource_destroy_userptr *cmd = (void *)vbuf->buf;
	unsigned int i;

	/* Ids are not used again in a test, so what is left of it will do. */
	for (i = 0; i < FAKE_RESOURCES; i++)
		if (f->resources[i].id == le32_to_cpu(cmd->resource_id))
			return fake_described_is_pinned(&f->resources[i]);
	return true;
}

/* As the driver's own handler of answers: callback, then free. */
static void fake_answer(struct fake *f, struct virtio_gpu_vbuffer *vbuf)
{
	u32 type = virtio_gpu_userptr_cmd_type(vbuf);

	scoped_guard(spinlock_irqsave, &f->lock) {
		if (fake_is_chunk(type))
			f->in_flight--;
		if (type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR)
			fake_must(f, fake_still_pinned(f, vbuf),
				  "unpinned before DESTROY was answered");
	}
	if (vbuf->resp_cb)
		vbuf->resp_cb(&f->vgdev, vbuf);
	virtio_gpu_free_ctrl_vbuf(&f->vgdev, vbuf);
}

static void fake_late_work(struct work_struct *work)
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
		fake_answer(f, vbuf);
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
	fake_answer(f, vbuf);
	return true;
}

/**
 * fake_answer_all() - answer all commands that are held, in order
 * @f: device
 */
void fake_answer_all(struct fake *f)
{
	while (fake_answer_held(f, false))
		;
}

static bool fake_holds(struct fake *f, u32 type)
{
	if (fake_is_chunk(type))
		return f->hold_chunks;
	if (type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR)
		return f->hold_destroy;
	return f->hold_others;
}

/* 0, or why the command is not taken. */
static int fake_take(struct fake *f)
{
	lockdep_assert_held(&f->lock);

	f->tried++;
	fake_must(f, !f->deleted, "a command after the reset");
	if (f->deleted || f->broken)
		return -ENODEV;
	if (!f->room || f->refuse) {
		f->refuse -= !!f->refuse;
		f->refused++;
		return -ENOSPC;
	}
	if (f->room != FAKE_NEVER)
		f->room--;
	return 0;
}

static int fake_try_queue(struct virtio_gpu_device *vgdev, struct virtio_gpu_vbuffer *vbuf)
{
	struct fake *f = to_fake(vgdev);
	u32 type = virtio_gpu_userptr_cmd_type(vbuf);
	bool now = false;
	int ret;

	if (f->on_chunk && fake_is_chunk(type))
		f->on_chunk(f, f->on_chunk_data);
	/* As drm_dev_enter(). */
	if (drm_dev_is_unplugged(f->drm))
		return -ENODEV;

	scoped_guard(spinlock_irqsave, &f->lock) {
		ret = fake_take(f);
		if (ret)
			break;
		fake_receive(f, vbuf);
		if (fake_holds(f, type)) {
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
		fake_answer(f, vbuf);
	wake_up_all(&f->arrived);
	return ret;
}

static int fake_room(struct virtio_gpu_device *vgdev)
{
	struct fake *f = to_fake(vgdev);

	if (drm_dev_is_unplugged(f->drm))
		return -ENODEV;

	guard(spinlock_irqsave)(&f->lock);
	f->asked++;
	if (f->deleted || f->broken)
		return -ENODEV;
	return f->room > 0;
}

/**
 * fake_set_room() - let there be room, and tell who waits for it
 * @f: device
 * @room: number of commands, or FAKE_NEVER
 */
void fake_set_room(struct fake *f, u32 room)
{
	scoped_guard(spinlock_irqsave, &f->lock)
		f->room = room;
	wake_up_all(&f->vgdev.ctrlq.ack_queue);
}

/**
 * fake_set_broken() - from now on nothing is taken or answered; nobody is woken
 * @f: device
 */
void fake_set_broken(struct fake *f)
{
	guard(spinlock_irqsave)(&f->lock);
	f->broken = true;
}

/**
 * fake_wait_held() - wait until the device holds commands
 * @test: test
 * @f: device
 * @nr: how many
 */
void fake_wait_held(struct kunit *test, struct fake *f, unsigned int nr)
{
	KUNIT_ASSERT_NE_MSG(test, wait_event_timeout(f->arrived, READ_ONCE(f->nr_held) >= nr,
						     FAKE_PATIENCE), 0,
			    "device has %u commands, not %u", READ_ONCE(f->nr_held), nr);
}

/**
 * fake_wait_refused() - wait until there was no room
 * @test: test
 * @f: device
 * @nr: how many times
 */
void fake_wait_refused(struct kunit *test, struct fake *f, unsigned int nr)
{
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->refused) >= nr,
						 FAKE_PATIENCE), 0);
}

/**
 * fake_reset() - reset, and delete the queues
 * @f: device that the driver does not use any more
 *
 * Commands that were not answered are given back, and all is forgotten.
 */
void fake_reset(struct fake *f)
{
	struct virtio_gpu_vbuffer *vbuf, *next;
	LIST_HEAD(unanswered);
	unsigned int i;

	flush_work(&f->late_work);
	scoped_guard(spinlock_irqsave, &f->lock) {
		f->deleted = true;
		list_splice_init(&f->held, &unanswered);
		f->nr_held = 0;
		f->in_flight = 0;
		for (i = 0; i < FAKE_RESOURCES; i++)
			f->resources[i].state = FAKE_UNKNOWN;
	}
	/* As virtio_gpu_reclaim_vbufs(). */
	list_for_each_entry_safe(vbuf, next, &unanswered, list) {
		list_del(&vbuf->list);
		memset(vbuf->resp_buf, 0, vbuf->resp_size);
		if (vbuf->reset_cb)
			vbuf->reset_cb(&f->vgdev, vbuf);
		virtio_gpu_free_ctrl_vbuf(&f->vgdev, vbuf);
	}
}

/**
 * fake_device_init() - a device that takes commands, in tasks of the test
 * @f: zeroed, but for @test, @resources and @wq
 */
void fake_device_init(struct fake *f)
{
	spin_lock_init(&f->lock);
	init_waitqueue_head(&f->arrived);
	INIT_LIST_HEAD(&f->held);
	INIT_LIST_HEAD(&f->late);
	INIT_WORK(&f->late_work, fake_late_work);
	f->fail_chunk = FAKE_NEVER;
	f->room = FAKE_NEVER;
	f->destroy_answer = FAKE_RIGHT;
	f->other_answer = VIRTIO_GPU_RESP_OK_NODATA;
	kunit_activate_static_stub(f->test, virtio_gpu_try_queue_ctrl_vbuf, fake_try_queue);
	kunit_activate_static_stub(f->test, virtio_gpu_ctrlq_room, fake_room);
}
