/* SPDX-License-Identifier: MIT */
/*
 * loopback_model: what a stream of the reference context should do
 *
 * Written from <virtgpu_loopback.h>, and not from the renderer: one job at a time, on
 * a copy of the guest's memory, in which resources have pages of their own.
 *
 * Threads: one.
 */
#ifndef LOOPBACK_MODEL_H
#define LOOPBACK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages of a resource, at most, which the model keeps a place for. */
#define MODEL_PAGES 20u

/**
 * struct model_resource - a resource as the context sees it
 * @attached: to the context
 * @readonly: not to be written to
 * @size: bytes
 * @first_page: of as many as it has
 */
struct model_resource {
	bool attached;
	bool readonly;
	uint64_t size;
	uint32_t first_page;
};

/* The guest's memory is as it should be. */
void model_begin(void);
/* A stream was run, and answered with @response; @resources[1] to [@max_id]. */
void model_run(const struct model_resource *resources, uint32_t max_id, const uint8_t *data,
	       size_t len, uint32_t response);

#endif /* LOOPBACK_MODEL_H */
