// SPDX-License-Identifier: MIT
/*
 * watch: allocations that fail, and what an input leaves behind
 *
 * The linker puts the functions here in place of the C library's for all that is
 * linked into a target (--wrap), and what is fuzzed is not compiled differently.
 * What is counted is what the process has at the end of an input that it did not
 * have at the beginning: descriptors, and mappings of files.
 *
 * Threads: allocations are counted on all threads; those of a thread between
 * watch_pause() and watch_resume() are not.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/poison.h"
#include "fuzz/wrap.h"

/* Descriptors above that are not looked at; no input takes so many. */
#define MAX_DESCRIPTORS 512

static atomic_ulong allocations;
static unsigned long first_failure;
static unsigned long last_failure;
static atomic_bool failed;
static atomic_long mappings;
static bool open_before[MAX_DESCRIPTORS];
static __thread unsigned int paused;

/* ---- allocations ---- */

/* Whether this allocation is the one, or one of those after it. */
static bool fails_now(void)
{
	unsigned long number;

	if (paused || !first_failure)
		return false;
	number = atomic_fetch_add(&allocations, 1) + 1;
	if (number < first_failure || number > last_failure)
		return false;
	atomic_store(&failed, true);
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails_now() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t nr, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(old, nr, size);
}

char *__wrap_strdup(const char *text)
{
	return fails_now() ? NULL : __real_strdup(text);
}

/* What also takes memory of the kernel's. */
int __wrap_eventfd(unsigned int value, int flags)
{
	return fails_now() ? -1 : __real_eventfd(value, flags);
}

int __wrap_timerfd_create(clockid_t clock, int flags)
{
	return fails_now() ? -1 : __real_timerfd_create(clock, flags);
}

int __wrap_epoll_create1(int flags)
{
	return fails_now() ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD && fails_now())
		return -1;
	return __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	return fails_now() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

void watch_pause(void)
{
	paused++;
}

void watch_resume(void)
{
	paused--;
}

bool watch_has_failed(void)
{
	return atomic_load(&failed);
}

/* ---- mappings ---- */

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *map = fails_now() ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);

	if (map != MAP_FAILED && fd >= 0) {
		atomic_fetch_add(&mappings, 1);
		kernel_mapped(map, fd);
	}
	return map;
}

/* Only files are mapped in what is fuzzed, each as a whole. */
int __wrap_munmap(void *at, size_t size)
{
	int ret = __real_munmap(at, size);

	if (!ret) {
		atomic_fetch_sub(&mappings, 1);
		kernel_unmapped(at);
		poison_unmapped(at, size);
	}
	return ret;
}

/* ---- descriptors ---- */

static void look_at_descriptors(bool *open)
{
	struct pollfd fds[MAX_DESCRIPTORS];
	unsigned int i;

	for (i = 0; i < MAX_DESCRIPTORS; i++)
		fds[i] = (struct pollfd){ .fd = (int)i };
	syscall(SYS_poll, fds, MAX_DESCRIPTORS, 0);
	for (i = 0; i < MAX_DESCRIPTORS; i++)
		open[i] = !(fds[i].revents & POLLNVAL);
}

static void check_descriptors(void)
{
	bool open[MAX_DESCRIPTORS];
	char path[64], what[256];
	unsigned int i;
	ssize_t len;

	look_at_descriptors(open);
	for (i = 0; i < MAX_DESCRIPTORS; i++) {
		if (open[i] == open_before[i])
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%u", i);
		len = readlink(path, what, sizeof(what) - 1);
		what[len > 0 ? len : 0] = '\0';
		fuzz_oracle("DESCRIPTORS: %u (%s) is %s after the input", i, what,
			    open[i] ? "open" : "closed");
	}
}

void watch_begin(const struct fuzz_head *head)
{
	look_at_descriptors(open_before);
	atomic_store(&mappings, 0);
	atomic_store(&failed, false);
	atomic_store(&allocations, 0);
	first_failure = fuzz_get(head->fail, 2, 0, 2);
	last_failure = first_failure + head->fails;
}

void watch_end(void)
{
	first_failure = 0;
	if (atomic_load(&mappings))
		fuzz_oracle("MAPPINGS: %ld more than before the input", atomic_load(&mappings));
	check_descriptors();
}
