// SPDX-License-Identifier: MIT
/*
 * test_vu_rings: rings of guests that do as they should
 */
#include "tests/vhost/vhost_test.h"

static void serves_both_rings(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	assert_int_equal(f->dev.features, DEVICE_FEATURES);
	expect_served(f, 0);
	expect_served(f, 1);
	assert_int_equal(f->dev.commands[0], 1);
	assert_int_equal(f->dev.commands[1], 1);
	assert_int_equal(f->dev.last_capacity, 0x40);
	assert_int_equal(f->dev.resets, 0);
}

static void a_call_pipe_as_uml_has_it(void **state)
{
	struct fixture *f = *state;
	unsigned char bytes[32];
	int fds[2];

	start_rings(f);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_CALL, 0, fds[1]));
	close(fds[1]);
	/* What the guest may have missed is said on the new one. */
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 8);
	offer(f, 0, 0, "x");
	kick(f, 0);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 8);
	close(fds[0]);
	/* A reader that has gone is no reason to stop. */
	offer(f, 0, 0, "y");
	kick(f, 0);
	assert_string_equal(answer(f, 0, 0), "Y");
}

static void a_full_call_pipe_does_not_block(void **state)
{
	struct fixture *f = *state;
	unsigned int i;
	int fds[2];

	start_rings(f);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_CALL, 0, fds[1]));
	close(fds[1]);
	for (i = 0; i < 1000; i++) {
		offer(f, 0, 0, "x");
		kick(f, 0);
		ring_take_used(&f->rings[0]);
	}
	close(fds[0]);
}

static void one_interrupt_for_a_batch(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	offer(f, 0, 0, "a");
	offer(f, 0, 2, "b");
	offer(f, 0, 4, "c");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 3);
	assert_int_equal(signals(f->call[0]), 1);
	f->rings[0].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	offer(f, 0, 6, "d");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 4);
	assert_int_equal(signals(f->call[0]), 0);
}

static void a_full_ring_is_served_whole(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	for (i = 0; i < RING_SIZE; i++) {
		ring_desc(&f->rings[0], i, RING_DATA, 1, 0, 0);
		ring_offer(&f->rings[0], (uint16_t)i);
	}
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), RING_SIZE);
}

/* Both rings were kicked; what is taken with the first event of the first? */
static unsigned int served_in_a_round(struct fixture *f)
{
	const uint64_t one = 1;
	unsigned int round;

	offer(f, 1, 0, "other");
	assert_int_equal(write(f->kick[0], &one, sizeof(one)), sizeof(one));
	assert_int_equal(write(f->kick[1], &one, sizeof(one)), sizeof(one));
	while (!f->dev.commands[0])
		assert_int_equal(vhost_user_server_step(f->server, 0), 1);
	round = f->dev.commands[0];
	/* The other ring has its turn before the rest. */
	while (!f->dev.commands[1])
		assert_int_equal(vhost_user_server_step(f->server, 0), 1);
	assert_int_equal(f->dev.commands[0], round);
	pump(f);
	return round;
}

static void big_requests_do_not_keep_the_server(void **state)
{
	const uint32_t size = 8u << 20;
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	for (i = 0; i < 6; i++) {
		ring_desc(&f->rings[0], i, RING_DATA, size, 0, 0);
		ring_offer(&f->rings[0], (uint16_t)i);
	}
	/* As many as the machine copies in 5 ms. */
	assert_true(served_in_a_round(f) <= 6);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 6);
}

static void long_requests_do_not_keep_the_server(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	f->dev.spend_ms = 10;
	for (i = 0; i < 6; i += 2)
		offer(f, 0, i, "long");
	assert_int_equal(served_in_a_round(f), 1);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 3);
}

/* Both have more: the one after the other. */
static void what_is_left_of_one_ring_at_a_time(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	f->dev.no_room = true;
	for (i = 0; i < 2; i++) {
		offer(f, i, 0, "left");
		kick(f, i);
	}
	f->dev.no_room = false;
	device_news(&f->dev, NEWS_ROOM);
	for (i = 0; i < 2; i++) {
		while (f->dev.commands[0] + f->dev.commands[1] == i)
			assert_int_equal(vhost_user_server_step(f->server, 0), 1);
		assert_int_equal(f->dev.commands[0] + f->dev.commands[1], i + 1);
	}
	pump(f);
	assert_string_equal(answer(f, 0, 0), "LEFT");
	assert_string_equal(answer(f, 1, 0), "LEFT");
}

static void late_answers_in_another_order(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	f->dev.hold = true;
	offer(f, 0, 0, "a");
	offer(f, 0, 2, "b");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	assert_int_equal(signals(f->call[0]), 0);
	answer_pending(&f->dev, "LATE");
	pump(f);
	assert_int_equal(ring_take_used(&f->rings[0]).id, 2);
	assert_int_equal(ring_take_used(&f->rings[0]).id, 0);
	assert_string_equal(answer(f, 0, 0), "LATE");
	assert_int_equal(signals(f->call[0]), 1);
}

static void requests_from_before_the_kick_descriptor(void **state)
{
	struct fixture *f = *state;

	offer(f, 0, 0, "early");
	start_rings(f);
	assert_string_equal(answer(f, 0, 0), "EARLY");
}

static void a_disabled_ring_waits(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_int_equal(f->dev.resets, 0);
	offer(f, 0, 0, "wait");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	expect_served(f, 1);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_string_equal(answer(f, 0, 0), "WAIT");
	assert_int_equal(f->dev.resets, 0);
}

static void rings_start_enabled_without_protocol_features(void **state)
{
	struct fixture *f = *state;
	uint64_t features = DEVICE_FEATURES | BIT(32), index = 0;
	struct vhost_user_vring_state num = { 0, RING_SIZE };
	struct vhost_user_vring_addr addr = {
		.desc = RING_USER_BASE + ring_desc_at(&f->rings[0]),
		.used = RING_USER_BASE + ring_used_at(&f->rings[0]),
		.avail = RING_USER_BASE + ring_avail_at(&f->rings[0]),
	};
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region region;
	} memory = { { .nr = 1 }, { RING_GUEST_BASE, RING_MEMORY_SIZE, RING_USER_BASE, 0 } };

	send_message(f, VHOST_USER_SET_FEATURES, 0, &features, sizeof(features));
	send_message_fds(f, VHOST_USER_SET_MEM_TABLE, 0, &memory, sizeof(memory), &f->guest.fd, 1);
	send_message(f, VHOST_USER_SET_VRING_NUM, 0, &num, sizeof(num));
	send_message(f, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr));
	send_message_fds(f, VHOST_USER_SET_VRING_CALL, 0, &index, sizeof(index), &f->call[0], 1);
	/* Nobody kicks for what is there already. */
	offer(f, 0, 0, "early");
	send_message_fds(f, VHOST_USER_SET_VRING_KICK, 0, &index, sizeof(index), &f->kick[0], 1);
	assert_string_equal(answer(f, 0, 0), "EARLY");
	ring_take_used(&f->rings[0]);
	expect_served(f, 0);
	assert_false(reply_waits(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(serves_both_rings),
		TEST(a_call_pipe_as_uml_has_it),
		TEST(a_full_call_pipe_does_not_block),
		TEST(one_interrupt_for_a_batch),
		TEST(a_full_ring_is_served_whole),
		TEST(big_requests_do_not_keep_the_server),
		TEST(long_requests_do_not_keep_the_server),
		TEST(what_is_left_of_one_ring_at_a_time),
		TEST(late_answers_in_another_order),
		TEST(requests_from_before_the_kick_descriptor),
		TEST(a_disabled_ring_waits),
		TEST(rings_start_enabled_without_protocol_features),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_rings", tests, NULL, NULL);
}
