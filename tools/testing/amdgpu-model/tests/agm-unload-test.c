// SPDX-License-Identifier: MIT
/*
 * The module goes when nobody uses it, and comes back.  AGM_MODULE in the environment is its file.
 */
#include "agt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"

static int unload(void)
{
	return syscall(SYS_delete_module, "amdgpu_model", O_NONBLOCK) ? -errno : 0;
}

static int load(void)
{
	const char *path = getenv("AGM_MODULE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, ret;

	if (fd < 0)
		return -ENOENT;
	ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return ret;
}

TEST(goes_and_comes_back)
{
	struct agt_submit s = { .ip = AGT_SDMA };
	char path[64];
	int round, tries, ret, buffer;
	struct agt t;

	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, agt_open(&t));
		ret = unload();
		if (ret == -ENOSYS)
			SKIP(return, "this kernel cannot unload modules");
		EXPECT_EQ(-EWOULDBLOCK, ret);
		/* A buffer that somebody else holds keeps it too. */
		buffer = agt_export(&t, t.ib.handle);
		ASSERT_LE(0, buffer);
		agt_start(&t);
		AGT_EMIT(&t, 0);
		ASSERT_EQ(0, agt_submit(&t, &s));
		ASSERT_EQ(0, agt_wait(&t, &s, AGT_TIMEOUT_MS));
		agt_close(&t);
		EXPECT_EQ(-EWOULDBLOCK, unload());
		close(buffer);
		/* What a job held is given back a little later. */
		for (tries = 0; tries < 1000 && (ret = unload()) == -EWOULDBLOCK; tries++)
			usleep(1000);
		ASSERT_EQ(0, ret);
		EXPECT_EQ(-ENODEV, agt_node(path, sizeof(path)));
		ASSERT_EQ(0, load());
		EXPECT_EQ(0, agt_node(path, sizeof(path)));
	}
}

TEST_HARNESS_MAIN
