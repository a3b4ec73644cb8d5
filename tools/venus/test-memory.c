// SPDX-License-Identifier: MIT
/*
 * test-memory: memory that tests of the Vulkan layers import, and what is in it
 *
 * See test-memory.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"
#include "test-memory.h"

#define EXT4_DIR "/dev/shm/ext4"

/**
 * fill_words() - write words of which no two are the same
 * @addr: memory
 * @size: bytes, a multiple of 4
 * @seed: the first of them
 */
void fill_words(void *addr, size_t size, uint32_t seed)
{
	uint32_t *words = addr;
	size_t i;

	for (i = 0; i < size / 4; i++)
		words[i] = seed + i * WORD_STEP;
}

/**
 * wrong_word() - look for a word that is not what it should be
 * @addr: memory
 * @size: bytes
 * @seed: the first word
 * @step: from each to the next
 * @flip: bits that are inverted in all
 *
 * Return: its number, or -1.
 */
long wrong_word(const void *addr, size_t size, uint32_t seed, uint32_t step, uint32_t flip)
{
	const volatile uint32_t *words = addr;
	size_t i;

	for (i = 0; i < size / 4; i++) {
		if (words[i] != ((seed + (uint32_t)i * step) ^ flip))
			return i;
	}
	return -1;
}

/**
 * all_bytes() - is it all the same?
 * @addr: memory
 * @size: bytes
 * @byte: the same as what
 *
 * Return: true if so.
 */
bool all_bytes(const void *addr, size_t size, uint8_t byte)
{
	const uint8_t *bytes = addr;
	size_t i;

	for (i = 0; i < size && bytes[i] == byte; i++)
		;
	return i == size;
}

/**
 * map_anonymous() - private memory that is not there yet
 * @size: bytes
 *
 * Return: its address or MAP_FAILED.
 */
void *map_anonymous(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/**
 * ext4_file() - a file on the disk of this run, unlinked
 * @size: bytes, whole pages, each GUARD
 *
 * Return: descriptor, or -1 if there is no such disk.
 */
int ext4_file(size_t size)
{
	const char *image = getenv("USERPTR_EXT4");
	uint8_t page[PAGE];
	size_t i;
	int fd;

	if (!image || (mkdir(EXT4_DIR, 0700) && errno != EEXIST) ||
	    (mount(image, EXT4_DIR, "ext4", 0, NULL) && errno != EBUSY))
		return -1;
	fd = open(EXT4_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	memset(page, GUARD, PAGE);
	for (i = 0; fd >= 0 && i < size / PAGE; i++) {
		if (write(fd, page, PAGE) == PAGE)
			continue;
		close(fd);
		return -1;
	}
	return fd;
}

/**
 * file_has_bytes() - what everybody sees who reads a file
 * @fd: the file
 * @size: bytes, whole pages
 * @byte: what each should be
 *
 * Return: true if so.
 */
bool file_has_bytes(int fd, size_t size, uint8_t byte)
{
	uint8_t page[PAGE];
	size_t i;

	for (i = 0; i < size / PAGE; i++) {
		if (pread(fd, page, PAGE, i * PAGE) != PAGE || !all_bytes(page, PAGE, byte))
			return false;
	}
	return true;
}
