// SPDX-License-Identifier: MIT
/*
 * Waiting for submissions by number: WAIT_CS, WAIT_FENCES; and FENCE_TO_HANDLE, which makes of
 * a number something that others understand: a syncobj, a file of one, or a sync_file.
 *
 * Timeouts are points in time of the monotonic clock, so that a call that was interrupted can be
 * made again.
 */

#include <linux/dma-fence.h>
#include <linux/file.h>
#include <linux/slab.h>
#include <linux/sync_file.h>
#include <linux/uaccess.h>

#include <drm/drm_syncobj.h>
#include <drm/drm_utils.h>

#include "agm_ctx.h"
#include "agm_device.h"

#include <drm/amdgpu_drm.h>

#define AGM_MAX_FENCES 65536

static struct dma_fence *agm_fence_find(struct agm_file *file, const struct drm_amdgpu_fence *id)
{
	struct agm_ctx *ctx = agm_ctx_lookup(file, id->ctx_id);
	struct dma_fence *fence = ERR_PTR(-EINVAL);
	struct agm_entity *entity;

	if (!ctx)
		return fence;
	entity = agm_ctx_entity(ctx, id->ip_type, id->ip_instance, id->ring);
	if (entity)
		fence = agm_ctx_fence(ctx, entity, id->seq_no);
	agm_ctx_put(ctx);
	return fence ?: dma_fence_get_stub();
}

int agm_wait_cs_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_wait_cs *args = data;
	struct drm_amdgpu_fence id = {
		.ctx_id = args->in.ctx_id,
		.ip_type = args->in.ip_type,
		.ip_instance = args->in.ip_instance,
		.ring = args->in.ring,
		.seq_no = args->in.handle,
	};
	long timeout = drm_timeout_abs_to_jiffies(args->in.timeout);
	struct dma_fence *fence = agm_fence_find(to_agm_file(filp), &id);
	long ret;

	if (IS_ERR(fence))
		return PTR_ERR(fence);
	ret = dma_fence_wait_timeout(fence, true, timeout);
	if (ret > 0 && fence->error)
		ret = fence->error;
	dma_fence_put(fence);
	if (ret < 0)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.status = ret == 0;
	return 0;
}

static int agm_wait_all(struct dma_fence **fences, u32 count, long timeout,
			union drm_amdgpu_wait_fences *args)
{
	long ret = timeout;
	u32 i;

	for (i = 0; i < count; i++) {
		ret = dma_fence_wait_timeout(fences[i], true, ret);
		if (ret < 0)
			return ret;
		if (ret > 0 && fences[i]->error)
			return fences[i]->error;
		if (!ret)
			break;
	}
	memset(args, 0, sizeof(*args));
	args->out.status = ret > 0;
	return 0;
}

static int agm_wait_any(struct dma_fence **fences, u32 count, long timeout,
			union drm_amdgpu_wait_fences *args)
{
	u32 first = ~0;
	long ret = dma_fence_wait_any_timeout(fences, count, true, timeout, &first);

	if (ret < 0)
		return ret;
	if (ret > 0 && first < count && fences[first]->error)
		return fences[first]->error;
	memset(args, 0, sizeof(*args));
	args->out.status = ret > 0;
	args->out.first_signaled = first;
	return 0;
}

static int agm_wait_fences(struct agm_file *file, union drm_amdgpu_wait_fences *args,
			   const struct drm_amdgpu_fence *ids, struct dma_fence **fences)
{
	long timeout = drm_timeout_abs_to_jiffies(args->in.timeout_ns);
	u32 i;

	for (i = 0; i < args->in.fence_count; i++) {
		struct dma_fence *fence = agm_fence_find(file, &ids[i]);

		if (IS_ERR(fence))
			return PTR_ERR(fence);
		fences[i] = fence;
	}
	if (args->in.wait_all)
		return agm_wait_all(fences, i, timeout, args);
	return agm_wait_any(fences, i, timeout, args);
}

int agm_wait_fences_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_wait_fences *args = data;
	u32 i, count = args->in.fence_count;
	struct drm_amdgpu_fence *ids;
	struct dma_fence **fences;
	int ret;

	if (!count || count > AGM_MAX_FENCES)
		return -EINVAL;
	ids = vmemdup_array_user(u64_to_user_ptr(args->in.fences), count, sizeof(*ids));
	if (IS_ERR(ids))
		return PTR_ERR(ids);
	fences = kvcalloc(count, sizeof(*fences), GFP_KERNEL);
	ret = fences ? agm_wait_fences(to_agm_file(filp), args, ids, fences) : -ENOMEM;
	for (i = 0; fences && i < count; i++)
		dma_fence_put(fences[i]);
	kvfree(fences);
	kvfree(ids);
	return ret;
}

static int agm_fence_sync_file(struct dma_fence *fence, u32 *handle)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct sync_file *file;

	if (fd < 0)
		return fd;
	file = sync_file_create(fence);
	if (!file) {
		put_unused_fd(fd);
		return -ENOMEM;
	}
	fd_install(fd, file->file);
	*handle = fd;
	return 0;
}

static int agm_fence_syncobj(struct drm_file *filp, struct dma_fence *fence, bool as_file,
			     u32 *handle)
{
	struct drm_syncobj *syncobj;
	int ret = drm_syncobj_create(&syncobj, 0, fence);

	if (ret)
		return ret;
	ret = as_file ? drm_syncobj_get_fd(syncobj, (int *)handle) :
			drm_syncobj_get_handle(filp, syncobj, handle);
	drm_syncobj_put(syncobj);
	return ret;
}

int agm_fence_to_handle_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	union drm_amdgpu_fence_to_handle *args = data;
	struct dma_fence *fence = agm_fence_find(to_agm_file(filp), &args->in.fence);
	int ret;

	if (IS_ERR(fence))
		return PTR_ERR(fence);
	switch (args->in.what) {
	case AMDGPU_FENCE_TO_HANDLE_GET_SYNCOBJ:
		ret = agm_fence_syncobj(filp, fence, false, &args->out.handle);
		break;
	case AMDGPU_FENCE_TO_HANDLE_GET_SYNCOBJ_FD:
		ret = agm_fence_syncobj(filp, fence, true, &args->out.handle);
		break;
	case AMDGPU_FENCE_TO_HANDLE_GET_SYNC_FILE_FD:
		ret = agm_fence_sync_file(fence, &args->out.handle);
		break;
	default:
		ret = -EINVAL;
	}
	dma_fence_put(fence);
	return ret;
}
