/* SPDX-License-Identifier: MIT */
/* A GPU address space; see agm_vm.c. */
#ifndef AGM_VM_H
#define AGM_VM_H

#include <linux/dma-resv.h>
#include <linux/interval_tree.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/workqueue.h>

#include "agm_asic.h"
#include "agm_device.h"

struct agm_bo;
struct agm_job;
struct dma_fence;

#define AGM_NEVER U64_MAX

/**
 * struct agm_mapping - a range of GPU addresses that is a range of an object
 * @node: in agm_vm.tree, by page number
 * @link: in the list of an unmap that waits, or of mappings to free
 * @bo: the object, with a reference; NULL for a range that is partially resident and has none
 * @offset: where in the object it begins
 * @flags: AMDGPU_VM_PAGE_*
 * @born: the first version of the address space that has it
 * @died: the first version that has it no more
 */
struct agm_mapping {
	struct interval_tree_node node;
	struct list_head link;
	struct agm_bo *bo;
	u64 offset;
	u32 flags;
	u64 born;
	u64 died;
};

/**
 * struct agm_vm - a GPU address space
 * @ref: of its file, its jobs, and of objects that belong to it
 * @dev: the device
 * @resv: every job's fence is in it, and always valid objects share it.  Its lock is the lock of
 *	the address space for all but engines.
 * @lock: for all that follows; engines take it
 * @tree: all mappings that some job can see
 * @version: of the page tables; goes up with each change
 * @jobs: those that have not ended, in the order of submission, which is that of their versions
 * @unmaps: changes that wait for jobs, in the order of their versions
 * @dead: mappings that no job can see any more, to be freed by @reaper
 * @reaper: gives back what an engine must not
 * @fault_addr: of the last fault
 * @fault_status: as the real chip's status register
 */
struct agm_vm {
	struct kref ref;
	struct agm_device *dev;
	struct dma_resv resv;
	spinlock_t lock; /* all below */
	struct rb_root_cached tree;
	u64 version;
	struct list_head jobs;
	struct list_head unmaps;
	struct list_head dead;
	struct work_struct reaper;
	u64 fault_addr;
	u32 fault_status;
};

struct agm_vm *agm_vm_create(struct agm_device *dev);
void agm_vm_put(struct agm_vm *vm);
void agm_vm_close(struct agm_vm *vm);

static inline struct agm_vm *agm_vm_get(struct agm_vm *vm)
{
	kref_get(&vm->ref);
	return vm;
}

/**
 * struct agm_va_range - GPU addresses, as pages without sign
 * @first: page
 * @last: page, inclusive
 */
struct agm_va_range {
	u64 first;
	u64 last;
};

int agm_va_range(struct agm_va_range *range, u64 va, u64 size);
int agm_vm_map(struct agm_vm *vm, struct agm_bo *bo, const struct agm_va_range *range, u64 offset,
	       u32 flags);
int agm_vm_unmap(struct agm_vm *vm, struct agm_bo *bo, u64 first, struct dma_fence **fence);
int agm_vm_clear(struct agm_vm *vm, const struct agm_va_range *range, struct dma_fence **fence);
void agm_vm_unmap_bo(struct agm_vm *vm, struct agm_bo *bo);
struct agm_mapping *agm_vm_find(struct agm_vm *vm, u64 version, u64 page);

void agm_vm_job_begin(struct agm_vm *vm, struct agm_job *job);
void agm_vm_job_end(struct agm_vm *vm, struct agm_job *job);

#endif
