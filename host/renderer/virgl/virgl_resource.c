// SPDX-License-Identifier: MIT
/*
 * virgl_resource: resources of the library, and who has them
 *
 * A userptr resource is imported as a dma-buf, a guest blob as pages, once for all
 * contexts, when the first is to have it.  Who has or once had a resource is
 * remembered longer than the library knows it: until nobody can reach the memory any
 * more (virgl_forget()).  So it is known whom to end who does not let go.
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

	return resource && resource->live ? resource : NULL;
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

	if (resource && resource->live)
		return NULL;
	if (resource)
		virgl_forget_resource(renderer, resource);
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return NULL;
	resource->id = id;
	resource->kind = kind;
	resource->size = size;
	resource->live = true;
	if (id_table_insert(&renderer->resources, id, resource)) {
		free(resource);
		return NULL;
	}
	return resource;
}

/**
 * virgl_unref_resource() - have the library forget a resource
 * @renderer: whose
 * @resource: it; to be forgotten here, too, or one of the past then
 *
 * The library tells each context that has the resource.  One that does not
 * listen would keep it waiting: that one ends.
 */
void virgl_unref_resource(struct renderer *renderer, struct resource *resource)
{
	size_t i;

	for (i = 0; i < resource->nr_holders; i++) {
		struct virgl_context *context = virgl_find_context(renderer, resource->holders[i]);

		if (!context)
			continue;
		drm_guard_remove(&context->guard, resource->id);
		if (context->state > CONTEXT_BROKEN || virgl_context_has_room(context))
			continue;
		virgl_answer_retired(context);
		context->report = true;
		virgl_context_end(context);
	}
	virgl_renderer_resource_unref(resource->id);
	if (resource->kind == RESOURCE_PAGES)
		backing_release(resource->backing);
}

/**
 * virgl_attach_resource() - give a context a resource
 * @context: to whom
 * @resource: live
 *
 * Return: 0 or a negative errno, also if the library failed.
 */
int virgl_attach_resource(struct virgl_context *context, struct resource *resource)
{
	bool venus = context->capset == CAPSET_VENUS;

	if (virgl_add_holder(context->renderer, resource, context->id))
		return -ENOMEM;
	if (resource->dmabuf && drm_guard_add(&context->guard, resource->id))
		return -ENOMEM;
	if (!virgl_context_has_room(context))
		goto failed;
	virgl_listen();
	virgl_renderer_ctx_attach_resource((int)context->id, (int)resource->id);
	/* What goes wrong with a worker is only remarked upon. */
	if (virgl_complained(venus))
		goto failed;
	return 0;

failed:
	drm_guard_remove(&context->guard, resource->id);
	return -EIO;
}

/**
 * virgl_detach_resource() - take it away again
 * @context: from whom
 * @resource: live
 */
void virgl_detach_resource(struct virgl_context *context, struct resource *resource)
{
	drm_guard_remove(&context->guard, resource->id);
	if (virgl_context_has_room(context))
		virgl_renderer_ctx_detach_resource((int)context->id, (int)resource->id);
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
	args.fd = udmabuf_view_dup(backing->view);
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
	int err;

	if (context->state != CONTEXT_RUNS)
		return -EIO;
	if (!resource) {
		err = backing->view ? import_view(renderer, backing, &resource) :
				      import_pages(renderer, backing, &resource);
		if (err)
			return err;
	}
	return virgl_attach_resource(context, resource);
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

	if (resource)
		virgl_detach_resource(context, resource);
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

	if (!resource || resource->kind == RESOURCE_BLOB)
		return;
	resource->live = false;
	virgl_unref_resource(renderer, resource);
	/* Pages are in no other process. */
	if (resource->kind == RESOURCE_PAGES)
		virgl_forget_resource(renderer, resource);
}

/**
 * virgl_forget() - see struct renderer_ops
 * @renderer: it
 * @id: of a userptr resource
 */
void virgl_forget(struct renderer *renderer, uint32_t id)
{
	struct resource *resource = id_table_find(&renderer->resources, id);

	if (resource && !resource->live)
		virgl_forget_resource(renderer, resource);
}

/* End the processes of ours that have the memory, whoever they are. */
static void kill_holders(const struct backing *backing)
{
	struct process_list pids;
	size_t i;

	if (process_descendants(getpid(), &pids))
		log_error("userptr %u: cannot look who has it: no /proc?", backing->id);
	for (i = 0; backing->view && i < pids.nr; i++) {
		int process;

		if (!udmabuf_view_held_by(backing->view, pids.pids[i]))
			continue;
		process = process_open(pids.pids[i]);
		if (process < 0)
			continue;
		/* Ask again, now that it cannot be another one. */
		if (udmabuf_view_held_by(backing->view, pids.pids[i])) {
			log_error("userptr %u: process %d still has it, and is killed", backing->id,
				  pids.pids[i]);
			process_kill(process);
		}
		close(process);
	}
	process_list_destroy(&pids);
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
		/* Which native context has it cannot be seen from outside. */
		if (!all && context->worker >= 0 &&
		    !udmabuf_view_held_by(backing->view, context->worker_pid))
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
 * @renderer: whose
 */
void virgl_drop_resources(struct renderer *renderer)
{
	size_t i;

	for (i = 0; i < renderer->resources.size; i++) {
		struct resource *resource = id_table_at(&renderer->resources, i);

		if (!resource)
			continue;
		if (resource->live)
			virgl_unref_resource(renderer, resource);
		resource_free(resource);
	}
	id_table_destroy(&renderer->resources);
}
