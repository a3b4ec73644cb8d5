/* SPDX-License-Identifier: MIT */
/*
 * gpu_test: what the tests of the device share
 *
 * A device with guest memory in a memfd, a transport that keeps the answers,
 * and builders for commands.  Guest RAM is one file seen through two regions
 * that are adjacent in guest addresses, with the file halves swapped, so that
 * address and file offset differ and a range may cross the seam.
 */
#ifndef GPU_TEST_H
#define GPU_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>
#include <virtgpu_loopback.h>

#include "gpu/gpu_device.h"
#include "memory/guest_memory.h"
#include "util/clock.h"
#include "util/responses.h"

#define RAM_BASE 0x40000000ull
#define PAGE 4096ull
#define MAX_ANSWERS 8192
#define WAIT_MS 20000

/* Tests say them so often that they have shorter ones yet. */
#define ERR_RESOURCE ERR_INVALID_RESOURCE_ID
#define ERR_CONTEXT ERR_INVALID_CONTEXT_ID
#define ERR_PARAM ERR_INVALID_PARAMETER
#define ERR_MEMORY ERR_OUT_OF_MEMORY

/**
 * struct answer - a request and what came back
 * @req: first, so that respond() finds the rest
 * @order: 1 for the first answer of all, 0: none yet
 * @len: bytes
 * @data: the first of them
 */
struct answer {
	struct gpu_request req;
	unsigned int order;
	size_t len;
	unsigned char data[512];
};

/**
 * struct bench - a device on the bench
 * @dev: it
 * @gm: its guest memory
 * @ram: the RAM file, mapped here on our own
 * @ram_size: bytes
 * @fd: the RAM file
 * @answers: all requests so far
 * @nr: of @answers
 * @nr_answered: of these
 */
struct bench {
	struct gpu_device *dev;
	struct guest_memory *gm;
	unsigned char *ram;
	size_t ram_size;
	int fd;
	struct answer *answers;
	unsigned int nr;
	unsigned int nr_answered;
};

static inline void bench_respond(void *opaque, struct gpu_request *req, const void *data,
				 size_t len)
{
	struct answer *answer = (struct answer *)req;
	struct bench *bench = opaque;

	assert_int_equal(answer->order, 0); /* exactly once */
	answer->order = ++bench->nr_answered;
	answer->len = len;
	if (len)
		memcpy(answer->data, data, len < sizeof(answer->data) ? len : sizeof(answer->data));
}

static inline struct guest_memory *bench_memory(struct bench *bench, size_t size)
{
	struct guest_memory *gm = guest_memory_new();
	struct guest_region regions[2];

	assert_non_null(gm);
	bench->ram_size = size;
	bench->fd = memfd_create("ram", MFD_CLOEXEC);
	assert_true(bench->fd >= 0);
	assert_int_equal(ftruncate(bench->fd, (off_t)size), 0);
	bench->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bench->fd, 0);
	assert_true(bench->ram != MAP_FAILED);
	regions[0] = (struct guest_region){ .guest_addr = RAM_BASE,
					    .size = size / 2,
					    .user_addr = 0x1000,
					    .fd_offset = size / 2,
					    .fd = bench->fd };
	regions[1] = (struct guest_region){ .guest_addr = RAM_BASE + size / 2,
					    .size = size / 2,
					    .user_addr = 0x1000 + size,
					    .fd_offset = 0,
					    .fd = bench->fd };
	assert_int_equal(guest_memory_set(gm, regions, 2), 0);
	return gm;
}

/* Where guest address @addr is, in our own mapping. */
static inline unsigned char *bench_at(struct bench *bench, uint64_t addr)
{
	uint64_t half = bench->ram_size / 2;
	uint64_t offset = addr - RAM_BASE;

	return bench->ram + (offset < half ? offset + half : offset - half);
}

static inline void bench_memory_free(struct bench *bench)
{
	guest_memory_free(bench->gm);
	munmap(bench->ram, bench->ram_size);
	close(bench->fd);
}

static inline struct gpu_config bench_config(void)
{
	return (struct gpu_config){
		.limits = {
			.max_userptr_bytes = 1ull << 32,
			.max_segments = 65536,
			.max_entries = 4096,
			.memory.total_runs = 1u << 20,
		},
		.userptr = true,
		.userptr_rdonly = true,
		.loopback = true,
		.allow_inject = true,
	};
}

/* @vmm: its shmem_map() and shmem_unmap(), which get the bench as opaque. */
static inline struct bench *bench_new_with(const struct gpu_config *config, size_t ram_size,
					   const struct gpu_transport *vmm)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct gpu_transport transport = *vmm;

	assert_non_null(bench);
	transport.respond = bench_respond;
	transport.opaque = bench;
	bench->answers = calloc(MAX_ANSWERS, sizeof(*bench->answers));
	assert_non_null(bench->answers);
	bench->gm = bench_memory(bench, ram_size);
	bench->dev = gpu_device_new(config, &transport, bench->gm);
	assert_non_null(bench->dev);
	gpu_device_set_features(bench->dev, gpu_device_features(bench->dev));
	return bench;
}

static inline struct bench *bench_new(const struct gpu_config *config, size_t ram_size)
{
	return bench_new_with(config, ram_size, &(const struct gpu_transport){ .opaque = NULL });
}

static inline void bench_free(struct bench *bench)
{
	gpu_device_free(bench->dev);
	bench_memory_free(bench);
	free(bench->answers);
	free(bench);
}

/* Dispatch until @answer is there; fails loudly after WAIT_MS. */
static inline void bench_wait(struct bench *bench, const struct answer *answer)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (!answer->order) {
		struct pollfd pfd = { .fd = gpu_device_fd(bench->dev), .events = POLLIN };
		uint64_t now = clock_ms();

		if (now >= end)
			fail_msg("no answer within %d ms", WAIT_MS);
		if (poll(&pfd, 1, (int)(end - now)) > 0)
			gpu_device_dispatch(bench->dev);
	}
}

/*
 * A job that writes at @addr first has begun, so a worker has it, and its
 * answer comes with a dispatch and not before.
 */
static inline void wait_started(struct bench *bench, uint64_t addr)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (!__atomic_load_n(bench_at(bench, addr), __ATOMIC_RELAXED))
		if (clock_ms() >= end)
			fail_msg("the job does not start within %d ms", WAIT_MS);
}

/* Without it memory that cannot be had is not noticed when it is registered. */
static inline void skip_without_populate(void)
{
	const int populate_write = 23;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int failed = madvise(page, PAGE, populate_write);

	munmap(page, PAGE);
	if (failed) {
		print_message("skipped: this kernel has no MADV_POPULATE_WRITE\n");
		skip();
	}
}

/* A copy of exactly the size, so that a read past it is found. */
static inline struct answer *bench_send_on(struct bench *bench, unsigned int queue,
					   const void *data, size_t len, size_t capacity)
{
	struct answer *answer = &bench->answers[bench->nr++];
	void *copy = malloc(len ? len : 1);

	assert_true(bench->nr <= MAX_ANSWERS);
	assert_non_null(copy);
	if (len)
		memcpy(copy, data, len);
	gpu_device_command(bench->dev, queue, copy, len, capacity, &answer->req);
	free(copy);
	return answer;
}

static inline struct answer *bench_send(struct bench *bench, const void *data, size_t len)
{
	return bench_send_on(bench, 0, data, len, sizeof(bench->answers[0].data));
}

static inline uint32_t answer_type(const struct answer *answer)
{
	struct virtio_gpu_ctrl_hdr hdr;

	assert_true(answer->order);
	assert_true(answer->len >= sizeof(hdr));
	memcpy(&hdr, answer->data, sizeof(hdr));
	return le32toh(hdr.type);
}

/* Send, wait, and return the type of the answer. */
static inline uint32_t bench_do(struct bench *bench, const void *data, size_t len)
{
	struct answer *answer = bench_send(bench, data, len);

	bench_wait(bench, answer);
	return answer_type(answer);
}

#define DO(bench, cmd) bench_do(bench, &(cmd), sizeof(cmd))
#define SEND(bench, cmd) bench_send(bench, &(cmd), sizeof(cmd))

static inline struct virtio_gpu_ctrl_hdr header(uint32_t type, uint32_t ctx)
{
	return (struct virtio_gpu_ctrl_hdr){ .type = htole32(type), .ctx_id = htole32(ctx) };
}

static inline uint32_t do_ctx_create(struct bench *bench, uint32_t ctx, uint32_t init)
{
	struct virtio_gpu_ctx_create cmd = {
		.hdr = header(VIRTIO_GPU_CMD_CTX_CREATE, ctx),
		.nlen = htole32(4),
		.context_init = htole32(init),
		.debug_name = "test",
	};

	return DO(bench, cmd);
}

static inline uint32_t do_ctx_destroy(struct bench *bench, uint32_t ctx)
{
	struct virtio_gpu_ctx_destroy cmd = { header(VIRTIO_GPU_CMD_CTX_DESTROY, ctx) };

	return DO(bench, cmd);
}

static inline uint32_t do_ctx_resource(struct bench *bench, uint32_t type, uint32_t ctx,
				       uint32_t res)
{
	struct virtio_gpu_ctx_resource cmd = { .hdr = header(type, ctx),
					       .resource_id = htole32(res) };

	return DO(bench, cmd);
}

static inline uint32_t do_attach(struct bench *bench, uint32_t ctx, uint32_t res)
{
	return do_ctx_resource(bench, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx, res);
}

static inline uint32_t do_detach(struct bench *bench, uint32_t ctx, uint32_t res)
{
	return do_ctx_resource(bench, VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, ctx, res);
}

static inline struct answer *send_destroy(struct bench *bench, uint32_t res)
{
	struct virtio_gpu_resource_destroy_userptr cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0),
		.resource_id = htole32(res),
	};

	return SEND(bench, cmd);
}

static inline uint32_t do_destroy(struct bench *bench, uint32_t res)
{
	struct answer *answer = send_destroy(bench, res);

	bench_wait(bench, answer);
	return answer_type(answer);
}

static inline struct answer *send_unref(struct bench *bench, uint32_t res)
{
	struct virtio_gpu_resource_unref cmd = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_UNREF, 0),
		.resource_id = htole32(res),
	};

	return SEND(bench, cmd);
}

static inline uint32_t do_unref(struct bench *bench, uint32_t res)
{
	struct answer *answer = send_unref(bench, res);

	bench_wait(bench, answer);
	return answer_type(answer);
}

/**
 * struct piece - a guest range
 * @addr: guest address
 * @len: bytes
 */
struct piece {
	uint64_t addr;
	uint32_t len;
};

static inline uint64_t pieces_size(const struct piece *pieces, unsigned int nr)
{
	uint64_t size = 0;

	while (nr--)
		size += pieces[nr].len;
	return size;
}

/* @head and the entries in one allocation; free it. */
static inline void *with_entries(const void *head, size_t head_len, const struct piece *pieces,
				 unsigned int nr, size_t *len)
{
	struct virtio_gpu_mem_entry entry = { .padding = 0 };
	unsigned char *cmd;
	unsigned int i;

	*len = head_len + nr * sizeof(entry);
	cmd = malloc(*len);
	assert_non_null(cmd);
	memcpy(cmd, head, head_len);
	for (i = 0; i < nr; i++) {
		entry.addr = htole64(pieces[i].addr);
		entry.length = htole32(pieces[i].len);
		memcpy(cmd + head_len + i * sizeof(entry), &entry, sizeof(entry));
	}
	return cmd;
}

static inline struct virtio_gpu_resource_create_userptr
create_head(uint32_t res, uint32_t flags, uint64_t size, uint32_t segments, uint32_t entries)
{
	return (struct virtio_gpu_resource_create_userptr){
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 0),
		.resource_id = htole32(res),
		.flags = htole32(flags),
		.size = htole64(size),
		.nr_segments = htole32(segments),
		.nr_entries = htole32(entries),
	};
}

static inline struct virtio_gpu_resource_add_userptr_pages add_head(uint32_t res, uint64_t offset,
								    uint32_t entries)
{
	return (struct virtio_gpu_resource_add_userptr_pages){
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES, 0),
		.resource_id = htole32(res),
		.nr_entries = htole32(entries),
		.offset = htole64(offset),
	};
}

/* A whole userptr resource in one command. */
static inline uint32_t do_userptr(struct bench *bench, uint32_t res, uint32_t flags,
				  const struct piece *pieces, unsigned int nr)
{
	struct virtio_gpu_resource_create_userptr head =
		create_head(res, flags, pieces_size(pieces, nr), nr, nr);
	size_t len;
	void *cmd = with_entries(&head, sizeof(head), pieces, nr, &len);
	uint32_t type = bench_do(bench, cmd, len);

	free(cmd);
	return type;
}

static inline uint32_t do_blob(struct bench *bench, uint32_t res, uint32_t mem, uint64_t size,
			       const struct piece *pieces, unsigned int nr)
{
	struct virtio_gpu_resource_create_blob head = {
		.hdr = header(VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 0),
		.resource_id = htole32(res),
		.blob_mem = htole32(mem),
		.nr_entries = htole32(nr),
		.size = htole64(size),
	};
	size_t len;
	void *cmd = with_entries(&head, sizeof(head), pieces, nr, &len);
	uint32_t type = bench_do(bench, cmd, len);

	free(cmd);
	return type;
}

/**
 * struct fence - how to fence a submission
 * @id: 0 for none
 * @ring: with a ring index, or -1 for the global timeline
 */
struct fence {
	uint64_t id;
	int ring;
};

/* A loopback submission; @status_res 0 for none. */
static inline struct answer *send_submit(struct bench *bench, uint32_t ctx, struct fence fence,
					 const struct loopback_command *commands, uint32_t nr,
					 uint32_t status_res, uint64_t status_offset)
{
	struct {
		struct virtio_gpu_cmd_submit cmd;
		struct loopback_submit head;
		struct loopback_command commands[LOOPBACK_MAX_COMMANDS];
	} submit = { .cmd.hdr = header(VIRTIO_GPU_CMD_SUBMIT_3D, ctx) };
	size_t size = sizeof(submit.head) + nr * sizeof(*commands);

	submit.cmd.size = htole32((uint32_t)size);
	if (fence.id) {
		submit.cmd.hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
		submit.cmd.hdr.fence_id = htole64(fence.id);
	}
	if (fence.ring >= 0) {
		submit.cmd.hdr.flags |= htole32(VIRTIO_GPU_FLAG_INFO_RING_IDX);
		submit.cmd.hdr.ring_idx = (uint8_t)fence.ring;
	}
	submit.head.magic = htole32(LOOPBACK_MAGIC);
	submit.head.nr_commands = htole32(nr);
	submit.head.status_res = htole32(status_res);
	submit.head.status_offset = htole64(status_offset);
	memcpy(submit.commands, commands, nr * sizeof(*commands));
	return bench_send(bench, &submit, sizeof(submit.cmd) + size);
}

static inline uint32_t do_submit(struct bench *bench, uint32_t ctx,
				 const struct loopback_command *commands, uint32_t nr,
				 uint32_t status_res, uint64_t status_offset)
{
	struct answer *answer = send_submit(bench, ctx, (struct fence){ 0, -1 }, commands, nr,
					    status_res, status_offset);

	bench_wait(bench, answer);
	return answer_type(answer);
}

static inline struct loopback_command op(uint32_t op, uint32_t arg, uint32_t dst,
					 uint64_t dst_offset, uint32_t src, uint64_t src_offset,
					 uint64_t length)
{
	return (struct loopback_command){
		.op = htole32(op),
		.arg = htole32(arg),
		.dst_res = htole32(dst),
		.src_res = htole32(src),
		.dst_offset = htole64(dst_offset),
		.src_offset = htole64(src_offset),
		.length = htole64(length),
	};
}

static inline struct loopback_command op_inject(uint32_t kind, uint32_t type, uint64_t skip,
						uint64_t count, uint64_t param)
{
	return op(LOOPBACK_OP_INJECT, kind, type, skip, 0, count, param);
}

#endif /* GPU_TEST_H */
