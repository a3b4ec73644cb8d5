// SPDX-License-Identifier: MIT
/*
 * userptr-life-race-test: what happens while something else goes on
 *
 * Suspicion without end, and registrations that are not made yet.  Runs in the
 * guest, as root.
 *
 * Invariant: see life.h.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "life/life.h"

/* ---- suspicion without end -------------------------------------------------- */

struct storm {
	pthread_t threads[2];
	SELF *self;
	unsigned int rounds;
	bool stop;
};

/* What is pinned survives MADV_FREE, but each one is a reason to look. */
static void *keep_freeing(void *opaque)
{
	struct storm *storm = opaque;

	while (!__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE)) {
		madvise(storm->self->addr, storm->self->size, MADV_FREE);
		__atomic_add_fetch(&storm->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Without this in front of it nothing was going on yet. */
static void storm_begin(struct storm *storm)
{
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&storm->threads[i], NULL, keep_freeing, storm);
	while (__atomic_load_n(&storm->rounds, __ATOMIC_RELAXED) < 100)
		sched_yield();
}

static void storm_end(struct storm *storm)
{
	int i;

	__atomic_store_n(&storm->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(storm->threads[i], NULL);
}

static int stay_in_storm(SELF *self)
{
	struct storm storm = { .self = self };
	int ret = 0, i;

	storm_begin(&storm);
	for (i = 0; !ret && i < 20; i++)
		ret = settle(self);
	storm_end(&storm);
	return ret;
}

/* A verdict is reached while it goes on. */
static int revoke_in_storm(SELF *self)
{
	struct storm storm = { .self = self };
	int ret;

	storm_begin(&storm);
	ret = madvise(self->addr + 5 * PAGE, PAGE, MADV_DONTNEED) ? -errno : 0;
	if (!ret)
		ret = vg_userptr_wait(self->session.vg.fd, self->bo.handle, RELEASED, patience());
	storm_end(&storm);
	return ret;
}

STAYS_AFTER(storm, ANON)
{
	return stay_in_storm(self);
}

STAYS_AFTER(thp_storm, THP)
{
	return stay_in_storm(self);
}

REVOKED_BY(madv_dontneed_in_a_storm, ANON)
{
	return revoke_in_storm(self);
}

REVOKED_BY(thp_madv_dontneed_in_a_storm, THP)
{
	return revoke_in_storm(self);
}

/* ---- while it is being created --------------------------------------------- */

static int register_all_the_time(void *opaque)
{
	SELF *self = opaque;
	struct region region;
	struct vg_bo bo;
	char token = 0;

	CHECK(!region_scattered(&region, 100));
	for (;;) {
		CHECK(!create(&self->session, &region, 0, &bo));
		CHECK(write(self->file, &token, 1) == 1);
	}
}

TEST_F(life, kill_while_creating)
{
	struct vg *vg = &self->session.vg;
	int pipes[2], i, k;
	char token;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, pipe(pipes));
		self->file = pipes[1];
		pid = run_child(register_all_the_time, self);
		for (k = 0; k <= i; k++)
			ASSERT_EQ(1, read(pipes[0], &token, 1));
		kill(pid, SIGKILL);
		EXPECT_EQ(-SIGKILL, child_result(pid));
		/* The file is ours, too: the end of the owner is all there is. */
		EXPECT_EQ(0, wait_no_resources(vg, patience()));
		EXPECT_EQ(0, wait_pins(self->session.pins, patience()));
		close(pipes[0]);
		close(pipes[1]);
	}
	self->file = -1;
}

static int register_slowly(void *opaque)
{
	SELF *self = opaque;

	register_own(self);
	return 1;
}

TEST_F(life, kill_while_the_device_is_at_it)
{
	char path[96];
	pid_t pid;

	debugfs_path(path, sizeof(path), self->session.node);
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 300));
	pid = run_child(register_slowly, self);
	EXPECT_EQ(0, wait_file_contains(path, "CREATING", SETTLE_MS));
	kill(pid, SIGKILL);
	EXPECT_EQ(-SIGKILL, child_result(pid));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(0, wait_pins(self->session.pins, patience()));
}

struct unmapper {
	SELF *self;
	int ret;
};

/* Not before the device has been told. */
static void *unmap_when_creating(void *opaque)
{
	struct unmapper *u = opaque;

	u->ret = wait_commands(&u->self->session, u->self->session.before.userptr_commands + 1);
	if (!u->ret && munmap(u->self->addr + PAGE, PAGE))
		u->ret = -errno;
	return NULL;
}

TEST_F(life, munmap_while_creating)
{
	struct unmapper u = { .self = self };
	struct region region;
	pthread_t thread;

	ASSERT_EQ(0, region_scattered(&region, PAGES));
	self->addr = region.addr;
	ASSERT_EQ(0,
		  inject(self, LOOPBACK_FAULT_DELAY, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 500));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unmap_when_creating, &u));
	EXPECT_EQ(-EFAULT, create(&self->session, &region, 0, &self->bo));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, u.ret);
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, patience()));
	EXPECT_EQ(0, wait_pins(self->session.pins, patience()));
	EXPECT_EQ(1, destroyed(self));
	region_free(&region);
}

TEST_HARNESS_MAIN
