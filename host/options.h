/* SPDX-License-Identifier: MIT */
/*
 * options: the command line
 *
 * Threads: the main one, before there are others.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>

#include "gpu/gpu_device.h"
#include "util/sandbox.h"
#include "vhost/vhost_user.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_RUNTIME = 1,
	EXIT_USAGE = 2,
};

/**
 * struct options - the command line
 * @socket: path, or NULL
 * @access: who may connect there
 * @fd: inherited socket, or -1
 * @reset_timeout: seconds
 * @host_visible: --host-visible was given
 * @sandbox: what to confine
 * @gpu: for the device
 */
struct options {
	const char *socket;
	struct vhost_user_access access;
	int fd;
	unsigned int reset_timeout;
	bool host_visible;
	enum sandbox_mode sandbox;
	struct gpu_config gpu;
};

/*
 * Fill @options from the command line.  Returns whether to go on; if not, what is to
 * be said has been said, and *@status is for exit().
 */
bool options_parse(struct options *options, int argc, char **argv, int *status);

#endif /* OPTIONS_H */
