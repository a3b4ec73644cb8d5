// SPDX-License-Identifier: MIT
/*
 * test_process: processes that are found in /proc, and held
 *
 * Children are forked here; pipes say when they are where they should be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/process.h"

#define WAIT_MS 20000

/* A child with a child of its own, whose id it sends; both wait to be killed. */
static pid_t fork_family(pid_t *grandchild)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		pid = fork();
		/* A name that looks like the end of another one's, and like other lines. */
		if (!pid)
			prctl(PR_SET_NAME, "a) R 1\nPPid: 1");
		if (pid && write(fds[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], grandchild, sizeof(*grandchild)), sizeof(*grandchild));
	close(fds[0]);
	return pid;
}

/* Both are gone when this returns; the grandchild is not ours to wait for. */
static void end_family(pid_t pid, pid_t grandchild)
{
	struct pollfd gone = { .fd = process_open(grandchild), .events = POLLIN };

	assert_true(gone.fd >= 0);
	process_kill(gone.fd);
	assert_int_equal(poll(&gone, 1, WAIT_MS), 1);
	close(gone.fd);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void lists_of_a_family(void **state)
{
	struct process_list children, all;
	pid_t pid, grandchild;

	(void)state;
	pid = fork_family(&grandchild);
	assert_int_equal(process_children(getpid(), &children), 0);
	assert_int_equal(children.nr, 1);
	assert_true(process_list_has(&children, pid));
	assert_int_equal(process_descendants(getpid(), &all), 0);
	assert_int_equal(all.nr, 2);
	assert_true(process_list_has(&all, pid));
	assert_true(process_list_has(&all, grandchild));
	process_list_destroy(&all);
	process_list_destroy(&children);
	end_family(pid, grandchild);
	assert_int_equal(process_descendants(getpid(), &all), 0);
	assert_int_equal(all.nr, 0);
	process_list_destroy(&all);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A kernel with lists, whatever this one has: what it shows, in a folder. */
static void lists_of_the_kernel(void **state)
{
	static const char *const folders[] = {
		"proc",		 "proc/7",	    "proc/7/task",
		"proc/7/task/7", "proc/7/task/300", "proc/7/task/301"
	};
	struct process_list children;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		assert_int_equal(mkdir(folders[i], 0700), 0);
	/* One thread has some, one none, and one ends just now. */
	write_file("proc/7/task/7/children", "12 4194303 15 ");
	write_file("proc/7/task/300/children", "");
	assert_int_equal(process_children_at("proc", true, 7, &children), 0);
	assert_int_equal(children.nr, 3);
	assert_true(process_list_has(&children, 12));
	assert_true(process_list_has(&children, 15));
	assert_true(process_list_has(&children, 4194303));
	process_list_destroy(&children);
	assert_int_equal(process_children_at("proc", true, 8, &children), 0);
	assert_int_equal(children.nr, 0);
	process_list_destroy(&children);
}

static void *thread_id(void *opaque)
{
	int *fds = opaque;
	pid_t id = (pid_t)syscall(SYS_gettid);
	char byte;

	assert_int_equal(write(fds[1], &id, sizeof(id)), sizeof(id));
	assert_int_equal(read(fds[2], &byte, 1), 0);
	return NULL;
}

/* A thread has an id, and the parent of its process. */
static void threads_are_no_children(void **state)
{
	int fds[2], end[2], all[3];
	pthread_t thread;
	pid_t id;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(end), 0);
	all[0] = fds[0];
	all[1] = fds[1];
	all[2] = end[0];
	assert_int_equal(pthread_create(&thread, NULL, thread_id, all), 0);
	assert_int_equal(read(fds[0], &id, sizeof(id)), sizeof(id));
	assert_true(process_is_child(getpid(), getppid()));
	assert_false(process_is_child(id, getppid()));
	assert_true(process_open(id) < 0);
	close(end[1]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(end[0]);
	close(fds[0]);
	close(fds[1]);
}

static void a_new_child_is_found(void **state)
{
	pid_t last = process_last_id(), pid, grandchild;

	(void)state;
	assert_true(last > 0);
	assert_int_equal(process_new_child(getpid(), last), -ENOENT);
	pid = fork_family(&grandchild);
	assert_true(process_is_child(pid, getpid()));
	assert_true(process_is_child(grandchild, pid));
	assert_false(process_is_child(grandchild, getpid()));
	/* Ids begin anew at some point, and then nothing is known. */
	if (process_last_id() > last) {
		assert_int_equal(process_new_child(getpid(), last), pid);
		assert_int_equal(process_new_child(pid, last), grandchild);
	}
	assert_int_equal(process_new_child(getpid(), process_last_id()), -ENOENT);
	assert_int_equal(process_new_child(getpid(), -1), -ENOENT);
	end_family(pid, grandchild);
	assert_int_equal(process_new_child(getpid(), last), -ENOENT);
	assert_false(process_is_child(pid, getpid()));
}

static void one_is_ended_and_not_the_other(void **state)
{
	pid_t pid, grandchild;
	int process, other;

	(void)state;
	pid = fork_family(&grandchild);
	process = process_open(grandchild);
	other = process_open(pid);
	assert_true(process >= 0 && other >= 0);
	assert_false(process_ended(process));
	process_kill(process);
	assert_int_equal(poll(&(struct pollfd){ .fd = process, .events = POLLIN }, 1, WAIT_MS), 1);
	assert_true(process_ended(process));
	assert_false(process_ended(other));
	process_kill(process);
	process_kill(other);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(process_ended(other));
	assert_true(process_open(pid) < 0);
	close(process);
	close(other);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_a_family),
		cmocka_unit_test(lists_of_the_kernel),
		cmocka_unit_test(threads_are_no_children),
		cmocka_unit_test(a_new_child_is_found),
		cmocka_unit_test(one_is_ended_and_not_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
