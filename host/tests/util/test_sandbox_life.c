// SPDX-License-Identifier: MIT
/*
 * test_sandbox_life: render servers and workers do not outlive the device
 *
 * The worker is busy and looks at no signal and no socket, as one does that a guest
 * has made to loop.
 */
#include "tests/util/sandbox_test.h"

/**
 * struct family - a device and what it has started, as the test sees them
 * @device: its process id
 * @device_process: pidfd of that
 * @ids: of launcher, server and worker
 * @processes: of those, pidfds
 * @process_1: the launcher is process 1 of a namespace
 */
struct family {
	pid_t device;
	int device_process;
	pid_t ids[3];
	int processes[3];
	bool process_1;
};

enum {
	LAUNCHER,
	SERVER,
	WORKER,
};

/* Of the test that runs, until it has buried it. */
static struct family *family;

/* ---- roles ---- */

static int play(const char *role)
{
	volatile unsigned long rounds = 0;
	sigset_t all;

	if (strcmp(role, "server"))
		return 2;
	if (fork())
		for (;;)
			pause();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	say(SANDBOX_SERVER_FD, "busy");
	for (;;)
		rounds++;
}

enum how {
	/* As the program does it. */
	CONFINED,
	/* As where there are no namespaces. */
	WITHOUT_NAMESPACES,
	NOT_CONFINED,
};

/* In the device. */
static int start_one(enum how how, struct sandbox_server *server, bool *process_1)
{
	const char *const argv[] = { sandbox_self, "server", NULL };
	struct sandbox_plan plan = { .confine = true, .output = -1 };
	struct sandbox_state state;
	int output, channel;
	char text[1024];
	pid_t launcher;

	if (how == WITHOUT_NAMESPACES) {
		*process_1 = false;
		return sandbox_launch(&plan, &launcher, &channel, &state) ||
		       sandbox_request(channel, 1, argv, server);
	}
	if (sandbox_init(how == CONFINED ? SANDBOX_AUTO : SANDBOX_OFF, true, &output))
		return -1;
	sandbox_privileges();
	sandbox_describe(SANDBOX_RENDER_SERVER, text, sizeof(text));
	*process_1 = how == CONFINED && strstr(text, "pid+");
	return sandbox_start_server(argv, server);
}

/* The device: tells what it has started, and ends all of it at a word. */
static void be_device(enum how how, int report, int orders)
{
	struct family f = { .device = getpid() };
	struct sandbox_server server;
	char text[16];

	if (start_one(how, &server, &f.process_1))
		_exit(3);
	hear(server.socket, text, sizeof(text));
	if (strcmp(text, "busy"))
		_exit(4);
	f.ids[LAUNCHER] = child_of(getpid());
	f.ids[SERVER] = server.pid;
	f.ids[WORKER] = child_of(server.pid);
	if (write(report, &f, sizeof(f)) != sizeof(f) || read(orders, text, 1) != 1)
		_exit(5);
	if (how != WITHOUT_NAMESPACES)
		sandbox_end();
	_exit(readable(server.process, 0) ? 0 : 6);
}

/* ---- the test's side ---- */

static void start_family(struct family *f, enum how how, uid_t uid, int *orders)
{
	int report[2], order[2];
	unsigned int i;
	pid_t pid;

	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	assert_int_equal(pipe2(order, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(order[1]);
		if (!become(uid))
			_exit(2);
		be_device(how, report[1], order[0]);
	}
	close(report[1]);
	close(order[0]);
	assert_true(readable(report[0], WAIT_MS));
	assert_int_equal(read(report[0], f, sizeof(*f)), sizeof(*f));
	close(report[0]);
	*orders = order[1];
	assert_int_equal(f->device, pid);
	f->device_process = process_open(pid);
	assert_true(f->device_process >= 0);
	for (i = 0; i < ARRAY_SIZE(f->ids); i++) {
		assert_true(f->ids[i] > 1);
		f->processes[i] = process_open(f->ids[i]);
		assert_true(f->processes[i] >= 0);
		/* Still who we think it is. */
		assert_true(process_is_child(f->ids[i], i ? f->ids[i - 1] : pid));
		assert_false(readable(f->processes[i], 0));
	}
	family = f;
}

/* Whoever is left over; nothing of it outlives the test. */
static void bury(struct family *f, int orders)
{
	unsigned int i;

	family = NULL;
	process_kill(f->device_process);
	assert_int_equal(waitpid(f->device, NULL, 0), f->device);
	for (i = 0; i < ARRAY_SIZE(f->ids); i++) {
		process_kill(f->processes[i]);
		assert_true(readable(f->processes[i], WAIT_MS));
		close(f->processes[i]);
	}
	close(f->device_process);
	close(orders);
}

static void expect_all_gone(const struct family *f)
{
	assert_true(readable(f->processes[WORKER], WAIT_MS));
	assert_true(readable(f->processes[SERVER], WAIT_MS));
	assert_true(readable(f->processes[LAUNCHER], WAIT_MS));
}

/* What is killed at once, and whether the launcher was stopped before. */
static void death(enum how how, uid_t uid, bool device, bool launcher, bool stopped)
{
	static struct family f;
	int orders;

	start_family(&f, how, uid, &orders);
	if (!f.process_1 && (launcher || stopped)) {
		bury(&f, orders);
		assert_false(namespaces_work(uid));
		print_message("SKIP: no process id namespaces here\n");
		skip();
	}
	if (stopped)
		syscall(SYS_pidfd_send_signal, f.processes[LAUNCHER], SIGSTOP, NULL, 0);
	if (launcher)
		process_kill(f.processes[LAUNCHER]);
	if (device)
		process_kill(f.device_process);
	expect_all_gone(&f);
	bury(&f, orders);
}

static void without_the_sandbox_a_worker_lives_on(void **state)
{
	static struct family f;
	int orders;

	(void)state;
	start_family(&f, NOT_CONFINED, 0, &orders);
	process_kill(f.processes[LAUNCHER]);
	process_kill(f.device_process);
	process_kill(f.processes[SERVER]);
	assert_true(readable(f.processes[LAUNCHER], WAIT_MS));
	assert_true(readable(f.processes[SERVER], WAIT_MS));
	assert_true(readable(f.device_process, WAIT_MS));
	/* It is nobody's child any more, and nothing will end it. */
	assert_false(readable(f.processes[WORKER], 500));
	bury(&f, orders);
}

static void device_killed(void **state)
{
	(void)state;
	death(CONFINED, 0, true, false, false);
}

static void device_and_launcher_killed(void **state)
{
	(void)state;
	death(CONFINED, 0, true, true, false);
}

static void launcher_killed(void **state)
{
	(void)state;
	death(CONFINED, 0, false, true, false);
}

static void device_killed_launcher_stopped(void **state)
{
	(void)state;
	death(CONFINED, 0, true, false, true);
}

static void a_users_device_and_launcher_killed(void **state)
{
	(void)state;
	if (geteuid() || !can_run(ORDINARY)) {
		print_message("SKIP: not root, or the build folder is closed to other users\n");
		skip();
	}
	death(CONFINED, ORDINARY, true, true, false);
}

/* The launcher sees the device's end, and ends its family one by one. */
static void device_killed_without_namespaces(void **state)
{
	(void)state;
	death(WITHOUT_NAMESPACES, 0, true, false, false);
	death(NOT_CONFINED, 0, true, false, false);
}

/* All that can be had then: a server that is left alone ends, as does an idle worker. */
static void launcher_killed_without_namespaces(void **state)
{
	static struct family f;
	int orders;

	(void)state;
	start_family(&f, WITHOUT_NAMESPACES, 0, &orders);
	process_kill(f.processes[LAUNCHER]);
	assert_true(readable(f.processes[SERVER], WAIT_MS));
	bury(&f, orders);
}

/* When sandbox_end() returns they are gone: nothing of theirs is in the guest's memory. */
static void the_end_waits_for_all(void **state)
{
	static const enum how ways[] = { CONFINED, NOT_CONFINED };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		static struct family f;
		int orders, status;

		start_family(&f, ways[i], 0, &orders);
		assert_int_equal(write(orders, "", 1), 1);
		assert_true(readable(f.device_process, WAIT_MS));
		assert_true(readable(f.processes[WORKER], 0));
		assert_true(readable(f.processes[SERVER], 0));
		assert_int_equal(waitpid(f.device, &status, 0), f.device);
		assert_int_equal(status, 0);
		family = NULL;
		close(f.device_process);
		close(orders);
		close(f.processes[LAUNCHER]);
		close(f.processes[SERVER]);
		close(f.processes[WORKER]);
	}
}

/* A test that has failed leaves nobody who is busy. */
static int teardown(void **state)
{
	unsigned int i;

	(void)state;
	if (!family)
		return 0;
	process_kill(family->device_process);
	for (i = 0; i < ARRAY_SIZE(family->ids); i++)
		process_kill(family->processes[i]);
	family = NULL;
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(without_the_sandbox_a_worker_lives_on),
		TEST(device_killed),
		TEST(device_and_launcher_killed),
		TEST(launcher_killed),
		TEST(device_killed_launcher_stopped),
		TEST(a_users_device_and_launcher_killed),
		TEST(device_killed_without_namespaces),
		TEST(launcher_killed_without_namespaces),
		TEST(the_end_waits_for_all),
	};

	if (argc == 2)
		return play(argv[1]);
	find_self();
	return cmocka_run_group_tests_name("sandbox_life", tests, NULL, NULL);
}
