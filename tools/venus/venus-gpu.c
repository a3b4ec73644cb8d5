// SPDX-License-Identifier: MIT
/*
 * venus-gpu: Vulkan with the shaders of the tests
 *
 * See venus-gpu.h.  No state is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "venus-gpu.h"

#include "gate.spv.h"
#include "hammer.spv.h"
#include "work.spv.h"

/**
 * gpu_open() - open Vulkan and make the pipelines
 * @gpu: out
 * @validate: with the validation layer
 *
 * Return: a result.
 */
VkResult gpu_open(struct gpu *gpu, bool validate)
{
	VkResult ret;

	memset(gpu, 0, sizeof(*gpu));
	ret = vkc_open(&gpu->vkc, validate);
	if (ret)
		return ret;
	ret = vkc_pipeline(&gpu->vkc, shader_work, sizeof(shader_work), &gpu->work);
	if (!ret)
		ret = vkc_pipeline(&gpu->vkc, shader_gate, sizeof(shader_gate), &gpu->gate);
	if (!ret)
		ret = vkc_pipeline(&gpu->vkc, shader_hammer, sizeof(shader_hammer), &gpu->hammer);
	if (ret)
		gpu_close(gpu);
	return ret;
}

/**
 * gpu_close() - undo gpu_open()
 * @gpu: may be closed already; nothing is running
 */
void gpu_close(struct gpu *gpu)
{
	if (!gpu->vkc.device)
		return;
	vkDestroyPipeline(gpu->vkc.device, gpu->hammer, NULL);
	vkDestroyPipeline(gpu->vkc.device, gpu->gate, NULL);
	vkDestroyPipeline(gpu->vkc.device, gpu->work, NULL);
	vkc_close(&gpu->vkc);
}

/**
 * gpu_work() - a run of work.comp over all of the smaller buffer
 * @gpu: device
 * @op: VKC_*
 * @first: first buffer, or NULL
 * @second: second buffer
 * @value: argument of @op
 *
 * Return: what vkc_submit() takes.
 */
struct vkc_dispatch gpu_work(const struct gpu *gpu, uint32_t op, const struct vkc_buffer *first,
			     const struct vkc_buffer *second, uint32_t value)
{
	VkDeviceSize size = first && first->size < second->size ? first->size : second->size;
	uint32_t words = size / 4;
	struct vkc_dispatch dispatch = {
		.pipeline = gpu->work,
		.buffers = { first, second },
		.push = { op, words, value },
		.groups = (words + VKC_GROUP - 1) / VKC_GROUP,
	};

	return dispatch;
}

/**
 * gpu_run() - run it and wait
 * @gpu: device
 * @op: VKC_*
 * @first: first buffer, or NULL
 * @second: second buffer
 * @value: argument of @op
 *
 * Return: a result.
 */
VkResult gpu_run(struct gpu *gpu, uint32_t op, const struct vkc_buffer *first,
		 const struct vkc_buffer *second, uint32_t value)
{
	struct vkc_dispatch dispatch = gpu_work(gpu, op, first, second, value);

	return vkc_run(&gpu->vkc, &dispatch, 1);
}

/**
 * gpu_hammer() - a run of hammer.comp
 * @gpu: device
 * @first: what is read and written
 * @second: where to what was read goes, if it is not @value; as large as @first
 * @value: what is written
 * @times: how often
 *
 * Return: what vkc_submit() takes.
 */
struct vkc_dispatch gpu_hammer(const struct gpu *gpu, const struct vkc_buffer *first,
			       const struct vkc_buffer *second, uint32_t value, uint32_t times)
{
	struct vkc_dispatch dispatch = {
		.pipeline = gpu->hammer,
		.buffers = { first, second },
		.push = { first->size / 4, value, times },
		.groups = 1,
	};

	return dispatch;
}

/**
 * gate_make() - memory for gate.comp
 * @gpu: device
 * @gate: out
 *
 * Return: a result.
 */
VkResult gate_make(struct gpu *gpu, struct gate *gate)
{
	VkResult ret;

	gate->words = aligned_alloc(PAGE, PAGE);
	if (!gate->words)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	memset((void *)gate->words, 0, PAGE);
	ret = vkc_buffer_import(&gpu->vkc, (void *)gate->words, PAGE, &gate->buffer);
	if (ret)
		free((void *)gate->words);
	return ret;
}

/**
 * gate_free() - undo gate_make()
 * @gpu: device
 * @gate: no shader is in it
 */
void gate_free(struct gpu *gpu, struct gate *gate)
{
	vkc_buffer_free(&gpu->vkc, &gate->buffer);
	free((void *)gate->words);
}

/**
 * gate_dispatch() - a run of gate.comp
 * @gpu: device
 * @gate: its memory
 * @rounds: times that it waits for gate_pass()
 *
 * Return: what vkc_submit() takes.
 */
struct vkc_dispatch gate_dispatch(const struct gpu *gpu, const struct gate *gate, uint32_t rounds)
{
	struct vkc_dispatch dispatch = {
		.pipeline = gpu->gate,
		.buffers = { [2] = &gate->buffer },
		.push = { rounds, GATE_SPINS },
		.groups = 1,
	};

	return dispatch;
}

/**
 * gate_await() - wait until the shader runs and waits
 * @gate: its memory
 * @round: in which round, from 1 on
 *
 * There is nothing to wait on for a store to memory: it is read again and again.
 *
 * Return: 0 or -ETIME.
 */
int gate_await(const struct gate *gate, uint32_t round)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 };
	uint64_t end = vg_now_us() + LONG_MS * 1000ull;

	while (atomic_load(&gate->words[GATE_SHADER]) != round) {
		if (vg_now_us() > end)
			return -ETIME;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/**
 * gate_pass() - let the shader go on
 * @gate: its memory
 * @round: the round that it waits in
 */
void gate_pass(const struct gate *gate, uint32_t round)
{
	atomic_store(&gate->words[GATE_CPU], round);
}
