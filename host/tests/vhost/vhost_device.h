/* SPDX-License-Identifier: MIT */
/*
 * vhost_device: a stand-in for the device behind the back end, for tests
 *
 * It answers with what it was sent, upper case, at once or when told to, and is reset
 * at once or when told to; the real one has tests of its own.  It has no thread:
 * what it has to say is news until the server takes it.
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
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/clock.h"
#include "vhost/backend.h"

#define BIT(n) (UINT64_C(1) << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DEVICE_FEATURES (BIT(0) | BIT(16))
#define DEVICE_REGION 1

enum news_kind { NEWS_ANSWER, NEWS_ROOM, NEWS_MAP, NEWS_UNMAP, NEWS_RESET };

/**
 * struct news - something that the device has to say
 * @kind: what
 * @cookie: of the request that is answered
 * @answer: to it
 * @len: bytes of it
 * @range: to be mapped, or unmapped
 * @file: to be mapped, the test's
 */
struct news {
	enum news_kind kind;
	void *cookie;
	unsigned char answer[64];
	size_t len;
	struct vhost_shmem_range range;
	int file;
};

/**
 * struct test_device - the stand-in
 * @fd: see struct vhost_backend_ops
 * @features: as they were set
 * @config: configuration space
 * @host_visible: bytes of region DEVICE_REGION
 * @commands: requests of each ring
 * @last_capacity: of the last request
 * @spend_ms: that taking in a request takes
 * @hold: requests are pending until they are answered
 * @pending: their cookies
 * @nr_pending: of these
 * @no_room: for requests
 * @hold_reset: a reset is over when device_finish_reset() is called
 * @begun: resets
 * @resets: of these, that are over
 * @done: what shmem_done() was told
 * @nr_done: of these
 * @done_at_reset: how many they were when the device was reset
 * @ask_again: ask for something more with the next one
 * @tables: how often guest memory changed
 * @news: what the server has not taken yet
 * @nr_news: of these
 */
struct test_device {
	int fd;
	uint64_t features;
	unsigned char config[20];
	uint64_t host_visible;
	unsigned int commands[2];
	size_t last_capacity;
	unsigned int spend_ms;
	bool hold;
	void *pending[64];
	unsigned int nr_pending;
	bool no_room;
	bool hold_reset;
	unsigned int begun;
	unsigned int resets;
	int done[16];
	unsigned int nr_done;
	unsigned int done_at_reset;
	bool ask_again;
	unsigned int tables;
	struct news news[128];
	unsigned int nr_news;
};

static inline struct news *device_news(struct test_device *dev, enum news_kind kind)
{
	const uint64_t one = 1;
	struct news *news = &dev->news[dev->nr_news++];

	assert_true(dev->nr_news <= ARRAY_SIZE(dev->news));
	*news = (struct news){ .kind = kind, .file = -1 };
	assert_int_equal(write(dev->fd, &one, sizeof(one)), sizeof(one));
	return news;
}

static inline void device_answer(struct test_device *dev, void *cookie, const void *data,
				 size_t len)
{
	struct news *news = device_news(dev, NEWS_ANSWER);

	news->cookie = cookie;
	news->len = len < sizeof(news->answer) ? len : sizeof(news->answer);
	memcpy(news->answer, data, news->len);
}

/* The last one first, as a device may do. */
static inline void answer_pending(struct test_device *dev, const char *answer)
{
	while (dev->nr_pending)
		device_answer(dev, dev->pending[--dev->nr_pending], answer, strlen(answer));
}

static inline void device_finish_reset(struct test_device *dev)
{
	answer_pending(dev, "");
	dev->features = 0;
	dev->done_at_reset = dev->nr_done;
	dev->resets++;
	device_news(dev, NEWS_RESET);
}

static inline uint64_t device_features(const void *dev)
{
	(void)dev;
	return DEVICE_FEATURES;
}

static inline void device_set_features(void *opaque, uint64_t features)
{
	((struct test_device *)opaque)->features = features;
}

static inline void device_read_config(const void *opaque, uint32_t offset, void *data, size_t len)
{
	const struct test_device *dev = opaque;
	unsigned char *to = data;
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = offset + i < sizeof(dev->config) ? dev->config[offset + i] : 0;
}

static inline void device_write_config(void *opaque, uint32_t offset, const void *data, size_t len)
{
	struct test_device *dev = opaque;

	if (offset < sizeof(dev->config) && len <= sizeof(dev->config) - offset)
		memcpy(dev->config + offset, data, len);
}

static inline uint64_t device_shmem_bytes(const void *opaque, unsigned int id)
{
	return id == DEVICE_REGION ? ((const struct test_device *)opaque)->host_visible : 0;
}

static inline bool device_room(void *opaque)
{
	return !((struct test_device *)opaque)->no_room;
}

static inline int device_request(void *opaque, unsigned int queue, void *data, size_t len,
				 size_t capacity, void *cookie)
{
	struct test_device *dev = opaque;
	uint64_t end = clock_ms() + dev->spend_ms;
	unsigned char answer[64];
	size_t i;

	assert_false(dev->no_room);
	/* Hard work. */
	while (clock_ms() < end)
		;
	dev->commands[queue]++;
	dev->last_capacity = capacity;
	if (dev->hold) {
		assert_true(dev->nr_pending < ARRAY_SIZE(dev->pending));
		dev->pending[dev->nr_pending++] = cookie;
	} else {
		for (i = 0; i < len && i < sizeof(answer); i++)
			answer[i] = (unsigned char)toupper(((const unsigned char *)data)[i]);
		device_answer(dev, cookie, answer, i);
	}
	free(data);
	return 0;
}

static inline void device_begin_reset(void *opaque)
{
	struct test_device *dev = opaque;

	/* One at a time. */
	assert_int_equal(dev->begun, dev->resets);
	dev->begun++;
	if (!dev->hold_reset)
		device_finish_reset(dev);
}

/* Something more to unmap, as a device with a queue has. */
static inline void device_shmem_done(void *opaque, int err)
{
	struct test_device *dev = opaque;

	assert_true(dev->nr_done < ARRAY_SIZE(dev->done));
	dev->done[dev->nr_done++] = err;
	if (!dev->ask_again)
		return;
	dev->ask_again = false;
	device_news(dev, NEWS_UNMAP)->range = (struct vhost_shmem_range){
		.id = DEVICE_REGION,
		.offset = 0x7000,
		.size = 0x1000,
	};
}

static inline void device_memory_changed(void *opaque)
{
	((struct test_device *)opaque)->tables++;
}

static inline const char *device_busy(void *opaque, uint64_t *ms)
{
	const struct test_device *dev = opaque;

	*ms = 1234567;
	return dev->begun != dev->resets ? "a test" : NULL;
}

static inline int device_fd(const void *opaque)
{
	return ((const struct test_device *)opaque)->fd;
}

static inline void device_tell(const struct news *news, const struct vhost_backend_host *host)
{
	switch (news->kind) {
	case NEWS_ANSWER:
		host->respond(host->opaque, news->cookie, news->answer, news->len);
		break;
	case NEWS_ROOM:
		host->room(host->opaque);
		break;
	case NEWS_MAP:
		host->shmem_map(host->opaque, &news->range, news->file);
		break;
	case NEWS_UNMAP:
		host->shmem_unmap(host->opaque, &news->range);
		break;
	case NEWS_RESET:
		host->reset_done(host->opaque);
		break;
	}
}

static inline void device_dispatch(void *opaque, const struct vhost_backend_host *host)
{
	struct test_device *dev = opaque;
	uint64_t count;
	unsigned int i;

	assert_int_equal(read(dev->fd, &count, sizeof(count)), sizeof(count));
	for (i = 0; i < dev->nr_news; i++)
		device_tell(&dev->news[i], host);
	dev->nr_news = 0;
}

static const struct vhost_backend_ops test_device_ops = {
	.features = device_features,
	.set_features = device_set_features,
	.read_config = device_read_config,
	.write_config = device_write_config,
	.shmem_bytes = device_shmem_bytes,
	.room = device_room,
	.request = device_request,
	.begin_reset = device_begin_reset,
	.shmem_done = device_shmem_done,
	.memory_changed = device_memory_changed,
	.busy = device_busy,
	.fd = device_fd,
	.dispatch = device_dispatch,
};

#endif /* VHOST_DEVICE_H */
