// SPDX-License-Identifier: MIT
/*
 * userptr-event-test: VIRTGPU_EVENT_USERPTR_REVOKED
 *
 * What the event says, when it comes and when not, how many of them a file may
 * have to come, and what happens when memory is taken back while the file that
 * is to be told of it goes away.  Runs in the guest.
 *
 *	USERPTR_ROUNDS		of each race (30)
 *	USERPTR_SEED		what is chosen, from an earlier run's output
 *
 * Invariant: see userptr-test-session.h.  A race that is lost is a warning of
 * the kernel, for which the runners look.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/userptr-test-session.h"

/* Half of a file's 4096 bytes, of 16 each. */
#define ROOM 128
#define PAGES (ROOM + 2)
#define REVOKED VIRTGPU_USERPTR_INFO_WAIT_REVOKED
#define RELEASED VIRTGPU_USERPTR_INFO_WAIT_RELEASED

/* ---- one file --------------------------------------------------------------- */

FIXTURE(event)
{
	struct session session;
	struct region region;
	struct vg_bo bos[PAGES];
};

#define SELF FIXTURE_DATA(event)

FIXTURE_SETUP(event)
{
	memset(&self->region, 0, sizeof(self->region));
	memset(self->bos, 0, sizeof(self->bos));
	session_begin(_metadata, &self->session, "MAIN");
	if (self->session.node)
		ASSERT_EQ(0, region_alloc(&self->region, PAGES));
}

FIXTURE_TEARDOWN(event)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

/* Page @i on its own, through the file @fd. */
static int register_page(SELF *self, int fd, unsigned int i, uint32_t flags)
{
	return vg_userptr_create(fd, self->region.addr + i * PAGE, PAGE, flags, &self->bos[i]);
}

static int take_back(SELF *self, int fd, unsigned int i)
{
	if (munmap(self->region.addr + i * PAGE, PAGE))
		return -errno;
	return vg_userptr_wait(fd, self->bos[i].handle, RELEASED, SETTLE_MS);
}

TEST_F(event, what_it_says)
{
	struct drm_virtgpu_event_userptr event;
	int fd = self->session.vg.fd;

	ASSERT_EQ(16, sizeof(event));
	ASSERT_EQ(0, register_page(self, fd, 0, VIRTGPU_USERPTR_EVENT));
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
	ASSERT_EQ(0, munmap(self->region.addr, PAGE));
	ASSERT_EQ(0, vg_userptr_event(fd, &event, SETTLE_MS));
	EXPECT_EQ(self->bos[0].handle, event.bo_handle);
	EXPECT_EQ(self->bos[0].res, event.res_handle);
	/* Who has been told can rely on it. */
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bos[0].handle, REVOKED, 0));
	/* Once. */
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bos[0].handle, RELEASED, SETTLE_MS));
	EXPECT_EQ(0, vg_bo_close(fd, self->bos[0].handle));
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
}

/* Told at once, and not when the device has got around to it. */
TEST_F(event, before_the_device_has_answered)
{
	const struct vg_fault slow = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR,
		.param = 1000,
	};
	struct drm_virtgpu_event_userptr event;
	int fd = self->session.vg.fd;
	uint64_t started;

	ASSERT_EQ(0, register_page(self, fd, 0, VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, vg_inject(&self->session.vg, &slow));
	started = vg_now_us();
	ASSERT_EQ(0, munmap(self->region.addr, PAGE));
	EXPECT_EQ(0, vg_userptr_event(fd, &event, SETTLE_MS));
	EXPECT_EQ(-ETIME, vg_userptr_wait(fd, self->bos[0].handle, RELEASED, 0))
	{
		TH_LOG("it came %lu us later", vg_now_us() - started);
	}
	EXPECT_EQ(0, vg_userptr_wait(fd, self->bos[0].handle, RELEASED, SETTLE_MS));
}

TEST_F(event, none_without_the_flag_or_the_handle)
{
	struct drm_virtgpu_event_userptr event;
	int fd = self->session.vg.fd;

	ASSERT_EQ(0, register_page(self, fd, 0, 0));
	ASSERT_EQ(0, take_back(self, fd, 0));
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
	ASSERT_EQ(0, register_page(self, fd, 1, VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, vg_bo_close(fd, self->bos[1].handle));
	ASSERT_EQ(0, munmap(self->region.addr + PAGE, PAGE));
	/* What comes later is told; so would have been that. */
	ASSERT_EQ(0, register_page(self, fd, 2, VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, take_back(self, fd, 2));
	ASSERT_EQ(0, vg_userptr_event(fd, &event, SETTLE_MS));
	EXPECT_EQ(self->bos[2].res, event.res_handle);
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
}

/* The file that created it is told, and no other one of the process. */
TEST_F(event, none_for_another_file)
{
	struct drm_virtgpu_event_userptr event;
	struct vg other;

	ASSERT_EQ(0, vg_open(&other, self->session.node, 1));
	ASSERT_EQ(0, register_page(self, other.fd, 0, VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, take_back(self, other.fd, 0));
	EXPECT_EQ(-ETIME, vg_userptr_event(self->session.vg.fd, &event, 0));
	EXPECT_EQ(0, vg_userptr_event(other.fd, &event, SETTLE_MS));
	vg_close(&other);
}

/* What was created before an error in it leaves no event to come behind. */
TEST_F(event, room_comes_back_after_a_refusal)
{
	const struct vg_fault refuse = {
		.fault = LOOPBACK_FAULT_ERROR,
		.command = VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR,
		.param = VIRTIO_GPU_RESP_ERR_LIMIT,
		.count = ROOM + 1,
	};
	int fd = self->session.vg.fd, i;

	ASSERT_EQ(0, vg_inject(&self->session.vg, &refuse));
	for (i = 0; i <= ROOM; i++)
		ASSERT_EQ(-ENOSPC, register_page(self, fd, 0, VIRTGPU_USERPTR_EVENT));
	EXPECT_EQ(0, register_page(self, fd, 0, VIRTGPU_USERPTR_EVENT));
}

/* Each registration has the room for its event, from its creation on. */
static void fill_room(struct __test_metadata *_metadata, SELF *self, int fd)
{
	unsigned int i;

	for (i = 0; i < ROOM; i++)
		ASSERT_EQ(0, register_page(self, fd, i, VIRTGPU_USERPTR_EVENT))
		{
			TH_LOG("number %u", i);
		}
	EXPECT_EQ(-ENOMEM, register_page(self, fd, ROOM, VIRTGPU_USERPTR_EVENT));
}

TEST_F(event, room)
{
	struct drm_virtgpu_event_userptr event;
	int fd = self->session.vg.fd;
	unsigned int i;

	fill_room(_metadata, self, fd);
	/* It is about events: without one there is no such limit. */
	ASSERT_EQ(0, register_page(self, fd, ROOM + 1, 0));
	/* Closing one makes room for one. */
	ASSERT_EQ(0, vg_bo_close(fd, self->bos[5].handle));
	ASSERT_EQ(0, register_page(self, fd, ROOM, VIRTGPU_USERPTR_EVENT));
	EXPECT_EQ(-ENOMEM, register_page(self, fd, 5, VIRTGPU_USERPTR_EVENT));

	/* What has been sent is there until it is read; one page is kept to try with. */
	for (i = 0; i < ROOM; i++) {
		if (i != 5)
			ASSERT_EQ(0, take_back(self, fd, i));
	}
	EXPECT_EQ(-ENOMEM, register_page(self, fd, 5, VIRTGPU_USERPTR_EVENT));
	ASSERT_EQ(0, vg_userptr_event(fd, &event, SETTLE_MS));
	EXPECT_EQ(0, register_page(self, fd, 5, VIRTGPU_USERPTR_EVENT));
	for (i = 1; i < ROOM - 1; i++)
		ASSERT_EQ(0, vg_userptr_event(fd, &event, SETTLE_MS));
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
}

/* Events that nobody reads must not keep anyone from submitting. */
TEST_F(event, unread_ones_leave_room_for_those_of_fences)
{
	struct loopback_command command = { .op = htole32(LOOPBACK_OP_FILL) };
	struct drm_event *event;
	uint8_t buffer[4096];
	unsigned int i, revoked = 0, fences = 0;
	struct vg vg;
	ssize_t at, got;

	ASSERT_EQ(0, vg_open_polled(&vg, self->session.node, 2, 1u << 1));
	fill_room(_metadata, self, vg.fd);
	for (i = 0; i < ROOM; i++)
		ASSERT_EQ(0, take_back(self, vg.fd, i));
	command.dst_res = htole32(vg.result.res);
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, vg_run(&vg, 1, &command, 1))
		{
			TH_LOG("submission %u", i);
		}
	got = read(vg.fd, buffer, sizeof(buffer));
	ASSERT_LT(0, got);
	for (at = 0; at < got; at += event->length) {
		event = (void *)(buffer + at);
		ASSERT_LE(sizeof(*event), event->length);
		revoked += event->type == VIRTGPU_EVENT_USERPTR_REVOKED;
		fences += event->type == VIRTGPU_EVENT_FENCE_SIGNALED;
	}
	EXPECT_EQ(ROOM, revoked);
	EXPECT_EQ(10, fences);
	vg_close(&vg);
}

/*
 * Another handle of the same object in the same file is not the one that the
 * event is for.  Only the primary node has names, by which to come to one.
 */
TEST_F(event, another_handle_of_the_same_object_closed)
{
	struct drm_virtgpu_event_userptr event;
	struct drm_gem_flink flink = { 0 };
	struct drm_gem_open again = { 0 };
	char node[64];
	int fd;

	snprintf(node, sizeof(node), "/dev/dri/card%d", node_minor(self->session.node) - 128);
	fd = vg_open_node(node);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vg_context_init(fd, VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	ASSERT_EQ(0, register_page(self, fd, 0, VIRTGPU_USERPTR_EVENT));
	flink.handle = self->bos[0].handle;
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_GEM_FLINK, &flink));
	again.name = flink.name;
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_GEM_OPEN, &again));
	ASSERT_NE(self->bos[0].handle, again.handle);
	ASSERT_EQ(0, vg_bo_close(fd, again.handle));
	ASSERT_EQ(0, munmap(self->region.addr, PAGE));
	ASSERT_EQ(0, vg_userptr_event(fd, &event, SETTLE_MS));
	EXPECT_EQ(self->bos[0].handle, event.bo_handle);

	/* The other way round: the one that it was for is closed, so none comes. */
	ASSERT_EQ(0, register_page(self, fd, 1, VIRTGPU_USERPTR_EVENT));
	flink.handle = self->bos[1].handle;
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_GEM_FLINK, &flink));
	again.name = flink.name;
	ASSERT_EQ(0, vg_ioctl(fd, DRM_IOCTL_GEM_OPEN, &again));
	ASSERT_EQ(0, vg_bo_close(fd, self->bos[1].handle));
	ASSERT_EQ(0, munmap(self->region.addr + PAGE, PAGE));
	ASSERT_EQ(0, vg_userptr_wait(fd, again.handle, RELEASED, SETTLE_MS));
	EXPECT_EQ(-ETIME, vg_userptr_event(fd, &event, 0));
	close(fd);
}

/* ---- the file goes while it is to be told ------------------------------------- */

#define FILES 4
#define EACH 120

enum end {
	END_CLOSE, /* one thread takes the memory back, another closes the files */
	END_AFTER, /* the same thread, one after the other */
	END_EXIT, /* the process ends with all of it registered */
	END_READ, /* a third one reads, and holds the file until it has got its events */
};

FIXTURE(race)
{
	struct session session;
};

FIXTURE_VARIANT(race)
{
	enum end end;
	uid_t uid;
};

#define RACE(name, how, user)            \
	FIXTURE_VARIANT_ADD(race, name)  \
	{                                \
		.end = how, .uid = user, \
	}

RACE(close, END_CLOSE, 0);
RACE(close_unprivileged, END_CLOSE, 3010);
RACE(close_after_munmap, END_AFTER, 0);
RACE(exit, END_EXIT, 0);
RACE(exit_unprivileged, END_EXIT, 3010);
RACE(read, END_READ, 0);

FIXTURE_SETUP(race)
{
	session_begin(_metadata, &self->session, "MAIN");
}

FIXTURE_TEARDOWN(race)
{
	session_end(_metadata, &self->session);
}

/**
 * struct racer - one process with as many registrations as its files can tell of
 * @node: device
 * @end: how it ends
 * @uid: whom it runs as
 * @spin: how long the one who closes lets the other one go ahead
 * @fds: its files
 * @addr: FILES * EACH pages
 * @start: lets two threads go at the same time
 */
struct racer {
	const char *node;
	enum end end;
	uid_t uid;
	unsigned int spin;
	int fds[FILES];
	uint8_t *addr;
	pthread_barrier_t start;
};

static void *unmap_all(void *opaque)
{
	struct racer *racer = opaque;

	pthread_barrier_wait(&racer->start);
	munmap(racer->addr, FILES * EACH * PAGE);
	return NULL;
}

static void close_all(struct racer *racer)
{
	int i;

	for (i = 0; i < FILES; i++)
		close(racer->fds[i]);
}

/* Until the first file has told of all, or was closed: then read() has it. */
static void *read_all(void *opaque)
{
	struct racer *racer = opaque;
	uint8_t buffer[4096];
	ssize_t got, done = 0;

	pthread_barrier_wait(&racer->start);
	while (done < EACH * 16) {
		got = read(racer->fds[0], buffer, sizeof(buffer));
		if (got <= 0)
			break;
		done += got;
	}
	return NULL;
}

static int register_for_race(struct racer *racer)
{
	struct vg_bo bo;
	int i;

	if (racer->uid)
		CHECK(!become_user(racer->uid, MIB(8)));
	racer->addr = mmap(NULL, FILES * EACH * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(racer->addr != MAP_FAILED);
	for (i = 0; i < FILES; i++) {
		racer->fds[i] = vg_open_node(racer->node);
		CHECK(racer->fds[i] >= 0);
		CHECK(!vg_context_init(racer->fds[i], VIRTIO_GPU_CAPSET_LOOPBACK, 1));
	}
	for (i = 0; i < FILES * EACH; i++)
		CHECK(!vg_userptr_create(racer->fds[i / EACH], racer->addr + i * PAGE, PAGE,
					 VIRTGPU_USERPTR_EVENT, &bo));
	return 0;
}

static int race(void *opaque)
{
	struct racer *racer = opaque;
	pthread_t threads[2];
	volatile unsigned int k;

	CHECK(!register_for_race(racer));
	if (racer->end == END_EXIT)
		return 0;
	if (racer->end == END_AFTER) {
		CHECK(!munmap(racer->addr, FILES * EACH * PAGE));
		close_all(racer);
		return 0;
	}
	CHECK(!pthread_barrier_init(&racer->start, NULL, racer->end == END_READ ? 3 : 2));
	CHECK(!pthread_create(&threads[0], NULL, unmap_all, racer));
	if (racer->end == END_READ)
		CHECK(!pthread_create(&threads[1], NULL, read_all, racer));
	pthread_barrier_wait(&racer->start);
	/* Not waiting for anything: a random time is the point. */
	for (k = 0; k < racer->spin; k++)
		;
	close_all(racer);
	pthread_join(threads[0], NULL);
	/* The reader may wait for an event that went with its file. */
	return 0;
}

static unsigned int number_of(const char *variable, unsigned int otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

TEST_F_TIMEOUT(race, revoked_while_the_file_goes, 300)
{
	unsigned int seed = number_of("USERPTR_SEED", time(NULL));
	unsigned int rounds = number_of("USERPTR_ROUNDS", 30), i;
	struct racer racer = {
		.node = self->session.node,
		.end = variant->end,
		.uid = variant->uid,
	};
	struct loopback_stats delta;

	printf("# seed %u, %u rounds\n", seed, rounds);
	for (i = 0; i < rounds; i++) {
		racer.spin = rand_r(&seed) % 60000;
		ASSERT_EQ(0, child_result(run_child(race, &racer)));
	}
	ASSERT_EQ(0, wait_no_resources(&self->session.vg, SETTLE_MS));
	ASSERT_EQ(0, stats_since(&self->session, &delta));
	EXPECT_EQ(rounds * FILES * EACH, delta.userptr_created);
	EXPECT_EQ(rounds * FILES * EACH, delta.userptr_destroyed);
}

TEST_HARNESS_MAIN
