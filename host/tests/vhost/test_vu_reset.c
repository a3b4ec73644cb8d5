// SPDX-License-Identifier: MIT
/*
 * test_vu_reset: rings and devices that stop and start again
 */
#include "tests/vhost/vhost_test.h"

/* GET_VRING_BASE is all that QEMU sends when the guest resets its device. */
static void stopping_the_last_ring_resets_the_device(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_vring_state base = { 0, 0 };

	start_rings(f);
	expect_served(f, 0);
	f->dev.hold = true;
	offer(f, 1, 0, "pending");
	kick(f, 1);
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	assert_int_equal(read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base)),
			 sizeof(base));
	assert_int_equal(base.index, 0);
	assert_int_equal(base.num, 1);
	assert_int_equal(f->dev.resets, 0);
	base.index = 1;
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
	assert_int_equal(base.num, 1);
	assert_int_equal(f->dev.resets, 1);
	/* What was pending is handed back, before the ring stops. */
	assert_int_equal(f->dev.nr_pending, 0);
	assert_int_equal(ring_take_used(&f->rings[1]).len, 0);
	/* Kicks do nothing now. */
	offer(f, 0, 0, "x");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	/* And both start again, where they were. */
	f->dev.hold = false;
	f->base[0] = 1;
	f->base[1] = 1;
	start_rings(f);
	assert_string_equal(answer(f, 0, 0), "X");
	ring_take_used(&f->rings[0]);
	expect_served(f, 0);
	expect_served(f, 1);
	assert_int_equal(f->dev.features, DEVICE_FEATURES);
}

static void late_answers_of_a_stopped_ring_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_vring_state base = { 0, 0 };

	start_rings(f);
	f->dev.hold = true;
	offer(f, 0, 0, "pending");
	kick(f, 0);
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
	/* The ring starts anew; the answer belongs to its former life. */
	test_ring_init(&f->rings[0], &f->guest, 0, RING_SIZE);
	configure_ring(f, 0);
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
	/* Even while the same head is under way again. */
	offer(f, 0, 0, "again");
	kick(f, 0);
	assert_int_equal(f->dev.nr_pending, 2);
	device_answer(&f->dev, f->dev.pending[0], "LATE", 4);
	pump(f);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	f->dev.pending[0] = f->dev.pending[1];
	f->dev.nr_pending = 1;
	answer_pending(&f->dev, "ANSWER");
	pump(f);
	assert_int_equal(ring_take_used(&f->rings[0]).len, 6);
	assert_string_equal(answer(f, 0, 0), "ANSWER");
	f->dev.hold = false;
	pump(f);
	expect_served(f, 0);
}

/* All that User-Mode Linux sends when a driver goes, and when it comes back. */
static void disabling_all_rings_resets_the_device(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	f->dev.hold = true;
	offer(f, 0, 0, "pending");
	kick(f, 0);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 0));
	assert_int_equal(f->dev.resets, 0);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_int_equal(f->dev.resets, 1);
	assert_int_equal(ring_take_used(&f->rings[0]).len, 0);
	f->dev.hold = false;
	for (i = 0; i < 2; i++)
		test_ring_init(&f->rings[i], &f->guest, i, RING_SIZE);
	start_rings(f);
	expect_served(f, 0);
	expect_served(f, 1);
}

static void enabling_again_gives_the_device_its_features(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 0));
	assert_int_equal(f->dev.features, 0);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(f->dev.features, DEVICE_FEATURES);
	expect_served(f, 0);
}

static void reset_messages(void **state)
{
	static const uint32_t requests[] = { VHOST_USER_RESET_OWNER, VHOST_USER_RESET_DEVICE };
	struct fixture *f = *state;
	unsigned int i, resets;

	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		test_ring_init(&f->rings[0], &f->guest, 0, RING_SIZE);
		test_ring_init(&f->rings[1], &f->guest, 1, RING_SIZE);
		start_rings(f);
		resets = f->dev.resets;
		assert_false(refused(f, requests[i], NULL, 0));
		assert_true(f->dev.resets > resets);
		offer(f, 0, 0, "x");
		kick(f, 0);
		assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
		signals(f->kick[0]);
	}
}

static void a_second_guest_after_the_first(void **state)
{
	struct fixture *f = *state;
	unsigned int i, round;

	for (round = 0; round < 3; round++) {
		start_rings(f);
		f->dev.hold = false;
		expect_served(f, 0);
		f->dev.hold = true;
		for (i = 0; i < 2; i++) {
			offer(f, i, 0, "pending");
			kick(f, i);
		}
		disconnect(f);
		/* Nothing of the first guest is left, nothing is written to it. */
		assert_int_equal(f->dev.resets, round + 1);
		assert_int_equal(f->dev.nr_pending, 0);
		assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
		assert_int_equal(ring_used_waiting(&f->rings[1]), 0);
		assert_null(guest_memory_pointer(f->gm, RING_GUEST_BASE, 1));
		assert_int_equal(open_fds(), f->fds);
		reconnect(f);
	}
}

static bool refused_base(struct fixture *f, uint32_t num)
{
	return refused_state(f, VHOST_USER_SET_VRING_BASE, 0, num);
}

/* One of ours was killed and started anew, or it is somebody else's ring. */
static void a_ring_that_we_did_not_stop_is_not_resumed(void **state)
{
	struct vhost_user_vring_state base = { 0, 4 };
	struct fixture *f = *state;
	struct capture capture;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	capture_begin();
	assert_true(refused_base(f, 4));
	capture_end(&capture);
	assert_int_equal(captured(&capture, "ring 0 cannot go on at 4"), 1);
	assert_false(refused_base(f, 0));
	/* If it cannot be told so. */
	send_message(f, VHOST_USER_SET_VRING_BASE, 0, &base, sizeof(base));
	assert_true(hung_up(f));
}

static void a_ring_that_we_stopped_is_resumed(void **state)
{
	struct vhost_user_vring_state base = { 0, 0 };
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	expect_served(f, 0);
	/* One is lost: the device goes on, for the other ring. */
	f->dev.hold = true;
	offer(f, 0, 0, "pending");
	kick(f, 0);
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
	assert_int_equal(base.num, 2);
	assert_true(refused_base(f, 1));
	assert_true(refused_base(f, 3));
	assert_false(refused_base(f, 2));
	/* Whoever comes next cannot know that. */
	disconnect(f);
	reconnect(f);
	negotiate(f, DEVICE_FEATURES | BIT(30));
	assert_true(refused_base(f, 2));
	disconnect(f);
	reconnect(f);
	/* And here none is, whether the front end stops the ring or goes. */
	for (i = 0; i < 2; i++) {
		f->dev.hold = false;
		start_rings(f);
		expect_served(f, 0);
		f->dev.hold = true;
		offer(f, 0, 0, "pending");
		kick(f, 0);
		answer_pending(&f->dev, "");
		pump(f);
		if (i) {
			send_message(f, VHOST_USER_RESET_DEVICE, 0, NULL, 0);
			assert_false(refused_base(f, 2));
		}
		disconnect(f);
		reconnect(f);
		negotiate(f, DEVICE_FEATURES | BIT(30));
		assert_true(refused_base(f, 1));
		assert_false(refused_base(f, 2));
		assert_false(refused_base(f, 0));
		disconnect(f);
		reconnect(f);
	}
	/* Some were when it went. */
	start_rings(f);
	offer(f, 0, 0, "pending");
	kick(f, 0);
	disconnect(f);
	reconnect(f);
	negotiate(f, DEVICE_FEATURES | BIT(30));
	assert_true(refused_base(f, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stopping_the_last_ring_resets_the_device),
		TEST(late_answers_of_a_stopped_ring_are_dropped),
		TEST(disabling_all_rings_resets_the_device),
		TEST(enabling_again_gives_the_device_its_features),
		TEST(reset_messages),
		TEST(a_second_guest_after_the_first),
		TEST(a_ring_that_we_did_not_stop_is_not_resumed),
		TEST(a_ring_that_we_stopped_is_resumed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_reset", tests, NULL, NULL);
}
