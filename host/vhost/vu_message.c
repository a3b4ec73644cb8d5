// SPDX-License-Identifier: MIT
/*
 * vu_message: a vhost-user message as it arrives, and its answer
 *
 * Invariant: every descriptor that arrives is in the message's fds until a
 * handler takes it out, and vu_message_reset() closes what is still there, so
 * none leaks.  Nothing here knows a device or a ring.
 *
 * Threads: one.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/vu_message.h"

/* What the kernel passes at most in one message (SCM_MAX_FD). */
#define MAX_FDS_KERNEL 253

/**
 * vu_message_reset() - be ready for the next message
 * @msg: descriptors that are still there are closed
 */
void vu_message_reset(struct vu_message *msg)
{
	unsigned int i;

	for (i = 0; i < msg->nr_fds; i++)
		if (msg->fds[i] >= 0)
			close(msg->fds[i]);
	msg->nr_fds = 0;
	msg->surplus = false;
	msg->cut = false;
	msg->received = 0;
}

/* Keep the descriptors of a control message, close what does not fit. */
static void collect_fds(struct vu_message *msg, struct msghdr *in)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(in); cmsg; cmsg = CMSG_NXTHDR(in, cmsg)) {
		size_t i, nr = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < nr; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			if (msg->nr_fds < VU_MAX_FDS) {
				msg->fds[msg->nr_fds++] = fd;
			} else {
				close(fd);
				msg->surplus = true;
			}
		}
	}
	/* There was room for all that there can be: the kernel had no numbers for them. */
	if (in->msg_flags & MSG_CTRUNC)
		msg->cut = true;
}

/* Up to @len bytes of the message and what comes with them, as recv(). */
static ssize_t receive(struct vu_message *msg, int sock, void *to, size_t len)
{
	union {
		char buffer[CMSG_SPACE(MAX_FDS_KERNEL * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = len };
	struct msghdr in = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof(control.buffer),
	};
	ssize_t got;

	got = recvmsg(sock, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return -errno;
	collect_fds(msg, &in);
	return got;
}

/**
 * vu_message_receive() - take in what has arrived, up to the end of one message
 * @msg: reset, or partly received
 * @sock: of the front end
 * @whole: whether it is complete
 *
 * Return: why the front end has to go, or NULL.
 */
const char *vu_message_receive(struct vu_message *msg, int sock, bool *whole)
{
	const size_t head = sizeof(msg->header);
	ssize_t got;

	*whole = false;
	for (;;) {
		if (msg->received < head)
			got = receive(msg, sock, (char *)&msg->header + msg->received,
				      head - msg->received);
		else
			got = receive(msg, sock, msg->payload + (msg->received - head),
				      head + msg->header.size - msg->received);
		if (got == -EAGAIN || got == -EINTR)
			return NULL;
		if (got < 0)
			return strerror((int)-got);
		if (!got)
			return msg->received ? "hung up within a message" : "hung up";
		msg->received += got;
		if (msg->received == head) {
			if ((msg->header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
			    msg->header.flags & VHOST_USER_REPLY)
				return "not a vhost-user request";
			if (msg->header.size > VU_MAX_PAYLOAD)
				return "a message larger than any there is";
		}
		if (msg->received >= head && msg->received == head + msg->header.size)
			break;
	}
	*whole = true;
	return NULL;
}

/**
 * vu_message_take_fd() - the first descriptor of a message
 * @msg: has one
 *
 * Return: the descriptor, the caller's from now on.
 */
int vu_message_take_fd(struct vu_message *msg)
{
	int fd = msg->fds[0];

	msg->fds[0] = -1;
	return fd;
}

/**
 * vu_message_u64() - the integer that is a message's payload
 * @msg: has 8 bytes of payload at least
 *
 * Return: the integer.
 */
uint64_t vu_message_u64(const struct vu_message *msg)
{
	uint64_t value;

	memcpy(&value, msg->payload, sizeof(value));
	return value;
}

/**
 * vu_reply_u64() - answer with an integer
 * @reply: to be filled
 * @value: the integer
 */
void vu_reply_u64(struct vu_reply *reply, uint64_t value)
{
	memcpy(reply->payload, &value, sizeof(value));
	reply->size = sizeof(value);
}

/**
 * vu_message_answer() - send the answer to a message
 * @msg: what is answered
 * @sock: of the front end
 * @reply: the payload
 *
 * Return: whether all of it went out.
 */
bool vu_message_answer(const struct vu_message *msg, int sock, const struct vu_reply *reply)
{
	struct vhost_user_header header = {
		.request = msg->header.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = reply->size,
	};
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)reply->payload, .iov_len = reply->size },
	};
	struct msghdr out = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t sent;

	/*
	 * Not waiting: a front end reads an answer before it sends the next
	 * request, so a full socket is one that will never be read.
	 */
	do {
		sent = sendmsg(sock, &out, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)(sizeof(header) + reply->size);
}
