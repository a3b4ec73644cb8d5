// SPDX-License-Identifier: MIT
/*
 * virtgpu: thin layer over the virtio-gpu ioctls and the loopback context
 *
 * See virtgpu.h.  Nothing here keeps state outside of struct vg.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "virtgpu.h"

/**
 * vg_open_node() - open a render node, close-on-exec
 * @path: path of the node
 *
 * Return: descriptor or a negative errno.
 */
int vg_open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/**
 * vg_getparam() - DRM_VIRTGPU_GETPARAM
 * @fd: render node
 * @param: VIRTGPU_PARAM_*
 * @value: where the kernel writes an int; cleared before
 *
 * Return: 0 or a negative errno.
 */
int vg_getparam(int fd, uint64_t param, uint64_t *value)
{
	struct drm_virtgpu_getparam arg = {
		.param = param,
		.value = (uintptr_t)value,
	};

	*value = 0;
	return vg_ioctl(fd, DRM_IOCTL_VIRTGPU_GETPARAM, &arg);
}

/**
 * vg_context_init_polled() - make the descriptor's context, with fence events
 * @fd: render node
 * @capset: capset id
 * @rings: rings, 0 for none of its own
 * @polled: bit n: an event is sent when a fence of ring n signals
 *
 * Return: 0 or a negative errno.
 */
int vg_context_init_polled(int fd, uint32_t capset, uint32_t rings, uint64_t polled)
{
	struct drm_virtgpu_context_set_param params[] = {
		{ .param = VIRTGPU_CONTEXT_PARAM_CAPSET_ID, .value = capset },
		{ .param = VIRTGPU_CONTEXT_PARAM_NUM_RINGS, .value = rings },
		{ .param = VIRTGPU_CONTEXT_PARAM_POLL_RINGS_MASK, .value = polled },
	};
	struct drm_virtgpu_context_init arg = {
		.num_params = 1 + !!rings,
		.ctx_set_params = (uintptr_t)params,
	};

	/* Only of rings that there are. */
	if (rings && polled)
		arg.num_params++;
	return vg_ioctl(fd, DRM_IOCTL_VIRTGPU_CONTEXT_INIT, &arg);
}

/**
 * vg_context_init() - make the descriptor's context
 * @fd: render node
 * @capset: capset id
 * @rings: rings, 0 for none of its own
 *
 * Return: 0 or a negative errno.
 */
int vg_context_init(int fd, uint32_t capset, uint32_t rings)
{
	return vg_context_init_polled(fd, capset, rings, 0);
}

/**
 * vg_capset() - DRM_VIRTGPU_GET_CAPS, version 1
 * @fd: render node
 * @capset: capset id
 * @data: where to
 * @len: bytes of @data
 *
 * Return: 0 or a negative errno.
 */
int vg_capset(int fd, uint32_t capset, void *data, size_t len)
{
	struct drm_virtgpu_get_caps arg = {
		.cap_set_id = capset,
		.cap_set_ver = 1,
		.addr = (uintptr_t)data,
		.size = len,
	};

	return vg_ioctl(fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &arg);
}

/**
 * vg_blob_create() - make a mappable blob of guest memory
 * @fd: render node
 * @size: bytes, a multiple of the page size
 * @bo: out
 *
 * Return: 0 or a negative errno.
 */
int vg_blob_create(int fd, uint64_t size, struct vg_bo *bo)
{
	struct drm_virtgpu_resource_create_blob arg = {
		.blob_mem = VIRTGPU_BLOB_MEM_GUEST,
		.blob_flags = VIRTGPU_BLOB_FLAG_USE_MAPPABLE,
		.size = size,
	};
	int ret;

	ret = vg_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB, &arg);
	if (ret)
		return ret;
	bo->handle = arg.bo_handle;
	bo->res = arg.res_handle;
	return 0;
}

/**
 * vg_map() - map a buffer object
 * @fd: render node
 * @handle: GEM handle
 * @size: bytes
 * @addr: out
 *
 * Return: 0 or a negative errno.
 */
int vg_map(int fd, uint32_t handle, uint64_t size, void **addr)
{
	struct drm_virtgpu_map arg = { .handle = handle };
	void *map;
	int ret;

	ret = vg_ioctl(fd, DRM_IOCTL_VIRTGPU_MAP, &arg);
	if (ret)
		return ret;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, arg.offset);
	if (map == MAP_FAILED)
		return -errno;
	*addr = map;
	return 0;
}

/**
 * vg_userptr_event() - wait for the event of a revoked registration, and read it
 * @fd: render node, of which nothing else is read
 * @event: out
 * @timeout_ms: how long, 0 not at all
 *
 * Return: 0 or a negative errno; -ETIME if none came, -EPROTO if another did.
 */
int vg_userptr_event(int fd, struct drm_virtgpu_event_userptr *event, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t got;
	int ret;

	ret = poll(&pfd, 1, timeout_ms);
	if (ret < 0)
		return -errno;
	if (!ret)
		return -ETIME;
	/* One at a time: a read gives as many whole events as there is room for. */
	got = read(fd, event, sizeof(*event));
	if (got < 0)
		return -errno;
	if (got != sizeof(*event) || event->base.type != VIRTGPU_EVENT_USERPTR_REVOKED ||
	    event->base.length != sizeof(*event))
		return -EPROTO;
	return 0;
}

/**
 * vg_open_polled() - vg_open(), with fence events
 * @vg: out
 * @path: path of the node
 * @rings: rings of the context, at least 1
 * @polled: bit n: an event is sent when a fence of ring n signals
 *
 * Return: 0 or a negative errno.
 */
int vg_open_polled(struct vg *vg, const char *path, uint32_t rings, uint64_t polled)
{
	void *map;
	int ret;

	memset(vg, 0, sizeof(*vg));
	vg->rings = rings;
	vg->fd = vg_open_node(path);
	if (vg->fd < 0)
		return vg->fd;
	ret = vg_context_init_polled(vg->fd, VIRTIO_GPU_CAPSET_LOOPBACK, rings, polled);
	if (ret)
		goto err_close;
	ret = vg_blob_create(vg->fd, VG_RESULT_SIZE, &vg->result);
	if (ret)
		goto err_close;
	ret = vg_map(vg->fd, vg->result.handle, VG_RESULT_SIZE, &map);
	if (ret)
		goto err_close;
	vg->map = map;
	return 0;

err_close:
	close(vg->fd);
	vg->fd = -1;
	return ret;
}

/**
 * vg_open() - open a render node and make a loopback context with results blob
 * @vg: out
 * @path: path of the node
 * @rings: rings of the context, at least 1
 *
 * Return: 0 or a negative errno.
 */
int vg_open(struct vg *vg, const char *path, uint32_t rings)
{
	return vg_open_polled(vg, path, rings, 0);
}

/**
 * vg_close() - undo vg_open()
 * @vg: may be half-open or already closed
 */
void vg_close(struct vg *vg)
{
	if (vg->map)
		munmap(vg->map, VG_RESULT_SIZE);
	if (vg->fd > 0)
		close(vg->fd);
	vg->map = NULL;
	vg->fd = -1;
}

/**
 * vg_submit() - queue loopback commands; the status goes to the results blob
 * @vg: context
 * @ring: ring index
 * @commands: commands, fields little-endian
 * @nr: how many
 * @handles: GEM handles that the submission holds (NULL: the results blob)
 * @nr_handles: how many
 * @fence: out, a sync file; the caller closes it
 *
 * Return: 0 or a negative errno.
 */
int vg_submit(struct vg *vg, uint32_t ring, const struct loopback_command *commands,
	      unsigned int nr, const uint32_t *handles, unsigned int nr_handles, int *fence)
{
	struct loopback_status *status = (void *)(vg->map + VG_RESULT_STATUS);
	struct drm_virtgpu_execbuffer arg = { 0 };
	struct loopback_submit *submit;
	size_t size = sizeof(*submit) + nr * sizeof(*commands);
	int ret;

	submit = calloc(1, size);
	if (!submit)
		return -ENOMEM;
	memset(status, 0, sizeof(*status));
	submit->magic = htole32(LOOPBACK_MAGIC);
	submit->nr_commands = htole32(nr);
	submit->status_res = htole32(vg->result.res);
	submit->status_offset = htole64(VG_RESULT_STATUS);
	memcpy(submit + 1, commands, nr * sizeof(*commands));

	arg.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT | VIRTGPU_EXECBUF_RING_IDX;
	arg.size = size;
	arg.command = (uintptr_t)submit;
	arg.bo_handles = (uintptr_t)(handles ? handles : &vg->result.handle);
	arg.num_bo_handles = handles ? nr_handles : 1;
	arg.ring_idx = ring;
	arg.fence_fd = -1;
	do {
		ret = vg_ioctl(vg->fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &arg);
	} while (ret == -EINTR);
	free(submit);
	if (!ret)
		*fence = arg.fence_fd;
	return ret;
}

/**
 * vg_wait_fence() - wait for a sync file
 * @fence: the sync file; is closed
 * @timeout_ms: how long
 *
 * Return: 0, -ETIME or another negative errno.
 */
int vg_wait_fence(int fence, int timeout_ms)
{
	struct pollfd pfd = { .fd = fence, .events = POLLIN };
	int ret;

	do {
		ret = poll(&pfd, 1, timeout_ms);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		ret = -errno;
	else
		ret = ret ? 0 : -ETIME;
	close(fence);
	return ret;
}

/**
 * vg_status() - read what the device wrote about the last submission
 * @vg: context
 * @status: out, host byte order
 *
 * Return: 0 if everything ran, -EACCES if it was refused, -ECANCELED, or
 * -EPROTO if there is no valid status.
 */
int vg_status(const struct vg *vg, struct loopback_status *status)
{
	const struct loopback_status *from = (const void *)(vg->map + VG_RESULT_STATUS);

	status->state = le32toh(__atomic_load_n(&from->state, __ATOMIC_ACQUIRE));
	status->index = le32toh(from->index);
	status->error = le32toh(from->error);
	status->reserved = le32toh(from->reserved);
	switch (status->state) {
	case LOOPBACK_DONE:
		return 0;
	case LOOPBACK_REFUSED:
		return -EACCES;
	case LOOPBACK_CANCELLED:
		return -ECANCELED;
	default:
		return -EPROTO;
	}
}

/**
 * vg_run() - submit, wait, look at the status
 * @vg: context
 * @ring: ring index
 * @commands: commands
 * @nr: how many
 *
 * Return: as vg_submit(), vg_wait_fence() and vg_status().
 */
int vg_run(struct vg *vg, uint32_t ring, const struct loopback_command *commands, unsigned int nr)
{
	struct loopback_status status;
	int fence, ret;

	ret = vg_submit(vg, ring, commands, nr, NULL, 0, &fence);
	if (ret)
		return ret;
	ret = vg_wait_fence(fence, VG_TIMEOUT_MS);
	if (ret)
		return ret;
	return vg_status(vg, &status);
}

/* The last two operands of a command are in a struct vg_copy. */
static int run_copy(struct vg *vg, uint32_t op, const struct vg_copy *copy)
{
	struct loopback_command command = {
		.op = htole32(op),
		.dst_res = htole32(copy->dst_res),
		.src_res = htole32(copy->src_res),
		.dst_offset = htole64(copy->dst_offset),
		.src_offset = htole64(copy->src_offset),
		.length = htole64(copy->length),
	};

	return vg_run(vg, 0, &command, 1);
}

/**
 * vg_copy() - LOOPBACK_OP_COPY
 * @vg: context
 * @copy: operands
 *
 * Return: as vg_run().
 */
int vg_copy(struct vg *vg, const struct vg_copy *copy)
{
	return run_copy(vg, LOOPBACK_OP_COPY, copy);
}

/**
 * vg_invert() - LOOPBACK_OP_INVERT
 * @vg: context
 * @copy: operands
 *
 * Return: as vg_run().
 */
int vg_invert(struct vg *vg, const struct vg_copy *copy)
{
	return run_copy(vg, LOOPBACK_OP_INVERT, copy);
}

/**
 * vg_fill() - LOOPBACK_OP_FILL
 * @vg: context
 * @res: resource
 * @offset: bytes into it
 * @length: bytes
 * @byte: value
 *
 * Return: as vg_run().
 */
int vg_fill(struct vg *vg, uint32_t res, uint64_t offset, uint64_t length, uint8_t byte)
{
	struct loopback_command command = {
		.op = htole32(LOOPBACK_OP_FILL),
		.arg = htole32(byte),
		.dst_res = htole32(res),
		.dst_offset = htole64(offset),
		.length = htole64(length),
	};

	return vg_run(vg, 0, &command, 1);
}

/**
 * vg_sha256() - LOOPBACK_OP_SHA256
 * @vg: context
 * @res: resource
 * @offset: bytes into it
 * @length: bytes
 * @digest: out
 *
 * Return: as vg_run().
 */
int vg_sha256(struct vg *vg, uint32_t res, uint64_t offset, uint64_t length,
	      uint8_t digest[LOOPBACK_SHA256_SIZE])
{
	struct vg_copy copy = {
		.dst_res = vg->result.res,
		.dst_offset = VG_RESULT_DATA,
		.src_res = res,
		.src_offset = offset,
		.length = length,
	};
	int ret;

	memset(vg->map + VG_RESULT_DATA, 0, LOOPBACK_SHA256_SIZE);
	ret = run_copy(vg, LOOPBACK_OP_SHA256, &copy);
	if (!ret)
		memcpy(digest, vg->map + VG_RESULT_DATA, LOOPBACK_SHA256_SIZE);
	return ret;
}

/**
 * vg_stats() - LOOPBACK_OP_STATS
 * @vg: context
 * @stats: out, host byte order
 *
 * Return: as vg_run().
 */
int vg_stats(struct vg *vg, struct loopback_stats *stats)
{
	struct vg_copy copy = {
		.dst_res = vg->result.res,
		.dst_offset = VG_RESULT_DATA,
	};
	uint64_t *word = (uint64_t *)stats;
	size_t i;
	int ret;

	ret = run_copy(vg, LOOPBACK_OP_STATS, &copy);
	if (ret)
		return ret;
	memcpy(stats, vg->map + VG_RESULT_DATA, sizeof(*stats));
	for (i = 0; i < sizeof(*stats) / sizeof(*word); i++)
		word[i] = le64toh(word[i]);
	return 0;
}

/**
 * vg_inject() - arm a fault, LOOPBACK_OP_INJECT
 * @vg: context
 * @fault: the fault
 *
 * Return: as vg_run().
 */
int vg_inject(struct vg *vg, const struct vg_fault *fault)
{
	struct loopback_command command = {
		.op = htole32(LOOPBACK_OP_INJECT),
		.arg = htole32(fault->fault),
		.dst_res = htole32(fault->command),
		.dst_offset = htole64(fault->skip),
		.src_offset = htole64(fault->count),
		.length = htole64(fault->param),
	};

	return vg_run(vg, 0, &command, 1);
}

/**
 * vg_status_kib() - a field of /proc/self/status
 * @field: its name, such as "VmPin"
 *
 * Return: KiB or a negative errno.
 */
long vg_status_kib(const char *field)
{
	char line[256];
	size_t len = strlen(field);
	long kib = -ENOENT;
	FILE *file;

	file = fopen("/proc/self/status", "re");
	if (!file)
		return -errno;
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, field, len) && line[len] == ':')
			kib = strtol(line + len + 1, NULL, 10);
	}
	fclose(file);
	return kib;
}

/**
 * vg_wait_status_kib() - wait until a field of /proc/self/status has a value
 * @field: its name
 * @kib: the value
 * @timeout_ms: how long
 *
 * There is nothing to wait on in /proc, so it is read again and again.
 *
 * Return: 0, or -ETIME.
 */
int vg_wait_status_kib(const char *field, long kib, int timeout_ms)
{
	const struct timespec pause = { .tv_nsec = 2 * 1000 * 1000 };
	uint64_t end = vg_now_us() + (uint64_t)timeout_ms * 1000;

	while (vg_status_kib(field) != kib) {
		if (vg_now_us() > end)
			return -ETIME;
		nanosleep(&pause, NULL);
	}
	return 0;
}
