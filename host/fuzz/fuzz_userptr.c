// SPDX-License-Identifier: MIT
/*
 * fuzz_userptr: assembly, limits and lifetime of userptr resources, the core alone
 *
 * Records are the commands as they come from a ring, and what else happens to the
 * core: renderers that hold a resource, views that go later, other resources with an
 * id, another memory table, a reset.  A model of our own says what may be accepted.
 *
 * Finds: a resource that was accepted and must not be, or whose memory is not what
 * its entries said; totals that are not what is held; the end of one reported while
 * it is held or its view is there, not at all, or twice; drafts and views that are
 * left.
 */
#include <string.h>

#include <linux/virtio_gpu_userptr.h>

#include "fuzz/fuzz.h"
#include "fuzz/guest.h"
#include "fuzz/userptr_commands.h"
#include "fuzz/userptr_model.h"
#include "gpu/userptr.h"
#include "memory/memory_limits.h"
#include "memory/run_list.h"
#include "memory/worker.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA

enum op {
	/* The data is CREATE, ADD or DESTROY. */
	OP_COMMAND,
	/* A renderer takes a hold of resource arg, or gives one back. */
	OP_HOLD,
	OP_RELEASE,
	/* The view that waits longest is given up. */
	OP_VIEW_GONE,
	/* One that is being made is there, or will not be, with the answer arg. */
	OP_VIEW_MADE,
	/* Another kind of resource gets the id arg, or loses it. */
	OP_OTHER,
	/* The memory table has its first arg regions. */
	OP_TABLE,
	/* The drafts and views that follow: refused, or given up later, in bits of arg. */
	OP_VIEWS,
	OP_RESET,
	NR_OPS,
};

#define CONFIG_RDONLY 1u
#define CONFIG_VIEWS 2u
#define CONFIG_LARGE 4u
#define CONFIG_POPULATE 8u
#define CONFIG_WORKER 16u

#define VIEWS_REFUSE_DRAFT 1u
#define VIEWS_REFUSE_VIEW 2u
#define VIEWS_LATER 4u
#define VIEWS_MADE_LATER 8u

static struct guest_memory *memory;
static struct userptr_core *core;
static struct userptr_limits limits;
static struct memory_quotas quotas;
static struct worker *worker;
static struct model models[FUZZ_MAX_ID + 1];
static bool other[FUZZ_MAX_ID + 1];
static unsigned int nr_regions;
static uint8_t views;
static bool resetting;

static struct model *model_of(const struct backing *backing)
{
	if (!backing->id || backing->id > FUZZ_MAX_ID)
		fuzz_oracle("USERPTR: a resource has id %u", backing->id);
	return &models[backing->id];
}

static void model_fail(struct model *model)
{
	if (model->draft || model->view)
		fuzz_oracle("USERPTR: a resource that failed has a %s",
			    model->draft ? "draft" : "view");
	*model = (struct model){ .state = USERPTR_FAILED + 1 };
}

/* ---- what the core asks for ---- */

static bool id_in_use(void *opaque, uint32_t id)
{
	(void)opaque;
	return other[id];
}

static void destroyed(void *opaque, void *cookie)
{
	struct model *model = cookie;

	(void)opaque;
	if (resetting)
		fuzz_oracle("USERPTR: destroyed() in a reset");
	if (model->state != USERPTR_DYING + 1 || !model->answered)
		fuzz_oracle("USERPTR: destroyed() and nobody waits for it");
	if (model->holds || model->view || model->making)
		fuzz_oracle("RELEASE RULE: destroyed() with %u holds%s", model->holds,
			    model->view || model->making ? " and a view" : "");
	memset(model, 0, sizeof(*model));
}

/* The command that completed it is answered. */
static void completed(void *opaque, void *cookie, uint32_t response)
{
	struct model *model = cookie;

	(void)opaque;
	if (resetting)
		fuzz_oracle("USERPTR: completed() in a reset");
	if (response < OK)
		fuzz_oracle("USERPTR: an answer of 0x%x", response);
	/* DESTROY came first; its own end follows. */
	if (model->state == USERPTR_DYING + 1 && !model->answered) {
		model->answered = true;
		return;
	}
	if (model->state != USERPTR_MAKING + 1)
		fuzz_oracle("USERPTR: completed() and nobody waits for it");
	model->answered = true;
	if (response == OK)
		model->state = USERPTR_USABLE + 1;
	else
		model_fail(model);
}

static uint32_t view_extend(void *opaque, const struct backing *backing, void **draft)
{
	struct model *model = model_of(backing);

	(void)opaque;
	if (*draft != (model->draft ? model : NULL) || model->view)
		fuzz_oracle("USERPTR: a draft of another resource");
	if (views & VIEWS_REFUSE_DRAFT)
		return VIRTIO_GPU_RESP_ERR_LIMIT;
	model->draft = true;
	*draft = model;
	return OK;
}

static uint32_t view_create(void *opaque, struct userptr *userptr, void *draft, void **view)
{
	const struct backing *backing = userptr_backing(userptr);
	struct model *model = model_of(backing);

	(void)opaque;
	if (draft != model || !model->draft)
		fuzz_oracle("USERPTR: a view without a draft");
	if (run_list_bytes(&backing->runs) != backing->size)
		fuzz_oracle("USERPTR: a view of a part");
	if (views & VIEWS_REFUSE_VIEW)
		return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	model->draft = false;
	*view = model;
	model->making = views & VIEWS_MADE_LATER;
	model->view = !model->making;
	return model->making ? USERPTR_LATER : OK;
}

static void view_abandon(void *opaque, struct userptr *userptr, void *view)
{
	struct model *model = model_of(userptr_backing(userptr));

	(void)opaque;
	if (view != model || !model->making)
		fuzz_oracle("USERPTR: a view is abandoned that nobody makes");
	model->making = false;
}

static void view_discard(void *opaque, void *draft)
{
	struct model *model = draft;

	(void)opaque;
	if (!model->draft)
		fuzz_oracle("USERPTR: a draft is discarded twice");
	model->draft = false;
}

static bool view_quiesce(void *opaque, struct userptr *userptr, void *view, bool wait)
{
	struct model *model = model_of(userptr_backing(userptr));

	(void)opaque;
	if (view != model || !model->view || (!wait && model->leaving))
		fuzz_oracle("USERPTR: a view ends twice");
	if (model->holds)
		fuzz_oracle("RELEASE RULE: a view ends with %u holds", model->holds);
	model->leaving = true;
	if (!wait && views & VIEWS_LATER)
		return false;
	model->view = false;
	return true;
}

static const struct userptr_view_ops view_ops = {
	.extend = view_extend,
	.create = view_create,
	.abandon = view_abandon,
	.discard = view_discard,
	.quiesce = view_quiesce,
};

/* ---- the model ---- */

/* The whole memory of a resource is what the entries named. */
static void check_memory(uint32_t id)
{
	struct backing *backing = userptr_backing(userptr_find(core, id));
	const struct model *model = &models[id];
	uint64_t len;
	uint32_t i;

	if (backing->size != model->size || run_list_bytes(&backing->runs) != model->size ||
	    backing->readonly != model->readonly)
		fuzz_oracle("USERPTR: resource %u is of another size or kind than was said", id);
	for (i = 0; i < model->nr_pages; i++) {
		const uint8_t *at = run_list_piece(&backing->runs, (uint64_t)i * GUEST_PAGE, &len);

		if (!at || len < GUEST_PAGE || fuzz_get(at, 4, 0, 4) != model->pages[i])
			fuzz_oracle("USERPTR: page %u of resource %u is another one", i, id);
	}
}

/* Whether everything that is there, and @then, has room in the budget, however it is merged. */
static bool has_room(uint32_t id, const struct model *then)
{
	uint64_t pages = then->nr_pages, resources = 1, bytes = then->size;
	uint32_t i;

	for (i = 1; i <= FUZZ_MAX_ID; i++) {
		pages += i == id ? 0 : models[i].nr_pages;
		bytes += i == id ? 0 : models[i].size;
		resources += i != id && models[i].state;
	}
	/* Room for runs is taken by doubling, from four on. */
	/* What is not counted any more may be anything. */
	return pages < MAX_MODEL_PAGES && then->size <= guest_memory_bytes(memory) &&
	       2 * pages + 4 * resources <= quotas.runs.max && resources <= quotas.resources.max &&
	       bytes <= quotas.bytes.max && then->nr_pages <= limits.max_segments;
}

/* What the core answered to what the model says of it. */
static void settle(uint32_t id, uint32_t answer, bool legal, struct model *then)
{
	struct model *model = &models[id];

	/* What its views were is kept by the callbacks. */
	then->draft = model->draft;
	then->view = model->view;
	then->making = model->making;
	if (answer == USERPTR_LATER && legal && then->described == then->size) {
		*model = *then;
		model->state = USERPTR_MAKING + 1;
		return;
	}
	if (answer != OK) {
		if (legal && !watch_has_failed() && answer == VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER)
			fuzz_oracle("USERPTR: a command without fault is called invalid");
		if (legal && answer == VIRTIO_GPU_RESP_ERR_LIMIT && !views && has_room(id, then))
			fuzz_oracle("QUOTA: resource %u is refused, and there is room for it", id);
		model_fail(model);
		return;
	}
	if (!legal)
		fuzz_oracle("USERPTR: resource %u: a command was accepted that must not be", id);
	*model = *then;
	model->state = 1 + (model->described == model->size ? USERPTR_USABLE : USERPTR_HALF_BUILT);
	if (model->state == USERPTR_USABLE + 1)
		check_memory(id);
}

/* ---- records ---- */

static void do_create(const struct fuzz_record *record)
{
	uint64_t id = fuzz_get(record->data, record->len, 24, 4);
	uint32_t answer = userptr_create(core, record->data, record->len, &models[id]);
	struct model then = { .state = 0 };
	bool legal;

	if (record->len < FUZZ_CREATE || !id || models[id].state || other[id]) {
		if (answer != VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID &&
		    answer != VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER)
			fuzz_oracle("USERPTR: CREATE with a bad id is answered with 0x%x", answer);
		return;
	}
	legal = model_create(&then, &limits, nr_regions, record->data, record->len);
	if (!userptr_find(core, (uint32_t)id)) {
		/* No room for another one. */
		if (answer == OK)
			fuzz_oracle("USERPTR: OK, and there is no resource");
		return;
	}
	settle((uint32_t)id, answer, legal, &then);
}

static void do_add(const struct fuzz_record *record)
{
	uint64_t id = fuzz_get(record->data, record->len, 24, 4);
	uint32_t answer = userptr_add_pages(core, record->data, record->len, &models[id]);
	struct model then;
	bool legal;

	if (record->len < FUZZ_ADD || models[id].state != USERPTR_HALF_BUILT + 1) {
		if (answer == OK)
			fuzz_oracle("USERPTR: ADD to a resource that is not half-built");
		return;
	}
	then = models[id];
	legal = model_add(&then, &limits, nr_regions, record->data, record->len);
	settle((uint32_t)id, answer, legal, &then);
}

static void do_destroy(const struct fuzz_record *record)
{
	uint64_t id = fuzz_get(record->data, record->len, 24, 4);
	struct userptr *userptr;
	struct model *model;

	if (userptr_destroy_check(core, record->data, record->len, &userptr) != OK)
		return;
	if (record->len != FUZZ_DESTROY || !models[id].state ||
	    models[id].state == USERPTR_DYING + 1)
		fuzz_oracle("USERPTR: DESTROY of what cannot be destroyed");
	model = &models[id];
	if (model->state != USERPTR_MAKING + 1)
		model->answered = true;
	model->state = USERPTR_DYING + 1;
	userptr_destroy_begin(userptr, model);
	if (userptr_find(core, (uint32_t)id) != userptr)
		fuzz_oracle("USERPTR: the id of a dying resource is free");
	userptr_destroy_end(userptr);
}

static void do_command(const struct fuzz_record *record)
{
	/* Here too, an access past the end is to be seen. */
	static uint8_t copy[FUZZ_MAX_DATA];
	uint8_t *data = copy + sizeof(copy) - record->len;
	struct fuzz_record moved = *record;

	if (record->len)
		memcpy(data, record->data, record->len);
	/* Other ids are as good as these. */
	fuzz_put(data, record->len, 24, 4, fuzz_get(data, record->len, 24, 4) % (FUZZ_MAX_ID + 1));
	moved.data = data;
	switch (fuzz_get(record->data, record->len, 0, 4)) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR:
		do_create(&moved);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES:
		do_add(&moved);
		break;
	default:
		do_destroy(&moved);
		break;
	}
}

/* Only what can be attached is held. */
static void do_hold(uint32_t id)
{
	if (models[id].state != USERPTR_USABLE + 1)
		return;
	models[id].holds++;
	backing_hold(userptr_backing(userptr_find(core, id)));
}

static void do_release(uint32_t id)
{
	if (!models[id].holds)
		return;
	models[id].holds--;
	backing_release(userptr_backing(userptr_find(core, id)));
}

static void do_view_gone(void)
{
	uint32_t id;

	for (id = 1; id <= FUZZ_MAX_ID; id++) {
		if (!models[id].view || !models[id].leaving)
			continue;
		models[id].view = false;
		userptr_view_gone(userptr_find(core, id));
		return;
	}
}

static void do_view_made(uint8_t arg)
{
	uint32_t id;

	for (id = 1; id <= FUZZ_MAX_ID; id++) {
		struct model *model = &models[id];

		if (!model->making)
			continue;
		model->making = false;
		model->view = arg % 2;
		userptr_view_made(userptr_find(core, id), arg % 2 ? model : NULL,
				  arg % 2 ? OK : VIRTIO_GPU_RESP_ERR_UNSPEC);
		return;
	}
}

static void do_reset(void)
{
	uint32_t id;

	for (id = 1; id <= FUZZ_MAX_ID; id++)
		while (models[id].holds)
			do_release(id);
	resetting = true;
	userptr_core_reset(core);
	resetting = false;
	for (id = 1; id <= FUZZ_MAX_ID; id++)
		if (models[id].draft || models[id].view || models[id].making)
			fuzz_oracle("USERPTR: a draft or view is left after a reset");
	memset(models, 0, sizeof(models));
}

static void set_table(unsigned int nr)
{
	if (!guest_memory_set(memory, guest_regions(), nr))
		nr_regions = nr;
}

static void do_record(const struct fuzz_record *record)
{
	uint32_t id = record->arg % FUZZ_MAX_ID + 1;

	switch (record->op) {
	case OP_COMMAND:
		do_command(record);
		break;
	case OP_HOLD:
		do_hold(id);
		break;
	case OP_RELEASE:
		do_release(id);
		break;
	case OP_VIEW_GONE:
		do_view_gone();
		break;
	case OP_VIEW_MADE:
		do_view_made(record->arg);
		break;
	case OP_OTHER:
		if (!models[id].state)
			other[id] = !other[id];
		break;
	case OP_TABLE:
		set_table(record->arg % (GUEST_REGIONS + 1));
		break;
	case OP_VIEWS:
		views = record->arg;
		break;
	default:
		do_reset();
		break;
	}
}

static void check_totals(void)
{
	struct userptr_totals totals;
	uint64_t resources = 0, segments = 0, bytes = 0;
	uint32_t id;

	for (id = 1; id <= FUZZ_MAX_ID; id++) {
		resources += models[id].state != 0;
		segments += models[id].received;
		bytes += models[id].described;
	}
	userptr_core_totals(core, &totals);
	if (totals.resources != resources || totals.segments != segments || totals.bytes != bytes)
		fuzz_oracle("QUOTA: %llu resources, %llu segments, %llu bytes, %llu runs; "
			    "expected are %llu, %llu, %llu",
			    (unsigned long long)totals.resources,
			    (unsigned long long)totals.segments, (unsigned long long)totals.bytes,
			    (unsigned long long)totals.runs, (unsigned long long)resources,
			    (unsigned long long)segments, (unsigned long long)bytes);
}

/* Nothing is charged above its limit, if that does not follow memory; or nothing at all. */
static void check_quotas(bool empty)
{
	const struct quota *const all[] = { &quotas.bytes, &quotas.runs, &quotas.resources };
	bool fixed = quotas.given.total_bytes;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		if ((fixed && all[i]->peak > all[i]->max) || (empty && all[i]->used))
			fuzz_oracle("QUOTA: %s: %llu of %llu", all[i]->name,
				    (unsigned long long)all[i]->used,
				    (unsigned long long)all[i]->max);
}

/* After everything is gone nothing is charged. */
static void check_empty(void)
{
	struct userptr_totals totals;

	check_quotas(true);

	userptr_core_totals(core, &totals);
	if (totals.resources || totals.segments || totals.bytes || totals.runs)
		fuzz_oracle("QUOTA: something is charged when everything is gone");
}

static void set_up(uint8_t config)
{
	limits = (struct userptr_limits){
		.max_size = config & CONFIG_LARGE ? UINT64_MAX : 64 * GUEST_PAGE,
		.max_segments = config & CONFIG_LARGE ? UINT32_MAX : 16,
		.max_entries = config & CONFIG_LARGE ? UINT32_MAX : 8,
		.rdonly = config & CONFIG_RDONLY,
	};
	memset(models, 0, sizeof(models));
	memset(other, 0, sizeof(other));
	views = 0;
	nr_regions = 0;
	worker = NULL;
}

static void dispatch(void)
{
	if (worker)
		worker_dispatch(worker);
}

static void run_records(const struct fuzz_input *input)
{
	unsigned int i;

	set_table(GUEST_REGIONS);
	for (i = 0; i < input->nr; i++) {
		do_record(&input->records[i]);
		dispatch();
		check_totals();
		check_quotas(false);
	}
	do_reset();
	check_empty();
}

static void run(const struct fuzz_input *input)
{
	struct userptr_host host = {
		.id_in_use = id_in_use,
		.completed = completed,
		.destroyed = destroyed,
		.quotas = &quotas,
	};
	uint8_t config = input->head.config;
	const struct memory_limits given = {
		.total_bytes = config & CONFIG_LARGE ? 0 : 128 * GUEST_PAGE,
		.total_runs = config & CONFIG_LARGE ? 0 : 64,
		.resources = config & CONFIG_LARGE ? 0 : 6,
	};

	set_up(config);
	host.populate = config & CONFIG_POPULATE;
	if (config & CONFIG_VIEWS)
		host.view = &view_ops;
	memory = guest_memory_new();
	if (!memory)
		return;
	memory_quotas_init(&quotas, &given, memory);
	if (config & CONFIG_WORKER && worker_new(&worker))
		goto free_memory;
	host.worker = worker;
	core = userptr_core_new(&limits, &host, memory);
	if (core) {
		run_records(input);
		userptr_core_free(core);
	}
	worker_free(worker);
free_memory:
	guest_memory_free(memory);
}

/* Each page says which it is. */
static void start(void)
{
	uint32_t page;

	guest_start();
	for (page = 0; page < GUEST_PAGES; page++)
		fuzz_put(guest_page(page), 4, 0, 4, page);
	for (page = 0; page < GUEST_RINGS / GUEST_PAGE; page++)
		fuzz_put(guest_at(page * GUEST_PAGE), 4, 0, 4, GUEST_PAGES + page);
}

static void touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data)
{
	if (record->op == OP_COMMAND)
		record->len = (uint16_t)fuzz_touch_userptr(random, data, record->len);
	else
		record->arg = (uint8_t)fuzz_random(random);
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	uint32_t id = 1 + fuzz_below(random, FUZZ_MAX_ID);
	uint8_t arg = (uint8_t)(id - 1);

	if (fuzz_once_in(random, 3)) {
		fuzz_make(maker, (uint8_t)(1 + fuzz_below(random, NR_OPS - 1)),
			  (uint8_t)fuzz_random(random), 0);
		return;
	}
	if (!fuzz_once_in(random, 4))
		fuzz_make_userptr(random, maker, OP_COMMAND, 0, id);
	if (fuzz_once_in(random, 2))
		fuzz_make(maker, OP_HOLD, arg, 0);
	if (fuzz_once_in(random, 2))
		fuzz_make_destroy(maker, OP_COMMAND, 0, id);
	if (fuzz_once_in(random, 2))
		fuzz_make(maker, OP_RELEASE, arg, 0);
}

static bool seed(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker)
{
	struct fuzz_random random = { .state = nr + 1 };
	unsigned int i;

	if (nr >= 16)
		return false;
	input->head.config =
		(uint8_t)(nr | (nr & 2 ? CONFIG_POPULATE : 0) | (nr & 8 ? CONFIG_WORKER : 0));
	for (i = 0; i < 6; i++)
		make(&random, maker);
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "userptr",
	.nr_ops = NR_OPS,
	.start = start,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
