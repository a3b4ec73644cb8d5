/* SPDX-License-Identifier: MIT */
/*
 * virtgpu-userptr: hand memory of this process to the GPU of the virtual machine's host
 *
 * libvirtgpu-userptr registers ranges of memory with the virtio-gpu driver, by
 * address and size, and keeps the books that every client would have to keep:
 * which ranges share a registration, which registrations are worth keeping for
 * the next time, and which ended because the memory was freed.
 *
 * A registration is never used again once its memory was given back: a block that
 * malloc() returns at an address at which there was another one never gets the
 * other one's registration.  That holds without any cooperation of free(), and does
 * not depend on events having been read; see virtgpu-userptr(7).
 *
 * All functions may be called by any number of threads at a time, but for
 * virtgpu_userptr_close(), which is to be the last one.  In a child that fork()
 * made they all answer -ESTALE.
 *
 * Functions return 0 or a negative errno; virtgpu_userptr_error() then says in
 * words what is wrong, and what can be done about it.
 */
#ifndef VIRTGPU_USERPTR_H
#define VIRTGPU_USERPTR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VIRTGPU_USERPTR_API __attribute__((visibility("default")))
#else
#define VIRTGPU_USERPTR_API
#endif

/* ---- registrations ---------------------------------------------------------- */

/* The host must never write.  Refused where the host cannot enforce that. */
#define VIRTGPU_USERPTR_REG_RDONLY 0x0001u
/*
 * The registration may be made of several resources, one behind the other, so that
 * a range that overlaps another one shares what they have in common.  Without it a
 * registration is one resource, and shares only with one that contains it.
 */
#define VIRTGPU_USERPTR_REG_PIECES 0x0002u
/*
 * The caller promises to deregister before the memory is freed.  Nothing watches
 * such a registration, and it is neither shared nor kept.
 */
#define VIRTGPU_USERPTR_REG_KEEP 0x0004u

/**
 * struct virtgpu_userptr_piece - a part of a registration that lies in one resource
 * @res_handle: resource id, for command streams
 * @bo_handle: GEM handle, for DRM_IOCTL_VIRTGPU_EXECBUFFER; owned by the library,
 *	never to be closed
 * @offset: where the part begins in the resource, in bytes
 * @size: bytes
 */
struct virtgpu_userptr_piece {
	uint32_t res_handle;
	uint32_t bo_handle;
	uint64_t offset;
	uint64_t size;
};

/**
 * struct virtgpu_userptr_reg - a registration
 * @id: its number, which is never given to another one
 * @addr: first byte, as it was registered
 * @size: bytes, as they were registered
 * @flags: VIRTGPU_USERPTR_REG_*
 * @nr_pieces: 1, but for VIRTGPU_USERPTR_REG_PIECES
 * @piece: the first piece, which begins with the byte at @addr
 * @reserved: 0
 */
struct virtgpu_userptr_reg {
	uint64_t id;
	uint64_t addr;
	uint64_t size;
	uint32_t flags;
	uint32_t nr_pieces;
	struct virtgpu_userptr_piece piece;
	uint64_t reserved[4];
};

/* ---- contexts --------------------------------------------------------------- */

struct drm_event;
/* What the library keeps for one open render node. */
struct virtgpu_userptr;

/* options.cache_bytes: half of RLIMIT_MEMLOCK, and at most 256 MiB. */
#define VIRTGPU_USERPTR_CACHE_DEFAULT UINT64_MAX

/**
 * struct virtgpu_userptr_options - how virtgpu_userptr_open() is to do it
 * @struct_size: sizeof(struct virtgpu_userptr_options)
 * @cache_bytes: how much memory that nobody has registered any more may stay
 *	registered for the next time; 0 for none, or VIRTGPU_USERPTR_CACHE_DEFAULT
 * @revoked: called by virtgpu_userptr_dispatch() for each registration that ended
 *	because its memory was given back; or NULL.  @reg's resources stay what
 *	they are, and are of no use, until it returns; then the registration is
 *	forgotten, however often it was made.  No lock is held, and it may call
 *	any function but virtgpu_userptr_close().
 * @event: called for each other event that virtgpu_userptr_dispatch() reads; or
 *	NULL, then they are dropped
 * @data: for @revoked and @event
 */
struct virtgpu_userptr_options {
	size_t struct_size;
	uint64_t cache_bytes;
	void (*revoked)(void *data, const struct virtgpu_userptr_reg *reg);
	void (*event)(void *data, const struct drm_event *event);
	void *data;
};

/**
 * virtgpu_userptr_open() - start to register memory
 * @fd: render node of a virtio-gpu; its context has been made, or will be made as
 *	the driver makes it by default.  The library uses a duplicate.
 * @options: or NULL for the default of everything
 * @ctx: out
 *
 * Return: 0, -EOPNOTSUPP if nothing can be registered here, or another negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_open(int fd, const struct virtgpu_userptr_options *options,
					     struct virtgpu_userptr **ctx);

/**
 * virtgpu_userptr_close() - deregister everything
 * @ctx: context that nobody uses any more; or NULL
 *
 * In a child only descriptors are closed: the registrations are its parent's.
 */
VIRTGPU_USERPTR_API void virtgpu_userptr_close(struct virtgpu_userptr *ctx);

/* caps.flags: VIRTGPU_USERPTR_REG_RDONLY works in this context. */
#define VIRTGPU_USERPTR_CAP_RDONLY 0x0001u
/* Memory is watched.  Without it VIRTGPU_USERPTR_REG_KEEP has to be given. */
#define VIRTGPU_USERPTR_CAP_WATCH 0x0002u
/*
 * Registrations are shared and kept.  Without it the kernel cannot tell whether
 * one is still good, and each is made anew.
 */
#define VIRTGPU_USERPTR_CAP_SHARE 0x0004u

/**
 * struct virtgpu_userptr_caps - what can be registered
 * @struct_size: in, sizeof(struct virtgpu_userptr_caps)
 * @flags: VIRTGPU_USERPTR_CAP_*
 * @alignment: bytes; registrations are extended to multiples of it
 * @max_size: bytes of the largest registration
 * @max_segments: most physically contiguous pieces of one
 * @memlock: bytes that the process may lock, as RLIMIT_MEMLOCK says now;
 *	UINT64_MAX for no limit
 * @cache_bytes: how much may stay registered that nobody has registered
 */
struct virtgpu_userptr_caps {
	size_t struct_size;
	uint32_t flags;
	uint32_t alignment;
	uint64_t max_size;
	uint64_t max_segments;
	uint64_t memlock;
	uint64_t cache_bytes;
};

/**
 * virtgpu_userptr_get_caps() - what can be registered
 * @ctx: context
 * @caps: out, with @struct_size set
 *
 * Return: 0 or a negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_get_caps(struct virtgpu_userptr *ctx,
						 struct virtgpu_userptr_caps *caps);

/**
 * virtgpu_userptr_register() - register memory
 * @ctx: context
 * @addr: first byte, at any address
 * @size: bytes, any number but 0
 * @flags: VIRTGPU_USERPTR_REG_*
 * @reg: out
 *
 * The pages that the range lies in are pinned and charged, and the host has
 * accepted them, when this returns.  What is registered already, or was and is still
 * kept, is shared, after the kernel was asked whether it is still that memory.
 *
 * The same range may be registered any number of times, and is to be deregistered
 * as often; it is the same registration as long as it has not been revoked.
 *
 * Return: 0 or a negative errno, see virtgpu_userptr_register(3).
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_register(struct virtgpu_userptr *ctx, const void *addr,
						 size_t size, uint32_t flags,
						 struct virtgpu_userptr_reg *reg);

/**
 * virtgpu_userptr_get_pieces() - what a registration is made of
 * @ctx: context
 * @reg: registration
 * @pieces: out, in the order of their addresses
 * @max: room in @pieces
 *
 * Return: how many pieces there are, of which @max at most are written; -ENOENT if
 * there is no such registration.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_get_pieces(struct virtgpu_userptr *ctx,
						   const struct virtgpu_userptr_reg *reg,
						   struct virtgpu_userptr_piece *pieces,
						   unsigned int max);

/**
 * virtgpu_userptr_is_live() - has a registration not been revoked?
 * @ctx: context
 * @reg: registration
 *
 * Asks the kernel.
 *
 * Return: 1, 0 if it was revoked, -ENOENT if there is no such registration, or
 * another negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_is_live(struct virtgpu_userptr *ctx,
						const struct virtgpu_userptr_reg *reg);

/**
 * virtgpu_userptr_deregister() - undo one virtgpu_userptr_register(), by address
 * @ctx: context
 * @addr: as it was registered
 * @size: as it was registered
 *
 * If there are several, with different flags, it is the one that is the youngest.
 * Who deregisters memory that is freed already may hit somebody else's registration
 * of what is there now: use virtgpu_userptr_release() then.
 *
 * Return: 0, or -ENOENT if there is none.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_deregister(struct virtgpu_userptr *ctx, const void *addr,
						   size_t size);

/**
 * virtgpu_userptr_release() - undo one virtgpu_userptr_register(), by its number
 * @ctx: context
 * @reg: what that returned
 *
 * Return: 0, or -ENOENT if there is no such registration any more.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_release(struct virtgpu_userptr *ctx,
						const struct virtgpu_userptr_reg *reg);

/* ---- what was taken back ---------------------------------------------------- */

/**
 * virtgpu_userptr_get_fd() - what to poll for
 * @ctx: context
 *
 * Return: a descriptor that is readable when virtgpu_userptr_dispatch() has something
 * to do; or a negative errno.  It is the library's, and not to be closed or read.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_get_fd(struct virtgpu_userptr *ctx);

/**
 * virtgpu_userptr_dispatch() - read the file's events, and tell what was revoked
 * @ctx: context
 *
 * Does not wait.  Nobody else may read events of the file then.
 *
 * Return: how many registrations options.revoked was called for, or a negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_dispatch(struct virtgpu_userptr *ctx);

/**
 * virtgpu_userptr_handle_event() - for who reads the file's events himself
 * @ctx: context
 * @event: an event that was read from the file, of any type
 *
 * options.revoked is called for what was revoked, as in virtgpu_userptr_dispatch().
 *
 * Return: 1 if the event was for the library, 0 if not, or a negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_handle_event(struct virtgpu_userptr *ctx,
						     const struct drm_event *event);

/* ---- the rest --------------------------------------------------------------- */

/**
 * virtgpu_userptr_trim() - give back what nobody has registered
 * @ctx: context
 * @bytes: how much of it may stay
 *
 * Return: 0 or a negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_trim(struct virtgpu_userptr *ctx, uint64_t bytes);

/**
 * struct virtgpu_userptr_stats - what a context has done, and has
 * @struct_size: in, sizeof(struct virtgpu_userptr_stats)
 * @hits: times that a resource was shared, or used again
 * @misses: resources that were made
 * @stale: of what a look-up found, what was not that memory any more
 * @revoked: resources whose memory was given back
 * @evicted: resources that were given back to make room
 * @registrations: registrations, revoked ones that nobody was told of included
 * @resources: resources
 * @held_bytes: bytes of the resources that registrations use
 * @idle_bytes: bytes of those that are kept
 * @unannounced: resources that have no event of their own, see virtgpu-userptr(7)
 */
struct virtgpu_userptr_stats {
	size_t struct_size;
	uint64_t hits;
	uint64_t misses;
	uint64_t stale;
	uint64_t revoked;
	uint64_t evicted;
	uint64_t registrations;
	uint64_t resources;
	uint64_t held_bytes;
	uint64_t idle_bytes;
	uint64_t unannounced;
};

/**
 * virtgpu_userptr_get_stats() - what a context has done, and has
 * @ctx: context
 * @stats: out, with @struct_size set
 *
 * Return: 0 or a negative errno.
 */
VIRTGPU_USERPTR_API int virtgpu_userptr_get_stats(struct virtgpu_userptr *ctx,
						  struct virtgpu_userptr_stats *stats);

/**
 * virtgpu_userptr_error() - what went wrong last in the calling thread
 *
 * Return: a sentence or two, without a newline; the empty string if nothing did.  It
 * is good until the thread's next call of the library.
 */
VIRTGPU_USERPTR_API const char *virtgpu_userptr_error(void);

#ifdef __cplusplus
}
#endif

#endif /* VIRTGPU_USERPTR_H */
