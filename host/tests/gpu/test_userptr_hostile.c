// SPDX-License-Identifier: MIT
/*
 * test_userptr_hostile: anything at all, and what must hold in the core all the same
 */
#include "tests/gpu/userptr_test.h"

static uint64_t fuzz_state;

static uint32_t fuzz(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return (uint32_t)(fuzz_state >> 11) % below;
}

/* Mostly sensible numbers, so that good paths are taken too. */
static uint32_t fuzz_command(struct core_bench *cb, unsigned char *cmd)
{
	struct virtio_gpu_mem_entry entries[9];
	uint32_t nr = fuzz(20) ? 1 + fuzz(3) : fuzz(10);
	uint32_t id = fuzz(6);
	size_t head_len, len;
	unsigned char *exact;
	uint32_t i, ret;
	bool make = fuzz(2);

	for (i = 0; i < nr && i < 9; i++) {
		entries[i].addr = htole64(fuzz(50) ? RAM_BASE + fuzz(64) * PAGE : fuzz_state);
		entries[i].length = htole32(fuzz(50) ? PAGE << !fuzz(8) : fuzz(4) * 2048);
		entries[i].padding = htole32(!fuzz(100));
	}
	if (make) {
		uint32_t pages = fuzz(2) ? nr : nr + fuzz(4);
		uint32_t bound = fuzz(2) ? 0 : fuzz(10) ? pages : fuzz(40);
		struct virtio_gpu_resource_create_userptr head =
			create_head(id, fuzz(30) ? 0 : fuzz(4), pages * PAGE, bound, nr);

		memcpy(cmd, &head, head_len = sizeof(head));
	} else {
		struct userptr *userptr = userptr_find(cb->core, id);
		uint64_t at = userptr && fuzz(10) ?
				      run_list_bytes(&userptr_backing(userptr)->runs) :
				      fuzz(4) * PAGE;
		struct virtio_gpu_resource_add_userptr_pages head = add_head(id, at, nr);

		memcpy(cmd, &head, head_len = sizeof(head));
	}
	memcpy(cmd + head_len, entries, nr * sizeof(entries[0]));
	len = head_len + nr * sizeof(entries[0]);
	if (!fuzz(20))
		cmd[fuzz((uint32_t)len)] ^= (unsigned char)(1 << fuzz(8));
	if (!fuzz(40))
		len = fuzz((uint32_t)len + 1);
	/* Of exactly its size, so that a read past the end is found. */
	exact = malloc(len + !len);
	assert_non_null(exact);
	memcpy(exact, cmd, len);
	ret = make ? userptr_create(cb->core, exact, len, cb) :
		     userptr_add_pages(cb->core, exact, len, cb);
	free(exact);
	return ret;
}

/* What must hold whatever the guest says. */
static void check_invariants(struct core_bench *cb)
{
	uint64_t runs = 0, bytes = 0;
	int drafts = 0, views = 0;
	uint32_t id;

	for (id = 1; id < 6; id++) {
		struct userptr *userptr = userptr_find(cb->core, id);
		struct backing *backing = userptr ? userptr_backing(userptr) : NULL;

		if (!userptr)
			continue;
		runs += backing->runs.nr;
		bytes += run_list_bytes(&backing->runs);
		drafts += userptr_state(userptr) == USERPTR_HALF_BUILT;
		views += userptr_state(userptr) == USERPTR_USABLE;
		if (userptr_state(userptr) == USERPTR_HALF_BUILT)
			assert_true(run_list_bytes(&backing->runs) < backing->size);
		if (userptr_state(userptr) == USERPTR_USABLE)
			assert_int_equal(run_list_bytes(&backing->runs), backing->size);
		if (userptr_state(userptr) == USERPTR_FAILED)
			assert_int_equal(backing->runs.nr, 0);
	}
	assert_true(runs <= totals(cb).runs && totals(cb).runs <= 40);
	assert_true(bytes <= totals(cb).bytes);
	assert_true(drafts <= cb->drafts && cb->drafts <= (int)totals(cb).resources);
	assert_true(views <= cb->views && cb->views <= (int)totals(cb).resources);
}

static void test_hostile(void **state)
{
	struct core_bench *cb = *state;
	const char *given = getenv("FUZZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	unsigned int accepted = 0, i;
	unsigned char cmd[512];

	print_message("FUZZ_SEED=%llu\n", (unsigned long long)seed);
	fuzz_state = seed | 1;
	for (i = 0; i < 200000; i++) {
		uint32_t id = fuzz(6);

		if (fuzz_command(cb, cmd) == OK)
			accepted++;
		check_invariants(cb);
		if (!fuzz(3))
			destroy(cb, id, NULL);
	}
	/* A loop in which nothing succeeds would prove nothing. */
	assert_true(accepted > 1000);
	assert_true(totals(cb).created > 500);
	assert_true(cb->nr_destroyed > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hostile, setup_view, teardown),
	};

	return cmocka_run_group_tests_name("userptr_hostile", tests, NULL, NULL);
}
