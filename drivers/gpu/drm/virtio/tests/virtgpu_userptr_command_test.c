// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: tests of single commands and of ioctls
 *
 * Limits, attaching and opening, and what the ioctls refuse and say.
 */

#include <kunit/test.h>

#include <linux/kthread.h>
#include <linux/mm.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>

#include "virtgpu_userptr_test_fake.h"

static void userptr_test_get_info(struct kunit *test)
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
static void userptr_test_attach(struct kunit *test)
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
static void userptr_test_open(struct kunit *test)
{
	struct fake *f = fake_new(test, 4, 1);
	struct drm_file *file = fake_file(test, 0);
	struct virtio_gpu_object_userptr *userptr;
	struct mm_struct *mm = current->mm;
	struct drm_gem_object *obj;

	userptr = fake_create(f);
	fake_expect_live(test, f, userptr);
	obj = fake_gem(userptr);
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

	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/* Read-only is only for contexts in which the device enforces it. */
static void userptr_test_open_readonly(struct kunit *test)
{
	struct fake *f = fake_new(test, 4, 1);
	struct drm_file *file = fake_file(test, VIRTIO_GPU_CAPSET_VENUS);
	struct virtio_gpu_fpriv *vfpriv = file->driver_priv;
	struct virtio_gpu_object_userptr *userptr;
	struct drm_gem_object *obj;

	userptr = virtio_gpu_userptr_create(&f->vgdev, f->mem->addr, f->mem->nr * PAGE_SIZE,
					    VIRTGPU_USERPTR_RDONLY);
	fake_expect_live(test, f, userptr);
	obj = fake_gem(userptr);

	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, f->others, 0);
	vfpriv->context_init = FAKE_CAPSET;
	KUNIT_EXPECT_EQ(test, obj->funcs->open(obj, file), 0);
	KUNIT_EXPECT_EQ(test, f->others, 1);

	fake_put(userptr);
	fake_expect_released(test, f, 1);
}

/**
 * struct userptr_test_refusal_case - what the create ioctl does not take
 * @name: of the case
 * @args: for the ioctl
 * @available: the device can
 * @rdonly_capsets: limit of the device
 * @alignment: likewise, in pages; 0 for 1
 * @expected: outcome
 */
struct userptr_test_refusal_case {
	const char *name;
	struct drm_virtgpu_resource_create_userptr args;
	bool available;
	u64 rdonly_capsets;
	unsigned int alignment;
	int expected;
};

#define REFUSAL(name, expected, ...) \
	{ name, { .addr = PAGE_SIZE, .size = PAGE_SIZE, __VA_ARGS__ }, true, 0, 1, expected }
#define REFUSAL_AT(name, addr, size, expected) \
	{ name, { addr, size }, true, 0, 1, expected }

static const struct userptr_test_refusal_case userptr_test_refusal_cases[] = {
	{ "device cannot", { PAGE_SIZE, PAGE_SIZE }, false, 0, 1, -EOPNOTSUPP },
	{ "device cannot, size 0", { PAGE_SIZE }, false, 0, 1, -EOPNOTSUPP },
	REFUSAL_AT("size 0", PAGE_SIZE, 0, -EINVAL),
	REFUSAL_AT("address", 1, PAGE_SIZE, -EINVAL),
	REFUSAL("unknown flag", -EINVAL, .flags = 8),
	REFUSAL("all flags", -EINVAL, .flags = U32_MAX),
	REFUSAL("event, but not watched", -EINVAL,
		.flags = VIRTGPU_USERPTR_EVENT | VIRTGPU_USERPTR_KEEP),
	REFUSAL("padding", -EINVAL, .pad = 1),
	REFUSAL_AT("too large", PAGE_SIZE, 9 * PAGE_SIZE, -E2BIG),
	REFUSAL_AT("wraps", -(u64)PAGE_SIZE, 2 * PAGE_SIZE, -EFAULT),
	REFUSAL_AT("not a user's address", -4ULL * PAGE_SIZE, PAGE_SIZE, -EFAULT),
	REFUSAL("read-only, enforced nowhere", -EOPNOTSUPP, .flags = VIRTGPU_USERPTR_RDONLY),
	{ "read-only, enforced elsewhere",
	  { PAGE_SIZE, PAGE_SIZE, VIRTGPU_USERPTR_RDONLY }, true, 4, 1, -EOPNOTSUPP },
	{ "address by 2 pages", { PAGE_SIZE, 2 * PAGE_SIZE }, true, 0, 2, -EINVAL },
	{ "size by 2 pages", { 2 * PAGE_SIZE, PAGE_SIZE }, true, 0, 2, -EINVAL },
	{ "not mapped, by 2 pages", { 2 * PAGE_SIZE, 2 * PAGE_SIZE }, true, 0, 2, -EFAULT },
	REFUSAL_AT("not mapped", PAGE_SIZE, 8 * PAGE_SIZE, -EFAULT),
};

KUNIT_ARRAY_PARAM_DESC(userptr_test_refusal, userptr_test_refusal_cases, name);

/* What the ioctl refuses before the device is asked. */
static void userptr_test_refusal(struct kunit *test)
{
	const struct userptr_test_refusal_case *c = test->param_value;
	struct drm_virtgpu_resource_create_userptr args = c->args;
	struct fake *f = fake_new(test, 1, 1);
	struct drm_file *file = fake_file(test, 0);

	f->vgdev.userptr->limits.alignment = c->alignment * PAGE_SIZE;
	f->vgdev.userptr->limits.max_size = c->available ? 8 * PAGE_SIZE : 0;
	f->vgdev.userptr->limits.rdonly_capsets = c->rdonly_capsets;

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_create_ioctl(f->drm, &args, file), c->expected);
	KUNIT_EXPECT_EQ(test, f->chunks + f->others, 0);
	fake_expect_released(test, f, 0);
}

/* The limits as user space gets to know them; read-only depends on the context. */
static void userptr_test_query(struct kunit *test)
{
	u32 watched = IS_ENABLED(CONFIG_DRM_VIRTIO_GPU_USERPTR_NOTIFIER) ?
		VIRTGPU_USERPTR_EVENT : 0;
	struct fake *f = fake_new(test, 1, 7);
	struct drm_file *enforcing = fake_file(test, FAKE_CAPSET);
	struct drm_file *venus = fake_file(test, VIRTIO_GPU_CAPSET_VENUS);
	struct drm_virtgpu_userptr_query args = {};

	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_query_ioctl(f->drm, &args, enforcing), 0);
	KUNIT_EXPECT_EQ(test, args.create_flags,
			VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_RDONLY | watched);
	KUNIT_EXPECT_EQ(test, args.rdonly_capset_mask, BIT_ULL(FAKE_CAPSET));
	KUNIT_EXPECT_EQ(test, args.max_size, SZ_1G);
	KUNIT_EXPECT_EQ(test, args.max_segments, 100000);
	KUNIT_EXPECT_EQ(test, args.alignment, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_getparam(&f->vgdev), args.create_flags);

	args = (struct drm_virtgpu_userptr_query){};
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_query_ioctl(f->drm, &args, venus), 0);
	KUNIT_EXPECT_EQ(test, args.create_flags, VIRTGPU_USERPTR_KEEP | watched);

	args = (struct drm_virtgpu_userptr_query){ .flags = 1 };
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_query_ioctl(f->drm, &args, venus), -EINVAL);
	f->vgdev.userptr->limits.max_size = 0;
	args.flags = 0;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_query_ioctl(f->drm, &args, venus), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_getparam(&f->vgdev), 0);
}

/* Probing does not wait for ever for a device that says nothing. */
static void userptr_test_get_info_silent(struct kunit *test)
{
	struct virtio_gpu_userptr_limits limits = {};
	struct fake *f = fake_new(test, 1, 1);

	f->hold_others = true;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -ETIMEDOUT);
	/* The answer that comes then finds valid memory. */
	fake_answer_all(f);
	f->room = 0;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -ETIMEDOUT);
	fake_set_broken(f);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_get_info(&f->vgdev, &limits), -ENODEV);
	KUNIT_EXPECT_EQ(test, f->others, 1);
}

/* Detaching is tried once, and nobody waits for it. */
static void userptr_test_detach(struct kunit *test)
{
	struct fake *f = fake_new(test, 1, 1);

	f->hold_others = true;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_detach(&f->vgdev, 1, 2), 0);
	KUNIT_EXPECT_EQ(test, f->nr_held, 1);
	fake_answer_all(f);
	f->room = 0;
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_detach(&f->vgdev, 1, 2), -ENOSPC);
	KUNIT_EXPECT_EQ(test, f->asked, 0);
	fake_set_broken(f);
	KUNIT_EXPECT_EQ(test, virtio_gpu_userptr_cmd_detach(&f->vgdev, 1, 2), -ENODEV);
}

static struct kunit_case userptr_test_command_cases[] = {
	KUNIT_CASE(userptr_test_get_info),
	KUNIT_CASE_SLOW(userptr_test_get_info_silent),
	KUNIT_CASE(userptr_test_attach),
	KUNIT_CASE(userptr_test_detach),
	KUNIT_CASE(userptr_test_open),
	KUNIT_CASE(userptr_test_open_readonly),
	KUNIT_CASE_PARAM(userptr_test_refusal, userptr_test_refusal_gen_params),
	KUNIT_CASE(userptr_test_query),
	{}
};

static struct kunit_suite userptr_test_command_suite = {
	.name = "virtio_gpu_userptr_command",
	.exit = fake_exit,
	.test_cases = userptr_test_command_cases,
};

kunit_test_suite(userptr_test_command_suite);
