// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: tests against a device in the test
 *
 * struct fake is a device that checks each command as a device would, and also
 * what no device can see: that the pages are pinned when it is told of them,
 * when it is asked to let go, and still right before it answers that.  Answers
 * come at once, from a work item, or when the test says so, in any order.
 *
 * Locks: fake.lock protects the fake's lists and counts; answers are given
 * without it.  The first thing that is wrong with any command is kept in
 * fake.violation and fails the test when it ends.
 */

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_kunit_helpers.h>

#include "../virtgpu_userptr.h"
#include "virtgpu_userptr_test.h"

#define PATIENCE	(5 * HZ)
#define FAKE_RESOURCES	4
#define FAKE_NEVER	U32_MAX

enum fake_state { FAKE_UNKNOWN, FAKE_HALF, FAKE_USABLE, FAKE_FAILED };

/**
 * struct fake_resource - what the device knows of a resource
 * @id: resource id
 * @state: see the diagram of <linux/virtio_gpu_userptr.h>
 * @size: bytes to describe
 * @described: bytes described
 * @segments_left: entries to come
 */
struct fake_resource {
	u32 id;
	enum fake_state state;
	u64 size;
	u64 described;
	u32 segments_left;
};

/**
 * struct fake - a device
 * @vgdev: the driver's view of it
 * @drm: DRM device of @vgdev
 * @drm_refs: references of @drm while there is no resource
 * @stopped: the driver was told that it is gone
 * @finished: and that it was reset
 * @mem: what the resources are made of
 * @lock: protects what follows
 * @arrived: woken for each command
 * @held: commands that are not answered until the test says so
 * @nr_held: how many
 * @late: commands that @late_work answers
 * @late_work: runs on @wq
 * @wq: of the fake alone
 * @hold_chunks: put CREATE and ADD on @held
 * @hold_destroy: put DESTROY on @held
 * @hold_others: put everything else on @held
 * @answer_late: put what is not held on @late
 * @fail_chunk: index of the CREATE or ADD that gets @fail_answer
 * @fail_answer: type of the answer
 * @destroy_answer: answer to DESTROY; 0: what is right
 * @other_answer: answer to other commands
 * @info: answer to GET_USERPTR_INFO, if its type is set
 * @full: times to have no room
 * @always_full: never to have room
 * @full_at: chunks received after which there is no room
 * @waits: times that somebody waited for room
 * @chunks: CREATEs and ADDs received
 * @in_flight: of which are not answered
 * @max_in_flight: highest value of @in_flight
 * @destroys: DESTROYs received
 * @others: other commands received
 * @resources: what the device knows
 * @violation: the first thing that was wrong, or NULL
 */
struct fake {
	struct virtio_gpu_device vgdev;
	struct drm_device *drm;
	unsigned int drm_refs;
	bool stopped;
	bool finished;
	struct userptr_test_mem *mem;
	/* protects what follows, see above */
	spinlock_t lock;
	wait_queue_head_t arrived;
	struct list_head held;
	unsigned int nr_held;
	struct list_head late;
	struct work_struct late_work;
	struct workqueue_struct *wq;
	bool hold_chunks;
	bool hold_destroy;
	bool hold_others;
	bool answer_late;
	u32 fail_chunk;
	u32 fail_answer;
	u32 destroy_answer;
	u32 other_answer;
	struct virtio_gpu_resp_userptr_info info;
	unsigned int full;
	bool always_full;
	u32 full_at;
	unsigned int waits;
	unsigned int chunks;
	unsigned int in_flight;
	unsigned int max_in_flight;
	unsigned int destroys;
	unsigned int others;
	struct fake_resource resources[FAKE_RESOURCES];
	const char *violation;
};

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
			f->resources[i] = (struct fake_resource){ .id = id, .state = FAKE_HALF };
			return &f->resources[i];
		}
	}
	must(f, false, "more resources than the test has");
	return NULL;
}

/* The entry has to describe the very pages that are mapped at this offset. */
static void check_entry(struct fake *f, const struct virtio_gpu_mem_entry *ent, u64 offset)
{
	u32 length = le32_to_cpu(ent->length), at;
	u64 addr = le64_to_cpu(ent->addr);
	u32 page = offset >> PAGE_SHIFT;

	must(f, !ent->padding, "padding of an entry");
	must(f, length && IS_ALIGNED(addr | length, PAGE_SIZE), "alignment of an entry");
	for (at = 0; at < length; at += PAGE_SIZE, page++) {
		if (page >= f->mem->nr) {
			must(f, false, "entries beyond the end");
			return;
		}
		must(f, addr + at == page_to_phys(userptr_test_page(f->mem, page)),
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
	must(f, userptr_test_mem_pinned(f->mem), "told of pages that are not pinned");

	if (f->chunks++ == f->fail_chunk) {
		res->state = FAKE_FAILED;
		return f->fail_answer;
	}
	if (res->state != FAKE_HALF)
		return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

	for (i = 0; i < nr; i++) {
		check_entry(f, &ents[i], res->described);
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
	must(f, res->size == f->mem->nr * PAGE_SIZE, "CREATE's size");
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
	must(f, userptr_test_mem_pinned(f->mem), "DESTROY of pages that are not pinned");
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

/* As the driver's own handler of answers: callback, then free. */
static void answer(struct fake *f, struct virtio_gpu_vbuffer *vbuf)
{
	u32 type = command_type(vbuf);

	scoped_guard(spinlock_irqsave, &f->lock) {
		if (is_chunk(type))
			f->in_flight--;
		if (type == VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR)
			must(f, userptr_test_mem_pinned(f->mem),
			     "unpinned before DESTROY was answered");
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

/* Answer the command that is held longest, or the latest one. */
static bool answer_held(struct fake *f, bool latest)
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

static void wait_held(struct kunit *test, struct fake *f, unsigned int nr)
{
	KUNIT_ASSERT_NE_MSG(test, wait_event_timeout(f->arrived, READ_ONCE(f->nr_held) >= nr,
						     PATIENCE), 0,
			    "device has %u commands, not %u", READ_ONCE(f->nr_held), nr);
}

/* The driver hears that the device is gone; nothing can be sent any more. */
static void fake_stop(struct fake *f)
{
	if (f->stopped)
		return;
	f->stopped = true;
	drm_dev_unplug(f->drm);
	virtio_gpu_userptr_stop(&f->vgdev);
}

/* Reset: commands that were not answered never will be. */
static void fake_reset(struct fake *f)
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
 * struct creator - a process that creates a resource
 * @task: it
 * @f: for this device
 * @mm: whose memory
 * @signal: for itself, before it starts; or 0
 * @done: it has an outcome
 * @userptr: the outcome
 * @took: jiffies until then
 */
struct creator {
	struct task_struct *task;
	struct fake *f;
	struct mm_struct *mm;
	int signal;
	struct completion done;
	struct virtio_gpu_object_userptr *userptr;
	unsigned long took;
};

static struct virtio_gpu_object_userptr *create(struct fake *f)
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
	c->userptr = create(c->f);
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

static struct creator *start_creator(struct kunit *test, struct fake *f, int signal)
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

static struct virtio_gpu_object_userptr *outcome(struct kunit *test, struct creator *c)
{
	KUNIT_ASSERT_NE_MSG(test, wait_for_completion_timeout(&c->done, PATIENCE), 0,
			    "creation does not end");
	return c->userptr;
}

static void put(struct virtio_gpu_object_userptr *userptr)
{
	drm_gem_object_put(&userptr->base.base.base);
}

/* Wait until @nr resources, ever, have been released, and expect nothing left. */
static void expect_released(struct kunit *test, struct fake *f, unsigned int nr)
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

static void expect_live(struct kunit *test, struct fake *f,
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

static void expect_pinned(struct kunit *test, struct fake *f)
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

/* A device that takes @max_entries in a command, and @nr pages in as many segments. */
static struct fake *fake_new(struct kunit *test, unsigned int nr, u32 max_entries)
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

static void device_exit(struct kunit *test)
{
	struct fake *f = test->priv;

	if (f)
		KUNIT_EXPECT_NULL_MSG(test, f->violation, "%s", f->violation);
}

struct chunk_case {
	const char *name;
	unsigned int segments;
	u32 max_entries;
	unsigned int chunks;
	bool late;
};

static const struct chunk_case chunk_cases[] = {
	{ "1 segment", 1, 4096, 1, false },
	{ "1 segment, answered late", 1, 4096, 1, true },
	{ "1 entry a command", 20, 1, 20, false },
	{ "1 entry a command, answered late", 20, 1, 20, true },
	{ "3 entries a command", 10, 3, 4, true },
	{ "4095 segments", 4095, 4096, 1, true },
	{ "4096 segments", 4096, 4096, 1, true },
	{ "4097 segments", 4097, 4096, 2, true },
	{ "4097 segments, any number of entries", 4097, U32_MAX, 2, true },
	{ "16385 segments", 16385, U32_MAX, 5, true },
	{ "16385 segments, answered at once", 16385, U32_MAX, 5, false },
	{ "4097 segments, 4095 a command", 4097, 4095, 2, true },
};

KUNIT_ARRAY_PARAM_DESC(chunk, chunk_cases, name);

static void test_chunks(struct kunit *test)
{
	const struct chunk_case *c = test->param_value;
	struct fake *f = fake_new(test, c->segments, c->max_entries);
	struct virtio_gpu_object_userptr *userptr;

	f->answer_late = c->late;
	userptr = create(f);
	expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, userptr->nr_segments, c->segments);
	KUNIT_EXPECT_EQ(test, f->chunks, c->chunks);
	KUNIT_EXPECT_LE(test, f->max_in_flight, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);

	put(userptr);
	expect_released(test, f, 1);
}

struct error_case {
	const char *name;
	u32 chunk;
	u32 answer;
	bool late;
	int expected;
};

#define ERROR(chunk, answer, late, expected) \
	{ #answer " to chunk " #chunk, chunk, VIRTIO_GPU_RESP_ERR_##answer, late, expected }

static const struct error_case error_cases[] = {
	ERROR(0, OUT_OF_MEMORY, false, -ENOMEM),
	ERROR(0, LIMIT, true, -ENOSPC),
	ERROR(0, INVALID_RESOURCE_ID, true, -ENOENT),
	ERROR(1, UNSUPPORTED, false, -EOPNOTSUPP),
	ERROR(1, UNSPEC, true, -EIO),
	ERROR(2, LIMIT, false, -ENOSPC),
	ERROR(2, INVALID_CONTEXT_ID, true, -ENOENT),
	ERROR(3, OUT_OF_MEMORY, true, -ENOMEM),
	ERROR(4, UNSUPPORTED, true, -EOPNOTSUPP),
	ERROR(4, INVALID_PARAMETER, false, -EINVAL),
	ERROR(19, LIMIT, false, -ENOSPC),
	ERROR(19, LIMIT, true, -ENOSPC),
};

KUNIT_ARRAY_PARAM_DESC(error, error_cases, name);

/* 20 commands, of which one is refused: the errno is that of the first refusal. */
static void test_error(struct kunit *test)
{
	const struct error_case *c = test->param_value;
	struct fake *f = fake_new(test, 20, 1);
	struct virtio_gpu_object_userptr *userptr;

	f->answer_late = c->late;
	f->fail_chunk = c->chunk;
	f->fail_answer = c->answer;
	userptr = create(f);
	KUNIT_ASSERT_TRUE(test, IS_ERR(userptr));
	KUNIT_EXPECT_EQ(test, PTR_ERR(userptr), c->expected);
	KUNIT_EXPECT_GT(test, f->chunks, c->chunk);
	KUNIT_EXPECT_LE(test, f->chunks, c->chunk + VIRTIO_GPU_USERPTR_WINDOW);
	expect_released(test, f, 1);
}

/* What is in flight is bounded, and each answer lets one more command go. */
static void test_window(struct kunit *test)
{
	struct fake *f = fake_new(test, 20, 1);
	struct creator *c;
	unsigned int i;

	f->hold_chunks = true;
	c = start_creator(test, f, 0);
	for (i = 0; i < 12; i++) {
		wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
		KUNIT_EXPECT_EQ(test, f->chunks, VIRTIO_GPU_USERPTR_WINDOW + i);
		answer_held(f, false);
	}
	wait_held(test, f, VIRTIO_GPU_USERPTR_WINDOW);
	for (; i < 20; i++)
		KUNIT_EXPECT_TRUE(test, answer_held(f, false));
	expect_live(test, f, outcome(test, c));
	KUNIT_EXPECT_EQ(test, f->max_in_flight, VIRTIO_GPU_USERPTR_WINDOW);
	KUNIT_EXPECT_EQ(test, f->chunks, 20);

	put(c->userptr);
	expect_released(test, f, 1);
}

static void test_answers_reversed(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	c = start_creator(test, f, 0);
	wait_held(test, f, 5);
	while (f->nr_held > 1)
		answer_held(f, true);
	/* All but the first answer: that is not enough. */
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&c->done, HZ / 20), 0);
	answer_held(f, true);
	expect_live(test, f, outcome(test, c));

	put(c->userptr);
	expect_released(test, f, 1);
}

/* An error is enough to stop waiting, and answers that come later harm nobody. */
static void test_error_answered_first(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	f->hold_destroy = true;
	f->fail_chunk = 4;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	c = start_creator(test, f, 0);
	wait_held(test, f, 5);
	answer_held(f, true);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -ENOSPC);
	wait_held(test, f, 5);
	expect_pinned(test, f);
	answer_held(f, true);
	expect_released(test, f, 1);
	while (answer_held(f, false))
		;
}

/* Several errors arrive before the creator looks: the first one counts. */
static void test_first_error(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	f->fail_chunk = 1;
	f->fail_answer = VIRTIO_GPU_RESP_ERR_LIMIT;
	f->full_at = 4;
	c = start_creator(test, f, 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->waits), PATIENCE), 0);

	/* OK, the refusal, and two commands for a resource that has failed. */
	while (answer_held(f, false))
		;
	WRITE_ONCE(f->full_at, FAKE_NEVER);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -ENOSPC);
	while (answer_held(f, false))
		;
	expect_released(test, f, 1);
}

struct killed_case {
	const char *name;
	bool destroy_first;
	unsigned int segments;
};

static const struct killed_case killed_cases[] = {
	{ "answers in order", false, 1 },
	{ "DESTROY answered first", true, 1 },
	{ "answers in order, several commands", false, 5 },
	{ "DESTROY answered first, several commands", true, 5 },
	{ "answers in order, window full", false, 20 },
	{ "DESTROY answered first, window full", true, 20 },
};

KUNIT_ARRAY_PARAM_DESC(killed, killed_cases, name);

/* A killed creator leaves at once; the pages stay until the device has agreed. */
static void test_killed(struct kunit *test)
{
	const struct killed_case *k = test->param_value;
	struct fake *f = fake_new(test, k->segments, 1);
	unsigned int nr = min(k->segments, VIRTIO_GPU_USERPTR_WINDOW);
	struct creator *c;

	f->hold_chunks = true;
	f->hold_destroy = true;
	c = start_creator(test, f, 0);
	wait_held(test, f, nr);
	send_sig(SIGKILL, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -ERESTARTSYS);

	wait_held(test, f, nr + 1);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	expect_pinned(test, f);
	if (k->destroy_first) {
		answer_held(f, true);
		expect_released(test, f, 1);
	} else {
		while (f->nr_held > 1)
			answer_held(f, false);
		flush_workqueue(f->vgdev.userptr->wq);
		expect_pinned(test, f);
	}
	while (answer_held(f, false))
		;
	expect_released(test, f, 1);
}

/* Other signals end it only after the device has been silent for a second. */
static void test_signal(struct kunit *test)
{
	struct fake *f = fake_new(test, 2, 1);
	struct creator *c;

	f->hold_chunks = true;
	c = start_creator(test, f, 0);
	wait_held(test, f, 2);
	send_sig(SIGUSR1, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -EINTR);
	KUNIT_EXPECT_GE(test, c->took, HZ);

	while (answer_held(f, false))
		;
	expect_released(test, f, 1);
}

/* A signal that is there all the time does not end it while the device answers. */
static void test_signal_answered(struct kunit *test)
{
	struct fake *f = fake_new(test, 40, 1);
	struct creator *c;

	f->answer_late = true;
	c = start_creator(test, f, SIGUSR1);
	expect_live(test, f, outcome(test, c));

	put(c->userptr);
	expect_released(test, f, 1);
}

/* A process that is being killed already tells the device nothing. */
static void test_killed_before(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	c = start_creator(test, f, SIGKILL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -EINTR);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	expect_released(test, f, 0);
}

static void test_gone_while_creating(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->hold_chunks = true;
	c = start_creator(test, f, 0);
	wait_held(test, f, 5);
	fake_stop(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -ENODEV);

	/* No command can be sent; until the reset the device may still access. */
	flush_workqueue(f->vgdev.userptr->wq);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	expect_pinned(test, f);

	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* A file with a context, as far as this series looks at it. */
static struct drm_file *new_file(struct kunit *test, u32 capset)
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

static void test_gone_while_live(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct drm_file *file = new_file(test, VIRTIO_GPU_CAPSET_LOOPBACK);
	struct virtio_gpu_object_userptr *userptr = create(f);
	struct drm_gem_object *obj = &userptr->base.base.base;

	expect_live(test, f, userptr);
	fake_stop(f);
	expect_pinned(test, f);
	fake_reset(f);
	KUNIT_EXPECT_EQ(test, userptr->state, VIRTIO_GPU_USERPTR_DEAD);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);

	/* The handle outlives the device, which must not be touched any more. */
	obj->funcs->close(obj, file);
	put(userptr);
	KUNIT_EXPECT_EQ(test, f->destroys, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void test_gone_before(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);

	fake_stop(f);
	KUNIT_EXPECT_EQ(test, PTR_ERR(create(f)), -ENODEV);
	KUNIT_EXPECT_EQ(test, f->chunks + f->destroys, 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* Nothing is said to the device that was not pinned, and nothing is left. */
static void test_cannot_pin(struct kunit *test)
{
	struct fake *f = fake_new(test, 700, 4096);

	f->vgdev.userptr->limits.max_segments = 699;
	KUNIT_EXPECT_EQ(test, PTR_ERR(create(f)), -E2BIG);
	f->vgdev.userptr->limits.max_segments = 700;
	KUNIT_ASSERT_EQ(test, vm_munmap(f->mem->addr + 699 * PAGE_SIZE, PAGE_SIZE), 0);
	f->mem->uses[f->mem->index[699]]--;
	KUNIT_EXPECT_EQ(test, PTR_ERR(create(f)), -EFAULT);
	KUNIT_EXPECT_EQ(test, f->chunks, 0);
	expect_released(test, f, 0);
}

static void test_destroy_refused(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = create(f);

	expect_live(test, f, userptr);
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_UNSPEC;
	put(userptr);
	flush_workqueue(f->vgdev.userptr->wq);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	KUNIT_EXPECT_EQ(test, f->vgdev.userptr->released, 0);
	expect_pinned(test, f);

	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, f->destroys, 1);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

static void test_destroy_of_unknown(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = create(f);

	expect_live(test, f, userptr);
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	put(userptr);
	expect_released(test, f, 1);
}

/* The last close does not wait, and does not unpin: the answer does. */
static void test_destroy_late(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = create(f);

	expect_live(test, f, userptr);
	f->hold_destroy = true;
	put(userptr);
	wait_held(test, f, 1);
	flush_workqueue(f->vgdev.userptr->wq);
	KUNIT_EXPECT_EQ(test, f->vgdev.userptr->releasing, 1);
	expect_pinned(test, f);
	answer_held(f, false);
	expect_released(test, f, 1);
}

static void test_destroy_never(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr = create(f);

	expect_live(test, f, userptr);
	f->hold_destroy = true;
	put(userptr);
	wait_held(test, f, 1);
	fake_stop(f);
	flush_workqueue(f->vgdev.userptr->wq);
	expect_pinned(test, f);
	fake_reset(f);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED));
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&f->drm->ref), f->drm_refs);
}

/* What the owner unmaps while the device has it does not go back to the system. */
static void test_unmap_live(struct kunit *test)
{
	struct fake *f = fake_new(test, 16, 4);
	struct virtio_gpu_object_userptr *userptr = create(f);

	expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->mem->addr, f->mem->nr * PAGE_SIZE), 0);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_PINNED));
	f->hold_destroy = true;
	put(userptr);
	wait_held(test, f, 1);
	KUNIT_EXPECT_TRUE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_PINNED));
	memset(f->mem->uses, 0, f->mem->nr_block * sizeof(*f->mem->uses));
	answer_held(f, false);
	expect_released(test, f, 1);
}

/* Two registrations of the same memory: each has its own pins and charge. */
static void test_twice(struct kunit *test)
{
	struct fake *f = fake_new(test, 16, 4);
	struct virtio_gpu_object_userptr *a = create(f), *b;

	expect_live(test, f, a);
	b = create(f);
	KUNIT_ASSERT_FALSE(test, IS_ERR(b));
	KUNIT_EXPECT_NE(test, a->base.hw_res_handle, b->base.hw_res_handle);
	KUNIT_EXPECT_EQ(test, atomic64_read(&current->mm->pinned_vm), 2 * f->mem->nr);
	KUNIT_EXPECT_FALSE(test, userptr_test_mem_is(f->mem, USERPTR_TEST_MAPPED |
							     USERPTR_TEST_PINNED));
	f->hold_destroy = true;
	put(a);
	wait_held(test, f, 1);
	answer_held(f, false);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->vgdev.userptr->wait,
						 READ_ONCE(f->vgdev.userptr->released) == 1,
						 PATIENCE), 0);
	expect_live(test, f, b);
	f->hold_destroy = false;
	put(b);
	expect_released(test, f, 2);
}

static void test_ring_full(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct virtio_gpu_object_userptr *userptr;

	f->full = 3;
	userptr = create(f);
	expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, f->full, 0);
	KUNIT_EXPECT_EQ(test, f->waits, 3);

	f->full = 4;
	put(userptr);
	expect_released(test, f, 1);
	/* The release does not sleep for room, it comes back. */
	KUNIT_EXPECT_EQ(test, f->waits, 3);
}

static void test_ring_full_killed(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->always_full = true;
	c = start_creator(test, f, 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->waits), PATIENCE), 0);
	send_sig(SIGKILL, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -ERESTARTSYS);

	/* The device was told nothing, but only it can say so. */
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	f->hold_destroy = true;
	WRITE_ONCE(f->always_full, false);
	wait_held(test, f, 1);
	KUNIT_EXPECT_STREQ(test, f->violation, "DESTROY of an unknown resource");
	f->violation = NULL;
	expect_pinned(test, f);
	answer_held(f, false);
	expect_released(test, f, 1);
}

static void test_ring_full_signal(struct kunit *test)
{
	struct fake *f = fake_new(test, 5, 1);
	struct creator *c;

	f->always_full = true;
	c = start_creator(test, f, 0);
	KUNIT_ASSERT_NE(test, wait_event_timeout(f->arrived, READ_ONCE(f->waits), PATIENCE), 0);
	send_sig(SIGUSR1, c->task, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(outcome(test, c)), -EINTR);
	KUNIT_EXPECT_GE(test, c->took, HZ);

	/* The device was told nothing, but only it can say so. */
	f->destroy_answer = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	f->hold_destroy = true;
	WRITE_ONCE(f->always_full, false);
	wait_held(test, f, 1);
	KUNIT_EXPECT_STREQ(test, f->violation, "DESTROY of an unknown resource");
	f->violation = NULL;
	expect_pinned(test, f);
	answer_held(f, false);
	expect_released(test, f, 1);
}

/* Answers what is held as soon as somebody sleeps until something is released. */
struct patient {
	struct fake *f;
	struct delayed_work work;
};

static void answer_to_sleeper(struct work_struct *work)
{
	struct patient *p = container_of(to_delayed_work(work), struct patient, work);

	/* No barrier: a sleeper that is not seen now is seen a jiffy later. */
	if (waitqueue_active(&p->f->vgdev.userptr->wait))
		answer_held(p->f, false);
	else
		queue_delayed_work(p->f->wq, &p->work, 1);
}

/* At the limit, what was closed but not yet given up by the device is waited for. */
static void test_charge_waits(struct kunit *test)
{
	static struct user_struct user = { .__count = REFCOUNT_INIT(1) };
	struct fake *f = fake_new(test, 16, 16);
	struct virtio_gpu_object_userptr *userptr;
	struct patient p = { .f = f };
	unsigned long start;

	userptr_test_become(test, &user, false);
	userptr_test_set_memlock(16);
	userptr = create(f);
	expect_live(test, f, userptr);

	/* Nobody closed anything: at once. */
	start = jiffies;
	KUNIT_EXPECT_EQ(test, PTR_ERR(create(f)), -ENOMEM);
	KUNIT_EXPECT_LT(test, jiffies - start, HZ);

	f->hold_destroy = true;
	put(userptr);
	wait_held(test, f, 1);
	INIT_DELAYED_WORK_ONSTACK(&p.work, answer_to_sleeper);
	queue_delayed_work(f->wq, &p.work, 0);
	userptr = create(f);
	cancel_delayed_work_sync(&p.work);
	destroy_delayed_work_on_stack(&p.work);
	expect_live(test, f, userptr);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user.locked_vm), 16);

	/* A device that does not answer is given a second. */
	put(userptr);
	wait_held(test, f, 1);
	start = jiffies;
	KUNIT_EXPECT_EQ(test, PTR_ERR(create(f)), -ENOMEM);
	KUNIT_EXPECT_GE(test, jiffies - start, HZ);
	answer_held(f, false);
	expect_released(test, f, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&user.locked_vm), 0);
}

static struct kunit_case device_cases[] = {
	KUNIT_CASE_PARAM(test_chunks, chunk_gen_params),
	KUNIT_CASE_PARAM(test_error, error_gen_params),
	KUNIT_CASE(test_window),
	KUNIT_CASE(test_answers_reversed),
	KUNIT_CASE(test_error_answered_first),
	KUNIT_CASE(test_first_error),
	KUNIT_CASE_PARAM(test_killed, killed_gen_params),
	KUNIT_CASE(test_killed_before),
	KUNIT_CASE_SLOW(test_signal),
	KUNIT_CASE(test_signal_answered),
	KUNIT_CASE(test_gone_while_creating),
	KUNIT_CASE(test_gone_while_live),
	KUNIT_CASE(test_gone_before),
	KUNIT_CASE(test_cannot_pin),
	KUNIT_CASE(test_destroy_refused),
	KUNIT_CASE(test_destroy_of_unknown),
	KUNIT_CASE(test_destroy_late),
	KUNIT_CASE(test_destroy_never),
	KUNIT_CASE(test_unmap_live),
	KUNIT_CASE(test_twice),
	KUNIT_CASE(test_ring_full),
	KUNIT_CASE(test_ring_full_killed),
	KUNIT_CASE_SLOW(test_ring_full_signal),
	KUNIT_CASE_SLOW(test_charge_waits),
	{}
};

static struct kunit_suite device_suite = {
	.name = "virtio_gpu_userptr_device",
	.exit = device_exit,
	.test_cases = device_cases,
};

static void test_get_info(struct kunit *test)
{
	struct virtio_gpu_userptr_limits limits = {};
	struct fake *f = fake_new(test, 1, 1);

	f->answer_late = true;
	f->info = (struct virtio_gpu_resp_userptr_info){
		.hdr.type = cpu_to_le32(VIRTIO_GPU_RESP_OK_USERPTR_INFO),
		.max_entries = cpu_to_le32(5),
		.max_segments = cpu_to_le32(6),
		.alignment = cpu_to_le32(PAGE_SIZE),
		.max_size = cpu_to_le64(7 * PAGE_SIZE),
	};
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), 0);
	KUNIT_EXPECT_EQ(test, limits.max_entries, 5);
	KUNIT_EXPECT_EQ(test, limits.max_segments, 6);
	KUNIT_EXPECT_EQ(test, limits.max_size, 7 * PAGE_SIZE);

	f->info.alignment = cpu_to_le32(3);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -EINVAL);
	f->info.hdr.type = 0;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -EIO);
	f->other_answer = VIRTIO_GPU_RESP_ERR_UNSUPPORTED;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, f->others, 4);
}

/* Attaching is awaited, and its error is the caller's. */
static void test_attach(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 1);

	f->answer_late = true;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_attach(&f->vgdev, 1, 2), 0);
	f->other_answer = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_attach(&f->vgdev, 1, 2), -ENOENT);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_detach(&f->vgdev, 1, 2), 0);
	flush_workqueue(f->wq);
	KUNIT_EXPECT_EQ(test, f->others, 3);
}

/* Who may open a resource by a handle. */
static void test_open(struct kunit *test)
{
	struct fake *f = fake_new(test, 4, 1);
	struct drm_file *file = new_file(test, 0);
	struct virtio_gpu_object_userptr *userptr;
	struct mm_struct *mm = current->mm;
	struct drm_gem_object *obj;

	userptr = create(f);
	expect_live(test, f, userptr);
	obj = &userptr->base.base.base;
	KUNIT_EXPECT_TRUE(test, virtio_gpu_is_userptr(&userptr->base));

	KUNIT_EXPECT_EQ(test, f->others, 0);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, f->others, 1);
	f->other_answer = VIRTIO_GPU_RESP_ERR_UNSPEC;
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EIO);
	KUNIT_EXPECT_EQ(test, f->others, 2);

	/* A task with another mm, or none as here. */
	kthread_unuse_mm(mm);
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EPERM);
	kthread_use_mm(mm);
	KUNIT_EXPECT_EQ(test, f->others, 2);
	KUNIT_EXPECT_EQ(test, PTR_ERR(obj->funcs->export(obj, 0)), -EPERM);

	put(userptr);
	expect_released(test, f, 1);
}

/* Read-only is only for contexts in which the device enforces it. */
static void test_open_readonly(struct kunit *test)
{
	struct fake *f = fake_new(test, 4, 1);
	struct drm_file *file = new_file(test, VIRTIO_GPU_CAPSET_VENUS);
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;
	struct virtio_gpu_object_userptr *userptr;
	struct drm_gem_object *obj;

	userptr = virtio_gpu_userptr_create(&f->vgdev, f->mem->addr, f->mem->nr * PAGE_SIZE,
					    VIRTGPU_USERPTR_RDONLY);
	expect_live(test, f, userptr);
	obj = &userptr->base.base.base;

	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, f->others, 0);
	vfpriv->context_init = VIRTIO_GPU_CAPSET_LOOPBACK;
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, f->others, 1);

	put(userptr);
	expect_released(test, f, 1);
}

struct refusal_case {
	const char *name;
	struct drm_virtgpu_resource_create_userptr args;
	bool usable;
	u64 rdonly_capsets;
	int expected;
};

static const struct refusal_case refusal_cases[] = {
	{ "device cannot", { .addr = PAGE_SIZE, .size = PAGE_SIZE }, false, 0, -EOPNOTSUPP },
	{ "device cannot, size 0", { .addr = PAGE_SIZE }, false, 0, -EOPNOTSUPP },
	{ "size 0", { .addr = PAGE_SIZE }, true, 0, -EINVAL },
	{ "address", { .addr = 1, .size = PAGE_SIZE }, true, 0, -EINVAL },
	{ "unknown flag", { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = 2 }, true, 2, -EINVAL },
	{ "all flags", { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = U32_MAX }, true, 2,
	  -EINVAL },
	{ "padding", { .addr = PAGE_SIZE, .size = PAGE_SIZE, .pad = 1 }, true, 0, -EINVAL },
	{ "too large", { .addr = PAGE_SIZE, .size = 9 * PAGE_SIZE }, true, 0, -E2BIG },
	{ "wraps", { .addr = -(u64)PAGE_SIZE, .size = 2 * PAGE_SIZE }, true, 0, -EFAULT },
	{ "not a user's address", { .addr = -4ULL * PAGE_SIZE, .size = PAGE_SIZE }, true, 0,
	  -EFAULT },
	{ "read-only, enforced nowhere",
	  { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = VIRTGPU_USERPTR_RDONLY }, true, 0,
	  -EOPNOTSUPP },
	{ "read-only, enforced elsewhere",
	  { .addr = PAGE_SIZE, .size = PAGE_SIZE, .flags = VIRTGPU_USERPTR_RDONLY }, true, 4,
	  -EOPNOTSUPP },
	{ "not mapped", { .addr = PAGE_SIZE, .size = 8 * PAGE_SIZE }, true, 0, -EFAULT },
};

KUNIT_ARRAY_PARAM_DESC(refusal, refusal_cases, name);

/* What the ioctl refuses before the device is asked. */
static void test_refusal(struct kunit *test)
{
	const struct refusal_case *c = test->param_value;
	struct drm_virtgpu_resource_create_userptr args = c->args;
	struct fake *f = fake_new(test, 1, 1);
	struct drm_file *file = kunit_kzalloc(test, sizeof(*file), GFP_KERNEL);
	struct virtio_gpu_fpriv *vfpriv = kunit_kzalloc(test, sizeof(*vfpriv), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, file);
	KUNIT_ASSERT_NOT_NULL(test, vfpriv);
	file->driver_priv = vfpriv;
	mutex_init(&vfpriv->context_lock);
	vfpriv->context_created = true;
	f->vgdev.userptr->limits.max_size = c->usable ? 8 * PAGE_SIZE : 0;
	f->vgdev.userptr->limits.rdonly_capsets = c->rdonly_capsets;

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), c->expected);
	KUNIT_EXPECT_EQ(test, f->chunks + f->others, 0);
	expect_released(test, f, 0);
}

static struct kunit_case command_cases[] = {
	KUNIT_CASE(test_get_info),
	KUNIT_CASE(test_attach),
	KUNIT_CASE(test_open),
	KUNIT_CASE(test_open_readonly),
	KUNIT_CASE_PARAM(test_refusal, refusal_gen_params),
	{}
};

static struct kunit_suite command_suite = {
	.name = "virtio_gpu_userptr_command",
	.exit = device_exit,
	.test_cases = command_cases,
};

kunit_test_suites(&device_suite, &command_suite);
