/* SPDX-License-Identifier: MIT */
/*
 * render_server: the process that makes the workers of Venus contexts
 *
 * virgl_render_server comes with libvirglrenderer, which would start it by itself.
 * This process does it instead, through the sandbox's launcher: so it is confined,
 * and who it is and what connects us is known, and not found.
 *
 * What is true of its end: it is killed with the launcher, and that with this
 * process.  Its workers get no signal when it dies - what asks for one does not
 * outlive fork() - but nobody in the launcher's process id namespace outlives the
 * launcher; where there is no such namespace the launcher ends them, unless it is
 * killed itself in the same moment.
 *
 * Threads: one.
 */
#ifndef RENDER_SERVER_H
#define RENDER_SERVER_H

#include "util/sandbox.h"

/* Where it is: what RENDER_SERVER_EXEC_PATH says, as to the library, or the usual place. */
const char *render_server_path(void);
/* 0 or a negative errno. */
int render_server_start(struct sandbox_server *server);
/* Kill it and wait until it has ended.  @server->socket is not closed. */
void render_server_end(struct sandbox_server *server);

#endif /* RENDER_SERVER_H */
