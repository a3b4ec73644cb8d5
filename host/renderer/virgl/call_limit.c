// SPDX-License-Identifier: MIT
/*
 * call_limit: see call_limit.h
 *
 * The thread sleeps while no call goes on; when it wakes it looks at the deadline
 * of the call that goes on then, so that most calls cost no wake-up.
 */
#include "renderer/virgl/call_limit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "util/clock.h"

/**
 * struct call_limit - see call_limit_new()
 * @thread: shuts down sockets
 * @lock: of all that follows
 * @wake: there is a call while it sleeps, or it has to end
 * @socket: what the call waits for, or -1
 * @deadline: of the call
 * @wake_at: when the thread wakes, if it does not sleep
 * @sleeping: the thread waits for a call
 * @fired: the call's socket was shut down
 * @quit: end
 */
struct call_limit {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int socket;
	struct timespec deadline;
	struct timespec wake_at;
	bool sleeping;
	bool fired;
	bool quit;
};

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static bool is_over(const struct timespec *deadline)
{
	const struct timespec now = clock_after_ms(0);

	return !is_before(&now, deadline);
}

static void *call_limit_thread(void *opaque)
{
	struct call_limit *limit = opaque;

	pthread_mutex_lock(&limit->lock);
	while (!limit->quit) {
		if (limit->socket < 0 || limit->fired) {
			limit->sleeping = true;
			pthread_cond_wait(&limit->wake, &limit->lock);
			limit->sleeping = false;
		} else if (is_over(&limit->deadline)) {
			limit->fired = true;
			shutdown(limit->socket, SHUT_RDWR);
		} else {
			struct timespec wake_at = limit->deadline;

			limit->wake_at = wake_at;
			pthread_cond_timedwait(&limit->wake, &limit->lock, &wake_at);
		}
	}
	pthread_mutex_unlock(&limit->lock);
	return NULL;
}

/* Signals are for the main thread. */
static int start_thread(struct call_limit *limit)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&limit->thread, NULL, call_limit_thread, limit);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

/**
 * call_limit_new() - with a thread that sleeps
 * @out: it
 *
 * Return: 0 or a negative errno.
 */
int call_limit_new(struct call_limit **out)
{
	struct call_limit *limit = calloc(1, sizeof(*limit));
	pthread_condattr_t attr;
	int err;

	if (!limit)
		return -ENOMEM;
	limit->socket = -1;
	pthread_mutex_init(&limit->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&limit->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = start_thread(limit);
	if (err)
		goto free_limit;
	*out = limit;
	return 0;

free_limit:
	pthread_cond_destroy(&limit->wake);
	pthread_mutex_destroy(&limit->lock);
	free(limit);
	return err;
}

/**
 * call_limit_free() - end its thread
 * @limit: of call_limit_new(); no call goes on
 */
void call_limit_free(struct call_limit *limit)
{
	pthread_mutex_lock(&limit->lock);
	limit->quit = true;
	pthread_cond_signal(&limit->wake);
	pthread_mutex_unlock(&limit->lock);
	pthread_join(limit->thread, NULL);
	pthread_cond_destroy(&limit->wake);
	pthread_mutex_destroy(&limit->lock);
	free(limit);
}

/**
 * call_limit_begin() - a call begins
 * @limit: its limit, which has no other call
 * @socket: what the call may wait for
 * @limit_ms: so long
 */
void call_limit_begin(struct call_limit *limit, int socket, unsigned int limit_ms)
{
	pthread_mutex_lock(&limit->lock);
	limit->deadline = clock_after_ms(limit_ms);
	limit->fired = false;
	limit->socket = socket;
	if (limit->sleeping || is_before(&limit->deadline, &limit->wake_at))
		pthread_cond_signal(&limit->wake);
	pthread_mutex_unlock(&limit->lock);
}

/**
 * call_limit_end() - the call has returned
 * @limit: its limit
 *
 * Return: whether the socket was shut down.
 */
bool call_limit_end(struct call_limit *limit)
{
	bool fired;

	pthread_mutex_lock(&limit->lock);
	fired = limit->fired;
	limit->fired = false;
	limit->socket = -1;
	pthread_mutex_unlock(&limit->lock);
	return fired;
}
