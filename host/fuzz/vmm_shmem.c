// SPDX-License-Identifier: MIT
/*
 * vmm_shmem: the front end's answers to what the device asks it for
 *
 * It maps and unmaps files in the host-visible region, here only in a list.  Judged,
 * while vmm.exact: that a request is whole and makes sense, that what is mapped does not
 * overlap, has a file that is long enough (or whoever looks there dies), and that what is
 * unmapped was mapped so.
 *
 * Threads: see vmm.h.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/device.h"
#include "fuzz/fuzz.h"
#include "fuzz/vmm.h"

#define MAX_MAPPINGS 512
#define PAGE 4096u

/**
 * struct request - as it arrives
 * @header: of it
 * @map: its payload
 * @received: bytes
 * @fd: that came with it, or -1
 * @waits: whole, and not answered
 */
static struct {
	struct {
		struct vhost_user_header header;
		uint8_t map[sizeof(struct vhost_user_mmap)];
	} message;
	size_t received;
	int fd;
	bool waits;
} request;

static struct {
	uint64_t offset;
	uint64_t len;
} mappings[MAX_MAPPINGS];
static unsigned int nr_mappings;

void shmem_begin(void)
{
	memset(&request, 0, sizeof(request));
	request.fd = -1;
	nr_mappings = 0;
}

void shmem_reset(void)
{
	nr_mappings = 0;
}

static void drop_fd(void)
{
	if (request.fd >= 0)
		close(request.fd);
	request.fd = -1;
}

void shmem_end(void)
{
	drop_fd();
}

static int find_overlap(uint64_t offset, uint64_t len)
{
	unsigned int i;

	for (i = 0; i < nr_mappings; i++)
		if (offset < mappings[i].offset + mappings[i].len &&
		    mappings[i].offset < offset + len)
			return (int)i;
	return -1;
}

static void do_map(const struct vhost_user_mmap *map)
{
	struct stat st;

	if (request.fd < 0 || fstat(request.fd, &st))
		fuzz_oracle("SHMEM: a file is to be mapped, and there is none");
	if (!map->len || map->len % PAGE || map->shm_offset % PAGE ||
	    map->shm_offset + map->len < map->len)
		fuzz_oracle("SHMEM: %llu bytes are to be mapped at %llu",
			    (unsigned long long)map->len, (unsigned long long)map->shm_offset);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < map->fd_offset + map->len)
		fuzz_oracle("SHMEM: more of a file is to be mapped than there is");
	if (find_overlap(map->shm_offset, map->len) >= 0)
		fuzz_oracle("SHMEM: something is to be mapped where something is mapped");
	if (nr_mappings == MAX_MAPPINGS)
		return;
	mappings[nr_mappings].offset = map->shm_offset;
	mappings[nr_mappings].len = map->len;
	nr_mappings++;
}

static void do_unmap(const struct vhost_user_mmap *map)
{
	int i = find_overlap(map->shm_offset, map->len);

	if (i < 0 || mappings[i].offset != map->shm_offset || mappings[i].len != map->len)
		fuzz_oracle("SHMEM: what is to be unmapped was not mapped so");
	mappings[i] = mappings[--nr_mappings];
}

/* In the right way; whether it is done is for the device to know from the answer. */
static void answer(uint64_t refused)
{
	struct {
		struct vhost_user_header header;
		uint32_t value[2];
	} reply = { .header = {
			    .request = request.message.header.request,
			    .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
			    .size = sizeof(reply.value),
		    } };
	struct vhost_user_mmap map;

	memcpy(&map, request.message.map, sizeof(map));
	if (vmm.exact && !refused) {
		if (reply.header.request == VHOST_USER_BACKEND_SHMEM_MAP)
			do_map(&map);
		else
			do_unmap(&map);
	}
	reply.value[0] = (uint32_t)refused;
	drop_fd();
	request.received = 0;
	request.waits = false;
	if (send(vmm.back, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/* In one of the ways that there must not be. */
static void answer_wrong(void)
{
	struct vhost_user_header reply = request.message.header;
	size_t len = sizeof(reply);

	vmm_do_wrong();
	drop_fd();
	request.received = 0;
	request.waits = false;
	switch (vmm.manner) {
	case MANNER_WRONG:
		reply.request++;
		break;
	case MANNER_SHORT:
		len /= 2;
		break;
	default:
		close(vmm.back);
		vmm.back = -1;
		return;
	}
	if (send(vmm.back, &reply, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

void shmem_answer_now(void)
{
	if (vmm.back >= 0 && request.waits)
		answer(0);
}

static void take_fds(struct msghdr *in)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(in);

	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return;
	drop_fd();
	memcpy(&request.fd, CMSG_DATA(cmsg), sizeof(request.fd));
}

/* Of what the request lacks; false: nothing came. */
static bool receive(void)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	size_t want = sizeof(request.message.header);
	struct iovec iov = { .iov_base = (uint8_t *)&request.message + request.received };
	struct msghdr in = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer),
	};
	ssize_t got;

	/* As QEMU: first the header, then what it says. */
	if (request.received >= want)
		want += request.message.header.size;
	if (want > sizeof(request.message))
		fuzz_oracle("SHMEM: a request of %u bytes", request.message.header.size);
	iov.iov_len = want - request.received;
	got = iov.iov_len ? recvmsg(vmm.back, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) : 0;
	if (got <= 0)
		return false;
	take_fds(&in);
	request.received += (size_t)got;
	return true;
}

static bool is_whole(void)
{
	return request.received >= sizeof(request.message.header) &&
	       request.received == sizeof(request.message.header) + request.message.header.size;
}

void shmem_look(void)
{
	uint32_t what;

	if (vmm.back < 0 || vmm.manner == MANNER_DEAF)
		return;
	while (!request.waits && receive())
		if (is_whole())
			request.waits = true;
	if (!request.waits)
		return;
	what = request.message.header.request;
	if (what != VHOST_USER_BACKEND_SHMEM_MAP && what != VHOST_USER_BACKEND_SHMEM_UNMAP) {
		/* One that was taken back: passed over. */
		drop_fd();
		request.received = 0;
		request.waits = false;
		return;
	}
	if (vmm.manner == MANNER_RIGHT || vmm.manner == MANNER_REFUSE)
		answer(vmm.manner == MANNER_REFUSE);
	else if (vmm.manner >= MANNER_WRONG)
		answer_wrong();
}
