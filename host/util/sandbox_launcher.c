// SPDX-License-Identifier: MIT
/*
 * sandbox_launcher: the process that starts render servers, and how it is asked
 *
 * Both sides are here: what runs in the launcher, in_launcher(), and what the device
 * calls.  Between them is a socket for packets.  The launcher says hello when it is
 * confined; then each request, which has a number, gets one answer with that number and
 * two descriptors.  When the device's end of the socket is closed, be it because the
 * device was killed, the launcher ends.
 *
 * The end of everything: as process 1 of a namespace the launcher need only end, and
 * the kernel kills whatever is in there, however busy.  It gets SIGKILL with the
 * device's death, so that also a launcher that was stopped ends.  Without that namespace it
 * adopts what its servers leave behind, and on the way out kills its children until
 * there are none; then SIGKILL would be wrong.
 *
 * The launcher may be forked from a process with threads (sandbox.h: tests); fork() is
 * used then, after which the C library's memory can be used.
 *
 * Threads: see sandbox_parts.h; the launcher has one.
 */
#include "util/sandbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/process.h"

#define ANSWER_MS 10000
#define MAX_ARGS 16
#define ARGS_SIZE 2048
/* Where the channel is in the launcher: not where a server's socket goes. */
#define CHANNEL_FD (SANDBOX_SERVER_FD + 1)

/**
 * struct request - to start a server
 * @sequence: of the answer
 * @len: bytes of @args
 * @args: NUL-terminated, one after the other
 */
struct request {
	uint32_t sequence;
	uint32_t len;
	char args[ARGS_SIZE];
};

/**
 * struct answer - with a socket and a pidfd, unless there was an error
 * @sequence: of the request
 * @error: a positive errno, or 0
 */
struct answer {
	uint32_t sequence;
	int32_t error;
};

#define NR_FDS 2

union fd_space {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(NR_FDS * sizeof(int))];
};

/* ---- both sides ---- */

/* With @nr_fds descriptors; whether it was sent. */
static bool send_packet(int channel, const void *data, size_t len, const int *fds, size_t nr_fds)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fd_space space = { .bytes = { 0 } };

	if (nr_fds) {
		msg.msg_control = &space;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		space.header.cmsg_level = SOL_SOCKET;
		space.header.cmsg_type = SCM_RIGHTS;
		space.header.cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(&space.header), fds, nr_fds * sizeof(int));
	}
	return sendmsg(channel, &msg, MSG_NOSIGNAL) == (ssize_t)len;
}

/* A packet of @len bytes; *@nr_fds: room in @fds, then how many came.  Length or -errno. */
static ssize_t receive_packet(int channel, void *data, size_t len, int *fds, size_t *nr_fds)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	union fd_space space = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &space,
			      .msg_controllen = sizeof(space) };
	struct cmsghdr *cmsg;
	size_t room = *nr_fds;
	ssize_t got;

	*nr_fds = 0;
	do {
		got = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS) {
		const int *sent = (const int *)CMSG_DATA(cmsg);
		size_t nr = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;

		for (i = 0; i < nr; i++) {
			if (*nr_fds < room)
				fds[(*nr_fds)++] = sent[i];
			else
				close(sent[i]);
		}
	}
	return got;
}

/* ---- in the launcher: one server ---- */

/* In the child. */
__attribute__((noreturn)) static void run_server(char *const argv[], int socket, int status,
						 pid_t launcher)
{
	sigset_t none;
	int err;

	/* Nobody else would end it, and its parent may be gone already. */
	if (launcher) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (getppid() != launcher)
			_exit(1);
	}
	/* It waits for its workers. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(socket, SANDBOX_SERVER_FD) == SANDBOX_SERVER_FD)
		execv(argv[0], argv);
	err = errno;
	if (write(status, &err, sizeof(err)) < 0)
		_exit(1);
	_exit(127);
}

/* 0 or a positive errno.  Without @process_1 a server ends with this process. */
static int start_server(char *const argv[], int socket, bool process_1, int *process)
{
	pid_t self = getpid(), pid;
	int status[2], err = 0;

	if (pipe2(status, O_CLOEXEC))
		return errno;
	pid = (pid_t)syscall(SYS_clone, (unsigned long)(CLONE_PIDFD | SIGCHLD), 0ul, process, 0ul,
			     0ul);
	if (!pid)
		run_server(argv, socket, status[1], process_1 ? 0 : self);
	if (pid < 0)
		err = errno;
	close(status[1]);
	/* Nothing comes from one that runs. */
	if (pid > 0 && read(status[0], &err, sizeof(err)) == sizeof(err))
		close(*process);
	close(status[0]);
	return err;
}

/* Whether @request holds arguments, which @argv then points to. */
static bool find_args(struct request *request, char *argv[MAX_ARGS + 1])
{
	size_t at = 0;
	unsigned int nr = 0;

	if (!request->len || request->len > ARGS_SIZE || request->args[request->len - 1])
		return false;
	while (at < request->len && nr < MAX_ARGS) {
		argv[nr++] = request->args + at;
		at += strlen(request->args + at) + 1;
	}
	argv[nr] = NULL;
	return at == request->len;
}

/* What was started first decides what is started; all zero until then. */
static struct request first;

static bool is_the_same(const struct request *request)
{
	return !first.len ||
	       (first.len == request->len && !memcmp(first.args, request->args, first.len));
}

static void serve_request(struct request *request, bool process_1)
{
	struct answer answer = { .sequence = request->sequence };
	int pair[2] = { -1, -1 }, fds[NR_FDS] = { -1, -1 };
	char *argv[MAX_ARGS + 1];

	if (!find_args(request, argv))
		answer.error = EINVAL;
	else if (!is_the_same(request))
		answer.error = EPERM;
	else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		answer.error = errno;
	else
		answer.error = start_server(argv, pair[1], process_1, &fds[1]);
	if (!answer.error)
		first = *request;
	fds[0] = pair[0];
	send_packet(CHANNEL_FD, &answer, sizeof(answer), fds, answer.error ? 0 : NR_FDS);
	if (pair[0] >= 0) {
		close(pair[0]);
		close(pair[1]);
	}
	if (!answer.error)
		close(fds[1]);
}

/* ---- in the launcher: begin and end ---- */

/* They are not reaped while this looks, so the ids are theirs. */
static void kill_children(void)
{
	struct process_list children;
	size_t i;

	process_children(getpid(), &children);
	for (i = 0; i < children.nr; i++)
		kill(children.pids[i], SIGKILL);
	process_list_destroy(&children);
}

/* Whoever dies leaves its children to us. */
static void end_family(void)
{
	signal(SIGCHLD, SIG_DFL);
	do {
		kill_children();
	} while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

/* Only the channel and what a server gets. */
static int arrange_descriptors(int channel, int output)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Out of the way of the places that they come to. */
	channel = fcntl(channel, F_DUPFD_CLOEXEC, CHANNEL_FD + 1);
	if (output >= 0)
		output = fcntl(output, F_DUPFD_CLOEXEC, CHANNEL_FD + 1);
	null = fcntl(null, F_DUPFD_CLOEXEC, CHANNEL_FD + 1);
	if (channel < 0 || null < 0)
		return -errno;
	dup2(null, STDIN_FILENO);
	if (output >= 0) {
		dup2(output, STDOUT_FILENO);
		dup2(output, STDERR_FILENO);
	}
	/* So that no socket is there, which dup2() to itself would leave close-on-exec. */
	dup3(null, SANDBOX_SERVER_FD, O_CLOEXEC);
	if (dup3(channel, CHANNEL_FD, O_CLOEXEC) < 0)
		return -errno;
	return syscall(SYS_close_range, CHANNEL_FD + 1, ~0u, 0) ? -errno : 0;
}

static int confine(const struct sandbox_plan *plan, unsigned int uid, unsigned int gid,
		   struct sandbox_state *state)
{
	struct rlimit no_core = { 0, 0 };
	int err = sandbox_enter_namespaces(plan->flags, uid, gid, state);

	if (err)
		return err;
	/* It would only complain, for each worker anew. */
	if (sandbox_has(state, MEASURE_READ_ONLY))
		setenv("MESA_SHADER_CACHE_DISABLE", "true", 0);
	/* A core file would have the guest's memory. */
	setrlimit(RLIMIT_CORE, &no_core);
	sandbox_drop_privileges(state);
	sandbox_filter_calls(FILTER_RENDER_SERVER, state);
	return 0;
}

__attribute__((noreturn)) static void in_launcher(const struct sandbox_plan *plan, int channel,
						  unsigned int uid, unsigned int gid)
{
	bool process_1 = plan->flags & CLONE_NEWPID;
	struct sandbox_state state = { .in_force = 0 };
	static struct request request;
	size_t no_fds = 0;
	int err;

	/* If the device is dead already, the channel is closed. */
	if (process_1)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	else
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_NAME, "launcher", 0, 0, 0);
	/* Not for the terminal's signals, and without a terminal to type on. */
	setsid();
	/* Nobody stays a zombie. */
	signal(SIGCHLD, SIG_IGN);
	err = arrange_descriptors(channel, plan->output);
	if (err)
		_exit(1);
	if (plan->confine)
		state.error = -confine(plan, uid, gid, &state);
	if (!send_packet(CHANNEL_FD, &state, sizeof(state), NULL, 0) || state.error)
		_exit(1);
	while (receive_packet(CHANNEL_FD, &request, sizeof(request), NULL, &no_fds) ==
	       sizeof(request))
		serve_request(&request, process_1);
	if (!process_1)
		end_family();
	_exit(0);
}

/* ---- in the device ---- */

/* Whether @channel is readable in time. */
static bool wait_for_packet(int channel)
{
	struct pollfd pollfd = { .fd = channel, .events = POLLIN };
	int ready;

	do {
		ready = poll(&pollfd, 1, ANSWER_MS);
	} while (ready < 0 && errno == EINTR);
	return ready == 1;
}

/* 0, or a negative errno: the launcher with this plan is of no use. */
static int hear_hello(int channel, struct sandbox_state *state)
{
	size_t no_fds = 0;
	ssize_t got;

	if (!wait_for_packet(channel))
		return -ETIMEDOUT;
	got = receive_packet(channel, state, sizeof(*state), NULL, &no_fds);
	if (got != sizeof(*state))
		return got < 0 ? (int)got : -EPIPE;
	return -state->error;
}

/**
 * sandbox_launch() - start the launcher
 * @plan: how
 * @pid: set to its process id; it is a child, to be waited for
 * @channel: set to this side's end of its socket
 * @state: set to what is in force in it
 *
 * Return: 0 or a negative errno
 */
int sandbox_launch(const struct sandbox_plan *plan, pid_t *pid, int *channel,
		   struct sandbox_state *state)
{
	unsigned int uid = geteuid(), gid = getegid();
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	/* With threads only fork() leaves the C library in a state to go on with. */
	*pid = plan->flags ? (pid_t)syscall(SYS_clone, (unsigned long)(plan->flags | SIGCHLD), 0ul,
					    0ul, 0ul, 0ul) :
			     fork();
	if (!*pid) {
		close(pair[0]);
		in_launcher(plan, pair[1], uid, gid);
	}
	err = *pid < 0 ? -errno : 0;
	close(pair[1]);
	if (!err) {
		err = hear_hello(pair[0], state);
		if (err) {
			kill(*pid, SIGKILL);
			waitpid(*pid, NULL, 0);
		}
	}
	if (err)
		close(pair[0]);
	else
		*channel = pair[0];
	return err;
}

/* The process id of a pidfd, as it is here; or -1. */
static pid_t pid_of(int process)
{
	char path[64], line[128];
	int pid = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", process);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (pid < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "Pid: %d", &pid) != 1)
			pid = -1;
	fclose(file);
	return pid;
}

static int pack_args(struct request *request, const char *const argv[])
{
	unsigned int nr;

	for (nr = 0; argv[nr]; nr++) {
		size_t len = strlen(argv[nr]) + 1;

		if (nr == MAX_ARGS || len > ARGS_SIZE - request->len)
			return -E2BIG;
		memcpy(request->args + request->len, argv[nr], len);
		request->len += (uint32_t)len;
	}
	return 0;
}

/* The answer to request number @sequence; answers to those that were given up are dropped. */
static int receive_answer(int channel, uint32_t sequence, int fds[NR_FDS])
{
	for (;;) {
		struct answer answer;
		size_t nr_fds = NR_FDS;
		ssize_t got;

		if (!wait_for_packet(channel))
			return -ETIMEDOUT;
		got = receive_packet(channel, &answer, sizeof(answer), fds, &nr_fds);
		if (got <= 0)
			return got < 0 && got != -ECONNRESET ? (int)got : -EPIPE;
		if (got == sizeof(answer) && answer.sequence == sequence && !answer.error &&
		    nr_fds == NR_FDS)
			return 0;
		/* A server whose socket is closed ends; this one must. */
		if (nr_fds == NR_FDS)
			process_kill(fds[1]);
		while (nr_fds)
			close(fds[--nr_fds]);
		if (got == sizeof(answer) && answer.sequence == sequence)
			return answer.error > 0 ? -answer.error : -EMFILE;
	}
}

/**
 * sandbox_request() - have the launcher start a server
 * @channel: to the launcher
 * @sequence: another one each time
 * @argv: program and arguments
 * @server: set to it
 *
 * Return: 0 or a negative errno
 */
int sandbox_request(int channel, uint32_t sequence, const char *const argv[],
		    struct sandbox_server *server)
{
	static struct request request;
	int fds[NR_FDS], err;

	request = (struct request){ .sequence = sequence };
	err = pack_args(&request, argv);
	if (err)
		return err;
	if (!send_packet(channel, &request, sizeof(request), NULL, 0))
		return -EPIPE;
	err = receive_answer(channel, sequence, fds);
	if (err)
		return err;
	*server = (struct sandbox_server){
		.pid = pid_of(fds[1]),
		.process = fds[1],
		.socket = fds[0],
	};
	/* It has ended at once: there is no such process any more. */
	return 0;
}
