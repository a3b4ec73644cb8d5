// SPDX-License-Identifier: MIT
/*
 * chaos: another processor of the guest, which changes what the device reads
 *
 * Everything that a guest shares with the device may change at any moment, also
 * between two looks at it.  While an input runs, a thread writes to ring, descriptors,
 * requests and indirect tables, as fast as it can.
 *
 * Threads: one of its own, from the first input that wants it, which sleeps otherwise.
 * @state is what both look at; the rest is handed over with it.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/virtio_ring.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/vmm.h"

/* What it changes, in bits. */
#define CHAOS_DESCRIPTORS 1u
#define CHAOS_REQUESTS 2u
#define CHAOS_AVAIL 4u
#define CHAOS_TABLES 8u

#define SLOTS_AT (1u << 20)
#define TABLE_AT 3584u
/* Only the first slots: these are the ones in use. */
#define SLOTS 6u

enum { ASLEEP, RUNS, STOPS };

static atomic_int state;
static struct fuzz_random random_state;
static uint8_t kinds;
static bool started;

static void futex(int operation, int value)
{
	syscall(SYS_futex, &state, operation, value, NULL, NULL, 0);
}

static void put(uint32_t offset, uint32_t value, unsigned int width)
{
	if (width == 2)
		__atomic_store_n((uint16_t *)guest_at(offset), (uint16_t)value, __ATOMIC_RELAXED);
	else
		__atomic_store_n((uint32_t *)guest_at(offset), value, __ATOMIC_RELAXED);
}

/* A descriptor: mostly a member of it that still makes sense. */
static void change_descriptor(uint32_t offset)
{
	struct fuzz_random *random = &random_state;

	switch (fuzz_below(random, 4)) {
	case 0:
		put(offset, (uint32_t)GUEST_BASE + (fuzz_random(random) % GUEST_SIZE), 4);
		break;
	case 1:
		put(offset + 8, fuzz_random(random) % 4096, 4);
		break;
	case 2:
		put(offset + 12, fuzz_random(random) & 7, 2);
		break;
	default:
		put(offset + 14, fuzz_random(random) % 64, 2);
		break;
	}
}

static void change_something(void)
{
	struct fuzz_random *random = &random_state;
	uint32_t slot = SLOTS_AT + fuzz_below(random, SLOTS) * GUEST_PAGE;

	switch (1u << fuzz_below(random, 4) & kinds) {
	case CHAOS_DESCRIPTORS:
		change_descriptor(ring_desc_offset(0) +
				  fuzz_below(random, SLOTS * VMM_DESCRIPTORS) * 16);
		break;
	case CHAOS_REQUESTS:
		put(slot + 4 * fuzz_below(random, 64),
		    fuzz_once_in(random, 4) ? fuzz_random(random) : fuzz_below(random, 8), 4);
		break;
	case CHAOS_AVAIL:
		/* Beyond what there is, and back. */
		put(ring_avail_offset(0) +
			    (fuzz_once_in(random, 8) ? 2 : 4 + 2 * fuzz_below(random, 16)),
		    fuzz_below(random, 64), 2);
		break;
	case CHAOS_TABLES:
		change_descriptor(slot + TABLE_AT + 16 * fuzz_below(random, 6));
		break;
	default:
		break;
	}
}

static void *run(void *opaque)
{
	(void)opaque;
	for (;;) {
		while (atomic_load(&state) == ASLEEP)
			futex(FUTEX_WAIT_PRIVATE, ASLEEP);
		while (atomic_load_explicit(&state, memory_order_relaxed) == RUNS)
			change_something();
		atomic_store(&state, ASLEEP);
		futex(FUTEX_WAKE_PRIVATE, 1);
	}
	return NULL;
}

void chaos_begin(uint8_t what, uint32_t seed)
{
	pthread_t thread;

	kinds = what & 0xf;
	if (!kinds)
		return;
	random_state.state = seed + 1;
	watch_pause();
	if (!started && !pthread_create(&thread, NULL, run, NULL)) {
		pthread_detach(thread);
		started = true;
	}
	watch_resume();
	if (!started)
		return;
	vmm_do_wrong();
	atomic_store(&state, RUNS);
	futex(FUTEX_WAKE_PRIVATE, 1);
}

void chaos_end(void)
{
	if (!started || atomic_load(&state) == ASLEEP)
		return;
	atomic_store(&state, STOPS);
	while (atomic_load(&state) == STOPS)
		futex(FUTEX_WAIT_PRIVATE, STOPS);
}
