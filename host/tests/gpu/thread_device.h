/* SPDX-License-Identifier: MIT */
/*
 * thread_device: a stand-in for gpu_device, to see what a thread makes of it
 *
 * A command is a header and text, whose first letter says what it does: 'b', it is
 * at it until the test opens the gate; 'h', it is held until a reset or an 'r', which
 * answers all that are held, the last one first; 'm' and 'u', the VMM is to map and to
 * unmap something; 'w', it takes standin_work_ms.  Each is answered with its letter.
 *
 * Only started, gate and what is atomic may be looked at while the thread is at
 * something.
 *
 * Threads: the test's, and the one under test, in which nothing can be asserted.
 */
#ifndef THREAD_DEVICE_H
#define THREAD_DEVICE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_gpu.h>

#include "gpu/gpu_device.h"
#include "util/clock.h"

#define STANDIN_FEATURES ((UINT64_C(1) << 0) | (UINT64_C(1) << 16))
#define STANDIN_REGION (UINT64_C(16) << 20)

/**
 * struct gpu_device - the stand-in; there is one
 * @transport: the way back
 * @fd: eventfd, see gpu_device_fd()
 * @held: requests
 * @texts: theirs
 * @nr_held: of these
 * @log: first letters of what was done, 'F' for features, 'C' for configuration, 'S' for
 *	shmem_done(), 'R' for a reset and 'E' for an event
 * @nr_log: of these
 * @features: as they were set
 * @err: the last of shmem_done()
 * @self: the thread that made it
 */
struct gpu_device {
	struct gpu_transport transport;
	int fd;
	struct gpu_request *held[64];
	char texts[64];
	unsigned int nr_held;
	char log[8192];
	unsigned int nr_log;
	uint64_t features;
	int err;
	pthread_t self;
};

static struct gpu_device standin;
/* It cannot be had. */
static int standin_fails;
/* Commands that have begun to wait for the gate, and for how many it opens. */
static sem_t standin_started;
static sem_t standin_gate;
static atomic_uint standin_commands;
static atomic_uint standin_work_ms;
static atomic_bool standin_freed;

static inline void standin_init(void)
{
	memset(&standin, 0, sizeof(standin));
	standin_fails = 0;
	standin_commands = 0;
	standin_work_ms = 150;
	standin_freed = false;
	sem_init(&standin_started, 0, 0);
	sem_init(&standin_gate, 0, 0);
}

static inline void standin_wait(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	while (sem_timedwait(sem, &until))
		if (errno != EINTR)
			abort();
}

static inline void standin_did(char what)
{
	if (!pthread_equal(pthread_self(), standin.self) || standin.nr_log >= sizeof(standin.log))
		abort();
	standin.log[standin.nr_log++] = what;
}

static inline void standin_answer(struct gpu_request *req, char text)
{
	standin.transport.respond(standin.transport.opaque, req, &text, 1);
}

struct gpu_device *gpu_device_new(const struct gpu_config *config,
				  const struct gpu_transport *transport, struct guest_memory *gm)
{
	(void)config;
	(void)gm;
	if (standin_fails) {
		errno = standin_fails;
		return NULL;
	}
	standin.transport = *transport;
	standin.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	standin.self = pthread_self();
	return &standin;
}

void gpu_device_free(struct gpu_device *dev)
{
	if (!pthread_equal(pthread_self(), standin.self))
		abort();
	close(dev->fd);
	standin_freed = true;
}

uint64_t gpu_device_features(const struct gpu_device *dev)
{
	(void)dev;
	return STANDIN_FEATURES;
}

void gpu_device_set_features(struct gpu_device *dev, uint64_t features)
{
	standin_did('F');
	dev->features = features;
}

void gpu_device_read_config(struct gpu_device *dev, uint32_t offset, void *data, size_t len)
{
	const struct virtio_gpu_config config = { .num_capsets = 0x12345678 };

	(void)dev;
	if (offset || len != sizeof(config))
		abort();
	memcpy(data, &config, len);
}

void gpu_device_write_config(struct gpu_device *dev, uint32_t offset, const void *data, size_t len)
{
	(void)dev;
	if (offset != 4 || len != 4 || memcmp(data, "\1\0\0\0", 4))
		abort();
	standin_did('C');
}

static inline void standin_ask(char what)
{
	const struct gpu_shmem_range range = { 0x3000, 0x2000, what == 'm' ? 0x5000 : 0 };
	int err, fd;

	if (what == 'u') {
		err = standin.transport.shmem_unmap(standin.transport.opaque, &range);
	} else {
		fd = memfd_create("blob", MFD_CLOEXEC);
		err = standin.transport.shmem_map(standin.transport.opaque, &range, fd);
		close(fd);
	}
	if (err)
		abort();
}

static inline void standin_work(void)
{
	struct timespec left = {
		.tv_sec = standin_work_ms / 1000,
		.tv_nsec = standin_work_ms % 1000 * 1000000l,
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

void gpu_device_command(struct gpu_device *dev, unsigned int queue, const void *data, size_t len,
			size_t resp_capacity, struct gpu_request *req)
{
	char what;

	(void)queue;
	if (len <= sizeof(struct virtio_gpu_ctrl_hdr) || !resp_capacity)
		abort();
	what = ((const char *)data)[sizeof(struct virtio_gpu_ctrl_hdr)];
	standin_did(what);
	standin_commands++;
	if (what == 'b') {
		sem_post(&standin_started);
		standin_wait(&standin_gate);
	} else if (what == 'w') {
		standin_work();
	} else if (what == 'm' || what == 'u') {
		standin_ask(what);
	} else if (what == 'h') {
		dev->held[dev->nr_held] = req;
		dev->texts[dev->nr_held++] = what;
		return;
	} else if (what == 'r') {
		while (dev->nr_held) {
			dev->nr_held--;
			standin_answer(dev->held[dev->nr_held], dev->texts[dev->nr_held]);
		}
	}
	standin_answer(req, what);
}

uint64_t gpu_device_host_visible(const struct gpu_device *dev)
{
	(void)dev;
	return STANDIN_REGION;
}

void gpu_device_shmem_done(struct gpu_device *dev, int err)
{
	standin_did('S');
	dev->err = err;
}

void gpu_device_reset(struct gpu_device *dev)
{
	unsigned int i;

	standin_did('R');
	for (i = 0; i < dev->nr_held; i++)
		standin_answer(dev->held[i], 'X');
	dev->nr_held = 0;
}

int gpu_device_fd(const struct gpu_device *dev)
{
	return dev->fd;
}

void gpu_device_dispatch(struct gpu_device *dev)
{
	uint64_t count;

	if (read(dev->fd, &count, sizeof(count)) == sizeof(count))
		standin_did('E');
}

void gpu_device_print_stats(const struct gpu_device *dev, FILE *to)
{
	fprintf(to, "done: %u\n", dev->nr_log);
}

#endif /* THREAD_DEVICE_H */
