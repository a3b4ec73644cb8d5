/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-gpu userptr resources: tracepoints
 *
 * create (the ioctl's arguments and outcome), each chunk, destroy, each state
 * transition, and each look at memory that something may have happened to.
 * Resource ids are those of the ioctls and of the wire.
 */
#if !defined(_VIRTGPU_USERPTR_TRACE_H_) || defined(TRACE_HEADER_MULTI_READ)
#define _VIRTGPU_USERPTR_TRACE_H_

#include <linux/tracepoint.h>

#include "virtgpu_userptr.h"

#undef TRACE_SYSTEM
#define TRACE_SYSTEM virtio_gpu_userptr
#define TRACE_INCLUDE_FILE virtgpu_userptr_trace

TRACE_DEFINE_ENUM(VIRTIO_GPU_USERPTR_CREATING);
TRACE_DEFINE_ENUM(VIRTIO_GPU_USERPTR_LIVE);
TRACE_DEFINE_ENUM(VIRTIO_GPU_USERPTR_REVOKING);
TRACE_DEFINE_ENUM(VIRTIO_GPU_USERPTR_DEAD);

#define show_userptr_state(state) \
	__print_symbolic(state, \
		{ VIRTIO_GPU_USERPTR_CREATING,	"CREATING" }, \
		{ VIRTIO_GPU_USERPTR_LIVE,	"LIVE" }, \
		{ VIRTIO_GPU_USERPTR_REVOKING,	"REVOKING" }, \
		{ VIRTIO_GPU_USERPTR_DEAD,	"DEAD" })

TRACE_EVENT(virtio_gpu_userptr_create,
	    TP_PROTO(u32 res_id, u64 addr, u64 size, u32 flags, u32 segments, int ret),
	    TP_ARGS(res_id, addr, size, flags, segments, ret),
	    TP_STRUCT__entry(__field(u64, addr)
			     __field(u64, size)
			     __field(u32, res_id)
			     __field(u32, flags)
			     __field(u32, segments)
			     __field(int, ret)),
	    TP_fast_assign(__entry->addr = addr;
			   __entry->size = size;
			   __entry->res_id = res_id;
			   __entry->flags = flags;
			   __entry->segments = segments;
			   __entry->ret = ret;),
	    TP_printk("res=%u addr=0x%llx size=%llu flags=0x%x segments=%u ret=%d",
		      __entry->res_id, __entry->addr, __entry->size, __entry->flags,
		      __entry->segments, __entry->ret)
);

TRACE_EVENT(virtio_gpu_userptr_chunk,
	    TP_PROTO(u32 res_id, u64 offset, u32 entries),
	    TP_ARGS(res_id, offset, entries),
	    TP_STRUCT__entry(__field(u64, offset)
			     __field(u32, res_id)
			     __field(u32, entries)),
	    TP_fast_assign(__entry->offset = offset;
			   __entry->res_id = res_id;
			   __entry->entries = entries;),
	    TP_printk("res=%u offset=%llu entries=%u",
		      __entry->res_id, __entry->offset, __entry->entries)
);

TRACE_EVENT(virtio_gpu_userptr_destroy,
	    TP_PROTO(u32 res_id),
	    TP_ARGS(res_id),
	    TP_STRUCT__entry(__field(u32, res_id)),
	    TP_fast_assign(__entry->res_id = res_id;),
	    TP_printk("res=%u",
		      __entry->res_id)
);

TRACE_EVENT(virtio_gpu_userptr_state,
	    TP_PROTO(u32 res_id, unsigned int from, unsigned int to),
	    TP_ARGS(res_id, from, to),
	    TP_STRUCT__entry(__field(u32, res_id)
			     __field(unsigned int, from)
			     __field(unsigned int, to)),
	    TP_fast_assign(__entry->res_id = res_id;
			   __entry->from = from;
			   __entry->to = to;),
	    TP_printk("res=%u %s -> %s",
		      __entry->res_id,
		      show_userptr_state(__entry->from),
		      show_userptr_state(__entry->to))
);

TRACE_EVENT(virtio_gpu_userptr_verify,
	    TP_PROTO(u32 res_id, u64 start, u64 last, bool diverged),
	    TP_ARGS(res_id, start, last, diverged),
	    TP_STRUCT__entry(__field(u64, start)
			     __field(u64, last)
			     __field(u32, res_id)
			     __field(bool, diverged)),
	    TP_fast_assign(__entry->start = start;
			   __entry->last = last;
			   __entry->res_id = res_id;
			   __entry->diverged = diverged;),
	    TP_printk("res=%u start=0x%llx last=0x%llx diverged=%d",
		      __entry->res_id, __entry->start, __entry->last, __entry->diverged)
);

#endif /* _VIRTGPU_USERPTR_TRACE_H_ */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#include <trace/define_trace.h>
