/* SPDX-License-Identifier: MIT */
/*
 * view_udmabuf: a userptr resource as one dma-buf
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
#ifndef VIEW_UDMABUF_H
#define VIEW_UDMABUF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct backing;
struct guest_memory;
struct udmabuf;
struct udmabuf_create_list;
struct udmabuf_view;

/**
 * struct udmabuf_limits - what the kernel takes for one dma-buf
 * @items: pieces (list_limit)
 * @bytes: size_limit_mb, in bytes
 */
struct udmabuf_limits {
	uint64_t items;
	uint64_t bytes;
};

/*
 * Open /dev/udmabuf, read its limits, and try with a page of our own memory that
 * what view_udmabuf.c relies on is so.  0 or a negative errno, which was logged.
 * @gm must outlive it.
 */
int udmabuf_open(struct guest_memory *gm, struct udmabuf **out);
/* No views are left. */
void udmabuf_close(struct udmabuf *udmabuf);
/* As they were when they were last read: at the last udmabuf_view_create(). */
const struct udmabuf_limits *udmabuf_limits(const struct udmabuf *udmabuf);
/*
 * Whether guest memory, as it is now, can be made into dma-bufs; if not, that
 * was logged, once for each memory table.
 */
bool udmabuf_usable(struct udmabuf *udmabuf);

/*
 * A dma-buf of @backing: RESP_OK_NODATA and it, or the error that the guest is
 * to get.  *out is NULL with RESP_OK_NODATA if @backing is read-only.
 */
uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_view **out);
/* The caller's own new descriptor of it, or a negative errno: -EACCES if there is no dma-buf. */
int udmabuf_view_dup(const struct udmabuf_view *view);
/*
 * Whether no one but @view itself can reach the memory: no descriptor, mapping,
 * import or message in flight has the dma-buf, and its reservation object is
 * idle.  Why that stays so once it is true is said in view_udmabuf.c.
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
 * The limits in folder @parameters.  A parameter that cannot be read gives the
 * kernel's default and a negative errno; a negative one, as to the kernel, means
 * no limit.
 */
int udmabuf_read_limits(const char *parameters, struct udmabuf_limits *limits);
/*
 * What the ioctl wants to know of @backing: pieces that adjoin in a file are
 * one, and the last ends with its resource.  To be freed.  -EINVAL: not in whole
 * pages of this host.
 */
int udmabuf_make_list(const struct backing *backing, struct udmabuf_create_list **out);
/* Why no dma-buf can be made of the memory of @fd, or NULL if one can. */
const char *udmabuf_file_unfit(int fd);

#endif /* VIEW_UDMABUF_H */
