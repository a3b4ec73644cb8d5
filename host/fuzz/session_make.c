// SPDX-License-Identifier: MIT
/*
 * session_make: records of a session that make sense, besides requests
 *
 * Threads: one.
 */
#include <string.h>

#include "fuzz/guest.h"
#include "fuzz/session.h"
#include "fuzz/vmm.h"

#define HEADER 12
#define MAX_REQUEST 45

void session_make_event(struct fuzz_random *random, struct fuzz_maker *maker)
{
	static const uint8_t often[] = { OP_KICK, OP_RING,   OP_RESTART,   OP_TABLE,
					 OP_SLOT, OP_ASK,    OP_STEP,	   OP_TIME,
					 OP_WAIT, OP_MANNER, OP_ANSWER_NOW };
	uint8_t arg = (uint8_t)fuzz_random(random), *data;

	if (!fuzz_once_in(random, 6)) {
		fuzz_make(maker, often[fuzz_below(random, sizeof(often))], arg, 0);
		return;
	}
	switch (fuzz_below(random, 4)) {
	case 0:
		data = fuzz_make(maker, OP_SPOIL, arg, 10);
		if (!data)
			return;
		fuzz_put(data, 10, 0, 2, fuzz_random(random));
		fuzz_put(data, 10, 2, 8,
			 fuzz_once_in(random, 2) ? fuzz_below(random, 8) :
						   guest_some_addr(random, 1));
		break;
	case 1:
		data = fuzz_make(maker, OP_DAMAGE, arg, 8);
		if (!data)
			return;
		fuzz_put(data, 8, 0, 8, fuzz_random(random));
		fuzz_put(data, 8, 1, 2, fuzz_below(random, 32));
		fuzz_put(data, 8, 3, 2, fuzz_below(random, 32));
		break;
	case 2:
		fuzz_make(maker, OP_RECONNECT, arg, 0);
		break;
	default:
		session_make_message(random, maker);
		break;
	}
}

/* Payload of the messages that have one; the others get a number of 8 bytes. */
static size_t message_size(uint32_t request, unsigned int nr_fds)
{
	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
		return sizeof(struct vhost_user_memory) + nr_fds * sizeof(struct vhost_user_region);
	case VHOST_USER_SET_VRING_ADDR:
		return sizeof(struct vhost_user_vring_addr);
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		return sizeof(struct vhost_user_single_region);
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		return sizeof(struct vhost_user_config) + 24;
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_SET_OWNER:
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_SET_BACKEND_REQ_FD:
	case VHOST_USER_RESET_DEVICE:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
	case VHOST_USER_GET_SHMEM_CONFIG:
		return 0;
	default:
		return 8;
	}
}

static void fill_region(struct fuzz_random *random, uint8_t *at)
{
	const struct guest_region *region = &guest_regions()[fuzz_below(random, GUEST_REGIONS)];
	bool odd = fuzz_once_in(random, 4);

	fuzz_put(at, 32, 0, 8, region->guest_addr);
	fuzz_put(at, 32, 8, 8, fuzz_once_in(random, 4) ? GUEST_PAGE : region->size);
	fuzz_put(at, 32, 16, 8, region->user_addr);
	fuzz_put(at, 32, 24, 8, region->fd_offset);
	if (odd)
		fuzz_put(at, 32, 8 * fuzz_below(random, 4), 8, fuzz_odd_number(random));
}

/* Where a ring is, or nearly. */
static void fill_addr(struct fuzz_random *random, uint8_t *payload)
{
	uint32_t index = fuzz_below(random, VMM_RINGS);

	fuzz_put(payload, 40, 0, 4, index);
	fuzz_put(payload, 40, 8, 8, GUEST_USER + ring_desc_offset(index));
	fuzz_put(payload, 40, 16, 8, GUEST_USER + ring_used_offset(index));
	fuzz_put(payload, 40, 24, 8, GUEST_USER + ring_avail_offset(index));
	if (fuzz_once_in(random, 4))
		fuzz_put(payload, 40, 8 + 8 * fuzz_below(random, 3), 8, fuzz_odd_number(random));
}

static void fill_payload(struct fuzz_random *random, uint32_t request, uint8_t *payload, size_t len,
			 unsigned int nr_fds)
{
	unsigned int i;

	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
		fuzz_put(payload, len, 0, 4, nr_fds);
		for (i = 0; i < nr_fds; i++)
			fill_region(random, payload + 8 + 32 * i);
		break;
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		fill_region(random, payload + 8);
		break;
	case VHOST_USER_SET_VRING_ADDR:
		fill_addr(random, payload);
		break;
	case VHOST_USER_SET_FEATURES:
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		fuzz_put(payload, len, 0, 8, fuzz_odd_number(random));
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		fuzz_put(payload, len, 4, 4, 24);
		break;
	case VHOST_USER_SET_VRING_NUM:
		fuzz_put(payload, len, 0, 4, fuzz_below(random, 3));
		fuzz_put(payload, len, 4, 4, 1u << fuzz_below(random, 13));
		break;
	default:
		/* A ring and a number, or a ring and whether it has a descriptor. */
		fuzz_put(payload, len, 0, 4,
			 fuzz_below(random, 3) | (nr_fds || fuzz_once_in(random, 2) ? 0 : 0x100));
		fuzz_put(payload, len, 4, 4, fuzz_once_in(random, 4) ? fuzz_below(random, 3) : 0);
		break;
	}
}

void session_make_message(struct fuzz_random *random, struct fuzz_maker *maker)
{
	uint32_t request = 1 + fuzz_below(random, MAX_REQUEST);
	unsigned int nr_fds = fuzz_once_in(random, 2) ? 1 : fuzz_below(random, 4), kind = 0;
	size_t len = message_size(request, nr_fds);
	uint8_t *data;

	if (request == VHOST_USER_SET_VRING_KICK || request == VHOST_USER_SET_VRING_CALL ||
	    request == VHOST_USER_SET_VRING_ERR)
		kind = 2;
	if (request == VHOST_USER_SET_BACKEND_REQ_FD)
		kind = 4;
	if (fuzz_once_in(random, 8))
		kind = fuzz_random(random) & 0xf;
	if (fuzz_once_in(random, 32))
		nr_fds = 0xf;
	data = fuzz_make(maker, OP_MESSAGE, (uint8_t)(nr_fds | kind << 4), HEADER + len);
	if (!data)
		return;
	fuzz_put(data, HEADER, 0, 4, request);
	fuzz_put(data, HEADER, 4, 4,
		 VHOST_USER_VERSION | (fuzz_once_in(random, 2) ? VHOST_USER_NEED_REPLY : 0));
	fuzz_put(data, HEADER, 8, 4, len);
	fill_payload(random, request, data + HEADER, len,
		     nr_fds == 0xf ? (unsigned int)((len - 8) / 32) : nr_fds);
}

static void touch_message(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data)
{
	static const struct fuzz_field fields[] = {
		{ 0, 4, 1, MAX_REQUEST, 1 }, { 4, 4, 1, 15, 1 },   { 8, 4, 0, 64, 4 },
		{ 12, 4, 0, 3, 1 },	     { 16, 4, 0, 256, 1 }, { 12, 8, 0, 1, 1 },
	};
	const struct fuzz_field anywhere = {
		.offset = (uint16_t)(HEADER + 8 * fuzz_below(random, 17)),
		.width = 8,
		.max = UINT64_MAX,
	};

	switch (fuzz_below(random, 4)) {
	case 0:
		record->arg = (uint8_t)fuzz_random(random);
		break;
	case 1:
		fuzz_touch_field(random, &anywhere, data, record->len);
		break;
	default:
		fuzz_touch_field(random, &fields[fuzz_below(random, ARRAY_SIZE(fields))], data,
				 record->len);
		break;
	}
	/* Mostly the bytes that it says it has. */
	if (record->len >= HEADER && !fuzz_once_in(random, 8))
		fuzz_put(data, HEADER, 8, 4, record->len - HEADER);
}

void session_touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data,
		   const struct gpu_flavour *flavour)
{
	switch (record->op) {
	case OP_COMMAND:
		record->len = (uint16_t)commands_touch(random, data, record->len, flavour);
		if (fuzz_once_in(random, 8))
			record->arg = (uint8_t)fuzz_random(random);
		break;
	case OP_MESSAGE:
		touch_message(random, record, data);
		break;
	default:
		record->arg = (uint8_t)fuzz_random(random);
		break;
	}
}
