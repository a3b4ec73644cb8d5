// SPDX-License-Identifier: MIT
/*
 * virgl_library: libvirglrenderer as a whole
 *
 * Starts it with the render server, which is ours, and again when that ended; knows
 * its capsets.
 *
 * Threads: as renderer_virgl.c says.
 */
#include "renderer/virgl/virgl_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"

/* A server that ends at once is not started all the time. */
#define RESTART_MS 1000u

/* Fences without a context are not made here. */
static void old_fence_retired(void *cookie, uint32_t fence)
{
	(void)cookie;
	(void)fence;
}

static const char *capset_name(uint32_t id)
{
	return id == CAPSET_VENUS ? "Venus" : "DRM native context";
}

static void add_capset(struct renderer *renderer, uint32_t id)
{
	struct renderer_capset capset = { .id = id };

	virgl_renderer_get_cap_set(id, &capset.version, &capset.size);
	if (!capset.size)
		return;
	renderer->capsets[renderer->nr_capsets++] = capset;
	log_event("virgl: %s, capset of %u bytes", capset_name(id), capset.size);
}

static int find_drm_type(struct renderer *renderer)
{
	const struct renderer_capset *capset = &renderer->capsets[renderer->nr_capsets - 1];
	void *data;

	if (capset->id != CAPSET_DRM)
		return 0;
	data = calloc(1, capset->size);
	if (!data)
		return -ENOMEM;
	virgl_renderer_fill_caps(CAPSET_DRM, capset->version, data);
	renderer->drm_type = drm_guard_type(data, capset->size);
	free(data);
	return 0;
}

/* A library without native contexts says so before it is started. */
static bool has_drm(void)
{
	uint32_t version, size = 0;

	virgl_renderer_get_cap_set(CAPSET_DRM, &version, &size);
	return size;
}

/* A socket to nobody. */
static int dead_socket(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	close(pair[1]);
	return pair[0];
}

/*
 * The library wants the socket to its render server, which is its own then.  If there
 * is none, or it would be used in a way that is not known, the library has to fail: but
 * with a negative answer it would start a server by itself, and nobody had confined it.
 */
static int get_server_fd(void *cookie, uint32_t version)
{
	struct renderer *renderer = cookie;

	if (version || !renderer->server_offered)
		return dead_socket();
	renderer->server_offered = false;
	return renderer->server.socket;
}

static void end_server(struct renderer *renderer)
{
	if (renderer->server_offered)
		close(renderer->server.socket);
	renderer->server_offered = false;
	renderer->server.socket = -1;
	if (renderer->server.process >= 0)
		render_server_end(&renderer->server);
}

/* With a render server of its own, as it closes its socket when it cannot start. */
static int try_library(struct renderer *renderer, int flags)
{
	int err = render_server_start(&renderer->server);

	if (err) {
		log_error("%s: %s", render_server_path(), strerror(-err));
		return err;
	}
	renderer->server_offered = true;
	if (!virgl_renderer_init(renderer, flags, &renderer->callbacks))
		return 0;
	end_server(renderer);
	return -ENODEV;
}

/* Start it, with native contexts if there is a GPU for them. */
static int init_library(struct renderer *renderer, bool *drm)
{
	int flags = VIRGL_RENDERER_VENUS | VIRGL_RENDERER_RENDER_SERVER | VIRGL_RENDERER_NO_VIRGL |
		    VIRGL_RENDERER_THREAD_SYNC | VIRGL_RENDERER_ASYNC_FENCE_CB;

	*drm = false;
#ifdef VIRGL_RENDERER_DRM
	if (!renderer->config.no_drm && has_drm()) {
		*drm = !try_library(renderer, flags | VIRGL_RENDERER_DRM);
		if (*drm)
			return 0;
	}
#endif
	return try_library(renderer, flags);
}

/**
 * virgl_stop_library() - stop the library and its render server
 * @renderer: whose; it has no contexts and no resources
 */
void virgl_stop_library(struct renderer *renderer)
{
	virgl_renderer_cleanup(renderer);
	end_server(renderer);
	renderer->nr_capsets = 0;
	renderer->drm_type = DRM_CONTEXT_NONE;
}

/**
 * virgl_run_library() - start the library and its render server
 * @renderer: whose
 *
 * Return: 0 or a negative errno.
 */
int virgl_run_library(struct renderer *renderer)
{
	bool drm;
	int err;

	renderer->started_at = clock_ms();
	err = init_library(renderer, &drm);
	if (err)
		return err;
	err = virgl_watch(renderer, renderer->server.process);
	if (err)
		goto stop;
	add_capset(renderer, CAPSET_VENUS);
	if (drm)
		add_capset(renderer, CAPSET_DRM);
	err = renderer->nr_capsets ? find_drm_type(renderer) : -ENODEV;
	if (!err)
		return 0;
stop:
	virgl_stop_library(renderer);
	return err;
}

/**
 * virgl_server_ended() - whether there is no render server
 * @renderer: whose
 *
 * Return: true if it ended, or none was started.
 */
bool virgl_server_ended(const struct renderer *renderer)
{
	return renderer->server.process < 0 || process_ended(renderer->server.process);
}

/**
 * virgl_server_lost() - the render server ended, and its contexts with it
 * @renderer: whose
 */
void virgl_server_lost(struct renderer *renderer)
{
	struct virgl_context *context;

	log_error("the render server ended, and all Venus contexts with it");
	close(renderer->server.process);
	renderer->server.process = -1;
	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->capset == CAPSET_VENUS)
			virgl_context_break(context, "the render server ended");
}

/* Contexts that the library has, or whose workers are still there. */
static bool has_contexts(const struct renderer *renderer)
{
	const struct virgl_context *context;

	LIST_FOREACH(context, &renderer->contexts, link)
		if (context->state != CONTEXT_GONE)
			return true;
	return false;
}

/**
 * virgl_restart_library() - if the render server ended, start everything anew
 * @renderer: whose
 *
 * The library asks for a server only when it starts, and to start again it has to end,
 * with all its contexts and resources.  So nothing is done as long as there are any:
 * native contexts, which need no server, may live on for as long as they like.  What is
 * imported is imported again for the next context; what contexts made is gone.
 */
void virgl_restart_library(struct renderer *renderer)
{
	uint64_t now = clock_ms();
	int err;

	if (!virgl_server_ended(renderer) || has_contexts(renderer) ||
	    now - renderer->started_at < RESTART_MS)
		return;
	virgl_drop_resources(renderer);
	virgl_stop_library(renderer);
	err = virgl_run_library(renderer);
	if (err)
		log_error("cannot start the render server again: %s", strerror(-err));
	else
		log_event("virgl: the render server was started again");
}

/* A render server that is of no use shows only when a context is made; see what that says. */
static int try_context(struct renderer *renderer)
{
	struct renderer_context *context;
	int err = virgl_context_create(renderer, CAPSET_VENUS, "", &context);

	if (err) {
		log_error("%s makes no contexts: it must be the one of libvirglrenderer (Debian: "
			  "virgl-server)",
			  render_server_path());
		return err;
	}
	virgl_log_probe(((struct virgl_context *)context)->id);
	virgl_context_destroy(renderer, context);
	return 0;
}

/**
 * virgl_start_library() - start the library for the first time, and try it
 * @renderer: whose
 *
 * Return: 0 or a negative errno, which was logged.
 */
int virgl_start_library(struct renderer *renderer)
{
	int err;

	virgl_log_begin();
	/* It would take away the threads that fences need. */
	unsetenv("VIRGL_DISABLE_MT");
	renderer->callbacks = (struct virgl_renderer_callbacks){
		.version = 3,
		.write_fence = old_fence_retired,
		.write_context_fence = virgl_fence_retired,
		.get_server_fd = get_server_fd,
	};
	err = virgl_run_library(renderer);
	if (err)
		log_error("cannot start libvirglrenderer: %s", strerror(-err));
	else
		err = try_context(renderer);
	if (err)
		virgl_stop_library(renderer);
	virgl_log_started();
	return err;
}

/**
 * virgl_capset() - see struct renderer_ops
 * @renderer: it
 * @index: of the capset
 * @out: the capset
 *
 * Return: false beyond the last.
 */
bool virgl_capset(const struct renderer *renderer, unsigned int index, struct renderer_capset *out)
{
	if (index >= renderer->nr_capsets)
		return false;
	*out = renderer->capsets[index];
	return true;
}

/**
 * virgl_capset_data() - see struct renderer_ops
 * @renderer: it
 * @id: of the capset
 * @version: that the guest asks for
 * @data: for all its bytes
 */
void virgl_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version, void *data)
{
	unsigned int i;

	for (i = 0; i < renderer->nr_capsets; i++) {
		if (renderer->capsets[i].id != id)
			continue;
		memset(data, 0, renderer->capsets[i].size);
		virgl_renderer_fill_caps(id, version, data);
	}
}
