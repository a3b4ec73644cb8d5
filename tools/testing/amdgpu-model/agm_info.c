// SPDX-License-Identifier: MIT
/*
 * INFO: what user space asks the device about.
 *
 * An answer is copied as far as the caller's buffer goes, so that old user space gets the beginning
 * of a struct that has grown.  What the chip is comes from agm_asic.c, how much memory there is
 * from the pools; counters of things that the model has not are zero, and what it does not know
 * is -EINVAL, as for a question of the future.
 */

#include <linux/slab.h>
#include <linux/uaccess.h>

#include "agm_asic.h"
#include "agm_device.h"
#include "agm_vm.h"

union agm_answer {
	u32 u32;
	u64 u64;
	struct drm_amdgpu_info_hw_ip hw_ip;
	struct drm_amdgpu_info_firmware firmware;
	struct drm_amdgpu_info_gds gds;
	struct drm_amdgpu_info_vram_gtt vram_gtt;
	struct drm_amdgpu_memory_info memory;
	struct drm_amdgpu_info_device device;
	struct drm_amdgpu_info_video_caps video;
	struct drm_amdgpu_info_vbios vbios;
	struct drm_amdgpu_info_num_handles handles;
	struct drm_amdgpu_info_gpuvm_fault fault;
	u32 registers[128];
	u32 max_ibs[AMDGPU_HW_IP_NUM];
};

static void agm_info_heap(struct drm_amdgpu_heap_info *heap, struct agm_pool *pool)
{
	heap->total_heap_size = pool->size;
	heap->usable_heap_size = READ_ONCE(pool->limit);
	heap->heap_usage = atomic64_read(&pool->used);
	heap->max_allocation = heap->usable_heap_size * 3 / 4;
}

static int agm_info_memory(struct agm_device *dev, struct drm_amdgpu_memory_info *info)
{
	agm_info_heap(&info->vram, &dev->vram);
	info->cpu_accessible_vram = info->vram;
	agm_info_heap(&info->gtt, &dev->gtt);
	return sizeof(*info);
}

static int agm_info_vram_gtt(struct agm_device *dev, struct drm_amdgpu_info_vram_gtt *info)
{
	info->vram_size = dev->vram.size;
	info->vram_cpu_accessible_size = dev->vram.size;
	info->gtt_size = dev->gtt.size;
	return sizeof(*info);
}

static int agm_info_registers(const struct drm_amdgpu_info *info, u32 *values)
{
	u32 i;
	int ret = 0;

	if (!info->read_mmr_reg.count || info->read_mmr_reg.count > 128)
		return -EINVAL;
	for (i = 0; i < info->read_mmr_reg.count && !ret; i++)
		ret = agm_asic_register(info->read_mmr_reg.dword_offset + i, &values[i]);
	return ret ?: (int)(4 * info->read_mmr_reg.count);
}

static int agm_info_sensor(u32 type, u32 *value)
{
	switch (type) {
	case AMDGPU_INFO_SENSOR_GFX_SCLK:
	case AMDGPU_INFO_SENSOR_STABLE_PSTATE_GFX_SCLK:
	case AMDGPU_INFO_SENSOR_PEAK_PSTATE_GFX_SCLK:
		*value = 2475;
		return sizeof(*value);
	case AMDGPU_INFO_SENSOR_GFX_MCLK:
	case AMDGPU_INFO_SENSOR_STABLE_PSTATE_GFX_MCLK:
	case AMDGPU_INFO_SENSOR_PEAK_PSTATE_GFX_MCLK:
		*value = 1000;
		return sizeof(*value);
	default:
		return -EOPNOTSUPP;
	}
}

static int agm_info_fault(struct agm_vm *vm, struct drm_amdgpu_info_gpuvm_fault *info)
{
	spin_lock(&vm->lock);
	info->addr = vm->fault_addr;
	info->status = vm->fault_status;
	info->vmhub = AMDGPU_VMHUB_TYPE_GFX << AMDGPU_VMHUB_TYPE_SHIFT;
	spin_unlock(&vm->lock);
	return sizeof(*info);
}

static int agm_info_max_ibs(u32 *max)
{
	u32 type;

	for (type = 0; type < AMDGPU_HW_IP_NUM; type++)
		max[type] = agm_asic_max_ibs(type);
	return AMDGPU_HW_IP_NUM * sizeof(*max);
}

static int agm_info_vbios(const struct drm_amdgpu_info *info, struct drm_amdgpu_info_vbios *vbios)
{
	/* The image is not there, so its size is 0 and it cannot be read. */
	if (info->vbios_info.type != AMDGPU_INFO_VBIOS_INFO)
		return info->vbios_info.type == AMDGPU_INFO_VBIOS_SIZE ? sizeof(u32) : -EINVAL;
	strscpy(vbios->name, "amdgpu-model");
	strscpy(vbios->vbios_pn, "none");
	return sizeof(*vbios);
}

/* What is about the chip.  Returns the size of the answer. */
static int agm_info_chip(const struct drm_amdgpu_info *info, union agm_answer *a)
{
	switch (info->query) {
	case AMDGPU_INFO_ACCEL_WORKING:
		a->u32 = 1;
		return sizeof(a->u32);
	case AMDGPU_INFO_HW_IP_INFO:
		if (info->query_hw_ip.ip_instance)
			return -EINVAL;
		return agm_asic_hw_ip(info->query_hw_ip.type, &a->hw_ip) ?: (int)sizeof(a->hw_ip);
	case AMDGPU_INFO_HW_IP_COUNT:
		if (info->query_hw_ip.type >= AMDGPU_HW_IP_NUM)
			return -EINVAL;
		a->u32 = agm_asic_rings(info->query_hw_ip.type) ? 1 : 0;
		return sizeof(a->u32);
	case AMDGPU_INFO_TIMESTAMP:
		a->u64 = agm_asic_clock();
		return sizeof(a->u64);
	case AMDGPU_INFO_FW_VERSION:
		return agm_asic_firmware(info->query_fw.fw_type, &a->firmware) ?:
			       (int)sizeof(a->firmware);
	case AMDGPU_INFO_GDS_CONFIG:
		return sizeof(a->gds);
	case AMDGPU_INFO_READ_MMR_REG:
		return agm_info_registers(info, a->registers);
	case AMDGPU_INFO_DEV_INFO:
		agm_asic_device(&a->device);
		return sizeof(a->device);
	case AMDGPU_INFO_VBIOS:
		return agm_info_vbios(info, &a->vbios);
	case AMDGPU_INFO_NUM_HANDLES:
		return sizeof(a->handles);
	case AMDGPU_INFO_SENSOR:
		return agm_info_sensor(info->sensor_info.type, &a->u32);
	case AMDGPU_INFO_VIDEO_CAPS:
		return sizeof(a->video);
	case AMDGPU_INFO_MAX_IBS:
		return agm_info_max_ibs(a->max_ibs);
	default:
		return -EINVAL;
	}
}

/* What is about memory and what happened, and all else. */
static int agm_info_answer(struct agm_file *file, const struct drm_amdgpu_info *info,
			   union agm_answer *a)
{
	struct agm_device *dev = file->dev;

	switch (info->query) {
	case AMDGPU_INFO_VRAM_USAGE:
	case AMDGPU_INFO_VIS_VRAM_USAGE:
		a->u64 = atomic64_read(&dev->vram.used);
		return sizeof(a->u64);
	case AMDGPU_INFO_GTT_USAGE:
		a->u64 = atomic64_read(&dev->gtt.used);
		return sizeof(a->u64);
	case AMDGPU_INFO_VRAM_GTT:
		return agm_info_vram_gtt(dev, &a->vram_gtt);
	case AMDGPU_INFO_MEMORY:
		return agm_info_memory(dev, &a->memory);
	case AMDGPU_INFO_NUM_BYTES_MOVED:
	case AMDGPU_INFO_NUM_EVICTIONS:
	case AMDGPU_INFO_NUM_VRAM_CPU_PAGE_FAULTS:
		return sizeof(a->u64);
	case AMDGPU_INFO_VRAM_LOST_COUNTER:
	case AMDGPU_INFO_RAS_ENABLED_FEATURES:
		return sizeof(a->u32);
	case AMDGPU_INFO_GPUVM_FAULT:
		return agm_info_fault(file->vm, &a->fault);
	default:
		return agm_info_chip(info, a);
	}
}

int agm_info_ioctl(struct drm_device *drm, void *data, struct drm_file *filp)
{
	const struct drm_amdgpu_info *info = data;
	union agm_answer *a;
	int size;

	if (!info->return_pointer || !info->return_size)
		return -EINVAL;
	a = kzalloc_obj(*a);
	if (!a)
		return -ENOMEM;
	size = agm_info_answer(to_agm_file(filp), info, a);
	if (size >= 0) {
		size = min_t(u32, info->return_size, size);
		size = copy_to_user(u64_to_user_ptr(info->return_pointer), a, size) ? -EFAULT : 0;
	}
	kfree(a);
	return size;
}
