// SPDX-License-Identifier: MIT
/*
 * ram_file: files of guest RAM, mapped once
 *
 * Invariants: a ram_file's mapping covers the whole file as it was when it was
 * mapped, and neither moves nor shrinks while anybody holds a reference.
 *
 * Threads: all live ram_files are on one list, guarded by ram_files_lock, so that
 * a file that only runs still hold is found again when a new table names it.  The
 * last reference is dropped with that lock held; the others are atomic and need
 * none, as is the map of pages that are there.
 */
#include "memory/ram_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "memory/bus_fault.h"

/* The C library may be older than the kernel. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static pthread_mutex_t ram_files_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, ram_file) ram_files = LIST_HEAD_INITIALIZER(ram_files);

static struct ram_file *ram_file_find(const struct stat *st, uint64_t size)
{
	struct ram_file *file;

	LIST_FOREACH(file, &ram_files, link) {
		if (file->dev == st->st_dev && file->ino == st->st_ino && file->size >= size)
			return ram_file_get(file);
	}
	return NULL;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* What a mapping of the file consists of: pages, or huge ones. */
static size_t mapping_block(int fd)
{
	struct statfs fs;

	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (size_t)fs.f_bsize;
	return page_size();
}

static int ram_file_map(int fd, const struct stat *st, struct ram_file **out)
{
	struct ram_file *file = calloc(1, sizeof(*file));
	int err;

	if (!file)
		return -ENOMEM;
	file->dev = st->st_dev;
	file->ino = st->st_ino;
	file->size = st->st_size;
	file->refs = 1;
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0) {
		err = -errno;
		goto err_free;
	}
	file->there = calloc((file->size / page_size() + 63) / 64 + 1, sizeof(*file->there));
	if (!file->there) {
		err = -ENOMEM;
		goto err_close;
	}
	/* NORESERVE: the guest owns the memory, no swap is set aside for our view of it. */
	file->base = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			  file->fd, 0);
	if (file->base == MAP_FAILED) {
		err = -errno;
		goto err_there;
	}
	file->fault = bus_fault_watch(file->base, file->size, mapping_block(file->fd));
	if (file->fault < 0) {
		err = -ENFILE;
		goto err_unmap;
	}
	/* A core dump of this process must not carry the guest's RAM; best effort. */
	(void)madvise(file->base, file->size, MADV_DONTDUMP);
	*out = file;
	return 0;

err_unmap:
	munmap(file->base, file->size);
err_there:
	free(file->there);
err_close:
	close(file->fd);
err_free:
	free(file);
	return err;
}

/**
 * ram_file_open() - map a file, or find it mapped
 * @fd: the file; stays the caller's
 * @end: bytes up to there are needed
 * @out: the file, with a reference
 *
 * Return: 0 or a negative errno; -EINVAL: it ends before @end, or is no file.
 */
int ram_file_open(int fd, uint64_t end, struct ram_file **out)
{
	struct ram_file *file = NULL;
	struct stat st;
	int err = 0;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || end > (uint64_t)st.st_size)
		return -EINVAL;

	pthread_mutex_lock(&ram_files_lock);
	/*
	 * A file that has grown gets a second mapping: runs may point into
	 * the first one, which therefore must stay where it is.
	 */
	file = ram_file_find(&st, end);
	if (!file) {
		err = ram_file_map(fd, &st, &file);
		if (!err)
			LIST_INSERT_HEAD(&ram_files, file, link);
	}
	pthread_mutex_unlock(&ram_files_lock);
	if (!err)
		*out = file;
	return err;
}

/**
 * ram_file_get() - take a reference
 * @file: on which the caller has one, or ram_files_lock
 *
 * Return: @file.
 */
struct ram_file *ram_file_get(struct ram_file *file)
{
	__atomic_fetch_add(&file->refs, 1, __ATOMIC_RELAXED);
	return file;
}

/**
 * ram_file_put_many() - drop references, unmap with the last one
 * @file: any thread
 * @nr: how many
 */
void ram_file_put_many(struct ram_file *file, uint64_t nr)
{
	uint64_t refs = __atomic_load_n(&file->refs, __ATOMIC_RELAXED);

	/* Not the last one: no lock.  A failed exchange has reloaded refs. */
	while (refs > nr) {
		if (__atomic_compare_exchange_n(&file->refs, &refs, refs - nr, true,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return;
	}

	pthread_mutex_lock(&ram_files_lock);
	if (__atomic_sub_fetch(&file->refs, nr, __ATOMIC_ACQ_REL)) {
		pthread_mutex_unlock(&ram_files_lock);
		return;
	}
	LIST_REMOVE(file, link);
	pthread_mutex_unlock(&ram_files_lock);

	bus_fault_unwatch(file->fault);
	munmap(file->base, file->size);
	close(file->fd);
	free(file->there);
	free(file);
}

/**
 * ram_file_put() - drop a reference, unmap with the last one
 * @file: any thread
 */
void ram_file_put(struct ram_file *file)
{
	ram_file_put_many(file, 1);
}

/**
 * ram_file_damaged() - whether something of it is lost
 * @file: the file
 *
 * Return: true if so; it stays so.
 */
bool ram_file_damaged(const struct ram_file *file)
{
	return bus_fault_hit(file->fault);
}

/**
 * ram_file_fd() - the descriptor of a RAM file
 * @file: the file
 *
 * Return: the descriptor, which stays the file's.
 */
int ram_file_fd(const struct ram_file *file)
{
	return file->fd;
}

/**
 * run_pointer() - where a run is in this process
 * @run: the run
 *
 * Return: its first byte.
 */
void *run_pointer(const struct run *run)
{
	return run->file->base + run->offset;
}

/* ---- pages that are there ---- */

static bool page_is_there(const struct ram_file *file, uint64_t page)
{
	return atomic_load_explicit(&file->there[page / 64], memory_order_relaxed) >> page % 64 & 1;
}

static void pages_are_there(struct ram_file *file, uint64_t page, uint64_t end)
{
	while (page < end) {
		uint64_t bits = end - page < 64 - page % 64 ? end - page : 64 - page % 64;
		uint64_t mask = (bits == 64 ? 0 : UINT64_C(1) << bits) - 1;

		atomic_fetch_or_explicit(&file->there[page / 64], mask << page % 64,
					 memory_order_relaxed);
		page += bits;
	}
}

/* The first page from @page on, below @end, that may not be there; or @end. */
static uint64_t next_missing(const struct ram_file *file, uint64_t page, uint64_t end)
{
	while (page < end && page_is_there(file, page)) {
		bool whole = !(page % 64) &&
			     !~atomic_load_explicit(&file->there[page / 64], memory_order_relaxed);

		page += whole ? 64 : 1;
	}
	return page < end ? page : end;
}

/**
 * run_populate() - see the header
 * @run: as resolved
 *
 * Return: 0 or -ENOMEM.
 */
int run_populate(const struct run *run)
{
	uint64_t size = page_size();
	uint64_t page = run->offset / size, end = (run->offset + run->length - 1) / size + 1;
	struct ram_file *file = run->file;

	while ((page = next_missing(file, page, end)) < end) {
		uint64_t last = page + 1;

		while (last < end && !page_is_there(file, last))
			last++;
		if (madvise(file->base + page * size, (last - page) * size, MADV_POPULATE_WRITE) &&
		    errno != EINVAL)
			return -ENOMEM;
		pages_are_there(file, page, last);
		page = last;
	}
	return 0;
}
