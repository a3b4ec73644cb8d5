// SPDX-License-Identifier: MIT
/*
 * library: see library.h
 *
 * Written from the library's header and from what it is known to do; nothing of it is
 * the library's own.
 *
 * Threads: see processes.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <virglrenderer.h>

#include "fuzz/fuzz.h"
#include "fuzz/kernel.h"
#include "fuzz/library.h"
#include "fuzz/processes.h"
#include "fuzz/wrap.h"

#define MAX_CONTEXTS 40
#define MAX_RESOURCES 64
#define MAX_FENCES 256
#define MAX_ATTACHED 32
#define RINGS 64u
#define CAPSET_SIZE 160u
#define DRM_TYPE_AT 16
#define DRM_AMDGPU 2u
#define PAGE 4096u
/* Longer than any call is to take, also with a call_limit. */
#define PATIENCE_MS 6000

/**
 * struct context - a context
 * @id: 0: there is none
 * @capset: of it
 * @worker: of a Venus context
 * @attached: ids of resources
 * @nr_attached: of them
 * @rings: that were submitted to, of a native context
 * @busy: fences wait
 * @blob: of the next blob, STREAM_BLOB_*, and 1
 * @blob_resource: see STREAM_BLOB_USERPTR
 * @complains: see STREAM_COMPLAIN
 */
struct context {
	uint32_t id;
	uint32_t capset;
	struct played *worker;
	uint32_t attached[MAX_ATTACHED];
	unsigned int nr_attached;
	uint64_t rings;
	bool busy;
	unsigned int blob;
	uint32_t blob_resource;
	bool complains;
};

/**
 * struct resource - a resource
 * @id: 0: there is none
 * @fd: of its memory, or -1: the guest's pages
 * @type: VIRGL_RENDERER_BLOB_FD_TYPE_*
 * @mappable: it has map info
 * @iov: pages of the guest
 * @nr_iov: of them
 */
struct resource {
	uint32_t id;
	int fd;
	uint32_t type;
	bool mappable;
	const struct iovec *iov;
	uint32_t nr_iov;
};

struct fence {
	uint32_t context;
	uint32_t ring;
	uint64_t id;
};

static struct {
	bool runs;
	uint32_t drm_type;
	void *cookie;
	struct virgl_renderer_callbacks *callbacks;
	struct played *server;
	int server_socket;
	struct context contexts[MAX_CONTEXTS];
	struct resource resources[MAX_RESOURCES];
	struct fence fences[MAX_FENCES];
	unsigned int nr_fences;
} lib;

static virgl_log_callback_type log_callback;

static void need_running(const char *what)
{
	if (!lib.runs)
		fuzz_oracle("VIRGL: %s while the library does not run", what);
}

static struct context *find_context(uint32_t id)
{
	unsigned int i;

	for (i = 0; i < MAX_CONTEXTS; i++)
		if (id && lib.contexts[i].id == id)
			return &lib.contexts[i];
	return NULL;
}

static struct resource *find_resource(uint32_t id)
{
	unsigned int i;

	for (i = 0; i < MAX_RESOURCES; i++)
		if (id && lib.resources[i].id == id)
			return &lib.resources[i];
	return NULL;
}

static struct context *need_context(uint32_t id, const char *what)
{
	struct context *context = find_context(id);

	if (!context)
		fuzz_oracle("VIRGL: %s with context %u, which there is not", what, id);
	return context;
}

static struct resource *need_resource(uint32_t id, const char *what)
{
	struct resource *resource = find_resource(id);

	if (!resource)
		fuzz_oracle("VIRGL: %s with resource %u, which there is not", what, id);
	return resource;
}

static void complain(enum virgl_log_level_flags level)
{
	if (log_callback)
		log_callback(level, "fuzz: something is not right\n", NULL);
}

/* A packet to a worker: the real library waits for room. */
static void send_packet(struct context *context, const void *data, size_t len)
{
	char nothing[4] = { 0 };

	processes_move_on();
	if (!context->worker || context->worker->ended)
		return;
	if (send(context->worker->near, len ? data : nothing, len ? len : sizeof(nothing),
		 MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno == EAGAIN)
		fuzz_oracle("VIRGL: the library is to send what a worker has no room for");
}

/* ---- the library as a whole ---- */

void virgl_set_log_callback(virgl_log_callback_type callback, void *data,
			    virgl_free_data_callback_type free_data)
{
	(void)data;
	(void)free_data;
	log_callback = callback;
}

int virgl_renderer_init(void *cookie, int flags, struct virgl_renderer_callbacks *callbacks)
{
	WORLD_LOCKED;
	if (lib.runs)
		fuzz_oracle("VIRGL: started twice");
	if (flags & VIRGL_RENDERER_DRM && !lib.drm_type)
		return -1;
	lib.server = NULL;
	lib.server_socket = -1;
	if (callbacks->version >= 3 && callbacks->get_server_fd) {
		lib.server_socket = callbacks->get_server_fd(cookie, 0);
		if (lib.server_socket < 0)
			return -1;
	}
	if (lib.server_socket < 0) {
		lib.server = processes_start(getpid());
		if (!lib.server)
			return -1;
	}
	lib.cookie = cookie;
	lib.callbacks = callbacks;
	lib.runs = true;
	return 0;
}

static void drop_resource(struct resource *resource)
{
	if (resource->fd >= 0)
		close(resource->fd);
	*resource = (struct resource){ .fd = -1 };
}

static void drop_context(struct context *context)
{
	unsigned int i, kept = 0;

	for (i = 0; i < lib.nr_fences; i++)
		if (lib.fences[i].context != context->id)
			lib.fences[kept++] = lib.fences[i];
	lib.nr_fences = kept;
	/* Its worker sees that the socket is closed, and ends. */
	if (context->worker) {
		processes_drop(context->worker);
		context->worker->killed = true;
	}
	*context = (struct context){ .id = 0 };
}

void virgl_renderer_cleanup(void *cookie)
{
	WORLD_LOCKED;
	unsigned int i;

	(void)cookie;
	/* The real one does not mind, either. */
	if (!lib.runs)
		return;
	for (i = 0; i < MAX_CONTEXTS; i++)
		if (lib.contexts[i].id)
			drop_context(&lib.contexts[i]);
	for (i = 0; i < MAX_RESOURCES; i++)
		drop_resource(&lib.resources[i]);
	if (lib.server) {
		processes_drop(lib.server);
		processes_finish(lib.server);
	}
	if (lib.server_socket >= 0)
		close(lib.server_socket);
	lib.server_socket = -1;
	lib.server = NULL;
	lib.runs = false;
}

void virgl_renderer_get_cap_set(uint32_t set, uint32_t *version, uint32_t *size)
{
	*version = 0;
	*size = 0;
	if (set == LIBRARY_VENUS || (set == LIBRARY_DRM && lib.drm_type))
		*size = CAPSET_SIZE;
}

void virgl_renderer_fill_caps(uint32_t set, uint32_t version, void *caps)
{
	(void)version;
	need_running("fill_caps");
	memset(caps, 1, CAPSET_SIZE);
	if (set == LIBRARY_DRM)
		fuzz_put(caps, CAPSET_SIZE, DRM_TYPE_AT, 4, lib.drm_type);
}

/* ---- contexts ---- */

int virgl_renderer_context_create_with_flags(uint32_t id, uint32_t flags, uint32_t nlen,
					     const char *name)
{
	WORLD_LOCKED;
	uint32_t capset = flags & VIRGL_RENDERER_CONTEXT_FLAG_CAPSET_ID_MASK;
	struct context *context = NULL;
	struct played *server;
	unsigned int i;

	need_running("context_create");
	if (!id || find_context(id))
		fuzz_oracle("VIRGL: context %u is made twice", id);
	if (strlen(name) != nlen)
		fuzz_oracle("VIRGL: a name is not as long as was said");
	if (capset != LIBRARY_VENUS && (capset != LIBRARY_DRM || !lib.drm_type))
		fuzz_oracle("VIRGL: a context of capset %u", capset);
	for (i = 0; !context && i < MAX_CONTEXTS; i++)
		if (!lib.contexts[i].id)
			context = &lib.contexts[i];
	if (!context)
		return -ENOMEM;
	*context = (struct context){ .id = id, .capset = capset };
	if (capset == LIBRARY_DRM)
		return 0;
	/* Our own server, or the one that was started for us. */
	server = processes_child(getpid());
	context->worker = server ? processes_start(server->pid) : NULL;
	if (context->worker)
		return 0;
	context->id = 0;
	return -ENOMEM;
}

void virgl_renderer_context_destroy(uint32_t id)
{
	WORLD_LOCKED;
	struct context *context = find_context(id);

	need_running("context_destroy");
	if (context)
		drop_context(context);
}

static int find_attached(const struct context *context, uint32_t id)
{
	unsigned int i;

	for (i = 0; i < context->nr_attached; i++)
		if (context->attached[i] == id)
			return (int)i;
	return -1;
}

void virgl_renderer_ctx_attach_resource(int context_id, int id)
{
	WORLD_LOCKED;
	struct context *context = need_context((uint32_t)context_id, "attach");
	struct resource *resource = need_resource((uint32_t)id, "attach");
	int dmabuf = kernel_dmabuf(resource->fd);

	/* A worker cannot be given memory of this process. */
	if (context->complains || (context->worker && resource->nr_iov)) {
		context->complains = false;
		complain(context->worker ? VIRGL_LOG_LEVEL_INFO : VIRGL_LOG_LEVEL_ERROR);
		return;
	}
	if (find_attached(context, (uint32_t)id) < 0 && context->nr_attached < MAX_ATTACHED)
		context->attached[context->nr_attached++] = (uint32_t)id;
	send_packet(context, NULL, 0);
	if (context->worker && dmabuf >= 0)
		processes_give(context->worker, dmabuf);
}

static void detach(struct context *context, struct resource *resource)
{
	int at = find_attached(context, resource->id), dmabuf = kernel_dmabuf(resource->fd);

	if (at < 0)
		return;
	context->attached[at] = context->attached[--context->nr_attached];
	send_packet(context, NULL, 0);
	if (context->worker && dmabuf >= 0)
		processes_take(context->worker, dmabuf);
}

void virgl_renderer_ctx_detach_resource(int context_id, int id)
{
	WORLD_LOCKED;
	struct context *context = need_context((uint32_t)context_id, "detach");

	detach(context, need_resource((uint32_t)id, "detach"));
}

/* ---- resources ---- */

static struct resource *new_resource(uint32_t id)
{
	unsigned int i;

	if (!id || find_resource(id))
		fuzz_oracle("VIRGL: resource %u is made twice", id);
	for (i = 0; i < MAX_RESOURCES; i++) {
		if (lib.resources[i].id)
			continue;
		lib.resources[i] = (struct resource){ .id = id, .fd = -1 };
		return &lib.resources[i];
	}
	return NULL;
}

void virgl_renderer_resource_unref(uint32_t id)
{
	WORLD_LOCKED;
	struct resource *resource = need_resource(id, "unref");
	unsigned int i;

	for (i = 0; i < MAX_CONTEXTS; i++)
		if (lib.contexts[i].id)
			detach(&lib.contexts[i], resource);
	drop_resource(resource);
}

int virgl_renderer_resource_import_blob(const struct virgl_renderer_resource_import_blob_args *args)
{
	WORLD_LOCKED;
	struct resource *resource;

	need_running("import_blob");
	if (args->fd < 0 || args->fd_type != VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF || !args->size)
		fuzz_oracle("VIRGL: what is imported is no dma-buf");
	resource = new_resource(args->res_handle);
	if (!resource) {
		close(args->fd);
		return -ENOMEM;
	}
	resource->fd = args->fd;
	resource->type = args->fd_type;
	return 0;
}

/* Whether the worker answers; as long as it does not, the call waits for its socket. */
static bool worker_answers(const struct context *context)
{
	struct pollfd pollfd = { .events = 0 };
	int ret;

	if (!context->worker)
		return true;
	if (context->worker->ended)
		return false;
	if (context->worker->answers)
		return true;
	pollfd.fd = context->worker->near;
	/* The world goes on meanwhile.  libFuzzer has an alarm. */
	world_unlock(&(const int){ 0 });
	do
		ret = __real_poll(&pollfd, 1, PATIENCE_MS);
	while (ret < 0 && errno == EINTR);
	world_lock();
	if (ret != 1)
		fuzz_oracle("VIRGL: a call waits for a worker without limit");
	return false;
}

/* The memory of a new blob, as the context was told before. */
static int make_memory(struct context *context, struct resource *resource, uint64_t size)
{
	struct resource *other = find_resource(context->blob_resource);
	unsigned int how = context->blob;

	context->blob = 0;
	resource->mappable = how != STREAM_BLOB_UNMAPPABLE + 1;
	resource->type = how == STREAM_BLOB_DMABUF + 1 ? VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF :
							 VIRGL_RENDERER_BLOB_FD_TYPE_SHM;
	if (how == STREAM_BLOB_USERPTR + 1 && other && other->fd >= 0) {
		resource->type = VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF;
		resource->fd = fcntl(other->fd, F_DUPFD_CLOEXEC, 0);
		return resource->fd < 0 ? -ENOMEM : 0;
	}
	if (how == STREAM_BLOB_SMALL + 1)
		size /= 2;
	resource->fd = memfd_create("blob", MFD_CLOEXEC);
	if (resource->fd < 0 || size > 1 << 30 ||
	    ftruncate(resource->fd, (off_t)((size + PAGE - 1) & ~(uint64_t)(PAGE - 1))))
		return -ENOMEM;
	return 0;
}

int virgl_renderer_resource_create_blob(const struct virgl_renderer_resource_create_blob_args *args)
{
	WORLD_LOCKED;
	struct resource *resource;
	struct context *context;
	int err = 0;

	need_running("create_blob");
	if (!args->size)
		fuzz_oracle("VIRGL: a blob of no bytes");
	if ((args->blob_mem != VIRGL_RENDERER_BLOB_MEM_HOST3D) != (args->num_iovs != 0))
		fuzz_oracle("VIRGL: a blob with memory %u and %u pieces", args->blob_mem,
			    args->num_iovs);
	resource = new_resource(args->res_handle);
	if (!resource)
		return -ENOMEM;
	resource->iov = args->iovecs;
	resource->nr_iov = args->num_iovs;
	if (args->blob_mem == VIRGL_RENDERER_BLOB_MEM_GUEST)
		return 0;
	context = need_context(args->ctx_id, "create_blob");
	if (context->capset == LIBRARY_DRM && !args->blob_id && args->size < PAGE)
		fuzz_oracle("VIRGL: a native context's first blob is smaller than its answers");
	send_packet(context, NULL, 0);
	if (!worker_answers(context))
		err = -EINVAL;
	/* A buffer of a native context need not have a file. */
	if (!err && !(context->capset == LIBRARY_DRM && args->blob_id % 3 == 1))
		err = make_memory(context, resource, args->size);
	if (err)
		drop_resource(resource);
	return err;
}

int virgl_renderer_resource_export_blob(uint32_t id, uint32_t *type, int *fd)
{
	WORLD_LOCKED;
	struct resource *resource = need_resource(id, "export_blob");

	if (resource->fd < 0)
		return -EINVAL;
	*fd = fcntl(resource->fd, F_DUPFD_CLOEXEC, 0);
	*type = resource->type;
	return *fd < 0 ? -EINVAL : 0;
}

int virgl_renderer_resource_get_map_info(uint32_t id, uint32_t *info)
{
	WORLD_LOCKED;
	struct resource *resource = need_resource(id, "get_map_info");

	*info = VIRGL_RENDERER_MAP_CACHE_CACHED;
	return resource->mappable ? 0 : -EINVAL;
}

/* ---- command streams and fences ---- */

/* Whoever executes something touches what it has: the guest's pages, in this process. */
static void touch_memory(const struct context *context)
{
	unsigned int i;
	uint32_t piece;

	for (i = 0; i < context->nr_attached; i++) {
		const struct resource *resource = find_resource(context->attached[i]);

		for (piece = 0; resource && piece < resource->nr_iov; piece++)
			memset(resource->iov[piece].iov_base, 0x77, 1);
	}
}

static void do_word(struct context *context, uint32_t word)
{
	struct resource *resource = find_resource(word >> 8);
	struct played *worker = context->worker;
	uint32_t op = (word & 0xff) % NR_STREAM_OPS;

	switch (op) {
	case STREAM_CLING:
	case STREAM_LET_GO:
		worker->clings = op == STREAM_CLING;
		if (op == STREAM_LET_GO)
			processes_let_go(worker);
		break;
	case STREAM_DIE:
		processes_finish(worker);
		break;
	case STREAM_DEAF:
	case STREAM_HEAR:
		worker->reads = op == STREAM_HEAR;
		break;
	case STREAM_MUTE:
	case STREAM_SPEAK:
		worker->answers = op == STREAM_SPEAK;
		break;
	case STREAM_BUSY:
	case STREAM_IDLE:
		context->busy = op == STREAM_BUSY;
		break;
	case STREAM_COMPLAIN:
		context->complains = true;
		break;
	case STREAM_FENCE:
		if (resource && kernel_dmabuf(resource->fd) >= 0)
			kernel_set_busy(kernel_dmabuf(resource->fd));
		break;
	case STREAM_TOUGH:
		worker->tough = true;
		break;
	default:
		if (op < STREAM_BLOB_USERPTR || op > STREAM_BLOB_DMABUF)
			break;
		context->blob = op + 1;
		context->blob_resource = word >> 8;
		break;
	}
}

static int run_venus(struct context *context, const uint32_t *words, int nr)
{
	bool fails = false;
	int i;

	send_packet(context, words, (size_t)nr * 4);
	for (i = 0; i < nr && !context->worker->ended; i++) {
		do_word(context, words[i]);
		fails = fails || (words[i] & 0xff) % NR_STREAM_OPS == STREAM_FAIL;
	}
	return fails ? -EINVAL : 0;
}

static const struct context *native;

static bool native_has(uint32_t id)
{
	return find_attached(native, id) >= 0 || find_resource(id);
}

static int run_native(struct context *context, const uint8_t *data, size_t len)
{
	native = context;
	return native_stream_run(data, len, lib.drm_type == DRM_AMDGPU, native_has,
				 &context->rings);
}

int virgl_renderer_submit_cmd(void *buffer, int context_id, int nr)
{
	WORLD_LOCKED;
	struct context *context = need_context((uint32_t)context_id, "submit_cmd");

	if ((uintptr_t)buffer % 8 && nr)
		fuzz_oracle("VIRGL: a command stream is not aligned");
	if (nr < 0)
		fuzz_oracle("VIRGL: a command stream of %d words", nr);
	touch_memory(context);
	if (context->capset == LIBRARY_DRM)
		return run_native(context, buffer, (size_t)nr * 4);
	return context->worker->ended ? -EINVAL : run_venus(context, buffer, nr);
}

int virgl_renderer_context_create_fence(uint32_t id, uint32_t flags, uint32_t ring, uint64_t fence)
{
	WORLD_LOCKED;
	struct context *context = need_context(id, "create_fence");

	(void)flags;
	if (ring >= RINGS || (context->capset == LIBRARY_DRM && lib.drm_type == DRM_AMDGPU &&
			      ring && !(context->rings >> ring & 1)))
		fuzz_oracle("VIRGL: a fence for ring %u, which the context does not have", ring);
	send_packet(context, NULL, 0);
	if (lib.nr_fences == MAX_FENCES || (context->worker && context->worker->ended))
		return -EINVAL;
	lib.fences[lib.nr_fences++] = (struct fence){ .context = id, .ring = ring, .id = fence };
	return 0;
}

static void retire(bool all)
{
	unsigned int i;

	for (i = 0; i < lib.nr_fences;) {
		struct fence fence = lib.fences[i];
		struct context *context = find_context(fence.context);

		if (context && context->busy && !all) {
			i++;
			continue;
		}
		memmove(&lib.fences[i], &lib.fences[i + 1],
			(lib.nr_fences - i - 1) * sizeof(lib.fences[0]));
		lib.nr_fences--;
		lib.callbacks->write_context_fence(lib.cookie, fence.context, fence.ring, fence.id);
	}
}

void library_move_on(void)
{
	WORLD_LOCKED;
	processes_move_on();
	if (lib.runs)
		retire(false);
}

void library_settle(void)
{
	WORLD_LOCKED;
	unsigned int i;

	for (i = 0; i < MAX_CONTEXTS; i++) {
		struct context *context = &lib.contexts[i];

		context->busy = false;
		if (!context->id || !context->worker)
			continue;
		context->worker->reads = true;
		context->worker->answers = true;
		context->worker->clings = false;
		if (!context->worker->ended)
			processes_let_go(context->worker);
	}
	kernel_set_all_idle();
	library_move_on();
}

void library_begin(uint32_t drm_type)
{
	unsigned int i;

	memset(&lib, 0, sizeof(lib));
	lib.drm_type = drm_type;
	lib.server_socket = -1;
	for (i = 0; i < MAX_RESOURCES; i++)
		lib.resources[i].fd = -1;
}

void library_end(void)
{
	if (lib.runs)
		fuzz_oracle("VIRGL: the device is gone, and the library still runs");
}
