// SPDX-License-Identifier: MIT
/*
 * userptr-kmemleak-test: does the kernel find memory that it has lost?
 *
 * The last program of a boot.  Runs in the guest, as root, with kmemleak on.
 */
#include "lib/userptr-test-session.h"

/*
 * In a run of its own, after everything that it is to look through.  What was
 * allocated before there was any process is the kernel's own affair.
 */
FIXTURE(memory)
{
	bool unused;
};

FIXTURE_SETUP(memory)
{
	self->unused = true;
}

FIXTURE_TEARDOWN(memory)
{
}

/* To look at all memory takes long where all debugging is on, and the machine is shared. */
TEST_F_TIMEOUT(memory, kmemleak, 180)
{
	const char *path = "/sys/kernel/debug/kmemleak";
	char first[256] = "", line[256];
	bool ours = false;
	FILE *file;
	int ret;

	ret = write_file(path, "scan");
	if (ret)
		SKIP(return, "kmemleak is not on: %s", strerror(-ret));
	/* A second look removes what was only on its way. */
	ASSERT_EQ(0, write_file(path, "scan"));
	file = fopen(path, "re");
	ASSERT_NE(NULL, file);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "unreferenced object", 19)) {
			ours = false;
			strcpy(first, line);
			continue;
		}
		if (!strncmp(line, "  comm ", 7) && !strstr(line, " pid 0,")) {
			ours = true;
			TH_LOG("%.200s", first);
		}
		if (ours)
			EXPECT_TRUE(false)
			{
				TH_LOG("%.200s", line);
			}
	}
	fclose(file);
}

TEST_HARNESS_MAIN
