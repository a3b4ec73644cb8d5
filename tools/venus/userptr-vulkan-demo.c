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
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "virtgpu.h"
#include "vkc.h"
#include "vulkan-demo.h"

#include "gate.spv.h"
#include "sha256.spv.h"

#define DATA_BYTES (64ul * 1024 * 1024)
#define BLOCK 4096ul
#define BLOCKS (DATA_BYTES / BLOCK)
#define DIGEST 32ul
/* What the results are filled with, to see that all of them are written. */
#define EMPTY 0xa5
#define ROUNDS 16
/* Looks of the shader at the gate in one round before it gives up. */
#define SPINS 0x40000000u

const char demo_name[] = "demo-venus";

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
};

static void allocate(struct area *area, size_t size)
{
	area->size = size;
	area->addr = demo_allocate(size, EMPTY);
}

static void open_vulkan(struct demo *demo)
{
	const struct vkc *vkc = &demo->vkc;

	demo_begin_step();
	demo_check(vkc_open(&demo->vkc, false), "a Vulkan 1.2 device that imports host memory");
	demo_end_step("open Vulkan");
	demo_device(&vkc->properties, &vkc->driver);
	if (vkc->alignment > PAGE)
		demo_fail("imports are aligned to %lu bytes", vkc->alignment);
	if (vkc->properties.limits.maxStorageBufferRange < DATA_BYTES)
		demo_fail("storage buffers are at most %u bytes",
			  vkc->properties.limits.maxStorageBufferRange);
	demo->virtio = demo_kernel();
}

static uint32_t import(struct demo *demo, struct area *area)
{
	demo_check(vkc_buffer_import(&demo->vkc, area->addr, area->size, &area->buffer),
		   "importing malloc'ed memory");
	return demo->virtio ? demo_segments(area->addr, area->size) : 0;
}

static void import_all(struct demo *demo)
{
	size_t bytes = demo->data.size + demo->digests.size + demo->words.size;
	uint32_t segments;

	demo_begin_step();
	segments = import(demo, &demo->data);
	segments += import(demo, &demo->digests);
	segments += import(demo, &demo->words);
	demo_end_step("import");
	demo_row("imported", "%zu bytes in 3 buffers", bytes);
	if (!demo->virtio)
		return;
	demo_pinned(bytes);
	demo_row("segments", "%u, as the kernel told the host; VmPin %ld kB", segments,
		 vg_status_kib("VmPin"));
}

static void make_pipelines(struct demo *demo)
{
	demo_begin_step();
	demo_check(vkc_pipeline(&demo->vkc, shader_sha256, sizeof(shader_sha256), &demo->hash),
		   "sha256.comp");
	demo_check(vkc_pipeline(&demo->vkc, shader_gate, sizeof(shader_gate), &demo->gate),
		   "gate.comp");
	demo_end_step("compile shaders");
}

/* There is nothing to wait on for a store to memory: look again and again. */
static void await(const _Atomic uint32_t *word, uint32_t value)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 };
	uint64_t end = vg_now_us() + VKC_TIMEOUT_MS * 1000ull;

	while (atomic_load(word) != value) {
		if (vg_now_us() > end)
			demo_fail("the running shader's store did not arrive in malloc'ed memory");
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
	demo_begin_step();
	demo_check(vkc_submit(&demo->vkc, &dispatch, 1, &job), "starting gate.comp");
	for (round = 1; round <= ROUNDS; round++) {
		await(&words[0], round);
		if (vkc_wait(&demo->vkc, &job, 0) != VK_TIMEOUT)
			demo_fail("the shader ended in round %u of %u", round, ROUNDS);
		atomic_store(&words[1], round);
	}
	demo_check(vkc_wait(&demo->vkc, &job, VKC_TIMEOUT_MS), "gate.comp");
	vkc_job_free(&demo->vkc, &job);
	demo_end_step("talk, 16 rounds");
	if (atomic_load(&words[2]) != ROUNDS)
		demo_fail("the shader heard %u of %u rounds", atomic_load(&words[2]), ROUNDS);
}

static void hash(struct demo *demo)
{
	struct vkc_dispatch dispatch = {
		.pipeline = demo->hash,
		.buffers = { &demo->data.buffer, &demo->digests.buffer },
		.push = { BLOCK / 4, BLOCKS },
		.groups = BLOCKS / VKC_GROUP,
	};

	demo_begin_step();
	demo_check(vkc_run(&demo->vkc, &dispatch, 1), "sha256.comp");
	demo_end_step("hash, shader");
}

static void verify(struct demo *demo)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t i;

	if (!md || !ctx)
		demo_fail("libcrypto has no SHA-256");
	demo_begin_step();
	for (i = 0; i < BLOCKS; i++) {
		if (!EVP_DigestInit_ex2(ctx, md, NULL) ||
		    !EVP_DigestUpdate(ctx, demo->data.addr + i * BLOCK, BLOCK) ||
		    !EVP_DigestFinal_ex(ctx, digest, NULL))
			demo_fail("libcrypto's SHA-256");
		if (memcmp(digest, demo->digests.addr + i * DIGEST, DIGEST))
			demo_fail("the digest of block %zu of %lu is wrong", i, BLOCKS);
	}
	demo_end_step("hash, CPU");
	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	demo_row("digests", "%lu, each the same on the CPU", BLOCKS);
	demo_row("bytes copied",
		 "0: no buffer of Vulkan's own exists, no map, no flush; and the CPU");
	demo_row("", "and the running shader saw each other's stores %u times", ROUNDS);
}

static void release(struct demo *demo)
{
	demo_begin_step();
	vkc_buffer_free(&demo->vkc, &demo->data.buffer);
	vkc_buffer_free(&demo->vkc, &demo->digests.buffer);
	vkc_buffer_free(&demo->vkc, &demo->words.buffer);
	if (demo->virtio)
		demo_unpinned();
	demo_end_step("release");
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

	if (argc != 2)
		demo_fail("usage: userptr-vulkan-demo FILE");
	demo.file = argv[1];
	demo_begin_step();
	allocate(&demo.data, DATA_BYTES);
	allocate(&demo.digests, BLOCKS * DIGEST);
	allocate(&demo.words, PAGE);
	demo_fill(demo.file, demo.data.addr, demo.data.size);
	demo_end_step("malloc and fill");
	open_vulkan(&demo);
	import_all(&demo);
	make_pipelines(&demo);
	talk(&demo);
	hash(&demo);
	verify(&demo);
	release(&demo);
	demo_print_steps();
	puts("demo-venus: ok");
	return 0;
}
