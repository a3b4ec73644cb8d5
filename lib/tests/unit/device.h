/* SPDX-License-Identifier: MIT */
/*
 * device: render nodes with an amdgpu native context, for the unit tests
 *
 * A stand-in for what is behind vg_ioctl(), open() and fstat(): nodes, and one device
 * that executes command streams as the description in <virtgpu_amdgpu.h> says, or as a
 * test wants it: &device.hostile says how it lies.  Its memory, which is what can be
 * mapped, is a memfd that all nodes open.  The copy engine notes what it is to copy.
 *
 * Invariant: what a client of the protocol must not do - numbers out of order, a length
 * that is none, a resource that is none - fails the program.
 *
 * For one thread.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <amdgpu_drm.h>

#include "virtgpu_amdgpu.h"

#define DEVICE_MAX 2048
#define DEVICE_SHMEM_SIZE 0x4000
#define DEVICE_NODES 4
#define DEVICE_STREAM 16384
/* Resource ids are handles, and this. */
#define DEVICE_RES 500

/**
 * enum hostile - what the device does instead of what it should
 * @HOSTILE_NOT: nothing
 * @HOSTILE_MUTE: no fence signals
 * @HOSTILE_FENCE: they are broken
 * @HOSTILE_IDLE: nothing is executed
 * @HOSTILE_SEQNO: the number is that of a command to come
 * @HOSTILE_SILENT: nothing is answered
 * @HOSTILE_LENGTH: the answer says that it is long
 * @HOSTILE_POSITIVE: its error is no error
 * @HOSTILE_ERRNO: its error is none that there is
 * @HOSTILE_ASYNC: it says that the context is lost
 * @HOSTILE_JOB: jobs are over before they are done
 */
enum hostile {
	HOSTILE_NOT,
	HOSTILE_MUTE,
	HOSTILE_FENCE,
	HOSTILE_IDLE,
	HOSTILE_SEQNO,
	HOSTILE_SILENT,
	HOSTILE_LENGTH,
	HOSTILE_POSITIVE,
	HOSTILE_ERRNO,
	HOSTILE_ASYNC,
	HOSTILE_JOB,
};

/**
 * struct device_node - renderD128 and those that follow
 * @driver: its name, NULL: there is no such node
 * @userptr: VIRTGPU_PARAM_USERPTR
 * @context_type: in the capset
 * @open_error: errno, positive
 */
struct device_node {
	const char *driver;
	int userptr;
	uint32_t context_type;
	int open_error;
};

/**
 * struct device_blob - memory of the device
 * @open: there is a handle
 * @offset: where it is
 * @size: bytes
 * @blob_id: as it was made with
 */
struct device_blob {
	bool open;
	uint64_t offset;
	uint64_t size;
	uint64_t blob_id;
};

/**
 * struct device_copy - that a job was to make
 * @dst: address
 * @src: address
 * @size: bytes
 */
struct device_copy {
	uint64_t dst;
	uint64_t src;
	uint64_t size;
};

/**
 * struct device - what it has, and is to do
 * @nodes: see there
 * @opened: which of them was opened last
 * @memory: of the device
 * @memfd: the same
 * @used: bytes of it
 * @blobs: by handle, from 1
 * @nr_blobs: made
 * @context: it was made, with
 * @rings: so many
 * @hostile: see there
 * @fail_after: so many ioctls work, and then
 * @fail: fail with this, negative
 * @fail_once: only one does
 * @refuse: command that is answered with
 * @refusal: this, negative
 * @rsp_offset: where answers begin
 * @unmappable: from this blob on they are not to be mapped
 * @seqno: of the last command
 * @ctx_id: of the last context of the scheduler
 * @contexts: there are
 * @info: answer to DEV_INFO
 * @memory_info: answer to MEMORY
 * @ips: answers to HW_IP_INFO, as in native.h
 * @maps: VA_OP_MAPs, the last one in the place that UNMAP looks at first
 * @nr_maps: how many
 * @ioctls: asked
 * @execs: EXECBUFFERs that were executed
 * @ring: of the last one
 * @stream: its command
 * @stream_size: bytes of it
 * @gem_new: the last command in front of a blob
 * @ib: dwords of the last job
 * @ib_size: how many
 * @copies: of all jobs
 * @nr_copies: how many
 */
struct device {
	struct device_node nodes[DEVICE_NODES];
	unsigned int opened;
	uint8_t *memory;
	int memfd;
	uint64_t used;
	struct device_blob blobs[16];
	unsigned int nr_blobs;
	bool context;
	uint64_t rings;
	enum hostile hostile;
	unsigned int fail_after;
	int fail;
	bool fail_once;
	uint32_t refuse;
	int refusal;
	uint32_t rsp_offset;
	unsigned int unmappable;
	uint32_t seqno;
	uint32_t ctx_id;
	unsigned int contexts;
	struct drm_amdgpu_info_device info;
	struct drm_amdgpu_memory_info memory_info;
	uint32_t ips[3][8];
	struct amdvgpu_bo_va_op maps[DEVICE_MAX];
	unsigned int nr_maps;
	unsigned int ioctls;
	unsigned int execs;
	uint32_t ring;
	uint8_t stream[DEVICE_STREAM];
	uint32_t stream_size;
	struct amdvgpu_gem_new gem_new;
	uint32_t ib[1024];
	uint32_t ib_size;
	struct device_copy copies[DEVICE_MAX];
	unsigned int nr_copies;
};

extern struct device device;

void device_reset(void);
unsigned int device_open_blobs(void);
unsigned int device_mappings(void);

#endif /* DEVICE_H */
