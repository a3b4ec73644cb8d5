/* SPDX-License-Identifier: MIT */
/*
 * The amdgpu native context: its command stream
 *
 * What the amdgpu-virtio winsys of Mesa (since 25.0) and a device say to each other
 * in a context of capset VIRTIO_GPU_CAPSET_DRM whose context type is amdgpu.  The
 * protocol is Mesa's and libvirglrenderer's (amdgpu_virtio_proto.h, drm_hw.h); this is
 * a description of our own, for the device in host/ and the library in lib/.
 *
 * A SUBMIT_3D is a sequence of commands, each a struct amdvgpu_req and what belongs to
 * it.  Its length is a multiple of 8.  A command that is answered names a place in
 * the response memory: a blob of the context, with blob_id 0 and mappable, that starts
 * with struct amdvgpu_shmem.  The guest writes to the first word there how many bytes
 * it has left for the answer; the device writes that many at most, and after that the
 * command's seqno to the front of the blob.
 *
 * Commands are executed in the order of their seqnos, when the stream is executed, on
 * whatever ring it comes.  Ring 0 of the context is that of the CPU; a fence on it
 * says that the stream was executed.  Each queue of the GPU has a ring of its own, from
 * 1, in the order of AMDGPU_HW_IP_* and of the queues of each (drm_amdgpu_info_hw_ip's
 * available_rings); a fence on it says that all jobs are over that were submitted for
 * it until then.
 *
 * All fields are little-endian.  Resources are named by the ids of the virtio-gpu
 * device, and must be attached to the context.
 */
#ifndef VIRTGPU_AMDGPU_H
#define VIRTGPU_AMDGPU_H

#include <linux/types.h>

/* Capset and context type; VIRTIO_GPU_CAPSET_DRM of <linux/virtio_gpu.h> where it is known. */
#define AMDVGPU_CAPSET_DRM		6
#define AMDVGPU_CONTEXT_TYPE		2
/* Rings that a context has at most, that of the CPU included. */
#define AMDVGPU_MAX_RINGS		64

/**
 * enum amdvgpu_command - what amdvgpu_req.cmd says
 * @AMDVGPU_QUERY_INFO: DRM_IOCTL_AMDGPU_INFO
 * @AMDVGPU_GEM_NEW: make a buffer, for a CREATE_BLOB with the same blob_id to follow;
 *	not answered
 * @AMDVGPU_BO_VA_OP: map or unmap in the GPU's address space of the context
 * @AMDVGPU_CS_SUBMIT: DRM_IOCTL_AMDGPU_CS
 * @AMDVGPU_SET_METADATA: DRM_IOCTL_AMDGPU_GEM_METADATA, set
 * @AMDVGPU_BO_QUERY_INFO: the same, get, and how it was made
 * @AMDVGPU_CREATE_CTX: DRM_IOCTL_AMDGPU_CTX, allocate or free
 * @AMDVGPU_RESERVE_VMID: DRM_IOCTL_AMDGPU_VM
 * @AMDVGPU_SET_PSTATE: DRM_IOCTL_AMDGPU_CTX, stable power state
 * @AMDVGPU_CS_QUERY_FENCE_STATUS: DRM_IOCTL_AMDGPU_WAIT_CS
 */
enum amdvgpu_command {
	AMDVGPU_QUERY_INFO = 1,
	AMDVGPU_GEM_NEW,
	AMDVGPU_BO_VA_OP,
	AMDVGPU_CS_SUBMIT,
	AMDVGPU_SET_METADATA,
	AMDVGPU_BO_QUERY_INFO,
	AMDVGPU_CREATE_CTX,
	AMDVGPU_RESERVE_VMID,
	AMDVGPU_SET_PSTATE,
	AMDVGPU_CS_QUERY_FENCE_STATUS,
};

/**
 * struct amdvgpu_req - in front of every command
 * @cmd: enum amdvgpu_command
 * @len: bytes of the command, with this; a multiple of 8
 * @seqno: one more than that of the command before
 * @rsp_off: where the answer goes: bytes behind amdvgpu_shmem.rsp_mem_offset, a
 *	multiple of 8
 */
struct amdvgpu_req {
	__le32 cmd;
	__le32 len;
	__le32 seqno;
	__le32 rsp_off;
};

/**
 * struct amdvgpu_rsp - in front of every answer
 * @len: bytes that the guest has room for, with this; written by the guest
 * @ret: 0 or a negative errno
 */
struct amdvgpu_rsp {
	__le32 len;
	__le32 ret;
};

/**
 * struct amdvgpu_heap - struct amdgpu_heap_info of libdrm
 * @size: bytes that there are
 * @usage: bytes in use, by anybody
 * @max_allocation: bytes of the largest buffer
 */
struct amdvgpu_heap {
	__le64 size;
	__le64 usage;
	__le64 max_allocation;
};

/**
 * struct amdvgpu_shmem - the front of the response memory, written by the device
 * @seqno: of the last command that was executed
 * @rsp_mem_offset: where answers begin, bytes from the front: at least the size of what
 *	the device knows of this struct
 * @async_error: how many of these have failed: GEM_NEW, CS_SUBMIT, its jobs, and streams
 *	that are malformed; not 0: the context is lost, for who does not know of it
 * @pad: 0
 * @gtt: system memory for the GPU
 * @vram: the card's memory
 * @vis_vram: the part of it that the CPU can reach
 */
struct amdvgpu_shmem {
	__le32 seqno;
	__le32 rsp_mem_offset;
	__le32 async_error;
	__le32 pad;
	struct amdvgpu_heap gtt;
	struct amdvgpu_heap vram;
	struct amdvgpu_heap vis_vram;
};

/**
 * struct amdvgpu_query_info - AMDVGPU_QUERY_INFO
 * @req: see there
 * @return_pointer: not used
 * @return_size: bytes that the answer has behind struct amdvgpu_rsp
 * @query: AMDGPU_INFO_*
 * @argument: the rest of struct drm_amdgpu_info
 */
struct amdvgpu_query_info {
	struct amdvgpu_req req;
	__le64 return_pointer;
	__le32 return_size;
	__le32 query;
	__le32 argument[4];
};

/**
 * struct amdvgpu_gem_new - AMDVGPU_GEM_NEW
 * @req: see there
 * @blob_id: of the context, not 0, not one that waits for its CREATE_BLOB
 * @size: bytes
 * @alignment: in the memory of the GPU, bytes
 * @domain: AMDGPU_GEM_DOMAIN_*
 * @pad: 0
 * @flags: AMDGPU_GEM_CREATE_*
 */
struct amdvgpu_gem_new {
	struct amdvgpu_req req;
	__le64 blob_id;
	__le64 size;
	__le64 alignment;
	__le32 domain;
	__le32 pad;
	__le64 flags;
};

/* amdvgpu_bo_va_op.flags2: there is no memory, @res_id is 0. */
#define AMDVGPU_VA_OP_SPARSE		(1 << 0)

/**
 * struct amdvgpu_bo_va_op - AMDVGPU_BO_VA_OP, answered with struct amdvgpu_rsp
 * @req: see there
 * @va: address for the GPU
 * @size: bytes
 * @flags: AMDGPU_VM_*
 * @flags2: AMDVGPU_VA_OP_*
 * @offset: bytes into the resource
 * @res_id: resource
 * @op: AMDGPU_VA_OP_*
 */
struct amdvgpu_bo_va_op {
	struct amdvgpu_req req;
	__le64 va;
	__le64 size;
	__le64 flags;
	__le64 flags2;
	__le64 offset;
	__le32 res_id;
	__le32 op;
};

#define AMDVGPU_MAX_CHUNKS		128

/**
 * struct amdvgpu_chunk - where a chunk of a CS_SUBMIT is
 * @id: AMDGPU_CHUNK_ID_*: _IB, _FENCE, _DEPENDENCIES, or _BO_HANDLES, which is an array
 *	of struct drm_amdgpu_bo_list_entry here, whose handles are resources, as is that
 *	of _FENCE
 * @length_dw: bytes / 4
 * @offset: bytes behind the last struct amdvgpu_chunk
 */
struct amdvgpu_chunk {
	__le16 id;
	__le16 length_dw;
	__le32 offset;
};

/**
 * struct amdvgpu_cs_submit - AMDVGPU_CS_SUBMIT, answered with struct amdvgpu_rsp
 * @req: see there
 * @ctx_id: of CREATE_CTX
 * @num_chunks: AMDVGPU_MAX_CHUNKS at most
 * @pad: 0
 * @ring_idx: the ring of the context whose fences wait for the job; not 0
 * @chunks: that many, and what they have
 */
struct amdvgpu_cs_submit {
	struct amdvgpu_req req;
	__le32 ctx_id;
	__le32 num_chunks;
	__le32 pad;
	__le32 ring_idx;
	struct amdvgpu_chunk chunks[];
};

/* Words of the metadata that a driver can store with a buffer. */
#define AMDVGPU_METADATA_WORDS		64

/**
 * struct amdvgpu_set_metadata - AMDVGPU_SET_METADATA, answered with struct amdvgpu_rsp
 * @req: see there
 * @flags: AMDGPU_GEM_METADATA_*
 * @tiling_info: AMDGPU_TILING_*
 * @res_id: resource
 * @size_metadata: bytes of @metadata
 * @metadata: the driver's own
 */
struct amdvgpu_set_metadata {
	struct amdvgpu_req req;
	__le64 flags;
	__le64 tiling_info;
	__le32 res_id;
	__le32 size_metadata;
	__le32 metadata[];
};

/**
 * struct amdvgpu_bo_query_info - AMDVGPU_BO_QUERY_INFO
 * @req: see there
 * @res_id: resource
 * @pad: 0
 */
struct amdvgpu_bo_query_info {
	struct amdvgpu_req req;
	__le32 res_id;
	__le32 pad;
};

/**
 * struct amdvgpu_bo_query_info_rsp - the answer
 * @rsp: see there
 * @size: bytes
 * @alignment: see struct amdvgpu_gem_new, as what follows
 * @domain: see there
 * @pad: 0
 * @flags: see there
 * @metadata_flags: see struct amdvgpu_set_metadata, as what follows
 * @tiling_info: see there
 * @size_metadata: see there
 * @metadata: see there
 * @pad2: 0
 */
struct amdvgpu_bo_query_info_rsp {
	struct amdvgpu_rsp rsp;
	__le64 size;
	__le64 alignment;
	__le32 domain;
	__le32 pad;
	__le64 flags;
	__le64 metadata_flags;
	__le64 tiling_info;
	__le32 size_metadata;
	__le32 metadata[AMDVGPU_METADATA_WORDS];
	__le32 pad2;
};

/* amdvgpu_create_ctx.flags: destroy @id instead. */
#define AMDVGPU_CTX_DESTROY		(1 << 0)

/**
 * struct amdvgpu_create_ctx - AMDVGPU_CREATE_CTX
 * @req: see there
 * @priority: AMDGPU_CTX_PRIORITY_*, signed; if destroyed: its id
 * @flags: AMDVGPU_CTX_*
 */
struct amdvgpu_create_ctx {
	struct amdvgpu_req req;
	__le32 priority;
	__le32 flags;
};

/**
 * struct amdvgpu_create_ctx_rsp - the answer
 * @rsp: see there
 * @ctx_id: not 0
 * @pad: 0
 */
struct amdvgpu_create_ctx_rsp {
	struct amdvgpu_rsp rsp;
	__le32 ctx_id;
	__le32 pad;
};

/* amdvgpu_reserve_vmid.flags: give it back instead. */
#define AMDVGPU_VMID_UNRESERVE		(1 << 0)

/**
 * struct amdvgpu_reserve_vmid - AMDVGPU_RESERVE_VMID, answered with struct amdvgpu_rsp
 * @req: see there
 * @flags: AMDVGPU_VMID_*
 */
struct amdvgpu_reserve_vmid {
	struct amdvgpu_req req;
	__le64 flags;
};

/**
 * struct amdvgpu_set_pstate - AMDVGPU_SET_PSTATE
 * @req: see there
 * @ctx_id: of CREATE_CTX
 * @op: AMDGPU_CTX_OP_GET_STABLE_PSTATE or _SET_STABLE_PSTATE
 * @flags: AMDGPU_CTX_STABLE_PSTATE_*
 * @pad: 0
 */
struct amdvgpu_set_pstate {
	struct amdvgpu_req req;
	__le32 ctx_id;
	__le32 op;
	__le32 flags;
	__le32 pad;
};

/**
 * struct amdvgpu_set_pstate_rsp - the answer
 * @rsp: see there
 * @out_flags: AMDGPU_CTX_STABLE_PSTATE_*
 * @pad: 0
 */
struct amdvgpu_set_pstate_rsp {
	struct amdvgpu_rsp rsp;
	__le32 out_flags;
	__le32 pad;
};

/**
 * struct amdvgpu_query_fence - AMDVGPU_CS_QUERY_FENCE_STATUS
 * @req: see there
 * @ctx_id: of CREATE_CTX
 * @ip_type: AMDGPU_HW_IP_*
 * @ip_instance: of it
 * @ring: of it
 * @fence: of the job; the first that a context submits to a queue has 1
 * @timeout: CLOCK_MONOTONIC of the host or, without AMDGPU_QUERY_FENCE_TIMEOUT_IS_ABSOLUTE
 *	in @flags, how long; nanoseconds
 * @flags: AMDGPU_QUERY_FENCE_*
 */
struct amdvgpu_query_fence {
	struct amdvgpu_req req;
	__le32 ctx_id;
	__le32 ip_type;
	__le32 ip_instance;
	__le32 ring;
	__le64 fence;
	__le64 timeout;
	__le64 flags;
};

/**
 * struct amdvgpu_query_fence_rsp - the answer
 * @rsp: see there
 * @expired: not 0: the job is over
 * @pad: 0
 */
struct amdvgpu_query_fence_rsp {
	struct amdvgpu_rsp rsp;
	__le32 expired;
	__le32 pad;
};

#endif /* VIRTGPU_AMDGPU_H */
