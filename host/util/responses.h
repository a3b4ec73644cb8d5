/* SPDX-License-Identifier: MIT */
/*
 * responses: short names of the answers to commands
 *
 * Most functions that look at what a guest wants return the type of the answer,
 * VIRTIO_GPU_RESP_*, in host byte order.  Here are the ones that come up all the
 * time, under names that fit in a line; for .c files, and for all of them the same.
 * Each ERR_* is above each answer that says yes.
 */
#ifndef RESPONSES_H
#define RESPONSES_H

#include <linux/virtio_gpu.h>
#include <linux/virtio_gpu_userptr.h>

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define ERR_UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC
#define ERR_OUT_OF_MEMORY VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define ERR_INVALID_SCANOUT_ID VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID
#define ERR_INVALID_RESOURCE_ID VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID
#define ERR_INVALID_CONTEXT_ID VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define ERR_INVALID_PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define ERR_LIMIT VIRTIO_GPU_RESP_ERR_LIMIT
#define ERR_UNSUPPORTED VIRTIO_GPU_RESP_ERR_UNSUPPORTED

#endif /* RESPONSES_H */
