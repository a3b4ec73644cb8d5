/* SPDX-License-Identifier: MIT */
/*
 * wiring_test: a device whose renderers, dma-bufs and release are stand-ins
 *
 * The device is compiled in here, as it is where libvirglrenderer and libdrm_amdgpu exist,
 * whether they exist here or not.  So one file of a program can include this.
 */
#ifndef WIRING_TEST_H
#define WIRING_TEST_H

#ifndef HAVE_VIRGLRENDERER
#define HAVE_VIRGLRENDERER
#endif
#ifndef HAVE_AMDGPU
#define HAVE_AMDGPU
#endif
#include "gpu/gpu_device.c"
#include "memory/release.h"
#include "memory/udmabuf.h"
#include "tests/gpu/gpu_test.h"

#include <stdio.h>
#include <sys/eventfd.h>

#include "tests/util/capture.h"

#define CAPSET 4
#define CAPSET_NATIVE 6
#define INFO_OK VIRTIO_GPU_RESP_OK_USERPTR_INFO
#define USERPTR_BIT ((uint64_t)1 << VIRTIO_GPU_F_RESOURCE_USERPTR)

/**
 * struct standing - the stand-ins' common state
 * @open_error: of udmabuf_open()
 * @create_error: of the renderer's create()
 * @usable: the guest's RAM can be made into dma-bufs
 * @draft_answer: of udmabuf_draft_extend()
 * @view_answer: of udmabuf_view_create()
 * @later: udmabuf_view_create() is not done at once
 * @made: what is to be called then
 * @made_cookie: with that
 * @drafts: live ones
 * @extended: how often one was
 * @opened: udmabuf_open() less udmabuf_close()
 * @views: live ones that are dma-bufs
 * @view: any of them
 * @released: release_new() less release_free()
 * @waits: release_begin() is not done at once
 * @pending: cookie of the release that waits
 * @release_host: the device
 * @release_fd: readable when @gone_due
 * @gone_due: release_dispatch() is to say that the view is gone
 * @host: the device
 * @config: of the renderer
 * @renderer_fd: never readable
 * @amdgpu_error: of the amdgpu renderer's create()
 * @amdgpu_config: of that
 * @amdgpu_fd: never readable
 * @context: the last
 * @attached: the last backing
 * @forced: evict() with force
 * @log: what was called, a letter each
 */
static struct standing {
	int open_error;
	int create_error;
	bool usable;
	uint32_t draft_answer;
	uint32_t view_answer;
	bool later;
	memory_view_made *made;
	void *made_cookie;
	int drafts;
	unsigned int extended;
	int opened;
	int views;
	struct memory_view view;
	int released;
	bool waits;
	void *pending;
	struct release_host release_host;
	int release_fd;
	bool gone_due;
	struct renderer_host host;
	struct renderer_config config;
	int renderer_fd;
	int amdgpu_error;
	struct renderer_config amdgpu_config;
	int amdgpu_fd;
	struct renderer_context *context;
	struct backing *attached;
	unsigned int forced;
	char log[64];
} st;

static inline void note(char what)
{
	size_t len = strlen(st.log);

	if (len < sizeof(st.log) - 1)
		st.log[len] = what;
}

/* ---- dma-bufs ---- */

int udmabuf_open(const struct udmabuf_config *config, struct udmabuf **out)
{
	assert_non_null(config->gm);
	assert_non_null(config->quotas);
	assert_non_null(config->worker);
	if (st.open_error)
		return st.open_error;
	st.opened++;
	*out = (struct udmabuf *)&st;
	return 0;
}

void udmabuf_close(struct udmabuf *udmabuf)
{
	assert_ptr_equal(udmabuf, &st);
	assert_int_equal(st.views, 0);
	st.opened--;
}

bool udmabuf_usable(struct udmabuf *udmabuf)
{
	(void)udmabuf;
	return st.usable;
}

uint32_t udmabuf_draft_extend(struct udmabuf *udmabuf, const struct backing *backing,
			      struct udmabuf_draft **draft)
{
	assert_ptr_equal(udmabuf, &st);
	(void)backing;
	st.extended++;
	if (!*draft)
		st.drafts++;
	*draft = (struct udmabuf_draft *)&st.drafts;
	return st.draft_answer;
}

void udmabuf_draft_free(struct udmabuf_draft *draft)
{
	if (!draft)
		return;
	assert_ptr_equal(draft, &st.drafts);
	st.drafts--;
}

static void dispose(struct memory_view *view, struct run_list *runs)
{
	(void)runs;
	assert_ptr_equal(view, &st.view);
	assert_true(st.later);
	note('x');
}

static const struct memory_view_ops dmabuf_ops = {
	.kind = MEMORY_VIEW_UDMABUF,
	.dispose = dispose,
};

uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_draft *draft, memory_view_made *made, void *cookie,
			     struct udmabuf_view **out)
{
	(void)udmabuf;
	st.made = made;
	st.made_cookie = cookie;
	(void)backing;
	assert_ptr_equal(draft, &st.drafts);
	if (st.view_answer != OK)
		return st.view_answer;
	st.drafts--;
	st.view.ops = &dmabuf_ops;
	*out = memory_view_udmabuf(&st.view);
	if (st.later)
		return MEMORY_VIEW_LATER;
	st.views++;
	return OK;
}

void udmabuf_print_quotas(const struct udmabuf *udmabuf, FILE *to)
{
	(void)udmabuf;
	fputs("limit of the stand-in\n", to);
}

void udmabuf_totals(const struct udmabuf *udmabuf, struct udmabuf_totals *totals)
{
	(void)udmabuf;
	*totals = (struct udmabuf_totals){ st.views, 11, 12, 13 };
}

/* ---- their release ---- */

int release_new(const struct release_host *host, unsigned int grace_ms, struct release **out)
{
	assert_int_equal(grace_ms, 1234);
	st.release_host = *host;
	st.release_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	st.released++;
	*out = (struct release *)&st;
	return 0;
}

void release_free(struct release *release)
{
	(void)release;
	assert_null(st.pending);
	close(st.release_fd);
	st.released--;
}

bool release_begin(struct release *release, struct backing *backing, struct memory_view *view,
		   void *cookie)
{
	(void)release;
	assert_ptr_equal(backing->view, view);
	assert_true(backing_stopped(backing));
	note('b');
	if (memory_view_stitch(view)) {
		assert_true(memory_view_alone(view));
		assert_true(view->ops->free(view, NULL, NULL));
		return true;
	}
	assert_ptr_equal(view, &st.view);
	if (st.waits)
		st.pending = cookie;
	else
		st.views--;
	return !st.waits;
}

void release_now(struct release *release, struct backing *backing, struct memory_view *view)
{
	(void)release;
	note('n');
	if (memory_view_stitch(view)) {
		view->ops->dispose(view, &backing->runs);
		return;
	}
	assert_ptr_equal(view, &st.view);
	st.pending = NULL;
	st.views--;
}

int release_fd(const struct release *release)
{
	(void)release;
	return st.release_fd;
}

void release_dispatch(struct release *release)
{
	void *cookie = st.pending;
	uint64_t count;

	(void)release;
	(void)!read(st.release_fd, &count, sizeof(count));
	if (!st.gone_due)
		return;
	st.gone_due = false;
	st.pending = NULL;
	st.views--;
	st.release_host.gone(st.release_host.opaque, cookie);
}

unsigned int release_pending(const struct release *release)
{
	(void)release;
	return st.pending != NULL;
}

/* ---- the renderer ---- */

static inline int virgl_create(const struct renderer_config *config,
			       const struct renderer_host *host, struct renderer **out)
{
	if (st.create_error)
		return st.create_error;
	st.config = *config;
	st.host = *host;
	st.renderer_fd = eventfd(0, EFD_CLOEXEC);
	*out = (struct renderer *)&st;
	return 0;
}

static inline void virgl_destroy(struct renderer *renderer)
{
	(void)renderer;
	close(st.renderer_fd);
}

static inline bool virgl_capset(const struct renderer *renderer, unsigned int index,
				struct renderer_capset *out)
{
	(void)renderer;
	*out = (struct renderer_capset){ .id = CAPSET, .size = 160 };
	return !index;
}

static inline int virgl_context_create(struct renderer *renderer, uint32_t capset, const char *name,
				       struct renderer_context **out)
{
	(void)renderer;
	(void)capset;
	(void)name;
	*out = st.context = calloc(1, sizeof(**out));
	return 0;
}

static inline void virgl_context_destroy(struct renderer *renderer, struct renderer_context *base)
{
	(void)renderer;
	id_table_destroy(&base->resources);
	free(base);
}

static inline int virgl_attach(struct renderer_context *context, struct backing *backing)
{
	(void)context;
	note('a');
	st.attached = backing;
	return 0;
}

static inline void virgl_detach(struct renderer_context *context, struct backing *backing)
{
	(void)context;
	(void)backing;
	note('d');
}

static inline void virgl_quiesce(struct renderer *renderer, struct backing *backing)
{
	(void)renderer;
	assert_true(backing_stopped(backing));
	note('q');
}

static inline void virgl_evict(struct renderer *renderer, struct backing *backing, bool force)
{
	(void)renderer;
	assert_int_equal(backing->id, 5);
	note('e');
	st.forced += force;
	st.host.lost(st.host.opaque, st.context);
}

static inline void virgl_forget(struct renderer *renderer, uint32_t id)
{
	(void)renderer;
	assert_int_equal(id, 5);
	note('f');
}

static inline void virgl_reset(struct renderer *renderer)
{
	(void)renderer;
	note('r');
}

static inline uint64_t virgl_jobs(const struct renderer *renderer)
{
	(void)renderer;
	return 0;
}

static inline int virgl_fd(const struct renderer *renderer)
{
	(void)renderer;
	return st.renderer_fd;
}

static inline void virgl_dispatch(struct renderer *renderer)
{
	(void)renderer;
}

const struct renderer_ops renderer_virgl = {
	.name = "virgl",
	.create = virgl_create,
	.destroy = virgl_destroy,
	.capset = virgl_capset,
	.context_create = virgl_context_create,
	.context_destroy = virgl_context_destroy,
	.attach = virgl_attach,
	.detach = virgl_detach,
	.quiesce = virgl_quiesce,
	.evict = virgl_evict,
	.forget = virgl_forget,
	.reset = virgl_reset,
	.jobs = virgl_jobs,
	.fd = virgl_fd,
	.dispatch = virgl_dispatch,
};

static inline int amdgpu_create(const struct renderer_config *config,
				const struct renderer_host *host, struct renderer **out)
{
	if (st.amdgpu_error)
		return st.amdgpu_error;
	st.amdgpu_config = *config;
	st.host = *host;
	st.amdgpu_fd = eventfd(0, EFD_CLOEXEC);
	*out = (struct renderer *)&st.amdgpu_fd;
	return 0;
}

static inline void amdgpu_destroy(struct renderer *renderer)
{
	(void)renderer;
	close(st.amdgpu_fd);
}

/* Its contexts keep a promise not to write. */
static inline bool amdgpu_capset(const struct renderer *renderer, unsigned int index,
				 struct renderer_capset *out)
{
	(void)renderer;
	*out = (struct renderer_capset){ .id = CAPSET_NATIVE, .size = 160, .rdonly = true };
	return !index;
}

static inline int amdgpu_fd(const struct renderer *renderer)
{
	(void)renderer;
	return st.amdgpu_fd;
}

static inline void amdgpu_forget(struct renderer *renderer, uint32_t id)
{
	(void)renderer;
	(void)id;
}

const struct renderer_ops renderer_amdgpu = {
	.name = "amdgpu",
	.create = amdgpu_create,
	.destroy = amdgpu_destroy,
	.capset = amdgpu_capset,
	.context_create = virgl_context_create,
	.context_destroy = virgl_context_destroy,
	.attach = virgl_attach,
	.detach = virgl_detach,
	.quiesce = virgl_quiesce,
	.evict = virgl_evict,
	.forget = amdgpu_forget,
	.reset = virgl_reset,
	.jobs = virgl_jobs,
	.fd = amdgpu_fd,
	.dispatch = virgl_dispatch,
};

/* ---- the bench ---- */

static inline struct gpu_config virgl_config(void)
{
	struct gpu_config config = bench_config();

	config.loopback = false;
	config.virgl = true;
	config.native_context = GPU_NATIVE_OFF;
	config.grace_ms = 1234;
	return config;
}

static inline int setup(void **state)
{
	(void)state;
	st = (struct standing){
		.usable = true,
		.draft_answer = OK,
		.view_answer = OK,
	};
	return 0;
}

/* Everything that was opened is closed. */
static inline void end(struct bench *bench)
{
	bench_free(bench);
	assert_int_equal(st.drafts, 0);
	assert_int_equal(st.views, 0);
	assert_int_equal(st.opened, 0);
	assert_int_equal(st.released, 0);
}

static const struct piece page = { RAM_BASE, PAGE };

static inline struct bench *begin(void)
{
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	return bench;
}

static inline uint32_t get_info(struct bench *bench, struct virtio_gpu_resp_userptr_info *info)
{
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_USERPTR_INFO, 0);
	struct answer *answer = SEND(bench, cmd);

	memcpy(info, answer->data, sizeof(*info));
	return answer_type(answer);
}

#endif /* WIRING_TEST_H */
