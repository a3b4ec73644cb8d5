// SPDX-License-Identifier: MIT
/*
 * test_register: what is shared and what is not, counts, and what is refused
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

#define P FAKE_PAGE
#define BASE 0x100000ul

static struct virtgpu_userptr *ctx;

static int setup(void **state)
{
	(void)state;
	fake_reset();
	ctx = fake_open(NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtgpu_userptr_close(ctx);
	/* Whatever was registered, nothing is left. */
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake.locked, 0);
	return 0;
}

static struct virtgpu_userptr_reg reg_at(uint64_t addr, uint64_t size, uint32_t flags)
{
	struct virtgpu_userptr_reg reg;

	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(addr), size, flags, &reg), 0);
	assert_string_equal(virtgpu_userptr_error(), "");
	assert_int_equal(reg.addr, addr);
	assert_int_equal(reg.size, size);
	assert_int_equal(reg.flags, flags);
	return reg;
}

static int put_at(uint64_t addr, uint64_t size)
{
	return virtgpu_userptr_deregister(ctx, fake_addr(addr), size);
}

/* Any alignment: the pages that the bytes lie in. */
static void test_alignment(void **state)
{
	struct virtgpu_userptr_reg reg = reg_at(BASE + 100, P, 0);
	const struct fake_bo *bo = &fake.bos[reg.piece.bo_handle];

	(void)state;
	assert_int_equal(bo->start, BASE);
	assert_int_equal(bo->end, BASE + 2 * P);
	assert_int_equal(reg.nr_pieces, 1);
	assert_int_equal(reg.piece.offset, 100);
	assert_int_equal(reg.piece.size, P);
	assert_true(bo->flags & VIRTGPU_USERPTR_EVENT);
	assert_false(bo->flags & (VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_RDONLY));
	reg = reg_at(BASE + 9 * P + 1, 1, 0);
	assert_int_equal(reg.piece.offset, 1);
	assert_int_equal(fake.bos[reg.piece.bo_handle].end, BASE + 10 * P);
}

/* A device may want more than pages. */
static void test_device_alignment(void **state)
{
	struct virtgpu_userptr_reg reg;

	(void)state;
	virtgpu_userptr_close(ctx);
	fake.alignment = 16 * P;
	ctx = fake_open(NULL);
	reg = reg_at(BASE + P, P, 0);
	assert_int_equal(fake.bos[reg.piece.bo_handle].start, BASE);
	assert_int_equal(fake.bos[reg.piece.bo_handle].end, BASE + 16 * P);
	assert_int_equal(reg.piece.offset, P);
}

static void test_counts(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, 4 * P, 0), b = reg_at(BASE, 4 * P, 0);

	(void)state;
	assert_int_equal(a.id, b.id);
	assert_int_equal(fake.creates, 1);
	assert_int_equal(fake_stats(ctx).registrations, 1);
	assert_int_equal(put_at(BASE, 4 * P), 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), 1);
	assert_int_equal(put_at(BASE, 4 * P), 0);
	assert_int_equal(put_at(BASE, 4 * P), -ENOENT);
	assert_true(strlen(virtgpu_userptr_error()) > 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), -ENOENT);
	assert_int_equal(virtgpu_userptr_release(ctx, &a), -ENOENT);
	/* Not the same number once more. */
	b = reg_at(BASE, 4 * P, 0);
	assert_int_not_equal(a.id, b.id);
	assert_int_equal(virtgpu_userptr_release(ctx, &a), -ENOENT);
	assert_int_equal(virtgpu_userptr_release(ctx, &b), 0);
	assert_int_equal(fake.creates, 1);
}

/* What lies in another one shares it, which stays as long as either does. */
static void test_contained(void **state)
{
	struct virtgpu_userptr_reg outer = reg_at(BASE, 8 * P, 0);
	struct virtgpu_userptr_reg inner = reg_at(BASE + 2 * P + 7, 100, 0);

	(void)state;
	assert_int_equal(fake.creates, 1);
	assert_int_equal(inner.piece.bo_handle, outer.piece.bo_handle);
	assert_int_equal(inner.piece.offset, 2 * P + 7);
	assert_int_equal(inner.piece.size, 100);
	assert_int_equal(put_at(BASE, 8 * P), 0);
	assert_int_equal(fake_stats(ctx).held_bytes, 8 * P);
	assert_int_equal(put_at(BASE + 2 * P + 7, 100), 0);
	assert_int_equal(fake_stats(ctx).held_bytes, 0);
	assert_int_equal(fake_stats(ctx).idle_bytes, 8 * P);
	assert_int_equal(fake.nr, 1);
}

/* One page, two blocks of malloc(): one of them may be freed. */
static void test_page_mates(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, 2 * P + 64, 0);
	struct virtgpu_userptr_reg b = reg_at(BASE + 2 * P + 64, 64, 0);
	struct virtgpu_userptr_reg c = reg_at(BASE + 2 * P + 128, 64, VIRTGPU_USERPTR_REG_PIECES);

	(void)state;
	assert_int_equal(fake.creates, 3);
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &b), 1);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &c), 1);
}

/* Without PIECES what overlaps is a resource of its own. */
static void test_overlap_one_piece(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, 4 * P, 0), b = reg_at(BASE + 2 * P, 4 * P, 0);

	(void)state;
	assert_int_not_equal(a.piece.bo_handle, b.piece.bo_handle);
	assert_int_equal(b.nr_pieces, 1);
	assert_int_equal(fake.locked, 8 * P);
}

/* With it what they have in common is registered once. */
static void test_overlap_pieces(void **state)
{
	struct virtgpu_userptr_piece pieces[8];
	struct virtgpu_userptr_reg a = reg_at(BASE, 4 * P, 0);
	struct virtgpu_userptr_reg b = reg_at(BASE + 6 * P, 2 * P + 10, 0);
	struct virtgpu_userptr_reg all = reg_at(BASE + P + 5, 10 * P, VIRTGPU_USERPTR_REG_PIECES);
	uint64_t bytes = 0;
	int i;

	(void)state;
	assert_int_equal(fake.locked, 12 * P);
	assert_int_equal(all.nr_pieces, 4);
	assert_int_equal(virtgpu_userptr_get_pieces(ctx, &all, pieces, 1), 4);
	assert_int_equal(virtgpu_userptr_get_pieces(ctx, &all, pieces, 8), 4);
	assert_memory_equal(&all.piece, &pieces[0], sizeof(pieces[0]));
	assert_int_equal(pieces[0].bo_handle, a.piece.bo_handle);
	assert_int_equal(pieces[0].offset, P + 5);
	assert_int_equal(pieces[0].size, 3 * P - 5);
	assert_int_equal(pieces[2].bo_handle, b.piece.bo_handle);
	assert_int_equal(pieces[2].offset, 0);
	for (i = 0; i < 4; i++) {
		const struct fake_bo *bo = &fake.bos[pieces[i].bo_handle];

		/* Each byte is where it belongs. */
		assert_int_equal(bo->start + pieces[i].offset, all.addr + bytes);
		assert_int_equal(pieces[i].res_handle, pieces[i].bo_handle + 1000);
		bytes += pieces[i].size;
		assert_true(bo->end >= all.addr + bytes);
	}
	assert_int_equal(bytes, 10 * P);

	/* The same again is the same. */
	assert_int_equal(reg_at(BASE + P + 5, 10 * P, VIRTGPU_USERPTR_REG_PIECES).id, all.id);
	assert_int_equal(put_at(BASE, 4 * P), 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &all), 1);
	/* One part of it goes, and it is revoked. */
	fake_unmap(BASE + 7 * P, P);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &all), 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &b), 0);
}

/* Half of the parts are there when one cannot be made: nothing is kept of it. */
static void test_pieces_fail(void **state)
{
	struct virtgpu_userptr_reg reg;

	(void)state;
	reg_at(BASE, 4 * P, 0);
	fake.fail_create = -EFAULT;
	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE + P), 8 * P,
						  VIRTGPU_USERPTR_REG_PIECES, &reg),
			 -EFAULT);
	assert_non_null(strstr(virtgpu_userptr_error(), "mapped"));
	assert_int_equal(fake_stats(ctx).registrations, 1);
	assert_int_equal(fake_stats(ctx).held_bytes, 4 * P);
	assert_int_equal(put_at(BASE, 4 * P), 0);
	assert_int_equal(fake_stats(ctx).held_bytes, 0);
}

/* The host may write to the one, and must not to the other. */
static void test_rdonly(void **state)
{
	struct virtgpu_userptr_reg rw = reg_at(BASE, 4 * P, 0);
	struct virtgpu_userptr_reg ro = reg_at(BASE, 4 * P, VIRTGPU_USERPTR_REG_RDONLY);

	(void)state;
	assert_int_not_equal(rw.piece.bo_handle, ro.piece.bo_handle);
	assert_true(fake.bos[ro.piece.bo_handle].flags & VIRTGPU_USERPTR_RDONLY);
	assert_int_equal(reg_at(BASE + P, P, VIRTGPU_USERPTR_REG_RDONLY).piece.bo_handle,
			 ro.piece.bo_handle);
	assert_int_equal(reg_at(BASE + P, P, 0).piece.bo_handle, rw.piece.bo_handle);
	/* The youngest one goes first. */
	assert_int_equal(put_at(BASE + P, P), 0);
	assert_int_equal(fake_stats(ctx).registrations, 3);
	assert_int_equal(virtgpu_userptr_release(ctx, &rw), 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &ro), 1);
}

static void test_rdonly_refused(void **state)
{
	struct virtgpu_userptr_caps caps = { .struct_size = sizeof(caps) };
	struct virtgpu_userptr_reg reg;

	(void)state;
	virtgpu_userptr_close(ctx);
	fake.create_flags &= ~VIRTGPU_USERPTR_RDONLY;
	ctx = fake_open(NULL);
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_int_equal(caps.flags, VIRTGPU_USERPTR_CAP_WATCH | VIRTGPU_USERPTR_CAP_SHARE);
	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE), P,
						  VIRTGPU_USERPTR_REG_RDONLY, &reg),
			 -EOPNOTSUPP);
	assert_non_null(strstr(virtgpu_userptr_error(), "read-only"));
	assert_int_equal(fake.creates, 0);
}

/* Its owner promises; then it is nobody else's, and not kept. */
static void test_keep(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, 4 * P, VIRTGPU_USERPTR_REG_KEEP);
	struct virtgpu_userptr_reg b = reg_at(BASE, 4 * P, VIRTGPU_USERPTR_REG_KEEP);
	struct virtgpu_userptr_reg c = reg_at(BASE, 4 * P, 0);

	(void)state;
	assert_int_equal(fake.creates, 3);
	assert_int_equal(fake.bos[a.piece.bo_handle].flags, VIRTGPU_USERPTR_KEEP);
	assert_int_equal(virtgpu_userptr_release(ctx, &a), 0);
	assert_int_equal(virtgpu_userptr_release(ctx, &b), 0);
	assert_int_equal(fake.nr, 1);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &c), 1);
}

/* A kernel that cannot watch: only with that promise. */
static void test_unwatched(void **state)
{
	struct virtgpu_userptr_caps caps = { .struct_size = sizeof(caps) };
	struct virtgpu_userptr_reg reg;

	(void)state;
	virtgpu_userptr_close(ctx);
	fake.create_flags = VIRTGPU_USERPTR_KEEP;
	ctx = fake_open(NULL);
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_int_equal(caps.flags, 0);
	assert_int_equal(caps.cache_bytes, 0);
	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE), P, 0, &reg), -EOPNOTSUPP);
	assert_non_null(strstr(virtgpu_userptr_error(), "VIRTGPU_USERPTR_REG_KEEP"));
	reg_at(BASE, P, VIRTGPU_USERPTR_REG_KEEP);
	assert_int_equal(put_at(BASE, P), 0);
	assert_int_equal(fake.nr, 0);
}

/* A kernel that cannot tell whether a registration is good: each is made anew. */
static void test_no_verify(void **state)
{
	struct virtgpu_userptr_caps caps = { .struct_size = sizeof(caps) };
	struct virtgpu_userptr_reg a, b;

	(void)state;
	virtgpu_userptr_close(ctx);
	fake.no_verify = true;
	ctx = fake_open(NULL);
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_false(caps.flags & VIRTGPU_USERPTR_CAP_SHARE);
	a = reg_at(BASE, 4 * P, 0);
	b = reg_at(BASE, 4 * P, VIRTGPU_USERPTR_REG_PIECES);
	assert_int_not_equal(a.piece.bo_handle, b.piece.bo_handle);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), 1);
	assert_int_equal(virtgpu_userptr_release(ctx, &a), 0);
	assert_int_equal(virtgpu_userptr_release(ctx, &b), 0);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake.verifies, 0);
}

struct refused {
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
	int error;
	const char *words;
};

static void test_refused(void **state)
{
	const struct refused cases[] = {
		{ BASE, 0, 0, -EINVAL, "no range" },
		{ BASE, P, 0x80, -EINVAL, "0x80" },
		{ UINT64_MAX - P, 2 * P, 0, -EINVAL, "no range" },
		{ UINT64_MAX - P / 2, P / 4, 0, -EINVAL, "no range" },
		{ BASE, 1 << 20, 0, -E2BIG, "--max-userptr-bytes" },
		{ BASE + 1, (1 << 20) - P, 0, -E2BIG, "smaller parts" },
	};
	struct virtgpu_userptr_reg reg;
	unsigned int i;

	(void)state;
	virtgpu_userptr_close(ctx);
	fake.max_size = (1 << 20) - P;
	ctx = fake_open(NULL);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(cases[i].addr),
							  cases[i].size, cases[i].flags, &reg),
				 cases[i].error);
		assert_non_null(strstr(virtgpu_userptr_error(), cases[i].words));
	}
	assert_int_equal(fake.creates, 0);
	reg_at(BASE, (1 << 20) - P, 0);
}

/* Each error of the kernel comes with what to do. */
static void test_errors(void **state)
{
	const struct refused cases[] = {
		{ .error = -ENOMEM, .words = "memory" },
		{ .error = -EFAULT, .words = "mapped" },
		{ .error = -ENOSPC, .words = "list_limit" },
		{ .error = -E2BIG, .words = "segments" },
		{ .error = -ENOENT, .words = "anew" },
		{ .error = -ENODEV, .words = "gone" },
		{ .error = -EIO, .words = "Input/output error" },
		{ .error = -EOPNOTSUPP, .words = "not supported" },
	};
	struct virtgpu_userptr_reg reg;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake.fail_create = cases[i].error;
		assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE), P, 0, &reg),
				 cases[i].error);
		assert_non_null(strstr(virtgpu_userptr_error(), cases[i].words));
	}
	assert_int_equal(fake_stats(ctx).held_bytes, 0);
	assert_int_equal(fake_stats(ctx).resources, 0);
}

static void test_nothing_here(void **state)
{
	struct virtgpu_userptr *none;

	(void)state;
	fake.create_flags = 0;
	assert_int_equal(context_open(fake.event_fd, NULL, &fake_ops, &none), -EOPNOTSUPP);
	assert_non_null(strstr(virtgpu_userptr_error(), "CONFIG_DRM_VIRTIO_GPU_USERPTR"));
	/* A file that knows no ioctls, and none at all. */
	assert_int_equal(virtgpu_userptr_open(fake.event_fd, NULL, &none), -EOPNOTSUPP);
	assert_int_equal(virtgpu_userptr_open(-1, NULL, &none), -EBADF);
}

/* Programs that were built with an older header give less room. */
static void test_struct_sizes(void **state)
{
	struct virtgpu_userptr_caps caps = {
		.struct_size = offsetof(struct virtgpu_userptr_caps, max_size),
		.max_size = 42,
	};
	struct virtgpu_userptr_stats stats = { .struct_size = sizeof(stats) + 8 };

	(void)state;
	assert_int_equal(virtgpu_userptr_get_caps(ctx, &caps), 0);
	assert_int_equal(caps.alignment, P);
	assert_int_equal(caps.max_size, 42);
	assert_int_equal(virtgpu_userptr_get_stats(ctx, &stats), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_alignment),	   TEST(test_device_alignment),
		TEST(test_counts),	   TEST(test_contained),
		TEST(test_page_mates),	   TEST(test_overlap_one_piece),
		TEST(test_overlap_pieces), TEST(test_pieces_fail),
		TEST(test_rdonly),	   TEST(test_rdonly_refused),
		TEST(test_keep),	   TEST(test_unwatched),
		TEST(test_no_verify),	   TEST(test_refused),
		TEST(test_errors),	   TEST(test_nothing_here),
		TEST(test_struct_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
