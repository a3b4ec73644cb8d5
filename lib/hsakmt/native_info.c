// SPDX-License-Identifier: MIT
/*
 * native_info: properties of the GPU
 *
 * They are asked for once, when it is opened.  What they are called here is what
 * libhsakmt and amdkfd make of the same facts; what cannot be known is 0.
 *
 * Locking: as in native.h.
 */
#include <errno.h>
#include <string.h>

#include "native.h"

#define VENDOR_AMD 0x1002
#define KHZ_PER_MHZ 1000

/**
 * struct answer - of a query
 * @rsp: see there
 * @data: behind it
 */
struct answer {
	struct amdvgpu_rsp rsp;
	uint8_t data[NATIVE_MAX_ANSWER - sizeof(struct amdvgpu_rsp)];
};

/* @a: the first that struct drm_amdgpu_info has besides for the question. */
static int query(struct hsakmt_gpu *gpu, uint32_t what, uint32_t a, void *out, uint32_t size)
{
	struct amdvgpu_query_info cmd = {
		.req = { .cmd = AMDVGPU_QUERY_INFO, .len = sizeof(cmd) },
		.return_size = size,
		.query = what,
		.argument = { a },
	};
	struct answer answer;
	int ret;

	ret = native_call(gpu, NATIVE_RING_CPU, &cmd.req, &answer.rsp, sizeof(answer.rsp) + size);
	if (!ret)
		memcpy(out, answer.data, size);
	return ret;
}

/* What the GPU does not have, or an old kernel does not know, stays 0. */
static int query_optional(struct hsakmt_gpu *gpu, uint32_t what, uint32_t a, void *out,
			  uint32_t size)
{
	int ret = query(gpu, what, a, out, size);

	return ret == -EINVAL || ret == -EOPNOTSUPP ? 0 : ret;
}

static int query_firmware(struct hsakmt_gpu *gpu, uint32_t type, uint32_t *version)
{
	struct drm_amdgpu_info_firmware firmware = { 0 };
	int ret;

	ret = query_optional(gpu, AMDGPU_INFO_FW_VERSION, type, &firmware, sizeof(firmware));
	*version = firmware.ver;
	return ret;
}

/**
 * native_info_query() - ask for everything
 * @gpu: whom
 *
 * Return: 0 or a negative errno.
 */
int native_info_query(struct hsakmt_gpu *gpu)
{
	const struct {
		uint32_t type;
		struct native_hw_ip *ip;
	} ips[] = {
		{ AMDGPU_HW_IP_GFX, &gpu->info.gfx },
		{ AMDGPU_HW_IP_COMPUTE, &gpu->info.compute },
		{ AMDGPU_HW_IP_DMA, &gpu->info.dma },
	};
	struct native_info *info = &gpu->info;
	unsigned int i;
	int ret;

	_Static_assert(sizeof(info->device) <= sizeof((struct answer){ 0 }.data), "answers");
	ret = query(gpu, AMDGPU_INFO_DEV_INFO, 0, &info->device, sizeof(info->device));
	if (!ret)
		ret = query(gpu, AMDGPU_INFO_MEMORY, 0, &info->memory, sizeof(info->memory));
	for (i = 0; !ret && i < sizeof(ips) / sizeof(ips[0]); i++)
		ret = query_optional(gpu, AMDGPU_INFO_HW_IP_INFO, ips[i].type, ips[i].ip,
				     sizeof(*ips[i].ip));
	if (!ret)
		ret = query_firmware(gpu, AMDGPU_INFO_FW_GFX_MEC, &info->gfx_firmware);
	if (!ret)
		ret = query_firmware(gpu, AMDGPU_INFO_FW_SDMA, &info->dma_firmware);
	return ret;
}

static void chip_properties(const struct native_info *info, HsaNodeProperties *properties)
{
	const struct native_chip *chip = native_chip(info->gfx.discovery_version);

	if (!chip)
		return;
	properties->EngineId.ui32.Major = chip->target / 10000;
	properties->EngineId.ui32.Minor = chip->target / 100 % 100;
	properties->EngineId.ui32.Stepping = chip->target % 100;
	properties->NumSIMDPerCU = chip->simds;
	properties->NumFComputeCores = chip->simds * info->device.cu_active_number;
	properties->MaxWavesPerSIMD = chip->waves;
	properties->LDSSizeInKB = chip->lds_kib;
}

/**
 * native_node_properties() - of the GPU
 * @gpu: it
 * @properties: out, all zero before
 */
void native_node_properties(struct hsakmt_gpu *gpu, HsaNodeProperties *properties)
{
	const struct native_info *info = &gpu->info;
	const struct drm_amdgpu_info_device *device = &info->device;

	properties->VendorId = VENDOR_AMD;
	properties->DeviceId = device->device_id;
	properties->FamilyID = device->family;
	properties->Capability.ui32.ASICRevision = device->chip_rev;
	properties->DrmRenderMinor = gpu->minor;
	properties->WaveFrontSize = device->wave_front_size;
	properties->NumShaderBanks =
		device->num_shader_engines * device->num_shader_arrays_per_engine;
	properties->NumArrays = device->num_shader_arrays_per_engine;
	properties->NumCUPerArray = device->num_cu_per_sh;
	properties->LocalMemSize = info->memory.vram.total_heap_size;
	properties->MaxEngineClockMhzFCompute = device->max_engine_clock / KHZ_PER_MHZ;
	properties->NumSdmaEngines = __builtin_popcount(info->dma.rings);
	properties->Integrated = !!(device->ids_flags & AMDGPU_IDS_FLAGS_FUSION);
	properties->EngineId.ui32.uCode = info->gfx_firmware;
	properties->uCodeEngineVersions.uCodeSDMA = info->dma_firmware;
	chip_properties(info, properties);
}

/* What the processors reach of the card's memory. */
static uint64_t visible(const struct native_info *info)
{
	uint64_t all = info->memory.vram.total_heap_size;
	uint64_t seen = info->memory.cpu_accessible_vram.total_heap_size;

	return seen < all ? seen : all;
}

/**
 * native_nr_banks() - how many kinds of memory it has
 * @gpu: of which
 *
 * Return: a number.
 */
unsigned int native_nr_banks(struct hsakmt_gpu *gpu)
{
	uint64_t all = gpu->info.memory.vram.total_heap_size, seen = visible(&gpu->info);

	return !!seen + (seen < all);
}

/**
 * native_memory_properties() - of one of them
 * @gpu: of which
 * @bank: less than native_nr_banks()
 * @properties: out, all zero before
 */
void native_memory_properties(struct hsakmt_gpu *gpu, unsigned int bank,
			      HsaMemoryProperties *properties)
{
	uint64_t all = gpu->info.memory.vram.total_heap_size, seen = visible(&gpu->info);
	bool is_visible = !bank && seen;

	properties->HeapType = is_visible ? HSA_HEAPTYPE_FRAME_BUFFER_PUBLIC :
					    HSA_HEAPTYPE_FRAME_BUFFER_PRIVATE;
	properties->SizeInBytes = is_visible ? seen : all - seen;
	properties->Width = gpu->info.device.vram_bit_width;
	properties->MemoryClockMax = gpu->info.device.max_memory_clock / KHZ_PER_MHZ;
}
