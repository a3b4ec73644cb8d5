/* SPDX-License-Identifier: MIT */
/*
 * The loopback context: its command stream
 *
 * VIRTIO_GPU_CAPSET_LOOPBACK is the reference context of the device in host/; its
 * number is between that device and the programs of this project, and no uapi.
 * It plays the GPU on the CPU, so that every property of the memory path can
 * be tested byte for byte on any machine.  One SUBMIT_3D (EXECBUFFER) carries
 * one struct loopback_submit and @nr_commands of struct loopback_command,
 * which are executed in order; the submissions of one ring are, too.  All
 * fields are little-endian, reserved fields are zero.
 *
 * Resources named here must be attached to the context.  Anything that can be
 * refused without running (unknown op, resource, range, a write to a read-only
 * resource) is refused before the first command runs.  The outcome is written
 * to the status struct, which lies in any attached, writable resource, and the
 * fence is signalled after that.
 */
#ifndef VIRTGPU_LOOPBACK_H
#define VIRTGPU_LOOPBACK_H

#include <linux/types.h>

#define VIRTIO_GPU_CAPSET_LOOPBACK	30

#define LOOPBACK_MAGIC		0x4b424f4cu	/* "LOBK" */
#define LOOPBACK_MAX_COMMANDS	64
#define LOOPBACK_SHA256_SIZE	32

enum loopback_op {
	/* dst[0, length) = byte @arg */
	LOOPBACK_OP_FILL = 1,
	/* dst[0, length) = src[0, length); the ranges must not overlap */
	LOOPBACK_OP_COPY = 2,
	/* dst[i] = ~src[i]; source and destination may be the same range */
	LOOPBACK_OP_INVERT = 3,
	/* dst[0, 32) = SHA-256 of src[0, length) */
	LOOPBACK_OP_SHA256 = 4,
	/* dst[0, sizeof) = struct loopback_stats; no source, length is ignored */
	LOOPBACK_OP_STATS = 5,
	/*
	 * Arm a fault (only with --allow-inject): of the commands of type
	 * @dst_res (VIRTIO_GPU_CMD_*, 0: any userptr command or attach) that
	 * come after this submission was accepted, let @dst_offset pass, and do
	 * @arg (enum loopback_fault) with the next @src_offset (0 means 1).
	 * @length is the fault's parameter.  A new fault replaces the old one.
	 */
	LOOPBACK_OP_INJECT = 6,
};

enum loopback_fault {
	LOOPBACK_FAULT_NONE = 0,	/* disarm */
	LOOPBACK_FAULT_ERROR = 1,	/* answer VIRTIO_GPU_RESP_* @length, do nothing else */
	LOOPBACK_FAULT_DELAY = 2,	/* do it, answer after @length milliseconds */
	LOOPBACK_FAULT_DROP = 3,	/* do it, never answer */
	LOOPBACK_FAULT_DIE = 4,		/* the device process exits at once */
};

/* loopback_status.state */
enum loopback_state {
	LOOPBACK_PENDING = 0,		/* what the guest writes before */
	LOOPBACK_DONE = 1,
	LOOPBACK_REFUSED = 2,		/* @index, @error: what and why; nothing ran */
	LOOPBACK_CANCELLED = 3,		/* a resource was destroyed while it ran */
};

/* loopback_status.error */
enum loopback_error {
	LOOPBACK_OK = 0,
	LOOPBACK_ERR_OP = 1,		/* unknown op, or op not enabled */
	LOOPBACK_ERR_RESOURCE = 2,	/* not attached to this context */
	LOOPBACK_ERR_RANGE = 3,		/* beyond the resource, or overlap */
	LOOPBACK_ERR_RDONLY = 4,	/* write to a read-only resource */
	LOOPBACK_ERR_MEMORY = 5,	/* the device ran out of memory */
};

/**
 * struct loopback_submit - head of a submission
 * @magic: LOOPBACK_MAGIC
 * @nr_commands: 1 to LOOPBACK_MAX_COMMANDS
 * @status_res: resource that holds the struct loopback_status, 0 for none
 * @reserved: 0
 * @status_offset: bytes into @status_res, a multiple of 4
 */
struct loopback_submit {
	__le32 magic;
	__le32 nr_commands;
	__le32 status_res;
	__le32 reserved;
	__le64 status_offset;
};

/**
 * struct loopback_command - one operation
 * @op: enum loopback_op
 * @arg: see there
 * @dst_res: resource that is written
 * @src_res: resource that is read
 * @dst_offset: bytes, any alignment
 * @src_offset: bytes, any alignment
 * @length: bytes, 0 is allowed
 */
struct loopback_command {
	__le32 op;
	__le32 arg;
	__le32 dst_res;
	__le32 src_res;
	__le64 dst_offset;
	__le64 src_offset;
	__le64 length;
};

/**
 * struct loopback_status - outcome of a submission
 * @state: enum loopback_state, written last
 * @index: command that was refused or cancelled
 * @error: enum loopback_error
 * @reserved: 0
 */
struct loopback_status {
	__le32 state;
	__le32 index;
	__le32 error;
	__le32 reserved;
};

/**
 * struct loopback_stats - what the device has seen and holds now
 * @userptr_resources: userptr resources, in whatever state
 * @userptr_segments: entries received for them
 * @userptr_runs: runs kept for them after merging
 * @userptr_bytes: bytes described by them
 * @blob_resources: guest blobs
 * @contexts: contexts
 * @commands: commands answered or being worked on since the front end connected
 * @userptr_commands: of these, CREATE_USERPTR, ADD_USERPTR_PAGES, DESTROY_USERPTR
 * @errors: commands that were answered with an error
 * @ring_bytes: bytes of all commands that came over the control queue
 * @userptr_ring_bytes: of these, bytes of the userptr commands, entries included
 * @userptr_created: userptr resources that became usable
 * @userptr_destroyed: DESTROY_USERPTR answered OK
 * @jobs: loopback commands executed
 */
struct loopback_stats {
	__le64 userptr_resources;
	__le64 userptr_segments;
	__le64 userptr_runs;
	__le64 userptr_bytes;
	__le64 blob_resources;
	__le64 contexts;
	__le64 commands;
	__le64 userptr_commands;
	__le64 errors;
	__le64 ring_bytes;
	__le64 userptr_ring_bytes;
	__le64 userptr_created;
	__le64 userptr_destroyed;
	__le64 jobs;
};

/**
 * struct loopback_capset - the capset's data
 * @version: 1
 * @ops: bit n: enum loopback_op n is enabled
 */
struct loopback_capset {
	__le32 version;
	__le32 ops;
};

#endif /* VIRTGPU_LOOPBACK_H */
