// SPDX-License-Identifier: MIT
/*
 * test_virgl_queue: contexts of the real libvirglrenderer whose workers are busy
 *
 * A worker that is stopped stands for one that is busy.  No context may make another
 * wait for that, or end.
 */
#include "tests/renderer/virgl_test.h"

#ifdef HAVE_VIRGLRENDERER

#define STREAM 4096
/* More than a worker's socket has room for. */
#define MANY 200
/* What a context may queue, and how long it may stand still. */
#define MAX_QUEUED 1024
#define STALL_MS 10000
#define CMD_INSTANCE_VERSION 137
#define CMD_EXECUTE_STREAMS 180

/* Commands that do nothing, and are right: to execute a stream of no bytes. */
static void fill_stream(uint32_t stream[STREAM / 4])
{
	static const uint32_t nothing[16] = { [0] = CMD_EXECUTE_STREAMS, [2] = 1, [3] = 1 };
	unsigned int i;

	for (i = 0; i < STREAM / 4; i++)
		stream[i] = nothing[i % 16];
}

/* @nr submissions with cookies from @first on; every second one with a fence. */
static void submit_many(struct bench *bench, struct renderer_context *context, unsigned int first,
			unsigned int nr)
{
	uint32_t stream[STREAM / 4];
	unsigned int i;

	fill_stream(stream);
	for (i = 0; i < nr; i++)
		assert_int_equal(
			submit(bench, context, 0, i % 2, stream, sizeof(stream), first + i), 0);
}

static unsigned int answered(const struct bench *bench, unsigned int first, unsigned int nr,
			     uint32_t response)
{
	unsigned int i, n = 0;

	for (i = first; i < first + nr; i++)
		n += bench->answers[i] == 1 && bench->responses[i] == response;
	return n;
}

static struct renderer_context *new_stopped(struct bench *bench, pid_t *pid)
{
	struct renderer_context *context;
	pid_t before[MAX_WORKERS], after[MAX_WORKERS];
	unsigned int nr = workers(before), i, k, found = 0;

	context = new_context(bench);
	for (i = workers(after); i--;) {
		for (k = 0; k < nr && before[k] != after[i]; k++)
			;
		if (k < nr)
			continue;
		*pid = after[i];
		found++;
	}
	assert_int_equal(found, 1);
	stop_process(*pid);
	return context;
}

static void let_go_on(pid_t pid)
{
	assert_int_equal(kill(pid, SIGCONT), 0);
}

/*
 * A context that is busy for a moment while others, which never read, queue as much as
 * they can: all that it submits is done.
 */
static void test_innocent(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *innocent, *hostile[4];
	uint32_t stream[STREAM / 4];
	pid_t pid, others[4];
	unsigned int i, at = MANY, k;

	innocent = new_stopped(bench, &pid);
	fill_stream(stream);
	for (i = 0; i < 4; i++) {
		hostile[i] = new_stopped(bench, &others[i]);
		for (k = 0; k < 2 * MAX_QUEUED; k++)
			if (submit(bench, hostile[i], 0, true, stream, sizeof(stream), at + k))
				break;
		assert_in_range(k, 100, MAX_QUEUED + 100);
		at += k;
	}
	submit_many(bench, innocent, 0, MANY);
	/* What has no fence was taken, and is answered. */
	assert_int_equal(answered(bench, 0, MANY, OK), MANY / 2);
	WAIT_FOR(bench, bench->nr_lost == 4);
	for (i = 0; i < 4; i++)
		assert_ptr_not_equal(bench->lost[i], innocent);
	let_go_on(pid);
	WAIT_FOR(bench, answered(bench, 0, MANY, OK) == MANY);
	/* What the others had accepted is answered, too, and how. */
	assert_int_equal(answered(bench, MANY, at - MANY, ERR_UNSPEC), at - MANY);
	assert_int_equal(bench->nr_lost, 4);
	for (i = 0; i < 4; i++)
		ops->context_destroy(bench->renderer, hostile[i]);
	ops->context_destroy(bench->renderer, innocent);
}

/*
 * Commands that take long, each: the Vulkan loader looks for all that is installed.  A
 * context may take as long as it likes, as long as it is at work.
 */
static void test_slow_commands(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	uint32_t stream[STREAM / 4] = { 0 };
	uint64_t began = clock_ms();
	unsigned int i;

	for (i = 0; i < STREAM / 4; i += 4) {
		stream[i] = CMD_INSTANCE_VERSION;
		stream[i + 2] = 1;
	}
	/* As many as it can have waiting, again and again. */
	for (i = 0; clock_ms() - began < STALL_MS + STALL_MS / 2; i++) {
		assert_int_equal(submit(bench, context, 0, true, stream, sizeof(stream), i), 0);
		WAIT_FOR(bench, i < MAX_QUEUED - 100 || bench->answers[i + 100 - MAX_QUEUED]);
	}
	assert_int_equal(bench->nr_lost, 0);
	ops->context_destroy(bench->renderer, context);
}

static void test_stuck(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context;
	uint64_t began;
	pid_t pid;

	context = new_stopped(bench, &pid);
	began = clock_ms();
	submit_many(bench, context, 0, MANY);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_in_range(clock_ms() - began, STALL_MS - 200, 3 * STALL_MS);
	assert_int_equal(answered(bench, 0, MANY, OK), MANY / 2);
	assert_int_equal(answered(bench, 0, MANY, ERR_UNSPEC), MANY / 2);
	ops->context_destroy(bench->renderer, context);
}

/* What a context makes, gets and loses is in the order of its work. */
static void test_order(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(7);
	struct renderer_context *context, *other;
	struct renderer_mapping mapping;
	uint32_t garbage[64];
	pid_t pid, second;

	memset(garbage, 0xa5, sizeof(garbage));
	context = new_stopped(bench, &pid);
	other = new_stopped(bench, &second);
	submit_many(bench, context, 0, MANY);
	assert_int_equal(ask_for_blob(bench, context, &blob), 0);
	/* It can be given to others, and be taken, already. */
	assert_int_equal(ops->blob_attach(context, 7), 0);
	assert_int_equal(ops->blob_attach(other, 7), 0);
	assert_int_equal(ask_for_blob(bench, context, &blob), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
	assert_int_not_equal(ops->blob_export(bench->renderer, 7, &mapping), 0);
	/* Commands that end the context come behind it. */
	assert_int_equal(submit(bench, context, 0, true, garbage, sizeof(garbage), MANY), 0);
	assert_int_equal(bench->nr_blobs_answered, 0);
	let_go_on(second);
	let_go_on(pid);
	WAIT_FOR(bench, bench->blobs[0]);
	assert_int_equal(bench->blobs[0], OK);
	assert_int_equal(answered(bench, 0, MANY, OK), MANY);
	assert_int_equal(ops->blob_export(bench->renderer, 7, &mapping), 0);
	close(mapping.fd);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], context);
	/* The other one has it, and goes on. */
	WAIT_FOR(bench, maps_have(second, "vkr-shmem"));
	assert_int_equal(submit(bench, other, 0, true, NULL, 0, MANY + 1), 0);
	WAIT_FOR(bench, bench->answers[MANY + 1]);
	assert_int_equal(bench->responses[MANY + 1], OK);
	ops->blob_detach(other, 7);
	WAIT_FOR(bench, !maps_have(second, "vkr-shmem"));
	destroy_blob(bench, 7);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/* A blob that a busy context has goes when that was told, or is gone. */
static void test_blob_of_a_busy_context(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(7);
	struct renderer_context *context, *busy;
	unsigned int i;
	pid_t pid;

	context = new_context(bench);
	busy = new_stopped(bench, &pid);
	for (i = 0; i < 2; i++) {
		assert_int_equal(make_blob(bench, context, &blob), 0);
		assert_int_equal(ops->blob_attach(busy, 7), 0);
		submit_many(bench, busy, i * MANY, MANY);
		ops->blob_detach(busy, 7);
		/* It was to lose it: now it does not. */
		assert_int_equal(ops->blob_attach(busy, 7), 0);
		ops->blob_detach(busy, 7);
		assert_false(ops->blob_destroy(bench->renderer, 7, bench));
		assert_int_equal(ops->blob_attach(context, 7), -EIO);
		assert_int_equal(ask_for_blob(bench, context, &blob),
				 VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
		assert_int_equal(bench->nr_destroyed, i);
		if (!i)
			let_go_on(pid);
		else
			ops->context_destroy(bench->renderer, busy);
		WAIT_FOR(bench, bench->nr_destroyed == i + 1);
		if (!i) {
			WAIT_FOR(bench, answered(bench, 0, MANY, OK) == MANY);
			WAIT_FOR(bench, !maps_have(pid, "vkr-shmem"));
			stop_process(pid);
		}
	}
	assert_int_equal(make_blob(bench, context, &blob), 0);
	destroy_blob(bench, 7);
	assert_int_equal(bench->nr_lost, 0);
	ops->context_destroy(bench->renderer, context);
}

/* A worker that does not answer keeps neither others waiting, nor the id for ever. */
static void test_mute_worker(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(9), other_blob = shm_blob(10);
	struct renderer_context *context, *other, *third;
	uint64_t began;
	pid_t pid;

	other = new_context(bench);
	third = new_context(bench);
	context = new_stopped(bench, &pid);
	assert_int_equal(submit(bench, context, 0, false, NULL, 0, 0), 0);
	began = clock_ms();
	assert_int_equal(ask_for_blob(bench, context, &blob), 0);
	assert_int_equal(bench->nr_blobs_answered, 0);
	assert_int_equal(ops->blob_attach(other, 9), 0);
	assert_int_equal(make_blob(bench, third, &other_blob), 0);
	assert_true(clock_ms() - began < STALL_MS / 2);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], context);
	assert_int_equal(bench->blobs[0], ERR_UNSPEC);
	/* The id is free again; who was promised it has nothing. */
	ops->blob_detach(other, 9);
	assert_int_equal(make_blob(bench, other, &blob), 0);
	destroy_blob(bench, 9);
	destroy_blob(bench, 10);
	ops->context_destroy(bench->renderer, other);
	ops->context_destroy(bench->renderer, third);
	ops->context_destroy(bench->renderer, context);
}

/* All that waits is answered. */
static void test_reset_of_queues(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(7), other_blob = shm_blob(8);
	struct renderer_context *context, *other;
	pid_t pid;

	other = new_context(bench);
	assert_int_equal(make_blob(bench, other, &other_blob), 0);
	context = new_stopped(bench, &pid);
	assert_int_equal(ops->blob_attach(context, 8), 0);
	submit_many(bench, context, 0, MANY);
	assert_int_equal(ask_for_blob(bench, context, &blob), 0);
	assert_int_equal(ops->blob_attach(other, 7), 0);
	ops->blob_detach(context, 8);
	assert_false(ops->blob_destroy(bench->renderer, 8, bench));
	ops->reset(bench->renderer);
	assert_int_equal(bench->nr_answered, MANY);
	assert_int_equal(bench->nr_blobs_answered, 2);
	assert_int_equal(bench->blobs[1], ERR_UNSPEC);
	assert_int_equal(bench->nr_destroyed, 1);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/* The guest's memory: given back when a busy context was told, and who is to blame. */
static void test_userptr_of_a_busy_context(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *busy;
	struct test_backing backing;
	unsigned int i;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_context(bench);
	busy = new_stopped(bench, &pid);
	for (i = 0; i < 2; i++) {
		make_backing(bench, &backing, 3, 4);
		make_view(bench, &backing);
		assert_int_equal(ops->attach(context, &backing.base), 0);
		submit_many(bench, busy, i * MANY, MANY);
		assert_int_equal(ops->attach(busy, &backing.base), 0);
		ops->detach(context, &backing.base);
		ops->detach(busy, &backing.base);
		stop_backing(bench, &backing);
		assert_false(memory_view_alone(backing.base.view));
		if (!i)
			let_go_on(pid);
		else
			ops->evict(bench->renderer, &backing.base, false);
		WAIT_FOR(bench, memory_view_alone(backing.base.view));
		ops->forget(bench->renderer, 3);
		free_backing(&backing);
		if (!i) {
			WAIT_FOR(bench, answered(bench, 0, MANY, OK) == MANY);
			stop_process(pid);
		}
	}
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], busy);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 2 * MANY), 0);
	WAIT_FOR(bench, bench->answers[2 * MANY]);
	assert_int_equal(bench->responses[2 * MANY], OK);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, busy);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_innocent),
		TEST(test_slow_commands),
		TEST(test_stuck),
		TEST(test_order),
		TEST(test_blob_of_a_busy_context),
		TEST(test_mute_worker),
		TEST(test_reset_of_queues),
		TEST(test_userptr_of_a_busy_context),
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
