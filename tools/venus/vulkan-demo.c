// SPDX-License-Identifier: MIT
/*
 * vulkan-demo: what the demos of Vulkan on process memory have in common
 *
 * See vulkan-demo.h.  A program is one demo: the times of its steps are kept here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "venus-device.h"
#include "vkc.h"
#include "vulkan-demo.h"

#define MAX_STEPS 16

/**
 * demo_fail() - say why, and end
 * @format: as of printf()
 */
void demo_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%s: FAILED: ", demo_name);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	/* Not exit(): a driver that hangs must not hide why. */
	fflush(stdout);
	_exit(1);
}

/**
 * demo_row() - a line of output
 * @label: its first column
 * @format: as of printf()
 */
void demo_row(const char *label, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("  %-16s", label);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	fflush(stdout);
}

/**
 * demo_check() - end, unless it is VK_SUCCESS
 * @result: of what was done
 * @what: that was
 */
void demo_check(VkResult result, const char *what)
{
	if (result)
		demo_fail("%s: %s", what, vkc_result(result));
}

/* Names and microseconds of the steps that are over, and when the current one began. */
static struct {
	const char *name[MAX_STEPS];
	uint64_t took[MAX_STEPS];
	unsigned int nr;
	uint64_t began;
} steps;

/**
 * demo_begin_step() - from now on time counts
 */
void demo_begin_step(void)
{
	steps.began = vg_now_us();
}

/**
 * demo_end_step() - what was begun is over
 * @name: what it was; of at most MAX_STEPS
 */
void demo_end_step(const char *name)
{
	steps.name[steps.nr] = name;
	steps.took[steps.nr++] = vg_now_us() - steps.began;
}

/**
 * demo_print_steps() - how long each took
 */
void demo_print_steps(void)
{
	unsigned int i;

	for (i = 0; i < steps.nr; i++)
		demo_row(steps.name[i], "%10.3f ms", steps.took[i] / 1000.0);
}

/**
 * demo_device() - say what the Vulkan device is
 * @properties: of it
 * @driver: of it
 */
void demo_device(const VkPhysicalDeviceProperties *properties,
		 const VkPhysicalDeviceDriverProperties *driver)
{
	const uint32_t version = properties->apiVersion;

	demo_row("device", "%s, Vulkan %u.%u.%u", properties->deviceName,
		 VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
		 VK_API_VERSION_PATCH(version));
	demo_row("driver", "%s %s", driver->driverName, driver->driverInfo);
}

/**
 * demo_allocate() - malloc'ed memory
 * @size: bytes, whole pages
 * @byte: what it is filled with
 *
 * Return: its address.
 */
uint8_t *demo_allocate(size_t size, uint8_t byte)
{
	uint8_t *addr = aligned_alloc(PAGE, size);

	if (!addr)
		demo_fail("no memory for %zu bytes", size);
	/*
	 * Advice only: large pages, and all at once before the file's come between
	 * them, so that the memory has few pieces.  A host's udmabuf takes 1024.
	 */
	madvise(addr, size, MADV_HUGEPAGE);
	madvise(addr, size, MADV_POPULATE_WRITE);
	memset(addr, byte, size);
	return addr;
}

/**
 * demo_fill() - a file's bytes, again and again until the memory is full
 * @path: a regular file that is not empty
 * @addr: memory
 * @size: bytes
 */
void demo_fill(const char *path, uint8_t *addr, size_t size)
{
	size_t done = 0, length;
	struct stat st;
	ssize_t got;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		demo_fail("%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || !st.st_size)
		demo_fail("%s: no regular file, or empty", path);
	while (done < size) {
		got = read(fd, addr + done, size - done);
		if (got < 0)
			demo_fail("%s: %s", path, strerror(errno));
		if (!got)
			break;
		done += got;
	}
	close(fd);
	if (!done)
		demo_fail("%s: became empty", path);
	for (length = done; done < size; done++)
		addr[done] = addr[done - length];
	demo_row("file", "%s, %zu of %zu bytes of memory", path, length, size);
}

/**
 * demo_kernel() - look for the virtio-gpu device, and say what there is
 *
 * Return: whether there is one with userptr resources; otherwise the driver is local.
 */
bool demo_kernel(void)
{
	char node[64];
	bool found = !venus_node(node, sizeof(node));

	demo_row("kernel", "%s",
		 found ? node : "no virtio-gpu with userptr resources: this driver is local");
	if (found && vg_status_kib("VmPin"))
		demo_fail("VmPin is %ld kB before anything was imported", vg_status_kib("VmPin"));
	return found;
}

/**
 * demo_segments() - what the kernel has told the host of imported memory
 * @addr: memory
 * @size: bytes
 *
 * Return: pieces.
 */
uint32_t demo_segments(const void *addr, size_t size)
{
	struct venus_registration registration;

	if (venus_find(addr, size, &registration))
		demo_fail("the driver has imported %p without a registration", addr);
	if (registration.info.state != VIRTGPU_USERPTR_STATE_LIVE)
		demo_fail("the registration of %p is not live", addr);
	return registration.info.nr_segments;
}

/**
 * demo_pinned() - make sure that imported memory is pinned, once
 * @bytes: of all imports
 */
void demo_pinned(size_t bytes)
{
	/* Waited for: finding out about memory types pins a page for a moment. */
	if (vg_wait_status_kib("VmPin", bytes / 1024, RELEASE_MS))
		demo_fail("VmPin is %ld kB with %zu kB imported", vg_status_kib("VmPin"),
			  bytes / 1024);
}

/**
 * demo_unpinned() - make sure that nothing is pinned any more
 */
void demo_unpinned(void)
{
	if (vg_wait_status_kib("VmPin", 0, RELEASE_MS))
		demo_fail("VmPin is still %ld kB %d s after the release", vg_status_kib("VmPin"),
			  RELEASE_MS / 1000);
}
