/* SPDX-License-Identifier: MIT */
/*
 * render_process: the processes behind a library that does not name them
 *
 * libvirglrenderer starts a render server, and that a worker for each context;
 * it talks to them over sockets without a time limit, and says neither which
 * process nor which socket.  Both are found by what appears when the library is
 * called: one child, one socket.  With them a worker can be watched, ended and
 * waited for, and a call that waits for a process that does not answer can be
 * made to return.
 *
 * Threads: one, which is the only one of this process that makes sockets of
 * that kind, and makes children.  A call_limit has a thread of its own.
 */
#ifndef RENDER_PROCESS_H
#define RENDER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * struct int_list - descriptors or process ids
 * @items: them
 * @nr: how many
 * @capacity: how many fit
 */
struct int_list {
	int *items;
	size_t nr;
	size_t capacity;
};

void int_list_destroy(struct int_list *list);
/* The only one of @after that @before has not; -ENOENT: there are none, or several. */
int int_list_only_new(const struct int_list *before, const struct int_list *after);

/* All these: 0 or a negative errno, and the list is to be destroyed in either case. */

/* All descriptors of this process, the one that they are read from included. */
int list_descriptors(struct int_list *out);
/* Those that are Unix sockets for packets. */
int list_packet_sockets(struct int_list *out);
/* The children of @parent; and their children, and so on, in @all. */
int list_children(pid_t parent, bool all, struct int_list *out);

/* A descriptor that is readable when @pid has ended, or a negative errno. */
int process_open(pid_t pid);
/* End it for good; what has ended already is no error. */
void process_kill(int process);
/* Whether it has ended, all its threads and their memory included. */
bool process_ended(int process);

struct call_limit;

/* 0 or a negative errno. */
int call_limit_new(struct call_limit **out);
void call_limit_free(struct call_limit *limit);
/*
 * What follows, until call_limit_end(), may wait for @socket; after @limit_ms the
 * socket is shut down, and whoever waits gets an error.
 */
void call_limit_begin(struct call_limit *limit, int socket, unsigned int limit_ms);
/* Whether it was too long. */
bool call_limit_end(struct call_limit *limit);

#endif /* RENDER_PROCESS_H */
