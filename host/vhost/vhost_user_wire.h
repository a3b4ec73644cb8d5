/* SPDX-License-Identifier: MIT */
/*
 * vhost_user_wire: the vhost-user protocol as it is on the socket
 *
 * Only what this back end uses.  Everything is in host byte order: both ends
 * run on one machine.
 */
#ifndef VHOST_USER_WIRE_H
#define VHOST_USER_WIRE_H

#include <stdint.h>

/* In SET_FEATURES and GET_FEATURES: protocol features and ring enables exist. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Protocol features. */
#define VHOST_USER_PROTOCOL_F_MQ 0
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_BACKEND_REQ 5
#define VHOST_USER_PROTOCOL_F_CONFIG 9
#define VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD 10
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE 13
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define VHOST_USER_PROTOCOL_F_SHMEM 22

/* vhost_user_header.flags */
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_VERSION 0x1u
#define VHOST_USER_REPLY 0x4u
#define VHOST_USER_NEED_REPLY 0x8u

/* The integer of SET_VRING_KICK, _CALL and _ERR. */
#define VHOST_USER_VRING_INDEX_MASK 0xffu
#define VHOST_USER_VRING_NOFD_MASK 0x100u

/* vhost_user_vring_addr.flags */
#define VHOST_USER_VRING_F_LOG 0x1u

#define VHOST_USER_MAX_CONFIG_SIZE 256

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
};

/* What the back end asks for, on its own channel. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_SHMEM_MAP = 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
};

/* vhost_user_mmap.flags: without it the guest can only read. */
#define VHOST_USER_MAP_RW 1u

#define VHOST_USER_MAX_SHMEM_REGIONS 256

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

struct vhost_user_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

/* Followed by @nr regions. */
struct vhost_user_memory {
	uint32_t nr;
	uint32_t padding;
};

/* ADD_MEM_REG (with the file) and REM_MEM_REG. */
struct vhost_user_single_region {
	uint64_t padding;
	struct vhost_user_region region;
};

/* The shared memory regions of the virtio device, by id; @nr of them have a size. */
struct vhost_user_shmem_config {
	uint32_t nr;
	uint32_t padding;
	uint64_t sizes[VHOST_USER_MAX_SHMEM_REGIONS];
};

/* BACKEND_SHMEM_MAP (with the file) and BACKEND_SHMEM_UNMAP. */
struct vhost_user_mmap {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags;
};

/* Followed by @size bytes. */
struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
};

#endif /* VHOST_USER_WIRE_H */
