// SPDX-License-Identifier: MIT
/*
 * gpu_thread_server: what the server's thread calls
 *
 * See struct vhost_backend_ops.  Nothing here waits for the device, or calls it.
 *
 * Threads: the server's.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu_thread_internal.h"
#include "gpu/host_visible.h"
#include "util/clock.h"
#include "util/log.h"

#define TURN_NS 1000000u

_Static_assert(VHOST_BACKEND_MAX_REQUESTS <= GPU_DEVICE_MAX_PENDING,
	       "as many requests as there can be are taken");
_Static_assert(VHOST_BACKEND_MAX_ANSWER >= GPU_DEVICE_MAX_ANSWER, "any answer has room");
_Static_assert(VHOST_BACKEND_MAX_MAPPINGS >= HOST_VISIBLE_MAX_MAPPINGS,
	       "no more is mapped than there can be");

static void put_work(struct gpu_thread *thread, struct item *item)
{
	pthread_mutex_lock(&thread->lock);
	put(&thread->work, item, thread->work_fd);
	pthread_mutex_unlock(&thread->lock);
}

/* With the lock held. */
static bool has_room(const struct gpu_thread *thread)
{
	return thread->nr_waiting < MAX_WAITING && thread->bytes_waiting < MAX_WAITING_BYTES;
}

static uint64_t thread_features(const void *dev)
{
	return ((const struct gpu_thread *)dev)->features;
}

/* Between two activations of the device only the last one counts. */
static void thread_set_features(void *dev, uint64_t features)
{
	struct gpu_thread *thread = dev;

	pthread_mutex_lock(&thread->lock);
	thread->set_features.features = features;
	if (!thread->set_features.item.queued)
		put(&thread->work, &thread->set_features.item, thread->work_fd);
	pthread_mutex_unlock(&thread->lock);
}

static void thread_read_config(const void *dev, uint32_t offset, void *data, size_t len)
{
	const struct gpu_thread *thread = dev;
	size_t there = offset < sizeof(thread->space) ? sizeof(thread->space) - offset : 0;

	memset(data, 0, len);
	if (there)
		memcpy(data, thread->space + offset, len < there ? len : there);
}

static void thread_write_config(void *dev, uint32_t offset, const void *data, size_t len)
{
	struct config_item *config = malloc(sizeof(*config) + len);

	if (!config) {
		log_error("no memory for a write to the configuration space");
		return;
	}
	*config = (struct config_item){
		.item = { .kind = ITEM_WRITE_CONFIG },
		.offset = offset,
		.len = len,
	};
	memcpy(config->data, data, len);
	put_work(dev, &config->item);
}

static uint64_t thread_shmem_bytes(const void *dev, unsigned int id)
{
	const struct gpu_thread *thread = dev;

	return id == VIRTIO_GPU_SHM_ID_HOST_VISIBLE ? thread->host_visible : 0;
}

static bool thread_room(void *dev)
{
	struct gpu_thread *thread = dev;
	bool room;

	pthread_mutex_lock(&thread->lock);
	room = has_room(thread);
	if (!room)
		thread->no_room = true;
	pthread_mutex_unlock(&thread->lock);
	return room;
}

static int thread_request(void *dev, unsigned int queue, void *data, size_t len, size_t capacity,
			  void *cookie)
{
	struct gpu_thread *thread = dev;
	struct request_item *request;

	if (capacity > GPU_DEVICE_MAX_ANSWER)
		capacity = GPU_DEVICE_MAX_ANSWER;
	request = malloc(sizeof(*request) + capacity);
	if (!request)
		return -ENOMEM;
	*request = (struct request_item){
		.item = { .kind = ITEM_REQUEST },
		.gpu = { .opaque = request },
		.cookie = cookie,
		.queue = queue,
		.data = data,
		.len = len,
		.capacity = capacity,
	};
	pthread_mutex_lock(&thread->lock);
	thread->nr_waiting++;
	thread->bytes_waiting += len;
	put(&thread->work, &request->item, thread->work_fd);
	pthread_mutex_unlock(&thread->lock);
	return 0;
}

/* With the lock held: what the device has not begun with it need not begin with. */
static void cancel_requests(struct gpu_thread *thread)
{
	struct item_list kept = STAILQ_HEAD_INITIALIZER(kept);
	struct item *item;

	while ((item = take(&thread->work))) {
		if (item->kind == ITEM_REQUEST) {
			waits_no_more(thread, (struct request_item *)item);
			STAILQ_INSERT_TAIL(&thread->cancelled, item, link);
		} else {
			STAILQ_INSERT_TAIL(&kept, item, link);
		}
	}
	STAILQ_CONCAT(&thread->work, &kept);
}

static void thread_begin_reset(void *dev)
{
	struct gpu_thread *thread = dev;

	pthread_mutex_lock(&thread->lock);
	/* One at a time. */
	assert(!thread->reset.queued);
	cancel_requests(thread);
	put(&thread->work, &thread->reset, thread->work_fd);
	pthread_mutex_unlock(&thread->lock);
}

static void thread_shmem_done(void *dev, int err)
{
	struct gpu_thread *thread = dev;

	pthread_mutex_lock(&thread->lock);
	/* Once for each that it asked for, of which there is one at a time. */
	assert(!thread->shmem_done.item.queued);
	thread->shmem_done.err = err;
	put(&thread->work, &thread->shmem_done.item, thread->work_fd);
	pthread_mutex_unlock(&thread->lock);
}

static void thread_memory_changed(void *dev)
{
	struct gpu_thread *thread = dev;

	pthread_mutex_lock(&thread->lock);
	if (!thread->memory.queued)
		put(&thread->work, &thread->memory, thread->work_fd);
	pthread_mutex_unlock(&thread->lock);
}

static const char *thread_busy(void *dev, uint64_t *ms)
{
	struct gpu_thread *thread = dev;
	const char *name;

	pthread_mutex_lock(&thread->lock);
	name = busy_name(thread);
	*ms = name ? (clock_ns() - thread->busy_since) / 1000000 : 0;
	pthread_mutex_unlock(&thread->lock);
	return name;
}

static int thread_fd(const void *dev)
{
	return ((const struct gpu_thread *)dev)->news_fd;
}

static struct item *take_news(struct gpu_thread *thread)
{
	struct item *item;

	pthread_mutex_lock(&thread->lock);
	item = take(&thread->news);
	pthread_mutex_unlock(&thread->lock);
	return item;
}

/* The item is free again before it is told: the server may give it back. */
static void tell_shmem(struct gpu_thread *thread, const struct vhost_backend_host *host)
{
	struct vhost_shmem_range range = { .id = VIRTIO_GPU_SHM_ID_HOST_VISIBLE };
	int fd;

	pthread_mutex_lock(&thread->lock);
	range.offset = thread->shmem.range.offset;
	range.size = thread->shmem.range.size;
	range.fd_offset = thread->shmem.range.fd_offset;
	fd = thread->shmem.fd;
	thread->shmem.item.queued = false;
	pthread_mutex_unlock(&thread->lock);
	if (fd < 0) {
		host->shmem_unmap(host->opaque, &range);
	} else {
		host->shmem_map(host->opaque, &range, fd);
		close(fd);
	}
}

static void tell(struct gpu_thread *thread, struct item *item,
		 const struct vhost_backend_host *host)
{
	struct request_item *request = (struct request_item *)item;

	switch (item->kind) {
	case ITEM_REQUEST:
		host->respond(host->opaque, request->cookie, request->answer, request->answer_len);
		request_free(request);
		break;
	case ITEM_SHMEM_MAP:
	case ITEM_SHMEM_UNMAP:
		tell_shmem(thread, host);
		break;
	case ITEM_RESET:
		pthread_mutex_lock(&thread->lock);
		item->queued = false;
		pthread_mutex_unlock(&thread->lock);
		host->reset_done(host->opaque);
		break;
	case ITEM_SET_FEATURES:
	case ITEM_WRITE_CONFIG:
	case ITEM_SHMEM_DONE:
	case ITEM_MEMORY:
		/* Never news. */
		break;
	}
}

static void thread_dispatch(void *dev, const struct vhost_backend_host *host)
{
	uint64_t end = clock_ns() + TURN_NS;
	struct gpu_thread *thread = dev;
	unsigned int left = TURN_ITEMS;
	struct item *item = NULL;
	bool room;

	clear(thread->news_fd);
	while (left && clock_ns() < end && (item = take_news(thread))) {
		tell(thread, item, host);
		left--;
	}
	pthread_mutex_lock(&thread->lock);
	room = thread->no_room && has_room_again(thread);
	if (room)
		thread->no_room = false;
	if (!STAILQ_EMPTY(&thread->news))
		wake(thread->news_fd);
	pthread_mutex_unlock(&thread->lock);
	if (room)
		host->room(host->opaque);
}

const struct vhost_backend_ops gpu_thread_ops = {
	.features = thread_features,
	.set_features = thread_set_features,
	.read_config = thread_read_config,
	.write_config = thread_write_config,
	.shmem_bytes = thread_shmem_bytes,
	.room = thread_room,
	.request = thread_request,
	.begin_reset = thread_begin_reset,
	.shmem_done = thread_shmem_done,
	.memory_changed = thread_memory_changed,
	.busy = thread_busy,
	.fd = thread_fd,
	.dispatch = thread_dispatch,
};
