/* SPDX-License-Identifier: MIT */
/*
 * sandbox_test: a device, a render server and its worker as processes of a test
 *
 * The test forks the device, which starts this program once more as render server, in
 * the role that the command line names; that may fork a worker.  What the roles find
 * out they say over their socket, or the device over a pipe.  The device waits for
 * orders in the end, to be killed.
 *
 * Invariant: signals go to processes of this test only, by descriptors that were
 * opened while their parents had not waited for them.
 */
#ifndef SANDBOX_TEST_H
#define SANDBOX_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/process.h"
#include "util/sandbox_parts.h"

#define WAIT_MS 20000
/* Some user who is nobody in particular. */
#define ORDINARY 1234
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* This program, for the launcher. */
static char sandbox_self[PATH_MAX];

/* Whether @fd, a pidfd or another, is readable in time. */
static inline bool readable(int fd, int timeout_ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) == 1;
}

/* The first child of @parent, or -1. */
static inline pid_t child_of(pid_t parent)
{
	struct process_list children;
	pid_t child = process_children(parent, &children) || !children.nr ? -1 : children.pids[0];

	process_list_destroy(&children);
	return child;
}

/* Become an ordinary user, as a process that such a one has started. */
static inline bool become(uid_t uid)
{
	if (!uid)
		return true;
	return !setgroups(0, NULL) && !setresgid(uid, uid, uid) && !setresuid(uid, uid, uid) &&
	       !prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* Whether this system lets @uid have namespaces and mounts, by trying. */
static inline bool namespaces_work(uid_t uid)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(become(uid) && !unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) &&
				      !mount("tmpfs", "/dev", "tmpfs", 0, NULL) ?
			      0 :
			      1);
	return waitpid(pid, &status, 0) == pid && !status;
}

/* One line with what @format says. */
__attribute__((format(printf, 2, 3))) static inline void say(int fd, const char *format, ...)
{
	char line[1024];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(fd, line, (size_t)len) != len)
		_exit(5);
}

/* A packet or a piece of a pipe, as text. */
static inline void hear(int fd, char *text, size_t size)
{
	ssize_t got = readable(fd, WAIT_MS) ? read(fd, text, size - 1) : -1;

	if (got < 0)
		snprintf(text, size, "nothing in time");
	else
		text[got] = '\0';
}

/* In the device: a server in @role, with one argument. */
static inline int start_role(const char *role, const char *arg, struct sandbox_server *server)
{
	const char *const argv[] = { sandbox_self, role, arg, NULL };

	return sandbox_start_server(argv, server);
}

/* Where this program's builds lie must not be hidden. */
static inline void find_self(void)
{
	ssize_t len = readlink("/proc/self/exe", sandbox_self, sizeof(sandbox_self) - 1);

	if (len < 0)
		abort();
	sandbox_self[len] = '\0';
	setenv("RENDER_SERVER_EXEC_PATH", sandbox_self, 1);
}

/* Whether @uid can run this program. */
static inline bool can_run(uid_t uid)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(become(uid) && !access(sandbox_self, X_OK) ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && !status;
}

#endif /* SANDBOX_TEST_H */
