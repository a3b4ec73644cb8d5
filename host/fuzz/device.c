// SPDX-License-Identifier: MIT
/*
 * device: see device.h
 *
 * When the front end is gone nothing may be left of what the guest made.  The device's
 * statistics tell: each line that ends with "now" is such a number.
 *
 * Threads: see device.h.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/device.h"
#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "gpu/gpu_device.h"
#include "gpu/gpu_thread.h"
#include "memory/guest_memory.h"
#include "vhost/vhost_user.h"

#define STATISTICS 8192

/* How long the end of a device may take, by its own clock. */
#define END_MS 600000
/* How often to look at statistics that may be old. */
#define LOOKS 2000
#define LOOK_US 200

static struct guest_memory *memory;
static struct vhost_user_server *server;
static struct gpu_thread *device;
/* Limits that follow the size of memory may have been larger than they are. */
static bool judge_peaks;

void device_config(struct gpu_config *config)
{
	*config = (struct gpu_config){
		.limits = {
			.max_userptr_bytes = 64 * GUEST_PAGE,
			.max_segments = 24,
			.max_entries = 16,
			.memory = { .total_bytes = 256 * GUEST_PAGE, .total_runs = 128, .resources = 7 },
			.max_blobs = 6,
			.max_contexts = 3,
			.max_attachments = 16,
		},
		.userptr = true,
		.userptr_rdonly = true,
		.loopback = true,
		.grace_ms = 64,
	};
}

bool device_open(const struct gpu_config *config, int fd, unsigned int patience)
{
	judge_peaks = config->limits.memory.total_bytes;
	memory = guest_memory_new();
	if (!memory)
		goto close_fd;
	server = vhost_user_server_new(memory, patience);
	if (!server)
		goto free_memory;
	device = gpu_thread_new(config, memory);
	if (!device)
		goto free_server;
	if (!vhost_user_server_attach(server, &gpu_thread_ops, device) &&
	    !vhost_user_server_adopt(server, fd))
		return true;
	vhost_user_server_close(server);
	gpu_thread_free(device, END_MS);
free_server:
	vhost_user_server_free(server);
free_memory:
	guest_memory_free(memory);
	memory = NULL;
close_fd:
	close(fd);
	return false;
}

bool device_step(int timeout_ms)
{
	int ret = vhost_user_server_step(server, timeout_ms);

	if (ret < 0 && !watch_has_failed())
		fuzz_oracle("the event loop failed: %s", strerror(-ret));
	return ret > 0;
}

bool device_wait(unsigned int us)
{
	struct pollfd pollfd = { .fd = vhost_user_server_fd(server), .events = POLLIN };
	struct timespec time = { .tv_nsec = us * 1000l };

	return ppoll(&pollfd, 1, &time, NULL) == 1;
}

bool device_finished(void)
{
	return vhost_user_server_finished(server);
}

struct guest_memory *device_memory(void)
{
	return memory;
}

/*
 * Whether a line of the statistics says that something is there.  A limit's line is
 * "limit NAME: used N of M, peak P, refused R".
 */
static bool is_left(const char *line)
{
	unsigned long long used, max, peak;
	static const char *const gauges[] = { " now", " not answered yet",
					      "waiting for the device" };
	const char *colon = strchr(line, ':');
	unsigned int i;

	if (colon && sscanf(colon, ": used %llu of %llu, peak %llu", &used, &max, &peak) == 3) {
		if (judge_peaks && peak > max)
			fuzz_oracle("QUOTA: more than the limit was used: %s", line);
		return used;
	}
	for (i = 0; colon && i < ARRAY_SIZE(gauges); i++) {
		size_t len = strlen(gauges[i]);

		if ((size_t)(colon - line) >= len && !memcmp(colon - len, gauges[i], len) &&
		    strtoull(colon + 1, NULL, 10))
			return true;
	}
	return false;
}

/* The first such line, or NULL; good until the next call. */
static const char *find_left(void)
{
	static char text[STATISTICS];
	FILE *file = fmemopen(text, sizeof(text), "w");
	char *line, *saved;

	if (!file)
		return NULL;
	gpu_thread_print_stats(device, file);
	fclose(file);
	for (line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
		if (is_left(line))
			return line;
	return NULL;
}

static void check_nothing_left(void)
{
	const char *left = find_left();
	unsigned int i;

	/* Those of a device that is at something may be old, and it was just now. */
	for (i = 0; left && i < LOOKS; i++) {
		device_wait(LOOK_US);
		left = find_left();
	}
	if (left)
		fuzz_oracle("QUOTA: the front end is gone, and there are \"%s\"", left);
}

void device_close(void)
{
	vhost_user_server_close(server);
	if (!vhost_user_server_wait_reset(server, END_MS))
		fuzz_oracle("RELEASE RULE: the device does not let go of the guest's memory");
	check_nothing_left();
	if (!gpu_thread_free(device, END_MS))
		fuzz_oracle("the device's thread does not end");
	vhost_user_server_free(server);
	guest_memory_free(memory);
	memory = NULL;
}
