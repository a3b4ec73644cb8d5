/* SPDX-License-Identifier: MIT */
/*
 * standins: a renderer and a VMM for the tests of what lies between them
 *
 * The renderer is in the place of the loopback one; the linker takes it instead of
 * that.  The VMM carries out what it is asked when the test says so.  Both know what
 * must not be asked of them, and fail the test if it is: the renderer is told to
 * destroy what is attached or mapped, the VMM to map over what is there, or to do
 * two things at a time.
 */
#ifndef STANDINS_H
#define STANDINS_H

#include "tests/gpu/gpu_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "gpu/host_visible.h"
#include "renderer/renderer.h"
#include "tests/util/capture.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CAPSET 4
#define HOST3D VIRTIO_GPU_BLOB_MEM_HOST3D
#define HOST3D_GUEST VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST
#define MAPPABLE VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE
#define MAP_OK VIRTIO_GPU_RESP_OK_MAP_INFO
#define REGION (512 * PAGE)
#define FILE_OFFSET (3 * PAGE)
#define MAX_IDS 1024

/* ---- the VMM ---- */

/**
 * struct vmm - the VMM's side of the region
 * @asked: for something, and has not answered
 * @unmap: to unmap it
 * @range: of the region
 * @page: what is seen in a page: 0 nothing, else a number of the mapping
 * @last: number of the last mapping
 * @ranges: mappings now
 * @requests: ever
 * @file_offset: of the last map
 * @refuse: what shmem_map() returns, if not 0
 */
static struct vmm {
	bool asked;
	bool unmap;
	struct gpu_shmem_range range;
	unsigned int page[REGION / PAGE];
	unsigned int last;
	unsigned int ranges;
	unsigned int requests;
	uint64_t file_offset;
	int refuse;
} vmm;

static inline int vmm_ask(const struct gpu_shmem_range *range, bool unmap)
{
	assert_false(vmm.asked);
	assert_true(range->size && range->size % PAGE == 0 && range->offset % PAGE == 0);
	assert_true(range->offset + range->size <= REGION);
	vmm.requests++;
	if (vmm.refuse)
		return vmm.refuse;
	vmm.asked = true;
	vmm.unmap = unmap;
	vmm.range = *range;
	return 0;
}

static inline int vmm_map(void *opaque, const struct gpu_shmem_range *range, int fd)
{
	(void)opaque;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	vmm.file_offset = range->fd_offset;
	return vmm_ask(range, false);
}

static inline int vmm_unmap(void *opaque, const struct gpu_shmem_range *range)
{
	(void)opaque;
	return vmm_ask(range, true);
}

static const struct gpu_transport vmm_ops = { .shmem_map = vmm_map, .shmem_unmap = vmm_unmap };

/* Carry out what was asked for, as a VMM does that minds what it has. */
static inline void vmm_do(struct bench *bench)
{
	uint64_t at, first = vmm.range.offset / PAGE, end = first + vmm.range.size / PAGE;
	unsigned int was = vmm.page[first];

	assert_true(vmm.asked);
	vmm.asked = false;
	if (vmm.unmap)
		assert_true(was);
	for (at = first; at < end; at++) {
		assert_int_equal(vmm.page[at], vmm.unmap ? was : 0);
		vmm.page[at] = vmm.unmap ? 0 : vmm.last + 1;
	}
	vmm.ranges += vmm.unmap ? -1 : 1;
	vmm.last += !vmm.unmap;
	gpu_device_shmem_done(bench->dev, 0);
}

static inline void vmm_fail(struct bench *bench, int err)
{
	assert_true(vmm.asked);
	vmm.asked = false;
	gpu_device_shmem_done(bench->dev, err);
}

/* The guest resets its device, and the VMM takes away what it has mapped. */
static inline void vmm_reset(struct bench *bench)
{
	gpu_device_reset(bench->dev);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	memset(vmm.page, 0, sizeof(vmm.page));
	vmm.ranges = 0;
}

/* ---- the renderer ---- */

struct fake_context {
	struct renderer_context base;
	struct fake_context *next;
	bool has[MAX_IDS];
};

/**
 * struct renderer - see above
 * @host: the device
 * @fd: never readable
 * @contexts: live ones
 * @blob: exists
 * @attached: to how many contexts
 * @what: of the last blob_create()
 * @context: of the last blob_create()
 * @create_error: what blob_create() is to answer
 * @later: blob_create() and blob_destroy() are over when the test says so
 * @creating: cookie of such a blob_create()
 * @made_by_detach: what blob_detach() is to answer such a blob_create() with, or 0
 * @destroying: cookie of such a blob_destroy()
 * @attach_error: what blob_attach() and attach() are to return
 * @export_error: what blob_export() is to return
 * @exports: ever
 * @submission: the last
 * @log: what was called, a word each
 * @big_capset: offer one that fits in no answer
 */
static struct renderer {
	struct renderer_host host;
	int fd;
	struct fake_context *contexts;
	bool blob[MAX_IDS];
	unsigned int attached[MAX_IDS];
	struct renderer_blob what;
	struct renderer_context *context;
	uint32_t create_error;
	bool later;
	void *creating;
	uint32_t made_by_detach;
	void *destroying;
	int attach_error;
	int export_error;
	unsigned int exports;
	struct renderer_submission submission;
	char log[512];
	bool big_capset;
} fake;

static inline void fake_log(const char *word, uint32_t id)
{
	size_t len = strlen(fake.log);

	if (len < sizeof(fake.log) - 32)
		snprintf(fake.log + len, sizeof(fake.log) - len, "%s%u ", word, id);
}

static inline int fake_create(const struct renderer_config *config,
			      const struct renderer_host *host, struct renderer **out)
{
	(void)config;
	fake.host = *host;
	fake.fd = eventfd(0, EFD_CLOEXEC);
	*out = &fake;
	return 0;
}

static inline void fake_destroy(struct renderer *renderer)
{
	unsigned int id;

	assert_null(renderer->contexts);
	for (id = 0; id < MAX_IDS; id++)
		assert_false(renderer->blob[id]);
	close(renderer->fd);
}

static inline bool fake_capset(const struct renderer *renderer, unsigned int index,
			       struct renderer_capset *out)
{
	*out = (struct renderer_capset){ .id = CAPSET, .size = renderer->big_capset ? 1001 : 1000 };
	return !index;
}

static inline void fake_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version,
				    void *data)
{
	(void)renderer;
	(void)id;
	(void)version;
	memset(data, 0x5a, 1000);
}

static inline int fake_context_create(struct renderer *renderer, uint32_t capset, const char *name,
				      struct renderer_context **out)
{
	struct fake_context *context = calloc(1, sizeof(*context));

	(void)capset;
	(void)name;
	context->next = renderer->contexts;
	renderer->contexts = context;
	*out = &context->base;
	return 0;
}

static inline void fake_context_destroy(struct renderer *renderer, struct renderer_context *base)
{
	struct fake_context *context = (struct fake_context *)base;
	struct fake_context **at = &renderer->contexts;
	unsigned int id;

	while (*at != context)
		at = &(*at)->next;
	*at = context->next;
	for (id = 0; id < MAX_IDS; id++)
		renderer->attached[id] -= context->has[id];
	fake_log("ctx-", base->id);
	id_table_destroy(&base->resources);
	free(context);
}

static inline int fake_attach(struct renderer_context *base, struct backing *backing)
{
	assert_ptr_equal(id_table_find(&base->resources, backing->id), backing);
	return fake.attach_error;
}

static inline uint32_t fake_submit(struct renderer *renderer, struct renderer_context *context,
				   const struct renderer_submission *submission, void *cookie)
{
	(void)context;
	renderer->submission = *submission;
	renderer->host.submitted(renderer->host.opaque, cookie, OK);
	return 0;
}

static inline uint32_t fake_blob_create(struct renderer *renderer, struct renderer_context *context,
					const struct renderer_blob *blob, void *cookie)
{
	renderer->what = *blob;
	renderer->context = context;
	if (renderer->create_error)
		return renderer->create_error;
	assert_true(blob->id < MAX_IDS);
	assert_false(renderer->blob[blob->id]);
	renderer->blob[blob->id] = true;
	fake_log("new", blob->id);
	if (renderer->later)
		renderer->creating = cookie;
	else
		renderer->host.blob_created(renderer->host.opaque, cookie, OK);
	return 0;
}

/* What blob_create() was to do is over. */
static inline void fake_created(uint32_t id, uint32_t response)
{
	void *cookie = fake.creating;

	assert_non_null(cookie);
	fake.creating = NULL;
	fake.host.blob_created(fake.host.opaque, cookie, response);
	if (response != OK)
		fake.blob[id] = false;
}

static inline int fake_blob_attach(struct renderer_context *context, uint32_t id)
{
	bool *has = &((struct fake_context *)context)->has[id];

	assert_true(fake.blob[id]);
	assert_false(*has);
	/* It is no resource of guest memory. */
	assert_null(id_table_find(&context->resources, id));
	if (fake.attach_error)
		return fake.attach_error;
	*has = true;
	fake.attached[id]++;
	fake_log("attach", id);
	return 0;
}

static inline void fake_blob_detach(struct renderer_context *context, uint32_t id)
{
	bool *has = &((struct fake_context *)context)->has[id];

	assert_true(fake.blob[id] && *has);
	*has = false;
	fake.attached[id]--;
	fake_log("detach", id);
	if (fake.made_by_detach && fake.creating)
		fake_created(id, fake.made_by_detach);
}

static inline int fake_blob_export(struct renderer *renderer, uint32_t id,
				   struct renderer_mapping *out)
{
	assert_true(renderer->blob[id]);
	renderer->exports++;
	if (renderer->export_error)
		return renderer->export_error;
	out->fd = memfd_create("blob", MFD_CLOEXEC);
	out->offset = FILE_OFFSET;
	out->cache = VIRTIO_GPU_MAP_CACHE_WC;
	return 0;
}

static inline bool fake_blob_destroy(struct renderer *renderer, uint32_t id, void *cookie)
{
	assert_true(renderer->blob[id]);
	assert_int_equal(renderer->attached[id], 0);
	renderer->blob[id] = false;
	fake_log("end", id);
	renderer->destroying = renderer->later ? cookie : NULL;
	return !renderer->later;
}

/* What blob_destroy() was to do is over. */
static inline void fake_destroyed(void)
{
	void *cookie = fake.destroying;

	assert_non_null(cookie);
	fake.destroying = NULL;
	fake.host.blob_destroyed(fake.host.opaque, cookie);
}

static inline void fake_quiesce(struct renderer *renderer, struct backing *backing)
{
	(void)renderer;
	fake_log("quiesce", backing->id);
}

static inline void fake_reset(struct renderer *renderer)
{
	fake_log("reset", 0);
	if (renderer->creating)
		fake_created(renderer->what.id, ERR_UNSPEC);
	if (renderer->destroying)
		fake_destroyed();
}

static inline uint64_t fake_jobs(const struct renderer *renderer)
{
	(void)renderer;
	return 0;
}

static inline int fake_fd(const struct renderer *renderer)
{
	return renderer->fd;
}

static inline void fake_dispatch(struct renderer *renderer)
{
	(void)renderer;
}

const struct renderer_ops renderer_loopback = {
	.name = "stand-in",
	.create = fake_create,
	.destroy = fake_destroy,
	.capset = fake_capset,
	.capset_data = fake_capset_data,
	.context_create = fake_context_create,
	.context_destroy = fake_context_destroy,
	.attach = fake_attach,
	.submit = fake_submit,
	.blob_create = fake_blob_create,
	.blob_attach = fake_blob_attach,
	.blob_detach = fake_blob_detach,
	.blob_export = fake_blob_export,
	.blob_destroy = fake_blob_destroy,
	.quiesce = fake_quiesce,
	.reset = fake_reset,
	.jobs = fake_jobs,
	.fd = fake_fd,
	.dispatch = fake_dispatch,
};

static inline struct renderer_context *fake_find(uint32_t id)
{
	struct fake_context *context = fake.contexts;

	while (context && context->base.id != id)
		context = context->next;
	return context ? &context->base : NULL;
}

/* ---- the guest ---- */

static inline struct answer *send_host_blob(struct bench *bench, uint32_t ctx, uint32_t id,
					    uint32_t flags, uint64_t size)
{
	struct virtio_gpu_resource_create_blob cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, ctx),
		.resource_id = htole32(id),
		.blob_mem = htole32(HOST3D),
		.blob_flags = htole32(flags),
		.blob_id = htole64(77),
		.size = htole64(size),
	};

	return SEND(bench, cmd);
}

static inline uint32_t do_host_blob(struct bench *bench, uint32_t ctx, uint32_t id, uint32_t flags,
				    uint64_t size)
{
	return answer_type(send_host_blob(bench, ctx, id, flags, size));
}

static inline uint32_t do_host_guest_blob(struct bench *bench, uint32_t ctx, uint32_t id,
					  uint64_t size, const struct piece *pieces,
					  unsigned int nr)
{
	struct virtio_gpu_resource_create_blob head = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, ctx),
		.resource_id = htole32(id),
		.blob_mem = htole32(HOST3D_GUEST),
		.blob_flags = htole32(MAPPABLE),
		.nr_entries = htole32(nr),
		.size = htole64(size),
	};
	size_t len;
	void *cmd = with_entries(&head, sizeof(head), pieces, nr, &len);
	uint32_t type = bench_do(bench, cmd, len);

	free(cmd);
	return type;
}

static inline struct answer *send_map(struct bench *bench, uint32_t id, uint64_t offset)
{
	struct virtio_gpu_resource_map_blob cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 0),
		.resource_id = htole32(id),
		.offset = htole64(offset),
	};

	return SEND(bench, cmd);
}

static inline struct answer *send_unmap(struct bench *bench, uint32_t id)
{
	struct virtio_gpu_resource_unmap_blob cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 0),
		.resource_id = htole32(id),
	};

	return SEND(bench, cmd);
}

/* Refused at once, and the VMM was not asked. */
#define assert_refused(answer_, type_)                           \
	do {                                                     \
		unsigned int requests_ = vmm.requests;           \
                                                                 \
		assert_int_equal(answer_type(answer_), (type_)); \
		assert_int_equal(vmm.requests, requests_);       \
	} while (0)

static inline void do_map(struct bench *bench, uint32_t id, uint64_t offset)
{
	struct answer *answer = send_map(bench, id, offset);

	assert_int_equal(answer->order, 0);
	vmm_do(bench);
	assert_int_equal(answer_type(answer), MAP_OK);
}

static inline uint64_t statistic(struct bench *bench, const char *name)
{
	char *text = NULL, *at;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	uint64_t value;

	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	at = strstr(text, name);
	assert_non_null(at);
	value = strtoull(at + strlen(name), NULL, 10);
	free(text);
	return value;
}

static inline unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* ---- a bench ---- */

static inline struct gpu_config region_config(void)
{
	struct gpu_config config = bench_config();

	config.host_visible = REGION;
	return config;
}

/* For a test with a bench of its own. */
static inline int setup_stand_ins(void **state)
{
	(void)state;
	memset(&vmm, 0, sizeof(vmm));
	memset(&fake, 0, sizeof(fake));
	return 0;
}

/* Contexts 1 and 2 are the renderer's, 3 nobody's. */
static inline int setup(void **state)
{
	struct gpu_config config = region_config();
	struct bench *bench;

	setup_stand_ins(state);
	bench = bench_new_with(&config, 1 << 20, &vmm_ops);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_ctx_create(bench, 2, CAPSET), OK);
	assert_int_equal(do_ctx_create(bench, 3, 0), OK);
	*state = bench;
	return 0;
}

static inline int teardown(void **state)
{
	capture_give_up();
	bench_free(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BARE_TEST(name) cmocka_unit_test_setup(name, setup_stand_ins)

#endif /* STANDINS_H */
