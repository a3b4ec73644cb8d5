// SPDX-License-Identifier: MIT
/*
 * test_virgl_memory: what contexts of the real libvirglrenderer have for memory
 */
#include "tests/renderer/virgl_test.h"

#ifdef HAVE_VIRGLRENDERER

#include "tests/renderer/venus_commands.h"

static void test_blob(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(5);
	struct renderer_mapping mapping, again;
	struct renderer_context *context;
	unsigned char *bytes, byte;
	pid_t pid;

	context = new_worker(bench, &pid);
	assert_int_equal(make_blob(bench, context, &blob), 0);
	assert_int_equal(ops->blob_attach(context, 5), 0);
	assert_true(maps_have(pid, "vkr-shmem"));
	assert_int_equal(ops->blob_export(bench->renderer, 5, &mapping), 0);
	assert_int_equal(mapping.offset, 0);
	assert_int_equal(mapping.cache, VIRTIO_GPU_MAP_CACHE_CACHED);
	bytes = mmap(NULL, blob.size, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd, 0);
	assert_ptr_not_equal(bytes, MAP_FAILED);
	bytes[blob.size - 1] = 42;
	assert_int_equal(ops->blob_export(bench->renderer, 5, &again), 0);
	assert_int_equal(pread(again.fd, &byte, 1, (off_t)blob.size - 1), 1);
	assert_int_equal(byte, 42);
	close(again.fd);
	close(mapping.fd);
	munmap(bytes, blob.size);
	/* The id is in use; what is not there, and no context, are errors. */
	assert_int_not_equal(make_blob(bench, context, &blob), 0);
	blob.id = 6;
	blob.blob_id = 12345;
	assert_int_not_equal(make_blob(bench, context, &blob), 0);
	assert_int_equal(make_blob(bench, NULL, &blob), VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID);
	assert_int_not_equal(ops->blob_export(bench->renderer, 6, &again), 0);
	ops->blob_detach(context, 5);
	destroy_blob(bench, 5);
	assert_int_not_equal(ops->blob_export(bench->renderer, 5, &again), 0);
	WAIT_FOR(bench, !maps_have(pid, "vkr-shmem"));
	ops->context_destroy(bench->renderer, context);
}

/* Host memory that has a guest's pages at its side. */
static void test_guest_host_blob(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	struct renderer_blob blob = shm_blob(5);
	struct renderer_mapping mapping;
	struct test_backing backing;

	make_backing(bench, &backing, 5, 16);
	blob.mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
	blob.guest = &backing.base;
	assert_int_equal(make_blob(bench, context, &blob), 0);
	assert_int_equal(ops->blob_export(bench->renderer, 5, &mapping), 0);
	close(mapping.fd);
	destroy_blob(bench, 5);
	/* Fewer pages than it is big. */
	blob.size += PAGE;
	assert_int_equal(make_blob(bench, context, &blob), ERR_PARAM);
	assert_int_equal(backing.base.holds, 0);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
}

/* Workers cannot have a guest's pages; the guest is told, and nothing holds them. */
static void test_guest_blob(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	struct test_backing backing;

	make_backing(bench, &backing, 3, 4);
	assert_int_equal(ops->attach(context, &backing.base), -EOPNOTSUPP);
	assert_int_equal(backing.base.holds, 0);
	stop_backing(bench, &backing);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
}

static void test_userptr(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *second;
	struct test_backing backing;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	second = new_context(bench);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_true(memory_view_alone(backing.base.view));
	assert_int_equal(ops->attach(context, &backing.base), 0);
	WAIT_FOR(bench, memory_view_held_by(backing.base.view, pid));
	assert_int_equal(ops->attach(second, &backing.base), 0);
	assert_false(memory_view_alone(backing.base.view));
	ops->detach(context, &backing.base);
	WAIT_FOR(bench, !memory_view_held_by(backing.base.view, pid));
	assert_int_equal(ops->attach(context, &backing.base), 0);
	WAIT_FOR(bench, memory_view_held_by(backing.base.view, pid));
	ops->detach(context, &backing.base);
	ops->detach(second, &backing.base);
	stop_backing(bench, &backing);
	WAIT_FOR(bench, memory_view_alone(backing.base.view));
	free_backing(&backing);
	assert_int_equal(bench->nr_lost, 0);
	/* Another one with its id is not to be blamed on who had the first. */
	make_backing(bench, &backing, 3, 2);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(second, &backing.base), 0);
	ops->detach(second, &backing.base);
	stop_backing(bench, &backing);
	ops->evict(bench->renderer, &backing.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], second);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, second);
}

/* The worker does not let go; its context goes, and not the other one. */
static void test_evict(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *other;
	struct test_backing backing;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	other = new_context(bench);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(context, &backing.base), 0);
	WAIT_FOR(bench, memory_view_held_by(backing.base.view, pid));
	stop_process(pid);
	ops->detach(context, &backing.base);
	stop_backing(bench, &backing);
	assert_false(memory_view_alone(backing.base.view));
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	ops->evict(bench->renderer, &backing.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], context);
	assert_int_equal(bench->answers[1], 1);
	assert_int_equal(bench->responses[1], ERR_UNSPEC);
	WAIT_FOR(bench, memory_view_alone(backing.base.view));
	ops->evict(bench->renderer, &backing.base, true);
	free_backing(&backing);
	assert_int_equal(submit(bench, other, 0, true, NULL, 0, 2), 0);
	WAIT_FOR(bench, bench->answers[2]);
	assert_int_equal(bench->responses[2], OK);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/*
 * A program that has userptr memory as a VkDeviceMemory: it cannot hand it on as
 * a blob, and it keeps it beyond the resource, until its context is ended.
 */
static void test_device_memory(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(8);
	struct renderer_mapping mapping;
	struct renderer_context *context;
	struct test_backing backing;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(context, &backing.base), 0);
	make_device(bench, context, 1);
	/* What it allocates itself it may hand on. */
	allocate(bench, context, OTHER_MEMORY, 0, blob.size, 2);
	blob.blob_id = OTHER_MEMORY;
	assert_int_equal(make_blob(bench, context, &blob), 0);
	assert_int_equal(ops->blob_export(bench->renderer, blob.id, &mapping), 0);
	assert_false(udmabuf_is_ours(bench->udmabuf, mapping.fd));
	close(mapping.fd);
	destroy_blob(bench, blob.id);
	allocate(bench, context, MEMORY, 3, 4 * PAGE, 3);
	blob.blob_id = MEMORY;
	blob.size = 4 * PAGE;
	assert_int_equal(make_blob(bench, context, &blob), ERR_PARAM);
	assert_int_not_equal(ops->blob_export(bench->renderer, blob.id, &mapping), 0);
	ops->detach(context, &backing.base);
	stop_backing(bench, &backing);
	/* All that was sent has arrived, and it is still there. */
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 4), 0);
	WAIT_FOR(bench, bench->answers[4]);
	assert_int_equal(bench->nr_lost, 0);
	assert_true(memory_view_held_by(backing.base.view, pid));
	assert_false(memory_view_alone(backing.base.view));
	ops->evict(bench->renderer, &backing.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	WAIT_FOR(bench, memory_view_alone(backing.base.view));
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
}

/* A process that the library knows nothing of. */
static void test_evict_by_force(void **state)
{
	struct bench *bench = *state;
	struct test_backing backing;
	int fd, status;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	fd = udmabuf_view_dup(memory_view_udmabuf(backing.base.view));
	assert_true(fd >= 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	close(fd);
	backing_stop(&backing.base);
	ops->evict(bench->renderer, &backing.base, false);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	ops->evict(bench->renderer, &backing.base, true);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(memory_view_alone(backing.base.view));
	free_backing(&backing);
}

/* Resources of the past are forgotten, and such as are still there are not. */
static void test_many_userptrs(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context;
	struct test_backing kept, backing;
	unsigned int i;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	make_backing(bench, &kept, 1, 1);
	make_view(bench, &kept);
	assert_int_equal(ops->attach(context, &kept.base), 0);
	ops->detach(context, &kept.base);
	stop_backing(bench, &kept);
	for (i = 2; i < 300; i++) {
		make_backing(bench, &backing, i, 2);
		make_view(bench, &backing);
		assert_int_equal(ops->attach(context, &backing.base), 0);
		ops->detach(context, &backing.base);
		stop_backing(bench, &backing);
		WAIT_FOR(bench, memory_view_alone(backing.base.view));
		ops->forget(bench->renderer, i);
		free_backing(&backing);
	}
	/* One that is forgotten ends nobody; whom to end for the other is still known. */
	make_backing(bench, &backing, 2, 1);
	ops->evict(bench->renderer, &backing.base, false);
	free_backing(&backing);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	ops->evict(bench->renderer, &kept.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	free_backing(&kept);
	ops->context_destroy(bench->renderer, context);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_blob),	   TEST(test_guest_host_blob), TEST(test_guest_blob),
		TEST(test_userptr),	   TEST(test_evict),	       TEST(test_device_memory),
		TEST(test_evict_by_force), TEST(test_many_userptrs),
	};

	log_set_verbose(getenv("VERBOSE"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* !HAVE_VIRGLRENDERER */

int main(void)
{
	return virgl_not_built();
}

#endif
