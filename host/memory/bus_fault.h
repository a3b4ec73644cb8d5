/* SPDX-License-Identifier: MIT */
/*
 * bus_fault: RAM that is gone does not take the process with it
 *
 * Guest RAM is a file that somebody else can truncate, and a hole in it can be
 * filled only while its file system has room.  An access to what cannot be had is a
 * SIGBUS.  The handler puts an anonymous page in its place, notes that the file is
 * damaged and wakes whoever waits for the event: the bytes are lost, but not the
 * other guests' or the user's.  A SIGBUS anywhere else goes where it went before.
 *
 * Threads: bus_fault_install() before there are others; the rest any.
 */
#ifndef BUS_FAULT_H
#define BUS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Take SIGBUS from now on, again if somebody else took it meanwhile.  Not done by
 * those who map files, since the handler is the process's: without it a fault is what
 * it always was.  0 or a negative errno.
 */
int bus_fault_install(void);
/* Readable when a range was hit since bus_fault_clear(), or -1 without handler. */
int bus_fault_fd(void);
/* How often any was hit, ever; more than one may wait for the same event. */
unsigned int bus_fault_clear(void);

/*
 * Faults in [@base, @base + @size) are to be survived; @block is what a mapping of
 * the file consists of (a huge page, say).  A handle, or -ENOSPC: there are too many.
 */
int bus_fault_watch(void *base, size_t size, size_t block);
/* Before it is unmapped; nobody may touch it any more. */
void bus_fault_unwatch(int handle);
/* Whether there was a fault. */
bool bus_fault_hit(int handle);

#endif /* BUS_FAULT_H */
