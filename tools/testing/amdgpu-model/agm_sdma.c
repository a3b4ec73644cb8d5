// SPDX-License-Identifier: MIT
/*
 * The SDMA engine: it copies, fills, writes, waits and tells the time.
 *
 * Command buffers are flat: there are no jumps.  Everything is done when the next packet begins, so
 * caches and ordering, about which packets say a lot, have no meaning here.
 */

#include "agm_asic.h"
#include "agm_engine.h"
#include "agm_packet.h"
#include "agm_ring.h"

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
	u64 now = agm_asic_clock();

	switch (p->op) {
	case AGM_OP_COPY:
		return agm_copy(e, p->dst, p->src, p->bytes);
	case AGM_OP_FILL:
		return agm_fill(e, p->dst, p->value, p->bytes);
	case AGM_OP_WRITE:
		return agm_ib_write_out(e, p->dst, p->data, p->dwords, false);
	case AGM_OP_STORE:
		return agm_write(e, p->dst, &p->value, p->bytes);
	case AGM_OP_TIMESTAMP:
		return agm_write(e, p->dst, &now, sizeof(now));
	case AGM_OP_POLL:
		return agm_poll_memory(e, p->src, p->func, p->value, p->mask);
	case AGM_OP_COND:
		return agm_sdma_cond_exe(e, p);
	default:
		return 0;
	}
}

static int agm_sdma_packet(struct agm_engine *e)
{
	u32 count = min_t(u32, agm_ib_left(e), AGM_PACKET_HEAD);
	u32 dw[AGM_PACKET_HEAD];
	struct agm_packet p;
	const char *why;
	int ret = agm_ib_peek(e, dw, count);

	if (ret)
		return ret;
	why = agm_sdma_decode(dw, count, &p);
	if (why)
		return agm_engine_bad(e, why);
	if (p.length > agm_ib_left(e))
		return agm_engine_bad(e, "a packet that is longer than its command buffer");
	atomic64_inc(&e->ring->dev->stats.sdma_packets);
	ret = agm_sdma_execute(e, &p);
	return ret ?: agm_ib_skip(e, p.length);
}

int agm_sdma_run(struct agm_engine *e)
{
	int ret = 0;

	while (agm_ib_left(e) && !ret) {
		ret = agm_sdma_packet(e);
		if (!ret)
			ret = agm_engine_alive(e);
	}
	return ret;
}
