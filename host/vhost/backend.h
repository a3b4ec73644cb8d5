/* SPDX-License-Identifier: MIT */
/*
 * backend: what a device is to the vhost-user server that serves it
 *
 * The device does its work on a thread of its own, for as long as that takes.
 * Everything in struct vhost_backend_ops is called by the thread of the server,
 * returns at once, and is done in the order of the calls.  What the device has to
 * say waits until the server calls dispatch(), which says it, in the order in which
 * it came up, by calling what is in struct vhost_backend_host.  So neither waits for
 * the other, and nothing of the server is ever called by another thread.
 *
 * Nothing here knows what kind of virtio device it is.
 *
 * Threads: the one of the server.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Requests that are not over at a time: a device takes as many. */
#define VHOST_BACKEND_MAX_REQUESTS 4096
/* Bytes of the largest answer. */
#define VHOST_BACKEND_MAX_ANSWER 1024
/* Ranges of shared memory that are mapped at a time. */
#define VHOST_BACKEND_MAX_MAPPINGS 448

/**
 * struct vhost_shmem_range - what the VMM is to map, or to unmap
 * @id: shared memory region of the virtio device
 * @offset: in the region
 * @size: bytes
 * @fd_offset: in the file, of the first byte; to unmap it does not matter
 */
struct vhost_shmem_range {
	uint8_t id;
	uint64_t offset;
	uint64_t size;
	uint64_t fd_offset;
};

/**
 * struct vhost_backend_host - what a device has to say, from within dispatch()
 * @respond: the request of @cookie is over, with @len bytes of answer
 * @room: there is room for requests again; see struct vhost_backend_ops
 * @shmem_map: have the VMM map @range of @fd, which stays the caller's;
 *	shmem_done() follows, and nothing else is asked for until then
 * @shmem_unmap: the same, to take away what was mapped.  A VMM does so by itself
 *	with everything when the guest resets its device.
 * @reset_done: the reset is over, everything from before it was said before
 * @opaque: first argument
 */
struct vhost_backend_host {
	void (*respond)(void *opaque, void *cookie, const void *data, size_t len);
	void (*room)(void *opaque);
	void (*shmem_map)(void *opaque, const struct vhost_shmem_range *range, int fd);
	void (*shmem_unmap)(void *opaque, const struct vhost_shmem_range *range);
	void (*reset_done)(void *opaque);
	void *opaque;
};

/**
 * struct vhost_backend_ops - a device
 * @features: virtio feature bits that it offers, those of the transport apart;
 *	always the same
 * @set_features: what the driver accepted of them
 * @read_config: the configuration space; past its end there are zeroes
 * @write_config: @len bytes of it are written by the driver
 * @shmem_bytes: of the shared memory region @id, 0: there is none; always the same
 * @room: whether a request may be handed in; if not, the host's room() follows
 * @request: a request of @queue, and @capacity bytes for its answer.  @data, which
 *	malloc() made, is the device's if 0 is returned; -ENOMEM.  The host's
 *	respond() follows exactly once.
 * @begin_reset: let go of everything that the guest has made, and of its memory.
 *	Requests that are not over are handed back, then the host's reset_done()
 *	follows; nothing else is handed in until then, except by @shmem_done.
 * @shmem_done: what shmem_map() or shmem_unmap() asked for was done (0) or not (a
 *	negative errno).  Exactly once for each, also over a reset.
 * @memory_changed: guest memory is another one: do not keep files of the old one
 * @busy: what it is at, and since how many milliseconds; NULL: it waits for work
 * @fd: readable when dispatch() has something to say
 * @dispatch: say some of it; more makes @fd readable again
 */
struct vhost_backend_ops {
	uint64_t (*features)(const void *dev);
	void (*set_features)(void *dev, uint64_t features);
	void (*read_config)(const void *dev, uint32_t offset, void *data, size_t len);
	void (*write_config)(void *dev, uint32_t offset, const void *data, size_t len);
	uint64_t (*shmem_bytes)(const void *dev, unsigned int id);
	bool (*room)(void *dev);
	int (*request)(void *dev, unsigned int queue, void *data, size_t len, size_t capacity,
		       void *cookie);
	void (*begin_reset)(void *dev);
	void (*shmem_done)(void *dev, int err);
	void (*memory_changed)(void *dev);
	const char *(*busy)(void *dev, uint64_t *ms);
	int (*fd)(const void *dev);
	void (*dispatch)(void *dev, const struct vhost_backend_host *host);
};

#endif /* BACKEND_H */
