// SPDX-License-Identifier: MIT
/*
 * gpu_views: what the memory of userptr resources needs beside the core
 *
 * The worker, what is charged, and, with contexts that cannot go through the list of
 * runs, what a resource becomes for them, a dma-buf or a range of addresses, and the way
 * that is given back.
 *
 * Threads: the device's only.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "gpu/gpu_internal.h"
#include "gpu/userptr.h"
#include "memory/memory_limits.h"
#include "memory/release.h"
#include "memory/udmabuf.h"
#include "memory/view_stitch.h"
#include "memory/worker.h"
#include "util/log.h"
#include "util/responses.h"

/* ---- which view a resource gets ---- */

/**
 * struct view_draft - of a view that will be
 * @kind: which
 * @udmabuf: if it is a dma-buf
 * @stitch: if it is a range of addresses
 */
struct view_draft {
	enum memory_view_kind kind;
	struct udmabuf_draft *udmabuf;
	struct stitch_draft *stitch;
};

/*
 * What the view of a resource is to be; false: it needs none.
 *
 * libvirglrenderer takes dma-bufs only, and whoever has one may write.  So with it a
 * resource that may be written to becomes one, and no context of it can have the others
 * attached.  Our amdgpu contexts take either kind, and keep a promise not to write:
 * what only they and the loopback contexts can get may be a dma-buf nevertheless.
 */
static bool view_kind(const struct gpu_device *dev, const struct backing *backing,
		      enum memory_view_kind *kind)
{
	bool for_virgl = dev->config.virgl && !backing->readonly;

	if (!for_virgl && !dev->has_amdgpu)
		return false;
	*kind = dev->stitch && !for_virgl ? MEMORY_VIEW_STITCH : MEMORY_VIEW_UDMABUF;
	return true;
}

static struct view_draft *draft_new(enum memory_view_kind kind)
{
	struct view_draft *draft = calloc(1, sizeof(*draft));

	if (draft)
		draft->kind = kind;
	return draft;
}

/* Too many pieces, or huge pages: a dma-buf, if that may be. */
static void choose_again(struct gpu_device *dev, const struct backing *backing,
			 struct view_draft *draft)
{
	if (draft->kind != MEMORY_VIEW_STITCH || !dev->udmabuf || !udmabuf_usable(dev->udmabuf) ||
	    stitch_fits(dev->stitch, backing, draft->stitch))
		return;
	log_event("resource %u: cannot be mapped as one range, and becomes a dma-buf", backing->id);
	stitch_draft_free(draft->stitch);
	draft->stitch = NULL;
	draft->kind = MEMORY_VIEW_UDMABUF;
}

static uint32_t view_extend(void *opaque, const struct backing *backing, void **draft)
{
	struct gpu_device *dev = opaque;
	enum memory_view_kind kind;
	struct view_draft *d;

	if (!view_kind(dev, backing, &kind))
		return OK;
	if (!*draft)
		*draft = draft_new(kind);
	d = *draft;
	if (!d)
		return ERR_OUT_OF_MEMORY;
	choose_again(dev, backing, d);
	if (d->kind == MEMORY_VIEW_STITCH)
		return stitch_draft_extend(dev->stitch, backing, &d->stitch);
	if (!udmabuf_usable(dev->udmabuf))
		return ERR_UNSUPPORTED;
	return udmabuf_draft_extend(dev->udmabuf, backing, &d->udmabuf);
}

static void view_made(void *cookie, struct memory_view *view, uint32_t response)
{
	userptr_view_made(cookie, view, response);
}

static uint32_t view_create(void *opaque, struct userptr *userptr, void *draft, void **view)
{
	struct gpu_device *dev = opaque;
	struct backing *backing = userptr_backing(userptr);
	struct udmabuf_view *dmabuf = NULL;
	struct stitch_view *stitch = NULL;
	struct view_draft *d = draft;
	uint32_t ret;

	_Static_assert(USERPTR_LATER == MEMORY_VIEW_LATER, "one is handed on as the other");
	if (!d)
		return OK;
	if (d->kind == MEMORY_VIEW_STITCH)
		ret = stitch_view_create(dev->stitch, backing, d->stitch, view_made, userptr,
					 &stitch);
	else
		ret = udmabuf_view_create(dev->udmabuf, backing, d->udmabuf, view_made, userptr,
					  &dmabuf);
	if (ret != OK && ret != USERPTR_LATER)
		return ret;
	*view = stitch ? stitch_view_base(stitch) : udmabuf_view_base(dmabuf);
	free(d);
	return ret;
}

static void view_abandon(void *opaque, struct userptr *userptr, void *view)
{
	struct memory_view *base = view;

	(void)opaque;
	base->ops->dispose(base, &userptr_backing(userptr)->runs);
}

static void view_discard(void *opaque, void *draft)
{
	struct view_draft *d = draft;

	(void)opaque;
	if (d->kind == MEMORY_VIEW_STITCH)
		stitch_draft_free(d->stitch);
	else
		udmabuf_draft_free(d->udmabuf);
	free(d);
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

static const struct userptr_view_ops view_ops = {
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
	return dev->config.virgl || dev->has_amdgpu ? &view_ops : NULL;
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

/**
 * gpu_wants_amdgpu() - whether our own amdgpu renderer is asked for
 * @config: by the command line
 *
 * Return: true if so; with GPU_NATIVE_AUTO it may be missing.
 */
bool gpu_wants_amdgpu(const struct gpu_config *config)
{
	switch (config->native_context) {
	case GPU_NATIVE_AMDGPU:
		return true;
	case GPU_NATIVE_AUTO:
		return config->virgl || config->render_node;
	default:
		return false;
	}
}

/* Whether some resource may become a dma-buf. */
static bool may_need_dmabufs(const struct gpu_config *config)
{
	return config->userptr && (config->virgl || (gpu_wants_amdgpu(config) &&
						     config->amdgpu_userptr != GPU_AMDGPU_USERPTR));
}

/**
 * gpu_views_open() - get what renderers and userptr resources may need
 * @dev: the device
 *
 * That there are no dma-bufs is nothing yet: who needs one is known later.
 *
 * Return: 0 or a negative errno.
 */
int gpu_views_open(struct gpu_device *dev)
{
	struct udmabuf_config config;
	int err;

	memory_quotas_init(&dev->quotas, &dev->config.limits.memory, dev->gm);
	err = worker_new(&dev->worker);
	if (!err)
		err = watch(dev, worker_fd(dev->worker));
	if (err) {
		gpu_views_close(dev);
		return err;
	}
	config = (struct udmabuf_config){
		.gm = dev->gm,
		.quotas = &dev->quotas,
		.worker = dev->worker,
	};
	if (may_need_dmabufs(&dev->config) && udmabuf_open(&config, &dev->udmabuf))
		dev->udmabuf = NULL;
	return 0;
}

/*
 * Whether there is what every resource can be made into that may be one.  Else the
 * device has contexts that user memory cannot be used in, and does not offer it.
 */
static bool views_suffice(const struct gpu_device *dev)
{
	if (dev->udmabuf)
		return true;
	if (dev->config.virgl) {
		log_error("userptr resources are not offered: libvirglrenderer's contexts can use "
			  "the guest's memory only as dma-bufs, for which /dev/udmabuf is needed");
		return false;
	}
	if (!dev->stitch) {
		log_error("userptr resources are not offered: --amdgpu-userptr=dmabuf makes "
			  "dma-bufs of them, for which /dev/udmabuf is needed");
		return false;
	}
	if (dev->config.amdgpu_userptr == GPU_AMDGPU_AUTO)
		log_notice("without /dev/udmabuf userptr resources are mapped as addresses only: "
			   "what has more pieces than --max-mappings leaves is refused");
	return true;
}

static int open_release(struct gpu_device *dev)
{
	struct release_host host = {
		.opaque = dev,
		.evict = evict,
		.gone = view_gone,
		.verbose = dev->config.verbose,
	};
	int err = release_new(&host, dev->config.grace_ms, &dev->release);

	return err ? err : watch(dev, release_fd(dev->release));
}

/**
 * gpu_views_settle() - get the rest of what userptr resources need
 * @dev: the device, with its renderers; its configuration may lose what cannot be had
 *
 * Return: 0 or a negative errno.
 */
int gpu_views_settle(struct gpu_device *dev)
{
	struct stitch_config config = { .quotas = &dev->quotas, .worker = dev->worker };

	if (!dev->config.userptr || !gpu_views_ops(dev)) {
		if (dev->udmabuf)
			udmabuf_close(dev->udmabuf);
		dev->udmabuf = NULL;
		return 0;
	}
	if (dev->has_amdgpu && dev->config.amdgpu_userptr != GPU_AMDGPU_DMABUF) {
		dev->stitch = stitch_new(&config);
		if (!dev->stitch)
			return -ENOMEM;
	}
	if (!views_suffice(dev)) {
		dev->config.userptr = false;
		return 0;
	}
	return open_release(dev);
}

/**
 * gpu_views_close() - the other end of gpu_views_open()
 * @dev: the device, without resources
 */
void gpu_views_close(struct gpu_device *dev)
{
	if (dev->release)
		release_free(dev->release);
	/* It may yet have views to end. */
	worker_free(dev->worker);
	if (dev->udmabuf)
		udmabuf_close(dev->udmabuf);
	stitch_free(dev->stitch);
	dev->release = NULL;
	dev->worker = NULL;
	dev->udmabuf = NULL;
	dev->stitch = NULL;
}

/**
 * gpu_views_dispatch() - hand on what the worker has done, and look after views
 * @dev: the device
 */
void gpu_views_dispatch(struct gpu_device *dev)
{
	worker_dispatch(dev->worker);
	if (dev->release)
		release_dispatch(dev->release);
}

/**
 * gpu_views_usable() - whether views can be made of guest memory
 * @dev: the device
 *
 * Return: true if so, or if none are needed; also false while there is no memory.
 */
bool gpu_views_usable(const struct gpu_device *dev)
{
	/* A range of addresses can be had of any memory but huge pages, of which one is told. */
	if (!dev->udmabuf || (dev->stitch && !dev->config.virgl))
		return true;
	return udmabuf_usable(dev->udmabuf);
}

/**
 * gpu_views_max_segments() - pieces beyond which no view can be made
 * @dev: the device
 *
 * Return: that many; of dma-bufs the kernel decides, and its mind can be changed.
 */
uint64_t gpu_views_max_segments(const struct gpu_device *dev)
{
	return dev->stitch && !dev->udmabuf ? dev->quotas.mappings.max - 1 : UINT64_MAX;
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
