// SPDX-License-Identifier: MIT
/*
 * test_vhost_user: the back end, with the test as front end and as guest
 *
 * The server is stepped by the test in the test's own thread, so there is no
 * waiting: after pump() everything that was sent has been dealt with.  The
 * device behind it is a stand-in that answers with what it was sent, upper
 * case, at once or when told to; the real one has tests of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/util/capture.h"
#include "memory/guest_memory.h"
#include "tests/vhost/ring_driver.h"
#include "vhost/vhost_user.h"
#include "vhost/vhost_user_wire.h"

#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define BIT(n) (UINT64_C(1) << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define RING_SIZE 16
#define NEED_REPLY VHOST_USER_NEED_REPLY
#define DEVICE_FEATURES (BIT(0) | BIT(16))

/* The stand-in for the device */

struct gpu_device {
	const struct gpu_transport *transport;
	uint64_t features;
	unsigned char config[20];
	struct gpu_request *pending[64];
	unsigned int nr_pending;
	unsigned int commands[2];
	unsigned int resets;
	size_t last_capacity;
	unsigned int spend_ms;
	bool hold;
	int fd;
	uint64_t host_visible;
	int done[16];
	unsigned int nr_done;
	unsigned int done_at_reset;
	bool ask_again;
};

uint64_t gpu_device_features(const struct gpu_device *dev)
{
	(void)dev;
	return DEVICE_FEATURES;
}

void gpu_device_set_features(struct gpu_device *dev, uint64_t features)
{
	dev->features = features;
}

void gpu_device_read_config(struct gpu_device *dev, uint32_t offset, void *data, size_t len)
{
	unsigned char *to = data;
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = offset + i < sizeof(dev->config) ? dev->config[offset + i] : 0;
}

void gpu_device_write_config(struct gpu_device *dev, uint32_t offset, const void *data, size_t len)
{
	if (offset < sizeof(dev->config) && len <= sizeof(dev->config) - offset)
		memcpy(dev->config + offset, data, len);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void gpu_device_command(struct gpu_device *dev, unsigned int queue, const void *data, size_t len,
			size_t resp_capacity, struct gpu_request *req)
{
	uint64_t end = now_ms() + dev->spend_ms;
	unsigned char answer[64];
	size_t i;

	/* Hard work. */
	while (now_ms() < end)
		;
	dev->commands[queue]++;
	dev->last_capacity = resp_capacity;
	if (dev->hold) {
		assert_true(dev->nr_pending < ARRAY_SIZE(dev->pending));
		dev->pending[dev->nr_pending++] = req;
		return;
	}
	if (len > sizeof(answer))
		len = sizeof(answer);
	for (i = 0; i < len; i++)
		answer[i] = (unsigned char)toupper(((const unsigned char *)data)[i]);
	dev->transport->respond(dev->transport->opaque, req, answer, len);
}

/* The last one first, as a device may do. */
static void answer_pending(struct gpu_device *dev, const char *answer)
{
	while (dev->nr_pending)
		dev->transport->respond(dev->transport->opaque, dev->pending[--dev->nr_pending],
					answer, strlen(answer));
}

void gpu_device_reset(struct gpu_device *dev)
{
	answer_pending(dev, "");
	dev->features = 0;
	dev->done_at_reset = dev->nr_done;
	dev->resets++;
}

uint64_t gpu_device_host_visible(const struct gpu_device *dev)
{
	return dev->host_visible;
}

/* Something more to unmap, as a device with a queue has. */
void gpu_device_shmem_done(struct gpu_device *dev, int err)
{
	const struct gpu_shmem_range range = { .offset = 0x7000, .size = 0x1000 };

	assert_true(dev->nr_done < ARRAY_SIZE(dev->done));
	dev->done[dev->nr_done++] = err;
	if (!dev->ask_again)
		return;
	dev->ask_again = false;
	err = dev->transport->shmem_unmap(dev->transport->opaque, &range);
	if (err)
		dev->done[dev->nr_done++] = err;
}

int gpu_device_fd(const struct gpu_device *dev)
{
	return dev->fd;
}

void gpu_device_dispatch(struct gpu_device *dev)
{
	uint64_t count;

	assert_int_equal(read(dev->fd, &count, sizeof(count)), sizeof(count));
	answer_pending(dev, "LATE");
}

/* Fixture: a server that listens, a front end that is connected to it */

struct fixture {
	struct gpu_device dev;
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

static unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Until there is nothing to do; a server that never gets there is spinning. */
static void pump(struct fixture *f)
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

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static unsigned int count;
	unsigned int i;

	assert_non_null(f);
	f->dev.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->gm = guest_memory_new();
	f->server = vhost_user_server_new(f->gm);
	assert_non_null(f->server);
	f->dev.transport = vhost_user_server_transport(f->server);
	assert_int_equal(vhost_user_server_attach(f->server, &f->dev), 0);
	snprintf(f->path, sizeof(f->path), "%s/test_vhost_user.%d.%u",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", getpid(), count++);
	assert_int_equal(vhost_user_server_listen(f->server, f->path), 0);
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

static int teardown(void **state)
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

static void send_bytes(int sock, const void *data, size_t len, const int *fds, unsigned int nr)
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

static size_t make_message(unsigned char *to, uint32_t request, uint32_t flags, const void *payload,
			   uint32_t size)
{
	struct vhost_user_header header = { request, VHOST_USER_VERSION | flags, size };

	memcpy(to, &header, sizeof(header));
	if (size)
		memcpy(to + sizeof(header), payload, size);
	return sizeof(header) + size;
}

static void send_message_fds(struct fixture *f, uint32_t request, uint32_t flags,
			     const void *payload, uint32_t size, const int *fds, unsigned int nr)
{
	unsigned char message[8192];
	size_t len = make_message(message, request, flags, payload, size);

	send_bytes(f->sock, message, len, fds, nr);
	pump(f);
}

static void send_message(struct fixture *f, uint32_t request, uint32_t flags, const void *payload,
			 uint32_t size)
{
	send_message_fds(f, request, flags, payload, size, NULL, 0);
}

static bool reply_waits(struct fixture *f)
{
	struct pollfd p = { .fd = f->sock, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* The answer to @request; its payload goes to @to.  Returns its size. */
static uint32_t read_reply(struct fixture *f, uint32_t request, void *to, size_t max)
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

static uint64_t read_u64(struct fixture *f, uint32_t request)
{
	uint64_t value = 0;

	assert_int_equal(read_reply(f, request, &value, sizeof(value)), sizeof(value));
	return value;
}

static uint64_t ask_u64(struct fixture *f, uint32_t request)
{
	send_message(f, request, 0, NULL, 0);
	return read_u64(f, request);
}

/* The acknowledgement: whether it was refused. */
static bool refused_fds(struct fixture *f, uint32_t request, const void *payload, uint32_t size,
			const int *fds, unsigned int nr)
{
	send_message_fds(f, request, NEED_REPLY, payload, size, fds, nr);
	return read_u64(f, request) != 0;
}

static bool refused(struct fixture *f, uint32_t request, const void *payload, uint32_t size)
{
	return refused_fds(f, request, payload, size, NULL, 0);
}

static bool refused_u64(struct fixture *f, uint32_t request, uint64_t value)
{
	return refused(f, request, &value, sizeof(value));
}

static bool refused_state(struct fixture *f, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_vring_state state = { index, num };

	return refused(f, request, &state, sizeof(state));
}

static bool refused_fd(struct fixture *f, uint32_t request, uint64_t value, int fd)
{
	return refused_fds(f, request, &value, sizeof(value), &fd, 1);
}

static bool refused_addr(struct fixture *f, uint32_t index, uint32_t flags)
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

static bool refused_memory(struct fixture *f, uint64_t size)
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

static void disconnect(struct fixture *f)
{
	close(f->sock);
	f->sock = -1;
	pump(f);
	assert_false(vhost_user_server_connected(f->server));
}

static void reconnect(struct fixture *f)
{
	unsigned int i;

	f->sock = connect_to(f->path);
	pump(f);
	assert_true(vhost_user_server_connected(f->server));
	for (i = 0; i < 2; i++)
		test_ring_init(&f->rings[i], &f->guest, i, RING_SIZE);
}

static bool hung_up(struct fixture *f)
{
	char byte;

	return recv(f->sock, &byte, 1, MSG_DONTWAIT) == 0;
}

/* As User-Mode Linux and QEMU begin. */
static void negotiate(struct fixture *f, uint64_t features)
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

static void configure_ring(struct fixture *f, unsigned int i)
{
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_NUM, i, RING_SIZE));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_BASE, i, f->base[i]));
	assert_false(refused_addr(f, i, 0));
}

static void start_rings(struct fixture *f)
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

static void offer(struct fixture *f, unsigned int i, unsigned int head, const char *text)
{
	uint32_t at = RING_DATA + i * 0x10000 + head * 0x100;

	memcpy(f->guest.base + at, text, strlen(text));
	memset(f->guest.base + at + 0x80, 0, 0x80);
	ring_desc(&f->rings[i], head, at, (uint32_t)strlen(text), N, head + 1);
	ring_desc(&f->rings[i], head + 1, at + 0x80, 0x40, W, 0);
	ring_offer(&f->rings[i], (uint16_t)head);
}

static const char *answer(struct fixture *f, unsigned int i, unsigned int head)
{
	return (const char *)f->guest.base + RING_DATA + i * 0x10000 + head * 0x100 + 0x80;
}

static void kick(struct fixture *f, unsigned int i)
{
	const uint64_t one = 1;

	assert_int_equal(write(f->kick[i], &one, sizeof(one)), sizeof(one));
	pump(f);
}

/* How often an eventfd was written since the last look. */
static uint64_t signals(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void expect_served(struct fixture *f, unsigned int i)
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

/* Tests: what good front ends do */

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

/* Both rings were kicked; what is done with the first event of the first? */
static unsigned int served_in_a_round(struct fixture *f)
{
	const uint64_t one = 1;
	unsigned int round;

	offer(f, 1, 0, "other");
	assert_int_equal(write(f->kick[0], &one, sizeof(one)), sizeof(one));
	assert_int_equal(write(f->kick[1], &one, sizeof(one)), sizeof(one));
	while (!ring_used_waiting(&f->rings[0]))
		assert_int_equal(vhost_user_server_step(f->server, 0), 1);
	round = ring_used_waiting(&f->rings[0]);
	/* The other ring has its turn before the rest. */
	while (!ring_used_waiting(&f->rings[1]))
		assert_int_equal(vhost_user_server_step(f->server, 0), 1);
	assert_int_equal(ring_used_waiting(&f->rings[0]), round);
	ring_take_used(&f->rings[1]);
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
	/* One if the machine is so slow that the time is up. */
	assert_true(served_in_a_round(f) <= 2);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 6);
}

static void long_requests_do_not_keep_the_server(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	start_rings(f);
	f->dev.spend_ms = 150;
	for (i = 0; i < 6; i += 2)
		offer(f, 0, i, "long");
	assert_int_equal(served_in_a_round(f), 1);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 3);
}

static void late_answers_in_another_order(void **state)
{
	struct fixture *f = *state;
	const uint64_t one = 1;

	start_rings(f);
	f->dev.hold = true;
	offer(f, 0, 0, "a");
	offer(f, 0, 2, "b");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	assert_int_equal(signals(f->call[0]), 0);
	assert_int_equal(write(f->dev.fd, &one, sizeof(one)), sizeof(one));
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
	f->dev.transport->respond(f->dev.transport->opaque, f->dev.pending[0], "LATE", 4);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	f->dev.pending[0] = f->dev.pending[1];
	f->dev.nr_pending = 1;
	answer_pending(&f->dev, "ANSWER");
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

static void the_next_front_end_waits_its_turn(void **state)
{
	struct fixture *f = *state;
	int first = f->sock, second = connect_to(f->path);

	start_rings(f);
	f->sock = second;
	send_message(f, VHOST_USER_GET_FEATURES, 0, NULL, 0);
	assert_false(reply_waits(f));
	f->sock = first;
	expect_served(f, 0);
	close(first);
	f->sock = second;
	pump(f);
	assert_true(read_u64(f, VHOST_USER_GET_FEATURES) != 0);
}

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

static void several_regions_of_one_file(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region regions[2];
	} m = {
		{ .nr = 2 },
		{
			{ RING_GUEST_BASE + RING_DATA, RING_MEMORY_SIZE - RING_DATA,
			  RING_USER_BASE + (1ull << 40), RING_DATA },
			{ RING_GUEST_BASE, RING_DATA, RING_USER_BASE, 0 },
		},
	};
	int fds[2] = { f->guest.fd, f->guest.fd };

	start_rings(f);
	/* While the rings run, as with memory that is plugged in. */
	assert_false(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, sizeof(m), fds, 2));
	expect_served(f, 0);
	expect_served(f, 1);
}

static void a_table_without_the_ring_breaks_it(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	assert_false(refused_memory(f, 4096));
	assert_int_equal(signals(f->err[0]), 1);
	offer(f, 0, 0, "x");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
}

/* Tests: hostile guests */

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

/* Tests: hostile and broken front ends */

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
	assert_false(refused_memory(f, RING_MEMORY_SIZE));
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
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

static void bad_memory_tables(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region regions[100];
	} m;
	int fds[100];
	unsigned int i;

	start_rings(f);
	memset(&m, 0, sizeof(m));
	for (i = 0; i < 100; i++) {
		m.regions[i] = (struct vhost_user_region){ i << 12, 4096, i << 12, i << 12 };
		fds[i] = f->guest.fd;
	}
	m.table.nr = 65;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 65 * 32, fds, 65));
	m.table.nr = 0xffffffff;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 1));
	m.table.nr = 0x08000001; /* 32 times that is 32, in 32 bits */
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 1));
	m.table.nr = 2;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 2));
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 64, fds, 1));
	m.table.nr = 1;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 2));
	m.table.nr = 2;
	fds[1] = f->kick[0];
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 64, fds, 2));
	assert_true(refused_memory(f, RING_MEMORY_SIZE + 1));
	/* The good table stays. */
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

/* The messages of start_rings(), as bytes. */
struct recording {
	unsigned char bytes[2048];
	size_t len;
	/* Where each message starts, and the descriptor that goes with it. */
	size_t starts[32];
	int fds[32];
	unsigned int nr;
};

static void record(struct recording *r, uint32_t request, const void *payload, uint32_t size,
		   int fd)
{
	r->starts[r->nr] = r->len;
	r->fds[r->nr++] = fd;
	r->len += make_message(r->bytes + r->len, request, 0, payload, size);
}

static void record_start(struct fixture *f, struct recording *r)
{
	uint64_t features = DEVICE_FEATURES | BIT(28) | BIT(30) | BIT(32), protocol = BIT(0), i;
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region region;
	} memory = { { .nr = 1 }, { RING_GUEST_BASE, RING_MEMORY_SIZE, RING_USER_BASE, 0 } };

	record(r, VHOST_USER_SET_OWNER, NULL, 0, -1);
	record(r, VHOST_USER_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), -1);
	record(r, VHOST_USER_SET_FEATURES, &features, sizeof(features), -1);
	record(r, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, f->err[0]);
	record(r, VHOST_USER_SET_MEM_TABLE, &memory, sizeof(memory), f->guest.fd);
	for (i = 0; i < 2; i++) {
		const struct test_ring *ring = &f->rings[i];
		struct vhost_user_vring_state num = { i, RING_SIZE }, base = { i, 0 };
		struct vhost_user_vring_state enable = { i, 1 };
		struct vhost_user_vring_addr addr = {
			.index = i,
			.desc = RING_USER_BASE + ring_desc_at(ring),
			.used = RING_USER_BASE + ring_used_at(ring),
			.avail = RING_USER_BASE + ring_avail_at(ring),
		};

		record(r, VHOST_USER_SET_VRING_CALL, &i, sizeof(i), f->call[i]);
		record(r, VHOST_USER_SET_VRING_NUM, &num, sizeof(num), -1);
		record(r, VHOST_USER_SET_VRING_BASE, &base, sizeof(base), -1);
		record(r, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
		record(r, VHOST_USER_SET_VRING_KICK, &i, sizeof(i), f->kick[i]);
		record(r, VHOST_USER_SET_VRING_ENABLE, &enable, sizeof(enable), -1);
	}
}

/* The first @len bytes. */
static void play(struct fixture *f, const struct recording *r, size_t len)
{
	unsigned int i;

	for (i = 0; i < r->nr && r->starts[i] < len; i++) {
		size_t end = i + 1 < r->nr ? r->starts[i + 1] : r->len;

		if (end > len)
			end = len;
		send_bytes(f->sock, r->bytes + r->starts[i], end - r->starts[i], &r->fds[i],
			   r->fds[i] >= 0);
	}
	pump(f);
}

static void a_front_end_that_hangs_up_anywhere(void **state)
{
	struct fixture *f = *state;
	struct recording r = { .len = 0 };
	size_t len;

	record_start(f, &r);
	for (len = 0; len <= r.len; len++) {
		play(f, &r, len);
		assert_true(vhost_user_server_connected(f->server));
		disconnect(f);
		assert_int_equal(open_fds(), f->fds);
		assert_null(guest_memory_pointer(f->gm, RING_GUEST_BASE, 1));
		reconnect(f);
	}
	play(f, &r, r.len);
	expect_served(f, 0);
	expect_served(f, 1);
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

/* Tests: sockets */

/* Tests: the host-visible region */

#define REGION (UINT64_C(16) << 20)
#define SHMEM_BIT BIT(VHOST_USER_PROTOCOL_F_SHMEM)
#define SLOTS_BIT BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)

static const struct gpu_shmem_range shown = { 0x3000, 0x2000, 0x5000 };

/* The front end's end of the back-end channel. */
static int open_channel(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_false(refused_fds(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1));
	close(pair[1]);
	return pair[0];
}

static int start_with_region(struct fixture *f)
{
	f->dev.host_visible = REGION;
	start_rings(f);
	return open_channel(f);
}

static int ask_map(struct fixture *f, int fd)
{
	return f->dev.transport->shmem_map(f->dev.transport->opaque, &shown, fd);
}

static int ask_unmap(struct fixture *f)
{
	return f->dev.transport->shmem_unmap(f->dev.transport->opaque, &shown);
}

/* Up to @len bytes that are there, and a descriptor, or -1. */
static size_t read_channel(int sock, void *to, size_t len, int *fd)
{
	union {
		char buffer[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { to, len };
	struct msghdr in = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer),
	};
	ssize_t got = recvmsg(sock, &in, MSG_DONTWAIT);
	struct cmsghdr *cmsg = got > 0 ? CMSG_FIRSTHDR(&in) : NULL;

	*fd = -1;
	if (cmsg) {
		assert_int_equal(cmsg->cmsg_type, SCM_RIGHTS);
		assert_int_equal(cmsg->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(fd, CMSG_DATA(cmsg), sizeof(*fd));
	}
	return got > 0 ? (size_t)got : 0;
}

struct shmem_request {
	struct vhost_user_header header;
	struct vhost_user_mmap map;
} __attribute__((packed));

/* What comes once the first byte was read: the rest of the request. */
static void read_rest(struct fixture *f, int sock, struct shmem_request *request)
{
	uint64_t end = now_ms() + 20000;
	size_t got;
	int fd;

	do {
		assert_true(vhost_user_server_step(f->server, 10) >= 0);
		got = read_channel(sock, (char *)request + 1, sizeof(*request), &fd);
	} while (!got && now_ms() < end);
	assert_int_equal(got, sizeof(*request) - 1);
	assert_int_equal(fd, -1);
}

static void read_request(struct fixture *f, int sock, struct shmem_request *request, int *fd)
{
	assert_int_equal(read_channel(sock, request, sizeof(*request), fd), 1);
	read_rest(f, sock, request);
}

static void send_ack(struct fixture *f, int sock, uint32_t request, uint64_t value)
{
	unsigned char message[64];
	size_t len = make_message(message, request, VHOST_USER_REPLY, &value, sizeof(value));

	send_bytes(sock, message, len, NULL, 0);
	pump(f);
}

static void the_region_is_offered(void **state)
{
	struct vhost_user_shmem_config config;
	struct fixture *f = *state;
	unsigned int i;

	assert_int_equal(ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES) & (SHMEM_BIT | SLOTS_BIT), 0);
	assert_true(refused_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, BIT(3)) == false);
	assert_true(refused_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, BIT(3) | SHMEM_BIT));
	send_message(f, VHOST_USER_GET_SHMEM_CONFIG, 0, NULL, 0);
	assert_int_equal(read_reply(f, VHOST_USER_GET_SHMEM_CONFIG, &config, sizeof(config)),
			 8 + 256 * 8);
	assert_int_equal(config.nr, 0);
	f->dev.host_visible = REGION;
	assert_int_equal(ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES) & (SHMEM_BIT | SLOTS_BIT),
			 SHMEM_BIT | SLOTS_BIT);
	assert_int_equal(VHOST_USER_PROTOCOL_F_SHMEM, 22);
	send_message(f, VHOST_USER_GET_SHMEM_CONFIG, 0, NULL, 0);
	assert_int_equal(read_reply(f, VHOST_USER_GET_SHMEM_CONFIG, &config, sizeof(config)),
			 8 + 256 * 8);
	assert_int_equal(config.nr, 1);
	for (i = 0; i < 256; i++)
		assert_int_equal(config.sizes[i], i == 1 ? REGION : 0);
}

/* Byte for byte as QEMU has it. */
static void mapping_and_unmapping(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), file = memfd_create("blob", MFD_CLOEXEC), fd;
	struct shmem_request request;
	unsigned char bytes[40];
	struct stat was, is;

	assert_int_equal(ask_map(f, file), 0);
	/* One at a time. */
	assert_int_equal(ask_unmap(f), -EBUSY);
	read_request(f, sock, &request, &fd);
	assert_int_equal(request.header.request, 9);
	assert_int_equal(request.header.flags, VHOST_USER_VERSION | NEED_REPLY);
	assert_int_equal(request.header.size, sizeof(bytes));
	memset(bytes, 0, sizeof(bytes));
	bytes[0] = 1;
	bytes[9] = 0x50;
	bytes[17] = 0x30;
	bytes[25] = 0x20;
	bytes[32] = 1;
	assert_memory_equal(&request.map, bytes, sizeof(bytes));
	fstat(file, &was);
	assert_int_equal(fstat(fd, &is), 0);
	assert_int_equal(was.st_ino, is.st_ino);
	close(fd);
	assert_int_equal(f->dev.nr_done, 0);
	send_ack(f, sock, 9, 0);
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done[0], 0);
	assert_int_equal(ask_unmap(f), 0);
	read_request(f, sock, &request, &fd);
	assert_int_equal(fd, -1);
	assert_int_equal(request.header.request, 10);
	assert_int_equal(request.map.shmid, 1);
	assert_int_equal(request.map.shm_offset, shown.offset);
	assert_int_equal(request.map.len, shown.size);
	send_ack(f, sock, 10, 1);
	assert_int_equal(f->dev.nr_done, 2);
	assert_true(f->dev.done[1] < 0);
	expect_served(f, 0);
	close(file);
	close(sock);
	pump(f);
}

static void nothing_is_asked_unless_negotiated(void **state)
{
	static const unsigned int needed[] = { 3, 5, 10, 22 };
	struct fixture *f = *state;
	uint64_t offered;
	unsigned int i;
	char byte;
	int sock;

	f->dev.host_visible = REGION;
	negotiate(f, DEVICE_FEATURES | BIT(30));
	assert_int_equal(ask_unmap(f), -EOPNOTSUPP);
	sock = open_channel(f);
	offered = ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	for (i = 0; i < ARRAY_SIZE(needed); i++) {
		uint64_t features = offered & ~BIT(needed[i]);

		send_message(f, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &features, 8);
		assert_int_equal(ask_unmap(f), -EOPNOTSUPP);
	}
	assert_int_equal(recv(sock, &byte, 1, MSG_DONTWAIT), -1);
	send_message(f, VHOST_USER_SET_PROTOCOL_FEATURES, 0, &offered, 8);
	assert_int_equal(ask_unmap(f), 0);
	assert_int_equal(recv(sock, &byte, 1, MSG_DONTWAIT), 1);
	assert_int_equal(f->dev.nr_done, 0);
	close(sock);
	pump(f);
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done[0], -EPIPE);
	/* The front end can do without the channel. */
	assert_int_equal(ask_unmap(f), -EOPNOTSUPP);
	assert_int_equal(ask_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
}

static void answers_that_are_none(void **state)
{
	static const struct {
		uint32_t request;
		uint32_t flags;
		uint32_t size;
		bool unasked;
	} bad[] = {
		{ 9, 5, 8, false },   { 10, 1, 8, false },	    { 10, 4, 8, false },
		{ 10, 6, 8, false },  { 10, 5, 7, false },	    { 10, 5, 0, false },
		{ 10, 5, 16, false }, { 10, 5, UINT32_MAX, false }, { 10, 5, 8, true },
	};
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vhost_user_header header = { bad[i].request, bad[i].flags, bad[i].size };
		struct shmem_request request;
		int sock, fd;

		if (i)
			reconnect(f);
		sock = start_with_region(f);
		f->dev.nr_done = 0;
		if (!bad[i].unasked) {
			assert_int_equal(ask_unmap(f), 0);
			read_request(f, sock, &request, &fd);
		}
		send_bytes(sock, &header, sizeof(header), NULL, 0);
		pump(f);
		assert_true(hung_up(f));
		assert_false(vhost_user_server_connected(f->server));
		/* The device hears of its request, once. */
		assert_int_equal(f->dev.nr_done, bad[i].unasked ? 0 : 1);
		close(sock);
		close(f->sock);
		f->sock = -1;
		f->base[0] = f->base[1] = 0;
	}
}

static void an_answer_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), fd;
	struct shmem_request request;
	unsigned char message[64];
	uint64_t value = 0;
	size_t len = make_message(message, 10, VHOST_USER_REPLY, &value, sizeof(value)), i;

	assert_int_equal(ask_unmap(f), 0);
	read_request(f, sock, &request, &fd);
	for (i = 0; i < len; i++) {
		assert_int_equal(f->dev.nr_done, 0);
		send_bytes(sock, message + i, 1, NULL, 0);
		pump(f);
	}
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done[0], 0);
	close(sock);
	pump(f);
}

static void a_new_channel_replaces_the_old(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), other, fd;
	struct shmem_request request;

	assert_int_equal(ask_unmap(f), 0);
	read_request(f, sock, &request, &fd);
	other = open_channel(f);
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done[0], -EPIPE);
	assert_int_equal(ask_unmap(f), 0);
	read_request(f, other, &request, &fd);
	send_ack(f, other, 10, 0);
	assert_int_equal(f->dev.done[1], 0);
	close(sock);
	close(other);
	pump(f);
}

/* A front end that stops the device while a request is on its way dies of it. */
static void a_request_is_withdrawn(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), fd;
	struct vhost_user_header header;

	assert_int_equal(ask_unmap(f), 0);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_int_equal(f->dev.nr_done, 0);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 0));
	assert_int_equal(f->dev.resets, 1);
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done_at_reset, 1);
	assert_int_equal(f->dev.done[0], -ECANCELED);
	/* What it reads later is nothing that it knows, and wants no answer. */
	assert_int_equal(read_channel(sock, &header, sizeof(header), &fd), sizeof(header));
	assert_int_equal(header.request & 0xff, 10);
	assert_true(header.request > 0xff);
	assert_int_equal(header.flags, VHOST_USER_VERSION);
	assert_int_equal(header.size, 0);
	assert_int_equal(read_channel(sock, &header, sizeof(header), &fd), 0);
	/* And it goes on. */
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(ask_unmap(f), 0);
	close(sock);
	pump(f);
}

/* What the front end did before it stopped the device is known when it is reset. */
static void answers_before_the_reset(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), fd;
	struct shmem_request request;
	unsigned char message[64];
	uint64_t value = 0;
	size_t len = make_message(message, 10, VHOST_USER_REPLY, &value, sizeof(value));
	struct vhost_user_vring_state state_off = { .index = 1, .num = 0 };
	unsigned char stop[64];
	char byte;

	assert_int_equal(ask_unmap(f), 0);
	read_request(f, sock, &request, &fd);
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	/* Both are there, and the message is looked at first. */
	send_bytes(f->sock, stop,
		   make_message(stop, VHOST_USER_SET_VRING_ENABLE, 0, &state_off,
				sizeof(state_off)),
		   NULL, 0);
	send_bytes(sock, message, len, NULL, 0);
	f->dev.ask_again = true;
	pump(f);
	assert_int_equal(f->dev.resets, 1);
	assert_int_equal(f->dev.done_at_reset, 2);
	assert_int_equal(f->dev.done[0], 0);
	/* In between nothing new is begun. */
	assert_int_equal(f->dev.done[1], -ECANCELED);
	assert_int_equal(recv(sock, &byte, 1, MSG_DONTWAIT), -1);
	close(sock);
	pump(f);
}

static void disconnected_while_pending(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), fd;
	struct shmem_request request;

	assert_int_equal(ask_unmap(f), 0);
	read_request(f, sock, &request, &fd);
	disconnect(f);
	assert_int_equal(f->dev.resets, 1);
	assert_int_equal(f->dev.nr_done, 1);
	assert_int_equal(f->dev.done[0], -EPIPE);
	assert_int_equal(ask_unmap(f), -EOPNOTSUPP);
	close(sock);
}

static bool refused_region(struct fixture *f, uint32_t request, uint64_t addr, uint64_t size,
			   uint64_t user, int fd)
{
	struct vhost_user_single_region m = { 0, { addr, size, user, 0 } };

	return refused_fds(f, request, &m, sizeof(m), &fd, fd >= 0);
}

/* What QEMU maps for us it shows to the guest, and counts as the guest's memory. */
static void what_is_shown_is_no_ram(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), fd;
	int file = memfd_create("blob", MFD_CLOEXEC), other = memfd_create("ram", MFD_CLOEXEC);
	uint64_t ram = guest_memory_bytes(f->gm);
	struct shmem_request request;
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region regions[2];
	} m = {
		{ .nr = 2 },
		{
			{ RING_GUEST_BASE, RING_MEMORY_SIZE, RING_USER_BASE, 0 },
			{ 1ull << 40, 0x1000, 1ull << 40, 0 },
		},
	};
	int fds[2] = { f->guest.fd, file };

	assert_int_equal(ask_u64(f, VHOST_USER_GET_MAX_MEM_SLOTS), 512);
	assert_int_equal(ftruncate(file, 0x1000), 0);
	assert_int_equal(ftruncate(other, 0x1000), 0);
	assert_int_equal(ask_map(f, file), 0);
	read_request(f, sock, &request, &fd);
	close(fd);
	send_ack(f, sock, 9, 0);
	assert_false(
		refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, 0x1000, 1ull << 40, file));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	assert_false(
		refused_region(f, VHOST_USER_ADD_MEM_REG, 2ull << 40, 0x1000, 2ull << 40, other));
	assert_int_equal(guest_memory_bytes(f->gm), ram + 0x1000);
	expect_served(f, 0);
	assert_false(refused_region(f, VHOST_USER_REM_MEM_REG, 1ull << 40, 0x1000, 1ull << 40, -1));
	assert_true(refused_region(f, VHOST_USER_REM_MEM_REG, 1ull << 40, 0x1000, 1ull << 40, -1));
	assert_int_equal(guest_memory_bytes(f->gm), ram + 0x1000);
	assert_false(refused_region(f, VHOST_USER_REM_MEM_REG, 2ull << 40, 0x1000, 2ull << 40, -1));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	/* The whole table at a time, as without the protocol feature. */
	assert_false(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, sizeof(m), fds, 2));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	fds[1] = other;
	assert_false(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, sizeof(m), fds, 2));
	assert_int_equal(guest_memory_bytes(f->gm), ram + 0x1000);
	expect_served(f, 1);
	close(file);
	close(other);
	close(sock);
	pump(f);
}

static void bad_single_regions(void **state)
{
	struct fixture *f = *state;
	uint64_t ram;
	unsigned int i, nr = 0;

	start_rings(f);
	ram = guest_memory_bytes(f->gm);
	/* Overlapping, of no size, past the end of its file, without one. */
	assert_true(
		refused_region(f, VHOST_USER_ADD_MEM_REG, RING_GUEST_BASE, 0x1000, 0, f->guest.fd));
	assert_true(
		refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, 0, 1ull << 40, f->guest.fd));
	assert_true(refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, RING_MEMORY_SIZE + 4096,
				   1ull << 40, f->guest.fd));
	assert_true(refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, 0x1000, 1ull << 40, -1));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	/* There is an end to it. */
	for (i = 1; i < 100; i++)
		nr += !refused_region(f, VHOST_USER_ADD_MEM_REG, (uint64_t)i << 40, 0x1000,
				      (uint64_t)i << 40, f->guest.fd);
	assert_int_equal(nr, 63);
	assert_true(
		refused_region(f, VHOST_USER_REM_MEM_REG, 99ull << 40, 0x1000, 99ull << 40, -1));
	for (i = 1; i <= 63; i++)
		assert_false(refused_region(f, VHOST_USER_REM_MEM_REG, (uint64_t)i << 40, 0x1000,
					    (uint64_t)i << 40, -1));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	expect_served(f, 0);
}

static void sockets_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct vhost_user_server *other = vhost_user_server_new(f->gm);
	char long_path[200];
	char path[80];
	int fd;

	assert_non_null(other);
	assert_int_equal(vhost_user_server_attach(other, &f->dev), 0);
	/* In use. */
	assert_int_equal(vhost_user_server_listen(other, f->path), -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
	/* Left behind. */
	snprintf(path, sizeof(path), "%s.stale", f->path);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(vhost_user_server_listen(other, path), 0);
	fd = connect_to(path);
	assert_int_equal(vhost_user_server_step(other, 0), 1);
	assert_true(vhost_user_server_connected(other));
	/* Replaced by somebody else's file, which stays. */
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	vhost_user_server_close(other);
	close(fd);
	assert_int_equal(access(path, F_OK), 0);
	vhost_user_server_free(other);

	/* Not a socket. */
	other = vhost_user_server_new(f->gm);
	assert_int_equal(vhost_user_server_listen(other, path), -EEXIST);
	unlink(path);
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = 0;
	assert_int_equal(vhost_user_server_listen(other, long_path), -ENAMETOOLONG);
	assert_int_equal(vhost_user_server_listen(other, "/nonexistent/socket"), -ENOENT);
	vhost_user_server_free(other);
	signals(f->dev.fd);
}

static void no_descriptors_left(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, low;
	struct capture capture;
	int dups[64], sock, nr = 0, rc, err;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char byte;

	disconnect(f);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(addr.sun_path, f->path);
	capture_begin();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){ .rlim_cur = 64, .rlim_max = limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	while (nr < 64 && (dups[nr] = dup(f->err[0])) >= 0)
		nr++;
	err = errno;
	rc = connect(sock, (struct sockaddr *)&addr, sizeof(addr));
	if (!rc)
		rc = vhost_user_server_step(f->server, 0);
	while (nr)
		close(dups[--nr]);
	setrlimit(RLIMIT_NOFILE, &limit);
	capture_end(&capture);
	assert_int_equal(err, EMFILE);
	assert_int_equal(rc, 1);
	assert_int_equal(captured(&capture, "cannot take a connection"), 1);
	/* It is told, nobody spins, and the next one is served. */
	pump(f);
	assert_false(vhost_user_server_connected(f->server));
	assert_int_equal(recv(sock, &byte, 1, MSG_DONTWAIT), 0);
	close(sock);
	reconnect(f);
	start_rings(f);
	expect_served(f, 0);
}

static void inherited_sockets(void **state)
{
	struct fixture *f = *state;
	struct vhost_user_server *other = vhost_user_server_new(f->gm);
	struct fixture alias;
	int pair[2], own = f->sock;

	assert_int_equal(vhost_user_server_attach(other, &f->dev), 0);
	assert_int_equal(vhost_user_server_adopt(other, 1023), -EBADF);
	assert_int_equal(vhost_user_server_adopt(other, f->kick[0]), -EINVAL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhost_user_server_adopt(other, pair[0]), -EINVAL);
	close(pair[0]);
	close(pair[1]);
	/* Connected: this one front end, then the end. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vhost_user_server_adopt(other, pair[0]), 0);
	assert_true(vhost_user_server_connected(other));
	alias = *f;
	alias.server = other;
	alias.sock = pair[1];
	assert_int_equal(ask_u64(&alias, VHOST_USER_GET_QUEUE_NUM), 2);
	assert_false(vhost_user_server_finished(other));
	close(pair[1]);
	pump(&alias);
	assert_true(vhost_user_server_finished(other));
	assert_false(vhost_user_server_finished(f->server));
	vhost_user_server_close(other);
	vhost_user_server_free(other);
	f->sock = own;
}

static void statistics(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t size;
	FILE *to;

	start_rings(f);
	expect_served(f, 0);
	expect_served(f, 1);
	to = open_memstream(&text, &size);
	vhost_user_server_print_stats(f->server, to);
	fclose(to);
	assert_non_null(strstr(text, "connections: 1\n"));
	assert_non_null(strstr(text, "ring_requests: 2\n"));
	assert_non_null(strstr(text, "ring_bytes_in: 10\n"));
	assert_non_null(strstr(text, "ring_bytes_out: 10\n"));
	assert_non_null(strstr(text, "bad_requests: 0\n"));
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(late_answers_in_another_order),
		TEST(requests_from_before_the_kick_descriptor),
		TEST(a_disabled_ring_waits),
		TEST(rings_start_enabled_without_protocol_features),
		TEST(stopping_the_last_ring_resets_the_device),
		TEST(late_answers_of_a_stopped_ring_are_dropped),
		TEST(disabling_all_rings_resets_the_device),
		TEST(enabling_again_gives_the_device_its_features),
		TEST(reset_messages),
		TEST(a_second_guest_after_the_first),
		TEST(the_next_front_end_waits_its_turn),
		TEST(configuration_space),
		TEST(bad_configuration_messages),
		TEST(the_back_end_request_descriptor),
		TEST(several_regions_of_one_file),
		TEST(a_table_without_the_ring_breaks_it),
		TEST(a_bad_chain_is_handed_back),
		TEST(a_broken_ring_stops_alone),
		TEST(a_ring_that_a_guest_set_up_badly),
		TEST(features_that_were_not_offered),
		TEST(no_answer_unless_negotiated),
		TEST(a_failure_that_cannot_be_told_hangs_up),
		TEST(unknown_requests),
		TEST(payloads_of_a_wrong_size),
		TEST(missing_and_surplus_descriptors),
		TEST(ring_numbers_out_of_range),
		TEST(ring_values_out_of_range),
		TEST(bad_memory_tables),
		TEST(kick_descriptors_that_are_none),
		TEST(call_and_error_descriptors_may_be_absent),
		TEST(streams_that_are_not_vhost_user),
		TEST(messages_that_come_byte_by_byte),
		TEST(a_front_end_that_hangs_up_anywhere),
		TEST(a_front_end_that_does_not_read),
		TEST(the_region_is_offered),
		TEST(mapping_and_unmapping),
		TEST(nothing_is_asked_unless_negotiated),
		TEST(answers_that_are_none),
		TEST(an_answer_byte_by_byte),
		TEST(a_new_channel_replaces_the_old),
		TEST(a_request_is_withdrawn),
		TEST(answers_before_the_reset),
		TEST(disconnected_while_pending),
		TEST(what_is_shown_is_no_ram),
		TEST(bad_single_regions),
		TEST(sockets_in_the_way),
		TEST(no_descriptors_left),
		TEST(inherited_sockets),
		TEST(statistics),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vhost_user", tests, NULL, NULL);
}
