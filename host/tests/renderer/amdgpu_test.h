/* SPDX-License-Identifier: MIT */
/*
 * amdgpu_test: what the tests of amdgpu's native contexts share: the device's part
 *
 * No device: the test plays its part, with callbacks that keep what they are told, and
 * looks at the GPU from outside, through the files of the software amdgpu (see
 * tools/testing/amdgpu-model).  Where there is no amdgpu, or where it is not that one
 * and a test has to hold jobs back, tests are skipped.
 *
 * Each test must leave nothing: descriptors and the GPU's memory are counted.
 */
#ifndef AMDGPU_TEST_H
#define AMDGPU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#ifdef HAVE_AMDGPU

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <amdgpu.h>
#include <amdgpu_drm.h>
#include <drm.h>

#include "memory/guest_memory.h"
#include "memory/memory_limits.h"
#include "memory/udmabuf.h"
#include "renderer/renderer.h"
#include "tests/util/capture.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/responses.h"
#include "virtgpu_amdgpu.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE 4096ull
#define RAM_SIZE (256 * PAGE)
#define RAM_BASE 0x40000000ull
#define WAIT_MS 60000
#define GRACE_MS 1000
#define MAX_COOKIES 10000
#define MAX_LOST 16
#define MODEL "/sys/kernel/debug/dri/0000:03:00.0/"

/**
 * struct bench - the renderer and what it said
 * @renderer: it
 * @host: the callbacks
 * @gm: guest memory, of @ram
 * @ram: the RAM file's bytes
 * @fd: the RAM file
 * @quotas: of @udmabuf
 * @udmabuf: or NULL
 * @answers: how often each cookie was answered
 * @responses: with what, last
 * @nr_cookies: given out, from 1
 * @nr_destroyed: blobs that were said to be gone
 * @lost: contexts that were said to be lost
 * @nr_lost: how many
 * @last_resource: id
 * @last_context: id
 * @fds: descriptors that were open before
 * @vram: bytes that were in use before, of the model
 * @gtt: likewise
 */
struct bench {
	struct renderer *renderer;
	struct renderer_host host;
	struct guest_memory *gm;
	unsigned char *ram;
	int fd;
	struct memory_quotas quotas;
	struct udmabuf *udmabuf;
	unsigned char answers[MAX_COOKIES];
	uint32_t responses[MAX_COOKIES];
	unsigned int nr_cookies;
	unsigned int nr_destroyed;
	struct renderer_context *lost[MAX_LOST];
	unsigned int nr_lost;
	uint32_t last_resource;
	uint32_t last_context;
	unsigned int fds;
	int64_t vram;
	int64_t gtt;
};

static const struct renderer_ops *ops = &renderer_amdgpu;

/* ---- the GPU from outside ---- */

/* The first render node of driver @name; false: there is none. */
static inline bool find_node(const char *name, char *path, size_t size)
{
	char found[32] = "";
	int nr, fd;

	for (nr = 128; nr < 136; nr++) {
		struct drm_version version = { .name = found, .name_len = sizeof(found) - 1 };

		snprintf(path, size, "/dev/dri/renderD%d", nr);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		memset(found, 0, sizeof(found));
		if (ioctl(fd, DRM_IOCTL_VERSION, &version))
			found[0] = 0;
		close(fd);
		if (!strcmp(found, name))
			return true;
	}
	return false;
}

/* The number behind @name in a file of the model; negative: there is none. */
static inline int64_t model_get(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(name);
	int64_t value = -ENOENT;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, len) && line[len] == ' ')
			value = strtoll(line + len, NULL, 10);
	}
	if (file)
		fclose(file);
	return value;
}

static inline int64_t model_stat(const char *name)
{
	return model_get(MODEL "stats", name);
}

/* Jobs of a ring that have not been started. */
static inline int64_t model_pending(const char *ring)
{
	return model_get(MODEL "rings", ring);
}

static inline bool model_put(const char *name, uint64_t value)
{
	char path[128];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), MODEL "%s", name);
	file = fopen(path, "we");
	if (!file)
		return false;
	ok = fprintf(file, "%" PRIu64 "\n", value) > 0;
	return !fclose(file) && ok;
}

/* Bits of "hold": the rings of the model in their order. */
#define HOLD_NONE 0u
#define HOLD_SDMA0 0x20u
#define HOLD_ALL 0x7fu

static inline void hold(unsigned int rings)
{
	assert_true(model_put("hold", rings));
}

/* Descriptors, without the one that is open to count them. */
static inline unsigned int open_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned int nr = 0;

	assert_non_null(folder);
	while (readdir(folder))
		nr++;
	closedir(folder);
	return nr;
}

/* ---- the device's part ---- */

static inline void on_submitted(void *opaque, void *cookie, uint32_t response)
{
	struct bench *bench = opaque;
	uintptr_t at = (uintptr_t)cookie;

	assert_true(at < bench->nr_cookies);
	bench->answers[at]++;
	bench->responses[at] = response;
	/* Nothing is answered twice. */
	assert_int_equal(bench->answers[at], 1);
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

	assert_true(bench->nr_lost < MAX_LOST);
	bench->lost[bench->nr_lost++] = context;
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

static inline struct bench *bench_new(void)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct udmabuf_config udmabuf;

	assert_non_null(bench);
	bench->fds = open_fds();
	/* A cookie that is NULL would not be one. */
	bench->nr_cookies = 1;
	bench->vram = model_stat("vram_used");
	bench->gtt = model_stat("gtt_used");
	bench->host = (struct renderer_host){
		.opaque = bench,
		.submitted = on_submitted,
		.blob_created = on_submitted,
		.blob_destroyed = on_blob_destroyed,
		.lost = on_lost,
	};
	make_ram(bench);
	memory_quotas_init(&bench->quotas, &(const struct memory_limits){ 0 }, bench->gm);
	udmabuf = (struct udmabuf_config){ .gm = bench->gm, .quotas = &bench->quotas };
	if (access("/dev/udmabuf", R_OK | W_OK) == 0)
		assert_int_equal(udmabuf_open(&udmabuf, &bench->udmabuf), 0);
	return bench;
}

static inline struct renderer_config bench_config(const struct bench *bench)
{
	return (struct renderer_config){
		.gm = bench->gm,
		.udmabuf = bench->udmabuf,
		.grace_ms = GRACE_MS,
	};
}

static inline void bench_start(struct bench *bench, const struct renderer_config *config)
{
	assert_int_equal(ops->create(config, &bench->host, &bench->renderer), 0);
}

/* Waits until the GPU has given back what it used for what is over. */
static inline void expect_model_memory(const struct bench *bench)
{
	uint64_t started = clock_ms();

	if (bench->vram < 0)
		return;
	while (model_stat("vram_used") != bench->vram || model_stat("gtt_used") != bench->gtt) {
		if (clock_ms() - started > WAIT_MS)
			fail_msg("memory of the GPU was left: VRAM %" PRId64 ", GTT %" PRId64,
				 model_stat("vram_used") - bench->vram,
				 model_stat("gtt_used") - bench->gtt);
		usleep(1000);
	}
}

/* A test that failed may have left views, with which it cannot be closed. */
static inline void close_udmabuf(const struct bench *bench)
{
	struct udmabuf_totals totals;

	if (!bench->udmabuf)
		return;
	udmabuf_totals(bench->udmabuf, &totals);
	if (totals.views)
		fail_msg("%llu dma-bufs are left", (unsigned long long)totals.views);
	udmabuf_close(bench->udmabuf);
}

static inline void bench_end(struct bench *bench)
{
	unsigned int fds;
	unsigned int i;

	if (bench->renderer) {
		ops->reset(bench->renderer);
		ops->destroy(bench->renderer);
	}
	close_udmabuf(bench);
	guest_memory_free(bench->gm);
	munmap(bench->ram, RAM_SIZE);
	close(bench->fd);
	for (i = 1; i < bench->nr_cookies; i++)
		if (bench->answers[i] != 1)
			fail_msg("cookie %u was answered %u times", i, bench->answers[i]);
	expect_model_memory(bench);
	fds = open_fds();
	if (fds != bench->fds)
		fail_msg("%u descriptors were open, now %u", bench->fds, fds);
	free(bench);
}

/* For tests that start the renderer themselves. */
static inline int setup_without(void **state)
{
	char path[64];

	/* A program before this one that crashed may have left jobs held back. */
	if (model_get(MODEL "rings", "sdma0") >= 0)
		hold(HOLD_NONE);
	*state = find_node("amdgpu", path, sizeof(path)) ? bench_new() : NULL;
	return 0;
}

static inline int setup(void **state)
{
	struct renderer_config config;

	setup_without(state);
	if (!*state)
		return 0;
	config = bench_config(*state);
	bench_start(*state, &config);
	return 0;
}

static inline int teardown(void **state)
{
	capture_give_up();
	if (model_get(MODEL "rings", "sdma0") >= 0)
		hold(HOLD_NONE);
	if (*state)
		bench_end(*state);
	return 0;
}

/* What every test begins with. */
static inline struct bench *need_amdgpu(void **state)
{
	if (*state)
		return *state;
	print_message("skipped: there is no amdgpu\n");
	skip();
	return NULL;
}

/* Or with this, if it looks into the GPU or stops it. */
static inline struct bench *need_model(void **state)
{
	struct bench *bench = need_amdgpu(state);

	if (model_pending("sdma0") < 0) {
		print_message("skipped: the GPU is not the software amdgpu\n");
		skip();
	}
	return bench;
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

static inline unsigned int new_cookie(struct bench *bench)
{
	assert_true(bench->nr_cookies < MAX_COOKIES);
	return bench->nr_cookies++;
}

/* A cookie of what was refused at once, and so is never answered. */
static inline void refused_cookie(struct bench *bench, unsigned int cookie, uint32_t response)
{
	assert_int_equal(bench->answers[cookie], 0);
	bench->answers[cookie] = 1;
	bench->responses[cookie] = response;
}

static inline uint32_t answer_of(struct bench *bench, unsigned int cookie)
{
	WAIT_FOR(bench, bench->answers[cookie]);
	return bench->responses[cookie];
}

static inline struct renderer_context *new_context(struct bench *bench)
{
	struct renderer_context *context;

	assert_int_equal(ops->context_create(bench->renderer, AMDVGPU_CAPSET_DRM, "test", &context),
			 0);
	context->id = ++bench->last_context;
	return context;
}

/* OK or the error. */
static inline uint32_t make_blob(struct bench *bench, struct renderer_context *context,
				 const struct renderer_blob *blob)
{
	unsigned int cookie = new_cookie(bench);
	uint32_t ret = ops->blob_create(bench->renderer, context, blob, (void *)(uintptr_t)cookie);

	if (ret)
		refused_cookie(bench, cookie, ret);
	return answer_of(bench, cookie);
}

static inline void destroy_blob(struct bench *bench, uint32_t id)
{
	unsigned int before = bench->nr_destroyed;

	if (!ops->blob_destroy(bench->renderer, id, bench))
		WAIT_FOR(bench, bench->nr_destroyed == before + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#else /* !HAVE_AMDGPU */

static inline void test_not_built(void **state)
{
	(void)state;
	print_message("skipped: built without libdrm_amdgpu 2.4.121 or newer\n");
	skip();
}

static inline int amdgpu_not_built(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_built),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif

#endif /* AMDGPU_TEST_H */
