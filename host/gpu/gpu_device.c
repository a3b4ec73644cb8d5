// SPDX-License-Identifier: MIT
/*
 * gpu_device: the device as a whole, what it is made of and how it ends
 *
 * Its renderers, the views of userptr resources, features, configuration space,
 * reset and statistics.  The commands are elsewhere: gpu_command.c has what all of
 * them share, gpu_info.c, gpu_context.c, gpu_resource.c and gpu_blob.c what each
 * does, and gpu_internal.h what these know of each other.
 *
 * Invariants: all that a guest can make this process keep is bounded by quotas,
 * GPU_DEVICE_MAX_PENDING and the configured limits, and what a renderer's blobs are
 * by the renderer.
 *
 * Threads: the ring thread only.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "gpu/gpu_internal.h"
#include "gpu/host_visible.h"
#include "gpu/userptr.h"
#include "memory/bus_fault.h"
#include "memory/guest_memory.h"
#include "memory/udmabuf.h"
#include "memory/view_stitch.h"
#include "util/log.h"
#include "util/responses.h"

#ifndef VIRTIO_F_ACCESS_PLATFORM
#define VIRTIO_F_ACCESS_PLATFORM 33
#endif

/* ---- statistics ---- */

/* Numbers of the whole life of the device, in host byte order. */
static void lifetime_stats(const struct gpu_device *dev, struct loopback_stats *stats)
{
	struct userptr_totals totals;
	unsigned int i;

	userptr_core_totals(dev->userptrs, &totals);
	*stats = dev->counts;
	stats->userptr_resources = totals.resources;
	stats->userptr_segments = totals.segments;
	stats->userptr_runs = totals.runs;
	stats->userptr_bytes = totals.bytes;
	stats->blob_resources = dev->blobs.nr;
	stats->contexts = dev->contexts.nr;
	stats->userptr_created = totals.created;
	stats->jobs = 0;
	for (i = 0; i < dev->nr_renderers; i++)
		stats->jobs += dev->renderers[i].ops->jobs(dev->renderers[i].renderer);
}

/* What the guest sees: since the last reset, little-endian. */
static void guest_stats(void *opaque, struct loopback_stats *out)
{
	struct gpu_device *dev = opaque;
	const struct loopback_stats *base = &dev->base;
	struct loopback_stats now;

	lifetime_stats(dev, &now);
	*out = (struct loopback_stats){
		.userptr_resources = htole64(now.userptr_resources),
		.userptr_segments = htole64(now.userptr_segments),
		.userptr_runs = htole64(now.userptr_runs),
		.userptr_bytes = htole64(now.userptr_bytes),
		.blob_resources = htole64(now.blob_resources),
		.contexts = htole64(now.contexts),
		.commands = htole64(now.commands - base->commands),
		.userptr_commands = htole64(now.userptr_commands - base->userptr_commands),
		.errors = htole64(now.errors - base->errors),
		.ring_bytes = htole64(now.ring_bytes - base->ring_bytes),
		.userptr_ring_bytes = htole64(now.userptr_ring_bytes - base->userptr_ring_bytes),
		.userptr_created = htole64(now.userptr_created - base->userptr_created),
		.userptr_destroyed = htole64(now.userptr_destroyed - base->userptr_destroyed),
		.jobs = htole64(now.jobs - base->jobs),
	};
}

void gpu_device_print_stats(const struct gpu_device *dev, FILE *to)
{
	struct udmabuf_totals udmabuf = { .views = 0 };
	struct stitch_totals stitch = { .views = 0 };
	struct host_visible_totals visible;
	struct userptr_totals totals;
	struct loopback_stats stats;

	userptr_core_totals(dev->userptrs, &totals);
	host_visible_totals(dev->visible, &visible);
	if (dev->udmabuf)
		udmabuf_totals(dev->udmabuf, &udmabuf);
	if (dev->stitch)
		stitch_totals(dev->stitch, &stitch);
	lifetime_stats(dev, &stats);
#define LINE(name, value) fprintf(to, "%s: %llu\n", name, (unsigned long long)(value))
	LINE("userptr resources created", stats.userptr_created);
	LINE("userptr resources destroyed", stats.userptr_destroyed);
	LINE("userptr resources now", stats.userptr_resources);
	LINE("userptr segments created", totals.created_segments);
	LINE("userptr segments now", stats.userptr_segments);
	LINE("userptr runs now", stats.userptr_runs);
	LINE("userptr bytes mapped", totals.created_bytes);
	LINE("userptr bytes mapped now", stats.userptr_bytes);
	LINE("userptr imports", dev->imports);
	LINE("udmabuf views now", udmabuf.views);
	LINE("udmabuf items now", udmabuf.items);
	LINE("udmabuf views created", udmabuf.created);
	LINE("udmabuf items created", udmabuf.created_items);
	LINE("stitch views now", stitch.views);
	LINE("stitch mappings now", stitch.mappings);
	LINE("stitch views created", stitch.created);
	LINE("stitch runs created", stitch.created_runs);
	LINE("blob resources now", stats.blob_resources);
	LINE("host blobs now", dev->nr_host_blobs);
	LINE("host blobs mapped now", visible.mappings);
	LINE("host bytes mapped now", visible.bytes);
	LINE("contexts now", stats.contexts);
	LINE("commands", stats.commands);
	LINE("userptr commands", stats.userptr_commands);
	LINE("commands not answered yet", dev->nr_commands);
	LINE("errors", stats.errors);
	LINE("ring bytes", stats.ring_bytes);
	LINE("userptr ring bytes", stats.userptr_ring_bytes);
	LINE("jobs", stats.jobs);
#undef LINE
	gpu_views_print_quotas(dev, to);
	quota_print(&dev->quota_blobs, to);
	quota_print(&dev->quota_contexts, to);
	quota_print(&dev->quota_attachments, to);
	quota_print(&dev->quota_context_attachments, to);
}

/* ---- renderers ---- */

/* Whether every capset fits in an answer. */
static bool capsets_fit(const struct renderer_ops *ops, const struct renderer *renderer)
{
	struct renderer_capset capset;
	unsigned int index;

	for (index = 0; ops->capset(renderer, index, &capset); index++)
		if (capset.size > GPU_DEVICE_MAX_ANSWER - sizeof(struct virtio_gpu_resp_capset))
			return false;
	return true;
}

static int add_renderer(struct gpu_device *dev, const struct renderer_ops *ops)
{
	struct renderer_config config = {
		.allow_inject = dev->config.allow_inject,
		.gm = dev->gm,
		.udmabuf = dev->udmabuf,
		.no_drm = dev->has_amdgpu || dev->config.native_context == GPU_NATIVE_OFF,
		.grace_ms = dev->config.grace_ms,
		.render_node = dev->config.render_node,
		.native = dev->config.native,
	};
	struct renderer_host host = {
		.opaque = dev,
		.submitted = gpu_submitted,
		.inject = gpu_fault_arm,
		.stats = guest_stats,
		.blob_created = gpu_blob_created,
		.blob_destroyed = gpu_blob_destroyed,
		.lost = gpu_context_lost,
	};
	struct gpu_renderer_slot *slot = &dev->renderers[dev->nr_renderers];
	struct epoll_event event = { .events = EPOLLIN };
	int err;

	err = ops->create(&config, &host, &slot->renderer);
	if (err)
		return err;
	if (!capsets_fit(ops, slot->renderer)) {
		log_error("%s: a capset is larger than any answer", ops->name);
		err = -E2BIG;
		goto destroy;
	}
	if (epoll_ctl(dev->epoll, EPOLL_CTL_ADD, ops->fd(slot->renderer), &event)) {
		err = -errno;
		goto destroy;
	}
	slot->ops = ops;
	dev->nr_renderers++;
	dev->touches_memory |= ops->touches_memory;
	return 0;

destroy:
	ops->destroy(slot->renderer);
	return err;
}

static void drop_renderers(struct gpu_device *dev)
{
	while (dev->nr_renderers) {
		const struct gpu_renderer_slot *slot = &dev->renderers[--dev->nr_renderers];

		slot->ops->destroy(slot->renderer);
	}
}

/* Before libvirglrenderer, which is not to offer the same then. */
static int add_amdgpu(struct gpu_device *dev)
{
	const struct gpu_config *config = &dev->config;
	int err;

	if (!gpu_wants_amdgpu(config))
		return 0;
#ifdef HAVE_AMDGPU
	err = add_renderer(dev, &renderer_amdgpu);
#else
	err = -EOPNOTSUPP;
#endif
	if (!err) {
		dev->has_amdgpu = true;
		return 0;
	}
	/* Who named neither it nor a node gets it where there is one. */
	if (config->native_context == GPU_NATIVE_AMDGPU || (!config->virgl && !config->loopback)) {
		log_error("amdgpu native contexts cannot be had: %s", strerror(-err));
		return err;
	}
	if (config->render_node)
		log_notice("amdgpu native contexts are not offered, %s: %s", config->render_node,
			   strerror(-err));
	else
		log_event("amdgpu native contexts are not offered: %s", strerror(-err));
	return 0;
}

static int add_virgl(struct gpu_device *dev)
{
	int err;

	if (!dev->config.virgl)
		return 0;
	if (dev->config.native_context == GPU_NATIVE_VIRGL)
		log_notice("native contexts are libvirglrenderer's, which up to 1.3.0 has bugs in "
			   "those for amdgpu that a guest can reach; what is known of them is kept "
			   "from it, as ever");
#ifdef HAVE_VIRGLRENDERER
	err = add_renderer(dev, &renderer_virgl);
#else
	err = -EOPNOTSUPP;
#endif
	if (err)
		log_error("libvirglrenderer's contexts cannot be had: %s", strerror(-err));
	return err;
}

static int add_renderers(struct gpu_device *dev)
{
	int err = 0;

	if (dev->config.loopback)
		err = add_renderer(dev, &renderer_loopback);
	if (!err)
		err = add_amdgpu(dev);
	if (!err)
		err = add_virgl(dev);
	if (err)
		drop_renderers(dev);
	/* No context of libvirglrenderer's can keep a promise not to write. */
	else if (dev->config.virgl && !gpu_rdonly_capset_mask(dev))
		dev->config.userptr_rdonly = false;
	return err;
}

/* ---- the device ---- */

static void init_quotas(struct gpu_device *dev)
{
	const struct gpu_limits *limits = &dev->config.limits;
	uint64_t attachments = limits->max_attachments ? limits->max_attachments :
							 GPU_DEVICE_ATTACHMENTS;

	quota_init(&dev->quota_blobs, "blobs", "--max-blobs",
		   limits->max_blobs ? limits->max_blobs : GPU_DEVICE_BLOBS);
	quota_init(&dev->quota_contexts, "contexts", "--max-contexts",
		   limits->max_contexts ? limits->max_contexts : GPU_DEVICE_CONTEXTS);
	quota_init(&dev->quota_attachments, "attachments", "--max-attachments", attachments);
	/* One program must not be able to take them all. */
	quota_init(&dev->quota_context_attachments, "attachments of one context",
		   "--max-attachments", attachments / 4 ? attachments / 4 : 1);
}

static int open_events(struct gpu_device *dev)
{
	struct epoll_event event = { .events = EPOLLIN };
	int err;

	dev->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (dev->epoll < 0)
		return -errno;
	err = gpu_fault_open(dev);
	if (err)
		goto err_close;
	if (bus_fault_fd() >= 0 && epoll_ctl(dev->epoll, EPOLL_CTL_ADD, bus_fault_fd(), &event)) {
		err = -errno;
		goto err_fault;
	}
	return 0;

err_fault:
	gpu_fault_close(dev);
err_close:
	close(dev->epoll);
	return err;
}

static void close_events(struct gpu_device *dev)
{
	gpu_fault_close(dev);
	close(dev->epoll);
}

struct gpu_device *gpu_device_new(const struct gpu_config *config,
				  const struct gpu_transport *transport, struct guest_memory *gm)
{
	struct gpu_device *dev = calloc(1, sizeof(*dev));
	int err = -ENOMEM;

	if (!dev)
		return NULL;
	dev->config = *config;
	dev->transport = *transport;
	dev->gm = gm;
	TAILQ_INIT(&dev->commands);
	init_quotas(dev);
	err = open_events(dev);
	if (err)
		goto free_dev;
	err = -ENOMEM;
	dev->visible = gpu_visible_new(dev);
	if (!dev->visible)
		goto close_events;
	err = gpu_views_open(dev);
	if (err)
		goto free_visible;
	err = add_renderers(dev);
	if (err)
		goto close_views;
	err = gpu_views_settle(dev);
	if (err)
		goto drop_renderers;
	err = -ENOMEM;
	/* Last, for the limits and what is offered are known only now. */
	dev->userptrs = gpu_userptrs_new(dev, gpu_views_ops(dev));
	if (!dev->userptrs)
		goto drop_renderers;
	return dev;

drop_renderers:
	drop_renderers(dev);
close_views:
	gpu_views_close(dev);
free_visible:
	host_visible_free(dev->visible);
close_events:
	close_events(dev);
free_dev:
	free(dev);
	errno = -err;
	return NULL;
}

/* All that the guest made, and nothing of it is in use when this returns. */
static void drop_everything(struct gpu_device *dev)
{
	unsigned int r;

	dev->resetting = true;
	for (r = 0; r < dev->nr_renderers; r++)
		dev->renderers[r].ops->reset(dev->renderers[r].renderer);
	gpu_contexts_drop(dev);
	host_visible_reset(dev->visible);
	gpu_blobs_drop(dev);
	userptr_core_reset(dev->userptrs);
	gpu_fault_disarm(dev);
	dev->resetting = false;
}

void gpu_device_reset(struct gpu_device *dev)
{
	drop_everything(dev);
	gpu_commands_drop(dev, true);
	dev->features = 0;
	lifetime_stats(dev, &dev->base);
}

void gpu_device_free(struct gpu_device *dev)
{
	if (!dev)
		return;
	drop_everything(dev);
	gpu_commands_drop(dev, false);
	drop_renderers(dev);
	userptr_core_free(dev->userptrs);
	gpu_views_close(dev);
	host_visible_free(dev->visible);
	close_events(dev);
	free(dev);
}

uint64_t gpu_device_features(const struct gpu_device *dev)
{
	uint64_t features = (uint64_t)1 << VIRTIO_GPU_F_VIRGL |
			    (uint64_t)1 << VIRTIO_GPU_F_RESOURCE_BLOB |
			    (uint64_t)1 << VIRTIO_GPU_F_CONTEXT_INIT;

	if (dev->config.userptr)
		features |= (uint64_t)1 << VIRTIO_GPU_F_RESOURCE_USERPTR;
	if (dev->config.access_platform)
		features |= (uint64_t)1 << VIRTIO_F_ACCESS_PLATFORM;
	return features;
}

void gpu_device_set_features(struct gpu_device *dev, uint64_t features)
{
	dev->features = features & gpu_device_features(dev);
}

void gpu_device_read_config(struct gpu_device *dev, uint32_t offset, void *data, size_t len)
{
	struct virtio_gpu_config config = {
		.num_scanouts = htole32(0),
		.num_capsets = htole32(gpu_nr_capsets(dev)),
	};

	memset(data, 0, len);
	if (offset >= sizeof(config))
		return;
	if (len > sizeof(config) - offset)
		len = sizeof(config) - offset;
	memcpy(data, (const unsigned char *)&config + offset, len);
}

void gpu_device_write_config(struct gpu_device *dev, uint32_t offset, const void *data, size_t len)
{
	/* Only events_clear can be written, and there are no events. */
	(void)dev;
	(void)offset;
	(void)data;
	(void)len;
}

int gpu_device_fd(const struct gpu_device *dev)
{
	return dev->epoll;
}

void gpu_device_dispatch(struct gpu_device *dev)
{
	unsigned int r, faults;

	for (r = 0; r < dev->nr_renderers; r++)
		dev->renderers[r].ops->dispatch(dev->renderers[r].renderer);
	gpu_views_dispatch(dev);
	gpu_fault_dispatch(dev);
	faults = bus_fault_clear();
	/* Says so once for each file; what is lost is lost. */
	if (faults != dev->bus_faults)
		guest_memory_damaged(dev->gm);
	dev->bus_faults = faults;
}

uint64_t gpu_device_host_visible(const struct gpu_device *dev)
{
	return dev->config.host_visible;
}

void gpu_device_shmem_done(struct gpu_device *dev, int err)
{
	host_visible_done(dev->visible, err);
}
