/* SPDX-License-Identifier: MIT */
/*
 * program_test: the program as a whole, run by tests
 *
 * DEVICE names the program, built with the sanitizers: a leak at exit is an exit
 * status that no test expects.  DEVICE_INSTALLED names the one that is installed.
 */
#ifndef PROGRAM_TEST_H
#define PROGRAM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/process.h"
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

/*
 * How to start one; all zero (but @keep_fd: -1) is the program with the sanitizers.
 * @uid: as this user and group, with no others; 0: as who one is
 * @output: in place of the pipe that is read, if not 0
 */
struct program_start {
	const char *variable;
	int keep_fd;
	uid_t uid;
	int output;
};

static inline void program_exec(const struct program_start *how, const char *const *argv,
				int output)
{
	if (how->keep_fd >= 0)
		fcntl(how->keep_fd, F_SETFD, 0);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	if (how->uid && (setgroups(0, NULL) || setgid(how->uid) || setuid(how->uid)))
		_exit(126);
	/* Nobody is left over by a test that fails. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static inline void program_start(struct program *p, const struct program_start *how,
				 const char *const *args)
{
	const char *argv[MAX_ARGS + 2] = { getenv(how->variable ? how->variable : "DEVICE") };
	unsigned int i;
	int fds[2];

	assert_non_null(argv[0]);
	for (i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	memset(p, 0, sizeof(*p));
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid)
		program_exec(how, argv, how->output ? how->output : fds[1]);
	close(fds[1]);
	p->output = fds[0];
}

static inline void start(struct program *p, const char *const *args, int extra_fd)
{
	program_start(p, &(struct program_start){ .keep_fd = extra_fd }, args);
}

/* One more piece of output; false at its end. */
static inline bool read_more(struct program *p)
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

static inline void wait_for(struct program *p, const char *text)
{
	while (!strstr(p->text, text)) {
		if (!read_more(p))
			fail_msg("'%s' never came in: %s", text, p->text);
	}
}

static inline void expect_text(const struct program *p, const char *text)
{
	if (!strstr(p->text, text))
		fail_msg("'%s' is not in: %s", text, p->text);
}

/* It ends by itself; returns its wait status. */
static inline int wait_end(struct program *p)
{
	int process = process_open(p->pid), status;
	struct pollfd poll_fd = { .fd = process, .events = POLLIN };

	while (read_more(p))
		;
	close(p->output);
	if (poll(&poll_fd, 1, TIMEOUT_MS) != 1) {
		kill(p->pid, SIGKILL);
		fail_msg("does not end: %s", p->text);
	}
	close(process);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	return status;
}

static inline void expect_exit(struct program *p, int code)
{
	int status = wait_end(p);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("wait status %#x, not exit status %d: %s", status, code, p->text);
}

static inline void run(struct program *p, int code, const char *const *args)
{
	start(p, args, -1);
	expect_exit(p, code);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define RUN(p, code, ...) run(p, code, ARGS(__VA_ARGS__))

static inline int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Asks over @fd as a front end does; the answer has come when this returns. */
static inline uint64_t ask(int fd, uint32_t request)
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

/* A connection that the program is to inherit: its @number is for --fd. */
static inline int make_connection(int pair[2], char number[16])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	snprintf(number, 16, "%d", pair[0]);
	return pair[0];
}

#endif /* PROGRAM_TEST_H */
