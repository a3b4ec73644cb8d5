/* SPDX-License-Identifier: MIT */
/*
 * vhost_test: what the tests of the back end share
 *
 * The test is front end and guest.  The server is stepped by the test in the
 * test's own thread, so there is no waiting: after pump() everything that was
 * sent has been dealt with.
 */
#ifndef VHOST_TEST_H
#define VHOST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "tests/util/capture.h"
#include "tests/vhost/ring_driver.h"
#include "tests/vhost/vhost_device.h"
#include "vhost/vhost_user.h"
#include "vhost/vhost_user_wire.h"

#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define RING_SIZE 16
/* That no test waits for. */
#define RESET_TIMEOUT_MS 3600000
#define NEED_REPLY VHOST_USER_NEED_REPLY
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct vhost_user_access anybody = { .mode = -1, .group = (gid_t)-1 };

/* Fixture: a server that listens, a front end that is connected to it */

struct fixture {
	struct test_device dev;
	struct guest_memory *gm;
	struct vhost_user_server *server;
	char path[64];
	int sock;
	struct test_guest guest;
	struct test_ring rings[2];
	int kick[2];
	int call[2];
	int err[2];
	uint32_t base[2];
	unsigned int fds;
};

static inline unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static inline int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Until there is nothing to do; a server that never gets there is spinning. */
static inline void pump(struct fixture *f)
{
	unsigned int steps;
	int rc;

	for (steps = 0; steps < 10000; steps++) {
		rc = vhost_user_server_step(f->server, 0);
		assert_true(rc >= 0);
		if (!rc)
			return;
	}
	fail_msg("the server does not come to rest");
}

static inline int setup_with(void **state, unsigned int reset_timeout_ms)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static unsigned int count;
	unsigned int i;

	assert_non_null(f);
	f->dev.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->gm = guest_memory_new();
	f->server = vhost_user_server_new(f->gm, reset_timeout_ms);
	assert_non_null(f->server);
	assert_int_equal(vhost_user_server_attach(f->server, &test_device_ops, &f->dev), 0);
	snprintf(f->path, sizeof(f->path), "%s/test_vhost_user.%d.%u",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", getpid(), count++);
	assert_int_equal(vhost_user_server_listen(f->server, f->path, &anybody), 0);
	for (i = 0; i < sizeof(f->dev.config); i++)
		f->dev.config[i] = (unsigned char)(0x10 + i);
	test_guest_init(&f->guest);
	for (i = 0; i < 2; i++) {
		test_ring_init(&f->rings[i], &f->guest, i, RING_SIZE);
		f->kick[i] = eventfd(0, EFD_CLOEXEC);
		f->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->err[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	f->fds = open_fds();
	f->sock = connect_to(f->path);
	pump(f);
	assert_true(vhost_user_server_connected(f->server));
	*state = f;
	return 0;
}

static inline int setup(void **state)
{
	return setup_with(state, RESET_TIMEOUT_MS);
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	capture_give_up();
	if (f->sock >= 0)
		close(f->sock);
	pump(f);
	/* Whatever the test did: nothing of it is left open. */
	assert_int_equal(open_fds(), f->fds);
	assert_false(vhost_user_server_connected(f->server));
	vhost_user_server_close(f->server);
	assert_int_equal(access(f->path, F_OK), -1);
	vhost_user_server_free(f->server);
	guest_memory_free(f->gm);
	for (i = 0; i < 2; i++) {
		close(f->kick[i]);
		close(f->call[i]);
		close(f->err[i]);
	}
	test_guest_destroy(&f->guest);
	close(f->dev.fd);
	free(f);
	return 0;
}

/* Messages */

static inline void send_bytes(int sock, const void *data, size_t len, const int *fds,
			      unsigned int nr)
{
	union {
		char buffer[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)data, len };
	struct msghdr out = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nr) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		out.msg_control = control.buffer;
		out.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr * sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &out, MSG_NOSIGNAL), len);
}

static inline size_t make_message(unsigned char *to, uint32_t request, uint32_t flags,
				  const void *payload, uint32_t size)
{
	struct vhost_user_header header = { request, VHOST_USER_VERSION | flags, size };

	memcpy(to, &header, sizeof(header));
	if (size)
		memcpy(to + sizeof(header), payload, size);
	return sizeof(header) + size;
}

static inline void send_message_fds(struct fixture *f, uint32_t request, uint32_t flags,
				    const void *payload, uint32_t size, const int *fds,
				    unsigned int nr)
{
	unsigned char message[8192];
	size_t len = make_message(message, request, flags, payload, size);

	send_bytes(f->sock, message, len, fds, nr);
	pump(f);
}

static inline void send_message(struct fixture *f, uint32_t request, uint32_t flags,
				const void *payload, uint32_t size)
{
	send_message_fds(f, request, flags, payload, size, NULL, 0);
}

static inline bool reply_waits(struct fixture *f)
{
	struct pollfd p = { .fd = f->sock, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* The answer to @request; its payload goes to @to.  Returns its size. */
static inline uint32_t read_reply(struct fixture *f, uint32_t request, void *to, size_t max)
{
	struct vhost_user_header header;

	assert_int_equal(recv(f->sock, &header, sizeof(header), MSG_DONTWAIT), sizeof(header));
	assert_int_equal(header.request, request);
	assert_int_equal(header.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_true(header.size <= max);
	if (header.size)
		assert_int_equal(recv(f->sock, to, header.size, MSG_DONTWAIT), header.size);
	assert_false(reply_waits(f));
	return header.size;
}

static inline uint64_t read_u64(struct fixture *f, uint32_t request)
{
	uint64_t value = 0;

	assert_int_equal(read_reply(f, request, &value, sizeof(value)), sizeof(value));
	return value;
}

static inline uint64_t ask_u64(struct fixture *f, uint32_t request)
{
	send_message(f, request, 0, NULL, 0);
	return read_u64(f, request);
}

/* The acknowledgement: whether it was refused. */
static inline bool refused_fds(struct fixture *f, uint32_t request, const void *payload,
			       uint32_t size, const int *fds, unsigned int nr)
{
	send_message_fds(f, request, NEED_REPLY, payload, size, fds, nr);
	return read_u64(f, request) != 0;
}

static inline bool refused(struct fixture *f, uint32_t request, const void *payload, uint32_t size)
{
	return refused_fds(f, request, payload, size, NULL, 0);
}

static inline bool refused_u64(struct fixture *f, uint32_t request, uint64_t value)
{
	return refused(f, request, &value, sizeof(value));
}

static inline bool refused_state(struct fixture *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_vring_state state = { index, num };

	return refused(f, request, &state, sizeof(state));
}

static inline bool refused_fd(struct fixture *f, uint32_t request, uint64_t value, int fd)
{
	return refused_fds(f, request, &value, sizeof(value), &fd, 1);
}

static inline bool refused_addr(struct fixture *f, uint32_t index, uint32_t flags)
{
	const struct test_ring *ring = &f->rings[index < 2 ? index : 0];
	struct vhost_user_vring_addr addr = {
		.index = index,
		.flags = flags,
		.desc = RING_USER_BASE + ring_desc_at(ring),
		.used = RING_USER_BASE + ring_used_at(ring),
		.avail = RING_USER_BASE + ring_avail_at(ring),
		.log = UINT64_MAX,
	};

	return refused(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr));
}

static inline bool refused_memory(struct fixture *f, uint64_t size)
{
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region region;
	} payload = {
		{ .nr = 1 },
		{ RING_GUEST_BASE, size, RING_USER_BASE, 0 },
	};

	return refused_fds(f, VHOST_USER_SET_MEM_TABLE, &payload, sizeof(payload), &f->guest.fd, 1);
}

static inline bool refused_region(struct fixture *f, uint32_t request, uint64_t addr, uint64_t size,
				  uint64_t user, int fd)
{
	struct vhost_user_single_region m = { 0, { addr, size, user, 0 } };

	return refused_fds(f, request, &m, sizeof(m), &fd, fd >= 0);
}

static inline void disconnect(struct fixture *f)
{
	close(f->sock);
	f->sock = -1;
	pump(f);
	assert_false(vhost_user_server_connected(f->server));
}

static inline void reconnect(struct fixture *f)
{
	unsigned int i;

	f->sock = connect_to(f->path);
	pump(f);
	assert_true(vhost_user_server_connected(f->server));
	for (i = 0; i < 2; i++)
		test_ring_init(&f->rings[i], &f->guest, i, RING_SIZE);
}

static inline bool hung_up(struct fixture *f)
{
	char byte;

	return recv(f->sock, &byte, 1, MSG_DONTWAIT) == 0;
}

/* As User-Mode Linux and QEMU begin. */
static inline void negotiate(struct fixture *f, uint64_t features)
{
	uint64_t offered;

	send_message(f, VHOST_USER_SET_OWNER, 0, NULL, 0);
	assert_false(reply_waits(f));
	offered = ask_u64(f, VHOST_USER_GET_FEATURES);
	assert_int_equal(offered, DEVICE_FEATURES | BIT(28) | BIT(30) | BIT(32));
	offered = ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(offered & (BIT(0) | BIT(3) | BIT(5) | BIT(9) | BIT(10)),
			 BIT(0) | BIT(3) | BIT(5) | BIT(9) | BIT(10));
	/* Asks for an answer in the very message that negotiates answers. */
	assert_false(refused_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, offered));
	assert_false(refused_u64(f, VHOST_USER_SET_FEATURES, features));
}

static inline void configure_ring(struct fixture *f, unsigned int i)
{
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_NUM, i, RING_SIZE));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_BASE, i, f->base[i]));
	assert_false(refused_addr(f, i, 0));
}

static inline void start_rings(struct fixture *f)
{
	unsigned int i;

	negotiate(f, DEVICE_FEATURES | BIT(28) | BIT(30) | BIT(32));
	assert_false(refused_memory(f, RING_MEMORY_SIZE));
	for (i = 0; i < 2; i++)
		configure_ring(f, i);
	for (i = 0; i < 2; i++) {
		assert_false(refused_fd(f, VHOST_USER_SET_VRING_ERR, i, f->err[i]));
		assert_false(refused_fd(f, VHOST_USER_SET_VRING_KICK, i, f->kick[i]));
		assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, i, 1));
	}
	/* Taking over a call descriptor may signal once: not what tests look at. */
	for (i = 0; i < 2; i++) {
		uint64_t count;

		(void)!read(f->call[i], &count, sizeof(count));
	}
}

/* Rings */

static inline void offer(struct fixture *f, unsigned int i, unsigned int head, const char *text)
{
	uint32_t at = RING_DATA + i * 0x10000 + head * 0x100;

	memcpy(f->guest.base + at, text, strlen(text));
	memset(f->guest.base + at + 0x80, 0, 0x80);
	ring_desc(&f->rings[i], head, at, (uint32_t)strlen(text), N, head + 1);
	ring_desc(&f->rings[i], head + 1, at + 0x80, 0x40, W, 0);
	ring_offer(&f->rings[i], (uint16_t)head);
}

static inline const char *answer(struct fixture *f, unsigned int i, unsigned int head)
{
	return (const char *)f->guest.base + RING_DATA + i * 0x10000 + head * 0x100 + 0x80;
}

static inline void kick(struct fixture *f, unsigned int i)
{
	const uint64_t one = 1;

	assert_int_equal(write(f->kick[i], &one, sizeof(one)), sizeof(one));
	pump(f);
}

/* How often an eventfd was written since the last look. */
static inline uint64_t signals(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static inline void expect_served(struct fixture *f, unsigned int i)
{
	struct vring_used_elem used;

	signals(f->call[i]);
	offer(f, i, 2, "hello");
	kick(f, i);
	used = ring_take_used(&f->rings[i]);
	assert_int_equal(used.id, 2);
	assert_int_equal(used.len, 5);
	assert_string_equal(answer(f, i, 2), "HELLO");
	assert_int_equal(signals(f->call[i]), 1);
}

#endif /* VHOST_TEST_H */
