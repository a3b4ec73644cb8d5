/* SPDX-License-Identifier: MIT */
/*
 * sandbox: what this process and the render servers that it starts may not do
 *
 * The order, in the program:
 *
 *   sandbox_init()          first of all: one thread, nothing open
 *   sandbox_privileges()    still one thread, and everything is open that takes one
 *   sandbox_start_server()  as often as a render server is needed, also later on
 *   sandbox_device()        nothing of a guest or a VMM was read yet
 *   sandbox_end()
 *
 * sandbox_init() forks the *launcher*, a process that does nothing but start render
 * servers and collect what becomes of them and of their workers.  It is confined
 * before it has started one, and what it starts inherits that.  So this process
 * needs neither fork() nor exec once it is confined itself.
 *
 *   device ---- launcher (process 1 of the servers' process ids)
 *                  \---- render server ---- worker of a context
 *                                     \---- ...
 *
 * Where the kernel has process id namespaces for us the launcher is process 1 of
 * one: with the device dies the launcher, and with that everything in there, in
 * whatever state.  Where not, the launcher ends what it finds below it.
 *
 * Process ids that are told here are those that this process sees, in its own
 * namespace; servers and workers see others.  /proc/PID of both can be read by this
 * process also once both sides are confined, never the other way round.
 *
 * Nobody who has not called sandbox_init() is confined: then the launcher is started
 * with the first server, and only starts and ends it (tests).
 *
 * Threads: one at a time, where nothing else is said.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Where a render server finds its socket: "--socket-fd 3". */
#define SANDBOX_SERVER_FD 3

/**
 * enum sandbox_mode - --sandbox
 * @SANDBOX_OFF: confine nothing
 * @SANDBOX_AUTO: as far as kernel and privileges allow
 */
enum sandbox_mode {
	SANDBOX_OFF,
	SANDBOX_AUTO,
};

/**
 * enum sandbox_who - to whom something is forbidden
 * @SANDBOX_DEVICE: this process
 * @SANDBOX_RENDER_SERVER: what the launcher starts
 */
enum sandbox_who {
	SANDBOX_DEVICE,
	SANDBOX_RENDER_SERVER,
};

/**
 * struct sandbox_server - a render server that was started
 * @pid: of it, for /proc/PID; it cannot be another one's while @process is not readable;
 *	-1: it has ended already
 * @process: pidfd, readable when it has ended; it is a child of the launcher, so there
 *	is nothing to wait() for
 * @socket: AF_UNIX, SOCK_SEQPACKET, close-on-exec; the server has the other end as
 *	SANDBOX_SERVER_FD
 *
 * The descriptors are the caller's, who has to close them.
 */
struct sandbox_server {
	pid_t pid;
	int process;
	int socket;
};

/*
 * Both 0 or a negative errno.  @servers: there will be some.  Their stderr and stdout
 * are a pipe; *@output is its other end, for log_follow(), or -1.
 */
int sandbox_init(enum sandbox_mode mode, bool servers, int *output);
/*
 * Start the program @argv[0], an absolute path, with the arguments @argv.  What was
 * started first decides what is started: later ones must be the same.  -ENOENT and the
 * like: the program cannot be run.  -EPIPE: the launcher is gone, for good.  -ETIMEDOUT:
 * it does not answer; the server that it may yet start is ended.
 *
 * The server has no other descriptors than its socket, /dev/null as stdin and the
 * pipe of sandbox_init().  Its environment is this process's of sandbox_init().
 */
int sandbox_start_server(const char *const argv[], struct sandbox_server *server);

/* Give up all privileges of this thread, and of those that it will make. */
void sandbox_privileges(void);
/* Forbid this process, all its threads, what it does not need from now on. */
void sandbox_device(void);

/* One line of what is in force for @who, and what is missing; false: there is no such. */
bool sandbox_describe(enum sandbox_who who, char *text, size_t size);

/* End the launcher and with it all servers and workers, and wait until they have ended. */
void sandbox_end(void);

#endif /* SANDBOX_H */
