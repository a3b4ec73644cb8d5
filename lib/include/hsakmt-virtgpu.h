/* SPDX-License-Identifier: MIT */
/*
 * hsakmt-virtgpu: what libhsakmt-virtgpu has beside <hsakmt/hsakmt.h>
 *
 * The thunk's way to give the GPU work is a queue in user memory, which there is not
 * behind a virtio-gpu.  See hsakmt-virtgpu(7).
 */
#ifndef HSAKMT_VIRTGPU_H
#define HSAKMT_VIRTGPU_H

#include <hsakmt/hsakmt.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define HSAKMT_VIRTGPU_API __attribute__((visibility("default")))
#else
#define HSAKMT_VIRTGPU_API
#endif

/**
 * hsaKmtVirtgpuCopy() - let the GPU's copy engine copy, and wait until it is done
 * @NodeId: node of the GPU
 * @Destination: address on the GPU, as hsaKmtMapMemoryToGPU() says in AlternateVAGPU
 * @Source: likewise; the two ranges do not overlap
 * @SizeInBytes: how much; any alignment will do
 *
 * One that fails may have copied a part.
 *
 * Return: HSAKMT_STATUS_SUCCESS, or
 *	_ERROR: the GPU gave up, at an address that is not mapped or not to be written;
 *	_INVALID_NODE_UNIT, _INVALID_PARAMETER: such a copy cannot be;
 *	_NOT_SUPPORTED: there is no copy engine, or it is one of an unknown kind;
 *	_KERNEL_COMMUNICATION_ERROR, _KERNEL_IO_CHANNEL_NOT_OPENED, _NO_MEMORY,
 *	_OUT_OF_RESOURCES: as elsewhere in this interface
 */
HSAKMT_VIRTGPU_API HSAKMT_STATUS hsaKmtVirtgpuCopy(HSAuint32 NodeId, HSAuint64 Destination,
						   HSAuint64 Source, HSAuint64 SizeInBytes);

#ifdef __cplusplus
}
#endif

#endif /* HSAKMT_VIRTGPU_H */
