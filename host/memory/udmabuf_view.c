// SPDX-License-Identifier: MIT
/*
 * udmabuf_view: dma-bufs out of guest RAM
 *
 * A view is one dma-buf, held by one descriptor of ours that leaves these
 * files only as a duplicate.  Invariant: every live view is in the tree of views, by
 * the (device, inode) of its dma-buf, which the kernel does not use twice while
 * the descriptor is open.
 *
 * Threads: the ring thread only.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/udmabuf.h>
#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/udmabuf.h"
#include "memory/udmabuf_internal.h"
#include "util/descriptors.h"
#include "util/log.h"

/*
 * Linux copies the list into one block from kmalloc() (memdup_user(), still so in
 * 7.3), whatever list_limit says, unless it has our patch.  The largest that there
 * can be, with pages of 4 KiB and the usual order.
 */
#define KMALLOC_MAX (UINT64_C(4) << 20)

/* What the guest is to hear of a refusal by the kernel, which is logged. */
static uint32_t refusal(struct udmabuf *udmabuf, const struct backing *backing,
			const struct udmabuf_create_list *list, int err)
{
	uint64_t list_bytes = (uint64_t)list->count * sizeof(list->list[0]);

	if (err == ENOMEM && list_bytes > KMALLOC_MAX) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_ITEMS))
			log_error("resource %u refused: its memory is %u pieces, and this kernel "
				  "takes about %" PRIu64 " in one list, whatever list_limit says "
				  "(it copies the list into one block of at most %" PRIu64
				  " MiB): fewer pieces are needed, such as huge pages in the guest",
				  backing->id, list->count, KMALLOC_MAX / sizeof(list->list[0]),
				  KMALLOC_MAX / MIB);
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	}
	if (err == ENOMEM)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (err == EMFILE || err == ENFILE) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_OTHER))
			log_error("resource %u refused: a dma-buf needs a descriptor: %s "
				  "(RLIMIT_NOFILE, ulimit -n)",
				  backing->id, strerror(err));
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	}
	/* The limits may have been lowered since they were read. */
	udmabuf_read_limits(udmabuf->parameters, &udmabuf->limits);
	if (!udmabuf_within_limits(udmabuf, backing))
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	if (udmabuf_memory_unfit(udmabuf, backing))
		return VIRTIO_GPU_RESP_ERR_UNSUPPORTED;
	if (udmabuf_may_log(udmabuf, COMPLAINT_OTHER))
		log_error("resource %u refused: udmabuf makes no dma-buf of %u pieces, %" PRIu64
			  " MiB: %s",
			  backing->id, list->count, backing->size / MIB, strerror(err));
	return VIRTIO_GPU_RESP_ERR_UNSPEC;
}

static int compare_views(const void *a, const void *b)
{
	const struct udmabuf_view *left = a, *right = b;

	if (left->dev != right->dev)
		return left->dev < right->dev ? -1 : 1;
	return (left->ino > right->ino) - (left->ino < right->ino);
}

/* A view of the new dma-buf @fd, which is closed if there is no memory for it. */
static struct udmabuf_view *view_new(struct udmabuf *udmabuf, int fd, uint32_t items)
{
	struct udmabuf_view *view = calloc(1, sizeof(*view));
	struct stat st;

	if (!view)
		goto err_close;
	if (fstat(fd, &st))
		goto err_free;
	*view = (struct udmabuf_view){
		.udmabuf = udmabuf,
		.fd = fd,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.items = items,
	};
	if (!tsearch(view, &udmabuf->views, compare_views))
		goto err_free;
	udmabuf->totals.views++;
	udmabuf->totals.items += items;
	udmabuf->totals.created++;
	udmabuf->totals.created_items += items;
	return view;

err_free:
	free(view);
err_close:
	close(fd);
	return NULL;
}

/**
 * udmabuf_view_create() - a dma-buf of a resource's memory
 * @udmabuf: the device
 * @backing: complete
 * @draft: has all its runs; gone if a view is made of it, else as before
 * @out: the view, or NULL if @backing is read-only
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA or the error for the guest; what the host can
 * do about it was logged.
 */
uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_draft *draft, struct udmabuf_view **out)
{
	struct udmabuf_view *view;
	int fd;

	if (backing->readonly) {
		udmabuf_draft_free(draft);
		*out = NULL;
		return VIRTIO_GPU_RESP_OK_NODATA;
	}
	assert(draft && draft->list.count == backing->runs.nr &&
	       run_list_bytes(&backing->runs) == backing->size);
	fd = ioctl(udmabuf->fd, UDMABUF_CREATE_LIST, &draft->list);
	if (fd >= 0 && descriptor_is_reserved(fd, DESCRIPTORS_FOR_RESOURCES)) {
		close(fd);
		fd = -1;
		errno = EMFILE;
	}
	if (fd < 0)
		return refusal(udmabuf, backing, &draft->list, errno);
	view = view_new(udmabuf, fd, draft->list.count);
	if (!view)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	udmabuf_draft_free(draft);
	*out = view;
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/**
 * udmabuf_view_dup() - a descriptor of it
 * @view: may be NULL
 *
 * Return: a new descriptor, the caller's, or a negative errno.
 */
int udmabuf_view_dup(const struct udmabuf_view *view)
{
	int fd;

	if (!view)
		return -EACCES;
	fd = fcntl(view->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/**
 * udmabuf_view_free() - give the dma-buf up
 * @view: alone, or made for nothing; may be NULL
 */
void udmabuf_view_free(struct udmabuf_view *view)
{
	struct udmabuf *udmabuf;

	if (!view)
		return;
	udmabuf = view->udmabuf;
	tdelete(view, &udmabuf->views, compare_views);
	udmabuf->totals.views--;
	udmabuf->totals.items -= view->items;
	close(view->fd);
	free(view);
}

/**
 * udmabuf_is_ours() - whether a descriptor is of one of our dma-bufs
 * @udmabuf: the device
 * @fd: any descriptor
 *
 * Return: true if so.  O(log views).
 */
bool udmabuf_is_ours(const struct udmabuf *udmabuf, int fd)
{
	struct udmabuf_view key;
	struct stat st;

	if (fstat(fd, &st))
		return false;
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	return tfind(&key, &udmabuf->views, compare_views) != NULL;
}
