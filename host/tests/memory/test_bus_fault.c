// SPDX-License-Identifier: MIT
/*
 * test_bus_fault: RAM that is taken away, and faults that are none of ours
 *
 * The handler is the process's and stays, so what is about another one is tried in
 * a child.
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
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/bus_fault.h"
#include "tests/memory/ram_test.h"
#include "tests/util/capture.h"

#define PAGES 64
#define FOREIGN_EXIT 42

/* @pages of a file that has only one. */
static volatile unsigned char *truncated(unsigned int pages)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);
	void *at;

	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	memset(at, 0x55, pages * PAGE);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	close(fd);
	return at;
}

static bool event_is_there(void)
{
	struct pollfd ready = { .fd = bus_fault_fd(), .events = POLLIN };

	return poll(&ready, 1, 0) == 1;
}

static void what_is_gone_reads_as_zeroes(void **state)
{
	volatile unsigned char *gone = truncated(PAGES), *other = truncated(PAGES);
	int handle, other_handle;

	(void)state;
	assert_int_equal(bus_fault_install(), 0);
	assert_int_equal(bus_fault_install(), 0);
	bus_fault_clear();
	handle = bus_fault_watch((void *)gone, PAGES * PAGE, PAGE);
	other_handle = bus_fault_watch((void *)other, PAGES * PAGE, PAGE);
	assert_true(handle >= 0 && other_handle >= 0 && handle != other_handle);
	assert_int_equal(gone[0], 0x55);
	assert_false(bus_fault_hit(handle));
	assert_false(event_is_there());
	assert_int_equal(gone[3 * PAGE + 17], 0);
	assert_true(bus_fault_hit(handle));
	assert_false(bus_fault_hit(other_handle));
	assert_true(event_is_there());
	bus_fault_clear();
	assert_false(event_is_there());
	/* A page at a time, up to the last byte; it keeps what is written to it. */
	gone[3 * PAGE] = 7;
	assert_false(event_is_there());
	gone[PAGES * PAGE - 1] = 9;
	assert_true(event_is_there());
	assert_int_equal(gone[3 * PAGE], 7);
	assert_int_equal(gone[PAGES * PAGE - 1], 9);
	assert_int_equal(gone[0], 0x55);
	bus_fault_unwatch(handle);
	bus_fault_unwatch(other_handle);
	munmap((void *)gone, PAGES * PAGE);
	munmap((void *)other, PAGES * PAGE);
	bus_fault_clear();
}

/* Where a file is made of huge pages a mapping cannot be replaced by less. */
static void blocks_are_replaced_whole(void **state)
{
	volatile unsigned char *gone = truncated(PAGES);
	uintptr_t first = ((uintptr_t)gone + 8 * PAGE - 1) & ~(8 * PAGE - 1);
	volatile unsigned char *block = (volatile unsigned char *)first + 8 * PAGE;
	int handle;

	(void)state;
	assert_int_equal(bus_fault_install(), 0);
	handle = bus_fault_watch((void *)gone, PAGES * PAGE, 8 * PAGE);
	bus_fault_clear();
	block[5 * PAGE] = 5;
	assert_true(event_is_there());
	bus_fault_clear();
	block[0] = 1;
	block[8 * PAGE - 1] = 8;
	assert_int_equal(block[5 * PAGE], 5);
	assert_false(event_is_there());
	block[8 * PAGE] = 9;
	assert_true(event_is_there());
	bus_fault_unwatch(handle);
	munmap((void *)gone, PAGES * PAGE);
	bus_fault_clear();
}

static void *touch(void *opaque)
{
	volatile unsigned char *at = opaque;
	unsigned int i;

	for (i = 1; i < PAGES; i++)
		at[i * PAGE] = 1;
	return NULL;
}

static void threads_fault_together(void **state)
{
	volatile unsigned char *gone = truncated(PAGES);
	pthread_t threads[4];
	int handle, i;

	(void)state;
	assert_int_equal(bus_fault_install(), 0);
	handle = bus_fault_watch((void *)gone, PAGES * PAGE, PAGE);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, touch, (void *)gone), 0);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(bus_fault_hit(handle));
	bus_fault_unwatch(handle);
	munmap((void *)gone, PAGES * PAGE);
	bus_fault_clear();
}

static void ranges_are_many_and_come_back(void **state)
{
	static unsigned char some[2000];
	int handles[2000], nr, i;

	(void)state;
	for (nr = 0; nr < 2000; nr++) {
		handles[nr] = bus_fault_watch(&some[nr], 1, PAGE);
		if (handles[nr] < 0)
			break;
	}
	assert_int_equal(handles[nr], -ENOSPC);
	assert_true(nr >= 512);
	bus_fault_unwatch(handles[nr / 2]);
	assert_int_equal(bus_fault_watch(some, 1, PAGE), handles[nr / 2]);
	for (i = 0; i < nr; i++)
		bus_fault_unwatch(handles[i]);
}

/* How a child that does @what ends. */
static int end_of(void (*what)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void fault_elsewhere(void)
{
	signal(SIGBUS, SIG_DFL);
	bus_fault_install();
	/* Right behind a range that is ours. */
	volatile unsigned char *gone = truncated(PAGES);

	bus_fault_watch((void *)gone, 2 * PAGE, PAGE);
	gone[PAGE] = 1;
	gone[2 * PAGE] = 1;
}

static void no_more_ours(void)
{
	volatile unsigned char *gone = truncated(PAGES);

	signal(SIGBUS, SIG_DFL);
	bus_fault_install();
	bus_fault_unwatch(bus_fault_watch((void *)gone, PAGES * PAGE, PAGE));
	gone[PAGE] = 1;
}

static void sent(void)
{
	signal(SIGBUS, SIG_DFL);
	bus_fault_install();
	raise(SIGBUS);
}

static void foreign(int signal_nr)
{
	_exit(signal_nr == SIGBUS ? FOREIGN_EXIT : 1);
}

static void foreign_info(int signal_nr, siginfo_t *info, void *context)
{
	_exit(signal_nr == SIGBUS && info && context ? FOREIGN_EXIT : 1);
}

static void other_handler(void)
{
	signal(SIGBUS, foreign);
	bus_fault_install();
	truncated(PAGES)[PAGE] = 1;
}

static void other_info_handler(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO, .sa_sigaction = foreign_info };

	sigaction(SIGBUS, &action, NULL);
	bus_fault_install();
	truncated(PAGES)[PAGE] = 1;
}

/* The first test: afterwards this process has the handler, and children have it too. */
static void other_faults_are_passed_on(void **state)
{
	int status;

	(void)state;
	assert_int_equal(bus_fault_fd(), -1);
	status = end_of(fault_elsewhere);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = end_of(no_more_ours);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = end_of(sent);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = end_of(other_handler);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FOREIGN_EXIT);
	status = end_of(other_info_handler);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FOREIGN_EXIT);
}

/* As the VMM's mistake: the file of guest RAM becomes shorter while it is in use. */
static void truncated_ram_is_damaged(void **state)
{
	struct guest_memory *gm;
	struct capture c;
	struct run run;
	int a, b;

	(void)state;
	assert_int_equal(bus_fault_install(), 0);
	gm = two_files(&a, &b);
	assert_false(guest_memory_damaged(gm));
	assert_int_equal(ftruncate(a, PAGE), 0);
	assert_int_equal(guest_memory_resolve(gm, 17 * PAGE, PAGE, &run, 1), 1);
	/* Nobody has looked there yet. */
	assert_false(guest_memory_damaged(gm));
	*(volatile unsigned char *)run_pointer(&run) = 1;
	assert_true(ram_file_damaged(run.file));
	capture_begin();
	assert_true(guest_memory_damaged(gm));
	assert_true(guest_memory_damaged(gm));
	capture_end(&c);
	assert_int_equal(captured(&c, "guest RAM in '/memfd:ram (deleted)' is damaged"), 1);
	/* The other file is as it was. */
	assert_int_equal(guest_memory_resolve(gm, 20 * PAGE, PAGE, &run, 1), 1);
	assert_false(ram_file_damaged(run.file));
	finish(gm, a, b);
}

static int give_up(void **state)
{
	(void)state;
	capture_give_up();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_faults_are_passed_on),
		cmocka_unit_test(what_is_gone_reads_as_zeroes),
		cmocka_unit_test(blocks_are_replaced_whole),
		cmocka_unit_test(threads_fault_together),
		cmocka_unit_test(ranges_are_many_and_come_back),
		cmocka_unit_test_teardown(truncated_ram_is_damaged, give_up),
	};

	return cmocka_run_group_tests_name("bus_fault", tests, NULL, NULL);
}
