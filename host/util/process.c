// SPDX-License-Identifier: MIT
/*
 * process: see process.h
 *
 * There are two ways to the children of a process.  A list of them stands in the
 * folder of each of its threads, unless the kernel was made without it; otherwise
 * every process is asked who its parent is.
 */
#include "util/process.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A process in /proc/PID/stat: id, name in parentheses, state, parent. */
#define STAT_LINE 512
/* Name, umask, state and ids, which are the first lines of /proc/PID/status. */
#define STATUS_HEAD 1024
/* So many new ids are looked at one by one. */
#define MAX_NEW_IDS 1024

static int add(struct process_list *list, pid_t pid)
{
	if (list->nr == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 32;
		pid_t *pids = realloc(list->pids, capacity * sizeof(*pids));

		if (!pids)
			return -ENOMEM;
		list->pids = pids;
		list->capacity = capacity;
	}
	list->pids[list->nr++] = pid;
	return 0;
}

/**
 * process_list_destroy() - free it
 * @list: is empty then
 */
void process_list_destroy(struct process_list *list)
{
	free(list->pids);
	*list = (struct process_list){ .nr = 0 };
}

/**
 * process_list_has() - whether a process is on a list
 * @list: the list
 * @pid: the process
 *
 * Return: whether it is.
 */
bool process_list_has(const struct process_list *list, pid_t pid)
{
	size_t i;

	for (i = 0; i < list->nr; i++)
		if (list->pids[i] == pid)
			return true;
	return false;
}

/**
 * struct search - for the children of a process
 * @proc: where processes are seen
 * @parent: whose children
 * @out: found
 */
struct search {
	const char *proc;
	pid_t parent;
	struct process_list *out;
};

/* Call @each for each entry of @path that is a number. */
static int each_number(const char *path, int (*each)(const struct search *search, pid_t number),
		       const struct search *search)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir))) {
		char *end;
		long number = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && !*end && number > 0)
			err = each(search, (pid_t)number);
	}
	closedir(dir);
	return err;
}

/* At most @size - 1 bytes, and a zero behind; false: it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t len;

	if (!file)
		return false;
	len = fread(text, 1, size - 1, file);
	fclose(file);
	text[len] = '\0';
	return len;
}

/* The parent of @pid, or -1: it is gone. */
static pid_t parent_of(const char *proc, pid_t pid)
{
	char path[300], line[STAT_LINE];
	const char *end;
	int parent;

	snprintf(path, sizeof(path), "%s/%d/stat", proc, (int)pid);
	if (!read_text(path, line, sizeof(line)))
		return -1;
	/* The name may have parentheses of its own. */
	end = strrchr(line, ')');
	if (!end || sscanf(end, ") %*c %d", &parent) != 1)
		return -1;
	return parent;
}

static int add_if_child(const struct search *search, pid_t pid)
{
	if (parent_of(search->proc, pid) != search->parent)
		return 0;
	return add(search->out, pid);
}

static int add_listed(const struct search *search, pid_t thread)
{
	char path[300];
	FILE *file;
	int err = 0, pid;

	snprintf(path, sizeof(path), "%s/%d/task/%d/children", search->proc, (int)search->parent,
		 (int)thread);
	file = fopen(path, "re");
	/* The thread has ended. */
	if (!file)
		return 0;
	while (!err && fscanf(file, "%d", &pid) == 1)
		if (!process_list_has(search->out, pid))
			err = add(search->out, pid);
	fclose(file);
	return err;
}

static int add_children(const struct search *search, bool lists)
{
	char path[300];
	int err;

	if (!lists)
		return each_number(search->proc, add_if_child, search);
	snprintf(path, sizeof(path), "%s/%d/task", search->proc, (int)search->parent);
	err = each_number(path, add_listed, search);
	/* A process that is gone has no children. */
	return err == -ENOENT || err == -ESRCH ? 0 : err;
}

static bool kernel_has_lists(void)
{
	return access("/proc/thread-self/children", R_OK) == 0;
}

/**
 * process_children_at() - the children of a process, as a folder shows them
 * @proc: in place of /proc
 * @lists: it has lists of children
 * @parent: whose
 * @out: them
 *
 * Return: 0 or a negative errno.
 */
int process_children_at(const char *proc, bool lists, pid_t parent, struct process_list *out)
{
	struct search search = { .proc = proc, .parent = parent, .out = out };

	*out = (struct process_list){ .nr = 0 };
	return add_children(&search, lists);
}

/**
 * process_children() - the children of a process
 * @parent: whose
 * @out: them
 *
 * Return: 0 or a negative errno.
 */
int process_children(pid_t parent, struct process_list *out)
{
	return process_children_at("/proc", kernel_has_lists(), parent, out);
}

/**
 * process_descendants() - the children of a process, their children, and so on
 * @ancestor: whose
 * @out: them
 *
 * Return: 0 or a negative errno.
 */
int process_descendants(pid_t ancestor, struct process_list *out)
{
	bool lists = kernel_has_lists();
	int err = process_children_at("/proc", lists, ancestor, out);
	size_t i;

	for (i = 0; !err && i < out->nr; i++) {
		struct search search = { .proc = "/proc", .parent = out->pids[i], .out = out };

		err = add_children(&search, lists);
	}
	return err;
}

/**
 * process_is_child() - whose child a process is
 * @pid: the process
 * @parent: whose it may be
 *
 * Return: false also if @pid is a thread, or gone.
 */
bool process_is_child(pid_t pid, pid_t parent)
{
	char path[64], text[STATUS_HEAD];
	const char *tgid, *ppid;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (!read_text(path, text, sizeof(text)))
		return false;
	/* The name is in the first line, in which the kernel leaves no line's end. */
	tgid = strstr(text, "\nTgid:");
	ppid = strstr(text, "\nPPid:");
	return tgid && ppid && atoi(tgid + 6) == pid && atoi(ppid + 6) == parent;
}

/**
 * process_last_id() - the id that was given last
 *
 * Ids are given in turn, so those that are given later are behind this one.
 *
 * Return: it, or -1.
 */
pid_t process_last_id(void)
{
	char text[128];
	const char *last;

	if (!read_text("/proc/loadavg", text, sizeof(text)))
		return -1;
	last = strrchr(text, ' ');
	return last ? atoi(last + 1) : -1;
}

/**
 * process_new_child() - a child that was made after process_last_id()
 * @parent: whose
 * @last: what that said
 *
 * Return: its id, or -ENOENT.
 */
pid_t process_new_child(pid_t parent, pid_t last)
{
	pid_t now = process_last_id(), pid;

	if (last < 0 || now <= last || now - last > MAX_NEW_IDS)
		return -ENOENT;
	for (pid = last + 1; pid <= now; pid++)
		if (process_is_child(pid, parent))
			return pid;
	return -ENOENT;
}

/**
 * process_open() - a descriptor of a process
 * @pid: the process
 *
 * Return: it, close-on-exec, or a negative errno.
 */
int process_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

/**
 * process_kill() - end a process for good
 * @process: of process_open()
 */
void process_kill(int process)
{
	syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
}

/**
 * process_ended() - whether a process has ended
 * @process: of process_open()
 *
 * Return: true if all its threads have, and their memory is gone.
 */
bool process_ended(int process)
{
	struct pollfd pollfd = { .fd = process, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 1;
}
