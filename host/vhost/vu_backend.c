// SPDX-License-Identifier: MIT
/*
 * vu_backend: our own requests to the front end, between channel and device
 *
 * Invariant: the device hears of each request exactly once, also when the channel
 * or the front end goes.
 *
 * Threads: the one of the server.
 */
#include <sys/timerfd.h>

#include "vhost/vu_internal.h"

/* All that mapping something there needs. */
#define SHMEM_NEEDS                                                                  \
	(BIT(VHOST_USER_PROTOCOL_F_SHMEM) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK))

/**
 * vu_backend_close() - the way of our own requests is gone
 * @server: the server
 */
void vu_backend_close(struct vhost_user_server *server)
{
	if (server->backend.fd < 0)
		return;
	vu_unwatch(server, server->backend.fd);
	if (shmem_channel_close(&server->backend))
		server->ops->shmem_done(server->dev, -EPIPE);
}

/**
 * vu_backend_read() - what has come back
 * @server: the server
 *
 * Return: why the front end has to go, or NULL.
 */
const char *vu_backend_read(struct vhost_user_server *server)
{
	bool refused = false;

	for (;;) {
		switch (shmem_channel_receive(&server->backend, &refused)) {
		case SHMEM_NOTHING:
			return NULL;
		case SHMEM_ANSWER:
			server->ops->shmem_done(server->dev, refused ? -EIO : 0);
			break;
		case SHMEM_CLOSED:
			log_error("the VMM has closed the back-end channel");
			vu_backend_close(server);
			return NULL;
		case SHMEM_VIOLATION:
			return "no answer to what we asked for";
		}
	}
}

static void set_backend_timer(struct vhost_user_server *server, unsigned int us)
{
	struct itimerspec when = { .it_value = { .tv_nsec = us * 1000l } };

	timerfd_settime(server->backend_timer, 0, &when, NULL);
}

/**
 * vu_backend_push() - send the rest of a request, if it is the time
 * @server: the server
 */
void vu_backend_push(struct vhost_user_server *server)
{
	uint64_t ticks;

	(void)!read(server->backend_timer, &ticks, sizeof(ticks));
	set_backend_timer(server, shmem_channel_push(&server->backend));
}

/**
 * vu_set_backend_req_fd() - SET_BACKEND_REQ_FD: the channel
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_set_backend_req_fd(struct vhost_user_server *server, struct vu_message *msg,
			  struct vu_reply *reply)
{
	int err;

	(void)reply;
	if (msg->nr_fds != 1)
		return -EINVAL;
	vu_backend_close(server);
	err = vu_watch(server, msg->fds[0], SOURCE_BACKEND);
	if (err)
		return err;
	err = shmem_channel_open(&server->backend, msg->fds[0]);
	if (err)
		vu_unwatch(server, msg->fds[0]);
	else
		(void)vu_message_take_fd(msg);
	return err;
}

/**
 * vu_get_shmem_config() - GET_SHMEM_CONFIG: the regions
 * @server: the server
 * @msg: the message
 * @reply: its answer
 *
 * Return: see struct vu_handler.
 */
int vu_get_shmem_config(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply)
{
	struct vhost_user_shmem_config config = { .nr = 0 };

	unsigned int id;

	(void)msg;
	for (id = 0; id < VHOST_USER_MAX_SHMEM_REGIONS; id++) {
		config.sizes[id] = server->ops->shmem_bytes(server->dev, id);
		config.nr += config.sizes[id] != 0;
	}
	memcpy(reply->payload, &config, sizeof(config));
	reply->size = sizeof(config);
	return 0;
}

static void shmem_request(struct vhost_user_server *server, uint32_t request,
			  const struct vhost_shmem_range *range, int fd)
{
	int err = -EOPNOTSUPP;

	if (server->resetting)
		err = -ECANCELED;
	else if ((server->protocol_features & SHMEM_NEEDS) == SHMEM_NEEDS)
		err = shmem_channel_request(&server->backend, request, range, fd);
	if (!err)
		set_backend_timer(server, server->backend.wait_us);
	log_event("%s %#llx bytes at %#llx: %s",
		  request == VHOST_USER_BACKEND_SHMEM_MAP ? "map" : "unmap",
		  (unsigned long long)range->size, (unsigned long long)range->offset,
		  err ? strerror(-err) : "asked for");
	if (err)
		server->ops->shmem_done(server->dev, err);
}

/**
 * vu_shmem_map() - see struct vhost_backend_host
 * @opaque: the server
 * @range: of a region
 * @fd: what to map
 */
void vu_shmem_map(void *opaque, const struct vhost_shmem_range *range, int fd)
{
	shmem_request(opaque, VHOST_USER_BACKEND_SHMEM_MAP, range, fd);
}

/**
 * vu_shmem_unmap() - see struct vhost_backend_host
 * @opaque: the server
 * @range: of a region
 */
void vu_shmem_unmap(void *opaque, const struct vhost_shmem_range *range)
{
	shmem_request(opaque, VHOST_USER_BACKEND_SHMEM_UNMAP, range, -1);
}
