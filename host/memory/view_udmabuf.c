// SPDX-License-Identifier: MIT
/*
 * view_udmabuf: dma-bufs out of guest RAM, and the proof that nobody has one
 *
 * A view is one dma-buf, held by one descriptor of ours that leaves this file
 * only as a duplicate.  Invariant: every live view is in the tree of views, by
 * the (device, inode) of its dma-buf, which the kernel does not use twice while
 * the descriptor is open.
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
 * whoever can look into our table of descriptors, and from then on only this
 * thread has one to make them from.  That is also why the count comes first and
 * the fences second: a fence is added only by somebody with a reference, so
 * after the count no new one can come, and those that are there are seen by
 * poll().  A reader of fdinfo, a debugging iterator over all dma-bufs or a poll
 * that waits for a fence raises the count for a moment: then the answer is "not
 * yet", and is asked again.  It is never too low, also not while a process forks
 * or is between fork and exec.  What our own process has outside this file, such
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
 * Threads: the ring thread only.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <linux/udmabuf.h>
#include <linux/virtio_gpu_userptr.h>

#include "memory/backing.h"
#include "util/descriptors.h"
#include "memory/guest_memory.h"
#include "util/log.h"
#include "memory/view_udmabuf.h"

#define UDMABUF_DEVICE "/dev/udmabuf"
#define UDMABUF_PARAMETERS "/sys/module/udmabuf/parameters"
#define MIB (UINT64_C(1) << 20)
/*
 * Linux copies the list into one block from kmalloc() (memdup_user(), still so in
 * 7.3), whatever list_limit says, unless it has our patch.  The largest that there
 * can be, with pages of 4 KiB and the usual order.
 */
#define KMALLOC_MAX (UINT64_C(4) << 20)
/* Refusals of one kind are logged once in that many seconds. */
#define LOG_SECONDS 1

/* What a refusal is about; a guest can cause any number, the log takes a few. */
enum complaint {
	COMPLAINT_ITEMS,
	COMPLAINT_BYTES,
	COMPLAINT_MEMORY,
	COMPLAINT_OTHER,
	COMPLAINT_COUNT,
	COMPLAINTS,
};

/**
 * struct udmabuf - the device
 * @fd: /dev/udmabuf
 * @spare: a descriptor to give up for a moment: references must be counted also
 *	when there are no more, or nothing would ever be given back; or -1
 * @parameters: folder of the kernel's limits
 * @gm: guest memory
 * @limits: as last read
 * @views: root of the tree of struct udmabuf_view
 * @totals: see there
 * @usable: what the table of @generation is
 * @generation: of the memory table that was last looked at, 0: none
 * @silent_until: for each kind of complaint, in seconds
 */
struct udmabuf {
	int fd;
	int spare;
	const char *parameters;
	struct guest_memory *gm;
	struct udmabuf_limits limits;
	void *views;
	struct udmabuf_totals totals;
	bool usable;
	uint64_t generation;
	time_t silent_until[COMPLAINTS];
};

/**
 * struct udmabuf_draft - the ioctl's argument, as far as the runs have come
 * @capacity: items that fit
 * @list: an item for each run, in their order
 */
struct udmabuf_draft {
	size_t capacity;
	struct udmabuf_create_list list;
};

/**
 * struct udmabuf_view - a dma-buf
 * @udmabuf: whose it is
 * @fd: our only descriptor of it
 * @dev: with @ino its identity
 * @ino: see @dev
 * @items: pieces that it is made of
 */
struct udmabuf_view {
	struct udmabuf *udmabuf;
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t items;
};

/* Limits */

static int read_parameter(const char *folder, const char *name, int *value)
{
	char path[256], text[32];
	ssize_t len;
	char *end;
	long number;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return -EIO;
	text[len] = 0;
	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || end == text || (*end && *end != '\n') || number < INT32_MIN ||
	    number > INT32_MAX)
		return -EINVAL;
	*value = (int)number;
	return 0;
}

/**
 * udmabuf_read_limits() - see the header
 * @parameters: the folder
 * @limits: always filled in
 *
 * Return: 0, or what was wrong with a parameter for which no limit is assumed.
 */
int udmabuf_read_limits(const char *parameters, struct udmabuf_limits *limits)
{
	int items = -1, megabytes = -1;
	int err, err2;

	err = read_parameter(parameters, "list_limit", &items);
	err2 = read_parameter(parameters, "size_limit_mb", &megabytes);
	/* The kernel compares both unsigned. */
	limits->items = items < 0 ? UINT32_MAX : (uint32_t)items;
	limits->bytes = megabytes < 0 ? UINT64_MAX : (uint64_t)megabytes * MIB;
	return err ? err : err2;
}

/* Whether another complaint of this kind may be logged now. */
static bool may_log(struct udmabuf *udmabuf, enum complaint what)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < udmabuf->silent_until[what])
		return false;
	udmabuf->silent_until[what] = now.tv_sec + LOG_SECONDS;
	return true;
}

static void log_items(const struct udmabuf *udmabuf, const struct backing *backing)
{
	uint64_t nr = backing->runs.nr;
	/* What is still to come is one piece for each page at worst. */
	uint64_t left =
		(backing->size - run_list_bytes(&backing->runs)) / (uint64_t)sysconf(_SC_PAGESIZE);

	log_error("resource %u refused: its memory is %s%" PRIu64 " pieces, and %s/list_limit, "
		  "which is %" PRIu64 ", is the most that the kernel makes a dma-buf of: raise it "
		  "there, or with udmabuf.list_limit=%" PRIu64 " on the host kernel's command line",
		  backing->id, left ? "at least " : "", nr, udmabuf->parameters,
		  udmabuf->limits.items, nr + left);
}

static void log_bytes(const struct udmabuf *udmabuf, const struct backing *backing)
{
	uint64_t megabytes = (backing->size + MIB - 1) / MIB;

	log_error("resource %u refused: its memory is %" PRIu64 " MiB, and %s/size_limit_mb, which "
		  "is %" PRIu64 ", is the most that the kernel makes a dma-buf of: raise it there, "
		  "or with udmabuf.size_limit_mb=%" PRIu64 " on the host kernel's command line",
		  backing->id, megabytes, udmabuf->parameters, udmabuf->limits.bytes / MIB,
		  megabytes);
}

/*
 * Whether the limits let through what is known of @backing: the runs that came, and
 * its size.  If not, that is logged.
 */
static bool within_limits(struct udmabuf *udmabuf, const struct backing *backing)
{
	const struct udmabuf_limits *limits = &udmabuf->limits;

	if (backing->runs.nr <= limits->items && backing->size <= limits->bytes)
		return true;
	/* They can be raised at any time. */
	udmabuf_read_limits(udmabuf->parameters, &udmabuf->limits);
	if (backing->runs.nr > limits->items) {
		if (may_log(udmabuf, COMPLAINT_ITEMS))
			log_items(udmabuf, backing);
		return false;
	}
	if (backing->size > limits->bytes) {
		if (may_log(udmabuf, COMPLAINT_BYTES))
			log_bytes(udmabuf, backing);
		return false;
	}
	return true;
}

/**
 * udmabuf_limits() - what the kernel takes
 * @udmabuf: the device
 *
 * Return: the limits as last read.
 */
const struct udmabuf_limits *udmabuf_limits(const struct udmabuf *udmabuf)
{
	return &udmabuf->limits;
}

/* RAM */

/**
 * udmabuf_file_unfit() - why no dma-buf can be made of a file
 * @fd: it
 *
 * The kernel wants a file of shared memory that can never shrink and can be
 * written to.
 *
 * Return: the end of a sentence about the file, or NULL if it is fit.
 */
const char *udmabuf_file_unfit(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return "is not a memfd";
	if (!(seals & F_SEAL_SHRINK))
		return "is not sealed against shrinking (F_SEAL_SHRINK)";
	if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return "is sealed against writing";
	return NULL;
}

static void log_unfit(int fd, const char *why)
{
	char path[64], name[128];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, name, sizeof(name) - 1);
	name[len < 0 ? 0 : len] = 0;
	log_error("no dma-buf can be made of guest RAM in '%s': it %s; QEMU makes RAM that can be "
		  "used with -object memory-backend-memfd,share=on,...",
		  name, why);
}

/**
 * udmabuf_usable() - whether guest memory can be made into dma-bufs
 * @udmabuf: the device
 *
 * A table may name a file or two that cannot, for example the VMM's ROMs, as long
 * as there is one that can: a resource that lies in the others is refused alone.
 *
 * Return: true if so; false also while there is no guest memory.
 */
bool udmabuf_usable(struct udmabuf *udmabuf)
{
	struct guest_memory *gm = udmabuf->gm;
	const struct ram_file *file;
	unsigned int i, j;

	if (guest_memory_generation(gm) == udmabuf->generation)
		return udmabuf->usable;
	udmabuf->generation = guest_memory_generation(gm);
	udmabuf->usable = false;
	for (i = 0; (file = guest_memory_file(gm, i)); i++) {
		const char *why = udmabuf_file_unfit(ram_file_fd(file));

		if (!why) {
			udmabuf->usable = true;
			continue;
		}
		/* Several regions may be of one file. */
		for (j = 0; guest_memory_file(gm, j) != file; j++)
			;
		if (j == i)
			log_unfit(ram_file_fd(file), why);
	}
	return udmabuf->usable;
}

/* Whether a file of @backing is unfit; if so, that is logged. */
static bool memory_unfit(struct udmabuf *udmabuf, const struct backing *backing)
{
	size_t i;

	for (i = 0; i < backing->runs.nr; i++) {
		int fd = ram_file_fd(backing->runs.runs[i].file);
		const char *why = udmabuf_file_unfit(fd);

		if (why) {
			if (may_log(udmabuf, COMPLAINT_MEMORY))
				log_unfit(fd, why);
			return true;
		}
	}
	return false;
}

/*
 * The references that there are on the dma-buf of @fd, or a negative errno.
 * Whoever has it can add to the text: locks, of which there may be many, before
 * the count, and a name, of whatever characters, after it.
 */
static long references(struct udmabuf *udmabuf, int fd)
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

/* The device */

/*
 * References on a dma-buf of our own should be @expected.  Somebody who looks at
 * our descriptors just now makes it more for a moment, hence the patience.
 */
static int expect_references(struct udmabuf *udmabuf, int fd, long expected)
{
	long count = 0;
	int i;

	for (i = 0; i < 100 && count != expected; i++) {
		count = references(udmabuf, fd);
		if (count < 0)
			return (int)count;
	}
	return count == expected ? 0 : -ENOTSUP;
}

/* That a duplicate and a mapping count, and no longer than they are there. */
static int probe_counting(struct udmabuf *udmabuf, int fd, size_t page)
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

/* The whole way, with a page of our own memory. */
static int probe(struct udmabuf *udmabuf)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct {
		struct udmabuf_create_list list;
		struct udmabuf_create_item item;
	} arg = { .list = { .flags = UDMABUF_FLAGS_CLOEXEC, .count = 1 } };
	int memory, fd, err = 0;

	memory = memfd_create("udmabuf-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory < 0)
		return -errno;
	if (ftruncate(memory, (off_t)page) || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK)) {
		err = -errno;
		goto out_memory;
	}
	arg.item.memfd = (uint32_t)memory;
	arg.item.size = page;
	fd = ioctl(udmabuf->fd, UDMABUF_CREATE_LIST, &arg);
	if (fd < 0) {
		err = -errno;
		log_error("udmabuf makes no dma-buf of one page: %s", strerror(errno));
		goto out_memory;
	}
	err = probe_counting(udmabuf, fd, page);
	if (err)
		log_error(
			"this kernel or /proc does not tell how many have a dma-buf (\"count\" in "
			"/proc/self/fdinfo): %s; without it nothing can be taken back",
			strerror(-err));
	close(fd);

out_memory:
	close(memory);
	return err;
}

/**
 * udmabuf_open_at() - udmabuf_open() with other paths
 * @device: instead of /dev/udmabuf
 * @parameters: folder with list_limit and size_limit_mb
 * @gm: guest memory, must outlive it
 * @out: the device
 *
 * Return: 0 or a negative errno, which was logged.
 */
int udmabuf_open_at(const char *device, const char *parameters, struct guest_memory *gm,
		    struct udmabuf **out)
{
	struct udmabuf *udmabuf = calloc(1, sizeof(*udmabuf));
	int err;

	if (!udmabuf) {
		log_error("udmabuf: no memory");
		return -ENOMEM;
	}
	udmabuf->parameters = parameters;
	udmabuf->gm = gm;
	udmabuf->spare = -1;
	udmabuf->fd = open(device, O_RDWR | O_CLOEXEC);
	if (udmabuf->fd < 0) {
		err = -errno;
		log_error("%s: %s; it needs a kernel with CONFIG_UDMABUF and the right to open it",
			  device, strerror(errno));
		goto err_free;
	}
	err = udmabuf_read_limits(parameters, &udmabuf->limits);
	if (err)
		log_error("%s: %s; without list_limit and size_limit_mb there it cannot be told "
			  "why the kernel makes no dma-buf of a large resource",
			  parameters, strerror(-err));
	else
		log_event("udmabuf: list_limit %" PRIu64 ", size_limit_mb %" PRIu64 ", says %s",
			  udmabuf->limits.items, udmabuf->limits.bytes / MIB, parameters);
	err = probe(udmabuf);
	if (err)
		goto err_close;
	*out = udmabuf;
	return 0;

err_close:
	if (udmabuf->spare >= 0)
		close(udmabuf->spare);
	close(udmabuf->fd);
err_free:
	free(udmabuf);
	return err;
}

/**
 * udmabuf_open() - see the header
 * @gm: guest memory, must outlive it
 * @out: the device
 *
 * Return: 0 or a negative errno, which was logged.
 */
int udmabuf_open(struct guest_memory *gm, struct udmabuf **out)
{
	return udmabuf_open_at(UDMABUF_DEVICE, UDMABUF_PARAMETERS, gm, out);
}

/**
 * udmabuf_close() - the other end of udmabuf_open()
 * @udmabuf: without views; may be NULL
 */
void udmabuf_close(struct udmabuf *udmabuf)
{
	if (!udmabuf)
		return;
	assert(!udmabuf->views);
	if (udmabuf->spare >= 0)
		close(udmabuf->spare);
	close(udmabuf->fd);
	free(udmabuf);
}

/**
 * udmabuf_totals() - what is held and was made
 * @udmabuf: the device
 * @totals: filled in
 */
void udmabuf_totals(const struct udmabuf *udmabuf, struct udmabuf_totals *totals)
{
	*totals = udmabuf->totals;
}

/* Drafts */

/* Room for @items, by doubling: chunks may be as small as a guest likes. */
static int draft_grow(struct udmabuf_draft **draft, size_t items)
{
	size_t capacity = *draft ? (*draft)->capacity : 0;
	struct udmabuf_draft *grown;

	if (*draft && items <= capacity)
		return 0;
	capacity = items > 2 * capacity ? items : 2 * capacity;
	grown = realloc(*draft, sizeof(*grown) + capacity * sizeof(grown->list.list[0]));
	if (!grown)
		return -ENOMEM;
	if (!*draft) {
		grown->list.flags = UDMABUF_FLAGS_CLOEXEC;
		grown->list.count = 0;
	}
	grown->capacity = capacity;
	*draft = grown;
	return 0;
}

static bool in_whole_pages(const struct udmabuf_create_item *item)
{
	return !((item->offset | item->size) % (uint64_t)sysconf(_SC_PAGESIZE));
}

/**
 * udmabuf_draft_add() - take over the runs that came since it was last called
 * @draft: as it was left then, NULL at first
 * @backing: whose runs they are
 *
 * Runs that adjoin in a file are one already, so an item is a run.
 *
 * Return: 0, -ENOMEM, -EINVAL (not whole pages); @draft is to be freed anyway.
 */
int udmabuf_draft_add(struct udmabuf_draft **draft, const struct backing *backing)
{
	const struct run_list *runs = &backing->runs;
	struct udmabuf_create_list *list;
	size_t i;
	int err;

	err = draft_grow(draft, runs->nr);
	if (err)
		return err;
	list = &(*draft)->list;
	/* The last one again: it may have grown. */
	for (i = list->count ? list->count - 1 : 0; i < runs->nr; i++) {
		/* Only a run with another behind it has its final length. */
		if (i && !in_whole_pages(&list->list[i - 1]))
			return -EINVAL;
		list->list[i] = (struct udmabuf_create_item){
			.memfd = (uint32_t)ram_file_fd(runs->runs[i].file),
			.offset = runs->runs[i].offset,
			.size = runs->runs[i].length,
		};
	}
	list->count = (uint32_t)runs->nr;
	/* The same for the very last one. */
	if (list->count && run_list_bytes(runs) == backing->size &&
	    !in_whole_pages(&list->list[list->count - 1]))
		return -EINVAL;
	return 0;
}

/**
 * udmabuf_draft_list() - what the ioctl will be told
 * @draft: not NULL
 *
 * Return: the list, good until the next udmabuf_draft_add().
 */
const struct udmabuf_create_list *udmabuf_draft_list(const struct udmabuf_draft *draft)
{
	return &draft->list;
}

/**
 * udmabuf_draft_extend() - get ready for udmabuf_view_create()
 * @udmabuf: the device
 * @backing: has got some runs
 * @draft: as it was left last time, NULL at first
 *
 * Return: VIRTIO_GPU_RESP_OK_NODATA or the error for the guest; what the host can
 * do about it was logged.
 */
uint32_t udmabuf_draft_extend(struct udmabuf *udmabuf, const struct backing *backing,
			      struct udmabuf_draft **draft)
{
	int err;

	/* No more than 32 bits can count, either. */
	if (!within_limits(udmabuf, backing))
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	err = udmabuf_draft_add(draft, backing);
	if (err == -ENOMEM)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	if (err) {
		if (may_log(udmabuf, COMPLAINT_OTHER))
			log_error("resource %u refused: its memory is not in whole pages of the "
				  "host (%ld bytes)",
				  backing->id, sysconf(_SC_PAGESIZE));
		return VIRTIO_GPU_RESP_ERR_UNSUPPORTED;
	}
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/**
 * udmabuf_draft_free() - when no view is made of it
 * @draft: may be NULL
 */
void udmabuf_draft_free(struct udmabuf_draft *draft)
{
	free(draft);
}

/* Views */

/* What the guest is to hear of a refusal by the kernel, which is logged. */
static uint32_t refusal(struct udmabuf *udmabuf, const struct backing *backing,
			const struct udmabuf_create_list *list, int err)
{
	uint64_t list_bytes = (uint64_t)list->count * sizeof(list->list[0]);

	if (err == ENOMEM && list_bytes > KMALLOC_MAX) {
		if (may_log(udmabuf, COMPLAINT_ITEMS))
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
		if (may_log(udmabuf, COMPLAINT_OTHER))
			log_error("resource %u refused: a dma-buf needs a descriptor: %s "
				  "(RLIMIT_NOFILE, ulimit -n)",
				  backing->id, strerror(err));
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	}
	/* The limits may have been lowered since they were read. */
	udmabuf_read_limits(udmabuf->parameters, &udmabuf->limits);
	if (!within_limits(udmabuf, backing))
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	if (memory_unfit(udmabuf, backing))
		return VIRTIO_GPU_RESP_ERR_UNSUPPORTED;
	if (may_log(udmabuf, COMPLAINT_OTHER))
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
	count = references(view->udmabuf, view->fd);
	if (count < 0) {
		if (may_log(view->udmabuf, COMPLAINT_COUNT))
			log_error("cannot tell how many have a dma-buf: %s", strerror((int)-count));
		return false;
	}
	if (count != 1)
		return false;
	ready = (struct pollfd){ .fd = view->fd, .events = POLLOUT };
	return poll(&ready, 1, 0) == 1 && ready.revents == POLLOUT;
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
