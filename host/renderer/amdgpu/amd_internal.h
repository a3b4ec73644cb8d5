/* SPDX-License-Identifier: MIT */
/*
 * amd_internal: what the files of the amdgpu renderer share
 *
 * renderer_amdgpu.c says what it is, and has what is about all contexts.  amd_node.c
 * knows the card; amd_context.c a context's life and its queue, amd_attach.c what is
 * attached to it, amd_blob.c its blobs, amd_fence.c when its work is over.  On a
 * context's own thread: amd_stream.c takes streams apart, amd_command.c and
 * amd_submit.c execute commands, amd_object.c has GEM objects, amd_va.c what is
 * mapped, amd_shmem.c the response memory.
 *
 * Threads and locks: see each struct.  renderer.lock and context.lock are never held
 * together.
 */
#ifndef AMD_INTERNAL_H
#define AMD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <virtgpu_amdgpu.h>

#include "renderer/renderer.h"
#include "util/quota.h"

struct amd_blob;
struct amd_context;
struct stitch_view;

/* What a context can have that costs little: amdgpu contexts, each with queues. */
#define AMD_MAX_CTXS 64
/* Bytes of the response memory. */
#define AMD_MAX_SHMEM ((uint64_t)1 << 20)
/* Bytes of the largest answer. */
#define AMD_MAX_ANSWER ((size_t)32 << 10)

/* ---- amd_node.c ---- */

/**
 * struct amd_capset - data of VIRTIO_GPU_CAPSET_DRM for amdgpu, as Mesa's drm_hw.h has it
 *
 * The facts behind the head are libdrm_amdgpu's own structs, which amd_node.c fills in.
 */
struct amd_capset;

/**
 * struct amd_node - the card
 * @path: of its render node
 * @capset: what guests are told of it, @capset_size bytes
 * @capset_size: see @capset
 * @memory: bytes that the GPU can reach, of its own and of the host's
 */
struct amd_node {
	char *path;
	struct amd_capset *capset;
	uint32_t capset_size;
	uint64_t memory;
};

/* @path: which; NULL: the first that is fit.  0 or a negative errno, which was logged. */
int amd_node_find(const char *path, struct amd_node *node);
void amd_node_free(struct amd_node *node);
/* A client of its own: a descriptor, or a negative errno. */
int amd_node_open(const struct amd_node *node);
/* The heaps as they are now; false: the card is gone. */
bool amd_node_heaps(int fd, struct amdvgpu_shmem *to);

/* ---- amd_shmem.c ---- */

/**
 * struct amd_shmem - response memory
 * @refs: the context's, and one of each answer that is yet to be written
 * @fd: a memfd
 * @map: all of it; the guest writes there, too
 * @size: bytes
 */
struct amd_shmem {
	atomic_uint refs;
	int fd;
	unsigned char *map;
	uint64_t size;
};

/* 0 or a negative errno. */
int amd_shmem_new(uint64_t size, struct amd_shmem **out);
void amd_shmem_put(struct amd_shmem *shmem);
/*
 * Write an answer: @ret and @size bytes of @payload, where the guest has left room for
 * it.  -EBADMSG: there is no such place.  What does not fit is not written, and the
 * answer says -ENOSPC then.
 */
int amd_shmem_answer(struct amd_shmem *shmem, uint32_t rsp_off, int ret, const void *payload,
		     size_t size);
/* Whether amd_shmem_answer() would find a place there. */
bool amd_shmem_has_place(const struct amd_shmem *shmem, uint32_t rsp_off);
void amd_shmem_set_seqno(struct amd_shmem *shmem, uint32_t seqno);
void amd_shmem_count_error(struct amd_shmem *shmem);
void amd_shmem_set_heaps(struct amd_shmem *shmem, int fd);

/* ---- amd_va.c ---- */

/**
 * struct amd_va_range - a mapping of the GPU's address space
 * @start: first address
 * @end: the one behind the last
 * @handle: GEM object, or 0
 * @readonly: the memory is promised not to be written
 */
struct amd_va_range {
	uint64_t start;
	uint64_t end;
	uint32_t handle;
	bool readonly;
};

/**
 * struct amd_va - all of a context, as the kernel has them
 * @ranges: by address; they do not overlap
 * @nr: of them
 * @capacity: that fit
 */
struct amd_va {
	struct amd_va_range *ranges;
	size_t nr;
	size_t capacity;
};

/* Room for @more: 0 or -ENOMEM. */
int amd_va_reserve(struct amd_va *va, size_t more);
/* There is room, and nothing mapped there. */
void amd_va_insert(struct amd_va *va, const struct amd_va_range *range);
/* What begins at @start and is of @handle goes. */
void amd_va_remove(struct amd_va *va, uint64_t start, uint32_t handle);
/* [start, end) is empty then.  There is room for one more. */
void amd_va_clear(struct amd_va *va, uint64_t start, uint64_t end);
/* All that is of @handle goes. */
void amd_va_drop(struct amd_va *va, uint32_t handle);
/* By how many there are more when [start, end) is cleared: from 1 to -nr. */
long amd_va_growth(const struct amd_va *va, uint64_t start, uint64_t end);
/* Whether a read-only mapping is in [start, end). */
bool amd_va_has_readonly(const struct amd_va *va, uint64_t start, uint64_t end);
void amd_va_destroy(struct amd_va *va);

/* ---- amd_object.c ---- */

/**
 * struct amd_object - a GEM object of a context
 * @context: whose
 * @refs: how often it is attached, and one for its blob; context.objects_lock
 * @handle: of the context's client
 * @size: bytes
 * @readonly: nothing may write there
 * @guest: it is of guest memory, and freed by the device's thread
 * @holds: struct amd_hold that have it; device's thread
 * @charged: bytes that were charged for it
 */
struct amd_object {
	struct amd_context *context;
	unsigned int refs;
	uint32_t handle;
	uint64_t size;
	bool readonly;
	bool guest;
	unsigned int holds;
	uint64_t charged;
};

/* Each 0 or a negative errno; *out has one reference. */
int amd_object_new(struct amd_context *context, const struct amdvgpu_gem_new *what,
		   struct amd_object **out);
int amd_object_import(struct amd_context *context, int fd, struct amd_object **out);
int amd_object_userptr(struct amd_context *context, struct stitch_view *view,
		       struct amd_object **out);
/* Whether it was still there, so that it has another reference. */
bool amd_object_get(struct amd_object *object);
/*
 * With the last one its handle is closed, and with that unmapped in the GPU's address
 * space: what is submitted later cannot reach it.  Context's thread only.
 */
void amd_object_put(struct amd_object *object);
/* The same of an object that nothing was mapped of; any thread.  True: it was the last one. */
bool amd_object_unref(struct amd_object *object);
/* Its last reference is gone, and only if it is of guest memory is it there still. */
void amd_object_free(struct amd_object *object);

/* ---- the queue of a context ---- */

enum amd_item_kind {
	AMD_STREAM,
	AMD_ATTACH,
	AMD_DETACH,
	AMD_BLOB_NEW,
	AMD_BLOB_FREE,
	AMD_ENDED,
};

/**
 * struct amd_query - an answer that waits for a job
 * @shmem: where it goes; NULL: there is none
 * @rsp_off: place of it
 * @job: number
 * @deadline: clock_ns(), or UINT64_MAX
 */
struct amd_query {
	struct amd_shmem *shmem;
	uint32_t rsp_off;
	uint64_t job;
	uint64_t deadline;
};

/**
 * struct amd_item - something for a context's thread to do, and then the device's to know
 * @link: in the queue, then in the list of what is done, or of what waits for its fence
 * @kind: what
 * @context: for whom
 * @id: resource
 * @object: ATTACH: it, once it is there
 * @fd: ATTACH of another context's blob: its dma-buf, or -1
 * @blocked: the blob is not made yet; context.lock
 * @own: ATTACH: it is a blob of this context
 * @blob: BLOB_NEW, BLOB_FREE
 * @hold: ATTACH, DETACH: whose beginning or end it is
 * @response: BLOB_NEW, STREAM: what came of it
 * @cookie: STREAM: the device's, or NULL: it was answered
 * @ring: STREAM: whose jobs its fence waits for; 0: for none
 * @jobs: the number of the last job that there was when it was done
 * @query: STREAM: see there
 * @size: bytes of @data
 * @data: STREAM: the commands
 */
struct amd_item {
	STAILQ_ENTRY(amd_item) link;
	enum amd_item_kind kind;
	struct amd_context *context;
	uint32_t id;
	struct amd_object *object;
	int fd;
	bool blocked;
	bool own;
	struct amd_blob *blob;
	struct amd_hold *hold;
	uint32_t response;
	void *cookie;
	uint8_t ring;
	uint64_t jobs;
	struct amd_query query;
	size_t size;
	unsigned char data[];
};

STAILQ_HEAD(amd_item_list, amd_item);

/**
 * struct amd_hold - a resource that is, or was, attached to a context
 * @link: in the context's list of those that end
 * @closed_link: in the one of those that the context's thread has let go of
 * @id: of the resource
 * @jobs: numbers up to this one may still use it, once the thread has let go of it
 * @object: a userptr resource's
 * @view: the address range that it was made of, or NULL
 * @userptr: it is a userptr resource, which the guest wants back some day
 * @detach: so that to detach cannot fail; NULL: it is in use
 * @wait_link: in the list of the blob that it waits for
 * @attach: blocked until that is made, or NULL
 */
struct amd_hold {
	LIST_ENTRY(amd_hold) link;
	TAILQ_ENTRY(amd_hold) closed_link;
	uint32_t id;
	uint64_t jobs;
	struct amd_object *object;
	struct stitch_view *view;
	bool userptr;
	struct amd_item *detach;
	LIST_ENTRY(amd_hold) wait_link;
	struct amd_item *attach;
};

/**
 * struct amd_job - work that the GPU was given
 * @link: in the context's list, in the order of numbers
 * @number: of the context's jobs, from 1
 * @fence: sync_file, readable when it is over
 * @context: whose
 * @ring: of the context
 * @ctx_id: amdgpu context, and the queue: what a query names
 * @ip_type: see @ctx_id
 * @ip_instance: see @ctx_id
 * @ip_ring: see @ctx_id
 * @seqno: in that queue
 */
struct amd_job {
	TAILQ_ENTRY(amd_job) link;
	uint64_t number;
	int fence;
	struct amd_context *context;
	uint32_t ring;
	uint32_t ctx_id;
	uint32_t ip_type;
	uint32_t ip_instance;
	uint32_t ip_ring;
	uint64_t seqno;
};

/**
 * struct amd_context - a native context: a client of the card
 * @base: the device's part
 * @renderer: whose
 * @link: in the renderer's list
 * @name: for the log
 * @fd: the client; -1 when it has ended and all jobs are over
 * @thread: executes the queue, in order
 * @lock: guards @queue, @quit, @closed, @jobs, @nr_jobs
 * @objects_lock: guards refs of objects; a system call is made with it
 * @wake: the queue has something, or there is room for a job, or it is the end
 * @queue: struct amd_item
 * @quit: cancel what is queued, then end
 * @closed: nothing is queued any more
 * @stuck: an object could not be closed: the card was pulled out
 * @jobs: that are not over
 * @nr_jobs: of @jobs
 * @kick: an eventfd, readable with @quit
 *
 * Of the device's thread:
 * @lost: the device was told
 * @ended: the thread is, and all GEM objects with it
 * @destroyed: by the guest; freed when all is over
 * @queued: bytes of streams in the queue
 * @waiting: STREAM items that are executed and not over
 * @attached: resource id to struct amd_hold
 * @ending: struct amd_hold that are not attached any more, and not closed
 * @closing: struct amd_hold that are closed, in the order of their jobs
 * @pending: items that are queued and not done
 * @blobs: of this context
 *
 * Of the context's thread:
 * @objects: resource id to struct amd_object, what is attached
 * @fresh: blob_id to struct amd_object, whose blob is yet to come; low 32 bits
 * @made: resource id to struct amd_object, what blobs are
 * @ctxs: amdgpu contexts
 * @syncobj: fence of the last job, for a moment
 * @va: see there
 * @shmem: response memory, or NULL
 * @submitted: number of the last job
 * @answer: for the payload of an answer, AMD_MAX_ANSWER bytes
 * @item: that is being done
 */
struct amd_context {
	struct renderer_context base;
	struct renderer *renderer;
	LIST_ENTRY(amd_context) link;
	char name[64];
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_mutex_t objects_lock;
	pthread_cond_t wake;
	struct amd_item_list queue;
	bool quit;
	bool closed;
	atomic_bool stuck;
	TAILQ_HEAD(amd_job_list, amd_job) jobs;
	unsigned int nr_jobs;
	int kick;

	bool lost;
	bool ended;
	bool destroyed;
	size_t queued;
	struct amd_item_list waiting;
	struct id_table attached;
	LIST_HEAD(, amd_hold) ending;
	TAILQ_HEAD(, amd_hold) closing;
	unsigned int pending;
	LIST_HEAD(, amd_blob) blobs;

	struct id_table objects;
	struct id_table fresh;
	struct id_table made;
	struct id_table ctxs;
	uint32_t syncobj;
	struct amd_va va;
	struct amd_shmem *shmem;
	uint64_t submitted;
	unsigned char *answer;
	struct amd_item *item;
};

/**
 * struct amd_blob - a buffer, or response memory, that the guest knows as a resource
 * @link: in its context's list, while that has not ended
 * @id: resource
 * @context: that made it; NULL: it has ended
 * @cookie: the device's
 * @blob_id: what the context calls it; 0: response memory
 * @size: bytes
 * @flags: VIRTIO_GPU_BLOB_FLAG_USE_*
 * @made: it is there
 * @handle: of it in the context's client, where its object is in amd_context.made
 * @shmem: it
 * @fd: its dma-buf, if it can be shared, or -1
 * @cache: VIRTIO_GPU_MAP_CACHE_*
 * @freeing: blob_destroyed() is to come
 * @free: AMD_BLOB_FREE, so that to free it cannot fail; NULL: it is in use
 * @waiting: attaches of other contexts, that wait for it to be made
 */
struct amd_blob {
	LIST_ENTRY(amd_blob) link;
	uint32_t id;
	struct amd_context *context;
	void *cookie;
	uint64_t blob_id;
	uint64_t size;
	uint32_t flags;
	bool made;
	uint32_t handle;
	struct amd_shmem *shmem;
	int fd;
	uint32_t cache;
	bool freeing;
	struct amd_item *free;
	LIST_HEAD(, amd_hold) waiting;
};

/**
 * struct renderer - all of them
 * @config: see there
 * @host: the device
 * @node: the card
 * @contexts: that are not freed
 * @nr_contexts: of @contexts
 * @queries: in struct amd_context.waiting, that have a deadline
 * @blobs: id to struct amd_blob
 * @epoll: of @event, @timer, and fences of jobs
 * @event: readable when @done has something
 * @timer: a query has a deadline
 * @armed: when @timer goes off, clock_ns(); UINT64_MAX: never
 * @executed: jobs, ever
 * @lock: guards @done and the quotas
 * @done: struct amd_item
 * @bytes: see struct native_limits
 * @buffers: see there
 * @va_mappings: see there
 */
struct renderer {
	struct renderer_config config;
	struct renderer_host host;
	struct amd_node node;
	LIST_HEAD(, amd_context) contexts;
	unsigned int nr_contexts;
	unsigned int queries;
	struct id_table blobs;
	int epoll;
	int event;
	int timer;
	uint64_t armed;
	atomic_ullong executed;
	pthread_mutex_t lock;
	struct amd_item_list done;
	struct quota bytes;
	struct quota buffers;
	struct quota va_mappings;
};

/* Any thread. */
bool amd_charge(struct renderer *renderer, struct quota *quota, uint64_t amount);
void amd_uncharge(struct renderer *renderer, struct quota *quota, uint64_t amount);

/* ---- amd_context.c: device's thread ---- */

int amd_context_create(struct renderer *renderer, uint32_t capset, const char *name,
		       struct renderer_context **out);
void amd_context_destroy(struct renderer *renderer, struct renderer_context *base);
uint32_t amd_submit(struct renderer *renderer, struct renderer_context *base,
		    const struct renderer_submission *submission, void *cookie);
/* With @size bytes of data; NULL: no memory. */
struct amd_item *amd_item_new(struct amd_context *context, enum amd_item_kind kind, size_t size);
void amd_item_free(struct amd_item *item);
/* False: the context has closed its queue, and what it has goes with it. */
bool amd_enqueue(struct amd_item *item);
/* Let an item go on that is blocked, with @fd, or -1, which is its own now. */
void amd_unblock(struct amd_item *item, int fd);
/* It ends: what is queued is cancelled.  The device hears of it if @lost. */
void amd_context_end(struct amd_context *context, bool lost);
/* It has ended, and all its work is over, and the guest has destroyed it: free it. */
void amd_context_reap(struct amd_context *context);
/* The context's thread has done it; this may free the context. */
void amd_item_done(struct amd_item *item);

/* ---- amd_attach.c: device's thread ---- */

int amd_attach(struct renderer_context *base, struct backing *backing);
void amd_detach(struct renderer_context *base, struct backing *backing);
int amd_blob_attach(struct renderer_context *base, uint32_t id);
void amd_blob_detach(struct renderer_context *base, uint32_t id);
void amd_evict(struct renderer *renderer, struct backing *backing, bool force);
/* The context's thread has let streams name it, or could not. */
void amd_attached(struct amd_item *item);
/* Whether it has nothing attached, and nothing that ends. */
bool amd_holds_nothing(const struct amd_context *context);
/* The context's thread has let go of it, and numbers of jobs up to @jobs may use it. */
void amd_hold_closed(struct amd_context *context, struct amd_hold *hold, uint64_t jobs);
/* Forget what nobody uses any more. */
void amd_holds_check(struct amd_context *context);
/* The context's thread has ended: nothing is attached. */
void amd_holds_close(struct amd_context *context);

/* ---- amd_blob.c: device's thread, but for the run functions ---- */

uint32_t amd_blob_create(struct renderer *renderer, struct renderer_context *base,
			 const struct renderer_blob *what, void *cookie);
int amd_blob_export(struct renderer *renderer, uint32_t id, struct renderer_mapping *out);
bool amd_blob_destroy(struct renderer *renderer, uint32_t id, void *cookie);
void amd_blob_created(struct amd_item *item);
void amd_blob_freed(struct amd_item *item);
/* Their context has ended. */
void amd_blobs_orphan(struct amd_context *context);
/* The context's thread. */
void amd_blob_run_new(struct amd_context *context, struct amd_item *item);
void amd_blob_run_free(struct amd_context *context, struct amd_item *item);

/* ---- amd_fence.c ---- */

/* Room for another job: 0, or -ECANCELED.  May wait.  Context's thread. */
int amd_job_room(struct amd_context *context);
/* It was submitted, and its fence is in context.syncobj.  Context's thread. */
void amd_job_add(struct amd_context *context, struct amd_job *job);
/* The job that a query names: its number, or 0: it is over, or never was. */
uint64_t amd_job_find(struct amd_context *context, const struct amdvgpu_query_fence *what);
/* Wait for it until @deadline, or the end of the context.  True: it is over. */
bool amd_job_wait(struct amd_context *context, uint64_t number, uint64_t deadline);
/* Device's thread: the rest. */
void amd_job_over(struct amd_job *job);
bool amd_jobs_over(struct amd_context *context, uint64_t up_to);
/* Answer what is over. */
void amd_waiting_check(struct amd_context *context);
void amd_set_timer(struct renderer *renderer);

/* ---- the context's thread ---- */

void amd_stream_run(struct amd_context *context, struct amd_item *item);

/**
 * struct amd_command - a command of a stream
 * @req: its head, in host byte order
 * @data: all of it, as large as the device knows it, with zeroes for what is missing
 * @rest: what follows in the stream, @rest_size bytes
 * @rest_size: see @rest
 * @payload: of the answer, at context.answer
 * @last: nothing follows in the stream
 * @deferred: the answer is written later
 */
struct amd_command {
	struct amdvgpu_req req;
	union {
		struct amdvgpu_query_info query_info;
		struct amdvgpu_gem_new gem_new;
		struct amdvgpu_bo_va_op va_op;
		struct amdvgpu_set_metadata set_metadata;
		struct amdvgpu_bo_query_info bo_query_info;
		struct amdvgpu_create_ctx create_ctx;
		struct amdvgpu_reserve_vmid reserve_vmid;
		struct amdvgpu_set_pstate set_pstate;
		struct amdvgpu_query_fence query_fence;
		struct amdvgpu_cs_submit cs_submit;
	} data;
	const unsigned char *rest;
	size_t rest_size;
	size_t payload;
	bool last;
	bool deferred;
};

/* Each returns what the answer says: 0 or a negative errno. */
int amd_run_query_info(struct amd_context *context, struct amd_command *command);
int amd_run_gem_new(struct amd_context *context, struct amd_command *command);
int amd_run_va_op(struct amd_context *context, struct amd_command *command);
int amd_run_set_metadata(struct amd_context *context, struct amd_command *command);
int amd_run_bo_query_info(struct amd_context *context, struct amd_command *command);
int amd_run_create_ctx(struct amd_context *context, struct amd_command *command);
int amd_run_reserve_vmid(struct amd_context *context, struct amd_command *command);
int amd_run_set_pstate(struct amd_context *context, struct amd_command *command);
int amd_run_query_fence(struct amd_context *context, struct amd_command *command);
int amd_run_cs_submit(struct amd_context *context, struct amd_command *command);

#endif /* AMD_INTERNAL_H */
