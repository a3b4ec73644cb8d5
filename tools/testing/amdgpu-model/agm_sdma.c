// SPDX-License-Identifier: MIT
/*
 * The SDMA engine: it copies, fills, writes, waits and tells the time.
 *
 * Command buffers are flat: there are no jumps.  Everything is done when the next packet begins, so
 * caches and ordering, about which packets say a lot, have no meaning here.
 */

#include "agm_engine.h"
#include "agm_packet.h"

static int agm_sdma_cond_exe(struct agm_engine *e, struct agm_packet *p)
{
	u32 value;
	int ret = agm_read(e, p->src, &value, sizeof(value));

	/* The dwords behind it are skipped unless the value is there. */
	if (!ret && value != p->value)
		p->length += p->dwords;
	return ret;
}

static int agm_sdma_execute(struct agm_engine *e, struct agm_packet *p)
{
	if (p->op == AGM_OP_COND)
		return agm_sdma_cond_exe(e, p);
	return agm_execute(e, p);
}

const struct agm_engine_ops agm_sdma_ops = {
	.decode = agm_sdma_decode,
	.execute = agm_sdma_execute,
};
