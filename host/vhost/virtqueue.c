// SPDX-License-Identifier: MIT
/*
 * virtqueue: split virtqueues with indirect descriptors, device side
 *
 * Invariants: desc, avail and used are all set or all NULL (away, if the queue is
 * started), and point at ranges that the current memory table covers; a head's bit in in_flight is
 * set from virtqueue_pop() to virtqueue_push(), so at most size requests are
 * outstanding; that of a request that is being copied (part.data) is, too.  Ring
 * memory is hostile: it is read with single atomic loads, and the values are
 * checked, never the memory.
 *
 * Threads: the one that runs the rings.  The other party is the guest: indices
 * are published with release and read with acquire order.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "memory/guest_memory.h"
#include "vhost/virtqueue.h"

/* A descriptor as read: host byte order. */
struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/*
 * Chain being read: pieces go to vq->scratch, readable ones first, because the
 * order of a chain says so.
 */
struct walk {
	unsigned int nr_readable;
	unsigned int nr_writable;
	unsigned int nr_descriptors;
	uint64_t readable;
};

/**
 * virtqueue_init() - a stopped queue without size and addresses
 * @vq: the queue
 * @gm: guest memory; must outlive the queue
 */
void virtqueue_init(struct virtqueue *vq, struct guest_memory *gm)
{
	memset(vq, 0, sizeof(*vq));
	vq->gm = gm;
}

/**
 * virtqueue_destroy() - stop and free
 * @vq: the queue
 */
void virtqueue_destroy(struct virtqueue *vq)
{
	virtqueue_stop(vq);
	vq->size = 0;
}

/**
 * virtqueue_started() - requests can be taken, or the ring is broken
 * @vq: the queue
 *
 * Return: whether it was started and not stopped since.
 */
bool virtqueue_started(const struct virtqueue *vq)
{
	return vq->in_flight;
}

static void unmap_ring(struct virtqueue *vq)
{
	vq->desc = NULL;
	vq->avail = NULL;
	vq->used = NULL;
}

/**
 * virtqueue_set_size() - entries of the ring; forgets the addresses
 * @vq: a stopped queue
 * @size: a power of two, at most VIRTQUEUE_MAX_SIZE
 *
 * Return: 0, -EBUSY, or -EINVAL and the queue has no size any more.
 */
int virtqueue_set_size(struct virtqueue *vq, uint32_t size)
{
	if (virtqueue_started(vq))
		return -EBUSY;
	vq->size = 0;
	vq->addressed = false;
	unmap_ring(vq);
	if (!size || size > VIRTQUEUE_MAX_SIZE || (size & (size - 1)))
		return -EINVAL;
	vq->size = size;
	return 0;
}

/* Find all three parts in this process, or none. */
static int map_ring(struct virtqueue *vq)
{
	void *desc, *avail, *used;

	unmap_ring(vq);
	/*
	 * Without the event fields behind both rings: VIRTIO_F_EVENT_IDX is not
	 * offered, so they are not touched and need not be in guest memory.
	 */
	desc = guest_memory_user_pointer(vq->gm, vq->user_desc,
					 (uint64_t)vq->size * sizeof(struct vring_desc));
	avail = guest_memory_user_pointer(
		vq->gm, vq->user_avail, sizeof(struct vring_avail) + vq->size * sizeof(__virtio16));
	used = guest_memory_user_pointer(vq->gm, vq->user_used,
					 sizeof(struct vring_used) +
						 vq->size * sizeof(struct vring_used_elem));
	if (!desc || !avail || !used)
		return -EFAULT;
	if ((uintptr_t)desc % VRING_DESC_ALIGN_SIZE || (uintptr_t)avail % VRING_AVAIL_ALIGN_SIZE ||
	    (uintptr_t)used % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	return 0;
}

/**
 * virtqueue_set_addresses() - where the ring is
 * @vq: a stopped queue that has a size
 * @desc: descriptor table, as an address of the front end's
 * @avail: available ring
 * @used: used ring
 *
 * Return: 0, -EBUSY, -EINVAL or -EFAULT.
 */
int virtqueue_set_addresses(struct virtqueue *vq, uint64_t desc, uint64_t avail, uint64_t used)
{
	int err;

	if (virtqueue_started(vq))
		return -EBUSY;
	if (!vq->size)
		return -EINVAL;
	vq->user_desc = desc;
	vq->user_avail = avail;
	vq->user_used = used;
	err = map_ring(vq);
	vq->addressed = err != -EINVAL;
	return err;
}

/**
 * virtqueue_start() - go on where next_avail says
 * @vq: a stopped queue with size and addresses
 *
 * Return: 0, -EBUSY, -EINVAL or -ENOMEM.
 */
int virtqueue_start(struct virtqueue *vq)
{
	if (virtqueue_started(vq))
		return -EBUSY;
	if (!vq->desc)
		return -EINVAL;
	vq->in_flight = calloc((vq->size + 63) / 64, sizeof(*vq->in_flight));
	vq->scratch = calloc(VIRTQUEUE_MAX_CHAIN, sizeof(*vq->scratch));
	if (!vq->in_flight || !vq->scratch) {
		virtqueue_stop(vq);
		return -ENOMEM;
	}
	vq->next_used = le16toh(__atomic_load_n(&vq->used->idx, __ATOMIC_RELAXED));
	return 0;
}

/**
 * virtqueue_stop() - touch the ring no more
 * @vq: the queue; size and addresses stay
 */
void virtqueue_stop(struct virtqueue *vq)
{
	virtqueue_forget_part(vq);
	free(vq->in_flight);
	free(vq->scratch);
	vq->in_flight = NULL;
	vq->scratch = NULL;
	vq->broken = NULL;
	vq->bad_chain = NULL;
}

/**
 * virtqueue_memory_changed() - the memory table is another one
 * @vq: the queue, in any state
 */
void virtqueue_memory_changed(struct virtqueue *vq)
{
	if (vq->addressed)
		(void)map_ring(vq);
}

/**
 * virtqueue_away() - the memory of a started ring is not there
 * @vq: the queue
 *
 * Return: whether it is so; a ring that is broken is not away.
 */
bool virtqueue_away(const struct virtqueue *vq)
{
	return virtqueue_started(vq) && !vq->broken && !vq->desc;
}

/**
 * virtqueue_in_flight() - requests were taken and not handed back
 * @vq: the queue
 *
 * Return: whether there are any; a queue that is not started has none.
 */
bool virtqueue_in_flight(const struct virtqueue *vq)
{
	uint32_t i;

	for (i = 0; virtqueue_started(vq) && i < (vq->size + 63) / 64; i++)
		if (vq->in_flight[i])
			return true;
	return false;
}

static bool test_in_flight(const struct virtqueue *vq, uint16_t head)
{
	return vq->in_flight[head / 64] >> (head % 64) & 1;
}

static void flip_in_flight(struct virtqueue *vq, uint16_t head)
{
	vq->in_flight[head / 64] ^= UINT64_C(1) << (head % 64);
}

/* One descriptor of the ring's own table; @index is checked. */
static struct descriptor read_ring_descriptor(const struct virtqueue *vq, uint16_t index)
{
	const struct vring_desc *d = &vq->desc[index];

	return (struct descriptor){
		.addr = le64toh(__atomic_load_n(&d->addr, __ATOMIC_RELAXED)),
		.len = le32toh(__atomic_load_n(&d->len, __ATOMIC_RELAXED)),
		.flags = le16toh(__atomic_load_n(&d->flags, __ATOMIC_RELAXED)),
		.next = le16toh(__atomic_load_n(&d->next, __ATOMIC_RELAXED)),
	};
}

/* One descriptor of an indirect table, or -EFAULT. */
static int read_indirect_descriptor(const struct virtqueue *vq, uint64_t table, uint32_t index,
				    struct descriptor *to)
{
	uint64_t at = table + (uint64_t)index * sizeof(struct vring_desc);
	struct vring_desc d;

	if (at < table || guest_memory_read(vq->gm, at, &d, sizeof(d)))
		return -EFAULT;
	to->addr = le64toh(d.addr);
	to->len = le32toh(d.len);
	to->flags = le16toh(d.flags);
	to->next = le16toh(d.next);
	return 0;
}

/* Account for a descriptor that describes data.  Returns why not, or NULL. */
static const char *walk_data(struct virtqueue *vq, struct walk *walk, const struct descriptor *d)
{
	struct run runs[GUEST_MEMORY_MAX_REGIONS];
	struct vq_piece *piece;

	if (++walk->nr_descriptors > VIRTQUEUE_MAX_CHAIN)
		return "too many descriptors, or a loop";
	if (!(d->flags & VRING_DESC_F_WRITE) && walk->nr_writable)
		return "a readable descriptor after a writable one";
	/* Nothing to read or write; its address need not mean anything. */
	if (!d->len)
		return NULL;
	if (guest_memory_resolve(vq->gm, d->addr, d->len, runs, GUEST_MEMORY_MAX_REGIONS) < 0)
		return "a descriptor outside guest memory";

	piece = &vq->scratch[walk->nr_readable + walk->nr_writable];
	piece->addr = d->addr;
	piece->len = d->len;
	if (d->flags & VRING_DESC_F_WRITE) {
		walk->nr_writable++;
	} else {
		walk->nr_readable++;
		walk->readable += d->len;
		if (walk->readable > VIRTQUEUE_MAX_REQUEST)
			return "a request larger than the device takes";
	}
	return NULL;
}

static const char *walk_indirect(struct virtqueue *vq, struct walk *walk,
				 const struct descriptor *table)
{
	uint32_t nr = table->len / sizeof(struct vring_desc);
	struct descriptor d;
	uint32_t index = 0;
	const char *bad;

	if (table->flags & VRING_DESC_F_NEXT)
		return "an indirect descriptor with a next one";
	if (!nr || table->len % sizeof(struct vring_desc))
		return "an indirect table of a bad size";
	do {
		if (index >= nr)
			return "an index past the end of an indirect table";
		if (read_indirect_descriptor(vq, table->addr, index, &d))
			return "an indirect table outside guest memory";
		if (d.flags & VRING_DESC_F_INDIRECT)
			return "an indirect table within an indirect table";
		bad = walk_data(vq, walk, &d);
		if (bad)
			return bad;
		index = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return NULL;
}

/*
 * Follow the chain from @head.  A loop ends at VIRTQUEUE_MAX_CHAIN: every
 * descriptor but a last, indirect one counts.  Returns why not, or NULL.
 */
static const char *walk_chain(struct virtqueue *vq, struct walk *walk, uint16_t head)
{
	struct descriptor d;
	uint32_t index = head;
	const char *bad;

	do {
		if (index >= vq->size)
			return "an index past the end of the descriptor table";
		d = read_ring_descriptor(vq, index);
		if (d.flags & VRING_DESC_F_INDIRECT)
			bad = walk_indirect(vq, walk, &d);
		else
			bad = walk_data(vq, walk, &d);
		if (bad)
			return bad;
		index = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return NULL;
}

/* Make room for what the walk found.  Returns why not, or NULL. */
static const char *begin_part(struct virtqueue *vq, const struct walk *walk)
{
	const struct vq_piece *writable = vq->scratch + walk->nr_readable;
	struct vq_chain *part = &vq->part;
	uint64_t capacity = 0;
	unsigned int kept;

	/* Only what an answer can need: the request may be pending for long. */
	for (kept = 0; kept < walk->nr_writable && capacity < VIRTQUEUE_MAX_ANSWER; kept++)
		capacity += writable[kept].len;
	/* At least one byte: an empty request has a pointer as well. */
	part->data = malloc(walk->readable ? walk->readable : 1);
	part->pieces = calloc(kept ? kept : 1, sizeof(*part->pieces));
	if (!part->data || !part->pieces) {
		vq_chain_destroy(part);
		return "no memory for the request";
	}
	memcpy(part->pieces, writable, kept * sizeof(*writable));
	part->nr_pieces = kept;
	part->capacity = capacity;
	part->len = 0;
	vq->part_left = walk->readable;
	vq->part_piece = 0;
	vq->part_offset = 0;
	return NULL;
}

/* Copy some of it.  Returns why not, or NULL. */
static const char *copy_part(struct virtqueue *vq)
{
	struct vq_chain *part = &vq->part;
	uint64_t budget = VIRTQUEUE_COPY;

	while (vq->part_left && budget) {
		const struct vq_piece *piece = &vq->scratch[vq->part_piece];
		uint32_t left = piece->len - vq->part_offset;
		uint32_t len = left < budget ? left : (uint32_t)budget;

		if (guest_memory_read(vq->gm, piece->addr + vq->part_offset, part->data + part->len,
				      len)) {
			vq_chain_destroy(part);
			return "a descriptor outside guest memory";
		}
		part->len += len;
		vq->part_left -= len;
		budget -= len;
		vq->part_offset += len;
		if (vq->part_offset == piece->len) {
			vq->part_piece++;
			vq->part_offset = 0;
		}
	}
	return NULL;
}

static enum vq_result ring_broken(struct virtqueue *vq, const char *why)
{
	vq->broken = why;
	return VQ_BROKEN;
}

/* The next head, which is in flight from now on; VQ_REQUEST if there is one. */
static enum vq_result take_head(struct virtqueue *vq, uint16_t *out)
{
	uint16_t avail, waiting, head;

	/* Acquire: what the index announces is read after it. */
	avail = le16toh(__atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE));
	waiting = avail - vq->next_avail;
	if (!waiting)
		return VQ_EMPTY;
	if (waiting > vq->size)
		return ring_broken(vq, "the available index jumped by more than the ring holds");
	head = le16toh(__atomic_load_n(&vq->avail->ring[vq->next_avail & (vq->size - 1)],
				       __ATOMIC_RELAXED));
	if (head >= vq->size)
		return ring_broken(vq, "the head of a request is past the end of the ring");
	if (test_in_flight(vq, head))
		return ring_broken(vq, "a request was made available twice");
	vq->next_avail++;
	flip_in_flight(vq, head);
	*out = head;
	return VQ_REQUEST;
}

static bool has_part(const struct virtqueue *vq)
{
	return vq->part.data;
}

/**
 * virtqueue_pop() - take the next request
 * @vq: a started queue
 * @chain: filled for VQ_REQUEST; needs vq_chain_destroy() then
 *
 * Return: see enum vq_result.
 */
enum vq_result virtqueue_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	struct walk walk = { 0 };
	enum vq_result result;

	if (vq->broken)
		return VQ_BROKEN;
	if (virtqueue_away(vq))
		return VQ_AWAY;
	vq->bad_chain = NULL;
	if (!has_part(vq)) {
		result = take_head(vq, &vq->part.head);
		if (result != VQ_REQUEST)
			return result;
		vq->bad_chain = walk_chain(vq, &walk, vq->part.head);
		if (!vq->bad_chain)
			vq->bad_chain = begin_part(vq, &walk);
	}
	if (!vq->bad_chain)
		vq->bad_chain = copy_part(vq);
	if (vq->bad_chain) {
		virtqueue_push(vq, &vq->part, NULL, 0);
		return VQ_DROPPED;
	}
	if (vq->part_left)
		return VQ_PART;
	*chain = vq->part;
	vq->part = (struct vq_chain){ .data = NULL };
	return VQ_REQUEST;
}

/**
 * virtqueue_forget_part() - leave the request that is being copied in the ring
 * @vq: the queue; if it is at no request nothing happens
 */
void virtqueue_forget_part(struct virtqueue *vq)
{
	if (!has_part(vq))
		return;
	flip_in_flight(vq, vq->part.head);
	vq->next_avail--;
	vq_chain_destroy(&vq->part);
}

/* Spread @len bytes over the pieces; returns how many arrived. */
static uint32_t write_answer(struct virtqueue *vq, const struct vq_chain *chain,
			     const unsigned char *data, size_t len)
{
	uint32_t written = 0;
	unsigned int i;

	for (i = 0; i < chain->nr_pieces && len; i++) {
		const struct vq_piece *piece = &chain->pieces[i];
		uint32_t part = len < piece->len ? len : piece->len;

		/* Was memory when it was taken; the table may have changed since. */
		if (guest_memory_write(vq->gm, piece->addr, data, part))
			break;
		data += part;
		len -= part;
		written += part;
	}
	return written;
}

/**
 * virtqueue_push() - hand a request back
 * @vq: the queue that it was taken from, not stopped since
 * @chain: the request
 * @data: the answer
 * @len: its bytes
 */
void virtqueue_push(struct virtqueue *vq, const struct vq_chain *chain, const void *data,
		    size_t len)
{
	struct vring_used_elem *elem;
	uint32_t written;

	if (vq->broken || !virtqueue_started(vq) || !vq->desc || !test_in_flight(vq, chain->head))
		return;
	written = write_answer(vq, chain, data, len);
	flip_in_flight(vq, chain->head);
	elem = &vq->used->ring[vq->next_used & (vq->size - 1)];
	elem->id = htole32(chain->head);
	elem->len = htole32(written);
	vq->next_used++;
	/* Release: answer and element are there before the index says so. */
	__atomic_store_n(&vq->used->idx, htole16(vq->next_used), __ATOMIC_RELEASE);
}

/**
 * virtqueue_wants_signal() - whether the guest wants to hear of used requests
 * @vq: a started queue
 *
 * Return: the answer, as of after the last virtqueue_push().
 */
bool virtqueue_wants_signal(struct virtqueue *vq)
{
	if (vq->broken || !virtqueue_started(vq) || !vq->desc)
		return false;
	/*
	 * The guest clears the flag, then looks at the used index; we store
	 * the index, then look at the flag.  Without a full barrier both could
	 * miss the other's store.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(le16toh(__atomic_load_n(&vq->avail->flags, __ATOMIC_RELAXED)) &
		 VRING_AVAIL_F_NO_INTERRUPT);
}

/**
 * vq_chain_drop_data() - free the copy of the request
 * @chain: the answer's pieces stay
 */
void vq_chain_drop_data(struct vq_chain *chain)
{
	free(chain->data);
	chain->data = NULL;
	chain->len = 0;
}

/**
 * vq_chain_destroy() - free all that virtqueue_pop() allocated
 * @chain: the request
 */
void vq_chain_destroy(struct vq_chain *chain)
{
	vq_chain_drop_data(chain);
	free(chain->pieces);
	chain->pieces = NULL;
	chain->nr_pieces = 0;
}
