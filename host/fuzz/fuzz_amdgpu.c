// SPDX-License-Identifier: MIT
/*
 * fuzz_amdgpu: any commands in amdgpu native contexts, and what a guest can do with them
 *
 * The renderer alone, on a card that is played (amdgpu_card.h), which judges what it is
 * asked.  Here the device is played: contexts, blobs, guest memory that is attached and
 * wanted back.  Judged is that everything is answered once, that guest memory is given
 * back when nothing reaches it any more, and not before, and that in the end nothing
 * is left.
 *
 * Threads: one, and those of the renderer.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include <amdgpu_drm.h>

#include "fuzz/amdgpu_card.h"
#include "fuzz/amdgpu_commands.h"
#include "fuzz/amdgpu_views.h"
#include "fuzz/fuzz.h"
#include "fuzz/wrap.h"
#include "memory/backing.h"
#include "renderer/renderer.h"
#include "util/responses.h"

#define PAGE 4096u
#define SHMEM_SIZE 8192u
#define MAX_COOKIES 1024u
/* How often to look at something that is to come, a little while each. */
#define PATIENCE 40000u
#define LOOK_US 50
#define RANGE_ADDRESS 0x7000000000ull

enum op {
	/* The data is commands for context ARG. */
	OP_STREAM,
	/* A context begins, or ends. */
	OP_CONTEXT,
	/* A blob is made: data: id, blob_id, size, flags. */
	OP_BLOB,
	OP_BLOB_ATTACH,
	OP_BLOB_DETACH,
	OP_BLOB_DESTROY,
	OP_BLOB_EXPORT,
	OP_ATTACH,
	OP_DETACH,
	/* Guest memory is wanted back. */
	OP_STOP,
	/* Jobs are over. */
	OP_FINISH,
	OP_EVICT,
	/* Wait for whatever comes. */
	OP_WAIT,
	NR_OPS,
};

/**
 * struct memory - guest memory
 * @backing: for the renderer
 * @range: what it is if it is a range
 * @dmabuf: or if it is not
 * @what: number of it, new each time that it is given back
 * @idle: no holds
 */
struct memory {
	struct backing backing;
	struct stitch_view range;
	struct udmabuf_view dmabuf;
	uint64_t what;
	bool idle;
};

/**
 * struct blob - one of the guest's
 * @there: it is, or is being made
 * @answered: blob_created() came
 * @attached: by context
 */
struct blob {
	bool there;
	bool answered;
	bool attached[COMMANDS_CONTEXTS];
};

static struct {
	struct renderer *renderer;
	struct renderer_context *contexts[COMMANDS_CONTEXTS];
	bool lost[COMMANDS_CONTEXTS];
	uint32_t last_context;
	struct memory memory[COMMANDS_MEMORY];
	bool attached[COMMANDS_CONTEXTS][COMMANDS_MEMORY];
	struct blob blobs[COMMANDS_BLOBS + 1];
	unsigned char answers[MAX_COOKIES];
	unsigned int nr_cookies;
	uint32_t blob_of[MAX_COOKIES];
	bool destroyed;
	uint64_t last_what;
	unsigned char *shmem[COMMANDS_CONTEXTS];
} fz;

static const struct renderer_ops *ops = &renderer_amdgpu;

/* ---- callbacks ---- */

static void blob_detach(unsigned int c, uint32_t id)
{
	if (!fz.blobs[id].attached[c])
		return;
	fz.blobs[id].attached[c] = false;
	ops->blob_detach(fz.contexts[c], id);
}

static void answered(void *cookie, uint32_t response)
{
	uintptr_t at = (uintptr_t)cookie;

	if (!at || at > fz.nr_cookies || fz.answers[at - 1])
		fuzz_oracle("AMDGPU: an answer to nothing, or another one");
	if (response != OK && (response < ERR_UNSPEC || response > ERR_UNSUPPORTED))
		fuzz_oracle("AMDGPU: an answer of %#x", response);
	fz.answers[at - 1] = 1;
}

static void on_submitted(void *opaque, void *cookie, uint32_t response)
{
	(void)opaque;
	answered(cookie, response);
}

static void on_blob_created(void *opaque, void *cookie, uint32_t response)
{
	unsigned int c;
	uint32_t id;

	(void)opaque;
	answered(cookie, response);
	id = fz.blob_of[(uintptr_t)cookie - 1];
	fz.blobs[id].answered = true;
	fz.blobs[id].there = response == OK;
	/* The device forgets it. */
	for (c = 0; response != OK && c < COMMANDS_CONTEXTS; c++)
		blob_detach(c, id);
}

static void on_blob_destroyed(void *opaque, void *cookie)
{
	(void)opaque;
	if (cookie != &fz)
		fuzz_oracle("AMDGPU: another blob is gone");
	fz.destroyed = true;
}

static void on_lost(void *opaque, struct renderer_context *context)
{
	unsigned int i;

	(void)opaque;
	for (i = 0; i < COMMANDS_CONTEXTS; i++)
		if (fz.contexts[i] == context)
			fz.lost[i] = true;
}

static void *new_cookie(void)
{
	if (fz.nr_cookies == MAX_COOKIES)
		return NULL;
	fz.answers[fz.nr_cookies] = 0;
	return (void *)(uintptr_t)++fz.nr_cookies;
}

/* It was refused at once. */
static void drop_cookie(void *cookie)
{
	if (fz.answers[(uintptr_t)cookie - 1])
		fuzz_oracle("AMDGPU: what was refused is answered");
	fz.answers[(uintptr_t)cookie - 1] = 1;
}

/* ---- waiting ---- */

static void pump(void)
{
	struct pollfd pollfd = { .fd = ops->fd(fz.renderer), .events = POLLIN };
	struct timespec time = { .tv_nsec = LOOK_US * 1000l };

	if (ppoll(&pollfd, 1, &time, NULL) == 1)
		ops->dispatch(fz.renderer);
}

/* Something is to come that does not depend on a job, or jobs are made to be over. */
#define WAIT_FOR(condition, what)                                       \
	do {                                                            \
		unsigned int looks_ = 0;                                \
		while (!(condition)) {                                  \
			if (looks_ > 200)                               \
				card_finish(1);                         \
			if (++looks_ > PATIENCE)                        \
				fuzz_oracle("AMDGPU: never: %s", what); \
			pump();                                         \
		}                                                       \
	} while (0)

/* ---- guest memory ---- */

static void on_idle(struct backing *backing)
{
	((struct memory *)backing)->idle = true;
}

static void new_memory(unsigned int i)
{
	struct memory *memory = &fz.memory[i];

	watch_pause();
	*memory = (struct memory){
		.backing = {
			.id = COMMANDS_FIRST_MEMORY + i,
			.size = 4 * PAGE,
			.readonly = i & 1,
			.idle = on_idle,
		},
		.what = ++fz.last_what,
	};
	if (i & 2) {
		memory->dmabuf.base.ops = &views_dmabuf_ops;
		memory->dmabuf.fd = card_guest_dmabuf(memory->what, 4 * PAGE, i & 1);
		fuzz_need(memory->dmabuf.fd >= 0, "a descriptor");
		memory->backing.view = &memory->dmabuf.base;
	} else {
		memory->range = (struct stitch_view){
			.base.ops = &views_range_ops,
			.address = RANGE_ADDRESS + fz.last_what * 64 * PAGE,
			.size = 4 * PAGE,
			.readonly = i & 1,
		};
		card_guest_range(memory->what, memory->range.address, 4 * PAGE, i & 1);
		memory->backing.view = &memory->range.base;
	}
	watch_resume();
}

static void detach(unsigned int c, unsigned int i)
{
	struct memory *memory = &fz.memory[i];

	if (!fz.attached[c][i])
		return;
	fz.attached[c][i] = false;
	id_table_remove(&fz.contexts[c]->resources, memory->backing.id);
	ops->detach(fz.contexts[c], &memory->backing);
}

static void attach(unsigned int c, unsigned int i)
{
	struct memory *memory = &fz.memory[i];

	if (!fz.contexts[c] || fz.lost[c] || fz.attached[c][i])
		return;
	if (id_table_insert(&fz.contexts[c]->resources, memory->backing.id, &memory->backing))
		return;
	if (ops->attach(fz.contexts[c], &memory->backing))
		id_table_remove(&fz.contexts[c]->resources, memory->backing.id);
	else
		fz.attached[c][i] = true;
}

/* What the device would ask: the range has a count, the dma-buf the kernel. */
static bool is_free(const struct memory *memory)
{
	if (!memory->idle)
		return false;
	return memory->backing.view == &memory->range.base ? !memory->range.objects :
							     !card_reaches(memory->what);
}

static void stop(unsigned int i, bool again)
{
	struct memory *memory = &fz.memory[i];
	unsigned int c;

	for (c = 0; c < COMMANDS_CONTEXTS; c++)
		if (fz.contexts[c])
			detach(c, i);
	backing_stop(&memory->backing);
	ops->quiesce(fz.renderer, &memory->backing);
	backing_release(&memory->backing);
	WAIT_FOR(is_free(memory), "guest memory is given back");
	card_forget(memory->what);
	if (memory->backing.view == &memory->dmabuf.base)
		close(memory->dmabuf.fd);
	if (again)
		new_memory(i);
}

/* ---- blobs ---- */

/* The guest's side of the response memory: every place has room. */
static void make_room(unsigned int c)
{
	unsigned int at;

	for (at = sizeof(struct amdvgpu_shmem); fz.shmem[c] && at + 400 <= SHMEM_SIZE; at += 64)
		fuzz_put(fz.shmem[c], SHMEM_SIZE, at, 4, 400);
}

static void map_shmem(unsigned int c, uint32_t id)
{
	struct renderer_mapping mapping;
	void *map;

	if (fz.shmem[c] || ops->blob_export(fz.renderer, id, &mapping))
		return;
	watch_pause();
	map = __real_mmap(NULL, SHMEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, mapping.fd, 0);
	close(mapping.fd);
	watch_resume();
	if (map != MAP_FAILED)
		fz.shmem[c] = map;
}

static void unmap_shmem(unsigned int c)
{
	if (fz.shmem[c])
		__real_munmap(fz.shmem[c], SHMEM_SIZE);
	fz.shmem[c] = NULL;
}

static void make_blob(unsigned int c, const uint8_t *data, size_t len)
{
	uint32_t id = 1 + (uint32_t)(fuzz_get(data, len, 0, 4) % COMMANDS_BLOBS), ret;
	struct renderer_blob blob = {
		.id = id,
		.mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
		.blob_id = fuzz_get(data, len, 8, 8),
		.size = fuzz_get(data, len, 16, 8),
		.flags = (uint32_t)fuzz_get(data, len, 24, 4) & 7,
	};
	void *cookie;

	if (fz.blobs[id].there || !blob.size || !fz.contexts[c] || fz.lost[c])
		return;
	cookie = new_cookie();
	if (!cookie)
		return;
	/* There is a limit to what the harness maps. */
	if (!blob.blob_id)
		blob.size = SHMEM_SIZE;
	fz.blobs[id] = (struct blob){ .there = true };
	fz.blob_of[(uintptr_t)cookie - 1] = id;
	ret = ops->blob_create(fz.renderer, fz.contexts[c], &blob, cookie);
	if (ret) {
		drop_cookie(cookie);
		fz.blobs[id].there = false;
		return;
	}
	if (blob.blob_id)
		return;
	WAIT_FOR(fz.blobs[id].answered, "a blob");
	if (fz.blobs[id].there)
		map_shmem(c, id);
}

static void blob_attach(unsigned int c, uint32_t id)
{
	if (!fz.contexts[c] || fz.lost[c] || !fz.blobs[id].there || fz.blobs[id].attached[c])
		return;
	fz.blobs[id].attached[c] = !ops->blob_attach(fz.contexts[c], id);
}

static void blob_destroy(uint32_t id)
{
	struct blob *blob = &fz.blobs[id];
	unsigned int c;

	if (!blob->there)
		return;
	WAIT_FOR(blob->answered, "a blob");
	if (!blob->there)
		return;
	for (c = 0; c < COMMANDS_CONTEXTS; c++)
		if (fz.contexts[c])
			blob_detach(c, id);
	fz.destroyed = false;
	if (!ops->blob_destroy(fz.renderer, id, &fz))
		WAIT_FOR(fz.destroyed, "the end of a blob");
	*blob = (struct blob){ .there = false };
}

static void blob_export(uint32_t id)
{
	struct renderer_mapping mapping;

	if (fz.blobs[id].there && fz.blobs[id].answered &&
	    !ops->blob_export(fz.renderer, id, &mapping))
		close(mapping.fd);
}

/* ---- contexts ---- */

static void end_context(unsigned int c)
{
	unsigned int i;

	for (i = 0; i < COMMANDS_MEMORY; i++)
		fz.attached[c][i] = false;
	for (i = 0; i <= COMMANDS_BLOBS; i++)
		fz.blobs[i].attached[c] = false;
	ops->context_destroy(fz.renderer, fz.contexts[c]);
	fz.contexts[c] = NULL;
	fz.lost[c] = false;
	unmap_shmem(c);
}

static void begin_context(unsigned int c)
{
	if (ops->context_create(fz.renderer, AMDVGPU_CAPSET_DRM, "fuzz", &fz.contexts[c]))
		fz.contexts[c] = NULL;
	else
		fz.contexts[c]->id = ++fz.last_context;
}

static void submit(unsigned int c, const struct fuzz_record *record)
{
	struct renderer_submission work = {
		.ring = record->arg >> 3,
		.fenced = record->arg & 4,
		.data = record->data,
		.size = record->len,
	};
	void *cookie;

	if (!fz.contexts[c] || fz.lost[c])
		return;
	cookie = new_cookie();
	if (!cookie)
		return;
	make_room(c);
	/* The ring of a job is where it says. */
	if (amdgpu_commands_ring(record->data, record->len))
		work.ring = amdgpu_commands_ring(record->data, record->len);
	if (ops->submit(fz.renderer, fz.contexts[c], &work, cookie))
		drop_cookie(cookie);
	pump();
}

static void do_record(const struct fuzz_record *record)
{
	unsigned int c = record->arg % COMMANDS_CONTEXTS;
	unsigned int memory = (record->arg >> 2) % COMMANDS_MEMORY;
	uint32_t id = 1 + (record->arg >> 2) % COMMANDS_BLOBS;

	switch (record->op) {
	case OP_STREAM:
		submit(c, record);
		break;
	case OP_CONTEXT:
		if (fz.contexts[c])
			end_context(c);
		else
			begin_context(c);
		break;
	case OP_BLOB:
		make_blob(c, record->data, record->len);
		break;
	case OP_BLOB_ATTACH:
		blob_attach(c, id);
		break;
	case OP_BLOB_DETACH:
		if (fz.contexts[c])
			blob_detach(c, id);
		break;
	case OP_BLOB_DESTROY:
		blob_destroy(id);
		break;
	case OP_BLOB_EXPORT:
		blob_export(id);
		break;
	case OP_ATTACH:
		attach(c, memory);
		break;
	case OP_DETACH:
		if (fz.contexts[c])
			detach(c, memory);
		break;
	case OP_STOP:
		stop(memory, true);
		break;
	case OP_FINISH:
		card_finish(1 + record->arg % 4);
		pump();
		break;
	case OP_EVICT:
		ops->evict(fz.renderer, &fz.memory[memory].backing, record->arg & 1);
		break;
	default:
		pump();
		break;
	}
}

/* ---- an input ---- */

static bool begin(const struct fuzz_head *head)
{
	static const struct renderer_host host = {
		.opaque = &fz,
		.submitted = on_submitted,
		.blob_created = on_blob_created,
		.blob_destroyed = on_blob_destroyed,
		.lost = on_lost,
	};
	struct renderer_config config = { .grace_ms = 64 };
	unsigned int i;

	memset(&fz, 0, sizeof(fz));
	if (head->config & 1)
		config.native = (struct native_limits){
			.bytes = 32 * PAGE, .buffers = 8, .va_mappings = 8, .jobs = 2
		};
	card_begin((uint32_t)fuzz_get(head->seed, 2, 0, 2) & -(uint32_t)(head->mode & 1));
	if (ops->create(&config, &host, &fz.renderer))
		return false;
	for (i = 0; i < COMMANDS_MEMORY; i++)
		new_memory(i);
	for (i = 0; i < COMMANDS_CONTEXTS; i++)
		begin_context(i);
	return true;
}

static bool all_answered(void)
{
	unsigned int i;

	for (i = 0; i < fz.nr_cookies; i++)
		if (!fz.answers[i])
			return false;
	return true;
}

static void end(bool reset)
{
	unsigned int i;

	if (!reset)
		WAIT_FOR(all_answered(), "everything is answered");
	for (i = 0; i < COMMANDS_CONTEXTS; i++)
		if (fz.contexts[i])
			end_context(i);
	for (i = 0; i < COMMANDS_MEMORY; i++)
		stop(i, false);
	card_settle();
	ops->reset(fz.renderer);
	if (!all_answered())
		fuzz_oracle("AMDGPU: it was reset, and something is not answered");
	for (i = 1; i <= COMMANDS_BLOBS; i++)
		blob_destroy(i);
	ops->destroy(fz.renderer);
}

static void run(const struct fuzz_input *input)
{
	unsigned int i;

	if (begin(&input->head)) {
		for (i = 0; i < input->nr; i++)
			do_record(&input->records[i]);
		end(input->head.config & 2);
	}
	card_end();
}

/* ---- inputs that make sense ---- */

static void make_record(struct fuzz_random *random, struct fuzz_maker *maker)
{
	uint8_t op = (uint8_t)(OP_CONTEXT + fuzz_below(random, NR_OPS - OP_CONTEXT));
	uint8_t *data;

	if (op == OP_CONTEXT && !fuzz_once_in(random, 8))
		op = OP_FINISH;
	data = fuzz_make(maker, op, (uint8_t)fuzz_random(random),
			 op == OP_BLOB ? COMMANDS_BLOB_SIZE : 0);
	if (data && op == OP_BLOB)
		amdgpu_commands_make_blob(random, data);
}

static void make(struct fuzz_random *random, struct fuzz_maker *maker)
{
	uint8_t buffer[FUZZ_MAX_DATA], *data, arg = (uint8_t)fuzz_random(random);
	size_t len;

	if (fuzz_once_in(random, 3)) {
		make_record(random, maker);
		return;
	}
	len = amdgpu_commands_make(random, arg % COMMANDS_CONTEXTS, buffer);
	data = fuzz_make(maker, OP_STREAM, arg, len);
	if (data)
		memcpy(data, buffer, len);
}

static void touch(struct fuzz_random *random, struct fuzz_record *record, uint8_t *data)
{
	if (record->op == OP_STREAM)
		amdgpu_commands_touch(random, data, record->len);
	else if (record->op == OP_BLOB && record->len == COMMANDS_BLOB_SIZE)
		amdgpu_commands_make_blob(random, data);
	if (fuzz_once_in(random, 8))
		record->arg = (uint8_t)fuzz_random(random);
}

static const struct commands_ops operations = {
	.stream = OP_STREAM,
	.blob = OP_BLOB,
	.blob_attach = OP_BLOB_ATTACH,
	.attach = OP_ATTACH,
};

static bool seed(unsigned int nr, struct fuzz_input *input, struct fuzz_maker *maker)
{
	struct fuzz_random random = { .state = nr + 1 };
	unsigned int c, i;

	if (nr >= 32)
		return false;
	input->head.config = (uint8_t)(nr % 4);
	for (c = 0; c < COMMANDS_CONTEXTS; c++)
		amdgpu_commands_make_world(maker, &operations, c);
	for (i = 0; i < 24; i++)
		make(&random, maker);
	return true;
}

const struct fuzz_target fuzz_target = {
	.name = "amdgpu",
	.nr_ops = NR_OPS,
	.run = run,
	.make = make,
	.touch = touch,
	.seed = seed,
};
