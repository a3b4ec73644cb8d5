// SPDX-License-Identifier: MIT
/*
 * usage: agm-squeeze SWAP PAGES
 *
 * Makes the kernel short of memory, until it has taken that many pages from objects of the model
 * that are process memory: as seen from them, by their notifiers.  SWAP is a device to swap to.
 * Advice (MADV_PAGEOUT) would not do: it leaves alone what several processes have mapped, as a VMM
 * and a device have the memory of a guest.
 *
 * It takes memory in steps and locks it, so that there is less and less for all others, and ends
 * when the pages have gone (status 0) or when there is next to nothing left to take (status 1).
 * Should the kernel find no other way it is this program that it kills.
 */
#include "agt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>

#define STEP 4194304ul
/* What is left to all others at the least. */
#define SPARE 67108864ul

static int take_step(void)
{
	void *step = mmap(NULL, STEP, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);

	return step == MAP_FAILED ? -errno : 0;
}

static int squeeze(int64_t pages)
{
	int64_t before = agt_stat("invalidations"), gone;
	struct sysinfo info;
	uint64_t taken = 0;

	if (before < 0 || sysinfo(&info))
		return 1;
	for (;;) {
		gone = agt_stat("invalidations") - before;
		if (gone >= pages || taken + SPARE > (uint64_t)info.totalram * info.mem_unit ||
		    take_step())
			break;
		taken += STEP;
	}
	fprintf(stderr,
		"agm-squeeze: %" PRId64 " of %" PRId64 " pages have gone with %" PRIu64
		" MiB less\n",
		gone, pages, taken >> 20);
	return gone < pages;
}

static int kill_me_first(void)
{
	FILE *file = fopen("/proc/self/oom_score_adj", "we");
	int ret;

	if (!file)
		return -errno;
	ret = fputs("1000", file) < 0 ? -EIO : 0;
	return fclose(file) && !ret ? -errno : ret;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: agm-squeeze SWAP PAGES\n");
		return 2;
	}
	if (swapon(argv[1], 0) && errno != EBUSY) {
		fprintf(stderr, "agm-squeeze: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	if (kill_me_first())
		return 1;
	return squeeze(strtol(argv[2], NULL, 10));
}
