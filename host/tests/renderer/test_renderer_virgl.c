// SPDX-License-Identifier: MIT
/*
 * test_renderer_virgl: contexts of the real libvirglrenderer
 *
 * No device: the test plays its part, with callbacks that keep what they are
 * told.  Render server and workers are real processes, and are looked at from
 * outside: there or not, what they have mapped, stopped and killed.  What needs
 * userptr memory in a dma-buf is skipped where there is no /dev/udmabuf.
 */
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
#include <time.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include "memory/guest_memory.h"
#include "util/log.h"
#include "renderer/virgl/render_process.h"
#include "renderer/renderer.h"
#include "memory/view_udmabuf.h"

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

/**
 * struct bench - the renderer and what it said
 * @renderer: it
 * @gm: guest memory, of @ram
 * @ram: the RAM file's bytes
 * @fd: the RAM file
 * @udmabuf: or NULL
 * @answers: how often each cookie was answered
 * @responses: with what, last
 * @nr_answered: all
 * @lost: contexts that were said to be lost
 * @nr_lost: how many
 * @answered_at_loss: @nr_answered at the last loss
 */
struct bench {
	struct renderer *renderer;
	struct guest_memory *gm;
	unsigned char *ram;
	int fd;
	struct udmabuf *udmabuf;
	unsigned char *answers;
	uint32_t *responses;
	unsigned int nr_answered;
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

static void on_submitted(void *opaque, void *cookie, uint32_t response)
{
	struct bench *bench = opaque;
	uintptr_t at = (uintptr_t)cookie;

	assert_true(at < MAX_COOKIES);
	bench->answers[at]++;
	bench->responses[at] = response;
	bench->nr_answered++;
}

static void on_lost(void *opaque, struct renderer_context *context)
{
	struct bench *bench = opaque;

	assert_true(bench->nr_lost < MAX_WORKERS);
	bench->lost[bench->nr_lost++] = context;
	bench->answered_at_loss = bench->nr_answered;
}

static void make_ram(struct bench *bench)
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

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct renderer_host host = { .submitted = on_submitted, .lost = on_lost };
	struct renderer_config config = { .grace_ms = GRACE_MS };

	assert_non_null(bench);
	bench->answers = calloc(MAX_COOKIES, sizeof(*bench->answers));
	bench->responses = calloc(MAX_COOKIES, sizeof(*bench->responses));
	assert_true(bench->answers && bench->responses);
	make_ram(bench);
	if (access("/dev/udmabuf", R_OK | W_OK) == 0)
		assert_int_equal(udmabuf_open(bench->gm, &bench->udmabuf), 0);
	host.opaque = bench;
	config.gm = bench->gm;
	config.udmabuf = bench->udmabuf;
	assert_int_equal(ops->create(&config, &host, &bench->renderer), 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	ops->destroy(bench->renderer);
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

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Wait a little for the renderer; fails when the test has taken too long. */
static void pump(struct bench *bench, uint64_t started)
{
	struct pollfd pollfd = { .fd = ops->fd(bench->renderer), .events = POLLIN };

	if (poll(&pollfd, 1, 10) == 1)
		ops->dispatch(bench->renderer);
	if (now_ms() - started > WAIT_MS)
		fail_msg("waited for %d s", WAIT_MS / 1000);
}

#define WAIT_FOR(bench, condition)                   \
	do {                                         \
		uint64_t wait_started = now_ms();    \
		while (!(condition))                 \
			pump((bench), wait_started); \
	} while (0)

/* ---- processes ---- */

static pid_t server_pid(void)
{
	struct int_list list;
	pid_t pid;

	assert_int_equal(list_children(getpid(), false, &list), 0);
	assert_int_equal(list.nr, 1);
	pid = list.items[0];
	int_list_destroy(&list);
	return pid;
}

/* The workers; one that is only waited for is none. */
static unsigned int workers(pid_t *pids)
{
	struct int_list list;
	unsigned int nr = 0;
	size_t i;

	assert_int_equal(list_children(server_pid(), false, &list), 0);
	for (i = 0; i < list.nr; i++) {
		int process = process_open(list.items[i]);

		if (process < 0)
			continue;
		if (!process_ended(process)) {
			assert_true(nr < MAX_WORKERS);
			if (pids)
				pids[nr] = list.items[i];
			nr++;
		}
		close(process);
	}
	int_list_destroy(&list);
	return nr;
}

static struct renderer_context *new_context(struct bench *bench)
{
	static uint32_t last_id;
	struct renderer_context *context;

	assert_int_equal(ops->context_create(bench->renderer, VENUS, "test", &context), 0);
	context->id = ++last_id;
	return context;
}

/* A context, and which process it is. */
static struct renderer_context *new_worker(struct bench *bench, pid_t *pid)
{
	struct renderer_context *context;
	pid_t pids[MAX_WORKERS];

	WAIT_FOR(bench, workers(NULL) == 0);
	context = new_context(bench);
	assert_int_equal(workers(pids), 1);
	*pid = pids[0];
	return context;
}

static bool maps_have(pid_t pid, const char *what)
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
static void stop_process(pid_t pid)
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

static uint32_t submit(struct bench *bench, struct renderer_context *context, uint8_t ring,
		       bool fenced, const void *data, size_t size, unsigned int cookie)
{
	struct renderer_submission work = {
		.ring = ring, .fenced = fenced, .data = data, .size = size
	};

	return ops->submit(bench->renderer, context, &work, (void *)(uintptr_t)cookie);
}

/* ---- userptr resources ---- */

static void backing_idle(struct backing *backing)
{
	((struct test_backing *)backing)->idle = true;
}

/* @nr pages of guest memory, every other one. */
static void make_backing(struct bench *bench, struct test_backing *out, uint32_t id,
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

static void make_view(struct bench *bench, struct test_backing *backing)
{
	struct udmabuf_draft *draft = NULL;
	struct udmabuf_view *view;

	assert_int_equal(udmabuf_draft_extend(bench->udmabuf, &backing->base, &draft), OK);
	assert_int_equal(udmabuf_view_create(bench->udmabuf, &backing->base, draft, &view), OK);
	backing->base.view = view;
}

static void stop_backing(struct bench *bench, struct test_backing *backing)
{
	backing_stop(&backing->base);
	ops->quiesce(bench->renderer, &backing->base);
	backing_release(&backing->base);
	assert_true(backing->idle);
}

static void free_backing(struct test_backing *backing)
{
	if (backing->base.view)
		udmabuf_view_free(backing->base.view);
	run_list_destroy(&backing->base.runs);
}

static bool no_udmabuf(const struct bench *bench)
{
	if (bench->udmabuf)
		return false;
	print_message("skipped: there is no /dev/udmabuf, nor a host GPU driver to rely on\n");
	return true;
}

/* ---- Vulkan, by hand ---- */

/* Names of objects, as the guest chooses them. */
#define INSTANCE 1
#define PHYSICAL_DEVICE 2
#define DEVICE 3
#define MEMORY 4
#define OTHER_MEMORY 5

#define CMD_CREATE_INSTANCE 0
#define CMD_ENUMERATE_DEVICES 2
#define CMD_CREATE_DEVICE 11
#define CMD_ALLOCATE_MEMORY 21
#define TYPE_INSTANCE_INFO 1
#define TYPE_QUEUE_INFO 2
#define TYPE_DEVICE_INFO 3
#define TYPE_ALLOCATE_INFO 5
#define TYPE_EXPORT_INFO 1000072002
#define TYPE_IMPORT_RESOURCE_INFO 1000384002
#define HANDLE_DMA_BUF 0x200
#define ONE 0x3f800000

/**
 * struct venus - commands of Venus under construction
 * @dwords: them
 * @nr: how many
 */
struct venus {
	uint32_t dwords[128];
	size_t nr;
};

static void put32(struct venus *venus, uint32_t value)
{
	assert_true(venus->nr < sizeof(venus->dwords) / sizeof(venus->dwords[0]));
	venus->dwords[venus->nr++] = value;
}

/* A name, a size, and whether there is something at a pointer. */
static void put64(struct venus *venus, uint64_t value)
{
	put32(venus, (uint32_t)value);
	put32(venus, (uint32_t)(value >> 32));
}

static void put_command(struct venus *venus, uint32_t command)
{
	put32(venus, command);
	put32(venus, 0);
}

/* Neither layers nor extensions. */
static void put_no_names(struct venus *venus)
{
	put32(venus, 0);
	put64(venus, 0);
	put32(venus, 0);
	put64(venus, 0);
}

/* No allocator, and the name of what is made. */
static void put_object(struct venus *venus, uint64_t object)
{
	put64(venus, 0);
	put64(venus, 1);
	put64(venus, object);
}

static void put_create_device(struct venus *venus)
{
	put_command(venus, CMD_CREATE_DEVICE);
	put64(venus, PHYSICAL_DEVICE);
	put64(venus, 1);
	put32(venus, TYPE_DEVICE_INFO);
	put64(venus, 0);
	put32(venus, 0);
	put32(venus, 1);
	put64(venus, 1);
	put32(venus, TYPE_QUEUE_INFO);
	put64(venus, 0);
	put32(venus, 0);
	put32(venus, 0);
	put32(venus, 1);
	put64(venus, 1);
	put32(venus, ONE);
	put_no_names(venus);
	put64(venus, 0);
	put_object(venus, DEVICE);
}

static void run_venus(struct bench *bench, struct renderer_context *context,
		      const struct venus *venus, unsigned int cookie)
{
	assert_int_equal(submit(bench, context, 0, true, venus->dwords,
				venus->nr * sizeof(venus->dwords[0]), cookie),
			 0);
	WAIT_FOR(bench, bench->answers[cookie]);
	assert_int_equal(bench->responses[cookie], OK);
}

static void put_enumerate_devices(struct venus *venus)
{
	put_command(venus, CMD_ENUMERATE_DEVICES);
	put64(venus, INSTANCE);
	put64(venus, 1);
	put32(venus, 1);
	put64(venus, 1);
	put64(venus, PHYSICAL_DEVICE);
}

static void make_device(struct bench *bench, struct renderer_context *context, unsigned int cookie)
{
	struct venus venus = { .nr = 0 };

	put_command(&venus, CMD_CREATE_INSTANCE);
	put64(&venus, 1);
	put32(&venus, TYPE_INSTANCE_INFO);
	put64(&venus, 0);
	put32(&venus, 0);
	put64(&venus, 0);
	put_no_names(&venus);
	put_object(&venus, INSTANCE);
	put_enumerate_devices(&venus);
	put_create_device(&venus);
	run_venus(bench, context, &venus, cookie);
}

/* Memory that can be exported; of resource @import, or, if that is 0, new. */
static void allocate(struct bench *bench, struct renderer_context *context, uint64_t memory,
		     uint32_t import, uint64_t size, unsigned int cookie)
{
	struct venus venus = { .nr = 0 };

	put_command(&venus, CMD_ALLOCATE_MEMORY);
	put64(&venus, DEVICE);
	put64(&venus, 1);
	put32(&venus, TYPE_ALLOCATE_INFO);
	if (import) {
		put64(&venus, 1);
		put32(&venus, TYPE_IMPORT_RESOURCE_INFO);
	}
	put64(&venus, 1);
	put32(&venus, TYPE_EXPORT_INFO);
	put64(&venus, 0);
	put32(&venus, HANDLE_DMA_BUF);
	if (import)
		put32(&venus, import);
	put64(&venus, size);
	put32(&venus, 0);
	put_object(&venus, memory);
	run_venus(bench, context, &venus, cookie);
}

/* ---- tests ---- */

static void test_capsets(void **state)
{
	struct bench *bench = *state;
	struct renderer_capset capset, again;
	unsigned char *data, sum = 0;
	unsigned int i;

	assert_true(ops->capset(bench->renderer, 0, &capset));
	assert_int_equal(capset.id, VENUS);
	assert_true(capset.size >= 16);
	assert_false(capset.rdonly);
	if (ops->capset(bench->renderer, 1, &again))
		assert_int_equal(again.id, 6);
	assert_false(ops->capset(bench->renderer, 2, &again));
	data = malloc(capset.size);
	assert_non_null(data);
	memset(data, 0, capset.size);
	ops->capset_data(bench->renderer, VENUS, capset.version, data);
	for (i = 0; i < capset.size; i++)
		sum |= data[i];
	assert_true(sum);
	free(data);
}

static void test_one_at_a_time(void **state)
{
	struct renderer_config config = { .grace_ms = GRACE_MS };
	struct renderer_host host = { .opaque = NULL };
	struct renderer *other;

	(void)state;
	assert_int_equal(ops->create(&config, &host, &other), -EBUSY);
}

static void test_contexts(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *first, *second;
	pid_t pid, pids[MAX_WORKERS];

	first = new_worker(bench, &pid);
	second = new_context(bench);
	assert_int_equal(workers(pids), 2);
	ops->context_destroy(bench->renderer, first);
	WAIT_FOR(bench, workers(pids) == 1);
	assert_int_not_equal(pids[0], pid);
	/* The other one still works. */
	assert_int_equal(submit(bench, second, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	ops->context_destroy(bench->renderer, second);
	WAIT_FOR(bench, workers(NULL) == 0);
	assert_int_equal(bench->nr_lost, 0);
}

static struct renderer_blob shm_blob(uint32_t id)
{
	return (struct renderer_blob){
		.id = id,
		.mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
		.size = 16 * PAGE,
	};
}

static void test_blob(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(5);
	struct renderer_mapping mapping, again;
	struct renderer_context *context;
	unsigned char *bytes, byte;
	pid_t pid;

	context = new_worker(bench, &pid);
	assert_int_equal(ops->blob_create(bench->renderer, context, &blob), 0);
	assert_int_equal(ops->blob_attach(context, 5), 0);
	assert_true(maps_have(pid, "vkr-shmem"));
	assert_int_equal(ops->blob_export(bench->renderer, 5, &mapping), 0);
	assert_int_equal(mapping.offset, 0);
	assert_int_equal(mapping.cache, VIRTIO_GPU_MAP_CACHE_CACHED);
	bytes = mmap(NULL, blob.size, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd, 0);
	assert_ptr_not_equal(bytes, MAP_FAILED);
	bytes[blob.size - 1] = 42;
	assert_int_equal(ops->blob_export(bench->renderer, 5, &again), 0);
	assert_int_equal(pread(again.fd, &byte, 1, (off_t)blob.size - 1), 1);
	assert_int_equal(byte, 42);
	close(again.fd);
	close(mapping.fd);
	munmap(bytes, blob.size);
	/* The id is in use; what is not there, and no context, are errors. */
	assert_int_not_equal(ops->blob_create(bench->renderer, context, &blob), 0);
	blob.id = 6;
	blob.blob_id = 12345;
	assert_int_not_equal(ops->blob_create(bench->renderer, context, &blob), 0);
	assert_int_equal(ops->blob_create(bench->renderer, NULL, &blob),
			 VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID);
	assert_int_not_equal(ops->blob_export(bench->renderer, 6, &again), 0);
	ops->blob_detach(context, 5);
	ops->blob_destroy(bench->renderer, 5);
	assert_int_not_equal(ops->blob_export(bench->renderer, 5, &again), 0);
	WAIT_FOR(bench, !maps_have(pid, "vkr-shmem"));
	ops->context_destroy(bench->renderer, context);
}

/* Host memory that has a guest's pages at its side. */
static void test_guest_host_blob(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	struct renderer_blob blob = shm_blob(5);
	struct renderer_mapping mapping;
	struct test_backing backing;

	make_backing(bench, &backing, 5, 16);
	blob.mem = VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
	blob.guest = &backing.base;
	assert_int_equal(ops->blob_create(bench->renderer, context, &blob), 0);
	assert_int_equal(ops->blob_export(bench->renderer, 5, &mapping), 0);
	close(mapping.fd);
	ops->blob_destroy(bench->renderer, 5);
	/* Fewer pages than it is big. */
	blob.size += PAGE;
	assert_int_equal(ops->blob_create(bench->renderer, context, &blob), ERR_PARAM);
	assert_int_equal(backing.base.holds, 0);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
}

static void test_submit(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	uint64_t jobs = ops->jobs(bench->renderer);
	uint32_t dword = 0;
	unsigned int i;

	assert_int_equal(submit(bench, context, 0, false, NULL, 0, 1), 0);
	assert_int_equal(bench->answers[1], 1);
	assert_int_equal(bench->responses[1], OK);
	assert_int_equal(submit(bench, context, 0, false, &dword, 3, 2), ERR_PARAM);
	assert_int_equal(submit(bench, context, 64, true, NULL, 0, 2), ERR_PARAM);
	assert_int_equal(submit(bench, context, 255, true, NULL, 0, 2), ERR_PARAM);
	for (i = 10; i < 110; i++)
		assert_int_equal(submit(bench, context, 0, true, NULL, 0, i), 0);
	WAIT_FOR(bench, bench->nr_answered == 101);
	for (i = 10; i < 110; i++) {
		assert_int_equal(bench->answers[i], 1);
		assert_int_equal(bench->responses[i], OK);
	}
	assert_int_equal(bench->answers[2], 0);
	assert_int_equal(ops->jobs(bench->renderer) - jobs, 101);
	ops->context_destroy(bench->renderer, context);
}

/* Bytes that mean nothing end the context, and only it. */
static void test_garbage(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *other = new_context(bench);
	uint32_t garbage[64];

	memset(garbage, 0xa5, sizeof(garbage));
	context = new_context(bench);
	assert_int_equal(submit(bench, context, 0, true, garbage, sizeof(garbage), 1), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], context);
	assert_int_equal(bench->answers[1], 1);
	assert_int_equal(bench->answered_at_loss, 1);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 2), ERR_UNSPEC);
	assert_int_equal(bench->answers[2], 0);
	assert_int_equal(submit(bench, other, 0, true, NULL, 0, 3), 0);
	WAIT_FOR(bench, bench->answers[3]);
	assert_int_equal(bench->responses[3], OK);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/* There is no queue for the ring: the worker ends, and the fence with it. */
static void test_fence_without_queue(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);

	assert_int_equal(submit(bench, context, 5, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_int_equal(bench->answers[1], 1);
	ops->context_destroy(bench->renderer, context);
}

static void test_killed_worker(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context;
	unsigned int i;
	pid_t pid;

	context = new_worker(bench, &pid);
	stop_process(pid);
	for (i = 0; i < 5; i++)
		assert_int_equal(submit(bench, context, 0, true, NULL, 0, i), 0);
	assert_int_equal(bench->nr_answered, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_int_equal(bench->answered_at_loss, 5);
	for (i = 0; i < 5; i++)
		assert_int_equal(bench->answers[i], 1);
	ops->context_destroy(bench->renderer, context);
	assert_int_equal(bench->nr_lost, 1);
}

/* A worker that reads nothing must not stop the ring thread for ever. */
static void test_deaf_worker(void **state)
{
	struct bench *bench = *state;
	unsigned char stream[4096] = { 0 };
	struct renderer_context *context;
	unsigned int i, accepted = 0;
	uint64_t started;
	uint32_t ret = 0;
	pid_t pid;

	context = new_worker(bench, &pid);
	stop_process(pid);
	started = now_ms();
	for (i = 0; !ret && i < 10000; i++) {
		ret = submit(bench, context, 0, i % 2, stream, sizeof(stream), i);
		accepted += !ret;
	}
	assert_true(ret);
	assert_in_range(now_ms() - started, GRACE_MS, 20 * GRACE_MS);
	WAIT_FOR(bench, bench->nr_lost == 1);
	WAIT_FOR(bench, workers(NULL) == 0);
	assert_int_equal(bench->nr_answered, accepted);
	for (i = 0; i < accepted; i++)
		assert_int_equal(bench->answers[i], 1);
	ops->context_destroy(bench->renderer, context);
}

static void test_mute_worker(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(9);
	struct renderer_context *context, *other;
	uint64_t started;
	pid_t pid;

	context = new_worker(bench, &pid);
	stop_process(pid);
	started = now_ms();
	assert_int_not_equal(ops->blob_create(bench->renderer, context, &blob), 0);
	assert_in_range(now_ms() - started, GRACE_MS, 20 * GRACE_MS);
	WAIT_FOR(bench, bench->nr_lost == 1);
	WAIT_FOR(bench, workers(NULL) == 0);
	/* The id is free again. */
	other = new_context(bench);
	assert_int_equal(ops->blob_create(bench->renderer, other, &blob), 0);
	ops->blob_destroy(bench->renderer, 9);
	ops->context_destroy(bench->renderer, other);
	ops->context_destroy(bench->renderer, context);
}

/* More than a socket takes at once is refused, and does no harm. */
static void test_big_stream(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	size_t size = 64u << 20;
	void *stream = calloc(1, size);

	assert_non_null(stream);
	assert_int_equal(submit(bench, context, 0, true, stream, size, 1),
			 VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 2), 0);
	WAIT_FOR(bench, bench->answers[2]);
	assert_int_equal(bench->responses[2], OK);
	assert_int_equal(bench->answers[1], 0);
	free(stream);
	ops->context_destroy(bench->renderer, context);
}

/* One that takes more than one packet arrives whole, and the next one after it. */
static void test_large_stream(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	struct venus venus = { .nr = 0 };
	const unsigned int repeat = 3500;
	size_t size;
	unsigned char *stream;
	unsigned int i;

	if (no_udmabuf(bench)) {
		ops->context_destroy(bench->renderer, context);
		skip();
	}
	make_device(bench, context, 1);
	put_enumerate_devices(&venus);
	size = venus.nr * sizeof(venus.dwords[0]);
	stream = malloc(repeat * size);
	assert_non_null(stream);
	for (i = 0; i < repeat; i++)
		memcpy(stream + i * size, venus.dwords, size);
	for (i = 2; i < 12; i++)
		assert_int_equal(submit(bench, context, 0, true, stream, repeat * size, i), 0);
	free(stream);
	WAIT_FOR(bench, bench->nr_answered == 11);
	for (i = 1; i < 12; i++)
		assert_int_equal(bench->responses[i], OK);
	assert_int_equal(bench->nr_lost, 0);
	ops->context_destroy(bench->renderer, context);
}

/* Workers cannot have a guest's pages; the guest is told, and the hold goes. */
static void test_guest_blob(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context = new_context(bench);
	struct test_backing backing;

	make_backing(bench, &backing, 3, 4);
	assert_int_not_equal(ops->attach(context, &backing.base), 0);
	assert_int_equal(backing.base.holds, 1);
	assert_int_not_equal(ops->attach(context, &backing.base), 0);
	assert_int_equal(backing.base.holds, 1);
	stop_backing(bench, &backing);
	free_backing(&backing);
	/* Another one with its id. */
	make_backing(bench, &backing, 3, 2);
	assert_int_not_equal(ops->attach(context, &backing.base), 0);
	stop_backing(bench, &backing);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
}

static void test_userptr(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *second;
	struct test_backing backing;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	second = new_context(bench);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_true(udmabuf_view_alone(backing.base.view));
	assert_int_equal(ops->attach(context, &backing.base), 0);
	WAIT_FOR(bench, udmabuf_view_held_by(backing.base.view, pid));
	assert_int_equal(ops->attach(second, &backing.base), 0);
	assert_false(udmabuf_view_alone(backing.base.view));
	ops->detach(context, &backing.base);
	WAIT_FOR(bench, !udmabuf_view_held_by(backing.base.view, pid));
	assert_int_equal(ops->attach(context, &backing.base), 0);
	WAIT_FOR(bench, udmabuf_view_held_by(backing.base.view, pid));
	ops->detach(context, &backing.base);
	ops->detach(second, &backing.base);
	stop_backing(bench, &backing);
	WAIT_FOR(bench, udmabuf_view_alone(backing.base.view));
	free_backing(&backing);
	assert_int_equal(bench->nr_lost, 0);
	/* Another one with its id is not to be blamed on who had the first. */
	make_backing(bench, &backing, 3, 2);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(second, &backing.base), 0);
	ops->detach(second, &backing.base);
	stop_backing(bench, &backing);
	ops->evict(bench->renderer, &backing.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], second);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, second);
}

/* The worker does not let go; its context goes, and not the other one. */
static void test_evict(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *other;
	struct test_backing backing;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	other = new_context(bench);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(context, &backing.base), 0);
	WAIT_FOR(bench, udmabuf_view_held_by(backing.base.view, pid));
	stop_process(pid);
	ops->detach(context, &backing.base);
	stop_backing(bench, &backing);
	assert_false(udmabuf_view_alone(backing.base.view));
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	ops->evict(bench->renderer, &backing.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_ptr_equal(bench->lost[0], context);
	assert_int_equal(bench->answers[1], 1);
	assert_int_equal(bench->responses[1], ERR_UNSPEC);
	WAIT_FOR(bench, udmabuf_view_alone(backing.base.view));
	ops->evict(bench->renderer, &backing.base, true);
	free_backing(&backing);
	assert_int_equal(submit(bench, other, 0, true, NULL, 0, 2), 0);
	WAIT_FOR(bench, bench->answers[2]);
	assert_int_equal(bench->responses[2], OK);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
}

/*
 * A program that has userptr memory as a VkDeviceMemory: it cannot hand it on as
 * a blob, and it keeps it beyond the resource, until its context is ended.
 */
static void test_device_memory(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(8);
	struct renderer_mapping mapping;
	struct renderer_context *context;
	struct test_backing backing;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	assert_int_equal(ops->attach(context, &backing.base), 0);
	make_device(bench, context, 1);
	/* What it allocates itself it may hand on. */
	allocate(bench, context, OTHER_MEMORY, 0, blob.size, 2);
	blob.blob_id = OTHER_MEMORY;
	assert_int_equal(ops->blob_create(bench->renderer, context, &blob), 0);
	assert_int_equal(ops->blob_export(bench->renderer, blob.id, &mapping), 0);
	assert_false(udmabuf_is_ours(bench->udmabuf, mapping.fd));
	close(mapping.fd);
	ops->blob_destroy(bench->renderer, blob.id);
	allocate(bench, context, MEMORY, 3, 4 * PAGE, 3);
	blob.blob_id = MEMORY;
	blob.size = 4 * PAGE;
	assert_int_equal(ops->blob_create(bench->renderer, context, &blob), ERR_PARAM);
	assert_int_not_equal(ops->blob_export(bench->renderer, blob.id, &mapping), 0);
	ops->detach(context, &backing.base);
	stop_backing(bench, &backing);
	/* All that was sent has arrived, and it is still there. */
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 4), 0);
	WAIT_FOR(bench, bench->answers[4]);
	assert_int_equal(bench->nr_lost, 0);
	assert_true(udmabuf_view_held_by(backing.base.view, pid));
	assert_false(udmabuf_view_alone(backing.base.view));
	ops->evict(bench->renderer, &backing.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	WAIT_FOR(bench, udmabuf_view_alone(backing.base.view));
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
}

/* A process that the library knows nothing of. */
static void test_evict_by_force(void **state)
{
	struct bench *bench = *state;
	struct test_backing backing;
	int fd, status;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	make_backing(bench, &backing, 3, 4);
	make_view(bench, &backing);
	fd = udmabuf_view_dup(backing.base.view);
	assert_true(fd >= 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	close(fd);
	backing_stop(&backing.base);
	ops->evict(bench->renderer, &backing.base, false);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	ops->evict(bench->renderer, &backing.base, true);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(udmabuf_view_alone(backing.base.view));
	free_backing(&backing);
}

/* Resources of the past are forgotten, and such as are still there are not. */
static void test_many_userptrs(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context;
	struct test_backing kept, backing;
	unsigned int i;
	pid_t pid;

	if (no_udmabuf(bench))
		skip();
	context = new_worker(bench, &pid);
	make_backing(bench, &kept, 1, 1);
	make_view(bench, &kept);
	assert_int_equal(ops->attach(context, &kept.base), 0);
	ops->detach(context, &kept.base);
	stop_backing(bench, &kept);
	for (i = 2; i < 300; i++) {
		make_backing(bench, &backing, i, 2);
		make_view(bench, &backing);
		assert_int_equal(ops->attach(context, &backing.base), 0);
		ops->detach(context, &backing.base);
		stop_backing(bench, &backing);
		WAIT_FOR(bench, udmabuf_view_alone(backing.base.view));
		free_backing(&backing);
	}
	/* One that is forgotten ends nobody; whom to end for the other is still known. */
	make_backing(bench, &backing, 2, 1);
	ops->evict(bench->renderer, &backing.base, false);
	free_backing(&backing);
	assert_int_equal(submit(bench, context, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	ops->evict(bench->renderer, &kept.base, false);
	WAIT_FOR(bench, bench->nr_lost == 1);
	free_backing(&kept);
	ops->context_destroy(bench->renderer, context);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	struct renderer_blob blob = shm_blob(4);
	struct renderer_context *context, *other, *third;
	struct test_backing backing;
	unsigned int i;
	pid_t pid;

	context = new_worker(bench, &pid);
	other = new_context(bench);
	assert_int_equal(ops->blob_create(bench->renderer, other, &blob), 0);
	make_backing(bench, &backing, 3, 4);
	assert_int_not_equal(ops->attach(other, &backing.base), 0);
	stop_process(pid);
	for (i = 0; i < 3; i++)
		assert_int_equal(submit(bench, context, 0, true, NULL, 0, i), 0);
	ops->reset(bench->renderer);
	assert_int_equal(workers(NULL), 0);
	assert_int_equal(bench->nr_answered, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(bench->answers[i], 1);
	assert_int_equal(bench->nr_lost, 0);
	assert_int_equal(backing.base.holds, 0);
	free_backing(&backing);
	ops->context_destroy(bench->renderer, context);
	ops->context_destroy(bench->renderer, other);
	/* It is gone, and to forget it does no harm. */
	ops->blob_destroy(bench->renderer, 4);
	third = new_context(bench);
	assert_int_equal(ops->blob_create(bench->renderer, third, &blob), 0);
	ops->context_destroy(bench->renderer, third);
	ops->reset(bench->renderer);
}

static void test_killed_server(void **state)
{
	struct bench *bench = *state;
	struct renderer_context *context, *other;
	pid_t pid, server = server_pid();

	context = new_worker(bench, &pid);
	assert_int_equal(kill(server, SIGKILL), 0);
	WAIT_FOR(bench, bench->nr_lost == 1);
	assert_int_not_equal(ops->context_create(bench->renderer, VENUS, "", &other), 0);
	ops->context_destroy(bench->renderer, context);
	ops->reset(bench->renderer);
	assert_int_not_equal(server_pid(), server);
	other = new_context(bench);
	assert_int_equal(submit(bench, other, 0, true, NULL, 0, 1), 0);
	WAIT_FOR(bench, bench->answers[1]);
	assert_int_equal(bench->responses[1], OK);
	ops->context_destroy(bench->renderer, other);
}

/* What is open in this process when all is over is what was before. */
static void test_leaks_nothing(void **state)
{
	struct int_list before, after;
	void *bench;

	(void)state;
	assert_int_equal(list_descriptors(&before), 0);
	assert_int_equal(setup(&bench), 0);
	ops->context_destroy(((struct bench *)bench)->renderer, new_context(bench));
	assert_int_equal(teardown(&bench), 0);
	assert_int_equal(list_descriptors(&after), 0);
	assert_int_equal(after.nr, before.nr);
	int_list_destroy(&before);
	assert_int_equal(list_children(getpid(), true, &before), 0);
	assert_int_equal(before.nr, 0);
	int_list_destroy(&before);
	int_list_destroy(&after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_capsets),	    TEST(test_one_at_a_time),
		TEST(test_contexts),	    TEST(test_blob),
		TEST(test_guest_host_blob), TEST(test_submit),
		TEST(test_garbage),	    TEST(test_fence_without_queue),
		TEST(test_killed_worker),   TEST(test_deaf_worker),
		TEST(test_mute_worker),	    TEST(test_big_stream),
		TEST(test_large_stream),    TEST(test_guest_blob),
		TEST(test_userptr),	    TEST(test_evict),
		TEST(test_device_memory),   TEST(test_evict_by_force),
		TEST(test_many_userptrs),   TEST(test_reset),
		TEST(test_killed_server),   cmocka_unit_test(test_leaks_nothing),
	};

	log_set_verbose(getenv("VERBOSE"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* !HAVE_VIRGLRENDERER */

static void test_not_built(void **state)
{
	(void)state;
	print_message("skipped: built without libvirglrenderer 1.1 or newer\n");
	skip();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_built),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
