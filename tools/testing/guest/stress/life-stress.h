/* SPDX-License-Identifier: MIT */
/*
 * life-stress: the arena of userptr-life-stress, and the model of it
 *
 * life-stress-model.c says what is there and what must hold; life-stress-ops.c
 * does random things to it, and tells the model.
 *
 * Invariant: nothing but these operations is done to the arena, by one thread.
 */
#ifndef LIFE_STRESS_H
#define LIFE_STRESS_H

#include "lib/userptr-test-util.h"

#define HALF 64u
#define ARENA (2 * HALF)
#define SLOTS 24
/* Pages before the arena, which make a huge page with its private ones. */
#define FRONT (512 - HALF)

/**
 * struct slot - a registration
 * @bo: its handle, 0 for none
 * @first: page of the arena
 * @pages: pages
 * @keep: not watched
 * @event: an event is to come if it is revoked, and was not read yet
 * @hit: must be revoked
 */
struct slot {
	struct vg_bo bo;
	unsigned int first;
	unsigned int pages;
	bool keep;
	bool event;
	bool hit;
};

/**
 * struct stress - all there is
 * @vg: context
 * @front: FRONT private pages, of which none is registered
 * @arena: ARENA pages: HALF private ones, and HALF of @file
 * @file: file in memory
 * @mapped: pages that can be read and registered
 * @slots: registrations
 * @unread: events of registrations that are closed now, which have to come
 * @perhaps: and those that were closed when they may not have been sent yet
 * @node: device
 * @rng: state of the random numbers
 * @seed: where they began
 * @steps: operations done
 * @created: registrations made, ever
 * @revoked: of which were revoked
 * @collapsed: huge pages made
 * @told: events read
 * @passed: processes that came and went
 * @pins: pages pinned before
 */
struct stress {
	struct vg vg;
	uint8_t *front;
	uint8_t *arena;
	int file;
	bool mapped[ARENA];
	struct slot slots[SLOTS];
	unsigned int unread;
	unsigned int perhaps;
	const char *node;
	uint64_t rng;
	uint64_t seed;
	unsigned long steps;
	unsigned long created;
	unsigned long revoked;
	unsigned long collapsed;
	unsigned long told;
	unsigned long passed;
	long pins;
};

/* A piece of the arena; never across its middle. */
struct piece {
	unsigned int first;
	unsigned int pages;
};

extern struct stress stress;

static inline uint8_t *page_at(unsigned int page)
{
	return stress.arena + page * PAGE;
}

static inline bool shared(struct piece p)
{
	return p.first >= HALF;
}

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
unsigned int below(unsigned int bound);
bool all_mapped(struct piece p);
struct piece random_piece(unsigned int most);
void fill(struct piece p);
void hit(struct piece p);
void check(int ret, const char *what, struct piece p);
void map(struct piece p);
void map_holes(void);
void close_slot(struct slot *slot);
void check_all(void);

void op_read(struct piece p);
void one_operation(void);

#endif /* LIFE_STRESS_H */
