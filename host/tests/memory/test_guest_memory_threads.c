// SPDX-License-Identifier: MIT
/*
 * test_guest_memory_threads: a table that one thread sets while others look
 *
 * Two files, one table of each at a time, at the same addresses; each file is filled
 * with a byte of its own.  Whoever looks has to see one of the two, whole, and what he
 * takes has to stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/guest_memory.h"

#define PAGE 4096ull
#define PAGES 8
#define TABLES 3000

/**
 * struct looker - a thread that looks
 * @gm: the table
 * @stop: it is to end
 * @looks: how often it found something
 * @bad: what it found was wrong
 */
struct looker {
	struct guest_memory *gm;
	atomic_bool stop;
	atomic_uint looks;
	atomic_bool bad;
};

static bool all_the_same(const unsigned char *bytes, size_t len)
{
	return !memcmp(bytes, bytes + 1, len - 1) && (*bytes == 'a' || *bytes == 'b');
}

static void *look(void *arg)
{
	struct looker *l = arg;
	unsigned char copy[2 * PAGE];
	struct ram_file *files[GUEST_MEMORY_MAX_REGIONS];
	struct run runs[2];
	unsigned int nr;
	int taken;

	while (!l->stop) {
		/* Over the seam of two regions, which are not contiguous in the file. */
		taken = guest_memory_take(l->gm, 3 * PAGE, 2 * PAGE, runs, 2);
		if (taken > 0) {
			if (taken != 2 || runs[0].file != runs[1].file ||
			    !all_the_same(run_pointer(&runs[0]), PAGE) ||
			    !all_the_same(run_pointer(&runs[1]), PAGE))
				l->bad = true;
			runs_put(runs, (unsigned int)taken);
			l->looks++;
		}
		if (!guest_memory_read(l->gm, 3 * PAGE, copy, sizeof(copy)) &&
		    !all_the_same(copy, sizeof(copy)))
			l->bad = true;
		nr = guest_memory_files(l->gm, files);
		if (nr > 1)
			l->bad = true;
		while (nr)
			ram_file_put(files[--nr]);
		if (guest_memory_bytes(l->gm) % (PAGES * PAGE))
			l->bad = true;
		(void)guest_memory_generation(l->gm);
	}
	return NULL;
}

static int file_of(int byte)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);
	void *base;

	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	memset(base, byte, PAGES * PAGE);
	munmap(base, PAGES * PAGE);
	return fd;
}

/* Halves in the other order, so that the seam is one. */
static void set(struct guest_memory *gm, int fd)
{
	const uint64_t half = PAGES / 2 * PAGE;
	const struct guest_region regions[2] = {
		{ .guest_addr = 0, .size = half, .user_addr = 0, .fd_offset = half, .fd = fd },
		{ .guest_addr = half, .size = half, .user_addr = 1 << 20, .fd_offset = 0, .fd = fd },
	};

	assert_int_equal(guest_memory_set(gm, regions, 2), 0);
}

static void tables_that_are_set_while_others_look(void **state)
{
	struct looker l = { .gm = guest_memory_new() };
	int fds[2] = { file_of('a'), file_of('b') };
	pthread_t threads[2];
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look, &l), 0);
	/* Until they were seen often, which is a matter of how threads are scheduled. */
	for (i = 0; (i < TABLES || l.looks < TABLES) && !l.bad; i++) {
		if (i % 3 == 2)
			assert_int_equal(guest_memory_set(l.gm, NULL, 0), 0);
		else
			set(l.gm, fds[i % 3]);
	}
	l.stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_false(l.bad);
	guest_memory_free(l.gm);
	close(fds[0]);
	close(fds[1]);
}

static void each_file_once(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct ram_file *files[GUEST_MEMORY_MAX_REGIONS];
	int fd = file_of('a');

	(void)state;
	assert_int_equal(guest_memory_files(gm, files), 0);
	set(gm, fd);
	assert_int_equal(guest_memory_files(gm, files), 1);
	/* It stays, also when the table goes. */
	assert_int_equal(guest_memory_set(gm, NULL, 0), 0);
	assert_true(ram_file_fd(files[0]) >= 0);
	ram_file_put(files[0]);
	close(fd);
	guest_memory_free(gm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_that_are_set_while_others_look),
		cmocka_unit_test(each_file_once),
	};

	return cmocka_run_group_tests_name("guest_memory_threads", tests, NULL, NULL);
}
