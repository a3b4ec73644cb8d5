/* SPDX-License-Identifier: MIT */
/*
 * userptr_model: what may be accepted of CREATE and ADD, and what memory they describe
 *
 * Written from <linux/virtio_gpu_userptr.h>, and not from the core.
 *
 * Threads: one.
 */
#ifndef USERPTR_MODEL_H
#define USERPTR_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct userptr_limits;

#define MAX_MODEL_PAGES 1024

/**
 * struct model - a resource as we see it
 * @state: none, or one of enum userptr_state and 1
 * @size: that CREATE said
 * @described: bytes so far
 * @received: entries so far
 * @bound: of entries
 * @readonly: by CREATE
 * @holds: taken by renderers
 * @draft: there is one
 * @view: there is one
 * @making: there will be one
 * @answered: the command that completed it
 * @leaving: the view was asked to go
 * @pages: the numbers in the file's pages
 * @nr_pages: of them; more than fit are not compared
 */
struct model {
	unsigned int state;
	uint64_t size;
	uint64_t described;
	uint32_t received;
	uint32_t bound;
	bool readonly;
	unsigned int holds;
	bool draft;
	bool view;
	bool making;
	bool answered;
	bool leaving;
	uint32_t pages[MAX_MODEL_PAGES];
	uint32_t nr_pages;
};

/*
 * Take a command into the model, in a memory of @nr_regions regions; false: it must not
 * be accepted.  It is of the right type, as long as its struct at least, and about a
 * resource that may have it.
 */
bool model_create(struct model *model, const struct userptr_limits *limits, unsigned int nr_regions,
		  const uint8_t *data, size_t len);
bool model_add(struct model *model, const struct userptr_limits *limits, unsigned int nr_regions,
	       const uint8_t *data, size_t len);

#endif /* USERPTR_MODEL_H */
