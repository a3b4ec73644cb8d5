// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: noticing that the owner took the memory back
 *
 * The pages of a resource are pinned, so the kernel neither moves nor replaces
 * them.  But the owner can: free(), munmap() and exit() leave the host with
 * pages that the process does not have any more, and nothing else says so.
 *
 * An interval notifier for each resource closes that gap.  It is never a
 * stand-in for the pin and never blocks: it tells that a registration has
 * become stale, as in a registration cache, and the resource is released.
 *
 *	UNMAP, RELEASE	proof: the resource is revoked
 *	CLEAR		suspicion: MADV_DONTNEED and hole punching send it, but so
 *			do THP splits, KSM, khugepaged, reclaim and migration,
 *			which back off from pinned pages after they have sent it;
 *			virtgpu_userptr_verify.c compares what is mapped then
 *	anything else	changes access or looks at it: ignored
 *
 * Locking: the callback takes &virtio_gpu_object_userptr.lock, a spinlock under
 * which nothing is allocated or waited for.  It is called with mmap_lock, rmap
 * locks and perhaps a folio lock held, and out of reclaim.
 */

#include <linux/cleanup.h>
#include <linux/mmu_notifier.h>

#include "virtgpu_userptr.h"

static bool userptr_invalidate(struct mmu_interval_notifier *mni,
			       const struct mmu_notifier_range *range, unsigned long cur_seq)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(mni, struct virtio_gpu_object_userptr, watch.notifier);
	unsigned long start = max(range->start, mni->interval_tree.start);
	unsigned long last = min(range->end - 1, mni->interval_tree.last);

	scoped_guard(spinlock, &userptr->lock) {
		mmu_interval_set_seq(mni, cur_seq);

		/*
		 * Pinning migrates and copies pages before it has them, which
		 * sends CLEAR as well, in the task that pins.
		 */
		if (range->event == MMU_NOTIFY_CLEAR &&
		    !(userptr->creating && userptr->creator == current))
			virtio_gpu_userptr_suspect(userptr, (start - userptr->addr) >> PAGE_SHIFT,
						   (last - userptr->addr) >> PAGE_SHIFT);
	}

	if (range->event == MMU_NOTIFY_UNMAP || range->event == MMU_NOTIFY_RELEASE)
		virtio_gpu_userptr_revoke(userptr);
	return true;
}

static const struct mmu_interval_notifier_ops userptr_notifier_ops = {
	.invalidate = userptr_invalidate,
};

/**
 * virtio_gpu_userptr_watch_start() - start to notice what happens to the memory
 * @userptr: CREATING, of the calling process; not pinned yet
 *
 * Before the memory is pinned, so that nothing can happen to it unnoticed:
 * what is under way when this is called is waited for, and what comes later is
 * either seen by the callback or by the pin, which fails.  Sleeps.
 *
 * Return: 0; -EINTR if a signal is pending, for the first watch of a process;
 * -ENOMEM.
 */
int virtio_gpu_userptr_watch_start(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	int ret;

	virtio_gpu_userptr_verify_init(userptr);
	ret = mmu_interval_notifier_insert(&watch->notifier, userptr->mm, userptr->addr,
					   userptr->base.base.base.size, &userptr_notifier_ops);
	if (ret)
		return ret;

	watch->active = true;
	mmu_interval_read_begin(&watch->notifier);
	return 0;
}

/**
 * virtio_gpu_userptr_watch_live() - look at what came while it was CREATING
 * @userptr: LIVE just now; &virtio_gpu_object_userptr.lock is held
 */
void virtio_gpu_userptr_watch_live(struct virtio_gpu_object_userptr *userptr)
{
	lockdep_assert_held(&userptr->lock);

	if (userptr->watch.active && userptr->watch.nr_suspects)
		virtio_gpu_userptr_queue_verify(userptr, 0);
}

/**
 * virtio_gpu_userptr_watch_stop_verify() - let nobody look at the pages any more
 * @userptr: not LIVE; may never have been watched
 *
 * Nothing is compared, or will be, when this returns.  Sleeps.
 */
void virtio_gpu_userptr_watch_stop_verify(struct virtio_gpu_object_userptr *userptr)
{
	if (userptr->watch.active)
		cancel_delayed_work_sync(&userptr->watch.verify_work);
}

/**
 * virtio_gpu_userptr_watch_stop() - undo virtio_gpu_userptr_watch_start()
 * @userptr: not LIVE; may never have been watched
 *
 * The callback is not running and will not run when this returns.  Sleeps, and
 * waits for invalidations of that process: not under any lock.
 */
void virtio_gpu_userptr_watch_stop(struct virtio_gpu_object_userptr *userptr)
{
	if (!userptr->watch.active)
		return;

	mmu_interval_notifier_remove(&userptr->watch.notifier);
	userptr->watch.active = false;
}
