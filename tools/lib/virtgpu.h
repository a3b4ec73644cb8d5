/* SPDX-License-Identifier: MIT */
/*
 * virtgpu: thin layer over the virtio-gpu ioctls and the loopback context
 *
 * What the demo and the tests share; the ioctls of userptr resources themselves are
 * in lib/uapi, with the library.  Every function that talks to the kernel
 * returns 0 or a negative errno.  Only vg_submit() repeats an ioctl that a
 * signal interrupted: the tests want to see EINTR from the others.
 *
 * Invariant: a struct vg owns its descriptor and one small guest blob, in
 * which the device leaves statuses, digests and statistics.  It is used by one
 * thread at a time.
 */
#ifndef VIRTGPU_H
#define VIRTGPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/drm.h>
#include <drm/virtgpu_drm.h>
#include <drm/virtgpu_drm_userptr.h>
#include <linux/virtio_gpu_userptr.h>

#include "virtgpu_ioctl.h"
#include "virtgpu_loopback.h"

/* How long a submission may take before it counts as hung. */
#define VG_TIMEOUT_MS 20000

/* Bytes of the result blob: status, then results, a page each. */
#define VG_RESULT_STATUS 0
#define VG_RESULT_DATA 4096
#define VG_RESULT_SIZE 8192

/**
 * struct vg - one open render node with a loopback context
 * @fd: the descriptor
 * @rings: rings that the context was made with
 * @result: the blob that the device writes its answers to
 * @map: @result, VG_RESULT_SIZE bytes, in this process
 */
struct vg {
	int fd;
	uint32_t rings;
	struct vg_bo result;
	uint8_t *map;
};

/**
 * struct vg_copy - where a loopback command reads and writes
 * @dst_res: resource written
 * @src_res: resource read
 * @dst_offset: bytes into it
 * @src_offset: bytes into it
 * @length: bytes
 */
struct vg_copy {
	uint32_t dst_res;
	uint32_t src_res;
	uint64_t dst_offset;
	uint64_t src_offset;
	uint64_t length;
};

/**
 * struct vg_fault - a fault to arm in the device (LOOPBACK_OP_INJECT)
 * @fault: enum loopback_fault
 * @command: VIRTIO_GPU_CMD_*, 0 for any userptr command or attach
 * @skip: commands of that type that pass first
 * @count: commands that are hit, 0 means 1
 * @param: the fault's parameter
 */
struct vg_fault {
	uint32_t fault;
	uint32_t command;
	uint64_t skip;
	uint64_t count;
	uint64_t param;
};

int vg_open_node(const char *path);
int vg_open(struct vg *vg, const char *path, uint32_t rings);
int vg_open_polled(struct vg *vg, const char *path, uint32_t rings, uint64_t polled);
void vg_close(struct vg *vg);

int vg_getparam(int fd, uint64_t param, uint64_t *value);
int vg_context_init(int fd, uint32_t capset, uint32_t rings);
int vg_context_init_polled(int fd, uint32_t capset, uint32_t rings, uint64_t polled);
int vg_capset(int fd, uint32_t capset, void *data, size_t len);
int vg_blob_create(int fd, uint64_t size, struct vg_bo *bo);
int vg_map(int fd, uint32_t handle, uint64_t size, void **addr);
int vg_userptr_event(int fd, struct drm_virtgpu_event_userptr *event, int timeout_ms);

int vg_submit(struct vg *vg, uint32_t ring, const struct loopback_command *commands,
	      unsigned int nr, const uint32_t *handles, unsigned int nr_handles, int *fence);
int vg_wait_fence(int fence, int timeout_ms);
int vg_status(const struct vg *vg, struct loopback_status *status);

int vg_run(struct vg *vg, uint32_t ring, const struct loopback_command *commands, unsigned int nr);
int vg_fill(struct vg *vg, uint32_t res, uint64_t offset, uint64_t length, uint8_t byte);
int vg_copy(struct vg *vg, const struct vg_copy *copy);
int vg_invert(struct vg *vg, const struct vg_copy *copy);
int vg_sha256(struct vg *vg, uint32_t res, uint64_t offset, uint64_t length,
	      uint8_t digest[LOOPBACK_SHA256_SIZE]);
int vg_stats(struct vg *vg, struct loopback_stats *stats);
int vg_inject(struct vg *vg, const struct vg_fault *fault);

long vg_status_kib(const char *field);
int vg_wait_status_kib(const char *field, long kib, int timeout_ms);

#endif /* VIRTGPU_H */
