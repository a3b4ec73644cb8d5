// SPDX-License-Identifier: MIT
/*
 * The card is pulled out, with jobs in flight and buffers shared, and comes back.
 */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define SIZE (16 * AGT_PAGE)
#define FUNCTION "/sys/bus/pci/devices/0000:03:00.0/remove"

static int put(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, "1", 1) == 1 ? 0 : -errno;
	close(fd);
	return ret;
}

static bool comes_back(void)
{
	char path[64];
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (!agt_node(path, sizeof(path)))
			return true;
		usleep(1000);
	}
	return false;
}

/* With a submission that waits for a place behind 32 others. */
TEST(unplug_with_a_full_ring)
{
	struct agt_submit s = { .ip = AGT_SDMA };
	int status, i;
	struct agt t;
	pid_t child;

	ASSERT_EQ(0, agt_open(&t));
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int ret = 0;

		agt_close(&t);
		if (agt_open(&t))
			_exit(1);
		agt_start(&t);
		AGT_EMIT(&t, 0);
		for (i = 0; i < 33 && !ret; i++)
			ret = agt_submit(&t, &s);
		_exit(i == 33 && ret == -ENODEV ? 0 : 2);
	}
	for (i = 0; i < 10000 && agt_pending("sdma0") < 32; i++)
		usleep(1000);
	ASSERT_EQ(32, agt_pending("sdma0"));
	usleep(50000);
	ASSERT_EQ(0, put(FUNCTION));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	agt_close(&t);
	ASSERT_EQ(0, put("/sys/bus/pci/rescan"));
	ASSERT_TRUE(comes_back());
}

/* With a job that waits for another driver, which takes its time. */
TEST(unplug_with_a_foreign_fence)
{
	struct agt_submit s = { .ip = AGT_SDMA, .num_bos = 1 };
	struct agt_vgem vgem;
	uint32_t handle;
	uint64_t start;
	struct agt t;

	ASSERT_EQ(0, agt_open(&t));
	ASSERT_EQ(0, agt_vgem_create(&vgem, SIZE));
	ASSERT_EQ(0, agt_vgem_attach_fence(&vgem));
	ASSERT_EQ(0, agt_import(&t, vgem.dmabuf, &handle));
	s.bos = &handle;
	agt_start(&t);
	AGT_EMIT(&t, 0);
	ASSERT_EQ(0, agt_submit(&t, &s));
	EXPECT_EQ(-ETIME, agt_wait(&t, &s, 20));
	start = agt_now();
	ASSERT_EQ(0, put(FUNCTION));
	EXPECT_GT(5000000000ull, agt_now() - start);
	EXPECT_EQ(0, agt_vgem_signal_fence(&vgem));
	agt_close(&t);
	close(vgem.dmabuf);
	close(vgem.fd);
	ASSERT_EQ(0, put("/sys/bus/pci/rescan"));
	ASSERT_TRUE(comes_back());
}

TEST(unplug)
{
	struct agt_submit s = { .ip = AGT_SDMA, .num_bos = 1 },
			  waits = { .ip = AGT_SDMA, .ring = 1 };
	struct pollfd p = { .events = POLLOUT };
	struct agt_bo a, b, user;
	uint8_t *shared, *mem;
	struct agt t, again;

	ASSERT_EQ(0, agt_open(&t));
	ASSERT_EQ(0, agt_bo_make(&t, SIZE, AMDGPU_GEM_DOMAIN_VRAM, AGT_VA, &a));
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(0, agt_bo_userptr(&t, mem, SIZE, AMDGPU_GEM_USERPTR_REGISTER, &user));
	ASSERT_EQ(0, agt_map(&t, &user, AGT_VA + 0x1000000, AGT_RW));
	p.fd = agt_export(&t, a.handle);
	ASSERT_LE(0, p.fd);
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
	s.bos = &a.handle;
	agt_start(&t);
	agt_sdma_fill(&t, AGT_VA, 0x77777777, SIZE);
	ASSERT_EQ(0, agt_syncobj(&t, &s.out));
	waits.in = s.out;
	ASSERT_EQ(0, agt_hold(AGT_HOLD_ALL));
	ASSERT_EQ(0, agt_submit(&t, &s));
	ASSERT_EQ(0, agt_submit(&t, &waits));
	EXPECT_EQ(0, poll(&p, 1, 0));

	ASSERT_EQ(0, put(FUNCTION));
	/* All fences have signalled, nothing was written, and nothing works any more. */
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(0, shared[0]);
	EXPECT_EQ(-ENODEV, agt_submit(&t, &s));
	EXPECT_EQ(-ENODEV, agt_bo_create(&t, SIZE, AMDGPU_GEM_DOMAIN_GTT, 0, &b));
	shared[1] = 1;
	/* Memory of the process goes as ever. */
	ASSERT_EQ(0, munmap(mem, SIZE));

	ASSERT_EQ(0, put("/sys/bus/pci/rescan"));
	ASSERT_TRUE(comes_back());
	ASSERT_EQ(0, agt_open(&again));
	agt_start(&again);
	AGT_EMIT(&again, 0);
	EXPECT_EQ(0, agt_run(&again, AGT_SDMA, NULL, 0));
	agt_close(&t);
	EXPECT_EQ(1, shared[1]);
	munmap(shared, SIZE);
	close(p.fd);
	EXPECT_EQ(0, agt_run(&again, AGT_SDMA, NULL, 0));
	agt_close(&again);
}

TEST_HARNESS_MAIN
