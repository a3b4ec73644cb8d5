/* SPDX-License-Identifier: MIT */
/* Facts about the chip that the model says it is; see agm_asic.c. */
#ifndef AGM_ASIC_H
#define AGM_ASIC_H

#include <linux/types.h>
#include <drm/amdgpu_drm.h>

struct agm_device;

#define AGM_PCI_VENDOR 0x1002
#define AGM_PCI_DEVICE 0x73bf
#define AGM_PCI_REVISION 0xc3
#define AGM_PCI_SUBSYSTEM 0x0e3a

/* GPU addresses: two ranges, as the address has 48 bits and a sign. */
#define AGM_VA_START 0x200000ULL
#define AGM_VA_END 0x800000000000ULL
#define AGM_VA_HIGH_START 0xffff800000000000ULL
#define AGM_VA_HIGH_END 0xffffffffffe00000ULL
#define AGM_VA_MASK 0xffffffffffffULL

#define AGM_CLOCK_KHZ 100000

int agm_asic_hw_ip(u32 type, struct drm_amdgpu_info_hw_ip *ip);
unsigned int agm_asic_rings(u32 type);
unsigned int agm_asic_max_ibs(u32 type);
int agm_asic_firmware(u32 type, struct drm_amdgpu_info_firmware *fw);
int agm_asic_register(u32 offset, u32 *value);
void agm_asic_device(struct drm_amdgpu_info_device *info);
u64 agm_asic_clock(void);

#endif
