// SPDX-License-Identifier: MIT
/*
 * udmabuf_alone: the proof that nobody else has a dma-buf, and who has it
 *
 * Why udmabuf_view_alone() proves what it says
 * --------------------------------------------
 * A dma-buf is a struct file.  All that can reach its memory does it through a
 * reference on that file:
 *
 *	a descriptor		one for each, in every process; fork() adds its own
 *	a message in flight	SCM_RIGHTS holds the file as long as it is queued
 *	a mapping		vma->vm_file is the dma-buf, udmabuf's mmap leaves it
 *				so; munmap and exit clear the page tables and flush
 *				the TLBs before they drop it
 *	an import		DRM (prime) and other importers keep the dma-buf until
 *				the object that they made of it is destroyed
 *	a registered file	io_uring and the like hold the file
 *
 * "count" in the descriptor's fdinfo is the number of these references, less the
 * one that reading the fdinfo takes itself.  If it is 1, the one is ours.  It
 * stays so without any lock: a reference is made only from another one, or by
 * whoever can look into our table of descriptors, and from then on only these
 * files have one to make them from, and the worker has it only to close it.  That is also why the count comes first and
 * the fences second: a fence is added only by somebody with a reference, so
 * after the count no new one can come, and those that are there are seen by
 * poll().  A reader of fdinfo, a debugging iterator over all dma-bufs or a poll
 * that waits for a fence raises the count for a moment: then the answer is "not
 * yet", and is asked again.  It is never too low, also not while a process forks
 * or is between fork and exec.  What our own process has besides it, such
 * as virglrenderer's table of resources, counts like anybody else's.  None of it
 * needs a privilege.
 *
 * A process that could take a descriptor out of our table (pidfd_getfd, ptrace)
 * could read and write the guest's RAM in our memory as well; nothing is lost
 * by it that was not lost before.  /proc/<pid>/fd cannot be opened anew: the
 * inode of a dma-buf has no open().
 *
 * What is covered by what
 * -----------------------
 *  - Processes that map it, as the render server does for a CPU driver: by the
 *    count alone.  The reservation object knows nothing about a CPU.
 *  - GPU contexts whose kernel driver puts fences into the reservation object
 *    (amdgpu, msm, asahi, i915, ...): by the count while the object that was
 *    imported lives, and by poll(POLLOUT) for work that outlives it.  Drivers on
 *    TTM keep the object, and with it the count, until the work is over.
 *  - User-mode queues and KFD put only bookkeeping fences there, which poll() does
 *    not wait for.  For these the count is all: it falls when the object is
 *    destroyed, and that their drivers unmap it from the GPU before is theirs to
 *    guarantee (KFD's unmap is synchronous).
 *  - Pins that are taken through a mapping (O_DIRECT, registered buffers of
 *    io_uring, vmsplice, ptrace) would outlive the mapping.  They cannot be taken:
 *    since Linux 6.11 udmabuf's mappings are VM_PFNMAP, which get_user_pages()
 *    refuses.  On older kernels the proof holds only if the programs that are
 *    given the dma-buf do nothing of the kind; a guest cannot make the render
 *    server do so by a command stream.
 *  - VFIO's type 1 maps VM_PFNMAP memory without a reference: a process that is
 *    handed the dma-buf must not have a VFIO group.
 *
 * udmabuf_open() tries the counting with a page of our own, so that a kernel that
 * counts otherwise is found before any guest memory is given out.
 *
 * Threads: the device's only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "memory/udmabuf.h"
#include "memory/udmabuf_internal.h"
#include "util/log.h"

/**
 * udmabuf_references() - how many references there are on a dma-buf
 * @udmabuf: the device
 * @fd: the dma-buf
 *
 * Whoever has it can add to the text: locks, of which there may be many, before
 * the count, and a name, of whatever characters, after it.
 *
 * Return: the number, or a negative errno.
 */
long udmabuf_references(struct udmabuf *udmabuf, int fd)
{
	static const char key[] = "count:\t";
	char path[64], *line = NULL;
	long count = -ENOTSUP;
	size_t size = 0;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = fopen(path, "re");
	if (!info && errno == EMFILE && udmabuf->spare >= 0) {
		close(udmabuf->spare);
		udmabuf->spare = -1;
		info = fopen(path, "re");
	}
	if (!info)
		return -errno;
	while (count < 0 && getline(&line, &size, info) > 0)
		if (!strncmp(line, key, sizeof(key) - 1))
			count = strtol(line + sizeof(key) - 1, NULL, 10);
	free(line);
	fclose(info);
	if (udmabuf->spare < 0)
		udmabuf->spare = fcntl(udmabuf->fd, F_DUPFD_CLOEXEC, 0);
	return count;
}

/*
 * References on a dma-buf of our own should be @expected.  Somebody who looks at
 * our descriptors just now makes it more for a moment, hence the patience.
 */
static int expect_references(struct udmabuf *udmabuf, int fd, long expected)
{
	long count = 0;
	int i;

	for (i = 0; i < 100 && count != expected; i++) {
		count = udmabuf_references(udmabuf, fd);
		if (count < 0)
			return (int)count;
	}
	return count == expected ? 0 : -ENOTSUP;
}

/**
 * udmabuf_probe_counting() - that a duplicate and a mapping count
 * @udmabuf: the device
 * @fd: a dma-buf of our own that nobody else has
 * @page: its size
 *
 * Return: 0 if they count, and no longer than they are there; or a negative errno.
 */
int udmabuf_probe_counting(struct udmabuf *udmabuf, int fd, size_t page)
{
	int err = expect_references(udmabuf, fd, 1);
	void *map;
	int other;

	if (err)
		return err;
	other = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (other < 0)
		return -errno;
	err = expect_references(udmabuf, fd, 2);
	close(other);
	if (err)
		return err;
	map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	err = expect_references(udmabuf, fd, 2);
	munmap(map, page);
	return err ? err : expect_references(udmabuf, fd, 1);
}

/**
 * udmabuf_view_alone() - whether nobody else can reach the memory
 * @view: may be NULL
 *
 * Return: true if that is proved (see the top of this file), and then it stays so.
 */
bool udmabuf_view_alone(const struct udmabuf_view *view)
{
	struct pollfd ready;
	long count;

	if (!view)
		return true;
	/* The order matters: first nobody can add a fence, then there is none. */
	count = udmabuf_references(view->udmabuf, view->fd);
	if (count < 0) {
		if (udmabuf_may_log(view->udmabuf, COMPLAINT_COUNT))
			log_error("cannot tell how many have a dma-buf: %s", strerror((int)-count));
		return false;
	}
	if (count != 1)
		return false;
	ready = (struct pollfd){ .fd = view->fd, .events = POLLOUT };
	return poll(&ready, 1, 0) == 1 && ready.revents == POLLOUT;
}

/* Who has it */

static bool descriptor_held(const struct udmabuf_view *view, pid_t pid)
{
	char path[64], own[16];
	struct dirent *entry;
	bool held = false;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	snprintf(own, sizeof(own), "%d", view->fd);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!held && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || (pid == getpid() && !strcmp(entry->d_name, own)))
			continue;
		held = !fstatat(dirfd(dir), entry->d_name, &st, 0) && st.st_dev == view->dev &&
		       st.st_ino == view->ino;
	}
	closedir(dir);
	return held;
}

static bool mapping_held(const struct udmabuf_view *view, pid_t pid)
{
	unsigned int major_nr, minor_nr;
	char path[64], *line = NULL;
	bool held = false;
	uintmax_t ino;
	size_t size = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	/* start-end rights offset major:minor inode name */
	while (!held && getline(&line, &size, maps) > 0)
		held = sscanf(line, "%*s %*s %*s %x:%x %ju", &major_nr, &minor_nr, &ino) == 3 &&
		       makedev(major_nr, minor_nr) == view->dev && ino == view->ino;
	free(line);
	fclose(maps);
	return held;
}

/**
 * udmabuf_view_held_by() - whether a process has it
 * @view: may be NULL
 * @pid: a process; that we may look at, or the answer is no
 *
 * Return: true if it has a descriptor or a mapping.
 */
bool udmabuf_view_held_by(const struct udmabuf_view *view, pid_t pid)
{
	return view && (descriptor_held(view, pid) || mapping_held(view, pid));
}
