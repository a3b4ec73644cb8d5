// SPDX-License-Identifier: MIT
/*
 * main: start, signals and the event loop of the device program
 *
 * Invariants: signals are blocked and arrive through a signalfd, so that no
 * code runs in a handler, and every exit passes the same clean-up.  Nothing of a
 * guest or a VMM is read before sandbox_device().
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

static int open_socket(struct vhost_user_server *server, const struct options *options)
{
	int err;

	if (options->socket) {
		err = vhost_user_server_listen(server, options->socket, &options->access);
		if (err == -EADDRINUSE)
			log_error("--socket '%s': another program listens there", options->socket);
		else if (err == -EEXIST)
			log_error("--socket '%s': exists and is not a socket", options->socket);
		else if (err)
			log_error("--socket '%s': %s", options->socket, strerror(-err));
		else
			log_event("listening at %s", options->socket);
		return err;
	}
	err = vhost_user_server_adopt(server, options->fd);
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

static void confine(void)
{
	char text[480];

	sandbox_device();
	sandbox_describe(text, sizeof(text));
	log_notice("sandbox: %s", text);
}

static int serve(const struct options *options)
{
	struct vhost_user_server *server;
	struct guest_memory *gm;
	struct gpu_thread *dev;
	int signal_fd, status = EXIT_RUNTIME;
	bool served = false;

	signal_fd = make_signalfd();
	if (signal_fd < 0) {
		log_error("signalfd: %s", strerror(errno));
		return EXIT_RUNTIME;
	}
	raise_descriptor_limit();
	gm = guest_memory_new();
	if (!gm)
		goto err_signal;
	server = vhost_user_server_new(gm, options->reset_timeout * 1000);
	if (!server)
		goto err_memory;
	dev = gpu_thread_new(&options->gpu, gm);
	if (!dev)
		goto err_server;

	if (vhost_user_server_attach(server, &gpu_thread_ops, dev))
		log_error("cannot wait for the device");
	else
		served = !open_socket(server, options);
	if (served) {
		confine();
		status = event_loop(server, dev, signal_fd);
	}
	end(server, dev, served, status);
	vhost_user_server_free(server);
	guest_memory_free(gm);
	close(signal_fd);
	return status;

err_server:
	vhost_user_server_free(server);
err_memory:
	guest_memory_free(gm);
err_signal:
	close(signal_fd);
	log_error("start: %s", strerror(errno));
	return EXIT_RUNTIME;
}

int main(int argc, char **argv)
{
	struct options options;
	int status, output, err;

	if (!options_parse(&options, argc, argv, &status))
		return status;
	log_set_verbose(options.gpu.verbose);
	/* Before there are threads. */
	err = sandbox_init(options.sandbox, options.gpu.virgl, &output);
	if (err) {
		log_error("cannot start the launcher of render servers: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	log_start();
	if (output >= 0 && log_follow(output, "render server"))
		close(output);
	status = serve(&options);
	sandbox_end();
	log_stop();
	return status;
}
