// SPDX-License-Identifier: MIT
/*
 * userptr-fault-test: what userptr resources do when the device says no
 *
 * Limits of the device, devices that lack a feature, devices that answer errors,
 * answer late or never answer, and a creator that is killed meanwhile.  Devices
 * that go away are in device/userptr-unplug-test.c.  Runs in the guest.
 *
 * Invariant: see userptr-test-session.h.
 */
#include <signal.h>
#include <sys/time.h>

#include "lib/userptr-test-session.h"

/* Non-fatal signals are let in after a second without an answer. */
#define PATIENCE_MS 1000

/* ---- limits of the device ------------------------------------------------- */

FIXTURE(small)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(small)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "SMALL");
}

FIXTURE_TEARDOWN(small)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

TEST_F(small, max_size)
{
	struct session *session = &self->session;
	struct drm_virtgpu_userptr_query query;

	ASSERT_EQ(0, vg_userptr_query(session->vg.fd, &query));
	EXPECT_EQ(SMALL_BYTES, query.max_size);
	EXPECT_EQ(SMALL_SEGMENTS, query.max_segments);
	/* In fewer pieces than the device's other limit allows. */
	ASSERT_EQ(0, region_huge(&self->region, SMALL_BYTES / PAGE + 1));
	ASSERT_GE(SMALL_SEGMENTS, self->region.runs);
	EXPECT_EQ(-E2BIG, try_create(session, self->region.addr, SMALL_BYTES + PAGE, 0));
	expect_untouched(_metadata, session);
	EXPECT_EQ(0, try_create(session, self->region.addr, SMALL_BYTES, 0));
}

TEST_F(small, max_segments)
{
	struct session *session = &self->session;
	struct region *region = &self->region;
	struct loopback_stats delta;
	struct vg_bo bo;

	ASSERT_EQ(0, region_scattered(region, SMALL_SEGMENTS + 1));
	EXPECT_EQ(-E2BIG, create(session, region, 0, &bo));
	/* What had left already was taken back; the device need not say no. */
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(0, delta.userptr_created);
	EXPECT_EQ(0, delta.errors);
	ASSERT_EQ(0, vg_stats(&session->vg, &session->before));
	region_free(region);
	ASSERT_EQ(0, region_scattered(region, SMALL_SEGMENTS));
	ASSERT_EQ(0, create(session, region, 0, &bo));
	EXPECT_TRUE(same_digest(&session->vg, bo.res, region->addr, region->size));
	/* And no command carried more than the device takes. */
	ASSERT_EQ(0, stats_since(session, &delta));
	EXPECT_EQ(SMALL_SEGMENTS / SMALL_ENTRIES, delta.userptr_commands);
	EXPECT_EQ(0, delta.errors);
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

/* ---- devices that lack something ------------------------------------------- */

FIXTURE(lacking)
{
	struct session session;
	struct region region;
};

FIXTURE_VARIANT(lacking)
{
	const char *device;
	/* What the create ioctl accepts, 0: nothing at all. */
	uint32_t flags;
};

#define LACKING_VARIANT(name, variable, accepted)        \
	FIXTURE_VARIANT_ADD(lacking, name)               \
	{                                                \
		.device = (variable), .flags = accepted, \
	}

LACKING_VARIANT(userptr, "NOUSERPTR", 0);
LACKING_VARIANT(direct_access, "DMA", 0);
LACKING_VARIANT(read_only, "NORDONLY", VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT);

FIXTURE_SETUP(lacking)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, variant->device);
	if (self->session.node)
		ASSERT_EQ(0, region_alloc(&self->region, 8));
}

FIXTURE_TEARDOWN(lacking)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

TEST_F(lacking, refused)
{
	struct session *session = &self->session;
	const struct region *region = &self->region;
	struct drm_virtgpu_userptr_query query;
	struct drm_virtgpu_userptr_info info;
	int answer = variant->flags ? 0 : -EOPNOTSUPP;
	uint64_t value;

	EXPECT_EQ(0, vg_getparam(session->vg.fd, VIRTGPU_PARAM_USERPTR, &value));
	EXPECT_EQ(variant->flags, value);
	EXPECT_EQ(answer, vg_userptr_query(session->vg.fd, &query));
	EXPECT_EQ(variant->flags, query.create_flags);
	EXPECT_EQ(0, query.rdonly_capset_mask);
	EXPECT_EQ(-EOPNOTSUPP,
		  try_create(session, region->addr, region->size, VIRTGPU_USERPTR_RDONLY));
	if (answer) {
		EXPECT_EQ(answer, try_create(session, region->addr, region->size, 0));
		EXPECT_EQ(answer,
			  try_create(session, region->addr, region->size, VIRTGPU_USERPTR_KEEP));
		EXPECT_EQ(answer,
			  vg_userptr_info(session->vg.fd, session->vg.result.handle, &info));
	}
	expect_untouched(_metadata, session);
	if (!answer)
		EXPECT_EQ(0, try_create(session, region->addr, region->size, 0));
	/* The rest of the driver works as ever: the session's blob does. */
	EXPECT_EQ(0, vg_fill(&session->vg, session->vg.result.res, VG_RESULT_DATA, 1, 0x5c));
	EXPECT_EQ(0x5c, session->vg.map[VG_RESULT_DATA]);
}

/* ---- devices that answer errors --------------------------------------------- */

FIXTURE(error)
{
	struct session session;
	struct region region;
};

FIXTURE_VARIANT(error)
{
	uint32_t answer;
	int expected;
};

#define ERROR_VARIANT(name, type, error_code)               \
	FIXTURE_VARIANT_ADD(error, name)                    \
	{                                                   \
		.answer = (type), .expected = (error_code), \
	}

/* The table in drivers/gpu/drm/virtio/virtgpu_userptr_cmd.c. */
ERROR_VARIANT(unspec, VIRTIO_GPU_RESP_ERR_UNSPEC, -EIO);
ERROR_VARIANT(out_of_memory, VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY, -ENOMEM);
ERROR_VARIANT(invalid_resource_id, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, -ENOENT);
ERROR_VARIANT(invalid_context_id, VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID, -ENOENT);
ERROR_VARIANT(invalid_parameter, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, -EINVAL);
ERROR_VARIANT(limit, VIRTIO_GPU_RESP_ERR_LIMIT, -ENOSPC);
ERROR_VARIANT(unsupported, VIRTIO_GPU_RESP_ERR_UNSUPPORTED, -EOPNOTSUPP);
ERROR_VARIANT(unknown_error, 0x12ff, -EIO);
/* An answer that is none of ours is no success either. */
ERROR_VARIANT(wrong_success, VIRTIO_GPU_RESP_OK_DISPLAY_INFO, -EIO);

FIXTURE_SETUP(error)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "SMALL");
	if (self->session.node)
		ASSERT_EQ(0, region_scattered(&self->region, SMALL_SEGMENTS));
}

FIXTURE_TEARDOWN(error)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

static void fail_once(struct __test_metadata *_metadata, struct session *session,
		      const struct region *region, const struct vg_fault *fault, int expected)
{
	int log = kmsg_open();
	struct vg_bo bo;

	ASSERT_LE(0, log);
	ASSERT_EQ(0, vg_inject(&session->vg, fault));
	EXPECT_EQ(expected, create(session, region, 0, &bo))
	{
		TH_LOG("command %#x, after %lu", fault->command, fault->skip);
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	/* That the device has never heard of what is destroyed is no error. */
	EXPECT_FALSE(kmsg_says(log, "(command 0x183)"))
	{
		TH_LOG("the log has a second error for one refusal");
	}
	close(log);
	/* Once: the next one works. */
	EXPECT_EQ(0, try_create(session, region->addr, region->size, 0));
}

TEST_F(error, at_every_command)
{
	struct vg_fault fault = { .fault = LOOPBACK_FAULT_ERROR, .param = variant->answer };
	struct loopback_stats delta;

	fault.command = VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR;
	fail_once(_metadata, &self->session, &self->region, &fault, variant->expected);
	fault.command = VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES;
	for (fault.skip = 0; fault.skip < SMALL_SEGMENTS / SMALL_ENTRIES - 1; fault.skip++)
		fail_once(_metadata, &self->session, &self->region, &fault, variant->expected);
	fault.skip = 0;
	fault.command = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
	fail_once(_metadata, &self->session, &self->region, &fault, variant->expected);
	ASSERT_EQ(0, stats_since(&self->session, &delta));
	/* Five times refused, five times made, and once more before the attach. */
	EXPECT_EQ(6, delta.userptr_created);
}

/* ---- devices that answer late or never ------------------------------------- */

FIXTURE(late)
{
	struct session session;
	struct region region;
};

FIXTURE_SETUP(late)
{
	memset(&self->region, 0, sizeof(self->region));
	session_begin(_metadata, &self->session, "SMALL");
	if (self->session.node)
		ASSERT_EQ(0, region_scattered(&self->region, SMALL_SEGMENTS));
}

FIXTURE_TEARDOWN(late)
{
	session_end(_metadata, &self->session);
	region_free(&self->region);
}

static int delay(struct session *session, uint32_t command, uint64_t ms)
{
	const struct vg_fault fault = {
		.fault = LOOPBACK_FAULT_DELAY,
		.command = command,
		.param = ms,
	};

	return vg_inject(&session->vg, &fault);
}

TEST_F(late, success)
{
	struct session *session = &self->session;
	uint64_t started = vg_now_us();
	struct vg_bo bo;

	/* Success is not told before the last answer. */
	ASSERT_EQ(0, delay(session, VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES, 400));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	EXPECT_LE(400000, vg_now_us() - started);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, self->region.addr, self->region.size));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));

	started = vg_now_us();
	ASSERT_EQ(0, delay(session, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 400));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	EXPECT_LE(400000, vg_now_us() - started);
	EXPECT_TRUE(same_digest(&session->vg, bo.res, self->region.addr, self->region.size));
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
}

/* The release rule: pinned until the device has said that it let go. */
TEST_F(late, release)
{
	struct session *session = &self->session;
	struct loopback_stats stats;
	uint64_t started;
	struct vg_bo bo;

	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	ASSERT_EQ(0, delay(session, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 1500));
	started = vg_now_us();
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));
	EXPECT_GT(1000000, vg_now_us() - started)
	{
		TH_LOG("closing waited for the device");
	}
	ASSERT_EQ(0, vg_stats(&session->vg, &stats));
	EXPECT_EQ((long)(self->region.size / 1024), vg_status_kib("VmPin"));
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
	EXPECT_LE(1500000, vg_now_us() - started)
	{
		TH_LOG("unpinned before the answer");
	}
}

static void count_signal(int number)
{
}

/* SIGALRM after @ms, without SA_RESTART. */
static int signal_after(int ms)
{
	const struct itimerval timer = {
		.it_value = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 },
	};
	struct sigaction action = { .sa_handler = count_signal };

	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &timer, NULL))
		return -errno;
	return 0;
}

/* The harness has an alarm of its own in its own process, not in this one. */
TEST_F(late, signal_after_the_first_second)
{
	struct session *session = &self->session;
	uint64_t started = vg_now_us();
	struct vg_bo bo;

	ASSERT_EQ(0, delay(session, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 2500));
	ASSERT_EQ(0, signal_after(PATIENCE_MS + 300));
	EXPECT_EQ(-EINTR, create(session, &self->region, 0, &bo));
	started = vg_now_us() - started;
	EXPECT_LE((PATIENCE_MS + 300) * 1000, started);
	EXPECT_GT(2400 * 1000, started)
	{
		TH_LOG("returned after %lu us", started);
	}
	EXPECT_EQ(0, vg_wait_status_kib("VmPin", 0, SETTLE_MS));
}

TEST_F(late, signal_in_the_first_second)
{
	struct session *session = &self->session;
	uint64_t started = vg_now_us();
	struct vg_bo bo;

	/* An answer within the second: the signal changes nothing. */
	ASSERT_EQ(0, delay(session, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 600));
	ASSERT_EQ(0, signal_after(200));
	ASSERT_EQ(0, create(session, &self->region, 0, &bo));
	EXPECT_LE(600000, vg_now_us() - started);
	EXPECT_EQ(0, vg_bo_close(session->vg.fd, bo.handle));

	/* No answer within it: the signal is seen when it is over. */
	started = vg_now_us();
	ASSERT_EQ(0, delay(session, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 2500));
	ASSERT_EQ(0, signal_after(200));
	EXPECT_EQ(-EINTR, create(session, &self->region, 0, &bo));
	started = vg_now_us() - started;
	EXPECT_LE(PATIENCE_MS * 1000, started);
	EXPECT_GT(2400 * 1000, started)
	{
		TH_LOG("returned after %lu us", started);
	}
}

/* Only returns if the registration does; it is to be killed in it. */
static int create_in_child(void *opaque)
{
	const char *node = opaque;
	struct region region;
	struct vg_bo bo;
	struct vg vg;

	/* Not the parent's memory, whose pages would be copied to new places. */
	CHECK(!region_scattered(&region, SMALL_SEGMENTS));
	CHECK(!vg_open(&vg, node, 1));
	vg_userptr_create(vg.fd, region.addr, region.size, 0, &bo);
	return 99;
}

static void kill_creator(struct __test_metadata *_metadata, struct session *session,
			 struct region *region, const struct vg_fault *fault)
{
	bool attach = fault->command == VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
	const struct vg_fault none = { .fault = LOOPBACK_FAULT_NONE };
	struct loopback_stats stats;
	char path[128];
	uint64_t started;
	int status;
	pid_t pid;

	debugfs_path(path, sizeof(path), session->node);
	ASSERT_EQ(0, vg_stats(&session->vg, &stats));
	ASSERT_EQ(0, vg_inject(&session->vg, fault));
	pid = run_child(create_in_child, (void *)session->node);
	ASSERT_LT(0, pid);
	/* It is in the ioctl, and past the command that is late. */
	EXPECT_EQ(0,
		  wait_commands(session, stats.userptr_commands + SMALL_SEGMENTS / SMALL_ENTRIES));
	EXPECT_EQ(0, wait_file_contains(path, attach ? "LIVE" : "CREATING", SETTLE_MS));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	started = vg_now_us();
	ASSERT_EQ(0, wait_child(pid, 5000, &status))
	{
		TH_LOG("it cannot be killed");
	}
	EXPECT_GT(2000000, vg_now_us() - started)
	{
		TH_LOG("it took %lu us to die", vg_now_us() - started);
	}
	EXPECT_TRUE(WIFSIGNALED(status))
	{
		TH_LOG("status %#x", status);
	}
	EXPECT_EQ(0, wait_no_resources(&session->vg, SETTLE_MS));
	EXPECT_EQ(0, wait_pins(session->pins, SETTLE_MS));
	EXPECT_EQ(0, vg_inject(&session->vg, &none));
	EXPECT_EQ(0, try_create(session, region->addr, region->size, 0));
}

TEST_F(late, creator_killed)
{
	struct vg_fault fault = { .fault = LOOPBACK_FAULT_DELAY, .param = 3000 };

	fault.command = VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR;
	kill_creator(_metadata, &self->session, &self->region, &fault);
	fault.command = VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES;
	fault.skip = 2;
	kill_creator(_metadata, &self->session, &self->region, &fault);
	fault.command = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
	/* The first attach is that of the child's results blob. */
	fault.skip = 1;
	kill_creator(_metadata, &self->session, &self->region, &fault);
}

TEST_F(late, creator_killed_without_any_answer)
{
	struct vg_fault fault = { .fault = LOOPBACK_FAULT_DROP };

	fault.command = VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR;
	kill_creator(_metadata, &self->session, &self->region, &fault);
	fault.command = VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES;
	fault.skip = 1;
	kill_creator(_metadata, &self->session, &self->region, &fault);
	fault.command = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
	kill_creator(_metadata, &self->session, &self->region, &fault);
}

TEST_HARNESS_MAIN
