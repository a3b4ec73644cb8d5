// SPDX-License-Identifier: MIT
/*
 * Which chip the model says it is: Navi 21 (Radeon RX 6800, GFX 10.3, SDMA 5.2).
 *
 * User space decides by these answers which packets it writes, so they are those of one real
 * chip, taken from public tables (Mesa's drm-shim and ac_gpu_info).  Why this one: on
 * a GFX 10 card with memory of its own RADV 25.0 copies and fills what is in the system's memory
 * with the command processor's DMA_DATA, of whatever size; on GFX 9 and on chips without memory of
 * their own it runs a shader from 4 KiB up.  Memory that is imported from a process always is
 * system memory, so that all that can be done to it in buffers works without executing shaders.
 * And its SDMA is of the last generation before packets got fields for compression.
 *
 * What is smaller than in the real chip: memory (a parameter), and engines without a use here
 * (video) are not there.
 */

#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/string.h>

#include "agm_asic.h"
#include "agm_device.h"

unsigned int agm_asic_rings(u32 type)
{
	switch (type) {
	case AMDGPU_HW_IP_GFX:
		return AGM_GFX_RINGS;
	case AMDGPU_HW_IP_COMPUTE:
		return AGM_COMPUTE_RINGS;
	case AMDGPU_HW_IP_DMA:
		return AGM_SDMA_RINGS;
	default:
		return 0;
	}
}

/* How many command buffers one submission may have, as the real driver. */
unsigned int agm_asic_max_ibs(u32 type)
{
	switch (type) {
	case AMDGPU_HW_IP_GFX:
		return 192;
	case AMDGPU_HW_IP_COMPUTE:
		return 125;
	case AMDGPU_HW_IP_DMA:
		return 49;
	default:
		return 0;
	}
}

int agm_asic_hw_ip(u32 type, struct drm_amdgpu_info_hw_ip *ip)
{
	unsigned int rings = agm_asic_rings(type);

	memset(ip, 0, sizeof(*ip));
	if (type >= AMDGPU_HW_IP_NUM)
		return -EINVAL;
	/* An engine that is not there has no rings; it is no error to ask for it. */
	if (!rings)
		return 0;
	ip->available_rings = (1 << rings) - 1;
	if (type == AMDGPU_HW_IP_DMA) {
		ip->hw_ip_version_major = 5;
		ip->hw_ip_version_minor = 2;
		ip->ib_start_alignment = 256;
		ip->ib_size_alignment = 4;
		ip->ip_discovery_version = 0x050200;
		return 0;
	}
	ip->hw_ip_version_major = 10;
	ip->hw_ip_version_minor = 3;
	ip->ib_start_alignment = 32;
	ip->ib_size_alignment = 32;
	ip->ip_discovery_version = 0x0a0300;
	return 0;
}

int agm_asic_firmware(u32 type, struct drm_amdgpu_info_firmware *fw)
{
	memset(fw, 0, sizeof(*fw));
	switch (type) {
	case AMDGPU_INFO_FW_GFX_ME:
		fw->ver = 64;
		fw->feature = 42;
		return 0;
	case AMDGPU_INFO_FW_GFX_PFP:
		fw->ver = 95;
		fw->feature = 42;
		return 0;
	case AMDGPU_INFO_FW_GFX_MEC:
		fw->ver = 104;
		fw->feature = 42;
		return 0;
	case AMDGPU_INFO_FW_SDMA:
		fw->ver = 83;
		fw->feature = 52;
		return 0;
	case AMDGPU_INFO_FW_VCE:
	case AMDGPU_INFO_FW_UVD:
	case AMDGPU_INFO_FW_GMC:
	case AMDGPU_INFO_FW_GFX_CE:
	case AMDGPU_INFO_FW_GFX_RLC:
	case AMDGPU_INFO_FW_SMC:
	case AMDGPU_INFO_FW_SOS:
	case AMDGPU_INFO_FW_ASD:
	case AMDGPU_INFO_FW_VCN:
		return 0;
	default:
		return -EINVAL;
	}
}

/* Registers that user space may read: how memory is laid out in tiles, and that all is there. */
int agm_asic_register(u32 offset, u32 *value)
{
	switch (offset) {
	case 0x263e: /* GB_ADDR_CONFIG */
		*value = 0x444;
		return 0;
	case 0x2004: /* GRBM_STATUS: idle */
	case 0x2005:
	case 0x2002:
	case 0x263d: /* CC_RB_BACKEND_DISABLE: none */
	case 0x260d:
		*value = 0;
		return 0;
	default:
		return -EINVAL;
	}
}

static void agm_asic_shaders(struct drm_amdgpu_info_device *info)
{
	static const u8 engines[] = { 0, 2, 3 };
	int i, array;

	info->num_shader_engines = 4;
	info->num_shader_arrays_per_engine = 2;
	info->num_cu_per_sh = 10;
	info->cu_active_number = 60;
	info->cu_ao_mask = 0x3ffff;
	for (i = 0; i < ARRAY_SIZE(engines); i++) {
		for (array = 0; array < 2; array++) {
			info->cu_bitmap[engines[i]][array] = 0x3ff;
			info->cu_ao_bitmap[engines[i]][array] = 0x3ff;
		}
	}
	info->enabled_rb_pipes_mask = 0xff0f;
	info->num_rb_pipes = 16;
	info->num_hw_gfx_contexts = 8;
	info->wave_front_size = 32;
	info->num_shader_visible_vgprs = 1024;
	info->num_tcc_blocks = 16;
	info->gs_vgt_table_depth = 32;
	info->gs_prim_buffer_depth = 1792;
	info->max_gs_waves_per_vgt = 32;
	info->gc_double_offchip_lds_buf = 1;
}

void agm_asic_device(struct drm_amdgpu_info_device *info)
{
	memset(info, 0, sizeof(*info));
	info->device_id = AGM_PCI_DEVICE;
	info->chip_rev = 1;
	info->external_rev = 0x29;
	info->pci_rev = AGM_PCI_REVISION;
	info->family = AMDGPU_FAMILY_NV;
	info->gpu_counter_freq = AGM_CLOCK_KHZ;
	info->max_engine_clock = 2475000;
	info->min_engine_clock = 500000;
	info->max_memory_clock = 1000000;
	info->min_memory_clock = 96000;
	info->pcie_gen = 3;
	info->pcie_num_lanes = 16;
	info->virtual_address_offset = AGM_VA_START;
	info->virtual_address_max = AGM_VA_END;
	info->high_va_offset = AGM_VA_HIGH_START;
	info->high_va_max = AGM_VA_HIGH_END;
	info->virtual_address_alignment = 4096;
	info->pte_fragment_size = 2097152;
	info->gart_page_size = 4096;
	info->ce_ram_size = 65536;
	info->vram_type = AMDGPU_VRAM_TYPE_GDDR6;
	info->vram_bit_width = 256;
	info->mall_size = 134217728;
	agm_asic_shaders(info);
}

/* The clock that timestamps are taken from. */
u64 agm_asic_clock(void)
{
	return mul_u64_u32_div(ktime_get_ns(), AGM_CLOCK_KHZ, 1000000);
}
