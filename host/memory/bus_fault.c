// SPDX-License-Identifier: MIT
/*
 * bus_fault: see bus_fault.h
 *
 * The handler must not wait for anybody, so what it reads is a table of atomics.  A
 * thread that faults uses the range that it faults in, which therefore stays in its
 * slot.  Other slots may change while they are looked at: a slot is free while its
 * base is 0, its other fields are set before its base, and the base is read again
 * after them.
 *
 * Locks: slots_lock is held to take and to give back a slot.
 */
#include "memory/bus_fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Files of RAM that one process may have mapped, those that only runs hold included. */
#define SLOTS 1024

/**
 * struct slot - a range
 * @base: first address, 0: nothing is here
 * @size: bytes
 * @block: bytes that are replaced together, a power of two
 * @hit: a fault was survived
 */
struct slot {
	atomic_uintptr_t base;
	atomic_size_t size;
	atomic_size_t block;
	atomic_bool hit;
};

static struct slot slots[SLOTS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
/* Slots from here on were never used. */
static atomic_int nr_slots;
static struct sigaction before;
static atomic_int event = -1;
/* Faults that were survived. */
static atomic_uint nr_hits;

/* ---- the handler ---- */

/* Put memory of our own where the fault was; whether that was done. */
static bool replace(struct slot *slot, uintptr_t address)
{
	uintptr_t base = atomic_load_explicit(&slot->base, memory_order_acquire);
	size_t size = atomic_load_explicit(&slot->size, memory_order_acquire);
	size_t block = atomic_load_explicit(&slot->block, memory_order_acquire);
	uint64_t one = 1;

	if (!base || base != atomic_load_explicit(&slot->base, memory_order_acquire) ||
	    address < base || address - base >= size)
		return false;
	address &= ~(uintptr_t)(block - 1);
	if (mmap((void *)address, block, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return false;
	atomic_store(&slot->hit, true);
	atomic_fetch_add(&nr_hits, 1);
	/* Whoever reads it only wants to know that there was one. */
	return write(atomic_load(&event), &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
}

/* Not ours: as if we were not here. */
static void pass_on(int signal_nr, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal_nr, info, context);
		return;
	}
	if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(signal_nr);
		return;
	}
	/* A fault comes again with the instruction; what was sent has to be sent again. */
	sigaction(signal_nr, &before, NULL);
	if (info->si_code <= 0)
		raise(signal_nr);
}

static void handler(int signal_nr, siginfo_t *info, void *context)
{
	int saved = errno, nr = atomic_load(&nr_slots), i;
	bool replaced = false;

	/* Bad hardware (BUS_MCEERR_*) is not for us to hide. */
	if (info->si_code == BUS_ADRERR)
		for (i = 0; i < nr && !replaced; i++)
			replaced = replace(&slots[i], (uintptr_t)info->si_addr);
	if (!replaced)
		pass_on(signal_nr, info, context);
	errno = saved;
}

/**
 * bus_fault_install() - take SIGBUS from now on
 *
 * Again if somebody else has taken it meanwhile.
 *
 * Return: 0 or a negative errno.
 */
int bus_fault_install(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART }, now;
	int fd;

	if (sigaction(SIGBUS, NULL, &now))
		return -errno;
	if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == handler)
		return 0;
	if (atomic_load(&event) < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0)
			return -errno;
		atomic_store(&event, fd);
	}
	/* As soon as ours is there it may have to pass one on. */
	before = now;
	sigemptyset(&action.sa_mask);
	action.sa_sigaction = handler;
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

/**
 * bus_fault_fd() - what to poll for
 *
 * Return: a descriptor, readable when a range was hit, or -1.
 */
int bus_fault_fd(void)
{
	return atomic_load(&event);
}

/**
 * bus_fault_clear() - the event was taken notice of
 *
 * To be called before the ranges are looked at.
 *
 * Return: faults that were survived, ever.
 */
unsigned int bus_fault_clear(void)
{
	uint64_t hits;

	if (atomic_load(&event) >= 0 && read(atomic_load(&event), &hits, sizeof(hits)) < 0)
		hits = 0;
	return atomic_load(&nr_hits);
}

/* ---- ranges ---- */

/**
 * bus_fault_watch() - survive faults in a range
 * @base: where a file is mapped
 * @size: bytes
 * @block: bytes that its mapping consists of, a power of two
 *
 * Return: a handle, or -ENOSPC.
 */
int bus_fault_watch(void *base, size_t size, size_t block)
{
	int i;

	pthread_mutex_lock(&slots_lock);
	for (i = 0; i < SLOTS && atomic_load(&slots[i].base); i++)
		;
	if (i < SLOTS) {
		atomic_store(&slots[i].size, size);
		atomic_store(&slots[i].block, block);
		atomic_store(&slots[i].hit, false);
		atomic_store(&slots[i].base, (uintptr_t)base);
		if (i >= atomic_load(&nr_slots))
			atomic_store(&nr_slots, i + 1);
	}
	pthread_mutex_unlock(&slots_lock);
	return i < SLOTS ? i : -ENOSPC;
}

/**
 * bus_fault_unwatch() - no more
 * @handle: of bus_fault_watch()
 */
void bus_fault_unwatch(int handle)
{
	pthread_mutex_lock(&slots_lock);
	atomic_store(&slots[handle].base, 0);
	pthread_mutex_unlock(&slots_lock);
}

/**
 * bus_fault_hit() - whether something of a range is lost
 * @handle: of bus_fault_watch()
 *
 * Return: true if there was a fault.
 */
bool bus_fault_hit(int handle)
{
	return atomic_load(&slots[handle].hit);
}
