// SPDX-License-Identifier: MIT
/*
 * test_amdgpu_wiring: what the device does for amdgpu native contexts of its own
 *
 * Whether they are offered, and by whom, and what user memory becomes for them: a range
 * of addresses, which is real here, or a dma-buf.  Stand-ins for the renderers, the
 * dma-bufs and the release of these.
 */
#include "tests/renderer/wiring_test.h"

/* What a resource's view is: '-' none, 'd' a dma-buf, 's' a range of addresses. */
static char kind_of(struct bench *bench, uint32_t id)
{
	struct backing *backing = gpu_find_backing(bench->dev, id);

	assert_non_null(backing);
	if (!backing->view)
		return '-';
	return memory_view_stitch(backing->view) ? 's' : 'd';
}

/* Resource 5 with these flags: what its view is; it is gone again. */
static char view_of(struct bench *bench, uint32_t flags)
{
	char kind;

	assert_int_equal(do_userptr(bench, 5, flags, &page, 1), OK);
	kind = kind_of(bench, 5);
	assert_int_equal(do_destroy(bench, 5), OK);
	return kind;
}

static struct gpu_config amdgpu_config(void)
{
	struct gpu_config config = virgl_config();

	config.virgl = false;
	config.native_context = GPU_NATIVE_AUTO;
	config.render_node = "/dev/dri/renderD200";
	return config;
}

/* Which view a resource gets, by what there is and what was asked for. */
static void views_by_configuration(void **state)
{
	static const struct {
		bool virgl;
		bool amdgpu;
		bool udmabuf;
		enum gpu_amdgpu_userptr how;
		char writable;
		char readonly;
	} cases[] = {
		{ true, false, true, GPU_AMDGPU_AUTO, 'd', '-' },
		{ true, true, true, GPU_AMDGPU_AUTO, 'd', 's' },
		{ true, true, true, GPU_AMDGPU_DMABUF, 'd', 'd' },
		{ false, true, true, GPU_AMDGPU_AUTO, 's', 's' },
		{ false, true, false, GPU_AMDGPU_AUTO, 's', 's' },
		{ false, true, true, GPU_AMDGPU_USERPTR, 's', 's' },
		{ false, true, false, GPU_AMDGPU_USERPTR, 's', 's' },
		{ false, true, true, GPU_AMDGPU_DMABUF, 'd', 'd' },
		{ false, false, true, GPU_AMDGPU_AUTO, '-', '-' },
	};
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gpu_config config = amdgpu_config();
		struct bench *bench;

		setup(state);
		config.loopback = true;
		config.virgl = cases[i].virgl;
		config.amdgpu_userptr = cases[i].how;
		st.amdgpu_error = cases[i].amdgpu ? 0 : -ENODEV;
		st.open_error = cases[i].udmabuf ? 0 : -ENOENT;
		bench = bench_new(&config, 1 << 20);
		assert_true(gpu_device_features(bench->dev) & USERPTR_BIT);
		assert_int_equal(view_of(bench, 0), cases[i].writable);
		assert_int_equal(view_of(bench, VIRTIO_GPU_USERPTR_RDONLY), cases[i].readonly);
		/* What is not needed was not opened, or is closed. */
		assert_int_equal(st.opened, cases[i].udmabuf &&
						    cases[i].how != GPU_AMDGPU_USERPTR &&
						    (cases[i].virgl || cases[i].amdgpu));
		end(bench);
	}
}

/* A read-only resource is for those who keep the promise, whatever its view is. */
static void readonly_is_not_for_virgl(void **state)
{
	static const enum gpu_amdgpu_userptr how[] = { GPU_AMDGPU_AUTO, GPU_AMDGPU_DMABUF };
	struct virtio_gpu_resp_userptr_info info;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct gpu_config config = amdgpu_config();
		struct bench *bench;

		setup(state);
		config.virgl = true;
		config.amdgpu_userptr = how[i];
		bench = bench_new(&config, 1 << 20);
		assert_int_equal(get_info(bench, &info), INFO_OK);
		assert_int_equal(le32toh(info.flags), VIRTIO_GPU_USERPTR_INFO_RDONLY);
		assert_int_equal(le64toh(info.rdonly_capset_mask), 1ull << CAPSET_NATIVE);
		assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
		assert_int_equal(do_ctx_create(bench, 2, CAPSET_NATIVE), OK);
		assert_int_equal(do_userptr(bench, 5, VIRTIO_GPU_USERPTR_RDONLY, &page, 1), OK);
		assert_int_equal(do_attach(bench, 1, 5), ERR_UNSUPPORTED);
		assert_int_equal(do_attach(bench, 2, 5), OK);
		assert_int_equal(do_destroy(bench, 5), OK);
		end(bench);
	}
}

/* Two pieces and the page behind them; one resource with three mappings is there. */
static void too_few_mappings(void **state)
{
	struct piece three[] = { { RAM_BASE, PAGE },
				 { RAM_BASE + 2 * PAGE, PAGE },
				 { RAM_BASE + 4 * PAGE, PAGE } };
	struct gpu_config config = amdgpu_config();
	struct virtio_gpu_resp_userptr_info info;
	struct bench *bench;
	char *text = NULL;
	size_t len;
	FILE *to;

	(void)state;
	config.limits.memory.mappings = 6;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(le32toh(info.max_segments), 65536);
	assert_int_equal(do_userptr(bench, 6, 0, three, 2), OK);
	assert_int_equal(kind_of(bench, 6), 's');
	assert_int_equal(do_userptr(bench, 5, 0, three, 3), OK);
	assert_int_equal(kind_of(bench, 5), 'd');
	to = open_memstream(&text, &len);
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	assert_non_null(strstr(text, "stitch views now: 1\n"));
	assert_non_null(strstr(text, "stitch mappings now: 3\n"));
	assert_non_null(strstr(text, "stitch views created: 1\n"));
	assert_non_null(strstr(text, "stitch runs created: 2\n"));
	assert_non_null(strstr(text, "limit mappings: used 3 of 6"));
	free(text);
	/* RAM that no dma-buf can be made of: there is no other way. */
	st.usable = false;
	assert_int_equal(do_userptr(bench, 7, 0, three, 3), ERR_LIMIT);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(do_destroy(bench, 7), OK);
	end(bench);
	/* With addresses only the guest is told what a resource can be made of. */
	setup(state);
	config.amdgpu_userptr = GPU_AMDGPU_USERPTR;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(le32toh(info.max_segments), 5);
	assert_int_equal(do_userptr(bench, 6, 0, three, 2), OK);
	assert_int_equal(do_userptr(bench, 5, 0, three, 3), ERR_LIMIT);
	assert_int_equal(do_destroy(bench, 5), OK);
	end(bench);
}

/* The piece that is one too many may come with the last chunk. */
static void another_view_on_the_way(void **state)
{
	struct piece second = { RAM_BASE + 2 * PAGE, PAGE };
	struct virtio_gpu_resource_create_userptr head = create_head(5, 0, 2 * PAGE, 2, 1);
	struct virtio_gpu_resource_add_userptr_pages more = add_head(5, PAGE, 1);
	struct gpu_config config = amdgpu_config();
	struct bench *bench;
	size_t len;
	void *cmd;

	(void)state;
	config.limits.memory.mappings = 2;
	bench = bench_new(&config, 1 << 20);
	cmd = with_entries(&head, sizeof(head), &page, 1, &len);
	assert_int_equal(bench_do(bench, cmd, len), OK);
	free(cmd);
	assert_int_equal(st.extended, 0);
	cmd = with_entries(&more, sizeof(more), &second, 1, &len);
	assert_int_equal(bench_do(bench, cmd, len), OK);
	free(cmd);
	assert_int_equal(st.extended, 1);
	assert_int_equal(kind_of(bench, 5), 'd');
	/* And what it had charged for the first is given back. */
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	assert_int_equal(kind_of(bench, 6), 's');
	/* Half of one is dropped with its device. */
	assert_int_equal(do_destroy(bench, 6), OK);
	head = create_head(7, 0, 2 * PAGE, 2, 1);
	cmd = with_entries(&head, sizeof(head), &page, 1, &len);
	assert_int_equal(bench_do(bench, cmd, len), OK);
	free(cmd);
	end(bench);
}

static void no_udmabuf(void **state)
{
	struct gpu_config config = amdgpu_config();
	struct capture log;
	struct bench *bench;

	(void)state;
	st.open_error = -ENOENT;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "without /dev/udmabuf userptr resources are mapped as"), 1);
	end(bench);
	/* Where there is no other way userptr resources are not offered. */
	config.amdgpu_userptr = GPU_AMDGPU_DMABUF;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "userptr resources are not offered: --amdgpu-userptr"), 1);
	assert_false(gpu_device_features(bench->dev) & USERPTR_BIT);
	end(bench);
	config.amdgpu_userptr = GPU_AMDGPU_AUTO;
	config.virgl = true;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "userptr resources are not offered: libvirgl"), 1);
	assert_false(gpu_device_features(bench->dev) & USERPTR_BIT);
	end(bench);
}

/* Whose contexts are offered: '6' ours, 'h' the library was told to have none. */
static void who_offers_them(void **state)
{
	static const struct {
		enum gpu_native_context native;
		int error;
		bool ours;
		bool hidden;
	} cases[] = {
		{ GPU_NATIVE_AUTO, 0, true, true },   { GPU_NATIVE_AUTO, -ENODEV, false, false },
		{ GPU_NATIVE_AMDGPU, 0, true, true }, { GPU_NATIVE_VIRGL, 0, false, false },
		{ GPU_NATIVE_OFF, 0, false, true },
	};
	struct renderer_capset capset;
	struct capture log;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gpu_config config = amdgpu_config();
		struct bench *bench;

		setup(state);
		config.virgl = true;
		config.render_node = NULL;
		config.native_context = cases[i].native;
		config.native = (struct native_limits){ 1, 2, 3, 4 };
		st.amdgpu_error = cases[i].error;
		capture_begin();
		bench = bench_new(&config, 1 << 20);
		capture_end(&log);
		assert_int_equal(gpu_find_capset(bench->dev, 0, CAPSET_NATIVE, &capset) >= 0,
				 cases[i].ours);
		assert_int_equal(st.config.no_drm, cases[i].hidden);
		assert_int_equal(captured(&log, "up to 1.3.0 has bugs"),
				 cases[i].native == GPU_NATIVE_VIRGL);
		if (cases[i].ours) {
			assert_int_equal(st.amdgpu_config.native.bytes, 1);
			assert_int_equal(st.amdgpu_config.native.jobs, 4);
			assert_null(st.amdgpu_config.render_node);
		}
		end(bench);
	}
}

static void must_be_had(void **state)
{
	static const struct {
		enum gpu_native_context native;
		const char *node;
		bool loopback;
		bool starts;
	} cases[] = {
		{ GPU_NATIVE_AMDGPU, NULL, true, false },
		{ GPU_NATIVE_AUTO, "/dev/dri/renderD200", false, false },
		{ GPU_NATIVE_AUTO, "/dev/dri/renderD200", true, true },
		{ GPU_NATIVE_OFF, NULL, true, true },
		/* Nobody asked for a GPU. */
		{ GPU_NATIVE_AUTO, NULL, true, true },
	};
	struct gpu_transport transport = { .respond = bench_respond };
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gpu_config config = amdgpu_config();
		struct gpu_device *dev;
		struct bench memory;
		struct capture log;

		setup(state);
		st.amdgpu_error = -EACCES;
		config.native_context = cases[i].native;
		config.render_node = cases[i].node;
		config.loopback = cases[i].loopback;
		memory.gm = bench_memory(&memory, 1 << 20);
		capture_begin();
		dev = gpu_device_new(&config, &transport, memory.gm);
		capture_end(&log);
		assert_int_equal(dev != NULL, cases[i].starts);
		assert_int_equal(captured(&log, "amdgpu native contexts cannot be had"),
				 !cases[i].starts);
		assert_int_equal(captured(&log, "not offered, /dev/dri/renderD200: Permission"),
				 cases[i].starts && cases[i].node);
		gpu_device_free(dev);
		assert_int_equal(st.opened, 0);
		assert_int_equal(st.released, 0);
		bench_memory_free(&memory);
	}
}

/* A reset, with one that is usable and one that is being made. */
static void reset_takes_them(void **state)
{
	struct gpu_config config = amdgpu_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	(void)state;
	assert_int_equal(do_ctx_create(bench, 1, CAPSET_NATIVE), OK);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_ptr_equal(memory_view_stitch(st.attached->view), st.attached->view);
	memset(st.log, 0, sizeof(st.log));
	gpu_device_reset(bench->dev);
	assert_string_equal(st.log, "rn");
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), OK);
	memset(st.log, 0, sizeof(st.log));
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "qb");
	end(bench);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(views_by_configuration),
		TEST(readonly_is_not_for_virgl),
		TEST(too_few_mappings),
		TEST(another_view_on_the_way),
		TEST(no_udmabuf),
		TEST(who_offers_them),
		TEST(must_be_had),
		TEST(reset_takes_them),
	};

	return cmocka_run_group_tests_name("amdgpu_wiring", tests, NULL, NULL);
}
