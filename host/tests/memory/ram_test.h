/* SPDX-License-Identifier: MIT */
/*
 * ram_test: guest memory for tests
 *
 * RAM files are memfds whose page n holds the byte pattern n, so that a wrong
 * address shows as a wrong byte.
 */
#ifndef RAM_TEST_H
#define RAM_TEST_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/guest_memory.h"
#include "memory/run_list.h"

#define PAGE 4096ull
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline int ram(unsigned int pages)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);
	unsigned char page[PAGE];
	unsigned int i;

	assert_true(fd >= 0);
	for (i = 0; i < pages; i++) {
		memset(page, (int)i, sizeof(page));
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	}
	return fd;
}

static inline struct guest_region region(uint64_t guest, uint64_t size, uint64_t user,
					 uint64_t offset, int fd)
{
	return (struct guest_region){ guest, size, user, offset, fd };
}

/* Lines of /proc/self/maps that are mappings of a memfd of ours. */
static inline unsigned int ram_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int nr = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		nr += strstr(line, "memfd:ram") != NULL;
	fclose(maps);
	return nr;
}

static inline unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 256; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/*
 * As QEMU does it: two regions of one file with a hole between them, and a
 * third of another file right behind the second.
 */
static inline struct guest_memory *two_files(int *a, int *b)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region regions[3];

	*a = ram(8);
	*b = ram(4);
	regions[0] = region(16 * PAGE, 4 * PAGE, 0x7000000, 4 * PAGE, *a);
	regions[1] = region(0, 2 * PAGE, 0x5000000, 0, *a);
	regions[2] = region(20 * PAGE, 4 * PAGE, 0x9000000, 0, *b);
	assert_non_null(gm);
	assert_int_equal(guest_memory_set(gm, regions, 3), 0);
	return gm;
}

static inline void finish(struct guest_memory *gm, int a, int b)
{
	guest_memory_free(gm);
	close(a);
	if (b >= 0)
		close(b);
	assert_int_equal(ram_mappings(), 0);
}

/* Appends guest range [addr, addr + len), which is one piece. */
static inline void append(struct run_list *list, struct guest_memory *gm, uint64_t addr,
			  uint64_t len)
{
	struct run run;

	assert_int_equal(guest_memory_resolve(gm, addr, len, &run, 1), 1);
	assert_int_equal(run_list_append(list, &run), 0);
}

#endif /* RAM_TEST_H */
