// SPDX-License-Identifier: MIT
/*
 * userptr-bench: what a registration costs, against bare pinning
 *
 * On the same memory, by turns, in one boot: pinning by the kernel's own benchmark
 * (CONFIG_GUP_TEST, PIN_LONGTERM_BENCHMARK), and the create ioctl.  Prints medians,
 * their ratio, and what the device says it took over.  Memory is touched in
 * order ("natural"), or by turns with a second mapping, so that each page lies by
 * itself ("scattered").  Each registration is given back, and unpinned, before
 * the next thing is measured.
 *
 *	userptr-bench natural|scattered MIB [SAMPLES [NODE]]
 *
 * Invariant: one registration at a time; a figure that is printed was measured
 * at least three times.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtgpu.h"

#define PAGE 4096ul
#define TIMEOUT_MS 60000
#define FOLL_WRITE 0x01u

/* mm/gup_test.h of the kernel, which is no uapi. */
struct gup_test {
	uint64_t get_delta_usec;
	uint64_t put_delta_usec;
	uint64_t addr;
	uint64_t size;
	uint32_t nr_pages_per_call;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t which_pages[8];
};
#define PIN_LONGTERM_BENCHMARK _IOWR('g', 3, struct gup_test)

static void __attribute__((noreturn)) fail(const char *what, int error)
{
	fprintf(stderr, "userptr-bench: %s: %s\n", what, strerror(error));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t median(uint64_t *samples, int nr)
{
	qsort(samples, nr, sizeof(*samples), compare);
	return samples[nr / 2];
}

static uint8_t *make_memory(bool scattered, size_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint8_t *addr = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, flags, -1, 0);
	size_t i;

	if (addr == MAP_FAILED)
		fail("mmap", errno);
	for (i = 0; i < size; i += PAGE) {
		addr[i] = i >> 12;
		if (scattered)
			addr[size + i] = 1;
	}
	return addr;
}

static void pin(int gup, uint8_t *addr, size_t size, uint64_t *get, uint64_t *put)
{
	struct gup_test test = {
		.addr = (uintptr_t)addr,
		.size = size,
		.nr_pages_per_call = 512,
		.gup_flags = FOLL_WRITE,
	};

	if (ioctl(gup, PIN_LONGTERM_BENCHMARK, &test))
		fail("PIN_LONGTERM_BENCHMARK", errno);
	*get = test.get_delta_usec;
	*put = test.put_delta_usec;
}

static void create(struct vg *vg, uint8_t *addr, size_t size, uint64_t *took, uint64_t *release)
{
	uint64_t started = vg_now_us();
	struct vg_bo bo;
	int ret;

	ret = vg_userptr_create(vg->fd, addr, size, 0, &bo);
	if (ret)
		fail("DRM_VIRTGPU_RESOURCE_CREATE_USERPTR", -ret);
	*took = vg_now_us() - started;
	started = vg_now_us();
	vg_bo_close(vg->fd, bo.handle);
	ret = vg_wait_status_kib("VmPin", 0, TIMEOUT_MS);
	if (ret)
		fail("waiting for the release", -ret);
	*release = vg_now_us() - started;
}

int main(int argc, char **argv)
{
	bool scattered = argc > 1 && !strcmp(argv[1], "scattered");
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) << 20 : 0;
	int nr = argc > 3 ? atoi(argv[3]) : 15, gup, i, ret;
	const char *node = argc > 4 ? argv[4] : "/dev/dri/renderD128";
	uint64_t *samples[4];
	uint8_t *addr;
	struct vg vg;

	if (!size || nr < 3 || (!scattered && strcmp(argv[1], "natural"))) {
		fprintf(stderr, "usage: userptr-bench natural|scattered MIB [SAMPLES [NODE]]\n");
		return 2;
	}
	gup = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	if (gup < 0)
		fail("/sys/kernel/debug/gup_test", errno);
	ret = vg_open(&vg, node, 1);
	if (ret)
		fail(node, -ret);
	for (i = 0; i < 4; i++) {
		samples[i] = calloc(nr, sizeof(**samples));
		if (!samples[i])
			fail("memory", ENOMEM);
	}
	addr = make_memory(scattered, size);
	/* Not counted: what is done once for memory that nobody has seen. */
	for (i = -2; i < nr; i++) {
		int at = i < 0 ? 0 : i;

		pin(gup, addr, size, &samples[0][at], &samples[1][at]);
		create(&vg, addr, size, &samples[2][at], &samples[3][at]);
	}
	printf("bench: %s %zu MiB, %d samples: pin %llu us, unpin %llu us, create %llu us, ",
	       argv[1], size >> 20, nr, (unsigned long long)median(samples[0], nr),
	       (unsigned long long)median(samples[1], nr),
	       (unsigned long long)median(samples[2], nr));
	printf("release %llu us, create/pin %.2f\n", (unsigned long long)median(samples[3], nr),
	       (double)median(samples[2], nr) / (double)median(samples[0], nr));
	vg_close(&vg);
	return 0;
}
