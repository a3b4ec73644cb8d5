// SPDX-License-Identifier: MIT
/*
 * vmm_ring: the driver's side of the rings
 *
 * Slot n of a ring has descriptors n * VMM_DESCRIPTORS and so on of its table, and a
 * page in the guest's memory: the request, room for the answer, and an indirect table.
 * So what is used says by its head which request it was.
 *
 * Judged, while vmm.exact: that what is used was offered, once; that no more was written
 * than there is room for; that an answer has the fence of its request; that fences of a
 * timeline come in order.
 *
 * Threads: see vmm.h.  A second processor may change all of it (chaos.c).
 */
#include <linux/virtio_gpu.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/vmm.h"

#define RING_BYTES (64u << 10)
#define AVAIL_AT (16u << 10)
#define USED_AT (32u << 10)
#define SLOTS_AT (1u << 20)
/* In a slot. */
#define ANSWER_AT 2304u
#define TABLE_AT 3584u
#define MAX_ANSWER 1040u
#define HEADER 24u

/**
 * struct chain - of a request
 * @table: where its descriptors go
 * @first: index of the first
 * @nr: how many so far
 */
struct chain {
	struct vring_desc *table;
	uint16_t first;
	unsigned int nr;
};

/* Of the next request: which descriptor, which member, and what it is then. */
static struct {
	bool armed;
	uint8_t index;
	uint8_t member;
	uint64_t value;
} spoil;

uint32_t ring_desc_offset(unsigned int index)
{
	return index * RING_BYTES;
}

uint32_t ring_avail_offset(unsigned int index)
{
	return index * RING_BYTES + AVAIL_AT;
}

uint32_t ring_used_offset(unsigned int index)
{
	return index * RING_BYTES + USED_AT;
}

static struct vring_desc *ring_desc(unsigned int index)
{
	return (struct vring_desc *)guest_at(ring_desc_offset(index));
}

static struct vring_avail *ring_avail(unsigned int index)
{
	return (struct vring_avail *)guest_at(ring_avail_offset(index));
}

static struct vring_used *ring_used(unsigned int index)
{
	return (struct vring_used *)guest_at(ring_used_offset(index));
}

static uint32_t slot_offset(unsigned int index, unsigned int slot)
{
	return SLOTS_AT + (index * VMM_SLOTS + slot) * GUEST_PAGE;
}

void ring_clear(unsigned int index, uint32_t size)
{
	struct vmm_ring *ring = &vmm.rings[index];

	ring->size = size;
	ring->nr_slots = size / VMM_DESCRIPTORS;
	if (ring->nr_slots > VMM_SLOTS)
		ring->nr_slots = VMM_SLOTS;
	memset(ring_desc(index), 0, size * sizeof(struct vring_desc));
	ring_avail(index)->flags = 0;
	ring_avail(index)->idx = ring->avail;
	ring_used(index)->idx = ring->used;
}

/* ---- requests ---- */

static void add_piece(struct chain *chain, uint32_t offset, uint32_t len, uint16_t flags)
{
	struct vring_desc *desc = &chain->table[chain->first + chain->nr];

	*desc = (struct vring_desc){
		.addr = GUEST_BASE + offset,
		.len = len,
		.flags = flags,
	};
	if (chain->nr) {
		desc[-1].flags |= VRING_DESC_F_NEXT;
		desc[-1].next = (uint16_t)(chain->first + chain->nr);
	}
	chain->nr++;
}

/* @len bytes in @pieces, of which all but the last are short. */
static void add_pieces(struct chain *chain, uint32_t offset, uint32_t len, unsigned int pieces,
		       uint16_t flags)
{
	static const uint32_t cuts[] = { 5, 24, 40 };

	while (pieces > 1) {
		uint32_t part = cuts[pieces % ARRAY_SIZE(cuts)];

		if (part > len)
			part = len;
		add_piece(chain, offset, part, flags);
		offset += part;
		len -= part;
		pieces--;
	}
	if (pieces)
		add_piece(chain, offset, len, flags);
}

static void spoil_chain(const struct chain *chain)
{
	struct vring_desc *desc = &chain->table[chain->first + spoil.index % chain->nr];

	spoil.armed = false;
	vmm_do_wrong();
	switch (spoil.member % 4) {
	case 0:
		desc->addr = spoil.value;
		break;
	case 1:
		desc->len = (uint32_t)spoil.value;
		break;
	case 2:
		desc->flags = (uint16_t)spoil.value;
		break;
	default:
		desc->next = (uint16_t)spoil.value;
		break;
	}
}

void ring_spoil_next(const uint8_t *data, size_t len)
{
	spoil.armed = true;
	spoil.index = (uint8_t)fuzz_get(data, len, 0, 1);
	spoil.member = (uint8_t)fuzz_get(data, len, 1, 1);
	spoil.value = fuzz_get(data, len, 2, 8);
}

static int free_slot(const struct vmm_ring *ring)
{
	unsigned int slot;

	for (slot = 0; slot < ring->nr_slots; slot++)
		if (!ring->requests[slot].offered)
			return (int)slot;
	return -1;
}

static void publish(unsigned int index, uint16_t head)
{
	struct vmm_ring *ring = &vmm.rings[index];
	struct vring_avail *avail = ring_avail(index);

	__atomic_store_n(&avail->ring[ring->avail & (ring->size - 1)], head, __ATOMIC_RELAXED);
	ring->avail++;
	__atomic_store_n(&avail->idx, ring->avail, __ATOMIC_RELEASE);
}

static uint32_t answer_room(uint8_t shape)
{
	if (!(shape & SHAPE_ANSWERS))
		return 0;
	return shape & SHAPE_SHORT ? HEADER : MAX_ANSWER;
}

/* The chain of the request in @slot. */
static void lay_out(unsigned int index, unsigned int slot, size_t len, uint8_t shape)
{
	struct chain direct = {
		.table = ring_desc(index),
		.first = (uint16_t)(slot * VMM_DESCRIPTORS),
	};
	struct chain indirect = {
		.table = (struct vring_desc *)guest_at(slot_offset(index, slot) + TABLE_AT),
	};
	struct chain *chain = shape & SHAPE_INDIRECT ? &indirect : &direct;

	add_pieces(chain, slot_offset(index, slot), (uint32_t)len, 1 + (shape & SHAPE_PIECES), 0);
	add_pieces(chain, slot_offset(index, slot) + ANSWER_AT, answer_room(shape),
		   (shape & SHAPE_ANSWERS) >> 2, VRING_DESC_F_WRITE);
	if (spoil.armed)
		spoil_chain(chain);
	if (chain == &indirect)
		add_piece(&direct, slot_offset(index, slot) + TABLE_AT,
			  (uint32_t)(indirect.nr * sizeof(struct vring_desc)),
			  VRING_DESC_F_INDIRECT);
}

bool ring_offer(const uint8_t *data, size_t len, uint8_t shape)
{
	unsigned int index = shape & SHAPE_CURSOR ? 1 : 0;
	struct vmm_ring *ring = &vmm.rings[index];
	int slot = free_slot(ring);

	if (!ring->runs || !vmm.connected || slot < 0)
		return false;
	if (len)
		memcpy(guest_at(slot_offset(index, (unsigned int)slot)), data, len);
	lay_out(index, (unsigned int)slot, len, shape);
	ring->requests[slot] = (struct vmm_request){
		.offered = true,
		.data = data,
		.len = (uint16_t)len,
		.capacity = answer_room(shape),
		.number = ++vmm.requests,
		.at = ring->avail,
	};
	publish(index, (uint16_t)(slot * VMM_DESCRIPTORS));
	if (!(shape & SHAPE_NO_KICK))
		ring_kick(index);
	return true;
}

void ring_kick(unsigned int index)
{
	const uint64_t one = 1;

	if (vmm.rings[index].kick >= 0 && write(vmm.rings[index].kick, &one, sizeof(one)) < 0)
		return;
}

/* ---- answers ---- */

static bool fenced(const struct vmm_request *request)
{
	return fuzz_get(request->data, request->len, 4, 4) & VIRTIO_GPU_FLAG_FENCE;
}

static bool same_timeline(const struct vmm_request *a, const struct vmm_request *b)
{
	bool ring = fuzz_get(a->data, a->len, 4, 4) & VIRTIO_GPU_FLAG_INFO_RING_IDX;

	if (ring != !!(fuzz_get(b->data, b->len, 4, 4) & VIRTIO_GPU_FLAG_INFO_RING_IDX))
		return false;
	return !ring || fuzz_get(a->data, a->len, 16, 5) == fuzz_get(b->data, b->len, 16, 5);
}

/* A fence says that all before it on its timeline is over. */
static void judge_fence(const struct vmm_request *request, const uint8_t *answer)
{
	unsigned int index, slot;

	if (!fenced(request) || request->len < HEADER ||
	    fuzz_get(answer, HEADER, 8, 8) != fuzz_get(request->data, request->len, 8, 8))
		fuzz_oracle("FENCES: the answer has a fence that its request has not");
	for (index = 0; index < VMM_RINGS; index++) {
		for (slot = 0; slot < vmm.rings[index].nr_slots; slot++) {
			const struct vmm_request *other = &vmm.rings[index].requests[slot];

			/* The queues are not ordered among themselves. */
			if (other->offered && other->number < request->number &&
			    other->len >= HEADER && fenced(other) &&
			    request >= vmm.rings[index].requests &&
			    request < vmm.rings[index].requests + VMM_SLOTS &&
			    same_timeline(other, request))
				fuzz_oracle("FENCES: one is answered before an earlier one of its "
					    "timeline");
		}
	}
}

static void judge_answer(const struct vmm_request *request, const uint8_t *answer, uint32_t len)
{
	uint64_t type = fuzz_get(answer, len, 0, 4);

	if (len > request->capacity)
		fuzz_oracle("ANSWERS: %u bytes where there is room for %u", len, request->capacity);
	/* What was not even read, or has no room, is handed back as it is. */
	if (len < HEADER)
		return;
	if (type < VIRTIO_GPU_RESP_OK_NODATA || type > 0x12ff)
		fuzz_oracle("ANSWERS: one of type 0x%llx", (unsigned long long)type);
	if (fuzz_get(answer, len, 4, 4) & VIRTIO_GPU_FLAG_FENCE)
		judge_fence(request, answer);
}

static void take_used(unsigned int index, const struct vring_used_elem *elem)
{
	struct vmm_ring *ring = &vmm.rings[index];
	uint32_t slot = elem->id / VMM_DESCRIPTORS;
	struct vmm_request *request, over;
	const uint8_t *answer;

	if (elem->id % VMM_DESCRIPTORS || slot >= ring->nr_slots || !ring->requests[slot].offered) {
		if (vmm.exact)
			fuzz_oracle("ANSWERS: ring %u: request %u is handed back and was not "
				    "offered, or twice",
				    index, elem->id);
		return;
	}
	request = &ring->requests[slot];
	answer = guest_at(slot_offset(index, slot) + ANSWER_AT);
	request->offered = false;
	over = *request;
	if (!vmm.exact)
		return;
	judge_answer(request, answer, elem->len);
	if (vmm.answered)
		vmm.answered(&over, answer, elem->len);
}

void ring_look(unsigned int index)
{
	struct vmm_ring *ring = &vmm.rings[index];
	struct vring_used *used = ring_used(index);
	uint16_t now;
	uint64_t count;

	if (!ring->runs)
		return;
	now = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);
	if ((uint16_t)(now - ring->used) > ring->size) {
		if (vmm.exact)
			fuzz_oracle("ring %u: the used index jumps", index);
		ring->used = now;
	}
	while (ring->used != now)
		take_used(index, &used->ring[ring->used++ & (ring->size - 1)]);
	if (read(ring->call, &count, sizeof(count)) < 0 && vmm.exact && false)
		return;
	if (vmm.exact && read(ring->err, &count, sizeof(count)) > 0 && !watch_has_failed())
		fuzz_oracle("ring %u is broken, and the guest did nothing wrong", index);
}

/* ---- what a guest must not do ---- */

void ring_damage(unsigned int index, const uint8_t *data, size_t len)
{
	struct vmm_ring *ring = &vmm.rings[index];
	struct vring_avail *avail = ring_avail(index);
	uint16_t value = (uint16_t)fuzz_get(data, len, 1, 2);
	uint16_t at = (uint16_t)fuzz_get(data, len, 3, 2);

	if (!ring->size)
		return;
	switch (fuzz_get(data, len, 0, 1) % 6) {
	case 0:
		/* No interrupts, which is no damage. */
		avail->flags = value & VRING_AVAIL_F_NO_INTERRUPT;
		return;
	case 1:
		__atomic_store_n(&avail->idx, value, __ATOMIC_RELEASE);
		break;
	case 2:
		ring->avail = (uint16_t)(ring->avail + value % 4);
		__atomic_store_n(&avail->idx, ring->avail, __ATOMIC_RELEASE);
		break;
	case 3:
		avail->ring[at & (ring->size - 1)] = value;
		break;
	case 4:
		memcpy((uint8_t *)&ring_desc(index)[at & (ring->size - 1)] + value % 16, data,
		       len < 8 ? 0 : 1);
		break;
	default:
		ring_used(index)->idx = value;
		break;
	}
	vmm_do_wrong();
	ring_kick(index);
}
