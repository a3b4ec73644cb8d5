// SPDX-License-Identifier: MIT
/*
 * memory: registering, allocating and mapping
 *
 * Memory is registered with libvirtgpu-userptr and gets an address on the GPU when it
 * is mapped.  Whatever is mapped is unmapped before its registration goes; where the
 * client has freed it without a word that is when memory_revoked() is called.
 *
 * Locking: &kfd.lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kfd.h"

#define NOT_OPENED HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED

static struct buffer *to_buffer(struct interval_node *node)
{
	/* A buffer begins with its node. */
	return (struct buffer *)node;
}

static uint64_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* One that begins at @addr before others, then the younger one. */
static bool is_better(const struct buffer *buffer, const struct buffer *than, uint64_t addr)
{
	bool begins = buffer->node.first == addr;

	if (!than)
		return true;
	if (begins != (than->node.first == addr))
		return begins;
	return buffer->reg.id > than->reg.id;
}

/* A buffer that contains the bytes; one that is mapped, if that is what is wanted. */
static struct buffer *find(uint64_t addr, uint64_t size, bool mapped)
{
	uint64_t last = addr + size - 1;
	struct interval_node *node;
	struct buffer *found = NULL;

	if (last < addr)
		return NULL;
	for (node = interval_first(&kfd.buffers, addr, last); node;
	     node = interval_next(&kfd.buffers, node, addr, last)) {
		if (node->first <= addr && node->last >= last &&
		    (!mapped || to_buffer(node)->mapped) && is_better(to_buffer(node), found, addr))
			found = to_buffer(node);
	}
	return found;
}

static struct buffer *find_start(uint64_t addr)
{
	struct buffer *buffer = find(addr, 1, false);

	return buffer && buffer->node.first == addr ? buffer : NULL;
}

static struct buffer *find_reg(const struct virtgpu_userptr_reg *reg)
{
	uint64_t last = reg->addr + reg->size - 1;
	struct interval_node *node;

	for (node = interval_first(&kfd.buffers, reg->addr, last); node;
	     node = interval_next(&kfd.buffers, node, reg->addr, last))
		if (to_buffer(node)->reg.id == reg->id)
			return to_buffer(node);
	return NULL;
}

static void set_range(const struct buffer *buffer, struct hsakmt_gpu_range *range)
{
	const struct virtgpu_userptr_piece *piece = &buffer->reg.piece;
	uint64_t mask = page_size() - 1;

	range->res_handle = piece->res_handle;
	range->bo_handle = piece->bo_handle;
	range->offset = piece->offset & ~mask;
	range->size = ((piece->offset + piece->size + mask) & ~mask) - range->offset;
}

static void unmap(struct buffer *buffer)
{
	struct hsakmt_gpu_range range;

	if (!buffer->mapped)
		return;
	set_range(buffer, &range);
	kfd.ops->unmap(kfd.gpu, buffer->va, range.size);
	buffer->mapped = 0;
}

/* Of which the registration is gone, or goes with the context. */
static void forget(struct buffer *buffer)
{
	unmap(buffer);
	interval_remove(&kfd.buffers, &buffer->node);
	free(buffer);
}

/**
 * memory_revoked() - a client has freed memory without a word
 * @data: not used
 * @reg: its registration
 */
void memory_revoked(void *data, const struct virtgpu_userptr_reg *reg)
{
	struct buffer *buffer;

	(void)data;
	pthread_mutex_lock(&kfd.lock);
	buffer = find_reg(reg);
	if (buffer)
		forget(buffer);
	pthread_mutex_unlock(&kfd.lock);
}

/**
 * memory_forget_all() - it is being closed
 *
 * What was allocated goes, too.
 */
void memory_forget_all(void)
{
	struct interval_node *node;

	while ((node = interval_first(&kfd.buffers, 0, UINT64_MAX))) {
		struct virtgpu_userptr_reg reg = to_buffer(node)->reg;
		bool allocated = to_buffer(node)->allocated;

		forget(to_buffer(node));
		if (allocated)
			munmap((void *)(uintptr_t)reg.addr, reg.size);
	}
}

/* The lock is held. */
static int add(void *addr, uint64_t size, HsaMemFlags flags, struct buffer **buffer)
{
	uint32_t reg_flags = flags.ui32.ReadOnly ? VIRTGPU_USERPTR_REG_RDONLY : 0;
	struct virtgpu_userptr_reg reg;
	int ret = virtgpu_userptr_register(kfd.ctx, addr, size, reg_flags, &reg);

	if (ret)
		return ret;
	/* The number is the same as long as it is the same memory. */
	*buffer = find_reg(&reg);
	if (!*buffer) {
		*buffer = calloc(1, sizeof(**buffer));
		if (!*buffer) {
			virtgpu_userptr_release(kfd.ctx, &reg);
			return -ENOMEM;
		}
		(*buffer)->node.first = reg.addr;
		(*buffer)->node.last = reg.addr + reg.size - 1;
		(*buffer)->reg = reg;
		(*buffer)->execute = flags.ui32.ExecuteAccess;
		interval_insert(&kfd.buffers, &(*buffer)->node);
	}
	(*buffer)->registered++;
	return 0;
}

HSAKMT_STATUS hsaKmtRegisterMemoryWithFlags(void *MemoryAddress, HSAuint64 MemorySizeInBytes,
					    HsaMemFlags MemFlags)
{
	struct buffer *buffer;
	int ret;

	if (!kfd_enter())
		return NOT_OPENED;
	ret = MemoryAddress && MemorySizeInBytes ?
		      add(MemoryAddress, MemorySizeInBytes, MemFlags, &buffer) :
		      -EINVAL;
	kfd_leave();
	return kfd_status(ret);
}

HSAKMT_STATUS hsaKmtRegisterMemory(void *MemoryAddress, HSAuint64 MemorySizeInBytes)
{
	const HsaMemFlags flags = { .Value = 0 };

	return hsaKmtRegisterMemoryWithFlags(MemoryAddress, MemorySizeInBytes, flags);
}

/* Nodes that there are, and at least one. */
static HSAKMT_STATUS check_nodes(HSAuint64 nr, const HSAuint32 *nodes)
{
	HSAuint64 i;

	if (!nr || !nodes)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	for (i = 0; i < nr; i++)
		if (nodes[i] >= NR_NODES)
			return HSAKMT_STATUS_INVALID_NODE_UNIT;
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_STATUS hsaKmtRegisterMemoryToNodes(void *MemoryAddress, HSAuint64 MemorySizeInBytes,
					  HSAuint64 NumberOfNodes, HSAuint32 *NodeArray)
{
	HSAKMT_STATUS status = check_nodes(NumberOfNodes, NodeArray);

	if (!kfd_enter())
		return NOT_OPENED;
	kfd_leave();
	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	return hsaKmtRegisterMemory(MemoryAddress, MemorySizeInBytes);
}

HSAKMT_STATUS hsaKmtDeregisterMemory(void *MemoryAddress)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_SUCCESS;
	struct virtgpu_userptr_reg reg;
	struct buffer *buffer;

	if (!kfd_enter())
		return NOT_OPENED;
	buffer = find_start((uintptr_t)MemoryAddress);
	/* What was allocated is freed. */
	if (!buffer || buffer->registered == buffer->allocated) {
		status = HSAKMT_STATUS_MEMORY_NOT_REGISTERED;
	} else {
		reg = buffer->reg;
		if (!--buffer->registered)
			forget(buffer);
		/* It may have been revoked, which this thread learns of too late. */
		virtgpu_userptr_release(kfd.ctx, &reg);
	}
	kfd_leave();
	return status;
}

/* The lock is held. */
static int map(struct buffer *buffer, bool rdonly)
{
	struct hsakmt_gpu_range range = {
		.rdonly = rdonly || buffer->reg.flags & VIRTGPU_USERPTR_REG_RDONLY,
		.execute = buffer->execute,
	};
	int ret;

	if (!buffer->mapped) {
		set_range(buffer, &range);
		ret = kfd.ops->map(kfd.gpu, &range, &buffer->va);
		if (ret)
			return ret;
	}
	buffer->mapped++;
	return 0;
}

static HSAKMT_STATUS map_at(void *addr, HSAuint64 size, HSAuint64 *va, bool rdonly)
{
	struct buffer *buffer;
	int ret;

	buffer = find((uintptr_t)addr, size, false);
	if (!buffer)
		return HSAKMT_STATUS_MEMORY_NOT_REGISTERED;
	ret = virtgpu_userptr_is_live(kfd.ctx, &buffer->reg);
	if (!ret || ret == -ENOENT)
		return HSAKMT_STATUS_MEMORY_NOT_REGISTERED;
	if (ret > 0)
		ret = map(buffer, rdonly);
	if (!ret && va)
		*va = buffer->va + (buffer->reg.piece.offset & (page_size() - 1)) +
		      ((uintptr_t)addr - buffer->node.first);
	return kfd_status(ret);
}

static HSAKMT_STATUS map_memory(void *addr, HSAuint64 size, HSAuint64 *va, bool rdonly)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_INVALID_PARAMETER;

	if (!kfd_enter())
		return NOT_OPENED;
	if (va)
		*va = 0;
	if (addr && size)
		status = map_at(addr, size, va, rdonly);
	kfd_leave();
	return status;
}

HSAKMT_STATUS hsaKmtMapMemoryToGPU(void *MemoryAddress, HSAuint64 MemorySizeInBytes,
				   HSAuint64 *AlternateVAGPU)
{
	return map_memory(MemoryAddress, MemorySizeInBytes, AlternateVAGPU, false);
}

HSAKMT_STATUS hsaKmtMapMemoryToGPUNodes(void *MemoryAddress, HSAuint64 MemorySizeInBytes,
					HSAuint64 *AlternateVAGPU, HsaMemMapFlags MemMapFlags,
					HSAuint64 NumberOfNodes, HSAuint32 *NodeArray)
{
	HSAKMT_STATUS status = check_nodes(NumberOfNodes, NodeArray);

	if (!kfd_enter())
		return NOT_OPENED;
	kfd_leave();
	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	return map_memory(MemoryAddress, MemorySizeInBytes, AlternateVAGPU,
			  MemMapFlags.ui32.ReadOnly);
}

/* The lock is held. */
static HSAKMT_STATUS unmap_at(uint64_t addr)
{
	struct buffer *buffer = find(addr, 1, true);

	if (!addr)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	if (!buffer)
		return find(addr, 1, false) ? HSAKMT_STATUS_ERROR :
					      HSAKMT_STATUS_MEMORY_NOT_REGISTERED;
	if (buffer->mapped > 1)
		buffer->mapped--;
	else
		unmap(buffer);
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_STATUS hsaKmtUnmapMemoryToGPU(void *MemoryAddress)
{
	HSAKMT_STATUS status;

	if (!kfd_enter())
		return NOT_OPENED;
	status = unmap_at((uintptr_t)MemoryAddress);
	kfd_leave();
	return status;
}

/* What there is no memory for: the GPU's own, and special kinds of it. */
static HSAKMT_STATUS check_allocation(HSAuint32 node, HSAuint64 size, HsaMemFlags flags)
{
	if (node >= NR_NODES)
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	if (!size || size & (page_size() - 1))
		return HSAKMT_STATUS_INVALID_PARAMETER;
	if (flags.ui32.GDSMemory || flags.ui32.Scratch || flags.ui32.NoAddress ||
	    flags.ui32.OnlyAddress || flags.ui32.Contiguous)
		return HSAKMT_STATUS_NOT_SUPPORTED;
	/* Else memory of the system will do. */
	if (node == NODE_GPU && flags.ui32.NoSubstitute)
		return HSAKMT_STATUS_NOT_SUPPORTED;
	return HSAKMT_STATUS_SUCCESS;
}

/* The lock is held. */
static int allocate(HSAuint64 size, HsaMemFlags flags, void **addr)
{
	int how = MAP_PRIVATE | MAP_ANONYMOUS | (flags.ui32.FixedAddress ? MAP_FIXED_NOREPLACE : 0);
	int prot = PROT_READ | PROT_WRITE;
	struct buffer *buffer;
	void *at = flags.ui32.FixedAddress ? *addr : NULL, *memory;
	int ret;

	memory = mmap(at, size, prot, how, -1, 0);
	if (memory == MAP_FAILED)
		return errno == EEXIST ? -EINVAL : -errno;
	/* The GPU only reads what is to be read only; the client has to fill it. */
	ret = add(memory, size, flags, &buffer);
	if (ret) {
		munmap(memory, size);
		return ret;
	}
	buffer->allocated = true;
	*addr = memory;
	return 0;
}

HSAKMT_STATUS hsaKmtAllocMemory(HSAuint32 PreferredNode, HSAuint64 SizeInBytes,
				HsaMemFlags MemFlags, void **MemoryAddress)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_INVALID_PARAMETER;

	if (!kfd_enter())
		return NOT_OPENED;
	if (MemoryAddress)
		status = check_allocation(PreferredNode, SizeInBytes, MemFlags);
	if (status == HSAKMT_STATUS_SUCCESS)
		status = kfd_status(allocate(SizeInBytes, MemFlags, MemoryAddress));
	kfd_leave();
	return status;
}

HSAKMT_STATUS hsaKmtFreeMemory(void *MemoryAddress, HSAuint64 SizeInBytes)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_INVALID_PARAMETER;
	struct virtgpu_userptr_reg reg;
	struct buffer *buffer;
	unsigned int times;

	if (!kfd_enter())
		return NOT_OPENED;
	buffer = find_start((uintptr_t)MemoryAddress);
	if (buffer && buffer->allocated && buffer->reg.size == SizeInBytes) {
		reg = buffer->reg;
		times = buffer->registered;
		forget(buffer);
		while (times--)
			virtgpu_userptr_release(kfd.ctx, &reg);
		munmap(MemoryAddress, SizeInBytes);
		status = HSAKMT_STATUS_SUCCESS;
	}
	kfd_leave();
	return status;
}
