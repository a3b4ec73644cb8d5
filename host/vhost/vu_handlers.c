// SPDX-License-Identifier: MIT
/*
 * vu_handlers: which handler a message has, and the simple ones
 *
 * Threads: the one of the server.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "vhost/vu_internal.h"

/* Payload of any size: the handler checks. */
#define SIZE_VARIES UINT32_MAX

#define PROTOCOL_FEATURES                                                             \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |       \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) | \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) | BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE))

/*
 * With a host-visible region.  A front end counts what is mapped in it as memory
 * of the guest, and has no room for more than 8 regions if they cannot be named
 * one by one.
 */
#define SHMEM_PROTOCOL_FEATURES \
	(BIT(VHOST_USER_PROTOCOL_F_SHMEM) | BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

static uint64_t offered_features(const struct vhost_user_server *server)
{
	return server->ops->features(server->dev) | VU_TRANSPORT_FEATURES;
}

static int get_features(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply)
{
	(void)msg;
	vu_reply_u64(reply, offered_features(server));
	return 0;
}

static int set_features(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply)
{
	uint64_t features = vu_message_u64(msg);

	(void)reply;
	if (features & ~offered_features(server))
		return -EINVAL;
	if (server->active && features != server->features)
		return -EBUSY;
	server->features = features;
	server->ops->set_features(server->dev, features & ~VU_TRANSPORT_FEATURES);
	vu_update_activity(server);
	return 0;
}

static bool has_shared_memory(const struct vhost_user_server *server)
{
	unsigned int id;

	for (id = 0; id < VHOST_USER_MAX_SHMEM_REGIONS; id++)
		if (server->ops->shmem_bytes(server->dev, id))
			return true;
	return false;
}

static uint64_t offered_protocol_features(const struct vhost_user_server *server)
{
	return PROTOCOL_FEATURES | (has_shared_memory(server) ? SHMEM_PROTOCOL_FEATURES : 0);
}

static int get_protocol_features(struct vhost_user_server *server, struct vu_message *msg,
				 struct vu_reply *reply)
{
	(void)msg;
	vu_reply_u64(reply, offered_protocol_features(server));
	return 0;
}

static int set_protocol_features(struct vhost_user_server *server, struct vu_message *msg,
				 struct vu_reply *reply)
{
	uint64_t features = vu_message_u64(msg);

	(void)reply;
	if (features & ~offered_protocol_features(server))
		return -EINVAL;
	server->protocol_features = features;
	return 0;
}

static int get_queue_num(struct vhost_user_server *server, struct vu_message *msg,
			 struct vu_reply *reply)
{
	(void)server;
	(void)msg;
	vu_reply_u64(reply, VHOST_USER_NR_RINGS);
	return 0;
}

static int set_owner(struct vhost_user_server *server, struct vu_message *msg,
		     struct vu_reply *reply)
{
	/* There is one front end at a time, and it is the owner. */
	(void)server;
	(void)msg;
	(void)reply;
	return 0;
}

/* RESET_OWNER, which old front ends send for it, and RESET_DEVICE. */
static int reset_device(struct vhost_user_server *server, struct vu_message *msg,
			struct vu_reply *reply)
{
	unsigned int i;

	(void)msg;
	(void)reply;
	for (i = 0; i < VHOST_USER_NR_RINGS; i++) {
		vu_ring_stop(&server->rings[i]);
		server->rings[i].enabled = false;
	}
	/* Also what came in by configuration writes, with no ring running. */
	vu_begin_reset(server);
	return 0;
}

/* The header of a configuration message whose range makes sense. */
static int config_header(const struct vu_message *msg, struct vhost_user_config *config)
{
	if (msg->header.size < sizeof(*config))
		return -EINVAL;
	memcpy(config, msg->payload, sizeof(*config));
	if (config->size > VHOST_USER_MAX_CONFIG_SIZE ||
	    config->offset > VHOST_USER_MAX_CONFIG_SIZE - config->size ||
	    msg->header.size != sizeof(*config) + config->size)
		return -EINVAL;
	return 0;
}

static int get_config(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	struct vhost_user_config config;

	/* An answer without payload is how this message fails. */
	if (config_header(msg, &config))
		return 0;
	memcpy(reply->payload, &config, sizeof(config));
	server->ops->read_config(server->dev, config.offset, reply->payload + sizeof(config),
				 config.size);
	reply->size = sizeof(config) + config.size;
	return 0;
}

static int set_config(struct vhost_user_server *server, struct vu_message *msg,
		      struct vu_reply *reply)
{
	struct vhost_user_config config;
	int err = config_header(msg, &config);

	(void)reply;
	if (err)
		return err;
	server->ops->write_config(server->dev, config.offset, msg->payload + sizeof(config),
				  config.size);
	return 0;
}

static const struct vu_handler handlers[] = {
	[VHOST_USER_GET_FEATURES] = { "GET_FEATURES", 0, 0, true, get_features },
	[VHOST_USER_SET_FEATURES] = { "SET_FEATURES", 8, 0, false, set_features },
	[VHOST_USER_SET_OWNER] = { "SET_OWNER", 0, 0, false, set_owner },
	[VHOST_USER_RESET_OWNER] = { "RESET_OWNER", 0, 0, false, reset_device },
	[VHOST_USER_SET_MEM_TABLE] = { "SET_MEM_TABLE", SIZE_VARIES, VU_MAX_FDS, false,
				       vu_set_mem_table },
	[VHOST_USER_SET_VRING_NUM] = { "SET_VRING_NUM", sizeof(struct vhost_user_vring_state), 0,
				       false, vu_set_vring_num },
	[VHOST_USER_SET_VRING_ADDR] = { "SET_VRING_ADDR", sizeof(struct vhost_user_vring_addr), 0,
					false, vu_set_vring_addr },
	[VHOST_USER_SET_VRING_BASE] = { "SET_VRING_BASE", sizeof(struct vhost_user_vring_state), 0,
					false, vu_set_vring_base },
	[VHOST_USER_GET_VRING_BASE] = { "GET_VRING_BASE", sizeof(struct vhost_user_vring_state), 0,
					true, vu_get_vring_base },
	[VHOST_USER_SET_VRING_KICK] = { "SET_VRING_KICK", 8, 1, false, vu_set_vring_kick },
	[VHOST_USER_SET_VRING_CALL] = { "SET_VRING_CALL", 8, 1, false, vu_set_vring_call },
	[VHOST_USER_SET_VRING_ERR] = { "SET_VRING_ERR", 8, 1, false, vu_set_vring_err },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0, 0, true,
					       get_protocol_features },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", 8, 0, false,
					       set_protocol_features },
	[VHOST_USER_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", 0, 0, true, get_queue_num },
	[VHOST_USER_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", sizeof(struct vhost_user_vring_state),
					  0, false, vu_set_vring_enable },
	[VHOST_USER_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", 0, 1, false,
					    vu_set_backend_req_fd },
	[VHOST_USER_GET_CONFIG] = { "GET_CONFIG", SIZE_VARIES, 0, true, get_config },
	[VHOST_USER_SET_CONFIG] = { "SET_CONFIG", SIZE_VARIES, 0, false, set_config },
	[VHOST_USER_RESET_DEVICE] = { "RESET_DEVICE", 0, 0, false, reset_device },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", 0, 0, true, vu_get_max_mem_slots },
	[VHOST_USER_ADD_MEM_REG] = { "ADD_MEM_REG", sizeof(struct vhost_user_single_region), 1,
				     false, vu_add_mem_reg },
	[VHOST_USER_REM_MEM_REG] = { "REM_MEM_REG", sizeof(struct vhost_user_single_region), 1,
				     false, vu_rem_mem_reg },
	[VHOST_USER_GET_SHMEM_CONFIG] = { "GET_SHMEM_CONFIG", 0, 0, true, vu_get_shmem_config },
};

static const struct vu_handler *find_handler(uint32_t request)
{
	if (request >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[request].handle)
		return NULL;
	return &handlers[request];
}

static int run_handler(struct vhost_user_server *server, struct vu_message *msg,
		       const struct vu_handler *handler, struct vu_reply *reply)
{
	if (!handler)
		return -EOPNOTSUPP;
	if (msg->cut)
		return -EMFILE;
	if (msg->surplus || msg->nr_fds > handler->max_fds ||
	    (handler->size != SIZE_VARIES && msg->header.size != handler->size))
		return -EINVAL;
	return handler->handle(server, msg, reply);
}

/*
 * The message was carried out, or not.  Returns why the front end has to go, or NULL:
 * when it asked for something that it cannot be told the failure of otherwise.  What
 * is the guest's fault it need not be told of.
 */
static const char *answer(struct vhost_user_server *server, struct vu_reply *reply, int err)
{
	const struct vu_message *msg = &server->msg;
	const struct vu_handler *handler = find_handler(msg->header.request);
	bool sent = true;

	if (handler && handler->replies) {
		if (err)
			return "no answer to give";
		sent = vu_message_answer(msg, server->conn_fd, reply);
	} else if (msg->header.flags & VHOST_USER_NEED_REPLY &&
		   server->protocol_features & BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
		vu_reply_u64(reply, err ? 1 : 0);
		sent = vu_message_answer(msg, server->conn_fd, reply);
	} else if (err < 0 && handler) {
		return "refused a message that asked for no answer";
	}
	return sent ? NULL : "it does not read our answers";
}

/**
 * vu_handle_message() - carry out a whole message
 * @server: of whose msg
 *
 * Return: why the front end has to go, or NULL.
 */
const char *vu_handle_message(struct vhost_user_server *server)
{
	struct vu_message *msg = &server->msg;
	const struct vu_handler *handler = find_handler(msg->header.request);
	int err;

	server->stats.messages++;
	server->operation = handler ? handler->name : "an unknown message";
	log_event("message %u %s: %u bytes, %u descriptors", msg->header.request,
		  handler ? handler->name : "(unknown)", msg->header.size, msg->nr_fds);
	server->reply.size = 0;
	err = run_handler(server, msg, handler, &server->reply);
	if (err) {
		server->stats.message_errors++;
		/* ring_refuse() has said it, once, of what a guest can do again and again. */
		(err < 0 ? log_error : log_event)("message %u %s refused: %s", msg->header.request,
						  handler ? handler->name : "(unknown)",
						  msg->cut ? "too many open files (ulimit -n)" :
							     strerror(abs(err)));
	}
	if (server->resetting) {
		/* Only a message that is carried out makes the device be reset. */
		server->deferred = true;
		vu_watch_for(server, server->conn_fd, SOURCE_CONNECTION, 0);
		return NULL;
	}
	return answer(server, &server->reply, err);
}

/**
 * vu_finish_message() - the device has been reset
 * @server: has a message that waited for that
 *
 * Return: why the front end has to go, or NULL.
 */
const char *vu_finish_message(struct vhost_user_server *server)
{
	const char *why = answer(server, &server->reply, 0);

	server->deferred = false;
	vu_message_reset(&server->msg);
	vu_watch_for(server, server->conn_fd, SOURCE_CONNECTION, EPOLLIN);
	return why;
}
