// SPDX-License-Identifier: MIT
/*
 * test_render_process: processes and sockets found from outside, limited calls
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
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "renderer/virgl/render_process.h"
#include "util/clock.h"

#define WAIT_MS 20000
#define LIMIT_MS 300

static bool has(const struct int_list *list, int item)
{
	size_t i;

	for (i = 0; i < list->nr; i++)
		if (list->items[i] == item)
			return true;
	return false;
}

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
		/* A name that looks like the end of another one's. */
		if (!pid)
			prctl(PR_SET_NAME, "a) R 1 (b");
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

static void test_processes(void **state)
{
	struct int_list before, children, all;
	pid_t pid, grandchild;
	int process, other;

	(void)state;
	assert_int_equal(list_children(getpid(), false, &before), 0);
	pid = fork_family(&grandchild);
	assert_int_equal(list_children(getpid(), false, &children), 0);
	assert_int_equal(int_list_only_new(&before, &children), pid);
	assert_int_equal(int_list_only_new(&children, &children), -ENOENT);
	assert_false(has(&children, grandchild));
	assert_int_equal(list_children(getpid(), true, &all), 0);
	assert_true(has(&all, pid));
	assert_true(has(&all, grandchild));
	assert_false(has(&all, getpid()));
	/* Two new ones are one too many. */
	assert_int_equal(int_list_only_new(&before, &all), -ENOENT);
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
	int_list_destroy(&before);
	int_list_destroy(&children);
	int_list_destroy(&all);
}

static void test_sockets(void **state)
{
	struct int_list before, after, all;
	int pair[2], stream[2];

	(void)state;
	assert_int_equal(list_packet_sockets(&before), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	close(pair[1]);
	assert_int_equal(list_packet_sockets(&after), 0);
	assert_int_equal(int_list_only_new(&before, &after), pair[0]);
	assert_int_equal(list_descriptors(&all), 0);
	assert_true(has(&all, stream[0]) && has(&all, stream[1]) && has(&all, pair[0]));
	close(pair[0]);
	close(stream[0]);
	close(stream[1]);
	int_list_destroy(&before);
	int_list_destroy(&after);
	int_list_destroy(&all);
}

/* A call that waits for a packet: how long it took. */
static uint64_t blocked_call(struct call_limit *limit, unsigned int limit_ms, bool answer,
			     bool *fired)
{
	uint64_t started = clock_ms();
	int pair[2];
	char byte = 0;
	ssize_t got;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	if (answer)
		assert_int_equal(send(pair[1], &byte, 1, 0), 1);
	call_limit_begin(limit, pair[0], limit_ms);
	got = recv(pair[0], &byte, 1, 0);
	*fired = call_limit_end(limit);
	assert_int_equal(got, answer ? 1 : 0);
	close(pair[0]);
	close(pair[1]);
	return clock_ms() - started;
}

static void test_call_limit(void **state)
{
	struct call_limit *limit;
	unsigned int i;
	bool fired;

	(void)state;
	assert_int_equal(call_limit_new(&limit), 0);
	assert_in_range(blocked_call(limit, LIMIT_MS, false, &fired), LIMIT_MS, WAIT_MS);
	assert_true(fired);
	/* A limit that is longer and not reached, then a shorter one. */
	assert_in_range(blocked_call(limit, 10 * WAIT_MS, true, &fired), 0, WAIT_MS);
	assert_false(fired);
	assert_in_range(blocked_call(limit, LIMIT_MS, false, &fired), LIMIT_MS, WAIT_MS);
	assert_true(fired);
	for (i = 0; i < 1000; i++) {
		blocked_call(limit, 10 * WAIT_MS, true, &fired);
		assert_false(fired);
	}
	/* No call, no socket that is shut down: also when a limit has passed since. */
	assert_in_range(blocked_call(limit, LIMIT_MS, false, &fired), LIMIT_MS, WAIT_MS);
	assert_in_range(blocked_call(limit, 10 * WAIT_MS, true, &fired), 0, WAIT_MS);
	assert_false(fired);
	call_limit_free(limit);
}

/* The other direction: a socket that takes nothing any more. */
static void test_call_limit_send(void **state)
{
	struct call_limit *limit;
	char packet[4096] = { 0 };
	int pair[2];

	(void)state;
	assert_int_equal(call_limit_new(&limit), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	call_limit_begin(limit, pair[0], LIMIT_MS);
	while (send(pair[0], packet, sizeof(packet), MSG_NOSIGNAL) > 0)
		;
	assert_int_equal(errno, EPIPE);
	assert_true(call_limit_end(limit));
	call_limit_free(limit);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_call_limit),
		cmocka_unit_test(test_call_limit_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
