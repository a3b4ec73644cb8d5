// SPDX-License-Identifier: MIT
/*
 * KUnit tests of importing from an exporter that moves its memory.
 *
 * No driver of this kernel that could be loaded here moves what it exports, so there is one: its
 * buffer is one page, of two that it has, and it says when it wants to take the other one.
 */

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/scatterlist.h>
#include <linux/workqueue.h>

#include <drm/drm_kunit_helpers.h>

#include "agm_bo.h"
#include "agm_fence.h"

/**
 * struct agm_exporter - an exporter that moves
 * @pages: the pages
 * @now: which one is the buffer
 * @mappings: how often it is mapped
 */
struct agm_exporter {
	struct page *pages[2];
	int now;
	int mappings;
};

static int agm_exporter_pin(struct dma_buf_attachment *attach)
{
	return -EBUSY;
}

static void agm_exporter_unpin(struct dma_buf_attachment *attach)
{
}

static struct sg_table *agm_exporter_map(struct dma_buf_attachment *attach,
					 enum dma_data_direction dir)
{
	struct agm_exporter *x = attach->dmabuf->priv;
	struct sg_table *sgt = kzalloc_obj(*sgt);

	if (!sgt || sg_alloc_table(sgt, 1, GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	/* A bus address and a length is all that an importer gets. */
	sg_dma_address(sgt->sgl) = page_to_phys(x->pages[x->now]);
	sg_dma_len(sgt->sgl) = PAGE_SIZE;
	sgt->sgl->length = PAGE_SIZE;
	x->mappings++;
	return sgt;
}

static void agm_exporter_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			       enum dma_data_direction dir)
{
	struct agm_exporter *x = attach->dmabuf->priv;

	x->mappings--;
	sg_free_table(sgt);
	kfree(sgt);
}

static void agm_exporter_release(struct dma_buf *buf)
{
	struct agm_exporter *x = buf->priv;

	__free_page(x->pages[0]);
	__free_page(x->pages[1]);
	kfree(x);
}

static const struct dma_buf_ops agm_exporter_ops = {
	.pin = agm_exporter_pin,
	.unpin = agm_exporter_unpin,
	.map_dma_buf = agm_exporter_map,
	.unmap_dma_buf = agm_exporter_unmap,
	.release = agm_exporter_release,
};

static struct dma_buf *agm_exporter_create(struct kunit *test)
{
	struct agm_exporter *x = kzalloc_obj(*x);
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *buf;

	KUNIT_ASSERT_NOT_NULL(test, x);
	x->pages[0] = alloc_page(GFP_KERNEL);
	x->pages[1] = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, x->pages[0]);
	KUNIT_ASSERT_NOT_NULL(test, x->pages[1]);
	info.ops = &agm_exporter_ops;
	info.size = PAGE_SIZE;
	info.priv = x;
	info.flags = O_RDWR;
	buf = dma_buf_export(&info);
	KUNIT_ASSERT_FALSE(test, IS_ERR(buf));
	return buf;
}

/* The end of a job, some time later. */
struct agm_later {
	struct delayed_work work;
	struct dma_fence *fence;
	struct agm_exporter *x;
	int mappings;
};

static void agm_later_signal(struct work_struct *work)
{
	struct agm_later *later = container_of(work, struct agm_later, work.work);

	later->mappings = later->x->mappings;
	dma_fence_signal(later->fence);
}

static struct agm_device *agm_prime_test_device(struct kunit *test)
{
	struct device *parent = drm_kunit_helper_alloc_device(test);
	struct agm_device *dev;

	KUNIT_ASSERT_FALSE(test, IS_ERR(parent));
	dev = drm_kunit_helper_alloc_drm_device(test, parent, struct agm_device, drm, DRIVER_GEM);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	dev->vram.size = SZ_1M;
	dev->gtt.size = SZ_1M;
	return dev;
}

/* Memory does not move under a job, and the next job gets it where it is then. */
static void agm_test_move(struct kunit *test)
{
	struct agm_device *dev = agm_prime_test_device(test);
	struct dma_buf *buf = agm_exporter_create(test);
	struct agm_exporter *x = buf->priv;
	struct agm_later later = { .x = x };
	struct drm_gem_object *obj;
	struct agm_bo *bo;

	obj = agm_prime_import(&dev->drm, buf);
	KUNIT_ASSERT_FALSE(test, IS_ERR(obj));
	bo = to_agm_bo(obj);
	KUNIT_EXPECT_FALSE(test, bo->valid);
	KUNIT_EXPECT_EQ(test, x->mappings, 0);
	later.fence = agm_fence_create("test", dma_fence_context_alloc(1), 1);
	KUNIT_ASSERT_NOT_NULL(test, later.fence);

	dma_resv_lock(buf->resv, NULL);
	KUNIT_EXPECT_EQ(test, agm_prime_validate(bo), 0);
	KUNIT_EXPECT_PTR_EQ(test, bo->pages[0], x->pages[0]);
	KUNIT_EXPECT_EQ(test, dma_resv_reserve_fences(buf->resv, 1), 0);
	dma_resv_add_fence(buf->resv, later.fence, DMA_RESV_USAGE_WRITE);
	INIT_DELAYED_WORK_ONSTACK(&later.work, agm_later_signal);
	schedule_delayed_work(&later.work, HZ / 20);
	dma_buf_invalidate_mappings(buf);
	/* It was mapped until the job ended, and is not any more. */
	KUNIT_EXPECT_TRUE(test, dma_fence_is_signaled(later.fence));
	KUNIT_EXPECT_EQ(test, later.mappings, 1);
	KUNIT_EXPECT_EQ(test, x->mappings, 0);
	KUNIT_EXPECT_FALSE(test, bo->valid);
	x->now = 1;
	KUNIT_EXPECT_EQ(test, agm_prime_validate(bo), 0);
	KUNIT_EXPECT_PTR_EQ(test, bo->pages[0], x->pages[1]);
	KUNIT_EXPECT_TRUE(test, bo->valid);
	dma_resv_unlock(buf->resv);

	flush_delayed_work(&later.work);
	destroy_delayed_work_on_stack(&later.work);
	dma_fence_put(later.fence);
	drm_gem_object_put(obj);
	KUNIT_EXPECT_EQ(test, x->mappings, 0);
	dma_buf_put(buf);
}

static struct kunit_case agm_prime_cases[] = {
	KUNIT_CASE(agm_test_move),
	{},
};

static struct kunit_suite agm_prime_suite = {
	.name = "amdgpu-model-prime",
	.test_cases = agm_prime_cases,
};

kunit_test_suite(agm_prime_suite);
