// SPDX-License-Identifier: MIT
/*
 * gpu_views: what the memory of userptr resources needs beside the core
 *
 * The worker, what is charged, and, with contexts that take memory as a dma-buf only,
 * the dma-bufs and the way they are given back.
 *
 * Threads: the device's only.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "gpu/gpu_internal.h"
#include "gpu/userptr.h"
#include "memory/memory_limits.h"
#include "memory/release.h"
#include "memory/udmabuf.h"
#include "memory/worker.h"
#include "util/log.h"
#include "util/responses.h"

/* ---- userptr resources as dma-bufs ---- */

static uint32_t view_extend(void *opaque, const struct backing *backing, void **draft)
{
	struct gpu_device *dev = opaque;
	struct udmabuf_draft *extended = *draft;
	uint32_t ret;

	/*
	 * A dma-buf can always be written to.  Read-only resources get none, and
	 * only a context that goes through the run list takes them.
	 */
	if (backing->readonly)
		return OK;
	if (!udmabuf_usable(dev->udmabuf))
		return ERR_UNSUPPORTED;
	ret = udmabuf_draft_extend(dev->udmabuf, backing, &extended);
	*draft = extended;
	return ret;
}

static void view_made(void *cookie, struct memory_view *view, uint32_t response)
{
	userptr_view_made(cookie, view, response);
}

static uint32_t view_create(void *opaque, struct userptr *userptr, void *draft, void **view)
{
	struct gpu_device *dev = opaque;
	struct backing *backing = userptr_backing(userptr);
	struct udmabuf_view *made = NULL;
	uint32_t ret;

	_Static_assert(USERPTR_LATER == MEMORY_VIEW_LATER, "one is handed on as the other");
	if (backing->readonly)
		return OK;
	ret = udmabuf_view_create(dev->udmabuf, backing, draft, view_made, userptr, &made);
	*view = udmabuf_view_base(made);
	return ret;
}

static void view_abandon(void *opaque, struct userptr *userptr, void *view)
{
	(void)opaque;
	udmabuf_view_dispose(view, &userptr_backing(userptr)->runs);
}

static void view_discard(void *opaque, void *draft)
{
	(void)opaque;
	udmabuf_draft_free(draft);
}

/* Nobody can reach the memory of a userptr resource any more. */
static void memory_gone(struct gpu_device *dev, uint32_t id)
{
	unsigned int r;

	for (r = 0; r < dev->nr_renderers; r++)
		if (dev->renderers[r].ops->forget)
			dev->renderers[r].ops->forget(dev->renderers[r].renderer, id);
}

static bool view_quiesce(void *opaque, struct userptr *userptr, void *view, bool wait)
{
	struct gpu_device *dev = opaque;

	if (wait) {
		release_now(dev->release, userptr_backing(userptr), view);
		return true;
	}
	if (!release_begin(dev->release, userptr_backing(userptr), view, userptr))
		return false;
	memory_gone(dev, userptr_backing(userptr)->id);
	return true;
}

static const struct userptr_view_ops udmabuf_views = {
	.extend = view_extend,
	.create = view_create,
	.abandon = view_abandon,
	.discard = view_discard,
	.quiesce = view_quiesce,
};

/**
 * gpu_views_ops() - what the userptr core needs for views
 * @dev: the device
 *
 * Return: it, or NULL if the list of runs is all that is needed.
 */
const struct userptr_view_ops *gpu_views_ops(const struct gpu_device *dev)
{
	return dev->udmabuf ? &udmabuf_views : NULL;
}

/* ---- how they are given back ---- */

static void evict(void *opaque, struct backing *backing, bool force)
{
	struct gpu_device *dev = opaque;
	unsigned int r;

	dev->evicting = backing;
	for (r = 0; r < dev->nr_renderers; r++)
		if (dev->renderers[r].ops->evict)
			dev->renderers[r].ops->evict(dev->renderers[r].renderer, backing, force);
	dev->evicting = NULL;
}

static void view_gone(void *opaque, void *cookie)
{
	memory_gone(opaque, userptr_backing(cookie)->id);
	userptr_view_gone(cookie);
}

static int watch(struct gpu_device *dev, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(dev->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/*
 * What dma-bufs of user memory need.  Without it the device has contexts that
 * user memory cannot be used in, so it does not offer userptr resources then.
 */
static int open_dmabufs(struct gpu_device *dev)
{
	struct udmabuf_config config = {
		.gm = dev->gm,
		.quotas = &dev->quotas,
		.worker = dev->worker,
	};
	struct release_host host = {
		.opaque = dev,
		.evict = evict,
		.gone = view_gone,
		.verbose = dev->config.verbose,
	};
	int err;

	if (udmabuf_open(&config, &dev->udmabuf)) {
		log_error("userptr resources are not offered: libvirglrenderer's contexts can use "
			  "the guest's memory only as dma-bufs, for which /dev/udmabuf is needed");
		dev->config.userptr = false;
		return 0;
	}
	err = release_new(&host, dev->config.grace_ms, &dev->release);
	return err ? err : watch(dev, release_fd(dev->release));
}

/**
 * gpu_views_open() - get what userptr resources need
 * @dev: the device; its configuration may lose what cannot be had
 *
 * Return: 0 or a negative errno.
 */
int gpu_views_open(struct gpu_device *dev)
{
	int err;

	memory_quotas_init(&dev->quotas, &dev->config.limits.memory, dev->gm);
	err = worker_new(&dev->worker);
	if (!err)
		err = watch(dev, worker_fd(dev->worker));
	if (!err && dev->config.userptr && dev->config.virgl)
		err = open_dmabufs(dev);
	if (err)
		gpu_views_close(dev);
	return err;
}

/**
 * gpu_views_close() - the other end of gpu_views_open()
 * @dev: the device, without resources
 */
void gpu_views_close(struct gpu_device *dev)
{
	if (dev->release)
		release_free(dev->release);
	/* It may yet have dma-bufs to close. */
	worker_free(dev->worker);
	if (dev->udmabuf)
		udmabuf_close(dev->udmabuf);
	dev->release = NULL;
	dev->worker = NULL;
	dev->udmabuf = NULL;
}

/**
 * gpu_views_dispatch() - hand on what the worker has done, and look after dma-bufs
 * @dev: the device
 */
void gpu_views_dispatch(struct gpu_device *dev)
{
	worker_dispatch(dev->worker);
	if (dev->release)
		release_dispatch(dev->release);
}

/**
 * gpu_views_print_quotas() - lines of the statistics
 * @dev: the device
 * @to: where they go
 */
void gpu_views_print_quotas(const struct gpu_device *dev, FILE *to)
{
	memory_quotas_print(&dev->quotas, to);
	userptr_core_print_quotas(dev->userptrs, to);
	if (dev->udmabuf)
		udmabuf_print_quotas(dev->udmabuf, to);
}
