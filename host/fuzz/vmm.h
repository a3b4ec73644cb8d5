/* SPDX-License-Identifier: MIT */
/*
 * vmm: the front end and the guest's driver that targets play
 *
 * A front end at one end of a socket pair, the device under test at the other, rings
 * and requests in the guest's memory.  It does right as long as it is not told to do
 * wrong; vmm.exact says whether it has been, and as long as it has not, everything
 * the device does is judged.
 *
 * Threads: the target's, which also runs the device's event loop while the front end
 * waits for it.
 */
#ifndef VMM_H
#define VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/vhost_user_wire.h"

#define VMM_RINGS 2
/* Requests of a ring at a time, and what each has of the ring's table. */
#define VMM_SLOTS 32
#define VMM_DESCRIPTORS 8
#define VMM_MAX_FDS 80

/* How a request is laid out: bits of a record's arg. */
#define SHAPE_PIECES 0x03u /* of the request, and 1 */
#define SHAPE_ANSWERS 0x0cu /* pieces of the answer */
#define SHAPE_INDIRECT 0x10u
#define SHAPE_NO_KICK 0x20u
#define SHAPE_CURSOR 0x40u
#define SHAPE_SHORT 0x80u /* only a header's worth of answer */

/**
 * struct vmm_request - a request that the device has
 * @offered: it is not answered yet
 * @data: what was sent, in the input
 * @len: bytes
 * @capacity: bytes of answer that it has room for
 * @number: counts all requests
 * @at: index in the available ring
 */
struct vmm_request {
	bool offered;
	const uint8_t *data;
	uint16_t len;
	uint32_t capacity;
	uint64_t number;
	uint16_t at;
};

/**
 * struct vmm_ring - a queue
 * @size: entries
 * @nr_slots: of @requests, that fit
 * @kick: our descriptor of each
 * @call: see @kick
 * @err: see @kick
 * @runs: SET_VRING_KICK was sent, and the ring not stopped since
 * @avail: next index of the available ring
 * @used: next index of the used ring
 * @requests: by slot
 */
struct vmm_ring {
	uint32_t size;
	unsigned int nr_slots;
	int kick;
	int call;
	int err;
	bool runs;
	uint16_t avail;
	uint16_t used;
	struct vmm_request requests[VMM_SLOTS];
};

/* How the front end answers what the device asks it for. */
enum vmm_manner {
	MANNER_RIGHT,
	MANNER_REFUSE,
	/* Reads, and answers when told to. */
	MANNER_LATE,
	/* Does not even read. */
	MANNER_DEAF,
	MANNER_WRONG,
	MANNER_SHORT,
	MANNER_CLOSE,
	NR_MANNERS,
};

/**
 * struct vmm - all of it
 * @exact: nobody has done wrong
 * @connected: the device has not hung up
 * @sock: to the device, or -1
 * @back: our end of the back-end channel, or -1
 * @features: accepted
 * @protocol: accepted
 * @manner: see there
 * @rings: the queues
 * @requests: ever
 * @answered: one request was; may be NULL
 * @gone: the device has answered that it has let go of everything; may be NULL
 */
struct vmm {
	bool exact;
	bool connected;
	int sock;
	int back;
	uint64_t features;
	uint64_t protocol;
	enum vmm_manner manner;
	struct vmm_ring rings[VMM_RINGS];
	uint64_t requests;
	void (*answered)(const struct vmm_request *request, const uint8_t *answer, uint32_t len);
	void (*gone)(void);
};

extern struct vmm vmm;

/* ---- vmm.c: the socket ---- */

/* As new; the device's end of the socket, or -1. */
int vmm_begin(void);
/* Everything is closed. */
void vmm_end(void);
/* The usual messages up to rings of 2^@log_size entries that run. */
void vmm_handshake(unsigned int log_size);
void vmm_start_ring(unsigned int index);
/* GET_VRING_BASE: the device hands back what it has. */
void vmm_stop_ring(unsigned int index);
/* Memory is the first @nr regions. */
void vmm_set_table(unsigned int nr);
/* A message with descriptors, as it is. */
void vmm_send(const void *data, size_t len, const int *fds, unsigned int nr_fds);
/*
 * A message, its descriptor (or -1), and its answer's payload.  Returns how many bytes
 * that has, or -1: the device has hung up, or there was no answer, which is wrong if
 * nobody has done wrong before.
 */
int vmm_call(uint32_t request, const void *payload, size_t size, int fd, void *answer, size_t room);
/* Let the device do what there is to do, and look at what it has done. */
void vmm_pump(void);
/*
 * The same, until all requests are answered, or for a limited time; @settle again and again
 * brings to an end what the device waits for.  Returns how many are not answered.
 */
unsigned int vmm_wait(void (*settle)(void));
unsigned int vmm_outstanding(void);
/* From now on nothing is judged. */
void vmm_do_wrong(void);
/* Read and forget what the device has sent. */
void vmm_drain(void);

/* ---- vmm_ring.c: rings ---- */

/* Parts of a ring, as offsets in the guest's file. */
uint32_t ring_desc_offset(unsigned int index);
uint32_t ring_avail_offset(unsigned int index);
uint32_t ring_used_offset(unsigned int index);
/* Empty, with the indices where they are. */
void ring_clear(unsigned int index, uint32_t size);
/* A request; @odd[0..3] change one descriptor of it if there are any.  False: no room. */
bool ring_offer(const uint8_t *data, size_t len, uint8_t shape);
/* The next chain has a descriptor that is changed as @data says. */
void ring_spoil_next(const uint8_t *data, size_t len);
void ring_kick(unsigned int index);
/* Take what is used. */
void ring_look(unsigned int index);
/* Do to the ring what a guest must not: see vmm_ring.c. */
void ring_damage(unsigned int index, const uint8_t *data, size_t len);

/* ---- vmm_shmem.c: what the device asks for ---- */

void shmem_begin(void);
/* Read and answer, according to vmm.manner. */
void shmem_look(void);
/* Answer what waits for it. */
void shmem_answer_now(void);
/* The device was reset: the VMM takes away what it has mapped. */
void shmem_reset(void);
void shmem_end(void);

/* ---- chaos.c: a second processor ---- */

/* It changes rings and requests as @kinds says, until chaos_end(); 0: it does nothing. */
void chaos_begin(uint8_t kinds, uint32_t seed);
void chaos_end(void);

#endif /* VMM_H */
