// SPDX-License-Identifier: MIT
/*
 * userptr-life-huge-test: what ends a registration of huge pages, and what does not
 *
 * Transparent ones, also such as are made or split meanwhile, and those of hugetlb.
 * Runs in the guest, as root.
 *
 * Invariant: see life.h.
 */
#include <sched.h>

#include "life/life.h"

/* The first page of the huge page that is registered as a whole. */
static uint8_t *whole_huge(SELF *self)
{
	return self->addr + HUGE_PAGE / 2;
}

REVOKED_BY(thp_madv_dontneed_of_a_page, THP)
{
	return madvise(whole_huge(self) + 100 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_madv_dontneed_of_a_huge_page, THP)
{
	return madvise(whole_huge(self), HUGE_PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_madv_dontneed_across_the_edge, THP)
{
	return madvise(self->addr - PAGE, 2 * PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_madv_dontneed_and_touched, THP)
{
	int ret = madvise(whole_huge(self), HUGE_PAGE, MADV_DONTNEED);

	memset(whole_huge(self), 1, HUGE_PAGE);
	return ret;
}

REVOKED_AS_LOOKED_UP(thp_madv_dontneed_without_access, THP)
{
	return mprotect(self->addr, self->size, PROT_NONE) ?:
		       settle(self)			   ?:
		       madvise(whole_huge(self) + 7 * PAGE, PAGE, MADV_DONTNEED);
}

REVOKED_BY(thp_munmap_of_a_page, THP)
{
	return munmap(whole_huge(self) + 511 * PAGE, PAGE);
}

REVOKED_BY(thp_mremap_of_a_huge_page, THP)
{
	void *to = self->block + 3 * HUGE_PAGE;

	return mremap(whole_huge(self), HUGE_PAGE, HUGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) ==
			       to ?
		       0 :
		       -errno;
}

/* What was done to a neighbour has split the huge pages that are shared with it. */
static int was_split(long before)
{
	return huge_kib() > before - 2 * (long)HUGE_PAGE / 1024 ? -ENODATA : 0;
}

STAYS_AFTER(thp_munmap_of_neighbours, THP)
{
	long before = huge_kib();

	return munmap(self->block, HUGE_PAGE / 2)		      ?:
		       munmap(self->addr + self->size, HUGE_PAGE / 2) ?:
									was_split(before);
}

STAYS_AFTER(thp_madv_dontneed_of_neighbours, THP)
{
	long before = huge_kib();

	return madvise(self->addr - PAGE, PAGE, MADV_DONTNEED)		     ?:
		       madvise(self->addr + self->size, PAGE, MADV_DONTNEED) ?:
									       was_split(before);
}

STAYS_AFTER(thp_mprotect_of_neighbours, THP)
{
	long before = huge_kib();

	return mprotect(self->block, HUGE_PAGE / 2, PROT_NONE)			   ?:
		       mprotect(self->addr + self->size, HUGE_PAGE / 2, PROT_READ) ?:
		       was_split(before);
}

STAYS_AFTER(thp_mremap_of_neighbours, THP)
{
	long before = huge_kib();
	void *to = self->block + 3 * HUGE_PAGE;

	if (mremap(self->block, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		return -errno;
	return munmap(self->addr + self->size, PAGE) ?: was_split(before);
}

/* Split where nobody may look: all that is left to tell is that it is mapped. */
STAYS_AFTER(thp_mprotect_no_access_to_a_page, THP)
{
	long before = huge_kib();
	uint8_t *at = whole_huge(self) + 9 * PAGE;

	return mprotect(at, PAGE, PROT_NONE)		    ?:
		       (huge_kib() < before ? 0 : -ENODATA) ?:
		       settle(self)			    ?:
		       mprotect(at, PAGE, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(thp_mprotect_no_access_and_split, THP)
{
	return mprotect(self->addr, self->size, PROT_NONE)		  ?:
		       munmap(self->addr + self->size, HUGE_PAGE / 2)	  ?:
		       mprotect(whole_huge(self) + PAGE, PAGE, PROT_READ) ?:
		       settle(self)					  ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

STAYS_AFTER(thp_mprotect_no_access_and_partly_unmapped, THP)
{
	return munmap(self->block, HUGE_PAGE / 2)		   ?:
		       mprotect(self->addr, self->size, PROT_NONE) ?:
		       madvise(self->addr, self->size, MADV_FREE)  ?:
		       settle(self)				   ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

REVOKED_AS_LOOKED_UP(thp_madv_dontneed_without_access_partly_unmapped, THP)
{
	return munmap(self->block, HUGE_PAGE / 2)		   ?:
		       mprotect(self->addr, self->size, PROT_NONE) ?:
		       settle(self)				   ?:
		       madvise(self->addr + 3 * PAGE, PAGE, MADV_DONTNEED);
}

STAYS_AFTER(thp_madv_free_of_a_part, THP)
{
	return madvise(whole_huge(self) + 3 * PAGE, 100 * PAGE, MADV_FREE) ?:
		       madvise(self->addr, self->size, MADV_FREE);
}

STAYS_AFTER(thp_pageout_with_swap, THP)
{
	char path[64];
	int ret = swap_on(self, path, sizeof(path));

	if (ret)
		return ret;
	ret = madvise(self->block, self->block_size, MADV_PAGEOUT) ? -errno : settle(self);
	/* The one that is not registered did leave. */
	if (!ret && read_counter("/proc/self/status", "VmSwap:") <= 0)
		ret = -ENODATA;
	return (swapoff(path) ? -errno : 0) ?: ret;
}

/* A huge page cannot be made of what is pinned, but beside it. */
static int collapse(SELF *self)
{
	uint64_t end = vg_now_us() + SETTLE_MS * 1000ull;
	int ret = allow_huge(self);

	if (!ret && !madvise(self->block, HUGE_PAGE, MADV_COLLAPSE))
		ret = -EEXIST;
	/* Again where the kernel's thread is at the same pages. */
	while (!ret && madvise(self->block + HUGE_PAGE, HUGE_PAGE, MADV_COLLAPSE)) {
		if (errno != EAGAIN || vg_now_us() > end)
			ret = -errno;
	}
	return ret;
}

STAYS_AFTER(madv_collapse_of_a_part_and_a_neighbour, SPARSE)
{
	return collapse(self) ?: huge_kib() > 0 ? 0 : -ENODATA;
}

STAYS_AFTER(madv_collapse_of_a_part_and_a_neighbour_shared_file, SPARSE_FILE)
{
	return collapse(self);
}

/* The kernel's own threads have their own pace. */
#define KHUGEPAGED_MS 25000
#define KHUGEPAGED THP_DIR "khugepaged/"

/* Until the kernel's thread has made a huge page of the neighbour. */
STAYS_AFTER(khugepaged, SPARSE)
{
	uint64_t end = vg_now_us() + KHUGEPAGED_MS * 1000ull;
	long before = huge_kib(), scans;
	int ret = write_file(KHUGEPAGED "pages_to_scan", "8192")	      ?:
			  write_file(KHUGEPAGED "scan_sleep_millisecs", "10") ?:
										allow_huge(self);

	while (!ret && huge_kib() <= before)
		ret = vg_now_us() > end ? -ETIME : sched_yield();
	/* It may have come to the registered pages before, or not yet. */
	scans = read_counter(KHUGEPAGED "full_scans", "");
	while (!ret && read_counter(KHUGEPAGED "full_scans", "") < scans + 2)
		ret = vg_now_us() > end ? -ETIME : sched_yield();
	write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
	return ret;
}

REVOKED_BY(hugetlb_munmap_of_one, HUGETLB)
{
	return munmap(self->addr + HUGE_PAGE, HUGE_PAGE);
}

REVOKED_BY(hugetlb_munmap_of_one_shared_file, HUGETLB_FILE)
{
	return munmap(self->addr, HUGE_PAGE);
}

REVOKED_BY(hugetlb_madv_dontneed_of_one, HUGETLB)
{
	return madvise(self->addr + HUGE_PAGE, HUGE_PAGE, MADV_DONTNEED);
}

REVOKED_AS_LOOKED_UP(hugetlb_madv_dontneed_without_access, HUGETLB)
{
	return mprotect(self->addr, self->size, PROT_NONE) ?:
		       settle(self)			   ?:
		       madvise(self->addr, HUGE_PAGE, MADV_DONTNEED);
}

REVOKED_BY(hugetlb_mremap_of_one, HUGETLB)
{
	void *to = self->block + 3 * HUGE_PAGE;

	return mremap(self->addr, HUGE_PAGE, HUGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ?
		       0 :
		       -errno;
}

REVOKED_AS_LOOKED_UP(hugetlb_punch_hole, HUGETLB_FILE)
{
	return fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_PAGE,
			 HUGE_PAGE);
}

REVOKED_BY(hugetlb_ftruncate, HUGETLB_FILE)
{
	return ftruncate(self->file, 2 * HUGE_PAGE);
}

STAYS_AFTER(hugetlb_munmap_of_neighbours, HUGETLB)
{
	return munmap(self->block, HUGE_PAGE) ?: munmap(self->addr + self->size, HUGE_PAGE);
}

/* There is no such thing as a part of one: it is refused, or rounded to nothing. */
STAYS_AFTER(hugetlb_munmap_of_a_part, HUGETLB)
{
	if (!munmap(self->addr + PAGE, PAGE) || errno != EINVAL)
		return -EEXIST;
	return madvise(self->addr, PAGE, MADV_DONTNEED) && errno != EINVAL ? -errno : 0;
}

STAYS_AFTER(hugetlb_punch_hole_in_a_part, HUGETLB_FILE)
{
	return fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE_PAGE / 2, HUGE_PAGE / 2) ?:
		       fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 3 * HUGE_PAGE, HUGE_PAGE);
}

STAYS_AFTER(hugetlb_madv_dontneed_shared_file, HUGETLB_FILE)
{
	return madvise(self->addr, self->size, MADV_DONTNEED);
}

STAYS_AFTER(hugetlb_mprotect_no_access, HUGETLB)
{
	return mprotect(self->addr, self->size, PROT_NONE)	      ?:
		       madvise(self->block, HUGE_PAGE, MADV_DONTNEED) ?:
		       settle(self)				      ?:
		       mprotect(self->addr, self->size, PROT_READ | PROT_WRITE);
}

TEST_HARNESS_MAIN
