// SPDX-License-Identifier: MIT
/*
 * test_call_limit: calls that are made to return
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "renderer/virgl/call_limit.h"
#include "util/clock.h"

#define WAIT_MS 20000
#define LIMIT_MS 300

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
		cmocka_unit_test(test_call_limit),
		cmocka_unit_test(test_call_limit_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
