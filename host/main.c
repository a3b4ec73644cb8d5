// SPDX-License-Identifier: MIT
/*
 * main: start, signals and the event loop of the device program
 *
 * Invariants: signals are blocked and arrive through a signalfd, so that no
 * code runs in a handler, and every exit passes the same clean-up.  No thread is
 * made before sandbox_privileges(), and nothing of a guest or a VMM is read before
 * sandbox_device().
 *
 * Threads: this one serves the VMM and never waits for the device, which has one of
 * its own.  Renderers and the log make more; all inherit the blocked signals.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "gpu/gpu_thread.h"
#include "memory/bus_fault.h"
#include "memory/guest_memory.h"
#include "options.h"
#include "util/log.h"
#include "util/sandbox.h"
#include "vhost/vhost_user.h"

/* How long the end waits for the device. */
#define END_MS 5000

/* Blobs and dma-bufs are descriptors, and a guest has thousands of them. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int make_signalfd(void)
{
	sigset_t set;

	/* A VMM that goes away while we notify it is not a reason to die. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* By way of memory: nobody may be reading stdout. */
static void print_stats(const struct vhost_user_server *server, struct gpu_thread *dev)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	if (!to) {
		log_error("statistics: %s", strerror(errno));
		return;
	}
	vhost_user_server_print_stats(server, to);
	gpu_thread_print_stats(dev, to);
	if (!fclose(to))
		log_output(text, len);
	free(text);
}

/* Returns whether the program is to end. */
static bool handle_signal(int fd, const struct vhost_user_server *server, struct gpu_thread *dev)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return false;
	log_event("signal %u", info.ssi_signo);
	if (info.ssi_signo != SIGUSR1)
		return true;
	print_stats(server, dev);
	return false;
}

static int event_loop(struct vhost_user_server *server, struct gpu_thread *dev, int signal_fd)
{
	struct pollfd fds[2] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = vhost_user_server_fd(server), .events = POLLIN },
	};
	int err;

	while (!vhost_user_server_finished(server)) {
		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			log_error("poll: %s", strerror(errno));
			return EXIT_RUNTIME;
		}
		if (fds[0].revents && handle_signal(signal_fd, server, dev))
			return EXIT_OK;
		if (!fds[1].revents)
			continue;
		err = vhost_user_server_step(server, 0);
		if (err < 0) {
			log_error("event loop: %s", strerror(-err));
			return EXIT_RUNTIME;
		}
	}
	return EXIT_OK;
}

static int listen_at(struct vhost_user_server *server, const struct options *options)
{
	int err = vhost_user_server_listen(server, options->socket, &options->access);

	if (err == -EADDRINUSE)
		log_error("--socket '%s': another program listens there", options->socket);
	else if (err == -EEXIST)
		log_error("--socket '%s': exists and is not a socket", options->socket);
	else if (err)
		log_error("--socket '%s': %s", options->socket, strerror(-err));
	return err;
}

static int adopt(struct vhost_user_server *server, const struct options *options)
{
	int err = vhost_user_server_adopt(server, options->fd);

	if (err == -EINVAL)
		log_error("--fd '%d': not a UNIX stream socket", options->fd);
	else if (err)
		log_error("--fd '%d': %s", options->fd, strerror(-err));
	return err;
}

/*
 * Everything ends, or, if the device is at something that does not end, the process:
 * what it started ends with it.
 */
static void end(struct vhost_user_server *server, struct gpu_thread *dev, bool served, int status)
{
	/* One that has begun is to be over in the statistics. */
	bool over = vhost_user_server_wait_reset(server, END_MS);

	if (served)
		print_stats(server, dev);
	vhost_user_server_close(server);
	if (over && vhost_user_server_wait_reset(server, END_MS) && gpu_thread_free(dev, END_MS))
		return;
	log_error("ended without waiting for the device any longer");
	log_flush();
	_exit(status);
}

/* Privileges belong to threads: from here on there may be more than one. */
static void give_up_privileges(int output)
{
	sandbox_privileges();
	log_start();
	if (output >= 0 && log_follow(output, "render server"))
		close(output);
}

static void confine(const struct options *options)
{
	char text[480];

	sandbox_device();
	if (sandbox_describe(SANDBOX_DEVICE, text, sizeof(text)))
		log_notice("sandbox: %s", text);
	if (sandbox_describe(SANDBOX_RENDER_SERVER, text, sizeof(text)))
		log_notice("sandbox: %s", text);
	if (options->socket)
		log_event("listening at %s", options->socket);
}

/* With a server that has a socket, if that took a privilege. */
static int run(struct vhost_user_server *server, struct guest_memory *gm,
	       const struct options *options, int signal_fd)
{
	struct gpu_thread *dev = gpu_thread_new(&options->gpu, gm);
	int status = EXIT_RUNTIME;
	bool served = false;

	if (!dev) {
		log_error("start: %s", strerror(errno));
		vhost_user_server_close(server);
		return EXIT_RUNTIME;
	}
	if (vhost_user_server_attach(server, &gpu_thread_ops, dev))
		log_error("cannot wait for the device");
	else
		served = options->socket || !adopt(server, options);
	if (served) {
		confine(options);
		status = event_loop(server, dev, signal_fd);
	}
	end(server, dev, served, status);
	return status;
}

static int serve(const struct options *options, int output)
{
	struct vhost_user_server *server;
	struct guest_memory *gm;
	int signal_fd, status = EXIT_RUNTIME;

	signal_fd = make_signalfd();
	if (signal_fd < 0) {
		log_error("signalfd: %s", strerror(errno));
		return EXIT_RUNTIME;
	}
	if (bus_fault_install())
		log_error("SIGBUS: %s; guest RAM that is taken away ends this program",
			  strerror(errno));
	gm = guest_memory_new();
	server = gm ? vhost_user_server_new(gm, options->reset_timeout * 1000) : NULL;
	if (!server) {
		log_error("start: %s", strerror(errno));
	} else if (!options->socket || !listen_at(server, options)) {
		give_up_privileges(output);
		status = run(server, gm, options, signal_fd);
	}
	vhost_user_server_free(server);
	guest_memory_free(gm);
	close(signal_fd);
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	int status, output, err;

	if (!options_parse(&options, argc, argv, &status))
		return status;
	log_set_verbose(options.gpu.verbose);
	/* Also for render servers, which the launcher starts. */
	raise_descriptor_limit();
	err = sandbox_init(options.sandbox, options.gpu.virgl, &output);
	if (err) {
		log_error("cannot start the launcher of render servers: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	status = serve(&options, output);
	sandbox_end();
	log_stop();
	return status;
}
