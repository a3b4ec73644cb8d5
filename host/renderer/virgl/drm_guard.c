// SPDX-License-Identifier: MIT
/*
 * drm_guard: see drm_guard.h
 *
 * A stream is a sequence of commands, each a header that gives its length and
 * what belongs to it.  A command may be shorter than the library's idea of it:
 * what is missing reads as zero there, and so it does here.  Numbers are those
 * of the wire, little-endian, at any alignment.
 */
#include "renderer/virgl/drm_guard.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include <linux/virtio_gpu.h>

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define ERR_PARAM VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define ERR_RESOURCE VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID

#define CAPSET_CONTEXT_TYPE 16

/* The header of a command: number, length, seqno, where the response goes. */
#define HEADER_CMD 0
#define HEADER_LEN 4
#define HEADER_RSP_OFF 12
#define HEADER_SIZE 16

/* Commands of amdgpu, and where in them resources are named. */
#define AMDGPU_BO_VA_OP 3
#define AMDGPU_CS_SUBMIT 4
#define AMDGPU_SET_METADATA 5
#define AMDGPU_BO_QUERY_INFO 6

#define VA_OP_FLAGS2 40
#define VA_OP_RES_ID 56
#define VA_OP_SPARSE 1
#define METADATA_RES_ID 32
#define QUERY_RES_ID 16
#define SUBMIT_NR_CHUNKS 20
#define SUBMIT_RING 28
#define SUBMIT_CHUNKS 32

#define MAX_CHUNKS 128
#define CHUNK_SIZE 8
#define CHUNK_FENCE 2
#define CHUNK_BO_HANDLES 6
/* A buffer and its priority; a buffer and an offset. */
#define CHUNK_ENTRY 8

#define MAX_RINGS 64

/**
 * struct ccmd - a command of a stream
 * @data: header and the rest
 * @len: bytes
 */
struct ccmd {
	const unsigned char *data;
	uint32_t len;
};

/* What the library sees there; it fills short commands up with zeroes. */
static uint32_t ccmd_u32(const struct ccmd *ccmd, uint32_t offset)
{
	uint32_t value = 0;

	if (offset < ccmd->len)
		memcpy(&value, ccmd->data + offset,
		       ccmd->len - offset < sizeof(value) ? ccmd->len - offset : sizeof(value));
	return le32toh(value);
}

static bool known(const struct drm_guard *guard, uint32_t id)
{
	return id_table_find(&guard->known, id);
}

/* The first resources of all entries of a chunk. */
static uint32_t check_chunk(const struct drm_guard *guard, const struct ccmd *ccmd, uint64_t offset,
			    uint32_t len, uint32_t type)
{
	uint32_t at;

	if (offset % 4 || (type == CHUNK_FENCE ? len != CHUNK_ENTRY : len % CHUNK_ENTRY))
		return ERR_PARAM;
	for (at = 0; at < len; at += CHUNK_ENTRY)
		if (!known(guard, ccmd_u32(ccmd, (uint32_t)offset + at)))
			return ERR_RESOURCE;
	return OK;
}

static uint32_t check_submit(const struct drm_guard *guard, const struct ccmd *ccmd)
{
	uint32_t nr = ccmd_u32(ccmd, SUBMIT_NR_CHUNKS);
	uint32_t ring = ccmd_u32(ccmd, SUBMIT_RING);
	uint64_t payload = SUBMIT_CHUNKS + (uint64_t)nr * CHUNK_SIZE;
	uint32_t i, ret;

	if (nr > MAX_CHUNKS || payload > ccmd->len || !ring || ring >= MAX_RINGS)
		return ERR_PARAM;
	for (i = 0; i < nr; i++) {
		uint32_t what = ccmd_u32(ccmd, SUBMIT_CHUNKS + i * CHUNK_SIZE);
		uint64_t offset = payload + ccmd_u32(ccmd, SUBMIT_CHUNKS + i * CHUNK_SIZE + 4);
		uint32_t type = what & 0xffff;
		uint32_t len = (what >> 16) * 4;

		if (offset + len > ccmd->len)
			return ERR_PARAM;
		if (type != CHUNK_FENCE && type != CHUNK_BO_HANDLES)
			continue;
		ret = check_chunk(guard, ccmd, offset, len, type);
		if (ret != OK)
			return ret;
	}
	return OK;
}

static uint32_t check_amdgpu(const struct drm_guard *guard, const struct ccmd *ccmd)
{
	uint32_t id;

	switch (ccmd_u32(ccmd, HEADER_CMD)) {
	case AMDGPU_BO_VA_OP:
		/* An operation on address space without memory names no resource. */
		if (ccmd_u32(ccmd, VA_OP_FLAGS2) & VA_OP_SPARSE)
			return OK;
		id = ccmd_u32(ccmd, VA_OP_RES_ID);
		break;
	case AMDGPU_SET_METADATA:
		id = ccmd_u32(ccmd, METADATA_RES_ID);
		break;
	case AMDGPU_BO_QUERY_INFO:
		id = ccmd_u32(ccmd, QUERY_RES_ID);
		break;
	case AMDGPU_CS_SUBMIT:
		return check_submit(guard, ccmd);
	default:
		return OK;
	}
	return known(guard, id) ? OK : ERR_RESOURCE;
}

/* Take the next command off a stream: RESP_OK_NODATA and it, or an error. */
static uint32_t next_ccmd(const struct drm_guard *guard, const unsigned char **data, size_t *size,
			  struct ccmd *out)
{
	uint32_t alignment = guard->type == DRM_CONTEXT_AMDGPU ? 8 : 4;

	if (*size < HEADER_SIZE)
		return ERR_PARAM;
	*out = (struct ccmd){ .data = *data, .len = HEADER_SIZE };
	out->len = ccmd_u32(out, HEADER_LEN);
	if (out->len < HEADER_SIZE || out->len > *size || out->len % alignment)
		return ERR_PARAM;
	if (ccmd_u32(out, HEADER_RSP_OFF) % alignment)
		return ERR_PARAM;
	*data += out->len;
	*size -= out->len;
	return OK;
}

uint32_t drm_guard_check(const struct drm_guard *guard, const void *data, size_t size)
{
	const unsigned char *at = data;
	struct ccmd ccmd;
	uint32_t ret;

	if (size > UINT32_MAX)
		return ERR_PARAM;
	while (size) {
		ret = next_ccmd(guard, &at, &size, &ccmd);
		if (ret == OK && guard->type == DRM_CONTEXT_AMDGPU)
			ret = check_amdgpu(guard, &ccmd);
		if (ret != OK)
			return ret;
	}
	return OK;
}

void drm_guard_executed(struct drm_guard *guard, const void *data, size_t size)
{
	const unsigned char *at = data;
	struct ccmd ccmd;

	if (guard->type != DRM_CONTEXT_AMDGPU)
		return;
	while (size && next_ccmd(guard, &at, &size, &ccmd) == OK)
		if (ccmd_u32(&ccmd, HEADER_CMD) == AMDGPU_CS_SUBMIT)
			guard->rings |= (uint64_t)1 << (ccmd_u32(&ccmd, SUBMIT_RING) % MAX_RINGS);
}

uint32_t drm_guard_fence_ring(const struct drm_guard *guard, uint32_t ring)
{
	if (guard->type != DRM_CONTEXT_AMDGPU)
		return ring;
	return ring < MAX_RINGS && guard->rings >> ring & 1 ? ring : 0;
}

int drm_guard_add(struct drm_guard *guard, uint32_t id)
{
	if (known(guard, id))
		return 0;
	return id_table_insert(&guard->known, id, guard);
}

void drm_guard_remove(struct drm_guard *guard, uint32_t id)
{
	id_table_remove(&guard->known, id);
}

void drm_guard_destroy(struct drm_guard *guard)
{
	id_table_destroy(&guard->known);
}

uint32_t drm_guard_type(const void *capset, size_t size)
{
	uint32_t type;

	if (size < CAPSET_CONTEXT_TYPE + sizeof(type))
		return DRM_CONTEXT_NONE;
	memcpy(&type, (const unsigned char *)capset + CAPSET_CONTEXT_TYPE, sizeof(type));
	return le32toh(type);
}
