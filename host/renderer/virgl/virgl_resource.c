// SPDX-License-Identifier: MIT
/*
 * virgl_resource: resources of the library, and who has them
 *
 * A userptr resource is imported as a dma-buf, a guest blob as pages, once for all
 * contexts, when the first is to have it.  The last step is that the library forgets
 * it, when every context has been told that it is not to use it any more.  Who has or
 * once had a resource is remembered longer than that: until nobody can reach the memory
 * any more (virgl_forget()).  So it is known whom to end who does not let go.
 *
 * Threads: the ring thread only.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/udmabuf.h"
#include "util/log.h"

/**
 * virgl_find_live() - a resource that the library has
 * @renderer: whose
 * @id: the guest's
 *
 * Return: it or NULL.
 */
struct resource *virgl_find_live(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	return resource && resource->state == RESOURCE_LIVE ? resource : NULL;
}

/**
 * virgl_add_holder() - remember that a context has a resource
 * @renderer: whose
 * @resource: it
 * @id: the library's id of the context
 *
 * Return: 0 or -ENOMEM.
 */
int virgl_add_holder(struct renderer *renderer, struct resource *resource, uint32_t id)
{
	size_t i, nr = 0;

	/* Contexts that are gone, worker and all, have nothing any more. */
	for (i = 0; resource->nr_holders == resource->max_holders && i < resource->nr_holders; i++)
		if (virgl_find_context(renderer, resource->holders[i]))
			resource->holders[nr++] = resource->holders[i];
	if (i)
		resource->nr_holders = nr;
	for (i = 0; i < resource->nr_holders; i++)
		if (resource->holders[i] == id)
			return 0;
	if (resource->nr_holders == resource->max_holders) {
		size_t max = resource->max_holders ? resource->max_holders * 2 : 2;
		uint32_t *holders = realloc(resource->holders, max * sizeof(*holders));

		if (!holders)
			return -ENOMEM;
		resource->holders = holders;
		resource->max_holders = max;
	}
	resource->holders[resource->nr_holders++] = id;
	return 0;
}

static void resource_free(struct resource *resource)
{
	free(resource->iov);
	free(resource->holders);
	free(resource);
}

/**
 * virgl_forget_resource() - take it off the table
 * @renderer: whose
 * @resource: it; is freed
 */
void virgl_forget_resource(struct renderer *renderer, struct resource *resource)
{
	id_table_remove(&renderer->resources, resource->id);
	resource_free(resource);
}

/**
 * virgl_resource_new() - a new resource on the table
 * @renderer: whose
 * @id: the guest's; one of the past with that id is over
 * @kind: see there
 * @size: bytes
 *
 * Return: it, or NULL: the id is in use, or there is no memory.
 */
struct resource *virgl_resource_new(struct renderer *renderer, uint32_t id, enum resource_kind kind,
				    uint64_t size)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	if (resource && resource->state != RESOURCE_PAST)
		return NULL;
	if (resource)
		virgl_forget_resource(renderer, resource);
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return NULL;
	resource->id = id;
	resource->kind = kind;
	resource->size = size;
	resource->state = RESOURCE_LIVE;
	if (id_table_insert(&renderer->resources, id, resource)) {
		free(resource);
		return NULL;
	}
	return resource;
}

/* All contexts were told: the library forgets it, and so do we, if not for virgl_forget(). */
static void resource_gone(struct renderer *renderer, struct resource *resource)
{
	struct backing *backing = resource->backing;
	uint32_t response = resource->response;
	bool tell = resource->tell;
	void *cookie = resource->cookie;

	virgl_renderer_resource_unref(resource->id);
	if (resource->kind == RESOURCE_IMPORT) {
		resource->state = RESOURCE_PAST;
		return;
	}
	virgl_forget_resource(renderer, resource);
	if (backing)
		backing_release(backing);
	if (!tell)
		return;
	if (response)
		renderer->host.blob_created(renderer->host.opaque, cookie, response);
	else
		renderer->host.blob_destroyed(renderer->host.opaque, cookie);
}

/**
 * virgl_unqueue_resource() - an item that named it is out of its queue
 * @renderer: whose
 * @resource: it; may be gone then
 */
void virgl_unqueue_resource(struct renderer *renderer, struct resource *resource)
{
	if (resource->state == RESOURCE_GOING && !resource->queued)
		resource_gone(renderer, resource);
}

/**
 * virgl_end_resource() - have the library forget a resource
 * @renderer: whose
 * @resource: live; may be gone then
 *
 * The library tells each context that has the resource, and waits until there is room
 * for that.  So tell them one by one, in the order of their work.
 */
void virgl_end_resource(struct renderer *renderer, struct resource *resource)
{
	size_t i;

	resource->state = RESOURCE_GOING;
	/* It is not gone before all have been asked. */
	resource->queued++;
	for (i = 0; i < resource->nr_holders; i++) {
		struct virgl_context *context = virgl_find_context(renderer, resource->holders[i]);

		if (context && context->state <= CONTEXT_BROKEN)
			virgl_take_resource(context, resource);
	}
	resource->queued--;
	virgl_unqueue_resource(renderer, resource);
}

/* ---- what contexts have ---- */

/* The library gives it, and there is room for that; notice if it did not. */
static int attach_now(struct virgl_context *context, struct resource *resource)
{
	int err = id_table_insert(&context->has, resource->id, resource);

	if (err)
		return err;
	if (resource->dmabuf && drm_guard_add(&context->guard, resource->id)) {
		err = -ENOMEM;
		goto remove;
	}
	virgl_listen();
	virgl_renderer_ctx_attach_resource((int)context->id, (int)resource->id);
	context->sent++;
	/* What goes wrong with a worker is only remarked upon. */
	if (!virgl_complained(context->capset == CAPSET_VENUS))
		return 0;
	err = -EIO;
	drm_guard_remove(&context->guard, resource->id);
remove:
	id_table_remove(&context->has, resource->id);
	return err;
}

/* There is room for that. */
static void detach_now(struct virgl_context *context, struct resource *resource)
{
	id_table_remove(&context->has, resource->id);
	drm_guard_remove(&context->guard, resource->id);
	virgl_renderer_ctx_detach_resource((int)context->id, (int)resource->id);
	context->sent++;
}

static void item_is_over(struct virgl_context *context, struct virgl_item *item)
{
	virgl_queue_remove(context, item);
	virgl_item_free(item);
}

/**
 * virgl_attach_step() - give a context the resource that it was promised
 * @context: to whom
 * @item: first in its queue
 *
 * Return: what became of it.
 */
enum virgl_step virgl_attach_step(struct virgl_context *context, struct virgl_item *item)
{
	struct resource *resource = item->resource;

	if (resource->state == RESOURCE_MAKING)
		return STEP_OTHER;
	if (!virgl_context_has_room(context))
		return STEP_FULL;
	if (!id_table_find(&context->has, resource->id) && attach_now(context, resource)) {
		virgl_context_break(context, "it cannot have a resource");
		return STEP_BUSY;
	}
	item_is_over(context, item);
	return STEP_DONE;
}

/**
 * virgl_detach_step() - take a resource away that a context was to give back
 * @context: from whom
 * @item: first in its queue
 *
 * Return: what became of it.
 */
enum virgl_step virgl_detach_step(struct virgl_context *context, struct virgl_item *item)
{
	struct resource *resource = item->resource;

	if (id_table_find(&context->has, resource->id)) {
		if (!virgl_context_has_room(context))
			return STEP_FULL;
		detach_now(context, resource);
	}
	item_is_over(context, item);
	return STEP_DONE;
}

static int queue_resource(struct virgl_context *context, struct resource *resource,
			  enum virgl_item_kind kind)
{
	struct virgl_item *item = virgl_item_new(kind, 0);

	if (!item)
		return -ENOMEM;
	item->resource = resource;
	virgl_queue_add(context, item);
	virgl_queue_run(context);
	return 0;
}

/**
 * virgl_give_resource() - a context may use a resource
 * @context: which runs
 * @resource: live, or being made
 *
 * Behind what it is to do before; what it is to do then comes behind this.
 *
 * Return: 0 or a negative errno, also if the library failed.
 */
int virgl_give_resource(struct virgl_context *context, struct resource *resource)
{
	struct virgl_item *detach = virgl_queue_find(context, resource, ITEM_DETACH);

	if (virgl_add_holder(context->renderer, resource, context->id))
		return -ENOMEM;
	/* It was to lose it, and keeps it. */
	if (detach) {
		virgl_queue_remove(context, detach);
		virgl_item_free(detach);
		return 0;
	}
	if (id_table_find(&context->has, resource->id) ||
	    virgl_queue_find(context, resource, ITEM_ATTACH))
		return 0;
	if (resource->state == RESOURCE_LIVE && !context->nr_queued &&
	    virgl_context_has_room(context))
		return attach_now(context, resource);
	if (context->state != CONTEXT_RUNS || !virgl_queue_takes(context, 0))
		return -EIO;
	return queue_resource(context, resource, ITEM_ATTACH);
}

/**
 * virgl_take_resource() - a context is to use a resource no more
 * @context: which runs, or is broken
 * @resource: it
 *
 * Behind what it is to do before.
 */
void virgl_take_resource(struct virgl_context *context, struct resource *resource)
{
	bool makes = resource->state == RESOURCE_MAKING && resource->maker == context->id;

	if (!id_table_find(&context->has, resource->id) && !makes &&
	    !virgl_queue_find(context, resource, ITEM_ATTACH))
		return;
	if (virgl_queue_find(context, resource, ITEM_DETACH))
		return;
	if (!context->nr_queued && id_table_find(&context->has, resource->id) &&
	    virgl_context_has_room(context)) {
		detach_now(context, resource);
		return;
	}
	if (context->state == CONTEXT_RUNS)
		virgl_queue_takes(context, 0);
	/* Who is broken must not be told, but is waited for until it is ended. */
	if (!queue_resource(context, resource, ITEM_DETACH))
		return;
	virgl_answer_retired(context);
	context->why = "out of memory";
	context->report = true;
	virgl_context_end(context);
}

static int import_view(struct renderer *renderer, struct backing *backing, struct resource **out)
{
	struct virgl_renderer_resource_import_blob_args args = {
		.res_handle = backing->id,
		.blob_mem = VIRGL_RENDERER_BLOB_MEM_HOST3D,
		.fd_type = VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF,
		.size = backing->size,
	};
	struct resource *resource;
	int err;

	if (virgl_short_of_descriptors(renderer))
		return -ENOMEM;
	args.fd = udmabuf_view_dup(memory_view_udmabuf(backing->view));
	if (args.fd < 0)
		return args.fd;
	err = -ENOMEM;
	resource = virgl_resource_new(renderer, backing->id, RESOURCE_IMPORT, backing->size);
	if (!resource)
		goto close_fd;
	resource->dmabuf = true;
	err = virgl_renderer_resource_import_blob(&args);
	if (err) {
		virgl_forget_resource(renderer, resource);
		/* Only what it takes for a mistake of ours leaves the descriptor with us. */
		if (err == -EINVAL)
			goto close_fd;
		return err;
	}
	*out = resource;
	return 0;

close_fd:
	close(args.fd);
	return err;
}

/**
 * virgl_make_iov() - pages in the library's form
 * @backing: whose
 *
 * Return: to be freed, or NULL.
 */
struct iovec *virgl_make_iov(const struct backing *backing)
{
	struct iovec *iov = calloc(backing->runs.nr, sizeof(*iov));
	size_t i;

	for (i = 0; iov && i < backing->runs.nr; i++)
		iov[i] = (struct iovec){
			.iov_base = run_pointer(&backing->runs.runs[i]),
			.iov_len = backing->runs.runs[i].length,
		};
	return iov;
}

static int import_pages(struct renderer *renderer, struct backing *backing, struct resource **out)
{
	struct virgl_renderer_resource_create_blob_args args = {
		.res_handle = backing->id,
		.blob_mem = VIRGL_RENDERER_BLOB_MEM_GUEST,
		.size = backing->size,
		.num_iovs = (uint32_t)backing->runs.nr,
	};
	struct resource *resource;
	int err = -ENOMEM;

	resource = virgl_resource_new(renderer, backing->id, RESOURCE_PAGES, backing->size);
	if (!resource)
		return -ENOMEM;
	resource->iov = virgl_make_iov(backing);
	if (!resource->iov)
		goto forget;
	args.iovecs = resource->iov;
	err = virgl_renderer_resource_create_blob(&args);
	if (err)
		goto forget;
	resource->backing = backing;
	backing_hold(backing);
	*out = resource;
	return 0;

forget:
	virgl_forget_resource(renderer, resource);
	return err < 0 ? err : -EINVAL;
}

/**
 * virgl_attach() - see struct renderer_ops
 * @base: the context
 * @backing: a userptr resource or a guest blob
 *
 * Return: 0 or a negative errno.
 */
int virgl_attach(struct renderer_context *base, struct backing *backing)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct renderer *renderer = context->renderer;
	struct resource *resource = virgl_find_live(renderer, backing->id);
	const struct udmabuf_view *view = memory_view_udmabuf(backing->view);
	int err;

	if (context->state != CONTEXT_RUNS)
		return -EIO;
	/* A worker is in another process. */
	if (!view && context->capset == CAPSET_VENUS)
		return -EOPNOTSUPP;
	if (!resource) {
		err = view ? import_view(renderer, backing, &resource) :
			     import_pages(renderer, backing, &resource);
		if (err)
			return err;
	}
	return virgl_give_resource(context, resource);
}

/**
 * virgl_detach() - see struct renderer_ops
 * @base: the context
 * @backing: as for virgl_attach()
 */
void virgl_detach(struct renderer_context *base, struct backing *backing)
{
	struct virgl_context *context = (struct virgl_context *)base;
	struct resource *resource = virgl_find_live(context->renderer, backing->id);

	if (resource && context->state <= CONTEXT_BROKEN)
		virgl_take_resource(context, resource);
}

/* ---- resources of the past ---- */

/**
 * virgl_quiesce() - see struct renderer_ops
 * @renderer: it
 * @backing: was stopped
 */
void virgl_quiesce(struct renderer *renderer, struct backing *backing)
{
	struct resource *resource = virgl_find_live(renderer, backing->id);

	if (resource && resource->kind != RESOURCE_BLOB)
		virgl_end_resource(renderer, resource);
}

/**
 * virgl_forget() - see struct renderer_ops
 * @renderer: it
 * @id: of a userptr resource
 */
void virgl_forget(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	if (resource && resource->state == RESOURCE_PAST)
		virgl_forget_resource(renderer, resource);
}

/* End the processes of ours that have the memory, whoever they are. */
static void kill_holders(const struct backing *backing)
{
	const struct udmabuf_view *view = memory_view_udmabuf(backing->view);
	struct process_list pids;
	size_t i;

	if (process_descendants(getpid(), &pids))
		log_error("userptr %u: cannot look who has it: no /proc?", backing->id);
	for (i = 0; view && i < pids.nr; i++) {
		int process;

		if (!udmabuf_view_held_by(view, pids.pids[i]))
			continue;
		process = process_open(pids.pids[i]);
		if (process < 0)
			continue;
		/* Ask again, now that it cannot be another one. */
		if (udmabuf_view_held_by(view, pids.pids[i])) {
			log_error("userptr %u: process %d still has it, and is killed", backing->id,
				  pids.pids[i]);
			process_kill(process);
		}
		close(process);
	}
	process_list_destroy(&pids);
}

/* Whether it is seen to have the memory, or has not been told yet that it should not. */
static bool may_have(const struct virgl_context *context, const struct resource *resource,
		     const struct backing *backing)
{
	/* Which native context has it cannot be seen from outside. */
	return context->worker < 0 || virgl_queue_names(context, resource) ||
	       virgl_context_unread(context) ||
	       udmabuf_view_held_by(memory_view_udmabuf(backing->view), context->worker_pid);
}

/*
 * End contexts that have or had the memory; unless @all, only those that are seen
 * to have it.  Returns whether there was one.
 */
static bool end_holders(struct renderer *renderer, struct backing *backing, bool all)
{
	struct resource *resource = id_table_find(&renderer->resources, backing->id);
	bool any = false;
	size_t i;

	for (i = 0; resource && i < resource->nr_holders; i++) {
		struct virgl_context *context = virgl_find_context(renderer, resource->holders[i]);

		if (!context || context->state > CONTEXT_BROKEN)
			continue;
		if (!all && !may_have(context, resource, backing))
			continue;
		any = true;
		context->why = "it keeps memory that its owner has taken back";
		context->report = true;
		virgl_answer_retired(context);
		virgl_context_end(context);
	}
	return any;
}

/**
 * virgl_evict() - see struct renderer_ops
 * @renderer: it
 * @backing: contexts keep it
 * @force: end also processes that have it
 */
void virgl_evict(struct renderer *renderer, struct backing *backing, bool force)
{
	if (!end_holders(renderer, backing, false) || force)
		end_holders(renderer, backing, true);
	if (force)
		kill_holders(backing);
}

/**
 * virgl_drop_resources() - forget all resources, of now and of the past
 * @renderer: whose; it has no contexts
 */
void virgl_drop_resources(struct renderer *renderer)
{
	size_t i;

	for (i = 0; i < renderer->resources.size; i++) {
		struct resource *resource = id_table_at(&renderer->resources, i);

		if (!resource)
			continue;
		if (resource->state != RESOURCE_PAST)
			virgl_renderer_resource_unref(resource->id);
		if (resource->backing)
			backing_release(resource->backing);
		resource_free(resource);
	}
	id_table_destroy(&renderer->resources);
}
