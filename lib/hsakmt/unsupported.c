// SPDX-License-Identifier: MIT
/*
 * unsupported: queues and events
 *
 * Commands go to the GPU through the context of the render node, as those of a Vulkan
 * driver do: there are no queues in user memory here, and no events of KFD.  Who asks
 * for them is told so.
 */
#include "gpu.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define NOT_SUPPORTED HSAKMT_STATUS_NOT_SUPPORTED

HSAKMT_STATUS hsaKmtCreateQueue(HSAuint32 NodeId, HSA_QUEUE_TYPE Type, HSAuint32 QueuePercentage,
				HSA_QUEUE_PRIORITY Priority, void *QueueAddress,
				HSAuint64 QueueSizeInBytes, HsaEvent *Event,
				HsaQueueResource *QueueResource)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtUpdateQueue(HSA_QUEUEID QueueId, HSAuint32 QueuePercentage,
				HSA_QUEUE_PRIORITY Priority, void *QueueAddress,
				HSAuint64 QueueSize, HsaEvent *Event)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtDestroyQueue(HSA_QUEUEID QueueId)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtSetQueueCUMask(HSA_QUEUEID QueueId, HSAuint32 CUMaskCount,
				   HSAuint32 *QueueCUMask)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtGetQueueInfo(HSA_QUEUEID QueueId, HsaQueueInfo *QueueInfo)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtAllocQueueGWS(HSA_QUEUEID QueueId, HSAuint32 nGWS, HSAuint32 *firstGWS)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtCreateEvent(HsaEventDescriptor *EventDesc, bool ManualReset, bool IsSignaled,
				HsaEvent **Event)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtDestroyEvent(HsaEvent *Event)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtSetEvent(HsaEvent *Event)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtResetEvent(HsaEvent *Event)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtQueryEventState(HsaEvent *Event)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtWaitOnEvent(HsaEvent *Event, HSAuint32 Milliseconds)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtWaitOnEvent_Ext(HsaEvent *Event, HSAuint32 Milliseconds, uint64_t *event_age)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtWaitOnMultipleEvents(HsaEvent *Events[], HSAuint32 NumEvents, bool WaitOnAll,
					 HSAuint32 Milliseconds)
{
	return NOT_SUPPORTED;
}

HSAKMT_STATUS hsaKmtWaitOnMultipleEvents_Ext(HsaEvent *Events[], HSAuint32 NumEvents,
					     bool WaitOnAll, HSAuint32 Milliseconds,
					     uint64_t *event_age)
{
	return NOT_SUPPORTED;
}
