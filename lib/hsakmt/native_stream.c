// SPDX-License-Identifier: MIT
/*
 * native_stream: commands, their answers, and memory of the context
 *
 * A command is sent with a fence, which is waited for; then the device must have
 * written its number to the front of the response memory, and its answer behind that.
 * The answer's place is filled before with what does not pass for one.
 *
 * Locking: as in native.h.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "native.h"
#include "native_uapi.h"
#include "virtgpu_ioctl.h"

/* The largest number that is an errno. */
#define MAX_ERRNO 4095

/* How long a command or a job may take; a GPU that hangs is reset after a third of it. */
unsigned int native_timeout_ms = 30000;

/**
 * native_ioctl() - an ioctl that signals do not end
 * @fd: render node
 * @request: request
 * @arg: its argument
 *
 * Return: 0 or a negative errno.
 */
int native_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = vg_ioctl(fd, request, arg);
	} while (ret == -EINTR);
	return ret;
}

static struct amdvgpu_shmem *shmem_of(struct hsakmt_gpu *gpu)
{
	return gpu->shmem.map;
}

static int map_blob(struct hsakmt_gpu *gpu, struct native_blob *blob)
{
	struct vg_map_arg arg = { .handle = blob->handle };
	void *map;
	int ret;

	ret = native_ioctl(gpu->fd, VG_IOCTL_MAP, &arg);
	if (ret)
		return ret;
	map = mmap(NULL, blob->size, PROT_READ | PROT_WRITE, MAP_SHARED, gpu->fd, arg.offset);
	/* Then the device has none, which it does not say before. */
	if (map == MAP_FAILED)
		return errno == EINVAL ? -ENOMEM : -errno;
	/* A child has nothing of it. */
	madvise(map, blob->size, MADV_DONTFORK);
	blob->map = map;
	return 0;
}

/* With @req in front of it, or without. */
static int create_blob(struct hsakmt_gpu *gpu, uint64_t blob_id, uint64_t size,
		       struct amdvgpu_req *req, struct native_blob *blob)
{
	struct vg_create_blob arg = {
		.blob_mem = VG_BLOB_MEM_HOST3D,
		.blob_flags = VG_BLOB_USE_MAPPABLE,
		.size = size,
		.blob_id = blob_id,
		.cmd = (uintptr_t)req,
		.cmd_size = req ? req->len : 0,
	};
	int ret;

	ret = native_ioctl(gpu->fd, VG_IOCTL_CREATE_BLOB, &arg);
	if (ret)
		return ret;
	blob->handle = arg.bo_handle;
	blob->res = arg.res_handle;
	blob->size = size;
	ret = map_blob(gpu, blob);
	if (ret)
		native_blob_destroy(gpu, blob);
	return ret;
}

/**
 * native_blob_destroy() - give memory of the context back
 * @gpu: whose
 * @blob: it; all zero is none
 */
void native_blob_destroy(struct hsakmt_gpu *gpu, struct native_blob *blob)
{
	if (blob->map)
		munmap(blob->map, blob->size);
	if (blob->handle)
		vg_bo_close(gpu->fd, blob->handle);
	memset(blob, 0, sizeof(*blob));
}

/**
 * native_stream_open() - make the response memory
 * @gpu: with a context
 *
 * Return: 0 or a negative errno.
 */
int native_stream_open(struct hsakmt_gpu *gpu)
{
	uint32_t offset;
	int ret;

	ret = create_blob(gpu, 0, NATIVE_SHMEM_SIZE, NULL, &gpu->shmem);
	if (ret)
		return ret;
	offset = __atomic_load_n(&shmem_of(gpu)->rsp_mem_offset, __ATOMIC_RELAXED);
	/* Answers must not lie where the device's own words are. */
	if (offset & 7 || offset < offsetof(struct amdvgpu_shmem, gtt) ||
	    offset > NATIVE_SHMEM_SIZE - NATIVE_MAX_ANSWER)
		return -EPROTO;
	gpu->rsp_offset = offset;
	return 0;
}

static int submit(struct hsakmt_gpu *gpu, uint32_t ring, const struct amdvgpu_req *req, int *fence)
{
	struct vg_execbuffer arg = {
		.flags = VG_EXECBUF_FENCE_FD_OUT | VG_EXECBUF_RING_IDX,
		.size = req->len,
		.command = (uintptr_t)req,
		.fence_fd = -1,
		.ring_idx = ring,
	};
	int ret = native_ioctl(gpu->fd, VG_IOCTL_EXECBUFFER, &arg);

	*fence = arg.fence_fd;
	return ret;
}

static int wait_fence(int fence)
{
	uint64_t end = vg_now_us() / 1000 + native_timeout_ms, now;
	struct pollfd pfd = { .fd = fence, .events = POLLIN };
	int ret;

	do {
		now = vg_now_us() / 1000;
		ret = poll(&pfd, 1, now < end ? end - now : 0);
	} while (ret < 0 && errno == EINTR);
	if (!ret)
		return -ETIMEDOUT;
	return ret < 0 || !(pfd.revents & POLLIN) ? -EIO : 0;
}

/*
 * The device counts what has failed and, for what it knows, nobody waits for.  What is
 * waited for here, and says so, is no news; a job says so by what it has not done.
 */
static bool has_failed(struct hsakmt_gpu *gpu, const struct amdvgpu_req *req,
		       const struct amdvgpu_rsp *rsp)
{
	uint32_t before = gpu->errors;
	bool known = gpu->refused || rsp->ret || req->cmd == AMDVGPU_CS_SUBMIT;

	gpu->errors = __atomic_load_n(&shmem_of(gpu)->async_error, __ATOMIC_RELAXED);
	gpu->refused = false;
	return gpu->errors != before && !known;
}

/* What the device has written is there, if it is. */
static int read_answer(struct hsakmt_gpu *gpu, const struct amdvgpu_req *req,
		       const struct amdvgpu_rsp *slot, struct amdvgpu_rsp *rsp, uint32_t size)
{
	if (__atomic_load_n(&shmem_of(gpu)->seqno, __ATOMIC_ACQUIRE) != req->seqno)
		return -EPROTO;
	memcpy(rsp, slot, size);
	/* Only the copy is looked at from here on: the device may go on writing. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if ((int32_t)rsp->ret > 0 || (int32_t)rsp->ret < -MAX_ERRNO)
		return -EPROTO;
	return has_failed(gpu, req, rsp) ? -EIO : 0;
}

/**
 * native_call() - send a command, and wait for its answer
 * @gpu: to which
 * @ring: of the context: NATIVE_RING_CPU, or that of the engine that a job is for,
 *	which is then over
 * @req: command; @cmd and @len are the caller's
 * @rsp: answer, without what the device left out, which is 0
 * @size: bytes of it that there can be
 *
 * Return: 0 or a negative errno, the device's among them.
 */
int native_call(struct hsakmt_gpu *gpu, uint32_t ring, struct amdvgpu_req *req,
		struct amdvgpu_rsp *rsp, uint32_t size)
{
	struct amdvgpu_rsp *slot = (void *)((uint8_t *)gpu->shmem.map + gpu->rsp_offset);
	int fence, ret;

	if (gpu->lost)
		return -EIO;
	memset(slot, 0, (size + 7) & ~7u);
	slot->len = (size + 7) & ~7u;
	slot->ret = -EIO;
	req->seqno = gpu->seqno + 1;
	req->rsp_off = 0;
	ret = submit(gpu, ring, req, &fence);
	if (ret)
		return ret;
	gpu->seqno++;
	ret = wait_fence(fence);
	close(fence);
	if (!ret)
		ret = read_answer(gpu, req, slot, rsp, size);
	if (ret) {
		/* It may still be answered, in the place of another one. */
		gpu->lost = true;
		return ret;
	}
	return (int32_t)rsp->ret;
}

/**
 * native_new_buffer() - memory that the GPU and this process can reach
 * @gpu: whose
 * @size: bytes, whole pages
 * @blob: out
 *
 * Return: 0 or a negative errno, -ENOMEM if the device has made none.
 */
int native_new_buffer(struct hsakmt_gpu *gpu, uint64_t size, struct native_blob *blob)
{
	struct amdvgpu_gem_new new = {
		.req = { .cmd = AMDVGPU_GEM_NEW, .len = sizeof(new), .seqno = gpu->seqno + 1 },
		.blob_id = gpu->blob_id + 1,
		.size = size,
		.alignment = size,
		.domain = AMDGPU_GEM_DOMAIN_GTT,
	};

	int ret;

	if (gpu->lost)
		return -EIO;
	/* Sent or not, the number is not used again: it may be either. */
	gpu->blob_id++;
	gpu->seqno++;
	ret = create_blob(gpu, new.blob_id, size, &new.req, blob);
	if (ret)
		gpu->refused = true;
	return ret;
}
