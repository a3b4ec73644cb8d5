// SPDX-License-Identifier: MIT
/*
 * test_vu_message: messages as they arrive, without a server
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/vu_message.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/**
 * struct fixture - both ends
 * @msg: what has arrived
 * @sock: where
 * @peer: the other end
 * @fd: to be passed
 */
struct fixture {
	struct vu_message msg;
	int sock;
	int peer;
	int fd;
};

static unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->sock = pair[0];
	f->peer = pair[1];
	f->fd = eventfd(0, EFD_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vu_message_reset(&f->msg);
	close(f->sock);
	close(f->peer);
	close(f->fd);
	free(f);
	return 0;
}

static void send_with(struct fixture *f, const void *data, size_t len, unsigned int nr_fds)
{
	union {
		char buffer[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control = { .buffer = { 0 } };
	struct iovec iov = { (void *)data, len };
	struct msghdr out = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	unsigned int i;

	if (nr_fds) {
		out.msg_control = control.buffer;
		out.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		for (i = 0; i < nr_fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &f->fd, sizeof(int));
	}
	assert_int_equal(sendmsg(f->peer, &out, MSG_NOSIGNAL), len);
}

/* Header and @size bytes of payload. */
static size_t make(unsigned char *to, uint32_t flags, uint32_t size)
{
	struct vhost_user_header header = { 77, flags, size };

	memcpy(to, &header, sizeof(header));
	memset(to + sizeof(header), 0x5a, size);
	return sizeof(header) + size;
}

static bool receive(struct fixture *f)
{
	bool whole = false;

	assert_null(vu_message_receive(&f->msg, f->sock, &whole));
	return whole;
}

static const char *receive_bad(struct fixture *f)
{
	bool whole = true;
	const char *why = vu_message_receive(&f->msg, f->sock, &whole);

	assert_non_null(why);
	assert_false(whole);
	return why;
}

static void byte_by_byte(void **state)
{
	struct fixture *f = *state;
	unsigned char message[64];
	size_t i, len = make(message, VHOST_USER_VERSION, 20);

	assert_false(receive(f));
	for (i = 0; i < len; i++) {
		/* A descriptor with any byte of it. */
		send_with(f, message + i, 1, i == 2 || i == 15);
		assert_int_equal(receive(f), i == len - 1);
	}
	assert_int_equal(f->msg.header.request, 77);
	assert_int_equal(f->msg.header.size, 20);
	assert_memory_equal(f->msg.payload, message + sizeof(f->msg.header), 20);
	assert_int_equal(f->msg.nr_fds, 2);
}

static void several_at_once(void **state)
{
	struct fixture *f = *state;
	unsigned char message[64];
	size_t len = make(message, VHOST_USER_VERSION, 3);

	len += make(message + len, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0);
	send_with(f, message, len, 0);
	assert_true(receive(f));
	assert_int_equal(f->msg.header.size, 3);
	vu_message_reset(&f->msg);
	assert_true(receive(f));
	assert_int_equal(f->msg.header.size, 0);
	vu_message_reset(&f->msg);
	assert_false(receive(f));
}

static void what_is_left_is_closed(void **state)
{
	struct fixture *f = *state;
	unsigned int before = open_fds();
	unsigned char message[64];
	int fd;

	send_with(f, message, make(message, VHOST_USER_VERSION, 0), 3);
	assert_true(receive(f));
	assert_int_equal(open_fds(), before + 3);
	assert_int_equal(f->msg.nr_fds, 3);
	fd = vu_message_take_fd(&f->msg);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	vu_message_reset(&f->msg);
	assert_int_equal(open_fds(), before + 1);
	close(fd);
	/* More than any message has. */
	send_with(f, message, make(message, VHOST_USER_VERSION, 0), VU_MAX_FDS + 1);
	assert_true(receive(f));
	assert_true(f->msg.surplus);
	assert_false(f->msg.cut);
	assert_int_equal(open_fds(), before + VU_MAX_FDS);
	vu_message_reset(&f->msg);
	assert_false(f->msg.surplus);
	assert_int_equal(open_fds(), before);
}

static void descriptors_that_there_are_no_numbers_for(void **state)
{
	struct fixture *f = *state;
	unsigned char message[64];
	struct rlimit limit, low;
	unsigned int nr = 0;
	int dups[64];
	bool whole;

	send_with(f, message, make(message, VHOST_USER_VERSION, 0), 2);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){ .rlim_cur = 64, .rlim_max = limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	while (nr < 64 && (dups[nr] = dup(f->fd)) >= 0)
		nr++;
	/* Room for one. */
	close(dups[--nr]);
	whole = receive(f);
	while (nr)
		close(dups[--nr]);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_true(whole);
	assert_true(f->msg.cut);
	assert_false(f->msg.surplus);
	vu_message_reset(&f->msg);
	assert_false(f->msg.cut);
}

static void what_is_no_message(void **state)
{
	static const struct {
		uint32_t flags, size;
	} bad[] = {
		{ 0, 0 },
		{ 2, 0 },
		{ VHOST_USER_VERSION | VHOST_USER_REPLY, 0 },
		{ VHOST_USER_VERSION, VU_MAX_PAYLOAD + 1 },
		{ VHOST_USER_VERSION, UINT32_MAX },
	};
	struct fixture *f = *state;
	struct vhost_user_header header;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		header = (struct vhost_user_header){ 1, bad[i].flags, bad[i].size };
		send_with(f, &header, sizeof(header), 1);
		receive_bad(f);
		vu_message_reset(&f->msg);
	}
}

static void the_end_of_it(void **state)
{
	struct fixture *f = *state;

	send_with(f, "x", 1, 0);
	assert_false(receive(f));
	shutdown(f->peer, SHUT_WR);
	assert_string_equal(receive_bad(f), "hung up within a message");
	vu_message_reset(&f->msg);
	assert_string_equal(receive_bad(f), "hung up");
}

static void answers(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_header header;
	struct vu_reply reply;
	unsigned char message[64];
	uint64_t value;
	unsigned int nr = 0;

	send_with(f, message, make(message, VHOST_USER_VERSION, 8), 0);
	assert_true(receive(f));
	assert_int_equal(vu_message_u64(&f->msg), 0x5a5a5a5a5a5a5a5aull);
	vu_reply_u64(&reply, 0x0123456789abcdefull);
	assert_true(vu_message_answer(&f->msg, f->sock, &reply));
	assert_int_equal(recv(f->peer, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(header.request, 77);
	assert_int_equal(header.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(header.size, 8);
	assert_int_equal(recv(f->peer, &value, sizeof(value), 0), sizeof(value));
	assert_true(value == 0x0123456789abcdefull);
	/* Nobody reads them, and nobody waits for that. */
	while (vu_message_answer(&f->msg, f->sock, &reply))
		assert_true(nr++ < 1000000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(byte_by_byte),
		TEST(several_at_once),
		TEST(what_is_left_is_closed),
		TEST(descriptors_that_there_are_no_numbers_for),
		TEST(what_is_no_message),
		TEST(the_end_of_it),
		TEST(answers),
	};

	return cmocka_run_group_tests_name("vu_message", tests, NULL, NULL);
}
