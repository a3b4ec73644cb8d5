// SPDX-License-Identifier: MIT
/*
 * gpu_thread: a gpu_device on a thread of its own, for a server that never waits
 *
 * Beginning, end and statistics; see gpu_thread_internal.h for the rest.
 *
 * Threads: the server's.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "gpu/gpu_thread_internal.h"
#include "util/clock.h"

static void drop_list(struct item_list *list)
{
	struct item *item;

	while ((item = take(list))) {
		if (item->kind == ITEM_REQUEST)
			request_free((struct request_item *)item);
		else if (item->kind == ITEM_WRITE_CONFIG)
			free(item);
	}
}

/* All that is no thread and no device; 0 or a negative errno. */
static int open_queues(struct gpu_thread *thread)
{
	pthread_condattr_t attr;

	STAILQ_INIT(&thread->work);
	STAILQ_INIT(&thread->cancelled);
	STAILQ_INIT(&thread->news);
	thread->set_features.item.kind = ITEM_SET_FEATURES;
	thread->shmem_done.item.kind = ITEM_SHMEM_DONE;
	thread->memory.kind = ITEM_MEMORY;
	thread->reset.kind = ITEM_RESET;
	thread->shmem.fd = -1;
	thread->work_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->work_fd < 0)
		return -errno;
	thread->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (thread->news_fd < 0) {
		close(thread->work_fd);
		return -errno;
	}
	pthread_mutex_init(&thread->lock, NULL);
	pthread_mutex_init(&thread->device_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&thread->cond, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

/* The thread has ended. */
static void close_queues(struct gpu_thread *thread)
{
	if (thread->shmem.item.queued && thread->shmem.fd >= 0)
		close(thread->shmem.fd);
	drop_list(&thread->work);
	drop_list(&thread->cancelled);
	drop_list(&thread->news);
	close(thread->work_fd);
	close(thread->news_fd);
	pthread_cond_destroy(&thread->cond);
	pthread_mutex_destroy(&thread->device_lock);
	pthread_mutex_destroy(&thread->lock);
	free(thread->snapshot);
}

/* Returns what came of the device: 0, or a negative errno and the thread has ended. */
static int start(struct gpu_thread *thread)
{
	int err = pthread_create(&thread->thread, NULL, gpu_thread_run, thread);

	if (err)
		return -err;
	pthread_mutex_lock(&thread->lock);
	while (!thread->started)
		pthread_cond_wait(&thread->cond, &thread->lock);
	err = thread->error;
	pthread_mutex_unlock(&thread->lock);
	if (err)
		pthread_join(thread->thread, NULL);
	return err;
}

/**
 * gpu_thread_new() - a device, and a thread for it
 * @config: what the command line says; needed only until this returns
 * @gm: guest memory; outlives the device
 *
 * Return: both, or NULL with errno set.
 */
struct gpu_thread *gpu_thread_new(const struct gpu_config *config, struct guest_memory *gm)
{
	struct gpu_thread *thread = calloc(1, sizeof(*thread));
	int err;

	if (!thread)
		return NULL;
	thread->config = config;
	thread->busy = -1;
	thread->gm = gm;
	err = open_queues(thread);
	if (err)
		goto err_free;
	err = start(thread);
	if (err)
		goto err_queues;
	thread->config = NULL;
	pthread_setname_np(thread->thread, "gpu-device");
	return thread;

err_queues:
	close_queues(thread);
err_free:
	free(thread);
	errno = -err;
	return NULL;
}

/**
 * gpu_thread_free() - the end of device and thread
 * @thread: its server is closed; may be NULL
 * @timeout_ms: how long to wait for what it is at
 *
 * Return: whether it has ended; if not all is as it was, but nothing is done any more.
 */
bool gpu_thread_free(struct gpu_thread *thread, unsigned int timeout_ms)
{
	struct timespec until;
	int err = 0;
	bool ended;

	if (!thread)
		return true;
	until = clock_after_ms(timeout_ms);
	pthread_mutex_lock(&thread->lock);
	thread->quit = true;
	wake(thread->work_fd);
	while (!thread->ended && !err)
		err = pthread_cond_timedwait(&thread->cond, &thread->lock, &until);
	ended = thread->ended;
	pthread_mutex_unlock(&thread->lock);
	if (!ended)
		return false;
	pthread_join(thread->thread, NULL);
	close_queues(thread);
	free(thread);
	return true;
}

/**
 * gpu_thread_print_stats() - what device and thread have done
 * @thread: the device
 * @to: where to
 */
void gpu_thread_print_stats(struct gpu_thread *thread, FILE *to)
{
	const char *busy;
	uint64_t ms;
	unsigned int i;

	if (!pthread_mutex_trylock(&thread->device_lock)) {
		gpu_device_print_stats(thread->dev, to);
		pthread_mutex_unlock(&thread->device_lock);
	} else {
		pthread_mutex_lock(&thread->lock);
		fputs(thread->snapshot ? thread->snapshot : "", to);
		pthread_mutex_unlock(&thread->lock);
	}
	busy = gpu_thread_ops.busy(thread, &ms);
	fprintf(to, "device is at: %s, for %llu ms\n", busy ? busy : "nothing",
		(unsigned long long)ms);
	pthread_mutex_lock(&thread->lock);
	fprintf(to, "requests waiting for the device: %u\n", thread->nr_waiting);
	for (i = 0; i < NR_ACTIVITIES; i++)
		if (histogram_count(&thread->times[i]))
			histogram_print(&thread->times[i], gpu_thread_names[i].one,
					HISTOGRAM_BUCKETS - 1, to);
	pthread_mutex_unlock(&thread->lock);
}
