/* SPDX-License-Identifier: MIT */
/*
 * native: an amdgpu through its native context
 *
 * What the backend's files share.  The device has a context for the open node, whose
 * commands are in <virtgpu_amdgpu.h>; they go there one at a time, and each is waited
 * for, so that there is one place for answers.
 *
 * Nothing that the device says is trusted: answers are copied before they are looked
 * at, numbers are checked where they decide something here, and nothing waits without
 * end.  A device that does not keep to the protocol has lost its context: whatever is
 * asked of it then fails, and nothing is sent any more.
 *
 * Invariant: no two mappings overlap, and none that may still be reached by the GPU is
 * given to another resource.
 *
 * Locking: as in gpu.h, one call at a time.
 */
#ifndef HSAKMT_NATIVE_H
#define HSAKMT_NATIVE_H

#include <endian.h>

#include <amdgpu_drm.h>

#include "gpu.h"
#include "interval.h"
#include "virtgpu_amdgpu.h"

#if __BYTE_ORDER != __LITTLE_ENDIAN
#error "commands and answers are used as they are: little-endian"
#endif

/* Whose GPU is meant, if there is more than one; see hsakmt-virtgpu(7). */
#define NATIVE_NODE_VARIABLE "HSAKMT_VIRTGPU_NODE"

/* Bytes of the response memory. */
#define NATIVE_SHMEM_SIZE 0x4000
/* Bytes of the longest answer. */
#define NATIVE_MAX_ANSWER 0x800
/* The ring of the CPU. */
#define NATIVE_RING_CPU 0

/**
 * struct native_blob - memory of the context
 * @handle: GEM handle, 0 if there is none
 * @res: resource id
 * @map: in this process
 * @size: bytes
 */
struct native_blob {
	uint32_t handle;
	uint32_t res;
	void *map;
	uint64_t size;
};

/**
 * struct native_va - the GPU's addresses
 * @used: those that are not free; &native_mapping.node
 * @first: lowest address
 * @end: behind the highest one
 * @align: they are multiples of this, as are sizes
 * @cursor: where to look first, so that no address comes again soon
 */
struct native_va {
	struct interval_tree used;
	uint64_t first;
	uint64_t end;
	uint64_t align;
	uint64_t cursor;
};

/**
 * struct native_mapping - a range that has an address
 * @node: its addresses, and a gap behind them
 * @size: bytes without the gap
 * @res: resource
 * @offset: of the range in it
 */
struct native_mapping {
	struct interval_node node;
	uint64_t size;
	uint32_t res;
	uint64_t offset;
};

/**
 * struct native_hw_ip - the front of struct drm_amdgpu_info_hw_ip
 * @major: version
 * @minor: version
 * @capabilities: flags
 * @start_alignment: of command buffers, bytes
 * @size_alignment: of command buffers, bytes
 * @rings: a bit for each that there is
 * @discovery_version: major, minor, revision; 8 bits each; 0 from old kernels, and
 *	padding in old headers
 */
struct native_hw_ip {
	uint32_t major;
	uint32_t minor;
	uint64_t capabilities;
	uint32_t start_alignment;
	uint32_t size_alignment;
	uint32_t rings;
	uint32_t discovery_version;
};

/**
 * struct native_info - what the device says of the GPU
 * @device: properties
 * @memory: sizes
 * @gfx: engine
 * @compute: engine
 * @dma: engine
 * @gfx_firmware: version of the compute queues' firmware
 * @dma_firmware: version
 */
struct native_info {
	struct drm_amdgpu_info_device device;
	struct drm_amdgpu_memory_info memory;
	struct native_hw_ip gfx;
	struct native_hw_ip compute;
	struct native_hw_ip dma;
	uint32_t gfx_firmware;
	uint32_t dma_firmware;
};

/**
 * struct native_copier - what it takes to submit a job
 * @ctx_id: context of the GPU's scheduler, 0 if there is none
 * @ib: command buffer; at its end is what the job writes when all is done
 * @va: its address
 * @value: that the last job was to write there
 */
struct native_copier {
	uint32_t ctx_id;
	struct native_blob ib;
	uint64_t va;
	uint32_t value;
};

/**
 * struct hsakmt_gpu - an open node
 * @fd: its descriptor
 * @minor: its number
 * @lost: the context is
 * @refused: a command without an answer was, and somebody knows
 * @errors: the device had counted then
 * @shmem: response memory
 * @rsp_offset: where answers begin in it
 * @seqno: of the last command
 * @blob_id: of the last buffer
 * @va: addresses
 * @info: properties
 * @copier: see there
 */
struct hsakmt_gpu {
	int fd;
	uint32_t minor;
	bool lost;
	bool refused;
	uint32_t errors;
	struct native_blob shmem;
	uint32_t rsp_offset;
	uint32_t seqno;
	uint64_t blob_id;
	struct native_va va;
	struct native_info info;
	struct native_copier copier;
};

/* native_node.c */

int native_node_open(struct hsakmt_gpu *gpu);

/* native_stream.c */

extern unsigned int native_timeout_ms;

int native_ioctl(int fd, unsigned long request, void *arg);
int native_stream_open(struct hsakmt_gpu *gpu);
int native_call(struct hsakmt_gpu *gpu, uint32_t ring, struct amdvgpu_req *req,
		struct amdvgpu_rsp *rsp, uint32_t size);
int native_new_buffer(struct hsakmt_gpu *gpu, uint64_t size, struct native_blob *blob);
void native_blob_destroy(struct hsakmt_gpu *gpu, struct native_blob *blob);

/* native_va.c */

int native_va_init(struct native_va *va, uint64_t first, uint64_t end, uint64_t align);
int native_va_alloc(struct native_va *va, uint64_t size, struct interval_node *node);
void native_va_free(struct native_va *va, struct interval_node *node);

/* native_map.c */

int native_map(struct hsakmt_gpu *gpu, const struct hsakmt_gpu_range *range, uint64_t *va);
void native_unmap(struct hsakmt_gpu *gpu, uint64_t va, uint64_t size);
void native_map_forget(struct hsakmt_gpu *gpu);

/* native_info.c */

int native_info_query(struct hsakmt_gpu *gpu);
void native_node_properties(struct hsakmt_gpu *gpu, HsaNodeProperties *properties);
unsigned int native_nr_banks(struct hsakmt_gpu *gpu);
void native_memory_properties(struct hsakmt_gpu *gpu, unsigned int bank,
			      HsaMemoryProperties *properties);

/* native_chip.c */

/**
 * struct native_chip - what follows from a chip's version, and no ioctl says
 * @version: of its graphics, as &native_hw_ip.discovery_version
 * @target: what compilers call it: 10000 * major + 100 * minor + stepping
 * @simds: of a compute unit
 * @waves: of each of these at most
 * @lds_kib: memory that a group of waves shares
 */
struct native_chip {
	uint32_t version;
	uint32_t target;
	uint8_t simds;
	uint8_t waves;
	uint8_t lds_kib;
};

const struct native_chip *native_chip(uint32_t version);

/* native_copy.c */

int native_copy(struct hsakmt_gpu *gpu, uint64_t dst, uint64_t src, uint64_t size);
void native_copy_close(struct hsakmt_gpu *gpu);

#endif /* HSAKMT_NATIVE_H */
