// SPDX-License-Identifier: MIT
/*
 * context: opening and closing, the lock, and what a client may ask
 *
 * See context.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "context.h"
#include "error.h"
#include "process.h"

/* What is kept where neither the client nor RLIMIT_MEMLOCK says less. */
#define CACHE_BYTES (256ull << 20)

/**
 * context_check() - may the calling process use a context?
 * @ctx: context
 *
 * To be called before its lock is taken, which a thread may have held that a child
 * does not have.
 *
 * Return: 0 or -ESTALE; clears the thread's error.
 */
int context_check(const struct virtgpu_userptr *ctx)
{
	if (process_generation() != ctx->generation)
		return error_set(-ESTALE,
				 "the registrations are those of the parent of this process; "
				 "open the node anew");
	return error_set(0, "%s", "");
}

/**
 * context_lock() - take the lock
 * @ctx: context
 */
void context_lock(struct virtgpu_userptr *ctx)
{
	pthread_mutex_lock(&ctx->lock);
}

/**
 * context_unlock() - let go of the lock, and of what is dead
 * @ctx: context
 */
void context_unlock(struct virtgpu_userptr *ctx)
{
	struct entry_list dead = TAILQ_HEAD_INITIALIZER(dead);
	struct entry *entry;

	TAILQ_FOREACH(entry, &ctx->dead, watch) {
		ctx->stats.resources -= !!entry->bo.handle;
	}
	TAILQ_CONCAT(&dead, &ctx->dead, watch);
	pthread_mutex_unlock(&ctx->lock);

	while ((entry = TAILQ_FIRST(&dead))) {
		TAILQ_REMOVE(&dead, entry, watch);
		if (entry->bo.handle)
			ctx->ops->close(ctx->fd, entry->bo.handle);
		free(entry);
	}
}

static void set_options(struct virtgpu_userptr *ctx, const struct virtgpu_userptr_options *options)
{
	size_t size = options ? options->struct_size : 0;
	uint64_t limit = ctx->ops->memlock();

	if (size > sizeof(ctx->options))
		size = sizeof(ctx->options);
	ctx->options.cache_bytes = VIRTGPU_USERPTR_CACHE_DEFAULT;
	if (size)
		memcpy(&ctx->options, options, size);
	ctx->caps.cache_bytes = ctx->options.cache_bytes;
	if (ctx->options.cache_bytes == VIRTGPU_USERPTR_CACHE_DEFAULT)
		ctx->caps.cache_bytes = limit / 2 < CACHE_BYTES ? limit / 2 : CACHE_BYTES;
}

static int ask_caps(struct virtgpu_userptr *ctx)
{
	struct drm_virtgpu_userptr_query query;
	int ret = ctx->ops->query(ctx->fd, &query);

	if (ret == -EOPNOTSUPP)
		return error_set(
			ret,
			"this device has no userptr resources: the kernel's driver has to have "
			"them (CONFIG_DRM_VIRTIO_GPU_USERPTR), and the host's device to offer them");
	if (ret == -ENOTTY || ret == -EINVAL || ret == -EACCES)
		return error_set(
			-EOPNOTSUPP,
			"this is no virtio-gpu render node, or its driver has no userptr resources");
	if (ret)
		return error_set(ret, "the node cannot be asked what can be registered: %s",
				 strerror(-ret));

	ctx->page = sysconf(_SC_PAGESIZE);
	if (query.alignment > ctx->page)
		ctx->page = query.alignment;
	ctx->caps.alignment = ctx->page;
	ctx->caps.max_size = query.max_size;
	ctx->caps.max_segments = query.max_segments;
	if (query.create_flags & VIRTGPU_USERPTR_RDONLY)
		ctx->caps.flags |= VIRTGPU_USERPTR_CAP_RDONLY;
	if (query.create_flags & VIRTGPU_USERPTR_EVENT)
		ctx->caps.flags |= VIRTGPU_USERPTR_CAP_WATCH;
	/* What nobody watches may be anything by now. */
	if (query.create_flags & VIRTGPU_USERPTR_EVENT && ctx->ops->can_verify(ctx->fd))
		ctx->caps.flags |= VIRTGPU_USERPTR_CAP_SHARE;
	else
		ctx->caps.cache_bytes = 0;
	return 0;
}

static int open_poll(struct virtgpu_userptr *ctx)
{
	struct epoll_event readable = { .events = EPOLLIN };

	ctx->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	ctx->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (ctx->timer_fd < 0 || ctx->poll_fd < 0 ||
	    epoll_ctl(ctx->poll_fd, EPOLL_CTL_ADD, ctx->timer_fd, &readable) ||
	    epoll_ctl(ctx->poll_fd, EPOLL_CTL_ADD, ctx->fd, &readable))
		return error_set(-errno, "there is nothing to poll: %s", strerror(errno));
	return 0;
}

static void close_fds(struct virtgpu_userptr *ctx)
{
	if (ctx->poll_fd >= 0)
		close(ctx->poll_fd);
	if (ctx->timer_fd >= 0)
		close(ctx->timer_fd);
	if (ctx->fd >= 0)
		close(ctx->fd);
}

static struct virtgpu_userptr *new_context(void)
{
	struct virtgpu_userptr *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	ctx->fd = -1;
	ctx->poll_fd = -1;
	ctx->timer_fd = -1;
	ctx->generation = process_generation();
	TAILQ_INIT(&ctx->idle);
	TAILQ_INIT(&ctx->evented);
	TAILQ_INIT(&ctx->eventless);
	TAILQ_INIT(&ctx->dead);
	TAILQ_INIT(&ctx->pending);
	pthread_mutex_init(&ctx->lock, NULL);
	pthread_mutex_init(&ctx->reading, NULL);
	pthread_cond_init(&ctx->created, NULL);
	return ctx;
}

static void free_context(struct virtgpu_userptr *ctx)
{
	close_fds(ctx);
	pthread_cond_destroy(&ctx->created);
	pthread_mutex_destroy(&ctx->reading);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
}

/**
 * context_open() - virtgpu_userptr_open() on any system
 * @fd: node
 * @options: or NULL
 * @ops: the system
 * @ctx: out
 *
 * Return: 0 or a negative errno.
 */
int context_open(int fd, const struct virtgpu_userptr_options *options,
		 const struct userptr_ops *ops, struct virtgpu_userptr **ctx)
{
	struct virtgpu_userptr *new = new_context();
	int ret;

	if (!new)
		return error_set(-ENOMEM, "this process has no memory left");
	new->ops = ops;
	set_options(new, options);
	new->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	ret = new->fd < 0 ? error_set(-errno, "%d is no open node: %s", fd, strerror(errno)) : 0;
	if (!ret)
		ret = ask_caps(new);
	if (!ret)
		ret = open_poll(new);
	if (ret) {
		free_context(new);
		return ret;
	}
	*ctx = new;
	return error_set(0, "%s", "");
}

int virtgpu_userptr_open(int fd, const struct virtgpu_userptr_options *options,
			 struct virtgpu_userptr **ctx)
{
	return context_open(fd, options, &userptr_kernel_ops, ctx);
}

void virtgpu_userptr_close(struct virtgpu_userptr *ctx)
{
	struct interval_node *node;

	if (!ctx)
		return;
	/* The lists may be half-changed and the handles are another process's. */
	if (context_check(ctx)) {
		close_fds(ctx);
		return;
	}
	context_lock(ctx);
	while ((node = interval_first(&ctx->ranges, 0, UINT64_MAX)))
		/* A range begins with its node. */
		range_free(ctx, (struct range *)node);
	cache_trim(ctx, 0);
	context_unlock(ctx);
	free_context(ctx);
}

/* Gives what a caller that was built with an older header knows of. */
static int copy_out(void *to, const void *from, size_t known, size_t size)
{
	if (size < sizeof(size) || size > known)
		return error_set(-EINVAL, "struct_size is %zu; %zu is what the library knows", size,
				 known);
	memcpy(to, from, size);
	memcpy(to, &size, sizeof(size));
	return 0;
}

int virtgpu_userptr_get_caps(struct virtgpu_userptr *ctx, struct virtgpu_userptr_caps *caps)
{
	struct virtgpu_userptr_caps now;
	int ret = context_check(ctx);

	if (ret)
		return ret;
	now = ctx->caps;
	now.memlock = ctx->ops->memlock();
	return copy_out(caps, &now, sizeof(now), caps->struct_size);
}

int virtgpu_userptr_get_stats(struct virtgpu_userptr *ctx, struct virtgpu_userptr_stats *stats)
{
	struct virtgpu_userptr_stats now;
	int ret = context_check(ctx);

	if (ret)
		return ret;
	context_lock(ctx);
	now = ctx->stats;
	context_unlock(ctx);
	return copy_out(stats, &now, sizeof(now), stats->struct_size);
}

int virtgpu_userptr_trim(struct virtgpu_userptr *ctx, uint64_t bytes)
{
	int ret = context_check(ctx);

	if (ret)
		return ret;
	context_lock(ctx);
	cache_trim(ctx, bytes);
	context_unlock(ctx);
	return 0;
}
