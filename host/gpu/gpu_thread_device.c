// SPDX-License-Identifier: MIT
/*
 * gpu_thread_device: the device's thread
 *
 * Everything of the device is called from here.  See gpu_thread_internal.h.
 *
 * Threads: the device's.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "gpu/gpu_thread_internal.h"
#include "util/clock.h"

/* How old the statistics of a device that is busy may be. */
#define SNAPSHOT_NS 250000000u

/* clang-format off */
#define COMMAND(cmd) { VIRTIO_GPU_CMD_##cmd, #cmd, #cmd " command" }
/* clang-format on */

const struct activity_name gpu_thread_names[NR_ACTIVITIES] = {
	{ 0, "a command that is unknown", "unknown command" },
	{ 0, "a reset", "reset" },
	{ 0, "what a renderer has done", "renderer event" },
	{ 0, "what the VMM has done", "shared-memory answer" },
	{ 0, "the end of guest memory", "change of guest memory" },
	COMMAND(GET_DISPLAY_INFO),
	COMMAND(RESOURCE_UNREF),
	COMMAND(GET_CAPSET_INFO),
	COMMAND(GET_CAPSET),
	COMMAND(GET_EDID),
	COMMAND(RESOURCE_CREATE_BLOB),
	COMMAND(CTX_CREATE),
	COMMAND(CTX_DESTROY),
	COMMAND(CTX_ATTACH_RESOURCE),
	COMMAND(CTX_DETACH_RESOURCE),
	COMMAND(SUBMIT_3D),
	COMMAND(RESOURCE_MAP_BLOB),
	COMMAND(RESOURCE_UNMAP_BLOB),
	COMMAND(GET_USERPTR_INFO),
	COMMAND(RESOURCE_CREATE_USERPTR),
	COMMAND(RESOURCE_ADD_USERPTR_PAGES),
	COMMAND(RESOURCE_DESTROY_USERPTR),
	COMMAND(UPDATE_CURSOR),
	COMMAND(MOVE_CURSOR),
};

/* ---- the way back, see struct gpu_transport ---- */

static void put_news(struct gpu_thread *thread, struct item *item)
{
	pthread_mutex_lock(&thread->lock);
	put(&thread->news, item, thread->news_fd);
	pthread_mutex_unlock(&thread->lock);
}

static void device_responds(void *opaque, struct gpu_request *req, const void *data, size_t len)
{
	struct request_item *request = req->opaque;

	assert(len <= request->capacity);
	if (len)
		memcpy(request->answer, data, len);
	request->answer_len = len;
	put_news(opaque, &request->item);
}

static int device_asks(struct gpu_thread *thread, enum item_kind kind,
		       const struct gpu_shmem_range *range, int fd)
{
	/* It asks for one thing at a time. */
	assert(!thread->shmem.item.queued);
	thread->shmem.item.kind = kind;
	thread->shmem.range = *range;
	thread->shmem.fd = fd;
	put_news(thread, &thread->shmem.item);
	return 0;
}

static int device_maps(void *opaque, const struct gpu_shmem_range *range, int fd)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return own < 0 ? -errno : device_asks(opaque, ITEM_SHMEM_MAP, range, own);
}

static int device_unmaps(void *opaque, const struct gpu_shmem_range *range)
{
	return device_asks(opaque, ITEM_SHMEM_UNMAP, range, -1);
}

/* ---- work ---- */

static int find_activity(const struct request_item *request)
{
	struct virtio_gpu_ctrl_hdr hdr;
	int i;

	if (request->len < sizeof(hdr))
		return ACTIVITY_UNKNOWN;
	memcpy(&hdr, request->data, sizeof(hdr));
	for (i = ACTIVITY_COMMAND; i < NR_ACTIVITIES; i++)
		if (gpu_thread_names[i].type == le32toh(hdr.type))
			return i;
	return ACTIVITY_UNKNOWN;
}

/* What it would say if it were asked now, for when it cannot be. */
static void take_snapshot(struct gpu_thread *thread)
{
	char *text = NULL, *old;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return;
	gpu_device_print_stats(thread->dev, to);
	if (fclose(to)) {
		free(text);
		return;
	}
	pthread_mutex_lock(&thread->lock);
	old = thread->snapshot;
	thread->snapshot = text;
	thread->snapshot_ns = clock_ns();
	pthread_mutex_unlock(&thread->lock);
	free(old);
}

static void begin(struct gpu_thread *thread, int activity)
{
	uint64_t now = clock_ns();

	/* Nobody else writes it. */
	if (now - thread->snapshot_ns > SNAPSHOT_NS)
		take_snapshot(thread);
	pthread_mutex_lock(&thread->lock);
	thread->busy = activity;
	thread->busy_since = now;
	pthread_mutex_unlock(&thread->lock);
}

static void end(struct gpu_thread *thread)
{
	uint64_t now = clock_ns();

	pthread_mutex_lock(&thread->lock);
	histogram_add(&thread->times[thread->busy], now - thread->busy_since, busy_name(thread));
	thread->busy = -1;
	pthread_mutex_unlock(&thread->lock);
}

static void run_request(struct gpu_thread *thread, struct request_item *request)
{
	void *data = request->data;

	begin(thread, find_activity(request));
	/* Its answer may have gone, and it with that, when the call returns. */
	request->data = NULL;
	gpu_device_command(thread->dev, request->queue, data, request->len, request->capacity,
			   &request->gpu);
	free(data);
	end(thread);
}

/* Requests that the device has not seen and will not see. */
static void hand_back(struct gpu_thread *thread)
{
	const struct virtio_gpu_ctrl_hdr answer = { .type = htole32(VIRTIO_GPU_RESP_ERR_UNSPEC) };
	struct item *item;

	for (;;) {
		struct request_item *request;

		pthread_mutex_lock(&thread->lock);
		item = take(&thread->cancelled);
		pthread_mutex_unlock(&thread->lock);
		if (!item)
			return;
		request = (struct request_item *)item;
		free(request->data);
		request->data = NULL;
		device_responds(thread, &request->gpu, &answer,
				request->capacity < sizeof(answer) ? request->capacity :
								     sizeof(answer));
	}
}

static void run_reset(struct gpu_thread *thread)
{
	begin(thread, ACTIVITY_RESET);
	gpu_device_reset(thread->dev);
	hand_back(thread);
	end(thread);
	put_news(thread, &thread->reset);
}

/* The item is free again before it is done: what is done may bring it back. */
static void run_set_features(struct gpu_thread *thread)
{
	uint64_t features;

	pthread_mutex_lock(&thread->lock);
	features = thread->set_features.features;
	thread->set_features.item.queued = false;
	pthread_mutex_unlock(&thread->lock);
	gpu_device_set_features(thread->dev, features);
}

static void run_shmem_done(struct gpu_thread *thread)
{
	int err;

	begin(thread, ACTIVITY_SHMEM);
	pthread_mutex_lock(&thread->lock);
	err = thread->shmem_done.err;
	thread->shmem_done.item.queued = false;
	pthread_mutex_unlock(&thread->lock);
	gpu_device_shmem_done(thread->dev, err);
	end(thread);
}

/* The old files go here: to unmap them takes as long as there are pages. */
static void run_memory(struct gpu_thread *thread)
{
	struct ram_file *old[GUEST_MEMORY_MAX_REGIONS];
	unsigned int nr = thread->nr_files;

	begin(thread, ACTIVITY_MEMORY);
	pthread_mutex_lock(&thread->lock);
	thread->memory.queued = false;
	pthread_mutex_unlock(&thread->lock);
	memcpy(old, thread->files, nr * sizeof(old[0]));
	thread->nr_files = guest_memory_files(thread->gm, thread->files);
	while (nr)
		ram_file_put(old[--nr]);
	end(thread);
}

static void run_item(struct gpu_thread *thread, struct item *item)
{
	struct config_item *config = (struct config_item *)item;

	switch (item->kind) {
	case ITEM_REQUEST:
		run_request(thread, (struct request_item *)item);
		break;
	case ITEM_SET_FEATURES:
		run_set_features(thread);
		break;
	case ITEM_WRITE_CONFIG:
		gpu_device_write_config(thread->dev, config->offset, config->data, config->len);
		free(config);
		break;
	case ITEM_SHMEM_DONE:
		run_shmem_done(thread);
		break;
	case ITEM_MEMORY:
		run_memory(thread);
		break;
	case ITEM_RESET:
		run_reset(thread);
		break;
	case ITEM_SHMEM_MAP:
	case ITEM_SHMEM_UNMAP:
		/* Never work. */
		break;
	}
}

static struct item *take_work(struct gpu_thread *thread)
{
	struct item *item = NULL;

	pthread_mutex_lock(&thread->lock);
	if (!thread->quit)
		item = take(&thread->work);
	if (item && item->kind == ITEM_REQUEST)
		waits_no_more(thread, (struct request_item *)item);
	pthread_mutex_unlock(&thread->lock);
	return item;
}

/* Wait for something and do a part of it.  false: the device is to end. */
static bool turn(struct gpu_thread *thread, bool *more)
{
	struct pollfd fds[2] = {
		{ .fd = thread->work_fd, .events = POLLIN },
		{ .fd = gpu_device_fd(thread->dev), .events = POLLIN },
	};
	unsigned int left = TURN_ITEMS;
	struct item *item = NULL;
	bool go_on;

	/* It fails only if it was interrupted, and then there is nothing to do. */
	(void)poll(fds, 2, *more ? 0 : -1);
	if (fds[0].revents)
		clear(thread->work_fd);
	pthread_mutex_lock(&thread->device_lock);
	while (left && (item = take_work(thread))) {
		run_item(thread, item);
		left--;
	}
	*more = item;
	if (fds[1].revents) {
		begin(thread, ACTIVITY_EVENT);
		gpu_device_dispatch(thread->dev);
		end(thread);
	}
	pthread_mutex_unlock(&thread->device_lock);
	pthread_mutex_lock(&thread->lock);
	go_on = !thread->quit;
	pthread_mutex_unlock(&thread->lock);
	return go_on;
}

/* Make the device, and ask it what will never change. */
static int open_device(struct gpu_thread *thread)
{
	const struct gpu_transport transport = {
		.respond = device_responds,
		.shmem_map = device_maps,
		.shmem_unmap = device_unmaps,
		.opaque = thread,
	};

	thread->dev = gpu_device_new(thread->config, &transport, thread->gm);
	if (!thread->dev)
		return errno ? -errno : -ENOMEM;
	thread->features = gpu_device_features(thread->dev);
	gpu_device_read_config(thread->dev, 0, thread->space, sizeof(thread->space));
	thread->host_visible = gpu_device_host_visible(thread->dev);
	take_snapshot(thread);
	return 0;
}

/**
 * gpu_thread_run() - a device's thread
 * @arg: its struct gpu_thread
 *
 * Return: NULL.
 */
void *gpu_thread_run(void *arg)
{
	struct gpu_thread *thread = arg;
	bool more = false;
	int err;

	/* Here, because a library may tie what it makes to the thread that made it. */
	err = open_device(thread);
	pthread_mutex_lock(&thread->lock);
	thread->error = err;
	thread->started = true;
	pthread_cond_signal(&thread->cond);
	pthread_mutex_unlock(&thread->lock);
	if (err)
		return NULL;
	while (turn(thread, &more))
		;
	/* For what it still has, so that that is not lost. */
	gpu_device_reset(thread->dev);
	gpu_device_free(thread->dev);
	while (thread->nr_files)
		ram_file_put(thread->files[--thread->nr_files]);
	pthread_mutex_lock(&thread->lock);
	thread->ended = true;
	pthread_cond_signal(&thread->cond);
	pthread_mutex_unlock(&thread->lock);
	return NULL;
}
