// SPDX-License-Identifier: MIT
/*
 * fuzz_loopback: the reference context's streams, the renderer alone
 *
 * Records make contexts and resources, submit streams, and end resources as the
 * device does.  Finds: submissions that are answered not at all or twice, resources
 * that end while a job has them, that never end, or that are touched after that; and,
 * where one job runs at a time (MODE_MODEL), memory that is not what the stream says.
 *
 * Threads: this one is the ring thread; the renderer has workers.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/loopback_model.h"
#include "fuzz/loopback_stream.h"
#include "fuzz/poison.h"
#include "fuzz/wrap.h"
#include "renderer/renderer.h"

#define MAX_ID 6
#define MAX_CONTEXT 3
#define MAX_SUBMISSIONS FUZZ_MAX_RECORDS
/* What a worker may take at most, under sanitizers on a busy machine. */
#define WAIT_MS 9000

enum op {
	/* Make or destroy context arg. */
	OP_CONTEXT,
	/* Make resource arg; the data says of which pages. */
	OP_RESOURCE,
	OP_ATTACH,
	OP_DETACH,
	/* The data is a stream. */
	OP_SUBMIT,
	/* End resource arg. */
	OP_END,
	OP_DISPATCH,
	/* Until all jobs are over. */
	OP_WAIT,
	OP_RESET,
	NR_OPS,
};

#define MODE_MODEL 1u
#define CONFIG_INJECT 1u

/**
 * struct resource - a resource, as the device has them
 * @backing: first
 * @made: it is there
 * @ended: stopped
 * @pages: of it, in order
 * @nr_pages: of them
 */
struct resource {
	struct backing backing;
	bool made;
	bool ended;
	uint32_t pages[MODEL_PAGES];
	uint32_t nr_pages;
};

/**
 * enum answered - of a submission
 * @FREE: there is none
 * @WAITS: accepted
 * @ANSWERED: over
 */
enum answered { FREE, WAITS, ANSWERED };

static struct guest_memory *memory;
static struct renderer *renderer;
static struct resource resources[MAX_ID + 1];
static struct renderer_context *contexts[MAX_CONTEXT + 1];
static uint8_t answered[MAX_SUBMISSIONS];
static unsigned int nr_submissions;
static unsigned int nr_waiting;
static uint32_t last_response;
static bool modelled;
static const struct renderer_ops *const ops = &renderer_loopback;

/* ---- what the renderer says ---- */

static void submitted(void *opaque, void *cookie, uint32_t response)
{
	uint8_t *state = cookie;

	(void)opaque;
	if (*state != WAITS)
		fuzz_oracle("ANSWERS: a submission is answered twice, or was refused");
	*state = ANSWERED;
	nr_waiting--;
	last_response = response;
	if (response != VIRTIO_GPU_RESP_OK_NODATA && response < VIRTIO_GPU_RESP_ERR_UNSPEC)
		fuzz_oracle("ANSWERS: a submission is answered with 0x%x", response);
}

static void inject(void *opaque, const struct renderer_fault *fault)
{
	(void)opaque;
	if (fault->kind > LOOPBACK_FAULT_DIE || !fault->count)
		fuzz_oracle("LOOPBACK: a fault that there is not: %u", fault->kind);
}

static void stats(void *opaque, struct loopback_stats *out)
{
	(void)opaque;
	memset(out, 0x5a, sizeof(*out));
}

static void lost(void *opaque, struct renderer_context *context)
{
	(void)opaque;
	(void)context;
	fuzz_oracle("LOOPBACK: a context is lost");
}

static void idle(struct backing *backing)
{
	struct resource *resource = (struct resource *)backing;
	uint32_t i;

	if (!resource->ended || backing->holds)
		fuzz_oracle("RELEASE RULE: resource %u is idle with %u holds", backing->id,
			    backing->holds);
	for (i = 0; i < resource->nr_pages; i++)
		poison_return(resource->pages[i]);
	run_list_destroy(&backing->runs);
	memset(resource, 0, sizeof(*resource));
}

/* ---- records ---- */

static void do_context(uint32_t id)
{
	if (contexts[id]) {
		ops->context_destroy(renderer, contexts[id]);
		contexts[id] = NULL;
	} else if (!ops->context_create(renderer, VIRTIO_GPU_CAPSET_LOOPBACK, "fuzz",
					&contexts[id])) {
		contexts[id]->id = id;
	}
}

/* In the model no page is in two places. */
static uint32_t some_page(uint32_t id, uint32_t index, uint8_t value)
{
	return modelled ? (id - 1) * MODEL_PAGES + index : value % GUEST_PAGES;
}

static void do_resource(uint32_t id, const struct fuzz_record *record)
{
	struct resource *resource = &resources[id];
	struct run run;
	uint32_t i;

	if (resource->made || !record->len)
		return;
	*resource = (struct resource){ .made = true };
	resource->backing.id = id;
	resource->backing.idle = idle;
	resource->backing.readonly = record->arg & 0x80;
	for (i = 0; i < record->len && i < MODEL_PAGES; i++) {
		uint32_t page = some_page(id, i, record->data[i]);

		if (guest_memory_resolve(memory, guest_page_addr(page), GUEST_PAGE, &run, 1) != 1 ||
		    run_list_append(&resource->backing.runs, &run))
			break;
		resource->pages[i] = page;
		poison_lend(page);
	}
	resource->nr_pages = i;
	resource->backing.size = (uint64_t)i * GUEST_PAGE;
	/* A guest blob may end anywhere. */
	if (i && record->arg & 0x40)
		resource->backing.size -= record->data[0];
}

static void do_attach(struct renderer_context *context, uint32_t id)
{
	struct resource *resource = &resources[id];

	if (!context || !resource->made || resource->ended ||
	    id_table_find(&context->resources, id))
		return;
	if (!id_table_insert(&context->resources, id, &resource->backing) && ops->attach)
		ops->attach(context, &resource->backing);
}

static void do_detach(struct renderer_context *context, uint32_t id)
{
	struct backing *backing = context ? id_table_remove(&context->resources, id) : NULL;

	if (backing && ops->detach)
		ops->detach(context, backing);
}

/* As gpu_device does it. */
static void do_end(uint32_t id)
{
	struct resource *resource = &resources[id];
	uint32_t i;

	if (!resource->made || resource->ended)
		return;
	resource->ended = true;
	backing_stop(&resource->backing);
	for (i = 1; i <= MAX_CONTEXT; i++)
		do_detach(contexts[i], id);
	ops->quiesce(renderer, &resource->backing);
	backing_release(&resource->backing);
}

static void dispatch(int timeout_ms)
{
	struct pollfd pollfd = { .fd = ops->fd(renderer), .events = POLLIN };

	if (__real_poll(&pollfd, 1, timeout_ms) == 1)
		ops->dispatch(renderer);
}

static void wait_for_all(void)
{
	unsigned int waited;

	for (waited = 0; nr_waiting && waited < WAIT_MS; waited += 100)
		dispatch(100);
	if (nr_waiting)
		fuzz_oracle("ANSWERS: %u submissions have none", nr_waiting);
}

static void model_view(struct model_resource *view, const struct renderer_context *context)
{
	uint32_t id;

	for (id = 1; id <= MAX_ID; id++) {
		bool attached = id_table_find(&context->resources, id);

		view[id] = (struct model_resource){
			.attached = attached,
			.readonly = resources[id].backing.readonly,
			.size = resources[id].backing.size,
			.first_page = (id - 1) * MODEL_PAGES,
		};
	}
}

static void do_submit(struct renderer_context *context, const struct fuzz_record *record)
{
	struct model_resource view[MAX_ID + 1] = { { .attached = false } };
	struct renderer_submission submission = {
		.ring = record->arg >> 2,
		.fenced = record->arg & 0x80,
		.data = record->data,
		.size = record->len,
	};
	uint8_t *state = &answered[nr_submissions];
	uint32_t ret;

	if (!context || nr_submissions == MAX_SUBMISSIONS)
		return;
	nr_submissions++;
	*state = WAITS;
	nr_waiting++;
	model_view(view, context);
	ret = ops->submit(renderer, context, &submission, state);
	if (ret) {
		if (*state != WAITS)
			fuzz_oracle("ANSWERS: a submission is both answered and refused");
		*state = FREE;
		nr_waiting--;
		if (ret < VIRTIO_GPU_RESP_ERR_UNSPEC)
			fuzz_oracle("ANSWERS: a submission is refused with 0x%x", ret);
		return;
	}
	if (!modelled)
		return;
	wait_for_all();
	if (!watch_has_failed())
		model_run(view, MAX_ID, record->data, record->len, last_response);
}

static void do_reset(void)
{
	uint32_t id;

	ops->reset(renderer);
	if (nr_waiting)
		fuzz_oracle("ANSWERS: %u submissions have none after a reset", nr_waiting);
	for (id = 1; id <= MAX_CONTEXT; id++)
		if (contexts[id])
			do_context(id);
	for (id = 1; id <= MAX_ID; id++) {
		if (resources[id].ended || resources[id].backing.holds)
			fuzz_oracle("RELEASE RULE: resource %u has %u holds after a reset", id,
				    resources[id].backing.holds);
		do_end(id);
	}
	nr_submissions = 0;
}

static void do_record(const struct fuzz_record *record)
{
	uint32_t id = record->arg % MAX_ID + 1;
	struct renderer_context *context = contexts[record->arg % MAX_CONTEXT + 1];

	switch (record->op) {
	case OP_CONTEXT:
		do_context(record->arg % MAX_CONTEXT + 1);
		break;
	case OP_RESOURCE:
		do_resource((record->arg & 0x3f) % MAX_ID + 1, record);
		break;
	case OP_ATTACH:
		do_attach(context, record->arg / MAX_CONTEXT % MAX_ID + 1);
		break;
	case OP_DETACH:
		do_detach(context, record->arg / MAX_CONTEXT % MAX_ID + 1);
		break;
	case OP_SUBMIT:
		do_submit(contexts[(record->arg & 3) % MAX_CONTEXT + 1], record);
		break;
	case OP_END:
		do_end(id);
		break;
	case OP_DISPATCH:
		dispatch(0);
		break;
	case OP_WAIT:
		wait_for_all();
		break;
	default:
		do_reset();
		break;
	}
}

static void set_up(const struct fuzz_input *input)
{
	modelled = input->head.mode & MODE_MODEL;
	memset(contexts, 0, sizeof(contexts));
	memset(resources, 0, sizeof(resources));
	nr_submissions = 0;
	nr_waiting = 0;
	if (modelled)
		model_begin();
}

static void run(const struct fuzz_input *input)
{
	const struct renderer_host host = {
		.submitted = submitted,
		.inject = inject,
		.stats = stats,
		.lost = lost,
	};
	struct renderer_config config = { .allow_inject = input->head.config & CONFIG_INJECT };
	unsigned int i;

	set_up(input);
	memory = guest_memory_new();
	if (!memory)
		return;
	if (guest_memory_set(memory, guest_regions(), GUEST_REGIONS) ||
	    ops->create(&config, &host, &renderer))
		goto free_memory;
	poison_begin(memory);
	for (i = 0; i < input->nr; i++)
		do_record(&input->records[i]);
	wait_for_all();
	do_reset();
	ops->destroy(renderer);
	poison_begin(NULL);
free_memory:
	guest_memory_free(memory);
}

/* ---- inputs that make sense ---- */

static void touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data)
{
	if (record->op == OP_SUBMIT && !fuzz_once_in(random, 8))
		record->len =
			(uint16_t)stream_touch(random, data, record->len, FUZZ_MAX_DATA, MAX_ID);
	else
		record->arg = (uint8_t)fuzz_random(random);
}

static void make_resource(struct fuzz_random *random, struct fuzz_maker *maker, uint32_t id,
			  uint32_t context)
{
	uint32_t nr = 1 + fuzz_below(random, MODEL_PAGES), i;
	uint8_t flags = (uint8_t)((fuzz_once_in(random, 5) ? 0x80 : 0) |
				  (fuzz_once_in(random, 4) ? 0x40 : 0));
	uint8_t *data = fuzz_make(maker, OP_RESOURCE, (uint8_t)(flags | (id - 1)), nr);

	for (i = 0; data && i < nr; i++)
		data[i] = (uint8_t)fuzz_random(random);
	fuzz_make(maker, OP_ATTACH, (uint8_t)(context + (id - 1) * MAX_CONTEXT), 0);
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	uint32_t context = fuzz_below(random, MAX_CONTEXT), id, nr;
	uint8_t stream[STREAM_MAX], *data;

	if (fuzz_once_in(random, 3)) {
		fuzz_make(maker, (uint8_t)fuzz_below(random, NR_OPS), (uint8_t)fuzz_random(random),
			  0);
		return;
	}
	if (fuzz_once_in(random, 3))
		fuzz_make(maker, OP_CONTEXT, (uint8_t)context, 0);
	for (id = 1; id <= MAX_ID; id++)
		if (fuzz_once_in(random, 2))
			make_resource(random, maker, id, context);
	for (nr = fuzz_below(random, 4); nr; nr--) {
		size_t len = stream_make(random, stream, MAX_ID);

		data = fuzz_make(maker, OP_SUBMIT, (uint8_t)(context | fuzz_below(random, 3) << 2),
				 len);
		if (data)
			memcpy(data, stream, len);
	}
	if (fuzz_once_in(random, 2))
		fuzz_make(maker, OP_END, (uint8_t)fuzz_below(random, MAX_ID), 0);
}

static bool seed(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker)
{
	struct fuzz_random random = { .state = nr + 1 };
	unsigned int i;

	if (nr >= 24)
		return false;
	input->head.mode = nr & 1 ? MODE_MODEL : 0;
	input->head.config = nr & 2 ? CONFIG_INJECT : 0;
	for (i = 0; i < MAX_CONTEXT; i++)
		fuzz_make(maker, OP_CONTEXT, (uint8_t)i, 0);
	for (i = 0; i < 4; i++)
		make(&random, maker);
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "loopback",
	.nr_ops = NR_OPS,
	.start = guest_start,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
