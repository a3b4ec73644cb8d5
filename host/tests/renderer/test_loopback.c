// SPDX-License-Identifier: MIT
/*
 * test_loopback: the reference context, against a model
 *
 * Commands go through the whole device, as from a driver.  Resource 1 and 2
 * are scattered pages in reverse order, 3 is a read-only one, 4 a guest blob
 * of odd pieces, 5 a page for the status.
 */
#include "tests/gpu/gpu_test.h"

#include <openssl/sha.h>

#define RAM_SIZE (256ull << 20)
#define NR_PAGES 24
#define SIZE (NR_PAGES * PAGE)
#define SCATTERED_1 RAM_BASE
#define SCATTERED_2 (RAM_BASE + 0x100000)
#define READ_ONLY (RAM_BASE + 0x200000)
#define BLOB (RAM_BASE + 0x300000)
#define STATUS (RAM_BASE + 0x400000)
#define BIG (RAM_BASE + 0x1000000)
#define BIG_SIZE (96u << 20)
#define CTX 1
#define NO_FENCE ((struct fence){ 0, -1 })

static const struct piece blob_pieces[] = {
	{ BLOB + 3, 5 },
	{ BLOB + 100, 1 },
	{ BLOB + 4097, 4000 },
	{ BLOB + 9001, 7 },
};
#define BLOB_SIZE (5 + 1 + 4000 + 7)

static struct piece scattered[2][NR_PAGES];

static int setup(void **state)
{
	struct gpu_config config = bench_config();
	struct bench *bench = bench_new(&config, RAM_SIZE);
	struct piece page = { READ_ONLY, PAGE };
	struct piece status = { STATUS, PAGE };
	uint32_t res, i;

	for (i = 0; i < NR_PAGES; i++) {
		scattered[0][i] = (struct piece){ SCATTERED_1 + 2 * (NR_PAGES - i) * PAGE, PAGE };
		scattered[1][i] = (struct piece){ SCATTERED_2 + 3 * i * PAGE, PAGE };
	}
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	assert_int_equal(do_userptr(bench, 1, 0, scattered[0], NR_PAGES), OK);
	assert_int_equal(do_userptr(bench, 2, 0, scattered[1], NR_PAGES), OK);
	assert_int_equal(do_userptr(bench, 3, VIRTIO_GPU_USERPTR_RDONLY, &page, 1), OK);
	assert_int_equal(do_blob(bench, 4, VIRTIO_GPU_BLOB_MEM_GUEST, BLOB_SIZE, blob_pieces, 4),
			 OK);
	assert_int_equal(do_userptr(bench, 5, 0, &status, 1), OK);
	for (res = 1; res <= 5; res++)
		assert_int_equal(do_attach(bench, CTX, res), OK);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

/* Copy between a resource's bytes and a linear buffer, by our own walk. */
static void transfer(struct bench *bench, const struct piece *pieces, unsigned char *linear,
		     bool to_resource)
{
	uint64_t size = 0;
	unsigned int i;
	uint32_t at;

	for (i = 0; i < NR_PAGES; i++)
		size += pieces[i].len;
	for (i = 0; size && i < NR_PAGES; i++) {
		for (at = 0; at < pieces[i].len; at++, size--) {
			unsigned char *byte = bench_at(bench, pieces[i].addr + at);

			if (to_resource)
				*byte = *linear++;
			else
				*linear++ = *byte;
		}
	}
}

static struct loopback_status *status_at(struct bench *bench, uint64_t offset)
{
	return (struct loopback_status *)bench_at(bench, STATUS + offset);
}

static void assert_status(struct bench *bench, uint32_t state, uint32_t index, uint32_t error)
{
	struct loopback_status *status = status_at(bench, 64);

	assert_int_equal(le32toh(status->state), state);
	assert_int_equal(le32toh(status->index), index);
	assert_int_equal(le32toh(status->error), error);
	memset(status, 0, sizeof(*status));
}

static void fill_random(unsigned char *buffer, size_t len)
{
	static uint64_t x = 88172645463325252ull;

	while (len--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		*buffer++ = (unsigned char)x;
	}
}

/**
 * struct model - two linear copies of resources 1 and 2
 * @bytes: them
 */
struct model {
	unsigned char bytes[2][SIZE];
};

static void model_init(struct bench *bench, struct model *model)
{
	int i;

	for (i = 0; i < 2; i++) {
		fill_random(model->bytes[i], SIZE);
		transfer(bench, scattered[i], model->bytes[i], true);
	}
}

static void model_check(struct bench *bench, const struct model *model)
{
	static unsigned char now[SIZE];
	int i;

	for (i = 0; i < 2; i++) {
		transfer(bench, scattered[i], now, false);
		assert_memory_equal(now, model->bytes[i], SIZE);
	}
}

static void model_run(struct model *model, const struct loopback_command *c)
{
	unsigned char *dst = model->bytes[c->dst_res - 1] + c->dst_offset;
	unsigned char *src = c->src_res ? model->bytes[c->src_res - 1] + c->src_offset : NULL;
	uint64_t i;

	switch (c->op) {
	case LOOPBACK_OP_FILL:
		memset(dst, (int)c->arg, c->length);
		break;
	case LOOPBACK_OP_COPY:
		memcpy(dst, src, c->length);
		break;
	case LOOPBACK_OP_INVERT:
		for (i = 0; i < c->length; i++)
			dst[i] = (unsigned char)~src[i];
		break;
	case LOOPBACK_OP_SHA256:
		SHA256(src, c->length, dst);
		break;
	}
}

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

/* A big resource in one run, for jobs that take their time. */
static void add_big(struct bench *bench, uint32_t res, uint64_t addr)
{
	struct piece big = { addr, BIG_SIZE };

	assert_int_equal(do_userptr(bench, res, 0, &big, 1), OK);
	assert_int_equal(do_attach(bench, CTX, res), OK);
}

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
	start = now_ms();
	end = send_destroy(bench, 10);
	/* Not answered from within: the worker is in the memory. */
	assert_int_equal(end->order, 0);
	bench_wait(bench, end);
	assert_true(now_ms() - start < WAIT_MS / 2);
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
		start = now_ns();
		assert_int_equal(do_destroy(bench, 12), OK);
		time = now_ns() - start;
		resource = time < resource ? time : resource;
		assert_int_equal(do_ctx_create(bench, 77, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
		start = now_ns();
		assert_int_equal(do_ctx_destroy(bench, 77), OK);
		time = now_ns() - start;
		context = time < context ? time : context;
	}
	/* One with a job, which has to be found among them. */
	send_submit(bench, CTX, (struct fence){ 0, 0 }, &fill, 1, 0, 0);
	start = now_ns();
	assert_int_equal(do_destroy(bench, 11), OK);
	scan = now_ns() - start;
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
	uint64_t start = now_ms();

	add_big(bench, 10, BIG);
	running = submit_long(bench, (struct fence){ 1, 0 }, 10);
	queued = send_submit(bench, CTX, (struct fence){ 2, 0 }, &c, 1, 5, 32);
	wait_started(bench, BIG);
	gpu_device_reset(bench->dev);
	assert_true(now_ms() - start < WAIT_MS / 2);
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

static void arm(struct bench *bench, struct loopback_command fault)
{
	assert_int_equal(do_submit(bench, CTX, &fault, 1, 0, 0), OK);
}

static void test_inject_error(void **state)
{
	struct bench *bench = *state;
	struct piece page = { BIG, PAGE };

	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 1, 2,
			     ERR_MEMORY));
	assert_int_equal(do_userptr(bench, 20, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, CTX, 20), OK);
	assert_int_equal(do_userptr(bench, 21, 0, &page, 1), ERR_MEMORY);
	assert_int_equal(do_userptr(bench, 22, 0, &page, 1), ERR_MEMORY);
	assert_int_equal(do_userptr(bench, 23, 0, &page, 1), OK);
	/* It did nothing else. */
	assert_int_equal(do_destroy(bench, 21), ERR_RESOURCE);
	/* Type 0: any userptr command or attach, once if it says 0 times. */
	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 0, ERR_LIMIT));
	assert_int_equal(do_attach(bench, CTX, 23), ERR_LIMIT);
	assert_int_equal(do_attach(bench, CTX, 23), OK);
	/* A new one replaces the old one; a refused submission arms nothing. */
	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 5, ERR_LIMIT));
	arm(bench, op_inject(LOOPBACK_FAULT_NONE, 0, 0, 0, 0));
	assert_int_equal(do_destroy(bench, 23), OK);
	{
		struct loopback_command c[] = { op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 1, ERR_LIMIT),
						op(99, 0, 0, 0, 0, 0, 0) };

		assert_int_equal(do_submit(bench, CTX, c, 2, 0, 0), ERR_PARAM);
	}
	assert_int_equal(do_destroy(bench, 20), OK);
}

static void test_inject_delay(void **state)
{
	struct bench *bench = *state;
	struct answer *slow[2];
	uint64_t start;

	arm(bench,
	    op_inject(LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, 1, 200));
	start = now_ms();
	slow[0] = send_destroy(bench, 1);
	arm(bench,
	    op_inject(LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, 1, 50));
	slow[1] = send_destroy(bench, 2);
	/* It is done, though, and the ring keeps moving. */
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	assert_int_equal(slow[0]->order, 0);
	bench_wait(bench, slow[0]);
	assert_true(now_ms() - start >= 200);
	assert_true(slow[1]->order && slow[1]->order < slow[0]->order);
	assert_int_equal(answer_type(slow[0]), OK);
	assert_int_equal(answer_type(slow[1]), OK);
}

static void test_inject_drop(void **state)
{
	struct bench *bench = *state;
	struct answer *dropped;

	arm(bench,
	    op_inject(LOOPBACK_FAULT_DROP, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, 1, 0));
	dropped = send_destroy(bench, 1);
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	assert_int_equal(do_destroy(bench, 2), OK);
	assert_int_equal(dropped->order, 0);
	/* A reset hands it back, and disarms. */
	arm(bench, op_inject(LOOPBACK_FAULT_ERROR, VIRTIO_GPU_CMD_CTX_CREATE, 0, 1, ERR_LIMIT));
	gpu_device_reset(bench->dev);
	assert_int_equal(answer_type(dropped), ERR_UNSPEC);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
}

static void test_inject_needs_leave(void **state)
{
	struct gpu_config config = bench_config();
	struct loopback_command c = op_inject(LOOPBACK_FAULT_ERROR, 0, 0, 1, ERR_LIMIT);
	struct bench *bench;

	(void)state;
	config.allow_inject = false;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(do_ctx_create(bench, CTX, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	assert_int_equal(do_submit(bench, CTX, &c, 1, 0, 0), ERR_PARAM);
	assert_int_equal(do_destroy(bench, 1), ERR_RESOURCE);
	bench_free(bench);
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
		cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stats_after_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inject_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inject_delay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inject_drop, setup, teardown),
		cmocka_unit_test(test_inject_needs_leave),
	};

	return cmocka_run_group_tests_name("loopback", tests, NULL, NULL);
}
