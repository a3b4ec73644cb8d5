// SPDX-License-Identifier: MIT
/*
 * topology: two nodes, the guest's processors and memory, and the GPU
 *
 * What is not known is 0.
 *
 * Locking: &kfd.lock.
 */
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "kfd.h"

#define NOT_OPENED HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED

HSAKMT_STATUS hsaKmtAcquireSystemProperties(HsaSystemProperties *SystemProperties)
{
	if (!kfd_enter())
		return NOT_OPENED;
	if (SystemProperties) {
		memset(SystemProperties, 0, sizeof(*SystemProperties));
		SystemProperties->NumNodes = NR_NODES;
		kfd.snapshot = true;
	}
	kfd_leave();
	return SystemProperties ? HSAKMT_STATUS_SUCCESS : HSAKMT_STATUS_INVALID_PARAMETER;
}

HSAKMT_STATUS hsaKmtReleaseSystemProperties(void)
{
	if (!kfd_enter())
		return NOT_OPENED;
	kfd.snapshot = false;
	kfd_leave();
	return HSAKMT_STATUS_SUCCESS;
}

/* The lock is held. */
static HSAKMT_STATUS check_node(HSAuint32 node, const void *properties)
{
	if (!properties)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	/* Nodes are those of a snapshot. */
	if (!kfd.snapshot || node >= NR_NODES)
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_STATUS hsaKmtGetNodeProperties(HSAuint32 NodeId, HsaNodeProperties *NodeProperties)
{
	HSAKMT_STATUS status;

	if (!kfd_enter())
		return NOT_OPENED;
	status = check_node(NodeId, NodeProperties);
	if (status == HSAKMT_STATUS_SUCCESS) {
		memset(NodeProperties, 0, sizeof(*NodeProperties));
		if (NodeId == NODE_CPU) {
			NodeProperties->NumCPUCores = sysconf(_SC_NPROCESSORS_ONLN);
			NodeProperties->NumMemoryBanks = 1;
			NodeProperties->DrmRenderMinor = -1;
		} else {
			kfd.ops->node_properties(kfd.gpu, NodeProperties);
			NodeProperties->NumMemoryBanks = kfd.ops->nr_memory_banks(kfd.gpu);
		}
	}
	kfd_leave();
	return status;
}

static void system_memory(HsaMemoryProperties *properties)
{
	struct sysinfo info;

	properties->HeapType = HSA_HEAPTYPE_SYSTEM;
	if (!sysinfo(&info))
		properties->SizeInBytes = (HSAuint64)info.totalram * info.mem_unit;
}

HSAKMT_STATUS hsaKmtGetNodeMemoryProperties(HSAuint32 NodeId, HSAuint32 NumBanks,
					    HsaMemoryProperties *MemoryProperties)
{
	HSAKMT_STATUS status;
	HSAuint32 i, nr = 1;

	if (!kfd_enter())
		return NOT_OPENED;
	status = check_node(NodeId, MemoryProperties);
	if (status == HSAKMT_STATUS_SUCCESS && NodeId == NODE_GPU)
		nr = kfd.ops->nr_memory_banks(kfd.gpu);
	if (status == HSAKMT_STATUS_SUCCESS && (!NumBanks || NumBanks > nr))
		status = HSAKMT_STATUS_INVALID_PARAMETER;
	for (i = 0; status == HSAKMT_STATUS_SUCCESS && i < NumBanks; i++) {
		memset(&MemoryProperties[i], 0, sizeof(MemoryProperties[i]));
		if (NodeId == NODE_CPU)
			system_memory(&MemoryProperties[i]);
		else
			kfd.ops->memory_properties(kfd.gpu, i, &MemoryProperties[i]);
	}
	kfd_leave();
	return status;
}
