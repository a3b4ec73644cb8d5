/* SPDX-License-Identifier: MIT */
/*
 * processes: the render server and its workers, played
 *
 * Processes that there are not: ids above all real ones, descriptors that become
 * readable when they end, a socket to each of which both ends are here.  The functions
 * of util/process.h find these (wrap.h).  A worker that was killed ends when somebody
 * waits for it, or the world moves on.
 *
 * Threads: the device's, which calls, and the target's, which lets things happen: each
 * function here, and of library.h, holds the world's lock.
 */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_PROCESSES 48
#define MAX_HELD 16

/**
 * struct played - a process
 * @pid: 0: there is none
 * @parent: of it
 * @killed: it is to end
 * @ended: it has
 * @tough: does not end at once
 * @end: readable when it has ended
 * @tell: the other end of that
 * @near: the socket to it, the library's
 * @far: its own end, or -1
 * @reads: what it is sent
 * @answers: what it is asked
 * @clings: to memory that it was to give up
 * @held: dma-bufs, of kernel.h
 * @nr_held: of them
 */
struct played {
	pid_t pid;
	pid_t parent;
	bool killed;
	bool ended;
	bool tough;
	int end;
	int tell;
	int near;
	int far;
	bool reads;
	bool answers;
	bool clings;
	int held[MAX_HELD];
	unsigned int nr_held;
};

/* Recursive.  WORLD_LOCKED: to the end of the block. */
int world_lock(void);
void world_unlock(const int *locked);
#define WORLD_LOCKED __attribute__((cleanup(world_unlock), unused)) int world_locked = world_lock()

void processes_begin(void);
/* All have ended, and everything is closed. */
void processes_end(void);
/* A new child of @parent, with a socket to it; NULL: there cannot be more. */
struct played *processes_start(pid_t parent);
/* It ends now, and gives up all that it has. */
void processes_finish(struct played *process);
/* Its maker knows it no more: the near end is closed. */
void processes_drop(struct played *process);
/* What was killed ends; what reads has read. */
void processes_move_on(void);
/* It has a dma-buf, or gives it up unless it clings to it. */
void processes_give(struct played *process, int dmabuf);
void processes_take(struct played *process, int dmabuf);
/* It gives up all. */
void processes_let_go(struct played *process);
struct played *processes_find(pid_t pid);
/* A child of @parent that runs, or NULL. */
struct played *processes_child(pid_t parent);
/* Number @index of those that run, in a circle; NULL: there are none. */
struct played *processes_at(unsigned int index);

#endif /* PROCESSES_H */
