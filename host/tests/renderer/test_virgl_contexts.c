// SPDX-License-Identifier: MIT
/*
 * test_virgl_contexts: contexts of the real libvirglrenderer: their life, work and end
 */
#include "tests/renderer/virgl_test.h"

#ifdef HAVE_VIRGLRENDERER

#include "tests/renderer/venus_commands.h"

static void test_capsets(void **state)
{
	struct bench *bench = *state;
	struct renderer_capset capset, again;
	unsigned char *data, sum = 0;
	unsigned int i;

	assert_true(ops->capset(bench->renderer, 0, &capset));
	assert_int_equal(capset.id, VENUS);
	assert_true(capset.size >= 16);
	assert_false(capset.rdonly);
	if (ops->capset(bench->renderer, 1, &again))
		assert_int_equal(again.id, 6);
	assert_false(ops->capset(bench->renderer, 2, &again));
	data = malloc(capset.size);
	assert_non_null(data);
	memset(data, 0, capset.size);
	ops->capset_data(bench->renderer, VENUS, capset.version, data);
	for (i = 0; i < capset.size; i++)
		sum |= data[i];
	assert_true(sum);
	free(data);
}

static void test_one_at_a_time(void **state)
{
	struct renderer_config config = { .grace_ms = GRACE_MS };
	struct renderer_host host = { .opaque = NULL };
	struct renderer *other;

	(void)state;
	assert_int_equal(ops->create(&config, &host, &other), -EBUSY);
}

static void test_contexts(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *first, *second;
	pid_t pid, pids[MAX_WORKERS];

	first = new_worker(bench, &pid);
	second = new_context(bench);
	assert_int_equal(workers(pids), 2);
	ops->context_destroy(bench->renderer, first);
	WAIT_FOR(bench, workers(pids) == 1);
	assert_int_not_equal(pids[0], pid);
	/* The other one still works. */
	assert_int_equal(submit(bench, second, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	ops->context_destroy(bench->renderer, second);
	WAIT_FOR(bench, workers(NULL) == 0);
	assert_int_equal(bench->nr_lost, 0);
}

/* How often this process has read from a file; 0: the kernel does not count. */
static unsigned long reads(void)
{
	FILE *file = fopen("/proc/self/io", "re");
	unsigned long nr = 0;
	char line[64];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "syscr: %lu", &nr) == 1)
			break;
	if (file)
		fclose(file);
	return nr;
}

/* A new context costs the same whatever else runs on the machine. */
static void test_many_processes(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *contexts[3];
	pid_t others[100];
	unsigned long began;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		others[i] = fork();
		assert_true(others[i] >= 0);
		if (!others[i])
			for (;;)
				pause();
	}
	began = reads();
	for (i = 0; i < 3; i++)
		contexts[i] = new_context(bench);
	assert_true(reads() - began < 100);
	for (i = 0; i < 3; i++)
		ops->context_destroy(bench->renderer, contexts[i]);
	for (i = 0; i < 100; i++) {
		assert_int_equal(kill(others[i], SIGKILL), 0);
		assert_int_equal(waitpid(others[i], NULL, 0), others[i]);
	}
	if (!began) {
		print_message("skipped: this kernel does not count what is read\n");
		skip();
	}
}

static void test_submit(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	uint64_t jobs = ops->jobs(bench->renderer);
	uint32_t dword = 0;
	unsigned int i;

	assert_int_equal(submit(bench, context, 0, false, NULL, 0, 1), 0);
	assert_int_equal(bench->answers[1], 1);
	assert_int_equal(bench->responses[1], OK);
	assert_int_equal(submit(bench, context, 0, false, &dword, 3, 2), ERR_PARAM);
	assert_int_equal(submit(bench, context, 64, true, NULL, 0, 2), ERR_PARAM);
	assert_int_equal(submit(bench, context, 255, true, NULL, 0, 2), ERR_PARAM);
	for (i = 10; i < 110; i++)
		assert_int_equal(submit(bench, context, 0, true, NULL, 0, i), 0);
	WAIT_FOR(bench, bench->nr_answered == 101);
	for (i = 10; i < 110; i++) {
		assert_int_equal(bench->answers[i], 1);
		assert_int_equal(bench->responses[i], OK);
	}
	assert_int_equal(bench->answers[2], 0);
	assert_int_equal(ops->jobs(bench->renderer) - jobs, 101);
	ops->context_destroy(bench->renderer, context);
}

/* Bytes that mean nothing end the context, and only it. */
static void test_garbage(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *other = new_context(bench);
	uint32_t garbage[64];

	memset(garbage, 0xa5, sizeof(garbage));
	context = new_context(bench);
	assert_int_equal(submit(bench, context, 0, true, garbage, sizeof(garbage), 1), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], context);
	assert_int_equal(bench->answers[1], 1);
	assert_int_equal(bench->answered_at_loss, 1);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 2), ERR_UNSPEC);
	assert_int_equal(bench->answers[2], 0);
	assert_int_equal(submit(bench, other, 0, true, NULL, 0, 3), 0);
	WAIT_FOR(bench, bench->answers[3]);
	assert_int_equal(bench->responses[3], OK);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/* There is no queue for the ring: the worker ends, and the fence with it. */
static void test_fence_without_queue(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);

	assert_int_equal(submit(bench, context, 5, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_int_equal(bench->answers[1], 1);
	ops->context_destroy(bench->renderer, context);
}

static void test_killed_worker(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context;
	unsigned int i;
	pid_t pid;

	context = new_worker(bench, &pid);
	stop_process(pid);
	for (i = 0; i < 5; i++)
		assert_int_equal(submit(bench, context, 0, true, NULL, 0, i), 0);
	assert_int_equal(bench->nr_answered, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_int_equal(bench->answered_at_loss, 5);
	for (i = 0; i < 5; i++)
		assert_int_equal(bench->answers[i], 1);
	ops->context_destroy(bench->renderer, context);
	assert_int_equal(bench->nr_lost, 1);
}

/* More than a socket takes at once is refused, and does no harm. */
static void test_big_stream(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	size_t size = 64u << 20;
	void *stream = calloc(1, size);

	assert_non_null(stream);
	assert_int_equal(submit(bench, context, 0, true, stream, size, 1),
			 VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 2), 0);
	WAIT_FOR(bench, bench->answers[2]);
	assert_int_equal(bench->responses[2], OK);
	assert_int_equal(bench->answers[1], 0);
	free(stream);
	ops->context_destroy(bench->renderer, context);
}

/* One that takes more than one packet arrives whole, and the next one after it. */
static void test_large_stream(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	struct venus venus = { .nr = 0 };
	const unsigned int repeat = 3500;
	size_t size;
	unsigned char *stream;
	unsigned int i;

	if (no_udmabuf(bench)) {
		ops->context_destroy(bench->renderer, context);
		skip();
	}
	make_device(bench, context, 1);
	put_enumerate_devices(&venus);
	size = venus.nr * sizeof(venus.dwords[0]);
	stream = malloc(repeat * size);
	assert_non_null(stream);
	for (i = 0; i < repeat; i++)
		memcpy(stream + i * size, venus.dwords, size);
	for (i = 2; i < 12; i++)
		assert_int_equal(submit(bench, context, 0, true, stream, repeat * size, i), 0);
	free(stream);
	WAIT_FOR(bench, bench->nr_answered == 11);
	for (i = 1; i < 12; i++)
		assert_int_equal(bench->responses[i], OK);
	assert_int_equal(bench->nr_lost, 0);
	ops->context_destroy(bench->renderer, context);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(4);
	struct renderer_context *context, *other, *third;
	struct test_backing backing;
	unsigned int i;
	pid_t pid;

	context = new_worker(bench, &pid);
	other = new_context(bench);
	assert_int_equal(make_blob(bench, other, &blob), 0);
	make_backing(bench, &backing, 3, 4);
	assert_int_not_equal(ops->attach(other, &backing.base), 0);
	stop_process(pid);
	for (i = 0; i < 3; i++)
		assert_int_equal(submit(bench, context, 0, true, NULL, 0, i), 0);
	ops->reset(bench->renderer);
	assert_int_equal(workers(NULL), 0);
	assert_int_equal(bench->nr_answered, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(bench->answers[i], 1);
	assert_int_equal(bench->nr_lost, 0);
	assert_int_equal(backing.base.holds, 0);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
	/* It is gone, and to forget it does no harm. */
	destroy_blob(bench, 4);
	third = new_context(bench);
	assert_int_equal(make_blob(bench, third, &blob), 0);
	ops->context_destroy(bench->renderer, third);
	ops->reset(bench->renderer);
}

static unsigned int open_descriptors(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 1000; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* What is open in this process when all is over is what was before. */
static void test_leaks_nothing(void **state)
{
	unsigned int before = open_descriptors();
	struct process_list left;
	void *bench;

	(void)state;
	assert_int_equal(setup(&bench), 0);
	ops->context_destroy(((struct bench *)bench)->renderer, new_context(bench));
	assert_int_equal(teardown(&bench), 0);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(process_descendants(getpid(), &left), 0);
	assert_int_equal(left.nr, 0);
	process_list_destroy(&left);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_capsets),
		TEST(test_one_at_a_time),
		TEST(test_contexts),
		TEST(test_many_processes),
		TEST(test_submit),
		TEST(test_garbage),
		TEST(test_fence_without_queue),
		TEST(test_killed_worker),
		TEST(test_big_stream),
		TEST(test_large_stream),
		TEST(test_reset),
		cmocka_unit_test(test_leaks_nothing),
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
