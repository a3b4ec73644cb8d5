// SPDX-License-Identifier: MIT
/*
 * Lists of objects: what a job says that it uses.
 *
 * A job's fence hangs on the objects in its list, so the list is what others go by who wait for an
 * object.  What a job reaches without having it in the list has no such protection, here as on
 * real hardware: it may be taken away, and then the job faults.
 *
 * A list comes with a submission, or it has a name and is used by many.
 */

#include <linux/slab.h>
#include <linux/uaccess.h>

#include "agm_bo.h"
#include "agm_bo_list.h"

static void agm_bo_list_release(struct kref *ref)
{
	struct agm_bo_list *list = container_of(ref, struct agm_bo_list, ref);
	unsigned int i;

	for (i = 0; i < list->count; i++)
		agm_bo_put(list->bos[i]);
	kvfree(list);
}

void agm_bo_list_put(struct agm_bo_list *list)
{
	if (list)
		kref_put(&list->ref, agm_bo_list_release);
}

static int agm_bo_list_fill(struct agm_bo_list *list, struct drm_file *filp,
			    const struct drm_amdgpu_bo_list_in *in)
{
	void __user *from = u64_to_user_ptr(in->bo_info_ptr);
	struct drm_amdgpu_bo_list_entry entry = {};
	size_t size = min_t(size_t, in->bo_info_size, sizeof(entry));
	struct agm_bo *bo;
	u32 i;

	for (i = 0; i < in->bo_number; i++, from += in->bo_info_size) {
		if (copy_from_user(&entry, from, size))
			return -EFAULT;
		bo = agm_bo_lookup(filp, entry.bo_handle);
		if (!bo)
			return -ENOENT;
		list->bos[list->count++] = bo;
		/* Only the process whose memory it is may use it. */
		if (agm_bo_is_userptr(bo) && bo->notifier.mm != current->mm)
			return -EPERM;
	}
	return 0;
}

struct agm_bo_list *agm_bo_list_create(struct drm_file *filp,
				       const struct drm_amdgpu_bo_list_in *in)
{
	struct agm_bo_list *list;
	int ret;

	if (in->bo_number > AGM_MAX_LIST || (in->bo_number && in->bo_info_size < sizeof(u32)))
		return ERR_PTR(-EINVAL);
	list = kvzalloc_flex(*list, bos, in->bo_number);
	if (!list)
		return ERR_PTR(-ENOMEM);
	kref_init(&list->ref);
	ret = agm_bo_list_fill(list, filp, in);
	if (!ret)
		return list;
	agm_bo_list_put(list);
	return ERR_PTR(ret);
}

struct agm_bo_list *agm_bo_list_lookup(struct agm_file *file, u32 id)
{
	struct agm_bo_list *list;

	mutex_lock(&file->lock);
	list = xa_load(&file->bo_lists, id);
	if (list)
		kref_get(&list->ref);
	mutex_unlock(&file->lock);
	return list;
}

void agm_bo_list_free_all(struct agm_file *file)
{
	struct agm_bo_list *list;
	unsigned long id;

	xa_for_each(&file->bo_lists, id, list)
		agm_bo_list_put(list);
	xa_destroy(&file->bo_lists);
}

/* Give @list the name @id instead of what has it now, or a new name if @id is 0. */
static int agm_bo_list_name(struct agm_file *file, struct agm_bo_list *list, u32 *id)
{
	struct agm_bo_list *old = NULL;
	int ret = 0;

	mutex_lock(&file->lock);
	if (!*id) {
		ret = xa_alloc(&file->bo_lists, id, list, XA_LIMIT(1, INT_MAX), GFP_KERNEL);
	} else if (xa_load(&file->bo_lists, *id)) {
		old = xa_store(&file->bo_lists, *id, list, GFP_KERNEL);
		ret = xa_err(old);
	} else {
		ret = -ENOENT;
	}
	mutex_unlock(&file->lock);
	if (ret)
		agm_bo_list_put(list);
	else
		agm_bo_list_put(old);
	return ret;
}

static int agm_bo_list_destroy(struct agm_file *file, u32 id)
{
	struct agm_bo_list *list;

	mutex_lock(&file->lock);
	list = xa_erase(&file->bo_lists, id);
	mutex_unlock(&file->lock);
	if (!list)
		return -ENOENT;
	agm_bo_list_put(list);
	return 0;
}

int agm_bo_list_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	struct agm_file *file = to_agm_file(filp);
	union drm_amdgpu_bo_list *args = data;
	struct agm_bo_list *list;
	u32 id = 0;
	int ret;

	switch (args->in.operation) {
	case AMDGPU_BO_LIST_OP_CREATE:
		break;
	case AMDGPU_BO_LIST_OP_UPDATE:
		id = args->in.list_handle;
		if (!id)
			return -ENOENT;
		break;
	case AMDGPU_BO_LIST_OP_DESTROY:
		ret = agm_bo_list_destroy(file, args->in.list_handle);
		memset(args, 0, sizeof(*args));
		return ret;
	default:
		return -EINVAL;
	}
	list = agm_bo_list_create(filp, &args->in);
	if (IS_ERR(list))
		return PTR_ERR(list);
	ret = agm_bo_list_name(file, list, &id);
	if (ret)
		return ret;
	memset(args, 0, sizeof(*args));
	args->out.list_handle = id;
	return 0;
}
