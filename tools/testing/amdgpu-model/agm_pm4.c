// SPDX-License-Identifier: MIT
/*
 * The command processor: engines for graphics and compute.
 *
 * A command buffer can call another one, which ends where it ends, and can jump to another one for
 * good (chain), which is how drivers grow theirs.  Jumps are counted, so that a ring of them ends.
 *
 * Packets are executed one after the other and each is done before the next begins: caches, the
 * pipeline, and the events with which packets wait for it have no meaning here.  Draws and
 * dispatches are counted; the log says so once per job, as what the program wanted is not done.
 */

#include <linux/device.h>

#include "agm_asic.h"
#include "agm_ctx.h"
#include "agm_engine.h"
#include "agm_job.h"
#include "agm_packet.h"
#include "agm_ring.h"

#define AGM_MAX_JUMPS 65536

/* Selectors of COPY_DATA. */
#define AGM_SEL_REG 0
#define AGM_SEL_MEM 1
#define AGM_SEL_L2 2
#define AGM_SEL_PERF 4
#define AGM_SEL_IMM 5 /* as a source */
#define AGM_SEL_MEM_ASYNC 5 /* as a destination */
#define AGM_SEL_CLOCK 9
#define AGM_SEL_SYSTEM_CLOCK 10

static int agm_pm4_load(struct agm_engine *e, struct agm_packet *p, u64 *value)
{
	*value = 0;
	switch (p->src_sel) {
	case AGM_SEL_REG:
	case AGM_SEL_PERF:
		*value =
			agm_u64(agm_regs_read(e->regs, p->src), agm_regs_read(e->regs, p->src + 1));
		return 0;
	case AGM_SEL_MEM:
	case AGM_SEL_L2:
		return agm_read(e, p->src, value, p->bytes);
	case AGM_SEL_IMM:
		*value = p->src;
		return 0;
	case AGM_SEL_CLOCK:
	case AGM_SEL_SYSTEM_CLOCK:
		*value = agm_asic_clock();
		return 0;
	default:
		return agm_engine_bad(e, "a COPY_DATA from an unknown place");
	}
}

static int agm_pm4_copy_data(struct agm_engine *e, struct agm_packet *p)
{
	u64 value;
	int ret = agm_pm4_load(e, p, &value);

	if (ret)
		return ret;
	switch (p->dst_sel) {
	case AGM_SEL_REG:
	case AGM_SEL_PERF:
		agm_regs_write(e->regs, p->dst, value);
		if (p->bytes == 8)
			agm_regs_write(e->regs, p->dst + 1, value >> 32);
		return 0;
	case AGM_SEL_MEM:
	case AGM_SEL_L2:
	case AGM_SEL_MEM_ASYNC:
		return agm_write(e, p->dst, &value, p->bytes);
	default:
		return agm_engine_bad(e, "a COPY_DATA to an unknown place");
	}
}

/* The data of the packet goes to registers. */
static int agm_pm4_set_regs(struct agm_engine *e, struct agm_packet *p)
{
	struct agm_ib *ib = agm_ib_current(e);
	u32 i, value;
	int ret = 0;

	for (i = 0; i < p->dwords && !ret; i++) {
		ret = agm_read(e, ib->va + 4ULL * (ib->pos + p->data + i), &value, sizeof(value));
		if (!ret)
			agm_regs_write(e->regs, p->dst + (p->same ? 0 : i), value);
	}
	return ret;
}

static int agm_pm4_poll_reg(struct agm_engine *e, struct agm_packet *p)
{
	/* Nobody but this engine changes registers, so what is not there never comes. */
	if (agm_compare(p->func, agm_regs_read(e->regs, p->src) & p->mask, p->value))
		return 0;
	return agm_engine_bad(e, "it waits for a register that does not change");
}

static int agm_pm4_cond(struct agm_engine *e, struct agm_packet *p)
{
	u32 value;
	int ret = agm_read(e, p->src, &value, sizeof(value));

	if (!ret && !value)
		p->length += p->dwords;
	return ret;
}

/* To another command buffer: with a place to return to, or without. */
static int agm_pm4_jump(struct agm_engine *e, struct agm_packet *p)
{
	bool call = p->op == AGM_OP_CALL;
	int ret;

	if (++e->chained > AGM_MAX_JUMPS)
		return agm_engine_bad(e, "command buffers without an end");
	if (call && e->depth + 1 == AGM_IB_DEPTH)
		return agm_engine_bad(e, "command buffers in command buffers in command buffers");
	ret = agm_ib_skip(e, p->length);
	if (ret)
		return ret;
	p->length = 0;
	if (call)
		e->depth++;
	agm_ib_start(agm_ib_current(e), p->src, p->dwords);
	return 0;
}

static int agm_pm4_draw(struct agm_engine *e)
{
	struct agm_job *job = e->job;

	atomic64_inc(&job->dev->stats.draws);
	if (!e->draws++)
		dev_info_ratelimited(job->dev->drm.dev,
				     "%s: job %llu of context %u draws: that is not executed\n",
				     e->ring->name, job->fence->seqno, job->ctx->id);
	return 0;
}

static int agm_pm4_execute(struct agm_engine *e, struct agm_packet *p)
{
	switch (p->op) {
	case AGM_OP_WRITE_REG:
	case AGM_OP_SET_REG:
		return agm_pm4_set_regs(e, p);
	case AGM_OP_POLL_REG:
		return agm_pm4_poll_reg(e, p);
	case AGM_OP_COND:
		return agm_pm4_cond(e, p);
	case AGM_OP_COPY_DATA:
		return agm_pm4_copy_data(e, p);
	case AGM_OP_CALL:
	case AGM_OP_CHAIN:
		return agm_pm4_jump(e, p);
	case AGM_OP_DRAW:
		return agm_pm4_draw(e);
	default:
		return agm_execute(e, p);
	}
}

const struct agm_engine_ops agm_pm4_ops = {
	.decode = agm_pm4_decode,
	.execute = agm_pm4_execute,
};
