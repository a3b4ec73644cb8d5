// SPDX-License-Identifier: MIT
/*
 * model: the software amdgpu of the host, as a guest can reach it
 *
 * See model.h.  No state is kept.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/userptr-test-util.h"
#include "model.h"

/**
 * model_there() - is there somebody to ask, and a model?
 *
 * Return: true if so.
 */
bool model_there(void)
{
	return getenv("USERPTR_ASK_HOST") && model_stat("jobs") >= 0;
}

/**
 * model_hold() - start no jobs
 * @rings: mask of rings on which; 0 lets all go on
 *
 * Return: 0 or a negative errno.
 */
int model_hold(uint32_t rings)
{
	char request[64];

	snprintf(request, sizeof(request), "model hold %u", rings);
	return ask_host(request);
}

/**
 * model_stat() - a counter of the model, or how many jobs of a ring have not started
 * @name: as in its file "stats" or "rings"
 *
 * Return: the number or a negative errno.
 */
long model_stat(const char *name)
{
	char request[64];
	long value;
	int ret;

	snprintf(request, sizeof(request), "model stat %s", name);
	ret = ask_host_number(request, &value);
	return ret ? ret : value;
}

/**
 * model_wait_stat() - wait until a counter has come that far
 * @name: see model_stat()
 * @least: how far
 * @timeout_ms: how long
 *
 * Return: 0 or a negative errno.
 */
int model_wait_stat(const char *name, long least, int timeout_ms)
{
	uint64_t end = vg_now_us() + timeout_ms * 1000ull;
	long value;

	while ((value = model_stat(name)) < least) {
		if (value < 0)
			return value;
		if (vg_now_us() > end)
			return -ETIME;
		poll_pause();
	}
	return 0;
}

/**
 * device_stat() - a number of the device's statistics
 * @name: what stands before the colon
 *
 * Return: the number or a negative errno.
 */
long device_stat(const char *name)
{
	char request[96];
	long value;
	int ret;

	snprintf(request, sizeof(request), "device-stat 0 %s", name);
	ret = ask_host_number(request, &value);
	return ret ? ret : value;
}
