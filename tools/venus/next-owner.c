// SPDX-License-Identifier: MIT
/*
 * next-owner: who gets the pages that a hostile program gives up
 *
 * See next-owner.h.  Nothing is kept outside of struct next_owner.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "next-owner.h"

/* What the next owners keep: the high half of a word. */
#define SECRET 0x5ec70000u
#define SECRET_MASK 0xffff0000u
#define BLOCK MIB(4)
#define BLOCKS 256
#define ENOUGH_FRAMES 64
#define SPARE_KIB (96 * 1024)
/* How long the attack may take that they wait for. */
#define ATTACK_MS 240000

/**
 * shared_memory() - memory that stays shared after fork()
 * @size: bytes
 *
 * Return: its address, zeroed, or NULL.
 */
void *shared_memory(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return addr == MAP_FAILED ? NULL : addr;
}

/**
 * await_word() - wait until another process has written
 * @word: in shared memory, for which there is nothing to wait on but looking
 * @least: what it is to be, at least
 * @timeout_ms: how long
 *
 * Return: 0 or -ETIME.
 */
int await_word(const _Atomic uint32_t *word, uint32_t least, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (atomic_load(word) < least) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return 0;
}

/**
 * wait_pins_at_most() - wait until no more pages are pinned
 * @pins: how many may be
 * @timeout_ms: how long
 *
 * Return: 0 or -ETIME.
 */
int wait_pins_at_most(long pins, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (pins_outstanding() > pins) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return 0;
}

static int by_number(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static int read_frames(const void *addr, size_t pages, uint64_t *frames)
{
	ssize_t got;
	size_t i;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = pread(fd, frames, pages * 8, (uintptr_t)addr / PAGE * 8);
	close(fd);
	if (got != (ssize_t)(pages * 8))
		return -EIO;
	for (i = 0; i < pages; i++)
		frames[i] &= (1ull << 55) - 1;
	return frames[0] ? 0 : -EPERM;
}

/**
 * next_owner_note() - note the frames of the target
 * @owner: shared
 * @target: TARGET_BYTES of the calling process, all there
 *
 * Return: 0 or a negative errno.
 */
int next_owner_note(struct next_owner *owner, const void *target)
{
	int ret = read_frames(target, TARGET_PAGES, owner->frames);

	qsort(owner->frames, TARGET_PAGES, sizeof(owner->frames[0]), by_number);
	return ret;
}

static uint32_t secret(size_t i)
{
	return SECRET | (i & ~SECRET_MASK);
}

/* Takes a block of memory, and counts the frames of the target in it. */
static uint32_t *take_block(struct next_owner *owner)
{
	uint64_t frames[BLOCK / PAGE];
	uint32_t *block;
	size_t i;

	block = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block == MAP_FAILED)
		return NULL;
	/* Single pages, as those of the target are. */
	madvise(block, BLOCK, MADV_NOHUGEPAGE);
	for (i = 0; i < BLOCK / 4; i++)
		block[i] = secret(i);
	if (read_frames(block, BLOCK / PAGE, frames))
		return NULL;
	for (i = 0; i < BLOCK / PAGE; i++) {
		if (bsearch(&frames[i], owner->frames, TARGET_PAGES, sizeof(frames[0]), by_number))
			atomic_fetch_add(&owner->owned, 1);
	}
	return block;
}

static int take_and_watch(void *opaque)
{
	struct next_owner *owner = opaque;
	uint32_t *blocks[BLOCKS];
	size_t nr = 0, b, i;

	while (nr < BLOCKS && atomic_load(&owner->owned) < ENOUGH_FRAMES &&
	       read_counter("/proc/meminfo", "MemAvailable:") > SPARE_KIB) {
		blocks[nr] = take_block(owner);
		CHECK(blocks[nr]);
		nr++;
	}
	atomic_fetch_add(&owner->ready, 1);
	CHECK(!await_word(&owner->verify, 1, ATTACK_MS));
	for (b = 0; b < nr; b++) {
		for (i = 0; i < BLOCK / 4; i++)
			CHECK(blocks[b][i] == secret(i));
	}
	return 0;
}

/**
 * next_owner_take() - have other processes take the pages
 * @owner: shared
 * @pids: out
 * @timeout_ms: how long it may take
 *
 * Return: 0, or a negative errno; -ENOENT if they have got none of them.
 */
int next_owner_take(struct next_owner *owner, pid_t pids[NEXT_OWNERS], int timeout_ms)
{
	int i, ret;

	for (i = 0; i < NEXT_OWNERS; i++) {
		pids[i] = run_child(take_and_watch, owner);
		if (pids[i] < 0)
			return pids[i];
	}
	ret = await_word(&owner->ready, NEXT_OWNERS, timeout_ms);
	return ret ? ret : atomic_load(&owner->owned) ? 0 : -ENOENT;
}

/**
 * next_owner_check() - have them look at their memory, and end them
 * @owner: shared
 * @pids: of next_owner_take()
 *
 * Return: 0, or what child_result() says of the first that does not have what it wrote.
 */
int next_owner_check(struct next_owner *owner, const pid_t pids[NEXT_OWNERS])
{
	int i, ret = 0, result;

	atomic_store(&owner->verify, 1);
	for (i = 0; i < NEXT_OWNERS; i++) {
		result = child_result(pids[i]);
		ret = ret ? ret : result;
	}
	return ret;
}

/**
 * next_owner_leaked() - how much of the secret the hostile program has seen
 * @owner: shared
 *
 * Return: words.
 */
long next_owner_leaked(const struct next_owner *owner)
{
	long leaked = 0;
	size_t i;

	for (i = 0; i < TARGET_BYTES / 4; i++)
		leaked += (owner->seen[i] & SECRET_MASK) == SECRET;
	return leaked;
}
