// SPDX-License-Identifier: MIT
/*
 * copy: the copy engine for whoever has no queue
 *
 * See hsakmt-virtgpu.h.
 *
 * Locking: &kfd.lock, for as long as the copy takes: what is unmapped meanwhile waits.
 */
#include <errno.h>

#include "kfd.h"

#include "hsakmt-virtgpu.h"

HSAKMT_STATUS hsaKmtVirtgpuCopy(HSAuint32 NodeId, HSAuint64 Destination, HSAuint64 Source,
				HSAuint64 SizeInBytes)
{
	int ret = -EOPNOTSUPP;

	if (!kfd_enter())
		return HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED;
	if (NodeId == NODE_GPU && kfd.ops->copy)
		ret = kfd.ops->copy(kfd.gpu, Destination, Source, SizeInBytes);
	kfd_leave();
	return NodeId == NODE_GPU ? kfd_status(ret) : HSAKMT_STATUS_INVALID_NODE_UNIT;
}
