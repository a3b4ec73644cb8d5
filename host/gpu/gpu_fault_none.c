// SPDX-License-Identifier: MIT
/*
 * gpu_fault_none: in place of gpu_fault.c in the program that is installed
 *
 * Nothing a guest says can make that one delay, drop or fail a command on purpose, or
 * end: there is no code that would.
 *
 * Threads: the ring thread only.
 */
#include "gpu/gpu_internal.h"

int gpu_fault_open(struct gpu_device *dev)
{
	(void)dev;
	return 0;
}

void gpu_fault_close(struct gpu_device *dev)
{
	(void)dev;
}

void gpu_fault_arm(void *opaque, const struct renderer_fault *fault)
{
	(void)opaque;
	(void)fault;
}

void gpu_fault_disarm(struct gpu_device *dev)
{
	(void)dev;
}

bool gpu_fault_apply(struct gpu_device *dev, struct gpu_command *cmd)
{
	(void)dev;
	(void)cmd;
	return true;
}

bool gpu_fault_withholds(struct gpu_command *cmd)
{
	(void)cmd;
	return false;
}

void gpu_fault_set_timer(struct gpu_device *dev)
{
	(void)dev;
}

void gpu_fault_dispatch(struct gpu_device *dev)
{
	(void)dev;
}
