// SPDX-License-Identifier: MIT
/*
 * test_main_confined: the program that is installed: how it is built, what it gives up
 */
#include "tests/program_test.h"

#include <dirent.h>

/* Some user who is nobody in particular. */
#define ORDINARY 1234

#ifdef HAVE_SECCOMP
#define FILTERED "2"
#else
#define FILTERED "0"
#endif

static void need_program(void)
{
	if (getenv("DEVICE_INSTALLED"))
		return;
	print_message("SKIP: DEVICE_INSTALLED is not set: make test does that\n");
	skip();
}

/* What tools say of the program. */
static void inspect(char *to, size_t size)
{
	char command[1024];
	FILE *output;
	size_t len;

	snprintf(command, sizeof(command), "readelf -hdlW '%1$s' && nm -D '%1$s' && nm -a '%1$s'",
		 getenv("DEVICE_INSTALLED"));
	output = popen(command, "r");
	assert_non_null(output);
	len = fread(to, 1, size - 1, output);
	to[len] = '\0';
	assert_int_equal(pclose(output), 0);
}

static char text[1 << 20];

static void it_is_hardened(void **state)
{
	static const char *const has[] = {
		"BIND_NOW", "GNU_RELRO", "DYN (", " __stack_chk_fail", "_chk@",
	};
	unsigned int i;

	(void)state;
	need_program();
	inspect(text, sizeof(text));
	for (i = 0; i < ARRAY_SIZE(has); i++)
		if (!strstr(text, has[i]))
			fail_msg("'%s' is not in: %s", has[i], text);
	/* No memory is both written and run. */
	assert_null(strstr(text, "RWE"));
}

static void it_has_nothing_for_tests(void **state)
{
	static const char *const options[] = { "--allow-inject", "--access-platform" };
	const struct program_start how = { .variable = "DEVICE_INSTALLED", .keep_fd = -1 };
	struct program p;
	unsigned int i;

	(void)state;
	need_program();
	for (i = 0; i < ARRAY_SIZE(options); i++) {
		program_start(&p, &how, ARGS("--loopback", "--fd", "3", options[i]));
		expect_exit(&p, 2);
		expect_text(&p, "unrecognized option");
	}
	program_start(&p, &how, ARGS("--help"));
	expect_exit(&p, 0);
	assert_null(strstr(p.text, "inject"));
	assert_null(strstr(p.text, "tests"));
	/* Nor is the code there. */
	inspect(text, sizeof(text));
	assert_non_null(strstr(text, " gpu_fault_none.c"));
	assert_null(strstr(text, " gpu_fault.c"));
}

/* Whether /proc/PID/task/@task/status has this line. */
static void expect_status(pid_t pid, const char *task, const char *name, const char *value)
{
	char path[300], line[256], wanted[64];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.32s/status", (int)pid, task);
	snprintf(wanted, sizeof(wanted), "%s:\t%s\n", name, value);
	file = fopen(path, "r");
	assert_non_null(file);
	while (!found && fgets(line, sizeof(line), file))
		found = !strcmp(line, wanted);
	fclose(file);
	if (!found)
		fail_msg("thread %s: not %s", task, wanted);
}

/* All threads: those that were there before are easily forgotten. */
static void expect_threads(pid_t pid, const char *no_new_privs, const char *filter)
{
	char path[64];
	struct dirent *entry;
	unsigned int nr = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		expect_status(pid, entry->d_name, "NoNewPrivs", no_new_privs);
		expect_status(pid, entry->d_name, "Seccomp", filter);
		nr++;
		if (*no_new_privs == '0')
			continue;
		expect_status(pid, entry->d_name, "CapPrm", "0000000000000000");
		expect_status(pid, entry->d_name, "CapEff", "0000000000000000");
		expect_status(pid, entry->d_name, "CapInh", "0000000000000000");
	}
	closedir(dir);
	/* The main one, two of the log, the device's. */
	assert_in_range(nr, 4, 100);
}

static void it_gives_up_what_it_does_not_need(void **state)
{
	struct program_start how = { .variable = "DEVICE_INSTALLED" };
	struct program p;
	char number[16];
	int pair[2];

	(void)state;
	need_program();
	how.keep_fd = make_connection(pair, number);
	program_start(&p, &how, ARGS("--loopback", "--fd", number));
	close(pair[0]);
	assert_int_equal(ask(pair[1], VHOST_USER_GET_QUEUE_NUM), 2);
	expect_threads(p.pid, "1", FILTERED);
	close(pair[1]);
	expect_exit(&p, 0);
	expect_text(&p, "sandbox: device: no_new_privs, no capabilities, not dumpable");
}

static void or_not(void **state)
{
	struct program_start how = { .variable = "DEVICE_INSTALLED" };
	struct program p;
	char number[16];
	int pair[2];

	(void)state;
	need_program();
	how.keep_fd = make_connection(pair, number);
	program_start(&p, &how, ARGS("--loopback", "--sandbox", "off", "--fd", number));
	close(pair[0]);
	assert_int_equal(ask(pair[1], VHOST_USER_GET_QUEUE_NUM), 2);
	expect_threads(p.pid, "0", "0");
	close(pair[1]);
	expect_exit(&p, 0);
	expect_text(&p, "sandbox: off");
}

/* A folder for sockets that is @uid's, and nobody else's. */
static void make_folder(char path[64], uid_t uid)
{
	snprintf(path, 64, "/tmp/test_main.XXXXXX");
	assert_non_null(mkdtemp(path));
	assert_int_equal(chown(path, uid, uid), 0);
}

static void ordinary_users_can_run_it(void **state)
{
	const struct program_start how = {
		.variable = "DEVICE_INSTALLED",
		.keep_fd = -1,
		.uid = ORDINARY,
	};
	char folder[64], path[96], proc[64];
	struct program p;
	struct stat st;
	int fd;

	(void)state;
	need_program();
	if (geteuid()) {
		print_message("SKIP: not root: all other tests are an ordinary user's\n");
		skip();
	}
	program_start(&p, &how, ARGS("--version"));
	if (wait_end(&p) == 127 << 8) {
		print_message("SKIP: the build folder is closed to other users\n");
		skip();
	}
	make_folder(folder, ORDINARY);
	snprintf(path, sizeof(path), "%s/gpu.sock", folder);
	program_start(&p, &how, ARGS("--loopback", "--verbose", "--socket", path));
	wait_for(&p, "listening at");
	fd = connect_to(path);
	assert_int_equal(ask(fd, VHOST_USER_GET_QUEUE_NUM), 2);
	expect_threads(p.pid, "1", FILTERED);
	/* What is not dumpable is root's. */
	snprintf(proc, sizeof(proc), "/proc/%d/environ", (int)p.pid);
	assert_int_equal(stat(proc, &st), 0);
	assert_int_equal(st.st_uid, 0);
	kill(p.pid, SIGUSR1);
	wait_for(&p, "broken_rings: 0\n");
	kill(p.pid, SIGTERM);
	expect_exit(&p, 0);
	close(fd);
	/* The socket is gone. */
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_hardened),
		cmocka_unit_test(it_has_nothing_for_tests),
		cmocka_unit_test(it_gives_up_what_it_does_not_need),
		cmocka_unit_test(or_not),
		cmocka_unit_test(ordinary_users_can_run_it),
	};

	return cmocka_run_group_tests_name("main_confined", tests, NULL, NULL);
}
