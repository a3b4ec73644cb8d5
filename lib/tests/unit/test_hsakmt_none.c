// SPDX-License-Identifier: MIT
/*
 * test_hsakmt_none: the thunk as it is built, where there is no GPU
 *
 * Nothing pretends to work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gpu.h"
#include "hsakmt-virtgpu.h"

#define NOT_OPENED HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED

static void test_cannot_be_opened(void **state)
{
	(void)state;
	assert_int_equal(hsaKmtOpenKFD(), NOT_OPENED);
	assert_int_equal(hsaKmtOpenKFD(), NOT_OPENED);
	assert_int_equal(hsaKmtCloseKFD(), NOT_OPENED);
}

static void test_nothing_works(void **state)
{
	HsaMemFlags flags = { .Value = 0 };
	HsaMemMapFlags map_flags = { .Value = 0 };
	HsaSystemProperties system;
	HsaNodeProperties node;
	HsaMemoryProperties memory;
	HSAuint32 nodes[] = { 1 };
	HSAuint64 va;
	void *addr = state;

	assert_int_equal(hsaKmtRegisterMemory(addr, 4096), NOT_OPENED);
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(addr, 4096, flags), NOT_OPENED);
	assert_int_equal(hsaKmtRegisterMemoryToNodes(addr, 4096, 1, nodes), NOT_OPENED);
	assert_int_equal(hsaKmtDeregisterMemory(addr), NOT_OPENED);
	assert_int_equal(hsaKmtMapMemoryToGPU(addr, 4096, &va), NOT_OPENED);
	assert_int_equal(hsaKmtMapMemoryToGPUNodes(addr, 4096, &va, map_flags, 1, nodes),
			 NOT_OPENED);
	assert_int_equal(hsaKmtUnmapMemoryToGPU(addr), NOT_OPENED);
	assert_int_equal(hsaKmtAllocMemory(0, 4096, flags, &addr), NOT_OPENED);
	assert_int_equal(hsaKmtFreeMemory(addr, 4096), NOT_OPENED);
	assert_int_equal(hsaKmtAcquireSystemProperties(&system), NOT_OPENED);
	assert_int_equal(hsaKmtReleaseSystemProperties(), NOT_OPENED);
	assert_int_equal(hsaKmtGetNodeProperties(0, &node), NOT_OPENED);
	assert_int_equal(hsaKmtGetNodeMemoryProperties(0, 1, &memory), NOT_OPENED);
	assert_int_equal(hsaKmtVirtgpuCopy(1, 4096, 8192, 4096), NOT_OPENED);
}

static void test_queues_and_events(void **state)
{
	HsaEventDescriptor descriptor = { 0 };
	HsaQueueResource resource;
	HsaEvent *event;

	(void)state;
	assert_int_equal(hsaKmtCreateQueue(1, HSA_QUEUE_COMPUTE, 100, HSA_QUEUE_PRIORITY_NORMAL,
					   NULL, 4096, NULL, &resource),
			 HSAKMT_STATUS_NOT_SUPPORTED);
	assert_int_equal(hsaKmtCreateEvent(&descriptor, true, false, &event),
			 HSAKMT_STATUS_NOT_SUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cannot_be_opened),
		cmocka_unit_test(test_nothing_works),
		cmocka_unit_test(test_queues_and_events),
	};

	/* Whatever the machine has; this is none. */
	setenv("HSAKMT_VIRTGPU_NODE", "/dev/null", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
