// SPDX-License-Identifier: MIT
/*
 * kfd: opening and closing
 *
 * Clients of the thunk free() memory that they have registered and tell nobody, and
 * they poll nothing.  So there is a thread, while it is open, which waits for what
 * libvirtgpu-userptr has to tell, and takes such memory from the GPU.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kfd.h"
#include "process.h"

#define NOT_OPENED HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED

struct kfd kfd = { .stop_fd = -1 };

/**
 * kfd_status() - what an errno is called here
 * @error: 0 or negative errno
 *
 * Return: HSAKMT_STATUS_*.
 */
HSAKMT_STATUS kfd_status(int error)
{
	switch (error) {
	case 0:
		return HSAKMT_STATUS_SUCCESS;
	case -EINVAL:
	case -EFAULT:
		return HSAKMT_STATUS_INVALID_PARAMETER;
	case -ENOMEM:
	case -EPERM:
		return HSAKMT_STATUS_NO_MEMORY;
	case -E2BIG:
	case -ENOSPC:
		return HSAKMT_STATUS_OUT_OF_RESOURCES;
	case -EOPNOTSUPP:
		return HSAKMT_STATUS_NOT_SUPPORTED;
	case -ENODEV:
	case -EIO:
	case -EPROTO:
	case -ETIMEDOUT:
		return HSAKMT_STATUS_KERNEL_COMMUNICATION_ERROR;
	case -ESTALE:
		return NOT_OPENED;
	default:
		return HSAKMT_STATUS_ERROR;
	}
}

/* In a child nothing is open, whatever its copy of this says. */
static bool is_mine(void)
{
	return atomic_load(&kfd.ready) == process_generation() << 1;
}

/**
 * kfd_enter() - use what is open
 *
 * Return: false if nothing is; else the lock is held until kfd_leave().
 */
bool kfd_enter(void)
{
	if (!is_mine())
		return false;
	pthread_mutex_lock(&kfd.lock);
	if (kfd.opened)
		return true;
	pthread_mutex_unlock(&kfd.lock);
	return false;
}

/**
 * kfd_leave() - undo kfd_enter()
 */
void kfd_leave(void)
{
	pthread_mutex_unlock(&kfd.lock);
}

static void *watch(void *data)
{
	struct pollfd pfds[] = {
		{ .fd = virtgpu_userptr_get_fd(kfd.ctx), .events = POLLIN },
		{ .fd = kfd.stop_fd, .events = POLLIN },
	};

	(void)data;
	for (;;) {
		if (poll(pfds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (pfds[1].revents)
			return NULL;
		if (pfds[0].revents && virtgpu_userptr_dispatch(kfd.ctx) < 0)
			return NULL;
	}
}

/* Signals are for the client's threads. */
static int start_watching(void)
{
	sigset_t all, before;
	int ret;

	kfd.stop_fd = eventfd(0, EFD_CLOEXEC);
	if (kfd.stop_fd < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = -pthread_create(&kfd.watcher, NULL, watch, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret)
		close(kfd.stop_fd);
	return ret;
}

static void stop_watching(void)
{
	uint64_t one = 1;

	/* There is always room for it. */
	while (write(kfd.stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(kfd.watcher, NULL);
	close(kfd.stop_fd);
}

static int open_all(void)
{
	const struct virtgpu_userptr_options options = {
		.struct_size = sizeof(options),
		.cache_bytes = VIRTGPU_USERPTR_CACHE_DEFAULT,
		.revoked = memory_revoked,
	};
	int ret;

	kfd.ops = hsakmt_gpu_backend();
	if (!kfd.ops)
		return -ENODEV;
	ret = kfd.ops->open(&kfd.gpu);
	if (ret)
		return ret;
	ret = virtgpu_userptr_open(kfd.ops->fd(kfd.gpu), &options, &kfd.ctx);
	if (ret)
		goto err_gpu;
	ret = start_watching();
	if (!ret)
		return 0;

	virtgpu_userptr_close(kfd.ctx);
err_gpu:
	kfd.ops->close(kfd.gpu);
	return ret;
}

/*
 * A child begins anew: locks may be held by threads that it does not have.  Twice the
 * generation says that this was done, and one more that a thread is at it.
 */
static void begin(void)
{
	uint64_t mine = process_generation() << 1, seen;

	while ((seen = atomic_load(&kfd.ready)) != mine) {
		if (seen == (mine | 1) ||
		    !atomic_compare_exchange_strong(&kfd.ready, &seen, mine | 1)) {
			sched_yield();
			continue;
		}
		pthread_mutex_init(&kfd.opening, NULL);
		pthread_mutex_init(&kfd.lock, NULL);
		kfd.opened = 0;
		kfd.buffers = (struct interval_tree){ 0 };
		kfd.snapshot = false;
		atomic_store(&kfd.ready, mine);
	}
}

HSAKMT_STATUS hsaKmtOpenKFD(void)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_KERNEL_ALREADY_OPENED;
	int ret = 0;

	begin();
	pthread_mutex_lock(&kfd.opening);
	if (!kfd.opened) {
		ret = open_all();
		status = ret ? NOT_OPENED : HSAKMT_STATUS_SUCCESS;
	}
	if (!ret) {
		pthread_mutex_lock(&kfd.lock);
		kfd.opened++;
		pthread_mutex_unlock(&kfd.lock);
	}
	pthread_mutex_unlock(&kfd.opening);
	return status;
}

HSAKMT_STATUS hsaKmtCloseKFD(void)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_SUCCESS;
	bool last = false;

	if (!is_mine())
		return NOT_OPENED;
	pthread_mutex_lock(&kfd.opening);
	pthread_mutex_lock(&kfd.lock);
	if (!kfd.opened)
		status = NOT_OPENED;
	else
		last = !--kfd.opened;
	pthread_mutex_unlock(&kfd.lock);
	if (last) {
		stop_watching();
		memory_forget_all();
		virtgpu_userptr_close(kfd.ctx);
		kfd.ops->close(kfd.gpu);
		kfd.snapshot = false;
	}
	pthread_mutex_unlock(&kfd.opening);
	return status;
}
