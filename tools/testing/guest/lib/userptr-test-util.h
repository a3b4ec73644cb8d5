/* SPDX-License-Identifier: MIT */
/*
 * userptr-test-util: memory, processes and kernel counters for the test programs
 *
 * userptr-test-memory.c, userptr-test-process.c and userptr-test-kernel.c.  Nothing
 * there knows the test harness: functions return 0 or a negative errno, and the
 * tests judge.  No state is kept.
 */
#ifndef USERPTR_TEST_UTIL_H
#define USERPTR_TEST_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "virtgpu.h"

#define PAGE 4096ul
#define HUGE_PAGE (512 * PAGE)
#define KIB(n) ((n)*1024ul)
#define MIB(n) ((n)*1024ul * 1024)
/* Where a device is unbound from its driver; nothing leads there from its node. */
#define VIRTIO_DRIVER "/sys/bus/virtio/drivers/virtio_gpu/"
/* For everything that the kernel or the device does on its own. */
#define SETTLE_MS 10000

/**
 * struct region - memory of this process
 * @addr: first byte, on a page boundary
 * @size: bytes, whole pages
 * @runs: physically contiguous pieces, as /proc/self/pagemap shows them
 * @block: all that was mapped for it
 * @block_size: bytes of @block
 */
struct region {
	uint8_t *addr;
	size_t size;
	unsigned int runs;
	void *block;
	size_t block_size;
};

int region_alloc(struct region *region, size_t pages);
int region_huge(struct region *region, size_t pages);
int region_scattered(struct region *region, unsigned int runs);
void region_fill(const struct region *region, uint64_t seed);
void region_free(struct region *region);
long count_runs(const void *addr, size_t pages);

int sha256(const void *data, size_t len, uint8_t digest[LOOPBACK_SHA256_SIZE]);
bool same_digest(struct vg *vg, uint32_t res, const void *data, size_t len);

long read_counter(const char *path, const char *name);
long free_memory(void);
long pins_outstanding(void);
int wait_pins(long pins, int timeout_ms);
int wait_no_resources(struct vg *vg, int timeout_ms);
int write_file(const char *path, const char *text);
bool file_contains(const char *path, const char *text);
int wait_file_contains(const char *path, const char *text, int timeout_ms);
int kmsg_open(void);
bool kmsg_says(int fd, const char *text);
void poll_pause(void);
void pause_for_look(void);
int virtio_device_name(char *name, size_t len);
bool can_look_up(void);

pid_t run_child(int (*body)(void *arg), void *arg);
int wait_child(pid_t pid, int timeout_ms, int *status);
int child_result(pid_t pid);
int become_user(uid_t uid, uint64_t memlock);
int wait_sleeping(pid_t pid, unsigned int threads, int timeout_ms);
int send_fd(int sock, int fd);
int receive_fd(int sock);

/*
 * Have scripts/qemu-run do something on the host, and wait for it: 0, -EREMOTEIO
 * if it could not, -EIO if nobody answers.
 */
int ask_host(const char *request);
int ask_host_number(const char *request, long *number);

#endif /* USERPTR_TEST_UTIL_H */
