// SPDX-License-Identifier: MIT
/*
 * device: render nodes with an amdgpu native context, for the unit tests
 *
 * See device.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "device.h"
#include "native_uapi.h"
#include "virtgpu_ioctl.h"

#define MEMORY (1 << 20)
#define NAME "the-native-device"
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

struct device device = { .memfd = -1 };

#define BUG_ON(condition)                                                                \
	do {                                                                             \
		if (condition) {                                                         \
			fprintf(stderr, "device: %s, line %d: %s\n", __func__, __LINE__, \
				#condition);                                             \
			abort();                                                         \
		}                                                                        \
	} while (0)

/* A Navi 21. */
static void set_info(void)
{
	const uint32_t ips[3][8] = {
		{ 10, 3, 0, 0, 32, 32, 1, 0x0a0300 },
		{ 10, 3, 0, 0, 32, 32, 0xf, 0x0a0300 },
		{ 5, 2, 0, 0, 256, 4, 3, 0x050200 },
	};

	memcpy(device.ips, ips, sizeof(ips));
	device.info.device_id = 0x73bf;
	device.info.family = 143;
	device.info.chip_rev = 1;
	device.info.num_shader_engines = 4;
	device.info.num_shader_arrays_per_engine = 2;
	device.info.num_cu_per_sh = 10;
	device.info.cu_active_number = 60;
	device.info.wave_front_size = 32;
	device.info.max_engine_clock = 2475000;
	device.info.max_memory_clock = 1000000;
	device.info.vram_bit_width = 256;
	device.info.virtual_address_offset = 0x200000;
	device.info.virtual_address_max = 0x800000000000;
	device.info.virtual_address_alignment = 4096;
	device.memory_info.vram.total_heap_size = 0x40000000;
	device.memory_info.cpu_accessible_vram.total_heap_size = 0x10000000;
}

/**
 * device_reset() - one that works: renderD130, besides others that do not
 */
void device_reset(void)
{
	int memfd = device.memfd;
	uint8_t *memory = device.memory;

	if (memfd < 0) {
		memfd = memfd_create(NAME, MFD_CLOEXEC);
		BUG_ON(memfd < 0 || ftruncate(memfd, MEMORY));
		memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
		BUG_ON(memory == MAP_FAILED);
	}
	memset(memory, 0, MEMORY);
	device = (struct device){
		.memfd = memfd,
		.memory = memory,
		.fail_after = ~0u,
		.unmappable = ~0u,
		.rsp_offset = sizeof(struct amdvgpu_shmem),
		.nodes = {
			{ "i915", 7, 2, 0 },
			{ "virtio_gpu", 7, 1, 0 },
			{ "virtio_gpu", 7, 2, 0 },
			{ NULL, 0, 0, 0 },
		},
	};
	set_info();
}

/**
 * device_open_blobs() - memory that was not given back
 *
 * Return: how many.
 */
unsigned int device_open_blobs(void)
{
	unsigned int i, nr = 0;

	for (i = 1; i <= device.nr_blobs; i++)
		nr += device.blobs[i].open;
	return nr;
}

/**
 * device_mappings() - of the device's memory in this process, but for its own
 *
 * Return: how many.
 */
unsigned int device_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int nr = 0;
	char line[512];

	BUG_ON(!maps);
	while (fgets(line, sizeof(line), maps))
		nr += !!strstr(line, NAME);
	fclose(maps);
	return nr - 1;
}

/* ---- nodes ------------------------------------------------------------------ */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_vg_ioctl(int fd, unsigned long request, void *arg);
int __wrap_vg_bo_close(int fd, uint32_t handle);

int __wrap_open(const char *path, int flags, ...)
{
	char memory[32];
	unsigned int i;

	if (sscanf(path, "/dev/dri/renderD%u", &i) != 1)
		return __real_open(path, flags);
	i -= 128;
	BUG_ON((flags & (O_ACCMODE | O_CLOEXEC)) != (O_RDWR | O_CLOEXEC));
	if (i >= DEVICE_NODES || !device.nodes[i].driver || device.nodes[i].open_error) {
		errno = i < DEVICE_NODES && device.nodes[i].driver ? device.nodes[i].open_error :
								     ENOENT;
		return -1;
	}
	device.opened = i;
	snprintf(memory, sizeof(memory), "/proc/self/fd/%d", device.memfd);
	return __real_open(memory, O_RDWR | O_CLOEXEC);
}

int __wrap_fstat(int fd, struct stat *st)
{
	(void)fd;
	memset(st, 0, sizeof(*st));
	st->st_rdev = makedev(226, 128 + device.opened);
	return 0;
}

static int do_version(struct drm_version *arg)
{
	const char *driver = device.nodes[device.opened].driver;
	size_t size = strlen(driver);

	memcpy(arg->name, driver, size < arg->name_len ? size : arg->name_len);
	arg->name_len = size;
	return 0;
}

static int do_getparam(const struct vg_getparam_arg *arg)
{
	BUG_ON(arg->param != VIRTGPU_PARAM_USERPTR);
	memcpy((void *)(uintptr_t)arg->value, &device.nodes[device.opened].userptr, sizeof(int));
	return 0;
}

static int do_get_caps(const struct vg_get_caps *arg)
{
	const uint32_t caps[] = { 2, 3, 64, 0, device.nodes[device.opened].context_type, 0 };

	BUG_ON(arg->id != AMDVGPU_CAPSET_DRM || arg->size != sizeof(caps));
	memcpy((void *)(uintptr_t)arg->addr, caps, sizeof(caps));
	return 0;
}

static int do_context_init(const struct vg_context_init *arg)
{
	const struct vg_context_param *params = (void *)(uintptr_t)arg->params;

	BUG_ON(device.context || arg->num_params != 2);
	BUG_ON(params[0].param != 1 || params[0].value != AMDVGPU_CAPSET_DRM);
	BUG_ON(params[1].param != 2);
	device.context = true;
	device.rings = params[1].value;
	return 0;
}

static void check_seqno(const struct amdvgpu_req *req)
{
	/* A command that could not be sent may be missing. */
	BUG_ON(req->seqno <= device.seqno);
	BUG_ON(req->len & 7);
	device.seqno = req->seqno;
}

static struct amdvgpu_shmem *shmem(void)
{
	return (void *)(device.memory + device.blobs[1].offset);
}

static int do_create_blob(struct vg_create_blob *arg)
{
	struct device_blob *blob = &device.blobs[++device.nr_blobs];

	BUG_ON(device.nr_blobs >= ARRAY_SIZE(device.blobs) || arg->size & 4095);
	BUG_ON(arg->blob_mem != VG_BLOB_MEM_HOST3D || arg->blob_flags != VG_BLOB_USE_MAPPABLE);
	*blob = (struct device_blob){ true, device.used, arg->size, arg->blob_id };
	device.used += arg->size;
	arg->bo_handle = device.nr_blobs;
	arg->res_handle = device.nr_blobs + DEVICE_RES;
	if (!arg->blob_id) {
		BUG_ON(device.nr_blobs != 1);
		shmem()->rsp_mem_offset = device.rsp_offset;
		return 0;
	}
	BUG_ON(arg->cmd_size != sizeof(device.gem_new));
	memcpy(&device.gem_new, (void *)(uintptr_t)arg->cmd, sizeof(device.gem_new));
	check_seqno(&device.gem_new.req);
	BUG_ON(device.gem_new.blob_id != arg->blob_id);
	shmem()->async_error += device.nr_blobs >= device.unmappable;
	return 0;
}

static int do_map(struct vg_map_arg *arg)
{
	BUG_ON(!arg->handle || arg->handle > device.nr_blobs || !device.blobs[arg->handle].open);
	arg->offset = device.blobs[arg->handle].offset;
	/* Which mmap() refuses. */
	if (arg->handle >= device.unmappable)
		arg->offset++;
	return 0;
}

int __wrap_vg_bo_close(int fd, uint32_t handle)
{
	BUG_ON(fd < 0 || !handle || handle > device.nr_blobs || !device.blobs[handle].open);
	device.blobs[handle].open = false;
	return 0;
}

/* ---- commands --------------------------------------------------------------- */

static void answer(const struct amdvgpu_req *req, int ret, const void *data, uint32_t size)
{
	struct amdvgpu_rsp *rsp;
	uint32_t room;

	rsp = (void *)((uint8_t *)shmem() + device.rsp_offset + req->rsp_off);
	room = rsp->len - sizeof(*rsp);
	BUG_ON(device.rsp_offset + req->rsp_off + rsp->len > DEVICE_SHMEM_SIZE);
	if (device.hostile == HOSTILE_SILENT)
		return;
	rsp->ret = ret;
	if (device.hostile == HOSTILE_POSITIVE)
		rsp->ret = 1;
	if (device.hostile == HOSTILE_ERRNO)
		rsp->ret = -4096;
	if (device.hostile == HOSTILE_LENGTH)
		rsp->len = 0xfffffff8;
	if (size)
		memcpy(rsp + 1, data, size < room ? size : room);
}

static void query_info(const struct amdvgpu_query_info *cmd)
{
	struct drm_amdgpu_info_firmware firmware = { .ver = 0x1234 };

	BUG_ON(cmd->req.len != sizeof(*cmd));
	switch (cmd->query) {
	case AMDGPU_INFO_DEV_INFO:
		answer(&cmd->req, 0, &device.info, sizeof(device.info));
		return;
	case AMDGPU_INFO_MEMORY:
		answer(&cmd->req, 0, &device.memory_info, sizeof(device.memory_info));
		return;
	case AMDGPU_INFO_HW_IP_INFO:
		BUG_ON(cmd->argument[0] > 2 || cmd->argument[1]);
		answer(&cmd->req, 0, device.ips[cmd->argument[0]], sizeof(device.ips[0]));
		return;
	case AMDGPU_INFO_FW_VERSION:
		firmware.ver += cmd->argument[0];
		answer(&cmd->req, 0, &firmware, sizeof(firmware));
		return;
	default:
		answer(&cmd->req, -EINVAL, NULL, 0);
	}
}

static void va_op(const struct amdvgpu_bo_va_op *cmd)
{
	unsigned int i;

	BUG_ON(cmd->req.len != sizeof(*cmd) || cmd->va & 4095 || !cmd->size || cmd->size & 4095);
	if (cmd->op == AMDGPU_VA_OP_MAP) {
		for (i = 0; i < device.nr_maps; i++)
			BUG_ON(cmd->va < device.maps[i].va + device.maps[i].size &&
			       device.maps[i].va < cmd->va + cmd->size);
		BUG_ON(device.nr_maps == DEVICE_MAX);
		device.maps[device.nr_maps++] = *cmd;
		answer(&cmd->req, 0, NULL, 0);
		return;
	}
	BUG_ON(cmd->op != AMDGPU_VA_OP_UNMAP);
	i = device.nr_maps;
	while (i && device.maps[i - 1].va != cmd->va)
		i--;
	BUG_ON(!i || device.maps[i - 1].size != cmd->size ||
	       device.maps[i - 1].res_id != cmd->res_id);
	device.maps[i - 1] = device.maps[--device.nr_maps];
	answer(&cmd->req, 0, NULL, 0);
}

static void create_ctx(const struct amdvgpu_create_ctx *cmd)
{
	uint32_t id[2] = { 0 };

	BUG_ON(cmd->req.len != sizeof(*cmd));
	if (cmd->flags & AMDVGPU_CTX_DESTROY) {
		BUG_ON(!device.contexts || cmd->priority != device.ctx_id);
		device.contexts--;
	} else {
		BUG_ON(cmd->priority);
		device.contexts++;
		id[0] = ++device.ctx_id;
	}
	answer(&cmd->req, 0, id, sizeof(id));
}

/* What is mapped at an address, which is a blob's. */
static uint32_t *at(uint64_t va)
{
	unsigned int i;

	for (i = 0; i < device.nr_maps; i++) {
		const struct amdvgpu_bo_va_op *map = &device.maps[i];

		if (va >= map->va && va < map->va + map->size &&
		    map->res_id <= DEVICE_RES + device.nr_blobs)
			return (void *)(device.memory +
					device.blobs[map->res_id - DEVICE_RES].offset + va -
					map->va);
	}
	BUG_ON("nothing is mapped there");
	return NULL;
}

static void sdma(void)
{
	const uint32_t *dw = device.ib;
	struct device_copy *copy;

	while (dw < device.ib + device.ib_size) {
		switch (*dw & 0xff) {
		case 0:
			dw++;
			break;
		case 1:
			copy = &device.copies[device.nr_copies++];
			BUG_ON(device.nr_copies >= DEVICE_MAX);
			copy->size = dw[1] + 1;
			copy->src = (uint64_t)dw[4] << 32 | dw[3];
			copy->dst = (uint64_t)dw[6] << 32 | dw[5];
			dw += 7;
			break;
		case 5:
			*at((uint64_t)dw[2] << 32 | dw[1]) = dw[3];
			dw += 4;
			break;
		default:
			BUG_ON("unknown packet");
		}
	}
}

static void cs_submit(const struct amdvgpu_cs_submit *cmd)
{
	const uint8_t *data = (const uint8_t *)&cmd->chunks[cmd->num_chunks];
	const struct drm_amdgpu_cs_chunk_ib *ib = (const void *)(data + cmd->chunks[0].offset);

	BUG_ON(cmd->num_chunks != 2 || cmd->ctx_id != device.ctx_id || !device.contexts);
	BUG_ON(cmd->ring_idx != device.ring);
	BUG_ON(data + cmd->chunks[1].offset + 4 * cmd->chunks[1].length_dw !=
	       (const uint8_t *)cmd + cmd->req.len);
	device.ib_size = ib->ib_bytes / 4;
	BUG_ON(device.ib_size > ARRAY_SIZE(device.ib));
	memcpy(device.ib, at(ib->va_start), ib->ib_bytes);
	if (device.hostile != HOSTILE_JOB)
		sdma();
	else
		shmem()->async_error++;
	answer(&cmd->req, 0, NULL, 0);
}

static void execute(const struct amdvgpu_req *req)
{
	check_seqno(req);
	if (device.hostile == HOSTILE_IDLE)
		return;
	/* Jobs count, for those who do not look at the answer. */
	shmem()->async_error += req->cmd == device.refuse && req->cmd == AMDVGPU_CS_SUBMIT;
	if (req->cmd == device.refuse)
		answer(req, device.refusal, NULL, 0);
	else if (req->cmd == AMDVGPU_QUERY_INFO)
		query_info((const void *)req);
	else if (req->cmd == AMDVGPU_BO_VA_OP)
		va_op((const void *)req);
	else if (req->cmd == AMDVGPU_CREATE_CTX)
		create_ctx((const void *)req);
	else if (req->cmd == AMDVGPU_CS_SUBMIT)
		cs_submit((const void *)req);
	else
		BUG_ON("unknown command");
	shmem()->seqno = req->seqno + (device.hostile == HOSTILE_SEQNO);
	shmem()->async_error += device.hostile == HOSTILE_ASYNC;
}

static int broken_fence(void)
{
	int ends[2];

	BUG_ON(pipe(ends));
	close(ends[1]);
	return ends[0];
}

static int do_execbuffer(struct vg_execbuffer *arg)
{
	BUG_ON(!device.context || arg->flags != 6 || arg->size > DEVICE_STREAM);
	memcpy(device.stream, (void *)(uintptr_t)arg->command, arg->size);
	device.stream_size = arg->size;
	device.ring = arg->ring_idx;
	device.execs++;
	BUG_ON(((const struct amdvgpu_req *)device.stream)->len != arg->size);
	execute((const void *)device.stream);
	arg->fence_fd = device.hostile == HOSTILE_FENCE ?
				broken_fence() :
				eventfd(device.hostile != HOSTILE_MUTE, 0);
	BUG_ON(arg->fence_fd < 0);
	return 0;
}

int __wrap_vg_ioctl(int fd, unsigned long request, void *arg)
{
	BUG_ON(fd < 0);
	if (device.ioctls++ == device.fail_after) {
		device.fail_after += !device.fail_once;
		return device.fail;
	}
	switch (request) {
	case DRM_IOCTL_VERSION:
		return do_version(arg);
	case VG_IOCTL_GETPARAM:
		return do_getparam(arg);
	case VG_IOCTL_GET_CAPS:
		return do_get_caps(arg);
	case VG_IOCTL_CONTEXT_INIT:
		return do_context_init(arg);
	case VG_IOCTL_CREATE_BLOB:
		return do_create_blob(arg);
	case VG_IOCTL_MAP:
		return do_map(arg);
	case VG_IOCTL_EXECBUFFER:
		return do_execbuffer(arg);
	default:
		return -ENOTTY;
	}
}
