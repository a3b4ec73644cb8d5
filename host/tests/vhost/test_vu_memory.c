// SPDX-License-Identifier: MIT
/*
 * test_vu_memory: memory regions
 */
#include "tests/vhost/vhost_test.h"

static void several_regions_of_one_file(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region regions[2];
	} m = {
		{ .nr = 2 },
		{
			{ RING_GUEST_BASE + RING_DATA, RING_MEMORY_SIZE - RING_DATA,
			  RING_USER_BASE + (1ull << 40), RING_DATA },
			{ RING_GUEST_BASE, RING_DATA, RING_USER_BASE, 0 },
		},
	};
	int fds[2] = { f->guest.fd, f->guest.fd };

	start_rings(f);
	/* While the rings run, as with memory that is plugged in. */
	assert_false(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, sizeof(m), fds, 2));
	expect_served(f, 0);
	expect_served(f, 1);
}

static void a_table_without_the_ring(void **state)
{
	struct fixture *f = *state;

	start_rings(f);
	assert_false(refused_memory(f, 4096));
	assert_int_equal(signals(f->err[0]), 1);
	offer(f, 0, 0, "x");
	kick(f, 0);
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
	/* The one after it has it again. */
	assert_false(refused_memory(f, RING_MEMORY_SIZE));
	assert_string_equal(answer(f, 0, 0), "X");
	assert_int_equal(signals(f->err[0]), 0);
}

#define HALF (RING_MEMORY_SIZE / 2)

static bool refused_ram(struct fixture *f, uint32_t request, uint64_t size)
{
	return refused_region(f, request, RING_GUEST_BASE, size, RING_USER_BASE,
			      request == VHOST_USER_ADD_MEM_REG ? f->guest.fd : -1);
}

/* As memory is made larger: the region goes, and comes back with another size. */
static void a_running_ring_survives_its_region(void **state)
{
	const uint64_t one = 1;
	struct fixture *f = *state;
	unsigned int broken, round;

	start_rings(f);
	assert_false(refused_memory(f, HALF));
	expect_served(f, 0);
	for (round = 0; round < 2; round++) {
		f->dev.hold = true;
		offer(f, 0, 0, "pending");
		kick(f, 0);
		signals(f->call[0]);
		assert_false(
			refused_ram(f, VHOST_USER_REM_MEM_REG, round ? RING_MEMORY_SIZE : HALF));
		/* What comes now waits: an answer, and a request. */
		f->dev.hold = false;
		answer_pending(&f->dev, "LATE");
		pump(f);
		offer(f, 0, 4, "new");
		assert_int_equal(write(f->kick[0], &one, sizeof(one)), sizeof(one));
		pump(f);
		assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
		assert_int_equal(signals(f->call[0]), 0);
		assert_false(
			refused_ram(f, VHOST_USER_ADD_MEM_REG, round ? HALF : RING_MEMORY_SIZE));
		assert_int_equal(ring_take_used(&f->rings[0]).id, 0);
		assert_string_equal(answer(f, 0, 0), "LATE");
		assert_int_equal(ring_take_used(&f->rings[0]).id, 4);
		assert_string_equal(answer(f, 0, 4), "NEW");
		assert_true(signals(f->call[0]) > 0);
		expect_served(f, 0);
		expect_served(f, 1);
	}
	/* It was not even worth a word. */
	broken = 0;
	for (round = 0; round < 2; round++)
		broken += signals(f->err[round]) != 0;
	assert_int_equal(broken, 0);
}

static void a_ring_that_stops_while_its_memory_is_away(void **state)
{
	struct vhost_user_vring_state base = { 0, 0 };
	struct fixture *f = *state;

	start_rings(f);
	expect_served(f, 0);
	f->dev.hold = true;
	offer(f, 0, 0, "pending");
	kick(f, 0);
	assert_false(refused_ram(f, VHOST_USER_REM_MEM_REG, RING_MEMORY_SIZE));
	answer_pending(&f->dev, "LATE");
	pump(f);
	send_message(f, VHOST_USER_GET_VRING_BASE, 0, &base, sizeof(base));
	read_reply(f, VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
	assert_int_equal(base.num, 2);
	assert_false(refused_ram(f, VHOST_USER_ADD_MEM_REG, RING_MEMORY_SIZE));
	/* It was not handed back, and is not any more. */
	assert_int_equal(ring_used_waiting(&f->rings[0]), 0);
}

static void a_ring_whose_memory_comes_late(void **state)
{
	struct fixture *f = *state;

	negotiate(f, DEVICE_FEATURES | BIT(30));
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_CALL, 0, f->call[0]));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_NUM, 0, RING_SIZE));
	assert_true(refused_addr(f, 0, 0));
	assert_true(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
	assert_false(refused_ram(f, VHOST_USER_ADD_MEM_REG, RING_MEMORY_SIZE));
	assert_false(refused_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]));
	assert_false(refused_state(f, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	expect_served(f, 0);
}

static void bad_memory_tables(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vhost_user_memory table;
		struct vhost_user_region regions[100];
	} m;
	int fds[100];
	unsigned int i;

	start_rings(f);
	memset(&m, 0, sizeof(m));
	for (i = 0; i < 100; i++) {
		m.regions[i] = (struct vhost_user_region){ i << 12, 4096, i << 12, i << 12 };
		fds[i] = f->guest.fd;
	}
	m.table.nr = 65;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 65 * 32, fds, 65));
	m.table.nr = 0xffffffff;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 1));
	m.table.nr = 0x08000001; /* 32 times that is 32, in 32 bits */
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 1));
	m.table.nr = 2;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 2));
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 64, fds, 1));
	m.table.nr = 1;
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 32, fds, 2));
	m.table.nr = 2;
	fds[1] = f->kick[0];
	assert_true(refused_fds(f, VHOST_USER_SET_MEM_TABLE, &m, 8 + 64, fds, 2));
	assert_true(refused_memory(f, RING_MEMORY_SIZE + 1));
	/* The good table stays. */
	expect_served(f, 0);
}

static void bad_single_regions(void **state)
{
	struct fixture *f = *state;
	uint64_t ram;
	unsigned int i, nr = 0;

	start_rings(f);
	ram = guest_memory_bytes(f->gm);
	/* Overlapping, of no size, past the end of its file, without one. */
	assert_true(
		refused_region(f, VHOST_USER_ADD_MEM_REG, RING_GUEST_BASE, 0x1000, 0, f->guest.fd));
	assert_true(
		refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, 0, 1ull << 40, f->guest.fd));
	assert_true(refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, RING_MEMORY_SIZE + 4096,
				   1ull << 40, f->guest.fd));
	assert_true(refused_region(f, VHOST_USER_ADD_MEM_REG, 1ull << 40, 0x1000, 1ull << 40, -1));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	/* There is an end to it. */
	for (i = 1; i < 100; i++)
		nr += !refused_region(f, VHOST_USER_ADD_MEM_REG, (uint64_t)i << 40, 0x1000,
				      (uint64_t)i << 40, f->guest.fd);
	assert_int_equal(nr, 63);
	assert_true(
		refused_region(f, VHOST_USER_REM_MEM_REG, 99ull << 40, 0x1000, 99ull << 40, -1));
	for (i = 1; i <= 63; i++)
		assert_false(refused_region(f, VHOST_USER_REM_MEM_REG, (uint64_t)i << 40, 0x1000,
					    (uint64_t)i << 40, -1));
	assert_int_equal(guest_memory_bytes(f->gm), ram);
	expect_served(f, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(several_regions_of_one_file),
		TEST(a_table_without_the_ring),
		TEST(a_running_ring_survives_its_region),
		TEST(a_ring_that_stops_while_its_memory_is_away),
		TEST(a_ring_whose_memory_comes_late),
		TEST(bad_memory_tables),
		TEST(bad_single_regions),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("vu_memory", tests, NULL, NULL);
}
