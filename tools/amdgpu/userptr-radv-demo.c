// SPDX-License-Identifier: MIT
/*
 * userptr-radv-demo: an amdgpu's copy engine on malloc'ed memory, in place
 *
 * Fills malloc'ed memory from a file, imports it with VK_EXT_external_memory_host, and
 * has the transfer queue copy it into a second import, and through VRAM into a third.
 * Every byte is compared on the CPU.  Ends with "demo-amdgpu: ok" or "demo-amdgpu:
 * FAILED: <why>" as last line of its output and a matching exit status.
 *
 * It is an ordinary Vulkan 1.2 program: only what it prints about segments and pinned
 * memory is asked of the kernel, and left out where there is no virtio-gpu device.
 *
 * Invariant: nothing here maps memory of Vulkan's, and the CPU writes to no byte of the
 * second and third buffer after they were imported.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agv.h"
#include "virtgpu.h"
#include "vulkan-demo.h"

#define DATA_BYTES (64ul * 1024 * 1024)
/* What the copies are filled with before, to see that all of them are written. */
#define EMPTY 0xa5

const char demo_name[] = "demo-amdgpu";

enum area { AREA_FILE, AREA_DIRECT, AREA_THROUGH_VRAM, NR_AREAS };

/**
 * struct demo - all there is
 * @virtio: there is a virtio-gpu device with userptr resources
 * @v: Vulkan
 * @addr: malloc'ed memory
 * @buffers: the same, imported
 * @vram: memory of the card
 */
struct demo {
	bool virtio;
	struct agv v;
	uint8_t *addr[NR_AREAS];
	struct agv_buffer buffers[NR_AREAS];
	struct agv_buffer vram;
};

static void allocate(struct demo *demo, const char *file)
{
	int i;

	demo_begin_step();
	for (i = 0; i < NR_AREAS; i++)
		demo->addr[i] = demo_allocate(DATA_BYTES, EMPTY);
	demo_fill(file, demo->addr[AREA_FILE], DATA_BYTES);
	demo_end_step("malloc and fill");
}

static void open_vulkan(struct demo *demo)
{
	demo_begin_step();
	demo_check(agv_open(&demo->v, VK_QUEUE_TRANSFER_BIT,
			    VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT),
		   "an AMD device with a transfer queue (RADV_PERFTEST=transfer_queue)");
	demo_end_step("open Vulkan");
	demo_device(&demo->v.properties, &demo->v.driver);
	if (demo->v.alignment > PAGE)
		demo_fail("imports are aligned to %lu bytes", demo->v.alignment);
	demo->virtio = demo_kernel();
}

static void import_all(struct demo *demo)
{
	uint32_t segments = 0;
	int i;

	demo_begin_step();
	for (i = 0; i < NR_AREAS; i++)
		demo_check(agv_import(&demo->v, demo->addr[i], DATA_BYTES, &demo->buffers[i]),
			   "importing malloc'ed memory");
	demo_end_step("import");
	demo_check(agv_alloc(&demo->v, DATA_BYTES, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
			     VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, &demo->vram),
		   "64 MiB of VRAM");
	demo_row("imported", "%lu bytes in %d buffers", NR_AREAS * DATA_BYTES, NR_AREAS);
	if (!demo->virtio)
		return;
	for (i = 0; i < NR_AREAS; i++)
		segments += demo_segments(demo->addr[i], DATA_BYTES);
	demo_pinned(NR_AREAS * DATA_BYTES);
	demo_row("segments", "%u, as the kernel told the host; VmPin %ld kB", segments,
		 vg_status_kib("VmPin"));
}

static void copy(const char *name, struct demo *demo, struct agv_buffer *from,
		 struct agv_buffer *to)
{
	demo_begin_step();
	demo_check(agv_copy(&demo->v, from, to), name);
	demo_end_step(name);
}

static void verify(struct demo *demo)
{
	const uint8_t *file = demo->addr[AREA_FILE];
	size_t i;
	int area;

	demo_begin_step();
	for (area = AREA_DIRECT; area < NR_AREAS; area++) {
		if (!memcmp(demo->addr[area], file, DATA_BYTES))
			continue;
		for (i = 0; demo->addr[area][i] == file[i]; i++)
			;
		demo_fail("byte %zu of copy %d is %#x and not %#x", i, area, demo->addr[area][i],
			  file[i]);
	}
	demo_end_step("compare, CPU");
	demo_row("compared", "%lu bytes in 2 copies, all the same", 2 * DATA_BYTES);
}

static void release(struct demo *demo)
{
	int i;

	demo_begin_step();
	for (i = 0; i < NR_AREAS; i++)
		agv_free(&demo->v, &demo->buffers[i]);
	if (demo->virtio)
		demo_unpinned();
	demo_end_step("release");
	agv_free(&demo->v, &demo->vram);
	agv_close(&demo->v);
	for (i = 0; i < NR_AREAS; i++)
		free(demo->addr[i]);
}

int main(int argc, char **argv)
{
	struct demo demo = { 0 };
	struct agv_buffer *buffers = demo.buffers;

	if (argc != 2)
		demo_fail("usage: userptr-radv-demo FILE");
	allocate(&demo, argv[1]);
	open_vulkan(&demo);
	import_all(&demo);
	copy("copy, direct", &demo, &buffers[AREA_FILE], &buffers[AREA_DIRECT]);
	copy("copy, to VRAM", &demo, &buffers[AREA_FILE], &demo.vram);
	copy("copy, from VRAM", &demo, &demo.vram, &buffers[AREA_THROUGH_VRAM]);
	verify(&demo);
	release(&demo);
	demo_print_steps();
	puts("demo-amdgpu: ok");
	return 0;
}
