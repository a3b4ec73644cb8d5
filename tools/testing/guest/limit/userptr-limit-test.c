// SPDX-License-Identifier: MIT
/*
 * userptr-limit-test: limits of the user and of the machine
 *
 * How much a user may pin, who is charged when a process changes its user, a
 * memory cgroup that is full, and more pieces of memory than User-Mode Linux can
 * have.  The limits of a device are in fault/userptr-fault-test.c.  Runs in the
 * guest, as root.
 *
 * Invariant: see userptr-test-session.h.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/userptr-test-session.h"

/* ---- limits of the user --------------------------------------------------- */

FIXTURE(limit)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(limit)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
	if (self->session.node)
		ASSERT_EQ(0, region_alloc(&self->region, 64));
}

FIXTURE_TEARDOWN(limit)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

struct limit_arg {
	struct session *session;
	uint8_t *addr;
	uid_t uid;
	int turn[2];
	int done[2];
};

static int register_pages(struct limit_arg *arg, size_t pages, struct vg_bo *bo)
{
	return vg_userptr_create(arg->session->vg.fd, arg->addr, pages * PAGE, 0, bo);
}

/* 16 pages is the limit: 16 fit, 17 do not, nor does one more. */
static int at_the_limit(void *opaque)
{
	struct limit_arg *arg = opaque;
	int fd = arg->session->vg.fd;
	struct vg_bo bo, more;

	CHECK(!become_user(arg->uid, 16 * PAGE));
	CHECK(register_pages(arg, 17, &bo) == -ENOMEM);
	CHECK(vg_status_kib("VmPin") == 0);
	CHECK(!register_pages(arg, 16, &bo));
	CHECK(vg_status_kib("VmPin") == 64);
	CHECK(register_pages(arg, 1, &more) == -ENOMEM);
	CHECK(!vg_bo_close(fd, bo.handle));
	CHECK(!vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	CHECK(!register_pages(arg, 16, &bo));
	CHECK(!vg_bo_close(fd, bo.handle));
	return 0;
}

TEST_F(limit, exact)
{
	struct limit_arg arg = { .session = &self->session, .addr = self->region.addr };
	struct loopback_stats delta;

	arg.uid = 3001;
	EXPECT_EQ(0, child_result(run_child(at_the_limit, &arg)));
	ASSERT_EQ(0, stats_since(&self->session, &delta));
	EXPECT_EQ(2, delta.userptr_created);
	EXPECT_EQ(0, delta.errors);
}

static int with_limit_zero(void *opaque)
{
	struct limit_arg *arg = opaque;
	struct vg_bo bo;

	CHECK(!become_user(arg->uid, 0));
	CHECK(register_pages(arg, 1, &bo) == -EPERM);
	CHECK(vg_status_kib("VmPin") == 0);
	return 0;
}

TEST_F(limit, zero)
{
	struct limit_arg arg = { .session = &self->session, .addr = self->region.addr };

	arg.uid = 3002;
	EXPECT_EQ(0, child_result(run_child(with_limit_zero, &arg)));
	expect_untouched(_metadata, &self->session);
}

static int with_capability(void *opaque)
{
	const struct rlimit none = { 0 };
	struct limit_arg *arg = opaque;
	struct vg_bo bo;

	CHECK(!setrlimit(RLIMIT_MEMLOCK, &none));
	CHECK(!register_pages(arg, 64, &bo));
	CHECK(vg_status_kib("VmPin") == 256);
	CHECK(!vg_bo_close(arg->session->vg.fd, bo.handle));
	return 0;
}

TEST_F(limit, lifted_by_cap_ipc_lock)
{
	struct limit_arg arg = { .session = &self->session, .addr = self->region.addr };

	EXPECT_EQ(0, child_result(run_child(with_capability, &arg)));
}

/* What one process of a user has pinned, another cannot pin any more. */
static int limit_holder(void *opaque)
{
	struct limit_arg *arg = opaque;
	struct vg_bo bo;
	char token;

	CHECK(!become_user(arg->uid, 16 * PAGE));
	CHECK(!register_pages(arg, 12, &bo));
	CHECK(write(arg->done[1], "1", 1) == 1);
	CHECK(read(arg->turn[0], &token, 1) == 1);
	CHECK(!vg_bo_close(arg->session->vg.fd, bo.handle));
	CHECK(!vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	return 0;
}

static int limit_rival(void *opaque)
{
	struct limit_arg *arg = opaque;
	struct vg_bo bo;

	CHECK(!become_user(arg->uid, 16 * PAGE));
	CHECK(register_pages(arg, 5, &bo) == -ENOMEM);
	CHECK(!register_pages(arg, 4, &bo));
	CHECK(!vg_bo_close(arg->session->vg.fd, bo.handle));
	return 0;
}

TEST_F(limit, counts_per_user)
{
	struct limit_arg arg = { .session = &self->session, .addr = self->region.addr };
	char token;
	pid_t holder;

	arg.uid = 3003;
	ASSERT_EQ(0, pipe(arg.turn));
	ASSERT_EQ(0, pipe(arg.done));
	holder = run_child(limit_holder, &arg);
	ASSERT_LT(0, holder);
	ASSERT_EQ(1, read(arg.done[0], &token, 1));
	EXPECT_EQ(0, child_result(run_child(limit_rival, &arg)));
	ASSERT_EQ(1, write(arg.turn[1], "1", 1));
	EXPECT_EQ(0, child_result(holder));
}

/* The release is not instant, but the next registration must not notice. */
static int loop_at_the_limit(void *opaque)
{
	struct limit_arg *arg = opaque;
	struct vg_bo bo;
	int i;

	CHECK(!become_user(arg->uid, 16 * PAGE));
	for (i = 0; i < 300; i++) {
		CHECK(!register_pages(arg, 16, &bo));
		CHECK(!vg_bo_close(arg->session->vg.fd, bo.handle));
	}
	return 0;
}

TEST_F(limit, register_and_close_in_a_loop)
{
	struct limit_arg arg = { .session = &self->session, .addr = self->region.addr };
	struct loopback_stats delta;

	arg.uid = 3004;
	EXPECT_EQ(0, child_result(run_child(loop_at_the_limit, &arg)));
	EXPECT_EQ(0, wait_no_resources(&self->session.vg, SETTLE_MS));
	ASSERT_EQ(0, stats_since(&self->session, &delta));
	EXPECT_EQ(300, delta.userptr_created);
	EXPECT_EQ(300, delta.userptr_destroyed);
}

/* ---- a process that changes its user ---------------------------------------- */

#define LIMIT_PAGES 16
#define CREATOR 3005
#define CLOSER 3006

FIXTURE(user)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(user)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
	if (self->session.node)
		ASSERT_EQ(0, region_alloc(&self->region, LIMIT_PAGES + 1));
}

FIXTURE_TEARDOWN(user)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

struct user_arg {
	int fd;
	uint8_t *addr;
};

/* Without any capability, and able to change again: the saved id stays 0. */
static int switch_user(uid_t uid)
{
	if (setresuid(-1, 0, -1) || setresuid(uid, uid, 0) || prctl(PR_SET_DUMPABLE, 1))
		return -errno;
	return 0;
}

/*
 * The kernel forgets what a user has locked with the last trace of that user:
 * an open file is one, so that what is counted wrong stays wrong.
 */
static int keep_user(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int change_user(void *opaque)
{
	const struct rlimit limit = { LIMIT_PAGES * PAGE, LIMIT_PAGES * PAGE };
	struct user_arg *arg = opaque;
	struct vg_bo first, second, more;

	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
	CHECK(!switch_user(CREATOR));
	CHECK(keep_user() >= 0);
	CHECK(!vg_userptr_create(arg->fd, arg->addr, LIMIT_PAGES * PAGE, 0, &first));
	CHECK(vg_userptr_create(arg->fd, arg->addr, PAGE, 0, &more) == -ENOMEM);
	/* Another user has a limit of its own, and what it closes is not its. */
	CHECK(!switch_user(CLOSER));
	CHECK(keep_user() >= 0);
	CHECK(!vg_userptr_create(arg->fd, arg->addr, LIMIT_PAGES * PAGE, 0, &second));
	CHECK(!vg_bo_close(arg->fd, first.handle));
	CHECK(!vg_wait_status_kib("VmPin", LIMIT_PAGES * 4, SETTLE_MS));
	CHECK(vg_userptr_create(arg->fd, arg->addr, PAGE, 0, &more) == -ENOMEM);
	/* It was the creator's, who has all of it again, and no more. */
	CHECK(!switch_user(CREATOR));
	CHECK(vg_userptr_create(arg->fd, arg->addr, (LIMIT_PAGES + 1) * PAGE, 0, &more) == -ENOMEM);
	CHECK(!vg_userptr_create(arg->fd, arg->addr, LIMIT_PAGES * PAGE, 0, &first));
	CHECK(vg_userptr_create(arg->fd, arg->addr, PAGE, 0, &more) == -ENOMEM);
	CHECK(!vg_bo_close(arg->fd, second.handle));
	CHECK(!vg_wait_status_kib("VmPin", LIMIT_PAGES * 4, SETTLE_MS));
	CHECK(vg_userptr_create(arg->fd, arg->addr, PAGE, 0, &more) == -ENOMEM);
	CHECK(!vg_bo_close(arg->fd, first.handle));
	return 0;
}

TEST_F(user, who_created_is_uncharged)
{
	struct user_arg arg = { .fd = self->session.vg.fd, .addr = self->region.addr };
	struct loopback_stats delta;

	EXPECT_EQ(0, child_result(run_child(change_user, &arg)));
	ASSERT_EQ(0, stats_since(&self->session, &delta));
	EXPECT_EQ(3, delta.userptr_created);
}

/* ---- a memory cgroup that is full ---------------------------------------------- */

#define CGROUPS "/sys/fs/cgroup"
#define CGROUP CGROUPS "/userptr"
/* 256 KiB of segment table do not fit into what the cgroup may have. */
#define CGROUP_LIMIT "131072"
#define CGROUP_SEGMENTS 8192u
/* Nor does this memory, which is not there before it is registered. */
#define CGROUP_ABSENT MIB(4)

FIXTURE(memcg)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(memcg)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
	if (!self->session.node)
		return;
	ASSERT_EQ(0, mount("cgroup2", CGROUPS, "cgroup2", 0, NULL));
	ASSERT_EQ(0, write_file(CGROUPS "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_EQ(0, write_file(CGROUP "/memory.max", CGROUP_LIMIT));
	ASSERT_EQ(0, region_alloc(&self->region, 64));
}

FIXTURE_TEARDOWN(memcg)
{
	if (!self->session.node)
		return;
	EXPECT_EQ(0, try_create(&self->session, self->region.addr, self->region.size, 0));
	session_end(_metadata, &self->session);
	EXPECT_EQ(0, rmdir(CGROUP));
	EXPECT_EQ(0, umount(CGROUPS));
	region_free(&self->region);
}

static int no_room_for_the_table(void *opaque)
{
	struct region region;
	struct vg_bo bo;
	struct vg vg;

	/* All that is not the driver's is there before. */
	CHECK(!region_scattered(&region, CGROUP_SEGMENTS));
	CHECK(!vg_open(&vg, opaque, 1));
	/* With nobody to kill, who asks for memory gets none. */
	CHECK(!write_file("/proc/self/oom_score_adj", "-1000"));
	CHECK(!write_file(CGROUP "/cgroup.procs", "0"));
	CHECK(vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo) == -ENOMEM);
	CHECK(!vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	/* It was the limit. */
	CHECK(!write_file(CGROUP "/memory.max", "max"));
	CHECK(!vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo));
	CHECK(same_digest(&vg, bo.res, region.addr, region.size));
	return 0;
}

TEST_F_TIMEOUT(memcg, too_small_for_the_segments, 120)
{
	pid_t pid = run_child(no_room_for_the_table, (void *)self->session.node);

	EXPECT_EQ(0, child_result(pid));
}

struct memcg_arg {
	const char *node;
	bool killable;
};

static int no_room_for_the_pages(void *opaque)
{
	struct memcg_arg *arg = opaque;
	struct vg_bo bo;
	struct vg vg;
	void *addr;
	int ret;

	CHECK(!vg_open(&vg, arg->node, 1));
	/* When the cgroup is full this process must not need a page of its own. */
	CHECK(!mlockall(MCL_CURRENT));
	addr = mmap(NULL, CGROUP_ABSENT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	CHECK(addr != MAP_FAILED);
	if (!arg->killable)
		CHECK(!write_file("/proc/self/oom_score_adj", "-1000"));
	CHECK(!write_file(CGROUP "/cgroup.procs", "0"));
	ret = vg_userptr_create(vg.fd, addr, CGROUP_ABSENT, 0, &bo);
	CHECK(!munmap(addr, CGROUP_ABSENT));
	/* What is still pinned the parent finds out: here a file may be too much. */
	CHECK(ret == -ENOMEM);
	return 0;
}

TEST_F_TIMEOUT(memcg, too_small_for_the_pages, 120)
{
	struct memcg_arg arg = { .node = self->session.node };

	EXPECT_EQ(0, child_result(run_child(no_room_for_the_pages, &arg)));
}

TEST_F_TIMEOUT(memcg, killed_for_want_of_pages, 120)
{
	struct memcg_arg arg = { .node = self->session.node, .killable = true };

	EXPECT_EQ(-SIGKILL, child_result(run_child(no_room_for_the_pages, &arg)));
}

/* ---- a gigabyte in single pages ------------------------------------------------ */

#define GIB_SEGMENTS 262144u

FIXTURE(scattered)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(scattered)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(scattered)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

TEST_F_TIMEOUT(scattered, gib_in_single_pages, 400)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct drm_virtgpu_userptr_info info;
	struct loopback_stats delta;
	uint64_t started;
	struct vg_bo bo;
	long cost;

	/* It takes twice that, so that no two pages are neighbours. */
	ASSERT_LT((long)MIB(2100), free_memory());
	ASSERT_EQ(0, region_scattered(region, GIB_SEGMENTS));
	EXPECT_LE(MIB(1024), region->size);
	region_fill(region, GIB_SEGMENTS);
	started = vg_now_us();
	ASSERT_EQ(0, create(session, region, 0, &bo));
	started = vg_now_us() - started;
	ASSERT_EQ(0, vg_userptr_info(session->vg.fd, bo.handle, &info));
	EXPECT_LE(GIB_SEGMENTS, info.nr_segments);
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(info.nr_segments, delta.userptr_segments);
	EXPECT_EQ(region->size, delta.userptr_bytes);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	EXPECT_EQ(0, vg_fill(&session->vg, bo.res, region->size - PAGE, PAGE, 0xa7));
	EXPECT_EQ(0xa7, region->addr[region->size - 1]);
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	cost = registration_cost(session, region);
	EXPECT_LE(0, cost);
	EXPECT_GT((long)(40ul * info.nr_segments + KIB(64)), cost);
	printf("summary: %lu MiB in %u segments registered in %lu ms, %ld bytes of kernel memory "
	       "(%.1f a segment)\n",
	       region->size >> 20, info.nr_segments, started / 1000, cost,
	       (double)cost / info.nr_segments);
	fflush(stdout);
}

TEST_HARNESS_MAIN
