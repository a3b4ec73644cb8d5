// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: pinning and accounting
 *
 * Memory of the calling process is charged, then pinned in batches of one page
 * of page pointers.  Each batch is merged into runs of physically contiguous
 * pages, 8 bytes each, which are all that telling the device, comparing and
 * unpinning need: no array of pages and no scatterlist is kept.  Between two
 * batches the caller may look at the runs; all but the last are final.
 *
 * Charging follows iommufd and io_uring: user_struct.locked_vm is what
 * RLIMIT_MEMLOCK bounds, for all processes of a user together, and
 * mm_struct.pinned_vm shows up as VmPin.  Whom was charged is remembered, so
 * that uncharging hits the same counters whoever closes the last handle,
 * after fork, setuid or exit.  CAP_IPC_LOCK is looked at once, when charging.
 *
 * What a user has closed stays charged until the device has answered.  At the
 * limit a charge waits for that, up to a second, but only for releases of the
 * same user: an account counts them.
 *
 * Nothing here knows of a device.  The one lock, accounts_lock, protects the
 * list of accounts and is taken by nobody who holds another lock of this file.
 */

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include <kunit/visibility.h>

#include "virtgpu_userptr.h"
#include "virtgpu_trace.h"

/* Pages to unpin between two chances to schedule. */
#define UNPIN_STRIDE	((unsigned long)SZ_16M >> PAGE_SHIFT)

/* Page pointers of a batch. */
#define PIN_BATCH	(PAGE_SIZE / sizeof(struct page *))

/* Runs of a block that fills a page. */
#define BLOCK_RUNS \
	((PAGE_SIZE - sizeof(struct virtio_gpu_userptr_run_block)) / sizeof(u64))

/* How long a charge waits at the limit. */
#define CHARGE_PATIENCE	HZ

/**
 * struct virtio_gpu_userptr_account - what a user has registered
 * @node: on accounts
 * @refs: one for each pin that is charged to it; the last one under accounts_lock
 * @user: whose; has a reference
 * @expected: pins that are about to be uncharged
 * @uncharged: pins that were, ever; wraps
 * @wait: woken when one of both changes
 */
struct virtio_gpu_userptr_account {
	struct list_head node;
	refcount_t refs;
	struct user_struct *user;
	atomic_t expected;
	atomic_t uncharged;
	wait_queue_head_t wait;
};

static LIST_HEAD(accounts);
static DEFINE_SPINLOCK(accounts_lock);

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
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_check_range);

static struct virtio_gpu_userptr_account *userptr_account_find(struct user_struct *user)
{
	struct virtio_gpu_userptr_account *account;

	lockdep_assert_held(&accounts_lock);

	list_for_each_entry(account, &accounts, node)
		if (account->user == user)
			return account;
	return NULL;
}

static struct virtio_gpu_userptr_account *userptr_account_get(struct user_struct *user)
{
	struct virtio_gpu_userptr_account *account, *fresh;

	fresh = kzalloc_obj(*fresh, GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return NULL;

	refcount_set(&fresh->refs, 1);
	init_waitqueue_head(&fresh->wait);

	spin_lock(&accounts_lock);
	account = userptr_account_find(user);
	if (account) {
		refcount_inc(&account->refs);
	} else {
		account = fresh;
		account->user = get_uid(user);
		list_add(&account->node, &accounts);
		fresh = NULL;
	}
	spin_unlock(&accounts_lock);

	kfree(fresh);
	return account;
}

static void userptr_account_put(struct virtio_gpu_userptr_account *account)
{
	if (!refcount_dec_and_lock(&account->refs, &accounts_lock))
		return;

	list_del(&account->node);
	spin_unlock(&accounts_lock);
	free_uid(account->user);
	kfree(account);
}

static int userptr_charge_user(struct user_struct *user, unsigned long nr_pages)
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

static bool userptr_account_changed(struct virtio_gpu_userptr_account *account, int uncharged)
{
	return atomic_read(&account->uncharged) != uncharged || !atomic_read(&account->expected);
}

/* Nothing has been uncharged since @uncharged was read, and nothing will be. */
static bool userptr_account_hopeless(struct virtio_gpu_userptr_account *account, int uncharged)
{
	if (atomic_read(&account->expected))
		return false;

	/*
	 * Who uncharges counts that before it is expected no more: ordered by
	 * atomic_dec_and_test() in virtio_gpu_userptr_expect_uncharge().
	 */
	smp_rmb();
	return atomic_read(&account->uncharged) == uncharged;
}

/* Charge; at the limit, give what the user has closed a second to be released. */
static int userptr_charge_account(struct virtio_gpu_userptr_account *account,
				  unsigned long nr_pages)
{
	unsigned long deadline = jiffies + CHARGE_PATIENCE;

	for (;;) {
		int uncharged = atomic_read(&account->uncharged);
		long left = deadline - jiffies;
		int ret;

		ret = userptr_charge_user(account->user, nr_pages);
		if (!ret || left <= 0)
			return ret;

		if (userptr_account_hopeless(account, uncharged))
			return ret;

		ret = wait_event_killable_timeout(account->wait,
						  userptr_account_changed(account, uncharged),
						  left);
		if (ret < 0)
			return ret;
	}
}

/**
 * virtio_gpu_userptr_pin_init() - nothing is charged and pinned
 * @pin: all zero
 */
void virtio_gpu_userptr_pin_init(struct virtio_gpu_userptr_pin *pin)
{
	INIT_LIST_HEAD(&pin->blocks);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_pin_init);

/**
 * virtio_gpu_userptr_charge() - charge memory to the calling process
 * @pin: initialised
 * @nr_pages: pages, at most INT_MAX
 *
 * Comes before the pages are pinned, so that the limit is never exceeded, not
 * even for a moment.  Sleeps, at the limit up to a second.
 *
 * Return: 0; -EPERM if RLIMIT_MEMLOCK is 0, -ENOMEM if it would be exceeded,
 * each without CAP_IPC_LOCK; -ENOMEM; -ERESTARTSYS after a fatal signal.  @pin
 * is untouched then.
 */
int virtio_gpu_userptr_charge(struct virtio_gpu_userptr_pin *pin, unsigned long nr_pages)
{
	struct virtio_gpu_userptr_account *account = NULL;
	int ret;

	if (!can_do_mlock())
		return -EPERM;

	/* Asking is no use of the privilege that an audit should show. */
	if (!ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK)) {
		account = userptr_account_get(current_user());
		if (!account)
			return -ENOMEM;
		ret = userptr_charge_account(account, nr_pages);
		if (ret) {
			userptr_account_put(account);
			return ret;
		}
	}

	mmgrab(current->mm);
	atomic64_add(nr_pages, &current->mm->pinned_vm);
	pin->mm = current->mm;
	pin->account = account;
	pin->nr_pages = nr_pages;
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_charge);

/**
 * virtio_gpu_userptr_expect_uncharge() - is this about to be uncharged?
 * @pin: charged
 * @expect: yes, or not any more
 *
 * While it is, charges of the same user at the limit wait for it.  Does not
 * sleep.
 */
void virtio_gpu_userptr_expect_uncharge(struct virtio_gpu_userptr_pin *pin, bool expect)
{
	struct virtio_gpu_userptr_account *account = pin->account;

	if (!account || xchg(&pin->expected, expect) == expect)
		return;

	if (expect)
		atomic_inc(&account->expected);
	else if (atomic_dec_and_test(&account->expected) && wq_has_sleeper(&account->wait))
		wake_up_all(&account->wait);
}

static void userptr_uncharge(struct virtio_gpu_userptr_pin *pin)
{
	struct virtio_gpu_userptr_account *account = pin->account;

	atomic64_sub(pin->nr_pages, &pin->mm->pinned_vm);
	mmdrop(pin->mm);
	pin->mm = NULL;

	if (account) {
		atomic_long_sub(pin->nr_pages, &account->user->locked_vm);
		atomic_inc(&account->uncharged);
		virtio_gpu_userptr_expect_uncharge(pin, false);
		if (wq_has_sleeper(&account->wait))
			wake_up_all(&account->wait);
		pin->account = NULL;
		userptr_account_put(account);
	}
	pin->nr_pages = 0;
}

/* A block for the runs of at most @nr_pages pages, of which the first is next. */
static struct virtio_gpu_userptr_run_block *
userptr_add_block(struct virtio_gpu_userptr_pin *pin, unsigned long nr_pages)
{
	unsigned int max = min(nr_pages, BLOCK_RUNS);
	struct virtio_gpu_userptr_run_block *block;

	block = kmalloc(struct_size(block, runs, max), GFP_KERNEL_ACCOUNT);
	if (!block)
		return NULL;

	block->first = pin->nr_pinned;
	block->nr = 0;
	block->max = max;
	list_add_tail(&block->node, &pin->blocks);
	return block;
}

/* Returns 0 or why pages from pin->nr_pinned on are not in the runs. */
static int userptr_append_pages(struct virtio_gpu_userptr_pin *pin, struct page **pages,
				unsigned int nr, u32 max_runs)
{
	struct virtio_gpu_userptr_run_block *block = NULL;
	unsigned int i;

	if (!list_empty(&pin->blocks))
		block = list_last_entry(&pin->blocks, struct virtio_gpu_userptr_run_block, node);

	for (i = 0; i < nr; i++, pin->nr_pinned++) {
		u64 pfn = page_to_pfn(pages[i]);

		if (block && block->nr) {
			u64 *last = &block->runs[block->nr - 1];
			unsigned long pages_of_last = virtio_gpu_userptr_run_pages(*last);

			if (virtio_gpu_userptr_run_pfn(*last) + pages_of_last == pfn &&
			    pages_of_last < VIRTIO_GPU_USERPTR_RUN_MAX) {
				(*last)++;
				continue;
			}
		}

		if (pin->nr_runs == max_runs)
			return -E2BIG;
		if (!block || block->nr == block->max)
			block = userptr_add_block(pin, pin->nr_pages - pin->nr_pinned);
		if (!block)
			return -ENOMEM;
		block->runs[block->nr++] = pfn << VIRTIO_GPU_USERPTR_RUN_BITS | 1;
		pin->nr_runs++;
	}
	return 0;
}

static void userptr_free_batch(struct virtio_gpu_userptr_pin *pin)
{
	free_page((unsigned long)pin->batch);
	pin->batch = NULL;
}

/**
 * virtio_gpu_userptr_pin_batch() - pin some more of what was charged
 * @pin: charged, with @writable set as it is to be, and not completely pinned
 * @addr: where the range starts in the calling process, page aligned
 * @max_runs: most runs to have in the end
 *
 * Sleeps, takes mmap_lock.  Whatever the outcome, undo all batches with
 * virtio_gpu_userptr_unpin().
 *
 * Return: 0; -EFAULT if a page is not mapped, not mapped with this access, or
 * of a kind that cannot be pinned (device mappings, secretmem, writable
 * mappings of files that track dirty pages); -EOPNOTSUPP for DAX; -E2BIG for
 * more than @max_runs; -EINTR after a fatal signal; -ENOMEM.
 */
int virtio_gpu_userptr_pin_batch(struct virtio_gpu_userptr_pin *pin, unsigned long addr,
				 u32 max_runs)
{
	unsigned int gup_flags = FOLL_LONGTERM | (pin->writable ? FOLL_WRITE : 0);
	unsigned long start = pin->nr_pinned;
	int nr = min(pin->nr_pages - start, PIN_BATCH);
	int ret;

	if (!pin->batch)
		pin->batch = (struct page **)__get_free_page(GFP_KERNEL);
	if (!pin->batch)
		return -ENOMEM;

	cond_resched();
	if (fatal_signal_pending(current))
		return -EINTR;

	addr += start << PAGE_SHIFT;
	nr = pin_user_pages_fast(addr, nr, gup_flags, pin->batch);
	trace_virtio_gpu_userptr_pin(addr, nr);
	if (nr <= 0)
		return nr ?: -EFAULT;

	ret = userptr_append_pages(pin, pin->batch, nr, max_runs);
	trace_virtio_gpu_userptr_append(addr, nr, pin->nr_runs);
	if (ret)
		unpin_user_pages(pin->batch + (pin->nr_pinned - start),
				 nr - (pin->nr_pinned - start));
	else if (pin->nr_pinned == pin->nr_pages)
		userptr_free_batch(pin);
	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_pin_batch);

static void userptr_unpin_run(u64 run, bool dirty)
{
	unsigned long pfn = virtio_gpu_userptr_run_pfn(run);
	unsigned long end = pfn + virtio_gpu_userptr_run_pages(run);

	while (pfn < end) {
		unsigned long nr = min(end - pfn, UNPIN_STRIDE);

		unpin_user_page_range_dirty_lock(pfn_to_page(pfn), nr, dirty);
		pfn += nr;
		cond_resched();
	}
}

/**
 * virtio_gpu_userptr_unpin() - undo charge and pin, complete or not
 * @pin: charged, or only initialised: then nothing happens
 *
 * Sleeps and takes folio locks: neither for an MMU notifier nor for the worker
 * that handles the device's answers.  Nothing can reach the pages through the
 * device any more when this is called.
 */
void virtio_gpu_userptr_unpin(struct virtio_gpu_userptr_pin *pin)
{
	struct virtio_gpu_userptr_run_block *block, *next;
	unsigned int i;

	if (!pin->mm)
		return;

	list_for_each_entry_safe(block, next, &pin->blocks, node) {
		for (i = 0; i < block->nr; i++)
			userptr_unpin_run(block->runs[i], pin->writable);
		list_del(&block->node);
		kfree(block);
	}

	if (pin->batch)
		userptr_free_batch(pin);
	pin->nr_pinned = 0;
	pin->nr_runs = 0;
	userptr_uncharge(pin);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_unpin);

/**
 * virtio_gpu_userptr_next_run() - go through the runs
 * @pin: pinned, perhaps not completely: then the last run may still grow
 * @cursor: all zero, or advanced by this; it stays valid when more is pinned
 *
 * Return: the next run, for virtio_gpu_userptr_run_pfn(), or 0 at the end.
 */
u64 virtio_gpu_userptr_next_run(const struct virtio_gpu_userptr_pin *pin,
				struct virtio_gpu_userptr_cursor *cursor)
{
	struct virtio_gpu_userptr_run_block *block = cursor->block;

	if (cursor->passed == pin->nr_runs)
		return 0;

	if (!block) {
		block = list_first_entry(&pin->blocks, struct virtio_gpu_userptr_run_block, node);
	} else if (cursor->index == block->max) {
		block = list_next_entry(block, node);
		cursor->index = 0;
	}

	cursor->block = block;
	cursor->passed++;
	return block->runs[cursor->index++];
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_next_run);

/**
 * virtio_gpu_userptr_find_page() - go to the run that a page is in
 * @pin: completely pinned
 * @page: number of the page in the range, below nr_pages
 * @cursor: set so that virtio_gpu_userptr_next_run() returns that run
 *
 * Return: number of the page in that run.
 */
unsigned long virtio_gpu_userptr_find_page(const struct virtio_gpu_userptr_pin *pin,
					   unsigned long page,
					   struct virtio_gpu_userptr_cursor *cursor)
{
	struct virtio_gpu_userptr_run_block *block;
	unsigned long passed = 0;
	unsigned int i = 0;

	list_for_each_entry(block, &pin->blocks, node) {
		if (list_is_last(&block->node, &pin->blocks) ||
		    list_next_entry(block, node)->first > page)
			break;
		passed += block->nr;
	}

	page -= block->first;
	while (page >= virtio_gpu_userptr_run_pages(block->runs[i]))
		page -= virtio_gpu_userptr_run_pages(block->runs[i++]);

	cursor->block = block;
	cursor->index = i;
	cursor->passed = passed + i;
	return page;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_find_page);
