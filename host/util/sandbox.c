// SPDX-License-Identifier: MIT
/*
 * sandbox: see sandbox.h
 *
 * The parts: sandbox_launcher.c has the process that starts render servers,
 * sandbox_namespace.c what those see of the machine, sandbox_filter.c privileges and
 * system calls of both sides.  Here is the order in which things are done, and the
 * account of what came of it.
 */
#include "util/sandbox_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/process.h"

#define END_MS 10000

#ifdef __SANITIZE_ADDRESS__
#define DEVICE_FILTER FILTER_SANITIZED_DEVICE
#else
#define DEVICE_FILTER FILTER_DEVICE
#endif

/**
 * struct sandbox - of this process
 * @mode: --sandbox
 * @device: what is in force here
 * @servers: what is in force in the launcher, and so in what it starts
 * @user_ns_error: why there is no user namespace; an errno
 * @launcher: its process id, or 0
 * @process: its pidfd
 * @channel: to it
 * @sequence: of the last request
 */
static struct sandbox {
	enum sandbox_mode mode;
	struct sandbox_state device;
	struct sandbox_state servers;
	int user_ns_error;
	pid_t launcher;
	int process;
	int channel;
	uint32_t sequence;
} sandbox;

static int launch(const struct sandbox_plan *plan)
{
	pid_t pid;
	int err;

	sandbox.servers = (struct sandbox_state){ .in_force = 0 };
	err = sandbox_launch(plan, &pid, &sandbox.channel, &sandbox.servers);
	if (err)
		return err;
	sandbox.launcher = pid;
	sandbox.process = process_open(pid);
	return 0;
}

/* With all namespaces, those that root may have, or none. */
static int launch_confined(struct sandbox_plan *plan)
{
	int all = sandbox_namespace_flags(), err;

	plan->confine = true;
	plan->flags = all;
	err = launch(plan);
	if (!err && all & CLONE_NEWUSER)
		return 0;
	sandbox.user_ns_error = err ? -err : ENOSYS;
	if (!err)
		return 0;
	plan->flags = all & ~CLONE_NEWUSER;
	err = launch(plan);
	if (!err)
		return 0;
	plan->flags = 0;
	return launch(plan);
}

/* The pipe of the servers' output. */
static int make_output(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	/* A server has better things to do than to wait for who reads its complaints. */
	if (fcntl(fds[1], F_SETFL, O_NONBLOCK))
		return -errno;
	return 0;
}

/**
 * sandbox_init() - start the launcher
 * @mode: whether to confine anything
 * @servers: render servers will be started
 * @output: set to what they write, or -1
 *
 * Return: 0 or a negative errno
 */
int sandbox_init(enum sandbox_mode mode, bool servers, int *output)
{
	int fds[2] = { -1, -1 }, err = 0;

	sandbox.mode = mode;
	*output = -1;
	if (servers) {
		struct sandbox_plan plan = { .output = -1 };

		err = make_output(fds);
		plan.output = fds[1];
		if (!err)
			err = mode == SANDBOX_AUTO ? launch_confined(&plan) : launch(&plan);
		if (fds[1] >= 0)
			close(fds[1]);
		if (!err)
			*output = fds[0];
		else if (fds[0] >= 0)
			close(fds[0]);
	}
	return err;
}

/**
 * sandbox_privileges() - give up all privileges of this thread
 *
 * The process has only this one, or the others keep theirs.
 */
void sandbox_privileges(void)
{
	if (sandbox.mode == SANDBOX_AUTO)
		sandbox_drop_privileges(&sandbox.device);
}

/**
 * sandbox_start_server() - start a render server
 * @argv: program and arguments
 * @server: set to it
 *
 * Return: 0 or a negative errno
 */
int sandbox_start_server(const char *const argv[], struct sandbox_server *server)
{
	struct sandbox_plan plan = { .output = -1 };
	int err = 0;

	if (!sandbox.launcher) {
		/* Who is confined cannot make one. */
		err = sandbox.mode == SANDBOX_OFF ? launch(&plan) : -EPIPE;
		if (err)
			return err;
	}
	return sandbox_request(sandbox.channel, ++sandbox.sequence, argv, server);
}

/**
 * sandbox_device() - forbid this process what it does not need from now on
 *
 * What does not work is no error: sandbox_describe() tells.
 */
void sandbox_device(void)
{
	if (sandbox.mode == SANDBOX_AUTO)
		sandbox_filter_calls(DEVICE_FILTER, &sandbox.device);
}

/**
 * sandbox_end() - end the launcher and all that it has started
 *
 * Returns when they have ended, or after some seconds: nobody can end a process that
 * its kernel does not let go.
 */
void sandbox_end(void)
{
	struct pollfd pollfd = { .fd = sandbox.process, .events = POLLIN };

	if (!sandbox.launcher)
		return;
	close(sandbox.channel);
	if (sandbox.process < 0 || poll(&pollfd, 1, END_MS) == 1)
		waitpid(sandbox.launcher, NULL, 0);
	if (sandbox.process >= 0)
		close(sandbox.process);
	sandbox.launcher = 0;
}

/* ---- the account ---- */

static const char *const measure_names[NR_MEASURES] = {
	[MEASURE_USER_NS] = "user",
	[MEASURE_PID_NS] = "pid",
	[MEASURE_MOUNT_NS] = "mount",
	[MEASURE_NET_NS] = "net",
	[MEASURE_IPC_NS] = "ipc",
	[MEASURE_UTS_NS] = "uts",
	[MEASURE_CGROUP_NS] = "cgroup",
	[MEASURE_READ_ONLY] = "read-only files",
	[MEASURE_OWN_PROC] = "own /proc",
	[MEASURE_OWN_DEV] = "own /dev",
	[MEASURE_HOMES] = "no homes",
	[MEASURE_NO_NEW_PRIVS] = "no_new_privs",
	[MEASURE_NO_CAPABILITIES] = "no capabilities",
	[MEASURE_NOT_DUMPABLE] = "not dumpable",
	[MEASURE_SECCOMP] = "seccomp",
};

/**
 * struct text - that is being put together
 * @at: bytes
 * @size: of @at
 * @used: of @size, without the end
 */
struct text {
	char *at;
	size_t size;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->at + text->used, text->size - text->used, format, args);
	va_end(args);
	if (len > 0)
		text->used += (size_t)len < text->size - text->used ? (size_t)len :
								      text->size - text->used - 1;
}

/* The measures of @in_force from @first to @last. */
static bool add_measures(struct text *text, uint32_t in_force, unsigned int first,
			 unsigned int last, const char *separator)
{
	const char *before = "";
	unsigned int i;

	for (i = first; i <= last; i++) {
		if (!(in_force >> i & 1))
			continue;
		add(text, "%s%s", before, measure_names[i]);
		before = separator;
	}
	return *before;
}

static void add_state(struct text *text, const struct sandbox_state *state)
{
	if (add_measures(text, state->in_force, MEASURE_USER_NS, MEASURE_CGROUP_NS, "+"))
		add(text, " namespaces, ");
	if (!add_measures(text, state->in_force, MEASURE_READ_ONLY, MEASURE_SECCOMP, ", "))
		add(text, "not confined");
	if (state->rules)
		add(text, " (%u rules)", state->rules);
}

#define DEVICE_MEASURES                                                                 \
	(UINT32_C(1) << MEASURE_NO_NEW_PRIVS | UINT32_C(1) << MEASURE_NO_CAPABILITIES | \
	 UINT32_C(1) << MEASURE_NOT_DUMPABLE | UINT32_C(1) << MEASURE_SECCOMP)

static void add_missing(struct text *text, uint32_t missing)
{
	const uint32_t rest = ~((UINT32_C(1) << MEASURE_READ_ONLY) - 1);

	if (!missing)
		return;
	add(text, "; missing: ");
	if (add_measures(text, missing, MEASURE_USER_NS, MEASURE_CGROUP_NS, "+"))
		add(text, " namespaces%s", missing & rest ? ", " : "");
	add_measures(text, missing, MEASURE_READ_ONLY, MEASURE_SECCOMP, ", ");
#ifndef HAVE_SECCOMP
	add(text, " (built without libseccomp)");
#endif
}

/**
 * sandbox_describe() - what is in force and what is missing
 * @who: the device or the render servers
 * @text: for one line without its end
 * @size: of @text
 *
 * Return: whether there is something to say.
 */
bool sandbox_describe(enum sandbox_who who, char *text, size_t size)
{
	const uint32_t all = (UINT32_C(1) << NR_MEASURES) - 1;
	struct text to = { .at = text, .size = size };

	*text = '\0';
	if (sandbox.mode == SANDBOX_OFF) {
		add(&to, "off");
		return who == SANDBOX_DEVICE;
	}
	if (who == SANDBOX_DEVICE) {
		add(&to, "device: ");
		add_state(&to, &sandbox.device);
		add_missing(&to, DEVICE_MEASURES & ~sandbox.device.in_force);
		return true;
	}
	add(&to, "render server: ");
	add_state(&to, &sandbox.servers);
	add_missing(&to, all & ~sandbox.servers.in_force);
	if (sandbox.user_ns_error)
		add(&to, " (user namespaces: %s)", strerror(sandbox.user_ns_error));
	return sandbox.launcher;
}
