/* SPDX-License-Identifier: MIT */
/* Lists of objects; see agm_bo_list.c. */
#ifndef AGM_BO_LIST_H
#define AGM_BO_LIST_H

#include <linux/kref.h>

struct agm_bo;
struct agm_file;
struct drm_amdgpu_bo_list_in;
struct drm_file;

#define AGM_MAX_LIST (128 * 1024)

/**
 * struct agm_bo_list - objects that a job uses
 * @ref: of the file and of submissions that are under way
 * @id: in its file, if it has a name there
 * @count: how many
 * @bos: the objects, with a reference each
 */
struct agm_bo_list {
	struct kref ref;
	u32 id;
	unsigned int count;
	struct agm_bo *bos[];
};

struct agm_bo_list *agm_bo_list_create(struct drm_file *filp,
				       const struct drm_amdgpu_bo_list_in *in);
struct agm_bo_list *agm_bo_list_lookup(struct agm_file *file, u32 id);
void agm_bo_list_put(struct agm_bo_list *list);
void agm_bo_list_free_all(struct agm_file *file);

#endif
