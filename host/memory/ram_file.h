/* SPDX-License-Identifier: MIT */
/*
 * ram_file: files of guest RAM, and pieces of them
 *
 * A struct ram_file is one file, identified by (device, inode) and mapped once,
 * however many regions of guest memory name it.  A struct run is a piece of a
 * ram_file; one that is owned holds a reference, so that it stays mapped.
 *
 * Threads: any; the caller has a reference, or knows of somebody who has.
 */
#ifndef RAM_FILE_H
#define RAM_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/**
 * struct ram_file - a file of guest RAM, mapped once
 * @link: in ram_files
 * @dev: with @ino the identity of the file
 * @ino: see @dev; cannot be reused while @fd is open
 * @fd: our own duplicate
 * @size: bytes mapped, the size of the file at that time
 * @base: where they are
 * @refs: table entries and runs that point here
 * @there: a bit for each page: run_populate() has seen to it
 * @fault: see bus_fault_watch()
 * @reported: that it is damaged was logged; for guest_memory.c
 */
struct ram_file {
	LIST_ENTRY(ram_file) link;
	dev_t dev;
	ino_t ino;
	int fd;
	uint64_t size;
	unsigned char *base;
	uint64_t refs;
	_Atomic uint64_t *there;
	int fault;
	atomic_bool reported;
};

/**
 * struct run - contiguous bytes of one RAM file
 * @file: holds a reference if the run is owned (see run_list)
 * @offset: bytes from the start of the file
 * @length: bytes, not 0
 */
struct run {
	struct ram_file *file;
	uint64_t offset;
	uint64_t length;
};

/* Whether @next starts in the same file where @run ends. */
static inline bool run_continues(const struct run *run, const struct run *next)
{
	return run->file == next->file && run->offset + run->length == next->offset;
}

/* The file of @fd, of which bytes up to @end are needed; 0 or a negative errno. */
int ram_file_open(int fd, uint64_t end, struct ram_file **out);
/* The descriptor of the file (borrowed), for views such as udmabuf. */
int ram_file_fd(const struct ram_file *file);
struct ram_file *ram_file_get(struct ram_file *file);
void ram_file_put(struct ram_file *file);
void ram_file_put_many(struct ram_file *file, uint64_t nr);
/*
 * Whether something of it was not there when it was needed, and zeroes are in its
 * place for this process: it was truncated, or its file system is full.
 */
bool ram_file_damaged(const struct ram_file *file);

/* The run's first byte in this process. */
void *run_pointer(const struct run *run);

/*
 * Make sure that every page of @run exists and is mapped here, writable: RAM
 * that the guest never touched may not be there, and if its file system is full
 * an access is a SIGBUS.  That takes long, and is done once for each page: one that
 * somebody takes away later is found by whoever needs it (see bus_fault.h).
 * -ENOMEM: a page cannot be had.  Kernels before 5.14 cannot do it; then 0, and all
 * is as if it had not been asked.
 */
int run_populate(const struct run *run);

#endif /* RAM_FILE_H */
