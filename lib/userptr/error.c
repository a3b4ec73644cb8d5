// SPDX-License-Identifier: MIT
/*
 * error: what went wrong last, in words, for each thread
 *
 * The words name the limit that was met and what to do about it, as far as that can
 * be told from an errno; where it can be one of several things they say so.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "context.h"
#include "error.h"

static _Thread_local char text[512];

/**
 * error_set() - say what went wrong
 * @error: negative errno
 * @format: in words
 *
 * Return: @error.
 */
int error_set(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return error;
}

const char *virtgpu_userptr_error(void)
{
	return text;
}

static unsigned long long kib(uint64_t bytes)
{
	return bytes / 1024 + !!(bytes % 1024);
}

static int no_memory(const struct virtgpu_userptr *ctx, int error, uint64_t size)
{
	uint64_t limit = ctx->ops->memlock(), held = ctx->stats.held_bytes;

	if (limit == UINT64_MAX)
		return error_set(error,
				 "there is no memory for %llu KiB more: neither the guest's own, "
				 "or its cgroup's, nor the host's may be used up",
				 kib(size));
	return error_set(
		error,
		"cannot lock %llu KiB of memory: this context has locked %llu of the %llu KiB "
		"that RLIMIT_MEMLOCK allows all processes of the user; raise it with `ulimit -l` "
		"or in /etc/security/limits.conf, or give the program CAP_IPC_LOCK. If the limit "
		"is not it, the guest or the host has no memory left",
		kib(size), kib(held), kib(limit));
}

/**
 * error_create() - say why memory cannot be registered
 * @ctx: context; its lock is held, or nobody else knows it
 * @error: negative errno of the ioctl
 * @addr: of the memory
 * @size: bytes
 * @rdonly: was it for reading only?
 *
 * Return: @error.
 */
int error_create(const struct virtgpu_userptr *ctx, int error, uint64_t addr, uint64_t size,
		 int rdonly)
{
	unsigned long long from = addr, bytes = size;

	switch (error) {
	case -ENOMEM:
	case -EPERM:
		return no_memory(ctx, error, size);
	case -E2BIG:
		return error_set(
			error,
			"%llu KiB at %#llx are more than the host takes in one piece: it takes %llu "
			"KiB in at most %llu physical segments; register smaller parts, or let the "
			"host's device raise --max-userptr-bytes and --max-segments",
			kib(size), from, kib(ctx->caps.max_size),
			(unsigned long long)ctx->caps.max_segments);
	case -EFAULT:
		return error_set(
			error,
			"not all of the %llu bytes at %#llx is memory that can be pinned for %s: it "
			"must be mapped with that access, and be no device memory%s",
			bytes, from, rdonly ? "reading" : "writing",
			rdonly ? "" :
				 " nor a shared mapping of a file that is to be read only, "
				 "which VIRTGPU_USERPTR_REG_RDONLY takes");
	case -EOPNOTSUPP:
		return error_set(
			error,
			"this kind of memory, or this flag, is not supported by the driver or by the "
			"host's device");
	case -ENOSPC:
		return error_set(
			error,
			"the host has met a limit of its own with %llu KiB: where it makes dma-bufs, "
			"/sys/module/udmabuf/parameters/list_limit and size_limit_mb there; the log of "
			"the host's device says which one, and what to set it to",
			kib(size));
	case -ENOENT:
		return error_set(
			error,
			"the host does not know the context any more, as after the guest has slept: "
			"open the node anew");
	case -ENODEV:
		return error_set(error, "the virtio-gpu device is gone");
	default:
		return error_set(error, "%llu bytes at %#llx cannot be registered: %s", bytes, from,
				 strerror(-error));
	}
}
