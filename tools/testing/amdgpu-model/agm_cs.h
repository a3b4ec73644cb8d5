/* SPDX-License-Identifier: MIT */
/* A submission while its ioctl runs; see agm_cs.c. */
#ifndef AGM_CS_H
#define AGM_CS_H

#include "agm_bo.h"
#include "agm_sync.h"

struct agm_bo_list;
struct agm_ctx;
struct agm_entity;
struct agm_job;

/**
 * struct agm_cs_chunk - a chunk, in the kernel
 * @id: AMDGPU_CHUNK_ID_*
 * @size: bytes
 * @data: a copy of it
 */
struct agm_cs_chunk {
	u32 id;
	u32 size;
	void *data;
};

/**
 * struct agm_cs - a submission
 * @filp: the file
 * @file: ours
 * @chunks: all chunks
 * @num_chunks: how many
 * @num_ibs: how many of them are command buffers
 * @ctx: the context
 * @entity: where the job goes
 * @job: the job
 * @list: the objects
 * @waits: what it waits for
 * @signals: who hears of its end
 * @users: pages of the userptr objects in @list
 * @num_users: how many
 */
struct agm_cs {
	struct drm_file *filp;
	struct agm_file *file;
	struct agm_cs_chunk *chunks;
	unsigned int num_chunks;
	unsigned int num_ibs;
	struct agm_ctx *ctx;
	struct agm_entity *entity;
	struct agm_job *job;
	struct agm_bo_list *list;
	struct agm_waits waits;
	struct agm_signals signals;
	struct agm_user_pages **users;
	unsigned int num_users;
};

int agm_cs_copy_chunks(struct agm_cs *cs, const struct drm_amdgpu_cs_in *in);
int agm_cs_parse_chunks(struct agm_cs *cs);
void agm_cs_free_chunks(struct agm_cs *cs);

#endif
