// SPDX-License-Identifier: MIT
/*
 * test_virgl_wiring: what the device does for libvirglrenderer's contexts
 *
 * That user memory reaches them as dma-bufs, and that it is given back in order.
 * Stand-ins for the renderer, the dma-bufs and the release of these, so it takes
 * neither the library nor /dev/udmabuf.  The device is compiled into the test, as
 * it is where the library exists, whether it exists here or not.
 */
#ifndef HAVE_VIRGLRENDERER
#define HAVE_VIRGLRENDERER
#endif
#include "gpu/gpu_device.c"
#include "tests/gpu/gpu_test.h"

#include <stdio.h>
#include <sys/eventfd.h>

#include "tests/util/capture.h"

#define CAPSET 4
#define INFO_OK VIRTIO_GPU_RESP_OK_USERPTR_INFO
#define USERPTR_BIT ((uint64_t)1 << VIRTIO_GPU_F_RESOURCE_USERPTR)

/**
 * struct standing - the stand-ins' common state
 * @open_error: of udmabuf_open()
 * @create_error: of the renderer's create()
 * @usable: the guest's RAM can be made into dma-bufs
 * @draft_answer: of udmabuf_draft_extend()
 * @view_answer: of udmabuf_view_create()
 * @drafts: live ones
 * @extended: how often one was
 * @opened: udmabuf_open() less udmabuf_close()
 * @views: live ones
 * @released: release_new() less release_free()
 * @waits: release_begin() is not done at once
 * @pending: cookie of the release that waits
 * @release_host: the device
 * @release_fd: readable when @gone_due
 * @gone_due: release_dispatch() is to say that the view is gone
 * @host: the device
 * @config: of the renderer
 * @renderer_fd: never readable
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
	int drafts;
	unsigned int extended;
	int opened;
	int views;
	int released;
	bool waits;
	void *pending;
	struct release_host release_host;
	int release_fd;
	bool gone_due;
	struct renderer_host host;
	struct renderer_config config;
	int renderer_fd;
	struct renderer_context *context;
	struct backing *attached;
	unsigned int forced;
	char log[64];
} st;

static void note(char what)
{
	size_t len = strlen(st.log);

	if (len < sizeof(st.log) - 1)
		st.log[len] = what;
}

/* ---- dma-bufs ---- */

int udmabuf_open(struct guest_memory *gm, struct udmabuf **out)
{
	assert_non_null(gm);
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
	assert_false(backing->readonly);
	st.extended++;
	if (!*draft)
		st.drafts++;
	*draft = (struct udmabuf_draft *)&st.drafts;
	return st.draft_answer;
}

void udmabuf_draft_free(struct udmabuf_draft *draft)
{
	assert_ptr_equal(draft, &st.drafts);
	st.drafts--;
}

uint32_t udmabuf_view_create(struct udmabuf *udmabuf, const struct backing *backing,
			     struct udmabuf_draft *draft, struct udmabuf_view **out)
{
	(void)udmabuf;
	assert_false(backing->readonly);
	assert_ptr_equal(draft, &st.drafts);
	if (st.view_answer != OK)
		return st.view_answer;
	st.drafts--;
	st.views++;
	*out = (struct udmabuf_view *)&st.views;
	return OK;
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

bool release_begin(struct release *release, struct backing *backing, struct udmabuf_view *view,
		   void *cookie)
{
	(void)release;
	assert_ptr_equal(view, &st.views);
	assert_ptr_equal(backing->view, view);
	assert_true(backing_stopped(backing));
	note('b');
	if (st.waits)
		st.pending = cookie;
	else
		st.views--;
	return !st.waits;
}

void release_now(struct release *release, struct backing *backing, struct udmabuf_view *view)
{
	(void)release;
	(void)backing;
	assert_ptr_equal(view, &st.views);
	note('n');
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

static int virgl_create(const struct renderer_config *config, const struct renderer_host *host,
			struct renderer **out)
{
	if (st.create_error)
		return st.create_error;
	st.config = *config;
	st.host = *host;
	st.renderer_fd = eventfd(0, EFD_CLOEXEC);
	*out = (struct renderer *)&st;
	return 0;
}

static void virgl_destroy(struct renderer *renderer)
{
	(void)renderer;
	close(st.renderer_fd);
}

static bool virgl_capset(const struct renderer *renderer, unsigned int index,
			 struct renderer_capset *out)
{
	(void)renderer;
	*out = (struct renderer_capset){ .id = CAPSET, .size = 160 };
	return !index;
}

static int virgl_context_create(struct renderer *renderer, uint32_t capset, const char *name,
				struct renderer_context **out)
{
	(void)renderer;
	(void)capset;
	(void)name;
	*out = st.context = calloc(1, sizeof(**out));
	return 0;
}

static void virgl_context_destroy(struct renderer *renderer, struct renderer_context *base)
{
	(void)renderer;
	id_table_destroy(&base->resources);
	free(base);
}

static int virgl_attach(struct renderer_context *context, struct backing *backing)
{
	(void)context;
	note('a');
	st.attached = backing;
	return 0;
}

static void virgl_detach(struct renderer_context *context, struct backing *backing)
{
	(void)context;
	(void)backing;
	note('d');
}

static void virgl_quiesce(struct renderer *renderer, struct backing *backing)
{
	(void)renderer;
	assert_true(backing_stopped(backing));
	note('q');
}

static void virgl_evict(struct renderer *renderer, struct backing *backing, bool force)
{
	(void)renderer;
	assert_int_equal(backing->id, 5);
	note('e');
	st.forced += force;
	st.host.lost(st.host.opaque, st.context);
}

static void virgl_forget(struct renderer *renderer, uint32_t id)
{
	(void)renderer;
	assert_int_equal(id, 5);
	note('f');
}

static void virgl_reset(struct renderer *renderer)
{
	(void)renderer;
	note('r');
}

static uint64_t virgl_jobs(const struct renderer *renderer)
{
	(void)renderer;
	return 0;
}

static int virgl_fd(const struct renderer *renderer)
{
	(void)renderer;
	return st.renderer_fd;
}

static void virgl_dispatch(struct renderer *renderer)
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

/* ---- the bench ---- */

static struct gpu_config virgl_config(void)
{
	struct gpu_config config = bench_config();

	config.loopback = false;
	config.virgl = true;
	config.grace_ms = 1234;
	return config;
}

static int setup(void **state)
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
static void end(struct bench *bench)
{
	bench_free(bench);
	assert_int_equal(st.drafts, 0);
	assert_int_equal(st.views, 0);
	assert_int_equal(st.opened, 0);
	assert_int_equal(st.released, 0);
}

static const struct piece page = { RAM_BASE, PAGE };

static struct bench *begin(void)
{
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), OK);
	assert_int_equal(do_attach(bench, 1, 5), OK);
	return bench;
}

static uint32_t get_info(struct bench *bench, struct virtio_gpu_resp_userptr_info *info)
{
	struct virtio_gpu_ctrl_hdr cmd = header(VIRTIO_GPU_CMD_GET_USERPTR_INFO, 0);
	struct answer *answer = SEND(bench, cmd);

	memcpy(info, answer->data, sizeof(*info));
	return answer_type(answer);
}

/* ---- the tests ---- */

static void no_udmabuf_no_userptr(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct capture log;
	struct bench *bench;

	(void)state;
	st.open_error = -ENOENT;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "userptr resources are not offered"), 1);
	assert_int_equal(captured(&log, "/dev/udmabuf"), 1);
	assert_false(gpu_device_features(bench->dev) & USERPTR_BIT);
	assert_int_equal(get_info(bench, &info), ERR_UNSPEC);
	assert_null(st.config.udmabuf);
	/* The rest is there. */
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	end(bench);
	/* Nobody asked for it: nothing to say. */
	config.userptr = false;
	capture_begin();
	bench = bench_new(&config, 1 << 20);
	capture_end(&log);
	assert_int_equal(captured(&log, "userptr"), 0);
	end(bench);
}

static void what_is_promised(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);
	struct piece two[] = { { RAM_BASE, PAGE }, { RAM_BASE + PAGE, PAGE } };

	(void)state;
	assert_true(gpu_device_features(bench->dev) & USERPTR_BIT);
	assert_ptr_equal(st.config.udmabuf, &st);
	assert_ptr_equal(st.config.gm, bench->gm);
	assert_int_equal(st.config.grace_ms, 1234);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	/* The kernel's limits can be changed: a resource is refused when it is made. */
	assert_int_equal(le64toh(info.max_size), config.limits.max_userptr_bytes);
	assert_int_equal(le32toh(info.max_segments), 65536);
	/* Nobody here could keep that promise. */
	assert_int_equal(info.flags, 0);
	assert_int_equal(do_userptr(bench, 5, VIRTIO_GPU_USERPTR_RDONLY, &page, 1),
			 ERR_UNSUPPORTED);
	end(bench);
	/* Our own limit is kept. */
	config.limits.max_userptr_bytes = PAGE;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(le64toh(info.max_size), PAGE);
	assert_int_equal(do_userptr(bench, 5, 0, two, 2), ERR_LIMIT);
	end(bench);
}

static void ram_that_cannot_be_shared(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	(void)state;
	st.usable = false;
	assert_int_equal(get_info(bench, &info), ERR_UNSUPPORTED);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_UNSUPPORTED);
	assert_int_equal(do_destroy(bench, 5), OK);
	st.usable = true;
	st.view_answer = ERR_LIMIT;
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_LIMIT);
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "qq");
	end(bench);
}

static uint32_t do_chunk(struct bench *bench, const void *head, size_t head_len)
{
	size_t len;
	void *cmd = with_entries(head, head_len, &page, 1, &len);
	uint32_t type = bench_do(bench, cmd, len);

	free(cmd);
	return type;
}

/* What the dma-buf needs is done with each chunk, and refused with it. */
static void chunks_are_worked_on_as_they_come(void **state)
{
	struct virtio_gpu_resource_create_userptr first = create_head(5, 0, 3 * PAGE, 0, 1);
	struct virtio_gpu_resource_add_userptr_pages second = add_head(5, PAGE, 1);
	struct virtio_gpu_resource_add_userptr_pages third = add_head(5, 2 * PAGE, 1);
	struct gpu_config config = virgl_config();
	struct bench *bench = bench_new(&config, 1 << 20);

	(void)state;
	assert_int_equal(do_chunk(bench, &first, sizeof(first)), OK);
	assert_int_equal(do_chunk(bench, &second, sizeof(second)), OK);
	assert_int_equal(st.extended, 2);
	assert_int_equal(st.drafts, 1);
	assert_int_equal(st.views, 0);
	assert_int_equal(do_chunk(bench, &third, sizeof(third)), OK);
	assert_int_equal(st.extended, 3);
	assert_int_equal(st.drafts, 0);
	assert_int_equal(st.views, 1);
	assert_int_equal(do_destroy(bench, 5), OK);
	/* The refusal comes with the chunk that cannot be, and leaves nothing. */
	assert_int_equal(do_chunk(bench, &first, sizeof(first)), OK);
	st.draft_answer = ERR_LIMIT;
	assert_int_equal(do_chunk(bench, &second, sizeof(second)), ERR_LIMIT);
	assert_int_equal(st.drafts, 0);
	assert_int_equal(do_destroy(bench, 5), OK);
	st.draft_answer = OK;
	/* Left for the end: half of one. */
	assert_int_equal(do_chunk(bench, &first, sizeof(first)), OK);
	assert_int_equal(st.drafts, 1);
	end(bench);
}

static void attached_as_a_dma_buf(void **state)
{
	struct bench *bench = begin();
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	(void)state;
	assert_ptr_equal(st.attached->view, &st.views);
	assert_int_equal(do_blob(bench, 6, VIRTIO_GPU_BLOB_MEM_GUEST, PAGE, &page, 1), OK);
	assert_int_equal(do_attach(bench, 1, 6), OK);
	assert_null(st.attached->view);
	assert_int_equal(do_attach(bench, 1, 5), OK); /* once more is no more */
	gpu_device_print_stats(bench->dev, to);
	fclose(to);
	assert_non_null(strstr(text, "userptr imports: 1\n"));
	assert_non_null(strstr(text, "udmabuf views now: 1\n"));
	assert_non_null(strstr(text, "udmabuf items now: 11\n"));
	assert_non_null(strstr(text, "udmabuf views created: 12\n"));
	assert_non_null(strstr(text, "udmabuf items created: 13\n"));
	free(text);
	end(bench);
}

static void given_back_at_once(void **state)
{
	struct bench *bench = begin();

	(void)state;
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "adqbf");
	assert_int_equal(st.views, 0);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), OK);
	end(bench);
}

static void given_back_later(void **state)
{
	struct bench *bench = begin();
	struct answer *answer;
	struct capture log;
	uint64_t one = 1;

	(void)state;
	st.waits = true;
	backing_hold(st.attached);
	answer = send_destroy(bench, 5);
	/* First those who hold it, then who has the dma-buf. */
	assert_string_equal(st.log, "adq");
	backing_release(st.attached);
	assert_string_equal(st.log, "adqb");
	assert_int_equal(answer->order, 0);
	assert_int_equal(do_userptr(bench, 5, 0, &page, 1), ERR_RESOURCE);
	/* Too long. */
	capture_begin();
	st.release_host.evict(st.release_host.opaque, st.attached, false);
	st.release_host.evict(st.release_host.opaque, st.attached, true);
	capture_end(&log);
	assert_int_equal(st.forced, 1);
	assert_int_equal(captured(&log, "context 1 is lost"), 1);
	assert_int_equal(captured(&log, "resource 5"), 1);
	assert_int_equal(do_attach(bench, 1, 5), ERR_CONTEXT);
	assert_int_equal(answer->order, 0);
	st.gone_due = true;
	assert_int_equal(write(st.release_fd, &one, sizeof(one)), sizeof(one));
	bench_wait(bench, answer);
	assert_int_equal(answer_type(answer), OK);
	assert_string_equal(st.log, "adqbeef");
	st.waits = false;
	end(bench);
}

static void reset_takes_it_at_once(void **state)
{
	struct bench *bench = begin();
	struct answer *answer;

	(void)state;
	st.waits = true;
	answer = send_destroy(bench, 5);
	assert_int_equal(do_userptr(bench, 6, 0, &page, 1), OK);
	memset(st.log, 0, sizeof(st.log));
	gpu_device_reset(bench->dev);
	/* The renderer first; then both, the one that waits and the other. */
	assert_string_equal(st.log, "rnn");
	assert_int_equal(st.views, 0);
	assert_int_equal(answer_type(answer), ERR_UNSPEC);
	end(bench);
}

static void no_renderer_no_device(void **state)
{
	struct gpu_transport transport = { .respond = bench_respond };
	struct gpu_config config = virgl_config();
	struct bench memory;
	struct capture log;
	int err;

	(void)state;
	st.create_error = -ENODEV;
	memory.gm = bench_memory(&memory, 1 << 20);
	capture_begin();
	assert_null(gpu_device_new(&config, &transport, memory.gm));
	err = errno;
	capture_end(&log);
	assert_int_equal(err, ENODEV);
	assert_int_equal(captured(&log, "libvirglrenderer"), 1);
	assert_int_equal(st.opened, 0);
	assert_int_equal(st.released, 0);
	bench_memory_free(&memory);
}

static void beside_the_loopback_context(void **state)
{
	struct virtio_gpu_resp_userptr_info info;
	struct gpu_config config = virgl_config();
	struct bench *bench;

	(void)state;
	config.loopback = true;
	bench = bench_new(&config, 1 << 20);
	assert_int_equal(do_ctx_create(bench, 1, CAPSET), OK);
	assert_int_equal(do_ctx_create(bench, 2, VIRTIO_GPU_CAPSET_LOOPBACK), OK);
	/* Read-only for the one that keeps to it, and without a dma-buf, which would not. */
	assert_int_equal(get_info(bench, &info), INFO_OK);
	assert_int_equal(le32toh(info.flags), VIRTIO_GPU_USERPTR_INFO_RDONLY);
	assert_int_equal(le64toh(info.rdonly_capset_mask), 1ull << VIRTIO_GPU_CAPSET_LOOPBACK);
	assert_int_equal(do_userptr(bench, 5, VIRTIO_GPU_USERPTR_RDONLY, &page, 1), OK);
	assert_int_equal(st.views, 0);
	assert_int_equal(do_attach(bench, 1, 5), ERR_UNSUPPORTED);
	assert_int_equal(do_attach(bench, 2, 5), OK);
	assert_int_equal(do_destroy(bench, 5), OK);
	assert_string_equal(st.log, "q");
	end(bench);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_udmabuf_no_userptr),	   TEST(what_is_promised),
		TEST(ram_that_cannot_be_shared),   TEST(attached_as_a_dma_buf),
		TEST(given_back_at_once),	   TEST(given_back_later),
		TEST(reset_takes_it_at_once),	   TEST(no_renderer_no_device),
		TEST(beside_the_loopback_context), TEST(chunks_are_worked_on_as_they_come),
	};

	return cmocka_run_group_tests_name("virgl_wiring", tests, NULL, NULL);
}
