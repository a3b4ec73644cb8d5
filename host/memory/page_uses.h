/* SPDX-License-Identifier: MIT */
/*
 * page_uses: in how many dma-bufs each page of guest RAM is
 *
 * Why that must have a limit
 * --------------------------
 * udmabuf pins the folio of every item that it is given.  A pin of a small folio, which
 * is a page, counts 1024 in its reference count (GUP_PIN_COUNTING_BIAS); a pin of a
 * large one counts 1, but is made for each item that lies in it, so at worst for each
 * page: 512 times for 2 MiB, 262144 times for 1 GiB of hugetlb.  The count has 31 bits;
 * at 2^31 the kernel warns, and refuses everybody else's pins, too.  No guest may get
 * there.  With a page in at most N dma-bufs, and in each only once (see below), it is
 *
 *				    N = 1024	    N = 4096
 *	a page			    2^20	    2^22
 *	a folio of 2 MiB	    2^19	    2^21
 *	a folio of 1 GiB	    2^28	    2^30
 *
 * Therefore PAGE_USES_DEFAULT is 1024, and PAGE_USES_MAX 4096.
 *
 * Within a dma-buf no page may come twice: the guest's own, overlapping twice, could
 * be pinned as often as there are items, and there is no use for it.
 *
 * What is not seen
 * ----------------
 * A page that the VMM discards while it is in a dma-buf (a balloon, free page
 * reporting, virtio-mem) stays where it is, in the dma-buf only, and the guest gets
 * another one in its place: it has more memory than it was given.  A file with fewer
 * pages than are in dma-bufs was certainly discarded from, and no more dma-bufs are
 * made of it until all that there are have gone.  A guest that has touched the pages
 * anew by the time the next dma-buf is made is not found out, but all that it can have
 * gained is what its dma-bufs hold, and that has a limit of its own.
 *
 * A file that grew while it was in use is mapped twice and counted twice; the VMM can
 * do that, a guest cannot.  Two devices of one guest count each for itself.
 *
 * Threads: one at a time.
 */
#ifndef PAGE_USES_H
#define PAGE_USES_H

#include <stdint.h>

#define PAGE_USES_DEFAULT 1024u
#define PAGE_USES_MAX 4096u

struct page_uses;
struct run_list;

/* NULL: no memory.  @max: from 1 to PAGE_USES_MAX. */
struct page_uses *page_uses_new(uint32_t max);
/* Nothing is counted; may be NULL. */
void page_uses_free(struct page_uses *uses);

/*
 * Another dma-buf of these pages.  0, or nothing was counted:
 *	-EINVAL		a page comes twice
 *	-ENOSPC		a page is in as many as there may be
 *	-EIO		its file was discarded from, see above
 *	-ENOMEM
 */
int page_uses_add(struct page_uses *uses, const struct run_list *runs);
/* That dma-buf is gone. */
void page_uses_drop(struct page_uses *uses, const struct run_list *runs);
/* How many dma-bufs the page is in that is in most. */
uint32_t page_uses_most(const struct page_uses *uses);

#endif /* PAGE_USES_H */
