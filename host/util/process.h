/* SPDX-License-Identifier: MIT */
/*
 * process: other processes, found in /proc and held by a descriptor
 *
 * Process ids are turned into descriptors at once, so that nothing is ever sent to
 * a process that has the id of one that is gone: open it, look again whether it is
 * the one that was meant, and only then rely on the descriptor.
 *
 * Threads: any.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * struct process_list - ids of processes
 * @pids: them
 * @nr: how many
 * @capacity: how many fit
 */
struct process_list {
	pid_t *pids;
	size_t nr;
	size_t capacity;
};

void process_list_destroy(struct process_list *list);
bool process_list_has(const struct process_list *list, pid_t pid);
/*
 * The children of @parent; or these, their children, and so on.  O(them) where the
 * kernel has lists of children (CONFIG_PROC_CHILDREN), else O(all processes).  What
 * comes and goes meanwhile may be missed.  0 or a negative errno; the list is to be
 * destroyed in either case.
 */
int process_children(pid_t parent, struct process_list *out);
int process_descendants(pid_t ancestor, struct process_list *out);

/* Whether @pid is a process, not a thread of one, and a child of @parent. */
bool process_is_child(pid_t pid, pid_t parent);
/* The id that was given to a process or thread last, or -1: no /proc. */
pid_t process_last_id(void);
/*
 * A child that @parent made since process_last_id() was @last, the first of several:
 * its id, or -ENOENT: there is none, or too many ids were given since to look at all.
 */
pid_t process_new_child(pid_t parent, pid_t last);

/* A descriptor that is readable when @pid has ended, or a negative errno. */
int process_open(pid_t pid);
/* End it for good; what has ended already is no error. */
void process_kill(int process);
/* Whether it has ended, all its threads and their memory included. */
bool process_ended(int process);

/*
 * For tests.
 */

/* process_children() with what the kernel would show in @proc, which has lists or not. */
int process_children_at(const char *proc, bool lists, pid_t parent, struct process_list *out);

#endif /* PROCESS_H */
