// SPDX-License-Identifier: MIT
/*
 * test_virtqueue: split rings, with the test as a good driver
 */
#include "tests/vhost/virtqueue_test.h"

static void empty_ring(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;

	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_EMPTY);
	expect_alive(f);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_EMPTY);
}

static void direct_chain(void **state)
{
	struct fixture *f = *state;
	struct vring_used_elem used;
	struct vq_chain chain;

	memcpy(data(f, 0), "abc", 3);
	memcpy(data(f, 1000), "defgh", 5);
	ring_desc(&f->ring, 7, RING_DATA, 3, N, 2);
	ring_desc(&f->ring, 2, RING_DATA + 1000, 5, N, 9);
	ring_desc(&f->ring, 9, RING_DATA + 2000, 4, N | W, 0);
	ring_desc(&f->ring, 0, RING_DATA + 3000, 6, W, 0);
	ring_offer(&f->ring, 7);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 8);
	assert_memory_equal(chain.data, "abcdefgh", 8);
	assert_int_equal(chain.capacity, 10);
	assert_int_equal(chain.nr_pieces, 2);
	/* The copy is ours: what the guest does now is not seen. */
	memset(data(f, 0), 'x', 3);
	assert_memory_equal(chain.data, "abcdefgh", 8);
	assert_int_equal(ring_used_waiting(&f->ring), 0);
	virtqueue_push(&f->vq, &chain, "0123456", 7);
	vq_chain_destroy(&chain);
	used = ring_take_used(&f->ring);
	assert_int_equal(used.id, 7);
	assert_int_equal(used.len, 7);
	assert_memory_equal(data(f, 2000), "0123\0", 5);
	assert_memory_equal(data(f, 3000), "456\0", 4);
}

static void a_long_answer_is_cut_off(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;

	ring_desc(&f->ring, 0, RING_DATA, 3, N, 1);
	ring_desc(&f->ring, 1, RING_DATA + 100, 2, W | N, 2);
	ring_desc(&f->ring, 2, RING_DATA + 200, 2, W, 0);
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	virtqueue_push(&f->vq, &chain, "123456", 6);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).len, 4);
	assert_memory_equal(data(f, 100), "12\0", 3);
	assert_memory_equal(data(f, 200), "34\0", 3);
}

static void indirect_chain(void **state)
{
	const uint32_t at = RING_DATA + 0x10000;
	struct fixture *f = *state;
	struct vq_chain chain;

	memcpy(data(f, 0), "in", 2);
	memcpy(data(f, 50), "direct", 6);
	/* Out of order within the table. */
	ring_indirect(&f->guest, at, 0, RING_DATA, 2, N, 3);
	ring_indirect(&f->guest, at, 3, RING_DATA + 50, 6, N, 1);
	ring_indirect(&f->guest, at, 1, RING_DATA + 100, 8, W, 0);
	ring_desc(&f->ring, 5, at, 4 * sizeof(struct vring_desc), I, 0);
	ring_offer(&f->ring, 5);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 8);
	assert_memory_equal(chain.data, "indirect", 8);
	assert_int_equal(chain.capacity, 8);
	virtqueue_push(&f->vq, &chain, "answered", 8);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).len, 8);
	assert_memory_equal(data(f, 100), "answered", 8);
	expect_alive(f);
}

static void indirect_after_direct(void **state)
{
	const uint32_t at = RING_DATA + 0x10000;
	struct fixture *f = *state;
	struct vq_chain chain;

	memcpy(data(f, 0), "ab", 2);
	ring_indirect(&f->guest, at, 0, RING_DATA + 1, 1, N, 1);
	ring_indirect(&f->guest, at, 1, RING_DATA + 100, 8, W, 0);
	ring_desc(&f->ring, 5, RING_DATA, 1, N, 6);
	ring_desc(&f->ring, 6, at, 2 * sizeof(struct vring_desc), I, 0);
	ring_offer(&f->ring, 5);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_memory_equal(chain.data, "ab", 2);
	assert_int_equal(chain.capacity, 8);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
}

/* Scattered over more descriptors than the ring has: a request of a big list. */
static void indirect_table_larger_than_the_ring(void **state)
{
	const uint32_t at = RING_DATA + 0x100000;
	const unsigned int nr = 2049;
	struct fixture *f = *state;
	struct vq_chain chain;
	unsigned int i;

	for (i = 0; i < nr - 1; i++) {
		memset(data(f, i * 8), (int)i, 4);
		ring_indirect(&f->guest, at, i, RING_DATA + i * 8, 4, N, i + 1);
	}
	ring_indirect(&f->guest, at, i, RING_DATA + 0x200000, 24, W, 0);
	ring_desc(&f->ring, 5, at, nr * sizeof(struct vring_desc), I, 0);
	ring_offer(&f->ring, 5);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 4 * (nr - 1));
	for (i = 0; i < nr - 1; i++)
		assert_int_equal(chain.data[4 * i + 3], (unsigned char)i);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).id, 5);
	expect_alive(f);
}

static void chains_without_one_half(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;

	ring_desc(&f->ring, 0, RING_DATA + 10, 4, W, 0);
	ring_desc(&f->ring, 1, RING_DATA + 20, 4, 0, 0);
	ring_offer(&f->ring, 0);
	ring_offer(&f->ring, 1);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 0);
	assert_non_null(chain.data);
	virtqueue_push(&f->vq, &chain, "1234", 4);
	vq_chain_destroy(&chain);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 4);
	assert_int_equal(chain.capacity, 0);
	virtqueue_push(&f->vq, &chain, "1234", 4);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).len, 4);
	assert_int_equal(ring_take_used(&f->ring).len, 0);
}

static void zero_length_descriptors_are_skipped(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;

	memcpy(data(f, 0), "zero", 4);
	ring_desc(&f->ring, 0, RING_DATA, 2, N, 1);
	ring_desc(&f->ring, 1, 0xf0000000, 0, N, 2); /* not memory, not read */
	ring_desc(&f->ring, 2, RING_DATA + 2, 2, N, 3);
	ring_desc(&f->ring, 3, RING_DATA + 10, 0, N | W, 4);
	ring_desc(&f->ring, 4, RING_DATA + 20, 2, W, 0);
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 4);
	assert_memory_equal(chain.data, "zero", 4);
	assert_int_equal(chain.nr_pieces, 1);
	virtqueue_push(&f->vq, &chain, "ok", 2);
	vq_chain_destroy(&chain);
	assert_memory_equal(data(f, 20), "ok", 2);
}

static void answers_in_any_order_and_indices_that_wrap(void **state)
{
	struct vq_chain chains[RING_SIZE];
	struct fixture *f = *state;
	unsigned int round, i;

	/* 65530: avail and used index wrap after six requests. */
	virtqueue_stop(&f->vq);
	start(f, RING_SIZE, 65530);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < RING_SIZE; i++) {
			*data(f, 64 * i) = (unsigned char)(i + round);
			ring_desc(&f->ring, i, RING_DATA + 64 * i, 1, 0, 0);
			ring_offer(&f->ring, i);
		}
		for (i = 0; i < RING_SIZE; i++) {
			assert_int_equal(virtqueue_pop(&f->vq, &chains[i]), VQ_REQUEST);
			assert_int_equal(chains[i].data[0], i + round);
		}
		for (i = 0; i < RING_SIZE; i++) {
			/* 5 is coprime to 16: every one once, out of order. */
			struct vq_chain *chain = &chains[i * 5 % RING_SIZE];

			virtqueue_push(&f->vq, chain, NULL, 0);
			vq_chain_destroy(chain);
			assert_int_equal(ring_take_used(&f->ring).id, i * 5 % RING_SIZE);
		}
	}
	assert_int_equal(f->ring.used->idx, (uint16_t)(65530 + 3 * RING_SIZE));
}

static void a_chain_of_every_descriptor_is_no_loop(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;
	unsigned int i;

	for (i = 0; i < RING_SIZE; i++)
		ring_desc(&f->ring, i, RING_DATA + i, 1, i + 1 < RING_SIZE ? N : 0, i + 1);
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, RING_SIZE);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
}

static void only_the_room_of_an_answer_is_kept(void **state)
{
	static const struct {
		uint32_t len, nr, kept;
	} cases[] = {
		{ 1, 1500, VIRTQUEUE_MAX_ANSWER },
		{ 1000, 4, 2 },
		{ 4096, 3, 1 },
		{ 100, 3, 3 },
	};
	const uint32_t at = RING_DATA + (20u << 20);
	unsigned char answer[VIRTQUEUE_MAX_ANSWER];
	struct fixture *f = *state;
	struct vring_used_elem used;
	struct vq_chain chain;
	unsigned int c, i;

	memset(answer, 0x5a, sizeof(answer));
	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		uint32_t nr = cases[c].nr, len = cases[c].len, kept = cases[c].kept;
		uint32_t fits = len * kept < sizeof(answer) ? len * kept : sizeof(answer);

		memset(data(f, 0), 0, 16384);
		for (i = 0; i < nr; i++)
			ring_indirect(&f->guest, at, i, RING_DATA + i * len, len,
				      i + 1 < nr ? W | N : W, i + 1);
		ring_desc(&f->ring, 0, at, nr * sizeof(struct vring_desc), I, 0);
		ring_offer(&f->ring, 0);
		assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
		assert_int_equal(chain.nr_pieces, kept);
		assert_int_equal(chain.capacity, len * kept);
		virtqueue_push(&f->vq, &chain, answer, sizeof(answer));
		vq_chain_destroy(&chain);
		used = ring_take_used(&f->ring);
		assert_int_equal(used.len, fits);
		assert_memory_equal(data(f, 0), answer, fits);
		assert_int_equal(*data(f, fits), 0);
	}
}

static void bad_set_up(void **state)
{
	static const uint32_t sizes[] = { 0, 3, 255, 4096, 65536, 0x80000000 };
	struct fixture *f = *state;
	unsigned int i;

	assert_int_equal(virtqueue_set_size(&f->vq, 8), -EBUSY);
	assert_int_equal(addresses(f), -EBUSY);
	assert_int_equal(virtqueue_start(&f->vq), -EBUSY);
	virtqueue_stop(&f->vq);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(virtqueue_set_size(&f->vq, 16), 0);
		assert_int_equal(addresses(f), 0);
		assert_int_equal(virtqueue_set_size(&f->vq, sizes[i]), -EINVAL);
		/* And the size from before is no longer good. */
		assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
		assert_int_equal(addresses(f), -EINVAL);
	}
	assert_int_equal(virtqueue_set_size(&f->vq, VIRTQUEUE_MAX_SIZE), 0);
	assert_int_equal(virtqueue_start(&f->vq), -EINVAL); /* no addresses */

	const uint64_t user = RING_USER_BASE, end = RING_USER_BASE + RING_MEMORY_SIZE;
	const struct {
		uint64_t desc, avail, used;
		int err;
	} bad[] = {
		{ user + 8, user + 4096, user + 8192, -EINVAL },
		{ user, user + 4097, user + 8192, -EINVAL },
		{ user, user + 4096, user + 8194, -EINVAL },
		{ end - 15 * 16, user, user, -EFAULT },
		{ user, end - 34, user, -EFAULT },
		{ user, user, end - 128, -EFAULT },
		{ 0, user, user, -EFAULT },
		{ RING_GUEST_BASE, user, user, -EFAULT },
		{ UINT64_MAX - 15, user, user, -EFAULT },
	};
	assert_int_equal(virtqueue_set_size(&f->vq, 16), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(virtqueue_set_addresses(&f->vq, bad[i].desc, bad[i].avail,
							 bad[i].used),
				 bad[i].err);
		assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
	}
	/* The very last place in which a ring of 16 fits. */
	assert_int_equal(virtqueue_set_addresses(&f->vq, end - 256, end - 36, end - 132), 0);
}

static void memory_that_goes_away(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain, other;

	ring_desc(&f->ring, 0, RING_DATA, 4, W, 0);
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(guest_memory_set(f->gm, NULL, 0), 0);
	assert_false(virtqueue_away(&f->vq));
	virtqueue_memory_changed(&f->vq);
	assert_true(virtqueue_away(&f->vq));
	/* The old mapping is gone: an access to it would be a crash. */
	virtqueue_push(&f->vq, &chain, "1234", 4);
	assert_false(virtqueue_wants_signal(&f->vq));
	ring_desc(&f->ring, 1, RING_DATA + 8, 4, 0, 0);
	ring_offer(&f->ring, 1);
	assert_int_equal(virtqueue_pop(&f->vq, &other), VQ_AWAY);
	assert_null(f->vq.broken);
	assert_int_equal(f->ring.used->idx, 0);
	/* It comes back, and goes on. */
	table(f);
	virtqueue_memory_changed(&f->vq);
	assert_false(virtqueue_away(&f->vq));
	virtqueue_push(&f->vq, &chain, "1234", 4);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).len, 4);
	assert_int_equal(virtqueue_pop(&f->vq, &other), VQ_REQUEST);
	virtqueue_push(&f->vq, &other, NULL, 0);
	vq_chain_destroy(&other);
	ring_take_used(&f->ring);
	expect_alive(f);
}

static void memory_that_comes_late(void **state)
{
	struct fixture *f = *state;

	virtqueue_stop(&f->vq);
	assert_int_equal(virtqueue_set_size(&f->vq, RING_SIZE), 0);
	assert_int_equal(guest_memory_set(f->gm, NULL, 0), 0);
	assert_int_equal(addresses(f), -EFAULT);
	assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
	assert_false(virtqueue_away(&f->vq));
	table(f);
	virtqueue_memory_changed(&f->vq);
	assert_int_equal(virtqueue_start(&f->vq), 0);
	expect_alive(f);
	/* Not what was wrong in itself, and not after another size. */
	virtqueue_stop(&f->vq);
	assert_int_equal(virtqueue_set_addresses(&f->vq, RING_USER_BASE + 8, RING_USER_BASE,
						 RING_USER_BASE),
			 -EINVAL);
	virtqueue_memory_changed(&f->vq);
	assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
	assert_int_equal(addresses(f), 0);
	assert_int_equal(virtqueue_set_size(&f->vq, RING_SIZE), 0);
	virtqueue_memory_changed(&f->vq);
	assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
}

static void memory_that_moves(void **state)
{
	struct fixture *f = *state;
	struct guest_region regions[2] = {
		{ RING_GUEST_BASE, RING_DATA, RING_USER_BASE, 0, f->guest.fd },
		{ RING_GUEST_BASE + (1ull << 32), RING_DATA, RING_USER_BASE + (1ull << 32),
		  RING_DATA, f->guest.fd },
	};
	struct vq_chain chain;

	/* The answer's place goes, the ring stays. */
	ring_desc(&f->ring, 0, RING_DATA, 4, W, 0);
	ring_offer(&f->ring, 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(guest_memory_set(f->gm, regions, 2), 0);
	virtqueue_memory_changed(&f->vq);
	assert_null(f->vq.broken);
	virtqueue_push(&f->vq, &chain, "1234", 4);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).len, 0);
	assert_memory_equal(data(f, 0), "\0\0\0\0", 4);
}

static void signals_as_the_guest_wants(void **state)
{
	struct fixture *f = *state;

	assert_true(virtqueue_wants_signal(&f->vq));
	f->ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	assert_false(virtqueue_wants_signal(&f->vq));
	f->ring.avail->flags = 0;
	assert_true(virtqueue_wants_signal(&f->vq));
	virtqueue_stop(&f->vq);
	assert_false(virtqueue_wants_signal(&f->vq));
}

static void a_stopped_ring_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;

	expect_alive(f);
	ring_desc(&f->ring, 0, RING_DATA, 4, 0, 0);
	ring_offer(&f->ring, 0);
	virtqueue_stop(&f->vq);
	assert_int_equal(f->vq.next_avail, 1);
	assert_int_equal(virtqueue_start(&f->vq), 0);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).id, 0);
}

/* Three pieces of one and a half slices each, and where each byte comes from. */
static void offer_large(struct fixture *f)
{
	const uint32_t len = VIRTQUEUE_COPY / 2 * 3;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		memset(data(f, i * len), 'a' + (int)i, len);
		ring_desc(&f->ring, i, RING_DATA + i * len, len, N, i + 1);
	}
	ring_desc(&f->ring, 3, RING_DATA + 3 * len, 8, W, 0);
	ring_offer(&f->ring, 0);
}

static void a_large_request_comes_in_parts(void **state)
{
	const uint32_t len = VIRTQUEUE_COPY / 2 * 3;
	struct fixture *f = *state;
	struct vq_chain chain;
	unsigned int i;

	offer_large(f);
	ring_desc(&f->ring, 8, RING_DATA, 1, 0, 0);
	ring_offer(&f->ring, 8);
	for (i = 0; i < 4; i++) {
		assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_PART);
		assert_int_equal(f->vq.next_avail, 1);
	}
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.len, 3 * len);
	for (i = 0; i < 3 * len; i++)
		assert_int_equal(chain.data[i], 'a' + i / len);
	assert_int_equal(chain.capacity, 8);
	virtqueue_push(&f->vq, &chain, "answered", 8);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).len, 8);
	/* In order with what comes after it. */
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_REQUEST);
	assert_int_equal(chain.head, 8);
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
}

static void a_part_is_left_in_the_ring(void **state)
{
	struct fixture *f = *state;
	struct vq_chain chain;
	unsigned int i;

	virtqueue_forget_part(&f->vq);
	assert_int_equal(f->vq.next_avail, 0);
	offer_large(f);
	for (i = 0; i < 2; i++) {
		assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_PART);
		virtqueue_forget_part(&f->vq);
		assert_int_equal(f->vq.next_avail, 0);
		assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_PART);
		virtqueue_stop(&f->vq);
		assert_int_equal(f->vq.next_avail, 0);
		assert_int_equal(virtqueue_start(&f->vq), 0);
	}
	assert_int_equal(f->ring.used->idx, 0);
	while (virtqueue_pop(&f->vq, &chain) != VQ_REQUEST)
		;
	virtqueue_push(&f->vq, &chain, NULL, 0);
	vq_chain_destroy(&chain);
	assert_int_equal(ring_take_used(&f->ring).id, 0);
}

static void memory_that_goes_while_it_is_copied(void **state)
{
	struct fixture *f = *state;
	struct guest_region ring_only = { RING_GUEST_BASE, RING_DATA, RING_USER_BASE, 0,
					  f->guest.fd };
	struct vq_chain chain;

	offer_large(f);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_PART);
	assert_int_equal(guest_memory_set(f->gm, &ring_only, 1), 0);
	virtqueue_memory_changed(&f->vq);
	assert_int_equal(virtqueue_pop(&f->vq, &chain), VQ_DROPPED);
	assert_int_equal(ring_take_used(&f->ring).len, 0);
	table(f);
	virtqueue_memory_changed(&f->vq);
	expect_alive(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_ring),
		TEST(direct_chain),
		TEST(a_long_answer_is_cut_off),
		TEST(indirect_chain),
		TEST(indirect_after_direct),
		TEST(indirect_table_larger_than_the_ring),
		TEST(chains_without_one_half),
		TEST(zero_length_descriptors_are_skipped),
		TEST(answers_in_any_order_and_indices_that_wrap),
		TEST(a_chain_of_every_descriptor_is_no_loop),
		TEST(only_the_room_of_an_answer_is_kept),
		TEST(a_large_request_comes_in_parts),
		TEST(a_part_is_left_in_the_ring),
		TEST(memory_that_goes_while_it_is_copied),
		TEST(bad_set_up),
		TEST(memory_that_goes_away),
		TEST(memory_that_comes_late),
		TEST(memory_that_moves),
		TEST(signals_as_the_guest_wants),
		TEST(a_stopped_ring_goes_on_where_it_was),
	};

	return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
