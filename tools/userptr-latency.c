// SPDX-License-Identifier: MIT
/*
 * userptr-latency: how long until the host has given back what was freed
 *
 * Registers memory, takes it back with munmap(), madvise() or free(), and
 * measures from the return of that until the driver has revoked the resource,
 * the device has answered and the pages are unpinned, as seen by a thread that
 * waits for it with DRM_VIRTGPU_USERPTR_INFO.  The device is told before it
 * answers, so this is an upper bound of when it was told.
 *
 *	userptr-latency [REPETITIONS [PAGES [NODE]]]
 *
 * Invariant: one registration at a time.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "virtgpu.h"

#define PAGE 4096ul
#define TIMEOUT_MS 10000

enum deed { DEED_MUNMAP, DEED_DONTNEED, DEED_FREE, NR_DEEDS };

static const char *const deed_names[NR_DEEDS] = {
	[DEED_MUNMAP] = "munmap",
	[DEED_DONTNEED] = "MADV_DONTNEED",
	[DEED_FREE] = "free",
};

static void __attribute__((noreturn)) fail(const char *what, int error)
{
	fprintf(stderr, "userptr-latency: %s: %s\n", what, strerror(error));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void take_back(enum deed deed, void *block, uint8_t *addr, size_t size)
{
	int ret = 0;

	if (deed == DEED_MUNMAP)
		ret = munmap(block, size + PAGE);
	else if (deed == DEED_DONTNEED)
		ret = madvise(addr, size, MADV_DONTNEED);
	else
		free(block);
	if (ret)
		fail(deed_names[deed], errno);
}

static uint64_t measure(struct vg *vg, enum deed deed, size_t size)
{
	struct vg_bo bo;
	uint64_t took;
	uint8_t *addr;
	void *block;
	int ret;

	if (deed == DEED_FREE)
		block = malloc(size + PAGE);
	else
		block = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	if (!block || block == MAP_FAILED)
		fail("memory", errno);
	addr = (uint8_t *)(((uintptr_t)block + PAGE - 1) & ~(PAGE - 1));
	memset(addr, 1, size);
	ret = vg_userptr_create(vg->fd, addr, size, 0, &bo);
	if (ret)
		fail("registration", -ret);

	take_back(deed, block, addr, size);
	took = vg_now_us();
	ret = vg_userptr_wait(vg->fd, bo.handle, VIRTGPU_USERPTR_INFO_WAIT_RELEASED, TIMEOUT_MS);
	if (ret)
		fail("it was not revoked", -ret);
	took = vg_now_us() - took;

	vg_bo_close(vg->fd, bo.handle);
	if (deed == DEED_DONTNEED)
		munmap(block, size + PAGE);
	return took;
}

int main(int argc, char **argv)
{
	unsigned int nr = argc > 1 ? atoi(argv[1]) : 1000, deed, i;
	size_t pages = argc > 2 ? strtoul(argv[2], NULL, 0) : 64;
	const char *node = argc > 3 ? argv[3] : "/dev/dri/renderD128";
	uint64_t *took = calloc(nr, sizeof(*took));
	struct vg vg;
	int ret;

	/* free() of less than that would give nothing back. */
	if (!nr || pages < 33 || !took)
		fail("at least one repetition, and 33 pages", EINVAL);
	ret = vg_open(&vg, node, 1);
	if (ret)
		fail(node, -ret);
	/* malloc() raises its threshold after the first free() otherwise. */
	mallopt(M_MMAP_THRESHOLD, 131072);
	printf("%u times %zu pages, microseconds until RELEASED:\n", nr, pages);
	for (deed = 0; deed < NR_DEEDS; deed++) {
		for (i = 0; i < nr; i++)
			took[i] = measure(&vg, deed, pages * PAGE);
		qsort(took, nr, sizeof(*took), compare);
		printf("  %-14s p50 %6lu  p99 %6lu  max %6lu\n", deed_names[deed], took[nr / 2],
		       took[nr - 1 - nr / 100], took[nr - 1]);
	}
	vg_close(&vg);
	free(took);
	return 0;
}
