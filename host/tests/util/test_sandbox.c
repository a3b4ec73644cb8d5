// SPDX-License-Identifier: MIT
/*
 * test_sandbox: what a render server can reach, and what the device still can
 *
 * Each attack is tried without the sandbox first, where it has to succeed.
 */
#include "tests/util/sandbox_test.h"

#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

static const char secret[] = "only the guest's";

/* ---- roles of the render server ---- */

static bool take_descriptor(int device, int fd)
{
	int process = process_open(device);

	return process >= 0 && syscall(SYS_pidfd_getfd, process, fd, 0) >= 0;
}

/* It is not stopped by that. */
static bool trace(int device)
{
	return !ptrace(PTRACE_SEIZE, device, NULL, NULL);
}

static bool open_in_proc(int device, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", device, what);
	return open(path, O_RDWR | O_CLOEXEC) >= 0;
}

static bool read_memory(int device, uintptr_t address)
{
	char bytes[sizeof(secret)] = "";
	struct iovec here = { bytes, sizeof(bytes) };
	struct iovec there = { (void *)address, sizeof(bytes) };

	return process_vm_readv(device, &here, 1, &there, 1, 0) == sizeof(bytes) &&
	       !strcmp(bytes, secret);
}

/*
 * "PID FD ADDRESS" of the device, and whether it is protected: which of the attacks
 * succeed.  Privileges are no way to get at one that is.
 */
static void attacker(const char *arg)
{
	struct sandbox_state state = { .in_force = 0 };
	unsigned long address;
	int device, fd, protected, took, mem, vm, descriptor;
	char path[32];

	if (sscanf(arg, "%d %d %lu %d", &device, &fd, &address, &protected) != 4)
		_exit(3);
	if (protected)
		sandbox_drop_privileges(&state);
	took = take_descriptor(device, fd);
	snprintf(path, sizeof(path), "fd/%d", fd);
	descriptor = open_in_proc(device, path);
	mem = open_in_proc(device, "mem");
	vm = read_memory(device, address);
	say(SANDBOX_SERVER_FD, "getfd %d, proc fd %d, proc mem %d, vm %d, signal %d, trace %d",
	    took, descriptor, mem, vm, !kill(device, 0), trace(device));
}

static unsigned int count_numbers(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned int nr = 0;

	while (dir && (entry = readdir(dir)))
		nr += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
	if (dir)
		closedir(dir);
	return nr;
}

/* A file where its user can make one: what there is to be seen. */
static void looker(const char *arg)
{
	int made = open(arg, O_CREAT | O_RDWR | O_CLOEXEC, 0600) >= 0 ? 0 : errno;
	int null;

	null = open("/dev/null", O_RDWR);
	say(SANDBOX_SERVER_FD,
	    "processes %u, parent %d, descriptors %u, file %s, null %d, kmsg %d, root %u",
	    count_numbers("/proc"), getppid(), count_numbers("/proc/self/fd") - 2, strerror(made),
	    null >= 0 && write(null, "", 1) == 1, !access("/dev/kmsg", F_OK),
	    count_numbers("/root"));
}

static void complainer(const char *arg)
{
	say(STDERR_FILENO, "complaint of %s\n", arg);
	say(SANDBOX_SERVER_FD, "done");
}

static int play(const char *role, const char *arg)
{
	if (!strcmp(role, "attacker"))
		attacker(arg);
	else if (!strcmp(role, "looker"))
		looker(arg);
	else if (!strcmp(role, "complainer"))
		complainer(arg);
	else
		return 2;
	/* Until the device or the test has seen enough. */
	pause();
	return 0;
}

/* ---- attacks ---- */

enum protection {
	NOTHING,
	DEVICE_ONLY,
	EVERYTHING,
};

/* In the device. */
static void be_attacked(enum protection protection, int report)
{
	struct sandbox_state state = { .in_force = 0 };
	int output, fd = memfd_create("ram", MFD_CLOEXEC);
	struct sandbox_server server;
	char arg[100], text[1024];

	if (sandbox_init(protection == EVERYTHING ? SANDBOX_AUTO : SANDBOX_OFF, true, &output))
		_exit(3);
	if (protection == DEVICE_ONLY)
		sandbox_drop_privileges(&state);
	else
		sandbox_privileges();
	snprintf(arg, sizeof(arg), "%d %d %lu %d", getpid(), fd, (unsigned long)secret,
		 protection != NOTHING);
	if (start_role("attacker", arg, &server))
		_exit(4);
	sandbox_device();
	hear(server.socket, text, sizeof(text));
	say(report, "%s", text);
	sandbox_end();
	_exit(0);
}

/* What came of the attacks on a device of @uid. */
static void attack(enum protection protection, uid_t uid, char *text, size_t size)
{
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (!become(uid))
			_exit(2);
		be_attacked(protection, fds[1]);
	}
	close(fds[1]);
	hear(fds[0], text, size);
	close(fds[0]);
	/* One that is traced may have stopped. */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void attacks_fail(uid_t uid)
{
	static const char all[] = "getfd 1, proc fd 1, proc mem 1, vm 1, signal 1, trace 1";
	char text[1024];

	attack(NOTHING, uid, text, sizeof(text));
	if (strcmp(text, all)) {
		print_message("SKIP: this system forbids some by itself (Yama?): %s\n", text);
		skip();
	}
	/* Only what each process of a user may do to another one. */
	attack(DEVICE_ONLY, uid, text, sizeof(text));
	assert_string_equal(text, "getfd 0, proc fd 0, proc mem 0, vm 0, signal 1, trace 0");
	attack(EVERYTHING, uid, text, sizeof(text));
	assert_string_equal(text, "getfd 0, proc fd 0, proc mem 0, vm 0, signal 0, trace 0");
}

static void need_user(uid_t uid)
{
	if (geteuid()) {
		print_message("SKIP: not root: the other test was an ordinary user's\n");
		skip();
	}
	if (!can_run(uid)) {
		print_message("SKIP: the build folder is closed to other users\n");
		skip();
	}
}

static void attacks_on_the_device_fail(void **state)
{
	(void)state;
	attacks_fail(0);
}

static void attacks_on_a_users_device_fail(void **state)
{
	(void)state;
	need_user(ORDINARY);
	attacks_fail(ORDINARY);
}

/* ---- what a server sees, and the device of it ---- */

/* In the device, all of which is confined: the first thing that does not work, or "". */
static const char *look_at(const struct sandbox_server *server)
{
	static char path[96], target[64];
	DIR *dir;

	if (!fopen("/proc/self/fdinfo/0", "re"))
		return "own fdinfo";
	if (!opendir("/proc/self/fd") || readlink("/proc/self/fd/0", target, sizeof(target)) < 0)
		return "own descriptors";
	if (!fopen("/proc/self/maps", "re"))
		return "own maps";
	snprintf(path, sizeof(path), "/proc/%d/maps", server->pid);
	if (!fopen(path, "re"))
		return "maps of the server";
	snprintf(path, sizeof(path), "/proc/%d/fd", server->pid);
	dir = opendir(path);
	if (!dir || !readdir(dir))
		return "descriptors of the server";
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", server->pid, SANDBOX_SERVER_FD);
	if (readlink(path, target, sizeof(target)) < 0)
		return "socket of the server";
	if (access(path, F_OK))
		return "through a descriptor of the server";
	process_kill(server->process);
	if (!readable(server->process, WAIT_MS))
		return "end of the server";
	return "";
}

static void be_confined(int report)
{
	struct sandbox_server server;
	const char *wrong;
	char text[1024], device[1024], servers[1024], file[64];
	int output;

	if (sandbox_init(SANDBOX_AUTO, true, &output))
		_exit(3);
	sandbox_privileges();
	snprintf(file, sizeof(file), "/tmp/test_sandbox.%d", getpid());
	if (start_role("looker", file, &server))
		_exit(4);
	sandbox_device();
	hear(server.socket, text, sizeof(text));
	unlink(file);
	wrong = look_at(&server);
	sandbox_describe(SANDBOX_DEVICE, device, sizeof(device));
	sandbox_describe(SANDBOX_RENDER_SERVER, servers, sizeof(servers));
	say(report, "%s\n%s\n%s\n%s\n", *wrong ? wrong : "all right", text, device, servers);
	sandbox_end();
	_exit(0);
}

static void expect(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("'%s' is not in: %s", what, text);
}

/* And sandbox_describe() tells no tales. */
static void each_sees_what_it_should(uid_t uid)
{
	int fds[2], status;
	char text[4096];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (!become(uid))
			_exit(2);
		be_confined(fds[1]);
	}
	close(fds[1]);
	hear(fds[0], text, sizeof(text));
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	print_message("%s", text);
	expect(text, "all right\n");
	expect(text, "descriptors 4");
	expect(text, "device: no_new_privs, no capabilities, not dumpable");
	if (!namespaces_work(uid)) {
		print_message("SKIP: this user may have no namespaces here\n");
		skip();
	}
	expect(text, "render server: user+pid+mount");
	expect(text, "read-only files, own /proc, own /dev, ");
#ifdef HAVE_SECCOMP
	if (sandbox_namespace_flags() & CLONE_NEWCGROUP)
		assert_null(strstr(text, "missing"));
#endif
	expect(text, "processes 2, parent 1,");
	expect(text, "null 1, kmsg 0");
	expect(text, "file Read-only file system");
}

static void server_and_device_see_what_they_should(void **state)
{
	(void)state;
	each_sees_what_it_should(0);
}

static void a_users_server_and_device_too(void **state)
{
	(void)state;
	need_user(ORDINARY);
	each_sees_what_it_should(ORDINARY);
}

/* ---- a system that gives a user namespace, but no right in it ---- */

static void be_a_nobody(int report)
{
	struct sandbox_server server;
	char text[1024], line[1024];
	int output;

	/* Its files in /proc are root's then: it cannot say who it is in there. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (sandbox_init(SANDBOX_AUTO, true, &output))
		_exit(3);
	sandbox_privileges();
	if (start_role("complainer", "one", &server))
		_exit(4);
	sandbox_device();
	hear(server.socket, text, sizeof(text));
	sandbox_describe(SANDBOX_RENDER_SERVER, line, sizeof(line));
	say(report, "%s: %s", text, line);
	sandbox_end();
	_exit(readable(server.process, 0) ? 0 : 5);
}

static void what_cannot_be_had_is_left_out(void **state)
{
	int fds[2], status;
	char text[2048];
	pid_t pid;

	(void)state;
	if (!geteuid())
		need_user(ORDINARY);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (!geteuid() && !become(ORDINARY))
			_exit(2);
		be_a_nobody(fds[1]);
	}
	close(fds[1]);
	hear(fds[0], text, sizeof(text));
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	expect(text, "done: render server: no_new_privs, no capabilities, not dumpable");
	expect(text, "; missing: user+pid+mount+");
	expect(text, "(user namespaces: ");
}

/* ---- starting servers ---- */

static void start_servers(int report)
{
	static const char *const no_program[] = { "/nonexistent/program", NULL };
	struct sandbox_server one, two;
	char text[1024];
	int output;

	if (sandbox_init(SANDBOX_AUTO, true, &output))
		_exit(3);
	if (sandbox_start_server(no_program, &one) != -ENOENT)
		_exit(10);
	if (start_role("complainer", "one", &one))
		_exit(11);
	hear(one.socket, text, sizeof(text));
	/* What was started first decides. */
	if (start_role("complainer", "another", &two) != -EPERM)
		_exit(12);
	if (start_role("complainer", "one", &two))
		_exit(13);
	hear(two.socket, text, sizeof(text));
	if (one.pid == two.pid || !process_is_child(one.pid, child_of(getpid())) ||
	    !process_is_child(two.pid, child_of(getpid())))
		_exit(14);
	process_kill(one.process);
	if (!readable(one.process, WAIT_MS) || readable(two.process, 0))
		_exit(15);
	/* Nobody has to wait() for it. */
	if (kill(one.pid, 0) != -1 || errno != ESRCH)
		_exit(16);
	sandbox_end();
	if (!readable(two.process, 0) || start_role("complainer", "one", &one) != -EPIPE)
		_exit(17);
	hear(output, text, sizeof(text));
	say(report, "%s", text);
	_exit(0);
}

static void servers_are_started(void **state)
{
	int fds[2], status;
	char text[1024];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		start_servers(fds[1]);
	close(fds[1]);
	hear(fds[0], text, sizeof(text));
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(text, "complaint of one\ncomplaint of one\n");
}

/* ---- system calls ---- */

/* Each of these must not work, and for this reason. */
static const struct call {
	const char *name;
	long number, args[3];
	int device, server;
} calls[] = {
	{ "ptrace", SYS_ptrace, { PTRACE_TRACEME }, EPERM, EPERM },
	{ "pidfd_getfd", SYS_pidfd_getfd, { -1 }, EPERM, EPERM },
	{ "process_vm_readv", SYS_process_vm_readv, { 0 }, EPERM, EPERM },
	{ "unshare", SYS_unshare, { CLONE_NEWUSER }, EPERM, EPERM },
	{ "setns", SYS_setns, { -1 }, EPERM, EPERM },
	{ "mount", SYS_mount, { 0 }, EPERM, EPERM },
	{ "bpf", SYS_bpf, { 99 }, EPERM, EPERM },
	{ "io_uring_setup", SYS_io_uring_setup, { 0 }, EPERM, EPERM },
	{ "keyctl", SYS_keyctl, { 0 }, EPERM, EPERM },
	{ "userfaultfd", SYS_userfaultfd, { -1 }, EPERM, EPERM },
	{ "perf_event_open", SYS_perf_event_open, { 0 }, EPERM, EPERM },
	{ "open_by_handle_at", SYS_open_by_handle_at, { -1 }, EPERM, EPERM },
	{ "clone3", SYS_clone3, { 0 }, ENOSYS, ENOSYS },
	{ "clone", SYS_clone, { SIGCHLD }, EPERM, 0 },
	{ "clone, user namespace", SYS_clone, { CLONE_NEWUSER | SIGCHLD }, EPERM, EPERM },
	{ "socket", SYS_socket, { AF_INET, SOCK_STREAM }, EPERM, EPERM },
	{ "socket, netlink", SYS_socket, { AF_NETLINK, SOCK_RAW }, EPERM, EPERM },
	{ "socket, local", SYS_socket, { AF_UNIX, SOCK_STREAM }, 0, 0 },
	{ "connect", SYS_connect, { -1 }, EPERM, EPERM },
	{ "bind", SYS_bind, { -1 }, EPERM, EPERM },
	{ "accept4", SYS_accept4, { -1 }, EBADF, EPERM },
	{ "execve", SYS_execve, { 0 }, EPERM, EFAULT },
	{ "pidfd_open", SYS_pidfd_open, { -1 }, EINVAL, EPERM },
	{ "ioctl", SYS_ioctl, { -1, TIOCSTI }, EBADF, EPERM },
	{ "ioctl, high bits", SYS_ioctl, { -1, TIOCSTI | 1L << 32 }, EBADF, EPERM },
	{ "memfd_create", SYS_memfd_create, { 0 }, EFAULT, EFAULT },
	{ "sched_setaffinity", SYS_sched_setaffinity, { 0 }, EINVAL, EINVAL },
};

static void *nothing(void *opaque)
{
	return opaque;
}

/* What drivers need: threads, and code that is made at run time. */
static bool threads_and_code(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	return code != MAP_FAILED && !mprotect(code, 4096, PROT_READ | PROT_EXEC) &&
	       !pthread_create(&thread, NULL, nothing, NULL) && !pthread_join(thread, NULL);
}

/* In a process of its own; exit status: 0, or 1 + the number of the call. */
static void try_calls(enum sandbox_filter which)
{
	struct sandbox_state state = { .in_force = 0 };
	size_t i;

	sandbox_filter_calls(which, &state);
	if (!sandbox_has(&state, MEASURE_SECCOMP))
		_exit(255);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *call = &calls[i];
		int wanted = which == FILTER_DEVICE ? call->device : call->server, got = 0;
		pid_t self = getpid();

		if (syscall(call->number, call->args[0], call->args[1], call->args[2], 0, 0, 0) < 0)
			got = errno;
		/* That was clone(). */
		if (getpid() != self)
			_exit(0);
		if (got != wanted) {
			print_error("%s: %s\n", call->name, strerror(got));
			_exit((int)i + 1);
		}
	}
	_exit(threads_and_code() ? 0 : 254);
}

static void calls_are_forbidden(enum sandbox_filter which)
{
	int status;
	pid_t pid;

#ifndef HAVE_SECCOMP
	print_message("SKIP: built without libseccomp\n");
	skip();
#endif
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		try_calls(which);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("wait status %#x, after %s", status,
			 WEXITSTATUS(status) && WEXITSTATUS(status) <= (int)ARRAY_SIZE(calls) ?
				 calls[WEXITSTATUS(status) - 1].name :
				 "all calls");
}

static void calls_of_the_device(void **state)
{
	(void)state;
	calls_are_forbidden(FILTER_DEVICE);
}

static void calls_of_servers(void **state)
{
	(void)state;
	calls_are_forbidden(FILTER_RENDER_SERVER);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(attacks_on_the_device_fail),
		cmocka_unit_test(attacks_on_a_users_device_fail),
		cmocka_unit_test(server_and_device_see_what_they_should),
		cmocka_unit_test(a_users_server_and_device_too),
		cmocka_unit_test(what_cannot_be_had_is_left_out),
		cmocka_unit_test(servers_are_started),
		cmocka_unit_test(calls_of_the_device),
		cmocka_unit_test(calls_of_servers),
	};

	if (argc == 3)
		return play(argv[1], argv[2]);
	find_self();
	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
