// SPDX-License-Identifier: MIT
/*
 * test_threads: several threads, and processes
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake.h"

#define P FAKE_PAGE
#define BASE 0x100000ul
#define THREADS 6
#define ROUNDS 4000

static struct virtgpu_userptr *ctx;

static void on_revoked(void *data, const struct virtgpu_userptr_reg *reg)
{
	(void)data;
	/* As a client would look at it. */
	if (!fake.bos[reg->piece.bo_handle].used)
		abort();
}

static int setup(void **state)
{
	const struct virtgpu_userptr_options options = {
		.struct_size = sizeof(options),
		.cache_bytes = 64 * P,
		.revoked = on_revoked,
	};

	(void)state;
	fake_reset();
	ctx = fake_open(&options);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtgpu_userptr_close(ctx);
	assert_int_equal(fake.nr, 0);
	assert_int_equal(fake.locked, 0);
	return 0;
}

struct waiter {
	pthread_t thread;
	struct virtgpu_userptr_reg reg;
	uint64_t addr;
	int ret;
};

static void *register_one(void *data)
{
	struct waiter *w = data;

	w->ret = virtgpu_userptr_register(ctx, fake_addr(w->addr), P, 0, &w->reg);
	return NULL;
}

/* The same range, at the same time: one resource; and nobody else waits for it. */
static void test_one_creation(void **state)
{
	struct waiter waiters[THREADS] = { 0 };
	struct virtgpu_userptr_reg there, reg;
	unsigned int i;

	(void)state;
	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE + 10 * P), P, 0, &there), 0);
	fake_shut(true);
	for (i = 0; i < THREADS; i++) {
		waiters[i].addr = BASE;
		assert_int_equal(
			pthread_create(&waiters[i].thread, NULL, register_one, &waiters[i]), 0);
	}
	fake_wait_creating(1);
	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE + 10 * P), P, 0, &reg), 0);
	assert_int_equal(reg.id, there.id);
	fake_shut(false);
	for (i = 0; i < THREADS; i++) {
		pthread_join(waiters[i].thread, NULL);
		assert_int_equal(waiters[i].ret, 0);
		assert_int_equal(waiters[i].reg.id, waiters[0].reg.id);
	}
	assert_int_equal(fake.creates, 2);
}

/* It fails: each that waits for it tries, and is told itself. */
static void test_failed_creation(void **state)
{
	struct waiter waiters[THREADS] = { 0 };
	unsigned int i;

	(void)state;
	fake.fail_create = -ENOSPC;
	fake_shut(true);
	for (i = 0; i < THREADS; i++) {
		waiters[i].addr = BASE;
		assert_int_equal(
			pthread_create(&waiters[i].thread, NULL, register_one, &waiters[i]), 0);
	}
	fake_wait_creating(1);
	fake_shut(false);
	for (i = 0; i < THREADS; i++) {
		pthread_join(waiters[i].thread, NULL);
		assert_int_equal(waiters[i].ret, -ENOSPC);
	}
	assert_int_equal(fake.creates, THREADS);
}

static void one_round(unsigned int *seed, uint64_t mine)
{
	static const uint32_t flags[] = { 0, 0, VIRTGPU_USERPTR_REG_PIECES,
					  VIRTGPU_USERPTR_REG_RDONLY, VIRTGPU_USERPTR_REG_KEEP };
	uint64_t addr = BASE + rand_r(seed) % (64 * P), size = rand_r(seed) % (16 * P) + 1;
	struct virtgpu_userptr_reg reg;
	int ret;

	switch (rand_r(seed) % 8) {
	case 0:
		fake_unmap(addr, size);
		break;
	case 1:
		fake_dontneed(addr, size);
		break;
	case 2:
		ret = virtgpu_userptr_dispatch(ctx);
		if (ret < 0)
			abort();
		break;
	case 3:
		/* Memory of this thread alone: nobody gives it back. */
		ret = virtgpu_userptr_register(ctx, fake_addr(mine), 3 * P, 0, &reg);
		if (ret || virtgpu_userptr_is_live(ctx, &reg) != 1 ||
		    virtgpu_userptr_deregister(ctx, fake_addr(mine), 3 * P))
			abort();
		break;
	default:
		ret = virtgpu_userptr_register(ctx, fake_addr(addr), size, flags[rand_r(seed) % 5],
					       &reg);
		if (ret && ret != -EFAULT)
			abort();
		if (!ret) {
			virtgpu_userptr_is_live(ctx, &reg);
			/* Or it was told of. */
			ret = virtgpu_userptr_release(ctx, &reg);
			if (ret && ret != -ENOENT)
				abort();
		}
	}
}

static void *hammer(void *data)
{
	unsigned int seed = (uintptr_t)data, i;

	for (i = 0; i < ROUNDS; i++)
		one_round(&seed, BASE + (1000 + 10 * (uintptr_t)data) * P);
	return NULL;
}

static void test_hammer(void **state)
{
	pthread_t threads[THREADS];
	uintptr_t i;

	(void)state;
	fake.event_room = 16;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)i), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_true(virtgpu_userptr_dispatch(ctx) >= 0);
	assert_int_equal(virtgpu_userptr_dispatch(ctx), 0);
	assert_int_equal(fake_stats(ctx).registrations, 0);
	assert_int_equal(fake_stats(ctx).held_bytes, 0);
	assert_true(fake_stats(ctx).idle_bytes <= 64 * P);
	assert_int_equal(virtgpu_userptr_trim(ctx, 0), 0);
	assert_int_equal(fake_stats(ctx).resources, 0);
	assert_int_equal(fake.nr, 0);
}

/* 0 if a child has nothing, and can begin anew. */
static int in_child(const struct virtgpu_userptr_reg *reg)
{
	struct virtgpu_userptr_reg own;
	struct virtgpu_userptr_piece piece;
	struct virtgpu_userptr *mine;
	unsigned int closes = fake.closes;

	if (virtgpu_userptr_register(ctx, fake_addr(BASE), P, 0, &own) != -ESTALE)
		return 1;
	if (!strstr(virtgpu_userptr_error(), "parent"))
		return 2;
	if (virtgpu_userptr_release(ctx, reg) != -ESTALE ||
	    virtgpu_userptr_deregister(ctx, fake_addr(BASE), P) != -ESTALE ||
	    virtgpu_userptr_is_live(ctx, reg) != -ESTALE ||
	    virtgpu_userptr_get_pieces(ctx, reg, &piece, 1) != -ESTALE ||
	    virtgpu_userptr_dispatch(ctx) != -ESTALE || virtgpu_userptr_get_fd(ctx) != -ESTALE ||
	    virtgpu_userptr_trim(ctx, 0) != -ESTALE)
		return 3;
	virtgpu_userptr_close(ctx);
	if (fake.closes != closes)
		return 4;
	mine = fake_open(NULL);
	if (virtgpu_userptr_register(mine, fake_addr(BASE), P, 0, &own))
		return 5;
	if (own.piece.bo_handle == reg->piece.bo_handle)
		return 6;
	return 0;
}

/* A thread has the lock, which the child's copy will never be without. */
static void test_fork(void **state)
{
	struct virtgpu_userptr_reg reg;
	struct waiter waiter = { .addr = BASE + 10 * P };
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(virtgpu_userptr_register(ctx, fake_addr(BASE), P, 0, &reg), 0);
	fake_shut(true);
	assert_int_equal(pthread_create(&waiter.thread, NULL, register_one, &waiter), 0);
	fake_wait_creating(1);
	fake_shut(false);
	pthread_join(waiter.thread, NULL);
	context_lock(ctx);
	child = fork();
	if (!child)
		_exit(in_child(&reg));
	context_unlock(ctx);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* And the parent has what it had. */
	assert_int_equal(virtgpu_userptr_is_live(ctx, &reg), 1);
	assert_int_equal(virtgpu_userptr_release(ctx, &reg), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_one_creation),
		TEST(test_failed_creation),
		TEST(test_hammer),
		TEST(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
