// SPDX-License-Identifier: MIT
/*
 * userptr-vulkan-demo: a Vulkan compute shader on malloc'ed memory, in place
 *
 * Fills malloc'ed memory from a file, imports it with
 * VK_EXT_external_memory_host, lets a compute shader hash each 4 KiB of it into
 * a second malloc'ed and imported buffer, and checks every digest on the CPU.
 * Before that, CPU and shader talk to each other through malloc'ed memory while
 * the shader runs, which no copy before or after it could do.  Ends with
 * "demo-venus: ok" or "demo-venus: FAILED: <why>" as last line of its output and
 * a matching exit status.
 *
 * It is an ordinary Vulkan 1.2 program: only what it prints about segments and
 * pinned memory is asked of the kernel, and left out where there is no
 * virtio-gpu device.
 *
 * Invariant: Vulkan allocates no memory here, and nothing maps or copies any.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "venus-device.h"
#include "vkc.h"

#include "gate.spv.h"
#include "sha256.spv.h"

#define PAGE 4096ul
#define DATA_BYTES (64ul * 1024 * 1024)
#define BLOCK 4096ul
#define BLOCKS (DATA_BYTES / BLOCK)
#define DIGEST 32ul
/* What the results are filled with, to see that all of them are written. */
#define EMPTY 0xa5
#define ROUNDS 16
/* Looks of the shader at the gate in one round before it gives up. */
#define SPINS 0x40000000u
#define RELEASE_MS 10000

enum step {
	STEP_FILL,
	STEP_OPEN,
	STEP_IMPORT,
	STEP_PIPELINE,
	STEP_TALK,
	STEP_HASH,
	STEP_VERIFY,
	STEP_RELEASE,
	NR_STEPS,
};

static const char *const step_names[NR_STEPS] = {
	[STEP_FILL] = "malloc and fill", [STEP_OPEN] = "open Vulkan",
	[STEP_IMPORT] = "import",	 [STEP_PIPELINE] = "compile shaders",
	[STEP_TALK] = "talk, 16 rounds", [STEP_HASH] = "hash, shader",
	[STEP_VERIFY] = "hash, CPU",	 [STEP_RELEASE] = "release",
};

/**
 * struct area - malloc'ed memory as a buffer of a shader
 * @addr: what aligned_alloc() returned
 * @size: bytes
 * @buffer: the same, imported
 */
struct area {
	uint8_t *addr;
	size_t size;
	struct vkc_buffer buffer;
};

/**
 * struct demo - all there is
 * @file: path
 * @virtio: there is a virtio-gpu device with userptr resources
 * @vkc: Vulkan
 * @hash: sha256.comp
 * @gate: gate.comp
 * @data: what is hashed
 * @digests: what the shader makes of it
 * @words: where CPU and shader talk
 * @started: time at which the current step began
 * @took: microseconds of each step
 */
struct demo {
	const char *file;
	bool virtio;
	struct vkc vkc;
	VkPipeline hash;
	VkPipeline gate;
	struct area data;
	struct area digests;
	struct area words;
	uint64_t started;
	uint64_t took[NR_STEPS];
};

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("demo-venus: FAILED: ", stdout);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	/* Not exit(): a driver that hangs must not hide why. */
	fflush(stdout);
	_exit(1);
}

static void __attribute__((format(printf, 2, 3))) row(const char *label, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("  %-16s", label);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	fflush(stdout);
}

static void check(VkResult result, const char *what)
{
	if (result)
		fail("%s: %s", what, vkc_result(result));
}

static void start_step(struct demo *demo)
{
	demo->started = vg_now_us();
}

static void end_step(struct demo *demo, enum step step)
{
	demo->took[step] = vg_now_us() - demo->started;
}

static void allocate(struct area *area, size_t size)
{
	area->size = size;
	area->addr = aligned_alloc(PAGE, size);
	if (!area->addr)
		fail("no memory for %zu bytes", size);
	/*
	 * Advice only: large pages, and all at once before the file's come between
	 * them, so that the memory has few pieces.  A host's udmabuf takes 1024.
	 */
	madvise(area->addr, size, MADV_HUGEPAGE);
	madvise(area->addr, size, MADV_POPULATE_WRITE);
	memset(area->addr, EMPTY, size);
}

/* The file's bytes, again and again until the memory is full. */
static void fill(struct demo *demo)
{
	struct area *data = &demo->data;
	size_t done = 0, length;
	struct stat st;
	ssize_t got;
	int fd;

	fd = open(demo->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fail("%s: %s", demo->file, strerror(errno));
	if (!S_ISREG(st.st_mode) || !st.st_size)
		fail("%s: no regular file, or empty", demo->file);
	while (done < data->size) {
		got = read(fd, data->addr + done, data->size - done);
		if (got < 0)
			fail("%s: %s", demo->file, strerror(errno));
		if (!got)
			break;
		done += got;
	}
	close(fd);
	if (!done)
		fail("%s: became empty", demo->file);
	for (length = done; done < data->size; done++)
		data->addr[done] = data->addr[done - length];
	row("file", "%s, %zu of %zu bytes of memory", demo->file, length, data->size);
}

static void open_vulkan(struct demo *demo)
{
	const struct vkc *vkc = &demo->vkc;
	uint32_t version;
	char node[64];

	start_step(demo);
	check(vkc_open(&demo->vkc, false), "a Vulkan 1.2 device that imports host memory");
	end_step(demo, STEP_OPEN);
	version = vkc->properties.apiVersion;
	row("device", "%s, Vulkan %u.%u.%u", vkc->properties.deviceName,
	    VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
	    VK_API_VERSION_PATCH(version));
	row("driver", "%s %s", vkc->driver.driverName, vkc->driver.driverInfo);
	if (vkc->alignment > PAGE)
		fail("imports are aligned to %lu bytes", vkc->alignment);
	if (vkc->properties.limits.maxStorageBufferRange < DATA_BYTES)
		fail("storage buffers are at most %u bytes",
		     vkc->properties.limits.maxStorageBufferRange);
	demo->virtio = !venus_node(node, sizeof(node));
	row("kernel", "%s",
	    demo->virtio ? node : "no virtio-gpu with userptr resources: this driver is local");
}

static uint32_t import(struct demo *demo, struct area *area)
{
	struct venus_registration registration;

	check(vkc_buffer_import(&demo->vkc, area->addr, area->size, &area->buffer),
	      "importing malloc'ed memory");
	if (!demo->virtio)
		return 0;
	if (venus_find(area->addr, area->size, &registration))
		fail("the driver has imported %p without a registration", area->addr);
	if (registration.info.state != VIRTGPU_USERPTR_STATE_LIVE)
		fail("the registration of %p is not live", area->addr);
	return registration.info.nr_segments;
}

static void import_all(struct demo *demo)
{
	size_t bytes = demo->data.size + demo->digests.size + demo->words.size;
	uint32_t segments;

	if (demo->virtio && vg_status_kib("VmPin"))
		fail("VmPin is %ld kB before anything was imported", vg_status_kib("VmPin"));
	start_step(demo);
	segments = import(demo, &demo->data);
	segments += import(demo, &demo->digests);
	segments += import(demo, &demo->words);
	end_step(demo, STEP_IMPORT);
	row("imported", "%zu bytes in 3 buffers", bytes);
	if (!demo->virtio)
		return;
	/* Waited for: finding out about memory types pins a page for a moment. */
	if (vg_wait_status_kib("VmPin", bytes / 1024, RELEASE_MS))
		fail("VmPin is %ld kB with %zu kB imported", vg_status_kib("VmPin"), bytes / 1024);
	row("segments", "%u, as the kernel told the host; VmPin %ld kB", segments,
	    vg_status_kib("VmPin"));
}

static void make_pipelines(struct demo *demo)
{
	start_step(demo);
	check(vkc_pipeline(&demo->vkc, shader_sha256, sizeof(shader_sha256), &demo->hash),
	      "sha256.comp");
	check(vkc_pipeline(&demo->vkc, shader_gate, sizeof(shader_gate), &demo->gate), "gate.comp");
	end_step(demo, STEP_PIPELINE);
}

/* There is nothing to wait on for a store to memory: look again and again. */
static void await(const _Atomic uint32_t *word, uint32_t value)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 };
	uint64_t end = vg_now_us() + VKC_TIMEOUT_MS * 1000ull;

	while (atomic_load(word) != value) {
		if (vg_now_us() > end)
			fail("the running shader's store did not arrive in malloc'ed memory");
		nanosleep(&pause, NULL);
	}
}

/*
 * The shader answers what the CPU says while it runs, ROUNDS times, and the
 * other way round: both see the same bytes at the same time.
 */
static void talk(struct demo *demo)
{
	_Atomic uint32_t *words = (void *)demo->words.addr;
	struct vkc_dispatch dispatch = {
		.pipeline = demo->gate,
		.buffers = { [2] = &demo->words.buffer },
		.push = { ROUNDS, SPINS },
		.groups = 1,
	};
	struct vkc_job job;
	uint32_t round;

	memset(demo->words.addr, 0, demo->words.size);
	start_step(demo);
	check(vkc_submit(&demo->vkc, &dispatch, 1, &job), "starting gate.comp");
	for (round = 1; round <= ROUNDS; round++) {
		await(&words[0], round);
		if (vkc_wait(&demo->vkc, &job, 0) != VK_TIMEOUT)
			fail("the shader ended in round %u of %u", round, ROUNDS);
		atomic_store(&words[1], round);
	}
	check(vkc_wait(&demo->vkc, &job, VKC_TIMEOUT_MS), "gate.comp");
	vkc_job_free(&demo->vkc, &job);
	end_step(demo, STEP_TALK);
	if (atomic_load(&words[2]) != ROUNDS)
		fail("the shader heard %u of %u rounds", atomic_load(&words[2]), ROUNDS);
}

static void hash(struct demo *demo)
{
	struct vkc_dispatch dispatch = {
		.pipeline = demo->hash,
		.buffers = { &demo->data.buffer, &demo->digests.buffer },
		.push = { BLOCK / 4, BLOCKS },
		.groups = BLOCKS / VKC_GROUP,
	};

	start_step(demo);
	check(vkc_run(&demo->vkc, &dispatch, 1), "sha256.comp");
	end_step(demo, STEP_HASH);
}

static void verify(struct demo *demo)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t i;

	if (!md || !ctx)
		fail("libcrypto has no SHA-256");
	start_step(demo);
	for (i = 0; i < BLOCKS; i++) {
		if (!EVP_DigestInit_ex2(ctx, md, NULL) ||
		    !EVP_DigestUpdate(ctx, demo->data.addr + i * BLOCK, BLOCK) ||
		    !EVP_DigestFinal_ex(ctx, digest, NULL))
			fail("libcrypto's SHA-256");
		if (memcmp(digest, demo->digests.addr + i * DIGEST, DIGEST))
			fail("the digest of block %zu of %lu is wrong", i, BLOCKS);
	}
	end_step(demo, STEP_VERIFY);
	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	row("digests", "%lu, each the same on the CPU", BLOCKS);
	row("bytes copied", "0: no buffer of Vulkan's own exists, no map, no flush; and the CPU");
	row("", "and the running shader saw each other's stores %u times", ROUNDS);
}

static void release(struct demo *demo)
{
	start_step(demo);
	vkc_buffer_free(&demo->vkc, &demo->data.buffer);
	vkc_buffer_free(&demo->vkc, &demo->digests.buffer);
	vkc_buffer_free(&demo->vkc, &demo->words.buffer);
	if (demo->virtio && vg_wait_status_kib("VmPin", 0, RELEASE_MS))
		fail("VmPin is still %ld kB %d s after the release", vg_status_kib("VmPin"),
		     RELEASE_MS / 1000);
	end_step(demo, STEP_RELEASE);
	vkDestroyPipeline(demo->vkc.device, demo->gate, NULL);
	vkDestroyPipeline(demo->vkc.device, demo->hash, NULL);
	vkc_close(&demo->vkc);
	free(demo->words.addr);
	free(demo->digests.addr);
	free(demo->data.addr);
}

int main(int argc, char **argv)
{
	struct demo demo = { 0 };
	int step;

	if (argc != 2)
		fail("usage: userptr-vulkan-demo FILE");
	demo.file = argv[1];
	start_step(&demo);
	allocate(&demo.data, DATA_BYTES);
	allocate(&demo.digests, BLOCKS * DIGEST);
	allocate(&demo.words, PAGE);
	fill(&demo);
	end_step(&demo, STEP_FILL);
	open_vulkan(&demo);
	import_all(&demo);
	make_pipelines(&demo);
	talk(&demo);
	hash(&demo);
	verify(&demo);
	release(&demo);
	for (step = 0; step < NR_STEPS; step++)
		row(step_names[step], "%10.3f ms", demo.took[step] / 1000.0);
	puts("demo-venus: ok");
	return 0;
}
