/* SPDX-License-Identifier: MIT */
/*
 * vhost_device: a stand-in for the device behind the back end, for tests
 *
 * It answers with what it was sent, upper case, at once or when told to; the
 * real one has tests of its own.
 */
#ifndef VHOST_DEVICE_H
#define VHOST_DEVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gpu/gpu_device.h"

#define BIT(n) (UINT64_C(1) << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DEVICE_FEATURES (BIT(0) | BIT(16))

struct gpu_device {
	const struct gpu_transport *transport;
	uint64_t features;
	unsigned char config[20];
	struct gpu_request *pending[64];
	unsigned int nr_pending;
	unsigned int commands[2];
	unsigned int resets;
	size_t last_capacity;
	unsigned int spend_ms;
	bool hold;
	int fd;
	uint64_t host_visible;
	int done[16];
	unsigned int nr_done;
	unsigned int done_at_reset;
	bool ask_again;
};

uint64_t gpu_device_features(const struct gpu_device *dev)
{
	(void)dev;
	return DEVICE_FEATURES;
}

void gpu_device_set_features(struct gpu_device *dev, uint64_t features)
{
	dev->features = features;
}

void gpu_device_read_config(struct gpu_device *dev, uint32_t offset, void *data, size_t len)
{
	unsigned char *to = data;
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = offset + i < sizeof(dev->config) ? dev->config[offset + i] : 0;
}

void gpu_device_write_config(struct gpu_device *dev, uint32_t offset, const void *data, size_t len)
{
	if (offset < sizeof(dev->config) && len <= sizeof(dev->config) - offset)
		memcpy(dev->config + offset, data, len);
}

static inline uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void gpu_device_command(struct gpu_device *dev, unsigned int queue, const void *data, size_t len,
			size_t resp_capacity, struct gpu_request *req)
{
	uint64_t end = now_ms() + dev->spend_ms;
	unsigned char answer[64];
	size_t i;

	/* Hard work. */
	while (now_ms() < end)
		;
	dev->commands[queue]++;
	dev->last_capacity = resp_capacity;
	if (dev->hold) {
		assert_true(dev->nr_pending < ARRAY_SIZE(dev->pending));
		dev->pending[dev->nr_pending++] = req;
		return;
	}
	if (len > sizeof(answer))
		len = sizeof(answer);
	for (i = 0; i < len; i++)
		answer[i] = (unsigned char)toupper(((const unsigned char *)data)[i]);
	dev->transport->respond(dev->transport->opaque, req, answer, len);
}

/* The last one first, as a device may do. */
static inline void answer_pending(struct gpu_device *dev, const char *answer)
{
	while (dev->nr_pending)
		dev->transport->respond(dev->transport->opaque, dev->pending[--dev->nr_pending],
					answer, strlen(answer));
}

void gpu_device_reset(struct gpu_device *dev)
{
	answer_pending(dev, "");
	dev->features = 0;
	dev->done_at_reset = dev->nr_done;
	dev->resets++;
}

uint64_t gpu_device_host_visible(const struct gpu_device *dev)
{
	return dev->host_visible;
}

/* Something more to unmap, as a device with a queue has. */
void gpu_device_shmem_done(struct gpu_device *dev, int err)
{
	const struct gpu_shmem_range range = { .offset = 0x7000, .size = 0x1000 };

	assert_true(dev->nr_done < ARRAY_SIZE(dev->done));
	dev->done[dev->nr_done++] = err;
	if (!dev->ask_again)
		return;
	dev->ask_again = false;
	err = dev->transport->shmem_unmap(dev->transport->opaque, &range);
	if (err)
		dev->done[dev->nr_done++] = err;
}

int gpu_device_fd(const struct gpu_device *dev)
{
	return dev->fd;
}

void gpu_device_dispatch(struct gpu_device *dev)
{
	uint64_t count;

	assert_int_equal(read(dev->fd, &count, sizeof(count)), sizeof(count));
	answer_pending(dev, "LATE");
}

#endif /* VHOST_DEVICE_H */
