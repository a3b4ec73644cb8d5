// SPDX-License-Identifier: MIT
/*
 * fake: a kernel for the unit tests
 *
 * See fake.h.  As the real one it gives the smallest handle that is free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fake.h"

#define RES_BASE 1000

struct fake fake = { .event_fd = -1 };

#define BUG_ON(condition)                                                              \
	do {                                                                           \
		if (condition) {                                                       \
			fprintf(stderr, "fake: %s, line %d: %s\n", __func__, __LINE__, \
				#condition);                                           \
			abort();                                                       \
		}                                                                      \
	} while (0)

static int fake_query(int fd, struct drm_virtgpu_userptr_query *query)
{
	(void)fd;
	memset(query, 0, sizeof(*query));
	if (!fake.create_flags)
		return -EOPNOTSUPP;
	query->create_flags = fake.create_flags;
	query->max_size = fake.max_size;
	query->max_segments = 1024;
	query->alignment = fake.alignment;
	return 0;
}

static bool fake_can_verify(int fd)
{
	(void)fd;
	return !fake.no_verify;
}

static unsigned int events_to_come(void)
{
	unsigned int i, nr = fake.nr_events;

	for (i = 1; i < FAKE_HANDLES; i++)
		nr += fake.bos[i].used && fake.bos[i].flags & VIRTGPU_USERPTR_EVENT &&
		      fake.bos[i].state == VIRTGPU_USERPTR_STATE_LIVE;
	return nr;
}

static int may_create(uint64_t size, uint32_t flags)
{
	if (fake.fail_create)
		return fake.fail_create;
	if (flags & VIRTGPU_USERPTR_EVENT && events_to_come() >= fake.event_room)
		return -ENOMEM;
	if (fake.locked + size > fake.memory)
		return -ENOMEM;
	if (fake.limited && fake.locked + size > fake.limit)
		return -ENOMEM;
	return 0;
}

static int fake_create(int fd, uint64_t addr, uint64_t size, uint32_t flags, struct vg_bo *bo)
{
	unsigned int handle = 1;
	int ret;

	(void)fd;
	BUG_ON(addr % FAKE_PAGE || size % FAKE_PAGE || !size);
	pthread_mutex_lock(&fake.lock);
	fake.creates++;
	fake.creating++;
	pthread_cond_broadcast(&fake.changed);
	while (fake.shut)
		pthread_cond_wait(&fake.changed, &fake.lock);
	fake.creating--;
	ret = may_create(size, flags);
	if (!ret) {
		while (fake.bos[handle].used)
			handle++;
		fake.bos[handle] = (struct fake_bo){
			.used = true,
			.start = addr,
			.end = addr + size,
			.flags = flags,
			.state = VIRTGPU_USERPTR_STATE_LIVE,
		};
		bo->handle = handle;
		bo->res = handle + RES_BASE;
		fake.nr++;
		fake.locked += size;
	}
	pthread_mutex_unlock(&fake.lock);
	if (!ret && fake.on_created)
		fake.on_created();
	return ret;
}

static void send_event(uint32_t handle)
{
	uint64_t one = 1;

	BUG_ON(fake.nr_events == FAKE_HANDLES);
	fake.events[fake.nr_events++] = handle;
	BUG_ON(write(fake.event_fd, &one, sizeof(one)) != sizeof(one));
}

static void take_back(uint32_t handle)
{
	struct fake_bo *bo = &fake.bos[handle];

	if (bo->state != VIRTGPU_USERPTR_STATE_LIVE)
		return;
	bo->state = VIRTGPU_USERPTR_STATE_REVOKED;
	fake.locked -= bo->end - bo->start;
	if (bo->flags & VIRTGPU_USERPTR_EVENT)
		send_event(handle);
}

static int fake_state(int fd, uint32_t handle, bool verify, uint32_t *state)
{
	int ret = 0;

	(void)fd;
	if (verify && fake.on_verify)
		fake.on_verify(handle);
	pthread_mutex_lock(&fake.lock);
	BUG_ON(handle >= FAKE_HANDLES || !fake.bos[handle].used);
	if (verify) {
		fake.verifies++;
		if (fake.busy)
			ret = -EBUSY;
		else if (fake.bos[handle].suspected)
			take_back(handle);
	}
	*state = fake.bos[handle].state;
	pthread_mutex_unlock(&fake.lock);
	return ret;
}

static int fake_close(int fd, uint32_t handle)
{
	(void)fd;
	pthread_mutex_lock(&fake.lock);
	BUG_ON(handle >= FAKE_HANDLES || !fake.bos[handle].used);
	if (fake.bos[handle].state == VIRTGPU_USERPTR_STATE_LIVE)
		fake.locked -= fake.bos[handle].end - fake.bos[handle].start;
	fake.bos[handle].used = false;
	fake.nr--;
	fake.closes++;
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

static ssize_t fake_read_events(int fd, void *buffer, size_t size)
{
	struct drm_virtgpu_event_userptr *event = buffer;
	size_t nr = 0;
	uint64_t count;

	(void)fd;
	pthread_mutex_lock(&fake.lock);
	for (; nr < fake.nr_events && (nr + 1) * sizeof(*event) <= size; nr++) {
		bool other = !fake.events[nr];

		event[nr] = (struct drm_virtgpu_event_userptr){
			.base.type = other ? 0x80000001 : VIRTGPU_EVENT_USERPTR_REVOKED,
			.base.length = sizeof(*event),
			.bo_handle = fake.events[nr],
			.res_handle = fake.events[nr] + RES_BASE,
		};
	}
	memmove(fake.events, fake.events + nr, (fake.nr_events - nr) * sizeof(*fake.events));
	fake.nr_events -= nr;
	if (nr && !fake.nr_events)
		BUG_ON(read(fake.event_fd, &count, sizeof(count)) != sizeof(count));
	pthread_mutex_unlock(&fake.lock);
	return nr * sizeof(*event);
}

static uint64_t fake_memlock(void)
{
	return fake.limit;
}

const struct userptr_ops fake_ops = {
	.query = fake_query,
	.can_verify = fake_can_verify,
	.create = fake_create,
	.state = fake_state,
	.close = fake_close,
	.read_events = fake_read_events,
	.memlock = fake_memlock,
};

/**
 * fake_reset() - a kernel in which everything works
 */
void fake_reset(void)
{
	if (fake.event_fd >= 0)
		close(fake.event_fd);
	memset(&fake, 0, sizeof(fake));
	pthread_mutex_init(&fake.lock, NULL);
	pthread_cond_init(&fake.changed, NULL);
	fake.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	BUG_ON(fake.event_fd < 0);
	fake.limit = UINT64_MAX;
	fake.memory = UINT64_MAX;
	fake.max_size = 1ull << 40;
	fake.alignment = FAKE_PAGE;
	fake.event_room = 128;
	fake.create_flags = VIRTGPU_USERPTR_RDONLY | VIRTGPU_USERPTR_KEEP | VIRTGPU_USERPTR_EVENT;
}

/**
 * fake_open() - a context of it
 * @options: or NULL
 *
 * Return: context.
 */
struct virtgpu_userptr *fake_open(const struct virtgpu_userptr_options *options)
{
	struct virtgpu_userptr *ctx = NULL;
	int ret = context_open(fake.event_fd, options, &fake_ops, &ctx);

	BUG_ON(ret);
	return ctx;
}

static void each(uint64_t addr, uint64_t size, bool suspect)
{
	uint32_t i;

	pthread_mutex_lock(&fake.lock);
	for (i = 1; i < FAKE_HANDLES; i++) {
		struct fake_bo *bo = &fake.bos[i];

		if (!bo->used || bo->start >= addr + size || bo->end <= addr ||
		    bo->flags & VIRTGPU_USERPTR_KEEP)
			continue;
		if (suspect)
			bo->suspected = true;
		else
			take_back(i);
	}
	pthread_mutex_unlock(&fake.lock);
}

/**
 * fake_unmap() - munmap()
 * @addr: of memory
 * @size: bytes
 */
void fake_unmap(uint64_t addr, uint64_t size)
{
	each(addr, size, false);
}

/**
 * fake_dontneed() - MADV_DONTNEED, before the kernel has looked
 * @addr: of memory
 * @size: bytes
 */
void fake_dontneed(uint64_t addr, uint64_t size)
{
	each(addr, size, true);
}

/**
 * fake_send() - an event
 * @handle: of what was revoked, as it says; 0 for one of another kind
 */
void fake_send(uint32_t handle)
{
	pthread_mutex_lock(&fake.lock);
	send_event(handle);
	pthread_mutex_unlock(&fake.lock);
}

/**
 * fake_shut() - let creations wait, or go on
 * @shut: which
 */
void fake_shut(bool shut)
{
	pthread_mutex_lock(&fake.lock);
	fake.shut = shut;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

/**
 * fake_wait_creating() - wait until creations wait
 * @nr: how many
 */
void fake_wait_creating(unsigned int nr)
{
	pthread_mutex_lock(&fake.lock);
	while (fake.creating < nr)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

/**
 * fake_stats() - virtgpu_userptr_get_stats()
 * @ctx: context
 *
 * Return: them.
 */
struct virtgpu_userptr_stats fake_stats(struct virtgpu_userptr *ctx)
{
	struct virtgpu_userptr_stats stats = { .struct_size = sizeof(stats) };

	BUG_ON(virtgpu_userptr_get_stats(ctx, &stats));
	return stats;
}

/**
 * fake_addr() - an address that nobody uses as one
 * @addr: it
 *
 * Return: it.
 */
void *fake_addr(uint64_t addr)
{
	return (void *)(uintptr_t)addr;
}
