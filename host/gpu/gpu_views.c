// SPDX-License-Identifier: MIT
/*
 * gpu_views: userptr resources as dma-bufs, for contexts that take memory only so
 *
 * Threads: the device's only.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "gpu/gpu_internal.h"
#include "gpu/userptr.h"
#include "memory/release.h"
#include "memory/udmabuf.h"
#include "util/log.h"
#include "util/responses.h"

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

static uint32_t view_create(void *opaque, const struct backing *backing, void *draft, void **view)
{
	struct gpu_device *dev = opaque;
	struct udmabuf_view *made;
	uint32_t ret;

	if (backing->readonly)
		return OK;
	ret = udmabuf_view_create(dev->udmabuf, backing, draft, &made);
	if (ret == OK)
		*view = made;
	return ret;
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

/**
 * gpu_views_open() - get what dma-bufs of user memory need
 * @dev: the device
 *
 * Without it the device has contexts that user memory cannot be used in, so it does not
 * offer userptr resources then.
 *
 * Return: 0 or a negative errno.
 */
int gpu_views_open(struct gpu_device *dev)
{
	struct release_host host = {
		.opaque = dev,
		.evict = evict,
		.gone = view_gone,
		.verbose = dev->config.verbose,
	};
	struct epoll_event event = { .events = EPOLLIN };
	int err;

	if (!dev->config.userptr || !dev->config.virgl)
		return 0;
	if (udmabuf_open(dev->gm, &dev->udmabuf)) {
		log_error("userptr resources are not offered: libvirglrenderer's contexts can use "
			  "the guest's memory only as dma-bufs, for which /dev/udmabuf is needed");
		dev->config.userptr = false;
		return 0;
	}
	err = release_new(&host, dev->config.grace_ms, &dev->release);
	if (err)
		goto close_udmabuf;
	if (epoll_ctl(dev->epoll, EPOLL_CTL_ADD, release_fd(dev->release), &event)) {
		err = -errno;
		goto free_release;
	}
	return 0;

free_release:
	release_free(dev->release);
	dev->release = NULL;
close_udmabuf:
	udmabuf_close(dev->udmabuf);
	dev->udmabuf = NULL;
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
	if (dev->udmabuf)
		udmabuf_close(dev->udmabuf);
}

/**
 * gpu_views_dispatch() - look after those that others still have
 * @dev: the device
 */
void gpu_views_dispatch(struct gpu_device *dev)
{
	if (dev->release)
		release_dispatch(dev->release);
}
