/* SPDX-License-Identifier: MIT */
/*
 * virtqueue_test: what the tests of rings share
 *
 * One queue of RING_SIZE over a guest's memory; the test is its driver.
 */
#ifndef VIRTQUEUE_TEST_H
#define VIRTQUEUE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "memory/guest_memory.h"
#include "tests/vhost/ring_driver.h"
#include "vhost/virtqueue.h"

#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define I VRING_DESC_F_INDIRECT
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define RING_SIZE 16
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct fixture {
	struct test_guest guest;
	struct guest_memory *gm;
	struct virtqueue vq;
	struct test_ring ring;
};

static inline void table(struct fixture *f)
{
	struct guest_region r = {
		.guest_addr = RING_GUEST_BASE,
		.size = RING_MEMORY_SIZE,
		.user_addr = RING_USER_BASE,
		.fd = f->guest.fd,
	};

	assert_int_equal(guest_memory_set(f->gm, &r, 1), 0);
}

static inline int addresses(struct fixture *f)
{
	return virtqueue_set_addresses(&f->vq, RING_USER_BASE + ring_desc_at(&f->ring),
				       RING_USER_BASE + ring_avail_at(&f->ring),
				       RING_USER_BASE + ring_used_at(&f->ring));
}

static inline void start(struct fixture *f, uint32_t size, uint16_t base)
{
	test_ring_init(&f->ring, &f->guest, 0, size);
	f->ring.avail_idx = base;
	f->ring.used_idx = base;
	f->ring.avail->idx = base;
	f->ring.used->idx = base;
	assert_int_equal(virtqueue_set_size(&f->vq, size), 0);
	f->vq.next_avail = base;
	assert_int_equal(addresses(f), 0);
	assert_int_equal(virtqueue_start(&f->vq), 0);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	test_guest_init(&f->guest);
	f->gm = guest_memory_new();
	assert_non_null(f->gm);
	table(f);
	virtqueue_init(&f->vq, f->gm);
	start(f, RING_SIZE, 0);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	virtqueue_destroy(&f->vq);
	guest_memory_free(f->gm);
	test_guest_destroy(&f->guest);
	free(f);
	return 0;
}

static inline unsigned char *data(struct fixture *f, uint32_t offset)
{
	return f->guest.base + RING_DATA + offset;
}

/* The ring still serves a good request: the bad one before did no harm. */
static inline void expect_alive(struct fixture *f)
{
	struct vq_chain chain;
	struct vring_used_elem used;

	memcpy(data(f, 0), "alive", 5);
	ring_desc(&f->ring, 14, RING_DATA, 5, N, 15);
	ring_desc(&f->ring, 15, RING_DATA + 100, 5, W, 0);
	ring_offer(&f->ring, 14);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 5);
	assert_memory_equal(chain.data, "alive", 5);
	virtqueue_push(&f->vq, &chain, "ALIVE", 5);
	vq_chain_destroy(&chain);
	used = ring_take_used(&f->ring);
	assert_int_equal(used.id, 14);
	assert_int_equal(used.len, 5);
	assert_memory_equal(data(f, 100), "ALIVE", 5);
}

/* The chain at @head is refused, handed back empty, and the ring goes on. */
static inline void expect_dropped(struct fixture *f, uint16_t head)
{
	struct vring_used_elem used;
	struct vq_chain chain;

	ring_offer(&f->ring, head);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_DROPPED);
	assert_non_null(f->vq.bad_chain);
	used = ring_take_used(&f->ring);
	assert_int_equal(used.id, head);
	assert_int_equal(used.len, 0);
	expect_alive(f);
}

/* The ring is broken, stays so, takes and gives nothing, until it is restarted. */
static inline void expect_broken(struct fixture *f)
{
	struct vq_chain chain;
	uint16_t used = f->ring.used->idx;

	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_BROKEN);
	assert_non_null(f->vq.broken);
	f->ring.avail_idx = f->ring.avail->idx = f->vq.next_avail;
	ring_desc(&f->ring, 3, RING_DATA, 4, 0, 0);
	ring_offer(&f->ring, 3);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_BROKEN);
	assert_int_equal(f->ring.used->idx, used);
	assert_false(virtqueue_wants_signal(&f->vq));
	virtqueue_stop(&f->vq);
	start(f, RING_SIZE, 0);
	expect_alive(f);
}

#endif /* VIRTQUEUE_TEST_H */
