/* SPDX-License-Identifier: MIT */
/*
 * gpu_thread_internal: what the files of gpu_thread share
 *
 *	gpu_thread.c		beginning, end, statistics
 *	gpu_thread_device.c	the device's thread
 *	gpu_thread_server.c	what the server's thread calls
 *
 * Nobody else includes this.
 *
 * An item is something for the other side to do, in the queue of work or in that of
 * news.  One that must not fail for want of memory is a part of struct gpu_thread:
 * there is one of each at a time.  A request is one item all the way, with room for its
 * answer, so an answer cannot get lost either.
 *
 * Invariants: what is in news is in the order in which the device said it, so after
 * a reset in it nothing comes that was said before.  The server hands in no request
 * between begin_reset() and reset_done(); those that the device has not begun with
 * are answered after those that it has, which came earlier.
 *
 * Threads: the server's and the device's.  Locks: lock guards the queues and all that
 * struct gpu_thread says, and is held for moments only.  device_lock is held by the
 * device's thread while it is at something; the other one only tries to take it.
 */
#ifndef GPU_THREAD_INTERNAL_H
#define GPU_THREAD_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include "gpu/gpu_device.h"
#include "gpu/gpu_thread.h"
#include "memory/guest_memory.h"
#include "util/histogram.h"

/* Requests that wait for the device, in all, and when there is room again. */
#define MAX_WAITING 1024u
#define MAX_WAITING_BYTES (UINT64_C(32) << 20)
/* What is done of either queue before the other things have their turn. */
#define TURN_ITEMS 64u

enum item_kind {
	/* Work; a request that is over is news. */
	ITEM_REQUEST,
	ITEM_SET_FEATURES,
	ITEM_WRITE_CONFIG,
	ITEM_SHMEM_DONE,
	ITEM_MEMORY,
	/* Both. */
	ITEM_RESET,
	/* News. */
	ITEM_SHMEM_MAP,
	ITEM_SHMEM_UNMAP,
};

/**
 * struct item - something to do
 * @link: in its queue
 * @kind: what
 * @queued: it is in a queue, or somebody is at it
 */
struct item {
	STAILQ_ENTRY(item) link;
	enum item_kind kind;
	bool queued;
};

STAILQ_HEAD(item_list, item);

/**
 * struct request_item - a request
 * @item: first, as in all of these
 * @gpu: what the device knows of it
 * @cookie: the server's
 * @queue: where it came from
 * @data: its bytes, NULL once the device has seen them
 * @len: how many
 * @capacity: that fit in the guest's answer
 * @answer_len: bytes of @answer
 * @answer: what the device answered, as far as it fits
 */
struct request_item {
	struct item item;
	struct gpu_request gpu;
	void *cookie;
	unsigned int queue;
	void *data;
	size_t len;
	size_t capacity;
	size_t answer_len;
	unsigned char answer[];
};

/**
 * struct config_item - a write to the configuration space
 * @item: see struct request_item
 * @offset: where
 * @len: how many bytes
 * @data: the bytes
 */
struct config_item {
	struct item item;
	uint32_t offset;
	size_t len;
	unsigned char data[];
};

/**
 * struct features_item - what the driver accepted
 * @item: see struct request_item
 * @features: the bits
 */
struct features_item {
	struct item item;
	uint64_t features;
};

/**
 * struct shmem_item - something for the VMM to map or to unmap, or the outcome
 * @item: see struct request_item
 * @range: what
 * @fd: to be mapped, our own; -1: to unmap
 * @err: the outcome
 */
struct shmem_item {
	struct item item;
	struct gpu_shmem_range range;
	int fd;
	int err;
};

/*
 * What the device can be at: see gpu_thread_names[], which begins with what is no
 * command.
 */
enum activity {
	ACTIVITY_UNKNOWN,
	ACTIVITY_RESET,
	ACTIVITY_EVENT,
	ACTIVITY_SHMEM,
	ACTIVITY_MEMORY,
	ACTIVITY_COMMAND,
	NR_ACTIVITIES = ACTIVITY_COMMAND + 19,
};

/**
 * struct activity_name - something that the device can be at
 * @type: VIRTIO_GPU_CMD_*, or 0
 * @name: for those who ask what it is at
 * @one: what histogram_print() is to call one of them
 */
struct activity_name {
	uint32_t type;
	const char *name;
	const char *one;
};

extern const struct activity_name gpu_thread_names[NR_ACTIVITIES];

/**
 * struct gpu_thread - the device, its thread and its queues
 * @config: to make the device with; only until it is there
 * @gm: guest memory, the caller's
 * @dev: the device
 * @thread: its thread
 * @features: that it offers
 * @space: its configuration space
 * @host_visible: bytes of the host-visible region
 * @lock: of everything from here on
 * @started: there is a device, or @error says why not
 * @ended: the device has been freed
 * @cond: of @started and @ended
 * @error: a negative errno
 * @quit: the device is to end
 * @work: for the device
 * @nr_waiting: requests in @work
 * @bytes_waiting: of these
 * @no_room: the server was told so, and is to be told when it is over
 * @cancelled: requests that the reset in @work hands back
 * @news: for the server
 * @work_fd: eventfd; readable when there is something in @work
 * @news_fd: the same for @news, and when there is room again
 * @set_features: work
 * @shmem_done: work
 * @memory: work
 * @files: of guest memory, as the device's thread has seen it last.  It keeps them, so
 *	that it is the one that unmaps them, which takes long; nobody else looks here
 * @nr_files: of these
 * @reset: work, then news
 * @shmem: news
 * @busy: what the device is at, or -1
 * @busy_since: ns
 * @times: how long things took, by activity
 * @snapshot: statistics of the device as they were
 * @snapshot_ns: when
 * @device_lock: see above
 */
struct gpu_thread {
	const struct gpu_config *config;
	struct guest_memory *gm;
	struct gpu_device *dev;
	pthread_t thread;
	uint64_t features;
	unsigned char space[sizeof(struct virtio_gpu_config)];
	uint64_t host_visible;
	pthread_mutex_t lock;
	bool started;
	bool ended;
	pthread_cond_t cond;
	int error;
	bool quit;
	struct item_list work;
	unsigned int nr_waiting;
	uint64_t bytes_waiting;
	bool no_room;
	struct item_list cancelled;
	struct item_list news;
	int work_fd;
	int news_fd;
	struct features_item set_features;
	struct shmem_item shmem_done;
	struct item memory;
	struct ram_file *files[GUEST_MEMORY_MAX_REGIONS];
	unsigned int nr_files;
	struct item reset;
	struct shmem_item shmem;
	int busy;
	uint64_t busy_since;
	struct histogram times[NR_ACTIVITIES];
	char *snapshot;
	uint64_t snapshot_ns;
	pthread_mutex_t device_lock;
};

static inline void wake(int fd)
{
	const uint64_t one = 1;

	/* It can only fail if it is readable already. */
	(void)!write(fd, &one, sizeof(one));
}

static inline void clear(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

/* With the lock held.  Whoever finds the queue empty has to be woken. */
static inline void put(struct item_list *list, struct item *item, int fd)
{
	bool was_empty = STAILQ_EMPTY(list);

	item->queued = true;
	STAILQ_INSERT_TAIL(list, item, link);
	if (was_empty)
		wake(fd);
}

/* With the lock held: the first item, or NULL. */
static inline struct item *take(struct item_list *list)
{
	struct item *item = STAILQ_FIRST(list);

	if (item)
		STAILQ_REMOVE_HEAD(list, link);
	return item;
}

/* With the lock held: half of all, so that it is not told for each request. */
static inline bool has_room_again(const struct gpu_thread *thread)
{
	return thread->nr_waiting <= MAX_WAITING / 2 &&
	       thread->bytes_waiting <= MAX_WAITING_BYTES / 2;
}

/* With the lock held: the request is in work no more. */
static inline void waits_no_more(struct gpu_thread *thread, const struct request_item *request)
{
	thread->nr_waiting--;
	thread->bytes_waiting -= request->len;
	if (thread->no_room && has_room_again(thread))
		wake(thread->news_fd);
}

static inline void request_free(struct request_item *request)
{
	free(request->data);
	free(request);
}

/* With the lock held. */
static inline const char *busy_name(const struct gpu_thread *thread)
{
	return thread->busy < 0 ? NULL : gpu_thread_names[thread->busy].name;
}

/* The device's thread; @arg is the struct gpu_thread. */
void *gpu_thread_run(void *arg);

#endif /* GPU_THREAD_INTERNAL_H */
