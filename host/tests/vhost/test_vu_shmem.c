// SPDX-License-Identifier: MIT
/*
 * test_vu_shmem: the host-visible region, and our requests to the front end
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/vhost/vhost_test.h"

#define REGION (UINT64_C(16) << 20)
#define SHMEM_BIT BIT(VHOST_USER_PROTOCOL_F_SHMEM)
#define SLOTS_BIT BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)

static const struct vhost_shmem_range shown = { DEVICE_REGION, 0x3000, 0x2000, 0x5000 };

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

/* 0, or why it was refused at once. */
static int ask(struct fixture *f, enum news_kind kind, int fd)
{
	unsigned int before = f->dev.nr_done;
	struct news *news = device_news(&f->dev, kind);

	news->range = shown;
	news->file = fd;
	pump(f);
	return f->dev.nr_done == before ? 0 : f->dev.done[--f->dev.nr_done];
}

static int ask_map(struct fixture *f, int fd)
{
	return ask(f, NEWS_MAP, fd);
}

static int ask_unmap(struct fixture *f)
{
	return ask(f, NEWS_UNMAP, -1);
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
	uint64_t end = clock_ms() + 20000;
	size_t got;
	int fd;

	do {
		assert_true(vhost_user_server_step(f->server, 10) >= 0);
		got = read_channel(sock, (char *)request + 1, sizeof(*request), &fd);
	} while (!got && clock_ms() < end);
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

/* What a ring may have for us can take longer than the front end is to wait. */
static void rings_wait_for_the_rest(void **state)
{
	struct fixture *f = *state;
	int sock = start_with_region(f), fd;
	struct shmem_request request;

	assert_int_equal(ask_unmap(f), 0);
	offer(f, 0, 0, "wait");
	kick(f, 0);
	offer(f, 1, 0, "too");
	kick(f, 1);
	assert_int_equal(f->dev.commands[0] + f->dev.commands[1], 0);
	/* Messages do not. */
	assert_int_equal(ask_u64(f, VHOST_USER_GET_QUEUE_NUM), 2);
	assert_int_equal(read_channel(sock, &request, sizeof(request), &fd), 1);
	assert_int_equal(f->dev.commands[0] + f->dev.commands[1], 0);
	read_rest(f, sock, &request);
	pump(f);
	assert_string_equal(answer(f, 0, 0), "WAIT");
	assert_string_equal(answer(f, 1, 0), "TOO");
	send_ack(f, sock, 10, 0);
	/* Nor for ever, if there is nobody any more whom it would be sent to. */
	ring_take_used(&f->rings[0]);
	assert_int_equal(ask_unmap(f), 0);
	offer(f, 0, 0, "again");
	kick(f, 0);
	close(sock);
	pump(f);
	assert_string_equal(answer(f, 0, 0), "AGAIN");
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
	assert_int_equal(f->dev.done_at_reset, 1);
	assert_int_equal(f->dev.done[0], 0);
	/* In between nothing new is begun. */
	assert_int_equal(f->dev.nr_done, 2);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_region_is_offered),	      TEST(mapping_and_unmapping),
		TEST(rings_wait_for_the_rest),	      TEST(nothing_is_asked_unless_negotiated),
		TEST(answers_that_are_none),	      TEST(an_answer_byte_by_byte),
		TEST(a_new_channel_replaces_the_old), TEST(a_request_is_withdrawn),
		TEST(answers_before_the_reset),	      TEST(disconnected_while_pending),
		TEST(what_is_shown_is_no_ram),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_shmem", tests, NULL, NULL);
}
