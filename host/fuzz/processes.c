// SPDX-License-Identifier: MIT
/*
 * processes: see processes.h
 *
 * Threads: see processes.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/kernel.h"
#include "fuzz/processes.h"
#include "fuzz/wrap.h"
#include "memory/udmabuf.h"
#include "util/process.h"
#include "util/sandbox.h"

/* Linux gives no id so high. */
#define FIRST_PID 0x40000000
/* So that a worker that does not read is noticed soon. */
#define SOCKET_ROOM 8192

static struct played all[MAX_PROCESSES];
static pid_t last_pid;
static bool begun;

/* Declared here, for the headers of what is fuzzed have them under their own name. */
int __wrap_process_children(pid_t parent, struct process_list *out);
int __wrap_process_descendants(pid_t ancestor, struct process_list *out);
bool __wrap_process_is_child(pid_t pid, pid_t parent);
pid_t __wrap_process_last_id(void);
pid_t __wrap_process_new_child(pid_t parent, pid_t last);
int __wrap_process_open(pid_t pid);
void __wrap_process_kill(int process);
int __wrap_sandbox_start_server(const char *const argv[], struct sandbox_server *server);
bool __wrap_udmabuf_view_held_by(const struct udmabuf_view *view, pid_t pid);

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

int world_lock(void)
{
	return pthread_mutex_lock(&lock);
}

void world_unlock(const int *locked)
{
	if (!*locked)
		pthread_mutex_unlock(&lock);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void processes_begin(void)
{
	memset(all, 0, sizeof(all));
	last_pid = FIRST_PID;
	begun = true;
}

static bool runs(const struct played *process)
{
	return process->pid && !process->ended;
}

struct played *processes_find(pid_t pid)
{
	unsigned int i;

	for (i = 0; i < MAX_PROCESSES; i++)
		if (pid && all[i].pid == pid)
			return &all[i];
	return NULL;
}

struct played *processes_child(pid_t parent)
{
	unsigned int i;

	for (i = 0; i < MAX_PROCESSES; i++)
		if (runs(&all[i]) && all[i].parent == parent)
			return &all[i];
	return NULL;
}

struct played *processes_at(unsigned int index)
{
	unsigned int i;

	for (i = 0; i < MAX_PROCESSES; i++)
		if (runs(&all[(index + i) % MAX_PROCESSES]))
			return &all[(index + i) % MAX_PROCESSES];
	return NULL;
}

struct played *processes_start(pid_t parent)
{
	WORLD_LOCKED;
	const int room = SOCKET_ROOM;
	struct played *process = NULL;
	int sockets[2], end[2];
	unsigned int i;

	for (i = 0; !process && i < MAX_PROCESSES; i++)
		if (!all[i].pid)
			process = &all[i];
	/* The near end gets the first free descriptor, as a library's does. */
	if (!process || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return NULL;
	if (pipe2(end, O_CLOEXEC)) {
		close(sockets[0]);
		close(sockets[1]);
		return NULL;
	}
	__real_setsockopt(sockets[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	*process = (struct played){
		.pid = ++last_pid,
		.parent = parent,
		.end = end[0],
		.tell = end[1],
		.near = sockets[0],
		.far = sockets[1],
		.reads = true,
		.answers = true,
	};
	return process;
}

void processes_let_go(struct played *process)
{
	WORLD_LOCKED;
	while (process->nr_held)
		kernel_release(process->held[--process->nr_held]);
}

void processes_finish(struct played *process)
{
	WORLD_LOCKED;
	unsigned int i;

	if (!runs(process))
		return;
	process->ended = true;
	processes_let_go(process);
	close_fd(&process->far);
	if (write(process->tell, "", 1) != 1)
		fuzz_oracle("a process cannot end");
	/* Workers die with their server. */
	for (i = 0; i < MAX_PROCESSES; i++)
		if (all[i].parent == process->pid)
			processes_finish(&all[i]);
}

void processes_drop(struct played *process)
{
	close_fd(&process->near);
}

void processes_end(void)
{
	WORLD_LOCKED;
	unsigned int i;

	for (i = 0; i < MAX_PROCESSES; i++) {
		if (!all[i].pid)
			continue;
		if (runs(&all[i]))
			fuzz_oracle("PROCESSES: the device is gone, and process %d is not",
				    (int)(all[i].pid - FIRST_PID));
		close_fd(&all[i].near);
		close(all[i].end);
		close(all[i].tell);
	}
	begun = false;
}

static void read_all(const struct played *process)
{
	char packet[SOCKET_ROOM];

	while (process->far >= 0 && process->reads &&
	       recv(process->far, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
}

void processes_move_on(void)
{
	WORLD_LOCKED;
	unsigned int i;

	for (i = 0; i < MAX_PROCESSES; i++) {
		if (!runs(&all[i]))
			continue;
		read_all(&all[i]);
		if (!all[i].killed)
			continue;
		if (!all[i].tough)
			processes_finish(&all[i]);
		/* Next time. */
		all[i].tough = false;
	}
}

void processes_give(struct played *process, int dmabuf)
{
	WORLD_LOCKED;
	unsigned int i;

	for (i = 0; i < process->nr_held; i++)
		if (process->held[i] == dmabuf)
			return;
	if (process->ended || process->nr_held == MAX_HELD)
		return;
	process->held[process->nr_held++] = dmabuf;
	kernel_hold(dmabuf);
}

void processes_take(struct played *process, int dmabuf)
{
	WORLD_LOCKED;
	unsigned int i;

	for (i = 0; !process->clings && i < process->nr_held; i++) {
		if (process->held[i] != dmabuf)
			continue;
		process->held[i] = process->held[--process->nr_held];
		kernel_release(dmabuf);
		return;
	}
}

/* ---- what the device finds ---- */

static int list_add(struct process_list *list, pid_t pid)
{
	if (!list->pids) {
		list->pids = __wrap_calloc(MAX_PROCESSES, sizeof(*list->pids));
		list->capacity = MAX_PROCESSES;
	}
	if (!list->pids)
		return -ENOMEM;
	list->pids[list->nr++] = pid;
	return 0;
}

static bool descends(const struct played *process, pid_t ancestor)
{
	while (process && process->parent != ancestor)
		process = processes_find(process->parent);
	return process;
}

static int list_processes(pid_t parent, bool deep, struct process_list *out)
{
	WORLD_LOCKED;
	unsigned int i;
	int err = 0;

	*out = (struct process_list){ .nr = 0 };
	for (i = 0; !err && i < MAX_PROCESSES; i++)
		if (runs(&all[i]) && (deep ? descends(&all[i], parent) : all[i].parent == parent))
			err = list_add(out, all[i].pid);
	return err;
}

int __wrap_process_children(pid_t parent, struct process_list *out)
{
	return list_processes(parent, false, out);
}

int __wrap_process_descendants(pid_t ancestor, struct process_list *out)
{
	return list_processes(ancestor, true, out);
}

bool __wrap_process_is_child(pid_t pid, pid_t parent)
{
	WORLD_LOCKED;
	struct played *process = processes_find(pid);

	return process && runs(process) && process->parent == parent;
}

pid_t __wrap_process_last_id(void)
{
	return last_pid;
}

pid_t __wrap_process_new_child(pid_t parent, pid_t last)
{
	WORLD_LOCKED;
	unsigned int i;

	for (i = 0; i < MAX_PROCESSES; i++)
		if (runs(&all[i]) && all[i].pid > last && all[i].parent == parent)
			return all[i].pid;
	return -ENOENT;
}

int __wrap_process_open(pid_t pid)
{
	WORLD_LOCKED;
	struct played *process = processes_find(pid);
	char path[64];
	int fd;

	if (!process)
		return -ESRCH;
	/* An open file of its own, so that closing it takes it out of every epoll set. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", process->end);
	fd = __real_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void __wrap_process_kill(int fd)
{
	WORLD_LOCKED;
	struct stat st, end;
	unsigned int i;

	if (fstat(fd, &st))
		fuzz_oracle("PROCESSES: what is killed is no process");
	for (i = 0; i < MAX_PROCESSES; i++)
		if (all[i].pid && !fstat(all[i].end, &end) && end.st_ino == st.st_ino)
			all[i].killed = true;
}

int __wrap_sandbox_start_server(const char *const argv[], struct sandbox_server *server)
{
	WORLD_LOCKED;
	struct played *process = processes_start(getpid());

	(void)argv;
	if (!process)
		return -EAGAIN;
	*server = (struct sandbox_server){
		.pid = process->pid,
		.process = __wrap_process_open(process->pid),
		.socket = process->near,
	};
	/* It is the caller's. */
	process->near = -1;
	return 0;
}

bool __wrap_udmabuf_view_held_by(const struct udmabuf_view *view, pid_t pid)
{
	WORLD_LOCKED;
	struct played *process = processes_find(pid);
	int fd = view ? udmabuf_view_dup(view) : -1, dmabuf = kernel_dmabuf(fd);
	bool held = false;
	unsigned int i;

	if (fd >= 0)
		close(fd);
	for (i = 0; process && i < process->nr_held; i++)
		held = held || process->held[i] == dmabuf;
	return held;
}

/* The room of a worker's socket stays as it was made. */
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	if (begun && level == SOL_SOCKET && option == SO_SNDBUF)
		return 0;
	return __real_setsockopt(fd, level, option, value, len);
}
