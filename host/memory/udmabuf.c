// SPDX-License-Identifier: MIT
/*
 * udmabuf: the device that makes dma-bufs, its limits, and RAM that is fit for it
 *
 * Invariant: what the device relies on (see udmabuf_alone.c) was tried with a page
 * of our own before any guest memory is given out.
 *
 * Threads: the device's only.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "memory/backing.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/udmabuf.h"
#include "memory/udmabuf_internal.h"
#include "util/clock.h"
#include "util/log.h"

#define UDMABUF_DEVICE "/dev/udmabuf"
#define UDMABUF_PARAMETERS "/sys/module/udmabuf/parameters"
/* Refusals of one kind are logged once in that time. */
#define LOG_MS 1000

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

/**
 * udmabuf_may_log() - whether another complaint of this kind may be logged now
 * @udmabuf: the device
 * @what: the kind
 *
 * Return: true if so, and then not again for a while.
 */
bool udmabuf_may_log(struct udmabuf *udmabuf, enum complaint what)
{
	uint64_t now = clock_ms();

	if (now < udmabuf->silent_until[what])
		return false;
	udmabuf->silent_until[what] = now + LOG_MS;
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

/**
 * udmabuf_within_limits() - whether the limits let a resource through
 * @udmabuf: the device
 * @backing: what counts is its size and the runs that came
 *
 * Return: true if so; else false, and that was logged.
 */
bool udmabuf_within_limits(struct udmabuf *udmabuf, const struct backing *backing)
{
	const struct udmabuf_limits *limits = &udmabuf->limits;

	if (backing->runs.nr <= limits->items && backing->size <= limits->bytes)
		return true;
	/* They can be raised at any time. */
	udmabuf_read_limits(udmabuf->parameters, &udmabuf->limits);
	if (backing->runs.nr > limits->items) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_ITEMS))
			log_items(udmabuf, backing);
		return false;
	}
	if (backing->size > limits->bytes) {
		if (udmabuf_may_log(udmabuf, COMPLAINT_BYTES))
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
	struct guest_memory *gm = udmabuf->config.gm;
	struct ram_file *files[GUEST_MEMORY_MAX_REGIONS];
	unsigned int i, nr;

	if (guest_memory_generation(gm) == udmabuf->generation)
		return udmabuf->usable;
	udmabuf->generation = guest_memory_generation(gm);
	udmabuf->usable = false;
	/* If these are those of a newer table they are looked at once more. */
	nr = guest_memory_files(gm, files);
	for (i = 0; i < nr; i++) {
		const char *why = udmabuf_file_unfit(ram_file_fd(files[i]));

		if (!why)
			udmabuf->usable = true;
		else
			log_unfit(ram_file_fd(files[i]), why);
		ram_file_put(files[i]);
	}
	return udmabuf->usable;
}

/**
 * udmabuf_memory_unfit() - whether a resource lies in a file that does not do
 * @udmabuf: the device
 * @backing: the resource
 *
 * Return: true if so, and that was logged.
 */
bool udmabuf_memory_unfit(struct udmabuf *udmabuf, const struct backing *backing)
{
	const struct ram_file *fit[GUEST_MEMORY_MAX_REGIONS] = { NULL };
	unsigned int nr = 0, j;
	size_t i;

	for (i = 0; i < backing->runs.nr; i++) {
		const struct ram_file *file = backing->runs.runs[i].file;
		const char *why;

		/* There are many runs, but few files. */
		for (j = 0; j < nr && fit[j] != file; j++)
			;
		if (j < nr)
			continue;
		why = udmabuf_file_unfit(ram_file_fd(file));
		if (why) {
			if (udmabuf_may_log(udmabuf, COMPLAINT_MEMORY))
				log_unfit(ram_file_fd(file), why);
			return true;
		}
		if (nr < GUEST_MEMORY_MAX_REGIONS)
			fit[nr++] = file;
	}
	return false;
}

/* The device */

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
	err = udmabuf_probe_counting(udmabuf, fd, page);
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
 * @config: see there
 * @out: the device
 *
 * Return: 0 or a negative errno, which was logged.
 */
int udmabuf_open_at(const char *device, const char *parameters, const struct udmabuf_config *config,
		    struct udmabuf **out)
{
	uint32_t max_uses = memory_limits_resolve(&config->quotas->given, 0).page_uses;
	struct udmabuf *udmabuf = calloc(1, sizeof(*udmabuf));
	int err;

	if (!udmabuf) {
		log_error("udmabuf: no memory");
		return -ENOMEM;
	}
	udmabuf->parameters = parameters;
	udmabuf->config = *config;
	udmabuf->spare = -1;
	quota_init(&udmabuf->uses, "dma-bufs of one page", "--max-page-uses", max_uses);
	udmabuf->page_uses = page_uses_new(max_uses);
	if (!udmabuf->page_uses) {
		err = -ENOMEM;
		log_error("udmabuf: no memory");
		goto err_free;
	}
	udmabuf->fd = open(device, O_RDWR | O_CLOEXEC);
	if (udmabuf->fd < 0) {
		err = -errno;
		log_error("%s: %s; it needs a kernel with CONFIG_UDMABUF and the right to open it",
			  device, strerror(errno));
		goto err_uses;
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
err_uses:
	page_uses_free(udmabuf->page_uses);
err_free:
	free(udmabuf);
	return err;
}

/**
 * udmabuf_open() - see the header
 * @config: see there
 * @out: the device
 *
 * Return: 0 or a negative errno, which was logged.
 */
int udmabuf_open(const struct udmabuf_config *config, struct udmabuf **out)
{
	return udmabuf_open_at(UDMABUF_DEVICE, UDMABUF_PARAMETERS, config, out);
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
	page_uses_free(udmabuf->page_uses);
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

/**
 * udmabuf_print_quotas() - lines of the statistics
 * @udmabuf: the device
 * @to: where they go
 */
void udmabuf_print_quotas(const struct udmabuf *udmabuf, FILE *to)
{
	quota_print(&udmabuf->uses, to);
}
