/* SPDX-License-Identifier: MIT */
/*
 * virgl_internal: what the files of the virgl renderer share
 *
 * renderer_virgl.c says what it is, and which thread does what.  virgl_library.c
 * starts and stops the library, virgl_log.c hears it, virgl_arrival.c finds its
 * processes; virgl_context.c has the contexts, virgl_submit.c what they are to
 * execute, virgl_resource.c and virgl_blob.c their memory; virgl_queue.c has what a
 * context cannot do at once, and virgl_wait.c says for how long.  Only files that
 * include this one call the library.
 */
#ifndef VIRGL_INTERNAL_H
#define VIRGL_INTERNAL_H

#include "renderer/renderer.h"

#include <pthread.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <linux/virtio_gpu.h>
#include <virglrenderer.h>

#include "renderer/virgl/drm_guard.h"
#include "renderer/virgl/call_limit.h"
#include "renderer/virgl/render_server.h"
#include "util/process.h"

struct iovec;

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define ERR_UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC
#define ERR_OUT_OF_MEMORY VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define ERR_INVALID_CONTEXT_ID VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID
#define ERR_INVALID_PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER

#define CAPSET_VENUS 4u
#define CAPSET_DRM 6u
#define MAX_CAPSETS 2

#define MAX_RINGS 64
/* How long the render server may take to start, or to fork. */
#define SERVER_MS 60000u

/**
 * struct submission - accepted, and fenced
 * @link: on the same ring, in order
 * @cookie: the device's
 * @fence: its number
 */
struct submission {
	STAILQ_ENTRY(submission) link;
	void *cookie;
	uint64_t fence;
};

/**
 * struct virgl_patience - how long somebody may be waited for
 * @ms: so long, as of @at
 * @max: it grows to that, a millisecond every few
 * @at: in milliseconds
 */
struct virgl_patience {
	unsigned int ms;
	unsigned int max;
	uint64_t at;
};

/**
 * enum virgl_item_kind - what waits in the queue of a context
 * @ITEM_SUBMIT: a command stream, and its fence
 * @ITEM_FENCE: of a command stream that was sent
 * @ITEM_ATTACH: it gets a resource
 * @ITEM_DETACH: and gives it back
 * @ITEM_BLOB: it makes one
 */
enum virgl_item_kind {
	ITEM_SUBMIT,
	ITEM_FENCE,
	ITEM_ATTACH,
	ITEM_DETACH,
	ITEM_BLOB,
};

/**
 * struct virgl_item - see enum virgl_item_kind
 * @link: in the queue
 * @kind: see there
 * @resource: of ATTACH, DETACH, BLOB; has it counted
 * @submission: of SUBMIT, FENCE: still to be answered, or NULL
 * @fenced: with a fence
 * @ring: of it
 * @blob: what to make
 * @cookie: for blob_created()
 * @barrier: number of a fence that shows that the worker has done all before, or 0
 * @sent: the context's @sent at the barrier
 * @size: bytes of @data
 * @data: of SUBMIT
 */
struct virgl_item {
	TAILQ_ENTRY(virgl_item) link;
	enum virgl_item_kind kind;
	struct resource *resource;
	struct submission *submission;
	bool fenced;
	uint8_t ring;
	struct renderer_blob blob;
	void *cookie;
	uint64_t barrier;
	uint64_t sent;
	size_t size;
	unsigned char data[] __attribute__((aligned(8)));
};

/**
 * enum virgl_step - what became of an item
 * @STEP_DONE: it is over
 * @STEP_FULL: the worker's socket has no room
 * @STEP_BUSY: the worker has to get there
 * @STEP_OTHER: somebody else has to
 */
enum virgl_step {
	STEP_DONE,
	STEP_FULL,
	STEP_BUSY,
	STEP_OTHER,
};

/**
 * enum context_state - of a context
 * @CONTEXT_RUNS: the library has it
 * @CONTEXT_BROKEN: it is to be ended by dispatch()
 * @CONTEXT_ENDS: killed, the library has it no more; its worker may still be there
 * @CONTEXT_GONE: the worker is gone, and everything answered
 */
enum context_state {
	CONTEXT_RUNS,
	CONTEXT_BROKEN,
	CONTEXT_ENDS,
	CONTEXT_GONE,
};

/**
 * struct virgl_context - a context
 * @base: must be first
 * @renderer: whose
 * @link: on the renderer's list
 * @id: the library's id, never used twice
 * @capset: CAPSET_*
 * @state: see there
 * @why: it ends, or NULL: the device wants it
 * @destroyed: the device knows it no more; to be freed when it is gone
 * @report: tell the device when it is gone
 * @socket: to its worker, the library's descriptor; -1 when that has it no more
 * @max_packet: bytes that one submission may have
 * @worker: the worker process, or -1
 * @worker_pid: its id, good as long as @worker has not ended
 * @guard: of a DRM context
 * @has: ids of the resources that the library has attached to it
 * @sent: packets for the worker
 * @seen: of @sent, those that it is known to have worked off
 * @queue: what waits, in order
 * @nr_queued: how many
 * @queued_bytes: of them
 * @watched: its socket is, for room
 * @step: why the first does not go on
 * @patience: how long everybody waits for it when it owes an answer
 * @stalled_ms: nothing of it has moved for so long
 * @unread: bytes in its socket, when that was looked at
 * @cpu_ns: that the worker had used then
 * @rings: what is not over
 * @retired: the last fence that is over, of each ring (lock)
 * @changed: bit n: @retired[n] was changed (lock)
 */
struct virgl_context {
	struct renderer_context base;
	struct renderer *renderer;
	LIST_ENTRY(virgl_context) link;
	uint32_t id;
	uint32_t capset;
	enum context_state state;
	const char *why;
	bool destroyed;
	bool report;
	int socket;
	size_t max_packet;
	int worker;
	pid_t worker_pid;
	struct drm_guard guard;
	struct id_table has;
	uint64_t sent;
	uint64_t seen;
	TAILQ_HEAD(, virgl_item) queue;
	unsigned int nr_queued;
	size_t queued_bytes;
	bool watched;
	enum virgl_step step;
	struct virgl_patience patience;
	unsigned int stalled_ms;
	int unread;
	uint64_t cpu_ns;
	STAILQ_HEAD(submission_list, submission) rings[MAX_RINGS];
	uint64_t retired[MAX_RINGS];
	uint64_t changed;
};

/**
 * enum resource_kind - what the library has
 * @RESOURCE_IMPORT: a userptr resource's dma-buf
 * @RESOURCE_PAGES: a guest blob's pages
 * @RESOURCE_BLOB: memory of a context
 */
enum resource_kind {
	RESOURCE_IMPORT,
	RESOURCE_PAGES,
	RESOURCE_BLOB,
};

/**
 * enum resource_state - of a resource
 * @RESOURCE_MAKING: a context is to make it
 * @RESOURCE_LIVE: the library has it
 * @RESOURCE_GOING: no more for use; the library has it until all contexts were told
 * @RESOURCE_PAST: the library has it no more
 */
enum resource_state {
	RESOURCE_MAKING,
	RESOURCE_LIVE,
	RESOURCE_GOING,
	RESOURCE_PAST,
};

/**
 * struct resource - a resource of the library, now or once
 * @id: the guest's, and the library's
 * @kind: see there
 * @state: see there
 * @dmabuf: contexts in this process can import it
 * @size: bytes
 * @maker: BLOB: the library's id of the context
 * @queued: items in queues that name it
 * @tell: BLOB: the device is to be told when it is gone
 * @response: by blob_created() with that, or, if it is 0, by blob_destroyed()
 * @cookie: for these
 * @backing: PAGES: held while the library has it
 * @iov: the pages
 * @nr_holders: how many
 * @max_holders: how many fit
 * @holders: the library's ids of the contexts that have it or once had
 */
struct resource {
	uint32_t id;
	enum resource_kind kind;
	enum resource_state state;
	bool dmabuf;
	uint64_t size;
	uint32_t maker;
	unsigned int queued;
	bool tell;
	uint32_t response;
	void *cookie;
	struct backing *backing;
	struct iovec *iov;
	size_t nr_holders;
	size_t max_holders;
	uint32_t *holders;
};

/**
 * struct renderer - all of it
 * @config: as given
 * @host: callbacks
 * @patience: how long workers may keep everybody waiting
 * @tick: a timer, that runs while something is queued
 * @ticked_at: when it last went off, in milliseconds
 * @nr_waiting: contexts that have something queued
 * @queued_more: bytes in queues, beyond what each may have in any case
 * @look_again: something that queues wait for has changed
 * @callbacks: what the library calls; it keeps the pointer
 * @capsets: what it offers
 * @nr_capsets: how many
 * @drm_type: enum drm_context_type
 * @epoll: what fd() says; has @event, @tick, @server, the workers, and their sockets
 *	when they are waited for
 * @event: something was retired, or broken
 * @server: the render server; the library has its socket.  .process is -1 if there
 *	is none
 * @server_offered: the library has not asked for the socket yet
 * @started_at: when it was tried, in milliseconds
 * @steps_due: a context is to make a step that no process's end brings
 * @limit: on calls that wait for another process
 * @last_id: of a context
 * @last_fence: of all contexts
 * @contexts: all, also such as end
 * @resources: id to struct resource
 * @jobs: submissions given to the library
 * @lock: see the top of this file
 * @by_id: the library's id to struct virgl_context, such as run (lock)
 */
struct renderer {
	struct renderer_config config;
	struct renderer_host host;
	struct virgl_patience patience;
	int tick;
	uint64_t ticked_at;
	unsigned int nr_waiting;
	size_t queued_more;
	bool look_again;
	struct virgl_renderer_callbacks callbacks;
	struct renderer_capset capsets[MAX_CAPSETS];
	unsigned int nr_capsets;
	uint32_t drm_type;
	int epoll;
	int event;
	struct sandbox_server server;
	bool server_offered;
	uint64_t started_at;
	bool steps_due;
	struct call_limit *limit;
	uint32_t last_id;
	uint64_t last_fence;
	LIST_HEAD(, virgl_context) contexts;
	struct id_table resources;
	uint64_t jobs;
	pthread_mutex_t lock;
	struct id_table by_id;
};

/**
 * struct virgl_arrival - what is known before a call of the library brings a process
 * @last_id: process_last_id()
 * @fd: the first free descriptor
 */
struct virgl_arrival {
	pid_t last_id;
	int fd;
};

/**
 * struct virgl_peer - a process that the library has to do with
 * @pid: its id
 * @process: of process_open()
 * @socket: the library's, to it
 */
struct virgl_peer {
	pid_t pid;
	int process;
	int socket;
};

/* renderer_virgl.c */

void virgl_notify(struct renderer *renderer);
int virgl_watch(struct renderer *renderer, int fd);
bool virgl_short_of_descriptors(const struct renderer *renderer);

/* virgl_log.c */

void virgl_log_begin(void);
void virgl_log_started(void);
void virgl_listen(void);
bool virgl_complained(bool anything);
void virgl_log_probe(uint32_t context);

/* virgl_library.c */

int virgl_start_library(struct renderer *renderer);
int virgl_run_library(struct renderer *renderer);
void virgl_stop_library(struct renderer *renderer);
bool virgl_server_ended(const struct renderer *renderer);
void virgl_restart_library(struct renderer *renderer);
void virgl_server_lost(struct renderer *renderer);
bool virgl_capset(const struct renderer *renderer, unsigned int index, struct renderer_capset *out);
void virgl_capset_data(const struct renderer *renderer, uint32_t id, uint32_t version, void *data);

/* virgl_arrival.c */

void virgl_expect(const struct renderer *renderer, struct virgl_arrival *arrival);
int virgl_arrived(const struct renderer *renderer, const struct virgl_arrival *arrival,
		  pid_t parent, struct virgl_peer *out);

/* virgl_context.c */

int virgl_context_create(struct renderer *renderer, uint32_t capset, const char *name,
			 struct renderer_context **out);
void virgl_context_destroy(struct renderer *renderer, struct renderer_context *base);
void virgl_context_break(struct virgl_context *context, const char *why);
void virgl_context_end(struct virgl_context *context);
bool virgl_context_step(struct virgl_context *context);
void virgl_end_contexts(struct renderer *renderer);
struct virgl_context *virgl_find_context(struct renderer *renderer, uint32_t id);

/* virgl_submit.c */

void virgl_fence_retired(void *cookie, uint32_t id, uint32_t ring, uint64_t fence);
bool virgl_has_retired(struct virgl_context *context, unsigned int ring, uint64_t fence);
void virgl_answer_retired(struct virgl_context *context);
void virgl_answer_failed(struct virgl_context *context);
enum virgl_step virgl_submit_step(struct virgl_context *context, struct virgl_item *item);
enum virgl_step virgl_fence_step(struct virgl_context *context, struct virgl_item *item);
uint32_t virgl_submit(struct renderer *renderer, struct renderer_context *base,
		      const struct renderer_submission *work, void *cookie);

/* virgl_queue.c */

struct virgl_item *virgl_item_new(enum virgl_item_kind kind, size_t size);
void virgl_item_free(struct virgl_item *item);
bool virgl_queue_takes(struct virgl_context *context, size_t size);
void virgl_queue_add(struct virgl_context *context, struct virgl_item *item);
void virgl_queue_remove(struct virgl_context *context, struct virgl_item *item);
struct virgl_item *virgl_queue_find(const struct virgl_context *context,
				    const struct resource *resource, enum virgl_item_kind kind);
bool virgl_queue_names(const struct virgl_context *context, const struct resource *resource);
void virgl_queue_run(struct virgl_context *context);
void virgl_queues_run(struct renderer *renderer);
void virgl_queue_unwatch(struct virgl_context *context);
void virgl_queue_drop(struct virgl_context *context);

/* virgl_wait.c */

void virgl_init_patience(struct virgl_patience *patience, unsigned int ms, unsigned int max);
unsigned int virgl_patience(struct virgl_patience *patience);
void virgl_spend_patience(struct virgl_patience *patience, uint64_t since);
bool virgl_context_has_room(struct virgl_context *context);
int virgl_context_unread(const struct virgl_context *context);
int virgl_open_tick(struct renderer *renderer);
void virgl_set_tick(struct renderer *renderer, bool on);
void virgl_tick(struct renderer *renderer);

/* virgl_resource.c */

struct resource *virgl_resource_new(struct renderer *renderer, uint32_t id, enum resource_kind kind,
				    uint64_t size);
struct resource *virgl_find_live(struct renderer *renderer, uint32_t id);
void virgl_end_resource(struct renderer *renderer, struct resource *resource);
void virgl_unqueue_resource(struct renderer *renderer, struct resource *resource);
void virgl_forget_resource(struct renderer *renderer, struct resource *resource);
void virgl_drop_resources(struct renderer *renderer);
int virgl_add_holder(struct renderer *renderer, struct resource *resource, uint32_t id);
enum virgl_step virgl_attach_step(struct virgl_context *context, struct virgl_item *item);
enum virgl_step virgl_detach_step(struct virgl_context *context, struct virgl_item *item);
int virgl_give_resource(struct virgl_context *context, struct resource *resource);
void virgl_take_resource(struct virgl_context *context, struct resource *resource);
struct iovec *virgl_make_iov(const struct backing *backing);
int virgl_attach(struct renderer_context *base, struct backing *backing);
void virgl_detach(struct renderer_context *base, struct backing *backing);
void virgl_quiesce(struct renderer *renderer, struct backing *backing);
void virgl_forget(struct renderer *renderer, uint32_t id);
void virgl_evict(struct renderer *renderer, struct backing *backing, bool force);

/* virgl_blob.c */

enum virgl_step virgl_blob_step(struct virgl_context *context, struct virgl_item *item);
void virgl_blob_failed(struct renderer *renderer, struct resource *resource, void *cookie,
		       uint32_t response);
uint32_t virgl_blob_create(struct renderer *renderer, struct renderer_context *base,
			   const struct renderer_blob *blob, void *cookie);
int virgl_blob_attach(struct renderer_context *base, uint32_t id);
void virgl_blob_detach(struct renderer_context *base, uint32_t id);
int virgl_blob_export(struct renderer *renderer, uint32_t id, struct renderer_mapping *out);
bool virgl_blob_destroy(struct renderer *renderer, uint32_t id, void *cookie);

#endif /* VIRGL_INTERNAL_H */
