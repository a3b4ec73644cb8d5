// SPDX-License-Identifier: MIT
/*
 * render_process: see render_process.h
 *
 * Process ids are turned into descriptors at once, so that nothing is ever sent
 * to a process that has the id of one that is gone.  The thread of a call_limit
 * sleeps while no call goes on; when it wakes it looks at the deadline of the
 * call that goes on then, so that most calls cost no wake-up.
 */
#include "renderer/virgl/render_process.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A process in /proc/PID/stat: id, name in parentheses, state, parent. */
#define STAT_LINE 512

static int int_list_add(struct int_list *list, int item)
{
	if (list->nr == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 32;
		int *items = realloc(list->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->nr++] = item;
	return 0;
}

void int_list_destroy(struct int_list *list)
{
	free(list->items);
	*list = (struct int_list){ .nr = 0 };
}

static bool int_list_has(const struct int_list *list, int item)
{
	size_t i;

	for (i = 0; i < list->nr; i++)
		if (list->items[i] == item)
			return true;
	return false;
}

int int_list_only_new(const struct int_list *before, const struct int_list *after)
{
	int found = -ENOENT;
	size_t i;

	for (i = 0; i < after->nr; i++) {
		if (int_list_has(before, after->items[i]))
			continue;
		if (found >= 0)
			return -ENOENT;
		found = after->items[i];
	}
	return found;
}

/* Call @add for each entry of @path that is a number. */
static int each_number(const char *path, int (*add)(void *opaque, int number), void *opaque)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		char *end;
		long number = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && !*end && number >= 0)
			err = add(opaque, (int)number);
	}
	closedir(dir);
	return err;
}

static int add_number(void *opaque, int number)
{
	return int_list_add(opaque, number);
}

int list_descriptors(struct int_list *out)
{
	*out = (struct int_list){ .nr = 0 };
	return each_number("/proc/self/fd", add_number, out);
}

static int add_packet_socket(void *opaque, int fd)
{
	int domain, type;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain != AF_UNIX)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET)
		return 0;
	return int_list_add(opaque, fd);
}

int list_packet_sockets(struct int_list *out)
{
	*out = (struct int_list){ .nr = 0 };
	return each_number("/proc/self/fd", add_packet_socket, out);
}

/**
 * struct process - a process and who started it
 * @pid: it
 * @parent: who
 */
struct process {
	pid_t pid;
	pid_t parent;
};

/**
 * struct process_list - all processes
 * @items: them
 * @nr: how many
 * @capacity: how many fit
 */
struct process_list {
	struct process *items;
	size_t nr;
	size_t capacity;
};

/* The parent of @pid, or -1: it is gone. */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[STAT_LINE];
	const char *end = NULL, *at;
	int parent = -1;
	size_t len;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	len = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[len] = '\0';
	/* The name may have parentheses of its own. */
	for (at = line; *at; at++)
		if (*at == ')')
			end = at;
	if (!end || sscanf(end, ") %*c %d", &parent) != 1)
		return -1;
	return parent;
}

static int add_process(void *opaque, int pid)
{
	struct process_list *list = opaque;
	pid_t parent = parent_of(pid);

	if (parent < 0)
		return 0;
	if (list->nr == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 256;
		struct process *items = realloc(list->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->nr++] = (struct process){ .pid = pid, .parent = parent };
	return 0;
}

static int add_children(const struct process_list *list, pid_t parent, struct int_list *out)
{
	size_t i;

	for (i = 0; i < list->nr; i++) {
		if (list->items[i].parent != parent || int_list_has(out, list->items[i].pid))
			continue;
		if (int_list_add(out, list->items[i].pid))
			return -ENOMEM;
	}
	return 0;
}

int list_children(pid_t parent, bool all, struct int_list *out)
{
	struct process_list list = { .nr = 0 };
	size_t i;
	int err;

	*out = (struct int_list){ .nr = 0 };
	err = each_number("/proc", add_process, &list);
	if (!err)
		err = add_children(&list, parent, out);
	for (i = 0; !err && all && i < out->nr; i++)
		err = add_children(&list, out->items[i], out);
	free(list.items);
	return err;
}

int process_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

void process_kill(int process)
{
	syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
}

bool process_ended(int process)
{
	struct pollfd pollfd = { .fd = process, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}

/**
 * struct call_limit - see call_limit_new()
 * @thread: shuts down sockets
 * @lock: of all that follows
 * @wake: there is a call while it sleeps, or it has to end
 * @socket: what the call waits for, or -1
 * @deadline: of the call
 * @wake_at: when the thread wakes, if it does not sleep
 * @sleeping: the thread waits for a call
 * @fired: the call's socket was shut down
 * @quit: end
 */
struct call_limit {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int socket;
	struct timespec deadline;
	struct timespec wake_at;
	bool sleeping;
	bool fired;
	bool quit;
};

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static bool is_over(const struct timespec *deadline)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return !is_before(&now, deadline);
}

static void *call_limit_thread(void *opaque)
{
	struct call_limit *limit = opaque;

	pthread_mutex_lock(&limit->lock);
	while (!limit->quit) {
		if (limit->socket < 0 || limit->fired) {
			limit->sleeping = true;
			pthread_cond_wait(&limit->wake, &limit->lock);
			limit->sleeping = false;
		} else if (is_over(&limit->deadline)) {
			limit->fired = true;
			shutdown(limit->socket, SHUT_RDWR);
		} else {
			struct timespec wake_at = limit->deadline;

			limit->wake_at = wake_at;
			pthread_cond_timedwait(&limit->wake, &limit->lock, &wake_at);
		}
	}
	pthread_mutex_unlock(&limit->lock);
	return NULL;
}

/* Signals are for the main thread. */
static int start_thread(struct call_limit *limit)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&limit->thread, NULL, call_limit_thread, limit);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int call_limit_new(struct call_limit **out)
{
	struct call_limit *limit = calloc(1, sizeof(*limit));
	pthread_condattr_t attr;
	int err;

	if (!limit)
		return -ENOMEM;
	limit->socket = -1;
	pthread_mutex_init(&limit->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&limit->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = start_thread(limit);
	if (err)
		goto free_limit;
	*out = limit;
	return 0;

free_limit:
	pthread_cond_destroy(&limit->wake);
	pthread_mutex_destroy(&limit->lock);
	free(limit);
	return err;
}

void call_limit_free(struct call_limit *limit)
{
	pthread_mutex_lock(&limit->lock);
	limit->quit = true;
	pthread_cond_signal(&limit->wake);
	pthread_mutex_unlock(&limit->lock);
	pthread_join(limit->thread, NULL);
	pthread_cond_destroy(&limit->wake);
	pthread_mutex_destroy(&limit->lock);
	free(limit);
}

void call_limit_begin(struct call_limit *limit, int socket, unsigned int limit_ms)
{
	pthread_mutex_lock(&limit->lock);
	clock_gettime(CLOCK_MONOTONIC, &limit->deadline);
	limit->deadline.tv_sec += limit_ms / 1000;
	limit->deadline.tv_nsec += (long)(limit_ms % 1000) * 1000000;
	if (limit->deadline.tv_nsec >= 1000000000) {
		limit->deadline.tv_sec++;
		limit->deadline.tv_nsec -= 1000000000;
	}
	limit->fired = false;
	limit->socket = socket;
	if (limit->sleeping || is_before(&limit->deadline, &limit->wake_at))
		pthread_cond_signal(&limit->wake);
	pthread_mutex_unlock(&limit->lock);
}

bool call_limit_end(struct call_limit *limit)
{
	bool fired;

	pthread_mutex_lock(&limit->lock);
	fired = limit->fired;
	limit->fired = false;
	limit->socket = -1;
	pthread_mutex_unlock(&limit->lock);
	return fired;
}
