// SPDX-License-Identifier: MIT
/*
 * renderer_amdgpu: native contexts for an amdgpu
 *
 * The guest runs the user-space driver of the card, Mesa's amdgpu-virtio winsys or
 * libhsakmt-virtgpu, and sends what would be ioctls as commands (virtgpu_amdgpu.h).
 * Here they become ioctls, each context's those of a client of its own.  Isolation of
 * contexts from each other and from the host is what the kernel gives to any two
 * programs that use the card.
 *
 * What is added to that: limits, and what a resource of guest memory needs.  It is a
 * dma-buf that is imported, or a range of this process's address space that GEM_USERPTR
 * is told of; which one is decided where the resource is made (see memory/view.h).  A
 * read-only one cannot be mapped writeable.  It is given back when no job can reach it
 * any more: see amd_attach.c.
 *
 * Threads and locks: see amd_internal.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/log.h"

#define MAX_EVENTS 64
#define ITEMS_AT_ONCE 256u
#define DEFAULT_BUFFERS 65536u
#define DEFAULT_VA_MAPPINGS 262144u

/**
 * amd_charge() - charge to a limit
 * @renderer: whose
 * @quota: the limit
 * @amount: how much
 *
 * Return: false if it does not fit.
 */
bool amd_charge(struct renderer *renderer, struct quota *quota, uint64_t amount)
{
	bool fits;

	pthread_mutex_lock(&renderer->lock);
	fits = quota_charge(quota, amount);
	pthread_mutex_unlock(&renderer->lock);
	return fits;
}

/**
 * amd_uncharge() - give back what was charged
 * @renderer: whose
 * @quota: the limit
 * @amount: how much
 */
void amd_uncharge(struct renderer *renderer, struct quota *quota, uint64_t amount)
{
	pthread_mutex_lock(&renderer->lock);
	quota_uncharge(quota, amount);
	pthread_mutex_unlock(&renderer->lock);
}

static struct amd_item *next_done(struct renderer *renderer)
{
	struct amd_item *item;

	pthread_mutex_lock(&renderer->lock);
	item = STAILQ_FIRST(&renderer->done);
	if (item)
		STAILQ_REMOVE_HEAD(&renderer->done, link);
	pthread_mutex_unlock(&renderer->lock);
	return item;
}

static void deadlines_passed(struct renderer *renderer)
{
	struct amd_context *context, *next;

	renderer->armed = UINT64_MAX;
	for (context = LIST_FIRST(&renderer->contexts); context; context = next) {
		next = LIST_NEXT(context, link);
		amd_waiting_check(context);
		amd_context_reap(context);
	}
	amd_set_timer(renderer);
}

static void amd_dispatch(struct renderer *renderer)
{
	struct epoll_event events[MAX_EVENTS];
	struct amd_item *item;
	uint64_t count, one = 1;
	unsigned int left;
	int i, nr;

	nr = epoll_wait(renderer->epoll, events, MAX_EVENTS, 0);
	for (i = 0; i < nr; i++) {
		/* How often it was is of no interest; that it may not have been, neither. */
		if (events[i].data.ptr == &renderer->event &&
		    read(renderer->event, &count, sizeof(count)) < 0)
			continue;
		if (events[i].data.ptr == &renderer->timer &&
		    read(renderer->timer, &count, sizeof(count)) == sizeof(count))
			deadlines_passed(renderer);
	}
	/* Jobs come to be known with the submission that made them. */
	for (left = ITEMS_AT_ONCE; left && (item = next_done(renderer)); left--)
		amd_item_done(item);
	/* Others have their turn before the rest, which may be more than this. */
	if (!left && write(renderer->event, &one, sizeof(one)) < 0)
		log_error("event: %s", strerror(errno));
	for (i = 0; i < nr; i++)
		if (events[i].data.ptr != &renderer->event &&
		    events[i].data.ptr != &renderer->timer)
			amd_job_over(events[i].data.ptr);
}

static bool is_over(struct renderer *renderer)
{
	struct amd_context *context;

	LIST_FOREACH(context, &renderer->contexts, link)
		if (!context->ended || !STAILQ_EMPTY(&context->waiting) ||
		    !amd_holds_nothing(context) || !amd_jobs_over(context, UINT64_MAX))
			return false;
	return true;
}

static void amd_reset(struct renderer *renderer)
{
	struct pollfd fd = { .fd = renderer->epoll, .events = POLLIN };
	struct amd_context *context;

	LIST_FOREACH(context, &renderer->contexts, link)
		amd_context_end(context, false);
	/* Jobs that run are the GPU's, and end when they end, or the kernel ends them. */
	while (!is_over(renderer)) {
		if (poll(&fd, 1, -1) < 0 && errno != EINTR) {
			log_error("reset: poll: %s", strerror(errno));
			return;
		}
		amd_dispatch(renderer);
	}
}

static void amd_quiesce(struct renderer *renderer, struct backing *backing)
{
	/* It is detached everywhere, and ends with the jobs that had it. */
	(void)renderer;
	(void)backing;
}

static bool amd_capset(const struct renderer *renderer, unsigned int index,
		       struct renderer_capset *out)
{
	if (index)
		return false;
	*out = (struct renderer_capset){
		.id = AMDVGPU_CAPSET_DRM,
		.version = 0,
		.size = renderer->node.capset_size,
		.rdonly = true,
	};
	return true;
}

static void amd_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version,
			    void *data)
{
	(void)id;
	(void)version;
	memcpy(data, renderer->node.capset, renderer->node.capset_size);
}

static uint64_t amd_jobs(const struct renderer *renderer)
{
	return atomic_load(&renderer->executed);
}

static int amd_fd(const struct renderer *renderer)
{
	return renderer->epoll;
}

static void close_events(struct renderer *renderer)
{
	if (renderer->timer >= 0)
		close(renderer->timer);
	if (renderer->event >= 0)
		close(renderer->event);
	close(renderer->epoll);
}

static int watch(struct renderer *renderer, int *fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = fd };

	if (*fd < 0 || epoll_ctl(renderer->epoll, EPOLL_CTL_ADD, *fd, &event))
		return -errno;
	return 0;
}

static int open_events(struct renderer *renderer)
{
	int err;

	renderer->timer = -1;
	renderer->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (renderer->epoll < 0)
		return -errno;
	renderer->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = watch(renderer, &renderer->event);
	if (!err) {
		renderer->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		err = watch(renderer, &renderer->timer);
	}
	if (err)
		close_events(renderer);
	return err;
}

static void init_quotas(struct renderer *renderer)
{
	const struct native_limits *limits = &renderer->config.native;

	quota_init(&renderer->bytes, "GPU bytes", "--max-gpu-bytes",
		   limits->bytes ? limits->bytes : renderer->node.memory);
	quota_init(&renderer->buffers, "GPU buffers", "--max-gpu-buffers",
		   limits->buffers ? limits->buffers : DEFAULT_BUFFERS);
	quota_init(&renderer->va_mappings, "GPU mappings", "--max-va-mappings",
		   limits->va_mappings ? limits->va_mappings : DEFAULT_VA_MAPPINGS);
}

static void amd_destroy(struct renderer *renderer)
{
	close_events(renderer);
	id_table_destroy(&renderer->blobs);
	amd_node_free(&renderer->node);
	pthread_mutex_destroy(&renderer->lock);
	free(renderer);
}

static int amd_create(const struct renderer_config *config, const struct renderer_host *host,
		      struct renderer **out)
{
	struct renderer *renderer = calloc(1, sizeof(*renderer));
	int err;

	if (!renderer)
		return -ENOMEM;
	renderer->config = *config;
	renderer->host = *host;
	renderer->armed = UINT64_MAX;
	LIST_INIT(&renderer->contexts);
	STAILQ_INIT(&renderer->done);
	err = open_events(renderer);
	if (err)
		goto free_renderer;
	err = amd_node_find(config->render_node, &renderer->node);
	if (err)
		goto close_events;
	pthread_mutex_init(&renderer->lock, NULL);
	init_quotas(renderer);
	*out = renderer;
	return 0;

close_events:
	close_events(renderer);
free_renderer:
	free(renderer);
	return err;
}

const struct renderer_ops renderer_amdgpu = {
	.name = "amdgpu",
	.create = amd_create,
	.destroy = amd_destroy,
	.capset = amd_capset,
	.capset_data = amd_capset_data,
	.context_create = amd_context_create,
	.context_destroy = amd_context_destroy,
	.attach = amd_attach,
	.detach = amd_detach,
	.submit = amd_submit,
	.blob_create = amd_blob_create,
	.blob_attach = amd_blob_attach,
	.blob_detach = amd_blob_detach,
	.blob_export = amd_blob_export,
	.blob_destroy = amd_blob_destroy,
	.quiesce = amd_quiesce,
	.evict = amd_evict,
	.reset = amd_reset,
	.jobs = amd_jobs,
	.fd = amd_fd,
	.dispatch = amd_dispatch,
};
