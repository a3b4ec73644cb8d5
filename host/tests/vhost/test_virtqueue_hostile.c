// SPDX-License-Identifier: MIT
/*
 * test_virtqueue_hostile: split rings, with the test as a bad driver
 */
#include <pthread.h>
#include <time.h>

#include "tests/vhost/virtqueue_test.h"

static void a_loop_ends(void **state)
{
	struct fixture *f = *state;

	ring_desc(&f->ring, 0, RING_DATA, 1, N, 1);
	ring_desc(&f->ring, 1, RING_DATA, 1, N, 0);
	expect_dropped(f, 0);
	ring_desc(&f->ring, 0, RING_DATA, 0, N, 0);
	expect_dropped(f, 0);
}

static void next_past_the_end(void **state)
{
	struct fixture *f = *state;

	ring_desc(&f->ring, 0, RING_DATA, 1, N, RING_SIZE);
	expect_dropped(f, 0);
	ring_desc(&f->ring, 0, RING_DATA, 1, N, 0xffff);
	expect_dropped(f, 0);
}

static void descriptors_outside_memory(void **state)
{
	struct fixture *f = *state;

	ring_desc(&f->ring, 0, RING_MEMORY_SIZE - 4, 5, 0, 0);
	expect_dropped(f, 0);
	ring_desc(&f->ring, 0, RING_MEMORY_SIZE - 4, 5, W, 0);
	expect_dropped(f, 0);
	f->ring.desc[0].addr = UINT64_MAX - 2;
	f->ring.desc[0].len = 5;
	expect_dropped(f, 0);
	f->ring.desc[0].addr = RING_GUEST_BASE - 1;
	expect_dropped(f, 0);
}

static void readable_after_writable(void **state)
{
	struct fixture *f = *state;

	ring_desc(&f->ring, 0, RING_DATA, 4, W | N, 1);
	ring_desc(&f->ring, 1, RING_DATA, 4, 0, 0);
	expect_dropped(f, 0);
}

static void bad_indirect_tables(void **state)
{
	const uint32_t at = RING_DATA + 0x10000, one = sizeof(struct vring_desc);
	static const uint32_t sizes[] = { 0, 1, 15, 17, 0xffffffff };
	struct fixture *f = *state;
	unsigned int i;

	ring_indirect(&f->guest, at, 0, RING_DATA, 4, 0, 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ring_desc(&f->ring, 0, at, sizes[i], I, 0);
		expect_dropped(f, 0);
	}
	/* With a next descriptor. */
	ring_desc(&f->ring, 1, RING_DATA, 4, W, 0);
	ring_desc(&f->ring, 0, at, one, I | N, 1);
	expect_dropped(f, 0);
	/* Outside memory, or partly. */
	ring_desc(&f->ring, 0, RING_MEMORY_SIZE, one, I, 0);
	expect_dropped(f, 0);
	ring_desc(&f->ring, 0, RING_MEMORY_SIZE - 8, one, I, 0);
	expect_dropped(f, 0);
	f->ring.desc[0].addr = UINT64_MAX - 3;
	expect_dropped(f, 0);
	/* Within another one. */
	ring_indirect(&f->guest, at, 0, at, one, I, 0);
	ring_desc(&f->ring, 0, at, one, I, 0);
	expect_dropped(f, 0);
	/* An index past its end. */
	ring_indirect(&f->guest, at, 0, RING_DATA, 4, N, 1);
	expect_dropped(f, 0);
	/* A loop in it. */
	ring_indirect(&f->guest, at, 0, RING_DATA, 0, N, 0);
	expect_dropped(f, 0);
	ring_indirect(&f->guest, at, 0, RING_DATA, 4, W | N, 0);
	expect_dropped(f, 0);
}

static void requests_are_bounded(void **state)
{
	const uint32_t at = RING_DATA + (20u << 20);
	struct fixture *f = *state;
	struct vq_chain chain;
	unsigned int i;

	ring_desc(&f->ring, 0, RING_DATA, VIRTQUEUE_MAX_REQUEST, 0, 0);
	ring_offer(&f->ring, 0);
	for (i = 0; i < VIRTQUEUE_MAX_REQUEST / VIRTQUEUE_COPY - 1; i++)
		assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_PART);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	assert_int_equal(chain.len, VIRTQUEUE_MAX_REQUEST);
	vq_chain_destroy(&chain);
	ring_take_used(&f->ring);
	ring_desc(&f->ring, 0, RING_DATA, VIRTQUEUE_MAX_REQUEST, N, 1);
	ring_desc(&f->ring, 1, RING_DATA, 1, N, 2);
	ring_desc(&f->ring, 2, RING_DATA, 64, W, 0);
	expect_dropped(f, 0);
	/* One descriptor more than a chain may have. */
	for (i = 0; i <= VIRTQUEUE_MAX_CHAIN; i++)
		ring_indirect(&f->guest, at, i, RING_DATA, 1, N, i + 1);
	((struct vring_desc *)(f->guest.base + at))[VIRTQUEUE_MAX_CHAIN].flags = 0;
	ring_desc(&f->ring, 0, at, (VIRTQUEUE_MAX_CHAIN + 1) * sizeof(struct vring_desc), I, 0);
	expect_dropped(f, 0);
	((struct vring_desc *)(f->guest.base + at))[VIRTQUEUE_MAX_CHAIN - 1].flags = 0;
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, VIRTQUEUE_MAX_CHAIN);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
}

static void available_index_that_jumps(void **state)
{
	struct fixture *f = *state;

	f->ring.avail->idx = RING_SIZE + 1;
	expect_broken(f);
	f->ring.avail->idx = f->vq.next_avail - 1; /* backwards */
	expect_broken(f);
}

static void head_past_the_end(void **state)
{
	struct fixture *f = *state;

	ring_offer(&f->ring, RING_SIZE);
	expect_broken(f);
	ring_offer(&f->ring, 0xffff);
	expect_broken(f);
}

static void a_request_offered_twice(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;

	ring_desc(&f->ring, 0, RING_DATA, 4, 0, 0);
	ring_offer(&f->ring, 0);
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	expect_broken(f);
	vq_chain_destroy(&chain);
}

struct scribbler {
	struct test_ring *ring;
	int stop;
};

/* A guest that changes descriptors, table and rings while they are read. */
static void *scribble(void *opaque)
{
	/* Per word of a descriptor: mostly in memory, some too long, all flags. */
	static const uint32_t masks[] = { 0x1ffffff, 0, 0x9fff, 0x000f0007 };
	struct scribbler *s = opaque;
	unsigned int seed = 1, word;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		uint32_t *words = (uint32_t *)s->ring->desc;

		seed = seed * 1103515245 + 12345;
		word = seed >> 16 & 63;
		__atomic_store_n(&words[word], seed & masks[word % 4], __ATOMIC_RELAXED);
		__atomic_store_n(&s->ring->avail->ring[seed >> 8 & 15], (seed >> 20) % 17,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&s->ring->avail->idx, s->ring->used->idx + (seed >> 27),
				 __ATOMIC_RELAXED);
	}
	return NULL;
}

static void a_ring_that_changes_while_it_is_read(void **state)
{
	struct fixture *f = *state;
	struct scribbler s = { .ring = &f->ring };
	struct guest_region low = {
		/* Addresses that the scribbler hits by chance. */
		.guest_addr = 0,
		.size = RING_MEMORY_SIZE,
		.user_addr = RING_USER_BASE,
		.fd = f->guest.fd,
	};
	unsigned int i, requests = 0, dropped = 0, broken = 0;
	const time_t deadline = time(NULL) + 60;
	struct vq_chain chain;
	pthread_t thread;

	virtqueue_stop(&f->vq);
	assert_int_equal(guest_memory_set(f->gm, &low, 1), 0);
	start(f, RING_SIZE, 0);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	/* Until each was seen often, which is a matter of how threads are scheduled. */
	for (i = 0; i < 50000 || requests < 100 || dropped < 100 || broken < 100; i++) {
		assert_true(time(NULL) < deadline);
		switch (virtqueue_pop(&f->vq, &chain)) {
		case VQ_REQUEST:
			virtqueue_push(&f->vq, &chain, "x", 1);
			vq_chain_destroy(&chain);
			requests++;
			break;
		case VQ_DROPPED:
			dropped++;
			break;
		case VQ_BROKEN:
			virtqueue_stop(&f->vq);
			assert_int_equal(virtqueue_start(&f->vq), 0);
			broken++;
			break;
		case VQ_EMPTY:
		case VQ_PART:
		case VQ_AWAY:
			break;
		}
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_loop_ends),
		TEST(next_past_the_end),
		TEST(descriptors_outside_memory),
		TEST(readable_after_writable),
		TEST(bad_indirect_tables),
		TEST(requests_are_bounded),
		TEST(available_index_that_jumps),
		TEST(head_past_the_end),
		TEST(a_request_offered_twice),
		TEST(a_ring_that_changes_while_it_is_read),
	};

	return cmocka_run_group_tests_name("virtqueue_hostile", tests, NULL, NULL);
}
