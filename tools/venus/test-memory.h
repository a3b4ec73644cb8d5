/* SPDX-License-Identifier: MIT */
/*
 * test-memory: memory that tests of the Vulkan layers import, and what is in it
 *
 * Words of which no two are the same say of each byte where it comes from.  No state
 * is kept.
 */
#ifndef TEST_MEMORY_H
#define TEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What lies around that must not be touched, and what files are filled with. */
#define GUARD 0x5a
/* From one word of fill_words() to the next. */
#define WORD_STEP 0x9e3779b9u

void fill_words(void *addr, size_t size, uint32_t seed);
long wrong_word(const void *addr, size_t size, uint32_t seed, uint32_t step, uint32_t flip);
bool all_bytes(const void *addr, size_t size, uint8_t byte);

void *map_anonymous(size_t size);
int ext4_file(size_t size);
bool file_has_bytes(int fd, size_t size, uint8_t byte);

#endif /* TEST_MEMORY_H */
