// SPDX-License-Identifier: MIT
/*
 * An engine's accesses to memory.
 *
 * Each access goes through the address space of the job, page by page: the address is looked up in
 * the version that the job sees, the mapping must have the bit for the access (and the object must
 * allow it: pages of a read-only userptr object are never written to, whatever the mapping says),
 * and the object must have its pages.  If not, it is a fault: nothing of that page is read or
 * changed, the fault is counted, logged with address and context, and kept for INFO, and the job
 * ends.  Pages before it in the same packet may have been written to, as on real hardware.
 *
 * Ranges without an object that are partially resident read as zero and swallow what is
 * written.
 *
 * The one mapping that was used last is remembered for the job: the engine's TLB.  Mappings that
 * a job can see are not freed before its end.
 */

#include <linux/highmem.h>
#include <linux/pagemap.h>

#include <linux/device.h>

#include "agm_bo.h"
#include "agm_ctx.h"
#include "agm_engine.h"
#include "agm_job.h"
#include "agm_ring.h"
#include "agm_vm.h"

/* Of the chip's fault status register: who, what and why. */
#define AGM_FAULT_MORE BIT(0)
#define AGM_FAULT_NO_READ BIT(4)
#define AGM_FAULT_NO_WRITE BIT(5)
#define AGM_FAULT_NO_MAPPING BIT(8)
#define AGM_FAULT_WRITE BIT(18)

static int agm_fault(struct agm_engine *e, u64 va, bool write, u32 status)
{
	struct agm_vm *vm = e->job->vm;
	struct agm_device *dev = vm->dev;

	spin_lock(&vm->lock);
	vm->fault_addr = va & PAGE_MASK;
	vm->fault_status = status | (write ? AGM_FAULT_WRITE : 0);
	spin_unlock(&vm->lock);
	atomic64_inc(&dev->stats.faults);
	dev_info_ratelimited(dev->drm.dev,
			     "%s: page fault: %s at 0x%llx, status 0x%x, context %u\n",
			     e->ring->name, write ? "write" : "read", va, vm->fault_status,
			     e->job->ctx->id);
	e->why = "page fault";
	return -EFAULT;
}

static struct agm_mapping *agm_lookup(struct agm_engine *e, u64 page)
{
	struct agm_vm *vm = e->job->vm;

	if (e->tlb && page >= e->tlb->node.start && page <= e->tlb->node.last)
		return e->tlb;
	spin_lock(&vm->lock);
	e->tlb = agm_vm_find(vm, e->job->version, page);
	spin_unlock(&vm->lock);
	return e->tlb;
}

/* The mapping of the page of @va if it allows the access; else the job ends. */
static int agm_translate(struct agm_engine *e, u64 va, bool write, struct agm_mapping **mapping)
{
	u32 bit = write ? AMDGPU_VM_PAGE_WRITEABLE : AMDGPU_VM_PAGE_READABLE;
	struct agm_mapping *m = agm_lookup(e, (va & AGM_VA_MASK) >> PAGE_SHIFT);

	if (!m)
		return agm_fault(e, va, write, AGM_FAULT_NO_MAPPING);
	*mapping = m;
	if (m->flags & AMDGPU_VM_PAGE_PRT)
		return 0;
	if (!(m->flags & bit) || (write && m->bo->userptr_flags & AMDGPU_GEM_USERPTR_READONLY))
		return agm_fault(e, va, write, write ? AGM_FAULT_NO_WRITE : AGM_FAULT_NO_READ);
	return 0;
}

/*
 * The part of an access that is within a page.  The object's lock is what those wait for who take
 * pages away.
 */
static int agm_access_page(struct agm_engine *e, u64 va, void *buf, size_t size, bool write)
{
	struct agm_mapping *m;
	struct agm_bo *bo;
	struct page *page;
	u64 offset;
	int ret = agm_translate(e, va, write, &m);

	if (ret)
		return ret;
	bo = m->bo;
	if (!bo) {
		if (!write)
			memset(buf, 0, size);
		return 0;
	}
	offset = m->offset + (va & AGM_VA_MASK) - ((u64)m->node.start << PAGE_SHIFT);
	spin_lock(&bo->lock);
	if (!bo->valid) {
		spin_unlock(&bo->lock);
		return agm_fault(e, va, write, AGM_FAULT_NO_MAPPING);
	}
	page = bo->pages[offset >> PAGE_SHIFT];
	if (write)
		memcpy_to_page(page, offset_in_page(offset), buf, size);
	else
		memcpy_from_page(buf, page, offset_in_page(offset), size);
	/* Nobody else knows that the page has changed. */
	if (write && agm_bo_is_userptr(bo))
		folio_mark_dirty(page_folio(page));
	spin_unlock(&bo->lock);
	return 0;
}

static size_t agm_in_page(u64 va, u64 size)
{
	return min_t(u64, size, PAGE_SIZE - offset_in_page(va));
}

int agm_read(struct agm_engine *e, u64 va, void *to, size_t size)
{
	size_t part;
	int ret = 0;

	for (; size && !ret; va += part, to += part, size -= part) {
		part = agm_in_page(va, size);
		ret = agm_access_page(e, va, to, part, false);
	}
	return ret;
}

int agm_write(struct agm_engine *e, u64 va, const void *from, size_t size)
{
	size_t part;
	int ret = 0;

	for (; size && !ret; va += part, from += part, size -= part) {
		part = agm_in_page(va, size);
		ret = agm_access_page(e, va, (void *)from, part, true);
	}
	return ret;
}

/* From low to high addresses, in parts that cross no page; overlapping is the caller's risk. */
int agm_copy(struct agm_engine *e, u64 dst, u64 src, u64 size)
{
	struct agm_device *dev = e->ring->dev;
	size_t part;
	int ret = 0;

	for (; size && !ret; dst += part, src += part, size -= part) {
		part = min(agm_in_page(dst, size), agm_in_page(src, size));
		ret = agm_access_page(e, src, e->bounce, part, false);
		if (!ret)
			ret = agm_access_page(e, dst, e->bounce, part, true);
		if (!ret)
			atomic64_add(part, &dev->stats.bytes_copied);
		if (!ret)
			ret = agm_engine_alive(e);
	}
	return ret;
}

/* @value again and again from @dst on, also where that is no multiple of four. */
int agm_fill(struct agm_engine *e, u64 dst, u32 value, u64 size)
{
	struct agm_device *dev = e->ring->dev;
	u64 start = dst;
	size_t part, i;
	int ret = 0;

	for (; size && !ret; dst += part, size -= part) {
		part = agm_in_page(dst, size);
		for (i = 0; i < part; i++)
			e->bounce[i] = value >> 8 * ((dst + i - start) % 4);
		ret = agm_access_page(e, dst, e->bounce, part, true);
		if (!ret)
			atomic64_add(part, &dev->stats.bytes_filled);
		if (!ret)
			ret = agm_engine_alive(e);
	}
	return ret;
}
