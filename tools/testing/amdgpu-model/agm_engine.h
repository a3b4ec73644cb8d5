/* SPDX-License-Identifier: MIT */
/* What executes command buffers; see agm_access.c, agm_ib.c, agm_sdma.c and agm_pm4.c. */
#ifndef AGM_ENGINE_H
#define AGM_ENGINE_H

#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/types.h>

struct agm_job;
struct agm_mapping;
struct agm_packet;
struct agm_regs;
struct agm_ring;

/* Command buffers are read so many dwords at a time. */
#define AGM_IB_WINDOW 64
/* A command buffer may call another one, which may not call again. */
#define AGM_IB_DEPTH 3
/* The longest part of a packet that is decoded at once; data may follow. */
#define AGM_PACKET_HEAD 8

/**
 * struct agm_ib - a command buffer that is being read
 * @va: its GPU address
 * @dwords: its length
 * @pos: the next dword
 * @window_pos: the first dword in @window
 * @window_count: how many are there
 * @window: what was read
 */
struct agm_ib {
	u64 va;
	u32 dwords;
	u32 pos;
	u32 window_pos;
	u32 window_count;
	u32 window[AGM_IB_WINDOW];
};

struct agm_engine;

/**
 * struct agm_engine_ops - what is one kind of engine's own
 * @decode: take the packet at @dw apart; NULL, or why it is none
 * @execute: do what it asks for, or leave it to agm_execute()
 */
struct agm_engine_ops {
	const char *(*decode)(const u32 *dw, u32 count, struct agm_packet *p);
	int (*execute)(struct agm_engine *e, struct agm_packet *p);
};

/**
 * struct agm_engine - the state of an engine; only its thread uses it
 * @ring: the ring
 * @ops: which kind it is
 * @packets: the count of its packets
 * @job: that is running
 * @tlb: the mapping that was used last by @job
 * @ib: command buffers, the innermost last
 * @depth: index of the innermost
 * @chained: jumps that this job has made
 * @draws: draws and dispatches of this job, which were not executed
 * @regs: registers, if it is one for graphics or compute
 * @deadline: when the job counts as hung, in jiffies
 * @why: why the job was ended, or NULL
 * @bounce: what is on its way from one page to another
 */
struct agm_engine {
	struct agm_ring *ring;
	const struct agm_engine_ops *ops;
	atomic64_t *packets;
	struct agm_job *job;
	struct agm_mapping *tlb;
	struct agm_ib ib[AGM_IB_DEPTH];
	unsigned int depth;
	unsigned int chained;
	unsigned int draws;
	struct agm_regs *regs;
	unsigned long deadline;
	const char *why;
	u8 bounce[PAGE_SIZE];
};

struct agm_engine *agm_engine_create(struct agm_ring *ring);
void agm_engine_free(struct agm_engine *e);
int agm_engine_run(struct agm_engine *e, struct agm_job *job);
int agm_engine_bad(struct agm_engine *e, const char *why);
int agm_engine_alive(struct agm_engine *e);

/* agm_access.c */
int agm_read(struct agm_engine *e, u64 va, void *to, size_t size);
int agm_write(struct agm_engine *e, u64 va, const void *from, size_t size);
int agm_copy(struct agm_engine *e, u64 dst, u64 src, u64 size);
int agm_fill(struct agm_engine *e, u64 dst, u32 value, u64 size);

/* agm_ib.c */
void agm_ib_start(struct agm_ib *ib, u64 va, u32 dwords);
int agm_ib_peek(struct agm_engine *e, u32 *dw, u32 count);
int agm_ib_skip(struct agm_engine *e, u32 dwords);
int agm_ib_write_out(struct agm_engine *e, u64 dst, u32 from, u32 dwords, bool same);
bool agm_compare(u32 func, u32 value, u32 ref);
int agm_poll_memory(struct agm_engine *e, u64 va, u32 func, u32 ref, u32 mask);

static inline struct agm_ib *agm_ib_current(struct agm_engine *e)
{
	return &e->ib[e->depth];
}

static inline u32 agm_ib_left(struct agm_engine *e)
{
	return agm_ib_current(e)->dwords - agm_ib_current(e)->pos;
}

int agm_execute(struct agm_engine *e, struct agm_packet *p);

extern const struct agm_engine_ops agm_sdma_ops;
extern const struct agm_engine_ops agm_pm4_ops;

/* agm_regs.c */
struct agm_regs *agm_regs_create(void);
void agm_regs_free(struct agm_regs *regs);
u32 agm_regs_read(struct agm_regs *regs, u32 dword);
void agm_regs_write(struct agm_regs *regs, u32 dword, u32 value);

#endif
