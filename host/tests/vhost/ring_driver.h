/* SPDX-License-Identifier: MIT */
/*
 * ring_driver: the guest's side of a split virtqueue, for tests
 *
 * A guest is a memfd, mapped by the test, whose byte n is guest-physical
 * address RING_GUEST_BASE + n and the front end's address RING_USER_BASE + n.
 * Ring r has its parts in a megabyte of its own; data starts at RING_DATA.
 */
#ifndef RING_DRIVER_H
#define RING_DRIVER_H

#include <linux/virtio_ring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_GUEST_BASE 0x40000000ull
#define RING_USER_BASE 0x7f0000000000ull
#define RING_MEMORY_SIZE (32u << 20)
#define RING_DATA (4u << 20)

struct test_guest {
	int fd;
	unsigned char *base;
};

struct test_ring {
	struct test_guest *guest;
	uint32_t size;
	uint32_t at;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t avail_idx;
	uint16_t used_idx;
};

static inline void test_guest_init(struct test_guest *guest)
{
	guest->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(guest->fd >= 0);
	assert_int_equal(ftruncate(guest->fd, RING_MEMORY_SIZE), 0);
	guest->base =
		mmap(NULL, RING_MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(guest->base, MAP_FAILED);
}

static inline void test_guest_destroy(struct test_guest *guest)
{
	munmap(guest->base, RING_MEMORY_SIZE);
	close(guest->fd);
}

static inline uint32_t ring_desc_at(const struct test_ring *ring)
{
	return ring->at;
}

static inline uint32_t ring_avail_at(const struct test_ring *ring)
{
	return ring->at + 0x80000;
}

static inline uint32_t ring_used_at(const struct test_ring *ring)
{
	return ring->at + 0xa0000;
}

static inline void test_ring_init(struct test_ring *ring, struct test_guest *guest,
				  unsigned int index, uint32_t size)
{
	memset(ring, 0, sizeof(*ring));
	ring->guest = guest;
	ring->size = size;
	ring->at = index << 20;
	ring->desc = (void *)(guest->base + ring_desc_at(ring));
	ring->avail = (void *)(guest->base + ring_avail_at(ring));
	ring->used = (void *)(guest->base + ring_used_at(ring));
	memset(guest->base + ring->at, 0, 1 << 20);
}

/* Descriptor @index: @len bytes at @offset of the guest's file. */
static inline void ring_desc(struct test_ring *ring, unsigned int index, uint32_t offset,
			     uint32_t len, unsigned int flags, unsigned int next)
{
	ring->desc[index].addr = RING_GUEST_BASE + offset;
	ring->desc[index].len = len;
	ring->desc[index].flags = flags;
	ring->desc[index].next = next;
}

/* The same in an indirect table at @table of the guest's file. */
static inline void ring_indirect(struct test_guest *guest, uint32_t table, unsigned int index,
				 uint32_t offset, uint32_t len, unsigned int flags,
				 unsigned int next)
{
	struct vring_desc *d = (struct vring_desc *)(guest->base + table) + index;

	d->addr = RING_GUEST_BASE + offset;
	d->len = len;
	d->flags = flags;
	d->next = next;
}

static inline void ring_offer(struct test_ring *ring, uint16_t head)
{
	ring->avail->ring[ring->avail_idx % ring->size] = head;
	ring->avail_idx++;
	__atomic_store_n(&ring->avail->idx, ring->avail_idx, __ATOMIC_RELEASE);
}

/* How many used elements the guest has not taken yet. */
static inline uint16_t ring_used_waiting(const struct test_ring *ring)
{
	return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) - ring->used_idx;
}

static inline struct vring_used_elem ring_take_used(struct test_ring *ring)
{
	assert_true(ring_used_waiting(ring) > 0);
	return ring->used->ring[ring->used_idx++ % ring->size];
}

#endif /* RING_DRIVER_H */
