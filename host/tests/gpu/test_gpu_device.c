// SPDX-License-Identifier: MIT
/*
 * test_gpu_device: each command good and hostile, fences, late answers, limits
 */
#include "tests/gpu/gpu_test.h"

#include "tests/util/capture.h"
#include "util/log.h"

#include <sys/wait.h>

#include <linux/virtio_config.h>

#define RAM_SIZE (64ull << 20)
#define LOOPBACK VIRTIO_GPU_CAPSET_LOOPBACK
#define BIG (RAM_BASE + (1 << 20))
#define BIG_SIZE (16u << 20)

static int setup(void **state)
{
	struct gpu_config config = bench_config();

	*state = bench_new(&config, RAM_SIZE);
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

static struct virtio_gpu_ctrl_hdr answer_hdr(const struct answer *answer)
{
	struct virtio_gpu_ctrl_hdr hdr;

	assert_true(answer->order && answer->len >= sizeof(hdr));
	memcpy(&hdr, answer->data, sizeof(hdr));
	return hdr;
}

static void test_features(void **state)
{
	struct bench *bench = *state;
	struct gpu_config config = bench_config();
	uint64_t all = 1u << VIRTIO_GPU_F_VIRGL | 1u << VIRTIO_GPU_F_RESOURCE_BLOB |
		       1u << VIRTIO_GPU_F_CONTEXT_INIT | 1u << VIRTIO_GPU_F_RESOURCE_USERPTR;
	struct bench *other;

	assert_int_equal(gpu_device_features(bench->dev), all);
	config.userptr = false;
	config.access_platform = true;
	other = bench_new(&config, 1 << 20);
	assert_int_equal(gpu_device_features(other->dev),
			 (all & ~(1ull << VIRTIO_GPU_F_RESOURCE_USERPTR)) |
				 1ull << VIRTIO_F_ACCESS_PLATFORM);
	/* Not offered, so not accepted whatever the driver writes. */
	gpu_device_set_features(other->dev, ~0ull);
	assert_int_equal(do_destroy(other, 1), ERR_UNSPEC);
	bench_free(other);
}

static void test_config_space(void **state)
{
	struct bench *bench = *state;
	struct gpu_config config = bench_config();
	struct virtio_gpu_config space;
	unsigned char bytes[64];
	struct bench *other;
	unsigned int i;

	memset(bytes, 0xff, sizeof(bytes));
	gpu_device_read_config(bench->dev, 0, bytes, sizeof(bytes));
	memcpy(&space, bytes, sizeof(space));
	assert_int_equal(le32toh(space.num_scanouts), 0);
	assert_int_equal(le32toh(space.num_capsets), 1);
	for (i = sizeof(space); i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	gpu_device_read_config(bench->dev, 12, bytes, 1);
	assert_int_equal(bytes[0], 1);
	bytes[0] = 0xff;
	gpu_device_read_config(bench->dev, 0xffffffff, bytes, 8);
	assert_int_equal(bytes[0], 0);
	gpu_device_write_config(bench->dev, 0xfffffff0, bytes, 64);
	config.loopback = false;
	other = bench_new(&config, 1 << 20);
	gpu_device_read_config(other->dev, 0, &space, sizeof(space));
	assert_int_equal(le32toh(space.num_capsets), 0);
	bench_free(other);
}

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
	assert_int_equal(le64toh(info.max_size), 1ull << 32);
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
	config.limits.max_total_segments = 77;
	other = bench_new(&config, 1 << 20);
	answer = SEND(other, cmd);
	memcpy(&info, answer->data, sizeof(info));
	assert_int_equal(le32toh(info.max_segments), 77);
	bench_free(other);
}

static void test_contexts(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_ctx_create cmd = { .hdr = header(VIRTIO_GPU_CMD_CTX_CREATE, 9) };

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), ERR_CONTEXT);
	assert_int_equal(do_ctx_create(bench, 0, LOOPBACK), ERR_CONTEXT);
	assert_int_equal(do_ctx_create(bench, 2, 4), ERR_PARAM);
	assert_int_equal(do_ctx_create(bench, 2, LOOPBACK | 0x100), ERR_PARAM);
	assert_int_equal(do_ctx_create(bench, 2, 0), OK);
	cmd.nlen = htole32(65);
	assert_int_equal(DO(bench, cmd), ERR_PARAM);
	/* A name that fills its field has no terminator. */
	cmd.nlen = htole32(64);
	memset(cmd.debug_name, 'x', 64);
	assert_int_equal(DO(bench, cmd), OK);
	assert_int_equal(do_ctx_destroy(bench, 9), OK);
	assert_int_equal(do_ctx_destroy(bench, 9), ERR_CONTEXT);
	assert_int_equal(do_ctx_destroy(bench, 0), ERR_CONTEXT);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
}

static void test_attach(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct virtio_gpu_resource_create_userptr half = create_head(3, 0, 2 * PAGE, 2, 1);
	struct virtio_gpu_resource_create_userptr bad = create_head(4, 0, 0, 2, 1);
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, 1);
	size_t len;
	void *cmd;

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 2, 0), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	assert_int_equal(do_userptr(bench, 2, VIRTIO_GPU_USERPTR_RDONLY, &page, 1), OK);
	cmd = with_entries(&half, sizeof(half), &page, 1, &len);
	assert_int_equal(bench_do(bench, cmd, len), OK);
	free(cmd);
	assert_int_equal(DO(bench, bad), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 7, 1), ERR_CONTEXT);
	assert_int_equal(do_attach(bench, 0, 1), ERR_CONTEXT);
	assert_int_equal(do_attach(bench, 1, 99), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 0), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 3), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 4), ERR_RESOURCE);
	/* Read-only only where it is enforced. */
	assert_int_equal(do_attach(bench, 1, 2), OK);
	assert_int_equal(do_attach(bench, 2, 2), ERR_UNSUPPORTED);
	assert_int_equal(do_attach(bench, 2, 1), OK);
	assert_int_equal(do_submit(bench, 1, &c, 1, 0, 0), OK);
	assert_int_equal(do_detach(bench, 1, 1), OK);
	assert_int_equal(do_detach(bench, 1, 1), ERR_RESOURCE);
	assert_int_equal(do_detach(bench, 9, 1), ERR_CONTEXT);
	assert_int_equal(do_submit(bench, 1, &c, 1, 0, 0), ERR_PARAM);
	/* A context without renderer runs nothing. */
	assert_int_equal(do_submit(bench, 2, &c, 1, 0, 0), ERR_UNSPEC);
	assert_int_equal(do_submit(bench, 9, &c, 1, 0, 0), ERR_CONTEXT);
}

static void test_destroy_detaches(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, 1);
	uint32_t ctx;

	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	for (ctx = 1; ctx <= 3; ctx++) {
		assert_int_equal(do_ctx_create(bench, ctx, LOOPBACK), OK);
		assert_int_equal(do_attach(bench, ctx, 1), OK);
	}
	assert_int_equal(do_destroy(bench, 1), OK);
	/* Of the same id, but not attached: the old one must not show through. */
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	for (ctx = 1; ctx <= 3; ctx++) {
		assert_int_equal(do_submit(bench, ctx, &c, 1, 0, 0), ERR_PARAM);
		assert_int_equal(do_detach(bench, ctx, 1), ERR_RESOURCE);
	}
}

static void test_blobs(void **state)
{
	struct bench *bench = *state;
	const uint32_t guest = VIRTIO_GPU_BLOB_MEM_GUEST;
	struct piece p[] = { { RAM_BASE + 1, 10 }, { RAM_BASE + PAGE, 20 } };
	struct piece outside = { RAM_BASE - 1, 10 };
	struct piece wraps = { ~0ull - 3, 10 };
	struct piece empty[] = { { RAM_BASE, 10 }, { RAM_BASE, 0 } };
	struct virtio_gpu_resource_create_blob head = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 0),
		.resource_id = htole32(5),
		.blob_mem = htole32(guest),
		.nr_entries = htole32(1),
		.size = htole64(10),
	};
	unsigned char *cmd;
	size_t len;

	assert_int_equal(do_blob(bench, 1, guest, 25, p, 2), OK);
	assert_int_equal(do_blob(bench, 1, guest, 25, p, 2), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 0, guest, 25, p, 2), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 2, guest, 31, p, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 0, p, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 25, p, 0), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 10, &outside, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 10, &wraps, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, guest, 10, empty, 2), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_HOST3D, 10, p, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 10, p, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 2, 0, 10, p, 1), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 2), ERR_CONTEXT);
	head.blob_flags = htole32(8);
	cmd = with_entries(&head, sizeof(head), p, 2, &len);
	assert_int_equal(bench_do(bench, cmd, len - 16), ERR_PARAM);
	memset(cmd + offsetof(struct virtio_gpu_resource_create_blob, blob_flags), 0, 4);
	assert_int_equal(bench_do(bench, cmd, len), ERR_PARAM);
	assert_int_equal(bench_do(bench, cmd, len - 17), ERR_PARAM);
	assert_int_equal(bench_do(bench, cmd, len - 15), ERR_PARAM);
	assert_int_equal(bench_do(bench, cmd, len - 16), OK);
	free(cmd);
	assert_int_equal(do_unref(bench, 5), OK);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 0), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_blob(bench, 1, guest, 25, p, 2), OK);
}

static void test_one_id_space(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };

	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 2, 0, &page, 1), OK);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1),
			 ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 2), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_destroy(bench, 2), OK);
}

static void test_map_blob(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	struct virtio_gpu_resource_map_blob map = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 0),
		.resource_id = htole32(1),
	};
	struct virtio_gpu_resource_unmap_blob unmap = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 0),
		.resource_id = htole32(1),
	};

	assert_int_equal(DO(bench, map), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(DO(bench, map), ERR_PARAM);
	assert_int_equal(DO(bench, unmap), ERR_PARAM);
}

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
			continue; /* the id comes first; see test_userptr */
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

static struct answer *send_fenced_info(struct bench *bench, uint32_t ctx, struct fence fence)
{
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_DISPLAY_INFO, ctx);

	cmd.flags = htole32(VIRTIO_GPU_FLAG_FENCE |
			    (fence.ring >= 0 ? VIRTIO_GPU_FLAG_INFO_RING_IDX : 0));
	cmd.fence_id = htole64(fence.id);
	cmd.ring_idx = fence.ring >= 0 ? (uint8_t)fence.ring : 0;
	return SEND(bench, cmd);
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

/* A context with a resource that is long to fill. */
static void set_up_slow(struct bench *bench)
{
	struct piece big = { BIG, BIG_SIZE };

	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 2, LOOPBACK), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &big, 1), OK);
	assert_int_equal(do_attach(bench, 1, 1), OK);
	assert_int_equal(do_attach(bench, 2, 1), OK);
}

static struct answer *send_slow(struct bench *bench, uint32_t ctx, struct fence fence)
{
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, BIG_SIZE);

	return send_submit(bench, ctx, fence, &c, 1, 0, 0);
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

static void test_reset_with_pending(void **state)
{
	struct bench *bench = *state;
	struct loopback_command fault =
		op_inject(LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_GET_DISPLAY_INFO, 0, 1, 3600000);
	struct answer *pending[5];
	unsigned int i;

	set_up_slow(bench);
	assert_int_equal(do_submit(bench, 1, &fault, 1, 0, 0), OK);
	pending[0] = send_fenced_info(bench, 2, (struct fence){ 9, -1 });
	pending[1] = send_fenced_info(bench, 2, (struct fence){ 10, -1 });
	pending[2] = send_slow(bench, 1, (struct fence){ 11, 4 });
	pending[3] = send_slow(bench, 2, (struct fence){ 12, -1 });
	wait_started(bench, BIG);
	pending[4] = send_destroy(bench, 1);
	for (i = 0; i < 5; i++)
		assert_int_equal(pending[i]->order, 0);
	gpu_device_reset(bench->dev);
	/* All refused, with their fences, in the order of the fences. */
	for (i = 0; i < 5; i++) {
		struct virtio_gpu_ctrl_hdr hdr = answer_hdr(pending[i]);

		assert_int_equal(pending[i]->len, sizeof(hdr));
		assert_int_equal(le32toh(hdr.type), ERR_UNSPEC);
		assert_int_equal(le32toh(hdr.flags) & VIRTIO_GPU_FLAG_FENCE, i < 4);
		assert_int_equal(le64toh(hdr.fence_id), i < 4 ? 9 + i : 0);
		assert_true(!i || pending[i - 1]->order < pending[i]->order);
	}
	assert_int_equal(answer_hdr(pending[2]).ring_idx, 4);
	/* As new: no features, no ids, no timelines that wait. */
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), ERR_UNSPEC);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	set_up_slow(bench);
	assert_true(send_fenced_info(bench, 2, (struct fence){ 1, -1 })->order);
	gpu_device_reset(bench->dev);
	gpu_device_reset(bench->dev);
}

static void test_free_with_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *pending[2];

	set_up_slow(bench);
	pending[0] = send_slow(bench, 1, (struct fence){ 11, 4 });
	wait_started(bench, BIG);
	pending[1] = send_destroy(bench, 1);
	/* teardown() frees the device; the leak checker looks on. */
	assert_int_equal(pending[0]->order, 0);
	assert_int_equal(pending[1]->order, 0);
}

static void test_limit_contexts(void **state)
{
	struct bench *bench = *state;
	uint32_t id;

	for (id = 1; id <= 1024; id++)
		assert_int_equal(do_ctx_create(bench, id * 7919, LOOPBACK), OK);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), ERR_MEMORY);
	assert_int_equal(do_ctx_destroy(bench, 7919), OK);
	assert_int_equal(do_ctx_create(bench, 1, LOOPBACK), OK);
	for (id = 2; id <= 1024; id++)
		assert_int_equal(do_ctx_destroy(bench, id * 7919), OK);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
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

static void test_limit_runs_with_blobs(void **state)
{
	struct gpu_config config = bench_config();
	struct piece p[6];
	struct bench *bench;
	unsigned int i;

	(void)state;
	config.limits.max_total_segments = 10;
	bench = bench_new(&config, 1 << 20);
	for (i = 0; i < 6; i++)
		p[i] = (struct piece){ RAM_BASE + 2 * i * PAGE, PAGE };
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 6), OK);
	assert_int_equal(do_userptr(bench, 2, 0, p, 6), ERR_LIMIT);
	assert_int_equal(do_userptr(bench, 3, 0, p, 4), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 1), ERR_LIMIT);
	assert_int_equal(do_unref(bench, 1), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 6), OK);
	bench_free(bench);
}

static void test_max_entries(void **state)
{
	struct bench *bench = *state;
	struct piece *p = calloc(4097, sizeof(*p));
	unsigned int i;

	assert_non_null(p);
	for (i = 0; i < 4097; i++)
		p[i] = (struct piece){ RAM_BASE + (4096 - i) * PAGE, PAGE };
	assert_int_equal(do_userptr(bench, 1, 0, p, 4096), OK);
	assert_int_equal(do_userptr(bench, 2, 0, p, 4097), ERR_PARAM);
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 4096), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, p, 4097), ERR_PARAM);
	free(p);
}

/* The device process of its own, which the fault ends. */
static void die_in_child(void)
{
	struct gpu_config config = bench_config();
	struct bench *bench = bench_new(&config, 1 << 20);
	struct loopback_command c = op_inject(LOOPBACK_FAULT_DIE, 0, 0, 0, 0);

	do_ctx_create(bench, 1, LOOPBACK);
	do_submit(bench, 1, &c, 1, 0, 0);
	do_ctx_create(bench, 2, LOOPBACK);
	do_destroy(bench, 1);
	_exit(9);
}

static void test_inject_die(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		die_in_child();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
}

static void test_print_stats(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	char *text = NULL;
	size_t len = 0;
	FILE *to;

	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	assert_int_equal(do_destroy(bench, 2), ERR_RESOURCE);
	/* Totals outlive a reset; what is held now does not. */
	gpu_device_reset(bench->dev);
	to = open_memstream(&text, &len);
	assert_non_null(to);
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	assert_non_null(strstr(text, "userptr resources created: 1\n"));
	assert_non_null(strstr(text, "userptr resources now: 0\n"));
	assert_non_null(strstr(text, "userptr segments created: 1\n"));
	assert_non_null(strstr(text, "userptr bytes mapped: 4096\n"));
	assert_non_null(strstr(text, "\ncommands: 2\n"));
	assert_non_null(strstr(text, "\nerrors: 1\n"));
	free(text);
}

static void expect_destroyed(const struct bench *bench, unsigned int nr)
{
	char *text = NULL, line[64];
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	assert_non_null(to);
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	snprintf(line, sizeof(line), "userptr resources destroyed: %u\n", nr);
	assert_non_null(strstr(text, line));
	free(text);
}

static void test_destroyed_are_those_that_were_answered(void **state)
{
	struct bench *bench = *state;
	struct answer *end;

	set_up_slow(bench);
	send_slow(bench, 1, (struct fence){ 11, 4 });
	wait_started(bench, BIG);
	end = send_destroy(bench, 1);
	assert_int_equal(end->order, 0);
	gpu_device_reset(bench->dev);
	assert_int_equal(answer_type(end), ERR_UNSPEC);
	expect_destroyed(bench, 0);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	set_up_slow(bench);
	assert_int_equal(do_destroy(bench, 1), OK);
	expect_destroyed(bench, 1);
}

static void test_blob_memory(void **state)
{
	struct bench *bench = *state;
	struct piece all = { RAM_BASE, (uint32_t)bench->ram_size };
	struct piece twice[2] = { all, { RAM_BASE, PAGE } };

	/* There is no more than all. */
	assert_int_equal(do_blob(bench, 1, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &all, 1), OK);
	assert_int_equal(do_blob(bench, 2, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, twice, 2), ERR_PARAM);
	skip_without_populate();
	assert_int_equal(ftruncate(bench->fd, (off_t)(bench->ram_size / 2)), 0);
	all.len = PAGE;
	assert_int_equal(do_blob(bench, 3, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &all, 1), ERR_MEMORY);
	assert_int_equal(do_unref(bench, 3), ERR_RESOURCE);
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

static uint64_t fuzz_state;

static uint32_t fuzz(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return (uint32_t)(fuzz_state >> 11) % below;
}

static size_t fuzz_submit(unsigned char *cmd)
{
	struct {
		struct virtio_gpu_cmd_submit cmd;
		struct loopback_submit head;
		struct loopback_command c[2];
	} submit = {
		.cmd = { .hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D, 1 + fuzz(3)),
			 .size = htole32(sizeof(submit) - sizeof(submit.cmd)) },
		.head = { .magic = htole32(LOOPBACK_MAGIC),
			  .nr_commands = htole32(2),
			  .status_res = htole32(fuzz(6)),
			  .status_offset = htole64(64) },
		.c = { op(1 + fuzz(5), 7, 1 + fuzz(5), fuzz(4096), 1 + fuzz(5), fuzz(4096),
			  fuzz(60 * PAGE)),
		       op(1 + fuzz(5), 7, 1 + fuzz(5), fuzz(4096), 1 + fuzz(5), fuzz(4096),
			  fuzz(4096)) },
	};

	memcpy(cmd, &submit, sizeof(submit));
	return sizeof(submit);
}

/* A valid command of some kind on few ids. */
static size_t fuzz_base(unsigned char *cmd)
{
	static const uint32_t types[] = {
		VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,	 VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
		VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE,	 VIRTIO_GPU_CMD_RESOURCE_UNREF,
		VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, VIRTIO_GPU_CMD_GET_CAPSET_INFO,
	};
	struct virtio_gpu_ctx_resource simple = {
		.hdr = header(types[fuzz(6)], 1 + fuzz(3)),
		.resource_id = htole32(1 + fuzz(5)),
	};
	struct virtio_gpu_mem_entry entry = {
		.addr = htole64(RAM_BASE + fuzz(64) * PAGE),
		.length = htole32(64 * PAGE),
	};
	struct virtio_gpu_resource_create_userptr create =
		create_head(1 + fuzz(5), fuzz(2), 64 * PAGE, 1, 1);
	struct virtio_gpu_resource_create_blob blob = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 0),
		.resource_id = htole32(1 + fuzz(5)),
		.blob_mem = htole32(1),
		.nr_entries = htole32(1),
		.size = htole64(64 * PAGE),
	};
	struct virtio_gpu_ctx_create ctx = {
		.hdr = header(fuzz(4) ? VIRTIO_GPU_CMD_CTX_CREATE : 0x201, 1 + fuzz(3)),
		.context_init = htole32(fuzz(5) ? LOOPBACK : 0),
	};

	switch (fuzz(6)) {
	case 0:
		memcpy(cmd, &create, sizeof(create));
		memcpy(cmd + sizeof(create), &entry, sizeof(entry));
		return sizeof(create) + sizeof(entry);
	case 1:
		memcpy(cmd, &blob, sizeof(blob));
		memcpy(cmd + sizeof(blob), &entry, sizeof(entry));
		return sizeof(blob) + sizeof(entry);
	case 2:
		memcpy(cmd, &ctx, sizeof(ctx));
		return le32toh(ctx.hdr.type) == 0x201 ? sizeof(ctx.hdr) : sizeof(ctx);
	case 3:
	case 4:
		return fuzz_submit(cmd);
	default:
		memcpy(cmd, &simple, sizeof(simple));
		return sizeof(simple);
	}
}

static void test_hostile(void **state)
{
	const char *given = getenv("FUZZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	struct gpu_config config = bench_config();
	unsigned int round, i, good = 0, answered = 0;
	union {
		struct virtio_gpu_ctrl_hdr hdr;
		unsigned char bytes[512];
	} cmd;

	(void)state;
	print_message("FUZZ_SEED=%llu\n", (unsigned long long)seed);
	fuzz_state = seed | 1;
	config.allow_inject = false; /* or it would find DIE */
	for (round = 0; round < 8; round++) {
		struct bench *bench = bench_new(&config, 4 << 20);

		for (i = 0; i < 4000; i++) {
			size_t len = fuzz_base(cmd.bytes);

			if (fuzz(2)) {
				cmd.hdr.flags = htole32(fuzz(4));
				cmd.hdr.fence_id = htole64(i);
				cmd.hdr.ring_idx = (uint8_t)fuzz(3);
			}
			while (!fuzz(4))
				cmd.bytes[fuzz((uint32_t)len)] ^= (unsigned char)(1 << fuzz(8));
			if (!fuzz(30))
				len = fuzz((uint32_t)len + 1);
			bench_send_on(bench, fuzz(40) ? 0 : 1, &cmd, len, fuzz(100));
			if (!fuzz(8))
				gpu_device_dispatch(bench->dev);
		}
		/* Everything gets its one answer, jobs and destroys included. */
		for (i = 0; i < bench->nr; i++) {
			bench_wait(bench, &bench->answers[i]);
			answered++;
			if (bench->answers[i].len >= 24 &&
			    answer_type(&bench->answers[i]) < ERR_UNSPEC)
				good++;
		}
		bench_free(bench);
	}
	assert_int_equal(answered, 8 * 4000);
	assert_true(good > 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_features),
		TEST(test_config_space),
		TEST(test_display_info),
		TEST(test_capset),
		TEST(test_userptr_info),
		TEST(test_contexts),
		TEST(test_attach),
		TEST(test_destroy_detaches),
		TEST(test_blobs),
		TEST(test_one_id_space),
		TEST(test_map_blob),
		TEST(test_cursor_queue),
		TEST(test_sizes),
		TEST(test_unknown_commands),
		TEST(test_features_gate_commands),
		TEST(test_answer_is_truncated),
		TEST(test_fence_is_copied),
		TEST(test_fence_order),
		TEST(test_global_fence_order),
		TEST(test_late_destroy_in_timeline),
		TEST(test_reset_with_pending),
		TEST(test_free_with_pending),
		TEST(test_limit_contexts),
		TEST(test_limit_pending),
		cmocka_unit_test(test_limit_runs_with_blobs),
		TEST(test_max_entries),
		cmocka_unit_test(test_inject_die),
		TEST(test_print_stats),
		TEST(test_destroyed_are_those_that_were_answered),
		TEST(test_blob_memory),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("gpu_device", tests, NULL, NULL);
}
