// SPDX-License-Identifier: MIT
/*
 * kernel: see kernel.h
 *
 * A dma-buf is an empty memfd: it has an inode of its own, can be duplicated and mapped,
 * and is always ready, as one without fences is.
 *
 * Threads: see kernel.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/kernel.h"
#include "fuzz/wrap.h"

#define MAX_DMABUFS 128
/* Descriptors from that on are not looked at. */
#define MAX_DESCRIPTORS 256
#define LIST_LIMIT 24
#define SIZE_LIMIT_MB 1

/**
 * struct dmabuf - one
 * @used: there is, or was, in this input
 * @ino: of its file
 * @others: references of other processes, and of kernel objects
 * @busy: has fences
 * @pages: of the guest
 */
static struct dmabuf {
	bool used;
	ino_t ino;
	unsigned int others;
	bool busy;
	uint8_t pages[(GUEST_PAGES + 7) / 8];
} dmabufs[MAX_DMABUFS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int nr_mappings;
static struct {
	void *at;
	ino_t ino;
} mapped[MAX_DMABUFS];
static uint8_t refuse;
static atomic_bool any_busy;
static ino_t device_ino;

void (*kernel_elsewhere)(void);
int (*kernel_open_card)(const char *path);

void kernel_begin(uint8_t refusals)
{
	memset(dmabufs, 0, sizeof(dmabufs));
	nr_mappings = 0;
	any_busy = false;
	refuse = refusals;
}

static int find(ino_t ino)
{
	int i;

	for (i = 0; i < MAX_DMABUFS; i++)
		if (dmabufs[i].used && dmabufs[i].ino == ino)
			return i;
	return -1;
}

int kernel_dmabuf(int fd)
{
	struct stat st;
	int ret;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	pthread_mutex_lock(&lock);
	ret = find(st.st_ino);
	pthread_mutex_unlock(&lock);
	return ret;
}

void kernel_hold(int dmabuf)
{
	pthread_mutex_lock(&lock);
	dmabufs[dmabuf].others++;
	pthread_mutex_unlock(&lock);
}

void kernel_release(int dmabuf)
{
	pthread_mutex_lock(&lock);
	dmabufs[dmabuf].others--;
	pthread_mutex_unlock(&lock);
}

void kernel_set_busy(int dmabuf)
{
	pthread_mutex_lock(&lock);
	dmabufs[dmabuf].busy = true;
	any_busy = true;
	pthread_mutex_unlock(&lock);
}

void kernel_set_all_idle(void)
{
	int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_DMABUFS; i++)
		dmabufs[i].busy = false;
	any_busy = false;
	pthread_mutex_unlock(&lock);
}

/* References of this process: a look at each descriptor, and our list of mappings. */
static unsigned int count(ino_t ino)
{
	struct pollfd fds[MAX_DESCRIPTORS];
	unsigned int nr = 0, i;
	struct stat st;

	/* Which ones are open is known at once. */
	for (i = 0; i < MAX_DESCRIPTORS; i++)
		fds[i] = (struct pollfd){ .fd = (int)i };
	__real_poll(fds, MAX_DESCRIPTORS, 0);
	for (i = 0; i < MAX_DESCRIPTORS; i++)
		if (!(fds[i].revents & POLLNVAL))
			nr += !fstat((int)i, &st) && st.st_ino == ino;
	for (i = 0; i < nr_mappings; i++)
		nr += mapped[i].ino == ino;
	return nr;
}

void kernel_page_returned(uint32_t page)
{
	unsigned int own, i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_DMABUFS; i++) {
		if (!dmabufs[i].used || !(dmabufs[i].pages[page / 8] >> page % 8 & 1))
			continue;
		own = count(dmabufs[i].ino);
		if (own || dmabufs[i].others)
			fuzz_oracle(
				"RELEASE RULE: page %u is the guest's own again, and there is a "
				"dma-buf of it: %u descriptors and mappings here, %u others",
				page, own, dmabufs[i].others);
		/* Nobody can get it any more. */
		dmabufs[i].used = false;
	}
	pthread_mutex_unlock(&lock);
}

void kernel_end(void)
{
	int i;

	for (i = 0; i < MAX_DMABUFS; i++)
		if (dmabufs[i].used && dmabufs[i].others)
			fuzz_oracle("RELEASE RULE: the device is gone, and others have a dma-buf");
}

/* ---- the device ---- */

/* Whether the item is of a file that udmabuf takes, and whole pages of it. */
static bool add_item(struct dmabuf *dmabuf, const struct udmabuf_create_item *item, ino_t guest)
{
	struct stat st;
	uint64_t at;

	if (fstat((int)item->memfd, &st) || !(fcntl((int)item->memfd, F_GET_SEALS) & F_SEAL_SHRINK))
		return false;
	if (!item->size || (item->offset | item->size) % GUEST_PAGE ||
	    item->offset + item->size < item->size ||
	    item->offset + item->size > (uint64_t)st.st_size)
		return false;
	for (at = item->offset; st.st_ino == guest && at < item->offset + item->size;
	     at += GUEST_PAGE) {
		uint32_t page = guest_page_in_file(at);

		if (page != UINT32_MAX)
			dmabuf->pages[page / 8] |= (uint8_t)(1u << page % 8);
	}
	return true;
}

static int make_dmabuf(const struct udmabuf_create_list *list)
{
	struct dmabuf made = { .used = true };
	struct stat st, guest;
	uint64_t bytes = 0;
	uint32_t i;
	int fd, at;

	if (list->count > LIST_LIMIT || !list->count || fstat(guest_fd(), &guest))
		goto invalid;
	for (i = 0; i < list->count; i++) {
		if (!add_item(&made, &list->list[i], guest.st_ino))
			goto invalid;
		bytes += list->list[i].size;
	}
	if (bytes > (uint64_t)SIZE_LIMIT_MB << 20)
		goto invalid;
	fd = memfd_create("dma-buf", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	for (at = 0; at < MAX_DMABUFS && dmabufs[at].used; at++)
		;
	if (at == MAX_DMABUFS || ftruncate(fd, (off_t)bytes) || fstat(fd, &st)) {
		close(fd);
		errno = ENOMEM;
		return -1;
	}
	made.ino = st.st_ino;
	dmabufs[at] = made;
	return fd;

invalid:
	errno = EINVAL;
	return -1;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct stat st;
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != UDMABUF_CREATE_LIST)
		return __real_ioctl(fd, request, arg);
	if (fstat(fd, &st) || st.st_ino != device_ino)
		fuzz_oracle("udmabuf is asked with a descriptor that is not its own");
	refuse >>= 1;
	if (refuse & 1) {
		errno = ENOMEM;
		return -1;
	}
	pthread_mutex_lock(&lock);
	ret = make_dmabuf(arg);
	pthread_mutex_unlock(&lock);
	return ret;
}

/* A file with @text. */
static int text_file(const char *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);

	if (fd >= 0 && (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
	struct stat st;
	va_list args;
	char text[16];
	mode_t mode;
	int fd;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (!strcmp(path, "/dev/udmabuf")) {
		fd = text_file("");
		if (fd >= 0 && !fstat(fd, &st))
			device_ino = st.st_ino;
		return fd;
	}
	if (kernel_open_card && !strncmp(path, "/dev/dri/", 9))
		return kernel_open_card(path);
	if (!strncmp(path, "/sys/module/udmabuf/", 20)) {
		snprintf(text, sizeof(text), "%d\n",
			 strstr(path, "list_limit") ? LIST_LIMIT : SIZE_LIMIT_MB);
		return text_file(text);
	}
	return __real_open(path, flags, mode);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
	static const char fdinfo[] = "/proc/self/fdinfo/";
	static __thread char text[64];
	int fd, dmabuf;

	if (strncmp(path, fdinfo, sizeof(fdinfo) - 1) ||
	    sscanf(path + sizeof(fdinfo) - 1, "%d", &fd) != 1)
		return __real_fopen(path, mode);
	dmabuf = kernel_dmabuf(fd);
	if (dmabuf < 0)
		return __real_fopen(path, mode);
	pthread_mutex_lock(&lock);
	snprintf(text, sizeof(text), "pos:\t0\nsize:\t4096\ncount:\t%u\nexp_name:\tudmabuf\n",
		 count(dmabufs[dmabuf].ino) + dmabufs[dmabuf].others);
	pthread_mutex_unlock(&lock);
	return fmemopen(text, strlen(text), "r");
}

/* ---- waiting, and mappings ---- */

bool kernel_poll(const struct pollfd *fds, nfds_t nr, int timeout)
{
	int dmabuf;

	if (timeout && kernel_elsewhere)
		kernel_elsewhere();
	if (!any_busy || nr != 1 || !(fds->events & POLLOUT))
		return false;
	dmabuf = kernel_dmabuf(fds->fd);
	return dmabuf >= 0 && dmabufs[dmabuf].busy;
}

void kernel_mapped(void *at, int fd)
{
	struct stat st;

	if (kernel_dmabuf(fd) < 0 || fstat(fd, &st))
		return;
	pthread_mutex_lock(&lock);
	if (nr_mappings < MAX_DMABUFS) {
		mapped[nr_mappings].at = at;
		mapped[nr_mappings++].ino = st.st_ino;
	}
	pthread_mutex_unlock(&lock);
}

void kernel_unmapped(void *at)
{
	unsigned int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < nr_mappings; i++)
		if (mapped[i].at == at)
			mapped[i--] = mapped[--nr_mappings];
	pthread_mutex_unlock(&lock);
}
