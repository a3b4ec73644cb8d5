/* SPDX-License-Identifier: MIT */
/*
 * udmabuf: a userptr resource as one dma-buf
 *
 * The memory of a resource, scattered over guest RAM, as a dma-buf that any
 * importer takes: made with the kernel's udmabuf from the file that is the
 * guest's RAM.  And the other way: nobody but this process has it any more.
 *
 * A dma-buf cannot be read-only: udmabuf makes writable ones, and whoever
 * imports one may write.  So a read-only resource has no dma-buf: its view is
 * NULL, which every function here takes for a view that nobody can reach, and
 * only contexts that need none (capset.rdonly) can have it attached.
 *
 * Threads: the ring thread only.
 */
#ifndef UDMABUF_H
#define UDMABUF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct backing;
struct guest_memory;
struct udmabuf;
struct udmabuf_create_list;
struct udmabuf_draft;
struct udmabuf_view;

/**
 * struct udmabuf_limits - what the running kernel takes for one dma-buf
 * @items: pieces (list_limit)
 * @bytes: size_limit_mb, in bytes
 */
struct udmabuf_limits {
	uint64_t items;
	uint64_t bytes;
};

/*
 * Open /dev/udmabuf, read its limits, and try with a page of our own memory that
 * what udmabuf_alone.c relies on is so.  0 or a negative errno, which was logged.
 * @gm must outlive it.
 */
int udmabuf_open(struct guest_memory *gm, struct udmabuf **out);
/* No views are left. */
void udmabuf_close(struct udmabuf *udmabuf);
/* As they were when they were last read: at the start, or before the last refusal. */
const struct udmabuf_limits *udmabuf_limits(const struct udmabuf *udmabuf);
/*
 * Whether guest memory, as it is now, can be made into dma-bufs; if not, that
 * was logged, once for each memory table.
 */
bool udmabuf_usable(struct udmabuf *udmabuf);

/*
 * Get ready for udmabuf_view_create() while the runs of @backing still come: to be
 * called whenever some came, with the same *draft, NULL at first.  RESP_OK_NODATA,
 * or the error that the guest is to get: as soon as it is known that no dma-buf can
 * be made.  O(new runs).  Whatever comes back, *draft is to be freed.
 */
uint32_t udmabuf_draft_extend(struct udmabuf *udmabuf, const struct backing *backing,
			      struct udmabuf_draft **draft);
/* May be NULL. */
void udmabuf_draft_free(struct udmabuf_draft *draft);

/*
 * A dma-buf of @backing, all of whose runs are in @draft, and as many bytes as its
 * size: RESP_OK_NODATA and it, and @draft is gone; or the error that the guest is
 * to get.  *out is NULL with RESP_OK_NODATA if @backing is read-only; it needs no
 * draft.  The kernel goes over all pieces and their pages here, and only it.
 */
uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_draft *draft, struct udmabuf_view **out);
/* The caller's own new descriptor of it, or a negative errno: -EACCES if there is no dma-buf. */
int udmabuf_view_dup(const struct udmabuf_view *view);
/*
 * Whether no one but @view itself can reach the memory: no descriptor, mapping,
 * import or message in flight has the dma-buf, and its reservation object is
 * idle.  Why that stays so once it is true is said in udmabuf_alone.c.
 */
bool udmabuf_view_alone(const struct udmabuf_view *view);
void udmabuf_view_free(struct udmabuf_view *view);

/* Whether @fd is a dma-buf that one of the views of @udmabuf made. */
bool udmabuf_is_ours(const struct udmabuf *udmabuf, int fd);
/*
 * Whether process @pid has a descriptor or a mapping of it (to name it, not to
 * prove anything); the view's own descriptor does not count.
 */
bool udmabuf_view_held_by(const struct udmabuf_view *view, pid_t pid);

/**
 * struct udmabuf_totals - what is held now and ever was
 * @views: now
 * @items: of them
 * @created: ever
 * @created_items: of them
 */
struct udmabuf_totals {
	uint64_t views;
	uint64_t items;
	uint64_t created;
	uint64_t created_items;
};

void udmabuf_totals(const struct udmabuf *udmabuf, struct udmabuf_totals *totals);

/*
 * The parts of it that need no device; for tests.
 */

/* udmabuf_open() with other paths; both must outlive it. */
int udmabuf_open_at(const char *device, const char *parameters, struct guest_memory *gm,
		    struct udmabuf **out);
/*
 * The limits in folder @parameters.  A parameter that cannot be read means that no
 * limit is known, and gives a negative errno: kernels differ in their defaults, and
 * refuse by themselves what is too much.  A negative one, as to the kernel, means no
 * limit.
 */
int udmabuf_read_limits(const char *parameters, struct udmabuf_limits *limits);
/*
 * udmabuf_draft_extend() without the limits.  -EINVAL: a run that nothing can be
 * added to any more is not in whole pages of this host.
 */
int udmabuf_draft_add(struct udmabuf_draft **draft, const struct backing *backing);
/* What the ioctl will be told: one item for each run. */
const struct udmabuf_create_list *udmabuf_draft_list(const struct udmabuf_draft *draft);
/* Why no dma-buf can be made of the memory of @fd, or NULL if one can. */
const char *udmabuf_file_unfit(int fd);

#endif /* UDMABUF_H */
