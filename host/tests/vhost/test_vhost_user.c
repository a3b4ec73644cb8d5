// SPDX-License-Identifier: MIT
/*
 * test_vhost_user: sockets, and front ends that come and go
 */
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/vhost/vhost_test.h"

static void the_next_front_end_waits_its_turn(void **state)
{
	struct fixture *f = *state;
	int first = f->sock, second;
	struct capture capture;

	start_rings(f);
	capture_begin();
	second = connect_to(f->path);
	pump(f);
	capture_end(&capture);
	/* Whoever wonders why nothing happens is told, once. */
	assert_int_equal(captured(&capture, "another VMM waits at the socket"), 1);
	assert_int_equal(captured(&capture, "\n"), 1);
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

static void sockets_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct vhost_user_server *other = vhost_user_server_new(f->gm, RESET_TIMEOUT_MS);
	char long_path[200];
	char path[80];
	int fd;

	assert_non_null(other);
	assert_int_equal(vhost_user_server_attach(other, &test_device_ops, &f->dev), 0);
	/* In use. */
	assert_int_equal(vhost_user_server_listen(other, f->path, &anybody), -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
	/* Left behind. */
	snprintf(path, sizeof(path), "%s.stale", f->path);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(vhost_user_server_listen(other, path, &anybody), 0);
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
	other = vhost_user_server_new(f->gm, RESET_TIMEOUT_MS);
	assert_int_equal(vhost_user_server_listen(other, path, &anybody), -EEXIST);
	unlink(path);
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = 0;
	assert_int_equal(vhost_user_server_listen(other, long_path, &anybody), -ENAMETOOLONG);
	assert_int_equal(vhost_user_server_listen(other, "/nonexistent/socket", &anybody), -ENOENT);
	vhost_user_server_free(other);
	signals(f->dev.fd);
}

/* The mode of a socket that was made so, or a negative errno; its group in *group. */
static int mode_of(struct fixture *f, int mode, gid_t group, gid_t *is)
{
	const struct vhost_user_access who = { .mode = mode, .group = group };
	struct vhost_user_server *other = vhost_user_server_new(f->gm, RESET_TIMEOUT_MS);
	char path[80];
	struct stat st;
	int err;

	assert_int_equal(vhost_user_server_attach(other, &test_device_ops, &f->dev), 0);
	snprintf(path, sizeof(path), "%s.mode", f->path);
	err = vhost_user_server_listen(other, path, &who);
	if (!err) {
		assert_int_equal(stat(path, &st), 0);
		*is = st.st_gid;
	}
	vhost_user_server_close(other);
	vhost_user_server_free(other);
	/* Nothing is left of it either way. */
	assert_int_equal(access(path, F_OK), -1);
	return err ? err : (int)(st.st_mode & 07777);
}

static void who_may_connect(void **state)
{
	struct fixture *f = *state;
	mode_t mask = umask(027);
	struct capture capture;
	gid_t group;

	assert_int_equal(mode_of(f, -1, (gid_t)-1, &group), 0750);
	/* More and less than the umask. */
	assert_int_equal(mode_of(f, 0666, (gid_t)-1, &group), 0666);
	assert_int_equal(mode_of(f, 0600, (gid_t)-1, &group), 0600);
	assert_int_equal(mode_of(f, -1, getgid(), &group), 0660);
	assert_int_equal(group, getgid());
	assert_int_equal(mode_of(f, 0640, getgid(), &group), 0640);
	/* The umask is what it was. */
	assert_int_equal(umask(mask), 027);
	if (getuid()) {
		capture_begin();
		assert_int_equal(mode_of(f, -1, getgid() + 12345, &group), -EPERM);
		capture_end(&capture);
		assert_int_equal(captured(&capture, "cannot be given to group"), 1);
	} else {
		assert_int_equal(mode_of(f, -1, getgid() + 12345, &group), 0660);
		assert_int_equal(group, getgid() + 12345);
	}
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
	struct vhost_user_server *other = vhost_user_server_new(f->gm, RESET_TIMEOUT_MS);
	struct fixture alias;
	int pair[2], own = f->sock;

	assert_int_equal(vhost_user_server_attach(other, &test_device_ops, &f->dev), 0);
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
	assert_non_null(strstr(text, "\ntransport operations below 100 us: "));
	assert_non_null(strstr(text, "\ntransport operations below 1 ms: "));
	assert_non_null(strstr(text, "\ntransport operations below 10 ms: "));
	assert_non_null(strstr(text, "\ntransport operations above 10 ms: "));
	assert_non_null(strstr(text, "\nlongest transport operation (us): "));
	assert_non_null(strstr(text, "\nlongest CPU time of a transport operation (us): "));
	assert_non_null(strstr(text, "bad_requests: 0\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_next_front_end_waits_its_turn),
		TEST(a_front_end_that_hangs_up_anywhere),
		TEST(sockets_in_the_way),
		TEST(who_may_connect),
		TEST(no_descriptors_left),
		TEST(inherited_sockets),
		TEST(statistics),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vhost_user", tests, NULL, NULL);
}
