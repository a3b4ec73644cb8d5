// SPDX-License-Identifier: MIT
/*
 * gpu_fault: commands that go wrong because a test wants them to
 *
 * Not in the program that is installed: that has gpu_fault_none.c.
 *
 * A fault is armed through the loopback context (see virtgpu_loopback.h), only if
 * the command line allows it, and strikes commands of the control queue.  The rest
 * of the device knows no more of it than the functions of gpu_internal.h.
 *
 * Invariants: at most one fault is armed.  The timer is set to the first of the
 * answers that are delayed, or not at all.
 *
 * Threads: the ring thread only.
 */
#include <endian.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "gpu/gpu_internal.h"
#include "util/clock.h"
#include "util/log.h"

int gpu_fault_open(struct gpu_device *dev)
{
	struct epoll_event event = { .events = EPOLLIN };
	int err;

	dev->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (dev->timer < 0)
		return -errno;
	if (epoll_ctl(dev->epoll, EPOLL_CTL_ADD, dev->timer, &event)) {
		err = -errno;
		close(dev->timer);
		return err;
	}
	return 0;
}

void gpu_fault_close(struct gpu_device *dev)
{
	close(dev->timer);
}

void gpu_fault_arm(void *opaque, const struct renderer_fault *fault)
{
	struct gpu_device *dev = opaque;

	dev->fault = *fault;
}

void gpu_fault_disarm(struct gpu_device *dev)
{
	dev->fault.kind = LOOPBACK_FAULT_NONE;
}

static bool fault_matches(const struct renderer_fault *fault, uint32_t type)
{
	if (fault->type)
		return fault->type == type;
	return gpu_command_is_userptr(type) || type == VIRTIO_GPU_CMD_GET_USERPTR_INFO ||
	       type == VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
}

/* Does the armed fault strike this command? LOOPBACK_FAULT_NONE: no. */
static uint32_t take_fault(struct gpu_device *dev, uint32_t type, uint64_t *param)
{
	struct renderer_fault *fault = &dev->fault;
	uint32_t kind = fault->kind;

	if (kind == LOOPBACK_FAULT_NONE || !fault_matches(fault, type))
		return LOOPBACK_FAULT_NONE;
	if (fault->skip) {
		fault->skip--;
		return LOOPBACK_FAULT_NONE;
	}
	*param = fault->param;
	if (!--fault->count)
		fault->kind = LOOPBACK_FAULT_NONE;
	return kind;
}

bool gpu_fault_apply(struct gpu_device *dev, struct gpu_command *cmd)
{
	uint64_t param = 0;

	switch (take_fault(dev, le32toh(cmd->hdr.type), &param)) {
	case LOOPBACK_FAULT_ERROR:
		gpu_command_executed(cmd, (uint32_t)param);
		return false;
	case LOOPBACK_FAULT_DELAY:
		cmd->fault = LOOPBACK_FAULT_DELAY;
		cmd->delay = param;
		return true;
	case LOOPBACK_FAULT_DROP:
		cmd->fault = LOOPBACK_FAULT_DROP;
		return true;
	case LOOPBACK_FAULT_DIE:
		log_flush();
		_exit(3);
	default:
		return true;
	}
}

void gpu_fault_set_timer(struct gpu_device *dev)
{
	struct itimerspec when = { .it_value = { .tv_sec = 0 } };
	uint64_t first = 0;
	struct gpu_command *cmd;

	TAILQ_FOREACH(cmd, &dev->commands, link)
		if (cmd->due && (!first || cmd->due < first))
			first = cmd->due;
	when.it_value.tv_sec = (time_t)(first / 1000000000u);
	when.it_value.tv_nsec = (long)(first % 1000000000u);
	timerfd_settime(dev->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

bool gpu_fault_withholds(struct gpu_command *cmd)
{
	if (cmd->fault == LOOPBACK_FAULT_DROP)
		return true;
	if (cmd->fault != LOOPBACK_FAULT_DELAY)
		return false;
	cmd->due = clock_ns() + cmd->delay * 1000000u;
	gpu_fault_set_timer(cmd->dev);
	return true;
}

static void answer_delayed(struct gpu_device *dev)
{
	uint64_t now = clock_ns();
	struct gpu_command *cmd;
	bool any = false;

	/* Marked first: answering one may free others of its timeline. */
	TAILQ_FOREACH(cmd, &dev->commands, link) {
		if (!cmd->due || cmd->due > now)
			continue;
		cmd->due = 0;
		cmd->fault = LOOPBACK_FAULT_NONE;
		cmd->ready = true;
		any = true;
	}
	if (any)
		gpu_commands_answer_ready(dev);
	gpu_fault_set_timer(dev);
}

void gpu_fault_dispatch(struct gpu_device *dev)
{
	uint64_t ticks;

	if (read(dev->timer, &ticks, sizeof(ticks)) == sizeof(ticks))
		answer_delayed(dev);
}
