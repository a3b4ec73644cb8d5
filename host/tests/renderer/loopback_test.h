/* SPDX-License-Identifier: MIT */
/*
 * loopback_test: what the tests of the reference context share
 *
 * Commands go through the whole device, as from a driver.  Resource 1 and 2
 * are scattered pages in reverse order, 3 is a read-only one, 4 a guest blob
 * of odd pieces, 5 a page for the status.  A model has the bytes of 1 and 2.
 */
#ifndef LOOPBACK_TEST_H
#define LOOPBACK_TEST_H

#include "tests/gpu/gpu_test.h"
#include "util/clock.h"

#include <openssl/sha.h>

/* Most of it is never touched; a resource has no more bytes than that. */
#define RAM_SIZE (8ull << 30)
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

static const struct piece blob_pieces[] = {
	{ BLOB + 3, 5 },
	{ BLOB + 100, 1 },
	{ BLOB + 4097, 4000 },
	{ BLOB + 9001, 7 },
};
#define BLOB_SIZE (5 + 1 + 4000 + 7)

static struct piece scattered[2][NR_PAGES];

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	bench_free(*state);
	return 0;
}

/* Copy between a resource's bytes and a linear buffer, by our own walk. */
static inline void transfer(struct bench *bench, const struct piece *pieces, unsigned char *linear,
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

static inline struct loopback_status *status_at(struct bench *bench, uint64_t offset)
{
	return (struct loopback_status *)bench_at(bench, STATUS + offset);
}

static inline void assert_status(struct bench *bench, uint32_t state, uint32_t index,
				 uint32_t error)
{
	struct loopback_status *status = status_at(bench, 64);

	assert_int_equal(le32toh(status->state), state);
	assert_int_equal(le32toh(status->index), index);
	assert_int_equal(le32toh(status->error), error);
	memset(status, 0, sizeof(*status));
}

static inline void fill_random(unsigned char *buffer, size_t len)
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

static inline void model_init(struct bench *bench, struct model *model)
{
	int i;

	for (i = 0; i < 2; i++) {
		fill_random(model->bytes[i], SIZE);
		transfer(bench, scattered[i], model->bytes[i], true);
	}
}

static inline void model_check(struct bench *bench, const struct model *model)
{
	static unsigned char now[SIZE];
	int i;

	for (i = 0; i < 2; i++) {
		transfer(bench, scattered[i], now, false);
		assert_memory_equal(now, model->bytes[i], SIZE);
	}
}

static inline void model_run(struct model *model, const struct loopback_command *c)
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

/* A big resource in one run, for jobs that take their time. */
static inline void add_big(struct bench *bench, uint32_t res, uint64_t addr)
{
	struct piece big = { addr, BIG_SIZE };

	assert_int_equal(do_userptr(bench, res, 0, &big, 1), OK);
	assert_int_equal(do_attach(bench, CTX, res), OK);
}

#endif /* LOOPBACK_TEST_H */
