/* SPDX-License-Identifier: MIT */
/* Packets, decoded; see agm_sdma_decode.c and agm_pm4_decode.c. */
#ifndef AGM_PACKET_H
#define AGM_PACKET_H

#include <linux/types.h>

/* What a packet asks for. */
enum agm_op {
	AGM_OP_NOP,
	AGM_OP_COPY,
	AGM_OP_FILL,
	AGM_OP_WRITE,
	AGM_OP_WRITE_REG,
	AGM_OP_STORE,
	AGM_OP_TIMESTAMP,
	AGM_OP_TRAP,
	AGM_OP_POLL,
	AGM_OP_POLL_REG,
	AGM_OP_COND,
	AGM_OP_SET_REG,
	AGM_OP_COPY_DATA,
	AGM_OP_CALL,
	AGM_OP_CHAIN,
	AGM_OP_DRAW,
};

/**
 * struct agm_packet - one packet
 * @op: what to do
 * @length: dwords that it is long, head and data
 * @src: address, register, or value
 * @dst: address or register
 * @bytes: how much
 * @value: what to write or to compare with
 * @mask: for comparisons
 * @func: the comparison
 * @data: dwords before the data
 * @dwords: of data, or to skip
 * @src_sel: of COPY_DATA
 * @dst_sel: of COPY_DATA
 * @same: data is written to one address
 */
struct agm_packet {
	enum agm_op op;
	u32 length;
	u64 src;
	u64 dst;
	u64 bytes;
	u64 value;
	u32 mask;
	u32 func;
	u32 data;
	u32 dwords;
	u32 src_sel;
	u32 dst_sel;
	bool same;
};

static inline u64 agm_u64(u32 lo, u32 hi)
{
	return (u64)hi << 32 | lo;
}

const char *agm_sdma_decode(const u32 *dw, u32 count, struct agm_packet *p);
const char *agm_pm4_decode(const u32 *dw, u32 count, struct agm_packet *p);

#endif
