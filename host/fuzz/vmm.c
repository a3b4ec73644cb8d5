// SPDX-License-Identifier: MIT
/*
 * vmm: the front end's messages
 *
 * The device runs in this thread, so whoever waits for it has to step it.  A device
 * with threads of its own answers when it likes; what must come is waited for, in real
 * time, and what need not come is looked for when the device has nothing more to do.
 *
 * Threads: see vmm.h.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/device.h"
#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/vmm.h"
#include "fuzz/wrap.h"

#define BIT(n) (UINT64_C(1) << (n))
/* Events that one pump lets the device handle; a timer may go off all the time. */
#define PUMP_EVENTS 64
/* How long a request is waited for that need not be over soon. */
#define ANSWER_US 300
/* How long an answer may take that has to come, on a busy machine. */
#define PATIENCE_NS INT64_C(8000000000)
/* A step that waits for an event; the clock of the device goes faster. */
#define STEP_MS 64
#define IDLE_STEPS 3

struct vmm vmm;

/* ---- waiting ---- */

static int64_t real_ns(void)
{
	struct timespec now;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void vmm_do_wrong(void)
{
	vmm.exact = false;
}

static void look(void)
{
	unsigned int i;

	for (i = 0; i < VMM_RINGS; i++)
		ring_look(i);
	shmem_look();
}

unsigned int vmm_outstanding(void)
{
	unsigned int i, slot, nr = 0;

	for (i = 0; i < VMM_RINGS; i++)
		for (slot = 0; slot < vmm.rings[i].nr_slots; slot++)
			nr += vmm.rings[i].requests[slot].offered;
	return nr;
}

/* Requests that are not over although the device had nothing more to do. */
static unsigned int parked;

void vmm_pump(void)
{
	unsigned int i;

	for (i = 0; i < PUMP_EVENTS && !device_finished(); i++) {
		bool busy = device_step(0);

		look();
		if (busy)
			continue;
		/* The device's thread has not come to it yet, or will not for long. */
		if (vmm_outstanding() <= parked || !device_wait(ANSWER_US))
			break;
	}
	parked = vmm_outstanding();
}

unsigned int vmm_wait(void (*settle)(void))
{
	int64_t end = real_ns() + (vmm.exact ? PATIENCE_NS : 0);

	do {
		settle();
		vmm_pump();
		if (!vmm_outstanding() || device_finished())
			break;
		if (vmm.exact)
			device_step(STEP_MS);
	} while (real_ns() < end);
	return vmm_outstanding();
}

/* ---- messages ---- */

void vmm_send(const void *data, size_t len, const int *fds, unsigned int nr_fds)
{
	union {
		char buffer[CMSG_SPACE(VMM_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr out = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nr_fds) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		out.msg_control = control.buffer;
		out.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
	}
	if (vmm.sock < 0 || sendmsg(vmm.sock, &out, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	/* It is not read as fast as it is sent, or not any more. */
	if (errno != EAGAIN)
		vmm.connected = false;
}

/* What has come of an answer of @len bytes; -1: the device has hung up. */
static int receive(uint8_t *to, size_t len, size_t received)
{
	ssize_t got = recv(vmm.sock, to + received, len - received, MSG_DONTWAIT);

	if (got < 0 && errno == EAGAIN)
		return 0;
	return got > 0 ? (int)got : -1;
}

/* How much of @len bytes is there. */
static size_t receive_ready(size_t len)
{
	uint8_t bytes[4096];
	ssize_t got = recv(vmm.sock, bytes, len < sizeof(bytes) ? len : sizeof(bytes),
			   MSG_DONTWAIT | MSG_PEEK);

	return got > 0 ? (size_t)got : 0;
}

/* The device has hung up. */
static int hung_up(uint32_t request)
{
	if (vmm.exact && !watch_has_failed())
		fuzz_oracle(
			"the device hangs up on a front end that does nothing wrong (message %u)",
			request);
	vmm.connected = false;
	return -1;
}

/* @len bytes from the device: 0, or -1 if they do not come. */
static int await(uint32_t request, uint8_t *to, size_t len)
{
	int64_t end = real_ns() + PATIENCE_NS;
	unsigned int idle = 0;
	size_t received = 0;

	/* Whoever has done wrong need not get an answer. */
	while (vmm.exact || idle < IDLE_STEPS) {
		int got = receive(to, len, received);

		if (got < 0 || (!got && device_finished()))
			return hung_up(request);
		received += (size_t)got;
		if (received == len)
			return 0;
		vmm_pump();
		if (receive_ready(len - received))
			continue;
		idle += !device_step(STEP_MS);
		if (real_ns() > end)
			fuzz_oracle("ANSWERS: message %u has none", request);
	}
	return -1;
}

int vmm_call(uint32_t request, const void *payload, size_t size, int fd, void *answer, size_t room)
{
	struct {
		struct vhost_user_header header;
		uint8_t payload[4096];
	} message = { .header = {
			      .request = request,
			      .flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY,
			      .size = (uint32_t)size,
		      } };
	static uint8_t bytes[4096];

	if (!vmm.connected)
		return -1;
	if (size)
		memcpy(message.payload, payload, size);
	vmm_send(&message, sizeof(message.header) + size, &fd, fd >= 0);
	if (await(request, (uint8_t *)&message.header, sizeof(message.header)))
		return -1;
	if (message.header.size > sizeof(bytes) ||
	    (vmm.exact && (message.header.request != request ||
			   message.header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY))))
		fuzz_oracle("ANSWERS: to message %u comes one to %u, flags 0x%x, of %u bytes",
			    request, message.header.request, message.header.flags,
			    message.header.size);
	if (message.header.size && await(request, bytes, message.header.size))
		return -1;
	if (answer)
		memcpy(answer, bytes, message.header.size < room ? message.header.size : room);
	return (int)message.header.size;
}

/* Whether it was accepted, which it is if nobody has done wrong. */
static bool tell(uint32_t request, const void *payload, size_t size, int fd)
{
	uint64_t refused = 0;

	if (vmm_call(request, payload, size, fd, &refused, sizeof(refused)) < 0)
		return false;
	if (vmm.exact && refused && !watch_has_failed())
		fuzz_oracle("message %u is refused", request);
	return !refused;
}

static uint64_t ask(uint32_t request)
{
	uint64_t value = 0;

	vmm_call(request, NULL, 0, -1, &value, sizeof(value));
	return value;
}

void vmm_drain(void)
{
	uint8_t bytes[512];

	while (vmm.sock >= 0 && recv(vmm.sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* ---- what a front end does ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int vmm_begin(void)
{
	int pair[2];
	unsigned int i;

	parked = 0;
	vmm = (struct vmm){ .exact = true, .sock = -1, .back = -1 };
	for (i = 0; i < VMM_RINGS; i++)
		vmm.rings[i].kick = vmm.rings[i].call = vmm.rings[i].err = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	vmm.sock = pair[0];
	vmm.connected = true;
	shmem_begin();
	return pair[1];
}

void vmm_end(void)
{
	unsigned int i;

	close_fd(&vmm.sock);
	close_fd(&vmm.back);
	for (i = 0; i < VMM_RINGS; i++) {
		close_fd(&vmm.rings[i].kick);
		close_fd(&vmm.rings[i].call);
		close_fd(&vmm.rings[i].err);
	}
	shmem_end();
}

void vmm_set_table(unsigned int nr)
{
	struct {
		struct vhost_user_header header;
		struct vhost_user_memory table;
		struct vhost_user_region regions[GUEST_REGIONS];
	} __attribute__((packed)) message = { .table.nr = nr };
	uint64_t refused = 0;
	int fds[GUEST_REGIONS];
	unsigned int i;

	if (!vmm.connected)
		return;
	message.header = (struct vhost_user_header){
		.request = VHOST_USER_SET_MEM_TABLE,
		.flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY,
		.size = (uint32_t)(sizeof(message.table) + nr * sizeof(message.regions[0])),
	};
	for (i = 0; i < nr; i++) {
		const struct guest_region *region = &guest_regions()[i];

		message.regions[i] = (struct vhost_user_region){
			.guest_addr = region->guest_addr,
			.size = region->size,
			.user_addr = region->user_addr,
			.mmap_offset = region->fd_offset,
		};
		fds[i] = region->fd;
	}
	vmm_send(&message, sizeof(message.header) + message.header.size, fds, nr);
	if (await(VHOST_USER_SET_MEM_TABLE, (uint8_t *)&message.header, sizeof(message.header)) ||
	    await(VHOST_USER_SET_MEM_TABLE, (uint8_t *)&refused, sizeof(refused)))
		return;
	if (refused && vmm.exact && !watch_has_failed())
		fuzz_oracle("a memory table without fault is refused");
}

static void open_back_end_channel(void)
{
	int pair[2];

	close_fd(&vmm.back);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return;
	vmm.back = pair[0];
	tell(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
	close(pair[1]);
}

static bool tell_state(uint32_t request, unsigned int index, uint32_t num)
{
	struct vhost_user_vring_state state = { .index = index, .num = num };

	return tell(request, &state, sizeof(state), -1);
}

void vmm_start_ring(unsigned int index)
{
	struct vmm_ring *ring = &vmm.rings[index];
	struct vhost_user_vring_addr addr = {
		.index = index,
		.desc = GUEST_USER + ring_desc_offset(index),
		.used = GUEST_USER + ring_used_offset(index),
		.avail = GUEST_USER + ring_avail_offset(index),
	};
	uint64_t number = index;

	if (ring->runs || !vmm.connected)
		return;
	close_fd(&ring->kick);
	close_fd(&ring->call);
	close_fd(&ring->err);
	watch_pause();
	ring->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watch_resume();
	ring->runs = tell_state(VHOST_USER_SET_VRING_NUM, index, ring->size) &&
		     tell_state(VHOST_USER_SET_VRING_BASE, index, ring->avail) &&
		     tell(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1) &&
		     tell(VHOST_USER_SET_VRING_CALL, &number, sizeof(number), ring->call) &&
		     tell(VHOST_USER_SET_VRING_ERR, &number, sizeof(number), ring->err) &&
		     tell(VHOST_USER_SET_VRING_KICK, &number, sizeof(number), ring->kick) &&
		     tell_state(VHOST_USER_SET_VRING_ENABLE, index, 1);
}

static bool last_to_run(unsigned int index)
{
	unsigned int i;

	for (i = 0; i < VMM_RINGS; i++)
		if (i != index && vmm.rings[i].runs)
			return false;
	return true;
}

void vmm_stop_ring(unsigned int index)
{
	struct vhost_user_vring_state state = { .index = index };
	struct vmm_ring *ring = &vmm.rings[index];
	bool last = last_to_run(index);
	unsigned int slot;

	if (!ring->runs)
		return;
	if (vmm_call(VHOST_USER_GET_VRING_BASE, &state, sizeof(state), -1, &state, sizeof(state)) <
	    0)
		return;
	ring_look(index);
	ring->runs = false;
	/* Not more than there was, nor less than was used. */
	if (vmm.exact &&
	    ((int16_t)(state.num - ring->used) < 0 || (int16_t)(ring->avail - state.num) < 0))
		fuzz_oracle("ring %u stops at %u; %u were used, and %u offered", index, state.num,
			    ring->used, ring->avail);
	/* A queue that stops while the other one runs takes its requests with it. */
	for (slot = 0; slot < ring->nr_slots; slot++) {
		struct vmm_request *request = &ring->requests[slot];

		if (last && vmm.exact && request->offered && (int16_t)(request->at - state.num) < 0)
			fuzz_oracle("ANSWERS: a request has none after the device was reset");
		request->offered = false;
	}
	/* Where it goes on if it is started again. */
	ring->avail = (uint16_t)state.num;
	ring_clear(index, ring->size);
	if (!last)
		return;
	shmem_reset();
	if (vmm.gone && vmm.exact)
		vmm.gone();
}

static void set_protocol_features(void)
{
	struct {
		struct vhost_user_header header;
		uint32_t features[2];
	} message = { .header = {
			      .request = VHOST_USER_SET_PROTOCOL_FEATURES,
			      .flags = VHOST_USER_VERSION,
			      .size = sizeof(message.features),
		      } };

	memcpy(message.features, &vmm.protocol, sizeof(message.features));
	vmm_send(&message, sizeof(message), NULL, 0);
}

void vmm_handshake(unsigned int log_size)
{
	unsigned int i;

	vmm.features = ask(VHOST_USER_GET_FEATURES);
	vmm.protocol = ask(VHOST_USER_GET_PROTOCOL_FEATURES);
	/* From then on every message can have an answer. */
	set_protocol_features();
	tell(VHOST_USER_SET_OWNER, NULL, 0, -1);
	tell(VHOST_USER_SET_FEATURES, &vmm.features, sizeof(vmm.features), -1);
	open_back_end_channel();
	vmm_set_table(GUEST_REGIONS);
	for (i = 0; i < VMM_RINGS; i++) {
		ring_clear(i, 1u << log_size);
		vmm_start_ring(i);
	}
}
