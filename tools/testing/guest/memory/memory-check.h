/* SPDX-License-Identifier: MIT */
/*
 * memory-check: what guest and host have to see in registered memory
 *
 * Included by test programs only.  See memory.h.
 */
#ifndef MEMORY_CHECK_H
#define MEMORY_CHECK_H

#include "lib/userptr-test-session.h"
#include "memory/memory.h"

/* Guest and host see the model. */
static inline void check_same(struct __test_metadata *_metadata, struct session *session,
			      struct memory *memory)
{
	const struct region *model = &memory->model;

	EXPECT_EQ(0, memcmp(model->addr, memory->region.addr, model->size))
	{
		TH_LOG("the guest does not see what was written");
	}
	EXPECT_TRUE(same_digest(&session->vg, memory->bo.res, model->addr, model->size))
	{
		TH_LOG("the host does not see what was written");
	}
}

static inline void model_invert(struct memory *memory)
{
	size_t i;

	for (i = 0; i < memory->model.size; i++)
		memory->model.addr[i] ^= 0xff;
}

/* The host writes all of it, then a few bytes across a page boundary. */
static inline void host_writes(struct __test_metadata *_metadata, struct session *session,
			       struct memory *memory)
{
	struct vg_copy copy = {
		.dst_res = memory->bo.res,
		.src_res = memory->bo.res,
		.length = memory->region.size,
	};

	ASSERT_EQ(0, vg_invert(&session->vg, &copy));
	model_invert(memory);
	check_same(_metadata, session, memory);
	ASSERT_EQ(0, vg_fill(&session->vg, memory->bo.res, PAGE - 3, 7, 0xa5));
	memset(memory->model.addr + PAGE - 3, 0xa5, 7);
	check_same(_metadata, session, memory);
}

static inline void guest_writes(struct __test_metadata *_metadata, struct session *session,
				struct memory *memory, uint64_t seed)
{
	guest_fill(memory, seed);
	check_same(_metadata, session, memory);
}

/* The device holds this one resource, with as many segments as there are runs. */
static inline void check_registered(struct __test_metadata *_metadata, struct session *session,
				    struct memory *memory)
{
	struct drm_virtgpu_userptr_info info;
	struct loopback_stats delta;

	ASSERT_EQ(0, vg_userptr_info(session->vg.fd, memory->bo.handle, &info));
	EXPECT_EQ(VIRTGPU_USERPTR_STATE_LIVE, info.state);
	EXPECT_EQ(memory->region.runs, info.nr_segments);
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(1, delta.userptr_resources);
	EXPECT_EQ(info.nr_segments, delta.userptr_segments);
	EXPECT_EQ(memory->region.size, delta.userptr_bytes);
}

static inline void register_memory(struct __test_metadata *_metadata, struct session *session,
				   struct memory *memory, uint32_t flags)
{
	long runs;

	ASSERT_EQ(0, create(session, &memory->region, flags, &memory->bo));
	EXPECT_EQ((long)(memory->region.size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(session->pins + (long)pages_of(memory), pins_outstanding());
	runs = count_runs(memory->region.addr, pages_of(memory));
	ASSERT_LT(0, runs);
	memory->region.runs = runs;
	ASSERT_EQ(0, read_frames(memory, memory->frames));
	EXPECT_FALSE(in_movable_zone(memory->frames[0]));
	EXPECT_FALSE(in_movable_zone(memory->frames[pages_of(memory) - 1]));
	check_registered(_metadata, session, memory);
	check_same(_metadata, session, memory);
}

static inline void release(struct __test_metadata *_metadata, struct session *session,
			   struct memory *memory)
{
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, memory->bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, memcmp(memory->model.addr, memory->region.addr, memory->model.size));
}

/* After whatever was done: the same pages, the same bytes, in both directions. */
static inline void check_kept(struct __test_metadata *_metadata, struct session *session,
			      struct memory *memory, uint64_t seed)
{
	check_registered(_metadata, session, memory);
	check_same(_metadata, session, memory);
	guest_writes(_metadata, session, memory, seed);
	host_writes(_metadata, session, memory);
	EXPECT_TRUE(same_frames(memory))
	{
		TH_LOG("the pages are no longer those that were registered");
	}
	guest_writes(_metadata, session, memory, seed + 1);
}

static inline bool control_same(const struct memory *control)
{
	return !memcmp(control->model.addr, control->region.addr, control->model.size);
}

#endif /* MEMORY_CHECK_H */
