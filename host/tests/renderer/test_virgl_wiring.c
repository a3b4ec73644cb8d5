// SPDX-License-Identifier: MIT
/*
 * test_virgl_wiring: what the device does for libvirglrenderer's contexts
 *
 * That user memory reaches them as dma-bufs, and that it is given back in order.
 * Stand-ins for the renderer, the dma-bufs and the release of these, so it takes
 * neither the library nor /dev/udmabuf.
 */
#include "tests/renderer/wiring_test.h"

static void no_udmabuf_no_userptr(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct capture log;
	struct bench *bench;

	(void)state;
	st.open_error = -ENOENT;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "userptr resources are not offered"), 1);
	assert_int_equal(captured(&log, "/dev/udmabuf"), 1);
	assert_false(gpu_device_features(bench->dev) & USERPTR_BIT);
	assert_int_equal(get_info(bench, &info), ERR_UNSPEC);
	assert_null(st.config.udmabuf);
	/* The rest is there. */
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	end(bench);
	/* Nobody asked for it: nothing to say. */
	config.userptr = false;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "userptr"), 0);
	end(bench);
}

/* The answer to a CREATE is given when its dma-buf is there, and not before. */
static void views_are_made_later(void **state)
{
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);
	struct virtio_gpu_resource_create_userptr head = create_head(5, 0, PAGE, 1, 1);
	struct answer *answers[3];
	size_t len, i;
	void *cmd = with_entries(&head, sizeof(head), &page, 1, &len);

	(void)state;
	st.later = true;
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	answers[0] = bench_send(bench, cmd, len);
	assert_int_equal(answers[0]->order, 0);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
	st.views++;
	st.made(st.made_cookie, &st.view, OK);
	assert_int_equal(answer_type(answers[0]), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_int_equal(st.views, 0);
	/* Or the error that it has come to. */
	answers[1] = bench_send(bench, cmd, len);
	st.made(st.made_cookie, NULL, ERR_LIMIT);
	assert_int_equal(answer_type(answers[1]), ERR_LIMIT);
	assert_int_equal(do_destroy(bench, 5), OK);
	/* A reset gives it up. */
	memset(st.log, 0, sizeof(st.log));
	answers[2] = bench_send(bench, cmd, len);
	gpu_device_reset(bench->dev);
	assert_non_null(strchr(st.log, 'x'));
	for (i = 0; i < 3; i++)
		assert_true(answers[i]->order);
	assert_int_equal(answer_type(answers[2]), ERR_UNSPEC);
	free(cmd);
	end(bench);
}

static void what_is_promised(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);
	struct piece two[] = { { RAM_BASE, PAGE }, { RAM_BASE + PAGE, PAGE } };

	(void)state;
	assert_true(gpu_device_features(bench->dev) & USERPTR_BIT);
	assert_ptr_equal(st.config.udmabuf, &st);
	assert_ptr_equal(st.config.gm, bench->gm);
	assert_true(st.config.no_drm);
	assert_int_equal(st.config.grace_ms, 1234);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	/* The kernel's limits can be changed: a resource is refused when it is made. */
	assert_int_equal(le64toh(info.max_size), 1 << 20);
	assert_int_equal(le32toh(info.max_segments), 65536);
	/* Nobody here could keep that promise. */
	assert_int_equal(info.flags, 0);
	assert_int_equal(do_userptr(bench, 5, VIRTIO_GPU_USERPTR_RDONLY, &page, 1),
			 ERR_UNSUPPORTED);
	end(bench);
	/* Our own limit is kept. */
	config.limits.max_userptr_bytes = PAGE;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(le64toh(info.max_size), PAGE);
	assert_int_equal(do_userptr(bench, 5, 0, two, 2), ERR_LIMIT);
	end(bench);
}

static void ram_that_cannot_be_shared(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	(void)state;
	st.usable = false;
	assert_int_equal(get_info(bench, &info), ERR_UNSUPPORTED);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_UNSUPPORTED);
	assert_int_equal(do_destroy(bench, 5), OK);
	st.usable = true;
	st.view_answer = ERR_LIMIT;
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_LIMIT);
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "qq");
	end(bench);
}

static uint32_t do_chunk(struct bench *bench, const void *head, size_t head_len)
{
	size_t len;
	void *cmd = with_entries(head, head_len, &page, 1, &len);
	uint32_t type = bench_do(bench, cmd, len);

	free(cmd);
	return type;
}

/* What the dma-buf needs is done with each chunk, and refused with it. */
static void chunks_are_worked_on_as_they_come(void **state)
{
	struct virtio_gpu_resource_create_userptr first = create_head(5, 0, 3 * PAGE, 0, 1);
	struct virtio_gpu_resource_add_userptr_pages second = add_head(5, PAGE, 1);
	struct virtio_gpu_resource_add_userptr_pages third = add_head(5, 2 * PAGE, 1);
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	(void)state;
	assert_int_equal(do_chunk(bench, &first, sizeof(first)), OK);
	assert_int_equal(do_chunk(bench, &second, sizeof(second)), OK);
	assert_int_equal(st.extended, 2);
	assert_int_equal(st.drafts, 1);
	assert_int_equal(st.views, 0);
	assert_int_equal(do_chunk(bench, &third, sizeof(third)), OK);
	assert_int_equal(st.extended, 3);
	assert_int_equal(st.drafts, 0);
	assert_int_equal(st.views, 1);
	assert_int_equal(do_destroy(bench, 5), OK);
	/* The refusal comes with the chunk that cannot be, and leaves nothing. */
	assert_int_equal(do_chunk(bench, &first, sizeof(first)), OK);
	st.draft_answer = ERR_LIMIT;
	assert_int_equal(do_chunk(bench, &second, sizeof(second)), ERR_LIMIT);
	assert_int_equal(st.drafts, 0);
	assert_int_equal(do_destroy(bench, 5), OK);
	st.draft_answer = OK;
	/* Left for the end: half of one. */
	assert_int_equal(do_chunk(bench, &first, sizeof(first)), OK);
	assert_int_equal(st.drafts, 1);
	end(bench);
}

static void attached_as_a_dma_buf(void **state)
{
	struct bench *bench = begin();
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	(void)state;
	assert_ptr_equal(st.attached->view, &st.view);
	assert_int_equal(do_blob(bench, 6, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(do_attach(bench, 1, 6), OK);
	assert_null(st.attached->view);
	assert_int_equal(do_attach(bench, 1, 5), OK); /* once more is no more */
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	assert_non_null(strstr(text, "userptr imports: 1\n"));
	assert_non_null(strstr(text, "udmabuf views now: 1\n"));
	assert_non_null(strstr(text, "udmabuf items now: 11\n"));
	assert_non_null(strstr(text, "udmabuf views created: 12\n"));
	assert_non_null(strstr(text, "udmabuf items created: 13\n"));
	free(text);
	end(bench);
}

static void given_back_at_once(void **state)
{
	struct bench *bench = begin();

	(void)state;
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "adqbf");
	assert_int_equal(st.views, 0);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), OK);
	end(bench);
}

static void given_back_later(void **state)
{
	struct bench *bench = begin();
	struct answer *answer;
	struct capture log;
	uint64_t one = 1;

	(void)state;
	st.waits = true;
	backing_hold(st.attached);
	answer = send_destroy(bench, 5);
	/* First those who hold it, then who has the dma-buf. */
	assert_string_equal(st.log, "adq");
	backing_release(st.attached);
	assert_string_equal(st.log, "adqb");
	assert_int_equal(answer->order, 0);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_RESOURCE);
	/* Too long. */
	capture_begin();
	st.release_host.evict(st.release_host.opaque, st.attached, false);
	st.release_host.evict(st.release_host.opaque, st.attached, true);
	capture_end(&log);
	assert_int_equal(st.forced, 1);
	assert_int_equal(captured(&log, "context 1 is lost"), 1);
	assert_int_equal(captured(&log, "resource 5"), 1);
	assert_int_equal(do_attach(bench, 1, 5), ERR_CONTEXT);
	assert_int_equal(answer->order, 0);
	st.gone_due = true;
	assert_int_equal(write(st.release_fd, &one, sizeof(one)), sizeof(one));
	bench_wait(bench, answer);
	assert_int_equal(answer_type(answer), OK);
	assert_string_equal(st.log, "adqbeef");
	st.waits = false;
	end(bench);
}

static void reset_takes_it_at_once(void **state)
{
	struct bench *bench = begin();
	struct answer *answer;

	(void)state;
	st.waits = true;
	answer = send_destroy(bench, 5);
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	memset(st.log, 0, sizeof(st.log));
	gpu_device_reset(bench->dev);
	/* The renderer first; then both, the one that waits and the other. */
	assert_string_equal(st.log, "rnn");
	assert_int_equal(st.views, 0);
	assert_int_equal(answer_type(answer), ERR_UNSPEC);
	end(bench);
}

static void no_renderer_no_device(void **state)
{
	struct gpu_transport transport = { .respond = bench_respond };
	struct gpu_config config = virgl_config();
	struct bench memory;
	struct capture log;
	int err;

	(void)state;
	st.create_error = -ENODEV;
	memory.gm = bench_memory(&memory, 1 << 20);
	capture_begin();
	assert_null(gpu_device_new(&config, &transport, memory.gm));
	err = errno;
	capture_end(&log);
	assert_int_equal(err, ENODEV);
	assert_int_equal(captured(&log, "libvirglrenderer"), 1);
	assert_int_equal(st.opened, 0);
	assert_int_equal(st.released, 0);
	bench_memory_free(&memory);
}

static void beside_the_loopback_context(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct bench *bench;

	(void)state;
	config.loopback = true;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_ctx_create(bench, 2, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	/* Read-only for the one that keeps to it, and without a dma-buf, which would not. */
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(le32toh(info.flags), VIRTIO_GPU_USERPTR_INFO_RDONLY);
	assert_int_equal(le64toh(info.rdonly_capset_mask), 1ull << VIRTIO_GPU_CAPSET_LOOPBACK);
	assert_int_equal(do_userptr(bench, 5, VIRTIO_GPU_USERPTR_RDONLY, &page, 1), OK);
	assert_int_equal(st.views, 0);
	assert_int_equal(do_attach(bench, 1, 5), ERR_UNSUPPORTED);
	assert_int_equal(do_attach(bench, 2, 5), OK);
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "q");
	end(bench);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_udmabuf_no_userptr),	   TEST(views_are_made_later),
		TEST(no_udmabuf_no_userptr),	   TEST(what_is_promised),
		TEST(ram_that_cannot_be_shared),   TEST(attached_as_a_dma_buf),
		TEST(given_back_at_once),	   TEST(given_back_later),
		TEST(reset_takes_it_at_once),	   TEST(no_renderer_no_device),
		TEST(beside_the_loopback_context), TEST(chunks_are_worked_on_as_they_come),
	};

	return cmocka_run_group_tests_name("virgl_wiring", tests, NULL, NULL);
}
