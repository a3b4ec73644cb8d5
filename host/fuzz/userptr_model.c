// SPDX-License-Identifier: MIT
/*
 * userptr_model: see userptr_model.h
 *
 * Threads: one.
 */
#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/userptr_commands.h"
#include "fuzz/userptr_model.h"
#include "gpu/userptr.h"

static bool page_there(unsigned int nr_regions, uint64_t addr)
{
	const struct guest_region *regions = guest_regions();
	unsigned int i;

	for (i = 0; i < nr_regions; i++)
		if (addr >= regions[i].guest_addr && addr - regions[i].guest_addr < regions[i].size)
			return true;
	return false;
}

/* Number of the page in the file, from its contents, which are marked so. */
static uint32_t mark_of(uint64_t addr)
{
	uint32_t page = guest_page_of(addr);

	if (page != UINT32_MAX)
		return page;
	return GUEST_PAGES + (uint32_t)((addr - GUEST_BASE) / GUEST_PAGE);
}

/* Take an entry into the model; false: it must not be accepted. */
static bool model_entry(struct model *model, const struct userptr_limits *limits,
			unsigned int nr_regions, const uint8_t *data, size_t len, size_t at)
{
	uint64_t addr = fuzz_get(data, len, at, 8), length = fuzz_get(data, len, at + 8, 4), i;

	if (fuzz_get(data, len, at + 12, 4) || !length || (addr | length) % GUEST_PAGE ||
	    length > model->size - model->described)
		return false;
	for (i = 0; i < length; i += GUEST_PAGE) {
		if (addr + i < addr || !page_there(nr_regions, addr + i))
			return false;
		if (model->nr_pages < MAX_MODEL_PAGES)
			model->pages[model->nr_pages++] = mark_of(addr + i);
	}
	model->described += length;
	model->received++;
	return model->received <= limits->max_segments &&
	       (!model->bound || model->received <= model->bound);
}

static bool model_entries(struct model *model, const struct userptr_limits *limits,
			  unsigned int nr_regions, const uint8_t *data, size_t len, size_t at,
			  uint32_t nr)
{
	uint32_t i;

	if (!nr || nr > limits->max_entries || len - at != (uint64_t)nr * FUZZ_ENTRY)
		return false;
	for (i = 0; i < nr; i++)
		if (!model_entry(model, limits, nr_regions, data, len, at + i * FUZZ_ENTRY))
			return false;
	return true;
}

bool model_create(struct model *model, const struct userptr_limits *limits, unsigned int nr_regions,
		  const uint8_t *data, size_t len)
{
	uint64_t flags = fuzz_get(data, len, 28, 4);

	model->size = fuzz_get(data, len, 32, 8);
	model->bound = (uint32_t)fuzz_get(data, len, 40, 4);
	model->readonly = flags;
	if (fuzz_get(data, len, 21, 3) || flags > limits->rdonly || !model->size ||
	    model->size % GUEST_PAGE || model->size > limits->max_size ||
	    model->bound > limits->max_segments)
		return false;
	return model_entries(model, limits, nr_regions, data, len, FUZZ_CREATE,
			     (uint32_t)fuzz_get(data, len, 44, 4));
}

bool model_add(struct model *model, const struct userptr_limits *limits, unsigned int nr_regions,
	       const uint8_t *data, size_t len)
{
	if (fuzz_get(data, len, 21, 3) || fuzz_get(data, len, 32, 8) != model->described)
		return false;
	return model_entries(model, limits, nr_regions, data, len, FUZZ_ADD,
			     (uint32_t)fuzz_get(data, len, 28, 4));
}
