/* SPDX-License-Identifier: MIT */
/*
 * venus-gpu: Vulkan with the shaders of the tests
 *
 * Of them two are particular: gate.comp talks to the CPU while it runs, and
 * hammer.comp goes on reading and writing for as long as a test needs.
 */
#ifndef VENUS_GPU_H
#define VENUS_GPU_H

#include <stdatomic.h>

#include "venus-session.h"
#include "vkc.h"

/* Looks of gate.comp in one round: some ten seconds of a host's CPU. */
#define GATE_SPINS 0x40000000u

/* Words of the memory that gate.comp shares with the CPU. */
enum gate_word { GATE_SHADER, GATE_CPU, GATE_ROUNDS, GATE_LEFT };

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

#endif /* VENUS_GPU_H */
