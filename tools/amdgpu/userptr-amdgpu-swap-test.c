// SPDX-License-Identifier: MIT
/*
 * userptr-amdgpu-swap-test: memory that the host pages out under the GPU
 *
 * For a host that has little memory and something to swap to, and a device that does
 * not pin what it gives to the card; USERPTR_SWAP in the environment says that it is so.
 *
 * Invariant: see amdvgpu-fixture.h.
 */
#include <errno.h>

#include "amdvgpu-fixture.h"

/* So much of what the guest has that most of it has to go before the host has nothing left. */
#define SWAP_BYTES MIB(96)
#define PAGED_OUT (SWAP_BYTES / PAGE / 4)

/* The engine moves all of it, in pieces: ours is smaller. */
static int move_all(SELF *self, const struct avc_bo *bo, bool there, uint32_t seed)
{
	uint64_t offset;
	int ret;

	for (offset = 0; offset < bo->size; offset += OUR_BYTES) {
		if (there) {
			fill_words(self->ours.cpu, OUR_BYTES, seed + offset);
			ret = copy_once(self, VA_FIRST + offset, VA_OURS, OUR_BYTES, bo);
		} else {
			memset(self->ours.cpu, 0, OUR_BYTES);
			ret = copy_once(self, VA_OURS, VA_FIRST + offset, OUR_BYTES, bo);
			if (!ret && wrong_word(self->ours.cpu, OUR_BYTES, seed + offset, WORD_STEP,
					       0) != -1)
				ret = -EBADMSG;
		}
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Nothing is pinned on the host: it takes the pages, tells the card first, and brings
 * them back for the next job, or for the CPU, with what the engine has written last.
 */
CASE(host_pages_it_out)
{
	struct region region;
	struct avc_bo bo;
	char request[64];
	uint64_t offset;
	long before;

	NEEDS_MODEL();
	if (!getenv("USERPTR_SWAP"))
		SKIP(return, "the host of this run has no swap, or pins what it gives to the card");
	snprintf(request, sizeof(request), "model page-out %lu", PAGED_OUT);
	ASSERT_EQ(0, region_alloc(&region, SWAP_BYTES / PAGE));
	ASSERT_EQ(0, avc_register_at(&self->c, region.addr, region.size, VA_FIRST, &bo));
	ASSERT_EQ(0, move_all(self, &bo, true, 1));
	before = model_stat("invalidations");
	ASSERT_EQ(0, ask_host(request));
	EXPECT_LE(before + (long)PAGED_OUT, model_stat("invalidations"));
	EXPECT_EQ(0, move_all(self, &bo, false, 1));
	/* Again, and it is the CPU that looks. */
	ASSERT_EQ(0, move_all(self, &bo, true, 2));
	ASSERT_EQ(0, ask_host(request));
	for (offset = 0; offset < region.size; offset += OUR_BYTES)
		EXPECT_EQ(-1,
			  wrong_word(region.addr + offset, OUR_BYTES, 2 + offset, WORD_STEP, 0));
	/* And what the CPU has written is what the engine gets. */
	for (offset = 0; offset < region.size; offset += OUR_BYTES)
		fill_words(region.addr + offset, OUR_BYTES, 3 + offset);
	ASSERT_EQ(0, ask_host(request));
	EXPECT_EQ(0, move_all(self, &bo, false, 3));
	EXPECT_EQ(self->faults, model_stat("faults"));
	ASSERT_EQ(0, avc_bo_free(&self->c, &bo));
	region_free(&region);
}

TEST_HARNESS_MAIN
