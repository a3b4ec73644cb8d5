// SPDX-License-Identifier: MIT
/*
 * Registers of an engine for graphics or compute.
 *
 * They have no effect but that what was written can be read, by packets that copy or wait.  The
 * array is as large as the range that packets can name.  It is one per ring: a program that relies
 * on what another one has left there would be wrong on real hardware too.
 */

#include <linux/slab.h>

#include "agm_engine.h"

#define AGM_REGS 0x10000

struct agm_regs {
	u32 value[AGM_REGS];
};

struct agm_regs *agm_regs_create(void)
{
	return kvzalloc(sizeof(struct agm_regs), GFP_KERNEL);
}

void agm_regs_free(struct agm_regs *regs)
{
	kvfree(regs);
}

u32 agm_regs_read(struct agm_regs *regs, u32 dword)
{
	return dword < AGM_REGS ? regs->value[dword] : 0;
}

void agm_regs_write(struct agm_regs *regs, u32 dword, u32 value)
{
	if (dword < AGM_REGS)
		regs->value[dword] = value;
}
