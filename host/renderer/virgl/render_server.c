// SPDX-License-Identifier: MIT
/*
 * render_server: see render_server.h
 */
#include "renderer/virgl/render_server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/log.h"
#include "util/process.h"

#define DEFAULT_PATH "/usr/libexec/virgl_render_server"
#define REPORT_MS 5000

#define TEXT_OF(number) #number
#define TEXT(macro) TEXT_OF(macro)

/**
 * render_server_path() - where the program is
 *
 * Return: its path, which is always the same.
 */
const char *render_server_path(void)
{
	const char *path = getenv("RENDER_SERVER_EXEC_PATH");

	return path ? path : DEFAULT_PATH;
}

/**
 * render_server_start() - start one
 * @server: set to it
 *
 * Return: 0 or a negative errno.
 */
int render_server_start(struct sandbox_server *server)
{
	const char *const argv[] = { render_server_path(), "--socket-fd", TEXT(SANDBOX_SERVER_FD),
				     NULL };
	int err = sandbox_start_server(argv, server);

	if (err)
		return err;
	if (server->pid > 0)
		return 0;
	/* Who ends at once has said why. */
	close(server->process);
	close(server->socket);
	return -ECHILD;
}

/**
 * render_server_end() - end it
 * @server: has no descriptor of its process then
 */
void render_server_end(struct sandbox_server *server)
{
	struct pollfd pollfd = { .fd = server->process, .events = POLLIN };

	process_kill(server->process);
	while (poll(&pollfd, 1, REPORT_MS) != 1)
		log_error("the render server (process %d) does not end", (int)server->pid);
	close(server->process);
	server->process = -1;
}
