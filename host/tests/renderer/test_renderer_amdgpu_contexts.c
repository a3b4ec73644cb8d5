// SPDX-License-Identifier: MIT
/*
 * test_renderer_amdgpu_contexts: amdgpu native contexts: the start, what a context
 * knows of the GPU, and its life
 */
#include "tests/renderer/amdgpu_client.h"

#ifdef HAVE_AMDGPU

/* struct virgl_renderer_capset_drm, as a guest's winsys reads it. */
struct capset {
	uint32_t wire_format_version;
	uint32_t version_major;
	uint32_t version_minor;
	uint32_t version_patchlevel;
	uint32_t context_type;
	uint32_t pad;
	uint32_t address32_hi;
	uint32_t pad2;
	struct amdgpu_buffer_size_alignments alignments;
	struct amdgpu_gpu_info gpu_info;
	char marketing_name[128];
};

/* It does not start, and says with which of these words why. */
static void expect_no_start(struct bench *bench, const char *node, const char *says)
{
	struct renderer_config config = bench_config(bench);
	struct capture said;
	int ret;

	config.render_node = node;
	capture_begin();
	ret = ops->create(&config, &bench->host, &bench->renderer);
	capture_end(&said);
	if (ret >= 0 || !captured(&said, node) || !captured(&said, says))
		fail_msg("%s: %d, '%s' is not said: %s", node, ret, says, said.text);
	bench->renderer = NULL;
}

static void test_wrong_nodes(void **state)
{
	struct bench *bench = need_amdgpu(state);
	char path[64];

	expect_no_start(bench, "/dev/dri/renderD255", strerror(ENOENT));
	expect_no_start(bench, "/dev/null", "amdgpu");
	expect_no_start(bench, "/", "/");
	if (find_node("vgem", path, sizeof(path)))
		expect_no_start(bench, path, "amdgpu");
}

static void test_named_node(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct renderer_config config = bench_config(bench);
	struct client c;
	char path[64];

	assert_true(find_node("amdgpu", path, sizeof(path)));
	config.render_node = path;
	bench_start(bench, &config);
	client_start(bench, &c);
	expect_works(&c);
	client_close(&c);
}

static void test_capset(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct drm_amdgpu_info_device info;
	struct renderer_capset offer, more;
	struct capset *capset;
	struct client c;

	assert_true(ops->capset(bench->renderer, 0, &offer));
	assert_false(ops->capset(bench->renderer, 1, &more));
	assert_int_equal(offer.id, AMDVGPU_CAPSET_DRM);
	assert_true(offer.rdonly);
	assert_true(offer.size >= sizeof(*capset));
	capset = malloc(offer.size);
	assert_non_null(capset);
	memset(capset, 0xff, offer.size);
	ops->capset_data(bench->renderer, offer.id, offer.version, capset);
	assert_int_equal(capset->context_type, AMDVGPU_CONTEXT_TYPE);
	assert_int_equal(capset->version_major, 3);
	assert_int_equal(capset->pad, 0);
	assert_int_equal(capset->pad2, 0);
	assert_true(capset->alignments.size_local >= PAGE);
	assert_true(capset->alignments.size_remote >= PAGE);
	assert_non_null(memchr(capset->marketing_name, 0, sizeof(capset->marketing_name)));
	client_open(bench, &c);
	assert_int_equal(query(&c, AMDGPU_INFO_DEV_INFO, 0, &info, sizeof(info)), 0);
	assert_int_equal(capset->gpu_info.asic_id, info.device_id);
	assert_int_equal(capset->gpu_info.family_id, info.family);
	assert_int_equal(capset->gpu_info.chip_external_rev, info.external_rev);
	assert_int_equal(capset->gpu_info.vram_bit_width, info.vram_bit_width);
	client_close(&c);
	free(capset);
}

static void test_contexts_come_and_go(void **state)
{
	struct bench *bench = need_amdgpu(state);
	unsigned int fds = open_fds(), i;
	struct client c;

	for (i = 0; i < 50; i++) {
		client_start(bench, &c);
		client_close(&c);
	}
	WAIT_FOR(bench, open_fds() == fds);
	/* One that never had anything. */
	ops->context_destroy(bench->renderer, new_context(bench));
	WAIT_FOR(bench, open_fds() == fds);
	assert_int_equal(bench->nr_lost, 0);
}

/* The figures are those of the GPU, and follow what is allocated. */
static void test_response_memory(void **state)
{
	struct bench *bench = need_model(state);
	struct drm_amdgpu_memory_info memory;
	struct client c, other;
	struct buffer vram, gtt;
	uint64_t used;

	client_open(bench, &c);
	client_open(bench, &other);
	assert_int_equal(query(&c, AMDGPU_INFO_MEMORY, 0, &memory, sizeof(memory)), 0);
	assert_int_equal(shmem(&c)->pad, 0);
	assert_int_equal(shmem(&c)->async_error, 0);
	assert_int_equal(shmem(&c)->vram.size, memory.vram.total_heap_size);
	assert_int_equal(shmem(&c)->gtt.size, memory.gtt.total_heap_size);
	assert_int_equal(shmem(&c)->vis_vram.size, memory.cpu_accessible_vram.total_heap_size);
	assert_true(shmem(&c)->vram.max_allocation > 0);
	assert_true(shmem(&c)->gtt.max_allocation > 0);
	used = shmem(&c)->vram.usage;
	new_buffer(&c, &vram, 16 * PAGE, VRAM, 0);
	new_buffer(&c, &gtt, 32 * PAGE, GTT, 0);
	assert_int_equal(query(&c, AMDGPU_INFO_MEMORY, 0, &memory, sizeof(memory)), 0);
	assert_int_equal(memory.vram.heap_usage, (uint64_t)bench->vram + 16 * PAGE);
	assert_true(shmem(&c)->vram.usage >= used + 16 * PAGE);
	assert_true(shmem(&c)->gtt.usage >= 32 * PAGE);
	drop_buffer(&c, &vram);
	drop_buffer(&c, &gtt);
	client_close(&other);
	client_close(&c);
}

static void test_second_response_memory(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct buffer first;
	struct client c;

	client_start(bench, &c);
	first = c.shm;
	assert_int_not_equal(try_shmem(&c, CLIENT_SHMEM), OK);
	c.shm = first;
	expect_works(&c);
	client_close(&c);
	/* Too small for its own front, not in pages, too large, and then well. */
	c = (struct client){ .bench = bench, .base = new_context(bench) };
	assert_int_not_equal(try_shmem(&c, 8), OK);
	assert_int_not_equal(try_shmem(&c, 1ull << 40), OK);
	assert_int_not_equal(try_shmem(&c, 0ull - PAGE), OK);
	assert_int_equal(try_shmem(&c, CLIENT_SHMEM), OK);
	destroy_blob(bench, c.shm.id);
	client_kill(&c);
}

/* The memory is gone, and then comes a command: it has no place for an answer. */
static void test_without_response_memory(void **state)
{
	struct amdvgpu_query_info req = { .return_size = 4, .query = AMDGPU_INFO_ACCEL_WORKING };
	struct bench *bench = need_amdgpu(state);
	struct client c = { .bench = bench, .base = new_context(bench) };

	req.req = (struct amdvgpu_req){ AMDVGPU_QUERY_INFO, sizeof(req), 1, 0 };
	assert_int_not_equal(run_stream(&c, &req, sizeof(req)), OK);
	client_kill(&c);
	client_open(bench, &c);
	ops->blob_detach(c.base, c.shm.id);
	destroy_blob(bench, c.shm.id);
	run_stream(&c, &req, sizeof(req));
	munmap(c.shm.cpu, c.shm.size);
	client_kill(&c);
}

static void test_query_info(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct drm_amdgpu_info_device info;
	struct drm_amdgpu_info_hw_ip ip;
	uint32_t part[2], working = 0;
	struct client c;

	client_open(bench, &c);
	assert_int_equal(query(&c, AMDGPU_INFO_DEV_INFO, 0, &info, sizeof(info)), 0);
	assert_int_not_equal(info.device_id, 0);
	assert_true(info.virtual_address_max > info.virtual_address_offset);
	/* A caller that knows only the front of it. */
	assert_int_equal(query(&c, AMDGPU_INFO_DEV_INFO, 0, part, sizeof(part)), 0);
	assert_memory_equal(part, &info, sizeof(part));
	assert_int_equal(query(&c, AMDGPU_INFO_HW_IP_INFO, AMDGPU_HW_IP_DMA, &ip, sizeof(ip)), 0);
	assert_int_not_equal(ip.available_rings, 0);
	assert_int_equal(query(&c, AMDGPU_INFO_ACCEL_WORKING, 0, &working, 4), 0);
	assert_int_equal(working, 1);
	assert_int_equal(query(&c, 0x7777, 0, &working, 4), -EINVAL);
	assert_int_equal(query(&c, AMDGPU_INFO_HW_IP_INFO, 99, &ip, sizeof(ip)), -EINVAL);
	client_close(&c);
}

/* Never more than there is room for, and nothing behind it. */
static void test_query_sizes(void **state)
{
	struct bench *bench = need_amdgpu(state);
	uint32_t sizes[] = { 0, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };
	struct amdvgpu_query_info req;
	struct amdvgpu_rsp *rsp;
	struct client c;
	unsigned int i;
	uint64_t behind;

	client_open(bench, &c);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		req = (struct amdvgpu_query_info){ .return_size = sizes[i],
						   .query = AMDGPU_INFO_DEV_INFO };
		prepare(&c, &req, AMDVGPU_QUERY_INFO, sizeof(req), 16);
		rsp = answer_at(&c, req.req.rsp_off);
		memset(rsp + 2, 0x77, 64);
		run_stream(&c, &req, sizeof(req));
		/* An error of the command, or its answer was cut off. */
		behind = *(uint64_t *)(rsp + 2);
		assert_int_equal(behind, 0x7777777777777777ull);
		if (!sizes[i])
			assert_int_equal(ret_of(rsp), -EINVAL);
	}
	client_close(&c);
}

static void test_ctx(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct amdvgpu_create_ctx req = { .priority = 12345 };
	struct amdvgpu_reserve_vmid vmid = { .flags = 0 };
	struct amdvgpu_create_ctx_rsp *rsp;
	uint32_t ids[3], i;
	struct client c;

	client_start(bench, &c);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = new_ctx(&c);
	assert_int_not_equal(ids[0], ids[1]);
	assert_int_equal(free_ctx(&c, ids[1]), 0);
	assert_int_equal(free_ctx(&c, ids[1]), -ENOENT);
	assert_int_equal(free_ctx(&c, 0), -ENOENT);
	/* The kernel takes a priority that there is not for the usual one. */
	rsp = call(&c, &req, AMDVGPU_CREATE_CTX, sizeof(req), sizeof(*rsp));
	assert_int_equal(ret_of(rsp), 0);
	assert_int_equal(call_ret(&c, &vmid, AMDVGPU_RESERVE_VMID, sizeof(vmid)), 0);
	vmid.flags = AMDVGPU_VMID_UNRESERVE;
	assert_int_equal(call_ret(&c, &vmid, AMDVGPU_RESERVE_VMID, sizeof(vmid)), 0);
	/* The rest goes with the context. */
	expect_works(&c);
	client_close(&c);
}

static void test_pstate(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct amdvgpu_set_pstate req = { .op = AMDGPU_CTX_OP_GET_STABLE_PSTATE };
	struct amdvgpu_set_pstate_rsp *rsp;
	struct client c;

	client_start(bench, &c);
	req.ctx_id = c.ctx;
	rsp = call(&c, &req, AMDVGPU_SET_PSTATE, sizeof(req), sizeof(*rsp));
	assert_int_equal(ret_of(rsp), 0);
	assert_int_equal(rsp->out_flags, AMDGPU_CTX_STABLE_PSTATE_NONE);
	req.op = AMDGPU_CTX_OP_FREE_CTX;
	rsp = call(&c, &req, AMDVGPU_SET_PSTATE, sizeof(req), sizeof(*rsp));
	assert_int_equal(ret_of(rsp), -EINVAL);
	expect_works(&c);
	client_close(&c);
}

/* Several commands in one stream are executed in their order. */
static void test_one_stream(void **state)
{
	struct bench *bench = need_amdgpu(state);
	struct amdvgpu_query_info reqs[4] = { 0 };
	const uint32_t *value;
	struct client c;
	unsigned int i;

	client_open(bench, &c);
	for (i = 0; i < ARRAY_SIZE(reqs); i++) {
		reqs[i].query = AMDGPU_INFO_HW_IP_COUNT;
		reqs[i].argument[0] = i;
		reqs[i].return_size = 4;
		prepare(&c, &reqs[i], AMDVGPU_QUERY_INFO, sizeof(reqs[i]),
			sizeof(struct amdvgpu_rsp) + 4);
	}
	assert_int_equal(run_stream(&c, reqs, sizeof(reqs)), OK);
	assert_int_equal(shmem(&c)->seqno, c.seqno);
	for (i = 0; i < ARRAY_SIZE(reqs); i++) {
		value = answer_at(&c, reqs[i].req.rsp_off);
		assert_int_equal(value[1], 0);
		assert_int_equal(value[2], i < NR_IP_TYPES);
	}
	/* Nothing to do is no error. */
	assert_int_equal(run_stream(&c, NULL, 0), OK);
	client_close(&c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wrong_nodes, setup_without, teardown),
		cmocka_unit_test_setup_teardown(test_named_node, setup_without, teardown),
		TEST(test_capset),
		TEST(test_contexts_come_and_go),
		TEST(test_response_memory),
		TEST(test_second_response_memory),
		TEST(test_without_response_memory),
		TEST(test_query_info),
		TEST(test_query_sizes),
		TEST(test_ctx),
		TEST(test_pstate),
		TEST(test_one_stream),
	};

	log_set_verbose(getenv("VERBOSE"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* !HAVE_AMDGPU */

int main(void)
{
	return amdgpu_not_built();
}

#endif
