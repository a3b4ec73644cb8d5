// SPDX-License-Identifier: MIT
/*
 * userptr-demo: a file in malloc'ed memory, worked on in place by the host
 *
 * Reads a file into malloc'ed memory, registers that memory with virtio-gpu,
 * lets the host hash it and write an inverted copy into a second registered
 * buffer, and checks both on the CPU of the guest.  Then it frees a registered
 * buffer and is told that the registration has ended by that.  Ends with "demo: ok" or
 * "demo: FAILED: <why>" as last line of its output and a matching exit status.
 *
 * Invariant: the bytes reach the host by no other way than the registration;
 * what went over the ring is printed as the device counted it.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtgpu.h"

#define PAGE 4096ul
/* Where the data starts in the two registrations: any odd place will do. */
#define INPUT_OFFSET 1237
#define OUTPUT_OFFSET 2951
/* What surrounds the data, to see that the host writes no byte beside it. */
#define GUARD_BYTE 0xa5
#define READ_CHUNK (1024 * 1024)
#define RELEASE_MS 10000
/* Of the buffer that is only freed; malloc() unmaps what is as large. */
#define FREED_BYTES (4ul * 1024 * 1024)

/**
 * struct buffer - registered memory with the data somewhere inside
 * @block: what malloc returned
 * @base: first byte registered, on a page boundary
 * @size: bytes registered, whole pages
 * @data: the file's first byte
 * @bo: the registration
 * @segments: pieces that the host was told of
 */
struct buffer {
	void *block;
	uint8_t *base;
	size_t size;
	uint8_t *data;
	struct vg_bo bo;
	uint32_t segments;
};

enum step {
	STEP_READ,
	STEP_REGISTER,
	STEP_HASH_HOST,
	STEP_HASH_GUEST,
	STEP_INVERT,
	STEP_VERIFY,
	STEP_RELEASE,
	NR_STEPS,
};

static const char *const step_names[NR_STEPS] = {
	[STEP_READ] = "malloc and read", [STEP_REGISTER] = "register",
	[STEP_HASH_HOST] = "hash, host", [STEP_HASH_GUEST] = "hash, guest",
	[STEP_INVERT] = "invert, host",	 [STEP_VERIFY] = "verify, guest",
	[STEP_RELEASE] = "deregister",
};

/**
 * struct demo - all there is
 * @name: of the file, to show
 * @path: of the file, to open
 * @node: render node
 * @bytes: the file's
 * @vg: context
 * @query: what can be registered in it
 * @input: the file's content, which the host cannot write where that is enforced
 * @output: what the host makes of it
 * @before: device statistics before the registrations
 * @after: and after their end
 * @digest: of the file, as the host sees it
 * @started: time at which the current step began
 * @took: microseconds of each step
 */
struct demo {
	const char *name;
	const char *path;
	const char *node;
	size_t bytes;
	struct vg vg;
	struct drm_virtgpu_userptr_query query;
	struct buffer input;
	struct buffer output;
	struct loopback_stats before;
	struct loopback_stats after;
	uint8_t digest[LOOPBACK_SHA256_SIZE];
	uint64_t started;
	uint64_t took[NR_STEPS];
};

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("demo: FAILED: ", stdout);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	exit(1);
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

static void start_step(struct demo *demo)
{
	demo->started = vg_now_us();
}

static void end_step(struct demo *demo, enum step step)
{
	demo->took[step] = vg_now_us() - demo->started;
}

/* Bytes that can be had without swapping the demo itself out. */
static uint64_t available_memory(void)
{
	char line[256];
	uint64_t kib = 0;
	FILE *file = fopen("/proc/meminfo", "re");

	if (!file)
		fail("/proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1)
			break;
	}
	fclose(file);
	return kib * 1024;
}

static int open_file(struct demo *demo)
{
	const uint64_t reserve = 32ul * 1024 * 1024;
	uint64_t available, needed;
	struct stat st;
	int fd;

	/* Not blocking: a FIFO would wait for a writer before it is refused. */
	fd = open(demo->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		fail("%s: %s", demo->name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		fail("%s: is a directory", demo->name);
	if (!S_ISREG(st.st_mode))
		fail("%s: is no regular file", demo->name);
	if (!st.st_size)
		fail("%s: is empty", demo->name);
	demo->bytes = st.st_size;
	available = available_memory();
	needed = 2 * (uint64_t)demo->bytes + 4 * PAGE + reserve;
	if (needed > available)
		fail("%s needs %lu MiB of memory, more than the %lu MiB that the guest has",
		     demo->name, needed >> 20, available >> 20);
	return fd;
}

static void allocate(struct demo *demo, struct buffer *buffer, size_t offset)
{
	size_t used = offset + demo->bytes;

	/* Room for a guard behind the data even when it ends with its page. */
	buffer->size = (used + PAGE) & ~(PAGE - 1);
	buffer->block = malloc(buffer->size + PAGE);
	if (!buffer->block)
		fail("no memory for %zu bytes", buffer->size);
	buffer->base = (void *)(((uintptr_t)buffer->block + PAGE - 1) & ~(PAGE - 1));
	buffer->data = buffer->base + offset;
	/*
	 * All pages at once, before the file's pages in the page cache come
	 * between them.  Only an advice: the memset does it, too.
	 */
	madvise(buffer->base, buffer->size, MADV_POPULATE_WRITE);
	memset(buffer->base, GUARD_BYTE, buffer->size);
}

static void read_file(struct demo *demo, int fd)
{
	size_t done = 0;
	ssize_t got;
	char more;

	while (done < demo->bytes) {
		size_t want = demo->bytes - done;

		got = read(fd, demo->input.data + done, want < READ_CHUNK ? want : READ_CHUNK);
		if (got < 0)
			fail("%s: %s", demo->name, strerror(errno));
		if (!got)
			fail("%s: became shorter while it was read", demo->name);
		posix_fadvise(fd, done, got, POSIX_FADV_DONTNEED);
		done += got;
	}
	if (read(fd, &more, 1) > 0)
		fail("%s: became longer while it was read", demo->name);
	close(fd);
}

static void open_gpu(struct demo *demo)
{
	int ret;

	ret = vg_open(&demo->vg, demo->node, 1);
	if (ret)
		fail("%s: %s", demo->node, strerror(-ret));
	ret = vg_userptr_query(demo->vg.fd, &demo->query);
	if (ret == -EOPNOTSUPP || ret == -EINVAL || ret == -ENOTTY)
		fail("%s: the device or driver has no userptr resources", demo->node);
	if (ret)
		fail("asking what can be registered: %s", strerror(-ret));
	if (PAGE % demo->query.alignment)
		fail("%s: the device wants multiples of %u bytes", demo->node,
		     demo->query.alignment);
	if (demo->output.size > demo->query.max_size)
		fail("%s: the device takes at most %llu bytes", demo->name, demo->query.max_size);
	ret = vg_stats(&demo->vg, &demo->before);
	if (ret)
		fail("asking the device for its statistics: %s", strerror(-ret));
}

/* Where the kernel cannot watch memory it wants the promise to be told of its end. */
static bool kernel_watches(const struct demo *demo)
{
	return demo->query.create_flags & VIRTGPU_USERPTR_EVENT;
}

static void register_buffer(struct demo *demo, struct buffer *buffer, uint32_t flags)
{
	struct drm_virtgpu_userptr_info info;
	int ret;

	flags &= demo->query.create_flags;
	if (!kernel_watches(demo))
		flags |= VIRTGPU_USERPTR_KEEP;
	ret = vg_userptr_create(demo->vg.fd, buffer->base, buffer->size, flags, &buffer->bo);
	if (ret)
		fail("registering %zu bytes: %s", buffer->size, strerror(-ret));
	ret = vg_userptr_info(demo->vg.fd, buffer->bo.handle, &info);
	if (ret)
		fail("looking at the registration: %s", strerror(-ret));
	if (info.addr != (uintptr_t)buffer->base || info.size != buffer->size ||
	    info.create_flags != flags || info.state != VIRTGPU_USERPTR_STATE_LIVE)
		fail("the kernel describes another registration than it was asked for");
	buffer->segments = info.nr_segments;
}

static void register_both(struct demo *demo)
{
	size_t bytes = demo->input.size + demo->output.size;
	long pinned;

	pinned = vg_status_kib("VmPin");
	if (pinned)
		fail("VmPin is %ld kB before anything was registered", pinned);
	start_step(demo);
	/* The host only reads the one: where that can be enforced, let it. */
	register_buffer(demo, &demo->input, VIRTGPU_USERPTR_RDONLY);
	register_buffer(demo, &demo->output, 0);
	end_step(demo, STEP_REGISTER);
	pinned = vg_status_kib("VmPin");
	if (pinned * 1024 != (long)bytes)
		fail("VmPin is %ld kB with %zu kB registered", pinned, bytes / 1024);
}

static void print_digest(const char *label, const uint8_t *digest)
{
	char hex[2 * LOOPBACK_SHA256_SIZE + 1];
	int i;

	for (i = 0; i < LOOPBACK_SHA256_SIZE; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
	row(label, "%s", hex);
}

static void hash_both(struct demo *demo)
{
	uint8_t *host = demo->digest, guest[EVP_MAX_MD_SIZE];
	int ret;

	start_step(demo);
	ret = vg_sha256(&demo->vg, demo->input.bo.res, INPUT_OFFSET, demo->bytes, host);
	if (ret)
		fail("the host's SHA-256: %s", strerror(-ret));
	end_step(demo, STEP_HASH_HOST);
	start_step(demo);
	if (!EVP_Digest(demo->input.data, demo->bytes, guest, NULL, EVP_sha256(), NULL))
		fail("the guest's SHA-256");
	end_step(demo, STEP_HASH_GUEST);
	if (memcmp(host, guest, LOOPBACK_SHA256_SIZE)) {
		print_digest("sha256, host", host);
		print_digest("sha256, guest", guest);
		fail("host and guest see different bytes");
	}
}

static void check_guard(const struct buffer *buffer, size_t bytes)
{
	const uint8_t *at;

	for (at = buffer->base; at < buffer->base + buffer->size; at++) {
		if (at == buffer->data) {
			at += bytes - 1;
			continue;
		}
		if (*at != GUARD_BYTE)
			fail("the host wrote beside the data, at byte %zu of the registration",
			     (size_t)(at - buffer->base));
	}
}

static void invert(struct demo *demo)
{
	struct vg_copy copy = {
		.dst_res = demo->output.bo.res,
		.dst_offset = OUTPUT_OFFSET,
		.src_res = demo->input.bo.res,
		.src_offset = INPUT_OFFSET,
		.length = demo->bytes,
	};
	size_t i;
	int ret;

	start_step(demo);
	ret = vg_invert(&demo->vg, &copy);
	if (ret)
		fail("the host's inversion: %s", strerror(-ret));
	end_step(demo, STEP_INVERT);
	start_step(demo);
	for (i = 0; i < demo->bytes; i++) {
		if ((demo->output.data[i] ^ demo->input.data[i]) != 0xff)
			fail("byte %zu is %#x, not the inverse of %#x", i, demo->output.data[i],
			     demo->input.data[i]);
	}
	check_guard(&demo->input, demo->bytes);
	check_guard(&demo->output, demo->bytes);
	end_step(demo, STEP_VERIFY);
}

static void release_both(struct demo *demo)
{
	int ret;

	start_step(demo);
	ret = vg_bo_close(demo->vg.fd, demo->input.bo.handle);
	if (!ret)
		ret = vg_bo_close(demo->vg.fd, demo->output.bo.handle);
	if (ret)
		fail("closing the registrations: %s", strerror(-ret));
	if (vg_wait_status_kib("VmPin", 0, RELEASE_MS))
		fail("VmPin is still %ld kB %d s after the release", vg_status_kib("VmPin"),
		     RELEASE_MS / 1000);
	end_step(demo, STEP_RELEASE);
	ret = vg_stats(&demo->vg, &demo->after);
	if (ret)
		fail("asking the device for its statistics: %s", strerror(-ret));
	if (demo->after.userptr_resources != demo->before.userptr_resources)
		fail("the device still holds %llu resources", demo->after.userptr_resources);
}

static void report(const struct demo *demo)
{
	size_t bytes = demo->input.size + demo->output.size;
	uint64_t ring = demo->after.userptr_ring_bytes - demo->before.userptr_ring_bytes;
	uint64_t commands = demo->after.userptr_commands - demo->before.userptr_commands;
	uint32_t segments = demo->input.segments + demo->output.segments;
	uint64_t wanted;
	int step;

	/* CREATE and DESTROY twice each, 16 bytes a segment; ADD as needed. */
	wanted = 2 * (sizeof(struct virtio_gpu_resource_create_userptr) +
		      sizeof(struct virtio_gpu_resource_destroy_userptr)) +
		 16ul * segments +
		 (commands - 4) * sizeof(struct virtio_gpu_resource_add_userptr_pages);
	if (ring != wanted)
		fail("%lu bytes went over the ring, %lu were expected", ring, wanted);
	row("registered", "%zu bytes in 2 buffers, %u segments, input %s", bytes, segments,
	    demo->query.create_flags & VIRTGPU_USERPTR_RDONLY ? "read-only" : "writable");
	row("over the ring", "%lu bytes in %lu commands: 1 for %zu registered", ring, commands,
	    bytes / (size_t)ring);
	print_digest("sha256", demo->digest);
	for (step = 0; step < NR_STEPS; step++)
		row(step_names[step], "%10.3f ms", demo->took[step] / 1000.0);
}

/* The notice of it comes first, then the host has let go. */
static void await_release(struct demo *demo, const struct buffer *buffer)
{
	struct drm_virtgpu_event_userptr event;
	uint64_t noticed, took = vg_now_us();
	int ret;

	ret = vg_userptr_event(demo->vg.fd, &event, RELEASE_MS);
	noticed = vg_now_us() - took;
	if (ret)
		fail("free() of a registered buffer went unnoticed: %s", strerror(-ret));
	if (event.bo_handle != buffer->bo.handle || event.res_handle != buffer->bo.res)
		fail("the notice of free() is about another registration");
	ret = vg_userptr_wait(demo->vg.fd, buffer->bo.handle, VIRTGPU_USERPTR_INFO_WAIT_RELEASED,
			      RELEASE_MS);
	took = vg_now_us() - took;
	if (ret)
		fail("the host did not let go after free(): %s", strerror(-ret));
	row("free() alone", "noticed after %lu us, device done and pages unpinned after %lu us",
	    noticed, took);
}

/* free() alone: nobody closes the handle, and still the host lets go. */
static void free_registered(struct demo *demo)
{
	struct buffer buffer = { .size = FREED_BYTES };
	struct loopback_stats stats;
	int ret;

	if (!kernel_watches(demo)) {
		row("free() alone", "is not noticed by this kernel");
		return;
	}
	buffer.block = malloc(buffer.size + PAGE);
	if (!buffer.block)
		fail("malloc of %zu bytes: %s", buffer.size, strerror(errno));
	buffer.base = (uint8_t *)(((uintptr_t)buffer.block + PAGE - 1) & ~(PAGE - 1));
	memset(buffer.base, GUARD_BYTE, buffer.size);
	register_buffer(demo, &buffer, VIRTGPU_USERPTR_EVENT);
	free(buffer.block);
	await_release(demo, &buffer);
	if (vg_status_kib("VmPin"))
		fail("VmPin is %ld kB after free()", vg_status_kib("VmPin"));
	ret = vg_stats(&demo->vg, &stats);
	if (ret)
		fail("asking the device for its statistics: %s", strerror(-ret));
	if (stats.userptr_destroyed != demo->after.userptr_destroyed + 1 ||
	    stats.userptr_resources != demo->after.userptr_resources)
		fail("the device was not told of free()");
	ret = vg_bo_close(demo->vg.fd, buffer.bo.handle);
	if (ret)
		fail("closing the handle of freed memory: %s", strerror(-ret));
}

int main(int argc, char **argv)
{
	struct demo demo = { .node = "/dev/dri/renderD128" };
	int fd;

	if (argc < 2 || argc > 3)
		fail("usage: userptr-demo FILE [NAME-TO-SHOW]");
	demo.path = argv[1];
	demo.name = argv[argc - 1];
	fd = open_file(&demo);
	row("file", "%s", demo.name);
	row("bytes", "%zu", demo.bytes);
	start_step(&demo);
	allocate(&demo, &demo.input, INPUT_OFFSET);
	allocate(&demo, &demo.output, OUTPUT_OFFSET);
	read_file(&demo, fd);
	end_step(&demo, STEP_READ);
	open_gpu(&demo);
	register_both(&demo);
	hash_both(&demo);
	invert(&demo);
	release_both(&demo);
	report(&demo);
	free_registered(&demo);
	vg_close(&demo.vg);
	free(demo.output.block);
	free(demo.input.block);
	puts("demo: ok");
	return 0;
}
