// SPDX-License-Identifier: MIT
/*
 * test_vu_bad_rings: rings of hostile guests, and values that no ring has
 */
#include "tests/vhost/vhost_test.h"

static void a_bad_chain_is_handed_back(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	ring_desc(&f->rings[0], 0, RING_MEMORY_SIZE, 16, N, 1);
	ring_desc(&f->rings[0], 1, RING_DATA, 16, W, 0);
	ring_offer(&f->rings[0], 0);
	kick(f, 0);
	assert_int_equal(ring_take_used(&f->rings[0]).len, 0);
	assert_int_equal(signals(f->call[0]), 1);
	assert_int_equal(f->dev.commands[0], 0);
	expect_served(f, 0);
}

static void a_broken_ring_stops_alone(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_vring_state base = { 0, 0 };

	start_rings(f);
	f->rings[0].avail->idx = 1000;
	kick(f, 0);
	assert_int_equal(signals(f->err[0]), 1);
	kick(f, 0);
	assert_int_equal(signals(f->err[0]), 0); /* said once */
	expect_served(f, 1);
	assert_int_equal(signals(f->err[1]), 0);
	/* Stopped and set up again it works. */
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
	test_ring_init(&f->rings[0], &f->guest, 0, RING_SIZE);
	configure_ring(f, 0);
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
	expect_served(f, 0);
}

static void send_state(struct fixture *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_vring_state vring = { index, num };

	send_message(f, request, 0, &vring, sizeof(vring));
}

static void send_addr(struct fixture *f, uint64_t desc)
{
	struct vhost_user_vring_addr addr = {
		.desc = desc,
		.used = RING_USER_BASE + ring_used_at(&f->rings[0]),
		.avail = RING_USER_BASE + ring_avail_at(&f->rings[0]),
	};

	send_message(f, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr));
}

/* What front ends pass on without a look, and without asking for an answer. */
static void a_ring_that_a_guest_set_up_badly(void **state)
{
	static const struct {
		uint32_t size;
		uint64_t desc;
		unsigned int refused;
	} bad[] = {
		{ RING_SIZE, RING_USER_BASE + 8, 2 },
		{ RING_SIZE, RING_USER_BASE + RING_MEMORY_SIZE, 2 },
		{ RING_SIZE, 0, 2 },
		{ 192, RING_USER_BASE, 3 },
		{ 4096, RING_USER_BASE, 3 },
		{ 0, RING_USER_BASE, 3 },
	};
	struct vhost_user_vring_state base;
	struct fixture *f = *state;
	struct capture capture;
	uint64_t index = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		start_rings(f);
		send_state(f, VHOST_USER_GET_VRING_BASE, 0, 0);
		read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
		capture_begin();
		send_state(f, VHOST_USER_SET_VRING_NUM, 0, bad[i].size);
		send_addr(f, bad[i].desc);
		send_message_fds(f, VHOST_USER_SET_VRING_KICK, 0, &index, sizeof(index),
				 &f->kick[0], 1);
		capture_end(&capture);
		assert_true(vhost_user_server_connected(f->server));
		assert_false(reply_waits(f));
		assert_int_equal(captured(&capture, "ring 0 cannot be used"), 1);
		assert_int_equal(captured(&capture, "\n"), 1);
		assert_int_equal(signals(f->err[0]), bad[i].refused);
		/* Said again to a descriptor that comes late. */
		assert_false(refused_fd(f, VHOST_USER_SET_VRING_ERR, 0, f->err[0]));
		assert_int_equal(signals(f->err[0]), 1);
		offer(f, 0, 0, "x");
		kick(f, 0);
		signals(f->kick[0]);
		assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
		expect_served(f, 1);
		/* The guest does better. */
		test_ring_init(&f->rings[0], &f->guest, 0, RING_SIZE);
		configure_ring(f, 0);
		assert_false(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
		expect_served(f, 0);
		assert_int_equal(signals(f->err[0]), 0);
		disconnect(f);
		reconnect(f);
	}
}

static void ring_numbers_out_of_range(void **state)
{
	static const uint32_t bad[] = { 2, 255, 0x80000000, 0xffffffff };
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(refused_state(f, VHOST_USER_SET_VRING_NUM, bad[i], RING_SIZE));
		assert_true(refused_state(f, VHOST_USER_SET_VRING_BASE, bad[i], 0));
		assert_true(refused_state(f, VHOST_USER_SET_VRING_ENABLE, bad[i], 1));
		assert_true(refused_addr(f, bad[i], 0));
		assert_true(refused_fd(f, VHOST_USER_SET_VRING_KICK, bad[i], f->kick[0]));
		assert_true(refused_fd(f, VHOST_USER_SET_VRING_CALL, bad[i], f->call[0]));
		assert_true(refused_fd(f, VHOST_USER_SET_VRING_ERR, bad[i], f->err[0]));
	}
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_CALL, 1ull << 32, f->call[0]));
	expect_served(f, 0);
}

static void ring_values_out_of_range(void **state)
{
	struct fixture *f = *state;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	/* In a wrong order: no size, no memory, no address. */
	assert_true(refused_addr(f, 0, 0));
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_NUM, 0, RING_SIZE));
	assert_true(refused_addr(f, 0, 0));
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
	assert_false(refused_memory(f, RING_MEMORY_SIZE));
	assert_true(refused_state(f, VHOST_USER_SET_VRING_NUM, 0, 0));
	assert_true(refused_state(f, VHOST_USER_SET_VRING_NUM, 0, 100));
	assert_true(refused_state(f, VHOST_USER_SET_VRING_BASE, 0, 65536));
	assert_true(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 2));
	assert_true(refused_addr(f, 0, VHOST_USER_VRING_F_LOG));
	/* What is active is not changed under the guest. */
	start_rings(f);
	assert_true(refused_state(f, VHOST_USER_SET_VRING_NUM, 0, 8));
	assert_true(refused_state(f, VHOST_USER_SET_VRING_BASE, 0, 8));
	assert_true(refused_addr(f, 0, 0));
	assert_true(refused_u64(f, VHOST_USER_SET_FEATURES, BIT(30)));
	expect_served(f, 0);
}

static void kick_descriptors_that_are_none(void **state)
{
	struct fixture *f = *state;
	uint64_t none = VHOST_USER_VRING_NOFD_MASK;
	int fds[2];

	start_rings(f);
	assert_true(refused_u64(f, VHOST_USER_SET_VRING_KICK, none));
	/* A plain file cannot be waited for. */
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->guest.fd));
	expect_served(f, 0);
	/* A pipe works, until it hangs up; then it must not spin. */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, fds[0]));
	close(fds[0]);
	offer(f, 0, 0, "pipe");
	assert_int_equal(write(fds[1], "12345678", 8), 8);
	pump(f);
	assert_string_equal(answer(f, 0, 0), "PIPE");
	close(fds[1]);
	pump(f);
	expect_served(f, 1);
}

static void call_and_error_descriptors_may_be_absent(void **state)
{
	struct fixture *f = *state;
	int path_only;

	start_rings(f);
	/* A descriptor that nothing can be done with is none either. */
	path_only = open("/", O_PATH | O_CLOEXEC);
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_CALL, 0, path_only));
	close(path_only);
	assert_false(refused_u64(f, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NOFD_MASK));
	assert_false(refused_u64(f, VHOST_USER_SET_VRING_ERR, VHOST_USER_VRING_NOFD_MASK));
	assert_true(
		refused_fd(f, VHOST_USER_SET_VRING_CALL, VHOST_USER_VRING_NOFD_MASK, f->call[0]));
	offer(f, 0, 0, "quiet");
	kick(f, 0);
	assert_string_equal(answer(f, 0, 0), "QUIET");
	assert_int_equal(signals(f->call[0]), 0);
	f->rings[0].avail->idx = 1000;
	kick(f, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_bad_chain_is_handed_back),
		TEST(a_broken_ring_stops_alone),
		TEST(a_ring_that_a_guest_set_up_badly),
		TEST(ring_numbers_out_of_range),
		TEST(ring_values_out_of_range),
		TEST(kick_descriptors_that_are_none),
		TEST(call_and_error_descriptors_may_be_absent),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_bad_rings", tests, NULL, NULL);
}
