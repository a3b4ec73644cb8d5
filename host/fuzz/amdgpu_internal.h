/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_internal: what amdgpu_card.c and amdgpu_submit.c share
 *
 * Threads: everything is called with the card's lock.
 */
#ifndef AMDGPU_INTERNAL_H
#define AMDGPU_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <amdgpu_drm.h>

#define MAX_CLIENTS 64
#define MAX_HANDLES 64
#define MAX_OBJECTS 256
#define MAX_CTXS 80
#define MAX_RANGES 128
#define MAX_JOBS 64
#define MAX_QUEUES 7

/**
 * struct object - memory
 * @used: it is
 * @what: of the guest: its number
 * @size: bytes
 * @opens: handles
 * @fd: dma-buf, or -1
 * @ino: of @fd
 * @address: of the guest, as a range
 * @readonly: nothing may write there
 */
struct object {
	bool used;
	uint64_t what;
	uint64_t size;
	unsigned int opens;
	int fd;
	ino_t ino;
	uint64_t address;
	bool readonly;
};

struct handle {
	uint32_t value;
	struct object *object;
};

struct range {
	uint64_t start;
	uint64_t end;
	uint32_t handle;
};

/**
 * struct client - who has opened the card
 * @number: from 1
 * @ino: of its descriptors
 * @serial: of its last handle
 * @handles: of it
 * @last_ctx: number of the last
 * @ctxs: of it
 * @seqs: jobs of each context and queue, by number of the context
 * @syncobj: of it
 * @ranges: that are mapped
 * @nr_ranges: of them
 * @last: job
 */
struct client {
	unsigned int number;
	ino_t ino;
	uint32_t serial;
	struct handle handles[MAX_HANDLES];
	uint32_t last_ctx;
	uint32_t ctxs[MAX_CTXS];
	uint64_t seqs[MAX_CTXS][MAX_QUEUES];
	uint32_t syncobj;
	struct range ranges[MAX_RANGES];
	unsigned int nr_ranges;
	uint64_t last;
};

/**
 * struct job - one that is not over
 * @fd: of its fence; -1: there is none
 * @client: whose
 * @number: of all
 * @ctx: see struct drm_amdgpu_cs
 * @queue: of it
 * @seq: there
 * @reaches: objects that it could use
 */
struct job {
	int fd;
	const struct client *client;
	uint64_t number;
	uint32_t ctx;
	unsigned int queue;
	uint64_t seq;
	bool reaches[MAX_OBJECTS];
};

extern struct card {
	pthread_mutex_t lock;
	uint32_t refuse;
	unsigned int nr_clients;
	struct client clients[MAX_CLIENTS];
	struct object objects[MAX_OBJECTS];
	struct job jobs[MAX_JOBS];
	uint64_t last_job;
	bool settled;
} card;

void card_lock(void);
void card_unlock(const int *unused);
#define CARD_LOCKED int card_locked __attribute__((unused, cleanup(card_unlock))) = (card_lock(), 0)

/* amdgpu_card.c */
bool card_refuses(void);
struct client *card_client(int fd);
bool card_has_handle(const struct client *client, uint32_t value);
struct handle *card_handle(struct client *client, uint32_t value, const char *what);
void card_need_ctx(const struct client *client, uint32_t id, const char *what);
int card_add_job(struct client *client, const struct job *what);
struct job *card_oldest_job(void);

/* amdgpu_submit.c: ioctls; each 0 or a negative errno. */
int card_va(struct client *client, const struct drm_amdgpu_gem_va *args);
void card_unmap_handle(struct client *client, uint32_t handle);
int card_ctx(struct client *client, union drm_amdgpu_ctx *args);
int card_cs(struct client *client, union drm_amdgpu_cs *args);
int card_wait_cs(struct client *client, union drm_amdgpu_wait_cs *args);
int card_info(const struct drm_amdgpu_info *args);
int card_other(struct client *client, unsigned int command, void *data);

#endif /* AMDGPU_INTERNAL_H */
