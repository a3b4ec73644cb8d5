// SPDX-License-Identifier: MIT
/*
 * test_gpu_commands: each command good and hostile in its size, answers, fences
 */
#include "tests/gpu/device_test.h"

#include "tests/util/capture.h"
#include "util/log.h"

static void test_cursor_queue(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_update_cursor cmd = {
		.hdr = header(VIRTIO_GPU_CMD_UPDATE_CURSOR, 0),
	};
	struct virtio_gpu_ctrl_hdr info = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0);

	assert_int_equal(answer_type(bench_send_on(bench, 1, &cmd, sizeof(cmd), 24)),
			 VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
	assert_int_equal(answer_type(bench_send_on(bench, 1, &cmd, sizeof(cmd) - 1, 24)),
			 ERR_PARAM);
	assert_int_equal(answer_type(bench_send_on(bench, 1, &info, sizeof(info), 24)), ERR_UNSPEC);
	assert_int_equal(bench_send_on(bench, 1, &cmd, sizeof(cmd), 0)->len, 0);
	assert_int_equal(DO(bench, cmd), ERR_UNSPEC);
}

/* Every command, one byte short and one byte long. */
static void test_sizes(void **state)
{
	static const struct {
		uint32_t type;
		size_t size;
	} list[] = {
		{ VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 24 },
		{ VIRTIO_GPU_CMD_GET_EDID, 32 },
		{ VIRTIO_GPU_CMD_GET_CAPSET_INFO, 32 },
		{ VIRTIO_GPU_CMD_GET_CAPSET, 32 },
		{ VIRTIO_GPU_CMD_CTX_CREATE, 96 },
		{ VIRTIO_GPU_CMD_CTX_DESTROY, 24 },
		{ VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 32 },
		{ VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 32 },
		{ VIRTIO_GPU_CMD_SUBMIT_3D, 32 },
		{ VIRTIO_GPU_CMD_RESOURCE_UNREF, 32 },
		{ VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 56 },
		{ VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 40 },
		{ VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 32 },
		{ VIRTIO_GPU_CMD_GET_USERPTR_INFO, 24 },
		{ VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 48 },
		{ VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES, 40 },
		{ VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 32 },
	};
	struct bench *bench = *state;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		struct virtio_gpu_resource_create_userptr create;
		unsigned char bytes[128];
	} cmd = { .bytes = { 0 } };
	struct answer *answer;
	size_t i, len;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		cmd.hdr = header(list[i].type, 1);
		assert_int_equal(bench_do(bench, &cmd, list[i].size - 1), ERR_PARAM);
		if (list[i].type == VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR)
			cmd.create.resource_id = htole32(1);
		if (list[i].type == VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB)
			cmd.create.resource_id = htole32(2);
		if (list[i].type == VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES)
			continue; /* the id comes first; see test_userptr_refusals */
		assert_int_equal(bench_do(bench, &cmd, list[i].size + 1), ERR_PARAM);
		memset(&cmd, 0, sizeof(cmd));
	}
	/* Less than a header: answered, with nothing copied from it. */
	cmd.hdr = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 1);
	cmd.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	for (len = 0; len < sizeof(cmd.hdr); len++) {
		answer = bench_send(bench, &cmd, len);
		assert_int_equal(answer_type(answer), ERR_PARAM);
		assert_int_equal(answer_hdr(answer).flags, 0);
	}
}

static void test_unknown_commands(void **state)
{
	struct bench *bench = *state;
	unsigned char cmd[128] = { 0 };
	struct virtio_gpu_ctrl_hdr hdr;
	uint32_t type;

	for (type = 0; type < 0x400; type++) {
		bool known = (type >= 0x180 && type <= 0x183) || type == 0x100 || type == 0x102 ||
			     (type >= 0x108 && type <= 0x10a) || type == 0x10c ||
			     (type >= 0x200 && type <= 0x203) || (type >= 0x207 && type <= 0x209);

		hdr = header(type, 1);
		memcpy(cmd, &hdr, sizeof(hdr));
		if (!known)
			assert_int_equal(bench_do(bench, cmd, sizeof(cmd)), ERR_UNSPEC);
	}
	hdr = header(0xffffffff, 1);
	assert_int_equal(DO(bench, hdr), ERR_UNSPEC);
}

static void test_features_gate_commands(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct virtio_gpu_ctrl_hdr info = header(VIRTIO_GPU_CMD_GET_USERPTR_INFO, 0);

	gpu_device_set_features(bench->dev, 1u << VIRTIO_GPU_F_VIRGL);
	assert_int_equal(DO(bench, info), ERR_UNSPEC);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), ERR_UNSPEC);
	assert_int_equal(do_destroy(bench, 1), ERR_UNSPEC);
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), ERR_UNSPEC);
	/* Without CONTEXT_INIT the field is padding: no loopback context. */
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_submit(bench, 1, &(struct loopback_command){ 0 }, 1, 0, 0), ERR_UNSPEC);
	gpu_device_set_features(bench->dev, 0);
	assert_int_equal(do_ctx_create(bench, 2, 0), ERR_UNSPEC);
}

static void test_answer_is_truncated(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0);
	size_t room;

	for (room = 0; room < 500; room++) {
		struct answer *answer = bench_send_on(bench, 0, &cmd, sizeof(cmd), room);

		assert_true(answer->order);
		assert_int_equal(answer->len, room < 408 ? room : 408);
	}
}

static void test_fence_is_copied(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_ctrl_hdr cmd = header(0xdead, 7);
	struct virtio_gpu_ctrl_hdr hdr;

	hdr = answer_hdr(send_fenced_info(bench, 6, (struct fence){ 1ull << 40, 3 }));
	assert_int_equal(le32toh(hdr.flags), 3);
	assert_int_equal(le64toh(hdr.fence_id), 1ull << 40);
	assert_int_equal(le32toh(hdr.ctx_id), 6);
	assert_int_equal(hdr.ring_idx, 3);
	hdr = answer_hdr(send_fenced_info(bench, 6, (struct fence){ 2, -1 }));
	assert_int_equal(le32toh(hdr.flags), 1);
	assert_int_equal(hdr.ring_idx, 0);
	/* In an error too; not without the flag; unknown flags never. */
	cmd.flags = htole32(0xfffffffd);
	cmd.fence_id = htole64(3);
	hdr = answer_hdr(SEND(bench, cmd));
	assert_int_equal(le32toh(hdr.type), ERR_UNSPEC);
	assert_int_equal(le32toh(hdr.flags), 1);
	assert_int_equal(le64toh(hdr.fence_id), 3);
	cmd.flags = htole32(VIRTIO_GPU_FLAG_INFO_RING_IDX);
	hdr = answer_hdr(SEND(bench, cmd));
	assert_int_equal(hdr.flags, 0);
	assert_int_equal(hdr.fence_id, 0);
	assert_int_equal(hdr.ctx_id, 0);
}

static void test_fence_order(void **state)
{
	struct bench *bench = *state;
	struct answer *slow, *same[3], *other[4];
	unsigned int i;

	set_up_slow(bench);
	/* Answers of workers come with dispatch only, so this is no race. */
	slow = send_slow(bench, 1, (struct fence){ 1, 2 });
	same[0] = send_fenced_info(bench, 1, (struct fence){ 2, 2 });
	same[1] = send_slow(bench, 1, (struct fence){ 3, 2 });
	same[2] = send_fenced_info(bench, 1, (struct fence){ 4, 2 });
	other[0] = send_fenced_info(bench, 1, (struct fence){ 5, 1 });
	other[1] = send_fenced_info(bench, 2, (struct fence){ 6, 2 });
	other[2] = send_fenced_info(bench, 1, (struct fence){ 7, -1 });
	other[3] = send_fenced_info(bench, 0, (struct fence){ 8, 0 });
	for (i = 0; i < 4; i++)
		assert_int_equal(other[i]->order, i + 6);
	assert_int_equal(slow->order, 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(same[i]->order, 0);
	bench_wait(bench, same[2]);
	assert_int_equal(slow->order, 10);
	for (i = 0; i < 3; i++)
		assert_int_equal(same[i]->order, 11 + i);
}

static void test_global_fence_order(void **state)
{
	struct bench *bench = *state;
	struct answer *slow, *info, *plain;
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0);

	set_up_slow(bench);
	slow = send_slow(bench, 1, (struct fence){ 1, -1 });
	/* One timeline for all contexts; what is not fenced is in none. */
	info = send_fenced_info(bench, 2, (struct fence){ 2, -1 });
	plain = SEND(bench, cmd);
	assert_true(plain->order);
	assert_int_equal(info->order, 0);
	bench_wait(bench, info);
	assert_true(slow->order < info->order);
}

static void test_late_destroy_in_timeline(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0),
		.resource_id = htole32(1),
	};
	struct answer *slow, *end, *info;

	cmd.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
	cmd.hdr.fence_id = htole64(5);
	set_up_slow(bench);
	slow = send_slow(bench, 1, (struct fence){ 4, 0 });
	wait_started(bench, BIG);
	end = SEND(bench, cmd);
	info = send_fenced_info(bench, 0, (struct fence){ 6, -1 });
	assert_int_equal(info->order, 0);
	assert_int_equal(do_userptr(bench, 1, 0, &(struct piece){ RAM_BASE, PAGE }, 1),
			 ERR_RESOURCE);
	assert_int_equal(do_destroy(bench, 1), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 1), ERR_RESOURCE);
	bench_wait(bench, info);
	assert_true(slow->order < end->order && end->order < info->order);
	assert_int_equal(le64toh(answer_hdr(end).fence_id), 5);
}

static void test_limit_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *last, *over;
	unsigned int i;

	set_up_slow(bench);
	last = send_slow(bench, 1, (struct fence){ 1, 0 });
	for (i = 1; i < 4096; i++)
		last = send_fenced_info(bench, 1, (struct fence){ i + 1, 0 });
	assert_int_equal(last->order, 0);
	over = send_fenced_info(bench, 1, (struct fence){ 5000, 0 });
	assert_int_equal(answer_type(over), ERR_MEMORY);
	/* Its fence would say that the others of its timeline are over. */
	assert_int_equal(answer_hdr(over).flags, 0);
	assert_int_equal(answer_hdr(over).fence_id, 0);
	bench_wait(bench, last);
	assert_true(send_fenced_info(bench, 1, (struct fence){ 5001, 0 })->order);
}

static void test_log(void **state)
{
	static const char line[] = PROGRAM_NAME ": gpu: GET_DISPLAY_INFO (0x100) ctx 3"
						" -> OK_DISPLAY_INFO (0x1101)\n";
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 3);
	struct gpu_config config = bench_config();
	struct capture capture;
	struct bench *bench;

	(void)state;
	config.verbose = true;
	bench = bench_new(&config, 1 << 20);
	log_set_verbose(true);
	capture_begin();
	SEND(bench, cmd);
	capture_end(&capture);
	log_set_verbose(false);
	bench_free(bench);
	assert_string_equal(capture.text, line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cursor_queue),
		TEST(test_sizes),
		TEST(test_unknown_commands),
		TEST(test_features_gate_commands),
		TEST(test_answer_is_truncated),
		TEST(test_fence_is_copied),
		TEST(test_fence_order),
		TEST(test_global_fence_order),
		TEST(test_late_destroy_in_timeline),
		TEST(test_limit_pending),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests_name("gpu_commands", tests, NULL, NULL);
}
