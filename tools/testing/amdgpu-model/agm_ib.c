// SPDX-License-Identifier: MIT
/*
 * Reading command buffers, and what all engines have in common.
 *
 * A command buffer is memory of the program: it is read through the job's address space, and can
 * change while it is read.  So each packet is first copied, then looked at; what is executed is
 * what was checked.  The data of a packet that carries some is copied page by page as it is
 * written.
 *
 * An engine that waits for a value in memory (POLL_REGMEM, WAIT_REG_MEM) looks again every
 * millisecond.  A job that takes longer than agm_lockup_ms, waiting or not, has hung: it is ended,
 * and its context is guilty.
 */

#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include <drm/amdgpu_drm.h>
#include <linux/device.h>

#include "agm_asic.h"
#include "agm_ctx.h"
#include "agm_engine.h"
#include "agm_job.h"
#include "agm_packet.h"
#include "agm_ring.h"

static unsigned int agm_lockup_ms = 30000;
module_param_named(lockup_ms, agm_lockup_ms, uint, 0644);
MODULE_PARM_DESC(lockup_ms, "How long a job may take");

struct agm_engine *agm_engine_create(struct agm_ring *ring)
{
	struct agm_engine *e = kvzalloc(sizeof(*e), GFP_KERNEL);

	if (!e)
		return NULL;
	e->ring = ring;
	e->ops = &agm_sdma_ops;
	e->packets = &ring->dev->stats.sdma_packets;
	if (ring->type == AMDGPU_HW_IP_DMA)
		return e;
	e->ops = &agm_pm4_ops;
	e->packets = &ring->dev->stats.pm4_packets;
	e->regs = agm_regs_create();
	if (e->regs)
		return e;
	kvfree(e);
	return NULL;
}

void agm_engine_free(struct agm_engine *e)
{
	if (!e)
		return;
	agm_regs_free(e->regs);
	kvfree(e);
}

/* The job must end here, because of @why. */
int agm_engine_bad(struct agm_engine *e, const char *why)
{
	e->why = why;
	return -EINVAL;
}

/* Whether the job may go on; asked now and then by all that takes long. */
int agm_engine_alive(struct agm_engine *e)
{
	cond_resched();
	if (READ_ONCE(e->ring->stopping))
		return agm_engine_bad(e, "the device is gone");
	if (time_after(jiffies, e->deadline))
		return agm_engine_bad(e, "it takes too long");
	return 0;
}

static void agm_engine_report(struct agm_engine *e)
{
	struct agm_ib *ib = agm_ib_current(e);
	u32 header = 0;

	if (ib->pos >= ib->window_pos && ib->pos - ib->window_pos < ib->window_count)
		header = ib->window[ib->pos - ib->window_pos];
	dev_info_ratelimited(e->ring->dev->drm.dev,
			     "%s: job %llu of context %u ended: %s (packet 0x%08x at 0x%llx)\n",
			     e->ring->name, e->job->fence->seqno, e->job->ctx->id, e->why, header,
			     ib->va + 4ULL * ib->pos);
}

static int agm_engine_packet(struct agm_engine *e)
{
	u32 count = min_t(u32, agm_ib_left(e), AGM_PACKET_HEAD);
	u32 dw[AGM_PACKET_HEAD];
	struct agm_packet p;
	const char *why;
	int ret = agm_ib_peek(e, dw, count);

	if (ret)
		return ret;
	why = e->ops->decode(dw, count, &p);
	if (why)
		return agm_engine_bad(e, why);
	if (p.length > agm_ib_left(e))
		return agm_engine_bad(e, "a packet that is longer than its command buffer");
	atomic64_inc(e->packets);
	ret = e->ops->execute(e, &p);
	return ret ?: agm_ib_skip(e, p.length);
}

/* A command buffer, and those that it calls. */
static int agm_engine_ib(struct agm_engine *e)
{
	int ret = 0;

	while (!ret) {
		if (agm_ib_left(e))
			ret = agm_engine_packet(e);
		else if (e->depth)
			e->depth--;
		else
			break;
		if (!ret)
			ret = agm_engine_alive(e);
	}
	return ret;
}

/**
 * agm_engine_run - execute a job
 * @e: the engine
 * @job: the job
 *
 * An error ends the job; what it has done until then is done.
 */
int agm_engine_run(struct agm_engine *e, struct agm_job *job)
{
	unsigned int i;
	int ret = 0;

	e->job = job;
	e->tlb = NULL;
	e->why = NULL;
	e->chained = 0;
	e->draws = 0;
	e->deadline = jiffies + msecs_to_jiffies(READ_ONCE(agm_lockup_ms));
	for (i = 0; i < job->num_ibs && !ret; i++) {
		e->depth = 0;
		agm_ib_start(&e->ib[0], job->ibs[i].va, job->ibs[i].dwords);
		ret = agm_engine_ib(e);
	}
	if (ret) {
		if (ret != -EFAULT)
			atomic64_inc(&e->ring->dev->stats.bad_packets);
		agm_engine_report(e);
	}
	e->job = NULL;
	return ret;
}

void agm_ib_start(struct agm_ib *ib, u64 va, u32 dwords)
{
	ib->va = va;
	ib->dwords = dwords;
	ib->pos = 0;
	ib->window_pos = 0;
	ib->window_count = 0;
}

static int agm_ib_load(struct agm_engine *e, struct agm_ib *ib)
{
	u32 count = min_t(u32, AGM_IB_WINDOW, ib->dwords - ib->pos);

	ib->window_pos = ib->pos;
	ib->window_count = count;
	return agm_read(e, ib->va + 4ULL * ib->pos, ib->window, 4 * count);
}

/* The next @count dwords, at most AGM_IB_WINDOW, which must be there. */
int agm_ib_peek(struct agm_engine *e, u32 *dw, u32 count)
{
	struct agm_ib *ib = agm_ib_current(e);
	u32 at = ib->pos - ib->window_pos;
	int ret;

	if (count > agm_ib_left(e))
		return agm_engine_bad(e, "a packet that is longer than its command buffer");
	if (ib->pos < ib->window_pos || at + count > ib->window_count) {
		ret = agm_ib_load(e, ib);
		if (ret)
			return ret;
		at = 0;
	}
	memcpy(dw, ib->window + at, 4 * count);
	return 0;
}

int agm_ib_skip(struct agm_engine *e, u32 dwords)
{
	if (dwords > agm_ib_left(e))
		return agm_engine_bad(e, "a packet that is longer than its command buffer");
	agm_ib_current(e)->pos += dwords;
	return 0;
}

/* @dwords of the command buffer, @from after the packet's head, to @dst or all to @dst. */
int agm_ib_write_out(struct agm_engine *e, u64 dst, u32 from, u32 dwords, bool same)
{
	u64 src = agm_ib_current(e)->va + 4ULL * (agm_ib_current(e)->pos + from);
	size_t part;
	int ret = 0;

	for (; dwords && !ret; dwords -= part / 4, src += part) {
		part = min_t(u64, 4ULL * dwords, same ? 4 : PAGE_SIZE);
		ret = agm_read(e, src, e->bounce, part);
		if (!ret)
			ret = agm_write(e, dst, e->bounce, part);
		if (!same)
			dst += part;
		atomic64_add(part, &e->ring->dev->stats.bytes_written);
	}
	return ret;
}

/* The comparisons that engines know; they have the same numbers everywhere. */
bool agm_compare(u32 func, u32 value, u32 ref)
{
	switch (func) {
	case 0:
		return true;
	case 1:
		return value < ref;
	case 2:
		return value <= ref;
	case 3:
		return value == ref;
	case 4:
		return value != ref;
	case 5:
		return value >= ref;
	default:
		return value > ref;
	}
}

int agm_poll_memory(struct agm_engine *e, u64 va, u32 func, u32 ref, u32 mask)
{
	u32 value;
	int ret;

	for (;;) {
		ret = agm_read(e, va, &value, sizeof(value));
		if (ret || agm_compare(func, value & mask, ref))
			return ret;
		ret = agm_engine_alive(e);
		if (ret)
			return ret;
		usleep_range(1000, 2000);
	}
}

/**
 * agm_execute - do what packets of all engines ask for
 * @e: the engine
 * @p: the packet; one that asks for nothing else is a NOP
 *
 * An error ends the job.
 */
int agm_execute(struct agm_engine *e, struct agm_packet *p)
{
	u64 now = agm_asic_clock();

	switch (p->op) {
	case AGM_OP_COPY:
		return agm_copy(e, p->dst, p->src, p->bytes);
	case AGM_OP_FILL:
		return agm_fill(e, p->dst, p->value, p->bytes);
	case AGM_OP_WRITE:
		return agm_ib_write_out(e, p->dst, p->data, p->dwords, p->same);
	case AGM_OP_STORE:
		return agm_write(e, p->dst, &p->value, p->bytes);
	case AGM_OP_TIMESTAMP:
		return agm_write(e, p->dst, &now, sizeof(now));
	case AGM_OP_POLL:
		return agm_poll_memory(e, p->src, p->func, p->value, p->mask);
	default:
		return 0;
	}
}
