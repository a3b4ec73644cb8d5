/* SPDX-License-Identifier: MIT */
/*
 * vhost_user: the vhost-user back end between a VMM and a device
 *
 * One server serves one front end (VMM) at a time, any number one after the
 * other.  It owns the socket, the rings and the descriptors of the front end;
 * guest memory and device are its caller's.
 *
 * The device is reset when the last ring that could carry requests stops,
 * whichever way: GET_VRING_BASE, SET_VRING_ENABLE 0, RESET_OWNER,
 * RESET_DEVICE, or a front end that hangs up.  Front ends send nothing else
 * when the guest's driver resets its device.
 *
 * Neither front end nor server ever wait for the device (see vhost/backend.h): the
 * answer to such a message is sent when the device has been reset, and everything
 * else goes on meanwhile.
 *
 * Threads: all calls from one thread.
 */
#ifndef VHOST_USER_H
#define VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "vhost/backend.h"

struct guest_memory;
struct vhost_user_server;

/* Queues of the device. */
#define VHOST_USER_NR_RINGS 2

/**
 * struct vhost_user_access - who may connect to a socket
 * @mode: of its file; -1: 0660 with a group, else what the umask says
 * @group: of its file; -1: that of this process
 */
struct vhost_user_access {
	int mode;
	gid_t group;
};

/*
 * @reset_timeout_ms: how long a front end waits for a reset of the device; then it is
 * hung up on.  0: for ever.
 */
struct vhost_user_server *vhost_user_server_new(struct guest_memory *gm,
						unsigned int reset_timeout_ms);
/* The device to serve, before anything else.  0 or a negative errno. */
int vhost_user_server_attach(struct vhost_user_server *server, const struct vhost_backend_ops *ops,
			     void *dev);
/* Hang up, and begin to reset the device if a front end used it. */
void vhost_user_server_close(struct vhost_user_server *server);
/*
 * Wait for a reset of the device that has begun, for @timeout_ms at most.  false: it
 * has not ended.  After vhost_user_server_close() true means that the device is done
 * with everything that it was given.
 */
bool vhost_user_server_wait_reset(struct vhost_user_server *server, unsigned int timeout_ms);
/* Closed; the device may be gone. */
void vhost_user_server_free(struct vhost_user_server *server);

/*
 * Listen at @path, replacing a socket that nobody listens at.  0 or a negative
 * errno: -EADDRINUSE if somebody does, -EEXIST if something else is there,
 * -ENAMETOOLONG.
 */
int vhost_user_server_listen(struct vhost_user_server *server, const char *path,
			     const struct vhost_user_access *access);
/*
 * Use @fd, a listening or a connected stream socket of the UNIX family; owned
 * by the server if 0 is returned, else -EINVAL or another negative errno.
 */
int vhost_user_server_adopt(struct vhost_user_server *server, int fd);

/* Readable when vhost_user_server_step() has something to do. */
int vhost_user_server_fd(const struct vhost_user_server *server);
/*
 * Handle one event, waiting at most @timeout_ms (-1: for ever) for it.  1, 0 if
 * there was none, or a negative errno if the server cannot go on.
 */
int vhost_user_server_step(struct vhost_user_server *server, int timeout_ms);
/*
 * There was a connected socket, it is gone, and no other one can come.  The device
 * has been reset, or takes longer than the front end would have waited.
 */
bool vhost_user_server_finished(const struct vhost_user_server *server);
bool vhost_user_server_connected(const struct vhost_user_server *server);

/* "name: value" lines on what crossed socket and rings. */
void vhost_user_server_print_stats(const struct vhost_user_server *server, FILE *to);

#endif /* VHOST_USER_H */
