/* SPDX-License-Identifier: MIT */
/*
 * library: libvirglrenderer, played
 *
 * Keeps what it is given as the real one does, and judges who calls it: ids that are
 * in use or unknown, calls in the wrong order, buffers that are not aligned, fences for
 * rings that there are not, streams of native contexts that name what the context does
 * not have, a worker's socket without room.
 *
 * What a worker does is in the command streams: words of 32 bits, an operation in the
 * lowest 8 and its argument in the rest (enum stream_op).
 *
 * Threads: see processes.h.
 */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Words of a Venus stream. */
enum stream_op {
	/* Attached memory is kept when it should be given up; or not any more. */
	STREAM_CLING,
	STREAM_LET_GO,
	STREAM_DIE,
	/* It reads no more, or again. */
	STREAM_DEAF,
	STREAM_HEAR,
	/* It answers no more, or again. */
	STREAM_MUTE,
	STREAM_SPEAK,
	/* Fences of the context wait, or are over. */
	STREAM_BUSY,
	STREAM_IDLE,
	/* The submission fails. */
	STREAM_FAIL,
	/* Of the next blob: it is memory of resource ARG; too small; has no map info; is a dma-buf. */
	STREAM_BLOB_USERPTR,
	STREAM_BLOB_SMALL,
	STREAM_BLOB_UNMAPPABLE,
	STREAM_BLOB_DMABUF,
	/* The next attach is remarked upon. */
	STREAM_COMPLAIN,
	/* The GPU works on resource ARG. */
	STREAM_FENCE,
	/* When it is killed it takes its time. */
	STREAM_TOUGH,
	NR_STREAM_OPS,
};

#define LIBRARY_VENUS 4u
#define LIBRARY_DRM 6u

/* With native contexts of @drm_type (0: none). */
void library_begin(uint32_t drm_type);
void library_end(void);
/* Fences that do not wait are over. */
void library_move_on(void);
/* Everything that waits does no more. */
void library_settle(void);

/*
 * native_stream.c: a stream of a native context, whose buffers @has knows.  Sets in *@rings
 * those that it submits to; 0 or a negative errno.
 */
int native_stream_run(const uint8_t *data, size_t len, bool amdgpu, bool (*has)(uint32_t id),
		      uint64_t *rings);

#endif /* LIBRARY_H */
