// SPDX-License-Identifier: MIT
/*
 * userptr-amdgpu-unplug-test: the host's card is pulled out, and put back
 *
 * While a guest uses it, with jobs in flight: what it asks for fails, nothing hangs,
 * and its memory is its own again.  Whoever comes later finds the card that was put
 * back.
 *
 * A program of its own, the last of its boot: the test is one of the host, too.
 *
 * Invariant: see amdvgpu-fixture.h.
 */
#include <errno.h>

#include "amdvgpu-fixture.h"

/* Until the device has nothing of the old card any more. */
static int wait_no_contexts(void)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	long contexts;

	while ((contexts = device_stat("contexts now")) > 0) {
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return contexts;
}

/* The card that is there now can be used by somebody who has nothing of the old one. */
static void expect_new_card(struct __test_metadata *_metadata, SELF *self)
{
	uint8_t *addr = map_anonymous(MIB(1));
	struct avc_bo bo;
	struct avc c;

	ASSERT_NE(MAP_FAILED, addr);
	memset(addr, 1, MIB(1));
	ASSERT_EQ(0, avc_open(&c, self->session.node));
	ASSERT_EQ(0, avc_register_at(&c, addr, MIB(1), VA_FIRST, &bo));
	avc_begin(&c);
	avc_fill(&c, VA_FIRST, 0x07070707, MIB(1));
	ASSERT_EQ(0, avc_run(&c, &bo.bo.res, 1));
	EXPECT_TRUE(all_bytes(addr, MIB(1), 7));
	EXPECT_EQ(0, avc_bo_free(&c, &bo));
	avc_close(&c);
	munmap(addr, MIB(1));
}

CASE(unplug)
{
	const uint32_t *ours = &self->ours.bo.res;
	struct avc *c = &self->c;
	struct avc_bo bo, more;
	struct region region;
	struct avc_job job;
	int ret;

	NEEDS_MODEL();
	ASSERT_EQ(0, region_scattered(&region, 200));
	memset(region.addr, 5, region.size);
	ASSERT_EQ(0, avc_register_at(c, region.addr, region.size, VA_FIRST, &bo));
	ASSERT_EQ(0, copy_once(self, VA_OURS, VA_FIRST, region.size, &bo));
	ASSERT_EQ(0, model_hold(MODEL_HOLD_ALL));
	avc_begin(c);
	avc_fill(c, VA_FIRST, 0x06060606, region.size);
	ASSERT_EQ(0, avc_submit(c, (uint32_t[]){ *ours, bo.bo.res }, 2, &job));
	ASSERT_EQ(0, avc_answer(c, &job, AVC_TIMEOUT_MS));

	ASSERT_EQ(0, ask_host("model unplug"));
	/* The job is over, and was not done. */
	ret = avc_wait(c, &job, AVC_TIMEOUT_MS);
	EXPECT_NE(-ETIME, ret);
	EXPECT_TRUE(all_bytes(region.addr, region.size, 5));
	/* Nothing works, and nothing waits. */
	EXPECT_GT(0, avc_run(c, ours, 1));
	EXPECT_GT(0, avc_va_map(c, &bo, VA_SECOND, AVC_RW));
	ret = avc_bo_new(c, MIB(1), AMDGPU_GEM_DOMAIN_VRAM, &more);
	if (!ret)
		EXPECT_GT(0, avc_va_map(c, &more, VA_SECOND, AVC_RW));
	/*
	 * The memory is the process's again as soon as it has nothing of the card: a buffer
	 * that is mapped keeps all that its context has, as none can be closed any more.
	 */
	vg_bo_close(c->fd, bo.bo.handle);
	avc_bo_free(c, &self->ours);
	avc_close(c);
	EXPECT_EQ(0, wait_pins(self->session.pins, SETTLE_MS));
	EXPECT_TRUE(all_bytes(region.addr, region.size, 5));
	region_free(&region);
	/* As long as somebody has the old card its name is taken. */
	ASSERT_EQ(0, wait_no_contexts());
	EXPECT_EQ(0, ask_host("model plug"));
	expect_new_card(_metadata, self);
}

TEST_HARNESS_MAIN
