// SPDX-License-Identifier: MIT
/*
 * test_log: what is printed, what is left out, and that nobody waits for a reader
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/util/capture.h"
#include "util/log.h"
#include "util/process.h"

#define WAIT_MS 20000
/* More than any buffer holds. */
#define FLOOD 100000u
#define NR_THREADS 4u

/* All of these are one place. */
static void complain(unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		log_error("complaint");
}

static void at_once_before_the_start(void **state)
{
	struct capture c;

	(void)state;
	capture_begin();
	complain(5 * LOG_BURST);
	log_notice("a %s", "notice");
	log_event("an event");
	capture_end(&c);
	assert_int_equal(captured(&c, PROGRAM_NAME ": complaint\n"), 5 * LOG_BURST);
	assert_int_equal(captured(&c, PROGRAM_NAME ": a notice\n"), 1);
	assert_int_equal(captured(&c, "event"), 0);
}

static void a_flood_is_left_out(void **state)
{
	struct capture c;

	(void)state;
	capture_begin();
	log_start();
	complain(FLOOD);
	log_error("another place");
	/* Its address; all who take it are one place. */
	void (*function)(const char *format, ...) = log_error;
	function("by address");
	log_stop();
	capture_end(&c);
	/* A second may have passed meanwhile, or some. */
	assert_in_range(captured(&c, PROGRAM_NAME ": complaint\n"), LOG_BURST, 2 * LOG_BURST);
	assert_int_equal(captured(&c, PROGRAM_NAME ": another place\n"), 1);
	assert_int_equal(captured(&c, PROGRAM_NAME ": by address\n"), 1);
	assert_true(captured(&c, " lines like this were not printed: complaint\n") >= 1);
}

/* What each "N lines like this" says, together with those printed, is all. */
static void what_is_left_out_is_counted(void **state)
{
	static struct log_site site;
	static const char text[] = " lines like this were not printed: counted %u";
	unsigned long sum = 0;
	unsigned int i;
	struct capture c;
	const char *at;

	(void)state;
	capture_begin();
	log_start();
	for (i = 0; i < FLOOD; i++)
		log_error_at(&site, "counted %u", i);
	log_stop();
	capture_end(&c);
	for (at = c.text; (at = strstr(at, text)); at++) {
		const char *number = at;

		while (number[-1] != ' ')
			number--;
		sum += strtoul(number, NULL, 10);
	}
	sum += captured(&c, PROGRAM_NAME ": counted ");
	assert_int_equal(sum, FLOOD);
}

static void time_brings_lines_back(void **state)
{
	static struct log_site site;
	struct capture c;
	unsigned int i;

	(void)state;
	capture_begin();
	log_start();
	for (i = 0; i < LOG_BURST; i++)
		log_error_at(&site, "first");
	/* As if it had been three seconds ago. */
	site.second -= 3;
	for (i = 0; i < 100; i++)
		log_error_at(&site, "second");
	log_stop();
	capture_end(&c);
	assert_int_equal(captured(&c, ": first\n"), LOG_BURST);
	assert_in_range(captured(&c, ": second\n"), 3, LOG_BURST - 1);
}

static void no_control_characters(void **state)
{
	struct capture c;

	(void)state;
	capture_begin();
	log_error("context '%s'", "\x1b]0;title\x07 two\nlines \x7f\xc3\xbc");
	capture_end(&c);
	assert_string_equal(c.text, PROGRAM_NAME ": context '?]0;title? two?lines ?\xc3\xbc'\n");
}

static void long_lines_are_cut(void **state)
{
	static char text[5000];
	struct capture c;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	capture_begin();
	log_start();
	log_error("%s", text);
	log_error("next");
	log_stop();
	capture_end(&c);
	assert_int_equal(captured(&c, "\n"), 2);
	assert_int_equal(captured(&c, "x\n" PROGRAM_NAME ": next\n"), 1);
}

static void *chatter(void *opaque)
{
	unsigned int i;

	for (i = 0; i < 20; i++)
		log_event("thread %s says what takes a while to say", (const char *)opaque);
	return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
	static char names[NR_THREADS][2] = { "a", "b", "c", "d" };
	pthread_t threads[NR_THREADS];
	struct capture c;
	unsigned int i;

	(void)state;
	log_set_verbose(true);
	capture_begin();
	log_start();
	for (i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, chatter, names[i]), 0);
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	log_stop();
	capture_end(&c);
	log_set_verbose(false);
	for (i = 0; i < NR_THREADS; i++) {
		char line[100];

		snprintf(line, sizeof(line),
			 PROGRAM_NAME ": thread %s says what takes a while to say\n", names[i]);
		assert_int_equal(captured(&c, line), 20);
	}
}

/* ---- a reader that does not read ---- */

/* Everything that comes out of @fd until its end; how often @line, and the last line. */
static unsigned int read_all(int fd, const char *what, char last[256])
{
	FILE *file = fdopen(fd, "r");
	unsigned int nr = 0;
	char line[1024];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		nr += !!strstr(line, what);
		snprintf(last, 256, "%.255s", line);
	}
	fclose(file);
	return nr;
}

/* A process that does not outlive a test that fails. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return pid;
}

/* In a process of its own: print much, with stderr a pipe; returns its id. */
static pid_t flood_into(int fd, int done)
{
	pid_t pid = fork_child();
	unsigned int i;

	if (pid)
		return pid;
	dup2(fd, STDERR_FILENO);
	close(fd);
	log_set_verbose(true);
	log_start();
	for (i = 0; i < FLOOD; i++)
		log_event("line");
	/* This far, though nobody has read. */
	if (write(done, "", 1) != 1)
		_exit(1);
	pause();
	_exit(1);
}

static void wait_readable(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
}

static void a_full_pipe_stops_nobody(void **state)
{
	int fds[2], done[2], status, flags;
	char last[256] = "";
	unsigned int nr;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(done), 0);
	flags = fcntl(fds[1], F_GETFL);
	pid = flood_into(fds[1], done[1]);
	wait_readable(done[0]);
	/* Those who share it see no difference. */
	assert_int_equal(fcntl(fds[1], F_GETFL), flags);
	close(fds[1]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	nr = read_all(fds[0], PROGRAM_NAME ": line\n", last);
	assert_in_range(nr, 1, FLOOD / 2);
	close(done[0]);
	close(done[1]);
}

/* What is lost is said when somebody reads again. */
static void lost_lines_are_counted(void **state)
{
	int fds[2], done[2], status;
	char last[256] = "";
	unsigned int nr;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(done), 0);
	pid = fork_child();
	if (!pid) {
		char buffer[4096];
		unsigned int i;

		dup2(fds[1], STDERR_FILENO);
		log_set_verbose(true);
		log_start();
		for (i = 0; i < FLOOD; i++)
			log_event("line");
		/* Take what is in the pipe, so that there is room. */
		for (i = 0; i < 64; i++)
			if (read(fds[0], buffer, sizeof(buffer)) < 0)
				_exit(1);
		close(fds[0]);
		/* The parent reads the rest. */
		if (write(done[1], "", 1) != 1)
			_exit(1);
		log_flush();
		log_event("after");
		log_stop();
		_exit(0);
	}
	close(fds[1]);
	wait_readable(done[0]);
	nr = read_all(fds[0], "lines were lost: nobody read them", last);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_in_range(nr, 1, FLOOD);
	assert_non_null(strstr(last, "after"));
	close(done[0]);
	close(done[1]);
}

static void the_end_does_not_wait_for_ever(void **state)
{
	int fds[2], process;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork_child();
	if (!pid) {
		unsigned int i;

		dup2(fds[1], STDERR_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		log_set_verbose(true);
		log_start();
		for (i = 0; i < FLOOD; i++)
			log_event("line");
		log_output("statistics\n", 11);
		log_flush();
		log_stop();
		log_error("one more");
		_exit(0);
	}
	process = process_open(pid);
	wait_readable(process);
	close(process);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(fds[0]);
	close(fds[1]);
}

/* Somebody else has made it non-blocking: nothing is lost for that. */
static void a_nonblocking_stderr_loses_nothing(void **state)
{
	int fds[2], status;
	char last[256] = "";
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	fcntl(fds[0], F_SETFL, 0);
	pid = fork_child();
	if (!pid) {
		unsigned int i;

		dup2(fds[1], STDERR_FILENO);
		close(fds[1]);
		close(fds[0]);
		log_set_verbose(true);
		log_start();
		/* Twice what a pipe holds, and less than the buffer. */
		for (i = 0; i < 4000; i++)
			log_event("line");
		log_stop();
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read_all(fds[0], PROGRAM_NAME ": line\n", last), 4000);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- another process ---- */

static void others_are_followed(void **state)
{
	static const char begin[] = "one\n\x1b[2Jtwo\nhalf ";
	int fds[2], out[2], status;
	char line[256], last[256] = "";
	pid_t pid;
	FILE *file;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(out), 0);
	pid = fork_child();
	if (!pid) {
		dup2(out[1], STDERR_FILENO);
		close(out[1]);
		log_start();
		if (log_follow(fds[0], "other") || log_follow(fds[0], "more") != -EBUSY)
			_exit(1);
		close(fds[1]);
		pause();
		_exit(1);
	}
	close(out[1]);
	close(fds[0]);
	file = fdopen(out[0], "r");
	assert_int_equal(write(fds[1], begin, strlen(begin)), strlen(begin));
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line, PROGRAM_NAME ": other: one\n");
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line, PROGRAM_NAME ": other: ?[2Jtwo\n");
	assert_int_equal(write(fds[1], "line", 4), 4);
	/* Its end is the end of the line. */
	close(fds[1]);
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line, PROGRAM_NAME ": other: half line\n");
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_null(fgets(last, sizeof(last), file));
	fclose(file);
}

/* One that prints without end is read without end, so that it waits for nobody. */
static void others_cannot_flood(void **state)
{
	int fds[2], out[2], status;
	char last[256] = "";
	unsigned int i;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(out), 0);
	pid = fork_child();
	if (!pid) {
		dup2(out[1], STDERR_FILENO);
		close(out[1]);
		close(fds[1]);
		log_start();
		if (log_follow(fds[0], "other"))
			_exit(1);
		pause();
		_exit(1);
	}
	close(out[1]);
	close(fds[0]);
	for (i = 0; i < FLOOD; i++)
		assert_int_equal(write(fds[1], "flood\n", 6), 6);
	close(fds[1]);
	wait_readable(out[0]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_in_range(read_all(out[0], ": other: flood\n", last), 1, 10 * LOG_BURST);
}

static int teardown(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(at_once_before_the_start),
		TEST(a_flood_is_left_out),
		TEST(what_is_left_out_is_counted),
		TEST(time_brings_lines_back),
		TEST(no_control_characters),
		TEST(long_lines_are_cut),
		TEST(lines_of_threads_stay_whole),
		TEST(a_full_pipe_stops_nobody),
		TEST(lost_lines_are_counted),
		TEST(the_end_does_not_wait_for_ever),
		TEST(a_nonblocking_stderr_loses_nothing),
		TEST(others_are_followed),
		TEST(others_cannot_flood),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
