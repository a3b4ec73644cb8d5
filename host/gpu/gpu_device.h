/* SPDX-License-Identifier: MIT */
/*
 * gpu_device: virtio-gpu commands, resources, contexts and fences
 *
 * The device behind the rings, without the rings: the transport hands in one
 * request at a time as bytes that are already its own copy, and is called back
 * with the answer, at once or later.  Nothing here knows vhost-user.
 *
 * Threads: every function is called by the one thread that runs the rings.
 * Renderers may have threads of their own; what they finish comes back through
 * gpu_device_fd() and gpu_device_dispatch(), on the ring thread.
 */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "memory/memory_limits.h"
#include "renderer/renderer.h"

/* Requests that are pending at a time; the transport should not hand in more. */
#define GPU_DEVICE_MAX_PENDING 4096
/* Bytes of the largest answer. */
#define GPU_DEVICE_MAX_ANSWER 1024
/* What struct gpu_limits says if it does not say. */
#define GPU_DEVICE_BLOBS 65536u
#define GPU_DEVICE_ATTACHMENTS 262144u
/* libvirglrenderer has no more. */
#define GPU_DEVICE_CONTEXTS 256u

struct gpu_device;
struct guest_memory;

/**
 * struct gpu_limits - what the device takes from a guest
 * @max_userptr_bytes: bytes of one userptr resource
 * @max_segments: entries of one userptr resource
 * @max_entries: entries of one command
 * @memory: of all resources together
 * @max_blobs: 0: GPU_DEVICE_BLOBS
 * @max_attachments: of resources to contexts; one context may have a quarter; 0:
 *	GPU_DEVICE_ATTACHMENTS
 * @max_contexts: 0: GPU_DEVICE_CONTEXTS
 */
struct gpu_limits {
	uint64_t max_userptr_bytes;
	uint32_t max_segments;
	uint32_t max_entries;
	struct memory_limits memory;
	uint32_t max_blobs;
	uint32_t max_attachments;
	uint32_t max_contexts;
};

/**
 * enum gpu_native_context - whose DRM native contexts are offered
 * @GPU_NATIVE_AUTO: our own for amdgpu, if they can be had and @virgl or @render_node of
 *	struct gpu_config asks for a GPU; else those that libvirglrenderer has
 * @GPU_NATIVE_AMDGPU: our own for amdgpu, or there is no device
 * @GPU_NATIVE_VIRGL: libvirglrenderer's
 * @GPU_NATIVE_OFF: nobody's
 */
enum gpu_native_context {
	GPU_NATIVE_AUTO,
	GPU_NATIVE_AMDGPU,
	GPU_NATIVE_VIRGL,
	GPU_NATIVE_OFF,
};

/**
 * enum gpu_amdgpu_userptr - how our amdgpu contexts reach a userptr resource
 * @GPU_AMDGPU_AUTO: as addresses, or, if there are too few mappings, as a dma-buf
 * @GPU_AMDGPU_DMABUF: as a dma-buf (udmabuf)
 * @GPU_AMDGPU_USERPTR: as addresses of the device's process
 */
enum gpu_amdgpu_userptr {
	GPU_AMDGPU_AUTO,
	GPU_AMDGPU_DMABUF,
	GPU_AMDGPU_USERPTR,
};

/**
 * struct gpu_config - what the command line decides
 * @limits: see there
 * @userptr: offer VIRTIO_GPU_F_RESOURCE_USERPTR
 * @userptr_rdonly: accept read-only userptr resources
 * @loopback: offer the reference context
 * @virgl: offer libvirglrenderer's contexts
 * @native_context: see there
 * @amdgpu_userptr: see there; not GPU_AMDGPU_USERPTR with @virgl
 * @render_node: path of the GPU for our native contexts; NULL: the first that is fit
 * @native: what guests may have of that
 * @host_visible: bytes of the region in which the guest sees blobs of the host;
 *	0: there is none
 * @grace_ms: how long a context may keep memory that the guest wants back
 * @allow_inject: let the loopback context arm faults (tests)
 * @access_platform: offer VIRTIO_F_ACCESS_PLATFORM (tests: the guest then puts
 *	the device behind its DMA API)
 * @verbose: log one line per event to stderr
 */
struct gpu_config {
	struct gpu_limits limits;
	bool userptr;
	bool userptr_rdonly;
	bool loopback;
	bool virgl;
	enum gpu_native_context native_context;
	enum gpu_amdgpu_userptr amdgpu_userptr;
	const char *render_node;
	struct native_limits native;
	uint64_t host_visible;
	unsigned int grace_ms;
	bool allow_inject;
	bool access_platform;
	bool verbose;
};

/**
 * struct gpu_request - a request that the transport wants answered
 * @opaque: the transport's
 *
 * Embedded by the transport in what it needs to answer (the descriptors).
 * Owned by the device from gpu_device_command() until it calls respond().
 */
struct gpu_request {
	void *opaque;
};

/**
 * struct gpu_shmem_range - what the VMM is to map, or to unmap
 * @offset: in the host-visible region
 * @size: bytes
 * @fd_offset: in the file, of the first byte; to unmap it does not matter
 */
struct gpu_shmem_range {
	uint64_t offset;
	uint64_t size;
	uint64_t fd_offset;
};

/**
 * struct gpu_transport - the device's way back
 * @respond: answer @req with @len bytes and forget it; a transport whose ring
 *	is gone drops the answer
 * @shmem_map: have the VMM map @range of @fd, which stays the caller's.  0:
 *	asked for, and gpu_device_shmem_done() follows, but never before this
 *	returns; the device does not ask for anything else until then.  Or a
 *	negative errno: -EOPNOTSUPP, this VMM cannot do that.  NULL: none can.
 * @shmem_unmap: the same, to take away a range that was mapped.  A VMM does so
 *	by itself with all of them when the guest resets its device.
 * @opaque: first argument
 */
struct gpu_transport {
	void (*respond)(void *opaque, struct gpu_request *req, const void *data, size_t len);
	int (*shmem_map)(void *opaque, const struct gpu_shmem_range *range, int fd);
	int (*shmem_unmap)(void *opaque, const struct gpu_shmem_range *range);
	void *opaque;
};

/* NULL: it cannot be had, errno says why, and the log what is missing. */
struct gpu_device *gpu_device_new(const struct gpu_config *config,
				  const struct gpu_transport *transport, struct guest_memory *gm);
/* Waits for the renderers' threads; pending requests are not answered. */
void gpu_device_free(struct gpu_device *dev);

/* Virtio feature bits (VIRTIO_GPU_F_* and VIRTIO_F_*) that the device offers. */
uint64_t gpu_device_features(const struct gpu_device *dev);
/* What the driver accepted; commands of a feature it did not accept are unknown. */
void gpu_device_set_features(struct gpu_device *dev, uint64_t features);

/* The configuration space; reads past its end give zeroes. */
void gpu_device_read_config(struct gpu_device *dev, uint32_t offset, void *data, size_t len);
/* Accepted and of no effect: there is nothing that the driver could write. */
void gpu_device_write_config(struct gpu_device *dev, uint32_t offset, const void *data, size_t len);

/*
 * One request.  @data is the transport's copy, good until the call returns.
 * @queue is 0 (control) or 1 (cursor); @resp_capacity the bytes that fit in
 * the guest's answer buffers.  Answers with respond() exactly once, now or
 * later, or never if the device is reset first (see gpu_device_reset()).
 */
void gpu_device_command(struct gpu_device *dev, unsigned int queue, const void *data, size_t len,
			size_t resp_capacity, struct gpu_request *req);

/* Bytes of the host-visible region (VIRTIO_GPU_SHM_ID_HOST_VISIBLE), or 0. */
uint64_t gpu_device_host_visible(const struct gpu_device *dev);
/*
 * What shmem_map() or shmem_unmap() asked for was done (0) or not (a negative
 * errno).  Exactly once for each, also over a reset: a transport that cannot find
 * out any more says that it was not.
 */
void gpu_device_shmem_done(struct gpu_device *dev, int err);

/*
 * Back to the state after gpu_device_new(): waits until no renderer touches
 * guest memory any more, drops all contexts, resources and armed faults, and
 * answers every pending request with ERR_UNSPEC, in the order they came.
 */
void gpu_device_reset(struct gpu_device *dev);

/* Readable when gpu_device_dispatch() has something to do. */
int gpu_device_fd(const struct gpu_device *dev);
/* Do what is due: of the renderers, of the release of dma-bufs, and answers that were delayed. */
void gpu_device_dispatch(struct gpu_device *dev);

/* The statistics of --help, one "name: value" a line. */
void gpu_device_print_stats(const struct gpu_device *dev, FILE *to);

#endif /* GPU_DEVICE_H */
