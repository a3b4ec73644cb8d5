// SPDX-License-Identifier: MIT
/*
 * test_revoke: memory that is given back
 *
 * Nobody gets a registration of what was there before, whether events were read or
 * not; and clients are told, once.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

#define P FAKE_PAGE
#define BASE 0x100000ul
/* For what comes by itself. */
#define PATIENCE_MS 10000

static struct virtgpu_userptr *ctx;
static struct virtgpu_userptr_reg told[16];
static unsigned int nr_told, nr_events;
static void (*when_told)(const struct virtgpu_userptr_reg *reg);

static void on_revoked(void *data, const struct virtgpu_userptr_reg *reg)
{
	assert_ptr_equal(data, &ctx);
	told[nr_told++] = *reg;
	if (when_told)
		when_told(reg);
}

static void on_event(void *data, const struct drm_event *event)
{
	assert_ptr_equal(data, &ctx);
	assert_int_equal(event->type, 0x80000001);
	nr_events++;
}

static int setup_untold(void **state)
{
	(void)state;
	fake_reset();
	ctx = fake_open(NULL);
	return 0;
}

static int setup(void **state)
{
	const struct virtgpu_userptr_options options = {
		.struct_size = sizeof(options),
		.cache_bytes = VIRTGPU_USERPTR_CACHE_DEFAULT,
		.revoked = on_revoked,
		.event = on_event,
		.data = &ctx,
	};

	(void)state;
	fake_reset();
	ctx = fake_open(&options);
	nr_told = 0;
	nr_events = 0;
	when_told = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtgpu_userptr_close(ctx);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake.locked, 0);
	return 0;
}

static struct virtgpu_userptr_reg reg_at(uint64_t addr, uint64_t size, uint32_t flags)
{
	struct virtgpu_userptr_reg reg;

	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(addr), size, flags, &reg), 0);
	assert_int_equal(fake.bos[reg.piece.bo_handle].state, VIRTGPU_USERPTR_STATE_LIVE);
	assert_false(fake.bos[reg.piece.bo_handle].suspected);
	return reg;
}

static int is_readable(int timeout_ms)
{
	struct pollfd pfd = { .fd = virtgpu_userptr_get_fd(ctx), .events = POLLIN };

	return poll(&pfd, 1, timeout_ms);
}

/* free() and malloc() at the same address, in each way that memory is given back. */
static void test_kept_then_unmapped(void **state)
{
	struct virtgpu_userptr_reg old = reg_at(BASE, 4 * P, 0), new;

	(void)state;
	assert_int_equal(virtgpu_userptr_release(ctx, &old), 0);
	fake_unmap(BASE, 4 * P);
	new = reg_at(BASE, 4 * P, 0);
	assert_int_not_equal(new.id, old.id);
	assert_int_equal(fake_stats(ctx).stale, 1);
	assert_int_equal(fake_stats(ctx).revoked, 1);
	assert_int_equal(fake.nr, 1);
}

static void test_kept_then_dontneed(void **state)
{
	struct virtgpu_userptr_reg old = reg_at(BASE, 4 * P, 0);

	(void)state;
	assert_int_equal(virtgpu_userptr_release(ctx, &old), 0);
	fake_dontneed(BASE + 3 * P, P);
	reg_at(BASE, 4 * P, 0);
	assert_int_equal(fake_stats(ctx).stale, 1);
	assert_int_equal(fake.nr, 1);
}

static void test_held_then_unmapped(void **state)
{
	struct virtgpu_userptr_reg old = reg_at(BASE, 4 * P, 0), new;

	(void)state;
	fake_unmap(BASE, 4 * P);
	new = reg_at(BASE, 4 * P, 0);
	assert_int_not_equal(new.id, old.id);
	/* Told of the old one only, however late. */
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 1);
	assert_int_equal(nr_told, 1);
	assert_int_equal(told[0].id, old.id);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &new), 1);
	assert_int_equal(virtgpu_userptr_release(ctx, &old), -ENOENT);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(virtgpu_userptr_release(ctx, &new), 0);
}

static void test_part_of_a_kept_one(void **state)
{
	struct virtgpu_userptr_reg old = reg_at(BASE, 8 * P, 0), new;

	(void)state;
	assert_int_equal(virtgpu_userptr_release(ctx, &old), 0);
	fake_dontneed(BASE + 6 * P, P);
	new = reg_at(BASE + P, P, 0);
	assert_int_equal(fake.bos[new.piece.bo_handle].end, BASE + 2 * P);
}

static void test_pieces(void **state)
{
	struct virtgpu_userptr_piece pieces[4];
	struct virtgpu_userptr_reg all;
	int i, nr;

	(void)state;
	reg_at(BASE, 4 * P, 0);
	fake_dontneed(BASE, P);
	all = reg_at(BASE + 2 * P, 8 * P, VIRTGPU_USERPTR_REG_PIECES);
	nr = virtgpu_userptr_get_pieces(ctx, &all, pieces, 4);
	assert_int_equal(nr, 1);
	for (i = 0; i < nr; i++)
		assert_int_equal(fake.bos[pieces[i].bo_handle].state, VIRTGPU_USERPTR_STATE_LIVE);
}

/* The kernel cannot tell: then it is as good as gone for anybody new, and stays. */
static void test_cannot_tell(void **state)
{
	struct virtgpu_userptr_reg old = reg_at(BASE, 4 * P, 0), new;

	(void)state;
	fake.busy = true;
	new = reg_at(BASE, 4 * P, 0);
	assert_int_not_equal(new.piece.bo_handle, old.piece.bo_handle);
	fake.busy = false;
	assert_int_equal(virtgpu_userptr_is_live(ctx, &old), 1);
	assert_int_equal(reg_at(BASE, 4 * P, 0).id, new.id);
	assert_int_equal(virtgpu_userptr_release(ctx, &old), 0);
	assert_int_equal(fake.nr, 1);
}

static uint64_t unmapped_at;

static void unmap_once(uint32_t handle)
{
	(void)handle;
	fake.on_verify = NULL;
	fake_unmap(unmapped_at, P);
}

/* Given back in the middle of the look-up. */
static void test_during_a_look_up(void **state)
{
	struct virtgpu_userptr_reg old = reg_at(BASE, 4 * P, 0), new;

	(void)state;
	unmapped_at = BASE;
	fake.on_verify = unmap_once;
	new = reg_at(BASE, 4 * P, 0);
	assert_int_not_equal(new.id, old.id);
}

/* Its event is read before anybody knows of the resource. */
static void unmap_what_was_created(void)
{
	fake.on_created = NULL;
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(fake.nr_events, 0);
}

static void test_event_comes_early(void **state)
{
	(void)state;
	fake.on_created = unmap_what_was_created;
	reg_at(BASE, P, 0);
	assert_null(fake.on_created);
	assert_int_equal(fake.creates, 2);
	assert_int_equal(fake.nr, 1);
}

/* The first part goes, and is known to have, while the second one is looked at. */
static void unmap_first_part(uint32_t handle)
{
	if (handle == unmapped_at)
		return;
	fake.on_verify = NULL;
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 1);
}

static void test_first_part_goes(void **state)
{
	struct virtgpu_userptr_piece pieces[4];
	struct virtgpu_userptr_reg all;
	int i;

	(void)state;
	unmapped_at = reg_at(BASE, 4 * P, 0).piece.bo_handle;
	reg_at(BASE + 4 * P, 4 * P, 0);
	fake.on_verify = unmap_first_part;
	all = reg_at(BASE, 8 * P, VIRTGPU_USERPTR_REG_PIECES);
	assert_null(fake.on_verify);
	assert_int_equal(virtgpu_userptr_get_pieces(ctx, &all, pieces, 4), 2);
	for (i = 0; i < 2; i++)
		assert_int_equal(fake.bos[pieces[i].bo_handle].state, VIRTGPU_USERPTR_STATE_LIVE);
}

static void test_event(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, 4 * P, 0), b = reg_at(BASE + P, P, 0);
	struct virtgpu_userptr_reg c = reg_at(BASE + 10 * P, P, 0);

	(void)state;
	assert_int_equal(is_readable(0), 0);
	fake_send(0);
	fake_unmap(BASE + 2 * P, P);
	assert_int_equal(is_readable(0), 1);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 2);
	assert_int_equal(nr_told, 2);
	assert_true((told[0].id == a.id && told[1].id == b.id) ||
		    (told[0].id == b.id && told[1].id == a.id));
	assert_int_equal(nr_events, 1);
	assert_int_equal(fake.nr, 1);
	assert_int_equal(fake_stats(ctx).registrations, 1);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &c), 1);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(is_readable(0), 0);
}

/* Memory that is kept goes when it is given back: handle, books and all. */
static void test_event_of_a_kept_one(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, 4 * P, 0);

	(void)state;
	assert_int_equal(virtgpu_userptr_release(ctx, &a), 0);
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake_stats(ctx).idle_bytes, 0);
}

/* By the time that it is read the handle is another resource's. */
static void test_event_of_a_handle_used_again(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, P, 0), b;

	(void)state;
	assert_int_equal(virtgpu_userptr_release(ctx, &a), 0);
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_trim(ctx, 0), 0);
	b = reg_at(BASE + 10 * P, P, 0);
	assert_int_equal(b.piece.bo_handle, a.piece.bo_handle);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &b), 1);
	assert_int_equal(nr_told, 0);
}

static void test_own_reader(void **state)
{
	struct drm_virtgpu_event_userptr event = {
		.base.type = VIRTGPU_EVENT_USERPTR_REVOKED,
		.base.length = sizeof(event),
	};
	const struct drm_event other = { .type = 0x80000001, .length = sizeof(other) };
	struct virtgpu_userptr_reg a = reg_at(BASE, P, 0);

	(void)state;
	event.bo_handle = a.piece.bo_handle;
	event.res_handle = a.piece.res_handle;
	assert_int_equal(virtgpu_userptr_handle_event(ctx, &other), 0);
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_handle_event(ctx, &event.base), 1);
	assert_int_equal(nr_told, 1);
	assert_int_equal(nr_events, 0);
}

/* Until its client knows, the resource id must not become another one's. */
static void test_handle_stays_until_told(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, P, 0), b;

	(void)state;
	fake_unmap(BASE, P);
	b = reg_at(BASE, P, 0);
	assert_int_not_equal(a.piece.bo_handle, b.piece.bo_handle);
	assert_true(fake.bos[a.piece.bo_handle].used);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 1);
	assert_false(fake.bos[a.piece.bo_handle].used);
}

static void while_told(const struct virtgpu_userptr_reg *reg)
{
	struct virtgpu_userptr_piece piece;

	assert_true(fake.bos[reg->piece.bo_handle].used);
	assert_int_equal(virtgpu_userptr_get_pieces(ctx, reg, &piece, 1), 1);
	assert_int_equal(piece.bo_handle, reg->piece.bo_handle);
	assert_int_equal(virtgpu_userptr_release(ctx, reg), -ENOENT);
	assert_int_equal(virtgpu_userptr_deregister(ctx, fake_addr(reg->addr), reg->size), -ENOENT);
	reg_at(reg->addr, reg->size, 0);
}

/* Who is told may do anything. */
static void test_calls_while_told(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, P, 0);

	(void)state;
	reg_at(BASE, P, 0);
	when_told = while_told;
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 1);
	assert_int_equal(nr_told, 1);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), -ENOENT);
	assert_int_equal(fake_stats(ctx).registrations, 1);
}

/* Deregistered before it was told: it knows. */
static void test_no_need_to_tell(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, P, 0);

	(void)state;
	fake_unmap(BASE, P);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), 0);
	assert_int_equal(is_readable(PATIENCE_MS), 1);
	assert_int_equal(virtgpu_userptr_release(ctx, &a), 0);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(fake.nr, 0);
}

/* Nobody is told: until it is deregistered, or other memory is registered there. */
static void test_untold(void **state)
{
	struct virtgpu_userptr_reg a = reg_at(BASE, P, 0), b = reg_at(BASE + 10 * P, P, 0);

	(void)state;
	fake_unmap(BASE, P);
	fake_unmap(BASE + 10 * P, P);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(fake.nr, 2);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &a), 0);
	assert_int_equal(virtgpu_userptr_release(ctx, &a), 0);
	assert_int_equal(fake.nr, 1);
	reg_at(BASE + 10 * P + 8, 8, 0);
	assert_int_equal(virtgpu_userptr_is_live(ctx, &b), -ENOENT);
	assert_int_equal(fake.nr, 1);
}

/* There is no room for its event: it is asked after. */
static void test_without_event(void **state)
{
	struct virtgpu_userptr_reg a;

	(void)state;
	fake.event_room = 0;
	a = reg_at(BASE, P, 0);
	assert_int_equal(fake_stats(ctx).unannounced, 1);
	/* Nothing has happened, and it is asked again. */
	assert_int_equal(is_readable(PATIENCE_MS), 1);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(is_readable(0), 0);
	fake_unmap(BASE, P);
	assert_int_equal(fake.nr_events, 0);
	assert_int_equal(is_readable(PATIENCE_MS), 1);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 1);
	assert_int_equal(told[0].id, a.id);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake_stats(ctx).unannounced, 0);
}

/* Nobody dispatches, and nothing piles up: each new one looks after two others. */
static void test_without_event_or_dispatch(void **state)
{
	unsigned int i;

	(void)state;
	fake.event_room = 0;
	for (i = 0; i < 1000; i++) {
		struct virtgpu_userptr_reg reg = reg_at(BASE + 10 * i * P, P, 0);

		assert_int_equal(virtgpu_userptr_release(ctx, &reg), 0);
		fake_unmap(reg.addr, reg.size);
		assert_true(fake.nr < 4);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_kept_then_unmapped),
		TEST(test_kept_then_dontneed),
		TEST(test_held_then_unmapped),
		TEST(test_part_of_a_kept_one),
		TEST(test_pieces),
		TEST(test_cannot_tell),
		TEST(test_during_a_look_up),
		TEST(test_first_part_goes),
		TEST(test_event_comes_early),
		TEST(test_event),
		TEST(test_event_of_a_kept_one),
		TEST(test_event_of_a_handle_used_again),
		TEST(test_own_reader),
		TEST(test_handle_stays_until_told),
		TEST(test_calls_while_told),
		TEST(test_no_need_to_tell),
		cmocka_unit_test_setup_teardown(test_untold, setup_untold, teardown),
		TEST(test_without_event),
		TEST(test_without_event_or_dispatch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
