/* SPDX-License-Identifier: MIT */
/*
 * hostile_front_end: a VMM and its guest in one, which serve a hostile program
 *
 * The front end sets up one guest of HOSTILE_RAM bytes in a sealed memfd and the
 * control queue, as a VMM does.  The guest keeps as many requests in flight as
 * there are slots, each with a piece of guest memory of its own for the request
 * and the answer.  It plays by the rules of the protocol and of the rings: what
 * is hostile is what it asks for.
 *
 * Invariant: a slot that is in flight is not written to; answers may come in any
 * order, each exactly once, which take() checks.
 *
 * Threads: one.
 */
#ifndef HOSTILE_FRONT_END_H
#define HOSTILE_FRONT_END_H

#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/vhost_user_wire.h"

#define HOSTILE_RAM (64u << 20)
#define HOSTILE_GUEST_BASE UINT64_C(0x40000000)
#define HOSTILE_USER_BASE UINT64_C(0x7f0000000000)
#define HOSTILE_RING_SIZE 128u
#define HOSTILE_SLOTS (HOSTILE_RING_SIZE / 2)
/* Of one slot: a request with 16384 entries fits. */
#define HOSTILE_SLOT_BYTES (320u << 10)
#define HOSTILE_ANSWER_BYTES 4096u
#define HOSTILE_ANSWER_MS 60000

/* Where things are in guest memory. */
#define HOSTILE_AVAIL_AT 0x10000u
#define HOSTILE_USED_AT 0x20000u
#define HOSTILE_SLOTS_AT (1u << 20)

/**
 * struct hostile_guest - see the top of the file
 * @sock: to the device
 * @ram_fd: guest memory
 * @ram: it, mapped
 * @kick: of the control queue
 * @call: of the control queue
 * @avail_idx: next to be offered
 * @used_idx: next to be taken
 * @in_flight: of each slot
 * @nr_in_flight: how many
 */
struct hostile_guest {
	int sock;
	int ram_fd;
	unsigned char *ram;
	int kick;
	int call;
	uint16_t avail_idx;
	uint16_t used_idx;
	bool in_flight[HOSTILE_SLOTS];
	unsigned int nr_in_flight;
};

/* A message with up to one descriptor. */
static inline void hostile_send(struct hostile_guest *g, uint32_t request, const void *payload,
				uint32_t size, int fd)
{
	struct vhost_user_header header = { request, VHOST_USER_VERSION, size };
	union {
		char buffer[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .buffer = { 0 } };
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)payload, size } };
	struct msghdr out = { .msg_iov = iov, .msg_iovlen = size ? 2 : 1 };
	struct cmsghdr *cmsg;

	if (fd >= 0) {
		out.msg_control = control.buffer;
		out.msg_controllen = sizeof(control.buffer);
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(g->sock, &out, MSG_NOSIGNAL), sizeof(header) + size);
}

/* The answer's payload; the front end waits for it as QEMU does, but not for ever. */
static inline void hostile_reply(struct hostile_guest *g, uint32_t request, void *to, size_t size)
{
	struct pollfd p = { .fd = g->sock, .events = POLLIN };
	struct vhost_user_header header;

	if (poll(&p, 1, HOSTILE_ANSWER_MS) != 1)
		fail_msg("no answer to message %u within %u ms", request, HOSTILE_ANSWER_MS);
	assert_int_equal(recv(g->sock, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(header.request, request);
	assert_int_equal(header.size, size);
	assert_int_equal(recv(g->sock, to, size, MSG_WAITALL), size);
}

static inline uint64_t hostile_ask(struct hostile_guest *g, uint32_t request)
{
	uint64_t value = 0;

	hostile_send(g, request, NULL, 0, -1);
	hostile_reply(g, request, &value, sizeof(value));
	return value;
}

static inline void hostile_ram_init(struct hostile_guest *g)
{
	g->ram_fd = memfd_create("hostile-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(g->ram_fd >= 0);
	assert_int_equal(ftruncate(g->ram_fd, HOSTILE_RAM), 0);
	assert_int_equal(fcntl(g->ram_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	g->ram = mmap(NULL, HOSTILE_RAM, PROT_READ | PROT_WRITE, MAP_SHARED, g->ram_fd, 0);
	assert_ptr_not_equal(g->ram, MAP_FAILED);
}

static inline void hostile_send_ram(struct hostile_guest *g)
{
	struct {
		struct vhost_user_memory head;
		struct vhost_user_region region;
	} table = {
		.head.nr = 1,
		.region = { HOSTILE_GUEST_BASE, HOSTILE_RAM, HOSTILE_USER_BASE, 0 },
	};

	hostile_send(g, VHOST_USER_SET_MEM_TABLE, &table, sizeof(table), g->ram_fd);
}

static inline void hostile_send_ring(struct hostile_guest *g)
{
	struct vhost_user_vring_state num = { 0, HOSTILE_RING_SIZE }, base = { 0, 0 };
	struct vhost_user_vring_state enable = { 0, 1 };
	struct vhost_user_vring_addr addr = {
		.desc = HOSTILE_USER_BASE,
		.avail = HOSTILE_USER_BASE + HOSTILE_AVAIL_AT,
		.used = HOSTILE_USER_BASE + HOSTILE_USED_AT,
	};
	uint64_t index = 0;

	hostile_send(g, VHOST_USER_SET_VRING_NUM, &num, sizeof(num), -1);
	hostile_send(g, VHOST_USER_SET_VRING_BASE, &base, sizeof(base), -1);
	hostile_send(g, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	hostile_send(g, VHOST_USER_SET_VRING_CALL, &index, sizeof(index), g->call);
	hostile_send(g, VHOST_USER_SET_VRING_KICK, &index, sizeof(index), g->kick);
	hostile_send(g, VHOST_USER_SET_VRING_ENABLE, &enable, sizeof(enable), -1);
}

/* Connected over @sock, which it takes; the queue runs when this returns. */
static inline void hostile_guest_init(struct hostile_guest *g, int sock)
{
	uint64_t features, protocol;

	memset(g, 0, sizeof(*g));
	g->sock = sock;
	g->kick = eventfd(0, EFD_CLOEXEC);
	g->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(g->kick >= 0 && g->call >= 0);
	hostile_ram_init(g);
	hostile_send(g, VHOST_USER_SET_OWNER, NULL, 0, -1);
	features = hostile_ask(g, VHOST_USER_GET_FEATURES);
	protocol = hostile_ask(g, VHOST_USER_GET_PROTOCOL_FEATURES);
	/* Nothing is mapped by this VMM, so it does not offer to. */
	protocol &= ~(UINT64_C(1) << VHOST_USER_PROTOCOL_F_SHMEM);
	hostile_send(g, VHOST_USER_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), -1);
	hostile_send(g, VHOST_USER_SET_FEATURES, &features, sizeof(features), -1);
	hostile_send_ram(g);
	hostile_send_ring(g);
}

static inline void hostile_guest_destroy(struct hostile_guest *g)
{
	close(g->sock);
	close(g->kick);
	close(g->call);
	munmap(g->ram, HOSTILE_RAM);
	close(g->ram_fd);
}

/* Stop the queue, as a VMM does when the guest resets its device. */
static inline void hostile_stop(struct hostile_guest *g)
{
	struct vhost_user_vring_state state = { 0, 0 };

	hostile_send(g, VHOST_USER_GET_VRING_BASE, &state, sizeof(state), -1);
	hostile_reply(g, VHOST_USER_GET_VRING_BASE, &state, sizeof(state));
}

/* Memory of @slot for a request. */
static inline void *hostile_request(struct hostile_guest *g, unsigned int slot)
{
	return g->ram + HOSTILE_SLOTS_AT + (size_t)slot * HOSTILE_SLOT_BYTES + HOSTILE_ANSWER_BYTES;
}

/* The answer that is, or will be, in @slot. */
static inline struct virtio_gpu_ctrl_hdr *hostile_answer(struct hostile_guest *g, unsigned int slot)
{
	return (void *)(g->ram + HOSTILE_SLOTS_AT + (size_t)slot * HOSTILE_SLOT_BYTES);
}

/* A slot that nothing is in flight of, or -1. */
static inline int hostile_free_slot(const struct hostile_guest *g)
{
	unsigned int slot;

	for (slot = 0; slot < HOSTILE_SLOTS; slot++)
		if (!g->in_flight[slot])
			return (int)slot;
	return -1;
}

/* Offer the @len bytes of request in @slot. */
static inline void hostile_offer(struct hostile_guest *g, unsigned int slot, uint32_t len)
{
	struct vring_desc *desc = (struct vring_desc *)g->ram + 2 * slot;
	struct vring_avail *avail = (void *)(g->ram + HOSTILE_AVAIL_AT);
	uint64_t at = HOSTILE_GUEST_BASE + HOSTILE_SLOTS_AT + (uint64_t)slot * HOSTILE_SLOT_BYTES;
	const uint64_t one = 1;

	assert_true(len <= HOSTILE_SLOT_BYTES - HOSTILE_ANSWER_BYTES);
	desc[0] = (struct vring_desc){ at + HOSTILE_ANSWER_BYTES, len, VRING_DESC_F_NEXT,
				       (uint16_t)(2 * slot + 1) };
	desc[1] = (struct vring_desc){ at, HOSTILE_ANSWER_BYTES, VRING_DESC_F_WRITE, 0 };
	hostile_answer(g, slot)->type = 0;
	g->in_flight[slot] = true;
	g->nr_in_flight++;
	avail->ring[g->avail_idx % HOSTILE_RING_SIZE] = (uint16_t)(2 * slot);
	g->avail_idx++;
	__atomic_store_n(&avail->idx, g->avail_idx, __ATOMIC_RELEASE);
	assert_int_equal(write(g->kick, &one, sizeof(one)), sizeof(one));
}

/* The slot of an answer that has come, or -1 if none has. */
static inline int hostile_take(struct hostile_guest *g)
{
	struct vring_used *used = (void *)(g->ram + HOSTILE_USED_AT);
	unsigned int slot;

	if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == g->used_idx)
		return -1;
	slot = used->ring[g->used_idx++ % HOSTILE_RING_SIZE].id / 2;
	assert_true(slot < HOSTILE_SLOTS && g->in_flight[slot]);
	g->in_flight[slot] = false;
	g->nr_in_flight--;
	return (int)slot;
}

/* Wait until an answer may have come; false: none has for HOSTILE_ANSWER_MS. */
static inline bool hostile_wait(struct hostile_guest *g)
{
	struct pollfd p = { .fd = g->call, .events = POLLIN };
	uint64_t count;

	if (poll(&p, 1, HOSTILE_ANSWER_MS) != 1)
		return false;
	return read(g->call, &count, sizeof(count)) == sizeof(count);
}

#endif /* HOSTILE_FRONT_END_H */
