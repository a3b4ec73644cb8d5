// SPDX-License-Identifier: MIT
/*
 * venus-session: what the test programs of the Vulkan layers put around each test
 *
 * See venus-session.h.  No state is kept.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "venus-session.h"

static int read_stats(const struct session *session, struct loopback_stats *stats)
{
	struct vg vg;
	int ret;

	ret = vg_open(&vg, session->node, 1);
	if (ret)
		return ret;
	ret = vg_stats(&vg, stats);
	vg_close(&vg);
	return ret;
}

/**
 * session_begin() - find the device and remember what it looks like
 * @session: out
 *
 * Waits until what an earlier test has left to the device is gone.
 *
 * Return: 0 or a negative errno.
 */
int session_begin(struct session *session)
{
	struct vg vg;
	int ret = 0;

	memset(session, 0, sizeof(*session));
	session->virtio = !venus_node(session->node, sizeof(session->node));
	if (!session->virtio)
		return 0;
	session->loopback = !vg_open(&vg, session->node, 1);
	if (session->loopback) {
		ret = wait_no_resources(&vg, LONG_MS);
		vg_close(&vg);
	}
	if (!ret && session->loopback)
		ret = read_stats(session, &session->before);
	session->pins = pins_outstanding();
	return ret ? ret : session->pins < 0 ? session->pins : 0;
}

/**
 * session_settled() - wait until everything is as it was
 * @session: from session_begin()
 *
 * Return: 0, or a negative errno after saying what is left.
 */
int session_settled(const struct session *session)
{
	struct vg vg;
	int ret = 0;

	if (!session->virtio)
		return 0;
	if (session->loopback) {
		ret = vg_open(&vg, session->node, 1);
		if (ret)
			return ret;
		ret = wait_no_resources(&vg, LONG_MS);
		vg_close(&vg);
	}
	if (ret)
		fprintf(stderr, "# the device still holds userptr resources\n");
	if (!ret && (ret = wait_pins(session->pins, LONG_MS)))
		fprintf(stderr, "# %ld pages are pinned, %ld before the test\n", pins_outstanding(),
			session->pins);
	if (!ret && (ret = vg_wait_status_kib("VmPin", 0, SETTLE_MS)))
		fprintf(stderr, "# VmPin is %ld kB\n", vg_status_kib("VmPin"));
	return ret;
}

/**
 * session_stats() - what the device has counted since the beginning
 * @session: from session_begin(), with @loopback
 * @delta: out, statistics now minus those before
 *
 * Return: 0 or a negative errno.
 */
int session_stats(const struct session *session, struct loopback_stats *delta)
{
	const uint64_t *from = (const uint64_t *)&session->before;
	uint64_t *to = (uint64_t *)delta;
	int ret = read_stats(session, delta);
	size_t i;

	for (i = 0; !ret && i < sizeof(*delta) / sizeof(*to); i++)
		to[i] -= from[i];
	return ret;
}
