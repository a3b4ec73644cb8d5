// SPDX-License-Identifier: MIT
/*
 * fast_time: the monotonic clock of what is fuzzed goes SPEED times as fast
 *
 * What waits for seconds where it must does not so long here, and is not compiled
 * differently for that.  Put in place of the C library's functions (wrap.h).
 *
 * Threads: any.
 */
#include <stdint.h>

#include "fuzz/wrap.h"

#define SPEED 64
/* A wait is not shorter than that: who looks again and again is to do something else meanwhile. */
#define SHORTEST INT64_C(30000)
/* Nor longer, where it only says how often to look. */
#define LONGEST_MS 4
#define SECOND INT64_C(1000000000)
/* A time since the epoch is later; the fast clock does not come so far. */
#define FIRST_REAL_TIME 1000000000

static int64_t began;

__attribute__((constructor)) static void begin(void)
{
	struct timespec now;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	began = now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t to_ns(const struct timespec *time)
{
	return time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec from_ns(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };
}

/* The real time of a fast one; not 0, which says something else. */
static struct timespec real_time(const struct timespec *fast)
{
	int64_t ns = began + (to_ns(fast) - began) / SPEED;

	return from_ns(ns > 0 ? ns : 1);
}

static struct timespec real_duration(const struct timespec *fast)
{
	int64_t ns = to_ns(fast);

	if (ns)
		ns = ns / SPEED > SHORTEST ? ns / SPEED : SHORTEST;
	return from_ns(ns);
}

static int real_ms(int ms)
{
	if (ms <= 0)
		return ms;
	return ms / SPEED + 1 < LONGEST_MS ? ms / SPEED + 1 : LONGEST_MS;
}

/* As real_time(), but not sooner than the shortest wait. */
static struct timespec timer_time(const struct timespec *fast)
{
	struct timespec real = real_time(fast), now;
	int64_t first;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	first = to_ns(&now) + SHORTEST;
	return to_ns(&real) < first ? from_ns(first) : real;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	int ret = __real_clock_gettime(clock, now);

	if (!ret && clock == CLOCK_MONOTONIC)
		*now = from_ns(began + (to_ns(now) - began) * SPEED);
	return ret;
}

int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *when,
			   struct timespec *left)
{
	struct timespec real = flags & TIMER_ABSTIME ? real_time(when) : real_duration(when);

	kernel_poll(NULL, 0, 1);
	return __real_clock_nanosleep(clock, flags, &real, left);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old)
{
	struct itimerspec real = { .it_interval = real_duration(&when->it_interval) };

	if (!(flags & TFD_TIMER_ABSTIME))
		real.it_value = real_duration(&when->it_value);
	else if (when->it_value.tv_sec || when->it_value.tv_nsec)
		real.it_value = timer_time(&when->it_value);
	return __real_timerfd_settime(fd, flags, &real, old);
}

int __wrap_poll(struct pollfd *fds, nfds_t nr, int timeout)
{
	if (kernel_poll(fds, nr, timeout))
		return 0;
	return __real_poll(fds, nr, real_ms(timeout));
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
	return __real_epoll_wait(epoll, events, max, real_ms(timeout));
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until)
{
	struct timespec real = until->tv_sec < FIRST_REAL_TIME ? real_time(until) : *until;

	return __real_pthread_cond_timedwait(cond, mutex, &real);
}

int __wrap_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock,
				const struct timespec *until)
{
	struct timespec real = real_time(until);

	return __real_pthread_clockjoin_np(thread, value, clock, &real);
}
