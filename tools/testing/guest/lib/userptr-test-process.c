// SPDX-License-Identifier: MIT
/*
 * userptr-test-process: processes, their privileges and how they end
 *
 * See userptr-test-util.h.
 */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"

/**
 * run_child() - run a function in a process of its own
 * @body: its result, 0 to 125, becomes the exit status
 * @arg: its argument
 *
 * The child ends with its parent, so that a test that fails leaves nothing.
 *
 * Return: process id or a negative errno.
 */
pid_t run_child(int (*body)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	_exit(body(arg));
}

/**
 * wait_child() - wait for a process with a limit
 * @pid: the child
 * @timeout_ms: how long
 * @status: out, as of waitpid()
 *
 * Return: 0 or -ETIME.
 */
int wait_child(pid_t pid, int timeout_ms, int *status)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;
	pid_t got;

	while (!(got = waitpid(pid, status, WNOHANG))) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return got == pid ? 0 : -errno;
}

/**
 * child_result() - wait for a process and say how it ended
 * @pid: the child
 *
 * Return: its exit status, minus the signal that killed it, or -1000 if it
 * had to be killed here because it did not end.
 */
int child_result(pid_t pid)
{
	int status;

	/* A program's whole life, on a machine that may have others to serve. */
	if (wait_child(pid, 4 * VG_TIMEOUT_MS, &status)) {
		kill(pid, SIGKILL);
		return -1000;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/**
 * become_user() - drop all privilege
 * @uid: user id; the limit is counted per user, so each test has its own
 * @memlock: bytes of RLIMIT_MEMLOCK
 *
 * Return: 0 or a negative errno.
 */
int become_user(uid_t uid, uint64_t memlock)
{
	const struct rlimit limit = { .rlim_cur = memlock, .rlim_max = memlock };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setgroups(0, NULL) || setgid(uid) || setuid(uid))
		return -errno;
	/* A change of user makes /proc/self unreadable for its owner. */
	if (prctl(PR_SET_DUMPABLE, 1) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return 0;
}

/* The state letter of a thread, 0 if it cannot be read. */
static char thread_state(const char *path)
{
	char line[256] = "", *end;
	FILE *file = fopen(path, "re");

	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	/* Behind the name, in which anything can be. */
	end = strrchr(line, ')');
	return end && end[1] ? end[2] : 0;
}

/* Threads of process @pid that sleep in the kernel. */
static unsigned int count_sleeping(pid_t pid)
{
	struct dirent *entry;
	unsigned int nr = 0;
	char path[400];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, entry->d_name);
		nr += thread_state(path) == 'S';
	}
	if (dir)
		closedir(dir);
	return nr;
}

/**
 * wait_sleeping() - wait until so many threads of a process sleep
 * @pid: process
 * @threads: how many, or more
 * @timeout_ms: how long
 *
 * Nothing says that a thread has begun to wait in an ioctl but its state.
 *
 * Return: 0 or -ETIME.
 */
int wait_sleeping(pid_t pid, unsigned int threads, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (count_sleeping(pid) < threads) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return 0;
}

/**
 * send_fd() - pass a descriptor on
 * @sock: socket
 * @fd: what to pass
 *
 * Return: 0 or a negative errno.
 */
int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = "f", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

/**
 * receive_fd() - get a descriptor that somebody passes on
 * @sock: socket
 *
 * Return: the descriptor or -EIO.
 */
int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}
