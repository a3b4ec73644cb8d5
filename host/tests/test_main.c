// SPDX-License-Identifier: MIT
/*
 * test_main: the program as a whole: options, sockets, signals, exit status
 */
#include "tests/program_test.h"

static char socket_path[64];

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
		"--native-context",
		"--render-node",
		"--amdgpu-userptr",
		"--max-mappings",
		"--max-gpu-bytes",
		"--max-gpu-buffers",
		"--max-va-mappings",
		"--max-jobs",
		"--sandbox",
		"--verbose",
		"--help",
		"--version",
		"--render-server",
	};
	struct program p;
	unsigned int i;

	(void)state;
	RUN(&p, 0, "--help");
	for (i = 0; i < ARRAY_SIZE(options); i++)
		expect_text(&p, options[i]);
	RUN(&p, 0, "-h");
	expect_text(&p, "--socket");
	RUN(&p, 0, "--version");
	expect_text(&p, "virtio-gpu-userptr-device ");
	RUN(&p, 0, "--max-entries", "524284", "--version");
}

static const struct {
	const char *args[8];
	const char *says;
} bad_lines[] = {
	{ { NULL }, "exactly one of --socket and --fd" },
	{ { "--socket", "x", "--fd", "3" }, "exactly one of --socket and --fd" },
	{ { "--socket", "" }, "--socket ''" },
	{ { "--socket", "x", "what" }, "'what'" },
	{ { "--socket", "x" }, "at least one of --virgl, --render-node and" },
	{ { "--fd", "3", "--no-userptr" }, "at least one of --virgl, --render-node and" },
	{ { "--fd", "3", "--native-context", "off" }, "at least one of --virgl" },
	{ { "--sandbox", "on" }, "--sandbox 'on': must be auto or off" },
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
	{ { "--max-entries", "524285" }, "--max-entries '524285': must be from 1 to 524284" },
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
	{ { "--render-server", "x" }, "--render-server 'x': not an absolute path" },
	{ { "--grace", "3600001" }, "--grace '3600001': must be from 0 to 3600000" },
	{ { "--native-context", "none" },
	  "--native-context 'none': must be auto, amdgpu, virgl or off" },
	{ { "--amdgpu-userptr", "" }, "--amdgpu-userptr '': must be auto, dmabuf or userptr" },
	{ { "--render-node", "card0" }, "--render-node 'card0': not an absolute path" },
	{ { "--max-gpu-bytes", "4095" }, "--max-gpu-bytes '4095': must be from 4096" },
	{ { "--max-gpu-buffers", "0" }, "--max-gpu-buffers '0': must be from 1" },
	{ { "--max-va-mappings", "x" }, "--max-va-mappings 'x': not a number" },
	{ { "--max-jobs", "4294967296" }, "--max-jobs '4294967296': must be" },
	{ { "--max-mappings", "1" }, "--max-mappings '1': must be from 2" },
	{ { "--fd", "3", "--loopback", "--native-context", "virgl" },
	  "--native-context=virgl is about the contexts of --virgl" },
	{ { "--fd", "3", "--render-node", "/x", "--native-context", "off" },
	  "--render-node is for this program's own native contexts" },
	{ { "--fd", "3", "--render-node", "/x", "--native-context", "virgl", "--virgl" },
	  "--render-node is for this program's own native contexts" },
	{ { "--fd", "3", "--virgl", "--amdgpu-userptr", "userptr" },
	  "--amdgpu-userptr=userptr cannot be had with --virgl" },
#ifndef HAVE_AMDGPU
	{ { "--fd", "3", "--render-node", "/x" }, "built without libdrm_amdgpu" },
	{ { "--fd", "3", "--native-context", "amdgpu" }, "built without libdrm_amdgpu" },
#endif
#ifndef HAVE_VIRGLRENDERER
	{ { "--socket", "x", "--virgl" }, "built without libvirglrenderer" },
#endif
};

static void wrong_command_lines(void **state)
{
	struct program p;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad_lines); i++) {
		run(&p, 2, bad_lines[i].args);
		expect_text(&p, bad_lines[i].says);
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
	RUN(&p, 1, "--loopback", "--socket", socket_path);
	expect_text(&p, "exists and is not a socket");
	assert_int_equal(unlink(socket_path), 0);
	RUN(&p, 1, "--loopback", "--socket", "/nonexistent/socket");
	expect_text(&p, "/nonexistent/socket");
	RUN(&p, 1, "--loopback", "--fd", "77");
	expect_text(&p, "--fd '77'");
	RUN(&p, 1, "--loopback", "--fd", "1");
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
		      ARGS("--socket", socket_path, "--loopback", "--verbose",
			   "--max-userptr-bytes", "1G"),
		      -1);
		wait_for(&p, "listening at");
		RUN(&second, 1, "--loopback", "--socket", socket_path);
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
	start(&p, ARGS("--loopback", "--socket", socket_path, "--verbose"), -1);
	wait_for(&p, "listening at");
	kill(p.pid, SIGKILL);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	close(p.output);
	assert_int_equal(access(socket_path, F_OK), 0);
	start(&p, ARGS("--loopback", "--socket", socket_path, "--verbose"), -1);
	wait_for(&p, "listening at");
	kill(p.pid, SIGTERM);
	expect_exit(&p, 0);
}

static void statistics_on_sigusr1(void **state)
{
	struct program p;
	int fd;

	(void)state;
	start(&p, ARGS("--loopback", "--socket", socket_path, "--verbose"), -1);
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
	make_connection(pair, number);
	start(&p, ARGS("--loopback", "--fd", number), pair[0]);
	close(pair[0]);
	assert_int_equal(ask(pair[1], VHOST_USER_GET_QUEUE_NUM), 2);
	close(pair[1]);
	expect_exit(&p, 0);
	expect_text(&p, "connections: 1\n");
}

/* A pipe that is full and that nobody reads. */
static int full_pipe(int fds[2])
{
	char bytes[4096] = { 0 };

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(fds[1], bytes, sizeof(bytes)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	fcntl(fds[1], F_SETFL, 0);
	return fds[1];
}

static void who_reads_nothing_stops_nothing(void **state)
{
	struct program_start how = { .keep_fd = -1 };
	int pair[2], full[2], status;
	struct program p;
	unsigned int i;
	char number[16];

	(void)state;
	how.output = full_pipe(full);
	how.keep_fd = make_connection(pair, number);
	program_start(&p, &how, ARGS("--loopback", "--verbose", "--fd", number));
	close(pair[0]);
	for (i = 0; i < 100; i++)
		assert_int_equal(ask(pair[1], VHOST_USER_GET_QUEUE_NUM), 2);
	kill(p.pid, SIGUSR1);
	assert_int_equal(ask(pair[1], VHOST_USER_GET_QUEUE_NUM), 2);
	kill(p.pid, SIGTERM);
	status = wait_end(&p);
	assert_int_equal(status, 0);
	close(pair[1]);
	close(full[0]);
	close(full[1]);
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
		make_connection(pair, number);
		start(&p, ARGS("--loopback", "--fd", number, cases[i].option), pair[0]);
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
		make_connection(pair, number);
		start(&p, ARGS("--loopback", "--fd", number, "--host-visible", sizes[i]), pair[0]);
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
		cmocka_unit_test(who_reads_nothing_stops_nothing),
		cmocka_unit_test(options_reach_the_device),
		cmocka_unit_test(the_region_is_offered),
	};

	snprintf(socket_path, sizeof(socket_path), "%s/test_main.%d",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", getpid());
	return cmocka_run_group_tests_name("main", tests, NULL, NULL);
}
