// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: noticing that the owner took the memory back
 *
 * The pages of a resource are pinned, so the kernel neither moves nor replaces
 * them.  But the owner can: free(), munmap() and exit() leave the host with
 * pages that the process does not have any more, and nothing else says so.
 *
 * An interval notifier for each resource closes that gap.  It is never a
 * stand-in for the pin and never blocks: it tells that a registration has
 * become stale, as in a registration cache, and a worker ends it.
 *
 *	UNMAP, RELEASE	proof: the resource is revoked
 *	CLEAR		suspicion: MADV_DONTNEED and hole punching send it, but so
 *			do THP splits, KSM, khugepaged, reclaim and migration,
 *			which back off from pinned pages after they have sent it.
 *			A worker compares what is mapped now with what is pinned.
 *	anything else	changes access or looks at it: ignored
 *
 * Suspicions of a resource are merged into one range and one pending work, so a
 * storm of events costs one look at that range; it costs time proportional to
 * the range, clipped to the resource, and no memory.
 *
 * Comparing never faults anything in: that would give memory back to a process
 * that has just freed it.
 *
 * A page of shmem or hugetlb that is not mapped is still the owner's memory if
 * it is in its file.  But a hole is punched in two steps: the pages are unmapped,
 * which sends CLEAR, then they leave the file, which sends nothing.  Both happen
 * under the inode's lock, which is tried and never waited for: whoever holds it
 * decides how long, and other resources wait behind this one.  If it is taken,
 * another look is due a moment later.  Pages of other files, which only read-only
 * resources have, can leave them at any time once they are not mapped (direct
 * writes, for one, take their place without an event): those are as good as gone.
 *
 * A look waits until what aroused the suspicion has ended, which lasts as long as
 * invalidations of that process overlap.  What begins later arouses a suspicion
 * of its own, so a look need not start over because of it; it does a few times,
 * as a quiet range is surer ground for a verdict, and then goes on.
 *
 * Locking: the callback takes &virtio_gpu_userptr_device.lock, which is a
 * spinlock under which nothing is allocated or waited for; it is called with
 * mmap_lock, rmap locks and perhaps a folio lock held, and out of reclaim.  The
 * worker takes mmap_lock for reading, and inside it a folio lock.
 */

#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>

#include "virtgpu_userptr.h"
#include "virtgpu_userptr_trace.h"

/* Pages that are compared in one go, and whose PFNs are kept on the stack. */
#define VERIFY_BATCH	64

/* How often a look starts over for what begins meanwhile, and at all. */
#define VERIFY_RETRIES	16
#define VERIFY_MOST	(2 * VERIFY_RETRIES)

/* When to look again at a page that may be about to leave its file. */
#define VERIFY_PUNCH	max(HZ / 50, 1)

enum verdict {
	INTACT,		/* every page is what is pinned, as far as can be told */
	DIVERGED,	/* a page is gone or another one */
	AGAIN,		/* the page tables changed meanwhile */
	UNSURE,		/* a page of a file may be about to leave it */
};

static bool invalidate(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
		       unsigned long cur_seq)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(mni, struct virtio_gpu_object_userptr, watch.notifier);
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	guard(spinlock)(&u->lock);
	mmu_interval_set_seq(mni, cur_seq);

	switch (range->event) {
	case MMU_NOTIFY_UNMAP:
	case MMU_NOTIFY_RELEASE:
		virtio_gpu_userptr_revoke(u, userptr);
		break;
	case MMU_NOTIFY_CLEAR:
		/* The range may be wider than the resource, and than the deed. */
		virtio_gpu_userptr_suspect(u, userptr,
					   max(range->start, mni->interval_tree.start),
					   min(range->end - 1, mni->interval_tree.last), 0);
		break;
	default:
		break;
	}
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = invalidate,
};

/**
 * struct verify - a look at a range
 * @userptr: whose range
 * @at: first address that has not been found intact
 * @last: last address
 * @seq: of the notifier, for the current batch
 * @retries: times that the page tables changed meanwhile
 */
struct verify {
	struct virtio_gpu_object_userptr *userptr;
	unsigned long at;
	unsigned long last;
	unsigned long seq;
	unsigned int retries;
};

/* What the page tables have for @nr pages from v->at on, without faulting. */
static int snapshot(struct verify *v, unsigned int nr, unsigned long *pfns)
{
	struct mmu_interval_notifier *notifier = &v->userptr->watch.notifier;
	struct hmm_range range = {
		.notifier = notifier,
		.notifier_seq = v->seq,
		.start = v->at,
		.end = v->at + ((unsigned long)nr << PAGE_SHIFT),
		.hmm_pfns = pfns,
	};

	mmap_assert_locked(v->userptr->mm);
	/* Whatever has begun since v->seq: see verify_range(). */
	if (v->retries >= VERIFY_RETRIES)
		range.notifier_seq = READ_ONCE(notifier->invalidate_seq);
	memset(pfns, 0, nr * sizeof(*pfns));
	return hmm_range_fault(&range);
}

/*
 * Nothing is mapped where a page of a file is pinned.  For shmem and hugetlb that
 * may be reclaim, which takes the mapping away but not the page out of the file.
 */
static enum verdict judge_absent_file(struct folio *folio)
{
	enum verdict verdict = DIVERGED;

	/*
	 * The folio's lock keeps it in its file, and that alive.  Whoever takes it
	 * out needs this lock: a punch that had begun has ended, or still holds
	 * the inode's lock; one that begins later sends CLEAR.
	 */
	folio_lock(folio);
	if (folio->mapping && (folio_test_hugetlb(folio) || shmem_mapping(folio->mapping))) {
		verdict = UNSURE;
		if (inode_trylock_shared(folio->mapping->host)) {
			inode_unlock_shared(folio->mapping->host);
			verdict = INTACT;
		}
	}
	folio_unlock(folio);
	return verdict;
}

/*
 * Is an anonymous page mapped?  One that is pinned is mapped in one place at
 * most, since forking copies it, and moving it elsewhere sends UNMAP.  If counts
 * are not kept for each page, false where only a part of @folio is mapped.
 */
static bool anon_is_mapped(struct folio *folio, struct page *page)
{
	if (!folio_test_large(folio))
		return folio_mapped(folio);
	if (folio_entire_mapcount(folio))
		return true;
	if (IS_ENABLED(CONFIG_PAGE_MAPCOUNT) && !folio_test_hugetlb(folio))
		return atomic_read(&page->_mapcount) >= 0;
	return folio_mapcount(folio) == folio_nr_pages(folio);
}

/* Nothing is mapped at v->at where @page is pinned, as far as HMM can tell. */
static enum verdict judge_absent(struct verify *v, struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned long pfn;
	bool mapped;
	int ret;

	if (!folio_test_anon(folio))
		return judge_absent_file(folio);

	/*
	 * Where the owner has no access HMM does not look, and MADV_FREE and its
	 * like empty an entry for a moment.
	 */
	if (anon_is_mapped(folio, page))
		return INTACT;

	/*
	 * Migration, reclaim and KSM put something else in place for a moment,
	 * before they find the pin.  They do so under the folio lock.
	 */
	folio_lock(folio);
	ret = snapshot(v, 1, &pfn);
	mapped = anon_is_mapped(folio, page);
	folio_unlock(folio);
	if (ret == -EBUSY)
		return AGAIN;
	if (!ret && pfn && !(pfn & HMM_PFN_ERROR) && hmm_pfn_to_page(pfn) == page)
		return INTACT;
	return mapped ? INTACT : DIVERGED;
}

/* Is anything mapped where @page is pinned? */
static bool is_mapped(unsigned long pfn, struct page *page)
{
	if (!pfn || pfn & HMM_PFN_ERROR)
		return false;
	/*
	 * A page that NUMA balancing looks at is there, but not VALID.  Where
	 * there is none, HMM makes up a number in mappings of hugetlb.
	 */
	return pfn & HMM_PFN_VALID || !folio_test_hugetlb(page_folio(page));
}

/* Advances v->at over what is intact. */
static enum verdict verify_batch(struct verify *v)
{
	struct virtio_gpu_object_userptr *userptr = v->userptr;
	struct virtio_gpu_userptr_walk walk;
	unsigned long pfns[VERIFY_BATCH];
	enum verdict verdict;
	unsigned int i, nr;
	int ret;

	nr = min(((v->last - v->at) >> PAGE_SHIFT) + 1, (unsigned long)VERIFY_BATCH);
	ret = snapshot(v, nr, pfns);
	if (ret)
		return ret == -EBUSY ? AGAIN : DIVERGED;

	virtio_gpu_userptr_walk_start(&userptr->pin, (v->at - userptr->addr) >> PAGE_SHIFT, &walk);

	for (i = 0; i < nr; i++, v->at += PAGE_SIZE) {
		struct page *page = virtio_gpu_userptr_walk_next(&walk);

		if (is_mapped(pfns[i], page)) {
			if (hmm_pfn_to_page(pfns[i]) != page)
				return DIVERGED;
			continue;
		}
		verdict = judge_absent(v, page);
		if (verdict != INTACT)
			return verdict;
	}
	return INTACT;
}

/* Advances v->at up to what is not intact, or over all of it. */
static enum verdict verify_range(struct verify *v)
{
	struct virtio_gpu_object_userptr *userptr = v->userptr;
	struct mm_struct *mm = userptr->mm;
	enum verdict verdict = INTACT;

	/* If there are no users left, RELEASE is under way. */
	if (!mmget_not_zero(mm))
		return INTACT;

	while ((verdict == INTACT || verdict == AGAIN) && v->at <= v->last &&
	       v->retries < VERIFY_MOST) {
		/*
		 * Waits for invalidations: outside of all locks.  After the first
		 * time what aroused the suspicion has ended.
		 */
		if (v->retries < VERIFY_RETRIES)
			v->seq = mmu_interval_read_begin(&userptr->watch.notifier);
		mmap_read_lock(mm);
		verdict = verify_batch(v);
		mmap_read_unlock(mm);
		if (verdict == AGAIN)
			v->retries++;
		cond_resched();
	}

	/* Not here: exit_mmap() would wait for this work through RELEASE. */
	mmput_async(mm);
	return verdict;
}

static void verify_work(struct work_struct *work)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(to_delayed_work(work), struct virtio_gpu_object_userptr,
			     watch.verify_work);
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);
	struct verify v = { .userptr = userptr };
	unsigned long start;
	enum verdict verdict;

	scoped_guard(spinlock, &u->lock) {
		start = userptr->watch.start;
		v.at = start;
		v.last = userptr->watch.last;
		userptr->watch.start = ULONG_MAX;
		userptr->watch.last = 0;
		if (userptr->state != VIRTIO_GPU_USERPTR_LIVE)
			return;
	}

	verdict = verify_range(&v);
	trace_virtio_gpu_userptr_verify(userptr->base.hw_res_handle, start, v.last,
					verdict == DIVERGED);
	guard(spinlock)(&u->lock);
	if (verdict == DIVERGED)
		virtio_gpu_userptr_revoke(u, userptr);
	else if (verdict != INTACT)
		virtio_gpu_userptr_suspect(u, userptr, v.at, v.last,
					   verdict == UNSURE ? VERIFY_PUNCH : 0);
}

/**
 * virtio_gpu_userptr_watch() - start to notice what happens to the memory
 * @userptr: CREATING, of the calling process; not pinned yet
 *
 * Before the memory is pinned, so that nothing can happen to it unnoticed:
 * what is under way when this is called is waited for, and what comes later is
 * either seen by the callback or by the pin, which fails.  Sleeps.
 *
 * Return: 0; -EINTR if a signal is pending, for the first watch of a process;
 * -ENOMEM.
 */
int virtio_gpu_userptr_watch(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	int ret;

	watch->start = ULONG_MAX;
	watch->last = 0;
	INIT_DELAYED_WORK(&watch->verify_work, verify_work);

	ret = mmu_interval_notifier_insert(&watch->notifier, userptr->mm, userptr->addr,
					   userptr->base.base.base.size, &notifier_ops);
	if (ret)
		return ret;

	watch->active = true;
	mmu_interval_read_begin(&watch->notifier);
	return 0;
}

/**
 * virtio_gpu_userptr_unwatch() - undo virtio_gpu_userptr_watch()
 * @userptr: not LIVE; may never have been watched
 *
 * Neither the callback nor the worker is running or will run when this returns.
 * Sleeps, waits for invalidations of that process: not under any lock.
 */
void virtio_gpu_userptr_unwatch(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;

	if (!watch->active)
		return;

	mmu_interval_notifier_remove(&watch->notifier);
	cancel_delayed_work_sync(&watch->verify_work);
	watch->active = false;
}
