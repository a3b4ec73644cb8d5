// SPDX-License-Identifier: MIT
/*
 * virtio-gpu userptr resources: is what is mapped still what is pinned?
 *
 * MMU_NOTIFY_CLEAR says that page table entries were emptied, not why.  A work
 * looks at those pages afterwards, and revokes the resource if its owner does
 * not have one of them any more.
 *
 * Suspicions of a resource are kept as a few spans of pages, so a storm of events
 * costs little memory, and time proportional to the spans.  After a look the next
 * one waits a moment, for more to come.  Nothing is looked at twice because of
 * what began after it was suspected: that arouses a suspicion of its own.
 *
 * hmm_range_fault() shows what is mapped without faulting anything in, which
 * would give memory back to a process that has just freed it.  Where it shows
 * another page, the resource is revoked.  Where it shows none:
 *
 *	anonymous	the owner gave it back: revoked
 *	file on a disk	reclaim unmaps pages of files before it finds them pinned, and
 *			the next access would bring the page back.  So it is
 *			faulted in, which gives nothing to anybody: if it is still
 *			the page of the file, it is mapped again, so that what
 *			happens to it later is noticed, and the resource lives on;
 *			if it is another one, or there is none, it is revoked
 *	shmem, hugetlb	as above, but faulting in would fill a hole that the owner
 *			has punched: pinned_page_lookup() looks into the file
 *
 * HMM does not look where the owner has no access (PROT_NONE), and gives up as
 * long as invalidations of the process overlap.  pinned_page_lookup() knows the
 * answer there, too.  Without it (CONFIG_PINNED_PAGE_LOOKUP) CLEAR is ignored for
 * shmem, hugetlb and memory without access, and a look waits for a quiet moment.
 *
 * Locking: &virtio_gpu_object_userptr.lock for the spans; the work takes
 * mmap_lock for reading, and inside it what page faults take.
 */

#include <linux/cleanup.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>

#ifdef CONFIG_PINNED_PAGE_LOOKUP
#include <linux/pinned_page.h>
#endif

#include <kunit/visibility.h>

#include "virtgpu_userptr.h"
#include "virtgpu_trace.h"

/* Pages that are compared in one go, and whose PFNs are kept on the stack. */
#define VERIFY_BATCH	64

/* How often a look starts over for what begins meanwhile. */
#define VERIFY_RETRIES	16

/* How soon one look follows another, also at what could not be told. */
#define VERIFY_PAUSE	max(HZ / 100, 1)

/* How often virtio_gpu_userptr_verify_now() looks before it gives up. */
#define VERIFY_NOW_LOOKS	4

/* When to look again at what can be told only when the owner has access. */
#define VERIFY_LATER	HZ

/**
 * enum userptr_verdict - what a look has found
 * @USERPTR_INTACT: every page is what is pinned, as far as can be told
 * @USERPTR_DIVERGED: a page is gone or another one
 * @USERPTR_AGAIN: the page tables changed meanwhile
 * @USERPTR_UNSURE: a page may be about to leave its file
 * @USERPTR_LATER: a page is in its file, and cannot be mapped without access
 */
enum userptr_verdict {
	USERPTR_INTACT,
	USERPTR_DIVERGED,
	USERPTR_AGAIN,
	USERPTR_UNSURE,
	USERPTR_LATER,
};

/**
 * struct userptr_verify - a look at a span
 * @userptr: whose
 * @at: number of the first page that has not been found intact
 * @last: number of the last page
 * @seq: of the notifier, for the current batch
 * @retries: times that the page tables changed meanwhile
 * @cursor: run behind the one of @next
 * @next: number of the page that userptr_verify_page() goes on with
 * @run: run that @next is in
 * @in_run: number of that page in @run
 */
struct userptr_verify {
	struct virtio_gpu_object_userptr *userptr;
	unsigned long at;
	unsigned long last;
	unsigned long seq;
	unsigned int retries;
	struct virtio_gpu_userptr_cursor cursor;
	unsigned long next;
	u64 run;
	unsigned long in_run;
};

#ifdef CONFIG_PINNED_PAGE_LOOKUP
static const bool userptr_can_look_up = true;
#else
static const bool userptr_can_look_up;

enum pinned_page { PINNED_PAGE_MAPPED, PINNED_PAGE_IN_FILE, PINNED_PAGE_BUSY, PINNED_PAGE_GONE };

static enum pinned_page pinned_page_lookup(struct mm_struct *mm, unsigned long addr,
					   struct page *page)
{
	return PINNED_PAGE_MAPPED;
}
#endif

/**
 * virtio_gpu_userptr_verify_what() - by what means CLEAR is checked, for debugging
 *
 * Return: a few words.
 */
const char *virtio_gpu_userptr_verify_what(void)
{
	return userptr_can_look_up ? "hmm_range_fault pinned_page_lookup" : "hmm_range_fault";
}

/* Go to page v->at. */
static void userptr_verify_seek(struct userptr_verify *v)
{
	const struct virtio_gpu_userptr_pin *pin = &v->userptr->pin;

	if (v->run && v->next == v->at)
		return;
	v->in_run = virtio_gpu_userptr_find_page(pin, v->at, &v->cursor);
	v->run = virtio_gpu_userptr_next_run(pin, &v->cursor);
	v->next = v->at;
}

/* The next pinned page. */
static struct page *userptr_verify_page(struct userptr_verify *v)
{
	if (v->in_run == virtio_gpu_userptr_run_pages(v->run)) {
		v->run = virtio_gpu_userptr_next_run(&v->userptr->pin, &v->cursor);
		v->in_run = 0;
	}
	v->next++;
	return pfn_to_page(virtio_gpu_userptr_run_pfn(v->run) + v->in_run++);
}

static unsigned long userptr_verify_addr(const struct userptr_verify *v)
{
	return v->userptr->addr + (v->at << PAGE_SHIFT);
}

/* What the page tables have for @nr pages from v->at on. */
static int userptr_snapshot(struct userptr_verify *v, unsigned int nr, unsigned long *pfns,
			    bool fault)
{
	unsigned long start = userptr_verify_addr(v);
	struct hmm_range range = {
		.notifier = &v->userptr->watch.notifier,
		.notifier_seq = v->seq,
		.start = start,
		.end = start + ((unsigned long)nr << PAGE_SHIFT),
		.hmm_pfns = pfns,
		.default_flags = fault ? HMM_PFN_REQ_FAULT : 0,
	};

	mmap_assert_locked(v->userptr->mm);
	memset(pfns, 0, nr * sizeof(*pfns));
	return hmm_range_fault(&range);
}

static bool userptr_is_mapped(unsigned long pfn, struct page *page)
{
	if (!pfn || pfn & HMM_PFN_ERROR)
		return false;
	/*
	 * A page that NUMA balancing looks at is there, but not VALID.  Where
	 * there is none, HMM makes up a number in mappings of hugetlb.
	 */
	return pfn & HMM_PFN_VALID || !folio_test_hugetlb(page_folio(page));
}

/* Bring the page of a file back to where reclaim unmapped it, and compare. */
static enum userptr_verdict userptr_refault(struct userptr_verify *v, struct page *page)
{
	unsigned long pfn;
	int ret;

	ret = userptr_snapshot(v, 1, &pfn, true);
	if (ret == -EBUSY)
		return USERPTR_AGAIN;
	if (ret || !userptr_is_mapped(pfn, page))
		return USERPTR_DIVERGED;
	return hmm_pfn_to_page(pfn) == page ? USERPTR_INTACT : USERPTR_DIVERGED;
}

/* HMM shows nothing, which is @pfn, at v->at, where @page is pinned. */
static enum userptr_verdict userptr_judge_absent(struct userptr_verify *v, struct page *page,
						 unsigned long pfn)
{
	struct folio *folio = page_folio(page);
	bool anon = folio_test_anon(folio);
	bool on_disk = !anon && !folio_test_swapbacked(folio) && !folio_test_hugetlb(folio);
	enum pinned_page where;

	if (!userptr_can_look_up && anon && !(pfn & HMM_PFN_ERROR))
		return mmu_interval_read_retry(&v->userptr->watch.notifier, v->seq) ?
			USERPTR_AGAIN : USERPTR_DIVERGED;

	where = pinned_page_lookup(v->userptr->mm, userptr_verify_addr(v), page);
	if (where == PINNED_PAGE_GONE)
		return USERPTR_DIVERGED;
	if (where == PINNED_PAGE_MAPPED && (userptr_can_look_up || !on_disk))
		return USERPTR_INTACT;
	/* Not mapped, so what happens to it in its file would not be noticed. */
	if (on_disk && userptr_can_look_up && pfn & HMM_PFN_ERROR)
		return USERPTR_LATER;
	if (on_disk)
		return userptr_refault(v, page);
	return where == PINNED_PAGE_BUSY ? USERPTR_UNSURE : USERPTR_INTACT;
}

/* Advances v->at over what is intact. */
static enum userptr_verdict userptr_verify_batch(struct userptr_verify *v)
{
	unsigned long pfns[VERIFY_BATCH] = {};
	enum userptr_verdict verdict;
	unsigned int i, nr;
	int ret = 0;

	nr = min(v->last - v->at + 1, (unsigned long)VERIFY_BATCH);
	/* In a storm of invalidations HMM has no answer. */
	if (v->retries < VERIFY_RETRIES)
		ret = userptr_snapshot(v, nr, pfns, false);
	if (ret)
		return ret == -EBUSY ? USERPTR_AGAIN : USERPTR_DIVERGED;

	userptr_verify_seek(v);
	for (i = 0; i < nr; i++, v->at++) {
		struct page *page = userptr_verify_page(v);

		if (userptr_is_mapped(pfns[i], page)) {
			if (hmm_pfn_to_page(pfns[i]) != page)
				return USERPTR_DIVERGED;
			continue;
		}
		verdict = userptr_judge_absent(v, page, pfns[i]);
		if (verdict != USERPTR_INTACT)
			return verdict;
	}
	return USERPTR_INTACT;
}

/* Advances v->at up to what is not intact, or over all of it. */
static enum userptr_verdict userptr_verify_span(struct userptr_verify *v)
{
	struct mm_struct *mm = v->userptr->mm;
	unsigned int retries = userptr_can_look_up ? 2 * VERIFY_RETRIES : VERIFY_RETRIES;
	enum userptr_verdict verdict = USERPTR_INTACT;

	while ((verdict == USERPTR_INTACT || verdict == USERPTR_AGAIN) && v->at <= v->last &&
	       v->retries < retries) {
		/*
		 * Waits for invalidations, outside of all locks: what aroused
		 * the suspicion has ended.
		 */
		if (v->retries < VERIFY_RETRIES)
			v->seq = mmu_interval_read_begin(&v->userptr->watch.notifier);
		mmap_read_lock(mm);
		verdict = userptr_verify_batch(v);
		mmap_read_unlock(mm);
		if (verdict == USERPTR_AGAIN)
			v->retries++;
		cond_resched();
	}
	return verdict;
}

/* Merge what touches, in the sorted @spans; returns how many are left. */
static unsigned int userptr_merge_spans(struct virtio_gpu_userptr_span *spans, unsigned int nr)
{
	unsigned int i, kept = 0;

	for (i = 1; i < nr; i++) {
		if (spans[i].first <= spans[kept].last + 1)
			spans[kept].last = max(spans[kept].last, spans[i].last);
		else
			spans[++kept] = spans[i];
	}
	return kept + 1;
}

/* Merge the two of @nr sorted @spans that are closest to each other. */
static void userptr_merge_closest(struct virtio_gpu_userptr_span *spans, unsigned int nr)
{
	unsigned int i, best = 1;

	for (i = 2; i < nr; i++)
		if (spans[i].first - spans[i - 1].last <
		    spans[best].first - spans[best - 1].last)
			best = i;
	spans[best - 1].last = spans[best].last;
	memmove(&spans[best], &spans[best + 1], (nr - best - 1) * sizeof(*spans));
}

/* Add pages to the suspects, which stay sorted and few. */
static void userptr_add_suspects(struct virtio_gpu_object_userptr *userptr, unsigned long first,
				 unsigned long last)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	struct virtio_gpu_userptr_span spans[VIRTIO_GPU_USERPTR_SUSPECTS + 1];
	unsigned int i, nr = watch->nr_suspects;

	lockdep_assert_held(&userptr->lock);

	for (i = 0; i < nr && watch->suspects[i].first < first; i++)
		spans[i] = watch->suspects[i];
	spans[i].first = first;
	spans[i].last = last;
	memcpy(&spans[i + 1], &watch->suspects[i], (nr - i) * sizeof(*spans));

	nr = userptr_merge_spans(spans, nr + 1);
	if (nr > VIRTIO_GPU_USERPTR_SUSPECTS)
		userptr_merge_closest(spans, nr--);
	memcpy(watch->suspects, spans, nr * sizeof(*spans));
	watch->nr_suspects = nr;
}

/* Look at each of @spans until one is not intact; the rest is suspected again. */
static enum userptr_verdict userptr_verify_spans(struct virtio_gpu_object_userptr *userptr,
						 const struct virtio_gpu_userptr_span *spans,
						 unsigned int nr)
{
	enum userptr_verdict verdict = USERPTR_INTACT;
	unsigned int i;

	for (i = 0; i < nr && verdict != USERPTR_DIVERGED; i++) {
		struct userptr_verify v = {
			.userptr = userptr,
			.at = spans[i].first,
			.last = spans[i].last,
		};
		enum userptr_verdict one = userptr_verify_span(&v);

		trace_virtio_gpu_userptr_verify(userptr->base.hw_res_handle, spans[i].first,
						spans[i].last, one == USERPTR_DIVERGED);
		if (one == USERPTR_INTACT)
			continue;
		verdict = one;
		if (one != USERPTR_DIVERGED) {
			guard(spinlock)(&userptr->lock);
			userptr_add_suspects(userptr, v.at, v.last);
		}
	}
	return verdict;
}

static void userptr_verify_work(struct work_struct *work)
{
	struct virtio_gpu_object_userptr *userptr =
		container_of(to_delayed_work(work), struct virtio_gpu_object_userptr,
			     watch.verify_work);
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	struct virtio_gpu_userptr_span spans[VIRTIO_GPU_USERPTR_SUSPECTS];
	enum userptr_verdict verdict;
	unsigned int nr;

	scoped_guard(spinlock, &userptr->lock) {
		nr = watch->nr_suspects;
		memcpy(spans, watch->suspects, nr * sizeof(*spans));
		watch->nr_suspects = 0;
		/* What comes from now on waits for the next look. */
		WRITE_ONCE(watch->verified, jiffies);
		if (userptr->state != VIRTIO_GPU_USERPTR_LIVE)
			return;
	}

	/* If there are no users left, RELEASE is under way. */
	if (!mmget_not_zero(userptr->mm))
		return;
	verdict = userptr_verify_spans(userptr, spans, nr);
	/* Not here: exit_mmap() would wait for this work through RELEASE. */
	mmput_async(userptr->mm);

	if (verdict == USERPTR_DIVERGED) {
		virtio_gpu_userptr_revoke(userptr);
	} else if (verdict != USERPTR_INTACT) {
		guard(spinlock)(&userptr->lock);
		if (userptr->state == VIRTIO_GPU_USERPTR_LIVE)
			virtio_gpu_userptr_queue_verify(userptr, verdict == USERPTR_LATER ?
							VERIFY_LATER : VERIFY_PAUSE);
	}
}

/**
 * virtio_gpu_userptr_verify_init() - get ready to be suspicious
 * @userptr: being created
 */
void virtio_gpu_userptr_verify_init(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;

	watch->nr_suspects = 0;
	watch->verified = jiffies - VERIFY_PAUSE;
	INIT_DELAYED_WORK(&watch->verify_work, userptr_verify_work);
}

/**
 * virtio_gpu_userptr_suspect() - something may have happened to the memory
 * @userptr: watched, in any state
 * @first: number of the first page in the range
 * @last: number of the last page
 *
 * Does not sleep; &virtio_gpu_object_userptr.lock is held.
 */
void virtio_gpu_userptr_suspect(struct virtio_gpu_object_userptr *userptr, unsigned long first,
				unsigned long last)
{
	bool soon;

	userptr_add_suspects(userptr, first, last);

	/* While it is CREATING virtio_gpu_userptr_watch_live() sees to it. */
	if (userptr->state != VIRTIO_GPU_USERPTR_LIVE)
		return;

	soon = time_after_eq(jiffies, READ_ONCE(userptr->watch.verified) + VERIFY_PAUSE);
	virtio_gpu_userptr_queue_verify(userptr, soon ? 0 : VERIFY_PAUSE);
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_suspect);

/**
 * virtio_gpu_userptr_queue_verify() - look at the suspects
 * @userptr: LIVE
 * @delay: jiffies until then; if it is queued already, the sooner one counts
 *
 * Does not sleep; &virtio_gpu_object_userptr.lock is held.
 */
void virtio_gpu_userptr_queue_verify(struct virtio_gpu_object_userptr *userptr,
				     unsigned long delay)
{
	struct virtio_gpu_userptr_device *u = virtio_gpu_userptr_to_device(userptr);

	lockdep_assert_held(&userptr->lock);

	if (delay)
		queue_delayed_work(u->verify_wq, &userptr->watch.verify_work, delay);
	else
		mod_delayed_work(u->verify_wq, &userptr->watch.verify_work, 0);
}

/**
 * virtio_gpu_userptr_verify_now() - look at the suspects before going on
 * @userptr: object that has or had a handle, in any state
 *
 * Whatever of it its owner has taken back before this is called, it is not LIVE
 * when this returns 0.  The caller has a reference, and no locks: this sleeps.
 *
 * Return: 0, or -EBUSY if it cannot be told at the moment.
 */
int virtio_gpu_userptr_verify_now(struct virtio_gpu_object_userptr *userptr)
{
	struct virtio_gpu_userptr_watch *watch = &userptr->watch;
	unsigned int looks;

	/* Its owner has promised: nobody watches. */
	if (userptr->flags & VIRTGPU_USERPTR_KEEP)
		return 0;

	for (looks = 0; looks < VERIFY_NOW_LOOKS; looks++) {
		/* Waits for a look that has begun, and starts the one that waits. */
		flush_delayed_work(&watch->verify_work);

		guard(spinlock)(&userptr->lock);
		if (userptr->state != VIRTIO_GPU_USERPTR_LIVE || !watch->nr_suspects)
			return 0;
	}
	return -EBUSY;
}
EXPORT_SYMBOL_IF_KUNIT(virtio_gpu_userptr_verify_now);
