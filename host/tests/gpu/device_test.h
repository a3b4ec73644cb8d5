/* SPDX-License-Identifier: MIT */
/*
 * device_test: what the tests of the device with the loopback context share
 *
 * A bench for each test, commands with a fence, and jobs that take their time.
 */
#ifndef DEVICE_TEST_H
#define DEVICE_TEST_H

#include "tests/gpu/gpu_test.h"

#define RAM_SIZE (64ull << 20)
#define LOOPBACK VIRTIO_GPU_CAPSET_LOOPBACK
#define BIG (RAM_BASE + (1 << 20))
#define BIG_SIZE (16u << 20)
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline int setup(void **state)
{
	struct gpu_config config = bench_config();

	*state = bench_new(&config, RAM_SIZE);
	return 0;
}

static inline int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

static inline struct virtio_gpu_ctrl_hdr answer_hdr(const struct answer *answer)
{
	struct virtio_gpu_ctrl_hdr hdr;

	assert_true(answer->order && answer->len >= sizeof(hdr));
	memcpy(&hdr, answer->data, sizeof(hdr));
	return hdr;
}

static inline struct answer *send_fenced_info(struct bench *bench, uint32_t ctx, struct fence fence)
{
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, ctx);

	cmd.flags = htole32(VIRTIO_GPU_FLAG_FENCE |
			    (fence.ring >= 0 ? VIRTIO_GPU_FLAG_INFO_RING_IDX : 0));
	cmd.fence_id = htole64(fence.id);
	cmd.ring_idx = fence.ring >= 0 ? (uint8_t)fence.ring : 0;
	return SEND(bench, cmd);
}

/* A context with a resource that is long to fill. */
static inline void set_up_slow(struct bench *bench)
{
	struct piece big = { BIG, BIG_SIZE };

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 2, LOOPBACK), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &big, 1), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 2, 1), OK);
}

static inline struct answer *send_slow(struct bench *bench, uint32_t ctx, struct fence fence)
{
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, BIG_SIZE);

	return send_submit(bench, ctx, fence, &c, 1, 0, 0);
}

#endif /* DEVICE_TEST_H */
