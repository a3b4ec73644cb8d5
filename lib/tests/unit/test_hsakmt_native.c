// SPDX-License-Identifier: MIT
/*
 * test_hsakmt_native: the backend for an amdgpu's native context
 *
 * On the stand-in of device.h; commands are compared as they are on the wire.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "native_session.h"

/* ---- opening ---------------------------------------------------------------- */

static void test_open(void **state)
{
	HsaNodeProperties node = { 0 };

	(void)state;
	/* The first one that has all of it. */
	assert_int_equal(device.opened, 2);
	assert_int_equal(device.rings, 64);
	assert_int_equal(device.nr_blobs, 1);
	assert_int_equal(device.blobs[1].size, 0x4000);
	assert_int_equal(device.blobs[1].blob_id, 0);
	ops()->node_properties(gpu, &node);
	assert_int_equal(node.DrmRenderMinor, 130);
	assert_true(ops()->fd(gpu) >= 0);
	/* The last question: SDMA's firmware. */
	EXPECT_STREAM(0, 1, 48, 7, 0, 0, 0, sizeof(struct drm_amdgpu_info_firmware),
		      AMDGPU_INFO_FW_VERSION, AMDGPU_INFO_FW_SDMA, 0, 0, 0);
}

static void test_nodes(void **state)
{
	(void)state;
	/* Each lacks another thing. */
	device.nodes[2].userptr = 0;
	assert_int_equal(ops()->open(&gpu), -ENODEV);
	device.nodes[2].userptr = 7;
	device.nodes[2].context_type = 0;
	assert_int_equal(ops()->open(&gpu), -ENODEV);
	device.nodes[2].context_type = 2;
	device.nodes[2].driver = "virtio_gpu2";
	assert_int_equal(ops()->open(&gpu), -ENODEV);
	device.nodes[2].driver = "virtio_gp";
	assert_int_equal(ops()->open(&gpu), -ENODEV);
	assert_false(device.context);
	device.nodes[2].driver = "virtio_gpu";
	device.nodes[2].open_error = EACCES;
	assert_int_equal(ops()->open(&gpu), -EACCES);
	device.nodes[2].open_error = 0;
	/* One that works behind one that cannot be opened. */
	device.nodes[1].open_error = EACCES;
	assert_int_equal(ops()->open(&gpu), 0);
}

static void test_chosen_node(void **state)
{
	(void)state;
	device.nodes[3] = device.nodes[2];
	setenv("HSAKMT_VIRTGPU_NODE", "/dev/dri/renderD129", 1);
	assert_int_equal(ops()->open(&gpu), -ENODEV);
	setenv("HSAKMT_VIRTGPU_NODE", "/nowhere", 1);
	assert_int_equal(ops()->open(&gpu), -ENOENT);
	setenv("HSAKMT_VIRTGPU_NODE", "/dev/dri/renderD131", 1);
	assert_int_equal(ops()->open(&gpu), 0);
	assert_int_equal(device.opened, 3);
}

/* Whichever ioctl it is that fails, opening fails, and leaves nothing. */
static void test_open_fails(void **state)
{
	unsigned int i = 0;
	int ret;

	/* Not its own, and not the wrong one's. */
	device.nodes[0].driver = NULL;
	device.nodes[1].driver = NULL;
	for (;; i++) {
		device_reset();
		device.nodes[0].driver = NULL;
		device.nodes[1].driver = NULL;
		device.fail_after = i;
		device.fail = -ENOMEM;
		ret = ops()->open(&gpu);
		if (!ret)
			break;
		gpu = NULL;
		teardown(state);
		assert_true(ret == -ENOMEM || (ret == -ENODEV && i < 3));
	}
	/* Version, parameter, capset, context, response memory 2, and 7 questions. */
	assert_int_equal(i, 13);
	ops()->close(gpu);
	gpu = NULL;
}

/* Answers must be in the response memory, and not where the device's words are. */
static void test_response_memory(void **state)
{
	const uint32_t bad[] = { 0, 8, 12, 17, 20, 0x4000 - 0x7f8, 0x4000, 0xfffffff8 };
	const uint32_t good[] = { 16, 0x58, 0x4000 - 0x800 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		device_reset();
		device.rsp_offset = bad[i];
		assert_int_equal(ops()->open(&gpu), -EPROTO);
		assert_int_equal(device.execs, 0);
		teardown(state);
	}
	device_reset();
	device.unmappable = 1;
	assert_int_equal(ops()->open(&gpu), -ENOMEM);
	teardown(state);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		device_reset();
		device.rsp_offset = good[i];
		assert_int_equal(ops()->open(&gpu), 0);
		ops()->close(gpu);
		gpu = NULL;
	}
}

static void test_addresses_that_cannot_be(void **state)
{
	const struct {
		uint64_t first, end, align;
	} cases[] = {
		{ FIRST, FIRST, P },
		{ FIRST, FIRST - 1, P },
		{ FIRST, 1ull << 47, 0 },
		{ FIRST, 1ull << 47, 3 * P },
		{ FIRST, 1ull << 58, P },
		{ FIRST, 1ull << 47, 2 * LARGE },
		{ FIRST + 1, FIRST + P, P },
		{ 0, 0, P },
		{ ~0ull, 0, P },
		{ 0, ~0ull, P },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		device_reset();
		device.info.virtual_address_offset = cases[i].first;
		device.info.virtual_address_max = cases[i].end;
		device.info.virtual_address_alignment = cases[i].align;
		assert_int_equal(ops()->open(&gpu), -EPROTO);
		gpu = NULL;
	}
}

/* ---- mapping ---------------------------------------------------------------- */

static void test_map(void **state)
{
	struct hsakmt_gpu_range range = {
		.res_handle = 77,
		.bo_handle = 5,
		.offset = 3 * P,
		.size = 2 * P,
	};
	uint64_t va[4];

	(void)state;
	assert_int_equal(ops()->map(gpu, &range, &va[0]), 0);
	EXPECT_STREAM(0, 3, 64, 8, 0, U64(va[0]), U64(2 * P), U64(6), U64(0), U64(3 * P), 77, 1);
	range.rdonly = true;
	assert_int_equal(ops()->map(gpu, &range, &va[1]), 0);
	EXPECT_STREAM(0, 3, 64, 9, 0, U64(va[1]), U64(2 * P), U64(2), U64(0), U64(3 * P), 77, 1);
	range.execute = true;
	assert_int_equal(ops()->map(gpu, &range, &va[2]), 0);
	EXPECT_STREAM(0, 3, 64, 10, 0, U64(va[2]), U64(2 * P), U64(10), U64(0), U64(3 * P), 77, 1);
	range.rdonly = false;
	assert_int_equal(ops()->map(gpu, &range, &va[3]), 0);
	EXPECT_STREAM(0, 3, 64, 11, 0, U64(va[3]), U64(2 * P), U64(14), U64(0), U64(3 * P), 77, 1);
	/* What runs over the end of one is not in the next one. */
	assert_int_equal(va[0], FIRST);
	assert_int_equal(va[1], va[0] + 3 * P);

	ops()->unmap(gpu, va[1], 2 * P);
	EXPECT_STREAM(0, 3, 64, 12, 0, U64(va[1]), U64(2 * P), U64(0), U64(0), U64(3 * P), 77, 2);
	assert_int_equal(device.nr_maps, 3);
	/* Nothing is mapped there, or not so much. */
	ops()->unmap(gpu, va[1], 2 * P);
	ops()->unmap(gpu, va[0] + P, P);
	ops()->unmap(gpu, va[0], P);
	assert_int_equal(device.nr_maps, 3);
	assert_int_equal(device.seqno, 12);
}

/* An error of the host is the caller's, and of that range only. */
static void test_map_refused(void **state)
{
	uint64_t va = 1;

	(void)state;
	device.refuse = AMDVGPU_BO_VA_OP;
	device.refusal = -ENOSPC;
	assert_int_equal(map_range(77, P, &va), -ENOSPC);
	assert_int_equal(va, 1);
	assert_null(interval_first(&gpu->va.used, 0, UINT64_MAX));
	device.refuse = 0;
	assert_int_not_equal(map_it(77, P), 0);
	device.fail_after = device.ioctls;
	device.fail_once = true;
	device.fail = -ENOMEM;
	assert_int_equal(map_range(77, P, &va), -ENOMEM);
	map_it(77, P);
	assert_int_equal(map_range(77, 1ull << 47, &va), -ENOSPC);
	assert_int_equal(map_range(77, 1ull << 50, &va), -EINVAL);
	assert_int_equal(map_range(77, ~0ull, &va), -EINVAL);
	assert_int_equal(map_range(77, 0, &va), -EINVAL);
}

/* What may still be mapped is not where something else is. */
static void test_unmap_refused(void **state)
{
	uint64_t va;

	(void)state;
	va = map_it(77, P);
	device.refuse = AMDVGPU_BO_VA_OP;
	device.refusal = -EBUSY;
	ops()->unmap(gpu, va, P);
	device.refuse = 0;
	/* Back at the start. */
	gpu->va.cursor = gpu->va.first;
	assert_int_not_equal(map_it(78, P), va);
	/* Of what is not there any more nothing is mapped. */
	device.refuse = AMDVGPU_BO_VA_OP;
	device.refusal = -ENOENT;
	ops()->unmap(gpu, va, P);
	device.refuse = 0;
	device.nr_maps = 0;
	gpu->va.cursor = gpu->va.first;
	assert_int_equal(map_it(79, P), va);
}

/* Whatever a signal interrupts is done nevertheless. */
static void test_interrupted(void **state)
{
	unsigned int i;

	for (i = 0; i < 13 + 5; i++) {
		setup(state);
		device.nodes[0].driver = NULL;
		device.nodes[1].driver = NULL;
		device.fail_after = i;
		device.fail = -EINTR;
		device.fail_once = true;
		assert_int_equal(ops()->open(&gpu), 0);
		assert_int_equal(ops()->copy(gpu, FIRST, FIRST, 4), 0);
		assert_int_equal(device.ioctls, 13 + 5 + 1);
		teardown(state);
	}
	gpu = NULL;
}

static void test_va_large(void **state)
{
	struct native_va va;
	struct interval_node small = { 0 }, large = { 0 }, other = { 0 };

	(void)state;
	assert_int_equal(native_va_init(&va, 0x1001, 64 * LARGE, P), 0);
	assert_int_equal(native_va_alloc(&va, P, &small), 0);
	assert_int_equal(small.first, 0x2000);
	assert_int_equal(native_va_alloc(&va, LARGE, &large), 0);
	assert_int_equal(large.first, LARGE);
	assert_int_equal(native_va_alloc(&va, P, &other), 0);
	assert_int_equal(other.first, 2 * LARGE + P);
}

/* All of it, once around, and no address again before that. */
static void test_va_all(void **state)
{
	enum { NR = 50 };
	struct interval_node nodes[NR] = { 0 }, extra = { 0 };
	struct native_va va;
	unsigned int i;

	(void)state;
	/* Where the device wants more than a page. */
	assert_int_equal(native_va_init(&va, 0, (1 + 2 * NR) * 4 * P, 4 * P), 0);
	for (i = 0; i < NR; i++) {
		assert_int_equal(native_va_alloc(&va, P, &nodes[i]), 0);
		assert_int_equal(nodes[i].first, 4 * P * (1 + 2 * i));
		assert_int_equal(nodes[i].last, nodes[i].first + 8 * P - 1);
	}
	assert_int_equal(native_va_alloc(&va, P, &extra), -ENOSPC);
	native_va_free(&va, &nodes[NR / 2]);
	assert_int_equal(native_va_alloc(&va, 5 * P, &extra), -ENOSPC);
	assert_int_equal(native_va_alloc(&va, 4 * P, &extra), 0);
	assert_int_equal(extra.first, nodes[NR / 2].first);
	/* Only then what lies before it. */
	native_va_free(&va, &nodes[0]);
	native_va_free(&va, &nodes[NR - 1]);
	assert_int_equal(native_va_alloc(&va, P, &nodes[1]), 0);
	assert_int_equal(nodes[1].first, nodes[NR - 1].first);
}

/* ---- a device that lies ----------------------------------------------------- */

/* The context is lost: nothing more is sent, and nothing more is done. */
static void expect_lost(void)
{
	unsigned int before = device.execs;
	uint64_t va;

	device.hostile = HOSTILE_NOT;
	assert_int_equal(map_range(77, P, &va), -EIO);
	ops()->unmap(gpu, FIRST, P);
	assert_int_equal(ops()->copy(gpu, FIRST, FIRST + P, 4), -EIO);
	assert_int_equal(device.execs, before);
}

static void test_hostile(void **state)
{
	static const struct {
		enum hostile hostile;
		int error;
	} cases[] = {
		{ HOSTILE_MUTE, -ETIMEDOUT },  { HOSTILE_FENCE, -EIO },
		{ HOSTILE_IDLE, -EPROTO },     { HOSTILE_SEQNO, -EPROTO },
		{ HOSTILE_POSITIVE, -EPROTO }, { HOSTILE_ERRNO, -EPROTO },
		{ HOSTILE_ASYNC, -EIO },
	};
	unsigned int i;
	uint64_t va;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		setup_open(state);
		map_it(77, P);
		native_timeout_ms = 20;
		device.hostile = cases[i].hostile;
		assert_int_equal(map_range(78, P, &va), cases[i].error);
		expect_lost();
		teardown(state);
		/* And so from the first command on. */
		setup(state);
		native_timeout_ms = 20;
		device.hostile = cases[i].hostile;
		assert_int_equal(ops()->open(&gpu), cases[i].error);
		gpu = NULL;
		teardown(state);
	}
}

/* No answer is an error, and what one says of its length is not looked at. */
static void test_answers(void **state)
{
	uint64_t va;

	(void)state;
	device.hostile = HOSTILE_SILENT;
	assert_int_equal(map_range(77, P, &va), -EIO);
	device.hostile = HOSTILE_LENGTH;
	map_it(77, P);
	device.hostile = HOSTILE_NOT;
	map_it(77, P);
}

/* ---- properties ------------------------------------------------------------- */

static void test_properties(void **state)
{
	HsaNodeProperties node = { 0 };

	(void)state;
	ops()->node_properties(gpu, &node);
	assert_int_equal(node.VendorId, 0x1002);
	assert_int_equal(node.DeviceId, 0x73bf);
	assert_int_equal(node.FamilyID, 143);
	assert_int_equal(node.Capability.ui32.ASICRevision, 1);
	assert_int_equal(node.EngineId.ui32.Major, 10);
	assert_int_equal(node.EngineId.ui32.Minor, 3);
	assert_int_equal(node.EngineId.ui32.Stepping, 0);
	assert_int_equal(node.EngineId.ui32.uCode, (0x1234 + AMDGPU_INFO_FW_GFX_MEC) & 0x3ff);
	assert_int_equal(node.uCodeEngineVersions.uCodeSDMA,
			 (0x1234 + AMDGPU_INFO_FW_SDMA) & 0x3ff);
	assert_int_equal(node.NumFComputeCores, 120);
	assert_int_equal(node.NumSIMDPerCU, 2);
	assert_int_equal(node.MaxWavesPerSIMD, 16);
	assert_int_equal(node.LDSSizeInKB, 64);
	assert_int_equal(node.WaveFrontSize, 32);
	assert_int_equal(node.NumShaderBanks, 8);
	assert_int_equal(node.NumArrays, 2);
	assert_int_equal(node.NumCUPerArray, 10);
	assert_int_equal(node.LocalMemSize, 0x40000000);
	assert_int_equal(node.MaxEngineClockMhzFCompute, 2475);
	assert_int_equal(node.NumSdmaEngines, 2);
	assert_int_equal(node.Integrated, 0);
}

static void test_chips(void **state)
{
	HsaNodeProperties node = { 0 };

	(void)state;
	assert_int_equal(native_chip(0x090402)->target, 90010);
	assert_int_equal(native_chip(0x090402)->waves, 8);
	assert_int_equal(native_chip(0x0a010a)->target, 100100);
	assert_int_equal(native_chip(0x0a010a)->waves, 20);
	assert_int_equal(native_chip(0x0b0000)->target, 110000);
	assert_null(native_chip(0));
	/* Of one that is not known there is what the device says. */
	gpu->info.gfx.discovery_version = 0x630000;
	ops()->node_properties(gpu, &node);
	assert_int_equal(node.EngineId.ui32.Major, 0);
	assert_int_equal(node.NumFComputeCores, 0);
	assert_int_equal(node.WaveFrontSize, 32);
}

static void test_banks(void **state)
{
	static const struct {
		uint64_t all, seen;
		unsigned int nr;
		HSA_HEAPTYPE type[2];
		uint64_t size[2];
	} cases[] = {
		{ 100, 30, 2, { 1, 2 }, { 30, 70 } }, { 100, 100, 1, { 1 }, { 100 } },
		{ 100, 0, 1, { 2 }, { 100 } },	      { 0, 0, 0, { 0 }, { 0 } },
		{ 100, 500, 1, { 1 }, { 100 } },
	};
	unsigned int i, bank;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		gpu->info.memory.vram.total_heap_size = cases[i].all;
		gpu->info.memory.cpu_accessible_vram.total_heap_size = cases[i].seen;
		assert_int_equal(ops()->nr_memory_banks(gpu), cases[i].nr);
		for (bank = 0; bank < cases[i].nr; bank++) {
			HsaMemoryProperties memory = { 0 };

			ops()->memory_properties(gpu, bank, &memory);
			assert_int_equal(memory.HeapType, cases[i].type[bank]);
			assert_int_equal(memory.SizeInBytes, cases[i].size[bank]);
			assert_int_equal(memory.Width, 256);
			assert_int_equal(memory.MemoryClockMax, 1000);
		}
	}
}

/* Engines that the GPU has not, or of which the host's kernel does not know. */
static void test_no_engines(void **state)
{
	HsaNodeProperties node = { 0 };

	(void)state;
	memset(device.ips, 0, sizeof(device.ips));
	assert_int_equal(ops()->open(&gpu), 0);
	ops()->node_properties(gpu, &node);
	assert_int_equal(node.NumSdmaEngines, 0);
	assert_int_equal(ops()->copy(gpu, FIRST, FIRST + P, 4), -EOPNOTSUPP);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OPEN(name) cmocka_unit_test_setup_teardown(name, setup_open, teardown)
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OPEN(name) cmocka_unit_test_setup_teardown(name, setup_open, teardown)
		TEST_OPEN(test_open),
		TEST(test_nodes),
		TEST(test_chosen_node),
		TEST(test_open_fails),
		TEST(test_response_memory),
		TEST(test_addresses_that_cannot_be),
		TEST_OPEN(test_map),
		TEST_OPEN(test_map_refused),
		TEST_OPEN(test_unmap_refused),
		TEST(test_interrupted),
		TEST(test_va_large),
		TEST(test_va_all),
		TEST(test_hostile),
		TEST_OPEN(test_answers),
		TEST_OPEN(test_properties),
		TEST_OPEN(test_chips),
		TEST_OPEN(test_banks),
		TEST(test_no_engines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
