// SPDX-License-Identifier: MIT
/*
 * test_vu_messages: messages, good, bad and in pieces
 */
#include <sys/resource.h>

#include "tests/vhost/vhost_test.h"

static void configuration_space(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vhost_user_config config;
		unsigned char data[VHOST_USER_MAX_CONFIG_SIZE];
	} m, reply;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	memset(&m, 0, sizeof(m));
	m.config = (struct vhost_user_config){ .offset = 4, .size = 20 };
	send_message(f, VHOST_USER_GET_CONFIG, 0, &m, sizeof(m.config) + 20);
	assert_int_equal(read_reply(f, VHOST_USER_GET_CONFIG, &reply, sizeof(reply)),
			 sizeof(m.config) + 20);
	assert_int_equal(reply.config.offset, 4);
	assert_int_equal(reply.config.size, 20);
	assert_memory_equal(reply.data, f->dev.config + 4, 16);
	assert_memory_equal(reply.data + 16, "\0\0\0\0", 4);
	/* The largest there is. */
	m.config = (struct vhost_user_config){ .offset = 0, .size = VHOST_USER_MAX_CONFIG_SIZE };
	send_message(f, VHOST_USER_GET_CONFIG, 0, &m, sizeof(m));
	assert_int_equal(read_reply(f, VHOST_USER_GET_CONFIG, &reply, sizeof(reply)), sizeof(m));
	m.config = (struct vhost_user_config){ .offset = 4, .size = 4 };
	memcpy(m.data, "wxyz", 4);
	assert_false(refused(f, VHOST_USER_SET_CONFIG, &m, sizeof(m.config) + 4));
	assert_memory_equal(f->dev.config + 4, "wxyz", 4);
}

static void bad_configuration_messages(void **state)
{
	static const struct {
		uint32_t offset, size, payload;
	} bad[] = {
		{ 0, 4, 12 },	       { 0, 4, 15 },
		{ 0, 4, 17 },	       { 0, 0, 11 },
		{ 0, 0, 0 },	       { 0, 257, 12 + 257 },
		{ 1, 256, 12 + 256 },  { 0xffffffff, 4, 16 },
		{ 0, 0xffffffff, 11 }, { 0xfffffffc, 256, 12 + 256 },
	};
	struct fixture *f = *state;
	unsigned char before[20];
	struct {
		struct vhost_user_config config;
		unsigned char data[300];
	} m;
	unsigned int i;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	memset(&m, 0, sizeof(m));
	memcpy(before, f->dev.config, sizeof(before));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		m.config.offset = bad[i].offset;
		m.config.size = bad[i].size;
		send_message(f, VHOST_USER_GET_CONFIG, 0, &m, bad[i].payload);
		assert_int_equal(read_reply(f, VHOST_USER_GET_CONFIG, NULL, 0), 0);
		assert_true(refused(f, VHOST_USER_SET_CONFIG, &m, bad[i].payload));
	}
	assert_memory_equal(before, f->dev.config, sizeof(before));
	assert_int_equal(ask_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
}

static void the_back_end_request_descriptor(void **state)
{
	struct fixture *f = *state;
	unsigned int fds;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	fds = open_fds();
	assert_false(refused_fds(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &f->err[0], 1));
	assert_int_equal(open_fds(), fds + 1);
	assert_false(refused_fds(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &f->err[1], 1));
	assert_int_equal(open_fds(), fds + 1);
	assert_true(refused(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0));
}

static void features_that_were_not_offered(void **state)
{
	struct fixture *f = *state;

	negotiate(f, BIT(30) | BIT(32));
	assert_true(refused_u64(f, VHOST_USER_SET_FEATURES, BIT(30) | BIT(29)));
	assert_true(refused_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, BIT(3) | BIT(63)));
	assert_false(refused_u64(f, VHOST_USER_SET_FEATURES, BIT(30) | BIT(0)));
	assert_int_equal(f->dev.features, BIT(0));
}

static void no_answer_unless_negotiated(void **state)
{
	struct fixture *f = *state;
	uint64_t features = BIT(32);

	send_message(f, VHOST_USER_SET_FEATURES, NEED_REPLY, &features, sizeof(features));
	assert_false(reply_waits(f));
	send_message(f, 99, NEED_REPLY, NULL, 0);
	assert_false(reply_waits(f));
	assert_true(vhost_user_server_connected(f->server));
}

static void a_failure_that_cannot_be_told_hangs_up(void **state)
{
	struct fixture *f = *state;
	uint64_t features = BIT(29);

	send_message(f, VHOST_USER_SET_FEATURES, 0, &features, sizeof(features));
	assert_true(hung_up(f));
	disconnect(f);
	reconnect(f);
	/* A number that no guest chooses. */
	send_message(f, VHOST_USER_SET_VRING_NUM, 0, "\7\0\0\0\20\0\0\0", 8);
	assert_true(hung_up(f));
	disconnect(f);
	reconnect(f);
	send_message(f, VHOST_USER_SET_VRING_BASE, 0, "\0\0\0\0\0\0\1\0", 8);
	assert_true(hung_up(f));
	disconnect(f);
	reconnect(f);
	/* An answer that has no form for a failure. */
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, "\7\0\0\0\0\0\0\0", 8);
	assert_true(hung_up(f));
}

static void unknown_requests(void **state)
{
	static const uint32_t unknown[] = {
		0, 6, 7, 19, 20, 22, 26, 35, 99, 0x7fffffff, 0xffffffff
	};
	struct fixture *f = *state;
	unsigned int i;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_true(refused_fds(f, unknown[i], "payload", 7, &f->err[0], 1));
		send_message(f, unknown[i], 0, "payload", 7);
		assert_false(reply_waits(f));
	}
	assert_int_equal(ask_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
}

static void payloads_of_a_wrong_size(void **state)
{
	static const struct {
		uint32_t request, size, nr_fds;
	} known[] = {
		{ VHOST_USER_SET_FEATURES, 8, 0 },	    { VHOST_USER_SET_OWNER, 0, 0 },
		{ VHOST_USER_RESET_OWNER, 0, 0 },	    { VHOST_USER_SET_MEM_TABLE, 40, 1 },
		{ VHOST_USER_SET_VRING_NUM, 8, 0 },	    { VHOST_USER_SET_VRING_ADDR, 40, 0 },
		{ VHOST_USER_SET_VRING_BASE, 8, 0 },	    { VHOST_USER_SET_VRING_KICK, 8, 1 },
		{ VHOST_USER_SET_VRING_CALL, 8, 1 },	    { VHOST_USER_SET_VRING_ERR, 8, 1 },
		{ VHOST_USER_SET_PROTOCOL_FEATURES, 8, 0 }, { VHOST_USER_SET_VRING_ENABLE, 8, 0 },
		{ VHOST_USER_SET_BACKEND_REQ_FD, 0, 1 },    { VHOST_USER_RESET_DEVICE, 0, 0 },
	};
	static const unsigned char payload[4096] = { 1 };
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		const uint32_t sizes[] = { 0, known[i].size / 2, known[i].size - 1,
					   known[i].size + 1, sizeof(payload) };
		unsigned int j;

		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			if (sizes[j] == known[i].size || sizes[j] > sizeof(payload))
				continue;
			assert_true(refused_fds(f, known[i].request, payload, sizes[j],
						&f->guest.fd, known[i].nr_fds));
		}
	}
	/* Nothing of it did anything. */
	assert_int_equal(f->dev.resets, 0);
	expect_served(f, 0);
	expect_served(f, 1);
}

static void missing_and_surplus_descriptors(void **state)
{
	static const struct {
		uint32_t request, size;
		unsigned int right;
	} known[] = {
		{ VHOST_USER_SET_FEATURES, 8, 0 },   { VHOST_USER_SET_OWNER, 0, 0 },
		{ VHOST_USER_SET_MEM_TABLE, 40, 1 }, { VHOST_USER_SET_VRING_NUM, 8, 0 },
		{ VHOST_USER_SET_VRING_KICK, 8, 1 }, { VHOST_USER_SET_VRING_CALL, 8, 1 },
		{ VHOST_USER_SET_VRING_ERR, 8, 1 },  { VHOST_USER_SET_BACKEND_REQ_FD, 0, 1 },
	};
	struct fixture *f = *state;
	unsigned char payload[64] = { 0 };
	unsigned int i, nr, fds;
	int many[253];

	start_rings(f);
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = f->guest.fd;
	fds = open_fds();
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		static const unsigned int counts[] = { 0, 1, 2, 64, 65, 253 };
		unsigned int j;

		payload[0] = known[i].request == VHOST_USER_SET_MEM_TABLE;
		for (j = 0; j < ARRAY_SIZE(counts); j++) {
			nr = counts[j];
			if (nr == known[i].right)
				continue;
			assert_true(
				refused_fds(f, known[i].request, payload, known[i].size, many, nr));
			assert_int_equal(open_fds(), fds);
		}
	}
	expect_served(f, 0);
}

static void descriptors_that_were_cut_off(void **state)
{
	struct fixture *f = *state;
	struct capture capture;
	struct rlimit limit, low;
	unsigned char message[64];
	uint64_t index = 0;
	unsigned int nr = 0;
	int dups[64];

	start_rings(f);
	send_bytes(f->sock, message,
		   make_message(message, VHOST_USER_SET_VRING_CALL, NEED_REPLY, &index,
				sizeof(index)),
		   &f->call[0], 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){ .rlim_cur = 64, .rlim_max = limit.rlim_max };
	capture_begin();
	setrlimit(RLIMIT_NOFILE, &low);
	while (nr < 64 && (dups[nr] = dup(f->err[0])) >= 0)
		nr++;
	(void)vhost_user_server_step(f->server, 0);
	while (nr)
		close(dups[--nr]);
	setrlimit(RLIMIT_NOFILE, &limit);
	capture_end(&capture);
	assert_int_equal(read_u64(f, VHOST_USER_SET_VRING_CALL), 1);
	/* Not the front end's fault, and what to do about it. */
	assert_int_equal(captured(&capture, "SET_VRING_CALL refused: too many open files"), 1);
	assert_int_equal(captured(&capture, "ulimit -n"), 1);
	expect_served(f, 0);
}

static void streams_that_are_not_vhost_user(void **state)
{
	static const struct vhost_user_header bad[] = {
		{ VHOST_USER_GET_FEATURES, 0, 0 },
		{ VHOST_USER_GET_FEATURES, 2, 0 },
		{ VHOST_USER_GET_FEATURES, VHOST_USER_VERSION | VHOST_USER_REPLY, 0 },
		{ VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 4097 },
		{ VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 0xffffffff },
		{ VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, 0xfffffff4 },
	};
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		send_bytes(f->sock, &bad[i], sizeof(bad[i]), &f->err[0], 1);
		pump(f);
		assert_true(hung_up(f));
		assert_false(vhost_user_server_connected(f->server));
		close(f->sock);
		assert_int_equal(open_fds(), f->fds);
		reconnect(f);
	}
}

static void messages_that_come_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	unsigned char message[64];
	uint64_t index = 0;
	size_t i, len;

	start_rings(f);
	len = make_message(message, VHOST_USER_SET_VRING_CALL, NEED_REPLY, &index, sizeof(index));
	for (i = 0; i < len; i++) {
		assert_false(reply_waits(f));
		send_bytes(f->sock, message + i, 1, &f->call[1], i ? 0 : 1);
		pump(f);
	}
	assert_int_equal(read_u64(f, VHOST_USER_SET_VRING_CALL), 0);
	signals(f->call[1]);
	offer(f, 0, 0, "x");
	kick(f, 0);
	assert_int_equal(signals(f->call[1]), 1);
	/* Two in one piece. */
	len = make_message(message, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0);
	len += make_message(message + len, VHOST_USER_SET_OWNER, NEED_REPLY, NULL, 0);
	send_bytes(f->sock, message, len, NULL, 0);
	pump(f);
	assert_int_equal(recv(f->sock, message, sizeof(message), MSG_DONTWAIT), 40);
}

static void a_front_end_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	unsigned char message[64];
	size_t len = make_message(message, VHOST_USER_GET_FEATURES, 0, NULL, 0);
	unsigned int i;

	for (i = 0; i < 100000 && vhost_user_server_connected(f->server); i++) {
		send_bytes(f->sock, message, len, NULL, 0);
		pump(f);
	}
	assert_false(vhost_user_server_connected(f->server));
	close(f->sock);
	reconnect(f);
	start_rings(f);
	expect_served(f, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(configuration_space),
		TEST(bad_configuration_messages),
		TEST(the_back_end_request_descriptor),
		TEST(features_that_were_not_offered),
		TEST(no_answer_unless_negotiated),
		TEST(a_failure_that_cannot_be_told_hangs_up),
		TEST(unknown_requests),
		TEST(payloads_of_a_wrong_size),
		TEST(missing_and_surplus_descriptors),
		TEST(descriptors_that_were_cut_off),
		TEST(streams_that_are_not_vhost_user),
		TEST(messages_that_come_byte_by_byte),
		TEST(a_front_end_that_does_not_read),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_messages", tests, NULL, NULL);
}
