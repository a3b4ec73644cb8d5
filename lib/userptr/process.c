// SPDX-License-Identifier: MIT
/*
 * process: is this still the process that it was?
 *
 * A child that fork() made has a copy of everything here, locks that are held
 * included, and the same file, in which the handles are its parent's.  It must
 * notice before it touches any of that.  One page is wiped in a child
 * (MADV_WIPEONFORK), however that was made; a handler of pthread_atfork() would
 * not see clone(), and a process id can come again.
 *
 * Where the kernel cannot wipe a page, which Linux has been able to since 4.14,
 * the process id has to do.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"

/* Survives fork(), so that a child's number is greater than its parent's. */
static _Atomic uint64_t last_generation;
/* Wiped by fork(). */
static _Atomic uint64_t *generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void map_page(void)
{
	long size = sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, size, MADV_WIPEONFORK)) {
		munmap(page, size);
		return;
	}
	generation = page;
}

/**
 * process_generation() - a number that no ancestor of this process has had
 *
 * Return: the same number for as long as the process lives, and never 0.
 */
uint64_t process_generation(void)
{
	uint64_t now, none = 0;

	pthread_once(&once, map_page);
	if (!generation)
		return getpid();
	now = atomic_load(generation);
	if (now)
		return now;
	now = atomic_fetch_add(&last_generation, 1) + 1;
	/* Another thread may have been faster. */
	if (!atomic_compare_exchange_strong(generation, &none, now))
		return none;
	return now;
}
