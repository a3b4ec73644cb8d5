// SPDX-License-Identifier: MIT
/*
 * test_host_blobs: resources whose memory a renderer makes, and where they are seen
 *
 * Two stand-ins: a renderer in the place of the loopback one, which the linker
 * takes instead of it, and a VMM, which carries out what it is asked when the test
 * says so.  Both know what must not be asked of them, and fail the test if it is:
 * the renderer is told to destroy what is attached or mapped, the VMM to map over
 * what is there, or to do two things at a time.
 */
#include "tests/gpu/gpu_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "tests/util/capture.h"
#include "gpu/host_visible.h"
#include "renderer/renderer.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CAPSET 4
#define HOST3D VIRTIO_GPU_BLOB_MEM_HOST3D
#define HOST3D_GUEST VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST
#define MAPPABLE VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE
#define MAP_OK VIRTIO_GPU_RESP_OK_MAP_INFO
#define REGION (512 * PAGE)
#define FILE_OFFSET (3 * PAGE)
#define MAX_IDS 1024
#define MAX_CTX 8

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

static int vmm_ask(const struct gpu_shmem_range *range, bool unmap)
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

static int vmm_map(void *opaque, const struct gpu_shmem_range *range, int fd)
{
	(void)opaque;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	vmm.file_offset = range->fd_offset;
	return vmm_ask(range, false);
}

static int vmm_unmap(void *opaque, const struct gpu_shmem_range *range)
{
	(void)opaque;
	return vmm_ask(range, true);
}

static const struct gpu_transport vmm_ops = { .shmem_map = vmm_map, .shmem_unmap = vmm_unmap };

/* Carry out what was asked for, as a VMM does that minds what it has. */
static void vmm_do(struct bench *bench)
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

static void vmm_fail(struct bench *bench, int err)
{
	assert_true(vmm.asked);
	vmm.asked = false;
	gpu_device_shmem_done(bench->dev, err);
}

/* The guest resets its device, and the VMM takes away what it has mapped. */
static void vmm_reset(struct bench *bench)
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
	int attach_error;
	int export_error;
	unsigned int exports;
	struct renderer_submission submission;
	char log[512];
	bool big_capset;
} fake;

static void fake_log(const char *word, uint32_t id)
{
	size_t len = strlen(fake.log);

	if (len < sizeof(fake.log) - 32)
		snprintf(fake.log + len, sizeof(fake.log) - len, "%s%u ", word, id);
}

static int fake_create(const struct renderer_config *config, const struct renderer_host *host,
		       struct renderer **out)
{
	(void)config;
	fake.host = *host;
	fake.fd = eventfd(0, EFD_CLOEXEC);
	*out = &fake;
	return 0;
}

static void fake_destroy(struct renderer *renderer)
{
	unsigned int id;

	assert_null(renderer->contexts);
	for (id = 0; id < MAX_IDS; id++)
		assert_false(renderer->blob[id]);
	close(renderer->fd);
}

static bool fake_capset(const struct renderer *renderer, unsigned int index,
			struct renderer_capset *out)
{
	*out = (struct renderer_capset){ .id = CAPSET, .size = renderer->big_capset ? 1001 : 1000 };
	return !index;
}

static void fake_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version,
			     void *data)
{
	(void)renderer;
	(void)id;
	(void)version;
	memset(data, 0x5a, 1000);
}

static int fake_context_create(struct renderer *renderer, uint32_t capset, const char *name,
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

static void fake_context_destroy(struct renderer *renderer, struct renderer_context *base)
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

static int fake_attach(struct renderer_context *base, struct backing *backing)
{
	assert_ptr_equal(id_table_find(&base->resources, backing->id), backing);
	return fake.attach_error;
}

static uint32_t fake_submit(struct renderer *renderer, struct renderer_context *context,
			    const struct renderer_submission *submission, void *cookie)
{
	(void)context;
	renderer->submission = *submission;
	renderer->host.submitted(renderer->host.opaque, cookie, OK);
	return 0;
}

static uint32_t fake_blob_create(struct renderer *renderer, struct renderer_context *context,
				 const struct renderer_blob *blob)
{
	renderer->what = *blob;
	renderer->context = context;
	if (renderer->create_error)
		return renderer->create_error;
	assert_true(blob->id < MAX_IDS);
	assert_false(renderer->blob[blob->id]);
	renderer->blob[blob->id] = true;
	fake_log("new", blob->id);
	return 0;
}

static int fake_blob_attach(struct renderer_context *context, uint32_t id)
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

static void fake_blob_detach(struct renderer_context *context, uint32_t id)
{
	bool *has = &((struct fake_context *)context)->has[id];

	assert_true(fake.blob[id] && *has);
	*has = false;
	fake.attached[id]--;
	fake_log("detach", id);
}

static int fake_blob_export(struct renderer *renderer, uint32_t id, struct renderer_mapping *out)
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

static void fake_blob_destroy(struct renderer *renderer, uint32_t id)
{
	assert_true(renderer->blob[id]);
	assert_int_equal(renderer->attached[id], 0);
	renderer->blob[id] = false;
	fake_log("end", id);
}

static void fake_quiesce(struct renderer *renderer, struct backing *backing)
{
	(void)renderer;
	fake_log("quiesce", backing->id);
}

static void fake_reset(struct renderer *renderer)
{
	(void)renderer;
	fake_log("reset", 0);
}

static uint64_t fake_jobs(const struct renderer *renderer)
{
	(void)renderer;
	return 0;
}

static int fake_fd(const struct renderer *renderer)
{
	return renderer->fd;
}

static void fake_dispatch(struct renderer *renderer)
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

/* ---- the guest ---- */

static uint32_t do_host_blob(struct bench *bench, uint32_t ctx, uint32_t id, uint32_t flags,
			     uint64_t size)
{
	struct virtio_gpu_resource_create_blob cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, ctx),
		.resource_id = htole32(id),
		.blob_mem = htole32(HOST3D),
		.blob_flags = htole32(flags),
		.blob_id = htole64(77),
		.size = htole64(size),
	};

	return DO(bench, cmd);
}

static uint32_t do_host_guest_blob(struct bench *bench, uint32_t ctx, uint32_t id, uint64_t size,
				   const struct piece *pieces, unsigned int nr)
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

static struct answer *send_map(struct bench *bench, uint32_t id, uint64_t offset)
{
	struct virtio_gpu_resource_map_blob cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB, 0),
		.resource_id = htole32(id),
		.offset = htole64(offset),
	};

	return SEND(bench, cmd);
}

static struct answer *send_unmap(struct bench *bench, uint32_t id)
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

static void do_map(struct bench *bench, uint32_t id, uint64_t offset)
{
	struct answer *answer = send_map(bench, id, offset);

	assert_int_equal(answer->order, 0);
	vmm_do(bench);
	assert_int_equal(answer_type(answer), MAP_OK);
}

static uint64_t statistic(struct bench *bench, const char *name)
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

static unsigned int open_fds(void)
{
	unsigned int nr = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static struct gpu_config region_config(void)
{
	struct gpu_config config = bench_config();

	config.host_visible = REGION;
	return config;
}

/* For a test with a bench of its own. */
static int setup_stand_ins(void **state)
{
	(void)state;
	memset(&vmm, 0, sizeof(vmm));
	memset(&fake, 0, sizeof(fake));
	return 0;
}

/* Contexts 1 and 2 are the renderer's, 3 nobody's. */
static int setup(void **state)
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

static int teardown(void **state)
{
	capture_give_up();
	bench_free(*state);
	return 0;
}

/* ---- blobs ---- */

static void test_create(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 2 * PAGE), OK);
	assert_int_equal(fake.what.id, 5);
	assert_int_equal(fake.what.mem, HOST3D);
	assert_int_equal(fake.what.flags, MAPPABLE);
	assert_int_equal(fake.what.blob_id, 77);
	assert_int_equal(fake.what.size, 2 * PAGE);
	assert_null(fake.what.guest);
	assert_int_equal(fake.context->id, 1);
	assert_int_equal(statistic(bench, "host blobs now: "), 1);
	/* One space of ids, whatever has them. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), ERR_RESOURCE);
	assert_int_equal(do_blob(bench, 5, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1),
			 ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_RESOURCE);
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_host_blob(bench, 1, 0, 0, PAGE), ERR_RESOURCE);
	/* Without a context it is for the renderer to know. */
	assert_int_equal(do_host_blob(bench, 0, 7, 0, PAGE), OK);
	assert_null(fake.context);
	assert_int_equal(do_unref(bench, 7), OK);
	assert_int_equal(do_unref(bench, 5), OK);
	assert_false(fake.blob[5]);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_create_refused(void **state)
{
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE }, outside = { RAM_BASE + (1 << 20), PAGE };

	assert_int_equal(do_host_blob(bench, 9, 5, 0, PAGE), ERR_CONTEXT);
	assert_int_equal(do_host_blob(bench, 3, 5, 0, PAGE), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, 0), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 5, 8, PAGE), ERR_PARAM);
	assert_int_equal(do_blob(bench, 5, HOST3D, PAGE, &page, 1), ERR_PARAM);
	assert_int_equal(do_blob(bench, 5, 4, PAGE, &page, 1), ERR_PARAM);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE, &page, 0), ERR_PARAM);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE + 1, &page, 1), ERR_PARAM);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE, &outside, 1), ERR_PARAM);
	assert_int_equal(fake.what.id, 0);
	/* The renderer's reason is the answer, and nothing is left. */
	fake.create_error = ERR_LIMIT;
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_LIMIT);
	assert_int_equal(do_host_guest_blob(bench, 1, 5, PAGE, &page, 1), ERR_LIMIT);
	assert_int_equal(do_unref(bench, 5), ERR_RESOURCE);
	fake.create_error = 0;
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_attach(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 2, 5), OK);
	assert_int_equal(fake.attached[5], 2);
	/* A context that nobody executes has it too, but there is nobody to tell. */
	assert_int_equal(do_attach(bench, 3, 5), OK);
	assert_int_equal(fake.attached[5], 2);
	assert_int_equal(do_detach(bench, 1, 5), OK);
	assert_int_equal(do_detach(bench, 1, 5), ERR_RESOURCE);
	assert_int_equal(fake.attached[5], 1);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	/* Its end: nowhere attached first, then gone. */
	fake.log[0] = 0;
	assert_int_equal(do_unref(bench, 5), OK);
	assert_true(!strncmp(fake.log, "detach5 detach5 end5 ", 21));
	assert_int_equal(do_detach(bench, 3, 5), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
}

static void test_attach_fails(void **state)
{
	static const struct {
		int err;
		uint32_t answer;
	} cases[] = {
		{ -ENOMEM, ERR_MEMORY },
		{ -EOPNOTSUPP, ERR_UNSUPPORTED },
		{ -EINVAL, ERR_PARAM },
		{ -EIO, ERR_UNSPEC },
	};
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.attach_error = cases[i].err;
		assert_int_equal(do_attach(bench, 1, 5), cases[i].answer);
		assert_int_equal(do_attach(bench, 1, 6), cases[i].answer);
		assert_int_equal(do_detach(bench, 1, 5), ERR_RESOURCE);
		assert_int_equal(do_detach(bench, 1, 6), ERR_RESOURCE);
	}
	fake.attach_error = 0;
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_attach(bench, 1, 6), OK);
	/* Without a dma-buf it is not what the statistics call an import. */
	assert_int_equal(statistic(bench, "userptr imports: "), 0);
}

static void test_context_goes_first(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(do_ctx_destroy(bench, 2), OK);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
	assert_true(fake.blob[5]);
	assert_int_equal(do_unref(bench, 5), OK);
	assert_false(fake.blob[5]);
}

static void test_guest_pages(void **state)
{
	struct bench *bench = *state;
	struct piece p[] = { { RAM_BASE, PAGE }, { RAM_BASE + 4 * PAGE, PAGE } };
	struct backing *backing;
	struct answer *unref;

	assert_int_equal(do_host_guest_blob(bench, 1, 5, 2 * PAGE, p, 2), OK);
	backing = fake.what.guest;
	assert_non_null(backing);
	assert_int_equal(backing->runs.nr, 2);
	assert_int_equal(backing->size, 2 * PAGE);
	backing_hold(backing);
	fake.log[0] = 0;
	unref = send_unref(bench, 5);
	/* The renderer's part is gone, its hold on the pages is not. */
	assert_string_equal(fake.log, "end5 quiesce5 ");
	assert_int_equal(unref->order, 0);
	assert_true(backing_stopped(backing));
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 5), ERR_PARAM);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
	backing_release(backing);
	assert_int_equal(answer_type(unref), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_runs_are_given_back(void **state)
{
	struct piece p[] = { { RAM_BASE, PAGE }, { RAM_BASE + 4 * PAGE, PAGE } };
	struct gpu_config config = region_config();
	struct bench *bench;
	unsigned int i;

	(void)state;
	config.limits.max_total_segments = 2;
	bench = bench_new_with(&config, 1 << 20, &vmm_ops);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	for (i = 0; i < 3; i++) {
		fake.create_error = ERR_UNSPEC;
		assert_int_equal(do_host_guest_blob(bench, 1, 5, 2 * PAGE, p, 2), ERR_UNSPEC);
		fake.create_error = 0;
		assert_int_equal(do_host_guest_blob(bench, 1, 5, 2 * PAGE, p, 2), OK);
		assert_int_equal(do_unref(bench, 5), OK);
	}
	bench_free(bench);
}

/* ---- the region ---- */

static void test_map(void **state)
{
	struct bench *bench = *state;
	struct virtio_gpu_resp_map_info info;
	struct answer *map, *unmap;
	unsigned int fds = open_fds();

	assert_int_equal(gpu_device_host_visible(bench->dev), REGION);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 2 * PAGE), OK);
	map = send_map(bench, 5, 8 * PAGE);
	/* The VMM has not done it yet, and does not know of it otherwise. */
	assert_int_equal(map->order, 0);
	assert_true(vmm.asked && !vmm.unmap);
	assert_int_equal(vmm.range.offset, 8 * PAGE);
	assert_int_equal(vmm.range.size, 2 * PAGE);
	assert_int_equal(vmm.file_offset, FILE_OFFSET);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 0);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_int_equal(map->len, sizeof(info));
	memcpy(&info, map->data, sizeof(info));
	assert_int_equal(le32toh(info.map_info), VIRTIO_GPU_MAP_CACHE_WC);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 2 * PAGE);
	assert_int_equal(statistic(bench, "host blobs mapped now: "), 1);
	unmap = send_unmap(bench, 5);
	assert_int_equal(unmap->order, 0);
	assert_true(vmm.asked && vmm.unmap);
	vmm_do(bench);
	assert_int_equal(answer_type(unmap), OK);
	assert_int_equal(vmm.ranges, 0);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 0);
	/* From the first byte to the last. */
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	do_map(bench, 6, REGION - PAGE);
}

static void test_map_refused(void **state)
{
	static const uint64_t offsets[] = {
		1,
		PAGE / 2,
		REGION,
		REGION - PAGE,
		REGION + PAGE,
		UINT64_MAX - PAGE + 1,
		UINT64_MAX - 2 * PAGE + 1,
		UINT64_MAX,
		1ull << 63,
	};
	struct bench *bench = *state;
	struct piece page = { RAM_BASE, PAGE };
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 2 * PAGE), OK);
	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		assert_refused(send_map(bench, 5, offsets[i]), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, REGION + PAGE), OK);
	assert_refused(send_map(bench, 6, 0), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 7, MAPPABLE, UINT64_MAX - PAGE + 1), OK);
	assert_refused(send_map(bench, 7, 2 * PAGE), ERR_PARAM);
	assert_int_equal(do_host_blob(bench, 1, 8, MAPPABLE, PAGE + 1), OK);
	assert_refused(send_map(bench, 8, 0), ERR_PARAM);
	/* Not said to be mappable, or nothing that could be. */
	assert_int_equal(do_host_blob(bench, 1, 9, 0, PAGE), OK);
	assert_refused(send_map(bench, 9, 0), ERR_PARAM);
	assert_int_equal(do_blob(bench, 10, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_refused(send_map(bench, 10, 0), ERR_PARAM);
	assert_refused(send_unmap(bench, 10), ERR_PARAM);
	assert_int_equal(do_userptr(bench, 11, 0, &page, 1), OK);
	assert_refused(send_map(bench, 11, 0), ERR_PARAM);
	assert_refused(send_map(bench, 12, 0), ERR_RESOURCE);
	assert_refused(send_unmap(bench, 12), ERR_RESOURCE);
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	assert_int_equal(fake.exports, 0);
}

static void test_overlap(void **state)
{
	/* In pages, against [8, 12). */
	static const struct {
		unsigned int at;
		unsigned int size;
		bool fits;
	} cases[] = {
		{ 8, 4, false },   { 7, 2, false }, { 11, 2, false }, { 9, 1, false },
		{ 0, 512, false }, { 7, 6, false }, { 6, 2, true },   { 12, 4, true },
	};
	struct bench *bench = *state;
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, 4 * PAGE), OK);
	do_map(bench, 5, 8 * PAGE);
	/* It is somewhere already. */
	assert_refused(send_map(bench, 5, 100 * PAGE), ERR_PARAM);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t id = 10 + i;

		assert_int_equal(do_host_blob(bench, 1, id, MAPPABLE, cases[i].size * PAGE), OK);
		if (cases[i].fits)
			do_map(bench, id, cases[i].at * PAGE);
		else
			assert_refused(send_map(bench, id, cases[i].at * PAGE), ERR_PARAM);
	}
	/* Also with one that the VMM has not made yet. */
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 7, MAPPABLE, PAGE), OK);
	send_map(bench, 6, 50 * PAGE);
	assert_refused(send_map(bench, 7, 50 * PAGE), ERR_PARAM);
	vmm_do(bench);
}

static void test_too_many(void **state)
{
	const unsigned int max = HOST_VISIBLE_MAX_MAPPINGS;
	struct bench *bench = *state;
	uint32_t id;

	for (id = 1; id <= max + 1; id++)
		assert_int_equal(do_host_blob(bench, 1, id, MAPPABLE, PAGE), OK);
	for (id = 1; id <= max; id++)
		do_map(bench, id, id * PAGE);
	assert_refused(send_map(bench, max + 1, 0), ERR_MEMORY);
	send_unmap(bench, 7);
	send_map(bench, max + 1, 0);
	vmm_do(bench);
	vmm_do(bench);
	assert_int_equal(statistic(bench, "host blobs mapped now: "), max);
}

static void test_vmm_refuses(void **state)
{
	struct bench *bench = *state;
	struct answer *map;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(map->len, sizeof(struct virtio_gpu_ctrl_hdr));
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	/* The range and the blob are free again. */
	do_map(bench, 6, 0);
	do_map(bench, 5, PAGE);
	/* Not even asked. */
	vmm.refuse = -EOPNOTSUPP;
	assert_int_equal(do_host_blob(bench, 1, 7, MAPPABLE, PAGE), OK);
	assert_int_equal(answer_type(send_map(bench, 7, 2 * PAGE)), ERR_UNSUPPORTED);
	vmm.refuse = 0;
	do_map(bench, 7, 2 * PAGE);
	/* An unmap that fails is an error, and the blob is not mapped for us. */
	map = send_unmap(bench, 7);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_refused(send_unmap(bench, 7), ERR_PARAM);
	assert_int_equal(do_unref(bench, 7), OK);
}

static void test_export_fails(void **state)
{
	struct bench *bench = *state;
	struct answer *unmap;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	fake.export_error = -EOPNOTSUPP;
	assert_refused(send_map(bench, 5, 0), ERR_UNSUPPORTED);
	fake.export_error = -EMFILE;
	assert_refused(send_map(bench, 5, 0), ERR_MEMORY);
	assert_refused(send_unmap(bench, 5), ERR_PARAM);
	/* In the queue, with an unmap behind it. */
	fake.export_error = 0;
	send_map(bench, 6, PAGE);
	send_map(bench, 5, 0);
	unmap = send_unmap(bench, 5);
	fake.export_error = -EIO;
	vmm_do(bench);
	assert_int_equal(answer_type(unmap), ERR_PARAM);
	assert_false(vmm.asked);
	fake.export_error = 0;
	do_map(bench, 5, 0);
}

/* The guest need not wait: what it asks for is done in its order. */
static void test_commands_in_a_row(void **state)
{
	struct bench *bench = *state;
	struct answer *a[6];
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, 2 * PAGE), OK);
	a[0] = send_map(bench, 5, 0);
	a[1] = send_unmap(bench, 5);
	a[2] = send_map(bench, 6, 0); /* over what is still there */
	a[3] = send_map(bench, 5, 2 * PAGE);
	a[4] = send_unmap(bench, 6);
	a[5] = send_unmap(bench, 5);
	for (i = 0; i < 6; i++) {
		assert_int_equal(a[i]->order, 0);
		assert_int_equal(vmm.requests, i + 1);
		vmm_do(bench);
		assert_int_equal(answer_type(a[i]), i == 1 || i >= 4 ? OK : MAP_OK);
	}
	assert_false(vmm.asked);
	/* The first fails; the unmap behind it has nothing to do. */
	a[0] = send_map(bench, 5, 0);
	a[1] = send_unmap(bench, 5);
	a[2] = send_map(bench, 6, 0);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(a[0]), ERR_UNSPEC);
	assert_int_equal(answer_type(a[1]), ERR_PARAM);
	assert_false(vmm.unmap);
	vmm_do(bench);
	assert_int_equal(answer_type(a[2]), MAP_OK);
}

static void test_unref_mapped(void **state)
{
	struct bench *bench = *state;
	struct answer *unref;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	do_map(bench, 5, 0);
	unref = send_unref(bench, 5);
	assert_true(vmm.asked && vmm.unmap);
	/* Attached nowhere, but still seen by the guest. */
	assert_int_equal(fake.attached[5], 0);
	assert_true(fake.blob[5]);
	assert_int_equal(unref->order, 0);
	assert_refused(send_map(bench, 5, 0), ERR_RESOURCE);
	assert_refused(send_unmap(bench, 5), ERR_RESOURCE);
	assert_int_equal(do_attach(bench, 1, 5), ERR_RESOURCE);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), ERR_RESOURCE);
	assert_int_equal(do_unref(bench, 5), ERR_PARAM);
	vmm_do(bench);
	assert_int_equal(answer_type(unref), OK);
	assert_false(fake.blob[5]);
	assert_int_equal(vmm.ranges, 0);
	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
}

static void test_unref_while_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *map, *unmap, *unref;

	/* A map that succeeds. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	unref = send_unref(bench, 5);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_true(fake.blob[5] && vmm.asked && vmm.unmap);
	assert_int_equal(unref->order, 0);
	vmm_do(bench);
	assert_int_equal(answer_type(unref), OK);
	assert_false(fake.blob[5]);
	/* One that does not. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	unref = send_unref(bench, 5);
	vmm_fail(bench, -EIO);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(unref), OK);
	assert_false(vmm.asked);
	/* An unmap of the guest's own. */
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	unmap = send_unmap(bench, 5);
	unref = send_unref(bench, 5);
	assert_true(fake.blob[5]);
	vmm_do(bench);
	assert_int_equal(answer_type(unmap), OK);
	assert_int_equal(answer_type(unref), OK);
	assert_true(unmap->order < unref->order);
	assert_false(vmm.asked);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	struct answer *unmap;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	do_map(bench, 6, PAGE);
	fake.log[0] = 0;
	vmm_reset(bench);
	/* The VMM takes away what is mapped by itself. */
	assert_false(vmm.asked);
	assert_non_null(strstr(fake.log, "reset0 ctx-"));
	assert_non_null(strstr(fake.log, "end5 "));
	assert_int_equal(statistic(bench, "host blobs now: "), 0);
	assert_int_equal(statistic(bench, "host bytes mapped now: "), 0);
	/* An unmap that comes too late is of no account. */
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	unmap = send_unmap(bench, 5);
	vmm_reset(bench);
	assert_int_equal(answer_type(unmap), ERR_UNSPEC);
	vmm_fail(bench, -EIO);
	assert_false(vmm.asked);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
}

/* What is mapped after the reset is not the next guest's to see. */
static void test_reset_while_mapping(void **state)
{
	struct bench *bench = *state;
	struct answer *map, *queued;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	queued = send_map(bench, 6, PAGE);
	vmm_reset(bench);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(queued), ERR_UNSPEC);
	assert_int_equal(fake.exports, 1);
	/* The next guest wants the same place, and has to wait. */
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	vmm_do(bench);
	assert_true(vmm.asked && vmm.unmap);
	assert_int_equal(vmm.range.offset, 0);
	assert_int_equal(map->order, 0);
	vmm_do(bench);
	assert_true(vmm.asked && !vmm.unmap);
	vmm_do(bench);
	assert_int_equal(answer_type(map), MAP_OK);
	assert_int_equal(vmm.ranges, 1);
	/* It was not mapped: then there is nothing to undo. */
	send_unmap(bench, 5);
	vmm_do(bench);
	send_map(bench, 5, 0);
	vmm_reset(bench);
	vmm_fail(bench, -EPIPE);
	assert_false(vmm.asked);
}

/* Two resets over one request of the VMM's. */
static void test_reset_again_and_again(void **state)
{
	struct bench *bench = *state;
	unsigned int i;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	send_map(bench, 5, 0);
	vmm_reset(bench);
	for (i = 0; i < 3; i++) {
		assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
		assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
		assert_int_equal(send_map(bench, 5, 0)->order, 0);
		vmm_reset(bench);
	}
	assert_int_equal(vmm.requests, 1);
	vmm_do(bench);
	assert_true(vmm.unmap);
	/* And over the one that undoes it. */
	vmm_reset(bench);
	vmm_fail(bench, -EIO);
	assert_false(vmm.asked);
	assert_int_equal(vmm.requests, 2);
}

/* The VMM is gone: first it is said that it will not answer, or first it is the reset. */
static void test_disconnect_while_pending(void **state)
{
	struct bench *bench = *state;
	struct answer *map, *queued;

	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	assert_int_equal(do_host_blob(bench, 1, 6, MAPPABLE, PAGE), OK);
	map = send_map(bench, 5, 0);
	queued = send_map(bench, 6, PAGE);
	vmm.refuse = -EOPNOTSUPP;
	vmm_fail(bench, -EPIPE);
	assert_int_equal(answer_type(map), ERR_UNSPEC);
	assert_int_equal(answer_type(queued), ERR_UNSUPPORTED);
	vmm_reset(bench);
	assert_false(vmm.asked);
	vmm.refuse = 0;
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	send_map(bench, 5, 0);
	vmm_reset(bench);
	vmm_fail(bench, -EPIPE);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
	/* And the end of the device while something is asked for. */
	send_unmap(bench, 5);
}

static void test_unasked_for_answer(void **state)
{
	struct bench *bench = *state;

	gpu_device_shmem_done(bench->dev, 0);
	gpu_device_shmem_done(bench->dev, -EIO);
	assert_int_equal(do_host_blob(bench, 1, 5, MAPPABLE, PAGE), OK);
	do_map(bench, 5, 0);
}

static void test_no_region(void **state)
{
	struct gpu_config config = bench_config();
	struct bench *bench;

	(void)state;
	bench = bench_new_with(&config, 1 << 20, &vmm_ops);
	assert_int_equal(gpu_device_host_visible(bench->dev), 0);
	assert_int_equal(do_host_blob(bench, 0, 5, MAPPABLE, PAGE), OK);
	assert_refused(send_map(bench, 5, 0), ERR_UNSUPPORTED);
	bench_free(bench);
	/* A transport that cannot. */
	config.host_visible = REGION;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(do_host_blob(bench, 0, 5, MAPPABLE, PAGE), OK);
	assert_refused(send_map(bench, 5, 0), ERR_UNSUPPORTED);
	bench_free(bench);
}

/* ---- contexts ---- */

static struct renderer_context *fake_find(uint32_t id)
{
	struct fake_context *context = fake.contexts;

	while (context && context->base.id != id)
		context = context->next;
	return context ? &context->base : NULL;
}

static struct answer *send_empty_submit(struct bench *bench, uint32_t ctx, struct fence fence)
{
	struct {
		struct virtio_gpu_cmd_submit cmd;
		uint32_t data;
	} submit = { .cmd.hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D, ctx), .data = 0x12345678 };

	submit.cmd.size = htole32(sizeof(submit.data));
	if (fence.id) {
		submit.cmd.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
		submit.cmd.hdr.fence_id = htole64(fence.id);
	}
	if (fence.ring >= 0) {
		submit.cmd.hdr.flags |= htole32(VIRTIO_GPU_FLAG_INFO_RING_IDX);
		submit.cmd.hdr.ring_idx = (uint8_t)fence.ring;
	}
	/* The struct ends with padding that is no data. */
	return bench_send(bench, &submit, sizeof(submit.cmd) + sizeof(submit.data));
}

static void test_submission(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(answer_type(send_empty_submit(bench, 1, (struct fence){ 0, -1 })), OK);
	assert_false(fake.submission.fenced);
	assert_int_equal(fake.submission.ring, 0);
	assert_int_equal(fake.submission.size, 4);
	assert_int_equal(answer_type(send_empty_submit(bench, 1, (struct fence){ 7, 3 })), OK);
	assert_true(fake.submission.fenced);
	assert_int_equal(fake.submission.ring, 3);
}

static void test_lost(void **state)
{
	struct bench *bench = *state;
	struct fence none = { 0, -1 };
	struct capture log;

	assert_int_equal(do_host_blob(bench, 1, 5, 0, PAGE), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	capture_begin();
	fake.host.lost(fake.host.opaque, fake_find(1));
	fake.host.lost(fake.host.opaque, fake_find(1));
	capture_end(&log);
	assert_int_equal(captured(&log, "context 1 is lost: "), 1);
	assert_int_equal(answer_type(send_empty_submit(bench, 1, none)), ERR_CONTEXT);
	assert_int_equal(do_attach(bench, 1, 5), ERR_CONTEXT);
	assert_int_equal(do_host_blob(bench, 1, 6, 0, PAGE), ERR_CONTEXT);
	/* Only this one, and what it has can be taken from it. */
	assert_int_equal(answer_type(send_empty_submit(bench, 2, none)), OK);
	assert_int_equal(do_detach(bench, 1, 5), OK);
	assert_int_equal(fake.attached[5], 0);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), ERR_CONTEXT);
	assert_int_equal(do_ctx_destroy(bench, 1), OK);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	assert_int_equal(answer_type(send_empty_submit(bench, 1, none)), OK);
}

static void test_capset_size(void **state)
{
	struct virtio_gpu_get_capset cmd = {
		.hdr = header(VIRTIO_GPU_CMD_GET_CAPSET, 0),
		.capset_id = htole32(CAPSET),
	};
	struct answer *answer = bench_send_on(*state, 0, &cmd, sizeof(cmd), 1024);

	assert_int_equal(answer_type(answer), VIRTIO_GPU_RESP_OK_CAPSET);
	assert_int_equal(answer->len, 1024);
}

/* A byte more, and no answer could tell the guest of it. */
static void test_capset_too_large(void **state)
{
	struct gpu_transport transport = { .respond = bench_respond };
	struct gpu_config config = region_config();
	struct bench memory;
	struct capture log;
	int err;

	(void)state;
	fake.big_capset = true;
	memory.gm = bench_memory(&memory, 1 << 20);
	capture_begin();
	assert_null(gpu_device_new(&config, &transport, memory.gm));
	err = errno;
	capture_end(&log);
	assert_int_equal(err, E2BIG);
	assert_int_equal(captured(&log, "capset"), 1);
	bench_memory_free(&memory);
}

/* ---- anything at all ---- */

static uint64_t fuzz_state;

static uint32_t fuzz(uint32_t n)
{
	fuzz_state = fuzz_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(fuzz_state >> 33) % n;
}

/* What a VMM does: a map may fail, an unmap of nothing does. */
static void fuzz_vmm(struct bench *bench)
{
	if (vmm.unmap ? !vmm.page[vmm.range.offset / PAGE] : !fuzz(4))
		vmm_fail(bench, -EIO);
	else
		vmm_do(bench);
}

static void fuzz_command(struct bench *bench)
{
	struct piece page = { RAM_BASE + fuzz(16) * PAGE, PAGE };
	uint32_t id = 1 + fuzz(8), ctx = 1 + fuzz(4);

	switch (fuzz(10)) {
	case 0:
	case 1:
		do_host_blob(bench, ctx, id, fuzz(4), (1 + fuzz(6)) * PAGE);
		break;
	case 2:
		do_host_guest_blob(bench, ctx, id, PAGE, &page, 1);
		break;
	case 3:
	case 4:
		send_map(bench, id, fuzz(16) * PAGE);
		break;
	case 5:
		send_unmap(bench, id);
		break;
	case 6:
		send_unref(bench, id);
		break;
	case 7:
		fuzz(2) ? do_attach(bench, ctx, id) : do_detach(bench, ctx, id);
		break;
	case 8:
		fuzz(2) ? do_ctx_create(bench, ctx, CAPSET) : do_ctx_destroy(bench, ctx);
		break;
	default:
		if (!fuzz(20))
			vmm_reset(bench);
		fake.export_error = fuzz(8) ? 0 : -EIO;
	}
}

static void test_hostile(void **state)
{
	const char *given = getenv("FUZZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	struct gpu_config config = region_config();
	unsigned int round, i;

	print_message("FUZZ_SEED=%llu\n", (unsigned long long)seed);
	fuzz_state = seed | 1;
	for (round = 0; round < 20; round++) {
		struct bench *bench;

		setup_stand_ins(state);
		bench = bench_new_with(&config, 1 << 20, &vmm_ops);
		for (i = 0; i < MAX_ANSWERS / 2; i++) {
			fuzz_command(bench);
			if (vmm.asked && fuzz(2))
				fuzz_vmm(bench);
		}
		while (vmm.asked)
			fuzz_vmm(bench);
		/* What the guest is told is mapped is what the VMM has mapped. */
		assert_int_equal(statistic(bench, "host blobs mapped now: "), vmm.ranges);
		bench_free(bench);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BARE_TEST(name) cmocka_unit_test_setup(name, setup_stand_ins)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create),
		TEST(test_create_refused),
		TEST(test_attach),
		TEST(test_attach_fails),
		TEST(test_context_goes_first),
		TEST(test_guest_pages),
		BARE_TEST(test_runs_are_given_back),
		TEST(test_map),
		TEST(test_map_refused),
		TEST(test_overlap),
		TEST(test_too_many),
		TEST(test_vmm_refuses),
		TEST(test_export_fails),
		TEST(test_commands_in_a_row),
		TEST(test_unref_mapped),
		TEST(test_unref_while_pending),
		TEST(test_reset),
		TEST(test_reset_while_mapping),
		TEST(test_reset_again_and_again),
		TEST(test_disconnect_while_pending),
		TEST(test_unasked_for_answer),
		BARE_TEST(test_no_region),
		TEST(test_submission),
		TEST(test_lost),
		TEST(test_capset_size),
		BARE_TEST(test_capset_too_large),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("host_blobs", tests, NULL, NULL);
}
