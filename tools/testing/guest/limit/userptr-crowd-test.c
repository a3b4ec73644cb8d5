// SPDX-License-Identifier: MIT
/*
 * userptr-crowd-test: who pays for what others do
 *
 * A device that answers no destroy command costs memory, but neither a CPU nor
 * other users' time; and who waits for a registration of its own costs nobody
 * else anything.  Runs in the guest, as root, with one device.
 *
 *	USERPTR_STORM		registrations that wait for a silent device (10000)
 *	USERPTR_WAITERS		threads that wait for a registration (3000)
 *
 * Invariant: see userptr-test-session.h.  What a silent device has is given
 * back by its reset: the fixture unbinds it from its driver, and binds it again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/userptr-test-session.h"

#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED
/* Others use this machine, too: what is measured is the best of so many. */
#define ATTEMPTS 3

static unsigned int number_of(const char *variable, unsigned int otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* ---- a device that is silent ----------------------------------------------- */

FIXTURE(silent)
{
	struct session session;
	char device[64];
};

FIXTURE_SETUP(silent)
{
	session_begin(_metadata, &self->session, "MAIN");
	if (self->session.node)
		ASSERT_EQ(0, virtio_device_name(self->device, sizeof(self->device)));
}

FIXTURE_TEARDOWN(silent)
{
	if (!self->session.node)
		return;
	vg_close(&self->session.vg);
	EXPECT_EQ(0, write_file(VIRTIO_DRIVER "unbind", self->device));
	EXPECT_EQ(self->session.pins, pins_outstanding())
	{
		TH_LOG("the reset did not give the pages back");
	}
	EXPECT_EQ(0, write_file(VIRTIO_DRIVER "bind", self->device));
	session_end(_metadata, &self->session);
}

/* From now on nothing that is destroyed is ever answered. */
static int be_silent(struct session *session)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DROP,
		.command = VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
		.count = 1000000,
	};

	return vg_inject(&session->vg, &fault);
}

/**
 * struct user - a process of one user
 * @node: device
 * @uid: user, who may lock LIMIT pages
 * @ready: gets a byte when it has done its part
 * @go: it goes on when this gets one
 */
struct user {
	const char *node;
	uid_t uid;
	int ready[2];
	int go[2];
};

#define LIMIT 16
/* Far less than what a release is waited for. */
#define AT_ONCE_US 400000

/* Registers all that it may, closes it, and the device does not answer. */
static int user_in_trouble(void *opaque)
{
	struct user *user = opaque;
	struct region region;
	struct vg_bo bo;
	char token;
	int fd;

	CHECK(!region_alloc(&region, LIMIT));
	CHECK(!become_user(user->uid, LIMIT * PAGE));
	fd = vg_open_node(user->node);
	CHECK(fd >= 0);
	CHECK(!vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	CHECK(!vg_userptr_create(fd, region.addr, region.size, 0, &bo));
	CHECK(write(user->ready[1], "1", 1) == 1);
	CHECK(read(user->go[0], &token, 1) == 1);
	CHECK(!vg_bo_close(fd, bo.handle));
	CHECK(vg_status_kib("VmPin") == LIMIT * 4);
	/* Its own release is what it would wait for. */
	CHECK(vg_userptr_create(fd, region.addr, PAGE, 0, &bo) == -ENOMEM);
	CHECK(write(user->ready[1], "2", 1) == 1);
	pause();
	return 1;
}

static int user_at_its_limit(void *opaque)
{
	struct user *user = opaque;
	struct region region;
	uint64_t started;
	struct vg_bo bo;
	int fd, i, ret;

	CHECK(!region_alloc(&region, LIMIT));
	CHECK(!become_user(user->uid, LIMIT * PAGE));
	fd = vg_open_node(user->node);
	CHECK(fd >= 0);
	CHECK(!vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	CHECK(!vg_userptr_create(fd, region.addr, region.size, 0, &bo));
	for (i = 0; i < 10; i++) {
		started = vg_now_us();
		ret = vg_userptr_create(fd, region.addr, PAGE, 0, &bo);
		started = vg_now_us() - started;
		CHECK(ret == -ENOMEM);
		if (started > AT_ONCE_US)
			fprintf(stderr, "# ENOMEM after %lu us\n", started);
		CHECK(started <= AT_ONCE_US);
	}
	return 0;
}

TEST_F_TIMEOUT(silent, limit_of_another_user, 60)
{
	struct user troubled = { .node = self->session.node, .uid = 3011 };
	struct user other = { .node = self->session.node, .uid = 3012 };
	char token;
	pid_t pid;

	ASSERT_EQ(0, pipe(troubled.ready));
	ASSERT_EQ(0, pipe(troubled.go));
	pid = run_child(user_in_trouble, &troubled);
	ASSERT_LT(0, pid);
	/* So that its end is seen. */
	close(troubled.ready[1]);
	ASSERT_EQ(1, read(troubled.ready[0], &token, 1));
	ASSERT_EQ(0, be_silent(&self->session));
	ASSERT_EQ(1, write(troubled.go[1], "1", 1));
	ASSERT_EQ(1, read(troubled.ready[0], &token, 1));
	EXPECT_EQ(0, child_result(run_child(user_at_its_limit, &other)));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(-SIGKILL, child_result(pid));
}

/**
 * struct cpu - what the CPUs of this guest have done, in ticks
 * @kernel: in the kernel, interrupts included
 * @workers: of that, in its worker threads
 */
struct cpu {
	long kernel;
	long workers;
};

/* utime + stime of a thread of the kernel's, 0 if it is none. */
static long worker_ticks(const char *pid)
{
	char path[300], line[512] = "", *at;
	unsigned long utime = 0, stime = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.255s/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	at = strrchr(line, ')');
	if (!at || !strstr(line, "(kworker"))
		return 0;
	if (sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &utime,
		   &stime) != 2)
		return 0;
	return utime + stime;
}

static int read_cpu(struct cpu *cpu)
{
	long system, irq, softirq;
	struct dirent *entry;
	char line[512] = "";
	FILE *file;
	DIR *dir;

	file = fopen("/proc/stat", "re");
	if (!file)
		return -errno;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	if (sscanf(line, "cpu %*u %*u %ld %*u %*u %ld %ld", &system, &irq, &softirq) != 3)
		return -EIO;
	cpu->kernel = system + irq + softirq;
	cpu->workers = 0;
	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			cpu->workers += worker_ticks(entry->d_name);
	}
	closedir(dir);
	return 0;
}

#define WINDOW_S 2
/* Of one CPU.  One attempt for each registration and 20 ms took all of it. */
#define SHARE_PERCENT 5

/* Percent of one CPU that the kernel uses while nobody does anything. */
static int measure_idle(double *kernel, double *workers)
{
	const struct timespec window = { .tv_sec = WINDOW_S };
	double ticks = WINDOW_S * sysconf(_SC_CLK_TCK) / 100.0;
	struct cpu before, after;
	int ret;

	ret = read_cpu(&before);
	/* Time is what is measured: there is nothing to wait for. */
	nanosleep(&window, NULL);
	ret = ret ?: read_cpu(&after);
	if (ret)
		return ret;
	*kernel = (after.kernel - before.kernel) / ticks;
	*workers = (after.workers - before.workers) / ticks;
	return 0;
}

/* Exits with everything registered when it is told to. */
static int register_many(void *opaque)
{
	unsigned int nr = number_of("USERPTR_STORM", 10000), i;
	struct user *user = opaque;
	struct region region;
	struct vg_bo bo;
	char token;
	int fd;

	CHECK(!region_alloc(&region, nr));
	fd = vg_open_node(user->node);
	CHECK(fd >= 0);
	CHECK(!vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	for (i = 0; i < nr; i++)
		CHECK(!vg_userptr_create(fd, region.addr + i * PAGE, PAGE, 0, &bo));
	CHECK(write(user->ready[1], "1", 1) == 1);
	CHECK(read(user->go[0], &token, 1) == 1);
	return 0;
}

/* Their owner has gone, the queue is full of commands that are not answered. */
TEST_F_TIMEOUT(silent, releases_that_find_no_room, 300)
{
	struct user user = { .node = self->session.node };
	unsigned int nr = number_of("USERPTR_STORM", 10000), i;
	double kernel = 0, workers = 0, least = 1e9;
	char token;
	int status;
	pid_t pid;

	ASSERT_EQ(0, pipe(user.ready));
	ASSERT_EQ(0, pipe(user.go));
	pid = run_child(register_many, &user);
	ASSERT_LT(0, pid);
	close(user.ready[1]);
	ASSERT_EQ(1, read(user.ready[0], &token, 1));
	ASSERT_EQ(0, be_silent(&self->session));
	ASSERT_EQ(1, write(user.go[1], "1", 1));
	ASSERT_EQ(0, wait_child(pid, 60000, &status))
	{
		TH_LOG("its exit waits for the device");
	}
	EXPECT_EQ(0, status);
	/* All of it is the device's still. */
	EXPECT_LE(self->session.pins + nr, pins_outstanding());
	for (i = 0; i < ATTEMPTS && least >= SHARE_PERCENT; i++) {
		ASSERT_EQ(0, measure_idle(&kernel, &workers));
		if (kernel < least)
			least = kernel;
		printf("# %u releases wait for a silent device: %.1f %% of a CPU in the kernel, "
		       "of that %.1f %% in its workers\n",
		       nr, kernel, workers);
	}
	EXPECT_GT(SHARE_PERCENT, least);
}

/* ---- waiting for one's own registration ---------------------------------------- */

FIXTURE(waiters)
{
	struct session session;
};

FIXTURE_SETUP(waiters)
{
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(waiters)
{
	session_end(_metadata, &self->session);
}

#define ROUNDS 40
#define WAITER_STACK 16384
#define FOR_EVER_MS 1000000000

struct herd {
	const char *node;
	unsigned int nr;
	int fd;
	struct vg_bo bo;
	int ready[2];
};

/* Until the process is killed: what it waits for does not happen. */
static void *wait_for_ever(void *opaque)
{
	struct herd *herd = opaque;

	for (;;)
		vg_userptr_wait(herd->fd, herd->bo.handle, RELEASED, FOR_EVER_MS);
	return NULL;
}

static int herd_of_waiters(void *opaque)
{
	struct herd *herd = opaque;
	struct region region;
	pthread_attr_t attr;
	pthread_t thread;
	unsigned int i;

	CHECK(!region_alloc(&region, 1));
	herd->fd = vg_open_node(herd->node);
	CHECK(herd->fd >= 0);
	CHECK(!vg_context_init(herd->fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	CHECK(!vg_userptr_create(herd->fd, region.addr, PAGE, 0, &herd->bo));
	CHECK(!pthread_attr_init(&attr));
	CHECK(!pthread_attr_setstacksize(&attr, WAITER_STACK));
	for (i = 0; i < herd->nr; i++)
		CHECK(!pthread_create(&thread, &attr, wait_for_ever, herd));
	CHECK(write(herd->ready[1], "1", 1) == 1);
	for (;;)
		pause();
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Median time of a munmap() that revokes, in ns; 0 if anything failed. */
static uint64_t measure_munmap(struct session *session)
{
	uint64_t took[ROUNDS];
	int fd = session->vg.fd, i;
	struct region region;
	struct vg_bo bo;

	for (i = 0; i < ROUNDS; i++) {
		if (region_alloc(&region, 1) || vg_userptr_create(fd, region.addr, PAGE, 0, &bo))
			return 0;
		took[i] = now_ns();
		munmap(region.addr, PAGE);
		took[i] = now_ns() - took[i];
		/* One at a time, and the work behind it is not of the next one. */
		if (vg_userptr_wait(fd, bo.handle, RELEASED, SETTLE_MS) ||
		    vg_bo_close(fd, bo.handle))
			return 0;
	}
	qsort(took, ROUNDS, sizeof(*took), compare);
	return took[ROUNDS / 2];
}

TEST_F_TIMEOUT(waiters, elsewhere_cost_nothing, 240)
{
	struct herd herd = {
		.node = self->session.node,
		.nr = number_of("USERPTR_WAITERS", 3000),
	};
	uint64_t alone, with;
	bool same = false;
	char token;
	pid_t pid;
	int i;

	/* Of this guest: it counts memory for more than these threads take. */
	if (read_counter("/proc/sys/kernel/threads-max", "") < 2 * (long)herd.nr)
		ASSERT_EQ(0, write_file("/proc/sys/kernel/threads-max", "20000"));
	for (i = 0; i < ATTEMPTS && !same; i++) {
		ASSERT_EQ(0, pipe(herd.ready));
		alone = measure_munmap(&self->session);
		ASSERT_LT(0, alone);
		pid = run_child(herd_of_waiters, &herd);
		ASSERT_LT(0, pid);
		close(herd.ready[1]);
		ASSERT_EQ(1, read(herd.ready[0], &token, 1));
		ASSERT_EQ(0, wait_sleeping(pid, herd.nr + 1, 120000));
		with = measure_munmap(&self->session);
		ASSERT_LT(0, with);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(-SIGKILL, child_result(pid));
		close(herd.ready[0]);
		same = with < 2 * alone;
		printf("# munmap() of a registered page: %lu us, and %lu us with %u waiters "
		       "elsewhere\n",
		       alone / 1000, with / 1000, herd.nr);
	}
	EXPECT_TRUE(same);
}

TEST_HARNESS_MAIN
