/* SPDX-License-Identifier: MIT */
/*
 * userptr_test: what the tests of the userptr core share
 *
 * The core alone, with a host of our own that records what is destroyed.
 */
#ifndef USERPTR_TEST_H
#define USERPTR_TEST_H

#include "gpu/userptr.h"
#include "memory/memory_limits.h"
#include "memory/worker.h"
#include "tests/gpu/gpu_test.h"

#define RAM_SIZE (64 * PAGE)
#define SEAM (RAM_BASE + RAM_SIZE / 2)

/**
 * struct core_bench - a core on the bench
 * @memory: guest memory; only that part of it is used
 * @quotas: what it may take
 * @worker: of its own, or NULL
 * @core: it
 * @blob_id: an id that a blob has
 * @completed: cookie of the last command that was answered later
 * @completed_with: what
 * @completed_state: of resource 1 then
 * @nr_completed: how many
 * @destroyed: cookie of the last destroyed resource
 * @nr_destroyed: how many
 * @view_answer: what the view's create returns
 * @view_later: it returns USERPTR_LATER, and the resource is @making then
 * @making: see @view_later
 * @abandoned: resources that were given up while their view was made
 * @extend_answer: what its extend returns
 * @view_waits: the view's quiesce is not done at once
 * @drafts: live ones
 * @extended: how often a draft was
 * @views: live ones
 */
struct core_bench {
	struct bench memory;
	struct memory_quotas quotas;
	struct worker *worker;
	struct userptr_core *core;
	uint32_t blob_id;
	void *completed;
	uint32_t completed_with;
	enum userptr_state completed_state;
	unsigned int nr_completed;
	void *destroyed;
	unsigned int nr_destroyed;
	uint32_t view_answer;
	bool view_later;
	struct userptr *making;
	unsigned int abandoned;
	uint32_t extend_answer;
	bool view_waits;
	int drafts;
	unsigned int extended;
	int views;
};

static inline bool id_in_use(void *opaque, uint32_t id)
{
	struct core_bench *cb = opaque;

	return id == cb->blob_id;
}

static inline void completed(void *opaque, void *cookie, uint32_t response)
{
	struct core_bench *cb = opaque;

	cb->completed = cookie;
	cb->completed_with = response;
	if (userptr_find(cb->core, 1))
		cb->completed_state = userptr_state(userptr_find(cb->core, 1));
	cb->nr_completed++;
}

static inline void destroyed(void *opaque, void *cookie)
{
	struct core_bench *cb = opaque;

	cb->destroyed = cookie;
	cb->nr_destroyed++;
}

/* A draft is a count of the runs that it was shown: of memory, so that leaks show. */
static inline uint32_t view_extend(void *opaque, const struct backing *backing, void **draft)
{
	struct core_bench *cb = opaque;

	if (!*draft) {
		*draft = calloc(1, sizeof(size_t));
		assert_non_null(*draft);
		cb->drafts++;
	}
	assert_null(backing->view);
	assert_true(backing->runs.nr >= *(size_t *)*draft);
	*(size_t *)*draft = backing->runs.nr;
	cb->extended++;
	return cb->extend_answer;
}

static inline void view_discard(void *opaque, void *draft)
{
	struct core_bench *cb = opaque;

	assert_non_null(draft);
	free(draft);
	cb->drafts--;
}

static inline uint32_t view_create(void *opaque, struct userptr *userptr, void *draft, void **view)
{
	const struct backing *backing = userptr_backing(userptr);
	struct core_bench *cb = opaque;

	assert_int_equal(run_list_bytes(&backing->runs), backing->size);
	/* The last chunk was shown, too. */
	assert_int_equal(*(size_t *)draft, backing->runs.nr);
	if (cb->view_later) {
		view_discard(cb, draft);
		*view = &cb->making;
		cb->making = userptr;
		return USERPTR_LATER;
	}
	if (cb->view_answer == OK) {
		view_discard(cb, draft);
		*view = cb;
		cb->views++;
	}
	return cb->view_answer;
}

static inline bool view_quiesce(void *opaque, struct userptr *userptr, void *view, bool wait)
{
	struct core_bench *cb = opaque;

	(void)userptr;
	assert_ptr_equal(view, cb);
	if (cb->view_waits && !wait)
		return false;
	cb->views--;
	return true;
}

static inline void view_abandon(void *opaque, struct userptr *userptr, void *view)
{
	struct core_bench *cb = opaque;

	assert_ptr_equal(view, &cb->making);
	assert_ptr_equal(userptr, cb->making);
	/* It may take the runs. */
	run_list_destroy(&userptr_backing(userptr)->runs);
	cb->making = NULL;
	cb->abandoned++;
}

/* The view that was to come has come. */
static inline void view_comes(struct core_bench *cb, uint32_t response)
{
	struct userptr *userptr = cb->making;

	assert_non_null(userptr);
	cb->making = NULL;
	cb->views += response == OK;
	userptr_view_made(userptr, response == OK ? cb : NULL, response);
}

static const struct userptr_view_ops view_ops = {
	.extend = view_extend,
	.create = view_create,
	.abandon = view_abandon,
	.discard = view_discard,
	.quiesce = view_quiesce,
};

static const struct userptr_limits default_limits = {
	.max_size = 1ull << 32,
	.max_segments = 32,
	.max_entries = 8,
	.rdonly = true,
};

/* Sums: a core of 40 runs, 16 resources, and otherwise what follows from RAM. */
static const struct memory_limits default_sums = { .total_runs = 40, .resources = 16 };

/* With @threaded nothing is done at once that is not small. */
static inline struct core_bench *core_bench_new_of(const struct userptr_limits *limits,
						   const struct memory_limits *sums, bool view,
						   bool threaded, size_t ram_size)
{
	struct core_bench *cb = calloc(1, sizeof(*cb));
	struct userptr_host host = {
		.opaque = cb,
		.id_in_use = id_in_use,
		.completed = completed,
		.destroyed = destroyed,
		.view = view ? &view_ops : NULL,
		.populate = true,
	};

	assert_non_null(cb);
	cb->view_answer = OK;
	cb->extend_answer = OK;
	cb->memory.gm = bench_memory(&cb->memory, ram_size);
	memory_quotas_init(&cb->quotas, sums, cb->memory.gm);
	if (threaded)
		assert_int_equal(worker_new(&cb->worker), 0);
	host.quotas = &cb->quotas;
	host.worker = cb->worker;
	cb->core = userptr_core_new(limits, &host, cb->memory.gm);
	assert_non_null(cb->core);
	return cb;
}

static inline struct core_bench *core_bench_new(const struct userptr_limits *limits, bool view)
{
	return core_bench_new_of(limits, &default_sums, view, false, RAM_SIZE);
}

static inline void core_bench_free(struct core_bench *cb)
{
	userptr_core_free(cb->core);
	worker_free(cb->worker);
	assert_int_equal(cb->quotas.bytes.used, 0);
	assert_int_equal(cb->quotas.runs.used, 0);
	assert_int_equal(cb->quotas.resources.used, 0);
	assert_int_equal(cb->drafts, 0);
	assert_int_equal(cb->views, 0);
	bench_memory_free(&cb->memory);
	free(cb);
}

static inline int setup(void **state)
{
	*state = core_bench_new(&default_limits, false);
	return 0;
}

static inline int setup_view(void **state)
{
	*state = core_bench_new(&default_limits, true);
	return 0;
}

static inline int teardown(void **state)
{
	core_bench_free(*state);
	return 0;
}

static inline uint32_t create_raw(struct core_bench *cb,
				  const struct virtio_gpu_resource_create_userptr *head,
				  const struct piece *pieces, unsigned int nr)
{
	size_t len;
	void *cmd = with_entries(head, sizeof(*head), pieces, nr, &len);
	uint32_t ret = userptr_create(cb->core, cmd, len, cb);

	free(cmd);
	return ret;
}

static inline uint32_t create(struct core_bench *cb, uint32_t id, uint64_t size, uint32_t segments,
			      const struct piece *pieces, unsigned int nr)
{
	struct virtio_gpu_resource_create_userptr head = create_head(id, 0, size, segments, nr);

	return create_raw(cb, &head, pieces, nr);
}

static inline uint32_t add(struct core_bench *cb, uint32_t id, uint64_t offset,
			   const struct piece *pieces, unsigned int nr)
{
	struct virtio_gpu_resource_add_userptr_pages head = add_head(id, offset, nr);
	size_t len;
	void *cmd = with_entries(&head, sizeof(head), pieces, nr, &len);
	uint32_t ret = userptr_add_pages(cb->core, cmd, len, cb);

	free(cmd);
	return ret;
}

static inline uint32_t destroy(struct core_bench *cb, uint32_t id, void *cookie)
{
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0),
		.resource_id = htole32(id),
	};
	struct userptr *userptr;
	uint32_t ret = userptr_destroy_check(cb->core, &cmd, sizeof(cmd), &userptr);

	if (ret != OK)
		return ret;
	userptr_destroy_begin(userptr, cookie);
	userptr_destroy_end(userptr);
	return OK;
}

static inline struct userptr_totals totals(struct core_bench *cb)
{
	struct userptr_totals t;

	userptr_core_totals(cb->core, &t);
	return t;
}

/* It failed, holds nothing, takes only DESTROY, and its id is free then. */
static inline void assert_failed(struct core_bench *cb, uint32_t id)
{
	struct piece page = { RAM_BASE, PAGE };
	unsigned int before = cb->nr_destroyed;

	assert_non_null(userptr_find(cb->core, id));
	assert_int_equal(userptr_state(userptr_find(cb->core, id)), USERPTR_FAILED);
	assert_int_equal(userptr_backing(userptr_find(cb->core, id))->runs.nr, 0);
	assert_int_equal(totals(cb).runs, 0);
	assert_int_equal(totals(cb).bytes, 0);
	assert_int_equal(add(cb, id, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(create(cb, id, PAGE, 1, &page, 1), ERR_RESOURCE);
	assert_int_equal(destroy(cb, id, cb), OK);
	assert_int_equal(cb->nr_destroyed, before + 1);
	assert_null(userptr_find(cb->core, id));
}

static inline void half_built(struct core_bench *cb)
{
	struct piece page = { RAM_BASE, PAGE };

	assert_int_equal(create(cb, 3, 4 * PAGE, 4, &page, 1), OK);
}

#endif /* USERPTR_TEST_H */
