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
 * none.
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

/* What a mapping of the file consists of: pages, or huge ones. */
static size_t mapping_block(int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct statfs fs;

	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (size_t)fs.f_bsize;
	return page;
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
	/* NORESERVE: the guest owns the memory, no swap is set aside for our view of it. */
	file->base = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			  file->fd, 0);
	if (file->base == MAP_FAILED) {
		err = -errno;
		goto err_close;
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
 * ram_file_put() - drop a reference, unmap with the last one
 * @file: any thread
 */
void ram_file_put(struct ram_file *file)
{
	uint64_t refs = __atomic_load_n(&file->refs, __ATOMIC_RELAXED);

	/* Not the last one: no lock.  A failed exchange has reloaded refs. */
	while (refs > 1) {
		if (__atomic_compare_exchange_n(&file->refs, &refs, refs - 1, true,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return;
	}

	pthread_mutex_lock(&ram_files_lock);
	if (__atomic_sub_fetch(&file->refs, 1, __ATOMIC_ACQ_REL)) {
		pthread_mutex_unlock(&ram_files_lock);
		return;
	}
	LIST_REMOVE(file, link);
	pthread_mutex_unlock(&ram_files_lock);

	bus_fault_unwatch(file->fault);
	munmap(file->base, file->size);
	close(file->fd);
	free(file);
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

/**
 * guest_memory_populate() - see the header
 * @run: as resolved
 *
 * Return: 0 or -ENOMEM.
 */
int guest_memory_populate(const struct run *run)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)run_pointer(run);
	uintptr_t end = start + run->length;

	start &= ~(page - 1);
	if (!madvise((void *)start, end - start, MADV_POPULATE_WRITE) || errno == EINVAL)
		return 0;
	return -ENOMEM;
}
