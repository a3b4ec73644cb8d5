/* SPDX-License-Identifier: MIT */
/*
 * kernel: the host's udmabuf, played, and who has its dma-bufs
 *
 * Put in place of the C library's functions (wrap.h): /dev/udmabuf can be opened, makes
 * dma-bufs of the guest's file, and the kernel tells how many references there are on
 * each.  References of this process are its descriptors and mappings, counted as they
 * are; those of others are what kernel_hold() says.
 *
 * Judged: when a page is the guest's own again there is no dma-buf of it, whoever has it.
 *
 * Threads: any; a lock of its own.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* No dma-bufs; how many of the next ones are refused, in bits. */
void kernel_begin(uint8_t refusals);
void kernel_end(void);
/* The dma-buf of a descriptor, or -1. */
int kernel_dmabuf(int fd);
/* Somebody else has it, once more or once less. */
void kernel_hold(int dmabuf);
void kernel_release(int dmabuf);
/* A GPU works on it, or on none any more. */
void kernel_set_busy(int dmabuf);
void kernel_set_all_idle(void);
/* @page is the guest's own again. */
void kernel_page_returned(uint32_t page);

/* What goes on elsewhere while the device sleeps; or NULL. */
extern void (*kernel_elsewhere)(void);
/* Opens what is below /dev/dri, as open() does; or NULL: there is what there is. */
extern int (*kernel_open_card)(const char *path);

#endif /* KERNEL_H */
