// SPDX-License-Identifier: MIT
/*
 * Buffers shared with other drivers.
 *
 * Import: the model attaches as a dynamic importer, that is, it tells the exporter that the memory
 * may move, and lets go of it when it does.  For an exporter that never moves anything (udmabuf,
 * vgem) that makes no difference.  Pages are found as a device finds them, by the DMA
 * addresses of the mapping, and not by the scatterlist's page pointers, which belong to the
 * exporter.  On this machine a DMA address is a physical address.
 *
 * The object shares the dma-buf's reservation, so every job that has it in its list hangs a fence
 * where all others see it.  It is mapped for DMA when a job has it in its list the first time,
 * as in the real driver: a mapping in the GPU's address space alone gives no access.
 *
 * Export: pages of our own, which do not move.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/pfn.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <drm/drm_prime.h>

#include "agm_bo.h"

MODULE_IMPORT_NS("DMA_BUF");

struct dma_buf *agm_prime_export(struct drm_gem_object *obj, int flags)
{
	struct agm_bo *bo = to_agm_bo(obj);

	if (agm_bo_is_userptr(bo) || bo->flags & AMDGPU_GEM_CREATE_VM_ALWAYS_VALID)
		return ERR_PTR(-EPERM);
	return drm_gem_prime_export(obj, flags);
}

struct sg_table *agm_prime_sg_table(struct drm_gem_object *obj)
{
	struct agm_bo *bo = to_agm_bo(obj);

	return drm_prime_pages_to_sg(obj->dev, bo->pages, agm_bo_pages(bo));
}

/* No engine touches the pages after this.  Called with the reservation locked. */
static void agm_prime_unmap(struct agm_bo *bo)
{
	struct sg_table *sgt = bo->sgt;

	if (!sgt)
		return;
	spin_lock(&bo->lock);
	bo->valid = false;
	spin_unlock(&bo->lock);
	bo->sgt = NULL;
	dma_buf_unmap_attachment(bo->base.import_attach, sgt, DMA_BIDIRECTIONAL);
}

/* The exporter wants to move the memory: jobs that use it end first. */
static void agm_prime_invalidate(struct dma_buf_attachment *attach)
{
	struct agm_bo *bo = attach->importer_priv;

	dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_BOOKKEEP, false, MAX_SCHEDULE_TIMEOUT);
	agm_prime_unmap(bo);
}

static const struct dma_buf_attach_ops agm_attach_ops = {
	.allow_peer2peer = false,
	.invalidate_mappings = agm_prime_invalidate,
};

static int agm_prime_take_pages(struct agm_bo *bo, struct sg_table *sgt)
{
	struct sg_dma_page_iter iter;
	unsigned long i = 0;

	for_each_sgtable_dma_page(sgt, &iter, 0) {
		unsigned long pfn = PHYS_PFN(sg_page_iter_dma_address(&iter));

		if (i == agm_bo_pages(bo))
			break;
		if (!pfn_valid(pfn))
			return -EFAULT;
		bo->pages[i++] = pfn_to_page(pfn);
	}
	return i == agm_bo_pages(bo) ? 0 : -EINVAL;
}

/**
 * agm_prime_validate - map an imported object for DMA, unless it is
 * @bo: the object, with its reservation locked
 */
int agm_prime_validate(struct agm_bo *bo)
{
	struct sg_table *sgt;
	int ret;

	if (bo->sgt)
		return 0;
	sgt = dma_buf_map_attachment(bo->base.import_attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	bo->sgt = sgt;
	ret = agm_prime_take_pages(bo, sgt);
	if (ret) {
		agm_prime_unmap(bo);
		return ret;
	}
	spin_lock(&bo->lock);
	bo->valid = true;
	spin_unlock(&bo->lock);
	return 0;
}

struct drm_gem_object *agm_prime_import(struct drm_device *drm, struct dma_buf *buf)
{
	struct dma_buf_attachment *attach;
	struct agm_bo *bo;

	if (drm_gem_is_prime_exported_dma_buf(drm, buf)) {
		struct drm_gem_object *obj = buf->priv;

		/* Back home: it is the same object. */
		drm_gem_object_get(obj);
		return obj;
	}
	bo = agm_bo_alloc(to_agm(drm), buf->size);
	if (IS_ERR(bo))
		return ERR_CAST(bo);
	bo->preferred = AMDGPU_GEM_DOMAIN_GTT;
	bo->base.resv = buf->resv;
	attach = dma_buf_dynamic_attach(buf, drm->dev, &agm_attach_ops, bo);
	if (IS_ERR(attach)) {
		bo->base.resv = &bo->base._resv;
		agm_bo_put(bo);
		return ERR_CAST(attach);
	}
	get_dma_buf(buf);
	bo->base.import_attach = attach;
	return &bo->base;
}

/* The last reference is gone, so no job and no mapping has it. */
void agm_prime_release(struct agm_bo *bo)
{
	dma_resv_lock(bo->base.resv, NULL);
	agm_prime_unmap(bo);
	dma_resv_unlock(bo->base.resv);
	drm_prime_gem_destroy(&bo->base, NULL);
	bo->base.resv = &bo->base._resv;
}
