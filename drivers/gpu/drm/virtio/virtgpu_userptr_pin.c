// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-gpu userptr resources: pinning and accounting
 *
 * Memory of the calling process is charged, then pinned in batches of one page
 * of page pointers, and each batch goes straight into an append scatterlist in
 * which physically adjacent pages are one entry.  No array of pages is kept:
 * what stays is one entry for each run, 32 bytes and a little, and that table
 * is also all that unpinning needs.
 *
 * Charging follows iommufd and io_uring: user_struct.locked_vm is what
 * RLIMIT_MEMLOCK bounds, for all processes of a user together, and
 * mm_struct.pinned_vm shows up as VmPin.  Whom was charged is remembered, so
 * that uncharging hits the same counters whoever closes the last handle,
 * after fork, setuid or exit.  CAP_IPC_LOCK is looked at once, when charging.
 *
 * Nothing here knows of a device, and nothing takes a lock of this driver.
 */

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/uaccess.h>

#include "virtgpu_userptr.h"

/* Pages to unpin between two chances to schedule. */
#define UNPIN_STRIDE	((unsigned long)SZ_16M >> PAGE_SHIFT)

/**
 * virtio_gpu_userptr_check_range() - can this be a range of user memory at all?
 * @addr: address, as user space gave it
 * @size: bytes, as user space gave it
 *
 * Pure arithmetic; whether memory is mapped there is found out by pinning.
 *
 * Return: 0; -EINVAL if @size is 0 or one of both is no multiple of the page
 * size; -EFAULT if the range wraps or has addresses this kernel has no pointers
 * for; -E2BIG if it has more pages than the pinning interface can count.
 */
int virtio_gpu_userptr_check_range(u64 addr, u64 size)
{
	u64 end;

	if (!size || !IS_ALIGNED(addr | size, PAGE_SIZE))
		return -EINVAL;

	if (check_add_overflow(addr, size, &end) || overflows_type(end, unsigned long))
		return -EFAULT;

	if (size >> PAGE_SHIFT > INT_MAX)
		return -E2BIG;

	return 0;
}

static int charge_user(struct user_struct *user, unsigned long nr_pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long old = atomic_long_read(&user->locked_vm);
	unsigned long new;

	do {
		if (check_add_overflow((unsigned long)old, nr_pages, &new) || new > limit)
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &old, new));

	return 0;
}

/**
 * virtio_gpu_userptr_charge() - charge memory to the calling process
 * @pin: all zero
 * @nr_pages: pages, at most INT_MAX
 *
 * Comes before the pages are pinned, so that the limit is never exceeded, not
 * even for a moment.
 *
 * Return: 0; -EPERM if RLIMIT_MEMLOCK is 0, -ENOMEM if it would be exceeded,
 * each without CAP_IPC_LOCK.  @pin is untouched then.
 */
int virtio_gpu_userptr_charge(struct virtio_gpu_userptr_pin *pin, unsigned long nr_pages)
{
	struct user_struct *user = NULL;

	if (!can_do_mlock())
		return -EPERM;

	if (!capable(CAP_IPC_LOCK)) {
		user = get_uid(current_user());
		if (charge_user(user, nr_pages)) {
			free_uid(user);
			return -ENOMEM;
		}
	}

	mmgrab(current->mm);
	atomic64_add(nr_pages, &current->mm->pinned_vm);
	pin->mm = current->mm;
	pin->user = user;
	pin->nr_pages = nr_pages;
	return 0;
}

static void uncharge(struct virtio_gpu_userptr_pin *pin)
{
	atomic64_sub(pin->nr_pages, &pin->mm->pinned_vm);
	mmdrop(pin->mm);
	pin->mm = NULL;

	if (pin->user) {
		atomic_long_sub(pin->nr_pages, &pin->user->locked_vm);
		free_uid(pin->user);
		pin->user = NULL;
	}
	pin->nr_pages = 0;
}

/* Append freshly pinned pages; on failure they are the caller's to unpin. */
static int append_pages(struct virtio_gpu_userptr_pin *pin, struct page **pages,
			unsigned int nr, unsigned long left, u32 max_segments)
{
	int ret;

	ret = sg_alloc_append_table_from_pages(&pin->table, pages, nr, 0,
					       (unsigned long)nr << PAGE_SHIFT,
					       VIRTIO_GPU_USERPTR_MAX_SEGMENT,
					       left, GFP_KERNEL_ACCOUNT);
	if (ret)
		unpin_user_pages(pages, nr);
	else if (pin->table.sgt.orig_nents > max_segments)
		ret = -E2BIG;

	return ret;
}

/**
 * virtio_gpu_userptr_pin() - pin what was charged
 * @pin: charged, and not pinned yet
 * @addr: address in the calling process, page aligned
 * @writable: the device may write
 * @max_segments: most segments that the device takes
 *
 * Sleeps, takes mmap_lock.  Whatever the outcome, undo it with
 * virtio_gpu_userptr_unpin().
 *
 * Return: 0; -EFAULT if a page is not mapped, not mapped with this access, or
 * of a kind that cannot be pinned (device mappings, secretmem, writable
 * mappings of files that track dirty pages); -EOPNOTSUPP for DAX; -E2BIG for
 * more than @max_segments; -EINTR after a fatal signal; -ENOMEM.
 */
int virtio_gpu_userptr_pin(struct virtio_gpu_userptr_pin *pin, unsigned long addr,
			   bool writable, u32 max_segments)
{
	unsigned int gup_flags = FOLL_LONGTERM | (writable ? FOLL_WRITE : 0);
	unsigned long left = pin->nr_pages;
	struct page **pages;
	int ret = 0;

	pages = (struct page **)__get_free_page(GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	pin->writable = writable;
	while (left) {
		int nr = min(left, PAGE_SIZE / sizeof(*pages));

		cond_resched();
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}

		nr = pin_user_pages_fast(addr, nr, gup_flags, pages);
		if (nr <= 0) {
			ret = nr ?: -EFAULT;
			break;
		}

		addr += (unsigned long)nr << PAGE_SHIFT;
		left -= nr;
		ret = append_pages(pin, pages, nr, left, max_segments);
		if (ret)
			break;
	}

	free_page((unsigned long)pages);
	return ret;
}

/**
 * virtio_gpu_userptr_unpin() - undo charge and pin, complete or not
 * @pin: charged; or all zero, then nothing happens
 *
 * Sleeps and takes folio locks: neither for an MMU notifier nor for the worker
 * that handles the device's answers.  Nothing can reach the pages through the
 * device any more when this is called.
 */
void virtio_gpu_userptr_unpin(struct virtio_gpu_userptr_pin *pin)
{
	struct scatterlist *sg;
	int i;

	if (!pin->mm)
		return;

	for_each_sgtable_sg(&pin->table.sgt, sg, i) {
		unsigned long pfn = page_to_pfn(sg_page(sg));
		unsigned long end = pfn + (sg->length >> PAGE_SHIFT);

		while (pfn < end) {
			unsigned long nr = min(end - pfn, UNPIN_STRIDE);

			unpin_user_page_range_dirty_lock(pfn_to_page(pfn), nr,
							 pin->writable);
			pfn += nr;
			cond_resched();
		}
	}

	kvfree(pin->marks);
	pin->marks = NULL;
	sg_free_append_table(&pin->table);
	memset(&pin->table, 0, sizeof(pin->table));
	uncharge(pin);
}

/**
 * virtio_gpu_userptr_mark() - make finding a page by its place quick
 * @pin: completely pinned
 *
 * Without this, what it takes to find one grows with the number of segments.
 * 16 bytes for every VIRTIO_GPU_USERPTR_MARK segments, freed with the pin.
 *
 * Return: 0 or -ENOMEM.
 */
int virtio_gpu_userptr_mark(struct virtio_gpu_userptr_pin *pin)
{
	unsigned int nr = DIV_ROUND_UP(pin->table.sgt.orig_nents, VIRTIO_GPU_USERPTR_MARK);
	unsigned long first = 0;
	struct scatterlist *sg;
	int i;

	pin->marks = kvmalloc_objs(*pin->marks, nr, GFP_KERNEL_ACCOUNT);
	if (!pin->marks)
		return -ENOMEM;

	pin->nr_marks = nr;
	for_each_sgtable_sg(&pin->table.sgt, sg, i) {
		if (i % VIRTIO_GPU_USERPTR_MARK == 0) {
			pin->marks[i / VIRTIO_GPU_USERPTR_MARK].first = first;
			pin->marks[i / VIRTIO_GPU_USERPTR_MARK].sg = sg;
		}
		first += sg->length >> PAGE_SHIFT;
	}
	return 0;
}

/**
 * virtio_gpu_userptr_walk_start() - go to a page
 * @pin: marked
 * @first: number of the page in the range, below nr_pages
 * @walk: set to that page
 */
void virtio_gpu_userptr_walk_start(const struct virtio_gpu_userptr_pin *pin, unsigned long first,
				   struct virtio_gpu_userptr_walk *walk)
{
	unsigned int low = 0, high = pin->nr_marks;

	/* The last mark that is not behind @first. */
	while (high - low > 1) {
		unsigned int middle = low + (high - low) / 2;

		if (pin->marks[middle].first <= first)
			low = middle;
		else
			high = middle;
	}

	first -= pin->marks[low].first;
	walk->sg = pin->marks[low].sg;
	while (first >= walk->sg->length >> PAGE_SHIFT) {
		first -= walk->sg->length >> PAGE_SHIFT;
		walk->sg = sg_next(walk->sg);
	}
	walk->page = first;
}

/**
 * virtio_gpu_userptr_walk_next() - the next page
 * @walk: advanced; must not be at the end of the range
 *
 * Return: the page.
 */
struct page *virtio_gpu_userptr_walk_next(struct virtio_gpu_userptr_walk *walk)
{
	struct page *page = pfn_to_page(page_to_pfn(sg_page(walk->sg)) + walk->page);

	if (++walk->page == walk->sg->length >> PAGE_SHIFT) {
		walk->sg = sg_next(walk->sg);
		walk->page = 0;
	}
	return page;
}
