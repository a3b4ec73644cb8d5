/* SPDX-License-Identifier: MIT */
/*
 * virgl_test: what the tests of contexts of the real libvirglrenderer share
 *
 * No device: the test plays its part, with callbacks that keep what they are
 * told.  Render server and workers are real processes, and are looked at from
 * outside: there or not, what they have mapped, stopped and killed.  What needs
 * userptr memory in a dma-buf is skipped where there is no /dev/udmabuf.
 */
#ifndef VIRGL_TEST_H
#define VIRGL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#ifdef HAVE_VIRGLRENDERER

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include "memory/guest_memory.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/process.h"
#include "util/sandbox.h"
#include "renderer/renderer.h"
#include "memory/memory_limits.h"
#include "memory/udmabuf.h"

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define ERR_UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC
#define ERR_PARAM VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define VENUS 4
#define PAGE 4096ull
#define RAM_SIZE (64 * PAGE)
#define RAM_BASE 0x40000000ull
#define WAIT_MS 60000
#define GRACE_MS 1000
#define MAX_COOKIES 100000
#define MAX_WORKERS 16
#define MAX_BLOBS 64

/**
 * struct bench - the renderer and what it said
 * @renderer: it
 * @gm: guest memory, of @ram
 * @ram: the RAM file's bytes
 * @fd: the RAM file
 * @quotas: of it
 * @udmabuf: or NULL
 * @created: when the renderer was, in milliseconds
 * @answers: how often each cookie was answered
 * @responses: with what, last
 * @nr_answered: all
 * @nr_blobs: asked for
 * @blobs: what was answered to each, 0: nothing yet
 * @nr_blobs_answered: of these
 * @nr_destroyed: blobs that were said to be gone
 * @lost: contexts that were said to be lost
 * @nr_lost: how many
 * @answered_at_loss: @nr_answered at the last loss
 */
struct bench {
	struct renderer *renderer;
	struct guest_memory *gm;
	unsigned char *ram;
	int fd;
	struct memory_quotas quotas;
	struct udmabuf *udmabuf;
	uint64_t created;
	unsigned char *answers;
	uint32_t *responses;
	unsigned int nr_answered;
	unsigned int nr_blobs;
	uint32_t blobs[MAX_BLOBS];
	unsigned int nr_blobs_answered;
	unsigned int nr_destroyed;
	struct renderer_context *lost[MAX_WORKERS];
	unsigned int nr_lost;
	unsigned int answered_at_loss;
};

/**
 * struct test_backing - a resource of the device
 * @base: first
 * @idle: no holds are left
 */
struct test_backing {
	struct backing base;
	bool idle;
};

static const struct renderer_ops *ops = &renderer_virgl;

/* ---- the device's part ---- */

static inline void on_submitted(void *opaque, void *cookie, uint32_t response)
{
	struct bench *bench = opaque;
	uintptr_t at = (uintptr_t)cookie;

	assert_true(at < MAX_COOKIES);
	bench->answers[at]++;
	bench->responses[at] = response;
	bench->nr_answered++;
}

static inline void on_blob_created(void *opaque, void *cookie, uint32_t response)
{
	struct bench *bench = opaque;
	uintptr_t at = (uintptr_t)cookie;

	assert_true(at < bench->nr_blobs);
	assert_int_equal(bench->blobs[at], 0);
	bench->blobs[at] = response;
	bench->nr_blobs_answered++;
}

static inline void on_blob_destroyed(void *opaque, void *cookie)
{
	struct bench *bench = opaque;

	assert_ptr_equal(cookie, bench);
	bench->nr_destroyed++;
}

static inline void on_lost(void *opaque, struct renderer_context *context)
{
	struct bench *bench = opaque;

	assert_true(bench->nr_lost < MAX_WORKERS);
	bench->lost[bench->nr_lost++] = context;
	bench->answered_at_loss = bench->nr_answered;
}

static inline void make_ram(struct bench *bench)
{
	struct guest_region region = { .guest_addr = RAM_BASE, .size = RAM_SIZE };

	bench->fd = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(bench->fd >= 0);
	assert_int_equal(ftruncate(bench->fd, RAM_SIZE), 0);
	assert_int_equal(fcntl(bench->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	bench->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, bench->fd, 0);
	assert_ptr_not_equal(bench->ram, MAP_FAILED);
	bench->gm = guest_memory_new();
	assert_non_null(bench->gm);
	region.fd = bench->fd;
	assert_int_equal(guest_memory_set(bench->gm, &region, 1), 0);
}

static inline int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct renderer_host host = {
		.submitted = on_submitted,
		.blob_created = on_blob_created,
		.blob_destroyed = on_blob_destroyed,
		.lost = on_lost,
	};
	struct renderer_config config = { .grace_ms = GRACE_MS };
	struct udmabuf_config udmabuf;

	assert_non_null(bench);
	bench->answers = calloc(MAX_COOKIES, sizeof(*bench->answers));
	bench->responses = calloc(MAX_COOKIES, sizeof(*bench->responses));
	assert_true(bench->answers && bench->responses);
	make_ram(bench);
	memory_quotas_init(&bench->quotas, &(const struct memory_limits){ 0 }, bench->gm);
	udmabuf = (struct udmabuf_config){ .gm = bench->gm, .quotas = &bench->quotas };
	if (access("/dev/udmabuf", R_OK | W_OK) == 0)
		assert_int_equal(udmabuf_open(&udmabuf, &bench->udmabuf), 0);
	host.opaque = bench;
	config.gm = bench->gm;
	config.udmabuf = bench->udmabuf;
	assert_int_equal(ops->create(&config, &host, &bench->renderer), 0);
	bench->created = clock_ms();
	*state = bench;
	return 0;
}

static inline int teardown(void **state)
{
	struct bench *bench = *state;

	ops->destroy(bench->renderer);
	sandbox_end();
	if (bench->udmabuf)
		udmabuf_close(bench->udmabuf);
	guest_memory_free(bench->gm);
	munmap(bench->ram, RAM_SIZE);
	close(bench->fd);
	free(bench->answers);
	free(bench->responses);
	free(bench);
	return 0;
}

/* Wait a little for the renderer; fails when the test has taken too long. */
static inline void pump(struct bench *bench, uint64_t started, const char *what)
{
	struct pollfd pollfd = { .fd = ops->fd(bench->renderer), .events = POLLIN };

	if (poll(&pollfd, 1, 10) == 1)
		ops->dispatch(bench->renderer);
	if (clock_ms() - started > WAIT_MS)
		fail_msg("waited for %d s: %s", WAIT_MS / 1000, what);
}

#define WAIT_FOR(bench, condition)                               \
	do {                                                     \
		uint64_t wait_started = clock_ms();              \
		while (!(condition))                             \
			pump((bench), wait_started, #condition); \
	} while (0)

/* ---- processes ---- */

static inline pid_t only_child(pid_t parent)
{
	struct process_list list;
	pid_t pid;

	assert_int_equal(process_children(parent, &list), 0);
	assert_int_equal(list.nr, 1);
	pid = list.pids[0];
	process_list_destroy(&list);
	return pid;
}

/* The launcher's child. */
static inline pid_t server_pid(void)
{
	return only_child(only_child(getpid()));
}

/* The workers; one that is only waited for is none. */
static inline unsigned int workers(pid_t *pids)
{
	struct process_list list;
	unsigned int nr = 0;
	size_t i;

	assert_int_equal(process_children(server_pid(), &list), 0);
	for (i = 0; i < list.nr; i++) {
		int process = process_open(list.pids[i]);

		if (process < 0)
			continue;
		if (!process_ended(process)) {
			assert_true(nr < MAX_WORKERS);
			if (pids)
				pids[nr] = list.pids[i];
			nr++;
		}
		close(process);
	}
	process_list_destroy(&list);
	return nr;
}

static inline struct renderer_context *new_context(struct bench *bench)
{
	static uint32_t last_id;
	struct renderer_context *context;

	assert_int_equal(ops->context_create(bench->renderer, VENUS, "test", &context), 0);
	context->id = ++last_id;
	return context;
}

/* A context, and which process it is. */
static inline struct renderer_context *new_worker(struct bench *bench, pid_t *pid)
{
	struct renderer_context *context;
	pid_t pids[MAX_WORKERS];

	WAIT_FOR(bench, workers(NULL) == 0);
	context = new_context(bench);
	assert_int_equal(workers(pids), 1);
	*pid = pids[0];
	return context;
}

static inline bool maps_have(pid_t pid, const char *what)
{
	char path[64], line[512];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, what);
	if (file)
		fclose(file);
	return found;
}

/* Stop it, and be sure that it has stopped. */
static inline void stop_process(pid_t pid)
{
	char path[64], state = 0;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (state != 'T') {
		FILE *file = fopen(path, "re");

		assert_non_null(file);
		assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
		fclose(file);
	}
}

static inline uint32_t submit(struct bench *bench, struct renderer_context *context, uint8_t ring,
			      bool fenced, const void *data, size_t size, unsigned int cookie)
{
	struct renderer_submission work = {
		.ring = ring, .fenced = fenced, .data = data, .size = size
	};

	return ops->submit(bench->renderer, context, &work, (void *)(uintptr_t)cookie);
}

/* ---- userptr resources ---- */

static inline void backing_idle(struct backing *backing)
{
	((struct test_backing *)backing)->idle = true;
}

/* @nr pages of guest memory, every other one. */
static inline void make_backing(struct bench *bench, struct test_backing *out, uint32_t id,
				unsigned int nr)
{
	unsigned int i;

	*out = (struct test_backing){ .base = {
					      .id = id, .size = nr * PAGE, .idle = backing_idle } };
	run_list_init(&out->base.runs);
	for (i = 0; i < nr; i++) {
		struct run run;

		assert_int_equal(
			guest_memory_resolve(bench->gm, RAM_BASE + 2 * i * PAGE, PAGE, &run, 1), 1);
		assert_int_equal(run_list_append(&out->base.runs, &run), 0);
	}
}

static inline void make_view(struct bench *bench, struct test_backing *backing)
{
	struct udmabuf_draft *draft = NULL;
	struct udmabuf_view *view;

	assert_int_equal(udmabuf_draft_extend(bench->udmabuf, &backing->base, &draft), OK);
	assert_int_equal(
		udmabuf_view_create(bench->udmabuf, &backing->base, draft, NULL, NULL, &view), OK);
	backing->base.view = udmabuf_view_base(view);
}

static inline void stop_backing(struct bench *bench, struct test_backing *backing)
{
	backing_stop(&backing->base);
	ops->quiesce(bench->renderer, &backing->base);
	backing_release(&backing->base);
	assert_true(backing->idle);
}

static inline void free_backing(struct test_backing *backing)
{
	if (backing->base.view)
		udmabuf_view_free(memory_view_udmabuf(backing->base.view), NULL, NULL);
	run_list_destroy(&backing->base.runs);
}

static inline bool no_udmabuf(const struct bench *bench)
{
	if (bench->udmabuf)
		return false;
	print_message("skipped: there is no /dev/udmabuf, nor a host GPU driver to rely on\n");
	return true;
}

static inline struct renderer_blob shm_blob(uint32_t id)
{
	return (struct renderer_blob){
		.id = id,
		.mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
		.size = 16 * PAGE,
	};
}

/* Asked for, and what the answer will be is in bench->blobs[] at the same place. */
static inline uint32_t ask_for_blob(struct bench *bench, struct renderer_context *context,
				    const struct renderer_blob *blob)
{
	uintptr_t cookie = bench->nr_blobs++;

	assert_true(cookie < MAX_BLOBS);
	bench->blobs[cookie] = 0;
	return ops->blob_create(bench->renderer, context, blob, (void *)cookie);
}

/* 0 or the error. */
static inline uint32_t make_blob(struct bench *bench, struct renderer_context *context,
				 const struct renderer_blob *blob)
{
	uint32_t *answer = &bench->blobs[bench->nr_blobs];
	uint32_t ret = ask_for_blob(bench, context, blob);

	if (ret)
		return ret;
	WAIT_FOR(bench, *answer);
	return *answer == OK ? 0 : *answer;
}

static inline void destroy_blob(struct bench *bench, uint32_t id)
{
	unsigned int before = bench->nr_destroyed;

	if (!ops->blob_destroy(bench->renderer, id, bench))
		WAIT_FOR(bench, bench->nr_destroyed == before + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#else /* !HAVE_VIRGLRENDERER */

static inline void test_not_built(void **state)
{
	(void)state;
	print_message("skipped: built without libvirglrenderer 1.1 or newer\n");
	skip();
}

static inline int virgl_not_built(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_built),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif

#endif /* VIRGL_TEST_H */
