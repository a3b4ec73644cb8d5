// SPDX-License-Identifier: MIT
/*
 * userptr-life-stays-test: what is no reason to end a registration
 *
 * What is done to neighbours, what changes no page, and what the kernel does on its
 * own.  Runs in the guest, as root.
 *
 * Invariant: see life.h.
 */
#include <sched.h>

#include "life/life.h"

STAYS_AFTER(nothing, ANON)
{
	return 0;
}

STAYS_AFTER(munmap_of_neighbours, ANON)
{
	return munmap(self->addr - PAGE, PAGE) ?: munmap(self->addr + self->size, PAGE);
}

STAYS_AFTER(madv_dontneed_of_neighbours, ANON)
{
	return madvise(self->addr - PAGE, PAGE, MADV_DONTNEED) ?:
		       madvise(self->addr + self->size, PAGE, MADV_DONTNEED);
}

STAYS_AFTER(map_fixed_over_neighbours, ANON)
{
	return map_over(self->addr - PAGE, PAGE) ?: map_over(self->addr + self->size, PAGE);
}

STAYS_AFTER(punch_hole_beside, MEMFD)
{
	return punch(self, -1, 1) ?: punch(self, PAGES, 1);
}

STAYS_AFTER(punch_hole_under_copied_pages, MEMFD_COW)
{
	return punch(self, 0, PAGES);
}

STAYS_AFTER(ftruncate_to_the_end, MEMFD)
{
	return ftruncate(self->file, self->addr - self->block + self->size);
}

STAYS_AFTER(file_closed, MEMFD)
{
	int ret = close(self->file);

	self->file = -1;
	return ret;
}

STAYS_AFTER(madv_dontneed_shared_file, MEMFD)
{
	return madvise(self->addr, self->size, MADV_DONTNEED);
}

STAYS_AFTER(madv_free, ANON)
{
	return madvise(self->addr, self->size, MADV_FREE);
}

STAYS_AFTER(madv_cold, ANON)
{
	return madvise(self->addr, self->size, MADV_COLD);
}

STAYS_AFTER(madv_pageout_shared_file, MEMFD)
{
	return madvise(self->addr, self->size, MADV_PAGEOUT);
}

STAYS_AFTER(madv_wipeonfork_and_dontfork, ANON)
{
	return madvise(self->addr, self->size, MADV_WIPEONFORK) ?:
		       madvise(self->addr, self->size, MADV_DONTFORK);
}

STAYS_AFTER(madv_collapse, ANON)
{
	/* Refused: where there are huge pages, because of the pins. */
	madvise(self->addr, self->size, MADV_HUGEPAGE);
	return madvise(self->addr, self->size, MADV_COLLAPSE) ? 0 : -EEXIST;
}

STAYS_AFTER(mprotect_read_only, ANON)
{
	return mprotect(self->addr, self->size, PROT_READ) ?:
		       settle(self)			   ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(mprotect_no_access, ANON)
{
	int ret = mprotect(self->addr, self->size, PROT_NONE);

	/* Something that needs a look, at memory that cannot be looked at. */
	if (!ret)
		ret = madvise(self->addr, self->size, MADV_PAGEOUT);
	if (!ret)
		ret = settle(self);
	return ret ?: mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(mprotect_no_access_shared_file, MEMFD)
{
	int ret = mprotect(self->addr, self->size, PROT_NONE);

	if (!ret)
		ret = madvise(self->addr, self->size, MADV_DONTNEED);
	if (!ret)
		ret = settle(self);
	return ret ?: mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(mprotect_of_neighbours, ANON)
{
	return mprotect(self->block, MARGIN * PAGE, PROT_NONE) ?:
		       mprotect(self->addr + self->size, MARGIN * PAGE, PROT_READ);
}

STAYS_AFTER(mlock_and_munlock, ANON)
{
	return mlock(self->addr, self->size) ?: munlock(self->addr, self->size);
}

STAYS_AFTER(mremap_of_neighbour, ANON)
{
	void *to = mremap(self->addr + self->size, PAGE, 8 * PAGE, MREMAP_MAYMOVE);

	return to == MAP_FAILED ? -errno : 0;
}

STAYS_AFTER(drop_caches, MEMFD)
{
	return write_file("/proc/sys/vm/drop_caches", "3");
}

STAYS_AFTER(compact_memory, ANON)
{
	return write_file("/proc/sys/vm/compact_memory", "1");
}

STAYS_AFTER(compact_memory_shared_file, MEMFD)
{
	return write_file("/proc/sys/vm/compact_memory", "1");
}

STAYS_AFTER(clear_refs, ANON)
{
	return write_file("/proc/self/clear_refs", "1") ?: write_file("/proc/self/clear_refs", "4");
}

STAYS_AFTER(madv_pageout_with_swap, ANON)
{
	char path[64];
	int ret = swap_on(self, path, sizeof(path));

	if (ret)
		return ret;
	ret = madvise(self->block, self->block_size, MADV_PAGEOUT) ? -errno : settle(self);
	/* The neighbours did leave. */
	if (!ret && read_counter("/proc/self/status", "VmSwap:") <= 0)
		ret = -ENODATA;
	return (swapoff(path) ? -errno : 0) ?: ret;
}

STAYS_AFTER(madv_pageout_shared_file_with_swap, MEMFD)
{
	char path[64];
	int ret = swap_on(self, path, sizeof(path));

	if (ret)
		return ret;
	ret = madvise(self->block, self->block_size, MADV_PAGEOUT) ? -errno : settle(self);
	return (swapoff(path) ? -errno : 0) ?: ret;
}

#define KSM "/sys/kernel/mm/ksm/"

static int wait_scans(int scans)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	long from = read_counter(KSM "full_scans", "");

	while (read_counter(KSM "full_scans", "") < from + scans) {
		if (vg_now_us() > end)
			return -ETIME;
		sched_yield();
	}
	return 0;
}

/* Every page is the same, so all but the pinned ones can be merged. */
STAYS_AFTER(ksm, ANON)
{
	int ret;

	if (access(KSM "run", W_OK))
		return cannot(self, "no KSM in this kernel");
	memset(self->block, 0x3c, self->block_size);
	if (madvise(self->block, self->block_size, MADV_MERGEABLE))
		return -errno;
	ret = write_file(KSM "sleep_millisecs", "0")	      ?:
		      write_file(KSM "pages_to_scan", "1000") ?:
								write_file(KSM "run", "1");
	if (!ret)
		ret = wait_scans(4);
	/* The margins were merged. */
	if (!ret && read_counter(KSM "pages_sharing", "") <= 0)
		ret = -ENODATA;
	if (!ret)
		ret = settle(self);
	write_file(KSM "run", "2");
	write_file(KSM "run", "0");
	return ret;
}

TEST_HARNESS_MAIN
