// SPDX-License-Identifier: MIT
/*
 * Trace events: the parts of a creation, and what the kernel allocates for it
 *
 * Of a creation these events are seen: a mark, written just before the ioctl; then pin
 * and append of each batch, chunk of each command, and create at its end.  The time
 * before an event, back to the one before it, belongs to the part that it ends: pin has
 * all that comes before the first page, device what comes after the last command.
 * Sleeping is waiting for the device, wherever it happens: for answers, or for room for
 * another command.  What others ran meanwhile belongs to no part.
 *
 * Allocations: kmalloc and kmem_cache_alloc of this task, up to a mark, less what
 * anybody frees, up to the end: buffers of commands are freed by who handles the answers.
 *
 * Invariant: tracing is off, and empty, between calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bench.h"

#define TRACING "/sys/kernel/tracing/"
#define MAX_LIVE 65536
#define END_MARK "userptr-bench: end"

static const char *const driver_events[] = { "pin", "append", "chunk", "create" };
static const char *const memory_events[] = { "kmalloc", "kmem_cache_alloc", "kfree",
					     "kmem_cache_free" };

static bool set(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ok;
}

static bool set_event(const char *system, const char *event, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), TRACING "events/%s/%s/enable", system, event);
	return set(path, value);
}

static bool driver_tracing(const char *value)
{
	char name[64];
	size_t i;

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "virtio_gpu_userptr_%s", driver_events[i]);
		if (!set_event("virtio_gpu", name, value))
			return false;
	}
	return true;
}

static bool memory_tracing(const char *value)
{
	size_t i;

	for (i = 0; i < 4; i++)
		if (!set_event("kmem", memory_events[i], value))
			return false;
	return true;
}

static bool prepare(void)
{
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	/* The clock of User-Mode Linux that is the default one ticks only. */
	return set(TRACING "tracing_on", "0") && set(TRACING "trace_clock", "mono") &&
	       set(TRACING "buffer_size_kb", "16384");
}

static bool start(void)
{
	return set(TRACING "trace", "") && set(TRACING "tracing_on", "1");
}

/* Nanoseconds of a line "task-pid [cpu] flags seconds.micros: event: ...". */
static uint64_t time_of(const char *line)
{
	const char *colon = strstr(line, ": ");
	unsigned long long seconds, micros;

	while (colon && colon > line && colon[-1] != ' ')
		colon--;
	if (!colon || sscanf(colon, "%llu.%llu", &seconds, &micros) != 2)
		bench_fail("a line of the trace", EPROTO);
	return (seconds * 1000000 + micros) * 1000;
}

enum { PART_PIN, PART_APPEND, PART_SEND, PART_DEVICE, NR_PARTS };

/**
 * struct walk - going through the trace of a creation
 * @last: when the last part ended, or 0 before the mark
 * @off: when the task stopped running, or 0
 * @asleep: it did so to sleep
 * @away: nanoseconds that it has not run since @last
 * @parts: nanoseconds of each part
 */
struct walk {
	uint64_t last;
	uint64_t off;
	bool asleep;
	uint64_t away;
	uint64_t *parts;
};

/* A line that says which task runs now. */
static void walk_switch(struct walk *walk, const char *line)
{
	char from[32], to[32];
	uint64_t now;

	snprintf(from, sizeof(from), "prev_pid=%d ", getpid());
	snprintf(to, sizeof(to), "next_pid=%d ", getpid());
	if (strstr(line, from)) {
		walk->off = time_of(line);
		walk->asleep = !strstr(line, "prev_state=R");
	} else if (walk->off && strstr(line, to)) {
		now = time_of(line);
		walk->away += now - walk->off;
		if (walk->asleep)
			walk->parts[PART_DEVICE] += now - walk->off;
		walk->off = 0;
	}
}

/* Adds up the parts; returns false if there is no whole creation. */
static bool read_parts(uint64_t parts[NR_PARTS])
{
	static const char *const keys[] = { "_pin: ", "_append: ", "_chunk: ", "_create: " };
	FILE *trace = fopen(TRACING "trace", "re");
	struct walk walk = { .parts = parts };
	bool whole = false;
	char line[512];
	size_t i;

	if (!trace)
		return false;
	memset(parts, 0, NR_PARTS * sizeof(*parts));
	while (fgets(line, sizeof(line), trace)) {
		if (strstr(line, "userptr-bench: create"))
			walk.last = time_of(line);
		if (walk.last && strstr(line, "sched_switch: "))
			walk_switch(&walk, line);
		for (i = 0; i < NR_PARTS && walk.last; i++) {
			uint64_t now;

			if (!strstr(line, keys[i]))
				continue;
			now = time_of(line);
			parts[i] += now - walk.last - walk.away;
			walk.last = now;
			walk.away = 0;
			whole = whole || i == PART_DEVICE;
		}
	}
	fclose(trace);
	return whole;
}

static void split_buffer(const struct bench *bench, struct vg *vg, enum bench_layout layout,
			 size_t size)
{
	static const char *const parts_of[] = { "pin", "append", "send", "device" };
	struct bench_series series[NR_PARTS] = { 0 };
	struct bench_memory memory;
	uint64_t parts[NR_PARTS];
	struct vg_bo bo;
	unsigned int i, j;

	if (!bench_memory_make(&memory, layout, size)) {
		bench_skip("split", layout, size, "there is no such memory here");
		return;
	}
	for (i = 0; i < BENCH_WARMUP + bench->samples; i++) {
		if (!start() || !set(TRACING "trace_marker", "userptr-bench: create"))
			bench_fail("tracing", errno);
		bench_create(vg, memory.addr, size, 0, &bo);
		set(TRACING "tracing_on", "0");
		vg_bo_close(vg->fd, bo.handle);
		bench_wait_unpinned();
		if (!read_parts(parts))
			bench_fail("the trace has no whole creation", EPROTO);
		for (j = 0; i >= BENCH_WARMUP && j < NR_PARTS; j++)
			bench_add(&series[j], parts[j]);
	}
	for (j = 0; j < NR_PARTS; j++) {
		series[j].figure = "split";
		series[j].variant = parts_of[j];
		series[j].layout = layout;
		series[j].size = size;
		series[j].unit = "ns";
		bench_print(&series[j]);
	}
	bench_memory_free(&memory);
}

/* How often this task went to sleep while it was traced. */
static uint64_t count_sleeps(void)
{
	FILE *trace = fopen(TRACING "trace", "re");
	char line[512], task[32];
	uint64_t nr = 0;

	if (!trace)
		bench_fail("trace", errno);
	snprintf(task, sizeof(task), "prev_pid=%d ", getpid());
	while (fgets(line, sizeof(line), trace))
		if (strstr(line, task) && !strstr(line, "prev_state=R"))
			nr++;
	fclose(trace);
	return nr;
}

/* A creation waits for the device once, or for one answer after the other. */
static void split_sleeps(const struct bench *bench, struct vg *vg)
{
	struct bench_series series = {
		.figure = "sleeps",
		.variant = "create",
		.layout = BENCH_NATURAL,
		.size = BENCH_PAGE,
		.unit = "1",
	};
	struct bench_memory memory;
	struct vg_bo bo;
	unsigned int i;

	if (!bench_memory_make(&memory, BENCH_NATURAL, BENCH_PAGE))
		bench_fail("memory", ENOMEM);
	for (i = 0; i < BENCH_WARMUP + bench->samples; i++) {
		if (!start())
			bench_fail("tracing", errno);
		bench_create(vg, memory.addr, memory.size, 0, &bo);
		set(TRACING "tracing_on", "0");
		vg_bo_close(vg->fd, bo.handle);
		bench_wait_unpinned();
		if (i >= BENCH_WARMUP)
			bench_add(&series, count_sleeps());
	}
	bench_print(&series);
	bench_memory_free(&memory);
}

/**
 * bench_split() - the parts of a creation, and how often it waits
 * @bench: the run
 */
void bench_split(const struct bench *bench)
{
	static const size_t sizes[] = { BENCH_KIB(64), BENCH_MIB(16), BENCH_MIB(64),
					BENCH_MIB(256) };
	enum bench_layout layout;
	struct vg vg;
	size_t i;

	if (!prepare() || !driver_tracing("1") || !set_event("sched", "sched_switch", "1")) {
		bench_skip("split", BENCH_NATURAL, 0, "this kernel has not the trace events");
		return;
	}
	bench_open(&vg, bench);
	for (layout = 0; layout < NR_BENCH_LAYOUTS; layout++)
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			if (bench_wanted(bench, layout, sizes[i]))
				split_buffer(bench, &vg, layout, sizes[i]);
	driver_tracing("0");
	split_sleeps(bench, &vg);
	set_event("sched", "sched_switch", "0");
	vg_close(&vg);
}

/**
 * bench_trace_allocations() - be ready for bench_trace_start()
 *
 * Return: false if the kernel has not the events.
 */
bool bench_trace_allocations(void)
{
	return prepare() && memory_tracing("1");
}

/**
 * bench_trace_start() - from here on allocations count
 */
void bench_trace_start(void)
{
	if (!start())
		bench_fail("tracing", errno);
}

/**
 * bench_trace_mark() - allocations after this do not count, but what is freed does
 */
void bench_trace_mark(void)
{
	if (!set(TRACING "trace_marker", END_MARK))
		bench_fail("trace_marker", errno);
}

/**
 * struct live - allocations
 * @nr: how many
 * @of: each, its address and size
 */
struct live {
	size_t nr;
	struct {
		uint64_t at;
		uint64_t bytes;
	} of[MAX_LIVE];
};

/* The number after a key, in base 10 or 16; 0 if it is not there. */
static uint64_t value_of(const char *line, const char *key, int base)
{
	const char *at = strstr(line, key);

	return at ? strtoull(at + strlen(key), NULL, base) : 0;
}

static void live_free(struct live *live, uint64_t at)
{
	size_t i;

	/* Those of before are not known. */
	for (i = live->nr; i-- > 0;)
		if (live->of[i].at == at) {
			live->of[i] = live->of[--live->nr];
			return;
		}
}

static void live_add(struct live *live, uint64_t at, uint64_t bytes)
{
	/* The allocator reports large ones twice, on two levels. */
	live_free(live, at);
	if (live->nr == MAX_LIVE)
		bench_fail("too many allocations", E2BIG);
	live->of[live->nr].at = at;
	live->of[live->nr++].bytes = bytes;
}

/**
 * bench_trace_stop() - up to here
 * @allocations: out
 */
void bench_trace_stop(struct bench_allocations *allocations)
{
	static struct live live;
	bool marked = false;
	char line[512], task[32];
	FILE *trace;
	size_t i;

	set(TRACING "tracing_on", "0");
	trace = fopen(TRACING "trace", "re");
	if (!trace)
		bench_fail("trace", errno);
	live.nr = 0;
	snprintf(task, sizeof(task), "-%d ", getpid());
	while (fgets(line, sizeof(line), trace)) {
		uint64_t at = value_of(line, " ptr=", 16),
			 bytes = value_of(line, "bytes_alloc=", 10);

		marked = marked || strstr(line, END_MARK);
		if (line[0] == '#' || !at)
			continue;
		if (!bytes)
			live_free(&live, at);
		else if (!marked && strstr(line, task))
			live_add(&live, at, bytes);
	}
	fclose(trace);
	if (!marked)
		bench_fail("the trace has no end", EPROTO);
	allocations->nr = live.nr;
	allocations->bytes = 0;
	for (i = 0; i < live.nr; i++)
		allocations->bytes += live.of[i].bytes;
}
