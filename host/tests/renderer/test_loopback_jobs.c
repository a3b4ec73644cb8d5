// SPDX-License-Identifier: MIT
/*
 * test_loopback_jobs: the order, the threads and the end of jobs
 */
#include "tests/renderer/loopback_test.h"

/* Hash the whole again and again: many seconds, unless it is cancelled. */
static struct answer *submit_long(struct bench *bench, struct fence fence, uint32_t res)
{
	struct loopback_command c[LOOPBACK_MAX_COMMANDS];
	unsigned int i;

	for (i = 0; i < LOOPBACK_MAX_COMMANDS; i += 2) {
		c[i] = op(LOOPBACK_OP_FILL, i + 1, res, 0, 0, 0, BIG_SIZE);
		c[i + 1] = op(LOOPBACK_OP_SHA256, 0, res, 0, res, 0, BIG_SIZE);
	}
	return send_submit(bench, CTX, fence, c, LOOPBACK_MAX_COMMANDS, 5, 64);
}

static void test_big_job_off_the_ring(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c[] = {
		op(LOOPBACK_OP_FILL, 0x33, 10, 0, 0, 0, BIG_SIZE),
		op(LOOPBACK_OP_SHA256, 0, 5, 128, 10, 0, BIG_SIZE),
	};
	struct loopback_command small = op(LOOPBACK_OP_FILL, 0x44, 1, 0, 0, 0, 1);
	unsigned char sum[32];
	unsigned char *linear;
	struct answer *answer;

	add_big(bench, 10, BIG);
	answer = send_submit(bench, CTX, (struct fence){ 1, 0 }, c, 2, 5, 64);
	assert_int_equal(answer->order, 0);
	/* The ring keeps moving: others are answered, another ring runs. */
	assert_int_equal(do_attach(bench, CTX, 1), OK);
	assert_int_equal(
		answer_type(send_submit(bench, CTX, (struct fence){ 2, 1 }, &small, 1, 0, 0)), OK);
	assert_int_equal(answer->order, 0);
	bench_wait(bench, answer);
	assert_int_equal(answer_type(answer), OK);
	assert_status(bench, LOOPBACK_DONE, 0, 0);
	linear = malloc(BIG_SIZE);
	assert_non_null(linear);
	memset(linear, 0x33, BIG_SIZE);
	SHA256(linear, BIG_SIZE, sum);
	free(linear);
	assert_memory_equal(bench_at(bench, STATUS + 128), sum, 32);
}

static void test_ring_is_fifo(void **state)
{
	struct bench *bench = *state;
	struct loopback_command fill = op(LOOPBACK_OP_FILL, 0x10, 10, 0, 0, 0, BIG_SIZE);
	struct loopback_command copy = op(LOOPBACK_OP_COPY, 0, 5, 256, 10, BIG_SIZE - 8, 8);
	struct loopback_command bad = op(99, 0, 0, 0, 0, 0, 0);
	struct answer *first, *second, *third;

	add_big(bench, 10, BIG);
	first = send_submit(bench, CTX, (struct fence){ 1, 3 }, &fill, 1, 5, 0);
	second = send_submit(bench, CTX, (struct fence){ 2, 3 }, &copy, 1, 5, 64);
	third = send_submit(bench, CTX, (struct fence){ 3, 3 }, &bad, 1, 5, 0);
	/* The small and the refused one wait for the big one, status included. */
	assert_int_equal(second->order, 0);
	assert_int_equal(third->order, 0);
	bench_wait(bench, third);
	assert_true(first->order < second->order && second->order < third->order);
	assert_int_equal(*bench_at(bench, STATUS + 256 + 7), 0x10);
	assert_int_equal(le32toh(status_at(bench, 0)->state), LOOPBACK_REFUSED);
	assert_int_equal(answer_type(third), ERR_PARAM);
}

/* Nothing is written after the answer to the destroy. */
static void assert_quiet_after(struct bench *bench, struct answer *job, struct answer *end,
			       uint64_t addr)
{
	static unsigned char before[1 << 20], after[1 << 20];
	struct loopback_command barrier[] = {
		op(LOOPBACK_OP_FILL, 0x99, 12, 0, 0, 0, 1 << 20),
	};
	struct piece other = { BIG + BIG_SIZE, 1 << 20 };
	struct answer *passed;

	assert_int_equal(answer_type(job), ERR_UNSPEC);
	assert_int_equal(answer_type(end), OK);
	assert_true(job->order < end->order);
	memset(bench_at(bench, addr), 0xee, 1 << 20);
	memcpy(before, bench_at(bench, addr), sizeof(before));
	/* The next of the same ring begins when the one before has really ended. */
	assert_int_equal(do_userptr(bench, 12, 0, &other, 1), OK);
	assert_int_equal(do_attach(bench, CTX, 12), OK);
	passed = send_submit(bench, CTX, (struct fence){ 50, 0 }, barrier, 1, 0, 0);
	bench_wait(bench, passed);
	memcpy(after, bench_at(bench, addr), sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
}

static void test_destroy_cancels(void **state)
{
	struct bench *bench = *state;
	struct answer *job, *end;
	uint64_t start;

	add_big(bench, 10, BIG);
	job = submit_long(bench, (struct fence){ 1, 0 }, 10);
	wait_started(bench, BIG);
	assert_int_equal(job->order, 0);
	start = clock_ms();
	end = send_destroy(bench, 10);
	/* Not answered from within: the worker is in the memory. */
	assert_int_equal(end->order, 0);
	bench_wait(bench, end);
	assert_true(clock_ms() - start < WAIT_MS / 2);
	assert_quiet_after(bench, job, end, BIG);
	assert_int_equal(le32toh(status_at(bench, 64)->state), LOOPBACK_CANCELLED);
	assert_int_equal(do_detach(bench, CTX, 10), ERR_RESOURCE);
}

/* One step of 4 GiB, made of 256 times the same memory and a page of its own. */
static void test_destroy_cancels_within_a_step(void **state)
{
	struct bench *bench = *state;
	struct piece pieces[256];
	struct loopback_command c[] = {
		op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, 1),
		op(LOOPBACK_OP_INVERT, 0, 10, 0, 10, 0, 255ull * (16u << 20) + PAGE),
	};
	struct answer *job, *end;
	unsigned int i;

	for (i = 0; i < 255; i++)
		pieces[i] = (struct piece){ BIG, 16u << 20 };
	pieces[255] = (struct piece){ BIG + BIG_SIZE, PAGE };
	assert_int_equal(do_userptr(bench, 10, 0, pieces, 256), OK);
	assert_int_equal(do_attach(bench, CTX, 10), OK);
	*bench_at(bench, scattered[0][0].addr) = 0;
	job = send_submit(bench, CTX, (struct fence){ 1, 0 }, c, 2, 5, 64);
	wait_started(bench, scattered[0][0].addr);
	end = send_destroy(bench, 10);
	bench_wait(bench, end);
	assert_int_equal(answer_type(job), ERR_UNSPEC);
	assert_status(bench, LOOPBACK_CANCELLED, 1, 0);
	/* It did not get to the end. */
	assert_int_equal(*bench_at(bench, BIG + BIG_SIZE), 0);
}

static void test_unref_of_blob_cancels(void **state)
{
	struct bench *bench = *state;
	struct piece big = { BIG, BIG_SIZE };
	struct answer *job, *end;

	assert_int_equal(do_blob(bench, 10, VIRTIO_GPU_BLOB_MEM_GUEST, BIG_SIZE, &big, 1), OK);
	assert_int_equal(do_attach(bench, CTX, 10), OK);
	job = submit_long(bench, (struct fence){ 1, 0 }, 10);
	wait_started(bench, BIG);
	end = send_unref(bench, 10);
	assert_int_equal(end->order, 0);
	/* In use until then, for everyone. */
	assert_int_equal(do_blob(bench, 10, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &big, 1),
			 ERR_RESOURCE);
	bench_wait(bench, end);
	assert_quiet_after(bench, job, end, BIG);
	assert_int_equal(do_blob(bench, 10, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &big, 1), OK);
}

static void test_destroy_of_queued(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_FILL, 7, 1, 0, 0, 0, SIZE);
	struct answer *running, *queued, *end;
	static struct model model;

	model_init(bench, &model);
	add_big(bench, 10, BIG);
	running = submit_long(bench, (struct fence){ 1, 0 }, 10);
	queued = send_submit(bench, CTX, (struct fence){ 2, 0 }, &c, 1, 5, 32);
	wait_started(bench, BIG);
	/* It need not wait for its turn: nobody is in this memory. */
	end = send_destroy(bench, 1);
	assert_int_equal(answer_type(end), OK);
	assert_int_equal(le32toh(status_at(bench, 32)->state), LOOPBACK_CANCELLED);
	/* Its fence waits for the one before, though. */
	assert_int_equal(queued->order, 0);
	assert_int_equal(running->order, 0);
	bench_wait(bench, send_destroy(bench, 10));
	assert_int_equal(answer_type(queued), ERR_UNSPEC);
	assert_true(running->order < queued->order);
	model_check(bench, &model);
}

static void test_detach_lets_it_run(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_FILL, 0x21, 10, 0, 0, 0, BIG_SIZE);
	struct answer *job;

	add_big(bench, 10, BIG);
	job = send_submit(bench, CTX, (struct fence){ 1, 0 }, &c, 1, 5, 64);
	assert_int_equal(do_detach(bench, CTX, 10), OK);
	bench_wait(bench, job);
	assert_int_equal(answer_type(job), OK);
	assert_status(bench, LOOPBACK_DONE, 0, 0);
	assert_int_equal(*bench_at(bench, BIG + BIG_SIZE - 1), 0x21);
}

static void test_ctx_destroy_cancels(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_FILL, 7, 1, 0, 0, 0, SIZE);
	struct answer *running, *queued, *end;

	add_big(bench, 10, BIG);
	running = submit_long(bench, (struct fence){ 1, 0 }, 10);
	queued = send_submit(bench, CTX, (struct fence){ 2, 0 }, &c, 1, 5, 32);
	wait_started(bench, BIG);
	assert_int_equal(do_ctx_destroy(bench, CTX), OK);
	/* A new one of that id has nothing to do with it. */
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	assert_int_equal(do_detach(bench, CTX, 10), ERR_RESOURCE);
	bench_wait(bench, queued);
	assert_int_equal(answer_type(running), ERR_UNSPEC);
	assert_int_equal(answer_type(queued), ERR_UNSPEC);
	assert_int_equal(le32toh(status_at(bench, 64)->state), LOOPBACK_CANCELLED);
	assert_int_equal(le32toh(status_at(bench, 32)->state), LOOPBACK_CANCELLED);
	/* The holds went with the jobs. */
	end = send_destroy(bench, 10);
	assert_int_equal(answer_type(end), OK);
}

/* What a destroy costs while many jobs wait that have nothing to do with it. */
static void test_unrelated_ends_do_not_scan(void **state)
{
	struct bench *bench = *state;
	struct loopback_command fill = op(LOOPBACK_OP_FILL, 7, 11, 0, 0, 0, PAGE);
	struct loopback_command c[LOOPBACK_MAX_COMMANDS];
	uint64_t start, time, scan, resource = UINT64_MAX, context = UINT64_MAX;
	struct piece page = { BIG + BIG_SIZE, PAGE };
	unsigned int i;

	add_big(bench, 10, BIG);
	assert_int_equal(do_userptr(bench, 11, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, CTX, 11), OK);
	submit_long(bench, (struct fence){ 0, 0 }, 10);
	for (i = 0; i < LOOPBACK_MAX_COMMANDS; i++)
		c[i] = op(LOOPBACK_OP_FILL, 0, 10, 0, 0, 0, BIG_SIZE);
	for (i = 0; i < 3000; i++)
		send_submit(bench, CTX, (struct fence){ 0, 0 }, c, LOOPBACK_MAX_COMMANDS, 0, 0);
	/* The best of some: others use the machine too. */
	for (i = 0; i < 10; i++) {
		assert_int_equal(do_userptr(bench, 12, 0, &page, 1), OK);
		start = clock_ns();
		assert_int_equal(do_destroy(bench, 12), OK);
		time = clock_ns() - start;
		resource = time < resource ? time : resource;
		assert_int_equal(do_ctx_create(bench, 77, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
		start = clock_ns();
		assert_int_equal(do_ctx_destroy(bench, 77), OK);
		time = clock_ns() - start;
		context = time < context ? time : context;
	}
	/* One with a job, which has to be found among them. */
	send_submit(bench, CTX, (struct fence){ 0, 0 }, &fill, 1, 0, 0);
	start = clock_ns();
	assert_int_equal(do_destroy(bench, 11), OK);
	scan = clock_ns() - start;
	assert_true(resource < scan / 4);
	assert_true(context < scan / 4);
	gpu_device_reset(bench->dev);
}

static void test_reset_stops_all(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_FILL, 7, 1, 0, 0, 0, SIZE);
	struct answer *running, *queued;
	static unsigned char now[1 << 20];
	uint64_t start = clock_ms();

	add_big(bench, 10, BIG);
	running = submit_long(bench, (struct fence){ 1, 0 }, 10);
	queued = send_submit(bench, CTX, (struct fence){ 2, 0 }, &c, 1, 5, 32);
	wait_started(bench, BIG);
	gpu_device_reset(bench->dev);
	assert_true(clock_ms() - start < WAIT_MS / 2);
	assert_true(running->order && queued->order);
	assert_int_equal(answer_type(running), ERR_UNSPEC);
	assert_int_equal(answer_type(queued), ERR_UNSPEC);
	assert_true(running->order < queued->order);
	assert_int_equal(le32toh(status_at(bench, 64)->state), LOOPBACK_CANCELLED);
	memset(bench_at(bench, BIG), 0xee, sizeof(now));
	/* Everything is gone, and the ids are free. */
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	assert_int_equal(do_destroy(bench, 10), ERR_RESOURCE);
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	add_big(bench, 10, BIG + BIG_SIZE);
	c = op(LOOPBACK_OP_FILL, 9, 10, 0, 0, 0, 1 << 20);
	bench_wait(bench, send_submit(bench, CTX, (struct fence){ 1, 0 }, &c, 1, 0, 0));
	memcpy(now, bench_at(bench, BIG), sizeof(now));
	assert_int_equal(now[0], 0xee);
	assert_memory_equal(now, now + 1, sizeof(now) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_big_job_off_the_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_is_fifo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_cancels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_cancels_within_a_step, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_unref_of_blob_cancels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_of_queued, setup, teardown),
		cmocka_unit_test_setup_teardown(test_detach_lets_it_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ctx_destroy_cancels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unrelated_ends_do_not_scan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_stops_all, setup, teardown),
	};

	return cmocka_run_group_tests_name("loopback jobs", tests, NULL, NULL);
}
