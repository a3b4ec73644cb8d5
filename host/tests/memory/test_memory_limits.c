// SPDX-License-Identifier: MIT
/*
 * test_memory_limits: what follows from guest RAM, and when
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "memory/memory_limits.h"
#include "tests/memory/ram_test.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static const struct memory_limits nothing;

static void limits_follow_ram(void **state)
{
	struct memory_limits limits;

	(void)state;
	limits = memory_limits_resolve(&nothing, GIB);
	assert_int_equal(limits.total_bytes, 2 * GIB);
	assert_int_equal(limits.total_runs, 524288);
	assert_int_equal(limits.resources, 16384);
	assert_int_equal(limits.page_uses, 1024);
	if (sysconf(_SC_PAGESIZE) == 4096)
		/* 16 bytes for each of 524288 pages, 2 KiB for each dma-buf. */
		assert_int_equal(limits.kernel_bytes, 8 * MIB + 32 * MIB);
	/* A small one, and a large one. */
	limits = memory_limits_resolve(&nothing, MIB);
	assert_int_equal(limits.total_bytes, 2 * MIB);
	assert_int_equal(limits.resources, 1024);
	assert_int_equal(limits.total_runs, 1024);
	limits = memory_limits_resolve(&nothing, 1024 * GIB);
	assert_int_equal(limits.total_bytes, 2048 * GIB);
	assert_int_equal(limits.resources, 65536);
	assert_int_equal(limits.total_runs, 16777216);
	/* Nothing wraps. */
	limits = memory_limits_resolve(&nothing, UINT64_MAX - 1);
	assert_int_equal(limits.total_bytes, UINT64_MAX);
	assert_true(limits.kernel_bytes > UINT64_MAX / 4096);
}

static void what_is_given_counts(void **state)
{
	struct memory_limits given = { .total_bytes = 64 * MIB }, limits;

	(void)state;
	limits = memory_limits_resolve(&given, GIB);
	assert_int_equal(limits.total_bytes, 64 * MIB);
	/* And what follows from that follows. */
	assert_int_equal(limits.total_runs, 16384);
	given = (struct memory_limits){ 1, 2, 3, 4, 5, 6 };
	limits = memory_limits_resolve(&given, GIB);
	assert_int_equal(limits.total_bytes, 1);
	assert_int_equal(limits.kernel_bytes, 2);
	assert_int_equal(limits.total_runs, 3);
	assert_int_equal(limits.resources, 4);
	assert_int_equal(limits.page_uses, 5);
	assert_int_equal(limits.mappings, 6);
}

/* Of what the kernel lets a process have a quarter is for everything else. */
static void mappings_follow_the_kernel(void **state)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	unsigned long max;

	(void)state;
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &max), 1);
	fclose(file);
	assert_int_equal(memory_limits_max_mappings(), max);
	assert_int_equal(memory_limits_resolve(&nothing, GIB).mappings, max - max / 4);
}

static void dmabufs_cost_by_the_page(void **state)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t one = memory_limits_kernel_cost(1);

	(void)state;
	assert_int_equal(memory_limits_kernel_cost(page), one);
	assert_int_equal(memory_limits_kernel_cost(page + 1), one + 16);
	assert_int_equal(memory_limits_kernel_cost(1000 * page), one + 999 * 16);
	assert_true(one >= 1024);
	assert_true(memory_limits_kernel_cost(UINT64_MAX) > UINT64_MAX / page);
}

/* A table that comes later, or another one: what is used stays, the limits follow. */
static void quotas_follow_the_table(void **state)
{
	struct guest_memory *gm = guest_memory_new();
	struct memory_quotas quotas;
	struct guest_region r;
	int fd = ram(8);

	(void)state;
	memory_quotas_init(&quotas, &nothing, gm);
	assert_int_equal(quotas.bytes.max, 0);
	r = region(0, 8 * PAGE, 0x1000, 0, fd);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	memory_quotas_refresh(&quotas);
	assert_int_equal(quotas.bytes.max, 16 * PAGE);
	assert_true(quota_charge(&quotas.bytes, 15 * PAGE));
	r = region(0, 4 * PAGE, 0x1000, 0, fd);
	assert_int_equal(guest_memory_set(gm, &r, 1), 0);
	memory_quotas_refresh(&quotas);
	assert_int_equal(quotas.bytes.max, 8 * PAGE);
	assert_int_equal(quotas.bytes.used, 15 * PAGE);
	assert_int_equal(quota_left(&quotas.bytes), 0);
	finish(gm, fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_follow_ram),
		cmocka_unit_test(what_is_given_counts),
		cmocka_unit_test(mappings_follow_the_kernel),
		cmocka_unit_test(dmabufs_cost_by_the_page),
		cmocka_unit_test(quotas_follow_the_table),
	};

	return cmocka_run_group_tests_name("memory_limits", tests, NULL, NULL);
}
