// SPDX-License-Identifier: MIT
/*
 * test_vu_defer: answers that wait for the device to let go, for ever if it must be
 */
#include "tests/vhost/vhost_test.h"

#define IMPATIENT_MS 50
#define WAIT_MS 20000

static int setup_impatient(void **state)
{
	return setup_with(state, IMPATIENT_MS);
}

/* The message that makes the device be reset; all but this has been sent. */
struct trigger {
	const char *name;
	uint32_t request;
	struct vhost_user_vring_state state;
	uint32_t size;
	bool replies;
	bool first_is_off;
};

static const struct trigger triggers[] = {
	{ "base", VHOST_USER_GET_VRING_BASE, { 1, 0 }, 8, true, true },
	{ "enable", VHOST_USER_SET_VRING_ENABLE, { 1, 0 }, 8, false, true },
	{ "device", VHOST_USER_RESET_DEVICE, { 0, 0 }, 0, false, false },
	{ "owner", VHOST_USER_RESET_OWNER, { 0, 0 }, 0, false, false },
};

static void pull(struct fixture *f, const struct trigger *trigger)
{
	f->dev.hold_reset = true;
	if (trigger->first_is_off)
		assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	send_message(f, trigger->request, trigger->replies ? 0 : NEED_REPLY, &trigger->state,
		     trigger->size);
	assert_int_equal(f->dev.begun, f->dev.resets + 1);
}

/* The reset is over, and so the message is answered. */
static void expect_answer(struct fixture *f, const struct trigger *trigger)
{
	struct vhost_user_vring_state base;

	device_finish_reset(&f->dev);
	f->dev.hold_reset = false;
	pump(f);
	if (!trigger->replies) {
		assert_int_equal(read_u64(f, trigger->request), 0);
		return;
	}
	assert_int_equal(read_reply(f, trigger->request, &base, sizeof(base)), sizeof(base));
	assert_int_equal(base.index, 1);
	assert_int_equal(base.num, 2);
}

static void again(struct fixture *f)
{
	disconnect(f);
	f->dev.hold = false;
	reconnect(f);
}

/* One was served and one is pending when it stops: both rings end at 2. */
static void begin(struct fixture *f)
{
	unsigned int i;

	start_rings(f);
	for (i = 0; i < 2; i++) {
		f->dev.hold = false;
		expect_served(f, i);
		f->dev.hold = true;
		offer(f, i, 0, "pending");
		kick(f, i);
		signals(f->call[i]);
	}
}

static void the_answer_comes_when_the_device_has_let_go(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(triggers); i++) {
		begin(f);
		pull(f, &triggers[i]);
		assert_false(reply_waits(f));
		assert_int_equal(ring_used_waiting(&f->rings[1]), 0);
		expect_answer(f, &triggers[i]);
		/* After what was pending, which was handed back. */
		assert_int_equal(ring_take_used(&f->rings[1]).id, 0);
		assert_int_equal(signals(f->call[1]), 1);
		again(f);
	}
}

static void nothing_else_is_read_meanwhile(void **state)
{
	const uint64_t one = 1;
	struct fixture *f = *state;
	unsigned char message[64];
	unsigned int i, commands;
	size_t len;

	for (i = 0; i < ARRAY_SIZE(triggers); i++) {
		begin(f);
		pull(f, &triggers[i]);
		len = make_message(message, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0);
		send_bytes(f->sock, message, len, NULL, 0);
		commands = f->dev.commands[0] + f->dev.commands[1];
		offer(f, 0, 4, "x");
		offer(f, 1, 4, "x");
		assert_int_equal(write(f->kick[0], &one, sizeof(one)), sizeof(one));
		assert_int_equal(write(f->kick[1], &one, sizeof(one)), sizeof(one));
		/* Nor does the server spin over what it does not read. */
		pump(f);
		assert_false(reply_waits(f));
		assert_int_equal(f->dev.commands[0] + f->dev.commands[1], commands);
		device_finish_reset(&f->dev);
		f->dev.hold_reset = false;
		pump(f);
		/* Both answers, in order. */
		assert_int_equal(recv(f->sock, message, 20, MSG_DONTWAIT), 20);
		assert_int_equal(message[0], triggers[i].request);
		assert_int_equal(read_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
		assert_int_equal(f->dev.commands[0] + f->dev.commands[1], commands);
		signals(f->kick[0]);
		signals(f->kick[1]);
		again(f);
	}
}

static void statistics_while_it_is_reset(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t size;
	FILE *to;

	begin(f);
	pull(f, &triggers[0]);
	to = open_memstream(&text, &size);
	vhost_user_server_print_stats(f->server, to);
	fclose(to);
	assert_non_null(strstr(text, "connections: 1\n"));
	free(text);
	expect_answer(f, &triggers[0]);
}

static void a_front_end_that_goes_within_a_reset(void **state)
{
	struct fixture *f = *state;
	unsigned int i;
	int next;

	for (i = 0; i < ARRAY_SIZE(triggers); i++) {
		begin(f);
		pull(f, &triggers[i]);
		disconnect(f);
		/* Its memory stays until nobody uses it any more. */
		assert_non_null(guest_memory_pointer(f->gm, RING_GUEST_BASE, 1));
		assert_int_equal(ring_used_waiting(&f->rings[1]), 0);
		next = f->sock = connect_to(f->path);
		send_message(f, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0);
		assert_false(vhost_user_server_connected(f->server));
		assert_false(reply_waits(f));
		device_finish_reset(&f->dev);
		f->dev.hold_reset = false;
		pump(f);
		/* Nothing is written to the guest that is gone. */
		assert_int_equal(ring_used_waiting(&f->rings[1]), 0);
		assert_null(guest_memory_pointer(f->gm, RING_GUEST_BASE, 1));
		assert_true(vhost_user_server_connected(f->server));
		assert_int_equal(f->sock, next);
		assert_int_equal(read_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
		assert_int_equal(f->dev.begun, i + 1);
		again(f);
	}
}

static void hanging_up_resets_without_waiting(void **state)
{
	struct fixture *f = *state;

	begin(f);
	f->dev.hold_reset = true;
	disconnect(f);
	assert_int_equal(f->dev.begun, 1);
	f->sock = connect_to(f->path);
	send_message(f, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0);
	assert_false(reply_waits(f));
	f->dev.hold_reset = false;
	device_finish_reset(&f->dev);
	pump(f);
	assert_int_equal(read_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
}

/* Until the server has nothing more to say to this front end. */
static void wait_hung_up(struct fixture *f)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (vhost_user_server_connected(f->server)) {
		assert_true(clock_ms() < end);
		assert_true(vhost_user_server_step(f->server, 10) >= 0);
	}
}

static void step_for(struct fixture *f, unsigned int ms)
{
	uint64_t now = clock_ms(), end = now + ms;

	for (; now < end; now = clock_ms())
		assert_true(vhost_user_server_step(f->server, (int)(end - now)) >= 0);
}

static void no_answer_is_better_than_a_false_one(void **state)
{
	struct fixture *f = *state;
	struct capture capture;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(triggers); i++) {
		begin(f);
		pull(f, &triggers[i]);
		capture_begin();
		wait_hung_up(f);
		capture_end(&capture);
		assert_int_equal(captured(&capture, "has not let go of the guest's memory"), 1);
		assert_int_equal(captured(&capture, "it is at: a test, for 1234 s"), 1);
		assert_int_equal(captured(&capture, "a GPU that does nothing more"), 1);
		assert_int_equal(captured(&capture, "\n"), 2);
		assert_true(hung_up(f));
		close(f->sock);
		/* The next one waits, however long it takes. */
		f->sock = connect_to(f->path);
		capture_begin();
		send_message(f, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0);
		step_for(f, 5 * IMPATIENT_MS);
		assert_false(reply_waits(f));
		capture_end(&capture);
		assert_int_equal(captured(&capture, "a VMM waits at the socket"), 1);
		assert_int_equal(captured(&capture, "\n"), 1);
		capture_begin();
		device_finish_reset(&f->dev);
		f->dev.hold_reset = false;
		pump(f);
		capture_end(&capture);
		assert_int_equal(captured(&capture, "has let go of the guest's memory now"), 1);
		assert_int_equal(read_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
		again(f);
	}
}

static void closing_waits_as_long_as_it_is_told(void **state)
{
	struct vhost_user_server *server;
	struct fixture *f = *state;
	struct fixture other = *f;
	uint64_t start;
	int pair[2];

	server = vhost_user_server_new(f->gm, RESET_TIMEOUT_MS);
	assert_int_equal(vhost_user_server_attach(server, &test_device_ops, &f->dev), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhost_user_server_adopt(server, pair[0]), 0);
	other.server = server;
	other.sock = pair[1];
	start_rings(&other);
	assert_true(vhost_user_server_wait_reset(server, 0));
	f->dev.hold_reset = true;
	vhost_user_server_close(server);
	start = clock_ms();
	assert_false(vhost_user_server_wait_reset(server, 30));
	assert_true(clock_ms() - start >= 30);
	assert_false(vhost_user_server_finished(server));
	device_finish_reset(&f->dev);
	f->dev.hold_reset = false;
	assert_true(vhost_user_server_wait_reset(server, WAIT_MS));
	assert_true(vhost_user_server_finished(server));
	assert_null(guest_memory_pointer(f->gm, RING_GUEST_BASE, 1));
	vhost_user_server_free(server);
	close(pair[1]);
}

/* A program for one front end ends, and does not wait for ever for what never ends. */
static void the_only_front_end_goes_within_a_reset(void **state)
{
	struct vhost_user_server *server;
	struct fixture *f = *state;
	struct fixture other = *f;
	struct capture capture;
	uint64_t end = clock_ms() + WAIT_MS;
	int pair[2];

	server = vhost_user_server_new(f->gm, IMPATIENT_MS);
	assert_int_equal(vhost_user_server_attach(server, &test_device_ops, &f->dev), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhost_user_server_adopt(server, pair[0]), 0);
	other.server = server;
	other.sock = pair[1];
	start_rings(&other);
	f->dev.hold_reset = true;
	close(pair[1]);
	capture_begin();
	while (!vhost_user_server_finished(server)) {
		assert_true(clock_ms() < end);
		assert_true(vhost_user_server_step(server, 10) >= 0);
	}
	capture_end(&capture);
	assert_int_equal(captured(&capture, "has not let go of the guest's memory"), 1);
	device_finish_reset(&f->dev);
	f->dev.hold_reset = false;
	vhost_user_server_close(server);
	assert_true(vhost_user_server_wait_reset(server, WAIT_MS));
	vhost_user_server_free(server);
}

static void shared_memory_is_served_within_a_reset(void **state)
{
	struct fixture *f = *state;
	unsigned char ack[20];
	uint64_t value = 0;
	char request[64];
	int pair[2];

	f->dev.host_visible = 1 << 20;
	begin(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_false(refused_fds(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1));
	close(pair[1]);
	device_news(&f->dev, NEWS_UNMAP)->range.size = 0x1000;
	pump(f);
	assert_int_equal(recv(pair[0], request, 1, MSG_DONTWAIT), 1);
	pull(f, &triggers[0]);
	/* It was being read, so it is sent to the end, and its answer is heard. */
	assert_true(recv(pair[0], request, sizeof(request), MSG_DONTWAIT) > 1);
	assert_int_equal(f->dev.nr_done, 0);
	send_bytes(pair[0], ack,
		   make_message(ack, VHOST_USER_BACKEND_SHMEM_UNMAP, VHOST_USER_REPLY, &value,
				sizeof(value)),
		   NULL, 0);
	pump(f);
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done[0], 0);
	/* Nothing new is begun. */
	device_news(&f->dev, NEWS_UNMAP)->range.size = 0x1000;
	pump(f);
	assert_int_equal(f->dev.done[1], -ECANCELED);
	expect_answer(f, &triggers[0]);
	close(pair[0]);
	pump(f);
}

static void a_device_without_room_holds_the_rings(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	f->dev.no_room = true;
	offer(f, 0, 0, "later");
	kick(f, 0);
	offer(f, 1, 0, "too");
	kick(f, 1);
	assert_int_equal(f->dev.commands[0] + f->dev.commands[1], 0);
	/* Messages are not held up, and kicks do not help. */
	assert_int_equal(ask_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
	kick(f, 0);
	assert_int_equal(f->dev.commands[0], 0);
	f->dev.no_room = false;
	device_news(&f->dev, NEWS_ROOM);
	pump(f);
	assert_string_equal(answer(f, 0, 0), "LATER");
	assert_string_equal(answer(f, 1, 0), "TOO");
}

#define IMPATIENT(name) cmocka_unit_test_setup_teardown(name, setup_impatient, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_answer_comes_when_the_device_has_let_go),
		TEST(nothing_else_is_read_meanwhile),
		TEST(statistics_while_it_is_reset),
		TEST(a_front_end_that_goes_within_a_reset),
		TEST(hanging_up_resets_without_waiting),
		IMPATIENT(no_answer_is_better_than_a_false_one),
		TEST(closing_waits_as_long_as_it_is_told),
		TEST(the_only_front_end_goes_within_a_reset),
		TEST(shared_memory_is_served_within_a_reset),
		TEST(a_device_without_room_holds_the_rings),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_defer", tests, NULL, NULL);
}
