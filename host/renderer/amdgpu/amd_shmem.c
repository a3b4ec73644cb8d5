// SPDX-License-Identifier: MIT
/*
 * amd_shmem: the response memory of a context
 *
 * A memfd that the guest has mapped, too.  What the guest writes there is read once,
 * and checked where it was read; it can spoil its own answers and nothing else.  An
 * answer is complete before the seqno says so.
 *
 * Threads: any, but for the references one at a time.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "renderer/amdgpu/amd_internal.h"
#include "util/descriptors.h"

/* Where answers begin. */
#define ANSWERS sizeof(struct amdvgpu_shmem)

_Static_assert(ANSWERS % 8 == 0, "answers are aligned");

static int map_new(struct amd_shmem *shmem)
{
	shmem->fd = memfd_create("amdgpu-responses", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (shmem->fd < 0)
		return -errno;
	/* Nobody who gets it can make it shorter under us. */
	if (descriptor_is_reserved(shmem->fd, DESCRIPTORS_FOR_CONTEXTS))
		errno = EMFILE;
	else if (!ftruncate(shmem->fd, (off_t)shmem->size) &&
		 !fcntl(shmem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		shmem->map =
			mmap(NULL, shmem->size, PROT_READ | PROT_WRITE, MAP_SHARED, shmem->fd, 0);
	if (shmem->map && shmem->map != MAP_FAILED)
		return 0;
	close(shmem->fd);
	return -errno;
}

/**
 * amd_shmem_new() - response memory
 * @size: bytes
 * @out: it, with one reference
 *
 * Return: 0 or a negative errno.
 */
int amd_shmem_new(uint64_t size, struct amd_shmem **out)
{
	struct amdvgpu_shmem *front;
	struct amd_shmem *shmem;
	int err;

	if (size < ANSWERS + sizeof(struct amdvgpu_rsp) || size > AMD_MAX_SHMEM)
		return -EINVAL;
	shmem = calloc(1, sizeof(*shmem));
	if (!shmem)
		return -ENOMEM;
	shmem->refs = 1;
	shmem->size = size;
	err = map_new(shmem);
	if (err) {
		free(shmem);
		return err;
	}
	front = (struct amdvgpu_shmem *)shmem->map;
	front->rsp_mem_offset = htole32(ANSWERS);
	*out = shmem;
	return 0;
}

/**
 * amd_shmem_put() - give a reference back
 * @shmem: may be NULL
 */
void amd_shmem_put(struct amd_shmem *shmem)
{
	if (!shmem || atomic_fetch_sub(&shmem->refs, 1) > 1)
		return;
	munmap(shmem->map, shmem->size);
	close(shmem->fd);
	free(shmem);
}

/* The answer's place, and in *room how large it is; NULL: it is none. */
static struct amdvgpu_rsp *place(const struct amd_shmem *shmem, uint32_t rsp_off, uint32_t *room)
{
	uint64_t at = (uint64_t)ANSWERS + rsp_off;
	struct amdvgpu_rsp *rsp;

	if (rsp_off % 8 || at + sizeof(*rsp) > shmem->size)
		return NULL;
	rsp = (struct amdvgpu_rsp *)(shmem->map + at);
	*room = le32toh(*(volatile uint32_t *)&rsp->len);
	return *room >= sizeof(*rsp) && *room <= shmem->size - at ? rsp : NULL;
}

/**
 * amd_shmem_has_place() - whether there could be an answer
 * @shmem: it
 * @rsp_off: of the answer
 *
 * Return: true if so.
 */
bool amd_shmem_has_place(const struct amd_shmem *shmem, uint32_t rsp_off)
{
	uint32_t room;

	return place(shmem, rsp_off, &room);
}

/**
 * amd_shmem_answer() - write an answer
 * @shmem: where
 * @rsp_off: see struct amdvgpu_req
 * @ret: 0 or a negative errno
 * @payload: what follows
 * @size: bytes of it
 *
 * Return: 0, or -EBADMSG: there is no place for it.
 */
int amd_shmem_answer(struct amd_shmem *shmem, uint32_t rsp_off, int ret, const void *payload,
		     size_t size)
{
	struct amdvgpu_rsp *rsp;
	uint32_t room;

	rsp = place(shmem, rsp_off, &room);
	if (!rsp)
		return -EBADMSG;
	if (!ret && size > room - sizeof(*rsp))
		ret = -ENOSPC;
	if (!ret && size)
		memcpy(rsp + 1, payload, size);
	rsp->ret = htole32((uint32_t)ret);
	return 0;
}

static struct amdvgpu_shmem *front(struct amd_shmem *shmem)
{
	return (struct amdvgpu_shmem *)shmem->map;
}

/**
 * amd_shmem_set_seqno() - a command was executed
 * @shmem: may be NULL
 * @seqno: of it
 */
void amd_shmem_set_seqno(struct amd_shmem *shmem, uint32_t seqno)
{
	if (shmem)
		__atomic_store_n(&front(shmem)->seqno, htole32(seqno), __ATOMIC_RELEASE);
}

/**
 * amd_shmem_count_error() - something failed whose failure nobody asks for
 * @shmem: may be NULL
 */
void amd_shmem_count_error(struct amd_shmem *shmem)
{
	uint32_t errors, one;

	if (!shmem)
		return;
	/* Both threads count, and the guest can write there; it must not come to be 0 again. */
	errors = __atomic_load_n(&front(shmem)->async_error, __ATOMIC_RELAXED);
	do {
		one = le32toh(errors) < UINT32_MAX ? htole32(le32toh(errors) + 1) : errors;
	} while (!__atomic_compare_exchange_n(&front(shmem)->async_error, &errors, one, false,
					      __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

static void set_heap(struct amdvgpu_heap *to, const struct amdvgpu_heap *from)
{
	__atomic_store_n(&to->size, htole64(from->size), __ATOMIC_RELAXED);
	__atomic_store_n(&to->usage, htole64(from->usage), __ATOMIC_RELAXED);
	__atomic_store_n(&to->max_allocation, htole64(from->max_allocation), __ATOMIC_RELAXED);
}

/**
 * amd_shmem_set_heaps() - the guest is told how full the memory is
 * @shmem: may be NULL
 * @fd: a client of the card
 */
void amd_shmem_set_heaps(struct amd_shmem *shmem, int fd)
{
	struct amdvgpu_shmem heaps;

	if (!shmem || !amd_node_heaps(fd, &heaps))
		return;
	set_heap(&front(shmem)->gtt, &heaps.gtt);
	set_heap(&front(shmem)->vram, &heaps.vram);
	set_heap(&front(shmem)->vis_vram, &heaps.vis_vram);
}
