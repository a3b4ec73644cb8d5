// SPDX-License-Identifier: MIT
/*
 * test_gpu_info: displays, capsets, and what userptr resources may be like
 */
#include "tests/gpu/device_test.h"

static void test_display_info(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0);
	struct virtio_gpu_cmd_get_edid edid = { .hdr = header(VIRTIO_GPU_CMD_GET_EDID, 0) };
	struct answer *answer = SEND(bench, cmd);
	size_t i;

	assert_int_equal(answer_type(answer), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	assert_int_equal(answer->len, sizeof(struct virtio_gpu_resp_display_info));
	for (i = sizeof(cmd); i < answer->len; i++)
		assert_int_equal(answer->data[i], 0);
	assert_int_equal(DO(bench, edid), ERR_UNSPEC);
}

static void test_capset(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_get_capset_info info = {
		.hdr = header(VIRTIO_GPU_CMD_GET_CAPSET_INFO, 0),
	};
	struct virtio_gpu_get_capset get = {
		.hdr = header(VIRTIO_GPU_CMD_GET_CAPSET, 0),
		.capset_id = htole32(LOOPBACK),
		.capset_version = htole32(1),
	};
	struct virtio_gpu_resp_capset_info resp;
	struct loopback_capset capset;
	struct answer *answer = SEND(bench, info);

	assert_int_equal(answer_type(answer), VIRTIO_GPU_RESP_OK_CAPSET_INFO);
	memcpy(&resp, answer->data, sizeof(resp));
	assert_int_equal(le32toh(resp.capset_id), LOOPBACK);
	assert_int_equal(le32toh(resp.capset_max_version), 1);
	assert_int_equal(le32toh(resp.capset_max_size), sizeof(capset));
	info.capset_index = htole32(1);
	assert_int_equal(DO(bench, info), ERR_PARAM);
	answer = SEND(bench, get);
	assert_int_equal(answer_type(answer), VIRTIO_GPU_RESP_OK_CAPSET);
	assert_int_equal(answer->len, sizeof(struct virtio_gpu_ctrl_hdr) + sizeof(capset));
	memcpy(&capset, answer->data + sizeof(struct virtio_gpu_ctrl_hdr), sizeof(capset));
	assert_int_equal(le32toh(capset.version), 1);
	assert_int_equal(le32toh(capset.ops), 0x7e);
	get.capset_version = htole32(2);
	assert_int_equal(DO(bench, get), ERR_PARAM);
	get.capset_version = htole32(1);
	get.capset_id = htole32(4);
	assert_int_equal(DO(bench, get), ERR_PARAM);
	get.capset_id = 0;
	assert_int_equal(DO(bench, get), ERR_PARAM);
}

static void test_userptr_info(void **state)
{
	struct bench *bench = *state;
	struct gpu_config config = bench_config();
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_USERPTR_INFO, 0);
	struct virtio_gpu_resp_userptr_info info;
	struct answer *answer = SEND(bench, cmd);
	struct bench *other;
	unsigned int i;

	assert_int_equal(answer_type(answer), VIRTIO_GPU_RESP_OK_USERPTR_INFO);
	assert_int_equal(answer->len, sizeof(info));
	memcpy(&info, answer->data, sizeof(info));
	/* Room for later devices: what this one does not say is 0. */
	for (i = 0; i < 4; i++)
		assert_int_equal(info.reserved[i], 0);
	assert_int_equal(le32toh(info.flags), VIRTIO_GPU_USERPTR_INFO_RDONLY);
	assert_int_equal(le32toh(info.max_entries), 4096);
	assert_int_equal(le32toh(info.max_segments), 65536);
	assert_int_equal(le32toh(info.alignment), PAGE);
	/* No more than there is. */
	assert_int_equal(le64toh(info.max_size), bench->ram_size);
	assert_int_equal(le64toh(info.rdonly_capset_mask), 1ull << LOOPBACK);
	cmd.padding[1] = 1;
	assert_int_equal(DO(bench, cmd), ERR_PARAM);
	cmd.padding[1] = 0;
	config.userptr_rdonly = false;
	config.limits.max_userptr_bytes = 3 * PAGE + 77;
	other = bench_new(&config, 1 << 20);
	answer = SEND(other, cmd);
	memcpy(&info, answer->data, sizeof(info));
	assert_int_equal(info.flags, 0);
	assert_int_equal(info.rdonly_capset_mask, 0);
	assert_int_equal(le64toh(info.max_size), 3 * PAGE);
	bench_free(other);
	/* No more of one resource than of all. */
	config.limits.memory.total_runs = 77;
	other = bench_new(&config, 1 << 20);
	answer = SEND(other, cmd);
	memcpy(&info, answer->data, sizeof(info));
	assert_int_equal(le32toh(info.max_segments), 77);
	bench_free(other);
	config = bench_config();
	config.limits.memory.total_bytes = 5 * PAGE;
	other = bench_new(&config, 1 << 20);
	answer = SEND(other, cmd);
	memcpy(&info, answer->data, sizeof(info));
	assert_int_equal(le64toh(info.max_size), 5 * PAGE);
	bench_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_display_info),
		TEST(test_capset),
		TEST(test_userptr_info),
	};

	return cmocka_run_group_tests_name("gpu_info", tests, NULL, NULL);
}
