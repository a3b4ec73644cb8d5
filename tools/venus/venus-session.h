/* SPDX-License-Identifier: MIT */
/*
 * venus-session: what the test programs of the Vulkan layers put around each test
 *
 * Where there is no virtio-gpu device with userptr resources the tests run on
 * whatever driver there is, and those that need the device are skipped.
 *
 * Invariant: after each test the device holds no userptr resource, no page of
 * this kernel is pinned that was not before, and VmPin is 0; session_settled()
 * waits for that.
 */
#ifndef VENUS_SESSION_H
#define VENUS_SESSION_H

#include <stdbool.h>

#include "lib/userptr-test-util.h"
#include "venus-device.h"

/*
 * For what ends only when the device has ended a context, or when a shader that
 * was to run for ever has given up.
 */
#define LONG_MS 120000

/**
 * struct session - what was there before the test
 * @virtio: there is a device
 * @loopback: it has the loopback context, and with it statistics
 * @node: its render node
 * @before: its statistics
 * @pins: pages pinned by anyone
 */
struct session {
	bool virtio;
	bool loopback;
	char node[64];
	struct loopback_stats before;
	long pins;
};

int session_begin(struct session *session);
int session_settled(const struct session *session);
int session_stats(const struct session *session, struct loopback_stats *delta);

#endif /* VENUS_SESSION_H */
