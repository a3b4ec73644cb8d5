// SPDX-License-Identifier: MIT
/*
 * Packets of the SDMA engine, generation 5.2.
 *
 * A packet begins with a dword that has the operation in bits 0 to 7 and a variant of it in 8 to
 * 15; how long it is follows from the operation, and for a write from a field in it.  There is
 * no length that would allow to skip what one does not know, so what is unknown ends the job.
 *
 * Pure: from dwords to a struct, without any state.  Tested by agm_kunit.c.
 */

#include <linux/errno.h>
#include <linux/string.h>

#include "agm_packet.h"

#define SDMA_NOP 0
#define SDMA_COPY 1
#define SDMA_WRITE 2
#define SDMA_FENCE 5
#define SDMA_TRAP 6
#define SDMA_POLL_REGMEM 8
#define SDMA_COND_EXE 9
#define SDMA_CONST_FILL 11
#define SDMA_TIMESTAMP 13
#define SDMA_GCR_REQ 17

static const char *agm_sdma_copy(const u32 *dw, u32 sub, struct agm_packet *p)
{
	if (sub || dw[0] >> 16)
		return "a copy that is not linear";
	p->op = AGM_OP_COPY;
	p->length = 7;
	p->bytes = (u64)(dw[1] & 0x3fffffff) + 1;
	p->src = agm_u64(dw[3], dw[4]);
	p->dst = agm_u64(dw[5], dw[6]);
	return dw[2] ? "a copy that swaps bytes" : NULL;
}

static const char *agm_sdma_write(const u32 *dw, u32 sub, struct agm_packet *p)
{
	if (sub)
		return "a write that is not linear";
	p->op = AGM_OP_WRITE;
	p->dst = agm_u64(dw[1], dw[2]);
	p->dwords = (dw[3] & 0xfffff) + 1;
	p->data = 4;
	p->length = 4 + p->dwords;
	return p->dst & 3 ? "a write to an address that is not aligned" : NULL;
}

static const char *agm_sdma_fence(const u32 *dw, struct agm_packet *p)
{
	p->op = AGM_OP_STORE;
	p->length = 4;
	p->bytes = 4;
	p->dst = agm_u64(dw[1], dw[2]);
	p->value = dw[3];
	return p->dst & 3 ? "a fence at an address that is not aligned" : NULL;
}

static const char *agm_sdma_poll(const u32 *dw, u32 sub, struct agm_packet *p)
{
	if (sub || !(dw[0] & 1U << 31))
		return "polling a register";
	p->op = AGM_OP_POLL;
	p->length = 6;
	p->func = dw[0] >> 28 & 7;
	p->src = agm_u64(dw[1], dw[2]);
	p->value = dw[3];
	p->mask = dw[4];
	return p->src & 3 || p->func == 7 ? "a poll that cannot be" : NULL;
}

static const char *agm_sdma_fill(const u32 *dw, struct agm_packet *p)
{
	u32 width = dw[0] >> 30;

	p->op = AGM_OP_FILL;
	p->length = 5;
	p->dst = agm_u64(dw[1], dw[2]);
	p->value = dw[3];
	/* Counted in bytes whatever the width is; the last unit is filled as a whole. */
	p->bytes = (u64)(dw[4] & 0x3fffff) + 1;
	switch (width) {
	case 0:
		p->value = (dw[3] & 0xff) * 0x01010101;
		return NULL;
	case 1:
		p->value = (dw[3] & 0xffff) * 0x00010001;
		p->bytes = (p->bytes + 1) & ~1ULL;
		return p->dst & 1 ? "a fill at an address that is not aligned" : NULL;
	case 2:
		p->bytes = (p->bytes + 3) & ~3ULL;
		return p->dst & 3 ? "a fill at an address that is not aligned" : NULL;
	default:
		return "a fill of unknown width";
	}
}

static const char *agm_sdma_timestamp(const u32 *dw, u32 sub, struct agm_packet *p)
{
	p->op = sub == 0 ? AGM_OP_NOP : AGM_OP_TIMESTAMP;
	p->length = 3;
	p->dst = agm_u64(dw[1], dw[2]);
	p->bytes = 8;
	if (sub > 2)
		return "a timestamp of unknown kind";
	return sub && p->dst & 7 ? "a timestamp at an address that is not aligned" : NULL;
}

static const char *agm_sdma_cond(const u32 *dw, struct agm_packet *p)
{
	p->op = AGM_OP_COND;
	p->length = 5;
	p->src = agm_u64(dw[1], dw[2]);
	p->value = dw[3];
	p->dwords = dw[4] & 0x3fff;
	return p->src & 3 ? "a condition at an address that is not aligned" : NULL;
}

/* How many dwords have to be there to look at an operation, or 0 if it is unknown. */
static u32 agm_sdma_head(u32 op)
{
	switch (op) {
	case SDMA_NOP:
		return 1;
	case SDMA_TRAP:
		return 2;
	case SDMA_TIMESTAMP:
		return 3;
	case SDMA_WRITE:
	case SDMA_FENCE:
		return 4;
	case SDMA_CONST_FILL:
	case SDMA_COND_EXE:
	case SDMA_GCR_REQ:
		return 5;
	case SDMA_POLL_REGMEM:
		return 6;
	case SDMA_COPY:
		return 7;
	default:
		return 0;
	}
}

/**
 * agm_sdma_decode - what a packet asks for
 * @dw: its first dwords
 * @count: how many are there
 * @p: the answer
 *
 * Returns NULL, or what is wrong with it.
 */
const char *agm_sdma_decode(const u32 *dw, u32 count, struct agm_packet *p)
{
	u32 op = dw[0] & 0xff, sub = dw[0] >> 8 & 0xff, head = agm_sdma_head(op);

	memset(p, 0, sizeof(*p));
	if (!head)
		return "a packet that is unknown";
	if (head > count)
		return "a packet that is longer than its command buffer";
	p->op = AGM_OP_NOP;
	p->length = head;
	switch (op) {
	case SDMA_NOP:
		p->length = 1 + (dw[0] >> 16 & 0x3fff);
		return NULL;
	case SDMA_TRAP:
		p->op = AGM_OP_TRAP;
		return NULL;
	case SDMA_COPY:
		return agm_sdma_copy(dw, sub, p);
	case SDMA_WRITE:
		return agm_sdma_write(dw, sub, p);
	case SDMA_FENCE:
		return agm_sdma_fence(dw, p);
	case SDMA_POLL_REGMEM:
		return agm_sdma_poll(dw, sub, p);
	case SDMA_CONST_FILL:
		return agm_sdma_fill(dw, p);
	case SDMA_TIMESTAMP:
		return agm_sdma_timestamp(dw, sub, p);
	case SDMA_COND_EXE:
		return agm_sdma_cond(dw, p);
	default:
		return NULL;
	}
}
