// SPDX-License-Identifier: MIT
/*
 * Packets of the command processor (PM4), GFX 10.3.
 *
 * A dword with 3 in bits 30 and 31 begins a packet: bits 8 to 15 are the operation, 16 to 29 the
 * number of dwords that follow, less one.  A NOP of the largest length is one dword.  With 2 in
 * the top bits a dword is padding; other types are of old generations.
 *
 * Three classes: what moves data or decides about control flow is executed and so must have
 * the length that it is to have; what sets state for draws is known by number and skipped; draws
 * and dispatches are counted.  All else is unknown and ends the job, although its length would be
 * known: to skip it would be to say that it was done.
 *
 * Pure: from dwords to a struct, without any state.  Tested by agm_kunit.c.
 */

#include <linux/array_size.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "agm_packet.h"

#define PM4_NOP 0x10
#define PM4_COND_EXEC 0x22
#define PM4_WRITE_DATA 0x37
#define PM4_WAIT_REG_MEM 0x3c
#define PM4_INDIRECT_BUFFER 0x3f
#define PM4_COPY_DATA 0x40
#define PM4_EVENT_WRITE 0x46
#define PM4_RELEASE_MEM 0x49
#define PM4_DMA_DATA 0x50
#define PM4_SET_CONFIG_REG 0x68
#define PM4_SET_CONTEXT_REG 0x69
#define PM4_SET_SH_REG 0x76
#define PM4_SET_UCONFIG_REG 0x79
#define PM4_SET_UCONFIG_INDEX 0x7a
#define PM4_SET_SH_REG_INDEX 0x9b

/* CLEAR_STATE, CONTEXT_CONTROL, ACQUIRE_MEM, and what else has an effect on draws only. */
static const u8 agm_pm4_state[] = {
	0x11, 0x12, 0x13, 0x1f, 0x20, 0x26, 0x28, 0x2a, 0x2f, 0x34, 0x42, 0x4a,
	0x51, 0x58, 0x59, 0x5d, 0x84, 0x85, 0x86, 0x8b, 0x90, 0x95, 0xa9,
};

/* DISPATCH_DIRECT, DRAW_INDEX_AUTO, ... */
static const u8 agm_pm4_draws[] = {
	0x15, 0x16, 0x24, 0x25, 0x27, 0x2c, 0x2d, 0x30,
	0x35, 0x38, 0x4c, 0x4d, 0x9c, 0x9d, 0xaa, 0xad,
};

static bool agm_pm4_in(const u8 *list, size_t count, u32 op)
{
	return memchr(list, op, count);
}

static const char *agm_pm4_write_data(const u32 *dw, u32 body, struct agm_packet *p)
{
	u32 dst = dw[1] >> 8 & 0xf;

	if (body < 4)
		return "data without data";
	p->op = dst ? AGM_OP_WRITE : AGM_OP_WRITE_REG;
	p->dst = dst ? agm_u64(dw[2], dw[3]) & ~3ULL : dw[2];
	p->same = dw[1] & 1 << 16;
	p->data = 4;
	p->dwords = body - 3;
	return dst == 0 || dst == 1 || dst == 2 || dst == 5 ? NULL : "data for an unknown place";
}

static const char *agm_pm4_copy_data(const u32 *dw, u32 body, struct agm_packet *p)
{
	if (body != 5)
		return "a COPY_DATA of wrong length";
	p->op = AGM_OP_COPY_DATA;
	p->src_sel = dw[1] & 0xf;
	p->dst_sel = dw[1] >> 8 & 0xf;
	p->bytes = dw[1] & 1 << 16 ? 8 : 4;
	p->src = agm_u64(dw[2], dw[3]);
	p->dst = agm_u64(dw[4], dw[5]);
	return NULL;
}

static const char *agm_pm4_dma_data(const u32 *dw, u32 body, struct agm_packet *p)
{
	u32 src = dw[1] >> 29 & 3, dst = dw[1] >> 20 & 3;

	if (body != 6)
		return "a DMA_DATA of wrong length";
	/* Registers, or addresses that stay: nothing that a program needs. */
	if (dw[6] >> 26 & 0xf || src == 1 || dst == 1)
		return "a DMA_DATA of unknown kind";
	p->bytes = dw[6] & 0x3ffffff;
	p->src = agm_u64(dw[2], dw[3]);
	p->dst = agm_u64(dw[4], dw[5]);
	p->value = dw[2];
	p->op = src == 2 ? AGM_OP_FILL : AGM_OP_COPY;
	/* A copy to nowhere is a prefetch. */
	if (dst == 2)
		p->op = AGM_OP_NOP;
	return NULL;
}

static const char *agm_pm4_wait(const u32 *dw, u32 body, struct agm_packet *p)
{
	if (body != 6 || (dw[1] & 7) == 7 || dw[1] >> 6 & 3)
		return "a WAIT_REG_MEM of unknown kind";
	p->op = dw[1] >> 4 & 3 ? AGM_OP_POLL : AGM_OP_POLL_REG;
	p->func = dw[1] & 7;
	p->src = p->op == AGM_OP_POLL ? agm_u64(dw[2], dw[3]) & ~3ULL : dw[2];
	p->value = dw[4];
	p->mask = dw[5];
	return NULL;
}

static const char *agm_pm4_release(const u32 *dw, u32 body, struct agm_packet *p)
{
	u32 data = dw[2] >> 29;

	if (body != 7)
		return "a RELEASE_MEM of wrong length";
	p->dst = agm_u64(dw[3], dw[4]) & ~3ULL;
	p->value = agm_u64(dw[5], dw[6]);
	p->bytes = data == 1 ? 4 : 8;
	switch (data) {
	case 0:
		p->op = AGM_OP_NOP;
		return NULL;
	case 1:
	case 2:
		p->op = AGM_OP_STORE;
		return NULL;
	case 3:
	case 4:
		p->op = AGM_OP_TIMESTAMP;
		return NULL;
	default:
		return "a RELEASE_MEM of unknown data";
	}
}

static const char *agm_pm4_indirect(const u32 *dw, u32 body, struct agm_packet *p)
{
	if (body != 3)
		return "an INDIRECT_BUFFER of wrong length";
	p->op = dw[3] & 1 << 20 ? AGM_OP_CHAIN : AGM_OP_CALL;
	p->src = agm_u64(dw[1], dw[2]) & ~3ULL;
	p->dwords = dw[3] & 0xfffff;
	return NULL;
}

static const char *agm_pm4_cond(const u32 *dw, u32 body, struct agm_packet *p)
{
	if (body != 4)
		return "a COND_EXEC of wrong length";
	p->op = AGM_OP_COND;
	p->src = agm_u64(dw[1], dw[2]) & ~3ULL;
	p->dwords = dw[4] & 0x3fff;
	return NULL;
}

/* Registers from @first to @last, by dword; packets count from @first. */
static const char *agm_pm4_set(const u32 *dw, u32 body, u32 first, u32 last, struct agm_packet *p)
{
	if (body < 2)
		return "a register without a value";
	p->op = AGM_OP_SET_REG;
	p->dst = first + (dw[1] & 0xffff);
	p->data = 2;
	p->dwords = body - 1;
	return p->dst + p->dwords - 1 > last ? "a register that is none" : NULL;
}

static const char *agm_pm4_other(u32 op, struct agm_packet *p)
{
	if (agm_pm4_in(agm_pm4_draws, sizeof(agm_pm4_draws), op))
		p->op = AGM_OP_DRAW;
	else if (!agm_pm4_in(agm_pm4_state, sizeof(agm_pm4_state), op))
		return "a packet that is unknown";
	return NULL;
}

/* Operations whose dwords 1 to 6 may be looked at as far as @body goes. */
static const char *agm_pm4_body(const u32 *dw, u32 op, u32 body, struct agm_packet *p)
{
	switch (op) {
	case PM4_NOP:
		return NULL;
	case PM4_WRITE_DATA:
		return agm_pm4_write_data(dw, body, p);
	case PM4_COPY_DATA:
		return agm_pm4_copy_data(dw, body, p);
	case PM4_DMA_DATA:
		return agm_pm4_dma_data(dw, body, p);
	case PM4_WAIT_REG_MEM:
		return agm_pm4_wait(dw, body, p);
	case PM4_RELEASE_MEM:
		return agm_pm4_release(dw, body, p);
	case PM4_INDIRECT_BUFFER:
		return agm_pm4_indirect(dw, body, p);
	case PM4_COND_EXEC:
		return agm_pm4_cond(dw, body, p);
	case PM4_EVENT_WRITE:
		return body == 1 || body == 3 ? NULL : "an EVENT_WRITE of wrong length";
	case PM4_SET_CONFIG_REG:
		return agm_pm4_set(dw, body, 0x2000, 0x2bff, p);
	case PM4_SET_CONTEXT_REG:
		return agm_pm4_set(dw, body, 0xa000, 0xbfff, p);
	case PM4_SET_SH_REG:
	case PM4_SET_SH_REG_INDEX:
		return agm_pm4_set(dw, body, 0x2c00, 0x2fff, p);
	case PM4_SET_UCONFIG_REG:
	case PM4_SET_UCONFIG_INDEX:
		return agm_pm4_set(dw, body, 0xc000, 0xffff, p);
	default:
		return agm_pm4_other(op, p);
	}
}

/**
 * agm_pm4_decode - what a packet asks for
 * @dw: its first dwords
 * @count: how many are there; 8 if there are so many
 * @p: the answer
 *
 * Returns NULL, or what is wrong with it.
 */
const char *agm_pm4_decode(const u32 *dw, u32 count, struct agm_packet *p)
{
	u32 op = dw[0] >> 8 & 0xff, body = (dw[0] >> 16 & 0x3fff) + 1;
	u32 head[8] = {};

	memset(p, 0, sizeof(*p));
	p->op = AGM_OP_NOP;
	p->length = 1;
	if (dw[0] >> 30 == 2)
		return NULL;
	if (dw[0] >> 30 != 3)
		return "a packet of unknown type";
	if (op == PM4_NOP && body == 0x4000)
		return NULL;
	p->length = 1 + body;
	if (count < ARRAY_SIZE(head) && p->length > count)
		return "a packet that is longer than its command buffer";
	memcpy(head, dw, 4 * (count < ARRAY_SIZE(head) ? count : ARRAY_SIZE(head)));
	return agm_pm4_body(head, op, body, p);
}
