// SPDX-License-Identifier: MIT
/*
 * virgl_arrival: which process and which socket came with a call of the library
 *
 * The library says neither which process it has had started nor which socket it
 * has to it.  Both are new: the process has one of the ids that were given during
 * the call, the socket the descriptor that was the first free one.  Where that does
 * not hold - ids began anew, or other threads opened and closed something - all are
 * looked at, and there must be one that is not known.
 *
 * Threads: the ring thread, which is the only one that has sockets of that kind.
 */
#include "renderer/virgl/virgl_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/**
 * virgl_expect() - before the call
 * @renderer: whose
 * @arrival: for virgl_arrived()
 */
void virgl_expect(const struct renderer *renderer, struct virgl_arrival *arrival)
{
	arrival->last_id = process_last_id();
	arrival->fd = fcntl(renderer->event, F_DUPFD_CLOEXEC, 0);
	if (arrival->fd >= 0)
		close(arrival->fd);
}

static bool is_packet_socket(int fd)
{
	int domain, type;
	socklen_t len = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_SEQPACKET;
}

static bool knows_socket(const struct renderer *renderer, int fd)
{
	const struct virgl_context *context;

	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->socket == fd)
			return true;
	return renderer->server.socket == fd;
}

/* The only packet socket that is not known; -ENOENT: there are none, or several. */
static int search_sockets(const struct renderer *renderer)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1, nr = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (*entry->d_name == '.' || !is_packet_socket(fd) || knows_socket(renderer, fd))
			continue;
		found = fd;
		nr++;
	}
	closedir(dir);
	return nr == 1 ? found : -ENOENT;
}

static int find_socket(const struct renderer *renderer, const struct virgl_arrival *arrival)
{
	if (is_packet_socket(arrival->fd) && !knows_socket(renderer, arrival->fd))
		return arrival->fd;
	return search_sockets(renderer);
}

static bool knows_process(const struct renderer *renderer, pid_t pid)
{
	const struct virgl_context *context;

	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->worker >= 0 && context->worker_pid == pid)
			return true;
	return false;
}

/* The only child of @parent that is not known; -ENOENT: there are none, or several. */
static pid_t search_children(const struct renderer *renderer, pid_t parent)
{
	struct process_list list;
	pid_t found = -ENOENT;
	size_t i, nr = 0;

	if (process_children(parent, &list))
		goto out;
	for (i = 0; i < list.nr; i++) {
		if (knows_process(renderer, list.pids[i]))
			continue;
		found = list.pids[i];
		nr++;
	}
out:
	process_list_destroy(&list);
	return nr == 1 ? found : -ENOENT;
}

/**
 * virgl_arrived() - after the call
 * @renderer: whose
 * @arrival: of virgl_expect()
 * @parent: who made the process
 * @out: what came
 *
 * Return: 0 or a negative errno.
 */
int virgl_arrived(const struct renderer *renderer, const struct virgl_arrival *arrival,
		  pid_t parent, struct virgl_peer *out)
{
	out->socket = find_socket(renderer, arrival);
	if (out->socket < 0)
		return out->socket;
	out->pid = process_new_child(parent, arrival->last_id);
	if (out->pid < 0)
		out->pid = search_children(renderer, parent);
	if (out->pid < 0)
		return out->pid;
	out->process = process_open(out->pid);
	if (out->process < 0)
		return out->process;
	/* Look again, now that it cannot become another one. */
	if (process_is_child(out->pid, parent))
		return 0;
	close(out->process);
	out->process = -1;
	return -ESRCH;
}
