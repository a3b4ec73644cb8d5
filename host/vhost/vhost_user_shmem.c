// SPDX-License-Identifier: MIT
/*
 * vhost_user_shmem: our own requests to the front end, to map shared memory
 *
 * See vhost_user_shmem.h.  Invariant: what the front end sends is believed only
 * as far as it is the answer to the pending request, byte for byte of the size
 * that one has.
 *
 * Threads: the one of the server.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "vhost/vhost_user_shmem.h"

/* While the first byte is on its way; then less and less often. */
#define FIRST_WAIT_US 50
#define LAST_WAIT_US 2000
/* Makes of a request's number one that stands for nothing, and begins with the same byte. */
#define UNKNOWN_REQUEST 0x10000u

/**
 * shmem_channel_init() - a channel that is closed
 * @channel: to be initialized
 */
void shmem_channel_init(struct shmem_channel *channel)
{
	memset(channel, 0, sizeof(*channel));
	channel->fd = -1;
}

/**
 * shmem_channel_open() - use a socket
 * @channel: is closed
 * @fd: of the front end
 *
 * Return: see the header.
 */
int shmem_channel_open(struct shmem_channel *channel, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	channel->fd = fd;
	channel->pending = 0;
	channel->announced = false;
	channel->received = 0;
	return 0;
}

/**
 * shmem_channel_close() - the end of the socket
 * @channel: may be closed
 *
 * Return: see the header.
 */
bool shmem_channel_close(struct shmem_channel *channel)
{
	bool pending = channel->pending;

	if (channel->fd >= 0)
		close(channel->fd);
	channel->fd = -1;
	channel->pending = 0;
	channel->announced = false;
	channel->received = 0;
	return pending;
}

/**
 * shmem_channel_forget() - the end of a front end
 * @channel: is closed
 */
void shmem_channel_forget(struct shmem_channel *channel)
{
	channel->nr_files = 0;
}

bool shmem_channel_passed(const struct shmem_channel *channel, int fd)
{
	size_t i, nr = channel->nr_files < SHMEM_FILES ? channel->nr_files : SHMEM_FILES;
	struct stat st;

	if (!nr || fstat(fd, &st))
		return false;
	for (i = 0; i < nr; i++)
		if (channel->files[i].dev == st.st_dev && channel->files[i].ino == st.st_ino)
			return true;
	return false;
}

static int remember(struct shmem_channel *channel, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!shmem_channel_passed(channel, fd))
		channel->files[channel->nr_files++ % SHMEM_FILES] =
			(struct shmem_file){ .dev = st.st_dev, .ino = st.st_ino };
	return 0;
}

/* The whole message or nothing, without waiting. */
static int send_with_fd(int sock, const void *data, size_t len, int fd)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .buffer = { 0 } };
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr out = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t sent;

	if (fd >= 0) {
		out.msg_control = control.buffer;
		out.msg_controllen = sizeof(control.buffer);
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	do {
		sent = sendmsg(sock, &out, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	if ((size_t)sent == len)
		return 0;
	/* What comes next would be taken for the rest: there must be nothing next. */
	shutdown(sock, SHUT_RDWR);
	return -EIO;
}

/**
 * shmem_channel_request() - ask for a mapping, or for its end
 * @channel: has no request pending
 * @request: enum vhost_user_backend_request
 * @range: of the region
 * @fd: of the file, or -1
 *
 * Return: see the header.
 */
int shmem_channel_request(struct shmem_channel *channel, uint32_t request,
			  const struct vhost_shmem_range *range, int fd)
{
	struct vhost_user_mmap map = {
		.shmid = range->id,
		.fd_offset = range->fd_offset,
		.shm_offset = range->offset,
		.len = range->size,
		.flags = fd >= 0 ? VHOST_USER_MAP_RW : 0,
	};
	int err;

	if (channel->fd < 0)
		return -EOPNOTSUPP;
	if (channel->pending)
		return -EBUSY;
	if (fd >= 0) {
		err = remember(channel, fd);
		if (err)
			return err;
	}
	channel->message.header = (struct vhost_user_header){
		.request = request,
		.flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY,
		.size = sizeof(map),
	};
	memcpy(channel->message.payload, &map, sizeof(map));
	err = send_with_fd(channel->fd, &channel->message, 1, fd);
	if (err)
		return err;
	channel->pending = request;
	channel->announced = true;
	channel->wait_us = FIRST_WAIT_US;
	return 0;
}

/* All but the first byte; if it cannot be sent the socket is shut down. */
static void send_rest(struct shmem_channel *channel, size_t len)
{
	channel->announced = false;
	if (send_with_fd(channel->fd, (const char *)&channel->message + 1, len - 1, -1))
		shutdown(channel->fd, SHUT_RDWR);
}

/* Whether the front end has read all that was sent. */
static bool was_read(const struct shmem_channel *channel)
{
	int unread;

	return !ioctl(channel->fd, SIOCOUTQ, &unread) && !unread;
}

/**
 * shmem_channel_push() - send the rest of a request
 * @channel: the channel
 *
 * Return: see the header.
 */
unsigned int shmem_channel_push(struct shmem_channel *channel)
{
	if (!channel->announced)
		return 0;
	if (was_read(channel)) {
		send_rest(channel, sizeof(channel->message));
		return 0;
	}
	channel->wait_us = channel->wait_us * 3 / 2;
	if (channel->wait_us > LAST_WAIT_US)
		channel->wait_us = LAST_WAIT_US;
	return channel->wait_us;
}

/**
 * shmem_channel_withdraw() - take back a request
 * @channel: the channel
 *
 * Return: see the header.
 */
bool shmem_channel_withdraw(struct shmem_channel *channel)
{
	struct vhost_user_header *header = &channel->message.header;

	if (!channel->announced)
		return false;
	if (was_read(channel)) {
		send_rest(channel, sizeof(channel->message));
		return false;
	}
	header->request |= UNKNOWN_REQUEST;
	header->flags &= ~VHOST_USER_NEED_REPLY;
	header->size = 0;
	send_rest(channel, sizeof(*header));
	channel->pending = 0;
	return true;
}

/**
 * shmem_channel_receive() - what the front end has sent
 * @channel: the channel
 * @refused: of the pending request
 *
 * Return: see the header.
 */
enum shmem_event shmem_channel_receive(struct shmem_channel *channel, bool *refused)
{
	const struct vhost_user_header *header = &channel->ack.header;
	const uint32_t flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	ssize_t got;

	if (channel->fd < 0)
		return SHMEM_NOTHING;
	do {
		got = recv(channel->fd, (unsigned char *)&channel->ack + channel->received,
			   sizeof(channel->ack) - channel->received, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? SHMEM_NOTHING : SHMEM_CLOSED;
	if (!got)
		return SHMEM_CLOSED;
	channel->received += (size_t)got;
	if (!channel->pending)
		return SHMEM_VIOLATION;
	if (channel->received >= sizeof(*header) &&
	    (header->request != channel->pending ||
	     (header->flags & ~VHOST_USER_NEED_REPLY) != flags ||
	     header->size != sizeof(channel->ack.value)))
		return SHMEM_VIOLATION;
	if (channel->received < sizeof(channel->ack))
		return SHMEM_NOTHING;
	*refused = memcmp(channel->ack.value, (const unsigned char[8]){ 0 }, 8);
	channel->pending = 0;
	channel->announced = false;
	channel->received = 0;
	return SHMEM_ANSWER;
}
