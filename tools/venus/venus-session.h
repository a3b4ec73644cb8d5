/* SPDX-License-Identifier: MIT */
/*
 * venus-session: what the Vulkan test programs put around each test
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

#include <stdatomic.h>
#include <stdbool.h>

#include "lib/userptr-test-util.h"
#include "venus-device.h"
#include "vkc.h"

/*
 * For what ends only when the device has ended a context, or when a shader that
 * was to run for ever has given up.
 */
#define LONG_MS 120000
/* Looks of gate.comp in one round: some ten seconds of a host's CPU. */
#define GATE_SPINS 0x40000000u

/* Words of the memory that gate.comp shares with the CPU. */
enum gate_word { GATE_SHADER, GATE_CPU, GATE_ROUNDS, GATE_LEFT };

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

/**
 * struct gpu - Vulkan with the shaders of the tests
 * @vkc: device
 * @work: work.comp
 * @gate: gate.comp
 * @hammer: hammer.comp
 */
struct gpu {
	struct vkc vkc;
	VkPipeline work;
	VkPipeline gate;
	VkPipeline hammer;
};

/**
 * struct gate - a meeting point of shader and CPU
 * @words: enum gate_word; malloc'ed memory
 * @buffer: the same
 */
struct gate {
	_Atomic uint32_t *words;
	struct vkc_buffer buffer;
};

int session_begin(struct session *session);
int session_settled(const struct session *session);
int session_stats(const struct session *session, struct loopback_stats *delta);

VkResult gpu_open(struct gpu *gpu, bool validate);
void gpu_close(struct gpu *gpu);
struct vkc_dispatch gpu_work(const struct gpu *gpu, uint32_t op, const struct vkc_buffer *first,
			     const struct vkc_buffer *second, uint32_t value);
VkResult gpu_run(struct gpu *gpu, uint32_t op, const struct vkc_buffer *first,
		 const struct vkc_buffer *second, uint32_t value);

struct vkc_dispatch gpu_hammer(const struct gpu *gpu, const struct vkc_buffer *first,
			       const struct vkc_buffer *second, uint32_t value, uint32_t times);

VkResult gate_make(struct gpu *gpu, struct gate *gate);
void gate_free(struct gpu *gpu, struct gate *gate);
struct vkc_dispatch gate_dispatch(const struct gpu *gpu, const struct gate *gate, uint32_t rounds);
int gate_await(const struct gate *gate, uint32_t round);
void gate_pass(const struct gate *gate, uint32_t round);

#endif /* VENUS_SESSION_H */
