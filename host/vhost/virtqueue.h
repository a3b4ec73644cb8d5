/* SPDX-License-Identifier: MIT */
/*
 * virtqueue: split virtqueues with indirect descriptors, device side
 *
 * The ring lies in guest memory, which the guest may change at any time.
 * Everything is copied out before it is looked at, and nothing that the guest
 * can write makes this code loop, allocate or touch memory without bound.
 *
 * Two kinds of damage are told apart.  A bad chain (a loop, an address outside
 * guest memory, too much data) concerns one request: its head is handed back
 * with length 0 and the queue goes on.  A bad ring (an available index or a
 * head that cannot be) concerns the queue: it is broken until it is started
 * again.
 *
 * A ring whose memory is taken away is neither.  Front ends take a region away and
 * bring it back with another size, so the ring is *away* meanwhile: nothing is read
 * or written, and it goes on when virtqueue_memory_changed() finds it again.
 *
 * Threads: all calls from the thread that runs the rings.
 */
#ifndef VIRTQUEUE_H
#define VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_memory;

/* The largest ring; virtio knows larger ones, but a device may take fewer requests. */
#define VIRTQUEUE_MAX_SIZE 2048
/* Descriptors of one chain, an indirect table included. */
#define VIRTQUEUE_MAX_CHAIN 4096
/* Readable bytes of one chain. */
#define VIRTQUEUE_MAX_REQUEST (8u << 20)
/* Bytes of a request that one virtqueue_pop() copies. */
#define VIRTQUEUE_COPY (256u << 10)
/* Bytes of an answer; room that a request has beyond them is not kept. */
#define VIRTQUEUE_MAX_ANSWER 1024

/**
 * struct vq_piece - a piece of guest memory, checked when it was taken
 * @addr: guest-physical address
 * @len: bytes, not 0
 */
struct vq_piece {
	uint64_t addr;
	uint32_t len;
};

/**
 * struct vq_chain - one request
 * @head: what the guest knows it by
 * @data: our copy of all readable bytes; NULL after vq_chain_drop_data()
 * @len: bytes in @data
 * @pieces: where the answer goes, in order
 * @nr_pieces: how many
 * @capacity: bytes in them together; less than VIRTQUEUE_MAX_ANSWER only if
 *	the guest gave no more
 */
struct vq_chain {
	uint16_t head;
	unsigned char *data;
	size_t len;
	struct vq_piece *pieces;
	unsigned int nr_pieces;
	uint64_t capacity;
};

struct vring_desc;
struct vring_avail;
struct vring_used;

/**
 * struct virtqueue - one queue; the fields are for virtqueue.c
 * @gm: guest memory, borrowed
 * @size: entries, a power of two
 * @addressed: the front end has said where it is
 * @desc: the ring as the current memory table shows it, or NULL: not there
 * @avail: as @desc
 * @used: as @desc
 * @user_desc: where the front end says the ring is
 * @user_avail: as @user_desc
 * @user_used: as @user_desc
 * @next_avail: index of the next entry of the available ring to take
 * @next_used: index of the next entry of the used ring to fill
 * @in_flight: bit per head that was taken and not handed back
 * @scratch: pieces of the chain that is being read
 * @part: that chain, while its bytes are being copied; without data else
 * @part_piece: the piece of it that is copied next
 * @part_offset: how much of that was
 * @part_left: bytes that are still to be copied
 * @broken: why the ring cannot go on, or NULL
 * @bad_chain: why the last bad chain was refused, or NULL
 */
struct virtqueue {
	struct guest_memory *gm;
	uint32_t size;
	bool addressed;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t user_desc;
	uint64_t user_avail;
	uint64_t user_used;
	uint16_t next_avail;
	uint16_t next_used;
	uint64_t *in_flight;
	struct vq_piece *scratch;
	struct vq_chain part;
	unsigned int part_piece;
	uint32_t part_offset;
	uint64_t part_left;
	const char *broken;
	const char *bad_chain;
};

/* What virtqueue_pop() found. */
enum vq_result {
	/* Nothing to do. */
	VQ_EMPTY,
	/* A request; the caller owes a virtqueue_push(). */
	VQ_REQUEST,
	/* Some of one that is large; the next virtqueue_pop() goes on with it. */
	VQ_PART,
	/* A bad chain, handed back already; virtqueue.bad_chain says why. */
	VQ_DROPPED,
	/* The ring is broken; virtqueue.broken says why. */
	VQ_BROKEN,
	/* Its memory is not there now. */
	VQ_AWAY,
};

void virtqueue_init(struct virtqueue *vq, struct guest_memory *gm);
void virtqueue_destroy(struct virtqueue *vq);

/* Only while stopped: size in entries. -EINVAL (it has none then), -EBUSY. */
int virtqueue_set_size(struct virtqueue *vq, uint32_t size);
/*
 * Where the ring is, as addresses of the front end's.  Only while stopped and
 * with a size; -EFAULT: not in guest memory, where it may come to be with
 * virtqueue_memory_changed(); -EINVAL: misaligned.
 */
int virtqueue_set_addresses(struct virtqueue *vq, uint64_t desc, uint64_t avail, uint64_t used);

/* Take the first request from @next_avail.  Needs size and addresses. */
int virtqueue_start(struct virtqueue *vq);
/* Forget the request that is being copied: it is the next one again. */
void virtqueue_forget_part(struct virtqueue *vq);
/* Forget what is in flight; the next request stays virtqueue.next_avail. */
void virtqueue_stop(struct virtqueue *vq);
bool virtqueue_started(const struct virtqueue *vq);
/* Whether there are requests that were taken and not handed back. */
bool virtqueue_in_flight(const struct virtqueue *vq);
/* After guest_memory_set(): find the ring again, or it is away. */
void virtqueue_memory_changed(struct virtqueue *vq);
/* A started ring whose memory is not there: nothing can be taken or handed back. */
bool virtqueue_away(const struct virtqueue *vq);

enum vq_result virtqueue_pop(struct virtqueue *vq, struct vq_chain *chain);
/*
 * Hand @chain back with @len bytes at @data as its answer.  What does not fit
 * is cut off.  The caller then owes the guest a signal if
 * virtqueue_wants_signal().  The ring must not have been stopped in between.
 */
void virtqueue_push(struct virtqueue *vq, const struct vq_chain *chain, const void *data,
		    size_t len);
bool virtqueue_wants_signal(struct virtqueue *vq);

/* The copy of the request is not needed any more. */
void vq_chain_drop_data(struct vq_chain *chain);
void vq_chain_destroy(struct vq_chain *chain);

#endif /* VIRTQUEUE_H */
