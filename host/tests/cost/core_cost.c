// SPDX-License-Identifier: MIT
/*
 * core_cost: what the userptr core costs, for tools/testing/run/run-bench-check
 *
 * Sends a fixed stream of commands to the core as it is installed, with nothing around
 * it, and prints what memory it keeps.  What callgrind is to count is in measured(),
 * and in nothing else:
 *
 *	core_cost create N	a resource of N single pages, none beside the other
 *	core_cost natural N	the same of N pieces of 2 MiB
 *	core_cost destroy N	its end
 *	core_cost nth N		the Nth registration of a page, while the others live
 *
 * Invariant: the stream, and with it every figure, depends on the arguments alone; a
 * command that is refused ends the program with status 1.
 *
 * Threads: one.
 */
#include <endian.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

#include "gpu/userptr.h"
#include "memory/guest_memory.h"
#include "memory/memory_limits.h"

#define PAGE 4096ull
#define LARGE (512 * PAGE)
#define RAM_BASE (1ull << 32)
/* Entries of a command, as the driver sends them. */
#define CHUNK 1024u
#define COMMAND_SIZE                                         \
	(sizeof(struct virtio_gpu_resource_create_userptr) + \
	 CHUNK * sizeof(struct virtio_gpu_mem_entry))

/**
 * struct stream - what is done, and to whom
 * @gm: guest memory, of a file that nobody touches
 * @quotas: sums, as large as they come
 * @core: it
 * @piece: bytes of a segment; the next begins twice as far away
 * @id: resource that measured() is about
 * @segments: how many it has
 * @destroy: measured() ends it instead
 * @commands: of measured(), COMMAND_SIZE each
 * @lengths: bytes of each
 * @nr_commands: how many
 */
struct stream {
	struct guest_memory *gm;
	struct memory_quotas quotas;
	struct userptr_core *core;
	uint64_t piece;
	uint32_t id;
	unsigned int segments;
	bool destroy;
	unsigned char *commands;
	size_t *lengths;
	unsigned int nr_commands;
};

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "core_cost: %s\n", what);
	exit(1);
}

/*
 * For the core: tables of ids have a secret in them, and where ids lie decides what is
 * counted.  Without randomness they take a multiplier of their own.
 */
ssize_t getrandom(void *to, size_t len, unsigned int flags)
{
	(void)to;
	(void)len;
	(void)flags;
	errno = ENOSYS;
	return -1;
}

static bool no_other_resource(void *opaque, uint32_t id)
{
	(void)opaque;
	(void)id;
	return false;
}

static void completed(void *opaque, void *cookie, uint32_t response)
{
	(void)opaque;
	(void)cookie;
	(void)response;
	fail("there is no worker that could be late");
}

static void destroyed(void *opaque, void *cookie)
{
	(void)opaque;
	(void)cookie;
}

static void make_core(struct stream *stream, uint64_t ram)
{
	const struct userptr_limits limits = {
		.max_size = 1ull << 40,
		.max_segments = 1u << 20,
		.max_entries = CHUNK,
	};
	const struct memory_limits sums = { .resources = 65536, .total_bytes = 1ull << 40 };
	const struct userptr_host host = {
		.opaque = stream,
		.id_in_use = no_other_resource,
		.completed = completed,
		.destroyed = destroyed,
		.quotas = &stream->quotas,
	};
	struct guest_region region = { .guest_addr = RAM_BASE, .size = ram };

	region.fd = memfd_create("core_cost", MFD_CLOEXEC);
	if (region.fd < 0 || ftruncate(region.fd, (off_t)ram))
		fail("no memory file");
	stream->gm = guest_memory_new();
	if (!stream->gm || guest_memory_set(stream->gm, &region, 1))
		fail("guest memory");
	close(region.fd);
	memory_quotas_init(&stream->quotas, &sums, stream->gm);
	stream->core = userptr_core_new(&limits, &host, stream->gm);
	if (!stream->core)
		fail("userptr_core_new()");
}

/* The header of command @nr; returns its bytes. */
static size_t make_head(const struct stream *stream, unsigned int nr, uint32_t entries,
			unsigned char *to)
{
	struct virtio_gpu_resource_create_userptr create = {
		.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR),
		.resource_id = htole32(stream->id),
		.size = htole64(stream->segments * stream->piece),
		.nr_entries = htole32(entries),
	};
	struct virtio_gpu_resource_add_userptr_pages add = {
		.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES),
		.resource_id = htole32(stream->id),
		.nr_entries = htole32(entries),
		.offset = htole64((uint64_t)nr * CHUNK * stream->piece),
	};

	if (nr) {
		memcpy(to, &add, sizeof(add));
		return sizeof(add);
	}
	memcpy(to, &create, sizeof(create));
	return sizeof(create);
}

/* All commands of the resource, whose first piece is the one of this number. */
static void make_commands(struct stream *stream, unsigned int first)
{
	unsigned int nr = (stream->segments + CHUNK - 1) / CHUNK, i, j;

	stream->commands = calloc(nr, COMMAND_SIZE);
	stream->lengths = calloc(nr, sizeof(*stream->lengths));
	if (!stream->commands || !stream->lengths)
		fail("out of memory");
	stream->nr_commands = nr;
	for (i = 0; i < nr; i++) {
		unsigned int left = stream->segments - i * CHUNK;
		unsigned int entries = left < CHUNK ? left : CHUNK;
		unsigned char *at = stream->commands + i * COMMAND_SIZE;

		stream->lengths[i] = make_head(stream, i, entries, at);
		for (j = 0; j < entries; j++) {
			uint64_t number = first + i * CHUNK + j;
			struct virtio_gpu_mem_entry entry = {
				.addr = htole64(RAM_BASE + 2 * number * stream->piece),
				.length = htole32((uint32_t)stream->piece),
			};

			memcpy(at + stream->lengths[i], &entry, sizeof(entry));
			stream->lengths[i] += sizeof(entry);
		}
	}
}

static uint32_t send_commands(struct stream *stream)
{
	uint32_t answer = VIRTIO_GPU_RESP_OK_NODATA;
	unsigned int i;

	for (i = 0; i < stream->nr_commands && answer == VIRTIO_GPU_RESP_OK_NODATA; i++) {
		const unsigned char *command = stream->commands + i * COMMAND_SIZE;

		answer = i ? userptr_add_pages(stream->core, command, stream->lengths[i], stream) :
			     userptr_create(stream->core, command, stream->lengths[i], stream);
	}
	return answer;
}

static uint32_t send_destroy(struct stream *stream)
{
	struct virtio_gpu_resource_destroy_userptr command = {
		.hdr.type = htole32(VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR),
		.resource_id = htole32(stream->id),
	};
	struct userptr *userptr;
	uint32_t answer;

	answer = userptr_destroy_check(stream->core, &command, sizeof(command), &userptr);
	if (answer != VIRTIO_GPU_RESP_OK_NODATA)
		return answer;
	userptr_destroy_begin(userptr, stream);
	userptr_destroy_end(userptr);
	return VIRTIO_GPU_RESP_OK_NODATA;
}

/* What is counted.  Callgrind knows it by its name. */
uint32_t measured(struct stream *stream);
uint32_t __attribute__((noinline)) measured(struct stream *stream)
{
	return stream->destroy ? send_destroy(stream) : send_commands(stream);
}

/* Bytes that the program has of malloc(). */
static size_t held(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void must(struct stream *stream, uint32_t answer)
{
	if (answer != VIRTIO_GPU_RESP_OK_NODATA)
		fail("a command was refused");
	if (userptr_find(stream->core, stream->id) &&
	    userptr_state(userptr_find(stream->core, stream->id)) != USERPTR_USABLE)
		fail("the resource is not complete");
}

/* Registrations of one page each, that live on. */
static void fill(struct stream *stream, unsigned int nr)
{
	for (; stream->id < nr; stream->id++) {
		make_commands(stream, stream->id - 1);
		must(stream, send_commands(stream));
		free(stream->commands);
		free(stream->lengths);
	}
}

int main(int argc, char **argv)
{
	unsigned int nr = argc == 3 ? (unsigned int)strtoul(argv[2], NULL, 10) : 0;
	struct stream stream = { .piece = PAGE, .id = 1, .segments = nr };
	const char *what = argc == 3 ? argv[1] : "";
	size_t before;

	if (!nr || (strcmp(what, "create") && strcmp(what, "natural") && strcmp(what, "destroy") &&
		    strcmp(what, "nth"))) {
		fprintf(stderr, "usage: core_cost create|natural|destroy|nth N\n");
		return 2;
	}
	if (!strcmp(what, "natural"))
		stream.piece = LARGE;
	make_core(&stream, 2ull * nr * stream.piece);
	if (!strcmp(what, "nth")) {
		stream.segments = 1;
		fill(&stream, nr);
	}
	make_commands(&stream, stream.id - 1);
	if (!strcmp(what, "destroy")) {
		must(&stream, send_commands(&stream));
		stream.destroy = true;
	}
	before = held();
	must(&stream, measured(&stream));
	printf("kept %zd\n", (ssize_t)(held() - before));
	userptr_core_reset(stream.core);
	userptr_core_free(stream.core);
	guest_memory_free(stream.gm);
	free(stream.commands);
	free(stream.lengths);
	return 0;
}
