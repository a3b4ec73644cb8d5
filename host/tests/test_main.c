// SPDX-License-Identifier: MIT
/*
 * test_main: the program as a whole: options, sockets, signals, exit status
 *
 * DEVICE names the program, built with the sanitizers: a leak at exit is an
 * exit status that no test expects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost/vhost_user_wire.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define TIMEOUT_MS 20000
#define MAX_ARGS 16

/* A running program; what it prints to stdout and stderr is in @text. */
struct program {
	pid_t pid;
	int output;
	char text[16384];
	size_t len;
};

static char socket_path[64];

static void start(struct program *p, const char *const *args, int extra_fd)
{
	const char *argv[MAX_ARGS + 2] = { getenv("DEVICE") };
	unsigned int i;
	int fds[2];

	assert_non_null(argv[0]);
	for (i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	memset(p, 0, sizeof(*p));
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid) {
		if (extra_fd >= 0)
			fcntl(extra_fd, F_SETFD, 0);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	p->output = fds[0];
}

/* One more piece of output; false at its end. */
static bool read_more(struct program *p)
{
	struct pollfd poll_fd = { .fd = p->output, .events = POLLIN };
	ssize_t got;

	if (poll(&poll_fd, 1, TIMEOUT_MS) != 1) {
		kill(p->pid, SIGKILL);
		fail_msg("nothing more after: %s", p->text);
	}
	got = read(p->output, p->text + p->len, sizeof(p->text) - 1 - p->len);
	assert_true(got >= 0);
	p->len += (size_t)got;
	return got > 0;
}

static void wait_for(struct program *p, const char *text)
{
	while (!strstr(p->text, text)) {
		if (!read_more(p))
			fail_msg("'%s' never came in: %s", text, p->text);
	}
}

static void expect_text(const struct program *p, const char *text)
{
	if (!strstr(p->text, text))
		fail_msg("'%s' is not in: %s", text, p->text);
}

static void expect_exit(struct program *p, int code)
{
	int status;

	while (read_more(p))
		;
	close(p->output);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("wait status %#x, not exit status %d: %s", status, code, p->text);
}

static void run(struct program *p, int code, const char *const *args)
{
	start(p, args, -1);
	expect_exit(p, code);
}

#define RUN(p, code, ...) run(p, code, (const char *const[]){ __VA_ARGS__, NULL })

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Asks over @fd as a front end does; the answer has come when this returns. */
static uint64_t ask(int fd, uint32_t request)
{
	struct vhost_user_header header = { request, VHOST_USER_VERSION, 0 };
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	uint64_t value;

	assert_int_equal(send(fd, &header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
	assert_int_equal(poll(&poll_fd, 1, TIMEOUT_MS), 1);
	assert_int_equal(recv(fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(recv(fd, &value, sizeof(value), MSG_WAITALL), sizeof(value));
	return value;
}

static void help_and_version(void **state)
{
	static const char *const options[] = {
		"--socket",
		"--socket-mode",
		"--socket-group",
		"--fd",
		"--reset-timeout",
		"--loopback",
		"--virgl",
		"--host-visible",
		"--grace",
		"--no-userptr",
		"--no-rdonly",
		"--access-platform",
		"--allow-inject",
		"--max-userptr-bytes",
		"--max-segments",
		"--max-entries",
		"--max-total-segments",
		"--verbose",
		"--help",
		"--version",
	};
	struct program p;
	unsigned int i;

	(void)state;
	RUN(&p, 0, "--help");
	for (i = 0; i < ARRAY_SIZE(options); i++)
		expect_text(&p, options[i]);
	RUN(&p, 0, "--version");
	expect_text(&p, "virtio-gpu-userptr-device ");
	RUN(&p, 0, "--max-entries", "524284", "--version");
}

static void wrong_command_lines(void **state)
{
	static const struct {
		const char *args[6];
		const char *says;
	} bad[] = {
		{ { NULL }, "exactly one of --socket and --fd" },
		{ { "--socket", "x", "--fd", "3" }, "exactly one of --socket and --fd" },
		{ { "--socket", "" }, "--socket ''" },
		{ { "--socket", "x", "what" }, "'what'" },
		{ { "--nonsense" }, "--nonsense" },
		{ { "--socket" }, "--socket" },
		{ { "--fd", "x" }, "--fd 'x': not a number" },
		{ { "--fd", "-1" }, "--fd '-1': not a number" },
		{ { "--fd", "3000000000" }, "--fd '3000000000': must be from 0 to 2147483647" },
		{ { "--max-segments", "0" }, "--max-segments '0': must be from 1" },
		{ { "--max-segments", "1K" }, "--max-segments '1K': not a number" },
		{ { "--max-segments", "4294967296" }, "--max-segments '4294967296': must be" },
		{ { "--max-entries", "" }, "--max-entries '': not a number" },
		{ { "--max-entries", "+1" }, "--max-entries '+1': not a number" },
		{ { "--max-entries", "524285" },
		  "--max-entries '524285': must be from 1 to 524284" },
		{ { "--max-total-segments", "0" }, "--max-total-segments '0': must be" },
		{ { "--max-total-segments", "99999999999999999999" }, "must be from 1" },
		{ { "--max-userptr-bytes", "4X" }, "--max-userptr-bytes '4X': not a number" },
		{ { "--max-userptr-bytes", "4KB" }, "--max-userptr-bytes '4KB': not a number" },
		{ { "--max-userptr-bytes", "4095" }, "must be from 4096" },
		{ { "--max-userptr-bytes", "17179869184G" }, "must be from 4096" },
		{ { "--host-visible", "4097" }, "--host-visible '4097': not a number of whole" },
		{ { "--host-visible", "1025G" }, "--host-visible '1025G': must be from 0" },
		{ { "--socket-mode", "0888" }, "--socket-mode '0888': not an octal number" },
		{ { "--socket-mode", "1777" }, "--socket-mode '1777': must be from 0 to 0777" },
		{ { "--socket-mode", "" }, "--socket-mode '': not an octal number" },
		{ { "--socket-group", "no such" }, "--socket-group 'no such': there is no such" },
		{ { "--fd", "3", "--socket-mode", "0600" }, "are about what --socket names" },
		{ { "--fd", "3", "--socket-group", "0" }, "are about what --socket names" },
		{ { "--reset-timeout", "86401" }, "--reset-timeout '86401': must be from 0" },
		{ { "--reset-timeout", "1m" }, "--reset-timeout '1m': not a number" },
		{ { "--grace", "-1" }, "--grace '-1': not a number" },
		{ { "--grace", "3600001" }, "--grace '3600001': must be from 0 to 3600000" },
#ifndef HAVE_VIRGLRENDERER
		{ { "--socket", "x", "--virgl" }, "built without libvirglrenderer" },
#endif
	};
	struct program p;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		run(&p, 2, bad[i].args);
		expect_text(&p, bad[i].says);
		expect_text(&p, "--help");
	}
}

static void sockets_that_cannot_be_had(void **state)
{
	struct program p;
	int fd;

	(void)state;
	fd = open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	RUN(&p, 1, "--socket", socket_path);
	expect_text(&p, "exists and is not a socket");
	assert_int_equal(unlink(socket_path), 0);
	RUN(&p, 1, "--socket", "/nonexistent/socket");
	expect_text(&p, "/nonexistent/socket");
	RUN(&p, 1, "--fd", "77");
	expect_text(&p, "--fd '77'");
	RUN(&p, 1, "--fd", "1");
	expect_text(&p, "not a UNIX stream socket");
}

static void life_and_death(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT };
	struct program p, second;
	unsigned int i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		start(&p,
		      (const char *const[]){ "--socket", socket_path, "--loopback", "--verbose",
					     "--max-userptr-bytes", "1G", NULL },
		      -1);
		wait_for(&p, "listening at");
		RUN(&second, 1, "--socket", socket_path);
		expect_text(&second, "another program listens there");
		fd = connect_to(socket_path);
		assert_true(ask(fd, VHOST_USER_GET_FEATURES) >> VHOST_USER_F_PROTOCOL_FEATURES & 1);
		expect_exit((kill(p.pid, signals[i]), &p), 0);
		expect_text(&p, "GET_FEATURES");
		/* The probe of the second program said nothing. */
		expect_text(&p, "messages: 1\n");
		assert_int_equal(access(socket_path, F_OK), -1);
		close(fd);
	}
}

static void a_killed_one_leaves_a_socket_that_is_replaced(void **state)
{
	struct program p;
	int status;

	(void)state;
	start(&p, (const char *const[]){ "--socket", socket_path, "--verbose", NULL }, -1);
	wait_for(&p, "listening at");
	kill(p.pid, SIGKILL);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	close(p.output);
	assert_int_equal(access(socket_path, F_OK), 0);
	start(&p, (const char *const[]){ "--socket", socket_path, "--verbose", NULL }, -1);
	wait_for(&p, "listening at");
	kill(p.pid, SIGTERM);
	expect_exit(&p, 0);
}

static void statistics_on_sigusr1(void **state)
{
	struct program p;
	int fd;

	(void)state;
	start(&p, (const char *const[]){ "--socket", socket_path, "--verbose", NULL }, -1);
	wait_for(&p, "listening at");
	fd = connect_to(socket_path);
	assert_int_equal(ask(fd, VHOST_USER_GET_QUEUE_NUM), 2);
	kill(p.pid, SIGUSR1);
	wait_for(&p, "broken_rings: 0\n");
	expect_text(&p, "messages: 1\n");
	/* And it goes on. */
	assert_int_equal(ask(fd, VHOST_USER_GET_QUEUE_NUM), 2);
	kill(p.pid, SIGTERM);
	expect_exit(&p, 0);
	expect_text(&p, "messages: 2\n");
	close(fd);
}

static void an_inherited_connection_is_the_only_one(void **state)
{
	struct program p;
	char number[16];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	snprintf(number, sizeof(number), "%d", pair[0]);
	start(&p, (const char *const[]){ "--fd", number, NULL }, pair[0]);
	close(pair[0]);
	assert_int_equal(ask(pair[1], VHOST_USER_GET_QUEUE_NUM), 2);
	close(pair[1]);
	expect_exit(&p, 0);
	expect_text(&p, "connections: 1\n");
}

static void options_reach_the_device(void **state)
{
	static const struct {
		const char *option;
		unsigned int bit;
		bool set;
	} cases[] = {
		{ "--verbose", 16, true },
		{ "--no-userptr", 16, false },
		{ "--verbose", 33, false },
		{ "--access-platform", 33, true },
	};
	struct program p;
	unsigned int i;
	char number[16];
	int pair[2];

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		snprintf(number, sizeof(number), "%d", pair[0]);
		start(&p, (const char *const[]){ "--fd", number, cases[i].option, NULL }, pair[0]);
		close(pair[0]);
		assert_int_equal(ask(pair[1], VHOST_USER_GET_FEATURES) >> cases[i].bit & 1,
				 cases[i].set);
		close(pair[1]);
		expect_exit(&p, 0);
	}
}

static void the_region_is_offered(void **state)
{
	static const char *const sizes[] = { "0", "1M" };
	struct program p;
	unsigned int i;
	char number[16];
	int pair[2];

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		snprintf(number, sizeof(number), "%d", pair[0]);
		start(&p, (const char *const[]){ "--fd", number, "--host-visible", sizes[i], NULL },
		      pair[0]);
		close(pair[0]);
		assert_int_equal(ask(pair[1], VHOST_USER_GET_PROTOCOL_FEATURES) >>
						 VHOST_USER_PROTOCOL_F_SHMEM &
					 1,
				 i);
		close(pair[1]);
		expect_exit(&p, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(wrong_command_lines),
		cmocka_unit_test(sockets_that_cannot_be_had),
		cmocka_unit_test(life_and_death),
		cmocka_unit_test(a_killed_one_leaves_a_socket_that_is_replaced),
		cmocka_unit_test(statistics_on_sigusr1),
		cmocka_unit_test(an_inherited_connection_is_the_only_one),
		cmocka_unit_test(options_reach_the_device),
		cmocka_unit_test(the_region_is_offered),
	};

	snprintf(socket_path, sizeof(socket_path), "%s/test_main.%d",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", getpid());
	return cmocka_run_group_tests_name("main", tests, NULL, NULL);
}
