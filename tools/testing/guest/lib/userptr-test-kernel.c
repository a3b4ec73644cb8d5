// SPDX-License-Identifier: MIT
/*
 * userptr-test-kernel: counters, files and messages of the kernel, and of the host
 *
 * See userptr-test-util.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/userptr-test-util.h"

/**
 * poll_pause() - between two looks
 *
 * Nothing to wait on exists for what is polled for with this.
 */
void poll_pause(void)
{
	const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };

	nanosleep(&pause, NULL);
}

/**
 * read_counter() - a number that follows a name at the start of a line
 * @path: file
 * @name: the name, with whatever stands before the number
 *
 * Return: the number or a negative errno.
 */
long read_counter(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(name);
	long value = -ENOENT;
	char line[256];

	if (!file)
		return -errno;
	while (value < 0 && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len))
			value = strtol(line + len, NULL, 10);
	}
	fclose(file);
	return value;
}

/**
 * free_memory() - pages that nobody uses, those in the allocator's caches too
 *
 * MemFree leaves the caches out, and what is freed goes there first.
 *
 * Return: bytes or a negative errno.
 */
long free_memory(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	long pages = 0, number;
	char line[256];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " pages free %ld", &number) == 1 ||
		    sscanf(line, " count: %ld", &number) == 1)
			pages += number;
	}
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

/**
 * pins_outstanding() - pages pinned by anyone in this kernel
 *
 * Return: pages.
 */
long pins_outstanding(void)
{
	/* Each CPU adds what it has counted once a second, or now; root only. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	return read_counter("/proc/vmstat", "nr_foll_pin_acquired ") -
	       read_counter("/proc/vmstat", "nr_foll_pin_released ");
}

/**
 * wait_pins() - wait until that many pages are pinned
 * @pins: pages
 * @timeout_ms: how long
 *
 * Return: 0 or -ETIME.
 */
int wait_pins(long pins, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (pins_outstanding() != pins) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return 0;
}

/**
 * wait_no_resources() - wait until the device holds no userptr resource
 * @vg: context
 * @timeout_ms: how long
 *
 * Return: 0, -ETIME or another negative errno.
 */
int wait_no_resources(struct vg *vg, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;
	struct loopback_stats stats;
	int ret;

	for (;;) {
		ret = vg_stats(vg, &stats);
		if (ret)
			return ret;
		if (!stats.userptr_resources && !stats.userptr_segments && !stats.userptr_bytes)
			return 0;
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
}

/**
 * write_file() - write a string to a file that exists
 * @path: file
 * @text: the string
 *
 * Return: 0 or a negative errno.
 */
int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/**
 * file_contains() - is there a line with this in it?
 * @path: file
 * @text: what
 *
 * Return: true if so.
 */
bool file_contains(const char *path, const char *text)
{
	FILE *file = fopen(path, "re");
	bool found = false;
	char line[1024];

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, text);
	fclose(file);
	return found;
}

/**
 * wait_file_contains() - wait until there is
 * @path: file
 * @text: what
 * @timeout_ms: how long
 *
 * Return: 0 or -ETIME.
 */
int wait_file_contains(const char *path, const char *text, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;

	while (!file_contains(path, text)) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return 0;
}

/**
 * kmsg_open() - the kernel's log, from now on
 *
 * Return: a descriptor for kmsg_says() or a negative errno.
 */
int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) < 0) {
		close(fd);
		return -ESPIPE;
	}
	return fd;
}

/**
 * kmsg_says() - was this logged since kmsg_open() or the last time?
 * @fd: of kmsg_open()
 * @text: what
 *
 * Return: true if so.
 */
bool kmsg_says(int fd, const char *text)
{
	bool found = false;
	char line[2048];
	ssize_t got;

	/* A line a read; EPIPE: some were lost, and there are more. */
	while ((got = read(fd, line, sizeof(line) - 1)) > 0 || (got < 0 && errno == EPIPE)) {
		line[got > 0 ? got : 0] = '\0';
		found = found || strstr(line, text);
	}
	return found;
}

/**
 * pause_for_look() - let the driver look at memory that it suspects
 *
 * It looks at the same resource again only after 10 ms.  That it finds nothing
 * wrong cannot be waited for.
 */
void pause_for_look(void)
{
	const struct timespec pause = { .tv_nsec = 25 * 1000 * 1000 };

	nanosleep(&pause, NULL);
}

/**
 * virtio_device_name() - the device that virtio_gpu drives, the only one
 * @name: out, as to be written to VIRTIO_DRIVER "unbind"
 * @len: bytes of @name
 *
 * Return: 0 or a negative errno.
 */
int virtio_device_name(char *name, size_t len)
{
	struct dirent *entry;
	DIR *dir = opendir(VIRTIO_DRIVER);
	int ret = -ENODEV;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "virtio", 6))
			continue;
		snprintf(name, len, "%.60s", entry->d_name);
		ret = 0;
	}
	closedir(dir);
	return ret;
}

/* The answer to a request, without what every answer begins with. */
static int exchange(const char *request, char *answer, size_t len)
{
	char line[64] = "";

	printf("\nhost: %s\n", request);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return -EIO;
	if (strncmp(line, "host: ok", 8))
		return -EREMOTEIO;
	snprintf(answer, len, "%s", line + 8);
	return 0;
}

int ask_host(const char *request)
{
	char answer[64];

	return exchange(request, answer, sizeof(answer));
}

/**
 * ask_host_number() - ask_host() for a number
 * @request: what
 * @number: out
 *
 * Return: as of ask_host(), or -EPROTO if there is no number in the answer.
 */
int ask_host_number(const char *request, long *number)
{
	char answer[64], *end;
	int ret = exchange(request, answer, sizeof(answer));

	if (ret)
		return ret;
	*number = strtol(answer, &end, 10);
	return end == answer || *end != '\n' ? -EPROTO : 0;
}

/**
 * can_look_up() - does the kernel have pinned_page_lookup()?
 *
 * The driver says by what it checks what MMU_NOTIFY_CLEAR was about.  Without
 * that function it is ignored for shmem, hugetlb and memory without access.
 *
 * Return: true if so.
 */
bool can_look_up(void)
{
	char line[256] = "";
	glob_t found = { 0 };
	FILE *file;

	if (!glob("/sys/kernel/debug/dri/*/virtio-gpu-userptr", 0, NULL, &found)) {
		file = fopen(found.gl_pathv[0], "re");
		if (file) {
			if (!fgets(line, sizeof(line), file))
				line[0] = 0;
			fclose(file);
		}
	}
	globfree(&found);
	return strstr(line, "pinned_page_lookup");
}
