/* SPDX-License-Identifier: MIT */
/*
 * venus_commands: Vulkan by hand, as a guest's Mesa encodes it
 *
 * Just enough to have a device and its memory in a Venus context.
 */
#ifndef VENUS_COMMANDS_H
#define VENUS_COMMANDS_H

#include "tests/renderer/virgl_test.h"

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

static inline void put32(struct venus *venus, uint32_t value)
{
	assert_true(venus->nr < sizeof(venus->dwords) / sizeof(venus->dwords[0]));
	venus->dwords[venus->nr++] = value;
}

/* A name, a size, and whether there is something at a pointer. */
static inline void put64(struct venus *venus, uint64_t value)
{
	put32(venus, (uint32_t)value);
	put32(venus, (uint32_t)(value >> 32));
}

static inline void put_command(struct venus *venus, uint32_t command)
{
	put32(venus, command);
	put32(venus, 0);
}

/* Neither layers nor extensions. */
static inline void put_no_names(struct venus *venus)
{
	put32(venus, 0);
	put64(venus, 0);
	put32(venus, 0);
	put64(venus, 0);
}

/* No allocator, and the name of what is made. */
static inline void put_object(struct venus *venus, uint64_t object)
{
	put64(venus, 0);
	put64(venus, 1);
	put64(venus, object);
}

static inline void put_create_device(struct venus *venus)
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

static inline void run_venus(struct bench *bench, struct renderer_context *context,
			     const struct venus *venus, unsigned int cookie)
{
	assert_int_equal(submit(bench, context, 0, true, venus->dwords,
				venus->nr * sizeof(venus->dwords[0]), cookie),
			 0);
	WAIT_FOR(bench, bench->answers[cookie]);
	assert_int_equal(bench->responses[cookie], OK);
}

static inline void put_enumerate_devices(struct venus *venus)
{
	put_command(venus, CMD_ENUMERATE_DEVICES);
	put64(venus, INSTANCE);
	put64(venus, 1);
	put32(venus, 1);
	put64(venus, 1);
	put64(venus, PHYSICAL_DEVICE);
}

static inline void make_device(struct bench *bench, struct renderer_context *context,
			       unsigned int cookie)
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
static inline void allocate(struct bench *bench, struct renderer_context *context, uint64_t memory,
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

#endif /* VENUS_COMMANDS_H */
