/* SPDX-License-Identifier: MIT */
/* Buffer objects; see agm_bo.c. */
#ifndef AGM_BO_H
#define AGM_BO_H

#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>

#include <drm/amdgpu_drm.h>
#include <drm/drm_gem.h>

#include "agm_device.h"

struct sg_table;

/**
 * struct agm_bo - a buffer object
 * @base: the GEM object
 * @dev: the device
 * @domain: what its pages are charged to: VRAM, GTT, or CPU for pages of others
 * @preferred: domains that were asked for
 * @flags: AMDGPU_GEM_CREATE_*
 * @alignment: that was asked for
 * @lock: for @pages and @valid; the only lock that engines take on an object
 * @pages: what the engines access, an entry for each page
 * @valid: @pages may be used.  Always so for pages of our own.
 * @vm: of the address space that an always valid or userptr object belongs to
 * @sgt: how an imported object is mapped for DMA
 * @tiling: metadata, which only user space understands; under the reservation
 * @metadata_flags: likewise
 * @metadata_size: likewise
 * @metadata: likewise
 * @notifier: of a userptr object; its mm is NULL for all others
 * @addr: where a userptr object is in its process
 * @userptr_flags: AMDGPU_GEM_USERPTR_*
 */
struct agm_bo {
	struct drm_gem_object base;
	struct agm_device *dev;
	u32 domain;
	u32 preferred;
	u64 flags;
	u64 alignment;

	spinlock_t lock; /* pages, valid */
	struct page **pages;
	bool valid;

	struct agm_vm *vm;
	struct sg_table *sgt;

	u64 tiling;
	u64 metadata_flags;
	u32 metadata_size;
	u32 metadata[64];

	struct mmu_interval_notifier notifier;
	unsigned long addr;
	u32 userptr_flags;
};

#define to_agm_bo(obj) container_of(obj, struct agm_bo, base)

static inline bool agm_bo_is_userptr(const struct agm_bo *bo)
{
	return bo->notifier.mm;
}

static inline unsigned long agm_bo_pages(const struct agm_bo *bo)
{
	return bo->base.size >> PAGE_SHIFT;
}

struct agm_bo *agm_bo_alloc(struct agm_device *dev, u64 size);
struct agm_bo *agm_bo_create(struct agm_device *dev, struct agm_vm *vm,
			     const struct drm_amdgpu_gem_create_in *in);
struct agm_bo *agm_bo_lookup(struct drm_file *filp, u32 handle);

static inline void agm_bo_get(struct agm_bo *bo)
{
	drm_gem_object_get(&bo->base);
}

static inline void agm_bo_put(struct agm_bo *bo)
{
	drm_gem_object_put(&bo->base);
}

int agm_pool_charge(struct agm_pool *pool, u64 bytes);
void agm_pool_uncharge(struct agm_pool *pool, u64 bytes);

/* agm_prime.c */
struct dma_buf *agm_prime_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *agm_prime_import(struct drm_device *drm, struct dma_buf *buf);
struct sg_table *agm_prime_sg_table(struct drm_gem_object *obj);
int agm_prime_validate(struct agm_bo *bo);
void agm_prime_release(struct agm_bo *bo);

/* agm_userptr.c */
struct agm_user_pages;
struct agm_user_pages *agm_userptr_fault(struct agm_bo *bo);
bool agm_userptr_valid(struct agm_user_pages *pages);
void agm_userptr_commit(struct agm_user_pages *pages);
void agm_userptr_free(struct agm_user_pages *pages);
void agm_userptr_release(struct agm_bo *bo);

/* agm_reserve.c */
struct agm_reservation {
	struct ww_acquire_ctx ticket;
	struct dma_resv **resvs;
	unsigned int count;
};

int agm_reserve(struct agm_reservation *r, struct agm_vm *vm, struct agm_bo **bos,
		unsigned int count, unsigned int fences);
void agm_unreserve(struct agm_reservation *r);

#endif
