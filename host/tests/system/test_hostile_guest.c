// SPDX-License-Identifier: MIT
/*
 * test_hostile_guest: a guest that sends every well-formed command it likes
 *
 * The real program with real udmabufs and the real render server, and a guest of
 * 64 MiB whose kernel is hostile: for HOSTILE_SECONDS (300) it makes, completes,
 * attaches and seldom destroys resources of the shapes that cost a host most.
 * What that may cost the host is bounded: its free memory, its kernel's memory
 * and the references of a page of the guest are looked at all the time.
 *
 * Runs where there is /dev/udmabuf; as root of a host that has the module
 * page_refs (tools/testing/host-modules) also the references are looked at.
 * HOSTILE_SEED repeats a run's choices; DEVICE names the program.
 *
 * Which line of the product each bound holds: without the quota of bytes in
 * gpu/userptr.c the kernel's memory, without the count of uses of a page in
 * memory/ the references, without --max-contexts the free memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <linux/virtio_gpu_userptr.h>

#include "tests/system/hostile_front_end.h"
#include "util/clock.h"
#include "util/process.h"

#define PAGE 4096u
#define RAM_PAGES (HOSTILE_RAM / PAGE)
#define MAX_ENTRIES 16384u
#define MAX_ID 100000u
#define NR_CONTEXTS 64u
#define CAPSET_VENUS 4u
#define CAPSET_LOOPBACK 30u
#define EXIT_MS 60000
#define MIB(n) ((uint64_t)(n) << 20)

/* What the program is told, and with it what a guest may cost. */
#define MAX_CONTEXTS "16"
#define MAX_PAGE_USES 1024u
/*
 * The guest's own memory, a worker process for each context, what the device
 * keeps of runs and resources, and its kernel's memory for dma-bufs.
 */
#define FREE_BOUND (HOSTILE_RAM + 16 * MIB(24) + MIB(96))
#define SLAB_BOUND MIB(64)
/* A pin of a small folio is 1024 references; what else there is are a few. */
#define REFS_BOUND ((uint64_t)MAX_PAGE_USES * 1024 + 65536)

/**
 * struct host_memory - of /proc/meminfo, bytes
 * @free: MemFree
 * @slab: Slab
 */
struct host_memory {
	uint64_t free;
	uint64_t slab;
};

/**
 * struct run - one hostile guest
 * @guest: its memory and queue
 * @device: the program's process
 * @state: of the generator of choices
 * @next_id: of a new resource
 * @refs: the file of module page_refs, or -1
 * @frames: of guest memory
 * @first: of the host, before anything
 * @least_free: of the host, ever
 * @most_slab: of the host, ever
 * @most_refs: of a page of guest memory, ever
 * @answers: how many came
 * @errors: of these
 * @limits: of these, ERR_LIMIT
 */
struct run {
	struct hostile_guest guest;
	pid_t device;
	uint64_t state;
	uint32_t next_id;
	int refs;
	uint64_t *frames;
	struct host_memory first;
	uint64_t least_free;
	uint64_t most_slab;
	uint64_t most_refs;
	uint64_t answers;
	uint64_t errors;
	uint64_t limits;
};

/* ---- choices ---- */

static uint64_t choose(struct run *run, uint64_t below)
{
	run->state ^= run->state << 13;
	run->state ^= run->state >> 7;
	run->state ^= run->state << 17;
	return run->state % below;
}

static bool one_in(struct run *run, unsigned int n)
{
	return !choose(run, n);
}

/* Mostly one that was made not long ago. */
static uint32_t choose_id(struct run *run)
{
	if (one_in(run, 4))
		return 1 + (uint32_t)choose(run, MAX_ID);
	return run->next_id - (uint32_t)choose(run, run->next_id < 64 ? run->next_id : 64);
}

static uint32_t choose_context(struct run *run)
{
	return 1 + (uint32_t)choose(run, NR_CONTEXTS);
}

/* ---- the host ---- */

static struct host_memory look_at_host(void)
{
	struct host_memory memory = { 0 };
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemFree: %" SCNu64, &kib) == 1)
			memory.free = kib << 10;
		else if (sscanf(line, "Slab: %" SCNu64, &kib) == 1)
			memory.slab = kib << 10;
	}
	fclose(file);
	return memory;
}

/* The frames of guest memory; it is all there, and shared memory is not moved here. */
static void find_frames(struct run *run)
{
	uint64_t at = (uintptr_t)run->guest.ram / PAGE * sizeof(uint64_t);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t bytes = RAM_PAGES * sizeof(uint64_t), i;

	assert_true(fd >= 0);
	for (i = 0; i < HOSTILE_RAM; i += PAGE)
		*(volatile unsigned char *)(run->guest.ram + i) = 0;
	run->frames = malloc(bytes);
	assert_non_null(run->frames);
	assert_int_equal(pread(fd, run->frames, bytes, (off_t)at), bytes);
	close(fd);
	for (i = 0; i < RAM_PAGES; i++)
		run->frames[i] &= (UINT64_C(1) << 55) - 1;
}

static void look_at_pages(struct run *run)
{
	uint64_t refs;
	size_t i;

	for (i = 0; run->refs >= 0 && i < RAM_PAGES; i++) {
		off_t at = (off_t)(run->frames[i] * sizeof(refs));

		assert_int_equal(pread(run->refs, &refs, sizeof(refs), at), sizeof(refs));
		if (refs > run->most_refs)
			run->most_refs = refs;
	}
}

static void look(struct run *run)
{
	struct host_memory now = look_at_host();

	if (now.free < run->least_free)
		run->least_free = now.free;
	if (now.slab > run->most_slab)
		run->most_slab = now.slab;
	look_at_pages(run);
}

/* ---- commands ---- */

static void *begin(struct run *run, int slot, uint32_t type, uint32_t ctx_id, size_t size)
{
	struct virtio_gpu_ctrl_hdr *hdr = hostile_request(&run->guest, (unsigned int)slot);

	memset(hdr, 0, size);
	hdr->type = htole32(type);
	hdr->ctx_id = htole32(ctx_id);
	return hdr;
}

static void entry(struct virtio_gpu_mem_entry *to, uint64_t page, uint64_t pages)
{
	to->addr = htole64(HOSTILE_GUEST_BASE + page * PAGE);
	to->length = htole32((uint32_t)(pages * PAGE));
	to->padding = 0;
}

/* @nr entries of a shape that costs something.  Returns their bytes. */
static uint64_t choose_entries(struct run *run, struct virtio_gpu_mem_entry *to, uint32_t nr)
{
	uint64_t page = choose(run, RAM_PAGES), bytes = 0;
	unsigned int shape = (unsigned int)choose(run, 4);
	uint32_t i;

	for (i = 0; i < nr; i++) {
		switch (shape) {
		case 0: /* the same page again and again */
			entry(&to[i], page, 1);
			break;
		case 1: /* every second page: nothing can be merged */
			entry(&to[i], (page + 2 * i) % RAM_PAGES, 1);
			break;
		case 2: /* all memory, again and again */
			entry(&to[i], 0, RAM_PAGES);
			break;
		default: /* anything */
			page = choose(run, RAM_PAGES);
			entry(&to[i], page, 1 + choose(run, RAM_PAGES - page));
			break;
		}
		bytes += le32toh(to[i].length);
	}
	return bytes;
}

static uint32_t choose_number(struct run *run)
{
	static const uint32_t most[] = { 1, 4, 256, 1024, MAX_ENTRIES };

	return 1 + (uint32_t)choose(run, most[choose(run, 5)]);
}

static uint32_t make_create(struct run *run, int slot)
{
	uint32_t nr = choose_number(run);
	struct virtio_gpu_resource_create_userptr *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_RESOURCE_CREATE_USERPTR, 0, sizeof(*cmd));
	uint64_t bytes = choose_entries(run, (void *)(cmd + 1), nr);

	/* Sometimes more is to follow. */
	if (one_in(run, 4))
		bytes += (1 + choose(run, RAM_PAGES)) * PAGE;
	cmd->resource_id = htole32(one_in(run, 8) ? choose_id(run) : ++run->next_id);
	cmd->flags = htole32(one_in(run, 8) ? VIRTIO_GPU_USERPTR_RDONLY : 0);
	cmd->size = htole64(bytes);
	cmd->nr_segments = htole32(one_in(run, 2) ? 0 : nr + (uint32_t)choose(run, 2));
	cmd->nr_entries = htole32(nr);
	return (uint32_t)(sizeof(*cmd) + nr * sizeof(struct virtio_gpu_mem_entry));
}

/* The entries of a half-built resource that the guest kept no account of: from 0. */
static uint32_t make_add(struct run *run, int slot)
{
	uint32_t nr = choose_number(run);
	struct virtio_gpu_resource_add_userptr_pages *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_RESOURCE_ADD_USERPTR_PAGES, 0, sizeof(*cmd));

	choose_entries(run, (void *)(cmd + 1), nr);
	cmd->resource_id = htole32(choose_id(run));
	cmd->nr_entries = htole32(nr);
	cmd->offset = htole64(choose(run, 64) * PAGE);
	return (uint32_t)(sizeof(*cmd) + nr * sizeof(struct virtio_gpu_mem_entry));
}

static uint32_t make_destroy(struct run *run, int slot)
{
	struct virtio_gpu_resource_destroy_userptr *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_RESOURCE_DESTROY_USERPTR, 0, sizeof(*cmd));

	cmd->resource_id = htole32(choose_id(run));
	return sizeof(*cmd);
}

static uint32_t make_blob(struct run *run, int slot)
{
	uint32_t nr = choose_number(run);
	struct virtio_gpu_resource_create_blob *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, 0, sizeof(*cmd));

	cmd->resource_id = htole32(++run->next_id);
	cmd->blob_mem = htole32(VIRTIO_GPU_BLOB_MEM_GUEST);
	cmd->blob_flags = htole32(VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE);
	cmd->nr_entries = htole32(nr);
	cmd->size = htole64(choose_entries(run, (void *)(cmd + 1), nr));
	return (uint32_t)(sizeof(*cmd) + nr * sizeof(struct virtio_gpu_mem_entry));
}

static uint32_t make_unref(struct run *run, int slot)
{
	struct virtio_gpu_resource_unref *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, sizeof(*cmd));

	cmd->resource_id = htole32(choose_id(run));
	return sizeof(*cmd);
}

static uint32_t make_context(struct run *run, int slot)
{
	static const uint32_t capsets[] = { CAPSET_VENUS, CAPSET_LOOPBACK, 0 };
	struct virtio_gpu_ctx_create *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_CTX_CREATE, choose_context(run), sizeof(*cmd));

	cmd->context_init = htole32(capsets[choose(run, 3)]);
	return sizeof(*cmd);
}

static uint32_t make_context_end(struct run *run, int slot)
{
	begin(run, slot, VIRTIO_GPU_CMD_CTX_DESTROY, choose_context(run),
	      sizeof(struct virtio_gpu_ctx_destroy));
	return sizeof(struct virtio_gpu_ctx_destroy);
}

static uint32_t make_attach(struct run *run, int slot)
{
	uint32_t type = one_in(run, 8) ? VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE :
					 VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
	struct virtio_gpu_ctx_resource *cmd =
		begin(run, slot, type, choose_context(run), sizeof(*cmd));

	cmd->resource_id = htole32(choose_id(run));
	return sizeof(*cmd);
}

/* Words that a context's decoder may take for anything. */
static uint32_t make_submit(struct run *run, int slot)
{
	uint32_t words = (uint32_t)choose(run, 64), i, *stream;
	struct virtio_gpu_cmd_submit *cmd =
		begin(run, slot, VIRTIO_GPU_CMD_SUBMIT_3D, choose_context(run), sizeof(*cmd));

	stream = (uint32_t *)(cmd + 1);
	for (i = 0; i < words; i++)
		stream[i] = (uint32_t)choose(run, 256);
	cmd->size = htole32(words * 4);
	if (one_in(run, 2)) {
		cmd->hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
		cmd->hdr.fence_id = htole64(run->answers + 1);
	}
	return (uint32_t)sizeof(*cmd) + words * 4;
}

static void send_something(struct run *run, int slot)
{
	static const struct {
		unsigned int weight;
		uint32_t (*make)(struct run *run, int slot);
	} commands[] = {
		{ 40, make_create },	 { 10, make_add },    { 4, make_destroy },
		{ 8, make_blob },	 { 2, make_unref },   { 4, make_context },
		{ 1, make_context_end }, { 20, make_attach }, { 8, make_submit },
	};
	unsigned int i, at = (unsigned int)choose(run, 97);

	for (i = 0; at >= commands[i].weight; i++)
		at -= commands[i].weight;
	hostile_offer(&run->guest, (unsigned int)slot, commands[i].make(run, slot));
}

static bool take_answer(struct run *run)
{
	int slot = hostile_take(&run->guest);
	uint32_t type;

	if (slot < 0)
		return false;
	type = le32toh(hostile_answer(&run->guest, (unsigned int)slot)->type);
	if (type < VIRTIO_GPU_RESP_OK_NODATA)
		fail_msg("an answer of type %#x", type);
	run->answers++;
	run->errors += type >= VIRTIO_GPU_RESP_ERR_UNSPEC;
	run->limits += type == VIRTIO_GPU_RESP_ERR_LIMIT;
	return true;
}

static void attack(struct run *run, uint64_t seconds)
{
	uint64_t end = clock_ms() + seconds * 1000, next_look = 0;
	int slot;

	while (clock_ms() < end) {
		while ((slot = hostile_free_slot(&run->guest)) >= 0)
			send_something(run, slot);
		/* What waits behind others is still served: some answer comes. */
		if (!hostile_wait(&run->guest))
			fail_msg("no answer within %u ms, after %" PRIu64, HOSTILE_ANSWER_MS,
				 run->answers);
		while (take_answer(run))
			;
		if (clock_ms() >= next_look) {
			look(run);
			next_look = clock_ms() + 250;
		}
	}
	look(run);
}

/* ---- the program ---- */

static void start(struct run *run)
{
	char fd[16];
	int sockets[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	snprintf(fd, sizeof(fd), "%d", sockets[1]);
	run->device = fork();
	assert_true(run->device >= 0);
	if (!run->device) {
		fcntl(sockets[1], F_SETFD, 0);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl(getenv("DEVICE"), "device", "--fd", fd, "--virgl", "--loopback",
		      "--max-contexts", MAX_CONTEXTS, NULL);
		_exit(127);
	}
	close(sockets[1]);
	hostile_guest_init(&run->guest, sockets[0]);
}

/* Exit status of the program, which has lost its front end. */
static int wait_for_exit(struct run *run)
{
	int fd = process_open(run->device), status;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_true(fd >= 0);
	if (poll(&p, 1, EXIT_MS) != 1) {
		kill(run->device, SIGKILL);
		fail_msg("the device does not end");
	}
	close(fd);
	assert_int_equal(waitpid(run->device, &status, 0), run->device);
	return status;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void report(const struct run *run)
{
	print_message("answers %" PRIu64 ", errors %" PRIu64 ", limits %" PRIu64 "\n", run->answers,
		      run->errors, run->limits);
	print_message("free memory fell by %" PRIu64 " MiB of %" PRIu64 ", slab rose by %" PRIu64
		      " MiB of %" PRIu64 "\n",
		      (run->first.free - run->least_free) >> 20, FREE_BOUND >> 20,
		      (run->most_slab - run->first.slab) >> 20, SLAB_BOUND >> 20);
	if (run->refs >= 0)
		print_message("references of a page: at most %" PRIu64 " of %" PRIu64 "\n",
			      run->most_refs, REFS_BOUND);
	else
		print_message("references of a page were not looked at: no page_refs\n");
}

static void host_stays_whole(void **state)
{
	uint64_t seconds = from_environment("HOSTILE_SECONDS", 300);
	struct run run = { .refs = -1, .next_id = 1 };

	(void)state;
	if (access("/dev/udmabuf", R_OK | W_OK)) {
		print_message("skipped: no /dev/udmabuf\n");
		skip();
	}
	assert_non_null(getenv("DEVICE"));
	run.state = from_environment("HOSTILE_SEED", clock_ms() | 1);
	print_message("HOSTILE_SEED=%" PRIu64 ", %" PRIu64 " s\n", run.state, seconds);
	run.refs = open("/sys/kernel/debug/page_refs", O_RDONLY | O_CLOEXEC);
	run.first = look_at_host();
	run.least_free = run.first.free;
	run.most_slab = run.first.slab;
	start(&run);
	find_frames(&run);
	attack(&run, seconds);
	report(&run);
	/* It did meet them. */
	assert_true(run.limits > 0);
	assert_true(run.errors < run.answers);
	assert_true(run.first.free - run.least_free <= FREE_BOUND);
	assert_true(run.most_slab - run.first.slab <= SLAB_BOUND);
	assert_true(run.most_refs <= REFS_BOUND);
	/* A guest that is reset gives everything back. */
	hostile_stop(&run.guest);
	run.most_refs = 0;
	look_at_pages(&run);
	assert_true(run.most_refs < 64);
	hostile_guest_destroy(&run.guest);
	assert_int_equal(wait_for_exit(&run), 0);
	free(run.frames);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_stays_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
