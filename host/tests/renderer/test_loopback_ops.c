// SPDX-License-Identifier: MIT
/*
 * test_loopback_ops: what the commands of the reference context do, against a model
 */
#include "tests/renderer/loopback_test.h"

static void test_ops_across_runs(void **state)
{
	static const uint64_t offsets[] = { 0, 1, 4095, 4096, 4097, 3 * PAGE - 7 };
	static const uint64_t lengths[] = { 0, 1, 31, 4096, 4097, 5 * PAGE + 13, 70001 };
	struct bench *bench = *state;
	static struct model model;
	uint32_t kind;
	size_t d, s, l;

	model_init(bench, &model);
	for (kind = LOOPBACK_OP_FILL; kind <= LOOPBACK_OP_SHA256; kind++) {
		for (d = 0; d < 6; d++)
			for (s = 0; s < 6; s++)
				for (l = 0; l < 7; l++) {
					struct loopback_command c = op(kind, 0xc3 + (uint32_t)l, 2,
								       offsets[d], 1, offsets[s],
								       lengths[l]);

					assert_int_equal(do_submit(bench, CTX, &c, 1, 5, 64), OK);
					assert_status(bench, LOOPBACK_DONE, 0, 0);
					model_run(&model, &c);
				}
		model_check(bench, &model);
	}
}

static void test_many_commands_in_order(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c[] = {
		op(LOOPBACK_OP_FILL, 0x11, 1, 0, 0, 0, SIZE),
		op(LOOPBACK_OP_COPY, 0, 2, 5, 1, 0, 20000),
		op(LOOPBACK_OP_INVERT, 0, 2, 100, 2, 100, 9000),
		op(LOOPBACK_OP_SHA256, 0, 1, 4090, 2, 0, SIZE),
		op(LOOPBACK_OP_COPY, 0, 1, 0, 1, 10000, 10000),
	};
	static struct model model;
	unsigned int i;

	model_init(bench, &model);
	for (i = 0; i < 5; i++)
		model_run(&model, &c[i]);
	assert_int_equal(do_submit(bench, CTX, c, 5, 5, 64), OK);
	assert_status(bench, LOOPBACK_DONE, 0, 0);
	model_check(bench, &model);
}

static void test_sha256_known(void **state)
{
	/* FIPS 180-4: SHA-256 of "abc" */
	static const unsigned char abc[32] = {
		0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
		0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
		0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
	};
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_SHA256, 0, 5, 128, 1, PAGE - 1, 3);

	*bench_at(bench, scattered[0][0].addr + PAGE - 1) = 'a';
	*bench_at(bench, scattered[0][1].addr) = 'b';
	*bench_at(bench, scattered[0][1].addr + 1) = 'c';
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, 64), OK);
	assert_memory_equal(bench_at(bench, STATUS + 128), abc, 32);
}

static void test_blob_of_odd_pieces(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_FILL, 0x5a, 4, 0, 0, 0, BLOB_SIZE);
	struct loopback_status *status;
	unsigned char around[16];
	unsigned int i;

	memset(bench_at(bench, BLOB), 0, 3 * PAGE);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, 64), OK);
	for (i = 0; i < 4; i++) {
		unsigned char *at = bench_at(bench, blob_pieces[i].addr);

		assert_int_equal(at[-1], 0);
		assert_int_equal(at[0], 0x5a);
		assert_int_equal(at[blob_pieces[i].len - 1], 0x5a);
		assert_int_equal(at[blob_pieces[i].len], 0);
	}
	/* A status that no single store can write: bytes 5, 100 and 4097 on. */
	c = op(LOOPBACK_OP_FILL, 0, 4, 0, 0, 0, 0);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 4, 4), OK);
	around[0] = *bench_at(bench, BLOB + 7);
	around[1] = *bench_at(bench, BLOB + 100);
	memcpy(around + 2, bench_at(bench, BLOB + 4097), 14);
	status = (struct loopback_status *)around;
	assert_int_equal(le32toh(status->state), LOOPBACK_DONE);
	assert_int_equal(status->error, 0);
	assert_int_equal(*bench_at(bench, BLOB + 4097 + 14), 0x5a);
}

/**
 * struct refused - a command that must not run
 * @name: for the message
 * @c: it
 * @error: enum loopback_error
 */
struct refused {
	const char *name;
	struct loopback_command c;
	uint32_t error;
};

/* Good commands around it: neither may run. */
static void check_refused(struct bench *bench, const struct refused *r, struct model *model)
{
	struct loopback_command c[] = {
		op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, SIZE),
		r->c,
		op(LOOPBACK_OP_FILL, 2, 2, 0, 0, 0, SIZE),
	};
	struct loopback_status *status = status_at(bench, 64);

	if (do_submit(bench, CTX, c, 3, 5, 64) != ERR_PARAM)
		fail_msg("%s: was not refused", r->name);
	if (le32toh(status->state) != LOOPBACK_REFUSED || le32toh(status->index) != 1 ||
	    le32toh(status->error) != r->error)
		fail_msg("%s: state %u index %u error %u", r->name, status->state, status->index,
			 status->error);
	memset(status, 0, sizeof(*status));
	model_check(bench, model);
}

static void test_refused(void **state)
{
	struct bench *bench = *state;
	const uint64_t top = ~0ull;
	const struct refused list[] = {
		{ "op 0", op(0, 0, 1, 0, 2, 0, 1), LOOPBACK_ERR_OP },
		{ "op 7", op(7, 0, 1, 0, 2, 0, 1), LOOPBACK_ERR_OP },
		{ "no dst", op(LOOPBACK_OP_FILL, 0, 0, 0, 0, 0, 1), LOOPBACK_ERR_RESOURCE },
		{ "unknown dst", op(LOOPBACK_OP_FILL, 0, 99, 0, 0, 0, 1), LOOPBACK_ERR_RESOURCE },
		{ "no src", op(LOOPBACK_OP_COPY, 0, 1, 0, 0, 0, 1), LOOPBACK_ERR_RESOURCE },
		{ "unknown src", op(LOOPBACK_OP_SHA256, 0, 1, 0, 99, 0, 1), LOOPBACK_ERR_RESOURCE },
		{ "dst beyond", op(LOOPBACK_OP_FILL, 0, 1, 1, 0, 0, SIZE), LOOPBACK_ERR_RANGE },
		{ "dst wraps", op(LOOPBACK_OP_FILL, 0, 1, PAGE, 0, 0, top), LOOPBACK_ERR_RANGE },
		{ "dst offset", op(LOOPBACK_OP_FILL, 0, 1, top, 0, 0, 1), LOOPBACK_ERR_RANGE },
		{ "src beyond", op(LOOPBACK_OP_COPY, 0, 1, 0, 2, SIZE - 1, 2), LOOPBACK_ERR_RANGE },
		{ "src wraps", op(LOOPBACK_OP_SHA256, 0, 1, 0, 2, 1, top), LOOPBACK_ERR_RANGE },
		{ "digest beyond", op(LOOPBACK_OP_SHA256, 0, 1, SIZE - 31, 2, 0, 1),
		  LOOPBACK_ERR_RANGE },
		{ "stats beyond", op(LOOPBACK_OP_STATS, 0, 1, SIZE - 8, 0, 0, 0),
		  LOOPBACK_ERR_RANGE },
		{ "blob beyond", op(LOOPBACK_OP_FILL, 0, 4, 0, 0, 0, BLOB_SIZE + 1),
		  LOOPBACK_ERR_RANGE },
		{ "copy overlaps", op(LOOPBACK_OP_COPY, 0, 1, 0, 1, 99, 100), LOOPBACK_ERR_RANGE },
		{ "copy to itself", op(LOOPBACK_OP_COPY, 0, 1, 5, 1, 5, 1), LOOPBACK_ERR_RANGE },
		{ "invert overlaps", op(LOOPBACK_OP_INVERT, 0, 1, 1, 1, 0, 2), LOOPBACK_ERR_RANGE },
		{ "fill read-only", op(LOOPBACK_OP_FILL, 0, 3, 0, 0, 0, 1), LOOPBACK_ERR_RDONLY },
		{ "copy to read-only", op(LOOPBACK_OP_COPY, 0, 3, 0, 1, 0, 1),
		  LOOPBACK_ERR_RDONLY },
		{ "invert read-only", op(LOOPBACK_OP_INVERT, 0, 3, 0, 3, 0, 1),
		  LOOPBACK_ERR_RDONLY },
		{ "digest in read-only", op(LOOPBACK_OP_SHA256, 0, 3, 0, 1, 0, 1),
		  LOOPBACK_ERR_RDONLY },
		{ "stats in read-only", op(LOOPBACK_OP_STATS, 0, 3, 0, 0, 0, 0),
		  LOOPBACK_ERR_RDONLY },
		{ "fault unknown", op_inject(5, 0, 0, 0, 0), LOOPBACK_ERR_OP },
		{ "fault not an answer", op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 0, 0x100),
		  LOOPBACK_ERR_RANGE },
		{ "delay for ever", op_inject(LOOPBACK_FAULT_DELAY, 0, 0, 0, top),
		  LOOPBACK_ERR_RANGE },
	};
	static struct model model;
	size_t i;

	model_init(bench, &model);
	*bench_at(bench, READ_ONLY) = 0x77;
	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		check_refused(bench, &list[i], &model);
	assert_int_equal(*bench_at(bench, READ_ONLY), 0x77);
	/* What is not attached any more is not there. */
	assert_int_equal(do_detach(bench, CTX, 4), OK);
	check_refused(bench,
		      &(struct refused){ "detached", op(LOOPBACK_OP_FILL, 0, 4, 0, 0, 0, 1),
					 LOOPBACK_ERR_RESOURCE },
		      &model);
}

static void test_read_only_can_be_read(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_COPY, 0, 1, 0, 3, 10, 1);

	*bench_at(bench, READ_ONLY + 10) = 0x42;
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, 64), OK);
	assert_int_equal(*bench_at(bench, scattered[0][0].addr), 0x42);
}

static void test_status_refused(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, SIZE);
	static struct model model;

	model_init(bench, &model);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 99, 0), ERR_PARAM);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 3, 0), ERR_PARAM);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, 2), ERR_PARAM);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, PAGE - 12), ERR_PARAM);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, ~3ull), ERR_PARAM);
	model_check(bench, &model);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 5, PAGE - 16), OK);
	assert_int_equal(le32toh(status_at(bench, PAGE - 16)->state), LOOPBACK_DONE);
}

static void test_malformed(void **state)
{
	struct bench *bench = *state;
	struct loopback_command many[LOOPBACK_MAX_COMMANDS];
	struct {
		struct virtio_gpu_cmd_submit cmd;
		struct loopback_submit head;
		struct loopback_command c;
	} s = {
		.cmd = { .hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D, CTX),
			 .size = htole32(sizeof(s) - sizeof(s.cmd)) },
		.head = { .magic = htole32(LOOPBACK_MAGIC),
			  .nr_commands = htole32(1),
			  .status_res = htole32(5),
			  .status_offset = htole64(64) },
		.c = op(LOOPBACK_OP_FILL, 1, 1, 0, 0, 0, 1),
	};
	unsigned int i;

	assert_int_equal(DO(bench, s), OK);
	assert_status(bench, LOOPBACK_DONE, 0, 0);
	s.head.magic++;
	assert_int_equal(DO(bench, s), ERR_PARAM);
	assert_status(bench, LOOPBACK_PENDING, 0, 0);
	s.head.magic--;
	s.head.reserved = 1;
	assert_int_equal(DO(bench, s), ERR_PARAM);
	assert_status(bench, LOOPBACK_REFUSED, 0, LOOPBACK_ERR_OP);
	s.head.reserved = 0;
	for (i = 0; i < 3; i++) {
		static const uint32_t wrong[] = { 0, 2, 0xffffffff };

		s.head.nr_commands = htole32(wrong[i]);
		assert_int_equal(DO(bench, s), ERR_PARAM);
		assert_status(bench, LOOPBACK_REFUSED, 0, LOOPBACK_ERR_OP);
	}
	/* Only a part of the head. */
	s.cmd.size = htole32(sizeof(s.head) - 1);
	assert_int_equal(bench_do(bench, &s, sizeof(s.cmd) + sizeof(s.head) - 1), ERR_PARAM);
	/* As many as can be. */
	for (i = 0; i < LOOPBACK_MAX_COMMANDS; i++)
		many[i] = op(LOOPBACK_OP_FILL, i, 1, i, 0, 0, 1);
	assert_int_equal(do_submit(bench, CTX, many, LOOPBACK_MAX_COMMANDS, 5, 64), OK);
	assert_int_equal(*bench_at(bench, scattered[0][0].addr + 63), 63);
}

static void test_stats(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c[] = {
		op(LOOPBACK_OP_FILL, 0, 1, 0, 0, 0, 1),
		op(LOOPBACK_OP_STATS, 0, 2, PAGE - 4, 0, 0, 0),
	};
	static unsigned char linear[SIZE];
	struct loopback_stats s;

	assert_int_equal(do_destroy(bench, 3), OK);
	assert_int_equal(do_destroy(bench, 3), ERR_RESOURCE);
	assert_int_equal(do_submit(bench, CTX, c, 2, 0, 0), OK);
	transfer(bench, scattered[1], linear, false);
	memcpy(&s, linear + PAGE - 4, sizeof(s));
	assert_int_equal(le64toh(s.userptr_resources), 3);
	assert_int_equal(le64toh(s.userptr_segments), 2 * NR_PAGES + 1);
	assert_int_equal(le64toh(s.userptr_runs), 2 * NR_PAGES + 1);
	assert_int_equal(le64toh(s.userptr_bytes), 2 * SIZE + PAGE);
	assert_int_equal(le64toh(s.blob_resources), 1);
	assert_int_equal(le64toh(s.contexts), 1);
	assert_int_equal(le64toh(s.commands), bench->nr);
	assert_int_equal(le64toh(s.userptr_commands), 4 + 2);
	assert_int_equal(le64toh(s.errors), 1);
	assert_int_equal(le64toh(s.userptr_ring_bytes),
			 4 * sizeof(struct virtio_gpu_resource_create_userptr) +
				 (2 * NR_PAGES + 2) * sizeof(struct virtio_gpu_mem_entry) +
				 2 * sizeof(struct virtio_gpu_resource_destroy_userptr));
	assert_true(le64toh(s.ring_bytes) > le64toh(s.userptr_ring_bytes));
	assert_int_equal(le64toh(s.userptr_created), 4);
	assert_int_equal(le64toh(s.userptr_destroyed), 1);
	assert_int_equal(le64toh(s.jobs), 1);
}

/* What the guest sees begins anew with a reset. */
static void test_stats_after_reset(void **state)
{
	struct bench *bench = *state;
	struct loopback_command c = op(LOOPBACK_OP_STATS, 0, 1, 0, 0, 0, 0);
	struct piece page = { BIG, PAGE };
	struct loopback_stats s;

	gpu_device_reset(bench->dev);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	assert_int_equal(do_userptr(bench, 1, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, CTX, 1), OK);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 0, 0), OK);
	memcpy(&s, bench_at(bench, BIG), sizeof(s));
	assert_int_equal(le64toh(s.commands), 4);
	assert_int_equal(le64toh(s.userptr_created), 1);
	assert_int_equal(le64toh(s.userptr_bytes), PAGE);
	assert_int_equal(le64toh(s.jobs), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ops_across_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_commands_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sha256_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blob_of_odd_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only_can_be_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stats_after_reset, setup, teardown),
	};

	return cmocka_run_group_tests_name("loopback ops", tests, NULL, NULL);
}
